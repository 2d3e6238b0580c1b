"""Evidence from the predictions that training makes anyway: what correction at every step and cross-fitting share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.correction.base import Correction, CycleEnd, Predictions, checked_keep, publish
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch, are_vectors
from noisycorrect.labels.refine import exponential_evidence
from noisycorrect.labels.rules import STEP_RULES
from noisycorrect.labels.storage import (
    AnyEvidence,
    MappedEvidence,
    blocks,
    checked_storage,
    chosen_form,
    made_evidence,
)
from noisycorrect.labels.trust import Trust
from noisycorrect.support import distributed
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError, unknown_name, warn_caller
from noisycorrect.task import Metrics


class Lesson(NamedTuple):
    """What an objective may hold a batch's predictions to.

    Attributes
    ----------
    rows : Tensor or slice
        Which samples of the batch.
    evidence : Tensor, shape (n, K)
        Of these samples.
    weight : float
        What it counts, in [0, 1].
    """

    rows: Tensor | slice
    evidence: Tensor
    weight: float = 1.0


class EvidenceInTraining(Correction):
    r"""Evidence :math:`e \leftarrow \beta e + (1 - \beta) p` from predictions p of the training steps, in memory.

    It is uniform over the classes at first. From the start of correction on, a label y has trust w by a rule, and its
    target is :math:`w\,y + (1 - w)\,e`. What a rule needs of the whole set is fitted once an epoch. At the end of a
    cycle the evidence is published as the next generation of labels; nothing is predicted for it.

    Parameters
    ----------
    momentum : float
        :math:`\beta`, weight of the past in the evidence, in [0, 1).
    trust : str
        Rule of trust, see :class:`~noisycorrect.OnlineCorrection`.
    input_dropout, keep, storage : float, int or None, str
        See :class:`~noisycorrect.OnlineCorrection`.

    Raises
    ------
    InvalidInputError
        If an argument is out of range; when a run starts, if a label is not one class a sample.
    """

    teaches = True
    evidence_rule = "training"
    storage = "float32"  # of a subclass that offers no other
    begin: float | str  # share of the epochs before correction starts, or a rule that a subclass knows
    evidence: AnyEvidence

    def __init__(
        self, *, momentum: float, trust: str, input_dropout: float, keep: int | None, storage: str | None = None
    ) -> None:
        if trust not in STEP_RULES:
            raise unknown_name("trust", trust, STEP_RULES)
        self.momentum: float = finite_number("momentum", momentum, above=0, below=1, fix="0.7 is common")
        self.input_dropout = finite_number("input_dropout", input_dropout, above=0, below=1, fix="0.2 is common")
        self.trust = trust
        self.keep = checked_keep(keep)
        if storage is not None:
            self.storage = checked_storage(storage)

    def start(self, setup: Setup) -> None:
        """Make room for the evidence, uniform over the classes."""
        super().start(setup)
        if setup.given is None:
            raise InvalidInputError(
                f"one class a sample with {type(self).__name__}, which keeps evidence of every step in memory",
                got=f"labels of {type(setup.task).__name__}",
                fix="pass a recipe that corrects at the ends of cycles, such as correction=AtCycleEnd(momentum=0.7)",
            )
        self.given = setup.given.long()
        self.form = self._form(setup)
        self.evidence = made_evidence(self.form, self.given, setup.task.num_classes, setup.folder)
        self.correcting = False

    def _form(self, setup: Setup) -> str:
        """Return in which form the evidence is held, and say so if that was not asked for."""
        count, classes = setup.length, setup.task.num_classes
        form = chosen_form(self.storage, count, classes)
        if form != self.storage and form != "float32" and distributed.is_main():
            warn_caller(
                f"evidence about {count:,} samples of {classes:,} classes is {4 * count * classes / 2**30:.3g} GB in"
                f" float32, so storage={form!r} holds the largest classes of each sample and its given one, and the"
                f' mass of the others; pass storage="mapped" for all of them, in a file, or "float32" for memory'
            )
        if form == "mapped" and distributed.world_size() > 1:
            raise InvalidInputError(
                'storage="float32", "float16" or "top-64" on several ranks',
                got='"mapped", whose file is one process\'s',
                fix='pass storage="top-64"',
            )
        return form

    def first_corrected(self, epochs: int) -> int:
        """Return the first epoch (0-based) of so many that learns from refined labels, where a share says so."""
        assert not isinstance(self.begin, str)
        return math.ceil(self.begin * epochs)

    def begun(self, epoch: int) -> bool:
        """Return whether an epoch (0-based) learns from refined labels."""
        return epoch >= self.first_corrected(self.setup.epochs)

    def start_epoch(self, epoch: int, model: nn.Module) -> None:
        """Decide whether to correct, and fit what the trust rule needs to the evidence so far."""
        self.correcting = self.begun(epoch)
        if self.correcting:
            self.fit_trust()

    @property
    def learns_unlabeled(self) -> bool:  # type: ignore[override]
        """Whether unlabelled samples count in the loss: once evidence is what is learnt from."""
        return self.correcting

    def usable(self, evidence: Tensor, rows: Tensor | slice) -> Tensor:
        """Return evidence (n, K) of some samples as trust and targets use it."""
        return evidence

    def fit_trust(self) -> None:
        """Fit what the rule of trust needs of the whole set to the present evidence."""
        self.fitted = Trust.fitted(self.trust, self.given, _Usable(self))

    def usable_blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield (rows, their evidence (n, K) as trust and targets use it), as many at once as fit into memory."""
        for rows, block in blocks(self.evidence):
            yield rows, self.usable(block, rows)

    def trust_in(self, given: Tensor, evidence: Tensor, rows: Tensor | slice) -> Tensor:
        """Return the trust in the labels of some samples, float32 (n,); 0 for an unlabelled one."""
        return self.fitted.about(given).of(given, evidence)

    def remember(self, rows: Tensor, probs: Tensor) -> Tensor:
        """Take predictions (n, K) of some samples into the evidence, and return it."""
        self.evidence[rows] = exponential_evidence(self.evidence[rows], probs, 1, self.momentum)
        return self.evidence[rows]

    def aim(self, batch: Batch, evidence: Tensor) -> None:
        """Give a batch the trust and evidence that its targets are made of: those of an earlier cycle's end go."""
        batch.evidence, batch.trust = None, Trust(torch.ones_like(batch.trust.weight))
        if self.correcting:
            batch.evidence = self.usable(evidence, batch.index)
            batch.trust = Trust(self.trust_in(batch.given.long(), batch.evidence, batch.index))

    def taught(self, batch: Batch) -> Lesson | None:
        """Return what an objective may hold a batch's predictions to now; None is nothing."""
        return Lesson(slice(None), self.evidence[batch.index])

    def dropped(self, inputs: Any, batch: Batch | None = None) -> Any:
        """Return a batch's input after input dropout, where that is on."""
        if self.input_dropout and not self.setup.augmented and are_vectors(inputs):
            neutral = torch.as_tensor(self.setup.neutral).to(inputs)  # a 0 may be far from all inputs that there are
            with self.setup.draws(batch):
                return F.dropout(inputs - neutral, self.input_dropout) + neutral
        return inputs

    def at_cycle_end(self, end: CycleEnd) -> Metrics | None:
        """Publish the evidence as the next generation; after the initial phase only if the run ends with it."""
        if end.cycle == 0 and not end.stopped:
            return None
        self.fit_trust()
        each = [self.trust_in(self.given[rows], evidence, rows) for rows, evidence in self.usable_blocks()]
        with end.store.new_generation(trust=torch.cat(each).cpu()) as writer:
            writer.held_out = self.unseen()
            writer.expected_rate = self.expected_rate()
            return publish(writer, self._kept(end), end.task.metrics())

    def unseen(self) -> np.ndarray | None:
        """Return which labels the networks behind their evidence were not trained on, bool (N,); None: none."""
        return None

    def expected_rate(self) -> float | None:
        """Return the share of wrong labels that is expected by other means than the networks' evidence, or None."""
        return None

    def _kept(self, end: CycleEnd) -> Predictions:
        """Yield (index, given, evidence) of this rank's shard."""
        given = torch.tensor(end.store.given())
        for index in end.shard():
            rows = index.to(self.evidence.device)
            yield index, given[index], self.usable(self.evidence[rows], rows)

    def end_epoch(self) -> None:
        """Finish an epoch."""
        if isinstance(self.evidence, MappedEvidence):
            self.evidence.end_epoch()

    def record(self) -> dict[str, float]:
        """Return ``correcting``: 1 if the epoch learned from refined labels, 0 if it came before the start."""
        return {"correcting": float(self.correcting)}

    def memory(self) -> dict[str, Tensor]:
        """Return the evidence, or the tensors that hold it."""
        if isinstance(self.evidence, Tensor):
            return {"evidence": self.evidence}
        return {f"evidence.{name}": tensor for name, tensor in self.evidence.tensors().items()}

    def identity(self) -> dict[str, Any]:
        """Return plain values that a run and the run that resumes it must share."""
        values = super().identity()
        if values.get("storage") == "auto":  # as it was before there was a choice: older checkpoints say nothing
            del values["storage"]
        return values

    def state_dict(self) -> dict[str, Any]:
        """Return the evidence, or what holds it."""
        if not isinstance(self.evidence, MappedEvidence):
            return super().state_dict()
        return {**super().state_dict(), "evidence": self.evidence.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore, after :meth:`start`, what :meth:`state_dict` returned."""
        super().load_state_dict(state)
        if isinstance(self.evidence, MappedEvidence):
            self.evidence.load_state(state["evidence"])


class _Usable:
    """The evidence of a correction as trust and targets use it, some rows at a time."""

    def __init__(self, correction: EvidenceInTraining) -> None:
        self._correction = correction
        self.shape = correction.evidence.shape

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        return self._correction.usable_blocks()
