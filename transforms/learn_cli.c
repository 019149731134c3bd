// SPDX-License-Identifier: Apache-2.0
// Usage text and a table of options.
#include "transforms/learn_cli.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char usage_text[] =
    "Usage: rs-learn MODEL.rsq --text FILE -o ROT.rsq [OPTION]...\n"
    "Learns rotations for MODEL (as rs-import made it) on the text FILE; rs-fuse -R folds them in.\n"
    "\n"
    "      --text=FILE       text to learn from (UTF-8, as it is)\n"
    "      --mode=MODE       search: the best of --seeds random Hadamards; global: one rotation (SpinQuant);\n"
    "                        dense: one for each place (ReSpinQuant; default); chain: R_0 and junctions of rank --rank\n"
    "  -r, --rank=R          rank of the junctions of a chain, even (default 32)\n"
    "      --project=R       dense: keep to what junctions of rank R can express, at each look and at the end\n"
    "                        (default 32; 0: any)\n"
    "      --init=START      walsh: a Hadamard without random signs; or a rotation set to go on from\n"
    "                        (default: a randomised Hadamard by --seed)\n"
    "      --seed=N          start, order of sequences (default 1)\n"
    "      --seeds=N         how many Hadamards --mode search tries, from --seed on (default 16)\n"
    "      --steps=N         steps (default 80)\n"
    "      --length=N        tokens in a sequence (default 512)\n"
    "      --batch=N         sequences in a step (default 1)\n"
    "      --sequences=N     different sequences to learn from (default: all of the text)\n"
    "      --lr=X            step of the bases (default 1.5; 0.15 in a chain; 0.01 with --optimizer adam)\n"
    "      --head-lr=X       step of the head rotations (default: as --lr)\n"
    "      --chain-lr=X      step of Adam on the junctions of a chain (default 0.0003)\n"
    "      --optimizer=NAME  of bases and heads: sgd, along the gradient (default), or adam\n"
    "      --decay=KIND      of the steps: linear (default), cosine, none\n"
    "      --a-bits=N        bits of activations, 2 to 8, or 16: not quantised (default 4)\n"
    "      --kv-bits=N       bits of K and V (default 4)\n"
    "      --w-bits=N        bits of weights while it is learned; 16 (default): not quantised, for GPTQ follows\n"
    "      --loss=KIND       ce: cross-entropy (default); kl: against full-precision logits; ce+kl: their sum\n"
    "      --holdout=N       sequences to judge by, never learned from (default 4)\n"
    "      --eval-every=N    steps between two looks at them (default 20)\n"
    "      --patience=N      end after N looks without a better loss (default 0: never)\n"
    "      --log=FILE        each step and look as a line of JSON\n"
    "      --checkpoint=FILE where to save for --resume (default: the output with .ckpt behind it)\n"
    "      --save-every=N    save every N steps (default 0: only when interrupted)\n"
    "      --resume          go on from the checkpoint\n"
    "      --device=NAME     where the losses and gradients are computed: cpu (default), cuda\n"
    "      --dry-run         say what memory and how many operations a step needs, and end\n"
    "      --mem=SIZE        memory (of the device) to stay within: less of it, and more is computed twice\n"
    "  -o, --output=FILE     write to FILE, atomically (default: standard output)\n"
    "  -j, --threads=N       threads (default: all processors)\n"
    "  -v, --verbose         each look at the held-out sequences on standard error\n"
    "  -q, --quiet           no progress line, no remarks\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 success, 2 usage, 22 a loss or gradient that is not a number (the best set so far is written),\n"
    "130 interrupted and saved, 10 to 32 as rs-verify(1) lists them.\n";

// ---- options

// What the values of options become at first; rates below 0: not given.
struct parsed {
    rs_learn_cli c;
    const char *init;
    uint64_t a_bits, kv_bits, w_bits;
    int mode, optimizer, decay, loss; // index of the word
};

// Words of options, modes and decays as their enums count them.
static const char *const modes[] = {"global", "dense", "chain", "search", NULL}, *const decays[] = {"none", "linear", "cosine", NULL}, *const losses[] = {"ce", "kl", "ce+kl", NULL};
static const char *const optimizers[] = {"sgd", "adam", NULL};
enum { SEARCH = 3, CE = 0, KL = 1, ADAM = 1 };

// An option, what its value is, and where that goes: const char *, uint64_t, double, int (index among the words), uint64_t (2..8 or 16), bool.
static const struct entry {
    const char *name;
    char letter;
    enum { NAME, WHOLE, REAL, WORD, BITS, FLAG } kind;
    size_t at;
    int64_t least, most;
    const char *const *words;
} table[] = {
#define AT(field) offsetof(struct parsed, field)
    {"text", 0, NAME, AT(c.text), 0, 0, NULL},
    {"mode", 0, WORD, AT(mode), 0, 0, modes},
    {"rank", 'r', WHOLE, AT(c.learn.rank), 2, 1 << 24, NULL},
    {"project", 0, WHOLE, AT(c.learn.project), 0, 1 << 24, NULL},
    {"init", 0, NAME, AT(init), 0, 0, NULL},
    {"seed", 0, WHOLE, AT(c.learn.seed), 0, INT64_MAX, NULL},
    {"seeds", 0, WHOLE, AT(c.seeds), 1, 1 << 20, NULL},
    {"steps", 0, WHOLE, AT(c.learn.steps), 0, 1 << 30, NULL},
    {"length", 0, WHOLE, AT(c.learn.S), 2, 1 << 20, NULL},
    {"batch", 0, WHOLE, AT(c.learn.batch), 1, 1 << 20, NULL},
    {"sequences", 0, WHOLE, AT(c.learn.sequences), 1, INT32_MAX, NULL},
    {"lr", 0, REAL, AT(c.learn.rates.bases), 0, 1000000, NULL},
    {"head-lr", 0, REAL, AT(c.learn.rates.heads), 0, 1000000, NULL},
    {"chain-lr", 0, REAL, AT(c.learn.rates.chain), 0, 1000000, NULL},
    {"optimizer", 0, WORD, AT(optimizer), 0, 0, optimizers},
    {"decay", 0, WORD, AT(decay), 0, 0, decays},
    {"a-bits", 0, BITS, AT(a_bits), 2, 16, NULL},
    {"kv-bits", 0, BITS, AT(kv_bits), 2, 16, NULL},
    {"w-bits", 0, BITS, AT(w_bits), 2, 16, NULL},
    {"loss", 0, WORD, AT(loss), 0, 0, losses},
    {"holdout", 0, WHOLE, AT(c.learn.holdout), 0, INT32_MAX, NULL},
    {"eval-every", 0, WHOLE, AT(c.learn.eval_every), 0, INT32_MAX, NULL},
    {"patience", 0, WHOLE, AT(c.learn.patience), 0, INT32_MAX, NULL},
    {"log", 0, NAME, AT(c.log), 0, 0, NULL},
    {"checkpoint", 0, NAME, AT(c.checkpoint), 0, 0, NULL},
    {"save-every", 0, WHOLE, AT(c.save_every), 0, INT32_MAX, NULL},
    {"resume", 0, FLAG, AT(c.resume), 0, 0, NULL},
    {"device", 0, NAME, AT(c.device), 0, 0, NULL},
    {"dry-run", 0, FLAG, AT(c.dry_run), 0, 0, NULL},
#undef AT
};
#define UNSAID UINT64_MAX
enum { OPTIONS = sizeof table / sizeof table[0] };

static rs_status operand(rs_learn_cli *c, const char *value, rs_error *e)
{
    if (c->model != NULL) return rs_fail(e, RS_USAGE, "more than one model: %s and %s", c->model, value);
    c->model = value;
    return RS_OK;
}

// Index of value among words.
static rs_status word(const char *what, const char *value, const char *const *words, int *index, rs_error *e)
{
    for (*index = 0; words[*index] != NULL; ++*index)
        if (strcmp(value, words[*index]) == 0) return RS_OK;
    return rs_fail(e, RS_USAGE, "%s: %s is not one of its kinds; try rs-learn --help", what, value);
}

static rs_status option(void *context, int id, const char *value, rs_error *e)
{
    struct parsed *p = context;
    if (id == 0) return operand(&p->c, value, e);
    const struct entry *t = &table[id - 1];
    void *to = (char *)p + t->at;
    char what[32];
    int64_t x;
    snprintf(what, sizeof what, "--%s", t->name);
    switch (t->kind) {
    case NAME: *(const char **)to = value; return RS_OK;
    case FLAG: *(bool *)to = true; return RS_OK;
    case WORD: return word(what, value, t->words, to, e);
    case REAL: return rs_cli_real(what, value, (double)t->least, (double)t->most, to, e);
    case WHOLE:
    case BITS: break;
    }
    RS_TRY(rs_cli_int(what, value, t->least, t->most, &x, e));
    if (t->kind == BITS && x > 8 && x != 16) return rs_fail(e, RS_USAGE, "%s: 2 to 8, or 16 for none", what);
    *(uint64_t *)to = (uint64_t)x;
    return RS_OK;
}

// Words and bits as rs_learn_options has them, and the rates that were not given.
static void settle(struct parsed *p)
{
    rs_learn_options *l = &p->c.learn;
    p->c.search = p->mode == SEARCH;
    p->c.unsign = p->init != NULL && strcmp(p->init, "walsh") == 0;
    p->c.start = p->c.unsign ? NULL : p->init;
    l->mode = p->c.search ? RS_LEARN_GLOBAL : (rs_learn_mode)p->mode;
    l->decay = (rs_learn_decay)p->decay;
    l->mem = p->c.cli.mem;
    l->adam = p->optimizer == ADAM;
    l->ce = p->loss != KL;
    l->kl = p->loss != CE;
    l->bits.a.bits = (unsigned)p->a_bits;
    l->bits.kv.bits = (unsigned)p->kv_bits;
    l->bits.w.bits = (unsigned)p->w_bits;
    if (l->project == UNSAID) l->project = l->mode == RS_LEARN_DENSE ? 32 : 0;
    if (l->rates.bases < 0) l->rates.bases = l->adam ? 0.01 : l->mode == RS_LEARN_CHAIN ? 0.15 : 1.5;
    if (l->rates.heads < 0) l->rates.heads = l->rates.bases;
    if (p->c.search && l->holdout == 0) l->holdout = 4;
}

rs_status rs_learn_cli_parse(rs_learn_cli *c, int argc, char **argv, rs_error *e)
{
    struct parsed p = {.a_bits = 4, .kv_bits = 4, .w_bits = 16, .mode = RS_LEARN_DENSE, .decay = RS_DECAY_LINEAR,
                       .c = {.seeds = 16, .learn = {.rank = 32, .project = UNSAID, .S = 512, .batch = 1, .steps = 80, .holdout = 4, .eval_every = 20, .rates = {-1, -1, 3e-4}, .bits = {.a = {.clip = 1}, .kv = {.clip = 1}, .w = {.clip = 1}}, .seed = 1}}};
    rs_option own[OPTIONS];
    for (int i = 0; i < OPTIONS; i++) own[i] = (rs_option){table[i].name, table[i].letter, table[i].kind != FLAG, i + 1};
    rs_status s = rs_cli_parse(&p.c.cli, "rs-learn", usage_text, own, OPTIONS, argc, argv, option, &p, e);
    settle(&p);
    *c = p.c; // with the name of the tool, for the message about a failure
    RS_TRY(s);
    if (c->model == NULL) return rs_fail(e, RS_USAGE, "no model given; try rs-learn --help");
    if (c->text == NULL) return rs_fail(e, RS_USAGE, "no --text given; try rs-learn --help");
    if (c->learn.rank % 2 != 0) return rs_fail(e, RS_USAGE, "--rank: %llu is odd, and a plane of rotation has two dimensions", (unsigned long long)c->learn.rank);
    if (c->learn.project % 2 != 0) return rs_fail(e, RS_USAGE, "--project: %llu is odd, and a plane of rotation has two dimensions", (unsigned long long)c->learn.project);
    if (c->learn.project > 0 && c->learn.mode != RS_LEARN_DENSE) return rs_fail(e, RS_USAGE, "--project goes with --mode dense");
    if (c->search && (p.init != NULL || c->resume)) return rs_fail(e, RS_USAGE, "--mode search starts at random Hadamards: no --init, no --resume");
    if ((c->save_every > 0 || c->resume) && c->checkpoint == NULL && c->cli.output == NULL) return rs_fail(e, RS_USAGE, "name a --checkpoint, since the output has no name");
    return rs_cli_one_stdin(3, (const char *const[]){c->model, c->text, c->start}, e);
}
