// SPDX-License-Identifier: Apache-2.0
// What the frames of an RSQ stream say, as structs: head, plan, provenance, statistics (formats/FORMAT.md is the normative text).
#ifndef RS_FORMATS_CONTAINER_H
#define RS_FORMATS_CONTAINER_H

#include "formats/tensor.h"
#include "formats/value.h"

typedef enum rs_kind { RS_KIND_WEIGHTS, RS_KIND_ROTATIONS } rs_kind;
typedef enum rs_resid { RS_RESID_NONE, RS_RESID_LOWRANK, RS_RESID_DENSE } rs_resid;
typedef enum rs_build { RS_BUILD_SYLVESTER, RS_BUILD_PALEY1, RS_BUILD_PALEY2 } rs_build;

#define RS_INCOMPAT_ONLINE 1u // r3 or r4
#define RS_INCOMPAT_RESID 2u
#define RS_INCOMPAT_ACT 4u    // quantised activations or KV
#define RS_INCOMPAT_RANGE 8u  // a range other than RS_SPAN_ZERO

// An online Hadamard: n = size, block divides n, block = k * 2^m; ksum = XXH3-64 of the k x k signs as bytes 01 and FF, row by row.
typedef struct rs_online {
    bool on;
    uint64_t n, block, k, ksum;
    rs_build build;
} rs_online;

// What codes span: a range that holds 0 (symmetric: its end is the last code); the range of the values alone (asymmetric only); an end half a step behind the last code (symmetric only).
typedef enum rs_span { RS_SPAN_ZERO, RS_SPAN_FREE, RS_SPAN_HALF } rs_span;

// How a row of activations (or of K, V) is quantised: bits 16 = not at all; sym; clip in (0, 1]; group 0 = one scale per token (per token and head for KV).
typedef struct rs_act {
    unsigned bits;
    bool sym;
    double clip;
    uint64_t group;
    rs_span range;
} rs_act;

// One exception of the plan: a role of a layer (-1 = all) with other activation settings, or role resid with the rank of junction layer.
typedef struct rs_except {
    int64_t layer;
    rs_role role;
    rs_act act;     // complete settings (equal keys are written out only where they differ from the plan)
    uint64_t rank;  // role resid only
} rs_except;

typedef struct rs_plan {
    rs_act a, kv;       // kv.range is that of K
    rs_span v_range;
    rs_online r3, r4;
    rs_resid resid;
    uint64_t rank;      // even; 0 unless lowrank
    rs_except *except;  // ascending by (layer, role); in the head's arena
    size_t n_except;
} rs_plan;

typedef struct rs_head {
    uint32_t align; // 64 or 4096
    rs_kind kind;
    char arch[32];  // "llama"
    char model[256];// a name for people
    uint64_t layers;
    uint32_t incompat;
    bool has_base;  // rotations: tensor digest of the model they were learned from
    uint8_t base[16];
    rs_plan plan;   // weights only
} rs_head;

// Default plan: nothing quantised, nothing online, no junctions.
rs_plan rs_plan_none(void);
// The incompat bits that a plan asks for.
uint32_t rs_plan_incompat(const rs_plan *plan);
// Activation settings of a linear input: the exception for (layer, role) if there is one, else for (-1, role), else plan->a (16 bits for roles other than q to down).
rs_act rs_plan_act(const rs_plan *plan, int64_t layer, rs_role role);
// Rank of junction j: by exception, else plan->rank; RS_RANK_FULL (that is d) for dense, 0 without junctions.
#define RS_RANK_FULL UINT64_MAX
uint64_t rs_plan_rank(const rs_plan *plan, uint64_t j);

// One link of the provenance chain. params is a flat map.
typedef struct rs_prov {
    unsigned step;
    const char *tool, *ver, *commit;
    const char *const *argv;
    size_t argc;
    uint8_t prev[16];
    const rs_value *params; // flat map, may be NULL when writing (= empty)
} rs_prov;

// A digest of one input of a stage (PSUM): fmt "rsq", "safetensors", "gguf", "json", "text".
typedef struct rs_input_sum {
    char fmt[16];
    uint64_t size;
    uint8_t digest[16]; // XXH3-128, canonical order; of an RSQ stream the digest of its ENDS
} rs_input_sum;

// Statistics frame.
typedef struct rs_stat_head {
    char name[RS_MAX_NAME + 1];
    char of[8]; // "weight", "input", "error", "kv", "stream", "angles"
    unsigned step;
    const rs_value *values; // flat map of scalars
    int n_parts;
    rs_part parts[8];
    uint64_t payload_len;
} rs_stat_head;

typedef enum rs_frame_type {
    RS_FRAME_END = 0, // ENDS read and everything verified; nothing follows
    RS_FRAME_HEAD, RS_FRAME_PROV, RS_FRAME_FILE, RS_FRAME_TENS, RS_FRAME_TSUM, RS_FRAME_STAT, RS_FRAME_PSUM, RS_FRAME_INDX, RS_FRAME_ENDS, RS_FRAME_ABRT,
    RS_FRAME_UNKNOWN // ancillary and safe to copy
} rs_frame_type;

#endif
