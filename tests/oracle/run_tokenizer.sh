#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The tokenizer against the `tokenizers` package and llama.cpp's ids.
if ! "$RS_PYTHON" -c 'import tokenizers, numpy, gguf' 2>/dev/null; then
    echo "SKIP oracle/tokenizer: no Python with tokenizers, numpy and gguf (RS_PYTHON)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
exec "$RS_PYTHON" "$T/oracle/tokenizer.py" "$B"
