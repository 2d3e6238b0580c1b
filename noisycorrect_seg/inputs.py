"""What a network is shown: how the values of an image become its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.support.errors import InvalidInputError, unknown_name

# On values / 255, in the order blue, green, red: what the published SCHP networks take.
MEAN_BGR = (0.406, 0.456, 0.485)
STD_BGR = (0.225, 0.224, 0.229)
NUMBERS = "uif"  # kinds of dtypes that images may have


@dataclass(frozen=True)
class Normalisation:
    """How images become a network's input: ``(value / scale - mean) / std``, a channel at a time.

    Parameters
    ----------
    mean, std : sequence of float
        One a channel, in the order in which the network takes channels; std above 0.
    scale : float
        What values are divided by first, above 0: 255 for constants that count from 0 to 1.
    reverse : bool
        Whether the network takes the channels of an image in reverse order: RGB images as BGR.

    Raises
    ------
    InvalidInputError
        If there is no channel, or a number is not as above.

    Examples
    --------
    >>> depth = Normalisation(mean=[1000.0], std=[500.0])
    >>> depth(torch.tensor([[[1500.0]]])).tolist(), depth.channels
    ([[[1.0]]], 1)
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0
    reverse: bool = False

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, scale: float = 1.0, reverse: bool = False):
        means, stds = _numbers("mean", mean), _numbers("std", std)
        if not means or len(means) != len(stds) or min(stds, default=0) <= 0 or not (np.isfinite(scale) and scale > 0):
            raise InvalidInputError(
                "a mean and a std above 0 a channel, and a scale above 0",
                got=f"{len(means)} means, stds {stds}, scale {scale}",
                fix="Normalisation.of(source) measures them",
            )
        for name, value in (("mean", means), ("std", stds), ("scale", float(scale)), ("reverse", bool(reverse))):
            object.__setattr__(self, name, value)

    @property
    def channels(self) -> int:
        """How many channels an image must have."""
        return len(self.mean)

    def __call__(self, images: Tensor) -> Tensor:
        """Return images (..., H, W, C), of any dtype and on any device, as network input, float32 (..., C, H, W)."""
        mean = torch.tensor(self.mean, device=images.device, dtype=torch.float32)[:, None, None]
        std = torch.tensor(self.std, device=images.device, dtype=torch.float32)[:, None, None]
        planes = images.movedim(-1, -3)
        values = (planes.flip(-3) if self.reverse else planes).float() / self.scale
        return values.sub_(mean).div_(std)

    def of_image(self, image: np.ndarray) -> Tensor:
        """Return one image (H, W, C) as network input, float32 (C, H, W)."""
        normalised = np.empty((self.channels, *image.shape[:2]), np.float32)
        for channel, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
            plane = normalised[channel]  # one at a time: it stays in the cache
            plane[...] = image[:, :, self.channels - 1 - channel if self.reverse else channel]
            if self.scale != 1:
                plane /= np.float32(self.scale)
            plane -= np.float32(mean)
            plane /= np.float32(std)
        return torch.from_numpy(normalised)

    def back(self, inputs: Tensor) -> np.ndarray:
        """Return network input (..., C, H, W) as values of images, float32 (..., H, W, C): the inverse of a call."""
        values = inputs.detach().to("cpu", torch.float32).movedim(-3, -1)
        std, mean = (torch.tensor(each, dtype=torch.float32) for each in (self.std, self.mean))
        values = (values * std + mean) * self.scale
        return np.ascontiguousarray((values.flip(-1) if self.reverse else values).numpy())

    def check(self, image: np.ndarray, name: str) -> np.ndarray:
        """Return an image as (H, W, C), uint8 or float32, or raise an InvalidInputError that says `name`."""
        channels = image[:, :, None] if image.ndim == 2 else image
        if channels.ndim != 3 or channels.shape[2] != self.channels or channels.dtype.kind not in NUMBERS:
            raise InvalidInputError(
                f"an image of {self.channels} channel{'s' * (self.channels > 1)}, (H, W, {self.channels})",
                got=f"{image.dtype} of shape {image.shape} in {name}",
                fix="pass normalisation=Normalisation(mean, std) of as many channels as the images have;"
                " Normalisation.of(source) measures them",
            )
        if channels.dtype == np.uint8:
            return channels
        if self.scale == 255:
            fix = "pass normalisation=Normalisation.of(source): this one is for values of 0..255"
            raise InvalidInputError("an image of uint8", got=f"{image.dtype} in {name}", fix=fix)
        wide = channels.astype(np.float32, copy=False)
        if channels.dtype.kind == "f" and not np.isfinite(wide).all():
            fix = "put a number there, such as the channel's mean"
            raise InvalidInputError("finite values in an image", got=f"NaN or infinity in {name}", fix=fix)
        return wide

    @classmethod
    def of(cls, source: Any, *, most: int = 256) -> Normalisation:
        """Return the mean and the standard deviation of each channel of a source's images.

        Parameters
        ----------
        source : ParsingSource
            Its images, of one number of channels.
        most : int
            At most so many of them are read, evenly spaced.

        Raises
        ------
        InvalidInputError
            If images differ in their channels, or hold values that are not finite.

        Examples
        --------
        >>> class Two:
        ...     def __len__(self): return 2
        ...     def image(self, index): return np.full((2, 2, 1), 100 * index + 100, np.uint16)
        ...     def name(self, index): return str(index)
        >>> Normalisation.of(Two())
        Normalisation(mean=(150.0,), std=(50.0,), scale=1.0, reverse=False)
        """
        picks = np.unique(np.linspace(0, len(source) - 1, min(most, len(source))).astype(int)).tolist()
        sums: np.ndarray | None = None
        squares: np.ndarray | float = 0.0
        count = 0
        for pick in picks:
            image = source.image(pick)
            own = 1 if image.ndim == 2 else image.shape[2]
            checked = cls([0.0] * own, [1.0] * own).check(image, source.name(pick)).reshape(-1, own).astype(np.float64)
            if sums is not None and own != len(sums):
                fix = "convert them to one number of channels"
                got = f"{own} in {source.name(pick)}"
                raise InvalidInputError(f"images of {len(sums)} channels", got=got, fix=fix)
            sums = checked.sum(0) + (0 if sums is None else sums)
            squares = squares + (checked**2).sum(0)
            count += len(checked)
        assert sums is not None
        mean = sums / count
        std = np.sqrt(np.maximum(squares / count - mean**2, 0))
        # A channel of one value everywhere has nothing to be divided by.
        return cls(mean.tolist(), np.where(std > 1e-9 * np.maximum(np.abs(mean), 1), std, 1.0).tolist())


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{name} to be numbers, one a channel", got=repr(values), fix="pass a list") from error
    if not np.isfinite(found).all():
        raise InvalidInputError(f"a finite {name}", got=repr(found), fix="Normalisation.of(source) measures it")
    return found


BGR = Normalisation(MEAN_BGR, STD_BGR, scale=255, reverse=True)
RGB = Normalisation(MEAN_BGR[::-1], STD_BGR[::-1], scale=255)
NORMALISATIONS = {"bgr": BGR, "rgb": RGB}


def normalisation_named(normalisation: str | Normalisation) -> Normalisation:
    """Return a normalisation, by its name or as it is.

    ``"bgr"`` is what A-CE2P and the published SCHP networks take, ``"rgb"`` what those of torchvision,
    segmentation_models_pytorch and Transformers do; both are for RGB images of uint8, by ImageNet's constants.

    Raises
    ------
    InvalidInputError
        If it is neither.

    Examples
    --------
    >>> normalisation_named("rgb").mean
    (0.485, 0.456, 0.406)
    """
    if isinstance(normalisation, Normalisation):
        return normalisation
    if isinstance(normalisation, str) and normalisation in NORMALISATIONS:
        return NORMALISATIONS[normalisation]
    raise unknown_name("normalisation", normalisation, NORMALISATIONS)


def plain_normalisation(normalisation: Normalisation | None) -> dict[str, Any] | None:
    """Return a normalisation as plain JSON values.

    Examples
    --------
    >>> plain_normalisation(Normalisation([2.0], [0.5]))
    {'mean': [2.0], 'std': [0.5], 'scale': 1.0, 'reverse': False}
    """
    if normalisation is None:
        return None
    said = {"mean": list(normalisation.mean), "std": list(normalisation.std)}
    return {**said, "scale": normalisation.scale, "reverse": normalisation.reverse}


def normalisation_of(plain: Any) -> Normalisation | None:
    """Return the normalisation that :func:`plain_normalisation` wrote.

    Raises
    ------
    InvalidInputError, TypeError, KeyError
        If it wrote something else.

    Examples
    --------
    >>> normalisation_of(plain_normalisation(RGB)) == RGB
    True
    """
    if plain is None:
        return None
    return Normalisation(plain["mean"], plain["std"], scale=plain["scale"], reverse=plain["reverse"])
