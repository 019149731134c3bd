// SPDX-License-Identifier: Apache-2.0
// The pool: every index once, nested loops, loops from several threads at once, changes of the number of threads.
#include "kernels/threads.h"

#include <pthread.h>
#include <stdatomic.h>

#include "tests/check.h"

enum { N = 1000 };

struct counts {
    atomic_int times[N];
};

static void count(void *context, size_t i)
{
    struct counts *c = context;
    atomic_fetch_add(&c->times[i], 1);
}

static bool all(const struct counts *c, size_t n, int times)
{
    for (size_t i = 0; i < N; i++)
        if (atomic_load(&c->times[i]) != (i < n ? times : 0))
            return false;
    return true;
}

static void nested(void *context, size_t i)
{
    (void)i;
    rs_threads_for(N, count, context);
}

static void *other(void *context)
{
    for (int i = 0; i < 200; i++)
        rs_threads_for(N, count, context);
    return NULL;
}

int main(void)
{
    CHECK(rs_threads_get() == 1 && rs_threads_available() >= 1);
    for (int threads = 0; threads <= 7; threads++) {
        struct counts c = {0};
        rs_threads_set(threads);
        CHECKF(rs_threads_get() == (threads < 1 ? 1 : threads), "%d threads asked for, %d there", threads, rs_threads_get());
        rs_threads_for(0, count, &c);
        CHECKF(all(&c, 0, 0), "no index, %d threads", threads);
        rs_threads_for(1, count, &c);
        CHECKF(all(&c, 1, 1), "one index, %d threads", threads);
        c = (struct counts){0};
        for (int i = 0; i < 300; i++)
            rs_threads_for(5, count, &c);
        CHECKF(all(&c, 5, 300), "short loops, %d threads", threads);
        c = (struct counts){0};
        rs_threads_for(20, nested, &c);
        CHECKF(all(&c, N, 20), "nested loops, %d threads", threads);
        c = (struct counts){0};
        rs_threads_for(1, nested, &c);
        CHECKF(all(&c, N, 1), "a loop within a loop of one, %d threads", threads);
        c = (struct counts){0};
        pthread_t t[2];
        if (CHECK(pthread_create(&t[0], NULL, other, &c) == 0) && CHECK(pthread_create(&t[1], NULL, other, &c) == 0)) {
            other(&c);
            pthread_join(t[0], NULL);
            pthread_join(t[1], NULL);
        }
        CHECKF(all(&c, N, 600), "loops from three threads, %d in the pool", threads);
    }
    return check_report();
}
