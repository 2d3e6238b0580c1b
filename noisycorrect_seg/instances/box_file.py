"""Files of boxes: whose people are where in which photo."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from noisycorrect.support.errors import InvalidInputError, what_was_got
from noisycorrect.support.untrusted import parsed_json
from noisycorrect_seg.instances.boxes import Boxes, checked_boxes

EDGES = ("left", "top", "right", "bottom")
PHOTO, SCORE, PERSON = "image", "score", "person"
FORMS = (
    'a CSV with the columns image, left, top, right, bottom and, if there is one, score; JSON {"photo.jpg": [[left,'
    " top, right, bottom], ...]}; or COCO's JSON"
)


def read_boxes(path: str | os.PathLike[str]) -> dict[str, Boxes]:
    r"""Return the boxes of people in photos from a file.

    A CSV has a line a person and the columns ``image, left, top, right, bottom``, in the photo's pixels, and perhaps
    ``score``; a line with no edges says that nobody is in the photo. JSON is an object of lists of boxes by photo, four
    numbers each, or five with the score; or COCO's, ``images`` and ``annotations`` with ``bbox`` (left, top, width,
    height), of which the category ``person`` is read if there is one of that name, and crowds (``iscrowd``) are left
    out. Photos are named by their file, with or without folders and suffix.

    Parameters
    ----------
    path : path-like
        The file; ``.json`` is JSON, others are CSV.

    Returns
    -------
    dict of str to ndarray, shape (n, 5), float64
        Left, top, right, bottom edge and score, 1.0 where none is said, by the photo's name as it stands there. Whether
        boxes lie in their photo is not looked at.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, or is none of these, or all boxes of a photo lie in 0..1: shares, not pixels.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "boxes.csv"
    >>> _ = path.write_text("image,left,top,right,bottom\na.jpg,1,2,30,40\nb.jpg,,,,\n")
    >>> {name: boxes.tolist() for name, boxes in read_boxes(path).items()}
    {'a.jpg': [[1.0, 2.0, 30.0, 40.0, 1.0]], 'b.jpg': []}
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"a file of boxes at {file}", got=str(error), fix=f"pass {FORMS}") from error
    is_json, found = file.suffix.lower() == ".json", dict[str, list[Boxes]]()
    rows: Iterable[tuple[str, Any]] = _of_json(text, file) if is_json else _of_csv(text, file).items()
    for name, boxes in rows:
        found.setdefault(_key(name), []).append(_checked(name, boxes, file))
    return {name: np.concatenate(boxes) for name, boxes in found.items()}


def boxes_of_photo(boxes: Mapping[str, Boxes], photo: Path) -> str | None:
    """Return under which name a photo's boxes stand; None if under none.

    The longest name that the photo's path ends in, with its suffix or without.

    Examples
    --------
    >>> table = {"a/x.jpg": np.zeros((0, 5)), "x.jpg": np.ones((1, 5)), "y": np.ones((1, 5))}
    >>> [boxes_of_photo(table, Path(path)) for path in ("a/x.jpg", "b/x.jpg", "b/y.png", "z.png")]
    ['a/x.jpg', 'x.jpg', 'y', None]
    """
    parts = photo.as_posix().split("/")
    tails = ("/".join(parts[start:]) for start in range(len(parts)))
    names = (name for tail in tails for name in (tail, tail.removesuffix(photo.suffix)))
    return next((name for name in names if name in boxes), None)


def _key(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def _checked(name: str, boxes: Any, file: Path) -> Boxes:
    try:
        table, scores = checked_boxes(boxes)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"boxes of people, in pixels, in {file}",
            got=f"of {name!r} {what_was_got(error)}",
            fix=f"write {FORMS}; edges in pixels, which are shares times the photo's width or height",
        ) from error
    return np.concatenate([table, scores[:, None]], axis=1)


def _of_csv(text: str, file: Path) -> dict[str, list[list[float]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    heads = [str(head).strip().lower() for head in reader.fieldnames or ()]
    missing = [name for name in (PHOTO, *EDGES) if name not in heads]
    if missing:
        raise InvalidInputError(f"the columns {', '.join((PHOTO, *EDGES))} in {file}", got=", ".join(heads) or "none")
    reader.fieldnames = heads
    found: dict[str, list[list[float]]] = {}
    for row in reader:
        cells = [(row.get(name) or "").strip() for name in EDGES]
        people = found.setdefault((row[PHOTO] or "").strip(), [])
        if not any(cells):
            continue
        score = (row.get(SCORE) or "").strip() or "1"
        try:
            people.append([float(cell) for cell in (*cells, score)])
        except ValueError as error:
            raise InvalidInputError(
                f"numbers in {', '.join(EDGES)} and {SCORE}",
                got=f"{', '.join((*cells, score))} in line {reader.line_num} of {file}",
                fix="leave all four empty where nobody is in the photo",
            ) from error
    return found


def _of_json(text: str, file: Path) -> Iterator[tuple[str, Any]]:
    try:
        content = parsed_json(text)
    except ValueError as error:
        raise InvalidInputError(f"JSON in {file}", got=str(error), fix=f"write {FORMS}") from error
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        return _of_coco(content, file)
    if not isinstance(content, dict):
        raise InvalidInputError(
            f"an object of boxes by photo in {file}", got=f"a {type(content).__name__}", fix=f"write {FORMS}"
        )
    return ((str(name), boxes) for name, boxes in content.items())


def _of_coco(content: Mapping[str, Any], file: Path) -> Iterator[tuple[str, Any]]:
    try:
        people = [each["id"] for each in content.get("categories", ()) if str(each["name"]).lower() == PERSON]
        names = {each["id"]: str(each["file_name"]) for each in content["images"]}
        found: dict[Any, list[Sequence[float]]] = {number: [] for number in names}
        for each in content["annotations"]:
            if not each.get("iscrowd") and (not people or each["category_id"] in people):
                left, top, width, height = (float(value) for value in each["bbox"])
                box = (left, top, left + width, top + height, float(each.get("score", 1)))
                found[each["image_id"]].append(box)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInputError(
            f"COCO's images with id and file_name, and annotations with image_id and bbox, in {file}",
            got=f"{type(error).__name__}: {error}",
            fix="export it anew",
        ) from error
    return ((names[number], boxes) for number, boxes in found.items())
