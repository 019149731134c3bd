// SPDX-License-Identifier: Apache-2.0
// Thresholds: what is parsed, what is refused and how, who offends. A number that is missing or NaN never passes.
#include "inspect/threshold.h"

#include <math.h>

#include "tests/check.h"

static char lines[8][600];
static int said;

static void hear(void *context, const char *line)
{
    CHECK(context == lines);
    if (said < 8) snprintf(lines[said], sizeof lines[0], "%s", line);
    said++;
}

static void parsed(void)
{
    static const struct { const char *text; size_t n; rs_figure figure; rs_relation relation; double limit; } good[] = {
        {"max_rms<20", 1, RS_FIG_MAX_RMS, RS_BELOW, 20},       {"max_rms<20,sqnr4>18", 2, RS_FIG_SQNR4, RS_ABOVE, 18}, {" kurt <= 1e2 ", 1, RS_FIG_KURT, RS_AT_MOST, 100},
        {"p9999>=-0.5", 1, RS_FIG_P9999, RS_AT_LEAST, -0.5}, {"worst_sqnr>\t3", 1, RS_FIG_WORST_SQNR, RS_ABOVE, 3},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        rs_thresholds t;
        rs_error e = {0};
        if (!CHECKF(rs_thresholds_parse(&t, good[i].text, &e) == RS_OK, "%s: %s", good[i].text, e.text)) continue;
        const rs_threshold *last = &t.item[t.n - 1];
        CHECKF(t.n == good[i].n && last->figure == good[i].figure && last->relation == good[i].relation && last->limit == good[i].limit, "%s is read as another", good[i].text);
    }
    for (int f = 0; f < RS_FIG_COUNT; f++) { // every figure can be asked for
        char text[64];
        rs_thresholds t;
        snprintf(text, sizeof text, "%s>0", rs_figure_name((rs_figure)f));
        CHECK(rs_thresholds_parse(&t, text, NULL) == RS_OK && t.item[0].figure == (rs_figure)f);
    }
    static const struct { const char *text, *says; } bad[] = {
        {"", "empty"}, {"max_rms<20,", "empty"}, {",max_rms<20", "empty"}, {"max_rms", "none of < <= > >="}, {"max_rms=20", "none of < <= > >="}, {"max_rms!=2", "none of < <= > >="}, {"maxrms<20", "max_rms"},
        {"<20", "is none of"}, {"max_rms<", "not a number"}, {"max_rms<20dB", "not a number"}, {"max_rms<nan", "not a number"}, {"max_rms>inf", "not a number"}, {"max_rms<1<2", "not a number"}, {"max_rms=<2", "none of < <= > >="},
        {"max\033<2", "\\x1b"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rs_thresholds t;
        rs_error e = {0};
        CHECKF(rs_thresholds_parse(&t, bad[i].text, &e) == RS_USAGE && strstr(e.text, bad[i].says) != NULL, "'%s': %s", bad[i].text, e.text);
    }
    char many[33 * 8 + 1] = "", longest[400];
    for (int i = 0; i < 33; i++) strcat(many, i == 0 ? "kurt<1" : ",kurt<1");
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    rs_thresholds t;
    CHECK(rs_thresholds_parse(&t, many, NULL) == RS_USAGE && rs_thresholds_parse(&t, longest, NULL) == RS_USAGE);
    many[32 * 7 - 1] = 0; // 32 of them
    CHECK(rs_thresholds_parse(&t, many, NULL) == RS_OK && t.n == RS_THRESHOLDS);
}

static void relations(void)
{
    static const struct { rs_relation r; bool below, at, above; } table[] = {{RS_BELOW, true, false, false}, {RS_AT_MOST, true, true, false}, {RS_ABOVE, false, false, true}, {RS_AT_LEAST, false, true, true}};
    for (size_t i = 0; i < 4; i++) {
        const rs_threshold t = {RS_FIG_KURT, table[i].r, 5};
        rs_figures f = {0};
        CHECK(!rs_threshold_met(&t, &f)); // not known
        f.v[RS_FIG_KURT] = table[i].r == RS_BELOW || table[i].r == RS_AT_MOST ? -1e9 : 1e9;
        CHECK(!rs_threshold_met(&t, &f)); // still not known, whatever stands there
        rs_figures_set(&f, RS_FIG_KURT, NAN);
        CHECK(!rs_threshold_met(&t, &f));
        rs_figures_set(&f, RS_FIG_KURT, 4.9);
        CHECK(rs_threshold_met(&t, &f) == table[i].below);
        rs_figures_set(&f, RS_FIG_KURT, 5);
        CHECK(rs_threshold_met(&t, &f) == table[i].at);
        rs_figures_set(&f, RS_FIG_KURT, 5.1);
        CHECK(rs_threshold_met(&t, &f) == table[i].above);
    }
}

// Rows with figures before and after: the last side judges.
static void offenders(void)
{
    rs_view_row rows[3] = {{.name = "good", .of = RS_OF_INPUT, .role = RS_ROLE_Q}, {.name = "bad\x1b[2J", .of = RS_OF_INPUT, .role = RS_ROLE_K}, {.name = "unknown", .of = RS_OF_INPUT, .role = RS_ROLE_V}};
    rs_view_model m = {.row = rows, .n_rows = 3};
    size_t order[3] = {0, 1, 2};
    rs_view v = {.model = &m, .of = RS_OF_INPUT, .order = order, .n_order = 3};
    rs_thresholds t;
    rs_error e = {0};
    m.side[RS_OF_INPUT][0].on = m.side[RS_OF_INPUT][1].on = true;
    for (int i = 0; i < 2; i++) {
        rs_figures_set(&rows[i].fig[0], RS_FIG_MAX_RMS, 100);
        rs_figures_set(&rows[i].fig[1], RS_FIG_MAX_RMS, i == 0 ? 10 : 30);
    }
    CHECK(rs_thresholds_parse(&t, "max_rms<20", &e) == RS_OK);
    CHECK(rs_thresholds_check(&t, &v, hear, lines, &e) == RS_NO && said == 2);
    CHECKF(strcmp(lines[0], "bad\\x1b[2J: input: max_rms is 30, not < 20") == 0, "%s", lines[0]);
    CHECKF(strcmp(lines[1], "unknown: input: max_rms is not known, asked for < 20") == 0, "%s", lines[1]);
    v.n_order = 1;
    CHECK(rs_thresholds_check(&t, &v, NULL, NULL, &e) == RS_OK);
    v.n_order = 0;
    CHECK(rs_thresholds_check(&t, &v, NULL, NULL, &e) == RS_USAGE && strstr(e.text, "no tensor is selected") != NULL);
    v.n_order = 1;
    m.side[RS_OF_INPUT][1].on = false; // one side only: that one judges
    CHECK(rs_thresholds_check(&t, &v, NULL, NULL, &e) == RS_NO);
}

int main(void)
{
    parsed();
    relations();
    offenders();
    return check_report();
}
