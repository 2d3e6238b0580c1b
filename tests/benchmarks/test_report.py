from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.lab import figures
from benchmarks.lab.label_study import page, print_study, rows_of, write_study
from benchmarks.lab.report import command_line, environment, write_report
from benchmarks.lab.rows import mean_and_std
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError


def cell(method: str, seed: int, accuracy: float, noise: str = "symmetric:0.4", **more: Any) -> dict[str, Any]:
    config = {"dataset": "digits", "noise": noise, "method": method, "seed": seed, "epochs": 60}
    return {"config": config, "result": {"test_accuracy": accuracy, "sample_passes": 80880, **more}}


def study_figures(cells: list[dict[str, Any]]) -> dict[str, Any]:
    return figures.study_figures(cells, rows_of(cells))


@pytest.fixture
def study() -> list[dict[str, Any]]:
    history = [{"epoch": e, "sample_passes": 1000 * e, "test_accuracy": 0.5 + e / 10} for e in (1, 2, 3)]
    return [
        cell("ce", 0, 0.60, history=history),
        cell("ce", 1, 0.64, history=history[:2]),
        cell("fix", 0, 0.90, train_label_accuracy=0.95, seconds=2.0),
        cell("fix", 1, 0.92, train_label_accuracy=0.97, seconds=4.0),
        cell("two", 0, 0.99, networks=2),
        cell("two", 1, 0.97, networks=2),
        cell("ce", 0, 0.5, noise="pairflip:0.4"),
        cell("fix", 0, math.nan, noise="pairflip:0.4"),
    ]


def test_rows_hold_mean_and_sample_deviation_over_seeds(study: list[dict[str, Any]]) -> None:
    rows = {(row.noise, row.name): row for row in rows_of(study)}
    fix = rows["symmetric:0.4", "fix"]
    assert fix.seeds == (0, 1)
    measures = [fix.mean(name) for name in ("test_accuracy", "train_label_accuracy", "seconds", "sample_passes")]
    assert measures == pytest.approx([0.91, 0.96, 3.0, 80880])
    assert fix["test_accuracy"][1] == pytest.approx(0.02 / math.sqrt(2))
    assert not rows["symmetric:0.4", "ce"].has("train_label_accuracy")


def test_one_seed_has_no_deviation_and_nothing_warns() -> None:
    assert mean_and_std([0.5])[0] == 0.5
    assert math.isnan(mean_and_std([0.5])[1])
    assert all(math.isnan(value) for value in mean_and_std([]))
    assert "| ce | **50.0** | 1 |" in page("One seed", [cell("ce", 3, 0.5)])


def test_best_is_the_highest_mean_among_methods_of_one_network_per_noise(study: list[dict[str, Any]]) -> None:
    best = {(row.noise, row.name) for row in rows_of(study) if "test_accuracy" in row.best}
    assert best == {("symmetric:0.4", "fix"), ("pairflip:0.4", "ce")}


def test_a_separate_rate_becomes_a_part_of_the_noise() -> None:
    record = cell("ce", 0, 0.5, noise="symmetric")
    record["config"]["rate"] = 0.20
    assert rows_of([record])[0].noise == "symmetric:0.2"


def test_cells_of_different_studies_are_not_averaged(study: list[dict[str, Any]]) -> None:
    other = cell("ce", 2, 0.9)
    other["config"]["epochs"] = 10
    with pytest.raises(InvalidInputError, match="cells of one study; got several epochs"):
        rows_of([*study, other])
    with pytest.raises(InvalidInputError, match="each seed once"):
        rows_of([*study, study[0]])


def test_markdown_states_the_protocol_and_shows_each_method(study: list[dict[str, Any]]) -> None:
    text = page("Robustness", study)
    assert text.startswith("# Robustness\n")
    assert "after the **last epoch**" in text
    assert "over 1 to 2 seeds" in text
    assert "## digits\n\nSettings: epochs 60.\n" in text
    assert "| method | symmetric:0.4 | pairflip:0.4 | seeds | nets | passes | s/run |" in text
    assert "| ce | 62.0 ± 2.8 | **50.0** | 1 to 2 | 1 | 80.9 k | - |" in text
    assert "| fix | **91.0 ± 1.4** | nan | 1 to 2 | 1 | 80.9 k | 3 |" in text
    assert "| two | 98.0 ± 1.4 | - | 2 | 2 | 80.9 k | - |" in text
    assert "Right labels of the training set" in text
    assert "| method | symmetric:0.4 |\n|---|---:|\n| fix | 96.0 ± 1.4 |\n" in text


def test_a_study_is_written_as_json_markdown_and_pictures(tmp_path: Path, study: list[dict[str, Any]]) -> None:
    rows = write_study(tmp_path / "new", study, title="Robustness", command="python -m benchmarks.robustness")
    assert repr(rows) == repr(rows_of(study))  # NaN differs from itself

    text = (tmp_path / "new" / "results.json").read_text()
    assert "NaN" not in text
    stored = json.loads(text)
    assert stored["cells"][2] == study[2]
    assert "history" not in stored["cells"][0]["result"]
    (curve,) = stored["curves"]
    assert (curve["noise"], curve["method"], curve["sample_passes"]) == ("symmetric:0.4", "ce", [1000, 2000])
    assert stored["seeds"] == [0, 1]
    assert stored["command"] == "python -m benchmarks.robustness"
    assert {"python", "torch", "noisycorrect", "cpu", "cores", "gpu", "date"} <= set(stored["environment"])
    assert stored["summary"][0]["name"] == "ce"
    assert stored["summary"][0]["gain"] == [None, None]

    text = (tmp_path / "new" / "results.md").read_text()
    for name in ("accuracy-digits", "curves-digits"):
        assert (tmp_path / "new" / f"results-{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"![{name}](results-{name}.png)" in text
    assert "```sh\npython -m benchmarks.robustness\n```" in text


def test_any_benchmark_may_use_the_report(tmp_path: Path) -> None:
    write_report(tmp_path, {"rows": [{"ratio": math.inf}]}, "# Speed\n", command="python -m benchmarks.speed")
    assert json.loads((tmp_path / "results.json").read_text())["rows"] == [{"ratio": None}]
    assert (tmp_path / "results.md").read_text().startswith("# Speed\n\n## Reproduce\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "results.md"]


def test_numbers_are_kept_when_pictures_cannot_be_drawn(
    tmp_path: Path, study: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(NoisyCorrectError, match="pip install"):
        write_study(tmp_path, study, title="Robustness")
    assert "62.0 ± 2.8" in (tmp_path / "results.md").read_text()
    assert json.loads((tmp_path / "results.json").read_text())["title"] == "Robustness"


def test_dots_show_each_seed_the_mean_and_the_selected_epoch() -> None:
    cells = [cell("ce", seed, 0.5 + seed / 10, selected_accuracy=0.8, baseline=True) for seed in (0, 1)]
    cells += [cell("two", 0, 0.9, noise="pairflip:0.4", networks=2, baseline=True), cell("own", 0, 0.7)]
    drawn = study_figures(cells)
    assert list(drawn) == ["accuracy-digits"]
    symmetric, pair = drawn["accuracy-digits"].axes
    assert [symmetric.get_title(), pair.get_title()] == ["symmetric:0.4", "pairflip:0.4"]
    seeds, mean, selected, *own = (list(line.get_xdata()) for line in symmetric.lines)
    assert seeds == pytest.approx([50, 60])
    assert (mean, selected) == (pytest.approx([55]), pytest.approx([80]))
    assert own == [pytest.approx([70])] * 2
    assert [label.get_text() for label in symmetric.get_yticklabels()] == ["ce", "two", "own"]
    assert list(pair.lines[0].get_ydata()) == [1]
    legend = [text.get_text() for text in drawn["accuracy-digits"].legends[0].get_texts()]
    assert legend == ["one network", "best noisy-validation epoch", "self-correction", "two networks"]


def test_curves_average_the_epochs_that_all_seeds_have(study: list[dict[str, Any]]) -> None:
    (axes,) = study_figures(study)["curves-digits"].axes
    assert list(axes.lines[0].get_xdata()) == [1, 2]
    assert list(axes.lines[0].get_ydata()) == pytest.approx([60, 70])


def test_among_many_curves_correction_plain_training_and_the_best_stand_out() -> None:
    def curve(method: str, accuracy: float, **more: Any) -> dict[str, Any]:
        history = [{"epoch": 1, "sample_passes": 10, "test_accuracy": accuracy}]
        return cell(method, 0, accuracy, history=history, **more)

    cells = [curve(f"b{n}", n / 20, baseline=True) for n in range(10)] + [curve("ce", 0.01, baseline=True)]
    cells += [curve("paper", 0.02), curve("robust-no-share", 0.99)]
    figure = study_figures(cells)["curves-digits"]
    shown = {text.get_text() for text in figure.legends[0].get_texts()}
    assert shown == {"paper", "ce", "b9", "b8", "b7", "b6", "b5", "b4", "others"}


def test_differences_are_paired_with_the_best_baseline_of_one_network() -> None:
    cells = [cell("ce", seed, value, baseline=True) for seed, value in enumerate((0.5, 0.5, 0.5))]
    cells += [cell("elr", seed, value, baseline=True) for seed, value in enumerate((0.6, 0.7, 0.8))]
    cells += [cell("two", seed, 0.99, baseline=True, networks=2) for seed in range(3)]
    cells += [cell("own", seed, value) for seed, value in enumerate((0.7, 0.75, 0.95))]
    rows = {row.name: row for row in rows_of(cells)}
    assert {row.rival for row in rows.values()} == {"elr"}
    differences = [0.1, 0.05, 0.15]
    mean = sum(differences) / 3
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / 2) / math.sqrt(3)
    assert (rows["own"].gain[0], rows["own"].gain[1] / math.sqrt(3)) == pytest.approx((mean, error))
    assert math.isnan(rows["elr"].gain[0])
    text = page("Robustness", cells)
    lines = ["(best baseline) | elr", "ce | -20.0 ± 5.8", "two | +29.0 ± 5.8", "own | +10.0 ± 2.9"]
    assert "".join(f"| {line} |\n" for line in lines) in text


def test_the_rival_of_one_noise_keeps_its_place_among_the_differences() -> None:
    cells = [cell("ce", 0, 0.6, baseline=True), cell("elr", 0, 0.5, baseline=True)]
    cells += [cell("ce", 0, 0.5, "pairflip:0.4", baseline=True), cell("elr", 0, 0.7, "pairflip:0.4", baseline=True)]
    text = page("Robustness", cells)
    assert "| (best baseline) | ce | elr |\n| ce | - | -20.0 |\n| elr | -10.0 | - |" in text


def test_a_difference_takes_the_seeds_that_both_have() -> None:
    cells = [cell("ce", seed, 0.5, baseline=True) for seed in (0, 1)] + [cell("own", seed, 0.8) for seed in (1, 2)]
    row = next(row for row in rows_of(cells) if row.name == "own")
    assert row.paired == 1
    assert row.gain[0] == pytest.approx(0.3)
    assert math.isnan(row.gain[1])


def test_selection_labels_issues_and_estimates_have_tables_of_their_own() -> None:
    more = {"train_label_accuracy": 0.9, "issue_auroc": 0.98, "issue_average_precision": 0.95, "estimated_rate": 0.38}
    cells = [cell("ce", 0, 0.5, selected_accuracy=0.75, noise_rate=0.4, baseline=True, note="rate given")]
    cells += [cell("own", 0, 0.7, selected_accuracy=0.7, noise_rate=0.4, **more)]
    text = page("Robustness", cells)
    assert "| ce (rate given) | **75.0** |\n| own | 70.0 |" in text
    assert "| (truth) | 40.0 |\n| own | 38.0 |" in text
    for value in ("90.0", "98.0", "95.0"):
        assert f"| method | symmetric:0.4 |\n|---|---:|\n| own | {value} |\n" in text


def test_no_noise_is_called_clean() -> None:
    assert rows_of([cell("ce", 0, 0.5, noise="none")])[0].noise == "clean"


def test_many_noises_are_printed_without_deviations_and_costs() -> None:
    screen = io.StringIO()
    cells = [cell("ce", seed, 0.5 + seed / 10, noise=f"symmetric:0.{n}") for n in range(1, 6) for seed in (0, 1)]
    print_study(rows_of(cells), Console(file=screen, width=100))
    assert screen.getvalue().count("55.0") == 5
    assert "±" not in screen.getvalue()
    assert "passes" not in screen.getvalue()


def test_the_table_is_printed_per_data_set(study: list[dict[str, Any]]) -> None:
    screen = io.StringIO()
    print_study(rows_of(study), Console(file=screen, width=100))
    assert "digits: test accuracy after the last epoch" in screen.getvalue()
    assert "91.0 ± 1.4" in screen.getvalue()
    assert "*" not in screen.getvalue()


def test_the_command_line_names_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("secret/cifar10").resolve()
    words = [
        sys.executable,
        "-m",
        "benchmarks.robustness",
        "--data-dir",
        str(folder),
        f"--out={folder}",
        "--noise",
        "a b",
    ]
    monkeypatch.setattr(sys, "orig_argv", words)
    assert command_line() == "python -m benchmarks.robustness --data-dir cifar10 --out=cifar10 --noise 'a b'"


def test_the_environment_is_plain_json() -> None:
    facts = environment()
    assert json.loads(json.dumps(facts)) == facts
