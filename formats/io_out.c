// SPDX-License-Identifier: Apache-2.0
// Byte streams for writing: atomic files (a temporary that takes the place of the old one), pipes and devices in place, memory.
#include "formats/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER 65536u
#define PIPE_SIZE (1 << 20)
#define MAX_TEMPORARIES 64
#define MAX_LINKS 40

// Temporaries that a signal must remove. The handler reads only slots in state OPEN; names live here so that nothing it reads is ever freed.
enum { FREE, CLAIMED, OPEN };
static struct temporary {
    atomic_int state;
    int dir;
    char name[NAME_MAX + 1];
} temporaries[MAX_TEMPORARIES];

struct rs_out {
    enum { MEMORY, IN_PLACE, ATOMIC } kind;
    int fd;
    struct temporary *temporary; // ATOMIC, until renamed
    int dir;                     // ATOMIC: the folder of the file
    char base[NAME_MAX + 1];     // ATOMIC: its name in there
    char *name;
    uint8_t *buffer; // MEMORY: everything written
    size_t fill, cap;
    uint64_t offset;
    bool failed, committed;
};

static void on_signal(int sig)
{
    for (int i = 0; i < MAX_TEMPORARIES; i++)
        if (atomic_load(&temporaries[i].state) == OPEN) unlinkat(temporaries[i].dir, temporaries[i].name, 0);
    raise(sig); // the default action stands again: SA_RESETHAND
}

void rs_out_guard_signals(void)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct sigaction old, new = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};
        sigfillset(&new.sa_mask);
        sigdelset(&new.sa_mask, ends[i]);
        // A signal that the parent had us ignore (nohup) stays ignored.
        if (sigaction(ends[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) sigaction(ends[i], &new, NULL);
    }
    signal(SIGXFSZ, SIG_IGN); // a file size limit is then an error of write, which removes the temporary
}

// Holds the three signals back from this thread while a temporary comes into being or goes.
static void hold_signals(sigset_t *old)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, old);
}

static void release_signals(const sigset_t *old)
{
    pthread_sigmask(SIG_SETMASK, old, NULL);
}

static struct temporary *claim(void)
{
    for (int i = 0; i < MAX_TEMPORARIES; i++) {
        int expected = FREE;
        if (atomic_compare_exchange_strong(&temporaries[i].state, &expected, CLAIMED)) return &temporaries[i];
    }
    return NULL;
}

// Creates ".NAME.rsq." with six random characters in o->dir and notes it for the signal handler.
static rs_status create_temporary(rs_out *o, rs_error *e)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    struct temporary *t = claim();
    if (t == NULL) return rs_fail(e, RS_E_WRITE, "more than %d outputs open at once", MAX_TEMPORARIES);
    t->dir = o->dir;
    for (int tries = 0; tries < 100 && o->fd < 0; tries++) {
        unsigned char r[6] = {0};
        sigset_t old;
        if (getrandom(r, sizeof r, 0) < 0 && errno != EINTR) break;
        char suffix[sizeof r + 1] = {0};
        for (size_t i = 0; i < sizeof r; i++) suffix[i] = letters[r[i] % (sizeof letters - 1)];
        snprintf(t->name, sizeof t->name, ".%.*s.rsq.%s", NAME_MAX - 12, o->base, suffix);
        hold_signals(&old);
        o->fd = openat(o->dir, t->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        int error = errno;
        if (o->fd >= 0) {
            o->temporary = t;
            atomic_store(&t->state, OPEN);
        }
        release_signals(&old);
        errno = error;
        if (o->fd < 0 && error != EEXIST && error != EINTR) break;
    }
    if (o->fd >= 0) return RS_OK;
    int error = errno;
    atomic_store(&t->state, FREE);
    return rs_fail(e, RS_E_WRITE, "cannot create a temporary file beside it: %s", strerror(error));
}

// The descriptor that a path such as "-" or "/dev/stdout" stands for, -1 if it is a path like others.
static int descriptor_of(const char *path)
{
    static const char *const folders[] = {"/dev/fd/", "/proc/self/fd/"};
    if (path == NULL || strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0) return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0) return STDERR_FILENO;
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(folders[i]);
        if (strncmp(path, folders[i], n) != 0) continue;
        char *end;
        long fd = path[n] >= '0' && path[n] <= '9' ? strtol(path + n, &end, 10) : -1;
        return fd >= 0 && fd <= INT_MAX && *end == 0 ? (int)fd : -1;
    }
    return -1;
}

// Follows symbolic links from path to the name of what they lead to (which need not exist), so that a link is kept and its target replaced.
static rs_status follow(const char *path, char target[PATH_MAX], rs_error *e)
{
    if (strlen(path) >= PATH_MAX) return rs_fail(e, RS_E_WRITE, "%s", strerror(ENAMETOOLONG));
    strcpy(target, path);
    for (int links = 0; links <= MAX_LINKS && descriptor_of(target) < 0; links++) {
        char to[PATH_MAX];
        ssize_t n = readlink(target, to, sizeof to - 1);
        if (n < 0) return RS_OK; // no link: open will say what is wrong with it
        to[n] = 0;
        char *slash = strrchr(target, '/');
        size_t keep = to[0] == '/' || slash == NULL ? 0 : (size_t)(slash + 1 - target);
        if (keep + (size_t)n >= PATH_MAX) return rs_fail(e, RS_E_WRITE, "%s", strerror(ENAMETOOLONG));
        memcpy(target + keep, to, (size_t)n + 1);
    }
    return descriptor_of(target) >= 0 ? RS_OK : rs_fail(e, RS_E_WRITE, "%s", strerror(ELOOP));
}

// Refuses an output that is one of the inputs. Character devices and sockets may be both.
static rs_status check_inputs(const struct stat *st, const char *name, rs_in *const *inputs, size_t n, rs_error *e)
{
    if (S_ISCHR(st->st_mode) || S_ISSOCK(st->st_mode)) return RS_OK;
    for (size_t i = 0; i < n; i++) {
        uint64_t dev, ino;
        if (inputs[i] == NULL) continue;
        rs_in_identity(inputs[i], &dev, &ino);
        if (dev == (uint64_t)st->st_dev && ino == (uint64_t)st->st_ino) return rs_fail(e, RS_USAGE, "output %s is the input %s", name, rs_in_name(inputs[i]));
    }
    return RS_OK;
}

// Writes to a descriptor or path as it is.
static rs_status open_in_place(rs_out *o, const char *path, int number, rs_in *const *inputs, size_t n, rs_error *e)
{
    struct stat st;
    o->kind = IN_PLACE;
    if (number >= 0) {
        int flags = fcntl(number, F_GETFL);
        if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) return rs_fail(e, RS_E_WRITE, "%s is closed", o->name);
        o->fd = fcntl(number, F_DUPFD_CLOEXEC, 3); // ours to close and check, while stdio keeps its own
    } else {
        do o->fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
        while (o->fd < 0 && errno == EINTR);
    }
    if (o->fd < 0 || fstat(o->fd, &st) != 0) return rs_fail(e, RS_E_WRITE, "%s", strerror(errno));
    if (isatty(o->fd)) return rs_fail(e, RS_USAGE, "will not write binary data to a terminal: give -o FILE, or redirect or pipe the output");
    if (S_ISFIFO(st.st_mode)) fcntl(o->fd, F_SETPIPE_SZ, PIPE_SIZE); // only for speed
    return check_inputs(&st, o->name, inputs, n, e);
}

static rs_status open_atomic(rs_out *o, char *target, rs_error *e)
{
    o->kind = ATOMIC;
    char *slash = strrchr(target, '/');
    const char *base = slash != NULL ? slash + 1 : target;
    if (strlen(base) > NAME_MAX) return rs_fail(e, RS_E_WRITE, "%s", strerror(ENAMETOOLONG));
    if (*base == 0) return rs_fail(e, RS_E_WRITE, "is not the name of a file");
    strcpy(o->base, base);
    if (slash != NULL) slash[slash == target] = 0; // keeps the "/" of the root
    const char *folder = slash != NULL ? target : ".";
    o->dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (o->dir < 0) return rs_fail(e, RS_E_WRITE, "%s", strerror(errno));
    return create_temporary(o, e);
}

static rs_status open_output(rs_out *o, const char *path, rs_in *const *inputs, size_t n, rs_error *e)
{
    char target[PATH_MAX];
    int number = descriptor_of(path);
    o->name = strdup(number == STDOUT_FILENO ? "standard output" : path);
    o->buffer = malloc(BUFFER);
    o->cap = BUFFER;
    if (o->name == NULL || o->buffer == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for a write buffer");
    if (number < 0) {
        RS_TRY(follow(path, target, e));
        number = descriptor_of(target);
    }
    if (number >= 0) return open_in_place(o, path, number, inputs, n, e);
    struct stat st;
    if (stat(target, &st) == 0) {
        if (S_ISDIR(st.st_mode)) return rs_fail(e, RS_E_WRITE, "is a directory");
        RS_TRY(check_inputs(&st, o->name, inputs, n, e));
        if (!S_ISREG(st.st_mode)) return open_in_place(o, target, -1, inputs, n, e);
        // A file that its owner made read-only is not replaced, although the folder would permit it.
        if (faccessat(AT_FDCWD, target, W_OK, AT_EACCESS) != 0) return rs_fail(e, RS_E_WRITE, "%s", strerror(errno));
    } else if (errno != ENOENT) {
        return rs_fail(e, RS_E_WRITE, "%s", strerror(errno));
    }
    return open_atomic(o, target, e);
}

static rs_out *new_out(void)
{
    rs_out *o = calloc(1, sizeof *o);
    if (o != NULL) o->fd = o->dir = -1;
    return o;
}

rs_status rs_out_open(rs_out **out, const char *path, rs_in *const *inputs, size_t n_inputs, rs_error *e)
{
    *out = NULL;
    rs_out *o = new_out();
    if (o == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for a stream");
    rs_status status = open_output(o, path, inputs, n_inputs, e);
    if (status != RS_OK) {
        rs_out_close(o);
        return status;
    }
    *out = o;
    return RS_OK;
}

rs_status rs_out_memory(rs_out **out, rs_error *e)
{
    *out = NULL;
    rs_out *o = new_out();
    if (o != NULL) {
        o->kind = MEMORY;
        o->name = strdup("memory");
        o->buffer = malloc(BUFFER);
        o->cap = BUFFER;
    }
    if (o == NULL || o->name == NULL || o->buffer == NULL) {
        rs_out_close(o);
        return rs_fail(e, RS_E_NOMEM, "no memory for a stream");
    }
    *out = o;
    return RS_OK;
}

// Notes that the stream is broken: everything after it fails too, and nothing becomes final.
static rs_status fail_write(rs_out *o, const char *what, int error, rs_error *e)
{
    o->failed = true;
    return rs_fail(e, RS_E_WRITE, "%s: %s", what, strerror(error));
}

static rs_status write_all(rs_out *o, const uint8_t *p, size_t n, rs_error *e)
{
    while (n > 0) {
        ssize_t w = write(o->fd, p, n);
        if (w < 0 && errno == EINTR) continue;
        if (w < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            struct pollfd ready = {.fd = o->fd, .events = POLLOUT};
            if (poll(&ready, 1, -1) >= 0 || errno == EINTR) continue;
        }
        if (w < 0) return fail_write(o, "write", errno, e);
        p += w;
        n -= (size_t)w;
    }
    return RS_OK;
}

static rs_status flush(rs_out *o, rs_error *e)
{
    size_t n = o->fill;
    o->fill = 0;
    return write_all(o, o->buffer, n, e);
}

static rs_status grow(rs_out *o, size_t n, rs_error *e)
{
    if (n <= o->cap - o->fill) return RS_OK;
    uint64_t need, cap = o->cap;
    if (!rs_add_ok(o->fill, n, &need) || need > SIZE_MAX / 4) return rs_fail(e, RS_E_NOMEM, "output is too large for memory");
    while (cap < need) cap *= 2;
    uint8_t *p = realloc(o->buffer, (size_t)cap);
    if (p == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for %llu bytes of output", (unsigned long long)need);
    o->buffer = p;
    o->cap = (size_t)cap;
    return RS_OK;
}

rs_status rs_out_write(rs_out *out, const void *buf, size_t n, rs_error *e)
{
    if (out->failed || out->committed) return rs_fail(e, RS_E_WRITE, out->failed ? "an earlier write failed" : "the output is already final");
    if (out->kind == MEMORY) RS_TRY(grow(out, n, e));
    if (n > out->cap - out->fill) RS_TRY(flush(out, e));
    if (n >= out->cap && out->kind != MEMORY) {
        RS_TRY(write_all(out, buf, n, e));
    } else if (n > 0) {
        memcpy(out->buffer + out->fill, buf, n);
        out->fill += n;
    }
    out->offset += n;
    return RS_OK;
}

uint64_t rs_out_offset(const rs_out *out)
{
    return out->offset;
}

const uint8_t *rs_out_bytes(const rs_out *out, size_t *len)
{
    *len = out->kind == MEMORY ? out->fill : 0;
    return out->kind == MEMORY ? out->buffer : NULL;
}

const char *rs_out_name(const rs_out *out)
{
    return out->name;
}

// Closes the descriptor; an interrupted close has closed it all the same (Linux).
static bool close_checked(rs_out *o)
{
    int r = close(o->fd);
    o->fd = -1;
    return r == 0 || errno == EINTR;
}

static int sync_fd(int fd)
{
    int r;
    do r = fsync(fd);
    while (r != 0 && errno == EINTR);
    return r;
}

// Ends the life of the temporary: it has been renamed, or is removed now.
static void drop_temporary(rs_out *o, bool renamed)
{
    sigset_t old;
    hold_signals(&old);
    if (!renamed) unlinkat(o->dir, o->temporary->name, 0);
    atomic_store(&o->temporary->state, FREE);
    o->temporary = NULL;
    release_signals(&old);
}

rs_status rs_out_commit(rs_out *out, rs_error *e)
{
    if (out->failed || out->committed) return rs_fail(e, RS_E_WRITE, out->failed ? "an earlier write failed" : "the output is already final");
    if (out->kind != MEMORY) {
        RS_TRY(flush(out, e));
        if (out->kind == ATOMIC && sync_fd(out->fd) != 0) return fail_write(out, "fsync", errno, e);
        if (!close_checked(out)) return fail_write(out, "close", errno, e);
    }
    if (out->kind == ATOMIC) {
        if (renameat(out->dir, out->temporary->name, out->dir, out->base) != 0) return fail_write(out, "rename", errno, e);
        drop_temporary(out, true);
        // Some file systems have no fsync of a folder: there the rename is as durable as it can be.
        if (sync_fd(out->dir) != 0 && errno != EINVAL && errno != ENOTSUP) return fail_write(out, "fsync of the folder", errno, e);
    }
    out->committed = true;
    return RS_OK;
}

void rs_out_close(rs_out *out)
{
    if (out == NULL) return;
    if (out->temporary != NULL) drop_temporary(out, false);
    // What a failing stage said last (an ABRT) must reach the next one; whether it could is of no use to the caller any more.
    if (out->kind == IN_PLACE && out->fd >= 0 && !out->failed && !out->committed) {
        rs_status ignored = flush(out, NULL);
        (void)ignored;
    }
    if (out->fd >= 0) close(out->fd);
    if (out->dir >= 0) close(out->dir);
    free(out->buffer);
    free(out->name);
    free(out);
}
