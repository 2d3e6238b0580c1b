"""noisycorrect: training on labels you cannot trust.

Model and labels clean each other: :class:`SelfCorrector` runs the whole loop of Li et al., "Self-Correction for Human
Parsing"; the owner of a training loop can use :class:`CyclicalLR`, :class:`WeightAggregator`,
:func:`recalibrate_batchnorm` and :class:`SoftLabelStore` alone.
"""

from noisycorrect.aggregate import WeightAggregator
from noisycorrect.classification import noise
from noisycorrect.classification.task import Classification
from noisycorrect.corrector import SelfCorrector
from noisycorrect.errors import NoisyCorrectError
from noisycorrect.issues import LabelIssue, find_label_issues
from noisycorrect.labels import SoftLabelStore
from noisycorrect.recalibrate import recalibrate_batchnorm
from noisycorrect.result import CorrectionResult
from noisycorrect.schedule import CyclicalLR, Schedule
from noisycorrect.task import Task

__version__ = "0.1.0"

__all__ = [
    "Classification",
    "CorrectionResult",
    "CyclicalLR",
    "LabelIssue",
    "NoisyCorrectError",
    "Schedule",
    "SelfCorrector",
    "SoftLabelStore",
    "Task",
    "WeightAggregator",
    "find_label_issues",
    "noise",
    "recalibrate_batchnorm",
]
