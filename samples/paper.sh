#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The comparison of the ReSpinQuant paper on one model: make paper MODEL=... CALIB=... TEXT=... (needs $B, the build folder).
# MODEL: a Hugging Face directory, safetensors or GGUF; CALIB: text to learn from and for GPTQ; TEXT: text to measure perplexity on.
# Variables: BITS="4 3"  RANK=32  STEPS=80  LENGTH=512  BATCH=1  SEED=1  SAMPLES=16 (GPTQ, of LENGTH tokens)  CTX=1024  WINDOWS= (all)  ROWS= (names, all)  OUT=build/paper
# What is learned or packed stays in OUT and is taken from there the next time. Results go to OUT/results.tsv, and the table is printed from it.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$B/bin:$PATH" LC_ALL=C
: "${MODEL:?name a model: make paper MODEL=dir CALIB=text TEXT=text}" "${CALIB:?name a text to learn from}" "${TEXT:?name a text to measure on}"
bits=${BITS:-4 3} rank=${RANK:-32} steps=${STEPS:-80} length=${LENGTH:-512} batch=${BATCH:-1} seed=${SEED:-1} samples=${SAMPLES:-16} ctx=${CTX:-1024}
out=${OUT:-build/paper}
all="fp rtn smoothquant gptq quarot spinquant spinquant-no-had respin-full respin-paper respin-exact respin-chain respin"
names=${ROWS:-$all}
learn_options=${LEARN:-}
mkdir -p "$out"

perplexity() { rs-eval -q --json --ctx "$ctx" ${WINDOWS:+--windows "$WINDOWS"} --text "$TEXT" "$1" | sed -n 's/.*"perplexity": \([-0-9.e+]*\).*/\1/p'; }
gptq() { rs-pack -q --gptq --text "$CALIB" --samples "$samples" --ctx "$length" --w-bits "$1" --a-bits "$1" --kv-bits "$1" "${@:2}"; }
rtn() { rs-pack -q --w-bits "$1" --a-bits "$1" --kv-bits "$1" "${@:2}"; }
learned() { # MODE BITS: a rotation set, learned once
    local file=$out/$1.a$2.rsq options=(--mode "$1" --rank "$rank")
    [ "$1" = dense ] && options=(--mode dense --project 0)
    [ "$1" = project ] && options=(--mode dense --project "$rank")
    # shellcheck disable=SC2086
    [ -e "$file" ] || rs-learn "$out/model.rsq" --text "$CALIB" "${options[@]}" --steps "$steps" --length "$length" --batch "$batch" --seed "$seed" --a-bits "$2" --kv-bits "$2" --log "$out/$1.a$2.jsonl" $learn_options -o "$file" >&2
    echo "$file"
}
fused() { rs-fuse -q -R "$1" "${@:2}" "$out/model.rsq"; }

make_row() { # NAME BITS: the packed model on standard output
    local set
    case $1 in
    rtn) rtn "$2" "$out/model.rsq" ;;
    smoothquant) rs-fuse -q --no-rotate --smooth 0.5 --text "$CALIB" --samples "$samples" --ctx "$length" "$out/model.rsq" | rtn "$2" ;;
    gptq) gptq "$2" "$out/model.rsq" ;;
    quarot) rs-fuse -q --seed "$seed" "$out/model.rsq" | gptq "$2" ;;
    spinquant) set=$(learned global "$2") && fused "$set" | gptq "$2" ;;
    spinquant-no-had) set=$(learned global "$2") && fused "$set" --no-online | gptq "$2" ;;
    respin-full) set=$(learned dense "$2") && fused "$set" | gptq "$2" ;;
    respin-paper) set=$(learned dense "$2") && fused "$set" | rs-residual -q -R "$set" --rank "$rank" --paper | gptq "$2" ;;
    respin) set=$(learned project "$2") && fused "$set" | rs-residual -q -R "$set" --rank "$rank" | gptq "$2" ;;
    respin-exact) set=$(learned dense "$2") && fused "$set" | rs-residual -q -R "$set" --rank "$rank" | gptq "$2" ;;
    respin-chain) set=$(learned chain "$2") && fused "$set" | gptq "$2" ;;
    esac
}

[ -e "$out/model.rsq" ] || rs-import -q "$MODEL" -o "$out/model.rsq"
results=$out/results.tsv
touch "$results"
value() { awk -F '\t' -v k="$1" '$1 == k { v = $2 } END { print v }' "$results"; }
measure() { # KEY COMMAND...: measures what COMMAND writes, unless results has it
    [ -n "$(value "$1")" ] && return
    "${@:2}" >"$out/row.rsq"
    printf '%s\t%s\n' "$1" "$(perplexity "$out/row.rsq")" >>"$results"
    rm -f "$out/row.rsq"
}
for name in $names; do
    if [ "$name" = fp ]; then
        [ -n "$(value fp)" ] || printf 'fp\t%s\n' "$(perplexity "$out/model.rsq")" >>"$results"
        continue
    fi
    for b in $bits; do measure "$name.$b" make_row "$name" "$b"; done
done

title() {
    case $1 in
    fp) echo 'full precision' ;;
    rtn) echo 'RTN' ;;
    smoothquant) echo 'SmoothQuant, RTN' ;;
    gptq) echo 'GPTQ' ;;
    quarot) echo 'QuaRot' ;;
    spinquant) echo 'SpinQuant' ;;
    spinquant-no-had) echo 'SpinQuant, no online Hadamards' ;;
    respin-full) echo 'ReSpinQuant, full T' ;;
    respin-paper) echo "ReSpinQuant, paper, r = $rank" ;;
    respin) echo "ReSpinQuant, respin's default, r = $rank" ;;
    respin-exact) echo "ReSpinQuant, exact chain, r = $rank" ;;
    respin-chain) echo "ReSpinQuant, learned as a chain, r = $rank" ;;
    esac
}
printf '%-44s' 'perplexity (weights by GPTQ unless said)'
for b in $bits; do printf '%14s' "W${b}A${b}KV${b}"; done
echo
for name in $names; do
    printf '%-44s' "$(title "$name")"
    for b in $bits; do
        key=$name.$b
        [ "$name" = fp ] && key=fp
        printf '%14.4f' "$(value "$key")"
    done
    echo
done
