// SPDX-License-Identifier: Apache-2.0
// A step of rs-learn beside the sgemm rate of the same run: bench_learn MODEL.rsq [THREADS [STEPS]]. Dense mode, 512 tokens. Rates are of the wall clock and of processor time (which others cannot steal).
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/threads.h"
#include "transforms/learn.h"

enum { S = 512, N = 1024 };

static double clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct spent {
    double wall, cpu, flop;
};

static void begin(struct spent *s)
{
    s->wall -= clock_of(CLOCK_MONOTONIC);
    s->cpu -= clock_of(CLOCK_PROCESS_CPUTIME_ID);
}
static void end(struct spent *s, double flop)
{
    s->wall += clock_of(CLOCK_MONOTONIC);
    s->cpu += clock_of(CLOCK_PROCESS_CPUTIME_ID);
    s->flop += flop;
}

static void must(rs_status s, const rs_error *e)
{
    if (s == RS_OK) return;
    fprintf(stderr, "bench_learn: %s\n", e->text);
    exit((int)s);
}

// About one second of square products.
static void products(struct spent *s)
{
    static float x[N * N], w[N * N], y[N * N];
    const rs_kernels *k = rs_kernels_cpu();
    for (size_t i = 0; i < N * N; i++) x[i] = w[i] = 1e-3f * (float)(i % 7);
    const double start = clock_of(CLOCK_MONOTONIC);
    begin(s);
    double flop = 0;
    for (; clock_of(CLOCK_MONOTONIC) < start + 1; flop += 2.0 * N * N * N) k->gemm_nt(N, N, N, x, N, w, N, 0, y, N);
    end(s, flop);
}

static struct spent sgemm, steps;

static void news(void *context, const rs_learn_news *n)
{
    const rs_learn *const *l = context;
    if (n->what != RS_LEARN_STEP) return;
    end(&steps, rs_learn_flops(*l));
    products(&sgemm);
    begin(&steps);
}

int main(int argc, char **argv)
{
    rs_error e = {0};
    rs_mapped *m;
    rs_network *n;
    rs_rotation *from;
    static rs_learn *l;
    static int32_t ids[64 * S];
    if (argc < 2) return 2;
    rs_threads_set(argc > 2 ? atoi(argv[2]) : rs_threads_available());
    must(rs_mapped_open(&m, argv[1], &e), &e);
    must(rs_network_open(&n, m, NULL, &e), &e);
    const rs_config *c = rs_network_config(n);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) ids[i] = (int32_t)(i * 2654435761u % c->V);
    must(rs_rotation_seeded(&from, c->L, c->d, c->h, 1, &e), &e);
    const rs_learn_options o = {.mode = RS_LEARN_DENSE, .S = S, .batch = 1, .steps = argc > 3 ? strtoull(argv[3], NULL, 10) : 4, .rates = {0.1, 0.1, 0}, .bits = {.a = {.bits = 4, .clip = 1}, .kv = {.bits = 4, .clip = 1}}, .ce = 1};
    const rs_learn_calls calls = {.news = news, .context = &l};
    must(rs_learn_new(&l, n, ids, sizeof ids / sizeof ids[0], from, false, &o, &calls, &e), &e);
    products(&sgemm);
    begin(&steps);
    must(rs_learn_run(l, &e), &e);
    end(&steps, 0);
    const double count = (double)o.steps;
    printf("learning step, dense, %d tokens, %d threads: %.2f s, of processor time %.2f s; %.1f GFLOP in products\n", S, rs_threads_get(), steps.wall / count, steps.cpu / count, 1e-9 * steps.flop / count);
    printf("GFLOP/s: step %.1f, sgemm %.1f: share %.2f; by processor time %.1f, %.1f: share %.2f\n", 1e-9 * steps.flop / steps.wall, 1e-9 * sgemm.flop / sgemm.wall, steps.flop / steps.wall / (sgemm.flop / sgemm.wall),
           1e-9 * steps.flop / steps.cpu, 1e-9 * sgemm.flop / sgemm.cpu, steps.flop / steps.cpu / (sgemm.flop / sgemm.cpu));
    rs_learn_free(l);
    rs_rotation_free(from);
    rs_network_close(n);
    rs_mapped_close(m);
    return 0;
}
