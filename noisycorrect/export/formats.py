"""The formats that labels can be written in, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from noisycorrect.export.labels import RunLabels
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.register import Register


@dataclass(frozen=True)
class ExportOptions:
    """What a caller may say of a format.

    Parameters
    ----------
    images : str or None
        What comes before the name of an image file, where a label tool finds them: a folder or an address. None: paths
        as the run knows them.
    suffix : str
        Of image files, where the run knows their names alone.
    background : bool
        Whether class 0 of masks is a region, too.
    """

    images: str | None = None
    suffix: str = ".jpg"
    background: bool = False


@dataclass(frozen=True)
class Format:
    """A format: for which kind of labels, and the function that writes them.

    Parameters
    ----------
    kind : str
        Name of the kind of labels.
    write : callable
        ``write(labels, folder, options)`` writes into an empty folder and returns how many samples.
    """

    kind: str
    write: Callable[[RunLabels, Path, ExportOptions], int]


FORMATS: Register[Format] = Register(
    "export format",
    group="noisycorrect.exports",
    accepts=lambda thing: isinstance(thing, Format),
    expected="a Format",
)
"""Formats by ``name/kind``: what is called ``csv`` of class labels is ``csv/classification`` here."""


def format_of(name: str, kind: str) -> Format:
    """Return the format of a name for a kind of labels.

    Raises
    ------
    InvalidInputError
        If there is none; the message lists what there is for the kind.

    Examples
    --------
    >>> format_of("csv", "classification").kind
    'classification'
    >>> format_of("csv", "tokens")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected a format for labels of the kind 'tokens'; got 'csv'; to fix:
    choose plain
    """
    wanted = f"{name}/{kind}"
    if wanted in FORMATS:
        return FORMATS[wanted]
    raise InvalidInputError(
        f"a format for labels of the kind {kind!r}", got=repr(name), fix=f"choose {' or '.join(formats_for(kind))}"
    )


def formats_for(kind: str) -> list[str]:
    """Return the names of the formats for a kind of labels; ``plain`` is what the kind itself writes."""
    return ["plain", *sorted(name.removesuffix(f"/{kind}") for name in FORMATS if name.endswith(f"/{kind}"))]
