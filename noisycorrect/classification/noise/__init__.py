"""Noise models for class labels: wrong labels out of right ones, reproducibly, and which ones they are.

Every model is called alike, `model.apply(labels, num_classes=, seed=, inputs=None)`, and returns `NoisyLabels`;
`parse("symmetric:0.4")` builds one from its spelling.
"""

from noisycorrect.classification.noise.base import MODELS, NoiseModel, NoisyLabels, realised_transition, register
from noisycorrect.classification.noise.class_conditional import ClassConditional
from noisycorrect.classification.noise.clusters import Clusters
from noisycorrect.classification.noise.feature import FeatureDependent
from noisycorrect.classification.noise.human import Human
from noisycorrect.classification.noise.instance import InstanceDependent
from noisycorrect.classification.noise.open_set import OpenSet
from noisycorrect.classification.noise.parse import parse
from noisycorrect.classification.noise.projection import instance_transition_probs, instance_weights
from noisycorrect.classification.noise.transition import CIFAR10_ASYMMETRIC, Asymmetric, NoNoise, PairFlip, Symmetric
from noisycorrect.support.door import guard
from noisycorrect.support.register import import_folder

__all__ = [
    "CIFAR10_ASYMMETRIC",
    "MODELS",
    "Asymmetric",
    "ClassConditional",
    "Clusters",
    "FeatureDependent",
    "Human",
    "InstanceDependent",
    "NoNoise",
    "NoiseModel",
    "NoisyLabels",
    "OpenSet",
    "PairFlip",
    "Symmetric",
    "instance_transition_probs",
    "instance_weights",
    "parse",
    "realised_transition",
    "register",
]

import_folder(__name__, __path__)
for _model in MODELS.loaded().values():
    guard(_model)
del _model
