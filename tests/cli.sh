#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs tests/cli/<tool>/<case>/: cmd in a temporary directory, against out, err (exact text; default nothing) and status (default 0).
# A cmd that prints "SKIP why" as its only line of standard output counts as skipped.
passed=0 failed=0 skipped=0
for dir in "$T"/cli/*/*/; do
    [ -f "$dir/cmd" ] || continue
    name=${dir#"$T"/cli/}
    tmp=$(mktemp -d)
    (cd "$tmp" && bash "$dir/cmd" >"$tmp/.out" 2>"$tmp/.err" </dev/null)
    status=$?
    want=$(cat "$dir/status" 2>/dev/null || echo 0)
    if [[ $(head -c 5 "$tmp/.out") == "SKIP " ]]; then
        echo "${name%/}: $(cat "$tmp/.out")"
        skipped=$((skipped + 1))
    elif [ "$status" = "$want" ] && diff -u "$([ -f "$dir/out" ] && echo "$dir/out" || echo /dev/null)" "$tmp/.out" >"$tmp/.diff" &&
        diff -u "$([ -f "$dir/err" ] && echo "$dir/err" || echo /dev/null)" "$tmp/.err" >>"$tmp/.diff"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAIL cli ${name%/}: status $status, expected $want"
        cat "$tmp/.diff" 2>/dev/null
    fi
    rm -rf "$tmp"
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
