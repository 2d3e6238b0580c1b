"""Files as people have them, as rows of text."""

import builtins
import importlib
import importlib.util
import json

import numpy as np
import pytest

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.tables.delimited import find_delimiter, find_encoding
from noisycorrect.tables.loading import Request, load
from noisycorrect.tables.opening import open_source


def source(tmp_path, content, name="t.csv", **options):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_source(tmp_path / name, **options)


@pytest.mark.parametrize(
    ("content", "encoding", "told"),
    [
        ("a,b\né,1\n".encode(), "utf-8", False),
        ("a,b\né,1\n".encode("utf-8-sig"), "utf-8-sig", False),
        ("a,b\né,1\n".encode("utf-16"), "utf-16", False),
        ("a,b\né,1\n".encode("utf-32"), "utf-32", False),
        ("a,b\né,1\n".encode("cp1252"), "cp1252", True),
    ],
)
def test_encodings(content, encoding, told, tmp_path):
    table = source(tmp_path, content)
    assert (table.encoding, bool(table.notes)) == (encoding, told)
    assert table.columns == ("a", "b")
    assert list(table.rows()) == [["é", "1"]]


def test_a_character_across_the_blocks_of_a_large_file(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a" * (2**20 - 1) + "é".encode() + b"\n")
    assert find_encoding(tmp_path / "t.csv") == ("utf-8", None)
    (tmp_path / "t.csv").write_bytes(b"a" * (2**20 + 5) + b"\xe9 \n")
    assert find_encoding(tmp_path / "t.csv")[0] == "cp1252"


@pytest.mark.parametrize(
    ("sample", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n", ";"),
        ("a\tb, c\n1\t2\n", "\t"),
        ('text,label\n"a; b; c",x\n"d; e; f",y\n', ","),
        ("a|b|c\n1|2|3\n", "|"),
        ("one\ntwo words, and a comma\n", ","),
        ("a;b\r1;2\r", ";"),  # line ends of old Macs, which csv.reader takes from a file, too
    ],
)
def test_delimiters(sample, delimiter):
    assert find_delimiter(sample) == delimiter


def test_quotes_hold_line_ends_and_delimiters(tmp_path):
    table = source(tmp_path, 'a,b\r\n"x, ""y""\r\nz",1\r\n\r\nw,2\r\n')
    assert list(table.rows()) == [['x, "y"\r\nz', "1"], ["w", "2"]]


def test_json_lines_have_the_keys_of_all_lines(tmp_path):
    lines = [{"a": 1, "b": None}, {"b": [1, "x"], "c": True}]
    table = source(tmp_path, "\n\n".join(map(json.dumps, lines)), "t.jsonl")
    assert table.columns == ("a", "b", "c")
    assert list(table.rows()) == [["1", "", ""], ["", '[1, "x"]', "true"]]
    with pytest.raises(InvalidInputError, match=r"a JSON object a line .*; got list at line 1"):
        source(tmp_path, "[1, 2]\n", "t.jsonl")
    with pytest.raises(InvalidInputError, match=r"got Expecting .* at line 2"):
        source(tmp_path, '{"a": 1}\n{"a": \n', "t.jsonl")


def test_half_a_surrogate_pair_can_be_written_again(tmp_path):
    table = source(tmp_path, '{"a": "cut off \\ud83d", "b": ["\\ud83d", "\\ud83d\\ude00"]}\n', "t.jsonl")
    assert list(table.rows()) == [["cut off \ufffd", '["\ufffd", "\U0001f600"]']]


def test_parquet_or_what_to_install(tmp_path, monkeypatch):
    if importlib.util.find_spec("pyarrow") is not None:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
        parquet.write_table(arrow.table({"a": ["x", None], "n": [1, 2]}), tmp_path / "t.parquet")
        assert list(open_source(tmp_path / "t.parquet").rows()) == [["x", "1"], ["", "2"]]
        with pytest.raises(InvalidInputError, match="a Parquet file at"):
            source(tmp_path, "no such thing", "broken.parquet")
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(importlib, "import_module", lambda name: without(name))
    with pytest.raises(InvalidInputError, match=r"pip install 'noisycorrect\[parquet\]'"):
        source(tmp_path, "anything", "t.parquet")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="export the table as CSV"):
        source(tmp_path, "anything", "t.xlsx")
    with pytest.raises(InvalidInputError, match=r"did you mean .*t\.xlsx"):
        open_source(tmp_path / "t.xls")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="a folder a class with pictures in it"):
        open_source(tmp_path / "empty")


def test_labels_are_told_from_gaps(tmp_path):
    labels = ["a", " a ", "A", "none", "", "NA", "nan", *"bbbbbb"]
    table = source(tmp_path, "x,label\n" + "".join(f"{n},{label}\n" for n, label in enumerate(labels)))
    found = load(table, Request("label"))
    assert found.classes == ("A", "a", "b", "none")
    assert found.given.tolist() == [1, 1, 0, 3, -1, -1, -1, 2, 2, 2, 2, 2, 2]
    assert any("'NA', 'nan' in 'label' is read as no label" in note for note in found.notes)
    assert any("'A' and 'a' are taken for different classes" in note for note in found.notes)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["1.0", "2", "3."], ("1", "2", "3")),
        (["01", "02", "10"], ("01", "02", "10")),  # codes
        (
            ["12345678901234567890", "12345678901234567891", "7.0"],
            ("12345678901234567890", "12345678901234567891", "7"),
        ),
        (["1.0", "2.5", "3"], ("1.0", "2.5", "3")),
    ],
)
def test_numbers_as_names_of_classes(labels, classes, tmp_path):
    table = source(tmp_path, "x,label\n" + "".join(f"a,{label}\n" for label in labels * 4))
    found = load(table, Request("label"))
    assert found.classes == classes
    assert np.bincount(found.given).tolist() == [4, 4, 4]


@pytest.mark.parametrize(
    ("first", "second", "classes"),
    [
        (["1.5", "2.0", "3.0"], ["2.0", "3.0", ""], ("1.5", "2.0", "3.0")),
        (["1.5", "2.0", "3.0"], ["2", "3", ""], ("1.5", "2", "3")),
        (["1.0", "2.0", ""], ["1", "2", "3"], ("1", "2", "3")),
        (["1.0", "2.0", ""], ["1", "2", "unsure"], ("1", "2", "unsure")),
    ],
)
def test_whole_numbers_of_several_people_are_the_same_classes(first, second, classes, tmp_path):
    rows = "".join(f"a,{one},{two}\n" for one, two in zip(first, second, strict=True))
    found = load(source(tmp_path, "x,by_ann,by_bo\n" + rows * 10), Request(None, annotators="by_*"))
    assert found.classes == classes
    table = found.votes.table()
    for place, cells in enumerate((first, second)):
        named = [classes[code] if code >= 0 else "" for code in table[:3, place]]
        assert [name.removesuffix(".0") for name in named] == [cell.removesuffix(".0") for cell in cells]


def test_a_label_beside_annotators_is_the_given_one_and_votes(tmp_path):
    rows = "".join(f"{'xy'[n % 2]},{'yx'[n % 2]},{'yx'[n % 2] if n else ''}\n" for n in range(12))
    table = source(tmp_path, "label,by_ann,by_bo\n" + rows)
    found = load(table, Request("label", annotators="by_*"))
    assert found.given.tolist() == [n % 2 for n in range(12)]
    assert found.votes.annotators == ("label", "by_ann", "by_bo")
    assert len(found.votes) == 35
    assert found.cells == {}


def test_what_occurs_often_is_kept_once(tmp_path):
    table = source(tmp_path, "label,t\n" + "".join(f"{'xy'[n % 2]},a text that is long\n" for n in range(50)))
    cells = load(table, Request("label", columns=(("t", "--text"),))).cells["t"]
    assert len({id(cell) for cell in cells}) == 1
    assert np.array_equal(cells, ["a text that is long"] * 50)
