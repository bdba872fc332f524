"""The report's page: everything in it, nothing from elsewhere, broken files named, names that are no markup."""

import dataclasses
import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import launching
import made
import numpy as np
import pytest

from medjax.report import gallery, table1
from medjax.report.baseline import baseline
from medjax.report.charts import series
from medjax.report.comparison import write_comparison
from medjax.report.overview import write_report
from medjax.report.pages import slug
from medjax.report.paper import study_name, study_scores
from medjax.report.run_cells import cells
from medjax.report.run_tables import cells_table, runs_table
from medjax.report.runs import collect
from medjax.report.scatter import line
from medjax.score import Score, pool

HOSTILE = "<script>alert('x')</script> $x_1$ & \ud800\n" + "long" * 30


class Links(HTMLParser):
    """Tags and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags, self.addresses = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]


def links(page: Path) -> Links:
    found = Links()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def test_page_shows_every_run_and_every_figure_lies_beside_it(tmp_path):
    """Two sets, several seeds, an unbroken page: each address is a file of ours, each chart PNG and SVG."""
    root = tmp_path / "runs"
    for method, mean in (("random", 0.3), ("dc", 0.5), ("mtt", 0.6)):
        for seed in (0, 1):
            run = made.result(method, "integrated", 1, mean + 0.02 * seed, seed=seed)
            made.write(root, run, 40 * (method != "random"), pictures=True)
    made.write(root, made.result("full", "integrated", None, 0.9, confusion=[]))
    page, shown, complaints = write_report(root, tmp_path / "out")
    assert (shown, complaints) == (7, [])
    found = links(page)
    assert "script" not in found.tags and "link" not in found.tags
    addresses = {a for a in found.addresses if not a.startswith("#")}
    assert addresses and all((page.parent / a).is_file() for a in addresses)
    charts = {a for a in addresses if a.endswith(".svg")}
    assert charts and all(a.replace(".svg", ".png") in addresses for a in charts)
    for part in ("bars", "course", "confusion", "scatter-1", "scatter-study", "ipc"):
        assert any(part in a for a in charts), part
    text = page.read_text()
    assert "61.0 ± 1.4" in text, "both seeds, ten networks: 60 and 62"
    assert "+30.0" in text and "2 x 5" in text
    assert text.count("gallery.png") == 0, "pictures get names of their own"
    assert len([a for a in addresses if "gallery" in a]) == 6
    again = write_report(root, tmp_path / "again")[0]
    for path in [page, *(page.parent / "figures").iterdir()]:
        same = again.parent / path.relative_to(page.parent)
        assert same.read_bytes() == path.read_bytes(), (
            f"{path.name}: the same results, the same bytes"
        )
    files = {kind: (page.parent / f"table1.{kind}").read_text() for kind in ("md", "csv", "tex")}
    assert "| integrated | cpu | 1 | " in files["md"] and "**61.0 ± 1.4**" in files["md"]
    assert "- Device: cpu (2 cores, a chip).\n" in files["md"], "from the runs' config.json"
    assert files["csv"].count("\nintegrated,") == 4 and r"\textbf{61.0" in files["tex"]


def test_names_from_elsewhere_are_no_markup(tmp_path):
    """A hostile name of data set, method, class and flag: text, on the page and in the figures."""
    run = made.result(HOSTILE, HOSTILE, 1, 0.5, warnings=["<img src=x onerror=alert(1)>"])
    folder = made.write(tmp_path / "runs", run | {"method": "m"}, 40)
    run["preset"] = run["model"] = HOSTILE
    (folder / "result.json").write_text(json.dumps(run))
    config = json.loads((folder / "config.json").read_text())
    config["data"]["classes"] = [HOSTILE] * made.CLASSES
    config["git"] = "<b>"
    (folder / "config.json").write_text(json.dumps(config))
    page, _, _ = write_report(tmp_path / "runs", tmp_path / "out")
    found = links(page)
    assert not {"script", "b"} & set(found.tags)
    assert all((page.parent / a).is_file() for a in found.addresses if not a.startswith("#"))
    text = page.read_text(encoding="utf-8")
    assert "&lt;script&gt;" in text and "onerror" in text and "<img src=x" not in text
    for svg in (tmp_path / "out" / "figures").glob("*.svg"):
        assert "<script" not in svg.read_text(encoding="utf-8")


def test_notes_of_the_data_are_beside_its_set(tmp_path):
    """Once for all runs of the set; what is no note is left out."""
    for seed, notes in enumerate(
        (["WARNING: test has no image of b."], ["WARNING: test has no image of b."], 7)
    ):
        run = made.write(tmp_path / "runs", made.result("mtt", "scans", 1, 0.5, seed=seed))
        config = json.loads((run / "config.json").read_text())
        config["data"]["notes"] = notes
        (run / "config.json").write_text(json.dumps(config))
    page, shown, _ = write_report(tmp_path / "runs", tmp_path / "out")
    assert shown == 3 and page.read_text().count("WARNING: test has no image of b.") == 1


LARGE = json.dumps(made.result("mtt", "set", 1, 0.5)).replace('"seed": 0', f'"seed": {10**400}')
BROKEN = {
    "too large": LARGE,
    "no images": json.dumps(made.result("mtt", "set", 0, 0.5)),
    "cut short": '{"method": "mtt", "te',
    "no object": "[1, 2]",
    "no key": '{"method": "mtt"}',
    "not text": b"\xff\xfe\x00",
    "deep": "[" * 100_000,
}


def test_broken_files_are_named_and_skipped(tmp_path):
    """Each is one line of complaint; the good run beside them is shown."""
    root = tmp_path / "runs"
    made.write(root, made.result("mtt", "a", 1, 0.5))
    for name, text in BROKEN.items():
        (root / name).mkdir()
        content = text if isinstance(text, bytes) else text.encode()
        (root / name / "result.json").write_bytes(content)
    page, shown, complaints = write_report(root, tmp_path / "out")
    assert shown == 1 and len(complaints) == len(BROKEN)
    for name in BROKEN:
        assert any(f"/{name}/result.json" in c for c in complaints)
        assert f"/{name}/result.json" in page.read_text()
    assert all("\n" not in c and len(c) < 300 for c in complaints)


def test_seeds_are_pooled_as_their_networks_would_be():
    """Mean and deviation of all networks from each run's own; runs of other settings are other cells."""
    rng = np.random.default_rng(0)
    groups = [rng.uniform(size=n) for n in (2, 5)]
    rows = [Score(g.mean(), g.std(), len(g)) for g in groups]
    every = np.concatenate(groups)
    together = pool([*rows, Score(None, None, 1)])
    np.testing.assert_allclose(together, [every.mean(), every.std(), 7])
    assert pool([]) is None


def test_cells_join_seeds_alone(tmp_path):
    """Another preset, network or flag is another cell; evaluations of a saved set are in none; copies count once."""
    runs = [
        made.result("mtt", "a", 1, 0.5),
        made.result("mtt", "a", 1, 0.6, seed=1),
        made.result("mtt", "a", 1, 0.7, seed=2, preset="quick"),
        made.result("random", "a", 1, 0.2, seed=3),
        made.result("random", "a", 1, 0.1, seed=4, model="resnet18"),
    ]
    for run in runs:
        made.write(tmp_path, run)
    evaluated = made.result("mtt", "a", 1, 0.9, seed=7)
    del evaluated["select"]
    made.write(tmp_path, evaluated)
    entries, complaints = collect(tmp_path)
    assert not complaints
    grouped = cells(entries)
    assert [len(c.runs) for c in grouped] == [1, 1, 2, 1]
    mtt = next(c for c in grouped if len(c.runs) == 2)
    assert mtt.score().mean == pytest.approx(0.55)
    real, which = baseline(mtt, grouped)
    assert real.mean == 0.2 and which == "runs of random", "of the same network"
    alone, which = baseline(mtt, [mtt])
    assert alone.mean == pytest.approx(0.35) and "start" in which
    table = cells_table(grouped).markdown()
    assert "(start)" not in table
    assert re.search(r"35\.0 ± [0-9.]+ \(start\)", cells_table([mtt]).markdown())
    noise = {"values": {"init_images": {"value": "noise", "origin": "flag"}}}
    begun = mtt._replace(runs=tuple(run._replace(config=noise) for run in mtt.runs))
    assert baseline(begun, [begun]) == (alone, which), (
        "the start is random images of any distillation"
    )
    results = [dataclasses.replace(run.result, guarantee={"epsilon": 4.0}) for run in mtt.runs]
    pairs = zip(mtt.runs, results, strict=True)
    private = mtt._replace(runs=tuple(run._replace(result=result) for run, result in pairs))
    assert baseline(private, [private])[0] is None, "noise is no random image"
    assert "(start)" not in cells_table([private]).markdown()
    made.write(tmp_path, made.result("kmeans", "a", 1, 0.4))
    others = [c for c in cells(collect(tmp_path)[0]) if c.method in ("kmeans", "mtt")]
    assert len(others) > 1 and "start" in baseline(mtt, others)[1], "k-means are no random images"


@pytest.mark.parametrize(("option", "other"), [("size", 64), ("whiten", "normalise")])
def test_random_images_of_another_model_space_are_no_baseline(tmp_path, option, other):
    """A size or a whitening that differs; where a configuration does not say it, it is taken as the same."""
    for method, mean in (("mtt", 0.8), ("random", 0.6)):
        made.write(tmp_path, made.result(method, "a", 1, mean))
    found = {cell.method: cell for cell in cells(collect(tmp_path)[0])}

    def given(cell, **values):
        config = {"values": {n: {"value": v, "origin": "flag"} for n, v in values.items()}}
        return cell._replace(runs=tuple(run._replace(config=config) for run in cell.runs))

    spaces = {"size": 32, "whiten": "zca"}
    mtt, usual = given(found["mtt"], **spaces), given(found["random"], **spaces)
    unlike = given(found["random"], **spaces | {option: other})
    assert baseline(mtt, [mtt, unlike])[1] == "the start of each distillation"
    for random in (usual, found["random"]):
        assert baseline(mtt, [mtt, random])[1] == "runs of random"


def test_cutmix_is_never_mixed_with_others(tmp_path):
    """Its rows have a name of their own, random images with CutMix beside them, and no part in the best score."""
    cutmix = {"evaluation": {"networks": 5, "epochs": 1000, "recipe": "cutmix"}}
    for number, (method, mean, more) in enumerate(
        [
            ("mtt", 0.85, {}),
            ("mtt", 0.91, cutmix),
            ("dc", 0.8, {}),
            ("random", 0.6, {}),
            ("random", 0.7, cutmix),
        ]
    ):
        run = made.result(method, "a", 1, mean, **more)
        (tmp_path / f"{number}.json").write_text(json.dumps(run))
    grouped = cells(collect(tmp_path)[0])
    by_title = {cell.title: cell for cell in grouped}
    assert list(by_title) == ["random", "random, CutMix", "DC", "MTT", "MTT, CutMix"]
    means = {name: baseline(by_title[name], grouped)[0].mean for name in ("MTT", "MTT, CutMix")}
    assert means == {"MTT": 0.6, "MTT, CutMix": 0.7}
    alone = [cell for cell in grouped if cell.title != "random, CutMix"]
    assert "start" in baseline(by_title["MTT, CutMix"], alone)[1]
    assert re.findall(r"\*\*(\d\S+)", cells_table(grouped).markdown()) == ["85.0"]
    assert set(re.findall(r"\*\*(\d\S+)", table1.write(tmp_path, grouped, [], [1]))) == {"85.0"}
    assert "mtt, CutMix" in runs_table([cell.runs[0] for cell in grouped]).markdown()


def test_what_test_chose_is_never_the_best(tmp_path):
    """Its score is optimistic: the best of the others is in bold."""
    for method, mean, select in (("mtt", 0.9, "test"), ("dc", 0.8, "last"), ("dsa", 0.7, "val")):
        run = made.result(method, "a", 1, mean, select=select)
        (tmp_path / f"{method}.json").write_text(json.dumps(run))
    grouped = cells(collect(tmp_path)[0])
    assert re.findall(r"\*\*(\d\S+)", cells_table(grouped).markdown()) == ["80.0"]
    assert set(re.findall(r"\*\*(\d\S+)", table1.write(tmp_path, grouped, [], [1]))) == {"80.0"}


def test_of_two_sizes_of_a_preset_the_later_stands_in_table1(tmp_path):
    """A run whose size follows from its images is of a later version than one at 32 px without a flag; flags count as
    before."""
    given = {"old": ({}, 0.9), "new": ({"size": (28, "channels")}, 0.8)}
    given |= {"flag": ({"size": (28, "channels"), "width": (9, "flag")}, 0.95)}
    for name, (values, mean) in given.items():
        (tmp_path / name).mkdir()
        run = made.result("mtt", "a", 1, mean, preset="best")
        (tmp_path / name / "result.json").write_text(json.dumps(run))
        values = {k: {"value": v, "origin": origin} for k, (v, origin) in values.items()}
        (tmp_path / name / "config.json").write_text(json.dumps({"values": values}))
    grouped = cells(collect(tmp_path)[0])
    assert {c.how for c in grouped} == {"best", "best size=28", "best size=28 width=9"}
    text = table1.write(tmp_path, grouped, [], [1])
    assert "80.0" in text and "90.0" not in text and "95.0" not in text


def test_random_images_count_where_networks_were_trained_alike(tmp_path):
    """Whatever the preset is called; results that do not say how large a batch was are taken to fit."""
    steps = {"networks": 5, "epochs": 250, "steps": 500, "batch": 32}
    best = made.result("mtt", "a", 10, 0.8, preset="best", evaluation=steps)
    other = steps | {"networks": 3, "epochs": 500}
    for name, run in {
        "best": best,
        "same": made.result("random", "a", 10, 0.5, evaluation=steps),
        "longer": made.result("random", "a", 10, 0.6, preset="best", evaluation=other),
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(run))
    grouped = cells(collect(tmp_path)[0])
    mtt = next(cell for cell in grouped if cell.method == "mtt")
    assert baseline(mtt, grouped)[0].mean == 0.5
    longer = [cell for cell in grouped if cell.preset == "best"]
    assert "start" in baseline(mtt, longer)[1]


def test_a_seed_that_diverged_is_counted(tmp_path):
    """Its networks are in no mean, and every table says so."""
    nothing = {
        m: {"mean": None, "std": None, "n": 5} for m in ("accuracy", "balanced_accuracy", "auc")
    }
    for seed, row in enumerate((made.row(0.5), nothing, made.row(0.6))):
        made.write(tmp_path, made.result("mtt", "a", 1, 0.5, seed=seed, test=row))
    grouped = cells(collect(tmp_path)[0])
    assert grouped[0].counted() == "2 x 5 of 3 seeds"
    text = table1.write(tmp_path, grouped, [], [1])
    assert "55.0 ± 5.1 (2 of 3 seeds)" in text and "MTT 2 x 5 of 3 seeds" in text


def test_sets_of_one_name_are_told_apart(tmp_path):
    """By their fingerprints; a name that is no other's stays as it is."""
    for fingerprint, name in (("a" * 16, "set"), ("b" * 16, "set"), ("c" * 16, "other")):
        run = made.result("mtt", name, 1, 0.5, fingerprint=fingerprint)
        made.write(tmp_path, run)
    text = table1.write(tmp_path, cells(collect(tmp_path)[0]), [], [1])
    assert "| set (aaaaaaaa) |" in text and "| set (bbbbbbbb) |" in text and "| other |" in text


def test_series_are_told_by_their_flags(tmp_path):
    """Runs that differ in a flag are lines of their own, however long the flags that they share; each is called by
    what tells it from the other."""
    for ipc in (1, 10):
        for width in (16, 32):
            folder = made.write(
                tmp_path, made.result("mtt", "a", ipc, 0.5, model="convnet", seed=width)
            )
            values = {f"a_flag_of_some_length_{i}": i for i in range(4)} | {"width": width}
            config = json.loads((folder / "config.json").read_text())
            config["values"] = {k: {"value": v, "origin": "flag"} for k, v in values.items()}
            (folder / "config.json").write_text(json.dumps(config))
    found = series(cells(collect(tmp_path)[0]))
    assert [(name, len(members)) for name, members in found] == [
        ("MTT, width=16", 2),
        ("MTT, width=32", 2),
    ]


def test_line_agrees_with_numpy_and_says_nothing_of_too_few():
    """r as NumPy's, inside its interval; no line through two sets or through equal values."""
    rng = np.random.default_rng(1)
    x = rng.uniform(20, 80, 12)
    y = 0.5 * x + rng.normal(0, 4, 12)
    found = line(x, y)
    assert found.r == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found.low < found.r < found.high and found.n == 12
    assert line(x, y) == found
    assert line(x[:2], y[:2]) is None and line(x, np.full(12, 3.0)) is None


def test_the_study_is_in_the_package():
    """Every cell of Table 1; a stand-in is held against the set it was made from, others against nothing."""
    table = study_scores()
    assert len(table) == 8 * 3 * 4
    assert table["bloodmnist", 10, "mtt"].mean == pytest.approx(0.8938)
    r = np.array(
        [
            (table[d, 50, "random"].mean, table[d, 50, "full"].mean)
            for d, i, m in table
            if (i, m) == (50, "mtt")
        ]
    ).T
    assert np.corrcoef(r)[0, 1] == pytest.approx(0.91, abs=0.005)
    assert study_name("bloodmnist") == study_name("pbc_blood8") == "bloodmnist"
    assert study_name("chest_xray3") is None


def test_two_runs_side_by_side(tmp_path):
    """Scores with their difference, what was set differently, both sets of pictures."""
    one = made.write(tmp_path, made.result("mtt", "a", 1, 0.5), 40, pictures=True)
    two = made.write(tmp_path, made.result("dc", "a", 1, 0.6, seed=1), 40, pictures=True)
    page = write_comparison(one, two, tmp_path / "out")
    text = page.read_text()
    assert "+10.0" in text and "mtt" in text and "dc" in text
    found = links(page)
    assert all((page.parent / a).is_file() for a in found.addresses)
    assert len([a for a in found.addresses if "gallery" in a]) == 4


@pytest.mark.slow
def test_hundred_results_in_time(tmp_path):
    """Twenty seconds, in time of this process: other work on the machine must not fail it."""
    count = made.hundred(tmp_path / "runs")
    begin = time.process_time()
    _, shown, _ = write_report(tmp_path / "runs", tmp_path / "out")
    assert shown == count > 100
    assert time.process_time() - begin < 20


def test_strip_shows_ends_and_at_most_ten(tmp_path):
    """Twelve snapshots of grey images: a picture ten tiles wide."""
    images = np.zeros((2, 8, 8, 1), np.uint8)
    gallery.strip(tmp_path / "s.png", [(i, images) for i in range(12)], ("a", "b"))
    gallery.strip(tmp_path / "one.png", [(0, images)], ("a", "b"))
    sizes = [gallery_size(tmp_path / name) for name in ("s.png", "one.png")]
    assert sizes[0] - sizes[1] == pytest.approx(
        9 * (gallery.TILE + gallery.GAP) * gallery.DPI, abs=2
    )


def gallery_size(path: Path) -> int:
    from PIL import Image

    with Image.open(path) as image:
        return image.width


def test_slug_is_safe_and_unique():
    """Letters, digits and dashes; names that differ in what is left out stay apart."""
    assert re.fullmatch(r"[a-z0-9-]+", slug(HOSTILE.replace("\ud800", ""), "../../x"))
    assert slug("a b") != slug("a  b")


def report(*words):
    return launching.SERVER.run("experiments.report", *words)


def test_command(tmp_path):
    """Prints the page and the broken files; mistakes are one line and status 2."""
    made.write(tmp_path / "runs", made.result("mtt", "a", 1, 0.5))
    (tmp_path / "runs" / "broken.json").write_text("{")
    ended = report(f"--runs={tmp_path / 'runs'}", f"--out={tmp_path / 'out'}")
    assert ended.status == 0 and "broken.json" in ended.stderr
    assert str(tmp_path / "out" / "index.html") in ended.stdout
    for words, named in (
        ([f"--runs={tmp_path / 'none'}"], "none"),
        ([f"--runs={tmp_path / 'out'}"], "no result.json"),
        (["--compare=a"], "A,B"),
        ([f"--compare={tmp_path},{tmp_path}"], "result.json"),
    ):
        ended = report(f"--out={tmp_path / 'other'}", *words)
        assert ended.status == 2 and ended.stderr.count("\n") == 1, ended
        assert named in ended.stderr and "Traceback" not in ended.stderr
    assert not (tmp_path / "other").exists()
