"""What a loss compares with: hard labels or soft targets, checked once and shared between the terms."""

from __future__ import annotations

from functools import cached_property
from typing import final

import numpy as np
import torch
from torch import Tensor

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.maps import winners
from noisycorrect_seg.masks import IGNORE_INDEX, check_ignored

ROUNDING = 1e-3  # half precision is off by that much at 1
NO_CLASS = -1  # the label of ignored pixels where the caller's number of them is a class


def widen(tensor: Tensor) -> Tensor:
    """Return a floating tensor as it is, or as float32 if it has less precision.

    Examples
    --------
    >>> widen(torch.zeros(1, dtype=torch.bfloat16)).dtype, widen(torch.zeros(1, dtype=torch.float64)).dtype
    (torch.float32, torch.float64)
    """
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


@final
class Targets:
    """Targets of a batch in the forms that the losses need, each made when it is first asked for.

    Parameters
    ----------
    targets : Tensor
        Hard labels, integer (N, H, W), in 0..K-1 or `ignore_index`; or soft targets, floating (N, K, H, W), class
        probabilities, with a column of zeros where the pixel is ignored. Never changed, and given no gradient.
    num_classes : int
        K.
    ignore_index : int
        Hard label of a pixel to leave out.
        Of more than 255 classes, 255 is one, and refused; of soft targets, a number that is a class says nothing.

    Attributes
    ----------
    soft : Tensor (N, K, H, W), or None
        The soft targets, float32 or float64; None for hard labels.
    valid : Tensor, bool (N, H, W)
        Which pixels count.
    size : tuple of int
        (H, W).

    Raises
    ------
    InvalidInputError
        If the shape, the dtype or a value is not as above.

    Examples
    --------
    >>> targets = Targets(torch.tensor([[[0, 2, 255]]]), num_classes=3)
    >>> targets.present, targets.pixels.tolist()
    ([0, 2], [0, 1])
    """

    def __init__(self, targets: Tensor, num_classes: int, ignore_index: int = IGNORE_INDEX) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.soft: Tensor | None = None
        if not isinstance(targets, Tensor) or not targets.numel():
            got = f"shape {tuple(targets.shape)}" if isinstance(targets, Tensor) else type(targets).__name__
            raise InvalidInputError("targets as a tensor of pixels", got=got, fix="pass labels (N, H, W)")
        if targets.is_floating_point():
            self.soft = _checked_soft(targets.detach(), num_classes)
            if 0 <= ignore_index < num_classes:  # columns of zeros are ignored, and none of the classes
                self.ignore_index = NO_CLASS
            self.valid = (self.planes.sum(0) > 0).view(len(self.soft), *self.soft.shape[2:])
        else:
            check_ignored(ignore_index, num_classes)
            self._labels, self.valid = _checked_labels(targets, num_classes, ignore_index)
        self.size: tuple[int, int] = (self.valid.shape[1], self.valid.shape[2])

    @cached_property
    def planes(self) -> Tensor:
        """Soft targets class by class, (K, N H W); of hard labels there are none."""
        assert self.soft is not None
        return by_class(self.soft)

    @cached_property
    def labels(self) -> Tensor:
        """Hard labels, int64 (N, H, W): those given, or the most probable classes; `ignore_index` where not valid."""
        if self.soft is None:
            return self._labels
        return winners(self.soft).masked_fill_(~self.valid, self.ignore_index)

    @cached_property
    def count(self) -> Tensor:
        """How many pixels are valid, int64 ()."""
        return self.valid.sum()

    @cached_property
    def pixels(self) -> Tensor | None:
        """Positions of the valid pixels in the flattened (N, H, W), int64; None if all are."""
        index = self.valid.flatten().nonzero().squeeze(1)
        return None if len(index) == self.valid.numel() else index

    @cached_property
    def classes(self) -> Tensor:
        """Hard labels with class 0 at the pixels that are not valid, int64 (N H W)."""
        return self.labels.where(self.valid, 0).flatten()

    @cached_property
    def flat_labels(self) -> np.ndarray:
        """Hard labels as an array on the CPU, (N H W), in the smallest type that holds them."""
        kind = np.uint8 if self.num_classes <= np.iinfo(np.uint8).max else np.int64
        return self.classes.numpy().astype(kind)

    @cached_property
    def flat_valid(self) -> np.ndarray:
        """Which pixels count as an array on the CPU, bool (N H W)."""
        return self.valid.flatten().numpy()

    @cached_property
    def flat_places(self) -> np.ndarray:
        """Positions of the valid pixels as an array on the CPU, int64."""
        return np.flatnonzero(self.flat_valid)

    @cached_property
    def present(self) -> list[int]:
        """Classes that occur: in hard labels, those of a valid pixel; in soft targets, those that some pixel gives 1/K.

        1/K is the share of a class of which nothing is known. Evidence leaves traces of every class in every image; a
        class that no pixel holds likelier than chance is not there. For one-hot targets the two rules agree.
        """
        if self.soft is not None:
            most = self.planes.amax(1)
            return [int(k) for k in (most * self.num_classes >= 1 - ROUNDING).nonzero()]
        counts = torch.bincount(self._labels.where(self.valid, self.num_classes).flatten(), minlength=self.num_classes)
        return [int(k) for k in counts[: self.num_classes].nonzero()]


def by_class(maps: Tensor) -> Tensor:
    """Return maps (N, K, H, W) class by class, (K, N H W).

    Examples
    --------
    >>> by_class(torch.tensor([[[[1, 2]], [[3, 4]]], [[[5, 6]], [[7, 8]]]])).tolist()
    [[1, 2, 5, 6], [3, 4, 7, 8]]
    """
    return maps.transpose(0, 1).flatten(1).contiguous()  # else a plane of channels_last maps has strides


def from_classes(planes: Tensor, shape: torch.Size) -> Tensor:
    """Return planes (K, N H W) as maps of a shape (N, K, H, W): the inverse of :func:`by_class`, without a copy."""
    return planes.view(shape[1], shape[0], *shape[2:]).transpose(0, 1)


def _checked_soft(targets: Tensor, num_classes: int) -> Tensor:
    if targets.dim() != 4 or targets.shape[1] != num_classes:
        raise InvalidInputError(
            f"soft targets of shape (N, {num_classes}, H, W)",
            got=f"{targets.dtype} of shape {tuple(targets.shape)}",
            fix="pass class probabilities, or integer labels (N, H, W)",
        )
    low, high = (float(bound) for bound in targets.aminmax())
    if low < 0 or high > 1 + ROUNDING:
        raise InvalidInputError(
            "soft targets in [0, 1]", got=f"values from {low:.3g} to {high:.3g}", fix="pass probabilities, not logits"
        )
    return widen(targets)


def _checked_labels(labels: Tensor, num_classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return hard labels as int64, and which of them count."""
    if labels.dim() != 3 or labels.dtype is torch.bool or labels.is_complex():
        raise InvalidInputError(
            "integer labels of shape (N, H, W)",
            got=f"{labels.dtype} of shape {tuple(labels.shape)}",
            fix="pass class indices, or probabilities (N, K, H, W)",
        )
    labels = labels.long()  # uint8 would take -100 for 156
    valid = labels != ignore_index
    low, high = (int(bound) for bound in labels.where(valid, 0).aminmax())
    if low < 0 or high >= num_classes:
        raise InvalidInputError(
            f"labels in 0..{num_classes - 1} or {ignore_index}",
            got=str(low if low < 0 else high),
            fix="correct the labels, or the number of the model's outputs",
        )
    return labels, valid


def check_maps(maps: Tensor, name: str, *, channels: int | None = None, images: int | None = None) -> None:
    """Raise unless `maps` are floating (N, K, h, w), with K = `channels` and N = `images` if given.

    Raises
    ------
    InvalidInputError
        If they are not.
    """
    wanted = f"({'N' if images is None else images}, {'K' if channels is None else channels}, h, w)"
    if not isinstance(maps, Tensor) or not maps.is_floating_point() or maps.dim() != 4 or not maps.numel():
        got = f"{maps.dtype} of shape {tuple(maps.shape)}" if isinstance(maps, Tensor) else type(maps).__name__
    elif maps.shape[1] != (channels or maps.shape[1]) or len(maps) != (images or len(maps)):
        got = f"shape {tuple(maps.shape)}"
    else:
        return
    raise InvalidInputError(f"{name} of shape {wanted}, floating", got=got, fix="pass the model's output")


def targets_like(targets: Tensor, maps: Tensor, ignore_index: int, *, any_size: bool = False) -> Targets:
    """Return `targets` checked against `maps` (N, K, H, W); with `any_size`, (H, W) may differ.

    Raises
    ------
    InvalidInputError
        If the numbers of images, classes or pixels differ, or the targets are not as :class:`Targets` says.
    """
    checked = Targets(targets, maps.shape[1], ignore_index)
    same_size = any_size or checked.size == tuple(maps.shape[-2:])
    if len(checked.valid) != len(maps) or not same_size:
        raise InvalidInputError(
            f"targets of {len(maps)} images" + ("" if any_size else f" of {tuple(maps.shape[-2:])} pixels"),
            got=f"{len(checked.valid)} of {checked.size}",
            fix="resize the logits to the labels: resized(logits, labels.shape[-2:])",
        )
    return checked
