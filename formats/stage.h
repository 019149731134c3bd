// SPDX-License-Identifier: Apache-2.0
// What every filter of the pipe does alike: open a stream, write its head and provenance chain anew with one link more, pass frames through, finish or abort.
#ifndef RS_FORMATS_STAGE_H
#define RS_FORMATS_STAGE_H

#include "formats/mapped.h"
#include "formats/reader.h"
#include "formats/writer.h"

typedef struct rs_stage {
    rs_in *in;
    rs_reader *reader; // its head is what arrived
    rs_out *out;
    rs_writer *writer; // after rs_stage_begin
    const char *tool;
    rs_arena *arena;   // for params of the own link
    bool done;         // rs_stage_finish succeeded
} rs_stage;

// Writes the provenance link of a tool: argv filtered as FORMAT.md says, params (NULL: empty), version and commit filled in. For tools that make a stream anew; filters
// get it from rs_stage_begin.
RS_MUST_CHECK rs_status rs_stage_link(rs_writer *w, const char *tool, int argc, char *const *argv, const rs_value *params, rs_error *e);
// Opens input ("-" or NULL: standard input) and reads its head and chain. On failure s is still to be closed by rs_stage_close.
RS_MUST_CHECK rs_status rs_stage_open(rs_stage *s, const char *tool, const char *input, rs_error *e);
// The same over a file that is mapped already (borrowed): its frames are read once more. Its stream is to be named among the others of rs_stage_output.
RS_MUST_CHECK rs_status rs_stage_open_mapped(rs_stage *s, const char *tool, const rs_mapped *m, rs_error *e);
// Opens output (not one of the inputs: other inputs of the tool in others[0..n_others)). A tool whose head or params need long work calls it first, so that a bad path
// is known at once; for the others rs_stage_begin does it.
RS_MUST_CHECK rs_status rs_stage_output(rs_stage *s, const char *output, rs_in *const *others, size_t n_others, rs_error *e);
// Opens output unless rs_stage_output has, writes head, the old chain and own link (argv filtered as FORMAT.md says, params may be NULL; ver and commit are filled in).
RS_MUST_CHECK rs_status rs_stage_begin(rs_stage *s, const char *output, rs_in *const *others, size_t n_others, const rs_head *head, int argc, char *const *argv, const rs_value *params, rs_error *e);
// Passes the current frame (f as rs_reader_next gave it, payload not yet read) through unchanged.
RS_MUST_CHECK rs_status rs_stage_copy(rs_stage *s, const rs_frame *f, rs_error *e);
// Adds another input (beside the stream itself, which is added by itself) to this stage's PSUM.
RS_MUST_CHECK rs_status rs_stage_add_input(rs_stage *s, const rs_input_sum *sum, rs_error *e);
// After RS_FRAME_END of the reader: copies older PSUM entries, adds own, finishes and commits.
RS_MUST_CHECK rs_status rs_stage_finish(rs_stage *s, rs_error *e);
// Frees everything; if finish was not reached, sends ABRT downstream with the text of e (NULL allowed).
void rs_stage_close(rs_stage *s, const rs_error *e);
// The step of the own link (after begin).
unsigned rs_stage_step(const rs_stage *s);

#endif
