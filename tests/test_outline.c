// SPDX-License-Identifier: Apache-2.0
// Outlines: a file and a pipe say the same, agree with the mapping, refuse what is broken, and read no payload that was not asked for.
#include "formats/outline.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "formats/cli.h"
#include "formats/mapped.h"
#include "tests/figures.h"

// Opens path as a pipe: a child writes the bytes (the first `limit`) into a FIFO.
static rs_status open_pipe(rs_outline **o, const char *bytes, size_t len, pid_t *child, rs_error *e)
{
    const char *fifo = figures_path("fifo");
    unlink(fifo);
    if (!CHECK(mkfifo(fifo, 0600) == 0)) return RS_E_INTERNAL;
    *child = fork();
    if (*child == 0) {
        signal(SIGPIPE, SIG_DFL);
        int fd = open(fifo, O_WRONLY);
        for (size_t at = 0; at < len;) {
            ssize_t n = write(fd, bytes + at, len - at);
            if (n <= 0) _exit(1);
            at += (size_t)n;
        }
        _exit(0);
    }
    return rs_outline_open(o, fifo, e);
}

static void same(const rs_outline *a, const rs_outline *b)
{
    size_t n, m;
    (void)rs_outline_prov(a, &n);
    (void)rs_outline_prov(b, &m);
    CHECK(n == m && n == 4);
    CHECK(memcmp(rs_outline_digest(a), rs_outline_digest(b), 16) == 0 && rs_outline_size(a) == rs_outline_size(b));
    CHECK(rs_outline_tensors(a) == rs_outline_tensors(b) && rs_outline_stats(a) == rs_outline_stats(b));
    for (size_t i = 0; i < rs_outline_tensors(a); i++) {
        const rs_outline_tensor *s = rs_outline_tensor_at(a, i), *t = rs_outline_tensor_at(b, i);
        CHECK(strcmp(s->name, t->name) == 0 && s->role == t->role && s->layer == t->layer && s->rows == t->rows && s->cols == t->cols && s->payload_off == t->payload_off && s->payload_len == t->payload_len);
        CHECK(rs_outline_find(a, s->name) == s);
    }
    for (size_t i = 0; i < rs_outline_stats(a); i++) {
        const rs_outline_stat *s = rs_outline_stat_at(a, i), *t = rs_outline_stat_at(b, i);
        CHECK(strcmp(s->name, t->name) == 0 && strcmp(s->of, t->of) == 0 && s->step == t->step && rs_map_f64(s->values, "rms", -1) == rs_map_f64(t->values, "rms", -1));
        CHECK(rs_outline_stat_find(a, s->name, s->of, s->step) == (int64_t)i);
    }
    for (int f = RS_FRAME_END; f <= RS_FRAME_UNKNOWN; f++) CHECKF(f == RS_FRAME_ABRT || rs_outline_count(a, (rs_frame_type)f) == rs_outline_count(b, (rs_frame_type)f), "frames of type %d", f);
    const rs_input_sum *in = rs_outline_inputs(a, 0, &n);
    CHECK(n == 1 && in != NULL && in[0].digest[0] == 0xab && rs_outline_inputs(a, 9, &n) == NULL);
}

// What the outline says against what the mapping says.
static void against_mapping(const char *path, rs_outline *o)
{
    rs_mapped *m = NULL;
    rs_error e = {0};
    if (!CHECKF(rs_mapped_open(&m, path, &e) == RS_OK, "%s", e.text)) return;
    CHECK(rs_mapped_count(m) == rs_outline_tensors(o) && rs_mapped_stats(m) == rs_outline_stats(o));
    for (size_t i = 0; i < rs_mapped_stats(m); i++) {
        const uint8_t *want;
        uint8_t *got;
        rs_stat_head head;
        const rs_stat_head *s = rs_mapped_stat(m, i, &want);
        if (!CHECKF(rs_outline_stat_read(o, i, &head, &got, &e) == RS_OK, "%s", e.text)) break;
        CHECK(strcmp(s->name, head.name) == 0 && s->n_parts == head.n_parts && s->payload_len == head.payload_len && memcmp(want, got, (size_t)head.payload_len) == 0);
        free(got);
    }
    for (size_t i = 0; i < rs_mapped_count(m); i++) {
        rs_tensor t;
        if (!CHECKF(rs_outline_tensor_head(o, i, &t, &e) == RS_OK, "%s", e.text)) break;
        const rs_tensor *want = rs_mapped_tensor(m, i);
        uint8_t *bytes = malloc((size_t)t.payload_len + 1);
        CHECK(strcmp(want->name, t.name) == 0 && want->payload_len == t.payload_len && want->n_parts == t.n_parts);
        CHECK(bytes != NULL && rs_outline_read(o, rs_outline_tensor_at(o, i)->payload_off, bytes, (size_t)t.payload_len, &e) == RS_OK && memcmp(bytes, rs_mapped_payload(m, want), (size_t)t.payload_len) == 0);
        free(bytes);
    }
    rs_mapped_close(m);
}

static void test_both_ways(const char *path, const char *bytes, size_t len)
{
    rs_outline *file = NULL, *pipe = NULL;
    rs_error e = {0};
    pid_t child;
    int status;
    bool more = true;
    CHECKF(rs_outline_open(&file, path, &e) == RS_OK, "%s", e.text);
    if (!CHECKF(open_pipe(&pipe, bytes, len, &child, &e) == RS_OK, "%s", e.text)) return;
    CHECK(rs_outline_complete(file) && rs_outline_seekable(file) && !rs_outline_complete(pipe) && !rs_outline_seekable(pipe));
    CHECK(rs_outline_step(file, &more, &e) == RS_OK && !more);
    size_t steps = 0, n;
    for (more = true; more && CHECKF(rs_outline_step(pipe, &more, &e) == RS_OK, "%s", e.text); steps++) CHECK(steps < 100000);
    waitpid(child, &status, 0);
    CHECK(rs_outline_complete(pipe) && steps > 10 && rs_outline_inputs(pipe, 0, &n) != NULL);
    same(file, pipe);
    against_mapping(path, file);
    against_mapping(path, pipe);
    rs_outline_close(file);
    rs_outline_close(pipe);
    rs_outline_close(NULL);
}

// Cut anywhere, a file is E_TRUNC (or E_MAGIC while there is nothing), a pipe says so when it comes there.
static void test_cut(const char *bytes, size_t len)
{
    const char *path = figures_path("cut.rsq");
    for (size_t n = 0; n < len; n += n < 200 || n > len - 200 ? 7 : 2003) {
        rs_outline *o = NULL;
        rs_error e = {0};
        FILE *f = fopen(path, "w");
        CHECK(f != NULL && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
        rs_status s = rs_outline_open(&o, path, &e);
        CHECKF(s == RS_E_TRUNC && o == NULL, "cut at %zu: %s", n, rs_status_name(s));
        rs_outline_close(o);
    }
    for (size_t n = 0; n < len; n += len / 40 + 1) {
        rs_outline *o = NULL;
        rs_error e = {0}, again = {0};
        pid_t child;
        int status;
        bool more = true;
        rs_status s = open_pipe(&o, bytes, n, &child, &e);
        while (s == RS_OK && more) s = rs_outline_step(o, &more, &e);
        CHECKF(s == RS_E_TRUNC, "cut at %zu: %s", n, rs_status_name(s));
        if (o != NULL) CHECK(rs_outline_step(o, &more, &again) == RS_E_TRUNC && !rs_outline_complete(o));
        rs_outline_close(o);
        waitpid(child, &status, 0);
    }
}

// A byte that is changed never ends the process, and what is read of the metadata is refused by its check.
static void test_damage(const char *bytes, size_t len)
{
    const char *path = figures_path("bad.rsq");
    size_t refused = 0, at_read = 0;
    char *copy = malloc(len);
    for (size_t k = 0; copy != NULL && k < len; k += 53) {
        rs_outline *o = NULL;
        rs_error e = {0};
        memcpy(copy, bytes, len);
        copy[k] = (char)(copy[k] ^ 0x41);
        FILE *f = fopen(path, "w");
        CHECK(f != NULL && fwrite(copy, 1, len, f) == len && fclose(f) == 0);
        rs_status s = rs_outline_open(&o, path, &e);
        refused += s != RS_OK;
        for (size_t i = 0; s == RS_OK && i < rs_outline_stats(o); i++) {
            rs_stat_head head;
            uint8_t *payload = NULL;
            const rs_outline_stat *at = rs_outline_stat_at(o, i);
            rs_status r = rs_outline_stat_read(o, i, &head, &payload, &e);
            const bool inside = k >= at->payload_off && k < at->payload_off + at->payload_len;
            CHECKF((r == RS_E_SUM) == inside, "byte %zu, frame %zu: %s", k, i, rs_status_name(r));
            at_read += inside;
            free(payload);
            e = (rs_error){0};
        }
        rs_outline_close(o);
    }
    free(copy);
    CHECKF(refused > len / 53 / 4 && at_read > 50, "%zu refused, %zu found when read", refused, at_read);
}

// A tensor of 256 MiB: nothing of it is read.
static void test_large(void)
{
    const char *path = figures_path("large.rsq");
    rs_out *out = NULL;
    rs_writer *w = NULL;
    rs_error e = {0};
    rs_outline *o = NULL;
    static uint8_t zeros[1 << 20];
    rs_head head = {.align = 64, .kind = RS_KIND_WEIGHTS, .arch = "llama", .layers = 1};
    head.plan = rs_plan_none();
    rs_tensor t = {.name = "large", .role = RS_ROLE_OTHER, .layer = -1, .expert = -1, .dtype = RS_F32, .n_dims = 2, .shape = {1 << 13, 1 << 13}};
    rs_status s = rs_out_open(&out, path, NULL, 0, &e);
    if (s == RS_OK) s = rs_writer_open(&w, out, &head, &e);
    if (s == RS_OK) s = rs_writer_prov(w, &(rs_prov){.tool = "rs-import", .ver = "0", .commit = "none"}, &e);
    if (s == RS_OK) s = rs_tensor_layout(&t, RS_F32, 0, &e);
    if (s == RS_OK) s = rs_writer_tensor_begin(w, &t, &e);
    for (int i = 0; i < 256 && s == RS_OK; i++) s = rs_writer_payload(w, zeros, sizeof zeros, &e);
    if (s == RS_OK) s = rs_writer_tensor_end(w, &e);
    if (s == RS_OK) s = rs_writer_finish(w, &e);
    rs_writer_free(w);
    rs_out_close(out);
    if (!CHECKF(s == RS_OK, "%s", e.text)) return;
    const pid_t child = fork(); // whose memory counts from here
    if (child == 0) _exit(rs_outline_open(&o, path, &e) == RS_OK && rs_outline_tensors(o) == 1 && rs_outline_tensor_at(o, 0)->payload_len == 256u << 20 ? 0 : 1);
    int status;
    struct rusage usage;
    CHECK(wait4(child, &status, 0, &usage) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    const char *san = getenv("SAN");
    if (san != NULL && strcmp(san, "1") == 0) SKIP("sanitizers keep memory of their own");
    else CHECKF(usage.ru_maxrss < 64 * 1024, "%ld KiB", usage.ru_maxrss);
    CHECKF(usage.ru_inblock < 4096, "%ld blocks read", usage.ru_inblock);
    unlink(path);
}

int main(void)
{
    const char *path = figures_path("model.rsq");
    char *bytes = NULL;
    size_t len = 0;
    rs_error e = {0};
    if (figures_file(path, &(figures_options){.layers = 2}) && CHECK(rs_cli_slurp(path, UINT64_C(1) << 30, &bytes, &len, &e) == RS_OK)) {
        test_both_ways(path, bytes, len);
        test_cut(bytes, len);
        test_damage(bytes, len);
    }
    free(bytes);
    test_large();
    figures_clean();
    return check_report();
}
