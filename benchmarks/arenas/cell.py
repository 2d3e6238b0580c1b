"""One run of the arena: a row on a place, its scores, and the digest of the code that they depend on."""

from __future__ import annotations

import contextlib
import functools
import math
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.metrics import recall_score
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from benchmarks.arenas.classical import CLASSICAL, Question
from benchmarks.arenas.contenders import Contender, contender
from benchmarks.arenas.networks import NETWORKS
from benchmarks.arenas.optimizers import OPTIMIZERS
from benchmarks.arenas.problems import Choice, Prepared, prepare
from benchmarks.lab.augmentation import crop_and_mirror, disturb_features
from benchmarks.lab.datasets import Labels
from benchmarks.lab.methods import PRUNE_RETRAIN, QUIET, Training, epochs_of, fit_row
from benchmarks.lab.networks import initialised
from benchmarks.lab.protocol import detection, label_scores
from benchmarks.lab.sources import sources_digest
from noisycorrect import noise
from noisycorrect.result import CorrectionResult
from noisycorrect.support.errors import InvalidInputError, NonFiniteLossError, TrainingWarning
from noisycorrect.support.modules import evaluating

if TYPE_CHECKING:
    from benchmarks.arenas.plan import Place

BATCH_SIZE = 64
_ROWS_AT_ONCE = 500
#: Modules that bring rows together, or name every part there is: what a row takes of them is in its identity.
_CLOSED = (
    "benchmarks.arenas.contenders",
    "benchmarks.lab.methods",
    "benchmarks.lab.protocol",
    "noisycorrect.recipe",
    "noisycorrect.result",
)
_TABLES = (
    "ROBUST_ABLATIONS", "LABEL_METHODS", "DEFAULT_METHODS", "OWN", "ROBUST_2025", "DEVELOPMENT", "REPORT", "NOISES",
)  # fmt: skip
#: Evidence and its review: rows that correct nothing only hold their given labels in a store.
_EVIDENCE = ("noisycorrect.classification.kind", "noisycorrect.labels.store", "noisycorrect.correction.in_training")
_TRAINING = ("noisycorrect.corrector", "noisycorrect.classification.task")
_REVIEW = ("noisycorrect.review.issues", "noisycorrect.review.noise_rate")
_SIMULATED = ("annotators", "imbalance", "human")


@dataclass(frozen=True)
class Cell:
    """One run; all that its result depends on, but for the code.

    `budget` is in epochs of plain training; `recipe` is the whole recipe as text; `data` tells sets of one name apart.
    """

    dataset: str
    noise: str
    method: str
    seed: int
    network: str
    preparation: str
    optimizer: str
    budget: int
    rows: int
    test_rows: int
    lr: float
    batch_size: int
    data: str
    recipe: str

    def code(self) -> str:
        """Return the digest of the sources that the result depends on."""
        return code_of_row(self.method, self.noise)


@functools.cache
def code_of_row(method: str, noise_name: str) -> str:
    """Return the digest of what a row's training and scoring can reach, and of what makes the noise.

    Examples
    --------
    >>> code_of_row("ce", "none") == code_of_row("robust-2025", "none")
    False
    """
    row = contender(method)
    return sources_digest(roots_of(row, noise_name), closed=closed_to(row), tables=_TABLES)


def closed_to(row: Contender) -> tuple[str, ...]:
    """Return the modules whose imports do not count for a row."""
    uses_evidence = row.kind == "self-correction" or row.name == PRUNE_RETRAIN
    return _CLOSED if uses_evidence else (*_CLOSED, *_EVIDENCE)


def roots_of(row: Contender, noise_name: str) -> set[str]:
    """Return the modules that a cell of a row begins with.

    Examples
    --------
    >>> sorted(roots_of(contender("knn"), "none") - {"benchmarks.arenas.cell"})
    ['benchmarks.arenas.classical', 'noisycorrect.classification.noise.transition']
    """
    roots = {"benchmarks.arenas.cell", *row.modules()}
    if row.method is not None:
        roots.update(_TRAINING)
    if row.kind == "self-correction":
        roots.update(_REVIEW)
    name = noise_name.partition(":")[0]
    model = noise.Symmetric(0.1) if name in _SIMULATED else noise.parse(noise_name)
    return roots | {type(model).__module__}


# ---------------------------------------------------------------- the run


def run_cell(paths: dict[str, tuple[str | None, str]], cell: Cell) -> dict[str, Any]:
    """Train a row on a place, and score it.

    Parameters
    ----------
    paths : dict
        File or folder and label column of each set; where a set lies is no part of its cells.
    cell : Cell
        The run.

    Returns
    -------
    dict
        ``test_accuracy`` and ``balanced_accuracy`` (mean recall of the test set's classes) after the last epoch, and
        ``vanished``, how many of these classes no test row is given; ``given_accuracy``, the share of given training
        labels that the model repeats; what :func:`benchmarks.lab.protocol.label_scores` has, and the ``verdict``;
        ``noise_rate``; ``train_rows``, ``classes``, ``epochs``, ``sample_passes``, ``seconds`` of training and
        scoring, ``cpu_seconds``; ``diverged``, whether
        the training ran into numbers that are not finite, and ``refused``, the message of a row that would not take the
        data: both count as guessing; ``warned``, whether a :class:`noisycorrect.TrainingWarning` was given.
    """
    row = contender(cell.method)
    data = prepare(
        Choice(cell.dataset, *paths[cell.dataset], cell.noise, cell.preparation, cell.seed, cell.rows, cell.test_rows)
    )
    found: dict[str, Any] = {"diverged": False, "refused": None}
    start, processor = time.perf_counter(), time.process_time()
    with threadpool_limits(torch.get_num_threads()), training_warnings() as warned:
        try:
            found |= _without_network(row, data, cell) if row.method is None else _trained(row, data, cell)
        except NonFiniteLossError:
            found["diverged"] = True
        except InvalidInputError as error:
            found["refused"] = str(error)
    if found["diverged"] or found["refused"]:
        chance = 1 / data.num_classes
        found |= {"test_accuracy": chance, "balanced_accuracy": chance}
    return {
        "seconds": time.perf_counter() - start,
        **found,
        "warned": bool(warned),
        "cpu_seconds": time.process_time() - processor,
        "noise_rate": data.problem.noise_rate,
        "train_rows": len(data.problem.given),
        "test_rows": len(data.test_labels),
        "classes": data.num_classes,
        "kind": row.kind,
        "published": row.published,
        "networks": 0 if row.method is None else row.method.networks,
    }


@contextlib.contextmanager
def training_warnings() -> Iterator[list[str]]:
    """Yield a list that takes in the training warnings of a block instead of the screen; others are shown after it.

    Raw inputs are on purpose here, and hundreds of cells would say so.

    Examples
    --------
    >>> with training_warnings() as found:
    ...     warnings.warn("inputs are large", TrainingWarning)
    >>> found
    ['inputs are large']
    """
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TrainingWarning)
        try:
            yield found
        finally:
            found += [str(each.message) for each in caught if issubclass(each.category, TrainingWarning)]
    for each in caught:
        if not issubclass(each.category, TrainingWarning):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _trained(row: Contender, data: Prepared, cell: Cell) -> dict[str, Any]:
    assert row.method is not None
    problem, images = data.problem, data.problem.inputs.ndim == 4
    make = functools.partial(NETWORKS[cell.network], math.prod(problem.inputs.shape[1:]), data.num_classes)
    epochs = epochs_of(row.method, cell.budget, len(problem.given))
    training = Training(
        model=initialised(make, cell.seed),
        inputs=problem.inputs,
        given=problem.given,
        num_classes=data.num_classes,
        epochs=epochs,
        lr=cell.lr,
        batch_size=cell.batch_size,
        seed=cell.seed,
        noise_rate=problem.noise_rate,
        augment=crop_and_mirror if images else None,
        own_augment=None if images else functools.partial(disturbed, deviation=data.deviation),
        callbacks=(QUIET,),
        optimizer=OPTIMIZERS[cell.optimizer].factory,
    )
    result = fit_row(row.method, training)
    logits = predict(result.model, data.test_inputs)
    if not np.isfinite(logits).all():
        return {"diverged": True, "epochs": epochs}
    repeated = predict(result.model, problem.inputs).argmax(1) == problem.given
    corrected = isinstance(result, CorrectionResult) and result.labels.generation > 0
    return {
        **accuracies(logits.argmax(1), data.test_labels),
        **label_scores(result, problem),
        "verdict": result.verdict() if corrected and isinstance(result, CorrectionResult) else None,
        "given_accuracy": float(repeated.mean()),
        "epochs": epochs,
        "sample_passes": result.sample_passes,
    }


def _without_network(row: Contender, data: Prepared, cell: Cell) -> dict[str, Any]:
    given = data.problem.given
    answer = CLASSICAL[row.name](Question(data.train_features, given, data.num_classes, data.test_features, cell.seed))
    found = accuracies(answer.predicted, data.test_labels)
    if answer.quality is not None:
        found |= detection(answer.quality, data.problem.changed)
    if answer.cleaned is not None:
        found["train_label_accuracy"] = float((answer.cleaned == data.problem.clean).mean())
    return found


def disturbed(features: Tensor, deviation: Tensor) -> Tensor:
    """Return vectors disturbed as :func:`benchmarks.lab.augmentation.disturb_features` does, each feature on its scale.

    Examples
    --------
    >>> disturbed(torch.zeros(1, 2), torch.tensor([[1.0, 100.0]])).shape
    torch.Size([1, 2])
    """
    scale = deviation.clamp(min=1e-6)
    return disturb_features(features / scale, dropped=0.1) * scale


def accuracies(predicted: Labels, labels: Labels) -> dict[str, Any]:
    """Return the share of right predictions, the mean share over the classes of `labels`, how many of them vanished.

    Examples
    --------
    >>> accuracies(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
    {'test_accuracy': 0.75, 'balanced_accuracy': 0.5, 'vanished': 1}
    """
    known = np.unique(labels)
    recalls = recall_score(labels, predicted, labels=known, average=None, zero_division=0.0)
    return {
        "test_accuracy": float((predicted == labels).mean()),
        "balanced_accuracy": float(recalls.mean()),
        "vanished": int((~np.isin(known, predicted)).sum()),
    }


@torch.no_grad()
def predict(model: nn.Module, inputs: Tensor) -> np.ndarray:
    """Return the logits (N, K) of inputs, in evaluation mode."""
    device = next((parameter.device for parameter in model.parameters()), inputs.device)
    with evaluating(model):
        parts = [model(part.to(device)).float().cpu() for part in torch.split(inputs, _ROWS_AT_ONCE)]
    return torch.cat(parts).numpy()


def cell_of(place: Place, method: str, *, budget: int, rows: int, test_rows: int, data: str) -> Cell:
    """Return the cell of a row on a place."""
    return Cell(
        place.entry.name,
        place.noise,
        method,
        place.seed,
        place.network,
        place.preparation,
        place.optimizer,
        budget,
        rows,
        test_rows,
        OPTIMIZERS[place.optimizer].lr,
        BATCH_SIZE,
        data,
        contender(method).identity,
    )
