// SPDX-License-Identifier: Apache-2.0
// Scores multiple-choice questions: batches of them go through the network layer by layer, so that only one layer is decoded at a time.
#include "inspect/tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DEFAULT_MEM (UINT64_C(256) << 20)
#define BLOCK 32 // rows of logits at a time: not a matter of memory given, so that no score is either

typedef void progress_fn(void *context, double tokens_done);

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Rows of hidden states that question q needs.
static size_t question_rows(const rs_tasks *t, size_t q)
{
    size_t rows = 0;
    for (size_t i = 0; i < t->question[q].n; i++) {
        const rs_task_choice *c = &t->choice[t->question[q].first + i];
        rows += c->shares ? 0 : c->n - 1;
    }
    return rows;
}

// Hidden states after the last layer of all choices of questions first .. last-1; before: tokens done in earlier batches.
static rs_status hidden(rs_network *n, rs_tasks *t, size_t first, size_t last, float *x, double before, progress_fn *progress, void *context, rs_error *e)
{
    const size_t d = rs_network_shape(n)->d, L = (size_t)rs_network_config(n)->L;
    rs_task_choice *begin = t->choice + t->question[first].first, *end = t->choice + t->question[last - 1].first + t->question[last - 1].n;
    size_t at = 0;
    for (rs_task_choice *c = begin; c < end; c++) {
        c->at = c->shares ? c[-1].at : at;
        if (c->shares) continue;
        RS_TRY(rs_network_embed(n, c->n - 1, c->ids, x + at * d, e));
        at += c->n - 1;
    }
    double work = 0;
    for (size_t i = 0; i < L; i++) {
        const rs_decoder_layer *layer;
        RS_TRY(rs_network_load(n, i, &layer, e));
        for (rs_task_choice *c = begin; c < end; c++) {
            if (c->shares) continue;
            RS_TRY(rs_network_forward(n, c->n - 1, x + c->at * d, NULL, NULL, e));
            work += (double)(c->n - 1);
            if (progress != NULL) progress(context, before + 0.9 * work / (double)L);
        }
    }
    return rs_network_settle(n, e);
}

// What one block of logits needs.
typedef struct block {
    float *y;      // [BLOCK, d] hidden states
    float *logits; // [BLOCK, V]
    int32_t target[BLOCK];
    double nll[BLOCK];
    rs_task_choice *owner[BLOCK];
    size_t n;
} block;

static rs_status flush(rs_network *n, block *b, rs_error *e)
{
    if (b->n == 0) return RS_OK;
    RS_TRY(rs_network_logits(n, b->n, b->y, b->logits, e));
    RS_TRY(rs_network_losses(n, b->n, b->logits, b->target, b->nll, e));
    for (size_t i = 0; i < b->n; i++) b->owner[i]->score -= b->nll[i];
    b->n = 0;
    return RS_OK;
}

// Scores of the choices of question q from the hidden states x of its batch.
static rs_status score(rs_network *n, rs_tasks *t, size_t q, const float *x, block *b, rs_error *e)
{
    const rs_task_question *question = &t->question[q];
    const size_t d = rs_network_shape(n)->d;
    for (rs_task_choice *c = t->choice + question->first, *end = c + question->n; c < end; c++) {
        c->score = 0;
        for (size_t i = c->n - c->scored; i < c->n; i++) {
            rs_memory_of(rs_network_kernels(n))->move(b->y + b->n * d, x + (c->at + i - 1) * d, d * sizeof *x);
            b->target[b->n] = c->ids[i];
            b->owner[b->n] = c;
            if (++b->n == BLOCK) RS_TRY(flush(n, b, e));
        }
    }
    RS_TRY(flush(n, b, e));
    for (size_t i = 0; i < question->n; i++)
        if (!isfinite(t->choice[question->first + i].score)) return rs_fail(e, RS_E_VALUE, "line %zu: the score of choice %zu is not a number", question->line, i);
    return RS_OK;
}

static rs_status check_ids(const rs_tasks *t, uint64_t V, rs_error *e)
{
    for (size_t q = 0; q < t->n; q++)
        for (size_t i = 0; i < t->question[q].n; i++) {
            const rs_task_choice *c = &t->choice[t->question[q].first + i];
            for (size_t k = 0; k < c->n; k++)
                if (c->ids[k] < 0 || (uint64_t)c->ids[k] >= V)
                    return rs_fail(e, RS_E_VALUE, "line %zu: token id %d is outside the model's vocabulary of %llu", t->question[q].line, (int)c->ids[k], (unsigned long long)V);
        }
    return RS_OK;
}

static rs_status run(rs_network *n, rs_tasks *t, size_t room, float *x, block *b, progress_fn *progress, void *context, rs_error *e)
{
    double done = 0;
    for (size_t first = 0, last; first < t->n; first = last) {
        size_t rows = question_rows(t, first), more;
        for (last = first + 1; last < t->n && (more = question_rows(t, last)) <= room - rows; last++) rows += more;
        RS_TRY(hidden(n, t, first, last, x, done, progress, context, e));
        for (size_t q = first; q < last; q++) {
            RS_TRY(score(n, t, q, x, b, e));
            if (progress != NULL) progress(context, done + (double)rows * (0.9 + 0.1 * (double)(q + 1 - first) / (double)(last - first)));
        }
        done += (double)rows;
    }
    return RS_OK;
}

rs_status rs_tasks_score(rs_network *n, rs_tasks *t, uint64_t mem, progress_fn *progress, void *context, rs_error *e)
{
    const size_t V = (size_t)rs_network_config(n)->V, d = rs_network_shape(n)->d;
    const double start = now();
    RS_TRY(check_ids(t, V, e));
    uint64_t fit = (mem != 0 ? mem : DEFAULT_MEM) / (d * sizeof(float));
    size_t room = fit < t->tokens ? (size_t)fit : t->tokens; // rows
    for (size_t q = 0; q < t->n; q++) room = question_rows(t, q) > room ? question_rows(t, q) : room;
    uint64_t bytes;
    if (!rs_mul_ok(room, d * sizeof(float), &bytes)) return rs_fail(e, RS_E_NOMEM, "hidden states of %zu tokens", room);
    const rs_memory *m = rs_memory_of(rs_network_kernels(n));
    float *x = NULL;
    block b = {.n = 0};
    rs_status s = rs_network_alloc(n, (size_t)bytes, (void **)&x, e);
    if (s == RS_OK) s = rs_network_alloc(n, BLOCK * d * sizeof(float), (void **)&b.y, e);
    if (s == RS_OK) s = rs_network_alloc(n, BLOCK * V * sizeof(float), (void **)&b.logits, e);
    if (s == RS_OK) s = run(n, t, room, x, &b, progress, context, e);
    m->release(x);
    m->release(b.y);
    m->release(b.logits);
    t->seconds = now() - start;
    return s;
}

// ---- figures

size_t rs_tasks_best(const rs_tasks *t, size_t q, bool by_length)
{
    const rs_task_choice *c = t->choice + t->question[q].first;
    size_t best = 0;
    for (size_t i = 1; i < t->question[q].n; i++) {
        double a = c[i].score, b = c[best].score;
        if (by_length) a /= (double)c[i].chars, b /= (double)c[best].chars;
        if (a > b) best = i;
    }
    return best;
}

static double standard_error(double p, size_t n)
{
    return n > 1 ? sqrt(p * (1 - p) / (double)(n - 1)) : NAN;
}

rs_tasks_result rs_tasks_summary(const rs_tasks *t, size_t task)
{
    size_t n = 0, right = 0, right_norm = 0;
    for (size_t q = 0; q < t->n; q++) {
        if (task != RS_TASKS_ALL && t->question[q].task != task) continue;
        n++;
        right += rs_tasks_best(t, q, false) == t->question[q].label;
        right_norm += rs_tasks_best(t, q, true) == t->question[q].label;
    }
    double p = n > 0 ? (double)right / (double)n : NAN, p_norm = n > 0 ? (double)right_norm / (double)n : NAN;
    return (rs_tasks_result){.n = n, .acc = p, .acc_norm = p_norm, .acc_stderr = standard_error(p, n), .acc_norm_stderr = standard_error(p_norm, n)};
}
