#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the golden files of the RSQ container: good ones, and bad ones each with one fault, named for its number, with the class expected.

  make_golden.py DIR           DIR/good/NAME.rsq, DIR/bad/NNN.rsq and NNN.expect (one line: the class)
  make_golden.py --large DIR   the same for those that are too big to be kept

Its writer is its own: from formats/FORMAT.md, not from the library. Every byte is determined. Numbers 001..109 are rows of the table of faults; 2xx are rules of FORMAT.md
that no row covers. An E_VALUE file is good for a reader that does not look at values.

Not files: 107 (the digest of PSUM is compared with the input just read: a test of the stages); limits that only a big stream reaches: 2^20 tensors, 2^22 frames, 2^48 elements, 2^40 bytes of
payload, 2^56 bytes, a whole fILe of 64 MiB (045 ends after the prologue that announces too much).
"""
import math
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from xxh3 import check, xxh3_64, xxh3_128

CHUNK = 1 << 22


# ---- msgpack, canonical unless told otherwise
class Raw(bytes):
    """Bytes that stand in the meta as they are."""


class Pairs(list):
    """A map with its entries in the order given."""


def head_of(n, fix, fix_max, codes):
    if n <= fix_max:
        return bytes([fix + n])
    for code, size in codes:
        if n < 1 << 8 * size:
            return bytes([code]) + n.to_bytes(size, "big")


def pack(v):
    if isinstance(v, Raw):
        return bytes(v)
    if isinstance(v, bool):
        return b"\xc3" if v else b"\xc2"
    if isinstance(v, int):
        if v >= 0:
            return head_of(v, 0, 127, ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)))
        if v >= -32:
            return bytes([256 + v])
        n = next(n for n in (1, 2, 4, 8) if v >= -(1 << 8 * n - 1))
        return bytes([{1: 0xD0, 2: 0xD1, 4: 0xD2, 8: 0xD3}[n]]) + v.to_bytes(n, "big", signed=True)
    if isinstance(v, float):
        return b"\xcb" + struct.pack(">d", v)
    if isinstance(v, str):
        b = v.encode()
        return head_of(len(b), 0xA0, 31, ((0xD9, 1), (0xDA, 2), (0xDB, 4))) + b
    if isinstance(v, (bytes, bytearray)):
        return head_of(len(v), 0, -1, ((0xC4, 1), (0xC5, 2))) + bytes(v)
    if isinstance(v, Pairs):
        return head_of(len(v), 0x80, 15, ((0xDE, 2), (0xDF, 4))) + b"".join(pack(x) for kv in v for x in kv)
    if isinstance(v, dict):
        return pack(Pairs(sorted(v.items())))
    return head_of(len(v), 0x90, 15, ((0xDC, 2), (0xDD, 4))) + b"".join(map(pack, v))


# ---- the writer
class Frame:
    """One frame; over: fields of the prologue and parts of the frame that replace the derived ones."""

    def __init__(self, tag, meta, payload=b"", **over):
        self.tag, self.meta, self.payload, self.over = tag, meta, payload, over


def prologue(sync, tag, meta_len, pad_len, payload_len, seq):
    p = struct.pack("<4s4sIIQI", sync, tag.encode("latin1"), meta_len, pad_len, payload_len, seq)
    return p + struct.pack("<I", check(p))


def signature(major=1, minor=0):
    s = b"\x89RSQ\r\n\x1a\n" + struct.pack("<HH", major, minor)
    return s + struct.pack("<I", check(s))


def chunks(data):
    return b"".join(struct.pack("<Q", xxh3_64(data[i:i + CHUNK])) for i in range(0, len(data), CHUNK))


class Stream:
    """Puts frames into bytes; derives sums, TSUM, prev, step, INDX and ENDS where they are None."""

    def __init__(self, frames, minor=0, tail=None):
        self.out, self.offsets, self.index, self.tail = bytearray(signature(1, minor)), [], [], tail or {}
        self.align, self.prev, self.step, self.psum, self.data, self.n_tens, self.index_off = 64, bytes(16), 0, 0, b"", 0, 0
        for seq, f in enumerate(frames):
            self.frame(seq, f)

    def frame(self, seq, f):
        o, at, m, payload = f.over, len(self.out), f.meta, f.payload
        if isinstance(m, dict):
            m = dict(m)
        if f.tag == "HEAD" and isinstance(m, dict) and type(m.get("align")) is int:
            self.align = m["align"]
        if f.tag == "PROV" and isinstance(m, dict):
            m["prev"] = self.prev if m["prev"] is None else m["prev"]
            m["step"] = self.step if m["step"] is None else m["step"]
            self.step += 1
        if f.tag == "PSUM" and isinstance(m, dict):
            m["step"] = self.psum if m["step"] is None else m["step"]
            self.psum += 1
        if f.tag == "TSUM" and payload is None:
            payload = chunks(self.data)
            m = {"n": len(payload) // 8} if m is None else m
        if f.tag == "INDX":
            payload = b"".join(self.index) if payload is None else payload
            self.index_off = at
        if isinstance(m, dict) and "sum" in m and m["sum"] is None:
            m["sum"] = xxh3_64(payload)
        meta = pack(m)
        if f.tag == "PROV":
            self.prev = xxh3_128(meta)
        align = self.align if f.tag == "TENS" else 8
        pad = -(at + 36 + len(meta)) % align + o.get("more_pad", 0)
        if f.tag == "ENDS":
            payload = self.ends(seq, at, at + 36 + len(meta) + pad + 64)
        if f.tag in ("TENS", "sTAT", "fILe"):
            self.index.append(struct.pack("<4Q", at, at + 36 + len(meta) + pad, len(payload), xxh3_64(m["name"].encode()) if isinstance(m, dict) and isinstance(m.get("name"), str) else 0))
        if f.tag == "TENS":
            self.data, self.n_tens = payload, self.n_tens + 1
        p = prologue(o.get("sync", b"\xd3RSQ"), f.tag, o.get("meta_len", len(meta)), o.get("pad_len", pad), o.get("payload_len", len(payload)), o.get("seq", seq))
        self.offsets.append(at)
        self.out += p + meta + struct.pack("<I", o.get("meta_check", check(meta))) + o.get("pad", bytes(pad)) + payload
        self.out += o.get("close", bytes(-len(self.out) % 8))

    def ends(self, seq, at, total):
        f = dict(tag=b"RSQTAIL\n", index_off=self.index_off, end_off=at, total=total, n_frames=seq + 1, n_tensors=self.n_tens, digest=xxh3_128(bytes(self.out)), zero=0)
        f.update({k: v(f[k]) for k, v in self.tail.items() if k != "check"})
        p = struct.pack("<8sQQQII16sI", *f.values())
        c = struct.pack("<I", check(p))
        return p + (self.tail["check"](c) if "check" in self.tail else c)


def build(frames, **kw):
    return bytes(Stream(frames, **kw).out)


# ---- frames of a good stream
PLAN = {"a_bits": 16, "a_clip": 1.0, "a_group": 0, "a_sym": False, "except": [], "kv_bits": 16, "kv_clip": 1.0, "kv_group": 0, "kv_sym": False, "rank": 0, "resid": "none"}


def put(m, more):
    m = dict(m)
    for k, v in more.items():
        if v is DROP:
            m.pop(k, None)
        else:
            m[k] = v
    return m


DROP = object()


def plan(**more):
    return put(PLAN, more)


def head(**more):
    m = {"align": 64, "arch": "llama", "incompat": 0, "kind": "weights", "layers": 1, "model": "golden", "plan": PLAN}
    return Frame("HEAD", put(m, more))


def rot_head(layers=1, **more):
    return head(**dict({"kind": "rotations", "layers": layers, "plan": DROP, "base": bytes(range(16))}, **more))


def prov(tool="rs-import", **more):
    m = {"argv": ["model"], "commit": "0123456789ab", "params": {}, "prev": None, "step": None, "tool": tool, "ver": "1.0"}
    return Frame("PROV", put(m, more))


def psum(*ins, **more):
    return Frame("PSUM", put({"in": list(ins), "step": None}, more))


INPUT = {"digest": bytes(range(16, 32)), "fmt": "safetensors", "size": 123456}


def file_(name="config.json", data=b'{"hidden_size": 8}\n', **more):
    return Frame("fILe", put({"name": name, "sum": None}, more), data)


def f32(*v):
    return struct.pack("<%df" % len(v), *v)


def ramp(n):
    """n small numbers that bf16 and f16 hold exactly."""
    return [(i * 5 % 31 - 15) / 8 for i in range(n)]


def elements(dtype, v):
    if dtype == "f32":
        return f32(*v)
    if dtype == "f16":
        return struct.pack("<%de" % len(v), *v)
    return b"".join(struct.pack("<f", x)[2:] for x in v)


def join(parts):
    """parts: (k, dt, shape, bytes); their descriptions and the payload."""
    out, desc = b"", []
    for k, dt, shape, data in parts:
        out += bytes(-len(out) % 64)
        desc.append({"dt": dt, "k": k, "len": len(data), "off": len(out), "shape": list(shape)})
        out += data
    return desc, out


def tsum(payload=None, **more):
    return Frame("TSUM", dict(more) or None, payload)


def tens(name="model.embed_tokens.weight", shape=(4, 8), parts=None, payload=None, over={}, sums=True, **more):
    """TENS and its TSUM; parts as join() takes them."""
    m = {"dtype": "f32", "enc": "raw", "expert": -1, "group": 0, "layer": -1, "name": name, "role": "embed", "shape": list(shape), "xf": []}
    m = put(m, more)
    if parts is None:
        parts = [("data", m["dtype"], shape, elements(m["dtype"], ramp(math.prod(shape))))]
    desc, data = join(parts)
    m.setdefault("parts", desc)
    return [Frame("TENS", m, data if payload is None else payload, **over)] + [tsum()] * sums


def code(b, i, j):
    return (i * 7 + j * 3 + i * j) % (1 << b) - (1 << b - 1)


def packed(b, rows, cols, group=0, dt="f32", scale=lambda i: 0.125 * (1 + i % 5), at=code):
    """Parts of an integer tensor."""
    raw, scales, sums, span = b"", [], [], group or cols
    for i in range(rows):
        row = [at(b, i, j) for j in range(cols)]
        bits = sum((c & (1 << b) - 1) << j * b for j, c in enumerate(row))
        raw += bits.to_bytes((cols * b + 7) // 8, "little")
        for g in range(cols // group if group else 1):
            sums.append(sum(row[g * span:(g + 1) * span]))
            scales.append(scale(len(scales)))
    shape = (rows, len(scales) // rows if rows else 1)
    return [("codes", "u8", (rows, cols), raw), ("scales", dt, shape, elements(dt, scales)), ("sums", "i32", shape, struct.pack("<%di" % len(sums), *sums))]


def linear(b, rows=3, cols=8, group=0, dt="f32", name="model.layers.0.self_attn.q_proj.weight", **more):
    parts = more.pop("parts", None) or packed(b, rows, cols, group, dt)
    return tens(name, (rows, cols), parts, **dict({"enc": "int%d" % b, "group": group, "layer": 0, "role": "q"}, **more))


def low(name, d=4, r=2, q=None, m=None, **more):
    """A rank-r junction: the first r axes, turned in pairs by an angle with cosine 0.6."""
    role, j = name.split(".")
    q = q or [float(i == k) for i in range(d) for k in range(r)]
    s = {(0, 0): -0.4, (0, 1): 0.8, (1, 0): -0.8, (1, 1): -0.4}
    m = m or [s.get((i % 2, k % 2), 0) if i // 2 == k // 2 else 0.0 for i in range(r) for k in range(r)]
    n = math.isqrt(len(m))
    return tens(name, (d, d), [("q", "f32", (d, r), f32(*q)), ("m", "f32", (n, n), f32(*m))], **dict({"enc": "lowrank", "layer": int(j), "role": role}, **more))


def turn(n, k=0):
    """An orthogonal n x n matrix: a cyclic shift by k."""
    return [float((i + k) % n == j) for i in range(n) for j in range(n)]


def square(name, n=4, v=None, **more):
    role, j = name.split(".")
    return tens(name, (n, n), [("data", "f32", (n, n), f32(*(v or turn(n, int(j)))))], **dict({"layer": int(j), "role": role}, **more))


def stat(name="model.embed_tokens.weight", of="weight", parts=None, step=0, values=None, **more):
    if parts is None:
        parts = [("absmax", "f32", (8,), f32(*range(1, 9))), ("hist", "u64", (64,), struct.pack("<64Q", *range(64)))]
    desc, data = join(parts)
    m = {"name": name, "of": of, "parts": desc, "step": step, "sum": None, "values": {"kurt": 3.5, "max": 8.0, "zeros": 2} if values is None else values}
    return Frame("sTAT", put(m, more), data)


def close(n_prov=1):
    return [psum(INPUT)] + [psum()] * (n_prov - 1) + [Frame("INDX", {"sum": None}, None), Frame("ENDS", {})]


def stream(*body, h=None, provs=1, **kw):
    return build([h or head()] + [prov() for _ in range(provs)] + [f for x in body for f in (x if isinstance(x, list) else [x])] + close(provs), **kw)


# ---- section 8: ksums for control, from FORMAT.md; the second reader builds the matrices
KSUM = {("sylvester", 1): 0xe12ef9d2eb86ceeb, ("paley1", 4): 0x5da474903061c0cf, ("paley1", 12): 0x821c2a95d11fc6ce, ("paley1", 28): 0xff831b7c3f6ff2c0,
        ("paley2", 12): 0xb29f2286face1932, ("paley2", 20): 0xc642b22d20ae5fcf}


def online(n, block, k, build_, **more):
    return put({"block": block, "build": build_, "k": k, "ksum": KSUM.get((build_, k), 0), "kind": "hadamard", "n": n}, more)


R4 = online(12, 12, 12, "paley1")
DOWN = "model.layers.0.mlp.down_proj.weight"


def down(xf=True, cols=12, **more):
    return tens(DOWN, (8, cols), **dict({"role": "down", "layer": 0, "xf": [{"id": "r4", "n": cols, "side": 0}] if xf else []}, **more))


def r4_head(**more):
    return head(incompat=1, plan=plan(r4=dict(R4, **more)))


def tiny():
    """A whole fused model of one layer: d 8, f 12, 2 heads of 4, vocabulary 10; chain with r 2, everything packed, in the tools' order."""
    p = plan(a_bits=4, a_clip=0.9375, kv_bits=4, r3=online(4, 4, 1, "sylvester"), r4=R4, resid="lowrank", rank=2)
    p["except"] = [{"layer": -1, "role": "down", "a_bits": 8}, {"layer": -1, "role": "head", "a_bits": 8, "a_clip": 1.0}, {"layer": 0, "role": "o", "a_sym": True, "a_group": 4},
                   {"layer": 1, "role": "resid", "rank": 0}]
    ones, pre = [1.0] * 8, "model.layers.0."
    gamma, xf = {"id": "gamma", "n": 8, "side": 0}, lambda j, side, n=8: {"id": "rot.%d" % j, "n": n, "side": side}
    body = [file_(), file_("tokenizer.json", b"{}")]
    for n, layer in ((pre + "input_layernorm.weight", 0), (pre + "post_attention_layernorm.weight", 0), ("model.norm.weight", -1)):
        body += tens(n, (8,), [("data", "f32", (8,), f32(*ones))], role="norm", layer=layer, xf=[gamma])
    body += tens("model.embed_tokens.weight", (10, 8), xf=[xf(0, 0)]) + low("resid.0", 8)
    for n, role, rows, b, more in (("self_attn.q_proj", "q", 8, 4, [gamma, xf(0, 0)]), ("self_attn.k_proj", "k", 4, 4, [gamma, xf(0, 0)]),
                                   ("self_attn.v_proj", "v", 4, 4, [gamma, xf(0, 0), {"id": "headrot.0", "n": 4, "side": 1}]),
                                   ("self_attn.o_proj", "o", 8, 8, [{"id": "headrot.0", "n": 4, "side": 0}, xf(1, 1), {"id": "rebase.1", "n": 8, "side": 1}]),
                                   ("mlp.gate_proj", "gate", 12, 3, [gamma, xf(1, 0)]), ("mlp.up_proj", "up", 12, 3, [gamma, xf(1, 0)])):
        body += linear(b, rows, 8, 4 if role == "o" else 0, name=pre + n + ".weight", role=role, xf=more)
        if role == "q":
            body += tens(pre + n + ".bias", (8,), role="bias", layer=0)
    body += linear(4, 8, 12, name=DOWN, role="down", xf=[{"id": "r4", "n": 12, "side": 0}, xf(2, 1)])
    body += tens("lm_head.weight", (10, 8), role="head", xf=[gamma, xf(2, 0)])
    body.append(stat(DOWN, "error", [("sig", "f32", (8, 1), f32(*range(8))), ("err", "f32", (8, 1), f32(*range(8))), ("clip", "u32", (8,), struct.pack("<8I", *range(8)))], 3, {}))
    chain = [prov(), prov("rs-fuse", argv=["-R", "rot.rsq"], params={"seed": 7}), prov("rs-residual"), prov("rs-pack", argv=["-w", "4"], params={"blas": "none", "damp": 0.01, "gptq": True})]
    rsq = {"digest": bytes(16), "fmt": "rsq", "size": 1000}
    return build([head(incompat=7, plan=p, model="tiny")] + chain + body + [psum(INPUT), psum(rsq, rsq), psum(rsq), psum(rsq)] + close()[1:])


# ---- good files
def good():
    g = {"no_tensors": stream(), "no_layers": stream(h=head(layers=0)), "model": tiny()}
    g["zero_dim"] = stream(tens(shape=(0, 8)), tens("b", (3, 0), role="other"), linear(4, 0, 8), linear(4, 3, 0, name="c"))
    g["scalar"] = stream(tens("alpha", (), role="other"))
    for dt in ("f32", "f16", "bf16"):
        g["raw_" + dt] = stream(file_(), tens(dtype=dt), tens("b", (3, 5, 2), dtype=dt, role="other"))
    for b in range(2, 9):
        g["int%d" % b] = stream(linear(b), linear(b, 2, 11, name="b"), linear(b, 2, 12, 4, "f16", name="c"))
    g["int4_groups"] = stream(linear(4, 4, 64, 16), linear(4, 2, 16, 16, name="b"), linear(4, 1, 4, 1, "f16", name="c"))
    lr = head(incompat=2, plan=plan(resid="lowrank", rank=2))
    g["lowrank"] = stream(low("resid.0"), low("resid.1", q=[.6, 0, 0, .8, .8, 0, 0, -.6]), h=lr)
    g["lowrank_except"] = stream(low("resid.0"), low("resid.2", 4, 4), h=head(layers=2, incompat=2, plan=plan(resid="lowrank", rank=2, **{"except": [
        {"layer": 1, "role": "resid", "rank": 0}, {"layer": 2, "role": "resid", "rank": 4}, {"layer": 3, "role": "resid", "rank": 0}]})))
    g["rank_0"] = stream(h=head(incompat=2, plan=plan(resid="lowrank")))
    g["dense"] = stream(square("resid.0"), h=head(incompat=2, plan=plan(resid="dense", **{"except": [{"layer": 1, "role": "resid", "rank": 0}]})))
    g["rotations_dense"] = stream(square("rot.0"), square("rot.1"), square("rot.2"), square("headrot.0", 2), h=rot_head())
    g["rotations_chain"] = stream(square("rot.0"), low("trans.0"), low("trans.1"), low("trans.2", m=[0.0] * 4), low("trans.3", 4, 4), square("headrot.0", 2), square("headrot.1", 2),
                                  stat("junction.3", "angles", [("theta", "f32", (2,), f32(.5, .25))]), h=rot_head(2))
    g["rotations_global"] = stream(square("rot.0"), h=rot_head(3, base=DROP))
    g["rotations_mixed"] = stream(square("rot.0"), low("trans.0"), square("rot.2"), h=rot_head())
    g["stats"] = stream(tens(), stat(), stat(step=1), stat(of="input"), stat(of="error", parts=[("err", "f32", (2, 3), bytes(24))]), stat(of="kv", parts=[]),
                        stat("basis.0", "stream"), stat("basis.2", "stream", values={}), stat("junction.1", "angles", [("theta", "f32", (1,), f32(.5))]), provs=2)
    g["chain3"] = stream(tens(), provs=3)
    g["plan"] = stream(down(), h=head(incompat=5, layers=3, plan=plan(a_bits=4, a_clip=.5, a_group=4, a_sym=True, kv_bits=2, kv_clip=.75, kv_group=64, kv_sym=True, r3=online(
        64, 64, 1, "sylvester"), r4=R4, **{"except": [{"layer": -1, "role": "q", "a_bits": 16}, {"layer": -1, "role": "down", "a_bits": 8}, {"layer": -1, "role": "head", "a_bits": 8},
                                                      {"layer": 2, "role": "q"}, {"layer": 2, "role": "k", "a_group": 0, "a_clip": 1.0}]})))
    g["ranges"] = stream(h=head(incompat=12, layers=2, plan=plan(a_bits=4, a_range="free", kv_bits=4, kv_sym=True, k_range="half", v_range="half", **{"except": [
        {"layer": -1, "role": "q", "a_range": "zero"}, {"layer": 0, "role": "q", "a_range": "half", "a_sym": True}]})))
    g["range_except"] = stream(h=head(incompat=12, plan=plan(**{"except": [{"layer": -1, "role": "o", "a_bits": 4, "a_range": "free"}]})))
    for k, b, o in ((28, "paley1", online(56, 56, 28, "paley1")), (20, "paley2", online(40, 20, 20, "paley2")), (12, "paley2", online(96, 48, 12, "paley2")), (4, "paley1", online(8, 8, 4, "paley1"))):
        g["r4_%s_%d" % (b, k)] = stream(down(cols=o["n"]), h=head(incompat=1, plan=plan(r4=o)))
    g["nan_raw"] = stream(tens(shape=(3,), parts=[("data", "f32", (3,), f32(math.nan, math.inf, -math.inf))], role="other"))
    g["ancillary"] = stream(Frame("xyZw", {"any": [1]}, b"12345"), tens(), Frame("xyZW", {}, b""))
    g["x_keys"] = build([head(x_=True, plan=plan(x_y=-129)), prov(params={"x_l": [[]]})] + tens(x_a={"x_b": [1.5, -1, b"", "\u00e9"]}) + close())
    g["minor_1"] = stream(tens(), h=head(x_new=1), minor=1)
    g["align_4096"] = stream(tens(), tens("b", role="other"), h=head(align=4096))
    g["big_numbers"] = stream(tens(x_a=[127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1, -1, -32, -33, -128, -129, -32768, -32769, -2**31, -2**31 - 1, -2**63, 1e308, 5e-324]))
    # each limit exactly
    g["limit_name"] = stream(tens("n" * 255, role="other"))
    g["limit_list"] = build([head(), prov(argv=["a"] * 1024)] + close())
    g["limit_text"] = build([head(), prov(argv=["a" * 4096])] + close())
    g["limit_map"] = build([head(), prov(params={"k%02d" % i: i for i in range(64)})] + close())
    g["limit_key"] = build([head(), prov(params={"k" * 32: 1})] + close())
    g["limit_bin"] = stream(h=head(x_b=bytes(64)))
    g["limit_depth"] = stream(h=head(x_a=[[[]]]))
    g["limit_dims"] = stream(tens(shape=(1, 2, 1, 2, 1, 2, 1, 1)))
    g["limit_dim"] = stream(tens(shape=(1 << 40, 0)), tens("b", (1 << 40, 1 << 40, 0), role="other"))
    g["limit_prov"] = stream(provs=64)
    g["limit_online"] = stream(h=head(incompat=1, plan=plan(r3=online(1 << 24, 1 << 24, 1, "sylvester"))))
    g["limit_xf"] = stream(tens(xf=[{"id": "rot.%d" % i, "n": 8, "side": 0} for i in range(32)]), h=head(layers=16))
    own = 7 + 11  # entries of HEAD and of plan, x_e not counted
    g["limit_elements"] = stream(h=head(x_e=[[0] * 1023] * 7 + [[0] * (8192 - own - 1 - 8 - 7 * 1023)]))
    return g


def good_large():
    meta = {"align": 64, "arch": "llama", "incompat": 0, "kind": "weights", "layers": 1, "model": "golden", "plan": PLAN, "x_p": []}
    while len(pack(meta)) < (1 << 20) - 2 * 4099:
        meta["x_p"].append("p" * 4096)
    rest = (1 << 20) - len(pack(meta)) - 6
    meta["x_p"] += ["q" * (rest // 2), "r" * (rest - rest // 2)]
    assert len(pack(meta)) == 1 << 20
    return {"limit_meta": build([Frame("HEAD", meta), prov()] + close()), "chunks": stream(two_chunks())}


def two_chunks():
    v = struct.pack("<I", 1) * (CHUNK // 4) + struct.pack("<I", 2) * (CHUNK // 4) + b"\3\0\0\0"
    return tens(shape=(len(v) // 4,), parts=[("data", "f32", (len(v) // 4,), v)])


# ---- bad files
def flip(data, at, bit=1):
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1:]


def bad():
    out = {}

    def add(number, cls, data):
        assert number not in out, number
        out[number] = (cls, data)

    base_frames = [head(), prov(), file_()] + tens() + tens("b", (2, 3), role="other") + [stat()] + close()
    base = Stream(base_frames)
    whole, off = bytes(base.out), base.offsets
    HEAD, FILE, TENS, TSUM, STAT, INDX, ENDS = 0, 2, 3, 4, 7, 9, 10
    field = lambda f, k: struct.unpack_from("<I", whole, off[f] + k)[0]
    payload = lambda f: off[f] + 36 + field(f, 8) + field(f, 12)

    def edit(f, **over):
        """The base stream with fields of one frame replaced (everything else derived anew)."""
        fr = list(base_frames)
        fr[f] = Frame(fr[f].tag, fr[f].meta, fr[f].payload, **over)
        return build(fr)

    def stale(data, at, new):
        return data[:at] + new + data[at + len(new):]

    # signature, frames, tail
    add("001", "E_TRUNC", b"")
    add("002", "E_TRUNC", whole[:15])
    add("003a", "E_MAGIC", flip(whole, 0))
    add("003b", "E_MAGIC", flip(whole, 3, 0x20))
    add("003c", "E_MAGIC", flip(whole, 7, 0x80))
    add("004", "E_MAGIC", whole.replace(b"\r\n", b"\n"))
    add("005", "E_SUM", flip(whole, 8, 2))
    add("006", "E_VERSION", signature(2) + whole[16:])
    add("007", "E_VERSION", stream(h=head(incompat=16)))
    add("008", "E_VERSION", stream(Frame("XYZW", {})))
    add("009", "E_FRAME", stream(Frame("xyzw", {})))
    add("010", "E_FRAME", stream(Frame("xy1w", {})))
    add("011", "E_FRAME", edit(FILE, sync=b"\xd3RSP"))
    add("012", "E_SUM", flip(whole, off[FILE] + 8, 0x40))
    add("013", "E_LIMIT", edit(FILE, meta_len=2**32 - 1))
    add("014", "E_LIMIT", edit(TENS, payload_len=2**63))
    add("015", "E_LIMIT", edit(TENS, payload_len=2**64 - 8))
    add("016", "E_FRAME", edit(FILE, more_pad=8))
    assert field(FILE, 12) and field(FILE, 16) % 8
    add("017a", "E_FRAME", flip(whole, payload(FILE) - 1))
    add("017b", "E_FRAME", flip(whole, off[TENS] - 1))
    add("018", "E_FRAME", whole[:off[FILE]] + whole[off[TENS]:])
    add("019", "E_FRAME", whole[:off[TENS]] + whole[off[FILE]:off[TENS]] + whole[off[TENS]:])
    add("020", "E_FRAME", build(base_frames[1:]))
    add("021", "E_FRAME", build([head()] + base_frames))
    add("022", "E_FRAME", build([head()] + tens() + [prov()] + close()))
    add("023a", "E_FRAME", stream(tens(sums=False), file_()))
    add("023b", "E_FRAME", stream(tens(sums=False), tens("b")))
    add("024a", "E_FRAME", stream(tens(sums=False), tsum(bytes(16), n=2)))
    add("024b", "E_FRAME", stream(tens(sums=False), tsum(b"", n=0)))
    add("024c", "E_FRAME", stream(tens(sums=False), tsum(chunks(f32(*ramp(32))), n=2)))
    add("025", "E_SUM", flip(whole, payload(TENS) + 5))
    add("027", "E_SUM", flip(whole, payload(TSUM)))
    add("028", "E_SUM", edit(FILE, meta_check=12345))
    add("029a", "E_SUM", flip(whole, payload(FILE)))
    add("029b", "E_SUM", flip(whole, payload(STAT)))
    add("029c", "E_SUM", flip(whole, payload(INDX)))
    tail = lambda **kw: build(base_frames, tail=kw)
    add("030", "E_SUM", tail(digest=lambda d: flip(d, 3)))
    add("031", "E_SUM", tail(check=lambda c: flip(c, 0)))
    add("032", "E_TRUNC", whole[:off[ENDS]])
    for letter, at in (("a", off[TENS] + 20), ("b", off[TENS] + 50), ("c", payload(TENS) - 1), ("d", payload(TENS) + 10), ("e", len(whole) - 30)):
        add("033" + letter, "E_TRUNC", whole[:at])
    add("034", "E_TRAIL", whole + b"\0")
    add("035", "E_TRAIL", whole + whole)
    middle = Stream(base_frames + [Frame("fILe", {"name": "late", "sum": None}, b"x")])
    add("036", "E_TRAIL", bytes(middle.out))
    add("037", "E_TRAIL", whole + b"PK\5\6" + bytes(18))
    add("038", "E_INDEX", tail(n_tensors=lambda n: n + 1))
    entries = [bytes(e) for e in base.index]

    def index(fn):
        e = [list(struct.unpack("<4Q", x)) for x in entries]
        fn(e)
        data = b"".join(struct.pack("<4Q", *x) for x in e)
        return build(base_frames[:INDX] + [Frame("INDX", {"sum": None}, data), Frame("ENDS", {})])

    add("039", "E_INDEX", index(lambda e: e[1].__setitem__(slice(0, 2), e[2][:2])))
    add("040", "E_INDEX", index(lambda e: e[1].__setitem__(1, 1 << 40)))
    add("041", "E_INDEX", tail(total=lambda n: n + 8))
    meta = pack({"sum": 0})
    bogus = prologue(b"\xd3RSQ", "INDX", len(meta), 4, 0, 5) + meta + struct.pack("<I", check(meta)) + bytes(4)
    inside = [head(), prov(), file_("bogus", bogus)] + close()
    at = Stream(inside).offsets[2]
    where = at + bytes(Stream(inside).out)[at:].index(bogus)
    add("042", "E_INDEX", build(inside, tail={"index_off": lambda _: where}))
    for letter, n in zip("abcd", ("../x", "/etc/x", "", "a\0b")):
        add("043" + letter, "E_META", stream(file_(n)))
    add("044", "E_DUP", stream(file_(), file_("b"), file_()))
    big = edit(FILE, payload_len=(64 << 20) + 1)
    add("045", "E_LIMIT", big[:off[TENS]])

    # frame metadata
    hd = lambda **kw: stream(h=head(**kw))
    ff = b"\xff\xff\xff\xff"
    add("046", "E_LIMIT", hd(x_a=Raw(b"\xdd" + ff)))
    add("047a", "E_LIMIT", hd(x_a=Raw(b"\xdf" + ff)))
    add("047b", "E_LIMIT", stream(h=Frame("HEAD", Raw(b"\xdf" + ff))))
    add("048", "E_LIMIT", hd(x_a=[[[[]]]]))
    add("049", "E_LIMIT", hd(x_a=Raw(b"\x91" * 1000 + b"\0")))
    add("050", "E_LIMIT", hd(x_a=[[0] * 1000] * 9))
    add("051", "E_META", hd(x_a=Raw(b"\xc1")))
    add("052a", "E_META", hd(x_a=Raw(b"\xd4\1\2")))
    add("052b", "E_META", hd(x_a=Raw(b"\xd6\xff\0\0\0\1")))
    add("053", "E_META", hd(x_a=Raw(b"\xc0")))
    m = head().meta
    swap = Pairs(sorted(m.items()))
    swap[0], swap[1] = swap[1], swap[0]
    add("054", "E_META", stream(h=Frame("HEAD", swap)))
    add("055", "E_META", hd(layers=Raw(b"\xcf" + bytes(7) + b"\1")))
    add("056", "E_META", hd(arch=Raw(b"\xd9\5llama")))
    add("057", "E_META", hd(plan=plan(a_clip=Raw(b"\xca\x3f\x80\0\0"))))
    add("058a", "E_META", hd(x_f=math.nan))
    add("058b", "E_META", hd(x_f=-math.inf))
    add("059", "E_META", hd(x_f=-0.0))
    add("060", "E_DUP", stream(h=Frame("HEAD", Pairs(sorted(m.items())[:2] + sorted(m.items())[1:]))))
    for letter, b in zip("abcd", (b"a\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80")):
        add("061" + letter, "E_META", hd(model=Raw(bytes([0xA0 + len(b)]) + b)))
    for letter, t in zip("abc", ("a\0b", "a\x1b[31m", "a\u202eb")):
        add("062" + letter, "E_META", hd(model=t))
    add("063", "E_META", stream(h=Frame("HEAD", Raw(pack(m)[:-3]))))
    add("064", "E_META", stream(h=Frame("HEAD", Raw(pack(m) + b"\0"))))
    add("065", "E_META", stream(h=Frame("HEAD", [1, 2])))
    add("066", "E_META", hd(x_a=Raw(b"\xdc\3\xe8\0\0")))
    add("067a", "E_META", hd(colour="blue"))
    add("067b", "E_META", stream(tens(colour="blue")))
    add("068", "E_META", stream(tens(layer="3")))
    add("069a", "E_META", stream(tens(role=DROP)))
    add("069b", "E_META", hd(layers=DROP))
    add("070a", "E_META", hd(plan=plan(a_bits=17), incompat=4))
    add("070b", "E_META", hd(plan=plan(a_clip=0.0)))
    add("070c", "E_META", hd(plan=plan(a_clip=1.5)))
    add("070d", "E_META", hd(plan=plan(resid="lowrank", rank=3), incompat=2))
    add("071a", "E_META", stream(tens(dtype="i32")))
    add("071b", "E_META", stream(tens(enc="int9")))
    add("071c", "E_META", stream(tens(role="banana")))

    # tensors, plan, rotations, statistics
    def shaped(*s):
        return stream(tens(shape=s, parts=[("data", "f32", s, bytes(64))]))

    add("072", "E_LIMIT", shaped(1 << 32, 1 << 32))
    add("073", "E_LIMIT", shaped(0, 1 << 62, 1 << 62))
    add("074", "E_LIMIT", shaped(*[1] * 9))
    add("075", "E_LIMIT", shaped(1 << 40, 1 << 40, 1 << 40))
    data = f32(*ramp(6))
    add("076a", "E_TENSOR", stream(tens(shape=(2, 3), payload=data + b"\0")))
    add("076b", "E_TENSOR", stream(tens(shape=(2, 3), payload=data[:-1])))
    desc, data = join(packed(4, 3, 8))
    moved = lambda k, **kw: [put(p, kw) if i == k else p for i, p in enumerate(desc)]
    add("077", "E_TENSOR", stream(intq(moved(1, off=0), data)))
    add("078", "E_TENSOR", stream(intq(desc, flip(data, 20))))
    add("079", "E_TENSOR", stream(intq(moved(2, off=1 << 20), data)))
    add("080", "E_TENSOR", stream(linear(4, 3, 8, group=3, parts=packed(4, 3, 8, 0))))
    p = packed(4, 3, 8)
    add("081a", "E_TENSOR", stream(linear(4, parts=[p[0], ("scales", "f32", (2, 1), p[1][3][:8]), p[2]])))
    add("081b", "E_TENSOR", stream(linear(4, parts=p[:2] + [("sums", "i32", (4, 1), p[2][3] + bytes(4))])))
    p3 = packed(3, 2, 3)
    add("082", "E_TENSOR", stream(linear(3, 2, 3, parts=[("codes", "u8", (2, 3), flip(p3[0][3], 1, 0x80))] + p3[1:])))
    lr = head(incompat=2, plan=plan(resid="lowrank", rank=2))
    add("083", "E_TENSOR", stream(low("resid.0", m=[0.0] * 16), low("resid.1"), h=lr))
    add("084", "E_TENSOR", stream(tens(xf=[{"id": "rot.0", "n": 4, "side": 0}])))
    add("085", "E_DUP", stream(tens(), tens("b"), tens()))
    ex = {"layer": 0, "role": "q", "a_bits": 8}
    exh = lambda *e, **kw: head(**dict({"incompat": 4, "plan": plan(**{"except": list(e)})}, **kw))
    add("086", "E_DUP", stream(h=exh(ex, ex)))
    add("087a", "E_VERSION", stream(down(), h=r4_head(kind="dct")))
    add("087b", "E_VERSION", stream(down(), h=r4_head(build="williamson")))
    add("088a", "E_TENSOR", stream(down(), h=head(incompat=0, plan=plan(r4=R4))))
    add("088b", "E_TENSOR", hd(incompat=4))
    add("088c", "E_TENSOR", hd(incompat=2))
    add("088d", "E_TENSOR", stream(square("rot.0"), h=rot_head(incompat=1)))
    add("089", "E_TENSOR", stream(down(cols=92), h=head(incompat=1, plan=plan(r4=online(92, 92, 92, "paley1")))))
    add("090a", "E_TENSOR", stream(down(cols=36), h=r4_head(n=36, block=36)))
    add("090b", "E_TENSOR", stream(down(cols=20), h=r4_head(n=20)))
    add("091", "E_TENSOR", stream(down(), h=r4_head(n=24)))
    add("092", "E_TENSOR", stream(down(), h=r4_head(ksum=KSUM["paley2", 12])))
    add("093a", "E_TENSOR", stream(down(xf=False), h=r4_head()))
    add("093b", "E_TENSOR", stream(down()))
    add("094", "E_TENSOR", stream(low("resid.0"), h=lr))
    add("095", "E_TENSOR", stream([f for j in range(6) for f in low("resid.%d" % j, 8, 2 if j == 5 else 4)], h=head(layers=3, incompat=2, plan=plan(resid="lowrank", rank=4))))
    add("096", "E_TENSOR", stream(low("trans.0"), low("trans.1"), h=rot_head()))
    add("097a", "E_TENSOR", stream(square("rot.0"), low("trans.1"), h=rot_head()))
    add("097b", "E_TENSOR", stream(square("rot.0"), low("trans.0"), square("rot.1"), low("trans.1"), h=rot_head()))
    add("098", "E_TENSOR", stream(tens(), stat("b")))
    add("099a", "E_TENSOR", stream(tens(), stat(parts=[("absmax", "f32", (8,), bytes(28))])))
    add("099b", "E_TENSOR", stream(tens(), stat(parts=[("hist", "u64", (32,), bytes(256))])))
    for letter, v in zip("abcde", (math.nan, math.inf, -1.0, 0.0, 1e-40)):
        add("100" + letter, "E_VALUE", stream(linear(4, parts=packed(4, 3, 8, scale=lambda i: v if i == 1 else 0.5))))
    add("101", "E_VALUE", stream(linear(4, parts=p[:2] + [("sums", "i32", (3, 1), flip(p[2][3], 4))])))
    add("102a", "E_VALUE", stream(low("resid.0", q=[1.0, 0, .01, 1, 0, 0, 0, 0]), low("resid.1"), h=lr))
    add("102b", "E_VALUE", stream(square("rot.0", v=[1.0, 0, 0, 0, 0, 1.001, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]), h=rot_head()))

    # provenance
    three = Stream([head(), prov(), prov("rs-fuse"), prov("rs-pack")] + close(3))
    cut = bytes(three.out)
    o = three.offsets
    ptr = lambda a, b, seq: repair(cut[a:b], seq)
    tail_ = b"".join(ptr(a, b, i + 2) for i, (a, b) in enumerate(zip(o[3:], o[4:] + [len(cut)])))
    add("103", "E_PROV", cut[:o[2]] + tail_)
    add("104", "E_PROV", build([head(), prov(), prov(prev=xxh3_128(b"another"))] + close(2)))
    add("105a", "E_PROV", build([head(), prov(), prov(), prov(step=0)] + close(3)))
    add("105b", "E_PROV", build([head(), prov(), prov(step=0)] + close(2)))
    add("106a", "E_PROV", build([head(), prov(), prov()] + close(1)))
    add("106b", "E_PROV", build([head(), prov(), prov(), psum(step=1), psum(step=0)] + close()[1:]))
    add("106c", "E_PROV", build([head(), prov()] + close()[1:]))
    add("108", "E_PROV", stream(tens(), stat(step=1)))
    add("109", "E_LIMIT", stream(provs=65))

    # rules of FORMAT.md that no row names: limits, one above
    add("201", "E_LIMIT", hd(x_a=[0] * 1025))
    add("202", "E_LIMIT", hd(x_a={"k%02d" % i: i for i in range(65)}))
    add("203", "E_LIMIT", hd(x_a="a" * 4097))
    add("204", "E_LIMIT", hd(x_a=bytes(65)))
    add("205", "E_META", stream(tens("n" * 256)))
    add("206", "E_META", hd(**{"x_" + "k" * 31: 1}))
    own = 7 + 11
    add("207", "E_LIMIT", hd(x_e=[[0] * 1023] * 7 + [[0] * (8193 - own - 1 - 8 - 7 * 1023)]))
    add("208", "E_LIMIT", edit(FILE, meta_len=(1 << 20) + 1))
    add("209", "E_LIMIT", edit(TENS, payload_len=(1 << 40) + 1))
    add("210", "E_LIMIT", shaped(0, (1 << 40) + 1))
    add("211", "E_LIMIT", shaped(1 << 40, 1 << 8, 2))
    add("212", "E_LIMIT", stream(tens(xf=[{"id": "rot.%d" % i, "n": 8, "side": 0} for i in range(33)]), h=head(layers=16)))
    add("213", "E_LIMIT", stream(down(cols=4100), h=head(incompat=1, plan=plan(r4=online(4100, 4100, 4100, "paley1")))))
    add("214", "E_LIMIT", hd(incompat=1, plan=plan(r3=online(1 << 25, 1 << 25, 1, "sylvester"))))
    # order
    add("220", "E_ABORT", build([head(), prov(), Frame("ABRT", {"class": 13, "text": "chunk 3", "tool": "rs-fuse"})]))
    add("221", "E_ABORT", build([head(), prov()] + tens(sums=False) + [Frame("ABRT", {"class": 31, "text": "", "tool": "rs-pack"})]))
    add("222", "E_FRAME", build([Frame("ABRT", {"class": 13, "text": "", "tool": "x"})]))
    add("223", "E_FRAME", stream(tens(), prov()))
    add("224", "E_FRAME", stream(tens(sums=False), Frame("xyZw", {}), tsum()))
    add("225", "E_FRAME", build([head(), Frame("xyZw", {}), prov()] + close()))
    add("226", "E_FRAME", build([head(), prov(), psum()] + tens() + close()[1:]))
    add("227", "E_PROV", build([head(), prov(), psum(), psum()] + close()[1:]))
    add("228", "E_FRAME", build([head(), prov(), psum(), Frame("ENDS", {})]))
    add("229", "E_FRAME", build([head(), prov(), psum(), Frame("INDX", {"sum": None}, None), Frame("INDX", {"sum": None}, None), Frame("ENDS", {})]))
    add("230", "E_FRAME", stream(tens(), tsum()))
    add("231", "E_FRAME", build([head()] + close()))
    add("232", "E_FRAME", build([head(), Frame("PROV", prov().meta, b"12345678")] + close()))
    add("233", "E_INDEX", build([head(), prov(), psum(), Frame("INDX", {"sum": None}, bytes(32)), Frame("ENDS", {})]))
    add("234", "E_META", build([head(), prov(), psum(), Frame("INDX", {"sum": None}, None), Frame("ENDS", {"x_a": 1})]))
    add("235", "E_META", stream(Frame("xyZw", {"x": Raw(b"\xc0")})))
    add("236", "E_MAGIC", b"abc")
    add("237", "E_VERSION", stream(h=head(incompat=17, colour=1)))
    # fields
    add("240", "E_VERSION", stream(h=head(colour="blue"), minor=1))
    add("241", "E_VERSION", hd(plan=plan(r5=R4)))
    add("242", "E_VERSION", hd(plan=plan(resid="sparse"), incompat=2))
    add("243", "E_VERSION", stream(tens(xf=[{"id": "shear.1", "n": 8, "side": 0}])))
    add("244", "E_VERSION", stream(tens(xf=[{"id": "rot.01", "n": 8, "side": 0}])))
    add("245", "E_TENSOR", stream(tens(xf=[{"id": "rot.3", "n": 8, "side": 0}])))
    add("246", "E_TENSOR", stream(tens(xf=[{"id": "rot.0", "n": 8, "side": 0}, {"id": "rot.0", "n": 4, "side": 1}])))
    add("247", "E_META", hd(base=bytes(16)))
    add("248", "E_META", hd(plan=DROP))
    add("249", "E_META", stream(square("rot.0"), h=rot_head(plan=PLAN)))
    add("250", "E_META", hd(align=128))
    add("251", "E_META", hd(plan=plan(a_clip=1)))
    add("252", "E_META", hd(layers=1.0))
    add("253", "E_TENSOR", hd(plan=plan(rank=2)))
    q = {"layer": 0, "role": "q", "a_bits": 8}
    k = {"layer": 0, "role": "k", "a_bits": 8}
    add("254", "E_META", stream(h=exh(k, q)))
    add("255", "E_META", stream(h=exh({"layer": 0, "role": "q", "a_bits": 8, "a_group": 0})))
    add("256", "E_META", stream(h=exh({"layer": 0, "role": "head", "a_bits": 8})))
    add("257", "E_TENSOR", stream(h=exh({"layer": 1, "role": "q", "a_bits": 8})))
    add("258", "E_META", stream(h=exh({"layer": -2, "role": "q", "a_bits": 8})))
    add("259", "E_META", stream(h=exh({"layer": -1, "role": "embed", "a_bits": 8})))
    add("260", "E_TENSOR", stream(h=exh({"layer": 0, "role": "resid", "rank": 0}, incompat=0)))
    rex = lambda j, r, **kw: head(incompat=2, plan=plan(**dict({"resid": "lowrank", "rank": 2, "except": [{"layer": j, "role": "resid", "rank": r}]}, **kw)))
    add("261", "E_META", stream(low("resid.0"), low("resid.1"), h=rex(1, 2)))
    add("262", "E_META", stream(low("resid.0"), h=rex(1, 1)))
    add("263", "E_TENSOR", stream(low("resid.0"), low("resid.1"), h=rex(2, 0)))
    add("264", "E_TENSOR", stream(low("resid.0"), low("resid.1"), h=rex(1, 0)))
    add("265", "E_TENSOR", stream(square("resid.0"), square("resid.1"), h=rex(1, 4, resid="dense", rank=0)))
    add("266", "E_TENSOR", stream(low("resid.0")))
    add("267", "E_TENSOR", stream(square("resid.0"), low("resid.1"), h=lr))
    add("268", "E_TENSOR", stream(low("resid.0"), low("resid.1", 8), h=lr))
    add("269", "E_TENSOR", stream(low("resid.0"), low("resid.1"), low("resid.2"), h=lr))
    add("270", "E_TENSOR", stream(low("resid.0", layer=1), low("resid.1"), h=lr))
    add("271", "E_TENSOR", stream(square("rot.0")))
    add("272", "E_TENSOR", stream(square("rot.0"), tens(), h=rot_head()))
    add("273", "E_TENSOR", stream(square("rot.0"), square("headrot.0", 2), h=rot_head(2)))
    add("274", "E_TENSOR", stream(square("rot.0"), tens("rot.1", (4, 5), role="rot", layer=1), square("rot.2"), h=rot_head()))
    add("275", "E_TENSOR", stream(tens(layer=1, name="x")))
    add("276", "E_TENSOR", stream(linear(4, parts=[packed(4, 3, 8)[0], ("scales", "bf16", (3, 1), bytes(6)), packed(4, 3, 8)[2]])))
    add("277", "E_TENSOR", stream(tens(enc="int4", shape=(2, 3, 4), parts=packed(4, 6, 4))))
    add("278", "E_TENSOR", stream(tens(group=4)))
    add("279", "E_TENSOR", stream(low("resid.0", r=2, dtype="f16"), low("resid.1"), h=lr))
    add("280", "E_TENSOR", stream(low("resid.0", 4, 1, m=[0.0]), low("resid.1"), h=lr))
    add("281", "E_META", stream(tens("a b")))
    add("282", "E_META", stream(tens('a"b')))
    add("283", "E_META", stream(tens("\u00e9")))
    add("284", "E_META", stream(file_(".hidden")))
    add("285", "E_META", build([head(), prov(params={"a": [1]})] + close()))
    add("286", "E_META", build([head(), prov(prev=bytes(15))] + close()))
    add("287", "E_META", build([head(), prov(), psum(dict(INPUT, fmt="zip"))] + close()[1:]))
    add("288", "E_DUP", stream(tens(), stat(), stat()))
    add("289", "E_TENSOR", stream(stat("basis.3", "stream")))
    add("290", "E_TENSOR", stream(stat("trans.0", "angles", [("theta", "f32", (1,), bytes(4))])))
    add("291", "E_TENSOR", stream(tens(), stat(parts=[("rms", "f32", (8,), bytes(32)), ("absmax", "f32", (8,), bytes(32))])))
    add("292", "E_TENSOR", stream(tens(), stat(parts=[("sig", "f32", (8,), bytes(32))])))
    add("293", "E_TENSOR", stream(tens(), stat(parts=[("absmax", "f64", (8,), bytes(64))])))
    add("294", "E_META", stream(tens(), stat(of="banana")))
    add("295", "E_META", hd(x_a=Raw(b"\xc5\0\1\0")))
    add("296", "E_META", hd(x_a=Raw(b"\xd0\5")))
    add("297", "E_META", hd(x_a=Raw(b"\xdc\0\1\0")))
    add("298", "E_META", hd(x_a=Raw(b"\xde\0\1\xa1a\0")))
    add("299", "E_META", hd(**{"x_A": 1}))
    head_n = {"id": "headrot.0", "n": 4, "side": 0}
    add("310", "E_TENSOR", stream(tens("alpha", (), role="other", xf=[head_n])))
    add("311", "E_TENSOR", stream(tens("resid.0", role="other"), h=head()))
    add("312", "E_META", stream(low("resid.0"), low("resid.3"), h=lr))
    add("313", "E_META", stream(tens(), stat(parts=[("rms", "f32", (1,), bytes(4))] * 9)))
    add("314", "E_META", build([head(), prov(), Frame("ABRT", {"class": 256, "text": "", "tool": "x"})]))
    add("315", "E_VERSION", stream(down(), h=r4_head(scale=2)))
    add("316", "E_VERSION", stream(h=exh({"layer": 0, "role": "q", "a_bits": 8, "a_zero": 1})))
    add("317", "E_TENSOR", stream(tens("rot.0", (0, 0), role="rot", layer=0), h=rot_head()))
    add("318", "E_VERSION", stream(tens(xf=[{"id": "rot.1234567890", "n": 8, "side": 0}])))
    add("319", "E_TENSOR", stream(linear(4, 3, 8), h=head(incompat=4, plan=plan(a_bits=4, a_group=3))))
    add("320", "E_TENSOR", stream(linear(4, 3, 8), h=exh({"layer": 0, "role": "q", "a_bits": 8, "a_group": 16})))
    add("321", "E_TENSOR", hd(incompat=8, plan=plan(a_sym=True, a_range="free")))
    add("322", "E_TENSOR", hd(incompat=8, plan=plan(k_range="half")))
    add("323", "E_TENSOR", hd(incompat=8, plan=plan(kv_sym=True, v_range="free")))
    add("324", "E_TENSOR", hd(plan=plan(a_range="free")))
    add("325", "E_TENSOR", hd(incompat=8))
    add("326", "E_VERSION", hd(incompat=8, plan=plan(a_range="wide")))
    add("327", "E_META", hd(plan=plan(v_range="zero")))
    add("328", "E_META", stream(h=exh({"layer": 0, "role": "q", "a_bits": 8, "a_range": "zero"})))
    add("329", "E_TENSOR", stream(h=exh({"layer": 0, "role": "q", "a_bits": 8, "a_range": "half"}, incompat=12)))
    add("330", "E_META", stream(h=head(incompat=2, plan=plan(resid="lowrank", rank=2, **{"except": [{"layer": 0, "role": "resid", "rank": 0, "a_range": "free"}]}))))
    add("331", "E_META", hd(incompat=8, plan=plan(a_range=True)))
    # values
    add("301", "E_VALUE", stream(linear(4, parts=packed(4, 3, 8, dt="f16", scale=lambda i: 1e-6))))
    add("302", "E_VALUE", stream(low("resid.0", m=[0.0, 0.5, 0.0, 0.0]), low("resid.1"), h=lr))
    add("303", "E_VALUE", stream(square("resid.0", v=[2.0] + turn(4)[1:]), square("resid.1"), h=head(incompat=2, plan=plan(resid="dense"))))
    return out


def intq(desc, data):
    """A 3 x 8 int4 tensor with these part descriptions and payload."""
    m = {"dtype": "f32", "enc": "int4", "expert": -1, "group": 0, "layer": 0, "name": "q", "parts": desc, "role": "q", "shape": [3, 8], "xf": []}
    return [Frame("TENS", m, data), tsum()]


def repair(frame, seq):
    """A frame with another seq and its check made right."""
    p = frame[:24] + struct.pack("<I", seq)
    return p + struct.pack("<I", check(p)) + frame[32:]


def bad_large():
    two = bytearray(stream(two_chunks()))
    s = Stream([head(), prov()] + two_chunks())
    at = s.offsets[2]
    start = at + 36 + struct.unpack_from("<I", s.out, at + 8)[0] + struct.unpack_from("<I", s.out, at + 12)[0]
    two[start:start + 2 * CHUNK] = two[start + CHUNK:start + 2 * CHUNK] + two[start:start + CHUNK]
    return {"025b": ("E_SUM", flip(stream(two_chunks()), start + CHUNK + 9)), "026": ("E_SUM", bytes(two))}


def main(argv):
    large = argv[:1] == ["--large"]
    argv = argv[large:]
    if len(argv) != 1:
        sys.stderr.write(__doc__)
        return 2
    for folder in ("good", "bad"):
        os.makedirs(os.path.join(argv[0], folder), exist_ok=True)
    for name, data in (good_large() if large else good()).items():
        with open(os.path.join(argv[0], "good", name + ".rsq"), "wb") as f:
            f.write(data)
    for name, (cls, data) in (bad_large() if large else bad()).items():
        with open(os.path.join(argv[0], "bad", name + ".rsq"), "wb") as f:
            f.write(data)
        with open(os.path.join(argv[0], "bad", name + ".expect"), "w") as f:
            f.write(cls + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
