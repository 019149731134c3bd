#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Damages streams at random (a bit flipped, cut short, a piece taken out, a piece doubled) and gives them to tools: each must end with a class of bad input, one line and
no output file. Usage: damage.py COUNT SEED STREAM TOOL [OPTION]... (the damaged stream comes on standard input; {out} in an option: the output)"""
import os
import random
import subprocess
import sys


def damaged(rng, data):
    data, kind, at, n = bytearray(data), rng.randrange(4), rng.randrange(len(data)), rng.randrange(1, 4000)
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        del data[at:at + n]
    else:
        data[at:at] = data[at:at + n]
    return bytes(data)


def main():
    rng, stream, command = random.Random(int(sys.argv[2])), open(sys.argv[3], "rb").read(), sys.argv[4:]
    for i in range(int(sys.argv[1])):
        bad = damaged(rng, stream)
        p = subprocess.run([c.replace("{out}", "damage.out") for c in command], input=bad, capture_output=True, timeout=60)
        left = [f for f in os.listdir(".") if "damage.out" in f]
        if not 10 <= p.returncode <= 24 or p.stderr.count(b"\n") != 1 or left:
            print("number %d: exit %d, left %s, said: %s" % (i, p.returncode, left, p.stderr.decode("utf-8", "backslashreplace")[:1000]))
            break


main()
