"""What a folder says of its labels and its network beside the numbers: kinds, names, how the network is built."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisycorrect.support.checks import set_field
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.files import write_json

DETAILS, LABELS, HISTORY, CHECKPOINT = "details.json", "labels", "history.json", "checkpoint.pt"
MEMORY = "memory"  # what parts of a run hold of each sample, where that is large
VERSION = 1


@dataclass(frozen=True)
class Details:
    """Names and architecture that belong to a label store and to weights; ``details.json`` in their folder.

    Attributes
    ----------
    kind : str
        What labels are made of; see :class:`~noisycorrect.labels.LabelKind`.
    num_classes : int
        K.
    class_names : tuple of str, or None
        K different names, class 0 first.
    sample_names : tuple of str, or None
        What the data set calls its samples, in order: stems of files, say.
    image_files : tuple of str, or None
        Names of the files of their images, likewise.
    network : dict, or None
        How the network can be built anew; see :func:`~noisycorrect.saved.networks.network_record`.
    weights : str, or None
        Name of the file with the weights of a saved result; a run folder has none.
    sample_passes : int, or None
        Compute of the run, likewise.
    """

    kind: str
    num_classes: int
    class_names: tuple[str, ...] | None = None
    sample_names: tuple[str, ...] | None = None
    image_files: tuple[str, ...] | None = None
    network: dict[str, Any] | None = None
    weights: str | None = None
    sample_passes: int | None = None

    def write(self, folder: Path) -> None:
        """Write ``details.json``, atomically.

        Raises
        ------
        CheckpointError
            If it cannot be written.
        """
        try:
            write_json(folder / DETAILS, {"version": VERSION, **dataclasses.asdict(self)})
        except OSError as error:
            fix = "free space, or choose another folder"
            raise CheckpointError(f"to write {folder / DETAILS}", got=str(error), fix=fix) from error

    @classmethod
    def read(cls, folder: Path) -> Details | None:
        """Return what :meth:`write` wrote; None if the folder has no such file (older versions wrote none).

        Raises
        ------
        CheckpointError
            If it is damaged, or of a newer version.

        Examples
        --------
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> Details("classification", 2, ("cat", "dog")).write(folder)
        >>> Details.read(folder).class_names
        ('cat', 'dog')
        """
        path = folder / DETAILS
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = int(content.pop("version"))
            known = {field.name for field in dataclasses.fields(cls)}
            found = cls(**{name: value for name, value in content.items() if name in known})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise CheckpointError(f"details in {path}", got=str(error), fix="restore it from a copy") from error
        if version > VERSION:
            raise CheckpointError(f"format version {VERSION} or older at {path}", got="a newer one", fix="upgrade")
        lists = ("class_names", "sample_names", "image_files")
        for name in lists:
            value = getattr(found, name)
            set_field(found, name, None if value is None else tuple(value))
        return found


def checked_class_names(names: Iterable[Any] | None, num_classes: int) -> tuple[str, ...] | None:
    """Return class names as a tuple of str, or raise an InvalidInputError; None stays None.

    Parameters
    ----------
    names : iterable, or None
        K different ones, class 0 first; what is no string is spelt as one.
    num_classes : int
        K.

    Examples
    --------
    >>> checked_class_names(["cat", 1], 2)
    ('cat', '1')
    >>> checked_class_names(["cat", "cat"], 2)
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected 2 different class names, none of them empty; got 'cat'
    twice; to fix: pass one name a class, class 0 first
    """
    if names is None:
        return None
    found = () if isinstance(names, str) else tuple(str(name) for name in names)
    if len(found) == num_classes == len(set(found)) and all(found):
        return found
    got = repr(names) if isinstance(names, str) else f"{len(found)} names"
    if len(found) == num_classes:
        got = "an empty one" if "" in found else f"{next(n for n in found if found.count(n) > 1)!r} twice"
    expected = f"{num_classes} different class names, none of them empty"
    raise InvalidInputError(expected, got=got, fix="pass one name a class, class 0 first")
