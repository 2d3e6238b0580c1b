"""Arrays in the forms that people have them in, as plain NumPy arrays: every door of the package uses this one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.support.errors import InvalidInputError

_MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "none", "null", "<na>"})
_MISSING_TYPES = ("NAType", "NaTType")  # pandas' own, which it need not have loaded


def is_sparse(values: Any) -> bool:
    """Return whether values are a sparse matrix or array of scipy, or a sparse tensor; neither is imported for it.

    Examples
    --------
    >>> is_sparse([[0, 1]]), is_sparse(torch.eye(2).to_sparse())
    (False, True)
    """
    if isinstance(values, Tensor):
        return values.layout is not torch.strided
    return type(values).__module__.startswith("scipy.sparse")


def is_frame(values: Any) -> bool:
    """Return whether values are a table with named columns (pandas, polars).

    Examples
    --------
    >>> is_frame(np.zeros((2, 2)))
    False
    """
    return hasattr(values, "to_numpy") and hasattr(values, "columns")


def is_array(values: Any) -> bool:
    """Return whether values are one array: a tensor, an array, a column or table of pandas or polars, a sparse matrix.

    Examples
    --------
    >>> is_array(torch.zeros(2)), is_array([0, 1])
    (True, False)
    """
    return isinstance(values, (Tensor, np.ndarray)) or hasattr(values, "to_numpy") or is_sparse(values)


def as_array(values: Any, name: str) -> np.ndarray:
    """Return a tensor, array, column, table or sequence as a plain array in the machine's byte order.

    It may share memory with `values`; a read-only array makes no warning.

    Parameters
    ----------
    values : array-like
        A tensor on any device, dense or sparse; a NumPy array; a Series or DataFrame of pandas or polars, whatever its
        index; a sparse matrix of scipy; a sequence of numbers or of these.
    name : str
        What messages call them.

    Raises
    ------
    InvalidInputError
        If a sequence's items have different shapes, a masked array has masked values, or a table has columns that are
        no numbers beside ones that are.

    Examples
    --------
    >>> as_array(np.array([1, 2], ">i4"), "labels")
    array([1, 2], dtype=int32)
    """
    if isinstance(values, Tensor):
        return _of_tensor(values)
    if isinstance(values, np.ma.MaskedArray):
        if np.ma.getmaskarray(values).any():
            fix = f"fill them in: {name}.filled(-1) for labels that are missing"
            raise InvalidInputError(f"{name} without gaps", got="masked values", fix=fix)
        values = values.data
    elif is_sparse(values):
        values = values.toarray()
    elif is_frame(values):
        values = _of_frame(values, name)
    elif hasattr(values, "to_numpy"):
        values = of_column(values)
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        got, fix = f"a ragged sequence ({error})", "make all entries the same size"
        raise InvalidInputError(f"{name} as an array of numbers", got=got, fix=fix) from error
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _of_tensor(values: Tensor) -> np.ndarray:
    values = values.detach().cpu()
    if values.layout is not torch.strided:
        values = values.to_dense()
    # NumPy has no bfloat16.
    return np.asarray((values.float() if values.dtype is torch.bfloat16 else values).resolve_neg().numpy())


def of_column(values: Any) -> np.ndarray:
    """Return a column of pandas or polars as an array; one of numbers that may be missing as plain numbers.

    What is missing stays what it is (pandas' NA, None), in an array of objects.
    """
    array = np.asarray(values.to_numpy())
    return _plain(array) if array.dtype == object else array


def _plain(array: np.ndarray) -> np.ndarray:
    """Return an array of objects as numbers, if that is what all of them are."""
    kinds = {type(value) for value in array.flat}
    if not kinds:
        return array
    if kinds <= {bool, np.bool_}:
        return array.astype(bool)
    if all(issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds):
        return array.astype(np.int64)
    if all(issubclass(kind, (int, float, np.number)) and kind is not bool for kind in kinds):
        return array.astype(np.float64)
    return array


def is_missing(value: Any, *, words: bool = False) -> bool:
    """Return whether a value stands for none: None, NaN, or pandas' NA and NaT.

    Parameters
    ----------
    value : Any
        The value.
    words : bool
        It is a cell of a file of text: empty ones stand for none, too, and the usual words such as ``NA``.

    Examples
    --------
    >>> is_missing(None), is_missing(float("nan")), is_missing(""), is_missing("NA")
    (True, True, False, False)
    >>> [is_missing(cell, words=True) for cell in ("", " n/a ", "None", "0", "none of these")]
    [True, True, True, False, False]
    """
    if words and isinstance(value, str):
        return value.strip().casefold() in _MISSING_WORDS
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _of_frame(frame: Any, name: str) -> np.ndarray:
    """Return a table as an array (N, F); columns of numbers that may be missing get NaN there."""
    names = list(frame.columns)
    places = range(len(names))  # pandas may have a name twice
    columns = [of_column(frame.iloc[:, place] if hasattr(frame, "iloc") else frame[names[place]]) for place in places]
    if not columns:
        raise InvalidInputError(f"{name} with columns", got="a table without any", fix="select the columns to use")
    columns = [numbers_or_gaps(column) for column in columns]
    odd = [str(own) for own, column in zip(names, columns, strict=True) if column.dtype.kind not in "biuf"]
    if odd and len(odd) < len(names):
        listed = ", ".join(repr(each) for each in odd[:5]) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
        raise InvalidInputError(
            f"{name} of numbers",
            got=f"a table whose columns {listed} are none",
            fix=f"encode them, pandas.get_dummies(frame, columns=[{odd[0]!r}]) for classes, or leave them out",
        )
    return np.stack(columns, axis=1)


def numbers_or_gaps(column: np.ndarray) -> np.ndarray:
    """Return a column of objects as float64 with NaN for what is missing, if the others are numbers.

    Examples
    --------
    >>> numbers_or_gaps(np.array([0, -1, None], dtype=object))
    array([ 0., -1., nan])
    """
    if column.dtype != object:
        return column
    gaps = np.fromiter((is_missing(value) for value in column), bool, len(column))
    known = _plain(column[~gaps])
    if known.dtype == object or not len(known):
        return column
    found = np.full(len(column), np.nan)
    found[~gaps] = known
    return found
