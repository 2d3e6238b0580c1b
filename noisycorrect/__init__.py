"""noisycorrect: training on labels you cannot trust.

Model and labels clean each other: :class:`SelfCorrector` runs the whole loop of Li et al., "Self-Correction for Human
Parsing", in the paper's way or, with ``preset="robust"``, in one made for many wrong labels; :func:`fit_baseline`
trains other methods of learning with label noise alike. The owner of a loop can use :class:`CyclicalLR`,
:class:`WeightAggregator`, :func:`recalibrate_batchnorm` and :class:`SoftLabelStore` alone.
"""

from noisycorrect.baselines import BASELINES, fit_baseline
from noisycorrect.classification import noise
from noisycorrect.classification.task import Classification
from noisycorrect.correction.cross_fitting import CrossFitting
from noisycorrect.correction.online import OnlineCorrection
from noisycorrect.corrector import SelfCorrector
from noisycorrect.cycle.aggregate import WeightAggregator
from noisycorrect.cycle.recalibrate import recalibrate_batchnorm
from noisycorrect.cycle.schedule import CyclicalLR, Schedule
from noisycorrect.labels import SoftLabelStore
from noisycorrect.objective import Objective
from noisycorrect.result import CorrectionResult
from noisycorrect.review.issues import LabelIssue, find_label_issues
from noisycorrect.review.noise_rate import NoiseEstimate
from noisycorrect.support.errors import NoisyCorrectError
from noisycorrect.task import Task

__version__ = "0.1.0"

__all__ = [
    "BASELINES",
    "Classification",
    "CorrectionResult",
    "CrossFitting",
    "CyclicalLR",
    "LabelIssue",
    "NoiseEstimate",
    "NoisyCorrectError",
    "Objective",
    "OnlineCorrection",
    "Schedule",
    "SelfCorrector",
    "SoftLabelStore",
    "Task",
    "WeightAggregator",
    "find_label_issues",
    "fit_baseline",
    "noise",
    "recalibrate_batchnorm",
]
