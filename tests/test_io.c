// SPDX-License-Identifier: Apache-2.0
// Byte streams: every size of read and write over files, pipes and memory; atomic outputs; what a signal, a full disk or a closed pipe leaves behind.
#include "formats/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/check.h"

#define N 300000
static uint8_t data[N], back[N + 1000];
static char dir[] = "/tmp/rs-test-io.XXXXXX";

static const char *at(const char *name)
{
    static char path[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    if (!CHECK(f != NULL)) exit(1);
    fputs(text, f);
    fclose(f);
}

static bool holds(const char *path, const char *text)
{
    char got[256] = {0};
    FILE *f = fopen(path, "r");
    if (f == NULL) return false;
    size_t n = fread(got, 1, sizeof got - 1, f);
    fclose(f);
    return n == strlen(text) && memcmp(got, text, n) == 0;
}

// Names in the test folder that look like temporaries of ours.
static int temporaries(void)
{
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *f; d != NULL && (f = readdir(d)) != NULL;) n += strstr(f->d_name, ".rsq.") != NULL;
    if (d != NULL) closedir(d);
    return n;
}

static void write_file(const char *path)
{
    rs_out *o;
    rs_error e = {0};
    if (!CHECKF(rs_out_open(&o, path, NULL, 0, &e) == RS_OK, "%s", e.text)) return;
    CHECK(rs_out_write(o, data, N, &e) == RS_OK && rs_out_offset(o) == N && rs_out_commit(o, &e) == RS_OK);
    rs_out_close(o);
}

// ---- reading

// Reads in all to the end in pieces of n and compares with data.
static void read_pieces(rs_in *in, size_t n)
{
    size_t total = 0, got = 0;
    bool ok = true;
    memset(back, 0, sizeof back);
    do {
        if (total + n > sizeof back) n = sizeof back - total;
        ok = ok && rs_in_read(in, back + total, n, &got, NULL) == RS_OK;
        total += got;
        ok = ok && rs_in_offset(in) == total;
    } while (ok && got == n);
    CHECKF(ok && total == N && memcmp(back, data, N) == 0, "pieces of %zu: %zu bytes", n, total);
    CHECK(rs_in_read(in, back, 1, &got, NULL) == RS_OK && got == 0);
}

static void test_read(void)
{
    static const size_t pieces[] = {1, 7, 4096, 65535, 65536, 65537, 200000, N, N + 50};
    write_file(at("data"));
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        for (size_t chunk = 0; chunk < 3; chunk++) {
            rs_in *in;
            if (chunk == 1 && pieces[i] != 4096 && pieces[i] != N) continue; // one byte per call is slow
            CHECK(rs_in_open(&in, at("data"), NULL) == RS_OK && rs_in_seekable(in));
            rs_in_set_chunk(in, (size_t[]){0, 1, 1000}[chunk]);
            read_pieces(in, pieces[i]);
            rs_in_close(in);
        }
        rs_in *in;
        CHECK(rs_in_memory(&in, data, N, NULL) == RS_OK && rs_in_seekable(in) && rs_in_fd(in) == -1);
        read_pieces(in, pieces[i]);
        rs_in_close(in);
    }
    rs_in *in;
    size_t got;
    CHECK(rs_in_memory(&in, NULL, 0, NULL) == RS_OK && rs_in_read(in, back, 9, &got, NULL) == RS_OK && got == 0);
    CHECK(rs_in_read(in, NULL, 0, &got, NULL) == RS_OK && got == 0);
    rs_in_close(in);
    rs_in_close(NULL);
}

static void test_pread(void)
{
    for (int memory = 0; memory < 2; memory++) {
        rs_in *in;
        size_t got;
        uint64_t size;
        CHECK((memory ? rs_in_memory(&in, data, N, NULL) : rs_in_open(&in, at("data"), NULL)) == RS_OK);
        CHECK(rs_in_size(in, &size, NULL) == RS_OK && size == N);
        CHECK(rs_in_read(in, back, 10, &got, NULL) == RS_OK && got == 10);
        CHECK(rs_in_pread(in, back, 1000, N - 1000, NULL) == RS_OK && memcmp(back, data + N - 1000, 1000) == 0);
        CHECK(rs_in_pread(in, back, 0, N, NULL) == RS_OK);
        CHECK(rs_in_offset(in) == 10 && rs_in_read(in, back, 10, &got, NULL) == RS_OK && memcmp(back, data + 10, 10) == 0);
        CHECK(rs_in_pread(in, back, 1000, N - 999, NULL) == RS_E_TRUNC && rs_in_pread(in, back, 1, N, NULL) == RS_E_TRUNC);
        CHECK(rs_in_pread(in, back, 10, UINT64_MAX - 3, NULL) == RS_E_TRUNC && rs_in_pread(in, back, 1, INT64_MAX, NULL) == RS_E_TRUNC);
        rs_in_set_chunk(in, 1);
        CHECK(rs_in_pread(in, back, 100, 5, NULL) == RS_OK && memcmp(back, data + 5, 100) == 0);
        rs_in_close(in);
    }
}

static void test_read_errors(void)
{
    rs_in *in;
    rs_error e = {0};
    size_t got;
    uint64_t size;
    CHECK(rs_in_open(&in, at("none"), &e) == RS_E_READ && in == NULL && strstr(e.text, "No such file") != NULL);
    CHECK(rs_in_open(&in, dir, NULL) == RS_USAGE && in == NULL);
    int p[2];
    CHECK(pipe(p) == 0);
    char path[64];
    snprintf(path, sizeof path, "/dev/fd/%d", p[0]);
    CHECK(rs_in_open(&in, path, NULL) == RS_OK && !rs_in_seekable(in) && rs_in_size(in, &size, NULL) == RS_E_READ && rs_in_pread(in, back, 1, 0, NULL) == RS_E_READ);
    CHECK(write(p[1], "ab", 2) == 2 && close(p[1]) == 0);
    CHECK(rs_in_read(in, back, 5, &got, NULL) == RS_OK && got == 2);
    rs_in_close(in);
    close(p[0]);
    // A file that loses its end while it is read ends early; one whose bytes cannot be read is an error.
    write_file(at("shrinks"));
    CHECK(rs_in_open(&in, at("shrinks"), NULL) == RS_OK && rs_in_read(in, back, 100000, &got, NULL) == RS_OK && got == 100000 && truncate(at("shrinks"), 150000) == 0);
    CHECK(rs_in_read(in, back, N, &got, NULL) == RS_OK && got == 50000);
    CHECK(rs_in_pread(in, back, 10, 149995, NULL) == RS_E_TRUNC);
    rs_in_close(in);
    rs_error bad = {0};
    CHECK(rs_in_open(&in, "/proc/self/mem", NULL) == RS_OK && rs_in_read(in, back, 100000, &got, &bad) == RS_E_READ && strstr(bad.text, "offset 0: ") != NULL);
    rs_in_close(in);
}

// Writes data into the pipe in uneven pieces with pauses; its thread is shot with signals meanwhile.
static void *feed(void *arg)
{
    int fd = *(int *)arg;
    for (size_t done = 0, n = 1; done < N; done += n, n = n * 2 % 30011 + 1) {
        if (n > N - done) n = N - done;
        usleep(500); // long enough for the reader to block and be interrupted
        if (write(fd, data + done, n) != (ssize_t)n) break;
    }
    close(fd);
    return NULL;
}

static void nothing(int sig)
{
    (void)sig;
}

struct shooter {
    pthread_t target;
    volatile bool stop;
};

static void *shoot(void *arg)
{
    struct shooter *s = arg;
    while (!s->stop) {
        pthread_kill(s->target, SIGUSR1);
        usleep(200);
    }
    return NULL;
}

// A slow reader behind a small pipe: writes come out short, block, and are interrupted.
static void write_slowly(bool nonblock)
{
    int p[2], status = -1;
    char path[64];
    rs_out *o;
    CHECK(pipe(p) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(p[1]);
        size_t total = 0;
        for (ssize_t r; (r = read(p[0], back + total, total % 977 + 1)) != 0; total += r > 0 ? (size_t)r : 0) {
            if (r < 0 || total > N) _exit(2);
            usleep(300);
        }
        _exit(total == N && memcmp(back, data, N) == 0 ? 0 : 1);
    }
    close(p[0]);
    snprintf(path, sizeof path, "/dev/fd/%d", p[1]);
    if (nonblock) fcntl(p[1], F_SETFL, O_NONBLOCK);
    rs_error e = {0};
    if (CHECK(rs_out_open(&o, path, NULL, 0, &e) == RS_OK)) {
        bool ok = true;
        fcntl(p[1], F_SETPIPE_SZ, 4096);
        close(p[1]);
        for (size_t done = 0, n = 1; done < N; done += n, n = n * 3 % 100003 + 1) {
            if (n > N - done) n = N - done;
            ok = ok && rs_out_write(o, data + done, n, &e) == RS_OK;
        }
        CHECKF(ok && rs_out_commit(o, &e) == RS_OK, "%s", e.text);
        rs_out_close(o);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    CHECK(status == 0);
}

// Signals without SA_RESTART interrupt both sides of a pipe, blocking or not: the bytes must not care.
static void test_interrupted(void)
{
    struct sigaction act = {.sa_handler = nothing}, old;
    sigaction(SIGUSR1, &act, &old);
    int p[2];
    pthread_t feeder, gun;
    struct shooter s = {.target = pthread_self()};
    rs_in *in;
    char path[64];
    CHECK(pthread_create(&gun, NULL, shoot, &s) == 0);
    for (int nonblock = 0; nonblock < 2; nonblock++) {
        CHECK(pipe(p) == 0);
        snprintf(path, sizeof path, "/dev/fd/%d", p[0]);
        CHECK(rs_in_open(&in, path, NULL) == RS_OK);
        close(p[0]);
        if (nonblock) fcntl(rs_in_fd(in), F_SETFL, O_NONBLOCK);
        CHECK(pthread_create(&feeder, NULL, feed, &p[1]) == 0);
        read_pieces(in, nonblock ? 5000 : 100000);
        pthread_join(feeder, NULL);
        rs_in_close(in);
        write_slowly(nonblock);
    }
    s.stop = true;
    pthread_join(gun, NULL);
    sigaction(SIGUSR1, &old, NULL);
}

// ---- writing

static void test_memory_out(void)
{
    rs_out *o;
    size_t len;
    CHECK(rs_out_memory(&o, NULL) == RS_OK && rs_out_bytes(o, &len) != NULL && len == 0);
    for (size_t done = 0, n = 1; done < N; done += n, n = n * 2 % 70001 + 1) {
        if (n > N - done) n = N - done;
        CHECK(rs_out_write(o, data + done, n, NULL) == RS_OK);
    }
    CHECK(rs_out_write(o, NULL, 0, NULL) == RS_OK && rs_out_offset(o) == N && rs_out_commit(o, NULL) == RS_OK);
    const uint8_t *p = rs_out_bytes(o, &len);
    CHECK(len == N && memcmp(p, data, N) == 0);
    CHECK(rs_out_write(o, data, 1, NULL) == RS_E_WRITE && rs_out_commit(o, NULL) == RS_E_WRITE); // final is final
    rs_out_close(o);
    rs_out_close(NULL);
}

static void test_pieces_out(void)
{
    static const size_t pieces[] = {1, 4095, 65535, 65536, 65537, N};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        rs_out *o;
        CHECK(rs_out_open(&o, at("pieces"), NULL, 0, NULL) == RS_OK);
        for (size_t done = 0; done < N; done += pieces[i]) {
            size_t n = pieces[i] < N - done ? pieces[i] : N - done;
            if (rs_out_write(o, data + done, n, NULL) != RS_OK) CHECK(false);
        }
        CHECK(rs_out_bytes(o, &(size_t){0}) == NULL && rs_out_commit(o, NULL) == RS_OK);
        rs_out_close(o);
        rs_in *in;
        CHECK(rs_in_open(&in, at("pieces"), NULL) == RS_OK);
        read_pieces(in, N);
        rs_in_close(in);
    }
}

static void test_atomic(void)
{
    rs_out *o;
    const char *path = at("old");
    put(path, "old");
    CHECK(rs_out_open(&o, path, NULL, 0, NULL) == RS_OK && rs_out_write(o, data, N, NULL) == RS_OK);
    CHECK(holds(path, "old") && temporaries() == 1);
    rs_out_close(o); // no commit
    CHECK(holds(path, "old") && temporaries() == 0);
    CHECK(rs_out_open(&o, path, NULL, 0, NULL) == RS_OK && rs_out_write(o, "new", 3, NULL) == RS_OK && holds(path, "old") && rs_out_commit(o, NULL) == RS_OK && holds(path, "new"));
    rs_out_close(o);
    CHECK(holds(path, "new") && temporaries() == 0);
    // Two stages with one output: both whole, the last one stays.
    rs_out *a = NULL, *b = NULL;
    CHECK(rs_out_open(&a, path, NULL, 0, NULL) == RS_OK && rs_out_open(&b, path, NULL, 0, NULL) == RS_OK && temporaries() == 2);
    CHECK(rs_out_write(a, "AAAA", 4, NULL) == RS_OK && rs_out_write(b, "BB", 2, NULL) == RS_OK && rs_out_commit(a, NULL) == RS_OK && holds(path, "AAAA"));
    CHECK(rs_out_commit(b, NULL) == RS_OK && holds(path, "BB"));
    rs_out_close(a);
    rs_out_close(b);
    CHECK(temporaries() == 0);
    // Without a folder in the name.
    char here[512];
    CHECK(getcwd(here, sizeof here) != NULL && chdir(dir) == 0);
    CHECK(rs_out_open(&o, "plain", NULL, 0, NULL) == RS_OK && rs_out_write(o, "x", 1, NULL) == RS_OK && rs_out_commit(o, NULL) == RS_OK && holds("plain", "x"));
    rs_out_close(o);
    CHECK(chdir(here) == 0);
}

static void test_umask(void)
{
    static const mode_t masks[] = {0, 022, 027, 077};
    for (size_t i = 0; i < 4; i++) {
        struct stat st;
        rs_out *o;
        mode_t old = umask(masks[i]);
        CHECK(rs_out_open(&o, at("mode"), NULL, 0, NULL) == RS_OK && rs_out_commit(o, NULL) == RS_OK);
        rs_out_close(o);
        umask(old);
        CHECKF(stat(at("mode"), &st) == 0 && (st.st_mode & 0777) == (0666u & ~masks[i]), "umask %03o gives %03o", (unsigned)masks[i], (unsigned)st.st_mode & 0777u);
    }
}

static void test_links(void)
{
    rs_out *o;
    struct stat st;
    put(at("target"), "old");
    CHECK(symlink("target", at("link")) == 0 && symlink(at("link"), at("link2")) == 0 && symlink("fresh", at("dangling")) == 0 && symlink("loop", at("loop")) == 0);
    CHECK(rs_out_open(&o, at("link2"), NULL, 0, NULL) == RS_OK && rs_out_write(o, "new", 3, NULL) == RS_OK && rs_out_commit(o, NULL) == RS_OK);
    rs_out_close(o);
    CHECK(holds(at("target"), "new") && lstat(at("link2"), &st) == 0 && S_ISLNK(st.st_mode) && lstat(at("link"), &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(rs_out_open(&o, at("dangling"), NULL, 0, NULL) == RS_OK && rs_out_write(o, "hi", 2, NULL) == RS_OK && rs_out_commit(o, NULL) == RS_OK);
    rs_out_close(o);
    CHECK(holds(at("fresh"), "hi") && lstat(at("dangling"), &st) == 0 && S_ISLNK(st.st_mode));
    CHECK(rs_out_open(&o, at("loop"), NULL, 0, NULL) == RS_E_WRITE && o == NULL);
}

static void test_same_file(void)
{
    rs_in *in[3] = {NULL};
    rs_out *o;
    rs_error e = {0};
    put(at("same"), "content");
    put(at("other"), "content");
    CHECK(link(at("same"), at("hard")) == 0 && symlink("same", at("soft")) == 0);
    CHECK(rs_in_open(&in[0], at("other"), NULL) == RS_OK && rs_in_open(&in[2], at("same"), NULL) == RS_OK); // in[1] stays NULL
    CHECK(rs_out_open(&o, at("same"), in, 3, &e) == RS_USAGE && o == NULL && strstr(e.text, "same") != NULL);
    CHECK(rs_out_open(&o, at("hard"), in, 3, NULL) == RS_USAGE && rs_out_open(&o, at("soft"), in, 3, NULL) == RS_USAGE);
    char path[600];
    snprintf(path, sizeof path, "%s/./same", dir);
    CHECK(rs_out_open(&o, path, in, 3, NULL) == RS_USAGE && rs_out_open(&o, at("other"), in, 3, NULL) == RS_USAGE);
    CHECK(holds(at("same"), "content") && temporaries() == 0);
    // Appending a shell's standard output to the input is the same fault.
    int fd = open(at("same"), O_WRONLY | O_APPEND);
    snprintf(path, sizeof path, "/dev/fd/%d", fd);
    CHECK(rs_out_open(&o, path, in, 3, NULL) == RS_USAGE);
    close(fd);
    for (int i = 0; i < 3; i++) rs_in_close(in[i]);
    CHECK(rs_in_open(&in[0], "/dev/null", NULL) == RS_OK && rs_out_open(&o, "/dev/null", in, 1, NULL) == RS_OK && rs_out_write(o, data, N, NULL) == RS_OK && rs_out_commit(o, NULL) == RS_OK);
    rs_out_close(o);
    rs_in_close(in[0]);
    struct stat st;
    CHECK(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode)); // not renamed over
}

static void test_write_errors(void)
{
    rs_out *o;
    rs_error e = {0};
    CHECK(rs_out_open(&o, dir, NULL, 0, &e) == RS_E_WRITE && o == NULL && strstr(e.text, "directory") != NULL);
    CHECK(rs_out_open(&o, at("none/file"), NULL, 0, NULL) == RS_E_WRITE && rs_out_open(&o, at("target/file"), NULL, 0, NULL) == RS_E_WRITE);
    CHECK(rs_out_open(&o, at("new/"), NULL, 0, NULL) == RS_E_WRITE && rs_out_open(&o, "", NULL, 0, NULL) == RS_E_WRITE);
    char name[400], path[600];
    memset(name, 'n', sizeof name);
    for (int n = 255; n <= 256; n++) {
        name[n] = 0;
        snprintf(path, sizeof path, "%s/%s", dir, name);
        CHECK(rs_out_open(&o, path, NULL, 0, NULL) == (n == 255 ? RS_OK : RS_E_WRITE));
        if (o != NULL) CHECK(rs_out_commit(o, NULL) == RS_OK && access(path, R_OK) == 0);
        rs_out_close(o);
        name[n] = 'n';
    }
    // No space: at once for large writes, at the latest when it is made final.
    rs_error full = {0};
    CHECK(rs_out_open(&o, "/dev/full", NULL, 0, NULL) == RS_OK && rs_out_write(o, "x", 1, NULL) == RS_OK && rs_out_commit(o, &full) == RS_E_WRITE);
    CHECK(strstr(full.text, "No space") != NULL && rs_out_write(o, "x", 1, NULL) == RS_E_WRITE && rs_out_commit(o, NULL) == RS_E_WRITE);
    rs_out_close(o);
    CHECK(rs_out_open(&o, "/dev/full", NULL, 0, NULL) == RS_OK && rs_out_write(o, data, N, NULL) == RS_E_WRITE && rs_out_write(o, data, N, NULL) == RS_E_WRITE);
    rs_out_close(o);
    // The file grows beyond what the system allows: the old one is whole, the temporary gone.
    put(at("limited"), "old");
    struct rlimit old, small = {100000, 100000};
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    CHECK(rs_out_open(&o, at("limited"), NULL, 0, NULL) == RS_OK && rs_out_write(o, data, N, NULL) == RS_E_WRITE && rs_out_commit(o, NULL) == RS_E_WRITE);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    rs_out_close(o);
    CHECK(holds(at("limited"), "old") && temporaries() == 0);
    // The place is taken by a folder meanwhile: rename fails.
    CHECK(rs_out_open(&o, at("taken"), NULL, 0, NULL) == RS_OK && rs_out_write(o, "x", 1, NULL) == RS_OK && mkdir(at("taken"), 0777) == 0);
    CHECK(rs_out_commit(o, NULL) == RS_E_WRITE);
    rs_out_close(o);
    CHECK(temporaries() == 0);
    // Broken pipe with SIGPIPE ignored; by default it ends the process (tested with the signals).
    int p[2];
    CHECK(pipe(p) == 0);
    snprintf(path, sizeof path, "/dev/fd/%d", p[1]);
    CHECK(rs_out_open(&o, path, NULL, 0, NULL) == RS_OK);
    close(p[0]);
    close(p[1]);
    signal(SIGPIPE, SIG_IGN);
    rs_error broken = {0};
    CHECK(rs_out_write(o, data, N, &broken) == RS_E_WRITE && strstr(broken.text, "Broken pipe") != NULL);
    rs_out_close(o);
    signal(SIGPIPE, SIG_DFL);
    if (geteuid() != 0) {
        put(at("readonly"), "old");
        CHECK(chmod(at("readonly"), 0444) == 0 && rs_out_open(&o, at("readonly"), NULL, 0, NULL) == RS_E_WRITE && o == NULL);
    }
}

// A FIFO is written in place; what was written before a failure arrives.
static void test_fifo(void)
{
    for (int commit = 0; commit < 2; commit++) {
        unlink(at("fifo"));
        CHECK(mkfifo(at("fifo"), 0666) == 0);
        pid_t child = fork();
        if (child == 0) {
            rs_out *o;
            if (rs_out_open(&o, at("fifo"), NULL, 0, NULL) != RS_OK || rs_out_write(o, "abc", 3, NULL) != RS_OK) _exit(1);
            if (commit && rs_out_commit(o, NULL) != RS_OK) _exit(1);
            rs_out_close(o);
            _exit(0);
        }
        rs_in *in;
        size_t got;
        int status;
        CHECK(rs_in_open(&in, at("fifo"), NULL) == RS_OK && !rs_in_seekable(in) && rs_in_read(in, back, 10, &got, NULL) == RS_OK && got == 3 && memcmp(back, "abc", 3) == 0);
        rs_in_close(in);
        struct stat st;
        CHECK(waitpid(child, &status, 0) == child && status == 0 && stat(at("fifo"), &st) == 0 && S_ISFIFO(st.st_mode));
    }
}

// Runs body in a child whose standard input and output may be replaced; returns its wait status.
static int in_child(void (*body)(void), int fd0, int fd1)
{
    pid_t child = fork();
    if (child == 0) {
        if (fd0 >= 0) dup2(fd0, 0);
        if (fd1 >= 0) dup2(fd1, 1);
        body();
        _exit(99);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return status;
}

static void standard_streams(void)
{
    rs_in *in;
    rs_out *o;
    size_t got;
    if (rs_in_open(&in, "-", NULL) != RS_OK || strcmp(rs_in_name(in), "standard input") != 0) _exit(1);
    if (rs_out_open(&o, NULL, &in, 1, NULL) != RS_OK || strcmp(rs_out_name(o), "standard output") != 0) _exit(2);
    if (rs_in_read(in, back, sizeof back, &got, NULL) != RS_OK || rs_out_write(o, back, got, NULL) != RS_OK || rs_out_commit(o, NULL) != RS_OK) _exit(3);
    rs_out_close(o);
    rs_in_close(in);
    // Both descriptors are still those of the process.
    _exit(fcntl(0, F_GETFD) >= 0 && fcntl(1, F_GETFD) >= 0 ? 0 : 4);
}

static void named_stdout(void)
{
    rs_out *o;
    if (rs_out_open(&o, "/dev/stdout", NULL, 0, NULL) != RS_OK || rs_out_write(o, "+", 1, NULL) != RS_OK || rs_out_commit(o, NULL) != RS_OK) _exit(1);
    rs_out_close(o);
    _exit(0);
}

static void input_not_seekable(void)
{
    rs_in *in;
    size_t got;
    if (rs_in_open(&in, NULL, NULL) != RS_OK) _exit(1);
    if (rs_in_seekable(in) || rs_in_read(in, back, sizeof back, &got, NULL) != RS_OK || got != N - 100 || memcmp(back, data + 100, got) != 0) _exit(2);
    _exit(0);
}

static void same_standard_streams(void)
{
    rs_in *in;
    rs_out *o;
    _exit(rs_in_open(&in, "-", NULL) == RS_OK && rs_out_open(&o, "-", &in, 1, NULL) == RS_USAGE ? 0 : 1);
}

static void terminal(void)
{
    rs_out *o;
    _exit(rs_out_open(&o, "-", NULL, 0, NULL) == RS_USAGE && rs_out_open(&o, "/dev/stdout", NULL, 0, NULL) == RS_USAGE ? 0 : 1);
}

static void test_standard(void)
{
    int r = open(at("data"), O_RDONLY), w = open(at("copy"), O_RDWR | O_CREAT | O_TRUNC, 0666);
    CHECK(in_child(standard_streams, r, w) == 0);
    CHECK(lseek(w, 0, SEEK_END) == N && in_child(named_stdout, -1, w) == 0 && lseek(w, 0, SEEK_END) == N + 1); // behind what is there, not over it
    CHECK(lseek(r, 100, SEEK_SET) == 100 && in_child(input_not_seekable, r, -1) == 0);
    CHECK(in_child(same_standard_streams, w, w) == 0);
    close(r);
    close(w);
    int master = posix_openpt(O_RDWR | O_NOCTTY), tty = -1;
    if (master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0) tty = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (tty >= 0) CHECK(in_child(terminal, -1, tty) == 0);
    else SKIP("no pseudo terminal here");
    close(tty);
    close(master);
}

// ---- signals

static int ready[2];

static void killed(void)
{
    rs_out *a, *b, *c;
    rs_out_guard_signals();
    if (rs_out_open(&a, at("killed"), NULL, 0, NULL) != RS_OK || rs_out_open(&b, at("killed2"), NULL, 0, NULL) != RS_OK || rs_out_open(&c, at("done"), NULL, 0, NULL) != RS_OK) _exit(1);
    if (rs_out_write(a, data, N, NULL) != RS_OK || rs_out_commit(c, NULL) != RS_OK) _exit(2);
    rs_out_close(c);
    if (write(ready[1], "r", 1) != 1) _exit(3);
    for (;;) pause();
}

static void ignoring(void)
{
    signal(SIGHUP, SIG_IGN); // as nohup does
    rs_out_guard_signals();
    raise(SIGHUP);
    _exit(0);
}

static void piped(void)
{
    rs_out *o;
    rs_out_guard_signals();
    if (rs_out_open(&o, "-", NULL, 0, NULL) != RS_OK) _exit(1);
    for (;;)
        if (rs_out_write(o, data, N, NULL) != RS_OK) _exit(2);
}

static void test_signals(void)
{
    static const int sigs[] = {SIGINT, SIGTERM, SIGHUP};
    for (int i = 0; i < 3; i++) {
        char c;
        int status = 0;
        put(at("killed"), "old");
        CHECK(pipe(ready) == 0);
        pid_t child = fork();
        if (child == 0) killed();
        CHECK(read(ready[0], &c, 1) == 1 && temporaries() == 2);
        kill(child, sigs[i]);
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == sigs[i]);
        CHECKF(temporaries() == 0, "signal %d leaves %d temporaries", sigs[i], temporaries());
        CHECK(holds(at("killed"), "old") && access(at("killed2"), F_OK) != 0 && access(at("done"), F_OK) == 0);
        close(ready[0]);
        close(ready[1]);
    }
    CHECK(in_child(ignoring, -1, -1) == 0);
    int p[2];
    CHECK(pipe(p) == 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(p[1], 1);
        close(p[0]);
        close(p[1]);
        piped();
    }
    int status;
    char c;
    close(p[1]);
    CHECK(read(p[0], &c, 1) == 1);
    close(p[0]);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}

int main(void)
{
    for (size_t i = 0; i < 3; i++) signal((int[]){SIGINT, SIGTERM, SIGHUP}[i], SIG_DFL); // a shell that runs us in the background has SIGINT ignored
    uint32_t x = 1;
    for (size_t i = 0; i < N; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (uint8_t)(x >> 24);
    }
    if (mkdtemp(dir) == NULL) return 1;
    test_read();
    test_pread();
    test_read_errors();
    test_interrupted();
    test_memory_out();
    test_pieces_out();
    test_atomic();
    test_umask();
    test_links();
    test_same_file();
    test_write_errors();
    test_fifo();
    test_standard();
    test_signals();
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    CHECK(system(command) == 0);
    return check_report();
}
