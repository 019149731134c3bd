#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Where the outliers are and what rotations make of them: make outliers MODEL=... CALIB=... TEXT=... (needs $B, the build folder).
# MODEL: a Hugging Face directory, safetensors or GGUF; CALIB: text to learn from; TEXT: text to measure activations on.
# Variables: RANK=32  STEPS=80  LENGTH=512  SEED=1  SAMPLES=16  CTX=512  SET= (a learned set to take)  OUT=build/outliers  PICTURES= (a folder that gets pictures and a report of before and learned)
# What is learned and measured stays in OUT and is taken from there the next time. Prints a table: worst layer and median of the layers
# by max/RMS, excess kurtosis and SQNR at 4 bits, as the model came, after one random Hadamard, and with learned rotations and junctions of rank RANK.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$B/bin:$PATH" LC_ALL=C
: "${MODEL:?name a model: make outliers MODEL=dir CALIB=text TEXT=text}" "${TEXT:?name a text to measure on}"
rank=${RANK:-32} steps=${STEPS:-80} length=${LENGTH:-512} seed=${SEED:-1} samples=${SAMPLES:-16} ctx=${CTX:-512}
out=${OUT:-build/outliers}
set=${SET:-$out/rot.rsq}
mkdir -p "$out"

[ -e "$out/model.rsq" ] || rs-import -q "$MODEL" -o "$out/model.rsq"
[ -e "$set" ] || rs-learn "$out/model.rsq" --text "${CALIB:?name a text to learn from}" --mode dense --project "$rank" --steps "$steps" --length "$length" --seed "$seed" -o "$set" >&2

form() { # NAME: the model in full precision, as it came or rotated, on standard output
    case $1 in
    before) cat "$out/model.rsq" ;;
    hadamard) rs-fuse -q --seed "$seed" "$out/model.rsq" ;;
    learned) rs-fuse -q -R "$set" "$out/model.rsq" | rs-residual -q -R "$set" --rank "$rank" ;;
    esac
}
for name in before hadamard learned; do
    [ -e "$out/$name.csv" ] || form $name | rs-stat -q --csv --text "$TEXT" --samples "$samples" --ctx "$ctx" -o "$out/$name.csv"
done

# One cell: worst (by max/RMS and kurtosis the largest, by SQNR the smallest) and median of the layers.
figure() { # OF ROLE MEASURE FILE
    tr -d '\r' <"$4" | awk -F, -v of="$1" -v role="$2" -v measure="$3" '
        NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
        $at["of"] == of && $at["role"] == role && $at["rms"] > 0 { x[++n] = measure == "max" ? $at["max"] / $at["rms"] : $at[measure] + 0 }
        function short(x) { return sprintf(x < 100 ? "%.1f" : "%.0f", x > -0.05 && x < 0 ? 0 : x) }
        END {
            for (i = 2; i <= n; i++) { t = x[i]; for (j = i - 1; j > 0 && x[j] > t; j--) x[j + 1] = x[j]; x[j + 1] = t }
            printf " %s, %s |", short(measure == "sqnr4" ? x[1] : x[n]), short(n % 2 ? x[(n + 1) / 2] : (x[n / 2] + x[n / 2 + 1]) / 2)
        }'
}
echo "| worst layer, median | max/RMS | Hadamard | learned | kurtosis | Hadamard | learned | SQNR4 | Hadamard | learned |"
echo "|---|---|---|---|---|---|---|---|---|---|"
while read -r of role what; do
    echo "| $what |$(for measure in max kurt sqnr4; do for name in before hadamard learned; do figure "$of" "$role" $measure "$out/$name.csv"; done; done)"
done <<'END'
input q input of q k v
input o input of o
input gate input of gate up
input down input of down
kv k K
kv v V
weight q weights of q
weight down weights of down
END

[ -n "${PICTURES:-}" ] || exit 0
measure="rs-stat -q --text $TEXT --samples $samples --ctx $ctx"
[ -e "$out/look.rsq" ] || $measure "$out/model.rsq" | rs-fuse -q -R "$set" | rs-residual -q -R "$set" --rank "$rank" | $measure | rs-pack -q --w-bits 4 --a-bits 4 --kv-bits 4 -o "$out/look.rsq"
mkdir -p "$PICTURES"
rs-top --batch --format svg --screen 1 "$out/look.rsq" -o "$PICTURES/overview.svg"
rs-top --batch --format svg --screen 2 --sort max_rms "$out/look.rsq" -o "$PICTURES/tensor.svg"
rs-top --batch --format svg --screen 3 "$out/look.rsq" -o "$PICTURES/rotation.svg"
rs-top --batch --format html "$out/look.rsq" -o "$PICTURES/report.html"
