// SPDX-License-Identifier: Apache-2.0
// Quantises one matrix by GPTQ from numbers on standard input and writes the decoded weights to standard output; the other side is gptq.py.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/threads.h"
#include "quantize/gptq.h"
#include "transforms/weights.h"

static float *floats(size_t n)
{
    float *p = malloc(n * sizeof *p + 1);
    if (p == NULL || fread(p, sizeof *p, n, stdin) != n) exit(1);
    return p;
}

int main(void)
{
    enum { ROWS, COLS, BITS, GROUP, ACT_ORDER, BLOCK, COUNT };
    uint64_t n[COUNT];
    double damp;
    rs_error e = {0};
    if (fread(n, sizeof n, 1, stdin) != 1 || fread(&damp, sizeof damp, 1, stdin) != 1) return 1;
    float *w = floats(n[ROWS] * n[COLS]), *H = floats(n[COLS] * n[COLS]), *out = malloc(n[ROWS] * n[COLS] * sizeof *out);
    rs_tensor t = {.name = "w", .role = RS_ROLE_Q, .layer = 0, .expert = -1, .dtype = RS_F32, .enc = RS_ENC_RAW, .n_dims = 2, .shape = {n[ROWS], n[COLS]}}, packed;
    rs_scheme s = rs_scheme_default();
    rs_gptq_options o = {.damp = damp, .block = n[BLOCK], .act_order = n[ACT_ORDER] != 0};
    rs_gptq_factor f;
    s.w_bits = (int)n[BITS];
    s.group = n[GROUP];
    rs_threads_set(2);
    rs_status st = rs_gptq_factorise(&f, &o, n[COLS], H, &e);
    if (st == RS_OK) st = rs_quantize_layout(&s, &t, &packed, &e);
    uint8_t *payload = st == RS_OK ? aligned_alloc(64, (packed.payload_len + 63) / 64 * 64) : NULL;
    if (st == RS_OK) st = rs_gptq_pack(&s, &packed, &o, &f, w, payload, NULL, NULL, &e);
    if (st == RS_OK) st = rs_weights_rows(&packed, payload, 0, n[ROWS], out, &e);
    if (st != RS_OK) fprintf(stderr, "%s\n", e.text);
    bool written = st == RS_OK && fwrite(out, sizeof *out, n[ROWS] * n[COLS], stdout) == n[ROWS] * n[COLS];
    rs_gptq_factor_free(&f);
    free(w);
    free(H);
    free(out);
    free(payload);
    return !written;
}
