"""Noise at the decision boundary of a teacher: the samples it is least sure of become its runner-up."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.classification.noise.base import NoiseModel, NoisyLabels, register, relabelled
from noisycorrect.classification.noise.checks import (
    ArrayLike,
    check_inputs,
    check_rate,
    child_seed,
    flat_features,
)
from noisycorrect.classification.noise.sampling import exact_count, members_by_class
from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError

Teacher: TypeAlias = ArrayLike | Callable[[Any], ArrayLike]

# Float32 softmax over a thousand classes sums to 1 within about 1e-4.
_ROW_SUM_TOLERANCE = 1e-3

_FOLDS = 5
_TIES, _SPLIT = 0, 1


@register
@final
@dataclass(frozen=True, eq=False)
class FeatureDependent(NoiseModel):
    """The samples of the lowest margin become the teacher's runner-up. Spelled `feature:0.3`.

    The margin is p[right] - max over the other classes of p, the runner-up is the class of that maximum; so a sample
    that the teacher gets wrong has a negative margin and changes first, to the class the teacher believes in. Of all N
    samples, round(rate * N) change, halves to even: hard classes get more noise than easy ones. Confusion of
    the two most probable classes as in Zhang et al. (ICLR 2021), made deterministic by the margin.

    Parameters
    ----------
    rate : float
        Share of all samples that change, in [0, 1].
    teacher_probs : array-like of float, shape (N, K), or callable, optional
        The teacher's class probabilities of the samples, or a function from the inputs to them. Default: a logistic
        regression on the flattened, standardised inputs, 5-fold cross-fitted, so that no sample is judged by a teacher
        that has seen it; meant for tables and small images.

    Raises
    ------
    InvalidInputError
        If the rate is not in [0, 1], or (on `apply`) the probabilities are not an (N, K) array of rows that sum to 1,
        or inputs are needed and missing.

    Notes
    -----
    `details` of the result: `teacher`, `teacher_probs` (float64 (N, K)) and `margin` (float64 (N,)). The seed decides
    between equal margins, and the folds.

    Examples
    --------
    >>> probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]])
    >>> FeatureDependent(0.25, probs).apply([0, 0, 1, 1], num_classes=2, seed=0).labels.tolist()
    [0, 1, 1, 1]
    """

    rate: float
    teacher_probs: Teacher | None = field(default=None, repr=False)

    name: ClassVar[str] = "feature"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))

    def _corrupt(
        self, given: NDArray[np.int64], num_classes: int, seed: np.random.SeedSequence, inputs: ArrayLike | None
    ) -> NoisyLabels:
        teacher, probs = self._teach(given, num_classes, seed, inputs)
        rows = np.arange(len(given))
        others = probs.copy()
        others[rows, given] = -np.inf
        runner_up = others.argmax(axis=1)
        margin = probs[rows, given] - others[rows, runner_up]
        ties = np.random.default_rng(child_seed(seed, _TIES)).random(len(given))
        chosen = np.lexsort((ties, margin))[: exact_count(self.rate, len(given))]
        noisy = given.copy()
        noisy[chosen] = runner_up[chosen]
        details = {"teacher": teacher, "teacher_probs": probs, "margin": margin}
        return relabelled(given, noisy, num_classes, details)

    def _teach(
        self, given: NDArray[np.int64], num_classes: int, seed: np.random.SeedSequence, inputs: ArrayLike | None
    ) -> tuple[str, NDArray[np.float64]]:
        shape = (len(given), num_classes)
        if self.teacher_probs is None:
            features = flat_features(check_inputs(inputs, len(given), self.name))
            return "logistic regression", cross_fitted_probs(features, given, num_classes, child_seed(seed, _SPLIT))
        if callable(self.teacher_probs):
            check_inputs(inputs, len(given), self.name)
            return "callable", _check_probs(self.teacher_probs(inputs), shape)
        return "array", _check_probs(self.teacher_probs, shape)


def cross_fitted_probs(
    features: NDArray[Any], labels: NDArray[np.int64], num_classes: int, seed: np.random.SeedSequence
) -> NDArray[np.float64]:
    """Return out-of-fold class probabilities of a logistic regression on standardised features.

    Parameters
    ----------
    features : ndarray, shape (N, F)
        Finite numbers.
    labels : ndarray of int64, shape (N,)
        Right labels, in 0..K-1; at least two classes of two samples or more.
    num_classes : int
        K.
    seed : numpy.random.SeedSequence
        Divides the samples of each class among the folds.

    Returns
    -------
    ndarray of float64, shape (N, K)
        Rows sum to 1; 0 for a class that the fold's teacher has not seen.

    Raises
    ------
    InvalidInputError
        If fewer than two classes have two samples.

    Examples
    --------
    >>> x = np.array([[0.0], [0.1], [1.0], [1.1]])
    >>> probs = cross_fitted_probs(x, np.array([0, 0, 1, 1]), 2, np.random.SeedSequence(0))
    >>> probs.argmax(axis=1).tolist()
    [0, 0, 1, 1]
    """
    # Imported here: a teacher is one use of this package among many, and scikit-learn takes a second to import.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = _folds(labels, num_classes, np.random.default_rng(seed))
    probs = np.zeros((len(labels), num_classes))
    for fold in np.unique(folds):
        held_out = folds == fold
        teacher = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
        with warnings.catch_warnings():
            # A teacher that stopped early still ranks the samples, which is all that is asked of it.
            warnings.simplefilter("ignore", ConvergenceWarning)
            teacher.fit(features[~held_out], labels[~held_out])
        probs[np.ix_(held_out, teacher.classes_)] = teacher.predict_proba(features[held_out])
    return probs


def _folds(labels: NDArray[np.int64], num_classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the fold of each sample; a class of two samples or more is never wholly in one fold."""
    classes = members_by_class(labels, num_classes)
    if sum(len(members) >= 2 for members in classes) < 2:
        raise InvalidInputError(
            "at least two classes of two samples or more, to fit a teacher",
            got=f"{len(labels)} samples, class sizes {[len(members) for members in classes]}",
            fix="pass teacher_probs of shape (N, K)",
        )
    folds = np.empty(len(labels), dtype=np.int64)
    for members in classes:
        folds[rng.permutation(members)] = np.arange(len(members)) % _FOLDS
    return folds


def _check_probs(values: object, shape: tuple[int, int]) -> NDArray[np.float64]:
    array = as_array(values, f"teacher_probs of shape {shape}")
    if array.shape != shape or array.dtype.kind not in "iuf":
        raise InvalidInputError(
            f"numeric teacher_probs of shape (N, K) = {shape}",
            got=f"shape {array.shape}, dtype {array.dtype}",
            fix="pass one row a label, in the same order, and one column a class",
        )
    probs = array.astype(np.float64, copy=True)
    good = (probs >= 0.0).all(axis=1) & (np.abs(probs.sum(axis=1) - 1.0) <= _ROW_SUM_TOLERANCE)
    bad = np.flatnonzero(~good)
    if bad.size:
        first = int(bad[0])
        raise InvalidInputError(
            "teacher_probs that are not negative and sum to 1 in each row",
            got=f"minimum {probs[first].min():.6g}, sum {probs[first].sum():.6g} at index {first}",
            fix="apply softmax if these are logits",
        )
    return probs
