"""Inputs of every form: what they become, and one clear sentence for what cannot be learnt from."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from torch import nn
from torch.utils.data import default_collate

from noisycorrect import InvalidInputError, SelfCorrectingClassifier, TrainingWarning
from noisycorrect.integrations.sklearn import inputs as reading
from noisycorrect.integrations.sklearn.inputs import SparseRows, as_tokens, dense, make_reduction, read_inputs
from noisycorrect.support.arrays import is_sparse

VALUES = np.array([[1.0, 0.0], [0.5, 2.0], [0.0, 3.0]])


def read(values, **options):
    return read_inputs(BaseEstimator(), values, **{"reset": True, "any_shape": False, **options})


@pytest.mark.parametrize(
    "values",
    [
        VALUES,
        VALUES.tolist(),
        VALUES.astype(">f4"),
        VALUES[::-1][::-1],
        torch.tensor(VALUES, requires_grad=True),
        torch.tensor(VALUES).bfloat16(),
        pd.DataFrame(VALUES, columns=["a", "b"]),
        pd.DataFrame(VALUES, columns=["a", "b"]).convert_dtypes(),
        sparse.coo_matrix(VALUES),
        sparse.csc_array(VALUES),
        torch.tensor(VALUES).to_sparse(),
        torch.tensor(VALUES).bfloat16().to_sparse(),
    ],
    ids=[
        "array",
        "lists",
        "big-endian",
        "reversed",
        "tensor",
        "bfloat16",
        "DataFrame",
        "nullable",
        "coo",
        "csc",
        "sparse-tensor",
        "sparse-bfloat16",
    ],
)
def test_every_form_is_the_same_numbers(values):
    found = read(values)
    assert found.dtype == np.float32
    assert sparse.issparse(found) == is_sparse(values)
    assert torch.equal(dense(found), torch.tensor(VALUES, dtype=torch.float32))


def test_read_only_inputs_are_copied():
    values = VALUES.astype(np.float32)
    values.flags.writeable = False
    assert dense(values).data_ptr() != values.ctypes.data


SECONDS = np.c_[np.arange(60.0), 1.7e9 + np.linspace(0, 1000, 60)]


@pytest.mark.parametrize(
    ("values", "column"),
    [
        (SECONDS, "1"),
        (SECONDS.astype(int), "1"),
        (SECONDS.tolist(), "1"),
        (torch.tensor(SECONDS), "1"),
        (pd.DataFrame(SECONDS, columns=["size", "time"]).convert_dtypes(), "'time'"),
        (pd.DataFrame(SECONDS, columns=["size", "time"]).astype(str), "'time'"),
    ],
    ids=["array", "whole", "lists", "tensor", "nullable", "texts"],
)
def test_columns_that_float32_rounds_away_are_warned_of(values, column):
    estimator = BaseEstimator()
    with pytest.warns(TrainingWarning, match=f"column {column} of X with 60 different values in 60 rows, 9 in float32"):
        read_inputs(estimator, values, reset=True, any_shape=False)
    read_inputs(estimator, values, reset=False, any_shape=False)  # it is said where it is learnt from


def with_hole(value):
    frame = pd.DataFrame(VALUES, columns=["age", "height"])
    frame.loc[1, "height"] = value
    return frame


holed = sparse.csr_array(VALUES)
holed.data[1] = np.nan


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (with_hole(np.nan), "X without NaN or infinity.*got NaN in row 1, column 'height'; to fix: .*SimpleImputer"),
        (with_hole(-np.inf).to_numpy(), r"got infinity \(inf\) in row 1, column 1"),
        (with_hole(1e300).to_numpy(), r"in the range of float32; got infinity \(inf\) in row 1, column 1"),
        (with_hole(pd.NA).convert_dtypes(), "got NaN in row 1, column 'height'"),
        (holed, "got NaN in row 1, column 0"),
        (["red wine", "white"], "rows of numbers; got texts such as 'red wine'; to fix: .*TfidfVectorizer"),
        (pd.Series(["red wine", "white"]), "got texts such as 'red wine'"),
        (
            torch.ones(2, 2, 3).to_sparse(),
            r"sparse inputs \(N, F\); got shape \(2, 2, 3\); to fix: pass inputs.to_dense",
        ),
        (with_hole(0).assign(colour="red"), "got text such as 'red' in the column 'colour'; to fix: .*OneHotEncoder"),
    ],
    ids=["NaN", "inf", "overflow", "NA", "sparse", "texts", "Series of texts", "sparse maps", "text column"],
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_what_is_refused(values, message):
    with pytest.raises(InvalidInputError, match=message):
        read(values)


def test_other_refusals_are_those_of_scikit_learn():
    with pytest.raises(ValueError, match="Expected 2D array"):
        read([1.0, 2.0])
    with pytest.raises(ValueError, match="dim 4"):
        read(np.zeros((2, 3, 4, 4)))
    assert read(np.zeros((2, 3, 4, 4)), any_shape=True).shape == (2, 3, 4, 4)


def test_networks_that_begin_with_an_embedding_get_whole_numbers():
    tokens, network = np.float32([[1, 3]]), nn.Sequential(nn.EmbeddingBag(4, 2), nn.Linear(2, 2))
    assert as_tokens(tokens, network).dtype == np.int64
    assert as_tokens(tokens, nn.Sequential(nn.Linear(2, 2), nn.Embedding(4, 2))) is tokens
    with pytest.raises(InvalidInputError, match="X of whole numbers; got fractions"):
        as_tokens(tokens + np.float32(0.5), network)


def test_sparse_rows_become_dense_a_batch_at_a_time(monkeypatch):
    made = []
    monkeypatch.setattr(reading, "dense", lambda rows: (made.append(rows.shape), dense(rows))[1])
    data = SparseRows(sparse.csr_array(VALUES), np.array([2, 0, 1]))
    rows, labels = default_collate(data.__getitems__([2, 0]))
    assert torch.equal(rows, torch.tensor(VALUES[[2, 0]]))
    assert (labels.tolist(), len(data), data[1][1]) == ([1, 2], 3, 0)
    assert made == [(2, 2), (1, 2)]
    assert torch.equal(SparseRows(sparse.csr_array(VALUES))[1], torch.tensor(VALUES[1]))


def test_what_is_reduced():
    narrow, wide = sparse.csr_array((300, reading.WIDEST)), sparse.csr_array((300, reading.WIDEST + 1))
    assert make_reduction(narrow, "auto", 0) is None
    assert make_reduction(wide, "auto", 0).n_components == reading.COMPONENTS
    assert make_reduction(wide[:9], "auto", 0).n_components == 9
    assert make_reduction(wide, None, 0) is None
    assert make_reduction(wide.toarray(), "auto", 0) is None
    assert make_reduction(wide.toarray(), 5, 0).n_components == 5
    assert make_reduction(VALUES, 2, 0) is None
    with pytest.raises(InvalidInputError, match="n_components to be a whole number >= 1; got 0"):
        make_reduction(VALUES, 0, 0)


@pytest.mark.parametrize("others", [{}, {"size": [1.0, 2.0] * 10}])
def test_dates_are_refused_by_name(others):
    table = pd.DataFrame({**others, "when": pd.date_range("2026-01-01", periods=20, freq="D")})
    with pytest.raises(InvalidInputError, match="dates or times in the column 'when'; to fix: make numbers of them"):
        SelfCorrectingClassifier(epochs=2).fit(table, [0, 1] * 10)
    with pytest.raises(InvalidInputError, match="got dates or times;"):
        SelfCorrectingClassifier(epochs=2).fit(table[["when"]].to_numpy(), [0, 1] * 10)
