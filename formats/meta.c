// SPDX-License-Identifier: Apache-2.0
// Frame metadata between bytes and values, with msgpack-c in the middle; what it reads has passed rs_meta_scan, what it reads or writes is encoded canonically.
#include "formats/meta.h"

#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "formats/limits.h"
#include "formats/meta_scan.h"

static rs_status no_memory(rs_error *e)
{
    return rs_fail(e, RS_E_NOMEM, "no memory for metadata");
}

// ---- reading: msgpack_object to rs_value

// One map or array whose members are being converted.
struct pending {
    const msgpack_object *from;
    rs_value *to;
    uint32_t done;
};

// The value of o without its members; NULL without memory, *open true if members are to follow.
static rs_value *convert_one(rs_arena *a, const msgpack_object *o, bool *open)
{
    *open = false;
    switch (o->type) {
    case MSGPACK_OBJECT_BOOLEAN: return rs_value_bool(a, o->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER: return rs_value_uint(a, o->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER: return rs_value_int(a, o->via.i64);
    case MSGPACK_OBJECT_FLOAT64: return rs_value_f64(a, o->via.f64);
    case MSGPACK_OBJECT_BIN: return rs_value_bin(a, o->via.bin.ptr, o->via.bin.size);
    case MSGPACK_OBJECT_STR: {
        rs_value *v = rs_value_bin(a, o->via.str.ptr, o->via.str.size);
        if (v != NULL) v->type = RS_V_STR;
        return v;
    }
    case MSGPACK_OBJECT_ARRAY: *open = true; return rs_value_array(a);
    case MSGPACK_OBJECT_MAP: *open = true; return rs_value_map(a);
    default: return NULL; // the scan let nothing else pass
    }
}

// Converts the member number p->done of p and adds it to p->to; *member and *open as convert_one.
static bool convert_member(rs_arena *a, struct pending *p, const msgpack_object **member, rs_value **value, bool *open)
{
    if (p->from->type == MSGPACK_OBJECT_ARRAY) {
        *member = &p->from->via.array.ptr[p->done++];
        *value = convert_one(a, *member, open);
        return rs_array_push(a, p->to, *value);
    }
    const msgpack_object_kv *kv = &p->from->via.map.ptr[p->done++];
    char key[RS_MAX_NAME + 1];
    if (kv->key.via.str.size >= sizeof key) return false;
    memcpy(key, kv->key.via.str.ptr, kv->key.via.str.size);
    key[kv->key.via.str.size] = 0;
    *member = &kv->val;
    *value = convert_one(a, *member, open);
    return rs_map_put(a, p->to, key, *value);
}

// Converts a whole object. The stack is as deep as the scan lets an object be.
static rs_value *convert(rs_arena *a, const msgpack_object *root)
{
    struct pending stack[RS_MAX_DEPTH];
    bool open;
    rs_value *top = convert_one(a, root, &open);
    int depth = 0;
    if (top == NULL) return NULL;
    if (open) stack[depth++] = (struct pending){root, top, 0};
    while (depth > 0) {
        struct pending *p = &stack[depth - 1];
        uint32_t count = p->from->type == MSGPACK_OBJECT_ARRAY ? p->from->via.array.size : p->from->via.map.size;
        if (p->done == count) {
            depth--;
            continue;
        }
        const msgpack_object *member = NULL;
        rs_value *value = NULL;
        if (!convert_member(a, p, &member, &value, &open)) return NULL;
        if (!open) continue;
        if (depth == RS_MAX_DEPTH) return NULL;
        stack[depth++] = (struct pending){member, value, 0};
    }
    return top;
}

// ---- writing: rs_value to bytes

// One map or array whose members are being written; order lists the pairs of a map by key.
struct writing {
    const rs_value *value;
    size_t done;
    uint8_t order[RS_MAX_MAP];
};

// Sorts the (at most RS_MAX_MAP) pairs of w by key; insertion, for they mostly come in order.
static void sort_pairs(struct writing *w)
{
    const rs_pair *item = w->value->map.item;
    for (size_t i = 0; i < w->value->map.len; i++) {
        size_t j = i;
        for (; j > 0 && strcmp(item[w->order[j - 1]].key, item[i].key) > 0; j--) w->order[j] = w->order[j - 1];
        w->order[j] = (uint8_t)i;
    }
}

static rs_status open_writing(struct writing *stack, int *depth, const rs_value *v, rs_error *e)
{
    if (v->type == RS_V_MAP && v->map.len > RS_MAX_MAP) return rs_fail(e, RS_E_LIMIT, "metadata map with more than %u keys", RS_MAX_MAP);
    if (v->type == RS_V_ARRAY && v->array.len > RS_MAX_ARRAY) return rs_fail(e, RS_E_LIMIT, "metadata list with more than %u items", RS_MAX_ARRAY);
    if (*depth == RS_MAX_DEPTH) return rs_fail(e, RS_E_LIMIT, "metadata more than %d levels deep", RS_MAX_DEPTH);
    struct writing *w = &stack[(*depth)++];
    w->value = v;
    w->done = 0;
    if (v->type == RS_V_MAP) sort_pairs(w);
    return RS_OK;
}

// Packs n bytes of text or binary with their head.
static int pack_bytes(msgpack_packer *k, const rs_value *v)
{
    if (v->type == RS_V_STR) return msgpack_pack_str_with_body(k, v->str.p, v->str.len);
    return msgpack_pack_bin_with_body(k, v->str.p, v->str.len);
}

// Packs v itself, of a map or array only the head; nonzero without memory.
static int pack_one(msgpack_packer *k, const rs_value *v)
{
    switch (v->type) {
    case RS_V_BOOL: return v->b ? msgpack_pack_true(k) : msgpack_pack_false(k);
    case RS_V_INT: return msgpack_pack_int64(k, v->i);
    case RS_V_UINT: return msgpack_pack_uint64(k, v->u);
    case RS_V_F64: return msgpack_pack_double(k, v->f);
    case RS_V_STR: case RS_V_BIN: return pack_bytes(k, v);
    case RS_V_ARRAY: return msgpack_pack_array(k, v->array.len);
    case RS_V_MAP: return msgpack_pack_map(k, v->map.len);
    }
    return -1;
}

// Writes map into b by walking it with a fixed stack. Stops as soon as the size limit is passed.
static rs_status pack(msgpack_sbuffer *b, const rs_value *map, rs_error *e)
{
    struct writing stack[RS_MAX_DEPTH];
    int depth = 0;
    msgpack_packer k;
    msgpack_packer_init(&k, b, msgpack_sbuffer_write);
    RS_TRY(open_writing(stack, &depth, map, e));
    if (pack_one(&k, map) != 0) return no_memory(e);
    while (depth > 0) {
        struct writing *w = &stack[depth - 1];
        bool is_map = w->value->type == RS_V_MAP;
        if (w->done == (is_map ? w->value->map.len : w->value->array.len)) {
            depth--;
            continue;
        }
        const rs_pair *pair = is_map ? &w->value->map.item[w->order[w->done]] : NULL;
        const rs_value *v = is_map ? pair->value : w->value->array.item[w->done];
        w->done++;
        if (pair != NULL && msgpack_pack_str_with_body(&k, pair->key, strlen(pair->key)) != 0) return no_memory(e);
        if ((v->type == RS_V_STR && v->str.len > RS_MAX_STR) || (v->type == RS_V_BIN && v->str.len > RS_MAX_BIN))
            return rs_fail(e, RS_E_LIMIT, "metadata text or binary of %zu bytes", v->str.len);
        if (pack_one(&k, v) != 0) return no_memory(e);
        if (b->size > RS_MAX_META) return rs_fail(e, RS_E_LIMIT, "metadata of more than %u bytes", RS_MAX_META);
        if (v->type == RS_V_MAP || v->type == RS_V_ARRAY) RS_TRY(open_writing(stack, &depth, v, e));
    }
    return RS_OK;
}

rs_status rs_meta_encode(const rs_value *map, uint8_t **bytes, size_t *len, rs_error *e)
{
    *bytes = NULL;
    *len = 0;
    if (map == NULL) return no_memory(e); // a tree that could not be built
    if (map->type != RS_V_MAP) return rs_fail(e, RS_E_META, "metadata is not a map");
    msgpack_sbuffer b;
    msgpack_sbuffer_init(&b);
    rs_status status = pack(&b, map, e);
    if (status == RS_OK) status = rs_meta_scan((const uint8_t *)b.data, b.size, e); // what we write obeys what we ask of others
    if (status != RS_OK) {
        msgpack_sbuffer_destroy(&b);
        return status;
    }
    *len = b.size;
    *bytes = (uint8_t *)msgpack_sbuffer_release(&b);
    return RS_OK;
}

static rs_status unpack(rs_arena *a, const uint8_t *bytes, size_t len, rs_value **map, rs_error *e)
{
    msgpack_zone zone;
    msgpack_object root;
    size_t end = 0;
    if (!msgpack_zone_init(&zone, MSGPACK_ZONE_CHUNK_SIZE)) return no_memory(e);
    msgpack_unpack_return r = msgpack_unpack((const char *)bytes, len, &end, &zone, &root);
    rs_status status = RS_OK;
    if (r == MSGPACK_UNPACK_NOMEM_ERROR) {
        status = no_memory(e);
    } else if (r != MSGPACK_UNPACK_SUCCESS || end != len || root.type != MSGPACK_OBJECT_MAP) {
        status = rs_fail(e, RS_E_META, "metadata is not one whole msgpack map");
    } else {
        *map = convert(a, &root);
        if (*map == NULL) status = no_memory(e);
    }
    msgpack_zone_destroy(&zone);
    return status;
}

rs_status rs_meta_parse(rs_arena *a, const uint8_t *bytes, size_t len, rs_value **map, rs_error *e)
{
    *map = NULL;
    rs_value *read = NULL;
    RS_TRY(rs_meta_scan(bytes, len, e));
    RS_TRY(unpack(a, bytes, len, &read, e));
    msgpack_sbuffer b;
    msgpack_sbuffer_init(&b);
    rs_status status = pack(&b, read, e);
    if (status == RS_OK && (b.size != len || memcmp(b.data, bytes, len) != 0)) {
        size_t at = 0;
        while (at < len && at < b.size && (uint8_t)b.data[at] == bytes[at]) at++;
        status = rs_fail(e, RS_E_META, "metadata byte %zu: not in its shortest form", at);
    }
    msgpack_sbuffer_destroy(&b);
    if (status == RS_OK) *map = read;
    return status;
}
