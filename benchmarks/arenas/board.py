"""The arena's results as arrays: places by rows, and what is reckoned of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from benchmarks.lab.rows import Record, distinct

Reals = NDArray[np.float64]
PLACE = ("dataset", "noise", "network", "preparation", "optimizer", "seed")
SCORE, BALANCED = "test_accuracy", "balanced_accuracy"
PLAIN = "ce"


@dataclass(frozen=True, eq=False)
class Board:
    """Results of P places and R rows.

    Attributes
    ----------
    names, kinds : tuple of str, length R
        Rows in the order of their first appearance, and what each is; see
        :attr:`benchmarks.arenas.contenders.Contender.kind`.
    places : tuple of dict, length P
        What the rows of a place have in common: dataset, noise, network, preparation, optimizer, seed.
    results : tuple of tuple of dict or None
        The result of each row on each place, (P, R); None where it was not run.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    places: tuple[dict[str, Any], ...]
    results: tuple[tuple[dict[str, Any] | None, ...], ...]

    @classmethod
    def of(cls, records: Sequence[Record]) -> Board:
        """Return the board of some finished cells."""
        found: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = {}
        kinds: dict[str, str] = {}
        for record in records:
            config, result = record["config"], dict(record["result"])
            found.setdefault(tuple(config[name] for name in PLACE), {})[config["method"]] = result
            kinds.setdefault(config["method"], result["kind"])
        names = tuple(kinds)
        return cls(
            names,
            tuple(kinds.values()),
            tuple(dict(zip(PLACE, key, strict=True)) for key in found),
            tuple(tuple(row.get(name) for name in names) for row in found.values()),
        )

    def values(self, measure: str) -> Reals:
        """Return a measure, float64 (P, R); NaN where there is none."""
        none = {measure: None}
        found = [[(result or none).get(measure) for result in row] for row in self.results]
        shape = len(self.places), len(self.names)
        return np.array([[math.nan if v is None else v for v in row] for row in found], np.float64).reshape(shape)

    def where(self, holds: Callable[[dict[str, Any]], bool]) -> Board:
        """Return the board of the places for which something holds, without the rows that were run on none of them."""
        kept = [number for number, place in enumerate(self.places) if holds(place)]
        rows = [r for r in range(len(self.names)) if any(self.results[p][r] is not None for p in kept)]
        return Board(
            tuple(self.names[r] for r in rows),
            tuple(self.kinds[r] for r in rows),
            tuple(self.places[p] for p in kept),
            tuple(tuple(self.results[p][r] for r in rows) for p in kept),
        )

    def only(self, kinds: Sequence[str]) -> Board:
        """Return the board of the rows of some kinds."""
        rows = [r for r, kind in enumerate(self.kinds) if kind in kinds]
        results = tuple(tuple(row[r] for r in rows) for row in self.results)
        return Board(tuple(self.names[r] for r in rows), tuple(self.kinds[r] for r in rows), self.places, results)

    def levels(self, name: str) -> list[str]:
        """Return what the places have of a factor, in the order of the places."""
        return distinct(str(place[name]) for place in self.places)

    @property
    def best_published(self) -> Reals:
        """Highest test accuracy of a published one-network row on each place, (P,); NaN where none was run."""
        own = [row for row, kind in enumerate(self.kinds) if kind == "published"]
        return _most(self.values(SCORE)[:, own])

    @property
    def regret(self) -> Reals:
        """How far each row is behind the best published one-network row of its place, (P, R); below 0 it is ahead."""
        return self.best_published[:, None] - self.values(SCORE)

    @property
    def wins(self) -> Reals:
        r"""1 where a row is first or level: no more than a standard error behind, (P, R); NaN where there is nothing.

        Level is within :math:`\sqrt{(p(1-p) + q(1-q)) / n}`, the standard error of the difference of two shares p and
        q of n test rows, as if they were drawn apart.
        """
        scores, best, regret = self.values(SCORE), self.best_published[:, None], self.regret
        rows = np.nanmax(self.values("test_rows"), axis=1, keepdims=True) if self.places else np.ones((0, 1))
        error = np.sqrt((scores * (1 - scores) + best * (1 - best)) / rows)
        return np.where(np.isnan(regret), np.nan, (regret <= error).astype(float))


def _most(values: Reals) -> Reals:
    if not values.shape[1]:
        return np.full(len(values), np.nan)
    known = np.where(np.isnan(values), -np.inf, values).max(axis=1)
    return np.where(np.isinf(known), np.nan, known)


class Regret(NamedTuple):
    """What is told of a row: how far it is behind, in how many places it is first or level, and how many there are."""

    mean: float
    percentile: float
    worst: float
    wins: float
    places: int


def regret_of(board: Board) -> list[Regret]:
    """Return the regret of each row over all places: mean, 90th percentile, worst, share of wins, places."""
    return [_regret(regret, wins) for regret, wins in zip(board.regret.T, board.wins.T, strict=True)]


def _regret(regret: Reals, wins: Reals) -> Regret:
    known = regret[~np.isnan(regret)]
    if not known.size:
        return Regret(math.nan, math.nan, math.nan, math.nan, 0)
    percentile = float(np.percentile(known, 90))
    return Regret(float(known.mean()), percentile, float(known.max()), float(np.nanmean(wins)), known.size)


def means(values: Reals) -> Reals:
    """Return the mean of each column (P, R) -> (R,) over what is known; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


# ---------------------------------------------------------------- harm, coverage, ranks


class Harm(NamedTuple):
    """A row less plain training on clean labels: mean, worst, share of places at most half a point behind, places."""

    mean: float
    worst: float
    harmless: float
    places: int


def harm_of(board: Board, *, least_rows: int = 1000, allowed: float = 0.005) -> dict[str, Harm]:
    """Return what each row does on clean labels where there are at least so many training rows."""
    rows = _most(board.values("train_rows"))
    clean = [place["noise"] == "none" for place in board.places]
    kept = np.array(clean, bool) & (rows >= least_rows)
    if PLAIN not in board.names or not kept.any():
        return {}
    scores = board.values(SCORE)[kept]
    gains = scores - scores[:, [board.names.index(PLAIN)]]
    found = {}
    for name, gain in zip(board.names, gains.T, strict=True):
        known = gain[~np.isnan(gain)]
        if known.size:
            harmless = float((known >= -allowed - 1e-12).mean())
            found[name] = Harm(float(known.mean()), float(known.min()), harmless, known.size)
    return found


class Coverage(NamedTuple):
    """Of a row's intervals for the noise rate: share that holds the true rate, mean width, runs."""

    share: float
    width: float
    runs: int


def coverage_of(board: Board) -> dict[str, Coverage]:
    """Return the coverage of each row that estimates the noise rate."""
    found = {}
    for row, name in enumerate(board.names):
        own = [results[row] for results in board.results]
        runs = [(r["noise_rate"], *r["estimated_interval"]) for r in own if r and r.get("estimated_interval")]
        if runs:
            truth, low, high = np.array(runs, np.float64).T
            inside = (low - 1e-9 <= truth) & (truth <= high + 1e-9)
            found[name] = Coverage(float(inside.mean()), float((high - low).mean()), len(runs))
    return found


class Ranks(NamedTuple):
    """Mean rank of each row, 1 being the best; p of the Friedman test; critical difference of Nemenyi; places."""

    names: tuple[str, ...]
    mean: Reals
    p: float
    critical: float
    places: int


def ranks_of(board: Board, alpha: float = 0.05) -> Ranks | None:
    r"""Return the mean ranks of the rows over the places that all of them were run on.

    Demšar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets", sec. 3.2.2: two rows differ if their
    mean ranks do by :math:`q_\alpha \sqrt{R (R + 1) / (6 P)}`, with :math:`q_\alpha` the quantile of the studentised
    range over :math:`\sqrt 2`. Places of one set are not independent, so that is the least that one should ask for.

    Returns
    -------
    Ranks or None
        None if there are fewer than three rows or two places.
    """
    scores = board.values(SCORE)
    scores = scores[~np.isnan(scores).any(axis=1)]
    places, rows = scores.shape
    if rows < 3 or places < 2:
        return None
    ranks = rankdata(-scores, axis=1).mean(axis=0)
    p = math.nan if np.ptp(scores, axis=1).max() == 0 else float(friedmanchisquare(*scores.T).pvalue)
    quantile = float(studentized_range.ppf(1 - alpha, rows, np.inf)) / math.sqrt(2)
    return Ranks(board.names, ranks, p, quantile * math.sqrt(rows * (rows + 1) / (6 * places)), places)
