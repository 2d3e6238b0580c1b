"""Inputs in the forms that people have them in, as what batches are cut from: tensors, several by name, sparse rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from noisycorrect.data.rounding import few_rows, warn_of_rounding
from noisycorrect.support.arrays import as_array, is_array, is_frame, is_sparse
from noisycorrect.support.calling import MAIN_KEYWORDS, KeywordInputs
from noisycorrect.support.errors import InvalidInputError

# NumPy has whole numbers and floats that torch has not, or only in part.
_TORCH_DTYPES = {"u2": np.int32, "u4": np.int64, "u8": np.int64, "f16": np.float64, "f12": np.float64}


class SparseRows:
    """The rows of a sparse matrix (N, F): dense only where they are asked for, a batch at a time.

    Parameters
    ----------
    matrix : scipy.sparse matrix or array, shape (N, F)
        Kept as float32 in compressed rows.

    Raises
    ------
    InvalidInputError
        If it has no two dimensions, or holds no real numbers.

    Examples
    --------
    >>> from scipy import sparse
    >>> rows = SparseRows(sparse.eye(3))
    >>> len(rows), rows[[2, 0]]
    (3, tensor([[0., 0., 1.],
            [1., 0., 0.]]))
    """

    dtype = torch.float32

    def __init__(self, matrix: Any) -> None:
        from scipy import sparse

        if matrix.ndim != 2 or matrix.dtype.kind not in "fiub":
            got = f"{matrix.dtype} of shape {matrix.shape}"
            raise InvalidInputError("sparse inputs (N, F) of numbers", got=got, fix="pass one row a sample")
        self.matrix = sparse.csr_array(matrix).astype(np.float32, copy=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, F)."""
        return self.matrix.shape  # type: ignore[no-any-return]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Tensor:
        """Return rows as a dense tensor, float32 (n, F), or one row (F,)."""
        if isinstance(rows, (int, np.integer)):
            return self[[int(rows)]][0]
        return torch.from_numpy(self.matrix[rows if isinstance(rows, slice) else np.asarray(rows)].toarray())

    def is_floating_point(self) -> bool:
        """Return True."""
        return True

    def followed_by(self, other: SparseRows) -> SparseRows:
        """Return the rows of both."""
        from scipy import sparse

        return SparseRows(sparse.vstack([self.matrix, other.matrix], format="csr"))


Inputs: TypeAlias = Tensor | SparseRows | dict[str, Tensor]


def as_inputs(values: Any, name: str = "inputs") -> Inputs:
    """Return inputs (N, ...) of all samples.

    Parameters
    ----------
    values : array-like, sparse matrix, table, or a mapping of arrays
        A tensor or array is not copied if it is in a form that torch has: the machine's byte order, no reversed view.
        bool becomes float32 of 0 and 1, a table of whole numbers float32; other numbers keep their dtype. A sparse
        matrix stays sparse. Arrays by name are inputs of a model that takes several.
    name : str
        What messages call them.

    Returns
    -------
    Tensor, SparseRows, or dict of Tensors

    Raises
    ------
    InvalidInputError
        If they are no numbers, or arrays by name differ in length.

    Warns
    -----
    TrainingWarning
        If values of a column (N, F) differ that are one in float32, in which networks compute.

    Examples
    --------
    >>> as_inputs(np.array([[1.0], [2.0]], ">f4")[::-1])
    tensor([[2.],
            [1.]])
    """
    if isinstance(values, SparseRows):
        return values
    if isinstance(values, Mapping):
        return _by_name(values, name)
    if is_sparse(values):
        return SparseRows(scipy_matrix(values) if isinstance(values, Tensor) else values)
    if isinstance(values, Tensor):
        tensor = values.detach() if values.requires_grad else values
        if tensor.dtype is torch.float64 and tensor.dim():
            warn_of_rounding(as_array(few_rows(tensor), name), name)
    else:
        tensor = _tensor(values, name)
    return tensor.float() if tensor.dtype is torch.bool else tensor


def _by_name(values: Mapping[Any, Any], name: str) -> dict[str, Tensor]:
    own = {str(key): as_inputs(value, f"{name}[{key!r}]") for key, value in values.items() if value is not None}
    lengths = {key: count_of(each) for key, each in own.items()}
    if len(set(lengths.values())) != 1 or not all(isinstance(each, Tensor) for each in own.values()):
        fix = "pass dense arrays of one length, a row a sample"
        raise InvalidInputError(f"{name} by name, equally many", got=str(lengths), fix=fix)
    kind = KeywordInputs if any(key in own for key in MAIN_KEYWORDS) else dict
    return kind(own)  # type: ignore[arg-type]


def scipy_matrix(values: Tensor) -> Any:
    """Return a sparse tensor (N, F) as a matrix of scipy; floats as float32.

    Raises
    ------
    InvalidInputError
        If it has not two dimensions.

    Examples
    --------
    >>> scipy_matrix(torch.eye(2, dtype=torch.bfloat16).to_sparse()).dtype
    dtype('float32')
    """
    from scipy import sparse

    coo = values.detach().cpu().to_sparse_coo().coalesce()  # type: ignore[no-untyped-call]
    if coo.dim() != 2:
        raise InvalidInputError("sparse inputs (N, F)", got=f"shape {tuple(coo.shape)}", fix="pass inputs.to_dense()")
    numbers = coo.values().float() if coo.is_floating_point() else coo.values()  # scipy has no half precision
    return sparse.coo_array((numbers.numpy(), tuple(coo.indices().numpy())), shape=tuple(coo.shape))


def _tensor(values: Any, name: str) -> Tensor:
    if isinstance(values, (list, tuple)) and values and isinstance(values[0], Tensor):
        if len({tuple(each.shape) for each in values if isinstance(each, Tensor)}) == 1:
            return torch.stack([torch.as_tensor(each).detach() for each in values])
        raise _ragged(name, "tensors of different shapes")
    if not is_array(values) and not isinstance(values, (list, tuple)) and not hasattr(values, "__array__"):
        fix = "pass a data set alone, fit(train, val), or arrays in a pair, fit((inputs, labels))"
        raise InvalidInputError(f"{name} as an array", got=type(values).__name__, fix=fix)
    array = as_array(values, name)
    if array.dtype == object:
        array = _of_objects(array, name)
    code = array.dtype.str[1:]
    if array.dtype.kind not in "biuf":
        raise InvalidInputError(f"{name} of numbers", got=_kind(array), fix=_encoding(array))
    if code in _TORCH_DTYPES:
        array = array.astype(_TORCH_DTYPES[code])
    counts = is_frame(values) and array.dtype.kind in "iu"
    if array.ndim and (counts or array.dtype == np.float64):
        warn_of_rounding(few_rows(array), name, list(values.columns) if is_frame(values) else None)
    if counts:
        array = array.astype(np.float32)
    if array.dtype == np.float64 and _are_floats_of_python(values):
        array = array.astype(np.float32)  # as torch makes of them
    if any(stride < 0 for stride in array.strides):
        array = array.copy()
    with warnings.catch_warnings():
        # Arrays that cannot be written to are common (pandas, memory maps), and nothing here writes into inputs.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array) if array.ndim else torch.as_tensor(array)


def _are_floats_of_python(values: Any) -> bool:
    while isinstance(values, (list, tuple)) and values:
        values = values[0]
    return type(values) in (float, int)


def _of_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Return an array of numbers, or of arrays of one shape, that came as objects."""
    shapes = {np.shape(each) for each in array.flat}
    if len(shapes) > 1:
        raise _ragged(name, "values of different shapes")
    if shapes == {()}:
        if not all(isinstance(each, (int, float, bool, np.number, np.bool_)) for each in array.flat):
            return array
        return array.astype(np.float64)
    return np.stack([np.asarray(each) for each in array.flat]).reshape(*array.shape, *next(iter(shapes)))


def _ragged(name: str, got: str) -> InvalidInputError:
    fix = "pad or resize them to one shape, or pass a Dataset and collate_fn="
    return InvalidInputError(f"{name} of one shape", got=got, fix=fix)


def _kind(array: np.ndarray) -> str:
    first = array.flat[0] if array.size else None
    return f"{array.dtype}, such as {str(first)[:40]!r}" if array.dtype.kind in "OUS" else str(array.dtype)


def _encoding(array: np.ndarray) -> str:
    first = array.flat[0] if array.size else None
    if isinstance(first, (str, bytes)) and array.ndim == 1:
        return "turn texts into numbers: scikit-learn's TfidfVectorizer().fit_transform(texts), or token ids"
    if isinstance(first, (str, bytes)):
        return "encode columns of text: pandas.get_dummies(frame), or scikit-learn's OneHotEncoder"
    if array.dtype.kind in "mM":
        return "turn times into numbers: inputs.astype('int64') / 1e9 are seconds"
    return "pass numbers: pictures as arrays, np.stack([np.asarray(picture) for picture in pictures])"


def count_of(inputs: Any) -> int:
    """Return the number of samples in inputs.

    Examples
    --------
    >>> count_of({"a": torch.zeros(3, 2)}), count_of(torch.zeros(4))
    (3, 4)
    """
    return len(next(iter(inputs.values()))) if isinstance(inputs, Mapping) else len(inputs)


def rows_of(inputs: Inputs, rows: Sequence[int] | slice | Tensor | int) -> Any:
    """Return the inputs at some positions; those of several inputs by name, under their names."""
    if isinstance(inputs, Mapping):
        return type(inputs)({key: value[rows] for key, value in inputs.items()})
    return inputs[rows]


def rows_taken(inputs: Inputs, rows: np.ndarray) -> Inputs:
    """Return the inputs at positions (n,) in the form in which they are held: sparse ones stay sparse."""
    if isinstance(inputs, SparseRows):
        return SparseRows(inputs.matrix[rows])
    return rows_of(inputs, torch.from_numpy(rows))  # type: ignore[no-any-return]


def joined(inputs: Inputs, more: Inputs) -> Inputs:
    """Return inputs followed by others in the same form.

    Raises
    ------
    InvalidInputError
        If the others have another form, dtype or shape; they are called unlabeled.
    """
    fix = "prepare them as the labelled ones"
    if isinstance(inputs, Mapping) or isinstance(more, Mapping):
        if not isinstance(inputs, Mapping) or not isinstance(more, Mapping) or inputs.keys() != more.keys():
            expected = f"unlabeled inputs {sorted(inputs)}" if isinstance(inputs, Mapping) else "one unlabeled input"
            raise InvalidInputError(expected, got=_described(more), fix=fix)
        by_name: Any = {key: joined(value, more[key]) for key, value in inputs.items()}
        return type(inputs)(by_name)
    if more.is_floating_point() != inputs.is_floating_point():
        expected = f"unlabeled inputs of dtype {inputs.dtype}, as the labelled ones"
        raise InvalidInputError(expected, got=str(more.dtype), fix=fix)
    if more.shape[1:] != inputs.shape[1:]:
        expected = f"unlabeled inputs of shape (N, {', '.join(map(str, inputs.shape[1:]))})"
        raise InvalidInputError(expected, got=str(tuple(more.shape)), fix=fix)
    if isinstance(inputs, SparseRows) and isinstance(more, SparseRows):
        return inputs.followed_by(more)
    if isinstance(inputs, SparseRows) or isinstance(more, SparseRows):
        raise InvalidInputError(f"unlabeled inputs that are {_described(inputs)}", got=_described(more), fix=fix)
    return torch.cat([inputs, more.to(inputs.dtype)])


def _described(inputs: Any) -> str:
    if isinstance(inputs, Mapping):
        return f"inputs {sorted(inputs)}"
    return "sparse" if isinstance(inputs, SparseRows) else "dense"
