// SPDX-License-Identifier: Apache-2.0
// A source through rs_import into a stream in memory and back: order, roles, RoPE rows, digests; the table of names; rules by name.
#include "formats/import.h"

#include "formats/hash.h"
#include "formats/reader.h"
#include "tests/check.h"

#define MAX_TENSORS 32

typedef struct stream {
    rs_out *out;
    size_t n;
    rs_tensor tensor[MAX_TENSORS];
    float *value[MAX_TENSORS];
    char files[200];
    rs_input_sum sum[8];
    size_t n_sum;
    char source[32];
} stream;

static const char *golden(const char *name)
{
    static char path[2][4096];
    static int turn;
    turn ^= 1;
    const char *t = getenv("T");
    snprintf(path[turn], sizeof path[turn], "%s/golden/import/good/%s", t != NULL ? t : "tests", name);
    return path[turn];
}

static rs_status read_back(stream *s, rs_error *e)
{
    size_t len, n;
    const uint8_t *p = rs_out_bytes(s->out, &len);
    rs_in *in;
    rs_reader *r;
    rs_frame f;
    RS_TRY(rs_in_memory(&in, p, len, e));
    RS_TRY(rs_reader_open(&r, in, e));
    const rs_prov *prov = rs_reader_prov(r, &n);
    snprintf(s->source, sizeof s->source, "%s", rs_map_str(prov[0].params, "source", "?"));
    for (;;) {
        RS_TRY(rs_reader_next(r, &f, e));
        if (f.type == RS_FRAME_END) break;
        if (f.type == RS_FRAME_FILE) snprintf(s->files + strlen(s->files), sizeof s->files - strlen(s->files), "%s ", f.file_name);
        if (f.type != RS_FRAME_TENS || s->n == MAX_TENSORS) continue;
        s->tensor[s->n] = *f.tensor;
        s->value[s->n] = malloc((size_t)f.payload_len + 1);
        if (s->value[s->n] == NULL) return RS_E_NOMEM;
        RS_TRY(rs_reader_read_all(r, s->value[s->n++], e));
    }
    const rs_input_sum *sum = rs_reader_inputs(r, 0, &s->n_sum);
    if (s->n_sum > 8) s->n_sum = 8;
    memcpy(s->sum, sum, s->n_sum * sizeof *sum);
    rs_reader_free(r);
    rs_in_close(in);
    return RS_OK;
}

static rs_status import_to(stream *s, const char *path, const rs_source_options *o, int threads, rs_error *e)
{
    rs_import m;
    rs_writer *w;
    memset(s, 0, sizeof *s);
    RS_TRY(rs_import_open(&m, path, o, e));
    RS_TRY(rs_out_memory(&s->out, e));
    rs_arena *a = rs_arena_new();
    rs_head head = rs_import_head(&m);
    const char *const argv[] = {"rs-import"};
    rs_prov prov = {.tool = "rs-import", .ver = "0", .commit = "test", .argv = argv, .argc = 1, .params = rs_import_params(&m, a)};
    RS_TRY(rs_writer_open(&w, s->out, &head, e));
    RS_TRY(rs_writer_prov(w, &prov, e));
    RS_TRY(rs_import_write(&m, w, threads, NULL, NULL, e));
    RS_TRY(rs_writer_finish(w, e));
    rs_writer_free(w);
    rs_arena_free(a);
    rs_import_close(&m);
    return read_back(s, e);
}

static bool import_good(stream *s, const char *name, int threads)
{
    rs_error e = {0};
    rs_source_options o = {0};
    rs_status got = import_to(s, golden(name), &o, threads, &e);
    return CHECKF(got == RS_OK, "%s: %s", name, e.text);
}

static void drop(stream *s)
{
    for (size_t i = 0; i < s->n; i++) free(s->value[i]);
    rs_out_close(s->out);
}

// The golden GGUF file and the golden directory hold the same numbers under each name, row by row as stored: so q and k rows differ by the order of RoPE only.
static void same_model(const char *left, const char *right)
{
    stream a, b;
    if (!import_good(&a, left, 1) || !import_good(&b, right, 2)) return;
    static const rs_role order[] = {RS_ROLE_NORM, RS_ROLE_NORM, RS_ROLE_NORM, RS_ROLE_EMBED, RS_ROLE_Q, RS_ROLE_K, RS_ROLE_V, RS_ROLE_O, RS_ROLE_GATE, RS_ROLE_UP, RS_ROLE_DOWN};
    CHECK(a.n == 11 && b.n == 11);
    for (size_t i = 0; i < a.n && i < b.n; i++) {
        const rs_tensor *t = &a.tensor[i];
        CHECK(strcmp(t->name, b.tensor[i].name) == 0 && t->role == order[i] && t->layer == (order[i] == RS_ROLE_EMBED || i == 2 ? -1 : 0));
        size_t rows = (size_t)t->shape[0], cols = t->n_dims == 2 ? (size_t)t->shape[1] : 1;
        bool turned = t->role == RS_ROLE_Q || t->role == RS_ROLE_K, same = true;
        for (size_t r = 0; r < rows; r++) {
            size_t from = turned ? r / 4 * 4 + (r % 4 < 2 ? r % 4 * 2 : (r % 4 - 2) * 2 + 1) : r; // heads of 4: rows 0 2 1 3
            same = same && memcmp(a.value[i] + r * cols, b.value[i] + from * cols, cols * 4) == 0;
        }
        CHECKF(same, "%s: rows of %s", left, t->name);
    }
    CHECK(strcmp(a.files, "config.json tokenizer.json tokenizer_config.json ") == 0 && strcmp(b.files, "config.json tokenizer.json ") == 0);
    CHECK(strcmp(a.source, "gguf") == 0 && strcmp(b.source, "safetensors") == 0);
    drop(&a);
    drop(&b);
}

static void digests(void)
{
    stream s;
    char bytes[65536];
    uint8_t want[16];
    if (!import_good(&s, "shards", 2)) return;
    static const char *const names[] = {"shards/model-00001-of-00002.safetensors", "shards/model-00002-of-00002.safetensors", "shards/model.safetensors.index.json", "shards/config.json", "shards/tokenizer.json"};
    CHECK(s.n_sum == 5);
    for (size_t i = 0; i < 5 && i < s.n_sum; i++) {
        FILE *f = fopen(golden(names[i]), "rb");
        if (!CHECKF(f != NULL, "%s", names[i])) continue;
        size_t n = fread(bytes, 1, sizeof bytes, f);
        fclose(f);
        rs_hash_128(bytes, n, want);
        CHECKF(s.sum[i].size == n && memcmp(s.sum[i].digest, want, 16) == 0 && strcmp(s.sum[i].fmt, i < 2 ? "safetensors" : "json") == 0, "%s", names[i]);
    }
    drop(&s);
}

static void kinds(void)
{
    stream s;
    if (import_good(&s, "half-precision", 1)) {
        CHECK(s.tensor[0].dtype == RS_F16 && s.tensor[0].payload_len == 16);
        drop(&s);
    }
    if (import_good(&s, "untied", 1)) {
        CHECK(s.n == 12 && s.tensor[11].role == RS_ROLE_HEAD && strcmp(s.tensor[11].name, "lm_head.weight") == 0);
        drop(&s);
    }
    if (import_good(&s, "biases.gguf", 1)) {
        CHECK(s.n == 15 && s.tensor[5].role == RS_ROLE_BIAS && strcmp(s.tensor[5].name, "model.layers.0.self_attn.q_proj.bias") == 0);
        drop(&s);
    }
}

static void rules(void)
{
    unsigned lenient = 0;
    CHECK(rs_import_lenient("gguf-tail", &lenient, NULL) == RS_OK && lenient == RS_LENIENT_GGUF_TAIL);
    CHECK(rs_import_lenient("st-meta-dup", &lenient, NULL) == RS_OK && lenient == (RS_LENIENT_GGUF_TAIL | RS_LENIENT_ST_META_DUP));
    CHECK(rs_import_lenient("gguf", &lenient, NULL) == RS_USAGE);
}

// Every place of the table has a name of its own, and the counts agree with the kinds of bias and of head.
static void table(void)
{
    rs_config c = {.L = 3, .d = 8, .f = 12, .h = 4, .n_q = 2, .n_kv = 1, .V = 5};
    CHECK(rs_model_count(&c) == 7 + 1 + 3 * 7 + 1);
    c.tied = c.attention_bias = c.mlp_bias = true;
    uint64_t n = rs_model_count(&c);
    CHECK(n == 7 + 1 + 3 * 14);
    for (uint64_t i = 0; i < n; i++) {
        rs_model_tensor a, b;
        rs_model_at(&c, i, &a);
        CHECK(a.name[0] != 0 && a.gguf[0] != 0 && a.shape[0] != 0);
        for (uint64_t k = 0; k < i; k++) {
            rs_model_at(&c, k, &b);
            CHECKF(strcmp(a.name, b.name) != 0 && strcmp(a.gguf, b.gguf) != 0, "%s", a.name);
        }
    }
    rs_model_tensor t;
    rs_model_at(&c, 8 + 14 + 3, &t);
    CHECK(strcmp(t.name, "model.layers.1.self_attn.k_proj.bias") == 0 && strcmp(t.gguf, "blk.1.attn_k.bias") == 0 && t.n_dims == 1 && t.shape[0] == 4 && t.interleaved == 1 && t.role == RS_ROLE_BIAS && t.layer == 1);
}

int main(void)
{
    same_model("v3.gguf", "directory");
    same_model("v2.gguf", "shards");
    same_model("last-tensor-unpadded.gguf", "spaces-around-header");
    digests();
    kinds();
    rules();
    table();
    return check_report();
}
