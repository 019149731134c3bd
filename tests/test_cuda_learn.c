// SPDX-License-Identifier: Apache-2.0
// Learning on the emulated device: loss and slopes against the plain C table on tiny models, the same bits again, whatever memory there is; memory is what was stated, and too little is said; numbers that are none
// and a device that fails are told; a run of rs_learn goes the way it goes on the processor, and on from a checkpoint of its own kind.
#include "kernels/threads.h"
#include "tests/cuda/emulate.h"
#include "tests/cuda/failing.h"
#include "tests/learner.h"
#include "tests/objectives.h"
#include "transforms/cayley_series.h"

static char model[128], checkpoint[128], start[128];

// A table and a memory that tests change.
static rs_kernels table;
static rs_memory memory;

static const rs_kernels *restore(void)
{
    table = *rs_kernels_cuda();
    memory = *table.memory;
    table.memory = &memory;
    return &table;
}

// ---- loss and slopes

// The same bits in a second run, the same loss without derivatives, and what is gathered.
static void repeats(const char *what, struct setup *there, rs_objective *o, rs_objective_loss got)
{
    const rs_objective_view own = view_of(there, false, 1), with = view_of(there, true, 0.5), *view = &own, *slopes = &with;
    rs_objective_loss again = {0}, plain = {0};
    rs_error e = {0};
    float *first = floats(there->count);
    memcpy(first, there->slopes, there->count * sizeof *first);
    if (run(there, o, 0.5, &again)) CHECKF(again.total == got.total && memcmp(first, there->slopes, there->count * sizeof *first) == 0, "%s: other bits in a second run", what);
    CHECKF(rs_objective_run(o, there->ids, view, &plain, &e) == RS_OK && fabs(plain.total - got.total) <= 1e-7 * got.total, "%s: loss %.9g without derivatives, %.9g with", what, plain.total, got.total);
    // two runs before they are gathered add up; a look between them changes nothing
    memset(there->slopes, 0, there->count * sizeof *first);
    CHECK(rs_objective_run(o, there->ids, slopes, &got, &e) == RS_OK && rs_objective_run(o, there->ids, view, &got, &e) == RS_OK && rs_objective_run(o, there->ids, slopes, &got, &e) == RS_OK && zeros(there->count, there->slopes) &&
          rs_objective_gather(o, &e) == RS_OK);
    for (size_t i = 0; i < there->count; i++) first[i] *= 2;
    CHECKF(zeros(there->count, first) || distance(there->count, there->slopes, first) <= 1e-6, "%s: two runs are not twice one by %.3g", what, distance(there->count, there->slopes, first));
    CHECK(rs_objective_gather(o, &e) == RS_OK && (zeros(there->count, first) || distance(there->count, there->slopes, first) <= 1e-6)); // nothing is gathered twice
    free(first);
}

static void agrees(const char *what, const tiny_spec *s, const rs_objective_options *with, bool shared, bool more)
{
    struct setup here = {0}, there = {0};
    rs_objective_loss want = {0}, got = {0};
    rs_objective *o = NULL;
    rs_error e = {0};
    const size_t before = rs_trial_taken();
    if (!CHECK(tiny_model(model, s)) || !open_setup(&here, s, model, rs_kernels_reference()) || !open_setup(&there, s, model, restore())) return;
    for (int k = 0; shared && k < 2; k++) { // one basis and one slope for all places
        struct setup *t = k == 0 ? &here : &there;
        for (size_t j = 1; j < 2 * s->L; j++) t->basis[j] = t->basis[0], t->slope[j] = t->slope[0];
    }
    if (run_once(&here, with, 0.5, &want) && CHECKF(rs_objective_new(&o, there.n, with, &e) == RS_OK, "%s: %s", what, e.text) && run(&there, o, 0.5, &got)) {
        CHECKF(fabs(got.nll - want.nll) <= 1e-6 * want.nll && fabs(got.kl - want.kl) <= 1e-5 * want.kl + 1e-9, "%s: nll %.9g kl %.9g, not %.9g %.9g", what, got.nll, got.kl, want.nll, want.kl);
        const double off = distance(there.count, there.slopes, here.slopes);
        CHECKF(zeros(here.count, here.slopes) ? zeros(there.count, there.slopes) : off <= 1e-5, "%s: slopes are off by %.3g", what, off);
        if (more) repeats(what, &there, o, got);
    }
    rs_objective_free(o);
    close_setup(&here);
    close_setup(&there);
    CHECKF(rs_trial_taken() == before, "%s: %zu bytes are left on the device", what, rs_trial_taken() - before);
}

static void networks(bool brief)
{
    tiny_spec s = tiny_default();
    rs_objective_options with = options(5, 4, 1, 0);
    s.L = 2;
    for (int order = 0; order < (brief ? 1 : 3); order++) {
        rs_trial_order(order);
        agrees("A4 KV4", &s, &with, false, true);
    }
    if (brief) return;
    with = options(4, 16, 1, 0);
    agrees("full precision", &s, &with, false, true);
    tiny_spec narrow = s; // tokens are many
    narrow.L = narrow.n_q = narrow.n_kv = 1;
    narrow.d = narrow.f = 8;
    with = options(131, 4, 1, 0);
    agrees("more predictions than one block of logits", &narrow, &with, false, false);
    rs_trial_order(1);
    s.tied = false;
    s.biases = true;
    s.dtype = RS_BF16;
    with = options(5, 4, 0.5, 2);
    agrees("KL, bf16", &s, &with, false, true);
    s.dtype = RS_F16;
    with.bits.w = (rs_quantizer){.bits = 4, .clip = 1};
    agrees("W4, f16", &s, &with, false, true);
    agrees("one basis", &s, &with, true, true);
    rs_trial_order(0);
}

// ---- memory

static uint64_t needs(const struct setup *t, const rs_objective_options *with, rs_objective_memory *m)
{
    rs_objective *o = NULL;
    rs_error e = {0};
    *m = (rs_objective_memory){0};
    if (CHECKF(rs_objective_new(&o, t->n, with, &e) == RS_OK, "%s", e.text)) *m = *rs_objective_needs(o);
    rs_objective_free(o);
    return m->total;
}

// From less than the least to all layers and all their values there: the same bits, in no more than was stated, or a line that says how much is needed.
static void rooms(unsigned w_bits, double kl)
{
    struct setup t = {0};
    tiny_spec s = tiny_default();
    s.dtype = RS_F16;
    rs_objective_options with = options(4, 4, 1, kl);
    rs_objective_loss first = {0}, loss;
    rs_objective_memory all, least;
    rs_error e = {0};
    rs_objective *o = NULL;
    if (!CHECK(tiny_model(model, &s)) || !open_setup(&t, &s, model, restore())) return;
    with.bits.w = (rs_quantizer){.bits = w_bits, .clip = 1};
    with.params = UINT64_C(1) << 40; // of the process: the device has nothing to do with them
    with.mirrors = 2 * t.count * sizeof(float);
    CHECK(needs(&t, &with, &all) > 0 && all.kept == 3 && all.layers == 3 && all.params == with.mirrors && all.total == all.weights + all.params + all.activations);
    with.mem = 1;
    CHECK(rs_objective_new(&o, t.n, &with, &e) == RS_USAGE && o == NULL && strncmp(e.text, "--mem: 0 MiB are not enough, 1 MiB are the least: weights 0, rotations and their slopes 0", 80) == 0);
    with.mem = 0;
    float *want = floats(t.count);
    if (run_once(&t, &with, 1, &first)) memcpy(want, t.slopes, t.count * sizeof *want);
    CHECK(!zeros(t.count, want));
    const uint64_t kept = rs_decoder_learn_kept(rs_network_shape(t.n), with.S) * sizeof(float);
    size_t refused = 0, ran = 0, kinds = 0, last = 0;
    for (uint64_t room = all.total / 4; room < all.total * 5 / 4; room += kept * 3 / 4) {
        rs_trial_memory((size_t)room);
        const size_t before = rs_trial_taken();
        e = (rs_error){0};
        const rs_status status = rs_objective_new(&o, t.n, &with, &e);
        if (status != RS_OK) {
            CHECKF(status == RS_E_NOMEM && ran == 0 && strncmp(e.text, "what is free on the device: 0 MiB are not enough, 1 MiB are the least", 60) == 0, "%d bytes: status %d, %s", (int)room, (int)status, e.text);
            refused++;
        } else if (run(&t, o, 1, &loss)) {
            least = *rs_objective_needs(o);
            kinds += least.kept + 10 * least.layers != last;
            last = least.kept + 10 * least.layers;
            ran++;
            CHECKF(least.total <= room && memcmp(t.slopes, want, t.count * sizeof *want) == 0 && loss.total == first.total, "%d bytes, %d layers kept, weights of %d: other bits", (int)room, (int)least.kept, (int)least.layers);
            with.mem = least.total; // as much as it said
            rs_objective_free(o);
            o = NULL;
            CHECKF(rs_objective_new(&o, t.n, &with, &e) == RS_OK && rs_objective_needs(o)->kept == least.kept && rs_objective_needs(o)->layers == least.layers, "%d bytes: %s", (int)room, e.text);
            with.mem = 0;
        }
        rs_objective_free(o);
        o = NULL;
        CHECKF(status == RS_OK || rs_trial_taken() == before, "%d bytes: %zu are left on the device", (int)room, rs_trial_taken() - before);
    }
    CHECKF(refused > 0 && ran > 0 && kinds == 4, "%zu sizes refused, %zu ran, in %zu ways", refused, ran, kinds); // 1 to 3 layers kept, then all weights too
    rs_trial_memory(SIZE_MAX);
    free(want);
    close_setup(&t);
}

// No memory in mid-run, where nobody has planned: every allocation fails once.
static size_t gives;
static void *few(size_t bytes)
{
    return gives == 0 ? NULL : (gives--, rs_kernels_cuda()->memory->alloc(bytes));
}

static void nothing_left(void)
{
    tiny_spec s = tiny_default();
    rs_objective_options with = options(6, 4, 1, 1);
    bool done = false;
    if (!CHECK(tiny_model(model, &s))) return;
    for (size_t n = 0; n < 400 && !done; n++) {
        struct setup t = {0};
        rs_error e = {0};
        rs_objective *o = NULL;
        rs_objective_loss loss;
        const size_t before = rs_trial_taken();
        if (!open_setup(&t, &s, model, restore())) return;
        const rs_objective_view view = view_of(&t, true, 1);
        memory.alloc = few;
        gives = n;
        rs_status status = rs_objective_new(&o, t.n, &with, &e);
        if (status == RS_OK) status = rs_objective_run(o, t.ids, &view, &loss, &e);
        done = status == RS_OK;
        CHECKF(done || (status == RS_E_NOMEM && strlen(e.text) > 10), "after %zu arrays: status %d, %s", n, (int)status, e.text);
        rs_objective_free(o);
        close_setup(&t);
        CHECKF(rs_trial_taken() == before, "after %zu arrays: %zu bytes are left", n, rs_trial_taken() - before);
    }
    CHECK(done);
}

// ---- what goes wrong

static void spoiled_attention(size_t S, size_t n_q, size_t n_kv, size_t h, const float *q, const float *k, const float *v, const float *out, const float *dout, float *dq, float *dk, float *dv, float *work)
{
    const float nan = NAN;
    rs_kernels_cuda()->attention_grad(S, n_q, n_kv, h, q, k, v, out, dout, dq, dk, dv, work);
    rs_kernels_cuda()->memory->put(dk, &nan, sizeof nan);
}

// Runs once on a device that takes turns with two layers, or holds all; then, where that went wrong, once more on one that does not.
static void told(const char *nan_in, unsigned bits, bool all, rs_status want, const char *says)
{
    struct setup t = {0};
    tiny_spec s = tiny_default();
    s.nan_in = nan_in;
    rs_error e = {0};
    rs_objective *o = NULL;
    rs_objective_loss loss = {0}, again = {0};
    rs_objective_memory m;
    rs_objective_options with = options(5, bits, 1, 0);
    const rs_kernels changed = table;
    if (!CHECK(tiny_model(model, &s)) || !open_setup(&t, &s, model, &table)) return;
    if (!all) { // asked of another network, which then has all layers
        uint64_t layer = 0;
        struct setup u = {0};
        if (!open_setup(&u, &s, model, &table)) return;
        CHECK(rs_network_layer_bytes(u.n, &layer, &e) == RS_OK);
        with.mem = needs(&u, &with, &m) - layer;
        close_setup(&u);
    }
    const rs_objective_view view = view_of(&t, true, 1);
    if (!CHECKF(rs_objective_new(&o, t.n, &with, &e) == RS_OK && (rs_objective_needs(o)->layers == 3) == all, "%s", e.text)) return;
    if (all) { // so that they are there
        table = *rs_kernels_cuda();
        CHECK(nan_in != NULL || rs_objective_run(o, t.ids, &view, &again, &e) == RS_OK);
        table = changed;
    }
    e = (rs_error){0};
    const rs_status status = rs_objective_run(o, t.ids, &view, &loss, &e);
    CHECKF(status == want && strncmp(e.text, says, strlen(says)) == 0, "expected %s: status %d, %s", says, (int)status, e.text);
    table = *rs_kernels_cuda();
    if (nan_in == NULL && run(&t, o, 1, &loss)) { // the same as if nothing had been
        float *want_slopes = floats(t.count);
        memcpy(want_slopes, t.slopes, t.count * sizeof(float));
        if (run(&t, o, 1, &again)) CHECK(again.total == loss.total && memcmp(want_slopes, t.slopes, t.count * sizeof(float)) == 0 && !zeros(t.count, t.slopes));
        free(want_slopes);
    }
    rs_objective_free(o);
    close_setup(&t);
}

static void wrong(void)
{
    restore();
    told("model.layers.0.self_attn.q_proj.weight", 4, false, RS_E_VALUE, "layer 0: ");
    told("model.layers.1.mlp.up_proj.weight", 4, false, RS_E_VALUE, "layer 1: ");
    told("model.layers.1.mlp.down_proj.weight", 4, false, RS_E_VALUE, "layer 2: ");
    told("model.layers.2.mlp.down_proj.weight", 4, false, RS_E_VALUE, "behind layer 2: ");
    told("model.layers.1.self_attn.v_proj.weight", 16, true, RS_E_VALUE, "behind layer 2: ");
    told("model.layers.1.self_attn.v_proj.weight", 4, true, RS_E_VALUE, "layer 1: ");
    table.attention_grad = spoiled_attention;
    told(NULL, 4, false, RS_E_VALUE, "layer 2: the gradient holds NaN or infinity");
    table.attention_grad = spoiled_attention;
    told(NULL, 4, true, RS_E_VALUE, "layers 2 to 0: the gradient holds NaN or infinity");
}

static void fails(void)
{
    tiny_spec s = tiny_default();
    const rs_objective_options with = options(5, 4, 1, 1);
    if (!CHECK(tiny_model(model, &s))) return;
    bool done = false;
    size_t calls = 0;
    for (; calls < 40 && !done; calls++) {
        struct setup t = {0};
        rs_error e = {0};
        rs_objective *o = NULL;
        rs_objective_loss loss;
        if (!open_setup(&t, &s, model, restore())) return;
        const rs_objective_view view = view_of(&t, true, 1);
        memory.settle = failing_settle;
        left = calls;
        rs_status status = rs_objective_new(&o, t.n, &with, &e);
        if (status == RS_OK) status = rs_objective_run(o, t.ids, &view, &loss, &e);
        if (status == RS_OK) status = rs_objective_gather(o, &e);
        done = status == RS_OK;
        CHECKF(done || (status == RS_E_INTERNAL && strcmp(e.text, "the device failed: rs_k_test: unspecified launch failure") == 0), "after %zu calls: status %d, %s", calls, (int)status, e.text);
        rs_objective_free(o);
        close_setup(&t);
    }
    CHECKF(done && calls > 5, "%zu calls", calls); // each load of the two passes, the losses, both ends
}

// ---- steps

// A step of an order that is no multiple of anything: near the plain C table's, the same bits again; and one that a device fails in.
static void steps(void)
{
    enum { N = 45 };
    const size_t bytes = N * N * sizeof(float);
    const rs_kernels *const tables[] = {rs_kernels_reference(), restore(), &table};
    static float R[N * N], E[N * N], got[3][N * N];
    static double wide[N * N];
    rs_cayley_info info[3];
    rs_error e = {0};
    tiny_rotation(N, 3, wide);
    for (size_t i = 0; i < N * N; i++) R[i] = (float)wide[i], E[i] = (float)((double)(i * 37 % 101) / 50 - 1);
    for (int i = 0; i < 4; i++) {
        const rs_kernels *k = i < 3 ? tables[i] : restore();
        const rs_memory *m = rs_memory_of(k);
        float *r = m->alloc(bytes), *slope = m->alloc(bytes);
        void *work = m->alloc(rs_cayley_series_work(N));
        if (!CHECK(r != NULL && slope != NULL && work != NULL)) return;
        m->put(r, R, bytes);
        m->put(slope, E, bytes);
        if (i == 3) memory.settle = failing_settle, left = 0;
        const rs_status status = rs_cayley_series(k, N, r, slope, 0.03, true, work, i < 3 ? &info[i] : NULL, &e);
        if (i < 3) m->get(got[i], r, bytes);
        CHECKF(i < 3 ? status == RS_OK : status == RS_E_INTERNAL && strcmp(e.text, "the device failed: rs_k_test: unspecified launch failure") == 0, "%s", e.text);
        m->release(r), m->release(slope), m->release(work);
    }
    const double off = distance(N * N, got[1], got[0]);
    CHECKF(off <= 1e-6 && distance(N * N, R, got[0]) > 1e-2 && memcmp(got[1], got[2], bytes) == 0, "a step is off by %.3g", off);
    CHECK(fabs(info[1].step - info[0].step) <= 1e-9 * info[0].step && fabs(info[1].tangent - info[0].tangent) <= 1e-9 * info[0].tangent && fabs(info[1].norm - info[0].norm) <= 1e-9 * info[0].norm);
}

// ---- rs_learn

static void learns(rs_learn_mode mode, bool adam, uint64_t stop_at)
{
    rs_learn_options o = learner_options(mode, adam);
    learner here = {0}, there = {.k = restore()}, stopped = {.k = &table, .stop_at = stop_at}, on = {.k = &table};
    rs_error e = {0};
    const char *what = "";
    o.S = 8;
    o.steps = o.eval_every = 2;
    if (CHECKF(learner_open(&here, model, start, &o, &e) == RS_OK && rs_learn_run(here.learn, &e) == RS_OK && learner_open(&there, model, start, &o, &e) == RS_OK && rs_learn_run(there.learn, &e) == RS_OK, "mode %d: %s", (int)mode, e.text)) {
        CHECK(strcmp(rs_learn_device(here.learn), "cpu") == 0 && strcmp(rs_learn_device(there.learn), "cuda") == 0 && there.steps == 2 && there.looks == 2);
        for (size_t i = 0; i < 2; i++) // then what rounds otherwise comes to show
            CHECKF(fabs(there.loss[i] - here.loss[i]) <= 1e-4 * here.loss[i], "mode %d: loss %.6f before step %zu, not %.6f", (int)mode, there.loss[i], i + 1, here.loss[i]);
        CHECKF(here.look[1] < 0.8 * here.look[0] && there.look[1] < 0.8 * there.look[0], "mode %d: %.6f to %.6f on the device, %.6f to %.6f here", (int)mode, there.look[0], there.look[1], here.look[0], here.look[1]);
    }
    // stopped, saved, and on to the same bits, as the same learner or as another
    if (CHECKF(learner_open(&stopped, model, start, &o, &e) == RS_OK && rs_learn_run(stopped.learn, &e) == RS_NO, "mode %d: %s", (int)mode, e.text)) {
        CHECKF(learner_save(&stopped, checkpoint, &e) == RS_OK && learner_open(&on, model, start, &o, &e) == RS_OK && learner_resume(&on, checkpoint, &e) == RS_OK, "mode %d: %s", (int)mode, e.text);
        learner *goes = mode == RS_LEARN_DENSE ? &stopped : &on;
        CHECKF(rs_learn_run(goes->learn, &e) == RS_OK && learner_same(goes, &there, &what), "mode %d: %s %s", (int)mode, what, e.text);
        // but not on another device
        CHECK(learner_resume(&here, checkpoint, &e) == RS_USAGE && strcmp(e.text, "the checkpoint was made with another device") == 0);
        e = (rs_error){0};
        CHECK(learner_save(&here, checkpoint, &e) == RS_OK && learner_resume(&on, checkpoint, &e) == RS_USAGE && strcmp(e.text, "the checkpoint was made with another device") == 0);
    }
    learner_close(&here);
    learner_close(&there);
    learner_close(&stopped);
    learner_close(&on);
}

// What the kernels take for themselves at their first product.
static void warm(void)
{
    const rs_memory *m = rs_kernels_cuda()->memory;
    float *x = m->alloc(3 * sizeof *x);
    if (!CHECK(x != NULL)) return;
    m->zero(x, 3 * sizeof *x);
    rs_kernels_cuda()->gemm_nt(1, 1, 1, x, 1, x + 1, 1, 0, x + 2, 1);
    m->release(x);
}

// --short: little of it.
int main(int argc, char **argv)
{
    const bool brief = argc > 1 && strcmp(argv[1], "--short") == 0;
    if (!CHECK(rs_kernels_cuda() != NULL)) return check_report();
    tiny_path(model, sizeof model, "learn.rsq");
    tiny_path(checkpoint, sizeof checkpoint, "learn.ckpt");
    tiny_path(start, sizeof start, "start.rsq");
    rs_threads_set(1);
    warm();
    networks(brief);
    if (!brief && rs_trial_emulated()) {
        rooms(16, 0);
        rooms(4, 1);
        nothing_left();
    }
    if (!brief) {
        wrong();
        fails();
    }
    steps();
    if (!brief && CHECK(learner_model(model, NULL) && learner_identity(start))) {
        learns(RS_LEARN_GLOBAL, true, 17);  // in the first step's first sequence
        learns(RS_LEARN_DENSE, false, 43);  // in the second step's second
        learns(RS_LEARN_CHAIN, false, 35);
    }
    return check_report();
}
