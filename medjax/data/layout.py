"""Which folders are the splits: train, val and test of a folder, or the folder itself, whose folders are then classes.

What cannot be told is refused: a folder of images that is passed over in silence makes a wrong set.
"""

from pathlib import Path

from medjax.data.splits import resembles, split_of, twice
from medjax.data.walk import Walk, place
from medjax.errors import UserError, first_few


def roots(folder: Path, walk: Walk, classes: bool) -> tuple[dict[str, Path], list[str]]:
    """The folders of the splits, {"train": folder} where there are none, and lines about them.

    classes: whether the classes are folders; otherwise a table has the labels. Raises UserError for folders that look
    like splits and are not, and for splits with other folders beside them.
    """
    folders = _inside(folder, walk)
    named = {p: split for p in folders if (split := split_of(p.name))}
    others = [p for p in folders if p not in named]
    nested = {p for p in folders if _inside(p, walk)}
    like = [p.name for p in folders if resembles(p.name)]
    if classes and named and others and not nested & set(named) and set(like) <= _names(named):
        taken = first_few([p.name for p in named])
        line = f"WARNING: {taken}: taken for classes, because they hold images and no folders."
        return {"train": folder}, [line]
    if not named:
        kinds = {resembles(p.name) for p in folders} - {None}
        if len(kinds) > 1 or any(resembles(p.name) == "train" for p in nested):
            raise UserError(
                f"{folder} holds {first_few(like)}, which look like splits: name them train, val and test, or give"
                " classes other names."
            )
        return {"train": folder}, _about_classes(folders, walk) if classes else []
    if same := twice(p.name for p in named):
        raise UserError(
            f"{folder} holds {' and '.join(same)}, two names of one split: join them, or remove one."
        )
    around = above(folder, list(named))
    full = [p.name for p in others if Walk(walk.base, walk.patterns).images(p, set(around))]
    if full:
        raise UserError(
            f"{folder} holds {_listed(named)} and also images in {first_few(full)}: name splits train, val and test;"
            f" leave out what is none with --exclude={full[0]}; a class that is called {_listed(named)} needs another"
            " name."
        )
    walk.entries(folder)  # what is passed over beside the splits is noted
    parted = {split: p for p, split in named.items()}
    if lacking := {"train", "test"} - set(parted):
        raise UserError(
            f"{folder} has {_listed(named)} but no {' and no '.join(sorted(lacking))}: give both (val is optional),"
            f" only folders of classes, or --folder={next(iter(named))} to have that divided."
        )
    lines = (
        [f"folders without images, ignored: {first_few([p.name for p in others])}."]
        if others
        else []
    )
    if renamed := [f"{p.name} as {s}" for p, s in named.items() if p.name.lower() != s]:
        lines.append(f"folders read: {', '.join(renamed)}.")
    return parted, lines


def above(folder: Path, parted: list[Path]) -> set[tuple[int, int]]:
    """Places that no link must lead to: the folder, its splits, and what holds it."""
    return {place(p) for p in (*folder.resolve().parents, folder, *parted)}


def _about_classes(folders: list[Path], walk: Walk) -> list[str]:
    """A warning where all classes share folders and hold no images: they may be something else than classes. Raises
    UserError where a class holds train and test."""
    inside = {p: [q.name for q in _inside(p, walk)] for p in folders}
    for path, names in inside.items():
        splits = [name for name in names if split_of(name)]
        if len({split_of(name) for name in splits}) > 1:
            order = f"splits come before classes, as {splits[0]}/{path.name}"
            advice = order if len(folders) > 1 else f"give --folder={path}"
            raise UserError(f"{path} holds {' and '.join(splits)}: {advice}.")
    first, *others = inside.values() or ([],)
    shared = [name for name in first if others and all(name in names for names in others)]
    if len(shared) > 1 and not any(Walk(walk.base, walk.patterns).entries(p)[1] for p in folders):
        return [
            f"WARNING: {first_few([p.name for p in folders])} are taken for classes, though all of them hold"
            f" the folders {first_few(shared)}; classes come last: train/CLASS/*.png."
        ]
    return []


def _inside(folder: Path, walk: Walk) -> list[Path]:
    """The folders in a folder; what is passed over is not noted, for this is a first look."""
    return Walk(walk.base, walk.patterns).entries(folder)[0]


def _names(named: dict[Path, str]) -> set[str]:
    return {path.name for path in named}


def _listed(named: dict[Path, str]) -> str:
    return ", ".join(path.name for path in named)
