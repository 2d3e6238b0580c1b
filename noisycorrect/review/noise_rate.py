"""Noise rate and transition matrix: what is estimated, and what the interval covers."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.findings import NoiseCounts
from noisycorrect.review.confident_learning import estimated_noise_matrix, paired
from noisycorrect.review.counting import Beside, counted, likely_rate, set_aside, surest_by_class
from noisycorrect.review.intervals import binomial_ends, normal_ends
from noisycorrect.review.likelihood import fit_transition, transition_errors
from noisycorrect.review.noise_estimate import NoiseEstimate
from noisycorrect.review.pairs import DENSE_CLASSES, Rows
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError

PAIRS_NAMED = 5
UNDECIDED_WIDTH = 0.3
UNSURE = 0.5  # mean certainty below which the most probable class is less likely than not
MEMORISED = 0.05  # share of contradicted labels up to which a network may have learnt all labels by heart
LEARNT_BY_HEART = 0.2  # share of the wrong labels that evidence which has seen them may agree with
SURE_ERRORS = 0.2  # share of the contradictions that a model is surest of that may be errors of its own
_SEED = 0  # an estimate is a figure of the run: asked twice, it is the same


def estimate_noise(given: Any, evidence: Any, *, level: float = 0.95, held_out: Any = False) -> NoiseEstimate:
    r"""Estimate the noise of class labels from what a model says of the same samples.

    What probabilities e of a model say of the labels g depends on whether it was trained on them:

    ``contradicted`` (c)
        :math:`\frac1N \sum_i 1[g_i \ne \arg\max_k e_{ik}]`. Too high by the model's own errors, too low by the errors
        that it has memorised.
    ``expected`` (x)
        :math:`1 - \frac1N \sum_i e_{i g_i}`: the expected share of wrong labels if :math:`e_i` is the calibrated
        probability of the true class given input *and* label. Far too high for a model that predicts noisy labels.
    ``surest`` (s)
        c among the fifth of the labels of which the evidence is surest. A model is right of the easiest samples, so
        what it contradicts there is wrong; too high where no sample is easy, too low where the evidence has seen the
        labels, or is surest of a class with few errors.
    ``likelihood``
        :math:`1 - \frac1N \sum_i P(y_i = g_i \mid x_i, g_i)`, with T maximising
        :math:`\sum_i \log \sum_k e_{ik} T_{k g_i}` (:func:`fit_transition`), up to 100 classes. Right if :math:`e_i` is
        the calibrated probability of the *true* class given the input alone, and labels depend on the true class alone.

    **The rate** is `contradicted` for evidence from the training samples themselves. Held-out evidence is that of a
    model which predicts noisy labels, so its rate is ``surest_by_class``, s of each most probable class
    (:func:`~noisycorrect.review.counting.surest_by_class`), and its transition that of greatest likelihood.

    **The interval** is (docs/issues.md has how often it covers)

    .. math::

        \Bigl[\; 0.8\, \underline{s} - \max(c - s, 0), \;\; \overline{h} \;\Bigr], \qquad
        h = \begin{cases} c & \text{held out} \\ \max(c, s, \min(x, 2c - s)) / 0.8 & \text{else} \end{cases}

    where lines are ends of the exact binomial interval (Clopper & Pearson 1934). A model that errs on hard samples
    contradicts more of them than of easy ones, so the low end goes on from all labels to the surest and as far again;
    a fifth of what is contradicted even there may be the model's sure errors. At the high end every contradicted label
    is wrong, and of evidence that has seen the labels some that it agrees with: as many as it doubts, or as are lacking
    among the surest (or, if those are contradicted most, elsewhere), and a fifth of the wrong ones, which it may have
    learnt by heart. The constants were chosen on public tables.

    **It cannot tell** (`decided` is False) where the interval is wider than 0.3, and where that of evidence which has
    seen the labels begins at 0: what a network is surest of it may have learnt by heart; or where such evidence is, by
    its mean certainty, less than even sure. If it contradicts at most 5 % of the labels (`memorised`), it may have
    learnt all by heart, and the interval is 0 to chance, 1 - 1/K.
    Labels of classes that the evidence hardly knows (`starved`) are judged neither right nor wrong, and widen the
    interval by their share.

    Memory is linear in samples and classes beyond 100 of these, where the transition is sparse.

    Parameters
    ----------
    given : array-like of int, shape (N,)
        Given labels, 0..K-1; -1 for none, which is left out.
    evidence : array-like, shape (N, K)
        Class probabilities.
    level : float, default 0.95
        Level of the intervals, in (0, 1).
    held_out : bool, or array-like of bool, shape (N,), default False
        Whether evidence comes from models that were not trained on the label it is about. If only some does, the
        estimate is made of that, and of it alone; `contradicted` and `labels` still count all.

    Returns
    -------
    NoiseEstimate

    Raises
    ------
    InvalidInputError
        If shapes do not match, no sample has a label (or none that is held out), or `evidence` are no probabilities.

    Examples
    --------
    >>> found = estimate_noise([0] * 50 + [1] * 50, np.eye(2)[[0] * 60 + [1] * 40])
    >>> found.rate, found.most_confused
    (0.1, ((0, 1, 0.16666666666666666),))
    """
    level = _checked_level(level)
    labels, values = paired(given, evidence, "evidence", dtype=None)
    probs = Rows(lambda rows: values[rows], np.arange(len(labels)), values.shape[1])
    return _estimated_of(labels, probs, _checked_held_out(held_out, len(labels)), level, some=bool(np.ndim(held_out)))


def _estimated_of(labels: np.ndarray, probs: Rows, unseen: np.ndarray, level: float, *, some: bool) -> NoiseEstimate:
    """Return the estimate of :func:`estimate_noise`; `some` says that it is known label by label what is held out."""
    known = labels >= 0
    if not known.any():
        raise InvalidInputError("given labels", got="none", fix="pass labelled samples")
    if not known.all():
        labels, probs, unseen = labels[known], probs.of(known), unseen[known]
    found = Beside.of(labels, probs)
    if not unseen.any():
        if some:
            raise InvalidInputError("a held-out label", got="none", fix="pass held_out=False")
        likelihood = likely_rate(labels, lambda rows: probs[rows], found.classes)
        return _estimated(counted(found, likelihood), level, "labels")
    if unseen.all():
        return _held_out(found, probs, level)
    estimate = _held_out(found[unseen], probs.of(unseen), level)
    judged = ~np.isin(found.given, [row[0] for row in estimate.starved])
    return replace(estimate, contradicted=int(found.contradicted[judged].sum()), labels=len(found))


def estimate_store_noise(store: SoftLabelStore, *, level: float = 0.95) -> NoiseEstimate:
    """Estimate the noise of the given labels of a run, from its evidence.

    Class labels: :func:`estimate_noise` for evidence that has seen the labels, or for as much of it as has not; the
    interval of the former also reaches to the rate of the generation before, where that is kept, and to what the run's
    correction expected by other means (:class:`~noisycorrect.NeighborCorrection`: by the neighbours' votes). Labels of
    many parts, such as masks: a rate of their parts, with an interval from the lowest to the highest reading. What
    exactly is counted says :meth:`LabelKind.noise <noisycorrect.labels.LabelKind.noise>` of the kind.

    Parameters
    ----------
    store : SoftLabelStore
        Labels with at least one generation of evidence.
    level : float, default 0.95
        Level of the intervals, in (0, 1).

    Raises
    ------
    InvalidInputError
        If the store holds no evidence yet, or no sample has a label.

    Examples
    --------
    >>> import torch
    >>> store = SoftLabelStore.create(None, [0, 1, 1, 0], 2)
    >>> with store.new_generation() as writer:
    ...     writer.write(range(4), torch.eye(2)[[0, 1, 1, 1]])
    >>> estimate_store_noise(store).rate
    0.25
    """
    level = _checked_level(level)
    check_has_evidence(store)
    if not store.labeled.any():
        raise InvalidInputError("given labels", got="none", fix="pass labelled samples")
    given, unseen = store.kind.class_indices, store.held_out()
    if given is not None and unseen[store.labeled].any():
        probs = Rows(lambda rows: store.evidence(rows).numpy(), np.arange(len(given)), store.num_classes)
        return _estimated_of(given, probs, unseen, level, some=True)
    before = store.generation - 1
    kept = before in store.generations[1:]
    earlier = functools.partial(store.evidence, generation=before) if kept else None
    estimate = _estimated(store.kind.noise(store.evidence, earlier), level, store.kind.parts or "labels")
    elsewhere = store.expected_rate()
    if elsewhere is None:
        return estimate
    low, high = min(estimate.interval[0], elsewhere), max(estimate.interval[1], elsewhere)
    decided = estimate.decided and high - low <= UNDECIDED_WIDTH
    readings = {**estimate.readings, "neighbors": elsewhere}
    return replace(estimate, interval=(low, high), readings=readings, decided=decided)


def check_has_evidence(store: SoftLabelStore) -> None:
    """Raise an InvalidInputError if a store holds given labels alone."""
    if store.generation == 0:
        raise InvalidInputError(
            "evidence about the labels",
            got="generation 0: nothing was corrected",
            fix='train with a recipe that corrects, such as recipe="paper", for more epochs than its initial phase',
        )


# ---------------------------------------------------------------- rate and interval


@dataclass(frozen=True)
class _Judged:
    """Counts without the labels of starved classes, of which nothing is known.

    Attributes
    ----------
    joint : array, shape (K, K)
        [given, most probable class].
    starved : ndarray of bool, shape (K,)
        Which classes these are.
    share : float
        Of the labels that are judged.
    """

    joint: Any
    starved: np.ndarray
    share: float

    @classmethod
    def of(cls, joint: Any) -> _Judged:
        starved = set_aside(joint)
        kept = joint * ~starved[:, None] if isinstance(joint, np.ndarray) else joint.multiply(~starved[:, None]).tocsr()
        return cls(kept, starved, float(kept.sum() / joint.sum()))

    def told(self, joint: Any) -> tuple[tuple[int, int, int], ...]:
        """Return class, labels, predictions of each starved class."""
        labelled, predicted = np.asarray(joint.sum(1)), np.asarray(joint.sum(0))
        return tuple((int(k), int(labelled[k]), int(predicted[k])) for k in np.flatnonzero(self.starved))

    def widened(self, low: float, high: float) -> tuple[float, float]:
        """Return an interval for the judged labels as one for all: of the others none or all may be wrong."""
        return max(0.0, low * self.share), min(1.0, high * self.share + 1 - self.share)


def rate_interval(
    contradicted: float, surest: tuple[int, int], labels: int, level: float, expected: float | None = None
) -> tuple[float, float]:
    """Return the interval of :func:`estimate_noise` for the share of wrong labels.

    Parameters
    ----------
    contradicted : float
        c, the share of labels that the evidence contradicts.
    surest : tuple of int
        How many it contradicts of those that it is surest of, and how many these are.
    labels : int
        N.
    level : float
        Of the interval, in (0, 1).
    expected : float, optional
        x, the expected share, of evidence that has seen the labels.

    Examples
    --------
    >>> tuple(round(end, 3) for end in rate_interval(0.2, (30, 200), 1000, 0.95))
    (0.033, 0.226)
    """
    sure = surest[0] / max(1, surest[1])
    low = (1 - SURE_ERRORS) * binomial_ends(*surest, level)[0] - max(contradicted - sure, 0)
    highest = contradicted
    if expected is not None:
        highest = min(1.0, max(contradicted, sure, min(expected, 2 * contradicted - sure)) / (1 - LEARNT_BY_HEART))
    high = binomial_ends(highest * labels, labels, level)[1]
    return max(0.0, min(float(low), contradicted)), float(high)


def _estimated(counts: NoiseCounts, level: float, unit: str) -> NoiseEstimate:
    """Return the estimate that counts most probable classes of evidence that has seen the labels."""
    judged = _Judged.of(counts.joint)
    total = float(judged.joint.sum())
    rate = (total - float(judged.joint.trace())) / total
    readings = {"contradicted": rate, "expected": 1 - float(counts.own[~judged.starved].sum()) / total}
    if counts.surest is not None:
        readings["surest"] = counts.surest[0] / counts.surest[1]
        low, high = rate_interval(rate, counts.surest, round(total), level, readings["expected"])
    else:
        assert counts.errors is not None
        shares = [min(readings.values()), max(readings.values())]
        ends = normal_ends(shares, counts.errors[0], counts.units.sum(), level)
        low, high = float(ends[0, 0]), float(ends[1, 1])
    if counts.likelihood is not None:
        readings["likelihood"] = counts.likelihood
    low, high = min(low, *counts.rates, 1.0), max(high, *counts.rates, 0.0)
    memorised = rate <= MEMORISED
    if memorised:
        low, high = 0.0, max(high, 1 - 1 / len(counts.own))
    found = _made(counts, judged, level, rate, judged.widened(low, high), readings, unit)
    decided = found.decided and low > 0 and counts.certainty >= UNSURE
    return replace(found, memorised=memorised, decided=decided)


def _held_out(found: Beside, probs: Rows, level: float) -> NoiseEstimate:
    """Return the estimate of evidence that has not seen the labels."""
    counts = counted(found)
    judged = _Judged.of(counts.joint)
    kept = found[~judged.starved[found.given]]
    assert counts.surest is not None
    contradicted = float(kept.contradicted.mean())
    low, high = rate_interval(contradicted, counts.surest, len(kept), level)
    by_class = surest_by_class(kept)
    readings = {
        "contradicted": contradicted,
        "expected": float(1 - kept.own.mean()),
        "surest": counts.surest[0] / counts.surest[1],
        "surest_by_class": by_class,
    }
    rate = min(max(by_class, low), high)
    estimate = _made(counts, judged, level, rate, judged.widened(low, high), readings, "labels")
    if found.classes <= DENSE_CLASSES:
        estimate = _with_likely_transition(estimate, found.given, probs, judged.starved)
    return replace(estimate, held_out=True)


def _with_likely_transition(
    estimate: NoiseEstimate, labels: np.ndarray, probs: Rows, starved: np.ndarray
) -> NoiseEstimate:
    """Return an estimate with the transition of greatest likelihood in place of what was counted."""
    transition, joint = fit_transition(labels, probs)
    errors = transition_errors(labels, probs, transition, np.random.default_rng(_SEED))
    ends = normal_ends(transition, errors, joint.sum(0)[:, None], estimate.level)
    transition[starved] = np.eye(len(transition))[starved]
    ends[:, starved] = np.array([0.0, 1.0])[:, None, None]
    empty = starved | (joint.sum(0) < 0.5)
    return replace(
        estimate,
        transition=transition,
        transition_interval=ends,
        class_rates=np.where(empty, np.nan, 1 - transition.diagonal()),
        class_interval=1 - ends.diagonal(axis1=1, axis2=2)[::-1],
        most_confused=_most_confused(joint * ~starved[:, None], transition),
        readings={**estimate.readings, "likelihood": float(1 - joint.trace() / joint.sum())},
    )


# ---------------------------------------------------------------- transition


def _made(
    counts: NoiseCounts,
    judged: _Judged,
    level: float,
    rate: float,
    interval: tuple[float, float],
    readings: dict[str, float],
    unit: str,
) -> NoiseEstimate:
    joint = judged.joint
    transition, ends = _transition(counts, judged, level)
    columns = np.asarray(joint.sum(0), np.float64)
    wrong = columns - joint.diagonal()
    known = ~judged.starved & (columns > 0)
    if counts.errors is None:
        class_ends = binomial_ends(wrong, columns, level)
    else:
        shares = wrong / np.maximum(columns, 1)
        class_ends = normal_ends(shares, counts.errors[1].diagonal(), counts.units, level)
    return NoiseEstimate(
        rate=rate,
        interval=interval,
        level=level,
        transition=transition,
        transition_interval=ends,
        class_rates=np.where(known, wrong / np.maximum(columns, 1), np.nan),
        class_interval=np.where(known, class_ends, np.array([[0.0], [1.0]])),
        most_confused=_most_confused(joint, transition),
        readings=readings,
        contradicted=round(float(wrong.sum())),
        labels=round(float(counts.joint.sum())),
        unit=unit,
        certainty=counts.certainty,
        names=counts.names,
        starved=judged.told(counts.joint),
        absent=() if unit == "labels" else tuple(np.flatnonzero(np.asarray(counts.joint.sum(1)) == 0).tolist()),
        decided=interval[1] - interval[0] <= UNDECIDED_WIDTH,
    )


def _transition(counts: NoiseCounts, judged: _Judged, level: float) -> tuple[Any, Any]:
    """Return what is labelled how among the samples of each most probable class, and its ends."""
    if not isinstance(judged.joint, np.ndarray):
        return _sparse_transition(judged, level)
    joint, starved = judged.joint, judged.starved
    transition = estimated_noise_matrix(joint)
    transition[starved] = np.eye(len(joint))[starved]
    columns = joint.sum(0)[:, None]
    if counts.errors is None:
        ends = binomial_ends(joint.T, columns, level)
    else:
        ends = normal_ends(transition, counts.errors[1], counts.units[:, None], level)
    empty = starved | (columns[:, 0] == 0)
    ends[:, empty] = np.array([0.0, 1.0])[:, None, None]
    return transition, ends


def _sparse_transition(judged: _Judged, level: float) -> tuple[Any, Any]:
    from scipy.sparse import csr_array, diags_array

    joint = judged.joint.tocoo()
    columns = np.asarray(joint.sum(0), np.float64)
    kept = ~judged.starved[joint.col] & (joint.data > 0)
    places = joint.col[kept], joint.row[kept]  # [true, given]
    counts, totals = joint.data[kept].astype(np.float64), columns[joint.col[kept]]
    empty = (judged.starved | (columns == 0)).astype(np.float64)
    alone = diags_array(empty, format="csr")
    low, high = (csr_array((end, places), shape=joint.shape) for end in binomial_ends(counts, totals, level))
    transition = csr_array((counts / totals, places), shape=joint.shape) + alone
    return transition, (low, high + alone)


def _most_confused(joint: Any, transition: Any) -> tuple[tuple[int, int, float], ...]:
    """Return the pairs [given, true] of most labels off the diagonal."""
    if isinstance(joint, np.ndarray):
        true, given = np.nonzero(joint.T)
        counts = joint.T[true, given]
    else:
        cells = joint.tocoo()
        true, given, counts = cells.col, cells.row, cells.data
    # Of a fit, cells that are all but empty are no pairs; of a starved class nothing is known, and its shares are 0.
    shares = np.asarray(transition[true, given]).ravel()
    off = np.flatnonzero((true != given) & (counts >= 0.5) & (shares > 0))
    order = off[np.lexsort((given[off], true[off], -counts[off].astype(np.float64)))][:PAIRS_NAMED]
    return tuple((int(true[i]), int(given[i]), float(shares[i])) for i in order)


# ---------------------------------------------------------------- checks


def _checked_held_out(held_out: Any, count: int) -> np.ndarray:
    unseen = np.asarray(held_out)
    if unseen.dtype != bool or unseen.shape not in ((), (count,)):
        raise InvalidInputError(
            f"held_out to be True, False or bool ({count},)",
            got=f"{unseen.dtype} of shape {unseen.shape}",
            fix="pass which labels the models that made the evidence had not seen",
        )
    return np.broadcast_to(unseen, (count,))


def _checked_level(level: float) -> float:
    return finite_number("level", level, above=1e-9, below=1, fix="0.95 is common")
