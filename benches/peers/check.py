#!/usr/bin/env python3
"""Whether a peer's lists are right, from scratch, by other means.

Counts baskets and pairs with dictionaries, ranks by c²/n(b) with whole numbers, and compares rank by rank: the value
(c², n(b)) of what stands there with the value that belongs there, so that ties may stand in any order; then the score.
Shares no line with the programs it checks.

usage: benches/peers/check.py EVENTS N LISTS [--tolerance T]

EVENTS has `basket,item,diff` a line, of which the first N count; LISTS has `item,rank,other,score`. With a tolerance
the score that stands at a rank may differ so much, relatively, from the one that belongs there, for programs which rank
by a rounded score. Prints what it found; exit 1 if a list differs.
"""

import argparse
import math
import sys
from collections import Counter, defaultdict
from functools import cmp_to_key
from itertools import islice

K = 10
# Of the scores themselves, relatively: a few roundings of a double.
ROUNDING = 1e-12


def baskets(path, lines):
    held = Counter()
    with open(path, encoding="ascii") as events:
        for event in islice(events, lines):
            basket, item, diff = map(int, event.split(","))
            held[basket, item] += diff
    contents = defaultdict(list)
    for (basket, item), quantity in held.items():
        if quantity > 0:
            contents[basket].append(item)
    return contents


def by_value(left, right):
    """Orders (c, n) by c²/n falling, exactly."""
    return right[0] * right[0] * left[1] - left[0] * left[0] * right[1]


def rows(contents):
    """For every item its support and the counts of its row."""
    holders = defaultdict(list)
    for items in contents.values():
        for item in items:
            holders[item].append(items)
    supports = {item: len(held) for item, held in holders.items()}
    for item, held in holders.items():
        counts = Counter()
        for items in held:
            counts.update(items)
        del counts[item]
        yield item, supports, counts


def best(counts, supports):
    # A float first, so that only what is near the cut is compared exactly.
    quotients = sorted((count * count / supports[other] for other, count in counts.items()), reverse=True)
    cut = quotients[min(K, len(quotients)) - 1] * (1 - 1e-9) if quotients else 0
    near = [(c, supports[other]) for other, c in counts.items() if c * c / supports[other] >= cut]
    return sorted(near, key=cmp_to_key(by_value))[:K]


def read(path):
    lists = defaultdict(list)
    with open(path, encoding="ascii") as entries:
        for entry in entries:
            item, rank, other, score = entry.split(",")
            lists[int(item)].append((int(rank), int(other), float(score)))
    return lists


def fault(item, expected, found, supports, counts, tolerance):
    """What is wrong with a list, or None."""
    found = sorted(found)
    if [rank for rank, _, _ in found] != list(range(1, len(expected) + 1)):
        return f"has ranks {[rank for rank, _, _ in found]}, not 1 to {len(expected)}"
    if len({other for _, other, _ in found}) != len(found):
        return "names an item twice"
    for (rank, other, score), (count, support) in zip(found, expected):
        actual = counts.get(other, 0), supports.get(other, 1)
        right = count / math.sqrt(supports[item] * support)
        if tolerance is None and by_value(actual, (count, support)) != 0:
            return f"rank {rank} has {other} with (c, n) = {actual}, not {(count, support)}"
        if not math.isclose(score, right, rel_tol=tolerance or ROUNDING):
            return f"rank {rank} has the score {score}, not {right}"
        own = actual[0] / math.sqrt(supports[item] * actual[1])
        if not math.isclose(own, right, rel_tol=tolerance or ROUNDING):
            return f"rank {rank} has {other}, whose score is {own}, not {right}"
    return None


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("events")
    parser.add_argument("lines", type=int)
    parser.add_argument("lists")
    parser.add_argument("--tolerance", type=float)
    options = parser.parse_args()
    lists = read(options.lists)
    total = wrong = 0
    for item, supports, counts in rows(baskets(options.events, options.lines)):
        expected, found = best(counts, supports), lists.pop(item, [])
        total += len(expected) > 0
        said = fault(item, expected, found, supports, counts, options.tolerance)
        if said:
            wrong += 1
            if wrong <= 3:
                print(f"item {item} {said}", file=sys.stderr)
    wrong += len(lists)
    print(f"{total} lists, {wrong} differ")
    return 1 if wrong else 0


sys.exit(main())
