#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The golden files of the container against the second reader and, when it is built, rs-verify: both must end in the class that the file is named for.
passed=0 failed=0 skipped=0
fail() { failed=$((failed + 1)); echo "FAIL spec: $*"; }
py=$(command -v python3 || command -v "${RS_PYTHON:-python3}") || { echo "SKIP spec: no python3"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
export PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
spec=$T/spec golden=$T/golden
declare -A code=([ok]=0 [E_MAGIC]=10 [E_VERSION]=11 [E_TRUNC]=12 [E_SUM]=13 [E_FRAME]=14 [E_META]=15 [E_LIMIT]=16 [E_TENSOR]=17 [E_DUP]=18 [E_PROV]=19 [E_TRAIL]=20 [E_INDEX]=21 [E_VALUE]=22 [E_ABORT]=24)

"$py" "$spec/self_test.py" >"$tmp/self" 2>&1 || fail "self_test.py"
grep -v -E '^[0-9]+ passed' "$tmp/self"
set -- $(grep -E '^[0-9]+ passed' "$tmp/self")
passed=$((passed + ${1:-0})) failed=$((failed + ${3:-0})) skipped=$((skipped + ${5:-0}))

if "$py" "$spec/make_golden.py" "$tmp/again" && diff -rq "$tmp/again/good" "$golden/good" && diff -rq "$tmp/again/bad" "$golden/bad"; then
    passed=$((passed + 1))
else
    fail "make_golden.py does not give the files of tests/golden again"
fi
"$py" "$spec/make_golden.py" --large "$tmp/large" || fail "make_golden.py --large"

good=("$golden"/good/*.rsq "$tmp"/large/good/*.rsq) bad=("$golden"/bad/*.rsq "$tmp"/large/bad/*.rsq) value=()

declare -A expect
for f in "${good[@]}" "${bad[@]}"; do
    c=ok
    [ -e "${f%.rsq}.expect" ] && read -r c <"${f%.rsq}.expect"
    if [ "$c" = E_VALUE ]; then value+=("$f") c=ok; fi
    expect[$f]=$c
    [ -n "${code[$c]}" ] || fail "$f: no class"
done

judge() { # TOOL, lines "CLASS FILE" on stdin, against expect (or E_VALUE when $1 ends in --values)
    local c f
    while read -r c f; do
        local e=${expect[$f]}
        [[ $1 == *--values ]] && e=E_VALUE
        if [ "$c" = "$e" ]; then passed=$((passed + 1)); else fail "$1: $f: $c, expected $e"; fi
    done
}
judge decode.py < <("$py" "$spec/decode.py" --batch "${!expect[@]}")
judge "decode.py --values" < <("$py" "$spec/decode.py" --batch --values "${value[@]}")

if [ -x "$B/bin/rs-verify" ]; then
    declare -A name
    for k in "${!code[@]}"; do name[${code[$k]}]=$k; done
    verify() { # OPTION... FILE: by name, and from a pipe
        local f=${!#} s
        "$B/bin/rs-verify" "$@" >/dev/null 2>"$tmp/err" </dev/null
        s=$?
        echo "${name[$s]:-exit-$s} $f"
    }
    piped() {
        "$B/bin/rs-verify" >/dev/null 2>"$tmp/err" < <(cat "$1")
        local s=$?
        echo "${name[$s]:-exit-$s} $1"
    }
    judge rs-verify < <(for f in "${!expect[@]}"; do verify "$f"; done)
    judge "rs-verify (pipe)" < <(for f in "${good[@]}" "$golden"/bad/0[0-3]*.rsq; do piped "$f"; done)
    judge "rs-verify --values" < <(for f in "${value[@]}"; do verify --values "$f"; done)

    # Streams changed at random with hashes made right: both readers must agree on which are good.
    "$py" "$spec/mutate.py" "$tmp/changed" 1 200 || fail "mutate.py"
    differ=0 fine=0
    while read -r c f; do
        "$B/bin/rs-verify" "$f" >/dev/null 2>&1 </dev/null
        s=$?
        [ "$c" = ok ] && fine=$((fine + 1))
        if { [ "$c" = ok ] && [ $s -ne 0 ]; } || { [ "$c" != ok ] && { [ $s -lt 10 ] || [ $s -gt 24 ]; }; }; then
            differ=$((differ + 1))
            echo "FAIL spec: changed stream ${f##*/}: decode.py $c, rs-verify exit $s"
        fi
    done < <("$py" "$spec/decode.py" --batch "$tmp"/changed/*.rsq)
    if [ $differ -eq 0 ] && [ $fine -gt 20 ] && [ $fine -lt 180 ]; then passed=$((passed + 1)); else fail "$differ of 200 changed streams judged otherwise, $fine good"; fi
else
    echo "SKIP rs-verify on the golden files: not built"
    skipped=$((skipped + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
