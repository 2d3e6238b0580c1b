"""Soft pseudo-masks: the averaged probabilities of a video's frames as the labels of unlabelled samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.correction.base import CycleEnd, Predictions
from noisycorrect.correction.cycle_end import AtCycleEnd
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.labels.codec import CODECS
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.task import Metrics
from noisycorrect_seg.task import Segmentation
from noisycorrect_seg.video.pseudo import PseudoMasks


class SoftPseudoMasks(AtCycleEnd):
    """Correction at the ends of cycles in which a parsed video's frames keep the probabilities that were found in them.

    The frames are the run's unlabelled samples: ``fit(train, unlabeled=source)``. From the first step on their targets
    are the averaged probabilities, so that a pixel of which the video's model was unsure teaches less than one that it
    was sure of; a mask would say the same of both. Cycles do not change them; the other samples are corrected as by
    :class:`~noisycorrect.AtCycleEnd`.

    Parameters
    ----------
    source : PseudoMasks
        Of :func:`pseudo_masks`, with its probabilities. Its `confidence` has no part here.
    momentum, trust, coupled, keep
        See :class:`~noisycorrect.AtCycleEnd`.

    Raises
    ------
    InvalidInputError
        If the probabilities were not kept; when a run starts, if its task has other classes or another size, or the
        frames are not its last samples.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from noisycorrect_seg.video import parse_video, pseudo_masks
    >>> frames = np.random.default_rng(0).integers(0, 256, (2, 30, 40, 3), np.uint8)
    >>> options = {"classes": ["dark", "bright"], "size": (32, 32), "images": True, "probs": True}
    >>> source = pseudo_masks(parse_video(nn.Conv2d(3, 2, 1), frames, tempfile.mkdtemp(), **options))
    >>> SoftPseudoMasks(source).identity()["frames"]
    2
    """

    learns_unlabeled = True

    def __init__(
        self,
        source: PseudoMasks,
        *,
        momentum: float | None = None,
        trust: str = "paper",
        coupled: bool = False,
        keep: int | None = 2,
    ) -> None:
        super().__init__(momentum=momentum, trust=trust, coupled=coupled, keep=keep)
        if not isinstance(source, PseudoMasks):
            raise InvalidInputError(
                "the frames of a parsed video", got=type(source).__name__, fix="pass pseudo_masks(parsed)"
            )
        source.network_probs(0)
        self.source = source
        self.frames = len(source)
        self.network = source.parsed.network

    def start(self, setup: Setup) -> None:
        """Check that the frames are the run's, and its last samples."""
        super().start(setup)
        task, recipe = setup.task, self.source.parsed.recipe
        if not isinstance(task, Segmentation) or (task.classes.names, task.size) != (recipe.classes.names, recipe.size):
            raise InvalidInputError(
                f"a task of the video's classes {', '.join(recipe.classes.names[:8])} and size {recipe.size}",
                got=f"{', '.join(getattr(task, 'class_names', None) or ())[:200]} and {task.frame}",
                fix="parse the video with the classes and the size of the task",
            )
        if setup.length <= self.frames:
            raise InvalidInputError(
                f"labelled samples before the {self.frames} frames", got=f"{setup.length} samples", fix=_FIT
            )

    def in_step(self, model: nn.Module, batch: Batch) -> tuple[Any, Batch]:
        """Run the model on a batch; before the first generation frames have their probabilities alone."""
        if batch.evidence is None:
            batch = self._with_probs(batch)
        return super().in_step(model, batch)

    def at_cycle_end(self, end: CycleEnd) -> Metrics | None:
        """Predict the labelled samples, and publish the next generation."""
        return super().at_cycle_end(_Taught(end, self))

    def _with_probs(self, batch: Batch) -> Batch:
        first = self.setup.length - self.frames
        rows = [(row, index - first) for row, index in enumerate(batch.index.tolist()) if index >= first]
        if not rows:
            return batch
        for row, frame in rows:
            if (batch.given[row] < self.setup.task.num_classes).any():
                raise InvalidInputError(
                    f"the last {self.frames} samples without a mask", got=f"one at {first + frame}", fix=_FIT
                )
        known = torch.stack([self._probs(frame) for _, frame in rows])
        evidence = torch.full((len(batch), *known.shape[1:]), 1 / known.shape[1], dtype=torch.float32)
        evidence[[row for row, _ in rows]] = known
        weight = torch.ones(len(batch), dtype=torch.float32)
        weight[[row for row, _ in rows]] = 0.0
        task: Any = self.setup.task
        code = torch.from_numpy(CODECS[task.codec].encode(evidence)).to(batch.given.device)
        trust = dataclasses.replace(batch.trust, weight=weight.to(batch.given.device))
        return dataclasses.replace(batch, evidence=code, trust=trust)

    def _probs(self, frame: int) -> Tensor:
        return torch.from_numpy(self.source.network_probs(frame)).float()

    def replaced(self, predictions: Predictions) -> Predictions:
        """Yield predictions in which those of the frames are the video's."""
        first = self.setup.length - self.frames
        for index, given, probs in predictions:
            for row, position in enumerate(index.tolist()):
                if position >= first:
                    found = F.interpolate(self._probs(position - first)[None], probs.shape[2:], mode="area")[0]
                    probs[row] = found.to(probs)
            yield index, given, probs


_FIT = "pass the frames as fit(train, unlabeled=source)"


class _Taught:
    """The end of a cycle whose predictions of frames are those of a video: a `CycleEnd`."""

    def __init__(self, end: CycleEnd, correction: SoftPseudoMasks) -> None:
        self._end, self._correction = end, correction
        self.store, self.stopped, self.task, self.cycle = end.store, end.stopped, end.task, end.cycle

    def predictions(self) -> Predictions:
        """Yield predictions, those of the frames as they were found."""
        return self._correction.replaced(self._end.predictions())

    def shard(self) -> Iterator[Tensor]:
        """Yield the positions of this rank's shard."""
        return self._end.shard()
