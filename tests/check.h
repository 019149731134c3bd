// SPDX-License-Identifier: Apache-2.0
// The whole test harness of the unit programs: CHECK counts, says where it failed, and check_report prints the closing line.
#ifndef RS_TESTS_CHECK_H
#define RS_TESTS_CHECK_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_passed, check_failed, check_skipped;

// Counts one check; on failure prints file, line and the formatted message.
__attribute__((format(printf, 4, 5), unused)) static bool check_that(bool ok, const char *file, int line, const char *fmt, ...)
{
    if (ok) {
        check_passed++;
        return true;
    }
    check_failed++;
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return false;
}
#define CHECK(condition) check_that((condition), __FILE__, __LINE__, "%s", #condition)
#define CHECKF(condition, ...) check_that((condition), __FILE__, __LINE__, __VA_ARGS__)
#define SKIP(why) (check_skipped++, printf("SKIP %s: %s\n", __func__, (why)))

// The larger of two distances; a NaN stays.
__attribute__((unused)) static double worse(double a, double b) { return isnan(a) || a >= b ? a : b; }

// Folder with the real model and texts, or NULL.
__attribute__((unused)) static const char *check_shared(void)
{
    const char *s = getenv("RS_SHARED");
    return s != NULL && *s != 0 ? s : NULL;
}

// Prints the closing line; the exit status of main.
__attribute__((unused)) static int check_report(void)
{
    printf("%d passed, %d failed, %d skipped\n", check_passed, check_failed, check_skipped);
    return check_failed != 0;
}

#endif
