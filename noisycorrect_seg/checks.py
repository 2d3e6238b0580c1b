"""What a segmentation task is given (masks, crops, a loss, a network's output), asked and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from noisycorrect.data.batches import Batch
from noisycorrect.support import distributed
from noisycorrect.support.errors import InvalidInputError, warn_caller
from noisycorrect_seg.classes import Classes, pairs_of_names
from noisycorrect_seg.inputs import Normalisation, normalisation_of
from noisycorrect_seg.masks import MOST_CLASSES, checked_mask, ignore_index
from noisycorrect_seg.outputs import as_output

CROP_FIELDS = ("matrix", "mirror", "extent")  # see ParsingDataset
LEAST_MASKS = 8  # that show one class by a slip: fewer may well have nothing but background
NAMES_TOLD = 5


def normalisation_said(record: Any) -> Normalisation | None:
    """Return what a result's record says of it; None of a record that somebody else wrote."""
    try:
        return normalisation_of(record["normalisation"])
    except (InvalidInputError, TypeError, LookupError):
        return None


def recorded_pairs(classes: Classes) -> dict[str, Any]:
    """Return what a result's record is to say of a class list beside its names; see :func:`recorded_classes`.

    Examples
    --------
    >>> recorded_pairs(Classes("ship", ("sea", "port", "starboard"), ((1, 2),)))
    {'flip_pairs': [[1, 2]]}
    """
    return {"flip_pairs": [list(pair) for pair in classes.flip_pairs]}


def recorded_classes(names: Sequence[str], record: Any) -> Classes:
    """Return the class list of names and of the pairs in a record; those of the names if it says nothing of pairs.

    Raises
    ------
    InvalidInputError, TypeError, ValueError
        If the pairs are none.

    Examples
    --------
    >>> recorded_classes(("sea", "port", "starboard"), {"flip_pairs": [[1, 2]]}).flip_pairs
    ((1, 2),)
    >>> recorded_classes(("road", "left lane", "right lane"), None).flip_pairs  # a folder of an earlier version
    ((1, 2),)
    """
    pairs = (record or {}).get("flip_pairs")
    known = pairs_of_names(names) if pairs is None else tuple((int(one), int(other)) for one, other in pairs)
    return Classes("own", tuple(names), known)


def classes_said(names: Sequence[str] | None, record: Any) -> Classes | None:
    """Return the classes of a result; None without names, and of a record that somebody else wrote."""
    try:
        return None if names is None else recorded_classes(names, record)
    except (InvalidInputError, TypeError, ValueError, AttributeError):
        return None


def class_lists_of(given: Any) -> list[Classes]:
    """Return the class lists that given masks say they are of: one a data set, where several were joined."""
    parts = getattr(given, "parts", None)
    if parts is not None:
        return [each for part in parts for each in class_lists_of(part)]
    own = getattr(getattr(given, "source", None), "classes", None)
    return [] if own is None else [own]


def check_shown(given: Sequence[Any], classes: Classes, name: str) -> None:
    """Raise an InvalidInputError if masks show no class; warn if many show one alone. Reads them until there are two.

    `name` is what messages call the data set.
    """
    masks, shown, nothing = 0, set[int](), ignore_index(len(classes))
    for index, mask in enumerate(given):
        if mask is not None:
            masks += 1
            shown.update(np.flatnonzero(np.bincount(checked_mask(mask, len(classes), index).ravel())).tolist())
            shown.discard(nothing)
            if len(shown) > 1:
                return
    if not masks:
        raise InvalidInputError(
            f"{name} labels to be masks, of one sample at least",
            got=f"none in any of {len(given)} samples",
            fix="check the folder of masks; samples without one can stand beside others that have one",
        )
    fix = "np.unique(mask) is to show class numbers; of masks of 0 and 255 pass Folder(values={255: 1})"
    if not shown:
        got = f"{nothing}, which is ignored, at all pixels of all {masks:,}"
        raise InvalidInputError(f"{name} masks that show a class", got=got, fix=fix)
    if masks >= LEAST_MASKS and distributed.is_main():
        (alone,) = (classes.names[number] for number in shown)
        absent = [called for called in classes.names if called != alone]
        more = f" and {len(absent) - NAMES_TOLD:,} more" if len(absent) > NAMES_TOLD else ""
        got = f"{alone} alone in all {masks:,}, in none of them {', '.join(absent[:NAMES_TOLD])}{more}"
        warn_caller(f"expected {name} masks that show several classes; got {got}; to fix: {fix}")


def check_crops(batch: Batch) -> None:
    """Raise an InvalidInputError unless a batch says where its crops lie: known before the first epoch, not later."""
    missing = [name for name in CROP_FIELDS if name not in batch.extra]
    if missing:
        raise InvalidInputError(
            f"items with the fields {', '.join(CROP_FIELDS)} of their crop",
            got=f"none called {', '.join(missing)}",
            fix="train on a ParsingDataset, or return them from your own data set as it does: of a crop that is the"
            " canonical frame itself, torch.eye(2, 3), torch.tensor(False) and torch.tensor([0.0, 0.0, W, H])",
        )


def loss_identity(loss: Any) -> Any:
    """Return the fields of a loss that is a dataclass, the name of another."""
    if not dataclasses.is_dataclass(loss):
        named = loss if hasattr(loss, "__qualname__") else type(loss)
        return f"{named.__module__}.{named.__qualname__}"
    fields = {field.name: getattr(loss, field.name) for field in dataclasses.fields(loss)}
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in fields.items()}


def numbered_classes(count: int) -> Classes:
    """Return a class list of numbers, for a data set to name."""
    if count > MOST_CLASSES:  # before so many names are made
        fix = "pass num_classes= as many as the network has outputs"
        raise InvalidInputError(f"2..{MOST_CLASSES} classes", got=str(count), fix=fix)
    return Classes("numbered", tuple(f"class {number}" for number in range(count)))


def crop_size_of(given: Any) -> tuple[int, int] | None:
    """Return the size of the crops that a data set makes beside its given masks, if it says so."""
    first: Any = getattr(given, "parts", (given,))[0]
    return getattr(first, "size", None) if first is given else crop_size_of(first)


def check_ignores(loss: Any, num_classes: int) -> None:
    """Raise an InvalidInputError if a loss takes pixels of a class for ignored ones."""
    ignored = getattr(loss, "ignore_index", None)
    if isinstance(ignored, int) and 0 <= ignored < num_classes:
        fix = f"pass ignore_index={ignore_index(num_classes)} to it: so masks of {num_classes} classes say it"
        raise InvalidInputError("a loss that ignores none of the classes", got=f"ignore_index={ignored}", fix=fix)


def check_one_channel(output: Any, num_classes: int) -> None:
    """Raise an InvalidInputError if the one channel of a network holds probabilities, as a Sigmoid returns them."""
    logits = as_output(output, num_classes).final.detach().float()
    if num_classes != 2 or logits[:, 0].any():  # of one channel the logit of class 0 is 0: see `two_channels`
        return
    low, high = (float(bound) for bound in logits[:, 1].aminmax())
    if 0 < low < high <= 1:
        raise InvalidInputError(
            "logits",
            got="probabilities: all values in (0, 1]",
            fix="drop the model's last Sigmoid; without one return two channels",
        )
