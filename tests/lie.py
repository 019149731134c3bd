#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Copies an RSQ stream with one stored sum of codes changed and every hash made right again, so that only the numbers lie.

  lie.py IN OUT TENSOR N    the N-th sum of TENSOR is one more
"""
import os
import struct
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "spec"))
import decode  # noqa: E402
import make_golden as gold  # noqa: E402


def main(source, out, name, n):
    b = open(source, "rb").read()
    frames, at = [], 16
    while at < len(b):
        tag, meta_len, pad, length = struct.unpack("<4x4sIIQ", b[at:at + 24])
        body = at + 32 + meta_len + 4 + pad
        tag, meta, payload = tag.decode(), decode.Meta(b[at + 32:at + 32 + meta_len]).top(), bytearray(b[body:body + length])
        at = (body + length + 7) // 8 * 8
        if tag == "TENS":
            if meta["name"] == name:
                off = next(p["off"] for p in meta["parts"] if p["k"] == "sums") + 4 * int(n)
                payload[off:off + 4] = struct.pack("<i", struct.unpack("<i", payload[off:off + 4])[0] + 1)
        if tag == "TSUM" or tag == "INDX":
            payload = None
        if tag == "INDX":
            meta["sum"] = None
        frames.append(gold.Frame(tag, meta, payload if payload is None else bytes(payload)))
    open(out, "wb").write(gold.build(frames))


main(*sys.argv[1:])
