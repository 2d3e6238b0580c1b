"""Methods of parsing with noisy masks, as objectives and recipes of :class:`noisycorrect.SelfCorrector`."""

from noisycorrect.support.register import import_folder
from noisycorrect_seg.methods.abstention import AbstainingLoss
from noisycorrect_seg.methods.adele import AdaptiveEarlyLearning
from noisycorrect_seg.methods.elr import PixelEarlyLearning
from noisycorrect_seg.methods.gathered import GatheredObjectCorrection
from noisycorrect_seg.methods.objects import ObjectCorrection

__all__ = [
    "AbstainingLoss",
    "AdaptiveEarlyLearning",
    "GatheredObjectCorrection",
    "ObjectCorrection",
    "PixelEarlyLearning",
]

import_folder(__name__, __path__)
