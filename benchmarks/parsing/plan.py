"""What a parsing study runs: presets, rows, images, and the cells that follow from them at equal sample passes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.lab.cells import fields_from
from benchmarks.lab.methods import check_method
from benchmarks.parsing.methods import PARSING_METHODS, parsing_passes, schedule_at_equal_passes
from noisycorrect import Schedule, Shares
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name

# The terms of Eq. 4, as Table 3 adds them. Without the edge term the network has no edge branch, and nothing to fuse.
LOSSES = ("ce", "ce+edge", "ce+edge+iou", "ce+edge+iou+consistency")
FULL_LOSS = LOSSES[-1]
SOFT_IOU = "soft-iou"  # Lovasz-Softmax against refined labels as they are, not their most probable classes
TERMS = (*FULL_LOSS.split("+"), SOFT_IOU)
BACKBONES = ("resnet18", "resnet50", "resnet101", "mobilenetv2")
PACKAGE = "package"  # weights: those of the package that the backbone's are published in, not a file
OPTIMIZERS = ("sgd", "adamw")
CONTEXTS = ("psp", "aspp", "ocnet")
# Each study, and the field of a variant that it varies besides the method; see :func:`variants`.
ABLATIONS: dict[str, tuple[str, Sequence[str]] | None] = {
    "correction": None,
    "losses": ("losses", LOSSES),
    "backbones": ("backbone", BACKBONES),
    "context": ("context", CONTEXTS),
    "cycles": None,
}


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
    losses : str
        Terms of the loss, where a study does not vary them.
    optimizer : {"sgd", "adamw"}
        The paper's, or Adam with decoupled weight decay, which gets further in few steps from scratch.
    pretrained : bool
        Whether the backbone starts from the weights that a package has.
    freeze : int
        Levels of the backbone that stay as they are, 0 to 4.
    backbone_rate : float
        Factor on the backbone's learning rate.
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
    losses: str = FULL_LOSS
    optimizer: str = "sgd"
    pretrained: bool = False
    freeze: int = 0
    backbone_rate: float = 1.0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise unknown_name("optimizer", self.optimizer, OPTIMIZERS)
        for term in self.losses.split("+"):
            if term not in TERMS:
                raise unknown_name("term of the loss", term, TERMS)
        for side in self.size:
            whole_number("--size", side, least=16)
        for name in ("train_limit", "val_limit"):
            if getattr(self, name) is not None:
                whole_number("--" + name.replace("_", "-"), getattr(self, name), least=2)
        whole_number("--batch-size", self.batch_size, least=2)
        finite_number("--lr", self.lr, above=1e-12, fix="the paper's is 7e-3, with a pretrained backbone")
        finite_number("--width", self.width, above=1e-3, fix="1 is the full network")
        whole_number("--freeze", self.freeze, least=0)
        finite_number("--backbone-rate", self.backbone_rate, above=1e-6, fix="0.1 trains it a tenth as fast")
        _ = self.schedule  # checks its own numbers

    @property
    def schedule(self) -> Schedule:
        """Schedule of self-correction."""
        return Schedule(self.init_epochs, self.cycles, self.cycle_epochs)


# "paper" is Sec. 4.1 of the paper. The others were chosen on the development seeds (100 and up) of the embedded set;
# they train from scratch, hence the larger rates. "light" fine-tunes what a package has, for a few hundred
# photographs on a CPU, without the edge branch. Size and rate are those of the best of four trials of plain training
# on CCP (one cosine of 13 epochs, seed 0): validation mIoU 22.3 at 128 x 88 and a rate of 2e-3, 25.6 at 6e-3, 30.7 at
# 192 x 128 and 4e-3; with more frozen (2 levels, a fifth of the rate), a narrower head and stride 32 it was 20.7.
# "demo" is for drawn people, who are small: a U-Net, whose logits have the pictures' resolution, without the edge
# branch, whose terms would take longer than the network, and with cross-entropy alone: Lovasz-Softmax names what is
# often left out all the same, and hides what such labels do.
PRESETS = {
    "demo": Preset((64, 48), "unet", "none", 0.0625, 20, 4, 4, 4e-3, 4, losses="ce", optimizer="adamw"),
    "paper": Preset((473, 473), "resnet101", "psp", 1.0, 100, 5, 10, lr=7e-3, batch_size=36),
    "medium": Preset((384, 256), "resnet50", "psp", 1.0, 40, 5, 4, lr=7e-3, batch_size=16),
    "small": Preset((96, 72), "resnet18", "psp", 0.25, 14, 5, 2, 0.05, 4, shrink=1.5),
    "light": Preset(
        (192, 128), "efficientnet-lite0", "psp", 0.25, 8, 3, 2, 4e-3, 8, 400, 100, 1.5,
        losses="ce+iou", optimizer="adamw", pretrained=True, freeze=1, backbone_rate=0.5,
    ),
    "tiny": Preset((48, 32), "resnet18", "psp", 0.125, 4, 2, 1, 0.05, 8, 24, 12, shrink=1.5),
}  # fmt: skip


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
        given |= dataclasses.asdict(Shares().divided(epochs))
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


@dataclass(frozen=True)
class Variant:
    """One row of a study before the seeds: its name, its method, and what it changes in the network and the loss.

    `losses`, `backbone` and `context` None are the preset's.
    """

    name: str
    method: str
    losses: str | None = None
    backbone: str | None = None
    context: str | None = None


def variants(ablation: str | None, rows: Sequence[str] | None = None) -> list[Variant]:
    """Return the rows of a study.

    Parameters
    ----------
    ablation : str or None
        ``"correction"`` (Table 4 of the paper), ``"losses"`` (Table 3), ``"backbones"`` (Fig. 5a), ``"context"``
        (Fig. 5b), ``"cycles"`` (Fig. 6). None: plain training, the paper's self-correction and the robust recipe.
    rows : sequence of str, optional
        Methods instead of the study's own; the loss study trains plainly.

    Raises
    ------
    InvalidInputError
        If a name is unknown or occurs twice.

    Examples
    --------
    >>> [row.name for row in variants("context", ["both"])]
    ['psp, both', 'aspp, both', 'ocnet, both']
    """
    if ablation is not None and ablation not in ABLATIONS:
        raise unknown_name("ablation", ablation, ABLATIONS)
    usual = {"correction": ["none", "ma", "lr", "both"], "losses": ["none"]}.get(
        ablation or "", ["none", "both"] if ablation else ["none", "both", "robust"]
    )
    methods = list(rows) if rows else usual
    for name in methods:
        check_method(name, PARSING_METHODS, "row")
    if len(set(methods)) < len(methods):
        raise InvalidInputError("each row once", got=",".join(methods), fix="leave the repeated ones out")
    varied = ABLATIONS[ablation] if ablation is not None else None
    if varied is None:
        return [Variant(method, method) for method in methods]
    field, values = varied
    alone = ablation == "losses" and not rows
    return [
        Variant(value if alone else f"{value}, {method}", method, **{field: value})
        for value in values
        for method in methods
    ]


@dataclass(frozen=True)
class Data:
    """Which images a study trains on, and what tells them from others.

    Attributes
    ----------
    dataset : str
        ``"people"`` is the embedded set.
    train, val : int
        Images.
    noise : str or None
        Spelling of the noise on the training masks; None: they are as they came.
    fingerprint : str
        Of images and masks, so that another folder's cells are not taken for this one's.
    shrink : float or None
        See :class:`Preset`.
    """

    dataset: str
    train: int
    val: int
    noise: str | None
    fingerprint: str
    shrink: float | None = None


@dataclass(frozen=True)
class Cell:
    """One run of a study; all that its result depends on, but for the code.

    Equal cells of two studies are computed once.
    """

    dataset: str
    method: str
    seed: int
    backbone: str
    context: str
    width: float
    size: tuple[int, int]
    losses: str
    init_epochs: int
    cycles: int
    cycle_epochs: int
    lr: float
    batch_size: int
    train: int
    val: int
    shrink: float | None
    noise: str | None
    optimizer: str
    weights: str | None  # name of the file of pretrained backbone weights; PACKAGE are the package's
    precision: str
    data: str
    freeze: int = 0
    backbone_rate: float = 1.0

    @property
    def schedule(self) -> Schedule:
        """Schedule of this run, at equal passes."""
        return Schedule(self.init_epochs, self.cycles, self.cycle_epochs)

    def passes(self, ranks: int = 1) -> int:
        """Return the sample passes of this run."""
        return parsing_passes(self.method, self.schedule, self.train, self.batch_size, ranks=ranks)


def make_cells(
    variants: Sequence[Variant],
    preset: Preset,
    data: Data,
    seeds: Sequence[int],
    *,
    weights: str | None = None,
    precision: str = "auto",
    ranks: int = 1,
) -> dict[str, list[Cell]]:
    """Return the cells of a study, one a seed, by the name of their row.

    Parameters
    ----------
    variants : sequence of Variant
        The rows.
    preset : Preset
        Network, size and schedule of self-correction; the other rows' epochs follow from its sample passes.
    data : Data
        The images.
    seeds : sequence of int
        One run a seed and row.
    weights, precision
        See :class:`Cell`.
    ranks : int
        Processes that share a batch.
    """
    cells = {}
    for variant in variants:
        schedule = schedule_at_equal_passes(variant.method, preset.schedule, data.train, preset.batch_size, ranks)
        own = fields_from(Cell, preset, data, schedule)
        own |= {name: value for name, value in fields_from(Cell, variant).items() if value is not None}
        own |= {"data": data.fingerprint, "weights": weights, "precision": precision}
        cells[variant.name] = [Cell(**own, seed=seed) for seed in seeds]
    return cells


def distinct_cells(cells: Mapping[str, Sequence[Cell]]) -> list[Cell]:
    """Return every cell once, as two rows may ask for the same run; seed by seed, so that whole seeds finish early."""
    seeds = max((len(own) for own in cells.values()), default=0)
    return list(dict.fromkeys(own[place] for place in range(seeds) for own in cells.values()))
