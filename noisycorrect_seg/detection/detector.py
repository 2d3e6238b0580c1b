"""People as the centres of their boxes: a small network after "Objects as Points" (Zhou et al., arXiv:1904.07850)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from noisycorrect.support.checkpoint import filled_model, load_checkpoint, save_checkpoint
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.door import described, door
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.modules import evaluating
from noisycorrect_seg.datasets.crops import normalise
from noisycorrect_seg.geometry.crops import invert
from noisycorrect_seg.geometry.frame import Size, letterbox
from noisycorrect_seg.geometry.maps import checked_size
from noisycorrect_seg.geometry.warp import warp_image
from noisycorrect_seg.inference.images import any_image
from noisycorrect_seg.instances.boxes import Boxes, box_overlaps

KIND = "noisycorrect-person-detector"
STRIDE = 4
RARE = -2.2  # the heatmap's logit at the start: one place in ten, so that the first steps are not spent on background


def _block(channels: int, more: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, more, 3, stride, 1, bias=False),
        nn.BatchNorm2d(more),
        nn.ReLU(inplace=True),
        nn.Conv2d(more, more, 3, 1, 1, bias=False),
        nn.BatchNorm2d(more),
        nn.ReLU(inplace=True),
    )


class PersonDetector(nn.Module):
    """Finds people: a heatmap of their boxes' centres, and the distances from there to the box's four edges.

    Made by :func:`~noisycorrect_seg.train_detector`; what it finds depends on what it was trained on.

    Parameters
    ----------
    size : (int, int)
        Height and width of the frame into which pictures are letterboxed, multiples of 16.
    width : int
        Channels of the first of four stages; the others have twice, three and four times as many.
    threshold : float
        Lowest score of what :meth:`detect` returns, in [0, 1).
    overlap : float
        Of two boxes whose IoU exceeds it the one with the lower score is left out, in [0, 1).
    most : int
        Boxes that are returned at most.

    Raises
    ------
    InvalidInputError
        If an argument is out of range.

    Examples
    --------
    >>> detector = PersonDetector((64, 96), width=4)
    >>> heat, edges = detector(torch.zeros(2, 3, 64, 96))
    >>> heat.shape, edges.shape
    (torch.Size([2, 1, 16, 24]), torch.Size([2, 4, 16, 24]))
    """

    def __init__(
        self,
        size: Size = (128, 192),
        *,
        width: int = 8,
        threshold: float = 0.3,
        overlap: float = 0.7,
        most: int = 100,
    ) -> None:
        super().__init__()
        self.size = checked_size(size, least=32)
        if self.size[0] % 16 or self.size[1] % 16:
            raise InvalidInputError("a size of multiples of 16", got=str(self.size), fix="pass (128, 192), say")
        self.width = whole_number("width", width, least=1)
        self.threshold = finite_number("threshold", threshold, above=0, below=1, fix="0.3 is common")
        self.overlap = finite_number("overlap", overlap, above=0, below=1, fix="0.7 keeps people who stand close")
        self.most = whole_number("most", most, least=1)
        stages = [3, *(self.width * factor for factor in (1, 2, 3, 4))]
        self.down = nn.ModuleList(_block(stages[place], stages[place + 1], 2) for place in range(4))
        self.around = nn.Sequential(  # people are taller than what a place of the deepest map sees by then
            nn.Conv2d(stages[4], stages[4], 3, 1, 2, dilation=2, bias=False), nn.BatchNorm2d(stages[4]), nn.ReLU(True)
        )
        self.across = nn.ModuleList(nn.Conv2d(stages[place], stages[2], 1) for place in (4, 3, 2))
        self.join = nn.ModuleList(_block(stages[2], stages[2], 1) for _ in range(2))
        self.heat = nn.Conv2d(stages[2], 1, 1)
        self.edges = nn.Conv2d(stages[2], 4, 1)
        nn.init.constant_(self.heat.bias, RARE)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of centres and distances to the edges, at stride 4.

        Parameters
        ----------
        images : Tensor, shape (N, 3, H, W)
            Normalised, blue first, as parsing networks take them; a photo goes to :meth:`detect`.

        Returns
        -------
        heat : Tensor, shape (N, 1, h, w)
        edges : Tensor, shape (N, 4, h, w)
            From a place to left, top, right and bottom edge, in pixels of the input, above 0.

        Raises
        ------
        InvalidInputError
            If they are no such tensor.
        """
        if (
            not isinstance(images, Tensor)
            or images.dim() != 4
            or images.shape[1] != 3
            or not images.is_floating_point()
        ):
            raise InvalidInputError(
                "normalised pictures, a floating-point tensor (N, 3, H, W)",
                got=described(images),
                fix="of a photo detector.detect(photo) returns the people",
            )
        maps = []
        for stage in self.down:
            images = stage(images)
            maps.append(images)
        deep = self.across[0](self.around(maps[3]))
        for across, join, skipped in zip(list(self.across)[1:], self.join, (maps[2], maps[1]), strict=True):
            deep = join(F.interpolate(deep, scale_factor=2.0, mode="nearest") + across(skipped))
        return self.heat(deep), self.edges(deep).clamp(-6, 6).exp() * STRIDE

    @door
    def detect(self, image: Any) -> NDArray[np.float64]:
        """Return the people in a picture of any size.

        Parameters
        ----------
        image : path-like, PIL.Image.Image, or ndarray
            As :func:`~noisycorrect_seg.parse_image` takes it: a file, or RGB (H, W, 3) or grey (H, W), uint8.

        Returns
        -------
        ndarray, shape (n, 5), float64
            Left, top, right and bottom edge in the picture's pixels, cut at its edges, and the score in [0, 1]; the
            highest score first.

        Raises
        ------
        InvalidInputError
            If the file is missing or broken, or it is no image.

        Examples
        --------
        >>> PersonDetector((64, 96), width=4).detect(np.zeros((50, 70, 3), np.uint8)).shape
        (0, 5)
        """
        pixels = any_image(image)
        shape = (pixels.shape[0], pixels.shape[1])
        matrix = letterbox(shape, self.size)
        inputs = normalise(warp_image(pixels, matrix, self.size))[None]
        device = self.heat.weight.device
        with evaluating(self), torch.no_grad():
            heat, edges = self(inputs.to(device))
        found = decoded(heat[0, 0].float().cpu(), edges[0].float().cpu(), self.threshold, self.most)
        back = invert(matrix)
        # Edges lie half a pixel outside of the centres that matrices speak of.
        for low in (0, 2):
            found[:, low : low + 2] = (found[:, low : low + 2] - 0.5) @ back[:, :2].T + back[:, 2] + 0.5
        found[:, 0:4:2] = found[:, 0:4:2].clip(0, shape[1])
        found[:, 1:4:2] = found[:, 1:4:2].clip(0, shape[0])
        found = found[(found[:, 2:4] > found[:, :2]).all(1)]
        return found[suppressed(found[:, :4], self.overlap)]

    @door
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write arguments and weights to a file, which is either the old one or the new one.

        Raises
        ------
        CheckpointError
            If the file cannot be written.
        """
        save_checkpoint(Path(path), {"kind": KIND, "config": self.config, "state": self.state_dict()})

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build this detector anew: ``PersonDetector(**detector.config)``."""
        names = ("size", "width", "threshold", "overlap", "most")
        return {name: getattr(self, name) for name in names}

    @classmethod
    @door
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the detector that :meth:`save` wrote, on the CPU, in evaluation mode.

        Raises
        ------
        CheckpointError
            If the file is missing, damaged, or not written by :meth:`save`.
        """
        content = load_checkpoint(Path(path))
        if content.get("kind") != KIND:
            raise CheckpointError(
                f"a detector written by PersonDetector.save at {path}", got="another checkpoint", fix="check the path"
            )
        return filled_model(cls, content.get("config"), content.get("state"))


def decoded(heat: Tensor, edges: Tensor, threshold: float, most: int) -> NDArray[np.float64]:
    """Return the boxes at the peaks of a heatmap, float64 (n, 5), the highest score first.

    Parameters
    ----------
    heat : Tensor, shape (h, w)
        Logits.
    edges : Tensor, shape (4, h, w)
        Distances in the input's pixels.
    threshold : float
        Lowest score.
    most : int
        Boxes at most.

    Examples
    --------
    >>> heat = torch.full((3, 3), -9.0)
    >>> heat[1, 2] = 9.0
    >>> decoded(heat, torch.full((4, 3, 3), 4.0), 0.5, 10)[:, :4].tolist()
    [[6.0, 2.0, 14.0, 10.0]]
    """
    scores = heat.sigmoid()
    peaks = (F.max_pool2d(scores[None, None], 3, 1, 1)[0, 0] == scores) & (scores >= threshold)
    rows, columns = peaks.nonzero(as_tuple=True)
    order = scores[rows, columns].argsort(descending=True, stable=True)[:most]
    rows, columns = rows[order], columns[order]
    x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
    left, top, right, bottom = edges[:, rows, columns]
    boxes = torch.stack([x - left, y - top, x + right, y + bottom, scores[rows, columns]], 1)
    return boxes.double().numpy()


def suppressed(boxes: Boxes, overlap: float) -> list[int]:
    """Return which boxes stay, in order: none that overlaps an earlier one that stays by more than `overlap`.

    Examples
    --------
    >>> suppressed(np.array([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]]), 0.5)
    [0, 2]
    """
    overlaps, kept = box_overlaps(boxes, boxes), list[int]()
    for place in range(len(boxes)):
        if not (overlaps[place, kept] > overlap).any():
            kept.append(place)
    return kept
