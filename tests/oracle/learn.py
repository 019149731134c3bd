# SPDX-License-Identifier: Apache-2.0
"""Loss and derivatives of rs-learn against PyTorch autograd on Hugging Face directories, the same as the fused network. Arguments: program of learn_slopes.c, model.rsq, directory, and
the same two of a smaller model, on which weights are rounded: a weight that falls differently in f32 and f64 spoils the derivatives of its layer, whatever the text."""
import json
import math
import subprocess
import sys
import tempfile

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file


program = sys.argv[1]
passed = failed = 0
online = []  # r3, r4


def check(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL oracle/learn: {what}")


class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, bits):
        hi, lo, top = x.amax(-1, keepdim=True).clamp_min(0), x.amin(-1, keepdim=True).clamp_max(0), 2**bits - 1
        s = (hi - lo) / top
        s = torch.where(s > 0, s, torch.ones_like(s))
        return (torch.clamp(torch.round(x / s) + torch.round(-lo / s), 0, top) - torch.round(-lo / s)) * s

    @staticmethod
    def backward(ctx, g):
        return g, None


class RoundSymmetric(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w, bits):
        top = 2 ** (bits - 1) - 1
        s = w.abs().amax(-1, keepdim=True) / top
        return torch.clamp(torch.round(w / s), -top - 1, top) * s

    @staticmethod
    def backward(ctx, g):
        return g, None


def quantise(x, bits):
    return x if bits >= 16 else Round.apply(x, bits)


def use(model, folder):
    global rsq, L, d, f, nq, nkv, V, h, eps, theta, weights
    rsq, config = model, json.load(open(f"{folder}/config.json"))
    L, d, f, nq, nkv, V = (config[k] for k in ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "vocab_size"))
    h, eps, theta = config.get("head_dim") or d // nq, config["rms_norm_eps"], config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    weights = {k: v.double() for k, v in load_file(f"{folder}/model.safetensors").items()}


def rope(x, dtype):
    a = torch.outer(torch.arange(x.shape[1]).double(), theta ** (-torch.arange(0, h, 2).double() / h))
    c, s = a.cos().to(dtype), a.sin().to(dtype)
    lo, hi = x[..., : h // 2], x[..., h // 2 :]
    return torch.cat([lo * c - hi * s, hi * c + lo * s], -1)


def logits(ids, bases, heads, a, kv, wb, dtype, fused):
    """Q(x R) R^T in the original basis, or the fused network: weights multiplied by the rotations and rounded to wb bits, dense junctions."""
    rounded = lambda w: w if wb >= 16 else RoundSymmetric.apply(w, wb)
    S = len(ids)
    W = {k: v.to(dtype) for k, v in weights.items()}
    r3, r4 = (m.to(dtype) for m in online)
    norm = lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    split = lambda y, n: y.view(S, n, h).transpose(0, 1)
    x = W["model.embed_tokens.weight"][ids]
    if fused:
        x = x @ bases[0]
    for i in range(L):
        w = lambda n: W[f"model.layers.{i}.{n}.weight"]
        A, B, P = bases[2 * i], bases[2 * i + 1], heads[i]
        nxt = bases[2 * i + 2] if i + 1 < L else B
        if fused:
            y = quantise(norm(x), a)
            into = lambda n: (w(n) * w("input_layernorm")) @ A
            lin = lambda n: y @ rounded(into(n)).T
        else:
            y = quantise(norm(x) @ A, a) @ A.T * w("input_layernorm")
            lin = lambda n: y @ w(n).T
        q, k = rope(split(lin("self_attn.q_proj"), nq), dtype) @ r3, rope(split(lin("self_attn.k_proj"), nkv), dtype) @ r3
        v = split(y @ rounded((P.T @ into("self_attn.v_proj").view(nkv, h, d)).reshape(nkv * h, d)).T, nkv) if fused else split(lin("self_attn.v_proj"), nkv) @ P
        k, v = (quantise(t, kv).repeat_interleave(nq // nkv, 0) for t in (k, v))
        att = torch.softmax((q @ k.transpose(1, 2) / math.sqrt(h)).masked_fill(torch.ones(S, S).triu(1).bool(), -math.inf), -1) @ v
        att = quantise(att.transpose(0, 1).reshape(S, nq * h), a)
        o = w("self_attn.o_proj")
        if fused:
            x = x @ (A.T @ B) + att @ rounded(B.T @ (o.view(-1, nq, h) @ P).reshape(o.shape)).T
            y = quantise(norm(x), a)
            gate, up = ((y @ rounded(w(n) * w("post_attention_layernorm") @ B).T) for n in ("mlp.gate_proj", "mlp.up_proj"))
            x = x @ (B.T @ nxt) + quantise(F.silu(gate) * up @ r4, a) @ rounded(nxt.T @ (w("mlp.down_proj") @ r4)).T
        else:
            x = x + (att.view(S, nq, h) @ P.T).reshape(S, -1) @ o.T
            y = quantise(norm(x) @ B, a) @ B.T * w("post_attention_layernorm")
            x = x + quantise(F.silu(y @ w("mlp.gate_proj").T) * (y @ w("mlp.up_proj").T) @ r4, a) @ r4.T @ w("mlp.down_proj").T
    head = W.get("lm_head.weight", W["model.embed_tokens.weight"]) * W["model.norm.weight"]
    if fused:
        head = head @ bases[-1]
    return norm(x) @ head.T


def losses(out, ref, ids):
    nll = F.cross_entropy(out[:-1], ids[1:])
    p = torch.log_softmax(ref[:-1].to(out.dtype), -1)
    return nll, (p.exp() * (p - torch.log_softmax(out[:-1], -1))).sum(-1).mean()


def skew(r, g):
    x = r.T @ g
    return (x - x.T) / 2


def cayley(u, v):
    a = u @ v.T - v @ u.T
    eye = torch.eye(d, dtype=u.dtype)
    return torch.linalg.solve(eye - a / 2, eye + a / 2)


def distance(program_out, S, a, kv, wb, ce, kl, rank, ids, dtype, fused):
    """Relative differences of loss, divergence and the derivative that differs most, as PyTorch sees them."""
    nll, div = np.frombuffer(program_out, np.float64, 2)
    doubles = torch.from_numpy(np.frombuffer(program_out, np.float64, 2 + h * h + f * f)[2:].copy())
    online[:] = doubles[: h * h].view(h, h), doubles[h * h :].view(f, f)
    rest, parts, k = torch.from_numpy(np.frombuffer(program_out, np.float32, offset=8 * (2 + h * h + f * f)).copy()), [], rank // 2
    for s in ((2 * L, d, d), (L, h, h), (2 * L, d, d), (L, h, h)) + ((2 * L - 1, d, k),) * 4:
        parts.append(rest[: math.prod(s)].view(s))
        rest = rest[math.prod(s) :]
    R, P, E, EP, U, Vv, dU, dV = parts
    free = lambda list_: [x.to(dtype).requires_grad_(True) for x in list_]
    heads, us, vs, bases = free(P), free(U) if rank else [], free(Vv) if rank else [], free(R[:1] if rank else R)
    params = bases + heads + us + vs
    for u, v in zip(us, vs):
        bases = bases + [bases[-1] @ cayley(u, v)]
    with torch.no_grad():
        ref = logits(ids, [torch.eye(d, dtype=dtype)] * (2 * L), [torch.eye(h, dtype=dtype)] * L, 16, 16, 16, dtype, False)
    n, g = losses(logits(ids, bases, heads, a, kv, wb, dtype, fused), ref, ids)
    grads = torch.autograd.grad(ce * n + kl * g, params)
    first, j = len(params) - L - 2 * len(us), 2 * L - 1
    pairs = [(f"basis {i}", E[i], skew(params[i].detach(), grads[i])) for i in range(first)]
    pairs += [(f"head {i}", EP[i] / 2 - EP[i].T / 2, skew(P[i].to(dtype), grads[first + i])) for i in range(L)]
    pairs += [(f"u {i}", dU[i], grads[first + L + i]) for i in range(len(us))] + [(f"v {i}", dV[i], grads[first + L + j + i]) for i in range(len(vs))]
    largest = max(w.norm().item() for _, _, w in pairs)
    worst = max(((e.double() - w.double()).norm().item() / max(w.norm().item(), 1e-2 * largest), name) for name, e, w in pairs)
    return abs(n.item() / nll - 1), abs(g.item() - div) / max(g.item(), 1e-2) if kl else 0.0, *worst


def case(S, a, kv, ce, kl, rank, wb=16, tries=4):
    """A value that rounding puts on the other side of a boundary between two codes changes every code behind it, and a derivative is made of rounding errors: so some tries may differ as a whole."""
    # Where activations are not quantised the derivatives by the bases are zero, and what PyTorch has in f32 is the rounding of large terms that cancel.
    for dtype, fused in ((torch.float32 if a < 16 else torch.float64, False), (torch.float64, True))[wb < 16 :]:
        good, seen = 0, []
        for t in range(tries):
            ids = torch.randint(0, V, (S,), generator=torch.Generator().manual_seed(t))
            with tempfile.NamedTemporaryFile() as file:
                file.write(ids.int().numpy().tobytes())
                file.flush()
                out = subprocess.run([program, rsq, file.name, *map(str, (S, a, kv, wb, ce, kl, rank))], capture_output=True, check=True).stdout
            off = distance(out, S, a, kv, wb, ce, kl, rank, ids, dtype, fused)
            good += off[0] < 2e-6 and off[1] < 1e-4 and off[2] < 1e-4
            seen.append(f"{off[0]:.1e} {off[1]:.1e} {off[2]:.1e} ({off[3]})")
        what = f"S {S}, W{wb} A{a} KV{kv}, {ce} ce + {kl} kl, rank {rank}, {dtype}, {'fused' if fused else 'original basis'}"
        check(good >= 2 * tries // 3, f"{what}: only {good} of {tries} agree: {'; '.join(seen)}")
        if "-v" in sys.argv:
            print(what, good, "; ".join(seen))


use(*sys.argv[2:4])
case(5, 4, 4, 1, 0, 0)
case(5, 3, 3, 1, 0, 8)
case(5, 4, 4, 0, 1, 0)
case(5, 4, 16, 1, 1, 0)
case(5, 16, 4, 1, 0, 0)
use(*sys.argv[4:6])
case(5, 16, 16, 1, 0, 0, wb=4)
case(5, 4, 4, 1, 0.5, 8, wb=4)
case(5, 4, 4, 1, 0, 0, wb=3)
print(f"{passed} passed, {failed} failed, 0 skipped")
sys.exit(failed != 0)
