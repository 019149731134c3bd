#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the full-precision perplexity of a Hugging Face model directory on a text, as transformers computes it.

    measure.py [model] [text/eval.txt] [context]      (needs torch and transformers)

The file as it is, no token put before it, windows that do not overlap, the tail dropped: exp of the mean over context - 1 predictions per window.
"""
import math
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

here = os.path.dirname(os.path.abspath(__file__))
model_dir, text, context = (sys.argv[1:] + [os.path.join(here, "model"), os.path.join(here, "text", "eval.txt"), "256"][len(sys.argv) - 1:])[:3]
context = int(context)
torch.set_num_threads(2)
model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
with open(text, encoding="utf-8", newline="") as f:
    ids = AutoTokenizer.from_pretrained(model_dir)(f.read(), add_special_tokens=False, verbose=False)["input_ids"]
windows = torch.tensor(ids[:len(ids) // context * context]).view(-1, context)
total = 0.0
with torch.no_grad():
    for w in windows:
        total += torch.nn.functional.cross_entropy(model(input_ids=w[None]).logits[0, :-1], w[1:], reduction="sum").item()
print(f"perplexity {math.exp(total / (len(windows) * (context - 1))):.4f}  ({len(windows)} windows of {context} tokens, of {len(ids)})")
