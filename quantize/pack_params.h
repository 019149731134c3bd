// SPDX-License-Identifier: Apache-2.0
// What rs-pack says about itself in the provenance.
#ifndef RS_QUANTIZE_PACK_PARAMS_H
#define RS_QUANTIZE_PACK_PARAMS_H

#include "formats/value.h"
#include "quantize/pack_cli.h"

// The flat map `params` of its link (FORMAT.md 9), made in a: what was asked for, and by GPTQ what its products are made with. NULL without memory.
rs_value *rs_pack_params(rs_arena *a, const rs_pack_cli *options);

#endif
