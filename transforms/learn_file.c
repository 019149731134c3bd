// SPDX-License-Identifier: Apache-2.0
// A checkpoint keeps options and counters in learn.json, numbers as hexadecimal floats so that no bit is lost, and each array of the state in files learn.NAME.K of at most 32 MiB.
#include "transforms/learn_file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/stage.h"

#define PIECE ((size_t)8 << 20) // floats of one file

static rs_status no_memory(rs_error *e) { return rs_fail(e, RS_E_NOMEM, "no memory for a checkpoint"); }

// ---- options and state as JSON

static json_t *real(double x)
{
    char text[40];
    snprintf(text, sizeof text, "%a", x);
    return json_string(text);
}

static json_t *hex(const uint8_t digest[16])
{
    char text[33];
    for (int i = 0; i < 16; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return json_string(text);
}

static json_t *whole(uint64_t x) { return json_integer((json_int_t)x); }

// What must be the same for learning to go on, by the names of rs-learn's options. The device is left out where it is the processor: so checkpoints are as they were before there were others.
static json_t *asked(const rs_learn *l, const rs_learn_origin *from)
{
    const rs_learn_options *o = rs_learn_asked(l);
    const char *device = rs_learn_device(l);
    json_t *root = json_object();
    const struct { const char *name; json_t *value; } list[] = {
        {"mode", whole(o->mode)}, {"rank", whole(o->rank)}, {"project", whole(o->project)}, {"optimizer", json_string(o->adam ? "adam" : "sgd")}, {"length", whole(o->S)}, {"batch", whole(o->batch)}, {"steps", whole(o->steps)},
        {"sequences", whole(o->sequences)}, {"holdout", whole(o->holdout)}, {"eval-every", whole(o->eval_every)}, {"patience", whole(o->patience)}, {"lr", real(o->rates.bases)},
        {"head-lr", real(o->rates.heads)}, {"chain-lr", real(o->rates.chain)}, {"decay", whole(o->decay)}, {"a-bits", whole(o->bits.a.bits)}, {"kv-bits", whole(o->bits.kv.bits)}, {"w-bits", whole(o->bits.w.bits)},
        {"loss: cross-entropy", real(o->ce)}, {"loss: KL", real(o->kl)}, {"seed", whole(o->seed)}, {"text", hex(from->text_sum.digest)}, {"init", hex(from->start_sum.digest)},
    };
    bool ok = root != NULL;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) ok = json_object_set_new(root, list[i].name, list[i].value) == 0 && ok;
    if (strcmp(device, "cpu") != 0) ok = json_object_set_new(root, "device", json_string(device)) == 0 && ok;
    if (ok) return root;
    json_decref(root);
    return NULL;
}

static json_t *state_json(const rs_learn_state *s, uint64_t count)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "step", whole(s->step), "best_step", whole(s->best_step), "looks_without", whole(s->looks_without), "looked", whole(s->looked), "projected", whole(s->projected), "rising",
                     whole(s->rising), "best", real(s->best), "smooth", real(s->smooth), "lowest", real(s->lowest), "spread", real(s->spread), "moves", whole(count));
}

static uint64_t get_whole(const json_t *o, const char *key) { return (uint64_t)json_integer_value(json_object_get(o, key)); }

static double get_real(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text == NULL ? 0 : strtod(text, NULL);
}

// ---- writing

static rs_status write_state(rs_learn *l, const rs_learn_origin *from, rs_writer *w, rs_error *e)
{
    json_t *root = json_pack("{s:o, s:o}", "options", asked(l, from), "state", state_json(rs_learn_progress(l), *rs_learned_count(rs_learn_set(l))));
    char *text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS);
    json_decref(root);
    if (text == NULL) return no_memory(e);
    rs_status s = rs_writer_file(w, "learn.json", text, strlen(text), e);
    free(text);
    const char *name;
    float *data;
    size_t n;
    for (size_t i = 0; s == RS_OK && rs_learned_array(rs_learn_set(l), i, &name, &data, &n); i++)
        for (size_t at = 0; s == RS_OK && at < n; at += PIECE) {
            char file[64];
            snprintf(file, sizeof file, "learn.%s.%zu", name, at / PIECE);
            s = rs_writer_file(w, file, data + at, (n - at < PIECE ? n - at : PIECE) * sizeof *data, e);
        }
    return s;
}

static rs_status open_writer(const rs_learn_origin *from, rs_out *out, rs_writer **w, rs_error *e)
{
    uint8_t digest[16], tensors[16];
    uint64_t size;
    const rs_head *model = rs_mapped_head(from->model);
    rs_mapped_digest(from->model, digest, tensors, &size);
    const rs_head head = rs_rotation_write_head(model->arch, model->model, model->layers, tensors);
    RS_TRY(rs_writer_open(w, out, &head, e));
    return rs_stage_link(*w, "rs-learn", from->argc, from->argv, NULL, e);
}

static rs_status finish(const rs_learn_origin *from, rs_writer *w, rs_error *e)
{
    RS_TRY(rs_writer_input(w, 0, &from->model_sum, e));
    RS_TRY(rs_writer_input(w, 0, &from->text_sum, e));
    if (from->start_sum.fmt[0] != 0) RS_TRY(rs_writer_input(w, 0, &from->start_sum, e));
    return rs_writer_finish(w, e);
}

rs_status rs_learn_write(rs_learn *l, const rs_learn_origin *from, rs_out *out, double *error, rs_error *e)
{
    rs_writer *w = NULL;
    RS_TRY(rs_learn_fetch(l, e)); // so that nothing comes back later
    rs_learned_recall(rs_learn_set(l));
    rs_status s = rs_learned_refresh(rs_learn_set(l), e);
    if (s == RS_OK) s = open_writer(from, out, &w, e);
    if (s == RS_OK) s = rs_learned_write(rs_learn_set(l), w, true, error, e);
    if (s == RS_OK) s = finish(from, w, e);
    rs_writer_free(w);
    return s;
}

rs_status rs_learn_checkpoint(rs_learn *l, const rs_learn_origin *from, rs_out *out, rs_error *e)
{
    rs_writer *w = NULL;
    double error;
    RS_TRY(rs_learn_fetch(l, e));
    rs_status s = open_writer(from, out, &w, e);
    if (s == RS_OK) s = write_state(l, from, w, e);
    // The best set as tensors: it changes places with the current one while it is written.
    if (s == RS_OK) {
        rs_learned_swap(rs_learn_set(l));
        s = rs_learned_write(rs_learn_set(l), w, false, &error, e);
        rs_learned_swap(rs_learn_set(l));
    }
    if (s == RS_OK) s = finish(from, w, e);
    rs_writer_free(w);
    return s;
}

// ---- reading

static rs_status compare(const json_t *was, const json_t *now, rs_error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)now, key, value)
    {
        json_t *other = json_object_get(was, key);
        if (!json_equal(value, other)) return rs_fail(e, RS_USAGE, "the checkpoint was made with another %s", key);
    }
    json_object_foreach((json_t *)was, key, value)
        if (json_object_get(now, key) == NULL) return rs_fail(e, RS_USAGE, "the checkpoint was made with another %s", key);
    return RS_OK;
}

static rs_status read_arrays(rs_learn *l, const rs_mapped *m, rs_error *e)
{
    const char *name;
    float *data;
    size_t n;
    for (size_t i = 0; rs_learned_array(rs_learn_set(l), i, &name, &data, &n); i++)
        for (size_t at = 0; at < n; at += PIECE) {
            char file[64];
            size_t len = 0, want = (n - at < PIECE ? n - at : PIECE) * sizeof *data;
            snprintf(file, sizeof file, "learn.%s.%zu", name, at / PIECE);
            const uint8_t *bytes = rs_mapped_file(m, file, &len);
            if (bytes == NULL || len != want) return rs_fail(e, RS_E_TENSOR, "%s: %zu bytes in the checkpoint, %zu are needed", file, bytes == NULL ? (size_t)0 : len, want);
            memcpy(data + at, bytes, want);
        }
    return RS_OK;
}

static rs_status read_state(rs_learn *l, const json_t *s, rs_error *e)
{
    *rs_learn_progress(l) = (rs_learn_state){.step = get_whole(s, "step"), .best_step = get_whole(s, "best_step"), .looks_without = get_whole(s, "looks_without"), .looked = get_whole(s, "looked"),
                                             .projected = get_whole(s, "projected"),
                                             .best = get_real(s, "best"), .smooth = get_real(s, "smooth"), .lowest = get_real(s, "lowest"), .spread = get_real(s, "spread"), .rising = get_whole(s, "rising")};
    *rs_learned_count(rs_learn_set(l)) = get_whole(s, "moves");
    if (rs_learn_progress(l)->step > rs_learn_asked(l)->steps) return rs_fail(e, RS_E_VALUE, "learn.json: step %llu of %llu", (unsigned long long)rs_learn_progress(l)->step, (unsigned long long)rs_learn_asked(l)->steps);
    return RS_OK;
}

rs_status rs_learn_resume(rs_learn *l, const rs_learn_origin *from, const rs_mapped *m, rs_error *e)
{
    uint8_t digest[16], tensors[16];
    uint64_t size;
    size_t len;
    const rs_head *head = rs_mapped_head(m);
    rs_mapped_digest(from->model, digest, tensors, &size);
    const uint8_t *bytes = rs_mapped_file(m, "learn.json", &len);
    if (bytes == NULL) return rs_fail(e, RS_USAGE, "not a checkpoint of rs-learn");
    if (!head->has_base || memcmp(head->base, tensors, sizeof tensors) != 0) return rs_fail(e, RS_E_PROV, "the checkpoint is of another model (the tensor digests differ)");
    json_error_t error;
    json_t *root = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, &error), *now = asked(l, from);
    rs_status s = now == NULL ? no_memory(e) : root == NULL ? rs_fail(e, RS_E_META, "learn.json: line %d: %s", error.line, error.text) : compare(json_object_get(root, "options"), now, e);
    if (s == RS_OK) s = rs_learn_fetch(l, e);
    if (s == RS_OK) s = read_arrays(l, m, e);
    if (s == RS_OK) s = read_state(l, json_object_get(root, "state"), e);
    json_decref(root);
    json_decref(now);
    return s == RS_OK ? rs_learned_refresh(rs_learn_set(l), e) : s;
}
