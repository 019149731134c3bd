// SPDX-License-Identifier: Apache-2.0
// Lines of JSON through stdio, flushed one by one so that a plot can follow.
#include "transforms/learn_log.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct rs_learn_log {
    FILE *f;
    bool failed;
    int error;
};

// Refuses a regular file that is one of the inputs, by whatever name.
static rs_status check_inputs(const char *path, const char *const *inputs, size_t n, rs_error *e)
{
    struct stat log, input;
    if (stat(path, &log) != 0 || !S_ISREG(log.st_mode)) return RS_OK;
    for (size_t i = 0; i < n; i++)
        if (inputs[i] != NULL && strcmp(inputs[i], "-") != 0 && stat(inputs[i], &input) == 0 && log.st_dev == input.st_dev && log.st_ino == input.st_ino)
            return rs_fail(e, RS_USAGE, "the log is the input %s", inputs[i]);
    return RS_OK;
}

rs_status rs_learn_log_open(rs_learn_log **out, const char *path, bool append, const char *const *inputs, size_t n_inputs, rs_error *e)
{
    *out = NULL;
    RS_TRY(check_inputs(path, inputs, n_inputs, e));
    rs_learn_log *l = calloc(1, sizeof *l);
    if (l == NULL) return rs_fail(e, RS_E_NOMEM, "log");
    l->f = fopen(path, append ? "ae" : "we");
    if (l->f == NULL) {
        rs_status s = rs_fail(e, RS_E_WRITE, "cannot open: %s", strerror(errno));
        free(l);
        return s;
    }
    *out = l;
    return RS_OK;
}

// JSON knows no infinity and no NaN.
static void number(FILE *f, const char *name, double x)
{
    if (isfinite(x)) fprintf(f, ", \"%s\": %.9g", name, x);
    else fprintf(f, ", \"%s\": null", name);
}

void rs_learn_log_line(rs_learn_log *l, const rs_learn_news *n)
{
    if (l == NULL) return;
    fprintf(l->f, "{\"step\": %llu", (unsigned long long)n->step);
    switch (n->what) {
    case RS_LEARN_STEP:
        number(l->f, "loss", n->loss.total);
        number(l->f, "nll", n->loss.nll);
        number(l->f, "kl", n->loss.kl);
        number(l->f, "lr", n->rates.bases);
        number(l->f, "head_lr", n->rates.heads);
        number(l->f, "chain_lr", n->rates.chain);
        number(l->f, "gradient", sqrt(n->move.squares));
        number(l->f, "largest", n->move.largest);
        number(l->f, "seconds", n->seconds);
        break;
    case RS_LEARN_LOOK:
        number(l->f, "heldout", n->loss.total);
        number(l->f, "nll", n->loss.nll);
        number(l->f, "kl", n->loss.kl);
        number(l->f, "best", n->best);
        fprintf(l->f, ", \"best_step\": %llu", (unsigned long long)n->best_step);
        number(l->f, "seconds", n->seconds);
        break;
    case RS_LEARN_RISING: fputs(", \"event\": \"rising\"", l->f); break;
    case RS_LEARN_PATIENCE: fputs(", \"event\": \"patience\"", l->f); break;
    }
    fputs("}\n", l->f);
    if (fflush(l->f) != 0 && !l->failed) {
        l->failed = true;
        l->error = errno;
    }
}

rs_status rs_learn_log_close(rs_learn_log *l, rs_error *e)
{
    if (l == NULL) return RS_OK;
    bool failed = l->failed || ferror(l->f);
    int error = l->error;
    if (fclose(l->f) != 0 && !failed) {
        failed = true;
        error = errno;
    }
    free(l);
    return failed ? rs_fail(e, RS_E_WRITE, "cannot write: %s", strerror(error)) : RS_OK;
}
