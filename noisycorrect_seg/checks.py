"""What a segmentation task is given (masks, crops, a loss, a network's output), asked and checked."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from noisycorrect.data.batches import Batch
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.inputs import Normalisation, normalisation_of
from noisycorrect_seg.masks import MOST_CLASSES, ignore_index
from noisycorrect_seg.outputs import as_output

CROP_FIELDS = ("matrix", "mirror", "extent")  # see ParsingDataset


def normalisation_said(record: Any) -> Normalisation | None:
    """Return what a result's record says of it; None of a record that somebody else wrote."""
    try:
        return normalisation_of(record["normalisation"])
    except (InvalidInputError, TypeError, LookupError):
        return None


def class_lists_of(given: Any) -> list[Classes]:
    """Return the class lists that given masks say they are of: one a data set, where several were joined."""
    parts = getattr(given, "parts", None)
    if parts is not None:
        return [each for part in parts for each in class_lists_of(part)]
    own = getattr(getattr(given, "source", None), "classes", None)
    return [] if own is None else [own]


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
