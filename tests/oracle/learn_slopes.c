// SPDX-License-Identifier: Apache-2.0
// Loss and derivatives of one sequence for learn.py: learn_slopes MODEL.rsq IDS S A_BITS KV_BITS W_BITS CE KL RANK. Rotations are seeded (1) and turned apart a little, by U and V of a chain of rank RANK where RANK > 0.
// Writes nll, kl, r3 [h,h] and r4 [f,f] as doubles, then as f32: bases [2L,d,d], head rotations [L,h,h], slopes of both, and for a chain U, V, dU, dV [2L-1,d,RANK/2].
#include <stdio.h>
#include <stdlib.h>

#include "kernels/threads.h"
#include "transforms/cayley.h"
#include "transforms/chain.h"
#include "transforms/objective.h"
#include "transforms/random.h"
#include "transforms/rotation.h"

static void must(rs_status s, const rs_error *e)
{
    if (s == RS_OK) return;
    fprintf(stderr, "%s\n", e->text);
    exit(1);
}

static float *floats(size_t n)
{
    float *p = calloc(n + 1, sizeof *p);
    if (p == NULL) exit(1);
    return p;
}

static void put(const void *p, size_t size, size_t n)
{
    if (fwrite(p, size, n, stdout) != n) exit(1);
}

int main(int argc, char **argv)
{
    rs_mapped *m;
    rs_network *n;
    rs_error e = {0};
    if (argc != 10) return 2;
    rs_threads_set(2);
    must(rs_mapped_open(&m, argv[1], &e), &e);
    must(rs_network_open(&n, m, NULL, &e), &e);
    const rs_config *c = rs_network_config(n);
    const size_t S = strtoul(argv[3], NULL, 10), L = c->L, d = c->d, h = c->h, bases = 2 * L, r2 = strtoul(argv[9], NULL, 10) / 2;
    int32_t *ids = malloc(S * sizeof *ids);
    FILE *f = fopen(argv[2], "rb");
    if (ids == NULL || f == NULL || fread(ids, sizeof *ids, S, f) != S) return 1;
    fclose(f);
    rs_objective_options o = {.S = S, .bits = {.a = {.bits = (unsigned)atoi(argv[4]), .clip = 1}, .kv = {.bits = (unsigned)atoi(argv[5]), .clip = 1}, .w = {.bits = (unsigned)atoi(argv[6]), .clip = 1}}, .ce = atof(argv[7]), .kl = atof(argv[8])};
    rs_objective *objective;
    must(rs_objective_new(&objective, n, &o, &e), &e);
    rs_rotation *from;
    must(rs_rotation_seeded(&from, L, d, h, 1, &e), &e);
    float *R = floats(bases * d * d), *P = floats(L * h * h), *E = floats(bases * d * d), *EP = floats(L * h * h), *skew = floats(d * d), *U = floats(bases * d * r2), *V = floats(bases * d * r2),
          *dU = floats(bases * d * r2), *dV = floats(bases * d * r2), *saved = floats(bases * rs_chain_saved(d, r2));
    void *work = malloc(rs_cayley_work(d));
    const float **basis = malloc(bases * sizeof *basis), **head = malloc(L * sizeof *head);
    float **slope = malloc(bases * sizeof *slope), **head_slope = malloc(L * sizeof *head_slope);
    if (work == NULL || basis == NULL || head == NULL || slope == NULL || head_slope == NULL) return 1;
    const rs_kernels *k = rs_kernels_cpu();
    for (size_t j = 0; j < bases; j++) {
        const double *from64;
        float *at = R + j * d * d;
        must(rs_rotation_basis(from, j, &from64, &e), &e);
        for (size_t i = 0; i < d * d; i++) at[i] = (float)from64[i];
        for (size_t i = 0; i < d * d; i++) skew[i] = (float)(0.05 * rs_random_normal(3, j, i));
        if (r2 == 0) must(rs_cayley_step(d, at, skew, 1, work, NULL, &e), &e);
        else if (j > 0) {
            float *u = U + (j - 1) * d * r2, *v = V + (j - 1) * d * r2;
            for (size_t i = 0; i < d * r2; i++) {
                u[i] = (float)(0.05 * rs_random_normal(4, j, i));
                v[i] = (float)(0.05 * rs_random_normal(5, j, i));
            }
            must(rs_chain_forward(k, d, r2, u, v, at - d * d, at, saved + (j - 1) * rs_chain_saved(d, r2), &e), &e);
        }
        basis[j] = at;
        slope[j] = E + j * d * d;
    }
    for (size_t i = 0; i < L; i++) {
        const double *from64;
        must(rs_rotation_head(from, i, &from64, &e), &e);
        for (size_t j = 0; j < h * h; j++) P[i * h * h + j] = (float)from64[j];
        head[i] = P + i * h * h;
        head_slope[i] = EP + i * h * h;
    }
    rs_objective_loss loss;
    must(rs_objective_run(objective, ids, &(rs_objective_view){basis, head, slope, head_slope, 1, 0}, &loss, &e), &e);
    for (size_t j = 0; j < bases; j++)
        for (size_t a = 0; a < d; a++)
            for (size_t b = 0; b <= a; b++) {
                float *w = slope[j], x = 0.5f * w[a * d + b] - 0.5f * w[b * d + a];
                w[a * d + b] = x;
                w[b * d + a] = -x;
            }
    for (size_t j = bases - 1; r2 > 0 && j-- > 0;) must(rs_chain_slopes(k, d, r2, saved + j * rs_chain_saved(d, r2), slope[j + 1], dU + j * d * r2, dV + j * d * r2, slope[j], &e), &e);
    put(&loss.nll, sizeof loss.nll, 1);
    put(&loss.kl, sizeof loss.kl, 1);
    const rs_hadamard *H[2] = {rs_hadamard_new(h), rs_hadamard_new(c->f)};
    for (int i = 0; i < 2; i++) {
        if (H[i] == NULL || H[i]->block != H[i]->n) return 1;
        double *dense = calloc(H[i]->n * H[i]->n, sizeof *dense);
        if (dense == NULL) return 1;
        rs_hadamard_dense(H[i], dense);
        put(dense, sizeof *dense, H[i]->n * H[i]->n);
        free(dense);
        rs_hadamard_free((rs_hadamard *)H[i]);
    }
    put(R, sizeof *R, bases * d * d);
    put(P, sizeof *P, L * h * h);
    put(E, sizeof *E, bases * d * d);
    put(EP, sizeof *EP, L * h * h);
    put(U, sizeof *U, (bases - 1) * d * r2);
    put(V, sizeof *V, (bases - 1) * d * r2);
    put(dU, sizeof *dU, (bases - 1) * d * r2);
    put(dV, sizeof *dV, (bases - 1) * d * r2);
    void *all[] = {ids, R, P, E, EP, skew, U, V, dU, dV, saved, work, basis, head, slope, head_slope};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
    rs_rotation_free(from);
    rs_objective_free(objective);
    rs_network_close(n);
    rs_mapped_close(m);
    return fclose(stdout) != 0;
}
