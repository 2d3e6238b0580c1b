"""The study of several annotators, at toy size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import crowd
from benchmarks.lab.annotators import CROWDS, simulated_votes
from benchmarks.lab.cells import cell_key

TEXTS = {
    "crowd.csv": "id,text,annotator_1,annotator_2\n1,red apple,fruit,fruit\n2,blue car,,\n3,red car,car,\n"
    "4,apple,car,fruit",
    "gold.csv": "id,gold\n4,fruit\n3,car\n2,car\n1,fruit",
    "heldout.csv": "id,text,label\n9,apple,fruit\n8,car unseen,car",
}


def test_simulated_annotators_are_as_good_as_they_are_drawn() -> None:
    clean = np.arange(5000) % 5
    for name, spec in CROWDS.items():
        votes = simulated_votes(clean, 5, name, seed=1)
        accuracy = np.random.default_rng(1).uniform(spec.worst, spec.best, spec.annotators)
        right = votes.label == clean[votes.item]
        counts = votes.votes_of_annotators
        found = np.bincount(votes.annotator, right) / counts
        assert (np.abs(found - accuracy) < 4 * np.sqrt(0.25 / counts)).all()
        assert len(votes) / votes.num_items == pytest.approx(spec.annotators * spec.share, rel=0.05)
        following = (votes.label == (clean[votes.item] + 1) % 5)[~right].mean()
        assert following == pytest.approx(0.5 + 0.5 / 4, abs=0.04)


def test_the_table_is_read_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    for name, text in TEXTS.items():
        (tmp_path / "inside" / name).write_text(text, encoding="utf-8")
    data = crowd.read_crowd(tmp_path)
    assert data.votes.classes == ("car", "fruit")
    assert data.votes.table().tolist() == [[1, 1], [-1, -1], [0, -1], [0, 1]]
    assert data.clean.tolist() == [1, 0, 0, 1]
    assert data.test_clean.tolist() == [1, 0]
    assert data.inputs.shape == (4, 4)
    assert data.test_inputs[1].nonzero()[0].tolist() == data.inputs[1].nonzero()[0].tolist()[1:]


def test_cells_of_other_files_are_not_taken_for_these(tmp_path: Path) -> None:
    keys = []
    for folder, gold in (("one", "car"), ("copy", "car"), ("other", "fruit")):
        (tmp_path / folder).mkdir()
        for name, text in TEXTS.items():
            (tmp_path / folder / name).write_text(text.replace("2,car", f"2,{gold}"), encoding="utf-8")
        words = ["--datasets", "crowd", "--data-dir", str(tmp_path / folder), "--seeds", "1"]
        (cell,) = crowd.make_cells(crowd.parse_arguments([*words, "--methods", "majority, logistic"]))
        keys.append(cell_key(cell))
    assert keys[0] == keys[1] != keys[2]


def test_scores_leave_nothing_out() -> None:
    scores = crowd._scores("label", np.array([0, 0, 1, 1, 0, 2]), np.array([0, 0, 0, 1, 1, 3]))
    assert scores == pytest.approx({"label_accuracy": 0.5, "label_rarest": 0.0, "label_balanced": (2 / 3 + 1 / 2) / 3})


def test_the_report_has_a_row_a_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    methods = "majority, logistic;fit_votes"
    words = ["--crowds", "few", "--seeds", "1", "--epochs", "3", "--methods", methods, "--processes", "1"]
    assert crowd.main([*words, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    rows = {row["name"]: row["measures"] for row in found["summary"]}
    assert list(rows) == methods.split(";")
    shown = capsys.readouterr().out
    assert "## digits, few" in shown
    assert rows["fit_votes"]["label_accuracy"][0] > rows["majority, logistic"]["label_accuracy"][0] + 0.1
    assert rows["fit_votes"]["annotator_error"][0] < 0.1
    assert "annotator_error" not in rows["majority, logistic"]
    assert (tmp_path / "results.md").read_text().startswith(crowd.page(found["cells"]))
    assert (tmp_path / "results-labels.png").stat().st_size > 0


def test_the_consensus_of_cleanlab_is_better_than_the_majority() -> None:
    pytest.importorskip("cleanlab")
    data = crowd.simulated("digits", "few", 0, None)
    voted = data.votes.votes_of_items > 0
    found = crowd._cleanlab(data, 0)
    assert ((found < 0) == ~voted).all()
    assert (found == data.clean)[voted].mean() > (data.votes.majority() == data.clean)[voted].mean() + 0.1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--datasets", "crowd"], "the file crowd.csv"),
        (["--datasets", "segment"], "the file segment.npz"),
        (["--crowds", "some"], "a known crowd"),
        (["--methods", "fit_vote"], "did you mean 'fit_votes'"),
        (["--epochs", "1"], "--epochs"),
        (["--seeds", "0"], "--seeds"),
    ],
)
def test_wrong_words(words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crowd.main([*words, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
