// SPDX-License-Identifier: Apache-2.0
// The sampler: greedy choice, shares that follow the softmax, the smallest set of top-p, the same draws for the same seed, and what is refused.
#include "inspect/sample.h"

#include <math.h>

#include "tests/check.h"

enum { V = 6, DRAWS = 40000 };
static const float logits[V] = {1, -2, 3, 3, 0.5f, -INFINITY};

static rs_sampler *sampler(double temperature, double top_p, uint64_t seed)
{
    rs_error e = {0};
    rs_sampler *s = NULL;
    CHECKF(rs_sampler_new(&s, V, &(rs_sampler_options){temperature, top_p, seed}, &e) == RS_OK, "%s", e.text);
    return s;
}

// Draws many and compares their shares with the softmax over the tokens of `set` (bits).
static void shares(double temperature, double top_p, unsigned set)
{
    rs_sampler *s = sampler(temperature, top_p, 7);
    rs_error e = {0};
    double want[V], total = 0;
    size_t seen[V] = {0};
    for (int i = 0; i < V; i++) total += want[i] = set >> i & 1 ? exp((double)logits[i] / temperature) : 0;
    for (int i = 0; i < DRAWS; i++) {
        int32_t id = -1;
        if (rs_sampler_next(s, logits, &id, &e) != RS_OK || id < 0 || id >= V) {
            CHECKF(false, "%s, id %d", e.text, id);
            break;
        }
        seen[id]++;
    }
    for (int i = 0; i < V; i++) {
        const double p = want[i] / total, got = (double)seen[i] / DRAWS;
        CHECKF(p == 0 ? seen[i] == 0 : fabs(got - p) <= 5 * sqrt(p * (1 - p) / DRAWS), "temperature %g, top-p %g: token %d has %.4f of the draws, not %.4f", temperature, top_p, i, got, p);
    }
    rs_sampler_free(s);
}

static void same_seed(void)
{
    rs_sampler *a = sampler(1, 0.9, 3), *b = sampler(1, 0.9, 3), *c = sampler(1, 0.9, 4);
    rs_error e = {0};
    size_t differ = 0;
    for (int i = 0; i < 200; i++) {
        int32_t x = 0, y = 0, z = 0;
        CHECK(rs_sampler_next(a, logits, &x, &e) == RS_OK && rs_sampler_next(b, logits, &y, &e) == RS_OK && rs_sampler_next(c, logits, &z, &e) == RS_OK && x == y);
        differ += x != z;
    }
    CHECK(differ > 20);
    rs_sampler_free(a);
    rs_sampler_free(b);
    rs_sampler_free(c);
}

static void refused(void)
{
    static const double bad[][2] = {{-1, 1}, {NAN, 1}, {INFINITY, 1}, {1, 0}, {1, 1.1}, {1, NAN}, {1, -0.5}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        rs_sampler *s = NULL;
        rs_error e = {0};
        CHECKF(rs_sampler_new(&s, V, &(rs_sampler_options){bad[i][0], bad[i][1], 1}, &e) == RS_USAGE && s == NULL && e.text[0] != 0, "temperature %g, top-p %g are taken", bad[i][0], bad[i][1]);
    }
    static const float values[] = {NAN, INFINITY};
    rs_sampler *s = sampler(1, 1, 1);
    for (int i = 0; i < 3; i++) {
        float x[V] = {0, 1, 2};
        rs_error e = {0};
        int32_t id;
        if (i < 2) x[3] = values[i];
        else
            for (int j = 0; j < V; j++) x[j] = -INFINITY;
        CHECK(rs_sampler_next(s, x, &id, &e) == RS_E_VALUE && e.text[0] != 0);
    }
    rs_sampler_free(s);
    rs_sampler_free(NULL);
}

int main(void)
{
    rs_sampler *greedy = sampler(0, 0.5, 1);
    rs_error e = {0};
    int32_t id = -1;
    CHECK(rs_sampler_next(greedy, logits, &id, &e) == RS_OK && id == 2); // the lower of two equal ones
    rs_sampler_free(greedy);
    shares(1, 1, 0x3f);
    shares(0.5, 1, 0x3f);
    shares(2, 1, 0x3f);
    shares(1, 0.3, 0x4);   // half of the mass is at 2
    shares(1, 0.8, 0xc);   // 2 and 3
    shares(1, 0.9, 0xd);   // and 0
    shares(1, 0.99, 0x1d);
    same_seed();
    refused();
    return check_report();
}
