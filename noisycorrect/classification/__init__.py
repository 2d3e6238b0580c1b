"""Classification: the task, noise models for class labels, and the methods of the literature."""

from noisycorrect.classification.methods import (
    Bootstrap,
    CoTeaching,
    DivideMix,
    EarlyLearningRegularization,
    ForwardCorrection,
    GeneralizedCrossEntropy,
    LabelSmoothing,
    Mixup,
    SparseOverParameterization,
    SymmetricCrossEntropy,
)
from noisycorrect.classification.task import Classification
from noisycorrect.correction.twin import TwinNetworks
from noisycorrect.task import TASKS

__all__ = [
    "Bootstrap",
    "Classification",
    "CoTeaching",
    "DivideMix",
    "EarlyLearningRegularization",
    "ForwardCorrection",
    "GeneralizedCrossEntropy",
    "LabelSmoothing",
    "Mixup",
    "SparseOverParameterization",
    "SymmetricCrossEntropy",
    "TwinNetworks",
]

TASKS.register("classification", Classification)
