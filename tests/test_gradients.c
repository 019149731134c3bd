// SPDX-License-Identifier: Apache-2.0
// Every gradient of every table that this processor can run, for one and three threads, against central differences in fp64 of forwards written here, and fast ones against the plain one; see bounds[].
#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/threads.h"
#include "tests/check.h"
#include "tests/noise.h"

// Largest error of derivatives against central differences, and against the reference: over the largest derivative for rmsnorm and attention, over the size of the terms of each value for the others.
// silu_gate: at large gates 1 - s has few bits left. loss: logits and their log-sum of up to 20 are subtracted in fp32.
static const struct bound {
    const char *operation;
    double differences, reference;
} bounds[] = {
    {"rmsnorm_grad", 5e-7, 2e-7}, {"silu_gate_grad", 2e-6, 1e-6}, {"attention_grad", 3e-6, 3e-6}, {"loss_grad", 2e-6, 2e-6},
};

static const struct bound *bound(const char *operation)
{
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        if (strcmp(bounds[i].operation, operation) == 0)
            return &bounds[i];
    return NULL;
}

static float *copy(size_t n, const float *x)
{
    float *p = take(n, sizeof *p);
    memcpy(p, x, n * sizeof *p);
    return p;
}

// Every table with one thread and with three: machine i, with its threads set and *label to say which; NULL past the last, and one thread again.
static const char *label;
static const rs_kernels *machine(size_t i)
{
    static char text[64];
    const rs_kernels *k = rs_table_at(i / 2);
    const int threads = k != NULL && i % 2 != 0 ? 3 : 1;
    rs_threads_set(threads);
    if (k != NULL)
        snprintf(text, sizeof text, "%s with %d threads", k->name, threads);
    label = text;
    return k;
}

static double largest(size_t n, const float *x)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = worse(most, fabs((double)x[i]));
    return most;
}

static double apart(size_t n, const float *a, const float *b)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++)
        worst = worse(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

// Derivative of a loss by *x, to fourth order.
typedef double loss_fn(const void *context);
static double difference(double *x, double h, loss_fn *loss, const void *context)
{
    const double at = *x;
    double f[4];
    for (int i = 0; i < 4; i++) {
        *x = at + h * (i < 2 ? i - 2 : i - 1);
        f[i] = loss(context);
    }
    *x = at;
    return (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h);
}

static double *widened(size_t n, const float *x)
{
    double *p = take(n, sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = (double)x[i];
    return p;
}

// ---- norm

struct norm {
    size_t d;
    double *x, eps;
    const float *gamma, *dy; // gamma NULL: ones
};

// sum dy rmsnorm(x) of one row
static double norm_loss(const void *context)
{
    const struct norm *n = context;
    double squares = 0, sum = 0;
    for (size_t i = 0; i < n->d; i++)
        squares += n->x[i] * n->x[i];
    for (size_t i = 0; i < n->d; i++)
        sum += (double)n->dy[i] * n->x[i] * (n->gamma != NULL ? (double)n->gamma[i] : 1);
    return sum / sqrt(squares / (double)n->d + n->eps);
}

static void norm(size_t B, size_t d, bool scaled)
{
    const float eps = d == 1 ? 0.5f : 1e-5f; // of a single value only eps leaves a derivative
    float *x = noise(B * d), *all = noise(d), *gamma = scaled ? all : NULL, *dy = noise(B * d), *start = noise(B * d), *dx = take(B * d, sizeof *dx), *plain = take(B * d, sizeof *plain);
    double *wide = widened(B * d, x), *want = take(B * d, sizeof *want);
    const size_t step = d > 100 ? d / 50 : 1, jump = B > 5 ? B - 1 : 1; // of large shapes: the first and the last row, some columns
    for (size_t b = 0; b < B; b += jump)
        for (size_t i = 0; i < d; i += step)
            want[b * d + i] = difference(&wide[b * d + i], 1e-3, norm_loss, &(struct norm){d, wide + b * d, (double)eps, gamma, dy + b * d});
    memset(plain, 0, B * d * sizeof *plain);
    rs_kernels_reference()->rmsnorm_grad(B, d, x, gamma, eps, dy, plain);
    const double size = largest(B * d, plain);
    const rs_kernels *k;
    for (size_t m = 0; (k = machine(m)) != NULL; m++) {
        double worst = 0;
        memset(dx, 0, B * d * sizeof *dx);
        k->rmsnorm_grad(B, d, x, gamma, eps, dy, dx);
        for (size_t b = 0; b < B; b += jump)
            for (size_t i = 0; i < d; i += step)
                worst = worse(worst, fabs(want[b * d + i] - (double)dx[b * d + i]));
        CHECKF(size > 1e-3 && worst <= bound("rmsnorm_grad")->differences * size, "%s: rmsnorm_grad %zu x %zu is off by %g", label, B, d, worst / size);
        CHECKF(apart(B * d, dx, plain) <= bound("rmsnorm_grad")->reference * size, "%s: rmsnorm_grad %zu x %zu is %g from the reference", label, B, d, apart(B * d, dx, plain) / size);
        // it adds: twice, to what was there
        float *sum = copy(B * d, start);
        size_t wrong = 0;
        for (int i = 0; i < 2; i++)
            k->rmsnorm_grad(B, d, x, gamma, eps, dy, sum);
        for (size_t i = 0; i < B * d; i++)
            wrong += sum[i] != start[i] + dx[i] + dx[i];
        CHECKF(wrong == 0, "%s: rmsnorm_grad %zu x %zu adds wrongly in %zu places", label, B, d, wrong);
        free(sum);
    }
    free(x), free(all), free(dy), free(start), free(wide), free(want), free(dx), free(plain);
}

static void norms(void)
{
    static const size_t shapes[][2] = {{1, 1}, {3, 7}, {5, 8}, {2, 33}, {70, 577}, {1, 20000}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        norm(shapes[s][0], shapes[s][1], false);
        norm(shapes[s][0], shapes[s][1], true);
    }
}

// ---- gate

struct gate {
    double g, u;
};

static double gate_loss(const void *context)
{
    const struct gate *at = context;
    return at->g / (1 + exp(-at->g)) * at->u;
}

// Each value against the size of what it is a sum of, dy up s and dy up gate s (1 - s): by a gate of -30 it is as small as 1e-12, and near -1.28 it passes through zero.
static void gate(size_t n)
{
    float *g = take(n, sizeof *g), *u = noise(n), *dy = noise(n), *dg = take(n, sizeof *dg), *du = take(n, sizeof *du), *pg = take(n, sizeof *pg), *pu = take(n, sizeof *pu);
    double *want = take(4 * n, sizeof *want); // derivatives by gate and up, and their sizes
    for (size_t i = 0; i < n; i++) {
        g[i] = n == 1 ? 0.5f : -30 + 60 * (float)i / (float)(n - 1); // both ends are +-30
        struct gate at = {(double)g[i], (double)u[i]};
        const double sigma = 1 / (1 + exp(-at.g)), factor = (double)dy[i];
        want[4 * i] = factor * difference(&at.g, 1e-3, gate_loss, &at);
        want[4 * i + 1] = factor * difference(&at.u, 1e-3, gate_loss, &at);
        want[4 * i + 2] = fabs(factor * at.u) * (sigma + fabs(at.g) * sigma * (1 - sigma)) + 1e-30;
        want[4 * i + 3] = fabs(want[4 * i + 1]) + 1e-30;
    }
    rs_kernels_reference()->silu_gate_grad(n, g, u, dy, pg, pu);
    const rs_kernels *k;
    for (size_t m = 0; (k = machine(m)) != NULL; m++) {
        double worst[2] = {0}, far[2] = {0};
        k->silu_gate_grad(n, g, u, dy, dg, du);
        for (size_t i = 0; i < n; i++) {
            worst[0] = worse(worst[0], fabs((double)dg[i] - want[4 * i]) / want[4 * i + 2]);
            worst[1] = worse(worst[1], fabs((double)du[i] - want[4 * i + 1]) / want[4 * i + 3]);
            far[0] = worse(far[0], fabs((double)dg[i] - (double)pg[i]) / want[4 * i + 2]);
            far[1] = worse(far[1], fabs((double)du[i] - (double)pu[i]) / want[4 * i + 3]);
        }
        for (int i = 0; i < 2; i++)
            CHECKF(worst[i] <= bound("silu_gate_grad")->differences && far[i] <= bound("silu_gate_grad")->reference, "%s: silu_gate_grad of %zu, %s: off by %g, %g from the reference", label, n,
                   i == 0 ? "gate" : "up", worst[i], far[i]);
        float *in_g = copy(n, g), *in_u = copy(n, u);
        k->silu_gate_grad(n, in_g, in_u, dy, in_g, in_u);
        CHECKF(memcmp(in_g, dg, n * sizeof *dg) == 0 && memcmp(in_u, du, n * sizeof *du) == 0, "%s: silu_gate_grad of %zu in place", label, n);
        free(in_g), free(in_u);
    }
    free(g), free(u), free(dy), free(dg), free(du), free(pg), free(pu), free(want);
}

static void gates(void)
{
    static const size_t sizes[] = {1, 7, 16, 129, 40003};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        gate(sizes[s]);
    // far out the gate is 0 or 1, and so is its derivative; no overflow becomes a NaN
    const float edge[5] = {-1000, -95, 0, 95, 1000}, one[5] = {1, 1, 1, 1, 1};
    const rs_kernels *k;
    for (size_t m = 0; (k = machine(m)) != NULL; m++) {
        float dg[5], du[5];
        k->silu_gate_grad(5, edge, one, one, dg, du);
        CHECKF(fabsf(dg[0]) < 1e-30f && fabsf(dg[1]) < 1e-30f && dg[2] == 0.5f && dg[3] == 1 && dg[4] == 1, "%s: dgate far out: %g %g %g %g %g", label, (double)dg[0], (double)dg[1], (double)dg[2], (double)dg[3], (double)dg[4]);
        CHECKF(fabsf(du[0]) < 1e-30f && fabsf(du[1]) < 1e-30f && du[2] == 0 && du[3] == 95 && du[4] == 1000, "%s: dup far out: %g %g %g %g %g", label, (double)du[0], (double)du[1], (double)du[2], (double)du[3], (double)du[4]);
    }
}

// ---- attention

struct heads {
    size_t S, n_q, n_kv, h;
    double *q, *k, *v, *out, *p; // out NULL: not wanted; p [S]
    const float *dout;
    size_t first, last;          // queries
    size_t from, to;             // query heads
};

// sum dout attention(q, k, v) over some queries and heads
static double attend(const void *context)
{
    const struct heads *a = context;
    const size_t h = a->h, ldq = a->n_q * h, ldk = a->n_kv * h;
    const double root = sqrt((double)h);
    double sum = 0;
    for (size_t head = a->from; head < a->to; head++)
        for (size_t s = a->first; s < a->last; s++) {
            const size_t at = s * ldq + head * h, shared = head / (a->n_q / a->n_kv) * h;
            double max = -HUGE_VAL, total = 0;
            for (size_t t = 0; t <= s; t++) {
                double dot = 0;
                for (size_t i = 0; i < h; i++)
                    dot += a->q[at + i] * a->k[t * ldk + shared + i];
                a->p[t] = dot / root;
                max = a->p[t] > max ? a->p[t] : max;
            }
            for (size_t t = 0; t <= s; t++)
                total += a->p[t] = exp(a->p[t] - max);
            for (size_t t = 0; t <= s; t++)
                a->p[t] /= total;
            for (size_t i = 0; i < h; i++) {
                double x = 0;
                for (size_t t = 0; t <= s; t++)
                    x += a->p[t] * a->v[t * ldk + shared + i];
                sum += (double)a->dout[at + i] * x;
                if (a->out != NULL)
                    a->out[at + i] = x;
            }
        }
    return sum;
}

static void attention(size_t S, size_t n_q, size_t n_kv, size_t h, float size)
{
    enum { LOOKS = 24 };
    static const char *const names[3] = {"dq", "dk", "dv"};
    const size_t nq = S * n_q * h, nkv = S * n_kv * h, ratio = n_q / n_kv, sizes[3] = {nq, nkv, nkv};
    float *q = noise(nq), *key = noise(nkv), *v = noise(nkv), *dout = noise(nq), *out = take(nq, sizeof *out), *work = take(2 * S * n_q, sizeof *work), *got[3], *plain[3];
    for (size_t i = 0; i < nq; i++)
        q[i] *= size;
    struct heads a = {S, n_q, n_kv, h, widened(nq, q), widened(nkv, key), widened(nkv, v), take(nq, sizeof(double)), take(S, sizeof(double)), dout, 0, S, 0, n_q};
    attend(&a);
    for (size_t i = 0; i < nq; i++)
        out[i] = (float)a.out[i];
    free(a.out);
    a.out = NULL;
    // Some values of each, spread over tokens, heads and columns. A value of q is seen by its own query and head only, one of k or v by the queries from its own on and the heads that share it.
    double *const to[3] = {a.q, a.k, a.v}, want[3][LOOKS];
    size_t at[3][LOOKS], looks[3] = {0};
    for (int i = 0; i < 3; i++) {
        got[i] = take(sizes[i], sizeof *got[i]);
        plain[i] = take(sizes[i], sizeof *plain[i]);
        const size_t heads = i == 0 ? n_q : n_kv, step = sizes[i] <= LOOKS ? 1 : sizes[i] / LOOKS | 1;
        for (size_t c = 0; c < sizes[i] && looks[i] < LOOKS; c += step, looks[i]++) {
            const size_t s = c / (heads * h), head = c / h % heads;
            a.first = s, a.last = i == 0 ? s + 1 : S;
            a.from = i == 0 ? head : head * ratio, a.to = i == 0 ? head + 1 : (head + 1) * ratio;
            at[i][looks[i]] = c;
            want[i][looks[i]] = difference(&to[i][c], 1e-3, attend, &a);
        }
    }
    rs_kernels_reference()->attention_grad(S, n_q, n_kv, h, q, key, v, out, dout, plain[0], plain[1], plain[2], work);
    const rs_kernels *k;
    for (size_t m = 0; (k = machine(m)) != NULL; m++) {
        for (int i = 0; i < 3; i++)
            memset(got[i], 0xff, sizes[i] * sizeof *got[i]); // NaN: everything is overwritten
        memset(work, 0xff, 2 * S * n_q * sizeof *work);
        k->attention_grad(S, n_q, n_kv, h, q, key, v, out, dout, got[0], got[1], got[2], work);
        for (int i = 0; i < 3; i++) {
            // one token: its weight is 1 whatever the score, so dq and dk are nothing but rounding, beside dv
            const int beside = S == 1 ? 2 : i;
            const double most = largest(sizes[beside], plain[beside]), far = apart(sizes[i], got[i], plain[i]);
            double worst = 0;
            for (size_t c = 0; c < looks[i]; c++)
                worst = worse(worst, fabs(want[i][c] - (double)got[i][at[i][c]]));
            CHECKF(worst <= bound("attention_grad")->differences * most && far <= bound("attention_grad")->reference * most,
                   "%s: attention_grad S %zu, %zu/%zu heads of %zu, %s: off by %g, %g from the reference", label, S, n_q, n_kv, h, names[i], worst / most, far / most);
        }
    }
    for (int i = 0; i < 3; i++)
        free(got[i]), free(plain[i]);
    free(q), free(key), free(v), free(dout), free(out), free(work), free(a.q), free(a.k), free(a.v), free(a.p);
}

static void attentions(void)
{
    // around the blocks of 64 queries and 128 keys
    static const size_t shapes[][4] = {{1, 1, 1, 1}, {1, 9, 3, 8}, {2, 2, 1, 3}, {17, 9, 3, 8}, {63, 9, 3, 8}, {64, 3, 1, 64}, {65, 3, 1, 80}, {129, 2, 1, 8}, {131, 3, 1, 64}, {200, 2, 2, 40}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        attention(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], 1);
    attention(150, 2, 1, 32, 20); // sharp: the maximum moves from block to block
}

// The same bits for any number of threads.
static void attention_threads(void)
{
    enum { S = 201, N_Q = 9, N_KV = 3, H = 16, NQ = S * N_Q * H, NKV = S * N_KV * H };
    for (size_t t = 0; rs_table_at(t) != NULL; t++) {
        const rs_kernels *k = rs_table_at(t);
        float *q = noise(NQ), *key = noise(NKV), *v = noise(NKV), *dout = noise(NQ), *out = take(NQ, sizeof *out), *work = take(2 * S * N_Q, sizeof *work), *first = take(NQ + 2 * NKV, sizeof *first),
              *again = take(NQ + 2 * NKV, sizeof *again);
        rs_threads_set(1);
        k->attention(S, N_Q, N_KV, H, q, key, v, out);
        for (int threads = 1; threads <= 5; threads += 2) {
            float *to = threads == 1 ? first : again;
            rs_threads_set(threads);
            k->attention_grad(S, N_Q, N_KV, H, q, key, v, out, dout, to, to + NQ, to + NQ + NKV, work);
            CHECKF(threads == 1 || memcmp(first, again, (NQ + 2 * NKV) * sizeof *first) == 0, "%s: attention_grad with %d threads differs", k->name, threads);
        }
        rs_threads_set(1);
        free(q), free(key), free(v), free(dout), free(out), free(work), free(first), free(again);
    }
}

// ---- losses

struct losses {
    size_t V, target;
    double *x, ce, kl, nll, divergence;
    const float *ref; // NULL: none
};

static double log_total(size_t V, const double *x)
{
    double max = x[0], sum = 0;
    for (size_t i = 1; i < V; i++)
        max = fmax(max, x[i]);
    for (size_t i = 0; i < V; i++)
        sum += exp(x[i] - max);
    return log(sum) + max;
}

// ce nll + kl KL of one row; leaves both behind
static double row_loss(const void *context)
{
    struct losses *l = (struct losses *)context;
    const double lse = log_total(l->V, l->x);
    l->nll = lse - l->x[l->target];
    l->divergence = 0;
    if (l->ref != NULL) {
        double *y = widened(l->V, l->ref);
        const double lse_ref = log_total(l->V, y);
        for (size_t i = 0; i < l->V; i++)
            l->divergence += exp(y[i] - lse_ref) * (y[i] - lse_ref - l->x[i] + lse);
        free(y);
    }
    return l->ce * l->nll + l->kl * l->divergence;
}

// Each value against the size of what it is a sum of: ce (q - 1 at the target) + kl (q - p).
static void loss(size_t B, size_t V, bool with_ref, double ce, double kl, float size)
{
    const size_t ld = V + 3, ld_ref = V + 1, step = V > 300 ? V / 20 : 1;
    float *x = noise(B * ld), *ref = noise(B * ld_ref), *plain = take(B * ld, sizeof *plain);
    int32_t *target = take(B, sizeof *target);
    double *want = take(2 * B * V, sizeof *want), *sizes = want + B * V, *row = take(4 * B, sizeof *row), *nll = row + 2 * B, *kls = row + 3 * B; // row: nll and divergence as they should be
    memset(want, 0, 2 * B * V * sizeof *want);
    for (size_t i = 0; i < B * ld; i++)
        x[i] = i % ld < V ? x[i] * size : 99; // beyond the row: neither read nor written
    for (size_t i = 0; i < B * ld_ref; i++)
        ref[i] *= size;
    for (size_t b = 0; b < B; b++) {
        target[b] = (int32_t)(b == 0 ? V - 1 : b * 7919 % V);
        struct losses l = {V, (size_t)target[b], widened(V, x + b * ld), ce, with_ref ? kl : 0, 0, 0, with_ref ? ref + b * ld_ref : NULL};
        double *y = widened(V, ref + b * ld_ref);
        const double lse = log_total(V, l.x), lse_ref = log_total(V, y);
        for (size_t i = 0; i < V + step; i += step) {
            const size_t c = i < V ? i : l.target; // the target is always among them
            want[b * V + c] = difference(&l.x[c], 1e-2, row_loss, &l);
        }
        for (size_t i = 0; i < V; i++) // central differences of a loss of about 10 are good to 1e-11
            sizes[b * V + i] = ce * (exp(l.x[i] - lse) + (i == l.target)) + l.kl * (exp(l.x[i] - lse) + exp(y[i] - lse_ref)) + 1e-5 * (ce + kl);
        row_loss(&l);
        row[b] = l.nll;
        row[B + b] = l.divergence;
        free(l.x), free(y);
    }
    memcpy(plain, x, B * ld * sizeof *plain);
    rs_kernels_reference()->loss_grad(B, V, plain, ld, target, with_ref ? ref : NULL, ld_ref, ce, kl, nll, kls);
    const rs_kernels *k;
    for (size_t m = 0; (k = machine(m)) != NULL; m++) {
        double worst = 0, far = 0, worst_nll = 0, worst_kl = 0;
        size_t beyond = 0;
        float *got = copy(B * ld, x);
        for (size_t b = 0; b < B; b++)
            kls[b] = 7;
        k->loss_grad(B, V, got, ld, target, with_ref ? ref : NULL, ld_ref, ce, kl, nll, kls);
        for (size_t b = 0; b < B; b++) {
            for (size_t i = 0; i < V + step; i += step) {
                const size_t c = b * V + (i < V ? i : (size_t)target[b]);
                worst = worse(worst, fabs(want[c] - (double)got[c / V * ld + c % V]) / sizes[c]);
            }
            for (size_t i = 0; i < V; i++)
                far = worse(far, fabs((double)plain[b * ld + i] - (double)got[b * ld + i]) / sizes[b * V + i]);
            for (size_t i = V; i < ld; i++)
                beyond += got[b * ld + i] != 99;
            worst_nll = worse(worst_nll, fabs(nll[b] - row[b]));
            worst_kl = worse(worst_kl, with_ref ? fabs(kls[b] - row[B + b]) / fmax(1, row[B + b]) : fabs(kls[b] - 7)); // without reference logits unused
        }
        CHECKF(worst <= bound("loss_grad")->differences && far <= bound("loss_grad")->reference && beyond == 0, "%s: loss_grad %zu x %zu, %g ce + %g kl%s: off by %g, %g from the reference, %zu written beyond",
               label, B, V, ce, kl, with_ref ? "" : ", no reference logits", worst, far, beyond);
        CHECKF(worst_nll <= 1e-6 && worst_kl <= 2e-6, "%s: loss_grad %zu x %zu, logits up to %g: nll is off by %g, kl by %g of itself", label, B, V, (double)size, worst_nll, worst_kl);
        free(got);
    }
    free(x), free(ref), free(plain), free(target), free(want), free(row);
}

static void losses(void)
{
    static const size_t shapes[][2] = {{1, 1}, {1, 2}, {3, 7}, {5, 8}, {2, 33}, {130, 49}, {2, 50257}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        loss(shapes[s][0], shapes[s][1], false, 1, 0, 3);
        loss(shapes[s][0], shapes[s][1], false, 0.25, 5, 3); // without reference logits w_kl does nothing
        loss(shapes[s][0], shapes[s][1], true, 1, 0, 3);
        loss(shapes[s][0], shapes[s][1], true, 0, 1, 3);
        loss(shapes[s][0], shapes[s][1], true, 0.5, 2, 10);
    }
    // the divergence of a row from itself is 0, and so is its derivative, but for rounding; a NaN stays one
    enum { V = 77 };
    float *x = noise(V), *same = copy(V, x);
    const rs_kernels *k;
    for (size_t m = 0; (k = machine(m)) != NULL; m++) {
        double nll, kl;
        memcpy(x, same, V * sizeof *x);
        k->loss_grad(1, V, x, V, (int32_t[]){5}, same, V, 0, 1, &nll, &kl);
        CHECKF(kl >= 0 && kl < 1e-7 && largest(V, x) < 1e-8 && nll > 1, "%s: KL of a row with itself is %g, its derivative %g", label, kl, largest(V, x));
        memcpy(x, same, V * sizeof *x);
        x[40] = NAN;
        k->loss_grad(1, V, x, V, (int32_t[]){5}, same, V, 1, 1, &nll, &kl);
        CHECKF(isnan(nll) && isnan(kl) && isnan(x[0]), "%s: loss_grad hides a NaN: nll %g, kl %g", label, nll, kl);
    }
    free(x), free(same);
}

int main(void)
{
    norms();
    gates();
    attentions();
    losses();
    attention_threads();
    return check_report();
}
