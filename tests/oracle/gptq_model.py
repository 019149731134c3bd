# SPDX-License-Identifier: Apache-2.0
"""rs-pack --gptq --one-pass on the sample model against respin_ref.py under the same rotation and calibration tokens: perplexities within 1 %.

  gptq_model.py TMP REFERENCE_DIR SAMPLES
"""
import json
import os
import subprocess
import sys

import numpy as np
import torch

sys.dont_write_bytecode = True
here = os.path.dirname(os.path.abspath(__file__))
tmp, reference, samples = sys.argv[1:]
sys.path[:0] = [here, reference]
import respin_ref as ref  # noqa: E402
import rsq  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

torch.set_num_threads(1)  # two would wait for each other where the machine is busy
torch.set_grad_enabled(False)
passed = failed = 0
COUNT, CTX, SKIP, WINDOWS, WINDOW = 16, 256, 1000, 12, 256


def run(*args):
    return subprocess.run([str(a) for a in args], check=True, cwd=tmp, capture_output=True, text=True).stdout


def load():
    c, file, m = json.load(open(os.path.join(samples, "model", "config.json"))), rsq.File(os.path.join(tmp, "m.rsq")), ref.Model()
    m.L, m.d, m.f, m.nq, m.nkv = c["num_hidden_layers"], c["hidden_size"], c["intermediate_size"], c["num_attention_heads"], c["num_key_value_heads"]
    m.h, m.eps = c.get("head_dim") or m.d // m.nq, c["rms_norm_eps"]
    m.theta = c.get("rope_theta") or c["rope_parameters"]["rope_theta"]
    f32 = lambda n: torch.from_numpy(file.raw(n).astype(np.float32))
    m.embed = f32("model.embed_tokens.weight")
    m.head, m.layers = m.embed * f32("model.norm.weight"), []
    for i in range(m.L):
        w = lambda n: f32(f"model.layers.{i}.{n}.weight")
        a, f = w("input_layernorm"), w("post_attention_layernorm")
        m.layers.append(dict(q=w("self_attn.q_proj") * a, k=w("self_attn.k_proj") * a, v=w("self_attn.v_proj") * a, o=w("self_attn.o_proj"),
                             gate=w("mlp.gate_proj") * f, up=w("mlp.up_proj") * f, down=w("mlp.down_proj")))
    return m


def main():
    global passed, failed
    calib, text = (os.path.join(samples, "text", n) for n in ("calib.txt", "eval.txt"))
    tokenizer = Tokenizer.from_file(os.path.join(samples, "model", "tokenizer.json"))
    ids = lambda path: torch.tensor(tokenizer.encode(open(path, encoding="utf-8").read(), add_special_tokens=False).ids)
    run("rs-import", "-q", os.path.join(samples, "model"), "-o", "m.rsq")
    m = load()
    g = torch.Generator().manual_seed(1)
    base, heads = ref.random_hadamard(m.d, g), [ref.random_hadamard(m.h, g) for _ in range(m.L)]
    torch.save(dict(bases=[base] * (2 * m.L + 1), heads=heads), os.path.join(tmp, "R.pt"))
    run(sys.executable, os.path.join(here, "rot_from_torch.py"), "R.pt", "rot.rsq", "--model", "m.rsq")
    run("rs-fuse", "-q", "--precise", "-R", "rot.rsq", "m.rsq", "-o", "f.rsq")
    r3, r4 = ref.hadamard(m.h), torch.kron(ref._base(28), ref.hadamard(16)) / 28**0.5  # the base is the outer factor in the container, the inner one in the reference
    fused = ref.fuse(m, [base] * (2 * m.L + 1), heads, r4)
    tokens, windows = ids(calib)[SKIP:SKIP + COUNT * CTX].view(COUNT, CTX), ids(text)
    for bits in (4,):
        theirs = ref.quantise(m, fused, bits, tokens, CTX, r3, r4)
        run("rs-pack", "-q", "--w-bits", bits, "--rest", "keep", "--gptq", "--one-pass", "--text", calib, "--samples", COUNT, "--ctx", CTX, "--skip", SKIP, "f.rsq", "-o", "g.rsq")
        for act in (16, 4):
            run("rs-pack", "-q", "--w-bits", 16, "--a-bits", act, "--kv-bits", act, "g.rsq", "-o", "p.rsq")
            ours = json.loads(run("rs-eval", "-q", "--json", "--text", text, "--ctx", WINDOW, "--windows", WINDOWS, "p.rsq"))["perplexity"]
            want = ref.perplexity(m, theirs, windows, WINDOWS, WINDOW, a=act, kv=act, r3=r3, r4=r4)
            good = abs(ours / want - 1) <= 0.01
            passed, failed = passed + good, failed + (not good)
            print(f"{'' if good else 'FAIL '}gptq: sample model, W{bits}A{act}KV{act}: perplexity {ours:.4f}, respin_ref.py {want:.4f}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)


main()
