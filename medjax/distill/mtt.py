"""MTT: matching training trajectories (Cazenavette et al. 2022; the study's equations 4 and 5).

A student starts at an expert's snapshot theta_t, takes N SGD steps on the synthetic set, and should arrive at the
expert's later snapshot theta*_{t+M}:

    theta_{i+1} = theta_i - alpha * grad CE(A(S); theta_i)                                          (eq. 4)
    L = |theta_N - theta*_{t+M}|^2 / |theta*_t - theta*_{t+M}|^2                                    (eq. 5)

The gradient of L goes through all N steps to the images S and the step size alpha, and it is exact. The values that it
reads of each step are kept where that is faster and memory allows (`cost.residuals`); `jax.checkpoint` computes the
others again on the way back, so that memory holds at least one step and N parameter vectors.

Departures from the public code, each with its reason beside it: the step size is updated multiplicatively (the public
code: ``raw``), an iteration that fails is skipped, the first step size can be searched, and expert segments are drawn
(the public code: ``cycled``).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from medjax import cost, devices, train
from medjax.augment import Augmentation
from medjax.distill.base import Distiller
from medjax.distill.images import AS_PUBLISHED, ImagesConfig, first_images
from medjax.distill.mtt_config import MTTConfig, check, draws
from medjax.distill.segments import Segments, segment_reader
from medjax.distill.soft import SoftLabels, after_step, nearly_hard
from medjax.distill.unroll import minibatches, student
from medjax.models.base import Model
from medjax.types import Dataset, Synthetic, Trajectories

#: The last losses whose median counts as normal, and the least number of them.
RECENT, ENOUGH = 100, 5


class MTTState(NamedTuple):
    """What the next iteration needs.

    images [m, h, w, c], labels [m], step_size []: the synthetic set, as it is kept (`medjax.packing.Packing`).
    opt_state, step_trace []: momentum of the images and of the step size.
    recent: the last hundred losses of finite iterations, NaN where there are fewer.
    seen: finite iterations so far.
    soft: soft labels, where they are learned.
    """

    images: Array
    labels: Array
    step_size: Array
    opt_state: Any
    step_trace: Array
    recent: Array
    seen: Array
    soft: SoftLabels | None = None


class MTTInfo(NamedTuple):
    """One iteration, for the log: the loss, its gradient's norm over the images and its value for the step size, the
    step size used, how far the student went relative to its expert, and whether the update was skipped."""

    loss: Array
    grad_images: Array
    grad_step_size: Array
    step_size: Array
    displacement: Array
    skipped: Array


def mtt(
    config: MTTConfig,
    *,
    model: Model,
    augment: Augmentation | None,
    trajectories: Trajectories,
    ipc: int,
    classes: int,
    kept: ImagesConfig = AS_PUBLISHED,
    begun: Float[Array, "m h w c"] | None = None,
) -> Distiller:
    """MTT as a `Distiller`. begun: stored images of model space to begin with. Raises UserError for values that
    cannot work together (see `check`)."""
    check(config, model, trajectories.epochs)
    tx = kept.transformation(config.lr_img, config.img_momentum)

    def init(key: Array, data: Dataset) -> MTTState:
        images, labels = first_images(key, data, config.init_images, ipc, classes, begun)
        state = MTTState(
            images,
            labels,
            jnp.float32(config.lr_init or 0.01),
            tx.init(images),
            jnp.float32(0.0),
            jnp.full(RECENT, jnp.nan),
            jnp.int32(0),
            nearly_hard(labels, classes) if config.labels == "soft" else None,
        )
        return devices.replicated(state)

    def step(
        key: Array, state: MTTState, data: Dataset, item: Segments
    ) -> tuple[MTTState, MTTInfo]:
        keys = jax.random.split(key, config.meta_batch)

        # Once an iteration, outside the students' steps: with ZCA it is two products with large matrices.
        def shown(images: Array, logits: Array | None) -> tuple[Array, Array | None]:
            shares = None if logits is None else data.packing.labels(jax.nn.softmax(logits))
            return data.packing.decode(images), shares

        logits = state.soft.logits if state.soft else None
        (decoded, shares), stored_gradients = jax.vjp(shown, state.images, logits)
        seen = Synthetic(decoded, data.packing.labels(state.labels), state.step_size, shares)

        def one(made: Synthetic, key: Array, start: Array, target: Array) -> Any:
            def loss(images: Array, step_size: Array, shares: Array | None) -> tuple[Array, Array]:
                labels, segment = made.labels if shares is None else shares, Segments(start, target)
                return match(config, model, augment, key, images, labels, step_size, segment)

            gradient = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
            return gradient(made.images, made.step_size, made.soft)

        # Segments or the images of each are dealt out to the devices, not both. On a CPU images: that is faster.
        alone = devices.on_cpu() or config.meta_batch == 1
        spread = devices.map if alone else devices.map_sharded
        found = spread(one, seen)(keys, item.start, item.target)
        (value, displacement), (g_seen, g_step, g_shares) = jax.tree.map(lambda a: a.mean(0), found)
        g_images, g_logits = stored_gradients((g_seen, g_shares))
        updates, opt_state = tx.update(g_images, state.opt_state, state.images)
        step_size, step_trace = update_step_size(config, state.step_size, state.step_trace, g_step)
        images: Any = optax.apply_updates(state.images, updates)
        proposed = state._replace(
            images=data.packing.clip(images),
            opt_state=opt_state,
            step_size=step_size,
            step_trace=step_trace,
        )
        finite = jnp.isfinite(value) & jnp.isfinite(g_step) & jnp.isfinite(g_images).all()
        if state.soft:
            proposed = proposed._replace(soft=after_step(state.soft, g_logits, config.lr_labels))
            finite &= jnp.isfinite(g_logits).all()
        median = jnp.nanmedian(state.recent)
        spike = (state.seen >= ENOUGH) & (value > config.skip_factor * median)
        use = finite & ~(spike & (config.skip_factor > 0))
        moved = jax.tree.map(lambda new, old: jnp.where(use, new, old), proposed, state)
        # A loss far above the median is recorded too: if the level has really risen, the median follows.
        slot = jnp.where(finite, state.seen % RECENT, RECENT)
        recent = state.recent.at[slot].set(value, mode="drop")
        moved = moved._replace(recent=recent, seen=state.seen + finite)
        norm = jnp.sqrt(jnp.sum(g_images**2))
        return moved, MTTInfo(value, norm, g_step, state.step_size, displacement, ~use)

    def extract(state: MTTState) -> Synthetic:
        shares = jax.nn.softmax(state.soft.logits) if state.soft else None
        return Synthetic(state.images, state.labels, state.step_size, shares)

    return Distiller(
        init, segment_reader(trajectories, draws(config)), step, extract, reads_images=False
    )


def iteration_flops(config: MTTConfig, model: Model, shape: tuple[int, ...]) -> float:
    """Floating-point operations of one iteration on (decoded) synthetic images of a shape (m, h, w, c)."""
    again = cost.residuals(needed_bytes(config, model, shape)) == "recomputed"
    a_pass = cost.META_STEP if again else cost.SECOND_GRADIENT
    return a_pass * model.flops * passes(config, shape[0])


def needed_bytes(config: MTTConfig, model: Model, shape: tuple[int, ...]) -> float:
    """Bytes of all that the derivative reads of one student's inner steps."""
    return cost.bytes_read(model, shape[1:]) * passes(config, shape[0]) / config.meta_batch


def kept_bytes(config: MTTConfig, model: Model, shape: tuple[int, ...]) -> float:
    """Bytes of it that an iteration keeps, instead of computing them again: of one student at a time on a CPU."""
    size = needed_bytes(config, model, shape)
    students = 1 if devices.on_cpu() else config.meta_batch
    return students * size * cost.KEPT_OF[cost.residuals(size * students)]


def passes(config: MTTConfig, images: int) -> int:
    """Images that an iteration's inner steps see, all together."""
    return batch_size(config, images) * config.inner_steps * config.meta_batch


def batch_size(config: MTTConfig, images: int) -> int:
    """Synthetic images of an inner step, where ``images`` is the number of all."""
    return min(config.batch_syn or images, images)


def match(
    config: MTTConfig,
    model: Model,
    augment: Augmentation | None,
    key: Array,
    images: Float[Array, "m h w c"],
    labels: train.Labels,
    step_size: Float[Array, ""],
    segment: Segments,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Loss (eq. 5) of one student, and its displacement |theta_N - theta_t| / |theta*_{t+M} - theta_t|."""
    table_key, student_key = jax.random.split(key)
    count = images.shape[0]
    table = minibatches(table_key, count, batch_size(config, count), config.inner_steps)
    synthetic: Any = Synthetic(images, labels, step_size)
    residuals = cost.residuals(needed_bytes(config, model, images.shape))
    end = student(model, augment, student_key, synthetic, segment.start, table, residuals)
    return parameter_distance(end, segment.start, segment.target)


def parameter_distance(
    end: Float[Array, " p"], start: Float[Array, " p"], target: Float[Array, " p"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Normalised squared distance |end - target|^2 / |start - target|^2 (the study's eq. 5), and how far ``end`` went:
    |end - start| / |start - target|."""
    span = jnp.sum((start - target) ** 2)
    loss = jnp.sum((end - target) ** 2) / span
    return loss, jnp.sqrt(jnp.sum((end - start) ** 2) / span)


def update_step_size(
    config: MTTConfig, step_size: Array, trace: Array, gradient: Array
) -> tuple[Array, Array]:
    """SGD with momentum on the step size. ``multiplicative`` is lr * exp(clip(-lr_lr * g / lr)): the raw update to
    first order, but never zero or negative, and one wild gradient moves it by at most ``lr_clip``."""
    trace = config.img_momentum * trace + gradient
    change = -config.lr_lr * trace
    if config.lr_update == "raw":
        return step_size + change, trace
    return step_size * jnp.exp(jnp.clip(change / step_size, -config.lr_clip, config.lr_clip)), trace
