"""Margin selection: real images that networks get wrong."""

from medjax import cost, train
from medjax.augment import AugmentConfig
from medjax.distill import margin
from medjax.distill.base import Distiller
from medjax.distill.margin import MarginConfig
from medjax.errors import UserError
from medjax.eval_config import SelectConfig
from medjax.experts import ExpertsConfig, side_by_side, training_flops
from medjax.models.base import require
from medjax.packing import PackConfig
from medjax.recipes.base import Costs, Recipe, Setup


def expert_epochs(setup: Setup) -> int:
    """How long the networks train that say which images can be learned."""
    return setup.config(ExpertsConfig).expert_epochs


def costs(setup: Setup) -> Costs:
    """The experts and the rounds. Raises UserError for values with which margin selection cannot work."""
    config, experts, model = setup.config(MarginConfig), setup.config(ExpertsConfig), setup.model
    require(model, "margin", features=False, separable=True)
    if experts.expert_epochs < 1:
        raise UserError(
            "--expert_epochs=0 leaves the networks untrained that say which images can be learned: give 1 or more"
        )
    if setup.config(SelectConfig).eval_step_size != "set":
        raise UserError(
            "--eval_step_size=searched is for sets that have a step size: leave it out; val chooses that of real images"
        )
    images = setup.ipc * setup.held
    if (grown := config.grown(images)) < images:
        raise UserError(
            f"{config.iterations} rounds of --replaced={config.replaced:g} from --begin={config.begin:g} on bring"
            f" {grown} of {images} images, and the others would be there twice: raise one, or --iterations"
        )
    asked = max(config.judges, experts.experts)
    trained = training_flops(experts, model, expert_epochs(setup), setup.shape[0], setup.val)
    return Costs(
        {"experts": trained},
        config.iterations,
        margin.iteration_flops(config, model, setup.shape[0], experts.experts),
        real=train.alive(model, config.judge_batch, config.judges),
        trained=train.alive(model, experts.expert_batch, side_by_side(experts)),
        forward=cost.chunk_size(model, setup.shape[1:], asked) * asked,
        searches=2,
        finals=2,
    )


def build(setup: Setup) -> Distiller:
    """The rounds, with the augmentation of evaluated networks."""
    assert setup.trajectories is not None, "the pipeline trains experts before"
    return margin.margin(
        setup.config(MarginConfig),
        model=setup.model,
        augment=setup.config(AugmentConfig).chosen,
        trajectories=setup.trajectories,
        ipc=setup.ipc,
        classes=setup.classes,
    )


RECIPE = Recipe(
    name="margin",
    title="margin",
    summary="Margin selection: networks trained on real images that networks get wrong.",
    place=7,
    colour="#b15928",
    marker="H",
    configs=(MarginConfig, ExpertsConfig, AugmentConfig, PackConfig),
    costs=costs,
    build=build,
    expert_epochs=expert_epochs,
    chooses=True,
    shown=("iterations", "begin", "replaced"),
)
