// SPDX-License-Identifier: Apache-2.0
// How one field of a record becomes a value of a metadata map and comes back: rows of a table, codecs, and the walkers of a table.
#ifndef RS_FORMATS_CODEC_H
#define RS_FORMATS_CODEC_H

#include "formats/frames.h"

typedef struct rs_field rs_field;
typedef struct rs_table rs_table;

// Reads one value into at, or makes one from it.
typedef rs_status rs_codec_get_fn(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e);
typedef rs_value *rs_codec_put_fn(rs_arena *a, const rs_field *f, const void *at, const void *record);

typedef struct rs_codec {
    rs_codec_get_fn *get;
    rs_codec_put_fn *put;
} rs_codec;

struct rs_field {
    const char *key;
    const rs_codec *codec;
    size_t off, size;             // place in the record; size of the target (text: its room)
    uint64_t lo, hi;              // range: a number, the length of a text, the items of a list
    bool (*has)(const void *record); // not NULL: an optional key, and when to write it
    const rs_table *sub;             // maps and lists of maps
    size_t count_off;             // lists: place of the count in the record
    const char *const *names;     // names of an enum, ending in NULL
    rs_status unknown;            // class of a name that is not listed
};

struct rs_table {
    const char *what;
    const rs_field *rows;
    size_t n_rows, size;
    rs_status unknown_key;
    rs_status (*check)(const rs_frames_how *how, const rs_value *map, void *record, rs_error *e);
};

// Reads map into record by the rows of t, refusing unknown keys; builds the map of record (NULL without memory or for a value that has no name).
RS_MUST_CHECK rs_status rs_codec_get(const rs_frames_how *how, const rs_table *t, const rs_value *map, void *record, rs_error *e);
rs_value *rs_codec_put(rs_arena *a, const rs_table *t, const void *record);

extern const rs_codec rs_codec_uint, rs_codec_index, rs_codec_bool, rs_codec_ratio, rs_codec_bits, rs_codec_rank,
     rs_codec_text, rs_codec_line, rs_codec_name, rs_codec_file_name, rs_codec_part_key, rs_codec_digest, rs_codec_enum, rs_codec_choice, rs_codec_role,
     rs_codec_enc, rs_codec_dtype, rs_codec_xf_id, rs_codec_dims, rs_codec_list, rs_codec_rows, rs_codec_lines, rs_codec_flat, rs_codec_map;

// Two codecs that others are made of: an enum (number of a name in names), and a list of maps in the arena (pointer and size_t).
rs_codec_get_fn rs_codec_get_enum, rs_codec_get_rows;

// Place and size of a member; place of the count of a list.
#define RS_PLACE(type, member) .off = offsetof(type, member), .size = sizeof(((type *)0)->member)
#define RS_COUNT(type, member) .count_off = offsetof(type, member)

#endif
