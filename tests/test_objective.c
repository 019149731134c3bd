// SPDX-License-Identifier: Apache-2.0
// The objective of learning on tiny models: its loss against plain logits, the divergence from itself, slopes that depend neither on memory nor on threads, and what is refused. That the slopes are the
// derivatives is what tests/test_decoder_grad.c (one layer) and tests/oracle/learn.py (the whole network) show.
#include "transforms/objective.h"

#include "kernels/threads.h"
#include "tests/objectives.h"

static char model[128], other[128];

// ---- loss

static void loss_is(const tiny_spec *s, size_t S, const rs_kernels *k)
{
    struct setup t;
    rs_objective_loss loss = {0}, plain, divergence;
    if (!CHECK(tiny_model(model, s)) || !open_setup(&t, s, model, k)) return;
    float *logits = tiny_logits(model, S, t.ids);
    double want = 0;
    for (size_t i = 0; i + 1 < S && CHECK(logits != NULL); i++) {
        const float *x = logits + i * s->V;
        double sum = 0;
        for (size_t v = 0; v < s->V; v++) sum += exp((double)x[v] - x[t.ids[i + 1]]);
        want += log(sum) / (double)(S - 1);
    }
    rs_objective_options o = options(S, 16, 1, 0);
    if (run_once(&t, &o, 1, &loss)) {
        CHECKF(fabs(loss.nll / want - 1) < 1e-6 && loss.total == loss.nll && loss.kl == 0, "%s: S %zu: loss %.9g, nll %.9g, want %.9g; kl %g", rs_network_kernels(t.n)->name, S, loss.total, loss.nll, want, loss.kl);
        CHECK(zeros(t.count, t.slopes)); // nothing is quantised
    }
    // without derivatives the loss is another operation's
    rs_objective *objective = NULL;
    rs_error e = {0};
    const rs_objective_view view = view_of(&t, false, 1);
    CHECK(rs_objective_new(&objective, t.n, &o, &e) == RS_OK && rs_objective_run(objective, t.ids, &view, &plain, &e) == RS_OK && fabs(plain.nll / loss.nll - 1) < 1e-7);
    rs_objective_free(objective);
    // a network is nowhere apart from itself
    o = options(S, 16, 0.5, 2);
    if (run_once(&t, &o, 1, &divergence))
        CHECKF(divergence.kl == 0 && divergence.nll == loss.nll && divergence.total == 0.5 * loss.nll && zeros(t.count, t.slopes), "kl %g, nll %.9g, total %.9g", divergence.kl, divergence.nll, divergence.total);
    // and quantised to 3 bits it is, from the full-precision one
    o = options(S, 3, 0.5, 2);
    if (run_once(&t, &o, 1, &divergence))
        CHECKF(divergence.kl > 1e-3 && divergence.nll != loss.nll && fabs(divergence.total - 0.5 * divergence.nll - 2 * divergence.kl) < 1e-12, "at 3 bits: kl %g, nll %.9g, total %.9g", divergence.kl,
               divergence.nll, divergence.total);
    free(logits);
    close_setup(&t);
}

static void losses(void)
{
    for (int i = 0; i < 2; i++) {
        const rs_kernels *k = i == 0 ? rs_kernels_reference() : rs_kernels_cpu();
        tiny_spec s = tiny_default();
        loss_is(&s, 2, k);
        loss_is(&s, 140, k); // more predictions than one block of logits
        s.tied = false;
        s.biases = true;
        s.dtype = RS_BF16; // the LM head is decoded
        loss_is(&s, 20, k);
    }
}

// ---- slopes

static uint64_t weights_of_layer(const tiny_spec *s) { return s->d * s->h * (2 * s->n_q + 2 * s->n_kv) + 3 * s->d * s->f; }

// Whatever the memory and the threads: the same bits.
static void memory(unsigned w_bits)
{
    struct setup t;
    tiny_spec s = tiny_default();
    s.L = 4;
    if (!CHECK(tiny_model(model, &s)) || !open_setup(&t, &s, model, NULL)) return;
    rs_objective_options with = options(12, 4, 1, 0.5);
    with.params = 1000;
    with.bits.w = (rs_quantizer){.bits = w_bits, .clip = 1};
    with.mem = UINT64_C(1) << 30;
    rs_objective *o = NULL;
    rs_error e = {0};
    rs_objective_loss first = {0}, loss;
    float *want = floats(t.count);
    const uint64_t kept = rs_decoder_learn_kept(rs_network_shape(t.n), with.S) * sizeof(float);
    if (!CHECK(rs_objective_new(&o, t.n, &with, &e) == RS_OK)) return;
    const rs_objective_memory all = *rs_objective_needs(o);
    CHECKF(all.kept == 4 && all.params == 1000 && all.total == all.weights + all.params + all.activations, "%d layers kept", (int)all.kept);
    CHECKF(all.weights == (weights_of_layer(&s) + s.V * s.d) * sizeof(float), "weights take %d bytes", (int)all.weights);
    if (run(&t, o, 1, &first)) memcpy(want, t.slopes, t.count * sizeof *want);
    rs_objective_free(o);
    CHECK(!zeros(t.count, want));
    const uint64_t least = all.total - 3 * kept;
    for (uint64_t more = 0; more < 4; more++)
        for (int threads = 1; threads <= 3; threads += 2) {
            rs_threads_set(threads);
            with.mem = least + more * kept;
            if (!CHECKF(rs_objective_new(&o, t.n, &with, &e) == RS_OK, "%s", e.text)) continue;
            const rs_objective_memory *needs = rs_objective_needs(o);
            CHECKF(needs->kept == more + 1 && needs->total == with.mem, "%d layers kept, %d more than the least; %llu of %llu bytes", (int)needs->kept, (int)more, (unsigned long long)needs->total,
                   (unsigned long long)with.mem);
            for (int again = 0; again < 2; again++) // one objective serves many runs
                if (run(&t, o, 1, &loss))
                    CHECKF(memcmp(t.slopes, want, t.count * sizeof *want) == 0 && loss.total == first.total && loss.kl == first.kl, "slopes or loss differ with %d layers kept and %d threads", (int)needs->kept, threads);
            rs_objective_free(o);
        }
    rs_threads_set(1);
    // less than the least: the message names what is enough
    with.mem = least - 1;
    CHECK(rs_objective_new(&o, t.n, &with, &e) == RS_USAGE && o == NULL);
    unsigned long long is = 0, enough = 0;
    CHECKF(sscanf(e.text, "--mem: %llu MiB are not enough, %llu MiB are the least", &is, &enough) == 2 && enough << 20 >= least && (enough - 1) << 20 <= least, "%s", e.text);
    with.mem = (uint64_t)enough << 20;
    e = (rs_error){0};
    CHECKF(rs_objective_new(&o, t.n, &with, &e) == RS_OK, "%s", e.text);
    rs_objective_free(o);
    free(want);
    close_setup(&t);
}

// They are those of a weighted sum, scaled, and added up; and a matrix in many places gets the sum of theirs.
static void sums(void)
{
    struct setup t;
    tiny_spec s = tiny_default();
    rs_objective_loss loss;
    if (!CHECK(tiny_model(model, &s)) || !open_setup(&t, &s, model, NULL)) return;
    const size_t n = t.count, dd = s.d * s.d, bases = 2 * s.L;
    float *sum = floats(n);
    rs_objective_options with = options(10, 4, 1, 0);
    if (run_once(&t, &with, 1, &loss)) memcpy(sum, t.slopes, n * sizeof *sum);
    with = options(10, 4, 0, 1);
    if (run_once(&t, &with, 1, &loss))
        for (size_t i = 0; i < n; i++) sum[i] = 0.25f * sum[i] + 0.5f * t.slopes[i];
    with = options(10, 4, 0.5, 1);
    if (run_once(&t, &with, 0.5, &loss)) CHECKF(distance(n, t.slopes, sum) < 1e-6, "slopes of a weighted sum are off by %.3g", distance(n, t.slopes, sum));
    rs_objective *o = NULL;
    rs_error e = {0};
    const rs_objective_view view = view_of(&t, true, 0.5);
    for (size_t i = 0; i < n; i++) sum[i] = 2 * t.slopes[i];
    CHECK(rs_objective_new(&o, t.n, &with, &e) == RS_OK && rs_objective_run(o, t.ids, &view, &loss, &e) == RS_OK);
    CHECKF(distance(n, t.slopes, sum) < 1e-6, "slopes of two runs add up to something else by %.3g", distance(n, t.slopes, sum));
    // one basis and one slope for all places
    for (size_t j = 1; j < bases; j++) memcpy(t.values + j * dd, t.values, dd * sizeof *sum);
    if (run(&t, o, 1, &loss)) {
        memcpy(sum, t.slopes, dd * sizeof *sum);
        for (size_t j = 1; j < bases; j++)
            for (size_t i = 0; i < dd; i++) sum[i] += t.slopes[j * dd + i];
        for (size_t j = 1; j < bases; j++) {
            t.basis[j] = t.basis[0];
            t.slope[j] = t.slope[0];
        }
        if (run(&t, o, 1, &loss)) CHECKF(distance(dd, t.slopes, sum) < 1e-6 && zeros(dd, t.slopes + dd), "slopes of a shared basis are off by %.3g", distance(dd, t.slopes, sum));
    }
    // once through the weights for the network, once for the full-precision one; and as much again for derivatives, at least
    const double once = 2.0 * 10 * (double)(s.L * weights_of_layer(&s) + s.V * s.d);
    CHECKF(rs_objective_flops(o, false) > 2 * once && rs_objective_flops(o, false) < 3 * once && rs_objective_flops(o, true) > rs_objective_flops(o, false) + once, "%.4g and %.4g operations, %.4g in the weights",
           rs_objective_flops(o, false), rs_objective_flops(o, true), once);
    rs_objective_free(o);
    free(sum);
    close_setup(&t);
}

// ---- what is refused, and what stops

static void refused(void)
{
    struct setup t;
    tiny_spec s = tiny_default();
    rs_error e = {0};
    rs_objective *o = NULL;
    rs_objective_loss loss;
    const rs_objective_options with = options(8, 4, 1, 0);
    // ids outside the vocabulary
    if (!CHECK(tiny_model(model, &s)) || !open_setup(&t, &s, model, NULL)) return;
    const rs_objective_view view = view_of(&t, true, 1);
    CHECK(rs_objective_new(&o, t.n, &with, &e) == RS_OK);
    static const int32_t bad[] = {-1, 50, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++) {
        const int32_t was = t.ids[7];
        t.ids[7] = bad[i];
        e = (rs_error){0};
        CHECKF(rs_objective_run(o, t.ids, &view, &loss, &e) == RS_E_VALUE && strstr(e.text, "token 7") != NULL && strstr(e.text, "vocabulary of 50") != NULL, "id %d: %s", (int)bad[i], e.text);
        t.ids[7] = was;
    }
    rs_objective_free(o);
    close_setup(&t);
    // a rotated model
    e = (rs_error){0};
    if (CHECKF(tiny_fuse(model, NULL, other, (rs_fuse_options){.rotate = true, .online = true, .seed = 3}, &e) == RS_OK, "%s", e.text) && open_setup(&t, &s, other, NULL)) {
        CHECKF(rs_objective_new(&o, t.n, &with, &e) == RS_USAGE && o == NULL && strstr(e.text, "rotated already") != NULL, "%s", e.text);
        close_setup(&t);
    }
}

// A NaN is met by the first quantiser behind it, or else by the loss.
static void not_finite(void)
{
    static const struct {
        const char *tensor, *says;
        unsigned bits;
    } cases[] = {
        {"model.layers.0.self_attn.q_proj.weight", "layer 0: ", 4},  {"model.layers.1.self_attn.v_proj.weight", "layer 1: ", 4}, {"model.layers.1.mlp.up_proj.weight", "layer 1: ", 4},
        {"model.layers.1.mlp.down_proj.weight", "layer 2: ", 4},     {"model.layers.2.mlp.down_proj.weight", "behind layer 2: ", 4}, {"model.layers.1.self_attn.v_proj.weight", "behind layer 2: ", 16},
        {"model.norm.weight", "behind layer 2: ", 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int kl = 0; kl < 2; kl++) {
            struct setup t;
            tiny_spec s = tiny_default();
            s.nan_in = cases[i].tensor;
            rs_error e = {0};
            rs_objective *o = NULL;
            rs_objective_loss loss;
            const rs_objective_options with = options(8, cases[i].bits, 1, kl);
            if (!CHECK(tiny_model(model, &s)) || !open_setup(&t, &s, model, NULL)) return;
            const rs_objective_view view = view_of(&t, true, 1);
            CHECK(rs_objective_new(&o, t.n, &with, &e) == RS_OK);
            const rs_status status = rs_objective_run(o, t.ids, &view, &loss, &e);
            CHECKF(status == RS_E_VALUE && strncmp(e.text, cases[i].says, strlen(cases[i].says)) == 0, "NaN in %s at %u bits: status %d, %s", cases[i].tensor, cases[i].bits, (int)status, e.text);
            rs_objective_free(o);
            close_setup(&t);
        }
}

struct count {
    int calls, last;
};

static bool at_last(void *context)
{
    struct count *c = context;
    return ++c->calls >= c->last;
}

static void stops(void)
{
    struct setup t;
    tiny_spec s = tiny_default();
    rs_objective_loss loss = {0}, first = {0};
    struct count c = {0, 1 << 20};
    rs_error e = {0};
    rs_objective *o = NULL;
    if (!CHECK(tiny_model(model, &s)) || !open_setup(&t, &s, model, NULL)) return;
    rs_objective_options with = options(8, 4, 1, 0);
    with.mem = UINT64_C(1) << 30;
    with.stop = at_last;
    with.context = &c;
    float *want = floats(t.count);
    if (CHECK(rs_objective_new(&o, t.n, &with, &e) == RS_OK) && run(&t, o, 1, &first)) {
        memcpy(want, t.slopes, t.count * sizeof *want);
        CHECKF(c.calls == 6, "asked %d times in 3 layers forward and 3 backward", c.calls);
        const rs_objective_view view = view_of(&t, true, 1);
        for (c.last = 1; c.last <= 6; c.last++) {
            c.calls = 0;
            CHECKF(rs_objective_run(o, t.ids, &view, &loss, &e) == RS_NO && c.calls == c.last, "stopped at %d after %d", c.last, c.calls);
        }
        c = (struct count){0, 1 << 20}; // and then it goes on as if nothing had been
        if (run(&t, o, 1, &loss)) CHECK(memcmp(t.slopes, want, t.count * sizeof *want) == 0 && loss.total == first.total);
    }
    rs_objective_free(o);
    free(want);
    close_setup(&t);
}

int main(void)
{
    tiny_path(model, sizeof model, "objective.rsq");
    tiny_path(other, sizeof other, "objective-other.rsq");
    losses();
    memory(16);
    memory(4);
    sums();
    refused();
    not_finite();
    stops();
    return check_report();
}
