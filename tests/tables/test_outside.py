"""Tables from elsewhere: what they name, and what they say on a terminal; classes of which nothing is known."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image

from noisycorrect import InvalidInputError
from noisycorrect.cli import main
from noisycorrect.export.table import COLUMNS
from noisycorrect.support.errors import CheckpointError
from noisycorrect.tables.clean import _findings
from noisycorrect.tables.evidence import Evidence
from noisycorrect.tables.loading import Request, load
from noisycorrect.tables.opening import open_source
from noisycorrect.tables.pictures import picture_paths, read_picture
from noisycorrect.tables.settings import Settings, enter_folder, read_settings
from noisycorrect.tables.source import OUR_COLUMNS


@pytest.mark.parametrize("path", ["/etc/hostname", "../a.png", "b/../../a.png", "a\0.png"])
def test_a_picture_outside_is_not_read(path, tmp_path):
    with pytest.raises(InvalidInputError, match="pictures below .* in row 2; to fix: say --root"):
        picture_paths(["a.png", path], tmp_path)


def test_pictures_inside_may_be_named_in_any_way(tmp_path):
    inside = ["a.png", "b/../a.png", str(tmp_path / "a.png")]
    assert {path.resolve() for path in picture_paths(inside, tmp_path)} == {tmp_path / "a.png"}


def test_a_link_that_leads_out_is_no_picture(tmp_path):
    (tmp_path / "own").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "own" / "a.png").symlink_to(tmp_path / "a.png")
    root = os.path.realpath(tmp_path / "own")
    assert read_picture(tmp_path / "own" / "a.png", 4, root) is None
    assert read_picture(tmp_path / "own" / "a.png", 4, os.path.realpath(tmp_path)) is not None


def test_the_command_says_where_pictures_have_to_lie(tmp_path, capsys):
    rows = "".join(f"/etc/x{number}.png,{'ab'[number % 2]}\n" for number in range(20))
    (tmp_path / "t.csv").write_text("path,label\n" + rows)
    assert (
        main(["clean", str(tmp_path / "t.csv"), "--images", "path", "--label", "label", "--out", str(tmp_path / "o")])
        == 2
    )
    assert "in row 1; to fix: say --root" in capsys.readouterr().err


def test_an_error_shows_the_control_characters_of_a_file(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("text,text\x1b[31m,text\x1b[31m\na,b,c\n")
    assert main(["clean", str(tmp_path / "t.csv")]) == 2
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "x1b[31m" in told


@pytest.mark.parametrize("version", [99, "1", None])
def test_settings_of_another_version(version, tmp_path):
    enter_folder(tmp_path, Settings(source="t.csv", signature=[]))
    assert read_settings(tmp_path)["source"] == "t.csv"
    values = json.loads((tmp_path / "clean.json").read_text())
    (tmp_path / "clean.json").write_text(json.dumps({**values, "version": version}))
    with pytest.raises(CheckpointError, match="version 99.*upgrade" if version == 99 else "something else"):
        read_settings(tmp_path)


def test_labels_of_a_class_whose_rate_is_unknown_stay_as_given(tmp_path):
    rows = "".join(f"a word {number},{'ham' if number else 'eel'}\n" for number in range(12)) + "a word,spam\n" * 12
    (tmp_path / "t.csv").write_text("text,label\n" + rows)
    loaded = load(open_source(tmp_path / "t.csv"), Request("label", None, None, ()))
    assert loaded.classes == ("eel", "ham", "spam")
    probs = np.tile(np.float32([0.01, 0.04, 0.95]), (24, 1))
    evidence = Evidence(probs, np.full(24, 2), probs, [])
    place, nobody = np.arange(24), np.full(24, -1)
    found = _findings(loaded, nobody, place, evidence, np.array([True, False, False]))
    assert (found.labels[0], found.is_issue[0]) == (0, False)
    assert (found.labels[1:] == 2).all()
    decided = nobody.copy()
    decided[0] = 2
    assert _findings(loaded, decided, place, evidence, np.array([True, False, False])).labels[0] == 2


def test_a_table_with_votes_is_corrected_in_classes_of_unknown_rate_too(tmp_path):
    """The posterior has seen the votes; a class that the features alone do not know is no reason to leave them."""
    rng = np.random.default_rng(0)
    words = {"ham": "lunch meet noon", "spam": "cheap pills offer", "eel": "river mud net"}
    rows = ["text,annotator_1,annotator_2,annotator_3"]
    for name, count in (("ham", 150), ("spam", 60), ("eel", 8)):
        for _ in range(count):
            voted = [name if rng.random() < 0.8 else str(rng.choice(list(words))) for _ in range(3)]
            rows.append(f"{' '.join(rng.choice(words[name].split(), 3))},{','.join(voted)}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    out = tmp_path / "run"
    assert (
        main(["clean", str(tmp_path / "t.csv"), "--text", "text", "--annotators", "annotator_*", "--out", str(out)])
        == 0
    )
    with (out / "cleaned.csv").open(newline="") as file:
        written = [row["corrected_label"] for row in csv.DictReader(file)]
    with np.load(out / "evidence.npz") as file:
        assert written == [("eel", "ham", "spam")[code] for code in file["labels"]]


def test_a_run_that_is_refused_leaves_no_folder_that_blocks_the_next(tmp_path, capsys):
    (tmp_path / "t.csv").write_text(
        "text,label\n" + "".join(f"{('cat', 'dog')[n % 2]} word,{'ab'[n % 2]}\n" for n in range(40))
    )
    command = ["clean", str(tmp_path / "t.csv"), "--label", "label", "--out", str(tmp_path / "o")]
    assert main([*command, "--images", "text"]) == 2
    assert not (tmp_path / "o" / "clean.json").exists()
    assert main([*command, "--text", "text", "--epochs", "2"]) == 0


def test_a_table_that_was_cleaned_does_not_learn_from_its_former_labels(tmp_path, capsys):
    rows = "".join(f"{n % 7},{'ab'[n % 2]},{'ab'[n % 2]}\n" for n in range(40))
    (tmp_path / "t.csv").write_text("size,label,corrected_label\n" + rows)
    assert main(["clean", str(tmp_path / "t.csv"), "--label", "corrected_label", "--out", str(tmp_path / "o")]) == 2
    assert "for a table cleaned before; got none; to fix: name them" in capsys.readouterr().err


OURS = [name for name in dict.fromkeys((*OUR_COLUMNS, *COLUMNS)) if name != "label"]


@pytest.mark.parametrize(
    "name", [*OURS, *(f"{name}_2" for name in OURS), *(f"noisycorrect_{name}" for name in (*OURS, "label"))]
)
def test_columns_of_ours_are_known_by_any_name_that_they_get(name, tmp_path):
    rows = "".join(f"a word {n},{'ab'[n % 2]},{'ab'[n % 2]}\n" for n in range(40))
    (tmp_path / "t.csv").write_text(f"text,label,{name}\n" + rows)
    table = open_source(tmp_path / "t.csv")
    found = load(table, Request("label"))
    assert list(found.cells) == ["text"]
    assert any(f"not learning from {name} (" in note for note in found.notes)
    assert list(load(table, Request("label", columns=((name, "--features"),))).cells) == [name]
    with pytest.raises(InvalidInputError, match="for a table cleaned before"):
        load(table, Request(name))


@pytest.mark.parametrize(("names", "kept"), [(["probability"], True), (["predicted_label", "probability"], False)])
def test_a_probability_is_ours_beside_a_predicted_label(names, kept, tmp_path):
    rows = "".join(f"a word {n},{'ab'[n % 2]}{',0.5' * len(names)}\n" for n in range(40))
    (tmp_path / "t.csv").write_text(f"text,label,{','.join(names)}\n" + rows)
    found = load(open_source(tmp_path / "t.csv"), Request("label"))
    assert list(found.cells) == ["text", *(["probability"] if kept else [])]


def test_numbers_with_a_comma_are_not_lost_without_a_word(tmp_path, capsys):
    rows = "".join(f"{n},{n * 7 % 100:02d};{'cat' if n % 2 else 'dog'} word;{'ab'[n % 2]}\n" for n in range(40))
    (tmp_path / "t.csv").write_text("size;text;label\n" + rows)
    command = ["clean", str(tmp_path / "t.csv"), "--label", "label", "--epochs", "2"]
    assert main([*command, "--out", str(tmp_path / "o")]) == 0
    assert "not learning from size (numbers with a comma: write them with a decimal point" in capsys.readouterr().err
    assert main([*command, "--features", "size", "--out", str(tmp_path / "p")]) == 2
    assert "expected numbers in size; got '0,00'; to fix: write a decimal point" in capsys.readouterr().err


def test_measured_values_are_no_annotator(tmp_path, capsys):
    rows = "".join(f"{('cat', 'dog')[n % 2]} word,{'ab'[n % 2]},{n / 7:.3f}\n" for n in range(60))
    (tmp_path / "t.csv").write_text("text,label,size\n" + rows)
    words = ["clean", str(tmp_path / "t.csv"), "--label", "label", "--annotators", "size", "--out", str(tmp_path / "o")]
    assert main(words) == 2
    assert "class labels in 'size'; got 60 different values" in capsys.readouterr().err


def test_the_list_of_labels_to_look_at_holds_no_formula(tmp_path):
    rows = "".join(
        f'"=HYPERLINK(""x"") {("cat", "dog")[n % 2]} word",{"ab"[(n + (n in (3, 8))) % 2]}\n' for n in range(60)
    )
    (tmp_path / "t.csv").write_text("=text,label\n" + rows)
    out = tmp_path / "o"
    words = ["clean", str(tmp_path / "t.csv"), "--label", "label", "--text", "=text", "--epochs", "2"]
    assert main([*words, "--out", str(out)]) == 0
    with (out / "issues.csv").open(newline="") as file:
        header, *listed = csv.reader(file)
    assert listed
    assert "'=text" in header
    assert all(row[header.index("'=text")].startswith("'=HYPERLINK") for row in listed)
    with (out / "cleaned.csv").open(newline="") as file:
        assert next(iter(csv.DictReader(file)))["=text"].startswith("=HYPERLINK"), "the table's own stay"
