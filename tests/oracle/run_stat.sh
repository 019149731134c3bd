#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every number of rs-stat on the sample model against numpy, and its activations against those of transformers; skipped where they are not installed.
if ! "${RS_PYTHON:-}" -c 'import numpy, torch, transformers, tokenizers' 2>/dev/null; then
    echo "SKIP oracle/stat: no Python with numpy, torch, transformers and tokenizers (RS_PYTHON)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
san=()
[ "$SAN" = 1 ] && san=(-fsanitize=address,undefined)
gcc -std=c11 -D_GNU_SOURCE -O1 "${san[@]}" -I"$T/.." -o "$tmp/taps" "$T/oracle/stat_taps.c" "$B/librs.a" $(cat "$B/librs.libs") || exit 1
"$RS_PYTHON" "$T/oracle/stat.py" "$tmp" "$T/../samples"
