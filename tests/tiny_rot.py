#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a tiny rotation set with dense bases, by the writer of the golden files. Usage: tiny_rot.py FILE LAYERS D H [BASE]; BASE: tensor digest of the model as 32 hex digits."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "spec"))
from make_golden import DROP, rot_head, square, stream


def turned(rng, n, rows, angle):
    """rows times a product of two reflections at vectors that lie near each other: a rotation in one plane."""
    u = [rng.random() - 0.5 for _ in range(n)]
    v = [x + angle * (rng.random() - 0.5) for x in u]
    for w in (u, v):
        norm = sum(x * x for x in w)
        rows = [[x - 2 * y * sum(a * b for a, b in zip(r, w)) / norm for x, y in zip(r, w)] for r in rows]
    return rows


def eye(n):
    return [[float(i == j) for j in range(n)] for i in range(n)]


def main():
    path, layers, d, h = sys.argv[1], *map(int, sys.argv[2:5])
    base = bytes.fromhex(sys.argv[5]) if len(sys.argv) > 5 else DROP
    rng, frames, rows = random.Random(7), [], eye(d)
    for _ in range(d):
        rows = turned(rng, d, rows, 2.0)
    for j in range(2 * layers + 1):
        frames.append(square("rot.%d" % j, d, sum(rows, [])))
        for _ in range(3):
            rows = turned(rng, d, rows, 0.3)
    for i in range(layers):
        frames.append(square("headrot.%d" % i, h, sum(turned(rng, h, eye(h), 2.0), [])))
    with open(path, "wb") as out:
        out.write(stream(*frames, h=rot_head(layers, base=base, model="tiny")))


main()
