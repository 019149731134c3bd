// SPDX-License-Identifier: Apache-2.0
// Packed KV cache: what is read is what fake_quant makes, bit for bit, for every width, group and odd head size; attention from it agrees with plain attention over the same values, whether the
// tokens come at once or one by one; sizes are refused where they could overflow. And products of 16-bit floats with one row.
#include "kernels/kv_cache.h"

#include <math.h>

#include "kernels/cpu/ops.h"
#include "kernels/threads.h"
#include "tests/check.h"
#include "tests/uniform.h"

static void *take(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (p == NULL)
        exit(1);
    memset(p, 0xa5, (bytes + 127) / 64 * 64);
    return p;
}

static float *noise(size_t n)
{
    float *x = take(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = uniform() * (i % 7 == 0 ? 5 : 1);
    return x;
}

// A cache of S tokens, filled in steps of `step`.
static rs_kv_cache fill(const rs_int_kernels *by, rs_quantizer q, rs_range v_range, size_t n_kv, size_t h, size_t S, size_t step, const float *k, const float *v)
{
    rs_kv_cache c = {.q = q, .v_range = v_range, .n_kv = n_kv, .h = h, .capacity = S + 3};
    const size_t bytes = rs_kv_cache_bytes(&c);
    void *work = take(rs_kv_cache_work(&c, step));
    CHECK(bytes != 0);
    c.memory = take(bytes);
    for (size_t s = 0; s < S; s += step) {
        const size_t n = S - s < step ? S - s : step;
        CHECK(rs_kv_cache_append(&c, by, n, k + s * n_kv * h, v + s * n_kv * h, work) == 0);
    }
    CHECK(c.count == S);
    CHECKF(c.memory[bytes] == 0xa5, "wrote beyond the cache");
    free(work);
    return c;
}

// Causal attention in fp64, and a bound of what f32 may be off by: a score is a sum of h products, and where each step rounds once, by chance up or down, sqrt(h) half units of the
// largest sum of sizes add up; the weights of the values move by as much.
static double exact(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, double *out)
{
    double *p = take(S * sizeof *p), most = 0, largest = 0;
    for (size_t i = 0; i < S * n_kv * h; i++)
        largest = fmax(largest, fabs((double)v[i]));
    for (size_t s = 0; s < S; s++)
        for (size_t a = 0; a < n_q; a++) {
            const float *x = q + (s * n_q + a) * h;
            const size_t head = a / (n_q / n_kv);
            double top = -INFINITY, sum = 0, *y = out + (s * n_q + a) * h;
            for (size_t j = 0; j <= s; j++) {
                double size = 0;
                p[j] = 0;
                for (size_t i = 0; i < h; i++) {
                    const double product = (double)x[i] * (double)k[(j * n_kv + head) * h + i];
                    p[j] += product;
                    size += fabs(product);
                }
                p[j] /= sqrt((double)h);
                top = fmax(top, p[j]);
                most = fmax(most, size / sqrt((double)h));
            }
            for (size_t j = 0; j <= s; j++)
                sum += p[j] = exp(p[j] - top);
            memset(y, 0, h * sizeof *y);
            for (size_t j = 0; j <= s; j++)
                for (size_t i = 0; i < h; i++)
                    y[i] += p[j] / sum * (double)v[(j * n_kv + head) * h + i];
        }
    free(p);
    return sqrt((double)h) * 0x1p-25 * (most + 1) * largest;
}

static double distance(size_t n, const float *got, const double *want)
{
    double far = 0;
    for (size_t i = 0; i < n; i++)
        far = isfinite(got[i]) ? fmax(far, fabs((double)got[i] - want[i])) : INFINITY;
    return far;
}

static void one(rs_quantizer q, rs_range v_range, size_t n_q, size_t n_kv, size_t h, size_t S)
{
    const size_t n = S * n_kv * h;
    float *k = noise(n), *v = noise(n), *x = noise(S * n_q * h), *kq = take(n * sizeof *kq), *vq = take(n * sizeof *vq), *out = take(n * sizeof *out), *got = take(S * n_q * h * sizeof *got);
    double *want = take(S * n_q * h * sizeof *want);
    for (size_t i = 0; i < n && (q.range == RS_RANGE_FREE || v_range == RS_RANGE_FREE); i++) // far from 0
        k[i] = 2 + 0.3f * k[i], v[i] = -2 - 0.3f * v[i];
    memcpy(kq, k, n * sizeof *k);
    memcpy(vq, v, n * sizeof *v);
    for (size_t i = 0; i < 2 * n && q.bits == 16; i++) {
        float *p = i < n ? kq + i : vq + i - n;
        uint16_t half;
        rs_kernels_reference()->f32_to_f16(1, p, &half);
        rs_kernels_reference()->f16_to_f32(1, &half, p);
    }
    rs_kernels_reference()->fake_quant(&q, S * n_kv, h, kq, h);
    rs_quantizer of_v = q;
    of_v.range = v_range;
    rs_kernels_reference()->fake_quant(&of_v, S * n_kv, h, vq, h);
    const double bound = exact(S, n_q, n_kv, h, x, kq, vq, want);
    for (size_t variant = 0; rs_table_at(variant) != NULL; variant++) {
        const rs_kernels *t = rs_table_at(variant);
        const rs_int_kernels *by = variant == 0 ? rs_int_reference() : rs_int_cpu();
        rs_kv_read *read = strncmp(t->name, "avx", 3) == 0 ? rs_kv_read_avx2 : rs_kv_read_plain;
        char label[128];
        snprintf(label, sizeof label, "%s, %u bits%s, ranges %d %d, groups of %zu, %zu/%zu heads of %zu, %zu tokens", t->name, q.bits, q.sym ? " symmetric" : "", (int)q.range, (int)v_range, q.group, n_q, n_kv, h, S);
        rs_kv_cache c = fill(by, q, v_range, n_kv, h, S, 5, k, v);
        size_t wrong = 0;
        for (size_t head = 0; head < n_kv; head++)
            for (int values = 0; values < 2; values++) {
                read(&c, values, head, 1, S - 1, out);
                for (size_t s = 1; s < S; s++)
                    wrong += memcmp(out + (s - 1) * h, (values ? vq : kq) + (s * n_kv + head) * h, h * sizeof *out) != 0;
            }
        CHECKF(wrong == 0, "%s: %zu vectors differ", label, wrong);
        const size_t width = n_q * h, half = S - S / 2 - 1, last = S - 1;
        double far;
        t->attention_cached(&c, S, n_q, x, got);
        far = distance(S * width, got, want);
        CHECKF(far <= bound, "%s: attention off by %g, allowed %g", label, far, bound);
        t->attention_cached(&c, S - half, n_q, x + half * width, got);
        far = distance((S - half) * width, got, want + half * width);
        CHECKF(far <= bound, "%s: attention of the second half off by %g, allowed %g", label, far, bound);
        t->attention_cached(&c, 1, n_q, x + last * width, got);
        far = distance(width, got, want + last * width);
        CHECKF(far <= bound, "%s: attention of one off by %g, allowed %g", label, far, bound);
        free(c.memory);
    }
    free(k), free(v), free(x), free(kq), free(vq), free(out), free(want), free(got);
}

static void refused(void)
{
    const rs_quantizer q = {.bits = 4, .clip = 1};
    const rs_kv_cache bad[] = {{q, 0, 64, 8, 0, NULL, RS_RANGE_ZERO}, {q, 2, 0, 8, 0, NULL, RS_RANGE_ZERO}, {q, 2, 64, 0, 0, NULL, RS_RANGE_ZERO}, {{.bits = 1, .clip = 1}, 2, 64, 8, 0, NULL, RS_RANGE_ZERO}, {{.bits = 9, .clip = 1}, 2, 64, 8, 0, NULL, RS_RANGE_ZERO},
                               {{.bits = 4, .clip = 1, .group = 48}, 2, 64, 8, 0, NULL, RS_RANGE_ZERO}, {q, 2, RS_KV_BLOCK + 1, 8, 0, NULL, RS_RANGE_ZERO}, {q, 2, 64, SIZE_MAX / 2, 0, NULL, RS_RANGE_ZERO}, {q, SIZE_MAX / 8, 64, 8, 0, NULL, RS_RANGE_ZERO}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECKF(rs_kv_cache_bytes(&bad[i]) == 0, "cache %zu is not refused", i);
    float k[4] = {1, NAN, 2, 3}, v[4] = {1, 2, 3, 4}, out[4];
    rs_kv_cache c = {.q = q, .n_kv = 1, .h = 4, .capacity = 1};
    _Alignas(64) uint8_t memory[256], work[256];
    c.memory = memory;
    CHECK(rs_kv_cache_bytes(&c) <= sizeof memory && rs_kv_cache_work(&c, 1) <= sizeof work);
    CHECK(rs_kv_cache_append(&c, rs_int_cpu(), 1, k, v, work) == 1);
    rs_kv_read_plain(&c, false, 0, 0, 1, out);
    CHECK(out[0] == 0 && out[1] == 0 && out[2] == 0 && out[3] == 0);
}

static void halves(void)
{
    for (int bf16 = 0; bf16 < 2; bf16++)
        for (size_t k = 1; k < 700; k = k * 3 + 2)
            for (size_t n = 1; n < 40; n += 6) {
                float *x = noise(k), *w = noise(n * (k + 1)), y[40], want[40];
                uint16_t *half = take(n * (k + 1) * sizeof *half);
                const rs_kernels *plain = rs_kernels_reference();
                (bf16 ? plain->f32_to_bf16 : plain->f32_to_f16)(n * (k + 1), w, half);
                plain->gemv_half(bf16, n, k, x, half, k + 1, want);
                for (size_t variant = 0; rs_table_at(variant) != NULL; variant++) {
                    size_t wrong = 0;
                    y[n] = 7;
                    rs_table_at(variant)->gemv_half(bf16, n, k, x, half, k + 1, y);
                    for (size_t o = 0; o < n; o++) {
                        double size = 0;
                        for (size_t j = 0; j < k; j++)
                            size += fabs((double)x[j] * (double)w[o * (k + 1) + j]);
                        wrong += !(fabs((double)y[o] - (double)want[o]) <= 4e-7 * size);
                    }
                    CHECKF(wrong == 0 && y[n] == 7, "%s: %s, %zu x %zu: %zu wrong", rs_table_at(variant)->name, bf16 ? "bf16" : "f16", n, k, wrong);
                }
                free(x), free(w), free(half);
            }
}

int main(void)
{
    for (int threads = 1; threads <= 3; threads += 2) {
        rs_threads_set(threads);
        for (unsigned bits = 2; bits <= 16; bits = bits == 8 ? 16 : bits + 1)
            for (int sym = 0; sym < (bits == 16 ? 1 : 2); sym++) {
                const rs_range other = sym ? RS_RANGE_HALF : RS_RANGE_FREE;
                one((rs_quantizer){.bits = bits, .sym = sym, .clip = 1}, RS_RANGE_ZERO, 6, 2, 64, 23);
                one((rs_quantizer){.bits = bits, .sym = sym, .clip = 0.95f}, other, 3, 3, 20, 9);
                if (bits < 16)
                    one((rs_quantizer){.bits = bits, .sym = sym, .clip = 1, .group = 8, .range = other}, RS_RANGE_ZERO, 4, 1, 80, 11);
            }
        one((rs_quantizer){.bits = 4, .clip = 1}, RS_RANGE_FREE, 3, 1, 64, 270); // several blocks of keys
        if (threads > 1)
            one((rs_quantizer){.bits = 4, .clip = 1, .group = 64}, RS_RANGE_FREE, 66, 1, 128, 140);
        halves();
    }
    refused();
    return check_report();
}
