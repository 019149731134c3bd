# SPDX-License-Identifier: Apache-2.0
"""GPTQ of one matrix in PyTorch (fp32 weights, lazy updates by blocks, fp64 factor) against the C one (argument: the program built from gptq_matrix.c)."""
import struct
import subprocess
import sys

import numpy as np
import torch

torch.set_num_threads(1)
torch.set_grad_enabled(False)
passed = failed = 0


def check(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("FAIL gptq:", what)


def scales(w, bits):
    """[rows, 1]: the best of 80 clip ratios by the sum of |error|^2.4."""
    top = 2 ** (bits - 1) - 1
    largest = w.abs().amax(1, keepdim=True)
    best, scale = torch.full_like(largest, float("inf"), dtype=torch.float64), torch.ones_like(largest)
    for i in range(80):
        s = largest * np.float32(1 - i / 100) / top
        q = torch.round(w / s).clamp(-top - 1, top) * s
        e = (q - w).double().abs().pow(2.4).sum(1, keepdim=True)
        better = e < best
        best, scale = torch.where(better, e, best), torch.where(better, s, scale)
    return torch.where(largest > 0, scale, torch.ones_like(scale))


def gptq(w, h, bits, group=0, act_order=False, block=128, damp=0.01):
    rows, n = w.shape
    group = group or n
    top = 2 ** (bits - 1) - 1
    w, h = w.clone(), h.double()
    dead = h.diagonal() == 0
    h.diagonal()[dead] = 1
    w[:, dead] = 0
    order = torch.argsort(h.diagonal(), descending=True, stable=True) if act_order else torch.arange(n)
    place = torch.argsort(order)
    w, h = w[:, order], h[order][:, order]
    h = h + damp * h.diagonal().mean() * torch.eye(n, dtype=torch.float64)
    u = torch.linalg.cholesky(torch.linalg.inv(h), upper=True).float()
    out, scale = torch.empty_like(w), {}
    for a in range(0, n, block):
        b = min(a + block, n)
        errors = torch.zeros(rows, b - a)
        for i in range(a, b):
            g = order[i].item() // group
            if g not in scale:
                at = place[g * group:(g + 1) * group]
                now = w[:, at].clone()
                late = at >= b  # these hear of this block's errors at its end only
                now[:, late] -= errors[:, :i - a] @ u[a:i][:, at[late]]
                scale[g] = scales(now, bits)
            s = scale[g][:, 0]
            q = torch.round(w[:, i] / s).clamp(-top - 1, top) * s
            e = (w[:, i] - q) / u[i, i]
            w[:, i + 1:b] -= e[:, None] * u[i, i + 1:b]
            out[:, i], errors[:, i - a] = q, e
        w[:, b:] -= errors @ u[a:b, b:]
    return out[:, place]


def theirs(w, h, bits, group, act_order, block, damp):
    head = struct.pack("<6Qd", *w.shape, bits, group, act_order, block, damp)
    done = subprocess.run([sys.argv[1]], input=head + w.numpy().tobytes() + h.numpy().tobytes(), capture_output=True, check=True)
    return torch.from_numpy(np.frombuffer(done.stdout, np.float32).reshape(w.shape).copy())


def loss(w, q, h):
    e = (q - w).double()
    return ((e @ h.double()) * e).sum().item()


def main():
    g = torch.Generator().manual_seed(1)
    for rows, n, tokens, dead in ((64, 256, 2048, False), (48, 192, 100, False), (40, 320, 1500, True)):
        mix = torch.eye(n) + 0.3 * torch.randn(n, n, generator=g) / n**0.5 + torch.randn(n, 4, generator=g) @ torch.randn(4, n, generator=g) / 4
        x = torch.randn(tokens, n, generator=g) @ mix
        x[:, ::37] *= 8
        if dead:
            x[:, 11] = x[:, 200] = 0
        h, w = x.T @ x, 0.05 * torch.randn(rows, n, generator=g) * (1 + 4 * (torch.rand(rows, n, generator=g) < 0.01))
        for bits, group, act_order, block, damp in ((4, 0, 0, 128, 0.01), (3, 0, 0, 128, 0.01), (4, 0, 1, 128, 0.01), (3, 32, 0, 48, 0.05), (4, 64, 1, 50, 0.01), (8, 0, 0, 1, 0.01)):
            what = f"{rows} x {n}, {tokens} tokens, {bits} bits, group {group}, act-order {act_order}, block {block}"
            ours, c = gptq(w, h, bits, group, act_order, block, damp), theirs(w, h, bits, group, act_order, block, damp)
            other = ((ours - c).abs() > 1e-5 * ours.abs()).float().mean().item()
            check(other <= 0.02, f"{what}: {100 * other:.2f} % of the weights differ")
            a, b = loss(w, ours, h), loss(w, c, h)
            check(abs(a - b) <= 1e-3 * a, f"{what}: loss {b:.6g}, PyTorch {a:.6g}")
            top = 2 ** (bits - 1) - 1
            spans = w.reshape(-1, group or n)
            s = scales(spans, bits)
            nearest = (torch.round(spans / s).clamp(-top - 1, top) * s).reshape(w.shape)
            check(b < 0.9 * loss(w, nearest, h), f"{what}: loss {b:.6g} is not below that of rounding to nearest")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)


main()
