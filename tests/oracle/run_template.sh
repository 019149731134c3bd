#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Chat templates against transformers' Jinja; skipped where it is not installed.
if ! "${RS_PYTHON:-}" -c 'import transformers, jinja2' 2>/dev/null; then
    echo "SKIP oracle/template: no Python with transformers and jinja2 (RS_PYTHON)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
san=()
[ "$SAN" = 1 ] && san=(-fsanitize=address,undefined)
gcc -std=c11 -D_GNU_SOURCE -O1 "${san[@]}" -I"$T/.." -o "$tmp/render" "$T/oracle/template_render.c" "$B/librs.a" $(cat "$B/librs.libs") || exit 1
model=
for f in "${RS_SHARED:-}"/data/*.gguf; do
    [ -e "$f" ] && "$RS_PYTHON" -c 'import gguf' 2>/dev/null && model=$f
done
"$RS_PYTHON" "$T/oracle/template.py" "$tmp/render" "$model" 2>"$tmp/err"
status=$?
[ $status -eq 0 ] || tail -20 "$tmp/err"
exit $status
