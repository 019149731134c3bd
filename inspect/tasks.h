// SPDX-License-Identifier: Apache-2.0
// Multiple-choice questions as lm-evaluation-harness scores them: the choice whose tokens are the likeliest after the context.
#ifndef RS_INSPECT_TASKS_H
#define RS_INSPECT_TASKS_H

#include "formats/tokenizer.h"
#include "transforms/network.h"

#define RS_TASKS_ALL SIZE_MAX // every question, whatever its task

typedef struct rs_task_choice {
    int32_t *ids;       // [n] context and choice, cut from the left to ctx + 1; all but the last are inputs
    size_t n, scored;   // the last `scored` tokens are the choice's, 1..n-1
    size_t chars;       // code points of the choice, without the delimiter
    bool shares;        // its inputs are those of the choice before it, so they are computed once
    size_t at;          // (scoring) row of its first input in the batch
    double score;       // sum of log-probabilities of its tokens in nats, set by rs_tasks_score
} rs_task_choice;

typedef struct rs_task_question {
    size_t line;        // in the file, from 1
    char *id;           // NULL: none
    size_t task;        // index of its name, RS_TASKS_ALL: none
    size_t first, n;    // choices first .. first+n-1 of the set
    size_t label;       // the right one of them
} rs_task_question;

typedef struct rs_tasks {
    rs_task_question *question;
    rs_task_choice *choice;
    char **name;        // of the tasks, in order of appearance
    size_t n, n_choices, n_names;
    size_t cut;         // choices whose context was cut
    size_t tokens;      // inputs to compute
    double seconds;     // spent in rs_tasks_score
} rs_tasks;

typedef struct rs_tasks_options {
    size_t ctx;            // most tokens that go through the network at a time, >= 2
    size_t limit;          // only the first lines of the file, 0 = all
    const char *delimiter; // stands between context and choice
    bool bos;              // a BOS token before every context that does not start with one
} rs_tasks_options;

// Reads JSON lines {"context": text, "choices": [text, ...], "label": index from 0, "id": text, "task": text} (the last two optional, other keys ignored) into *t,
// which rs_tasks_free empties, on failure too. Tokens as the harness makes them: the choice's are those of context + delimiter + choice behind as many as the context
// without its trailing white space has; an empty context is the BOS token, else the EOS token of c. Special tokens in the text are recognised. RS_USAGE (no line; a choice longer than ctx; no BOS for bos; delimiter not UTF-8),
// E_IMPORT with the line (form, UTF-8, label out of range, fewer than two choices, a choice without tokens), E_LIMIT, E_NOMEM.
RS_MUST_CHECK rs_status rs_tasks_parse(rs_tasks *t, const rs_tokenizer *tokenizer, const rs_config *c, const char *text, size_t len, const rs_tasks_options *o, rs_error *e);
// The same from a file ("-": standard input) of at most RS_TEXT_MAX bytes. E_READ besides.
RS_MUST_CHECK rs_status rs_tasks_read(rs_tasks *t, const rs_tokenizer *tokenizer, const rs_config *c, const char *path, const rs_tasks_options *o, rs_error *e);
void rs_tasks_free(rs_tasks *t);

// Scores every choice. Questions go through the network layer by layer in batches whose hidden states fit into mem bytes (0 = 256 MiB), one question at least; the scores are
// the same for any mem. progress (NULL allowed) is told how many of t->tokens are done. E_VALUE (a token outside the vocabulary, a score that is not finite), E_NOMEM.
RS_MUST_CHECK rs_status rs_tasks_score(rs_network *n, rs_tasks *t, uint64_t mem, void (*progress)(void *context, double tokens_done), void *context, rs_error *e);

// The choice of question q with the largest score, or, by_length, with the largest score per character; the lowest index wins a tie.
size_t rs_tasks_best(const rs_tasks *t, size_t q, bool by_length);

typedef struct rs_tasks_result {
    size_t n;                          // questions
    double acc, acc_norm;              // share of questions whose best choice is the right one, by score and by score per character; NAN without questions
    double acc_stderr, acc_norm_stderr; // sqrt(p (1 - p) / (n - 1)), NAN for fewer than two questions
} rs_tasks_result;
// Figures of one task (index into name) or of RS_TASKS_ALL.
rs_tasks_result rs_tasks_summary(const rs_tasks *t, size_t task);

#endif
