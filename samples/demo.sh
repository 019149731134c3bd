#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole pipeline on the sample model: import, rotate, prove, pack, measure. Run by `make demo`; needs $B, the build folder.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$B/bin:$PATH"
out=build/demo
text=samples/text/eval.txt
mkdir -p $out

run() { # prints a command as one would type it, then runs it
    printf '$ %s\n' "$*"
    eval "$*"
}
perplexity() { rs-eval -q --json --ctx 256 --text $text "$1" | sed -n 's/.*"perplexity": \([0-9.]*\).*/\1/p'; }

echo '--- one stage after the other, through pipes'
run rs-import -q samples/model -o $out/model.rsq
run "rs-fuse -q --seed 1 $out/model.rsq | tee $out/fused.rsq | rs-residual -q --rank 0 | rs-pack -q --w-bits 4 --a-bits 4 --kv-bits 4 -o $out/w4a4kv4.rsq"

echo '--- proof: every byte, and that the rotated model computes what the original computes'
run rs-verify $out/w4a4kv4.rsq
run rs-verify $out/fused.rsq --against $out/model.rsq --text $text --tol 1e-4

echo '--- what it is good for: perplexity on text that the model has not seen'
rows=()
fp=$(perplexity $out/model.rsq)
for b in 4 3; do
    rs-pack -q --w-bits $b --a-bits $b --kv-bits $b $out/model.rsq -o $out/rtn.rsq
    rs-pack -q --w-bits $b --a-bits $b --kv-bits $b $out/fused.rsq -o $out/rotated.rsq
    rows+=("$(printf '%-10s %12s %12s %12s' "W${b}A${b}KV${b}" "$fp" "$(perplexity $out/rtn.rsq)" "$(perplexity $out/rotated.rsq)")")
done
printf '%-10s %12s %12s %12s\n' 'bits' 'full' 'RTN' 'rotated'
printf '%s\n' "${rows[@]}"

cat <<'TXT'

Next, your own model (a Hugging Face directory or a GGUF file of a Llama):

    export PATH=$PWD/build/bin:$PATH
    set -euo pipefail
    rs-import --dry-run DIR-OR-FILE.gguf
    rs-import DIR-OR-FILE.gguf -o model.rsq
    rs-fuse --seed 1 model.rsq | rs-pack --w-bits 4 --a-bits 4 --kv-bits 4 -o packed.rsq
    rs-verify packed.rsq && rs-eval packed.rsq --text some.txt
TXT
