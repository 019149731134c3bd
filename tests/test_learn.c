// SPDX-License-Identifier: Apache-2.0
// Learning: the loss falls in every mode, is that of the fused network, the best set is kept, whatever the threads and the memory; when it ends, what it says, what it refuses.
#include "transforms/learn.h"

#include <math.h>
#include <unistd.h>

#include "tests/learner.h"
#include "tests/stages.h"
#include "transforms/search.h"

static char model[128], identity[128], set[128], other[128], fused[128], packed[128];
static const char *const modes[] = {"global", "dense", "chain"};

static double mean(size_t n, const double *x)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] / (double)n;
    return sum;
}

// Learns on all sequences of the text and writes the last set.
static bool learn_set(rs_learn_mode mode, const char *to)
{
    rs_learn_options o = learner_options(mode, false);
    o.steps = 40;
    o.batch = LEARNER_SEQUENCES;
    o.sequences = o.holdout = 0;
    learner t = {0};
    rs_error e = {0};
    double error;
    bool ok = learner_open(&t, model, identity, &o, &e) == RS_OK && rs_learn_run(t.learn, &e) == RS_OK && learner_write(&t, to, &error, &e) == RS_OK;
    learner_close(&t);
    return CHECKF(ok, "%s", e.text);
}

// Adds the mean loss of the last ten of sixty steps on the same two sequences, from where the large channel hurts the most, to *last, and that of the first to *first. sign -1: uphill.
static void slide(rs_learn_mode mode, bool adam, double sign, uint64_t seed, double *first, double *last)
{
    rs_learn_options o = learner_options(mode, adam);
    learner t = {0};
    rs_error e = {0};
    o.seed = seed;
    o.rates = (rs_learned_rates){sign * o.rates.bases, sign * o.rates.heads, sign * o.rates.chain};
    o.steps = 60;
    o.sequences = 2;
    o.holdout = 0;
    if (CHECKF(learner_open(&t, model, identity, &o, &e) == RS_OK && rs_learn_run(t.learn, &e) == RS_OK, "%s", e.text)) {
        const rs_objective_view *v = rs_learned_view(rs_learn_set(t.learn), false, 1);
        const rs_config *c = rs_network_config(t.network);
        size_t same = 0, dd = (size_t)(c->d * c->d);
        for (size_t j = 1; j < 2 * c->L; j++) same += memcmp(v->basis[0], v->basis[j], dd * sizeof(float)) == 0;
        CHECK(same == (mode == RS_LEARN_GLOBAL ? 2 * c->L - 1 : 0));
        CHECK(t.steps == 60 && t.looks == 0 && rs_learn_progress(t.learn)->best_step == 60); // without held-out sequences the last set is the best
        *first += t.loss[0];
        *last += mean(10, t.loss + 50);
    }
    learner_close(&t);
}

// Downhill the loss falls, and stays far below what the same steps uphill make of it.
static void falls(void)
{
    for (int k = 0; k < 6; k++) {
        double first = 0, down = 0, up = 0;
        for (uint64_t seed = 1; seed < 4; seed++) {
            slide((rs_learn_mode)(k / 2), k % 2 == 1, 1, seed, &first, &down);
            slide((rs_learn_mode)(k / 2), k % 2 == 1, -1, seed, &(double){0}, &up);
        }
        CHECKF(down < 0.7 * first && down < 0.7 * up, "%s, %s: loss %.4f at first, %.4f at last, %.4f uphill", modes[k / 2], k % 2 ? "adam" : "sgd", first, down, up);
    }
}

// The angles of junction j are those of T = R_j^T R_(j+1): each in a pair, falling, and the sum of their cosines is the trace of T; a chain of rank 4 has two planes.
static void turned(rs_rotation *r, const rs_stat_head *h, const uint8_t *payload, bool chain, size_t j)
{
    const size_t d = (size_t)rs_rotation_d(r);
    const float *theta = (const float *)(const void *)payload;
    const double *R;
    char name[40];
    double trace = 0, sum = 0, *before = malloc(d * d * sizeof *before);
    rs_error e = {0};
    snprintf(name, sizeof name, "junction.%zu", j);
    if (!CHECKF(strcmp(h->name, name) == 0 && h->n_parts == 1 && h->parts[0].shape[0] == d, "%s is not %s", h->name, name)) return;
    CHECK(rs_rotation_basis(r, j, &R, &e) == RS_OK);
    memcpy(before, R, d * d * sizeof *before);
    CHECK(rs_rotation_basis(r, j + 1, &R, &e) == RS_OK);
    for (size_t i = 0; i < d * d; i++) trace += before[i] * R[i];
    for (size_t i = 0; i < d; i++) {
        sum += cos((double)theta[i]);
        CHECK((i == 0 || theta[i] <= theta[i - 1]) && fabsf(theta[i] - theta[i ^ 1]) < 1e-6f);
    }
    CHECKF(fabs(sum - trace) < 2e-6, "%s: cosines sum to %.9g, the trace is %.9g", name, sum, trace);
    if (chain) CHECK(theta[4] == 0 && (theta[0] > 0) == (j + 1 < 2 * rs_rotation_layers(r)));
    free(before);
}

// What is written: orthogonal, said so in statistics, and in a chain the product of the junctions is the basis that was learned.
static void written(void)
{
    for (int k = 0; k < 3; k++) {
        const rs_learn_options o = learner_options((rs_learn_mode)k, false);
        learner t = {0};
        rs_error e = {0};
        rs_mapped *m = NULL;
        rs_rotation *r = NULL;
        double error = 1, worst = 0, off = 0;
        bool ok = learner_open(&t, model, NULL, &o, &e) == RS_OK && rs_learn_run(t.learn, &e) == RS_OK && learner_write(&t, set, &error, &e) == RS_OK && rs_mapped_open(&m, set, &e) == RS_OK &&
                  rs_rotation_from_file(&r, m, &e) == RS_OK;
        if (CHECKF(ok, "%s", e.text)) {
            const rs_config *c = rs_network_config(t.network);
            const rs_objective_view *v = rs_learned_view(rs_learn_set(t.learn), false, 1);
            const double *R;
            for (size_t j = 0; j < 2 * c->L && CHECK(rs_rotation_basis(r, j, &R, &e) == RS_OK); j++)
                for (size_t i = 0; i < c->d * c->d; i++) worst = fmax(worst, fabs(R[i] - (double)v->basis[j][i]));
            CHECKF(worst < 2e-6, "%s: a basis as written differs by %.3g", modes[k], worst);
            CHECK(error < 1e-6 && rs_rotation_is_global(r) == (k == 0) && rs_rotation_is_chain(r) == (k == 2));
            size_t angles = 0;
            for (size_t i = 0; i < rs_mapped_stats(m); i++) {
                const uint8_t *payload;
                const rs_stat_head *h = rs_mapped_stat(m, i, &payload);
                if (strcmp(h->of, "angles") == 0) turned(r, h, payload, k == 2, angles++);
                else off = fmax(off, rs_map_f64(h->values, "orthogonality", 1));
            }
            CHECKF(angles == (k > 0 ? 2 * c->L : 0) && rs_mapped_stats(m) - angles == c->L + (k == 1 ? 2 * c->L : 1) && off == error, "%s: %d statistics, %d of angles, the largest %.3g of %.3g", modes[k],
                   (int)rs_mapped_stats(m), (int)angles, off, error);
        }
        rs_rotation_free(r);
        rs_mapped_close(m);
        learner_close(&t);
    }
}

// Copies in -> out with activations and K, V to be rounded to 4 bits.
static rs_status four_bits(const char *in, const char *out, rs_error *e)
{
    rs_pack_options o = stages_pack_default();
    o.scheme.w_bits = 16;
    o.scheme.rest_keep = true;
    o.a.bits = 4;
    o.kv.bits = 8;
    return stages_pack(in, out, &o, e);
}

static double cross_entropy(const char *path, const int32_t *ids, rs_error *e)
{
    rs_mapped *m = NULL;
    rs_network *n = NULL;
    float *logits = NULL;
    double sum = NAN;
    if (stages_network(path, NULL, &m, &n, e) == RS_OK && (logits = stages_logits(n, LEARNER_S, ids, e)) != NULL) {
        const size_t V = rs_network_config(n)->V;
        sum = 0;
        for (size_t s = 0; s + 1 < LEARNER_S; s++) {
            double all = 0;
            for (size_t v = 0; v < V; v++) all += exp((double)logits[s * V + v]);
            sum += (log(all) - (double)logits[s * V + (size_t)ids[s + 1]]) / (LEARNER_S - 1);
        }
    }
    free(logits);
    rs_network_close(n);
    rs_mapped_close(m);
    return sum;
}

// A value that rounding puts on the other side of a boundary between two codes changes all codes behind it, so some texts may differ as a whole (tests/oracle/learn.py); the others agree to rounding.
static void fused_loss(void)
{
    enum { TEXTS = 6 };
    for (int k = 0; k < 3; k++) {
        rs_learn_options o = learner_options((rs_learn_mode)k, false);
        rs_error e = {0};
        int agree = 0, rounded = 0;
        double off[TEXTS];
        o.ce = 1, o.kl = 0, o.holdout = 0;
        if (!learn_set(o.mode, set)) return;
        if (!CHECKF(tiny_fuse(model, set, fused, (rs_fuse_options){.rotate = true, .online = true}, &e) == RS_OK && four_bits(fused, packed, &e) == RS_OK, "%s", e.text)) return;
        for (uint64_t text = 0; text < TEXTS; text++) {
            learner t = {0};
            rs_objective_loss loss = {0};
            bool ok = learner_open_text(&t, model, set, &o, text, 1, &e) == RS_OK && rs_learn_look(t.learn, &loss, &e) == RS_OK;
            const double want = ok ? cross_entropy(packed, t.ids, &e) : NAN, plain = ok ? cross_entropy(fused, t.ids, &e) : NAN;
            CHECKF(ok, "%s: %s", modes[k], e.text);
            rounded += fabs(loss.total / plain - 1) > 1e-3;
            off[text] = fabs(loss.total / want - 1);
            agree += off[text] < 1e-5;
            learner_close(&t);
        }
        CHECK(rounded >= 4); // it is not the loss without rounding
        CHECKF(agree >= 4, "%s: only %d of %d agree: %.1e %.1e %.1e %.1e %.1e %.1e", modes[k], agree, TEXTS, off[0], off[1], off[2], off[3], off[4], off[5]);
    }
}

// From a learned set every rate far too large leads away: the start is what is kept and written; patience ends it.
static void best_is_kept(void)
{
    double error;
    if (!learn_set(RS_LEARN_DENSE, set)) return;
    for (int patience = 0; patience < 2; patience++) {
        rs_learn_options o = learner_options(RS_LEARN_DENSE, false);
        learner t = {0};
        rs_error e = {0};
        o.rates = (rs_learned_rates){1e3, 1e3, 1};
        o.decay = RS_DECAY_NONE;
        o.eval_every = 2;
        o.patience = patience ? 3 : 0;
        if (CHECKF(learner_open(&t, model, set, &o, &e) == RS_OK && rs_learn_run(t.learn, &e) == RS_OK && learner_write(&t, other, &error, &e) == RS_OK, "%s", e.text)) {
            const rs_learn_state *at = rs_learn_progress(t.learn);
            CHECK(at->best_step == 0 && at->best == t.look[0] && at->step == (patience ? 6 : 12) && t.looks == (patience ? 4 : 7) && t.patience == (size_t)patience);
            for (size_t i = 1; i < t.looks; i++) CHECK(t.look[i] > t.look[0]);
            rs_objective_loss loss = {0};
            CHECK(rs_learn_look(t.learn, &loss, &e) == RS_OK && loss.total == t.look[0]); // the current set is the best one again
            const rs_objective_view *v = rs_learned_view(rs_learn_set(t.learn), false, 1);
            const double *R;
            size_t differ = 0;
            for (size_t j = 0; j < 6 && CHECK(rs_rotation_basis(t.from, j, &R, &e) == RS_OK); j++)
                for (size_t i = 0; i < 32 * 32; i++) differ += (float)R[i] != v->basis[j][i];
            CHECK(differ == 0);
        }
        learner_close(&t);
    }
}

// Uphill: said once.
static void rising_is_told(void)
{
    rs_learn_options o = learner_options(RS_LEARN_DENSE, false);
    learner t = {0};
    rs_error e = {0};
    o.rates = (rs_learned_rates){-0.5, -0.5, 0};
    o.decay = RS_DECAY_NONE;
    o.steps = 120;
    o.holdout = 0;
    if (CHECKF(learner_open(&t, model, set, &o, &e) == RS_OK && rs_learn_run(t.learn, &e) == RS_OK, "%s", e.text)) CHECKF(t.rising == 1, "told %d times; loss %.3f at first, %.3f at last", (int)t.rising, t.loss[0], t.loss[119]);
    learner_close(&t);
    o = learner_options(RS_LEARN_DENSE, false); // and downhill not at all
    o.steps = 60;
    o.sequences = 2;
    if (CHECKF(learner_open(&t, model, set, &o, &e) == RS_OK && rs_learn_run(t.learn, &e) == RS_OK, "%s", e.text)) CHECK(t.rising == 0);
    learner_close(&t);
}

// One thread or three, everything kept or all but one layer computed twice, halves of the text in either order: the same state bit for bit.
static void same_state(void)
{
    for (int k = 0; k < 6; k++) {
        rs_learn_options o = learner_options((rs_learn_mode)(k / 2), k % 2 == 1);
        learner a = {0}, b = {0};
        rs_error e = {0};
        const char *what = "";
        o.mem = UINT64_C(1) << 30;
        rs_threads_set(1);
        bool ok = learner_open(&a, model, NULL, &o, &e) == RS_OK && rs_learn_run(a.learn, &e) == RS_OK;
        const rs_objective_memory most = *rs_learn_needs(a.learn);
        rs_threads_set(3);
        o.mem = 1;
        CHECK(learner_open(&b, model, NULL, &o, &e) == RS_USAGE && strstr(e.text, "--mem") != NULL);
        learner_close(&b);
        e = (rs_error){0};
        const uint64_t slot = most.activations / 8;
        for (o.mem = slot; ok && learner_open(&b, model, NULL, &o, NULL) != RS_OK; o.mem += slot) learner_close(&b); // the least that it takes, or a little more
        const rs_objective_memory *least = rs_learn_needs(b.learn);
        CHECKF(ok && most.kept == 3 && least->kept < 3 && least->total <= o.mem && rs_learn_run(b.learn, &e) == RS_OK, "%s", e.text);
        CHECKF(learner_same(&a, &b, &what), "%s, %s: %s differs", modes[k / 2], k % 2 ? "adam" : "sgd", what);
        learner_close(&a);
        learner_close(&b);
    }
    rs_threads_set(1); // programs run side by side
}

// From a set that was written learning goes on at the same function; what cannot start where.
static void starts(void)
{
    static const struct {
        rs_learn_mode from, to;
        const char *refused;
    } pairs[] = {{RS_LEARN_GLOBAL, RS_LEARN_GLOBAL, NULL}, {RS_LEARN_GLOBAL, RS_LEARN_DENSE, NULL}, {RS_LEARN_GLOBAL, RS_LEARN_CHAIN, NULL},  {RS_LEARN_DENSE, RS_LEARN_DENSE, NULL},
                 {RS_LEARN_CHAIN, RS_LEARN_CHAIN, NULL},   {RS_LEARN_CHAIN, RS_LEARN_DENSE, NULL},  {RS_LEARN_CHAIN, RS_LEARN_GLOBAL, "cannot start at a layer-wise set"},
                 {RS_LEARN_DENSE, RS_LEARN_GLOBAL, "cannot start at a layer-wise set"}, {RS_LEARN_DENSE, RS_LEARN_CHAIN, "cannot start at dense junctions"}};
    for (size_t k = 0; k < sizeof pairs / sizeof pairs[0]; k++) {
        int agree = 0;
        for (uint64_t text = 0; text < 6; text++) { // as in fused_loss, some may fall on the other side of a boundary
            rs_learn_options o = learner_options(pairs[k].from, false);
            learner a = {0}, b = {0};
            rs_error e = {0};
            double error;
            o.ce = 1, o.kl = 0, o.holdout = 1, o.steps = 4;
            rs_objective_loss x = {0}, y = {0};
            bool ok = learner_open_text(&a, model, NULL, &o, text, LEARNER_SEQUENCES, &e) == RS_OK && rs_learn_run(a.learn, &e) == RS_OK && learner_write(&a, set, &error, &e) == RS_OK &&
                      rs_learn_look(a.learn, &x, &e) == RS_OK;
            CHECKF(ok, "%s", e.text);
            o.mode = pairs[k].to;
            const rs_status s = learner_open_text(&b, model, set, &o, text, LEARNER_SEQUENCES, &e);
            if (pairs[k].refused != NULL) {
                CHECKF(s == RS_USAGE && strstr(e.text, pairs[k].refused) != NULL, "from %s to %s: %s", modes[pairs[k].from], modes[pairs[k].to], e.text);
            } else if (CHECKF(s == RS_OK && rs_learn_look(b.learn, &y, &e) == RS_OK, "%s", e.text)) agree += fabs(y.total / x.total - 1) < 1e-5;
            learner_close(&a);
            learner_close(&b);
        }
        CHECKF(pairs[k].refused != NULL || agree >= 4, "from %s to %s: only %d of 6 agree", modes[pairs[k].from], modes[pairs[k].to], agree);
    }
}

// A NaN among the weights: the step and the layer are named, and the set so far can be written.
static void not_a_number(void)
{
    static const struct {
        const char *in;
        uint64_t holdout;
        const char *text[2];
    } cases[] = {{"model.layers.1.mlp.up_proj.weight", 2, {"held-out sequences after step 0", "layer 1"}}, {"model.layers.1.mlp.up_proj.weight", 0, {"step 1", "layer 1"}},
                 {"model.layers.2.mlp.down_proj.weight", 0, {"step 1", "layer 2"}}, {"model.layers.0.self_attn.k_proj.weight", 0, {"step 1", "layer 0"}}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        rs_learn_options o = learner_options(RS_LEARN_CHAIN, false);
        learner t = {0};
        rs_error e = {0}, later = {0};
        double error = 1;
        o.holdout = cases[k].holdout;
        if (!CHECK(learner_model(other, cases[k].in)) || !CHECKF(learner_open(&t, other, NULL, &o, &e) == RS_OK, "%s", e.text)) return;
        CHECKF(rs_learn_run(t.learn, &e) == RS_E_VALUE && strstr(e.text, cases[k].text[0]) == e.text && strstr(e.text, cases[k].text[1]) != NULL, "%s: %s", cases[k].in, e.text);
        CHECKF(learner_write(&t, set, &error, &later) == RS_OK && error < 1e-6, "%s", later.text);
        learner_close(&t);
    }
}

static void refusals(void)
{
    rs_learn_options o = learner_options(RS_LEARN_CHAIN, false);
    learner t = {0};
    rs_error e = {0};
    CHECKF(learner_open_text(&t, model, NULL, &o, 1, 2, &e) == RS_USAGE && strstr(e.text, "32 tokens, fewer than the 48 of one sequence to learn from and 2 to judge by, of 16 each") != NULL, "%s", e.text);
    learner_close(&t);
    e = (rs_error){0};
    o.rank = 5;
    CHECKF(learner_open(&t, model, NULL, &o, &e) == RS_USAGE && strstr(e.text, "even rank in 2..32") != NULL, "%s", e.text);
    learner_close(&t);
    e = (rs_error){0};
    o.rank = 34;
    CHECK(learner_open(&t, model, NULL, &o, &e) == RS_USAGE);
    learner_close(&t);
    o = learner_options(RS_LEARN_DENSE, false);
    e = (rs_error){0};
    CHECKF(tiny_fuse(model, NULL, fused, (rs_fuse_options){.rotate = true, .online = true, .seed = 1}, &e) == RS_OK, "%s", e.text);
    CHECKF(learner_open(&t, fused, NULL, &o, &e) == RS_USAGE && strstr(e.text, "rotated already") != NULL, "%s", e.text);
    learner_close(&t);
    e = (rs_error){0};
    tiny_spec s = tiny_default();
    s.L = 2;
    CHECK(tiny_rotations(set, &s, TINY_DENSE, 0.5, 0, 1, NULL) && learner_open(&t, model, set, &o, &e) == RS_USAGE && strstr(e.text, "a start for 2 layers") != NULL);
    learner_close(&t);
}

static double seeds[LEARNER_MOST];
static void tried(void *context, const rs_learn_news *n)
{
    seeds[(*(size_t *)context)++] = n->loss.total;
}

// The best of the seeds is kept, and it is the one that rs-fuse makes.
static void searched(void)
{
    enum { SEEDS = 5 };
    rs_learn_options o = learner_options(RS_LEARN_GLOBAL, false);
    learner t = {0};
    rs_error e = {0};
    rs_learn_news best;
    size_t n = 0, least = 0;
    double error;
    rs_mapped *m = NULL;
    rs_rotation *r = NULL, *seeded = NULL;
    o.seed = 11;
    bool ok = learner_open(&t, model, NULL, &o, &e) == RS_OK && rs_search_seeds(t.learn, rs_network_config(t.network), SEEDS, tried, &n, &best, &e) == RS_OK && learner_write(&t, set, &error, &e) == RS_OK;
    ok = ok && rs_mapped_open(&m, set, &e) == RS_OK && rs_rotation_from_file(&r, m, &e) == RS_OK;
    if (CHECKF(ok && n == SEEDS, "%s", e.text)) {
        const double *R, *S;
        for (size_t i = 1; i < SEEDS; i++) least = seeds[i] < seeds[least] ? i : least;
        CHECK(best.best_step == o.seed + least && best.best == seeds[least] && seeds[0] != seeds[1]);
        if (CHECK(rs_rotation_seeded(&seeded, 3, 32, 8, best.best_step, &e) == RS_OK && rs_rotation_basis(r, 0, &R, &e) == RS_OK && rs_rotation_basis(seeded, 0, &S, &e) == RS_OK)) {
            double worst = 0;
            for (size_t i = 0; i < 32 * 32; i++) worst = fmax(worst, fabs(R[i] - S[i]));
            CHECKF(worst < 1e-7, "%.3g", worst);
        }
    }
    rs_rotation_free(seeded);
    rs_rotation_free(r);
    rs_mapped_close(m);
    learner_close(&t);
}

int main(void)
{
    rs_threads_set(1); // programs run side by side
    if (!CHECK(learner_model(tiny_path(model, sizeof model, "model.rsq"), NULL))) return check_report();
    if (!learner_identity(tiny_path(identity, sizeof identity, "identity.rsq"))) return check_report();
    tiny_path(set, sizeof set, "set.rsq");
    tiny_path(other, sizeof other, "other.rsq");
    tiny_path(fused, sizeof fused, "fused.rsq");
    tiny_path(packed, sizeof packed, "packed.rsq");
    falls();
    written();
    fused_loss();
    best_is_kept();
    rising_is_told();
    same_state();
    starts();
    not_a_number();
    refusals();
    searched();
    return check_report();
}
