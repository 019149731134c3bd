// SPDX-License-Identifier: Apache-2.0
// Results of multiple-choice questions as JSON.
#include "inspect/tasks_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null(); // JSON has no NaN
}

static json_t *figures(const rs_tasks *t, size_t task)
{
    rs_tasks_result r = rs_tasks_summary(t, task);
    return json_pack("{s:I,s:o,s:o,s:o,s:o}", "n", (json_int_t)r.n, "acc", number(r.acc), "acc_stderr", number(r.acc_stderr), "acc_norm", number(r.acc_norm), "acc_norm_stderr",
                     number(r.acc_norm_stderr));
}

char *rs_tasks_report_json(const rs_tasks *t, size_t ctx, const char *kernels)
{
    json_t *all = figures(t, RS_TASKS_ALL), *tasks = json_object();
    bool ok = tasks != NULL;
    for (size_t i = 0; i < t->n_names && ok; i++) ok = json_object_set_new(tasks, t->name[i], figures(t, i)) == 0;
    json_t *rest = json_pack("{s:I,s:I,s:I,s:I,s:o,s:o,s:s,s:O}", "choices", (json_int_t)t->n_choices, "ctx", (json_int_t)ctx, "cut", (json_int_t)t->cut, "tokens", (json_int_t)t->tokens,
                             "seconds", number(t->seconds), "tokens_per_s", number((double)t->tokens / t->seconds), "kernels", kernels, "tasks", tasks);
    ok = ok && json_object_update(all, rest) == 0;
    char *text = ok ? json_dumps(all, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(all);
    json_decref(rest);
    json_decref(tasks);
    return text;
}

static char *question(const rs_tasks *t, size_t q)
{
    const rs_task_question *k = &t->question[q];
    json_t *scores = json_array(), *o = json_object();
    bool ok = json_object_set_new(o, "line", json_integer((json_int_t)k->line)) == 0;
    if (k->id != NULL) ok = ok && json_object_set_new(o, "id", json_string(k->id)) == 0;
    if (k->task != RS_TASKS_ALL) ok = ok && json_object_set_new(o, "task", json_string(t->name[k->task])) == 0;
    ok = ok && json_object_set_new(o, "label", json_integer((json_int_t)k->label)) == 0;
    ok = ok && json_object_set_new(o, "best", json_integer((json_int_t)rs_tasks_best(t, q, false))) == 0;
    ok = ok && json_object_set_new(o, "best_norm", json_integer((json_int_t)rs_tasks_best(t, q, true))) == 0;
    for (size_t i = 0; i < k->n && ok; i++) ok = json_array_append_new(scores, number(t->choice[k->first + i].score)) == 0;
    ok = ok && json_object_set(o, "scores", scores) == 0;
    char *text = ok ? json_dumps(o, JSON_REAL_PRECISION(9)) : NULL;
    json_decref(scores);
    json_decref(o);
    return text;
}

rs_status rs_tasks_report_scores(const rs_tasks *t, rs_out *out, rs_error *e)
{
    for (size_t q = 0; q < t->n; q++) {
        char *text = question(t, q);
        rs_status s = text == NULL ? rs_fail(e, RS_E_NOMEM, "scores") : rs_out_write(out, text, strlen(text), e);
        free(text);
        if (s == RS_OK) s = rs_out_write(out, "\n", 1, e);
        if (s != RS_OK) return s;
    }
    return RS_OK;
}
