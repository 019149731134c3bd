// SPDX-License-Identifier: Apache-2.0
// Usage text and options of rs-top, and what they say about each other.
#include "inspect/top_cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inspect/cells.h"

static const char usage_text[] =
    "usage: rs-top [options] [FILE.rsq [AFTER.rsq]]\n"
    "       rs-top [options] -f SAVED.json\n"
    "Shows where the outliers of a model are before and after its stages, what rotations and rounding did, and where the file came from. No FILE, or -, is standard input.\n"
    "With two files the first is before, the second after; in one file before is its lowest step with statistics and after the highest. Inside, ? lists the keys.\n"
    "\n"
    "      --screen N       1 overview (default), 2 tensor, 3 rotation, 4 error, 5 file\n"
    "      --measure WHAT   input (default where the file has it), weight, error, kv, stream\n"
    "      --tensor GLOB    only tensors whose name, or short name such as 12.down, matches (* ?)\n"
    "      --sort KEY       max_rms (default), kurt, sqnr4, change, model, name, width, sqnr, clip; -KEY inverts\n"
    "      --step A,B       the steps of the provenance chain that are before and after\n"
    "      --rank R         rank on screen 3\n"
    "      --junction J     junction on screen 3\n"
    "\n"
    "      --batch          print instead; so does an output that is no terminal\n"
    "      --format F       text (default), csv, json, svg, html\n"
    "  -f, --from SAVED.json   open an export of --format json again\n"
    "      --size WxH       columns and rows of text and svg (default 100 wide and as high as it takes)\n"
    "      --check LIST     thresholds such as 'max_rms<20,sqnr4>18': exit 1 if a tensor that is shown does not meet them, and name it\n"
    "  -o, --output FILE    where --batch prints (default: standard output)\n"
    "\n"
    "      --color WHEN     auto (default), always, never; NO_COLOR in the environment turns auto off\n"
    "      --ascii          ASCII characters only (default where the locale has no UTF-8)\n"
    "      --plain          lines of words without bars, one thing a line (default where TERM is dumb)\n"
    "  -M, --no-mouse       leave the mouse to the terminal\n"
    "  -j, --threads N      threads that compute figures of weights\n"
    "  -q, --quiet          no progress line\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 good; 1 --check found an offender; 2 usage; 10-24 the class of the fault; 30-32 the system refused.\n";

enum { OPT_SCREEN = 1, OPT_MEASURE, OPT_TENSOR, OPT_SORT, OPT_STEP, OPT_RANK, OPT_JUNCTION, OPT_BATCH, OPT_FORMAT, OPT_SIZE, OPT_CHECK, OPT_COLOR, OPT_ASCII, OPT_PLAIN, OPT_NO_MOUSE, OPT_FROM };

static const rs_option option_list[] = {
    {"screen", 0, true, OPT_SCREEN},     {"measure", 0, true, OPT_MEASURE}, {"tensor", 0, true, OPT_TENSOR}, {"sort", 0, true, OPT_SORT},   {"step", 0, true, OPT_STEP},
    {"rank", 0, true, OPT_RANK},         {"junction", 0, true, OPT_JUNCTION}, {"batch", 0, false, OPT_BATCH}, {"format", 0, true, OPT_FORMAT}, {"size", 0, true, OPT_SIZE},
    {"check", 0, true, OPT_CHECK},       {"color", 0, true, OPT_COLOR},     {"ascii", 0, false, OPT_ASCII},  {"plain", 0, false, OPT_PLAIN}, {"no-mouse", 'M', false, OPT_NO_MOUSE},
    {"from", 'f', true, OPT_FROM},
};

static const char *const formats[RS_TOP_FORMATS] = {"text", "csv", "json", "svg", "html"};

const char *rs_top_format_name(rs_top_format f)
{
    return (unsigned)f < RS_TOP_FORMATS ? formats[f] : NULL;
}

bool rs_top_format_find(const char *name, rs_top_format *f)
{
    for (int i = 0; i < RS_TOP_FORMATS; i++)
        if (strcmp(formats[i], name) == 0) {
            *f = (rs_top_format)i;
            return true;
        }
    return false;
}

// Two numbers with one character between them.
static rs_status pair(const char *what, const char *text, char between, int64_t lo, int64_t hi, int64_t *a, int64_t *b, rs_error *e)
{
    char first[32];
    const char *cut = strchr(text, between);
    if (cut == NULL || cut - text >= (int)sizeof first) return rs_fail(e, RS_USAGE, "%s: '%s' is not two numbers with %c between them", what, text, between);
    snprintf(first, sizeof first, "%.*s", (int)(cut - text), text);
    RS_TRY(rs_cli_int(what, first, lo, hi, a, e));
    return rs_cli_int(what, cut + 1, lo, hi, b, e);
}

static rs_status parse(void *context, int id, const char *value, rs_error *e)
{
    rs_top_cli *c = context;
    int64_t w, h;
    switch (id) {
    case OPT_SCREEN: return rs_cli_int("--screen", value, 1, 5, &c->screen, e);
    case OPT_MEASURE:
        c->has_measure = rs_measure_find(value, &c->measure);
        return c->has_measure ? RS_OK : rs_fail(e, RS_USAGE, "--measure: '%s' is none of input weight error kv stream", value);
    case OPT_TENSOR: c->tensor = value; return RS_OK;
    case OPT_SORT:
        c->inverted = value[0] == '-';
        c->has_sort = rs_sort_find(value + c->inverted, &c->sort);
        return c->has_sort ? RS_OK : rs_fail(e, RS_USAGE, "--sort: '%s' is none of max_rms kurt sqnr4 change model name width sqnr clip", value);
    case OPT_STEP: return pair("--step", value, ',', 0, RS_MAX_PROV - 1, &c->steps[0], &c->steps[1], e);
    case OPT_RANK: return rs_cli_int("--rank", value, 0, INT64_C(1) << 40, &c->rank, e);
    case OPT_JUNCTION: return rs_cli_int("--junction", value, 0, 2 * 65536, &c->junction, e);
    case OPT_BATCH: c->batch = true; return RS_OK;
    case OPT_FORMAT:
        c->has_format = rs_top_format_find(value, &c->format);
        return c->has_format ? RS_OK : rs_fail(e, RS_USAGE, "--format: '%s' is none of text csv json svg html", value);
    case OPT_SIZE:
        RS_TRY(pair("--size", value, 'x', 1, RS_CELLS_MAX, &w, &h, e));
        c->cols = (int)w;
        c->rows = (int)h;
        return RS_OK;
    case OPT_CHECK: c->has_check = true; return rs_thresholds_parse(&c->check, value, e);
    case OPT_COLOR:
        c->colour = strcmp(value, "always") == 0 ? 1 : strcmp(value, "never") == 0 ? -1 : 0;
        return c->colour != 0 || strcmp(value, "auto") == 0 ? RS_OK : rs_fail(e, RS_USAGE, "--color: '%s' is none of auto always never", value);
    case OPT_ASCII: c->ascii = true; return RS_OK;
    case OPT_PLAIN: c->plain = true; return RS_OK;
    case OPT_NO_MOUSE: c->no_mouse = true; return RS_OK;
    case OPT_FROM: c->saved = value; return RS_OK;
    default:
        if (c->file[1] != NULL) return rs_fail(e, RS_USAGE, "more than two files: %s, %s and %s", c->file[0], c->file[1], value);
        c->file[c->file[0] != NULL] = value;
        return RS_OK;
    }
}

rs_status rs_top_cli_parse(rs_top_cli *c, int argc, char **argv, rs_error *e)
{
    *c = (rs_top_cli){.rank = -1, .junction = -1, .steps = {-1, -1}};
    RS_TRY(rs_cli_parse(&c->cli, "rs-top", usage_text, option_list, sizeof option_list / sizeof *option_list, argc, argv, parse, c, e));
    if (c->saved != NULL && c->file[0] != NULL) return rs_fail(e, RS_USAGE, "-f takes the place of files, and there is %s", c->file[0]);
    if (c->saved == NULL && c->file[0] == NULL && isatty(STDIN_FILENO)) return rs_fail(e, RS_USAGE, "no file; --help lists the options");
    if (c->saved == NULL && c->file[0] == NULL) c->file[0] = "-";
    if (c->file[1] != NULL && c->steps[0] >= 0) return rs_fail(e, RS_USAGE, "--step is for one file; of two files the last step of each is shown");
    if (c->steps[0] >= 0 && c->steps[0] == c->steps[1]) return rs_fail(e, RS_USAGE, "--step: before and after are the same");
    if (c->has_check || c->has_format || c->cli.output != NULL) c->batch = true;
    return rs_cli_one_stdin(2, (const char *const[]){c->file[0], c->file[1]}, e);
}

rs_status rs_top_cli_apply(const rs_top_cli *c, rs_view *v, rs_error *e)
{
    const rs_view_model *m = v->model;
    for (int k = 0; k < 2 && c->steps[0] >= 0; k++) {
        bool any = false;
        for (int of = 0; of < RS_OF_COUNT; of++) any = any || m->side[of][k].on;
        if (!any) return rs_fail(e, RS_USAGE, "--step: the file has no statistics of step %lld", (long long)c->steps[k]);
    }
    if (c->has_measure && !rs_view_measure(v, c->measure)) return rs_fail(e, RS_USAGE, "--measure: the file has no statistics of kind %s%s", rs_measure_name(c->measure), c->measure != RS_OF_WEIGHT && c->measure != RS_OF_ERROR ? "; rs-stat --text adds them" : "");
    if (c->screen > 0) rs_view_screen(v, (int)c->screen);
    else if (m->head->kind == RS_KIND_ROTATIONS) rs_view_screen(v, RS_SCREEN_ROTATION);
    else if (v->of == RS_OF_ERROR) rs_view_screen(v, RS_SCREEN_ERROR);
    if (c->has_sort) rs_view_sort(v, c->sort, c->inverted);
    rs_view_go(v, 0);
    if (c->tensor != NULL) {
        if (strlen(c->tensor) >= RS_VIEW_TEXT) return rs_fail(e, RS_USAGE, "--tensor: the pattern is longer than %d bytes", RS_VIEW_TEXT - 1);
        rs_view_filter(v, c->tensor);
        if (v->n_order == 0) return rs_fail(e, RS_USAGE, "--tensor: no tensor with statistics matches %s", c->tensor);
    }
    if (c->rank >= 0) {
        if (m->n_junctions > 0 && (uint64_t)c->rank > m->junction[0].n) return rs_fail(e, RS_USAGE, "--rank: junctions of width %llu have no rank %lld", (unsigned long long)m->junction[0].n, (long long)c->rank);
        v->rank = (uint64_t)c->rank;
    }
    if (c->junction >= 0) {
        v->junction = 0;
        while (v->junction < m->n_junctions && m->junction[v->junction].j != (uint64_t)c->junction) v->junction++;
        if (v->junction == m->n_junctions) return rs_fail(e, RS_USAGE, "--junction: the file has no junction %lld", (long long)c->junction);
    }
    return RS_OK;
}
