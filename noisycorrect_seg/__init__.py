"""noisycorrect_seg: segmentation on masks you cannot trust, with A-CE2P human parsing as the flagship.

:class:`HumanParsing` is the task for :class:`noisycorrect.SelfCorrector`, :class:`ACE2P` the network,
:class:`ParsingDataset` the training crops of LIP, Pascal-Person-Part, ATR, CIHP, CCP, a folder of your own, or the
drawn people that come with the package (:mod:`noisycorrect_seg.datasets`); :func:`parse_image` parses whole images, and
:mod:`noisycorrect_seg.noise` makes wrong masks out of right ones.
"""

from noisycorrect.support.door import guard
from noisycorrect_seg import datasets, noise
from noisycorrect_seg.ace2p import ACE2P, CE2P, ParsingNetwork, load_imagenet
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.datasets import Folder, ParsingDataset, SyntheticPeople
from noisycorrect_seg.deploy import OnnxNetwork, quantize_onnx
from noisycorrect_seg.export import export_onnx, export_program
from noisycorrect_seg.inference import Parsing, evaluate_source, parse_folder, parse_image
from noisycorrect_seg.losses import (
    ParsingLoss,
    balanced_edge_loss,
    consistency_loss,
    cross_entropy,
    edge_targets,
    lovasz_softmax,
    soft_edges,
)
from noisycorrect_seg.methods import AdaptiveEarlyLearning, ObjectCorrection, PixelEarlyLearning
from noisycorrect_seg.outputs import ParsingOutput
from noisycorrect_seg.scores import SegmentationMetrics
from noisycorrect_seg.task import HumanParsing

__all__ = [
    "ACE2P",
    "CE2P",
    "AdaptiveEarlyLearning",
    "Classes",
    "Folder",
    "HumanParsing",
    "ObjectCorrection",
    "OnnxNetwork",
    "Parsing",
    "ParsingDataset",
    "ParsingLoss",
    "ParsingNetwork",
    "ParsingOutput",
    "PixelEarlyLearning",
    "SegmentationMetrics",
    "SyntheticPeople",
    "balanced_edge_loss",
    "classes_named",
    "consistency_loss",
    "cross_entropy",
    "datasets",
    "edge_targets",
    "evaluate_source",
    "export_onnx",
    "export_program",
    "load_imagenet",
    "lovasz_softmax",
    "noise",
    "parse_folder",
    "parse_image",
    "quantize_onnx",
    "soft_edges",
]

# See noisycorrect.
for _made in (
    ACE2P, AdaptiveEarlyLearning, Classes, Folder, HumanParsing, ObjectCorrection, OnnxNetwork, ParsingDataset,
    ParsingLoss, PixelEarlyLearning, SegmentationMetrics, SyntheticPeople,
):  # fmt: skip
    guard(_made)
del _made
