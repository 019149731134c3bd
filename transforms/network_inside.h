// SPDX-License-Identifier: Apache-2.0
// What network.c and network_layer.c share.
#ifndef RS_TRANSFORMS_NETWORK_INSIDE_H
#define RS_TRANSFORMS_NETWORK_INSIDE_H

#include "transforms/network.h"
#include "transforms/weights.h"

enum { RS_NETWORK_TENSORS = 16, RS_NETWORK_MATRICES = 7 };

struct rs_network_layer {
    rs_decoder_layer layer;
    rs_int_weights codes[RS_NETWORK_MATRICES]; // that layer points to
    float *own[RS_NETWORK_TENSORS]; // decoded norms and biases of a layer that is kept
    bool ready;                     // and need not be loaded again
};

struct rs_network {
    const rs_mapped *m;
    const rs_kernels *k;
    rs_config c;
    rs_hadamard *r3, *r4;
    rs_decoder_shape shape;
    const rs_tensor *embed, *head, *norm;
    float *norm_gamma;
    double *inv_freq;
    struct rs_network_layer slot; // the loaded layer, unless it is kept,
    struct rs_network_layer *kept; // [L] or NULL: layers that need no memory of their own
    struct rs_network_layer *at;  // the one or the other
    uint64_t loaded;              // its index, L = none
    float *buffer[RS_NETWORK_TENSORS]; // decoded weights, where the file cannot be used as it is
    float *junction[2];           // t of the two junctions, likewise
    const rs_tensor *in_use[RS_NETWORK_TENSORS + 2];
    const rs_int_kernels *by;     // NULL: products in f32
    rs_kv_cache cache;            // of one layer, for whole sequences
    bool sums;                    // products in f32 are of codes
    bool bare;                    // rs_network_step leaves the junctions out
    bool stay;                    // pages of a layer are kept when the next one is loaded
    float *cos, *sin;
    size_t rope_rows;
    void *scratch;
    size_t scratch_size;
};

// Finds a tensor and checks its place and shape (the role decides the shape and, with the plan, how its input is quantised); *t = NULL when it is absent and not required.
RS_MUST_CHECK rs_status rs_network_find(const rs_network *n, const char *name, rs_role role, int64_t layer, bool required, const rs_tensor **t, rs_error *e);
// The same for tensor w of layer i.
RS_MUST_CHECK rs_status rs_network_find_layer(const rs_network *n, uint64_t i, int w, const rs_tensor **t, rs_error *e);
// A range of the plan, as the kernels name it.
rs_range rs_network_range(rs_span span);

#endif
