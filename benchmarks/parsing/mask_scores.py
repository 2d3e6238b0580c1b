"""How good training masks are after a run, and how well its evidence finds the pixels that are wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from noisycorrect import CorrectionResult
from noisycorrect.labels.refine import blend
from noisycorrect_seg.datasets import ParsingDataset
from noisycorrect_seg.geometry.refined import evidence_on_mask
from noisycorrect_seg.masks import IGNORE_INDEX
from noisycorrect_seg.review import mask_quality
from noisycorrect_seg.task import HumanParsing

BATCH = 32
MOST_PIXELS = 1_000_000  # that the area under the curve is reckoned from, evenly spaced


def label_scores(
    result: CorrectionResult,
    canonical: ParsingDataset,
    task: HumanParsing,
    given: Sequence[np.ndarray],
    clean: Sequence[np.ndarray],
) -> dict[str, Any]:
    """Compare given and corrected training masks with the clean ones.

    The evidence about a pixel is the label store's; of a method that refines nothing, its final network's prediction.
    The corrected masks are the store's; of such a method, given label and evidence blended, the trust in a given label
    being the evidence's probability of it.

    Parameters
    ----------
    result : CorrectionResult
        Of the run.
    canonical : ParsingDataset
        The training images, without augmentation.
    task : HumanParsing
        The run's.
    given, clean : sequence of ndarray of uint8, each of shape (H, W)
        The masks that it trained on, and the right ones.

    Returns
    -------
    dict
        ``labels_before`` and ``labels_after``, each with ``label_accuracy`` and ``label_mean_iou``; ``issue_auroc``,
        the area under the ROC curve of finding wrong pixels by how improbable their given label is (None without any);
        ``noise_rate``.
    """
    refined = result.labels.generation > 0
    source = _stored(result) if refined else _predicted(result, canonical, task)
    before, after = (np.zeros((task.num_classes, task.num_classes)) for _ in range(2))
    wrong, doubt = [], []
    for index, evidence in enumerate(source):
        labels, truth = given[index], clean[index]
        probs = evidence_on_mask(evidence, labels.shape, task.size)
        quality, blended = _agreement(labels, probs)
        found = result.labels.labels(index)[0] if refined else blended
        known = (labels != IGNORE_INDEX) & (truth != IGNORE_INDEX)
        before += _confusion(truth[known], labels[known], task.num_classes)
        after += _confusion(truth[known], found[known], task.num_classes)
        wrong.append((labels != truth)[known])
        doubt.append(1 - quality[known])
    return {
        "labels_before": mask_quality(before),
        "labels_after": mask_quality(after),
        "issue_auroc": _auroc(np.concatenate(wrong), np.concatenate(doubt)),
        "noise_rate": float(np.concatenate(wrong).mean()),
    }


def agreement_by_mask(
    result: CorrectionResult, canonical: ParsingDataset, task: HumanParsing, given: Sequence[np.ndarray]
) -> np.ndarray:
    """Return how far a run's network agrees with each training mask, float64 (N,), in [0, 1].

    The mean over the classes of a mask of the mean probability of its pixels: the background counts as one of them.
    """
    found = []
    for index, evidence in enumerate(_predicted(result, canonical, task)):
        labels = given[index]
        quality, _ = _agreement(labels, evidence_on_mask(evidence, labels.shape, task.size))
        classes = [label for label in np.unique(labels) if label != IGNORE_INDEX]
        found.append(np.mean([quality[labels == label].mean() for label in classes]) if classes else 0.0)
    return np.array(found, np.float64)


def _stored(result: CorrectionResult) -> Iterator[Tensor]:
    for index in range(len(result.labels)):
        yield result.labels.evidence(index)[0]


@torch.no_grad()
def _predicted(result: CorrectionResult, canonical: ParsingDataset, task: HumanParsing) -> Iterator[Tensor]:
    model = result.model.eval()
    device = next(model.parameters()).device
    for start in range(0, len(canonical), BATCH):
        rows = range(start, min(start + BATCH, len(canonical)))
        images = torch.stack([canonical[index]["image"] for index in rows])
        yield from task.probs(model(images.to(device))).cpu()


def _agreement(labels: np.ndarray, probs: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of each given label, and the most probable classes of the blend, each (H, W)."""
    given = torch.from_numpy(labels.astype(np.int64))[None]
    known = given < len(probs)
    quality = probs[None].gather(1, (given * known).unsqueeze(1)).squeeze(1)
    blended = blend(given, probs[None], quality)
    return quality[0].numpy(), blended[0].argmax(0).numpy()


def _confusion(truth: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    pairs = truth.astype(np.int64) * classes + found
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _auroc(wrong: np.ndarray, doubt: np.ndarray) -> float | None:
    step = -(-len(wrong) // MOST_PIXELS)
    wrong, doubt = wrong[::step], doubt[::step]
    if not wrong.any() or wrong.all():
        return None
    return float(roc_auc_score(wrong, doubt))
