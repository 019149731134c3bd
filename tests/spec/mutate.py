#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes streams made from the good golden ones by a random change of fields, frames or bytes, with every hash made right again, so that only the rules decide.

  mutate.py DIR SEED N    DIR/SEED-000000.rsq ...: two readers must agree on which of them are good
"""
import copy
import os
import random
import sys

import make_golden as gold

NUMBERS = [0, 1, -1, 2, 3, 4, 5, 7, 8, 16, 17, 63, 64, 65, 128, 255, 256, 1 << 16, (1 << 16) + 1, 1 << 20, 1 << 24, (1 << 24) + 1, 1 << 40, (1 << 40) + 1, 1 << 48, 1 << 63, (1 << 64) - 1,
           -2, -1 << 63]
TEXTS = ("|a|x|raw|int4|lowrank|f32|f16|bf16|i32|u8|none|dense|weights|rotations|q|down|resid|rot|trans|headrot|other|head|embed|norm|rot.0|rot.1|rot.2|resid.0|resid.1|trans.0|headrot.0|r4|gamma|"
         "smooth|sylvester|paley1|paley2|hadamard|weight|input|error|kv|stream|angles|basis.0|basis.2|basis.3|junction.0|junction.2|data|codes|scales|sums|m|absmax|rms|kurt|hist|sig|err|clip|theta|"
         "rsq|text|a/b|.a|a b|\u00e9|" + "n" * 255 + "|" + "n" * 256).split("|")
OTHERS = [0.0, 1.0, 0.5, 1.5, -1.0, 1e-300, True, False, b"", bytes(15), bytes(16), bytes(17), [], [0], [1], [2, 3], [8, 8], [4, 4], [64], [1] * 9, [1 << 41], {}, {"a": 1}, {"x_a": 1}]
VALUES = NUMBERS + TEXTS + OTHERS
KEYS = "x_a colour a_bits a_clip a_sym a_group kv_bits rank r3 r4 layer role base plan n id side k dt sum step".split()
FIRST = [0x80, 0x81, 0x90, 0x91, 0xA0] + list(range(0xC0, 0xE1)) + [0xFF]


def places(v, path=()):
    yield path
    for k, x in v.items() if isinstance(v, dict) else enumerate(v) if isinstance(v, list) else ():
        yield from places(x, path + (k,))


def at(v, path):
    for k in path:
        v = v[k]
    return v


def change_field(rnd, meta):
    path = rnd.choice(list(places(meta)))
    v = at(meta, path)
    if isinstance(v, dict) and (not path or rnd.random() < 0.5):
        if v and rnd.random() < 0.5:
            del v[rnd.choice(sorted(v))]
        else:
            v[rnd.choice(KEYS)] = copy.deepcopy(rnd.choice(VALUES))
    elif isinstance(v, list) and rnd.random() < 0.5:
        if not v or rnd.random() < 0.5:
            v.append(copy.deepcopy(rnd.choice(v or VALUES)))
        else:
            v.pop(rnd.randrange(len(v)))
    elif path:
        same = [x for x in VALUES if type(x) is type(v)]
        at(meta, path[:-1])[path[-1]] = copy.deepcopy(rnd.choice(same if same and rnd.random() < 0.8 else VALUES))


def change_bytes(rnd, meta):
    b = bytearray(gold.pack({k: (bytes(16) if k == "prev" else 0) if x is None else x for k, x in meta.items()}))
    i, what = rnd.randrange(len(b)), rnd.random()
    if what < 0.5:
        b[i] = rnd.choice(FIRST) if rnd.random() < 0.5 else rnd.randrange(256)
    elif what < 0.7:
        del b[i]
    elif what < 0.9:
        b[i:i] = bytes([rnd.randrange(256)])
    else:
        b[i:i] = b[i:i + rnd.randrange(20)]
    return gold.Raw(b)


def change(rnd, frames):
    i, what = rnd.randrange(len(frames)), rnd.random()
    f = frames[i]
    if what < 0.06:
        del frames[i]
    elif what < 0.12:
        frames.insert(i, copy.deepcopy(rnd.choice(frames)))
    elif what < 0.16:
        j = rnd.randrange(len(frames))
        frames[i], frames[j] = frames[j], frames[i]
    elif what < 0.20 and f.payload:
        j = rnd.randrange(len(f.payload))
        f.payload = f.payload[:j] + bytes([rnd.randrange(256)]) + f.payload[j + 1:]
    elif what < 0.23 and f.payload is not None:
        f.payload = f.payload + b"\0" if rnd.random() < 0.5 else f.payload[:-1]
    elif what < 0.26:
        f.over = dict(f.over, **{rnd.choice(["meta_len", "pad_len", "payload_len", "seq", "meta_check"]): rnd.choice([0, 1, 3, 8, 1 << 20, (1 << 20) + 1, 1 << 31])})
    elif what < 0.28:
        f.tag = rnd.choice("HEAD PROV TENS TSUM sTAT PSUM INDX ENDS ABRT fILe abCd ABCd abcd a1Cd".split())
    elif isinstance(f.meta, dict):
        if what < 0.5:
            f.meta = change_bytes(rnd, f.meta)
        else:
            change_field(rnd, f.meta)


def main(folder, seed, count):
    rnd, caught, build = random.Random(int(seed)), [], gold.build
    gold.build = lambda frames, **kw: caught.append((frames, kw)) or b""
    gold.good()
    gold.build = build
    small = [c for c in caught if len(c[0]) < 60]
    os.makedirs(folder, exist_ok=True)
    n = 0
    while n < int(count):
        frames, kw = rnd.choice(small)
        frames = copy.deepcopy(frames)
        for _ in range(rnd.choice([1, 1, 1, 2])):
            if frames:
                change(rnd, frames)
        try:
            data = build(frames, **kw)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, gold.struct.error):
            continue  # the writer has no bytes for it
        with open(os.path.join(folder, "%s-%06d.rsq" % (seed, n)), "wb") as f:
            f.write(data)
        n += 1


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
