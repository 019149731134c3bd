# SPDX-License-Identifier: Apache-2.0
"""Multiple-choice scores of rs-eval against transformers (arguments: samples folder, a scratch folder): every choice's log-likelihood, tokens and cut as
lm-evaluation-harness 0.4 makes them, computed one request at a time."""
import json
import math
import os
import subprocess
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

samples, tmp = sys.argv[1:]
torch.set_num_threads(1)  # more is slower for sequences as short as these
model = AutoModelForCausalLM.from_pretrained(f"{samples}/model", dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(f"{samples}/model")
passed = failed = 0


def check(ok, what):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print(f"FAIL oracle/tasks: {what}")


def encode(text, bos=False):
    ids = tokenizer.encode(text, add_special_tokens=False)
    return [tokenizer.bos_token_id] + ids if bos and not text.startswith(tokenizer.bos_token) else ids


def pair(context, continuation, bos):
    if context == "":
        ids, prefix = encode(continuation), tokenizer.bos_token_id
        return ([prefix], ids) if ids[0] != prefix else (ids[:1], ids[1:])
    spaces = len(context) - len(context.rstrip())
    if spaces:
        continuation, context = context[-spaces:] + continuation, context[:-spaces]
    start = encode(context, bos)
    return start, encode(context + continuation, bos)[len(start):]


@torch.no_grad()
def likelihood(context, continuation, ctx, bos):
    start, ids = pair(context, continuation, bos)
    inputs = (start + ids)[-(ctx + 1):][:-1]
    logits = torch.log_softmax(model(input_ids=torch.tensor([inputs])).logits[0].double(), -1)[-len(ids):]
    return logits[torch.arange(len(ids)), torch.tensor(ids)].sum().item(), len(start) + len(ids) > ctx + 1


def mean_stderr(x):
    mean = sum(x) / len(x)
    return mean, math.sqrt(sum((v - mean) ** 2 for v in x) / (len(x) - 1)) / math.sqrt(len(x))


def case(name, questions, ctx=1024, delimiter=" ", bos=False, more=()):
    path, scores_path = os.path.join(tmp, "q.jsonl"), os.path.join(tmp, "scores.jsonl")
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(json.dumps(q, ensure_ascii=False) + "\n" for q in questions)
    run = subprocess.run(["rs-eval", os.path.join(tmp, "model.rsq"), "--tasks", path, "--json", "--scores", scores_path, "--ctx", str(ctx), "--delimiter", delimiter, *["--bos"] * bos, *more],
                         capture_output=True, text=True)
    check(run.returncode == 0, f"{name}: exit status {run.returncode} {run.stderr[-300:]}")
    if run.returncode:
        return
    result = json.loads(run.stdout)
    got = [json.loads(line) for line in open(scores_path, encoding="utf-8")]
    check(len(got) == len(questions), f"{name}: {len(got)} lines of scores")
    right, right_norm, cut = [], [], 0
    for q, g in zip(questions, got):
        want = [likelihood(q["context"], delimiter + c, ctx, bos) for c in q["choices"]]
        cut += sum(w[1] for w in want)
        off = max(abs(w[0] - s) for w, s in zip(want, g["scores"]))
        check(len(want) == len(g["scores"]) and off < 2e-4, f"{name}: line {g['line']}: scores {g['scores']}, expected {[w[0] for w in want]}")
        best = max(range(len(want)), key=lambda i: want[i][0])
        best_norm = max(range(len(want)), key=lambda i: want[i][0] / len(q["choices"][i]))
        check((g["best"], g["best_norm"], g["label"], g.get("id"), g.get("task")) == (best, best_norm, q["label"], q.get("id"), q.get("task")), f"{name}: line {g['line']}: {g}")
        right.append(best == q["label"])
        right_norm.append(best_norm == q["label"])
    for key, x in (("acc", right), ("acc_norm", right_norm)):
        p, error = mean_stderr(x)
        check(abs(result[key] - p) < 1e-8 and abs(result[key + "_stderr"] - error) < 1e-8, f"{name}: {key} {result[key]} +- {result[key + '_stderr']}, expected {p} +- {error}")
        for task in result["tasks"]:
            of = [v for v, q in zip(x, questions) if q.get("task") == task]
            check(abs(result["tasks"][task][key] - sum(of) / len(of)) < 1e-8 and result["tasks"][task]["n"] == len(of), f"{name}: {task}: {key}")
    check((result["n"], result["cut"]) == (len(questions), cut), f"{name}: n {result['n']}, cut {result['cut']}, expected {cut}")


subprocess.run(["rs-import", "-q", f"{samples}/model", "-o", os.path.join(tmp, "model.rsq")], check=True)
towns = [json.loads(line) for line in open(f"{samples}/tasks/towns.jsonl", encoding="utf-8")]
end = tokenizer.bos_token
odd = [dict(context=c, choices=["the river", "a boat of Łucja", "x", "“No,” said Zoë.\n", "  two"], label=i % 5) for i, c in enumerate([
    "The town lies on ", "The town lies on  \n\t", "The town lies on\u00a0\u2003", "The mayor of Ystra is Emil Sør", "", f"{end}The river", f"The end.{end}", "In the morning 12", "= Varde =\n\n"])]
case("towns", towns[::5])
case("odd contexts", odd)
case("odd contexts with BOS and no delimiter", odd, bos=True, delimiter="")
case("the prefix token as the start of a choice", [dict(context="", choices=[f"{end}The river", "The river"], label=0)] * 2, delimiter="")
case("one token a choice", [dict(context=q["context"], choices=list("ABCDE"), label=1) for q in towns[:3]])
case("cut", towns[4::20], ctx=24)
case("cut, with BOS and little memory", towns[9::20], ctx=19, bos=True, more=["--mem", "1"])
print(f"{passed} passed, {failed} failed, 0 skipped")
sys.exit(failed != 0)
