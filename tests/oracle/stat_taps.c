// SPDX-License-Identifier: Apache-2.0
// Writes what the taps of a network see on a text to files of f32, for stat.py: stat_taps MODEL.rsq TEXT SAMPLES CTX SKIP FOLDER. A file for each layer and tap, the rows of all sequences in order.
#include <stdio.h>
#include <stdlib.h>

#include "formats/text.h"
#include "transforms/network.h"

static const char *const names[] = {[RS_TAP_QKV_RAW] = "qkv", [RS_TAP_O_RAW] = "o", [RS_TAP_GATE_UP_RAW] = "gateup", [RS_TAP_DOWN_RAW] = "down", [RS_TAP_K_RAW] = "k", [RS_TAP_V_RAW] = "v",
                                    [RS_TAP_STREAM_ATTN] = "attn", [RS_TAP_STREAM_FFN] = "ffn"};
static const char *folder;
static unsigned long long layer_number;

static void append(const char *name, size_t rows, size_t cols, const float *x, size_t ld)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%llu.%s", folder, layer_number, name);
    FILE *f = fopen(path, "ab");
    for (size_t r = 0; f != NULL && r < rows; r++)
        if (fwrite(x + r * ld, sizeof *x, cols, f) != cols) exit(1);
    if (f == NULL || fclose(f) != 0) exit(1);
}

static void on_tap(void *context, rs_tap tap, size_t rows, size_t cols, const float *x, size_t ld)
{
    (void)context;
    if (names[tap] != NULL) append(names[tap], rows, cols, x, ld);
}

static void check(rs_status s, const rs_error *e)
{
    if (s == RS_OK) return;
    fprintf(stderr, "stat_taps: %s\n", e->text);
    exit(1);
}

int main(int argc, char **argv)
{
    rs_error e = {0};
    rs_mapped *m;
    rs_network *n;
    int32_t *ids;
    size_t count;
    if (argc != 7) return 2;
    const size_t samples = (size_t)atol(argv[3]), ctx = (size_t)atol(argv[4]), skip = (size_t)atol(argv[5]);
    folder = argv[6];
    check(rs_mapped_open(&m, argv[1], &e), &e);
    check(rs_network_open(&n, m, NULL, &e), &e);
    rs_network_sums(n);
    check(rs_text_ids(m, argv[2], 1, &ids, &count, NULL, &e), &e);
    const size_t d = rs_network_shape(n)->d;
    float *x = malloc(samples * ctx * d * sizeof *x);
    if (x == NULL || count < skip + samples * ctx) return 1;
    for (size_t s = 0; s < samples; s++) check(rs_network_embed(n, ctx, ids + skip + s * ctx, x + s * ctx * d, &e), &e);
    for (layer_number = 0; layer_number < rs_network_config(n)->L; layer_number++) {
        const rs_decoder_layer *layer;
        check(rs_network_load(n, layer_number, &layer, &e), &e);
        for (size_t s = 0; s < samples; s++) check(rs_network_forward(n, ctx, x + s * ctx * d, on_tap, NULL, &e), &e);
    }
    append("attn", samples * ctx, d, x, d);
    free(x);
    free(ids);
    rs_network_close(n);
    rs_mapped_close(m);
    return 0;
}
