#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the virtual environment that the comparisons with other people's programs use (make oracle-venv).
set -eu
dir=${XDG_CACHE_HOME:-$HOME/.cache}/respin-oracle
python3 -m venv "$dir"
"$dir/bin/pip" install -q torch numpy safetensors gguf tokenizers transformers
"$dir/bin/pip" install -q llama-cpp-python || echo "llama-cpp-python could not be built: its comparisons will be skipped" >&2
