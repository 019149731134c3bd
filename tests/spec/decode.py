#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A second reader of the RSQ container, written only from formats/FORMAT.md (section numbers below are its), standard library only.

  decode.py [--values] [--json] [--print TENSOR] FILE    one line on an error; the exit code is the class (section 17)
  decode.py --batch [--values] FILE...                   prints "CLASS FILE" for each ("ok" for a good one)
  decode.py --ksum BUILD K                               ksum of a base matrix (section 8)
FILE - is standard input.
"""
import json
import math
import os
import re
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from xxh3 import check, xxh3_64, xxh3_128

CODES = {"E_MAGIC": 10, "E_VERSION": 11, "E_TRUNC": 12, "E_SUM": 13, "E_FRAME": 14, "E_META": 15, "E_LIMIT": 16, "E_TENSOR": 17, "E_DUP": 18,
         "E_PROV": 19, "E_TRAIL": 20, "E_INDEX": 21, "E_VALUE": 22, "E_ABORT": 24, "E_READ": 30}
MINOR = 0
CHUNK = 1 << 22


class Bad(Exception):
    def __init__(self, cls, why):
        super().__init__(why)
        self.cls, self.why, self.where = cls, why, ""


def need(ok, cls, why):
    if not ok:
        raise Bad(cls, why)


# ---- section 5: metadata
class Meta:
    """Parser of one canonical map. int, float, str, bytes, bool, list and dict stand for the types of section 5."""

    def __init__(self, data):
        self.b, self.i, self.elements = data, 0, 0

    def take(self, n):
        need(len(self.b) - self.i >= n, "E_META", "map cut short")
        self.i += n
        return self.b[self.i - n:self.i]

    def number(self, n, signed=False):
        return int.from_bytes(self.take(n), "big", signed=signed)

    def sized(self, n, least, limit, what):
        v = self.number(n)
        need(v >= least, "E_META", what + ": not the shortest form")
        need(v <= limit, "E_LIMIT", what + " too long")
        return v

    def text(self, n):
        need(n <= 4096, "E_LIMIT", "text too long")
        try:
            s = self.take(n).decode("utf-8")
        except UnicodeDecodeError:
            raise Bad("E_META", "invalid UTF-8")
        for c in map(ord, s):
            need(not (c < 32 or 127 <= c <= 159 or 0x202A <= c <= 0x202E or 0x2066 <= c <= 0x2069), "E_META", "control character in text")
        return s

    def items(self, n, limit, each, depth, what):
        need(depth <= 4, "E_LIMIT", "too deep")
        need(n <= limit, "E_LIMIT", what + " too long")
        self.elements += n
        need(self.elements <= 8192, "E_LIMIT", "too many elements")
        need(n * each <= len(self.b) - self.i, "E_META", what + " longer than what is left")
        return n

    def list_of(self, n, depth):
        self.items(n, 1024, 1, depth, "list")
        return [self.value(depth + 1) for _ in range(n)]

    def map_of(self, n, depth):
        self.items(n, 64, 2, depth, "map")
        out, last = {}, None
        for _ in range(n):
            t = self.b[self.i] if self.i < len(self.b) else 0
            need(0xA0 <= t <= 0xBF or 0xD9 <= t <= 0xDB, "E_META", "key is not text")
            key = self.value(depth + 1)
            need(re.fullmatch("[a-z0-9_]{1,32}", key), "E_META", "bad key")
            if last is not None:
                need(key != last, "E_DUP", "key %s twice" % key)
                need(key > last, "E_META", "key %s out of order" % key)
            last = key
            out[key] = self.value(depth + 1)
        return out

    def value(self, depth):
        t = self.take(1)[0]
        if t <= 0x7F:
            return t
        if t <= 0x8F:
            return self.map_of(t & 15, depth)
        if t <= 0x9F:
            return self.list_of(t & 15, depth)
        if t <= 0xBF:
            return self.text(t & 31)
        if t in (0xC2, 0xC3):
            return t == 0xC3
        if t == 0xC4:
            return bytes(self.take(self.sized(1, 0, 64, "bin")))
        if t in (0xC5, 0xC6):
            v = self.number(2 if t == 0xC5 else 4)
            raise Bad("E_LIMIT" if v > 64 else "E_META", "bin in a long form")
        if t == 0xCB:
            f = struct.unpack(">d", self.take(8))[0]
            need(math.isfinite(f) and not (f == 0 and math.copysign(1, f) < 0), "E_META", "not a finite number or -0.0")
            return f
        if 0xCC <= t <= 0xCF:
            n = 1 << (t - 0xCC)
            v = self.number(n)
            need(v >= (0x80 if n == 1 else 1 << 4 * n), "E_META", "integer not in the shortest form")
            return v
        if 0xD0 <= t <= 0xD3:
            n = 1 << (t - 0xD0)
            v = self.number(n, True)
            need(v < (-32 if n == 1 else -(1 << (4 * n - 1))), "E_META", "integer not in the shortest form")
            return v
        if 0xD9 <= t <= 0xDB:
            return self.text(self.sized(1 << (t - 0xD9), (32, 256, 65536)[t - 0xD9], 4096, "text"))
        if t in (0xDC, 0xDD):
            return self.list_of(self.sized(2 if t == 0xDC else 4, 16 if t == 0xDC else 65536, 1024, "list"), depth)
        if t in (0xDE, 0xDF):
            return self.map_of(self.sized(2 if t == 0xDE else 4, 16 if t == 0xDE else 65536, 64, "map"), depth)
        if t >= 0xE0:
            return t - 256
        raise Bad("E_META", "type byte %02x" % t)

    def top(self):
        m = self.value(1)
        need(type(m) is dict, "E_META", "not a map")
        need(self.i == len(self.b), "E_META", "bytes after the map")
        return m


# ---- fields: a rule is a function of (value, where) that raises
def uint(lo=0, hi=(1 << 64) - 1, cls="E_META"):
    def f(v, k):
        need(type(v) is int and v >= 0, "E_META", k + " is not a uint")
        need(lo <= v <= hi, cls, k + " out of range")
    return f


def sint(lo, hi):
    def f(v, k):
        need(type(v) is int and lo <= v <= hi, "E_META", k + " is not an int in range")
    return f


def text(lo=0, hi=4096):
    def f(v, k):
        need(type(v) is str and lo <= len(v.encode()) <= hi, "E_META", k + " is not a text in range")
    return f


def one_of(values, cls="E_META"):
    def f(v, k):
        need(type(v) is type(values[0]), "E_META", k + " has the wrong type")
        need(v in values, "E_VERSION" if newer else cls, "%s: unknown value %s" % (k, v))
    return f


def bool_(v, k):
    need(type(v) is bool, "E_META", k + " is not a bool")


def digest(v, k):
    need(type(v) is bytes and len(v) == 16, "E_META", k + " is not a digest")


def clip(v, k):
    need(type(v) is float and 0 < v <= 1, "E_META", k + " is not in (0, 1]")


def bits(v, k):
    need(type(v) is int and (2 <= v <= 8 or v == 16), "E_META", k + " is not 2..8 or 16")


def even(v, k):
    need(type(v) is int and 0 <= v <= 1 << 40 and v % 2 == 0, "E_META", k + " is not an even uint")


def name(v, k):
    need(type(v) is str and re.fullmatch(r'[!#-\[\]-~]{1,255}', v), "E_META", k + " is not a name")


def is_list(v, k):
    need(type(v) is list, "E_META", k + " is not a list")


def is_map(v, k):
    need(type(v) is dict, "E_META", k + " is not a map")


def flat(v, k):
    is_map(v, k)
    for key, x in v.items():
        need(key.startswith("x_") or type(x) in (bool, int, float, str), "E_META", k + " is not flat")


def texts(v, k):
    is_list(v, k)
    for x in v:
        need(type(x) is str, "E_META", k + " is not a list of texts")


newer = False  # the stream's minor version is newer than this reader (section 19)
x_keys = False


def fields(m, where, required, optional={}, unknown="E_META"):
    """Checks the keys of a map with fixed keys, and the type and range of each."""
    global x_keys
    need(type(m) is dict, "E_META", where + " is not a map")
    for k in m:
        if k.startswith("x_"):
            x_keys = True
        else:
            need(k in required or k in optional, "E_VERSION" if newer else unknown, "%s: unknown key %s" % (where, k))
    for k in required:
        need(k in m, "E_META", "%s: key %s is missing" % (where, k))
    for k, v in m.items():
        rule = required.get(k) or optional.get(k)
        if rule:
            rule(v, "%s.%s" % (where, k))


# ---- section 8: Hadamard base matrices
def prime_power(q):
    p = next((p for p in range(2, math.isqrt(q) + 1) if q % p == 0), q) if q > 1 else 0
    e = 0
    while p and q % p == 0:
        q //= p
        e += 1
    return (p, e) if q == 1 and e else None


def field(q):
    """chi as a list, and the table-free difference of two elements."""
    p, e = prime_power(q)

    def digits(n, length):
        return [n // p ** i % p for i in range(length)]

    def rest(a, f):
        a = a[:]
        while len(a) >= len(f):
            c = a.pop()
            for i in range(len(f) - 1):
                a[len(a) - len(f) + 1 + i] = (a[len(a) - len(f) + 1 + i] - c * f[i]) % p
        return a

    def irreducible(f):
        return all(any(rest(f, digits(m, g) + [1])) for g in range(1, e // 2 + 1) for m in range(p ** g))

    f = next(g for g in (digits(n, e) + [1] for n in range(q)) if irreducible(g))
    squares = set()
    for t in range(1, q):
        c, prod = digits(t, e), [0] * (2 * e - 1)
        for i, x in enumerate(c):
            for j, y in enumerate(c):
                prod[i + j] = (prod[i + j] + x * y) % p
        squares.add(sum(x * p ** i for i, x in enumerate(rest(prod, f))))
    chi = [0] + [1 if t in squares else -1 for t in range(1, q)]
    return chi, (lambda a, b: (a - b) % p) if e == 1 else (lambda a, b: sum((a // p ** i - b // p ** i) % p * p ** i for i in range(e)))


def base_matrix(build, k):
    """Rows of +1 and -1, or None if the build does not reach k."""
    if build == "sylvester":
        return [[1]] if k == 1 else None
    if build == "paley1":
        q = k - 1
        if q < 3 or q % 4 != 3 or not prime_power(q):
            return None
        chi, minus = field(q)
        return [[1] * k] + [[-1] + [1 if a == b else chi[minus(a, b)] for b in range(q)] for a in range(q)]
    q = k // 2 - 1
    if k % 2 or q < 5 or q % 4 != 1 or not prime_power(q):
        return None
    chi, minus = field(q)
    c = [[0] + [1] * q] + [[1] + [chi[minus(a, b)] for b in range(q)] for a in range(q)]
    out = []
    for a in range(q + 1):
        for u in range(2):
            row = []
            for b in range(q + 1):
                block = ((1, -1), (-1, -1)) if a == b else ((c[a][b], c[a][b]), (c[a][b], -c[a][b]))
                row += block[u]
            out.append(row)
    return out


def ksum(h):
    return xxh3_64(bytes(1 if x > 0 else 255 for row in h for x in row))


def online(m, where):
    need(type(m) is dict, "E_META", where + " is not a map")
    fields(m, where, {"block": uint(1), "build": one_of(("sylvester", "paley1", "paley2"), "E_VERSION"), "k": uint(0, 4096, "E_LIMIT"),
                      "ksum": uint(), "kind": one_of(("hadamard",), "E_VERSION"), "n": uint(0, 1 << 24, "E_LIMIT")}, {}, "E_VERSION")
    n, b, k = m["n"], m["block"], m["k"]
    need(k >= 1 and n >= 1, "E_META", where + ": k or n is 0")
    need(n % b == 0, "E_TENSOR", where + ": block does not divide n")
    need(b % k == 0 and (b // k) & (b // k - 1) == 0, "E_TENSOR", where + ": block is not k 2^m")
    h = base_matrix(m["build"], k)
    need(h, "E_TENSOR", "%s: %s does not reach k = %d" % (where, m["build"], k))
    need(ksum(h) == m["ksum"], "E_TENSOR", where + ": ksum differs")


# ---- sections 11 and 12: tensors
ROLES = "embed q k v o gate up down norm head router bias resid rot trans headrot other".split()
ENCS = ["raw"] + ["int%d" % b for b in range(2, 9)] + ["lowrank"]
SIZES = {"f32": 4, "f16": 2, "bf16": 2, "i32": 4, "u8": 1, "u32": 4, "u64": 8, "f64": 8}
INDEXED = {"resid": "resid", "rot": "rot", "trans": "trans", "headrot": "headrot"}
PART = {"dt": one_of(tuple(SIZES)), "k": text(), "len": uint(), "off": uint(), "shape": lambda v, k: dims(v, k)}


def dims(v, k):
    is_list(v, k)
    for x in v:
        need(type(x) is int and x >= 0, "E_META", k + " is not a list of uint")
    need(len(v) <= 8, "E_LIMIT", k + " has more than 8 dims")
    need(all(x <= 1 << 40 for x in v), "E_LIMIT", k + ": a dim above 2^40")


def shape(v, k):
    dims(v, k)
    need(math.prod(v) <= 1 << 48, "E_LIMIT", k + ": above 2^48 elements")


def derived(t):
    """(k, dt, shape, len) of each part of a tensor."""
    s, e = t["shape"], t["enc"]
    if e == "raw":
        need(t["group"] == 0, "E_TENSOR", "group of a raw tensor")
        return [("data", t["dtype"], s, math.prod(s) * SIZES[t["dtype"]])]
    if e == "lowrank":
        need(t["group"] == 0 and t["dtype"] == "f32", "E_TENSOR", "group or dtype of lowrank")
        need(len(s) == 2 and s[0] == s[1], "E_TENSOR", "lowrank is not square")
        q = t["parts"][0]["shape"] if t["parts"] else []
        need(len(q) == 2 and q[1] % 2 == 0 and 2 <= q[1] <= s[0], "E_TENSOR", "rank of lowrank")
        return [("q", "f32", [s[0], q[1]], 4 * s[0] * q[1]), ("m", "f32", [q[1], q[1]], 4 * q[1] * q[1])]
    need(len(s) == 2, "E_TENSOR", "integer codes need 2 dims")
    rows, cols, group, b = s[0], s[1], t["group"], int(e[3:])
    need(group == 0 or cols % group == 0, "E_TENSOR", "group does not divide the last dim")
    need((group or cols) <= 1 << 24, "E_TENSOR", "span too long for its sum")
    g = cols // group if group else 1
    dt = t["parts"][1]["dt"] if len(t["parts"]) > 1 else ""
    need(dt in ("f32", "f16"), "E_TENSOR", "type of scales")
    return [("codes", "u8", s, rows * ((cols * b + 7) // 8)), ("scales", dt, [rows, g], rows * g * SIZES[dt]), ("sums", "i32", [rows, g], rows * g * 4)]


def layout(parts, want, payload_len):
    """Compares parts with the derived ones; returns the gaps."""
    end = 0
    for _, _, _, n in want:
        end = ((end + 63) & ~63) + n
        need(end <= 1 << 40, "E_LIMIT", "payload above 2^40")
    need(len(parts) == len(want), "E_TENSOR", "number of parts")
    end, gaps = 0, []
    for p, (k, dt, s, n) in zip(parts, want):
        off = (end + 63) & ~63
        gaps.append((end, off))
        need((p["k"], p["dt"], p["shape"]) == (k, dt, s), "E_TENSOR", "part %s is not the derived one (%s %s %s)" % (p["k"], k, dt, s))
        need((p["off"], p["len"]) == (off, n), "E_TENSOR", "part %s: off or len is not the derived one" % k)
        end = off + n
    need(payload_len == end, "E_TENSOR", "payload_len is not the derived size %d" % end)
    return gaps


def codes(raw, rows, cols, b):
    """Rows of signed codes."""
    width, out = (cols * b + 7) // 8, []
    for r in range(rows):
        bits_ = int.from_bytes(raw[r * width:(r + 1) * width], "little")
        out.append([((bits_ >> j * b & (1 << b) - 1) ^ 1 << b - 1) - (1 << b - 1) for j in range(cols)])
    return out


def numbers(raw, dt):
    n = len(raw) // SIZES[dt]
    if dt == "bf16":
        return list(struct.unpack("<%df" % n, b"".join(b"\0\0" + raw[2 * i:2 * i + 2] for i in range(n))))
    return list(struct.unpack("<%d%s" % (n, {"f32": "f", "f16": "e", "i32": "i", "u8": "B", "u32": "I", "u64": "Q", "f64": "d"}[dt]), raw))


def to_f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def part(t, payload, k):
    p = next(p for p in t["parts"] if p["k"] == k)
    return payload[p["off"]:p["off"] + p["len"]], p


def dense(t, payload):
    """All values of a tensor, row-major (section 12)."""
    if t["enc"] == "raw":
        return numbers(part(t, payload, "data")[0], t["dtype"])
    if t["enc"] == "lowrank":
        (qb, qp), (mb, _) = part(t, payload, "q"), part(t, payload, "m")
        d, r = qp["shape"]
        q, m = numbers(qb, "f32"), numbers(mb, "f32")
        qm = [[sum(q[i * r + a] * m[a * r + b] for a in range(r)) for b in range(r)] for i in range(d)]
        return [(i == j) + sum(qm[i][b] * q[j * r + b] for b in range(r)) for i in range(d) for j in range(d)]
    rows, cols = t["shape"]
    sb, sp = part(t, payload, "scales")
    s, g = numbers(sb, sp["dt"]), sp["shape"][1]
    span = t["group"] or cols
    return [to_f32(c * s[i * g + j // span]) for i, row in enumerate(codes(part(t, payload, "codes")[0], rows, cols, int(t["enc"][3:]))) for j, c in enumerate(row)]


def orthonormal(a, rows, cols, what):
    """Columns of a [rows, cols] are orthonormal within 1e-5."""
    for x in range(cols):
        for y in range(x, cols):
            dot = math.fsum(a[i * cols + x] * a[i * cols + y] for i in range(rows))
            need(abs(dot - (x == y)) <= 1e-5, "E_VALUE", what + " is not orthonormal")


def values(t, payload):
    """Section 12, Values."""
    if t["enc"] == "raw":
        v = dense(t, payload)
        need(all(map(math.isfinite, v)), "E_VALUE", "NaN or infinity")
        if t["role"] in ("rot", "headrot", "resid"):
            orthonormal(v, t["shape"][0], t["shape"][1], t["name"])
    elif t["enc"] == "lowrank":
        (qb, qp), (mb, _) = part(t, payload, "q"), part(t, payload, "m")
        d, r = qp["shape"]
        q, m = numbers(qb, "f32"), numbers(mb, "f32")
        need(all(map(math.isfinite, q + m)), "E_VALUE", "NaN or infinity")
        orthonormal(q, d, r, "q")
        orthonormal([x + (i // r == i % r) for i, x in enumerate(m)], r, r, "m + I")
    else:
        rows, cols = t["shape"]
        (sb, sp), (ub, _) = part(t, payload, "scales"), part(t, payload, "sums")
        least = 2.0 ** (-126 if sp["dt"] == "f32" else -14)
        need(all(math.isfinite(x) and x >= least for x in numbers(sb, sp["dt"])), "E_VALUE", "a scale is not a positive normal number")
        g, span = sp["shape"][1], t["group"] or cols
        rows_ = codes(part(t, payload, "codes")[0], rows, cols, int(t["enc"][3:]))
        want = [sum(row[k * span:(k + 1) * span]) for row in rows_ for k in range(g)]
        need(want == numbers(ub, "i32"), "E_VALUE", "sums differ from the codes")


# ---- sections 2 to 4 and the frames
KNOWN = "HEAD PROV fILe TENS TSUM sTAT PSUM INDX ENDS ABRT".split()
STAT_PARTS = {"absmax": "f32", "rms": "f32", "kurt": "f32", "hist": "u64"}
ERROR_PARTS = {"sig": "f32", "err": "f32", "clip": "u32"}


class Reader:
    def __init__(self, data, check_values=False, show=None):
        self.b, self.i = data, 0
        self.check_values, self.show, self.shown = check_values, show, None
        self.seq, self.state, self.align = 0, "start", 64
        self.frames, self.index, self.names = [], [], {"TENS": set(), "fILe": set(), "sTAT": set()}
        self.head, self.plan, self.L = None, None, 0
        self.n_prov, self.n_psum, self.prev = 0, 0, bytes(16)
        self.tensor, self.tsums, self.n_tens, self.index_off = None, b"", 0, None
        self.ranks, self.square, self.indexed = {}, {}, {"rot": set(), "trans": set(), "headrot": set(), "resid": {}}
        self.unknown = False

    def take(self, n, what):
        need(len(self.b) - self.i >= n, "E_TRUNC", "ends inside " + what)
        self.i += n
        return self.b[self.i - n:self.i]

    def signature(self):
        global newer
        magic = b"\x89RSQ\r\n\x1a\n"
        b = self.b[:16]
        need(b[:8] == magic[:len(b)], "E_MAGIC", "not an RSQ stream")
        self.take(16, "the signature")
        major, minor, sum_ = struct.unpack("<HHI", b[8:])
        need(check(b[:12]) == sum_, "E_SUM", "signature")
        need(major == 1, "E_VERSION", "major version %d" % major)
        newer, self.minor = minor > MINOR, minor

    def run(self):
        self.signature()
        while self.state != "end":
            self.at, self.type = self.i, "?"
            try:
                self.frame()
            except Bad as e:
                e.where = "frame %d %s at %d" % (self.seq, self.type, self.at)
                raise
            self.seq += 1
        need(self.i == len(self.b), "E_TRAIL", "%d bytes after the end" % (len(self.b) - self.i))

    def place(self, t):
        """Section 4: may t come now?"""
        s, body = self.state, ("fILe", "TENS", "sTAT", "?")
        if t == "ABRT" and s != "start":
            return
        if s == "psum":
            if self.n_psum < self.n_prov:
                need(t not in ("INDX", "ENDS"), "E_PROV", "PSUM missing")
            else:
                need(t != "PSUM", "E_PROV", "a PSUM too many")
        need(s != "indx" or t != "PSUM", "E_PROV", "a PSUM too many")
        if s in ("prov", "body"):
            need(t not in ("INDX", "ENDS"), "E_PROV", "PSUM missing")
        ok = {"start": ("HEAD",), "head": ("PROV",), "prov": ("PROV", "PSUM") + body, "body": ("PSUM",) + body, "tens": ("TSUM",),
              "psum": ("PSUM",) if self.n_psum < self.n_prov else ("INDX",), "indx": ("ENDS",)}[s]
        need(t in ok, "E_FRAME", "out of order (after %s)" % s)

    def frame(self):
        need(self.i < len(self.b), "E_TRUNC", "ENDS missing")
        p = self.take(32, "a prologue")
        sync, tag, meta_len, pad_len, payload_len, seq, sum_ = struct.unpack("<4s4sIIQII", p)
        need(check(p[:28]) == sum_, "E_SUM", "prologue check")
        need(sync == b"\xd3RSQ", "E_FRAME", "sync bytes")
        need(re.fullmatch(b"[A-Za-z]{2}[A-Z][A-Za-z]", tag), "E_FRAME", "letters of the type")
        t = self.type = tag.decode()
        known = t in KNOWN
        need(known or tag[0] >= 97, "E_VERSION", "unknown critical type")
        need(seq == self.seq, "E_FRAME", "seq %d" % seq)
        self.place(t if known else "?")
        need(meta_len <= 1 << 20 and payload_len <= 1 << 40 and self.seq < 1 << 22, "E_LIMIT", "meta_len, payload_len or number of frames")
        need(t != "PROV" or self.n_prov < 64, "E_LIMIT", "more than 64 PROV")
        need(t != "TENS" or self.n_tens < 1 << 20, "E_LIMIT", "too many tensors")
        need(t != "fILe" or payload_len <= 64 << 20, "E_LIMIT", "fILe above 64 MiB")
        need(t not in ("HEAD", "PROV", "PSUM", "ABRT") or payload_len == 0, "E_FRAME", "payload_len is not 0")
        need(t != "ENDS" or payload_len == 64, "E_FRAME", "payload_len is not 64")
        need(t != "INDX" or payload_len == 32 * len(self.index), "E_INDEX", "payload_len is not 32 per frame")
        if t == "TSUM":
            n = -(-len(self.payload) // CHUNK)
            need(payload_len == 8 * n, "E_FRAME", "number of hashes")
        need(pad_len == -(self.at + 32 + meta_len + 4) % (self.align if t == "TENS" else 8), "E_FRAME", "pad_len")
        end = self.at + 32 + meta_len + 4 + pad_len + payload_len
        need(end + 7 <= 1 << 56, "E_LIMIT", "stream too long")
        raw = self.take(meta_len, "meta")
        need(int.from_bytes(self.take(4, "the meta check"), "little") == check(raw), "E_SUM", "meta check")
        m = Meta(raw).top()
        self.payload_len, self.payload_off = payload_len, end - payload_len
        self.frames.append({"seq": seq, "type": t, "offset": self.at, "payload_off": self.payload_off, "payload_len": payload_len, "meta": m})
        handler = getattr(self, "meta_" + t, None)
        if handler:
            handler(m, raw)
        else:
            self.unknown, self.state = True, "body"
        need(not any(self.take(pad_len, "pad")), "E_FRAME", "nonzero pad")
        payload = self.take(payload_len, "the payload")
        need(not any(self.take(-end % 8, "closing bytes")), "E_FRAME", "nonzero closing byte")
        handler = getattr(self, "payload_" + t, None)
        if handler:
            handler(m, payload)

    # section 6, 7
    def meta_HEAD(self, m, raw):
        v = m.get("incompat")
        need(type(v) is not int or v < 0 or v & ~15 == 0, "E_VERSION", "unknown bit in incompat")
        fields(m, "HEAD", {"align": one_of((64, 4096)), "arch": text(1, 31), "incompat": uint(), "kind": one_of(("weights", "rotations")),
                           "layers": uint(0, 65536), "model": text(0, 255)}, {"base": digest, "plan": is_map})
        self.head, self.align, self.L, self.state = m, m["align"], m["layers"], "head"
        weights = m["kind"] == "weights"
        need(("plan" in m) == weights, "E_META", "plan is for weights")
        need("base" not in m or not weights, "E_META", "base is for rotations")
        if not weights:
            need(m["incompat"] == 0, "E_TENSOR", "incompat of rotations")
            return
        p = self.plan = m["plan"]
        act = {"bits": bits, "clip": clip, "group": uint(0, 1 << 40), "sym": bool_}
        req = {"%s_%s" % (a, k): f for a in ("a", "kv") for k, f in act.items()}
        req.update(rank=even, resid=one_of(("none", "lowrank", "dense"), "E_VERSION"))
        req["except"] = is_list
        ranges = {k: one_of(("zero", "free", "half"), "E_VERSION") for k in ("a_range", "k_range", "v_range")}
        fields(p, "plan", req, dict({"r3": online, "r4": online}, **ranges), "E_VERSION")
        fits = lambda r, sym: r != ("free" if sym else "half")
        for k in ranges:
            need(p.get(k) != "zero", "E_META", k + " says what holds without it")
            need(fits(p.get(k), p["a_sym" if k == "a_range" else "kv_sym"]), "E_TENSOR", k + " does not fit the codes")
        ranged = any(k in p for k in ranges)
        need(p["rank"] == 0 or p["resid"] == "lowrank", "E_TENSOR", "rank without lowrank")
        roles = ("q", "k", "v", "o", "gate", "up", "down", "head", "resid")
        last, quant = None, p["a_bits"] != 16 or p["kv_bits"] != 16
        for x in p["except"]:
            opt = {"a_" + k: f for k, f in act.items()}
            opt.update(rank=even, a_range=ranges["a_range"])
            fields(x, "except", {"layer": sint(-1, (1 << 63) - 1), "role": one_of(roles)}, opt, "E_VERSION")
            layer, role, resid = x["layer"], x["role"], x["role"] == "resid"
            need(("rank" in x) == resid and not (resid and len([k for k in x if k.startswith("a_")])), "E_META", "except: keys that do not fit the role")
            need(layer == -1 if role == "head" else layer >= 0 if resid else True, "E_META", "except: layer does not fit the role")
            need(layer < (2 * self.L if resid else self.L) or layer == -1, "E_TENSOR", "except: layer above the number of layers")
            key = (layer, ROLES.index(role))
            if last is not None:
                need(key != last, "E_DUP", "except: entry twice")
                need(key > last, "E_META", "except: out of order")
            last = key
            for k in x:
                need(not k.startswith("a_") or x[k] != p.get(k, "zero"), "E_META", "except: %s equals the plan's" % k)
            quant = quant or x.get("a_bits", 16) != 16
            own = x.get("a_range", p.get("a_range", "zero"))
            ranged = ranged or not resid and own != "zero"
            need(resid or fits(own, x.get("a_sym", p["a_sym"])), "E_TENSOR", "except: a_range does not fit the codes")
            if resid:
                need(p["resid"] != "none", "E_TENSOR", "except for junctions without junctions")
                need(p["resid"] != "dense" or x["rank"] == 0, "E_TENSOR", "except: rank of a dense junction")
                need(p["resid"] != "lowrank" or x["rank"] != p["rank"], "E_META", "except: rank equals the plan's")
                self.ranks[layer] = x["rank"]
        want = ("r3" in p or "r4" in p) | (p["resid"] != "none") << 1 | quant << 2 | ranged << 3
        need(m["incompat"] == want, "E_TENSOR", "incompat disagrees with plan")

    # section 9
    def meta_PROV(self, m, raw):
        fields(m, "PROV", {"argv": texts, "commit": text(), "params": flat, "prev": digest, "step": uint(), "tool": text(), "ver": text()})
        need(m["step"] == self.n_prov, "E_PROV", "step %d" % m["step"])
        need(m["prev"] == self.prev, "E_PROV", "prev is not the digest of the link before")
        self.prev, self.state = xxh3_128(raw), "prov"
        self.n_prov += 1

    def meta_PSUM(self, m, raw):
        fields(m, "PSUM", {"in": is_list, "step": uint()})
        for x in m["in"]:
            fields(x, "in", {"digest": digest, "fmt": one_of(("rsq", "safetensors", "gguf", "json", "text")), "size": uint()})
        need(m["step"] == self.n_psum, "E_PROV", "step %d" % m["step"])
        if self.n_psum == 0:
            self.complete()
        self.n_psum += 1
        self.state = "psum"

    # section 10
    def meta_fILe(self, m, raw):
        fields(m, "fILe", {"name": text(1, 255), "sum": uint()})
        need("/" not in m["name"] and m["name"][0] != ".", "E_META", "name of a file")
        self.add("fILe", m["name"], m["name"])
        self.state = "body"

    def payload_fILe(self, m, payload):
        need(xxh3_64(payload) == m["sum"], "E_SUM", "sum of the payload")

    def add(self, kind, key, name_):
        need(key not in self.names[kind], "E_DUP", "%s twice" % name_)
        self.names[kind].add(key)
        self.index.append((self.at, self.payload_off, self.payload_len, xxh3_64(name_.encode())))

    # section 11, 13
    def meta_TENS(self, m, raw):
        def xf_id(v, k):
            need(type(v) is str, "E_META", k + " is not a text")
            need(re.fullmatch(r"gamma|smooth|r4|(rot|rebase|headrot)\.(0|[1-9][0-9]{0,8})", v), "E_VERSION", "unknown transform " + v)
        fields(m, "TENS", {"dtype": one_of(("f32", "f16", "bf16")), "enc": one_of(tuple(ENCS)), "expert": sint(-1, (1 << 20) - 1), "group": uint(0, 1 << 40),
                           "layer": sint(-1, 2 * self.L), "name": name, "parts": is_list, "role": one_of(tuple(ROLES)), "shape": shape, "xf": is_list})
        for p in m["parts"]:
            fields(p, "parts", PART)
        for x in m["xf"]:
            fields(x, "xf", {"id": xf_id, "n": uint(1, 1 << 40), "side": uint(0, 1)})
        need(len(m["xf"]) <= 32, "E_LIMIT", "too many transforms")
        self.add("TENS", m["name"], m["name"])
        self.n_tens += 1
        self.gaps = layout(m["parts"], derived(m), self.payload_len)
        self.transforms(m)
        self.belongs(m)
        self.tensor, self.state = m, "tens"

    def transforms(self, m):
        s, seen = m["shape"], set()
        for x in m["xf"]:
            i, n = x["id"], x["n"]
            need(i not in seen, "E_TENSOR", "%s folded twice" % i)
            seen.add(i)
            need(s, "E_TENSOR", "a scalar with transforms")
            dim = s[-1] if x["side"] == 0 else s[0]
            if "." in i:
                j = int(i.split(".")[1])
                need(j < self.L if i.startswith("headrot") else j <= 2 * self.L, "E_TENSOR", i + " is beyond the layers")
            need(dim % n == 0 if i.startswith("headrot") else dim == n, "E_TENSOR", "%s: n is not the dim" % i)
        if self.plan and s and m["role"] in ("q", "k", "v", "o", "gate", "up", "down", "head"):
            p = self.plan
            e = {(x["layer"], x["role"]): x for x in p["except"]}
            own = e.get((m["layer"], m["role"])) or e.get((-1, m["role"])) or ({"a_bits": 16} if m["role"] == "head" else {})
            group = own.get("a_group", p["a_group"])
            need(own.get("a_bits", p["a_bits"]) == 16 or group == 0 or s[-1] % group == 0, "E_TENSOR", "groups of activations do not divide the input")
        r4 = [x for x in m["xf"] if x["id"] == "r4"]
        planned = self.plan.get("r4") if self.plan else None
        if m["role"] == "down" and len(s) >= 2 and planned:
            need(r4 and r4[0]["side"] == 0, "E_TENSOR", "down without r4")
            need(planned["n"] == s[-1], "E_TENSOR", "n of r4 is not the input width of down")
        else:
            need(not r4, "E_TENSOR", "r4 that the plan does not have")

    def belongs(self, m):
        role, s, layer = m["role"], m["shape"], m["layer"]
        weights = self.head["kind"] == "weights"
        if role not in INDEXED:
            need(weights, "E_TENSOR", "role %s among rotations" % role)
            need(layer < self.L, "E_TENSOR", "layer above the number of layers")
            need(not re.fullmatch(r"(resid|rot|trans|headrot)\.(0|[1-9][0-9]{0,8})", m["name"]), "E_TENSOR", "name does not fit the role")
            return
        need(m["name"] == "%s.%d" % (role, layer), "E_TENSOR", "name, role and layer do not fit")
        need((role == "resid") == weights, "E_TENSOR", "role %s in this kind of file" % role)
        top = {"rot": 2 * self.L + 1, "headrot": self.L}.get(role, 2 * self.L)
        need(0 <= layer < top, "E_TENSOR", "index beyond the layers")
        need(len(s) == 2 and s[0] == s[1] > 0, "E_TENSOR", "not square")
        low = role == "trans" or role == "resid" and self.plan["resid"] == "lowrank"
        need(m["enc"] == ("lowrank" if low else "raw"), "E_TENSOR", "encoding of " + role)
        kind = "h" if role == "headrot" else "d"
        need(self.square.setdefault(kind, s[0]) == s[0], "E_TENSOR", "size differs from the others")
        if role == "resid":
            need(self.plan["resid"] != "none", "E_TENSOR", "junction that the plan does not have")
            rank = self.ranks.get(layer, self.plan["rank"])
            if low:
                need(rank == m["parts"][0]["shape"][1], "E_TENSOR", "rank is not that of the plan")
            else:
                need(layer not in self.ranks, "E_TENSOR", "junction of rank 0")
            self.indexed["resid"][layer] = rank
        else:
            self.indexed[role].add(layer)
        if role in ("rot", "trans"):
            other, j = ("trans", layer - 1) if role == "rot" else ("rot", layer + 1)
            need(j not in self.indexed[other], "E_TENSOR", "junction given twice")

    def complete(self):
        L = self.L
        if self.head["kind"] == "rotations":
            rot, trans, heads = self.indexed["rot"], self.indexed["trans"], self.indexed["headrot"]
            need(0 in rot, "E_TENSOR", "rot.0 missing")
            have = [j for j in range(2 * L) if j in trans or j + 1 in rot]
            need(len(have) in (0, 2 * L), "E_TENSOR", "a junction is missing")
            need(len(heads) in (0, L), "E_TENSOR", "a headrot is missing")
        elif self.plan["resid"] != "none":
            for j in range(2 * L):
                rank = self.ranks.get(j, self.plan["rank"] if self.plan["resid"] == "lowrank" else 1)
                need(rank == 0 or j in self.indexed["resid"], "E_TENSOR", "resid.%d missing" % j)

    def payload_TENS(self, m, payload):
        self.payload = payload

    def meta_TSUM(self, m, raw):
        fields(m, "TSUM", {"n": uint()})
        need(m["n"] == -(-len(self.payload) // CHUNK), "E_FRAME", "n is not the number of chunks")

    def payload_TSUM(self, m, payload):
        t, data = self.tensor, self.payload
        for k in range(m["n"]):
            have, want = xxh3_64(data[k * CHUNK:(k + 1) * CHUNK]), int.from_bytes(payload[8 * k:8 * k + 8], "little")
            need(have == want, "E_SUM", "chunk %d of %d" % (k, m["n"]))
        self.tsums += payload
        need(not any(any(data[a:b]) for a, b in self.gaps), "E_TENSOR", "nonzero byte between parts")
        if t["enc"].startswith("int"):
            rows, cols = t["shape"]
            used, width = cols * int(t["enc"][3:]) % 8, (cols * int(t["enc"][3:]) + 7) // 8
            if used:
                need(all(data[(r + 1) * width - 1] >> used == 0 for r in range(rows)), "E_TENSOR", "nonzero bits at the end of a row")
        if self.check_values:
            values(t, data)
        if t["name"] == self.show:
            self.shown = dense(t, data)
        self.state, self.payload = "body", b""

    # section 14
    def meta_sTAT(self, m, raw):
        fields(m, "sTAT", {"name": name, "of": one_of(("weight", "input", "error", "kv", "stream", "angles")), "parts": is_list, "step": uint(), "sum": uint(),
                           "values": flat})
        for p in m["parts"]:
            fields(p, "parts", PART)
        need(len(m["parts"]) <= 8, "E_META", "too many parts")
        need(m["step"] < self.n_prov, "E_PROV", "step beyond the chain")
        of, n = m["of"], m["name"]
        self.add("sTAT", (n, of, m["step"]), n)
        if of in ("stream", "angles"):
            j = re.fullmatch(("basis" if of == "stream" else "junction") + r"\.(0|[1-9][0-9]*)", n)
            need(j and int(j[1]) < 2 * self.L + (of == "stream"), "E_TENSOR", "name does not fit")
        else:
            need(n in self.names["TENS"], "E_TENSOR", "tensor not seen before")
        kinds = {"error": ERROR_PARTS, "angles": {"theta": "f32"}}.get(of, STAT_PARTS)
        order, want = list(kinds), []
        last = -1
        for p in m["parts"]:
            need(p["k"] in kinds and order.index(p["k"]) > last, "E_TENSOR", "part %s" % p["k"])
            last = order.index(p["k"])
            dt, s = kinds[p["k"]], p["shape"]
            need(s == [64] if p["k"] == "hist" else 1 <= len(s) <= 2, "E_TENSOR", "shape of part %s" % p["k"])
            want.append((p["k"], dt, s, math.prod(s) * SIZES[dt]))
        self.gaps = layout(m["parts"], want, self.payload_len)
        self.state = "body"

    def payload_sTAT(self, m, payload):
        need(xxh3_64(payload) == m["sum"], "E_SUM", "sum of the payload")
        need(not any(any(payload[a:b]) for a, b in self.gaps), "E_TENSOR", "nonzero byte between parts")

    # section 15
    def meta_INDX(self, m, raw):
        fields(m, "INDX", {"sum": uint()})
        self.index_off, self.state = self.at, "indx"

    def payload_INDX(self, m, payload):
        need(xxh3_64(payload) == m["sum"], "E_SUM", "sum of the payload")
        for k, want in enumerate(self.index):
            need(struct.unpack_from("<4Q", payload, 32 * k) == want, "E_INDEX", "entry %d" % k)

    def meta_ENDS(self, m, raw):
        need(not m, "E_META", "meta is not empty")

    def payload_ENDS(self, m, payload):
        need(check(payload[:60]) == int.from_bytes(payload[60:], "little"), "E_SUM", "tail check")
        want = struct.pack("<8sQQQII", b"RSQTAIL\n", self.index_off, self.at, self.i, self.seq + 1, self.n_tens)
        need(payload[:40] == want and not any(payload[56:60]), "E_INDEX", "tail disagrees with the frames")
        need(xxh3_128(self.b[:self.at]) == payload[40:56], "E_SUM", "digest of the stream")
        self.state = "end"

    def meta_ABRT(self, m, raw):
        fields(m, "ABRT", {"class": uint(0, 255), "text": text(), "tool": text()})
        raise Bad("E_ABORT", "%s: class %d: %s" % (m["tool"], m["class"], m["text"]))


def read(path):
    return sys.stdin.buffer.read() if path == "-" else open(path, "rb").read()


def verdict(path, check_values, show=None):
    """(class or "ok", message, reader)"""
    r = None
    try:
        r = Reader(read(path), check_values, show)
        r.run()
    except Bad as e:
        return e.cls, (e.where + ": " if e.where else "") + e.why, r
    except OSError as e:
        return "E_READ", e.strerror, r
    return "ok", "", r


def plain(v):
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    if isinstance(v, list):
        return [plain(x) for x in v]
    return v.hex() if isinstance(v, bytes) else v


def main(argv):
    flags, rest, show = set(), [], None
    while argv:
        a = argv.pop(0)
        if a == "--ksum" and len(argv) == 2 and argv[1].isdigit() and argv[0] in ("sylvester", "paley1", "paley2"):
            h = base_matrix(argv[0], int(argv[1]))
            print("%016x" % ksum(h) if h else "none")
            return 0 if h else 2
        if a == "--print" and argv:
            show = argv.pop(0)
        elif a in ("--values", "--json", "--batch"):
            flags.add(a)
        elif a.startswith("--"):
            rest = []
            break
        else:
            rest.append(a)
    if not rest or len(rest) > 1 and "--batch" not in flags:
        sys.stderr.write(__doc__)
        return 2
    if "--batch" in flags:
        for path in rest:
            print(verdict(path, "--values" in flags)[0], path)
        return 0
    cls, why, r = verdict(rest[0], "--values" in flags, show)
    if "--json" in flags and r:
        for f in r.frames:
            print(json.dumps(plain(f), sort_keys=True))
    if cls != "ok":
        sys.stderr.write("decode.py: %s: %s: %s\n" % (rest[0], cls, why))
        return CODES[cls]
    if show is not None:
        if r.shown is None:
            sys.stderr.write("decode.py: %s: no tensor %s\n" % (rest[0], show))
            return 2
        for v in r.shown:
            print(repr(v))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
