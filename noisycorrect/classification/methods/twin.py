"""What methods of two networks share."""

from __future__ import annotations

from torch import nn

from noisycorrect.correction.part import TRAINING_PASSES
from noisycorrect.correction.twin import as_twin
from noisycorrect.objective import Objective


class TwinObjective(Objective):
    """An objective that trains two networks, as one :class:`~noisycorrect.classification.TwinNetworks`.

    A model that is not one becomes the first of the two; the second is a copy with fresh weights, but for what is
    frozen. Of a pretrained network that is trained further, pass ``TwinNetworks.of(model, seed, layers=["head"])``.
    """

    networks = 2

    def prepare(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the two networks that are trained."""
        return as_twin(model, seed)

    def passes(self, epoch: int, epochs: int) -> float:
        """Return the passes of both networks."""
        return TRAINING_PASSES * self.networks
