"""Classification: the task, noise models for class labels, and baselines of label-noise learning."""

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
    TwinNetworks,
)

__all__ = [
    "Bootstrap",
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
