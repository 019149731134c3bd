// SPDX-License-Identifier: Apache-2.0
// Strict JSON: a bounded scan of nesting and size, then jansson without duplicate keys.
#include "formats/json.h"

#include <math.h>
#include <string.h>

// The library recurses for each level and allocates for each value, so both are counted before it sees the text.
rs_status rs_json_scan(const char *p, size_t len, size_t max_values, const char *what, rs_error *e)
{
    size_t depth = 0, values = 1;
    bool text = false;
    for (size_t i = 0; i < len; i++) {
        if (text) {
            if (p[i] == '\\') i++;
            else if (p[i] == '"') text = false;
            continue;
        }
        switch (p[i]) {
        case '"': text = true; break;
        case '[':
        case '{':
            if (++depth > RS_JSON_MAX_DEPTH) return rs_fail(e, RS_E_LIMIT, "%s: nested more than %d deep at byte %zu", what, RS_JSON_MAX_DEPTH, i);
            values++;
            break;
        case ']':
        case '}':
            if (depth > 0) depth--;
            break;
        case ',': values++; break;
        default: break;
        }
        if (values > max_values) return rs_fail(e, RS_E_LIMIT, "%s: more than %zu values", what, max_values);
    }
    return RS_OK;
}

rs_status rs_json_parse(json_t **root, const void *bytes, size_t len, const char *what, rs_error *e)
{
    static const char lfs[] = "version https://git-lfs.github.com/spec/";
    *root = NULL;
    if (len >= sizeof lfs - 1 && memcmp(bytes, lfs, sizeof lfs - 1) == 0)
        return rs_fail(e, RS_E_IMPORT, "%s: a Git-LFS pointer stands in place of the file (git lfs pull fetches it)", what);
    RS_TRY(rs_json_scan(bytes, len, RS_JSON_MAX_VALUES, what, e));
    json_error_t err;
    *root = json_loadb(bytes, len, JSON_REJECT_DUPLICATES, &err);
    if (*root != NULL) return RS_OK;
    if (json_error_code(&err) == json_error_out_of_memory) return rs_fail(e, RS_E_NOMEM, "%s: not enough memory", what);
    return rs_fail(e, RS_E_IMPORT, "%s: line %d column %d: %s", what, err.line, err.column, err.text);
}

// The field, NULL where it is absent or null.
static const json_t *field(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    return json_is_null(v) ? NULL : v;
}

rs_status rs_json_uint(const json_t *object, const char *what, const char *key, uint64_t lo, uint64_t hi, uint64_t otherwise, uint64_t *out, rs_error *e)
{
    const json_t *v = field(object, key);
    if (v == NULL && (otherwise < lo || otherwise > hi)) return rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" is missing", what, key);
    if (v != NULL && !json_is_integer(v)) return rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" is not an integer", what, key);
    json_int_t i = v == NULL ? 0 : json_integer_value(v);
    if (v != NULL && (i < 0 || (uint64_t)i < lo || (uint64_t)i > hi))
        return rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" is %lld, not in %llu..%llu", what, key, (long long)i, (unsigned long long)lo, (unsigned long long)hi);
    *out = v == NULL ? otherwise : (uint64_t)i;
    return RS_OK;
}

rs_status rs_json_number(const json_t *object, const char *what, const char *key, double otherwise, double *out, rs_error *e)
{
    const json_t *v = field(object, key);
    if (v != NULL && !json_is_number(v)) return rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" is not a number", what, key);
    double d = v == NULL ? otherwise : json_number_value(v);
    if (!isfinite(d)) return rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" is missing", what, key);
    *out = d;
    return RS_OK;
}

rs_status rs_json_bool(const json_t *object, const char *what, const char *key, bool otherwise, bool *out, rs_error *e)
{
    const json_t *v = field(object, key);
    if (v != NULL && !json_is_boolean(v)) return rs_fail(e, RS_E_IMPORT, "%s: field \"%s\" is neither true nor false", what, key);
    *out = v == NULL ? otherwise : json_is_true(v);
    return RS_OK;
}
