"""Whether a run goes wrong: the scale of its inputs, and its predictions in the first epochs and at the end.

All is seen on one batch of training samples, evenly spaced, in evaluation mode. What is wrong becomes a
:class:`~noisycorrect.TrainingWarning`, and the run goes on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.cycle.feed import map_tensors
from noisycorrect.cycle.recalibrate import batchnorm_layers
from noisycorrect.data.batches import Batch
from noisycorrect.data.standardize import standardize_of
from noisycorrect.support import distributed
from noisycorrect.support.errors import warn_of_training
from noisycorrect.support.rng import seeded
from noisycorrect.training.engine import Engine

EPOCHS_WATCHED = (2, 3)  # epochs done
# What inputs may be before anything has gone wrong; see InputScale.
LARGEST_VALUE, LARGEST_RMS, LARGEST_RATIO = 1000.0, 30.0, 1000.0
SUSPICIOUS_RMS = 3.0  # may be why a run has failed, but seldom is
NATS_OF_GUESSES = (
    10.0  # above log K: no network that is untrained is so sure of what is wrong, nor one that was trained
)
SAME = 1e-3  # of how much predictions differed at first, they are one
LEAST_LABELS = 30  # fewer may well be called one class
MAJORITY = 0.8  # above this share of the labels, one prediction for all may be the best there is


@dataclass(frozen=True)
class InputScale:
    """How large inputs are, beside the 1 or so that networks and learning rates are made for.

    Attributes
    ----------
    rms : float
        Root mean square of all values.
    largest : float
        Largest absolute value.
    ratio : float
        Of vectors, the widest range of a feature over the narrowest that is not 0; else 1.
    feature : int or None
        Of vectors, the one with the largest value.

    Examples
    --------
    >>> scale = InputScale.of(torch.tensor([[0.0, 16000.0], [1.0, 12000.0]]))
    >>> print(scale)
    16,000 in feature 1, and features whose ranges differ by a factor of 4,000
    >>> scale.bad
    True
    """

    rms: float
    largest: float
    ratio: float = 1.0
    feature: int | None = None

    @classmethod
    def of(cls, inputs: Tensor) -> InputScale:
        """Return the scale of floating inputs (N, ...); what is not finite is left out."""
        values = inputs.detach().double().cpu()
        values = torch.where(torch.isfinite(values), values, 0.0)
        rms, largest = float(values.square().mean().sqrt()), float(values.abs().max())
        if values.dim() != 2:
            return cls(rms, largest)
        ranges = values.amax(0) - values.amin(0)
        ranges = ranges[ranges > 0]
        ratio = float(ranges.max() / ranges.min()) if len(ranges) else 1.0
        return cls(rms, largest, ratio, int(values.abs().amax(0).argmax()))

    @property
    def bad(self) -> bool:
        """Whether training is likely to suffer."""
        return self.largest >= LARGEST_VALUE or self.rms >= LARGEST_RMS or self.ratio >= LARGEST_RATIO

    @property
    def suspicious(self) -> bool:
        """Whether a run that has failed may have failed for it."""
        return self.bad or self.rms >= SUSPICIOUS_RMS

    @property
    def fix(self) -> str:
        """What the caller can do about it."""
        if self.feature is None:
            return "scale inputs to about -1..1 (images of 0..255: divide by 255)"
        return 'pass recipe=RECIPES[...].replace(standardize="auto")'

    def __str__(self) -> str:
        where = "" if self.feature is None else f" in feature {self.feature}"
        differ = f", and features whose ranges differ by a factor of {self.ratio:,.0f}"
        largest = f"{self.largest:,.0f}" if 100 <= self.largest < 1e7 else f"{self.largest:.3g}"
        return f"{largest}{where}{differ if self.ratio >= LARGEST_RATIO else ''}"


class RunHealth:
    """Sees a run before its first step, after its first epochs and at its end; warns once of each thing.

    Of labels that are not one class a sample only the inputs are looked at: a network that calls all pixels background
    may just have begun.

    Parameters
    ----------
    engine : Engine
        Runs the model.
    given : Tensor, shape (N,), int64, or None
        Given labels, -1 for an unlabelled sample; None if a label is not one class.
    seed : int
        Of models that draw random numbers in evaluation mode, too.
    """

    def __init__(self, engine: Engine, given: Tensor | None, seed: int) -> None:
        self.engine = engine
        self.given = given
        self.seed = seed
        self.scale: InputScale | None = None
        self._batch: Batch | None = None
        self._differed = 0.0  # how much predictions did between samples before the first step
        self._warned = False

    def begin(self, student: nn.Module, batch: Batch, output: Any, *, epoch: int) -> None:
        """See the batch that is looked at from now on, and the student's output for it, before an epoch (0-based)."""
        self.scale = input_scale(student, batch)
        if self.given is not None:
            self._batch = batch
        if epoch or not distributed.is_main():
            return  # a run that is resumed has spoken of it
        bad = self.scale is not None and self.scale.bad
        if self.scale is not None and bad:
            warn_of_training("inputs of about -1..1", str(self.scale), f"{self.scale.fix}, or a smaller lr")
        if self._batch is None:
            return
        probs = self.engine.task.probs(output).cpu()
        self._differed = differences(probs)
        nats = self._nats(probs)
        # Untrained statistics of BatchNorm layers let any scale pass.
        if not bad and nats > NATS_OF_GUESSES + math.log(probs.shape[1]) and not batchnorm_layers(student):
            self._failed("predictions about as good as guessing before the first step", f"a loss of {nats:.3g} nats")

    def after_epoch(self, student: nn.Module, epoch: int) -> None:
        """Look at the predictions after an epoch (epochs done), if it is among the first."""
        if epoch not in EPOCHS_WATCHED or self._batch is None or self._warned or not distributed.is_main():
            return
        probs = self._probs(student)
        nats, classes = self._nats(probs), probs.shape[1]
        if differences(probs) < SAME * self._differed:
            got = f"the same, class {int(probs[0].argmax())}, for all {len(probs)} looked at after epoch {epoch}"
            self._failed("predictions that differ between samples", got)
        elif nats > NATS_OF_GUESSES + math.log(classes):
            self._failed("a loss below guessing's", f"{nats:.3g} nats after epoch {epoch}")

    def at_end(self, model: nn.Module) -> None:
        """Look at the predictions of the model that a run returns."""
        if self._batch is None or self._warned or not distributed.is_main():
            return
        classes, labels = self._probs(model).argmax(1), self._labels()
        labeled = labels[labels >= 0]
        if not len(labeled) or bool((classes != classes[0]).any()):
            return
        majority = float(labeled.bincount().max()) / len(labeled)
        if len(labeled) >= max(LEAST_LABELS, 2 * self.engine.task.num_classes) and majority <= MAJORITY:
            got = f"class {int(classes[0])} for all {len(classes)} training samples looked at when training has ended"
            self._failed("predictions of several classes", got)

    def note(self) -> str:
        """Return what an error about the loss should add: the inputs' scale, if that may be why; else nothing."""
        if self.scale is None or not self.scale.suspicious:
            return ""
        return f"; inputs reach {self.scale}: {self.scale.fix}"

    def _failed(self, expected: str, got: str) -> None:
        self._warned = True
        fix = "pass a smaller lr, or recipe.replace(clip_grad_norm=1.0)"
        if self.scale is not None and self.scale.suspicious:
            got, fix = f"{got}; inputs reach {self.scale}", f"{self.scale.fix}, or a smaller lr"
        warn_of_training(expected, got, fix)

    def _labels(self) -> Tensor:
        assert self._batch is not None
        assert self.given is not None
        return self.given.cpu()[self._batch.index.cpu()]

    def _probs(self, model: nn.Module) -> Tensor:
        assert self._batch is not None
        with seeded(self.seed, "look", device=self.engine.device):
            return self.engine.task.probs(self.engine.look(model, self._batch)).cpu()

    def _nats(self, probs: Tensor) -> float:
        """Return the mean loss of the given labels; 0 without any."""
        labels = self._labels()
        labeled = labels >= 0
        found = probs[labeled].gather(1, labels[labeled, None]).clamp(min=torch.finfo(torch.float32).tiny)
        return float(-found.log().mean()) if len(found) else 0.0


def input_scale(model: nn.Module, batch: Batch) -> InputScale | None:
    """Return the scale of the first floating tensor in a batch's input, as the model sees it behind its Standardize."""
    floating: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point() and tensor.numel():
            floating.append(tensor)
        return tensor

    map_tensors(batch.input, note)
    if not floating:
        return None
    standardize = standardize_of(model)
    if standardize is None:
        return InputScale.of(floating[0])
    return InputScale.of(standardize(floating[0].to(standardize.mean.device)))


def differences(probs: Tensor) -> float:
    """Return how much predictions (N, K) differ between samples: their standard deviation, mean over the classes.

    Examples
    --------
    >>> differences(torch.tensor([[1.0, 0.0], [0.0, 1.0]])), differences(torch.tensor([[0.4, 0.6], [0.4, 0.6]]))
    (0.5, 0.0)
    """
    return float(probs.std(0, correction=0).mean())
