"""Palettes of masks: whether a mask's colours say the same as its indices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.colours import voc_palette

Colour = tuple[int, int, int]
KEEP_INDICES = "if the indices are the classes, pass values={} to Folder"


_VOC: list[Colour] = [(red, green, blue) for red, green, blue in voc_palette().tolist()]
_OF_VOC = {colour: index for index, colour in enumerate(_VOC)}


def used_colours(values: np.ndarray, palette: Sequence[int]) -> dict[int, Colour]:
    """Return the colour of each index that is in a mask, uint8 (H, W), by a palette of R, G, B, R, G, B, ...

    Examples
    --------
    >>> used_colours(np.array([[0, 1]], np.uint8), [0, 0, 0, 128, 0, 0, 9, 9, 9])
    {0: (0, 0, 0), 1: (128, 0, 0)}
    """
    found: dict[int, Colour] = {}
    for index in np.unique(values).tolist():
        colour = palette[3 * index : 3 * index + 3]
        if len(colour) == 3:
            found[index] = (colour[0], colour[1], colour[2])
    return found


def check_palette(values: np.ndarray, palette: Sequence[int], where: str) -> None:
    """Raise if the colours of a palette mask say other class numbers than its indices.

    Lossless optimisers keep only the colours that are used, in an order of their own, and so does Pillow when it makes
    a palette: then the colours hold the classes, as greys or as VOC's colours, and the indices hold nothing.

    Raises
    ------
    InvalidInputError
        If all colours in use are greys, or all are colours of VOC, and one belongs to another number than its index.

    Examples
    --------
    >>> check_palette(np.array([[0, 1]], np.uint8), [0, 0, 0, 13, 13, 13], "a.png")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected a palette mask whose colours agree with its indices; got
    index 1 with grey 13 in a.png; to fix: store class numbers as grey (PIL.Image.open(path).convert("L")); if the
    indices are the classes, pass values={} to Folder
    """
    colours = used_colours(values, palette)
    if all(colour == _VOC[index] for index, colour in colours.items()):  # some of VOC's colours are greys
        return
    if all(red == green == blue for red, green, blue in colours.values()):
        wrong = [(index, f"grey {colour[0]}") for index, colour in colours.items() if colour[0] != index]
        fix = f'store class numbers as grey (PIL.Image.open(path).convert("L")); {KEEP_INDICES}'
    elif all(colour in _OF_VOC for colour in colours.values()):
        named = {index: _OF_VOC[colour] for index, colour in colours.items()}
        wrong = [(index, f"VOC's colour of class {number}") for index, number in named.items() if number != index]
        fix = f"export class numbers, or map each colour to its number first; {KEEP_INDICES}"
    else:
        return
    if wrong:
        got = f"index {wrong[0][0]} with {wrong[0][1]} in {where}"
        raise InvalidInputError("a palette mask whose colours agree with its indices", got=got, fix=fix)


def check_agreement(palettes: Iterable[tuple[str, Mapping[int, Colour]]]) -> None:
    """Raise if two masks give one index different colours: each file has numbered its colours for itself.

    Parameters
    ----------
    palettes : iterable of (str, mapping of int to (R, G, B))
        Files, and the colours in use.

    Raises
    ------
    InvalidInputError
        The message names both files.

    Examples
    --------
    >>> check_agreement([("a.png", {1: (9, 0, 0)}), ("b.png", {1: (9, 0, 0)})])
    """
    known: dict[int, tuple[str, Colour]] = {}
    for where, colours in palettes:
        for index, colour in colours.items():
            first, own = known.setdefault(index, (where, colour))
            if own != colour:
                raise InvalidInputError(
                    "palette masks that number their colours alike",
                    got=f"index {index} with colour {own} in {first}, and {colour} in {where}",
                    fix=f"map each colour to its class number and export that; {KEEP_INDICES}",
                )
