// SPDX-License-Identifier: Apache-2.0
// Chat templates: values and white space as Jinja has them, what is refused and with which words, and that no template runs away.
#include "formats/template.h"

#include "tests/check.h"

static json_t *names;

static rs_status render(const char *text, char **out, rs_error *e)
{
    size_t len;
    memset(e, 0, sizeof *e);
    rs_status s = rs_template_render(text, strlen(text), names, 1700000000, out, &len, e);
    if (s == RS_OK) CHECK(strlen(*out) == len);
    else CHECKF(*out == NULL && e->status == s && e->text[0] != 0, "%s: %s", text, e->text);
    return s;
}

static void gives(const char *text, const char *want)
{
    rs_error e;
    char *out;
    rs_status s = render(text, &out, &e);
    CHECKF(s == RS_OK && strcmp(out, want) == 0, "%s\n  gives \"%s\"\n  not   \"%s\"", text, s == RS_OK ? out : e.text, want);
    free(out);
}

static void refused(const char *text, rs_status status, const char *why)
{
    rs_error e;
    char *out;
    rs_status s = render(text, &out, &e);
    CHECKF(s == status && strstr(e.text, why) != NULL, "%s\n  ends with %s \"%s\"\n  not      %s \"%s\"", text, rs_status_name(s), s == RS_OK ? out : e.text, rs_status_name(status), why);
    free(out);
}

static void white_space(void)
{
    gives("a\n", "a");
    gives("a\n\n", "a\n");
    gives("a\r\nb\rc", "a\nb\nc");
    gives("x {%- if true -%} y {%- endif -%} z", "xyz");
    gives("  {% if true %}\n  y\n  {% endif %}\nz", "  y\nz");
    gives("  {%+ if true %}\ny{% endif +%}\nz", "  y\nz");
    gives("a  {# note #}\nb\n  {#- note -#}  c", "a  bc");
    gives(" {{- 1 -}} \n {{ 2 }} \n{{ 3 }}", "12 \n3");
    gives("a {#", "a ");
    gives("{% raw %} {{ x }} {%- endraw %}", " {{ x }}");
    gives("{{ '}}' }}{{ '%}' }}{{ {'a': {'b': 1}}['a']['b'] }}", "}}%}1");
}

static void values(void)
{
    gives("{{ 1 + 2 * 3 }} {{ 7 // -2 }} {{ 7 % -2 }} {{ 1 / 2 }} {{ 2 ** 10 }} {{ 1 ~ 'a' }} {{ -2|abs }}", "7 -4 -1 0.5 1024 1a 2");
    gives("{{ [1, 'a', none, true, 1.0, {'k': (1,)}] }}", "[1, 'a', None, True, 1.0, {'k': (1,)}]");
    gives("{{ 1e22 }} {{ 1.5e-7 }} {{ 0.1 }} {{ 100.0 }} {{ 123456789.125 }} {{ 0.0001 }}", "1e+22 1.5e-07 0.1 100.0 123456789.125 0.0001");
    gives("{{ \"it's\"|list|first }}{{ ['it\\'s', '\"\\'', '\\x07é'] }}", "i[\"it's\", '\"\\'', '\\x07é']");
    gives("{{ '日本語é'|length }} {{ '日本語é'[1] }} {{ '日本語é'[::-1] }} {{ '日本語é'[-2:] }} {{ 'abc'[5:] }}", "4 本 é語本日 語é ");
    gives("{{ missing }}{{ missing is defined }}{{ d.nope is none }}{{ d.k }}{{ d['k'] }}{{ d.get('z', 3) }}", "FalseFalsevv3");
    gives("{{ 1 < 2 < 3 }} {{ 1 == 1.0 }} {{ 'a' < 'b' }} {{ 2 in l }} {{ 'x' not in 'xyz' }} {{ not 1 == 2 }} {{ 1 == true }}", "True True True True False True True");
    gives("{{ 'a' if false }}{{ 'a' if false else 'b' if false else 'c' }}", "c");
    gives("{{ {'b': [1, {}], 'a': 'é\\n<'}|tojson }} {{ [1]|tojson(indent=2) }}", "{\"b\": [1, {}], \"a\": \"é\\n<\"} [\n  1\n]");
    gives("{{ ' a b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a b c'.rsplit(none, 1) }} {{ 'x'.join(['a', 'b']) }} {{ 'hello world'|title }} {{ 'aXbX'.replace('X', '-', 1) }}", "['a', 'b'] ['a', 'b,c'] ['a b', 'c'] axb Hello World a-bX");
    gives("{{ messages|selectattr('role', 'eq', 'user')|map(attribute='content')|join('/') }} {{ l|sort|join }} {{ d|dictsort }}", "hi/yo 123 [('k', 'v'), ('z2', 1)]");
    gives("{{ strftime_now('%Y') }}", "2023");
}

static void statements(void)
{
    gives("{% for m in messages %}{{ loop.index }}{{ m.role[0] }}{{ ',' if not loop.last }}{% endfor %}", "1s,2u,3a,4u");
    gives("{% for x in l if x > 1 %}{{ x }}/{{ loop.length }} {% else %}none{% endfor %}{% for x in [] %}{% else %}none{% endfor %}", "3/2 2/2 none");
    gives("{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}", "4 2 3 1");
    gives("{% set ns = namespace(x=1) %}{% for i in l %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "7");
    gives("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% elif i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}", "013");
    gives("{% macro m(a, b='B') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(b=2, a=3) }}{{ m() }}", "[1B][32][B]");
    gives("{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}", "3210");
    gives("{% set t | upper %}ab{% endset %}{{ t }}{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }}{% generation %}g{% endgeneration %}", "AB3Falseg");
    gives("{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% set a, b = 'xy' %}{{ b }}", "k=v;z2=1;y");
}

static void errors(void)
{
    refused("a\nb\n{{ x.y }}", RS_E_IMPORT, "line 3: \"x\" is undefined");
    refused("{{ raise_exception('no ' ~ messages[0].role) }}", RS_USAGE, "line 1: the template refuses the conversation: no system");
    refused("\n{% include 'x' %}", RS_E_IMPORT, "line 2: tag \"include\" is not supported");
    refused("{% frobnicate %}", RS_E_IMPORT, "tag \"frobnicate\" is unknown");
    refused("{{ 1|frobnicate }}", RS_E_IMPORT, "filter \"frobnicate\" is not supported");
    refused("{{ 1 is frobnicate }}", RS_E_IMPORT, "test \"frobnicate\" is not supported");
    refused("{{ l.append(1) }}", RS_E_IMPORT, "method append is not supported: it changes its object");
    refused("{% for x in l recursive %}{% endfor %}", RS_E_IMPORT, "recursive loops");
    refused("{{ joiner() }}", RS_E_IMPORT, "function \"joiner\" is not supported");
    refused("{% set d.k = 1 %}", RS_E_IMPORT, "only one of a namespace");
    refused("{{ 'a' + 1 }}", RS_E_IMPORT, "\"+\" between a text and a whole number");
    refused("{{ 1 / 0 }}", RS_E_IMPORT, "division by zero");
    refused("{{ 9223372036854775807 + 1 }}", RS_E_IMPORT, "above 63 bits");
    refused("{{ 99999999999999999999 }}", RS_E_IMPORT, "too large");
    refused("{{ 'é'|upper }}", RS_E_IMPORT, "U+00E9");
    refused("{% if true %}", RS_E_IMPORT, "endif");
    refused("{{ 1", RS_E_IMPORT, "the end of the template");
    refused("{{ 'a }}", RS_E_IMPORT, "a text in quotes does not end");
    refused("{# a", RS_E_IMPORT, "comment does not end");
    refused("{% raw %}{% endraw ", RS_E_IMPORT, "raw block does not end");
    refused("{{ (1] }}", RS_E_IMPORT, "unexpected \"]\"");
    refused("{{ 1 $ 2 }}", RS_E_IMPORT, "unexpected \"$\"");
    refused("{% endif %}", RS_E_IMPORT, "tag \"endif\" is unknown here");
    refused("{% break %}", RS_E_IMPORT, "outside of a loop");
    refused("{{ f(1) }}", RS_E_IMPORT, "\"f\" is undefined");
    refused("{{ d.k(1) }}", RS_E_IMPORT, "a text cannot be called");
    refused("{{ range(1, x=2) }}", RS_E_IMPORT, "\"range\" takes no such argument");
    refused("\xff", RS_E_IMPORT, "not UTF-8 at byte 0");
}

// A text of n copies of a piece between two others.
static char *repeated(const char *before, const char *piece, size_t n, const char *after)
{
    size_t len = strlen(piece);
    char *p = malloc(strlen(before) + n * len + strlen(after) + 1), *at = p;
    if (p == NULL) exit(1);
    at = stpcpy(at, before);
    for (size_t i = 0; i < n; i++) at = stpcpy(at, piece);
    strcpy(at, after);
    return p;
}

static void too_much(const char *before, const char *piece, size_t n, const char *after)
{
    char *text = repeated(before, piece, n, after);
    rs_error e;
    char *out;
    rs_status s = render(text, &out, &e);
    CHECKF(s == RS_E_LIMIT, "%.40s...: %s", text, s == RS_OK ? "no error" : e.text);
    free(out);
    free(text);
}

static void bounds(void)
{
    refused("{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}", RS_E_LIMIT, "");
    refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", RS_E_LIMIT, "deep");
    refused("{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}", RS_E_LIMIT, "MiB");
    refused("{% set ns = namespace(x=[]) %}{% for i in range(999) %}{% set ns.x = [ns.x] %}{% endfor %}", RS_E_LIMIT, "nested");
    refused("{{ 'a' * 999999999999 }}", RS_E_LIMIT, "");
    refused("{{ range(999999999) }}", RS_E_LIMIT, "range");
    refused("{% set s = 'ab' * 1000000 %}{{ s.strip(s) }}", RS_E_LIMIT, "steps");
    refused("{{ ('a' * 100000).split('') }}", RS_E_IMPORT, "split at an empty");
    refused("{{ ['upper']|map('map', 'map', 'map')|list|string }}", RS_E_IMPORT, "");
    too_much("{{ ", "(", 1000, "1 }}");
    too_much("{{ ", "[", 1000, "1 }}");
    too_much("{{ ", "not ", 1000, "1 }}");
    too_much("{{ ", "-", 1000, "1 }}");
    too_much("{{ 1", " + 1", 100000, " }}");
    too_much("{{ 1", "|abs", 100000, " }}");
    too_much("", "{% if 1 %}", 1000, "");
    too_much("", "{{1}}", 100000, "");
    too_much("", "0123456789", 110000, "");
    // What real templates do stays far within the bounds.
    char *text = repeated("{{ ('a'", " + 'a'", 100, ")|length }}");
    gives(text, "101");
    free(text);
}

int main(void)
{
    names = json_loads("{\"messages\":[{\"role\":\"system\",\"content\":\"be\"},{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"ok\"},{\"role\":\"user\",\"content\":\"yo\"}],\"l\":[3,1,2],\"d\":{\"k\":\"v\",\"z2\":1}}", 0, NULL);
    white_space();
    values();
    statements();
    errors();
    bounds();
    json_decref(names);
    return check_report();
}
