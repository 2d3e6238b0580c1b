"""Tables, sparse matrices and arrays of any shape, as scikit-learn's users pass them, as inputs of a network."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, issparse
from sklearn.decomposition import TruncatedSVD
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor, nn
from torch.utils.data import Dataset

from noisycorrect.data.forms import scipy_matrix
from noisycorrect.data.rounding import few_rows, warn_of_rounding
from noisycorrect.support.arrays import as_array, is_sparse
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError

WIDEST = 1024  # columns of a sparse matrix that a network takes as they are
COMPONENTS = 256  # to which a wider one is reduced
DENSE_VALUES = 2**27  # of a sparse matrix that may become dense as a whole: 512 MB
_ROWS_AT_ONCE = 8192


class SparseRows(Dataset[Any]):
    """Rows of a sparse matrix, dense only while they are in a batch.

    Parameters
    ----------
    rows : scipy.sparse.csr_array, shape (N, F)
        Inputs.
    labels : ndarray of int64, shape (N,), optional
        With them an item is ``(input, label)``, else the input alone.

    Examples
    --------
    >>> from scipy import sparse
    >>> data = SparseRows(sparse.csr_array(np.float32([[0, 2], [1, 0]])), np.array([1, 0]))
    >>> data[0], len(data)
    ((tensor([0., 2.]), 1), 2)
    """

    def __init__(self, rows: Any, labels: np.ndarray | None = None) -> None:
        self.rows = rows
        self.labels = labels

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        rows = dense(self.rows[indices])
        return list(rows) if self.labels is None else list(zip(rows, self.labels[indices].tolist(), strict=True))


def dense(rows: Any) -> Tensor:
    """Return rows as a tensor, sparse or not; a tensor of an array shares its memory."""
    array = np.ascontiguousarray(rows.toarray() if hasattr(rows, "toarray") else rows)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def read_inputs(estimator: Any, inputs: Any, *, reset: bool, any_shape: bool) -> Any:
    """Return inputs as float32: an array (N, ...) or a CSR array (N, F).

    Parameters
    ----------
    estimator : SelfCorrectingClassifier
        Whose ``n_features_in_`` and ``feature_names_in_`` are set (`reset`) or compared with.
    inputs : array-like, DataFrame, Tensor or sparse matrix
        What the user passed.
    reset : bool
        Whether they are the ones to learn from.
    any_shape : bool
        Whether more than two dimensions are allowed.

    Raises
    ------
    InvalidInputError
        If they are no numbers, or not finite; the message says where. Or if a sparse tensor has not two dimensions.
    ValueError
        If shape or column names are not as scikit-learn has them.

    Warns
    -----
    TrainingWarning
        If values of a column to learn from differ that are one in float32.
    """
    if isinstance(inputs, Tensor):
        inputs = scipy_matrix(inputs) if is_sparse(inputs) else as_array(inputs, "X")
    names = getattr(inputs, "columns", None)
    options = {
        "accept_sparse": "csr",
        "allow_nd": any_shape,
        "dtype": np.float32,
        "ensure_all_finite": False,
        "ensure_min_samples": 2 if reset else 1,
    }
    _check_no_dates(inputs, names)
    try:
        values = validate_data(estimator, inputs, reset=reset, **options)
    except ValueError as error:
        raise _no_numbers(inputs, names, error) from error
    _check_finite(values, names)
    if reset and not issparse(values) and hasattr(inputs, "__getitem__"):
        few = check_array(few_rows(inputs), dtype=np.float64, ensure_all_finite=False, allow_nd=True)
        warn_of_rounding(few, "X", names)
    return csr_array(values) if issparse(values) else values


def _check_no_dates(inputs: Any, names: Any) -> None:
    """Raise an InvalidInputError for dates and times: NumPy would count nanoseconds, or fail in its own words."""
    kinds = [getattr(kind, "kind", "") for kind in getattr(inputs, "dtypes", ())] if names is not None else []
    dates = [name for name, kind in zip(names, kinds, strict=True) if kind in ("m", "M")] if kinds else []
    if dates or getattr(getattr(inputs, "dtype", None), "kind", "") in ("m", "M"):
        where = f" in the column {dates[0]!r}" if dates else ""
        fix = "make numbers of them that mean something, such as days since a date, weekdays or hours"
        raise InvalidInputError("X of numbers", got=f"dates or times{where}", fix=fix)


def _no_numbers(inputs: Any, names: Any, error: ValueError) -> ValueError:
    """Return an error that says which text is no number, if there is one; else scikit-learn's own."""
    if isinstance(error, InvalidInputError):
        return error
    texts = [value for value in (inputs if isinstance(inputs, list) else ()) if isinstance(value, str)]
    if not texts and getattr(inputs, "ndim", 0) == 1 and hasattr(inputs, "tolist"):
        texts = [value for value in inputs.tolist() if isinstance(value, str)]
    if texts:
        fix = "make numbers of them, with make_pipeline(TfidfVectorizer(), SelfCorrectingClassifier()) for example"
        return InvalidInputError("X as rows of numbers", got=f"texts such as {texts[0][:40]!r}", fix=fix)
    found = re.match("could not convert string to float: (.*)", str(error))
    if found is None:
        return error
    where = ""
    if names is not None:
        column = next((name for name in names if not _are_numbers(inputs[name])), None)
        where = "" if column is None else f" in the column {column!r}"
    fix = "encode such columns, with a OneHotEncoder in a ColumnTransformer before this classifier for example"
    return InvalidInputError("X of numbers", got=f"text such as {found[1]}{where}", fix=fix)


def _are_numbers(column: Any) -> bool:
    try:
        np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return True


def _check_finite(values: Any, names: Any) -> None:
    sparse = issparse(values)
    array = values.data if sparse else values
    if array.dtype.kind != "f" or np.isfinite(array.sum(dtype=np.float64)):
        return
    for start in range(0, len(array), _ROWS_AT_ONCE):
        wrong = np.argwhere(~np.isfinite(array[start : start + _ROWS_AT_ONCE]))
        if not len(wrong):
            continue
        value = array[start : start + _ROWS_AT_ONCE][tuple(wrong[0])]
        row, place = start + int(wrong[0][0]), wrong[0][1:].tolist()
        if sparse:
            row, place = int(np.searchsorted(values.indptr, row, side="right")) - 1, [int(values.indices[row])]
        where = f"column {names[place[0]]!r}" if names is not None else "column " + ", ".join(map(str, place))
        raise InvalidInputError(
            "X without NaN or infinity, in the range of float32",
            got=f"{'NaN' if np.isnan(value) else 'infinity (inf)'} in row {row}, {where}",
            fix="fill in what is missing, with a SimpleImputer in a Pipeline before this classifier for example",
        )


def takes_tokens(module: nn.Module) -> bool:
    """Return whether the first layer with weights of a network is an embedding.

    Examples
    --------
    >>> takes_tokens(nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 2))), takes_tokens(nn.Linear(2, 2))
    (True, False)
    """
    layers = (part for part in module.modules() if any(True for _ in part.parameters(recurse=False)))
    return isinstance(next(layers, None), nn.Embedding | nn.EmbeddingBag)


def as_tokens(values: np.ndarray, module: nn.Module) -> np.ndarray:
    """Return values as int64 if the first layer with weights of a network is an embedding, which looks them up.

    Raises
    ------
    InvalidInputError
        If it is, and they are not whole.

    Examples
    --------
    >>> as_tokens(np.float32([[2, 1]]), nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(8, 2))).dtype
    dtype('int64')
    """
    if not takes_tokens(module):
        return values
    if not (values == np.floor(values)).all():
        fix = "pass token ids to a network that begins with an embedding"
        raise InvalidInputError("X of whole numbers", got="fractions", fix=fix)
    return values.astype(np.int64)


def make_reduction(values: Any, components: int | str | None, seed: int) -> TruncatedSVD | None:
    """Return what reduces a sparse matrix to few dense columns, not fitted yet; None if it is to stay as it is.

    Parameters
    ----------
    values : array or CSR array, shape (N, F)
        Inputs.
    components : int, "auto" or None
        How many columns; ``"auto"`` is 256 for sparse matrices of more than 1,024 columns; None leaves all.
    seed : int
        Of the randomised decomposition.
    """
    if components is not None and components != "auto":
        count = whole_number("n_components", components, least=1)
    elif components is None or not issparse(values) or values.shape[1] <= WIDEST:
        return None
    else:
        count = COMPONENTS
    rows, columns = values.shape[0], values.shape[-1]
    if values.ndim != 2 or count >= columns:
        return None
    return TruncatedSVD(min(count, rows), random_state=seed)
