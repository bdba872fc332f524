"""MTT: the meta-gradient against closed forms, golden values and differences, and what surrounds it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from medjax import cost, devices, train
from medjax.augment import Augmentation
from medjax.distill import mtt, segments
from medjax.distill.mtt import parameter_distance
from medjax.distill.mtt_config import MTTConfig
from medjax.distill.random import random_images
from medjax.distill.segments import Segments
from medjax.distill.step_size_search import search_step_size
from medjax.models import ConvNetConfig, Model, conv, convnet
from medjax.types import Dataset, Synthetic, Trajectories


def wide(model, params):
    """The same network, with these as its first parameters, in float64; for use under enable_x64."""

    def init(key):
        return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), params), {}

    return model._replace(init=init)


def flat(tree):
    return ravel_pytree(jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), tree))[0]


# The gradient


@pytest.mark.parametrize("images", [3])
def test_the_same_however_it_is_worked_out(monkeypatch, images):
    """One student's images dealt out to two devices (an odd one left over too) or on one, steps kept or computed again:
    the same end and the same gradients, float64."""
    if devices.device_count() < 2:
        pytest.skip("one device")
    model = convnet(ConvNetConfig(width=4, depth=1), classes=3, size=8, channels=3)
    params, _ = model.init(jax.random.key(0))
    with jax.enable_x64(True):
        start, rng = flat(params), np.random.default_rng(0)
        model = wide(model, params)
        x = jnp.asarray(rng.normal(size=(images, 8, 8, 3)))
        labels = jnp.arange(images, dtype=jnp.int32) % 3
        table = jnp.tile(jnp.arange(images, dtype=jnp.int32), (3, 1))

        def end(x, rate, how):
            synthetic = Synthetic(x, labels, rate)
            return mtt.student(model, None, jax.random.key(1), synthetic, start, table, how)

        def worked_out(how):
            def loss(x, rate):
                theta = end(x, rate, how)
                return (jnp.sin(theta) * jnp.arange(theta.size)).sum(), theta

            # Made anew, for jax.jit knows a function by its identity and would not see the devices change.
            (_, theta), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(x, 0.1)
            return theta, *gradients

        found = [worked_out(how) for how in cost.RESIDUALS]
        monkeypatch.setattr(devices, "device_count", lambda: 1)
        found.append(worked_out("recomputed"))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max())
    assert (np.asarray(found[0][1]) != 0).any((1, 2, 3)).all()


@pytest.mark.parametrize(
    "batched,lowering", [(0, "im2col"), (0, "lax"), (1, "im2col"), (0, "winograd")]
)
def test_golden_meta_gradient(golden, convnet_params, monkeypatch, batched, lowering):
    """PyTorch's double backward through four steps, whole set and minibatches; float64."""
    monkeypatch.setattr(conv, "MANY_CHANNELS", 1)
    g = golden("meta_gradient")
    config = ConvNetConfig(width=8, conv=lowering)
    model = convnet(config, classes=3, size=16, channels=3)
    model = wide(model, convnet_params(g, "start_"))
    table = g["batched_indices"] if batched else np.tile(np.arange(6, dtype=np.int32), (4, 1))
    prefix = "batched_" if batched else ""
    with jax.enable_x64(True):
        start, target = (flat(convnet_params(g, name)) for name in ("start_", "target_"))
        labels, table = jnp.asarray(g["labels"]), jnp.asarray(table)

        def loss(images, step_size):
            synthetic = Synthetic(images, labels, step_size)
            end = mtt.student(model, None, jax.random.key(0), synthetic, start, table)
            return parameter_distance(end, start, target)[0]

        images = jnp.asarray(g["images"].transpose(0, 2, 3, 1), jnp.float64)
        gradient = jax.jit(jax.value_and_grad(loss, (0, 1)))
        value, (g_images, g_step) = gradient(images, jnp.float64(g["step_size"]))
    np.testing.assert_allclose(value, g[f"{prefix}loss"], rtol=1e-9)
    np.testing.assert_allclose(g_step, g[f"{prefix}grad_step_size"], rtol=1e-8)
    g_images, expected = np.transpose(g_images, (0, 3, 1, 2)), g[f"{prefix}grad_images"]
    np.testing.assert_allclose(g_images, expected, atol=1e-8 * np.abs(expected).max())


def test_closed_form(monkeypatch):
    """A quadratic inner loss |x - theta|^2 / 2: theta_N = mu + (1 - a)^N (theta_0 - mu), and its derivatives."""

    def quadratic(logits, labels):
        return 0.5 * (logits**2).sum(1)

    monkeypatch.setattr(train, "cross_entropies", quadratic)

    def apply(params, model_state, images, train):
        return images.reshape(images.shape[0], -1) - params.reshape(1, -1), model_state

    model = Model(lambda key: (jnp.zeros(6), {}), apply, flops=1.0, separable=True)
    rng = np.random.default_rng(0)
    n, m, a = 5, 4, 0.3
    x, (start, target) = rng.normal(size=(m, 1, 2, 3)), rng.normal(size=(2, 6))
    mu, shrink, span = x.reshape(m, 6).mean(0), (1 - a) ** n, ((start - target) ** 2).sum()
    end = mu + shrink * (start - mu)
    by_image = 2 * (end - target) * (1 - shrink) / m / span
    by_step = 2 * (end - target) @ (-n * (1 - a) ** (n - 1) * (start - mu)) / span

    config = MTTConfig(inner_steps=n)
    with jax.enable_x64(True):
        segment = Segments(jnp.asarray(start), jnp.asarray(target))
        labels = jnp.zeros(m, jnp.int32)

        def loss(x, a):
            return mtt.match(config, model, None, jax.random.key(0), x, labels, a, segment)

        gradient = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
        (value, moved), (g_x, g_a) = gradient(jnp.asarray(x), jnp.float64(a))
    np.testing.assert_allclose(value, ((end - target) ** 2).sum() / span, rtol=1e-12)
    np.testing.assert_allclose(moved, np.sqrt(((end - start) ** 2).sum() / span), rtol=1e-12)
    np.testing.assert_allclose(g_x.reshape(m, 6), np.tile(by_image, (m, 1)), rtol=1e-10)
    np.testing.assert_allclose(g_a, by_step, rtol=1e-10)


def test_finite_differences(jitter):
    """`match` with minibatches on a tiny ConvNet in float64, to images and step size, augmented."""
    config = MTTConfig(inner_steps=3, batch_syn=4)
    model = convnet(ConvNetConfig(width=4, depth=1), classes=3, size=8, channels=3)
    params = jax.tree.map(np.asarray, jax.jit(model.init)(jax.random.key(0))[0])
    model = wide(model, params)
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        start = flat(params)
        segment = Segments(start, start + 0.05 * jnp.asarray(rng.normal(size=start.shape)))
        images, labels = rng.normal(size=(6, 8, 8, 3)), jnp.arange(6) % 3

        def loss(images, step_size, key):
            return mtt.match(config, model, jitter, key, images, labels, step_size, segment)[0]

        # One program: that of the value alone would be another one to compile.
        both = jax.jit(jax.value_and_grad(loss, (0, 1)))
        a, h = 0.1, 1e-6
        for key in jax.random.split(jax.random.key(1), 3):
            g_images, g_a = both(images, a, key)[1]
            d = rng.normal(size=images.shape) + np.asarray(g_images / jnp.abs(g_images).max())
            ends = [(images + h * d, a), (images - h * d, a), (images, a + h), (images, a - h)]
            values = [float(both(*end, key)[0]) for end in ends]
            by_images, by_a = (values[0] - values[1]) / (2 * h), (values[2] - values[3]) / (2 * h)
            np.testing.assert_allclose((g_images * d).sum(), by_images, rtol=1e-5)
            np.testing.assert_allclose(g_a, by_a, rtol=1e-5)
            assert abs(by_images) > 1e-4 and abs(by_a) > 1e-3


def test_steps_augment_differently(linear):
    """Every inner step draws its own augmentation for each image, and each device changes its own images alone."""
    seen = []

    class Spy(Augmentation):
        def draw(self, key, images, siamese=False):
            return jax.random.normal(key, (images,))

        def apply(self, images, drawn):
            jax.debug.callback(lambda s: seen.extend(s.tolist()), drawn)
            return images + drawn.reshape(-1, 1, 1, 1)

    synthetic = Synthetic(jnp.ones((4, 1, 2, 1)), jnp.zeros(4, jnp.int32), jnp.float32(0.1))
    table = jnp.tile(jnp.arange(4, dtype=jnp.int32), (5, 1))
    student = jax.jit(functools.partial(mtt.student, linear(2, 2), Spy()))
    end = student(jax.random.key(0), synthetic, jnp.zeros(6), table)
    end.block_until_ready()
    jax.effects_barrier()
    assert len(seen) == len(set(seen)) == 5 * 4


# Minibatches and the step size


@pytest.mark.parametrize("images,batch,steps", [(10, 3, 7), (9, 3, 6), (5, 4, 3)])
def test_minibatches(images, batch, steps):
    """Pieces of permutations: no image twice within one, and another permutation each time."""
    table = np.asarray(mtt.minibatches(jax.random.key(0), images, batch, steps))
    assert table.shape == (steps, batch) and table.dtype == np.int32
    pieces = images // batch
    rounds = [table[i : i + pieces].ravel().tolist() for i in range(0, steps, pieces)]
    for once in rounds:
        assert len(set(once)) == len(once) and set(once) <= set(range(images))
    assert len({tuple(r) for r in rounds}) == len(rounds)


@pytest.mark.parametrize("batch", [0, 6, 7])
def test_whole_set(batch):
    """0, or as many as there are or more: the whole set at each step."""
    size = mtt.batch_size(MTTConfig(batch_syn=batch), 6)
    table = mtt.minibatches(jax.random.key(0), 6, size, 4)
    np.testing.assert_array_equal(table, np.tile(np.arange(6), (4, 1)))


def step_sizes(gradients, **options):
    """The step size after each of these gradients, from 0.01."""
    config = MTTConfig(**options)
    value, trace, out = jnp.float32(0.01), jnp.float32(0), []
    for g in gradients:
        value, trace = mtt.update_step_size(config, value, trace, jnp.float32(g))
        out.append(float(value))
    return out


def test_raw_step_size():
    """SGD with momentum 0.5, through zero if need be."""
    got = step_sizes([3.0, 1.0, 4000.0], lr_lr=1e-5, lr_update="raw", img_momentum=0.5)
    v1, v2 = 3.0, 2.5
    v3 = 0.5 * v2 + 4000
    expected = 0.01 - 1e-5 * np.cumsum([v1, v2, v3])
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert got[-1] < 0


def test_multiplicative_step_size():
    """The raw update to first order; clipped, and positive whatever the gradient."""
    small = [30.0, -10.0, 5.0]
    raw, ours = (step_sizes(small, lr_update=u) for u in ("raw", "multiplicative"))
    np.testing.assert_allclose(np.diff(ours), np.diff(raw), rtol=0.01)
    assert abs(raw[0] - 0.01) > 2e-5
    up, down = step_sizes([-1e30])[0], step_sizes([1e30])[0]
    np.testing.assert_allclose([up, down], [0.01 * np.exp(0.02), 0.01 * np.exp(-0.02)], rtol=1e-5)
    wide_clip = step_sizes([1e30], lr_clip=0.5)[0]
    np.testing.assert_allclose(wide_clip, 0.01 * np.exp(-0.5), rtol=1e-5)
    assert min(step_sizes([1e30] * 200)) > 0
    assert step_sizes([0.0])[0] == pytest.approx(0.01, rel=1e-6)


# Expert segments


@pytest.mark.parametrize("order", ["drawn", "cycled"])
def test_segments_do_not_depend_on_k(order):
    """Iteration i draws the same segments however the iterations are cut."""
    config = MTTConfig(max_start_epoch=6, meta_batch=2, expert_order=order)
    key = jax.random.key(5)

    def draw(first, last):
        return segments.draw_segments(mtt.draws(config), 4, key, jnp.arange(first, last))

    whole, parts = draw(0, 12), [draw(0, 5), draw(5, 6), draw(6, 12)]
    for a, b in zip(whole, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(a, np.concatenate(b))


def test_range_of_segments():
    """Starts fill [0, T+) and experts [0, e), about uniformly."""
    config = MTTConfig(max_start_epoch=5)
    experts, starts = segments.draw_segments(
        mtt.draws(config), 3, jax.random.key(0), jnp.arange(600)
    )
    for values, count in ((experts, 3), (starts, 5)):
        found = np.bincount(np.asarray(values).ravel(), minlength=count)
        assert len(found) == count and ((found - 600 / count) ** 2 / (600 / count)).sum() < 24
    pairs = {(int(e), int(t)) for e, t in zip(experts[:, 0], starts[:, 0], strict=True)}
    assert len(pairs) == 15


@pytest.mark.parametrize("meta_batch", [1, 2])
def test_cycled_experts(meta_batch):
    """Every expert once a cycle, cycles in different orders."""
    config = MTTConfig(expert_order="cycled", meta_batch=meta_batch)
    experts, _ = segments.draw_segments(mtt.draws(config), 7, jax.random.key(0), jnp.arange(14))
    cycles = np.asarray(experts).reshape(-1, 7)
    np.testing.assert_array_equal(np.sort(cycles, axis=1), np.tile(np.arange(7), (len(cycles), 1)))
    assert len({tuple(c) for c in cycles.tolist()}) > 1


def trajectories(experts=4, epochs=10, p=2):
    """Experts whose parameters say who and when: 100 * expert + epoch."""

    def read(expert, chosen):
        return np.repeat(100.0 * expert + chosen[:, None], p, axis=1).astype(np.float32)

    return Trajectories(read, experts, epochs)


def test_read_segments():
    """A segment is one expert's snapshot and its snapshot M epochs later, those that were drawn."""
    config = MTTConfig(max_start_epoch=6, expert_span=3, meta_batch=2)
    key, numbers = jax.random.key(1), jnp.arange(3, 8)
    got = segments.segment_reader(trajectories(), mtt.draws(config))(key, numbers)
    experts, starts = segments.draw_segments(mtt.draws(config), 4, key, numbers)
    assert got.start.shape == (5, 2, 2) and got.start.dtype == np.float32
    np.testing.assert_array_equal(got.start[..., 0], 100 * experts + starts)
    np.testing.assert_array_equal(got.target, got.start + 3)


def test_an_accelerator_keeps_the_trajectories(monkeypatch):
    """It reads each expert once and then picks the segments that the host would read, where there is room."""
    config, key, numbers = (
        MTTConfig(max_start_epoch=6, meta_batch=2),
        jax.random.key(1),
        np.arange(9),
    )
    read, experts, epochs = trajectories()
    seen = []

    def spy(expert, chosen):
        seen.append(expert)
        return read(expert, chosen)

    def feed():
        return segments.segment_reader(Trajectories(spy, experts, epochs), mtt.draws(config))

    monkeypatch.setattr(segments.devices, "on_cpu", lambda: True)  # these tests run on a card too
    expected = feed()(key, numbers)
    assert len(seen) == 18 and isinstance(expected.start, np.ndarray)
    monkeypatch.setattr(segments.devices, "on_cpu", lambda: False)
    kept = feed()
    seen.clear()
    for _ in range(2):
        got = kept(key, numbers)
        assert isinstance(got.start, jax.Array)
        jax.tree.map(np.testing.assert_array_equal, got, expected)
    assert sorted(seen) == [0, *range(experts)]
    monkeypatch.setattr(segments.devices, "accelerator_bytes", lambda: 1000.0)
    assert isinstance(feed()(key, numbers).start, np.ndarray)


# A whole step


@pytest.fixture
def setting(linear, tiny):
    """(options) -> a distiller on `tiny` with a linear student, a state, and an item [meta_batch, p]."""

    def make(model=None, **options):
        config = MTTConfig(**{"inner_steps": 3, "lr_img": 10.0, "lr_lr": 1e-4, **options})
        model = model or linear(768, 3)
        p = 768 * 3 + 3
        method = mtt.mtt(
            config,
            model=model,
            augment=None,
            trajectories=trajectories(30, 30, p),
            ipc=2,
            classes=3,
        )
        state = method.init(jax.random.key(0), tiny)
        rng = np.random.default_rng(1)
        start = jnp.asarray(0.05 * rng.normal(size=(config.meta_batch, p)), jnp.float32)
        target = start + jnp.asarray(0.02 * rng.normal(size=start.shape), jnp.float32)
        return method, state, Segments(start, target)

    return make


def run_step(method, state, data, item):
    return jax.jit(method.step)(jax.random.key(7), state, data, item)


def same(a, b):
    """Whether images, momentum and step size of two states agree to the bit."""
    parts = [(s.images, s.opt_state, s.step_size, s.step_trace, s.labels) for s in (a, b)]
    pairs = zip(*map(jax.tree.leaves, parts), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


def test_init(setting, tiny):
    """Real images or noise, the step size asked for, no memory of losses; `extract` gives the set."""
    method, state, _ = setting(lr_init=0.03)
    assert state.images.shape == (6, 16, 16, 3) and state.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert state.step_size == np.float32(0.03) and state.seen == 0 and jnp.isnan(state.recent).all()
    rows = np.asarray(tiny.images).reshape(45, -1)
    assert all((rows == i.ravel()).all(1).any() for i in np.asarray(state.images))
    synthetic = method.extract(state)
    assert isinstance(synthetic, Synthetic) and same(
        state._replace(images=synthetic.images, step_size=synthetic.step_size), state
    )
    _, noise, _ = setting(init_images="noise")
    assert noise.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert abs(noise.images.mean()) < 0.1 and abs(noise.images.std() - 1) < 0.1


def test_step(setting, tiny):
    """An update by the gradient with momentum 0.5, and an Info that says what happened."""
    method, state, item = setting()
    first, info = run_step(method, state, tiny, item)
    g = (state.images - first.images) / 10.0
    np.testing.assert_allclose(jnp.sqrt((g**2).sum()), info.grad_images, rtol=1e-3)
    assert not info.skipped and info.step_size == state.step_size and first.seen == 1
    assert first.recent[0] == info.loss and info.displacement > 0
    again, _ = run_step(method, first, tiny, item)
    free, _ = run_step(method, first._replace(opt_state=state.opt_state), tiny, item)
    trace = (free.images - again.images) / 10.0  # what momentum added
    np.testing.assert_allclose(trace, 0.5 * g, atol=1e-3 * jnp.abs(g).max())
    np.testing.assert_allclose(first.step_trace, info.grad_step_size, rtol=1e-6)


@pytest.mark.parametrize("what", ["nan", "inf", "gradient"])
def test_skip_not_finite(setting, linear, tiny, what):
    """A loss or a gradient that is not finite changes nothing but the report."""
    model = linear(768, 3)
    method, state, item = setting()
    if what == "nan":
        item = item._replace(target=item.target.at[0, 0].set(jnp.nan))
    elif what == "inf":
        item = item._replace(target=item.start)
    else:  # a finite loss with a NaN gradient: the derivative of a norm at zero

        def apply(params, model_state, images, train):
            x = images - jax.lax.stop_gradient(images)
            logits, _ = model.apply(params, model_state, images, train)
            return logits + params["b"].reshape(1, -1) * jnp.sqrt((x**2).sum()), model_state

        method, _, _ = setting(model._replace(apply=apply))
    state = state._replace(step_trace=jnp.float32(2.0), recent=state.recent.at[0].set(0.9), seen=1)
    after, info = run_step(method, state, tiny, item)
    assert info.skipped and same(after, state)
    assert after.seen == 1 and jnp.isnan(after.recent[1:]).all()
    assert (what == "gradient") == bool(jnp.isfinite(info.loss))


def test_skip_a_spike(setting, tiny):
    """A loss far above the median changes nothing, yet enters the median; below the factor it counts."""
    method, state, item = setting(skip_factor=5.0)
    _, info = run_step(method, state, tiny, item)

    def with_median(loss, seen):
        recent = jnp.full(100, jnp.nan).at[:seen].set(loss)
        return state._replace(recent=recent, seen=jnp.int32(seen), step_trace=jnp.float32(1.0))

    spiked = with_median(info.loss / 5.5, 12)
    after, report = run_step(method, spiked, tiny, item)
    assert report.skipped and same(after, spiked)
    assert after.seen == 13 and after.recent[12] == pytest.approx(info.loss)
    for usual in (with_median(info.loss / 4.5, 12), with_median(info.loss / 1e6, 4)):
        after, report = run_step(method, usual, tiny, item)
        assert not report.skipped and not np.array_equal(after.images, usual.images)


def test_median_follows(setting, tiny):
    """The memory is a ring of a hundred; when the level has risen, skipping ends by itself."""
    method, state, item = setting(lr_img=0.0, lr_lr=0.0)
    _, info = run_step(method, state, tiny, item)
    state = state._replace(recent=jnp.full(100, info.loss / 10), seen=jnp.int32(100))

    def one(state, _):
        state, info = method.step(jax.random.key(7), state, tiny, item)
        return state, info.skipped

    state, skipped = jax.jit(lambda s: jax.lax.scan(one, s, None, length=60))(state)
    # After 50 high losses of a hundred the median lies between the levels, 5.5 times the low one.
    assert skipped[:50].all() and not skipped[50:].any()
    np.testing.assert_allclose(state.recent[:60], info.loss, rtol=1e-5)


def test_meta_batch(setting, tiny):
    """Two segments an iteration: the mean of their losses and gradients."""
    method, state, item = setting(meta_batch=2, lr_lr=1e-6)
    single, _, _ = setting(lr_lr=1e-6)
    both, info = run_step(method, state, tiny, item)
    parts = [
        run_step(single, state, tiny, jax.tree.map(lambda a, i=i: a[i : i + 1], item))
        for i in (0, 1)
    ]
    for name in ("loss", "grad_step_size", "displacement"):
        expected = np.mean([getattr(i, name) for _, i in parts])
        np.testing.assert_allclose(getattr(info, name), expected, rtol=1e-5)
    moves = [np.asarray(s.images - state.images) for s, _ in parts]
    assert np.abs(moves[0] - moves[1]).max() > 1e-4
    expected = (moves[0] + moves[1]) / 2
    np.testing.assert_allclose(
        both.images - state.images, expected, atol=1e-3 * np.abs(expected).max()
    )


def test_search(setting, linear, tiny):
    """The step size that led from start to target has loss 0 and is found; NaN losses are passed over."""
    _, state, item = setting()
    config, model = MTTConfig(inner_steps=3), linear(768, 3)
    synthetic = Synthetic(state.images, state.labels, jnp.float32(0.02))
    table = jnp.tile(jnp.arange(6, dtype=jnp.int32), (3, 1))
    start = jnp.stack([item.start[0], 2 * item.start[0]])
    student = functools.partial(mtt.student, model, None, jax.random.key(0), synthetic)
    lead = jax.jit(functools.partial(student, table=table))
    segments = Segments(start, jnp.stack([lead(start=s) for s in start]))
    grid = jnp.float32([jnp.nan, 0.005, 0.01, 0.02, 0.04])
    search = jax.jit(functools.partial(search_step_size, config, model=model, augment=None))
    seen = state.images, state.labels
    found, losses = search(jax.random.key(1), *seen, segments, grid)
    assert found == grid[3] and losses[3] < 1e-8 and jnp.isnan(losses[0])
    assert losses[1] > losses[2] > 0.1 and losses[4] > 0.1
    # Targets that no step size leads to: the losses are nearly equal, and the largest of these step sizes is found.
    away = jax.random.normal(jax.random.key(2), start.shape)
    grid = jnp.float32([1e-6, 1e-5, 1e-4, 10.0])
    found, losses = search(jax.random.key(1), *seen, Segments(start, start + away), grid)
    assert losses[3] > 1.15 * losses.min() and jnp.ptp(losses[:3]) < 0.1 and found == grid[2]
    nothing = Segments(start, jnp.full_like(start, jnp.nan))
    assert search(jax.random.key(1), *seen, nothing, grid)[0] == grid[0]


# Selection and refusals


def test_random_images(tiny):
    """Images of the right class, class by class, none twice where there are enough, other keys other images."""
    rows = np.asarray(tiny.images).reshape(45, -1)
    chosen = []
    for seed in (0, 1):
        images, labels = random_images(jax.random.key(seed), tiny, 5, 3)
        assert labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
        where = [np.flatnonzero((rows == i.ravel()).all(1)).item() for i in np.asarray(images)]
        np.testing.assert_array_equal(tiny.labels[jnp.array(where)], labels)
        assert len(set(where)) == 15
        chosen.append(where)
    assert set(chosen[0]) != set(chosen[1])


def test_select_more_than_there_are(tiny):
    """A class with 6 images gives all six, and again from its start."""
    images, labels = random_images(jax.random.key(0), tiny, 8, 3)
    rare = np.asarray(images[16:]).reshape(8, -1)
    assert len(np.unique(rare, axis=0)) == 6
    np.testing.assert_array_equal(rare[6:], rare[:2])
    assert len(np.unique(np.asarray(images[:8]).reshape(8, -1), axis=0)) == 8


def test_select_uniformly(tiny):
    """Every image of a class is as likely as the others."""
    data = Dataset(jnp.arange(45.0).reshape(45, 1, 1, 1), tiny.labels)
    keys = jax.random.split(jax.random.key(0), 600)
    images = jax.jit(jax.vmap(lambda k: random_images(k, data, 2, 3)[0]))(keys)
    times = np.bincount(np.asarray(images, int).ravel(), minlength=45)
    for c, size in enumerate((24, 15, 6)):
        found, expected = times[np.asarray(tiny.labels) == c], 1200 / size
        assert ((found - expected) ** 2 / expected).sum() < 3 * size


@pytest.mark.parametrize(
    "options,separable,epochs,words",
    [
        ({}, False, 50, "batch statistics"),
        (dict(max_start_epoch=20, expert_span=3), True, 21, "epoch 22"),
    ],
)
def test_refusals(linear, options, separable, epochs, words):
    """Parts that do not fit are refused before anything is computed, in one line."""
    model = linear(4, 3)._replace(separable=separable)
    with pytest.raises(ValueError, match=words) as caught:
        mtt.mtt(
            MTTConfig(**options),
            model=model,
            augment=None,
            trajectories=trajectories(epochs=epochs),
            ipc=2,
            classes=3,
        )
    assert "\n" not in str(caught.value)


def test_what_just_fits(linear):
    """The last epoch a segment can read is accepted; a batch past the set counts as the whole set."""
    for batch in (6, 100):
        config = MTTConfig(max_start_epoch=20, expert_span=3, batch_syn=batch)
        mtt.check(config, linear(4, 3), 22)
        assert mtt.iteration_flops(config, linear(4, 3), (6, 2, 2, 1)) == 9 * 24 * 6 * 20
