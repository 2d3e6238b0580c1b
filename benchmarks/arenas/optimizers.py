"""The optimizers of the arena."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from noisycorrect.recipe import OptimizerFactory


@dataclass(frozen=True)
class Optimizer:
    """A learning rate, and the factory; None is the recipe's own, SGD."""

    lr: float
    factory: OptimizerFactory | None = None


#: SGD as the lab has it; AdamW with torch's weight decay, as most people train.
OPTIMIZERS = {"sgd": Optimizer(0.05), "adamw": Optimizer(1e-3, torch.optim.AdamW)}
