#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokens per second of llama.cpp: a prompt, then token by token; medians over rounds, as JSON.

  llama_speed.py MODEL.gguf THREADS PREFILL TOKENS ROUNDS
  llama_speed.py --quantise IN.gguf OUT.gguf        makes a Q4_0 of it
"""
import ctypes
import json
import statistics
import sys
import time
import llama_cpp


def quantise(source, target):
    p = llama_cpp.llama_model_quantize_default_params()
    p.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0
    p.allow_requantize = True
    sys.exit(llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(p)))


def measure(model, threads, prefill, tokens, rounds):
    llm = llama_cpp.Llama(model, n_ctx=prefill + tokens + 8, n_batch=prefill, n_ubatch=prefill, n_threads=threads, n_threads_batch=threads, logits_all=False, verbose=False)
    state, ids = 1, []
    for _ in range(prefill + tokens):
        state = (state * 1664525 + 1013904223) % 2**32
        ids.append((state >> 8) % llm.n_vocab())
    first, rest = [], []
    for _ in range(rounds):
        llm.reset()
        t = time.monotonic()
        llm.eval(ids[:prefill])
        first.append(time.monotonic() - t)
        t = time.monotonic()
        for i in ids[prefill:]:
            llm.eval([i])
        rest.append(time.monotonic() - t)
    print(json.dumps({"prefill_tokens_per_s": prefill / statistics.median(first), "decode_tokens_per_s": tokens / statistics.median(rest)}))


if sys.argv[1] == "--quantise":
    quantise(sys.argv[2], sys.argv[3])
else:
    measure(sys.argv[1], *map(int, sys.argv[2:6]))
