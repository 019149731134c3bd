// SPDX-License-Identifier: Apache-2.0
// The frames of a model stream that stand before its tensors, kept until the output has a head: a stage learns the sizes of the model from config.json among them.
#ifndef RS_TRANSFORMS_PRELUDE_H
#define RS_TRANSFORMS_PRELUDE_H

#include "formats/config.h"
#include "formats/reader.h"
#include "formats/writer.h"

typedef struct rs_prelude rs_prelude;

// Reads frames of r up to config.json and parses it. E_TENSOR: a tensor or the end comes first, or L is not that of the head; E_IMPORT; errors of reading. Free with rs_prelude_free.
RS_MUST_CHECK rs_status rs_prelude_read(rs_prelude **p, rs_reader *r, rs_error *e);
// Owned by p.
const rs_config *rs_prelude_config(const rs_prelude *p);
// Writes the frames as they came; untie: config.json says from now on that the head is a tensor of its own.
RS_MUST_CHECK rs_status rs_prelude_write(const rs_prelude *p, rs_writer *w, bool untie, rs_error *e);
// NULL allowed.
void rs_prelude_free(rs_prelude *p);

#endif
