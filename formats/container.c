// SPDX-License-Identifier: Apache-2.0
// What a plan says about one place of the model: activation settings of an input, rank of a junction, and the bits of HEAD.incompat.
#include "formats/container.h"

#include <string.h>

rs_plan rs_plan_none(void)
{
    rs_plan p;
    memset(&p, 0, sizeof p);
    p.a = p.kv = (rs_act){.bits = 16, .sym = true, .clip = 1.0, .group = 0};
    p.resid = RS_RESID_NONE;
    return p;
}

uint32_t rs_plan_incompat(const rs_plan *plan)
{
    uint32_t bits = 0;
    if (plan->r3.on || plan->r4.on) bits |= RS_INCOMPAT_ONLINE;
    if (plan->resid != RS_RESID_NONE) bits |= RS_INCOMPAT_RESID;
    if (plan->a.bits != 16 || plan->kv.bits != 16) bits |= RS_INCOMPAT_ACT;
    if (plan->a.range != RS_SPAN_ZERO || plan->kv.range != RS_SPAN_ZERO || plan->v_range != RS_SPAN_ZERO) bits |= RS_INCOMPAT_RANGE;
    for (size_t i = 0; i < plan->n_except; i++)
        if (plan->except[i].role != RS_ROLE_RESID) {
            if (plan->except[i].act.bits != 16) bits |= RS_INCOMPAT_ACT;
            if (plan->except[i].act.range != RS_SPAN_ZERO) bits |= RS_INCOMPAT_RANGE;
        }
    return bits;
}

static const rs_except *find_except(const rs_plan *plan, int64_t layer, rs_role role)
{
    for (size_t i = 0; i < plan->n_except; i++)
        if (plan->except[i].layer == layer && plan->except[i].role == role) return &plan->except[i];
    return NULL;
}

rs_act rs_plan_act(const rs_plan *plan, int64_t layer, rs_role role)
{
    const rs_except *x = find_except(plan, layer, role);
    if (x == NULL) x = find_except(plan, -1, role);
    if (x != NULL) return x->act;
    rs_act act = plan->a;
    if (role < RS_ROLE_Q || role > RS_ROLE_DOWN) act.bits = 16;
    return act;
}

uint64_t rs_plan_rank(const rs_plan *plan, uint64_t j)
{
    if (plan->resid == RS_RESID_NONE) return 0;
    const rs_except *x = find_except(plan, (int64_t)j, RS_ROLE_RESID);
    if (x != NULL) return x->rank;
    return plan->resid == RS_RESID_DENSE ? RS_RANK_FULL : plan->rank;
}
