// SPDX-License-Identifier: Apache-2.0
// Round to nearest into the packed layout: decoded weights against a plain computation, sums, every width and grouping, the same bytes for any number of threads.
#include <math.h>

#include "inspect/values.h"
#include "kernels/clip.h"
#include "kernels/threads.h"
#include "quantize/rtn.h"
#include "tests/check.h"
#include "transforms/weights.h"

enum { ROWS = 37, COLS = 96 };
static float w[ROWS * COLS];

static rs_tensor matrix(void)
{
    rs_tensor t = {.role = RS_ROLE_Q, .layer = 0, .expert = -1, .dtype = RS_F32, .enc = RS_ENC_RAW, .n_dims = 2, .shape = {ROWS, COLS}};
    strcpy(t.name, "model.layers.0.self_attn.q_proj.weight");
    return t;
}

static void pack(int bits, uint64_t group, rs_dtype scale)
{
    rs_scheme s = rs_scheme_default();
    rs_error e = {0};
    rs_tensor t = matrix(), packed;
    s.w_bits = bits;
    s.group = group;
    s.scale_dtype = scale;
    if (!CHECKF(rs_quantize_layout(&s, &t, &packed, &e) == RS_OK, "layout: %s", e.text)) return;
    uint8_t *one = aligned_alloc(64, (size_t)(packed.payload_len + 63) / 64 * 64), *two = aligned_alloc(64, (size_t)(packed.payload_len + 63) / 64 * 64);
    float *back = malloc(sizeof w);
    rs_pack_error cost;
    rs_threads_set(1);
    CHECKF(rs_rtn_pack(&s, &packed, w, one, &cost, &e) == RS_OK, "pack: %s", e.text);
    rs_threads_set(3);
    CHECK(rs_rtn_pack(&s, &packed, w, two, NULL, &e) == RS_OK);
    CHECKF(memcmp(one, two, (size_t)packed.payload_len) == 0, "%d bits: bytes depend on the threads", bits);
    CHECKF(rs_values_check(&packed, one, &e) == RS_OK, "%d bits: %s", bits, e.text);
    CHECK(rs_weights_rows(&packed, one, 0, ROWS, back, &e) == RS_OK);
    size_t span = group != 0 ? (size_t)group : COLS;
    double err = 0;
    for (size_t at = 0; at < ROWS * COLS; at += span) {
        int8_t codes[COLS];
        rs_clip clip = {.bits = bits, .steps = 80, .scale_f16 = scale == RS_F16};
        float sc = rs_clip_span(&clip, span, w + at, codes, NULL);
        for (size_t j = 0; j < span; j++) {
            if (!CHECKF(back[at + j] == (float)codes[j] * sc, "%d bits group %zu: weight %zu is %g, expected %g", bits, span, at + j, (double)back[at + j], (double)((float)codes[j] * sc))) goto out;
            err += ((double)back[at + j] - (double)w[at + j]) * ((double)back[at + j] - (double)w[at + j]);
        }
    }
    CHECKF(fabs(err - cost.error) <= 1e-6 * err, "%d bits: error sum %g, reported %g", bits, err, cost.error);
    // one flipped code must be seen by the check of the sums
    one[rs_tensor_part(&packed, "codes")->off] ^= 1;
    CHECKF(rs_values_check(&packed, one, &(rs_error){0}) == RS_E_VALUE, "%d bits: a flipped code goes unseen", bits);
out:
    free(one);
    free(two);
    free(back);
}

int main(void)
{
    uint64_t state = 7;
    for (size_t i = 0; i < ROWS * COLS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        double u = (double)(state >> 11) / 9007199254740992.0 - 0.5;
        w[i] = (float)(u * u * u * 4);
    }
    memset(w + 5 * COLS, 0, COLS * sizeof *w); // a row of zeros
    for (int bits = 2; bits <= 8; bits++) {
        pack(bits, 0, RS_F32);
        pack(bits, 32, RS_F32);
        pack(bits, 48, RS_F16);
    }
    rs_scheme s = rs_scheme_default();
    rs_error e = {0};
    rs_tensor t = matrix(), packed;
    s.group = 36;
    CHECK(rs_quantize_layout(&s, &t, &packed, &e) == RS_USAGE);
    s.group = 0;
    e = (rs_error){0};
    CHECK(rs_quantize_layout(&s, &t, &packed, &e) == RS_OK);
    uint8_t *out = aligned_alloc(64, (size_t)(packed.payload_len + 63) / 64 * 64);
    w[9 * COLS + 3] = NAN;
    w[4 * COLS] = INFINITY;
    CHECK(rs_rtn_pack(&s, &packed, w, out, NULL, &e) == RS_E_VALUE && strstr(e.text, "row 4") != NULL);
    free(out);
    return check_report();
}
