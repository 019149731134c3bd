// SPDX-License-Identifier: Apache-2.0
// Between metadata maps and structs: one table of keys per frame type, used by reader and writer alike.
#ifndef RS_FORMATS_FRAMES_H
#define RS_FORMATS_FRAMES_H

#include "formats/container.h"

// The records of the frames that container.h has no struct for.
typedef struct rs_file_head {
    char name[RS_MAX_NAME + 1];
    uint64_t sum;
} rs_file_head;
typedef struct rs_stat_frame {
    rs_stat_head head; // payload_len is not part of the metadata
    uint64_t sum;
} rs_stat_frame;
typedef struct rs_tsum_head {
    uint64_t n;
} rs_tsum_head;
typedef struct rs_psum_head {
    unsigned step;
    const rs_input_sum *in;
    size_t n_in;
} rs_psum_head;
typedef struct rs_indx_head {
    uint64_t sum;
} rs_indx_head;
typedef struct rs_abrt_head {
    unsigned status;
    const char *text, *tool;
} rs_abrt_head;

// Room for any record.
typedef union rs_record {
    rs_head head;
    rs_prov prov;
    rs_file_head file;
    rs_tensor tensor;
    rs_tsum_head tsum;
    rs_stat_frame stat;
    rs_psum_head psum;
    rs_indx_head indx;
    rs_abrt_head abrt;
} rs_record;

// How to read: where lists and texts are kept, whether ancillary keys are refused, whether the stream's minor version is newer than ours.
typedef struct rs_frames_how {
    rs_arena *arena;
    bool strict, newer;
} rs_frames_how;

// Fills record (rs_head for HEAD, rs_prov, rs_file_head, rs_tensor, rs_tsum_head, rs_stat_frame, rs_psum_head, rs_indx_head, nothing for ENDS, rs_abrt_head; zeroed
// first) from map, which must live as long as the record. Checks keys, types, ranges, and what the fields of a HEAD say about each other. E_META, E_VERSION, E_LIMIT, E_DUP, E_TENSOR.
RS_MUST_CHECK rs_status rs_frames_get(rs_frame_type type, const rs_frames_how *how, const rs_value *map, void *record, rs_error *e);
// Builds the map of record in a. E_NOMEM; what the reader would refuse is found by reading the map back (rs_frames_get).
RS_MUST_CHECK rs_status rs_frames_put(rs_frame_type type, rs_arena *a, const void *record, rs_value **map, rs_error *e);
// True for "gamma", "smooth", "r4", "rot.J", "rebase.J", "headrot.I"; *index is J or I, -1 for the others.
bool rs_frames_xf(const char *id, int64_t *index);
// True if text is prefix followed by a decimal number without leading zeros, which goes to *index.
bool rs_frames_index(const char *text, const char *prefix, int64_t *index);

#endif
