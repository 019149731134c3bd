// SPDX-License-Identifier: Apache-2.0
// Results of multiple-choice questions as JSON.
#ifndef RS_INSPECT_TASKS_REPORT_H
#define RS_INSPECT_TASKS_REPORT_H

#include "formats/io.h"
#include "inspect/tasks.h"

// One object with the figures of all questions and, under "tasks", of each task; ctx and kernels are told as they are. A figure that is not defined is null.
// Malloc'ed text without a newline, the caller frees; NULL without memory.
char *rs_tasks_report_json(const rs_tasks *t, size_t ctx, const char *kernels);
// One line for each question: {"line", "id", "task", "label", "best", "best_norm", "scores": [nats, ...]}. E_WRITE, E_NOMEM.
RS_MUST_CHECK rs_status rs_tasks_report_scores(const rs_tasks *t, rs_out *out, rs_error *e);

#endif
