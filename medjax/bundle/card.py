"""The dataset card of a bundle: README.md, with the front matter that the Hub reads."""

import json
from collections.abc import Mapping
from typing import Any

from medjax.bundle.finished import FinishedRun
from medjax.bundle.images import COLUMNS, FOLDER, Images, features
from medjax.bundle.licence import UNKNOWN, Licence, parts_of
from medjax.bundle.privacy import privacy_of, start_words
from medjax.bundle.received import Received
from medjax.bundle.scores import recall, scores, scores_words
from medjax.bundle.training import forms, words
from medjax.bundle.writing import sums_of
from medjax.data.catalog import RECORD, find
from medjax.recipes import describe
from medjax.table import Table, inline, templates

#: What each file is; only those that are there are listed.
FILES = {
    f"{FOLDER}/": "the 8-bit images as PNG files, and metadata.csv",
    "medmnist.npz": "the same images in the layout of MedMNIST, with mean and standard deviation",
    "train.parquet": "the same images as one table",
    "exact.npz": "the set as it was distilled, its step size, labels and preprocessing",
    "recipe.json": "how it was made, how networks train on it, every score",
    "croissant.json": "this card for machines: Croissant 1.1 with its vocabulary for responsible AI",
    "privacy.json": "what an audit found",
    "gallery.png": "the synthetic images",
    "evaluate.py": "scores the set on other images (NumPy, JAX)",
    "evaluate_torch.py": "the same in PyTorch, on the 8-bit images",
    "own_images.py": "what both read your images and count scores with",
}
#: Where the run's own set is left out.
AS_RECEIVED = {
    "exact.npz": "the 8-bit images once more, with step size and preprocessing, for medjax"
}
#: The Hub's classes of size, by their upper bounds.
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 10**9: "100K<n<1M"}


def title_of(run: FinishedRun) -> str:
    """What the set is called."""
    size = run.result.size
    return f"{run.result.dataset}, distilled to {size} image{'s' * (size != '1')} per class"


def source_of(run: FinishedRun, source: str) -> str:
    """Where the real images come from. source: what the user says of them."""
    name = run.result.dataset
    if source:
        return f"{name}: {source}"
    parts = [find(part) for part in parts_of(run.public, str(run.values.get("integrate", "")))]
    if None not in parts:
        makers = "; ".join(dict.fromkeys(part[0].source for part in parts if part))
        collection = f"MedMNIST v2 (Yang et al., Scientific Data 10:41, 2023), {RECORD}"
        return f"{name} of {collection}, made from {makers}"
    if run.public == "phantom":
        return "phantom: drawings that medjax makes, of no patient"
    return f"{name}; who made the images is not stated here"


def description_of(run: FinishedRun, images: Images) -> str:
    """What is in the bundle, in a sentence."""
    n, side, _, channels = images.pixels.shape
    stored = f", stored as {len(run.shared.images_uint8)}" if run.shared.pack > 1 else ""
    kind = "grey" if channels == 1 else "RGB"
    return (
        f"{n} synthetic images of {len(images.class_names)} classes{stored}, {side} x {side} pixels, {kind}, in place"
        f" of the {run.data.get('train', 'many')} training images of {run.result.dataset}."
    )


def card(
    run: FinishedRun,
    images: Images,
    got: Received,
    licence: Licence,
    source: str,
    creator: str,
    privacy: Any,
    folder: str,
    files: Mapping[str, bytes],
) -> str:
    """The text. source: as in `source_of`. creator: who publishes the set, or "". privacy: the content of privacy.json,
    or None. folder: the bundle's name. files: everything else that is in the bundle."""
    shared, pack = run.shared, run.shared.pack
    m, (n, side, _, channels) = len(shared.images_uint8), images.pixels.shape
    both, listed = forms(run, got), FILES if got.exact else FILES | AS_RECEIVED
    values = {
        "front": _front(run, images, licence),
        "title": inline(title_of(run)),
        "counts": inline(description_of(run, images)),
        "source": inline(source_of(run, source)),
        "licence": _licence_words(licence),
        "creator": inline(creator),
        "real": " ".join((*compared_words(run, got), start_words(run, privacy))).strip(),
        "made": Table(("what", "value"), facts_of(run), words=2).markdown().rstrip(),
        "scores": scores(run, got).markdown(),
        "scores_words": scores_words(got),
        "recall": recall(run, images, got).markdown(),
        "columns": ", ".join(f"`{column}`" for column in COLUMNS),
        "training": words(both["received"]),
        "exact": words(both["exact"]),
        "privacy": "\n".join(f"- {inline(line)}" for line in privacy_of(run, privacy, got.exact)),
        "limits": [inline(line) for line in limits_of(run)],
        "files": [row for row in listed.items() if any(f.startswith(row[0]) for f in files)],
        "whole": got.exact,
        "measured": got.result is not None,
        "sums": list(sums_of(files).items()),
        "grey": channels == 1,
        **{"n": n, "m": m, "pack": pack, "side": side, "folder": folder},
        **{"mean": images.mean, "std": images.std},
    }
    return templates().get_template("bundle/card.txt").render(values) + "\n"


def compared_words(run: FinishedRun, got: Received) -> list[str]:
    """How like the images are to training images; nothing of a set that is made of a noisy release."""
    if (run.result.guarantee or {}).get("epsilon") is not None:
        return ["no file is one."]
    if got.compared is None:
        return ["the images were not compared with the training images, which were not at hand."]
    return [
        "each image was compared with all training images: none is the same but for rounding.",
        got.compared.words,
    ]


def _front(run: FinishedRun, images: Images, licence: Licence) -> dict[str, str]:
    """The front matter: YAML, whose values are written as JSON."""
    size = next(words for most, words in SIZES.items() if len(images.labels) < most)
    front: dict[str, Any] = {"license": licence.hub}
    if licence.hub == "other":
        front |= {"license_name": licence.name}
    front |= {
        "pretty_name": title_of(run),
        "task_categories": ["image-classification"],
        "size_categories": [size],
        "tags": ["medical", "synthetic", "dataset-distillation"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": f"{FOLDER}/**"}],
                # Here too: without it `datasets` takes the labels for numbers without names.
                "features": features(images),
            }
        ],
        "dataset_info": {"features": features(images)},
    }
    return {key: json.dumps(value, ensure_ascii=False) for key, value in front.items()}


def _licence_words(licence: Licence) -> str:
    if licence.name == UNKNOWN:
        return "not known. Ask the owner of the source before you use or pass on these images"
    words = inline(licence.name) + (f" ({licence.url})" if licence.url else "")
    words += ", as the source: what is made of its images inherits it" * licence.inherited
    return words + (". Commercial use is forbidden" * (not licence.commercial))


def facts_of(run: FinishedRun) -> list[tuple[str, str]]:
    """How the set was made, by what it is called."""
    result, values = run.result, run.values
    words = {"real": "random real images", "set": "the images of another set"}
    space = {"zca": "ZCA whitening", "normalise": "normalised by channel"}
    budget = f"{values['iterations']} iterations" if "iterations" in values else "not known"
    seconds = sum(result.seconds.values())
    chosen = {"val": "chosen on val", "test": "chosen on test", "last": "the last one"}
    versions = run.made_with["versions"] or {}
    return [
        ("method", describe(result.kind).title),
        ("preset, seed", f"{result.preset}, {result.seed}"),
        ("budget", f"{budget}, {seconds / 60:.0f} minutes in all"),
        ("iteration", f"{result.selected_iteration}, {chosen.get(result.select or '', 'chosen')}"),
        ("start of the images", words.get(run.began_as, run.began_as)),
        ("network", (run.shared.network or ("not known",))[0]),
        ("preprocessing", space.get(run.shared.preprocessor.kind, run.shared.preprocessor.kind)),
        ("images", f"{result.size} per class"),
        (
            "labels",
            "soft (in exact.npz), and a class for each"
            if run.shared.synthetic.soft is not None
            else "hard",
        ),
        ("data", f"fingerprint {result.fingerprint}"),
        ("made with", f"medjax, {_commit(run.made_with['git'])}, jax {versions.get('jax')}"),
        ("begun", run.date or "not known"),
    ]


def _commit(git: Any) -> str:
    """'commit 0123456789ab', with what git says of changed files."""
    revision, _, changed = str(git).partition("+")
    return f"commit {revision[:12]}" + (f" ({changed})" if changed else "")


def limits_of(run: FinishedRun) -> list[str]:
    """What a user of the set must know."""
    lines = [
        "For research on methods; no device, diagnosis or decision on a patient may rest on it.",
        "Scores are those of the networks that were trained; other networks may do worse on these images.",
        "Whatever the source lacks or shows too often, by age, sex, device or hospital, this set lacks or shows too.",
    ]
    if run.values.get("init_set"):
        lines.append("The images began as those of another set: its licence holds too.")
    if run.shared.synthetic.soft is not None:
        lines.append("The soft labels are in exact.npz alone: 8-bit images come with one class.")
    if run.result.select == "test":
        lines.append("The iteration was chosen on the test split: scores are too high.")
    if run.shared.origin.get("eval_recipe", "study") != "study":
        lines.append("The run trained its networks with CutMix; evaluate.py does without.")
    return [*lines, *run.result.warnings, *map(str, run.data.get("notes") or ())]
