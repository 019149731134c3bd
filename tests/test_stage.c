// SPDX-License-Identifier: Apache-2.0
// A filter of the pipe: chains grow, frames pass unchanged, a copy of a copy keeps its payloads, and failures are told downstream.
#include "formats/stage.h"

#include "tests/check.h"
#include "tests/stream.h"

#include <sys/wait.h>
#include <unistd.h>

static char folder[64];

static const char *path(const char *name)
{
    static char paths[4][128];
    static int at;
    char *p = paths[at++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
    return p;
}

static void write_bytes(const char *to, const uint8_t *bytes, size_t len)
{
    FILE *f = fopen(to, "wb");
    CHECK(f != NULL && fwrite(bytes, 1, len, f) == len && fclose(f) == 0);
}

// Copies from -> to as a tool called rs-copy would; stop_at >= 0: fails before that frame.
static rs_status copy_stage(const char *from, const char *to, int stop_at, rs_error *e)
{
    static const char *const args[] = {"/usr/bin/rs-copy", "-o", "out.rsq", "--mem=4M", "-R", "some/where/rot.rsq", "--threads", "8", "-j2", "--text=a/b/c.txt", "-v", "dir/in.rsq", "-q", "\x01"};
    rs_stage s;
    rs_frame f = {0};
    rs_status st = rs_stage_open(&s, "rs-copy", from, e);
    if (st == RS_OK) st = rs_stage_begin(&s, to, NULL, 0, rs_reader_head(s.reader), 14, (char *const *)(uintptr_t)args, NULL, e);
    for (int i = 0; st == RS_OK; i++) {
        st = rs_reader_next(s.reader, &f, e);
        if (st != RS_OK || f.type == RS_FRAME_END) break;
        if (i == stop_at) st = rs_fail(e, RS_E_VALUE, "frame %d is not liked", i);
        else st = rs_stage_copy(&s, &f, e);
    }
    if (st == RS_OK) st = rs_stage_finish(&s, e);
    rs_stage_close(&s, e);
    return st;
}

static uint8_t *slurp(const char *from, size_t *len)
{
    FILE *f = fopen(from, "rb");
    if (f == NULL) return NULL;
    uint8_t *p = malloc(1 << 20);
    *len = fread(p, 1, 1 << 20, f);
    fclose(f);
    return p;
}

static void round_trip(void)
{
    rs_error e = {0};
    size_t n1, n2, n, len;
    CHECKF(copy_stage(path("a.rsq"), path("b.rsq"), -1, &e) == RS_OK, "%s", e.text);
    CHECKF(copy_stage(path("b.rsq"), path("c.rsq"), -1, &e) == RS_OK, "%s", e.text);
    CHECKF(copy_stage(path("b.rsq"), path("c2.rsq"), -1, &e) == RS_OK, "%s", e.text);
    uint8_t *c = slurp(path("c.rsq"), &n1), *c2 = slurp(path("c2.rsq"), &n2);
    CHECK(c != NULL && c2 != NULL && n1 == n2 && memcmp(c, c2, n1) == 0);

    rs_in *in = NULL;
    rs_reader *a = NULL, *b = NULL;
    uint8_t ta[16], tb[16], da[16];
    uint64_t size;
    rs_frame f;
    CHECK(rs_in_open(&in, path("b.rsq"), &e) == RS_OK && rs_reader_open_strict(&b, in, &e) == RS_OK);
    do CHECK(rs_reader_next(b, &f, &e) == RS_OK);
    while (f.type != RS_FRAME_END && e.status == RS_OK);
    rs_reader_digest(b, da, tb, &size);
    rs_in_close(in);
    rs_reader_free(b);
    CHECK(rs_in_memory(&in, c, n1, &e) == RS_OK && rs_reader_open_strict(&a, in, &e) == RS_OK);
    rs_in_set_chunk(in, 1);
    do CHECK(rs_reader_next(a, &f, &e) == RS_OK);
    while (f.type != RS_FRAME_END && e.status == RS_OK);
    rs_reader_digest(a, NULL, ta, NULL);
    CHECK(memcmp(ta, tb, 16) == 0);
    CHECK(rs_reader_tensors(a) == 4);

    const rs_prov *prov = rs_reader_prov(a, &n);
    static const char *const want[] = {"rs-copy", "-R", "rot.rsq", "--text=c.txt", "in.rsq", "\\x01"};
    if (CHECK(n == 3) && CHECKF(prov[2].argc == 6, "%zu", prov[2].argc))
        for (size_t i = 0; i < 6; i++) CHECKF(strcmp(prov[2].argv[i], want[i]) == 0, "%zu: %s", i, prov[2].argv[i]);
    CHECK(strcmp(prov[0].tool, "rs-test") == 0 && strcmp(prov[2].tool, "rs-copy") == 0 && strlen(prov[2].commit) > 0);
    CHECK(rs_reader_prov_meta(a, 3, &len) == NULL);
    const rs_input_sum *in0 = rs_reader_inputs(a, 0, &n);
    CHECK(n == 1 && in0->size == 1234 && strcmp(in0->fmt, "safetensors") == 0);
    const rs_input_sum *in2 = rs_reader_inputs(a, 2, &n);
    CHECK(n == 1 && in2->size == size && memcmp(in2->digest, da, 16) == 0 && strcmp(in2->fmt, "rsq") == 0);
    CHECK(rs_reader_inputs(a, 3, &n) == NULL);
    rs_reader_free(a);
    rs_in_close(in);
    free(c);
    free(c2);
}

static void refusals(const uint8_t *bytes, size_t len)
{
    rs_error e = {0};
    size_t n;
    CHECK(copy_stage(path("a.rsq"), path("a.rsq"), -1, &e) == RS_USAGE);
    e = (rs_error){0};
    write_bytes(path("cut.rsq"), bytes, len - 100);
    CHECK(copy_stage(path("cut.rsq"), path("no.rsq"), -1, &e) == RS_E_TRUNC);
    e = (rs_error){0};
    write_bytes(path("empty.rsq"), bytes, 0);
    CHECK(copy_stage(path("empty.rsq"), path("no.rsq"), -1, &e) == RS_E_TRUNC);
    e = (rs_error){0};
    CHECK(copy_stage(path("a.rsq"), path("no.rsq"), 2, &e) == RS_E_VALUE);
    CHECK(access(path("no.rsq"), F_OK) != 0);
    CHECK(slurp(path("no.rsq"), &n) == NULL);
}

// A stage that fails in front of a pipe: its reader names it, with a class of its own.
static void abort_travels(void)
{
    int p[2];
    char from[32];
    if (!CHECK(pipe(p) == 0)) return;
    pid_t child = fork();
    if (child == 0) {
        rs_error e = {0};
        dup2(p[1], 1);
        close(p[0]);
        close(p[1]);
        _exit((int)copy_stage(path("a.rsq"), "-", 3, &e));
    }
    close(p[1]);
    snprintf(from, sizeof from, "/dev/fd/%d", p[0]);
    rs_error e = {0};
    CHECK(copy_stage(from, path("no.rsq"), -1, &e) == RS_E_ABORT);
    CHECKF(strstr(e.text, "rs-copy failed upstream: E_VALUE: frame 3 is not liked") != NULL, "%s", e.text);
    close(p[0]);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == RS_E_VALUE);
}

int main(void)
{
    size_t len;
    rs_head head = stream_head();
    snprintf(folder, sizeof folder, "/tmp/test_stage.XXXXXX");
    if (!CHECK(mkdtemp(folder) != NULL)) return check_report();
    uint8_t *bytes = stream_bytes(&head, &len);
    if (bytes != NULL) {
        write_bytes(path("a.rsq"), bytes, len);
        round_trip();
        refusals(bytes, len);
        abort_travels();
    }
    free(bytes);
    static const char *const names[] = {"a.rsq", "b.rsq", "c.rsq", "c2.rsq", "cut.rsq", "empty.rsq"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) unlink(path(names[i]));
    CHECK(rmdir(folder) == 0);
    return check_report();
}
