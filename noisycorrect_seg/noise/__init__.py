"""Noise models for masks: wrong masks out of right ones, reproducibly, and which pixels are wrong.

Every model is called alike, `model.apply(masks, classes=, seed=)`, and returns `NoisyMasks`; `model.apply_one` makes
one mask at a time. `parse("boundary:3+swap:0.2")` builds a model from its spelling, `realistic()` a mixture of all.
"""

from noisycorrect.support.door import guard
from noisycorrect.support.register import import_folder
from noisycorrect_seg.noise.annotators import Annotators
from noisycorrect_seg.noise.base import MODELS, MaskNoise, NoisyMasks, register
from noisycorrect_seg.noise.boundary import Boundary, MarkovBoundary, move_borders
from noisycorrect_seg.noise.compose import Compose, NoNoise
from noisycorrect_seg.noise.omission import DroppedPart, OmittedClass
from noisycorrect_seg.noise.parse import parse, realistic
from noisycorrect_seg.noise.semantic import (
    CONFUSED,
    ONE_WAY,
    Confusion,
    LeftRightSwap,
    MatrixConfusion,
    confused_pairs,
)
from noisycorrect_seg.noise.shapes import CoarsePolygon, PartAffine, Superpixel

__all__ = [
    "CONFUSED",
    "MODELS",
    "ONE_WAY",
    "Annotators",
    "Boundary",
    "CoarsePolygon",
    "Compose",
    "Confusion",
    "DroppedPart",
    "LeftRightSwap",
    "MarkovBoundary",
    "MaskNoise",
    "MatrixConfusion",
    "NoNoise",
    "NoisyMasks",
    "OmittedClass",
    "PartAffine",
    "Superpixel",
    "confused_pairs",
    "move_borders",
    "parse",
    "realistic",
    "register",
]

import_folder(__name__, __path__)
for _model in MODELS.loaded().values():
    guard(_model)
guard(Compose)
del _model
