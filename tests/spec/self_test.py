# SPDX-License-Identifier: Apache-2.0
"""Checks of the second reader itself: XXH3 against xxhsum, ksum against the table of FORMAT.md, decoded numbers against the rule that made them, a byte flipped anywhere."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import decode
import make_golden as gold
from xxh3 import xxh3_64, xxh3_128

passed = failed = skipped = 0


def that(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("FAIL spec: " + what)


def hashes():
    global skipped
    if not shutil.which("xxhsum"):
        print("SKIP xxh3 against xxhsum: no xxhsum")
        skipped += 1
        return
    with tempfile.TemporaryDirectory() as t:
        data, names = {}, []
        for n in list(range(0, 260)) + [511, 512, 513, 1024, 1025, 1088, 1089, 2048, 2049, 5000]:
            data[n] = bytes((i * i * 31 + i * 7 + n) >> 3 & 255 for i in range(n))
            names.append(os.path.join(t, str(n)))
            with open(names[-1], "wb") as f:
                f.write(data[n])
        for option, fn in (("-H3", lambda b: "%016x" % xxh3_64(b)), ("-H2", lambda b: xxh3_128(b).hex())):
            p = subprocess.run(["xxhsum", option] + names, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True)
            if p.returncode:
                print("SKIP xxh3 against xxhsum: it does not know " + option)
                skipped += 1
                continue
            lines = p.stdout.splitlines()
            that(len(lines) == len(data) and all(fn(b) in line for b, line in zip(data.values(), lines)), "xxhsum %s differs" % option)


def ksums():
    spec = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "formats", "FORMAT.md")
    with open(spec, encoding="utf-8") as f:
        rows = re.findall(r"\| (sylvester|paley1|paley2) \| (\d+) \| [\d^]* \| ([0-9a-f]{16}) \|", re.sub(r"\| \|", "|\n|", f.read()))
    that(len(rows) >= 18, "table of ksum not found")
    for build, k, value in rows:
        if int(k) > 400:
            continue
        h = decode.base_matrix(build, int(k))
        that("%016x" % decode.ksum(h) == value, "ksum of %s %s" % (build, k))
        if int(k) <= 36:
            that(all(sum(a * b for a, b in zip(x, y)) == (int(k) if i == j else 0) for i, x in enumerate(h) for j, y in enumerate(h)), "%s %s is no Hadamard matrix" % (build, k))


def shown(data, name):
    r = decode.Reader(data, True, name)
    r.run()
    return r.shown


def numbers():
    files = gold.good()
    for b in range(2, 9):
        want = [gold.code(b, i, j) * 0.125 * (1 + i % 5) for i in range(2) for j in range(11)]
        that(shown(files["int%d" % b], "b") == want, "numbers of int%d" % b)
        want = [gold.code(b, i, j) * 0.125 * (1 + (i * 3 + j // 4) % 5) for i in range(2) for j in range(12)]
        that(shown(files["int%d" % b], "c") == want, "numbers of int%d in groups" % b)
    for dt in ("f32", "f16", "bf16"):
        that(shown(files["raw_" + dt], "b") == gold.ramp(30), "numbers of raw " + dt)
    t = shown(files["lowrank"], "resid.0")
    want = [.6, .8, 0, 0, -.8, .6, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    that(max(abs(a - b) for a, b in zip(t, want)) < 1e-6, "numbers of lowrank")


def flips():
    """Each byte of a small stream changed: never accepted."""
    data = gold.stream(gold.file_(), gold.tens(shape=(2, 3)), gold.stat("model.embed_tokens.weight", "kv", []))
    good = []
    for i in range(len(data)):
        try:
            decode.Reader(gold.flip(data, i, 1 << i % 8)).run()
            good.append(i)
        except decode.Bad:
            pass
    that(not good, "a flipped byte is accepted at %s" % good[:5])
    that(all(decode_class(data[:n]) in ("E_TRUNC",) for n in range(len(data))), "a cut stream is not E_TRUNC")


def decode_class(data):
    try:
        decode.Reader(data).run()
    except decode.Bad as e:
        return e.cls
    return "ok"


for group in (hashes, ksums, numbers, flips):
    group()
print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
sys.exit(failed != 0)
