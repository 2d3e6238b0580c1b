"""One identity a person over the frames of a video: instance masks of each frame, matched along the motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.geometry.warp import warp_mask
from noisycorrect_seg.video.warping import warped

Instances = Callable[[np.ndarray], Any]
"""From a frame, RGB uint8 (H, W, 3), to who is where: integers (H, W) with 0 for nobody, bool (n, H, W), or an object
with one of these as ``.instances`` (a :func:`parse_people` result)."""

MOST = 65_535  # identities; masks of people are 16-bit
Masks = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Track:
    """A person who was seen.

    Attributes
    ----------
    identity : int
        From 1.
    mask : ndarray of bool, shape (h, w)
        Where the person is seen, or would be.
    hidden : ndarray of bool, shape (h, w)
        Where the person is thought to be behind others.
    step : ndarray of float64, shape (2,)
        The last known motion from frame to frame, (x, y).
    missed : int
        For how many frames the person has not been seen.
    """

    identity: int
    mask: Masks = field(repr=False)
    hidden: Masks = field(repr=False)
    step: NDArray[np.float64]
    missed: int = 0


@dataclass
class Tracker:
    """Gives the people of each frame the identities that they had before.

    The masks of those known are brought into the new frame along the flow; those hidden at present go on as they last
    moved. Known and new masks are assigned to each other so that the sum of their overlaps (IoU) is largest (the
    Hungarian method), none below `overlap`. What of a person disappears behind others is remembered, and moves as the
    person does: those left are matched by how much of the smaller mask lies in the other, hidden parts included.
    Who is still left is new.

    Parameters
    ----------
    overlap : float
        Least IoU of one person in two frames, in (0, 1].
    inside : float
        Least share of the smaller mask, in (0, 1], for those who are left.
    memory : int
        For how many frames a person who is not seen is remembered.

    Attributes
    ----------
    tracks : list of Track
        Those remembered.
    known : int
        How many people there were so far.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range.

    Examples
    --------
    >>> tracker = Tracker()
    >>> first, second = np.zeros((2, 4, 12), np.int64)
    >>> first[:, 1:4], first[:, 7:10] = 1, 2
    >>> second[:, 2:5], second[:, 8:11] = 2, 1  # a pixel to the right, and numbered otherwise
    >>> back = torch.tensor([-1.0, 0.0])[:, None, None].expand(2, 4, 12)
    >>> tracker.update(first, None), tracker.update(second, back)
    ({1: 1, 2: 2}, {1: 2, 2: 1})
    """

    overlap: float = 0.3
    inside: float = 0.6
    memory: int = 15
    tracks: list[Track] = field(default_factory=list)
    known: int = 0

    def __post_init__(self) -> None:
        for name in ("overlap", "inside"):
            if not 0 < finite_number(name, getattr(self, name), fix="0.3 is common") <= 1:
                raise InvalidInputError(f"0 < {name} <= 1", got=repr(getattr(self, name)), fix="0.3 is common")
        whole_number("memory", self.memory, least=0)

    def update(self, instances: np.ndarray, back: Tensor | None) -> dict[int, int]:
        """Return the identity of each number among a frame's instances, and remember who is where.

        Parameters
        ----------
        instances : ndarray of integers, shape (h, w)
            0 is nobody.
        back : Tensor, shape (2, h, w), or None
            Flow from this frame to the one before; None in a new scene, where nobody is known any more.
        """
        numbers = np.unique(instances[instances > 0])
        masks = instances[None] == numbers[:, None, None]
        tracks = [] if back is None else _moved(self.tracks, back)
        found = self._matched(tracks, masks)
        kept, named = [], {}
        for place, (number, mask) in enumerate(zip(numbers.tolist(), masks, strict=True)):
            before = tracks[found[place]] if place in found else None
            if before is None:
                self.known = min(self.known + 1, MOST)
                before = Track(self.known, mask, np.zeros_like(mask), np.zeros(2))
            named[int(number)] = before.identity
            hidden = before.hidden & (instances > 0) & ~mask
            mostly = mask.sum() > hidden.sum()  # of a small rest the flow is that of who is in front
            step = _step(back, mask) if back is not None and mostly else before.step
            kept.append(Track(before.identity, mask, hidden, step))
        gone = [track for place, track in enumerate(tracks) if place not in set(found.values())]
        lost = [
            replace(track, mask=track.mask | track.hidden, missed=track.missed + 1)
            for track in gone
            if track.missed < self.memory
        ]
        self.tracks = kept + lost
        return named

    def _matched(self, tracks: list[Track], masks: Masks) -> dict[int, int]:
        """Return the place of the known person for each new mask that has one."""
        if not tracks or not len(masks):
            return {}
        seen, whole = np.stack([track.mask for track in tracks]), np.stack([t.mask | t.hidden for t in tracks])
        both, sizes, others = _overlaps(seen, masks)
        found = _assigned(both / np.maximum(sizes + others - both, 1), self.overlap)
        both, sizes, others = _overlaps(whole, masks)
        left = both / np.maximum(np.minimum(sizes, others), 1)
        left[list(found.values())], left[:, list(found)] = 0, 0
        return found | _assigned(left, self.inside)

    def state(self) -> dict[str, np.ndarray]:
        """Return what is remembered, as arrays; :meth:`restore` takes it back.

        Examples
        --------
        >>> tracker, other = Tracker(), Tracker()
        >>> _ = tracker.update(np.eye(2, dtype=int), None)
        >>> other.restore(tracker.state())
        >>> other.tracks[0].identity, other.tracks[0].mask.tolist()
        (1, [[True, False], [False, True]])
        """
        tracks = self.tracks
        shape = tracks[0].mask.shape if tracks else (0, 0)
        return {
            "known": np.array(self.known),
            "identities": np.array([track.identity for track in tracks], np.int64),
            "missed": np.array([track.missed for track in tracks], np.int64),
            "steps": np.array([track.step for track in tracks], np.float64).reshape(-1, 2),
            "shape": np.array(shape),
            "masks": _packed([track.mask for track in tracks]),
            "hidden": _packed([track.hidden for track in tracks]),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what :meth:`state` returned."""
        shape = tuple(state["shape"].tolist())
        rows = zip(
            state["identities"].tolist(),
            _unpacked(state["masks"], shape),
            _unpacked(state["hidden"], shape),
            state["steps"],
            state["missed"].tolist(),
            strict=True,
        )
        self.known = int(state["known"])
        self.tracks = [Track(*row) for row in rows]


def _packed(masks: list[Masks]) -> np.ndarray:
    if not masks:  # nobody is in the picture
        return np.zeros((0, 0), np.uint8)
    return np.packbits(np.array(masks, bool).reshape(len(masks), -1), axis=1)


def _unpacked(bits: np.ndarray, shape: tuple[int, ...]) -> list[Masks]:
    return [np.unpackbits(row, count=int(np.prod(shape))).reshape(shape).astype(bool) for row in bits]


def _overlaps(known: Masks, masks: Masks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pixels that each known mask shares with each new one, and how many both have, to broadcast."""
    old, new = (np.reshape(each, (len(each), -1)).astype(np.float32) for each in (known, masks))
    return old @ new.T, old.sum(1)[:, None], new.sum(1)[None]


def _assigned(scores: np.ndarray, least: float) -> dict[int, int]:
    """Return the row of each column in the assignment with the largest sum, where the score is at least so much."""
    rows, columns = linear_sum_assignment(np.where(scores >= least, scores, 0), maximize=True)
    return {int(column): int(row) for row, column in zip(rows, columns, strict=True) if scores[row, column] >= least}


def _moved(tracks: list[Track], back: Tensor) -> list[Track]:
    """Return tracks in the next frame: those seen go along the flow, those hidden on as they last moved."""
    moved = []
    for track in tracks:
        # Along the flow back nothing arrives where others are in front now: what may be there goes on as a whole.
        hidden = _shifted(track.mask | track.hidden, track.step)
        if track.missed:
            mask = hidden
        else:
            there = warped(torch.from_numpy(track.mask).to(back.device).float()[None], back, "nearest")
            mask = (there[0] > 0.5).cpu().numpy()
        moved.append(replace(track, mask=mask, hidden=hidden))
    return moved


def _shifted(mask: Masks, step: NDArray[np.float64]) -> Masks:
    shifted: Masks = ndimage.shift(mask.astype(np.uint8), step[::-1], order=0).astype(bool)
    return shifted


def _step(back: Tensor, mask: Masks) -> NDArray[np.float64]:
    """Return how a person moved, from the flow to the frame before: its median."""
    inside = back[:, torch.from_numpy(mask).to(back.device)]
    step: NDArray[np.float64] = -inside.median(1).values.cpu().numpy().astype(np.float64)
    return step


def instance_map(found: Any, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Return what a caller's function found in a frame as integers (H, W), 0 for nobody; a stack's last is in front.

    Raises
    ------
    InvalidInputError
        If it is neither a map of the frame's size nor a stack of masks.

    Examples
    --------
    >>> instance_map(np.array([[[True, False]], [[True, True]]]), (1, 2)).tolist()
    [[2, 2]]
    """
    found = getattr(found, "instances", found)
    values = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found)
    if values.ndim == 3 and values.shape[1:] == shape and values.dtype == bool:
        order = np.arange(1, len(values) + 1)[:, None, None]
        numbers: NDArray[np.int64] = (values * order).max(0, initial=0)
        return numbers
    if values.shape != shape or values.dtype.kind not in "iu" or (values < 0).any():
        raise InvalidInputError(
            f"who is where in a frame: integers {shape} with 0 for nobody, or bool (n, {shape[0]}, {shape[1]})",
            got=f"{values.dtype} of shape {values.shape}",
            fix="see the argument instances of parse_video",
        )
    return values.astype(np.int64)


def shrunk(instances: NDArray[np.int64], matrix: np.ndarray, size: Size) -> NDArray[np.int64]:
    """Return who is where in the network's frame, with everybody of a frame: the smallest have a pixel there.

    Parameters
    ----------
    instances : ndarray, shape (H, W), int64
        0 is nobody.
    matrix, size
        As for :func:`~noisycorrect_seg.geometry.warp.warp_mask`.

    Examples
    --------
    >>> people, half = np.array([[1, 1, 1, 1, 1, 7, 1, 1]]), np.array([[0.5, 0, 0], [0, 1, 0]])
    >>> shrunk(people, half, (1, 4)).tolist()  # every other pixel, and 7
    [[1, 1, 7, 1]]
    """
    small: NDArray[np.int64] = warp_mask(instances, matrix, size, border=0)
    for number in np.unique(instances[~np.isin(instances, [0, *np.unique(small)])]):
        rows, columns = np.nonzero(instances == number)
        x, y = matrix @ (columns.mean(), rows.mean(), 1)
        # Nobody's only pixel is taken.
        _, places, counts = np.unique(small, return_inverse=True, return_counts=True)
        free = (small == 0) | (counts[places].reshape(small.shape) > 1)
        distances = np.hypot(np.arange(size[0])[:, None] - y, np.arange(size[1]) - x)
        if free.any():
            small.flat[np.where(free, distances, np.inf).argmin()] = number
    return small


def renumbered(instances: np.ndarray, named: dict[int, int]) -> NDArray[np.uint16]:
    """Return who is where by identities, uint16 (H, W).

    Examples
    --------
    >>> renumbered(np.array([[0, 7]]), {7: 2}).tolist()
    [[0, 2]]
    """
    table = np.zeros(int(instances.max(initial=0)) + 1, np.uint16)
    for number, identity in named.items():
        table[number] = identity
    people: NDArray[np.uint16] = table[instances]
    return people
