# SPDX-License-Identifier: Apache-2.0
"""Every number of rs-stat on the sample model against numpy, from the definitions of formats/FORMAT.md: weights as the file holds them, activations as stat_taps dumps them; and, to the rounding of
another forward pass, activations against those of transformers. Then what rs-top exports and prints.

  stat.py TMP SAMPLES   (TMP holds the program taps; rs-import, rs-fuse, rs-pack, rs-stat, rs-top are in PATH)
"""
import json
import os
import re
import subprocess
import sys

import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rsq  # noqa: E402

tmp, samples = sys.argv[1:]
text = os.path.join(samples, "text", "eval.txt")
SAMPLES, CTX, SKIP = 6, 100, 37
ROLES = ["q", "k", "v", "o", "gate", "up", "down"]
INPUT = dict(q="qkv", k="qkv", v="qkv", o="o", gate="gateup", up="gateup", down="down")
passed = failed = 0


def check(ok, what):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAIL oracle/stat:", what)


def run(*args):
    return subprocess.run([str(a) for a in args], check=True, cwd=tmp, stdout=subprocess.PIPE, text=True).stdout


# ---- the definitions

def kurtosis(x, axis=None):
    d = x - x.mean(axis=axis, keepdims=True)
    m2, m4 = (d**2).mean(axis=axis), (d**4).mean(axis=axis)
    return np.where(m2 > 0, m4 / np.where(m2 > 0, m2, 1) ** 2 - 3, 0.0)


def histogram(x32, rms):
    cut = (x32.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)
    at = np.full(cut.shape, 32) if rms == 0 else np.clip(np.floor(4 * cut / rms) + 32, 0, 63).astype(int)
    return np.bincount(at.ravel(), minlength=64)


def fake_quant(x, bits, sym, clip, span, form):
    """Quantises spans of f32, all operations in f32; form: zero, free or half."""
    f, p = np.float32, np.float32(clip)
    y = x.reshape(-1, span)
    lo, hi = y.min(axis=1, keepdims=True), y.max(axis=1, keepdims=True)
    lo0, hi0 = np.minimum(lo, f(0)), np.maximum(hi, f(0))
    if sym:
        half = f(2 ** (bits - 1) - 1)
        s = p * np.maximum(-lo0, hi0) / (half + f(0.5) if form == "half" else half)
        s = np.where(s < np.finfo(np.float32).tiny, f(1), s)
        return (np.clip(np.rint(y / s), -half - 1, half) * s).reshape(x.shape)
    top = f(2**bits - 1)
    s = (p * hi0 - p * lo0) / top
    normal = s >= np.finfo(np.float32).tiny
    s = np.where(normal, s, f(1))
    z = np.where(normal, np.rint(-(p * lo0) / s), f(0))
    if form == "free":
        t = (p * hi - p * lo) / top
        with np.errstate(all="ignore"):
            u = np.rint(-(p * lo) / t)
        ok = (t >= np.finfo(np.float32).tiny) & (np.abs(u) <= 2**24)
        s, z = np.where(ok, t, s), np.where(ok, u, z)
    return (s * (np.clip(np.rint(y / s) + z, 0, top) - z)).reshape(x.shape)


def decibel(x, error):
    signal = (x.astype(np.float64) ** 2).sum()
    return 10 * np.log10(signal / error) if signal > 0 and error > 0 else None


def expected(x32, tokens):
    """Values of a matrix and parts by channel; x32 [rows, channels] f32."""
    x = x32.astype(np.float64)
    a, n = np.abs(x), np.sqrt((x**2).sum(axis=1))
    v = dict(max=a.max(), rms=np.sqrt((x**2).mean()), kurt=float(kurtosis(x.ravel())), p999=np.quantile(a, 0.999), p9999=np.quantile(a, 0.9999),
             incoherence=(a.max(axis=1)[n > 0] * np.sqrt(x.shape[1]) / n[n > 0]).max(), zeros=(x == 0).mean())
    if tokens:
        v["tokens"] = len(x)
        v["massive"] = int(((a.max(axis=1) > 100) & (a.max(axis=1) >= 1000 * np.median(a, axis=1))).sum())
    return v, dict(absmax=a.max(axis=0), rms=np.sqrt((x**2).mean(axis=0)), kurt=kurtosis(x, 0))


def near(a, b):
    return np.all(np.abs(np.asarray(a, np.float64) - b) <= 1e-6 * np.maximum(np.abs(b), 1e-30))


def compare(frame, x32, tokens, sqnr, where):
    """sqnr: what sqnr4 and sqnr3 must be, each None (absent), a number, or the least and the most."""
    m, payload = frame
    v, parts = expected(x32, tokens)
    got = dict(m["values"])
    stored = [got.pop("sqnr4", None), got.pop("sqnr3", None)]
    check(set(got) == set(v), f"{where}: values {sorted(got)}, wanted {sorted(v)}")
    for k in v:
        if k in ("tokens", "massive"):
            check(got.get(k) == v[k], f"{where}: {k} {got.get(k)}, wanted {v[k]}")
        elif k == "kurt":
            check(abs(got[k] - v[k]) <= 1e-6 * (3 + abs(v[k])), f"{where}: kurt {got[k]}, wanted {v[k]}")
        else:
            check(near(got[k], v[k]), f"{where}: {k} {got[k]}, wanted {v[k]}")
    for bits, have, want in zip((4, 3), stored, sqnr):
        lo, hi = want if isinstance(want, tuple) else (want, want)
        check(have is None if want is None else have is not None and lo * (1 - 1e-6) - 1e-6 * (lo < 1) <= have <= hi * (1 + 1e-6) + 1e-6 * (lo < 1), f"{where}: sqnr{bits} {have}, wanted {want}")
    check([p["k"] for p in m["parts"]] == ["absmax", "rms", "kurt", "hist"], f"{where}: parts")
    for p in m["parts"]:
        part = payload[p["off"]:p["off"] + p["len"]].view(np.uint64 if p["k"] == "hist" else np.float32)
        if p["k"] == "hist":
            check(np.array_equal(part, histogram(x32, m["values"]["rms"])), f"{where}: histogram")
        elif p["k"] == "kurt":
            check(np.all(np.abs(part - parts["kurt"]) <= 1e-6 * (3 + np.abs(parts["kurt"]))), f"{where}: kurt of channels, off by {np.abs(part - parts['kurt']).max()}")
        else:
            check(near(part, parts[p["k"]]), f"{where}: {p['k']} of channels")


# ---- weights

def rounding(w, bits):
    """SQNR of one symmetric scale a row, the best of 80 clip ratios by sum |error|^2.4, in f32: the least and the most where the best two cannot be told apart."""
    f = np.float32
    top = f(2 ** (bits - 1) - 1)
    most = np.abs(w).max(axis=1)
    power, square = np.empty((80, len(w))), np.empty((80, len(w)))
    for i in range(80):
        s = (f(1 - i / 100) * most / top)[:, None]
        c = np.clip(np.rint(w / np.where(s > 0, s, f(1))), -top - 1, top)
        e = np.abs(c.astype(np.float64) * s - w)
        power[i], square[i] = (e**2.4).sum(axis=1), (e**2).sum(axis=1)
    tied = power <= power.min(axis=0) * (1 + 1e-5)
    low, high = np.where(tied, square, np.inf).min(axis=0).sum(), np.where(tied, square, -np.inf).max(axis=0).sum()
    return decibel(w, high), decibel(w, low)


def values_of(f, name):
    """A raw or packed tensor as f32 [rows, channels]."""
    m = f.metas[name]
    if m["enc"] == "raw":
        x = f.raw(name)
        x = (x.astype(np.uint32) << 16).view(np.float32) if m["dtype"] == "bf16" else x.astype(np.float32)
    else:
        raw = {p["k"]: f.payloads[name][p["off"]:p["off"] + p["len"]] for p in m["parts"]}
        rows, cols = m["shape"]
        bits = int(m["enc"][3:])
        u = np.unpackbits(raw["codes"].reshape(rows, -1), axis=1, bitorder="little")[:, :cols * bits].reshape(rows, cols, bits)
        c = (u * (1 << np.arange(bits))).sum(axis=2)
        c = np.where(c >= 1 << (bits - 1), c - (1 << bits), c).astype(np.float32)
        scale = raw["scales"].view(np.float32).reshape(rows, -1)
        x = c * np.repeat(scale, cols // scale.shape[1], axis=1)
    return np.ascontiguousarray(x.reshape(-1, m["shape"][-1]))


# ---- one file

def settings(plan, layer, role):
    a = dict(bits=plan["a_bits"], sym=plan["a_sym"], clip=plan["a_clip"], group=plan["a_group"], range=plan.get("a_range", "zero"))
    found = [x for x in plan["except"] if x["role"] == role and x["layer"] == layer] or [x for x in plan["except"] if x["role"] == role and x["layer"] == -1]
    for x in found[:1]:
        a.update({k: x["a_" + k] for k in ("bits", "sym", "clip", "group", "range") if "a_" + k in x})
    return a


def measured(name):
    """The file with its statistics, and the taps: what was measured by (of, name)."""
    folder = os.path.join(tmp, name + ".taps")
    os.makedirs(folder)
    run("rs-stat", "-q", "--text", text, "--samples", SAMPLES, "--ctx", CTX, "--skip", SKIP, name + ".rsq", "-o", name + ".stat.rsq")
    run(os.path.join(tmp, "taps"), name + ".rsq", text, SAMPLES, CTX, SKIP, folder)
    f = rsq.File(os.path.join(tmp, name + ".stat.rsq"))
    frames = {(m["of"], m["name"]): (m, p) for t, m, p in f.frames if t == "sTAT"}
    check(all(m["step"] == len(f.prov) - 2 for m, p in frames.values()), f"{name}: steps")
    return f, frames, lambda layer, tap, width: np.fromfile(os.path.join(folder, f"{layer}.{tap}"), np.float32).reshape(-1, width)


def one(name, L, d, h, search):
    f, frames, tap = measured(name)
    plan = f.head["plan"]
    count = 0
    for tensor, m in f.metas.items():
        if m["enc"] == "lowrank" or not m["shape"]:
            check(("weight", tensor) not in frames, f"{name} {tensor}: has statistics")
            continue
        x = values_of(f, tensor)
        sqnr = [None, None]
        if m["role"] in ROLES and len(m["shape"]) == 2:
            sqnr = [rounding(x, b) for b in (4, 3)] if search and m["layer"] in (0, L - 1) else [(-99.0, 999.0)] * 2
        compare(frames[("weight", tensor)], x, False, sqnr, f"{name} weight {tensor}")
        count += 1
        if m["role"] not in ROLES:
            continue
        a = settings(plan, m["layer"], m["role"])
        x = tap(m["layer"], INPUT[m["role"]], x.shape[1])
        want = [decibel(x, ((fake_quant(x, b, a["sym"], a["clip"], a["group"] or x.shape[1], a["range"]).astype(np.float64) - x) ** 2).sum()) for b in (4, 3)]
        compare(frames[("input", tensor)], x, True, want, f"{name} input {tensor}")
        count += 1
        if m["role"] in "kv":
            x = tap(m["layer"], m["role"], m["shape"][0])
            form = plan.get(m["role"] + "_range", "zero")
            want = [decibel(x, ((fake_quant(x, b, plan["kv_sym"], plan["kv_clip"], plan["kv_group"] or h, form).astype(np.float64) - x) ** 2).sum()) for b in (4, 3)]
            compare(frames[("kv", tensor)], x, True, want, f"{name} kv {tensor}")
            count += 1
    for j in range(2 * L + 1):
        compare(frames[("stream", f"basis.{j}")], tap(j // 2, "ffn" if j % 2 else "attn", d), True, [None, None], f"{name} basis.{j}")
        count += 1
    here = sum(of != "error" for of, _ in frames)  # those are of packing
    check(count == here, f"{name}: {here} frames, wanted {count}")
    return frames


def transformers(frames, L):
    """What hooks on the model of transformers see: the same inputs, to the rounding of another order of sums."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM
    torch.set_num_threads(1)
    folder = os.path.join(samples, "model")
    ids = Tokenizer.from_file(os.path.join(folder, "tokenizer.json")).encode(open(text, encoding="utf-8").read(), add_special_tokens=False).ids[SKIP:SKIP + SAMPLES * CTX]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    seen = {}

    def hook(key, output=False):
        def f(module, inputs, out):
            seen.setdefault(key, []).append((out if output else inputs[0]).detach().reshape(-1, (out if output else inputs[0]).shape[-1]).numpy().copy())
        return f
    for i, layer in enumerate(model.model.layers):
        for n in ("q", "k", "v", "o"):
            getattr(layer.self_attn, n + "_proj").register_forward_hook(hook(("input", f"model.layers.{i}.self_attn.{n}_proj.weight")))
        for n in ("gate", "up", "down"):
            getattr(layer.mlp, n + "_proj").register_forward_hook(hook(("input", f"model.layers.{i}.mlp.{n}_proj.weight")))
        layer.self_attn.v_proj.register_forward_hook(hook(("kv", f"model.layers.{i}.self_attn.v_proj.weight"), True))
        layer.input_layernorm.register_forward_hook(hook(("stream", f"basis.{2 * i}")))
        layer.post_attention_layernorm.register_forward_hook(hook(("stream", f"basis.{2 * i + 1}")))
    model.model.norm.register_forward_hook(hook(("stream", f"basis.{2 * L}")))
    with torch.no_grad():
        for s in range(SAMPLES):
            model(torch.tensor([ids[s * CTX:(s + 1) * CTX]]))
    check(set(seen) | {("kv", f"model.layers.{i}.self_attn.k_proj.weight") for i in range(L)} == {k for k in frames if k[0] != "weight"}, "transformers: other frames")
    for key, parts in seen.items():
        m, payload = frames[key]
        v, by = expected(np.concatenate(parts), True)
        for k in ("max", "rms", "kurt", "p999", "p9999", "incoherence"):
            check(abs(m["values"][k] - v[k]) <= 1e-3 * (3 + abs(v[k]) if k == "kurt" else abs(v[k])), f"transformers {key}: {k} {m['values'][k]}, wanted {v[k]}")
        got = payload[:m["parts"][0]["len"]].view(np.float32)
        check(np.all(np.abs(got - by["absmax"]) <= 1e-3 * by["absmax"].max()), f"transformers {key}: absmax")


def as_printed(text, value):
    """Whether text is value rounded to the digits that text has."""
    number, _, power = text.partition("e")
    unit = 10.0 ** (int(power or 0) - len(number.partition(".")[2]))
    return abs(float(text) - value) <= 0.5 * unit * (1 + 1e-6)


def shown(name, frames):
    """What rs-top exports and what stands on its screen, against the frames that numpy has judged."""
    file = name + ".stat.rsq"
    for of in ("input", "weight", "kv", "stream"):
        rows = json.loads(run("rs-top", "--batch", "--format", "json", "--measure", of, file))["rows"]
        check(len(rows) == sum(o == of for o, _ in frames), f"{name}: {len(rows)} rows of {of}")
        for r in rows:
            stored = dict(frames[(of, r["name"])][0]["values"])
            stored["max_rms"] = stored["max"] / stored["rms"] if stored["rms"] > 0 else None
            got = {k: v for k, v in r["before"].items() if v is not None}
            check(set(got) == {k for k, v in stored.items() if v is not None}, f"{name} {of} {r['name']}: {sorted(got)} in the export")
            check(all(near(v, stored[k]) for k, v in got.items() if k in stored), f"{name} {of} {r['name']}: the export has other numbers")
    rows = {(r["layer"], r["role"]): r["before"] for r in json.loads(run("rs-top", "--batch", "--format", "json", file))["rows"]}
    lines = [re.match(r"[> ]\s*(\d+) (\w+)\s+\d+ [-#=:.]*\s*(\S+)\s+(\S+)\s+(\S+)\s*$", line) for line in run("rs-top", "--batch", "--ascii", "--size", "130x200", file).splitlines()]
    lines = [m.groups() for m in lines if m]
    check(len(lines) == len(rows), f"{name}: {len(lines)} lines on the screen for {len(rows)} rows")
    for layer, role, *numbers in lines:
        for text, key in zip(numbers, ("max_rms", "kurt", "sqnr4")):
            check(as_printed(text, rows[(int(layer), role)][key]), f"{name} {layer}.{role}: {key} {text} on the screen, {rows[(int(layer), role)][key]} in the export")


def main():
    c = json.load(open(os.path.join(samples, "model", "config.json")))
    L, d, h = c["num_hidden_layers"], c["hidden_size"], c["head_dim"]
    run("rs-import", "-q", os.path.join(samples, "model"), "-o", "model.rsq")
    frames = one("model", L, d, h, True)
    transformers(frames, L)
    shown("model", frames)
    run("rs-fuse", "-q", "--seed", 3, "model.rsq", "-o", "fused.rsq")
    run("rs-pack", "-q", "--a-bits", 4, "--a-clip", 0.9, "--kv-bits", 4, "--kv-sym", "--w-bits", 3, "fused.rsq", "-o", "packed.rsq")
    run("rs-pack", "-q", "--compat", "spinquant", "--a-bits", 4, "--kv-bits", 4, "--group", 64, "fused.rsq", "-o", "compat.rsq")
    run("rs-pack", "-q", "--a-bits", 8, "--a-group", 32, "--a-sym", "--kv-bits", 3, "--kv-group", 16, "fused.rsq", "-o", "groups.rsq")
    for name in ("fused", "packed", "compat", "groups"):
        shown(name, one(name, L, d, h, False))
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed != 0


sys.exit(main())
