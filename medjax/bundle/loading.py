"""A bundle -> the set of its exact.npz."""

import os
from pathlib import Path

from medjax import share
from medjax.bundle.writing import check_files
from medjax.errors import UserError
from medjax.paths import user_path

#: The bundles that come with medjax.
BUNDLES = Path(__file__).parents[1] / "bundles"


def load_distilled(name: str | os.PathLike, ipc: int | None = None) -> share.SharedSet:
    """The set of a bundle: as it was distilled, or its 8-bit images where these alone were shared.

    name: of a set that comes with medjax, with ``ipc`` images per class; or the path of a bundle, without ``ipc``.
    `medjax.share.decoded` gives the images to train on. Raises UserError for an unknown name, and for a bundle that is
    not whole.
    """
    if ipc is not None:
        folder = BUNDLES / f"{os.fspath(name)}-ipc{ipc}"
        known = sorted(p.name for p in BUNDLES.glob("*-ipc*"))
        if folder.name not in known:
            there = ", ".join(known) or "none"
            raise UserError(
                f"medjax brings no set {os.fspath(name)!r} of {ipc} images per class: there is {there}"
            )
    else:
        folder = user_path(name)
        if not folder.is_dir():
            raise UserError(
                f"{folder} is no folder: give the path of a bundle, or the name of a set that comes with medjax and ipc"
            )
    check_files(folder, ["exact.npz"])
    return share.load_set(folder / "exact.npz")
