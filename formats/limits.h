// SPDX-License-Identifier: Apache-2.0
// Every limit of the container (formats/FORMAT.md, "Limits"); all are tested at the limit and one above.
#ifndef RS_FORMATS_LIMITS_H
#define RS_FORMATS_LIMITS_H

#include <stdint.h>

#define RS_MAX_META (1u << 20)          // bytes of one frame's metadata
#define RS_MAX_META_ELEMENTS 8192u      // values in one frame's metadata, cumulative
#define RS_MAX_ARRAY 1024u
#define RS_MAX_MAP 64u
#define RS_MAX_STR 4096u
#define RS_MAX_BIN 64u
#define RS_MAX_DEPTH 4
#define RS_MAX_DIMS 8
#define RS_MAX_DIM (UINT64_C(1) << 40)
#define RS_MAX_ELEMENTS (UINT64_C(1) << 48)
#define RS_MAX_PAYLOAD (UINT64_C(1) << 40)
#define RS_MAX_TENSORS (1u << 20)
#define RS_MAX_FRAMES (1u << 22)
#define RS_MAX_PROV 64
#define RS_MAX_FILE (64u << 20)         // bytes of one fILe
#define RS_MAX_STREAM (UINT64_C(1) << 56)
#define RS_MAX_NAME 255
#define RS_MAX_ONLINE (1u << 24)        // length of the vectors of an online rotation
#define RS_CHUNK (4u << 20)             // bytes that one TSUM hash covers

#endif
