"""The robust recipe for class labels: evidence of every step, for labels of which many may be wrong."""

from __future__ import annotations

from noisycorrect.correction.online import OnlineCorrection
from noisycorrect.cycle.averages import EveryStep
from noisycorrect.cycle.rates import OneCosine
from noisycorrect.cycle.schedule import Shares
from noisycorrect.objective import EarlyLearning
from noisycorrect.recipe import Recipe, register_recipe

# Chosen on development seeds: docs/robust.md.
register_recipe(
    "robust",
    Recipe(
        schedule=Shares(init_share=0.1),
        rates=OneCosine(),
        average=EveryStep(),
        correction=OnlineCorrection(),
        objective=EarlyLearning(),
        lr=0.05,
        batch_size=64,
        kinds=("classification",),
        reference="noisycorrect: evidence of every step, trust relative to the class, early learning by certainty",
    ),
)
