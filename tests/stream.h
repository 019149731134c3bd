// SPDX-License-Identifier: Apache-2.0
// Small streams for the tests of the container: a head, a tensor of each kind, and a whole stream in memory.
#ifndef RS_TESTS_STREAM_H
#define RS_TESTS_STREAM_H

#include "formats/writer.h"
#include "tests/check.h"

__attribute__((unused)) static rs_head stream_head(void)
{
    rs_head h = {.align = 64, .kind = RS_KIND_WEIGHTS, .arch = "llama", .model = "small", .layers = 1};
    h.plan = rs_plan_none();
    return h;
}

__attribute__((unused)) static rs_tensor stream_tensor(const char *name, rs_role role, int64_t layer, rs_dtype dtype, int n_dims, uint64_t rows, uint64_t cols)
{
    rs_tensor t = {.role = role, .layer = layer, .expert = -1, .dtype = dtype, .n_dims = n_dims, .shape = {rows, cols}};
    snprintf(t.name, sizeof t.name, "%s", name);
    return t;
}

// Payload of a tensor: bytes that count up, zeros where they belong.
__attribute__((unused)) static uint8_t *stream_payload(const rs_tensor *t)
{
    uint8_t *p = calloc(1, (size_t)t->payload_len + 1);
    for (int i = 0; p != NULL && i < t->n_parts; i++)
        for (uint64_t k = 0; k < t->parts[i].len; k++) p[t->parts[i].off + k] = (uint8_t)(k * 7 + (uint64_t)i);
    int bits = rs_enc_bits(t->enc);
    if (p == NULL || bits == 0 || t->shape[0] == 0) return p;
    uint64_t row = t->parts[0].len / t->shape[0], used = t->shape[1] * (uint64_t)bits % 8;
    for (uint64_t r = 1; used != 0 && r <= t->shape[0]; r++) p[r * row - 1] &= (uint8_t)((1u << used) - 1);
    return p;
}

// Lays out and writes one tensor.
__attribute__((unused)) static rs_status stream_put(rs_writer *w, rs_tensor *t, uint64_t rank, rs_error *e)
{
    RS_TRY(rs_tensor_layout(t, RS_F32, rank, e));
    uint8_t *p = stream_payload(t);
    if (p == NULL) return RS_E_NOMEM;
    rs_status st = rs_writer_tensor(w, t, p, e);
    free(p);
    return st;
}

// Writes the small stream: one link, two files, four tensors (f32, bf16, int3 with pad bits, a scalar), one statistics frame, one input.
__attribute__((unused)) static rs_status stream_write(rs_out *out, const rs_head *head, rs_error *e)
{
    static const char *const argv[] = {"rs-test", "model"};
    rs_writer *w = NULL;
    rs_prov link = {.tool = "rs-test", .ver = "0", .commit = "none", .argv = argv, .argc = 2};
    rs_tensor norm = stream_tensor("model.layers.0.input_layernorm.weight", RS_ROLE_NORM, 0, RS_F32, 1, 8, 0);
    rs_tensor embed = stream_tensor("model.embed_tokens.weight", RS_ROLE_EMBED, -1, RS_BF16, 2, 5, 8);
    rs_tensor q = stream_tensor("model.layers.0.self_attn.q_proj.weight", RS_ROLE_Q, 0, RS_F16, 2, 3, 10);
    rs_tensor scalar = stream_tensor("scalar", RS_ROLE_OTHER, -1, RS_F32, 0, 0, 0);
    rs_stat_head s = {.of = "weight", .step = 0, .n_parts = 1, .parts = {{.key = "rms", .dtype = RS_F32, .len = 40, .n_dims = 1, .shape = {10}}}, .payload_len = 40};
    rs_input_sum in = {.fmt = "safetensors", .size = 1234, .digest = {1, 2, 3}};
    uint8_t rms[40] = {1, 2, 3};
    q.enc = RS_ENC_INT3;
    q.group = 5;
    snprintf(s.name, sizeof s.name, "%s", q.name);
    rs_status st = rs_writer_open(&w, out, head, e);
    if (st == RS_OK) st = rs_writer_prov(w, &link, e);
    if (st == RS_OK) st = rs_writer_file(w, "config.json", "{}\n", 3, e);
    if (st == RS_OK) st = rs_writer_file(w, "empty", NULL, 0, e);
    if (st == RS_OK) st = stream_put(w, &norm, 0, e);
    if (st == RS_OK) st = rs_tensor_add_xf(&embed, "gamma", 8, 0, e);
    if (st == RS_OK) st = stream_put(w, &embed, 0, e);
    if (st == RS_OK) st = stream_put(w, &q, 0, e);
    if (st == RS_OK) st = stream_put(w, &scalar, 0, e);
    if (st == RS_OK) st = rs_writer_stat(w, &s, rms, e);
    if (st == RS_OK) st = rs_writer_input(w, 0, &in, e);
    if (st == RS_OK) st = rs_writer_finish(w, e);
    rs_writer_free(w);
    return st;
}

// The small stream in memory (malloc), NULL on failure, which is printed.
__attribute__((unused)) static uint8_t *stream_bytes(const rs_head *head, size_t *len)
{
    rs_out *out = NULL;
    rs_error e = {0};
    uint8_t *copy = NULL;
    rs_status st = rs_out_memory(&out, &e);
    if (st == RS_OK) st = stream_write(out, head, &e);
    if (CHECKF(st == RS_OK, "%s: %s", rs_status_name(st), e.text)) {
        const uint8_t *p = rs_out_bytes(out, len);
        copy = malloc(*len + 1);
        if (copy != NULL) memcpy(copy, p, *len);
    }
    rs_out_close(out);
    return copy;
}

#endif
