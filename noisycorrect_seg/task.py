"""Segmentation: one class a pixel, refined on the device in the frame of each training crop."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.data.batches import Batch
from noisycorrect.labels import LabelKind
from noisycorrect.labels.codec import CODECS
from noisycorrect.labels.refine import blend
from noisycorrect.support import distributed
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.geometry.coupling import area_means, axes_of, composed, coupled, own_share
from noisycorrect_seg.geometry.crops import inside_image, onto_crops, warp_evidence
from noisycorrect_seg.geometry.maps import resized
from noisycorrect_seg.kind import MaskLabels
from noisycorrect_seg.losses import ParsingLoss
from noisycorrect_seg.masks import IGNORE_INDEX
from noisycorrect_seg.outputs import ParsingOutput
from noisycorrect_seg.scores import ParsingMetrics

CROP_FIELDS = ("matrix", "mirror", "extent")  # see ParsingDataset
LossFunction = Callable[[ParsingOutput, Tensor], Tensor]  # (output, hard or soft targets) -> scalar


class HumanParsing:
    """The segmentation task; its name is that of the flagship, but any classes and any network will do.

    Evidence is kept at the network's output resolution in the canonical frame, the whole image letterboxed without
    augmentation. Each training crop brings the affine matrix into that frame and whether it was mirrored; evidence is
    decoded, warped, its left and right classes exchanged, and blended with the crop's given mask, a batch at a time, on
    the device.

    Parameters
    ----------
    classes : str, Classes, or sequence of str
        ``"lip"``, ``"atr"``, ``"pascal"``, ``"cihp"``, ``"ccp"``, or a class list of your own; K of them.
    size : (int, int)
        Height and width of the canonical frame: the network's input, and the size of the data set's crops.
    loss : callable, optional
        ``loss(output, targets)`` -> scalar; kept as ``.loss_function``. The output is a
        :class:`~noisycorrect_seg.ParsingOutput`, also of a network that returns plain logits: ``output.final`` are
        those that predict. Targets are hard (N, H, W) or soft (N, K, H, W). Default:
        :class:`~noisycorrect_seg.losses.ParsingLoss`, Eq. 4 of SCHP.
    flip_average : bool
        Predict each training image and its mirror, and average: twice the forward passes of a cycle's end.

    codec : {"sqrt-uint6-floor", "sqrt-uint8", "sqrt-uint6"}
        How evidence is stored: the first in 1.2 GB for LIP, the second twice as large and ten times as close; the last
        is what earlier stores may have (docs/results/speed-parsing.md).

    Raises
    ------
    InvalidInputError
        If a codec or a class list is unknown or `size` is not made of whole numbers >= 2.

    Examples
    --------
    >>> task = HumanParsing("lip", size=(96, 64))
    >>> task.num_classes, task.frame
    (20, (96, 64))
    >>> task.probs(torch.zeros(1, 20, 24, 16)).shape
    torch.Size([1, 20, 24, 16])
    """

    kind: type[LabelKind] = MaskLabels
    codec = "sqrt-uint6-floor"
    wants_logits = True
    main_metric = "pixel_accuracy"

    def __init__(
        self,
        classes: str | Classes | Sequence[str] = "lip",
        *,
        size: tuple[int, int] = (473, 473),
        loss: LossFunction | None = None,
        flip_average: bool = False,
        codec: str = "sqrt-uint6-floor",
    ) -> None:
        self.classes = classes_named(classes)
        self.num_classes = len(self.classes)
        self.size = _checked_size(size)
        self.frame: Any = self.size
        self.loss_function = ParsingLoss() if loss is None else loss
        self.flip_average = flip_average
        self.codec = CODECS[codec].name
        self.prediction_passes = 2 if flip_average else 1

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, background first."""
        return self.classes.names

    def check_given(self, given: Any, *, training: bool = True) -> None:
        """Raise an InvalidInputError unless `given` is a sequence of masks; each mask is checked when it is read."""
        name = "training" if training else "validation"
        if isinstance(given, Tensor) or not isinstance(given, Sequence) or not len(given):
            got = f"{type(given).__name__}"
            raise InvalidInputError(
                f"{name} labels to be masks", got=got, fix="pass a ParsingDataset, or items with masks (H, W)"
            )
        for own in _class_lists(given):
            if (own.names, own.flip_pairs) != (self.classes.names, self.classes.flip_pairs):
                raise InvalidInputError(
                    f"a {name} set of the task's classes {self.classes.names} with the pairs {self.classes.flip_pairs}",
                    got=f"{own.names} with {own.flip_pairs}",
                    fix="pass HumanParsing(source.classes)",
                )
        if all(mask is None for mask in given):
            raise InvalidInputError(
                f"{name} labels to be masks, of one sample at least",
                got=f"none in any of {len(given)} samples",
                fix="check the folder of masks; samples without one can stand beside others that have one",
            )

    def identity(self) -> dict[str, Any]:
        """Return what a run and the run that resumes it must share: classes, size, loss."""
        return {
            "classes": list(self.classes.names),
            "flip_pairs": [list(pair) for pair in self.classes.flip_pairs],
            "size": list(self.size),
            "flip_average": self.flip_average,
            "loss": _described(self.loss_function),
        }

    def forward(self, model: nn.Module, batch: Batch) -> ParsingOutput:
        """Return the model's output for a batch; plain logits count as the parsing branch's."""
        return _as_output(model(batch.input))

    def check_output(self, output: Any, batch: Batch) -> None:
        """Raise an InvalidInputError unless `output` are logits (B, K, h, w): no other shape, no probabilities."""
        logits = self._checked(output).final
        _check_crops(batch)
        if len(logits) != len(batch) or batch.given.shape[-2:] != self.size:
            raise InvalidInputError(
                f"a batch of {len(batch)} crops of {self.size}",
                got=f"{len(logits)} outputs, masks of {tuple(batch.given.shape[-2:])}",
                fix="make the data set's size and HumanParsing(size=) agree",
            )
        sums = logits.float().sum(1)
        if logits.min() >= 0 and torch.allclose(sums, torch.ones_like(sums), atol=2e-2):
            raise InvalidInputError(
                "logits", got="probabilities: values >= 0 that sum to 1", fix="drop the model's last Softmax"
            )

    def targets(self, batch: Batch) -> Tensor:
        """Return the batch's refined labels in the crops' frame (SCHP, Eq. 7).

        Returns
        -------
        Tensor
            Before the first generation the given masks, int64 (B, H, W) with 255 ignored; later probabilities,
            float32 (B, K, H, W), zero at ignored pixels. A sample without a mask has its evidence alone.
        """
        given = batch.given.long()
        if batch.evidence is None:
            return given
        _check_crops(batch)
        if given.device.type != "cpu":  # a look at the trust would wait for it
            return self._refined(batch)
        doubted = batch.trust.doubted()
        if len(doubted) == len(batch):
            return self._refined(batch)
        # Labels that nothing argues with are the given ones.
        known = (given >= 0) & (given < self.num_classes)
        refined = torch.zeros(len(given), self.num_classes, *given.shape[1:])
        refined.scatter_(1, (given * known).unsqueeze(1), known.float().unsqueeze(1))
        if len(doubted):
            refined[doubted] = self._refined(_some(batch, doubted))
        return refined

    def _refined(self, batch: Batch) -> Tensor:
        """Return refined labels composed of given labels and evidence, of which there is some."""
        assert batch.evidence is not None
        given = batch.given.long()
        evidence = batch.trust.scaled(CODECS[self.codec].decode(batch.evidence))
        refined = self._coupled(batch, evidence) if batch.trust.coupled else self._blended(batch, evidence)
        rows = ((given == IGNORE_INDEX).flatten(1).all(1) & (batch.trust.weight == 0)).nonzero().flatten()
        if len(rows):  # without a mask: evidence alone, wherever the crop shows the image (sec. 3.4 of the paper)
            matrix, mirror, extent = (batch.extra[name][rows] for name in CROP_FIELDS)
            warped = self._warped(evidence[rows], matrix, mirror, (given.shape[-2], given.shape[-1]))
            refined[rows] = warped * inside_image(matrix, extent, self.size).unsqueeze(1)
        return refined

    def _blended(self, batch: Batch, evidence: Tensor) -> Tensor:
        """Return Eq. 7 with evidence brought to the pixels of the crops."""
        given, trust = batch.given.long(), batch.trust
        size, crops = (given.shape[-2], given.shape[-1]), (batch.extra["matrix"], batch.extra["mirror"])
        warped = self._warped(evidence, *crops, size)
        if trust.parts is not None:
            trust = dataclasses.replace(trust, parts=self._warped(trust.parts.unsqueeze(1), *crops, size)[:, 0])
        return blend(given, warped, trust.of(given, warped))

    def _coupled(self, batch: Batch, evidence: Tensor) -> Tensor:
        """Return the coupling of crops and evidence, found at the evidence's resolution in the crops' own frame."""
        given, trust = batch.given.long(), batch.trust
        size, cells = (given.shape[-2], given.shape[-1]), (evidence.shape[-2], evidence.shape[-1])
        maps = evidence if trust.parts is None else torch.cat([evidence, trust.parts.unsqueeze(1)], 1)
        swap = self.classes.flip_index.tolist()
        coarse = onto_crops(
            maps,
            batch.extra["matrix"],
            batch.extra["mirror"],
            size=cells,
            crop=size,
            canonical=self.size,
            flip_index=[*swap, *range(self.num_classes, maps.shape[1])],
        )
        axes, evidence = axes_of(size, cells), coarse[:, : self.num_classes]
        coupling = coupled(area_means(given, axes, self.num_classes), evidence)
        if trust.parts is not None:
            trust = dataclasses.replace(trust, parts=resized(coarse[:, self.num_classes :], size)[:, 0])
        weight = trust.of(given, None if trust.rule is None else resized(evidence, size))
        return composed(given, own_share(given, coupling, axes), resized(coupling.excess, size), weight)

    def evidence_in_crops(self, batch: Batch) -> Tensor:
        """Return a batch's evidence, scaled by class as labels are composed of it, in the crops' frame, (B, K, H, W).

        It is float32; of generation 0 there is none.
        """
        assert batch.evidence is not None, "the first generation has evidence"
        _check_crops(batch)
        evidence = batch.trust.scaled(CODECS[self.codec].decode(batch.evidence))
        size = (batch.given.shape[-2], batch.given.shape[-1])
        return self._warped(evidence, batch.extra["matrix"], batch.extra["mirror"], size)

    def _warped(self, maps: Tensor, matrix: Tensor, mirror: Tensor, size: tuple[int, int]) -> Tensor:
        flips = self.classes.flip_index if maps.shape[1] == self.num_classes else (0,)
        return warp_evidence(maps, matrix, mirror, size=size, canonical=self.size, flip_index=flips)

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Return the loss of an output against the batch's refined labels, a scalar."""
        return self.loss_against(output, self.targets(batch))

    def loss_against(self, output: Any, targets: Tensor) -> Tensor:
        """Return the loss of an output against targets as :meth:`targets` returns them, a scalar."""
        parsed = self._checked(output)
        loss = self.loss_function(parsed, targets)
        if distributed.world_size() > 1:
            # DistributedDataParallel waits for every parameter's gradient, also of a branch whose terms are off.
            loss = loss + sum(0 * logits.float().sum() for logits in parsed if logits is not None)
        return loss

    def probs(self, output: Any) -> Tensor:
        """Return class probabilities of the final branch, float32 (B, K, h, w)."""
        return self._checked(output).final.float().softmax(1)

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return class probabilities in the canonical frame, float32 (B, K, h, w), with the mirror's if set."""
        probs = self.probs(self.forward(model, batch))
        if not self.flip_average:
            return probs
        mirrored = self.probs(_as_output(model(batch.input.flip(-1))))
        swap = torch.as_tensor(self.classes.flip_index, device=probs.device)
        return (probs + mirrored.flip(-1).index_select(1, swap)) / 2

    def metrics(self) -> ParsingMetrics:
        """Return fresh metrics."""
        return ParsingMetrics(self.classes)

    def _checked(self, output: Any) -> ParsingOutput:
        parsed = _as_output(output)
        for name, logits in zip(parsed._fields, parsed, strict=True):
            expected = 2 if name == "edge" else self.num_classes
            if logits is not None and (logits.dim() != 4 or logits.shape[1] != expected):
                raise InvalidInputError(
                    f"{name} logits of shape (N, {expected}, h, w)",
                    got=f"shape {tuple(logits.shape)}",
                    fix="make num_classes of the network and of the task agree",
                )
        return parsed


def _some(batch: Batch, rows: Tensor) -> Batch:
    """Return what labels are refined of, of some samples of a batch."""
    return dataclasses.replace(
        batch,
        index=batch.index[rows],
        given=batch.given[rows],
        trust=batch.trust.some(rows),
        evidence=None if batch.evidence is None else batch.evidence[rows],
        extra={name: batch.extra[name][rows] for name in CROP_FIELDS},
    )


def _class_lists(given: Any) -> list[Classes]:
    """Return the class lists that given masks say they are of: one a data set, where several were joined."""
    parts = getattr(given, "parts", None)
    if parts is not None:
        return [each for part in parts for each in _class_lists(part)]
    own = getattr(getattr(given, "source", None), "classes", None)
    return [] if own is None else [own]


def _check_crops(batch: Batch) -> None:
    """Raise an InvalidInputError unless a batch says where its crops lie: known before the first epoch, not later."""
    missing = [name for name in CROP_FIELDS if name not in batch.extra]
    if missing:
        raise InvalidInputError(
            f"items with the fields {', '.join(CROP_FIELDS)} of their crop",
            got=f"none called {', '.join(missing)}",
            fix="train on a ParsingDataset, or return them from your own data set as it does: of a crop that is the"
            " canonical frame itself, torch.eye(2, 3), torch.tensor(False) and torch.tensor([0.0, 0.0, W, H])",
        )


def _described(loss: Any) -> Any:
    """Return the fields of a loss that is a dataclass, the name of another."""
    if not dataclasses.is_dataclass(loss):
        named = loss if hasattr(loss, "__qualname__") else type(loss)
        return f"{named.__module__}.{named.__qualname__}"
    fields = {field.name: getattr(loss, field.name) for field in dataclasses.fields(loss)}
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in fields.items()}


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise InvalidInputError("size=(height, width)", got=repr(size), fix="pass two whole numbers")
    return whole_number("height", size[0], least=2), whole_number("width", size[1], least=2)


def _as_output(output: Any) -> ParsingOutput:
    """Return a network's output as a ParsingOutput: logits, a tuple of logits, or a dict with ``out`` or ``logits``."""
    if isinstance(output, ParsingOutput):
        return output
    if isinstance(output, Tensor):
        return ParsingOutput(output)
    if isinstance(output, dict):
        found = next((output[key] for key in ("out", "logits") if isinstance(output.get(key), Tensor)), None)
        if found is not None:
            return ParsingOutput(found)
    raise InvalidInputError(
        "logits (N, K, h, w), a ParsingOutput, or a dict with 'out' or 'logits'",
        got=type(output).__name__,
        fix="return one of them from the model's forward",
    )
