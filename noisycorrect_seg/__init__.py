"""noisycorrect_seg: segmentation on masks you cannot trust, with A-CE2P human parsing as the flagship.

:class:`HumanParsing` is the task for :class:`noisycorrect.SelfCorrector`, :class:`ACE2P` the network,
:class:`ParsingDataset` the training crops of LIP, Pascal-Person-Part, ATR, CIHP, CCP, a folder of your own, or the
drawn people that come with the package (:mod:`noisycorrect_seg.datasets`); :func:`parse_image` parses whole images,
:func:`parse_people` those of several people, and :mod:`noisycorrect_seg.noise` makes wrong masks out of right ones.
"""

from noisycorrect.support.door import guard
from noisycorrect_seg import datasets, noise
from noisycorrect_seg.ace2p import ACE2P, CE2P, ParsingNetwork, load_imagenet
from noisycorrect_seg.class_maps import ClassMap, Translation, class_map, translate
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.datasets import (
    Folder,
    ParsingDataset,
    PersonCrops,
    SyntheticPeople,
    SyntheticScenes,
    Tiles,
    put_back,
)
from noisycorrect_seg.deploy import OnnxNetwork, quantize_onnx
from noisycorrect_seg.detection import PersonDetector, train_detector
from noisycorrect_seg.export import export_onnx, export_program
from noisycorrect_seg.inference import (
    Parsing,
    PeopleParsing,
    Person,
    evaluate_source,
    parse_folder,
    parse_image,
    parse_people,
    parse_scene,
)
from noisycorrect_seg.inputs import Normalisation
from noisycorrect_seg.instances import PeopleMetrics
from noisycorrect_seg.losses import (
    ParsingLoss,
    balanced_edge_loss,
    consistency_loss,
    cross_entropy,
    edge_targets,
    lovasz_softmax,
    soft_edges,
)
from noisycorrect_seg.methods import (
    AbstainingLoss,
    AdaptiveEarlyLearning,
    GatheredObjectCorrection,
    ObjectCorrection,
    PixelEarlyLearning,
)
from noisycorrect_seg.outputs import ParsingOutput
from noisycorrect_seg.scores import SegmentationMetrics
from noisycorrect_seg.task import HumanParsing, Segmentation
from noisycorrect_seg.tryon import Agnostic, CutOut, agnostic_mask, cut_out
from noisycorrect_seg.video import ParsedVideo, SoftPseudoMasks, parse_frames, parse_video, pseudo_masks

__all__ = [
    "ACE2P",
    "CE2P",
    "AbstainingLoss",
    "AdaptiveEarlyLearning",
    "Agnostic",
    "ClassMap",
    "Classes",
    "CutOut",
    "Folder",
    "GatheredObjectCorrection",
    "HumanParsing",
    "Normalisation",
    "ObjectCorrection",
    "OnnxNetwork",
    "ParsedVideo",
    "Parsing",
    "ParsingDataset",
    "ParsingLoss",
    "ParsingNetwork",
    "ParsingOutput",
    "PeopleMetrics",
    "PeopleParsing",
    "Person",
    "PersonCrops",
    "PersonDetector",
    "PixelEarlyLearning",
    "Segmentation",
    "SegmentationMetrics",
    "SoftPseudoMasks",
    "SyntheticPeople",
    "SyntheticScenes",
    "Tiles",
    "Translation",
    "agnostic_mask",
    "balanced_edge_loss",
    "class_map",
    "classes_named",
    "consistency_loss",
    "cross_entropy",
    "cut_out",
    "datasets",
    "edge_targets",
    "evaluate_source",
    "export_onnx",
    "export_program",
    "load_imagenet",
    "lovasz_softmax",
    "noise",
    "parse_folder",
    "parse_frames",
    "parse_image",
    "parse_people",
    "parse_scene",
    "parse_video",
    "pseudo_masks",
    "put_back",
    "quantize_onnx",
    "soft_edges",
    "train_detector",
    "translate",
]

# See noisycorrect.
for _made in (
    ACE2P, AbstainingLoss, AdaptiveEarlyLearning, ClassMap, Classes, Folder, GatheredObjectCorrection, HumanParsing,
    Normalisation, ObjectCorrection, OnnxNetwork, ParsingDataset, ParsingLoss, PeopleMetrics, PersonCrops,
    PersonDetector, PixelEarlyLearning, Segmentation, SegmentationMetrics, SoftPseudoMasks, SyntheticPeople,
    SyntheticScenes, Tiles,
):  # fmt: skip
    guard(_made)
del _made
