"""What coarser matrix products would do to MTT's meta-gradient: every product of the compiled iteration, in all its
derivatives, with its factors rounded to fewer bits and its sums in float32, as tensor cores do it.

    python -m benchmarks.precision --out=results/precision.json

An expert of the phantom set, a student of N steps on random real images, no DSA (its draws are others in float64); the
gradient to the images in float64 is the truth. It is emulated (a program's jaxpr is walked and its products are
replaced), so it needs no GPU and says nothing of speed.
"""

import argparse
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from medjax import experts, provenance, store, train
from medjax.augment import augment
from medjax.data import preprocess, sources
from medjax.distill.mtt import match
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.random import random_images
from medjax.distill.segments import Segments
from medjax.models import ConvNetConfig, Model, convnet
from medjax.types import PyTree

#: Bits of the fraction that a factor keeps.
FRACTIONS = {"float32": 23, "tf32": 10, "bf16": 7}
STEPS = (20, 50)
#: im2col, as on a GPU: its products are the ones that tensor cores would round. On one device of the CPU, unlike the
#: product: a program that is dealt out to several cannot be walked.
MODEL = convnet(ConvNetConfig(conv="im2col"), classes=8, size=32, channels=3)


def rounded(x: Any, bits: int) -> Any:
    """float32 to the nearest number with so many bits after the leading one."""
    if bits >= 23 or x.dtype != jnp.float32:
        return x
    return lax.reduce_precision(x, exponent_bits=8, mantissa_bits=bits)


def with_products(function: Callable[..., Any], bits: int) -> Callable[..., Any]:
    """``function`` with the factors of all its matrix products rounded."""

    def changed(*args: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        out = walk(closed.jaxpr, closed.consts, jax.tree.leaves(args), bits)
        return jax.tree.unflatten(jax.tree.structure(shape), out)

    return changed


def walk(jaxpr: core.Jaxpr, consts: list[Any], args: list[Any], bits: int) -> list[Any]:
    """Evaluate a jaxpr, products rounded, loops and calls walked in turn."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else known[atom]

    for equation in jaxpr.eqns:
        values, params = [read(v) for v in equation.invars], equation.params
        name = equation.primitive.name
        if name == "dot_general":
            values = [rounded(v, bits) for v in values]
            out = [equation.primitive.bind(*values, **params)]
        elif name == "scan":
            out = scanned(params, values, bits)
        elif (inner := params.get("jaxpr", params.get("call_jaxpr"))) is not None:
            inner, held = (
                (inner, []) if isinstance(inner, core.Jaxpr) else (inner.jaxpr, inner.consts)
            )
            out = walk(inner, held, values, bits)
        else:
            out = equation.primitive.bind(*values, **params)
            out = out if equation.primitive.multiple_results else [out]
        known.update(zip(equation.outvars, out, strict=True))
    return [read(v) for v in jaxpr.outvars]


def scanned(params: dict[str, Any], values: list[Any], bits: int) -> list[Any]:
    """A scan whose body is walked."""
    fixed, begun = params["num_consts"], params["num_consts"] + params["num_carry"]
    body = params["jaxpr"]

    def step(carry: list[Any], xs: list[Any]) -> tuple[list[Any], list[Any]]:
        out = walk(body.jaxpr, body.consts, [*values[:fixed], *carry, *xs], bits)
        return out[: params["num_carry"]], out[params["num_carry"] :]

    carry, stacked = lax.scan(
        step,
        values[fixed:begun],
        values[begun:],
        length=params["length"],
        reverse=params["reverse"],
    )
    return [*carry, *stacked]


def measure(steps: int, images: PyTree, labels: Any, segment: Segments) -> list[dict[str, Any]]:
    """A row for each kind of product: cosine and relative error of the gradient to the images, and the loss."""
    config = MTTConfig(inner_steps=steps)

    def loss(model: Model, images: Any, step_size: Any, segment: Segments) -> Any:
        key = jax.random.key(2)
        return match(config, model, None, key, images, labels, step_size, segment)[0]

    def double(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), tree)

    with jax.enable_x64(True):
        wide = MODEL._replace(init=lambda key: double(MODEL.init(key)))
        exact = jax.jit(jax.value_and_grad(functools.partial(loss, wide)))
        truth_loss, truth = jax.device_get(exact(*double((images, 0.01, segment))))
    gradient = jax.value_and_grad(functools.partial(loss, MODEL))
    rows = []
    for name, bits in FRACTIONS.items():
        value, found = jax.jit(with_products(gradient, bits))(images, jnp.float32(0.01), segment)
        found = np.asarray(found, np.float64)
        length = np.linalg.norm(truth)
        cosine = float((found * truth).sum() / np.linalg.norm(found) / length)
        error = float(np.linalg.norm(found - truth) / length)
        loss_error = abs(float(value) / float(truth_loss) - 1)
        rows.append(
            {"products": name, "inner_steps": steps, "cosine": cosine, "relative_error": error}
            | {"relative_error_of_the_loss": loss_error}
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision")
    parser.add_argument("--out", default="runs/precision.json", help="JSON file for the rows")
    out = parser.parse_args().out
    raw = sources.load("phantom")
    pre = preprocess.fit(preprocess.PreprocessConfig(), raw.train.images)
    data = preprocess.to_device(pre, raw.train)
    trainer = train.Trainer(MODEL, train.sgd(), augment, batch=256, classes=8)
    read = experts.train_in_memory(trainer, jax.random.key(0), data, 0.01, experts=1, epochs=2).read
    start, target = read(0, np.array([1, 2]))
    images, labels = random_images(jax.random.key(1), data, 1, 8)
    segment = Segments(jnp.asarray(start), jnp.asarray(target))
    rows = [row for n in STEPS for row in measure(n, images, labels, segment)]
    store.write_json(Path(out), {"rows": rows, "environment": provenance.environment()})


if __name__ == "__main__":
    main()
