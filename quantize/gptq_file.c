// SPDX-License-Identifier: Apache-2.0
// Checkpoints of GPTQ. Numbers stand in gptq.json as hexadecimal floats, so that no bit is lost.
#include "quantize/gptq_file.h"

#include <cblas.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cli.h"
#include "formats/stage.h"
#include "transforms/device.h"

static const char streams_name[] = "calibration.streams";

static rs_status no_memory(rs_error *e) { return rs_fail(e, RS_E_NOMEM, "no memory for a checkpoint"); }

// ---- options and reports as JSON

static json_t *real(double x)
{
    char text[40];
    snprintf(text, sizeof text, "%a", x);
    return json_string(text);
}

static double get_real(const json_t *list, size_t i)
{
    const char *text = json_string_value(json_array_get(list, i));
    return text == NULL ? 0 : strtod(text, NULL);
}

static json_t *hex(const rs_input_sum *s)
{
    char text[33] = "";
    for (int i = 0; s->fmt[0] != 0 && i < 16; i++) snprintf(text + 2 * i, 3, "%02x", s->digest[i]);
    return json_string(text);
}

static json_t *whole(uint64_t x) { return json_integer((json_int_t)x); }

// What must be the same for the work to go on, by the names of rs-pack's options.
static json_t *asked(const rs_gptq_model *g, const rs_gptq_origin *from)
{
    const rs_gptq_model_options *o = rs_gptq_model_asked(g);
    const rs_calibration *c = rs_gptq_model_streams((rs_gptq_model *)(uintptr_t)g);
    json_t *root = json_object();
    char device[256];
    rs_device_model(rs_network_kernels(c->n), device, sizeof device);
    const struct { const char *name; json_t *value; } list[] = {
        {"compat", whole(o->scheme.peer)}, {"w-bits", whole((uint64_t)o->scheme.w_bits)}, {"group", whole(o->scheme.group)}, {"scale", json_string(rs_dtype_name(o->scheme.scale_dtype))}, {"clip", whole((uint64_t)o->scheme.clip_steps)},
        {"samples", whole(c->samples)}, {"ctx", whole(c->ctx)}, {"skip", whole(from->skip)}, {"damp", real(o->gptq.damp)}, {"block", whole(o->gptq.block)}, {"act-order", json_boolean(o->gptq.act_order)},
        {"one-pass", json_boolean(o->one_pass)}, {"text", hex(&from->text_sum)}, {"recipe", hex(&from->recipe_sum)}, {"version", json_string(RS_VERSION)},
        {"processor: dense products", json_string(openblas_get_corename())}, {"processor: kernels", json_string(rs_network_kernels(c->n)->name)},
    };
    bool ok = root != NULL && (device[0] == 0 || json_object_set_new(root, "device", json_string(device)) == 0);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) ok = json_object_set_new(root, list[i].name, list[i].value) == 0 && ok;
    if (ok) return root;
    json_decref(root);
    return NULL;
}

static json_t *report_json(const rs_gptq_report *r)
{
    return json_pack("[o, o, o, o, o, o, o, o]", real(r->cost.signal), real(r->cost.error), whole(r->cost.clipped), whole(r->cost.weights), json_boolean(r->gptq), real(r->output_error), real(r->damp),
                     whole(r->raised));
}

static rs_gptq_report get_report(const json_t *list)
{
    return (rs_gptq_report){.cost = {.signal = get_real(list, 0), .error = get_real(list, 1), .clipped = (uint64_t)json_integer_value(json_array_get(list, 2)),
                                     .weights = (uint64_t)json_integer_value(json_array_get(list, 3))},
                            .gptq = json_is_true(json_array_get(list, 4)), .output_error = get_real(list, 5), .damp = get_real(list, 6),
                            .raised = (unsigned)json_integer_value(json_array_get(list, 7))};
}

// Number of results that so many halves have made: q k v o, then gate up down.
static size_t results_of(uint64_t halves) { return (size_t)(halves / 2 * RS_SCHEME_ROLES + halves % 2 * 4); }

// ---- writing

static rs_status write_state(rs_gptq_model *g, const rs_gptq_origin *from, rs_writer *w, rs_error *e)
{
    json_t *reports = json_array(), *root = json_pack("{s:o, s:o}", "options", asked(g, from), "halves", whole(rs_gptq_model_done(g)));
    bool ok = reports != NULL && root != NULL;
    for (size_t i = 0; ok && i < results_of(rs_gptq_model_done(g)); i++) {
        const rs_gptq_result *r = &rs_gptq_model_results(g)->result[i];
        ok = json_array_append_new(reports, r->tensor != NULL ? report_json(&r->report) : json_null()) == 0;
    }
    ok = json_object_set(root, "results", reports) == 0 && ok;
    char *text = ok ? json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    json_decref(reports);
    json_decref(root);
    if (text == NULL) return no_memory(e);
    rs_status s = rs_writer_file(w, "gptq.json", text, strlen(text), e);
    free(text);
    return s;
}

// As the stream will have it, but for the list of what was folded in, which belongs to the plan of the model.
static rs_status write_matrix(rs_gptq_model *g, size_t i, rs_writer *w, rs_error *e)
{
    const rs_tensor *t;
    rs_tensor packed;
    RS_TRY(rs_gptq_model_matrix(g, i, &t, &packed, e));
    if (t == NULL) return RS_OK;
    packed.n_xf = 0;
    uint8_t *payload = malloc((size_t)packed.payload_len + 1);
    rs_status s = payload == NULL ? no_memory(e) : rs_gptq_store_take(rs_gptq_model_results(g), i, payload, packed.payload_len, e);
    if (s == RS_OK) s = rs_writer_tensor(w, &packed, payload, e);
    free(payload);
    return s;
}

static rs_status describe_streams(const rs_calibration *c, rs_tensor *t, rs_error *e)
{
    *t = (rs_tensor){.role = RS_ROLE_OTHER, .layer = -1, .expert = -1, .dtype = RS_F32, .enc = RS_ENC_RAW, .n_dims = 3, .shape = {c->samples, c->ctx, rs_network_shape(c->n)->d}};
    strcpy(t->name, streams_name);
    return rs_tensor_layout(t, RS_F32, 0, e);
}

static rs_status write_streams(const rs_calibration *c, rs_writer *w, rs_error *e)
{
    const size_t size = c->ctx * rs_network_shape(c->n)->d * sizeof(float);
    rs_tensor t;
    RS_TRY(describe_streams(c, &t, e));
    RS_TRY(rs_writer_tensor_begin(w, &t, e));
    for (size_t s = 0; s < c->samples; s++) {
        RS_TRY(rs_calibration_get(c, s, c->copy, e));
        RS_TRY(rs_writer_payload(w, c->copy, size, e));
    }
    return rs_writer_tensor_end(w, e);
}

rs_status rs_gptq_checkpoint(rs_gptq_model *g, const rs_gptq_origin *from, rs_out *out, rs_error *e)
{
    rs_writer *w = NULL;
    const rs_head *model = rs_mapped_head(from->model);
    rs_head head = {.align = model->align, .kind = RS_KIND_WEIGHTS, .layers = model->layers, .plan = rs_plan_none()};
    memcpy(head.arch, model->arch, sizeof head.arch);
    memcpy(head.model, model->model, sizeof head.model);
    rs_status s = rs_writer_open(&w, out, &head, e);
    if (s == RS_OK) s = rs_stage_link(w, "rs-pack", from->argc, from->argv, NULL, e);
    if (s == RS_OK) s = write_state(g, from, w, e);
    for (size_t i = 0; s == RS_OK && i < results_of(rs_gptq_model_done(g)); i++) s = write_matrix(g, i, w, e);
    if (s == RS_OK) s = write_streams(rs_gptq_model_streams(g), w, e);
    if (s == RS_OK) s = rs_writer_input(w, 0, &from->model_sum, e);
    if (s == RS_OK) s = rs_writer_input(w, 0, &from->text_sum, e);
    if (s == RS_OK && from->recipe_sum.fmt[0] != 0) s = rs_writer_input(w, 0, &from->recipe_sum, e);
    if (s == RS_OK) s = rs_writer_finish(w, e);
    rs_writer_free(w);
    return s;
}

// ---- reading

static rs_status compare(const json_t *was, const json_t *now, rs_error *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)was, key, value)
    {
        if (json_object_get(now, key) == NULL) return rs_fail(e, RS_USAGE, "the checkpoint was made with another %s", key);
    }
    json_object_foreach((json_t *)(uintptr_t)now, key, value)
    {
        if (!json_equal(value, json_object_get(was, key))) return rs_fail(e, RS_USAGE, "the checkpoint was made with another %s", key);
    }
    return RS_OK;
}

static rs_status read_matrix(rs_gptq_model *g, size_t i, const json_t *report, const rs_mapped *m, rs_error *e)
{
    const rs_tensor *t;
    rs_tensor packed;
    RS_TRY(rs_gptq_model_matrix(g, i, &t, &packed, e));
    if (t == NULL) return RS_OK;
    const rs_tensor *there = rs_mapped_find(m, packed.name);
    if (there == NULL || !json_is_array(report) || there->enc != packed.enc || there->group != packed.group || there->payload_len != packed.payload_len)
        return rs_fail(e, RS_E_TENSOR, "%s: not in the checkpoint as it is packed", packed.name);
    const rs_gptq_report r = get_report(report);
    uint8_t *payload = malloc((size_t)packed.payload_len + 1);
    if (payload == NULL) return no_memory(e);
    memcpy(payload, rs_mapped_payload(m, there), (size_t)packed.payload_len);
    rs_mapped_release(m, there);
    return rs_gptq_store_put(rs_gptq_model_results(g), i, t, &r, payload, packed.payload_len, e);
}

static rs_status read_streams(rs_calibration *c, const rs_mapped *m, rs_error *e)
{
    rs_tensor t;
    RS_TRY(describe_streams(c, &t, e));
    const rs_tensor *there = rs_mapped_find(m, streams_name);
    if (there == NULL || there->enc != RS_ENC_RAW || there->dtype != RS_F32 || there->payload_len != t.payload_len) return rs_fail(e, RS_E_TENSOR, "%s: not in the checkpoint as it is needed", streams_name);
    const float *x = (const float *)(const void *)rs_mapped_payload(m, there);
    for (size_t s = 0; s < c->samples; s++) RS_TRY(rs_calibration_put(c, s, x + s * c->ctx * rs_network_shape(c->n)->d, e));
    rs_mapped_release(m, there);
    return RS_OK;
}

static rs_status read_state(rs_gptq_model *g, const json_t *root, const rs_mapped *m, rs_error *e)
{
    const uint64_t halves = (uint64_t)json_integer_value(json_object_get(root, "halves"));
    const rs_status s = rs_gptq_model_skip(g, halves, e);
    if (s != RS_OK) return rs_error_prefix(e, s, "gptq.json");
    for (size_t i = 0; i < results_of(halves); i++) RS_TRY(read_matrix(g, i, json_array_get(json_object_get(root, "results"), i), m, e));
    RS_TRY(read_streams(rs_gptq_model_streams(g), m, e));
    return rs_mapped_check(m, e);
}

rs_status rs_gptq_resume(rs_gptq_model *g, const rs_gptq_origin *from, const rs_mapped *m, rs_error *e)
{
    size_t len, n;
    const uint8_t *bytes = rs_mapped_file(m, "gptq.json", &len);
    if (bytes == NULL) return rs_fail(e, RS_USAGE, "not a checkpoint of rs-pack");
    const rs_input_sum *in = rs_mapped_inputs(m, 0, &n);
    if (n == 0 || memcmp(in[0].digest, from->model_sum.digest, sizeof in[0].digest) != 0) return rs_fail(e, RS_E_PROV, "the checkpoint is of another model (the digests differ)");
    json_error_t error;
    json_t *root = json_loadb((const char *)bytes, len, JSON_REJECT_DUPLICATES, &error), *now = asked(g, from);
    rs_status s = now == NULL ? no_memory(e) : root == NULL ? rs_fail(e, RS_E_META, "gptq.json: line %d: %s", error.line, error.text) : compare(json_object_get(root, "options"), now, e);
    if (s == RS_OK) s = read_state(g, root, m, e);
    json_decref(root);
    json_decref(now);
    return s;
}
