// SPDX-License-Identifier: Apache-2.0
// Replays files given as arguments through a fuzz target, so that a corpus is a test with any compiler.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Feeds one file, in an allocation of exactly its size; false if it cannot be read.
static int replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    long n = -1;
    if (f != NULL && fseek(f, 0, SEEK_END) == 0) n = ftell(f);
    uint8_t *p = n >= 0 ? malloc(n > 0 ? (size_t)n : 1) : NULL;
    int ok = p != NULL && fseek(f, 0, SEEK_SET) == 0 && fread(p, 1, (size_t)n, f) == (size_t)n;
    if (ok) LLVMFuzzerTestOneInput(p, (size_t)n);
    else fprintf(stderr, "%s: cannot read\n", path);
    free(p);
    if (f != NULL) fclose(f);
    return ok;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++) failed += !replay(argv[i]);
    printf("%d passed, %d failed, 0 skipped\n", argc - 1 - failed, failed);
    return failed != 0;
}
