"""Parsing whole images of any size."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.support.modules import evaluating
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.geometry.crops import invert
from noisycorrect_seg.geometry.frame import Size, letterbox
from noisycorrect_seg.geometry.maps import checked_size, winners
from noisycorrect_seg.geometry.warp import warp_image, warp_mask
from noisycorrect_seg.inference.averaging import averaged_logits, checked_scales
from noisycorrect_seg.inference.calling import as_module, meant_by, shown_to
from noisycorrect_seg.inference.frames import labels_on_image, probs_on_image, way_back
from noisycorrect_seg.inference.images import any_image, picture_of
from noisycorrect_seg.inference.running import forward_context, on_device
from noisycorrect_seg.inference.visualise import overlay, save_mask
from noisycorrect_seg.inputs import BGR, Normalisation
from noisycorrect_seg.masks import mask_dtype

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

CONVENTIONS = ("extractor", "evaluator")


@dataclass(frozen=True, eq=False)
class Parsing:
    """What a model says of an image.

    Attributes
    ----------
    labels : ndarray, shape (H, W), uint8, or uint16 of more than 255 classes
        The class of each pixel, 0..K-1.
    probs : ndarray, shape (K, H, W), float32, or None
        Class probabilities; `labels` are their largest.
    classes : Classes
        K names and their palette.

    Examples
    --------
    >>> from noisycorrect_seg.classes import classes_named
    >>> parsing = Parsing(np.zeros((2, 3), np.uint8), None, classes_named("lip"))
    >>> parsing.overlay(np.zeros((2, 3, 3), np.uint8)).size
    (3, 2)
    """

    labels: np.ndarray = field(repr=False)
    probs: np.ndarray | None = field(repr=False)
    classes: Classes

    def save_png(self, path: str | os.PathLike[str]) -> None:
        """Write the labels as a palette PNG, atomically; see :func:`noisycorrect_seg.inference.visualise.save_mask`."""
        save_mask(path, self.labels, self.classes)

    def overlay(self, image: Any, alpha: float = 0.5) -> Picture:
        """Return the image with the labels' colours over it; see :func:`noisycorrect_seg.inference.visualise.overlay`.

        Parameters
        ----------
        image : path-like, PIL.Image.Image, or ndarray
            The image that was parsed; of other channels than RGB, see
            :func:`noisycorrect_seg.inference.images.picture_of`.
        alpha : float
            Weight of the colours, in [0, 1].
        """
        from PIL import Image

        return Image.fromarray(overlay(picture_of(image), self.labels, self.classes, alpha))


@dataclass(frozen=True)
class Recipe:
    """How images are parsed; the arguments of :func:`parse_image`, checked.

    Raises
    ------
    InvalidInputError
        If one is out of range, or they contradict each other.

    Examples
    --------
    >>> from noisycorrect_seg.classes import classes_named
    >>> Recipe(classes_named("pascal"), size=(512, 512), flip=True).scales
    (1.0,)
    """

    classes: Classes
    size: Size = (473, 473)
    scales: Sequence[float] = (1.0,)
    flip: bool = False
    convention: str = "extractor"
    official_centres: bool = False
    normalisation: Normalisation = BGR

    def __post_init__(self) -> None:
        if self.convention not in CONVENTIONS:
            raise unknown_name("convention", self.convention, CONVENTIONS)
        if self.official_centres and self.convention != "evaluator":
            raise InvalidInputError(
                'official_centres with convention="evaluator"',
                got=repr(self.convention),
                fix="only the published evaluator cuts its centres off; leave official_centres out",
            )
        object.__setattr__(self, "scales", checked_scales(self.scales))
        object.__setattr__(self, "size", checked_size(self.size))

    def arguments(self) -> dict[str, Any]:
        """Return what every function that parses takes by these names: pictures, people and videos."""
        return {name: getattr(self, name) for name in ("classes", "size", "scales", "flip", "normalisation")}


@door
def parse_image(
    model: nn.Module,
    image: Any,
    *,
    classes: str | Classes | Sequence[str] | None = None,
    size: Size | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    convention: str = "extractor",
    official_centres: bool = False,
    normalisation: str | Normalisation | None = None,
    device: str | torch.device = "auto",
    precision: str = "float32",
    probs: bool = False,
) -> Parsing:
    """Parse an image of any size; the result has its size.

    The whole image is letterboxed into the network's frame (bilinear, black around it). Logits are brought to the
    frame's size, and averaged over `scales` and `flip` there, in either convention of the published SCHP code:

    ``"extractor"``
        The logits are resampled onto the image (bilinear), then the largest wins: smooth outlines.
    ``"evaluator"``
        The largest wins in the frame, then the labels are looked up for the image's pixels (nearest): how the published
        figures were measured.

    Parameters
    ----------
    model : nn.Module
        Takes normalised images (N, C, H, W), BGR unless `normalisation` says otherwise, and returns logits
        (N, K, h, w) in one of the styles of :func:`~noisycorrect_seg.outputs.as_output`. Run in evaluation mode
        without gradients; its modes and its device come back. Of any precision: crops are cast to its weights' dtype.
        A program of torch.export or an :class:`~noisycorrect_seg.deploy.OnnxNetwork` is called with as many images as
        it takes.
    image : path-like, PIL.Image.Image, or ndarray
        See :func:`~noisycorrect_seg.inference.images.any_image`; arrays are RGB, uint8.
    classes : str, Classes, or sequence of str, optional
        K of them. Default: what the model says in its attribute ``classes``, else LIP's.
    size : (int, int), optional
        Height and width of the network's frame. Default: what the model says in its attribute ``size``, or was exported
        at, else 473 x 473. Published: 473 x 473 for LIP, 512 x 512 for ATR and Pascal.
    scales : sequence of float
        Sizes at which the model sees the frame, as shares of `size`.
    flip : bool
        Average with the mirror image, left and right classes exchanged.
    convention : {"extractor", "evaluator"}
        See above.
    official_centres : bool
        Of the evaluator: shift maps by half a pixel where the published one does; see
        :func:`~noisycorrect_seg.inference.frames.way_back`. For comparing with published figures only.
    device : str or torch.device
        See :func:`~noisycorrect_seg.inference.running.on_device`.
    normalisation : {"bgr", "rgb"} or Normalisation, optional
        How values become the network's input, as in training; see :class:`~noisycorrect_seg.ParsingDataset`. Default:
        what the model says in its attribute ``normalisation``, else ``"bgr"``.
    precision : {"float32", "bfloat16", "float16", "auto"}
        What the model computes in.
    probs : bool
        Return class probabilities, too: 4 K bytes a pixel.

    Returns
    -------
    Parsing

    Raises
    ------
    InvalidInputError
        If an argument is out of range, the image cannot be read, or the model's output does not fit the classes.

    Examples
    --------
    >>> pixels = np.zeros((40, 31, 3), np.uint8)
    >>> pixels[:, 16:] = 255
    >>> parsing = parse_image(nn.Conv2d(3, 2, 1), pixels, classes=["dark", "bright"], size=(64, 64), probs=True)
    >>> parsing.labels.shape, parsing.probs.shape
    ((40, 31), (2, 40, 31))
    """
    model = as_module(model)
    meant, given = meant_by(model, classes, size), shown_to(model, normalisation)
    recipe = Recipe(*meant, scales, flip, convention, official_centres, given)
    (parsing,) = parse_images(model, [image], recipe, device=device, precision=precision, probs=probs)
    return parsing


def parse_images(
    model: nn.Module,
    images: Sequence[Any],
    recipe: Recipe,
    *,
    device: str | torch.device = "auto",
    precision: str = "float32",
    probs: bool = False,
) -> list[Parsing]:
    """Parse some images, of any sizes, in one batch; see :func:`parse_image`.

    Examples
    --------
    >>> from noisycorrect_seg.classes import classes_named
    >>> recipe = Recipe(classes_named(["dark", "bright"]), size=(64, 64))
    >>> images = [np.zeros((40, 30, 3), np.uint8), np.zeros((20, 50, 3), np.uint8)]
    >>> [parsing.labels.shape for parsing in parse_images(nn.Conv2d(3, 2, 1), images, recipe)]
    [(40, 30), (20, 50)]
    """
    model = as_module(model)
    crops, shapes = canonical_crops(images, recipe.size, recipe.normalisation)
    with on_device(model, device) as place, evaluating(model):
        return list(parse_crops(model, crops, shapes, recipe, device=place, precision=precision, probs=probs))


def canonical_crops(
    images: Sequence[Any], size: Size, normalisation: Normalisation = BGR
) -> tuple[np.ndarray, list[Size]]:
    """Return images letterboxed into a frame, (N, *size, C), and their own shapes.

    They are uint8, or float32 if one of the images is no uint8, which a normalisation of one's own admits.

    Examples
    --------
    >>> crops, shapes = canonical_crops([np.full((2, 4, 3), 9, np.uint8)], (4, 4))
    >>> crops[0, :, 0, 0].tolist(), shapes  # black, the image's two rows, black
    ([0, 9, 9, 0], [(2, 4)])
    """
    crops, shapes = np.empty((len(images), *size, normalisation.channels), np.uint8), []
    for place, image in enumerate(images):
        pixels = any_image(image, normalisation)
        shapes.append((pixels.shape[0], pixels.shape[1]))
        if pixels.dtype != crops.dtype and crops.dtype == np.uint8:
            crops = crops.astype(np.float32)
        crops[place] = warp_image(pixels, letterbox(shapes[-1], size), size)
    return crops, shapes


def parse_crops(
    model: nn.Module,
    crops: np.ndarray,
    shapes: Sequence[Size],
    recipe: Recipe,
    *,
    device: torch.device,
    precision: str = "float32",
    probs: bool = False,
) -> Iterator[Parsing]:
    """Parse what :func:`canonical_crops` returned, with a model that is on `device` and in evaluation mode.

    Yields one at a time: probabilities of large photos would not fit in memory together.
    """
    logits = crop_logits(model, crops, recipe, device=device, precision=precision)
    for each, shape in zip(logits, shapes, strict=True):
        with forward_context(device, precision):
            parsing = on_image(each, shape, recipe, probs=probs)
        yield parsing


def crop_logits(
    model: nn.Module, crops: np.ndarray, recipe: Recipe, *, device: torch.device, precision: str = "float32"
) -> Tensor:
    """Return the averaged logits of what :func:`canonical_crops` returned, float32 (N, K, *size), on `device`.

    Examples
    --------
    >>> from noisycorrect_seg.classes import classes_named
    >>> recipe = Recipe(classes_named(["dark", "bright"]), size=(8, 6))
    >>> crop_logits(nn.Conv2d(3, 2, 1), np.zeros((4, 8, 6, 3), np.uint8), recipe, device=torch.device("cpu")).shape
    torch.Size([4, 2, 8, 6])
    """
    with forward_context(device, precision):
        inputs = recipe.normalisation(torch.from_numpy(crops).to(device))
        return averaged_logits(model, inputs, recipe.classes, scales=recipe.scales, flip=recipe.flip)


def on_image(logits: Tensor, shape: Size, recipe: Recipe, *, probs: bool = False) -> Parsing:
    """Return what logits in the network's frame, (K, *size), say of an image of that shape, in the recipe's convention.

    Examples
    --------
    >>> from noisycorrect_seg.classes import classes_named
    >>> recipe = Recipe(classes_named(["dark", "bright"]), size=(8, 6))
    >>> on_image(torch.zeros(2, 8, 6), (16, 12), recipe).labels.shape
    (16, 12)
    """
    back = way_back(shape, recipe.size, official_centres=recipe.official_centres)
    if recipe.convention == "extractor":
        labels = labels_on_image(logits, back, shape)
        return Parsing(labels, probs_on_image(logits, back, shape) if probs else None, recipe.classes)
    onto = invert(back)
    chosen = winners(logits[None])[0].cpu().numpy().astype(mask_dtype(len(logits)))
    labels = warp_mask(chosen, onto, shape, border=0)  # the published border, met with official_centres alone
    return Parsing(labels, _nearest_probs(logits, onto, shape) if probs else None, recipe.classes)


def _nearest_probs(logits: Tensor, onto: np.ndarray, shape: Size) -> np.ndarray:
    """Return the softmax of the nearest pixel's logits; certainly background where the evaluator says so."""
    height, width = logits.shape[1:]
    nowhere = height * width
    numbers = np.arange(nowhere, dtype=np.int32).reshape(height, width)
    nearest = torch.from_numpy(warp_mask(numbers, onto, shape, border=nowhere)).long().flatten()
    outside = nearest == nowhere
    columns = logits.softmax(0).cpu().flatten(1).index_select(1, nearest.masked_fill_(outside, 0))
    columns[:, outside] = 0
    columns[0, outside] = 1
    array: np.ndarray = columns.reshape(-1, *shape).numpy()
    return array
