"""Prune and retrain: leave out the labels that cross-validation contradicts, and train on the others.

Northcutt, Jiang, Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels": the baseline of cleaning
data once, before training, instead of correcting it meanwhile.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from noisycorrect.callbacks import Callback, Progress
from noisycorrect.classification.task import Classification
from noisycorrect.correction.part import TRAINING_PASSES
from noisycorrect.correction.twin import reinitialised
from noisycorrect.corrector import SelfCorrector
from noisycorrect.data.batches import LabelView, make_loader
from noisycorrect.data.datasets import ArrayDataset, MapStyleDataset, as_dataset, read_given
from noisycorrect.data.forms import rows_taken
from noisycorrect.data.items import labeled_item, split_fields, weight_among
from noisycorrect.labels.given import checked_labels
from noisycorrect.recipe import RECIPES, OptimizerFactory
from noisycorrect.result import CorrectionResult
from noisycorrect.review.confident_learning import METHODS, find_errors
from noisycorrect.review.issues import label_quality
from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, unknown_name, warn_of_training
from noisycorrect.support.rng import derived_seed
from noisycorrect.training.engine import Engine, resolve_device, resolve_precision


@dataclass
class PruneRetrainResult:
    """The outcome of :func:`prune_retrain`.

    Attributes
    ----------
    model : nn.Module
        Trained on the labels that were kept, in evaluation mode.
    kept : ndarray, shape (N,), bool
        Which labels were kept.
    probs : Tensor, shape (N, K), float32
        Class probabilities of each sample from the model that was trained without it.
    quality : Tensor, shape (N,), float32
        Probability of each given label in `probs`; low is suspicious.
    sample_passes : int
        Compute of all trainings and predictions, forward 1, backward 2.
    history : list of dict
        The last record of each training, as in :class:`~noisycorrect.CorrectionResult`, with ``fold``: 1, 2, ... for
        the folds, then 0 for the last training. ``sample_passes`` counts from the beginning.
    """

    model: nn.Module = field(repr=False)
    kept: np.ndarray = field(repr=False)
    probs: Tensor = field(repr=False)
    quality: Tensor = field(repr=False)
    sample_passes: int
    history: list[dict[str, float]] = field(repr=False)


def prune_retrain_epochs(budget_epochs: int, folds: int = 5) -> int:
    """Divide a budget of epochs over the trainings of :func:`prune_retrain`.

    Parameters
    ----------
    budget_epochs : int
        Epochs of cross-entropy on all samples that the whole may cost, 3 sample passes each.
    folds : int
        At least 2.

    Returns
    -------
    int
        The largest number of epochs E for each training that costs no more, whatever share is kept:
        3 E (folds - 1) for the folds, 1 for the predictions and at most 3 E for the last training.

    Raises
    ------
    InvalidInputError
        If the budget is too small for one epoch.

    Examples
    --------
    >>> prune_retrain_epochs(60, folds=5)
    11
    """
    folds = whole_number("folds", folds, least=2)
    budget = whole_number("budget_epochs", budget_epochs, least=1)
    epochs = int((TRAINING_PASSES * budget - 1) // (TRAINING_PASSES * folds))
    if epochs < 1:
        raise InvalidInputError(
            f"a budget of at least {folds + 1} epochs for {folds} folds", got=str(budget), fix="take fewer folds"
        )
    return epochs


@door
def prune_retrain(
    model: nn.Module,
    train: Any,
    val: Any = None,
    *,
    num_classes: int,
    epochs: int,
    folds: int = 5,
    lr: float | None = None,
    batch_size: int | None = None,
    optimizer: OptimizerFactory | None = None,
    seed: int = 0,
    augment: Callable[[Any], Any] | None = None,
    device: str | torch.device = "auto",
    callbacks: Iterable[Callback] = (),
    method: str = "prune-by-noise-rate",
    fresh: bool = True,
) -> PruneRetrainResult:
    """Find wrong labels by cross-validation, leave them out, and train on the others.

    The samples are divided into folds with equal shares of each given class. For each fold a copy of the model with
    freshly initialised layers (frozen ones stay) is trained with cross-entropy on the other folds and predicts this
    one;
    :func:`~noisycorrect.review.confident_learning.find_errors` then says which labels contradict these predictions.
    Last, the model is trained, from the weights that it comes with, on the labels that are left. Each training takes
    `epochs` epochs, so all of it takes about ``3 * epochs * (folds - 1 + kept share) + 1`` passes a sample;
    :func:`prune_retrain_epochs` divides a budget.

    Parameters
    ----------
    model : nn.Module
        Network with logits (N, K) as output; it is copied, not changed.
    train, val : Dataset, pair of arrays, or DataLoader
        As for :meth:`SelfCorrector.fit <noisycorrect.SelfCorrector.fit>`; `val` is measured after the last training.
        Of a data set with ``canonical()`` that one is predicted. Every sample needs a label. Weights in the data count
        in every training.
    num_classes : int
        K.
    epochs : int
        Epochs of each training, at least 1.
    folds : int
        At least 2, and no more than the rarest given class has samples.
    lr, batch_size, optimizer, augment, device
        As for :class:`~noisycorrect.SelfCorrector`, for every training; the defaults are those of the recipe ``"ce"``.
    seed : int
        Of folds, fresh weights and trainings, >= 0.
    callbacks : iterable of Callback
        Of the last training; nothing is shown of the folds.
    method : str
        See :func:`~noisycorrect.review.confident_learning.find_errors`.
    fresh : bool
        Whether the layers of each fold's network are initialised anew. False starts every fold from the model's own
        weights: for a pretrained network, which must not have seen these labels.

    Returns
    -------
    PruneRetrainResult

    Raises
    ------
    InvalidInputError
        If an argument or the data are not usable, a class has fewer samples than there are folds, or no layer of the
        model can be initialised anew. Runs in one process: with several ranks, too.
    NonFiniteLossError
        If a loss becomes NaN or infinite.

    Warns
    -----
    TrainingWarning
        If no label of a class is left: the model that is returned does not know it.

    Examples
    --------
    >>> inputs = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    >>> labels = (inputs[:, 0] > 0).long()
    >>> result = prune_retrain(nn.Linear(5, 2), (inputs, labels), num_classes=2, epochs=5, folds=3, lr=0.5)
    >>> result.probs.shape, bool(result.kept.mean() > 0.8)
    (torch.Size([60, 2]), True)
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    data = as_dataset(train, "train")
    task = Classification(num_classes, allow_empty_classes=True)  # pruning may leave a class without samples
    given = _checked_given(data, num_classes, folds := whole_number("folds", folds, least=2))
    fit = functools.partial(
        _fit, task=task, lr=lr, batch_size=batch_size, optimizer=optimizer, augment=augment, device=device,
        epochs=whole_number("epochs", epochs, least=1),
    )  # fmt: skip
    seed = whole_number("seed", seed, least=0)
    canonical = data.canonical() if callable(getattr(data, "canonical", None)) else data  # type: ignore[attr-defined]
    probs = torch.empty(len(given), num_classes, dtype=torch.float32)
    history: list[dict[str, float]] = []
    passes = 0
    for fold, (others, held_out) in enumerate(_folds(given, folds, seed), start=1):
        start = reinitialised(model, derived_seed(seed, "weights of a fold", fold)) if fresh else model
        trained = fit(start, data, canonical, given, others, seed=derived_seed(seed, "training of a fold", fold))
        probs[torch.from_numpy(held_out)] = _predict(trained.model, task, canonical, given, held_out, device)
        passes += trained.sample_passes + len(held_out)
        history.append({**trained.history[-1], "fold": fold, "sample_passes": passes})
    kept = ~find_errors(given, probs.numpy(), method)
    if not kept.any():
        raise InvalidInputError("labels that are right", got="none, says cross-validation", fix="check given labels")
    _warn_of_lost(given, kept)
    final = fit(model, data, canonical, given, np.flatnonzero(kept), val=val, callbacks=callbacks, seed=seed)
    passes += final.sample_passes
    history.append({**final.history[-1], "fold": 0, "sample_passes": passes})
    return PruneRetrainResult(final.model, kept, probs, label_quality(torch.from_numpy(given), probs), passes, history)


def prune_retrain_passes(samples: int, epochs: int, *, folds: int = 5) -> int:
    """Return the sample passes of :func:`prune_retrain` at most, as if no label was pruned.

    Parameters
    ----------
    samples, epochs, folds : int
        As for :func:`prune_retrain`.

    Examples
    --------
    >>> prune_retrain_passes(1000, 11)
    166000
    """
    # Each fold trains on all samples but its own, which it predicts; then the retraining, on all at most.
    return RECIPES["ce"].passes(samples, epochs=epochs) * whole_number("folds", folds, least=2) + samples


def _checked_given(data: MapStyleDataset, num_classes: int, folds: int) -> np.ndarray:
    given = read_given(data, 0)
    Classification(num_classes).check_given(given)
    labels = checked_labels(given, num_classes)
    if (labels < 0).any():
        raise InvalidInputError("a label for every sample", got="-1", fix="leave out the unlabelled samples")
    counts = np.bincount(labels, minlength=num_classes)
    if counts.min() < folds:
        raise InvalidInputError(
            f"at least {folds} samples of each class for {folds} folds",
            got=f"{counts.min()} of class {counts.argmin()}",
            fix="take fewer folds",
        )
    return labels


def _warn_of_lost(given: np.ndarray, kept: np.ndarray) -> None:
    """Warn if no label of a class is left."""
    lost = np.setdiff1d(given, given[kept])
    if len(lost):
        others = f", nor of {len(lost) - 1} more" if len(lost) > 1 else ""
        warn_of_training(
            "labels of every class to be left after pruning",
            got=f"none of the {(given == lost[0]).sum()} of class {lost[0]}{others}: the model will not know it",
            fix='pass method="both", which prunes fewer labels, or label more of that class',
        )


def _folds(given: np.ndarray, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (training positions, held-out positions) of each fold."""
    # Imported here: scikit-learn takes a second to import.
    from sklearn.model_selection import StratifiedKFold

    divide = StratifiedKFold(folds, shuffle=True, random_state=derived_seed(seed, "folds") % 2**32)
    return list(divide.split(given, given))


def _fit(
    model: nn.Module,
    data: MapStyleDataset,
    canonical: MapStyleDataset,
    given: np.ndarray,
    rows: np.ndarray,
    *,
    task: Classification,
    val: Any = None,
    callbacks: Iterable[Callback] = (Progress(enabled=False),),
    **settings: Any,
) -> CorrectionResult:
    """Train with cross-entropy on some samples."""
    corrector = SelfCorrector(model, task=task, recipe="ce", callbacks=callbacks, **settings)
    part = _part(data, given, rows)
    return corrector.fit(part, val, canonical=part if canonical is data else _part(canonical, given, rows))


def _predict(
    model: nn.Module,
    task: Classification,
    data: MapStyleDataset,
    given: np.ndarray,
    rows: np.ndarray,
    device: str | torch.device,
) -> Tensor:
    """Return class probabilities of some samples, float32 (n, K), on the CPU."""
    where = resolve_device(device)
    engine = Engine(task, where, precision=resolve_precision("auto", where))
    view = LabelView(_part(data, given, rows), None, seed=0)
    batches = [list(range(start, min(start + 256, len(rows)))) for start in range(0, len(rows), 256)]
    loader = make_loader(view, batches, 0, pin_memory=where.type == "cuda")
    return torch.cat([probs.cpu() for _, probs in engine.predict(model, loader)])


class _Part(Dataset[Any]):
    """Some samples of a data set, as inputs, labels and weights: positions that items carry are those in the whole."""

    def __init__(self, data: MapStyleDataset, given: np.ndarray, rows: np.ndarray) -> None:
        self.data = data
        self.rows = rows
        self.labels = given[rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        inputs, _, _, extra = split_fields(self.data[int(self.rows[index])])
        return labeled_item(inputs, int(self.labels[index]), weight_among(extra))


def _part(data: MapStyleDataset, given: np.ndarray, rows: np.ndarray) -> MapStyleDataset:
    if isinstance(data, ArrayDataset):  # whole batches are indexed at once
        weights = None if data.sample_weight is None else data.sample_weight[rows]
        return ArrayDataset(rows_taken(data.inputs, rows), given[rows], weights)
    return _Part(data, given, rows)
