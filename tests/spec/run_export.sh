#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Exports as readers in another language see them.
py=$(command -v python3 || command -v "${RS_PYTHON:-python3}") || { echo "SKIP spec/export: no python3"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
if ! "$B/tests/test_export" "$tmp" >"$tmp/log" 2>&1; then
    cat "$tmp/log"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
for f in "$tmp"/*.json; do "$py" -m json.tool "$f" /dev/null || { echo "FAIL spec/export: json.tool"; echo "0 passed, 1 failed, 0 skipped"; exit 1; }; done
PYTHONDONTWRITEBYTECODE=1 "$py" "$T/spec/export.py" "$tmp" "$T/../inspect/export.schema.json"
