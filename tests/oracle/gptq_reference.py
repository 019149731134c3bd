# SPDX-License-Identifier: Apache-2.0
"""GPTQ by respin_ref.py under one global rotation, for tests/bench.sh: 16 calibration sequences of 512 from token 200000 on, perplexity at W4 and at W4A4KV4.

  gptq_reference.py REFERENCE_DIR MODEL.gguf TEXT CALIB WINDOWS R.pt
      makes R.pt if there is none; token ids come from REFERENCE_DIR/ids where they lie there, else from llama.cpp. Prints: seconds of quantising, those of all its threads together, two perplexities.
"""
import os
import sys
import time

import numpy as np
import torch

sys.dont_write_bytecode = True
folder, model, text, calib, windows, rotation = sys.argv[1:]
sys.path.insert(0, folder)
import respin_ref as ref  # noqa: E402

torch.set_grad_enabled(False)


def tokens(path):
    ids = os.path.join(folder, "ids", os.path.basename(path) + ".npy")
    return torch.from_numpy(np.load(ids).astype(np.int64)) if os.path.exists(ids) else ref.tokens(model, path)


def online(n):
    """The container's Hadamard matrix: its base is the outer factor, in respin_ref.py the inner one."""
    k = n
    while k % 2 == 0:
        k //= 2
    while ref._base(k) is None:
        k *= 2
    return torch.kron(ref._base(k), ref.hadamard(n // k)) / k**0.5


m = ref.load(model)
if not os.path.exists(rotation):
    g = torch.Generator().manual_seed(1)
    base = ref.random_hadamard(m.d, g)
    torch.save(dict(bases=[base] * (2 * m.L + 1), heads=[ref.random_hadamard(m.h, g) for _ in range(m.L)]), rotation)
rot = torch.load(rotation)
r3, r4 = online(m.h), online(m.f)
fused = ref.fuse(m, rot["bases"], rot["heads"], r4)
start, busy = time.time(), time.process_time()
quantised = ref.quantise(m, fused, 4, tokens(calib)[200000:200000 + 16 * 512].view(16, 512), 512, r3, r4)
print(f"{time.time() - start:.1f}\n{time.process_time() - busy:.1f}", flush=True)
for bits in (16, 4):
    print(f"{ref.perplexity(m, quantised, tokens(text), int(windows), 1024, a=bits, kv=bits, r3=r3, r4=r4):.4f}", flush=True)
