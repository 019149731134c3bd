// SPDX-License-Identifier: Apache-2.0
// Finds out what kind of model a path holds, opens its files, and makes one sorted list of its tensors.
#include "formats/source.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "formats/gguf_config.h"
#include "formats/json.h"
#include "formats/spool.h"
#include "formats/tokenizer_json.h"

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

// dir/name into out.
static rs_status join(char out[PATH_MAX], const char *dir, const char *name, rs_error *e)
{
    return snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX ? RS_OK : rs_fail(e, RS_E_READ, "%s: the path is too long", name);
}

// The directory that holds path, "." for a bare name.
static rs_status folder_of(char out[PATH_MAX], const char *path, rs_error *e)
{
    size_t n = (size_t)(base_name(path) - path);
    if (n >= PATH_MAX) return rs_fail(e, RS_E_READ, "the path is too long");
    memcpy(out, path, n);
    strcpy(out + n, ".");
    return RS_OK;
}

// A name for people: printable ASCII, the rest becomes '?'.
static void set_model(rs_source *s, const char *name, size_t len)
{
    size_t n = len < sizeof s->model ? len : sizeof s->model - 1;
    for (size_t i = 0; i < n; i++) s->model[i] = name[i] >= ' ' && name[i] <= '~' ? name[i] : '?';
    s->model[n] = 0;
}

static void set_model_of_folder(rs_source *s, const char *folder)
{
    char *whole = realpath(folder, NULL);
    const char *name = whole == NULL ? "" : base_name(whole);
    if (*name == 0) name = "model";
    set_model(s, name, strlen(name));
    free(whole);
}

// ---- JSON beside the model

static rs_status read_whole(rs_in *in, char **bytes, size_t *len, rs_error *e)
{
    uint64_t size;
    RS_TRY(rs_in_size(in, &size, e));
    if (size > RS_MAX_FILE) return rs_fail(e, RS_E_LIMIT, "%" PRIu64 " bytes, at most %u", size, RS_MAX_FILE);
    *bytes = malloc((size_t)size + 1);
    if (*bytes == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for %" PRIu64 " bytes", size);
    *len = (size_t)size;
    return rs_in_pread(in, *bytes, (size_t)size, 0, e);
}

static rs_status read_text(rs_source_text *t, const char *path, rs_error *e)
{
    rs_status s = rs_spool_open(&t->in, path, e);
    if (s == RS_OK) s = read_whole(t->in, &t->bytes, &t->len, e);
    t->read = true;
    return s == RS_OK ? RS_OK : rs_error_prefix(e, s, "%s", base_name(path));
}

// The document of this name in folder, or nothing when it is not there.
static rs_status read_beside(rs_source_text *t, const char *folder, const char *name, rs_error *e)
{
    char path[PATH_MAX];
    struct stat st;
    RS_TRY(join(path, folder, name, e));
    if (stat(path, &st) != 0 && errno == ENOENT) return RS_OK;
    return read_text(t, path, e);
}

// Configuration and tokenizer of a safetensors model; folder is NULL when it came from standard input.
static rs_status read_texts(rs_source *s, const char *folder, const rs_source_options *o, rs_error *e)
{
    rs_source_text *config = &s->text[RS_TEXT_CONFIG], *tokenizer = &s->text[RS_TEXT_TOKENIZER];
    if (o->config != NULL) RS_TRY(read_text(config, o->config, e));
    else if (folder != NULL) RS_TRY(read_beside(config, folder, "config.json", e));
    if (config->bytes == NULL)
        return folder == NULL ? rs_fail(e, RS_USAGE, "a safetensors file on standard input needs --config FILE") : rs_fail(e, RS_E_IMPORT, "config.json is not beside the model (--config FILE names it)");
    if (folder != NULL && o->config == NULL) RS_TRY(read_beside(&s->text[RS_TEXT_GENERATION_CONFIG], folder, "generation_config.json", e));
    if (o->no_tokenizer) return RS_OK;
    if (o->tokenizer != NULL) return read_text(tokenizer, o->tokenizer, e);
    if (folder == NULL) return RS_OK;
    RS_TRY(read_beside(tokenizer, folder, "tokenizer.json", e));
    if (tokenizer->bytes == NULL) return RS_OK;
    RS_TRY(read_beside(&s->text[RS_TEXT_TOKENIZER_CONFIG], folder, "tokenizer_config.json", e));
    return read_beside(&s->text[RS_TEXT_CHAT_TEMPLATE], folder, "chat_template.jinja", e);
}

// ---- files

// Takes in over (also on failure) as the next file of s.
static rs_status add_file(rs_source *s, const char *name, rs_in *in, rs_error *e)
{
    rs_source_file *p = realloc(s->file, (s->n_files + 1) * sizeof *p);
    if (p != NULL) s->file = p;
    char *copy = strdup(name);
    if (p == NULL || copy == NULL) {
        free(copy);
        rs_in_close(in);
        return rs_fail(e, RS_E_NOMEM, "no memory for a file");
    }
    p[s->n_files++] = (rs_source_file){.name = copy, .in = in};
    return RS_OK;
}

// Reads the header of the file added last, which is taken for safetensors unless it says what else it is.
static rs_status open_safetensors(rs_source *s, const rs_source_options *o, rs_error *e)
{
    static const char lfs[] = "version https://git-lfs.github.com/spec/";
    rs_source_file *f = &s->file[s->n_files - 1];
    char start[sizeof lfs] = "";
    uint64_t size;
    RS_TRY(rs_in_size(f->in, &size, e));
    RS_TRY(rs_in_pread(f->in, start, size < sizeof lfs - 1 ? (size_t)size : sizeof lfs - 1, 0, e));
    if (strcmp(start, lfs) == 0) return rs_fail(e, RS_E_IMPORT, "a Git-LFS pointer stands in place of the file (git lfs pull fetches it)");
    if (memcmp(start, "\x89RSQ", 4) == 0) return rs_fail(e, RS_E_IMPORT, "this is an RSQ file already");
    RS_TRY(rs_st_open(&f->st, f->in, o->lenient, e));
    s->lenient_used |= f->st.lenient_used;
    return RS_OK;
}

static rs_status open_gguf(rs_source *s, const rs_source_options *o, rs_error *e)
{
    rs_source_file *f = &s->file[0];
    rs_source_text *config = &s->text[RS_TEXT_CONFIG], *tokenizer = &s->text[RS_TEXT_TOKENIZER], *settings = &s->text[RS_TEXT_TOKENIZER_CONFIG];
    rs_gguf_text name;
    if (o->config != NULL) return rs_fail(e, RS_USAGE, "--config does not go with a GGUF file, which holds its own");
    RS_TRY(rs_gguf_open(&f->gguf, f->in, o->lenient, e));
    s->lenient_used |= f->gguf.lenient_used;
    RS_TRY(rs_gguf_config_write(&f->gguf, f->in, &config->bytes, &config->len, e));
    RS_TRY(rs_gguf_string(&f->gguf, "general.name", &name, e));
    if (name.len > 0) set_model(s, name.p, name.len);
    if (o->no_tokenizer) return RS_OK;
    if (o->tokenizer != NULL) return read_text(tokenizer, o->tokenizer, e);
    return rs_tokenizer_json_write(&f->gguf, rs_gguf_config_tensor(&f->gguf, "token_embd.weight")->shape[0], &tokenizer->bytes, &tokenizer->len, &settings->bytes, &settings->len, e);
}

static rs_status open_file(rs_source *s, const char *path, const rs_source_options *o, rs_error *e)
{
    char folder[PATH_MAX], magic[4] = "";
    bool standard = strcmp(path, "-") == 0;
    rs_in *in;
    uint64_t size;
    RS_TRY(rs_spool_open(&in, path, e));
    RS_TRY(add_file(s, base_name(path), in, e));
    RS_TRY(folder_of(folder, path, e));
    set_model_of_folder(s, standard ? "" : folder);
    RS_TRY(rs_in_size(in, &size, e));
    if (size >= 4) RS_TRY(rs_in_pread(in, magic, 4, 0, e));
    s->gguf = memcmp(magic, "GGUF", 4) == 0;
    if (s->gguf) return open_gguf(s, o, e);
    RS_TRY(open_safetensors(s, o, e));
    return read_texts(s, standard ? NULL : folder, o, e);
}

// ---- a directory

static rs_status open_named(rs_source *s, const char *folder, const char *name, const rs_source_options *o, rs_error *e)
{
    char path[PATH_MAX];
    rs_in *in = NULL;
    RS_TRY(join(path, folder, name, e));
    rs_status status = rs_in_open(&in, path, e);
    if (status == RS_OK) status = add_file(s, name, in, e);
    if (status == RS_OK) status = open_safetensors(s, o, e);
    return status == RS_OK ? RS_OK : rs_error_prefix(e, status, "%s", name);
}

// A shard is a plain file in the directory itself: an index is a stranger's text and shall not lead elsewhere.
static rs_status check_shard(const char *folder, const char *name, rs_error *e)
{
    char path[PATH_MAX];
    struct stat st;
    if (*name == 0 || *name == '.' || strchr(name, '/') != NULL) return rs_fail(e, RS_E_IMPORT, "shard \"%.200s\" is no name of a file in the directory", name);
    RS_TRY(join(path, folder, name, e));
    if (lstat(path, &st) != 0) return rs_fail(e, RS_E_IMPORT, "shard %.200s: %s", name, strerror(errno));
    if (S_ISLNK(st.st_mode)) return rs_fail(e, RS_E_IMPORT, "shard %.200s is a symbolic link (cp -rL makes a plain copy of the directory)", name);
    return S_ISREG(st.st_mode) ? RS_OK : rs_fail(e, RS_E_IMPORT, "shard %.200s is no plain file", name);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// Opens the files that the map names, each once, in the order of their names.
static rs_status open_shards(rs_source *s, const char *folder, const json_t *map, const char **names, const rs_source_options *o, rs_error *e)
{
    size_t n = 0;
    const char *tensor;
    json_t *file;
    json_object_foreach((json_t *)map, tensor, file) {
        if (!json_is_string(file)) return rs_fail(e, RS_E_IMPORT, "weight_map: tensor %.200s has no file name", tensor);
        names[n++] = json_string_value(file);
    }
    qsort(names, n, sizeof *names, compare_texts);
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && strcmp(names[i - 1], names[i]) == 0) continue;
        if (s->n_files == RS_SOURCE_MAX_FILES) return rs_fail(e, RS_E_LIMIT, "more than %d shards", RS_SOURCE_MAX_FILES);
        RS_TRY(check_shard(folder, names[i], e));
        RS_TRY(open_named(s, folder, names[i], o, e));
    }
    return RS_OK;
}

// Index and shards say the same: each tensor of a shard is listed there, and nothing else is listed.
static rs_status check_index(const rs_source *s, const json_t *map, rs_error *e)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_files; i++)
        for (size_t k = 0; k < s->file[i].st.n; k++, n++) {
            const char *name = s->file[i].st.tensor[k].name, *listed = json_string_value(json_object_get(map, name));
            if (s->file[i].st.tensor[k].escaped) continue;
            if (listed == NULL) return rs_fail(e, RS_E_IMPORT, "tensor %s in %s is not in the index", name, s->file[i].name);
            if (strcmp(listed, s->file[i].name) != 0) return rs_fail(e, RS_E_IMPORT, "tensor %s is in %s, the index says %.200s", name, s->file[i].name, listed);
        }
    const char *tensor;
    json_t *file;
    if (n < json_object_size(map)) json_object_foreach((json_t *)map, tensor, file) {
        bool found = false;
        for (size_t i = 0; i < s->n_files && !found; i++)
            for (size_t k = 0; strcmp(s->file[i].name, json_string_value(file)) == 0 && k < s->file[i].st.n && !found; k++) found = strcmp(s->file[i].st.tensor[k].name, tensor) == 0;
        if (!found) return rs_fail(e, RS_E_IMPORT, "tensor %.200s is listed in the index but not in %.200s", tensor, json_string_value(file));
    }
    return RS_OK;
}

static rs_status open_index(rs_source *s, const char *folder, const rs_source_options *o, rs_error *e)
{
    static const char what[] = "model.safetensors.index.json";
    json_t *root;
    RS_TRY(rs_json_parse(&root, s->index.bytes, s->index.len, what, e));
    const json_t *map = json_object_get(root, "weight_map");
    const char **names = malloc((json_object_size(map) + 1) * sizeof *names);
    rs_status status = !json_is_object(map) || json_object_size(map) == 0 ? rs_fail(e, RS_E_IMPORT, "%s: no weight_map", what) : RS_OK;
    if (names == NULL) status = rs_fail(e, RS_E_NOMEM, "no memory for the index");
    if (status == RS_OK) status = open_shards(s, folder, map, names, o, e);
    if (status == RS_OK) status = check_index(s, map, e);
    free(names);
    json_decref(root);
    return status;
}

static rs_status open_folder(rs_source *s, const char *folder, const rs_source_options *o, rs_error *e)
{
    char path[PATH_MAX];
    struct stat st;
    set_model_of_folder(s, folder);
    RS_TRY(join(path, folder, "model.safetensors", e));
    if (stat(path, &st) == 0) {
        RS_TRY(open_named(s, folder, "model.safetensors", o, e));
    } else {
        RS_TRY(read_beside(&s->index, folder, "model.safetensors.index.json", e));
        if (s->index.bytes == NULL) return rs_fail(e, RS_E_IMPORT, "the directory holds neither model.safetensors nor model.safetensors.index.json");
        RS_TRY(open_index(s, folder, o, e));
    }
    return read_texts(s, folder, o, e);
}

// ---- the list of tensors

static int compare_tensors(const void *a, const void *b)
{
    const rs_source_tensor *x = a, *y = b;
    int c = memcmp(x->name, y->name, x->name_len < y->name_len ? x->name_len : y->name_len);
    return c != 0 ? c : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

static void list_file(rs_source *s, size_t file)
{
    const rs_source_file *f = &s->file[file];
    for (size_t i = 0; i < f->gguf.n_tensors; i++) {
        const rs_gguf_tensor *g = &f->gguf.tensor[i];
        rs_source_tensor *t = &s->tensor[s->n_tensors++];
        *t = (rs_source_tensor){.name = g->name.p, .name_len = g->name.len, .type = g->type->name, .supported = true, .dtype = g->type->dtype, .n_dims = g->n_dims, .file = file, .off = g->off, .len = g->len};
        if (g->type->values != NULL) t->block = g->type;
        memcpy(t->shape, g->shape, sizeof g->shape);
    }
    for (size_t i = 0; i < f->st.n; i++) {
        const rs_st_tensor *g = &f->st.tensor[i];
        rs_source_tensor *t = &s->tensor[s->n_tensors++];
        *t = (rs_source_tensor){.name = g->name, .name_len = strlen(g->name), .type = g->type, .supported = g->supported, .dtype = g->dtype, .n_dims = g->n_dims, .file = file, .off = g->off, .len = g->len,
                                .escaped = g->escaped};
        memcpy(t->shape, g->shape, sizeof g->shape);
    }
}

static rs_status list_tensors(rs_source *s, rs_error *e)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_files; i++) n += s->file[i].gguf.n_tensors + s->file[i].st.n;
    s->tensor = malloc((n + 1) * sizeof *s->tensor);
    if (s->tensor == NULL) return rs_fail(e, RS_E_NOMEM, "no memory for %zu tensors", n);
    for (size_t i = 0; i < s->n_files; i++) list_file(s, i);
    qsort(s->tensor, s->n_tensors, sizeof *s->tensor, compare_tensors);
    for (size_t i = 1; i < n; i++)
        if (compare_tensors(&s->tensor[i - 1], &s->tensor[i]) == 0) return rs_fail(e, RS_E_IMPORT, "tensor %.*s is given twice", (int)s->tensor[i].name_len, s->tensor[i].name);
    return RS_OK;
}

rs_source_tensor *rs_source_find(const rs_source *s, const char *name)
{
    const rs_source_tensor want = {.name = name, .name_len = strlen(name)};
    return s->n_tensors == 0 ? NULL : bsearch(&want, s->tensor, s->n_tensors, sizeof *s->tensor, compare_tensors);
}

rs_status rs_source_open(rs_source *s, const char *path, const rs_source_options *o, rs_error *e)
{
    static const char *const names[RS_TEXT_COUNT] = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"};
    struct stat st;
    memset(s, 0, sizeof *s);
    for (int i = 0; i < RS_TEXT_COUNT; i++) s->text[i].name = names[i];
    s->index.name = "model.safetensors.index.json";
    bool folder = strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    rs_status status = folder ? open_folder(s, path, o, e) : open_file(s, path, o, e);
    if (status == RS_OK) status = list_tensors(s, e);
    if (status != RS_OK) rs_source_close(s);
    return status;
}

void rs_source_close(rs_source *s)
{
    for (size_t i = 0; i < s->n_files; i++) {
        rs_gguf_free(&s->file[i].gguf);
        rs_st_free(&s->file[i].st);
        rs_in_close(s->file[i].in);
        free(s->file[i].name);
    }
    for (int i = 0; i <= RS_TEXT_COUNT; i++) {
        rs_source_text *t = i < RS_TEXT_COUNT ? &s->text[i] : &s->index;
        rs_in_close(t->in);
        free(t->bytes);
    }
    free(s->file);
    free(s->tensor);
    memset(s, 0, sizeof *s);
}
