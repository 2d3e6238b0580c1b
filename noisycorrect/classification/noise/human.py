"""Noise that people made: labels from a file, checked against the right ones."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.classification.noise.base import NoiseModel, NoisyLabels, register, relabelled
from noisycorrect.classification.noise.checks import ArrayLike, LabelsLike, check_labels
from noisycorrect.classification.noise.human_files import canonical_key, no_choice, read_human
from noisycorrect.support.errors import InvalidInputError

Source: TypeAlias = LabelsLike | str | os.PathLike[str]


@register
@final
@dataclass(frozen=True, eq=False)
class Human(NoiseModel):
    """Labels that people gave, such as CIFAR-10N (Wei et al., ICLR 2022). Spelled `human:random1`.

    Nothing is drawn: every seed gives the same labels. Where the source holds the right labels too, they must equal the
    ones that the model is applied to, which finds a data set in another order. Measured on the published file of
    CIFAR-10N: aggregate 9.01 %, random1 17.23 %, random2 18.12 %, random3 17.64 %, worst 40.21 %.

    Parameters
    ----------
    labels_or_path : integer array-like of shape (N,), or path-like
        The labels; a `.npy` file; the published `CIFAR-10_human.pt`; or a folder of `labels_human_<key>.npy`. Pickles
        are read with an allow-list of integer arrays. None is refused on `apply`: a spelling holds no path, see
        `parse`.
    key : str, optional
        Which set of a `.pt` file or folder: "aggregate", "random1", "random2", "random3", "worst" (CIFAR-10N) or
        "noisy" (CIFAR-100N); the published keys such as "worse_label" are understood.

    Raises
    ------
    InvalidInputError
        If the key is unknown, or (on `apply`) the source is missing, damaged, not trusted, of another length, of
        another data set, or has labels outside 0..K-1.

    Notes
    -----
    `details` of the result: `source` (path or "array"), `key`, `right_labels_checked` (bool).

    Examples
    --------
    >>> Human([0, 1, 1]).apply([0, 0, 1], num_classes=2, seed=0).changed.tolist()
    [False, True, False]
    """

    labels_or_path: Source | None = field(default=None, repr=False)
    key: str | None = None

    name: ClassVar[str] = "human"

    def __post_init__(self) -> None:
        if self.key is not None:
            object.__setattr__(self, "key", canonical_key(self.key))

    def _corrupt(
        self, given: NDArray[np.int64], num_classes: int, seed: np.random.SeedSequence, inputs: ArrayLike | None
    ) -> NoisyLabels:
        source = self.labels_or_path
        if source is None:
            raise InvalidInputError(
                "human labels, or the file or folder that holds them",
                got="none",
                fix="Human(path, key='random1') or parse('human:random1', labels_or_path=path)",
            )
        labels: LabelsLike
        if isinstance(source, str | os.PathLike):
            labels, right = read_human(source, self.key)
        elif self.key is None:
            labels, right = source, None
        else:
            raise no_choice("an array, which is one set", self.key)
        noisy = check_labels(labels, num_classes, "human labels")
        _check_same_samples(
            given, noisy, None if right is None else check_labels(right, num_classes, "right labels in the file")
        )
        origin = os.fspath(source) if isinstance(source, str | os.PathLike) else "array"
        details = {"source": origin, "key": self.key, "right_labels_checked": right is not None}
        return relabelled(given, noisy, num_classes, details)


def _check_same_samples(given: NDArray[np.int64], noisy: NDArray[np.int64], right: NDArray[np.int64] | None) -> None:
    for what, labels in (("human labels", noisy), ("right labels in the file", right)):
        if labels is not None and len(labels) != len(given):
            raise InvalidInputError(
                f"as many {what} as labels, {len(given)}",
                got=str(len(labels)),
                fix="apply the model to the whole training set, then take the subset",
            )
    if right is None:
        return
    differ = np.flatnonzero(given != right)
    if differ.size:
        first = int(differ[0])
        raise InvalidInputError(
            "labels equal to the right labels in the file",
            got=f"{int(given[first])} against {int(right[first])} at index {first} ({differ.size} differ in all)",
            fix="apply the model to right labels in the order of the file; CIFAR-N follows torchvision's training set",
        )
