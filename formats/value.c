// SPDX-License-Identifier: Apache-2.0
// Values and the arena they live in: blocks that grow by doubling and are freed together.
#include "formats/value.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BLOCK 4096u
#define LARGEST_BLOCK (1u << 20)

struct block {
    struct block *next;
    size_t used, cap;
    alignas(16) unsigned char bytes[];
};

struct rs_arena {
    struct block *top;
    size_t grow;
};

rs_arena *rs_arena_new(void)
{
    rs_arena *a = calloc(1, sizeof *a);
    if (a != NULL) a->grow = FIRST_BLOCK;
    return a;
}

void rs_arena_free(rs_arena *a)
{
    if (a == NULL) return;
    for (struct block *b = a->top, *next; b != NULL; b = next) {
        next = b->next;
        free(b);
    }
    free(a);
}

void *rs_arena_alloc(rs_arena *a, size_t n)
{
    if (a == NULL || n > SIZE_MAX / 2) return NULL;
    n = (n + 15) & ~(size_t)15;
    struct block *b = a->top;
    if (b == NULL || n > b->cap - b->used) {
        size_t cap = n > a->grow ? n : a->grow;
        b = malloc(sizeof *b + cap);
        if (b == NULL) return NULL;
        *b = (struct block){.next = a->top, .cap = cap};
        a->top = b;
        if (a->grow < LARGEST_BLOCK) a->grow *= 2;
    }
    void *p = b->bytes + b->used;
    b->used += n;
    return memset(p, 0, n);
}

static rs_value *new_value(rs_arena *a, rs_value_type type)
{
    rs_value *v = rs_arena_alloc(a, sizeof *v);
    if (v != NULL) v->type = type;
    return v;
}

rs_value *rs_value_bool(rs_arena *a, bool b)
{
    rs_value *v = new_value(a, RS_V_BOOL);
    if (v != NULL) v->b = b;
    return v;
}

rs_value *rs_value_int(rs_arena *a, int64_t i)
{
    if (i >= 0) return rs_value_uint(a, (uint64_t)i);
    rs_value *v = new_value(a, RS_V_INT);
    if (v != NULL) v->i = i;
    return v;
}

rs_value *rs_value_uint(rs_arena *a, uint64_t u)
{
    rs_value *v = new_value(a, RS_V_UINT);
    if (v != NULL) v->u = u;
    return v;
}

rs_value *rs_value_f64(rs_arena *a, double f)
{
    rs_value *v = new_value(a, RS_V_F64);
    if (v != NULL) v->f = f;
    return v;
}

// Copy of n bytes at p with a NUL behind them.
static char *copy(rs_arena *a, const void *p, size_t n)
{
    char *c = n < SIZE_MAX / 2 ? rs_arena_alloc(a, n + 1) : NULL;
    if (c != NULL && n > 0) memcpy(c, p, n);
    return c;
}

static rs_value *new_bytes(rs_arena *a, rs_value_type type, const void *p, size_t len)
{
    if (p == NULL && len > 0) return NULL;
    rs_value *v = new_value(a, type);
    char *c = copy(a, p, len);
    if (v == NULL || c == NULL) return NULL;
    v->str.p = c;
    v->str.len = len;
    return v;
}

rs_value *rs_value_str(rs_arena *a, const char *s)
{
    return s != NULL ? new_bytes(a, RS_V_STR, s, strlen(s)) : NULL;
}

rs_value *rs_value_bin(rs_arena *a, const void *p, size_t len)
{
    return new_bytes(a, RS_V_BIN, p, len);
}

rs_value *rs_value_array(rs_arena *a)
{
    return new_value(a, RS_V_ARRAY);
}

rs_value *rs_value_map(rs_arena *a)
{
    return new_value(a, RS_V_MAP);
}

// A list of *cap entries of the given size with room for one more than len: the old one, or a copy twice as long; NULL without memory.
static void *roomy(rs_arena *a, void *list, size_t len, size_t *cap, size_t size)
{
    if (len < *cap) return list;
    size_t bigger = *cap == 0 ? 4 : *cap * 2;
    if (bigger > SIZE_MAX / 4 / size) return NULL;
    void *p = rs_arena_alloc(a, bigger * size);
    if (p == NULL) return NULL;
    if (len > 0) memcpy(p, list, len * size);
    *cap = bigger;
    return p;
}

bool rs_array_push(rs_arena *a, rs_value *array, rs_value *item)
{
    if (array == NULL || array->type != RS_V_ARRAY || item == NULL) return false;
    rs_value **list = roomy(a, array->array.item, array->array.len, &array->array.cap, sizeof *list);
    if (list == NULL) return false;
    array->array.item = list;
    list[array->array.len++] = item;
    return true;
}

static rs_pair *find(const rs_value *map, const char *key)
{
    if (map == NULL || map->type != RS_V_MAP || key == NULL) return NULL;
    for (size_t i = 0; i < map->map.len; i++)
        if (strcmp(map->map.item[i].key, key) == 0) return &map->map.item[i];
    return NULL;
}

bool rs_map_put(rs_arena *a, rs_value *map, const char *key, rs_value *value)
{
    if (map == NULL || map->type != RS_V_MAP || key == NULL || value == NULL) return false;
    rs_pair *old = find(map, key);
    if (old != NULL) {
        old->value = value;
        return true;
    }
    rs_pair *list = roomy(a, map->map.item, map->map.len, &map->map.cap, sizeof *list);
    if (list == NULL) return false;
    map->map.item = list;
    char *name = copy(a, key, strlen(key));
    if (name == NULL) return false;
    list[map->map.len++] = (rs_pair){name, value};
    return true;
}

const rs_value *rs_map_get(const rs_value *map, const char *key)
{
    const rs_pair *p = find(map, key);
    return p != NULL ? p->value : NULL;
}

// Value of key if it has the type, else NULL.
static const rs_value *typed(const rs_value *map, const char *key, rs_value_type type)
{
    const rs_value *v = rs_map_get(map, key);
    return v != NULL && v->type == type ? v : NULL;
}

uint64_t rs_map_uint(const rs_value *map, const char *key, uint64_t otherwise)
{
    const rs_value *v = typed(map, key, RS_V_UINT);
    return v != NULL ? v->u : otherwise;
}

int64_t rs_map_int(const rs_value *map, const char *key, int64_t otherwise)
{
    const rs_value *v = rs_map_get(map, key);
    if (v != NULL && v->type == RS_V_INT) return v->i;
    if (v != NULL && v->type == RS_V_UINT && v->u <= INT64_MAX) return (int64_t)v->u;
    return otherwise;
}

double rs_map_f64(const rs_value *map, const char *key, double otherwise)
{
    const rs_value *v = typed(map, key, RS_V_F64);
    return v != NULL ? v->f : otherwise;
}

const char *rs_map_str(const rs_value *map, const char *key, const char *otherwise)
{
    const rs_value *v = typed(map, key, RS_V_STR);
    return v != NULL ? v->str.p : otherwise;
}

bool rs_map_bool(const rs_value *map, const char *key, bool otherwise)
{
    const rs_value *v = typed(map, key, RS_V_BOOL);
    return v != NULL ? v->b : otherwise;
}
