"""A small detector of people, trained on scenes with instance maps."""

from noisycorrect_seg.detection.detector import PersonDetector
from noisycorrect_seg.detection.training import train_detector

__all__ = ["PersonDetector", "train_detector"]
