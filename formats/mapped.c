// SPDX-License-Identifier: Apache-2.0
// A whole stream at random: a file is mapped and verified where it lies, a pipe is spooled to an unlinked temporary while it is verified, then mapped.
#include "formats/mapped.h"

#include "formats/frames.h"
#include "formats/hash.h"
#include "formats/meta.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// Payload bytes after which the verified part of a mapping is let go.
#define RELEASE (UINT64_C(64) << 20)

struct guarded;

typedef struct item {
    rs_tensor tensor; // first: rs_mapped_payload comes back from it
    uint64_t payload_off;
} item;

typedef struct blob {
    char name[RS_MAX_NAME + 1];
    rs_stat_head stat; // statistics only
    uint64_t off;
    size_t len;
} blob;

typedef struct list {
    void **item;
    size_t n, cap;
} list;

struct rs_mapped {
    rs_in *in;
    rs_reader *reader;
    int fd;
    const uint8_t *base;
    uint64_t size;
    struct guarded *guard; // NULL: not mapped, or too many mappings at once
    list tensors, files, stats;
    uint32_t *slot; // open addressing over names of tensors: index + 1
    size_t cap;
    rs_arena *arena; // of the maps of statistics
    uint64_t released;
};

static rs_status push(list *l, void *p, rs_error *e)
{
    if (p != NULL && l->n == l->cap) {
        size_t cap = l->cap > 0 ? 2 * l->cap : 64;
        void **grown = realloc(l->item, cap * sizeof *grown);
        if (grown == NULL) {
            free(p);
            p = NULL;
        } else {
            l->item = grown;
            l->cap = cap;
        }
    }
    if (p == NULL) return rs_fail(e, RS_E_NOMEM, "list of frames");
    l->item[l->n++] = p;
    return RS_OK;
}

static rs_status add_tensor(rs_mapped *m, const rs_frame *f, rs_error *e)
{
    item *t = malloc(sizeof *t);
    if (t != NULL) *t = (item){*f->tensor, f->payload_off};
    return push(&m->tensors, t, e);
}

static rs_status add_blob(list *l, const rs_frame *f, const char *name, const rs_stat_head *stat, rs_error *e)
{
    blob *b = calloc(1, sizeof *b);
    if (b != NULL) {
        snprintf(b->name, sizeof b->name, "%s", name);
        if (stat != NULL) b->stat = *stat;
        b->off = f->payload_off;
        b->len = (size_t)f->payload_len;
    }
    return push(l, b, e);
}

// The reader's map ends with its frame: a copy is read from the meta.
static rs_status add_stat(rs_mapped *m, const rs_frame *f, rs_error *e)
{
    rs_value *map;
    rs_stat_frame s;
    rs_frames_how how = {.arena = m->arena};
    RS_TRY(rs_meta_parse(m->arena, f->meta, f->meta_len, &map, e));
    RS_TRY(rs_frames_get(RS_FRAME_STAT, &how, map, &s, e));
    s.head.payload_len = f->payload_len;
    return add_blob(&m->stats, f, s.head.name, &s.head, e);
}

// Tells the kernel that whole pages within [from, to) of the mapping are not needed now.
static void let_go(const rs_mapped *m, uint64_t from, uint64_t to)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    from = (from + page - 1) / page * page;
    to = to / page * page;
    if (m->base != NULL && from < to) madvise((void *)(uintptr_t)(m->base + from), (size_t)(to - from), MADV_DONTNEED);
}

static rs_status walk(rs_mapped *m, rs_error *e)
{
    rs_frame f;
    for (;;) {
        RS_TRY(rs_reader_next(m->reader, &f, e));
        if (f.type == RS_FRAME_END) break;
        if (f.type == RS_FRAME_TENS) RS_TRY(add_tensor(m, &f, e));
        if (f.type == RS_FRAME_FILE) RS_TRY(add_blob(&m->files, &f, f.file_name, NULL, e));
        if (f.type == RS_FRAME_STAT) RS_TRY(add_stat(m, &f, e));
        if (m->base != NULL && f.payload_off - m->released > RELEASE) {
            let_go(m, m->released, f.payload_off);
            m->released = f.payload_off;
        }
    }
    let_go(m, m->released, m->size);
    return RS_OK;
}

static rs_status index_names(rs_mapped *m, rs_error *e)
{
    m->cap = 64;
    while (m->cap < 2 * m->tensors.n) m->cap *= 2;
    m->slot = calloc(m->cap, sizeof *m->slot);
    if (m->slot == NULL) return rs_fail(e, RS_E_NOMEM, "index of %zu names", m->tensors.n);
    for (size_t i = 0; i < m->tensors.n; i++) {
        const char *name = rs_mapped_tensor(m, i)->name;
        size_t k = (size_t)rs_hash_64(name, strlen(name)) & (m->cap - 1);
        while (m->slot[k] != 0) k = (k + 1) & (m->cap - 1);
        m->slot[k] = (uint32_t)i + 1;
    }
    return RS_OK;
}

// ---- where the bytes lie

// Mappings that the handler of SIGBUS knows; a slot whose base is 0 is free.
#define MAX_GUARDED 16
static struct guarded {
    atomic_uintptr_t base;
    atomic_size_t size;
    atomic_bool lost;
} guarded[MAX_GUARDED];

// Lays a page of zeros over one that is gone, so that the access can go on.
static void on_bus_error(int sig, siginfo_t *info, void *context)
{
    (void)context;
    uintptr_t at = (uintptr_t)info->si_addr, page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < MAX_GUARDED; i++) {
        uintptr_t base = atomic_load(&guarded[i].base);
        if (base == 0 || at < base || at - base >= atomic_load(&guarded[i].size)) continue;
        atomic_store(&guarded[i].lost, true);
        if (mmap((void *)(at / page * page), page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) return;
    }
    signal(sig, SIG_DFL); // not ours: the access is repeated and ends the process
}

void rs_mapped_guard(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

static struct guarded *guard(const uint8_t *base, uint64_t size)
{
    for (int i = 0; i < MAX_GUARDED; i++) {
        uintptr_t empty = 0;
        if (atomic_load(&guarded[i].size) != 0 || !atomic_compare_exchange_strong(&guarded[i].base, &empty, (uintptr_t)base)) continue;
        atomic_store(&guarded[i].lost, false);
        atomic_store(&guarded[i].size, (size_t)size);
        return &guarded[i];
    }
    return NULL;
}

static rs_status map_file(rs_mapped *m, rs_error *e)
{
    struct stat st;
    if (fstat(m->fd, &st) != 0) return rs_fail(e, RS_E_READ, "%s", strerror(errno));
    m->size = (uint64_t)st.st_size;
    if (m->size == 0) return RS_OK;
    void *p = mmap(NULL, (size_t)m->size, PROT_READ, MAP_SHARED, m->fd, 0);
    if (p == MAP_FAILED) return rs_fail(e, RS_E_READ, "mmap: %s", strerror(errno));
    m->base = p;
    m->guard = guard(m->base, m->size);
    return RS_OK;
}

rs_status rs_mapped_check(const rs_mapped *m, rs_error *e)
{
    if (m->guard == NULL || !atomic_load(&m->guard->lost)) return RS_OK;
    return rs_fail(e, RS_E_READ, "the file was cut while it was in use");
}

// The file behind m->in, opened once more for the mapping; it must still be the same one.
static rs_status reopen(rs_mapped *m, const char *path, rs_error *e)
{
    struct stat st;
    uint64_t dev, ino;
    bool standard = path == NULL || strcmp(path, "-") == 0;
    m->fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);
    if (m->fd < 0 || fstat(m->fd, &st) != 0) return rs_fail(e, RS_E_READ, "%s", strerror(errno));
    rs_in_identity(m->in, &dev, &ino);
    if (dev != (uint64_t)st.st_dev || ino != (uint64_t)st.st_ino) return rs_fail(e, RS_E_READ, "was replaced while it was opened");
    return RS_OK;
}

static rs_status verify_mapping(rs_mapped *m, rs_error *e)
{
    RS_TRY(map_file(m, e));
    if (m->base != NULL) madvise((void *)(uintptr_t)m->base, (size_t)m->size, MADV_SEQUENTIAL);
    RS_TRY(rs_reader_open_view(&m->reader, m->base != NULL ? m->base : (const uint8_t *)"", m->size, e));
    rs_status st = walk(m, e);
    if (m->guard != NULL && atomic_load(&m->guard->lost)) {
        if (e != NULL) *e = (rs_error){0}; // zeros in place of bytes: what they looked like is of no interest
        return rs_fail(e, RS_E_TRUNC, "the file was cut while it was read");
    }
    RS_TRY(st);
    madvise((void *)(uintptr_t)m->base, (size_t)m->size, MADV_NORMAL);
    return RS_OK;
}

// ---- pipes

static const char *spool_folder(void)
{
    const char *dir = getenv("TMPDIR");
    return dir != NULL && *dir != 0 ? dir : "/tmp";
}

static int open_spool(void)
{
    const char *dir = spool_folder();
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0) return fd;
    char path[4096]; // a file system without O_TMPFILE
    if ((size_t)snprintf(path, sizeof path, "%s/.rsq.XXXXXX", dir) >= sizeof path) return -1;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) unlink(path);
    return fd;
}

static rs_status spool(void *context, const void *bytes, size_t n, rs_error *e)
{
    const rs_mapped *m = context;
    const uint8_t *p = bytes;
    while (n > 0) {
        ssize_t k = write(m->fd, p, n);
        if (k < 0 && errno == EINTR) continue;
        if (k < 0) return rs_fail(e, RS_E_WRITE, "temporary file in %s: %s", spool_folder(), strerror(errno));
        p += k;
        n -= (size_t)k;
    }
    return RS_OK;
}

static rs_status verify_pipe(rs_mapped *m, rs_error *e)
{
    m->fd = open_spool();
    if (m->fd < 0) return rs_fail(e, RS_E_WRITE, "temporary file in %s: %s", spool_folder(), strerror(errno));
    RS_TRY(rs_reader_open_sink(&m->reader, m->in, spool, m, e));
    RS_TRY(walk(m, e));
    return map_file(m, e);
}

static rs_status open_all(rs_mapped *m, const char *path, rs_error *e)
{
    m->arena = rs_arena_new();
    if (m->arena == NULL) return rs_fail(e, RS_E_NOMEM, "mapping");
    RS_TRY(rs_in_open(&m->in, path, e));
    // Standard input that is a file may stand in its middle: then it is read like a pipe.
    bool in_place = rs_in_seekable(m->in) && (path == NULL || strcmp(path, "-") != 0 || lseek(STDIN_FILENO, 0, SEEK_CUR) == 0);
    if (in_place) RS_TRY(reopen(m, path, e));
    RS_TRY(in_place ? verify_mapping(m, e) : verify_pipe(m, e));
    return index_names(m, e);
}

rs_status rs_mapped_open(rs_mapped **out, const char *path, rs_error *e)
{
    rs_mapped *m = calloc(1, sizeof *m);
    *out = NULL;
    if (m == NULL) return rs_fail(e, RS_E_NOMEM, "mapping");
    m->fd = -1;
    rs_status st = open_all(m, path, e);
    if (st != RS_OK) rs_mapped_close(m);
    else *out = m;
    return st;
}

static void free_list(list *l)
{
    for (size_t i = 0; i < l->n; i++) free(l->item[i]);
    free(l->item);
}

void rs_mapped_close(rs_mapped *m)
{
    if (m == NULL) return;
    if (m->guard != NULL) {
        atomic_store(&m->guard->size, 0);
        atomic_store(&m->guard->base, 0);
    }
    if (m->base != NULL) munmap((void *)(uintptr_t)m->base, (size_t)m->size);
    if (m->fd >= 0) close(m->fd);
    rs_reader_free(m->reader);
    rs_in_close(m->in);
    free_list(&m->tensors);
    free_list(&m->files);
    free_list(&m->stats);
    free(m->slot);
    rs_arena_free(m->arena);
    free(m);
}

// ---- what it holds

const rs_head *rs_mapped_head(const rs_mapped *m)
{
    return rs_reader_head(m->reader);
}

const rs_prov *rs_mapped_prov(const rs_mapped *m, size_t *n)
{
    return rs_reader_prov(m->reader, n);
}

const rs_input_sum *rs_mapped_inputs(const rs_mapped *m, unsigned step, size_t *n)
{
    return rs_reader_inputs(m->reader, step, n);
}

void rs_mapped_digest(const rs_mapped *m, uint8_t digest[16], uint8_t tensors[16], uint64_t *size)
{
    rs_reader_digest(m->reader, digest, tensors, size);
}

rs_in *rs_mapped_in(const rs_mapped *m)
{
    return m->in;
}

int rs_mapped_fd(const rs_mapped *m)
{
    return m->fd;
}

size_t rs_mapped_count(const rs_mapped *m)
{
    return m->tensors.n;
}

const rs_tensor *rs_mapped_tensor(const rs_mapped *m, size_t i)
{
    return i < m->tensors.n ? &((const item *)m->tensors.item[i])->tensor : NULL;
}

const rs_tensor *rs_mapped_find(const rs_mapped *m, const char *name)
{
    size_t k = (size_t)rs_hash_64(name, strlen(name)) & (m->cap - 1);
    for (; m->slot[k] != 0; k = (k + 1) & (m->cap - 1)) {
        const rs_tensor *t = rs_mapped_tensor(m, m->slot[k] - 1);
        if (strcmp(t->name, name) == 0) return t;
    }
    return NULL;
}

const rs_tensor *rs_mapped_find_role(const rs_mapped *m, rs_role role, int64_t layer)
{
    for (size_t i = 0; i < m->tensors.n; i++) {
        const rs_tensor *t = rs_mapped_tensor(m, i);
        if (t->role == role && t->layer == layer) return t;
    }
    return NULL;
}

const uint8_t *rs_mapped_payload(const rs_mapped *m, const rs_tensor *t)
{
    return m->base + ((const item *)(const void *)t)->payload_off;
}

void rs_mapped_release(const rs_mapped *m, const rs_tensor *t)
{
    uint64_t off = ((const item *)(const void *)t)->payload_off;
    let_go(m, off, off + t->payload_len);
}

const uint8_t *rs_mapped_file(const rs_mapped *m, const char *name, size_t *len)
{
    for (size_t i = 0; i < m->files.n; i++) {
        const blob *b = m->files.item[i];
        if (strcmp(b->name, name) != 0) continue;
        *len = b->len;
        return m->base + b->off;
    }
    *len = 0;
    return NULL;
}

size_t rs_mapped_stats(const rs_mapped *m)
{
    return m->stats.n;
}

const rs_stat_head *rs_mapped_stat(const rs_mapped *m, size_t i, const uint8_t **payload)
{
    if (i >= m->stats.n) return NULL;
    const blob *b = m->stats.item[i];
    if (payload != NULL) *payload = m->base + b->off;
    return &b->stat;
}
