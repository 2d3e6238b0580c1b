"""What a given mask and its evidence share at the evidence's resolution, and where they part.

A mask is finer than evidence about it. Where the two say the same at the resolution of the evidence, nothing speaks
against the mask's own borders, and blurring them with the evidence would only lose detail. So the evidence is read as a
*maximal coupling*: around a place as many pixels of a class keep their label as the evidence has mass for, and the
others take what it has in excess. Of flat labels, as coarse as their evidence, this is the evidence itself, and SCHP's
Eq. 7 is what is blended from it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect_seg.geometry.frame import Size, letterbox

LEAST_EXCESS = 1e-6  # of probability: below it nothing is left that a pixel could take


class Axis(NamedTuple):
    """How the pixels along one axis of some masks lie on the places of their evidence.

    Attributes
    ----------
    at : Tensor, shape (n,), float32
        Where each pixel's centre lies, in places from 0.
    counted, places : Tensor, shape (m,), int64
        Which pixel is counted in the share of which place: each in the nearest one, and, where places lie closer than
        pixels, the nearest pixel in each place that would have none.
    pixels : Tensor, shape (cells,), float32
        How many pixels a place would be shared by, were the mask to fill the whole frame; at least 1.
    """

    at: Tensor
    counted: Tensor
    places: Tensor
    pixels: Tensor

    def some(self, picked: slice) -> Axis:
        """Return the same with the positions of some of the pixels."""
        return self._replace(at=self.at[picked])


def axes_of(shape: Size, cells: Size, frame: Size | None = None) -> tuple[Axis, Axis]:
    """Return how the rows and the columns of a mask lie on evidence that covers its frame corner to corner.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the mask.
    cells : (int, int)
        Height and width of the evidence.
    frame : (int, int), optional
        Height and width of the canonical frame, which holds the mask in its middle; None: the mask is the frame.

    Examples
    --------
    >>> rows, _ = axes_of((4, 4), (2, 2))
    >>> rows.at, rows.counted.tolist(), rows.places.tolist(), rows.pixels.tolist()
    (tensor([0.0000, 0.3333, 0.6667, 1.0000]), [0, 1, 2, 3], [0, 0, 1, 1], [2.0, 2.0])
    """
    matrix = np.eye(2, 3) if frame is None else letterbox(shape, frame)
    found = []
    for axis, side in enumerate(shape):
        row = 1 - axis  # the matrix has x first
        zoom, shift = (1.0, 0.0) if frame is None else (matrix[row, row], matrix[row, 2])
        edge = (side if frame is None else frame[axis]) - 1
        unit = (cells[axis] - 1) / max(edge, 1)
        # The mask's own grid of pixels, continued to the edges of the frame.
        first, last = np.ceil((-0.5 - shift) / zoom), np.floor((edge + 0.5 - shift) / zoom)
        everywhere = np.arange(min(first, 0), max(last, side - 1) + 1)
        positions = (zoom * everywhere + shift) * unit
        places = _nearest(positions, cells[axis])
        empty = np.setdiff1d(np.arange(cells[axis]), places)
        closest = np.abs(positions[:, None] - empty).argmin(0)
        pixels, places = np.append(everywhere, everywhere[closest]), np.append(places, empty)
        on_mask = (pixels >= 0) & (pixels < side)
        found.append(
            Axis(
                torch.from_numpy(((zoom * np.arange(side) + shift) * unit).astype(np.float32)),
                torch.from_numpy(pixels[on_mask].astype(np.int64)),
                torch.from_numpy(places[on_mask]),
                torch.from_numpy(np.bincount(places, minlength=cells[axis]).astype(np.float32)),
            )
        )
    return found[0], found[1]


def _nearest(at: np.ndarray, cells: int) -> np.ndarray:
    return np.floor(at + 0.5).clip(0, cells - 1).astype(np.int64)


def area_means(given: Tensor, axes: tuple[Axis, Axis], num_classes: int) -> Tensor:
    """Return masks at the resolution of their evidence: the share of each class in the pixels around each place.

    Parameters
    ----------
    given : Tensor, shape (B, H, W), int64
        Masks; what is outside 0..K-1 is ignored.
    axes : (Axis, Axis)
        Of their rows and columns; see :func:`axes_of`.
    num_classes : int
        K.

    Returns
    -------
    Tensor, shape (B, K, h, w), float32
        In [0, 1]; at most 1 in sum: what is ignored or lies outside of the mask is of no class.

    Examples
    --------
    >>> area_means(torch.tensor([[[0, 1, 1, 255]]]), axes_of((1, 4), (1, 2)), 2)[0, :, 0]
    tensor([[0.5000, 0.0000],
            [0.5000, 0.5000]])
    """
    rows, columns = axes
    height, width = len(rows.pixels), len(columns.pixels)
    place = (rows.places[:, None] * width + columns.places).to(given.device)
    if (len(rows.counted), len(columns.counted)) != given.shape[1:]:  # places that lie closer than pixels
        given = given[:, rows.counted.to(given.device)][:, :, columns.counted.to(given.device)]
    sample = torch.arange(len(given), device=given.device)[:, None, None]
    known = (given >= 0) & (given < num_classes)
    bins = ((sample * num_classes + given) * (height * width) + place)[known]
    counts = torch.bincount(bins, minlength=len(given) * num_classes * height * width)
    pixels = (rows.pixels[:, None] * columns.pixels).to(given.device)
    return counts.view(len(given), num_classes, height, width) / pixels


class Coupling(NamedTuple):
    """What masks and their evidence share, at the evidence's resolution.

    Attributes
    ----------
    expected : Tensor, shape (B, K, h, w), float32
        What evidence that agrees with the masks says at least, in [0, 1].
    found : Tensor, shape (B, K, h, w), float32
        What it says, in [0, 1].
    excess : Tensor, shape (B, K, h, w), float32
        How much more than expected it says, at least 0.
    """

    expected: Tensor
    found: Tensor
    excess: Tensor


def coupled(means: Tensor, evidence: Tensor) -> Coupling:
    r"""Return what masks and evidence share, and what the evidence has in excess.

    With g the given mask's area means and e the evidence, a pixel of class c keeps its label with the share
    :math:`\min(1, \tfrac12 (e + S e)_c / S g_c)`, and takes of the others what is in excess, :math:`\max(0, e - S g)`.
    S is a 3 x 3 binomial mean: networks blur, and their places are not quite those of the mask's pixels, so that
    evidence from g to S g, and a little aside, contradicts nothing. Without S and where g sums to 1 this is the maximal
    coupling of two distributions (Thorisson 2000, "Coupling, Stationarity, and Regeneration", ch. 1): of all that have
    these means it changes the fewest pixels.

    Parameters
    ----------
    means, evidence : Tensor, shape (B, K, h, w), floating
        :func:`area_means`, and probabilities.

    Examples
    --------
    >>> means = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    >>> coupling = coupled(means, torch.tensor([0.75, 0.25]).reshape(1, 2, 1, 1))
    >>> [maps.flatten().tolist() for maps in coupling]
    [[1.0, 0.0], [0.75, 0.25], [0.0, 0.25]]
    """
    expected = _around(means)
    return Coupling(expected, (evidence + _around(evidence)) / 2, (evidence - expected).clamp_(min=0))


def _around(maps: Tensor) -> Tensor:
    """Return the mean of each place and its neighbours, weighted 1-2-1 along both axes; the border goes on."""
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    return (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 16


def own_share(given: Tensor, coupling: Coupling, axes: tuple[Axis, Axis]) -> Tensor:
    """Return the share of its own class that each pixel keeps, between places bilinearly.

    Parameters
    ----------
    given : Tensor, shape (B, H, W), int64
        Masks, or some rows of them.
    coupling : Coupling
        Of the masks and their evidence.
    axes : (Axis, Axis)
        Of these rows and columns.

    Returns
    -------
    Tensor, shape (B, H, W)
        In [0, 1]; 1 where a pixel is ignored.

    Examples
    --------
    >>> given = torch.tensor([[[0, 0, 255]]])
    >>> evidence = torch.tensor([[[[0.5, 0.0]], [[0.5, 1.0]]]])
    >>> own_share(given, coupled(torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]]), evidence), axes_of((1, 3), (1, 2)))
    tensor([[[0.4375, 0.2500, 1.0000]]])
    """
    batch, classes, height, width = coupling.found.shape
    device = coupling.found.device
    known = (given >= 0) & (given < classes)
    sample = torch.arange(batch, device=device)[:, None, None]
    first = (sample * classes + given * known) * (height * width)
    both = torch.stack([coupling.found.flatten(), coupling.expected.flatten()], -1)
    here = torch.zeros(*given.shape, 2, device=device, dtype=torch.float32)
    rows, columns = (_two_places(axis.at.to(device), cells) for axis, cells in zip(axes, (height, width), strict=True))
    for row, row_weight in rows:
        for column, column_weight in columns:
            weight = row_weight[:, None] * column_weight
            here += both[first + (row[:, None] * width + column)] * weight.unsqueeze(-1)
    share = (here[..., 0] / here[..., 1].clamp(min=1e-12)).clamp(max=1)
    return torch.where(known, share, 1.0)


def _two_places(at: Tensor, cells: int) -> list[tuple[Tensor, Tensor]]:
    """Return the two places beside each position along an axis, and what each weighs."""
    at = at.clamp(0, cells - 1)
    low = at.floor().long()
    weight = at - low
    return [(low, 1 - weight), ((low + 1).clamp(max=cells - 1), weight)]


def composed(given: Tensor, own: Tensor, excess: Tensor, trust: Tensor) -> Tensor:
    r"""Return refined masks: :math:`\tau\,y + (1 - \tau)\,x / \sum_k x_k` with :math:`\tau = t + (1 - t)\,k_y`.

    Parameters
    ----------
    given : Tensor, shape (B, H, W), int64
        Masks y; what is outside 0..K-1 is ignored.
    own : Tensor, shape (B, H, W)
        :func:`own_share` k.
    excess : Tensor, shape (B, K, H, W)
        Excess x brought to the pixels; is written to.
    trust : Tensor, shape (B,) or (B, H, W)
        Weight t on the given label, in [0, 1].

    Returns
    -------
    Tensor, shape (B, K, H, W)
        Sums to 1; zero at ignored pixels. A pixel for which nothing is left keeps its label.

    Examples
    --------
    >>> excess = torch.tensor([0.0, 0.25]).reshape(1, 2, 1, 1)
    >>> composed(torch.tensor([[[0]]]), torch.tensor([[[0.75]]]), excess, torch.tensor([0.5])).flatten()
    tensor([0.8750, 0.1250])
    """
    total = excess.sum(1)
    weight = trust.reshape(len(trust), 1, 1) if trust.dim() == 1 else trust
    share = torch.where(total > LEAST_EXCESS, weight + (1 - weight) * own, 1.0).clamp(max=1)
    refined = excess.mul_(((1 - share) / total.clamp(min=LEAST_EXCESS)).unsqueeze(1))
    known = (given >= 0) & (given < excess.shape[1])
    refined.scatter_add_(1, (given * known).unsqueeze(1), share.to(refined.dtype).unsqueeze(1))
    return refined.masked_fill_(~known.unsqueeze(1), 0)
