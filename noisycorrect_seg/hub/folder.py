"""A network as a folder: weights as safetensors, what they are as JSON, and a page about them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisycorrect.saved.weights import SAFETENSORS, write_weights
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.files import read_json, replace_atomically, write_json
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.inputs import Normalisation, normalisation_of

CONFIG, CARD = "config.json", "README.md"
FORMAT = 1


@dataclass(frozen=True)
class Described:
    """A file of weights, and what is said of it: None for what is not.

    Attributes
    ----------
    weights : Path
        The file.
    config : dict or None
        The arguments that build the network.
    classes : Classes or None
        What its logits mean.
    size : (int, int) or None
        Height and width of its input.
    normalisation : Normalisation or None
        How values become its input.
    """

    weights: Path
    config: dict[str, Any] | None = None
    classes: Classes | None = None
    size: Size | None = None
    normalisation: Normalisation | None = None


def write_folder(folder: Path, kind: str, described: Mapping[str, Any], state: Mapping[str, Any], card: str) -> None:
    """Write ``model.safetensors``, ``config.json`` and ``README.md``, each atomically, the page last.

    Parameters
    ----------
    folder : Path
        Made if there is none. Files of other names stay.
    kind : str
        Name of the network in its register.
    described : mapping
        ``config``, ``classes``, ``size`` and ``normalisation``, as plain JSON values.
    state : mapping
        ``network.state_dict()``.
    card : str
        The page.

    Raises
    ------
    InvalidInputError
        If the package safetensors is missing, or the folder cannot be written.
    """
    if importlib.util.find_spec("safetensors") is None:
        fix = "pip install 'noisycorrect[safetensors]', or write one file with network.save(\"own.pt\")"
        raise InvalidInputError("the package safetensors", got="none", fix=fix)
    names = (described.get("classes") or [None, []])[1]
    labels = {"id2label": {str(number): name for number, name in enumerate(names)}} if names else {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_weights(folder, state, {"kind": kind, **described}, weights="safetensors")
        write_json(folder / CONFIG, {"library": "noisycorrect", "format": FORMAT, "kind": kind, **described, **labels})
        with replace_atomically(folder / CARD) as temporary:
            temporary.write_text(card, encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"to write into {folder}", got=str(error), fix="choose another folder") from error


def read_folder(folder: Path) -> Described:
    """Return what lies in a folder of :func:`write_folder`, or in another with ``model.safetensors``.

    Raises
    ------
    CheckpointError
        If there are no weights, or what is said of them is damaged.
    """
    weights = folder / SAFETENSORS
    if not weights.is_file():
        raise CheckpointError(
            f"{SAFETENSORS} in {folder}", got="none", fix="name the folder of save_pretrained, or a file of weights"
        )
    config = folder / CONFIG
    return described_by(config if config.is_file() else None, weights)


def described_by(config: Path | None, weights: Path) -> Described:
    """Return weights with what ``config.json`` says of them; one that is not ours says nothing.

    Raises
    ------
    CheckpointError
        If it is damaged, or of a newer version.
    """
    if config is None:
        return Described(weights)
    try:
        said = read_json(config)
        if not isinstance(said, dict) or said.get("library") != "noisycorrect":
            return Described(weights)
        if not isinstance(said.get("format"), int) or said["format"] > FORMAT:
            fix = "upgrade noisycorrect"
            raise CheckpointError(f"format {FORMAT} or older in {config}", got=repr(said.get("format")), fix=fix)
        shown = normalisation_of(said.get("normalisation"))
        classes, size = classes_of(said.get("classes")), size_of(said.get("size"))
        return Described(weights, dict(said["config"]), classes, size, shown)
    except (OSError, ValueError, TypeError, LookupError) as error:
        fix = "restore it from a copy, or download it again"
        raise CheckpointError(f"a whole {config}", got=f"{type(error).__name__}: {error}", fix=fix) from error


def plain_classes(classes: Classes | None) -> list[Any] | None:
    """Return a class list as plain JSON values."""
    if classes is None:
        return None
    return [classes.name, list(classes.names), [list(pair) for pair in classes.flip_pairs]]


def classes_of(plain: Any) -> Classes | None:
    """Return the class list that :func:`plain_classes` wrote.

    Examples
    --------
    >>> classes_of(plain_classes(Classes("pair", ("a", "b")))).names
    ('a', 'b')
    """
    if plain is None:
        return None
    name, names, pairs = plain
    return Classes(str(name), tuple(map(str, names)), tuple((int(one), int(other)) for one, other in pairs))


def size_of(plain: Any) -> Size | None:
    """Return a size of two whole numbers."""
    return None if plain is None else (int(plain[0]), int(plain[1]))
