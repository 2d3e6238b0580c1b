"""The methods of the literature for class labels, as recipes."""

from __future__ import annotations

from noisycorrect.classification.methods.coteaching import CoTeaching
from noisycorrect.classification.methods.dividemix import DivideMix
from noisycorrect.classification.methods.early_learning import EarlyLearningRegularization
from noisycorrect.classification.methods.interpolation import Mixup
from noisycorrect.classification.methods.over_parameterization import SparseOverParameterization
from noisycorrect.classification.methods.robust_losses import GeneralizedCrossEntropy, SymmetricCrossEntropy
from noisycorrect.classification.methods.targets import Bootstrap, LabelSmoothing
from noisycorrect.classification.methods.transition import ForwardCorrection
from noisycorrect.cycle.averages import EveryStep
from noisycorrect.objective import Objective
from noisycorrect.recipe import PLAIN, RECIPES

BOOTSTRAPPING = "Reed et al. 2015, Training Deep Neural Networks on Noisy Labels with Bootstrapping, arXiv:1412.6596"
# Name, objective with its published parameters, and where it is published.
METHODS: tuple[tuple[str, Objective, str], ...] = (
    ("ls", LabelSmoothing(), "Szegedy et al. 2016, Rethinking the Inception Architecture, arXiv:1512.00567"),
    ("mixup", Mixup(), "Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization, arXiv:1710.09412"),
    ("gce", GeneralizedCrossEntropy(), "Zhang and Sabuncu 2018, Generalized Cross Entropy Loss, arXiv:1805.07836"),
    ("sce", SymmetricCrossEntropy(), "Wang et al. 2019, Symmetric Cross Entropy, arXiv:1908.06112"),
    ("bootstrap-soft", Bootstrap("soft"), BOOTSTRAPPING),
    ("bootstrap-hard", Bootstrap("hard"), BOOTSTRAPPING),
    ("forward", ForwardCorrection(), "Patrini et al. 2017, a Loss Correction Approach, arXiv:1609.03683"),
    (
        "elr",
        EarlyLearningRegularization(),
        "Liu et al. 2020, Early-Learning Regularization Prevents Memorization of Noisy Labels, arXiv:2007.00151",
    ),
    (
        "sop",
        SparseOverParameterization(),
        "Liu et al. 2022, Robust Training under Label Noise by Over-parameterization, arXiv:2202.14026",
    ),
    (
        "coteaching",
        CoTeaching(),  # the noise rate is the user's to know
        "Han et al. 2018, Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels, "
        "arXiv:1804.06872",
    ),
    (
        "dividemix",
        DivideMix(),
        "Li et al. 2020, DivideMix: Learning with Noisy Labels as Semi-supervised Learning, arXiv:2002.07394",
    ),
)
CLASSIFICATION = PLAIN.replace(kinds=("classification",))

for _name, _objective, _reference in METHODS:
    RECIPES.register(_name, CLASSIFICATION.replace(objective=_objective, reference=_reference))
RECIPES.register(
    "ce-wa-aug",
    CLASSIFICATION.replace(
        average=EveryStep(),
        weight_decay=1e-3,
        needs_augment=True,
        reference="Kang et al. 2023, Unleashing the Potential of Regularization Strategies in Learning with Noisy "
        "Labels, arXiv:2307.05025",
    ),
)
