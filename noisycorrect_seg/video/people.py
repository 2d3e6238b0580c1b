"""Who is where in the frames of a video, found by a detector and parsed person by person."""

from __future__ import annotations

import numpy as np
from torch import nn

from noisycorrect_seg.detection import PersonDetector
from noisycorrect_seg.inference.parse import Recipe
from noisycorrect_seg.inference.people import parse_people
from noisycorrect_seg.inference.people_folder import HowPeople
from noisycorrect_seg.video.folder import digest_of


class PeopleOfFrames:
    """Says who is where in a frame, as :func:`~noisycorrect_seg.video.parse_video` asks: a detector's people, parsed.

    Parameters
    ----------
    model, recipe, device, precision
        As for :func:`~noisycorrect_seg.inference.people_folder.parse_people_files`.
    how : HowPeople
        With a detector of ours.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, how: HowPeople, device: str, precision: str) -> None:
        self.model, self.recipe, self.how = model, recipe, how
        self.device, self.precision = device, precision
        assert isinstance(how.detector, PersonDetector)
        # What a video that is resumed compares: another detector finds other people.
        self.digest = f"{digest_of(how.detector)} {how.detector.config} {how.options()}"

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return whose each pixel is, int32 (H, W)."""
        return parse_people(
            self.model,
            frame,
            detector=self.how.detector,
            **self.recipe.arguments(),
            device=self.device,
            precision=self.precision,
            **self.how.options(),
        ).instances
