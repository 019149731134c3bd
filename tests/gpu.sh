#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that needs a GPU, on the first one: kernels against the reference, models by rs-verify, rates, a step of learning, and for what is left of LIMIT= seconds (340) the kernels under
# compute-sanitizer. Says SKIP where there is no GPU. QUICK=1: little of everything, to see that it runs.
set -u
SECONDS=0
LIMIT=${LIMIT:-340}
T=$(cd "$(dirname "$0")" && pwd)
export PATH="$B/bin:$PATH"
failed=0
row() { printf '%-44s %s\n' "$1" "$2"; }
run() { # WHAT COMMAND...: one row of the table, and the output where it failed
    local what=$1 log
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then row "$what" "passed$(sed -nE 's/^([0-9]+ passed), .*/ (\1)/p' "$log" | tail -1)"; else
        local status=$?
        if [ $status = 124 ]; then
            row "$what" "SKIP: stopped, $LIMIT s are over"
        else
            row "$what" "FAILED, status $status"
            failed=1
            tail -40 "$log"
        fi
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
run "kernels against the reference" "$B/gpu/test_cuda" ${QUICK:+--short}
run "kernels of learning and of GPTQ" "$B/gpu/test_cuda_grad"
run "GPTQ of a matrix against the processor" "$B/gpu/test_cuda_gptq"
run "a layer on arrays of the device" "$B/gpu/test_cuda_decoder"
run "arrays beyond 2^31 numbers" "$B/gpu/test_cuda_large"
run "a network against the processor" "$B/gpu/test_cuda_network" ${QUICK:+--short}
run "a layer of learning on arrays of the device" "$B/gpu/test_cuda_layer"
run "learning against the processor" "$B/gpu/test_cuda_learn" ${QUICK:+--short}
for f in "$tmp/w4.rsq" "$tmp/w3.rsq" ${MODEL:-}; do
    run "rs-verify --kernels, $(basename "$f"), 5 times" rs-verify --kernels --device cuda --repeat 5 "$f"
done
"$B/gpu/bench_cuda" ${QUICK:+--quick} || failed=1
[ -n "${MODEL:-}" ] && rs-verify --kernels --device cuda "$MODEL"

# A step of learning beside the same step in PyTorch: ORIGINAL= (a Hugging Face directory), TEXT=, RS_PYTHON=, RS_REFERENCE= (the script, which chooses its own device).
step_of_learning() {
    local mode ours theirs
    rs-import -q "$ORIGINAL" -o "$tmp/original.rsq" || return 1
    for mode in dense global; do
        rs-learn -q --device cuda "$tmp/original.rsq" --text "$TEXT" --mode $mode --holdout 0 --steps 8 --log "$tmp/log" -o "$tmp/rot.rsq" || return 1
        ours=$(sed -n 's/.*"seconds": \([0-9.]*\).*/\1/p' "$tmp/log" | tail -7 | sort -n | sed -n 4p)
        theirs=$("$RS_PYTHON" "$RS_REFERENCE" learn "$ORIGINAL" "$TEXT" --mode $mode --steps 4 -o "$tmp/R.pt" | awk '/^step/ { t[$2] = $5 } END { print (t[3] - t[0]) / 3 }')
        row "learning step, $mode: seconds ours / PyTorch" "$ours / $theirs"
    done
}
if ! rs-learn --help | grep -q -- --device; then
    row "learning step against PyTorch" "SKIP: rs-learn has no --device"
elif [ -z "${ORIGINAL:-}" ] || [ -z "${TEXT:-}" ] || [ -z "${RS_PYTHON:-}" ] || [ -z "${RS_REFERENCE:-}" ]; then
    row "learning step against PyTorch" "SKIP: give ORIGINAL= TEXT= RS_PYTHON= RS_REFERENCE="
else
    step_of_learning || failed=1
fi

# What is left of the time goes to compute-sanitizer.
for tool in memcheck racecheck initcheck synccheck; do
    for what in test_cuda test_cuda_grad; do
        if ! command -v compute-sanitizer >/dev/null; then
            row "compute-sanitizer $tool, $what" "SKIP: not installed"
        elif [ $SECONDS -ge "$LIMIT" ]; then
            row "compute-sanitizer $tool, $what" "SKIP: $LIMIT s are over"
        else
            run "compute-sanitizer $tool, $what" timeout $((LIMIT - SECONDS + 1)) compute-sanitizer --tool $tool --error-exitcode 9 "$B/gpu/$what" --short
        fi
    done
done
exit $failed
