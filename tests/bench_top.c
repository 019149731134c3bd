// SPDX-License-Identifier: Apache-2.0
// What rs-top states of itself: ms to the first picture, ms from a key to the next picture on every screen, and resident memory once the whole file was checked. Argument: FILE.rsq
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "inspect/screen.h"
#include "inspect/top.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

// Draws into a buffer as the terminal's loop does; false without memory.
static bool draw(rs_top *t)
{
    rs_cells c;
    rs_error e = {0};
    rs_top_need(t);
    if (rs_cells_init(&c, 132, 43, false, &e) != RS_OK) return false;
    rs_screen_render(rs_top_view(t), &c);
    rs_cells_free(&c);
    return true;
}

int main(int argc, char **argv)
{
    static const char keys[] = "jjjjGgssssIImmmm1\njjjjjjjjsss\0333jjjj}}}4jjt\033t5jj1/down\n\nLb";
    rs_top *t = NULL;
    rs_error e = {0};
    double start = now(), worst = 0;
    if (argc != 2 || rs_top_open(&t, &(rs_top_options){.file = {argv[1]}, .steps = {-1, -1}, .threads = true}, 132, 43, &e) != RS_OK || !draw(t)) {
        fprintf(stderr, "bench_top: %s\n", e.text);
        return 1;
    }
    const double first = now() - start;
    bool busy = true;
    for (int round = 0; round < 5; round++)
        for (const char *k = keys; *k != 0; k++) {
            start = now();
            (void)rs_top_poll(t, &busy);
            const rs_action a = rs_view_key(rs_top_view(t), *k);
            if (a != RS_DO_NOTHING || !draw(t)) return 1;
            if (now() - start > worst) worst = now() - start;
        }
    while (busy) {
        const struct timespec wait = {.tv_nsec = 10000000};
        nanosleep(&wait, NULL);
        (void)rs_top_poll(t, &busy);
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%.1f %.2f %ld\n", first, worst, usage.ru_maxrss / 1024);
    const rs_status s = rs_top_fault(t, &e);
    rs_top_close(t);
    return s;
}
