# SPDX-License-Identifier: Apache-2.0
"""Fused weights, low-rank junctions and the exact chain of the C tools against respin_ref.py's fuse, low_rank, exact_chain and paper_residual in fp64."""
import os
import subprocess
import sys

import numpy as np
import torch

here, tmp = os.path.dirname(os.path.abspath(__file__)), sys.argv[1]
sys.dont_write_bytecode = True
sys.path[:0] = [here, sys.argv[2]]
import respin_ref as ref  # noqa: E402
import rsq  # noqa: E402

torch.set_grad_enabled(False)
passed = failed = 0
L, D, F, NQ, NKV, V = 3, 96, 240, 8, 4, 300


def check(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("FAIL transforms:", what)


def run(*args):
    subprocess.run([str(a) for a in args], check=True, cwd=tmp)


def python(script, *args):
    run(sys.executable, os.path.join(here, script), *args)


def f64(file, name):
    return torch.from_numpy(file.raw(name).astype(np.float64))


def model(file):
    """The model as respin_ref.py wants it: norms folded in."""
    m = ref.Model()
    m.L, m.d, m.f, m.nq, m.nkv, m.h = L, D, F, NQ, NKV, D // NQ
    m.embed, m.head = f64(file, "model.embed_tokens.weight"), f64(file, "lm_head.weight") * f64(file, "model.norm.weight")
    m.layers = []
    for i in range(L):
        w = lambda n: f64(file, f"model.layers.{i}.{n}.weight")
        a, f = w("input_layernorm"), w("post_attention_layernorm")
        m.layers.append(dict(q=w("self_attn.q_proj") * a, k=w("self_attn.k_proj") * a, v=w("self_attn.v_proj") * a, o=w("self_attn.o_proj"),
                             gate=w("mlp.gate_proj") * f, up=w("mlp.up_proj") * f, down=w("mlp.down_proj")))
    return m


def compare(what, path, want, tolerance):
    """Every weight of the file at path against the fused model want."""
    file = rsq.File(path)
    names = dict(q="self_attn.q_proj", k="self_attn.k_proj", v="self_attn.v_proj", o="self_attn.o_proj", gate="mlp.gate_proj", up="mlp.up_proj", down="mlp.down_proj")
    pairs = [("model.embed_tokens.weight", want["embed"]), ("lm_head.weight", want["head"])]
    pairs += [(f"model.layers.{i}.{n}.weight", want["layers"][i][k]) for i in range(L) for k, n in names.items()]
    worst, where = max(((f64(file, n) - w).abs().max().item() / w.abs().max().item(), n) for n, w in pairs)
    check(worst <= tolerance, f"{what}: {where} differs by {worst:.3g}")
    return file


def junction(file, j):
    """T of resid.j, the identity where there is none."""
    name = f"resid.{j}"
    if name not in file.metas:
        return torch.eye(D, dtype=torch.float64)
    m, p = file.metas[name], file.payloads[name]
    if m["enc"] == "raw":
        return f64(file, name)
    part = {x["k"]: torch.from_numpy(p[x["off"]:x["off"] + x["len"]].view(np.float32).reshape(x["shape"]).astype(np.float64)) for x in m["parts"]}
    return torch.eye(D, dtype=torch.float64) + part["q"] @ part["m"] @ part["q"].T


def junctions(what, file, want, tolerance=2e-6):
    worst = max((junction(file, j) - t.double()).abs().max().item() for j, t in enumerate(want))
    check(worst <= tolerance, f"{what}: a junction differs by {worst:.3g}")


plain_low_rank = ref.low_rank
ref.low_rank = lambda t, r: plain_low_rank(t, r).double()  # it returns f32, which its exact_chain multiplies by fp64 bases here


def main():
    python("synthetic.py", os.path.join(tmp, "model"), "--layers", L, "--hidden", D, "--ffn", F, "--heads", NQ, "--kv-heads", NKV, "--vocab", V)
    run("rs-import", "-q", "--no-tokenizer", "-o", "m.rsq", "model")
    imported = os.path.join(tmp, "m.rsq")
    m = model(rsq.File(imported))
    g = torch.Generator().manual_seed(1)
    skew = lambda n, s: (lambda a: a - a.T)(torch.randn(n, n, generator=g, dtype=torch.float64) * s)
    bases = [torch.matrix_exp(skew(D, 1.0))]
    for _ in range(2 * L):
        bases.append(bases[-1] @ torch.matrix_exp(skew(D, 0.02)))
    heads = [torch.matrix_exp(skew(D // NQ, 1.0)) for _ in range(L)]
    bases, heads = [b.float().double() for b in bases], [p.float().double() for p in heads]  # what a file can hold
    torch.save(dict(bases=bases, heads=heads), os.path.join(tmp, "R.pt"))
    torch.save(dict(bases=bases[:1] * (2 * L + 1), heads=heads), os.path.join(tmp, "G.pt"))
    python("rot_from_torch.py", os.path.join(tmp, "R.pt"), os.path.join(tmp, "rot.rsq"), "--model", imported)
    python("rot_from_torch.py", os.path.join(tmp, "G.pt"), os.path.join(tmp, "global.rsq"), "--model", imported)

    dense = [a.T @ b for a, b in zip(bases, bases[1:])]
    for precise, tolerance in (("--precise", 1e-7), ("-q", 2e-6)):
        run("rs-fuse", "-q", precise, "--no-online", "-R", "rot.rsq", "-o", "f.rsq", "m.rsq")
        junctions("dense " + precise, compare("dense " + precise, os.path.join(tmp, "f.rsq"), ref.fuse(m, bases, heads, None), tolerance), dense)
    run("rs-fuse", "-q", "--precise", "--no-online", "-R", "global.rsq", "-o", "g.rsq", "m.rsq")
    compare("global", os.path.join(tmp, "g.rsq"), ref.fuse(m, bases[:1] * (2 * L + 1), heads, None), 1e-7)
    for r in (0, 2, 8, 32, D):
        run("rs-residual", "-q", "--paper", "--rank", r, "-R", "rot.rsq", "-o", "p.rsq", "f.rsq")
        junctions(f"paper {r}", compare(f"paper {r}", os.path.join(tmp, "p.rsq"), ref.fuse(m, bases, heads, None), 2e-6), ref.paper_residual(bases, r)[1])
        run("rs-residual", "-q", "--rank", r, "-R", "rot.rsq", "-o", "x.rsq", "f.rsq")
        chain, t = ref.exact_chain(bases, r)
        chain[-1], t[-1] = chain[-2], torch.eye(D)  # the head takes the basis that is there
        junctions(f"exact {r}", compare(f"exact {r}", os.path.join(tmp, "x.rsq"), ref.fuse(m, [b.double() for b in chain], heads, None), 5e-6), t, 5e-6)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)


main()
