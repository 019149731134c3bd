#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Mean negative log-likelihood of the first N tokens of a text under llama.cpp, without BOS.

  llama_nll.py MODEL.gguf TEXT N
"""
import sys
import numpy as np
from llama_cpp import Llama

model, text, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
llm = Llama(model, n_ctx=n, n_batch=n, logits_all=True, verbose=False)
with open(text, "rb") as f:
    ids = llm.tokenize(f.read(200000), add_bos=False)[:n]
llm.eval(ids)
logits = np.asarray(llm.scores[:n - 1], dtype=np.float64)
top = logits.max(1, keepdims=True)
nll = np.log(np.exp(logits - top).sum(1)) + top[:, 0] - logits[np.arange(n - 1), ids[1:]]
print("%.4f" % nll.mean())
