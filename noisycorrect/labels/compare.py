"""How labels differ: between generations, and from clean ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.given import ClassLabels, checked_labels, checked_mask
from noisycorrect.labels.masks import given_on_evidence
from noisycorrect.labels.store import SoftLabelStore
from noisycorrect.support.errors import InvalidInputError

VALUES_AT_ONCE = 2**23  # 32 MB of float32
MASKS_COMPARED = 512  # refining a mask takes tens of ms at full size; a cycle of a large set cannot pay that for each


def row_blocks(store: SoftLabelStore) -> Iterator[slice]:
    """Yield slices over all samples, each with few enough values to be worked on at once.

    Examples
    --------
    >>> [rows.stop for rows in row_blocks(SoftLabelStore.create(None, [0, 1] * 5, 2))]
    [10]
    """
    step = max(1, VALUES_AT_ONCE // store.num_classes) if store.kind == ClassLabels.kind else 1
    for start in range(0, len(store), step):
        yield slice(start, min(start + step, len(store)))


def mask_blocks(store: SoftLabelStore) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """Yield the labelled masks of a store at the resolution of their evidence, some at a time.

    Memory does not grow with the data set.

    Yields
    ------
    indices : ndarray of int64, shape (n,)
        Positions of the samples.
    given : Tensor, shape (n, h, w), int64
        Given masks; 255 where they ignore, and outside of them.
    evidence : Tensor, shape (n, K, h, w), float32
        Evidence.
    """
    rows = np.flatnonzero(store.labeled)
    step = max(1, VALUES_AT_ONCE // (store.evidence(rows[:1]).numel() or 1)) if len(rows) else 1
    for start in range(0, len(rows), step):
        indices = rows[start : start + step]
        evidence = store.evidence(indices)
        masks = [given_on_evidence(mask, evidence.shape[2:], store.frame) for mask in store.given(indices)]
        yield indices, torch.from_numpy(np.stack(masks)).long(), evidence


def changed_share(store: SoftLabelStore, before: int) -> float:
    """Return the share of labels (or of pixels) whose most probable class is another than in generation `before`.

    A sample that had no label then and has one now has changed. Of masks, 512 evenly spaced ones are compared.
    """
    changed = total = 0
    blocks = row_blocks(store) if store.kind == ClassLabels.kind else _some_masks(store)
    for rows in blocks:
        new, old = store.labels(rows), store.labels(rows, generation=before)
        for now, then in [(new, old)] if isinstance(new, np.ndarray) else zip(new, old, strict=True):
            changed += int((now != then).sum()) if now.shape == then.shape else now.size
            total += now.size
    return changed / total


def _some_masks(store: SoftLabelStore) -> Iterator[slice]:
    count = min(len(store), MASKS_COMPARED)
    for index in np.linspace(0, len(store) - 1, count).round().astype(int).tolist():
        yield slice(index, index + 1)


def checked_clean(store_kind: str, labels: Any, num_classes: int, length: int, name: str) -> Any:
    """Return clean labels that can be compared with a store's, or raise an InvalidInputError.

    Parameters
    ----------
    store_kind : {"classification", "segmentation"}
        Class labels are returned as an int64 array (N,); masks as they are, to be read one at a time.
    labels : array-like of int, shape (N,), or sequence of masks (H, W)
        True labels.
    num_classes, length : int
        K and N.
    name : str
        What messages call them.
    """
    if store_kind == ClassLabels.kind:
        labels = checked_labels(labels, num_classes, name=name)
    elif not hasattr(labels, "__len__") or not hasattr(labels, "__getitem__"):
        raise InvalidInputError(
            f"{name} to be a sequence of masks", got=type(labels).__name__, fix="pass a list of masks (H, W)"
        )
    if len(labels) != length:
        raise InvalidInputError(f"{name} for {length} samples", got=str(len(labels)), fix="pass one label a sample")
    return labels


def label_accuracy(store: SoftLabelStore, clean: np.ndarray) -> float:
    """Return the share of refined class labels that are the clean ones."""
    correct = sum(int((store.labels(rows) == clean[rows]).sum()) for rows in row_blocks(store))
    return correct / len(store)


def mask_confusion(store: SoftLabelStore, clean: Sequence[Any], *, generation: int | None = None) -> np.ndarray:
    """Return how clean pixels are labelled by the refined masks: float64 (K, K), [clean class, refined class].

    Parameters
    ----------
    store : SoftLabelStore
        Masks.
    clean : sequence of array-like of int, shape (H, W)
        True masks of the size of the given ones; 255 is not compared, nor are pixels that the given mask ignores, nor
        samples without a given mask, whose refined one has no size of its own.
    generation : int, optional
        Which labels; default: the current ones; 0 the given ones.
    """
    classes = store.num_classes
    confusion = np.zeros(classes * classes)
    for index in np.flatnonzero(store.labeled).tolist():
        truth = checked_mask(clean[index], classes, index).astype(np.int64)
        (found,) = store.labels(index, generation=generation)
        if found.shape != truth.shape:
            raise InvalidInputError(
                f"a clean mask of shape {found.shape}, as the given one",
                got=f"{truth.shape} at index {index}",
                fix="pass the clean masks in the images' own frame",
            )
        known = (truth < classes) & (found < classes)
        confusion += np.bincount(truth[known] * classes + found[known], minlength=classes * classes)
    return confusion.reshape(classes, classes)


def mask_quality(confusion: np.ndarray) -> dict[str, float]:
    """Return ``label_accuracy`` and ``label_mean_iou`` (over the classes that occur) of a confusion matrix, in [0, 1].

    Examples
    --------
    >>> mask_quality(np.array([[3.0, 1.0], [0.0, 4.0]]))
    {'label_accuracy': 0.875, 'label_mean_iou': 0.775}
    """
    hits = confusion.diagonal()
    union = confusion.sum(0) + confusion.sum(1) - hits
    with np.errstate(invalid="ignore"):
        return {
            "label_accuracy": float(hits.sum() / confusion.sum()),
            "label_mean_iou": float(np.nanmean(hits[union > 0] / union[union > 0])),
        }
