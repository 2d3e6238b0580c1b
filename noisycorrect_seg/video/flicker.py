"""How much masks of a film flicker, and how much they should."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.masks import IGNORE_INDEX


class Flicker(NamedTuple):
    """Pixels whose class changed although their matter's did not.

    Attributes
    ----------
    changed, compared : int
        How many changed, and of how many.
    """

    changed: int
    compared: int

    @property
    def share(self) -> float:
        """The share of the compared pixels that changed; NaN if none was compared."""
        return self.changed / self.compared if self.compared else float("nan")


@door(own=True)
def flicker(
    masks: Iterable[np.ndarray],
    true_masks: Iterable[np.ndarray],
    flows: Sequence[Any] | Iterable[Any],
    *,
    ignore_index: int = IGNORE_INDEX,
) -> Flicker:
    """Return the share of pixels whose class changes from frame to frame although the true one does not.

    Each pixel of a frame is compared with where its matter was in the frame before, along the true motion, at the
    nearest pixel. Pixels that come from outside the picture do not count; nor do those whose true class differs (they
    are covered there, or lie at an outline), or is unknown.

    Parameters
    ----------
    masks : iterable of ndarray (H, W)
        Predicted, a frame each; integers.
    true_masks : iterable of ndarray (H, W)
        The right ones.
    flows : iterable of ndarray (H, W, 2)
        Of each frame but the first, the displacements to the frame before, x first.
    ignore_index : int
        What unknown pixels of the true masks are: 255; of more than 255 classes 65535.

    Returns
    -------
    Flicker
        Pooled over the frames.

    Raises
    ------
    InvalidInputError
        If they are not as many, or not of one size.

    Examples
    --------
    >>> true = [np.array([[0, 1, 1, 0]]), np.array([[0, 0, 1, 1]])]  # all moves to the right
    >>> left = np.zeros((1, 4, 2)) - (1, 0)
    >>> flicker(true, true, [left]), flicker([true[0], true[0]], true, [left]).share
    (Flicker(changed=0, compared=3), 0.6666666666666666)
    """
    changed = compared = 0
    before: tuple[np.ndarray, np.ndarray] | None = None
    motions = iter(flows)
    pairs = zip(map(np.asarray, masks), map(np.asarray, true_masks), strict=True)
    frame = -1
    for frame, (mask, true) in enumerate(pairs):
        if mask.shape != true.shape or mask.ndim != 2:
            raise InvalidInputError("masks of the true ones' sizes", got=f"{mask.shape} beside {true.shape}")
        if before is not None:
            flow = np.asarray(next(motions, np.zeros(0)))
            if flow.shape != (*mask.shape, 2) or before[0].shape != mask.shape:
                raise InvalidInputError(
                    f"a flow {(*mask.shape, 2)} for each frame but the first, and masks of one size",
                    got=f"{flow.shape} for frame {frame}",
                    fix="count sizes and flows",
                )
            x, y, inside = _arrivals(flow)
            counts = inside & (true == before[1][y, x]) & (true != ignore_index)
            compared += int(counts.sum())
            changed += int((counts & (mask != before[0][y, x])).sum())
        before = mask, true
    if next(motions, None) is not None:
        fix = "leave out the first frame's, which has none before it"
        raise InvalidInputError(f"{max(frame, 0)} flows for {frame + 1} frames", got="more", fix=fix)
    return Flicker(changed, compared)


def _arrivals(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pixels to which a flow leads, x and y, clipped, and which of them are inside."""
    rows, columns = np.indices(flow.shape[:2])
    x, y = np.rint(columns + flow[..., 0]).astype(np.int64), np.rint(rows + flow[..., 1]).astype(np.int64)
    inside = (x >= 0) & (x < flow.shape[1]) & (y >= 0) & (y < flow.shape[0])
    return x.clip(0, flow.shape[1] - 1), y.clip(0, flow.shape[0] - 1), inside
