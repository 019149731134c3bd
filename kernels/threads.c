// SPDX-License-Identifier: Apache-2.0
// The pool: n - 1 pthreads; a loop hands out its indices by an atomic counter, and the caller works too. Threads that have just worked look for the next loop awake, without a lock.
#include "kernels/threads.h"

#include <cblas.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

// How often a thread without work looks for some before it sleeps: some 30 to 150 microseconds, so that loops that follow each other (the products of one token) find the pool awake.
enum { MAX_THREADS = 256, LOOKS = 3000 };

// The loop that the pool runs: written while it is closed and nobody is in it. A thread enters by counting itself into `busy` and then asks whether it is open; the caller closes it and then
// asks whether anybody is in: in the one order of all these accesses, one of the two sees the other. Sleepers and the waiting caller are woken by the same argument.
static struct {
    void (*body)(void *, size_t);
    void *context;
    size_t n;
    atomic_size_t next;
} loop;
static atomic_bool open, waiting;
static atomic_int busy, sleeping;
static atomic_ulong round_number;

static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER; // held by the thread whose loop the pool runs
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;  // held to sleep, and to wake
static pthread_cond_t start = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
static pthread_t workers[MAX_THREADS];
static int threads = 1;
static atomic_bool stop;
static _Thread_local bool inside;

// OpenBLAS would start its own threads before rs_threads_set was ever called.
__attribute__((constructor)) static void single(void)
{
    openblas_set_num_threads(1);
}

static void pause_a_little(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void work(void)
{
    inside = true;
    for (size_t i; (i = atomic_fetch_add_explicit(&loop.next, 1, memory_order_relaxed)) < loop.n;)
        loop.body(loop.context, i);
    inside = false;
}

static void sleep_until(unsigned long seen)
{
    pthread_mutex_lock(&lock);
    sleeping++;
    while (seen == round_number && !stop)
        pthread_cond_wait(&start, &lock);
    sleeping--;
    pthread_mutex_unlock(&lock);
}

static void *worker(void *seen_)
{
    unsigned long seen = *(unsigned long *)seen_;
    for (;;) {
        for (int i = 0; i < LOOKS && seen == atomic_load_explicit(&round_number, memory_order_relaxed); i++)
            pause_a_little();
        if (seen == round_number)
            sleep_until(seen);
        if (stop)
            return NULL;
        seen = round_number;
        busy++;
        if (open)
            work();
        if (--busy == 0 && waiting) {
            pthread_mutex_lock(&lock);
            pthread_cond_signal(&done);
            pthread_mutex_unlock(&lock);
        }
    }
}

static void run(size_t n, void (*body)(void *context, size_t i), void *context)
{
    loop.body = body;
    loop.context = context;
    loop.n = n;
    loop.next = 0;
    open = true;
    round_number++;
    if (sleeping > 0) {
        pthread_mutex_lock(&lock);
        pthread_cond_broadcast(&start);
        pthread_mutex_unlock(&lock);
    }
    work();
    open = false;
    for (int i = 0; i < LOOKS && atomic_load_explicit(&busy, memory_order_relaxed) > 0; i++)
        pause_a_little();
    if (busy == 0)
        return;
    pthread_mutex_lock(&lock);
    waiting = true;
    while (busy > 0)
        pthread_cond_wait(&done, &lock);
    waiting = false;
    pthread_mutex_unlock(&lock);
}

void rs_threads_set(int n)
{
    static unsigned long seen; // read by each worker as it starts; changes only below, with no worker alive
    n = n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : n;
    pthread_mutex_lock(&owner);
    pthread_mutex_lock(&lock);
    stop = true;
    pthread_cond_broadcast(&start);
    pthread_mutex_unlock(&lock);
    for (int i = 1; i < threads; i++)
        pthread_join(workers[i], NULL);
    stop = false;
    seen = round_number;
    threads = 1;
    while (threads < n && pthread_create(&workers[threads], NULL, worker, &seen) == 0)
        threads++;
    openblas_set_num_threads(1);
    pthread_mutex_unlock(&owner);
}

int rs_threads_get(void)
{
    return threads;
}

int rs_threads_available(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (int)n;
}

void rs_threads_for(size_t n, void (*body)(void *context, size_t i), void *context)
{
    if (n > 1 && !inside && threads > 1 && pthread_mutex_trylock(&owner) == 0) {
        run(n, body, context);
        pthread_mutex_unlock(&owner);
        return;
    }
    for (size_t i = 0; i < n; i++)
        body(context, i);
}
