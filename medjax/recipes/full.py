"""Training on all real images: the upper bound."""

import dataclasses

from medjax import cost, train
from medjax.config import option
from medjax.recipes.base import Costs, Recipe, Setup


@dataclasses.dataclass(frozen=True)
class FullConfig:
    """Training on all images (MedMNIST's: Adam, step size x 0.1 at half and at three quarters of the epochs)."""

    full_epochs: int = option(100, "epochs of each network", low=1)
    full_batch: int = option(128, "images per step", low=1)
    full_lr: float = option(1e-3, "Adam's step size", low=0)
    full_networks: int = option(3, "number of networks", low=1)
    full_select: str = option(
        "last",
        "epoch that is scored: the last, or each network's best on val by AUC (MedMNIST)",
        choices=("last", "val"),
    )


def costs(setup: Setup) -> Costs:
    """The training."""
    config, images = setup.config(FullConfig), setup.shape[0]
    passes = config.full_networks * config.full_epochs * images
    work = {"training": cost.GRADIENT * setup.model.flops * passes}
    batch = min(config.full_batch, images)
    return Costs(work, real=train.alive(setup.model, batch, config.full_networks))


RECIPE = Recipe(
    name="full",
    title="all images",
    summary="Networks trained on all real images: the upper bound.",
    place=90,
    colour="#000000",
    marker="*",
    configs=(FullConfig,),
    costs=costs,
    shown=("full_epochs", "full_networks"),
)
