// SPDX-License-Identifier: Apache-2.0
// Options of rs-stat and what they say about each other.
#include "inspect/stat_cli.h"

static const char usage_text[] =
    "usage: rs-stat [options] [INPUT.rsq] [-o OUTPUT.rsq]\n"
    "Measures the weights of a stream, and with --text its activations, and writes the stream with the statistics in it. Nothing else changes.\n"
    "\n"
    "      --text FILE    also measure what a text makes of it (UTF-8, read with the tokenizer of the model): the inputs of q k v o gate up down, K and V, and\n"
    "                     the residual stream at every basis. The input is mapped, standard input is spooled to a temporary file first\n"
    "      --samples N, --ctx N, --skip N   N sequences of --ctx tokens after the first --skip tokens (default 16, 512, 0)\n"
    "      --mem SIZE     memory for the streams of the text between layers; what is beyond goes to a temporary file\n"
    "      --device D     cpu (default), or cuda: the model runs on the GPU, which must be there (else exit 2)\n"
    "\n"
    "      --json         print the statistics as JSON in place of the stream; with -v also those of every channel\n"
    "      --csv          the same as a table of values separated by commas\n"
    "  -o, --output FILE  output, written atomically (default: standard output)\n"
    "  -v, --verbose      a line for everything that is measured\n"
    "  -j, --threads N    threads; the bytes written do not depend on it\n"
    "  -q, --quiet        no progress line\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 success, 2 usage, 10 to 32 and 70 as rs-verify(1) lists them.\n";

enum { OPT_TEXT = 1, OPT_SAMPLES, OPT_CTX, OPT_SKIP, OPT_CSV };

static const rs_option option_list[] = {{"text", 0, true, OPT_TEXT}, {"samples", 0, true, OPT_SAMPLES}, {"ctx", 0, true, OPT_CTX}, {"skip", 0, true, OPT_SKIP}, {"csv", 0, false, OPT_CSV}};

struct parsed {
    rs_stat_cli c;
    const char *only_text; // an option that was given and goes with --text only
};

static rs_status parse(void *context, int id, const char *value, rs_error *e)
{
    struct parsed *p = context;
    rs_stat_cli *o = &p->c;
    switch (id) {
    case OPT_TEXT: o->text = value; return RS_OK;
    case OPT_CSV: o->csv = true; return RS_OK;
    case OPT_SAMPLES: p->only_text = "samples"; return rs_cli_int("--samples", value, 1, INT32_MAX, &o->samples, e);
    case OPT_CTX: p->only_text = "ctx"; return rs_cli_int("--ctx", value, 1, 1 << 24, &o->ctx, e);
    case OPT_SKIP: p->only_text = "skip"; return rs_cli_int("--skip", value, 0, INT64_MAX, &o->skip, e);
    default:
        if (o->input != NULL) return rs_fail(e, RS_USAGE, "more than one input: %s and %s", o->input, value);
        o->input = value;
        return RS_OK;
    }
}

rs_status rs_stat_cli_parse(rs_stat_cli *c, int argc, char **argv, rs_error *e)
{
    struct parsed p = {.c = {.samples = 16, .ctx = 512}};
    rs_status st = rs_cli_parse(&p.c.cli, "rs-stat", usage_text, option_list, sizeof option_list / sizeof *option_list, argc, argv, parse, &p, e);
    *c = p.c; // with the name of the tool, for the message about a failure
    RS_TRY(st);
    if (c->text == NULL && p.only_text != NULL) return rs_fail(e, RS_USAGE, "--%s goes with --text", p.only_text);
    if (c->text == NULL && c->cli.mem != 0) return rs_fail(e, RS_USAGE, "--mem goes with --text");
    if (c->csv && c->cli.json) return rs_fail(e, RS_USAGE, "--json and --csv exclude each other");
    RS_TRY(rs_device_find(c->cli.device, &c->k, NULL, e));
    if (c->text == NULL && c->k->memory != NULL) return rs_fail(e, RS_USAGE, "--device goes with --text");
    return rs_cli_one_stdin(2, (const char *const[]){c->input == NULL ? "-" : c->input, c->text}, e);
}
