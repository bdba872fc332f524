"""DD-Ranking's scores of a distilled set (Li et al. 2024): what it loses against all real images and gains over random
ones, as one number.

Accuracies are means over networks on the test split, as fractions; all labels are hard ones.

    HLR = accuracy(all images) - accuracy(set)
    IOR = accuracy(set) - accuracy(random images)
    LRS = 100 (e^a - e^-1) / (e - e^-1),  a = (IOR - HLR) / 2
    ARS = the same with a = (IOR with augmentation + IOR without) / 2

LRS is 27 where a set gains over random images what it loses against all, ARS where it gains nothing (a = 0).
"""

import dataclasses
import math
from typing import Annotated, NamedTuple

from pydantic import Field

from medjax.config import option
from medjax.result_file import Fraction, Number
from medjax.score import percent

#: A difference of accuracies, and a score of DD-Ranking.
Difference = Annotated[Number, Field(ge=-1, le=1, allow_inf_nan=False)]
Hundred = Annotated[Number, Field(ge=0, le=100, allow_inf_nan=False)]


@dataclasses.dataclass(frozen=True)
class RankingConfig:
    """DD-Ranking's scores."""

    ranking: str = option(
        "", "folder of a finished run of full, same data and network: adds DD-Ranking's LRS and ARS"
    )


class Ranking(NamedTuple):
    """DD-Ranking's scores, and what they are made of; None where networks did not end in numbers.

    lrs, ars: from 0 to 100. hlr, ior: as the run's networks are trained. ior_augmented, ior_plain: with and without
    augmentation; one of them is ``ior``. real: accuracy on all images, of networks that are trained as that run
    of `full` trained them. full: the folder's name of the run of `full`.
    """

    lrs: Hundred | None
    ars: Hundred | None
    hlr: Difference | None
    ior: Difference | None
    ior_augmented: Difference | None
    ior_plain: Difference | None
    real: Fraction
    full: str

    def __str__(self) -> str:
        """In one line, accuracies in percent."""
        lrs, ars = ("–" if v is None else f"{v:.1f}" for v in (self.lrs, self.ars))
        augmented, plain = (
            "–" if v is None else f"{100 * v:+.1f}" for v in (self.ior_augmented, self.ior_plain)
        )
        return (
            f"DD-Ranking: LRS {lrs}, ARS {ars} (all images {percent(self.real)}; over random images {augmented} points"
            f" with augmentation, {plain} without)"
        )


def ranking(
    real: float,
    full: str,
    made: tuple[float | None, float | None],
    start: tuple[float | None, float | None],
    augmented: bool,
) -> Ranking:
    """The scores from accuracies. real: of all images, in the run ``full``. made, start: of the set and of the random
    images that it began with, each as the run trains networks and with augmentation switched. augmented: whether the
    run trains with augmentation."""
    ior, other = (
        None if m is None or s is None else m - s for m, s in zip(made, start, strict=True)
    )
    hlr = None if made[0] is None else real - made[0]
    lrs = None if ior is None or hlr is None else _hundred((ior - hlr) / 2)
    ars = None if ior is None or other is None else _hundred((ior + other) / 2)
    with_and_without = (ior, other) if augmented else (other, ior)
    return Ranking(lrs, ars, hlr, ior, *with_and_without, real, full)


def _hundred(a: float) -> float:
    """[-1, 1] on a scale from 0 to 100 on which gains count more the higher they lie."""
    return 100 * (math.exp(a) - math.exp(-1)) / (math.exp(1) - math.exp(-1))
