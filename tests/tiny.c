// SPDX-License-Identifier: Apache-2.0
// Random models, rotation sets and their logits for tests.
#include "tests/tiny.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/config.h"
#include "formats/stage.h"
#include "kernels/decoder.h"
#include "transforms/dense.h"
#include "transforms/lowrank.h"
#include "transforms/plan.h"
#include "transforms/random.h"
#include "transforms/rotation_write.h"

tiny_spec tiny_default(void)
{
    return (tiny_spec){.L = 3, .d = 32, .f = 48, .h = 8, .n_q = 4, .n_kv = 2, .V = 50, .tied = true, .dtype = RS_F32, .seed = 1};
}

static char folder[64];

static void remove_folder(void)
{
    DIR *dir = opendir(folder);
    if (dir == NULL) return;
    for (struct dirent *f; (f = readdir(dir)) != NULL;)
        if (f->d_name[0] != '.' || strlen(f->d_name) > 2) (void)unlinkat(dirfd(dir), f->d_name, 0);
    closedir(dir);
    (void)rmdir(folder);
}

char *tiny_path(char *buf, size_t cap, const char *name)
{
    if (folder[0] == 0) {
        strcpy(folder, "/tmp/respin-test.XXXXXX");
        if (mkdtemp(folder) == NULL) {
            perror("mkdtemp");
            exit(1);
        }
        atexit(remove_folder);
    }
    snprintf(buf, cap, "%s/%s", folder, name);
    return buf;
}

static bool failed(const char *what, const rs_error *e)
{
    fprintf(stderr, "%s: %s: %s\n", what, rs_status_name(e->status), e->text);
    return false;
}

// ---- matrices

// The rotation exp(A) for A = angle / sqrt(2 n) (G - G^T), or A = angle (u v^T - v u^T) over rank / 2 random unit pairs, by its series.
void tiny_near_identity(uint64_t n, double angle, uint64_t rank, uint64_t seed, double *T)
{
    double *a = calloc(n * n, sizeof *a), *term = malloc(n * n * sizeof *term), *next = malloc(n * n * sizeof *next);
    for (uint64_t i = 0; rank == 0 && i < n; i++)
        for (uint64_t j = 0; j < i; j++) {
            a[i * n + j] = angle / (2 * sqrt((double)n)) * 1.414 * rs_random_normal(seed, 11, i * n + j);
            a[j * n + i] = -a[i * n + j];
        }
    for (uint64_t p = 0; p < rank / 2; p++) {
        double uu = 0, vv = 0;
        for (uint64_t i = 0; i < n; i++) {
            uu += pow(rs_random_normal(seed, 12 + 2 * p, i), 2);
            vv += pow(rs_random_normal(seed, 13 + 2 * p, i), 2);
        }
        for (uint64_t i = 0; i < n; i++)
            for (uint64_t j = 0; j < n; j++) {
                double ui = rs_random_normal(seed, 12 + 2 * p, i), vj = rs_random_normal(seed, 13 + 2 * p, j);
                a[i * n + j] += angle / sqrt(uu * vv) / (double)(1 + p) * ui * vj;
                a[j * n + i] -= angle / sqrt(uu * vv) / (double)(1 + p) * ui * vj;
            }
    }
    for (uint64_t i = 0; i < n * n; i++) T[i] = term[i] = i % (n + 1) == 0 ? 1 : 0;
    for (int k = 1; k < 40; k++) {
        rs_dense_nn(n, n, n, term, n, a, n, 0, next, n);
        for (uint64_t i = 0; i < n * n; i++) T[i] += term[i] = next[i] / k;
    }
    free(a);
    free(term);
    free(next);
}

void tiny_rotation(uint64_t n, uint64_t seed, double *R) { tiny_near_identity(n, 3, 0, seed ^ 0x5eed, R); }

// ---- models

static bool write_tensor(rs_writer *w, const tiny_spec *s, const char *name, rs_role role, int64_t layer, uint64_t rows, uint64_t cols, rs_dtype dtype, double mean, double scale, rs_error *e)
{
    rs_tensor t = {.role = role, .layer = layer, .expert = -1, .dtype = dtype, .enc = RS_ENC_RAW, .n_dims = cols == 0 ? 1 : 2, .shape = {rows, cols}};
    snprintf(t.name, sizeof t.name, "%s", name);
    if (rs_tensor_layout(&t, RS_F32, 0, e) != RS_OK) return false;
    uint64_t n = rows * (cols == 0 ? 1 : cols), stream = 100;
    for (const char *c = name; *c != 0; c++) stream = stream * 31 + (unsigned char)*c;
    float *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
    for (uint64_t i = 0; i < n; i++) {
        x[i] = (float)(mean + scale * rs_random_normal(s->seed, stream, i));
        if (role == RS_ROLE_NORM && i % 13 == 5) x[i] *= 6; // channels that stand out
    }
    if (s->nan_in != NULL && strcmp(s->nan_in, name) == 0) x[n - 1] = NAN;
    const rs_kernels *k = rs_kernels_reference();
    void *payload = x;
    if (dtype == RS_F16) k->f32_to_f16(n, x, payload = y);
    if (dtype == RS_BF16) k->f32_to_bf16(n, x, payload = y);
    bool ok = rs_writer_tensor(w, &t, payload, e) == RS_OK;
    free(x);
    free(y);
    return ok;
}

static bool write_layer(rs_writer *w, const tiny_spec *s, int64_t i, rs_error *e)
{
    uint64_t q = s->n_q * s->h, kv = s->n_kv * s->h;
    const struct {
        const char *name;
        rs_role role;
        uint64_t rows, cols;
    } part[] = {
        {"self_attn.q_proj", RS_ROLE_Q, q, s->d}, {"self_attn.k_proj", RS_ROLE_K, kv, s->d}, {"self_attn.v_proj", RS_ROLE_V, kv, s->d}, {"self_attn.o_proj", RS_ROLE_O, s->d, q},
        {"mlp.gate_proj", RS_ROLE_GATE, s->f, s->d}, {"mlp.up_proj", RS_ROLE_UP, s->f, s->d}, {"mlp.down_proj", RS_ROLE_DOWN, s->d, s->f},
    };
    char name[128];
    for (size_t p = 0; p < sizeof part / sizeof part[0]; p++) {
        snprintf(name, sizeof name, "model.layers.%d.%s.weight", (int)i, part[p].name);
        if (!write_tensor(w, s, name, part[p].role, i, part[p].rows, part[p].cols, s->dtype, 0, 1 / sqrt((double)part[p].cols), e)) return false;
        snprintf(name, sizeof name, "model.layers.%d.%s.bias", (int)i, part[p].name);
        if (s->biases && !write_tensor(w, s, name, RS_ROLE_BIAS, i, part[p].rows, 0, s->dtype, 0, 0.3, e)) return false;
    }
    return true;
}

static bool write_model(rs_writer *w, const tiny_spec *s, rs_error *e)
{
    char text[1024], name[128];
    int n = snprintf(text, sizeof text,
                     "{\n  \"architectures\": [\"LlamaForCausalLM\"],\n  \"attention_bias\": %s,\n  \"head_dim\": %d,\n  \"hidden_act\": \"silu\",\n  \"hidden_size\": %d,\n"
                     "  \"intermediate_size\": %d,\n  \"max_position_embeddings\": 256,\n  \"mlp_bias\": %s,\n  \"model_type\": \"llama\",\n  \"num_attention_heads\": %d,\n"
                     "  \"num_hidden_layers\": %d,\n  \"num_key_value_heads\": %d,\n  \"rms_norm_eps\": 1e-05,\n  \"rope_theta\": 10000.0,\n  \"tie_word_embeddings\": %s,\n  \"vocab_size\": %d\n}\n",
                     s->biases ? "true" : "false", (int)s->h, (int)s->d, (int)s->f, s->biases ? "true" : "false", (int)s->n_q, (int)s->L, (int)s->n_kv, s->tied ? "true" : "false", (int)s->V);
    if (rs_writer_file(w, "config.json", text, (size_t)n, e) != RS_OK) return false;
    for (int64_t i = 0; i < (int64_t)s->L; i++)
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "model.layers.%d.%s.weight", (int)i, k == 0 ? "input_layernorm" : "post_attention_layernorm");
            if (!write_tensor(w, s, name, RS_ROLE_NORM, i, s->d, 0, RS_F32, 1, 0.2, e)) return false;
        }
    if (!write_tensor(w, s, "model.norm.weight", RS_ROLE_NORM, -1, s->d, 0, RS_F32, 1, 0.2, e)) return false;
    if (!write_tensor(w, s, "model.embed_tokens.weight", RS_ROLE_EMBED, -1, s->V, s->d, s->dtype, 0.05, 1, e)) return false;
    for (int64_t i = 0; i < (int64_t)s->L; i++)
        if (!write_layer(w, s, i, e)) return false;
    return s->tied || write_tensor(w, s, "lm_head.weight", RS_ROLE_HEAD, -1, s->V, s->d, s->dtype, 0, 1, e);
}

// Opens path, writes head and a first link, lets body write, finishes.
static bool write_file(const char *path, const rs_head *head, const char *tool, bool (*body)(rs_writer *w, const void *context, rs_error *e), const void *context)
{
    rs_error e = {0};
    rs_out *out = NULL;
    rs_writer *w = NULL;
    char arg[16];
    snprintf(arg, sizeof arg, "%s", tool);
    char *argv[] = {arg, NULL};
    bool ok = rs_out_open(&out, path, NULL, 0, &e) == RS_OK && rs_writer_open(&w, out, head, &e) == RS_OK && rs_stage_link(w, tool, 1, argv, NULL, &e) == RS_OK && body(w, context, &e) &&
              rs_writer_finish(w, &e) == RS_OK;
    rs_writer_free(w);
    rs_out_close(out);
    return ok || failed(path, &e);
}

static bool model_body(rs_writer *w, const void *context, rs_error *e) { return write_model(w, context, e); }

bool tiny_model(const char *path, const tiny_spec *s)
{
    rs_head head = {.align = 64, .kind = RS_KIND_WEIGHTS, .arch = "llama", .model = "tiny", .layers = s->L, .plan = rs_plan_none()};
    return write_file(path, &head, "rs-import", model_body, s);
}

// ---- rotation sets

struct set {
    const tiny_spec *s;
    tiny_set kind;
    double angle;
    uint64_t rank, seed;
};

static bool set_body(rs_writer *w, const void *context, rs_error *e)
{
    const struct set *c = context;
    uint64_t d = c->s->d, h = c->s->h;
    double *R = malloc(d * d * sizeof *R), *T = malloc(d * d * sizeof *T), *next = malloc(d * d * sizeof *next), *eye = calloc(d * d, sizeof *eye);
    for (uint64_t i = 0; i < d; i++) eye[i * d + i] = 1;
    tiny_rotation(d, c->seed, R);
    bool ok = rs_rotation_write_basis(w, 0, d, R, e) == RS_OK;
    rs_lowrank *l = NULL;
    ok = ok && rs_lowrank_new(&l, d, e) == RS_OK;
    for (uint64_t j = 0; c->kind != TINY_GLOBAL && j < 2 * c->s->L && ok; j++) {
        tiny_near_identity(d, c->angle, c->kind == TINY_CHAIN ? c->rank : 0, c->seed * 1000 + j + 1, T);
        if (c->kind == TINY_CHAIN) {
            const float *q, *m;
            rs_lowrank_loss loss;
            rs_lowrank_rule rule = {.rank = c->rank};
            ok = rs_lowrank_cut(l, eye, T, &rule, &q, &m, &loss, e) == RS_OK && rs_rotation_write_junction(w, j, d, loss.rank, q, m, e) == RS_OK;
            continue;
        }
        rs_dense_nn(d, d, d, R, d, T, d, 0, next, d);
        memcpy(R, next, d * d * sizeof *R);
        ok = rs_rotation_write_basis(w, j + 1, d, R, e) == RS_OK;
    }
    for (uint64_t i = 0; i < c->s->L && ok; i++) {
        tiny_rotation(h, c->seed * 77 + i, T);
        ok = rs_rotation_write_headrot(w, i, h, T, e) == RS_OK;
    }
    rs_lowrank_free(l);
    free(R);
    free(T);
    free(next);
    free(eye);
    return ok;
}

bool tiny_rotations(const char *path, const tiny_spec *s, tiny_set kind, double angle, uint64_t rank, uint64_t seed, const char *model)
{
    uint8_t digest[16], tensors[16];
    uint64_t size;
    if (model != NULL) {
        rs_error e = {0};
        rs_mapped *m;
        if (rs_mapped_open(&m, model, &e) != RS_OK) return failed(model, &e);
        rs_mapped_digest(m, digest, tensors, &size);
        rs_mapped_close(m);
    }
    rs_head head = rs_rotation_write_head("llama", "tiny", s->L, model == NULL ? NULL : tensors);
    struct set c = {s, kind, angle, rank, seed};
    return write_file(path, &head, "rs-learn", set_body, &c);
}

// ---- stages

rs_status tiny_fuse(const char *in, const char *rotations, const char *out, rs_fuse_options o, rs_error *e)
{
    rs_mapped *m = NULL;
    rs_stage s = {0};
    rs_fuse *f = NULL;
    char *argv[] = {(char[]){"rs-fuse"}, NULL};
    if (rotations != NULL) RS_TRY(rs_mapped_open(&m, rotations, e));
    o.rotations = m;
    rs_status status = rs_stage_open(&s, "rs-fuse", in, e);
    if (status == RS_OK) status = rs_fuse_open(&f, &s, &o, e);
    rs_in *other = m == NULL ? NULL : rs_mapped_in(m);
    if (status == RS_OK) status = rs_stage_begin(&s, out, &other, m != NULL, rs_fuse_head(f), 1, argv, NULL, e);
    if (status == RS_OK) status = rs_fuse_run(f, NULL, NULL, e);
    rs_fuse_close(f);
    if (status == RS_OK) status = rs_stage_finish(&s, e);
    rs_stage_close(&s, e);
    rs_mapped_close(m);
    return status;
}

// ---- logits

void tiny_ids(const tiny_spec *s, size_t S, int32_t *ids)
{
    for (size_t i = 0; i < S; i++) ids[i] = (int32_t)rs_random_below(s->seed, 99, i, s->V);
}

double tiny_difference(size_t n, const float *a, const float *b)
{
    double worst = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        double x = fabs((double)a[i] - b[i]);
        if (x > worst || isnan(x)) worst = x;
        if (fabs((double)a[i]) > most) most = fabs((double)a[i]);
    }
    return worst / most;
}

// A raw tensor as f32; freed with the list at the end.
static float *load(const rs_mapped *m, const char *name, float **list, size_t *n_list)
{
    const rs_tensor *t = rs_mapped_find(m, name);
    uint64_t n;
    if (t == NULL || t->enc != RS_ENC_RAW || !rs_tensor_elements(t, &n)) return NULL;
    const rs_kernels *k = rs_kernels_reference();
    float *x = malloc((n + 1) * sizeof *x);
    const void *p = rs_mapped_payload(m, t);
    if (t->dtype == RS_F16) k->f16_to_f32(n, p, x);
    else if (t->dtype == RS_BF16) k->bf16_to_f32(n, p, x);
    else memcpy(x, p, n * sizeof *x);
    return list[(*n_list)++] = x;
}

static rs_junction junction(const rs_mapped *m, uint64_t j)
{
    char name[32];
    snprintf(name, sizeof name, "resid.%d", (int)j);
    const rs_tensor *t = rs_mapped_find(m, name);
    if (t == NULL) return (rs_junction){0};
    const char *p = (const char *)rs_mapped_payload(m, t);
    if (t->enc == RS_ENC_RAW) return (rs_junction){.t = (const float *)(const void *)p};
    const rs_part *q = rs_tensor_part(t, "q"), *mm = rs_tensor_part(t, "m");
    return (rs_junction){.r = q->shape[1], .q = (const float *)(const void *)(p + q->off), .m = (const float *)(const void *)(p + mm->off)};
}

static bool forward(const rs_mapped *m, size_t S, const int32_t *ids, float **logits, rs_error *e)
{
    const rs_kernels *k = rs_kernels_reference();
    size_t len, n_list = 0;
    const uint8_t *json = rs_mapped_file(m, "config.json", &len);
    rs_config c;
    if (json == NULL || rs_config_parse(&c, json, len, e) != RS_OK) return false;
    const rs_plan *plan = &rs_mapped_head(m)->plan;
    rs_hadamard *r3 = NULL, *r4 = NULL;
    if (plan->r3.on && rs_plan_hadamard(&plan->r3, &r3, e) != RS_OK) return false;
    if (plan->r4.on && rs_plan_hadamard(&plan->r4, &r4, e) != RS_OK) return false;
    rs_decoder_shape shape = {.d = c.d, .f = c.f, .h = c.h, .n_q = c.n_q, .n_kv = c.n_kv, .eps = (float)c.norm_eps, .r3 = r3, .r4 = r4};
    float *x = malloc(S * c.d * sizeof *x), *cosine = malloc(S * c.h * sizeof *x), *sine = malloc(S * c.h * sizeof *x), **list = calloc(32, sizeof *list);
    double *freq = malloc(c.h * sizeof *freq);
    rs_rope_frequencies(c.h, c.rope_theta, freq);
    rs_rope_tables(S, 0, c.h, freq, cosine, sine);
    const float *embed = load(m, "model.embed_tokens.weight", list, &n_list);
    bool ok = embed != NULL;
    for (size_t i = 0; ok && i < S; i++) memcpy(x + i * c.d, embed + (size_t)ids[i] * c.d, c.d * sizeof *x);
    for (uint64_t i = 0; i < c.L && ok; i++) {
        size_t from = n_list;
        char name[128];
        rs_decoder_layer l = {.attn = junction(m, 2 * i), .ffn = junction(m, 2 * i + 1)};
        rs_quantizer off = {.bits = 16, .clip = 1};
        l.in_q = l.in_k = l.in_v = l.in_o = l.in_gate = l.in_up = l.in_down = l.kv = off;
        const struct {
            const char *name;
            const float **to;
            bool needed;
        } part[] = {
            {"input_layernorm.weight", &l.norm_attn, true}, {"post_attention_layernorm.weight", &l.norm_ffn, true},
            {"self_attn.q_proj.weight", &l.wq, true}, {"self_attn.k_proj.weight", &l.wk, true}, {"self_attn.v_proj.weight", &l.wv, true}, {"self_attn.o_proj.weight", &l.wo, true},
            {"mlp.gate_proj.weight", &l.wgate, true}, {"mlp.up_proj.weight", &l.wup, true}, {"mlp.down_proj.weight", &l.wdown, true},
            {"self_attn.q_proj.bias", &l.bq, false}, {"self_attn.k_proj.bias", &l.bk, false}, {"self_attn.v_proj.bias", &l.bv, false}, {"self_attn.o_proj.bias", &l.bo, false},
            {"mlp.gate_proj.bias", &l.bgate, false}, {"mlp.up_proj.bias", &l.bup, false}, {"mlp.down_proj.bias", &l.bdown, false},
        };
        for (size_t p = 0; p < sizeof part / sizeof part[0]; p++) {
            snprintf(name, sizeof name, "model.layers.%d.%s", (int)i, part[p].name);
            *part[p].to = load(m, name, list, &n_list);
            ok = ok && (*part[p].to != NULL || !part[p].needed);
        }
        void *scratch = aligned_alloc(64, (rs_decoder_scratch(&shape, &l, S) + 63) / 64 * 64 + 64);
        if (ok) ok = rs_decoder_forward(k, &shape, &l, S, cosine, sine, x, scratch, NULL, NULL) == 0;
        free(scratch);
        while (n_list > from) free(list[--n_list]);
    }
    const float *norm = load(m, "model.norm.weight", list, &n_list), *head = load(m, "lm_head.weight", list, &n_list);
    if (head == NULL && c.tied) head = embed;
    ok = ok && norm != NULL && head != NULL;
    if (ok) {
        *logits = malloc(S * c.V * sizeof **logits);
        k->rmsnorm(S, c.d, x, norm, (float)c.norm_eps, x);
        k->gemm_nt(S, c.V, c.d, x, c.d, head, c.d, 0, *logits, c.V);
    } else if (e->status == RS_OK) (void)!rs_fail(e, RS_E_TENSOR, "a tensor is missing or has an odd form");
    while (n_list > 0) free(list[--n_list]);
    free(list);
    free(x);
    free(cosine);
    free(sine);
    free(freq);
    rs_hadamard_free(r3);
    rs_hadamard_free(r4);
    return ok;
}

float *tiny_logits(const char *path, size_t S, const int32_t *ids)
{
    rs_error e = {0};
    rs_mapped *m = NULL;
    float *logits = NULL;
    if (rs_mapped_open(&m, path, &e) != RS_OK || !forward(m, S, ids, &logits, &e)) (void)failed(path, &e);
    rs_mapped_close(m);
    return logits;
}
