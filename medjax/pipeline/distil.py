"""The distillation of a run: iterations in chunks, each saved, with interim evaluations between them."""

import shutil
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from medjax import cost, devices, store
from medjax.distill import Distiller, average, run
from medjax.distill.seeds import nth, stacked, together
from medjax.eval_config import SelectConfig
from medjax.pipeline import interim
from medjax.pipeline.progress import Update
from medjax.pipeline.session import Session
from medjax.recipes import Costs, Recipe, Setup
from medjax.types import Dataset


class Running(NamedTuple):
    """A distillation on its way: iterations done, its state, and how many iterations were skipped."""

    session: Session
    distiller: Distiller
    done: int
    state: Any
    skipped: int


def distil(sessions: list[Session], recipe: Recipe, setups: list[Setup], costs: Costs) -> None:
    """Run the distillations of several seeds to their end, or go on with them, with interim evaluations every
    ``eval_every`` iterations; where the test split chooses, of the start too, as in the public code. Seeds that have
    come equally far are distilled in one program. They may have images of their own; where the method reads these, one
    program has those alone whose images have one shape.

    Leaves log rows, the last states in checkpoints/ and the candidate sets in candidates/ of each session's folder.
    """
    assert costs.iterations is not None and costs.iteration > 0, (
        f"{recipe.name}: Costs.iteration must be above 0"
    )
    iterations, every = (
        costs.iterations,
        min(sessions[0].settings.config(SelectConfig).eval_every, costs.iterations),
    )
    runs = [_begun(*pair, recipe, iterations) for pair in zip(sessions, setups, strict=True)]
    name = "distil" if len(runs) == 1 else f"distil {len(runs)} seeds"
    update = sessions[0].progress.bar(name, iterations, min(one.done for one in runs))
    # Fewer seeds than a CPU has cores keep them busier in turn, with the images of each dealt out. Of all seeds, not of
    # those that are behind: else a kill between the saves of two would change the program of one, and its bits.
    in_turn = devices.on_cpu() and len(runs) < devices.device_count()
    together = [[i] for i in range(len(runs))] if in_turn else _programs(runs)
    while (first := min(one.done for one in runs)) < iterations:
        end = min([one.done for one in runs if one.done > first], default=iterations)
        for program in together:
            group = [i for i in program if runs[i].done == first]
            if not group:
                continue
            # As many as of all seeds together, for the cuts of those that are behind to be the same.
            chunk = cost.per_call(every, cost.work_per_call() / costs.iteration / len(program))
            own = [runs[i] for i in group]
            advanced = _advance(own, len(program), end, iterations, chunk, update)
            for i, one in zip(group, advanced, strict=True):
                runs[i] = one


def _programs(runs: list[Running]) -> list[list[int]]:
    """Which distillations can be one program: those whose arrays have one shape."""
    alike: dict[Any, list[int]] = {}
    for i, one in enumerate(runs):
        data = _data(one)
        shape = data.packing.factor, data.images.shape
        alike.setdefault(shape, []).append(i)
    return list(alike.values())


def _data(run: Running) -> Dataset:
    """What a distillation reads of its training split: of many splits side by side the images take much memory."""
    data = run.session.train
    if run.distiller.reads_images:
        return data
    return data._replace(images=data.images[:0], labels=data.labels[:0])


def _begun(session: Session, setup: Setup, recipe: Recipe, iterations: int) -> Running:
    """A distillation at its start, or where an earlier run left it."""
    assert recipe.build
    inner = recipe.build(setup)
    distiller = average.averaged(session.settings.config(average.AverageConfig), inner)
    config = session.settings.config(SelectConfig)
    fresh = jax.jit(distiller.init)(session.key("init"), session.train)
    checkpoints = session.folder / "checkpoints"
    found = store.load_latest(checkpoints, fresh, session.note)
    if found and (gone := interim.lost(session.folder, config, found[0])):
        session.note(f"{gone} is missing or damaged; the distillation is done again to get it back")
        # Beside later ones, the saves of this one would be deleted as the oldest.
        shutil.rmtree(checkpoints)
        found = None
    if found is None:
        found = 0, first_state(session, recipe, setup, inner, fresh)
        interim.snapshot(session, 0, session.stored(distiller.extract(found[1])))
        store.save_step(checkpoints, *found)
    # Put the state where a step leaves it, or the second device call is compiled again.
    first, state = (
        found[0],
        jax.tree.map(lambda a, b: jax.device_put(a, b.sharding), found[1], fresh),
    )
    rows = [r for r in store.read_log(session.log) if r["phase"] == "distill"]
    skipped = max((r.get("skipped") or 0 for r in rows if r["iteration"] <= first), default=0)
    if rows and first < iterations:
        session.resumed("distillation", first, iterations, max(r["iteration"] for r in rows))
    if first in interim.evaluated(config, first + 1) or (first and first == iterations):
        interim.evaluate(session, first, session.stored(distiller.extract(state)))
    return Running(session, distiller, first, state, skipped)


def _advance(
    runs: list[Running], beside: int, end: int, iterations: int, chunk: int, update: Update
) -> list[Running]:
    """Distillations that have come equally far, brought to iteration ``end``; saved after every device call.
    beside: how many the program is made for. iterations: of a whole distillation."""
    first, session = runs[0].done, runs[0].session
    distiller, key, state = runs[0].distiller, session.key("distil"), runs[0].state
    data, several = _data(runs[0]), beside > 1
    if several:
        # Copies in the place of those that are further: an accelerator's program of fewer would have other bits.
        lanes = runs if devices.on_cpu() else [*runs, *[runs[-1]] * (beside - len(runs))]
        distiller = together([one.distiller for one in lanes])
        key = jnp.stack([one.session.key("distil") for one in lanes])
        state = stacked([one.state for one in lanes])
        if any(one.session.train is not session.train for one in lanes):
            data = stacked([_data(one) for one in lanes])
    config, accuracy = session.settings.config(SelectConfig), ""
    every, split = config.eval_every, "test" if config.select == "test" else "val"
    begin = time.monotonic()
    cut = {"first": first, "iterations": end, "chunk": chunk, "every": every}
    calls = run(distiller, key, data, state, **cut)
    for done, state, infos in calls:
        # What side by side costs each seed is its share.
        seconds = (time.monotonic() - begin) / (done - first) / len(runs)
        # Cut up on the host: an accelerator is at work on the next call.
        there = jax.device_get((state, infos)) if several else (state, infos)
        own = [_of(i, *there) if several else there for i in range(len(runs))]
        runs = [_kept(one, done, *mine, seconds) for one, mine in zip(runs, own, strict=True)]
        if done % every == 0 or done == iterations:
            found = [
                interim.evaluate(r.session, done, r.session.stored(r.distiller.extract(r.state)))
                for r in runs
            ]
            accuracy = f"{split} {', '.join(found)}"
        text = f"loss {float(np.mean(own[0][1].loss)):.4f} "
        if "step_size" in infos._fields:
            text += f"step size {float(own[0][1].step_size[-1]):.2e} "
        update(done, text + accuracy)
        first, begin = done, time.monotonic()
    return runs


def _of(number: int, state: Any, infos: Any) -> tuple[Any, Any]:
    """The state of one seed, on the device, and its infos."""
    return jax.tree.map(jnp.asarray, nth(state, number)), nth(infos, number)


def _kept(before: Running, done: int, state: Any, infos: Any, seconds: float) -> Running:
    """A distillation after a device call, which is logged and saved. seconds: of one iteration."""
    session, skipped = before.session, before.skipped
    for i, number in enumerate(range(before.done + 1, done + 1)):
        row = {name: value[i].item() for name, value in infos._asdict().items()}
        skipped += row.pop("skipped")
        row |= {"skipped": skipped, "seconds": seconds}
        store.append_log(session.log, phase="distill", iteration=number, **row)
    store.save_step(session.folder / "checkpoints", done, state)
    return before._replace(done=done, state=state, skipped=skipped)


def first_state(
    session: Session, recipe: Recipe, setup: Setup, inner: Distiller, fresh: Any
) -> Any:
    """The first state after the recipe's `prepare`; what that found goes to the log. inner: the method without the
    average, whose own state `prepare` takes."""
    if recipe.prepare is None:
        return fresh
    kept = isinstance(fresh, average.AverageState)
    made = recipe.prepare(setup, inner, session.key("search"), fresh.inner if kept else fresh)
    if made is None:
        return fresh
    state, row = made
    store.append_log(session.log, phase="search", **row)
    if "step_size" in row:
        session.progress.say(f"step size starts at {row['step_size']:.2g}")
    return average.begin(inner, state) if kept else state
