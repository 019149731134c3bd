// SPDX-License-Identifier: Apache-2.0
// Spools a pipe to a temporary file that is unlinked before the first byte goes in, so that nothing is left behind however the process ends.
#include "formats/spool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE (1u << 20)

rs_status rs_spool_file(int *fd, rs_error *e)
{
    const char *dir = getenv("TMPDIR");
    char path[4096];
    if (dir == NULL || *dir == 0) dir = "/tmp";
    if ((size_t)snprintf(path, sizeof path, "%s/rs-spool.XXXXXX", dir) >= sizeof path) return rs_fail(e, RS_E_WRITE, "TMPDIR is too long");
    *fd = mkstemp(path);
    if (*fd < 0 || unlink(path) != 0) return rs_fail(e, RS_E_WRITE, "temporary file in %s: %s", dir, strerror(errno));
    return RS_OK;
}

rs_status rs_spool_put(int fd, uint64_t off, const void *bytes, size_t n, rs_error *e)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = pwrite(fd, (const uint8_t *)bytes + done, n - done, (off_t)(off + done));
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return rs_fail(e, RS_E_WRITE, "temporary file: %s", strerror(errno));
        done += (size_t)k;
    }
    return RS_OK;
}

rs_status rs_spool_get(int fd, uint64_t off, void *bytes, size_t n, rs_error *e)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = pread(fd, (uint8_t *)bytes + done, n - done, (off_t)(off + done));
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return rs_fail(e, RS_E_READ, "temporary file: %s", k < 0 ? strerror(errno) : "cut");
        done += (size_t)k;
    }
    return RS_OK;
}

static rs_status write_all(int fd, const uint8_t *p, size_t n, rs_error *e)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0) return rs_fail(e, RS_E_WRITE, "temporary file: %s", strerror(errno));
        p += w;
        n -= (size_t)w;
    }
    return RS_OK;
}

static rs_status copy(rs_in *from, int fd, uint8_t *piece, rs_error *e)
{
    for (size_t got = PIECE; got == PIECE;) {
        RS_TRY(rs_in_read(from, piece, PIECE, &got, e));
        RS_TRY(write_all(fd, piece, got, e));
    }
    return RS_OK;
}

// Reads from to its end; *in is the copy, opened anew by its descriptor.
static rs_status spool(rs_in *from, rs_in **in, rs_error *e)
{
    int fd = -1;
    char path[64];
    uint8_t *piece = malloc(PIECE);
    rs_status s = piece == NULL ? rs_fail(e, RS_E_NOMEM, "no memory to copy the input") : rs_spool_file(&fd, e);
    if (s == RS_OK) s = copy(from, fd, piece, e);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (s == RS_OK) s = rs_in_open(in, path, e);
    free(piece);
    if (fd >= 0) close(fd);
    return s;
}

rs_status rs_spool_open(rs_in **in, const char *path, rs_error *e)
{
    *in = NULL;
    rs_in *first;
    RS_TRY(rs_in_open(&first, path, e));
    if (rs_in_seekable(first)) {
        *in = first;
        return RS_OK;
    }
    rs_status s = spool(first, in, e);
    rs_in_close(first);
    return s;
}
