"""Correction at the ends of cycles: the averaged model predicts, and the predictions are blended in (SCHP, Eq. 7)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from noisycorrect.correction.base import Correction, CycleEnd, checked_keep, publish
from noisycorrect.labels.given import ClassLabels
from noisycorrect.labels.refine import PIXEL_TRUST, class_balanced_trust
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import unknown_name
from noisycorrect.task import Metrics

CYCLE_TRUSTS = ("paper", "class-balanced", *PIXEL_TRUST)


class AtCycleEnd(Correction):
    """Evidence from one prediction a cycle, of the whole training set in its canonical frame (SCHP, Eq. 7).

    The first cycle, the initial phase, publishes nothing: the next one still trains on the given labels (Algorithm 1).
    The first blend is half the given label, so a label's most probable class can change from the second cycle on.

    Parameters
    ----------
    momentum : float, optional
        Weight of the past in an exponential average of the predictions, in [0, 1). Default: their mean, as in Eq. 7.
    trust : {"paper", "class-balanced", "agreement", "confident"}
        Weight on the given labels after m cycles: 1/(m+1) (Eq. 7); no less for a class that the model misses
        (:func:`~noisycorrect.labels.refine.class_balanced_trust`), so that rare classes are not averaged away; for each
        label, or pixel, the evidence's probability of it (:func:`~noisycorrect.labels.trust.agreement_trust`); or all,
        unless the evidence is sure of another class (:func:`~noisycorrect.labels.trust.confident_trust`).
    keep : int or None
        Generations of labels that stay on disk, at least 2; None keeps all.

    Raises
    ------
    InvalidInputError
        If an argument is out of range or unknown.

    Examples
    --------
    >>> AtCycleEnd().identity()
    {'name': 'AtCycleEnd', 'evidence_rule': 'mean', 'trust': 'paper'}
    """

    predicts = True

    def __init__(self, *, momentum: float | None = None, trust: str = "paper", keep: int | None = 2) -> None:
        if trust not in CYCLE_TRUSTS:
            raise unknown_name("trust", trust, CYCLE_TRUSTS)
        fix = "0.7 is common; None is the mean of Eq. 7"
        self.momentum = None if momentum is None else finite_number("momentum", momentum, above=0, below=1, fix=fix)
        self.evidence_rule = "mean" if momentum is None else "exponential"
        self.trust = trust
        self.keep = checked_keep(keep)

    def at_cycle_end(self, end: CycleEnd) -> Metrics | None:
        """Predict every training sample, and publish the next generation; nothing after the initial phase."""
        if end.cycle == 0:
            return None
        number = end.store.generation + 1
        with end.store.new_generation(trust=self._rule(end)) as writer:
            metrics = publish(writer, end.predictions(), end.task.metrics())
            if self.trust == "class-balanced":
                writer.class_trust = class_balanced_trust(number, metrics.class_recall())
            if self.trust in PIXEL_TRUST and end.store.kind != ClassLabels.kind:
                writer.pixel_trust = self.trust
        return metrics

    def _rule(self, end: CycleEnd) -> Callable[[Tensor, Tensor, int], Tensor] | None:
        if self.trust not in PIXEL_TRUST:
            return None
        masks = end.store.kind != ClassLabels.kind
        rule = PIXEL_TRUST[self.trust]
        return lambda given, evidence, _: given.float() if masks else rule(given, evidence)
