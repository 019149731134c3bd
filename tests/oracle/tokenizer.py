# SPDX-License-Identifier: Apache-2.0
# Ids of the C tokenizer (test_tokenizer ids) against the `tokenizers` package and against llama.cpp's stored ids, for several tokenizer.json forms.
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata

import numpy as np
from tokenizers import Tokenizer

BUILD = sys.argv[1]
SHARED = os.environ.get("RS_SHARED", "")
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
passed = failed = skipped = 0


def check(ok, what):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAIL tokenizer:", what)


def byte_level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False, literal=False):
    return {"type": "Split", "pattern": {"String" if literal else "Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def added(i, content, special, normalized=False):
    return {"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": normalized, "special": special}


def from_gguf(path):
    """vocabulary, merges and special tokens of a GGUF file"""
    import gguf
    fields = gguf.GGUFReader(path).fields
    tokens, types, merges = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "token_type", "merges"))
    return {t: i for i, t in enumerate(tokens)}, merges, [added(i, t, True) for i, (t, k) in enumerate(zip(tokens, types)) if k == 3]


def trained(texts):
    """a small vocabulary with all 256 bytes, for machines without the model"""
    from tokenizers import models, pre_tokenizers, trainers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=3000, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    m = json.loads(t.to_str())["model"]
    return m["vocab"], m["merges"], [added(len(m["vocab"]), "<|end|>", True)]


def document(vocab, merges, tokens, pre, ignore_merges=False, normalizer=None):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": normalizer, "pre_tokenizer": pre, "post_processor": None,
            "decoder": byte_level(), "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                                               "fuse_unk": False, "byte_fallback": False, "ignore_merges": ignore_merges, "vocab": vocab, "merges": merges}}


def random_text(r, tokens):
    """one text: a mixture of what makes words begin and end"""
    assigned = lambda lo, hi: next(c for c in iter(lambda: chr(r.randrange(lo, hi)), None) if unicodedata.category(c) not in ("Cs", "Cn"))
    pieces = [
        lambda: r.choice(["the", "Hello", "I'm", "we'll", "they've", "you're", "it's", "'S", "'LL", "don't", "can'T", "x'", "''", "'tis", "foo_bar", "HTTPServer", "naïve", "café"]),
        lambda: " " * r.choice([1, 1, 1, 2, 3, 17]), lambda: "\n" * r.choice([1, 1, 2, 5]), lambda: r.choice(["\t", "\r\n", " \n", "\n ", "\v", "\f", "\u00a0", "\u3000", "\u2009", "\u0085", "\u180e", "\u200b", "\u2028", "\x1c", "\x00", "\x7f"]),
        lambda: str(r.randrange(10 ** r.randrange(1, 9))), lambda: r.choice(["٣", "½", "Ⅷ", "二", "𝟘", "۱۲"]), lambda: r.choice(["!", "...", "->", "==", "/*", "*/", "{", "};", "\\n", "'", "\"", "<", "<|", "|>", "<unk>", "$", "#"]),
        lambda: "".join(assigned(0x4E00, 0x9FA0) for _ in range(r.randrange(1, 12))), lambda: "".join(assigned(0x3041, 0x3097) for _ in range(r.randrange(1, 6))),
        lambda: "".join(chr(r.randrange(0x410, 0x450)) for _ in range(r.randrange(1, 9))), lambda: "".join(assigned(0x20, 0x2FFF) for _ in range(r.randrange(1, 4))), lambda: assigned(0x3000, 0x20000),
        lambda: r.choice(["😀", "👩\u200d👩\u200d👧", "🇩🇪", "👍🏽", "❤\ufe0f"]), lambda: r.choice(tokens), lambda: r.choice(["e\u0301", "क्षि", "ไทย", "العربية", "한국어"]),
        lambda: "if (x[i] != NULL) {\n\t\treturn foo->bar(1, 2.5);\n}\n",
    ]
    return "".join(r.choice(pieces)() for _ in range(r.randrange(1, 60)))


def run_c(path, jobs):
    data = b"".join(struct.pack("<III", len(b), special, threads) + b for b, special, threads in jobs)
    out = subprocess.run([BUILD + "/tests/test_tokenizer", "ids", path], input=data, stdout=subprocess.PIPE, check=True).stdout
    results, at = [], 0
    for _ in jobs:
        status, n = struct.unpack_from("<II", out, at)
        results.append((status, np.frombuffer(out, "<i4", n, at + 8)))
        at += 8 + 4 * n
    return results


def compare(name, doc, texts, folder):
    path = os.path.join(folder, "tokenizer.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(doc, f, ensure_ascii=False)
    theirs = Tokenizer.from_file(path)
    for special in (True, False):
        theirs.encode_special_tokens = not special
        want = [e.ids for e in theirs.encode_batch(texts, add_special_tokens=False)]
        got = run_c(path, [(t.encode(), special, 1 + i % 3) for i, t in enumerate(texts)])
        bad = [i for i, (w, (s, g)) in enumerate(zip(want, got)) if s != 0 or not np.array_equal(w, g)]
        check(not bad, "%s, special %s: %d of %d texts differ, the shortest: %r" % (name, special, len(bad), len(texts), min((texts[i] for i in bad), key=len, default="")[:300]))
        if bad and os.environ.get("RS_VERBOSE"):
            i = min(bad, key=lambda k: len(texts[k]))
            print(got[i][0], theirs.pre_tokenizer.pre_tokenize_str(texts[i]), want[i], got[i][1])


r = random.Random(20260725)
words = ["The quick brown fox, it's 1234 and they'll be there.\n\n  def f(x):\n\treturn x + 1\n", "Привет мир, 日本語のテキスト, naïve café 😀"]
model = os.path.join(SHARED, "data", "SmolLM2-135M-Instruct.Q4_1.gguf")
have_model = SHARED != "" and os.path.exists(model)
vocab, merges, specials = from_gguf(model) if have_model else trained(words * 50)
if not have_model:
    skipped += 1
    print("SKIP tokenizer: no model in RS_SHARED, a small trained vocabulary stands in")
top = max(max(vocab.values()), max(t["id"] for t in specials)) + 1
extra = specials + [added(top, "<|im_start|>user", True), added(top + 1, "foo_bar", False, True), added(top + 2, "  ", False, True), added(top + 3, "    ", False, True),
                    added(top + 4, "foo_", False, False), added(top + 5, "é<", True, False), added(top + 6, "barbaz", True, True)]
names = [t["content"] for t in extra]
texts = [random_text(r, names) for _ in range(250)]
texts += ["", " ", "\n", "'", "a", " " * 5000 + "x", "\n" * 5000, " \n" * 2000 + "é", "a" * 3000, "ab " * 6000, "1" * 3000, "日本" * 1500, "'s" * 1000, "<" * 300, "<|im_start|>" * 50, "<|im_start", "é" * 41, "\u3000" * 100 + "a"]
texts += ["".join(random_text(r, names) + " and so it " for _ in range(60)) for _ in range(3)]
GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
digits = lambda individual: {"type": "Digits", "individual_digits": individual}
forms = {
    "GPT-2": byte_level(), "GPT-2, prefix space": byte_level(True), "SmolLM": sequence(digits(True), byte_level()), "digits together": sequence(digits(False), byte_level(True)),
    "Llama 3": sequence(split(LLAMA3), byte_level(False, False)), "Qwen 2": sequence(split(QWEN2), byte_level(False, False)), "o200k": sequence(split(O200K), byte_level(False, False)),
    "GPT-2 as a Split": sequence(split(GPT2), byte_level(False, False)), "no regex": byte_level(False, False),
    "DeepSeek": sequence(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), byte_level(False, False)),
    "inverted": sequence(split(r"[\p{L}\s]+", "Removed", True), byte_level()),
    "literal": sequence(split("x", "MergedWithNext", False, True), byte_level(True)),
    "scripts": sequence(split(r"\p{Han}+|\p{^Cyrillic}\s?", "Isolated"), byte_level()),
}
for b in ("Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"):
    for invert in (False, True):
        forms["%s, invert %s" % (b, invert)] = sequence(split(r"[\s'\p{N}]", b, invert), split("a", b, invert, True), byte_level(False))
with tempfile.TemporaryDirectory() as folder:
    for name, pre in forms.items():
        compare(name, document(vocab, merges, specials if name == "SmolLM" else extra, pre), texts, folder)
    pairs = [m.split(" ") if isinstance(m, str) else m for m in merges]
    compare("merges as pairs, ignore_merges", document(vocab, pairs, extra, forms["Llama 3"], True), texts, folder)
    compare("NFC", document(vocab, merges, specials, forms["SmolLM"], False, {"type": "NFC"}), [t for t in texts if max(t, default=" ") < "\u0300"], folder)
    chars = [chr(c) for c in range(0x2F0, 0x30000) if unicodedata.category(chr(c)) not in ("Cs", "Cn", "Co") and not 0x3400 < c < 0x9FFF and not 0xAC01 < c < 0xD7A0 and not 0x20000 < c < 0x2F7FF]
    marks = [c for c in chars if unicodedata.combining(c) or unicodedata.category(c)[0] == "M"]
    chars = ["a" + c for c in chars] + ["".join(r.choice(marks) if r.random() < 0.7 else r.choice(chars) for _ in range(3)) for _ in range(20000)]
    passes = [status == 0 for status, _ in run_c(os.path.join(folder, "tokenizer.json"), [(c.encode(), 0, 1) for c in chars])]
    changes = [unicodedata.normalize("NFC", c) != c for c in chars]
    check(not any(p and c for p, c in zip(passes, changes)), "NFC: a text that would change passes")
    refused = sum(not p and not c for p, c in zip(passes, changes)) / sum(not c for c in changes)
    check(refused < 0.2, "NFC: %.0f %% of the texts that would not change are refused" % (100 * refused))
    path = os.path.join(folder, "wiki.json")
    if have_model:
        with open(path, "w", encoding="utf-8") as f:
            json.dump(document(vocab, merges, specials, forms["SmolLM"]), f, ensure_ascii=False)
        for name in ("wiki.test.raw", "wiki.valid.txt"):
            want = np.load(os.path.join(SHARED, "reference", "ids", name + ".npy"))
            text = open(os.path.join(SHARED, "data", name), "rb").read()
            theirs = Tokenizer.from_file(path).encode(text.decode(), add_special_tokens=False).ids
            check(np.array_equal(want, theirs), name + ": the tokenizers package differs from llama.cpp")
            for special in (0, 1):
                for threads, (status, ids) in zip((1, 2, 3, 7), run_c(path, [(text, special, n) for n in (1, 2, 3, 7)])):
                    check(status == 0 and np.array_equal(want, ids), "%s: ids differ from llama.cpp's, special %d, %d threads" % (name, special, threads))
    else:
        skipped += 1
        print("SKIP tokenizer: llama.cpp's ids are not there")
print("%d passed, %d failed, %d skipped" % (passed, failed, skipped))
sys.exit(failed != 0)
