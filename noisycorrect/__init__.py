"""noisycorrect: training on labels you cannot trust.

Model and labels clean each other: :class:`SelfCorrector` runs the whole loop of Li et al., "Self-Correction for Human
Parsing", by a recipe: the paper's, one made for many wrong labels, or a published method of learning with label noise
(:data:`RECIPES`). The owner of a loop can use :class:`CyclicalLR`, :class:`WeightAggregator`,
:func:`recalibrate_batchnorm` and :class:`SoftLabelStore` alone.
"""

import importlib
from typing import TYPE_CHECKING, Any

from noisycorrect.callbacks import Callback, CSVLog, EarlyStopping, Progress, RecordLog, TensorBoard
from noisycorrect.classification import Classification, noise
from noisycorrect.classification.methods.prune_retrain import prune_retrain
from noisycorrect.classification.votes import VotesResult, fit_votes
from noisycorrect.correction.base import Correction
from noisycorrect.correction.cross_fitting import CrossFitting
from noisycorrect.correction.cycle_end import AtCycleEnd
from noisycorrect.correction.neighbor_correction import NeighborCorrection
from noisycorrect.correction.online import OnlineCorrection
from noisycorrect.correction.votes import VoteCorrection
from noisycorrect.corrector import SelfCorrector
from noisycorrect.cycle.aggregate import WeightAggregator
from noisycorrect.cycle.averages import AtCycleEnds, EveryStep, Recalibration
from noisycorrect.cycle.rates import CosineCycles, OneCosine
from noisycorrect.cycle.recalibrate import recalibrate_batchnorm
from noisycorrect.cycle.schedule import CyclicalLR, EpochCycles, OnePhase, Schedule, Shares
from noisycorrect.data.consensus import Consensus, dawid_skene
from noisycorrect.data.refined import RefinedDataset
from noisycorrect.data.votes import Votes
from noisycorrect.features.evidence import FeatureEvidence, evidence_from_features
from noisycorrect.labels import SoftLabelStore
from noisycorrect.multilabel import MultiLabel
from noisycorrect.objective import EarlyLearning, Objective, TaskLoss
from noisycorrect.recipe import RECIPES, Recipe, register_recipe
from noisycorrect.result import CorrectionResult
from noisycorrect.review.issues import LabelIssue, find_label_issues
from noisycorrect.review.noise_estimate import NoiseEstimate
from noisycorrect.support.door import guard
from noisycorrect.support.errors import (
    ArgumentError,
    CheckpointError,
    InvalidInputError,
    NoisyCorrectError,
    NonFiniteLossError,
    RunInUseError,
    StoreError,
    TrainingWarning,
)
from noisycorrect.task import Task
from noisycorrect.tokens import TokenLabeling

if TYPE_CHECKING:
    from noisycorrect.integrations.sklearn import SelfCorrectingClassifier

__version__ = "0.2.0.dev0"

__all__ = [
    "RECIPES",
    "ArgumentError",
    "AtCycleEnd",
    "AtCycleEnds",
    "CSVLog",
    "Callback",
    "CheckpointError",
    "Classification",
    "Consensus",
    "Correction",
    "CorrectionResult",
    "CosineCycles",
    "CrossFitting",
    "CyclicalLR",
    "EarlyLearning",
    "EarlyStopping",
    "EpochCycles",
    "EveryStep",
    "FeatureEvidence",
    "InvalidInputError",
    "LabelIssue",
    "MultiLabel",
    "NeighborCorrection",
    "NoiseEstimate",
    "NoisyCorrectError",
    "NonFiniteLossError",
    "Objective",
    "OneCosine",
    "OnePhase",
    "OnlineCorrection",
    "Progress",
    "Recalibration",
    "Recipe",
    "RecordLog",
    "RefinedDataset",
    "RunInUseError",
    "Schedule",
    "SelfCorrectingClassifier",
    "SelfCorrector",
    "Shares",
    "SoftLabelStore",
    "StoreError",
    "Task",
    "TaskLoss",
    "TensorBoard",
    "TokenLabeling",
    "TrainingWarning",
    "VoteCorrection",
    "Votes",
    "VotesResult",
    "WeightAggregator",
    "dawid_skene",
    "evidence_from_features",
    "find_label_issues",
    "fit_votes",
    "noise",
    "prune_retrain",
    "recalibrate_batchnorm",
    "register_recipe",
]

# Their constructors are doors: a wrong argument is one clear error, and an unknown one gets the nearest name.
for _made in (
    AtCycleEnd, AtCycleEnds, CSVLog, Classification, CosineCycles, CrossFitting, CyclicalLR, EarlyLearning,
    EarlyStopping, EpochCycles, EveryStep, MultiLabel, NeighborCorrection, OneCosine, OnePhase, OnlineCorrection,
    Progress, Recalibration, Recipe, RecordLog, RefinedDataset, Schedule, SelfCorrector, Shares, SoftLabelStore,
    TensorBoard, TokenLabeling, VoteCorrection, Votes, WeightAggregator,
):  # fmt: skip
    guard(_made)
del _made

# Imported when they are asked for: scikit-learn alone takes longer to import than all of this.
_LATE = {"SelfCorrectingClassifier": "noisycorrect.integrations.sklearn"}


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
