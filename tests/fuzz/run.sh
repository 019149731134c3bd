#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Replays the corpus of every fuzz target through its plain build.
passed=0 failed=0 skipped=0
for source in "$T"/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    shopt -s nullglob
    files=("$T/fuzz/corpus/$name"/* "$T"/golden/import/*/*."${name#fuzz_}") # golden files of a foreign format count as its corpus
    [ "$name" = fuzz_reader ] && files+=("$T"/golden/good/*.rsq "$T"/golden/bad/*.rsq)
    if [ ${#files[@]} -eq 0 ]; then
        echo "SKIP $name: no corpus"
        skipped=$((skipped + 1))
    elif out=$("$B/tests/fuzz/$name" "${files[@]}" 2>&1); then
        passed=$((passed + ${#files[@]}))
    else
        # One of them ended the run: say which.
        for f in "${files[@]}"; do
            if "$B/tests/fuzz/$name" "$f" >/dev/null 2>&1; then passed=$((passed + 1)); else
                failed=$((failed + 1))
                echo "FAIL $name: $f"
            fi
        done
        printf '%s\n' "$out" | tail -5
    fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
