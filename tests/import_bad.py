#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/import: small models that rs-import takes (good) and files with one fault each, numbered as in formats/FORMAT.md (bad). Usage: import_bad.py DIR"""
import json
import os
import struct
import sys

L, D, F, H, NQ, NKV, V = 1, 8, 12, 4, 2, 1, 5
U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
TOP = (1 << 64) - 1


def p(fmt, *v):
    return struct.pack("<" + fmt, *v)


# ---- the model: names in both worlds and shapes
def tensors():
    rows = [("model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight", [D]), ("model.layers.0.post_attention_layernorm.weight", "blk.0.ffn_norm.weight", [D]),
            ("model.norm.weight", "output_norm.weight", [D]), ("model.embed_tokens.weight", "token_embd.weight", [V, D])]
    for hf, gg, shape in (("self_attn.q_proj", "attn_q", [NQ * H, D]), ("self_attn.k_proj", "attn_k", [NKV * H, D]), ("self_attn.v_proj", "attn_v", [NKV * H, D]),
                          ("self_attn.o_proj", "attn_output", [D, NQ * H]), ("mlp.gate_proj", "ffn_gate", [F, D]), ("mlp.up_proj", "ffn_up", [F, D]), ("mlp.down_proj", "ffn_down", [D, F])):
        rows.append(("model.layers.0.%s.weight" % hf, "blk.0.%s.weight" % gg, shape))
    return rows


def numbers(name, shape):
    n = 1
    for s in shape:
        n *= s
    seed = sum(name.encode()) % 97
    return b"".join(p("f", ((i * 37 + seed) % 64 - 32) / 64) for i in range(n))


CHAT = "{{ bos_token }}{% for m in messages %}{{ m['role'] ~ ':' ~ m['content'] | trim }}<|end|>\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"


# ---- safetensors
def st(header, data=b""):
    h = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return p("Q", len(h)) + h + data


def st_entries(names=None):
    header, data = {}, b""
    for hf, _, shape in tensors():
        if names is None or hf in names:
            raw = numbers(hf, shape)
            header[hf] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
    return header, data


def st_model():
    return st(*st_entries())


CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": D, "intermediate_size": F, "num_hidden_layers": L, "num_attention_heads": NQ, "num_key_value_heads": NKV,
          "head_dim": H, "vocab_size": V, "tie_word_embeddings": True, "rms_norm_eps": 1e-05}
TOKENIZER = {"version": "1.0", "added_tokens": [{"id": 4, "content": "<|end|>", "special": True}], "normalizer": None,
             "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
             "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "c": 3, "<|end|>": 4}, "merges": ["a b"]}}


def js(value):
    return (json.dumps(value, indent=1) + "\n").encode()


def folder(config=CONFIG, tokenizer=TOKENIZER, files=None):
    f = {"model.safetensors": st_model()} if files is None else dict(files)
    if config is not None:
        f["config.json"] = config if isinstance(config, bytes) else js(config)
    if tokenizer is not None:
        f["tokenizer.json"] = tokenizer if isinstance(tokenizer, bytes) else js(tokenizer)
    return f


def changed(base, **fields):
    return {k: v for k, v in {**base, **fields}.items() if v != "-"}


def shards(index_names=("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"), both=()):
    rows = [t[0] for t in tensors()]
    half = [rows[:5], rows[5:]]
    files, real = {}, ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    for name, part in zip(real, half):
        files[name] = st(*st_entries(part + list(both)))
    weight_map = {n: index_names[0 if n in half[0] else 1] for n in rows}
    files["model.safetensors.index.json"] = js({"metadata": {"total_size": 0}, "weight_map": weight_map})
    return files


# ---- GGUF
def text(s):
    b = s if isinstance(s, bytes) else s.encode()
    return p("Q", len(b)) + b


def value(kind, v, item=None):
    if kind == STR:
        return text(v)
    if kind == ARR:
        return p("IQ", item, len(v)) + b"".join(value(item, x) for x in v)
    return p({U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}[kind], v)


def kv(key, kind, v, item=None):
    return text(key) + p("I", kind) + value(kind, v, item)


def metadata(skip=(), **change):
    rows = {
        "general.architecture": (STR, "llama"), "general.name": (STR, "Tiny"), "llama.block_count": (U32, L), "llama.context_length": (U32, 64), "llama.embedding_length": (U32, D),
        "llama.feed_forward_length": (U32, F), "llama.attention.head_count": (U32, NQ), "llama.attention.head_count_kv": (U32, NKV), "llama.attention.layer_norm_rms_epsilon": (F32, 1e-05),
        "llama.rope.freq_base": (F32, 10000.0), "llama.rope.dimension_count": (U32, H), "tokenizer.ggml.model": (STR, "gpt2"), "tokenizer.ggml.pre": (STR, "gpt-2"),
        "tokenizer.ggml.tokens": (ARR, ["a", "b", "ab", "c", "<|end|>"], STR), "tokenizer.ggml.token_type": (ARR, [1, 1, 1, 1, 3], I32), "tokenizer.ggml.merges": (ARR, ["a b"], STR),
        "tokenizer.ggml.eos_token_id": (U32, 4), "tokenizer.ggml.add_bos_token": (BOOL, 0)}
    rows.update({k.replace("__", "."): v for k, v in change.items()})
    return [kv(k, *v) for k, v in rows.items() if k not in skip]


def gguf(version=3, kvs=None, n_kv=None, n_tensors=None, infos=None, align=32, tail=b"", pad=b"\0", edit=None, rows=None):
    """edit(i, name, dims, type, offset) -> changed (name, dims, type, offset)."""
    kvs = metadata() if kvs is None else kvs
    rows = tensors() if rows is None else rows
    table, data = [], b""
    for i, (hf, name, shape) in enumerate(rows):
        raw = numbers(hf or name, shape)
        row = (name, shape[::-1], 0, len(data))
        name, dims, kind, off = edit(i, *row) if edit else row
        n_dims = dims[0] if isinstance(dims, tuple) else len(dims)
        dims = dims[1] if isinstance(dims, tuple) else dims
        table.append(text(name) + p("I", n_dims) + b"".join(p("Q", d & TOP) for d in dims) + p("IQ", kind & 0xFFFFFFFF, off & TOP))
        data += raw + pad * (-len(raw) % align)
    if infos is not None:
        table = infos
    head = b"GGUF" + p("IQQ", version, len(table) if n_tensors is None else n_tensors, len(kvs) if n_kv is None else n_kv) + b"".join(kvs) + b"".join(table)
    return head + b"\0" * (-len(head) % align) + data + tail


def edit_one(**change):
    """Changes fields of the tensor number `at` (default 1: every offset before it is right)."""
    at = change.pop("at", 1)

    def edit(i, name, dims, kind, off):
        if i != at:
            return name, dims, kind, off
        return change.get("name", name), change.get("dims", dims), change.get("kind", kind), change.get("off", off)
    return edit


def good():
    header, data = st_entries()
    lone = {"__metadata__": {"format": "pt"}, **header}
    h16, d16 = {}, b""
    for hf, _, shape in tensors():
        n = 1
        for s in shape:
            n *= s
        raw = b"".join(p("e", ((i * 7 + len(hf)) % 32 - 16) / 16) for i in range(n))
        h16[hf] = {"data_offsets": [len(d16), len(d16) + len(raw)], "dtype": "F16", "shape": shape}
        d16 += raw
    yield "directory", folder(files={"model.safetensors": st(lone, data)})
    yield "spaces-around-header", folder(files={"model.safetensors": st(b" \n" + json.dumps(header).encode() + b"  \n", data)})
    yield "half-precision", folder(files={"model.safetensors": st(h16, d16)})
    yield "shards", folder(files=shards())
    yield "no-tokenizer", folder(tokenizer=None)
    extra = dict(header)
    extra["lm_head.weight"] = {"dtype": "F32", "shape": [V, D], "data_offsets": [len(data), len(data) + V * D * 4]}
    yield "tied-with-head", folder(files={"model.safetensors": st(extra, data + bytes(V * D * 4))})
    yield "untied", folder(config=changed(CONFIG, tie_word_embeddings=False), files={"model.safetensors": st(extra, data + bytes(V * D * 4))})
    yield "v3.gguf", gguf()
    yield "v2.gguf", gguf(version=2)
    yield "aligned-64.gguf", gguf(kvs=metadata(general__alignment=(U32, 64)), align=64)
    rows = tensors()
    rows.append(rows.pop(3))
    yield "last-tensor-unpadded.gguf", gguf(rows=rows, kvs=metadata(general__alignment=(U32, 64)), align=64)[:-32]
    bias = tensors() + [(None, "blk.0.%s.bias" % n, [s]) for n, s in (("attn_q", NQ * H), ("attn_k", NKV * H), ("attn_v", NKV * H), ("attn_output", D))]
    yield "biases.gguf", gguf(rows=bias)
    yield "chat", folder(files={"model.safetensors": st(header, data), "generation_config.json": js({"eos_token_id": [4, 3]}), "chat_template.jinja": CHAT.encode(),
                                "tokenizer_config.json": js({"chat_template": "not this one", "bos_token": {"content": "c", "special": True}, "eos_token": "<|end|>"})})
    yield "chat.gguf", gguf(kvs=metadata(tokenizer__chat_template=(STR, CHAT), tokenizer__ggml__bos_token_id=(U32, 3), tokenizer__ggml__eot_token_id=(U32, 1), tokenizer__ggml__eom_token_id=(U32, 4)))


def bad_safetensors():
    header, data = st_entries()
    names = list(header)
    text_ = json.dumps(header, separators=(",", ":"))
    first = json.dumps(header[names[0]], separators=(",", ":"))
    one = lambda entry: st(('{"a":%s}' % entry).encode(), bytes(16))
    yield "110-header-above-file", p("Q", 4096) + b"{}"
    yield "111-header-2-63", p("Q", 1 << 63) + b"{}"
    yield "113-header-empty", p("Q", 0) + b"{}"
    yield "114-header-is-an-array", st(b"[]")
    yield "115-header-not-utf8", st(b'{"\xff\xfe":{}}')
    yield "116-lone-surrogate", st(b'{"\\ud800":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', bytes(4))
    yield "117-name-twice", st(('{"%s":%s,%s' % (names[0], first, text_[1:])).encode(), data)
    yield "118-name-twice-first-out-of-range", st(('{"%s":{"dtype":"F32","shape":[8],"data_offsets":[99992,100024]},%s' % (names[0], text_[1:])).encode(), data)
    yield "119-metadata-key-twice", st(('{"__metadata__":{"format":"pt","format":"tf"},' + text_[1:]).encode(), data)
    yield "119b-metadata-twice", st(('{"__metadata__":{},"__metadata__":{},' + text_[1:]).encode(), data)
    yield "120-dtype-twice", one('{"dtype":"F32","dtype":"F32","shape":[4],"data_offsets":[0,16]}')
    yield "121-unknown-key", one('{"dtype":"F32","shape":[4],"data_offsets":[0,16],"note":{"x":[1,{}]}}')
    yield "122-metadata-not-a-string", st(b'{"__metadata__":{"format":1}}')
    yield "123a-name-with-nul", st(b'{"a\\u0000b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', bytes(16))
    yield "123b-name-path", st(b'{"../../x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', bytes(16))
    yield "123c-name-with-esc", st(b'{"a\\u001b[2J":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', bytes(16))
    model, raw = st_entries()
    yield "123d-name-with-space", st({**model, "my notes": {"dtype": "F32", "shape": [2], "data_offsets": [len(raw), len(raw) + 8]}}, raw + bytes(8))
    two = lambda a, b, n: st(('{"a":{"dtype":"U8","shape":[%d],"data_offsets":[%d,%d]},"b":{"dtype":"U8","shape":[%d],"data_offsets":[%d,%d]}}' % (a[1] - a[0], *a, b[1] - b[0], *b)).encode(), bytes(n))
    yield "124-overlap", two((0, 8), (4, 12), 12)
    yield "125-hole", two((0, 8), (9, 12), 12)
    yield "126-begin-after-end", one('{"dtype":"F32","shape":[4],"data_offsets":[16,0]}')
    yield "127-trailing-bytes", st(header, data + b"x")
    yield "128-one-byte-short", st(header, data[:-1])
    yield "129-shape-not-the-span", one('{"dtype":"F32","shape":[5],"data_offsets":[0,16]}')
    yield "130-product-wraps", one('{"dtype":"F32","shape":[1099511627776,1099511627776,1099511627776],"data_offsets":[0,16]}')
    for c, dim in zip("abcd", ("-4", "4.0", "4e0", "18446744073709551616")):
        yield "131%s-dim" % c, one('{"dtype":"F32","shape":[%s],"data_offsets":[0,16]}' % dim)
    yield "132-three-offsets", one('{"dtype":"F32","shape":[4],"data_offsets":[0,16,16]}')
    yield "133-dtype-q4", one('{"dtype":"Q4","shape":[4],"data_offsets":[0,16]}')
    yield "134-f4-odd", st(b'{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}', bytes(1))
    yield "136-nested-200-deep", st(b'{"a":' + b"[" * 200 + b"]" * 200 + b"}")
    yield "139-git-lfs-pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 538090408\n" % (b"0" * 64)


def bad_folders():
    link = "link"
    yield "137a-shard-outside", folder(files=shards(("../x.safetensors", "model-00002-of-00002.safetensors")))
    yield "137b-shard-absolute", folder(files=shards(("/dev/zero", "model-00002-of-00002.safetensors")))
    f = shards()
    f["model-00001-of-00002.safetensors"] = (link, "model-00002-of-00002.safetensors")
    yield "137c-shard-symlink", folder(files=f)
    f = shards()
    del f["model-00002-of-00002.safetensors"]
    yield "137d-shard-missing", folder(files=f)
    yield "138-tensor-in-two-shards", folder(files=shards(both=["model.layers.0.input_layernorm.weight"]))
    f = shards()
    f["model.safetensors.index.json"] = f["model.safetensors.index.json"].replace(b"mlp.up_proj", b"mlp.sideways_proj")
    yield "138b-index-without-tensor", folder(files=f)
    cfg = js(CONFIG)
    yield "163a-config-cut", folder(config=cfg[:60])
    yield "163b-config-not-utf8", folder(config=cfg.replace(b"llama", b"ll\xe9ma"))
    yield "164-config-key-twice", folder(config=cfg.replace(b"{", b'{"vocab_size": 5,', 1))
    yield "165-config-field-missing", folder(config=changed(CONFIG, num_hidden_layers="-"))
    yield "165b-config-missing", folder(config=None)
    yield "166a-hidden-size-0", folder(config=changed(CONFIG, hidden_size=0))
    yield "166b-heads-do-not-divide", folder(config=changed(CONFIG, num_attention_heads=3, head_dim="-"))
    yield "166c-size-is-text", folder(config=changed(CONFIG, hidden_size="8"))
    yield "166d-size-is-real", folder(config=changed(CONFIG, hidden_size=8.0))
    yield "166e-config-nested-200-deep", folder(config=b"[" * 200 + b"]" * 200)
    yield "167a-vocabulary-above-embedding", folder(tokenizer=changed(TOKENIZER, added_tokens=[{"id": 5, "content": "<|end|>"}]))
    yield "167b-embedding-other-vocabulary", folder(config=changed(CONFIG, vocab_size=6))
    yield "167c-tokenizer-cut", folder(tokenizer=js(TOKENIZER)[:100])
    yield "168-unknown-architecture", folder(config=changed(CONFIG, architectures=["Qwen2ForCausalLM"], model_type="qwen2"))
    yield "168b-already-quantised", folder(config=changed(CONFIG, quantization_config={"bits": 4}))
    yield "168c-tensor-of-no-architecture", folder(files={"model.safetensors": st({**st_entries()[0], "extra": {"dtype": "F32", "shape": [0], "data_offsets": [len(st_entries()[1])] * 2}}, st_entries()[1])})
    yield "168d-tensor-missing", folder(config=changed(CONFIG, tie_word_embeddings=False))
    yield "168e-dtype-not-imported", folder(files={"model.safetensors": st_model().replace(b'"F32"', b'"I32"')})


def bad_gguf():
    m = metadata
    yield "140-n-kv-2-63", gguf(n_kv=1 << 63)
    yield "141-n-tensors-2-60", gguf(n_tensors=1 << 60)
    yield "142-key-length-2-64-1", gguf(kvs=[p("Q", TOP) + b"x" * 16])
    yield "143-string-longer-than-rest", gguf(kvs=[text("general.name") + p("IQ", STR, 1 << 20)])
    yield "144-array-of-2-40-empty-strings", gguf(kvs=[text("x") + p("IIQ", ARR, STR, 1 << 40)])
    yield "145a-array-of-arrays", gguf(kvs=[text("x") + p("IIQ", ARR, ARR, 1) + p("IQ", U8, 1) + b"\0"])
    yield "145b-array-10000-deep", gguf(kvs=[text("x") + p("I", ARR) + p("IQ", ARR, 1) * 10000])
    yield "146-value-type-13", gguf(kvs=[text("x") + p("IQ", 13, 0)])
    yield "147-bool-2", gguf(kvs=m() + [kv("x", BOOL, 2)])
    yield "148a-key-not-utf8", gguf(kvs=m() + [kv(b"x\xff", U8, 0)])
    yield "148b-key-with-esc", gguf(kvs=m() + [kv(b"x\x1b[2J", U8, 0)])
    yield "148c-key-empty", gguf(kvs=m() + [kv("", U8, 0)])
    yield "148d-key-twice", gguf(kvs=m() + [kv("general.name", STR, "Other")])
    yield "149a-alignment-0", gguf(kvs=m(general__alignment=(U32, 0)))
    yield "149b-alignment-3", gguf(kvs=m(general__alignment=(U32, 3)))
    yield "149c-alignment-2-31", gguf(kvs=m(general__alignment=(U32, 1 << 31)))
    yield "149d-alignment-of-type-u64", gguf(kvs=m(general__alignment=(U64, 32)))
    yield "149e-alignment-twice", gguf(kvs=m(general__alignment=(U32, 32)) + [kv("general.alignment", U32, 64)])
    yield "150a-n-dims-5", gguf(edit=edit_one(dims=[8, 1, 1, 1, 1]))
    yield "150b-n-dims-2-32-1", gguf(edit=edit_one(dims=((1 << 32) - 1, [8])))
    yield "151-dims-product-wraps", gguf(edit=edit_one(dims=[1 << 32, 1 << 32]))
    yield "152-size-wraps-when-padded", gguf(edit=edit_one(dims=[(1 << 62) - 1]))
    yield "153-sum-of-sizes-wraps", gguf(edit=lambda i, n, d, k, o: (n, [1 << 24, 1 << 22], k, (i * (1 << 48)) & TOP))
    for c, kind in zip("abcdefg", (4, 5, 31, 32, 33, 9999, -1)):
        yield "154%s-type" % c, gguf(edit=edit_one(kind=kind))
    yield "154h-type-q2-k", gguf(edit=edit_one(kind=10))
    yield "155-row-not-whole-blocks", gguf(edit=edit_one(kind=8))
    yield "156a-offset-misaligned", gguf(edit=edit_one(off=33))
    yield "156b-offset-overlaps", gguf(edit=edit_one(off=0))
    yield "156c-offset-wraps", gguf(edit=edit_one(off=TOP - 31))
    yield "156d-offset-past-the-end", gguf(edit=edit_one(off=1 << 40))
    yield "156e-data-cut", gguf()[:-64]
    yield "157-padding-not-zero", gguf(kvs=m(general__alignment=(U32, 64)), align=64, pad=b"\1")
    yield "158-trailing-bytes", gguf(tail=b"x")
    yield "159-nul-in-tensor-name", gguf(edit=edit_one(name=b"blk.0.ffn_norm\0.weight"))
    yield "159b-tensor-twice", gguf(edit=edit_one(name="blk.0.attn_norm.weight"))
    yield "160a-version-1", gguf(version=1)
    yield "160b-version-4", gguf(version=4)
    yield "160c-version-3-big-endian", gguf(version=3 << 24)
    yield "161a-token-type-of-u8", gguf(kvs=m(tokenizer__ggml__token_type=(ARR, [1, 1, 1, 1, 3], U8)))
    yield "161b-scores-of-u8", gguf(kvs=m(tokenizer__ggml__scores=(ARR, [0] * 5, U8)))
    yield "161c-token-type-too-short", gguf(kvs=m(tokenizer__ggml__token_type=(ARR, [1, 1, 1, 1], I32)))
    yield "162a-block-count-0", gguf(kvs=m(llama__block_count=(U32, 0)))
    yield "162b-block-count-10-9", gguf(kvs=m(llama__block_count=(U32, 10 ** 9)))
    yield "162c-block-count-above-tensors", gguf(kvs=m(llama__block_count=(U32, 2)))
    yield "165c-key-missing", gguf(kvs=m(skip=["llama.embedding_length"]))
    yield "166f-rope-on-half-a-head", gguf(kvs=m(llama__rope__dimension_count=(U32, 2)))
    yield "166g-rope-scaling-yarn", gguf(kvs=m(llama__rope__scaling__type=(STR, "yarn")))
    yield "166h-rope-factors-no-llama3", gguf(rows=tensors() + [(None, "rope_freqs.weight", [H // 2])])
    yield "166i-string-as-number", gguf(kvs=m(llama__embedding_length=(STR, "8")))
    yield "167d-vocabulary-above-embedding", gguf(kvs=m(tokenizer__ggml__tokens=(ARR, list("abcdef"), STR), tokenizer__ggml__token_type=(ARR, [1] * 6, I32)))
    yield "167e-token-twice", gguf(kvs=m(tokenizer__ggml__tokens=(ARR, list("abcda"), STR)))
    yield "167f-token-not-utf8", gguf(kvs=m(tokenizer__ggml__tokens=(ARR, ["a", "b", "c", "d", b"\xff"], STR)))
    yield "167g-merge-without-space", gguf(kvs=m(tokenizer__ggml__merges=(ARR, ["ab"], STR)))
    yield "167h-tokenizer-sentencepiece", gguf(kvs=m(tokenizer__ggml__model=(STR, "llama")))
    yield "167i-tokenizer-pre-unknown", gguf(kvs=m(tokenizer__ggml__pre=(STR, "viking")))
    yield "168f-unknown-architecture", gguf(kvs=m(general__architecture=(STR, "mamba")))
    yield "168g-experts", gguf(kvs=m(llama__expert_count=(U32, 8)))


def write(path, content):
    if isinstance(content, dict):
        os.makedirs(path, exist_ok=True)
        for name, data in content.items():
            write(os.path.join(path, name), data)
    elif isinstance(content, tuple):
        os.symlink(content[1], path)
    else:
        with open(path, "wb") as f:
            f.write(content)


def main():
    root = sys.argv[1]
    for name in ("good", "bad"):
        os.makedirs(os.path.join(root, name))
    for name, content in good():
        write(os.path.join(root, "good", name), content)
    for name, content in bad_safetensors():
        write(os.path.join(root, "bad", name + ".safetensors"), content)
    for name, content in bad_folders():
        write(os.path.join(root, "bad", name), content)
    for name, content in bad_gguf():
        write(os.path.join(root, "bad", name + ".gguf"), content)


if __name__ == "__main__":
    main()
