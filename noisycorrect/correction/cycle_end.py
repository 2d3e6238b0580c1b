"""Correction at the ends of cycles: the averaged model predicts, and the predictions are blended in (SCHP, Eq. 7)."""

from __future__ import annotations

from torch import Tensor

from noisycorrect.correction.base import Correction, CycleEnd, checked_keep, publish
from noisycorrect.labels.rules import CYCLE_RULES, RULES, Rule
from noisycorrect.labels.trust import Trust
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import unknown_name
from noisycorrect.task import Metrics


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
        (:func:`~noisycorrect.labels.rules.class_balanced_trust`), so that rare classes are not averaged away; for each
        label, or pixel, the evidence's probability of it (:func:`~noisycorrect.labels.rules.agreement_trust`); or all,
        unless the evidence is sure of another class (:func:`~noisycorrect.labels.rules.confident_trust`).
    coupled : bool
        Whether a label that is finer than its evidence, a mask, keeps its own detail where the two agree at the
        resolution of the evidence (:func:`~noisycorrect_seg.geometry.coupling.coupled`), so that a right label cannot
        be blurred. Default: the paper's plain average with resampled evidence.
    keep : int or None
        Generations of labels that stay on disk, at least 2; None keeps all.

    Raises
    ------
    InvalidInputError
        If an argument is out of range or unknown.

    Examples
    --------
    >>> AtCycleEnd().identity()
    {'name': 'AtCycleEnd', 'evidence_rule': 'mean', 'trust': 'paper', 'coupled': False}
    """

    predicts = True

    def __init__(
        self, *, momentum: float | None = None, trust: str = "paper", coupled: bool = False, keep: int | None = 2
    ) -> None:
        if trust not in CYCLE_RULES:
            raise unknown_name("trust", trust, CYCLE_RULES)
        fix = "0.7 is common; None is the mean of Eq. 7"
        self.momentum = None if momentum is None else finite_number("momentum", momentum, above=0, below=1, fix=fix)
        self.evidence_rule = "mean" if momentum is None else "exponential"
        self.trust = trust
        self.coupled = bool(coupled)
        self.keep = checked_keep(keep)

    def at_cycle_end(self, end: CycleEnd) -> Metrics | None:
        """Predict every training sample, and publish the next generation; nothing after the initial phase."""
        if end.cycle == 0:
            return None
        number, rule = end.store.generation + 1, RULES[self.trust]
        # What a label consists of is judged part by part when labels are composed, a label that is one class now.
        in_parts = rule.judge is not None and end.store.kind.parts is not None
        judge = None if rule.judge is None else _whole if in_parts else self._judge
        with end.store.new_generation(trust=judge) as writer:
            metrics = publish(writer, end.predictions(), end.task.metrics())
            writer.coupled = self.coupled
            if rule.floor is not None:
                writer.floor = rule.floor(number, metrics.class_recall())
            if in_parts:
                writer.rule = self.trust
        return metrics

    def _judge(self, given: Tensor, evidence: Tensor, generation: int) -> Tensor:
        return Trust((given >= 0).float(), rule=Rule(self.trust)).of(given, evidence)


def _whole(given: Tensor, evidence: Tensor, generation: int) -> Tensor:
    return given.float()
