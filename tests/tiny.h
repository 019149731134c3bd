// SPDX-License-Identifier: Apache-2.0
// Small random Llamas and rotation sets in temporary files, and their logits: what tests of stages compare.
#ifndef RS_TESTS_TINY_H
#define RS_TESTS_TINY_H

#include "transforms/fuse.h"

typedef struct tiny_spec {
    uint64_t L, d, f, h, n_q, n_kv, V;
    bool tied, biases;
    rs_dtype dtype; // of the weights: RS_F32, RS_F16 or RS_BF16; norms are f32
    uint64_t seed;
    const char *nan_in; // name of a tensor whose last value is a NaN, NULL: none
} tiny_spec;

// 3 layers, d 32, f 48, two KV heads of four of size 8, 50 tokens, tied, f32.
tiny_spec tiny_default(void);

// Path of name in a folder of this process, made on first use and removed with all its files at exit; owned by the caller's buffer.
char *tiny_path(char *buf, size_t cap, const char *name);

// Writes a random model in the order of rs-import (files, norms, embedding, layers, head); norm scales differ from 1, a few channels are large. False on failure
// (the reason is printed).
bool tiny_model(const char *path, const tiny_spec *s);

typedef enum tiny_set { TINY_GLOBAL, TINY_DENSE, TINY_CHAIN } tiny_set;
// Writes a rotation set: R_0 a random rotation, R_(j+1) = R_j exp(A_j) with random skew A_j of spectral size about angle (chain: of rank `rank`), random head
// rotations; base: the tensor digest of the file at `model` (NULL: none).
bool tiny_rotations(const char *path, const tiny_spec *s, tiny_set kind, double angle, uint64_t rank, uint64_t seed, const char *model);

// Fuses in -> out as rs-fuse does; rotations: path of a set, NULL: seeded (o.rotations is ignored).
rs_status tiny_fuse(const char *in, const char *rotations, const char *out, rs_fuse_options o, rs_error *e);

// Logits [S, V] of token ids under the reference kernels, with everything that the plan asks for online; malloc'ed, NULL on failure (printed).
float *tiny_logits(const char *path, size_t S, const int32_t *ids);
// S ids below V.
void tiny_ids(const tiny_spec *s, size_t S, int32_t *ids);
// max |a - b| / max |a| over n values.
double tiny_difference(size_t n, const float *a, const float *b);

// A random rotation [n, n] (determinant 1) and exp(A) of a random skew A of spectral size about angle and the given rank (0: full), fp64.
void tiny_rotation(uint64_t n, uint64_t seed, double *R);
void tiny_near_identity(uint64_t n, double angle, uint64_t rank, uint64_t seed, double *T);

#endif
