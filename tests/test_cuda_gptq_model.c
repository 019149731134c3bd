// SPDX-License-Identifier: Apache-2.0
// GPTQ of a model on the emulated device against the processor; wherever the device's memory ends; what cannot be quantised.
#include "quantize/gptq_model.h"
#include "tests/cuda/emulate.h"
#include "tests/stages.h"
#include "transforms/weights.h"

enum { SAMPLES = 5, CTX = 14, IDS = 400, LAYERS = 2, COUNT = LAYERS * RS_SCHEME_ROLES };

static const rs_kernels *cuda;
static int32_t ids[IDS];
static size_t samples = SAMPLES;

struct taken {
    rs_tensor packed[COUNT];
    uint8_t *payload[COUNT]; // NULL: not quantised
    double output_error[COUNT];
};

static void drop(struct taken *t)
{
    for (size_t i = 0; i < COUNT; i++) free(t->payload[i]);
    memset(t, 0, sizeof *t);
}

static rs_status take_all(rs_gptq_model *g, struct taken *t, rs_error *e)
{
    for (size_t i = 0; i < COUNT; i++) {
        const rs_tensor *tensor;
        rs_value *values = NULL;
        RS_TRY(rs_gptq_model_matrix(g, i, &tensor, &t->packed[i], e));
        if (tensor == NULL) continue;
        t->payload[i] = aligned_alloc(64, (size_t)(t->packed[i].payload_len + 63) / 64 * 64);
        RS_TRY(rs_gptq_model_payload(g, &t->packed[i], t->payload[i], e));
        rs_arena *a = rs_arena_new();
        const rs_status st = rs_gptq_model_values(g, &t->packed[i], a, &values, e);
        t->output_error[i] = values != NULL ? rs_map_f64(values, "output_error", -1) : 0;
        rs_arena_free(a);
        RS_TRY(st);
    }
    return RS_OK;
}

// All matrices of the model at path; t is to be dropped.
static rs_status quantise(const char *path, const rs_gptq_model_options *asked, const rs_kernels *k, uint64_t mem, struct taken *t, rs_error *e)
{
    rs_mapped *m = NULL;
    rs_gptq_model *g = NULL;
    rs_gptq_model_options o = *asked;
    const rs_calibration_text text = {.ids = ids, .count = IDS, .samples = samples, .ctx = CTX, .skip = 3, .mem = mem};
    o.k = k;
    memset(t, 0, sizeof *t);
    rs_status st = rs_mapped_open(&m, path, e);
    if (st == RS_OK) st = rs_gptq_model_open(&g, m, &text, &o, e);
    if (st == RS_OK) st = take_all(g, t, e);
    rs_gptq_model_close(g);
    rs_mapped_close(m);
    return st;
}

// Shares of weights that differ, and the largest difference of an output error, as a share.
static void compare(const char *what, const struct taken *a, const struct taken *b)
{
    size_t other = 0, all = 0;
    double far = 0;
    for (size_t i = 0; i < COUNT; i++) {
        if (!CHECKF((a->payload[i] == NULL) == (b->payload[i] == NULL), "%s: matrix %zu is not there", what, i) || a->payload[i] == NULL) continue;
        const size_t n = (size_t)(a->packed[i].shape[0] * a->packed[i].shape[1]);
        float *x = malloc(2 * n * sizeof *x);
        CHECK(rs_weights_rows(&a->packed[i], a->payload[i], 0, a->packed[i].shape[0], x, NULL) == RS_OK && rs_weights_rows(&b->packed[i], b->payload[i], 0, b->packed[i].shape[0], x + n, NULL) == RS_OK);
        for (size_t j = 0; j < n; j++) other += fabsf(x[j] - x[n + j]) > 1e-3f * fabsf(x[j]);
        all += n;
        far = worse(far, fabs(a->output_error[i] - b->output_error[i]) / (a->output_error[i] + 1e-30));
        free(x);
    }
    CHECKF(other <= all / 500, "%s: %zu of %zu weights are not those of the processor", what, other, all); // measured: none
    CHECKF(far <= 1e-3, "%s: an output error is off by %g", what, far); // measured: 3e-6
}

static bool same(const struct taken *a, const struct taken *b)
{
    for (size_t i = 0; i < COUNT; i++)
        if (a->payload[i] != NULL && (memcmp(a->payload[i], b->payload[i], (size_t)a->packed[i].payload_len) != 0 || a->output_error[i] != b->output_error[i])) return false;
    return true;
}

static rs_gptq_model_options settings(bool one_pass, uint64_t group, bool act_order)
{
    rs_gptq_model_options o = {.scheme = rs_scheme_default(), .gptq = rs_gptq_default(), .one_pass = one_pass};
    o.scheme.group = group;
    o.gptq.block = 10;
    o.gptq.act_order = act_order;
    return o;
}

static void against_processor(const char *what, const char *path, rs_gptq_model_options o)
{
    struct taken cpu, one, two = {0};
    rs_error e = {0};
    rs_threads_set(1);
    rs_trial_order(0);
    rs_trial_blocks(0);
    rs_status st = quantise(path, &o, NULL, 0, &cpu, &e);
    if (CHECKF(st == RS_OK && quantise(path, &o, cuda, 0, &one, &e) == RS_OK, "%s: %s", what, e.text)) {
        compare(what, &cpu, &one);
        const size_t taken = rs_trial_taken(); // by what stays once it was asked for
        rs_threads_set(3);
        rs_trial_order(2);
        rs_trial_blocks(3);
        const uint64_t stream = CTX * 32 * sizeof(float);
        CHECKF(quantise(path, &o, cuda, 3 * stream, &two, &e) == RS_OK && same(&one, &two), "%s: two runs differ: %s", what, e.text);
        CHECKF(rs_trial_taken() == taken, "%s: %zu bytes stay taken", what, rs_trial_taken() - taken);
        drop(&two);
    }
    drop(&cpu);
    drop(&one);
}

// Each failure is one line that says where, and gives back what was taken.
static void no_memory(const char *path)
{
    const rs_gptq_model_options o = settings(true, 0, false);
    struct taken whole, t;
    rs_error e = {0};
    rs_trial_order(0);
    rs_trial_blocks(0);
    if (!CHECKF(quantise(path, &o, cuda, 0, &whole, &e) == RS_OK, "%s", e.text)) return;
    const size_t taken = rs_trial_taken();
    enum { PLACES = 5 };
    static const char *const places[PLACES] = {"Hessian of order", ": quantised weights: ", "arrays: ", "a layer: ", " on the device"};
    size_t met[PLACES + 1] = {0}, room = 0;
    for (rs_status st = RS_E_NOMEM; st != RS_OK; room += room < 4096 ? 1024 : 3072) {
        e = (rs_error){0};
        rs_trial_memory(room);
        st = quantise(path, &o, cuda, 0, &t, &e);
        rs_trial_memory(SIZE_MAX);
        size_t p = 0;
        while (p < PLACES && strstr(e.text, places[p]) == NULL) p++;
        met[p]++;
        if (st == RS_OK) CHECKF(same(&whole, &t), "%zu bytes: other weights", room);
        drop(&t);
        if (!CHECKF(st == RS_OK || (st == RS_E_NOMEM && p < PLACES && strchr(e.text, '\n') == NULL), "%zu bytes: %d, %s", room, (int)st, e.text)) break;
        if (!CHECKF(rs_trial_taken() == taken, "%zu bytes: %zu stay taken", room, rs_trial_taken() - taken)) break;
    }
    for (size_t p = 0; p < PLACES; p++) CHECKF(met[p] > 0, "%s: never", places[p]);
    samples = 25; // with streams that would fit while nothing else is there
    e = (rs_error){0};
    rs_trial_memory(room);
    CHECKF(quantise(path, &o, cuda, 0, &t, &e) == RS_OK, "%zu bytes: %s", room, e.text);
    rs_trial_memory(SIZE_MAX);
    samples = SAMPLES;
    drop(&t);
    drop(&whole);
}

// Activations that are not finite name the layer, as on the processor; a device that fails says so.
static void failures(const char *path, const char *wild)
{
    rs_gptq_model_options o = settings(false, 0, false);
    const size_t taken = rs_trial_taken();
    struct taken t;
    rs_error e = {0}, there = {0};
    CHECK(quantise(wild, &o, NULL, 0, &t, &e) == RS_E_VALUE);
    drop(&t);
    CHECKF(quantise(wild, &o, cuda, 0, &t, &there) == RS_E_VALUE && strcmp(e.text, there.text) == 0 && strstr(there.text, "layers.1.") != NULL, "%s, not %s", there.text, e.text);
    drop(&t);
    CHECK(rs_trial_taken() == taken);
    rs_trial_blas(RS_BLAS_FAILS);
    e = (rs_error){0};
    CHECKF(quantise(path, &o, cuda, 0, &t, &e) == RS_E_INTERNAL && strstr(e.text, "the device failed: cuBLAS: ") != NULL, "%s", e.text);
    rs_trial_blas(RS_BLAS_GOOD);
    drop(&t);
    CHECK(rs_trial_taken() == taken);
}

static bool spoil(void *context, rs_tensor *t, uint8_t *payload)
{
    (void)context;
    if (strcmp(t->name, "model.layers.1.mlp.up_proj.weight") == 0)
        for (uint64_t i = 0; i < t->shape[0] * t->shape[1]; i++) ((float *)(void *)payload)[i] *= 1e38f;
    return true;
}

int main(void)
{
    char model[128], rot[128], fused[128], cut[128], half[128], wild[128];
    rs_error e = {0};
    tiny_spec s = tiny_default();
    s.L = LAYERS;
    s.biases = true;
    cuda = rs_kernels_cuda();
    if (!CHECK(cuda != NULL)) return check_report();
    tiny_ids(&s, IDS, ids);
    tiny_path(model, sizeof model, "model.rsq");
    tiny_path(rot, sizeof rot, "rot.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(cut, sizeof cut, "cut.rsq");
    tiny_path(half, sizeof half, "half.rsq");
    tiny_path(wild, sizeof wild, "wild.rsq");
    if (!CHECK(tiny_model(model, &s) && tiny_rotations(rot, &s, TINY_DENSE, 0.4, 0, 3, model))) return check_report();
    if (!CHECKF(tiny_fuse(model, rot, fused, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK && stages_residual(fused, rot, cut, 8, &e) == RS_OK && stages_edit(model, wild, spoil, NULL, &e) == RS_OK, "%s", e.text))
        return check_report();
    no_memory(model);
    failures(model, wild);
    against_processor("plain", model, settings(false, 0, false));
    against_processor("one pass, by diagonal", model, settings(true, 0, true));
    against_processor("groups, by diagonal", model, settings(false, 8, true));
    against_processor("junctions", cut, settings(false, 0, false));
    against_processor("dense junctions, one pass", fused, settings(true, 16, false));
    s.dtype = RS_F16;
    if (CHECK(tiny_model(half, &s))) against_processor("f16", half, settings(false, 0, false));
    return check_report();
}
