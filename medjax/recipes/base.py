"""What the rest of medjax knows of a method: its names, its options, what it costs, and how it is built."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array

from medjax.distill.base import Distiller
from medjax.distill.moments import Moments, Wanted
from medjax.distill.release import Release
from medjax.models.base import Model
from medjax.packing import PackConfig, Packing
from medjax.types import Dataset, Trajectories

#: (key, data, ipc, classes) -> (images, labels): chooses real images, ``ipc`` of each class.
Select = Callable[[Array, Dataset, int, int], tuple[Array, Array]]


class Setup(NamedTuple):
    """The situation that a method is built for.

    configs: {dataclass of options: its values}; ``setup.config(MTTConfig)`` reads one.
    model: the network.
    classes, ipc: k, and synthetic images per class (0 for a method without).
    shape: [n, h, w, c] of the training images in model space.
    trajectories, moments: of experts, for a recipe that asks for them.
    packing: how stored images hold several, for a recipe that has `PackConfig` among its options.
    begun: [m, s, s, c] stored images of model space to begin with, for a recipe that has `ImagesConfig`; None: none.
    release: what was released of the real images, for a recipe that reads nothing else of them.
    val, test: images of these splits. raw: bytes of all images as they came. For the forecast alone.
    """

    configs: Mapping[type, Any]
    model: Model
    classes: int
    ipc: int
    shape: tuple[int, int, int, int]
    trajectories: Trajectories | None = None
    moments: Moments | None = None
    packing: Packing = Packing()
    begun: Array | None = None
    release: Release | None = None
    val: int = 0
    test: int = 0
    raw: int = 0

    def config(self, group: type) -> Any:
        """The values of one dataclass of options."""
        return self.configs[group]

    @property
    def synthetic_shape(self) -> tuple[int, int, int, int]:
        """[m, h, w, c] of the synthetic images, as they are stored."""
        return (self.ipc * self.classes, *self.shape[1:])

    @property
    def held(self) -> int:
        """Images that networks see of each that is stored."""
        return self.configs.get(PackConfig, PackConfig()).held


class Costs(NamedTuple):
    """What a run will cost, counted before it starts.

    work: floating-point operations by phase ("experts", "moments", ...), without iterations and evaluations.
    iterations: of a distillation; None where nothing is distilled.
    iteration: floating-point operations of one of them, above 0.
    made: images at once in a step whose gradient is differentiated again. real: images at once in one that is not.
        forward: images at once that pass through the network without a gradient.
    trained: images at once while experts are trained and moments computed, which is done for one seed after the other.
    kept: bytes that an unroll keeps for its derivative, and of what iterations read.
    networks: that are trained side by side on all images, where no set is evaluated.
    searches: of a step size on val: of the start's, and of the set's where it brings none. finals: sets that are
        evaluated at the end.
    """

    work: Mapping[str, float]
    iterations: int | None = None
    iteration: float = 0.0
    made: int = 0
    real: int = 0
    forward: int = 0
    trained: int = 0
    kept: float = 0.0
    networks: int = 0
    searches: int = 1
    finals: int = 3


class Recipe(NamedTuple):
    """A method, by its only name. A recipe with ``build`` distils; one with ``select`` trains networks on real images
    that it chooses; one with neither trains networks on all images.

    name: value of result.json's "method", word in run folders, name of its launcher and of configs/NAME.toml.
    title: what tables and figures call it.
    summary: one line for ``--help``.
    place: its order in tables and legends.
    colour, marker: of its lines in figures (matplotlib).
    configs: its own dataclasses of options; each field is a flag. `PackConfig` is among them where its images can be
        packed.
    costs: setup -> Costs. Raises UserError for values that cannot work together.
    build: setup -> Distiller.
    expert_epochs: setup -> epochs of the expert trajectories that ``build`` or ``select`` needs; None: none.
    moments: setup -> the moments of the real images at the experts' snapshots that ``build`` needs; None: none.
    prepare: (setup, distiller, key, first state) -> (state, values for the log), or None where nothing is to be
        prepared; called once, before the first iteration.
    select: (setup, training images) -> `Select`, which chooses real images.
    release: for a method under differential privacy: sums of sensitivity 1 over the training images, as
        `medjax.distill.release.joint_sums`. They get noise (`medjax.pipeline.release`), ``build`` gets a `Release`, and
        the training images are out of reach from then on.
    chooses: whether ``build`` makes a `Distiller` whose images are real ones that it chose.
    shown: names of its own flags that ``--help`` shows.
    presets: path of its TOML file, where that is not configs/NAME.toml.
    """

    name: str
    title: str
    summary: str
    place: int
    colour: str
    marker: str
    configs: tuple[type, ...]
    costs: Callable[[Setup], Costs]
    build: Callable[[Setup], Distiller] | None = None
    expert_epochs: Callable[[Setup], int] | None = None
    moments: Callable[[Setup], Wanted] | None = None
    prepare: Callable[[Setup, Distiller, Array, Any], tuple[Any, dict] | None] | None = None
    select: Callable[[Setup, Dataset], Select] | None = None
    release: Callable[..., tuple[Any, Any]] | None = None
    chooses: bool = False
    shown: tuple[str, ...] = ()
    presets: str = ""

    @property
    def sized(self) -> bool:
        """Whether it has a number of images per class: all methods but training on all images."""
        return self.build is not None or self.select is not None
