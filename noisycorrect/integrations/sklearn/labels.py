"""Labels as people have them (names, numbers, gaps, several annotators) as class indices and class names."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from noisycorrect.data.votes import Votes
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.support.arrays import is_missing
from noisycorrect.support.errors import InvalidInputError

_KINDS: dict[str, Any] = {"text": str, "booleans": bool | np.bool_, "numbers": int | float | np.number}


@dataclass(frozen=True)
class NamedLabels:
    """Labels as indices of sorted class names.

    Attributes
    ----------
    codes : ndarray of int64, shape (N,) or (N, A)
        Class of each sample, or by each annotator; -1 for a gap.
    classes : ndarray, shape (K,)
        Names, sorted, in the type that the labels had.
    annotators : tuple
        A names; empty if there is one label a sample.

    Examples
    --------
    >>> labels = NamedLabels.of(["dog", None, "cat"])
    >>> labels.codes.tolist(), labels.classes.tolist()
    ([1, -1, 0], ['cat', 'dog'])
    """

    codes: np.ndarray
    classes: np.ndarray
    annotators: tuple[Any, ...] = ()

    @classmethod
    def of(cls, labels: Any, *, missing: Any = None, least_classes: int = 2) -> NamedLabels:
        """Return labels of any type that scikit-learn's users pass.

        Parameters
        ----------
        labels : array-like, Series or DataFrame, shape (N,) or (N, A)
            Names, numbers or booleans. None, NaN, pandas' NA and a blank text are gaps. Two columns or more are labels
            of as many annotators.
        missing : object, optional
            One more value that is a gap: -1, say.
        least_classes : int
            How many there must be.

        Raises
        ------
        InvalidInputError
            If there is no label, or they are of several types, or of one class alone.
        """
        array = _array(labels)
        if array.ndim == 2 and array.shape[1] == 1:
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected. Please change the shape of y to"
                " (n_samples,), for example using ravel().",
                DataConversionWarning,
                stacklevel=3,
            )
            array = array.ravel()
        if array.ndim not in (1, 2) or not array.size:
            fix = "pass one label a sample, or one column an annotator"
            raise InvalidInputError("y of shape (N,) or (N, A)", got=f"shape {array.shape}", fix=fix)
        known = ~gaps(array, missing)
        values = _of_one_type(array[known], bool(known.all()))
        if not len(values):
            fix = "pass at least two classes; labels are missing where y is None, NaN or blank"
            raise InvalidInputError("labels", got="none: every one is missing (NaN)", fix=fix)
        if values.dtype.kind == "f" and np.isinf(values).any():
            fix = "correct it; a missing label is None or NaN"
            raise InvalidInputError("labels", got="infinity (inf)", fix=fix)
        check_classification_targets(values)
        classes, found = np.unique(values, return_inverse=True)
        if len(classes) < least_classes:
            fix = "pass labels that tell samples apart"
            raise InvalidInputError("labels of at least two classes", got=f"one class: {classes[0]!r}", fix=fix)
        codes = np.full(array.shape, UNLABELED, np.int64)
        codes[known] = found
        if array.ndim == 2 and array.shape[1] > 2 and known.all() and len(classes) == 2 and (codes.sum(1) == 1).all():
            fix = "pass y.argmax(1), one class a sample; columns are annotators here"
            raise InvalidInputError("labels of annotators, one column each", got="one-hot rows, it seems", fix=fix)
        names = getattr(labels, "columns", None)
        who = () if array.ndim == 1 else tuple(range(array.shape[1])) if names is None else tuple(names)
        return cls(codes, classes, who)

    def votes(self) -> Votes:
        """Return the labels of several annotators as votes."""
        item, annotator = np.nonzero(self.codes != UNLABELED)
        return Votes(
            item,
            annotator,
            self.codes[item, annotator],
            num_items=len(self.codes),
            classes=self.classes.tolist(),
            annotators=self.annotators,
        )


def gaps(labels: np.ndarray, missing: Any = None) -> np.ndarray:
    """Return where there is no label, bool.

    Examples
    --------
    >>> gaps(np.array(["cat", None, float("nan"), " ", "?"], dtype=object), "?").tolist()
    [False, True, True, True, True]
    """
    if labels.dtype.kind in "biu":
        found = np.zeros(labels.shape, bool)
    elif labels.dtype.kind == "f":
        found = np.isnan(labels)
    else:
        found = np.asarray(np.frompyfunc(_is_gap, 1, 1)(labels), dtype=bool)
    if missing is None or (isinstance(missing, float) and math.isnan(missing)):
        return found
    return np.asarray(found | np.asarray(np.frompyfunc(lambda value: _equal(value, missing), 1, 1)(labels), dtype=bool))


def _is_gap(value: Any) -> bool:
    return is_missing(value) or (isinstance(value, str) and not value.strip())


def _equal(value: Any, other: Any) -> bool:
    return (
        type(value).__name__ != "NAType" and isinstance(value, str) == isinstance(other, str) and bool(value == other)
    )


def _array(labels: Any) -> np.ndarray:
    if labels is None:
        got = "none: it requires y to be passed, but the target y is None"  # scikit-learn's words
        raise InvalidInputError("labels", got=got, fix="pass fit(X, y)")
    if isinstance(labels, Tensor):
        return labels.detach().cpu().numpy()
    if isinstance(labels, np.ma.MaskedArray):
        filled = np.array(labels.data, dtype=object)
        filled[np.ma.getmaskarray(labels)] = None
        return filled
    if isinstance(labels, np.ndarray):
        return labels
    if hasattr(labels, "to_numpy"):  # pandas, polars
        return np.asarray(labels.to_numpy())
    array = np.array(labels, dtype=object)
    if any(isinstance(value, list | tuple | np.ndarray) for value in array.flat):
        raise InvalidInputError("y with rows of one length", got="rows of several", fix="fill the gaps with None")
    return array


def _of_one_type(values: np.ndarray, complete: bool) -> np.ndarray:
    """Return labels without gaps in the type that they have: of objects, that of what they are."""
    if values.dtype.kind == "f" and not complete and np.isfinite(values).all() and (values == np.floor(values)).all():
        return values.astype(np.int64)  # the gaps had made floats of whole numbers
    if values.dtype != object:
        return values
    kinds = {_kind(value) for value in values}
    if len(kinds) > 1:
        fix = "convert them to one type, y.astype(str) for example"
        raise InvalidInputError("labels of one type", got=" and ".join(sorted(kinds)), fix=fix)
    return values if kinds <= {"text"} else _of_one_type(np.array(values.tolist()), complete)


def _kind(value: Any) -> str:
    for kind, types in _KINDS.items():
        if isinstance(value, types):
            return kind
    fix = "convert them, y.astype(str) for example"
    raise InvalidInputError("labels to be names, numbers or booleans", got=f"{value!r}", fix=fix)
