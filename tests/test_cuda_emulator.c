// SPDX-License-Identifier: Apache-2.0
// The emulated device sees faults: each faulty kernel ends a child process with a message, or leaves a result that shows it.
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/memory.h"
#include "kernels/cuda/runtime.h"
#include "tests/check.h"
#include "tests/cuda/emulate.h"
#include "tests/cuda/faults.h"

enum { N = 64, FAULT = 70 };

// Exit status of a child that launches the kernel; text: what it wrote.
static int child(int which, char *text, size_t room)
{
    int pipes[2], status = 0;
    if (pipe(pipes) != 0)
        exit(1);
    const pid_t pid = fork();
    if (pid == 0) {
        dup2(pipes[1], 2);
        float *x = rs_cuda_memory.alloc(N * sizeof *x);
        for (int i = 0; i < N; i++)
            x[i] = 1;
        rs_trial_fault(which, x);
        _exit(0);
    }
    close(pipes[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(pipes[0], text + n, room - 1 - n)) > 0;)
        n += (size_t)got;
    text[n] = 0;
    close(pipes[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        exit(1);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void faults(void)
{
    static const struct {
        int which;
        const char *text;
    } all[] = {{RS_FAULT_SKIP, "24 of 64 threads ended where others wait at a barrier"}, {RS_FAULT_APART, "at different barriers"}, {RS_FAULT_WARP, "31 of the 32 threads from 0 on"}, {RS_FAULT_MASK, "a part of a warp"},
             {RS_FAULT_COPY, "ended before 1 of its copies were there"}, {RS_FAULT_MEMORY, "1 blocks of 64 threads with 51200 bytes"}};
    char text[4096];
    CHECK(child(RS_FAULT_NONE, text, sizeof text) == 0 && text[0] == 0);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const int status = child(all[i].which, text, sizeof text);
        CHECKF(status == FAULT && strstr(text, all[i].text) != NULL, "kernel %d: status %d, %s", all[i].which, status, text);
    }
#if defined(__SANITIZE_ADDRESS__)
    for (int which = RS_FAULT_SHARED; which <= RS_FAULT_GLOBAL; which++)
        CHECKF(child(which, text, 512) != 0 && strstr(text, "heap-buffer-overflow") != NULL, "kernel %d: %s", which, text);
#endif
}

// Whatever the order, some thread reads before another has written.
static void race(void)
{
    float *x = rs_cuda_memory.alloc(N * sizeof *x);
    for (int order = 0; order < 3; order++) {
        size_t wrong = 0, right = 0;
        rs_trial_order(order);
        rs_trial_fault(RS_FAULT_RACE, x);
        for (int i = 0; i < N; i++)
            wrong += !(x[i] == (float)(N - 1 - i));
        rs_trial_fault(RS_FAULT_NONE, x);
        for (int i = 0; i < N; i++)
            right += x[i] == (float)(N - 1 - i);
        CHECKF(wrong > 0 && right == N, "order %d: %zu values show the race, %zu are right without", order, wrong, right);
    }
    rs_trial_order(0);
    rs_cuda_memory.release(x);
}

// Copies into the memory of a block are there when they have been waited for, and not before.
static void copies(void)
{
    float *x = rs_cuda_memory.alloc(N * sizeof *x);
    for (int early = 0; early < 2; early++) {
        size_t right = 0;
        for (int i = 0; i < N; i++)
            x[i] = (float)i;
        rs_trial_fault(early ? RS_FAULT_EARLY : RS_FAULT_WAITED, x);
        for (int i = 0; i < N; i++)
            right += x[i] == (i < N / 2 ? (float)i : 0) + 1;
        CHECKF(early ? right < N : right == N, "%s: %zu values are right", early ? "early" : "waited for", right);
    }
    rs_cuda_memory.release(x);
}

int main(void)
{
    CHECK(rs_trial_emulated());
    faults();
    race();
    copies();
    return check_report();
}
