// SPDX-License-Identifier: Apache-2.0
// Metadata as JSON.
#include "formats/value_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/limits.h"

void rs_hex_write(const uint8_t *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * n] = 0;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool rs_hex_read(const char *text, uint8_t *bytes, size_t n)
{
    if (strlen(text) != 2 * n) return false;
    for (size_t i = 0; i < n; i++) {
        const int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static json_t *bytes_to_json(const rs_value *v)
{
    char text[2 * RS_MAX_BIN + 1];
    rs_hex_write((const uint8_t *)v->str.p, v->str.len <= RS_MAX_BIN ? v->str.len : 0, text);
    return json_pack("{s:s}", "hex", text);
}

static json_t *uint_to_json(uint64_t u)
{
    char text[24];
    if (u <= INT64_MAX) return json_integer((json_int_t)u);
    snprintf(text, sizeof text, "%" PRIu64, u);
    return json_pack("{s:s}", "uint", text);
}

json_t *rs_value_to_json(const rs_value *v)
{
    json_t *out = NULL;
    bool ok = true;
    switch (v->type) {
    case RS_V_BOOL: return json_boolean(v->b);
    case RS_V_INT: return json_integer(v->i);
    case RS_V_UINT: return uint_to_json(v->u);
    case RS_V_F64: return json_real(v->f);
    case RS_V_STR: return json_stringn(v->str.p, v->str.len);
    case RS_V_BIN: return bytes_to_json(v);
    case RS_V_ARRAY:
        out = json_array();
        for (size_t i = 0; i < v->array.len; i++) ok = json_array_append_new(out, rs_value_to_json(v->array.item[i])) == 0 && ok;
        break;
    case RS_V_MAP:
        out = json_object();
        for (size_t i = 0; i < v->map.len; i++) ok = json_object_set_new(out, v->map.item[i].key, rs_value_to_json(v->map.item[i].value)) == 0 && ok;
        break;
    }
    if (ok) return out;
    json_decref(out);
    return NULL;
}

// {"hex": ...} and {"uint": ...}; *v stays NULL for any other object.
static rs_status from_special(rs_arena *a, const json_t *j, rs_value **v, rs_error *e)
{
    const char *hex = json_string_value(json_object_get(j, "hex")), *number = json_string_value(json_object_get(j, "uint"));
    uint8_t bytes[RS_MAX_BIN];
    if (json_object_size(j) != 1) return RS_OK;
    if (hex != NULL) {
        const size_t n = strlen(hex) / 2;
        if (n > RS_MAX_BIN) return rs_fail(e, RS_E_LIMIT, "%zu bytes", n);
        if (!rs_hex_read(hex, bytes, n)) return rs_fail(e, RS_E_IMPORT, "bytes that are not hexadecimal");
        *v = rs_value_bin(a, bytes, n);
        return *v != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "metadata");
    }
    if (number != NULL) {
        uint64_t u = 0;
        bool ok = *number != 0 && strlen(number) <= 20;
        for (const char *p = number; ok && *p != 0; p++) ok = *p >= '0' && *p <= '9' && rs_mul_ok(u, 10, &u) && rs_add_ok(u, (uint64_t)(*p - '0'), &u);
        if (!ok || u <= INT64_MAX) return rs_fail(e, RS_E_IMPORT, "\"uint\" is for integers above 2^63 - 1");
        *v = rs_value_uint(a, u);
        return *v != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "metadata");
    }
    return RS_OK;
}

rs_status rs_value_from_json(rs_arena *a, const json_t *j, rs_value **v, rs_error *e)
{
    rs_value *item;
    const char *key;
    json_t *at;
    size_t i;
    bool ok = true;
    *v = NULL;
    if (json_object_size(j) > RS_MAX_MAP || json_array_size(j) > RS_MAX_ARRAY) return rs_fail(e, RS_E_LIMIT, "a list or map of metadata that is too long");
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        RS_TRY(from_special(a, j, v, e));
        if (*v != NULL) return RS_OK;
        *v = rs_value_map(a);
        json_object_foreach((json_t *)(uintptr_t)j, key, at)
        {
            RS_TRY(rs_value_from_json(a, at, &item, e));
            ok = rs_map_put(a, *v, key, item) && ok;
        }
        break;
    case JSON_ARRAY:
        *v = rs_value_array(a);
        json_array_foreach(j, i, at)
        {
            RS_TRY(rs_value_from_json(a, at, &item, e));
            ok = rs_array_push(a, *v, item) && ok;
        }
        break;
    case JSON_STRING: *v = rs_value_str(a, json_string_value(j)); break;
    case JSON_INTEGER: *v = rs_value_int(a, json_integer_value(j)); break;
    case JSON_REAL: *v = rs_value_f64(a, json_real_value(j) == 0 ? 0 : json_real_value(j)); break;
    case JSON_TRUE:
    case JSON_FALSE: *v = rs_value_bool(a, json_is_true(j)); break;
    default: return rs_fail(e, RS_E_IMPORT, "null among metadata");
    }
    return ok && *v != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "metadata");
}
