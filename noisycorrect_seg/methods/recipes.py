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

# What annotators leave out is what a network can tell: objects that are missing are filled in, a few times late in the
# run, and all else keeps its given label. Renaming objects pays under one kind of noise and costs under two
# (docs/results/robustness-masks.md).
RECIPES.register(
    f"robust/{KIND}",
    Recipe(
        schedule=Shares(init_share=0.4, cycles=4),
        rates=OneCosine(),
        average=EveryStep(),
        correction=ObjectCorrection(),
        kinds=(KIND,),
        reference="noisycorrect: objects that a mask has left out are filled in by the averaged network",
    ),
)
for _name in ("ce", "ema", "swa"):
    RECIPES.register(f"{_name}/{KIND}", RECIPES[_name].replace(lr=PAPER.lr, batch_size=PAPER.batch_size, kinds=(KIND,)))
