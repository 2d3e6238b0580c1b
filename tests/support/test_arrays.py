"""One helper makes plain arrays of what people have."""

import numpy as np
import pytest
import torch
from scipy import sparse

from noisycorrect.support.arrays import as_array, is_array, is_missing
from noisycorrect.support.errors import InvalidInputError

VALUES = np.array([[1, 0], [2, 3], [0, 4]])
FORMS = {
    "list": VALUES.tolist(),
    "big-endian": VALUES.astype(">i8"),
    "reversed": VALUES[::-1].copy()[::-1],
    "tensor": torch.tensor(VALUES),
    "bfloat16": torch.tensor(VALUES, dtype=torch.bfloat16),
    "negative view": torch.complex(torch.zeros(3, 2), -torch.tensor(VALUES).float()).conj().imag,
    "sparse tensor": torch.tensor(VALUES).to_sparse(),
    "csr tensor": torch.tensor(VALUES).to_sparse_coo(),
    "scipy": sparse.csr_matrix(VALUES),
    "list of tensors": list(torch.tensor(VALUES)),
    "masked, nothing of it": np.ma.masked_array(VALUES, mask=False),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_one_plain_array(form):
    array = as_array(FORMS[form], "values")
    assert type(array) is np.ndarray
    assert array.dtype.isnative
    np.testing.assert_array_equal(array, VALUES)


def test_tables_and_columns_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2, 0], "b": pandas.array([0, 3, 4], "Int64")}, index=[7, 2, 9])
    np.testing.assert_array_equal(as_array(frame, "x"), VALUES)
    np.testing.assert_array_equal(as_array(frame["b"], "x"), VALUES[:, 1])
    np.testing.assert_array_equal(as_array(frame["a"][frame["a"] > 0], "x"), [1, 2])
    twice = pandas.concat([frame["a"], frame["a"]], axis=1)
    np.testing.assert_array_equal(as_array(twice, "x"), VALUES[:, [0, 0]])
    gaps = pandas.DataFrame({"a": pandas.array([1, None, 0], "Int64"), "b": [0.5, 1, 2]})
    np.testing.assert_array_equal(as_array(gaps, "x"), [[1, 0.5], [np.nan, 1], [0, 2]])
    assert as_array(pandas.Series(["x", "y"], dtype="category"), "x").tolist() == ["x", "y"]
    texts = frame.assign(city=["Ulm", "Bonn", "Hof"])
    with pytest.raises(
        InvalidInputError, match=r"x of numbers; got a table whose columns 'city' are none.*get_dummies"
    ):
        as_array(texts, "x")
    with pytest.raises(InvalidInputError, match="x with columns; got a table without any"):
        as_array(frame[[]], "x")


def test_what_hides_gaps_or_shapes_is_refused():
    with pytest.raises(InvalidInputError, match=r"without gaps; got masked values.*filled\(-1\)"):
        as_array(np.ma.masked_array([1, 2], mask=[False, True]), "labels")
    with pytest.raises(InvalidInputError, match="a ragged sequence"):
        as_array([[1, 2], [3]], "labels")


def test_what_is_one_array():
    assert all(is_array(FORMS[form]) for form in FORMS if not form.startswith("list"))
    assert not is_array([1, 2])
    assert not is_array({"x": VALUES})


def test_what_is_missing():
    assert all(map(is_missing, (None, float("nan"), np.float32("nan"))))
    assert not any(map(is_missing, (0, "", "nan", False, -1)))
