"""Masks of unlabelled frames as training data: what a parsed video teaches a model about its own scenes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.datasets.class_file import write_classes
from noisycorrect_seg.inference.visualise import save_mask, save_picture
from noisycorrect_seg.masks import ignore_index, mask_dtype
from noisycorrect_seg.video.folder import IMAGES, ParsedVideo


class PseudoMasks:
    """Frames of a parsed video with the masks that were found in them: a `ParsingSource`.

    Parameters
    ----------
    parsed : ParsedVideo
        With its frames; with its probabilities, too, if there is a threshold.
    frames : sequence of int
        Which of them.
    confidence : float
        Pixels whose averaged probability is below are 255 (65535 of more than 255 classes): nothing is learnt from
        them.

    Attributes
    ----------
    classes : Classes
        The classes.
    """

    def __init__(self, parsed: ParsedVideo, frames: Sequence[int], confidence: float) -> None:
        self.parsed, self.frames, self.confidence = parsed, list(frames), confidence
        self.classes = parsed.classes

    def __len__(self) -> int:
        return len(self.frames)

    def image(self, index: int) -> np.ndarray:
        """Return a frame, RGB uint8 (H, W, 3)."""
        return self.parsed.image(self.frames[index])

    def mask(self, index: int) -> np.ndarray:
        """Return its pseudo-mask, uint8 (H, W), 255 where the model is not sure (uint16, 65535 of more classes)."""
        if not self.confidence:
            return self.parsed.mask(self.frames[index])
        parsing = self.parsed[self.frames[index]]
        assert parsing.probs is not None
        unsure = parsing.probs.max(0) < self.confidence
        number = len(self.classes)
        return np.where(unsure, ignore_index(number), parsing.labels).astype(mask_dtype(number))

    def probs(self, index: int) -> np.ndarray:
        """Return its soft mask, float32 (K, H, W).

        Raises
        ------
        InvalidInputError
            If the probabilities were not kept.
        """
        probs = self.parsed[self.frames[index]].probs
        if probs is None:
            raise _no_probs(self.parsed)
        return probs

    def network_probs(self, index: int) -> np.ndarray:
        """Return its soft mask in the network's frame, float16 (K, h, w).

        Raises
        ------
        InvalidInputError
            If the probabilities were not kept.
        """
        probs = self.parsed.network_probs(self.frames[index])
        if probs is None:
            raise _no_probs(self.parsed)
        return probs

    def name(self, index: int) -> str:
        """Return the frame's name: the folder's, and its number."""
        return f"{self.parsed.folder.name}-{self.frames[index]:06d}"

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write images, masks and classes as :class:`~noisycorrect_seg.Folder` reads them; return the folder."""
        home = Path(folder)
        for kind in ("images", "masks"):
            (home / kind).mkdir(parents=True, exist_ok=True)
        from PIL import Image

        for index in range(len(self)):
            save_picture(home / "images" / f"{self.name(index)}.png", Image.fromarray(self.image(index)), "PNG")
            save_mask(home / "masks" / f"{self.name(index)}.png", self.mask(index), self.classes)
        write_classes(home, self.classes)
        return home


@door(own=True)
def pseudo_masks(parsed: ParsedVideo, *, confidence: float = 0.0, every: int = 1) -> PseudoMasks:
    """Return the frames of a parsed video as a source of training data, labelled by what was found in them.

    Averages over frames are right more often than each prediction; a model that is trained on them learns the video's
    own scenes without a label (transduction). :class:`~noisycorrect.SelfCorrector` treats them as labels that may be
    wrong.

    Parameters
    ----------
    parsed : ParsedVideo
        Of ``parse_video(..., images=True)``; for a threshold of ``parse_video(..., images=True, probs=True)``.
    confidence : float
        In [0, 1). Pixels whose averaged probability is below are 255 (65535 of more than 255 classes), of which nothing
        is learnt.
    every : int
        Take every so many frames; neighbours are nearly the same.

    Raises
    ------
    InvalidInputError
        If frames or probabilities were not kept, there is no frame, or an argument is out of range.

    Examples
    --------
    >>> import tempfile
    >>> from torch import nn
    >>> from noisycorrect_seg.video.parse import parse_video
    >>> frames = np.random.default_rng(0).integers(0, 256, (5, 30, 40, 3), np.uint8)
    >>> options = {"classes": ["dark", "bright"], "size": (32, 32), "window": 1, "images": True, "probs": True}
    >>> source = pseudo_masks(parse_video(nn.Conv2d(3, 2, 1), frames, tempfile.mkdtemp(), **options), every=2)
    >>> len(source), source.image(0).shape, source.mask(0).shape, source.probs(0).shape
    (3, (30, 40, 3), (30, 40), (2, 30, 40))
    """
    if not 0 <= finite_number("confidence", confidence, fix="0.8 is common") < 1:
        raise InvalidInputError("0 <= confidence < 1", got=repr(confidence), fix="0.8 is common")
    frames = range(0, len(parsed), whole_number("every", every, least=1))
    if not frames:
        raise InvalidInputError("a parsed video with frames", got=repr(parsed), fix="let parse_video finish")
    if not (parsed.folder / IMAGES).is_dir():
        raise InvalidInputError("kept frames", got=f"none in {parsed.folder}", fix="parse_video(..., images=True)")
    if confidence and parsed.network_probs(0) is None:
        raise _no_probs(parsed)
    return PseudoMasks(parsed, frames, float(confidence))


def _no_probs(parsed: ParsedVideo) -> InvalidInputError:
    return InvalidInputError("kept probabilities", got=f"none in {parsed.folder}", fix="parse_video(..., probs=True)")
