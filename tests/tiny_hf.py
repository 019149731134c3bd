#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a tiny random Llama with a byte-level tokenizer in the form of Hugging Face: tests of the tools. Usage: tiny_hf.py DIR [key=value]...; keys are those of DEFAULT."""
import json
import os
import random
import struct
import sys

DEFAULT = {"layers": 2, "d": 16, "f": 24, "heads": 4, "kv": 2, "h": 4, "seed": 1, "tied": 1, "arch": "LlamaForCausalLM"}
MERGES = ["t h", "th e", "Ġ the", "a n", "an d", "i n", "e r"]


def byte_tokens():
    """The 256 bytes as printable characters, in the order of byte-level tokenizers."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    other = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(other))]


def tokenizer():
    tokens = byte_tokens() + [m.replace(" ", "") for m in MERGES] + ["<|end|>"]
    return {"version": "1.0", "added_tokens": [{"id": len(tokens) - 1, "content": "<|end|>", "special": True}], "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": MERGES}}, len(tokens)


def tensors(o, vocab):
    d, f, q, kv = o["d"], o["f"], o["heads"] * o["h"], o["kv"] * o["h"]
    yield "model.embed_tokens.weight", [vocab, d]
    for i in range(o["layers"]):
        at = "model.layers.%d." % i
        yield at + "input_layernorm.weight", [d]
        yield at + "post_attention_layernorm.weight", [d]
        for name, shape in (("self_attn.q_proj", [q, d]), ("self_attn.k_proj", [kv, d]), ("self_attn.v_proj", [kv, d]), ("self_attn.o_proj", [d, q]),
                            ("mlp.gate_proj", [f, d]), ("mlp.up_proj", [f, d]), ("mlp.down_proj", [d, f])):
            yield at + name + ".weight", shape
    yield "model.norm.weight", [d]
    if not o["tied"]:
        yield "lm_head.weight", [vocab, d]


def main():
    o = dict(DEFAULT)
    for arg in sys.argv[2:]:
        key, value = arg.split("=", 1)
        o[key] = type(DEFAULT[key])(value)
    folder, vocab_json, rng = sys.argv[1], tokenizer(), random.Random(o["seed"])
    tok, vocab = vocab_json
    header, data = {}, bytearray()
    for name, shape in tensors(o, vocab):
        n, scale, mean = shape[0], 0.2, 1.0
        if len(shape) == 2:
            n, scale, mean = shape[0] * shape[1], shape[1] ** -0.5, 0.0
        # uniform numbers: the same for any version of the standard library
        raw = struct.pack("<%df" % n, *(mean + scale * 3.4 * (rng.random() - 0.5) for _ in range(n)))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    config = {"architectures": [o["arch"]], "model_type": "llama", "hidden_size": o["d"], "intermediate_size": o["f"], "num_hidden_layers": o["layers"], "num_attention_heads": o["heads"],
              "num_key_value_heads": o["kv"], "head_dim": o["h"], "vocab_size": vocab, "tie_word_embeddings": bool(o["tied"]), "rms_norm_eps": 1e-05, "rope_theta": 10000.0,
              "max_position_embeddings": 256, "eos_token_id": vocab - 1}
    os.makedirs(folder, exist_ok=True)
    for name, content in (("model.safetensors", struct.pack("<Q", len(text)) + text + data), ("config.json", json.dumps(config).encode()), ("tokenizer.json", json.dumps(tok).encode())):
        with open(os.path.join(folder, name), "wb") as out:
            out.write(content)


main()
