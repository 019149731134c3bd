// SPDX-License-Identifier: Apache-2.0
// The emulated device: blocks one after the other, threads as fibers.
#include "tests/cuda/emulate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#include "kernels/cuda/gpu.h"

enum { MOST = 1024, STACK = 64 << 10, SITES = 64, FAULT = 70 };
enum state { READY, AT_BARRIER, AT_WARP, DONE };

// Where something stopped.
struct place {
    void *at[5]; // of __builtin_setjmp, which changes no signal masks and so needs no system call
    const ucontext_t *start; // where a fiber that has not run yet begins
    void *fake; // of the address sanitizer
};

struct fiber {
    struct place place;
    enum state state;
    const char *file;
    int line;
    void (*all)(void *const each[32]);
    void *mine;
};

rs_emu_dim threadIdx, blockIdx, blockDim, gridDim;
static fiber fibers[MOST];
static fiber *now;
static struct place scheduler, *here = &scheduler; // here: what runs now
static char *stacks;
static void (*job)(const void *context);
static const void *job_context;
static struct {
    int site;
    void *p;
} shared[SITES];
static size_t n_shared, dynamic_bytes;
static int order;

extern "C" bool rs_trial_emulated(void)
{
    return true;
}

extern "C" void rs_trial_order(int o)
{
    order = o;
}

__attribute__((format(printf, 1, 2), noreturn)) static void fault(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "kernel: block %u: ", blockIdx.x);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    _exit(FAULT);
}

// Leaves `from` here, to go on when something changes to it. A fiber that has not run yet starts on its own stack.
// Not instrumented: the sanitizer would take the jump for the end of the frames below it and clean up a whole stack.
__attribute__((noinline, no_sanitize("address"))) static void change(struct place *from, struct place *to, const void *stack, size_t size)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from->fake, stack, size);
#else
    (void)stack, (void)size;
#endif
    if (__builtin_setjmp(from->at) == 0) {
        const ucontext_t *first = to->start;
        to->start = NULL;
        if (first != NULL) setcontext(first);
        __builtin_longjmp(to->at, 1);
    }
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(here->fake, NULL, NULL);
#endif
}

static const void *main_stack;
static size_t main_size;
static unsigned sequence[MOST], n_threads, position; // in which order threads run, and who is next

// From here to the next thread that can run, or back to what started them all.
static void go_on(struct place *from)
{
    while (position < n_threads && fibers[sequence[position]].state != READY) position++;
    if (position < n_threads) {
        const unsigned t = sequence[position++];
        now = &fibers[t];
        threadIdx = {t, 0, 0};
        here = &now->place;
        change(from, here, stacks + t * (size_t)STACK, STACK);
    } else if (from != &scheduler) {
        here = &scheduler;
        change(from, here, main_stack, main_size);
    }
}

// A fiber runs one thread after another.
static void run_fiber(void)
{
#if defined(__SANITIZE_ADDRESS__)
    const void *stack; // of what changed to it: the first time that is no fiber
    size_t size;
    __sanitizer_finish_switch_fiber(NULL, &stack, &size);
    if (main_stack == NULL) main_stack = stack, main_size = size;
#endif
    for (;;) {
        job(job_context);
        now->state = DONE;
        go_on(&now->place);
    }
}

static void start(void)
{
    stacks = (char *)mmap(NULL, (size_t)MOST * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED) fault("no memory for the stacks");
    static ucontext_t starts[MOST];
    for (size_t i = 0; i < MOST; i++) {
        ucontext_t *c = &starts[i];
        getcontext(c);
        c->uc_stack.ss_sp = stacks + i * STACK;
        c->uc_stack.ss_size = STACK - i % 64 * 192; // ends of stacks do not fall into the same lines of a cache
        makecontext(c, run_fiber, 0);
        fibers[i].place.start = c;
    }
}

static void wait_as(enum state s, const char *file, int line)
{
    now->state = s;
    now->file = file;
    now->line = line;
    go_on(&now->place);
}

void rs_emu_barrier(const char *file, int line)
{
    wait_as(AT_BARRIER, file, line);
}

void rs_emu_warp(const char *file, int line, void (*all)(void *const each[32]), void *mine)
{
    now->all = all;
    now->mine = mine;
    wait_as(AT_WARP, file, line);
}

void rs_emu_mask(unsigned mask, const char *file, int line)
{
    if (mask != ~0u) fault("thread %u: %s:%d: a warp-wide operation of a part of a warp", threadIdx.x, file, line);
}

void *rs_emu_shared(int site, size_t bytes)
{
    for (size_t i = 0; i < n_shared; i++)
        if (shared[i].site == site) return shared[i].p;
    if (n_shared == SITES) fault("more than %d arrays of a block", SITES);
    if (site < 0) bytes = dynamic_bytes;
    void *p = malloc(bytes + (bytes == 0)); // 16-aligned
    if (p == NULL) fault("no memory");
    memset(p, order == 1 ? 0x7f : 0xff, bytes); // a large number, or NaN
    shared[n_shared].site = site;
    shared[n_shared++].p = p;
    return p;
}

// ---- copies into block memory

enum { COPIES = 64 };
static struct copies {
    struct {
        void *to;
        const void *from;
        int group;
    } queue[COPIES];
    int n, group; // queued; the group that is open
} copies_of[MOST];

void rs_emu_copy(void *to, const void *from, bool there)
{
    struct copies *c = &copies_of[threadIdx.x];
    if (c->n == COPIES) fault("thread %u queues more than %d copies", threadIdx.x, COPIES);
    if ((uintptr_t)to % 16 != 0 || (uintptr_t)from % 16 != 0) fault("thread %u: a copy between %p and %p, which are no multiples of 16", threadIdx.x, from, to);
    memset(to, 0xff, 16);
    c->queue[c->n].to = to;
    c->queue[c->n].from = there ? from : NULL;
    c->queue[c->n++].group = c->group;
}

void rs_emu_copies_close(void)
{
    copies_of[threadIdx.x].group++;
}

void rs_emu_copies_wait(int groups)
{
    struct copies *c = &copies_of[threadIdx.x];
    int kept = 0;
    for (int i = 0; i < c->n; i++)
        if (c->queue[i].group < c->group - groups) {
            if (c->queue[i].from != NULL)
                memcpy(c->queue[i].to, c->queue[i].from, 16);
            else
                memset(c->queue[i].to, 0, 16);
        } else
            c->queue[kept++] = c->queue[i];
    c->n = kept;
}

static unsigned in_order(unsigned i, unsigned n)
{
    if (order == 1) return n - 1 - i;
    return order == 2 ? (unsigned)((i * 37ull + 11) % n) : i; // 37 has no factor in common with a multiple of 32
}

static bool same_place(const fiber *a, const fiber *b)
{
    return a->file == b->file && a->line == b->line;
}

// Does what whole warps wait for; true if there was one.
static bool warps(unsigned threads)
{
    bool any = false;
    for (unsigned w = 0; w < threads; w += 32) {
        void *each[32];
        unsigned waiting = 0;
        for (unsigned i = w; i < w + 32 && i < threads; i++) waiting += fibers[i].state == AT_WARP;
        if (waiting == 0) continue;
        if (waiting < 32) fault("%u of the 32 threads from %u on are at a warp-wide operation", waiting, w);
        for (unsigned i = 0; i < 32; i++) {
            if (!same_place(&fibers[w], &fibers[w + i])) fault("threads %u and %u are at different warp-wide operations: %s:%d, %s:%d", w, w + i, fibers[w].file, fibers[w].line, fibers[w + i].file, fibers[w + i].line);
            each[i] = fibers[w + i].mine;
        }
        fibers[w].all(each);
        for (unsigned i = 0; i < 32; i++) fibers[w + i].state = READY;
        any = true;
    }
    return any;
}

// False if all have ended.
static bool barrier(unsigned threads)
{
    unsigned done = 0;
    for (unsigned i = 0; i < threads; i++) done += fibers[i].state == DONE;
    if (done == threads) return false;
    if (done > 0) fault("%u of %u threads ended where others wait at a barrier", done, threads);
    for (unsigned i = 1; i < threads; i++)
        if (!same_place(&fibers[0], &fibers[i])) fault("threads 0 and %u are at different barriers: %s:%d, %s:%d", i, fibers[0].file, fibers[0].line, fibers[i].file, fibers[i].line);
    for (unsigned i = 0; i < threads; i++) fibers[i].state = READY;
    return true;
}

static void run_block(unsigned threads)
{
    n_threads = threads;
    for (unsigned i = 0; i < threads; i++) fibers[i].state = READY;
    do {
        do {
            position = 0;
            go_on(&scheduler);
        } while (warps(threads));
    } while (barrier(threads));
    for (unsigned i = 0; i < threads; i++)
        if (copies_of[i].n > 0) fault("thread %u ended before %d of its copies were there", i, copies_of[i].n);
    for (size_t i = 0; i < n_shared; i++) free(shared[i].p);
    n_shared = 0;
}

// What has been allowed; a kernel has one limit, the last.
enum { ALLOWED = 16 };
static struct {
    const void *kernel;
    size_t bytes;
} allowed[ALLOWED];
static size_t n_allowed;

void rs_emu_allow(const void *kernel, size_t bytes)
{
    size_t i = 0;
    while (i < n_allowed && allowed[i].kernel != kernel) i++;
    if (i == ALLOWED) fault("more than %d kernels with much block memory", ALLOWED);
    if (i == n_allowed) n_allowed++;
    allowed[i].kernel = kernel;
    allowed[i].bytes = bytes;
}

static size_t limit_of(const void *kernel)
{
    for (size_t i = 0; i < n_allowed; i++)
        if (allowed[i].kernel == kernel && allowed[i].bytes > 48 << 10) return allowed[i].bytes;
    return 48 << 10;
}

void rs_emu_run(const void *kernel, unsigned blocks, unsigned threads, size_t bytes, void (*body)(const void *context), const void *context)
{
    if (stacks == NULL) start();
    blockIdx = {0, 0, 0};
    if (blocks == 0 || blocks > 2147483647u || threads == 0 || threads > MOST || bytes > limit_of(kernel)) fault("%u blocks of %u threads with %zu bytes", blocks, threads, bytes);
    job = body;
    job_context = context;
    dynamic_bytes = bytes;
    gridDim = {blocks, 1, 1};
    blockDim = {threads, 1, 1};
    for (unsigned i = 0; i < threads; i++) sequence[i] = in_order(i, threads);
    for (unsigned b = 0; b < blocks; b++) {
        blockIdx = {b, 0, 0};
        run_block(threads);
    }
}
