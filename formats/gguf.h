// SPDX-License-Identifier: Apache-2.0
// Header of a GGUF file, versions 2 and 3: metadata and tensor table, every length checked against the file before it is used.
#ifndef RS_FORMATS_GGUF_H
#define RS_FORMATS_GGUF_H

#include "formats/gguf_blocks.h"
#include "formats/io.h"
#include "formats/lenient.h"

// Value types as stored.
typedef enum rs_gguf_kind {
    RS_GGUF_U8, RS_GGUF_I8, RS_GGUF_U16, RS_GGUF_I16, RS_GGUF_U32, RS_GGUF_I32, RS_GGUF_F32, RS_GGUF_BOOL, RS_GGUF_STRING, RS_GGUF_ARRAY, RS_GGUF_U64, RS_GGUF_I64, RS_GGUF_F64,
    RS_GGUF_KIND_COUNT
} rs_gguf_kind;

typedef struct rs_gguf_text {
    const char *p; // not ended by NUL
    size_t len;
} rs_gguf_text;

typedef struct rs_gguf_kv {
    rs_gguf_text key;    // printable ASCII
    rs_gguf_kind kind;   // of an array: that of its items, which are never arrays
    bool array;
    uint64_t n;          // items; 1 for a scalar
    const uint8_t *data; // the first item as stored
} rs_gguf_kv;

typedef struct rs_gguf_tensor {
    rs_gguf_text name;  // printable ASCII
    const rs_gguf_type *type; // a supported one
    int n_dims;
    uint64_t shape[4];  // row-major, the reverse of the stored order
    uint64_t off, len;  // of the data in the file
} rs_gguf_tensor;

typedef struct rs_gguf {
    uint32_t version;
    uint64_t align;
    uint64_t data_off;  // where the tensor data starts
    rs_gguf_kv *kv;     // sorted by key
    size_t n_kv;
    rs_gguf_tensor *tensor; // in the order of the table, which is that of the data
    size_t n_tensors;
    unsigned lenient_used;  // RS_LENIENT_* that let something pass
    uint8_t *header;
} rs_gguf;

#define RS_GGUF_MAX_KV 65536u
#define RS_GGUF_MAX_HEADER (UINT64_C(512) << 20) // bytes before the tensor data

// Reads and checks the header and the padding between tensors of a seekable stream. lenient: RS_LENIENT_GGUF_* rules to leave out. On success free with
// rs_gguf_free. E_IMPORT (form, or an element type that is not supported), E_LIMIT (counts), E_READ, E_NOMEM.
RS_MUST_CHECK rs_status rs_gguf_open(rs_gguf *g, rs_in *in, unsigned lenient, rs_error *e);
// Frees what g points to; a zeroed struct is allowed.
void rs_gguf_free(rs_gguf *g);

// Value of a key, NULL if absent.
const rs_gguf_kv *rs_gguf_find(const rs_gguf *g, const char *key);
// A scalar integer in lo..hi; absent: otherwise when it lies in lo..hi, else E_IMPORT naming the key. Any integer type is taken.
RS_MUST_CHECK rs_status rs_gguf_uint(const rs_gguf *g, const char *key, uint64_t lo, uint64_t hi, uint64_t otherwise, uint64_t *out, rs_error *e);
// A finite f32 or f64; absent: otherwise, or E_IMPORT when that is not finite.
RS_MUST_CHECK rs_status rs_gguf_number(const rs_gguf *g, const char *key, double otherwise, double *out, rs_error *e);
RS_MUST_CHECK rs_status rs_gguf_bool(const rs_gguf *g, const char *key, bool otherwise, bool *out, rs_error *e);
// A string that is valid UTF-8; absent: p NULL.
RS_MUST_CHECK rs_status rs_gguf_string(const rs_gguf *g, const char *key, rs_gguf_text *out, rs_error *e);
// An array of kind; absent: *kv NULL.
RS_MUST_CHECK rs_status rs_gguf_array(const rs_gguf *g, const char *key, rs_gguf_kind kind, const rs_gguf_kv **kv, rs_error *e);
// Reads the string at *at (starts as kv->data) and moves *at behind it; kv is an array of strings with items left.
rs_gguf_text rs_gguf_next_string(const uint8_t **at);

#endif
