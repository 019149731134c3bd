#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# rs-import against the libraries that write the formats it reads; skipped where they are not installed.
if ! "${RS_PYTHON:-}" -c 'import torch, transformers, gguf, tokenizers' 2>/dev/null; then
    echo "SKIP import oracle: RS_PYTHON names no Python with torch, transformers, gguf and tokenizers"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
model=${RS_SHARED:+$RS_SHARED/data/SmolLM2-135M-Instruct.Q4_1.gguf}
[ -n "$model" ] && [ -e "$model" ] || { model=; echo "SKIP import oracle: no real model (RS_SHARED)"; }
"$RS_PYTHON" "$T/oracle/import.py" "$(command -v rs-import)" "$tmp" ${model:+"$model"} 2>"$tmp/err"
status=$?
[ $status -eq 0 ] || tail -20 "$tmp/err"
exit $status
