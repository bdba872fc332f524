"""A finished run -> its bundle. Everything is made from the run's folder; only the scores as received need its data
set."""

import dataclasses
import datetime
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from medjax import store
from medjax.bundle.card import (
    card,
    description_of,
    facts_of,
    limits_of,
    source_of,
    title_of,
)
from medjax.bundle.croissant import croissant
from medjax.bundle.finished import FinishedRun, read_finished_run, with_class_names
from medjax.bundle.images import Images, image_files, images_of
from medjax.bundle.licence import Licence, licence_of
from medjax.bundle.privacy import notes_of, privacy_of
from medjax.bundle.received import Received, received, received_set
from medjax.bundle.training import forms
from medjax.bundle.writing import check_place, check_zip, write_folder, write_zip, zip_of
from medjax.config import checked, option
from medjax.errors import UserError
from medjax.guarantee import contradicted
from medjax.paths import user_path
from medjax.pipeline.progress import Progress, Silent
from medjax.report.gallery import contact_sheet
from medjax.result import Result
from medjax.table import one_line
from medjax.types import RawDataset

#: Files of this folder that go into a bundle as they are.
TEMPLATES = Path(__file__).parents[1] / "templates" / "bundle"
PROGRAMS = ("evaluate.py", "evaluate_torch.py", "own_images.py")
#: The form of recipe.json.
FORM = 1


@dataclasses.dataclass(frozen=True)
class ShareConfig:
    """What to share, and where to write it."""

    run: str = option("", "folder of a finished run")
    out: str = option("", "folder of the bundle; an earlier one is replaced")
    dataset: str = option("", "the run's data set, if it has moved: its name or path")
    license: str = option(
        "", "licence of your own images, like 'CC BY 4.0'; else unknown, or that of a public set"
    )
    source: str = option("", "who made the images: a line for the card, as some licences ask for")
    creator: str = option("", "who publishes the set: a name for the card and croissant.json")
    url: str = option("", "where the set will be found: a web address for croissant.json")
    published: str = option("", "when it is published, as 2026-12-31, for croissant.json")
    class_names: str = option(
        "", "names for classes that have none, in the order of the labels, with commas"
    )
    exact: bool = option(
        True,
        "share the set as it was distilled; false: its 8-bit images alone, and nothing fitted on the training images",
    )
    networks: int = option(0, "networks of the scores as received; 0: as many as in the run", low=0)
    zip: bool = option(False, "write OUT.zip too")


def make_bundle(
    config: ShareConfig, *, data: RawDataset | None = None, progress: Progress | None = None
) -> Path:
    """Write the bundle and give back its folder. data: the run's images, where it was given them in memory. Raises
    UserError for a run that is not finished, and where files of the user would be lost."""
    config, progress = checked(config), progress or Silent()
    if not config.run or not config.out:
        raise UserError("what and where to? --run=RUN --out=BUNDLE")
    out = Path(os.path.abspath(user_path(config.out)))
    check_place(out)
    if config.zip:
        check_zip(zip_of(out))
    run = read_finished_run(config.run)
    if config.class_names:
        run = with_class_names(run, config.class_names)
    integrate = str(run.values.get("integrate", ""))
    named = run.public or run.result.dataset
    licence = licence_of(named, integrate, config.license, bool(run.public), run.begun)
    check_published(config, progress)
    images = images_of(run.shared)
    if not config.exact and run.shared.synthetic.soft is not None:
        raise UserError(
            f"{config.run} has soft labels, which 8-bit images alone do not carry: leave out --exact=false"
        )
    got = received(run, images, config.dataset, progress, data, config.networks)
    got = got._replace(exact=config.exact)
    if run.result.guarantee:
        run = run._replace(result=untimed(run.result))
        got = got._replace(result=got.result and untimed(got.result))
    if not config.exact and got.result is None:
        raise UserError(
            "--exact=false stores the step size of the scores as received, and there are none: give the run's --dataset"
        )
    audit = _audit_of(run)
    write_folder(out, contents(run, images, got, licence, config, out.name, audit))
    for line in notes_of(run, audit, got):
        progress.say(f"note: {line}")
    if config.zip:
        write_zip(out)
    return out


def check_published(config: ShareConfig, progress: Progress) -> None:
    """A note where croissant.json will lack what catalogues ask for. Raises UserError for a day that is none."""
    try:
        datetime.date.fromisoformat(config.published or "2026-12-31")
    except ValueError as error:
        raise UserError(f"--published={config.published} is no day like 2026-12-31") from error
    names = "creator", "url", "published"
    if missing := [f"--{name}" for name in names if not getattr(config, name)]:
        progress.say(
            f"note: catalogues ask for the publisher, the address and the day in croissant.json: {', '.join(missing)}"
            " not given"
        )


def untimed(result: Result) -> Result:
    """Without the seconds of what reads the training images, which follow their number."""
    kept = {k: v for k, v in result.seconds.items() if k not in ("data", "release")}
    return dataclasses.replace(result, seconds=kept)


def contents(
    run: FinishedRun,
    images: Images,
    got: Received,
    licence: Licence,
    config: ShareConfig,
    name: str,
    privacy: dict[str, Any] | None,
) -> dict[str, bytes]:
    """{path in the bundle: content}. The same run gives the same bytes. privacy: from `_audit_of`."""
    source, creator = one_line(config.source), one_line(config.creator)
    exact = run.set_bytes() if got.exact else received_set(run, images, got)
    files = image_files(images) | {"exact.npz": exact}
    files |= {"recipe.json": _json(_recipe(run, images, got)), "gallery.png": _gallery(run, images)}
    files |= {program: (TEMPLATES / program).read_bytes() for program in PROGRAMS}
    if privacy is not None:
        files["privacy.json"] = (run.folder / "privacy.json").read_bytes()
    made = "; ".join(f"{what}: {value}" for what, value in facts_of(run))
    about = title_of(run), description_of(run, images), source_of(run, source), made
    words = " ".join(privacy_of(run, privacy, got.exact))
    rest = limits_of(run), words, creator, one_line(config.url), config.published
    described = croissant(*about, licence, run.date, *rest, files)
    files["croissant.json"] = _json(described)
    page = card(run, images, got, licence, source, creator, privacy, name, files)
    return files | {"README.md": page.encode()}


def _audit_of(run: FinishedRun) -> dict[str, Any] | None:
    """What an audit found that may leave with the set. Of a set with a guarantee nothing: an audit reads the private
    images without noise. Raises UserError where it found the guarantee broken, and for an audit of another run."""
    path, guarantee = run.folder / "privacy.json", run.result.guarantee or {}
    if not path.is_file():
        return None
    found = store.read_json(path)
    try:
        sound = isinstance(found.get("card", []), str | list)
        shown = float(found.get("membership", {}).get("all", {}).get("epsilon_at_least", 0.0))
        of = found.get("run", {}) | {"set": found.get("set", store.digest(run.shared.synthetic))}
    except (AttributeError, TypeError, ValueError):
        sound = False
    if not sound:
        raise UserError(f"{path} is damaged: audit the run again, or delete it")
    mine = run.result.to_json() | {"set": store.digest(run.shared.synthetic)}
    if other := [name for name in of if of[name] != mine.get(name)]:
        raise UserError(
            f"{path} is of another run ({other[0]} differs): audit this one, or delete it"
        )
    if guarantee.get("epsilon") is None:
        return found
    if contradicted(guarantee, shown):
        raise UserError(
            f"{path} shows an epsilon of at least {shown:.2f}, and the run states {guarantee['epsilon']:g}: the"
            " guarantee is broken, and the set must not leave with it"
        )
    return None


def _recipe(run: FinishedRun, images: Images, got: Received) -> dict[str, Any]:
    """recipe.json: how the set was made, how networks train on it, and every score."""
    shared = run.shared
    n, side, _, channels = images.pixels.shape
    return {
        "medjax_bundle": FORM,
        "title": title_of(run),
        "images": {
            "training": n,
            "stored": len(shared.images_uint8),
            "pack": shared.pack,
            "side": side,
            "channels": channels,
            "mean": images.mean,
            "std": images.std,
        },
        "classes": images.class_names,
        "networks": run.result.evaluation["networks"],
        **forms(run, got),
        "result": _public(run.result.to_json()),
        "result_as_received": got.result.to_json() if got.result else None,
        "values": run.recorded,
        "made_with": run.made_with,
        "date": run.date or None,
    }


def _public(result: dict[str, Any]) -> dict[str, Any]:
    """Without the name of a folder of the user: that of the run on all images."""
    ranking = {k: v for k, v in (result.get("ranking") or {}).items() if k != "full"}
    return result | ({"ranking": ranking} if ranking else {})


def _json(value: Any) -> bytes:
    return (json.dumps(store.strict(value), indent=2, ensure_ascii=False) + "\n").encode()


def _gallery(run: FinishedRun, images: Images) -> bytes:
    """The images to train on, class by class, in 256 colours, which take a third of the bytes. The run's own gallery
    shows real ones too."""
    rows = [images.pixels[images.labels == k][:10] for k in range(len(images.class_names))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gallery.png"
        contact_sheet(path, rows, images.class_names, title_of(run))
        with Image.open(path) as sheet:
            sheet.convert("RGB").quantize(256).save(path, optimize=True)
        return path.read_bytes()
