// SPDX-License-Identifier: Apache-2.0
// Checkpoints: learning that was stopped anywhere goes on to the same state bit for bit; what is not taken for a checkpoint. The log: a line of JSON for each event.
#include "transforms/learn_file.h"

#include <jansson.h>

#include "tests/learner.h"
#include "transforms/learn_log.h"

static char model[128], checkpoint[128], changed[128], other[128], logged[128];
static const char *const modes[] = {"global", "dense", "chain"};

// How often stop is asked: once for each layer of each pass. A look runs two sequences through the network in full precision and as it is, a step back through it too (all layers are kept).
enum { LAYERS = 3, LOOK = 2 * 2 * LAYERS, STEP = 2 * 3 * LAYERS };

// Stops a run when stop is asked for the stop_at-th time (with the state of `steps` whole steps), saves, and goes on in a fresh learner with other threads.
static void stopped_at(const rs_learn_options *o, learner *whole, uint64_t stop_at, uint64_t steps)
{
    learner a = {.stop_at = stop_at}, b = {0};
    rs_error e = {0};
    const char *what = "";
    char name[64];
    snprintf(name, sizeof name, "%s, %s, stopped at %d", modes[o->mode], o->adam ? "adam" : "sgd", (int)stop_at);
    rs_threads_set(1);
    if (CHECKF(learner_open(&a, model, NULL, o, &e) == RS_OK, "%s", e.text)) {
        CHECKF(rs_learn_run(a.learn, &e) == RS_NO && rs_learn_progress(a.learn)->step == steps, "%s: step %d, not %d; %s", name, (int)rs_learn_progress(a.learn)->step, (int)steps, e.text);
        a.stop_at = 0;
        CHECKF(learner_save(&a, checkpoint, &e) == RS_OK, "%s: %s", name, e.text);
        rs_threads_set(3);
        if (CHECKF(learner_open(&b, model, NULL, o, &e) == RS_OK && learner_resume(&b, checkpoint, &e) == RS_OK, "%s: %s", name, e.text)) {
            CHECKF(learner_same(&a, &b, &what), "%s: %s of the checkpoint differs", name, what);
            CHECKF(rs_learn_run(b.learn, &e) == RS_OK && learner_same(whole, &b, &what), "%s: %s differs at the end; %s", name, what, e.text);
            // Saving changes nothing: the stopped learner itself could go on too.
            CHECKF(rs_learn_run(a.learn, &e) == RS_OK && learner_same(whole, &a, &what), "%s: %s differs after saving; %s", name, what, e.text);
        }
        learner_close(&b);
    }
    learner_close(&a);
}

static void resumes(void)
{
    int better = 0;
    for (int k = 0; k < 6; k++) {
        rs_learn_options o = learner_options((rs_learn_mode)(k / 2), k % 2 == 1);
        learner whole = {0};
        rs_error e = {0};
        double error;
        o.steps = 9;
        o.eval_every = 3;
        o.mem = UINT64_C(1) << 30; // all layers kept
        if (CHECKF(learner_open(&whole, model, NULL, &o, &e) == RS_OK && rs_learn_run(whole.learn, &e) == RS_OK, "%s", e.text)) {
            CHECK(whole.asked == 4 * LOOK + 9 * STEP);
            better += rs_learn_progress(whole.learn)->best_step > 0;
            stopped_at(&o, &whole, 2, 0);                        // inside the first look
            stopped_at(&o, &whole, LOOK + STEP / 2 + 2, 0);      // inside the first step
            stopped_at(&o, &whole, LOOK + 2 * STEP + 1, 2);      // between the second and the third
            stopped_at(&o, &whole, LOOK + 3 * STEP + 4, 3);      // inside the second look
            stopped_at(&o, &whole, 2 * LOOK + 4 * STEP + 8, 4);  // going back through the fifth step
            stopped_at(&o, &whole, 4 * LOOK + 9 * STEP, 9);      // inside the last look
            // What is written is the same file.
            uint8_t x[16], y[16];
            learner again = {0};
            rs_mapped *m[2] = {NULL, NULL};
            CHECKF(learner_write(&whole, other, &error, &e) == RS_OK && learner_open(&again, model, NULL, &o, &e) == RS_OK && learner_resume(&again, checkpoint, &e) == RS_OK && rs_learn_run(again.learn, &e) == RS_OK &&
                   learner_write(&again, changed, &error, &e) == RS_OK, "%s", e.text);
            if (CHECKF(rs_mapped_open(&m[0], other, &e) == RS_OK && rs_mapped_open(&m[1], changed, &e) == RS_OK, "%s", e.text)) {
                rs_mapped_digest(m[0], x, NULL, NULL);
                rs_mapped_digest(m[1], y, NULL, NULL);
                CHECK(memcmp(x, y, sizeof x) == 0);
            }
            rs_mapped_close(m[0]);
            rs_mapped_close(m[1]);
            learner_close(&again);
        }
        learner_close(&whole);
    }
    CHECK(better > 0); // in some the best set is not the start
    rs_threads_set(2);
}

// A checkpoint is a rotation set as well: the best one so far.
static void is_a_set(void)
{
    for (int k = 0; k < 3; k++) {
        const rs_learn_options o = learner_options((rs_learn_mode)k, false);
        learner t = {0}, s = {0};
        rs_error e = {0};
        if (CHECKF(learner_open(&t, model, NULL, &o, &e) == RS_OK && rs_learn_run(t.learn, &e) == RS_OK && learner_save(&t, checkpoint, &e) == RS_OK, "%s", e.text) &&
            CHECKF(learner_open(&s, model, checkpoint, &o, &e) == RS_OK, "%s", e.text)) {
            rs_objective_loss loss = {0};
            const double best = rs_learn_progress(t.learn)->best;
            CHECKF(rs_learn_look(s.learn, &loss, &e) == RS_OK && loss.total > 0.99 * best && loss.total < 1.01 * best, "%s: loss %.6f, the best was %.6f", modes[k], loss.total, best);
        }
        learner_close(&s);
        learner_close(&t);
    }
}

// Copies the checkpoint with one of its files replaced.
static bool replace(const char *name, const void *bytes, size_t len)
{
    rs_stage s = {0};
    rs_error e = {0};
    char *argv[] = {(char[]){"edit"}, NULL};
    rs_frame f = {.type = RS_FRAME_HEAD};
    size_t hits = 0;
    rs_status st = rs_stage_open(&s, "edit", checkpoint, &e);
    if (st == RS_OK) st = rs_stage_begin(&s, changed, NULL, 0, rs_reader_head(s.reader), 1, argv, NULL, &e);
    while (st == RS_OK && (st = rs_reader_next(s.reader, &f, &e)) == RS_OK && f.type != RS_FRAME_END) {
        const bool hit = f.type == RS_FRAME_FILE && strcmp(f.file_name, name) == 0;
        hits += hit;
        st = hit ? rs_writer_file(s.writer, name, bytes, len, &e) : rs_stage_copy(&s, &f, &e);
    }
    if (st == RS_OK) st = rs_stage_finish(&s, &e);
    rs_stage_close(&s, &e);
    return CHECKF(st == RS_OK && hits == 1, "%s: %s", name, e.text);
}

// The checkpoint at path, resumed by a learner with o on model `of`, is refused with class and text.
static void refused(const char *what, const char *path, const char *of, const rs_learn_options *o, uint64_t text, rs_status class, const char *said)
{
    learner t = {0};
    rs_error e = {0};
    if (CHECKF(learner_open_text(&t, of, NULL, o, text, LEARNER_SEQUENCES, &e) == RS_OK, "%s: %s", what, e.text)) {
        const rs_status s = learner_resume(&t, path, &e);
        CHECKF(s == class && strstr(e.text, said) != NULL, "%s: %s: %s", what, rs_status_name(s), e.text);
    }
    learner_close(&t);
}

static void refusals(void)
{
    const rs_learn_options o = learner_options(RS_LEARN_CHAIN, true);
    learner t = {0};
    rs_error e = {0};
    tiny_spec s = tiny_default();
    double error;
    if (!CHECKF(learner_open(&t, model, NULL, &o, &e) == RS_OK && rs_learn_run(t.learn, &e) == RS_OK && learner_save(&t, checkpoint, &e) == RS_OK && learner_write(&t, other, &error, &e) == RS_OK, "%s", e.text)) return;
    learner_close(&t);
    refused("a set", other, model, &o, 7, RS_USAGE, "not a checkpoint");
    refused("a model", model, model, &o, 7, RS_USAGE, "not a checkpoint");
    s.seed = 5;
    if (CHECK(tiny_model(other, &s))) refused("another model", checkpoint, other, &o, 7, RS_E_PROV, "another model");
    refused("another text", checkpoint, model, &o, 8, RS_USAGE, "another text");
    struct {
        const char *name;
        rs_learn_options o;
    } with[] = {{"mode", o}, {"rank", o}, {"optimizer", o}, {"length", o}, {"batch", o}, {"steps", o}, {"sequences", o}, {"holdout", o}, {"eval-every", o}, {"patience", o}, {"lr", o}, {"head-lr", o}, {"chain-lr", o},
                {"decay", o}, {"a-bits", o}, {"kv-bits", o}, {"w-bits", o}, {"loss: cross-entropy", o}, {"loss: KL", o}, {"seed", o}};
    with[0].o.mode = RS_LEARN_DENSE;
    with[1].o.rank = 6;
    with[2].o.adam = false;
    with[3].o.S--;
    with[4].o.batch++;
    with[5].o.steps++;
    with[6].o.sequences--;
    with[7].o.holdout--;
    with[8].o.eval_every++;
    with[9].o.patience++;
    with[10].o.rates.bases *= 1 + 1e-15;
    with[11].o.rates.heads *= 1 + 1e-15;
    with[12].o.rates.chain *= 1 + 1e-15;
    with[13].o.decay = RS_DECAY_COSINE;
    with[14].o.bits.a.bits = 5;
    with[15].o.bits.kv.bits = 5;
    with[16].o.bits.w.bits = 5;
    with[17].o.ce = 0.5;
    with[18].o.kl = 2;
    with[19].o.seed = 2;
    for (size_t i = 0; i < sizeof with / sizeof with[0]; i++) {
        char said[64];
        snprintf(said, sizeof said, "made with another %s", with[i].name);
        refused(with[i].name, checkpoint, model, &with[i].o, 7, RS_USAGE, said);
    }
    static uint8_t bytes[64];
    if (replace("learn.u.m.0", bytes, sizeof bytes)) refused("a short array", changed, model, &o, 7, RS_E_TENSOR, "learn.u.m.0: 64 bytes in the checkpoint, 1280 are needed");
    if (replace("learn.json", "{", 1)) refused("no JSON", changed, model, &o, 7, RS_E_META, "learn.json: line 1");
    if (replace("learn.json", "{}", 2)) refused("no options", changed, model, &o, 7, RS_USAGE, "another mode");
}

// A step too many in the state of a checkpoint.
static void beyond(void)
{
    const rs_learn_options o = learner_options(RS_LEARN_GLOBAL, false);
    learner t = {0};
    rs_error e = {0};
    if (CHECKF(learner_open(&t, model, NULL, &o, &e) == RS_OK, "%s", e.text)) {
        rs_learn_progress(t.learn)->step = o.steps + 1;
        CHECKF(learner_save(&t, checkpoint, &e) == RS_OK, "%s", e.text);
        refused("a step too many", checkpoint, model, &o, 7, RS_E_VALUE, "learn.json: step 13 of 12");
    }
    learner_close(&t);
}

// ---- the log

// Keys of line in their order, or what is wrong with it.
static void keys_of(const char *line, char *keys, size_t cap)
{
    json_error_t error;
    json_t *o = json_loads(line, JSON_REJECT_DUPLICATES, &error), *value;
    const char *key;
    size_t n = 0;
    keys[0] = 0;
    if (o == NULL) snprintf(keys, cap, "%s", error.text);
    json_object_foreach(o, key, value) n += (size_t)snprintf(keys + n, n < cap ? cap - n : 0, "%s%s", n > 0 ? " " : "", key);
    json_decref(o);
}

static void log_lines(void)
{
    static const char *const keys[] = {"step loss nll kl lr head_lr chain_lr gradient largest seconds", "step heldout nll kl best best_step seconds", "step event", "step event"};
    rs_learn_log *l;
    rs_error e = {0};
    char line[512], got[256];
    size_t lines = 0;
    for (int append = 0; append < 2 && CHECKF(rs_learn_log_open(&l, logged, append != 0, NULL, 0, &e) == RS_OK, "%s", e.text); append++) {
        for (int what = 0; what < 4; what++) rs_learn_log_line(l, &(rs_learn_news){.what = (rs_learn_what)what, .step = 3, .loss = {.total = what == 1 ? 1.0 / 0.0 : 0.1}});
        CHECK(rs_learn_log_close(l, &e) == RS_OK);
    }
    FILE *f = fopen(logged, "r");
    while (CHECK(f != NULL) && fgets(line, sizeof line, f) != NULL) {
        keys_of(line, got, sizeof got);
        CHECKF(strcmp(got, keys[lines % 4]) == 0, "%s: %s", line, got);
        CHECK((strstr(line, "null") != NULL) == (lines % 4 == 1)); // infinity
        lines++;
    }
    if (f != NULL) fclose(f);
    CHECK(lines == 8);
    // Never over what is read; a full device is told at the end.
    CHECK(rs_learn_log_open(&l, logged, false, (const char *const[]){NULL, "-", model, logged}, 4, &e) == RS_USAGE && strstr(e.text, "is the input") != NULL);
    e = (rs_error){0};
    if (CHECK(rs_learn_log_open(&l, "/dev/full", false, NULL, 0, &e) == RS_OK)) {
        rs_learn_log_line(l, &(rs_learn_news){.what = RS_LEARN_RISING});
        CHECK(rs_learn_log_close(l, &e) == RS_E_WRITE);
    }
    e = (rs_error){0};
    CHECK(rs_learn_log_open(&l, "/nonexistent/log", false, NULL, 0, &e) == RS_E_WRITE && l == NULL);
}

int main(void)
{
    rs_threads_set(2);
    tiny_path(checkpoint, sizeof checkpoint, "checkpoint.rsq");
    tiny_path(changed, sizeof changed, "changed.rsq");
    tiny_path(other, sizeof other, "other.rsq");
    tiny_path(logged, sizeof logged, "log");
    if (!learner_model(tiny_path(model, sizeof model, "model.rsq"), NULL)) return check_report();
    resumes();
    is_a_set();
    refusals();
    beyond();
    log_lines();
    return check_report();
}
