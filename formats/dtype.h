// SPDX-License-Identifier: Apache-2.0
// One row per element type: name, size, and conversion-free facts about it (no arithmetic on values here).
#ifndef RS_FORMATS_DTYPE_H
#define RS_FORMATS_DTYPE_H

#include "formats/err.h"

typedef enum rs_dtype { RS_F32, RS_F16, RS_BF16, RS_I32, RS_U8, RS_U32, RS_U64, RS_F64, RS_DTYPE_COUNT } rs_dtype;

// "f32", "f16", "bf16", "i32", "u8", "u32", "u64", "f64"; NULL outside the enum.
const char *rs_dtype_name(rs_dtype t);
// Bytes of one element; 0 outside the enum.
size_t rs_dtype_size(rs_dtype t);
// Finds a type by name; false if there is none.
bool rs_dtype_find(const char *name, rs_dtype *t);

#endif
