// SPDX-License-Identifier: Apache-2.0
// Element types of GGUF: one row per type, and the exact f32 values of the block-quantised ones (layouts and values: ggml-common.h and ggml-quants.c of ggml).
#ifndef RS_FORMATS_GGUF_BLOCKS_H
#define RS_FORMATS_GGUF_BLOCKS_H

#include "formats/dtype.h"

typedef struct rs_gguf_type {
    uint32_t id;      // as stored
    const char *name; // "Q4_1"
    uint32_t block;   // elements of one block; 0: a type that is known by name only and not supported
    uint32_t bytes;   // of one block
    rs_dtype dtype;   // what it is imported as
    void (*values)(const uint8_t *blocks, size_t n_blocks, float *out); // NULL: the bytes are kept as they are
} rs_gguf_type;

// Row of a type, NULL for a number that is no type.
const rs_gguf_type *rs_gguf_type_row(uint32_t id);
// Values of n_blocks blocks at in, which need not be aligned, into out (n_blocks x block floats). type->values is not NULL. The result is d * q + m rounded after each
// operation in f32, as ggml's reference code without contraction; the same bits on every processor.
void rs_gguf_type_values(const rs_gguf_type *type, const uint8_t *in, size_t n_blocks, float *out);
// "F32 F16 ...": the supported types, for messages.
const char *rs_gguf_type_list(void);

#endif
