"""The sets of the arena, which half each belongs to, and which of them are there."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sklearn.datasets

from benchmarks.arenas import generated
from benchmarks.arenas.files import read_cifar10, read_crowd, read_csv, read_npz
from benchmarks.arenas.tables import Source, checked
from noisycorrect.support.errors import InvalidInputError

#: Sets on which a recipe may be taken apart and its settings chosen. Digits is where the earlier recipe came from, and
#: what has been looked at cannot judge any more; the others make the half alike to the other one: few and many rows, 2
#: to 10 classes, easy (penbased) and hard ones (contraceptive), 5 to 372 features. The order is that of the plan.
DEVELOPMENT = (
    "digits", "penbased", "vehicle", "phoneme", "contraceptive", "wdbc", "breast-cancer", "led7digit", "mixture",
    "cifar10-hog",
)  # fmt: skip
#: Sets that judge, and choose nothing. Whatever else is in a folder, such as somebody's own CSV, belongs to them.
REPORT = (
    "letter", "segment", "magic", "ring", "marketing", "mammographic", "wine", "spheres", "moons", "counts", "crowd",
    "cifar10",
)  # fmt: skip
HALVES = ("development", "report")
SAME_DATA = {"breast-cancer": "wdbc"}  # scikit-learn's copy gives way to the file
_PACKAGED: dict[str, Callable[[], Source]] = {
    "digits": lambda: _sklearn(sklearn.datasets.load_digits()),
    "wine": lambda: _sklearn(sklearn.datasets.load_wine()),
    "breast-cancer": lambda: _sklearn(sklearn.datasets.load_breast_cancer()),
    "mixture": generated.mixture,
    "spheres": generated.spheres,
    "moons": generated.moons,
    "counts": generated.counts,
}
_FOLDERS: dict[str, tuple[str, Callable[[Path], Source]]] = {
    "cifar10-hog": ("cifar10", functools.partial(read_cifar10, images=False)),
    "crowd": ("crowd", read_crowd),
    "cifar10": ("cifar10", functools.partial(read_cifar10, images=True)),
}


@dataclass(frozen=True)
class Entry:
    """Where a set comes from: `path` is its file or folder, None where it needs none; `label` is a CSV's column."""

    name: str
    path: Path | None = None
    label: str = "label"

    @property
    def half(self) -> str:
        """Whether it is for development or for the report."""
        return HALVES[0] if self.name in DEVELOPMENT else HALVES[1]

    @property
    def number(self) -> int:
        """Place within its half, for the plan; of a set that is in no list, from its name."""
        own = DEVELOPMENT if self.half == HALVES[0] else REPORT
        return own.index(self.name) if self.name in own else len(own) + sum(self.name.encode()) % 6

    @property
    def images(self) -> bool:
        """Whether it has images for inputs."""
        return self.name == "cifar10"


@functools.lru_cache(maxsize=2)
def load_source(entry: Entry) -> Source:
    """Return the set of an entry.

    Raises
    ------
    InvalidInputError
        If its files are damaged, or nothing can be learnt from it.

    Examples
    --------
    >>> load_source(Entry("wine")).inputs.shape
    (178, 13)
    """
    if entry.path is None:
        source = _PACKAGED[entry.name]()
    elif entry.name in _FOLDERS:
        source = _FOLDERS[entry.name][1](entry.path)
    else:
        source = read_csv(entry.path, entry.label) if entry.path.suffix == ".csv" else read_npz(entry.path)
    return checked(source, entry.name)


class Facts(NamedTuple):
    """What a plan must know of a set: who has labelled it, and what tells it from another of its name."""

    human: tuple[str, ...]
    fingerprint: str


@functools.cache
def facts_of(entry: Entry) -> Facts:
    """Return the facts of a set, which is read once for them.

    Examples
    --------
    >>> facts_of(Entry("wine")).human
    ()
    """
    source = load_source(entry)
    return Facts(tuple(sorted(source.human_labels)), fingerprint(source))


def find_sets(data_dir: Path | None, label: str = "label") -> tuple[list[Entry], list[str]]:
    """Return the sets that are there, in the plan's order, and what is left out, a sentence each.

    Parameters
    ----------
    data_dir : Path or None
        Folder with tables, `arena/NAME.npz` or `NAME.npz`, anybody's `NAME.csv`, and the folders `cifar10` and `crowd`.
    label : str
        The label column of CSV files.

    Raises
    ------
    InvalidInputError
        If there is no such folder.

    Examples
    --------
    >>> found, left = find_sets(None)
    >>> [entry.name for entry in found]
    ['digits', 'breast-cancer', 'mixture', 'wine', 'spheres', 'moons', 'counts']
    >>> left[0]
    'penbased, vehicle, phoneme, contraceptive, wdbc, led7digit, cifar10-hog, letter, segment, magic, ring, ...'
    """
    if data_dir is not None and not data_dir.is_dir():
        raise InvalidInputError("a folder of sets", got=f"{data_dir}, which is no folder", fix="see --data-dir")
    known = {name: Entry(name) for name in _PACKAGED}
    left: list[str] = []
    if data_dir is not None:
        known |= _in_folder(data_dir, label, left)
    for copy, original in SAME_DATA.items():
        if copy in known and original in known:
            left.append(f"{copy}: the same data as {original}")
            del known[copy]
    missing = [name for name in (*DEVELOPMENT, *REPORT) if name not in known and name not in SAME_DATA]
    if missing:
        left.insert(0, f"{', '.join(missing)}: no files; pass --data-dir with arena/NAME.npz, cifar10 and crowd")
    order = [*DEVELOPMENT, *REPORT]
    return sorted(known.values(), key=lambda e: (order.index(e.name) if e.name in order else 99, e.name)), left


def _in_folder(data_dir: Path, label: str, left: list[str]) -> dict[str, Entry]:
    found = {}
    tables = [path for folder in (data_dir, data_dir / "arena") for path in sorted(folder.glob("*.npz"))]
    for path in (*tables, *sorted(data_dir.glob("*.csv"))):
        try:
            load_source(Entry(path.stem, path, label))
        except InvalidInputError as error:
            left.append(f"{path.name}: {error}")
        else:
            found[path.stem] = Entry(path.stem, path, label)
    for name, (folder_name, _) in _FOLDERS.items():
        if (data_dir / folder_name).is_dir():
            found[name] = Entry(name, data_dir / folder_name)
    return found


def fingerprint(source: Source) -> str:
    """Return a digest of a set's labels and of some of its inputs, so that two sets of one name are told apart."""
    digest = hashlib.sha256(source.labels.tobytes())
    digest.update(np.ascontiguousarray(source.inputs[:: max(1, len(source.inputs) // 200)]).tobytes())
    for name in sorted(source.human_labels):
        digest.update(source.human_labels[name].tobytes())
    return digest.hexdigest()[:12]


def _sklearn(bunch: sklearn.utils.Bunch) -> Source:
    names = tuple(map(str, bunch.target_names))
    return Source(bunch.data.astype(np.float32), bunch.target.astype(np.int64), names)
