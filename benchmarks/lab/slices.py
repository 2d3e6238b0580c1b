"""Training in slices of a few minutes: a call stops between epochs, and the next one goes on."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from benchmarks.lab.datasets import Benchmark
from benchmarks.lab.methods import EpochWatcher
from benchmarks.lab.protocol import accuracy
from noisycorrect.support.files import write_json

CURVE = "curve.json"
_CURVE_SAMPLES = 2000  # of the test set; the last epoch is scored on all


class TimeOverError(Exception):
    """The call's time is over; the run's checkpoint is on disk."""


@dataclass
class Clock:
    """The time of one call: whether another epoch fits into what is left, by the longest so far.

    One epoch always does, or a call could end without having got any further.

    Examples
    --------
    >>> clock = Clock(minutes=1.0)
    >>> clock.allows_an_epoch()
    True
    >>> clock.note(seconds=61.0)
    >>> clock.allows_an_epoch()
    False
    """

    minutes: float
    start: float = field(default_factory=time.monotonic)
    longest: float | None = None

    def note(self, seconds: float) -> None:
        """Take in how long an epoch took."""
        self.longest = max(seconds, self.longest or 0.0)

    def allows_an_epoch(self) -> bool:
        """Return whether an epoch may begin."""
        return self.longest is None or time.monotonic() + self.longest <= self.start + 60 * self.minutes


class Curve(EpochWatcher):
    """Scores each epoch and stores the curve beside the checkpoint; stops the run when the time is over.

    Parameters
    ----------
    folder : Path
        Of the run.
    epochs : int
        Of the whole run.
    data : Benchmark
        Test samples, of which at most 2,000 are used, evenly spaced.
    clock : Clock
        Says when to stop.
    """

    def __init__(self, folder: Path, epochs: int, data: Benchmark, clock: Clock) -> None:
        self.path = folder / CURVE
        self.epochs = epochs
        self.points = read_curve(folder)
        step = -(-len(data.test_labels) // _CURVE_SAMPLES)
        self._test = data.test_inputs[::step], torch.from_numpy(data.test_labels[::step])
        self._clock = clock
        self._last = time.monotonic()

    def see(self, model: nn.Module, epoch: int) -> None:
        """Score a model.

        Raises
        ------
        TimeOverError
            If there is no time for another epoch, and one is left.
        """
        trained = time.monotonic() - self._last
        point = {"epoch": epoch, "test_accuracy": round(accuracy(model, *self._test), 4), "seconds": trained}
        self.points = [*(point for point in self.points if point["epoch"] < epoch), point]
        write_json(self.path, self.points)
        now = time.monotonic()
        self._clock.note(now - self._last)
        self._last = now
        if epoch < self.epochs and not self._clock.allows_an_epoch():
            raise TimeOverError

    def seconds(self) -> float:
        """Return what all epochs of the curve took, scoring left out."""
        return sum(point["seconds"] for point in self.points)


def read_curve(folder: Path) -> list[dict[str, float]]:
    """Return the points of a run that were stored so far: ``epoch``, ``test_accuracy``, ``seconds``.

    Examples
    --------
    >>> read_curve(Path("no/such/folder"))
    []
    """
    path = folder / CURVE
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
