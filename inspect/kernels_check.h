// SPDX-License-Identifier: Apache-2.0
// A proof on this machine that packed weights compute the same by every variant of the integer kernels, and what the simulated network computes. Letters: S tokens, G spans of a row of
// weights that share a scale, u = 2^-24 (half an ulp of 1 in f32).
#ifndef RS_INSPECT_KERNELS_CHECK_H
#define RS_INSPECT_KERNELS_CHECK_H

#include "inspect/measure.h"
#include "transforms/network.h"

enum { RS_KERNELS_ROLES = 7, RS_KERNELS_STAGES = 5, RS_KERNELS_FUSED = 8, RS_KERNELS_OPERATIONS };

// The matrices of one role, q to down.
typedef struct rs_kernels_role {
    uint64_t matrices, others; // multiplied as integers; in f32, since the file does not pack them or does not quantise their input per token
    uint64_t sums;             // int32 sums compared with the definition, each variant counted
    uint64_t codes;            // activation codes compared with those of the simulation, likewise
    double share;              // largest |y - y64| as a share of its bound (below)
    uint64_t inputs, moved;    // codes of the input in both networks; those that differ, each at a rounding boundary
} rs_kernels_role;

// A code of the integer network that is not the simulated one's: both sides of a rounding boundary.
typedef struct rs_kernels_flip {
    uint64_t layer;
    const char *what;          // "o", "gate", "up", "down", "k", "v"
    size_t token, column;
    double at;                 // the simulated network's value, in steps of its code (a boundary is at n + 1/2)
    double distance, allowed;  // from the boundary, in the same steps
} rs_kernels_flip;

// Logits against those of the simulated network by the fast f32 kernels.
typedef struct rs_kernels_logits {
    rs_difference difference;
    double kl, kl_max, top1;
} rs_kernels_logits;

// One operation of a device against the plain C reference.
typedef struct rs_kernels_operation {
    uint64_t runs, numbers;    // calls; numbers compared
    double share;              // largest difference as a share of what is allowed; 0 where all bits must be equal (and are, unless something failed)
} rs_kernels_operation;

typedef struct rs_kernels_options {
    const rs_int_kernels *const *variants; // to check; NULL: all that this processor can run. The last one computes the integer network
    size_t n_variants;
    const rs_kernels *device;                     // a table whose operations are checked, too; NULL: none
    const rs_int_kernels *const *device_variants; // of the same device: every matrix is also multiplied by these
    size_t n_device_variants;
    size_t repeat;                                // how often a device computes each thing, which must give the same bits; 0: once
    void (*flip)(void *context, const rs_kernels_flip *f); // NULL allowed
    void (*progress)(void *context, double matrices);      // matrices done; NULL allowed
    void *context;
} rs_kernels_options;

typedef struct rs_kernels_result {
    rs_kernels_role role[RS_KERNELS_ROLES];
    const char *variant[8];                   // names of those checked, n_variants of them
    size_t n_variants;
    uint64_t tokens, cached;                  // S; numbers of K and V packed and read back, each variant counted
    uint64_t kv_inputs, kv_moved;             // as inputs and moved, of K and V
    double stage[RS_KERNELS_STAGES];          // largest difference after the integer products of a stage (below), as a share of what is allowed
    rs_kernels_logits integer, plain, nudged; // the integer network; the simulated one by the plain f32 kernels; and with every layer's input changed at random
    rs_kernels_logits on_device;              // the integer network with all its layers on the device
    rs_kernels_logits of_sums;                // the simulated network that scales sums of codes (rs_network_sums)
    uint64_t unequal;                         // logits in which that differs from the integer network: 0 where every matrix has one scale a row and the cache less than 16 bits, unless an f32 kernel rounds otherwise there
    double nudge;                             // by up to this part of each value: 2^-16, or 2^-10 where the cache holds f16
    double kl_bound, logits_bound;            // of integer
    rs_kernels_operation operation[RS_KERNELS_OPERATIONS]; // of the device (rs_kernels_operation_name)
    bool device;
    uint64_t failures;
    char first[400];                          // says what failed first, with the name of the tensor; empty if nothing did
} rs_kernels_result;

// Runs the model of m over S tokens ids (NULL: S that look random). RS_OK whatever the verdict (r->failures). RS_USAGE where no matrix is multiplied as integers or S is 0; E_TENSOR, E_VALUE, E_NOMEM.
//
// For each matrix: sums are those of the definition, codes those of the reference and of fake_quant, y that of the reference, all to the bit; and with I_g = sum of (c_a - z) c_w over span g,
//   |y - y64| <= gamma(G + 2) s_a sum_g |I_g s_g| + 2^-149,   y64 = s_a sum_g I_g s_g in fp64,   gamma(n) = n u / (1 - n u):
// a term is rounded when it becomes f32, when multiplied by s_g, in at most G - 1 additions (the first is to 0) and when multiplied by s_a.
//
// For each stage of a layer (k, v and q before the cache; q before o; o before gate and up; gate and up before down; down before the next layer) the simulated network computes all but these
// products, from its own input, so that no code behind a changed code is looked at. Values x of the next quantiser's input (or of the layer's output) may differ by
//   rs_kernels_allowed(k) max|x| of the row for products of k columns: 32 sqrt(k) u. A sum of k terms drifts by sqrt(k) u of its partial sums; 32 is room for partial sums
//   that are larger than any result (measured on a Llama of 30 layers: differences up to 7 sqrt(k) u);
// behind attention by 2 max|v| c more: c is the largest change of a score, computed in fp64 from the two queries, and 2 sqrt(h) u sum |q_i k_i| for its rounding, both over sqrt(h).
// A code may differ only where the simulated value is no farther from a rounding boundary than that, and by one (by more where that exceeds half a step). Vectors no larger than twice that
// hold rounding errors alone and are not compared.
//
// Operations of a device, on what each layer reads: rope, Hadamard rotations, fake quantisers and additions give the bits of the reference. The others may differ by
//   6 u |y| of rmsnorm (the factor of the row by one ulp, which is at most 2 u of it, and two products that round on both sides),
//   12 u |y| + 2^-120 of silu(gate) up (e^x by 6 u, and a sum, a quotient and a product that round on both sides),
//   rs_kernels_allowed(d) max|y| of the row of the junction,
//   max|v| (2 c + rs_kernels_allowed(n) + 12 u) of attention of a token to n keys: c is the rounding of a score as above, the rest that of n weights and their sums.
// Fused: the bits of rmsnorm, codes and lowrank of the device one by one. The device's packed cache holds the bytes of the reference's.
//
// Logits: mean KL and relative difference of the integer network, and of a device's, are at most 4 times the larger of those of plain and nudged.
RS_MUST_CHECK rs_status rs_kernels_check(const rs_mapped *m, const int32_t *ids, size_t S, const rs_kernels_options *o, rs_kernels_result *r, rs_error *e);
// How many matrices the progress of a file ends with.
double rs_kernels_total(const rs_mapped *m);
double rs_kernels_allowed(size_t k);
// Names of the roles and of the stages.
const char *rs_kernels_role_name(size_t role);
const char *rs_kernels_stage_name(size_t stage);
const char *rs_kernels_operation_name(size_t operation);

#endif
