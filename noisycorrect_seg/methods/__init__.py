"""Baselines of parsing with noisy masks, as objectives of :class:`noisycorrect.SelfCorrector`."""

from noisycorrect_seg.methods import recipes  # noqa: F401 - registers them
from noisycorrect_seg.methods.adele import AdaptiveEarlyLearning
from noisycorrect_seg.methods.elr import PixelEarlyLearning

__all__ = ["AdaptiveEarlyLearning", "PixelEarlyLearning"]
