// SPDX-License-Identifier: Apache-2.0
// Statistics as JSON and CSV.
#include "inspect/stat_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const columns[] = {"max", "rms", "kurt", "p999", "p9999", "incoherence", "zeros", "massive", "tokens", "sqnr4", "sqnr3", "bad"};
enum { COLUMNS = sizeof columns / sizeof *columns };

// The shortest decimal that reads back as the same number.
static void real(rs_text_buffer *b, double x)
{
    char s[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, x);
        if (strtod(s, NULL) == x) break;
    }
    rs_text_buffer_print(b, "%s", s);
}

static void number(rs_text_buffer *b, const rs_stat_number *n)
{
    if (n->whole) rs_text_buffer_print(b, "%" PRIu64, n->u);
    else real(b, n->f);
}

static void field(rs_text_buffer *b, const char *s)
{
    rs_text_buffer_print(b, strchr(s, ',') != NULL ? "\"%s\"" : "%s", s); // no name holds a quote
}

// ---- CSV

static void csv_start(rs_text_buffer *b, const rs_stat_subject *s)
{
    field(b, s->name);
    rs_text_buffer_print(b, ",%s,%s,", s->of, s->role == RS_ROLE_COUNT ? "" : rs_role_name(s->role));
    if (s->layer >= 0) rs_text_buffer_print(b, "%" PRId64, s->layer);
    rs_text_buffer_print(b, ",%u,%" PRIu64 ",", s->step, s->r->channels);
}

static void csv_channels(rs_text_buffer *b, const rs_stat_subject *s)
{
    for (uint64_t j = 0; j < s->r->channels; j++) {
        csv_start(b, s);
        rs_text_buffer_print(b, "%" PRIu64 ",", j);
        real(b, (double)s->r->absmax[j]);
        rs_text_buffer_print(b, ",");
        real(b, (double)s->r->rms_of[j]);
        rs_text_buffer_print(b, ",");
        real(b, (double)s->r->kurt_of[j]);
        for (size_t i = 3; i < COLUMNS; i++) rs_text_buffer_print(b, ",");
        rs_text_buffer_print(b, "\r\n");
    }
}

static void csv_row(const rs_stat_text *t, const rs_stat_subject *s)
{
    rs_stat_number list[RS_STAT_NUMBERS];
    const size_t n = rs_stat_numbers(s, list);
    csv_start(t->b, s);
    for (size_t i = 0; i < COLUMNS; i++) {
        rs_text_buffer_print(t->b, ",");
        for (size_t k = 0; k < n; k++)
            if (strcmp(list[k].key, columns[i]) == 0) number(t->b, &list[k]);
    }
    rs_text_buffer_print(t->b, "\r\n");
    if (t->channels) csv_channels(t->b, s);
}

// ---- JSON

static void json_list(rs_text_buffer *b, const char *key, uint64_t n, const float *x)
{
    rs_text_buffer_print(b, ", \"%s\": [", key);
    for (uint64_t j = 0; j < n; j++) {
        if (j > 0) rs_text_buffer_print(b, ", ");
        rs_text_buffer_float(b, x[j]);
    }
    rs_text_buffer_print(b, "]");
}

static void json_row(const rs_stat_text *t, const rs_stat_subject *s)
{
    rs_text_buffer *b = t->b;
    rs_stat_number list[RS_STAT_NUMBERS];
    const size_t n = rs_stat_numbers(s, list);
    rs_text_buffer_print(b, "%s\n    {\"name\": ", t->rows == 0 ? "" : ",");
    rs_text_buffer_json(b, s->name, strlen(s->name));
    rs_text_buffer_print(b, ", \"of\": \"%s\"", s->of);
    if (s->role != RS_ROLE_COUNT) rs_text_buffer_print(b, ", \"role\": \"%s\"", rs_role_name(s->role));
    if (s->layer >= 0) rs_text_buffer_print(b, ", \"layer\": %" PRId64, s->layer);
    rs_text_buffer_print(b, ", \"step\": %u, \"channels\": %" PRIu64 ", \"values\": {", s->step, s->r->channels);
    for (size_t i = 0; i < n; i++) {
        rs_text_buffer_print(b, "%s\"%s\": ", i == 0 ? "" : ", ", list[i].key);
        number(b, &list[i]);
    }
    rs_text_buffer_print(b, "}");
    if (t->channels) {
        json_list(b, "absmax", s->r->channels, s->r->absmax);
        json_list(b, "rms", s->r->channels, s->r->rms_of);
        json_list(b, "kurt", s->r->channels, s->r->kurt_of);
        rs_text_buffer_print(b, ", \"hist\": [");
        for (int i = 0; i < RS_STAT_BINS; i++) rs_text_buffer_print(b, "%s%" PRIu64, i == 0 ? "" : ", ", s->r->hist[i]);
        rs_text_buffer_print(b, "]");
    }
    rs_text_buffer_print(b, "}");
}

void rs_stat_text_begin(rs_stat_text *t)
{
    if (!t->csv) {
        rs_text_buffer_print(t->b, "{\n  \"format\": \"rs-stat\", \"major\": 1, \"minor\": 0,\n  \"statistics\": [");
        return;
    }
    rs_text_buffer_print(t->b, "name,of,role,layer,step,channels,channel");
    for (size_t i = 0; i < COLUMNS; i++) rs_text_buffer_print(t->b, ",%s", columns[i]);
    rs_text_buffer_print(t->b, "\r\n");
}

void rs_stat_text_end(rs_stat_text *t)
{
    if (!t->csv) rs_text_buffer_print(t->b, "\n  ]\n}\n");
}

rs_status rs_stat_text_row(void *text, const rs_stat_subject *s, rs_error *e)
{
    rs_stat_text *t = text;
    if (t->csv) csv_row(t, s);
    else json_row(t, s);
    t->rows++;
    return t->b->failed ? rs_fail(e, RS_E_NOMEM, "statistics as text") : RS_OK;
}
