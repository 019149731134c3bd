// SPDX-License-Identifier: Apache-2.0
// What a file's plan makes of rows, and GPTQ of a matrix by a peer, from numbers on standard input to numbers on standard output; the other side is compat.py.
//
//   rows FILE q|k|v|o|gate|up|down|K|V ROWS COLS   quantised as layer 0 does; K, V [tokens, heads * h]: then once more, as the packed cache gives them; inputs without groups: then from codes
//   gptq PEER BITS GROUP ACT_ORDER BLOCK ROWS COLS  weights, Hessian -> decoded weights
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quantize/gptq.h"
#include "transforms/network.h"
#include "transforms/weights.h"

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (p == NULL) exit(1);
    return p;
}

static float *floats(size_t n)
{
    float *p = memory(n * sizeof *p);
    if (fread(p, sizeof *p, n, stdin) != n) exit(1);
    return p;
}

static bool put(size_t n, const float *x)
{
    return fwrite(x, sizeof *x, n, stdout) == n;
}

// K or V through the cache of the network, and read again.
static rs_status cached(rs_network *n, const rs_int_kernels *by, bool values, size_t tokens, float *x, rs_error *e)
{
    rs_kv_cache c;
    RS_TRY(rs_network_cache(n, tokens, &c, e));
    void *work = memory(rs_kv_cache_work(&c, tokens));
    float *head = memory(tokens * c.h * sizeof *head);
    (void)!rs_kv_cache_append(&c, by, tokens, x, x, work);
    for (size_t i = 0; i < c.n_kv; i++) {
        rs_kv_read_plain(&c, values, i, 0, tokens, head);
        for (size_t t = 0; t < tokens; t++) memcpy(x + (t * c.n_kv + i) * c.h, head + t * c.h, c.h * sizeof *x);
    }
    free(head);
    free(work);
    free(c.memory);
    return RS_OK;
}

static rs_status rows(char **argv, rs_error *e)
{
    static const char *const names[] = {"q", "k", "v", "o", "gate", "up", "down"};
    const size_t m = strtoul(argv[2], NULL, 10), cols = strtoul(argv[3], NULL, 10);
    const bool kv = argv[1][0] == 'K' || argv[1][0] == 'V';
    const rs_decoder_layer *l;
    rs_mapped *file;
    rs_network *n;
    RS_TRY(rs_mapped_open(&file, argv[0], e));
    RS_TRY(rs_network_open(&n, file, NULL, e));
    RS_TRY(rs_network_load(n, 0, &l, e));
    const rs_quantizer *inputs[] = {&l->in_q, &l->in_k, &l->in_v, &l->in_o, &l->in_gate, &l->in_up, &l->in_down};
    rs_quantizer q = l->kv;
    if (argv[1][0] == 'V') q.range = l->v_range;
    for (int i = 0; i < 7; i++)
        if (strcmp(argv[1], names[i]) == 0) q = *inputs[i];
    float *x = floats(m * cols), *fake = memory(m * cols * sizeof *fake);
    const size_t h = kv ? rs_network_shape(n)->h : cols;
    memcpy(fake, x, m * cols * sizeof *x);
    if (rs_network_kernels(n)->fake_quant(&q, m * cols / h, h, fake, h) != 0) return rs_fail(e, RS_E_VALUE, "rows that cannot be quantised");
    if (!put(m * cols, fake)) return rs_fail(e, RS_E_WRITE, "standard output");
    if (kv) RS_TRY(cached(n, rs_int_cpu(), argv[1][0] == 'V', m, x, e));
    if (!kv && q.group == 0) {
        rs_int_rows a = {.bits = q.bits, .m = m, .k = cols, .ld = cols, .codes = memory(m * cols), .scale = memory(m * sizeof(float)), .zero = memory(m * sizeof(int32_t))};
        (void)!rs_int_quantise(rs_int_cpu(), &q, x, cols, &a);
        for (size_t i = 0; i < m * cols; i++) x[i] = a.scale[i / cols] * (float)(a.codes[i] - a.zero[i / cols]);
        free(a.codes);
        free(a.scale);
        free(a.zero);
    }
    const bool written = (!kv && q.group != 0) || put(m * cols, x);
    free(x);
    free(fake);
    rs_network_close(n);
    rs_mapped_close(file);
    return written ? RS_OK : rs_fail(e, RS_E_WRITE, "standard output");
}

static rs_status gptq(char **argv, rs_error *e)
{
    size_t n[6];
    for (int i = 0; i < 6; i++) n[i] = strtoul(argv[i + 1], NULL, 10);
    enum { BITS, GROUP, ACT_ORDER, BLOCK, ROWS, COLS };
    rs_scheme s = rs_scheme_default();
    if (!rs_compat_find(argv[0], &s.peer)) return rs_fail(e, RS_USAGE, "no such peer");
    s.w_bits = (int)n[BITS];
    s.group = n[GROUP];
    s.clip_steps = rs_compat_of(s.peer)->steps;
    const rs_gptq_options o = {.damp = 0.01, .block = n[BLOCK], .act_order = n[ACT_ORDER] != 0};
    rs_tensor t = {.name = "w", .role = RS_ROLE_Q, .layer = 0, .expert = -1, .dtype = RS_F32, .enc = RS_ENC_RAW, .n_dims = 2, .shape = {n[ROWS], n[COLS]}}, packed;
    rs_gptq_factor f;
    float *w = floats(n[ROWS] * n[COLS]), *H = floats(n[COLS] * n[COLS]), *out = memory(n[ROWS] * n[COLS] * sizeof *out);
    RS_TRY(rs_gptq_factorise(&f, &o, n[COLS], H, e));
    RS_TRY(rs_quantize_layout(&s, &t, &packed, e));
    uint8_t *payload = memory((size_t)packed.payload_len);
    RS_TRY(rs_gptq_pack(&s, &packed, &o, &f, w, payload, NULL, NULL, e));
    RS_TRY(rs_weights_rows(&packed, payload, 0, n[ROWS], out, e));
    const bool written = put(n[ROWS] * n[COLS], out);
    rs_gptq_factor_free(&f);
    free(w);
    free(H);
    free(out);
    free(payload);
    return written ? RS_OK : rs_fail(e, RS_E_WRITE, "standard output");
}

int main(int argc, char **argv)
{
    rs_error e = {0};
    rs_status st = argc == 6 && strcmp(argv[1], "rows") == 0 ? rows(argv + 2, &e) : argc == 9 && strcmp(argv[1], "gptq") == 0 ? gptq(argv + 2, &e) : rs_fail(&e, RS_USAGE, "arguments");
    if (st != RS_OK) fprintf(stderr, "%s\n", e.text);
    return st != RS_OK || fclose(stdout) != 0;
}
