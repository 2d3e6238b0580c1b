"""Where things lie: the affine maps between an image, a training crop and the canonical frame of the predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.frame import Size, letterbox


class Augmentation(NamedTuple):
    """How a training crop is drawn; the keyword arguments of :func:`crop_matrix`.

    Attributes
    ----------
    scale : float
        Factor on the side of the box that is cut out: above 1 the person becomes smaller.
    angle : float
        Degrees by which the box is turned, clockwise on the screen; the picture turns the other way.
    mirror : bool
        Whether left and right are exchanged, before all else.
    """

    scale: float = 1.0
    angle: float = 0.0
    mirror: bool = False


def draw_augmentation(
    *,
    scale_factor: float = 0.25,
    rotation_factor: float = 30.0,
    rotation_prob: float = 0.6,
    mirror_prob: float = 0.5,
) -> Augmentation:
    r"""Draw scale, angle and mirror from torch's global generator, as the published SCHP code does from numpy's.

    With N a standard normal number and f the factor: scale = :math:`\mathrm{clip}(1 + f N, 1 - f, 1 + f)`; with
    probability `rotation_prob`, angle = :math:`\mathrm{clip}(r N, -2r, 2r)` degrees, else 0.

    Parameters
    ----------
    scale_factor : float
        f, in [0, 1).
    rotation_factor : float
        r in degrees, at least 0.
    rotation_prob, mirror_prob : float
        In [0, 1].

    Returns
    -------
    Augmentation
        Four numbers are drawn whatever the probabilities, so that a sample does not shift the next one's.

    Examples
    --------
    >>> draw_augmentation(scale_factor=0, rotation_prob=0, mirror_prob=1)
    Augmentation(scale=1.0, angle=0.0, mirror=True)
    """
    zoom, turn = torch.randn(2, dtype=torch.float64).tolist()
    turned, mirrored = torch.rand(2, dtype=torch.float64).tolist()
    scale = min(max(1 + scale_factor * zoom, 1 - scale_factor), 1 + scale_factor)
    angle = min(max(rotation_factor * turn, -2 * rotation_factor), 2 * rotation_factor)
    return Augmentation(float(scale), float(angle) if turned < rotation_prob else 0.0, mirrored < mirror_prob)


def crop_matrix(shape: Size, size: Size, *, scale: float = 1.0, angle: float = 0.0, mirror: bool = False) -> np.ndarray:
    r"""Return the affine matrix from an image's pixels to those of a crop, float64 (2, 3).

    The image is mirrored (x becomes w - 1 - x), then its whole-image box, enlarged to the crop's aspect and by `scale`
    and turned by `angle`, is laid over the crop, centre on centre and corner on corner. With k = (crop width - 1) /
    (scale * box width) and a = `angle`, the linear part is

    .. math:: k \begin{pmatrix} \cos a & \sin a \\ -\sin a & \cos a \end{pmatrix},

    times diag(-1, 1) for a mirror: the direction "up" of the box, turned by +a in image coordinates (y down), becomes
    the crop's "up". The published code builds the same map from three points in float32; see
    :func:`three_point_matrix`.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the image, at least 1.
    size : (int, int)
        Height and width of the crop, at least 2.
    scale, angle, mirror
        See :class:`Augmentation`. Without them the crop is the canonical frame:
        :func:`noisycorrect_seg.geometry.frame.letterbox`.

    Raises
    ------
    InvalidInputError
        If the scale is not positive and finite, the angle not finite, or a size too small.

    Examples
    --------
    >>> crop_matrix((101, 51), (51, 51)).tolist()
    [[0.5, 0.0, 12.5], [0.0, 0.5, 0.0]]
    >>> crop_matrix((3, 3), (3, 3), mirror=True).tolist()
    [[-1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]
    """
    _check_sizes(shape, size)
    if not (math.isfinite(scale) and scale > 0 and math.isfinite(angle)):
        raise InvalidInputError(
            "a finite scale above 0 and a finite angle in degrees",
            got=f"scale={scale!r}, angle={angle!r}",
            fix="scale=1, angle=0 is the whole image",
        )
    whole = letterbox(shape, size)
    if scale == 1 and angle == 0 and not mirror:
        return whole
    turn, zoom = math.radians(angle), whole[0, 0] / scale
    cos, sin = zoom * math.cos(turn), zoom * math.sin(turn)
    linear = np.array([[cos, sin], [-sin, cos]])
    middle = np.array([shape[1] - 1, shape[0] - 1]) / 2
    shift = np.array([size[1] - 1, size[0] - 1]) / 2 - linear @ middle
    if mirror:
        shift += linear[:, 0] * (shape[1] - 1)
        linear[:, 0] *= -1
    return np.concatenate([linear, shift[:, None]], axis=1)


def three_point_matrix(centre: Sequence[float], width: float, size: Size, *, angle: float = 0.0) -> np.ndarray:
    """Return the affine matrix from an image to a crop as the published SCHP code builds it, float64 (2, 3).

    Three pairs of points are rounded to float32: the centres; half a box width "up" from them, on the image's side
    turned by `angle`; and a right angle further. The matrix is solved in float64. The rounding moves a pixel by about
    1e-4 px at most; it is here for parity with published maps.

    Parameters
    ----------
    centre : (float, float)
        (x, y) of the box's centre. The published evaluator truncates it to whole numbers, the extractor does not.
    width : float
        Width of the box once it has the crop's aspect, times the augmentation's scale. In pixels, above 0.
    size : (int, int)
        Height and width of the crop.
    angle : float
        Degrees.

    Examples
    --------
    >>> bool(np.abs(three_point_matrix((25, 50), 100, (51, 51)) - letterbox((101, 51), (51, 51))).max() < 1e-6)
    True
    """
    turn = math.radians(angle)
    source = _corner(centre, (0.5 * width * math.sin(turn), -0.5 * width * math.cos(turn)))
    target = _corner(((size[1] - 1) * 0.5, (size[0] - 1) * 0.5), (0.0, -0.5 * (size[1] - 1)))
    homogeneous = np.concatenate([source, np.ones((3, 1))], axis=1)
    return np.asarray(np.linalg.solve(homogeneous, target).T)


def _corner(middle: Sequence[float], direction: Sequence[float]) -> np.ndarray:
    """Return three points (3, 2), reckoned in float32: the middle, a direction's end, and a right angle further."""
    points = np.empty((3, 2), np.float32)
    points[0] = middle
    points[1] = points[0] + np.asarray(direction, np.float32)
    back = points[0] - points[1]
    points[2] = points[1] + np.stack([-back[1], back[0]])
    return points.astype(np.float64)


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return the affine matrix (..., 2, 3) that applies `inner` first, then `outer`.

    Examples
    --------
    >>> compose([[2, 0, 0], [0, 2, 0]], [[1, 0, 3], [0, 1, 4]]).tolist()
    [[2.0, 0.0, 6.0], [0.0, 2.0, 8.0]]
    """
    outer, inner = np.asarray(outer, np.float64), np.asarray(inner, np.float64)
    product = outer[..., :2] @ inner
    product[..., 2] += outer[..., 2]
    return np.asarray(product)


def invert(matrix: np.ndarray) -> np.ndarray:
    """Return the inverse of an affine matrix, float64 (..., 2, 3).

    Raises
    ------
    InvalidInputError
        If it has none.

    Examples
    --------
    >>> invert([[2, 0, 6], [0, 2, 8]]).tolist()
    [[0.5, 0.0, -3.0], [0.0, 0.5, -4.0]]
    """
    matrix = np.asarray(matrix, np.float64)
    try:
        linear = np.linalg.inv(matrix[..., :2])
    except np.linalg.LinAlgError as error:
        raise InvalidInputError(
            "an affine matrix that can be inverted", got=str(matrix.tolist()), fix="its scale must not be 0"
        ) from error
    return np.concatenate([linear, -linear @ matrix[..., 2:]], axis=-1)


def image_extent(matrix: np.ndarray, shape: Size) -> np.ndarray:
    """Return where an image's edges lie in a frame without rotation: left, top, right, bottom, (4,).

    Parameters
    ----------
    matrix : ndarray, shape (2, 3)
        From the image's pixels to the frame's; a zoom and a shift.
    shape : (int, int)
        Height and width of the image; its edges lie half a pixel outside of its outer pixels' centres.

    Examples
    --------
    >>> image_extent(np.array([[2.0, 0, 1], [0, 2, 0]]), (2, 3)).tolist()
    [0.0, -1.0, 6.0, 3.0]
    """
    height, width = shape
    corners = matrix @ np.array([[-0.5, width - 0.5], [-0.5, height - 0.5], [1, 1]])
    extent: np.ndarray = corners.T.ravel()
    return extent


def inside_image(matrix: Tensor, extent: Tensor, size: Size) -> Tensor:
    """Return which pixels of training crops show the image, and not what lies around it.

    Parameters
    ----------
    matrix : Tensor, shape (B, 2, 3)
        From a crop's pixels to the canonical frame's.
    extent : Tensor, shape (B, 4)
        The image's edges in the canonical frame; see :func:`image_extent`.
    size : (int, int)
        Height H and width W of the crops.

    Returns
    -------
    Tensor of bool, shape (B, H, W)

    Examples
    --------
    >>> inside_image(torch.eye(2, 3)[None], torch.tensor([[0.5, -0.5, 2.5, 0.5]]), (1, 4))
    tensor([[[False,  True,  True, False]]])
    """
    ys = torch.arange(size[0], dtype=matrix.dtype, device=matrix.device)
    xs = torch.arange(size[1], dtype=matrix.dtype, device=matrix.device)
    points = (
        matrix[:, None, None, :, 0] * xs[:, None]
        + matrix[:, None, None, :, 1] * ys[:, None, None]
        + matrix[:, None, None, :, 2]
    )
    low, high = extent[:, None, None, :2], extent[:, None, None, 2:]
    return ((points >= low) & (points <= high)).all(-1)


def warp_evidence(
    probs: Tensor,
    matrix: Tensor,
    mirror: Tensor,
    *,
    size: Size,
    canonical: Size,
    flip_index: Tensor | np.ndarray | Sequence[int],
) -> Tensor:
    """Bring maps of the canonical frame into the frames of training crops, bilinearly, left and right classes swapped.

    Parameters
    ----------
    probs : Tensor, shape (B, K, h, w)
        Maps that cover the canonical frame corner to corner (the convention of align_corners=True), of any resolution:
        class probabilities, or logits. On any device.
    matrix : Tensor, shape (B, 2, 3)
        From a crop's pixels to the canonical frame's, its mirror included.
    mirror : Tensor of bool, shape (B,)
        The crops that are mirrored: the channels of each flip pair are exchanged in them.
    size : (int, int)
        Height H and width W of the crops.
    canonical : (int, int)
        Height and width of the canonical frame in its own pixels, at least 2.
    flip_index : sequence of int, shape (K,)
        Class that each class becomes in a mirror; see :attr:`noisycorrect_seg.classes.Classes.flip_index`.

    Returns
    -------
    Tensor, shape (B, K, H, W)
        float32 (float64 for float64). Where a crop reaches beyond the canonical frame, the frame's border goes on.
        Each pixel is a convex combination of columns of `probs`, so probabilities stay probabilities.

    Raises
    ------
    InvalidInputError
        If the shapes do not belong together.

    Examples
    --------
    >>> left_right = torch.tensor([[[[1.0, 1.0]], [[0.0, 0.0]]]])  # class 0 everywhere, on a map of 1 x 2
    >>> there = torch.tensor([[[-1.0, 0, 3], [0, 1, 0]]])
    >>> warp_evidence(left_right, there, torch.tensor([True]), size=(2, 4), canonical=(2, 4), flip_index=[1, 0])[0, 1]
    tensor([[1., 1., 1., 1.],
            [1., 1., 1., 1.]])
    """
    _check_maps(probs, matrix, mirror, flip_index)
    _check_sizes((probs.shape[2], probs.shape[3]), canonical)
    exact = torch.float64 if probs.dtype == torch.float64 else torch.float32
    probs = _mirrored_channels(probs.to(exact), mirror.to(probs.device), flip_index)
    grid = _sampling_grid(matrix.to(probs.device, exact), size, canonical)
    return F.grid_sample(probs, grid, mode="bilinear", padding_mode="border", align_corners=True)


def onto_crops(
    maps: Tensor,
    matrix: Tensor,
    mirror: Tensor,
    *,
    size: Size,
    crop: Size,
    canonical: Size,
    flip_index: Tensor | np.ndarray | Sequence[int],
) -> Tensor:
    """Return maps of the canonical frame in the frames of training crops, at a resolution of their own.

    Parameters
    ----------
    maps, matrix, mirror, canonical, flip_index
        As for :func:`warp_evidence`.
    size : (int, int)
        Height and width of the maps that are returned; they cover the crop corner to corner. A single row or column
        lies in the middle.
    crop : (int, int)
        Height and width of the crops in their own pixels.

    Examples
    --------
    >>> maps, stay = torch.arange(3.0).reshape(1, 1, 1, 3), torch.eye(2, 3)[None]
    >>> onto_crops(maps, stay, torch.tensor([False]), size=(2, 2), crop=(5, 9), canonical=(5, 9), flip_index=[0])[0, 0]
    tensor([[0., 2.],
            [0., 2.]])
    """
    like: Any = {"device": maps.device, "dtype": torch.float32}
    matrix = matrix.to(**like)
    linear, sides = matrix[:, :, :2], ((crop[1], size[1]), (crop[0], size[0]))
    steps = torch.tensor([(side - 1) / max(count - 1, 1) for side, count in sides], **like)
    first = torch.tensor([(side - 1) / 2 if count == 1 else 0.0 for side, count in sides], **like)
    # No matrix product: autocast would round what goes into it, and all would lie up to a pixel aside.
    shift = matrix[:, :, 2] + (linear * first).sum(2)
    coarse = torch.cat([linear * steps, shift.unsqueeze(2)], dim=2)
    return warp_evidence(maps, coarse, mirror, size=size, canonical=canonical, flip_index=flip_index)


def _sampling_grid(matrix: Tensor, size: Size, canonical: Size) -> Tensor:
    """Return where crop pixels lie in the canonical frame, in grid_sample's units -1..1, shape (B, H, W, 2)."""
    ys = torch.arange(size[0], dtype=matrix.dtype, device=matrix.device)
    xs = torch.arange(size[1], dtype=matrix.dtype, device=matrix.device)
    unit = torch.tensor([2 / (canonical[1] - 1), 2 / (canonical[0] - 1)], dtype=matrix.dtype, device=matrix.device)
    scaled = matrix * unit[:, None]
    along_x = scaled[:, None, None, :, 0] * xs[:, None]
    along_y = scaled[:, None, None, :, 1] * ys[:, None, None] + (scaled[:, None, None, :, 2] - 1)
    return along_x + along_y


def _mirrored_channels(probs: Tensor, mirror: Tensor, flip_index: Tensor | np.ndarray | Sequence[int]) -> Tensor:
    """Return a copy of maps (B, K, h, w) with the channels of the flip pairs exchanged in mirrored samples."""
    count, classes = probs.shape[:2]
    flip = flip_index if isinstance(flip_index, Tensor) else torch.tensor(np.asarray(flip_index))
    # Whole channels of the small maps are copied: less than a look at whether any is mirrored, which waits for a GPU.
    straight = torch.arange(classes, device=probs.device)
    channel = torch.where(mirror[:, None], flip.to(probs.device), straight)
    first = torch.arange(count, device=probs.device)[:, None] * classes
    return probs.flatten(0, 1).index_select(0, (first + channel).flatten()).view_as(probs)


def _check_maps(probs: Tensor, matrix: Tensor, mirror: Tensor, flip_index: Tensor | np.ndarray | Sequence[int]) -> None:
    count, classes = probs.shape[:2] if probs.ndim == 4 else (-1, -1)
    if count < 0 or matrix.shape != (count, 2, 3) or mirror.shape != (count,) or len(flip_index) != classes:
        got = f"{tuple(probs.shape)}, {tuple(matrix.shape)}, {tuple(mirror.shape)} and {len(flip_index)}"
        raise InvalidInputError(
            "maps (B, K, h, w), matrices (B, 2, 3), mirrors (B,) and a flip index of K classes",
            got=got,
            fix="pass one matrix and one mirror a map",
        )


def _check_sizes(shape: Size, size: Size) -> None:
    if min(shape) < 1 or min(size) < 2:
        raise InvalidInputError(
            "an image of at least 1 x 1 pixel and a crop or frame of at least 2 x 2",
            got=f"{tuple(shape)} and {tuple(size)}",
            fix="give both as (height, width)",
        )
