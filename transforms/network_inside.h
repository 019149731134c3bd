// SPDX-License-Identifier: Apache-2.0
// What network.c, network_layer.c and network_device.c share.
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

struct rs_network_device; // what a network has on a device

struct rs_network {
    const rs_mapped *m;
    const rs_kernels *k;
    struct rs_network_device *device; // NULL: arrays lie in the process
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
// Where layer l has the numbers of tensor w, q to down among them where it has the codes of matrix m, and what number tensor w has among those, -1: none.
const float **rs_network_numbers(rs_decoder_layer *l, int w);
const rs_int_weights **rs_network_codes(rs_decoder_layer *l, int m);
int rs_network_matrix(int w);
// What multiplies codes as integers, NULL: nothing does.
const rs_int_kernels *rs_network_products(const rs_network *n);
// Whether tensor w of a layer goes to the device as 16-bit floats: rs_network_fill then leaves it out.
bool rs_network_narrow(const rs_network *n, const rs_tensor *t);
// Fills slot with layer i, in the process. *kept: nothing of it is in a buffer that the next layer needs, or will be.
RS_MUST_CHECK rs_status rs_network_fill(rs_network *n, uint64_t i, struct rs_network_layer *slot, bool *kept, rs_error *e);
// Gives the pages of the loaded layer back.
void rs_network_release(const rs_network *n);

// Of a device: opened by rs_network_open where k has a memory of its own.
RS_MUST_CHECK rs_status rs_network_device_open(rs_network *n, rs_error *e);
void rs_network_device_close(rs_network *n); // where there is none, too
// An array that grows as needed: the caller's again. What it held is lost when it does. E_NOMEM.
typedef struct rs_network_array {
    void *p;
    size_t bytes;
} rs_network_array;
RS_MUST_CHECK rs_status rs_network_room(rs_network *n, rs_network_array *a, size_t bytes, const char *what, rs_error *e);
// As the functions of network.h that these stand for.
RS_MUST_CHECK rs_status rs_network_device_load(rs_network *n, uint64_t i, rs_error *e);
RS_MUST_CHECK rs_status rs_network_device_keep(rs_network *n, rs_error *e);
RS_MUST_CHECK rs_status rs_network_device_logits(rs_network *n, size_t rows, const float *x, float *logits, rs_error *e);
RS_MUST_CHECK rs_status rs_network_device_losses(rs_network *n, size_t rows, const float *logits, const int32_t *target, double *nll, rs_error *e);
RS_MUST_CHECK rs_status rs_network_device_rope(rs_network *n, size_t S, const float **cos, const float **sin, rs_error *e);
RS_MUST_CHECK rs_status rs_network_device_settle(rs_network *n, rs_error *e);
const float *rs_network_device_norm(const rs_network *n);

#endif
