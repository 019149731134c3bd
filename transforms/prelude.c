// SPDX-License-Identifier: Apache-2.0
// Keeps the frames before the tensors, finds the configuration among them, and sets its tie_word_embeddings to false where a head of its own is made.
#include "transforms/prelude.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    struct kept *next;
    char tag[5];
    uint8_t *meta, *payload;
    size_t meta_len, payload_len;
};

struct rs_prelude {
    struct kept *first, *last; // last: config.json
    rs_config config;
};

const rs_config *rs_prelude_config(const rs_prelude *p) { return &p->config; }

void rs_prelude_free(rs_prelude *p)
{
    if (p == NULL) return;
    for (struct kept *k = p->first, *next; k != NULL; k = next) {
        next = k->next;
        free(k->meta);
        free(k->payload);
        free(k);
    }
    free(p);
}

// Appends the frame f with its payload.
static rs_status keep(rs_prelude *p, rs_reader *r, const rs_frame *f, rs_error *e)
{
    struct kept *k = calloc(1, sizeof *k);
    if (k == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the frames before the tensors");
    *(p->last == NULL ? &p->first : &p->last->next) = k;
    p->last = k;
    if (f->payload_len <= RS_MAX_FILE) {
        k->meta = malloc(f->meta_len + 1);
        k->payload = malloc(f->payload_len + 1);
    }
    if (k->meta == NULL || k->payload == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for a frame of %llu bytes before the tensors", (unsigned long long)f->payload_len);
    memcpy(k->tag, f->tag, sizeof k->tag);
    memcpy(k->meta, f->meta, f->meta_len);
    k->meta_len = f->meta_len;
    k->payload_len = f->payload_len;
    return rs_reader_read_all(r, k->payload, e);
}

static rs_status read_frames(rs_prelude *p, rs_reader *r, rs_error *e)
{
    for (;;) {
        rs_frame f;
        RS_TRY(rs_reader_next(r, &f, e));
        if (f.type == RS_FRAME_TENS || f.type == RS_FRAME_END) return rs_fail(e, RS_E_TENSOR, "the model has no config.json before its tensors");
        bool config = f.type == RS_FRAME_FILE && strcmp(f.file_name, "config.json") == 0;
        RS_TRY(keep(p, r, &f, e));
        if (config) break;
    }
    RS_TRY(rs_config_parse(&p->config, p->last->payload, p->last->payload_len, e));
    if (p->config.L == rs_reader_head(r)->layers) return RS_OK;
    return rs_fail(e, RS_E_TENSOR, "config.json has %llu layers, HEAD %llu", (unsigned long long)p->config.L, (unsigned long long)rs_reader_head(r)->layers);
}

rs_status rs_prelude_read(rs_prelude **out, rs_reader *r, rs_error *e)
{
    rs_prelude *p = calloc(1, sizeof *p);
    *out = p;
    if (p == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for the frames before the tensors");
    rs_status status = read_frames(p, r, e);
    if (status != RS_OK) {
        rs_prelude_free(p);
        *out = NULL;
    }
    return status;
}

// A copy of config.json in which one "tie_word_embeddings": true is false, such that the parsed configuration says so; everything else keeps its bytes.
static char *untied(const uint8_t *json, size_t len, size_t *new_len)
{
    static const char key[] = "\"tie_word_embeddings\"";
    const size_t n = sizeof key - 1;
    for (size_t at = 0; at + n < len; at++) {
        if (memcmp(json + at, key, n) != 0) continue;
        size_t v = at + n;
        while (v < len && (isspace(json[v]) || json[v] == ':')) v++;
        if (v + 4 > len || memcmp(json + v, "true", 4) != 0) continue;
        char *text = malloc(len + 1);
        if (text == NULL) return NULL;
        memcpy(text, json, v);
        memcpy(text + v, "false", 5);
        memcpy(text + v + 5, json + v + 4, len - v - 4);
        *new_len = len + 1;
        rs_config c;
        if (rs_config_parse(&c, text, *new_len, NULL) == RS_OK && !c.tied) return text;
        free(text);
    }
    return NULL;
}

rs_status rs_prelude_write(const rs_prelude *p, rs_writer *w, bool untie, rs_error *e)
{
    for (const struct kept *k = p->first; k != NULL; k = k->next) {
        if (k != p->last || !untie || !p->config.tied) {
            RS_TRY(rs_writer_copy(w, k->tag, k->meta, k->meta_len, k->payload, k->payload_len, e));
            continue;
        }
        size_t len;
        char *text = untied(k->payload, k->payload_len, &len);
        if (text == NULL) return rs_fail(e, RS_E_IMPORT, "config.json: its \"tie_word_embeddings\" cannot be set to false");
        rs_status status = rs_writer_file(w, "config.json", text, len, e);
        free(text);
        RS_TRY(status);
    }
    return RS_OK;
}
