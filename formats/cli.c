// SPDX-License-Identifier: Apache-2.0
// What every tool's command line shares: options, numbers, the progress line, the closing message.
#include "formats/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "formats/io.h"

#define MAX_THREADS 1024

static bool line_drawn; // a progress line stands on standard error

void rs_cli_start(void)
{
    // A closed descriptor is filled with one that cannot do what the descriptor is for, so that open() never returns 0..2 and its use is still an error.
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) _exit(RS_E_READ);
    setlocale(LC_ALL, "C");
    rs_out_guard_signals();
}

// ---- options

enum shared { OUTPUT = -1, THREADS = -2, VERBOSE = -3, QUIET = -4, JSON = -5, MEM = -6, DEVICE = -7, HELP = -8, VERSION = -9 };

static const rs_option shared_options[] = {
    {"output", 'o', true, OUTPUT}, {"threads", 'j', true, THREADS}, {"verbose", 'v', false, VERBOSE}, {"quiet", 'q', false, QUIET},
    {"json", 0, false, JSON},      {"mem", 0, true, MEM},           {"device", 0, true, DEVICE},      {"help", 'h', false, HELP},
    {"version", 0, false, VERSION},
};
#define SHARED (sizeof shared_options / sizeof shared_options[0])

static int processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 && n <= MAX_THREADS ? (int)n : 1;
}

// Prints text on standard output and ends the process; the status tells whether it could be written.
static void print_and_exit(const rs_cli *cli, const char *text)
{
    fputs(text, stdout);
    exit(rs_cli_exit(cli, RS_OK, NULL, NULL));
}

static rs_status set_shared(rs_cli *cli, int id, const char *value, const char *usage, rs_error *e)
{
    int64_t n;
    char line[128];
    switch ((enum shared)id) {
    case OUTPUT:
        if (*value == 0) return rs_fail(e, RS_USAGE, "--output needs the name of a file");
        cli->output = value;
        return RS_OK;
    case THREADS:
        RS_TRY(rs_cli_int("--threads", value, 1, MAX_THREADS, &n, e));
        cli->threads = (int)n;
        return RS_OK;
    case MEM: {
        rs_status status = rs_cli_size(value, &cli->mem, e);
        if (status != RS_OK) return rs_error_prefix(e, status, "--mem");
        return cli->mem > 0 ? RS_OK : rs_fail(e, RS_USAGE, "--mem: must be more than 0");
    }
    case DEVICE:
        if (strcmp(value, "cpu") != 0 && strcmp(value, "cuda") != 0) return rs_fail(e, RS_USAGE, "--device: '%s' is neither cpu nor cuda", value);
        cli->device = value;
        return RS_OK;
    case VERBOSE: cli->verbose++; return RS_OK;
    case QUIET: cli->quiet = true; return RS_OK;
    case JSON: cli->json = true; return RS_OK;
    case HELP: print_and_exit(cli, usage); return RS_OK;
    case VERSION:
        snprintf(line, sizeof line, "%s " RS_VERSION "\n", cli->tool);
        print_and_exit(cli, line);
        return RS_OK;
    }
    return rs_fail(e, RS_E_INTERNAL, "option %d", id);
}

// True if usage names the shared option as --name, or if every tool has it.
static bool offered(const char *usage, const rs_option *o)
{
    if (o->id == HELP || o->id == VERSION) return true;
    size_t n = strlen(o->name);
    for (const char *at = strstr(usage, "--"); at != NULL; at = strstr(at + 2, "--"))
        if (strncmp(at + 2, o->name, n) == 0 && !(at[2 + n] >= 'a' && at[2 + n] <= 'z') && at[2 + n] != '-') return true;
    return false;
}

// The option with this long name (name_len bytes), or with this letter when name is NULL; own ones come before the shared ones that usage offers. NULL if there is none.
static const rs_option *find_option(const char *usage, const rs_option *own, size_t n, const char *name, size_t name_len, char letter)
{
    for (size_t i = 0; i < n + SHARED; i++) {
        const rs_option *o = i < n ? &own[i] : &shared_options[i - n];
        bool hit = name != NULL ? strlen(o->name) == name_len && memcmp(o->name, name, name_len) == 0 : letter != 0 && o->letter == letter;
        if (hit && (i < n || offered(usage, o))) return o;
    }
    return NULL;
}

// Finds the option that arg ("--name", "--name=value", "-x", "-xvalue") stands for; *attached is the value in the same argument or NULL.
static rs_status match(const rs_cli *cli, const char *usage, const rs_option *own, size_t n, const char *arg, const rs_option **option, const char **attached, rs_error *e)
{
    bool is_long = arg[1] == '-';
    size_t shown = strcspn(arg, "=");
    if (is_long) {
        *option = find_option(usage, own, n, arg + 2, shown - 2, 0);
        *attached = arg[shown] == '=' ? arg + shown + 1 : NULL;
    } else {
        *option = find_option(usage, own, n, NULL, 0, arg[1]);
        *attached = arg[2] != 0 ? arg + 2 : NULL;
        shown = 2;
    }
    if (*option == NULL) return rs_fail(e, RS_USAGE, "unknown option %.*s; try %s --help", (int)(shown < 100 ? shown : 100), arg, cli->tool);
    if (*attached != NULL && !(*option)->has_value) return rs_fail(e, RS_USAGE, "option %.*s takes no value; try %s --help", (int)shown, arg, cli->tool);
    return RS_OK;
}

rs_status rs_cli_parse(rs_cli *cli, const char *tool, const char *usage, const rs_option *options, size_t n, int argc, char **argv, rs_cli_callback *callback, void *context, rs_error *e)
{
    *cli = (rs_cli){.tool = tool, .threads = processors(), .device = "cpu"};
    bool operands_only = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (operands_only || arg[0] != '-' || arg[1] == 0) {
            RS_TRY(callback(context, 0, arg, e));
            continue;
        }
        if (strcmp(arg, "--") == 0) {
            operands_only = true;
            continue;
        }
        const rs_option *option;
        const char *value;
        RS_TRY(match(cli, usage, options, n, arg, &option, &value, e));
        if (option->has_value && value == NULL) {
            if (i + 1 == argc) return rs_fail(e, RS_USAGE, "option %s needs a value; try %s --help", arg, tool);
            value = argv[++i];
        }
        if (option->id < 0) RS_TRY(set_shared(cli, option->id, value, usage, e));
        else RS_TRY(callback(context, option->id, value, e));
    }
    return RS_OK;
}

// ---- numbers

// Reads decimal digits at *s as a number and moves *s behind them; false without a digit or beyond 64 bits.
static bool digits(const char **s, uint64_t *out)
{
    const char *start = *s;
    for (*out = 0; **s >= '0' && **s <= '9'; ++*s)
        if (!rs_mul_ok(*out, 10, out) || !rs_add_ok(*out, (uint64_t)(**s - '0'), out)) return false;
    return *s > start;
}

rs_status rs_cli_size(const char *text, uint64_t *bytes, rs_error *e)
{
    static const char letters[] = "KMGT";
    const char *s = text;
    uint64_t whole, part = 0, scale = 1, unit = 1;
    bool ok = digits(&s, &whole), fraction = ok && *s == '.';
    if (fraction) {
        const char *start = ++s;
        ok = digits(&s, &part) && s - start <= 6;
        for (; ok && start < s; start++) scale *= 10;
    }
    const char *l = *s != 0 ? strchr(letters, *s >= 'a' && *s <= 'z' ? *s - 'a' + 'A' : *s) : NULL;
    if (l != NULL) {
        unit = UINT64_C(1) << (10 * (l - letters + 1));
        s++;
        if (s[0] == 'i' && s[1] == 'B') s++;
    }
    if (*s == 'B') s++;
    // A fraction needs a unit; part < 10^6 and unit <= 2^40, so their product fits.
    if (!ok || *s != 0 || (fraction && unit == 1)) return rs_fail(e, RS_USAGE, "'%s' is not a size such as 4096, 64M or 1.5GiB", text);
    if (!rs_mul_ok(whole, unit, &whole) || !rs_add_ok(whole, part * unit / scale, bytes)) return rs_fail(e, RS_USAGE, "'%s' is too large", text);
    return RS_OK;
}

rs_status rs_cli_int(const char *what, const char *text, int64_t lo, int64_t hi, int64_t *out, rs_error *e)
{
    const char *s = text + (*text == '-');
    uint64_t n;
    bool negative = s > text, ok = digits(&s, &n) && *s == 0 && n <= (uint64_t)INT64_MAX + negative;
    int64_t v = !ok ? 0 : !negative ? (int64_t)n : n == 0 ? 0 : -(int64_t)(n - 1) - 1;
    if (!ok || v < lo || v > hi) return rs_fail(e, RS_USAGE, "%s: '%s' is not a whole number from %lld to %lld", what, text, (long long)lo, (long long)hi);
    *out = v;
    return RS_OK;
}

rs_status rs_cli_real(const char *what, const char *text, double lo, double hi, double *out, rs_error *e)
{
    char *end = NULL;
    double v = 0;
    bool ok = *text != 0 && text[strspn(text, "0123456789+-.eE")] == 0; // neither hexadecimal, nor inf, nor white space
    if (ok) v = strtod(text, &end);
    if (!ok || *end != 0 || !isfinite(v) || v < lo || v > hi) return rs_fail(e, RS_USAGE, "%s: '%s' is not a number from %g to %g", what, text, lo, hi);
    *out = v;
    return RS_OK;
}

// ---- progress

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void rs_progress_start(rs_progress *p, const rs_cli *cli, const char *what, const char *unit, double total)
{
    const char *term = getenv("TERM");
    *p = (rs_progress){.cli = cli, .what = what, .unit = unit, .total = total, .started = now()};
    p->on = !cli->quiet && isatty(STDERR_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
}

void rs_progress_at(rs_progress *p, double done)
{
    if (!p->on) return;
    double t = now(), elapsed = t - p->started;
    if (t - p->shown_at < 0.1) return;
    p->shown_at = t;
    line_drawn = true;
    double rate = elapsed > 0 ? (done - p->from) / elapsed : 0;
    static const char *const prefix[] = {"", "k", "M", "G", "T"};
    int step = 0;
    double shown = rate;
    for (; shown >= 1000 && step < 4; step++) shown /= 1000;
    fprintf(stderr, "\r%s: %s", p->cli->tool, p->what);
    if (p->total > 0) fprintf(stderr, " %.0f %%", 100 * (done < p->total ? done / p->total : 1));
    fprintf(stderr, " %.1f %s%s/s", shown, prefix[step], p->unit);
    double left = rate > 0 && p->total > done ? (p->total - done) / rate : 0;
    if (p->total > 0 && rate > 0 && left < 1e7) {
        long s = (long)(left + 0.5);
        if (s >= 3600) fprintf(stderr, " ETA %ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
        else fprintf(stderr, " ETA %ld:%02ld", s / 60, s % 60);
    }
    fputs("\033[K", stderr);
    fflush(stderr);
}

// Takes a progress line away, if one stands there.
static void clear_line(void)
{
    if (line_drawn) fputs("\r\033[K", stderr);
    line_drawn = false;
}

void rs_progress_end(rs_progress *p)
{
    if (p->on) clear_line();
    p->on = false;
}

// ---- the end

rs_status rs_cli_one_stdin(size_t n, const char *const *paths, rs_error *e)
{
    int used = 0;
    for (size_t i = 0; i < n; i++) used += paths[i] != NULL && strcmp(paths[i], "-") == 0;
    return used < 2 ? RS_OK : rs_fail(e, RS_USAGE, "standard input is named %d times, but can be read once", used);
}

const char *rs_cli_output(const rs_cli *cli)
{
    return cli->output == NULL || strcmp(cli->output, "-") == 0 ? "standard output" : cli->output;
}

int rs_cli_exit(const rs_cli *cli, rs_status status, const char *file, const rs_error *e)
{
    char name[512];
    clear_line();
    if (status != RS_OK && status != RS_NO) {
        const char *text = e != NULL && e->text[0] != 0 ? e->text : rs_status_text(status);
        if (file != NULL && strcmp(file, "-") == 0) file = "standard input";
        rs_escape(name, sizeof name, file, file != NULL ? strlen(file) : 0);
        fprintf(stderr, "%s: %s%s", cli->tool, name, file != NULL ? ": " : "");
        if (status == RS_USAGE) fprintf(stderr, "%s\n", text);
        else fprintf(stderr, "%s: %s\n", rs_status_name(status), text);
    }
    bool failed = ferror(stdout) != 0;
    errno = 0;
    if ((fclose(stdout) != 0 || failed) && (status == RS_OK || status == RS_NO)) {
        status = RS_E_WRITE;
        fprintf(stderr, "%s: standard output: %s: %s\n", cli->tool, rs_status_name(status), errno != 0 ? strerror(errno) : rs_status_text(status));
    }
    return (int)status;
}

rs_status rs_cli_slurp(const char *path, uint64_t limit, char **bytes, size_t *len, rs_error *e)
{
    *bytes = NULL;
    *len = 0;
    rs_in *in;
    RS_TRY(rs_in_open(&in, path, e));
    char *p = NULL;
    size_t cap = 0, fill = 0, got = 0;
    rs_status status = RS_OK;
    do {
        // One byte more than the limit is asked for, so that a longer file shows; one byte more is kept for the NUL.
        uint64_t want = cap == 0 ? 65536 : 2 * (uint64_t)cap;
        if (limit < want && want - limit > 1) want = limit + 1;
        char *q = want < SIZE_MAX / 2 ? realloc(p, (size_t)want + 1) : NULL;
        if (q == NULL) {
            status = rs_fail(e, RS_E_NOMEM, "no memory for %llu bytes", (unsigned long long)want);
            break;
        }
        p = q;
        cap = (size_t)want;
        status = rs_in_read(in, p + fill, cap - fill, &got, e);
        fill += got;
        if (status == RS_OK && fill > limit) status = rs_fail(e, RS_E_LIMIT, "more than %llu bytes", (unsigned long long)limit);
    } while (status == RS_OK && fill == cap);
    rs_in_close(in);
    if (status != RS_OK) {
        free(p);
        return status;
    }
    p[fill] = 0;
    *bytes = p;
    *len = fill;
    return RS_OK;
}
