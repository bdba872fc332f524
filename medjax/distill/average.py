"""A running average of the synthetic set (Polyak averaging), as a wrapper of any method: matching is noisy, so the set
changes at random from iteration to iteration. Networks trained better on MTT's average than on its last set
(docs/presets.md), and no better on DC's (configs/dc.toml)."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from medjax.config import option, validate
from medjax.distill.base import Distiller
from medjax.types import Dataset, PyTree, Synthetic


@dataclasses.dataclass(frozen=True)
class AverageConfig:
    """The average of the sets."""

    average: float = option(
        0.0,
        "decay per iteration of the running average that is kept; 0: the last set",
        low=0,
        below=1,
    )


class AverageState(NamedTuple):
    """The method's own state; the average of its images [m, h, w, c], step sizes [] and soft labels [m, k], if it has
    any; iterations so far."""

    inner: Any
    images: Array
    step_size: Array
    soft: Array | None
    seen: Array


def begin(distiller: Distiller, inner: Any) -> AverageState:
    """The average of one set is that set."""
    synthetic = distiller.extract(inner)
    return AverageState(inner, synthetic.images, synthetic.step_size, synthetic.soft, jnp.int32(0))


def averaged(config: AverageConfig, distiller: Distiller) -> Distiller:
    """The method with the average in its state and as its result. The first iterations use a smaller decay, so that the
    average soon forgets the start. Raises UserError for a decay outside [0, 1)."""
    validate(config)
    if not config.average:
        return distiller

    def init(key: Array, data: Dataset) -> AverageState:
        return begin(distiller, distiller.init(key, data))

    def step(
        key: Array, state: AverageState, data: Dataset, item: PyTree
    ) -> tuple[AverageState, Any]:
        inner, info = distiller.step(key, state.inner, data, item)
        now = distiller.extract(inner)
        decay = jnp.minimum(config.average, (1.0 + state.seen) / (10.0 + state.seen))
        images = decay * state.images + (1 - decay) * now.images
        step_size = decay * state.step_size + (1 - decay) * now.step_size
        # Shares of classes: their average is one too.
        soft = now.soft
        if state.soft is not None and soft is not None:
            soft = decay * state.soft + (1 - decay) * soft
        return AverageState(inner, images, step_size, soft, state.seen + 1), info

    def extract(state: AverageState) -> Synthetic:
        now = distiller.extract(state.inner)
        return now._replace(images=state.images, step_size=state.step_size, soft=state.soft)

    return distiller._replace(init=init, step=step, extract=extract)
