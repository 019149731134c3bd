// SPDX-License-Identifier: Apache-2.0
// Exports: numbers are those of the view, JSON opens again to the same view and the same bytes, what a file says never becomes markup, equal input gives equal bytes, bad JSON is refused.
// With a folder as argument it leaves its exports there, for readers in other languages.
#include "tests/exports.h"

#include "formats/json.h"

static char path[128];

static char *exported(const exports_view *t, const char *format)
{
    rs_text_buffer b = {0};
    rs_error e = {0};
    CHECKF(rs_export_as(format, &t->x, &b, &e) == RS_OK, "%s: %s", format, e.text);
    rs_text_buffer_add(&b, "", 1);
    return b.p;
}

static rs_outline *outline(void)
{
    rs_outline *o = NULL;
    rs_error e = {0};
    CHECKF(rs_outline_open(&o, path, &e) == RS_OK, "%s", e.text);
    return o;
}

static bool same_figures(const rs_figures *a, const rs_figures *b)
{
    double x, y;
    for (int f = 0; f < RS_FIG_COUNT; f++) {
        const bool known = rs_figures_get(a, (rs_figure)f, &x);
        if (known != rs_figures_get(b, (rs_figure)f, &y) || (known && x != y)) return false;
    }
    return true;
}

// ---- JSON

static void numbers(const exports_view *t, const char *text)
{
    static const char first[] = "{\n \"format\": \"rs-top\",\n \"major\": 1,\n \"minor\": 0,\n";
    static const char *const sides[] = {"before", "after"};
    json_t *root = NULL;
    size_t i = 0, known = 0, absent = 0;
    CHECK(strncmp(text, first, sizeof first - 1) == 0 && rs_json_parse(&root, text, strlen(text), "export", NULL) == RS_OK);
    const json_t *rows = json_object_get(root, "rows");
    CHECK(json_array_size(rows) == t->v.n_order && t->v.n_order > 0);
    for (; i < json_array_size(rows); i++) {
        const rs_view_row *r = rs_view_row_at(&t->v, i);
        const json_t *j = json_array_get(rows, i);
        CHECK(strcmp(json_string_value(json_object_get(j, "name")), r->name) == 0 && json_integer_value(json_object_get(j, "change")) == rs_view_change(r));
        for (int side = 0; side < 2; side++)
            for (int f = 0; f < RS_FIG_COUNT && t->m.side[r->of][side].on; f++) {
                const json_t *x = json_object_get(json_object_get(j, sides[side]), rs_figure_name((rs_figure)f));
                double y = 0;
                const bool there = rs_figures_get(&r->fig[side], (rs_figure)f, &y);
                CHECKF(x != NULL && (there ? json_is_number(x) && json_number_value(x) == y : json_is_null(x)), "%s: %s", r->name, rs_figure_name((rs_figure)f));
                known += there;
                absent += !there;
            }
    }
    CHECK(known > 0 && absent > 0);
    json_decref(root);
}

// A number that is not finite is null, and the flag says what it is.
static void not_finite(exports_view *t)
{
    rs_view_row *r = &t->m.row[0];
    const rs_figures kept = r->fig[0];
    static const struct { double x; const char *flag; } list[] = {{NAN, "nan"}, {INFINITY, "inf"}, {-INFINITY, "-inf"}};
    for (size_t i = 0; i < 3; i++) {
        json_t *root = NULL;
        rs_figures_set(&r->fig[0], RS_FIG_KURT, list[i].x);
        char *text = exported(t, "json");
        size_t found = 0;
        CHECK(rs_json_parse(&root, text, strlen(text), "export", NULL) == RS_OK);
        for (size_t k = 0; k < json_array_size(json_object_get(root, "rows")); k++) {
            const json_t *j = json_array_get(json_object_get(root, "rows"), k), *before = json_object_get(j, "before"), *flag = json_object_get(json_object_get(before, "not_finite"), "kurt");
            if (strcmp(json_string_value(json_object_get(j, "name")), r->name) == 0) found += json_is_null(json_object_get(before, "kurt")) && flag != NULL && strcmp(json_string_value(flag), list[i].flag) == 0;
            else CHECK(flag == NULL);
        }
        CHECKF(found == 1, "%s: %d flags", list[i].flag, (int)found);
        json_decref(root);
        free(text);
    }
    r->fig[0] = kept;
}

// What comes back is the same, down to the bytes of another export.
static void again(const exports_view *t, const char *text, int screen, rs_measure of)
{
    rs_outline *doc[2];
    rs_error e = {0};
    exports_view u;
    int n;
    if (!CHECKF(rs_export_parse(text, strlen(text), doc, &n, &e) == RS_OK && n == 1 && rs_outline_kept(doc[0]), "%s", e.text)) return;
    if (exports_open(&u, doc[0], screen, of)) {
        CHECK(u.m.n_rows == t->m.n_rows && u.m.n_junctions == t->m.n_junctions && u.v.n_order == t->v.n_order);
        for (size_t i = 0; i < t->m.n_rows && i < u.m.n_rows; i++)
            CHECKF(strcmp(u.m.row[i].name, t->m.row[i].name) == 0 && same_figures(&u.m.row[i].fig[0], &t->m.row[i].fig[0]) && same_figures(&u.m.row[i].fig[1], &t->m.row[i].fig[1]), "row %s", t->m.row[i].name);
        for (int side = 0; side < 2; side++) {
            const rs_view_channels *a = t->v.channels[side], *b = u.v.channels[side];
            CHECK((a == NULL) == (b == NULL) && (a == NULL || (a->n == b->n && a->rows == b->rows && a->groups == b->groups)));
            if (a != NULL && a->absmax != NULL) CHECK(memcmp(a->absmax, b->absmax, a->n * 4) == 0 && memcmp(a->rms, b->rms, a->n * 4) == 0 && memcmp(a->kurt, b->kurt, a->n * 4) == 0 && memcmp(a->hist, b->hist, sizeof a->hist) == 0);
            if (a != NULL && a->sig != NULL) CHECK(memcmp(a->sig, b->sig, a->rows * a->groups * 4) == 0 && memcmp(a->err, b->err, a->rows * a->groups * 4) == 0 && memcmp(a->clip, b->clip, a->rows * a->groups * 4) == 0);
        }
        CHECK(u.spectrum.whole && u.spectrum.known == t->spectrum.known && memcmp(u.spectrum.theta, t->spectrum.theta, u.spectrum.known * sizeof(double)) == 0);
        char *more = exported(&u, "json"), *page = exported(&u, "html"), *page_before = exported(t, "html");
        CHECKF(strcmp(more, text) == 0, "the export of an export has other bytes");
        CHECKF(strcmp(page, page_before) == 0, "the page of an export has other bytes");
        free(more);
        free(page);
        free(page_before);
        exports_close(&u);
    }
    uint8_t byte;
    CHECK(rs_outline_read(doc[0], 0, &byte, 1, &(rs_error){0}) == RS_USAGE && !rs_outline_seekable(doc[0]));
    rs_outline_close(doc[0]);
}

// One change that makes an export bad: the first `from` becomes `to`.
static void refused(const char *text, const char *from, const char *to, rs_status want)
{
    const char *at = strstr(text, from);
    rs_outline *doc[2];
    rs_error e = {0};
    int n;
    if (!CHECKF(at != NULL, "no %s in the export", from)) return;
    char *bad = malloc(strlen(text) + strlen(to) + 1);
    sprintf(bad, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    const rs_status st = rs_export_parse(bad, strlen(bad), doc, &n, &e);
    CHECKF(st == want && e.text[0] != 0 && doc[0] == NULL && doc[1] == NULL, "%s for %s: %s: %s", to, from, rs_status_name(st), e.text);
    free(bad);
}

static void refusals(const char *text)
{
    refused(text, "\"rs-top\"", "\"rs-topp\"", RS_E_IMPORT);
    refused(text, "\"major\": 1", "\"major\": 2", RS_E_VERSION);
    refused(text, "\"major\": 1", "\"major\": 0", RS_E_IMPORT);
    refused(text, "\"major\": 1", "\"major\": \"1\"", RS_E_IMPORT);
    refused(text, "\"minor\": 0", "\"major\": 1", RS_E_IMPORT); // a key twice
    refused(text, "\"sources\"", "\"source\"", RS_E_IMPORT);
    refused(text, "\"statistics\"", "\"statistic\"", RS_E_IMPORT);
    refused(text, "\"digest\": \"", "\"digest\": \"z", RS_E_IMPORT);
    refused(text, "\"arch\": \"llama\"", "\"arch\": 1", RS_E_META);
    refused(text, "\"arch\": \"llama\"", "\"arch\": \"ll\\u0007ama\"", RS_E_META);
    refused(text, "\"arch\": \"llama\"", "\"arch\": null", RS_E_IMPORT);
    refused(text, "\"layers\": 2", "\"layers\": 70000", RS_E_META);
    refused(text, "\"tool\": \"rs-import\"", "\"toll\": \"rs-import\"", RS_E_META);
    refused(text, "\"of\": \"angles\"", "\"of\": \"angle\"", RS_E_META);
    refused(text, "\"name\": \"junction.1\"", "\"name\": \"junction.4\"", RS_E_TENSOR); // two layers have junctions 0..3
    refused(text, "\"name\": \"basis.2\"", "\"name\": \"basis.5\"", RS_E_TENSOR);
    refused(text, "\"theta\": [", "\"absmax\": 1, \"theta\": 5, \"x\": [", RS_E_IMPORT);
    refused(text, "\"uint\": \"18446744073709551615\"", "\"uint\": \"18446744073709551616\"", RS_E_IMPORT);
    refused(text, "\"uint\": \"18446744073709551615\"", "\"uint\": \"5\"", RS_E_IMPORT);
    rs_outline *doc[2];
    int n;
    CHECK(rs_export_parse("[]", 2, doc, &n, &(rs_error){0}) == RS_E_IMPORT && rs_export_parse("{", 1, doc, &n, &(rs_error){0}) == RS_E_IMPORT && rs_export_parse("", 0, doc, &n, &(rs_error){0}) == RS_E_IMPORT);
    for (size_t cut = 1; cut < strlen(text) - 2; cut += 97) CHECK(rs_export_parse(text, cut, doc, &n, &(rs_error){0}) == RS_E_IMPORT);
}

// ---- markup

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p += strlen(what)) n++;
    return n;
}

static void harmless(const char *text, const char *what)
{
    static const char *const never[] = {"<script", "</style><b>", "<i>", "<b>", "http://", "https://", "<link", "<img", "@import", "url("};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) CHECKF(count(text, never[i]) == (strcmp(never[i], "http://") == 0 ? count(text, "xmlns=\"http://www.w3.org/2000/svg\"") : 0), "%s holds %s", what, never[i]);
    CHECKF(count(text, "<svg") == count(text, "</svg>") && count(text, "<text") == count(text, "</text>"), "%s: tags do not pair", what);
}

// ---- CSV

// Reads one field behind *p into out; true: another follows in this line.
static bool field(const char **p, char *out, size_t cap)
{
    size_t n = 0;
    const bool quoted = **p == '"';
    if (quoted) (*p)++;
    for (; **p != 0; (*p)++) {
        if (quoted && **p == '"') {
            if (*++*p != '"') break;
        } else if (!quoted && (**p == ',' || **p == '\r')) break;
        if (n + 1 < cap) out[n++] = **p;
    }
    out[n] = 0;
    if (**p == ',') return (*p)++, true;
    CHECK(strncmp(*p, "\r\n", 2) == 0);
    *p += 2;
    return false;
}

static void csv(const exports_view *t, const char *text)
{
    char head[64][64], value[512];
    size_t n = 0;
    const char *p = text;
    while (field(&p, head[n++], sizeof head[0]) && n < 64) {}
    CHECK(n == 9 + 2 * RS_FIG_COUNT && strcmp(head[0], "name") == 0 && strcmp(head[9], "max_rms_before") == 0);
    for (size_t i = 0; i < t->v.n_order; i++) {
        const rs_view_row *r = rs_view_row_at(&t->v, i);
        for (size_t k = 0; k < n; k++) {
            double x;
            CHECK(field(&p, value, sizeof value) == (k + 1 < n));
            if (k == 0) CHECKF(strcmp(value, r->name) == 0, "%s for %s", value, r->name);
            if (k < 9) continue;
            const bool known = rs_figures_get(&r->fig[(k - 9) / RS_FIG_COUNT], (rs_figure)((k - 9) % RS_FIG_COUNT), &x);
            CHECKF(known ? strtod(value, NULL) == x : value[0] == 0, "%s: %s is %s", r->name, head[k], value);
        }
    }
    CHECK(*p == 0);
}

static void tagged(exports_view *t)
{
    rs_view_row *r = &t->m.row[t->v.order[1]];
    r->tagged = true;
    CHECK(rs_export_row(&t->v, 0) == r && rs_export_row(&t->v, 1) == NULL);
    char *text = exported(t, "csv");
    CHECK(count(text, "\r\n") == 2 && strstr(text, r->name) != NULL);
    free(text);
    r->tagged = false;
    CHECK(rs_export_row(&t->v, t->v.n_order - 1) != NULL && rs_export_row(&t->v, t->v.n_order) == NULL);
}

// ---- all screens

static void keep(const char *folder, int screen, const char *format, const char *text)
{
    char name[512];
    if (folder == NULL) return;
    snprintf(name, sizeof name, "%s/%d.%s", folder, screen, format);
    FILE *f = fopen(name, "wb");
    if (CHECK(f != NULL)) CHECK(fputs(text, f) >= 0 && fclose(f) == 0);
}

static void screens(const char *folder)
{
    static const char *const formats[] = {"text", "csv", "json", "svg", "html"};
    static const size_t figures[] = {0, 2, 4, 4, 2, 1}; // with the one around them
    for (int screen = 1; screen <= 5; screen++) {
        const rs_measure of = screen == RS_SCREEN_ERROR ? RS_OF_ERROR : RS_OF_INPUT;
        rs_outline *o = outline();
        exports_view t;
        if (o == NULL || !exports_open(&t, o, screen, of)) return;
        for (size_t k = 0; k < 5; k++) {
            char *a = exported(&t, formats[k]), *b = exported(&t, formats[k]);
            CHECKF(strlen(a) > 40 && strcmp(a, b) == 0, "screen %d: %s differs from time to time", screen, formats[k]);
            CHECKF(strstr(a, path) == NULL, "screen %d: %s holds a path", screen, formats[k]);
            if (k == 3 || k == 4) harmless(a, formats[k]);
            if (k == 3) CHECKF(count(a, "<svg") == figures[screen], "screen %d: %d panels", screen, (int)count(a, "<svg") - 1);
            if (k == 4) CHECK(strstr(a, "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;&#39;`{{x}}") != NULL && strstr(a, "&lt;i&gt;&amp;model&quot;") != NULL);
            if (k == 2) {
                numbers(&t, a);
                again(&t, a, screen, of);
                if (screen == 2) refusals(a);
            }
            if (k == 1 && (screen == 1 || screen == 4)) csv(&t, a);
            if (k == 1 && screen == 2) CHECK(count(a, "\r\n") == 1 + EXPORTS_COLS);
            if (k == 1 && screen == 3) CHECK(count(a, "\r\n") == 1 + EXPORTS_COLS);
            if (k == 1 && screen == 5) CHECK(count(a, "\r\n") == 3 && strstr(a, ",\"</style><b>\"\"x\"\" a,b\",") != NULL);
            keep(folder, screen, formats[k], a);
            free(a);
            free(b);
        }
        if (screen == 1) {
            not_finite(&t);
            tagged(&t);
        }
        rs_text_buffer b = {0};
        CHECK(rs_export_as("pdf", &t.x, &b, &(rs_error){0}) == RS_USAGE);
        exports_close(&t);
        rs_outline_close(o);
    }
}

// Bars become rectangles as long as their eighths say, reversed text a ground, and blanks at ends are left out.
static void cells(void)
{
    rs_cells c;
    rs_text_buffer b = {0};
    rs_error e = {0};
    if (!CHECK(rs_cells_init(&c, 20, 3, false, &e) == RS_OK)) return;
    rs_cells_put(&c, 0, 0, 20, RS_INK_TEXT, 0, "a<b  c ");
    rs_cells_bar(&c, 1, 2, 4, RS_INK_AFTER, 0.40625); // 13 eighths of a cell
    rs_cells_put(&c, 2, 19, 1, RS_INK_BAD, RS_ATTR_REVERSE, "!");
    CHECK(rs_screen_svg(&c, 0, &b, &e) == RS_OK);
    rs_text_buffer_add(&b, "", 1);
    CHECK(strstr(b.p, "textLength=\"24\"") != NULL && strstr(b.p, ">a&lt;b</text>") != NULL && strstr(b.p, ">c</text>") != NULL);
    CHECK(strstr(b.p, "<rect x=\"24\" y=\"25\" width=\"8\" height=\"17\"") != NULL && strstr(b.p, "<rect x=\"32\" y=\"25\" width=\"5\" height=\"17\"") != NULL);
    CHECK(count(b.p, "<rect") == 4 && count(b.p, "<text") == 3);
    free(b.p);
    rs_cells_free(&c);
}

int main(int argc, char **argv)
{
    tiny_path(path, sizeof path, "export.rsq");
    if (exports_file(path)) {
        screens(argc > 1 ? argv[1] : NULL);
        cells();
    }
    return check_report();
}
