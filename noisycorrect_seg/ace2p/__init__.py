"""A-CE2P: the network, its parts, its predecessors, and the weights of others that it takes."""

from noisycorrect.support.register import import_folder
from noisycorrect_seg.ace2p.backbones import BACKBONES, FeatureMaps, make_backbone, resnet_maps
from noisycorrect_seg.ace2p.configurations import CE2P, ParsingNetwork
from noisycorrect_seg.ace2p.context import CONTEXTS, make_context
from noisycorrect_seg.ace2p.efficientnet import EfficientNetLite
from noisycorrect_seg.ace2p.imagenet import load_imagenet
from noisycorrect_seg.ace2p.mobilenet import MobileNetV2
from noisycorrect_seg.ace2p.network import ACE2P
from noisycorrect_seg.ace2p.official import load_official, official_state
from noisycorrect_seg.ace2p.resnet import ResNet

__all__ = [
    "ACE2P",
    "BACKBONES",
    "CE2P",
    "CONTEXTS",
    "EfficientNetLite",
    "FeatureMaps",
    "MobileNetV2",
    "ParsingNetwork",
    "ResNet",
    "load_imagenet",
    "load_official",
    "make_backbone",
    "make_context",
    "official_state",
    "resnet_maps",
]

import_folder(__name__, __path__)
