"""Where the learned step size starts, if it is to be searched (--lr_init=0)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from experiments.session import Session
from medjax import store
from medjax.augment import augment
from medjax.distill import Distiller
from medjax.distill.mtt import MTTConfig, search_step_size
from medjax.distill.segments import Segments

#: Step sizes tried, and the segments each is tried on.
GRID, SEGMENTS = tuple(10 ** (-4 + i / 3) for i in range(10)), 8


def start_step_size(
    session: Session, folder: Path, distiller: Distiller, config: MTTConfig
) -> Callable[[Any], Any] | None:
    """A map of the first state that puts the best step size of ``GRID`` in it; None where lr_init gives one."""
    if config.lr_init > 0:
        return None

    def prepare(state: Any) -> Any:
        key = session.key("search")
        feed_key, search_key = jax.random.split(key)
        drawn = distiller.feed(feed_key, jnp.arange(SEGMENTS))
        segments = Segments(drawn.start[:, 0], drawn.target[:, 0])

        @jax.jit
        def search(key: Any, state: Any, segments: Segments, grid: Any) -> Any:
            parts = {"model": session.model, "augment": augment}
            return search_step_size(config, key, state, segments, grid, **parts)

        best, losses = search(search_key, state, segments, jnp.asarray(GRID))
        row = {"grid": GRID, "losses": losses.tolist(), "step_size": float(best)}
        store.append_log(folder / "log.jsonl", phase="search", **row)
        session.console.print(f"step size starts at {float(best):.2g}")
        return state._replace(step_size=best)

    return prepare
