#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# GPTQ of one matrix against PyTorch, of the sample model against the method in PyTorch (respin_ref.py); skipped where one of them is missing.
if ! "${RS_PYTHON:-}" -c 'import torch, numpy' 2>/dev/null; then
    echo "SKIP oracle/gptq: no Python with torch and numpy (RS_PYTHON)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
san=()
[ "$SAN" = 1 ] && san=(-fsanitize=address,undefined)
gcc -std=c11 -D_GNU_SOURCE -O1 "${san[@]}" -I"$T/.." -o "$tmp/matrix" "$T/oracle/gptq_matrix.c" "$B/librs.a" $(cat "$B/librs.libs") || exit 1
"$RS_PYTHON" "$T/oracle/gptq.py" "$tmp/matrix" >"$tmp/out"
status=$?
ref=${RS_SHARED:+$RS_SHARED/reference/respin_ref.py}
if [ -z "$ref" ] || [ ! -e "$ref" ] || ! "$RS_PYTHON" -c 'import tokenizers' 2>/dev/null; then
    echo "SKIP oracle/gptq: no respin_ref.py (RS_SHARED) or no tokenizers"
    sed 's/ 0 skipped$/ 1 skipped/' "$tmp/out"
    exit $status
fi
"$RS_PYTHON" "$T/oracle/gptq_model.py" "$tmp" "$(dirname "$ref")" "$T/../samples" >>"$tmp/out"
status=$((status | $?))
grep -v ' skipped$' "$tmp/out"
awk '/^[0-9]+ passed, [0-9]+ failed/ { p += $1; f += $3 } END { print p " passed, " f " failed, 0 skipped" }' "$tmp/out"
exit $status
