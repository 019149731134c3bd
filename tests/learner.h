// SPDX-License-Identifier: Apache-2.0
// A learner over a tiny model and a random text, and what it told: what the tests of learning share.
#ifndef RS_TESTS_LEARNER_H
#define RS_TESTS_LEARNER_H

#include "tests/stages.h"
#include "transforms/learn_file.h"
#include "transforms/random.h"

enum { LEARNER_S = 16, LEARNER_SEQUENCES = 8, LEARNER_MOST = 256 };

// As in trained models one channel of the stream is large, nearly the same for all tokens, and hardly read: so rotations matter.
__attribute__((unused)) static bool learner_stand_out(void *context, rs_tensor *t, uint8_t *payload)
{
    enum { CHANNEL = 3 };
    float *x = (float *)(void *)payload;
    (void)context;
    if (t->n_dims != 2) return true;
    for (uint64_t i = 0; i < t->shape[0] * t->shape[1]; i++) {
        const bool channel = i % t->shape[1] == CHANNEL;
        if (t->role == RS_ROLE_EMBED && channel) x[i] += 30;
        if (t->role == RS_ROLE_HEAD) x[i] *= 4;
        if (t->role != RS_ROLE_EMBED && t->role != RS_ROLE_O && t->role != RS_ROLE_DOWN && channel) x[i] *= 0.05f;
    }
    return true;
}

// Writes the model: tiny_default with a head of its own, and what learner_stand_out does.
__attribute__((unused)) static bool learner_model(const char *path, const char *nan_in)
{
    char plain[128];
    rs_error e = {0};
    tiny_spec s = tiny_default();
    s.tied = false;
    s.nan_in = nan_in;
    return tiny_model(tiny_path(plain, sizeof plain, "plain.rsq"), &s) && CHECKF(stages_edit(plain, path, learner_stand_out, NULL, &e) == RS_OK, "%s", e.text);
}

// Writes the set that turns nothing: where these channels hurt the most.
__attribute__((unused)) static bool learner_identity(const char *path)
{
    const tiny_spec s = tiny_default();
    const rs_head head = rs_rotation_write_head("llama", "tiny", s.L, NULL);
    static char name[] = "rs-learn", *argv[] = {name, NULL};
    rs_error e = {0};
    rs_out *out = NULL;
    rs_writer *w = NULL;
    double *eye = calloc(s.d * s.d, sizeof *eye);
    for (uint64_t i = 0; i < s.d; i++) eye[i * s.d + i] = 1;
    bool ok = rs_out_open(&out, path, NULL, 0, &e) == RS_OK && rs_writer_open(&w, out, &head, &e) == RS_OK && rs_stage_link(w, "rs-learn", 1, argv, NULL, &e) == RS_OK &&
              rs_rotation_write_basis(w, 0, s.d, eye, &e) == RS_OK && rs_writer_finish(w, &e) == RS_OK;
    rs_writer_free(w);
    rs_out_close(out);
    free(eye);
    return CHECKF(ok, "%s", e.text);
}

typedef struct learner {
    rs_mapped *model, *start;
    rs_network *network;
    rs_rotation *from;
    rs_learn *learn;
    rs_learn_origin origin;
    int32_t ids[LEARNER_S * LEARNER_SEQUENCES];
    double loss[LEARNER_MOST], look[LEARNER_MOST]; // of each step and of each look, as they were told
    size_t steps, looks, rising, patience;
    const rs_kernels *k;     // to learn with; NULL: the fastest here
    uint64_t asked, stop_at; // how often stop was asked, and which of these times it says yes (0: never)
} learner;

__attribute__((unused)) static void learner_news(void *context, const rs_learn_news *n)
{
    learner *t = context;
    if (n->what == RS_LEARN_STEP && t->steps < LEARNER_MOST) t->loss[t->steps++] = n->loss.total;
    if (n->what == RS_LEARN_LOOK && t->looks < LEARNER_MOST) t->look[t->looks++] = n->loss.total;
    t->rising += n->what == RS_LEARN_RISING;
    t->patience += n->what == RS_LEARN_PATIENCE;
}

__attribute__((unused)) static bool learner_stop(void *context)
{
    learner *t = context;
    return ++t->asked == t->stop_at;
}

// KL at A4 KV8 on two sequences a step, three to learn from and two to judge by, at rates that suit the mode.
__attribute__((unused)) static rs_learn_options learner_options(rs_learn_mode mode, bool adam)
{
    const double rate = adam ? 0.06 : 0.5;
    return (rs_learn_options){.mode = mode, .rank = 4, .adam = adam, .S = LEARNER_S, .batch = 2, .steps = 12, .sequences = 3, .holdout = 2, .eval_every = 4, .rates = {rate, rate, 0.01}, .decay = RS_DECAY_LINEAR,
                              .bits = {.a = {.bits = 4, .clip = 1}, .kv = {.bits = 8, .clip = 1}}, .kl = 1, .seed = 1};
}

__attribute__((unused)) static void learner_close(learner *t)
{
    rs_learn_free(t->learn);
    rs_rotation_free(t->from);
    rs_network_close(t->network);
    rs_mapped_close(t->start);
    rs_mapped_close(t->model);
}

// Opens a learner on `sequences` sequences of a text made of seed `text`; start: path of a set, NULL: seeded by o->seed. To be closed in any case.
__attribute__((unused)) static rs_status learner_open_text(learner *t, const char *model, const char *start, const rs_learn_options *o, uint64_t text, size_t sequences, rs_error *e)
{
    *t = (learner){.k = t->k, .stop_at = t->stop_at};
    RS_TRY(rs_mapped_open(&t->model, model, e));
    RS_TRY(rs_network_open(&t->network, t->model, t->k, e));
    const rs_config *c = rs_network_config(t->network);
    const size_t count = o->S * sequences < sizeof t->ids / sizeof t->ids[0] ? o->S * sequences : sizeof t->ids / sizeof t->ids[0];
    for (size_t i = 0; i < count; i++) t->ids[i] = (int32_t)rs_random_below(text, 98, i, c->V);
    static char name[] = "rs-learn", *argv[] = {name, NULL};
    t->origin = (rs_learn_origin){.model = t->model, .model_sum = {.fmt = "rsq"}, .text_sum = {.fmt = "text", .digest = {(uint8_t)text}}, .argc = 1, .argv = argv};
    rs_mapped_digest(t->model, t->origin.model_sum.digest, NULL, &t->origin.model_sum.size);
    if (start == NULL) RS_TRY(rs_rotation_seeded(&t->from, c->L, c->d, c->h, o->seed, e));
    else {
        RS_TRY(rs_mapped_open(&t->start, start, e));
        RS_TRY(rs_rotation_from_file(&t->from, t->start, e));
        strcpy(t->origin.start_sum.fmt, "rsq");
        rs_mapped_digest(t->start, t->origin.start_sum.digest, NULL, &t->origin.start_sum.size);
    }
    return rs_learn_new(&t->learn, t->network, t->ids, count, t->from, false, o, &(rs_learn_calls){.news = learner_news, .stop = learner_stop, .context = t}, e);
}

__attribute__((unused)) static rs_status learner_open(learner *t, const char *model, const char *start, const rs_learn_options *o, rs_error *e)
{
    return learner_open_text(t, model, start, o, 7, LEARNER_SEQUENCES, e);
}

// Writes the best set, or a checkpoint, to path.
__attribute__((unused)) static rs_status learner_write(learner *t, const char *path, double *error, rs_error *e)
{
    rs_out *out;
    RS_TRY(rs_out_open(&out, path, NULL, 0, e));
    rs_status s = rs_learn_write(t->learn, &t->origin, out, error, e);
    rs_out_close(out);
    return s;
}

__attribute__((unused)) static rs_status learner_save(learner *t, const char *path, rs_error *e)
{
    rs_out *out;
    RS_TRY(rs_out_open(&out, path, NULL, 0, e));
    rs_status s = rs_learn_checkpoint(t->learn, &t->origin, out, e);
    rs_out_close(out);
    return s;
}

// Goes back to the checkpoint at path.
__attribute__((unused)) static rs_status learner_resume(learner *t, const char *path, rs_error *e)
{
    rs_mapped *m;
    RS_TRY(rs_mapped_open(&m, path, e));
    rs_status s = rs_learn_resume(t->learn, &t->origin, m, e);
    rs_mapped_close(m);
    return s;
}

// True when the whole state of two learners is the same, bit for bit; else the name of what differs in *what.
__attribute__((unused)) static bool learner_same(learner *a, learner *b, const char **what)
{
    const char *name;
    float *x, *y;
    size_t n, m;
    for (size_t i = 0; rs_learned_array(rs_learn_set(a->learn), i, &name, &x, &n); i++) {
        *what = name;
        if (!rs_learned_array(rs_learn_set(b->learn), i, &name, &y, &m) || m != n || memcmp(x, y, n * sizeof *x) != 0) return false;
    }
    *what = "progress";
    return memcmp(rs_learn_progress(a->learn), rs_learn_progress(b->learn), sizeof(rs_learn_state)) == 0 && *rs_learned_count(rs_learn_set(a->learn)) == *rs_learned_count(rs_learn_set(b->learn));
}

#endif
