"""What a folder says of its labels and its network beside the numbers: kinds, names, how the network is built."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisycorrect.support.checks import set_field
from noisycorrect.support.checksums import SEAL, file_digest, is_sealed, sealed
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.files import check_ordinary, read_json, write_json

DETAILS, LABELS, HISTORY, CHECKPOINT = "details.json", "labels", "history.json", "checkpoint.pt"
MEMORY = "memory"  # what parts of a run hold of each sample, where that is large
PREVIOUS = "checkpoint.previous.pt"  # the last one of the cycle before
VERSION = 2  # 2: digests, and the run


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
    run : str, or None
        Name of the run that made the labels, which all of its files carry.
    files : dict of str to str, or None
        Digest of each other file of a saved result, by name; those of a run change, and have digests of their own.
    input_record : dict, or None
        How samples become inputs, as the data set and the task say in their attributes of this name: plain JSON values.
    """

    kind: str
    num_classes: int
    class_names: tuple[str, ...] | None = None
    sample_names: tuple[str, ...] | None = None
    image_files: tuple[str, ...] | None = None
    network: dict[str, Any] | None = None
    weights: str | None = None
    sample_passes: int | None = None
    run: str | None = None
    files: dict[str, str] | None = None
    input_record: dict[str, Any] | None = None

    def write(self, folder: Path) -> None:
        """Write ``details.json``, atomically.

        Raises
        ------
        CheckpointError
            If it cannot be written.
        """
        try:
            write_json(folder / DETAILS, sealed({"version": VERSION, **dataclasses.asdict(self)}))
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
            content = read_json(path)
            version = int(content["version"])
            known = {field.name for field in dataclasses.fields(cls)}
            found = cls(**{name: value for name, value in content.items() if name in known})
            if version > VERSION:
                raise CheckpointError(f"format version {VERSION} or older at {path}", got="a newer one", fix="upgrade")
            if (version >= 2 or SEAL in content) and not is_sealed(content):
                raise ValueError("fields that its digest does not fit: it was damaged, or changed by hand")
            found._check()
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"details in {path}", got=str(error), fix="restore it from a copy") from error
        for name in ("class_names", "sample_names", "image_files"):
            value = getattr(found, name)
            set_field(found, name, None if value is None else tuple(value))
        return found

    def _check(self) -> None:
        """Raise a TypeError unless the fields are what they are said to be."""
        for name in ("class_names", "sample_names", "image_files"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
                raise TypeError(f"{name} that are no list of names")
        for name in ("network", "files", "input_record"):
            if not isinstance(getattr(self, name), (dict, type(None))):
                raise TypeError(f"a {name} that is no mapping")
        if not isinstance(self.kind, str) or type(self.num_classes) is not int:
            raise TypeError(f"labels of the kind {self.kind!r}, {self.num_classes!r} classes")
        if not isinstance(self.weights, (str, type(None))) or Path(self.weights or "").name != (self.weights or ""):
            raise TypeError(f"weights in {self.weights!r}")

    def check_file(self, folder: Path, name: str) -> None:
        """Raise a CheckpointError unless a file beside these details is the one that was written with them.

        Older versions kept no digests; then nothing is known.
        """
        if self.files is None:
            return
        try:
            check_ordinary(folder / name)
            got = None if file_digest(folder / name) == self.files.get(name) else "bytes that its digest does not fit"
        except FileNotFoundError:
            got = "no such file"
        except OSError as error:
            got = str(error)
        if got is not None:
            fix = "restore it from a copy"
            raise CheckpointError(f"{name} as it was saved in {folder}", got=got, fix=fix)


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
        got = "an empty one" if "" in found else f"{Counter(found).most_common(1)[0][0]!r} twice"
    expected = f"{num_classes} different class names, none of them empty"
    raise InvalidInputError(expected, got=got, fix="pass one name a class, class 0 first")
