// SPDX-License-Identifier: Apache-2.0
// Reads the parts of a statistics frame that a screen needs.
#ifndef RS_INSPECT_VIEW_LOAD_H
#define RS_INSPECT_VIEW_LOAD_H

#include "inspect/view.h"

#define RS_VIEW_MAX_PARTS (64u << 20) // bytes of one frame's parts that are read to be shown

// Reads frame number `frame` of o, verified by its own sum, into ch (parts that are not there stay NULL). Free with rs_view_channels_free, also after an error. E_SUM, E_TRUNC and others;
// E_LIMIT above RS_VIEW_MAX_PARTS; E_NOMEM.
RS_MUST_CHECK rs_status rs_view_channels_read(rs_view_channels *ch, rs_outline *o, size_t frame, rs_error *e);
void rs_view_channels_free(rs_view_channels *ch);

#endif
