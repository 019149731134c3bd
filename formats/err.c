// SPDX-License-Identifier: Apache-2.0
// Texts of the status codes in one switch, and the error record.
#include "formats/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

char *rs_escape(char *dst, size_t cap, const char *src, size_t src_len)
{
    static const char hex[] = "0123456789abcdef";
    size_t o = 0;
    for (size_t i = 0; src != NULL && i < src_len; i++) {
        unsigned char c = (unsigned char)src[i];
        bool plain = c >= 0x20 && c < 0x7f;
        if (o + (plain ? 1 : 4) >= cap) break;
        if (plain) {
            dst[o++] = (char)c;
        } else {
            dst[o++] = '\\';
            dst[o++] = 'x';
            dst[o++] = hex[c >> 4];
            dst[o++] = hex[c & 15];
        }
    }
    dst[o] = 0;
    return dst;
}

rs_status rs_fail(rs_error *e, rs_status status, const char *fmt, ...)
{
    if (e == NULL || e->status != RS_OK) return status;
    char raw[sizeof e->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    e->status = status;
    rs_escape(e->text, sizeof e->text, raw, strlen(raw));
    return status;
}

rs_status rs_error_prefix(rs_error *e, rs_status status, const char *fmt, ...)
{
    if (e == NULL) return status;
    char raw[sizeof e->text], old[sizeof e->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    memcpy(old, e->text, sizeof old);
    rs_escape(e->text, sizeof e->text, raw, strlen(raw));
    size_t n = strlen(e->text), room = sizeof e->text - n;
    snprintf(e->text + n, room, ": %.*s", room > 3 ? (int)(room - 3) : 0, old);
    if (e->status == RS_OK) e->status = status;
    return e->status;
}

const char *rs_status_name(rs_status status)
{
    switch (status) {
    case RS_OK: return "ok";
    case RS_NO: return "no";
    case RS_USAGE: return "usage";
    case RS_E_MAGIC: return "E_MAGIC";
    case RS_E_VERSION: return "E_VERSION";
    case RS_E_TRUNC: return "E_TRUNC";
    case RS_E_SUM: return "E_SUM";
    case RS_E_FRAME: return "E_FRAME";
    case RS_E_META: return "E_META";
    case RS_E_LIMIT: return "E_LIMIT";
    case RS_E_TENSOR: return "E_TENSOR";
    case RS_E_DUP: return "E_DUP";
    case RS_E_PROV: return "E_PROV";
    case RS_E_TRAIL: return "E_TRAIL";
    case RS_E_INDEX: return "E_INDEX";
    case RS_E_VALUE: return "E_VALUE";
    case RS_E_IMPORT: return "E_IMPORT";
    case RS_E_ABORT: return "E_ABORT";
    case RS_E_READ: return "E_READ";
    case RS_E_WRITE: return "E_WRITE";
    case RS_E_NOMEM: return "E_NOMEM";
    case RS_E_INTERNAL: return "internal";
    }
    return "unknown";
}

const char *rs_status_text(rs_status status)
{
    switch (status) {
    case RS_OK: return "success";
    case RS_NO: return "the comparison or threshold was not met";
    case RS_USAGE: return "wrong option or argument, or a request that cannot be met";
    case RS_E_MAGIC: return "not an RSQ file";
    case RS_E_VERSION: return "needs a newer reader: version, frame, flag or transform is unknown";
    case RS_E_TRUNC: return "ends too early";
    case RS_E_SUM: return "a hash does not agree with the bytes";
    case RS_E_FRAME: return "frame type, order, sequence or padding is wrong";
    case RS_E_META: return "metadata is malformed or out of range";
    case RS_E_LIMIT: return "above a limit";
    case RS_E_TENSOR: return "tensor fields contradict each other, the plan or the payload";
    case RS_E_DUP: return "a name or key is given twice";
    case RS_E_PROV: return "provenance chain is broken";
    case RS_E_TRAIL: return "bytes after the end";
    case RS_E_INDEX: return "index or tail disagrees with the frames";
    case RS_E_VALUE: return "bad numbers";
    case RS_E_IMPORT: return "foreign file rejected or unsupported";
    case RS_E_ABORT: return "the stage upstream failed";
    case RS_E_READ: return "cannot read";
    case RS_E_WRITE: return "cannot write";
    case RS_E_NOMEM: return "not enough memory";
    case RS_E_INTERNAL: return "internal fault";
    }
    return "unknown status";
}
