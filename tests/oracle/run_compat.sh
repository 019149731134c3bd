#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# rs-pack --compat against the quantisers of the peers in PyTorch, as numerics.md describes them; skipped where it is not installed.
if ! "${RS_PYTHON:-}" -c 'import torch, numpy' 2>/dev/null; then
    echo "SKIP oracle/compat: no Python with torch and numpy (RS_PYTHON)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
san=()
[ "$SAN" = 1 ] && san=(-fsanitize=address,undefined)
gcc -std=c11 -D_GNU_SOURCE -O1 "${san[@]}" -I"$T/.." -o "$tmp/peer" "$T/oracle/compat_peer.c" "$B/librs.a" $(cat "$B/librs.libs") || exit 1
"$RS_PYTHON" "$T/oracle/compat.py" "$tmp" "$tmp/peer"
