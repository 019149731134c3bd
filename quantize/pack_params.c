// SPDX-License-Identifier: Apache-2.0
// The provenance of packing.
#include "quantize/pack_params.h"

#include <cblas.h>

#include "transforms/device.h"

rs_value *rs_pack_params(rs_arena *a, const rs_pack_cli *options)
{
    const rs_pack_options *o = &options->pack;
    rs_value *p = rs_value_map(a);
    if (o->scheme.peer != RS_PEER_NONE) rs_map_put(a, p, "compat", rs_value_str(a, rs_compat_of(o->scheme.peer)->name));
    rs_map_put(a, p, "w_bits", rs_value_uint(a, (uint64_t)o->scheme.w_bits));
    rs_map_put(a, p, "w_group", rs_value_uint(a, o->scheme.group));
    rs_map_put(a, p, "w_clip", rs_value_str(a, o->scheme.clip_steps > 20 ? "mse80" : o->scheme.clip_steps > 1 ? "mse20" : "none"));
    rs_map_put(a, p, "w_method", rs_value_str(a, o->scheme.gptq ? "gptq" : "rtn"));
    rs_map_put(a, p, "scale", rs_value_str(a, rs_dtype_name(o->scheme.scale_dtype)));
    rs_map_put(a, p, "rest", rs_value_str(a, o->scheme.rest_keep ? "keep" : rs_dtype_name(o->scheme.rest)));
    if (o->scheme.head_bits != 0) rs_map_put(a, p, "head_bits", rs_value_uint(a, (uint64_t)o->scheme.head_bits));
    if (o->recipe != NULL && o->recipe->text != NULL) rs_map_put(a, p, "recipe", rs_value_str(a, o->recipe->text));
    if (!o->scheme.gptq) return p;
    rs_map_put(a, p, "samples", rs_value_uint(a, (uint64_t)options->samples));
    rs_map_put(a, p, "ctx", rs_value_uint(a, (uint64_t)options->ctx));
    rs_map_put(a, p, "skip", rs_value_uint(a, (uint64_t)options->skip));
    rs_map_put(a, p, "damp", rs_value_f64(a, options->by.gptq.damp));
    rs_map_put(a, p, "block", rs_value_uint(a, options->by.gptq.block));
    rs_map_put(a, p, "act_order", rs_value_bool(a, options->by.gptq.act_order));
    rs_map_put(a, p, "one_pass", rs_value_bool(a, options->by.one_pass));
    rs_map_put(a, p, "blas", rs_value_str(a, openblas_get_corename()));
    const rs_kernels *k = options->by.k != NULL ? options->by.k : rs_kernels_cpu();
    char device[256];
    rs_device_model(k, device, sizeof device);
    rs_map_put(a, p, "kernels", rs_value_str(a, k->name));
    if (device[0] != 0) rs_map_put(a, p, "device", rs_value_str(a, device));
    return p;
}
