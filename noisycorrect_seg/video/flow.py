"""Dense optical flow by Farnebäck's polynomial expansion, and what else gives a flow.

G. Farnebäck, "Two-Frame Motion Estimation Based on Polynomial Expansion", SCIA 2003. A flow is float32 (2, H, W), x
first, in pixels: what is at (x, y) of the first frame is at (x + u, y + v) of the second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.video.warping import grid_of, looked_up

Flow = Callable[[np.ndarray, np.ndarray], Any]
"""From two frames, RGB uint8 (H, W, 3), to the displacements from the first to the second, (H, W, 2), x first."""

LEAST_SIDE = 8  # of the coarsest level: a neighbourhood must fit
LEAST_OF_OPENCV = 32
RGB_TO_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Farneback:
    """Farnebäck's dense optical flow, from coarse to fine.

    Called with two frames, RGB uint8 (H, W, 3), it returns the displacements from the first to the second, float32
    (H, W, 2), x first.

    Parameters
    ----------
    levels : int
        How often the frames are halved at most; they are not made smaller than 8 pixels.
    rounds : int
        Estimates on each level, each beginning with the one before.
    expansion : float
        Standard deviation, in pixels, of the neighbourhood to which a quadratic polynomial is fitted.
    window : float
        Standard deviation, in pixels, of the neighbourhood that is taken to move as one.
    damping : float
        How strongly a place without structure keeps the motion of the coarser level, in squared grey levels (of 0..255)
        a pixel to the fourth.

    Raises
    ------
    InvalidInputError
        If a parameter is out of range, or the frames do not go together.

    Examples
    --------
    >>> rows, columns = np.mgrid[0:32, 0:40]
    >>> first = np.uint8(127 + 60 * np.sin(columns / 3) + 60 * np.sin(rows / 4))[..., None].repeat(3, 2)
    >>> flow = Farneback()(first, np.roll(first, 2, axis=1))
    >>> flow.shape, np.median(flow, axis=(0, 1)).round().astype(int).tolist()
    ((32, 40, 2), [2, 0])
    """

    levels: int = 5
    rounds: int = 4
    expansion: float = 1.2
    window: float = 4.0
    damping: float = 0.05

    def __post_init__(self) -> None:
        whole_number("levels", self.levels, least=1)
        whole_number("rounds", self.rounds, least=1)
        finite_number("expansion", self.expansion, above=0.3, fix="1.2 is common")
        finite_number("window", self.window, above=0.3, fix="4 is common")
        finite_number("damping", self.damping, above=0, fix="0.05 is the default")

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the displacements from the first to the second frame, float32 (H, W, 2)."""
        pair = torch.from_numpy(np.stack([grey(first), grey(second)]))
        flow: np.ndarray = self.between(pair[0], pair[1]).permute(1, 2, 0).contiguous().numpy()
        return flow

    def between(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the flow from one grey image to another, (2, H, W), in the dtype of both, (H, W).

        Raises
        ------
        InvalidInputError
            If they differ in shape.
        """
        if first.shape != second.shape or first.ndim != 2:
            raise _two_sizes(first.shape, second.shape)
        pyramid = self._pyramid(torch.stack([first, second])[:, None])
        flow = torch.zeros(1, 2, *pyramid[-1].shape[-2:], dtype=first.dtype, device=first.device)
        for level in reversed(pyramid):
            flow = enlarged(flow, (level.shape[2], level.shape[3]))
            ones, others = torch.chunk(polynomials(level, self.expansion), 2)
            certainty = certainties(level, self.expansion)
            for _ in range(self.rounds):
                flow = self._estimate(ones, others, certainty, flow)
        return flow[0]

    def _pyramid(self, images: Tensor) -> list[Tensor]:
        """Return the images and their halves; what is halved is blurred before, so that no fine stripes remain."""
        pyramid = [images]
        while len(pyramid) <= self.levels and min(pyramid[-1].shape[-2:]) >= 2 * LEAST_SIDE:
            blurred = convolved(pyramid[-1], gaussian(1.0, images))
            size = tuple(-(-side // 2) for side in blurred.shape[-2:])
            pyramid.append(F.interpolate(blurred, size=size, mode="bilinear", align_corners=True))
        return pyramid

    def _estimate(self, ones: Tensor, others: Tensor, certainty: Tensor, flow: Tensor) -> Tensor:
        r"""Return the next estimate: the paper's Eq. 12, with the prior displacement of its section 3.2.

        The damping pulls towards the flow before: :math:`(\sum w A^T A + \lambda I) d = \sum w A^T \Delta b +
        \lambda \tilde d`.
        """
        grid = grid_of(flow)
        moved = looked_up(others, grid)
        weight = certainty * looked_up(certainty, grid) * ((grid.abs() <= 1).all(-1)[:, None])
        xx, yy, xy = torch.chunk((ones + moved)[:, 2:] / 2, 3, 1)
        x, y = torch.chunk((ones - moved)[:, :2] / 2, 2, 1)
        xy = xy / 2
        u, v = torch.chunk(flow, 2, 1)
        x, y = x + xx * u + xy * v, y + xy * u + yy * v
        products = torch.cat(
            [xx * xx + xy * xy, xy * (xx + yy), yy * yy + xy * xy, xx * x + xy * y, xy * x + yy * y], 1
        )
        sums = convolved(products * weight, gaussian(self.window, flow))
        a, b, c, p, q = torch.chunk(sums, 5, 1)
        a, c, p, q = a + self.damping, c + self.damping, p + self.damping * u, q + self.damping * v
        solved: Tensor = torch.cat([c * p - b * q, a * q - b * p], 1) / (a * c - b * b)
        return solved


def polynomials(images: Tensor, deviation: float) -> Tensor:
    """Return the quadratic polynomial that fits each pixel's neighbourhood best, weighted by a Gaussian.

    ``f(x, y) = c + b_x x + b_y y + a_xx x^2 + a_yy y^2 + a_xy x y`` around the pixel; the constant is not returned.
    With a separable Gaussian the basis 1, x, y, x^2 - s, y^2 - s, x y is orthogonal, s being the Gaussian's variance,
    and so the fit is five separable correlations (the thesis' section 4.4). Images go on at their borders as they end.

    Parameters
    ----------
    images : Tensor, shape (N, 1, H, W)
        Float.
    deviation : float
        Of the Gaussian, in pixels.

    Returns
    -------
    Tensor, shape (N, 5, H, W)
        b_x, b_y, a_xx, a_yy, a_xy.

    Examples
    --------
    >>> x = torch.arange(15.0, dtype=torch.float64).expand(1, 1, 15, 15)
    >>> polynomials(x**2, 1.2)[0, :3, 7, 7].round().tolist()  # (7 + x)^2 = 49 + 14 x + x^2
    [14.0, -0.0, 1.0]
    """
    weights = gaussian(deviation, images)
    reach = len(weights) // 2
    places = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    variance, fourth = (weights * places**2).sum(), (weights * places**4).sum()
    line, square = weights * places / variance, weights * (places**2 - variance) / (fourth - variance**2)
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    taps = torch.stack([weights, line, square])  # down the rows, then along them
    down = F.conv2d(padded, taps[:, None, :, None])
    plain, slope, bend = torch.chunk(down, 3, 1)
    along = F.conv2d(plain, taps[1:, None, None, :])
    across = F.conv2d(slope, taps[:2, None, None, :])
    (x, xx), (y, xy) = torch.chunk(along, 2, 1), torch.chunk(across, 2, 1)
    yy = F.conv2d(bend, taps[:1, None, None, :])
    return torch.cat([x, y, xx, yy, xy], 1)


def certainties(images: Tensor, deviation: float) -> Tensor:
    """Return how much of each pixel's neighbourhood lies inside the image, (1, 1, H, W), in [0, 1]."""
    weights = gaussian(deviation, images)
    inside = torch.ones(1, 1, *images.shape[-2:], dtype=images.dtype, device=images.device)
    return convolved(inside, weights, mode="constant")


def convolved(maps: Tensor, weights: Tensor, mode: str = "replicate") -> Tensor:
    """Return maps (N, C, H, W) smoothed with the same symmetric weights in both directions.

    Examples
    --------
    >>> convolved(torch.eye(3)[None, None], torch.tensor([0.25, 0.5, 0.25])).flatten().tolist()[:3]
    [0.625, 0.3125, 0.0625]
    """
    reach, shape = len(weights) // 2, maps.shape
    padded = F.pad(maps.reshape(-1, 1, *shape[-2:]), (reach,) * 4, mode=mode)
    smooth = F.conv2d(F.conv2d(padded, weights[None, None, :, None]), weights[None, None, None, :])
    return smooth.reshape(shape)


def gaussian(deviation: float, like: Tensor) -> Tensor:
    """Return the weights of a Gaussian out to three deviations, with the sum 1, in the dtype of `like`.

    Examples
    --------
    >>> [round(weight, 3) for weight in gaussian(0.5, torch.zeros(1)).tolist()]
    [0.0, 0.106, 0.787, 0.106, 0.0]
    """
    reach = math.ceil(3 * deviation)
    places = torch.arange(-reach, reach + 1, dtype=like.dtype, device=like.device)
    weights = torch.exp(-(places**2) / (2 * deviation**2))
    return weights / weights.sum()


def enlarged(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Return a flow (N, 2, H, W) for frames of another size; its displacements grow with them."""
    (height, width), old = size, flow.shape[-2:]
    if old == size:
        return flow
    zoom = flow.new_tensor([(width - 1) / max(old[1] - 1, 1), (height - 1) / max(old[0] - 1, 1)])
    return F.interpolate(flow, size=size, mode="bilinear", align_corners=True) * zoom[:, None, None]


def _two_sizes(first: Sequence[int], second: Sequence[int]) -> InvalidInputError:
    return InvalidInputError(
        "two frames of one size",
        got=f"{tuple(first)} and {tuple(second)}",
        fix="begin anew where the size changes",
    )


def grey(image: np.ndarray) -> np.ndarray:
    """Return the brightness of an RGB image (H, W, 3), float32 (H, W)."""
    return np.asarray(image, np.float32) @ np.array(RGB_TO_GREY, np.float32)


def opencv_flow(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return OpenCV's dense inverse search flow (Kroeger et al., ECCV 2016), its medium preset.

    Frames of fewer than 32 pixels a side go on as they end: OpenCV's patches do not fit into them, and its process may
    end (5.0.0, frames of 12 x 40).

    Raises
    ------
    InvalidInputError
        If OpenCV is not installed.
    """
    if first.shape != second.shape:
        raise _two_sizes(first.shape[:2], second.shape[:2])
    try:
        import cv2
    except ImportError as error:
        raise InvalidInputError(
            'OpenCV for flow="opencv"', got="none", fix="pip install opencv-python-headless, or leave flow out"
        ) from error
    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = first.shape[:2]
    more = (0, max(0, LEAST_OF_OPENCV - height)), (0, max(0, LEAST_OF_OPENCV - width))
    greys = (cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in (first, second))
    pair = (np.pad(each, more, mode="edge") for each in greys)
    return np.asarray(method.calc(*pair, None))[:height, :width]


FLOWS: dict[str, Flow] = {"farneback": Farneback(), "opencv": opencv_flow}


def flow_named(flow: str | Flow) -> Flow:
    """Return a flow by its name, or a callable as it is.

    Raises
    ------
    InvalidInputError
        If it is neither, or OpenCV is asked for and not installed.

    Examples
    --------
    >>> flow_named("farneback")
    Farneback(levels=5, rounds=4, expansion=1.2, window=4.0, damping=0.05)
    """
    if callable(flow):
        return flow
    if flow not in FLOWS:
        raise unknown_name("flow", flow, FLOWS)
    if flow == "opencv":
        opencv_flow(*np.zeros((2, 32, 32, 3), np.uint8))  # known before the first frame is parsed
    return FLOWS[flow]


def checked_flow(found: Any, size: tuple[int, int]) -> Tensor:
    """Return what a caller's flow returned as a tensor, float32 (2, H, W).

    Raises
    ------
    InvalidInputError
        If it has another shape, or is not finite.

    Examples
    --------
    >>> checked_flow(np.zeros((4, 5, 2)), (4, 5)).shape
    torch.Size([2, 4, 5])
    """
    values = torch.as_tensor(np.asarray(found.cpu() if isinstance(found, Tensor) else found, np.float32))
    if tuple(values.shape) != (*size, 2) or not torch.isfinite(values).all():
        raise InvalidInputError(
            f"a finite flow of shape {(*size, 2)}, x first",
            got=f"shape {tuple(values.shape)}",
            fix="return displacements of the first frame's pixels to the second's",
        )
    return values.permute(2, 0, 1).contiguous()
