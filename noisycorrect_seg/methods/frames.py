"""From a training crop back into the canonical frame: where what is remembered of each sample lies."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from noisycorrect.correction.part import Setup
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.crops import compose, invert, warp_evidence
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.task import Segmentation


def parsing_task(setup: Setup) -> Segmentation:
    """Return the run's task.

    Raises
    ------
    InvalidInputError
        If it is not :class:`~noisycorrect_seg.Segmentation`.
    """
    if not isinstance(setup.task, Segmentation):
        raise InvalidInputError(
            "the task Segmentation or HumanParsing", got=type(setup.task).__name__, fix="use a recipe for class labels"
        )
    return setup.task


def into_canonical(
    maps: Tensor,
    matrix: Tensor,
    mirror: Tensor,
    *,
    crop: Size,
    canonical: Size,
    size: Size,
    flip_index: Tensor | np.ndarray | list[int],
) -> tuple[Tensor, Tensor]:
    """Bring maps of training crops into the canonical frame: the way back of ``warp_evidence``.

    Parameters
    ----------
    maps : Tensor, shape (B, K, h, w)
        Maps that cover the crop corner to corner (the convention of align_corners=True), of any resolution.
    matrix : Tensor, shape (B, 2, 3)
        From a crop's pixels to the canonical frame's, its mirror included.
    mirror : Tensor of bool, shape (B,)
        The crops that are mirrored: the channels of each flip pair are exchanged in them.
    crop, canonical : (int, int)
        Height and width of the crops and of the canonical frame, in their own pixels, at least 2.
    size : (int, int)
        Height and width of the maps that are returned, each at least 2; they cover the canonical frame corner to
        corner.
    flip_index : sequence of int, shape (K,)
        Class that each class becomes in a mirror.

    Returns
    -------
    Tensor, shape (B, K, *size)
        The maps, bilinearly; outside the crop its border goes on.
    Tensor of bool, shape (B, 1, *size)
        Which places the crop shows.

    Raises
    ------
    InvalidInputError
        If the shapes do not belong together, or a matrix has no inverse.

    Examples
    --------
    >>> maps, seen = into_canonical(
    ...     torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]), torch.tensor([[[1.0, 0, 1], [0, 1, 0]]]), torch.tensor([False]),
    ...     crop=(2, 2), canonical=(2, 3), size=(2, 3), flip_index=[0])
    >>> maps[0, 0, 0], seen[0, 0, 0]
    (tensor([0., 0., 1.]), tensor([False,  True,  True]))
    """
    # On a grid of `size` over the canonical frame: a zoom, and then the inverse of each crop's matrix.
    zoom = np.array([[(canonical[1] - 1) / (size[1] - 1), 0.0, 0.0], [0.0, (canonical[0] - 1) / (size[0] - 1), 0.0]])
    back = torch.from_numpy(compose(invert(matrix.cpu().numpy()), zoom)).to(maps.device, torch.float32)
    found = warp_evidence(maps, back, mirror, size=size, canonical=crop, flip_index=flip_index)
    ys = torch.arange(size[0], device=maps.device, dtype=torch.float32)
    xs = torch.arange(size[1], device=maps.device, dtype=torch.float32)
    points = back[:, None, None, :, 0] * xs[:, None] + back[:, None, None, :, 1] * ys[:, None, None]
    points = points + back[:, None, None, :, 2]
    edge = torch.tensor([crop[1] - 1, crop[0] - 1], device=maps.device)
    # Inverting a matrix of whole numbers must not cost the outermost row.
    seen = ((points >= -1e-3) & (points <= edge + 1e-3)).all(-1)
    return found, seen.unsqueeze(1)
