// SPDX-License-Identifier: Apache-2.0
// Renders chat templates: each line of standard input is {"template", "vars"}, each line of standard output {"status", "text"}; the other side is template.py.
#include <stdio.h>
#include <stdlib.h>

#include "formats/template.h"

int main(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    while ((n = getline(&line, &room, stdin)) > 0) {
        json_t *in = json_loadb(line, (size_t)n, 0, NULL);
        const json_t *text = json_object_get(in, "template");
        rs_error e = {0};
        char *out;
        size_t len;
        if (in == NULL) return 1;
        rs_status s = rs_template_render(json_string_value(text), json_string_length(text), json_object_get(in, "vars"), 1700000000, &out, &len, &e);
        json_t *answer = json_object();
        json_object_set_new(answer, "status", json_string(rs_status_name(s)));
        json_object_set_new(answer, "text", s == RS_OK ? json_stringn(out, len) : json_string(e.text));
        json_dumpf(answer, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(answer);
        json_decref(in);
        free(out);
    }
    free(line);
    return 0;
}
