// SPDX-License-Identifier: Apache-2.0
// A model as the world keeps it: a GGUF file, a safetensors file, or a directory of them with their JSON, opened as one list of tensors.
#ifndef RS_FORMATS_SOURCE_H
#define RS_FORMATS_SOURCE_H

#include "formats/gguf.h"
#include "formats/safetensors.h"

typedef struct rs_source_options {
    const char *config;    // path of config.json; NULL: beside the model (GGUF: from its metadata)
    const char *tokenizer; // path of tokenizer.json; NULL: beside the model if there is one (GGUF: from its metadata)
    bool no_tokenizer;     // leave the tokenizer out
    unsigned lenient;      // RS_LENIENT_*
} rs_source_options;

typedef struct rs_source_tensor {
    const char *name;
    size_t name_len;
    const char *type;          // name of the stored type
    bool supported;
    const rs_gguf_type *block; // block-quantised: how its values are made; NULL: the bytes are kept
    rs_dtype dtype;            // after import
    int n_dims;
    uint64_t shape[RS_MAX_DIMS];
    size_t file;
    uint64_t off, len;
    bool escaped;              // see rs_st_tensor
    bool used;                 // for the caller's bookkeeping
} rs_source_tensor;

typedef struct rs_source_file {
    char *name; // for messages: the base name
    rs_in *in;
    rs_gguf gguf;
    rs_st st;
} rs_source_file;

// A document that travels with the model, JSON but for the chat template.
typedef struct rs_source_text {
    const char *name; // "config.json"
    char *bytes;      // NULL: there is none
    size_t len;
    bool read;        // it stands in a file of its own and was not made from metadata
    rs_in *in;        // that file, held open so that the output is not put over it
} rs_source_text;
enum { RS_TEXT_CONFIG, RS_TEXT_GENERATION_CONFIG, RS_TEXT_TOKENIZER, RS_TEXT_TOKENIZER_CONFIG, RS_TEXT_CHAT_TEMPLATE, RS_TEXT_COUNT };

typedef struct rs_source {
    bool gguf;
    rs_source_file *file; // one, or the shards in the order of their names
    size_t n_files;
    rs_source_text text[RS_TEXT_COUNT];
    rs_source_text index; // model.safetensors.index.json
    rs_source_tensor *tensor; // sorted by name, which is unique
    size_t n_tensors;
    char model[256];      // a name for people, printable ASCII
    unsigned lenient_used;
} rs_source;

#define RS_SOURCE_MAX_FILES 1000

// Opens path ("-": standard input): headers and JSON are read and checked, tensors are not read. On success free with rs_source_close.
// E_IMPORT with the file's name where there are several; E_LIMIT, E_READ, E_NOMEM; RS_USAGE for options that do not fit the input.
RS_MUST_CHECK rs_status rs_source_open(rs_source *s, const char *path, const rs_source_options *o, rs_error *e);
// Tensor by name, NULL if absent.
rs_source_tensor *rs_source_find(const rs_source *s, const char *name);
// Frees what s points to; a zeroed struct is allowed.
void rs_source_close(rs_source *s);

#endif
