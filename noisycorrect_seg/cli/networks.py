"""Networks as the words of a command name them: runs, saved results, files, weights by name."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from noisycorrect.support.errors import CheckpointError, InvalidInputError

if TYPE_CHECKING:
    from noisycorrect_seg.ace2p import ACE2P
    from noisycorrect_seg.classes import Classes
    from noisycorrect_seg.inputs import Normalisation

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Size: TypeAlias = "tuple[int, int]"

ONNX_SUFFIX = ".onnx"
SOURCES = (
    "a run folder or a saved result; a file, ours, the SCHP authors' or of ONNX; a folder of save_pretrained; lip, atr "
    "or pascal, which are downloaded; or a repository on the Hugging Face hub, owner/name"
)


@dataclass(frozen=True)
class Loaded:
    """A network, and what is known of it: None for what is not.

    Attributes
    ----------
    network : nn.Module
        On the CPU, in evaluation mode.
    num_classes : int or None
        K.
    classes : Classes or None
        What its logits mean.
    size : (int, int) or None
        Height and width of its input.
    normalisation : Normalisation or None
        How values become its input.
    tile : (int, int) or None
        Height and width of the tiles that it was trained on.
    """

    network: Any
    num_classes: int | None
    classes: Classes | None = None
    size: Size | None = None
    normalisation: Normalisation | None = None
    tile: Size | None = None

    def named(self, words: str | None) -> Classes:
        """Return the classes, as a user has named them, else as they are known.

        Raises
        ------
        InvalidInputError
            If neither is so, or they are not as many as the network's.
        """
        if words is not None:
            known = None if self.classes is None else len(self.classes)
            return classes_of(words, known if self.num_classes is None else self.num_classes)
        if self.classes is not None:
            return self.classes
        raise InvalidInputError(
            "--classes" if self.num_classes is None else f"--classes for a network of {self.num_classes} classes",
            got="none, and the checkpoint does not say",
            fix="name a list or a classes file; or save the network with classes= and size=",
        )


def loaded(source: str, *, official: bool = False) -> Loaded:
    """Return the network that a word of the command line names; see :data:`SOURCES`.

    Raises
    ------
    InvalidInputError, CheckpointError, StoreError
        If there is no such thing, or it is damaged; of a run, if its network cannot be built without code of the
        user's, or its labels are no masks.
    """
    if source.lower().endswith(ONNX_SUFFIX):
        from noisycorrect_seg.deploy import OnnxNetwork

        if official:
            raise InvalidInputError("--official with weights of torch", got=source, fix="leave --official out")
        file = OnnxNetwork(source)
        return Loaded(file, file.num_classes, file.classes, file.size, file.normalisation)
    if (Path(source) / "labels").is_dir():
        return _of_run(Path(source))
    network, classes, size = load_network(source, official=official)
    return Loaded(network, network.num_classes, classes, size)


def _of_run(folder: Path) -> Loaded:
    """Return the network of a run folder or a saved result."""
    from noisycorrect import CorrectionResult
    from noisycorrect_seg.checks import recorded_classes
    from noisycorrect_seg.geometry.maps import checked_size
    from noisycorrect_seg.inputs import normalisation_of
    from noisycorrect_seg.kind import MaskLabels

    try:
        result = CorrectionResult.load(folder)
    except InvalidInputError as error:
        if "model=" not in str(error):
            raise
        raise InvalidInputError(
            f"a run whose network can be built again from {folder}",
            got="one of a class that is not registered: its weights alone lie there",
            fix="from Python: CorrectionResult.load(folder, model).model, and export_onnx(...) or parse_image(...)",
        ) from error
    kind = result.labels.kind
    if not isinstance(kind, MaskLabels):
        fix = "CorrectionResult.load(folder).to_onnx(...) writes the network of a classifier"
        raise InvalidInputError(f"a run with masks in {folder}", got=f"labels of {kind.name}", fix=fix)
    record = result.input_record or {}
    try:
        shown = normalisation_of(record.get("normalisation"))
        tile = checked_size(record["tile"]) if "tile" in record else None
        classes = None if result.class_names is None else recorded_classes(result.class_names, record)
    except (InvalidInputError, TypeError, ValueError, LookupError) as error:
        expected, fix = "a normalisation, a tile and what a mirror exchanges", "restore details.json from a copy"
        raise CheckpointError(f"{expected} in {folder}", got=str(error), fix=fix) from error
    return Loaded(result.model, kind.num_classes, classes, kind.frame, shown, tile)


def load_network(source: str | Path, *, official: bool = False) -> tuple[ACE2P, Classes | None, Size | None]:
    """Return a network with its weights, and its classes and size if they are known.

    Parameters
    ----------
    source : str or Path
        What :meth:`ACE2P.from_pretrained <noisycorrect_seg.ace2p.ACE2P.from_pretrained>` takes.
    official : bool
        Take a file for the authors' without looking.

    Raises
    ------
    InvalidInputError, CheckpointError
        If there is no such thing, it is neither ours nor the authors', or damaged.
    """
    from noisycorrect_seg.ace2p import ACE2P
    from noisycorrect_seg.hub import released_for

    if official:
        network = ACE2P.from_official(source)
        named = released_for(network.num_classes)
        return network, None if named is None else named.classes, None if named is None else named.size
    network = ACE2P.from_pretrained(source)
    return network, network.classes, network.size


def classes_of(named: str, count: int | None) -> Classes:
    """Return the classes that a user named: a known list, or a classes file.

    Raises
    ------
    InvalidInputError
        If they are unknown, or not as many as the network's.

    Examples
    --------
    >>> classes_of("atr", 18).name
    'atr'
    """
    from noisycorrect_seg.datasets.class_file import as_classes

    classes = as_classes(named)
    if count is not None and len(classes) != count:
        raise InvalidInputError(
            f"--classes with {count} classes, as the network has",
            got=f"{named!r} with {len(classes)}",
            fix="name the list that the network was trained on",
        )
    return classes


def size_in(text: str) -> Size:
    """Return height and width in a word such as ``473x473``, for argparse.

    Examples
    --------
    >>> size_in("473x384")
    (473, 384)
    """
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 473x473, height first")
    return int(height), int(width)
