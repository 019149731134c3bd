// SPDX-License-Identifier: Apache-2.0
// Header of a safetensors file: a strict reader, stricter than the reference implementation and never laxer.
#ifndef RS_FORMATS_SAFETENSORS_H
#define RS_FORMATS_SAFETENSORS_H

#include "formats/dtype.h"
#include "formats/io.h"
#include "formats/lenient.h"
#include "formats/limits.h"

typedef struct rs_st_tensor {
    char *name;         // printable ASCII, at most RS_MAX_NAME bytes
    bool escaped;       // the name held other bytes, which became %XX (name-escape)
    const char *type;   // as the file calls it, "BF16"
    bool supported;     // F32, F16 or BF16
    rs_dtype dtype;     // when supported
    int n_dims;
    uint64_t shape[RS_MAX_DIMS];
    uint64_t off, len;  // in the file
} rs_st_tensor;

typedef struct rs_st {
    rs_st_tensor *tensor; // in the order of their data, without gap or overlap, to the end of the file
    size_t n;
    unsigned lenient_used; // RS_LENIENT_* that let something pass
} rs_st;

#define RS_ST_MAX_HEADER 100000000u // as in the reference implementation

// Reads and checks the header of a seekable stream. lenient: RS_LENIENT_ST_* and _NAME_ESCAPE rules to leave out. On success free with rs_st_free.
// E_IMPORT (form, sizes), E_LIMIT (number of tensors, nesting), E_READ, E_NOMEM. A tensor type that is known but not supported is no error here.
RS_MUST_CHECK rs_status rs_st_open(rs_st *s, rs_in *in, unsigned lenient, rs_error *e);
// Frees what s points to; a zeroed struct is allowed.
void rs_st_free(rs_st *s);

#endif
