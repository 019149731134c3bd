# SPDX-License-Identifier: Apache-2.0
"""Reads whole RSQ files into numpy for the oracle tests: structure by the second reader's metadata parser, nothing verified."""
import os
import struct
import sys

import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "spec"))
import decode  # noqa: E402

DTYPES = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16, "i32": np.int32, "u8": np.uint8, "u64": np.uint64}


class File:
    """frames: list of (tag, meta, payload as uint8 array)."""

    def __init__(self, path):
        b = np.memmap(path, np.uint8, "r")
        self.frames, at = [], 16
        while at < len(b):
            tag, meta_len, pad, payload = struct.unpack("<4x4sIIQ", bytes(b[at:at + 24]))
            meta = at + 32
            body = meta + meta_len + 4 + pad
            self.frames.append((tag.decode(), decode.Meta(bytes(b[meta:meta + meta_len])).top(), b[body:body + payload]))
            at = (body + payload + 7) // 8 * 8
        self.head = self.frames[0][1]
        self.files = {m["name"]: bytes(p) for t, m, p in self.frames if t == "fILe"}
        self.metas = {m["name"]: m for t, m, p in self.frames if t == "TENS"}
        self.payloads = {m["name"]: p for t, m, p in self.frames if t == "TENS"}
        self.prov = [m for t, m, p in self.frames if t == "PROV"]
        self.psum = [m for t, m, p in self.frames if t == "PSUM"]

    def raw(self, name):
        """A raw tensor as stored (bf16: its 16 bits as uint16)."""
        m = self.metas[name]
        assert m["enc"] == "raw", name
        return self.payloads[name].view(DTYPES[m["dtype"]]).reshape(m["shape"])
