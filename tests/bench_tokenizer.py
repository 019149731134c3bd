# SPDX-License-Identifier: Apache-2.0
# Speed of the `tokenizers` package, measured as bench_tokenizer measures ours: bench_tokenizer.py TOKENIZER.json TEXT (run both, one after the other).
import sys
import time

import tokenizers

t = tokenizers.Tokenizer.from_file(sys.argv[1])
text = open(sys.argv[2], encoding="utf-8", newline="").read()
wall, cpu = [], []
for _ in range(3):
    w, c = time.perf_counter(), time.process_time()
    n = len(t.encode(text, add_special_tokens=False).ids)
    wall.append(time.perf_counter() - w)
    cpu.append(time.process_time() - c)
size = len(text.encode())
print("tokenizers %s: encode %d bytes, %d ids: %.1f MB/s, cpu %.1f MB/s" % (tokenizers.__version__, size, n, size / min(wall) / 1e6, size / min(cpu) / 1e6))
