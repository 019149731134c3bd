// SPDX-License-Identifier: Apache-2.0
// The tables of keys: every frame type is a list of rows (key, codec, place in the record, range), and what its fields must agree on.
#include "formats/frames.h"

#include "formats/codec.h"

#include <inttypes.h>
#include <string.h>

#define TABLE(name, rows, type, ...) static const rs_table name = {#name, rows, sizeof rows / sizeof *rows, sizeof(type), __VA_ARGS__}
#define ANY UINT64_MAX

// ---- HEAD and its plan

static const char *const kind_names[] = {"weights", "rotations", NULL}, *const resid_names[] = {"none", "lowrank", "dense", NULL},
                  *const build_names[] = {"sylvester", "paley1", "paley2", NULL}, *const hadamard_name[] = {"hadamard", NULL},
                  *const range_names[] = {[RS_SPAN_ZERO] = "zero", [RS_SPAN_FREE] = "free", [RS_SPAN_HALF] = "half", NULL};

static rs_value *put_hadamard(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    (void)at, (void)record;
    return rs_value_str(a, f->names[0]);
}

static rs_status get_hadamard(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    unsigned i;
    RS_TRY(rs_codec_get_enum(how, f, v, &i, e));
    *(bool *)at = true;
    return RS_OK;
}

static const rs_codec hadamard_ = {get_hadamard, put_hadamard};

static bool is_prime_power(uint64_t q)
{
    if (q < 2) return false;
    uint64_t p = 2;
    while (p * p <= q && q % p != 0) p++;
    if (p * p > q) return true;
    while (q % p == 0) q /= p;
    return q == 1;
}

// block = k 2^m divides n, and k is an order that the named construction reaches.
static rs_status check_online(const rs_frames_how *how, const rs_value *map, void *record, rs_error *e)
{
    (void)how, (void)map;
    const rs_online *o = record;
    if (o->n % o->block != 0) return rs_fail(e, RS_E_TENSOR, "block %" PRIu64 " does not divide n %" PRIu64, o->block, o->n);
    uint64_t p = o->block % o->k == 0 ? o->block / o->k : 0;
    if (p == 0 || (p & (p - 1)) != 0) return rs_fail(e, RS_E_TENSOR, "block %" PRIu64 " is not k %" PRIu64 " times a power of two", o->block, o->k);
    uint64_t q = o->build == RS_BUILD_PALEY1 ? o->k - 1 : o->k / 2 - 1;
    bool reached = o->build == RS_BUILD_SYLVESTER ? o->k == 1
                   : o->build == RS_BUILD_PALEY1  ? q % 4 == 3 && is_prime_power(q)
                                                  : o->k >= 4 && o->k % 2 == 0 && q % 4 == 1 && is_prime_power(q);
    return reached ? RS_OK : rs_fail(e, RS_E_TENSOR, "%s does not reach order %" PRIu64, build_names[o->build], o->k);
}

static const rs_field online_rows[] = {
    {"block", &rs_codec_uint, RS_PLACE(rs_online, block), .lo = 1, .hi = ANY},
    {"build", &rs_codec_enum, RS_PLACE(rs_online, build), .names = build_names, .unknown = RS_E_VERSION},
    {"k", &rs_codec_uint, RS_PLACE(rs_online, k), .lo = 1, .hi = 4096, .unknown = RS_E_LIMIT},
    {"ksum", &rs_codec_uint, RS_PLACE(rs_online, ksum), .lo = 0, .hi = ANY},
    {"kind", &hadamard_, RS_PLACE(rs_online, on), .names = hadamard_name, .unknown = RS_E_VERSION},
    {"n", &rs_codec_uint, RS_PLACE(rs_online, n), .lo = 1, .hi = RS_MAX_ONLINE, .unknown = RS_E_LIMIT},
};
TABLE(online, online_rows, rs_online, .unknown_key = RS_E_VERSION, .check = check_online);

// An entry of except as it stands in the map: only keys that differ.
typedef struct except_row {
    rs_except x;
    bool bits, clip, group, range, sym, rank;
} except_row;
#define HAS(type, name, expression)         \
    static bool name(const void *record)    \
    {                                       \
        const type *r = record;             \
        return expression;                  \
    }
HAS(except_row, has_bits, r->bits)
HAS(except_row, has_clip, r->clip)
HAS(except_row, has_group, r->group)
HAS(except_row, has_range, r->range)
HAS(except_row, has_sym, r->sym)
HAS(except_row, has_rank, r->rank)

static rs_status check_except_row(const rs_frames_how *how, const rs_value *map, void *record, rs_error *e)
{
    (void)how;
    except_row *r = record;
    r->bits = rs_map_get(map, "a_bits") != NULL;
    r->clip = rs_map_get(map, "a_clip") != NULL;
    r->group = rs_map_get(map, "a_group") != NULL;
    r->range = rs_map_get(map, "a_range") != NULL;
    r->sym = rs_map_get(map, "a_sym") != NULL;
    r->rank = rs_map_get(map, "rank") != NULL;
    bool resid = r->x.role == RS_ROLE_RESID;
    if (!resid && r->x.role != RS_ROLE_HEAD && (r->x.role < RS_ROLE_Q || r->x.role > RS_ROLE_DOWN)) return rs_fail(e, RS_E_META, "except: role %s has no settings", rs_role_name(r->x.role));
    if (resid != r->rank || (resid && (r->bits || r->clip || r->group || r->range || r->sym))) return rs_fail(e, RS_E_META, "except: rank belongs to role resid, the other settings to the others");
    if (r->x.role == RS_ROLE_HEAD ? r->x.layer != -1 : resid && r->x.layer < 0) return rs_fail(e, RS_E_META, "except: layer %" PRId64 " of role %s", r->x.layer, rs_role_name(r->x.role));
    return RS_OK;
}

static const rs_field except_rows[] = {
    {"a_bits", &rs_codec_bits, RS_PLACE(except_row, x.act.bits), .has = has_bits},
    {"a_clip", &rs_codec_ratio, RS_PLACE(except_row, x.act.clip), .has = has_clip},
    {"a_group", &rs_codec_uint, RS_PLACE(except_row, x.act.group), .lo = 0, .hi = RS_MAX_DIM, .has = has_group},
    {"a_range", &rs_codec_enum, RS_PLACE(except_row, x.act.range), .names = range_names, .unknown = RS_E_VERSION, .has = has_range},
    {"a_sym", &rs_codec_bool, RS_PLACE(except_row, x.act.sym), .has = has_sym},
    {"layer", &rs_codec_index, RS_PLACE(except_row, x.layer), .lo = 0, .hi = INT64_MAX},
    {"rank", &rs_codec_rank, RS_PLACE(except_row, x.rank), .lo = 0, .hi = RS_MAX_DIM, .has = has_rank},
    {"role", &rs_codec_role, RS_PLACE(except_row, x.role)},
};
TABLE(except, except_rows, except_row, .unknown_key = RS_E_VERSION, .check = check_except_row);

// A free range is one of asymmetric codes, the half step one of symmetric ones.
static rs_status check_range(const char *what, rs_span range, bool sym, rs_error *e)
{
    return range == (sym ? RS_SPAN_FREE : RS_SPAN_HALF) ? rs_fail(e, RS_E_TENSOR, "%s: range %s of %s codes", what, range_names[range], sym ? "symmetric" : "asymmetric") : RS_OK;
}

// Completes an entry from the plan and judges it against the plan and the entry before.
static rs_status check_except(const rs_plan *p, const except_row *r, rs_except *x, const rs_except *before, rs_error *e)
{
    *x = r->x;
    if (before != NULL && before->layer == x->layer && before->role == x->role) return rs_fail(e, RS_E_DUP, "except: layer %" PRId64 " role %s twice", x->layer, rs_role_name(x->role));
    if (before != NULL && (before->layer > x->layer || (before->layer == x->layer && before->role > x->role))) return rs_fail(e, RS_E_META, "except: entries do not ascend");
    if (x->role == RS_ROLE_RESID) {
        if (p->resid == RS_RESID_NONE || (p->resid == RS_RESID_DENSE && x->rank != 0)) return rs_fail(e, RS_E_TENSOR, "except: rank %" PRIu64 " with resid %s", x->rank, resid_names[p->resid]);
        if (p->resid == RS_RESID_LOWRANK && x->rank == p->rank) return rs_fail(e, RS_E_META, "except: junction %" PRId64 " repeats the plan's rank", x->layer);
        return RS_OK;
    }
    if ((r->bits && x->act.bits == p->a.bits) || (r->clip && x->act.clip == p->a.clip) || (r->group && x->act.group == p->a.group) || (r->range && x->act.range == p->a.range) ||
        (r->sym && x->act.sym == p->a.sym))
        return rs_fail(e, RS_E_META, "except: layer %" PRId64 " role %s repeats a value of the plan", x->layer, rs_role_name(x->role));
    if (!r->bits) x->act.bits = p->a.bits;
    if (!r->clip) x->act.clip = p->a.clip;
    if (!r->group) x->act.group = p->a.group;
    if (!r->range) x->act.range = p->a.range;
    if (!r->sym) x->act.sym = p->a.sym;
    return check_range("except: a_range", x->act.range, x->act.sym, e);
}

// The rows as read become the list of the plan when all keys of the plan are there (check_plan).
static rs_status get_except(const rs_frames_how *how, const rs_field *f, const rs_value *v, void *at, rs_error *e)
{
    return rs_codec_get_rows(how, f, v, at, e);
}

static rs_value *put_except(rs_arena *a, const rs_field *f, const void *at, const void *record)
{
    (void)at;
    const rs_plan *p = record;
    rs_value *list = rs_value_array(a);
    for (size_t i = 0; i < p->n_except; i++) {
        const rs_except *x = &p->except[i];
        bool act = x->role != RS_ROLE_RESID;
        except_row r = {.x = *x, .bits = act && x->act.bits != p->a.bits, .clip = act && x->act.clip != p->a.clip, .group = act && x->act.group != p->a.group,
                        .range = act && x->act.range != p->a.range, .sym = act && x->act.sym != p->a.sym, .rank = !act};
        if (!rs_array_push(a, list, rs_codec_put(a, f->sub, &r))) return NULL;
    }
    return list;
}

static const rs_codec except_ = {get_except, put_except};

static rs_status check_plan(const rs_frames_how *how, const rs_value *map, void *record, rs_error *e)
{
    static const char *const ranges[] = {"a_range", "k_range", "v_range"};
    rs_plan *p = record;
    const rs_span range[] = {p->a.range, p->kv.range, p->v_range};
    const except_row *rows = (const void *)p->except;
    rs_except *list = rs_arena_alloc(how->arena, (p->n_except + 1) * sizeof *list);
    if (list == NULL) return rs_fail(e, RS_E_NOMEM, "plan");
    if (p->rank != 0 && p->resid != RS_RESID_LOWRANK) return rs_fail(e, RS_E_TENSOR, "plan: rank %" PRIu64 " with resid %s", p->rank, resid_names[p->resid]);
    for (int i = 0; i < 3; i++) {
        if (range[i] == RS_SPAN_ZERO && rs_map_get(map, ranges[i]) != NULL) return rs_fail(e, RS_E_META, "plan: %s says what holds without it", ranges[i]);
        RS_TRY(check_range(ranges[i], range[i], i == 0 ? p->a.sym : p->kv.sym, e));
    }
    for (size_t i = 0; i < p->n_except; i++) RS_TRY(check_except(p, &rows[i], &list[i], i > 0 ? &list[i - 1] : NULL, e));
    p->except = list;
    return RS_OK;
}

HAS(rs_plan, has_r3, r->r3.on)
HAS(rs_plan, has_r4, r->r4.on)
HAS(rs_plan, has_a_range, r->a.range != RS_SPAN_ZERO)
HAS(rs_plan, has_k_range, r->kv.range != RS_SPAN_ZERO)
HAS(rs_plan, has_v_range, r->v_range != RS_SPAN_ZERO)

static const rs_field plan_rows[] = {
    {"a_bits", &rs_codec_bits, RS_PLACE(rs_plan, a.bits)},
    {"a_clip", &rs_codec_ratio, RS_PLACE(rs_plan, a.clip)},
    {"a_group", &rs_codec_uint, RS_PLACE(rs_plan, a.group), .lo = 0, .hi = RS_MAX_DIM},
    {"a_range", &rs_codec_enum, RS_PLACE(rs_plan, a.range), .names = range_names, .unknown = RS_E_VERSION, .has = has_a_range},
    {"a_sym", &rs_codec_bool, RS_PLACE(rs_plan, a.sym)},
    {"except", &except_, RS_PLACE(rs_plan, except), .sub = &except, RS_COUNT(rs_plan, n_except)},
    {"k_range", &rs_codec_enum, RS_PLACE(rs_plan, kv.range), .names = range_names, .unknown = RS_E_VERSION, .has = has_k_range},
    {"kv_bits", &rs_codec_bits, RS_PLACE(rs_plan, kv.bits)},
    {"kv_clip", &rs_codec_ratio, RS_PLACE(rs_plan, kv.clip)},
    {"kv_group", &rs_codec_uint, RS_PLACE(rs_plan, kv.group), .lo = 0, .hi = RS_MAX_DIM},
    {"kv_sym", &rs_codec_bool, RS_PLACE(rs_plan, kv.sym)},
    {"r3", &rs_codec_map, RS_PLACE(rs_plan, r3), .sub = &online, .has = has_r3},
    {"r4", &rs_codec_map, RS_PLACE(rs_plan, r4), .sub = &online, .has = has_r4},
    {"rank", &rs_codec_rank, RS_PLACE(rs_plan, rank), .lo = 0, .hi = RS_MAX_DIM},
    {"resid", &rs_codec_enum, RS_PLACE(rs_plan, resid), .names = resid_names, .unknown = RS_E_VERSION},
    {"v_range", &rs_codec_enum, RS_PLACE(rs_plan, v_range), .names = range_names, .unknown = RS_E_VERSION, .has = has_v_range},
};
TABLE(plan, plan_rows, rs_plan, .unknown_key = RS_E_VERSION, .check = check_plan);

HAS(rs_head, has_base, r->has_base)
HAS(rs_head, has_plan, r->kind == RS_KIND_WEIGHTS)

static rs_status check_head(const rs_frames_how *how, const rs_value *map, void *record, rs_error *e)
{
    (void)how;
    rs_head *h = record;
    bool weights = h->kind == RS_KIND_WEIGHTS;
    if (h->align != 64 && h->align != 4096) return rs_fail(e, RS_E_META, "align: %" PRIu32 " is neither 64 nor 4096", h->align);
    h->has_base = rs_map_get(map, "base") != NULL;
    if (h->has_base && weights) return rs_fail(e, RS_E_META, "base: does not belong to weights");
    if ((rs_map_get(map, "plan") != NULL) != weights) return rs_fail(e, RS_E_META, "plan: %s", weights ? "is missing" : "does not belong to rotations");
    if (!weights) h->plan = rs_plan_none();
    for (size_t i = 0; i < h->plan.n_except; i++) {
        const rs_except *x = &h->plan.except[i];
        uint64_t end = x->role == RS_ROLE_RESID ? 2 * h->layers : h->layers;
        if (x->layer >= 0 && (uint64_t)x->layer >= end) return rs_fail(e, RS_E_TENSOR, "except: layer %" PRId64 " of role %s, the model has %" PRIu64, x->layer, rs_role_name(x->role), end);
    }
    uint32_t want = rs_plan_incompat(&h->plan);
    return h->incompat == want ? RS_OK : rs_fail(e, RS_E_TENSOR, "incompat: %" PRIu32 ", the plan asks for %" PRIu32, h->incompat, want);
}

static const rs_field head_rows[] = {
    {"incompat", &rs_codec_uint, RS_PLACE(rs_head, incompat), .lo = 0, .hi = 15, .unknown = RS_E_VERSION},
    {"align", &rs_codec_uint, RS_PLACE(rs_head, align), .lo = 64, .hi = 4096},
    {"arch", &rs_codec_text, RS_PLACE(rs_head, arch), .lo = 1, .hi = 31},
    {"base", &rs_codec_digest, RS_PLACE(rs_head, base), .has = has_base},
    {"kind", &rs_codec_enum, RS_PLACE(rs_head, kind), .names = kind_names},
    {"layers", &rs_codec_uint, RS_PLACE(rs_head, layers), .lo = 0, .hi = 65536},
    {"model", &rs_codec_text, RS_PLACE(rs_head, model), .lo = 0, .hi = 255},
    {"plan", &rs_codec_map, RS_PLACE(rs_head, plan), .sub = &plan, .has = has_plan},
};
TABLE(head, head_rows, rs_head, .check = check_head);

// ---- the other frames

static const rs_field prov_rows[] = {
    {"argv", &rs_codec_lines, RS_PLACE(rs_prov, argv), RS_COUNT(rs_prov, argc)},
    {"commit", &rs_codec_line, RS_PLACE(rs_prov, commit), .lo = 0, .hi = RS_MAX_STR},
    {"params", &rs_codec_flat, RS_PLACE(rs_prov, params)},
    {"prev", &rs_codec_digest, RS_PLACE(rs_prov, prev)},
    {"step", &rs_codec_uint, RS_PLACE(rs_prov, step), .lo = 0, .hi = UINT32_MAX, .unknown = RS_E_PROV},
    {"tool", &rs_codec_line, RS_PLACE(rs_prov, tool), .lo = 0, .hi = RS_MAX_STR},
    {"ver", &rs_codec_line, RS_PLACE(rs_prov, ver), .lo = 0, .hi = RS_MAX_STR},
};
TABLE(prov, prov_rows, rs_prov, .check = NULL);

static const rs_field file_rows[] = {
    {"name", &rs_codec_file_name, RS_PLACE(rs_file_head, name), .lo = 1, .hi = RS_MAX_NAME},
    {"sum", &rs_codec_uint, RS_PLACE(rs_file_head, sum), .lo = 0, .hi = ANY},
};
TABLE(file, file_rows, rs_file_head, .check = NULL);

static const rs_field part_rows[] = {
    {"dt", &rs_codec_dtype, RS_PLACE(rs_part, dtype)},
    {"k", &rs_codec_part_key, RS_PLACE(rs_part, key), .lo = 0, .hi = 7},
    {"len", &rs_codec_uint, RS_PLACE(rs_part, len), .lo = 0, .hi = ANY},
    {"off", &rs_codec_uint, RS_PLACE(rs_part, off), .lo = 0, .hi = ANY},
    {"shape", &rs_codec_dims, RS_PLACE(rs_part, shape), RS_COUNT(rs_part, n_dims)},
};
TABLE(part, part_rows, rs_part, .check = NULL);

static const rs_field xf_rows[] = {
    {"id", &rs_codec_xf_id, RS_PLACE(rs_xf, id), .lo = 1, .hi = 23},
    {"n", &rs_codec_uint, RS_PLACE(rs_xf, n), .lo = 1, .hi = RS_MAX_DIM},
    {"side", &rs_codec_uint, RS_PLACE(rs_xf, side), .lo = 0, .hi = 1},
};
TABLE(xf, xf_rows, rs_xf, .check = NULL);

static const rs_field tens_rows[] = {
    {"dtype", &rs_codec_dtype, RS_PLACE(rs_tensor, dtype), .lo = 0, .hi = RS_BF16},
    {"enc", &rs_codec_enc, RS_PLACE(rs_tensor, enc)},
    {"expert", &rs_codec_index, RS_PLACE(rs_tensor, expert), .lo = 0, .hi = (1u << 20) - 1},
    {"group", &rs_codec_uint, RS_PLACE(rs_tensor, group), .lo = 0, .hi = RS_MAX_DIM},
    {"layer", &rs_codec_index, RS_PLACE(rs_tensor, layer), .lo = 0, .hi = 131072},
    {"name", &rs_codec_name, RS_PLACE(rs_tensor, name), .lo = 1, .hi = RS_MAX_NAME},
    {"parts", &rs_codec_list, RS_PLACE(rs_tensor, parts), .lo = 0, .hi = RS_MAX_PARTS, .sub = &part, RS_COUNT(rs_tensor, n_parts), .unknown = RS_E_TENSOR},
    {"role", &rs_codec_role, RS_PLACE(rs_tensor, role)},
    {"shape", &rs_codec_dims, RS_PLACE(rs_tensor, shape), RS_COUNT(rs_tensor, n_dims)},
    {"xf", &rs_codec_list, RS_PLACE(rs_tensor, xf), .lo = 0, .hi = RS_MAX_XF, .sub = &xf, RS_COUNT(rs_tensor, n_xf), .unknown = RS_E_LIMIT},
};
TABLE(tens, tens_rows, rs_tensor, .check = NULL);

static const rs_field tsum_rows[] = {{"n", &rs_codec_uint, RS_PLACE(rs_tsum_head, n), .lo = 0, .hi = ANY}};
TABLE(tsum, tsum_rows, rs_tsum_head, .check = NULL);

static const char *const of_names[] = {"weight", "input", "error", "kv", "stream", "angles", NULL};
static const rs_field stat_rows[] = {
    {"name", &rs_codec_name, RS_PLACE(rs_stat_frame, head.name), .lo = 1, .hi = RS_MAX_NAME},
    {"of", &rs_codec_choice, RS_PLACE(rs_stat_frame, head.of), .names = of_names},
    {"parts", &rs_codec_list, RS_PLACE(rs_stat_frame, head.parts), .lo = 0, .hi = 8, .sub = &part, RS_COUNT(rs_stat_frame, head.n_parts), .unknown = RS_E_META},
    {"step", &rs_codec_uint, RS_PLACE(rs_stat_frame, head.step), .lo = 0, .hi = UINT32_MAX, .unknown = RS_E_PROV},
    {"sum", &rs_codec_uint, RS_PLACE(rs_stat_frame, sum), .lo = 0, .hi = ANY},
    {"values", &rs_codec_flat, RS_PLACE(rs_stat_frame, head.values)},
};
TABLE(stat, stat_rows, rs_stat_frame, .check = NULL);

static const char *const fmt_names[] = {"rsq", "safetensors", "gguf", "json", "text", NULL};
static const rs_field input_rows[] = {
    {"digest", &rs_codec_digest, RS_PLACE(rs_input_sum, digest)},
    {"fmt", &rs_codec_choice, RS_PLACE(rs_input_sum, fmt), .names = fmt_names},
    {"size", &rs_codec_uint, RS_PLACE(rs_input_sum, size), .lo = 0, .hi = ANY},
};
TABLE(input, input_rows, rs_input_sum, .check = NULL);
static const rs_field psum_rows[] = {
    {"in", &rs_codec_rows, RS_PLACE(rs_psum_head, in), .sub = &input, RS_COUNT(rs_psum_head, n_in)},
    {"step", &rs_codec_uint, RS_PLACE(rs_psum_head, step), .lo = 0, .hi = UINT32_MAX, .unknown = RS_E_PROV},
};
TABLE(psum, psum_rows, rs_psum_head, .check = NULL);

static const rs_field indx_rows[] = {{"sum", &rs_codec_uint, RS_PLACE(rs_indx_head, sum), .lo = 0, .hi = ANY}};
TABLE(indx, indx_rows, rs_indx_head, .check = NULL);

static const rs_field abrt_rows[] = {
    {"class", &rs_codec_uint, RS_PLACE(rs_abrt_head, status), .lo = 0, .hi = 255},
    {"text", &rs_codec_line, RS_PLACE(rs_abrt_head, text), .lo = 0, .hi = RS_MAX_STR},
    {"tool", &rs_codec_line, RS_PLACE(rs_abrt_head, tool), .lo = 0, .hi = RS_MAX_STR},
};
TABLE(abrt, abrt_rows, rs_abrt_head, .check = NULL);

static const rs_table ends = {"ends", NULL, 0, 0, RS_E_META, NULL};

static const rs_table *const tables[] = {
    [RS_FRAME_HEAD] = &head, [RS_FRAME_PROV] = &prov, [RS_FRAME_FILE] = &file, [RS_FRAME_TENS] = &tens, [RS_FRAME_TSUM] = &tsum,
    [RS_FRAME_STAT] = &stat, [RS_FRAME_PSUM] = &psum, [RS_FRAME_INDX] = &indx, [RS_FRAME_ENDS] = &ends, [RS_FRAME_ABRT] = &abrt,
};

rs_status rs_frames_get(rs_frame_type type, const rs_frames_how *how, const rs_value *map, void *record, rs_error *e)
{
    const rs_table *t = tables[type];
    if (t->size > 0) memset(record, 0, t->size);
    return rs_codec_get(how, t, map, record, e);
}

rs_status rs_frames_put(rs_frame_type type, rs_arena *a, const void *record, rs_value **map, rs_error *e)
{
    *map = rs_codec_put(a, tables[type], record);
    return *map != NULL ? RS_OK : rs_fail(e, RS_E_NOMEM, "metadata of %s", tables[type]->what);
}
