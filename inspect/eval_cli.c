// SPDX-License-Identifier: Apache-2.0
// Options of rs-eval and what they say about each other.
#include "inspect/eval_cli.h"

static const char usage_text[] =
    "usage: rs-eval MODEL.rsq --text FILE [options]\n"
    "       rs-eval MODEL.rsq --tasks FILE.jsonl [options]\n"
    "       rs-eval MODEL.rsq --prompt TEXT [options]\n"
    "       rs-eval MODEL.rsq --bench [options]\n"
    "Perplexity of MODEL on FILE: non-overlapping windows, no BOS, exp of the mean over ctx - 1 predictions a window.\n"
    "Or its accuracy on multiple-choice questions, one JSON object a line: {\"context\": text, \"choices\": [text, ...], \"label\": index}.\n"
    "Or TEXT continued, token by token, from packed weights and a packed KV cache; or how fast that is.\n"
    "Activations and the KV cache are quantised as MODEL's plan says. MODEL may be - (standard input).\n"
    "\n"
    "  --text FILE        text to score, as it is (UTF-8)\n"
    "  --windows N        only the first N windows (default: all)\n"
    "  --against REF.rsq  also KL(REF || MODEL) and top-1 agreement on the same windows\n"
    "  --tasks FILE       questions to answer, as lm-evaluation-harness scores them\n"
    "  --limit N          only the first N questions (default: all)\n"
    "  --delimiter STR    stands between context and choice (default a space)\n"
    "  --scores FILE      also the score of every choice, as JSON lines\n"
    "  --prompt TEXT      text to continue; special tokens in it are recognised\n"
    "  --prompt-file FILE the same from a file\n"
    "  --chat             the text is what a user says: put it into the model's chat template, and answer it\n"
    "  --system TEXT      what the template says before it (with --chat)\n"
    "  -n, --tokens N     at most N new tokens (default 128); an end token of the model ends the text before\n"
    "  --ignore-eos       no token ends the text\n"
    "  --temperature T    draw tokens at this temperature (default 0: always the likeliest)\n"
    "  --top-p P          of the likeliest that together have probability P (default 1: of all)\n"
    "  --seed N           of the draws (default 1)\n"
    "  --bench            tokens per second of a prompt and of the N tokens behind it, with and without residual junctions, and shares of what this machine can do\n"
    "  --prefill N        tokens of that prompt (default 512)\n"
    "  --rounds N         how often (default 5); medians are shown\n"
    "  --ctx N            tokens in a window (default 1024); longer questions lose the start of their context\n"
    "  --bos              each window, question or prompt starts with the model's BOS token\n"
    "  --integer          multiply packed weights and activations as integers and attend to a packed KV cache, instead of simulating both in f32; prompts always are\n"
    "  --reference        compute with the plain C kernels\n"
    "      --device D     cpu (default), or cuda: compute on the GPU, which must be there (else exit 2)\n"
    "      --mem SIZE     memory for hidden states and logits (default 256M); weights are decoded one layer at a time\n"
    "  -j, --threads N    threads (default: all processors)\n"
    "      --json         results as JSON\n"
    "  -v, --verbose      rates of a prompt, on standard error\n"
    "  -q, --quiet        no progress line\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0, or the class of the error (2 usage, 10-24 bad input, 30-32 system); 22 when the result is not a number.\n";

enum { OPT_TEXT = 1, OPT_CTX, OPT_WINDOWS, OPT_BOS, OPT_AGAINST, OPT_REFERENCE, OPT_TASKS, OPT_LIMIT, OPT_DELIMITER, OPT_SCORES, OPT_INTEGER,
       OPT_PROMPT, OPT_PROMPT_FILE, OPT_TOKENS, OPT_IGNORE_EOS, OPT_TEMPERATURE, OPT_TOP_P, OPT_SEED, OPT_CHAT, OPT_SYSTEM, OPT_BENCH, OPT_PREFILL, OPT_ROUNDS };

static const rs_option option_list[] = {
    {"text", 0, true, OPT_TEXT}, {"ctx", 0, true, OPT_CTX}, {"windows", 0, true, OPT_WINDOWS}, {"bos", 0, false, OPT_BOS}, {"against", 0, true, OPT_AGAINST}, {"reference", 0, false, OPT_REFERENCE},
    {"tasks", 0, true, OPT_TASKS}, {"limit", 0, true, OPT_LIMIT}, {"delimiter", 0, true, OPT_DELIMITER}, {"scores", 0, true, OPT_SCORES},
    {"integer", 0, false, OPT_INTEGER}, {"prompt", 0, true, OPT_PROMPT}, {"prompt-file", 0, true, OPT_PROMPT_FILE}, {"tokens", 'n', true, OPT_TOKENS}, {"ignore-eos", 0, false, OPT_IGNORE_EOS},
    {"temperature", 0, true, OPT_TEMPERATURE}, {"top-p", 0, true, OPT_TOP_P}, {"seed", 0, true, OPT_SEED},
    {"chat", 0, false, OPT_CHAT}, {"system", 0, true, OPT_SYSTEM},
    {"bench", 0, false, OPT_BENCH}, {"prefill", 0, true, OPT_PREFILL}, {"rounds", 0, true, OPT_ROUNDS},
};

// sampling, measuring: an option was given that goes with prompts, with --bench only; number: --tokens.
struct parsed {
    rs_eval_cli c;
    bool sampling, measuring, number;
};

static rs_status parse_prompt(struct parsed *p, int id, const char *value, rs_error *e)
{
    rs_eval_cli *o = &p->c;
    int64_t seed = 0;
    p->sampling = true;
    switch (id) {
    case OPT_IGNORE_EOS: o->ignore_eos = true; return RS_OK;
    case OPT_CHAT: o->chat = true; return RS_OK;
    case OPT_SYSTEM: o->system = value; return RS_OK;
    case OPT_TEMPERATURE: return rs_cli_real("--temperature", value, 0, 1e6, &o->sampling.temperature, e);
    case OPT_TOP_P: return rs_cli_real("--top-p", value, 1e-9, 1, &o->sampling.top_p, e);
    default:
        RS_TRY(rs_cli_int("--seed", value, 0, INT64_MAX, &seed, e));
        o->sampling.seed = (uint64_t)seed;
        return RS_OK;
    }
}

static rs_status parse(void *context, int id, const char *value, rs_error *e)
{
    struct parsed *p = context;
    rs_eval_cli *o = &p->c;
    switch (id) {
    case OPT_TEXT: o->text = value; return RS_OK;
    case OPT_CTX: return rs_cli_int("--ctx", value, 2, 1 << 24, &o->ctx, e);
    case OPT_WINDOWS: return rs_cli_int("--windows", value, 1, INT32_MAX, &o->windows, e);
    case OPT_BOS: o->bos = true; return RS_OK;
    case OPT_AGAINST: o->against = value; return RS_OK;
    case OPT_REFERENCE: o->reference = true; return RS_OK;
    case OPT_INTEGER: o->integer = true; return RS_OK;
    case OPT_PROMPT: o->prompt = value; return RS_OK;
    case OPT_PROMPT_FILE: o->prompt_file = value; return RS_OK;
    case OPT_TOKENS: p->number = true; return rs_cli_int("--tokens", value, 1, 1 << 24, &o->tokens, e);
    case OPT_CHAT: case OPT_SYSTEM: case OPT_IGNORE_EOS: case OPT_TEMPERATURE: case OPT_TOP_P: case OPT_SEED: return parse_prompt(p, id, value, e);
    case OPT_BENCH: o->bench = true; return RS_OK;
    case OPT_PREFILL: p->measuring = true; return rs_cli_int("--prefill", value, 1, 1 << 24, &o->prefill, e);
    case OPT_ROUNDS: p->measuring = true; return rs_cli_int("--rounds", value, 1, 1000, &o->rounds, e);
    case OPT_TASKS: o->tasks = value; return RS_OK;
    case OPT_LIMIT: return rs_cli_int("--limit", value, 1, INT32_MAX, &o->limit, e);
    case OPT_DELIMITER: o->delimiter = value; return RS_OK;
    case OPT_SCORES: o->scores = value; return RS_OK;
    default:
        if (o->model != NULL) return rs_fail(e, RS_USAGE, "more than one model: %s and %s", o->model, value);
        o->model = value;
        return RS_OK;
    }
}

static rs_status check(struct parsed *p, rs_error *e)
{
    rs_eval_cli *o = &p->c;
    const bool prompt = o->prompt != NULL || o->prompt_file != NULL;
    if (o->model == NULL) return rs_fail(e, RS_USAGE, "no model given; try rs-eval --help");
    const int modes = (o->text != NULL) + (o->tasks != NULL) + (o->prompt != NULL) + (o->prompt_file != NULL) + o->bench;
    if (modes == 0) return rs_fail(e, RS_USAGE, "none of --text, --tasks, --prompt and --bench given; try rs-eval --help");
    if (modes > 1) return rs_fail(e, RS_USAGE, "--text, --tasks, --prompt, --prompt-file and --bench exclude each other");
    if (o->text == NULL && (o->windows != 0 || o->against != NULL)) return rs_fail(e, RS_USAGE, "--windows and --against go with --text");
    if (o->tasks == NULL && (o->limit != 0 || o->delimiter != NULL || o->scores != NULL)) return rs_fail(e, RS_USAGE, "--limit, --delimiter and --scores go with --tasks");
    if (!prompt && p->sampling) return rs_fail(e, RS_USAGE, "--chat, --system, --ignore-eos, --temperature, --top-p and --seed go with --prompt");
    if (o->system != NULL && !o->chat) return rs_fail(e, RS_USAGE, "--system goes with --chat");
    if (o->chat && o->bos) return rs_fail(e, RS_USAGE, "--bos does not go with --chat: the template says how a text begins");
    if (!prompt && !o->bench && p->number) return rs_fail(e, RS_USAGE, "--tokens goes with --prompt and --bench");
    if (!o->bench && p->measuring) return rs_fail(e, RS_USAGE, "--prefill and --rounds go with --bench");
    RS_TRY(rs_cli_one_stdin(5, (const char *const[]){o->model, o->text, o->tasks, o->against, o->prompt_file}, e));
    RS_TRY(rs_device_find(o->cli.device, &o->k, &o->by, e));
    if (!o->reference) return RS_OK;
    if (o->k->memory != NULL) return rs_fail(e, RS_USAGE, "--reference computes on the CPU: without --device cuda");
    o->k = rs_kernels_reference();
    o->by = rs_int_reference();
    return RS_OK;
}

rs_status rs_eval_cli_parse(rs_eval_cli *c, int argc, char **argv, rs_error *e)
{
    struct parsed p = {.c = {.ctx = 1024, .tokens = 128, .prefill = 512, .rounds = 5, .sampling = {.top_p = 1, .seed = 1}}};
    rs_status s = rs_cli_parse(&p.c.cli, "rs-eval", usage_text, option_list, sizeof option_list / sizeof *option_list, argc, argv, parse, &p, e);
    if (s == RS_OK) s = check(&p, e);
    *c = p.c; // with the name of the tool, for the message about a failure
    return s;
}
