// SPDX-License-Identifier: Apache-2.0
// Rotation sets: seeded ones against their definition, files read back, chains against products of their junctions, what is refused.
#include "transforms/rotation.h"

#include <math.h>

#include "formats/stage.h"
#include "tests/check.h"
#include "tests/tiny.h"
#include "transforms/dense.h"
#include "transforms/random.h"
#include "transforms/rotation_write.h"

static double worst(size_t n, const double *a, const double *b)
{
    double x = 0;
    for (size_t i = 0; i < n; i++) x = fabs(a[i] - b[i]) > x ? fabs(a[i] - b[i]) : x;
    return x;
}

static void seeded(void)
{
    rs_error e = {0};
    rs_rotation *r, *again;
    const double *R, *P;
    const int8_t *signs;
    if (!CHECK(rs_rotation_seeded(&r, 2, 36, 12, 5, &e) == RS_OK && rs_rotation_seeded(&again, 2, 36, 12, 6, &e) == RS_OK)) return;
    CHECK(rs_rotation_layers(r) == 2 && rs_rotation_d(r) == 36 && rs_rotation_h(r) == 12 && rs_rotation_is_global(r) && !rs_rotation_is_chain(r));
    const rs_hadamard *H = rs_rotation_hadamard(r, &signs);
    double want[36 * 36], first[36 * 36], head[144];
    rs_hadamard_dense(H, want);
    for (int i = 0; i < 36; i++)
        for (int j = 0; j < 36; j++) want[i * 36 + j] *= rs_random_u64(5, 0, (uint64_t)i) >> 63 ? -1 : 1;
    CHECK(rs_rotation_basis(r, 3, &R, &e) == RS_OK);
    CHECKF(worst(36 * 36, R, want) < 1e-15 && rs_rotation_error(36, R) < 1e-14, "R_0 is off by %.3g", worst(36 * 36, R, want));
    memcpy(first, R, sizeof first);
    CHECK(rs_rotation_basis(again, 0, &R, &e) == RS_OK && worst(36 * 36, R, first) > 0.1); // another seed
    CHECK(rs_rotation_head(r, 0, &P, &e) == RS_OK && rs_rotation_error(12, P) < 1e-14);
    memcpy(head, P, sizeof head);
    CHECK(rs_rotation_head(r, 1, &P, &e) == RS_OK && worst(144, P, head) > 0.1);
    CHECK(!rs_rotation_stored(r, 0, NULL));
    rs_rotation_free(r);
    rs_rotation_free(again);
}

static void files(void)
{
    tiny_spec s = tiny_default();
    char path[128];
    rs_error e = {0};
    uint64_t d = s.d;
    tiny_path(path, sizeof path, "rot.rsq");
    for (int kind = 0; kind < 3; kind++) {
        rs_mapped *m;
        rs_rotation *r;
        if (!CHECK(tiny_rotations(path, &s, (tiny_set)kind, 0.5, 6, 9, NULL) && rs_mapped_open(&m, path, &e) == RS_OK)) return;
        if (!CHECKF(rs_rotation_from_file(&r, m, &e) == RS_OK, "%s", e.text)) return;
        CHECK(rs_rotation_is_global(r) == (kind == TINY_GLOBAL) && rs_rotation_is_chain(r) == (kind == TINY_CHAIN) && rs_rotation_h(r) == s.h);
        double *at = malloc(d * d * sizeof *at), *last = malloc(d * d * sizeof *last);
        const double *R;
        CHECK(rs_rotation_basis(r, 0, &R, &e) == RS_OK);
        memcpy(at, R, d * d * sizeof *at);
        for (uint64_t j = 0; j < 2 * s.L; j++) {
            CHECK(rs_rotation_basis(r, j + 1, &R, &e) == RS_OK);
            CHECKF(rs_rotation_error(d, R) < (kind == TINY_CHAIN ? 1e-13 : 1e-6), "basis %d: |R^T R - I| is %.3g", (int)j + 1, rs_rotation_error(d, R));
            if (kind == TINY_GLOBAL) CHECK(worst(d * d, R, at) == 0);
            if (kind != TINY_CHAIN) continue;
            // R_(j+1) = R_j (I + q m q^T), the plain product.
            const float *q, *mm;
            uint64_t rank;
            CHECK(rs_rotation_junction(r, j, &rank, &q, &mm, &e) == RS_OK && rank == 6);
            double *next = calloc(d * d, sizeof *next);
            for (uint64_t i = 0; i < d; i++)
                for (uint64_t a = 0; a < rank; a++) {
                    double y = 0;
                    for (uint64_t k = 0; k < d; k++) y += at[i * d + k] * q[k * rank + a];
                    for (uint64_t b = 0; b < rank; b++)
                        for (uint64_t k = 0; k < d; k++) next[i * d + k] += y * mm[a * rank + b] * q[k * rank + b];
                }
            for (uint64_t i = 0; i < d * d; i++) at[i] += next[i];
            free(next);
            CHECKF(worst(d * d, R, at) < 1e-5, "basis %d of the chain is off by %.3g", (int)j + 1, worst(d * d, R, at));
        }
        memcpy(last, R, d * d * sizeof *last);
        // Back down and up again: the same bits.
        CHECK(rs_rotation_basis(r, 1, &R, &e) == RS_OK && rs_rotation_basis(r, 2 * s.L, &R, &e) == RS_OK && worst(d * d, R, last) == 0);
        CHECK(rs_rotation_basis(r, 2 * s.L + 1, &R, &e) == RS_E_INTERNAL);
        e = (rs_error){0};
        // As the file holds it: the basis itself; a chain holds none but the first, and that is orthonormalised.
        float *stored = malloc(d * d * sizeof *stored);
        CHECK(rs_rotation_stored(r, 2, stored) == (kind != TINY_CHAIN) && rs_rotation_basis(r, 2, &R, &e) == RS_OK);
        for (uint64_t i = 0; i < d * d; i++) at[i] = kind == TINY_CHAIN ? R[i] : (double)stored[i];
        CHECK(worst(d * d, R, at) == 0);
        free(stored);
        free(at);
        free(last);
        rs_rotation_free(r);
        rs_mapped_close(m);
    }
}

// Writes a set with one fault and says how reading it ends.
static rs_status faulty(int fault, char *text, size_t cap)
{
    enum { D = 24, H = 4 };
    char path[128];
    rs_error e = {0};
    rs_out *out;
    rs_writer *w = NULL;
    rs_mapped *m = NULL;
    rs_rotation *r = NULL;
    double R[D * D], P[H * H];
    float q[2 * D] = {0}, mm[4] = {-0.4f, 0.8f, -0.8f, -0.4f};
    q[0] = q[3] = 1;
    tiny_rotation(D, 1, R);
    tiny_rotation(H, 2, P);
    if (fault == 1) R[5] += 3e-5;
    if (fault == 2) P[1] += 0.01;
    if (fault == 3) q[7] = 0.1f;
    if (fault == 4) mm[0] = -0.3f;
    if (fault == 5) R[9] = NAN;
    char *argv[] = {(char[]){"test"}, NULL};
    rs_head head = rs_rotation_write_head("llama", "tiny", 1, NULL);
    rs_status status = rs_out_open(&out, tiny_path(path, sizeof path, "faulty.rsq"), NULL, 0, &e);
    if (status == RS_OK) status = rs_writer_open(&w, out, &head, &e);
    if (status == RS_OK) status = rs_stage_link(w, "test", 1, argv, NULL, &e);
    if (status == RS_OK) status = rs_rotation_write_basis(w, 0, D, R, &e);
    for (uint64_t j = 0; status == RS_OK && j < 2; j++) status = rs_rotation_write_junction(w, j, D, j == 0 ? 2 : 0, q, mm, &e);
    if (status == RS_OK) status = rs_rotation_write_headrot(w, 0, H, P, &e);
    if (status == RS_OK) status = rs_writer_finish(w, &e);
    rs_writer_free(w);
    rs_out_close(out);
    if (status == RS_OK) status = rs_mapped_open(&m, path, &e);
    if (status == RS_OK) status = rs_rotation_from_file(&r, m, &e);
    rs_rotation_free(r);
    rs_mapped_close(m);
    snprintf(text, cap, "%s", e.text);
    return status;
}

static void values(void)
{
    static const char *const where[] = {"", "rot.0", "headrot.0", "trans.0", "trans.0", "rot.0"};
    char text[1000];
    CHECKF(faulty(0, text, sizeof text) == RS_OK, "%s", text);
    for (int fault = 1; fault < 6; fault++) CHECKF(faulty(fault, text, sizeof text) == RS_E_VALUE && strstr(text, where[fault]) != NULL, "fault %d: %s", fault, text);
}

int main(void)
{
    seeded();
    files();
    values();
    return check_report();
}
