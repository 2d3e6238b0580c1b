"""From the finished cells of any study to its rows: means over seeds, and differences within a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from noisycorrect.support.errors import InvalidInputError

Record = Mapping[str, Any]  # {"config": {...}, "result": {...}}, and "row" where the method alone does not name it
Spread = tuple[float, float]  # mean and sample standard deviation over seeds; NaN where nothing was measured
NOTHING: Spread = (math.nan, math.nan)


@dataclass(frozen=True)
class Row:
    """One line of a study: a method on a data set under a noise, over all its seeds.

    Attributes
    ----------
    dataset, noise, name : str
        What tells it from the other rows of its study; `name` is the method's unless a record has a ``row``.
    seeds : tuple of int
        Those that are finished.
    measures : mapping of str to (float, float)
        Mean and sample deviation of every number in the results, by its path, such as ``"val.mean_iou"``; read them
        with ``row["val.mean_iou"]``.
    config, first : mapping
        Configuration and result of the first seed, for what all seeds share.
    best : frozenset of str
        Measures in which no row of one network has a higher mean, on this data set and noise.
    rival : str or None
        Name of the row that it is compared with; itself, if others are compared with it.
    gain : (float, float)
        Its score less the rival's, seed by seed; NaN for the rival itself.
    paired : int
        Seeds that both have.
    """

    dataset: str
    noise: str
    name: str
    seeds: tuple[int, ...]
    measures: Mapping[str, Spread]
    config: Mapping[str, Any] = field(repr=False)
    first: Mapping[str, Any] = field(repr=False)
    best: frozenset[str] = frozenset()
    rival: str | None = None
    gain: Spread = NOTHING
    paired: int = 0

    def __getitem__(self, path: str) -> Spread:
        return self.measures.get(path, NOTHING)

    def mean(self, path: str) -> float:
        """Return the mean of a measure, NaN if there is none."""
        return self[path][0]

    def has(self, path: str) -> bool:
        """Return whether a measure has a mean."""
        return not math.isnan(self.mean(path))

    @property
    def networks(self) -> int:
        """How many networks the method trains."""
        return int(self.first.get("networks", 1))

    @property
    def baseline(self) -> bool:
        """Whether the method is somebody else's."""
        return bool(self.first.get("baseline", False))

    @property
    def label(self) -> str:
        """The name as tables show it, with what a reader has to know."""
        note = self.first.get("note")
        return self.name if note is None else f"{self.name} ({note})"

    def plain(self) -> dict[str, Any]:
        """Return the row for a JSON file."""
        shown = ("dataset", "noise", "name", "seeds", "networks", "baseline", "rival", "gain", "measures")
        return {**{name: getattr(self, name) for name in shown}, "best": sorted(self.best)}


Rival = Callable[[Row, Sequence[Row]], Row | None]


def summarise(
    records: Sequence[Record], score: str = "test_accuracy", *, bold: Sequence[str] = (), rival: Rival | None = None
) -> list[Row]:
    """Summarise cells over their seeds, in the order in which data sets, noises and names first appear.

    Parameters
    ----------
    records : sequence of {"config": ..., "result": ...}
        The configuration holds `dataset`, `noise`, `method`, `seed` and maybe `rate`.
    score : str
        The measure in which rows are compared.
    bold : sequence of str
        Further measures of which the best is looked for.
    rival : callable, optional
        ``rival(row, rows)`` says which of the rows on its data set and noise a row is compared with; default:
        :func:`best_baseline`.

    Raises
    ------
    InvalidInputError
        If cells of one row differ in anything but seeds, or repeat a seed.
    """
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        config = record["config"]
        key = str(config.get("dataset", "")), noise_name(config), str(record.get("row") or config["method"])
        groups.setdefault(key, []).append(record)
    rows = [_row(key, _comparable(members)) for key, members in groups.items()]
    return [_compared(row, rows, groups, (score, *bold), rival or best_baseline(score)) for row in rows]


def best_baseline(score: str) -> Rival:
    """Return what compares with the baseline of one network that has the highest score."""

    def choose(row: Row, rows: Sequence[Row]) -> Row | None:
        known = [other for other in rows if other.baseline and other.networks == 1 and other.has(score)]
        return max(known, key=lambda other: other.mean(score), default=None)

    return choose


def named(name: str) -> Rival:
    """Return what compares with the row of that name."""
    return lambda row, rows: next((other for other in rows if other.name == name), None)


def noise_name(config: Mapping[str, Any]) -> str:
    """Return the spelling of a cell's noise, its rate included; "clean" if there is none.

    Examples
    --------
    >>> noise_name({"noise": "symmetric", "rate": 0.2}), noise_name({"noise": "none"})
    ('symmetric:0.2', 'clean')
    """
    if config.get("noise") in (None, "none"):
        return "clean"
    rate = config.get("rate")
    return str(config["noise"]) if rate is None else f"{config['noise']}:{rate:g}"


def distinct(names: Iterable[str]) -> list[str]:
    """Return each name once, in the order of first appearance."""
    return list(dict.fromkeys(names))


def mean_and_std(values: Iterable[float]) -> Spread:
    """Return the mean and the sample standard deviation (ddof=1); NaN where there are too few values.

    Examples
    --------
    >>> mean_and_std([1.0, 3.0]), mean_and_std([2.0])
    ((2.0, 1.4142135623730951), (2.0, nan))
    """
    array = np.array(list(values), dtype=np.float64)
    mean = array.mean().item() if array.size else math.nan
    return mean, array.std(ddof=1).item() if array.size > 1 else math.nan


def numbers(result: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """Yield the path and value of every number in a result; truth values and lists are none.

    Examples
    --------
    >>> dict(numbers({"val": {"mean_iou": 0.5}, "seconds": 2, "baseline": True, "history": [1]}))
    {'val.mean_iou': 0.5, 'seconds': 2}
    """
    for name, value in result.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{above}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{above}{name}", value


def _comparable(members: list[Record]) -> list[Record]:
    first = members[0]["config"]
    for config in (record["config"] for record in members):
        keys = [k for k in {**first, **config} if not k.endswith("seed") and first.get(k) != config.get(k)]
        if keys:
            raise InvalidInputError("cells of one study", got=f"several {', '.join(keys)}", fix="pass one study")
    seeds = [record["config"]["seed"] for record in members]
    if len(set(seeds)) < len(seeds):
        raise InvalidInputError("each seed once", got=f"seeds {sorted(seeds)}", fix="pass one study")
    return members


def _row(key: tuple[str, str, str], members: Sequence[Record]) -> Row:
    found: dict[str, list[float]] = {}
    for record in members:
        for path, value in numbers(record["result"]):
            found.setdefault(path, []).append(value)
    return Row(
        *key,
        seeds=tuple(record["config"]["seed"] for record in members),
        measures={path: mean_and_std(values) for path, values in found.items()},
        config=members[0]["config"],
        first=members[0]["result"],
    )


def _compared(
    row: Row, rows: Sequence[Row], groups: Mapping[Any, Sequence[Record]], scores: Sequence[str], rival: Rival
) -> Row:
    place = row.dataset, row.noise
    beside = [other for other in rows if (other.dataset, other.noise) == place]
    leaders = [other for other in beside if other.networks == 1]
    best = frozenset(
        score
        for score in scores
        if row.networks == 1 and row.mean(score) == max((o.mean(score) for o in leaders if o.has(score)), default=None)
    )
    other = rival(row, beside)
    if other is None or other.name == row.name:
        return replace(row, best=best, rival=None if other is None else other.name)
    own, theirs = (
        {
            record["config"]["seed"]: value
            for record in groups[(*place, name)]
            if (value := dict(numbers(record["result"])).get(scores[0])) is not None
        }
        for name in (row.name, other.name)
    )
    seeds = [seed for seed in own if seed in theirs]
    gain = mean_and_std(own[seed] - theirs[seed] for seed in seeds)
    return replace(row, best=best, rival=other.name, gain=gain, paired=len(seeds))
