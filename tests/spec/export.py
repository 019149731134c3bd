#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads what tests/test_export leaves in a folder as other programs would: JSON by its schema (a validator of the words that the schema uses), CSV by python's reader against the JSON, SVG and HTML as XML."""
import csv
import json
import math
import os
import re
import sys
import xml.etree.ElementTree as xml

passed = failed = 0


def check(ok, what):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAIL spec/export:", what)


TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float), "integer": int}
WORDS = {"$schema", "title", "description", "$defs", "$ref", "type", "const", "enum", "required", "properties", "additionalProperties", "items", "minItems", "maxItems", "minimum", "maximum", "pattern"}


def is_type(x, name):
    return isinstance(x, TYPES[name]) and not (name in ("number", "integer") and isinstance(x, bool))


def same(x, y):
    return type(x) is type(y) and x == y


def validate(x, s, root, at):
    """Yields what x breaks of schema s."""
    if "$ref" in s:
        s = dict(root["$defs"][s["$ref"].rsplit("/", 1)[1]], **{k: v for k, v in s.items() if k != "$ref"})
    for word in set(s) - WORDS:
        yield "%s: the schema says %s, which this validator does not know" % (at, word)
    kinds = s.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(is_type(x, k) for k in kinds):
        yield "%s: %r is no %s" % (at, x, " or ".join(kinds))
        return
    if "const" in s and not same(x, s["const"]):
        yield "%s: %r is not %r" % (at, x, s["const"])
    if "enum" in s and not any(same(x, y) for y in s["enum"]):
        yield "%s: %r is none of %r" % (at, x, s["enum"])
    if is_type(x, "number"):
        if x < s.get("minimum", x) or x > s.get("maximum", x):
            yield "%s: %r is out of range" % (at, x)
    if isinstance(x, str) and "pattern" in s and not re.search(s["pattern"], x):
        yield "%s: %r does not match" % (at, x)
    if isinstance(x, list):
        if not s.get("minItems", 0) <= len(x) <= s.get("maxItems", len(x)):
            yield "%s: %d items" % (at, len(x))
        for i, y in enumerate(x):
            yield from validate(y, s.get("items", {}), root, "%s[%d]" % (at, i))
    if isinstance(x, dict):
        for k in s.get("required", []):
            if k not in x:
                yield "%s: %s is missing" % (at, k)
        for k, y in x.items():
            if k in s.get("properties", {}):
                yield from validate(y, s["properties"][k], root, at + "." + k)
            elif s.get("additionalProperties") is False:
                yield "%s: %s is not in the schema" % (at, k)
            elif isinstance(s.get("additionalProperties"), dict):
                yield from validate(y, s["additionalProperties"], root, at + "." + k)


def no_constants(text):
    raise ValueError("the JSON holds " + text)


def changed(x, keys, value):
    """A copy of x with one value changed, for the validator's own test."""
    y = json.loads(json.dumps(x))
    at = y
    for k in keys[:-1]:
        at = at[k]
    at[keys[-1]] = value
    return y


def self_test(x, schema):
    for keys, value in ((["major"], 2), (["major"], True), (["rows", 0, "before", "kurt"], "12"), (["rows", 0, "extra"], 1), (["sources"], []), (["sources", 0, "digest"], "00"), (["rows", 0, "tagged"], 1),
                        (["screen"], "screen"), (["rows", 0, "before", "tokens"], -1), (["rows", 0, "before", "not_finite"], {"kurt": "NaN"})):
        check(list(validate(changed(x, keys, value), schema, schema, "export")), "the validator takes %s = %r" % (keys, value))


def rows_of_csv(path, rows):
    with open(path, newline="", encoding="utf-8") as f:
        text = f.read()
    check(text.endswith("\r\n") and "\n" not in text.replace("\r\n", ""), path + ": lines do not end with CR LF")
    table = list(csv.reader(text.splitlines(True), strict=True))
    check(all(len(r) == len(table[0]) for r in table), path + ": rows of different lengths")
    if not rows:
        return
    check(len(table) == 1 + len(rows), path + ": another number of rows")
    for line, row in zip(table[1:], rows):
        got = dict(zip(table[0], line))
        check(got["name"] == row["name"] and got["of"] == row["of"], "%s: %s for %s" % (path, got["name"], row["name"]))
        for side in ("before", "after"):
            for k, v in (row[side] or {}).items():
                if k == "not_finite":
                    continue
                text = got["%s_%s" % (k, side)]
                check(text == "" if v is None else math.isclose(float(text), v, rel_tol=0, abs_tol=0), "%s: %s %s: %s is not %s" % (path, row["name"], k, text, v))


def main():
    folder, schema = sys.argv[1], json.load(open(sys.argv[2]))
    for n in range(1, 6):
        path = os.path.join(folder, "%d." % n)
        with open(path + "json", encoding="utf-8") as f:
            text = f.read()
        x = json.loads(text, parse_constant=no_constants)
        for fault in validate(x, schema, schema, "export"):
            check(False, path + "json: " + fault)
        check(list(x)[:3] == ["format", "major", "minor"], path + "json: first keys")
        if n == 1:
            self_test(x, schema)
        rows_of_csv(path + "csv", x["rows"] if n in (1, 4) else [])
        svg = xml.parse(path + "svg").getroot()
        check(svg.tag == "{http://www.w3.org/2000/svg}svg" and svg.get("viewBox"), path + "svg: no svg")
        check(not [e for e in svg.iter() if e.tag.endswith(("script", "image", "foreignObject"))], path + "svg: more than shapes and text")
        page = open(path + "html", encoding="utf-8").read()
        check(page.startswith("<!DOCTYPE html>\n"), path + "html: no doctype")
        html = xml.fromstring(page[len("<!DOCTYPE html>\n"):])
        tags = {e.tag.rsplit("}", 1)[-1] for e in html.iter()}
        check("svg" in tags and "table" in tags and not tags & {"script", "img", "link", "iframe", "object"}, path + "html: " + " ".join(sorted(tags)))
        check(not [a for e in html.iter() for a in e.attrib if a.startswith("on") or a in ("href", "src")], path + "html: an attribute that does something")
        body = "".join(html.itertext())
        check("<script>alert(1)</script>&amp;'`{{x}}" in body, path + "html: a name is not shown as it is")
        figures = [row[side]["max_rms"] for row in x["rows"] for side in ("before", "after") if row[side] and row[side]["max_rms"] is not None]
        check(all(("%.1f" % v) in body for v in figures), path + "html: a number of the JSON is not in the page")
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return failed > 0


sys.exit(main())
