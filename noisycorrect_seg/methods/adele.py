"""Adaptive early-learning correction of masks, class by class (after Liu, Liu, Zhu, Shen & Fernandez-Granda 2022)."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import OptimizeWarning, curve_fit
from torch import Tensor, nn

from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import TRAINING_PASSES, Setup
from noisycorrect.data.batches import Batch
from noisycorrect.objective import Objective
from noisycorrect.recipe import RECIPES
from noisycorrect.support import distributed
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.support.modules import evaluating, unwrap
from noisycorrect_seg.geometry.maps import resized
from noisycorrect_seg.masks import ignore_index
from noisycorrect_seg.methods.frames import parsing_task
from noisycorrect_seg.methods.recipes import KIND, PLAIN_MASKS

LEAST_EPOCHS = 4  # one point more than the curve has parameters
LEAST_PROB = 1e-8
LEAST_CEILING = 1e-6  # of a fitted curve
LEAST_KEPT, MOST_BACKGROUND = 0.5, 0.95  # shares in rule 4 of corrected_masks
CONTESTED = ("replace", "ignore")
STARTS = tuple(itertools.product((0.05, 0.3, 1.0), (0.5, 1.0)))  # (b, c): the fit is not convex


def growth_curve(epochs: np.ndarray, ceiling: float, rate: float, bend: float) -> np.ndarray:
    r"""Return :math:`f(t) = a\,(1 - e^{-b t^c})`, the model of a training IoU (Liu et al. 2022, sec. 3.1).

    Parameters
    ----------
    epochs : ndarray, shape (T,)
        t, from 1.
    ceiling, rate, bend : float
        a in (0, 1], b >= 0, c >= 0.

    Examples
    --------
    >>> growth_curve(np.array([1.0]), 1.0, np.log(2), 1.0).round(3).tolist()
    [0.5]
    """
    return np.asarray(ceiling * (1 - np.exp(-rate * epochs**bend)))


def slowdown(ceiling: float, rate: float, bend: float, epoch: int) -> float:
    r"""Return how far the curve's slope has fallen since the first epoch, :math:`(f'(1) - f'(t)) / |f'(1)|`.

    With :math:`f'(t) = a b c\, t^{c-1} e^{-b t^c}`. Liu et al. (2022, sec. 3.1) take the absolute value of the
    numerator; a curve that still accelerates would pass for one that slows down.

    Examples
    --------
    >>> round(slowdown(0.8, 1.0, 1.0, epoch=3), 4)  # 1 - exp(-2)
    0.8647
    """
    if bend == 0 or rate == 0:
        return 0.0
    return float(1 - epoch ** (bend - 1) * np.exp(-rate * (epoch**bend - 1)))


def fitted_curve(values: np.ndarray) -> tuple[float, float, float] | None:
    """Return the parameters (a, b, c) of :func:`growth_curve` through a class's IoU by epochs, by least squares.

    Parameters
    ----------
    values : ndarray, shape (T,)
        IoU after epochs 1..T, in [0, 1].

    Returns
    -------
    tuple of float, or None
        None with fewer than four epochs, for a class that was never met or never hit, and where no fit converges.

    Examples
    --------
    >>> curve = growth_curve(np.arange(1.0, 9), 0.8, 0.5, 1.0)
    >>> [round(value, 3) for value in fitted_curve(curve)]
    [0.8, 0.5, 1.0]
    """
    if len(values) < LEAST_EPOCHS or not np.isfinite(values).all() or values.max() <= 0:
        return None
    epochs = np.arange(1.0, len(values) + 1)
    best, least = None, np.inf
    for rate, bend in STARTS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", OptimizeWarning)  # a covariance that nobody asks for
                found, _ = curve_fit(
                    growth_curve,
                    epochs,
                    values,
                    p0=(min(1.0, max(LEAST_CEILING, float(values.max()))), rate, bend),
                    bounds=([LEAST_CEILING, 0.0, 0.0], [1.0, 20.0, 5.0]),
                )
        except RuntimeError:  # did not converge from here
            continue
        error = float(((growth_curve(epochs, *found) - values) ** 2).sum())
        if error < least:
            best, least = (float(found[0]), float(found[1]), float(found[2])), error
    return best


def scale_consistency(probs: Sequence[Tensor], confidence: float) -> Tensor:
    r"""Return :math:`\frac1s \sum_k KL(p_k \| q)` with :math:`q = \frac1s \sum_k p_k` (Liu et al. 2022, sec. 3.2).

    Parameters
    ----------
    probs : sequence of Tensor, each of shape (B, K, h, w)
        Predictions at s scales, brought to one size.
    confidence : float
        Only pixels count whose most probable class in q has a higher probability; the paper's rho.

    Returns
    -------
    Tensor, scalar
        In nats, at least 0: the mean over the pixels that count; 0 (with a gradient of 0) if none does.

    Examples
    --------
    >>> one = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    >>> scale_consistency([one, one], 0.8)
    tensor(0.)
    """
    mean = torch.stack(list(probs)).mean(0)
    log_mean = mean.clamp(min=LEAST_PROB).log()
    divergences = [(p * (p.clamp(min=LEAST_PROB).log() - log_mean)).sum(1) for p in probs]
    counted = (mean.detach().amax(1) > confidence).float()
    return (torch.stack(divergences).mean(0) * counted).sum() / counted.sum().clamp(min=1)


def corrected_masks(
    given: Tensor, probs: Tensor, under_correction: Tensor, confidence: float, *, contested: str = "replace"
) -> Tensor:
    """Return masks in which pixels follow sure predictions, by the rules of Liu et al. (2022) and their code.

    1. Nothing changes in an image none of whose classes beside the background is under correction.
    2. A pixel only takes a class that is in the image's mask and under correction itself; what it was does not matter.
       The background is always under correction. A mask of background alone may take any class under correction.
    3. The prediction must be another class, and surer than `confidence`.
    4. An image stays as it is if it would lose more than half of its foreground and be background to more than 95 %:
       the network misses what it shows.

    Parameters
    ----------
    given : Tensor, shape (B, H, W), integer
        Masks; values from K on are no class and stay, nor do they count in rule 4.
    probs : Tensor, shape (B, K, H, W)
        Predictions.
    under_correction : Tensor, shape (K,), bool
        Classes under correction; the background is class 0.
    confidence : float
        In (0, 1).
    contested : {"replace", "ignore"}
        What a pixel becomes that the rules let change: the predicted class, or 255 (65535 of more than 255
        classes), ignored.

    Examples
    --------
    >>> given = torch.tensor([[[0, 1, 1, 1]]])
    >>> probs = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.9, 0.1, 0.0], [0.0, 0.1, 0.9]]).T.reshape(1, 3, 1, 4)
    >>> corrected_masks(given, probs, torch.tensor([False, True, True]), 0.8)  # class 2 is not in the mask
    tensor([[[0, 1, 0, 1]]])
    """
    classes = probs.shape[1]
    labels, known = given.long(), given < classes
    present = torch.zeros(len(given), classes + 1, dtype=torch.bool, device=given.device)
    present.scatter_(1, labels.clamp(max=classes).flatten(1), True)
    foreground, active = present[:, 1:classes], under_correction.to(given.device)
    empty = ~foreground.any(1)
    concerned = (foreground & active[1:]).any(1) | (empty & active[1:].any())
    follows = active.index_fill(0, torch.zeros(1, dtype=torch.long, device=given.device), True)
    allowed = (present[:, :classes] | empty.unsqueeze(1)) & follows & concerned.unsqueeze(1)
    sure, found = probs.max(1)
    changed = (found != labels) & known & (sure > confidence)
    changed &= allowed.gather(1, found.flatten(1)).reshape(found.shape)
    after = torch.where(changed, found, labels)
    before_size, after_size = ((mask.gt(0) & known).flatten(1).sum(1) for mask in (labels, after))
    lost = (after_size < LEAST_KEPT * before_size) & (
        known.flatten(1).sum(1) - after_size > MOST_BACKGROUND * known.flatten(1).sum(1)
    )
    changed &= ~lost.reshape(-1, 1, 1)
    value = found.to(given.dtype) if contested == "replace" else torch.full_like(given, ignore_index(classes))
    return torch.where(changed, value, given)


class AdaptiveEarlyLearning(Objective):
    r"""ADELE: masks are corrected class by class, each from where its training IoU slows down (arXiv:2110.03740).

    A class is learnt, then memorised, each at its own time. After every epoch the curve a(1 - exp(-b t^c)) is fitted to
    the class's IoU of predictions and given masks; once its slope has fallen by more than `fall` of that of epoch 1,
    the class is under correction: masks that show it follow the network where it is sure, by the rules of
    :func:`corrected_masks`. The predictions are the mean over copies of the input at several scales and their mirrors.
    A consistency term holds the scales together. The task's loss is that of the unscaled copy.

    What differs from the paper and its code: corrected pixels are found anew in each step on the crop that training
    sees, instead of once an epoch on whole images, so that no masks are stored; the scales' predictions are those of
    training, and only the mirrors are predicted beside it, in evaluation mode, from epoch 5 on, the first in which a
    class can be under correction; the slope must fall, not only change; ignored pixels stay. A copy counts in
    :meth:`passes` with its area. `scales` (0.7, 1) leaves the enlarged copy out, which alone costs 2.25 times plain
    training.

    Parameters
    ----------
    fall : float
        Relative fall of the slope that starts a class's correction, in (0, 1); the paper's r. Default: 0.9.
    confidence : float
        Probability above which a prediction replaces a given label, in (0, 1); the paper's tau. Default: 0.8.
    strength : float
        Weight of the consistency term, >= 0; the paper's lambda. Default: 1.
    agreed : float
        See :func:`scale_consistency`; the paper's rho. Default: 0.8.
    scales : sequence of float
        Scales of the copies, 1 among them. Default: 0.7, 1, 1.5, the paper's.
    mirror : bool
        Whether the predictions that masks follow are averaged with those of mirrored copies. Default: True.
    contested : {"replace", "ignore"}
        Whether a pixel that may change takes the predicted class, or is ignored. Default: "replace".

    Raises
    ------
    InvalidInputError
        If a parameter is out of range, or 1 is not among the scales.

    Examples
    --------
    >>> objective = AdaptiveEarlyLearning(scales=(0.5, 1))
    >>> objective.passes(epoch=0, epochs=10), objective.passes(epoch=4, epochs=10)
    (3.75, 5.0)
    """

    def __init__(
        self,
        fall: float = 0.9,
        confidence: float = 0.8,
        strength: float = 1.0,
        agreed: float = 0.8,
        scales: Sequence[float] = (0.7, 1.0, 1.5),
        mirror: bool = True,
        contested: str = "replace",
    ) -> None:
        self.fall = finite_number("fall", fall, above=0, below=1, fix="the paper's r is 0.9")
        self.confidence = finite_number("confidence", confidence, above=0, below=1, fix="the paper's is 0.8")
        self.strength = finite_number("strength", strength, above=0, fix="the paper's lambda is 1")
        self.agreed = finite_number("agreed", agreed, above=0, below=1, fix="the paper's rho is 0.8")
        self.scales = tuple(finite_number("each scale", scale, above=0.01, fix="such as 0.7") for scale in scales)
        if 1.0 not in self.scales:
            raise InvalidInputError("scales with 1 among them", got=str(tuple(scales)), fix="pass scales=(0.7, 1)")
        self.mirror = bool(mirror)
        if contested not in CONTESTED:
            raise unknown_name("way with contested pixels", contested, CONTESTED)
        self.contested = contested

    def identity(self) -> dict[str, Any]:
        """Return plain values that a run and the run that resumes it must share."""
        return {**super().identity(), "scales": list(self.scales)}

    def start(self, setup: Setup) -> None:
        """Make room for the classes' IoU by epochs.

        Raises
        ------
        InvalidInputError
            If the task is not of masks.
        """
        classes = parsing_task(setup).num_classes
        super().start(setup)
        self.curve = torch.zeros(0, classes, dtype=torch.float64)  # IoU, one row an epoch
        self.corrected = torch.zeros(classes, dtype=torch.bool)  # classes whose correction has begun
        self._met = torch.zeros(2, classes, dtype=torch.float64, device=setup.device)
        self._epoch = 0

    def passes(self, epoch: int, epochs: int) -> float:
        """Return the sample passes for each training sample: a copy counts with its area."""
        area = sum(scale**2 for scale in self.scales)
        return TRAINING_PASSES * area + (area if self._mirrors(epoch) else 0.0)

    def _mirrors(self, epoch: int) -> bool:
        return self.mirror and epoch >= LEAST_EPOCHS

    def start_epoch(self, epoch: int, model: nn.Module) -> None:
        """Take the epoch (0-based) down."""
        self._epoch = epoch

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the task's loss against the corrected masks, and the consistency of the scales."""
        task = parsing_task(self.setup)
        own = task.forward(model, batch)
        size = (own.final.shape[2], own.final.shape[3])
        probs = [
            own.final.float().softmax(1) if scale == 1 else self._scaled(model, batch, scale, size)
            for scale in self.scales
        ]
        with torch.no_grad():
            seen = (batch.given.shape[-2], batch.given.shape[-1])
            self._count(resized(probs[self.scales.index(1.0)].detach(), seen).argmax(1), batch.given.long())
            views = [p.detach() for p in probs]
            if self._mirrors(self._epoch):
                views += self._mirrored(model, batch, size)
            given = self.correct(batch.given, resized(torch.stack(views).mean(0), seen))
        loss = task.loss(own, dataclasses.replace(batch, given=given))
        if len(self.scales) > 1:
            loss = loss + self.strength * scale_consistency(probs, self.agreed)
        return loss

    def correct(self, given: Tensor, probs: Tensor) -> Tensor:
        """Return masks (B, H, W) as training is to see them, after predictions (B, K, H, W)."""
        if not self.corrected[1:].any():
            return given
        return corrected_masks(given, probs, self.corrected, self.confidence, contested=self.contested)

    def end_epoch(self) -> None:
        """Take the epoch's IoU down, and begin with the classes whose curve has slowed down."""
        both, either = distributed.all_reduce_sum(self._met).cpu()
        self._met.zero_()
        self.curve = torch.cat([self.curve, (both / either.clamp(min=1)).unsqueeze(0)])
        for number, values in enumerate(self.curve.T.numpy()):
            curve = None if self.corrected[number] else fitted_curve(values)
            if curve is not None and slowdown(*curve, epoch=len(values)) > self.fall:
                self.corrected[number] = True

    def state_dict(self) -> dict[str, Any]:
        """Return the classes' IoU by epochs, and which are under correction."""
        return {"curve": self.curve, "corrected": self.corrected}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.curve = state["curve"].double().cpu()
        self.corrected = state["corrected"].bool().cpu()

    def _scaled(self, model: nn.Module, batch: Batch, scale: float, size: tuple[int, int]) -> Tensor:
        """Return the probabilities of a rescaled copy, brought to the size of the unscaled one's."""
        height, width = (max(2, round(scale * side)) for side in batch.input.shape[-2:])
        copy = F.interpolate(batch.input, size=(height, width), mode="bilinear", align_corners=True)
        output = parsing_task(self.setup).forward(model, dataclasses.replace(batch, input=copy))
        return resized(output.final.float().softmax(1), size)

    def _mirrored(self, model: nn.Module, batch: Batch, size: tuple[int, int]) -> list[Tensor]:
        """Return the probabilities of each scale's mirrored copy, mirrored back."""
        network, swap = unwrap(model), list(parsing_task(self.setup).classes.flip_index)
        mirrored = dataclasses.replace(batch, input=batch.input.flip(-1))
        with evaluating(network):
            found = [self._scaled(network, mirrored, scale, size) for scale in self.scales]
        # Weights that autocast has cast without a gradient would be used again where one is needed.
        torch.clear_autocast_cache()
        return [probs.flip(-1)[:, swap] for probs in found]

    def _count(self, found: Tensor, given: Tensor) -> None:
        """Add a batch's pixels to each class's intersection and union."""
        classes = self._met.shape[1]
        known = given < classes
        labels, hits = given[known], found[known]
        both = torch.bincount(labels[labels == hits], minlength=classes)
        each = torch.bincount(labels, minlength=classes) + torch.bincount(hits, minlength=classes)
        self._met += torch.stack([both, each - both])


RECIPES.register(
    "adele",
    PLAIN_MASKS.replace(
        objective=AdaptiveEarlyLearning(),
        kinds=(KIND,),
        reference="Liu et al. 2022, Adaptive Early-Learning Correction for Segmentation from Noisy Annotations, "
        "arXiv:2110.03740",
    ),
)
