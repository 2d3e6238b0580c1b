"""DivideMix: wrong labels found by their loss, and learned from without them (Li et al. 2020, arXiv:2002.07394)."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.classification.methods.method import register_method
from noisycorrect.classification.methods.twin import TwinObjective
from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import TRAINING_PASSES, Setup
from noisycorrect.correction.twin import InputPair, TwinNetworks, given_labels, twin_networks
from noisycorrect.data.batches import Batch
from noisycorrect.labels.refine import one_hot
from noisycorrect.outputs import soft_cross_entropy
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.modules import evaluating
from noisycorrect.support.rank_rows import RankRows
from noisycorrect.support.rng import derived_seed

PAPER_EPOCHS, PAPER_WARMUP_EPOCHS, PAPER_RAMP_EPOCHS = 300, 10, 16  # on CIFAR-10
# A component that sits on a single loss would have no variance; losses are in [0, 1].
_LEAST_VARIANCE = 5e-4


def clean_probability(losses: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return the probability that each label is right, from a mixture of two Gaussians on the losses.

    Li et al. 2020, sec. 3.1: the mixture is fitted by expectation maximisation to the losses, scaled to [0, 1]; the
    probability is the posterior of the component with the smaller mean.

    Parameters
    ----------
    losses : ndarray, shape (N,)
        Cross-entropy of each sample's label, finite.
    seed : int
        Of the mixture's initialisation.

    Returns
    -------
    ndarray, shape (N,), float32
        In [0, 1]; 1 everywhere if all losses are equal.

    Raises
    ------
    InvalidInputError
        If `losses` is no vector or not finite.

    Examples
    --------
    >>> clean_probability(np.array([0.1, 0.12, 0.11, 2.0, 2.1, 2.05])).round(2).tolist()
    [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    """
    # Imported here: scikit-learn takes a second to import.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    values = np.asarray(losses, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        got = f"shape {values.shape}" if values.ndim != 1 else "NaN or infinity"
        raise InvalidInputError("finite losses (N,)", got=got, fix="pass one loss a sample; lower lr if they diverge")
    if not len(values) or values.min() == values.max():
        return np.ones(len(values), np.float32)
    scaled = ((values - values.min()) / (values.max() - values.min()))[:, None]
    mixture = GaussianMixture(
        2, reg_covar=_LEAST_VARIANCE, random_state=derived_seed(seed, "mixture of losses") % 2**32
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last iterate is as good a split as another
        posterior = mixture.fit(scaled).predict_proba(scaled)
    return np.asarray(posterior[:, mixture.means_.argmin()], np.float32)


def sharpen(probs: Tensor, temperature: float) -> Tensor:
    r"""Return :math:`p_k^{1/T} / \sum_l p_l^{1/T}` (Li et al. 2020, Eq. 4).

    Parameters
    ----------
    probs : Tensor, shape (N, K)
        Probabilities.
    temperature : float
        T > 0; below 1 the largest grows.

    Examples
    --------
    >>> sharpen(torch.tensor([[0.8, 0.2]]), 0.5)
    tensor([[0.9412, 0.0588]])
    """
    # The largest is divided out first: a small T would underflow all of them.
    powers = (probs / probs.amax(1, keepdim=True)) ** (1 / temperature)
    return powers / powers.sum(1, keepdim=True)


def guessed_labels(given: Tensor, probs: Tensor, clean: Tensor, threshold: float, temperature: float) -> Tensor:
    r"""Return the labels that each network is to learn: refined where the label is likely right, else guessed.

    Li et al. 2020, Algorithm 1: with :math:`w \ge \tau` co-refinement, :math:`w y + (1 - w) p_k` (Eq. 3); else
    co-guessing, :math:`\frac12 (p_1 + p_2)`; then :func:`sharpen` (Eq. 4).

    Parameters
    ----------
    given : Tensor, shape (N, K)
        Given labels as rows of 0 and 1.
    probs : Tensor, shape (2, N, K)
        Prediction of each network, mean over the views.
    clean : Tensor, shape (2, N)
        w: probability that the label is right, as the other network's losses say.
    threshold, temperature : float
        tau and T.

    Returns
    -------
    Tensor, shape (2, N, K)
        Probabilities.

    Examples
    --------
    >>> labels = guessed_labels(
    ...     torch.tensor([[1.0, 0.0]]), torch.full((2, 1, 2), 0.5), torch.tensor([[0.6], [0.1]]), 0.5, 1.0)
    >>> labels.squeeze(1)
    tensor([[0.8000, 0.2000],
            [0.5000, 0.5000]])
    """
    weight = clean.unsqueeze(2)
    refined = weight * given + (1 - weight) * probs
    chosen = torch.where(weight >= threshold, refined, probs.mean(0))
    return sharpen(chosen.flatten(0, 1), temperature).reshape(chosen.shape)


def mix(values: Tensor, order: Tensor, share: Tensor, rows: RankRows | None = None) -> Tensor:
    r"""Return :math:`\lambda v_i + (1 - \lambda) v_{order(i)}` (mixup; Li et al. 2020, Eq. 7-8).

    Parameters
    ----------
    values : Tensor, shape (N, ...), floating
        Inputs or labels.
    order : Tensor, shape (N,), int64
        Partner of each row, in the whole batch.
    share : Tensor, shape (N,)
        Lambda, in [0, 1].
    rows : RankRows, optional
        Which rows of a batch over several ranks `values` has; of several views, one after the other. Default: all.

    Examples
    --------
    >>> mix(torch.tensor([[0.0], [10.0]]), torch.tensor([1, 0]), torch.tensor([0.75, 0.5]))
    tensor([[2.5000],
            [5.0000]])
    """
    own = share.to(values.dtype).reshape(-1, *[1] * (values.dim() - 1))
    others = values[order] if rows is None else rows.exchanged(values, order, views=len(order) // rows.size)
    return own * values + (1 - own) * others


def semi_supervised_loss(
    logits: Tensor, targets: Tensor, labeled: Tensor, weight: float, rows: RankRows | None = None
) -> Tensor:
    r"""Return :math:`L_X + \lambda_u L_U + L_{reg}` of one network (Li et al. 2020, Eq. 9-12).

    :math:`L_X` is the mean cross-entropy of the labelled samples (Eq. 9), :math:`L_U` the mean squared error of the
    probabilities of the others (Eq. 10), :math:`L_{reg} = \sum_k \frac1K \log \frac{1/K}{\bar p_k}` keeps the mean
    prediction of all from collapsing into one class (Eq. 11; its weight is 1). :math:`L_U` is also divided by K, as in
    MixMatch (Berthelot et al. 2019, Eq. 4), where the scale of :math:`\lambda_u` comes from.

    Parameters
    ----------
    logits : Tensor, shape (N, K)
        Of the mixed inputs.
    targets : Tensor, shape (N, K)
        Mixed labels.
    labeled : Tensor, shape (N,), bool
        Which samples count as labelled; either kind may be missing.
    weight : float
        :math:`\lambda_u` at this time.
    rows : RankRows, optional
        Which rows of a batch over several ranks these are; what is returned is the whole batch's. Default: all.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> targets = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    >>> semi_supervised_loss(torch.zeros(2, 2), targets, torch.tensor([True, False]), weight=4.0)  # log 2 + 4 / 4
    tensor(1.6931)
    """
    log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(1)
    probs = log_probs.exp()
    total = RankRows(len(logits)).total if rows is None else rows.total
    supervised = total(-(targets * log_probs).sum(1)[labeled].sum()) / total(labeled.sum()).clamp(min=1)
    squared = total((probs - targets).square().mean(1)[~labeled].sum()) / total((~labeled).sum()).clamp(min=1)
    classes = logits.shape[1]
    count = len(probs) if rows is None else len(probs) // len(rows.own) * rows.size  # of several views
    mean = probs.mean(0) if count == len(probs) else total(probs.sum(0)) / count
    uniform = -(mean.clamp(min=torch.finfo(probs.dtype).tiny).log().mean() + math.log(classes))
    return supervised + weight * squared + uniform


class DivideMix(TwinObjective):
    r"""Two networks divide the labels for each other; what is likely wrong is not used (Li et al. 2020, Algorithm 1).

    After a warm-up with cross-entropy, each epoch begins with the losses of all samples under each network and a
    mixture of two Gaussians on them (:func:`clean_probability`). A network takes the *other* one's division: what is
    likely right is labelled, of the rest only the input is used, and MixMatch learns from both
    (:func:`guessed_labels`, :func:`mix`, :func:`semi_supervised_loss`).

    What differs from the paper: both networks are updated in one step on their sum of losses, not one after the other
    for an epoch each; labelled and unlabelled samples are the two parts of one batch, in the proportion that the
    division has, not two equally large batches; guesses are made in evaluation mode; the unlabelled loss is divided
    by K (see :func:`semi_supervised_loss`); its weight rises by epochs; mixup draws a share for each sample. Samples
    without a label are used, as unlabelled ones.

    Compute: the losses of an epoch are predictions of the whole training set by both networks (2 passes a sample),
    guesses and training 2 x (1 + 3) passes for each view: in units of cross-entropy 10/3 without `augment` and 6 with
    it; 2 in the warm-up.

    Parameters
    ----------
    temperature : float
        T > 0 of the sharpening.
    alpha : float
        Mixup's shares are drawn from Beta(alpha, alpha), the larger part being the sample's own; > 0.
    lambda_u : float
        Weight of the unlabelled loss, >= 0; the paper takes 0, 25, 50 or 150 by kind and rate of noise.
    threshold : float
        tau: labels with this probability of being right, or more, count; in [0, 1).
    warmup_epochs : int, optional
        Epochs with cross-entropy. Default: as in the paper's 10 of 300, a thirtieth of the run, rounded up.
    ramp_epochs : int, optional
        Epochs after the warm-up in which the weight of the unlabelled loss rises from 0 to `lambda_u`. Default: as in
        the paper's 16 of 300, rounded up.
    confidence_penalty : bool
        Subtract the entropy of the predictions from the loss in the warm-up (Eq. 1-2): the paper does so for
        asymmetric noise, whose losses do not tell right from wrong otherwise.
    augment : callable, optional
        ``augment(input) -> input`` makes a second view of a batch, of the one that the run has augmented before.
        Without it there is one view (M = 1).

    Raises
    ------
    InvalidInputError
        If a number is out of range; in a run, if inputs cannot be mixed.

    Examples
    --------
    >>> from noisycorrect import SelfCorrector
    >>> inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    >>> labels = (inputs[:, 0] > 0).long()
    >>> result = SelfCorrector(nn.Linear(5, 2), num_classes=2, recipe="dividemix", epochs=4).fit((inputs, labels))
    >>> result.sample_passes == 64 * (6 + 3 * 10)
    True
    """

    def __init__(
        self,
        *,
        temperature: float = 0.5,
        alpha: float = 4.0,
        lambda_u: float = 25.0,
        threshold: float = 0.5,
        warmup_epochs: int | None = None,
        ramp_epochs: int | None = None,
        confidence_penalty: bool = False,
        augment: Callable[[Any], Any] | None = None,
    ) -> None:
        self.temperature = finite_number("temperature", temperature, above=1e-3, fix="the paper's is 0.5")
        self.alpha = finite_number("alpha", alpha, above=1e-3, fix="the paper's is 4")
        self.lambda_u = finite_number("lambda_u", lambda_u, above=0, fix="25 is common")
        self.threshold = finite_number("threshold", threshold, above=0, below=1, fix="the paper's is 0.5")
        self.warmup_epochs = None if warmup_epochs is None else whole_number("warmup_epochs", warmup_epochs, least=1)
        self.ramp_epochs = None if ramp_epochs is None else whole_number("ramp_epochs", ramp_epochs, least=1)
        self.confidence_penalty = bool(confidence_penalty)
        if augment is not None and not callable(augment):
            raise InvalidInputError("augment(input) -> input", got=type(augment).__name__, fix="pass a function")
        self.augment = augment
        self.views = 1 if augment is None else 2

    couples = True

    def warmup(self, epochs: int) -> int:
        """Return the warm-up epochs of a run of so many."""
        share = PAPER_WARMUP_EPOCHS / PAPER_EPOCHS
        return math.ceil(share * epochs) if self.warmup_epochs is None else min(self.warmup_epochs, epochs)

    def unlabeled_weight(self, epoch: int, epochs: int) -> float:
        """Return the weight of the unlabelled loss in an epoch (0-based) of so many."""
        ramp = math.ceil(PAPER_RAMP_EPOCHS / PAPER_EPOCHS * epochs) if self.ramp_epochs is None else self.ramp_epochs
        return self.lambda_u * min(1.0, max(0.0, (epoch - self.warmup(epochs)) / ramp))

    def passes(self, epoch: int, epochs: int) -> float:
        """Return the sample passes a sample: training, and after the warm-up guesses."""
        if epoch < self.warmup(epochs):
            return self.networks * TRAINING_PASSES
        return self.networks * self.views * (1 + TRAINING_PASSES)

    def set_predictions(self, epoch: int, epochs: int) -> int:
        """Return how often a division has the set predicted: by each network, once the warm-up is over."""
        return 0 if epoch < self.warmup(epochs) else self.networks

    def start(self, setup: Setup) -> None:
        """Trust all given labels until the first division."""
        super().start(setup)
        self._given = given_labels(setup, "DivideMix", unlabeled=True)
        self._epoch = 0
        # Column k is what network k uses, and comes from the other one.
        self.clean_probs = (self._given >= 0).float().unsqueeze(1).repeat(1, 2)

    def memory(self) -> dict[str, Tensor]:
        """Return ``clean_probs``, (N, 2): the probability of each label for each network."""
        return {"clean_probs": self.clean_probs}

    def start_epoch(self, epoch: int, model: nn.Module) -> None:
        """Divide the labels by their losses, once the warm-up is over."""
        self._epoch = epoch
        twin = twin_networks(model)
        if epoch >= self.warmup(self.setup.epochs):
            self.clean_probs[:, 1] = self._divide(twin.first)
            self.clean_probs[:, 0] = self._divide(twin.second)

    def _divide(self, network: nn.Module) -> Tensor:
        probs, labeled = self.setup.predict(network), self._given >= 0
        given = self._given[labeled]
        likelihood = probs[labeled].gather(1, given[:, None]).squeeze(1).clamp(min=torch.finfo(torch.float32).tiny)
        clean = clean_probability(
            -likelihood.log().cpu().numpy(), derived_seed(self.setup.seed, "division", self._epoch)
        )
        divided = torch.zeros_like(self.clean_probs[:, 0])
        divided[labeled] = torch.from_numpy(clean).to(divided.device)
        return divided

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the sum of both networks' losses: cross-entropy in the warm-up, then MixMatch's."""
        targets = one_hot(batch.given.long(), self.setup.task.num_classes)
        if self._epoch < self.warmup(self.setup.epochs):
            return self._warmup_loss(self.setup.task.forward(model, batch), targets, batch.whole)
        inputs = _mixable(batch.input, model)
        with self.setup.draws(batch):
            views = [inputs] if self.augment is None else [inputs, self.augment(inputs)]
        clean = self.clean_probs[batch.index].T
        probs = self._predictions(twin_networks(model), batch, views)
        labels = guessed_labels(targets, probs, clean, self.threshold, self.temperature)
        labels, labeled = labels.repeat(1, len(views), 1), (clean >= self.threshold).repeat(1, len(views))
        rows = batch.whole
        mixed = [self._mixup(torch.cat(views), own, rows) for own in labels]
        pair = InputPair(mixed[0][0], mixed[1][0])
        logits = self.setup.task.forward(model, dataclasses.replace(batch, input=pair))
        weight = self.unlabeled_weight(self._epoch, self.setup.epochs)
        losses = [semi_supervised_loss(logits[k], mixed[k][1], labeled[k], weight, rows) for k in range(self.networks)]
        return torch.stack(losses).sum()

    def _warmup_loss(self, logits: Tensor, targets: Tensor, rows: RankRows) -> Tensor:
        total = torch.stack([soft_cross_entropy(own, targets) for own in logits]).sum()
        if rows.ranks > 1:  # from a mean over this rank's labels to its part of that over all
            labeled = (targets.sum(1) > 0).sum()
            total = total * labeled / rows.total(labeled).clamp(min=1)
        if self.confidence_penalty:
            log_probs = F.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=2)
            own = (log_probs.exp() * log_probs).sum(2).mean(1).sum()
            total = total + own * (len(targets) / rows.size)
        return rows.total(total)

    @torch.no_grad()
    def _predictions(self, twin: TwinNetworks, batch: Batch, views: list[Tensor]) -> Tensor:
        """Return each network's probabilities, (2, B, K), mean over the views."""
        task = self.setup.task
        with evaluating(twin):
            probs = [
                torch.stack([task.predict(network, dataclasses.replace(batch, input=view)) for view in views]).mean(0)
                for network in (twin.first, twin.second)
            ]
        # Weights that autocast has cast without a gradient would be used again where one is needed.
        torch.clear_autocast_cache()
        return torch.stack(probs)

    def _mixup(self, inputs: Tensor, labels: Tensor, rows: RankRows) -> tuple[Tensor, Tensor]:
        size = self.views * rows.size
        with self.setup.draws():
            concentration = torch.full((size,), self.alpha, device=inputs.device, dtype=torch.float32)
            share = torch.distributions.Beta(concentration, concentration).sample()
            order = torch.randperm(size, device=inputs.device)
        share = torch.maximum(share, 1 - share)  # Eq. 6: a sample stays nearer to itself, and so labelled or not
        share = rows.of(share, views=self.views)
        return mix(inputs, order, share, rows), mix(labels, order, share, rows)


def _mixable(inputs: Any, model: nn.Module) -> Tensor:
    """Return a batch's input in the dtype of the model's parameters."""
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        raise InvalidInputError(
            "a floating tensor as input for DivideMix, to mix samples",
            got=str(inputs.dtype) if isinstance(inputs, Tensor) else type(inputs).__name__,
            fix="convert images to float; for other inputs use another objective",
        )
    wanted = next((p.dtype for p in model.parameters() if p.is_floating_point()), inputs.dtype)
    return inputs.to(wanted)


register_method(
    "dividemix",
    DivideMix(),
    "Li et al. 2020, DivideMix: Learning with Noisy Labels as Semi-supervised Learning, arXiv:2002.07394",
)
