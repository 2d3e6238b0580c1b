"""Cross-fitting: two networks, each of which says what it thinks of the labels that only the other one has seen."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.classification.methods.twin import InputPair, TwinNetworks, given_labels, twin_networks
from noisycorrect.correction.online import early_learning_penalty
from noisycorrect.cycle.feed import map_tensors
from noisycorrect.data.batches import Batch
from noisycorrect.labels.refine import exponential_evidence
from noisycorrect.labels.trust import STEP_RULES, Trust
from noisycorrect.objective import TRAINING_PASSES, Objective, Setup
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.support.modules import evaluating
from noisycorrect.support.rng import derived_seed

HELD_OUT_PASSES = 1.0  # of a sample through the network that is not trained on it
_PURPOSE = (
    5  # of the random numbers, beside those of noisycorrect.training.run and noisycorrect.correction.memorisation
)
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
        outputs = [self.first(inputs.first), self.second(inputs.second)]
        return nn.utils.rnn.pad_sequence(outputs, batch_first=True)


class CrossFitting(Objective):
    r"""Refined labels from held-out evidence, at the cost of four thirds of a plain run.

    The samples are divided into two random halves, and each of two networks is trained on its own half only. In every
    step, the network that is never trained on label :math:`y_i` predicts sample i, without a gradient and in evaluation
    mode: what it says of the label cannot have been learnt from it by heart (Chernozhukov et al. 2018,
    "Double/debiased machine learning", Definition 3.1, where two halves estimate for each other). Then as in
    :class:`~noisycorrect.correction.online.OnlineCorrection`:

    1. evidence :math:`e \leftarrow \beta e + (1 - \beta) p_{other}`, from the first epoch on; for an unlabelled sample,
       that no network could learn by heart, with the mean of both networks;
    2. from the start of correction, trust :math:`w` in y by a rule, and the target :math:`w\,y + (1 - w)\,e` for the
       sample's own network;
    3. early-learning regularisation with the same evidence (Liu et al. 2020, Eq. 6), if it is on.

    Held out is the label, not all that follows from it: a network's evidence is in the targets that the other one
    learns from, and comes back to it in predictions.

    The loss is twice the mean over the batch: each network has half of it, and learns at the rate of a network that is
    alone. Compute: 3 passes through the own network and 1 through the other.

    Parameters
    ----------
    momentum : float
        :math:`\beta`, weight of the past in the evidence, in [0, 1).
    start : float
        Share of the epochs before correction starts, in [0, 1): the networks have learned little until then.
    trust : {"class-relative", "relative", "agreement", "mixture", "posterior", "none"}
        Rule as in :class:`~noisycorrect.correction.online.OnlineCorrection`.
    early_learning : float
        :math:`\lambda`, >= 0.
    input_dropout : float
        Share of the values of a training input that are set to 0, in [0, 1) (the others are scaled up); held-out
        predictions see all of them. Only of inputs that are vectors, (N, F), and only without `augment`.

    Raises
    ------
    InvalidInputError
        If an argument is out of range; when a run starts, if labels are masks or the model is no
        :class:`CrossFittedNetworks`.

    Examples
    --------
    >>> from noisycorrect import SelfCorrector
    >>> inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    >>> labels = (inputs[:, 0] > 0).long()
    >>> corrector = SelfCorrector(
    ...     CrossFittedNetworks.of(nn.Linear(5, 2), seed=0), num_classes=2, preset="robust", objective=CrossFitting(),
    ...     epochs=4, aggregate=False)
    >>> result = corrector.fit((inputs, labels))
    >>> result.model(inputs).shape, result.sample_passes == 4 * 64 * 4
    (torch.Size([64, 2]), True)
    """

    networks = 2
    keeps_evidence = True

    def __init__(
        self,
        *,
        momentum: float = 0.7,
        start: float = 0.1,
        trust: str = "class-relative",
        early_learning: float = 0.0,
        input_dropout: float = 0.2,
    ) -> None:
        if trust not in STEP_RULES:
            raise unknown_name("trust", trust, STEP_RULES)
        self.momentum = finite_number("momentum", momentum, above=0, below=1, fix="0.7 is common")
        self.begin = finite_number("start", start, above=0, below=1, fix="try 0.1")
        self.early_learning = finite_number("early_learning", early_learning, above=0, fix="3 is common, 0 is off")
        self.input_dropout = finite_number("input_dropout", input_dropout, above=0, below=1, fix="0.2 is common")
        self.trust = trust

    def start(self, setup: Setup) -> None:
        """Make the evidence, uniform over the classes, and divide the samples."""
        super().start(setup)
        self.given = given_labels(setup, "CrossFitting", unlabeled=True)
        classes = setup.task.num_classes
        self.evidence = torch.full((setup.length, classes), 1 / classes, device=setup.device)
        self.half = halves(self.given, setup.seed)
        self.fitted = Trust.fitted(self.trust, self.given, self.evidence)
        self.correcting = False

    def passes(self, epoch: int, epochs: int) -> float:
        """Return the passes of a sample through its own network and through the other."""
        return TRAINING_PASSES + HELD_OUT_PASSES

    def start_epoch(self, epoch: int, model: nn.Module) -> None:
        """Decide whether to correct, and fit what the trust rule needs to the evidence so far."""
        if not isinstance(twin_networks(model), CrossFittedNetworks):
            raise InvalidInputError(
                "two networks that take batches of their own lengths",
                got="TwinNetworks",
                fix="pass CrossFittedNetworks.of(model, seed=0) as the model",
            )
        self.correcting = epoch >= math.ceil(self.begin * self.setup.epochs)
        if self.correcting:
            self.fitted = Trust.fitted(self.trust, self.given, self.evidence)

    def trust_in(self, given: Tensor, evidence: Tensor) -> Tensor:
        """Return the trust in each label, float32 (n,); 0 for an unlabelled sample."""
        return self.fitted.about(given).of(given, evidence)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return the sum of both networks' losses, each on the refined labels of its own half."""
        task, rows = self.setup.task, batch.index
        own = [(self.half[rows] == number).nonzero().flatten() for number in range(self.networks)]
        held_out = self._held_out(twin_networks(model), batch, own)
        output = self._trained(model, batch, own)
        probs = task.probs(output)
        seen = torch.where((batch.given >= 0).unsqueeze(1), held_out, (held_out + probs.detach()) / 2)
        self.evidence[rows] = exponential_evidence(self.evidence[rows], seen, 1, self.momentum)
        evidence = self.evidence[rows]
        # Evidence and trust may be there already, of an earlier cycle's end.
        batch.evidence, batch.trust = None, Trust(torch.ones_like(batch.trust.weight))
        if self.correcting:
            batch.evidence, batch.trust = evidence, Trust(self.trust_in(batch.given.long(), evidence))
        loss = task.loss(output, batch)
        if self.early_learning:
            loss = loss + self.early_learning * early_learning_penalty(probs, evidence)
        return self.networks * loss

    @torch.no_grad()
    def _held_out(self, twin: TwinNetworks, batch: Batch, own: list[Tensor]) -> Tensor:
        """Return what the other network predicts of each sample, float32 (B, K), its statistics left as they were."""
        task, (first, second) = self.setup.task, own
        probs = torch.empty(len(batch), task.num_classes, device=batch.index.device)
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
            if self.input_dropout and not self.setup.augmented and inputs.dim() == 2:
                inputs = F.dropout(inputs, self.input_dropout)
        pair = InputPair(*(_take(inputs, _filled(half, len(batch))) for half in own))
        logits = self.setup.task.forward(model, dataclasses.replace(batch, input=pair))
        parts = [each[: len(half)] for each, half in zip(logits, own, strict=True)]
        return torch.cat(parts)[torch.cat(own).argsort()]

    def kept_evidence(self) -> Tensor:
        """Return the evidence; the trust rule is fitted to it."""
        self.fitted = Trust.fitted(self.trust, self.given, self.evidence)
        return self.evidence

    def memory(self) -> dict[str, Tensor]:
        """Return the evidence."""
        return {"evidence": self.evidence}


def halves(given: Tensor, seed: int) -> Tensor:
    """Divide samples at random: the labelled ones into two halves, and so the unlabelled ones.

    Parameters
    ----------
    given : Tensor, shape (N,), int64
        -1 for an unlabelled sample.
    seed : int
        >= 0.

    Returns
    -------
    Tensor, shape (N,), int64
        0 or 1; of an odd number the first half has one more.

    Examples
    --------
    >>> half = halves(torch.tensor([0, 1, 2, 0, 1, -1, -1]), seed=0)
    >>> half[:5].sum().item(), half[5:].sum().item()
    (2, 1)
    """
    order = torch.randperm(len(given), generator=torch.Generator().manual_seed(derived_seed(seed, _PURPOSE)))
    labeled = given.cpu()[order] >= 0
    half = torch.zeros(len(given), dtype=torch.int64)
    for rows in (order[labeled], order[~labeled]):
        half[rows[: len(rows) // 2]] = 1
    return half.to(given.device)


def _filled(own: Tensor, size: int) -> Tensor:
    """Return a half's places in a batch of `size`, and after them others if they are too few to train on."""
    missing = min(_LEAST_ROWS, size) - len(own)
    if missing <= 0:
        return own
    others = torch.ones(size, dtype=torch.bool, device=own.device).index_fill(0, own, False).nonzero().flatten()
    return torch.cat([own, others[:missing]])


def _take(inputs: Any, rows: Tensor) -> Any:
    return map_tensors(inputs, lambda tensor: tensor[rows])
