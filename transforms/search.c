// SPDX-License-Identifier: Apache-2.0
// Seed after seed through the same learner, without a step.
#include "transforms/search.h"

#include <math.h>

static rs_status start(rs_learn *l, const rs_config *c, uint64_t seed, rs_error *e)
{
    rs_rotation *from = NULL;
    RS_TRY(rs_rotation_seeded(&from, c->L, c->d, c->h, seed, e));
    rs_status s = rs_learned_start(rs_learn_set(l), from, false, seed, e);
    rs_rotation_free(from);
    return s;
}

rs_status rs_search_seeds(rs_learn *l, const rs_config *c, uint64_t seeds, void (*news)(void *context, const rs_learn_news *news), void *context, rs_learn_news *best, rs_error *e)
{
    *best = (rs_learn_news){.what = RS_LEARN_LOOK, .best = HUGE_VAL, .best_step = rs_learn_asked(l)->seed};
    for (uint64_t i = 0; i < seeds; i++) {
        best->step = rs_learn_asked(l)->seed + i;
        RS_TRY(start(l, c, best->step, e));
        RS_TRY(rs_learn_look(l, &best->loss, e));
        if (best->loss.total < best->best) {
            best->best = best->loss.total;
            best->best_step = best->step;
        }
        news(context, best);
    }
    return start(l, c, best->best_step, e);
}
