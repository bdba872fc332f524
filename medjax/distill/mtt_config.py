"""Options of MTT, and which of them cannot work together."""

import dataclasses

from medjax.config import option
from medjax.distill.segments import Draws
from medjax.errors import UserError
from medjax.models.base import Model, require


@dataclasses.dataclass(frozen=True)
class MTTConfig:
    """Matching training trajectories."""

    iterations: int = option(5000, "updates of the synthetic set", low=1)
    inner_steps: int = option(20, "N: SGD steps of the student per iteration", low=1)
    expert_span: int = option(3, "M: the student aims at its expert M epochs later", low=1)
    max_start_epoch: int = option(20, "T+: a student starts at an expert epoch below this", low=1)
    min_start_epoch: int = option(0, "T-: and not before this one", low=0)
    start_growth: int = option(
        0,
        "iterations in which the latest start rises from T- to T+ (DATM); 0: all from the first",
        low=0,
    )
    lr_img: float = option(
        1000.0, "step size of the synthetic images; with Adam in pixels of [0, 1]", low=0
    )
    lr_lr: float = option(
        1e-6, "step size with which the student's own step size is learned", low=0
    )
    lr_init: float = option(0.01, "first step size of the student; 0: search it", low=0)
    lr_update: str = option(
        "multiplicative",
        "update of the learned step size; raw: as in the public code",
        choices=("multiplicative", "raw"),
    )
    lr_clip: float = option(
        0.02, "multiplicative update: largest change of log step size per iteration", low=0
    )
    img_momentum: float = option(0.5, "momentum of the images and of the step size", low=0)
    batch_syn: int = option(
        0, "synthetic images (decoded ones) per inner step; 0, or more than there are: all", low=0
    )
    labels: str = option(
        "hard",
        "of the synthetic images: a class each, or soft ones that are learned beside them (DATM)",
        choices=("hard", "soft"),
    )
    lr_labels: float = option(2.0, "soft labels: step size of their logits", low=0)
    meta_batch: int = option(1, "expert segments per iteration; their losses are averaged", low=1)
    init_images: str = option("real", "start of the images", choices=("real", "noise"))
    skip_factor: float = option(
        5.0,
        "skip an iteration whose loss exceeds the running median by this factor (from the 6th); 0: none",
        low=0,
    )
    expert_order: str = option(
        "drawn",
        "experts are drawn, or cycled in shuffled order (public code)",
        choices=("drawn", "cycled"),
    )


def draws(config: MTTConfig) -> Draws:
    """How this configuration draws its expert segments."""
    cycled = config.expert_order == "cycled"
    window = config.min_start_epoch, config.max_start_epoch, config.start_growth
    return Draws(config.meta_batch, *window, config.expert_span, cycled)


def check(config: MTTConfig, model: Model, epochs: int) -> None:
    """UserError if the network, or experts of ``epochs`` epochs, do not fit the configuration."""
    require(model, "MTT", features=False, separable=True)
    if 0 < config.skip_factor < 1:
        raise UserError(
            f"--skip_factor={config.skip_factor} would skip usual iterations: give 1 or more, or 0"
        )
    if config.min_start_epoch >= config.max_start_epoch:
        raise UserError(
            f"--min_start_epoch={config.min_start_epoch} leaves no start below"
            f" --max_start_epoch={config.max_start_epoch}: lower it"
        )
    needed = config.max_start_epoch - 1 + config.expert_span
    if epochs < needed:
        raise UserError(
            f"experts reach epoch {epochs}, but starts below {config.max_start_epoch} plus a span of "
            f"{config.expert_span} read epoch {needed}: train longer or lower --max_start_epoch"
        )
