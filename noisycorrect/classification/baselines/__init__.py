"""Baselines of label-noise learning as objectives of a :class:`~noisycorrect.SelfCorrector`."""

from noisycorrect.classification.baselines.coteaching import CoTeaching
from noisycorrect.classification.baselines.dividemix import DivideMix
from noisycorrect.classification.baselines.early_learning import EarlyLearningRegularization
from noisycorrect.classification.baselines.interpolation import Mixup
from noisycorrect.classification.baselines.over_parameterization import SparseOverParameterization
from noisycorrect.classification.baselines.robust_losses import GeneralizedCrossEntropy, SymmetricCrossEntropy
from noisycorrect.classification.baselines.targets import Bootstrap, LabelSmoothing
from noisycorrect.classification.baselines.transition import ForwardCorrection
from noisycorrect.classification.baselines.twin import TwinNetworks

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
