"""The file that says what the classes of one's own data are called, and which of them a mirror exchanges."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

from noisycorrect.support.checks import checked_path
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError
from noisycorrect.support.untrusted import check_regular, parsed_json
from noisycorrect_seg.classes import Classes, classes_named, named_classes, pairs_of_names

NAMES = ("classes.txt", "classes.json")
LARGEST = 2**24  # bytes
FLIP = re.compile(r"#\s*flip\s*:(.*)", re.IGNORECASE)
NUMBERED = re.compile(r"(\d+)\s*[\s:,]\s*(\S.*)")


@door(own=True)
def read_classes(path: Path | str) -> Classes:
    """Read a classes file.

    ``classes.txt`` holds one name a line, background first: the first is class 0. Where every line begins with the
    number of its class (``0 background``, ``1: face``), the rest is the name, and lines may stand in any order. Lines
    that start with ``#`` are comments, but for flip lines, which name the classes that a mirror exchanges::

        background
        face
        left arm
        right arm
        # flip: left arm <-> right arm

    Several pairs are separated by commas or stand on several lines. ``# flip: none`` says that there are none. Without
    a flip line, names that differ only in ``left`` and ``right`` are pairs.

    ``classes.json`` holds a list of names, or ``{"names": [...], "flip_pairs": [["left arm", "right arm"]]}``.

    Parameters
    ----------
    path : Path or str
        The file.

    Raises
    ------
    InvalidInputError
        If it cannot be read, has fewer than 2 or more than 65,535 names or one twice, or a pair names no class.
    """
    path = checked_path(path, "a classes file")
    try:
        check_regular(path, "a classes file")
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path.stat().st_size:,} bytes")
        text = unicodedata.normalize("NFC", path.read_text(encoding="utf-8-sig"))
        names, pairs = _parsed_json(text) if path.suffix.lower() == ".json" else _parsed_text(text)
    except NoisyCorrectError:
        raise
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(
            "a classes file", got=f"{path}: {error}", fix="write one name a line, background first"
        ) from error
    return named_classes(path.absolute().parent.name or "own", names, pairs, where=str(path))


def write_classes(folder: Path, classes: Classes) -> Path:
    """Write a class list into a folder as :func:`read_classes` reads it, and return the file.

    ``classes.txt``, with flip lines where the pairs are not those that the names say; ``classes.json`` where a name
    cannot stand in such a file.

    Examples
    --------
    >>> import tempfile
    >>> path = write_classes(Path(tempfile.mkdtemp()), Classes("ship", ("sea", "port", "starboard"), ((1, 2),)))
    >>> path.name, path.read_text().splitlines()
    ('classes.txt', ['sea', 'port', 'starboard', '# flip: port <-> starboard'])
    >>> read_classes(path).flip_pairs
    ((1, 2),)
    """
    names = list(classes.names)
    pairs = [(names[one], names[other]) for one, other in classes.flip_pairs]
    alike = set(map(frozenset, classes.flip_pairs)) == set(map(frozenset, pairs_of_names(names)))
    said = None if alike else pairs
    flips = [f"# flip: {one} <-> {other}" for one, other in pairs] or ["# flip: none"]
    text = "".join(f"{line}\n" for line in (*names, *([] if alike else flips)))
    plain, other = (folder / name for name in NAMES)
    if _says(text, names, said):
        plain.write_text(text, encoding="utf-8")
        return plain
    other.write_text(json.dumps({"names": names, "flip_pairs": pairs}) + "\n", encoding="utf-8")
    plain.unlink(missing_ok=True)  # it would be read instead
    return other


def _says(text: str, names: list[str], pairs: list[tuple[str, str]] | None) -> bool:
    """Return whether the text of a classes file is read as these names and pairs."""
    try:
        return _parsed_text(text) == (names, pairs)
    except ValueError:
        return False


def as_classes(classes: Any) -> Classes:
    """Return a class list from a classes file, a name of :func:`noisycorrect_seg.classes.classes_named`, or names."""
    if isinstance(classes, Path) or (isinstance(classes, str) and Path(classes).suffix.lower() in (".txt", ".json")):
        return read_classes(classes)
    if isinstance(classes, (str, Classes)):
        return classes_named(classes)
    return classes_named(classes)


def _parsed_text(text: str) -> tuple[list[str], list[tuple[str, str]] | None]:
    names: list[str] = []
    pairs: list[tuple[str, str]] | None = None
    for line in map(str.strip, re.split(r"[\r\n]", text)):
        flip = FLIP.match(line)
        if flip is not None:
            pairs = [*(pairs or []), *_parsed_flip(flip.group(1).strip())]
        elif line and not line.startswith("#"):
            names.append(line)
    numbered = {int(each[1]): each[2] for each in map(NUMBERED.fullmatch, names) if each is not None}
    if len(numbered) == len(names) and numbered.keys() == set(range(len(names))):  # else they are a part of the names
        return [numbered[number] for number in range(len(names))], pairs
    return names, pairs


def _parsed_flip(text: str) -> list[tuple[str, str]]:
    if text.lower() == "none":
        return []
    pairs = []
    for part in text.split(","):
        sides = [side.strip() for side in part.split("<->")]
        if len(sides) != 2:
            raise ValueError(f"a flip line as '# flip: left arm <-> right arm', not {part.strip()!r}")
        pairs.append((sides[0], sides[1]))
    return pairs


def _parsed_json(text: str) -> tuple[list[str], list[tuple[str, str]] | None]:
    content = parsed_json(text)
    if isinstance(content, list):
        return [_name(name) for name in content], None
    if not isinstance(content, dict):
        raise TypeError("neither a list of names nor an object with names")
    pairs = content.get("flip_pairs")
    if not isinstance(content["names"], list):
        raise TypeError("names that are no list")
    return [_name(name) for name in content["names"]], None if pairs is None else [(str(a), str(b)) for a, b in pairs]


def _name(name: Any) -> str:
    if not isinstance(name, str | int):
        raise TypeError(f"the name {str(name)[:40]!r}")
    return str(name)
