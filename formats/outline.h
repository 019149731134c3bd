// SPDX-License-Identifier: Apache-2.0
// What a stream says about itself, without the payloads of its tensors: a file through its tail and index, a pipe frame by frame. Payloads can be asked for afterwards.
#ifndef RS_FORMATS_OUTLINE_H
#define RS_FORMATS_OUTLINE_H

#include "formats/container.h"
#include "formats/io.h"

typedef struct rs_outline rs_outline;

// A tensor as far as a list needs it; rs_outline_tensor_head reads the rest.
typedef struct rs_outline_tensor {
    const char *name;
    rs_role role;
    rs_enc enc;
    rs_dtype dtype;
    int64_t layer;
    int n_dims;
    uint64_t rows, cols; // rows: all dims but the last one multiplied; cols: the last one (of a scalar 1, 1); at most 2^64 - 1
    uint64_t group, rank; // rank: of lowrank
    uint64_t offset, payload_off, payload_len;
} rs_outline_tensor;

// A statistics frame with its figures; parts are read by rs_outline_stat_read.
typedef struct rs_outline_stat {
    const char *name, *of;
    unsigned step;
    const rs_value *values;
    uint64_t offset, payload_off, payload_len;
} rs_outline_stat;

// Opens path ("-": standard input). A regular file is outlined at once: signature, HEAD, chain, tail, INDX and the metadata of each frame are checked, payloads are not read (E_TRUNC where the
// tail is missing). Of anything else signature, HEAD and chain are read; rs_outline_step reads on, and all bytes are kept in an unlinked temporary. Free with rs_outline_close.
RS_MUST_CHECK rs_status rs_outline_open(rs_outline **o, const char *path, rs_error *e);
// Reads the next frame of a pipe and verifies it; *more is false once ENDS agreed (of a file at once). The first error comes again at each call. In two halves for a thread of its own:
// fetch may wait for bytes and changes nothing that the queries below see, accept enters what it fetched and never waits (it must not run beside them).
RS_MUST_CHECK rs_status rs_outline_step(rs_outline *o, bool *more, rs_error *e);
RS_MUST_CHECK rs_status rs_outline_fetch(rs_outline *o, rs_error *e);
RS_MUST_CHECK rs_status rs_outline_accept(rs_outline *o, bool *more, rs_error *e);
// NULL allowed.
void rs_outline_close(rs_outline *o);

// All below is owned by o and valid until it is closed; a step may move the lists, but not the texts.
const char *rs_outline_name(const rs_outline *o); // for messages
const rs_head *rs_outline_head(const rs_outline *o);
const rs_prov *rs_outline_prov(const rs_outline *o, size_t *n);
// Inputs of a step (*n of them); NULL before PSUM was read.
const rs_input_sum *rs_outline_inputs(const rs_outline *o, unsigned step, size_t *n);
size_t rs_outline_tensors(const rs_outline *o);
const rs_outline_tensor *rs_outline_tensor_at(const rs_outline *o, size_t i);
// By name; NULL if there is none (yet).
const rs_outline_tensor *rs_outline_find(const rs_outline *o, const char *name);
size_t rs_outline_stats(const rs_outline *o);
const rs_outline_stat *rs_outline_stat_at(const rs_outline *o, size_t i);
// The number of the frame with this name, kind and step; -1 if there is none.
int64_t rs_outline_stat_find(const rs_outline *o, const char *name, const char *of, unsigned step);
// Frames of a type (RS_FRAME_UNKNOWN: unknown ones that are safe to copy; RS_FRAME_END: all).
uint32_t rs_outline_count(const rs_outline *o, rs_frame_type type);
// True once the tail was found (a file) or ENDS agreed (a pipe). Digest of the stream as ENDS holds it, zeros before; its size, or the bytes so far.
bool rs_outline_complete(const rs_outline *o);
const uint8_t *rs_outline_digest(const rs_outline *o);
uint64_t rs_outline_size(const rs_outline *o);
// True for one that was put together (below): no payload can be read but those that were given.
bool rs_outline_kept(const rs_outline *o);
// True for a regular file, which can be opened once more by its path.
bool rs_outline_seekable(const rs_outline *o);

// Reads the whole description of tensor i, of frame i with its payload (verified by its sum; *payload by malloc, the caller frees; NULL for an empty one), or n bytes of the stream at off.
// They do not move what steps read. Any class of error; E_TRUNC where the file has been cut since.
RS_MUST_CHECK rs_status rs_outline_tensor_head(rs_outline *o, size_t i, rs_tensor *t, rs_error *e);
RS_MUST_CHECK rs_status rs_outline_stat_read(rs_outline *o, size_t i, rs_stat_head *head, uint8_t **payload, rs_error *e);
RS_MUST_CHECK rs_status rs_outline_read(rs_outline *o, uint64_t off, void *buf, size_t n, rs_error *e);

// An outline that is put together from metadata which something kept, in the order of a stream: HEAD, PROV, then TENS and STAT, then PSUM; each map is judged as that of a frame is. Free with
// rs_outline_close. E_NOMEM.
RS_MUST_CHECK rs_status rs_outline_new(rs_outline **o, const char *name, rs_error *e);
// Enters one frame by its map; payload [len] (copied) is that of STAT, NULL for the others. What a reader refuses in metadata is refused here with the same class; E_FRAME (order).
RS_MUST_CHECK rs_status rs_outline_enter(rs_outline *o, rs_frame_type type, const rs_value *map, const void *payload, uint64_t len, rs_error *e);
// Ends it: what the stream was that it was taken from, and how many frames of each type it had. E_TENSOR, E_PROV where something is missing of a complete one; E_FRAME without HEAD and PROV.
RS_MUST_CHECK rs_status rs_outline_seal(rs_outline *o, const uint8_t digest[16], uint64_t size, bool complete, const uint32_t count[RS_FRAME_UNKNOWN + 1], rs_error *e);

#endif
