"""What stands above a table of results: what the numbers are and are not."""

from medjax.data.catalog import find, md5
from medjax.report.paper import study_name
from medjax.report.results import Cell, titled


def header(cells: list[Cell], failures: list[str]) -> list[str]:
    """What the numbers are and are not: data, protocol, selection, device, versions, time, and what is missing."""
    entries = [e for c in cells for e in c.entries]
    said = [
        "Test accuracy in percent, mean ± standard deviation over all networks of all distillation seeds. In brackets "
        "the study's number under the same network, and ours minus it. Bold: the best of the line, all images aside. "
        "! : a run gave a warning, see below.",
    ]
    for place in dict.fromkeys((c.dataset, c.fingerprint) for c in cells):
        first = next(c for c in cells if (c.dataset, c.fingerprint) == place).entries[0]
        said.append(f"Data: {_origin(place[0], first.config, place[1])}.")
    by_method = {
        m: [c for c in cells if c.method == m] for m in dict.fromkeys(c.method for c in cells)
    }
    counts = [
        f"{titled(m)} {', '.join(sorted({_counted(c) for c in mine}))}"
        for m, mine in by_method.items()
    ]
    said.append(f"Seeds x networks: {'; '.join(counts)}.")
    trained = sorted(
        {f"{c.method} {c.entries[0].result['evaluation'].get('epochs')}" for c in cells}
    )
    said.append(f"Epochs of the evaluated networks: {', '.join(trained)}.")
    chosen = sorted({e.result["select"] for e in entries if "start" in e.result})
    if chosen:
        words = "the iteration is chosen on val and the test split read once"
        said.append(
            f"Selection: {', '.join(chosen)}" + (f" ({words})." if chosen == ["val"] else ".")
        )
    said.append(f"Presets: {', '.join(sorted({e.result['preset'] for e in entries}))}.")
    devices, versions = set(), set()
    for entry in entries:
        packages, git = entry.config.get("versions"), entry.config.get("git")
        devices.add(entry.device or "not recorded")
        known = isinstance(packages, dict)
        versions.add(
            f"jax {packages.get('jax')}, commit {str(git)[:12]}" if known else "not recorded"
        )
    said.append(f"Device: {'; '.join(sorted(devices)) or 'not recorded'}.")
    said.append(f"Versions: {'; '.join(sorted(versions)) or 'not recorded'}.")
    spent = [
        f"{titled(m)} {_span([e.minutes for c in mine for e in c.entries])}"
        for m, mine in by_method.items()
    ]
    total = sum(e.minutes for e in entries)
    said.append(f"Minutes a run (each in the CSV): {'; '.join(spent)}; together {total:.0f}.")
    said += [f"Missing: {line}" for line in failures]
    for cell in cells:
        for warning in dict.fromkeys(w for e in cell.entries for w in e.result["warnings"]):
            said.append(f"Warning, {cell.dataset}, {cell.method}, ipc {cell.ipc}: {warning}")
    return said


def _counted(cell: Cell) -> str:
    """'3 x 5', and how many seeds did not end in numbers."""
    lost = len(cell.entries) - cell.finite()
    text = f"{len(cell.entries)} x {cell.entries[0].result['evaluation'].get('networks')}"
    return text + (f" ({lost} of the seeds not finite)" if lost else "")


def _span(minutes: list[float]) -> str:
    low, high = (f"{v:.1f}" for v in (min(minutes), max(minutes)))
    return low if low == high else f"{low} to {high}"


def _origin(name: str, config: dict, fingerprint: str) -> str:
    """Whether a set is the official file (loaded by its name, its MD5 verified) or something else."""
    values = config.get("values")
    entry = values.get("dataset") if isinstance(values, dict) else None
    asked = entry.get("value") if isinstance(entry, dict) else None
    known = study_name(name)
    if isinstance(asked, str) and (named := find(asked)):
        return f"{name}, the official MedMNIST file (MD5 {md5(*named)})"
    if known == name:
        return f"{name}, from a file of that name that was not verified (fingerprint {fingerprint})"
    if known:
        return f"{name} (fingerprint {fingerprint}), a stand-in: the images {known} was made from, split otherwise"
    return f"{name} (fingerprint {fingerprint}), not a set of the study"
