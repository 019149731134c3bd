// SPDX-License-Identifier: Apache-2.0
// rs-verify: checks every byte and rule of an RSQ stream, and on request that a model computes what its original computes, or the same by every integer kernel.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/json.h"
#include "formats/text.h"
#include "inspect/kernels_report.h"
#include "inspect/verify_cli.h"
#include "inspect/verify_report.h"
#include "kernels/threads.h"

static void print_json(json_t *j)
{
    char *text = json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    if (text != NULL) puts(text);
    free(text);
    json_decref(j);
}

static void print_stream(const rs_cli *cli, const char *name, const rs_verified *v)
{
    char text[33];
    if (cli->quiet) return;
    printf("%s: %s: %u tensors in %u frames, %.1f MB, xxh3-128 %s\n", name, v->whole ? v->values ? "good, values too" : "good" : "head, tail and index are good; not fully checked", v->tensors,
           v->frames, (double)v->size / 1e6, rs_verify_report_hex(v->digest, text));
    if (cli->verbose == 0) return;
    const rs_plan *p = &v->head.plan;
    printf("  %s %s, %llu layers\n", v->head.arch, v->head.model, (unsigned long long)v->head.layers);
    if (v->head.kind == RS_KIND_WEIGHTS)
        printf("  plan: activations %u bits, KV %u bits, online %s%s%s, junctions %s rank %llu\n", p->a.bits, p->kv.bits, p->r3.on ? "r3 " : "", p->r4.on ? "r4" : "", p->r3.on || p->r4.on ? "" : "none",
               p->resid == RS_RESID_NONE ? "none" : p->resid == RS_RESID_DENSE ? "dense" : "lowrank", (unsigned long long)p->rank);
}

static void on_bytes(void *context, double bytes)
{
    rs_progress_at(context, bytes / 1e6);
}

static rs_status verify_stream(const rs_verify_cli *o, rs_error *e)
{
    rs_in *in = NULL;
    rs_verified v;
    rs_progress progress;
    uint64_t size = 0;
    rs_status s = rs_in_open(&in, o->file, e);
    if (s == RS_OK && rs_in_seekable(in)) s = rs_in_size(in, &size, e);
    rs_verify_options options = {.quick = o->quick, .strict = o->format, .values = o->values, .progress = on_bytes, .context = &progress};
    rs_progress_start(&progress, &o->cli, "verify", "MB", (double)size / 1e6);
    if (s == RS_OK) s = rs_verify_stream(in, &options, &v, e);
    rs_progress_end(&progress);
    if (o->cli.json) {
        json_t *j = rs_verify_report_verdict(o->file, s, e);
        if (s == RS_OK) rs_verify_report_stream(j, &v);
        print_json(j);
    } else if (s == RS_OK) print_stream(&o->cli, rs_in_name(in), &v);
    rs_in_close(in);
    return s;
}

struct layers {
    const rs_verify_cli *o;
    json_t *list;
};

static void on_layer(void *context, const rs_against_layer *l)
{
    struct layers *c = context;
    double k = rs_measure_relative(&l->k), f = rs_measure_relative(&l->ffn);
    if (c->o->cli.json)
        json_array_append_new(c->list, rs_verify_report_layer(l));
    else if (!c->o->cli.quiet && (c->o->cli.verbose > 0 || !(k <= c->o->tol && f <= c->o->tol)))
        printf("layer %-3llu  K max abs %.3g rel %.3g   FFN max abs %.3g rel %.3g%s\n", (unsigned long long)l->layer, l->k.max_abs, k, l->ffn.max_abs, f, k <= c->o->tol && f <= c->o->tol ? "" : "   above tolerance");
}

static void print_against(const rs_verify_cli *o, json_t *list, const rs_against_result *r)
{
    double rel = rs_measure_relative(&r->logits);
    if (o->cli.json) {
        json_t *j = rs_verify_report_verdict(o->file, r->pass ? RS_OK : RS_NO, &(rs_error){0});
        rs_verify_report_against(j, o->against, o->tol, list, r);
        print_json(j);
    } else if (!o->cli.quiet)
        printf("%s: %s %s: logits max abs %.3g rel %.3g, KL %.3g (largest %.3g), top-1 %.2f %%, %zu tokens, tolerance %g\n", rs_verify_cli_name(o), r->pass ? "computes the same as" : "DIFFERS from", o->against, r->logits.max_abs, rel,
               r->kl, r->kl_max, 100 * r->top1, r->tokens, o->tol);
}

static rs_status compare(const rs_verify_cli *o, rs_mapped *m, rs_mapped *ref, rs_error *e)
{
    rs_network *n = NULL, *ref_n = NULL;
    int32_t *ids = NULL;
    size_t count = 0;
    const char *unmoved = NULL;
    const rs_kernels *k = o->reference ? rs_kernels_reference() : o->k;
    struct layers layers = {.o = o, .list = json_array()};
    rs_against_options options = {.ctx = (size_t)o->ctx, .windows = (size_t)o->windows, .tol = o->tol, .layer = on_layer, .context = &layers};
    rs_against_result r;
    rs_status s = rs_network_open(&n, m, k, e);
    if (s == RS_OK) s = rs_network_open(&ref_n, ref, k, e);
    if (s == RS_OK) s = rs_text_ids(m, o->text, o->cli.threads, &ids, &count, NULL, e);
    if (s == RS_OK) s = rs_verify_moved(m, ref, &unmoved, e);
    if (s == RS_OK) s = rs_verify_against(n, ref_n, ids, count, &options, &r, e);
    if (s == RS_OK) s = rs_mapped_check(m, e);
    if (s == RS_OK) s = rs_mapped_check(ref, e);
    if (s == RS_OK) {
        print_against(o, layers.list, &r);
        if (unmoved != NULL) s = rs_fail(e, RS_NO, "%s says that it was rotated, but its weights are the original's", unmoved);
        else if (r.first_layer >= 0) s = rs_fail(e, RS_NO, "layer %lld is the first above the tolerance of %g", (long long)r.first_layer, o->tol);
        else if (!r.pass) s = rs_fail(e, RS_NO, "the logits are above the tolerance of %g: %.3g", o->tol, rs_measure_relative(&r.logits));
    }
    json_decref(layers.list);
    free(ids);
    rs_network_close(n);
    rs_network_close(ref_n);
    return s;
}

static rs_status verify_against(const rs_verify_cli *o, const char **file, rs_error *e)
{
    rs_mapped *m = NULL, *ref = NULL;
    rs_status s = rs_mapped_open(&m, o->file, e);
    if (s == RS_OK) {
        *file = o->against;
        s = rs_mapped_open(&ref, o->against, e);
    }
    if (s == RS_OK) {
        *file = o->file;
        s = compare(o, m, ref, e);
    }
    rs_mapped_close(m);
    rs_mapped_close(ref);
    return s;
}

// ---- kernels

struct kernels {
    const rs_verify_cli *o;
    rs_progress progress;
    json_t *flips;
};

static void on_matrices(void *context, double done)
{
    rs_progress_at(&((struct kernels *)context)->progress, done);
}

static void on_flip(void *context, const rs_kernels_flip *f)
{
    struct kernels *c = context;
    char line[256];
    if (c->o->cli.json) json_array_append_new(c->flips, rs_kernels_report_flip(f));
    else if (!c->o->cli.quiet) puts(rs_kernels_report_line(f, line, sizeof line));
}

static void print_kernels(const rs_verify_cli *o, const rs_kernels_result *r, json_t *flips)
{
    if (o->cli.json) {
        json_t *j = rs_verify_report_verdict(o->file, r->failures == 0 ? RS_OK : RS_NO, &(rs_error){0});
        rs_kernels_report_json(j, r);
        if (o->cli.verbose > 0) json_object_set(j, "flips", flips);
        print_json(j);
    } else if (!o->cli.quiet) {
        char *table = rs_kernels_report_table(r);
        if (r->device) printf("device      %s\n", rs_kernels_cuda_device());
        if (table != NULL) fputs(table, stdout);
        free(table);
        printf("%s: %s\n", rs_verify_cli_name(o), r->failures == 0 ? "every variant computes the same" : "FAILED");
    }
}

static rs_status verify_kernels(const rs_verify_cli *o, rs_error *e)
{
    rs_mapped *m = NULL;
    int32_t *ids = NULL;
    size_t count = (size_t)o->ctx;
    struct kernels k = {.o = o, .flips = json_array()};
    const rs_int_kernels *const cuda[] = {rs_int_cuda_at(0), rs_int_cuda_at(1)};
    const bool device = o->k->memory != NULL;
    rs_kernels_options options = {.device = device ? o->k : NULL, .device_variants = cuda, .n_device_variants = device ? 2 : 0, .repeat = (size_t)o->repeat, .flip = o->cli.verbose > 0 ? on_flip : NULL, .progress = on_matrices, .context = &k};
    rs_kernels_result r = {0};
    rs_status s = rs_mapped_open(&m, o->file, e);
    if (s == RS_OK && o->text != NULL) s = rs_text_ids(m, o->text, o->cli.threads, &ids, &count, NULL, e);
    if (s == RS_OK) {
        rs_progress_start(&k.progress, &o->cli, "kernels", "matrices", rs_kernels_total(m));
        s = rs_kernels_check(m, ids, count < (size_t)o->ctx ? count : (size_t)o->ctx, &options, &r, e);
        rs_progress_end(&k.progress);
    }
    if (s == RS_OK) s = rs_mapped_check(m, e);
    if (s == RS_OK) {
        print_kernels(o, &r, k.flips);
        if (r.failures > 0) s = rs_fail(e, RS_NO, "%s", r.first);
    } else if (o->cli.json)
        print_json(rs_verify_report_verdict(o->file, s, e));
    json_decref(k.flips);
    free(ids);
    rs_mapped_close(m);
    return s;
}

int main(int argc, char **argv)
{
    rs_verify_cli o;
    rs_error e = {0};
    const char *file = NULL;
    rs_cli_start();
    rs_status s = rs_verify_cli_parse(&o, argc, argv, &e);
    if (s == RS_OK) {
        file = o.file;
        rs_threads_set(o.cli.threads);
        rs_mapped_guard();
        s = o.kernels ? verify_kernels(&o, &e) : o.against != NULL ? verify_against(&o, &file, &e) : verify_stream(&o, &e);
    }
    if (s == RS_NO && e.text[0] != 0) fprintf(stderr, "rs-verify: %s: %s\n", file, e.text);
    return rs_cli_exit(&o.cli, s, file, &e);
}
