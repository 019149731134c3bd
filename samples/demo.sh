#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The whole pipeline on the sample model: import, rotate, prove, learn, pack, measure. Run by `make demo`; needs $B, the build folder.
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
perplexity() { rs-eval -q --json --ctx 256 --text $text "$@" | sed -n 's/.*"perplexity": \([0-9.]*\).*/\1/p'; }

echo '--- one stage after the other, through pipes'
run rs-import -q samples/model -o $out/model.rsq
run "rs-fuse -q --seed 1 $out/model.rsq | tee $out/fused.rsq | rs-residual -q --rank 0 | rs-pack -q --w-bits 4 --a-bits 4 --kv-bits 4 -o $out/w4a4kv4.rsq"

echo '--- proof: every byte, and that the rotated model computes what the original computes'
run rs-verify $out/w4a4kv4.rsq
run rs-verify $out/fused.rsq --against $out/model.rsq --text $text --tol 1e-4

echo '--- learning: one rotation for all layers (SpinQuant), one for each place (ReSpinQuant), cut to junctions of rank 32 that change nothing'
learn="--text samples/text/calib.txt --length 256 --steps 200 --lr 0.15 --a-bits 3 --kv-bits 3 --holdout 12 --eval-every 25 --patience 3"
run "rs-learn $out/model.rsq $learn --mode global -o $out/global.rsq"
run "rs-learn $out/model.rsq $learn -o $out/dense.rsq"
run "rs-fuse -q -R $out/global.rsq $out/model.rsq -o $out/spin.rsq"
run "rs-fuse -q -R $out/dense.rsq $out/model.rsq | rs-residual -q -R $out/dense.rsq --rank 32 -o $out/respin.rsq"
run rs-verify $out/respin.rsq --against $out/model.rsq --text $text --tol 1e-4

echo '--- where the outliers were, and what the rotations made of them'
stat="rs-stat -q --text $text --samples 8 --ctx 256"
run "$stat $out/model.rsq | rs-fuse -q -R $out/dense.rsq | rs-residual -q -R $out/dense.rsq --rank 32 | $stat -o $out/look.rsq"
run rs-top --batch --size 100x16 $out/look.rsq

echo '--- what it is good for: perplexity on text that the model has not seen, weights by GPTQ'
half="-j $((($(nproc) + 1) / 2))" # two at a time
score() { # NAME MODEL OPTION...: packs the model and measures it
    rs-pack -q $half --w-bits $w --a-bits $a --kv-bits $a "${@:3}" "$out/$2.rsq" -o "$out/packed.$1.rsq"
    perplexity "$out/packed.$1.rsq" $half >"$out/$1.ppl"
}
gptq="--gptq --text samples/text/calib.txt --samples 64 --ctx 256"
rows=()
fp=$(perplexity $out/model.rsq)
for bits in "4 4" "4 3" "3 3"; do # of weights, of the rest
    read -r w a <<<"$bits"
    score rtn model & one=$!
    score quarot fused $gptq
    wait $one
    score spin spin $gptq & one=$!
    score respin respin $gptq
    wait $one
    rows+=("$(printf '%-10s %10.4f %10.4f %11.4f %11.4f %11.4f' "W${w}A${a}KV${a}" "$fp" $(cat $out/{rtn,quarot,spin,respin}.ppl))")
done
printf '%-10s %10s %10s %11s %11s %11s\n' 'bits' 'full' 'RTN' 'QuaRot' 'SpinQuant' 'ReSpinQuant'
printf '%s\n' "${rows[@]}"

cat <<'TXT'

Next, your own model (a Hugging Face directory or a GGUF file of a Llama):

    export PATH=$PWD/build/bin:$PATH
    set -euo pipefail
    rs-import --dry-run DIR-OR-FILE.gguf
    rs-import DIR-OR-FILE.gguf -o model.rsq
    rs-learn model.rsq --text calib.txt -o rot.rsq
    rs-fuse -R rot.rsq model.rsq | rs-residual -R rot.rsq | rs-pack --gptq --text calib.txt --w-bits 4 --a-bits 4 --kv-bits 4 -o packed.rsq
    rs-verify packed.rsq && rs-eval packed.rsq --text some.txt
    rs-stat --text some.txt packed.rsq | rs-top -
TXT
