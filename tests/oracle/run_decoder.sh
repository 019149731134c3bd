#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One decoder layer against PyTorch; skipped where it is not installed.
if ! "${RS_PYTHON:-}" -c 'import torch, numpy' 2>/dev/null; then
    echo "SKIP oracle/decoder: no Python with torch and numpy (RS_PYTHON)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
san=()
[ "$SAN" = 1 ] && san=(-fsanitize=address,undefined)
gcc -std=c11 -D_GNU_SOURCE -O1 "${san[@]}" -I"$T/.." -o "$tmp/layer" "$T/oracle/decoder_layer.c" "$B/librs.a" $(cat "$B/librs.libs") || exit 1
"$RS_PYTHON" "$T/oracle/decoder.py" "$tmp/layer"
