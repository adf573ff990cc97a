"""The lists, maintained by Pathway.

What: a connector that hands over an epoch, commits, and waits until its changes have come out: the time at which they
have is the checkpoint. One worker; all work on rows is done by expressions of the engine, none in Python.

Why this view: c/√(n(a)·n(b)) and c²/n(b) put the row of a in the same order, so n(a) is joined to the lists and not to
the candidates. A pair is counted once and mirrored, and n(b) looked up by its key, which was faster than a join. Pathway
has no reducer for the k smallest: a row is sorted whole and its front taken. To sort it in 16 parts and then their
fronts was slower: the time goes into the candidates that change, not into sorting.

usage: python peer.py --workload FILE [--lines N] [--epoch N] [--seconds S] [--lists FILE]

A line of JSON for every epoch and one for the whole on stdout; the lists after the last epoch that was taken in as
`item,rank,other,score`.
"""

import argparse
import json
import math
import os
import threading
import time
from itertools import islice

# Read when the engine is loaded.
os.environ["PATHWAY_THREADS"] = "1"

import pathway as pw  # noqa: E402

K = 10


class Interaction(pw.Schema):
    basket: int = pw.column_definition(primary_key=True)
    item: int = pw.column_definition(primary_key=True)


class Epochs(pw.io.python.ConnectorSubject):
    """Hands over the events, epoch by epoch, and takes the time."""

    def __init__(self, events, epoch, seconds):
        super().__init__()
        self.events, self.epoch, self.seconds = events, epoch, seconds
        self.closed = threading.Semaphore(0)
        self.checkpoints = []

    @property
    def _deletions_enabled(self):
        return any(diff < 0 for _, _, diff in self.events)

    def run(self):
        start = time.perf_counter()
        elapsed = 0.0
        for first in range(0, len(self.events), self.epoch):
            if elapsed > self.seconds:
                break
            events = self.events[first : first + self.epoch]
            for basket, item, diff in events:
                if diff > 0:
                    self.next(basket=basket, item=item)
                else:
                    self.delete(basket=basket, item=item)
            self.commit()
            self.closed.acquire()
            elapsed = time.perf_counter() - start
            self.checkpoints.append([first + len(events), round(elapsed, 4)])
            print(json.dumps(dict(zip(("events", "seconds"), self.checkpoints[-1]))), flush=True)


def lists(interactions):
    """A row per item: its support, and its list as K entries (-c²/n(b), b), the last of them None if it is short."""
    others = interactions.copy()
    supports = interactions.groupby(interactions.item).reduce(interactions.item, n=pw.reducers.count())
    pairs = (
        interactions.join(others, interactions.basket == others.basket)
        .select(a=interactions.item, b=others.item)
        .filter(pw.this.a < pw.this.b)
        .groupby(pw.this.a, pw.this.b)
        .reduce(pw.this.a, pw.this.b, c=pw.reducers.count())
    )

    mirrored = pw.Table.concat_reindex(
        pairs.select(pairs.a, pairs.b, pairs.c), pairs.select(a=pairs.b, b=pairs.a, c=pairs.c)
    )
    square = mirrored.c * mirrored.c / supports.ix_ref(mirrored.b).n
    candidates = mirrored.select(item=mirrored.a, entry=pw.make_tuple(-square, mirrored.b))
    top = (
        candidates.groupby(candidates.item)
        .reduce(candidates.item, front=pw.reducers.sorted_tuple(candidates.entry))
        .select(pw.this.item, entries=pw.make_tuple(*(pw.this.front.get(at) for at in range(K))))
    )
    return top.join(supports, top.item == supports.item, id=top.id).select(top.item, supports.n, top.entries)


def peak_bytes():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def write(path, current):
    with open(path, "w", encoding="ascii") as file:
        for item, (support, entries) in sorted(current.items()):
            for rank, (square, other) in enumerate(filter(None, entries), 1):
                file.write(f"{item},{rank},{other},{math.sqrt(-square / support)!r}\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", required=True)
    parser.add_argument("--lines", type=int)
    parser.add_argument("--epoch", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--lists")
    options = parser.parse_args()
    with open(options.workload, encoding="ascii") as lines:
        events = [tuple(map(int, line.split(","))) for line in islice(lines, options.lines)]

    source = Epochs(events, options.epoch, options.seconds)
    current = {}

    def on_change(key, row, time, is_addition):
        # Within an epoch a list's old row may be taken away after its new one has come.
        if is_addition:
            current[row["item"]] = row["n"], row["entries"]
        elif current.get(row["item"]) == (row["n"], row["entries"]):
            del current[row["item"]]

    table = lists(pw.io.python.read(source, schema=Interaction, autocommit_duration_ms=None))
    pw.io.subscribe(table, on_change, on_time_end=lambda time: source.closed.release())
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)

    taken, seconds = source.checkpoints[-1]
    print(
        json.dumps(
            {
                "program": "pathway",
                "events": taken,
                "epoch": options.epoch,
                "seconds": seconds,
                "checkpoints": source.checkpoints,
                "peak_bytes": peak_bytes(),
            }
        )
    )
    if options.lists:
        write(options.lists, current)


main()
