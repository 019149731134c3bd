// SPDX-License-Identifier: Apache-2.0
// Byte streams for reading: small reads come from one buffer, large ones go from the descriptor straight to the caller.
#include "formats/io.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER 65536u
#define PIPE_SIZE (1 << 20) // asked of the kernel; fewer system calls per byte than the usual 64 KiB

struct rs_in {
    int fd; // -1: memory
    bool owned;
    bool seekable;
    uint64_t offset; // bytes handed out
    uint64_t dev, ino;
    size_t chunk; // most bytes per read(2), 0 = no limit
    uint8_t *buffer;
    size_t pos, fill; // what is left of the buffer is [pos, fill)
    const uint8_t *memory;
    size_t memory_len;
    char *name;
};

static rs_status fail_read(const rs_in *in, int error, rs_error *e)
{
    return rs_fail(e, RS_E_READ, "at offset %llu: %s", (unsigned long long)in->offset, strerror(error));
}

static rs_status open_descriptor(rs_in *in, const char *path, rs_error *e)
{
    bool standard = path == NULL || strcmp(path, "-") == 0;
    in->name = strdup(standard ? "standard input" : path);
    in->buffer = malloc(BUFFER);
    if (in->name == NULL || in->buffer == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for a read buffer");
    if (standard) {
        in->fd = STDIN_FILENO;
    } else {
        do in->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        while (in->fd < 0 && errno == EINTR);
        if (in->fd < 0) return rs_fail(e, RS_E_READ, "%s", strerror(errno));
        in->owned = true;
    }
    struct stat st;
    int flags = fcntl(in->fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY) return rs_fail(e, RS_E_READ, "%s is closed", in->name);
    if (fstat(in->fd, &st) != 0) return rs_fail(e, RS_E_READ, "%s", strerror(errno));
    if (S_ISDIR(st.st_mode)) return rs_fail(e, RS_USAGE, "is a directory");
    in->dev = st.st_dev;
    in->ino = st.st_ino;
    // A shell may hand over a file that was already read in part: then it is read like a pipe.
    in->seekable = S_ISREG(st.st_mode) && lseek(in->fd, 0, SEEK_CUR) == 0;
    // Both calls only make reading faster; their failure changes nothing.
    if (S_ISREG(st.st_mode)) posix_fadvise(in->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    if (S_ISFIFO(st.st_mode)) fcntl(in->fd, F_SETPIPE_SZ, PIPE_SIZE);
    return RS_OK;
}

rs_status rs_in_open(rs_in **in, const char *path, rs_error *e)
{
    *in = NULL;
    rs_in *s = calloc(1, sizeof *s);
    if (s == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for a stream");
    s->fd = -1;
    rs_status status = open_descriptor(s, path, e);
    if (status != RS_OK) {
        rs_in_close(s);
        return status;
    }
    *in = s;
    return RS_OK;
}

rs_status rs_in_memory(rs_in **in, const void *data, size_t len, rs_error *e)
{
    *in = calloc(1, sizeof **in);
    if (*in == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for a stream");
    (*in)->fd = -1;
    (*in)->seekable = true;
    (*in)->memory = data;
    (*in)->memory_len = len;
    (*in)->name = strdup("memory");
    if ((*in)->name != NULL) return RS_OK;
    rs_in_close(*in);
    *in = NULL;
    return rs_fail(e, RS_E_NOMEM, "no memory for a stream");
}

// True if the call that set errno is to be tried again: interrupted, or the descriptor is non-blocking and now ready.
static bool again(int fd, short events)
{
    if (errno == EINTR) return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    struct pollfd p = {.fd = fd, .events = events};
    return poll(&p, 1, -1) >= 0 || errno == EINTR;
}

// One read(2) of at most n bytes; 0 at the end, -1 with errno.
static ssize_t read_some(rs_in *in, void *buf, size_t n)
{
    if (in->chunk > 0 && n > in->chunk) n = in->chunk;
    ssize_t r;
    do r = read(in->fd, buf, n);
    while (r < 0 && again(in->fd, POLLIN));
    return r;
}

static void take(rs_in *in, uint8_t *dst, const uint8_t *src, size_t n, size_t *got)
{
    memcpy(dst + *got, src, n);
    *got += n;
    in->offset += n;
}

rs_status rs_in_read(rs_in *in, void *buf, size_t n, size_t *got, rs_error *e)
{
    *got = 0;
    if (in->fd < 0) {
        size_t left = in->memory_len - (size_t)in->offset;
        if (n > 0 && left > 0) take(in, buf, in->memory + in->offset, n < left ? n : left, got);
        return RS_OK;
    }
    while (*got < n) {
        size_t want = n - *got, have = in->fill - in->pos;
        if (have > 0) {
            size_t part = want < have ? want : have;
            take(in, buf, in->buffer + in->pos, part, got);
            in->pos += part;
            continue;
        }
        bool direct = want >= BUFFER;
        ssize_t r = direct ? read_some(in, (uint8_t *)buf + *got, want) : read_some(in, in->buffer, BUFFER);
        if (r < 0) return fail_read(in, errno, e);
        if (r == 0) break;
        if (direct) {
            *got += (size_t)r;
            in->offset += (size_t)r;
        } else {
            in->pos = 0;
            in->fill = (size_t)r;
        }
    }
    return RS_OK;
}

uint64_t rs_in_offset(const rs_in *in)
{
    return in->offset;
}

bool rs_in_seekable(const rs_in *in)
{
    return in->seekable;
}

rs_status rs_in_size(rs_in *in, uint64_t *size, rs_error *e)
{
    if (in->fd < 0) {
        *size = in->memory_len;
        return RS_OK;
    }
    struct stat st;
    if (!in->seekable) return rs_fail(e, RS_E_READ, "the size of a pipe is not known");
    if (fstat(in->fd, &st) != 0 || st.st_size < 0) return rs_fail(e, RS_E_READ, "%s", strerror(errno));
    *size = (uint64_t)st.st_size;
    return RS_OK;
}

rs_status rs_in_pread(rs_in *in, void *buf, size_t n, uint64_t offset, rs_error *e)
{
    uint64_t end;
    if (!in->seekable) return rs_fail(e, RS_E_READ, "a pipe cannot be read at random");
    if (!rs_add_ok(offset, n, &end) || end > INT64_MAX || (in->fd < 0 && end > in->memory_len))
        return rs_fail(e, RS_E_TRUNC, "ends before offset %llu plus %zu", (unsigned long long)offset, n);
    if (in->fd < 0) {
        if (n > 0) memcpy(buf, in->memory + offset, n);
        return RS_OK;
    }
    for (size_t got = 0; got < n;) {
        size_t want = n - got;
        if (in->chunk > 0 && want > in->chunk) want = in->chunk;
        ssize_t r = pread(in->fd, (uint8_t *)buf + got, want, (off_t)(offset + got));
        if (r < 0 && errno == EINTR) continue;
        if (r < 0) return rs_fail(e, RS_E_READ, "at offset %llu: %s", (unsigned long long)(offset + got), strerror(errno));
        if (r == 0) return rs_fail(e, RS_E_TRUNC, "ends before offset %llu plus %zu", (unsigned long long)offset, n);
        got += (size_t)r;
    }
    return RS_OK;
}

const char *rs_in_name(const rs_in *in)
{
    return in->name;
}

int rs_in_fd(const rs_in *in)
{
    return in->fd;
}

void rs_in_identity(const rs_in *in, uint64_t *dev, uint64_t *ino)
{
    *dev = in->dev;
    *ino = in->ino;
}

void rs_in_set_chunk(rs_in *in, size_t n)
{
    in->chunk = n;
}

void rs_in_close(rs_in *in)
{
    if (in == NULL) return;
    if (in->owned) close(in->fd);
    free(in->buffer);
    free(in->name);
    free(in);
}
