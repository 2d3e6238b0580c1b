"""The robust recipe for class labels: correction that begins with the neighbours, for labels that may be wrong."""

from __future__ import annotations

from noisycorrect.correction.neighbor_correction import NeighborCorrection
from noisycorrect.cycle.averages import EveryStep
from noisycorrect.cycle.rates import OneCosine
from noisycorrect.cycle.schedule import Shares
from noisycorrect.objective import EarlyLearning
from noisycorrect.recipe import RECIPES, Recipe, register_recipe

# Chosen on the arena's development half: docs/robust.md.
register_recipe(
    "robust",
    Recipe(
        schedule=Shares(init_share=0.1),
        rates=OneCosine(),
        average=EveryStep(),
        correction=NeighborCorrection(),
        objective=EarlyLearning(1.5),
        standardize="auto",
        class_weight="balanced",
        lr=0.05,
        batch_size=64,
        kinds=("classification",),
        reference="noisycorrect: neighbours say what to doubt; evidence of every step, early learning as it is earned",
    ),
)
RECIPES.defaults["classification"] = "robust"
