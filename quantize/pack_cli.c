// SPDX-License-Identifier: Apache-2.0
// Usage text and options of rs-pack, and what they say about each other.
#include "quantize/pack_cli.h"

#include <stdio.h>
#include <string.h>

#include "transforms/device.h"

static const char usage_text[] =
    "usage: rs-pack [options] [INPUT.rsq] [-o OUTPUT.rsq]\n"
    "Packs q k v o gate up down to integer codes (round to nearest or GPTQ, scales by the MSE clip grid) and records the activation and KV policy.\n"
    "\n"
    "      --w-bits N     bits of a weight, 2..8, or 16 = leave weights alone (default 4)\n"
    "      --group N      columns that share a scale (default 0: one scale per row)\n"
    "      --scale TYPE   type of the scales, f32 or f16 (default f32)\n"
    "      --clip MODE    mse = best of 80 clip ratios by error^2.4, none = max / (2^(b-1) - 1) (default mse)\n"
    "      --head-bits N  bits of the LM head, 2..8, to nearest, one scale per row; 16 = as --rest says (default 16)\n"
    "      --rest TYPE    type of embedding and LM head: f16, bf16, f32 or keep (default f16; keep with --w-bits 16)\n"
    "      --a-bits N     bits of activations, 2..8, or 16 = not quantised (default 16)\n"
    "      --a-group N    values that share a scale (default 0: one scale per token)\n"
    "      --a-clip X     clip ratio in (0, 1] (default 1)\n"
    "      --a-sym        symmetric instead of asymmetric\n"
    "      --kv-bits N, --kv-group N, --kv-clip X, --kv-sym   the same for the KV cache (per token and head)\n"
    "\n"
    "      --gptq         round by GPTQ on the text of --text; the input is mapped, standard input is spooled to a temporary file first\n"
    "      --text FILE    calibration text (UTF-8), read with the tokenizer of the model\n"
    "      --samples N, --ctx N, --skip N   N sequences of --ctx tokens after the first --skip tokens (default 128, 2048, 0)\n"
    "      --damp X       of the mean of the Hessian's diagonal, added to it (default 0.01)\n"
    "      --block N      columns finished before the rest hears of them (default 128)\n"
    "      --act-order    columns by falling diagonal of the Hessian\n"
    "      --one-pass     all Hessians of a layer before any of it is quantised; by default q k v, o, gate up, down each see the ones before quantised\n"
    "      --device D     cpu (default), or cuda: compute on the GPU, which must be there (else exit 2)\n"
    "      --mem SIZE     memory for the activations of the text between layers; what is beyond goes to a temporary file\n"
    "      --checkpoint FILE, --save-every N   where to save for --resume (default: the output with .ckpt behind it); every N layers too (default 0: only when interrupted)\n"
    "      --resume       go on from the checkpoint\n"
    "\n"
    "      --compat NAME  numerics of spinquant, quarot or compressed-tensors for weights, activations, KV cache and GPTQ; options beside it win; rs-pack(1) says what each is\n"
    "      --recipe FILE  JSON: rules that give some matrices other bits, groups, methods, or leave them alone; rs-pack(1) has the form\n"
    "      --dry-run      list what would be written, with bytes and bits per weight; write nothing\n"
    "      --json         the list as JSON\n"
    "\n"
    "  -o, --output FILE  output, written atomically (default: standard output)\n"
    "  -v, --verbose      a line per tensor: SQNR, codes at the ends of the grid; with --gptq the mean squared error of an output\n"
    "  -j, --threads N    threads; the bytes written do not depend on it\n"
    "  -q, --quiet        no progress line\n"
    "      --help, --version\n";

enum { OPT_W_BITS = 1, OPT_GROUP, OPT_SCALE, OPT_CLIP, OPT_REST, OPT_HEAD_BITS, OPT_A_BITS, OPT_A_GROUP, OPT_A_CLIP, OPT_A_SYM, OPT_KV_BITS, OPT_KV_GROUP, OPT_KV_CLIP, OPT_KV_SYM,
       OPT_GPTQ, OPT_TEXT, OPT_SAMPLES, OPT_CTX, OPT_SKIP, OPT_DAMP, OPT_BLOCK, OPT_ACT_ORDER, OPT_ONE_PASS, OPT_CHECKPOINT, OPT_SAVE_EVERY, OPT_RESUME, OPT_RECIPE, OPT_DRY_RUN, OPT_COMPAT };

static const rs_option option_list[] = {
    {"w-bits", 0, true, OPT_W_BITS},   {"group", 0, true, OPT_GROUP},       {"scale", 0, true, OPT_SCALE},     {"clip", 0, true, OPT_CLIP},     {"rest", 0, true, OPT_REST},
    {"head-bits", 0, true, OPT_HEAD_BITS},
    {"a-bits", 0, true, OPT_A_BITS},   {"a-group", 0, true, OPT_A_GROUP},   {"a-clip", 0, true, OPT_A_CLIP},   {"a-sym", 0, false, OPT_A_SYM},
    {"kv-bits", 0, true, OPT_KV_BITS}, {"kv-group", 0, true, OPT_KV_GROUP}, {"kv-clip", 0, true, OPT_KV_CLIP}, {"kv-sym", 0, false, OPT_KV_SYM},
    {"gptq", 0, false, OPT_GPTQ},      {"text", 0, true, OPT_TEXT},         {"samples", 0, true, OPT_SAMPLES}, {"ctx", 0, true, OPT_CTX},       {"skip", 0, true, OPT_SKIP},
    {"damp", 0, true, OPT_DAMP},       {"block", 0, true, OPT_BLOCK},       {"act-order", 0, false, OPT_ACT_ORDER}, {"one-pass", 0, false, OPT_ONE_PASS},
    {"checkpoint", 0, true, OPT_CHECKPOINT}, {"save-every", 0, true, OPT_SAVE_EVERY}, {"resume", 0, false, OPT_RESUME},
    {"recipe", 0, true, OPT_RECIPE},   {"dry-run", 0, false, OPT_DRY_RUN}, {"compat", 0, true, OPT_COMPAT},
};

struct parsed {
    rs_pack_cli c;
    const char *only_gptq; // an option that was given and goes with --gptq only
    uint64_t given;        // bit OPT_*: an option that wins over --compat was
};

static rs_status bits(const char *what, const char *value, int64_t *out, rs_error *e)
{
    RS_TRY(rs_cli_int(what, value, 2, 16, out, e));
    return *out <= 8 || *out == 16 ? RS_OK : rs_fail(e, RS_USAGE, "%s: %lld is not 2..8 or 16", what, (long long)*out);
}

static rs_status parse_act(rs_act *a, int kind, const char *names[3], const char *value, rs_error *e)
{
    int64_t n = 0;
    switch (kind) {
    case OPT_A_BITS:
        RS_TRY(bits(names[0], value, &n, e));
        a->bits = (unsigned)n;
        return RS_OK;
    case OPT_A_GROUP:
        RS_TRY(rs_cli_int(names[1], value, 0, 1 << 24, &n, e));
        a->group = (uint64_t)n;
        return RS_OK;
    case OPT_A_CLIP:
        RS_TRY(rs_cli_real(names[2], value, 0, 1, &a->clip, e));
        return a->clip > 0 ? RS_OK : rs_fail(e, RS_USAGE, "%s: must be above 0", names[2]);
    default: a->sym = true; return RS_OK;
    }
}

static rs_status choice(const char *what, const char *value, const char *const *names, size_t n, size_t *index, rs_error *e)
{
    for (*index = 0; *index < n; ++*index)
        if (strcmp(value, names[*index]) == 0) return RS_OK;
    char known[64] = "";
    for (size_t i = 0; i < n; i++) snprintf(known + strlen(known), sizeof known - strlen(known), " %s", names[i]);
    return rs_fail(e, RS_USAGE, "%s: '%s' is none of:%s", what, value, known);
}

static rs_status parse_gptq(struct parsed *p, int id, const char *value, rs_error *e)
{
    rs_pack_cli *o = &p->c;
    int64_t n = 0;
    for (size_t i = 0; i < sizeof option_list / sizeof *option_list; i++)
        if (option_list[i].id == id && id != OPT_GPTQ) p->only_gptq = option_list[i].name;
    switch (id) {
    case OPT_GPTQ: o->pack.scheme.gptq = true; return RS_OK;
    case OPT_TEXT: o->text = value; return RS_OK;
    case OPT_SAMPLES: return rs_cli_int("--samples", value, 1, INT32_MAX, &o->samples, e);
    case OPT_CTX: return rs_cli_int("--ctx", value, 1, 1 << 24, &o->ctx, e);
    case OPT_SKIP: return rs_cli_int("--skip", value, 0, INT64_MAX, &o->skip, e);
    case OPT_DAMP:
        RS_TRY(rs_cli_real("--damp", value, 0, 1, &o->by.gptq.damp, e));
        return o->by.gptq.damp > 0 ? RS_OK : rs_fail(e, RS_USAGE, "--damp: must be above 0");
    case OPT_BLOCK:
        RS_TRY(rs_cli_int("--block", value, 1, 1 << 24, &n, e));
        o->by.gptq.block = (size_t)n;
        return RS_OK;
    case OPT_CHECKPOINT: o->checkpoint = value; return RS_OK;
    case OPT_SAVE_EVERY:
        RS_TRY(rs_cli_int("--save-every", value, 0, INT32_MAX, &n, e));
        o->by.save_every = (uint64_t)n;
        return RS_OK;
    case OPT_RESUME: o->resume = true; return RS_OK;
    case OPT_ACT_ORDER: o->by.gptq.act_order = true; return RS_OK;
    default: o->by.one_pass = true; return RS_OK;
    }
}

static rs_status parse(void *context, int id, const char *value, rs_error *e)
{
    static const char *const types[] = {"f32", "f16", "bf16", "keep"}, *const clips[] = {"mse", "none"};
    static const rs_dtype dtypes[] = {RS_F32, RS_F16, RS_BF16, RS_F32};
    static const char *a_names[] = {"--a-bits", "--a-group", "--a-clip"}, *kv_names[] = {"--kv-bits", "--kv-group", "--kv-clip"};
    struct parsed *p = context;
    rs_pack_cli *o = &p->c;
    rs_scheme *s = &o->pack.scheme;
    int64_t n = 0;
    size_t at = 0;
    p->given |= (uint64_t)1 << id;
    switch (id) {
    case OPT_W_BITS:
        RS_TRY(bits("--w-bits", value, &n, e));
        s->w_bits = (int)n;
        return RS_OK;
    case OPT_HEAD_BITS:
        RS_TRY(bits("--head-bits", value, &n, e));
        s->head_bits = n < 16 ? (int)n : 0;
        return RS_OK;
    case OPT_GROUP:
        RS_TRY(rs_cli_int("--group", value, 0, 1 << 24, &n, e));
        s->group = (uint64_t)n;
        return RS_OK;
    case OPT_SCALE:
        RS_TRY(choice("--scale", value, types, 2, &at, e));
        s->scale_dtype = dtypes[at];
        return RS_OK;
    case OPT_CLIP:
        RS_TRY(choice("--clip", value, clips, 2, &at, e));
        s->clip_steps = at == 0 ? 80 : 1;
        return RS_OK;
    case OPT_REST:
        RS_TRY(choice("--rest", value, types, 4, &at, e));
        s->rest = dtypes[at];
        s->rest_keep = at == 3;
        return RS_OK;
    case OPT_A_BITS: case OPT_A_GROUP: case OPT_A_CLIP: case OPT_A_SYM: return parse_act(&o->pack.a, id, a_names, value, e);
    case OPT_KV_BITS: case OPT_KV_GROUP: case OPT_KV_CLIP: case OPT_KV_SYM: return parse_act(&o->pack.kv, id - OPT_KV_BITS + OPT_A_BITS, kv_names, value, e);
    case 0:
        if (o->input != NULL) return rs_fail(e, RS_USAGE, "more than one input: %s and %s", o->input, value);
        o->input = value;
        return RS_OK;
    case OPT_RECIPE: o->recipe = value; return RS_OK;
    case OPT_DRY_RUN: o->dry_run = true; return RS_OK;
    case OPT_COMPAT: return rs_compat_find(value, &s->peer) ? RS_OK : rs_fail(e, RS_USAGE, "--compat: '%s' is none of: spinquant quarot compressed-tensors", value);
    default: return parse_gptq(p, id, value, e);
    }
}

// What a peer does where no option says otherwise, and what it cannot do.
static rs_status compat(struct parsed *p, rs_error *e)
{
    rs_pack_options *o = &p->c.pack;
    const rs_compat *c = rs_compat_of(o->scheme.peer);
    if (o->scheme.peer == RS_PEER_NONE) return RS_OK;
    if (!(p->given >> OPT_CLIP & 1)) o->scheme.clip_steps = c->steps;
    else if (o->scheme.clip_steps > 1) o->scheme.clip_steps = c->mse;
    if (!(p->given >> OPT_GROUP & 1) && o->scheme.w_bits < 8) o->scheme.group = c->group;
    if (!(p->given >> OPT_A_CLIP & 1)) o->a.clip = c->a_clip;
    if (!(p->given >> OPT_KV_CLIP & 1)) o->kv.clip = c->kv_clip;
    o->a.sym = o->a.sym || c->a_sym;
    p->c.by.gptq.act_order = p->c.by.gptq.act_order || c->act_order;
    if (c->half && o->kv.bits < 16) return rs_fail(e, RS_USAGE, "--compat %s has no KV cache with a scale for each token: its scales are those of a whole tensor or head", c->name);
    if (o->kv.bits < 16 && o->kv.group != 0) return rs_fail(e, RS_USAGE, "--compat %s quantises K and V per head, not in groups of %llu", c->name, (unsigned long long)o->kv.group);
    if (!c->act_order && p->c.by.gptq.act_order && o->scheme.group != 0) return rs_fail(e, RS_USAGE, "--compat %s: --act-order does not go with groups of weights", c->name);
    return RS_OK;
}

// What the options say about each other.
static rs_status check(struct parsed *p, rs_error *e)
{
    rs_pack_cli *o = &p->c;
    const bool gptq = o->pack.scheme.gptq;
    if (!gptq && p->only_gptq != NULL) return rs_fail(e, RS_USAGE, "--%s goes with --gptq", p->only_gptq);
    if (gptq && o->text == NULL) return rs_fail(e, RS_USAGE, "--gptq needs a calibration text (--text)");
    if (gptq && o->pack.scheme.w_bits == 16 && o->recipe == NULL) return rs_fail(e, RS_USAGE, "--gptq with --w-bits 16: there is nothing to round");
    if (!gptq && o->cli.mem != 0) return rs_fail(e, RS_USAGE, "--mem goes with --gptq");
    if (!gptq && strcmp(o->cli.device, "cpu") != 0) return rs_fail(e, RS_USAGE, "--device goes with --gptq");
    if ((o->resume || o->by.save_every > 0) && o->checkpoint == NULL && (o->cli.output == NULL || strcmp(o->cli.output, "-") == 0))
        return rs_fail(e, RS_USAGE, "name a --checkpoint, since the output has no name");
    if (o->cli.json && !o->dry_run) return rs_fail(e, RS_USAGE, "--json goes with --dry-run");
    RS_TRY(rs_cli_one_stdin(3, (const char *const[]){o->input == NULL ? "-" : o->input, o->text, o->recipe}, e));
    return rs_device_find(o->cli.device, &o->by.k, NULL, e);
}

rs_status rs_pack_cli_parse(rs_pack_cli *c, int argc, char **argv, rs_error *e)
{
    struct parsed p = {.c = {.pack = {.scheme = rs_scheme_default(), .a = {.bits = 16, .clip = 1}, .kv = {.bits = 16, .clip = 1}}, .samples = 128, .ctx = 2048, .by = {.gptq = rs_gptq_default()}}};
    rs_status st = rs_cli_parse(&p.c.cli, "rs-pack", usage_text, option_list, sizeof option_list / sizeof *option_list, argc, argv, parse, &p, e);
    if (st == RS_OK) st = check(&p, e);
    if (st == RS_OK) st = compat(&p, e);
    *c = p.c; // with the name of the tool, for the message about a failure
    return st;
}
