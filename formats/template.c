// SPDX-License-Identifier: Apache-2.0
// From the text of a template to what it renders.
#include "formats/template.h"

#include <stdlib.h>
#include <string.h>

#include "formats/template_run.h"
#include "formats/utf8.h"

static rs_status render(rs_template_heap *h, const char *text, size_t len, const json_t *vars, rs_template_text *out)
{
    rs_template_token *tokens;
    rs_template_node *first;
    rs_template_scope *outside, *scope;
    rs_tv names;
    RS_TRY(rs_template_lex(h, text, len, &tokens));
    RS_TRY(rs_template_tree(h, tokens, &first));
    RS_TRY(rs_template_scope_new(h, NULL, &outside));
    RS_TRY(rs_tv_from_json(h, vars, &names));
    outside->names.map->item = names.map->item;
    outside->names.map->n = outside->names.map->room = names.map->n;
    RS_TRY(rs_template_scope_new(h, outside, &scope));
    rs_template_run run = {.h = h, .scope = scope, .out = out};
    return rs_template_exec(&run, first);
}

rs_status rs_template_render(const char *text, size_t len, const json_t *vars, int64_t now, char **out, size_t *out_len, rs_error *e)
{
    rs_template_heap h = {.arena = rs_arena_new(), .now = now, .line = 1, .e = e};
    rs_template_text rendered = {0};
    rs_status s;
    size_t good;
    *out = NULL;
    *out_len = 0;
    if (h.arena == NULL) s = rs_fail(e, RS_E_NOMEM, "no memory for a template");
    else if (len > RS_TEMPLATE_MAX_LENGTH) s = rs_fail(e, RS_E_LIMIT, "a template of %zu bytes, at most %u", len, RS_TEMPLATE_MAX_LENGTH);
    else if ((good = rs_utf8_valid(text, len)) != len) s = rs_fail(e, RS_E_IMPORT, "not UTF-8 at byte %zu", good);
    else if (!json_is_object(vars)) s = rs_fail(e, RS_E_INTERNAL, "the names of a template are not an object");
    else s = render(&h, text, len, vars, &rendered);
    if (s == RS_OK) {
        *out = malloc(rendered.len + 1);
        if (*out == NULL) s = rs_fail(e, RS_E_NOMEM, "no memory for %zu bytes", rendered.len);
    }
    if (s == RS_OK) {
        if (rendered.len > 0) memcpy(*out, rendered.p, rendered.len);
        (*out)[rendered.len] = 0;
        *out_len = rendered.len;
    }
    rs_arena_free(h.arena);
    return s;
}
