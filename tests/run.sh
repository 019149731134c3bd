#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs every test against the build in $B and ends with "N passed, N failed, N skipped". Arguments: names of groups (unit lint fuzz cli spec oracle); none = all.
set -u
T=$(cd "$(dirname "$0")" && pwd)
export T B SAN="${SAN:-0}" PATH="$B/bin:$PATH" LC_ALL=C
unset RS_FOUND
for s in "${RS_SHARED:-}" "$T/../../shared"; do
    [ -n "$s" ] && [ -d "$s/data" ] && { RS_FOUND=$(cd "$s" && pwd); break; }
done
export RS_SHARED="${RS_FOUND:-}"
export RS_PYTHON="${RS_PYTHON:-${XDG_CACHE_HOME:-$HOME/.cache}/respin-oracle/bin/python}"
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1}" UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1}"
passed=0 failed=0 skipped=0

# count NAME STATUS FILE: adds the closing line of FILE, or one failure when STATUS says that the program died
count() {
    local line
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$3" | tail -1)
    grep -v -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$3"
    if [ -z "$line" ] || { [ "$2" -ne 0 ] && [[ $line == *" 0 failed"* ]]; }; then
        echo "FAIL $1: exit status $2"
        failed=$((failed + 1))
        [ -z "$line" ] && return
    fi
    set -- $line
    passed=$((passed + $1)) failed=$((failed + $3)) skipped=$((skipped + $5))
}

group() { # NAME COMMAND...: runs one group and adds what it counted
    local name=$1 log t0=$SECONDS
    shift
    log=$(mktemp)
    "$@" >"$log" 2>&1
    count "$name" $? "$log"
    rm -f "$log"
    echo "  $name: $((SECONDS - t0)) s"
}

want() { [ ${#only[@]} -eq 0 ] || [[ " ${only[*]} " == *" $1 "* ]]; }
only=("$@")

# The unit programs, as many at a time as there are processors; counted in the order of their names.
units() {
    local logs log name status took t0=$SECONDS
    logs=$(mktemp -d)
    # those of long sources first, so that the last ones are short
    for t in $(ls -S "$T"/test_*.c); do t=$B/tests/$(basename "$t" .c) && [ -x "$t" ] && echo "$t"; done |
        xargs -P "$(nproc)" -I{} bash -c 'log=$0/$(basename "$1"); "$1" >"$log" 2>&1; echo "$? $SECONDS" >"$log.ended"' "$logs" {}
    for log in "$logs"/test_*; do
        [[ $log == *.ended ]] && continue
        name=$(basename "$log")
        status=1 took=0
        read -r status took <"$log.ended"
        count "$name" "$status" "$log"
        [ "$took" -ge 2 ] && echo "  $name: $took s"
    done
    rm -rf "$logs"
    echo "  unit: $((SECONDS - t0)) s"
}

want unit && units
for g in lint fuzz cli spec oracle; do
    want $g || continue
    for s in "$T/$g".sh "$T/$g"/run*.sh; do
        [ -e "$s" ] && group "$g/$(basename "$s")" bash "$s"
    done
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
