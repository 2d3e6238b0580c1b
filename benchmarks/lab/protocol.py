"""What every cell of the robustness study goes through: noisy labels, a noisy validation set, scores.

A tenth of the training set is held out as validation, with labels as noisy as the rest's. A method is scored by its
test accuracy after the last epoch, and after the epoch with the best accuracy on that noisy validation set. Clean
labels score; they choose nothing.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn

from benchmarks.lab.datasets import Benchmark, Labels, stratified_subset
from benchmarks.lab.methods import EpochWatcher, Outcome
from noisycorrect import noise
from noisycorrect.classification.methods.prune_retrain import PruneRetrainResult
from noisycorrect.result import CorrectionResult
from noisycorrect.review.issues import label_quality
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.support.modules import evaluating

VALIDATION_SHARE = 0.1
CURVE_SAMPLES = 2000  # of the test set, for curves alone: scoring all of CIFAR-10's costs a third of an epoch
_EVALUATION_BATCH = 500


@dataclass(frozen=True, eq=False)
class Problem:
    """A data set with wrong labels, divided into training and validation samples.

    Attributes
    ----------
    inputs : Tensor, float32, shape (N, ...)
        Of the training samples.
    given, clean : ndarray of int64, shape (N,)
        Their noisy and their right labels.
    val_inputs : Tensor, float32, shape (M, ...)
        Of the validation samples.
    val_given : ndarray of int64, shape (M,)
        Their noisy labels.
    """

    inputs: Tensor
    given: Labels
    clean: Labels
    val_inputs: Tensor
    val_given: Labels

    @property
    def changed(self) -> npt.NDArray[np.bool_]:
        """Which training labels are wrong, shape (N,)."""
        return np.not_equal(self.given, self.clean)

    @property
    def noise_rate(self) -> float:
        """Share of wrong training labels."""
        return float(self.changed.mean())


def noise_model(spelling: str, data: Benchmark) -> noise.NoiseModel:
    """Return the noise model of that spelling; "human:KEY" takes the labels that people gave to this data set.

    Raises
    ------
    InvalidInputError
        If there is none, or it is no noise of labels.
    """
    name, _, key = spelling.partition(":")
    if name == noise.OpenSet.name:
        raise InvalidInputError("noise of labels", got=spelling, fix="open-set noise needs a pool of foreign inputs")
    if name != noise.Human.name:
        return noise.parse(spelling)
    if key not in data.human_labels:
        raise unknown_name(f"set of human labels of {data.name}", key, data.human_labels)
    return noise.Human(data.human_labels[key])


def make_problem(data: Benchmark, spelling: str, seed: int) -> Problem:
    """Give a data set wrong labels, and hold a tenth out as validation, in the proportions of the given labels.

    Parameters
    ----------
    data : Benchmark
        The data set.
    spelling : str
        The noise; see :func:`noise_model`.
    seed : int
        Seed of noise and division.

    Raises
    ------
    InvalidInputError
        If the noise is unknown, or a tenth of the samples are fewer than the classes.

    Examples
    --------
    >>> from benchmarks.lab.datasets import load
    >>> problem = make_problem(load("digits", subset=200), "symmetric:0.4", seed=0)
    >>> len(problem.given), len(problem.val_given), round(problem.noise_rate, 2)
    (180, 20, 0.39)
    """
    noisy = noise_model(spelling, data).apply(
        data.train_labels, num_classes=data.num_classes, seed=seed, inputs=data.train_inputs
    )
    given = noisy.labels
    held_out = np.zeros(len(given), dtype=bool)
    held_out[stratified_subset(given, round(VALIDATION_SHARE * len(given)), seed=seed)] = True
    kept = ~held_out
    return Problem(
        inputs=data.train_inputs[torch.from_numpy(kept)],
        given=given[kept],
        clean=data.train_labels[kept],
        val_inputs=data.train_inputs[torch.from_numpy(held_out)],
        val_given=given[held_out],
    )


class Watcher(EpochWatcher):
    """Scores the model after every epoch; to be finished with the returned model.

    Parameters
    ----------
    problem : Problem
        Gives the noisy validation set.
    test_inputs : Tensor, float32, shape (T, ...)
        The test set.
    test_labels : ndarray of int64, shape (T,)
        Its right labels.

    Attributes
    ----------
    history : list of dict
        ``epoch`` (epochs done), ``val_accuracy`` (against noisy labels), ``test_accuracy`` (of at most 2,000 test
        samples, evenly spaced); once finished, ``sample_passes`` as well, the run's divided evenly among the epochs.
    seconds : float
        What scoring took.
    """

    def __init__(self, problem: Problem, test_inputs: Tensor, test_labels: Labels) -> None:
        self._val = problem.val_inputs, torch.from_numpy(problem.val_given)
        self._test = test_inputs, torch.from_numpy(test_labels)
        some = torch.from_numpy(np.unique(np.linspace(0, len(test_labels) - 1, CURVE_SAMPLES).round().astype(np.int64)))
        self._curve = (test_inputs[some], self._test[1][some]) if len(some) < len(test_labels) else self._test
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self._best: tuple[float, int, nn.Module | None] = (-1.0, 0, None)
        self._latest: tuple[float, int, nn.Module | None] = (-1.0, 0, None)

    def see(self, model: nn.Module, epoch: int) -> None:
        """Score the model of an epoch."""
        start = time.perf_counter()
        self._keep_best()
        scores = {"val_accuracy": accuracy(model, *self._val), "test_accuracy": accuracy(model, *self._curve)}
        self.history.append({"epoch": epoch, **scores})
        self._latest = scores["val_accuracy"], epoch, copy.deepcopy(model)
        self.seconds += time.perf_counter() - start

    def finish(self, model: nn.Module, sample_passes: int, *, before: int = 0) -> dict[str, Any]:
        """Return the scores of a run.

        Parameters
        ----------
        model : nn.Module
            The one that the run returned; it stands for the last epoch.
        sample_passes : int
            Of the whole run.
        before : int, default 0
            Those of them that were made before the first epoch.

        Returns
        -------
        dict
            ``test_accuracy`` of the last epoch; ``selected_accuracy``, the test accuracy at the epoch with the best
            accuracy on the noisy validation set, the last of equal ones, and which it is, ``selected_epoch``;
            ``history``.
        """
        last, final = accuracy(model, *self._val), accuracy(model, *self._test)
        if self.history:
            self.history[-1] |= {"val_accuracy": last, "test_accuracy": accuracy(model, *self._curve)}
        score, epoch, best = self._best
        if best is None or last >= score:
            epoch, selected = self._latest[1], final
        else:
            selected = accuracy(best, *self._test)
        for record in self.history:
            record["sample_passes"] = round(before + (sample_passes - before) * record["epoch"] / self._latest[1])
        history = [{name: round(value, 4) for name, value in record.items()} for record in self.history]
        return {"test_accuracy": final, "selected_accuracy": selected, "selected_epoch": epoch, "history": history}

    def _keep_best(self) -> None:
        # The latest epoch is no candidate before the next one came: of the last one, the returned model is scored.
        if self._latest[2] is not None and self._latest[0] >= self._best[0]:
            self._best = self._latest


@torch.no_grad()
def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Return the share of inputs (N, ...) whose largest logit is that of their label (N,), in evaluation mode.

    Examples
    --------
    >>> accuracy(nn.Identity(), torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    0.5
    """
    device = next((parameter.device for parameter in model.parameters()), inputs.device)
    with evaluating(model):
        parts = (inputs[start : start + _EVALUATION_BATCH] for start in range(0, len(inputs), _EVALUATION_BATCH))
        predicted = [model(part.to(device)).argmax(1).cpu() for part in parts]
    return int((torch.cat(predicted) == labels).sum()) / len(labels)


def label_scores(result: Outcome, problem: Problem) -> dict[str, Any]:
    """Return what a run says of its training labels.

    Parameters
    ----------
    result : CorrectionResult or PruneRetrainResult
        What the run returned.
    problem : Problem
        What it was trained on.

    Returns
    -------
    dict
        ``train_label_accuracy``, the share of refined labels that are right; ``issue_auroc`` and
        ``issue_average_precision``, how well low label quality finds the wrong given labels; ``estimated_rate`` and
        ``estimated_interval``, the run's own estimate of the share of wrong labels. None where the method has nothing
        to say, or no label (or each) is wrong.
    """
    names = ("train_label_accuracy", "issue_auroc", "issue_average_precision", "estimated_rate", "estimated_interval")
    scores: dict[str, Any] = dict.fromkeys(names)
    if isinstance(result, CorrectionResult) and result.labels.generation > 0:
        store = result.labels
        scores["train_label_accuracy"] = store.kind.quality(store.labels, problem.clean)["label_accuracy"]
        quality = label_quality(torch.from_numpy(store.given().copy()), store.evidence()).numpy()
        estimate = result.estimate_noise()
        scores |= {"estimated_rate": float(estimate.rate), "estimated_interval": list(estimate.interval)}
    elif isinstance(result, PruneRetrainResult):
        quality = result.quality.numpy()
    else:
        return scores
    return scores | detection(quality, problem.changed)


def detection(quality: npt.NDArray[Any], changed: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    """Return how well low quality (N,) finds the wrong labels, as :func:`label_scores` names it.

    Examples
    --------
    >>> detection(np.array([0.9, 0.2]), np.array([False, True]))
    {'issue_auroc': 1.0, 'issue_average_precision': 1.0}
    """
    if not changed.any() or changed.all():
        return {}
    doubt = 1 - quality
    return {
        "issue_auroc": float(roc_auc_score(changed, doubt)),
        "issue_average_precision": float(average_precision_score(changed, doubt)),
    }
