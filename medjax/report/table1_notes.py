"""The lines above Table 1: data, protocol, selection, device, versions, time, and what is missing."""

from medjax.data.catalog import find, md5
from medjax.report.paper import study_name
from medjax.report.runs import Cell

FIRST = (
    "Test accuracy in percent, mean ± standard deviation over all networks of all distillation seeds. In brackets the "
    "study's number under the same network, and ours minus it. Bold: the best of the line, all images aside. "
    "! : a run gave a warning, see below."
)


def notes(cells: list[Cell], missing: list[str]) -> list[str]:
    """What the numbers are and are not, one line each."""
    runs = [run for cell in cells for run in cell.runs]
    said = [FIRST]
    firsts = {(c.dataset, c.fingerprint): c for c in reversed(cells)}
    said += [f"Data: {_origin(cell)}." for cell in reversed(firsts.values())]
    counts, minutes = [], []
    for title in dict.fromkeys(c.title for c in cells):
        mine = [c for c in cells if c.title == title]
        counts.append(f"{title} {', '.join(sorted({c.counted() for c in mine}))}")
        minutes.append(f"{title} {_span([run.minutes for c in mine for run in c.runs])}")
    trained = {f"{c.title} {c.runs[0].result.evaluation['epochs']}" for c in cells}
    said.append(f"Seeds x networks: {'; '.join(counts)}.")
    said.append(f"Epochs of the evaluated networks: {', '.join(sorted(trained))}.")
    if chosen := sorted({r.result.select or "" for r in runs if r.result.start}):
        how = " (the iteration is chosen on val and the test split is read once)"
        said.append(f"Selection: {', '.join(chosen)}{how if chosen == ['val'] else ''}.")
    said.append(f"Presets: {', '.join(sorted({r.result.preset for r in runs}))}.")
    said.append(f"Device: {_each([r.device for r in runs])}.")
    said.append(f"Versions: {_each([r.versions for r in runs])}.")
    total = sum(run.minutes for run in runs)
    said.append(f"Minutes a run (each in the CSV): {'; '.join(minutes)}; together {total:.0f}.")
    said += [f"Missing: {line}" for line in missing]
    for cell in cells:
        about = f"Warning, {cell.dataset}, {cell.title}, ipc {cell.ipc}"
        said += [f"{about}: {line}" for line in cell.warnings]
    return said


def _each(texts: list[str]) -> str:
    """Every text once."""
    return "; ".join(sorted({text or "not recorded" for text in texts})) or "not recorded"


def _span(minutes: list[float]) -> str:
    low, high = (f"{v:.1f}" for v in (min(minutes), max(minutes)))
    return low if low == high else f"{low} to {high}"


def _origin(cell: Cell) -> str:
    """Whether a set is the official file (loaded by its name, its MD5 verified) or something else."""
    name, asked = cell.dataset, cell.runs[0].values.get("dataset")
    known, print_ = study_name(name), f"fingerprint {cell.fingerprint}"
    if isinstance(asked, str) and (named := find(asked)):
        return f"{name}, the official MedMNIST file (MD5 {md5(*named)})"
    if known == name:
        return f"{name}, from a file of that name that was not verified ({print_})"
    if known:
        return (
            f"{name} ({print_}), a stand-in: the images that {known} was made from, split otherwise"
        )
    return f"{name} ({print_}), not a set of the study"
