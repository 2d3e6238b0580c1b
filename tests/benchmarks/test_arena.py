"""The arena at toy size, end to end: its plan, its keys, and what it does with a run that fails."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import arena
from benchmarks.arenas import cell as cell_module
from benchmarks.arenas.cell import Cell, cell_of, code_of_row, run_cell
from benchmarks.arenas.contenders import OWN, contender, standard_rows
from benchmarks.arenas.networks import VECTOR_NETWORKS
from benchmarks.arenas.noises import NOISES
from benchmarks.arenas.plan import Place, fraction, whole
from benchmarks.arenas.report import expanded, rendered
from benchmarks.arenas.sets import DEVELOPMENT, HALVES, REPORT, SAME_DATA, Entry
from benchmarks.lab import sources
from benchmarks.lab.cells import cell_key, read_cell, write_cell
from benchmarks.lab.methods import LABEL_METHODS, Method, names_of
from noisycorrect import RECIPES, EveryStep, NonFiniteLossError, OnlineCorrection
from noisycorrect.support.errors import InvalidInputError

PATHS: dict[str, tuple[str | None, str]] = {"wine": (None, "label")}
TOY = ["--epochs", "3", "--sets", "wine", "--processes", "1"]


def toy_cell(method: str = "ce", noise: str = "symmetric:0.4", network: str = "mlp") -> Cell:
    place = Place(Entry("wine"), noise, network, "standard", "sgd", 0)
    return cell_of(place, method, budget=3, rows=1500, test_rows=2000, data="")


def run(folder: Path, *more: str) -> int:
    return arena.main([*TOY, "--out", str(folder), *more])


def test_an_arena_is_written_and_finished_cells_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--noises", "none,pairflip:0.3", "--recipes", "ce,elr,coteaching,knn,robust-2025")
    assert run(tmp_path, *words) == 0
    shown = capsys.readouterr()
    assert "report half" in shown.out
    assert "letter" in shown.err, "what has no files is said"
    stored = json.loads((tmp_path / "results.json").read_text())
    assert len(stored["cells"]) == 2 * 5
    assert (tmp_path / "results.md").read_text().startswith(rendered(stored))
    for record in expanded(stored):
        config, result = record["config"], record["result"]
        assert 0.1 < result["test_accuracy"] <= 1
        assert result["published"] == (config["method"] in ("ce", "elr"))
        assert (result["noise_rate"] == 0) == (config["noise"] == "none")
        assert (result.get("estimated_interval") is not None) == (config["method"] == "robust-2025")
        known = config["noise"] != "none" and config["method"] in ("knn", "robust-2025")
        assert (result.get("issue_auroc") is not None) == known
    assert set(stored["regret"]["report"]) == {"ce", "elr", "coteaching", "knn", "robust-2025"}
    assert stored["regret"]["report"]["ce"]["places"] == 2
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.json")}
    assert run(tmp_path, *words) == 0
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.json")}
    for name in ("results.md", *(f"results-report-{part}.png" for part in ("noises", "sets", "ranks"))):
        assert (tmp_path / name).stat().st_size > 0


def test_a_cell_depends_on_its_seed_alone() -> None:
    cell = toy_cell("robust-2025", network="mlp-bn")
    once, again, other = (run_cell(PATHS, one) for one in (cell, cell, replace(cell, seed=1)))
    for result in (once, again, other):
        del result["seconds"], result["cpu_seconds"]
    assert once == again
    assert once != other


# ---------------------------------------------------------------- keys


@pytest.fixture
def changed_source(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    read = sources._source

    def change(*names: str) -> None:
        code_of_row.cache_clear()
        monkeypatch.setattr(sources, "_source", lambda name: read(name) + ("\nnew = 1\n" if name in names else ""))

    code_of_row.cache_clear()
    yield change
    code_of_row.cache_clear()


@pytest.mark.parametrize(
    ("module", "rows"),
    [
        ("noisycorrect.correction.online", {"robust-2025"}),
        ("noisycorrect.review.noise_rate", {"ce", "elr", "robust-2025"}),
        ("noisycorrect.labels.trust", {"ce", "elr", "robust-2025"}),
        ("noisycorrect.classification.methods.early_learning", {"elr"}),
        ("noisycorrect.corrector", {"ce", "elr", "robust-2025"}),
        ("noisycorrect.training.run", {"ce", "elr", "robust-2025"}),
        ("benchmarks.arenas.noises", {"ce", "elr", "robust-2025", "knn"}),
        ("noisycorrect.classification.noise.transition", {"ce", "elr", "robust-2025", "knn"}),
        ("noisycorrect.classification.noise.instance", set()),
        ("noisycorrect.cli.issues", set()),
        ("benchmarks.arenas.report", set()),
        ("benchmarks.arenas.plan", set()),
        ("benchmarks.robustness", set()),
    ],
)
def test_a_changed_source_changes_the_keys_of_the_rows_that_reach_it(
    changed_source: Any, module: str, rows: set[str]
) -> None:
    names = ("ce", "elr", "robust-2025", "knn")
    before = {name: cell_key(toy_cell(name)) for name in names}
    changed_source(module)
    assert {name for name in names if cell_key(toy_cell(name)) != before[name]} == rows


def test_pruning_depends_on_how_plain_training_goes(changed_source: Any) -> None:
    before = cell_key(toy_cell("prune-retrain"))
    changed_source("noisycorrect.cycle.rates")
    assert cell_key(toy_cell("prune-retrain")) != before


def test_a_changed_default_of_a_part_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [cell_key(toy_cell("robust-2025"))]
    recipe = OWN["robust-2025"].recipe
    assert recipe is not None
    for part in (
        {"correction": OnlineCorrection(momentum=0.8)},
        {"average": EveryStep(0.9)},
        {"weight_decay": 1e-3},
        {"optimizer": RECIPES["ce"].optimizer.func},  # type: ignore[attr-defined]
    ):
        monkeypatch.setitem(OWN, "robust-2025", Method(recipe.replace(**part)))
        keys.append(cell_key(toy_cell("robust-2025")))
    assert len(set(keys)) == len(keys)


def test_a_cell_of_another_code_is_not_reused(tmp_path: Path, changed_source: Any) -> None:
    write_cell(tmp_path, toy_cell(), {"test_accuracy": 1.0})
    assert read_cell(tmp_path, toy_cell()) is not None
    changed_source("noisycorrect.corrector")
    assert read_cell(tmp_path, toy_cell()) is None


def test_no_identity_holds_an_address() -> None:
    for name in (*standard_rows(), *names_of()):
        identity = contender(name).identity
        assert " at 0x" not in identity
        assert identity == contender(name).identity
    assert contender("coteaching").identity != repr(LABEL_METHODS["coteaching"].recipe), "the rate that it is told"


# ---------------------------------------------------------------- the plan


def entries() -> list[Entry]:
    return [Entry(name) for name in (*DEVELOPMENT, *REPORT) if name not in SAME_DATA]


@pytest.mark.parametrize("half", HALVES)
def test_the_standard_plan_is_balanced(half: str) -> None:
    places = [p for p in fraction(entries(), [0]) if p.entry.half == half and not p.entry.images]
    assert len(places) == len({(p.entry, p.noise) for p in places})
    factors = ("network", "preparation", "optimizer", "noise")
    for factor in factors[:3]:
        counts = Counter(getattr(p, factor) for p in places)
        assert max(counts.values()) - min(counts.values()) <= 3
    for one in range(4):
        for other in range(one + 1, 4):
            counts = Counter((getattr(p, factors[one]), getattr(p, factors[other])) for p in places)
            levels = [len({getattr(p, factors[which]) for p in places}) for which in (one, other)]
            assert len(counts) == levels[0] * levels[1], "every pair is met"
            assert max(counts.values()) <= 1.6 * len(places) / len(counts)


def test_three_seeds_show_every_noise_of_every_set_to_every_network() -> None:
    places = fraction([Entry("wine"), Entry("digits")], range(3))
    met = Counter((p.entry.name, p.noise, p.network) for p in places)
    assert met == {(s, n, k): 1 for s in ("wine", "digits") for n in NOISES for k in VECTOR_NETWORKS}


def test_a_set_meets_the_same_whichever_others_are_there() -> None:
    assert set(fraction([Entry("wine")], [0])) <= set(fraction(entries(), [0]))
    assert set(fraction([Entry("wine")], [0])) <= set(whole([Entry("wine")], [0]))


def test_halves_share_no_set_and_what_is_unknown_judges() -> None:
    assert not set(DEVELOPMENT) & set(REPORT)
    assert Entry("digits").half == "development"
    assert Entry("somebodys", Path("somebodys.csv")).half == "report"


def test_options_restrict_the_plan() -> None:
    def places_of(*words: str) -> list[tuple[str, ...]]:
        arguments = arena.parse_arguments(["--sets", "wine,digits", *words])
        found = [Entry("digits"), Entry("wine")]
        return [(p.entry.name, p.network, p.noise) for p in arena.make_places(arguments, found)]

    everything = places_of()
    assert places_of("--half", "report") == [p for p in everything if p[0] == "wine"]
    assert places_of("--networks", "mlp") == [p for p in everything if p[1] == "mlp"]
    assert places_of("--noises", "none") == [p for p in everything if p[2] == "none"]
    assert len(places_of("--full")) == 18 * len(everything)
    assert len(places_of("--seeds", "2")) == 2 * len(everything)


def test_the_quick_plan_needs_no_files_and_has_all_rows() -> None:
    arguments = arena.parse_arguments(["--quick"])
    found, _ = arena.find_sets(None)
    cells = arena.make_cells(arguments, found)
    assert {cell.dataset for cell in cells} == set(arena.QUICK_SETS)
    assert {cell.method for cell in cells} == set(standard_rows())
    assert len(cells) == 5 * 3 * len(standard_rows())


# ---------------------------------------------------------------- failures


def test_a_run_that_diverges_counts_as_guessing(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: object) -> None:
        raise NonFiniteLossError("a finite loss", got="nan in epoch 1")

    monkeypatch.setattr(cell_module, "fit_row", diverge)
    result = run_cell(PATHS, toy_cell())
    assert (result["diverged"], result["refused"]) == (True, None)
    assert result["test_accuracy"] == result["balanced_accuracy"] == pytest.approx(1 / 3)


def test_training_warnings_are_counted_and_not_shown(recwarn: pytest.WarningsRecorder) -> None:
    place = Place(Entry("wine"), "none", "mlp", "raw", "sgd", 0)
    raw, standard = (
        cell_of(one, "ce", budget=3, rows=1500, test_rows=2000, data="")
        for one in (place, replace(place, preparation="standard"))
    )
    assert (run_cell(PATHS, raw)["warned"], run_cell(PATHS, standard)["warned"]) == (True, False)
    assert not recwarn


def test_other_warnings_of_a_cell_are_shown() -> None:
    with pytest.warns(UserWarning, match="something else"), cell_module.training_warnings() as found:
        warnings.warn("something else", stacklevel=1)
    assert found == []


def test_a_row_that_refuses_the_data_counts_as_guessing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise InvalidInputError("more samples", got="few")

    monkeypatch.setattr(cell_module, "fit_row", refuse)
    result = run_cell(PATHS, toy_cell())
    assert result["diverged"] is False
    assert "more samples" in result["refused"]
    assert result["test_accuracy"] == pytest.approx(1 / 3)


def test_trees_take_no_images() -> None:
    assert not contender("hist-gradient-boosting").fits(images=True)
    assert contender("knn").fits(images=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recipes", "elrr"], "did you mean 'elr'"),
        (["--sets", "wines"], "did you mean 'wine'"),
        (["--noises", "symetric:0.4"], "did you mean 'symmetric'"),
        (["--networks", "mpl"], "network"),
        (["--epochs", "1"], "--epochs"),
        (["--half", "report", "--sets", "digits"], "a place of the plan"),
        (["--noises", "human:majority", "--sets", "wine"], "a place of the plan"),
        (["--data-dir", "nowhere"], "no folder"),
    ],
)
def test_mistakes_get_one_line_and_status_2(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert arena.main(["--out", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
