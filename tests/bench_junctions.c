// SPDX-License-Identifier: Apache-2.0
// The error that rs-residual --paper --report states of each junction against the one between the two files: bench_junctions LEARNED.rsq CUT.rsq REPORT.json prints the worst
// relative difference and the range of the errors. R_j is orthogonal, so |T - T^|_F is |R_(j+1) - R_j T^|_F: no product but the one by what the cut file holds.
#include "formats/json.h"
#include "transforms/rotation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// R (I + q m q^T) - next, its Frobenius norm; x: room for 2 rank values.
static double measure(size_t d, size_t rank, const float *q, const float *m, const double *R, const double *next, double *x)
{
    double *y = x + rank, sum = 0;
    for (size_t i = 0; i < d; i++) {
        const double *row = R + i * d;
        for (size_t a = 0; a < rank; a++) x[a] = y[a] = 0;
        for (size_t l = 0; l < d; l++)
            for (size_t a = 0; a < rank; a++) x[a] += row[l] * (double)q[l * rank + a];
        for (size_t a = 0; a < rank; a++)
            for (size_t b = 0; b < rank; b++) y[b] += x[a] * (double)m[a * rank + b];
        for (size_t l = 0; l < d; l++) {
            double z = row[l] - next[i * d + l];
            for (size_t a = 0; a < rank; a++) z += y[a] * (double)q[l * rank + a];
            sum += z * z;
        }
    }
    return sqrt(sum);
}

static rs_status compare(rs_rotation *learned, rs_rotation *cut, const json_t *report, rs_error *e)
{
    uint64_t L = rs_rotation_layers(learned), d = rs_rotation_d(learned);
    const json_t *list = json_object_get(report, "junctions");
    if (rs_rotation_layers(cut) != L || rs_rotation_d(cut) != d || json_array_size(list) != 2 * L) return rs_fail(e, RS_USAGE, "the three do not belong together");
    double *at = malloc(d * d * sizeof *at), *x = malloc(2 * d * sizeof *x), worst = 0, least = INFINITY, most = 0;
    rs_status s = at != NULL && x != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "bases");
    for (uint64_t j = 0; s == RS_OK && j < 2 * L; j++) {
        const double *p;
        const float *q, *m;
        uint64_t rank;
        double said;
        s = rs_rotation_basis(learned, j, &p, e);
        if (s == RS_OK) memcpy(at, p, d * d * sizeof *at);
        if (s == RS_OK) s = rs_rotation_basis(learned, j + 1, &p, e);
        if (s == RS_OK) s = rs_rotation_junction(cut, j, &rank, &q, &m, e);
        if (s == RS_OK) s = rs_json_number(json_array_get(list, j), "report", "error", NAN, &said, e);
        if (s != RS_OK) break;
        double found = measure(d, rank, q, m, at, p, x), off = fabs(said / found - 1);
        worst = off > worst || isnan(off) ? off : worst;
        least = found < least ? found : least;
        most = found > most ? found : most;
    }
    free(at);
    free(x);
    if (s == RS_OK) printf("%.2g, errors %.4f to %.4f\n", worst, least, most);
    return s;
}

int main(int argc, char **argv)
{
    rs_mapped *m[2] = {NULL, NULL};
    rs_rotation *r[2] = {NULL, NULL};
    rs_error e = {0};
    rs_status s = argc == 4 ? RS_OK : rs_fail(&e, RS_USAGE, "bench_junctions LEARNED.rsq CUT.rsq REPORT.json");
    json_t *report = s == RS_OK ? json_load_file(argv[3], 0, NULL) : NULL;
    for (int i = 0; s == RS_OK && i < 2; i++) {
        s = rs_mapped_open(&m[i], argv[1 + i], &e);
        if (s == RS_OK) s = rs_rotation_from_file(&r[i], m[i], &e);
    }
    if (s == RS_OK) s = compare(r[0], r[1], report, &e);
    if (s != RS_OK) fprintf(stderr, "bench_junctions: %s\n", e.text);
    for (int i = 0; i < 2; i++) {
        rs_rotation_free(r[i]);
        rs_mapped_close(m[i]);
    }
    json_decref(report);
    return (int)s;
}
