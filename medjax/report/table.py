"""The result of a run as a table for the terminal: 100 columns at most, plain text where the output is no terminal."""

import math

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

METRICS = ("accuracy", "balanced_accuracy", "auc")
HEADINGS = ("accuracy", "balanced\naccuracy", "AUC")
#: Keys of the result in the order of the rows; the third is there only where the run measured it.
ROWS = (
    ("test", "distilled (float)"),
    ("test_uint8", "distilled (uint8, as shared)"),
    ("test_chosen_step", "distilled, step size chosen on val"),
    ("start", "random real images"),
)
#: Methods that distil nothing, and what networks were trained on there.
REAL = {
    "random": (
        ("test", "random real images, a subset a network"),
        ("test_one_subset", "the same subset for all networks"),
    ),
    "full": (("test", "all images"),),
}


def result_table(result: dict) -> Table:
    """One row for each set of images that networks were trained on; scores on the test split, in percent.

    result: as in a run's result.json. Scores are fractions in [0, 1]; a score that is not defined (AUC without
    examples of a class: NaN or null) is shown as a dash.
    """
    table = Table(
        title=Text(f"{result['method']} on {result['dataset']}: test scores in %"),
        title_justify="left",
        title_style="bold",
        caption=Text("\n".join(_caption(result))),
        caption_justify="left",
        caption_style="",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("networks trained on", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True, min_width=11)
    for key, label in REAL.get(result["method"], ROWS):
        if result.get(key):
            shared = key == "test_uint8" or (result["method"] in REAL and key == "test")
            table.add_row(label, *_scores(result[key]), style="bold" if shared else None)
    for name, entry in (result.get("eval_models") or {}).items():
        table.add_section()
        table.add_row(f"by {name}, {_step_size(entry)}")
        for key, label in ROWS:
            if key in entry:
                table.add_row(f"  {label}", *_scores(entry[key]))
    return table


def print_result(result: dict, paths: dict[str, str], console: Console) -> None:
    """Print the table, the warnings and where the files lie.

    paths: what a file is -> its path; printed one per line and never broken, so that they can be copied.
    """
    console.print(result_table(result))
    for warning in result["warnings"]:
        console.print(Text(f"warning: {warning}", style="yellow"))
    width = max(map(len, paths), default=0)
    for name, path in paths.items():
        console.print(Text(f"{name:<{width}}  {path}"), soft_wrap=True)


def _scores(row: dict) -> list[str]:
    return [_score(row[metric]) for metric in METRICS]


def _step_size(result: dict) -> str:
    """'step size 0.03 (chosen on val)'."""
    where = {"val": " (chosen on val)", "flag": " (given)"}.get(
        result.get("step_size_from", ""), ""
    )
    size = result.get("step_size")
    return f"step size {'not known' if size is None else format(size, '.4g')}{where}"


def _score(score: dict) -> str:
    """'75.1 ± 1.3': mean and standard deviation over networks; one network has no deviation."""
    mean, std = score["mean"], score["std"]
    if mean is None or math.isnan(mean):
        return "–"
    if std is None or math.isnan(std) or score["n"] < 2:
        return f"{100 * mean:.1f}"
    return f"{100 * mean:.1f} ± {100 * std:.1f}"


def _caption(result: dict) -> list[str]:
    """What was made, how it was measured, what to compare it with, and how long it took; one line each."""
    evaluation, iteration = result["evaluation"], result.get("selected_iteration")
    trained = f"{evaluation['networks']} networks x {evaluation['epochs']} epochs (mean ± std)"
    if iteration is not None:
        how = {"val": "chosen on val", "last": "the last one", "test": "chosen on test"}
        trained += f"; iteration {iteration}, {how.get(result.get('select', ''), 'chosen')}"
    ipc = result["ipc"]
    size = "all images" if ipc is None else f"{ipc} image{'s' * (ipc > 1)} per class"
    lines = [
        f"{size}, {result['model']}, preset {result['preset']}, seed {result['seed']}",
        trained,
    ]
    if iteration is not None and result.get("select") == "test":
        lines.append("select=test: the public codes' optimistic protocol")
    if result.get("step_size") is not None:
        steps = _step_size(result)
        if result.get("start_step_size") is not None:
            steps += f", for random real images {result['start_step_size']:.4g}"
        lines.append(steps)
    lines.append(
        f"always the largest class: {100 * result['majority_share']:.1f} accuracy; "
        f"chance: {100 * result['chance']:.1f} balanced accuracy"
    )
    seconds = ", ".join(f"{phase} {value:.0f}" for phase, value in result["seconds"].items())
    lines.append(f"seconds: {seconds}")
    return lines
