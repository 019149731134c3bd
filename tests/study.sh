#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Questions about learning that take hours: make study MODEL= CALIB= TEXT= PARTS="..."; by default on the model and texts in $RS_SHARED or ../shared. Needs $B (build folder).
# Parts: seeds (dense and global, three seeds), cut (one dense set: full, exact and paper at rank 32 and 8), chain (learned as a chain at three rates), recipes (equal steps: cut and refine, --project,
# a larger step), data (1, 8, 80, 400 sequences), weights (GPTQ after the best of these; BITS=3 goes with an OUT of its own), whole (the best of these and SpinQuant on all of
# TEXT), subspace (what --weight and --budget are worth).
# Variables: STEPS=80 LENGTH=512 CTX=1024 WINDOWS=12 RANK=32 BITS=4 OUT=build/study. Sets and results stay in OUT and are taken from there the next time; OUT/results.tsv holds every figure.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$B/bin:$PATH" LC_ALL=C
shared=${RS_SHARED:-../shared}
model=${MODEL:-$shared/data/SmolLM2-135M-Instruct.Q4_1.gguf} calib=${CALIB:-$shared/data/wiki.valid.txt} text=${TEXT:-$shared/data/wiki.test.raw}
steps=${STEPS:-80} length=${LENGTH:-512} ctx=${CTX:-1024} windows=${WINDOWS:-12} rank=${RANK:-32} bits=${BITS:-4} out=${OUT:-build/study}
[ -e "$model" ] && [ -e "$calib" ] && [ -e "$text" ] || { echo "SKIP study: no model or texts; give MODEL=, CALIB= and TEXT="; exit 0; }
mkdir -p "$out"
results=$out/results.tsv
touch "$results"
[ -e "$out/model.rsq" ] || rs-import -q "$model" -o "$out/model.rsq"

value() { awk -F '\t' -v k="$1" '$1 == k { v = $2 } END { print v }' "$results"; }
perplexity() { rs-eval -q --json --ctx "$ctx" --windows "$windows" --text "$text" - | sed -n 's/.*"perplexity": \([-0-9.e+]*\).*/\1/p'; }
learn() { # NAME OPTION...: a set, learned once; its held-out loss and seconds a step go to the results
    local file=$out/$1.rsq log=$out/$1.jsonl
    [ -e "$file" ] && return
    rs-learn "$out/model.rsq" --text "$calib" --length "$length" --steps "$steps" --a-bits "$bits" --kv-bits "$bits" --log "$log" -o "$file" "${@:2}"
    printf '%s heldout\t%s\n' "$1" "$(sed -n 's/.*"best": \([-0-9.e+]*\).*/\1/p' "$log" | tail -1)" >>"$results"
    printf '%s seconds\t%s\n' "$1" "$(awk -F '"seconds": ' '/"lr"/ { s += $2 } END { printf "%.1f", s }' "$log")" >>"$results"
}
network() { # SET [RESIDUAL OPTION...]: the fused network of a set, with junctions cut where options follow
    if [ $# -gt 1 ]; then rs-fuse -q -R "$out/$1.rsq" "$out/model.rsq" | rs-residual -q -R "$out/$1.rsq" "${@:2}"; else rs-fuse -q -R "$out/$1.rsq" "$out/model.rsq"; fi
}
measure() { # KEY SET [RESIDUAL OPTION...]: perplexity with weights in full precision
    [ -n "$(value "$1")" ] || printf '%s\t%s\n' "$1" "$(network "${@:2}" | rs-pack -q --w-bits 16 --a-bits "$bits" --kv-bits "$bits" | perplexity)" >>"$results"
}
show() { printf '%-62s %12s %12s %10s\n' "$1" "$(value "$2")" "$(value "$3 heldout")" "$(value "$3 seconds")"; }
head_line() { printf '\n%-62s %12s %12s %10s\n' "$1" "perplexity" "held-out" "seconds"; }

part_seeds() {
    head_line "W16A${bits}KV${bits}, $steps steps of $length tokens"
    for mode in dense global; do
        for s in 1 2 3; do
            learn $mode$s --mode $mode $([ $mode = dense ] && echo --project 0) --seed $s
            measure $mode$s $mode$s
            show "$mode, seed $s" $mode$s $mode$s
        done
        awk -F '\t' -v m=$mode '$1 ~ "^" m "[123]$" { s += $2; n++ } END { printf "%-62s %12.4f\n", m ", mean of " n, s / n }' "$results"
    done
}

part_cut() {
    head_line "one dense set, junctions as they run"
    learn dense1 --mode dense --project 0 --seed 1
    measure dense1 dense1
    show "full T" dense1 dense1
    for r in "$rank" 8; do
        measure "dense1 exact $r" dense1 --rank "$r"
        measure "dense1 paper $r" dense1 --rank "$r" --paper
        show "exact chain, r = $r" "dense1 exact $r" -
        show "paper, r = $r" "dense1 paper $r" -
    done
    for form in "" --paper; do
        [ -n "$(value "fp$form")" ] || printf 'fp%s\t%s\n' "$form" "$(network dense1 --rank "$rank" $form | perplexity)" >>"$results"
        show "full precision, r = $rank ${form:-exact}" "fp$form" -
    done
}

part_chain() {
    head_line "learned as a chain, r = $rank"
    for rate in 0.0001 0.0003 0.001; do
        learn "chain-$rate" --mode chain --rank "$rank" --chain-lr $rate
        measure "chain-$rate" "chain-$rate"
        show "--chain-lr $rate" "chain-$rate" "chain-$rate"
    done
}

part_recipes() { # equal steps in all; each ends at rank RANK, exactly
    local first=$((steps * 3 / 4)) rest
    rest=$((steps - first))
    head_line "ways to rank $rank in $steps steps (exact chain)"
    learn dense1 --mode dense --project 0 --seed 1
    measure dense1 dense1
    show "dense, full T: not at rank $rank" dense1 dense1
    measure "dense1 exact $rank" dense1 --rank "$rank"
    show "dense, then cut" "dense1 exact $rank" dense1
    learn project --mode dense --seed 1 --project "$rank"
    measure "project exact" project --rank "$rank"
    show "dense with --project" "project exact" project
    learn project5 --mode dense --seed 1 --project "$rank" --lr 5
    measure "project5 exact" project5 --rank "$rank"
    show "dense with --project, --lr 5" "project5 exact" project5
    learn "dense-$first" --mode dense --project 0 --seed 1 --steps "$first"
    [ -e "$out/cut.rsq" ] || rs-residual -q --rank "$rank" "$out/dense-$first.rsq" -o "$out/cut.rsq"
    learn refine --mode chain --rank "$rank" --init "$out/cut.rsq" --steps "$rest" --seed 2
    measure refine refine
    show "dense $first, cut, $rest more as a chain" refine refine
}

part_data() {
    head_line "how much data: different sequences of $length tokens"
    for n in 1 8 80 400; do
        for mode in dense chain global; do
            learn "$mode-of-$n" --mode $mode --sequences $n --steps $((n > steps ? n : steps))
            measure "$mode-of-$n" "$mode-of-$n"
            show "$n sequences, $mode, $((n > steps ? n : steps)) steps" "$mode-of-$n" "$mode-of-$n"
        done
    done
}

gptq() { # KEY SET [RESIDUAL OPTION...]: packed by GPTQ as respin_ref.py does it: 16 sequences from token SKIP on, the Hessians of a layer in one pass; W and A and KV at BITS
    local file="$out/packed ${*:2}.rsq"
    [ -e "$file" ] || network "${@:2}" | rs-pack -q --gptq --one-pass --text "$calib" --skip "${SKIP:-200000}" --samples 16 --ctx "$length" --w-bits "$bits" --a-bits "$bits" --kv-bits "$bits" -o "$file"
    [ -n "$(value "$1")" ] || printf '%s\t%s\n' "$1" "$(perplexity <"$file")" >>"$results"
}

part_weights() {
    head_line "W${bits}A${bits}KV${bits}, GPTQ"
    learn global1 --mode global --seed 1
    learn project --mode dense --seed 1 --project "$rank"
    learn dense1 --mode dense --project 0 --seed 1
    for row in "SpinQuant:global1" "--project, r = $rank:project --rank $rank" "paper, r = $rank:dense1 --rank $rank --paper" "exact chain, r = $rank:dense1 --rank $rank" "ReSpinQuant, full T:dense1"; do
        # shellcheck disable=SC2086
        gptq "gptq ${row#*:}" ${row#*:}
        show "${row%%:*}" "gptq ${row#*:}" -
    done
}

part_whole() {
    head_line "W${bits}A${bits}KV${bits}, GPTQ, all of the text"
    learn global1 --mode global --seed 1
    learn project --mode dense --seed 1 --project "$rank"
    local windows=0
    for row in "SpinQuant:global1" "ReSpinQuant, --project, r = $rank:project --rank $rank"; do
        # shellcheck disable=SC2086
        gptq "whole ${row#*:}" ${row#*:}
        show "${row%%:*}" "whole ${row#*:}" -
    done
}

part_subspace() {
    head_line "choice of the subspaces of one dense set (exact chain)"
    learn dense1 --mode dense --project 0 --seed 1
    for r in 8 "$rank"; do
        measure "dense1 exact $r" dense1 --rank "$r"
        measure "subspace weight $r" dense1 --rank "$r" --weight activations --text "$calib"
        measure "subspace budget $r" dense1 --budget "$r"
        measure "subspace both $r" dense1 --budget "$r" --weight activations --text "$calib"
        show "r = $r, by T alone" "dense1 exact $r" -
        show "r = $r, --weight activations" "subspace weight $r" -
        show "mean r = $r, --budget" "subspace budget $r" -
        show "mean r = $r, --budget --weight activations" "subspace both $r" -
    done
}

for p in ${*:-${PARTS:-seeds cut chain recipes data weights whole subspace}}; do "part_$p"; done
