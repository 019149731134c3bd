// SPDX-License-Identifier: Apache-2.0
// A model in a mapped file as a network that runs: sizes from its configuration, what must happen online from its plan, one layer's weights in memory at a time.
//
// Where its kernels have a memory of their own (kernels/memory.h), all arrays of activations, logits and tables here lie there, also those that a tap sees; ids stay in the process. There is room for two layers
// then, of which one computes while the next one is sent. Work is queued, and what became of it is told by the next call that settles.
#ifndef RS_TRANSFORMS_NETWORK_H
#define RS_TRANSFORMS_NETWORK_H

#include "formats/config.h"
#include "formats/mapped.h"
#include "kernels/decoder.h"

typedef struct rs_network rs_network;

// Over a verified file (borrowed, must outlive the network): checks that every tensor is there in the shape that config.json asks for, that online Hadamards can be built
// and agree with their checksum. k: the kernels to compute with (NULL: the best here). RS_USAGE for a rotations file; E_IMPORT, E_TENSOR, E_VERSION, E_NOMEM.
RS_MUST_CHECK rs_status rs_network_open(rs_network **n, const rs_mapped *m, const rs_kernels *k, rs_error *e);
void rs_network_close(rs_network *n); // NULL allowed
const rs_config *rs_network_config(const rs_network *n);
const rs_head *rs_network_head(const rs_network *n);
const rs_decoder_shape *rs_network_shape(const rs_network *n);
const rs_kernels *rs_network_kernels(const rs_network *n);
// An array for what the functions below work on, 64-aligned; released through rs_memory_of the kernels. On a device a layer that is only kept makes room for it. E_NOMEM.
RS_MUST_CHECK rs_status rs_network_alloc(rs_network *n, size_t bytes, void **p, rs_error *e);
// Waits for what is queued on a device: E_VALUE if a quantiser met NaN or infinity (names the layers), E_INTERNAL if the device failed. RS_OK at once where there is no device.
RS_MUST_CHECK rs_status rs_network_settle(rs_network *n, rs_error *e);
// Says that the caller queues work of its own on the loaded layer: rows that are refused in it are told as if rs_network_forward had met them.
void rs_network_queued(rs_network *n);
// Bytes that the largest layer takes on the device while it is there, without junctions. E_TENSOR.
RS_MUST_CHECK rs_status rs_network_layer_bytes(const rs_network *n, uint64_t *bytes, rs_error *e);

// x [S, d] = embedding rows of ids. E_VALUE for an id outside 0..V-1.
RS_MUST_CHECK rs_status rs_network_embed(const rs_network *n, size_t S, const int32_t *ids, float *x, rs_error *e);
// Loads layer i (weights as f32, decoded row by row or straight from the file); valid until the next load. On a device it is sent while the layer before computes, and then settles. E_TENSOR, E_NOMEM.
RS_MUST_CHECK rs_status rs_network_load(rs_network *n, uint64_t i, const rs_decoder_layer **layer, rs_error *e);
// x [S, d] in place through the loaded layer, positions 0..S-1; tap and context as in kernels/decoder.h. E_VALUE if a quantiser met NaN or infinity, E_NOMEM.
RS_MUST_CHECK rs_status rs_network_forward(rs_network *n, size_t S, float *x, rs_tap_fn *tap, void *context, rs_error *e);
// The same through halves of a layer that the caller made of the loaded one: other weights, other quantisers.
RS_MUST_CHECK rs_status rs_network_run(rs_network *n, const rs_decoder_layer *layer, rs_half halves, size_t S, float *x, rs_tap_fn *tap, void *context, rs_error *e);
// The tensor of the loaded layer that has this role, q to down.
const rs_tensor *rs_network_tensor(const rs_network *n, rs_role role);
// logits [rows, V] of hidden states x [rows, d] as they leave the last layer: final norm, LM head. The head is decoded in blocks of its rows; on a device it stays there, if it fits. Settles. E_NOMEM.
RS_MUST_CHECK rs_status rs_network_logits(rs_network *n, size_t rows, const float *x, float *logits, rs_error *e);
// nll [rows] of such logits for targets, both in the process: cross_entropy of the kernels. Settles. E_NOMEM.
RS_MUST_CHECK rs_status rs_network_losses(rs_network *n, size_t rows, const float *logits, const int32_t *target, double *nll, rs_error *e);

// From now on weights that the file holds as codes, with inputs quantised per token, are multiplied as integers where they lie, and rs_network_forward (without a tap) attends to a packed
// KV cache; by NULL: all in f32, as at first.
void rs_network_integer(rs_network *n, const rs_int_kernels *by);
// From now on the f32 network multiplies such weights as codes, too, and scales the sums, which are then exact: where nothing else rounds otherwise, it computes to the bit what
// rs_network_integer makes it compute. (A layer that rs_network_load gives then holds codes as numbers.)
void rs_network_sums(rs_network *n);
// And a layer is looked up only once, for going through all of them token after token; on a device as many layers as fit stay there. E_NOMEM.
RS_MUST_CHECK rs_status rs_network_keep(rs_network *n, rs_error *e);
// A cache of one layer for capacity tokens as the plan has it; the caller releases cache->memory through rs_memory_of the kernels. RS_USAGE, E_NOMEM.
RS_MUST_CHECK rs_status rs_network_cache(rs_network *n, size_t capacity, rs_kv_cache *cache, rs_error *e);
// x [S, d] in place through the loaded layer, for S tokens that follow those in cache; after rs_network_integer. E_VALUE, E_NOMEM, E_INTERNAL (no room).
RS_MUST_CHECK rs_status rs_network_step(rs_network *n, rs_kv_cache *cache, size_t S, float *x, rs_error *e);
// Whether rs_network_step passes the residual junctions; it does unless told otherwise. Without them it computes another function, in the time that they cost less.
void rs_network_residual(rs_network *n, bool on);
// Bytes of the file that the pass of one token reads: all of the layers with their junctions, and the LM head. E_TENSOR.
RS_MUST_CHECK rs_status rs_network_token_bytes(const rs_network *n, double *bytes, rs_error *e);
// RoPE tables [S, h/2] for positions 0..S-1, owned by n until a longer sequence comes. E_NOMEM.
RS_MUST_CHECK rs_status rs_network_rope(rs_network *n, size_t S, const float **cos, const float **sin, rs_error *e);
// Scale of the final norm [d], owned by n.
const float *rs_network_final_norm(const rs_network *n);
// The LM head [V, d] as f32 where the file has it so, else NULL; and rows first .. first+count-1 of it into out [count, d].
const float *rs_network_head_direct(const rs_network *n);
RS_MUST_CHECK rs_status rs_network_head_rows(const rs_network *n, uint64_t first, uint64_t count, float *out, rs_error *e);

#endif
