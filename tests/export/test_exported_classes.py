"""Class labels of runs and of reviewed cleaning runs as CSV, Parquet and Label Studio tasks."""

import csv
import json
import sys
import textwrap
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from spawn import run_script
from tiny_runs import blobs, corrector

from noisycorrect import InvalidInputError, SoftLabelStore
from noisycorrect.cli import main
from noisycorrect.export import read_run_labels
from noisycorrect.review.session import Cleaning, Decision, Item, Journal, write_items

CLASSES = ["cat", "dog", "=cmd|'x'", '<b>"fox" & é</b>']


def item(name, given, suggested, quality, **more):
    issue = suggested is not None and given is not None and suggested != given
    probs = {} if suggested is None else {suggested: 0.75}
    return Item(id=name, given=given, suggested=suggested, quality=quality, is_issue=issue, probs=probs, **more)


@pytest.fixture
def cleaning(tmp_path):
    """A reviewed cleaning run of texts."""
    folder = tmp_path / "run"
    header = Cleaning(kind="text", classes=CLASSES, source="pets.csv", label="label")
    items = [
        item("1", "cat", "cat", 0.9, text="meow, \"quoted\"\nand a second line"),
        item("2", "cat", "dog", 0.1, text="=SUM(A1)"),
        item("-3x", "cat", "dog", 0.2, text="kept"),
        item("4", "dog", "cat", 0.3, text="another"),
        item("5", None, "dog", 1.0, text="unlabelled"),
        item("6", None, None, 1.0, text="nothing known"),
        item("7", CLASSES[2], CLASSES[2], 0.5, text=CLASSES[3]),
    ]  # fmt: skip
    write_items(folder, header, items)
    journal = Journal(folder)
    journal.append(Decision(id="2", action="accept", label="dog"))
    journal.append(Decision(id="-3x", action="keep", label="cat"))
    journal.append(Decision(id="4", action="class", label=CLASSES[3]))
    journal.append(Decision(id="1", action="class", label="dog"))
    journal.append(Decision(id="1", action="undo"))
    return folder


FINAL = ["cat", "dog", "cat", CLASSES[3], "dog", None, CLASSES[2]]
ORIGIN = ["given", "accept", "keep", "class", "corrected", "given", "given"]


def rows_of(folder):
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_reviewed_run_as_csv(cleaning, tmp_path, capsys):
    assert main(["export", str(cleaning), str(tmp_path / "out")]) == 0
    assert "7 labels (3 decided) written to" in capsys.readouterr().out
    rows = rows_of(tmp_path / "out")
    assert list(rows[0]) == [
        "id", "text", "given_label", "label", "label_origin", "label_quality", "is_label_issue", "predicted_label"
    ]  # fmt: skip
    assert [row["id"] for row in rows] == ["1", "2", "'-3x", "4", "5", "6", "7"]
    assert [row["label_origin"] for row in rows] == ORIGIN
    safe = ["cat", "dog", "cat", CLASSES[3], "dog", "", "'" + CLASSES[2]]
    assert [row["label"] for row in rows] == safe
    assert rows[0]["text"] == 'meow, "quoted"\nand a second line'
    assert rows[1]["text"] == "=SUM(A1)"  # the data's own
    assert (rows[1]["label_quality"], rows[1]["is_label_issue"]) == ("0.100000", "True")


def test_a_reviewed_run_as_parquet(cleaning, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    assert main(["export", str(cleaning), str(tmp_path / "out"), "--format", "parquet"]) == 0
    table = parquet.read_table(tmp_path / "out" / "labels.parquet").to_pydict()
    assert table["label"] == FINAL
    assert table["id"][2] == "-3x"  # no spreadsheet, no apostrophe
    assert table["given_label"] == ["cat", "cat", "cat", "dog", None, None, CLASSES[2]]
    assert table["is_label_issue"] == [False, True, True, True, False, False, False]
    np.testing.assert_allclose(table["label_quality"], [0.9, 0.1, 0.2, 0.3, 1, 1, 0.5], rtol=1e-6)


def test_rows_keep_their_columns(tmp_path):
    header = Cleaning(kind="row", classes=["a", "b"], source="t.csv", label="label")
    rows = [
        {"id": 7, "label": "a", "height": 1.5, "n": 3, "mixed": 1},
        {"label": "b", "height": None, "n": 4, "mixed": "x"},
    ]
    write_items(tmp_path / "run", header, [item(str(k), "a", "b", 0.2, row=row) for k, row in enumerate(rows)])
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "csv")]) == 0
    (first, second) = rows_of(tmp_path / "csv")
    assert (first["id"], first["label"], first["height"], first["noisycorrect_label"]) == ("0", "a", "1.5", "b")
    assert (second["label"], second["height"], second["mixed"]) == ("b", "", "x")
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "parquet"), "--format", "parquet"]) == 0
    table = parquet.read_table(tmp_path / "parquet" / "labels.parquet").to_pydict()
    assert (table["height"], table["n"], table["mixed"]) == ([1.5, None], [3, 4], ["1", "x"])


def test_label_studio_tasks(cleaning, tmp_path):
    assert main(["export", str(cleaning), str(tmp_path / "out"), "--format", "label-studio"]) == 0
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text(encoding="utf-8"))

    def chosen(name):
        return [(task[name][0]["result"][0]["value"]["choices"][0] if task[name] else None) for task in tasks]

    # Decided or given labels are annotations, corrected ones predictions.
    assert chosen("annotations") == ["cat", "dog", "cat", CLASSES[3], None, None, CLASSES[2]]
    assert chosen("predictions") == ["cat", "dog", "dog", "cat", "dog", None, CLASSES[2]]
    assert tasks[1]["predictions"][0]["score"] == 0.75
    assert tasks[1]["data"] == {"id": "2", "label_quality": 0.1, "text": "=SUM(A1)"}
    config = ET.parse(tmp_path / "out" / "labeling_config.xml").getroot()
    assert [choice.get("value") for choice in config.iterfind("Choices/Choice")] == CLASSES
    assert config.find("Choices").get("toName") == config.find("Text").get("name") == "text"


@pytest.mark.parametrize("shown", ["text", "image", "row", ""])
def test_label_studio_accepts_the_tasks(shown, tmp_path):
    interface = pytest.importorskip("label_studio_sdk.label_interface", reason="needs label-studio-sdk")
    content = {"text": "woof", "image": "../photos/1.jpg", "row": {"a": 1}}
    if shown:
        more = [item(name, "a", "b", 0.5, **{shown: content[shown]}) for name in "xyz"]
        write_items(tmp_path / "run", Cleaning(kind=shown, classes=["a", "b"], source="s", label="l"), more)
    else:
        SoftLabelStore.create(tmp_path / "run", [0, 1, -1], 2)
    words = ["--format", "label-studio", "--images", "/photos"]
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "out"), *words]) == 0
    config = interface.LabelInterface((tmp_path / "out" / "labeling_config.xml").read_text(encoding="utf-8"))
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text(encoding="utf-8"))
    assert len(tasks) == 3
    for task in tasks:
        assert config.validate_task({"data": task["data"]})  # of whole tasks it calls itself wrongly
        for kind in ("annotation", "prediction"):
            for each in task[f"{kind}s"]:
                assert getattr(config, f"validate_{kind}")(each)
    if shown == "image":
        assert tasks[0]["data"]["image"] == "/photos/1.jpg"


def test_a_plain_run_has_positions_and_its_names(tmp_path):
    inputs, given, _ = blobs(60)
    result = corrector(run_dir=tmp_path / "run", class_names=["a", "b", "c"]).fit((inputs, given))
    result.save(tmp_path / "saved")
    for folder in ("run", "saved"):
        out = tmp_path / f"{folder}-out"
        assert main(["export", str(tmp_path / folder), str(out), "--format", "csv"]) == 0
        rows = rows_of(out)
        assert [row["id"] for row in rows] == [str(k) for k in range(60)]
        assert [row["label"] for row in rows] == ["abc"[k] for k in result.labels.labels()]
        assert [row["given_label"] for row in rows] == ["abc"[k] for k in given]
        issues = [int(row["id"]) for row in rows if row["is_label_issue"] == "True"]
        assert issues == sorted(issue.index for issue in result.issues())
        assert 0 < len(issues) < 60


def test_plain_labels_of_a_reviewed_run_are_those_that_were_decided(cleaning, tmp_path):
    SoftLabelStore.create(cleaning / "labels", [0, 0, 0, 1, -1, -1, 2], len(CLASSES)).close()
    assert main(["export", str(cleaning), str(tmp_path / "out"), "--format", "plain"]) == 0
    found = np.load(tmp_path / "out" / "labels.npy")
    assert [None if number < 0 else CLASSES[number] for number in found] == FINAL


def test_earlier_generations_and_unlabelled_samples(tmp_path):
    store = SoftLabelStore.create(tmp_path / "labels", [0, -1, 1], 2)
    for probs in ([[0.2, 0.8], [0.1, 0.9], [0.4, 0.6]], [[0.9, 0.1], [0.7, 0.3], [0.9, 0.1]]):
        with store.new_generation(trust=torch.tensor([0.0, 0, 0])) as writer:
            writer.write(range(3), torch.tensor(probs))
    for generation in (0, 1, 2):
        labels = read_run_labels(tmp_path, generation=generation)
        expected = store.labels(generation=generation).tolist()
        assert [final.label for final in labels.finals] == [None if k < 0 else str(k) for k in expected]
    first = read_run_labels(tmp_path, generation=1)
    assert [entry.is_issue for entry in first.items] == [True, False, False]
    np.testing.assert_allclose([entry.quality for entry in first.items], [0.2, 1, 0.6], rtol=1e-6)
    assert [entry.suggested for entry in first.items] == ["1", "1", "1"]
    assert [final.origin for final in first.finals] == ["corrected", "corrected", "given"]
    named = read_run_labels(tmp_path, class_names=["x", "y"], sample_names=["p", "q", "r"])
    assert [(entry.id, entry.given) for entry in named.items] == [("p", "x"), ("q", None), ("r", "y")]


def test_what_cannot_be_exported(cleaning, tmp_path, capsys, monkeypatch):
    out = str(tmp_path / "out")
    SoftLabelStore.create(tmp_path / "tokens", [[0, 1], [1]], 2, kind="tokens")
    for words, message in [
        ([cleaning, out, "--generation", "1"], "the labels of a cleaning run as they are"),
        ([cleaning, out, "--format", "coco"], "choose plain or csv or label-studio or parquet"),
        ([cleaning, out, "--probs", "--format", "csv"], "--probs with --format plain"),
        ([tmp_path / "tokens", out, "--format", "csv"], "kind 'tokens'; got 'csv'; to fix: choose plain"),
        ([tmp_path / "nothing", out], "nothing"),
    ]:
        assert main(["export", *map(str, words)]) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["export", str(cleaning), out, "--format", "parquet"]) == 2
    assert "the package pyarrow, for Parquet; got none; to fix: pip install pyarrow" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"run", "tokens"}
    SoftLabelStore.create(tmp_path / "three" / "labels", [0, 1, 1], 2)
    with pytest.raises(InvalidInputError, match="3 different names"):
        read_run_labels(tmp_path / "three", sample_names=["a", "b"])


def test_an_export_that_is_killed_leaves_nothing_that_looks_like_one(cleaning, tmp_path):
    script = f"""
        import os, signal
        from noisycorrect.export import table
        from noisycorrect.cli import main
        rows = table._rows
        def half(labels, shown):
            for number, row in enumerate(rows(labels, shown)):
                if number == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield row
        table._rows = half
        main(["export", {str(cleaning)!r}, {str(tmp_path / "out")!r}])
    """
    assert run_script(textwrap.dedent(script)).returncode == -9
    assert not (tmp_path / "out").exists()
    (left,) = (path for path in tmp_path.iterdir() if path.name != "run")
    assert (left.name[:5], left.suffix) == (".out.", ".part")
    assert main(["export", str(cleaning), str(tmp_path / "out")]) == 0
