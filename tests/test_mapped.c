// SPDX-License-Identifier: Apache-2.0
// Whole files at random: from a path, from a pipe and from standard input; what is not verified is not mapped.
#include "formats/mapped.h"

#include "tests/check.h"
#include "tests/stream.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64], file[96];

static bool write_bytes(const char *to, const uint8_t *bytes, size_t len)
{
    int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    bool ok = fd >= 0 && write(fd, bytes, len) == (ssize_t)len;
    return close(fd) == 0 && ok;
}

static void look(const char *path)
{
    rs_error e = {0};
    rs_mapped *m = NULL;
    if (!CHECKF(rs_mapped_open(&m, path, &e) == RS_OK, "%s: %s", path, e.text)) return;
    CHECK(rs_mapped_count(m) == 4 && rs_mapped_tensor(m, 4) == NULL);
    CHECK(strcmp(rs_mapped_head(m)->arch, "llama") == 0);
    const rs_tensor *q = rs_mapped_find(m, "model.layers.0.self_attn.q_proj.weight");
    CHECK(q != NULL && q == rs_mapped_find_role(m, RS_ROLE_Q, 0) && q == rs_mapped_tensor(m, 2));
    CHECK(rs_mapped_find(m, "none") == NULL && rs_mapped_find_role(m, RS_ROLE_Q, 1) == NULL);
    for (size_t i = 0; i < rs_mapped_count(m); i++) {
        const rs_tensor *t = rs_mapped_tensor(m, i);
        uint8_t *want = stream_payload(t);
        const uint8_t *p = rs_mapped_payload(m, t);
        CHECKF((uintptr_t)p % 64 == 0 && memcmp(p, want, (size_t)t->payload_len) == 0, "%s", t->name);
        rs_mapped_release(m, t);
        CHECK(memcmp(p, want, (size_t)t->payload_len) == 0);
        free(want);
    }
    size_t len, n;
    const uint8_t *bytes = rs_mapped_file(m, "config.json", &len), *payload;
    CHECK(bytes != NULL && len == 3 && memcmp(bytes, "{}\n", 3) == 0);
    CHECK(rs_mapped_file(m, "empty", &len) != NULL && len == 0);
    CHECK(rs_mapped_file(m, "other", &len) == NULL);
    const rs_stat_head *s = rs_mapped_stats(m) == 1 ? rs_mapped_stat(m, 0, &payload) : NULL;
    CHECK(s != NULL && strcmp(s->of, "weight") == 0 && s->payload_len == 40 && payload[0] == 1 && s->values != NULL);
    CHECK(rs_mapped_stat(m, 1, &payload) == NULL);
    CHECK(rs_mapped_prov(m, &n) != NULL && n == 1);
    CHECK(rs_mapped_inputs(m, 0, &n) != NULL && n == 1);
    CHECK(rs_mapped_in(m) != NULL);
    uint8_t digest[16] = {0}, tensors[16] = {0}, zero[16] = {0};
    uint64_t size;
    rs_mapped_digest(m, digest, tensors, &size);
    CHECK(memcmp(digest, zero, 16) != 0 && memcmp(tensors, zero, 16) != 0 && size % 8 == 0);
    rs_mapped_close(m);
}

// The stream through a pipe that stands at standard input, or through a FIFO.
static void pipes(const uint8_t *bytes, size_t len)
{
    char fifo[96];
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    if (!CHECK(mkfifo(fifo, 0600) == 0)) return;
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (child == 0) _exit(write_bytes(fifo, bytes, len) ? 0 : 1);
        if (i == 0) {
            look(fifo);
        } else {
            int fd = open(fifo, O_RDONLY), old = dup(0);
            dup2(fd, 0);
            close(fd);
            look("-");
            dup2(old, 0);
            close(old);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    unlink(fifo);
}

// A regular file at standard input, from its start and from a place behind other bytes.
static void standard_input(const uint8_t *bytes, size_t len)
{
    int old = dup(0), fd = open(file, O_RDONLY);
    dup2(fd, 0);
    close(fd);
    look("-");
    uint8_t *shifted = malloc(len + 5);
    memcpy(shifted + 5, bytes, len);
    CHECK(write_bytes(file, shifted, len + 5));
    fd = open(file, O_RDONLY);
    dup2(fd, 0);
    close(fd);
    CHECK(lseek(0, 5, SEEK_SET) == 5);
    look("-");
    dup2(old, 0);
    close(old);
    free(shifted);
}

static void refusals(uint8_t *bytes, size_t len)
{
    rs_mapped *m = NULL;
    rs_error e = {0};
    CHECK(rs_mapped_open(&m, "/nonexistent/file", &e) == RS_E_READ && m == NULL);
    e = (rs_error){0};
    CHECK(write_bytes(file, bytes, 0) && rs_mapped_open(&m, file, &e) == RS_E_TRUNC && m == NULL);
    e = (rs_error){0};
    CHECK(write_bytes(file, bytes, len / 2) && rs_mapped_open(&m, file, &e) == RS_E_TRUNC && m == NULL);
    e = (rs_error){0};
    bytes[len / 2] ^= 1;
    CHECK(write_bytes(file, bytes, len) && rs_mapped_open(&m, file, &e) != RS_OK && m == NULL);
    bytes[len / 2] ^= 1;
}

// A file that is cut while it is mapped: zeros and an error in place of a signal.
static void cut_while_mapped(const uint8_t *bytes, size_t len)
{
    rs_error e = {0};
    rs_mapped *m = NULL;
    CHECK(write_bytes(file, bytes, len) && rs_mapped_open(&m, file, &e) == RS_OK);
    const rs_tensor *t = rs_mapped_tensor(m, 3);
    CHECK(rs_mapped_check(m, &e) == RS_OK && truncate(file, 0) == 0);
    const uint8_t *p = rs_mapped_payload(m, t);
    unsigned sum = 0;
    for (uint64_t i = 0; i < t->payload_len; i++) sum += p[i];
    CHECK(sum == 0 && rs_mapped_check(m, &e) == RS_E_READ);
    rs_mapped_close(m);
}

int main(void)
{
    size_t len;
    rs_head head = stream_head();
    rs_mapped_guard();
    snprintf(folder, sizeof folder, "/tmp/test_mapped.XXXXXX");
    if (!CHECK(mkdtemp(folder) != NULL)) return check_report();
    snprintf(file, sizeof file, "%s/a.rsq", folder);
    for (head.align = 64; head.align <= 4096; head.align *= 64) {
        uint8_t *bytes = stream_bytes(&head, &len);
        if (bytes == NULL) break;
        CHECK(write_bytes(file, bytes, len));
        look(file);
        pipes(bytes, len);
        standard_input(bytes, len);
        refusals(bytes, len);
        cut_while_mapped(bytes, len);
        free(bytes);
    }
    unlink(file);
    CHECK(rmdir(folder) == 0);
    return check_report();
}
