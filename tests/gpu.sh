#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that needs a GPU, on the first one: kernels against the reference, models by rs-verify, the kernels under compute-sanitizer where it is installed, and their rates. Says SKIP where there is no GPU.
set -u
T=$(cd "$(dirname "$0")" && pwd)
export PATH="$B/bin:$PATH"
failed=0
row() { printf '%-44s %s\n' "$1" "$2"; }
run() { # WHAT COMMAND...: one row of the table, and the output where it failed
    local what=$1 log
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then row "$what" "passed$(sed -nE 's/^([0-9]+ passed), .*/ (\1)/p' "$log" | tail -1)"; else
        failed=1
        row "$what" "FAILED, status $?"
        tail -40 "$log"
    fi
    rm -f "$log"
}
if ! [ -x "$B/gpu/test_cuda" ]; then
    echo "SKIP check-gpu: built without CUDA kernels (no nvcc, or CUDA=0)"
    exit 0
fi
why=$("$B/gpu/test_cuda" --reason)
if [ -n "$why" ]; then
    echo "SKIP check-gpu: $why"
    exit 0
fi
"$B/gpu/test_cuda" --device
command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.mem,clocks.max.sm --format=csv
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
rs-import "$T/golden/tiny/hf" -o "$tmp/model.rsq" && rs-fuse --seed 1 "$tmp/model.rsq" | rs-pack --a-bits 4 --kv-bits 4 -o "$tmp/w4.rsq" && rs-fuse --seed 1 "$tmp/model.rsq" | rs-pack --w-bits 3 --a-bits 8 --group 8 --scale f16 -o "$tmp/w3.rsq" || exit 1
run "kernels against the reference" "$B/gpu/test_cuda"
run "kernels of learning and of GPTQ" "$B/gpu/test_cuda_grad"
run "GPTQ of a matrix against the processor" "$B/gpu/test_cuda_gptq"
run "a layer on arrays of the device" "$B/gpu/test_cuda_decoder"
for f in "$tmp/w4.rsq" "$tmp/w3.rsq" ${MODEL:-}; do
    run "rs-verify --kernels, $(basename "$f"), 5 times" rs-verify --kernels --device cuda --repeat 5 "$f"
done
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck synccheck; do
        run "compute-sanitizer $tool" compute-sanitizer --tool $tool --error-exitcode 9 "$B/gpu/test_cuda" --short
        run "compute-sanitizer $tool, learning" compute-sanitizer --tool $tool --error-exitcode 9 "$B/gpu/test_cuda_grad"
    done
else
    row "compute-sanitizer" "SKIP: not installed"
fi
[ -n "${MODEL:-}" ] && rs-verify --kernels --device cuda "$MODEL"
"$B/gpu/bench_cuda" || failed=1
exit $failed
