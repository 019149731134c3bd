#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A real model on the emulated device, beside the processor: minutes. MODEL= names it (a directory or a GGUF file), TEXT= a text; without them what lies in RS_SHARED= or ../shared.
set -u
T=$(cd "$(dirname "$0")" && pwd)
for s in "${RS_SHARED:-}" "$T/../../shared"; do [ -n "$s" ] && [ -d "$s/data" ] && break; done
MODEL=${MODEL:-$(ls "$s"/data/*.gguf 2>/dev/null | head -1)}
TEXT=${TEXT:-$(ls "$s"/data/wiki.test.raw 2>/dev/null)}
passed=0 failed=0
if [ ! -e "$MODEL" ] || [ ! -e "$TEXT" ]; then
    echo "SKIP a real model on the emulated device: MODEL= or TEXT= is not there"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
export PATH="$B/bin:$PATH"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
head -c 20000 "$TEXT" >"$tmp/text"
check() { # WHAT STATUS [MORE]
    if [ "$2" = 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    printf '%-8s %6d s  %s%s\n' "$([ "$2" = 0 ] && echo passed || echo FAILED)" "$SECONDS" "$1" "${3:+: $3}"
}
near() { # WHAT MOST A B: two numbers
    awk -v a="$3" -v b="$4" -v most="$2" 'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a != "" && b != "" && d <= most * (b < 0 ? -b : b)) }'
    check "$1" $? "$3 there, $4 here, at most $2 apart"
}
gpu() { "$B/emulated/$1" --device cuda -q "${@:2}"; }

rs-import -q "$MODEL" -o "$tmp/model.rsq" && rs-fuse -q --seed 1 "$tmp/model.rsq" -o "$tmp/fused.rsq" && rs-pack -q --w-bits 4 --a-bits 4 --kv-bits 4 "$tmp/fused.rsq" -o "$tmp/packed.rsq" || exit 1
gpu rs-verify --kernels --ctx 8 "$tmp/packed.rsq" >"$tmp/out" 2>&1
check "rs-verify --kernels" $? "$(tail -1 "$tmp/out")"
gpu rs-verify "$tmp/fused.rsq" --against "$tmp/model.rsq" --text "$tmp/text" --ctx 16 >"$tmp/out" 2>&1
check "rs-verify --against" $? "$(tail -1 "$tmp/out" | sed -E 's/.*: (logits)/\1/')"
loss() { sed -nE 's/.*"nll": ([0-9.]+).*/\1/p' | head -1; }
there=$(gpu rs-eval "$tmp/fused.rsq" --text "$tmp/text" --ctx 16 --windows 2 --json | loss)
near "rs-eval, losses" 1e-5 "$there" "$(rs-eval -q "$tmp/fused.rsq" --text "$tmp/text" --ctx 16 --windows 2 --json | loss)"
near "rs-eval on a device with memory for a quarter of the file" 0 "$(RS_TRIAL_MEMORY=$(($(stat -c %s "$tmp/fused.rsq") / 4)) gpu rs-eval "$tmp/fused.rsq" --text "$tmp/text" --ctx 16 --windows 2 --json | loss)" "$there"
gpu rs-stat "$tmp/fused.rsq" --text "$tmp/text" --samples 1 --ctx 16 --csv >"$tmp/a" && rs-stat -q "$tmp/fused.rsq" --text "$tmp/text" --samples 1 --ctx 16 --csv >"$tmp/b"
n=$(paste -d, "$tmp/a" "$tmp/b" | awk -F, '{ n = NF / 2; for (i = 1; i <= n; i++) { a = $i; b = $(i + n); d = a - b; if (a != b && !(a + 0 == a && (d < 0 ? -d : d) <= 1e-3 * (a < 0 ? -a : a))) bad++ } } END { print NR ":" bad + 0 }')
[ "${n#*:}" = 0 ] && [ "${n%:*}" -gt 100 ]
check "rs-stat" $? "${n%:*} rows, ${n#*:} numbers more than a thousandth apart"
learn() { "$@" "$tmp/model.rsq" --text "$tmp/text" --mode global --a-bits 8 --kv-bits 8 --steps 2 --length 16 --holdout 0 --log "$tmp/log" -o "$tmp/rot.rsq" && sed -nE 's/.*"loss": ([0-9.]+).*/\1/p' "$tmp/log" | tail -1; rm -f "$tmp/log" "$tmp/rot.rsq"; }
# A number that other sums round to another code changes all codes behind it: the yardstick is what another kernel of OpenBLAS makes of the same step.
here=$(learn rs-learn -q) other=$(OPENBLAS_CORETYPE=Sandybridge learn rs-learn -q)
near "rs-learn, loss behind a step" "$(awk -v a="$here" -v b="$other" 'BEGIN { d = a - b; print 4 * (d < 0 ? -d : d) / a }')" "$(learn gpu rs-learn)" "$here"
pack() { "$@" --gptq --text "$tmp/text" --samples 1 --ctx 16 --a-bits 16 --kv-bits 16 "$tmp/fused.rsq" -o "$tmp/gptq.rsq" && rs-eval -q "$tmp/gptq.rsq" --text "$tmp/text" --ctx 64 --windows 4 --json | loss; }
near "rs-pack --gptq, loss of the result" 1e-3 "$(pack gpu rs-pack)" "$(pack rs-pack -q)"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
