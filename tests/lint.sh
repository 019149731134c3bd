#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# House rules that a machine can check: the floor arrows, include form, SPDX lines, no printing or exiting in the library.
cd "$T/.." || exit 1
shopt -s lastpipe # rule() counts, so it must not run in a subshell
passed=0 failed=0 skipped=0
rule() { # TEXT, offending lines on stdin
    local lines
    lines=$(cat)
    if [ -z "$lines" ]; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        printf 'FAIL lint: %s\n%s\n' "$1" "$lines"
    fi
}
files=$(ls formats/*.[ch] kernels/*.[ch] kernels/*/*.[ch] kernels/*/*.cu transforms/*.[ch] quantize/*.[ch] inspect/*.[ch] inspect/*/*.[ch] tests/*.[ch] tests/cuda/*.c* tests/cuda/*.h tests/cuda/cudart/* tests/cuda/twin/*.h tests/cuda/twin/*/*/*.h 2>/dev/null)
library=$(ls formats/*.c kernels/*.c kernels/*/*.c kernels/*/*.cu transforms/*.c quantize/*.c inspect/*.c inspect/*/*.c 2>/dev/null | grep -v '/rs-')

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
grep -lE '#include <(n?curses|term)\.h>' $files | grep -v '^inspect/curses/terminal\.c$' | rule 'one file includes curses'
grep -rnE '\b(TODO|FIXME|XXX)\b' $files | rule 'nothing unfinished'

grep -nE '(blockIdx|gridDim)\.x \* [^(]|\* (blockIdx|gridDim)\.x|\b(int|unsigned) [a-z_]+ = [^;]*blockIdx' kernels/cuda/*.cu kernels/cuda/*.h | rule 'numbers of threads over all blocks are size_t: blockIdx.x * (size_t)THREADS'

# Every tool has a man page beside its source, which names the options of --help and no others (examples may name those of other tools).
options() { grep -oE -- '(^|[^A-Za-z0-9-])(--[a-z][a-z0-9-]*[a-z0-9]|-[A-Za-z]\b)' | grep -oE -- '-.*' | sort -u; }
for source in */rs-*.c; do
    page=${source%.c}.1 tool=$(basename "$source" .c)
    [ -e "$page" ] || { echo "$page is missing" | rule 'a man page for each tool'; continue; }
    diff <("$B/bin/$tool" --help | options) <(sed -E '/^\.SH EXAMPLE/,/^\.SH SEE/d; s/\\f[BIRP]/ /g; s/\\-/-/g' "$page" | options) | grep '^[<>]' | sed "s|^<|$tool --help:|; s|^>|$page:|" |
        rule 'the man page names the options of --help'
    if command -v groff >/dev/null; then groff -man -ww -z -K utf8 "$page" 2>&1 | rule "$page renders without a warning"; else skipped=$((skipped + 1)); fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
