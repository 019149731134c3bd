// SPDX-License-Identifier: Apache-2.0
// Multiple-choice questions: tokens of contexts and choices, scores against a computation from whole logits in fp64, ties and lengths, cuts, bad lines.
#include "inspect/tasks.h"

#include <math.h>

#include "tests/stages.h"

// a..z are 0..25, a space 26, " a" 27, "ab" 28, a line feed 29, the bytes of e-acute 30 and 31, those of a no-break space 32 and 33; 40 is a special token, 60 lies outside the tiny model.
static const char tokenizer_json[] =
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"e\":4,\"f\":5,\"g\":6,\"h\":7,\"i\":8,\"j\":9,\"k\":10,\"l\":11,\"m\":12,\"n\":13,\"o\":14,\"p\":15,\"q\":16,\"r\":17,"
    "\"s\":18,\"t\":19,\"u\":20,\"v\":21,\"w\":22,\"x\":23,\"y\":24,\"z\":25,\"\xc4\xa0\":26,\"\xc4\xa0"
    "a\":27,\"ab\":28,\"\xc4\x8a\":29,\"\xc3\x83\":30,\"\xc2\xa9\":31,\"\xc3\x82\":32,\"\xc5\x82\":33},\"merges\":[\"\xc4\xa0 a\",\"a b\"]},"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true},\"added_tokens\":[{\"id\":40,\"content\":\"<e>\",\"special\":true},{\"id\":60,\"content\":\"<far>\",\"special\":true}]}";
static rs_tokenizer *tokenizer;
static char model[128], packed[128];

static rs_status parse(rs_tasks *t, const char *text, rs_tasks_options o, int64_t bos, int64_t eos, rs_error *e)
{
    rs_config c = {.bos = bos, .eos = eos};
    if (o.ctx == 0) o.ctx = 1024;
    *e = (rs_error){0};
    return rs_tasks_parse(t, tokenizer, &c, text, strlen(text), &o, e);
}

// ---- tokens

// The first choice of one question: its tokens (ended by -1), of which the last `scored` are its own.
static void check_tokens(const char *line, const char *delimiter, bool bos, size_t ctx, const int *want, size_t scored)
{
    rs_tasks t;
    rs_error e;
    size_t n = 0;
    while (want[n] >= 0) n++;
    if (CHECKF(parse(&t, line, (rs_tasks_options){.delimiter = delimiter, .bos = bos, .ctx = ctx}, 40, 5, &e) == RS_OK, "%s: %s", line, e.text)) {
        const rs_task_choice *c = t.choice;
        CHECKF(c->n == n && c->scored == scored, "%s: %zu tokens, %zu scored, not %zu and %zu", line, c->n, c->scored, n, scored);
        for (size_t i = 0; i < n && i < c->n; i++) CHECKF(c->ids[i] == want[i], "%s: token %zu is %d, not %d", line, i, (int)c->ids[i], want[i]);
    }
    rs_tasks_free(&t);
}
#define IDS(...) (const int[]){__VA_ARGS__, -1}
#define LINE(context, choice) "{\"context\":\"" context "\",\"choices\":[\"" choice "\",\"z\"],\"label\":0}"

static void encoding(void)
{
    check_tokens(LINE("ab c", "a"), " ", false, 0, IDS(28, 26, 2, 27), 1);
    check_tokens(LINE("ab c ", "a"), "", false, 0, IDS(28, 26, 2, 27), 1); // the space at the end of the context is the choice's
    check_tokens(LINE("ab c ", "a"), " ", false, 0, IDS(28, 26, 2, 26, 27), 2);
    check_tokens(LINE("c \\u00a0", "d"), "", false, 0, IDS(2, 26, 32, 33, 3), 4); // as is all that Python strips
    check_tokens(LINE("c\\u00e9", "d"), "", false, 0, IDS(2, 30, 31, 3), 1);
    check_tokens(LINE("a", "bc"), "", false, 0, IDS(0, 2), 1); // what merges across the border belongs to neither
    check_tokens(LINE("a<e>", "b"), "", false, 0, IDS(0, 40, 1), 1);
    // BOS (40), unless the text brings it
    check_tokens(LINE("c", "d"), "", true, 0, IDS(40, 2, 3), 1);
    check_tokens(LINE("<e>c", "d"), "", true, 0, IDS(40, 2, 3), 1);
    check_tokens(LINE(" ", "d"), "", true, 0, IDS(40, 26, 3), 2);
    // an empty context is BOS; a choice that starts with it brings it
    check_tokens(LINE("", "d"), " ", false, 0, IDS(40, 26, 3), 2);
    check_tokens(LINE("", "d"), "", true, 0, IDS(40, 3), 1);
    check_tokens(LINE("", "<e>d"), "", false, 0, IDS(40, 3), 1);
    // ctx inputs and one more token are kept
    check_tokens(LINE("cdefg", "h"), "", false, 5, IDS(2, 3, 4, 5, 6, 7), 1);
    check_tokens(LINE("cdefg", "h"), "", false, 4, IDS(3, 4, 5, 6, 7), 1);
    check_tokens(LINE("cdefg", "hi"), "", true, 2, IDS(6, 7, 8), 2);
}

static void counts(void)
{
    rs_tasks t;
    rs_error e;
    const char *text = "{\"context\":\"cdef\",\"choices\":[\"g\",\"gh\",\"\\u00e9<e>\"],\"label\":2,\"id\":\"first\",\"task\":\"x\"}\n"
                       "{\"context\":\"c\",\"choices\":[\"d\",\"e\"],\"label\":1,\"task\":\"y\",\"id\":null,\"more\":[1]}\r\n"
                       "{\"context\":\"c\",\"choices\":[\"d\",\"dd\",\"dc\",\"dd\"],\"label\":0}\n"
                       "{\"context\":\"c\",\"choices\":[\"d\",\"e\"],\"label\":0,\"task\":\"x\"}";
    if (!CHECKF(parse(&t, text, (rs_tasks_options){.delimiter = "", .ctx = 4}, -1, -1, &e) == RS_OK, "%s", e.text)) return;
    CHECK(t.n == 4 && t.n_choices == 11 && t.n_names == 2 && strcmp(t.name[0], "x") == 0 && strcmp(t.name[1], "y") == 0);
    CHECK(t.question[0].task == 0 && t.question[1].task == 1 && t.question[2].task == RS_TASKS_ALL && t.question[3].task == 0);
    CHECK(strcmp(t.question[0].id, "first") == 0 && t.question[1].id == NULL && t.question[0].label == 2 && t.question[3].line == 4 && t.question[2].first == 5 && t.question[2].n == 4);
    CHECK(t.cut == 2); // "gh" makes 6 tokens of 5, the third 7
    CHECK(t.choice[0].chars == 1 && t.choice[1].chars == 2 && t.choice[2].chars == 4);
    const bool shares[11] = {[4] = true, [7] = true, [8] = true, [10] = true};
    for (size_t i = 0; i < 11; i++) CHECKF(t.choice[i].shares == shares[i], "choice %zu shares: %d", i, t.choice[i].shares);
    CHECK(t.tokens == 4 + 4 + 4 + 1 + 1 + 2 + 1);
    rs_tasks_free(&t);
    CHECK(parse(&t, text, (rs_tasks_options){.delimiter = "", .limit = 2}, -1, -1, &e) == RS_OK && t.n == 2 && t.n_choices == 5);
    rs_tasks_free(&t);
    rs_tasks_free(&t); // twice is once
    CHECK(parse(&t, LINE("", "d"), (rs_tasks_options){.delimiter = ""}, -1, 5, &e) == RS_OK && t.choice[0].ids[0] == 5);
    rs_tasks_free(&t);
}

static void bad_lines(void)
{
    static const char good[] = LINE("c", "d") "\n";
    static const struct {
        const char *line, *says;
        rs_status status;
    } bad[] = {
        {"", "line 2", RS_E_IMPORT},
        {"{", "line 2", RS_E_IMPORT},
        {"[]", "not an object", RS_E_IMPORT},
        {"null", "line 2", RS_E_IMPORT},
        {LINE("c", "d") " x", "line 2", RS_E_IMPORT},
        {"{\"context\":\"\xff\",\"choices\":[\"a\",\"b\"],\"label\":0}", "unable to decode byte 0xff", RS_E_IMPORT},
        {"{\"context\":\"\\ud800\",\"choices\":[\"a\",\"b\"],\"label\":0}", "line 2", RS_E_IMPORT},
        {"{\"choices\":[\"a\",\"b\"],\"label\":0}", "\"context\" is missing", RS_E_IMPORT},
        {"{\"context\":1,\"choices\":[\"a\",\"b\"],\"label\":0}", "\"context\" is not a text", RS_E_IMPORT},
        {"{\"context\":\"c\",\"label\":0}", "\"choices\" is missing", RS_E_IMPORT},
        {"{\"context\":\"c\",\"choices\":\"ab\",\"label\":0}", "\"choices\" is not a list", RS_E_IMPORT},
        {"{\"context\":\"c\",\"choices\":[\"a\"],\"label\":0}", "fewer than two", RS_E_IMPORT},
        {"{\"context\":\"c\",\"choices\":[\"d\",7],\"label\":0}", "choice 1: not a text", RS_E_IMPORT},
        {"{\"context\":\"c\",\"choices\":[\"d\",\"\"],\"label\":0}", "choice 1: empty", RS_E_IMPORT},
        {"{\"context\":\"c\",\"choices\":[\"a\",\"b\"]}", "\"label\" is missing", RS_E_IMPORT},
        {"{\"context\":\"c\",\"choices\":[\"a\",\"b\"],\"label\":2}", "\"label\" is 2", RS_E_IMPORT},
        {"{\"context\":\"c\",\"choices\":[\"a\",\"b\"],\"label\":-1}", "\"label\" is -1", RS_E_IMPORT},
        {"{\"context\":\"c\",\"choices\":[\"a\",\"b\"],\"label\":\"0\"}", "\"label\" is not an integer", RS_E_IMPORT},
        {"{\"context\":\"c\",\"choices\":[\"a\",\"b\"],\"label\":0,\"id\":3}", "\"id\" is not a text", RS_E_IMPORT},
        {"{\"context\":\"c\",\"choices\":[\"a\",\"b\"],\"label\":0,\"task\":[]}", "\"task\" is not a text", RS_E_IMPORT},
        {"{\"context\":\"c\",\"choices\":[\"a\",\"b\"],\"label\":0,\"label\":1}", "line 2", RS_E_IMPORT},
        {LINE("", "d"), "neither", RS_E_IMPORT},
        {LINE(" ", "d"), "white space", RS_E_IMPORT},
        {LINE("a", "b"), "choice 0: no token of its own", RS_E_IMPORT},
        {LINE("c", "defgh"), "choice 0: 5 tokens", RS_USAGE},
    };
    rs_tasks t;
    rs_error e;
    const rs_tasks_options o = {.delimiter = "", .ctx = 4};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[512];
        snprintf(text, sizeof text, "%s%s\n", good, bad[i].line);
        rs_status s = parse(&t, text, o, -1, -1, &e);
        CHECKF(s == bad[i].status && strncmp(e.text, "line 2: ", 8) == 0 && strstr(e.text, bad[i].says) != NULL, "%s: status %d, \"%s\"", bad[i].line, (int)s, e.text);
        rs_tasks_free(&t);
        CHECK(parse(&t, text, (rs_tasks_options){.delimiter = "", .limit = 1}, -1, -1, &e) == RS_OK); // a line that is not asked for is not read
        rs_tasks_free(&t);
    }
    CHECK(parse(&t, "", o, -1, -1, &e) == RS_USAGE);
    CHECK(parse(&t, good, (rs_tasks_options){.delimiter = "", .ctx = 1}, -1, -1, &e) == RS_USAGE);
    CHECK(parse(&t, good, (rs_tasks_options){.delimiter = "", .bos = true}, -1, 5, &e) == RS_USAGE);
    CHECK(parse(&t, good, (rs_tasks_options){.delimiter = "\xff"}, -1, -1, &e) == RS_USAGE);
    rs_tasks_free(&t);
}

// ---- scores

static const char questions[] =
    "{\"context\":\"abcdefgh\",\"choices\":[\"ij\",\"k\",\"lmnopq\",\"r\",\"k\"],\"label\":0,\"task\":\"x\"}\n"
    "{\"context\":\"zyxw vut\",\"choices\":[\"s\",\"t\",\"<e>\"],\"label\":1}\n"
    "{\"context\":\"a\",\"choices\":[\"cdefghijklmnopqrstuvwxyzcdefghijklmnopqrstuvwxyz\",\"d\"],\"label\":1,\"task\":\"x\"}\n" // more rows than a block of logits
    "{\"context\":\"\",\"choices\":[\"hello\",\"world\"],\"label\":0}\n"
    "{\"context\":\"cdefghijklmnopqrstuvwxyzcdefghijklmnopqrstuvwxyzcdefghijklmnopq\",\"choices\":[\"xyz\",\"uv\"],\"label\":0}\n";
enum { CTX = 50 };

static void count_progress(void *context, double done)
{
    double *last = context;
    CHECKF(done >= *last, "progress goes from %g to %g", *last, done);
    *last = done;
}

static rs_status run(const char *path, rs_tasks *t, uint64_t mem, double *done, rs_error *e)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    *e = (rs_error){0};
    rs_status s = stages_network(path, NULL, &m, &n, e);
    if (s == RS_OK) s = rs_tasks_score(n, t, mem, done != NULL ? count_progress : NULL, done, e);
    rs_network_close(n);
    rs_mapped_close(m);
    return s;
}

// Sum of log-probabilities of a choice from all logits of its sequence by the plain forward, in fp64.
static double direct(const rs_task_choice *c, size_t V)
{
    double sum = 0;
    float *x = tiny_logits(model, c->n, c->ids);
    for (size_t i = c->n - c->scored; x != NULL && i < c->n; i++) {
        const float *row = x + (i - 1) * V;
        double z = 0;
        for (size_t v = 0; v < V; v++) z += exp((double)row[v]);
        sum += (double)row[c->ids[i]] - log(z);
    }
    free(x);
    return sum;
}

static void scores(const tiny_spec *s)
{
    rs_tasks t;
    rs_error e;
    double done = 0;
    if (CHECKF(parse(&t, questions, (rs_tasks_options){.delimiter = "", .ctx = CTX}, 40, 5, &e) == RS_OK, "%s", e.text) && CHECKF(run(model, &t, 0, &done, &e) == RS_OK, "%s", e.text)) {
        for (size_t i = 0; i < t.n_choices; i++) {
            double want = direct(&t.choice[i], s->V);
            CHECKF(fabs(t.choice[i].score - want) <= 2e-5 * fabs(want), "choice %zu: %.9g, expected %.9g", i, t.choice[i].score, want);
        }
        CHECK(t.choice[4].shares && !t.choice[1].shares && fabs(t.choice[4].score - t.choice[1].score) < 1e-6 && fabs(t.choice[3].score - t.choice[1].score) > 1e-3);
        CHECK(t.cut == 2 && t.seconds > 0 && fabs(done - (double)t.tokens) < 1e-6);
    }
    rs_tasks_free(&t);
}

static void memory_and_threads(void)
{
    static const uint64_t mem[] = {1, 8000, 20000, 0};
    static const int threads[] = {1, 2, 8};
    rs_tasks first, t;
    rs_error e;
    CHECK(parse(&first, questions, (rs_tasks_options){.delimiter = "", .ctx = CTX}, 40, 5, &e) == RS_OK);
    CHECKF(run(packed, &first, 0, NULL, &e) == RS_OK, "%s", e.text);
    for (size_t i = 0; i < 4; i++)
        for (size_t k = 0; k < 3; k++) {
            rs_threads_set(threads[k]);
            if (!CHECK(parse(&t, questions, (rs_tasks_options){.delimiter = "", .ctx = CTX}, 40, 5, &e) == RS_OK) || !CHECKF(run(packed, &t, mem[i], NULL, &e) == RS_OK, "%s", e.text)) continue;
            for (size_t c = 0; c < t.n_choices; c++)
                CHECKF(t.choice[c].score == first.choice[c].score, "memory %d, %d threads: choice %zu: %.17g and %.17g", (int)mem[i], threads[k], c, t.choice[c].score, first.choice[c].score);
            rs_tasks_free(&t);
        }
    rs_threads_set(2);
    rs_tasks_free(&first);
}

static void refusals(const tiny_spec *s)
{
    rs_tasks t;
    rs_error e;
    const char *const text[] = {LINE("c<far>", "d"), LINE("c", "<far>")}; // an input; a token that is only predicted
    for (int i = 0; i < 2; i++) {
        CHECK(parse(&t, text[i], (rs_tasks_options){.delimiter = ""}, -1, -1, &e) == RS_OK);
        CHECKF(run(model, &t, 0, NULL, &e) == RS_E_VALUE && strstr(e.text, "line 1: token id 60") != NULL, "%s", e.text);
        rs_tasks_free(&t);
    }
    tiny_spec nan = *s;
    nan.nan_in = "model.norm.weight";
    if (!CHECK(tiny_model(packed, &nan))) return;
    CHECK(parse(&t, LINE("c", "d"), (rs_tasks_options){.delimiter = ""}, -1, -1, &e) == RS_OK);
    CHECKF(run(packed, &t, 0, NULL, &e) == RS_E_VALUE && strstr(e.text, "line 1: the score of choice 0") != NULL, "%s", e.text);
    rs_tasks_free(&t);
}

// ---- figures

static void figures(void)
{
    rs_tasks t;
    rs_error e;
    const char *text = "{\"context\":\"c\",\"choices\":[\"d\",\"de\",\"d\"],\"label\":0,\"task\":\"x\"}\n"
                       "{\"context\":\"c\",\"choices\":[\"d\",\"\\u00e9e\"],\"label\":1,\"task\":\"x\"}\n"
                       "{\"context\":\"c\",\"choices\":[\"d\",\"def\"],\"label\":1,\"task\":\"y\"}\n"
                       "{\"context\":\"c\",\"choices\":[\"d\",\"e\"],\"label\":1}\n";
    const double score[] = {-2, -4, -2, -1, -2, -3, -6, -5, -5};
    if (!CHECK(parse(&t, text, (rs_tasks_options){.delimiter = ""}, -1, -1, &e) == RS_OK)) return;
    for (size_t i = 0; i < t.n_choices; i++) t.choice[i].score = score[i];
    // ties go to the lowest index, also between scores per character: -2/1, -4/2; -1/1 and -2/2, where the second has three bytes
    const size_t best[] = {0, 0, 0, 0}, best_norm[] = {0, 0, 1, 0};
    for (size_t q = 0; q < 4; q++) CHECKF(rs_tasks_best(&t, q, false) == best[q] && rs_tasks_best(&t, q, true) == best_norm[q], "question %zu: %zu, %zu", q, rs_tasks_best(&t, q, false), rs_tasks_best(&t, q, true));
    rs_tasks_result all = rs_tasks_summary(&t, RS_TASKS_ALL), x = rs_tasks_summary(&t, 0), y = rs_tasks_summary(&t, 1);
    CHECK(all.n == 4 && all.acc == 0.25 && all.acc_norm == 0.5);
    // deviation of 1, 0, 0, 0 over n - 1, divided by sqrt(n)
    CHECKF(fabs(all.acc_stderr - sqrt((0.75 * 0.75 + 3 * 0.25 * 0.25) / 3) / 2) < 1e-12 && fabs(all.acc_norm_stderr - sqrt(4 * 0.25 / 3) / 2) < 1e-12, "%g, %g", all.acc_stderr, all.acc_norm_stderr);
    CHECK(x.n == 2 && x.acc == 0.5 && x.acc_norm == 0.5 && fabs(x.acc_stderr - 0.5) < 1e-12);
    CHECK(y.n == 1 && y.acc == 0 && y.acc_norm == 1 && isnan(y.acc_stderr) && isnan(y.acc_norm_stderr));
    rs_tasks_free(&t);
}

int main(void)
{
    tiny_spec s = tiny_default();
    rs_error e = {0};
    rs_pack_options o = stages_pack_default();
    o.a.bits = o.kv.bits = 4;
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(packed, sizeof packed, "packed.rsq");
    rs_threads_set(2);
    if (CHECKF(rs_tokenizer_parse(&tokenizer, tokenizer_json, strlen(tokenizer_json), &e) == RS_OK, "%s", e.text)) {
        encoding();
        counts();
        bad_lines();
        figures();
        if (CHECK(tiny_model(model, &s)) && CHECKF(stages_pack(model, packed, &o, &e) == RS_OK, "%s", e.text)) {
            scores(&s);
            memory_and_threads();
            refusals(&s);
        }
    }
    rs_tokenizer_free(tokenizer);
    return check_report();
}
