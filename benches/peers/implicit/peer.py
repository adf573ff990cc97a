"""The lists, from scratch, by `implicit`: the batch tool that people know.

What: its CosineRecommender on the whole matrix, once, on one thread. The clock runs from parsed arrays to the lists as
arrays, rank by rank.

Why this shape: K = 11, since an item's most similar item is itself. The lists are cut out of the model's own matrix by
array operations, where `similar_items` would run a Python loop over the items.

usage: python peer.py --workload FILE [--lines N] [--epoch N] [--seconds S] [--lists FILE]

The epoch is the whole, whatever is asked for, and there is nothing to stop at. A line of JSON on stdout; the lists as
`item,rank,other,score`. Scores are sums of products of doubles: two that are equal may differ in the last digit, and
what they order may stand elsewhere.
"""

import argparse
import json
import os
import time
from itertools import islice

# Read when the libraries are loaded.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
from implicit.nearest_neighbours import CosineRecommender  # noqa: E402
from scipy.sparse import csr_matrix  # noqa: E402

K = 10


def lists(events):
    """Arrays of items, ranks, others and scores, by item and rank."""
    basket, item, diff = events
    held = csr_matrix((diff.astype(float), (basket, item)))
    held.eliminate_zeros()
    model = CosineRecommender(K=K + 1, num_threads=1)
    model.fit(held, show_progress=False)
    similarity = model.similarity.tocoo()
    # Its own item stands first in a list but for ties, in which it may be missing.
    is_other = similarity.row != similarity.col
    items, others, scores = similarity.row[is_other], similarity.col[is_other], similarity.data[is_other]
    order = np.lexsort((others, -scores, items))
    items, others, scores = items[order], others[order], scores[order]
    ranks = np.arange(1, len(items) + 1) - np.searchsorted(items, items)
    kept = ranks <= K
    return items[kept], ranks[kept], others[kept], scores[kept]


def peak_bytes():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", required=True)
    parser.add_argument("--lines", type=int)
    parser.add_argument("--epoch", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--lists")
    options = parser.parse_args()
    with open(options.workload, encoding="ascii") as lines:
        events = np.array([line.split(",") for line in islice(lines, options.lines)], dtype=np.int64).T

    start = time.perf_counter()
    found = lists(events)
    seconds = round(time.perf_counter() - start, 4)
    count = events.shape[1]
    print(
        json.dumps(
            {
                "program": "implicit",
                "events": count,
                "epoch": count,
                "seconds": seconds,
                "checkpoints": [[count, seconds]],
                "peak_bytes": peak_bytes(),
            }
        )
    )
    if options.lists:
        with open(options.lists, "w", encoding="ascii") as file:
            for item, rank, other, score in zip(*(column.tolist() for column in found)):
                file.write(f"{item},{rank},{other},{score!r}\n")


main()
