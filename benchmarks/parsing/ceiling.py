"""How far two people agree on the masks of one photo: nearer than that no model can be shown to be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.signal import fftconvolve

from noisycorrect_seg.datasets import source_named
from noisycorrect_seg.datasets.ccp import TWINS
from noisycorrect_seg.scores import confusion_matrix, scores_from_confusion

ANNOTATED_TWICE = {"ccp": TWINS}  # names of photos that were published twice, with masks of their own, two by two


def agreement_of_annotators(dataset: str, data_dir: Path | None) -> str | None:
    """Return in words how far the masks of photos that were annotated twice agree; None without any.

    Parameters
    ----------
    dataset : str
        Name of the data set.
    data_dir : Path or None
        Its folder.
    """
    if dataset not in ANNOTATED_TWICE or data_dir is None:
        return None
    source = source_named(dataset, data_dir, "train")
    places = {source.name(index): index for index in range(len(source))}
    classes, pairs = len(source.classes), 0
    counts = torch.zeros(classes, classes, dtype=torch.int64)
    twice = ANNOTATED_TWICE[dataset]
    for pair in zip(twice[::2], twice[1::2], strict=True):
        if not all(name in places for name in pair):
            continue
        images = [source.image(places[name]).mean(2) for name in pair]
        masks = [source.mask(places[name]) for name in pair]
        one, other = (torch.from_numpy(mask.astype("int64")) for mask in _overlap(images, masks))
        counts += confusion_matrix(other, one, classes) + confusion_matrix(one, other, classes)
        pairs += 1
    if not pairs:
        return None
    scores = scores_from_confusion(counts)
    seen = int(scores["iou"].isfinite().sum())
    return (
        f"{pairs} photos were annotated twice. One person's masks against the other's, where the photos overlap:"
        f" {100 * scores['pixel_accuracy']:.1f} % of pixels, mean IoU {100 * scores['mean_iou']:.1f} % over {seen}"
        " classes. The validation masks are by such people: no model can be shown to be much better than that."
    )


def _overlap(images: Sequence[np.ndarray], masks: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """Return what two masks have in common, once their photos lie on each other: they were cut out differently."""
    first, second = (image - image.mean() for image in images)
    likeness = fftconvolve(first, second[::-1, ::-1])
    peak = np.unravel_index(likeness.argmax(), likeness.shape)
    shift = [int(place) - side + 1 for place, side in zip(peak, second.shape, strict=True)]
    start = [max(0, by) for by in shift]
    stop = [min(own, by + side) for own, by, side in zip(first.shape, shift, second.shape, strict=True)]
    parts = []
    for mask, by in zip(masks, ((0, 0), shift), strict=True):
        assert mask is not None  # CCP has a mask for each
        parts.append(mask[start[0] - by[0] : stop[0] - by[0], start[1] - by[1] : stop[1] - by[1]])
    return parts
