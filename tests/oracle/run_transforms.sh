#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# rs-fuse and rs-residual against the method in PyTorch (respin_ref.py, fp64); skipped where one of them is missing.
ref=${RS_SHARED:+$RS_SHARED/reference/respin_ref.py}
if ! "${RS_PYTHON:-}" -c 'import torch, numpy' 2>/dev/null || [ -z "$ref" ] || [ ! -e "$ref" ]; then
    echo "SKIP oracle/transforms: no Python with torch and numpy (RS_PYTHON), or no respin_ref.py (RS_SHARED)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
"$RS_PYTHON" "$T/oracle/transforms.py" "$tmp" "$(dirname "$ref")"
