"""Masks whose classes are colours: the table that says which colour is which class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Any

import numpy as np

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.untrusted import check_regular
from noisycorrect_seg.classes import Classes, voc_palette
from noisycorrect_seg.masks import ignore_index, mask_dtype

LARGEST = 2**24  # bytes of a file of colours
TABLES = (".txt", ".csv", ".tsv")
HARD = r"[,;:\t]"  # what separates cells, where it stands in a line; else spaces do
# Which of the cells may be one too many, by how many numbers stand before and after a name.
SPARE = {(4, 0): (0, 3), (0, 4): (-4, -1), (1, 3): (0,), (3, 1): (-1,)}
ADVICE = "add it to colours= (as ignored, if it is the number 255); if the mask was scaled or saved with loss, its"


@dataclass(frozen=True, eq=False)
class ColourTable:
    """Which class each colour of a mask stands for.

    Parameters
    ----------
    classes : Classes
        The classes.
    colours : ndarray, shape (n, 3), uint8
        Colours, RGB, each once.
    numbers : ndarray, shape (n,)
        Class of each, or the number of ignored pixels.

    Examples
    --------
    >>> table = ColourTable.of({(0, 0, 0): 0, (255, 0, 0): "car"}, Classes("own", ("background", "car")))
    >>> table.indices(np.array([[[255, 0, 0], [0, 0, 0]]], np.uint8), "a.png")
    array([[1, 0]], dtype=uint8)
    """

    classes: Classes
    colours: np.ndarray
    numbers: np.ndarray

    @classmethod
    def of(cls, given: Any, classes: Classes) -> ColourTable:
        """Return the table of what users pass.

        Parameters
        ----------
        given : mapping, sequence, or "voc"
            ``{(R, G, B): class}`` with names or numbers of classes (255, or 65535 of more than 255 classes, is
            ignored); one colour a class, in their order; or the colours of Pascal VOC.
        classes : Classes
            The classes.

        Raises
        ------
        InvalidInputError
            If a colour is none, stands twice, or a class is unknown.
        """
        if isinstance(given, str):
            if given != "voc":
                fix = 'pass {(255, 0, 0): "car"}, a file (.txt, .csv) of names and colours, or "voc"'
                raise InvalidInputError("a table of colours", got=repr(given), fix=fix)
            given = voc_palette(len(classes)).tolist()
        pairs = list(given.items()) if isinstance(given, Mapping) else list(zip(given, range(len(given)), strict=True))
        if not isinstance(given, Mapping) and len(pairs) != len(classes):
            fix = "pass one a class, in their order, or a dict"
            raise InvalidInputError(f"{len(classes)} colours, one a class", got=str(len(pairs)), fix=fix)
        colours = np.array([_colour(colour) for colour, _ in pairs], np.uint8).reshape(-1, 3)
        numbers = np.array([_number(each, classes) for _, each in pairs], mask_dtype(len(classes)))
        keys = _packed(colours)
        order = np.argsort(keys, kind="stable")
        twice = np.flatnonzero(np.diff(keys[order]) == 0)
        if len(twice):
            got = f"{tuple(colours[order[twice[0]]].tolist())} twice"
            raise InvalidInputError("each colour once", got=got, fix="give every class a colour of its own")
        return cls(classes, colours[order], numbers[order])

    def indices(self, picture: np.ndarray, where: str) -> np.ndarray:
        """Return the classes of a mask's colours.

        Parameters
        ----------
        picture : ndarray, shape (H, W, 3), uint8
            RGB.
        where : str
            The file, for messages.

        Returns
        -------
        ndarray, shape (H, W), uint8 or uint16

        Raises
        ------
        InvalidInputError
            If a colour is not in the table; the message says which, of how many pixels, and which is nearest.
        """
        keys, known = _packed(picture), _packed(self.colours)
        place = np.searchsorted(known, keys).clip(max=len(known) - 1)
        wrong = known[place] != keys
        if wrong.any():
            raise self._unknown(picture[wrong], wrong.mean(), where)
        found: np.ndarray = self.numbers[place]
        return found

    def _unknown(self, colours: np.ndarray, share: float, where: str) -> InvalidInputError:
        different, counts = np.unique(colours, axis=0, return_counts=True)
        first = different[counts.argmax()].astype(int)
        distance = np.abs(self.colours.astype(int) - first).sum(1)
        nearest = int(distance.argmin())
        number = int(self.numbers[nearest])
        name = self.classes.names[number] if number < len(self.classes) else "ignored"
        return InvalidInputError(
            f"a mask of the {len(self.colours)} colours in the table",
            got=f"{tuple(first.tolist())} and {len(different) - 1} others on {share:.2%} of the pixels of {where};"
            f" the nearest is {tuple(self.colours[nearest].tolist())}, {name}",
            fix=f"{ADVICE} borders hold mixed colours: export it again, without smoothing",
        )


def read_colour_file(path: Path) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Return names and colours of a file: a class a line, its name and red, green and blue, 0..255, in any order.

    Read are CSV and text such as ``road,128,64,128``, ``128 64 128 road`` (CamVid) and ``road:128,64,128::`` (CVAT's
    label map); lines that begin with ``#``, a heading without numbers and a column that counts the lines, 0, 1, 2, ...
    or 1, 2, ..., are passed over.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, or a line is none of these: with another number beside a colour's three, say.
    """
    check_regular(path, "a file of colours")
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path.stat().st_size:,} bytes")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InvalidInputError("a file of colours", got=f"{path}: {error}", fix="write one class a line") from error
    names: list[str] = []
    colours: list[tuple[int, int, int]] = []
    lines = [line for line in map(str.strip, lines) if line and not line.startswith("#")]
    for line in _uncounted(list(dropwhile(lambda line: not re.search(r"\d", line), lines)), path):
        match = re.match(r"(?P<a>\d+)[\s,;]+(\d+)[\s,;]+(\d+)[\s,;]+(?P<name>.+)$", line)
        match = match or re.match(r"(?P<name>.+?)\s*[:,;\t ]\s*(?P<a>\d+)[\s,;]+(\d+)[\s,;]+(\d+)\s*(:.*)?$", line)
        if match is None:
            fix = "write a class a line: road,128,64,128"
            raise InvalidInputError("a name and three numbers of 0..255", got=f"{line[:60]!r} in {path}", fix=fix)
        rgb = tuple(int(number) for number in re.findall(r"\d+", line[match.start("a") :])[:3])
        names.append(match["name"].strip().strip("\"'"))
        colours.append(_colour(rgb))
    if len(names) < 2:
        fix = "write a class a line: road,128,64,128"
        raise InvalidInputError(f"two classes at least in {path}", got=str(len(names)), fix=fix)
    return names, colours


def _uncounted(lines: list[str], path: Path) -> list[str]:
    """Return lines without a column that counts them; an InvalidInputError where another number is too many.

    Examples
    --------
    >>> _uncounted(["0,0,0,0,sky", "1,128,64,128,road"], Path("a.csv")), _uncounted(["lane 1,9,8,7"], Path("a.csv"))
    (['0,0,0,sky', '128,64,128,road'], ['lane 1,9,8,7'])
    """
    rows = [_split(line) for line in lines]
    for place in (0, 3, -4, -1):
        if all(place in SPARE.get(_numbers(row), ()) for row in rows) and _counts(rows, place):
            return [_without(row, place) for row in rows]
    for line, row in zip(lines, rows, strict=True):
        around = _numbers(row)
        if sum(around) > 3 and (around not in ((1, 3), (3, 1)) or re.search(HARD, line)):  # else of the name
            fix = "write a class a line: road,128,64,128; a fourth number can only count the lines, 0, 1, 2, ..."
            raise InvalidInputError("a name and three numbers of 0..255", got=f"{line[:60]!r} in {path}", fix=fix)
    return lines


def _split(line: str) -> list[str]:
    """Return the cells of a line, with what stands between them between them."""
    return re.split(rf"(\s*{HARD}\s*|(?<=\d)\s+(?=\d))" if re.search(HARD, line) else r"(\s+)", line)


def _numbers(row: list[str]) -> tuple[int, int]:
    """Return how many numbers stand before the name of a row, and how many after it."""
    places = [place for place, cell in enumerate(row[::2]) if not cell.isdecimal()]
    count = len(row[::2])
    return (places[0], count - 1 - places[-1]) if places else (count, 0)


def _counts(rows: list[list[str]], place: int) -> bool:
    """Return whether a column counts the rows, whose names differ without it."""
    found = [int(row[::2][place]) for row in rows]
    names = {tuple(cell for cell in row[::2] if not cell.isdecimal()) for row in rows}
    return any(found == list(range(first, first + len(rows))) for first in (0, 1)) and len(names) == len(rows)


def _without(row: list[str], place: int) -> str:
    at = 2 * (place % len(row[::2]))
    return "".join(row[: at - 1] + row[at + 1 :] if at else row[2:])


def is_colour_file(given: Any) -> bool:
    """Return whether what a user passed as colours is a file of them."""
    return isinstance(given, Path) or (isinstance(given, str) and Path(given).suffix.lower() in TABLES)


def _packed(colours: np.ndarray) -> np.ndarray:
    """Return colours (..., 3) as one number each, int32."""
    wide = colours.astype(np.int32)
    return np.asarray((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2])


def _colour(given: Any) -> tuple[int, int, int]:
    values = list(given) if isinstance(given, (Sequence, np.ndarray)) and not isinstance(given, str) else []
    whole = all(isinstance(value, (int, np.integer)) and 0 <= value <= 255 for value in values)
    if len(values) != 3 or not whole:
        raise InvalidInputError("colours (R, G, B) of 0..255", got=repr(given)[:80], fix="pass {(255, 0, 0): 1}")
    return int(values[0]), int(values[1]), int(values[2])


def _number(given: Any, classes: Classes) -> int:
    if isinstance(given, str) and given in classes.names:
        return classes.names.index(given)
    nothing = ignore_index(len(classes))
    if isinstance(given, (int, np.integer)) and (0 <= given < len(classes) or given == nothing):
        return int(given)
    raise InvalidInputError(
        f"a class of {', '.join(classes.names[:10])}, or {nothing}", got=repr(given)[:80], fix="correct colours="
    )
