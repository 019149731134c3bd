// SPDX-License-Identifier: Apache-2.0
// A small tree of values (map, array, text, bytes, numbers) in one arena: what frame metadata is read into and written from.
#ifndef RS_FORMATS_VALUE_H
#define RS_FORMATS_VALUE_H

#include "formats/err.h"

typedef enum rs_value_type { RS_V_BOOL, RS_V_INT, RS_V_UINT, RS_V_F64, RS_V_STR, RS_V_BIN, RS_V_ARRAY, RS_V_MAP } rs_value_type;

typedef struct rs_value rs_value;
typedef struct rs_pair {
    const char *key;
    rs_value *value;
} rs_pair;
struct rs_value {
    rs_value_type type; // a non-negative integer is always RS_V_UINT
    union {
        bool b;
        int64_t i;
        uint64_t u;
        double f;
        struct { const char *p; size_t len; } str; // ends with NUL, which len does not count; bin uses it too
        struct { rs_value **item; size_t len, cap; } array;
        struct { rs_pair *item; size_t len, cap; } map;
    };
};

typedef struct rs_arena rs_arena;

// An empty arena (NULL without memory); everything made in it is freed at once by rs_arena_free (NULL allowed).
rs_arena *rs_arena_new(void);
void rs_arena_free(rs_arena *a);
// n zeroed bytes aligned to 16, NULL without memory.
void *rs_arena_alloc(rs_arena *a, size_t n);

// New values; NULL without memory (or if an argument value is NULL), and NULL passes through the setters, so one check at the end is enough.
rs_value *rs_value_bool(rs_arena *a, bool b);
rs_value *rs_value_int(rs_arena *a, int64_t i);
rs_value *rs_value_uint(rs_arena *a, uint64_t u);
rs_value *rs_value_f64(rs_arena *a, double f);
rs_value *rs_value_str(rs_arena *a, const char *s);
rs_value *rs_value_bin(rs_arena *a, const void *p, size_t len);
rs_value *rs_value_array(rs_arena *a);
rs_value *rs_value_map(rs_arena *a);
// Appends item to array; puts key (copied) = value into map, replacing an older value. False if anything is NULL or memory is short.
bool rs_array_push(rs_arena *a, rs_value *array, rs_value *item);
bool rs_map_put(rs_arena *a, rs_value *map, const char *key, rs_value *value);
// Value of key in map, NULL if absent or map is NULL or no map.
const rs_value *rs_map_get(const rs_value *map, const char *key);
// Typed access with a default when absent or of another type.
uint64_t rs_map_uint(const rs_value *map, const char *key, uint64_t otherwise);
int64_t rs_map_int(const rs_value *map, const char *key, int64_t otherwise);
double rs_map_f64(const rs_value *map, const char *key, double otherwise);
const char *rs_map_str(const rs_value *map, const char *key, const char *otherwise);
bool rs_map_bool(const rs_value *map, const char *key, bool otherwise);

#endif
