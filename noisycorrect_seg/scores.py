"""How well label maps agree: pixel accuracy, mean accuracy, mean IoU, Boundary IoU; streaming and exact."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.support import distributed
from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.geometry.boundary import BoundaryCounts, boundary_counts, boundary_distance, boundary_iou
from noisycorrect_seg.geometry.maps import resized, winners
from noisycorrect_seg.masks import IGNORE_INDEX, WIDE_IGNORE_INDEX, check_ignored, ignore_index

SCORES_AT_ONCE = 2**24  # 64 MB of float32: scores are resized a few images at a time


def confusion_matrix(pred: Tensor, labels: Tensor, num_classes: int, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Count pixels by label and predicted class.

    Parameters
    ----------
    pred, labels : Tensor of int, same shape
        Classes 0..K-1. Pixels whose label is `ignore_index` are left out, whatever `pred` says there.
    num_classes : int
        K.
    ignore_index : int
        Marks labels that do not count.

    Returns
    -------
    Tensor, shape (K, K), int64
        ``[label, predicted]``, on the device of `labels`.

    Raises
    ------
    InvalidInputError
        If the shapes differ or a class is out of range, the message names the value; or if `ignore_index` is the
        default of 255 and there are more classes.

    Examples
    --------
    >>> confusion_matrix(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 1, 255]), 2)
    tensor([[1, 1],
            [0, 1]])
    """
    if pred.shape != labels.shape:
        raise InvalidInputError(
            f"predictions of the labels' shape {tuple(labels.shape)}",
            got=str(tuple(pred.shape)),
            fix="bring both into one frame, or pass scores (N, K, h, w), which are resized",
        )
    check_ignored(ignore_index, num_classes)
    wide = labels.long()  # uint8 would take -1 for 255
    known = wide != ignore_index
    truth, found = wide[known], pred.to(labels.device)[known].long()
    _check_range("labels", truth, num_classes, f"correct the labels, num_classes or ignore_index={ignore_index}")
    _check_range("predictions", found, num_classes, "num_classes= and the model's last layer must agree")
    return torch.bincount(truth * num_classes + found, minlength=num_classes**2).reshape(num_classes, num_classes)


def iou_from_confusion(confusion: Tensor) -> Tensor:
    r"""Return the IoU of each class, float64 (K,), in [0, 1]; NaN for a class in neither labels nor predictions.

    :math:`IoU_k = c_{kk} / (\sum_j c_{kj} + \sum_j c_{jk} - c_{kk})` (Jaccard index).

    Parameters
    ----------
    confusion : Tensor, shape (K, K)
        ``[label, predicted]``, see :func:`confusion_matrix`.

    Examples
    --------
    >>> iou_from_confusion(torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    tensor([0.7500, 0.8000,    nan], dtype=torch.float64)
    """
    confusion = confusion.double()
    hits = confusion.diagonal()
    return hits / (confusion.sum(0) + confusion.sum(1) - hits)


def recall_from_confusion(confusion: Tensor) -> Tensor:
    r"""Return the accuracy of each class, :math:`c_{kk} / \sum_j c_{kj}`, float64 (K,); NaN for one without labels.

    Examples
    --------
    >>> recall_from_confusion(torch.tensor([[3, 1], [0, 0]]))
    tensor([0.7500,    nan], dtype=torch.float64)
    """
    confusion = confusion.double()
    return confusion.diagonal() / confusion.sum(1)


def scores_from_confusion(confusion: Tensor) -> dict[str, Any]:
    r"""Return the metrics of a confusion matrix, in both conventions; see :meth:`SegmentationMetrics.compute`.

    Standard: means over the classes that occur (:math:`\sum_j c_{kj} > 0` for accuracy; in labels or predictions for
    IoU). Published (the SCHP evaluator): means over all K classes with denominators :math:`\max(1, n)`, so that a class
    that does not occur counts 0.

    Examples
    --------
    >>> scores = scores_from_confusion(torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]))
    >>> round(scores["mean_iou"], 3), round(scores["published_mean_iou"], 3)
    (0.775, 0.517)
    """
    confusion = confusion.double()
    total = confusion.sum()
    iou, recall = iou_from_confusion(confusion), recall_from_confusion(confusion)
    seen = bool(total > 0)
    return {
        "pixel_accuracy": float(confusion.diagonal().sum() / total),
        "mean_accuracy": float(recall.nanmean()),
        "mean_iou": float(iou.nanmean()),
        "published_mean_accuracy": float(recall.nan_to_num(0).mean()) if seen else math.nan,
        "published_mean_iou": float(iou.nan_to_num(0).mean()) if seen else math.nan,
        "iou": iou,
    }


class SegmentationMetrics:
    """Metrics of label maps, from sums that ranks can add up.

    Parameters
    ----------
    num_classes : int
        K, at least 2.
    ignore_index : int
        Marks pixels of the labels that do not count; no class has this number.
    boundary_width : int or float, optional
        Also compute Boundary IoU: pixels to either side of an outline (a whole number), or a share of the image's
        diagonal (in (0, 1); 0.02 is the paper's). Images are then measured at the size of their labels.

    Raises
    ------
    InvalidInputError
        If an argument is out of range.

    Examples
    --------
    >>> metrics = SegmentationMetrics(num_classes=3)
    >>> metrics.update(torch.tensor([[0, 1, 1]]), torch.tensor([[0, 0, 1]]))
    >>> metrics.update(torch.tensor([[0, 2]]), torch.tensor([[0, 255]]))
    >>> scores = metrics.compute()
    >>> round(scores["pixel_accuracy"], 3), round(scores["mean_iou"], 3), scores["iou"]
    (0.75, 0.583, tensor([0.6667, 0.5000,    nan], dtype=torch.float64))
    """

    def __init__(
        self, num_classes: int, ignore_index: int = IGNORE_INDEX, *, boundary_width: float | None = None
    ) -> None:
        self.num_classes = whole_number("num_classes", num_classes, least=2)
        if 0 <= ignore_index < self.num_classes:
            common = IGNORE_INDEX if self.num_classes <= IGNORE_INDEX else WIDE_IGNORE_INDEX
            raise InvalidInputError(
                f"an ignore_index outside 0..{self.num_classes - 1}", got=str(ignore_index), fix=f"{common} is common"
            )
        if boundary_width is not None:
            boundary_distance(boundary_width, 1, 1)
        self.ignore_index = ignore_index
        self.boundary_width = boundary_width
        # Counts are exact in float64 up to 9e15 pixels; every backend adds it.
        self.confusion = torch.zeros(self.num_classes, self.num_classes, dtype=torch.float64)  # [label, predicted]
        self.boundary = torch.zeros(3, self.num_classes, dtype=torch.float64)  # rows: see BoundaryCounts

    @door(own=True)
    def update(self, pred: Any, labels: Any) -> None:
        """Take in predictions and labels.

        Parameters
        ----------
        pred : Tensor or ndarray
            Class indices, int, of the labels' shape; or scores, float (N, K, h, w) (probabilities or logits), which are
            resized to the labels' size (bilinear, corners aligned) before the largest wins. Of probabilities and logits
            the resized winners can differ.
        labels : Tensor or ndarray of int, shape (N, H, W) or (H, W)
            0..K-1, or `ignore_index`. For one image, (H, W), scores are (K, h, w) or (1, K, h, w).

        Raises
        ------
        InvalidInputError
            If shapes do not fit, a class is out of range or a score is not finite. Nothing is counted then.
        """
        pred, labels = _as_tensor(pred, "predictions"), _as_tensor(labels, "labels")
        if labels.dim() not in (2, 3) or labels.is_floating_point():
            raise InvalidInputError(
                "labels as whole numbers of shape (N, H, W) or (H, W)",
                got=f"{labels.dtype} of shape {tuple(labels.shape)}",
                fix="pass class indices",
            )
        if pred.is_floating_point():
            if labels.dim() == 2:
                labels, pred = labels[None], pred if pred.dim() == 4 else pred[None]
            pred = self._winners(pred, labels)
        labels = labels.to(pred.device)
        counts = confusion_matrix(pred, labels, self.num_classes, self.ignore_index)
        if self.boundary_width is not None:
            maps = pred.reshape(-1, *pred.shape[-2:]), labels.reshape(-1, *labels.shape[-2:])
            near = boundary_counts(*maps, self.num_classes, self.ignore_index, width=self.boundary_width)
            self.boundary += torch.stack(near).cpu()
        self.confusion += counts.cpu()

    def _winners(self, scores: Tensor, labels: Tensor) -> Tensor:
        count, (height, width) = len(labels), labels.shape[-2:]
        if scores.dim() != 4 or scores.shape[:2] != (count, self.num_classes):
            raise InvalidInputError(
                f"scores of shape ({count}, {self.num_classes}, h, w)",
                got=str(tuple(scores.shape)),
                fix="make num_classes= and the model's last layer agree",
            )
        if not torch.isfinite(scores).all():
            raise InvalidInputError("finite scores", got="NaN or infinity", fix="look at the model's output")
        scores = scores.detach().to(torch.promote_types(scores.dtype, torch.float32))
        step = max(1, SCORES_AT_ONCE // max(1, self.num_classes * height * width))
        parts = [winners(resized(scores[start : start + step], (height, width))) for start in range(0, count, step)]
        return torch.cat(parts) if parts else labels

    def reduce(self) -> None:
        """Add up over all ranks; every rank calls it, once."""
        self.confusion = distributed.all_reduce_sum(self.confusion)
        self.boundary = distributed.all_reduce_sum(self.boundary)

    def class_recall(self) -> Tensor:
        """Return the share of each class's labels that were predicted, float64 (K,); NaN for a class without labels."""
        return recall_from_confusion(self.confusion)

    def class_boundary_iou(self) -> Tensor:
        """Return the Boundary IoU of each class, float64 (K,); NaN for a class without an outline, or if not asked for.

        See :func:`noisycorrect_seg.geometry.boundary.boundary_iou`.
        """
        return boundary_iou(BoundaryCounts(*self.boundary))

    def compute(self) -> dict[str, Any]:
        """Return the metrics by name, all in [0, 1]; NaN where nothing was seen.

        Returns
        -------
        dict
            - ``pixel_accuracy``;
            - ``mean_accuracy``, ``mean_iou``: means over the classes that occur (the standard convention);
            - ``published_mean_accuracy``, ``published_mean_iou``: the SCHP evaluator's, in which a class that does not
              occur counts 0;
            - ``iou``: float64 (K,), NaN for a class in neither labels nor predictions;
            - with `boundary_width`: ``mean_boundary_iou``, over the classes that have an outline, and
              ``boundary_iou``, float64 (K,).
        """
        scores = scores_from_confusion(self.confusion)
        if self.boundary_width is not None:
            near = self.class_boundary_iou()
            scores |= {"mean_boundary_iou": float(near.nanmean()), "boundary_iou": near}
        return scores

    def scalars(self) -> dict[str, float]:
        """Return those metrics that are single numbers: what a history or a JSON file holds."""
        return {name: value for name, value in self.compute().items() if isinstance(value, float)}


class ParsingMetrics:
    """:class:`SegmentationMetrics` as plain numbers: one ``iou_NAME`` a class.

    Examples
    --------
    >>> metrics = ParsingMetrics(Classes("own", ("background", "person")))
    >>> metrics.update(torch.tensor([[[0, 1]]]), torch.tensor([[[0, 1]]]))
    >>> metrics.compute()["iou_person"]
    1.0
    """

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self._metrics = SegmentationMetrics(len(classes), ignore_index(len(classes)))

    def update(self, probs: Tensor, labels: Tensor) -> None:
        """Take in predictions, (n, K, h, w), and masks (n, H, W), to whose size they are resized.

        Of masks 255 is left out, of more than 255 classes 65535.
        """
        self._metrics.update(probs, labels.to(probs.device))

    def reduce(self) -> None:
        """Add up over all ranks."""
        self._metrics.reduce()

    def class_recall(self) -> Tensor:
        """Return the share of each class's pixels that were predicted, (K,); NaN for a class without pixels."""
        return self._metrics.class_recall()

    def compute(self) -> dict[str, float]:
        """Return the metrics in [0, 1] by name; NaN where nothing was seen."""
        iou = self._metrics.compute()["iou"]
        return self._metrics.scalars() | {
            f"iou_{name}": float(value) for name, value in zip(self.classes.names, iou, strict=True)
        }


def _as_tensor(values: Any, name: str) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    array = np.asarray(values)
    if array.dtype.kind not in "iufb":
        raise InvalidInputError(f"{name} as numbers", got=str(array.dtype), fix="pass a tensor or an array")
    plain = np.asarray(array, array.dtype.newbyteorder("="), order="C")  # torch takes no other
    return torch.from_numpy(plain if plain.flags.writeable else plain.copy())


def _check_range(name: str, values: Tensor, num_classes: int, fix: str) -> None:
    if not values.numel():
        return
    least, most = (int(value) for value in torch.aminmax(values))
    if least < 0 or most >= num_classes:
        raise InvalidInputError(f"{name} in 0..{num_classes - 1}", got=str(least if least < 0 else most), fix=fix)
