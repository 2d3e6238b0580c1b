"""Files of any content are read, or refused in one clear error: nothing else leaves a reader."""

import contextlib
import io
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from noisycorrect import NoisyCorrectError
from noisycorrect.support.cells import safe_cell, visible
from noisycorrect.support.untrusted import check_array, check_unpacked, parsed_json
from noisycorrect.tables.evidence import load_evidence
from noisycorrect.tables.loading import Request, load
from noisycorrect.tables.opening import open_source
from noisycorrect.tables.pictures import picture_paths
from noisycorrect.tables.writing import write_table
from noisycorrect_seg.datasets import Folder, read_classes
from noisycorrect_seg.datasets.ccp import read_tags
from noisycorrect_seg.datasets.images import read_image, read_mask
from noisycorrect_seg.datasets.layout import read_ids

FUZZ = settings(
    max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def mask_file(form):
    content = io.BytesIO()
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 3).save(content, form)
    return content.getvalue()


SEEDS = {form: mask_file(form) for form in ("PNG", "BMP", "TIFF")}


@st.composite
def damaged(draw, whole):
    """Draw bytes like others: some exchanged, a part left out or put in."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        part = draw(st.binary(max_size=8))
        content[place : place + draw(st.integers(0, 16))] = part
    return bytes(content)


def clearly(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return call()
        except NoisyCorrectError as error:
            return error


@pytest.mark.parametrize("form", SEEDS)
@FUZZ
@given(data=st.data())
def test_masks_and_pictures(tmp_path, form, data):
    path = tmp_path / "a.png"
    path.write_bytes(data.draw(damaged(SEEDS[form])))
    for read in (read_mask, read_image):
        found = clearly(lambda: read(path))  # noqa: B023
        assert isinstance(found, (np.ndarray, NoisyCorrectError))


@FUZZ
@given(content=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_lists_of_names_and_classes(tmp_path, content):
    for name, read in (("train.txt", read_ids), ("classes.txt", read_classes), ("classes.json", read_classes)):
        (tmp_path / name).write_bytes(content)
        clearly(lambda: read(tmp_path / name))  # noqa: B023


@FUZZ
@given(names=st.lists(st.sampled_from(["a", "../a", "/etc/passwd", "..", "", "images/a", "b/../a", "A"]), max_size=4))
def test_a_name_in_a_list_never_leads_out(tmp_path, names):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir(exist_ok=True)
        Image.new("L", (4, 3)).save(tmp_path / kind / "a.png")
    (tmp_path / "classes.txt").write_text("x\ny")
    (tmp_path / "train.txt").write_text("\n".join(names))
    found = clearly(lambda: Folder(tmp_path, split="train"))
    if isinstance(found, Folder):
        assert all(path == str(tmp_path / "images" / "a.png") for path in found._images)


CELL = st.text(max_size=12) | st.sampled_from(["=1+1", "ham", "spam", "", "\x1b[31m", '"', "a,b", "[red]x[/red]"])


@FUZZ
@given(rows=st.lists(st.lists(CELL, min_size=1, max_size=4), max_size=12), junk=st.binary(max_size=6))
def test_tables(tmp_path, rows, junk):
    text = "text,label\n" + "\n".join(",".join(row) for row in rows)
    for name in ("t.csv", "t.jsonl", "t.tsv"):
        (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass") + junk)
        clearly(lambda: load(open_source(tmp_path / name), Request("label", None, None, ())))  # noqa: B023


@FUZZ
@given(
    rows=st.lists(st.lists(CELL | st.sampled_from(["\r", "a\rb", "\n"]), min_size=2, max_size=2), max_size=6),
    place=st.integers(0, 2),
)
def test_tables_are_read_as_they_were_written(tmp_path, rows, place):
    delimiter = ",;\t"[place]
    write_table(tmp_path / "t.csv", SimpleNamespace(delimiter=delimiter), ["text", "label"], iter(rows))
    assert list(open_source(tmp_path / "t.csv", delimiter=delimiter).rows()) == rows
    assert (tmp_path / "t.csv").read_bytes().startswith(f"text{delimiter}label\n".encode())


@FUZZ
@given(content=st.binary(max_size=120))
def test_arrays_and_matlab_files(tmp_path, content):
    for name, start in (
        ("a.npz", b"PK\3\4"),
        ("a.npy", b"\x93NUMPY\1\0"),
        ("a.mat", b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"),
    ):
        (tmp_path / name).write_bytes(start + content)
    clearly(lambda: load_evidence(tmp_path / "a.npz"))
    clearly(lambda: check_unpacked(tmp_path / "a.npz", "arrays"))
    clearly(lambda: check_array(tmp_path / "a.npy", "an array"))
    clearly(lambda: read_tags(tmp_path / "a.mat"))


@FUZZ
@given(cell=st.text(max_size=30))
def test_paths_and_cells(tmp_path, cell):
    found = clearly(lambda: picture_paths([cell], tmp_path))
    assert isinstance(found, NoisyCorrectError) or found[0].resolve().is_relative_to(tmp_path.resolve())
    assert not any(ord(letter) < 32 and letter not in "\t\n" for letter in visible(cell))
    shown = safe_cell(cell)
    assert not shown.startswith(("=", "@", "\t", "\r")) or shown == cell == ""


@FUZZ
@given(text=st.text(alphabet='[]{}":,0123456789.eE-ntf \\', max_size=60))
def test_json(text):
    with contextlib.suppress(ValueError):
        parsed_json(text)
