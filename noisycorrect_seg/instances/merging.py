"""Several people's claims on the same pixels, and who gets which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.instances.boxes import Window

BACKGROUND = 0


class Claim(NamedTuple):
    """What a network says of a person in a part of a picture.

    Attributes
    ----------
    window : Window
        The part.
    labels : ndarray, shape (h, w), uint8 or uint16
        The person's classes; a pixel of class 0 is not claimed.
    strength : ndarray, shape (h, w), float32
        How strongly a pixel is claimed; compared with other people's.
    """

    window: Window
    labels: NDArray[Any]
    strength: NDArray[np.float32]


def merged(shape: Size, claims: Iterable[Claim]) -> tuple[NDArray[np.int32], NDArray[Any], NDArray[np.float32]]:
    """Give each pixel to the person who claims it most strongly; of equal claims the first one counts.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the picture.
    claims : iterable of Claim
        Taken one at a time: no more than one is held.

    Returns
    -------
    instances : ndarray, shape `shape`, int32
        1 for the first claim; 0 where nobody claims.
    labels : ndarray, shape `shape`, uint8, or the claims' type if that is wider
        The winner's class; 0 where nobody claims.
    strength : ndarray, shape `shape`, float32
        The winner's; minus infinity where nobody claims.

    Examples
    --------
    >>> def claim(left, strength):
    ...     labels = np.full((1, 2), 3, np.uint8)
    ...     return Claim(Window(0, left, 1, left + 2), labels, np.full((1, 2), strength, np.float32))
    >>> merged((1, 4), [claim(0, 0.5), claim(1, 0.75)])[0]
    array([[1, 2, 2, 0]], dtype=int32)
    """
    instances, labels = np.zeros(shape, np.int32), np.zeros(shape, np.uint8)
    best = np.full(shape, -np.inf, np.float32)
    for number, claim in enumerate(claims, 1):
        place = claim.window.slices
        labels = labels.astype(np.promote_types(labels.dtype, claim.labels.dtype), copy=False)
        wins = (claim.labels != BACKGROUND) & (claim.strength > best[place])
        for target, value in ((instances, np.int32(number)), (labels, claim.labels), (best, claim.strength)):
            target[place] = np.where(wins, value, target[place])
    return instances, labels, best


def nearness(bottoms: Sequence[float], height: int) -> NDArray[np.float32]:
    """Return how near people are by where they stand, (n,), in [0, 1]: who stands lower in a picture is nearer.

    Feet below the picture's edge are not seen: all who reach the edge are equally near.

    Examples
    --------
    >>> nearness([50, 100, 130], 100).tolist()
    [0.5, 1.0, 1.0]
    """
    return (np.asarray(bottoms, np.float32) / np.float32(height)).clip(0, 1)
