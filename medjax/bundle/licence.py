"""Which licence a bundle has: that of the images that it was made from."""

import re
from pathlib import PurePath
from typing import NamedTuple

from medjax.data.catalog import find, parts
from medjax.errors import UserError

#: What a licence is called -> the Hub's name of it, and where its text is.
KNOWN = {
    "CC BY 4.0": ("cc-by-4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "CC BY-SA 4.0": ("cc-by-sa-4.0", "https://creativecommons.org/licenses/by-sa/4.0/"),
    "CC BY-NC 4.0": ("cc-by-nc-4.0", "https://creativecommons.org/licenses/by-nc/4.0/"),
    "CC BY-NC 3.0": ("cc-by-nc-3.0", "https://creativecommons.org/licenses/by-nc/3.0/"),
    "CC BY-NC-SA 4.0": ("cc-by-nc-sa-4.0", "https://creativecommons.org/licenses/by-nc-sa/4.0/"),
    "CC0 1.0": ("cc0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "Apache-2.0": ("apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    "MIT": ("mit", "https://opensource.org/license/mit"),
}
#: Of images whose owner has said nothing.
UNKNOWN = "unknown"


class Licence(NamedTuple):
    """name: as people write it. hub: the Hub's name ("other" where it has none). url: its text, or empty. inherited:
    whether the source decides it."""

    name: str
    hub: str
    url: str
    inherited: bool

    @property
    def commercial(self) -> bool:
        """Whether it allows commercial use, as far as is known."""
        return not re.search(r"\bnc\b|non-?commercial", f"{self.hub} {self.name}".lower())


def licence_of(
    dataset: str, integrate: str, given: str, public: bool = True, begun: str = ""
) -> Licence:
    """The licence of what is made from a data set. dataset: its name. integrate: names of the parts of an integrated
    set. given: what the user says of images that the catalog does not know; empty for nothing. public: whether the
    data are those that the name means; of others with the name of a public set it only forbids, and grants nothing.
    begun: the data sets of the images that the distillation began with, with commas. Raises UserError where
    ``given`` contradicts the catalog, or does not allow to pass on what is made of the images."""
    if re.search(r"\bnd\b|noderiv", given.lower()):
        raise UserError(
            f"--license={given} forbids to pass on what is made of the images, as this set is: ask their owner for"
            " another licence"
        )
    parts = parts_of(dataset, integrate) + [
        name for start in begun.split(",") if start for name in parts_of(start, "")
    ]
    known = [_of_catalog(part) for part in parts]
    if not public:
        known = [name if name and "NC" in name else None for name in known]
    if None not in known:
        names = sorted({name for name in known if name}, key=list(KNOWN).index)
        # Of several the one that allows least: Creative Commons' names grow with their conditions.
        name = next((n for n in names if "NC" in n), names[0] if len(names) == 1 else UNKNOWN)
        if given and _spelled(given) != name:
            raise UserError(
                f"--license={given}: {dataset} is under {name}, and so is what is made of it: leave --license out"
            )
        return _licence(name, True)
    if any("NC" in (name or "") for name in known) and "-NC" not in _spelled(given or UNKNOWN):
        raise UserError(
            f"a part of {dataset} forbids commercial use: give a --license that does, as --license='CC BY-NC 4.0'"
        )
    return _licence(_spelled(given or UNKNOWN), False)


def parts_of(dataset: str, integrate: str) -> list[str]:
    """The names of the data sets that one is made of, without folders and as the catalog spells them."""
    names = parts(integrate) if dataset == "integrated" else (dataset,)
    stems = [PurePath(name).stem if name.endswith(".npz") else name for name in names]
    return [_spelling(re.sub(r"^(tfds:)?med_mnist[-/]", "", stem)) for stem in stems]


def _spelling(name: str) -> str:
    """A public set's name as the catalog has it ("DermaMNIST-64" is dermamnist_64); any other as it is."""
    plain = re.sub(r":[0-9.*]+$", "", name)
    known = plain.lower().replace("-", "_").removesuffix("_28")
    return known if find(known) else plain


def _of_catalog(name: str) -> str | None:
    if name == "phantom":
        return "Apache-2.0"
    found = find(name)
    return found[0].licence if found else None


def _spelled(text: str) -> str:
    """A licence as `KNOWN` spells it, whether people or the Hub wrote it; others as they are."""
    plain = text.strip().lower().replace(" ", "-")
    return next((name for name, (hub, _) in KNOWN.items() if hub == plain), text.strip())


def _licence(name: str, inherited: bool) -> Licence:
    return Licence(name, *KNOWN.get(name, ("other", "")), inherited)
