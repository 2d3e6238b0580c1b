"""Correction of masks by the object: missing ones are filled in, misnamed ones renamed, shifted outlines moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from noisycorrect.correction.base import CycleEnd, Predictions, publish
from noisycorrect.correction.cycle_end import AtCycleEnd
from noisycorrect.correction.part import Setup
from noisycorrect.labels import GenerationWriter, Trust
from noisycorrect.support import distributed
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name, warn_of_training
from noisycorrect.task import Metrics
from noisycorrect_seg.classes import is_background
from noisycorrect_seg.geometry.habits import confusions, named_places, one_way, well_named
from noisycorrect_seg.geometry.objects import (
    ClassConfidence,
    Objects,
    SeenObjects,
    filled_places,
    mask_quality_by_objects,
    misnamed_objects,
    missing_objects,
    objects_of,
    suggested_classes,
)
from noisycorrect_seg.geometry.outlines import shifted_borders
from noisycorrect_seg.methods.frames import parsing_task

PARTS = ("missing", "misnamed", "shifted")
MOST_ASKED = 2048  # images, evenly spaced, that tell how sure the evidence is of each class
LEAST_MEAN = 0.05  # of the votes for a class: one that is not learnt at all is not multiplied out of nothing


class Habits(NamedTuple):
    """What goes wrong too often to be an accident.

    Attributes
    ----------
    left_out : Tensor, shape (K,), bool
        Classes whose objects are left out.
    misnamed : Tensor, shape (K, K), bool
        Which given classes (rows) stand for which ones; (0, 0) if nobody asks.
    """

    left_out: Tensor
    misnamed: Tensor


class ObjectCorrection(AtCycleEnd):
    """Masks keep their labels but where an object of theirs looks wrong; there they follow the evidence.

    At the end of a cycle the averaged model predicts, as for :class:`~noisycorrect.AtCycleEnd`, and the mean of its
    predictions is looked at object by object: :func:`~noisycorrect_seg.geometry.objects.missing_objects`,
    :func:`~noisycorrect_seg.geometry.objects.misnamed_objects` and
    :func:`~noisycorrect_seg.geometry.outlines.shifted_borders`. Which places follow the evidence is decided anew each
    time, from the given masks. All else keeps its given label and, evidence and masks being coupled, its detail.
    What is corrected must be a habit: objects are filled in only of classes of which many are missing and few are seen
    where the masks show something else, and renamed only from classes to classes that are confused one way
    (:func:`~noisycorrect_seg.geometry.habits.one_way`) and otherwise named well
    (:func:`~noisycorrect_seg.geometry.habits.well_named`).

    A class that annotators leave out now and then is predicted less surely than it is there. So evidence is divided by
    a power of what it says on average of the given objects of each class, as far as objects and labels are concerned.

    Parameters
    ----------
    parts : sequence of {"missing", "misnamed", "shifted"}
        What is looked for.
    least : int
        Places of the evidence that an object has at least.
    sure : float
        The vote for an object must be at least so many times that of the given objects of its class.
    recall : float
        A class takes part in renaming if the evidence names at least this share of its given places so, and is filled
        in if it does so of half of this share: what is left out now and then is seen less surely.
    habit : float
        A class is filled in if at least so many times as many of its objects are missing as are given: the few that a
        network sees on the ground are rather its own mistakes.
    mistakes : float
        A class is filled in if at least so many times as many of its objects are missing as the evidence sees where the
        masks show something else: a network that takes all kinds of things for hats sees some on the ground as well.
    precision : float
        Objects are renamed to a class if at least this share of the places that the evidence names so is given so, left
        aside those of the class that is renamed.
    ground : float
        Share of a missing object that is given background, at least; and of the given background that the evidence
        names so, or nothing is filled in: a network that knows no ground knows of nothing on it.
    attached : bool, optional
        Whether a missing object must hang together with something that the mask shows, as the parts of a person do, and
        not the houses of an aerial photograph. Default: as the task has it, of people
        (:attr:`Segmentation.connected <noisycorrect_seg.Segmentation>`).
    shift : float
        In places of the evidence: how far an outline lies off on average before it is moved.
    relative : float
        The power, in [0, 1]; 0 takes the evidence as it is.
    weigh : float
        Whole masks are trusted by their quality to this power, >= 0
        (:func:`~noisycorrect_seg.geometry.objects.mask_quality_by_objects`); 0 trusts all alike.
    momentum, keep
        As for :class:`~noisycorrect.AtCycleEnd`.

    Raises
    ------
    InvalidInputError
        If an argument is out of range or unknown; when a run starts, if its labels are no masks.

    Examples
    --------
    >>> ObjectCorrection(parts=("missing",)).parts
    ('missing',)
    """

    def __init__(
        self,
        *,
        parts: Sequence[str] = ("missing", "misnamed"),
        least: int = 3,
        sure: float = 0.8,
        recall: float = 0.5,
        habit: float = 0.1,
        mistakes: float = 0.75,
        precision: float = 0.4,
        ground: float = 0.8,
        attached: bool | None = None,
        shift: float = 0.5,
        relative: float = 0.5,
        weigh: float = 0.0,
        momentum: float | None = None,
        keep: int | None = 2,
    ) -> None:
        super().__init__(momentum=momentum, coupled=True, keep=keep)
        if isinstance(parts, str):
            raise InvalidInputError("parts as a sequence of names", got=repr(parts), fix=f"pass ({parts!r},)")
        for part in parts:
            if part not in PARTS:
                raise unknown_name("part of the correction of objects", part, PARTS)
        self.parts = tuple(parts)
        self.least = whole_number("least", least, least=1)
        self.sure = finite_number("sure", sure, more_than=0, fix="0.8 is usual")
        self.recall = finite_number("recall", recall, above=0, at_most=1, fix="0.5 is usual")
        self.habit = finite_number("habit", habit, above=0, fix="0.1 is usual; 0 fills in all that is missing")
        self.mistakes = finite_number("mistakes", mistakes, above=0, fix="0.75 is usual; 0 counts none")
        self.precision = finite_number("precision", precision, above=0, at_most=1, fix="0.4 is usual")
        self.ground = finite_number("ground", ground, above=0, at_most=1, fix="0.8 is usual")
        self.attached = None if attached is None else bool(attached)
        self.relative = finite_number("relative", relative, above=0, at_most=1, fix="0.5 is usual")
        self.weigh = finite_number("weigh", weigh, above=0, fix="1 trusts a mask as far as the evidence agrees")
        self.shift = finite_number("shift", shift, more_than=0, fix="0.5 is usual")

    def start(self, setup: Setup) -> None:
        """Check that labels are masks.

        Raises
        ------
        InvalidInputError
            If they are not.
        """
        _check_background(parsing_task(setup).class_names or ())
        super().start(setup)

    def at_cycle_end(self, end: CycleEnd) -> Metrics | None:
        """Predict every training image, publish the next generation, and decide which places follow the evidence."""
        if end.cycle == 0 and not end.stopped:
            return None
        with end.store.new_generation(trust=_whole) as writer:
            metrics = publish(writer, self.predictions(end), end.task.metrics())
            writer.coupled = True
            kind: Any = end.store.kind
            mean = self._confidence(writer, kind, Trust(torch.ones(1, dtype=torch.float32))).mean
            writer.class_scale = mean.clamp(min=LEAST_MEAN) ** -self.relative
            trust = Trust(torch.ones(1, dtype=torch.float32), class_scale=writer.class_scale)
            confidence = self._confidence(writer, kind, trust)
            self._check_size(confidence)
            habits = self._habits(writer, kind, trust, confidence)
            for rows, evidence in writer.written():
                given = _given(kind, rows, evidence)
                scaled = trust.scaled(evidence)
                trusted = 1.0 - self.follows(given, scaled, confidence, habits).float()
                if self.weigh:
                    quality = mask_quality_by_objects(given, scaled, confidence, least=self.least)
                    trusted *= quality[:, None, None] ** self.weigh
                writer.judge(rows, trusted)
        return metrics

    def predictions(self, end: CycleEnd) -> Predictions:
        """Yield (index, given, probs) of this rank's shard: what the evidence is made of."""
        return end.predictions()

    def follows(self, given: Tensor, evidence: Tensor, confidence: ClassConfidence, habits: Habits) -> Tensor:
        """Return which places of given masks (n, h, w) follow the evidence (n, K, h, w), bool (n, h, w)."""
        places = torch.zeros_like(given, dtype=torch.bool)
        if habits.left_out.any():
            seen, missing, _ = self._missing(given, evidence, confidence)
            places |= filled_places(given, seen, missing & habits.left_out[seen.classes])
        if habits.misnamed.any():
            found = objects_of(given, evidence)
            places |= misnamed_objects(found, self._suggested(given, found, confidence), habits.misnamed)
        if "shifted" in self.parts:
            places |= shifted_borders(given, evidence, least=self.least, shift=self.shift)
        return places

    def _check_size(self, confidence: ClassConfidence) -> None:
        """Warn if no object of the given masks has enough places in the evidence to be looked at."""
        if confidence.places[1:].sum() > 0 and not confidence.objects[1:].sum() and distributed.is_main():
            expected = f"objects of the given masks with least={self.least} places at the network's output resolution"
            fix = "pass a network of a smaller stride, or larger images, or nothing will be corrected"
            warn_of_training(expected, "none", fix)

    def _missing(self, given: Tensor, evidence: Tensor, confidence: ClassConfidence) -> SeenObjects:
        attached = parsing_task(self.setup).connected if self.attached is None else self.attached
        how: dict[str, Any] = {"least": self.least, "sure": self.sure, "recall": self.recall / 2}
        return missing_objects(given, evidence, confidence, ground=self.ground, attached=attached, **how)

    def _suggested(self, given: Tensor, found: Objects, confidence: ClassConfidence) -> Tensor:
        return suggested_classes(given, found, confidence, least=self.least, sure=self.sure, recall=self.recall)

    def _habits(self, writer: GenerationWriter, kind: Any, trust: Trust, confidence: ClassConfidence) -> Habits:
        """Return what goes wrong often enough, over all ranks."""
        classes = kind.num_classes
        names, fills = "misnamed" in self.parts, "missing" in self.parts and confidence.recall[0] >= self.ground
        seen = torch.zeros(2, classes, dtype=torch.float64)
        told = torch.zeros(2, *((classes, classes) if names else (0, 0)), dtype=torch.float64)
        for rows, evidence in writer.written(most=MOST_ASKED):
            given, scaled = _given(kind, rows, evidence), trust.scaled(evidence)
            if names:
                found = objects_of(given, scaled)
                suggested = self._suggested(given, found, confidence)
                told += torch.stack([confusions(found, suggested, classes), named_places(given, scaled)])
            if fills:
                seen += self._missing(given, scaled, confidence).counts(classes)
        missing, elsewhere = distributed.all_reduce_sum(seen)
        confused, named = distributed.all_reduce_sum(told) if names else told
        left_out = (missing > 0) & (missing >= self.habit * confidence.objects) & (missing >= self.mistakes * elsewhere)
        return Habits(left_out, one_way(confused) & well_named(named, self.precision))

    def _confidence(self, writer: GenerationWriter, kind: Any, trust: Trust) -> ClassConfidence:
        """Return how sure scaled evidence is of each class, over all ranks."""
        sums = torch.zeros(len(ClassConfidence._fields), kind.num_classes, dtype=torch.float64)
        for rows, evidence in writer.written(most=MOST_ASKED):
            of_some = ClassConfidence.of(_given(kind, rows, evidence), trust.scaled(evidence), self.least)
            sums += torch.stack(of_some)
        return ClassConfidence(*distributed.all_reduce_sum(sums))


def _check_background(names: Sequence[str]) -> None:
    """Warn if the background, of which missing objects are made, is another class than the first."""
    other = next((name for name in names[1:] if is_background(name)), None)
    if other is not None and not is_background(names[0]) and distributed.is_main():
        fix = f"renumber classes and masks; objects missing from {other!r} are not found"
        warn_of_training("the background to be class 0", repr(names[0]), fix)


def _given(kind: Any, rows: np.ndarray, evidence: Tensor) -> Tensor:
    given: Tensor = kind.beside(rows, evidence)[0]
    return given


def _whole(given: Tensor, evidence: Tensor, generation: int) -> Tensor:
    return given.float()
