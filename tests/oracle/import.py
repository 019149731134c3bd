# SPDX-License-Identifier: Apache-2.0
"""rs-import against transformers, safetensors and gguf from PyPI: every number bit for bit. Usage: import.py RS_IMPORT TMP [MODEL.gguf]"""
import json
import os
import subprocess
import sys

import gguf
import numpy as np
import torch
import transformers
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import rsq  # noqa: E402

tool, tmp = sys.argv[1:3]
passed = failed = skipped = 0
LINEAR = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate",
          "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
FIXED = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def check(ok, what):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAIL import.py: " + what)


def imported(path):
    out = os.path.join(tmp, "out.rsq")
    r = subprocess.run([tool, "-o", out, path], capture_output=True, text=True)
    check(r.returncode == 0 and r.stderr == "", "%s: %d %s" % (path, r.returncode, r.stderr.strip()))
    return rsq.File(out) if r.returncode == 0 else None


def gguf_name(hf):
    stem, kind = hf.rsplit(".", 1)
    if stem in FIXED:
        return "%s.%s" % (FIXED[stem], kind)
    _, _, layer, rest = stem.split(".", 3)
    return "blk.%s.%s.%s" % (layer, LINEAR[rest], kind)


def interleaved(a, heads):
    """Rows of each head from halves (transformers) to neighbours (GGUF)."""
    return a.reshape(heads, 2, a.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(a.shape)


def halves(a, heads):
    return a.reshape(heads, a.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(a.shape)


def heads_of(name, cfg):
    return cfg.num_attention_heads if ".q_proj." in name else cfg.num_key_value_heads if ".k_proj." in name else 0


def bits(t):
    return t.contiguous().view({torch.float32: torch.int32, torch.float16: torch.int16, torch.bfloat16: torch.int16}[t.dtype]).numpy().view({4: np.uint32, 2: np.uint16}[t.element_size()])


def same(f, name, want, what):
    got = f.raw(name).view({4: np.uint32, 2: np.uint16}[want.itemsize])
    check(got.shape == want.shape and np.array_equal(got, want), "%s: %s differs" % (what, name))


def tiny(**change):
    torch.manual_seed(3)
    cfg = LlamaConfig(hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=320, max_position_embeddings=128, **change)
    return cfg, LlamaForCausalLM(cfg)


def same_config(text, cfg, what):
    path = os.path.join(tmp, "config")
    os.makedirs(path, exist_ok=True)
    open(os.path.join(path, "config.json"), "wb").write(text)
    back = AutoConfig.from_pretrained(path)
    for k in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size", "tie_word_embeddings", "attention_bias", "mlp_bias",
              "rms_norm_eps", "max_position_embeddings", "rope_parameters" if hasattr(cfg, "rope_parameters") else "rope_scaling"):
        a, b = getattr(back, k), getattr(cfg, k)
        check(a == b, "%s: config.json: %s is %r, was %r" % (what, k, a, b))


def safetensors_case(what, dtype, shards=False, **change):
    cfg, m = tiny(**change)
    path = os.path.join(tmp, what)
    m.to(dtype).save_pretrained(path, **({"max_shard_size": "700KB"} if shards else {}))
    check(os.path.exists(os.path.join(path, "model.safetensors.index.json")) == shards, what + ": shards")
    f = imported(path)
    if f is None:
        return
    state = {k: v for k, v in m.state_dict().items() if not (cfg.tie_word_embeddings and k == "lm_head.weight")}
    check(set(state) == set(f.metas), "%s: other tensors: %s" % (what, set(state) ^ set(f.metas)))
    for k, v in state.items():
        if k in f.metas:
            same(f, k, bits(v), what)
    check(f.files["config.json"] == open(os.path.join(path, "config.json"), "rb").read(), what + ": config.json")


def gguf_case(what, kind, rope=None, **change):
    cfg, m = tiny(**change)
    path = os.path.join(tmp, what + ".gguf")
    w = gguf.GGUFWriter(path, "llama")
    w.add_name(what)
    w.add_block_count(cfg.num_hidden_layers)
    w.add_context_length(cfg.max_position_embeddings)
    w.add_embedding_length(cfg.hidden_size)
    w.add_feed_forward_length(cfg.intermediate_size)
    w.add_head_count(cfg.num_attention_heads)
    w.add_head_count_kv(cfg.num_key_value_heads)
    w.add_key_length(cfg.head_dim)
    w.add_value_length(cfg.head_dim)
    w.add_rope_dimension_count(cfg.head_dim)
    w.add_layer_norm_rms_eps(cfg.rms_norm_eps)
    w.add_rope_freq_base(10000.0)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(["t%d" % i for i in range(320)])
    w.add_token_types([1] * 320)
    if rope is not None:
        w.add_tensor("rope_freqs.weight", rope)
    want = {}
    qtype = gguf.GGMLQuantizationType[kind]
    rng = np.random.default_rng(5)
    for hf, t in m.state_dict().items():
        if cfg.tie_word_embeddings and hf == "lm_head.weight":
            continue
        a, heads = t.numpy().astype(np.float32), heads_of(hf, cfg)
        a = (a + rng.normal(0, 0.02, a.shape)).astype(np.float32)
        stored = interleaved(a, heads) if heads else a
        if a.ndim == 1:
            w.add_tensor(gguf_name(hf), stored)
            want[hf] = a.view(np.uint32)
            continue
        try:
            raw = gguf.quantize(stored, qtype)
        except NotImplementedError:  # K-quants have no writer there: any bytes with finite scales are blocks
            block, size = gguf.GGML_QUANT_SIZES[qtype]
            raw = rng.integers(0, 256, (a.shape[0], a.shape[1] // block, size), np.uint8)
            scale = rng.normal(0, 0.01, (a.shape[0], a.shape[1] // block, 2)).astype(np.float16).view(np.uint8)
            if kind == "Q6_K":
                raw[..., -2:] = scale[..., :2]
            else:
                raw[..., :4] = scale
            raw = raw.reshape(a.shape[0], -1)
        w.add_tensor(gguf_name(hf), raw, raw_dtype=qtype)
        if kind == "F16":
            values = raw.view(np.uint16)
        elif kind == "BF16":
            values = raw.view(np.uint16)
        else:
            values = gguf.dequantize(raw, qtype).astype(np.float32).view(np.uint32)
        values = values.reshape(a.shape)
        want[hf] = halves(values, heads) if heads else values
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    f = imported(path)
    if f is None:
        return None
    check(set(want) == set(f.metas), "%s: other tensors" % what)
    for k, v in want.items():
        if k in f.metas:
            same(f, k, v, what)
    same_config(f.files["config.json"], cfg, what)
    return f


def llama3_factors(cfg, p):
    """As convert_hf_to_gguf.py of llama.cpp computes rope_freqs.weight."""
    dim, out = cfg.head_dim, []
    for f in 1.0 / (10000.0 ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)):
        wave, low, high = 2 * np.pi / f, p["original_max_position_embeddings"] / p["low_freq_factor"], p["original_max_position_embeddings"] / p["high_freq_factor"]
        if wave < high:
            out.append(1)
        elif wave > low:
            out.append(p["factor"])
        else:
            smooth = (p["original_max_position_embeddings"] / wave - p["low_freq_factor"]) / (p["high_freq_factor"] - p["low_freq_factor"])
            out.append(1 / ((1 - smooth) / p["factor"] + smooth))
    return torch.tensor(out, dtype=torch.float32).numpy()


def real_model(path):
    reader = gguf.GGUFReader(path)
    f = imported(path)
    if f is None:
        return
    cfg = json.loads(f.files["config.json"])
    stored = {t.name: t for t in reader.tensors}
    check(len(stored) == len(f.metas), "number of tensors")
    for name in f.metas:
        t = stored[gguf_name(name)]
        a = gguf.dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])
        heads = cfg["num_attention_heads"] if ".q_proj." in name else cfg["num_key_value_heads"] if ".k_proj." in name else 0
        same(f, name, (halves(a, heads) if heads else a).view(np.uint32), "model")
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    tok = json.loads(f.files["tokenizer.json"])
    check(list(tok["model"]["vocab"]) == tokens, "vocabulary")
    check(tok["model"]["merges"] == reader.fields["tokenizer.ggml.merges"].contents(), "merges")
    import tokenizers
    t = tokenizers.Tokenizer.from_str(f.files["tokenizer.json"].decode())
    ids = os.path.join(os.path.dirname(path), "..", "reference", "ids", "wiki.test.raw.npy")
    text = open(os.path.join(os.path.dirname(path), "wiki.test.raw"), newline="").read()
    check(np.array_equal(np.load(ids), np.array(t.encode(text, add_special_tokens=False).ids)), "token ids of wiki.test.raw")


def splitting_case(model, pre, Llama):
    """A model of zeros with a real vocabulary: its tokenizer.json gives the token ids that llama.cpp gives for this tokenizer.ggml.pre."""
    import tokenizers
    fields = gguf.GGUFReader(model).fields
    path = os.path.join(tmp, "pre.gguf")
    w = gguf.GGUFWriter(path, "llama")
    for add, v in ((w.add_block_count, 1), (w.add_context_length, 64), (w.add_embedding_length, 8), (w.add_feed_forward_length, 8), (w.add_head_count, 2), (w.add_head_count_kv, 2),
                   (w.add_rope_dimension_count, 4), (w.add_layer_norm_rms_eps, 1e-5), (w.add_tokenizer_model, "gpt2"), (w.add_tokenizer_pre, pre), (w.add_add_bos_token, False),
                   (w.add_bos_token_id, 1), (w.add_eos_token_id, 2)):
        add(v)
    tokens = fields["tokenizer.ggml.tokens"].contents()
    w.add_token_list(tokens)
    w.add_token_types(fields["tokenizer.ggml.token_type"].contents())
    w.add_token_merges(fields["tokenizer.ggml.merges"].contents())
    w.add_tensor("token_embd.weight", np.zeros((len(tokens), 8), np.float32))
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        w.add_tensor(name + ".weight", np.zeros(8, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        w.add_tensor("blk.0.%s.weight" % name, np.zeros((8, 8), np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    f = imported(path)
    if f is None:
        return
    text = open(os.path.join(os.path.dirname(model), "wiki.test.raw"), "rb").read()[:60000].decode("utf-8", "ignore")
    text += " I'M 12345 x\u00b2\u00bd\u2167  \t\n\n\r\n  \u00fcn\u00efcode \u6f22\u5b57\u304b\u306a\ud55c\uae00 'Ll's $5+3=8 foo_bar() `x` <|im_start|>user\n  "
    ours = tokenizers.Tokenizer.from_str(f.files["tokenizer.json"].decode()).encode(text, add_special_tokens=False).ids
    check(ours == Llama(path, vocab_only=True, verbose=False).tokenize(text.encode(), add_bos=False, special=True), "token ids for tokenizer.ggml.pre %s" % pre)


safetensors_case("tied-f32", torch.float32, tie_word_embeddings=True)
safetensors_case("untied-bf16", torch.bfloat16)
safetensors_case("biases-f16", torch.float16, attention_bias=True, mlp_bias=True)
safetensors_case("shards-bf16", torch.bfloat16, shards=True)
for kind in ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"):
    gguf_case(kind, kind, tie_word_embeddings=kind != "Q8_0")
gguf_case("biases", "Q8_0", attention_bias=True, mlp_bias=True)
gguf_case("wide-heads", "F16", head_dim=128)
llama3 = dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
try:
    scaled = dict(rope_parameters=dict(llama3, rope_theta=10000.0))
    tiny(**scaled)
except TypeError:
    scaled = dict(rope_scaling=llama3)
gguf_case("llama3", "F16", rope=llama3_factors(tiny(**scaled)[0], llama3), **scaled)
if len(sys.argv) > 3:
    real_model(sys.argv[3])
    try:
        from llama_cpp import Llama
    except ImportError:
        Llama = None
        skipped += 1
        print("SKIP import.py: no llama_cpp to compare splittings with")
    for pre in ("gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "deepseek-coder", "default") if Llama else ():
        splitting_case(sys.argv[3], pre, Llama)
print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
sys.exit(failed != 0)
