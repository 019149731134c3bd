#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measures what the README states. Needs $B (build folder); MODEL (GGUF, safetensors or directory) and TEXT, by default those in $RS_SHARED or ../shared.
# Arguments or PARTS="..." name parts: fp llama fuse seeds reference residual subspace memory fuse-speed eval-speed gptq io tokenizer kernels int-gemm integer generation junctions size learn stat top. Each prints: what, measured, wanted.
set -u
cd "$(dirname "$0")/.." || exit 1
export PATH="$B/bin:$PATH" LC_ALL=C
shared=${RS_SHARED:-../shared}
model=${MODEL:-$shared/data/SmolLM2-135M-Instruct.Q4_1.gguf}
text=${TEXT:-$shared/data/wiki.test.raw}
calib=${CALIB:-$shared/data/wiki.valid.txt}
python=${RS_PYTHON:-${XDG_CACHE_HOME:-$HOME/.cache}/respin-oracle/bin/python}
reference=$shared/reference/respin_ref.py
dir=${BENCH_DIR:-build/bench}
mkdir -p "$dir"
[ -e "$model" ] && [ -e "$text" ] || { echo "SKIP bench: no model or text; give MODEL= and TEXT="; exit 0; }

row() { printf '%-66s %-34s %s\n' "$1" "$2" "$3"; }
field() { sed -n "s/.*\"$1\": \([-0-9.e+]*\).*/\1/p" | head -1; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'; }
seconds() { # best of N runs of a command: N COMMAND...
    local n=$1 best=999999 t0 t1
    shift
    for _ in $(seq "$n"); do
        t0=$(date +%s%N)
        eval "$*" >/dev/null 2>&1 || { echo failed; return; }
        t1=$(date +%s%N)
        best=$(awk -v b=$best -v t=$((t1 - t0)) 'BEGIN { t /= 1e9; print t < b ? t : b }')
    done
    echo "$best"
}
peak() { /usr/bin/time -f %M "$@" 2>&1 >/dev/null | tail -1; } # KiB
ready() { [ -e "$dir/model.rsq" ] || rs-import -q "$model" -o "$dir/model.rsq"; }
rotations() { [ -e "$dir/random.rsq" ] || "$B/tests/bench_rotations" "$dir/model.rsq" 0.1 1 "$dir/random.rsq"; } # random near-identity layer-wise ones
oracle() { [ -x "$python" ] && [ -e "$reference" ]; }
perplexity() { rs-eval -q --json --text "$text" "$@" | field perplexity; }

part_fp() {
    ready
    row "full precision, 24 windows of 1024, perplexity" "$(perplexity "$dir/model.rsq" --windows 24)" "23.1709 +- 0.05 %"
}

part_llama() {
    ready
    row "first 1024 tokens, mean NLL" "$(rs-eval -q --json --windows 1 --text "$text" "$dir/model.rsq" | field nll)" "2.6138 +- 0.002"
    if [ -x "$python" ] && "$python" -c 'import llama_cpp' 2>/dev/null; then
        row "  the same, llama.cpp (8-bit activations)" "$("$python" tests/oracle/llama_nll.py "$model" "$text" 1024)" "for comparison"
    fi
}

part_fuse() {
    ready
    for seed in 1 2 3; do
        rs-fuse -q --seed $seed "$dir/model.rsq" -o "$dir/fused.rsq"
        row "rs-fuse --seed $seed, relative logits error" "$(rs-verify --json --tol 1 "$dir/fused.rsq" --against "$dir/model.rsq" --text "$text" | field logits_rel)" "<= 1e-5"
    done
}

part_seeds() {
    ready
    local sum=0 p
    for seed in 1 2 3 4 5; do
        rs-fuse -q --seed $seed "$dir/model.rsq" | rs-pack -q --w-bits 16 --a-bits 4 --kv-bits 4 -o "$dir/a4.rsq"
        p=$(perplexity "$dir/a4.rsq" --windows 12)
        row "  seed $seed, W16A4KV4, 12 windows of 1024" "$p" ""
        sum=$(awk -v s=$sum -v p="$p" 'BEGIN { print s + p }')
    done
    row "QuaRot form, W16A4KV4, mean of 5 seeds" "$(awk -v s=$sum 'BEGIN { printf "%.3f", s / 5 }')" "46 +- 5 %"
    # Norm scales folded, as in the reference: a token is then rounded before they are applied.
    rs-fuse -q --no-rotate "$dir/model.rsq" | rs-pack -q --w-bits 16 --a-bits 4 --kv-bits 4 -o "$dir/a4.rsq"
    row "unrotated, W16A4KV4" "$(perplexity "$dir/a4.rsq" --windows 12)" "above 1000 (18669 in PyTorch)"
}

part_reference() { # the same rotations as the reference, learned by it in a few steps
    oracle || { row "same rotations as the reference" "SKIP: no PyTorch or reference" ""; return; }
    ready
    local steps=${STEPS:-6} windows=${WINDOWS:-48} base ours theirs w
    [ -e "$dir/R.pt" ] || "$python" "$reference" learn "$model" "$calib" --mode dense --steps "$steps" -o "$dir/R.pt" >"$dir/learn.log" 2>&1
    base=$(rs-verify --json "$dir/model.rsq" | sed -n 's/.*"tensor_digest": "\([0-9a-f]*\)".*/\1/p')
    "$python" tests/oracle/rot_from_torch.py "$dir/R.pt" "$dir/rot.rsq" --base "$base"
    rs-fuse -q -R "$dir/rot.rsq" "$dir/model.rsq" -o "$dir/dense.rsq"
    for w in 16 4; do
        rs-pack -q --w-bits $w --rest keep --a-bits 4 --kv-bits 4 "$dir/dense.rsq" -o "$dir/p.rsq"
        ours=$(perplexity "$dir/p.rsq" --windows "$windows")
        theirs=$("$python" "$reference" eval "$model" "$text" --rot "$dir/R.pt" --residual full --w $w --a 4 --kv 4 --windows "$windows" | sed -n 's/^perplexity \([0-9.]*\).*/\1/p')
        row "reference's rotations, W${w}A4KV4, $windows windows: ours / respin_ref.py" "$ours / $theirs = $(ratio "$ours" "$theirs")" "1 +- 0.01"
    done
}

part_residual() {
    ready
    rotations
    local d=${D:-576}
    [ -e "$dir/layerwise.rsq" ] || rs-fuse -q -R "$dir/random.rsq" "$dir/model.rsq" -o "$dir/layerwise.rsq"
    row "rs-fuse -R, dense junctions, relative logits error" "$(rs-verify --json --tol 1 "$dir/layerwise.rsq" --against "$dir/model.rsq" --text "$text" | field logits_rel)" "<= 1e-5"
    for r in 0 2 8 32 "$d"; do
        rs-residual -q -R "$dir/random.rsq" --rank "$r" "$dir/layerwise.rsq" -o "$dir/exact.rsq"
        row "rs-residual exact, rank $r" "$(rs-verify --json --tol 1 "$dir/exact.rsq" --against "$dir/model.rsq" --text "$text" | field logits_rel)" "<= 1e-5"
    done
    rs-residual -q --paper -R "$dir/random.rsq" --rank "$d" "$dir/layerwise.rsq" -o "$dir/paper.rsq"
    row "rs-residual --paper, rank $d" "$(rs-verify --json --tol 1 "$dir/paper.rsq" --against "$dir/model.rsq" --text "$text" | field logits_rel)" "<= 1e-5"
    for r in 8 32; do
        rs-residual -q --paper --rank "$r" --report "$dir/report.json" "$dir/random.rsq" -o "$dir/cut.rsq"
        row "rs-residual --paper, rank $r: |T - T^|, stated off measured at most" "$("$B/tests/bench_junctions" "$dir/random.rsq" "$dir/cut.rsq" "$dir/report.json")" "<= 0.05"
    done
}

part_subspace() { # ROT=rot.rsq, a learned set for the model: what the choice of subspaces and ranks is worth
    [ -n "${ROT:-}" ] || { row "subspaces of the junctions" "SKIP: no learned set; give ROT=rot.rsq" ""; return; }
    ready
    local r o name weight=(--weight activations --text "$calib")
    rs-fuse -q -R "$ROT" "$dir/model.rsq" -o "$dir/learned.rsq"
    for r in 8 32; do
        for name in plain weight budget weight+budget; do
            o=(--rank $r)
            [[ $name == *budget ]] && o=(--budget $r)
            [[ $name == weight* ]] && o+=("${weight[@]}")
            rs-residual -q -R "$ROT" "${o[@]}" "$dir/learned.rsq" | rs-pack -q --w-bits 16 --a-bits 4 --kv-bits 4 -o "$dir/p.rsq"
            row "exact chain r = $r, $name, W16A4KV4, 12 windows" "$(perplexity "$dir/p.rsq" --windows 12)" "at most plain"
        done
    done
}

part_memory() { # a synthetic model and one four times deeper, through the whole pipe
    local gptq8 gptq32
    for L in 8 32; do
        [ -e "$dir/deep$L" ] || "${python}" tests/oracle/synthetic.py "$dir/deep$L" --layers $L
        cp samples/model/tokenizer.json "$dir/deep$L" # for GPTQ, whose text uses the first rows of the embedding
        rs-import -q "$dir/deep$L" -o "$dir/deep$L.rsq"
        row "$L layers: rs-fuse peak MiB" "$(($(peak rs-fuse -q --seed 1 "$dir/deep$L.rsq" -o "$dir/deep.fused") / 1024))" "$(limit "$dir/deep$L")"
        "$B/tests/bench_rotations" "$dir/deep$L.rsq" 0.1 1 "$dir/deep.rot"
        row "$L layers: rs-fuse -R peak MiB" "$(($(peak rs-fuse -q -R "$dir/deep.rot" "$dir/deep$L.rsq" -o "$dir/deep.fused") / 1024))" ""
        row "$L layers: rs-residual --rank 32 peak MiB" "$(($(peak rs-residual -q -R "$dir/deep.rot" --rank 32 "$dir/deep.fused" -o "$dir/deep.resid") / 1024))" ""
        row "$L layers: rs-pack --w-bits 4 peak MiB" "$(($(peak rs-pack -q --w-bits 4 "$dir/deep.resid" -o "$dir/deep.packed") / 1024))" ""
        eval "gptq$L=$(peak rs-pack -q --gptq --text samples/text/calib.txt --samples 16 --ctx 512 --mem 8M "$dir/deep.resid" -o "$dir/deep.packed")"
    done
    row "rs-pack --gptq --mem 8M peak MiB, 32 layers / 8" "$((gptq32 / 1024)) / $((gptq8 / 1024)) = $(ratio "$gptq32" "$gptq8")" "<= 1.05"
    rm -f "$dir"/deep.*
}
limit() { # 64 MiB + 3 x the largest tensor in f32
    rs-import --dry-run --json "$1" | "$python" -c '
import json, sys, math
big = max(math.prod(t["shape"]) * 4 for t in json.load(sys.stdin)["tensors"])
print("<= %d MiB" % (64 + 3 * big / 2**20))'
}

part_fuse-speed() {
    ready
    rotations
    "$B/tests/bench_fuse" "$dir/model.rsq" "$dir/random.rsq"
}

part_eval-speed() {
    oracle || { row "rs-eval against PyTorch" "SKIP: no PyTorch or reference" ""; return; }
    ready
    local ours theirs
    ours=$(rs-eval -q --json --windows 4 --text "$text" "$dir/model.rsq" | field tokens_per_s)
    theirs=$("$python" "$reference" ppl "$model" "$text" --windows 4 | sed -n 's/.*, \([0-9]*\) tokens.s).*/\1/p')
    row "rs-eval / PyTorch reference, tokens/s, 4 windows of 1024" "$ours / $theirs = $(ratio "$ours" "$theirs")" ">= 1.5"
}

part_gptq() { # one global rotation in both; the reference collects the Hessians of a layer in one pass
    oracle || { row "GPTQ against the reference" "SKIP: no PyTorch or reference" ""; return; }
    ready
    local windows=${WINDOWS:-2} base theirs i=2 bits ours took core
    base=$(rs-verify --json "$dir/model.rsq" | sed -n 's/.*"tensor_digest": "\([0-9a-f]*\)".*/\1/p')
    mapfile -t theirs < <("$python" tests/oracle/gptq_reference.py "$(dirname "$reference")" "$model" "$text" "$calib" "$windows" "$dir/G.pt")
    "$python" tests/oracle/rot_from_torch.py "$dir/G.pt" "$dir/global.rsq" --base "$base"
    rs-fuse -q --precise -R "$dir/global.rsq" "$dir/model.rsq" -o "$dir/global-fused.rsq"
    read -r -a took < <(/usr/bin/time -f '%e %U' rs-pack -q --gptq --one-pass --text "$calib" --samples 16 --ctx 512 --skip 200000 --rest keep "$dir/global-fused.rsq" -o "$dir/gptq-16.rsq" 2>&1)
    rs-pack -q --w-bits 16 --a-bits 4 --kv-bits 4 "$dir/gptq-16.rsq" -o "$dir/gptq-4.rsq"
    for bits in 16 4; do
        ours=$(perplexity "$dir/gptq-$bits.rsq" --windows "$windows")
        row "GPTQ W4A${bits}KV$bits, $windows windows of 1024: ours / respin_ref.py" "$ours / ${theirs[i]} = $(ratio "$ours" "${theirs[i]}")" "1 +- 0.01"
        i=$((i + 1))
    done
    row "GPTQ of the model, seconds: respin_ref.py / ours" "${theirs[0]} / ${took[0]} = $(ratio "${theirs[0]}" "${took[0]}")" ">= 3"
    row "  seconds of all threads together" "${theirs[1]} / ${took[1]} = $(ratio "${theirs[1]}" "${took[1]}")" "for comparison, on a busy machine"
    for core in Haswell SkylakeX; do
        OPENBLAS_CORETYPE=$core rs-pack -q --gptq --one-pass --text "$calib" --samples 16 --ctx 512 --skip 200000 --rest keep "$dir/global-fused.rsq" -o "$dir/gptq-16.rsq"
        row "  W4A16KV16 with sums rounded otherwise (OpenBLAS kernels of $core)" "$(perplexity "$dir/gptq-16.rsq" --windows "$windows")" "for comparison"
    done
    rs-pack -q --gptq --text "$calib" --samples 16 --ctx 512 --skip 200000 --rest keep "$dir/global-fused.rsq" -o "$dir/gptq-16.rsq"
    row "  W4A16KV16 with the Hessians in order (the default)" "$(perplexity "$dir/gptq-16.rsq" --windows "$windows")" "for comparison"
    rs-pack -q --rest keep "$dir/global-fused.rsq" -o "$dir/gptq-16.rsq"
    row "  W4A16KV16 rounded to nearest" "$(perplexity "$dir/gptq-16.rsq" --windows "$windows")" "for comparison"
}

part_io() {
    ready
    local f=$dir/model.rsq st=$dir/model.safetensors cat xxh t
    cat=$(seconds 5 "cat $f")
    xxh=$("$B/tests/bench_hash" "$f")
    t=$(seconds 5 "rs-verify -q -j1 $f")
    row "full verify: (cat + XXH3) / rs-verify seconds" "($cat + $xxh) / $t = $(ratio "$(awk -v a="$cat" -v b="$xxh" 'BEGIN{print a+b}')" "$t")" ">= 0.6"
    t=$(seconds 5 "rs-verify -q --quick $f")
    row "quick verify: (cat + XXH3) / rs-verify --quick seconds" "($cat + $xxh) / $t = $(ratio "$(awk -v a="$cat" -v b="$xxh" 'BEGIN{print a+b}')" "$t")" ">= 0.6"
    if [ -x "$python" ]; then
        [ -e "$st" ] || "$python" tests/oracle/synthetic.py "$dir/st" --layers 8
        cat=$(seconds 5 "cat $dir/st/model.safetensors")
        xxh=$("$B/tests/bench_hash" "$dir/st/model.safetensors")
        t=$(seconds 5 "rs-import -q $dir/st -o /dev/null")
        row "import of f16 safetensors: (cat + XXH3) / rs-import seconds" "($cat + $xxh) / $t = $(ratio "$(awk -v a="$cat" -v b="$xxh" 'BEGIN{print a+b}')" "$t")" ">= 0.6"
    fi
}

part_tokenizer() {
    ready
    "$B/tests/bench_tokenizer" "$dir/model.rsq" "$text"
}

part_kernels() { "$B/tests/bench_kernels"; }

part_int-gemm() { "$B/tests/bench_int_gemm"; } # wanted: W4A4 at least 2 of sgemm and 60 % of peak

packed() { # BITS: the model with one global rotation, rounded to nearest
    [ -e "$dir/packed.$1.rsq" ] || { ready && rs-fuse -q --seed 1 "$dir/model.rsq" | rs-pack -q --w-bits "$1" --a-bits "$1" --kv-bits "$1" -o "$dir/packed.$1.rsq"; }
}

part_integer() { # codes multiplied as integers against their simulation in f32
    local bits a b windows=${WINDOWS:-4}
    for bits in 8 4 3; do
        packed $bits
        a=$(perplexity "$dir/packed.$bits.rsq" --windows "$windows" --integer)
        b=$(perplexity "$dir/packed.$bits.rsq" --windows "$windows")
        row "W${bits}A${bits}KV$bits, $windows windows of 1024: integers / simulated, perplexity" "$a / $b = $(awk -v a="$a" -v b="$b" 'BEGIN { printf "%.9f", a / b }')" "the same to 4 digits"
    done
}

part_generation() { # in turns with llama.cpp on a Q4_0 of the same model, whose head has 8 bits too
    local threads prefill ours theirs what form a b have=
    threads=$(nproc)
    packed 4
    [ -e "$dir/packed.head.rsq" ] || rs-fuse -q --seed 1 "$dir/model.rsq" | rs-pack -q --w-bits 4 --a-bits 4 --kv-bits 4 --head-bits 8 -o "$dir/packed.head.rsq"
    case $model in *.gguf) [ -x "$python" ] && "$python" -c 'import llama_cpp' 2>/dev/null && have=1 ;; esac
    [ -n "$have" ] || row "llama.cpp" "SKIP: no llama-cpp-python, or the model is no GGUF" ""
    [ -z "$have" ] || [ -e "$dir/q4_0.gguf" ] || "$python" tests/oracle/llama_speed.py --quantise "$model" "$dir/q4_0.gguf" >/dev/null 2>&1
    for prefill in 512 16; do
        for form in head 4 head 4; do
            ours=$(rs-eval -q --json --bench --prefill $prefill -n 64 --rounds 5 "$dir/packed.$form.rsq")
            [ -z "$have" ] || theirs=$("$python" tests/oracle/llama_speed.py "$dir/q4_0.gguf" "$threads" $prefill 64 5)
            for what in prefill decode; do
                [ $what$prefill = prefill16 ] && continue
                a=$(echo "$ours" | field ${what}_tokens_per_s) b=$(echo "${theirs:-}" | field ${what}_tokens_per_s)
                row "$what, prompt of $prefill, $([ $form = head ] && echo "8-bit" || echo f16) head: ours / llama.cpp Q4_0, tokens/s" "$a / ${b:--} = $([ -n "$b" ] && ratio "$a" "$b")" ">= 1.5"
            done
            row "  share of the read bandwidth (decode), of the instruction's rate (prefill)" "$(echo "$ours" | field read_share), $(echo "$ours" | field products_share)" "aim: 0.6"
        done
    done
}

part_junctions() { # the cost of residual junctions
    "$B/tests/bench_residual" "$(nproc)" 32 9 # wanted: at most 2 % for both
    ready
    rotations
    rs-fuse -q -R "$dir/random.rsq" "$dir/model.rsq" | rs-residual -q -R "$dir/random.rsq" --rank 32 | rs-pack -q --w-bits 4 --a-bits 4 --kv-bits 4 -o "$dir/junctions.rsq"
    rs-eval -q --bench -n 64 --rounds 7 "$dir/junctions.rsq" # a small model: for comparison
}

part_size() { # SmolLM2's sizes
    local ours sum
    packed 4
    ours=$(stat -c %s "$dir/packed.4.rsq")
    sum=$(awk 'BEGIN { d = 576; f = 1536; kv = 192; L = 30; V = 49152
        codes = L * (2 * d * d + 2 * kv * d + 3 * f * d) / 2; rows = L * (2 * d + 2 * kv + 2 * f + d)
        print codes + rows * (4 + 4) + 2 * V * d * 2 }')
    row "SmolLM2 at W4, bytes: file / codes, scales, sums, f16 embedding and head" "$ours / $sum = $(awk -v a="$ours" -v b="$sum" 'BEGIN { printf "%.4f", a / b }')" "within 0.01"
}

part_top() { # a file with statistics of two steps
    ready
    local first key mem
    [ -e "$dir/figures.rsq" ] || rs-stat -q --text "$calib" --samples 2 --ctx 256 "$dir/model.rsq" | rs-fuse -q --seed 1 | rs-stat -q --text "$calib" --samples 2 --ctx 256 -o "$dir/figures.rsq"
    row "rs-top, MB of the file" "$(($(stat -c %s "$dir/figures.rsq") / 1000000))" ""
    row "  start to the first screen printed, ms" "$(seconds 5 "rs-top --batch --size 80x24 $dir/figures.rsq" | awk '{ printf "%.1f", $1 * 1000 }')" "<= 100"
    read -r first key mem < <(for _ in 1 2 3; do "$B/tests/bench_top" "$dir/figures.rsq"; done | awk 'NR == 1 || $1 < f { f = $1 } NR == 1 || $2 < k { k = $2 } $3 > m { m = $3 } END { print f, k, m }') # of three runs, for others use the machine
    row "  the same inside the process, ms" "$first" ""
    row "  key to the next picture, worst of 300 on all screens, ms" "$key" "<= 16"
    row "  peak MiB after the whole file was checked" "$mem" "<= 64"
}

part_learn() { # one step of learning: speed against sgemm and PyTorch, memory against what was stated
    ready
    local log=$dir/learn.jsonl said peak ours theirs
    "$B/tests/bench_learn" "$dir/model.rsq" 2 4
    said=$(rs-learn --dry-run "$dir/model.rsq" --text "$calib" --holdout 0 2>&1 | sed -n 's/.*memory \([0-9]*\) MiB.*/\1/p')
    peak=$(($(peak rs-learn -q -j2 "$dir/model.rsq" --text "$calib" --holdout 0 --steps 3 --log "$log" -o "$dir/learned.rsq") / 1024))
    row "rs-learn, dense, 512 tokens: peak MiB / stated" "$peak / $said = $(ratio "$peak" "$said")" "<= 1.05"
    oracle || { row "learning step against PyTorch" "SKIP: no PyTorch or reference" ""; return; }
    for mode in dense global; do
        rs-learn -q -j2 "$dir/model.rsq" --text "$calib" --mode $mode --holdout 0 --steps 4 --log "$log" -o "$dir/learned.rsq"
        ours=$(sed -n 's/.*"seconds": \([0-9.]*\).*/\1/p' "$log" | tail -3 | sort -n | sed -n 2p)
        theirs=$("$python" "$reference" learn "$model" "$calib" --mode $mode --steps 4 -o "$dir/R.none.pt" | awk '/^step/ { t[$2] = $5 } END { print (t[3] - t[0]) / 3 }')
        row "learning step, $mode, 512 tokens: seconds ours / PyTorch" "$ours / $theirs = $(ratio "$ours" "$theirs")" "<= 0.5"
    done
    rm -f "$dir/R.none.pt"
}

part_stat() { # activations on the same windows as perplexity; weights apart
    ready
    local ours theirs packs weights round
    packed 4
    for form in model packed.4; do
        for round in 1 2; do
            ours=$(rs-stat -v --text "$text" --samples 16 --ctx 512 "$dir/$form.rsq" 2>&1 >/dev/null | sed -n 's/.* tokens, \([0-9]*\) tokens.s$/\1/p')
            theirs=$(rs-eval -q --json --text "$text" --windows 16 --ctx 512 "$dir/$form.rsq" | field tokens_per_s)
            row "$form, 16 windows of 512: rs-stat's walk / rs-eval, tokens/s" "$ours / $theirs = $(ratio "$ours" "$theirs")" ">= 0.7"
        done
    done
    weights=$(seconds 2 "rs-stat -q $dir/model.rsq -o /dev/null")
    packs=$(seconds 2 "rs-pack -q $dir/model.rsq -o /dev/null")
    row "weight statistics (SQNR at 4 and 3 bits) / rs-pack at 4 bits, seconds" "$weights / $packs = $(ratio "$weights" "$packs")" "about 2"
}

parts=${*:-${PARTS:-fp llama fuse seeds reference residual subspace memory fuse-speed eval-speed gptq io tokenizer kernels int-gemm integer generation junctions size learn stat top}}
for p in $parts; do "part_$p"; done
