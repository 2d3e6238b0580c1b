"""Cross-fitting: two networks, each of which says what it thinks of the labels that only the other one has seen."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.correction.class_weights import unweighted
from noisycorrect.correction.halves import halves
from noisycorrect.correction.in_training import EvidenceInTraining
from noisycorrect.correction.part import Setup
from noisycorrect.correction.twin import InputPair, TwinNetworks, twin_networks
from noisycorrect.cycle.feed import map_tensors
from noisycorrect.data.batches import Batch
from noisycorrect.support.calling import called, logits_of
from noisycorrect.support.checks import finite_number
from noisycorrect.support.modules import evaluating, unwrap

HELD_OUT_PASSES = 1.0  # of a sample through the network that is not trained on it
_LEAST_ROWS = 2  # BatchNorm cannot train on one, and a network without any would have no gradient


class CrossFittedNetworks(TwinNetworks):
    """Two networks as :class:`~noisycorrect.classification.TwinNetworks`, each trained on a batch of its own length.

    Examples
    --------
    >>> twin = CrossFittedNetworks.of(nn.Linear(2, 3), seed=0)
    >>> logits = twin(InputPair(torch.ones(5, 2), torch.ones(4, 2)))
    >>> logits.shape, logits[1, 4].tolist()
    (torch.Size([2, 5, 3]), [0.0, 0.0, 0.0])
    """

    def forward(self, inputs: Any) -> Tensor:
        """Run both networks; in training mode, each may have its own number of inputs in an :class:`InputPair`.

        Returns
        -------
        Tensor, shape (2, N, K) in training mode, (N, K) in evaluation mode
            N is the larger number; what the other network lacks is 0.
        """
        if not (self.training and isinstance(inputs, InputPair)):
            return super().forward(inputs)
        outputs = [logits_of(called(self.first, inputs.first)), logits_of(called(self.second, inputs.second))]
        return nn.utils.rnn.pad_sequence(outputs, batch_first=True)


class CrossFitting(EvidenceInTraining):
    r"""Refined labels from held-out evidence, at the cost of four thirds of a plain run.

    The samples are divided into two random halves, and each of two networks is trained on its own half only. In every
    step, the network that is never trained on label :math:`y_i` predicts sample i, without a gradient and in evaluation
    mode: what it says of the label cannot have been learnt from it by heart (Chernozhukov et al. 2018,
    "Double/debiased machine learning", Definition 3.1, where two halves estimate for each other). Then as in
    :class:`~noisycorrect.OnlineCorrection`:

    1. evidence :math:`e \leftarrow \beta e + (1 - \beta) p_{other}`, from the first epoch on; for an unlabelled sample,
       that no network could learn by heart, with the mean of both networks;
    2. from the start of correction, trust :math:`w` in y by a rule, and the target :math:`w\,y + (1 - w)\,e` for the
       sample's own network.

    Held out is the label, not all that follows from it: a network's evidence is in the targets that the other one
    learns from, and comes back to it in predictions.

    The loss is twice the mean over the batch: each network has half of it, and learns at the rate of a network that is
    alone. Compute: 3 passes through the own network and 1 through the other. A model that is not
    two networks already becomes the first of the two; the second is a copy with fresh weights, but for what is frozen.

    Parameters
    ----------
    momentum : float
        :math:`\beta`, weight of the past in the evidence, in [0, 1).
    start : float
        Share of the epochs before correction starts, in [0, 1): the networks have learned little until then.
    trust : {"class-relative", "relative", "agreement", "mixture", "posterior", "none"}
        Rule as in :class:`~noisycorrect.OnlineCorrection`.
    input_dropout : float
        Share of the values of a training input that are set to 0, in [0, 1) (the others are scaled up); held-out
        predictions see all of them. Only of inputs that are vectors, (N, F), and only without `augment`.
    keep : int or None
        Generations of labels that stay on disk, at least 2; None keeps all.
    storage : {"auto", "float32", "float16", "top-64", "mapped"}
        How the evidence is held; see :class:`~noisycorrect.OnlineCorrection`.

    Raises
    ------
    InvalidInputError
        If an argument is out of range; when a run starts, if a label is not one class a sample.

    Examples
    --------
    >>> from noisycorrect import RECIPES, SelfCorrector, TaskLoss
    >>> inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    >>> labels = (inputs[:, 0] > 0).long()
    >>> recipe = RECIPES["robust"].replace(correction=CrossFitting(), objective=TaskLoss(), average=None)
    >>> result = SelfCorrector(nn.Linear(5, 2), num_classes=2, recipe=recipe, epochs=4).fit((inputs, labels))
    >>> result.model(inputs).shape, result.sample_passes == 4 * 64 * 4
    (torch.Size([64, 2]), True)
    """

    step_passes = HELD_OUT_PASSES
    weight = 2.0
    networks = 2

    def __init__(
        self,
        *,
        momentum: float = 0.7,
        start: float = 0.1,
        trust: str = "class-relative",
        input_dropout: float = 0.2,
        keep: int | None = 2,
        storage: str = "auto",
    ) -> None:
        super().__init__(momentum=momentum, trust=trust, input_dropout=input_dropout, keep=keep, storage=storage)
        self.begin = finite_number("start", start, above=0, below=1, fix="try 0.1")

    def prepare(self, model: nn.Module, seed: int) -> nn.Module:
        """Return the two networks that are trained."""
        inner = unwrap(model)
        if isinstance(inner, TwinNetworks) and not isinstance(inner, CrossFittedNetworks):
            return CrossFittedNetworks(inner.first, inner.second)
        return model if isinstance(inner, CrossFittedNetworks) else CrossFittedNetworks.of(model, seed)

    def start(self, setup: Setup) -> None:
        """Make the evidence, uniform over the classes, and divide the samples."""
        super().start(setup)
        self.half = halves(self.given, setup.seed)

    def in_step(self, model: nn.Module, batch: Batch) -> tuple[Any, Batch]:
        """Run both networks on a batch; what the other one says of a sample is evidence for its target."""
        own = [(self.half[batch.index] == number).nonzero().flatten() for number in range(2)]
        held_out = self._held_out(twin_networks(model), batch, own)
        output = self._trained(model, batch, own)
        probs = self.setup.task.probs(output).detach()
        seen = torch.where((batch.given >= 0).unsqueeze(1), held_out, (held_out + probs) / 2)
        self.aim(batch, self.remember(batch.index, unweighted(self.setup.task, seen)))
        return output, batch

    def unseen(self) -> np.ndarray:
        """Return that the evidence about every label is of the network that was not trained on it."""
        return np.ones(len(self.given), bool)

    @torch.no_grad()
    def _held_out(self, twin: TwinNetworks, batch: Batch, own: list[Tensor]) -> Tensor:
        """Return what the other network predicts of each sample, float32 (B, K), its statistics left as they were."""
        task, (first, second) = self.setup.task, own
        probs = torch.empty(len(batch), task.num_classes, device=batch.index.device, dtype=torch.float32)
        with evaluating(twin):
            for network, others in ((twin.first, second), (twin.second, first)):
                if len(others):
                    probs[others] = task.predict(network, dataclasses.replace(batch, input=_take(batch.input, others)))
        # Weights that autocast has cast without a gradient would be used again where one is needed.
        torch.clear_autocast_cache()
        return probs

    def _trained(self, model: nn.Module, batch: Batch, own: list[Tensor]) -> Tensor:
        """Return the logits (B, K) of each sample's own network, with a gradient."""
        inputs = batch.input
        if isinstance(inputs, Tensor) and inputs.is_floating_point():
            inputs = inputs.to(next((p.dtype for p in model.parameters() if p.is_floating_point()), inputs.dtype))
        inputs = self.dropped(inputs, batch)
        pair = InputPair(*(_take(inputs, _filled(half, len(batch))) for half in own))
        logits = self.setup.task.forward(model, dataclasses.replace(batch, input=pair))
        parts = [each[: len(half)] for each, half in zip(logits, own, strict=True)]
        return torch.cat(parts)[torch.cat(own).argsort()]


def _filled(own: Tensor, size: int) -> Tensor:
    """Return a half's places in a batch of `size`, and after them others if they are too few to train on."""
    missing = min(_LEAST_ROWS, size) - len(own)
    if missing <= 0:
        return own
    others = torch.ones(size, dtype=torch.bool, device=own.device).index_fill(0, own, False).nonzero().flatten()
    return torch.cat([own, others[:missing]])


def _take(inputs: Any, rows: Tensor) -> Any:
    return map_tensors(inputs, lambda tensor: tensor[rows])
