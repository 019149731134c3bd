// SPDX-License-Identifier: Apache-2.0
// Values of a chat template and the memory they live in: all are made in one bounded heap and freed with it; none but a namespace ever changes.
#ifndef RS_FORMATS_TEMPLATE_VALUE_H
#define RS_FORMATS_TEMPLATE_VALUE_H

#include <jansson.h>

#include "formats/value.h"

#define RS_TEMPLATE_MAX_BYTES ((size_t)256 << 20) // of all values of one rendering
#define RS_TEMPLATE_MAX_STEPS 20000000u           // nodes visited and values looked at
#define RS_TEMPLATE_MAX_DEPTH 400u                // nodes within nodes, calls within calls
#define RS_TEMPLATE_MAX_NESTING 64u               // lists within lists

// What one rendering may spend, and where it is.
typedef struct rs_template_heap {
    rs_arena *arena;
    size_t bytes;    // given out so far
    uint64_t steps;
    unsigned depth;
    uint32_t line;   // of the template
    int64_t now;     // seconds since 1970, for strftime_now
    rs_status status;
    rs_error *e;
} rs_template_heap;

typedef enum rs_tv_kind { RS_TV_UNDEFINED, RS_TV_NONE, RS_TV_BOOL, RS_TV_INT, RS_TV_FLOAT, RS_TV_STR, RS_TV_LIST, RS_TV_MAP, RS_TV_NAMESPACE, RS_TV_LOOP, RS_TV_CALL } rs_tv_kind;
// What Python would have where a list stands: a view cannot be indexed, a generator can be read once.
typedef enum rs_tv_sort { RS_TV_PLAIN, RS_TV_TUPLE, RS_TV_RANGE, RS_TV_VIEW, RS_TV_GENERATOR } rs_tv_sort;

typedef struct rs_tv rs_tv;
struct rs_tv {
    rs_tv_kind kind;
    union {
        bool b;
        int64_t i;
        double f;
        struct { const char *p; size_t len; } str; // valid UTF-8, not ended by NUL; undefined: the name that was not found, p NULL where an argument is absent
        struct rs_tv_list *list;
        struct rs_tv_map *map;         // of a namespace too
        struct rs_tv_loop *loop;
        const struct rs_tv_call *call;
    };
};
typedef struct rs_tv_list {
    rs_tv_sort sort;
    unsigned nesting;
    rs_tv *item;
    size_t n, room;
} rs_tv_list;
typedef struct rs_tv_pair {
    rs_tv key; // text
    rs_tv value;
} rs_tv_pair;
typedef struct rs_tv_map {
    unsigned nesting;
    rs_tv_pair *item;
    size_t n, room;
} rs_tv_map;
typedef struct rs_tv_loop {
    const rs_tv_list *list;
    size_t at;
    int64_t depth; // of loops in loops, from 1
} rs_tv_loop;
// Something that can be called: a function of the language by its name, a method with its object, or a macro.
typedef struct rs_tv_call {
    const char *name;
    rs_tv self;                       // of a method
    const struct rs_template_node *macro; // NULL: none
    struct rs_template_scope *scope;  // where the macro was defined
} rs_tv_call;

// A growing text in the heap.
typedef struct rs_template_text {
    char *p;
    size_t len, room;
} rs_template_text;

#define RS_TV_STR_OF(text, length) ((rs_tv){.kind = RS_TV_STR, .str = {(text), (length)}})
#define RS_TV_LITERAL(text) RS_TV_STR_OF("" text, sizeof(text) - 1)
#define RS_TV_BOOL_OF(value) ((rs_tv){.kind = RS_TV_BOOL, .b = (value)})
#define RS_TV_INT_OF(value) ((rs_tv){.kind = RS_TV_INT, .i = (value)})
#define RS_TV_FLOAT_OF(value) ((rs_tv){.kind = RS_TV_FLOAT, .f = (value)})

// Records "line N: ..." and returns status.
rs_status rs_template_fail(rs_template_heap *h, rs_status status, const char *fmt, ...) RS_PRINTF(3, 4);
// n zeroed bytes; NULL with h->status set (E_LIMIT, E_NOMEM).
void *rs_template_alloc(rs_template_heap *h, size_t n);
// Counts n steps. E_LIMIT.
RS_MUST_CHECK rs_status rs_template_steps(rs_template_heap *h, uint64_t n);
// Appends to a text. E_LIMIT, E_NOMEM.
RS_MUST_CHECK rs_status rs_template_add(rs_template_heap *h, rs_template_text *t, const char *p, size_t len);

// Empty list, map (RS_TV_MAP or RS_TV_NAMESPACE).
RS_MUST_CHECK rs_status rs_tv_list_new(rs_template_heap *h, rs_tv_sort sort, rs_tv *out);
RS_MUST_CHECK rs_status rs_tv_map_new(rs_template_heap *h, rs_tv_kind kind, rs_tv *out);
// Appends to a list that is being made; puts key (text) = value into a map. E_LIMIT: nested too deeply, or no room.
RS_MUST_CHECK rs_status rs_tv_push(rs_template_heap *h, rs_tv *list, rs_tv item);
RS_MUST_CHECK rs_status rs_tv_put(rs_template_heap *h, rs_tv *map, rs_tv key, rs_tv value);
// Value of a key, NULL if absent.
const rs_tv *rs_tv_get(const rs_tv_map *map, const char *key, size_t len);
// JSON as values; texts stay in the document, which must live as long.
RS_MUST_CHECK rs_status rs_tv_from_json(rs_template_heap *h, const json_t *j, rs_tv *out);

bool rs_tv_is(const rs_tv *v, const char *text); // a text of these characters
bool rs_tv_absent(const rs_tv *v);               // an argument that was not given
bool rs_tv_number(const rs_tv *v, double *f);    // a number or truth value
bool rs_tv_integer(const rs_tv *v, int64_t *i);  // an integer or truth value
// "text", "number", ... for messages.
const char *rs_tv_type(const rs_tv *v);
// Truth as Python has it.
bool rs_tv_true(const rs_tv *v);
RS_MUST_CHECK rs_status rs_tv_equal(rs_template_heap *h, const rs_tv *a, const rs_tv *b, bool *out);
// -1, 0, 1. E_IMPORT for things that have no order.
RS_MUST_CHECK rs_status rs_tv_compare(rs_template_heap *h, const rs_tv *a, const rs_tv *b, int *out);
// Whether b holds a.
RS_MUST_CHECK rs_status rs_tv_in(rs_template_heap *h, const rs_tv *a, const rs_tv *b, bool *out);
// Number of items of a text, list or map; -1: it has none.
int64_t rs_tv_length(const rs_tv *v);
// The items of a text (characters), list or map (keys) as a list, which may be v's own; a generator is empty afterwards. E_IMPORT.
RS_MUST_CHECK rs_status rs_tv_items(rs_template_heap *h, const rs_tv *v, rs_tv *out);
// object[index], undefined without such an item; object[start:stop:step] (none: left out). E_IMPORT.
RS_MUST_CHECK rs_status rs_tv_index(rs_template_heap *h, const rs_tv *object, const rs_tv *index, rs_tv *out);
RS_MUST_CHECK rs_status rs_tv_slice(rs_template_heap *h, const rs_tv *object, const rs_tv bound[3], rs_tv *out);

#endif
