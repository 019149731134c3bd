// SPDX-License-Identifier: Apache-2.0
// The loop from logits to text.
#include "inspect/prompt.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HELD = 4 }; // bytes of a character

struct text {
    const rs_prompt_options *o;
    const rs_tokenizer *t;
    char held[HELD]; // the beginning of a character
    size_t n;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Bytes of the character that begins so; 1 for what begins none.
static size_t length(char first)
{
    const unsigned char c = (unsigned char)first;
    return c >= 0xf0 && c < 0xf8 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc2 && c < 0xe0 ? 2 : 1;
}

// How many of the last bytes begin a character that is not whole.
static size_t unfinished(const char *p, size_t n)
{
    for (size_t back = 1; back <= n && back < HELD; back++) {
        if (((unsigned char)p[n - back] & 0xc0) == 0x80) continue;
        return length(p[n - back]) > back ? back : 0;
    }
    return 0;
}

// Gives out the bytes of a token (NULL: what is left). False: the reader has enough.
static rs_status give(struct text *x, const char *bytes, size_t len, bool *go_on, rs_error *e)
{
    char *all = malloc(x->n + len + 1);
    if (all == NULL) return rs_fail(e, RS_E_NOMEM, "text");
    memcpy(all, x->held, x->n);
    if (len > 0) memcpy(all + x->n, bytes, len);
    const size_t n = x->n + len, held = bytes != NULL ? unfinished(all, n) : 0;
    *go_on = n == held || x->o->piece(x->o->context, all, n - held);
    memcpy(x->held, all + n - held, held);
    x->n = held;
    free(all);
    return RS_OK;
}

static bool ends(const rs_prompt_options *o, int32_t id)
{
    for (size_t i = 0; i < o->n_stop; i++)
        if (o->stop[i] == id) return true;
    return false;
}

static rs_status run(rs_generator *g, rs_sampler *sampler, struct text *x, const int32_t *ids, size_t count, rs_prompt_result *r, rs_error *e)
{
    const float *logits;
    double start = now();
    bool go_on = true;
    RS_TRY(rs_generator_feed(g, ids, count, &logits, e));
    r->prefill = now() - start;
    while (go_on && r->tokens < x->o->tokens) {
        int32_t id;
        size_t len;
        RS_TRY(rs_sampler_next(sampler, logits, &id, e));
        r->stopped = ends(x->o, id);
        if (r->stopped) break;
        const char *piece = rs_tokenizer_piece(x->t, id, &len);
        if (piece != NULL) RS_TRY(give(x, piece, len, &go_on, e)); // rows of the head beyond the vocabulary mean nothing
        if (++r->tokens == x->o->tokens) break;
        start = now();
        RS_TRY(rs_generator_feed(g, &id, 1, &logits, e));
        r->decode += now() - start;
    }
    return go_on ? give(x, NULL, 0, &go_on, e) : RS_OK;
}

rs_status rs_prompt_continue(rs_network *n, const rs_tokenizer *t, const char *prompt, size_t len, const rs_prompt_options *o, rs_prompt_result *r, rs_error *e)
{
    int32_t *ids = NULL;
    size_t count = 0;
    rs_generator *g = NULL;
    rs_sampler *sampler = NULL;
    struct text x = {.o = o, .t = t};
    memset(r, 0, sizeof *r);
    rs_status s = rs_sampler_new(&sampler, (size_t)rs_network_config(n)->V, &o->sampling, e);
    if (s == RS_OK) s = rs_tokenizer_encode(t, prompt, len, true, 1, &ids, &count, e);
    if (s == RS_OK && o->bos) {
        int32_t *more = realloc(ids, (count + 1) * sizeof *ids);
        if (more == NULL) {
            s = rs_fail(e, RS_E_NOMEM, "prompt");
        } else {
            memmove(more + 1, more, count * sizeof *ids);
            more[0] = o->bos_id;
            ids = more;
            count++;
        }
    }
    if (s == RS_OK && count == 0) s = rs_fail(e, RS_USAGE, "the prompt has no tokens");
    if (s == RS_OK) s = rs_generator_open(&g, n, o->by, count + o->tokens, e);
    if (s == RS_OK) {
        r->prompt_tokens = count;
        r->cache_bytes = rs_generator_cache_bytes(g);
        s = run(g, sampler, &x, ids, count, r, e);
    }
    rs_generator_close(g);
    rs_sampler_free(sampler);
    free(ids);
    return s;
}
