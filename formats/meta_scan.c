// SPDX-License-Identifier: Apache-2.0
// Walks a msgpack map with a fixed stack and checks everything that bounds what the library may be asked to do with it.
#include "formats/meta_scan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "formats/limits.h"
#include "formats/utf8.h"

#define MAX_KEY 32

// One open map or array.
struct level {
    bool map;
    uint32_t count, done; // pairs or items, declared and begun
    uint32_t key; // where the latest key of a map stands
};

struct scan {
    const uint8_t *bytes;
    size_t len, at;
    uint32_t elements; // values declared by all maps and arrays so far
    int depth;
    bool in_key; // the key at s->at is being read: the path ends one level higher
    struct level level[RS_MAX_DEPTH];
};

// The letters of the key at offset at, which scan_value has passed: fixstr, or str8 for 32 letters.
static const uint8_t *key_at(const uint8_t *bytes, uint32_t at, size_t *n)
{
    bool long_form = bytes[at] == 0xd9;
    *n = long_form ? bytes[at + 1] : bytes[at] & 31u;
    return bytes + at + (long_form ? 2 : 1);
}

static int compare_keys(const uint8_t *bytes, uint32_t a, uint32_t b)
{
    size_t na, nb;
    const uint8_t *pa = key_at(bytes, a, &na), *pb = key_at(bytes, b, &nb);
    int order = memcmp(pa, pb, na < nb ? na : nb);
    return order != 0 ? order : (na > nb) - (na < nb);
}

// Where the scan stands, as "plan.except[2].a_bits".
static void path_of(const struct scan *s, char *path, size_t cap)
{
    size_t n = 0;
    path[0] = 0;
    for (int d = 0; d < s->depth - s->in_key && n + 1 < cap; d++) {
        const struct level *l = &s->level[d];
        if (l->done == 0) break;
        int w;
        if (l->map) {
            size_t length;
            const uint8_t *k = key_at(s->bytes, l->key, &length);
            w = snprintf(path + n, cap - n, "%s%.*s", d > 0 ? "." : "", (int)length, (const char *)k);
        } else {
            w = snprintf(path + n, cap - n, "[%u]", l->done - 1);
        }
        n += w > 0 ? (size_t)w : 0;
    }
}

static rs_status fail(const struct scan *s, rs_status status, const char *why, rs_error *e)
{
    char path[160];
    path_of(s, path, sizeof path);
    return rs_fail(e, status, "metadata byte %zu%s%s: %s", s->at, path[0] != 0 ? ", key " : "", path, why);
}

const char *rs_meta_scan_text(const uint8_t *p, size_t n)
{
    if (n > 0 && rs_utf8_valid((const char *)p, n) != n) return "text is not valid UTF-8";
    for (size_t i = 0; i < n; i++) {
        // What follows a lead byte is there, the text being valid. U+0080..009F are C2 80..9F.
        if (p[i] < 0x20 || p[i] == 0x7f || (p[i] == 0xc2 && p[i + 1] < 0xa0)) return "text has a control character";
        if (p[i] != 0xe2) continue;
        // U+202A..202E are E2 80 AA..AE, U+2066..2069 are E2 81 A6..A9.
        const bool override = (p[i + 1] == 0x80 && p[i + 2] >= 0xaa && p[i + 2] <= 0xae) || (p[i + 1] == 0x81 && p[i + 2] >= 0xa6 && p[i + 2] <= 0xa9);
        if (override) return "text has a direction-override character";
    }
    return NULL;
}

static bool key_text(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9') || p[i] == '_')) return false;
    return n >= 1 && n <= MAX_KEY;
}

// Big-endian number of n bytes at p.
static uint64_t number(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++) v = v << 8 | p[i];
    return v;
}

// What the first byte of a value says about it.
enum kind { SCALAR, FLOAT, TEXT, BYTES, ARRAY, MAP, BAD };
struct form {
    enum kind kind;
    int head;     // bytes of the length or of the number behind the first byte
    uint32_t count; // the length, when the first byte holds it
};

static struct form form_of(uint8_t b)
{
    if (b < 0x80 || b >= 0xe0 || b == 0xc2 || b == 0xc3) return (struct form){SCALAR, 0, 0};
    if (b < 0x90) return (struct form){MAP, 0, b & 15u};
    if (b < 0xa0) return (struct form){ARRAY, 0, b & 15u};
    if (b < 0xc0) return (struct form){TEXT, 0, b & 31u};
    switch (b) {
    case 0xc4: case 0xc5: case 0xc6: return (struct form){BYTES, 1 << (b - 0xc4), 0};
    case 0xcb: return (struct form){FLOAT, 8, 0};
    case 0xcc: case 0xcd: case 0xce: case 0xcf: return (struct form){SCALAR, 1 << (b - 0xcc), 0};
    case 0xd0: case 0xd1: case 0xd2: case 0xd3: return (struct form){SCALAR, 1 << (b - 0xd0), 0};
    case 0xd9: case 0xda: case 0xdb: return (struct form){TEXT, 1 << (b - 0xd9), 0};
    case 0xdc: case 0xdd: return (struct form){ARRAY, 2 << (b - 0xdc), 0};
    case 0xde: case 0xdf: return (struct form){MAP, 2 << (b - 0xde), 0};
    default: return (struct form){BAD, 0, 0};
    }
}

static const char *bad_byte(uint8_t b)
{
    return b == 0xc0 ? "nil is not allowed" : b == 0xc1 ? "c1 is not msgpack" : b == 0xca ? "float32 is not allowed" : "extension types are not allowed";
}

// Opens a map or array of count pairs or items that begin at start, all limits checked.
static rs_status open_level(struct scan *s, bool map, uint64_t count, size_t start, rs_error *e)
{
    if (count > (map ? RS_MAX_MAP : RS_MAX_ARRAY)) return fail(s, RS_E_LIMIT, map ? "map with more than 64 keys" : "list with more than 1024 items", e);
    if (s->depth == RS_MAX_DEPTH) return fail(s, RS_E_LIMIT, "more than 4 levels deep", e);
    s->elements += (uint32_t)count; // both small: at most 8192 + 1024
    if (s->elements > RS_MAX_META_ELEMENTS) return fail(s, RS_E_LIMIT, "more than 8192 values", e);
    if (count * (map ? 2 : 1) > s->len - start) return fail(s, RS_E_META, "count is larger than the bytes left", e);
    struct level *l = &s->level[s->depth++];
    l->map = map;
    l->count = (uint32_t)count;
    l->done = 0;
    s->at = start;
    return RS_OK;
}

// The value (a key if key) at s->at: checks it and moves behind it, for maps and arrays behind their count.
static rs_status scan_value(struct scan *s, bool key, rs_error *e)
{
    if (s->at == s->len) return fail(s, RS_E_META, "ends inside the map", e);
    const uint8_t first = s->bytes[s->at];
    const struct form f = form_of(first);
    if (key && f.kind != TEXT) return fail(s, RS_E_META, "key is not text", e);
    if (f.kind == BAD) return fail(s, RS_E_META, bad_byte(first), e);
    if ((size_t)f.head >= s->len - s->at) return fail(s, RS_E_META, "ends inside a value", e);
    const uint64_t n = f.head > 0 ? number(s->bytes + s->at + 1, f.head) : f.count;
    if (f.kind == TEXT && n > RS_MAX_STR) return fail(s, RS_E_LIMIT, "text longer than 4096 bytes", e);
    if (f.kind == BYTES && n > RS_MAX_BIN) return fail(s, RS_E_LIMIT, "more than 64 bytes of binary", e);
    const size_t start = s->at + 1 + (size_t)f.head; // of what follows the head; at most len
    switch (f.kind) {
    case FLOAT: {
        double d;
        memcpy(&d, &n, sizeof d);
        if (!isfinite(d)) return fail(s, RS_E_META, "number is not finite", e);
        if (d == 0 && signbit(d)) return fail(s, RS_E_META, "negative zero", e);
        break;
    }
    case TEXT: case BYTES: {
        if (n > s->len - start) return fail(s, RS_E_META, "ends inside a value", e);
        const char *wrong = f.kind == TEXT ? rs_meta_scan_text(s->bytes + start, (size_t)n) : NULL;
        if (wrong != NULL) return fail(s, RS_E_META, wrong, e);
        if (key && !key_text(s->bytes + start, (size_t)n)) return fail(s, RS_E_META, "key is not 1 to 32 characters a-z, 0-9, _", e);
        if (key && f.head > 1) return fail(s, RS_E_META, "key is not in its shortest form", e);
        s->at = start + (size_t)n;
        return RS_OK;
    }
    case ARRAY: case MAP: return open_level(s, f.kind == MAP, n, start, e);
    case SCALAR: case BAD: break;
    }
    s->at = start;
    return RS_OK;
}

// The key of a pair: its text, then that it comes after the key before it.
static rs_status scan_key(struct scan *s, struct level *l, rs_error *e)
{
    const uint32_t at = (uint32_t)s->at;
    s->in_key = true;
    RS_TRY(scan_value(s, true, e));
    const size_t end = s->at;
    s->at = at;
    const int order = l->done > 0 ? compare_keys(s->bytes, l->key, at) : -1;
    if (order == 0) return fail(s, RS_E_DUP, "key given twice", e);
    if (order > 0) return fail(s, RS_E_META, "keys are not in ascending order", e);
    s->in_key = false;
    s->at = end;
    l->key = at;
    return RS_OK;
}

rs_status rs_meta_scan(const uint8_t *bytes, size_t len, rs_error *e)
{
    struct scan s = {.bytes = bytes, .len = len};
    if (len > RS_MAX_META) return rs_fail(e, RS_E_LIMIT, "metadata of %zu bytes", len);
    const bool map = len > 0 && form_of(bytes[0]).kind == MAP;
    RS_TRY(scan_value(&s, false, e));
    while (s.depth > 0) {
        struct level *l = &s.level[s.depth - 1];
        if (l->done == l->count) {
            s.depth--;
            continue;
        }
        if (l->map) RS_TRY(scan_key(&s, l, e));
        l->done++;
        RS_TRY(scan_value(&s, false, e));
    }
    if (!map) return rs_fail(e, RS_E_META, "metadata is not a map");
    return s.at == len ? RS_OK : fail(&s, RS_E_META, "bytes after the map", e);
}
