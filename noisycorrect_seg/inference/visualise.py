"""Pictures of masks: colours, overlays, contact sheets, a legend, and palette PNGs.

What a function takes as `mask` is an integer array (H, W) of 0..K-1, or 255 (65535 of more than 255 classes) where
nothing is known; `classes` are its K
classes, names and palette.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import replace_atomically
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.masks import ignore_index, mask_dtype

PAPER, INK = (255, 255, 255), (0, 0, 0)
FONT_PIXELS = 14
LINE_PIXELS = 20


def colour_mask(mask: np.ndarray, classes: Classes) -> np.ndarray:
    """Return a mask in its classes' colours.

    Returns
    -------
    ndarray, shape (H, W, 3), uint8
        RGB.

    Raises
    ------
    InvalidInputError
        If it is no mask of these classes.

    Examples
    --------
    >>> from noisycorrect_seg.classes import LIP
    >>> colour_mask(np.array([[0, 1]], np.uint8), LIP).tolist()
    [[[0, 0, 0], [128, 0, 0]]]
    """
    colours: np.ndarray = classes.palette[checked_mask(mask, classes)]
    return colours


def overlay(image: np.ndarray, mask: np.ndarray, classes: Classes, alpha: float = 0.5) -> np.ndarray:
    """Return an image with the colours of its mask laid over it; background and unknown pixels stay as they are.

    Class 0 is coloured like the others where its name does not say that it is the background.

    Parameters
    ----------
    image : ndarray, shape (H, W, 3), uint8
        RGB.
    mask, classes
        See the module.
    alpha : float
        Weight of the colours, in [0, 1].

    Returns
    -------
    ndarray, shape (H, W, 3), uint8
        A new array.

    Raises
    ------
    InvalidInputError
        If image and mask do not belong together or `alpha` is out of range.

    Examples
    --------
    >>> from noisycorrect_seg.classes import LIP
    >>> grey = np.full((1, 2, 3), 100, np.uint8)
    >>> overlay(grey, np.array([[0, 1]], np.uint8), LIP, alpha=0.5).tolist()
    [[[100, 100, 100], [114, 50, 50]]]
    """
    colours = colour_mask(mask, classes)
    if image.shape != colours.shape or image.dtype != np.uint8:
        raise InvalidInputError(
            f"an RGB image of shape {colours.shape}, uint8",
            got=f"{image.dtype} of shape {image.shape}",
            fix="pass the image that the mask belongs to",
        )
    if not 0 <= finite_number("alpha", alpha, fix="0.5 is common") <= 1:
        raise InvalidInputError("0 <= alpha <= 1", got=repr(alpha), fix="0.5 is common")
    hidden = [ignore_index(len(classes)), *([] if classes.background is None else [classes.background])]
    shown = np.isin(mask, hidden, invert=True)[..., None] * np.float32(alpha)
    blended: np.ndarray = np.rint(image + (colours.astype(np.float32) - image) * shown).astype(np.uint8)
    return blended


def save_mask(path: str | os.PathLike[str], mask: np.ndarray, classes: Classes) -> None:
    """Write a mask as a PNG with a palette: its pixels are class indices, viewers show colours. Atomic.

    Of more than 255 classes the PNG is grey and has 16 bits.

    Parameters
    ----------
    path : path-like
        The file; its folder must exist.
    mask, classes
        See the module.

    Raises
    ------
    InvalidInputError
        If it is no mask of these classes.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from noisycorrect_seg.classes import LIP
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "mask.png"
    >>> save_mask(path, np.array([[0, 19, 255]], np.uint8), LIP)
    >>> with Image.open(path) as image:
    ...     print(image.mode, np.asarray(image).tolist())
    P [[0, 19, 255]]
    """
    picture = Image.fromarray(checked_mask(mask, classes))
    if picture.mode == "L":
        picture.putpalette(classes.palette.tobytes())
    save_picture(path, picture, "PNG")


def save_picture(path: str | os.PathLike[str], picture: Image.Image, kind: str, **options: Any) -> None:
    """Write a picture in a format such as ``"PNG"``; the old file stays until the new one is whole."""
    with replace_atomically(path) as temporary:
        picture.save(temporary, format=kind, **options)


def checked_mask(mask: Any, classes: Classes) -> np.ndarray:
    """Return a mask as uint8 or uint16 (H, W), or raise an InvalidInputError that names what is wrong."""
    array: np.ndarray = np.asarray(mask)
    if array.ndim != 2 or array.dtype.kind not in "iu" or not array.size:
        raise InvalidInputError(
            "a mask of whole numbers, shape (H, W)",
            got=f"{array.dtype} of shape {array.shape}",
            fix="pass class indices",
        )
    nothing = ignore_index(len(classes))
    wrong = array[(array != nothing) & ((array < 0) | (array >= len(classes)))]
    if len(wrong):
        raise InvalidInputError(
            f"mask values 0..{len(classes) - 1} or {nothing}",
            got=str(wrong[0]),
            fix=f"the class list {classes.name!r} may be the wrong one",
        )
    return array.astype(mask_dtype(len(classes)))


def contact_sheet(
    rows: Iterable[Sequence[Any]],
    titles: Sequence[str] | None = None,
    *,
    row_titles: Sequence[str] | None = None,
    cell: tuple[int, int] | None = None,
    gap: int = 4,
) -> Image.Image:
    """Return rows of pictures on one sheet.

    Parameters
    ----------
    rows : iterable of sequences
        Pictures: uint8 arrays (H, W, 3) or (H, W), or PIL images. Rows may be of different lengths; None leaves a cell
        empty.
    titles : sequence of str, optional
        One a column, above it.
    row_titles : sequence of str, optional
        One a row, above its first picture.
    cell : (int, int), optional
        Height and width that every picture is shrunk to fit, never enlarged. Default: the largest height and width.
    gap : int
        Pixels between the pictures.

    Returns
    -------
    PIL.Image.Image
        RGB, on white; pictures lie in the middle of their cells.

    Raises
    ------
    InvalidInputError
        If there is no picture.

    Examples
    --------
    >>> black, grey = np.zeros((20, 10, 3), np.uint8), np.full((20, 10), 128, np.uint8)
    >>> contact_sheet([[black, grey], [grey]], gap=2).size
    (26, 46)
    """
    pictures = [[None if each is None else _picture(each) for each in row] for row in rows]
    sizes = [each.size for row in pictures for each in row if each is not None]
    if not sizes:
        raise InvalidInputError("at least one picture", got="none", fix="pass rows of images")
    height, width = cell or (max(size[1] for size in sizes), max(size[0] for size in sizes))
    head = LINE_PIXELS if titles else 0
    line = LINE_PIXELS if row_titles else 0
    columns = max(map(len, pictures))
    step_x, step_y = width + gap, height + gap + line
    sheet = Image.new("RGB", (columns * step_x + gap, head + len(pictures) * step_y + gap), PAPER)
    for down, row in enumerate(pictures):
        top = head + down * step_y + gap
        _write(sheet, (gap, top), (row_titles or ())[down : down + 1])
        for across, picture in enumerate(row):
            if picture is not None:
                picture.thumbnail((width, height))
                left = gap + across * step_x + (width - picture.width) // 2
                sheet.paste(picture, (left, top + line + (height - picture.height) // 2))
    for across in range(columns):
        _write(sheet, (gap + across * step_x, 2), (titles or ())[across : across + 1])
    return sheet


def legend(classes: Classes, *, only: Iterable[int] | None = None, rows: int = 20) -> Image.Image:
    """Return a picture of classes' colours and names.

    Parameters
    ----------
    classes : Classes
        Names and their palette.
    only : iterable of int, optional
        The classes to show. Default: all.
    rows : int
        So many beneath each other, then the next column.

    Raises
    ------
    InvalidInputError
        If a class does not exist, or none is named.

    Examples
    --------
    >>> from noisycorrect_seg.classes import PASCAL
    >>> legend(PASCAL).height == 7 * LINE_PIXELS
    True
    """
    shown = list(range(len(classes)) if only is None else only)
    if not shown or not all(0 <= number < len(classes) for number in shown):
        raise InvalidInputError(f"classes in 0..{len(classes) - 1}", got=str(shown), fix="name at least one")
    font = _font()
    width = 2 * LINE_PIXELS + int(max(font.getlength(classes.names[number]) for number in shown))
    columns = -(-len(shown) // rows)
    picture = Image.new("RGB", (columns * width, min(len(shown), rows) * LINE_PIXELS), PAPER)
    draw = ImageDraw.Draw(picture)
    for place, number in enumerate(shown):
        left, top = place // rows * width, place % rows * LINE_PIXELS
        colour = tuple(classes.palette[number].tolist())
        draw.rectangle((left + 3, top + 3, left + LINE_PIXELS - 4, top + LINE_PIXELS - 4), fill=colour, outline=INK)
        _write(picture, (left + LINE_PIXELS + 3, top + 2), [classes.names[number]])
    return picture


def _picture(image: Any) -> Image.Image:
    """Return a copy of an image as RGB."""
    if isinstance(image, Image.Image):
        return image.convert("RGB") if image.mode != "RGB" else image.copy()
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise InvalidInputError(
            "pictures as uint8 arrays (H, W, 3) or (H, W), or PIL images",
            got=f"{array.dtype} of shape {array.shape}",
            fix="colour_mask makes a picture of a mask",
        )
    return Image.fromarray(array).convert("RGB")


def _write(picture: Image.Image, place: tuple[int, int], text: Sequence[str]) -> None:
    for each in text:
        ImageDraw.Draw(picture).text(place, str(each), fill=INK, font=_font())


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_PIXELS)
