"""Recipes for masks: the robust one, and plain training, which methods of the literature start from."""

from __future__ import annotations

from noisycorrect.cycle.averages import EveryStep
from noisycorrect.cycle.rates import OneCosine
from noisycorrect.cycle.schedule import Shares
from noisycorrect.recipe import PLAIN, RECIPES, Recipe
from noisycorrect_seg.methods.objects import ObjectCorrection

KIND = "segmentation"
PAPER = RECIPES["paper"]
PLAIN_MASKS = PLAIN.replace(lr=PAPER.lr, batch_size=PAPER.batch_size, kinds=(KIND,))

# What annotators leave out is what a network can tell: missing objects are filled in and those misnamed by habit are
# renamed, once late in the run and at its end; all else keeps its given label. More cycles cost passes, and gained
# neither labels nor network (development seed 100).
RECIPES.register(
    f"robust/{KIND}",
    Recipe(
        schedule=Shares(init_share=0.2, cycles=2),
        rates=OneCosine(),
        average=EveryStep(),
        correction=ObjectCorrection(),
        kinds=(KIND,),
        reference="noisycorrect: objects left out or misnamed by habit follow the averaged network",
    ),
)
RECIPES.defaults[KIND] = "robust"
for _name in ("ce", "ema", "swa"):
    RECIPES.register(f"{_name}/{KIND}", RECIPES[_name].replace(lr=PAPER.lr, batch_size=PAPER.batch_size, kinds=(KIND,)))
