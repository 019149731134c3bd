// SPDX-License-Identifier: Apache-2.0
// The shared command line: options, numbers, whole files, and, in child processes, what is printed and with which status a tool ends.
#include "formats/cli.h"

#include <fcntl.h>
#include <poll.h>
#include <locale.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "formats/io.h"
#include "tests/check.h"

// ---- options

static char seen[512];

static rs_status note(void *context, int id, const char *value, rs_error *e)
{
    (void)context;
    size_t n = strlen(seen);
    snprintf(seen + n, sizeof seen - n, "%d=%s;", id, value != NULL ? value : "(none)");
    return value != NULL && strcmp(value, "refuse") == 0 ? rs_fail(e, RS_USAGE, "refused") : RS_OK;
}

static const rs_option own[] = {{"rank", 'r', true, 1}, {"paper", 'p', false, 2}, {"list", 0, true, 3}, {"mem-limit", 0, false, 4}};

static const char usage[] = "usage\n  -o, --output FILE\n  --threads N -v, --verbose, --quiet --json\n  --mem SIZE --device=D\n";

static rs_status parse(rs_cli *cli, rs_error *e, const char **argv)
{
    int argc = 0;
    while (argv[argc] != NULL) argc++;
    seen[0] = 0;
    *e = (rs_error){0};
    return rs_cli_parse(cli, "rs-test", usage, own, sizeof own / sizeof own[0], argc, (char **)argv, note, NULL, e);
}
#define PARSE(...) parse(&cli, &e, (const char *[]){"rs-test", __VA_ARGS__, NULL})

static void test_options(void)
{
    rs_cli cli;
    rs_error e;
    cpu_set_t set;
    CHECK(parse(&cli, &e, (const char *[]){"rs-test", NULL}) == RS_OK && seen[0] == 0 && strcmp(cli.tool, "rs-test") == 0);
    CHECK(cli.output == NULL && cli.verbose == 0 && !cli.quiet && !cli.json && cli.mem == 0 && strcmp(cli.device, "cpu") == 0);
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0 && cli.threads == CPU_COUNT(&set));
    CHECK(PARSE("--rank=3", "--rank", "4", "-r", "5", "-r6", "-p", "--paper", "--list=", "in") == RS_OK);
    CHECKF(strcmp(seen, "1=3;1=4;1=5;1=6;2=(none);2=(none);3=;0=in;") == 0, "%s", seen);
    CHECK(PARSE("--rank=a=b", "--list", "--rank", "-r", "-", "-", "", "--mem-limit") == RS_OK);
    CHECKF(strcmp(seen, "1=a=b;3=--rank;1=-;0=-;0=;4=(none);") == 0, "%s", seen);
    CHECK(PARSE("a", "--", "--rank", "-p", "--") == RS_OK && strcmp(seen, "0=a;0=--rank;0=-p;0=--;") == 0);
    CHECK(PARSE("-o", "f", "-j3", "-v", "-v", "-q", "--json", "--mem=64M", "--device", "cuda") == RS_OK && seen[0] == 0);
    CHECK(strcmp(cli.output, "f") == 0 && cli.threads == 3 && cli.verbose == 2 && cli.quiet && cli.json && cli.mem == 64u << 20 && strcmp(cli.device, "cuda") == 0);
    CHECK(PARSE("--output=a", "--threads=2", "--verbose", "--quiet", "-o-") == RS_OK && strcmp(cli.output, "-") == 0 && cli.threads == 2 && cli.verbose == 1);
}

static void test_wrong_options(void)
{
    rs_cli cli;
    rs_error e;
    CHECK(PARSE("--rnak=3") == RS_USAGE && strcmp(e.text, "unknown option --rnak; try rs-test --help") == 0);
    CHECK(PARSE("--rank3") == RS_USAGE && PARSE("--ran=3") == RS_USAGE && PARSE("--ranks") == RS_USAGE && PARSE("--=3") == RS_USAGE && PARSE("---") == RS_USAGE);
    CHECK(PARSE("-x") == RS_USAGE && strcmp(e.text, "unknown option -x; try rs-test --help") == 0);
    CHECK(PARSE("-pq") == RS_USAGE && strstr(e.text, "-p takes no value") != NULL);
    CHECK(PARSE("--paper=1") == RS_USAGE && strstr(e.text, "--paper takes no value") != NULL && PARSE("--json=") == RS_USAGE);
    CHECK(PARSE("--rank") == RS_USAGE && strstr(e.text, "--rank needs a value") != NULL && PARSE("-o") == RS_USAGE && PARSE("-r") == RS_USAGE);
    CHECK(PARSE("--output=") == RS_USAGE && PARSE("-j0") == RS_USAGE && PARSE("-j", "1025") == RS_USAGE && PARSE("-j1024") == RS_OK && PARSE("-j", "two") == RS_USAGE);
    CHECK(PARSE("--mem=0") == RS_USAGE && PARSE("--mem=lots") == RS_USAGE && strncmp(e.text, "--mem: 'lots'", 13) == 0);
    CHECK(PARSE("--device=gpu") == RS_USAGE && strstr(e.text, "gpu") != NULL);
    CHECK(PARSE("refuse", "after") == RS_USAGE && strcmp(e.text, "refused") == 0 && strcmp(seen, "0=refuse;") == 0);
    // what usage does not name is unknown; a longer name does not stand for a shorter one
    const char *const few = "usage: --quiet --verbosely --outputs --json-lines --threads";
    const char *argv[] = {"rs-test", "--verbose", "--output=x", "--json", "-o", "--mem=3", "--quiet", "-j2"};
    for (int i = 1; i < 8; i++) CHECKF(rs_cli_parse(&cli, "rs-test", few, own, 4, 2, (char *[]){(char *)argv[0], (char *)argv[i]}, note, NULL, &(rs_error){0}) == (i < 6 ? RS_USAGE : RS_OK), "%s", argv[i]);
    CHECK(PARSE("-\x1b[2J") == RS_USAGE && strchr(e.text, 0x1b) == NULL);
}

// ---- numbers

static void test_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t value;
    } good[] = {
        {"0", 0}, {"4096", 4096}, {"4096B", 4096}, {"1K", 1024}, {"64M", 64u << 20}, {"64m", 64u << 20}, {"64MB", 64u << 20}, {"1.5GiB", 3u << 29}, {"0.5k", 512}, {"2T", UINT64_C(2) << 40},
        {"18446744073709551615", UINT64_MAX}, {"16777215T", UINT64_C(16777215) << 40}, {"1.000001K", 1024}, {"0.999999T", UINT64_C(1099510528264)},
    };
    static const char *const bad[] = {"", "K", ".5K", "1.K", "1.5", "-1", "+1", " 1", "1 ", "1X", "1KK", "1Ki", "1KiBs", "0x10", "1e3", "inf", "18446744073709551616", "16777216T", "16777215.999999T9", "1.0000001K", "1.5.5K"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t v = 7;
        CHECKF(rs_cli_size(good[i].text, &v, NULL) == RS_OK && v == good[i].value, "%s is %llu", good[i].text, (unsigned long long)v);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t v = 7;
        CHECKF(rs_cli_size(bad[i], &v, NULL) == RS_USAGE && v == 7, "%s is accepted", bad[i]);
    }
}

static void test_numbers(void)
{
    int64_t i = 7;
    double r = 7;
    rs_error e = {0};
    CHECK(rs_cli_int("--n", "-5", -5, 5, &i, NULL) == RS_OK && i == -5 && rs_cli_int("--n", "5", -5, 5, &i, NULL) == RS_OK && i == 5);
    CHECK(rs_cli_int("--n", "-0", -5, 5, &i, NULL) == RS_OK && i == 0 && rs_cli_int("--n", "007", 0, 9, &i, NULL) == RS_OK && i == 7);
    CHECK(rs_cli_int("--n", "9223372036854775807", INT64_MIN, INT64_MAX, &i, NULL) == RS_OK && i == INT64_MAX);
    CHECK(rs_cli_int("--n", "-9223372036854775808", INT64_MIN, INT64_MAX, &i, NULL) == RS_OK && i == INT64_MIN);
    static const char *const no_int[] = {"6", "-6", "", "-", "--1", "+1", "1.0", "1e0", "0x1", " 1", "1 ", "9223372036854775808", "99999999999999999999"};
    i = 7;
    for (size_t k = 0; k < sizeof no_int / sizeof no_int[0]; k++) CHECKF(rs_cli_int("--n", no_int[k], -5, 5, &i, NULL) == RS_USAGE && i == 7, "%s", no_int[k]);
    CHECK(rs_cli_int("--n", "9223372036854775808", INT64_MIN, INT64_MAX, &i, NULL) == RS_USAGE && rs_cli_int("--n", "-9223372036854775809", INT64_MIN, INT64_MAX, &i, NULL) == RS_USAGE);
    CHECK(rs_cli_int("--n", "9", -5, 5, &i, &e) == RS_USAGE && strcmp(e.text, "--n: '9' is not a whole number from -5 to 5") == 0);
    CHECK(rs_cli_real("--x", "0.25", 0, 1, &r, NULL) == RS_OK && r == 0.25 && rs_cli_real("--x", "1e-3", 0, 1, &r, NULL) == RS_OK && r == 1e-3 && rs_cli_real("--x", ".5", 0, 1, &r, NULL) == RS_OK);
    r = 7;
    static const char *const no_real[] = {"", "-0.1", "1.1", "nan", "inf", "-inf", "1e400", "0x1p-1", " 0.5", "0.5 ", "0,5", "0.5x", "e", "-", "1e", "--1"};
    for (size_t k = 0; k < sizeof no_real / sizeof no_real[0]; k++) CHECKF(rs_cli_real("--x", no_real[k], 0, 1, &r, NULL) == RS_USAGE && r == 7, "%s", no_real[k]);
}

// ---- whole files

static char path[] = "/tmp/rs-test-cli.XXXXXX";

static void test_slurp(void)
{
    static char text[200001];
    char *p;
    size_t n;
    int fd = mkstemp(path);
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i * 31 + (i >> 8));
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131072, sizeof text};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        CHECK(ftruncate(fd, 0) == 0 && pwrite(fd, text, sizes[i], 0) == (ssize_t)sizes[i]);
        const uint64_t limits[] = {sizes[i], sizes[i] + 1, UINT64_MAX};
        for (int k = 0; k < 3; k++) {
            CHECKF(rs_cli_slurp(path, limits[k], &p, &n, NULL) == RS_OK && n == sizes[i] && memcmp(p, text, n) == 0 && p[n] == 0, "%zu bytes, limit %llu", sizes[i], (unsigned long long)limits[k]);
            free(p);
        }
        if (sizes[i] > 0) CHECK(rs_cli_slurp(path, sizes[i] - 1, &p, &n, NULL) == RS_E_LIMIT && p == NULL);
    }
    CHECK(rs_cli_slurp("/dev/zero", 1000000, &p, &n, NULL) == RS_E_LIMIT && p == NULL);
    CHECK(rs_cli_slurp("/none", 10, &p, &n, NULL) == RS_E_READ && rs_cli_slurp("/", 10, &p, &n, NULL) == RS_USAGE);
    close(fd);
}

// ---- processes

// Runs body in a child with both outputs caught; returns its wait status.
static int run(void (*body)(void), char *out, char *err, size_t cap)
{
    int o[2], e[2];
    if (pipe(o) != 0 || pipe(e) != 0) return -1;
    fflush(stdout);
    fflush(stderr);
    pid_t child = fork();
    if (child == 0) {
        dup2(o[1], 1);
        dup2(e[1], 2);
        for (int i = 0; i < 2; i++) close(o[i]), close(e[i]);
        body();
        _exit(99);
    }
    close(o[1]);
    close(e[1]);
    int fds[] = {o[0], e[0]}, status = -1;
    char *to[] = {out, err};
    for (int i = 0; i < 2; i++) {
        size_t n = 0;
        for (ssize_t r; n + 1 < cap && (r = read(fds[i], to[i] + n, cap - 1 - n)) > 0;) n += (size_t)r;
        to[i][n] = 0;
        close(fds[i]);
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void ask(const char *option)
{
    rs_cli cli;
    rs_error e = {0};
    const char *argv[] = {"rs-test", option, NULL};
    _exit(rs_cli_parse(&cli, "rs-test", "usage: rs-test [FILE]\n", own, 4, 2, (char **)argv, note, NULL, &e) == RS_OK ? 50 : 51);
}
static void help(void) { ask("--help"); }
static void help_letter(void) { ask("-h"); }
static void version(void) { ask("--version"); }

static void help_full(void)
{
    dup2(open("/dev/full", O_WRONLY), 1);
    ask("--help");
}

static void end(rs_status status, const char *file, const char *text)
{
    rs_cli cli = {.tool = "rs-test"};
    rs_error e = {0};
    if (text != NULL) (void)!rs_fail(&e, status, "%s", text);
    _exit(rs_cli_exit(&cli, status, file, text != NULL ? &e : NULL));
}
static void end_ok(void) { end(RS_OK, "f", NULL); }
static void end_no(void) { end(RS_NO, "f", "differs"); }
static void end_sum(void) { end(RS_E_SUM, "f.rsq", "frame 3: chunk 7"); }
static void end_plain(void) { end(RS_E_READ, NULL, "text"); }
static void end_untold(void) { end(RS_E_TRUNC, "f", NULL); }
static void end_usage(void) { end(RS_USAGE, NULL, "unknown option --x"); }
static void end_usage_file(void) { end(RS_USAGE, "f", "is a directory"); }
static void end_hostile(void) { end(RS_E_READ, "a\nb\x1b[2J", "text"); }
static void end_full(void)
{
    dup2(open("/dev/full", O_WRONLY), 1);
    printf("result\n");
    end(RS_OK, NULL, NULL);
}
static void end_full_error(void)
{
    dup2(open("/dev/full", O_WRONLY), 1);
    printf("result\n");
    end(RS_E_SUM, "f", "first");
}

static void test_end(void)
{
    static const struct {
        void (*body)(void);
        int status;
        const char *out, *err;
    } cases[] = {
        {help, 0, "usage: rs-test [FILE]\n", ""},
        {help_letter, 0, "usage: rs-test [FILE]\n", ""},
        {version, 0, "rs-test " RS_VERSION "\n", ""},
        {help_full, 31, "", "rs-test: standard output: E_WRITE: No space left on device\n"},
        {end_ok, 0, "", ""},
        {end_no, 1, "", ""},
        {end_sum, 13, "", "rs-test: f.rsq: E_SUM: frame 3: chunk 7\n"},
        {end_plain, 30, "", "rs-test: E_READ: text\n"},
        {end_untold, 12, "", "rs-test: f: E_TRUNC: ends too early\n"},
        {end_usage, 2, "", "rs-test: unknown option --x\n"},
        {end_usage_file, 2, "", "rs-test: f: is a directory\n"},
        {end_hostile, 30, "", "rs-test: a\\x0ab\\x1b[2J: E_READ: text\n"},
        {end_full, 31, "", "rs-test: standard output: E_WRITE: No space left on device\n"},
        {end_full_error, 13, "", "rs-test: f: E_SUM: first\n"},
    };
    char out[1000], err[1000];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = run(cases[i].body, out, err, sizeof out);
        CHECKF(status == cases[i].status && strcmp(out, cases[i].out) == 0 && strcmp(err, cases[i].err) == 0, "case %zu: %d [%s] [%s]", i, status, out, err);
    }
}

// Descriptors 0 to 2 closed by the parent: no file takes their place, and using them is an error.
static void closed_in(void)
{
    close(0);
    rs_cli_start();
    rs_in *in;
    int fd = open("/dev/null", O_RDONLY);
    _exit(fd > 2 && rs_in_open(&in, "-", NULL) == RS_E_READ && rs_in_open(&in, path, NULL) == RS_OK ? 0 : 1);
}
static void closed_out(void)
{
    close(1);
    rs_cli_start();
    rs_out *o;
    rs_cli cli = {.tool = "rs-test"};
    int fd = open("/dev/null", O_RDONLY);
    if (fd <= 2 || rs_out_open(&o, "-", NULL, 0, NULL) != RS_E_WRITE) _exit(1);
    printf("lost");
    _exit(rs_cli_exit(&cli, RS_OK, NULL, NULL));
}
static void closed_out_unused(void)
{
    close(1);
    rs_cli_start();
    rs_cli cli = {.tool = "rs-test"};
    _exit(rs_cli_exit(&cli, RS_OK, NULL, NULL));
}
static void closed_all(void)
{
    for (int fd = 0; fd < 3; fd++) close(fd);
    rs_cli_start();
    end_sum();
}
static void other_locale(void)
{
    setenv("LC_ALL", "de_DE.UTF-8", 1);
    setlocale(LC_ALL, "");
    rs_cli_start();
    double r = 0;
    _exit(strcmp(setlocale(LC_ALL, NULL), "C") == 0 && rs_cli_real("x", "1.5", 0, 2, &r, NULL) == RS_OK && r == 1.5 ? 0 : 1);
}
static void guarded(void)
{
    rs_cli_start();
    struct sigaction a;
    if (sigaction(SIGTERM, NULL, &a) != 0 || a.sa_handler == SIG_DFL) _exit(1);
    _exit(sigaction(SIGPIPE, NULL, &a) == 0 && a.sa_handler == SIG_DFL ? 0 : 1);
}

static void test_start(void)
{
    char out[1000], err[1000];
    CHECK(run(closed_in, out, err, sizeof out) == 0);
    CHECK(run(closed_out, out, err, sizeof out) == 31 && strncmp(err, "rs-test: standard output: E_WRITE: ", 35) == 0);
    CHECK(run(closed_out_unused, out, err, sizeof out) == 0 && err[0] == 0);
    CHECK(run(closed_all, out, err, sizeof out) == 13);
    CHECK(run(other_locale, out, err, sizeof out) == 0);
    CHECK(run(guarded, out, err, sizeof out) == 0);
}

// ---- progress

static bool quiet, failing;

static void work(void)
{
    rs_cli cli = {.tool = "rs-test", .quiet = quiet};
    rs_progress p;
    setenv("TERM", "xterm", 1);
    rs_progress_start(&p, &cli, "learning", "tok", 1000);
    for (int i = 0; i <= 20; i++) {
        rs_progress_at(&p, i * 50);
        usleep(15000);
    }
    if (failing) end_sum(); // without an end of the line before it
    rs_progress_end(&p);
    _exit(0);
}

static void test_progress(void)
{
    char out[1000], err[4000];
    CHECK(run(work, out, err, sizeof out) == 0 && err[0] == 0); // a pipe: silence
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        SKIP("no pseudo terminal here");
        return;
    }
    for (int round = 0; round < 3; round++) {
        int tty = open(ptsname(master), O_RDWR | O_NOCTTY);
        struct termios t;
        tcgetattr(tty, &t);
        cfmakeraw(&t);
        tcsetattr(tty, TCSANOW, &t);
        quiet = round == 1;
        failing = round == 2;
        struct timespec from, to;
        clock_gettime(CLOCK_MONOTONIC, &from);
        pid_t child = fork();
        if (child == 0) {
            dup2(tty, 2);
            work();
        }
        int status;
        waitpid(child, &status, 0);
        clock_gettime(CLOCK_MONOTONIC, &to);
        // What was written reaches the other side a little later: read until nothing has come for a while.
        size_t got = 0;
        while (got < sizeof err - 1 && poll(&(struct pollfd){.fd = master, .events = POLLIN}, 1, 300) > 0) {
            ssize_t n = read(master, err + got, sizeof err - 1 - got);
            if (n <= 0) break;
            got += (size_t)n;
        }
        err[got] = 0;
        close(tty);
        int drawn = 0;
        for (const char *s = err; (s = strstr(s, "\rrs-test: learning ")) != NULL; s++) drawn++;
        static const char clear[] = "\r\033[K", message[] = "\r\033[Krs-test: f.rsq: E_SUM: frame 3: chunk 7\n";
        size_t len = strlen(err);
        if (quiet) {
            CHECK(err[0] == 0);
            continue;
        }
        double seconds = difftime(to.tv_sec, from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
        CHECKF(drawn >= 2 && drawn <= 10 * seconds + 1, "%d times in %.2f s", drawn, seconds); // at least 0.3 s; at most ten times a second
        CHECK(strstr(err, " %") != NULL && strstr(err, "tok/s ETA 0:") != NULL && strchr(err, '\n') == (failing ? err + len - 1 : NULL));
        const char *last = failing ? message : clear;
        CHECKF(len > strlen(last) && strcmp(err + len - strlen(last), last) == 0, "%s", err);
    }
    close(master);
}

int main(void)
{
    test_options();
    test_wrong_options();
    test_sizes();
    test_numbers();
    test_slurp();
    test_end();
    test_start();
    test_progress();
    unlink(path);
    return check_report();
}
