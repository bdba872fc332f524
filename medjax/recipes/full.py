"""Training on all real images: the upper bound."""

import dataclasses

from medjax import cost, train
from medjax.config import option
from medjax.errors import UserError
from medjax.recipes.base import Costs, Recipe, Setup

#: SGD's step size on all images under the recipe of the evaluation; on val it was not searched, which is too dear.
EVALUATION_LR = 0.01


@dataclasses.dataclass(frozen=True)
class FullConfig:
    """Training on all images by MedMNIST's recipe (Adam, step size x 0.1 at half and three quarters of the epochs), or
    by the evaluation's (SGD at ``EVALUATION_LR``, x 0.1 after half; momentum 0.9, weight decay 5e-4, DSA)."""

    full_recipe: str = option(
        "medmnist",
        "how networks train: medmnist (Adam, images as they are), or evaluation (as on distilled sets: SGD, DSA)",
        choices=("medmnist", "evaluation"),
    )
    full_epochs: int = option(100, "epochs of each network", low=1)
    full_batch: int = option(128, "images per step", low=1)
    full_lr: float = option(1e-3, "Adam's step size, of the recipe medmnist", low=0)
    full_networks: int = option(3, "number of networks", low=1)
    full_select: str = option(
        "last",
        "epoch that is scored: the last, or each network's best on val by AUC (MedMNIST)",
        choices=("last", "val"),
    )

    def __post_init__(self) -> None:
        """Raises UserError for a step size that would change nothing."""
        if self.full_recipe == "evaluation" and self.full_lr != FullConfig.full_lr:
            raise UserError(
                f"--full_lr={self.full_lr} is Adam's; --full_recipe=evaluation trains by SGD at {EVALUATION_LR}: leave"
                " it out"
            )


def costs(setup: Setup) -> Costs:
    """The training."""
    config, images = setup.config(FullConfig), setup.shape[0]
    epochs, scored = config.full_epochs, setup.test
    scored += epochs * setup.val if config.full_select == "val" else 0
    passes = cost.passes(config.full_networks, epochs, images, scored)
    work = {"training": setup.model.flops * passes}
    batch = min(config.full_batch, images)
    alive = train.alive(setup.model, batch, config.full_networks)
    return Costs(work, real=alive, networks=config.full_networks)


RECIPE = Recipe(
    name="full",
    title="all images",
    summary="Networks trained on all real images: the upper bound.",
    place=90,
    colour="#000000",
    marker="*",
    configs=(FullConfig,),
    costs=costs,
    shown=("full_recipe", "full_epochs", "full_networks"),
)
