#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# House rules that a machine can check: the floor arrows, include form, SPDX lines, no printing or exiting in the library.
cd "$T/.." || exit 1
shopt -s lastpipe # rule() counts, so it must not run in a subshell
passed=0 failed=0
rule() { # TEXT, offending lines on stdin
    local lines
    lines=$(cat)
    if [ -z "$lines" ]; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        printf 'FAIL lint: %s\n%s\n' "$1" "$lines"
    fi
}
files=$(ls formats/*.[ch] kernels/*.[ch] kernels/*/*.[ch] kernels/*/*.cu transforms/*.[ch] quantize/*.[ch] inspect/*.[ch] tests/*.[ch] 2>/dev/null)
library=$(ls formats/*.c kernels/*.c kernels/*/*.c transforms/*.c quantize/*.c inspect/*.c 2>/dev/null | grep -v '/rs-')

# floor FOLDER ALLOWED...: includes of FOLDER may only name the ALLOWED folders
floor() {
    local f=$1 allowed
    shift
    allowed=$(printf '|%s' "$@")
    grep -rnE '^#include "' "$f" --include='*.[ch]' --include='*.cu' | grep -v '/rs-[a-z]*\.c:' | grep -vE "#include \"(${allowed:1})/" | rule "$f may include only: $*"
}
floor formats formats
floor kernels kernels
floor transforms transforms kernels formats
floor quantize quantize transforms kernels formats
floor inspect inspect quantize transforms kernels formats
grep -nE '^#include "[^/"]+"' $files | rule 'includes are "folder/file.h"'
grep -nE '#include ".*\.c"' $files | rule 'no .c is included'
grep -LE 'SPDX-License-Identifier: Apache-2.0' $files | rule 'an SPDX line at the top of each source'
grep -nE '\b(printf|puts|putchar|perror|abort|exit|_exit|assert)\(|\bf(printf|puts)\((stdout|stderr)' $library | grep -v '^formats/cli\.c:' | rule 'the library never prints, exits or aborts (formats/cli.c may)'
grep -rnE '\b(TODO|FIXME|XXX)\b' $files | rule 'nothing unfinished'
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
