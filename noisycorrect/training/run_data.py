"""The data sets of a run: labelled and unlabelled samples joined, as training and as predictions see them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from noisycorrect.data.batches import Collate
from noisycorrect.data.datasets import MapStyleDataset, join_unlabeled, read_given
from noisycorrect.data.repeated import is_augmented
from noisycorrect.data.streams import StreamedDataset
from noisycorrect.support import distributed
from noisycorrect.support.arrays import is_array
from noisycorrect.support.errors import InvalidInputError, warn_caller
from noisycorrect.task import Task
from noisycorrect.training.weights import weights_of_run


@dataclass
class RunData:
    """The data sets of a run."""

    train: MapStyleDataset  # unlabelled inputs last
    canonical: MapStyleDataset  # the same samples as predictions see them
    given: Any
    val: MapStyleDataset | None  # as predictions see it
    val_given: Any
    collate_fn: Collate | None
    clean_labels: Any = None  # as the kind of labels has checked them
    val_clean_labels: Tensor | None = None
    sample_weight: Tensor | None = None  # of the training samples; None: all alike, or items say it themselves

    @property
    def input_record(self) -> dict[str, Any] | None:
        """How the training set says that its samples become inputs, as plain JSON values; None if it does not say."""
        return _record(self.train)

    @property
    def identity(self) -> dict[str, Any]:
        """What a run and the one that resumes it must share: how inputs are made, and the samples' names, as a digest.

        Nothing of a training set that says neither.
        """
        names, record = getattr(self.train, "sample_names", None), self.input_record
        return {
            **({"inputs": record} if record else {}),
            **({"sample_names": _digest(names)} if names is not None else {}),
        }

    @classmethod
    def make(
        cls,
        train: MapStyleDataset,
        task: Task,
        *,
        val: MapStyleDataset | None,
        unlabeled: Any,
        canonical: MapStyleDataset | None,
        collate_fn: Collate | None,
        sample_weight: Any = None,
        num_workers: int = 0,
        predicts: bool = True,
        compares: bool = False,
    ) -> RunData:
        """Join labelled and unlabelled samples, and read the given labels.

        `predicts` says whether the run will use predictions, or features of a network, in the canonical frame;
        `compares`, whether it compares inputs there that are vectors.
        """
        labeled, passed = len(train), canonical
        own: Any = getattr(train, "with_unlabeled", None)
        if unlabeled is not None and callable(own):  # a data set that knows what inputs without a label are
            known: Any = getattr(canonical, "with_unlabeled", None)
            if canonical is not None and callable(known) and len(canonical) == len(train):
                canonical = known(unlabeled)
            both = own(unlabeled)
            if canonical is None and callable(getattr(both, "canonical", None)):
                canonical = both.canonical()
            train = both
        elif unlabeled is not None:
            path = isinstance(unlabeled, (str, bytes, os.PathLike))  # a str has a length and items, too
            is_set = hasattr(unlabeled, "__len__") and hasattr(unlabeled, "__getitem__")
            if path or (not is_set and not is_array(unlabeled)):
                raise InvalidInputError(
                    "unlabeled to be a map-style data set or an array",
                    got=f"the path {os.fspath(unlabeled)!r}" if path else type(unlabeled).__name__,
                    fix="pass inputs: read the files first, or pass a data set that reads them",
                )
            missing = task.kind.no_label(task.num_classes)
            if canonical is not None and len(canonical) == len(train):
                canonical = join_unlabeled(canonical, unlabeled, missing)
            train = join_unlabeled(train, unlabeled, missing)
        elif canonical is None and callable(getattr(train, "canonical", None)):
            canonical = train.canonical()  # type: ignore[attr-defined]  # a data set that knows its own
        _check_streams(train, canonical)
        if canonical is not None and len(canonical) != len(train):
            raise InvalidInputError(
                f"canonical with the {len(train)} samples of train (and unlabeled)",
                got=str(len(canonical)),
                fix="pass the same samples, in the same order, without augmentation",
            )
        # A data set that knows its own canonical view is believed.
        seen = (train, "train") if canonical is None else (passed, "canonical")
        looks = predicts or compares
        if looks and seen[0] is not None and is_augmented(seen[0], num_workers, vectors=not predicts):
            warn_caller(
                f"the items of {seen[1]} change from one reading to the next: what is predicted and compared will be"
                " augmented inputs; pass canonical= to fit, the same samples without augmentation"
            )
        if val is not None:
            val = _as_measured(val, train)
        given = read_given(train, num_workers)
        val_given = None if val is None else read_given(val, num_workers)
        weights = weights_of_run(sample_weight, labeled, train)
        frame = train if canonical is None else canonical
        return cls(train, frame, given, val, val_given, collate_fn, sample_weight=weights)


def _record(data: MapStyleDataset) -> dict[str, Any] | None:
    found = getattr(data, "input_record", None)
    return found if isinstance(found, dict) else None


def _digest(names: Iterable[object]) -> str:
    return hashlib.sha256("\0".join(map(str, names)).encode()).hexdigest()[:16]


def _as_measured(val: MapStyleDataset, train: MapStyleDataset) -> MapStyleDataset:
    """Return the validation set without augmentation, if it knows how; its inputs must be made as those of training.

    They may be parts of larger images, or whole ones, where the others are not.
    """
    own, wanted = _record(val) or {}, _record(train) or {}
    other = {name: value for name, value in own.items() if name in wanted and value != wanted[name]}
    if other:
        expected = {name: wanted[name] for name in other}
        raise InvalidInputError(
            f"val with inputs that are made as those of train, {expected}", got=str(other), fix="make both alike"
        )
    canonical: Any = getattr(val, "canonical", None)
    return canonical() if callable(canonical) else val


def _check_streams(train: MapStyleDataset, canonical: MapStyleDataset | None) -> None:
    """Raise an InvalidInputError if sets that are read in passes have other samples, or are divided among ranks."""
    streams = [each for each in (train, canonical) if isinstance(each, StreamedDataset)]
    if not streams:
        return
    if distributed.world_size() > 1:
        raise InvalidInputError(
            "a data set that is read by position, on several ranks",
            got="a streaming set",
            fix="train it in one process, or give it __len__ and __getitem__",
        )
    if canonical is not None and (len(streams) < 2 or streams[0].digest != streams[1].digest):
        raise InvalidInputError(
            "canonical with the ids of train, if one of them is read in passes",
            got="others" if len(streams) == 2 else "one that is read by position",
            fix="pass the same samples, with the same ids, without augmentation",
        )
