// SPDX-License-Identifier: Apache-2.0
// Text token by token: a prompt at once, in pieces and one by one gives the same logits; integer execution gives those of the simulated one; stops, draws, characters in several tokens; rates.
#include "inspect/prompt.h"

#include <math.h>

#include "inspect/bench.h"
#include "tests/stages.h"

enum { S = 23, V = 50 };
static char model[128], rot[128], fused[128], cut[128], packed[128];

// a..z are 0..25, a space 26, 27 to 29 the bytes of a euro sign, 30 and 31 those of an e with an acute accent, 32 a letter a with half of another character behind it.
static const char tokenizer_json[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"e\":4,\"f\":5,\"g\":6,\"h\":7,\"i\":8,\"j\":9,\"k\":10,\"l\":11,\"m\":12,\"n\":13,\"o\":14,\"p\":15,\"q\":16,\"r\":17,"
    "\"s\":18,\"t\":19,\"u\":20,\"v\":21,\"w\":22,\"x\":23,\"y\":24,\"z\":25,\"\xc4\xa0\":26,\"\xc3\xa2\":27,\"\xc4\xa4\":28,\"\xc2\xac\":29,\"\xc3\x83\":30,\"\xc2\xa9\":31,\"a\xc3\x83\":32},"
    "\"merges\":[\"a \xc3\x83\"]},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},\"added_tokens\":[{\"id\":40,\"content\":\"<e>\",\"special\":true}]}";

static bool make(unsigned w, unsigned a, unsigned kv, rs_dtype rest, int head)
{
    tiny_spec s = tiny_default();
    rs_error e = {0};
    rs_pack_options o = stages_pack_default();
    o.scheme.w_bits = (int)w;
    o.scheme.rest = rest;
    o.scheme.head_bits = head;
    o.a.bits = a;
    o.kv.bits = kv;
    s.tied = false;
    return CHECK(tiny_model(model, &s) && tiny_rotations(rot, &s, TINY_DENSE, 0.2, 0, 3, model)) &&
           CHECKF(tiny_fuse(model, rot, fused, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK && stages_residual(fused, rot, cut, 8, &e) == RS_OK &&
                      stages_pack(cut, packed, &o, &e) == RS_OK,
                  "%s", e.text);
}

static void ids_of(int32_t *ids)
{
    for (int i = 0; i < S; i++)
        ids[i] = (i * 17 + 3) % V;
}

// Logits of the last of S tokens, fed in steps.
static void feed(const rs_kernels *k, const rs_int_kernels *by, size_t step, float *out)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_generator *g = NULL;
    rs_error e = {0};
    int32_t ids[S];
    ids_of(ids);
    bool ok = CHECKF(stages_network(packed, k, &m, &n, &e) == RS_OK && rs_generator_open(&g, n, by, S + 1, &e) == RS_OK, "%s", e.text);
    for (int again = 0; again < 2 && ok; again++) { // the second time in a cache that was in use
        for (size_t s = 0; s < S && ok; s += step) {
            const float *logits;
            ok = CHECKF(rs_generator_feed(g, ids + s, S - s < step ? S - s : step, &logits, &e) == RS_OK, "%s", e.text);
            if (ok)
                memcpy(out + again * V, logits, V * sizeof *out);
        }
        if (ok)
            CHECK(rs_generator_count(g) == S && rs_generator_cache_bytes(g) > 0);
        if (ok)
            rs_generator_reset(g);
    }
    if (ok) {
        const float *logits;
        CHECK(rs_generator_feed(g, ids, 0, &logits, &e) == RS_USAGE);
        CHECK(rs_generator_feed(g, ids, S, &logits, &e) == RS_OK && rs_generator_feed(g, ids, 2, &logits, &e) == RS_USAGE && rs_generator_feed(g, ids, 1, &logits, &e) == RS_OK);
        CHECK(rs_generator_feed(g, (int32_t[]){V}, 1, &logits, &e) == RS_USAGE);
        rs_generator_reset(g);
        CHECK(rs_generator_feed(g, (int32_t[]){V}, 1, &logits, &e) == RS_E_VALUE);
        CHECKF(memcmp(out, out + V, V * sizeof *out) == 0, "steps of %zu: other logits in a cache that was in use", step);
    }
    rs_generator_close(g);
    rs_network_close(n);
    rs_mapped_close(m);
}

// The same over a whole window: by integers, or simulated, from values or from sums of codes.
static bool whole(const rs_kernels *k, const rs_int_kernels *by, bool sums, float *out)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_error e = {0};
    int32_t ids[S];
    float *logits = NULL;
    ids_of(ids);
    if (CHECKF(stages_network(packed, k, &m, &n, &e) == RS_OK, "%s", e.text)) {
        rs_network_integer(n, by);
        if (sums)
            rs_network_sums(n);
        logits = stages_logits(n, S, ids, &e);
    }
    if (CHECKF(logits != NULL, "%s", e.text))
        memcpy(out, logits + (S - 1) * V, V * sizeof *out);
    rs_network_close(n);
    rs_mapped_close(m);
    free(logits);
    return logits != NULL;
}

static void same_however_fed(void)
{
    static const struct {
        unsigned w, a, kv;
        double near; // of the simulated logits: what codes that fall on the other side of a border may do
    } of[] = {{4, 4, 4, 0.3}, {3, 4, 3, 0.3}, {8, 8, 8, 0.02}, {4, 8, 16, 0.1}, {4, 16, 16, 5e-3}, {16, 16, 16, 2e-3}};
    float want[2 * V], got[2 * V];
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        if (!make(of[i].w, of[i].a, of[i].kv, i % 2 == 0 ? RS_F16 : RS_F32, i == 2 || i == 5 ? 8 : i == 3 ? 5 : 0))
            return;
        for (int best = 0; best < 2; best++) {
            const rs_kernels *k = best ? rs_kernels_cpu() : rs_kernels_reference();
            char what[64];
            snprintf(what, sizeof what, "W%uA%uKV%u, %s kernels", of[i].w, of[i].a, of[i].kv, k->name);
            feed(k, rs_int_reference(), S, want);
            for (size_t v = 1; rs_int_at(v) != NULL; v++) {
                feed(k, rs_int_at(v), S, got);
                CHECKF(memcmp(got, want, V * sizeof *got) == 0, "%s: other logits by %s", what, rs_int_name(rs_int_at(v)));
            }
            for (size_t step = 1; step < S; step += 5) {
                feed(k, rs_int_cpu(), step, got);
                const double x = tiny_difference(V, want, got);
                CHECKF(best ? x <= of[i].near : x == 0, "%s: in steps of %zu logits differ by %.3g", what, step, x);
            }
            if (whole(k, rs_int_cpu(), false, got)) {
                const double x = tiny_difference(V, want, got);
                CHECKF(x <= (best ? of[i].near : 1e-6), "%s: as one window logits differ by %.3g", what, x);
            }
            float integers[V];
            memcpy(integers, got, sizeof integers);
            if (of[i].kv < 16 && whole(k, NULL, true, got))
                CHECKF(memcmp(got, integers, sizeof integers) == 0, "%s: simulated from sums of codes, other logits, by %.3g", what, tiny_difference(V, integers, got));
            if (whole(k, NULL, false, got)) {
                const double x = tiny_difference(V, want, got);
                CHECKF(x <= of[i].near, "%s: from the simulated ones logits differ by %.3g", what, x);
            }
        }
    }
}

// ---- text

struct text {
    char all[4096];
    size_t n, pieces, most; // most: pieces after which it is enough
    bool split;             // a piece ended within a character that goes on
};

static bool on_piece(void *context, const char *bytes, size_t len)
{
    struct text *t = context;
    if (t->n + len < sizeof t->all)
        memcpy(t->all + t->n, bytes, len);
    t->split = t->split || (len > 0 && t->n > 0 && ((unsigned char)bytes[0] & 0xc0) == 0x80 && (unsigned char)t->all[t->n - 1] >= 0xc0);
    t->n += len;
    return ++t->pieces < t->most;
}

static rs_status go_on(const char *prompt, rs_prompt_options o, struct text *t, rs_prompt_result *r)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_tokenizer *tokenizer = NULL;
    rs_error e = {0};
    const size_t most = t->most != 0 ? t->most : SIZE_MAX;
    *t = (struct text){.most = most};
    o.piece = on_piece;
    o.context = t;
    if (o.sampling.top_p == 0)
        o.sampling.top_p = 1;
    rs_status s = stages_network(packed, NULL, &m, &n, &e);
    if (s == RS_OK) s = rs_tokenizer_parse(&tokenizer, tokenizer_json, sizeof tokenizer_json - 1, &e);
    if (s == RS_OK) s = rs_prompt_continue(n, tokenizer, prompt, strlen(prompt), &o, r, &e);
    rs_tokenizer_free(tokenizer);
    rs_network_close(n);
    rs_mapped_close(m);
    return s;
}

static void text(void)
{
    struct text a = {0}, b = {0};
    rs_prompt_result r, q;
    if (!make(4, 8, 4, RS_F16, 0)) return;
    const rs_sampler_options hot = {.temperature = 50, .seed = 1}, other = {.temperature = 50, .seed = 2};
    CHECK(go_on("abc", (rs_prompt_options){.tokens = 300, .sampling = hot}, &a, &r) == RS_OK);
    CHECK(r.prompt_tokens == 3 && r.tokens == 300 && !r.stopped && r.prefill > 0 && r.decode > 0 && r.cache_bytes > 0);
    CHECK(go_on("abc", (rs_prompt_options){.tokens = 300, .sampling = hot}, &b, &q) == RS_OK);
    CHECK(a.n == b.n && a.n > 200 && memcmp(a.all, b.all, a.n) == 0);
    CHECKF(!a.split, "a character came in two pieces");
    CHECKF(memchr(a.all, 0xc3, a.n) != NULL && memchr(a.all, 0xe2, a.n) != NULL, "no byte of a longer character among 300 tokens");
    CHECK(go_on("abc", (rs_prompt_options){.tokens = 300, .sampling = other}, &b, &q) == RS_OK);
    CHECKF(a.n != b.n || memcmp(a.all, b.all, a.n) != 0, "two seeds, one text");
    CHECK(go_on("a<e>\xc3\xa9 ", (rs_prompt_options){.tokens = 1}, &b, &q) == RS_OK && q.prompt_tokens == 4 + 1 && q.tokens == 1); // a, the special one, two bytes, a space
    b.most = 3;
    CHECK(go_on("abc", (rs_prompt_options){.tokens = 300, .sampling = hot}, &b, &q) == RS_OK && b.pieces == 3 && q.tokens < 20);

    b.most = 0;

    // an end token ends the text where it would stand
    int64_t stop[V];
    for (int i = 0; i < V; i++)
        stop[i] = i;
    CHECK(go_on("abc", (rs_prompt_options){.tokens = 9, .stop = stop, .n_stop = V}, &b, &q) == RS_OK && q.tokens == 0 && q.stopped && b.n == 0);
    CHECK(go_on("abc", (rs_prompt_options){.tokens = 300, .sampling = hot, .stop = stop + 5, .n_stop = 2}, &b, &q) == RS_OK && q.stopped && q.tokens > 0 && q.tokens < 300);
    CHECKF(memcmp(a.all, b.all, b.n) == 0, "the text before an end token is another");

    CHECK(go_on("", (rs_prompt_options){.tokens = 1}, &b, &q) == RS_USAGE);
    CHECK(go_on("", (rs_prompt_options){.tokens = 1, .bos = true, .bos_id = 5}, &b, &q) == RS_OK && q.prompt_tokens == 1);
    CHECK(go_on("\xff", (rs_prompt_options){.tokens = 1}, &b, &q) == RS_E_IMPORT);
    CHECK(go_on("a", (rs_prompt_options){.tokens = 1, .sampling = {.temperature = -1}}, &b, &q) == RS_USAGE);
}

// ---- rates: what is counted is exact, what is measured is positive

static void rates(void)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    rs_error e = {0};
    rs_bench_result r;
    const tiny_spec s = tiny_default();
    const rs_bench_options o = {.prefill = 20, .tokens = 5, .rounds = 2};
    if (!make(4, 4, 4, RS_F16, 0) || !CHECK(stages_network(packed, NULL, &m, &n, &e) == RS_OK)) return;
    if (CHECKF(rs_bench_run(n, &o, &r, &e) == RS_OK, "%s", e.text)) {
        const double products = (double)(s.L * (s.d * s.h * (2 * s.n_q + 2 * s.n_kv) + 3 * s.d * s.f));
        CHECKF(r.products == products, "%g products, not %g", r.products, products);
        CHECKF(r.bytes > products / 2 + (double)(V * s.d * 2) && r.bytes < 3 * products, "%g bytes", r.bytes);
        CHECK(r.junctions && r.prefill > 0 && r.decode > 0 && r.read_rate > 0 && r.read_share > 0 && isfinite(r.prefill_cost) && isfinite(r.decode_cost));
        CHECK((r.products_rate > 0) == (rs_int_cpu() != rs_int_reference()));
    }
    rs_network_close(n);
    rs_mapped_close(m);
}

int main(void)
{
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(rot, sizeof rot, "rot.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(cut, sizeof cut, "cut.rsq");
    tiny_path(packed, sizeof packed, "packed.rsq");
    rs_threads_set(2);
    same_however_fed();
    text();
    rates();
    return check_report();
}
