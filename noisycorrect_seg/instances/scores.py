"""How well people and their parts are found: the figures of CIHP and MHP, streaming and exact.

A *part* is the pixels of one class of one person. Intersections of all parts of a picture come from one count of pairs,
and the figures of people from those of their parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from noisycorrect.support import distributed
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.masks import ignore_index
from noisycorrect_seg.scores import SegmentationMetrics

THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MANY = 2**16  # above every class number: a part's code is person * MANY + class
Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


class Found(NamedTuple):
    """What was found and what was there of one picture, or of many.

    Attributes
    ----------
    classes, scores, overlaps : ndarray, shape (n,)
        Class and score of each thing found, and its IoU with the true thing that it meets most.
    matches : ndarray, shape (n,), int64
        That true thing, numbered over all; -1 for none.
    truths : ndarray, shape (m,), int64
        Class of each true thing.
    """

    classes: Whole
    scores: Floats
    overlaps: Floats
    matches: Whole
    truths: Whole

    def joined(self, other: Found) -> Found:
        """Return both, the other's true things numbered on."""
        matches = np.where(other.matches < 0, -1, other.matches + len(self.truths))
        pairs = zip(self, other._replace(matches=matches), strict=True)
        return Found(*(np.concatenate(pair) for pair in pairs))


_NONE: Whole = np.zeros(0, np.int64)
NOTHING = Found(_NONE, np.zeros(0), np.zeros(0), _NONE, _NONE)


def average_precision(recall: Floats, precision: Floats) -> float:
    r"""Return the area below the precision envelope, in [0, 1] (Pascal VOC 2010).

    :math:`\sum_i (r_i - r_{i-1}) \max_{j \ge i} p_j`.

    Parameters
    ----------
    recall, precision : ndarray, shape (n,)
        After each detection, in descending order of scores.

    Examples
    --------
    >>> average_precision(np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3]))
    0.8333333333333333
    """
    if not len(recall):
        return 0.0
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def precision_of(found: Found, threshold: float, *, again: bool = False) -> float:
    """Return the average precision of what was found; NaN if there was nothing to find.

    A thing found counts if its IoU with a true thing exceeds the threshold. Of several that meet the same true thing
    most the one with the highest score counts, and the others do not.

    Parameters
    ----------
    found : Found
        Of one class.
    threshold : float
        IoU.
    again : bool
        Count those others, too, as CIHP's published evaluation does: recall may exceed 1 then.

    Examples
    --------
    >>> twice = Found(np.zeros(2, int), np.array([0.9, 0.8]), np.array([0.7, 0.6]), np.zeros(2, int), np.zeros(1, int))
    >>> precision_of(twice, 0.5), precision_of(twice, 0.5, again=True)
    (1.0, 2.0)
    """
    if not len(found.truths):
        return math.nan
    hits = _hits(found, threshold, again=again)
    right = np.cumsum(hits)
    return average_precision(right / len(found.truths), right / np.arange(1, len(hits) + 1))


def _hits(found: Found, threshold: float, *, again: bool = False) -> NDArray[np.bool_]:
    """Return which detections count, in descending order of scores."""
    order = np.argsort(-found.scores, kind="stable")
    met = np.where(found.overlaps[order] > threshold, found.matches[order], -1)
    hits = met >= 0
    if not again:
        first = np.zeros(len(met), bool)
        first[np.unique(met, return_index=True)[1]] = True
        hits &= first
    return np.asarray(hits)


class _Pairs(NamedTuple):
    """Parts of a picture: predicted and true ones by (person, class), and the pixels that each pair shares."""

    own: Whole  # (n, 2)
    true: Whole  # (m, 2)
    own_sizes: Floats
    true_sizes: Floats
    shared: Floats  # (n, m)
    pixels: int

    @classmethod
    def of(cls, maps: Sequence[np.ndarray], nothing: int) -> _Pairs:
        people, classes, true_people, true_classes = maps
        known = true_classes != nothing
        sides = []
        for whose, what in ((people, classes), (true_people, true_classes)):
            whose, what = whose[known].astype(np.int64), what[known].astype(np.int64)
            codes = np.where((whose > 0) & (what > 0), whose * MANY + what, 0)
            sides.append(np.unique(codes, return_inverse=True))
        (own, own_at), (true, true_at) = sides
        table = np.bincount(own_at * len(true) + true_at, minlength=len(own) * len(true)).astype(np.float64)
        table = table.reshape(len(own), len(true))
        rows, columns = own > 0, true > 0
        return cls(
            _split(own[rows]),
            _split(true[columns]),
            table.sum(1)[rows],
            table.sum(0)[columns],
            table[rows][:, columns],
            int(known.sum()),
        )

    def parts(self, scores: dict[int, float]) -> Found:
        """Return the parts that were found, each beside the true part of its class that it overlaps most."""
        union = self.own_sizes[:, None] + self.true_sizes[None] - self.shared
        same = self.own[:, None, 1] == self.true[None, :, 1]
        return _best(np.where(same, self.shared / union, 0.0), self.own[:, 1], self._scores(scores), self.true[:, 1])

    def people(self, scores: dict[int, float], num_classes: int) -> tuple[Found, list[Floats], Whole]:
        """Return the people that were found, the IoU of every class of each with their match, and the parts they have.

        A person's overlap with a true one is the mean IoU over the classes that either has, the background included:
        the pixels of the picture that are not theirs (MHP's evaluation).
        """
        own, own_at = np.unique(self.own[:, 0], return_inverse=True)
        true, true_at = np.unique(self.true[:, 0], return_inverse=True)
        overlaps = np.full((len(own), len(true), num_classes), np.nan)
        for i, j in np.ndindex(len(own), len(true)):
            overlaps[i, j] = self._class_overlaps(own_at == i, true_at == j, num_classes)
        parts = np.bincount(true_at, minlength=len(true))
        number = np.zeros(len(own), np.int64)
        ranked = np.array([scores[int(person)] for person in own], np.float64)
        means = np.nanmean(overlaps, 2) if overlaps.size else np.zeros((len(own), len(true)))
        found = _best(means, number, ranked, np.zeros(len(true), np.int64))
        chosen = [overlaps[i, j] for i, j in enumerate(found.matches) if j >= 0]
        return found, chosen, parts

    def _class_overlaps(self, rows: NDArray[np.bool_], columns: NDArray[np.bool_], num_classes: int) -> Floats:
        shared = self.shared[np.ix_(rows, columns)]
        alike = self.own[rows, 1][:, None] == self.true[columns, 1][None]
        hits, sizes = np.zeros(num_classes), np.zeros(num_classes)
        np.add.at(sizes, self.own[rows, 1], self.own_sizes[rows])
        np.add.at(sizes, self.true[columns, 1], self.true_sizes[columns])
        np.add.at(hits, self.own[rows, 1], (shared * alike).sum(1))
        size, true_size, both = self.own_sizes[rows].sum(), self.true_sizes[columns].sum(), shared.sum()
        hits[0], sizes[0] = self.pixels - size - true_size + both, 2 * self.pixels - size - true_size
        union = sizes - hits
        overlaps: Floats = np.divide(hits, union, out=np.full(num_classes, np.nan), where=union > 0)
        return overlaps

    def _scores(self, scores: dict[int, float]) -> Floats:
        return np.array([scores[int(person)] for person in self.own[:, 0]], np.float64)


def _split(codes: Whole) -> Whole:
    return np.stack([codes // MANY, codes % MANY], 1)


def _best(overlaps: Floats, classes: Whole, scores: Floats, truths: Whole) -> Found:
    if not overlaps.size:
        return Found(classes, scores, np.zeros(len(classes)), np.full(len(classes), -1), truths)
    best = overlaps.argmax(1)
    overlap = overlaps[np.arange(len(best)), best]
    return Found(classes, scores, overlap, np.where(overlap > 0, best, -1), truths)


class PeopleMetrics:
    r"""The figures by which parsing of several people is judged.

    Of CIHP (Gong et al., "Instance-level Human Parsing via Part Grouping Network", 2018):

    - ``mean_iou`` and all else of :class:`~noisycorrect_seg.SegmentationMetrics`, of the class maps;
    - AP\ :sup:`r`: average precision of parts, one class of one person each, ranked by the person's score; a part
      counts if its IoU with a true part of its class exceeds the threshold; the mean over the classes that occur.
      ``apr_0.5`` at 0.5, ``apr_vol`` the mean over the thresholds 0.1, 0.2, ... 0.9. ``published_apr_vol`` counts
      several parts on the same true part all as right, as the published evaluation does.

    Of MHP (Li et al., "Multiple-Human Parsing in the Wild", 2017), after its published evaluation:

    - AP\ :sup:`p`: average precision of people; a person counts if the mean IoU over the classes that either has, the
      background included, exceeds the threshold: ``app_0.5``, ``app_vol``;
    - ``pcp_0.5``: percentage of correctly parsed parts, the mean over all true people of the share of their classes
      whose IoU exceeds 0.5, 0 for a person who was not found at 0.5.

    Parameters
    ----------
    num_classes : int
        K, at least 2.
    thresholds : sequence of float
        Of the figures ``vol``; in [0, 1). Their names have two digits where one is not enough.

    Raises
    ------
    InvalidInputError
        If an argument is out of range.

    Examples
    --------
    >>> metrics = PeopleMetrics(num_classes=3)
    >>> people, classes = np.array([[1, 1, 2, 0]]), np.array([[1, 2, 1, 0]])
    >>> metrics.update(people, classes, [0.9, 0.8], people, classes)
    >>> figures = metrics.compute()
    >>> figures["apr_vol"], figures["app_0.5"], figures["pcp_0.5"], figures["mean_iou"]
    (1.0, 1.0, 1.0, 1.0)
    """

    def __init__(self, num_classes: int, *, thresholds: Sequence[float] = THRESHOLDS) -> None:
        self.num_classes = whole_number("num_classes", num_classes, least=2)
        self.thresholds = tuple(
            finite_number("a threshold", each, above=0, below=1, fix="0.5 is common") for each in thresholds
        )
        if not self.thresholds:
            raise InvalidInputError("at least one threshold", got="none", fix="leave thresholds out for 0.1 to 0.9")
        self.masks = SegmentationMetrics(num_classes, ignore_index(self.num_classes))
        self.parts, self.people = NOTHING, NOTHING
        self._part_overlaps: list[Floats] = []  # of each person found with a match, in their order
        self._part_counts = np.zeros(0, np.int64)  # of each true person

    @door(own=True)
    def update(self, instances: Any, classes: Any, scores: Any, true_instances: Any, true_classes: Any) -> None:
        """Take in a picture.

        Parameters
        ----------
        instances, classes : ndarray of int, shape (H, W)
            Whose each pixel is, 0 nobody's, and its class, 0..K-1.
        scores : sequence of float, or mapping of int to float
            Of person 1, 2, ...; or of each number in `instances`.
        true_instances, true_classes : ndarray of int, shape (H, W)
            The same of the truth; pixels whose class is 255 (65535 of more than 255 classes) count
            nowhere.

        Raises
        ------
        InvalidInputError
            If shapes differ, a class is out of range, or a person has no score. Nothing is counted then.
        """
        maps = [np.asarray(each) for each in (instances, classes, true_instances, true_classes)]
        if any(each.shape != maps[0].shape or each.ndim != 2 or each.dtype.kind not in "iu" for each in maps):
            raise InvalidInputError(
                "four maps of whole numbers, of one shape (H, W)",
                got=", ".join(f"{each.dtype} {each.shape}" for each in maps),
                fix="bring the prediction to the size of the truth",
            )
        ranked = _named_scores(scores, maps[0])
        self.masks.update(maps[1], maps[3])
        pairs = _Pairs.of(maps, self.masks.ignore_index)
        people, overlaps, counts = pairs.people(ranked, self.num_classes)
        self.parts = self.parts.joined(pairs.parts(ranked))
        self.people = self.people.joined(people)
        self._part_overlaps += overlaps
        self._part_counts = np.concatenate([self._part_counts, counts])

    def reduce(self) -> None:
        """Put the pictures of all ranks together; every rank calls it, once."""
        self.masks.reduce()
        own = self.parts, self.people, self._part_overlaps, self._part_counts
        self.parts, self.people, self._part_overlaps, counts = NOTHING, NOTHING, [], []
        for parts, people, overlaps, count in distributed.all_gather_objects(own):
            self.parts, self.people = self.parts.joined(parts), self.people.joined(people)
            self._part_overlaps += overlaps
            counts.append(count)
        self._part_counts = np.concatenate(counts)

    def class_precision(self, threshold: float, *, published: bool = False) -> Floats:
        """Return the AP of the parts of each class, (K,); NaN for the background and for a class that does not occur.

        With `published`, several parts on one true part all count.
        """
        found = np.full(self.num_classes, np.nan)
        for number in range(1, self.num_classes):
            own, true = self.parts.classes == number, self.parts.truths == number
            # Matches are numbers over all true parts; of one class it only counts which are the same.
            classes, scores, overlaps, matches, truths = self.parts
            part = Found(classes[own], scores[own], overlaps[own], matches[own], truths[true])
            found[number] = precision_of(part, threshold, again=published)
        return found

    def correct_parts(self, threshold: float) -> float:
        """Return PCP: the mean over true people of the share of their parts that are right; NaN without any."""
        if not len(self._part_counts):
            return math.nan
        order = np.argsort(-self.people.scores, kind="stable")
        counted = order[_hits(self.people, threshold)]
        place = np.cumsum(self.people.matches >= 0) - 1  # overlaps were kept of those with a match alone
        shares = [
            float((self._part_overlaps[place[each]][1:] > threshold).sum())
            / self._part_counts[self.people.matches[each]]
            for each in counted
        ]
        return float(sum(shares) / len(self._part_counts))

    def compute(self) -> dict[str, Any]:
        """Return the figures by name, in [0, 1]; NaN where there was nothing to find.

        Returns
        -------
        dict
            What :meth:`~noisycorrect_seg.SegmentationMetrics.compute` returns; ``apr_T``, ``app_T`` and ``pcp_T`` for
            each threshold T, ``apr_vol``, ``app_vol``, ``pcp_vol`` their means, ``published_apr_vol``; ``people`` and
            ``found``, how many there were and how many were found at the threshold nearest to 0.5.
        """
        figures: dict[str, Any] = self.masks.compute()
        vols: dict[str, list[float]] = {"apr": [], "app": [], "pcp": [], "published_apr": []}
        for threshold in self.thresholds:
            at = {
                "apr": _mean(self.class_precision(threshold)),
                "app": precision_of(self.people, threshold),
                "pcp": self.correct_parts(threshold),
            }
            figures |= {f"{name}_{threshold:g}": value for name, value in at.items()}
            for name, value in (*at.items(), ("published_apr", _mean(self.class_precision(threshold, published=True)))):
                vols[name].append(value)
        middle = min(self.thresholds, key=lambda threshold: abs(threshold - 0.5))
        return figures | {
            **{f"{name}_vol": float(np.mean(values)) for name, values in vols.items()},
            "people": len(self._part_counts),
            "found": int(_hits(self.people, middle).sum()),
        }


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _named_scores(scores: Any, instances: np.ndarray) -> dict[int, float]:
    """Return the score of each person in a map."""
    numbers = [int(number) for number in np.unique(instances) if number > 0]
    named = scores if hasattr(scores, "keys") else dict(enumerate(scores, 1))
    missing = [number for number in numbers if number not in named]
    if missing:
        raise InvalidInputError(
            "a score for every person",
            got=f"none for {missing[0]} of {numbers[-1]}",
            fix="pass scores in the order of the numbers, or {number: score}",
        )
    found = {number: float(named[number]) for number in numbers}
    if not all(math.isfinite(score) for score in found.values()):
        raise InvalidInputError("finite scores", got=str(list(found.values())), fix="pass numbers in [0, 1]")
    return found
