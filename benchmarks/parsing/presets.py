"""Network, size and schedule of a run, by name; every value can be overridden on the command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from noisycorrect import Schedule
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name


@dataclass(frozen=True)
class Preset:
    """What a run trains and for how long.

    Attributes
    ----------
    size : (int, int)
        Height and width of the network's input.
    backbone, context : str
        Names that :class:`noisycorrect_seg.ace2p.ACE2P` knows.
    width : float
        Factor on its channels.
    init_epochs, cycles, cycle_epochs : int
        Schedule of self-correction; plain training gets the same sample passes.
    lr : float
        Peak of the initial phase.
    batch_size : int
        Over all ranks.
    train_limit, val_limit : int or None
        At most so many images; of the embedded set, so many are drawn.
    shrink : float or None
        Of a data set in a folder: images are made smaller when they are read, to so many times what they are in the
        network's input, and kept in memory. None reads files at their full size in every epoch.
    """

    size: tuple[int, int]
    backbone: str
    context: str
    width: float
    init_epochs: int
    cycles: int
    cycle_epochs: int
    lr: float
    batch_size: int
    train_limit: int | None = None
    val_limit: int | None = None
    shrink: float | None = None

    def __post_init__(self) -> None:
        for side in self.size:
            whole_number("--size", side, least=16)
        for name in ("train_limit", "val_limit"):
            if getattr(self, name) is not None:
                whole_number("--" + name.replace("_", "-"), getattr(self, name), least=2)
        whole_number("--batch-size", self.batch_size, least=2)
        finite_number("--lr", self.lr, above=1e-12, fix="the paper's is 7e-3, with a pretrained backbone")
        finite_number("--width", self.width, above=1e-3, fix="1 is the full network")
        _ = self.schedule  # checks its own numbers

    @property
    def schedule(self) -> Schedule:
        """Schedule of self-correction."""
        return Schedule(self.init_epochs, self.cycles, self.cycle_epochs)


# "paper" is Sec. 4.1 of the paper. The others were chosen on the development seeds (100 and up) of the embedded set;
# they train from scratch, hence the larger rates.
PRESETS = {
    "paper": Preset((473, 473), "resnet101", "psp", 1.0, 100, 5, 10, lr=7e-3, batch_size=36),
    "medium": Preset((384, 256), "resnet50", "psp", 1.0, 40, 5, 4, lr=7e-3, batch_size=16),
    "small": Preset((96, 72), "resnet18", "psp", 0.25, 14, 5, 2, 0.05, 4, shrink=1.5),
    "tiny": Preset((48, 32), "resnet18", "psp", 0.125, 4, 2, 1, 0.05, 8, 24, 12, shrink=1.5),
}


def preset_named(name: str, **overrides: Any) -> Preset:
    """Return a preset with some of its values replaced; None keeps a value.

    Parameters
    ----------
    name : str
        One of `PRESETS`.
    **overrides
        Fields of :class:`Preset`, or `epochs`, a whole budget that is divided in the paper's proportions.

    Raises
    ------
    InvalidInputError
        If the name is unknown, a number is out of range, or `epochs` is given together with its parts.

    Examples
    --------
    >>> preset_named("paper", epochs=15, lr=None).schedule
    Schedule(init_epochs=10, cycles=5, cycle_epochs=1)
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    given = {key: value for key, value in overrides.items() if value is not None}
    epochs = given.pop("epochs", None)
    if epochs is not None:
        parts = sorted({"init_epochs", "cycles", "cycle_epochs"} & given.keys())
        if parts:
            raise InvalidInputError(
                "either --epochs, or --init-epochs, --cycles and --cycle-epochs",
                got=f"--epochs and {', '.join('--' + part.replace('_', '-') for part in parts)}",
                fix="leave one of them out",
            )
        given |= dataclasses.asdict(Schedule.from_budget(epochs))
    return dataclasses.replace(PRESETS[name], **given)


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) from a text such as "128x96".

    Raises
    ------
    InvalidInputError
        If it is not two whole numbers with an x between.

    Examples
    --------
    >>> parse_size("473x473")
    (473, 473)
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() for part in parts):
        raise InvalidInputError("--size HEIGHTxWIDTH", got=repr(text), fix="such as 128x96")
    return int(parts[0]), int(parts[1])
