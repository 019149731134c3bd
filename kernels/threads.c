// SPDX-License-Identifier: Apache-2.0
// The pool: n - 1 sleeping pthreads; a loop hands out its indices by an atomic counter, and the caller works too.
#include "kernels/threads.h"

#include <cblas.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

// How often a thread without work looks for some before it sleeps: some 20 to 50 microseconds, so that loops that follow each other (the products of one token) find the pool awake.
enum { MAX_THREADS = 256, LOOKS = 1000 };

struct loop {
    void (*body)(void *, size_t);
    void *context;
    size_t n;
    atomic_size_t next;
};

static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER; // held by the thread whose loop the pool runs
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;  // guards the rest
static pthread_cond_t start = PTHREAD_COND_INITIALIZER, done = PTHREAD_COND_INITIALIZER;
static pthread_t workers[MAX_THREADS];
static int threads = 1;
static atomic_int busy;            // both are written under lock
static atomic_ulong round_number;
static bool stop;
static struct loop *current;
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

static void work(struct loop *l)
{
    inside = true;
    for (size_t i; (i = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed)) < l->n;)
        l->body(l->context, i);
    inside = false;
}

static void *worker(void *seen_)
{
    unsigned long seen = *(unsigned long *)seen_;
    pthread_mutex_lock(&lock);
    for (;;) {
        pthread_mutex_unlock(&lock);
        for (int i = 0; i < LOOKS && seen == atomic_load_explicit(&round_number, memory_order_relaxed); i++)
            pause_a_little();
        pthread_mutex_lock(&lock);
        while (seen == round_number && !stop)
            pthread_cond_wait(&start, &lock);
        if (stop)
            break;
        seen = round_number;
        struct loop *l = current;
        if (l == NULL)
            continue;
        busy++;
        pthread_mutex_unlock(&lock);
        work(l);
        pthread_mutex_lock(&lock);
        if (--busy == 0)
            pthread_cond_signal(&done);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
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
        struct loop l = {.body = body, .context = context, .n = n};
        pthread_mutex_lock(&lock);
        current = &l;
        round_number++;
        pthread_cond_broadcast(&start);
        pthread_mutex_unlock(&lock);
        work(&l);
        for (int i = 0; i < LOOKS && atomic_load_explicit(&busy, memory_order_relaxed) > 0; i++)
            pause_a_little();
        pthread_mutex_lock(&lock);
        current = NULL;
        while (busy > 0)
            pthread_cond_wait(&done, &lock);
        pthread_mutex_unlock(&lock);
        pthread_mutex_unlock(&owner);
        return;
    }
    for (size_t i = 0; i < n; i++)
        body(context, i);
}
