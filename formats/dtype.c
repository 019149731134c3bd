// SPDX-License-Identifier: Apache-2.0
// The table of element types.
#include "formats/dtype.h"

#include <string.h>

static const struct {
    const char *name;
    size_t size;
} rows[RS_DTYPE_COUNT] = {
    [RS_F32] = {"f32", 4}, [RS_F16] = {"f16", 2}, [RS_BF16] = {"bf16", 2}, [RS_I32] = {"i32", 4},
    [RS_U8] = {"u8", 1},   [RS_U32] = {"u32", 4}, [RS_U64] = {"u64", 8},   [RS_F64] = {"f64", 8},
};

const char *rs_dtype_name(rs_dtype t)
{
    return (unsigned)t < RS_DTYPE_COUNT ? rows[t].name : NULL;
}

size_t rs_dtype_size(rs_dtype t)
{
    return (unsigned)t < RS_DTYPE_COUNT ? rows[t].size : 0;
}

bool rs_dtype_find(const char *name, rs_dtype *t)
{
    for (unsigned i = 0; name != NULL && i < RS_DTYPE_COUNT; i++) {
        if (strcmp(name, rows[i].name) == 0) {
            *t = (rs_dtype)i;
            return true;
        }
    }
    return false;
}
