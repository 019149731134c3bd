#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Loss and derivatives of rs-learn against PyTorch autograd on the sample model and a tiny one; skipped where it is not installed.
if ! "${RS_PYTHON:-}" -c 'import torch, numpy, safetensors' 2>/dev/null; then
    echo "SKIP oracle/learn: no Python with torch, numpy and safetensors (RS_PYTHON)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
san=()
[ "$SAN" = 1 ] && san=(-fsanitize=address,undefined)
gcc -std=c11 -D_GNU_SOURCE -O1 "${san[@]}" -I"$T/.." -o "$tmp/slopes" "$T/oracle/learn_slopes.c" "$B/librs.a" $(cat "$B/librs.libs") || exit 1
rs-import -q "$T/../samples/model" -o "$tmp/model.rsq" || exit 1
python3 "$T/tiny_hf.py" "$tmp/tiny" layers=2 d=32 f=48 heads=4 kv=2 h=16 && rs-import -q "$tmp/tiny" -o "$tmp/tiny.rsq" || exit 1
OPENBLAS_NUM_THREADS=1 "$RS_PYTHON" "$T/oracle/learn.py" "$tmp/slopes" "$tmp/model.rsq" "$T/../samples/model" "$tmp/tiny.rsq" "$tmp/tiny"
