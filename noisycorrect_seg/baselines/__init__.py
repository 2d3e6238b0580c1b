"""Baselines of parsing with noisy masks, as objectives of :class:`noisycorrect.SelfCorrector`."""

from noisycorrect_seg.baselines.adele import AdaptiveEarlyLearning
from noisycorrect_seg.baselines.elr import PixelEarlyLearning

__all__ = ["AdaptiveEarlyLearning", "PixelEarlyLearning"]
