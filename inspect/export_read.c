// SPDX-License-Identifier: Apache-2.0
// Opens a JSON export again: what its sources said about themselves is judged as the metadata of a stream is, and becomes an outline.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/cli.h"
#include "formats/endian.h"
#include "formats/frames.h"
#include "formats/part.h"
#include "formats/value_json.h"
#include "inspect/export.h"

#define LIMIT (UINT64_C(256) << 20) // bytes of an export

static rs_status bad(rs_error *e, const char *what) { return rs_fail(e, RS_E_IMPORT, "not an export of rs-top: %s", what); }

// One frame from its map.
static rs_status enter(rs_outline *o, rs_frame_type type, const json_t *j, const void *payload, uint64_t len, rs_error *e)
{
    rs_arena *a = rs_arena_new();
    rs_value *map;
    rs_status st = a == NULL ? rs_fail(e, RS_E_NOMEM, "export") : !json_is_object(j) ? bad(e, "a frame is no object") : rs_value_from_json(a, j, &map, e);
    if (st == RS_OK) st = rs_outline_enter(o, type, map, payload, len, e);
    rs_arena_free(a);
    return st;
}

static rs_status enter_list(rs_outline *o, rs_frame_type type, const json_t *source, const char *key, rs_error *e)
{
    const json_t *list = json_object_get(source, key);
    if (!json_is_array(list)) return rs_fail(e, RS_E_IMPORT, "not an export of rs-top: \"%s\" is no list", key);
    for (size_t i = 0; i < json_array_size(list); i++) {
        rs_status st = enter(o, type, json_array_get(list, i), NULL, 0, e);
        if (st != RS_OK) return rs_error_prefix(e, st, "%s %zu", key, i);
    }
    return RS_OK;
}

// ---- parts of a statistics frame

struct part {
    const char *key;
    rs_dtype dtype;
    bool shaped; // of an error: by rows and groups
};

static const struct part parts_of_stat[] = {{"absmax", RS_F32, false}, {"rms", RS_F32, false}, {"kurt", RS_F32, false}, {"hist", RS_U64, false}};
static const struct part parts_of_error[] = {{"sig", RS_F32, true}, {"err", RS_F32, true}, {"clip", RS_U32, true}};
static const struct part parts_of_angles[] = {{"theta", RS_F32, false}};

static void put(uint8_t *at, rs_dtype dtype, const json_t *x)
{
    const uint64_t n = json_integer_value(x) > 0 ? (uint64_t)json_integer_value(x) : 0;
    if (dtype == RS_F32) {
        const float f = json_is_number(x) ? (float)json_number_value(x) : NAN;
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        rs_put_u32(at, bits);
    } else if (dtype == RS_U32) rs_put_u32(at, (uint32_t)n);
    else rs_put_u64(at, n);
}

static rs_status parts(const json_t *j, const struct part *list, size_t n, rs_stat_head *head, uint8_t **payload, rs_error *e)
{
    const json_t *shape = json_object_get(j, "shape");
    for (size_t i = 0; i < n; i++) {
        const json_t *x = json_object_get(j, list[i].key);
        uint64_t dims[2] = {json_array_size(x), 0}, count = dims[0];
        if (x == NULL) continue;
        if (list[i].shaped) {
            dims[0] = (uint64_t)json_integer_value(json_array_get(shape, 0));
            dims[1] = (uint64_t)json_integer_value(json_array_get(shape, 1));
            if (!rs_mul_ok(dims[0], dims[1], &count) || count != json_array_size(x)) return rs_fail(e, RS_E_IMPORT, "%s: not of its shape", list[i].key);
        }
        if (!json_is_array(x) || !rs_part_add(head, list[i].key, list[i].dtype, list[i].shaped ? 2 : 1, dims)) return rs_fail(e, RS_E_IMPORT, "%s: no list of numbers", list[i].key);
    }
    *payload = calloc(1, (size_t)head->payload_len + 1);
    if (*payload == NULL) return rs_fail(e, RS_E_NOMEM, "export");
    for (int i = 0; i < head->n_parts; i++) {
        const rs_part *p = &head->parts[i];
        const json_t *x = json_object_get(j, p->key);
        for (size_t k = 0; k < json_array_size(x); k++) put(*payload + p->off + k * rs_dtype_size(p->dtype), p->dtype, json_array_get(x, k));
    }
    return RS_OK;
}

static rs_status take_parts(const json_t *j, const char *of, rs_stat_head *head, uint8_t **payload, rs_error *e)
{
    if (strcmp(of, "error") == 0) return parts(j, parts_of_error, sizeof parts_of_error / sizeof *parts_of_error, head, payload, e);
    if (strcmp(of, "angles") == 0) return parts(j, parts_of_angles, sizeof parts_of_angles / sizeof *parts_of_angles, head, payload, e);
    return parts(j, parts_of_stat, sizeof parts_of_stat / sizeof *parts_of_stat, head, payload, e);
}

static rs_status enter_stat(rs_outline *o, const json_t *j, rs_error *e)
{
    const char *name = json_string_value(json_object_get(j, "name")), *of = json_string_value(json_object_get(j, "of"));
    const json_t *step = json_object_get(j, "step"), *values = json_object_get(j, "values"), *held = json_object_get(j, "parts");
    rs_stat_frame f = {0};
    uint8_t *payload = NULL;
    rs_value *map = NULL, *of_values = NULL;
    if (name == NULL || strlen(name) > RS_MAX_NAME || of == NULL || strlen(of) >= sizeof f.head.of || !json_is_integer(step) || json_integer_value(step) < 0 || json_integer_value(step) > RS_MAX_PROV ||
        !json_is_object(values))
        return bad(e, "a statistics frame lacks name, of, step or values");
    strcpy(f.head.name, name);
    strcpy(f.head.of, of);
    f.head.step = (unsigned)json_integer_value(step);
    rs_arena *a = rs_arena_new();
    rs_status st = a == NULL ? rs_fail(e, RS_E_NOMEM, "export") : rs_value_from_json(a, values, &of_values, e);
    f.head.values = of_values;
    if (st == RS_OK && of_values->type != RS_V_MAP) st = bad(e, "values are no map");
    if (st == RS_OK && held != NULL) st = take_parts(held, of, &f.head, &payload, e);
    if (st == RS_OK) st = rs_frames_put(RS_FRAME_STAT, a, &f, &map, e);
    if (st == RS_OK) st = rs_outline_enter(o, RS_FRAME_STAT, map, payload, f.head.payload_len, e);
    free(payload);
    rs_arena_free(a);
    return st;
}

static rs_status enter_stats(rs_outline *o, const json_t *source, rs_error *e)
{
    const json_t *list = json_object_get(source, "statistics");
    if (!json_is_array(list)) return bad(e, "\"statistics\" is no list");
    for (size_t i = 0; i < json_array_size(list); i++) {
        rs_status st = enter_stat(o, json_array_get(list, i), e);
        if (st != RS_OK) return rs_error_prefix(e, st, "statistics %zu", i);
    }
    return RS_OK;
}

// ---- a source

static rs_status counts(const json_t *source, uint32_t count[RS_FRAME_UNKNOWN + 1], rs_error *e)
{
    static const struct { const char *name; rs_frame_type type; } list[] = {{"fILe", RS_FRAME_FILE}, {"TENS", RS_FRAME_TENS}, {"sTAT", RS_FRAME_STAT}, {"unknown", RS_FRAME_UNKNOWN}, {"all", RS_FRAME_END}};
    const json_t *frames = json_object_get(source, "frames");
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        uint64_t n;
        RS_TRY(rs_json_uint(frames, "frames", list[i].name, 0, UINT32_MAX, 0, &n, e));
        count[list[i].type] = (uint32_t)n;
    }
    return RS_OK;
}

static rs_status fill(rs_outline *o, const json_t *source, rs_error *e)
{
    const char *hex = json_string_value(json_object_get(source, "digest"));
    uint8_t digest[16];
    uint64_t size;
    bool complete;
    uint32_t count[RS_FRAME_UNKNOWN + 1] = {0};
    if (hex == NULL || !rs_hex_read(hex, digest, sizeof digest)) return bad(e, "\"digest\" is no digest");
    RS_TRY(rs_json_uint(source, "source", "size", 0, RS_MAX_STREAM, 0, &size, e));
    RS_TRY(rs_json_bool(source, "source", "complete", false, &complete, e));
    RS_TRY(counts(source, count, e));
    RS_TRY(enter(o, RS_FRAME_HEAD, json_object_get(source, "head"), NULL, 0, e));
    RS_TRY(enter_list(o, RS_FRAME_PROV, source, "provenance", e));
    RS_TRY(enter_list(o, RS_FRAME_TENS, source, "tensors", e));
    RS_TRY(enter_stats(o, source, e));
    RS_TRY(enter_list(o, RS_FRAME_PSUM, source, "inputs", e));
    return rs_outline_seal(o, digest, size, complete, count, e);
}

static rs_status open_sources(const json_t *root, rs_outline *doc[2], int *n, rs_error *e)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    const json_t *major = json_object_get(root, "major"), *sources = json_object_get(root, "sources");
    if (format == NULL || strcmp(format, "rs-top") != 0) return bad(e, "\"format\" is not \"rs-top\"");
    if (!json_is_integer(major) || json_integer_value(major) < 1) return bad(e, "no major version");
    if (json_integer_value(major) > 1) return rs_fail(e, RS_E_VERSION, "an export of major version %lld; this is 1", (long long)json_integer_value(major));
    if (json_array_size(sources) < 1 || json_array_size(sources) > 2) return bad(e, "it has neither one source nor two");
    for (size_t i = 0; i < json_array_size(sources); i++) {
        const json_t *source = json_array_get(sources, i);
        const char *name = json_string_value(json_object_get(source, "name"));
        if (name == NULL) return bad(e, "a source without a name");
        RS_TRY(rs_outline_new(&doc[i], name, e));
        *n = (int)i + 1;
        RS_TRY(fill(doc[i], source, e));
    }
    return RS_OK;
}

rs_status rs_export_parse(const void *bytes, size_t len, rs_outline *doc[2], int *n, rs_error *e)
{
    json_t *root;
    doc[0] = doc[1] = NULL;
    *n = 0;
    RS_TRY(rs_json_parse(&root, bytes, len, "export", e));
    rs_status st = open_sources(root, doc, n, e);
    json_decref(root);
    for (int i = 0; st != RS_OK && i < 2; i++) {
        rs_outline_close(doc[i]);
        doc[i] = NULL;
    }
    return st;
}

rs_status rs_export_open(const char *path, rs_outline *doc[2], int *n, rs_error *e)
{
    char *bytes;
    size_t len;
    doc[0] = doc[1] = NULL;
    *n = 0;
    RS_TRY(rs_cli_slurp(path, LIMIT, &bytes, &len, e));
    rs_status st = rs_export_parse(bytes, len, doc, n, e);
    free(bytes);
    return st;
}
