"""Averaging class probabilities over the frames around each one, along the motion between them; a frame at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.video.flow import Flow, checked_flow, enlarged, flow_named
from noisycorrect_seg.video.spelling import spelled
from noisycorrect_seg.video.warping import composed, consistent, likeness, warped

LEAST_PROBABILITY = 1e-7  # so that logarithms are finite


@dataclass(eq=False)
class Frame:
    """A frame on its way through the window.

    Attributes
    ----------
    index : int
        Its place in the video, from 0.
    image : ndarray of uint8, shape (H, W, 3)
        RGB, as it came.
    crop : ndarray of uint8, shape (h, w, 3)
        Letterboxed into the network's frame.
    probs : Tensor, shape (K, h, w), float32
        The model's class probabilities in the network's frame.
    forward, backward : Tensor, shape (2, h, w), or None
        Flows to the next frame and from it; None where there is none, and until it is there.
    """

    index: int
    image: np.ndarray = field(repr=False)
    crop: np.ndarray = field(repr=False)
    probs: Tensor = field(repr=False)
    forward: Tensor | None = field(default=None, repr=False)
    backward: Tensor | None = field(default=None, repr=False)
    seen: Tensor | None = field(default=None, repr=False)
    seen_back: Tensor | None = field(default=None, repr=False)

    @property
    def shape(self) -> Size:
        """Height and width of the frame as it came."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def colours(self) -> Tensor:
        """The crop as float32 (3, h, w), in 0..1, on the device of the probabilities."""
        return torch.from_numpy(self.crop).to(self.probs.device).permute(2, 0, 1).float() / 255


@dataclass(frozen=True)
class Averaging:
    r"""How probabilities are averaged over time.

    A pixel's average is that of the probabilities of the same matter in the frames around it, found along optical flow:

    .. math:: \bar p_t(x) = \sum_k w_k(x)\, p_{t+k}(x + f_{t \to t+k}(x)) \Big/ \sum_k w_k(x)

    where k runs from -before to after, and the weight of a frame falls by `decay` with each step away, is 0 where
    forward and backward flow contradict each other on the way (the pixel is covered there), and falls with the
    difference of the colours. The frame itself weighs 1.

    Parameters
    ----------
    before, after : int
        How many frames before and after count. 0 and 0 leave each frame alone; with ``after=0`` nothing waits for
        frames to come.
    decay : float
        In (0, 1].
    flow : str or callable
        ``"farneback"``, ``"opencv"`` (if it is installed), or a callable: from two frames, RGB uint8 (H, W, 3), to the
        displacements of the first's pixels to the second's, (H, W, 2), x first.
    longest : int
        Flow is found on frames whose longer side is at most this, in pixels, and enlarged.

    Raises
    ------
    InvalidInputError
        If one is out of range.

    Examples
    --------
    >>> Averaging(2, 2).reach
    5
    """

    before: int = 3
    after: int = 3
    decay: float = 0.9
    flow: str | Flow = "farneback"
    longest: int = 256

    def __post_init__(self) -> None:
        whole_number("before", self.before, least=0)
        whole_number("after", self.after, least=0)
        if not 0 < finite_number("decay", self.decay, fix="0.9 is the default") <= 1:
            raise InvalidInputError("0 < decay <= 1", got=repr(self.decay), fix="1 weighs all frames alike")
        whole_number("longest", self.longest, least=16)
        flow_named(self.flow)

    @property
    def reach(self) -> int:
        """How many frames are in the window."""
        return self.before + 1 + self.after

    def spelled(self) -> dict[str, object]:
        """Return the settings as plain values; of a callable its spelling."""
        flow = self.flow if isinstance(self.flow, str) else spelled(self.flow)
        return {"before": self.before, "after": self.after, "decay": self.decay, "flow": flow, "longest": self.longest}


def averaged(
    frames: Iterable[Frame], how: Averaging, *, motion: bool = False
) -> Iterator[tuple[Frame, Tensor, Tensor | None]]:
    """Yield each frame with its averaged probabilities and the flow that leads back to the frame before.

    No more than `how.reach` frames are held, and one that is handed out. A frame of another size begins a new scene:
    nothing is averaged across.

    Parameters
    ----------
    frames : iterable of Frame
        In order.
    how : Averaging
        The window.
    motion : bool
        Find the flow between frames even if the window is one frame.

    Yields
    ------
    frame : Frame
    probs : Tensor, shape (K, h, w), float32
        Averaged, in the network's frame.
    back : Tensor, shape (2, h, w), or None
        From this frame to the one before; None of a scene's first frame.

    Examples
    --------
    >>> white, black = np.full((2, 16, 16, 3), 255, np.uint8) * np.array([1, 0], np.uint8)[:, None, None, None]
    >>> def frame(index, picture, first):
    ...     probs = torch.tensor([first, 1 - first])[:, None, None].expand(2, 16, 16)
    ...     return Frame(index, picture, picture, probs)
    >>> still = [frame(0, white, 0.9), frame(1, white, 0.7), frame(2, black, 0.1)]  # then another scene
    >>> [round(float(probs[0, 8, 8]), 2) for _, probs, _ in averaged(still, Averaging(1, 1, decay=1.0))]
    [0.8, 0.8, 0.1]
    """
    flow = flow_named(how.flow)
    window: deque[Frame] = deque()
    place = 0  # of the next frame to hand out
    for frame in frames:
        if window and frame.shape != window[-1].shape:
            yield from _rest(window, place, how)
            window.clear()
            place = 0
        if window and (motion or how.reach > 1):
            _connect(window[-1], frame, flow, how.longest)
        window.append(frame)
        if len(window) - place > how.after:
            yield _one(window, place, how)
            place += 1
        while place > max(how.before, 1):
            window.popleft()
            place -= 1
    yield from _rest(window, place, how)


def _rest(window: deque[Frame], place: int, how: Averaging) -> Iterator[tuple[Frame, Tensor, Tensor | None]]:
    for each in range(place, len(window)):
        yield _one(window, each, how)


def _connect(first: Frame, second: Frame, flow: Flow, longest: int) -> None:
    """Find the flows between two frames, and where each is seen in the other."""
    size = second.crop.shape[:2]
    one, other = (_reduced(frame.crop, longest) for frame in (first, second))
    device = first.probs.device
    ways = (checked_flow(flow(*pair), pair[0].shape[:2]).to(device) for pair in ((one, other), (other, one)))
    first.forward, first.backward = (enlarged(way[None], (size[0], size[1]))[0] for way in ways)
    first.seen = consistent(first.forward, first.backward)
    first.seen_back = consistent(first.backward, first.forward)


def _reduced(crop: np.ndarray, longest: int) -> np.ndarray:
    """Return a picture whose longer side is at most so long: the mean of what falls into each pixel."""
    height, width = crop.shape[:2]
    zoom = longest / max(height, width)
    if zoom >= 1:
        return crop
    maps = torch.from_numpy(crop).permute(2, 0, 1)[None].float()
    size = max(16, round(height * zoom)), max(16, round(width * zoom))
    small = F.interpolate(maps, size=size, mode="bilinear", align_corners=False, antialias=True)
    reduced: np.ndarray = small[0].round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return reduced


def _one(window: deque[Frame], place: int, how: Averaging) -> tuple[Frame, Tensor, Tensor | None]:
    frame = window[place]
    back = window[place - 1].backward if place else None
    if how.reach == 1:
        return frame, frame.probs, back
    total, weights = frame.probs.clone(), torch.ones_like(frame.probs[0])
    for step, most in ((1, how.after), (-1, how.before)):
        _gather(window, place, step, most, how.decay, total, weights)
    return frame, total / weights, back


def _gather(
    window: deque[Frame], place: int, step: int, most: int, decay: float, total: Tensor, weights: Tensor
) -> None:
    """Add what the frames on one side of a place say of its pixels."""
    colours = window[place].colours
    way: Tensor | None = None
    seen = torch.ones_like(weights)
    for distance in range(1, most + 1):
        other = place + step * distance
        if not 0 <= other < len(window):
            return
        former = window[other - step]
        leads, shows = (former.forward, former.seen) if step > 0 else (window[other].backward, window[other].seen_back)
        assert leads is not None
        assert shows is not None
        shown = shows.float()[None]
        seen = seen * (shown if way is None else warped(shown, way, "nearest"))[0]
        way = leads if way is None else composed(way, leads)
        there = warped(torch.cat([window[other].probs, window[other].colours]), way)
        weight = seen * likeness(colours, there[-3:]) * decay**distance
        total += weight * there[:-3]
        weights += weight


def log_probs(probs: Tensor) -> Tensor:
    """Return the logarithms of probabilities, which are logits again: interpolated and compared as a model's are.

    Examples
    --------
    >>> log_probs(torch.tensor([1.0, 0.0])).softmax(0).round(decimals=3).tolist()
    [1.0, 0.0]
    """
    return probs.clamp_min(LEAST_PROBABILITY).log()
