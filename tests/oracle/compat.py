# SPDX-License-Identifier: Apache-2.0
"""Weights, activations, K, V and GPTQ of rs-pack --compat against the peers' quantisers, written in PyTorch from their description (numerics.md 2, 4): codes, scales and values bit for bit.

  compat.py TMP PEER    PEER: the program built from compat_peer.c
"""
import json
import os
import struct
import subprocess
import sys

import numpy as np
import torch

tmp, peer_program = sys.argv[1:]
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rsq  # noqa: E402

torch.set_num_threads(1)
torch.set_grad_enabled(False)
D, F, HEADS, KV, H, V = 256, 384, 8, 4, 32, 64
TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
MATRICES = {"self_attn.q_proj": (HEADS * H, D), "self_attn.k_proj": (KV * H, D), "self_attn.v_proj": (KV * H, D), "self_attn.o_proj": (D, HEADS * H), "mlp.gate_proj": (F, D), "mlp.up_proj": (F, D),
            "mlp.down_proj": (D, F)}
passed = failed = 0


def check(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("FAIL compat:", what)


# ---- a model of one layer

def model(kind, name=None, rows_of=None):
    """Writes NAME.rsq; the weights by the names of their matrices, in the type. rows_of(columns, name): one row, of which every matrix then consists."""
    g, dtype = torch.Generator().manual_seed(3), TYPES[kind]
    shapes = {f"model.layers.0.{n}.weight": s for n, s in MATRICES.items()}
    shapes.update({"model.embed_tokens.weight": (V, D), "lm_head.weight": (V, D), "model.norm.weight": (D,), "model.layers.0.input_layernorm.weight": (D,),
                   "model.layers.0.post_attention_layernorm.weight": (D,)})
    tensors, header, at = {}, {}, 0
    for n, shape in sorted(shapes.items()):
        w = torch.randn(shape, generator=g) * 0.05
        if "_proj" in n:
            w = w * (1 + 4 * (torch.rand(shape, generator=g) < 0.01))
            w[5], w[9] = 0, w[9] * 1e-5
            w[7, :128] = 0
            w = rows_of(shape[1], n).expand(shape) if rows_of else w
        tensors[n] = (w.abs() + 0.5 if "norm" in n else w).to(dtype)
        size = tensors[n].numel() * tensors[n].element_size()
        header[n] = dict(dtype=kind, shape=list(shape), data_offsets=[at, at + size])
        at += size
    folder = os.path.join(tmp, name or kind)
    os.makedirs(folder)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=D, intermediate_size=F, num_hidden_layers=1, num_attention_heads=HEADS, num_key_value_heads=KV, head_dim=H,
                       vocab_size=V, rms_norm_eps=1e-5, rope_theta=10000.0, max_position_embeddings=256, tie_word_embeddings=False, hidden_act="silu"), f)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for n in sorted(shapes):
            f.write(tensors[n].contiguous().view(torch.uint8).numpy().tobytes())
    subprocess.run(["rs-import", "--no-tokenizer", folder, "-o", folder + ".rsq"], check=True)
    return {n: tensors[f"model.layers.0.{n}.weight"] for n in MATRICES}


def pack(kind, options):
    path = os.path.join(tmp, "packed.rsq")
    subprocess.run(["rs-pack", "--rest", "keep", *options.split(), os.path.join(tmp, kind + ".rsq"), "-o", path], check=True)
    return path


def unpack(file, name):
    """Codes [rows, cols] and scales [rows, groups] of a packed matrix."""
    m, p = file.metas[name], file.payloads[name]
    part = {x["k"]: p[x["off"]:x["off"] + x["len"]] for x in m["parts"]}
    bits, (rows, cols) = int(m["enc"][3:]), m["shape"]
    b = np.unpackbits(part["codes"].reshape(rows, -1), axis=1, bitorder="little")[:, :cols * bits].reshape(rows, cols, bits)
    codes = (b.astype(np.int64) << np.arange(bits)).sum(2)
    codes -= (codes >> (bits - 1)) << bits
    return torch.from_numpy(codes), torch.from_numpy(part["scales"].view(np.float32).reshape(rows, -1).copy())


# ---- weights, as the peers round them: w [spans, columns] -> codes, scales [spans]

def error(w, codes, scale):
    return (codes.double() * scale.double()[:, None] - w.double()).abs().pow(2.4).sum(1)


def by_spin(w, bits, steps):
    """SpinQuant and QuaRot, in the type of w."""
    top = 2 ** (bits - 1) - 1
    m = w.abs().amax(1).clamp(min=1e-5)
    best = torch.full((w.shape[0],), float("inf"), dtype=torch.float64)
    codes, scale = torch.zeros_like(w), torch.zeros_like(m)
    for i in range(steps):
        s = ((1 - i / 100) * m) / top
        c = torch.clamp(torch.round(w / s[:, None]), -top - 1, top)
        e = error(w, c, s)
        better = e < best
        best, scale, codes = torch.where(better, e, best), torch.where(better, s, scale), torch.where(better[:, None], c, codes)
    return codes, scale


def by_compressed(w, bits, steps):
    """compressed-tensors (minmax, and the mse observer of llm-compressor with its patience), in the type of w."""
    lo, hi = -2 ** (bits - 1), 2 ** (bits - 1) - 1
    most, least = torch.clamp(w.amax(1), min=0), torch.clamp(w.amin(1), max=0)
    best = torch.full((w.shape[0],), float("inf"), dtype=torch.float64)
    codes, scale = torch.zeros_like(w), torch.zeros_like(most)
    idle = 0
    for i in range(steps):
        p = 1 - i / 100
        s = torch.maximum((p * least).abs(), (p * most).abs()) / (float(hi - lo) / 2)
        s = torch.where(s == 0, torch.tensor(torch.finfo(w.dtype).eps, dtype=w.dtype), s)
        c = torch.round(torch.clamp(w / s[:, None], lo, hi))
        e = error(w, c, s)
        better = e < best
        best, scale, codes = torch.where(better, e, best), torch.where(better, s, scale), torch.where(better[:, None], c, codes)
        idle = 0 if better.any() else idle + 1
        if idle == 5:
            break
    return codes, scale


def impatient(columns, name):
    """A row in which the first candidate is better than the next five, or four, but not than those behind them: patience decides."""
    w = torch.full((1, columns), (6.3 if "mlp" in name else 6.35) / 7.5)
    w[0, ::2] *= -1
    w[0, 3] = 1
    return w


def weights(kind, given, options, group, peer, bits, steps, own):
    """own: the peer computes in the type of the model, otherwise in f32."""
    file = rsq.File(pack(kind, options))
    exact = steps == 1
    for n, w in given.items():
        codes, scales = unpack(file, f"model.layers.0.{n}.weight")
        spans = (w if own else w.float()).reshape(-1, group or w.shape[1])
        want, s = peer(spans, bits, steps)
        codes, scales = codes.reshape(spans.shape), scales.reshape(-1)
        same = scales == s.float()
        wrong = ((codes != want.long()) & same[:, None]).sum().item()
        check(wrong == 0, f"{kind} {options}: {n}: {wrong} codes differ where the scales agree")
        if exact:
            check(same.all(), f"{kind} {options}: {n}: {(~same).sum().item()} of {len(s)} scales differ")
            continue
        # the sum of errors is rounded in another way there: a near-tie may go to another candidate, which must be as good
        reached, best = error(spans, codes, scales), error(spans, want, s)
        worst = ((reached - best).abs() / best.clamp(min=1e-300))[~same].max().item() if not same.all() else 0
        check((~same).float().mean() < 0.02 and worst < 1e-4, f"{kind} {options}: {n}: {(~same).sum().item()} of {len(s)} scales differ, errors by {worst:.3g}")


# ---- activations, K and V

def asym(x, bits, clip, free):
    """Per row; free: the range of the values alone."""
    lo, hi = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    if not free:
        lo, hi = torch.clamp(lo, max=0), torch.clamp(hi, min=0)
    lo, hi = lo * clip, hi * clip
    empty = (lo == 0) & (hi == 0)
    lo, hi = torch.where(empty, -torch.ones_like(lo), lo), torch.where(empty, torch.ones_like(hi), hi)
    a = 2**bits - 1
    s = (hi - lo) / a
    z = torch.round(-lo / s)
    return s * (torch.clamp(torch.round(x / s) + z, 0, a) - z)


def sym(x, bits, clip, end):
    top = 2 ** (bits - 1) - 1
    s = x.abs().amax(-1, keepdim=True) * clip / end
    s = torch.where(s == 0, torch.tensor(torch.finfo(x.dtype).eps), s)
    return s * torch.clamp(torch.round(x / s), -top - 1, top)


def samples(rows, cols):
    """Rows of many kinds: mixed, outliers, all positive, all negative, far from 0, halves of steps, zeros."""
    g = torch.Generator().manual_seed(rows * 1000 + cols)
    x = torch.randn(rows, cols, generator=g)
    x[:, ::29] *= 30
    x[1::8] = x[1::8].abs() + 0.25
    x[2::8] = -x[2::8].abs() - 0.25
    x[3::8] = 50 + x[3::8] / 8
    x[4::8] = torch.randint(-15, 16, x[4::8].shape, generator=g) / 2
    x[5::8] = 0
    return x


def rows(path, role, x):
    done = subprocess.run([peer_program, "rows", path, role, str(x.shape[0]), str(x.shape[1])], input=x.numpy().tobytes(), capture_output=True, check=True)
    out = torch.from_numpy(np.frombuffer(done.stdout, np.float32).copy())
    return [out[i:i + x.numel()].reshape(x.shape) for i in range(0, out.numel(), x.numel())]


def activations(options, want):
    """want: of each input, group (0: per token), and the quantiser."""
    path = pack("F32", "--w-bits 16 " + options)
    widths = dict(q=D, k=D, v=D, o=HEADS * H, gate=D, up=D, down=F, K=KV * H, V=KV * H)
    for role, (group, quantiser) in want.items():
        x = samples(40, widths[role])
        expected = quantiser(x.reshape(-1, group or x.shape[1])).reshape(x.shape)
        got = rows(path, role, x)
        check(len(got) == (1 if group and role not in "KV" else 2), f"{options}: {role}: {len(got)} results")
        for way, y in zip(("in f32", "from codes"), got):
            check(torch.equal(y, expected), f"{options}: {role} {way}: {(y != expected).sum().item()} of {y.numel()} values differ")


# ---- GPTQ

def gptq(w, h, peer, bits, group, act_order, block):
    top = 2 ** (bits - 1) - 1
    n = w.shape[1]
    scale_of = (lambda x: by_compressed(x, bits, 1)[1]) if peer == "compressed-tensors" else (lambda x: by_spin(x, bits, 80)[1])
    size = group or n
    early = peer == "compressed-tensors" or not group
    scales = torch.stack([scale_of(w[:, g:g + size]) for g in range(0, n, size)], 1) if early else torch.zeros(w.shape[0], n // size)
    w, h = w.clone(), h.double()
    dead = h.diagonal() == 0
    h.diagonal()[dead] = 1
    w[:, dead] = 0
    order = torch.argsort(h.diagonal(), descending=True, stable=True) if act_order else torch.arange(n)
    w, h = w[:, order], h[order][:, order]
    h = h + 0.01 * h.diagonal().mean() * torch.eye(n, dtype=torch.float64)
    u = torch.linalg.cholesky(torch.linalg.inv(h), upper=True).float()
    out = torch.empty_like(w)
    for a in range(0, n, block):
        b = min(a + block, n)
        now, errors = w[:, a:b].clone(), torch.zeros(w.shape[0], b - a)
        for i in range(a, b):
            g = order[i].item() // size
            if not early and i % size == 0:
                scales[:, g] = scale_of(w[:, i:i + size])  # as they were when the block began
            s = scales[:, g]
            q = torch.clamp(torch.round(now[:, i - a] / s), -top - 1, top) * s
            e = (now[:, i - a] - q) / u[i, i]
            now[:, i - a + 1:] -= e[:, None] * u[i, i + 1:b]
            out[:, i], errors[:, i - a] = q, e
        w[:, b:] -= errors @ u[a:b, b:]
    return out[:, torch.argsort(order)]


def by_gptq():
    g = torch.Generator().manual_seed(8)
    n = 192
    x = torch.randn(1200, n, generator=g) @ (torch.eye(n) + 0.4 * torch.randn(n, n, generator=g) / n**0.5)
    x[:, 11] = x[:, 70] = 0
    h, w = x.T @ x, 0.05 * torch.randn(40, n, generator=g)
    w[:, 11] *= 5  # no input reaches it, but it is the largest of many rows
    for peer, bits, group, act_order, block in (("spinquant", 4, 0, 0, 128), ("spinquant", 4, 32, 0, 64), ("quarot", 3, 0, 1, 128), ("quarot", 4, 48, 0, 96), ("compressed-tensors", 4, 0, 1, 128),
                                                ("compressed-tensors", 4, 64, 1, 128), ("compressed-tensors", 4, 64, 0, 48)):
        what = f"GPTQ by {peer}, {bits} bits, group {group}, act-order {act_order}, block {block}"
        done = subprocess.run([peer_program, "gptq", peer, *map(str, (bits, group, act_order, block, *w.shape))], input=w.numpy().tobytes() + h.numpy().tobytes(), capture_output=True, check=True)
        got, want = torch.from_numpy(np.frombuffer(done.stdout, np.float32).copy()).reshape(w.shape), gptq(w, h, peer, bits, group, act_order, block)
        other = ((got - want).abs() > 1e-5 * want.abs()).float().mean().item()
        check(other <= 0.02, f"{what}: {100 * other:.2f} % of the weights differ")


def main():
    given = {kind: model(kind) for kind in TYPES}
    for bits in (3, 4, 8):
        for kind in TYPES:
            w = given[kind]
            for peer in ("spinquant", "quarot"):
                weights(kind, w, f"--compat {peer} --w-bits {bits}", 0, by_spin, bits, 80, False)
                weights(kind, w, f"--compat {peer} --w-bits {bits} --clip none", 0, by_spin, bits, 1, False)
                weights(kind, w, f"--compat {peer} --w-bits {bits} --clip none --group 64", 64, by_spin, bits, 1, peer == "spinquant")
            weights(kind, w, f"--compat compressed-tensors --w-bits {bits}", 128 if bits < 8 else 0, by_compressed, bits, 1, True)
            weights(kind, w, f"--compat compressed-tensors --w-bits {bits} --group 0", 0, by_compressed, bits, 1, True)
        weights("F32", given["F32"], f"--compat spinquant --w-bits {bits} --group 64", 64, by_spin, bits, 80, True)
        weights("F32", given["F32"], f"--clip mse --compat compressed-tensors --w-bits {bits} --group 32", 32, by_compressed, bits, 20, True)
    weights("alike", model("F32", "alike", impatient), "--clip mse --compat compressed-tensors --group 0", 0, by_compressed, 4, 20, True)
    inputs = ("q", "k", "v", "o", "gate", "up", "down")
    for bits in (3, 4, 8):
        token, free = lambda x, clip=1.0: asym(x, bits, clip, False), lambda x, clip=1.0: asym(x, bits, clip, True)
        want = {i: (0, token) for i in inputs}
        want.update(o=(H, free), K=(H, token), V=(H, free))
        activations(f"--compat spinquant --a-bits {bits} --kv-bits {bits}", want)
        activations(f"--compat spinquant --a-bits {bits} --a-group 64", {i: (H if i == "o" else 64, free) for i in inputs})
        clipped, kv = lambda x: token(x, 0.9), lambda x: token(x, 0.95)
        want = {i: (0, clipped) for i in inputs}
        want.update(K=(H, kv), V=(H, lambda x: free(x, 0.95)))
        activations(f"--compat quarot --a-bits {bits} --kv-bits {bits}", want)
        activations(f"--compat quarot --a-bits {bits} --a-clip 1 --a-group 32", {i: (32, free) for i in inputs})
        activations(f"--compat spinquant --a-bits {bits} --a-sym --a-clip 0.8", {i: (H if i == "o" else 0, lambda x: sym(x, bits, 0.8, 2 ** (bits - 1) - 1)) for i in inputs})
        activations(f"--compat compressed-tensors --a-bits {bits}", {i: (0, lambda x: sym(x, bits, 1.0, (2**bits - 1) / 2)) for i in inputs})
    by_gptq()
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)


main()
