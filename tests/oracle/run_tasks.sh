#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Multiple-choice scores against transformers; skipped where it is not installed.
if ! "${RS_PYTHON:-}" -c 'import torch, transformers' 2>/dev/null; then
    echo "SKIP oracle/tasks: no Python with torch and transformers (RS_PYTHON)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
fi
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
"$RS_PYTHON" "$T/oracle/tasks.py" "$T/../samples" "$tmp" 2>"$tmp/err"
status=$?
[ $status -eq 0 ] || tail -20 "$tmp/err"
exit $status
