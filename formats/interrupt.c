// SPDX-License-Identifier: Apache-2.0
// Signals that are noted.
#include "formats/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t interrupted;
static struct sigaction before[2];

static void on_signal(int number)
{
    interrupted = number;
    sigaction(number, &before[number == SIGTERM], NULL);
}

static void catch_signal(int number)
{
    struct sigaction *old = &before[number == SIGTERM], new = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    if (sigaction(number, NULL, old) == 0 && old->sa_handler != SIG_IGN) sigaction(number, &new, NULL);
}

void rs_interrupt_catch(void)
{
    catch_signal(SIGINT);
    catch_signal(SIGTERM);
}

int rs_interrupt_number(void)
{
    return interrupted;
}

bool rs_interrupt_stop(void *context)
{
    (void)context;
    return interrupted != 0;
}
