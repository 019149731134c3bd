// SPDX-License-Identifier: Apache-2.0
// What packing would write, as a table or as JSON: each tensor with bits, group, method and bytes, and what that makes together.
#ifndef RS_QUANTIZE_PACK_LIST_H
#define RS_QUANTIZE_PACK_LIST_H

#include "formats/text_buffer.h"
#include "quantize/pack.h"

// Reads the stream of s (after rs_stage_open) to its end, with the checks of rs_pack_head and rs_pack_stream but for those of values, and writes nothing. The caller frees b->p. E_LIMIT, E_NOMEM.
RS_MUST_CHECK rs_status rs_pack_list(rs_stage *s, const rs_pack_options *options, bool json, rs_text_buffer *b, rs_error *e);

#endif
