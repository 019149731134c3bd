#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a random Llama of any depth as a Hugging Face directory (config.json, f16 model.safetensors), one tensor at a time: for measuring memory and speed.

  synthetic.py DIR [--layers 8 --hidden 768 --ffn 2048 --heads 12 --kv-heads 4 --vocab 8192 --seed 0]
"""
import argparse, json, os, struct
import numpy as np


def main():
    p = argparse.ArgumentParser()
    p.add_argument("dir")
    for k, v in dict(layers=8, hidden=768, ffn=2048, heads=12, kv_heads=4, vocab=8192, seed=0).items():
        p.add_argument("--" + k.replace("_", "-"), type=int, default=v)
    a = p.parse_args()
    h = a.hidden // a.heads
    shapes = {"model.embed_tokens.weight": (a.vocab, a.hidden), "model.norm.weight": (a.hidden,), "lm_head.weight": (a.vocab, a.hidden)}
    for i in range(a.layers):
        n = f"model.layers.{i}."
        shapes.update({n + "input_layernorm.weight": (a.hidden,), n + "post_attention_layernorm.weight": (a.hidden,),
                       n + "self_attn.q_proj.weight": (a.heads * h, a.hidden), n + "self_attn.k_proj.weight": (a.kv_heads * h, a.hidden),
                       n + "self_attn.v_proj.weight": (a.kv_heads * h, a.hidden), n + "self_attn.o_proj.weight": (a.hidden, a.heads * h),
                       n + "mlp.gate_proj.weight": (a.ffn, a.hidden), n + "mlp.up_proj.weight": (a.ffn, a.hidden), n + "mlp.down_proj.weight": (a.hidden, a.ffn)})
    header, at = {}, 0
    for name, shape in sorted(shapes.items()):
        size = 2 * int(np.prod(shape))
        header[name] = dict(dtype="F16", shape=list(shape), data_offsets=[at, at + size])
        at += size
    os.makedirs(a.dir, exist_ok=True)
    config = dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=a.hidden, intermediate_size=a.ffn, num_hidden_layers=a.layers, num_attention_heads=a.heads,
                  num_key_value_heads=a.kv_heads, head_dim=h, vocab_size=a.vocab, rms_norm_eps=1e-5, rope_theta=10000.0, max_position_embeddings=2048, tie_word_embeddings=False,
                  hidden_act="silu", bos_token_id=0, eos_token_id=0, torch_dtype="float16")
    with open(os.path.join(a.dir, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    g = np.random.default_rng(a.seed)
    with open(os.path.join(a.dir, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in sorted(shapes.items()):
            w = g.uniform(0.5, 1.5, shape) if "norm" in name else g.standard_normal(shape, dtype=np.float32) * 0.02
            f.write(w.astype(np.float16).tobytes())


if __name__ == "__main__":
    main()
