#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Registers, block memory and spills of each kernel on each architecture, from what ptxas said when it was built (*.ptxas files as arguments); fails where a kernel spills or an
# architecture of $ARCHS is missing.
set -eu
[ $# -gt 0 ] || { echo "SKIP ptxas-report: no kernels are built (no nvcc, or CUDA=0)"; exit 0; }
awk -v archs="$ARCHS" '
    BEGIN { printf "%-22s %-7s %9s %12s %7s %7s\n", "kernel", "", "registers", "block bytes", "stack", "spills" }
    /Compiling entry function/ { split($0, part, "\047"); kernel = part[2]; arch = part[4]; stack = spills = 0; seen[arch] = 1 }
    /bytes stack frame/ { stack = $1; spills = $5 + $9 }
    /Used [0-9]+ registers/ {
        bytes = 0
        for (i = 2; i <= NF; i++) if ($i ~ /^smem/) bytes = $(i - 2 + 0)
        printf "%-22s %-7s %9d %12d %7d %7d\n", kernel, arch, $5, bytes, stack, spills
        kernels++
        if (spills > 0) { printf "FAIL %s spills on %s\n", kernel, arch; failed = 1 }
    }
    END {
        n = split(archs, want, " ")
        for (i = 1; i <= n; i++) if (!("sm_" want[i] in seen)) { printf "FAIL nothing is built for sm_%s\n", want[i]; failed = 1 }
        printf "%d kernels on %d architectures, %s\n", kernels / (n > 0 ? n : 1), n, failed ? "FAILED" : "none spills"
        exit failed
    }' "$@"
