"""Noise rate and transition matrix: what is estimated, and what the interval covers."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.findings import NoiseCounts
from noisycorrect.review.confident_learning import check_sums, estimated_noise_matrix, paired
from noisycorrect.review.likelihood import fit_transition, transition_resamples
from noisycorrect.review.resampling import exact_ends, stratified, tails
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError

PAIRS_NAMED = 5
CLEAN_RATE, CLEAN_HIGH, UNDECIDED_WIDTH = 0.02, 0.03, 0.2  # a network errs in a per cent or two by itself
UNSURE = 0.7  # mean certainty of the evidence below which it says little of the labels
_SEED = 0  # an estimate is a figure of the run: asked twice, it is the same


@dataclass(frozen=True)
class NoiseEstimate:
    """Estimated label noise; see :func:`estimate_noise` for what the figures mean and cover.

    Attributes
    ----------
    rate : float
        Share of wrong given labels, in [0, 1].
    interval : tuple of float
        Low and high end for the rate.
    level : float
        Nominal level of the intervals.
    transition : ndarray, shape (K, K), float64
        ``[true, given]``, rows summing to 1; a class that no sample is estimated to have keeps its label.
    transition_interval : ndarray, shape (2, K, K), float64
        Low and high end for each entry, for sampling error alone; 0 to 1 where there is no sample.
    class_rates : ndarray, shape (K,), float64
        One minus the diagonal of `transition`: share of wrong labels among the samples of each true class.
    most_confused : tuple of (int, int, float)
        True class, given class, share of the true class so labelled; the pairs with the most labels first, at most 5.
    readings : dict of str to float
        The rate by each way to read the evidence.
    contradicted, labels : int
        How many given labels (of masks: pixels, at the resolution of the evidence) are not the evidence's most probable
        class, and how many there are.
    unit : str
        What was counted: ``"labels"``, or their parts (``"pixels"``).
    certainty : float
        Mean probability of the evidence's most probable class. Where that of a run's evidence is low the network has
        not learnt the classes, and what it contradicts says more of it than of the labels: the rate is then too high.
    held_out : bool
        Whether the evidence came from models that had not seen the labels: the rate is then the reading by likelihood.
    names : tuple of str
        What the verdict calls the K classes unless told otherwise; empty for "class 0" and so on.
    """

    rate: float
    interval: tuple[float, float]
    level: float
    transition: np.ndarray
    transition_interval: np.ndarray
    class_rates: np.ndarray
    most_confused: tuple[tuple[int, int, float], ...]
    readings: dict[str, float]
    contradicted: int
    labels: int
    unit: str = "labels"
    certainty: float = 1.0
    held_out: bool = False
    names: tuple[str, ...] = ()

    def verdict(self, class_names: Sequence[str] | None = None) -> str:
        """Return the estimate in one paragraph.

        Parameters
        ----------
        class_names : sequence of str, optional
            K names; default: :attr:`names`, or "class 0" and so on.

        Raises
        ------
        InvalidInputError
            If there are not K names.

        Examples
        --------
        >>> evidence = np.eye(2)[[0] * 60 + [1] * 40]
        >>> print(estimate_noise([0] * 50 + [1] * 50, evidence).verdict(["cat", "dog"]))
        About 10 % (4 to 16 %) of your labels disagree with the evidence. Most confused: cat labelled dog (17 % of cat).
        Look at those 10 labels first.
        """
        names = _checked_names(class_names or self.names or None, len(self.transition))
        rate, low, high = (_percent(value) for value in (self.rate, *self.interval))
        what = "are estimated to be wrong" if self.held_out else "disagree with the evidence"
        sentences = [f"About {rate} % ({low} to {high} %) of your {self.unit} {what}."]
        pairs = [
            f"{names[true]} labelled {names[given]} ({_percent(share)} % of {names[true]})"
            for true, given, share in self.most_confused[:3]
        ]
        unsure = self.certainty < UNSURE and not self.held_out
        clean = self.rate <= CLEAN_RATE and self.interval[1] <= CLEAN_HIGH
        if pairs and not clean:
            sentences.append(f"Most confused: {', '.join(pairs)}.")
        if unsure:
            sentences.append(
                f"But the evidence is unsure of itself (mean certainty {_percent(self.certainty)} %): the network has"
                " not learnt the classes well, and the rate is too high. Train for more epochs, or a better network."
            )
        elif self.interval[1] - self.interval[0] > UNDECIDED_WIDTH:
            sentences.append(
                "The evidence is undecided, so the interval is wide: a network that memorised wrong labels agrees with "
                'them. Train with recipe="robust", or for fewer epochs.'
            )
        if clean:
            sentences.append("Your labels look clean, unless the network has memorised their errors.")
        if self.contradicted:
            where = "" if self.unit == "labels" else " (find_label_issues lists their samples)"
            sentences.append(f"Look at those {self.contradicted:,} {self.unit} first{where}.")
        return " ".join(sentences)

    def to_json(self) -> str:
        """Return all figures as JSON text.

        Examples
        --------
        >>> json.loads(estimate_noise([0, 1, 1], np.eye(2)[[0, 1, 1]]).to_json())["rate"]
        0.0
        """
        return json.dumps(asdict(self), indent=2, default=lambda array: array.tolist())


def estimate_noise(given: Any, evidence: Any, *, level: float = 0.95, held_out: bool = False) -> NoiseEstimate:
    r"""Estimate the noise of class labels from what a model says of the same samples.

    What probabilities e of a model say of the labels g depends on whether it was trained on them:

    ``contradicted``
        :math:`\frac1N \sum_i 1[g_i \ne \arg\max_k e_{ik}]`. Too high by the model's own errors, too low by the errors
        that it has memorised.
    ``expected``
        :math:`1 - \frac1N \sum_i e_{i g_i}`: the expected share of wrong labels if :math:`e_i` is the calibrated
        probability of the true class given input *and* label. Far too high for a model that predicts noisy labels.
    ``likelihood``
        :math:`1 - \frac1N \sum_i P(y_i = g_i \mid x_i, g_i)`, with T maximising
        :math:`\sum_i \log \sum_k e_{ik} T_{k g_i}` (:func:`fit_transition`). Right if :math:`e_i` is the
        calibrated probability given the *input alone*, and labels depend on the true class alone; too low if the model
        has seen the labels.

    With `held_out` the estimate is ``likelihood``, and its interval is for sampling error: it covers the true rate at
    its level as far as evidence is calibrated and noise class-conditional, and nothing else.

    Otherwise, for evidence from the training samples themselves, the estimate is ``contradicted`` (the transition
    matrix counts most probable classes), and the interval reaches from the lowest to the highest of the three readings,
    widened by their sampling error. Evidence that is sure of itself gives a narrow one; evidence that is torn between
    given and true label, as under memorisation, a wide one. It does not cover errors that the model has memorised
    entirely or makes with certainty: of those, labels and evidence alone know nothing.

    Sampling error is a bootstrap over samples, stratified by given label; counts of 0 or n get the end of the exact
    binomial interval (Clopper & Pearson 1934). It takes the samples as drawn from a population, so it is a little wide
    for the share of wrong labels in these samples.

    Parameters
    ----------
    given : array-like of int, shape (N,)
        Given labels, 0..K-1; -1 for none, which is left out.
    evidence : array-like, shape (N, K)
        Class probabilities.
    level : float, default 0.95
        Level of the intervals, in (0, 1).
    held_out : bool, default False
        Whether evidence comes from models that were not trained on the sample it is about.

    Returns
    -------
    NoiseEstimate

    Raises
    ------
    InvalidInputError
        If shapes do not match, no sample has a label, or `evidence` are no probabilities.

    Examples
    --------
    >>> found = estimate_noise([0] * 50 + [1] * 50, np.eye(2)[[0] * 60 + [1] * 40])
    >>> found.rate, found.most_confused
    (0.1, ((0, 1, 0.16666666666666666),))
    """
    level = _checked_level(level)
    labels, probs = _checked(given, evidence)
    if not held_out:
        return _in_sample(counted(labels, probs), level, "labels")
    transition, likely = fit_transition(labels, probs)
    drawn = transition_resamples(labels, probs, transition, np.random.default_rng(_SEED))
    readings = _readings(labels, probs, likely)
    contradicted = int((probs.argmax(1) != labels).sum())
    found = _held_out(likely, readings, drawn, contradicted, level)
    return replace(found, certainty=float(probs.max(1).mean()), held_out=True)


def counted(labels: np.ndarray, probs: np.ndarray, *, rates: tuple[float, ...] = ()) -> NoiseCounts:
    """Return how labels and evidence that has seen them differ, each label being a sample of its own.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,), N >= 1
        Given labels, 0..K-1.
    probs : ndarray of float64, shape (N, K)
        Evidence, in [0, 1].
    rates : tuple of float
        Rates that the interval has to reach to.

    Examples
    --------
    >>> counted(np.array([0, 1, 1]), np.eye(2)[[0, 1, 0]]).joint.tolist()
    [[1, 0], [1, 1]]
    """
    classes = probs.shape[1]
    joint = np.bincount(labels * classes + probs.argmax(1), minlength=classes**2).reshape(classes, classes)
    _, likely = fit_transition(labels, probs)
    resamples = stratified(joint, np.random.default_rng(_SEED))
    readings, certainty = _readings(labels, probs, likely), float(probs.max(1).mean())
    return NoiseCounts(joint, resamples, joint.sum(0), readings, certainty, rates)


def contradicted_rate(labels: np.ndarray, probs: np.ndarray) -> float:
    """Return the share of labels (N,) that are not the most probable class of the evidence (N, K)."""
    return float((probs.argmax(1) != labels).mean())


def _readings(labels: np.ndarray, probs: np.ndarray, likely: np.ndarray) -> dict[str, float]:
    """Return the rate by each way to read the evidence; `likely` is the joint of greatest likelihood."""
    count = len(labels)
    return {
        "contradicted": int((probs.argmax(1) != labels).sum()) / count,
        "expected": float(1 - probs[np.arange(count), labels].mean()),
        "likelihood": float(1 - likely.trace() / count),
    }


def estimate_store_noise(store: SoftLabelStore, *, level: float = 0.95) -> NoiseEstimate:
    """Estimate the noise of the given labels of a run, from its evidence.

    Class labels: :func:`estimate_noise` for evidence that has seen the labels; the interval also reaches to the rate of
    the generation before, where that is kept. Labels of many parts, such as masks: a rate of their parts. What exactly
    is counted says :meth:`LabelKind.noise <noisycorrect.labels.LabelKind.noise>` of the kind.

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
    before = store.generation - 1
    kept = before in store.generations[1:]
    earlier = functools.partial(store.evidence, generation=before) if kept else None
    return _in_sample(store.kind.noise(store.evidence, earlier), level, store.kind.parts or "labels")


def check_has_evidence(store: SoftLabelStore) -> None:
    """Raise an InvalidInputError if a store holds given labels alone."""
    if store.generation == 0:
        raise InvalidInputError(
            "evidence about the labels",
            got="generation 0: nothing was corrected",
            fix='train with a recipe that corrects, such as recipe="paper", for more epochs than its initial phase',
        )


# ---------------------------------------------------------------- the two kinds of evidence


def _in_sample(counts: NoiseCounts, level: float, unit: str) -> NoiseEstimate:
    """Return the estimate that counts most probable classes."""
    joint, readings, units = counts.joint, counts.readings, counts.units
    total, rate = float(joint.sum()), readings["contradicted"]
    rates = 1 - counts.resamples.trace(axis1=1, axis2=2) / counts.resamples.sum((1, 2))
    low, high = exact_ends(np.quantile(rates, tails(level)), rate, units.sum(), level)
    interval = min(readings.values()) - (rate - low), max(readings.values()) + (high - rate)
    transition = estimated_noise_matrix(joint)
    sums = counts.resamples.sum(1)[:, :, None]
    shape = counts.resamples.shape
    rows = np.divide(counts.resamples.swapaxes(1, 2), sums, out=np.zeros(shape), where=sums > 0)
    ends = exact_ends(np.quantile(rows, tails(level), axis=0), transition, units[:, None], level)
    contradicted = round(total - float(joint.trace()))
    found = _made(joint, transition, ends, rate, interval, level, readings, contradicted, unit)
    low, high = min(found.interval[0], *counts.rates, 1.0), max(found.interval[1], *counts.rates, 0.0)
    return replace(found, interval=(low, high), certainty=counts.certainty, names=counts.names)


def _held_out(
    joint: np.ndarray, readings: dict[str, float], drawn: tuple[float, np.ndarray], contradicted: int, level: float
) -> NoiseEstimate:
    """Return the estimate of greatest likelihood; `drawn` are standard errors of its rate and its transition."""
    from scipy.stats import norm

    reach = float(norm.ppf((1 + level) / 2))
    rate, transition = readings["likelihood"], estimated_noise_matrix(joint)
    error, errors = drawn
    units = joint.sum(0)
    spread = np.array([-reach, reach])
    low, high = exact_ends((rate + spread * error).clip(0, 1), rate, units.sum(), level)
    ends = (transition + spread[:, None, None] * errors).clip(0, 1)
    ends = exact_ends(ends, transition, units[:, None], level)
    return _made(joint, transition, ends, rate, (low, high), level, readings, contradicted, "labels")


def _made(
    joint: np.ndarray,
    transition: np.ndarray,
    ends: np.ndarray,
    rate: float,
    interval: tuple[float, float],
    level: float,
    readings: dict[str, float],
    contradicted: int,
    unit: str,
) -> NoiseEstimate:
    return NoiseEstimate(
        rate=rate,
        interval=(max(0.0, float(interval[0])), min(1.0, float(interval[1]))),
        level=level,
        transition=transition,
        transition_interval=ends,
        class_rates=1 - transition.diagonal(),
        most_confused=_most_confused(joint, transition),
        readings=readings,
        contradicted=contradicted,
        labels=round(float(joint.sum())),
        unit=unit,
    )


def _most_confused(joint: np.ndarray, transition: np.ndarray) -> tuple[tuple[int, int, float], ...]:
    wrong = joint.T.astype(np.float64)  # [true, given]
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS_NAMED]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    # Of a fit, cells that are all but empty are no pairs.
    return tuple((int(t), int(g), float(transition[t, g])) for t, g in pairs if wrong[t, g] >= 0.5)


# ---------------------------------------------------------------- checks and words


def _checked(given: Any, evidence: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (n,), int64, and probabilities (n, K), float64, of the labelled samples."""
    labels, probs = paired(given, evidence, "evidence")
    labels, probs = labels[labels >= 0], probs[labels >= 0]
    if not len(labels):
        raise InvalidInputError("given labels", got="none", fix="pass labelled samples")
    check_sums(probs)
    return labels, probs


def _checked_level(level: float) -> float:
    return finite_number("level", level, above=1e-9, below=1, fix="0.95 is common")


def _checked_names(names: Sequence[str] | None, classes: int) -> Sequence[str]:
    if names is None:
        return [f"class {number}" for number in range(classes)]
    if isinstance(names, str) or len(names) != classes:
        raise InvalidInputError(f"{classes} class names", got=repr(names), fix="pass one name a class")
    return names


def _percent(share: float) -> str:
    """Return a share in per cent, with a decimal below 1 %."""
    percent = 100 * share
    return f"{percent:.1f}" if 0 < percent < 0.95 else f"{percent:.0f}"
