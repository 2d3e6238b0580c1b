"""Images as people have them: files, PIL images, arrays; all become uint8 RGB arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noisycorrect.support.eight_bits import is_deep
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.datasets.images import (
    IMAGE_SUFFIXES,
    as_picture,
    picture_channels,
    read_channels,
    read_image,
    rgb_pixels,
)
from noisycorrect_seg.datasets.rasters import odd_pixels
from noisycorrect_seg.datasets.source import ParsingSource
from noisycorrect_seg.inputs import BGR, NUMBERS, RGB, Normalisation

CONVERTED = {3: "rgb", 1: "grey"}  # what images of 8 bits are read as, by the channels that a network takes


def any_image(image: Any, normalisation: Normalisation = BGR) -> np.ndarray:
    """Return an image as an array.

    Parameters
    ----------
    image : path-like, PIL.Image.Image, or ndarray
        A file or PIL image is turned upright as its EXIF orientation says and converted to RGB; transparency is
        dropped. An array is RGB (H, W, 3) or grey (H, W), uint8.
    normalisation : Normalisation
        Of one for other images than RGB of 8 bits, the values of a file or PIL image are taken as they are stored, and
        an array may be (H, W, C) of its channels, of any dtype. But if it is for 3 channels (1) and its scale is 255,
        pictures are converted to RGB (grey) as training converted them; ``.npy`` and TIFF of many channels are not.

    Returns
    -------
    ndarray, shape (H, W, 3), uint8
        RGB. An RGB array comes back as it is, not copied. Else (H, W, C), uint8 or float32.

    Raises
    ------
    InvalidInputError
        If the file is missing or broken (the message names it), or the array is something else.

    Examples
    --------
    >>> any_image(np.zeros((2, 3), np.uint8)).shape
    (2, 3, 3)
    """
    if normalisation not in (BGR, RGB):
        return _channels(image, normalisation)
    if isinstance(image, (str, os.PathLike)):
        return read_image(Path(image), upright=True)
    if isinstance(image, Image.Image):
        if is_deep(image):  # converted, all above 255 would be white
            raise InvalidInputError(
                "an image of 8 bits a channel",
                got=f"a PIL image of mode {image.mode}",
                fix="convert it to 8 bits, or pass normalisation=, a Normalisation of what the network was trained on",
            )
        return rgb_pixels(image, upright=True)
    if not isinstance(image, np.ndarray):
        raise InvalidInputError(
            "a path, a PIL image or a uint8 array",
            got=type(image).__name__,
            fix=_array_of(image, "(H, W, 3)"),
        )
    if image.dtype != np.uint8 or not image.size or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise InvalidInputError(
            "an RGB image (H, W, 3) or a grey one (H, W), uint8",
            got=f"{image.dtype} of shape {image.shape}",
            fix="scale to 0..255 and convert with .astype(np.uint8); drop an alpha channel",
        )
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)


def _array_of(image: Any, shape: str) -> str:
    """Return how what is no image becomes one."""
    if isinstance(image, ParsingSource):
        return "pass one of its images, source.image(0), or a folder of them"
    return f"pass a tensor as tensor.numpy(), shape {shape}"


def _channels(image: Any, normalisation: Normalisation) -> np.ndarray:
    """Return an image of any number of channels, (H, W, C), as its normalisation takes it."""
    name = "the image"
    channels = CONVERTED.get(normalisation.channels, "stored") if normalisation.scale == 255 else "stored"
    if isinstance(image, (str, os.PathLike)):
        name = os.fspath(image)
        odd = None if channels == "stored" else odd_pixels(name)
        image = read_channels(name, channels, upright=True) if odd is None else odd
    elif isinstance(image, Image.Image):
        image = picture_channels(image, channels, name, upright=True)
    if not isinstance(image, np.ndarray):
        raise InvalidInputError(
            "a path, a PIL image or an array", got=type(image).__name__, fix=_array_of(image, "(H, W, C)")
        )
    return normalisation.check(image, name)


def picture_of(image: Any) -> np.ndarray:
    """Return an image of any kind as a picture to look at, RGB uint8 (H, W, 3).

    Parameters
    ----------
    image : path-like, PIL.Image.Image, or ndarray
        RGB of 8 bits comes back as :func:`any_image` returns it, others as :func:`as_picture` does.

    Examples
    --------
    >>> picture_of(np.array([[0, 9000]], np.uint16)).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    if isinstance(image, Image.Image) and is_deep(image):
        image = picture_channels(image, "stored", "the image", upright=True)
    if isinstance(image, np.ndarray):
        plain = image.dtype == np.uint8 and image.shape[2:] in ((), (3,))
        other = not plain and image.ndim in (2, 3) and image.dtype.kind in NUMBERS
        return as_picture(image) if other else any_image(image)
    try:
        return any_image(image)
    except InvalidInputError:
        if not isinstance(image, (str, os.PathLike)):
            raise
    return as_picture(read_channels(Path(image), "stored", upright=True))


def image_files(paths: Iterable[str | os.PathLike[str]], more: Sequence[str] = ()) -> tuple[list[Path], list[Path]]:
    """Return the image files among paths and in folders, and what else lies in those folders.

    Parameters
    ----------
    paths : iterable of path-like
        A file is taken whatever its name, and only once. Of a folder, the files with an image's suffix are taken, by
        name, links that lead nowhere too, so that they are missed; hidden files and folders inside it are not.
    more : sequence of str
        Further suffixes of images.

    Returns
    -------
    images, others : list of Path

    Raises
    ------
    InvalidInputError
        If a path does not exist, or there is no image.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("b.JPG", "a.png", "notes.txt", ".hidden"):
    ...     (folder / name).touch()
    >>> [[path.name for path in paths] for paths in image_files([folder])]
    [['a.png', 'b.JPG'], ['notes.txt']]
    """
    images: list[Path] = []
    others: list[Path] = []
    places = [Path(path) for path in paths]
    for path in places:
        if path.is_dir():
            files = sorted(each for each in path.iterdir() if is_file(each) and not each.name.startswith("."))
            for each in files:
                (images if each.suffix.lower() in (*IMAGE_SUFFIXES, *more) else others).append(each)
        elif path.exists():
            images.append(path)
        else:
            raise InvalidInputError("a photo or a folder of photos", got=f"no file {path}", fix="check the path")
    if not images:
        inside = images_inside(places, more)
        raise InvalidInputError(
            "at least one image",
            got=f"none, and {len(others)} other files",
            fix=f"name the folders inside, such as {next(iter(inside))}"
            if inside
            else f"images end in {', '.join(IMAGE_SUFFIXES)}",
        )
    return list(dict.fromkeys(images)), list(dict.fromkeys(others))


def is_file(path: Path) -> bool:
    """Return whether a path is that of a file, be it one that a link names and that is gone."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def images_inside(
    paths: Iterable[str | os.PathLike[str]], more: Sequence[str] = (), *, out: Path | None = None
) -> dict[Path, int]:
    """Return the folders inside those among paths that hold images, and how many: what :func:`image_files` leaves out.

    Hidden folders, links and `out`, a folder of results, are not looked into.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "monday").mkdir()
    >>> (folder / "monday" / "a.png").touch()
    >>> {path.name: count for path, count in images_inside([folder]).items()}
    {'monday': 1}
    """
    suffixes = (*IMAGE_SUFFIXES, *more)
    folders = [Path(path) for path in paths if Path(path).is_dir()]
    seen = {path.resolve() for path in folders}
    left = None if out is None else out.resolve()
    found = {}
    for folder in folders:
        for place, inner, files in os.walk(folder):
            here = Path(place)
            inner[:] = sorted(name for name in inner if not name.startswith(".") and (here / name).resolve() != left)
            count = sum(name.lower().endswith(suffixes) and not name.startswith(".") for name in files)
            if count and here.resolve() not in seen:
                found[here] = count
            seen.add(here.resolve())
    return found
