"""How well ZCA's map tells who was among the training images it was fitted on, for more and more of them.

    python -m benchmarks.zca_members DATA.npz --train=500,1000,2000 --size=28 --out=results/zca_members/NAME.json

Of the training split, a random part is fitted; `membership_score` ranks 1,000 images of it (or all) and as many of the
rest. One draw, no shadows: an attacker needs the map and the image alone.
"""

import argparse
from pathlib import Path

import numpy as np

from medjax import provenance, store
from medjax.audit.whitening import membership_score
from medjax.data import preprocess, sources
from medjax.data.preprocess import PreprocessConfig
from medjax.errors import UserError
from medjax.metrics import auc_one_vs_rest
from medjax.table import Table

#: Images of each side that are ranked, at most.
RANKED = 1000
HEAD = ("training images", "values in an image", "AUC", "found at 1 % false positives")


def told(images: np.ndarray, count: int, size: int) -> dict[str, float]:
    """The row of so many training images, drawn at random."""
    order = np.random.default_rng(0).permutation(len(images))
    ranked = min(RANKED, count, len(images) - count)
    pre = preprocess.fit(PreprocessConfig(size, "zca"), images[order[:count]])
    sides = order[:ranked], order[count : count + ranked]
    inside, outside = (membership_score(pre, images[rows]) for rows in sides)
    assert inside is not None and outside is not None
    scores = np.concatenate([inside, outside])
    threshold = np.quantile(outside, 0.99)
    return {
        "train": count,
        "values": size * size * images.shape[-1],
        "auc": float(auc_one_vs_rest(scores, np.arange(2 * ranked) < ranked)),
        "found_at_1_percent": float((inside > threshold).mean()),
    }


def table(rows: list[dict[str, float]]) -> Table:
    shown = [
        [
            str(r["train"]),
            str(r["values"]),
            f"{r['auc']:.3f}",
            f"{100 * r['found_at_1_percent']:.1f} %",
        ]
        for r in rows
    ]
    return Table(HEAD, shown, words=0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zca_members")
    parser.add_argument("data", help="a data set")
    parser.add_argument("--train", default="500,1000,2000", help="numbers of training images")
    parser.add_argument("--size", type=int, default=28, help="pixels a side")
    parser.add_argument("--out", type=Path, required=True, help="a .json file")
    asked = parser.parse_args()
    try:
        raw = sources.load(asked.data)
    except UserError as error:
        parser.error(str(error))
    counts = [int(n) for n in asked.train.split(",")]
    if max(counts) >= len(raw.train.images):
        have = len(raw.train.images)
        parser.error(f"--train={max(counts)}: {raw.name} has {have} training images: leave some")
    rows = [told(raw.train.images, count, asked.size) for count in counts]
    about = {"dataset": raw.name, "fingerprint": raw.fingerprint, "size": asked.size}
    store.write_json(asked.out, about | {"rows": rows} | provenance.environment())
    asked.out.with_suffix(".md").write_text(table(rows).markdown())
    print(table(rows).markdown())


if __name__ == "__main__":
    main()
