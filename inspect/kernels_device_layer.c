// SPDX-License-Identifier: Apache-2.0
// The integer network on a device, layer by layer: the stream goes there, passes the layer as often as is asked for, and comes back.
#include <stdlib.h>
#include <string.h>

#include "inspect/kernels_inside.h"

// What settle says of the layer: rows that it refuses are a failure of the check.
static rs_status settle(rs_kernels_state *s, rs_network *n, rs_error *e)
{
    rs_error why = {0};
    const rs_status status = rs_network_settle(n, &why);
    if (status == RS_E_VALUE) rs_kernels_fail(s, "on the device: %s", why.text);
    return status == RS_OK || status == RS_E_VALUE ? RS_OK : rs_fail(e, status, "layer %llu: %s", (unsigned long long)s->layer, why.text);
}

// from, there: [S, d] on the device; again: [S, d] here.
static rs_status run(rs_kernels_state *s, rs_network *n, float *from, float *there, float *again, float *x, rs_error *e)
{
    const rs_memory *m = rs_network_kernels(n)->memory;
    const size_t bytes = s->S * rs_network_shape(n)->d * sizeof *x;
    m->put(from, x, bytes);
    for (size_t turn = 0; turn < rs_kernels_repeat(s); turn++) {
        m->move(there, from, bytes);
        RS_TRY(rs_network_forward(n, s->S, there, NULL, NULL, e));
        m->get(turn == 0 ? x : again, there, bytes);
        RS_TRY(settle(s, n, e));
        if (turn > 0 && memcmp(x, again, bytes) != 0) rs_kernels_fail(s, "layer %llu: run %zu of the device gives other bits", (unsigned long long)s->layer, turn + 1);
    }
    return RS_OK;
}

rs_status rs_kernels_device_layer(rs_kernels_state *s, rs_network *n, float *x, rs_error *e)
{
    const size_t bytes = s->S * rs_network_shape(n)->d * sizeof *x;
    const rs_decoder_layer *unused;
    float *from = NULL, *there = NULL, *again = malloc(bytes);
    rs_status status = again != NULL ? rs_network_load(n, s->layer, &unused, e) : rs_fail(e, RS_E_NOMEM, "layer %llu", (unsigned long long)s->layer);
    if (status == RS_OK) status = rs_network_alloc(n, bytes, (void **)&from, e);
    if (status == RS_OK) status = rs_network_alloc(n, bytes, (void **)&there, e);
    if (status == RS_OK) status = run(s, n, from, there, again, x, e);
    rs_memory_of(rs_network_kernels(n))->release(from);
    rs_memory_of(rs_network_kernels(n))->release(there);
    free(again);
    return status;
}
