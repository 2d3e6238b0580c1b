"""Segmentation: one class a pixel, refined on the device in the frame of each training crop."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.data.batches import Batch
from noisycorrect.labels import LabelKind
from noisycorrect.labels.codec import CODECS
from noisycorrect.labels.refine import blend
from noisycorrect.support import distributed
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.modules import unwrap
from noisycorrect.task import TASKS
from noisycorrect_seg.checks import (
    CROP_FIELDS,
    check_crops,
    check_ignores,
    check_one_channel,
    check_shown,
    class_lists_of,
    classes_said,
    crop_size_of,
    loss_identity,
    normalisation_said,
    numbered_classes,
    recorded_pairs,
)
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.geometry.coupling import area_means, axes_of, composed, coupled, own_share
from noisycorrect_seg.geometry.crops import inside_image, onto_crops, warp_evidence
from noisycorrect_seg.geometry.maps import checked_size, resized
from noisycorrect_seg.inputs import NORMALISATIONS
from noisycorrect_seg.kind import MaskLabels
from noisycorrect_seg.losses import ParsingLoss
from noisycorrect_seg.masks import ignore_index
from noisycorrect_seg.outputs import ParsingOutput, as_output
from noisycorrect_seg.scores import ParsingMetrics

LossFunction = Callable[[ParsingOutput, Tensor], Tensor]  # (output, hard or soft targets) -> scalar


class Segmentation:
    """Segmentation of any classes, by any network that returns logits.

    Evidence is kept at the network's output resolution in the canonical frame, the whole image letterboxed without
    augmentation. Each training crop brings the affine matrix into that frame and whether it was mirrored; evidence is
    decoded, warped, its left and right classes exchanged, and blended with the crop's given mask, a batch at a time, on
    the device.

    Parameters
    ----------
    classes : sequence of str, Classes, str, or int
        Names of the K classes, background first if there is one; the name of a known list, such as ``"lip"``; or K, if
        the names are to be those of the data set. Two classes may come from a network with one channel, the logit of
        class 1.
    size : (int, int), optional
        Height and width of the canonical frame: the network's input, and the size of the data set's crops. Default:
        those of the first training set.
    loss : callable, optional
        ``loss(output, targets)`` -> scalar; kept as ``.loss_function``. The output is a
        :class:`~noisycorrect_seg.ParsingOutput`, also of a network that returns plain logits: ``output.final`` are
        those that predict. Targets are hard (N, H, W) or soft (N, K, H, W). Default:
        :class:`~noisycorrect_seg.losses.ParsingLoss`, cross-entropy and Lovász-Softmax, and of networks with an edge
        branch the terms of edges.
    aux_weight : float
        Weight, at least 0, of the loss of an auxiliary head: ``aux`` of torchvision's dict. Default: 0.4, as those have
        it who introduced it (Zhao et al. 2017, "Pyramid Scene Parsing Network", sec. 3.3).
    flip_average : bool
        Predict each training image and its mirror, and average: twice the forward passes of a cycle's end.

    codec : {"sqrt-uint6-floor", "sqrt-uint8", "sqrt-uint6"}
        How evidence is stored: the first in 1.2 GB for LIP, the second twice as large and five times as close (three
        times in the worst pixel); the last is what earlier stores may have (docs/results/speed-parsing.md).

    Attributes
    ----------
    connected : bool
        Whether what a mask shows hangs together, as the parts of a person do; False. Recipes that look for missing
        objects ask.

    Raises
    ------
    InvalidInputError
        If a codec or a class list is unknown, `size` is not made of whole numbers >= 2, or the loss ignores one of the
        classes.

    Examples
    --------
    >>> task = Segmentation(["background", "road", "car"], size=(96, 64))
    >>> task.num_classes, task.frame
    (3, (96, 64))
    >>> task.probs({"out": torch.zeros(1, 3, 24, 16), "aux": torch.zeros(1, 3, 12, 8)}).shape
    torch.Size([1, 3, 24, 16])
    >>> binary = Segmentation(["background", "polyp"], size=(96, 64))
    >>> binary.probs(torch.zeros(1, 1, 96, 64)).shape
    torch.Size([1, 2, 96, 64])
    """

    kind: type[LabelKind] = MaskLabels
    codec = "sqrt-uint6-floor"
    wants_logits = True
    main_metric = "pixel_accuracy"
    connected = False

    def __init__(
        self,
        classes: str | Classes | Sequence[str] | int,
        *,
        size: tuple[int, int] | None = None,
        loss: LossFunction | None = None,
        aux_weight: float = 0.4,
        flip_average: bool = False,
        codec: str = "sqrt-uint6-floor",
    ) -> None:
        self._names_known = not isinstance(classes, (int, np.integer))
        self.classes = numbered_classes(classes) if isinstance(classes, (int, np.integer)) else classes_named(classes)
        self.num_classes = len(self.classes)
        self._size = None if size is None else checked_size(size)
        self.frame: Any = self._size
        self.ignore_index = ignore_index(self.num_classes)
        self.loss_function = ParsingLoss(ignore_index=self.ignore_index) if loss is None else loss
        check_ignores(self.loss_function, self.num_classes)
        self.aux_weight = finite_number("aux_weight", aux_weight, above=0, fix="0.4 is common, 0 leaves it out")
        self.flip_average = flip_average
        self.codec = CODECS[codec].name
        self.prediction_passes = 2 if flip_average else 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the canonical frame.

        Raises
        ------
        InvalidInputError
            If it is not known before a data set is.
        """
        if self._size is None:
            fix = f"pass {type(self).__name__}(size=(height, width)), those of the crops"
            raise InvalidInputError("a size, or a ParsingDataset, whose size it is", got="neither", fix=fix)
        return self._size

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes, background first; None if only their number is known, before a data set names them."""
        return self.classes.names if self._names_known else None

    @property
    def input_record(self) -> dict[str, Any] | None:
        """Which classes a mirror exchanges, as plain JSON values; None as long as nobody has named the classes."""
        return recorded_pairs(self.classes) if self._names_known else None

    def check_given(self, given: Any, *, training: bool = True) -> None:
        """Raise an InvalidInputError unless `given` is a sequence of masks that show a class; warn if all show one.

        Masks are read until two classes are found; the others are checked when they are.
        """
        name = "training" if training else "validation"
        if isinstance(given, Tensor) or not isinstance(given, Sequence) or not len(given):
            got = f"{type(given).__name__}"
            raise InvalidInputError(
                f"{name} labels to be masks",
                got=got,
                fix="pass a ParsingDataset, of arrays ParsingDataset(Pictures(images, classes, masks), size), Pictures"
                " of noisycorrect_seg.datasets; or items with masks (H, W)",
            )
        self._adopt(given)
        for own in class_lists_of(given):
            if (own.names, own.flip_pairs) != (self.classes.names, self.classes.flip_pairs):
                raise InvalidInputError(
                    f"a {name} set of the task's classes {self.classes.names} with the pairs {self.classes.flip_pairs}",
                    got=f"{own.names} with {own.flip_pairs}",
                    fix=f"pass {type(self).__name__}(source.classes)",
                )
        check_shown(given, self.classes, name)

    def _adopt(self, given: Any) -> None:
        """Take what was left open from the masks of a data set: the names of the classes, and the size of the crops."""
        own, size = next(iter(class_lists_of(given)), None), crop_size_of(given)
        if not self._names_known and own is not None:
            if len(own) != self.num_classes:
                raise InvalidInputError(
                    f"a data set of {self.num_classes} classes",
                    got=f"{len(own)}: {', '.join(own.names[:8])}{', ...' if len(own) > 8 else ''}",
                    fix=f"pass num_classes={len(own)}, and a network with as many outputs",
                )
            self.classes, self._names_known = own, True
        if self._size is None and size is not None:
            self._size = self.frame = size

    def identity(self) -> dict[str, Any]:
        """Return what a run and the run that resumes it must share: classes, size, loss."""
        return {
            "classes": list(self.classes.names),
            "flip_pairs": [list(pair) for pair in self.classes.flip_pairs],
            "size": list(self.size),
            "flip_average": self.flip_average,
            **({} if self.aux_weight == 0.4 else {"aux_weight": self.aux_weight}),
            "loss": loss_identity(self.loss_function),
        }

    def describe(self, model: nn.Module, result: Any) -> None:
        """Let a result's network say what it was trained on, so that whoever parses with it need not.

        Sets ``classes``, ``size`` and ``normalisation``, which :func:`~noisycorrect_seg.parse_image` and others ask it
        for; attributes of these names that are something else stay.
        """
        network = unwrap(model)
        said = {
            "classes": self.classes if self._names_known else classes_said(result.class_names, result.input_record),
            "size": result.labels.frame,
            "normalisation": normalisation_said(result.input_record),
        }
        for name, value in said.items():
            own = getattr(network, name, None)
            named = name == "normalisation" and isinstance(own, str) and own in NORMALISATIONS
            if value is not None and (named or own is None or type(own) is type(value)):
                with contextlib.suppress(AttributeError):  # a property of the network's own
                    setattr(network, name, value)

    def forward(self, model: nn.Module, batch: Batch) -> ParsingOutput:
        """Return the model's output for a batch; plain logits count as the parsing branch's."""
        return as_output(model(batch.input), self.num_classes)

    def check_output(self, output: Any, batch: Batch) -> None:
        """Raise an InvalidInputError unless `output` are logits (B, K, h, w): no other shape, no probabilities."""
        logits = self._checked(output).final
        check_crops(batch)
        if len(logits) != len(batch) or batch.given.shape[-2:] != self.size:
            raise InvalidInputError(
                f"a batch of {len(batch)} crops of {self.size}",
                got=f"{len(logits)} outputs, masks of {tuple(batch.given.shape[-2:])}",
                fix=f"make the data set's size and {type(self).__name__}(size=) agree",
            )
        check_one_channel(output, self.num_classes)
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
            Before the first generation the given masks, int64 (B, H, W), where :attr:`ignore_index` is ignored; later
            probabilities, float32 (B, K, H, W), zero at ignored pixels. A sample without a mask has its evidence alone.
        """
        given = batch.given.long()
        if batch.evidence is None:
            return given
        check_crops(batch)
        if given.device.type != "cpu":  # a look at the trust would wait for it
            return self._refined(batch)
        doubted = batch.trust.doubted()
        if len(doubted) == len(batch):
            return self._refined(batch)
        # Labels that nothing argues with are the given ones.
        known = (given >= 0) & (given < self.num_classes)
        refined = torch.zeros(len(given), self.num_classes, *given.shape[1:], dtype=torch.float32)
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
        rows = ((given == self.ignore_index).flatten(1).all(1) & (batch.trust.weight == 0)).nonzero().flatten()
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
        check_crops(batch)
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
        loss = self.loss_function(ParsingOutput(*parsed[:3]), targets)
        if parsed.aux is not None and self.aux_weight:
            loss = loss + self.aux_weight * self.loss_function(ParsingOutput(parsed.aux), targets)
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
        mirrored = self.probs(model(batch.input.flip(-1)))
        swap = torch.as_tensor(self.classes.flip_index, device=probs.device)
        return (probs + mirrored.flip(-1).index_select(1, swap)) / 2

    def metrics(self) -> ParsingMetrics:
        """Return fresh metrics."""
        return ParsingMetrics(self.classes)

    def _checked(self, output: Any) -> ParsingOutput:
        parsed = as_output(output, self.num_classes)
        for name, logits in zip(parsed._fields, parsed, strict=True):
            expected = 2 if name == "edge" else self.num_classes
            if logits is not None and (logits.dim() != 4 or logits.shape[1] != expected):
                fix = "make num_classes of the network and of the task agree; of two classes one channel will do"
                if logits.dim() == 4 and logits.shape[3] == expected:
                    fix = "return logits.permute(0, 3, 1, 2) where the network keeps channels last"
                elif logits.dim() == 2:
                    fix = "pass a network that keeps height and width: one class a pixel, not one an image"
                raise InvalidInputError(
                    f"{name} logits of shape (N, {expected}, h, w)", got=f"shape {tuple(logits.shape)}", fix=fix
                )
        return parsed


class HumanParsing(Segmentation):
    """:class:`Segmentation` of people into the parts that they and their clothes are made of.

    Parameters
    ----------
    classes : str, Classes, or sequence of str
        ``"lip"``, ``"atr"``, ``"pascal"``, ``"cihp"``, ``"ccp"``, or a class list of your own; K of them.
    size : (int, int), optional
        Height and width of the canonical frame. Default: the published (473, 473).
    loss, aux_weight, flip_average, codec
        See :class:`Segmentation`.

    Examples
    --------
    >>> task = HumanParsing("lip", size=(96, 64))
    >>> task.num_classes, task.frame
    (20, (96, 64))
    """

    connected = True

    def __init__(
        self,
        classes: str | Classes | Sequence[str] = "lip",
        *,
        size: tuple[int, int] = (473, 473),
        loss: LossFunction | None = None,
        aux_weight: float = 0.4,
        flip_average: bool = False,
        codec: str = "sqrt-uint6-floor",
    ) -> None:
        classes = classes_named(classes)
        super().__init__(
            classes, size=checked_size(size), loss=loss, aux_weight=aux_weight, flip_average=flip_average, codec=codec
        )


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


TASKS.register("segmentation", Segmentation)
