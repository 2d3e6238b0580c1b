"""Methods of the literature for class labels: objectives of a :class:`~noisycorrect.Recipe`."""

from noisycorrect.classification.methods.coteaching import CoTeaching
from noisycorrect.classification.methods.dividemix import DivideMix
from noisycorrect.classification.methods.early_learning import EarlyLearningRegularization
from noisycorrect.classification.methods.interpolation import Mixup
from noisycorrect.classification.methods.over_parameterization import SparseOverParameterization
from noisycorrect.classification.methods.robust_losses import GeneralizedCrossEntropy, SymmetricCrossEntropy
from noisycorrect.classification.methods.targets import Bootstrap, LabelSmoothing
from noisycorrect.classification.methods.transition import ForwardCorrection
from noisycorrect.support.register import import_folder

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
]

import_folder(__name__, __path__)
