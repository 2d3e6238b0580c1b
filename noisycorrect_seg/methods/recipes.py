"""Recipes for masks: the robust one, and plain training, which methods of the literature start from."""

from __future__ import annotations

from noisycorrect.correction.cycle_end import AtCycleEnd
from noisycorrect.cycle.averages import EveryStep
from noisycorrect.cycle.rates import OneCosine
from noisycorrect.cycle.schedule import Shares
from noisycorrect.recipe import PLAIN, RECIPES, Recipe

KIND = "segmentation"
PAPER = RECIPES["paper"]
PLAIN_MASKS = PLAIN.replace(lr=PAPER.lr, batch_size=PAPER.batch_size, kinds=(KIND,))

# Where most of a mask is right, its labels are better than predictions, and a class that is not learnt yet fades if
# evidence is trusted for it (docs/results/robustness-masks.md). So a pixel changes only where another class is all but
# certain, in a few late cycles.
RECIPES.register(
    f"robust/{KIND}",
    Recipe(
        schedule=Shares(init_share=0.5, cycles=3),
        rates=OneCosine(),
        average=EveryStep(),
        correction=AtCycleEnd(momentum=0.7, trust="confident", coupled=True),
        kinds=(KIND,),
        reference="noisycorrect: pixels change only where another class is all but certain",
    ),
)
for _name in ("ce", "ema", "swa"):
    RECIPES.register(f"{_name}/{KIND}", RECIPES[_name].replace(lr=PAPER.lr, batch_size=PAPER.batch_size, kinds=(KIND,)))
