// SPDX-License-Identifier: Apache-2.0
// Status codes (they are the exit codes of every tool), the error record that travels with them, and checked arithmetic.
#ifndef RS_FORMATS_ERR_H
#define RS_FORMATS_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RS_MUST_CHECK __attribute__((warn_unused_result))
#define RS_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

// Frozen: the numbers are exit codes and are stored in ABRT frames (formats/FORMAT.md, "Errors").
typedef enum rs_status {
    RS_OK = 0,
    RS_NO = 1,         // a comparison or a threshold said no
    RS_USAGE = 2,      // wrong option or argument, or a request that cannot be met
    RS_E_MAGIC = 10,   // not an RSQ file
    RS_E_VERSION = 11, // newer major, unknown critical frame, incompat bit or transform
    RS_E_TRUNC = 12,   // ends too early, ENDS missing
    RS_E_SUM = 13,     // a hash does not agree
    RS_E_FRAME = 14,   // frame type, order, sequence or padding
    RS_E_META = 15,    // form of the metadata; key, type or range of one field
    RS_E_LIMIT = 16,   // above a limit of formats/limits.h
    RS_E_TENSOR = 17,  // fields contradict each other, the plan or the payload
    RS_E_DUP = 18,     // a name or key given twice
    RS_E_PROV = 19,    // provenance chain broken
    RS_E_TRAIL = 20,   // bytes after the end
    RS_E_INDEX = 21,   // index or tail disagrees with the frames
    RS_E_VALUE = 22,   // bad numbers (scales, sums, orthonormality, NaN)
    RS_E_IMPORT = 23,  // foreign file rejected or unsupported
    RS_E_ABORT = 24,   // upstream sent ABRT
    RS_E_READ = 30,
    RS_E_WRITE = 31,
    RS_E_NOMEM = 32,
    RS_E_INTERNAL = 70 // a fault of ours
} rs_status;

// The first error of an operation: its class and one line "where: why" (no newline, control characters escaped).
typedef struct rs_error {
    rs_status status;
    char text[1000];
} rs_error;

// Records status and the formatted text in e (NULL allowed; an error already recorded is kept) and returns status.
rs_status rs_fail(rs_error *e, rs_status status, const char *fmt, ...) RS_PRINTF(3, 4);

// Puts "prefix: " (formatted) before the text recorded in e (NULL allowed) and returns e's status, or status without e.
rs_status rs_error_prefix(rs_error *e, rs_status status, const char *fmt, ...) RS_PRINTF(3, 4);

// Name of a status as it stands in messages, "E_SUM" for RS_E_SUM, "usage" for RS_USAGE; never NULL.
const char *rs_status_name(rs_status status);

// One sentence that says what a status means; never NULL.
const char *rs_status_text(rs_status status);

// Copies src (NULL reads as "") into dst (cap bytes, cap >= 1), escaping bytes outside printable ASCII as \xNN; always ends with NUL. Returns dst.
char *rs_escape(char *dst, size_t cap, const char *src, size_t src_len);

#define RS_TRY(call)                     \
    do {                                 \
        rs_status rs_try_ = (call);      \
        if (rs_try_ != RS_OK) return rs_try_; \
    } while (0)

// *out = a * b (a + b); false, with *out untouched, when the result does not fit: numbers from a file pass only through these.
static inline RS_MUST_CHECK bool rs_mul_ok(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}
static inline RS_MUST_CHECK bool rs_add_ok(uint64_t a, uint64_t b, uint64_t *out)
{
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

#endif
