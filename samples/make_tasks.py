#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes multiple-choice questions about the world and the sums of make_text.py, the same bytes for the same seed on every machine.

    make_tasks.py --seed 3003 > tasks/towns.jsonl

Each context is the start of a piece of text as make_text.py writes it; the choices are ways in which it could go on, of which one is true. Facts about towns
must be known by heart, the others can be worked out from the context.
"""
import argparse
import json
import sys

import make_text
from make_text import FRUIT, GOODS, LANDS, MONTHS, RIVERS, WORLD, a, cap, counted, listed, person


def question(d, task, i, context, right, wrong):
    """The right choice in a random place among three of the wrong ones."""
    choices = d.some([w for w in dict.fromkeys(wrong) if w != right], 3)
    label = d.below(4)
    choices.insert(label, right)
    return dict(id=f"{task}-{i}", task=task, context=context, choices=choices, label=label)


def start(t):
    size = "city" if t["people"] > 40000 else "town"
    return f"= {t['name']} =\n\n{t['name']} is a {size} in"


def land(d, t):
    return start(t), t["land"], LANDS


def river(d, t):
    return f"{start(t)} {t['land']}, on the river", t["river"] + ".", [r + "." for r in RIVERS]


def good(d, t):
    return f"{start(t)} {t['land']}, on the river {t['river']}.\n\n{t['name']} is known for its", t["good"][1] + ";", [g[1] + ";" for g in GOODS]


def fair(d, t):
    return (f"{start(t)} {t['land']}, on the river {t['river']}.\n\n{t['name']} is known for its {t['good'][1]}; every", t["month"] + " there is a fair",
            [m + " there is a fair" for m, _ in MONTHS])


def mayor(d, t):
    return (f"{start(t)} {t['land']}, on the river {t['river']}.\n\n{t['name']} is known for its {t['good'][1]}; every {t['month']} there is a fair where the best "
            f"{t['good'][0]} wins a prize. The mayor of {t['name']} is", t["mayor"] + ".", [w["mayor"] + "." for w in WORLD])


def change(d, t):
    """What is left of one kind after a purchase or a sale."""
    name, p = person(d)
    things = d.some(FRUIT, 2)
    have = [d.between(2, 9), d.between(2, 9)]
    context = f"= {name} at the market =\n\n{name} goes to the market with {listed([counted(h, x) for h, x in zip(have, things)])} in {p[2]} basket."
    i = d.below(2)
    wrong = [counted(n, things[i]) + "." for n in range(2, 15)]
    k = d.between(1, 6)
    context += f" {cap(p[0])} {d.any(['buys', 'finds', 'is given'])} {counted(k, things[i])} more, so now {p[0]} has"
    return context, counted(have[i] + k, things[i]) + ".", wrong


def price(d, t):
    """What one of the things of a shop was said to cost."""
    name, p = person(d)
    goods = d.some(GOODS, 3)
    cost = [d.between(2, 30) for _ in goods]
    rows = [f"{a(g[0])} costs {c} crowns" for g, c in zip(goods, cost)]
    i = d.below(3)
    context = (f"= The shop of {name} =\n\nIn the shop of {name}, {rows[0]}, {rows[1]}, and {rows[2]}.\n\n“How much are {counted(2, goods[i])}?” – "
               f"“{cap(counted(2, goods[i]))} at")
    return context, f"{cost[i]} crowns each", [f"{c} crowns each" for c in cost] + [f"{c} crowns each" for c in range(2, 31)]


KINDS = dict(land=(land, 15), river=(river, 15), good=(good, 15), fair=(fair, 15), mayor=(mayor, 15), change=(change, 15), price=(price, 10))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seed", type=int, required=True)
    o = p.parse_args()
    d = make_text.Draw(o.seed)
    for task, (make, n) in KINDS.items():
        towns = d.some(WORLD, n)
        for i, t in enumerate(towns):
            line = json.dumps(question(d, task, i + 1, *make(d, t)), ensure_ascii=False) + "\n"
            sys.stdout.buffer.write(line.encode())


if __name__ == "__main__":
    main()
