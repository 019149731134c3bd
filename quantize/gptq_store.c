// SPDX-License-Identifier: Apache-2.0
// Results in memory or in a temporary file.
#include "quantize/gptq_store.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/spool.h"

rs_status rs_gptq_store_open(rs_gptq_store *s, size_t n, bool keep, rs_error *e)
{
    *s = (rs_gptq_store){.result = calloc(n + 1, sizeof *s->result), .n = n, .fd = -1};
    if (s->result == NULL) return rs_fail(e, RS_E_NOMEM, "results of %zu matrices", n);
    return keep ? rs_spool_file(&s->fd, e) : RS_OK;
}

void rs_gptq_store_close(rs_gptq_store *s)
{
    if (s->result == NULL) return;
    for (size_t i = 0; i < s->n; i++) free(s->result[i].payload);
    free(s->result);
    if (s->fd >= 0) close(s->fd);
    *s = (rs_gptq_store){.fd = -1};
}

rs_status rs_gptq_store_put(rs_gptq_store *s, size_t i, const rs_tensor *tensor, const rs_gptq_report *report, uint8_t *payload, uint64_t len, rs_error *e)
{
    rs_gptq_result *r = &s->result[i];
    rs_status st = RS_OK;
    if (s->fd >= 0) {
        st = rs_spool_put(s->fd, s->end, payload, (size_t)len, e);
        free(payload);
        payload = NULL;
    }
    if (st != RS_OK) return st;
    free(r->payload);
    *r = (rs_gptq_result){.tensor = tensor, .report = *report, .len = len, .off = s->end, .payload = payload};
    if (s->fd >= 0) s->end += len;
    return RS_OK;
}

rs_status rs_gptq_store_take(rs_gptq_store *s, size_t i, uint8_t *out, uint64_t len, rs_error *e)
{
    rs_gptq_result *r = &s->result[i];
    if (r->tensor == NULL || r->len != len || (s->fd < 0 && r->payload == NULL)) return rs_fail(e, RS_E_INTERNAL, "matrix %zu: no such result", i);
    if (s->fd >= 0) return rs_spool_get(s->fd, r->off, out, (size_t)len, e);
    memcpy(out, r->payload, (size_t)len);
    free(r->payload);
    r->payload = NULL;
    return RS_OK;
}
