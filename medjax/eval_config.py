"""Options of evaluations: how networks are trained on a set, cheaply or for its final scores, and how its iteration is
chosen."""

import dataclasses

from medjax.config import option

#: Step sizes among which val chooses, for images that bring none of their own.
GRID = (0.001, 0.003, 0.01, 0.03, 0.1)

#: Shares of a set's own step size among which val chooses, where it is asked to. MTT learns its step size with students
#: that have no momentum. Evaluated networks have: with momentum 0.9 they go as far at a tenth of it. The whole of it
#: was chosen in none of five runs on four sets (results/rows), and 0.03 of it was no better on two (results/steps).
SHARES = (0.3, 0.1)

#: How networks can be trained on a set; scores of different recipes are never compared.
CUTMIX = "cutmix"
RECIPES = ("study", CUTMIX)

#: The fields of `EvalConfig` that say how a network is trained.
TRAINING = (
    "eval_epochs",
    "eval_steps",
    "eval_batch",
    "eval_augment",
    "eval_recipe",
    "decay_parity",
)


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Evaluation: networks trained on the synthetic set."""

    networks: int = option(5, "networks of the final evaluation", low=1)
    eval_epochs: int = option(1000, "epochs of each network of the final evaluation", low=1)
    eval_steps: int = option(
        0, "in place of eval_epochs: steps of a full eval_batch; 0: epochs count", low=0
    )
    eval_batch: int = option(256, "images per step of an evaluated network", low=1)
    eval_augment: bool = option(True, "augment images (DSA) while evaluated networks train")
    eval_recipe: str = option(
        "study",
        "training of evaluated networks: as in the study and the public codes, or with CutMix beside DSA",
        choices=RECIPES,
    )
    decay_parity: bool = option(
        False, "decay as in the public code: after epoch E//2+1, momentum reset, E+1 epochs"
    )


@dataclasses.dataclass(frozen=True)
class InterimConfig:
    """Interim evaluations on the val split, of sets during distillation and of step sizes."""

    interim_networks: int = option(2, "networks of an interim evaluation", low=1)
    interim_epochs: int = option(300, "epochs of each network of an interim evaluation", low=1)
    interim_steps: int = option(
        0, "in place of interim_epochs: steps of a full eval_batch; 0: epochs count", low=0
    )


def epochs_of(steps: int, images: int, batch: int) -> int:
    """Whole epochs on so many images, of full batches alone, that take at least this many optimiser steps."""
    return -(-steps // max(1, images // batch))


def seen(steps: int, images: int, batch: int) -> int:
    """Images of an epoch: where steps are counted, those of its full batches."""
    return images // batch * batch if steps and images > batch else images


@dataclasses.dataclass(frozen=True)
class SelectConfig:
    """The choice of the iteration that is kept."""

    eval_every: int = option(100, "iterations between interim evaluations", low=1)
    select: str = option(
        "val",
        "iteration that is kept: best on val, last, or best on test, the start included (optimistic)",
        choices=("val", "last", "test"),
    )
    eval_step_size: str = option(
        "set",
        "step size of evaluated networks: the set's own, or the better of 0.3 of it and a tenth of it where its"
        " iteration is evaluated",
        choices=("set", "searched"),
    )

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of a set's own step size at which an interim evaluation trains networks."""
        return SHARES if self.eval_step_size == "searched" else (1.0,)
