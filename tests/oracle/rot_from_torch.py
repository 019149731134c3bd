#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a rotations file (formats/FORMAT.md 13) from matrices that PyTorch or numpy saved.

  rot_from_torch.py R.pt OUT.rsq [--model IMPORTED.rsq | --base HEX]
      R.pt holds a dict: bases, a list of 2L+1 matrices [d, d] with x' = x R; heads, a list of L matrices [h, h] or None. Equal bases make a global set.
      The nearest orthogonal matrices are written.
      --model: the imported model that the set was learned from (its tensor digest becomes HEAD.base); --base: that digest itself
  rot_from_torch.py --random L,D,H OUT.rsq [--angle A] [--seed N] [--model ...]
      a random set instead: R_0 a random rotation, R_(j+1) = R_j Cayley(A_j) with random skew A_j of spectral size about A (default 0.4)
  rot_from_torch.py --digest FILE.rsq
      prints the tensor digest of a file

Needs numpy, PyTorch for .pt files, and libxxhash.
"""
import argparse
import ctypes
import os
import struct
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "spec"))
import make_golden as rsq

xxhash = ctypes.CDLL("libxxhash.so.0")


class Hash128(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


xxhash.XXH3_64bits.restype, xxhash.XXH3_64bits.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
xxhash.XXH3_128bits.restype, xxhash.XXH3_128bits.argtypes = Hash128, [ctypes.c_char_p, ctypes.c_size_t]


def xxh3_64(data):
    return xxhash.XXH3_64bits(bytes(data), len(data))


def xxh3_128(data):
    h = xxhash.XXH3_128bits(bytes(data), len(data))
    return struct.pack(">QQ", h.high, h.low)


rsq.xxh3_64, rsq.xxh3_128 = xxh3_64, xxh3_128  # the plain ones take minutes for files of this size


def tensor_digest(path):
    sums, at = [], 16
    with open(path, "rb") as f:
        size = os.fstat(f.fileno()).st_size
        while at < size:
            f.seek(at)
            _, tag, meta_len, pad, payload, _, _ = struct.unpack("<4s4sIIQII", f.read(32))
            start = at + 32 + meta_len + 4 + pad
            if tag == b"TSUM":
                f.seek(start)
                sums.append(f.read(payload))
            at = -(-(start + payload) // 8) * 8
    return xxh3_128(b"".join(sums))


def tensor(role, j, a):
    a = np.ascontiguousarray(np.asarray(a, dtype="<f4"))
    return [rsq.tens(f"{role}.{j}", a.shape, [("data", "f32", a.shape, a.tobytes())], role=role, layer=j)]


def write(path, bases, heads, base):
    layers = (len(bases) - 1) // 2
    head = dict(align=64, arch="llama", incompat=0, kind="rotations", layers=layers, model="")
    if base is not None:
        head["base"] = base
    same = all(b is bases[0] or np.array_equal(b, bases[0]) for b in bases)
    body = [tensor("rot", j, b) for j, b in enumerate(bases[:1] if same else bases)] + [tensor("headrot", i, p) for i, p in enumerate(heads or [])]
    data = rsq.stream(*[[f for t in x for f in (t if isinstance(t, list) else [t])] for x in body], h=rsq.Frame("HEAD", head))
    with open(path, "wb") as f:
        f.write(data)


def random_set(layers, d, h, angle, seed):
    rng = np.random.default_rng(seed)

    def rotation(n):
        q, r = np.linalg.qr(rng.standard_normal((n, n)))
        q = q * np.sign(np.diag(r))
        q[:, 0] *= np.sign(np.linalg.det(q))
        return q

    bases = [rotation(d)]
    for _ in range(2 * layers):
        a = rng.standard_normal((d, d)) * angle / np.sqrt(8 * d)
        a = a - a.T
        bases.append(bases[-1] @ np.linalg.solve(np.eye(d) - a / 2, np.eye(d) + a / 2))
    return bases, [rotation(h) for _ in range(layers)]


def nearest(r):
    """The nearest orthogonal matrix: learning in f32 drifts to a few 1e-5 in the elements of R^T R, to 1e-3 in its singular values: more than a file may hold."""
    u, s, v = np.linalg.svd(r)
    if not abs(s - 1).max() < 1e-2:
        sys.exit("rot_from_torch.py: a matrix is not a rotation: singular values from %g to %g" % (s.min(), s.max()))
    return u @ v


def main():
    p = argparse.ArgumentParser()
    p.add_argument("files", nargs="+")
    p.add_argument("--random")
    p.add_argument("--angle", type=float, default=0.4)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--model")
    p.add_argument("--base")
    p.add_argument("--digest", action="store_true")
    a = p.parse_args()
    if a.digest:
        print(tensor_digest(a.files[0]).hex())
        return
    base = bytes.fromhex(a.base) if a.base else tensor_digest(a.model) if a.model else None
    if a.random:
        bases, heads = random_set(*map(int, a.random.split(",")), a.angle, a.seed)
    else:
        import torch
        r = torch.load(a.files[0], map_location="cpu")
        bases, heads = [nearest(x.double().numpy()) for x in r["bases"]], [nearest(x.double().numpy()) for x in r["heads"] or []]
    write(a.files[-1], bases, heads, base)


if __name__ == "__main__":
    main()
