"""What a noise estimate says, in figures and in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from noisycorrect.support.errors import InvalidInputError

CLEAN_HIGH = 0.05  # labels of which no more than these are wrong, by the interval, are called clean
PAIRS_TOLD, NAMES_TOLD = 3, 5


@dataclass(frozen=True)
class NoiseEstimate:
    """Estimated label noise; see :func:`~noisycorrect.review.noise_rate.estimate_noise` for what the figures cover.

    Attributes
    ----------
    rate : float
        Share of wrong labels, in [0, 1], among those of classes that are not `starved`.
    interval : tuple of float
        Low and high end for the share of wrong labels among all.
    level : float
        Nominal level of the intervals.
    transition : ndarray, shape (K, K), float64
        ``[true, given]``, rows summing to 1; a class that no sample is estimated to have keeps its label. Of more than
        100 classes a ``scipy.sparse.csr_array``.
    transition_interval : ndarray, shape (2, K, K), float64
        Low and high end for each entry, for sampling error alone; 0 to 1 where there is no sample. Of more than 100
        classes a pair of ``csr_array`` with the entries that `transition` has.
    class_rates : ndarray, shape (K,), float64
        Share of wrong labels among the samples of each true class; NaN where it is unknown: of a class that no sample
        is estimated to have, or that is `starved`.
    class_interval : ndarray, shape (2, K), float64
        Low and high ends for them, for sampling error alone; 0 to 1 where there is no sample.
    most_confused : tuple of (int, int, float)
        True class, given class, share of the true class so labelled; the pairs with the most labels first, at most 5.
    readings : dict of str to float
        The rate by each way to read the evidence.
    contradicted, labels : int
        How many given labels (of masks: pixels, at the resolution of the evidence) are not the evidence's most probable
        class, those of starved classes left out, and how many labels there are.
    unit : str
        What was counted: ``"labels"``, or their parts (``"pixels"``).
    certainty : float
        Mean probability of the evidence's most probable class. Where that of a run's evidence is low the network has
        not learnt the classes, and what it contradicts says more of it than of the labels.
    held_out : bool
        Whether the rate is of evidence from models that had not seen the labels.
    names : tuple of str
        What the verdict calls the K classes unless told otherwise; empty for "class 0" and so on.
    starved : tuple of (int, int, int)
        Classes that the evidence hardly knows: class, labels that name it, samples of which it is the most probable
        class: none, or at most a fifth as many. How many of these labels are wrong is unknown.
    memorised : bool
        Whether the evidence comes from models that were trained on the labels and agrees with nearly all: they may have
        learnt them by heart, and the evidence cannot tell.
    decided : bool
        Whether the evidence tells the rate. If not, the interval is wide, and :attr:`rate` is a reading, no estimate.
    absent : tuple of int
        Of labels of many parts: classes that no part is labelled with.
    """

    rate: float
    interval: tuple[float, float]
    level: float
    transition: Any
    transition_interval: Any
    class_rates: np.ndarray
    class_interval: np.ndarray
    most_confused: tuple[tuple[int, int, float], ...]
    readings: dict[str, float]
    contradicted: int
    labels: int
    unit: str = "labels"
    certainty: float = 1.0
    held_out: bool = False
    names: tuple[str, ...] = ()
    starved: tuple[tuple[int, int, int], ...] = ()
    memorised: bool = False
    decided: bool = True
    absent: tuple[int, ...] = ()

    def verdict(self, class_names: Sequence[str] | None = None) -> str:
        """Return the estimate in one paragraph: classes of which nothing is known, the rate, what is confused.

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
        >>> from noisycorrect.review.noise_rate import estimate_noise
        >>> evidence = np.eye(2)[[0] * 600 + [1] * 400]
        >>> print(estimate_noise([0] * 500 + [1] * 500, evidence, held_out=True).verdict(["cat", "dog"]))
        About 10 % (7 to 12 %) of your labels are estimated to be wrong. Most confused: cat labelled dog (17 % of cat).
        Look at those 100 labels first.
        """
        names = _checked_names(class_names or self.names or None, len(self.class_rates))
        clean = self.decided and self.held_out and self.interval[1] <= CLEAN_HIGH
        sentences = [*self._absent(names), *self._starved(names), *self._rate(clean)]
        pairs = [
            f"{names[true]} labelled {names[given]} ({_percent(share)} % of {names[true]})"
            for true, given, share in self.most_confused[:PAIRS_TOLD]
        ]
        if pairs and not clean:
            sentences.append(f"{'Most confused' if self.decided else 'Most often in dispute'}: {', '.join(pairs)}.")
        if self.contradicted:
            where = "" if self.unit == "labels" else " (find_label_issues lists their samples)"
            which = f"those {self.contradicted:,} {self.unit}" if self.contradicted > 1 else f"that {self.unit[:-1]}"
            first = f"Look at {which} first{where}"
            sentences.append(f"{first}." if self.decided else f"{first}, those of least label quality before others.")
        return " ".join(sentences)

    def _absent(self, names: Sequence[str]) -> list[str]:
        """Return a sentence on the classes that no part of a label has."""
        found = [names[number] for number in self.absent]
        is_or_are = "is" if len(found) == 1 else "are"
        return [f"{_listed(found)} {is_or_are} given to none of the {self.labels:,} {self.unit}."] if found else []

    def _starved(self, names: Sequence[str]) -> list[str]:
        """Return a sentence on the classes that are never predicted, and one on those that hardly are."""
        never = [row for row in self.starved if row[2] == 0]
        hardly = [row for row in self.starved if row[2] > 0]
        told = []
        for rows, how in ((never, "never predicted"), (hardly, "predicted far less often than labelled")):
            if not rows:
                continue
            classes = _listed([names[row[0]] for row in rows])
            count = sum(row[1] for row in rows)
            are, its = ("is", "its rate is") if len(rows) == 1 else ("are", "their rates are")
            told.append(
                f"{classes} {are} {how}: {its} unknown, and the {count:,} {self.unit} that say so are not counted among"
                " the wrong ones."
            )
        return told

    def _rate(self, clean: bool) -> list[str]:
        """Return what is known of the rate, or why nothing is and what to do."""
        other = " other" if self.starved else ""
        low, high = (_percent(end) for end in self.interval)
        if self.memorised:
            return [
                f"Cannot tell how many of your{other} {self.unit} are wrong: the evidence agrees with"
                f" {_percent(1 - self.rate)} % of them, but it comes from a model that was trained on them and may"
                " have learnt them by heart, wrong ones too.",
                "Ask models that have not seen the labels: cross-validated or held-out predictions (estimate_noise with"
                " held_out=True), or evidence from fewer epochs or another recipe.",
            ]
        if not self.decided:
            return [
                f"Cannot tell how many of your{other} {self.unit} are wrong: {low} to {high} %."
                f" The evidence disagrees with {_percent(self.readings['contradicted'])} % of them, but it is undecided"
                f" (mean certainty {_percent(self.certainty)} %): either the labels are noisy, or the model has not"
                f" learnt the classes well{'' if self.held_out else ', or has learnt some wrong labels by heart'}.",
                "A better model, more data, or a few hundred labels checked by hand would tell.",
            ]
        what = "are estimated to be wrong" if self.held_out else "disagree with the evidence"
        told = [f"About {_percent(self.rate)} % ({low} to {high} %) of your{other} {self.unit} {what}."]
        return [*told, f"Your{other} {self.unit} look clean."] if clean else told

    def to_json(self) -> str:
        """Return all figures as JSON text: NaN as null, a sparse array as rows, columns and values.

        Examples
        --------
        >>> from noisycorrect.review.noise_rate import estimate_noise
        >>> json.loads(estimate_noise([0, 1, 1], np.eye(2)[[0, 1, 1]]).to_json())["rate"]
        0.0
        """
        plain = asdict(self) | {
            "class_rates": [None if np.isnan(rate) else float(rate) for rate in self.class_rates],
        }
        return json.dumps(plain, indent=2, default=_listable)


def _listable(array: Any) -> Any:
    if isinstance(array, np.ndarray):
        return array.tolist()
    cells = array.tocoo()
    return {"rows": cells.row.tolist(), "columns": cells.col.tolist(), "values": cells.data.tolist()}


def _listed(names: Sequence[str]) -> str:
    """Return names as one would say them, the first few if they are many."""
    shown = list(names[:NAMES_TOLD])
    if len(names) > NAMES_TOLD:
        shown.append(f"{len(names) - NAMES_TOLD} more classes")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


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
