#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# GPTQ of one matrix against PyTorch; skipped where it is not installed.
if ! "${RS_PYTHON:-}" -c 'import torch, numpy' 2>/dev/null; then
    echo "SKIP oracle/gptq: no Python with torch and numpy (RS_PYTHON)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
san=()
[ "$SAN" = 1 ] && san=(-fsanitize=address,undefined)
gcc -std=c11 -D_GNU_SOURCE -O1 "${san[@]}" -I"$T/.." -o "$tmp/matrix" "$T/oracle/gptq_matrix.c" "$B/librs.a" $(pkg-config --libs openblas libxxhash libpcre2-8 jansson msgpack) -lm -pthread || exit 1
"$RS_PYTHON" "$T/oracle/gptq.py" "$tmp/matrix"
