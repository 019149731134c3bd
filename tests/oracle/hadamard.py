# SPDX-License-Identifier: Apache-2.0
"""Hadamard matrices in PyTorch by formats/FORMAT.md 8, for prime fields."""
import math

import torch


def sylvester(n):
    h = torch.ones(1, 1, dtype=torch.float64)
    while h.shape[0] < n:
        h = torch.kron(torch.tensor([[1.0, 1], [1, -1]], dtype=torch.float64), h)
    return h


def characters(q):
    """chi(a - b) for a, b in 0..q-1."""
    squares = {a * a % q for a in range(1, q)}
    return torch.tensor([[0.0 if a == b else 1.0 if (a - b) % q in squares else -1.0 for b in range(q)] for a in range(q)], dtype=torch.float64)


def base(k):
    prime = lambda q: q > 1 and all(q % p for p in range(2, math.isqrt(q) + 1))
    if k == 1:
        return sylvester(1)
    if k % 4 == 0 and prime(k - 1):
        h = torch.ones(k, k, dtype=torch.float64)
        h[1:, 0] = -1
        h[1:, 1:] = characters(k - 1) + torch.eye(k - 1)
        return h
    q = k // 2 - 1
    if k % 4 == 0 and q % 4 == 1 and prime(q):
        c = torch.zeros(q + 1, q + 1, dtype=torch.float64)
        c[0, 1:] = c[1:, 0] = 1
        c[1:, 1:] = characters(q)
        two = lambda *x: torch.tensor(x, dtype=torch.float64).view(2, 2)
        return torch.kron(c, two(1, 1, 1, -1)) + torch.kron(torch.eye(q + 1, dtype=torch.float64), two(1, -1, -1, -1))


def hadamard(n):
    k = n // (n & -n)
    while base(k) is None:
        k *= 2
    return (torch.kron(base(k), sylvester(n // k)) / math.sqrt(n)).float()
