#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the sample model: its tokenizer, a Llama of 1.6 million parameters, and the outliers of a large model on top.

    train.py -o model [--work DIR] [--steps N]      (needs torch, transformers, tokenizers, safetensors; about 12 minutes on two idle cores)

DIR keeps the trained weights before the outliers are made, so that a second run with the same --work starts from there.
Row vectors: x' = x R. Letters: L layers, d hidden size, f FFN size, h head size, V vocabulary.
"""
import argparse
import json
import math
import os
import time

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

import make_text

SEED, SEQ, BATCH = 5, 256, 16
END = "<|endoftext|>"
READS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
NORMS = ("input_layernorm", "post_attention_layernorm")
CONFIG = dict(vocab_size=1024, hidden_size=192, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=2, head_dim=32, intermediate_size=448,
              rms_norm_eps=1e-5, max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, initializer_range=0.05)


# ---------------------------------------------------------------- tokenizer
def make_tokenizer(pieces):
    """Byte-level BPE as in GPT-2, every digit a token of its own."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(pieces, trainers.BpeTrainer(vocab_size=CONFIG["vocab_size"], special_tokens=[END], show_progress=False,
                                                      initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())))
    return t


def joined(pieces):
    """Eight pieces in a row: where a text is cut, its last line end would be another token than in the middle of a file."""
    return ["".join(pieces[i:i + 8]) for i in range(0, len(pieces), 8)]


def token_stream(tokenizer, pieces):
    """All pieces one after another, as in a text file; before one in eight stands the end-of-text token, so that it has a meaning too."""
    ids = []
    for e in tokenizer.encode_batch(joined(pieces)):
        ids += [0] + e.ids
    return torch.tensor(ids)


# ---------------------------------------------------------------- training
def train(ids, steps, share, weight):
    """Norm scales stay 1 (the last one: one number for all channels), so that the model may be rotated without untying its head.

    Large models grow a few directions which hold most of the stream's energy, the same for every token; a small one must be asked to.
    So one random direction u starts as a large common part of all embedding rows (a constant added to all logits, hence free), and
    the loss asks that u keep at least `share` of the energy wherever a layer reads the stream.
    """
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(LlamaConfig(**CONFIG))
    d, kept = CONFIG["hidden_size"], []
    u = torch.randn(d)
    u /= u.norm()

    def on_norm(_module, _inputs, y):
        kept.append((share - (y @ u).pow(2) / d).clamp_min(0).pow(2).mean())

    with torch.no_grad():
        model.model.embed_tokens.weight += 3 * u
        for n, p in model.named_parameters():
            if n.endswith(("o_proj.weight", "down_proj.weight")):
                p /= math.sqrt(2 * CONFIG["num_hidden_layers"])
            if n.split(".")[-2] in NORMS:
                p.requires_grad_(False)
    for layer in model.model.layers:
        for n in NORMS:
            getattr(layer, n).register_forward_hook(on_norm)
    params = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in params if p.dim() == 2 and p.shape[0] != CONFIG["vocab_size"]]
    rest = [p for p in params if all(p is not m for m in matrices)]
    opt = torch.optim.AdamW([dict(params=matrices, weight_decay=0.1), dict(params=rest, weight_decay=0.0)], lr=1.0, betas=(0.9, 0.98))
    g = torch.Generator().manual_seed(SEED)
    start, mean = time.time(), None
    for step in range(steps):
        at = torch.randint(0, len(ids) - SEQ - 1, (BATCH,), generator=g)
        batch = torch.stack([ids[i:i + SEQ] for i in at.tolist()])
        for group in opt.param_groups:
            group["lr"] = 4e-3 * min(1, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        loss = model(input_ids=batch, labels=batch).loss
        (loss + weight * sum(kept)).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        opt.zero_grad()
        with torch.no_grad():
            model.model.norm.weight.fill_(model.model.norm.weight.mean())
        asked = sum(kept).item()
        kept.clear()
        mean = loss.item() if mean is None else 0.95 * mean + 0.05 * loss.item()
        if step % 20 == 19:
            print(f"step {step + 1}/{steps}  loss {mean:.4f}  share {asked:.4f}  {time.time() - start:.0f} s", flush=True)
    return {k: v.detach().clone() for k, v in model.state_dict().items()}


# ---------------------------------------------------------------- outliers, none of which changes the function
def orthogonal(n, k, g):
    return torch.linalg.qr(torch.randn(n, k, generator=g, dtype=torch.float64))[0]


@torch.no_grad()
def collect(state, ids):
    """What the layers read on a little training text: covariance after the norms (d x d), and mean squares of K and of down's input per channel."""
    model = LlamaForCausalLM(LlamaConfig(**CONFIG)).eval()
    model.load_state_dict(state)
    cov, k_power, down_power, hooks = torch.zeros(CONFIG["hidden_size"], CONFIG["hidden_size"], dtype=torch.float64), [], [], []

    def on_norm(_module, _inputs, y):
        cov.add_(y[0].double().T @ y[0].double())

    def on_k(_module, _inputs, y):
        k_power.append(y[0].pow(2).mean(0))

    def on_down(_module, inputs, _output):
        down_power.append(inputs[0][0].pow(2).mean(0))

    for layer in model.model.layers:
        hooks += [getattr(layer, n).register_forward_hook(on_norm) for n in NORMS]
        hooks += [layer.self_attn.k_proj.register_forward_hook(on_k), layer.mlp.down_proj.register_forward_hook(on_down)]
    model(input_ids=ids[None, :1024])
    for h in hooks:
        h.remove()
    return cov, k_power, down_power


@torch.no_grad()
def add_outliers(state, ids, channels=(61, 106, 171), k_scale=4.0, v_scale=3.0, ffn_channels=4, ffn_scale=4.0):
    """One global rotation of the residual stream, then exact rescalings; all in fp64, rounded by the caller.

    rotation   the leading principal directions of the stream become single channels, the rest is mixed at random
    K          per KV head one RoPE pair (i, i + h/2): rows of k times s, the same rows of the q heads that read it divided by s
    V          per KV head one channel: row of v times s, columns of o divided by s
    FFN        a few channels: row of up times s, column of down divided by s
    norms      gamma drawn at random, columns of the weights that read it divided by it; the last norm keeps its one number
    """
    cov, k_power, down_power = collect(state, ids)
    w = {k: v.double() for k, v in state.items()}
    g = torch.Generator().manual_seed(SEED)
    d, h, kv = CONFIG["hidden_size"], CONFIG["head_dim"], CONFIG["num_key_value_heads"]
    group = CONFIG["num_attention_heads"] // kv
    lead = torch.linalg.eigh(cov)[1].flip(1)[:, :len(channels)]
    rest = orthogonal(d, d, g)
    rest = torch.linalg.qr(torch.cat([lead, rest], 1)[:, :d])[0][:, len(channels):]
    rest = rest @ orthogonal(d - len(channels), d - len(channels), g)
    r = torch.empty(d, d, dtype=torch.float64)
    others = [c for c in range(d) if c not in channels]
    r[:, list(channels)], r[:, others] = lead, rest
    assert (r.T @ r - torch.eye(d)).abs().max() < 1e-12

    w["model.embed_tokens.weight"] @= r
    w["lm_head.weight"] = w["model.embed_tokens.weight"]
    for i in range(CONFIG["num_hidden_layers"]):
        at = f"model.layers.{i}."
        for n in READS:
            w[at + n + ".weight"] @= r
        for n in ("self_attn.o_proj", "mlp.down_proj"):
            w[at + n + ".weight"] = r.T @ w[at + n + ".weight"]
        q, k, v, o = (w[f"{at}self_attn.{n}_proj.weight"] for n in "qkvo")
        up, down = w[at + "mlp.up_proj.weight"], w[at + "mlp.down_proj.weight"]
        for j in range(kv):
            power = k_power[i].view(kv, h)[j]
            pair = (power[:h // 2] + power[h // 2:]).argmax().item()
            loud = torch.randint(0, h, (1,), generator=g).item()
            for c in (pair, pair + h // 2):
                k[j * h + c] *= k_scale
            v[j * h + loud] *= v_scale
            for head in range(j * group, (j + 1) * group):
                for c in (pair, pair + h // 2):
                    q[head * h + c] /= k_scale
                o[:, head * h + loud] /= v_scale
        top = down_power[i].topk(ffn_channels).indices
        up[top] *= ffn_scale
        down[:, top] /= ffn_scale
        for n, readers in zip(NORMS, (READS[:3], READS[3:])):
            gamma = torch.exp(0.4 * torch.randn(d, generator=g, dtype=torch.float64)).clamp(0.4, 2.5)
            gamma = gamma.half().double()
            w[at + n + ".weight"] = gamma
            for m in readers:
                w[at + m + ".weight"] /= gamma
    return w


# ---------------------------------------------------------------- writing and checking
def save(out, w, tokenizer):
    os.makedirs(out, exist_ok=True)
    weights = os.path.join(out, "model.safetensors")
    save_file({k: v.half().contiguous() for k, v in sorted(w.items()) if k != "lm_head.weight"}, weights, metadata={"format": "pt"})
    os.chmod(weights, 0o644)
    tokenizer.save(os.path.join(out, "tokenizer.json"))
    config = dict(CONFIG, architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu", attention_bias=False, mlp_bias=False,
                  rope_theta=10000.0, rope_scaling=None, torch_dtype="float16")
    named = dict(config=config, generation_config=dict(bos_token_id=0, eos_token_id=0),
                 tokenizer_config=dict(tokenizer_class="PreTrainedTokenizerFast", bos_token=END, eos_token=END, unk_token=END, add_bos_token=False,
                                       add_prefix_space=False, clean_up_tokenization_spaces=False, model_max_length=CONFIG["max_position_embeddings"]))
    for name, content in named.items():
        with open(os.path.join(out, name + ".json"), "w") as f:
            f.write(json.dumps(content, indent=2, sort_keys=True) + "\n")


@torch.no_grad()
def logits(state, ids):
    model = LlamaForCausalLM(LlamaConfig(**CONFIG)).eval()
    model.load_state_dict({k: v.float() for k, v in state.items()})
    return model(input_ids=ids[None, :512]).logits[0]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("-o", dest="out", required=True)
    p.add_argument("--work")
    p.add_argument("--steps", type=int, default=1600)
    p.add_argument("--share", type=float, default=0.85, help="energy of the stream asked of its one large direction")
    p.add_argument("--weight", type=float, default=4.0, help="weight of that request in the loss")
    o = p.parse_args()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    pieces = make_text.text(1, 12_000_000)
    tokenizer = make_tokenizer(joined(pieces[:6000]))
    ids = token_stream(tokenizer, pieces)
    kept = o.work and os.path.join(o.work, "trained.pt")
    if kept and os.path.exists(kept):
        state = torch.load(kept)
    else:
        state = train(ids, o.steps, o.share, o.weight)
        if kept:
            os.makedirs(o.work, exist_ok=True)
            torch.save(state, kept)
    w = add_outliers(state, ids)
    before = logits(state, ids)
    for name, after in (("in fp32", logits(w, ids)), ("rounded to f16", logits({k: v.half() for k, v in w.items()}, ids))):
        # a constant added to all logits of a token changes nothing, so it is taken out of the measure
        x, y = before - before.mean(1, keepdim=True), after - after.mean(1, keepdim=True)
        print(f"outliers, {name}: relative change of the logits {((x - y).norm() / x.norm()).item():.2e}")
    save(o.out, w, tokenizer)


if __name__ == "__main__":
    main()
