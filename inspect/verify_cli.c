// SPDX-License-Identifier: Apache-2.0
// Usage text and options of rs-verify, and what they say about each other.
#include "inspect/verify_cli.h"

#include <string.h>

#include "kernels/kernels.h"

static const char usage_text[] =
    "usage: rs-verify [options] [FILE.rsq]\n"
    "Reads FILE (or standard input) once and checks every hash and every rule of the format.\n"
    "\n"
    "      --quick        only signature, head, tail and index: not fully checked (needs a file)\n"
    "      --format       also reject what readers ignore: the gate for files of strangers\n"
    "      --values       also check the numbers: NaN, scales, sums of codes, orthonormality\n"
    "      --against ORIGINAL.rsq --text FILE   run both models on FILE and compare each layer and the logits\n"
    "        --tol X      largest relative error, max abs difference / max abs (default 1e-4)\n"
    "        --ctx N, --windows N   tokens in a window, number of windows (default 512, 1)\n"
    "        --reference  compute with the plain C kernels\n"
    "        --device D   cpu (default), or cuda: both models run on the GPU, which must be there (else exit 2)\n"
    "      --kernels      prove that the packed model computes the same by every variant of the integer kernels here\n"
    "        --text FILE  run the model on FILE (default: token ids that look random); --ctx N tokens of it (default 32)\n"
    "        --device D   cpu (default), or cuda: also the kernels of the GPU\n"
    "        --repeat N   the GPU computes each thing N times and must give the same bits (default 1)\n"
    "      --json         the verdict as JSON on standard output\n"
    "  -v, --verbose      the layers of a comparison that pass; the plan; the codes at a rounding boundary\n"
    "  -j, --threads N    threads\n"
    "  -q, --quiet        print nothing but errors\n"
    "      --help, --version\n"
    "\n"
    "Exit status: 0 good; 1 the comparison failed, or the kernels did; 2 usage; 10-24 the class of the fault; 30-32 the system refused; 70 the GPU failed.\n";

enum { OPT_QUICK = 1, OPT_FORMAT, OPT_VALUES, OPT_AGAINST, OPT_TEXT, OPT_TOL, OPT_CTX, OPT_WINDOWS, OPT_REFERENCE, OPT_KERNELS, OPT_REPEAT };

static const rs_option option_list[] = {
    {"quick", 0, false, OPT_QUICK}, {"format", 0, false, OPT_FORMAT}, {"values", 0, false, OPT_VALUES}, {"against", 0, true, OPT_AGAINST},      {"text", 0, true, OPT_TEXT},
    {"tol", 0, true, OPT_TOL},      {"ctx", 0, true, OPT_CTX},        {"windows", 0, true, OPT_WINDOWS}, {"reference", 0, false, OPT_REFERENCE},
    {"kernels", 0, false, OPT_KERNELS}, {"repeat", 0, true, OPT_REPEAT},
};

static rs_status parse(void *context, int id, const char *value, rs_error *e)
{
    rs_verify_cli *o = context;
    switch (id) {
    case OPT_QUICK: o->quick = true; return RS_OK;
    case OPT_FORMAT: o->format = true; return RS_OK;
    case OPT_VALUES: o->values = true; return RS_OK;
    case OPT_REFERENCE: o->reference = true; return RS_OK;
    case OPT_KERNELS: o->kernels = true; return RS_OK;
    case OPT_AGAINST: o->against = value; return RS_OK;
    case OPT_TEXT: o->text = value; return RS_OK;
    case OPT_TOL: return rs_cli_real("--tol", value, 0, 1e30, &o->tol, e);
    case OPT_CTX: return rs_cli_int("--ctx", value, 2, 1 << 24, &o->ctx, e);
    case OPT_REPEAT: return rs_cli_int("--repeat", value, 1, 1000000, &o->repeat, e);
    case OPT_WINDOWS: return rs_cli_int("--windows", value, 1, INT32_MAX, &o->windows, e);
    default:
        if (o->file != NULL) return rs_fail(e, RS_USAGE, "more than one file: %s and %s", o->file, value);
        o->file = value;
        return RS_OK;
    }
}

static rs_status check(rs_verify_cli *o, rs_error *e)
{
    const bool cuda = strcmp(o->cli.device, "cpu") != 0;
    if (o->kernels && (o->against != NULL || o->quick || o->format || o->values || o->reference)) return rs_fail(e, RS_USAGE, "--kernels excludes --quick, --format, --values, --against and --reference");
    if (o->kernels && (o->tol >= 0 || o->windows > 0)) return rs_fail(e, RS_USAGE, "--tol and --windows go with --against");
    if (!o->kernels && (o->against == NULL) != (o->text == NULL)) return rs_fail(e, RS_USAGE, "--against and --text go together");
    if (o->quick && (o->format || o->values || o->against != NULL)) return rs_fail(e, RS_USAGE, "--quick excludes --format, --values and --against");
    if (o->against != NULL && (o->format || o->values)) return rs_fail(e, RS_USAGE, "--against excludes --format and --values: run rs-verify twice");
    if (cuda && !o->kernels && o->against == NULL) return rs_fail(e, RS_USAGE, "--device goes with --kernels and --against");
    if (cuda && o->reference) return rs_fail(e, RS_USAGE, "--reference computes on the CPU: without --device cuda");
    if (o->repeat > 0 && !(cuda && o->kernels)) return rs_fail(e, RS_USAGE, "--repeat goes with --kernels --device cuda");
    RS_TRY(rs_device_find(o->cli.device, &o->k, NULL, e));
    if (o->ctx == 0) o->ctx = o->kernels ? 32 : 512;
    if (o->tol < 0) o->tol = 1e-4;
    if (o->windows == 0) o->windows = 1;
    return RS_OK;
}

rs_status rs_verify_cli_parse(rs_verify_cli *c, int argc, char **argv, rs_error *e)
{
    *c = (rs_verify_cli){.tol = -1};
    RS_TRY(rs_cli_parse(&c->cli, "rs-verify", usage_text, option_list, sizeof option_list / sizeof *option_list, argc, argv, parse, c, e));
    RS_TRY(check(c, e));
    if (c->file == NULL) c->file = "-";
    return rs_cli_one_stdin(3, (const char *const[]){c->file, c->against, c->text}, e);
}

const char *rs_verify_cli_name(const rs_verify_cli *c)
{
    return strcmp(c->file, "-") == 0 ? "standard input" : c->file;
}
