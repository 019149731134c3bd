#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes English-like text from a small grammar, the same bytes for the same seed on every machine.

    make_text.py --seed 1001 --bytes 200000 > text/calib.txt
    make_text.py --seed 2002 --bytes 180000 > text/eval.txt

The world (which river passes which town, what is made there, who lives where) is one for all seeds, so it can be learned by
heart; what happens in each piece is drawn anew, but agrees with itself over many lines: names, pronouns, counts, colours, sums.
"""
import argparse
import sys


class Draw:
    """splitmix64: a generator of its own, so that no change in a library can change the text."""

    def __init__(self, seed):
        self.state = seed & 0xFFFFFFFFFFFFFFFF

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        return z ^ (z >> 31)

    def below(self, n):
        return (self.next() >> 11) % n

    def between(self, low, high):
        return low + self.below(high - low + 1)

    def one(self, items):
        """Earlier items come more often, as words do."""
        n = len(items)
        return items[min(self.below(n), self.below(n))]

    def any(self, items):
        return items[self.below(len(items))]

    def some(self, items, k):
        pool, out = list(items), []
        for _ in range(k):
            out.append(pool.pop(self.below(len(pool))))
        return out


# ---------------------------------------------------------------- words
WOMEN = "Anna Zoë Marta Elin Sofía Irène Łucja Hanna Noémi Brigid Tuuli Åsa Clara Renée Odile Vesna Ingrid Célia Maren Jūlija".split()
MEN = "Tomas Jürgen Emil Søren Pavel André Łukasz Henrik Óscar Niall Veikko Björn Felix René Anton Zoltán Magnus Tiago Ruben Jānis".split()
SURNAMES = "Lindqvist Moreau Kovač Almeida Brandt Sørlie Nowak Ferrer Halloran Virtanen Åkesson Petit Novák Duarte Weiß Lehtonen".split()
TOWNS = ("Brännvik Osmé Tarnow Célimont Varde Hollin São\u00a0Telmo Kestrel\u00a0Bay Źródlin Mörkö Ardenne Lisse Quillan Porto\u00a0Sella Ystra "
         "Dunmore Velká Ornes Sainte-Aude Tammela Grünfeld Eskil Malá\u00a0Hora Fjordby").split(" ")
TOWNS = [t.replace("\u00a0", " ") for t in TOWNS]
RIVERS = "Vell Arno Sauve Myrå Tisa Orle Løne Dubra Éze Kemi".split()
LANDS = ["Norland", "the Lower Isles", "Östermark", "Valdria", "Haute-Rive"]
GOODS = [("lantern", "lanterns"), ("kettle", "kettles"), ("clock", "clocks"), ("basket", "baskets"), ("violin", "violins"), ("knife", "knives"),
         ("candle", "candles"), ("boat", "boats"), ("blanket", "blankets"), ("bell", "bells"), ("box", "boxes"), ("mirror", "mirrors")]
FRUIT = [("apple", "apples"), ("pear", "pears"), ("egg", "eggs"), ("loaf", "loaves"), ("plum", "plums"), ("onion", "onions"), ("fish", "fish"),
         ("cherry", "cherries"), ("lemon", "lemons"), ("turnip", "turnips")]
COLOURS = "red blue green white black yellow grey brown silver purple".split()
SIZES = "small large old new heavy narrow broken round".split()
TRADES = [("baker", "bread"), ("fisher", "nets"), ("teacher", "chalk"), ("miller", "flour"), ("doctor", "medicine"), ("carpenter", "planks"),
          ("weaver", "wool"), ("gardener", "seeds"), ("printer", "paper"), ("smith", "iron")]
ANIMALS = [("dog", "dogs", "barked"), ("cat", "cats", "purred"), ("horse", "horses", "neighed"), ("crow", "crows", "cawed"), ("goat", "goats", "bleated"),
           ("owl", "owls", "hooted")]
PLACES = ["the harbour", "the market", "the old mill", "the bridge", "the station", "the church", "the forest", "the café", "the library", "the lighthouse"]
HIDING = ["under the stairs", "behind the stove", "in a drawer", "on the roof", "beneath a stone", "inside the piano", "next to the well", "in the attic"]
WEATHER = [("rain", "the streets were wet", "umbrella"), ("snow", "the roofs were white", "coat"), ("fog", "nobody could see the hills", "lamp"),
           ("sun", "the air was warm", "hat"), ("wind", "the leaves flew about", "scarf")]
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = [("January", 31), ("February", 28), ("March", 31), ("April", 30), ("May", 31), ("June", 30), ("July", 31), ("August", 31),
          ("September", 30), ("October", 31), ("November", 30), ("December", 31)]
NUMBERS = ("no one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen "
           "nineteen twenty").split()
HE, SHE = ("he", "him", "his"), ("she", "her", "her")


def word(n):
    return NUMBERS[n] if n < len(NUMBERS) else str(n)


def counted(n, noun):
    return f"{word(n)} {noun[0] if n == 1 else noun[1]}"


def a(phrase):
    return ("an " if phrase[0].lower() in "aeiouéö" else "a ") + phrase


def cap(s):
    return s[0].upper() + s[1:]


def listed(items):
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def make_world():
    d, world = Draw(7), []
    for name in TOWNS:
        world.append(dict(name=name, river=d.any(RIVERS), land=d.any(LANDS), people=d.between(12, 940) * 100, founded=d.between(980, 1890),
                          good=d.any(GOODS), mayor=f"{d.any(WOMEN + MEN)} {d.any(SURNAMES)}", month=d.any(MONTHS)[0], height=d.between(3, 1400)))
    return world


WORLD = make_world()


def person(d, apart=()):
    while True:
        woman = d.below(2) == 0
        name = d.one(WOMEN if woman else MEN)
        if name not in apart:
            return name, SHE if woman else HE


# ---------------------------------------------------------------- pieces: each returns (title, paragraphs)
def town_report(d):
    t = d.one(WORLD)
    n, near = t["name"], d.any([w for w in WORLD if w is not t])
    size = "city" if t["people"] > 40000 else "town"
    first = [f"{n} is a {size} in {t['land']}, on the river {t['river']}.", f"It lies {t['height']} metres above the sea and was founded in {t['founded']}."]
    if d.below(2):
        first.append(f"About {t['people']:,} people live there.")
    second = [f"{n} is known for its {t['good'][1]}; every {t['month']} there is a fair where the best {t['good'][0]} wins a prize.",
              f"The mayor of {n} is {t['mayor']}."]
    km = d.between(4, 90)
    third = [f"The road from {n} to {near['name']} is {km} kilometres long.",
             f"{near['name']}, on the {near['river']}, is {'larger' if near['people'] > t['people'] else 'smaller'} than {n}.",
             f"Whoever walks from {n} to {near['name']} and back has gone {2 * km} kilometres."]
    if d.below(2):
        second.append(f"In the {size} hall of {n} hangs a picture of the river {t['river']}.")
    return n, [" ".join(first), " ".join(second), " ".join(third)][:d.between(2, 3)]


def sums(d):
    name, p = person(d)
    things = d.some(FRUIT, d.between(2, 3))
    have, lines = [], []
    start = []
    for t in things:
        have.append(d.between(2, 9))
        start.append(counted(have[-1], t))
    lines.append(f"{name} goes to the market with {listed(start)} in {p[2]} basket.")
    for _ in range(d.between(2, 5)):
        i = d.below(len(things))
        if d.below(2) or have[i] < 2:
            k = d.between(1, 6)
            have[i] += k
            lines.append(f"{cap(p[0])} {d.any(['buys', 'finds', 'is given'])} {counted(k, things[i])} more, so now {p[0]} has {counted(have[i], things[i])}.")
        else:
            k = d.between(1, have[i] - 1)
            have[i] -= k
            lines.append(f"{cap(p[0])} {d.any(['sells', 'loses', 'gives away'])} {counted(k, things[i])}, so {counted(have[i], things[i])} "
                         f"{'is' if have[i] == 1 else 'are'} left.")
    lines.append(f"In the evening {name} counts: {listed([counted(h, t) for h, t in zip(have, things)])}. That makes {word(sum(have))} things in all.")
    return f"{name} at the market", [" ".join(lines)]


def prices(d):
    name, p = person(d)
    goods = d.some(GOODS, 3)
    cost = [d.between(2, 30) for _ in goods]
    rows = [f"{a(g[0])} costs {c} crowns" for g, c in zip(goods, cost)]
    i, j = d.some(range(3), 2)
    k = d.between(2, 5)
    return f"The shop of {name}", [
        f"In the shop of {name}, {rows[0]}, {rows[1]}, and {rows[2]}.",
        f"“How much are {counted(k, goods[i])}?” – “{cap(counted(k, goods[i]))} at {cost[i]} crowns each: that is {k * cost[i]} crowns.”",
        f"“And {a(goods[i][0])} together with {a(goods[j][0])}?” – “{cost[i]} and {cost[j]}, so {cost[i] + cost[j]} crowns,” said {name}. "
        f"“The {goods[cost.index(max(cost))][0]} is the dearest thing {p[0]} has,” said the neighbour."]


def journey(d):
    name, p = person(d)
    friend, q = person(d, (name,))
    home, goal = d.some(WORLD, 2)
    trade = d.one(TRADES)
    colour, size, thing = d.one(COLOURS), d.one(SIZES), d.one(GOODS)
    obj = f"{size} {colour} {thing[0]}"
    weather = d.one(WEATHER)
    animal = d.one(ANIMALS)
    hide = d.any(HIDING)
    one = [f"{name} was {a(trade[0])} in {home['name']}, on the river {home['river']}. One morning {name} noticed that {p[2]} {obj} was gone."]
    if d.below(2):
        one.append(f"{cap(p[0])} had bought it in {goal['name']}, where the best {goal['good'][1]} are made.")
    one.append(f"“Without my {thing[0]},” {p[0]} said, “I cannot sell any {trade[1]}.”")
    two = [f"So {name} put on {p[2]} {weather[2]}, for there was {weather[0]} and {weather[1]}, and went to {d.any(PLACES)}.",
           f"There {p[0]} met {friend}, who lived in {goal['name']} and had {a(animal[0])} with {q[1]}.",
           f"“Have you seen {a(obj)}?” asked {name}.", d.any([f"{friend} shook {q[2]} head, but the {animal[0]} {animal[2]}.",
                                                              f"“Perhaps,” said {friend}, and the {animal[0]} {animal[2]}."])]
    three = [f"They walked together to {goal['name']}, over the {goal['river']}, and the {animal[0]} ran ahead.",
             f"At last they found the {obj} {hide}.",
             d.any([f"“Here is your {thing[0]}, {name}!” cried {friend}.", f"{name} thanked {friend}, took {p[2]} {thing[0]} and went home to {home['name']}.",
                    f"“How did my {thing[0]} come to be {hide}?” asked {name}, but nobody knew except the {animal[0]}."])]
    if d.below(2):
        three.append(f"Since that day {friend} gets {q[2]} {trade[1]} from {name} for nothing, and the {animal[0]} gets a bone.")
    return f"The {obj}", [" ".join(one), " ".join(two), " ".join(three)]


def diary(d):
    name, p = person(d)
    m, day, wd = d.below(12), d.between(1, 26), d.below(7)
    town = d.one(WORLD)
    noun = d.one(FRUIT)
    stock = d.between(3, 8)
    out = []
    for i in range(d.between(3, 6)):
        w = d.one(WEATHER)
        if day > MONTHS[m][1]:
            day, m = 1, (m + 1) % 12
        text = f"{DAYS[wd]}, {day} {MONTHS[m][0]}. "
        text += d.any([f"Today there was {w[0]}; {w[1]}. ", f"{cap(w[0])} again, and {w[1]}. ", f"I took my {w[2]}, because of the {w[0]}. "])
        k = d.between(1, 4)
        if stock > k and d.below(2):
            stock -= k
            text += f"We ate {counted(k, noun)}: {word(stock)} left."
        else:
            stock += k
            text += f"I brought home {counted(k, noun)}: {word(stock)} now."
        if d.below(3) == 0:
            text += f" {d.any(['A letter came', 'The boat came', 'A visitor came'])} from {d.one(TOWNS)}."
        out.append(text)
        day, wd = day + 1, (wd + 1) % 7
    return f"The diary of {name} in {town['name']}", out


def letter(d):
    name, p = person(d)
    friend, q = person(d, (name,))
    town = d.one(WORLD)
    thing, colour = d.one(GOODS), d.one(COLOURS)
    m = d.below(12)
    n = d.between(2, 12)
    body = [f"Dear {friend},", f"I am writing from {town['name']}, where the {town['river']} is {d.any(['high', 'low', 'frozen', 'calm'])} this {MONTHS[m][0]}. "
            f"Thank you for the {colour} {thing[0]}. I have put it next to the other {counted(n, thing)}, so that there are {word(n + 1)} of them now."]
    body.append(d.any([f"{town['mayor']}, our mayor, says that no {thing[0]} in {town['land']} is as {colour} as yours.",
                       f"My neighbour would like {a(colour + ' ' + thing[0])} too. Could you send one more in {MONTHS[(m + 1) % 12][0]}?",
                       f"The fair is in {town['month']}, as every year. Will you come to {town['name']}, {friend}?"]))
    body += ["With love,", name]
    return f"From {name} to {friend}", body


def family(d):
    s = d.one(SURNAMES)
    names = []
    for _ in range(5):
        names.append(person(d, [n for n, _ in names]))
    (mother, _), kids = names[0], names[1:1 + d.between(2, 4)]
    head = "mother" if names[0][1] is SHE else "father"
    ages = sorted({d.between(3, 30) for _ in range(9)}, reverse=True)[:len(kids)]
    one = f"{mother} {s} is the {head} of {listed([k for k, _ in kids])}. "
    one += " ".join(f"{k} is {mother}’s {'daughter' if p is SHE else 'son'} and {age} years old." for (k, p), age in zip(kids, ages))
    old, young = kids[0], kids[-1]
    two = f"{old[0]} {s} is the eldest; {young[0]} is {ages[0] - ages[-1]} years younger than {young[1][2]} {'brother' if old[1] is HE else 'sister'}."
    animal, colour = d.one(ANIMALS), d.one(COLOURS)
    two += f" The {s} family has {a(colour + ' ' + animal[0])}. It belongs to {young[0]}, who calls {young[1][2]} {animal[0]} {cap(colour)}."
    return f"The {s} family", [one, two]


def recipe(d):
    things = d.some(FRUIT, 3)
    n = [d.between(1, 6) for _ in things]
    minutes = d.between(2, 12) * 5
    who, p = person(d)
    one = f"For this soup one needs {listed([counted(k, t) for k, t in zip(n, things)])}."
    verbs = d.some(["Wash", "Peel", "Cut", "Boil", "Salt", "Stir in"], 3)
    two = " ".join(f"{i + 1}. {v} the {t[0] if k == 1 else t[1]}." for i, (v, k, t) in enumerate(zip(verbs, n, things)))
    two += f" 4. Wait {minutes} minutes, not longer; after {minutes + 5} minutes it is spoilt."
    three = f"{who} makes it for twice as many guests: {p[0]} takes {listed([counted(2 * k, t) for k, t in zip(n, things)])}."
    return f"{who}’s soup", [one, two, three]


def inventory(d):
    t = d.one(WORLD)
    colours = d.some(COLOURS, 3)
    n = [d.between(1, 9) for _ in colours]
    noun = d.one(GOODS)
    rows = listed([f"{word(k)} {c} {noun[0] if k == 1 else noun[1]}" for k, c in zip(n, colours)])
    one = f"In a house by {d.any(PLACES)} of {t['name']} {'stands' if n[0] == 1 else 'stand'} {rows}."
    i = d.below(3)
    big = n.index(max(n))
    two = [f"How many are {colours[i]}? {cap(word(n[i]))}.", f"The {colours[big]} {'one is' if n[big] == 1 else 'ones are'} the most.",
           f"The {noun[1] if n[i] > 1 else noun[0]} that {'are' if n[i] > 1 else 'is'} {colours[i]}, like everything made in {t['name']} before {t['founded'] + 100}, "
           f"{'come' if n[i] > 1 else 'comes'} from {t['land']}.", f"All together there are {word(sum(n))}."]
    return f"A house in {t['name']}", [one, " ".join(d.some(two, d.between(2, 4)))]


def quarrel(d):
    (x, p), place = person(d), d.any(PLACES)
    y, q = person(d, (x,))
    thing, c1, c2 = d.one(GOODS), *d.some(COLOURS, 2)
    town = d.one(WORLD)
    lines = [f"“The {thing[0]} was {c1},” said {x}.", f"“No, {x}, it was {c2},” said {y}.",
             f"“I saw it with my own eyes near {place}: {c1}!” {x} cried, and {p[0]} stamped {p[2]} foot.",
             f"“{cap(c2)},” {y} said again, and {q[0]} folded {q[2]} arms.",
             f"Then they went to {place} together, and the {thing[0]} was {d.any([c1, c2, 'both: ' + c1 + ' above and ' + c2 + ' below'])}."]
    tail = f"Thus end all quarrels in {town['name']}, as {town['mayor']} likes to say."
    return f"{x} and {y}", lines + ([tail] if d.below(2) else [])


PIECES = [town_report, sums, prices, journey, journey, diary, letter, family, recipe, inventory, quarrel]


def piece(d):
    title, paragraphs = d.any(PIECES)(d)
    return f"= {title} =\n\n" + "\n\n".join(paragraphs) + "\n\n"


def text(seed, size):
    """Whole pieces, until at least size bytes are there."""
    d, out, n = Draw(seed), [], 0
    while n < size:
        out.append(piece(d))
        n += len(out[-1].encode())
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--bytes", type=int, required=True)
    o = p.parse_args()
    sys.stdout.buffer.write("".join(text(o.seed, o.bytes)).encode())


if __name__ == "__main__":
    main()
