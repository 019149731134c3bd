// SPDX-License-Identifier: Apache-2.0
// The best of many randomised Hadamards by held-out loss: no training, but random rotations differ much.
#ifndef RS_TRANSFORMS_SEARCH_H
#define RS_TRANSFORMS_SEARCH_H

#include "transforms/learn.h"

// Looks (rs_learn_look) at the seeded sets of seeds first, first + 1, ... (`seeds` of them, first = the seed that l was made with); l must be GLOBAL. The best one becomes l's kept set.
// news is called after each, with the seed as its step and the best one so far; *best gets the last of these. What rs_learn_look gives, E_NOMEM.
RS_MUST_CHECK rs_status rs_search_seeds(rs_learn *l, const rs_config *c, uint64_t seeds, void (*news)(void *context, const rs_learn_news *news), void *context, rs_learn_news *best, rs_error *e);

#endif
