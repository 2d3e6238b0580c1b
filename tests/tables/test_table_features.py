"""Columns as numbers, and back from what a run keeps of them."""

import json

import numpy as np
import pytest
import torch

from noisycorrect.features.efficientnet import EfficientNetLite0, pretrained
from noisycorrect.support.cells import safe_cell
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.tables import features as module
from noisycorrect.tables.choosing import choose
from noisycorrect.tables.columns import judge_column
from noisycorrect.tables.features import CategoryBlock, Features, NumberBlock, TextBlock

CELLS = {
    "text": ["red apple pie", "blue car", "green apple", "blue engine and car"],
    "size": ["1", "2.5", "", "4"],
    "kind": ["a", "b", "a", "b"],
}


def restored(features):
    """Return features that went through JSON and arrays, as files hold them."""
    plain, arrays = features.state()
    return Features.restored(json.loads(json.dumps(plain)), arrays)


def test_features_are_the_same_after_a_file():
    features = Features([TextBlock(["text"]), NumberBlock(["size"]), CategoryBlock(["kind"])])
    rows = features.fit_transform(CELLS, seed=0)
    assert rows.dtype == np.float32
    assert rows.shape == (4, 8 + 2 + 2)
    assert np.array_equal(restored(features).transform(CELLS), rows)
    new = {"text": ["an apple, unseen"], "size": ["x"], "kind": ["c"]}
    assert restored(features).transform(new)[0, 8:].tolist() == [features.transform(new)[0, 8], 1, 0, 0]


def test_of_many_words_rows_are_projected(monkeypatch):
    rng = np.random.default_rng(0)
    texts = {"text": [" ".join(f"w{word}" for word in rng.integers(0, 300, 20)) for _ in range(400)]}
    monkeypatch.setattr(module, "MOST_DENSE", 100)
    features = Features([TextBlock(["text"])])
    rows = features.fit_transform(texts, seed=0)
    assert rows.shape == (400, 256)
    sparse = features.matrix(texts, rows)
    assert sparse.shape[1] > 256
    # A projection on the leading singular vectors keeps most of what rows have in common.
    assert np.corrcoef((rows @ rows.T).ravel(), (sparse @ sparse.T).toarray().ravel())[0, 1] > 0.99
    assert np.array_equal(restored(features).transform(texts), rows)


def test_texts_without_blanks_are_divided_into_letters():
    texts = {"text": ["请问我的订单什么时候可以发货呢谢谢你们", "我忘记了登录密码请帮助我重新设置一下好吗"] * 3}
    features = Features([TextBlock(["text"])])
    rows = features.fit_transform(texts, seed=0)
    assert features.blocks[0].letters
    assert np.array_equal(restored(features).transform(texts), rows)
    assert (rows[0] @ rows[2]) > 0.99 > (rows[0] @ rows[1])


def test_rows_do_not_depend_on_their_neighbours(monkeypatch):
    features = Features([TextBlock(["text"]), NumberBlock(["size"])])
    whole = features.fit_transform(CELLS, seed=0)
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 3)
    assert np.array_equal(features.transform(CELLS), whole)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2", "n/a", "3"] * 5, "number"),
        ([str(number) for number in range(30)], "other"),
        ([f"{number}.5" for number in range(30)], "number"),
        (["red", "blue", ""] * 8, "category"),
        ([f"the parcel {number} is late" for number in range(9)], "text"),
        ([f"pets/{number}.JPG" for number in range(9)], "image"),
        (["", "NA"] * 4, "other"),
        (["x"] * 9, "other"),
    ],
)
def test_what_columns_look_like(cells, kind):
    assert judge_column(cells).kind == kind


def test_mixed_columns_are_told():
    few = ["1.5", "2", "?", "4"] * 5
    assert choose({"a": few}, [], ["a"], None).notes == ("'a': 5 cells such as '?' are no numbers, and count as gaps",)
    many = ["1", "x", "y", "z"] * 5
    choice = choose({"a": many}, [], ["a"], None)
    assert isinstance(choice.features.blocks[0], CategoryBlock)
    assert "5 of 20 cells are numbers" in choice.notes[0]
    with pytest.raises(InvalidInputError, match="--images alone"):
        choose({"a": few}, [], ["a"], "a")
    with pytest.raises(InvalidInputError, match=r"a column to learn from; got b: one value throughout"):
        choose({"b": ["x"] * 9}, [], [], None)


@pytest.mark.parametrize(
    ("text", "safe"),
    [("=A1", "'=A1"), ("@x", "'@x"), ("-x", "'-x"), ("-1.5", "-1.5"), ("+3e2", "+3e2"), ("\tx", "'\tx"),
     ("\r1", "'\r1"), ("-inf", "'-inf"), ("a=b", "a=b"), ("", "")],
)  # fmt: skip
def test_no_cell_of_ours_is_a_formula(text, safe):
    assert safe_cell(text) == safe


def test_weights_of_the_pretrained_network(tmp_path):
    network = EfficientNetLite0().eval()
    state = {**network.state_dict(), "_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "weights.pth")
    images = torch.randn(2, 3, 33, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(pretrained(tmp_path / "weights.pth")(images), network(images))
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="_conv_stem"):
        pretrained(tmp_path / "other.pth")
    torch.save(network, tmp_path / "pickled.pth")
    with pytest.raises(CheckpointError, match="could run code"):
        pretrained(tmp_path / "pickled.pth")
