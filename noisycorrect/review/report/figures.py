"""Figures as plain values: how a run folder keeps them, and how they are written in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from noisycorrect.review.noise_estimate import NoiseEstimate

NONE = "\N{EN DASH}"  # stands where there is no figure
Z95 = 1.959963984540054


def noise_figures(estimate: NoiseEstimate, classes: Sequence[str]) -> dict[str, Any]:
    """Return an estimate of the noise as plain JSON values with class names: ``figures["noise"]`` of a cleaning run.

    Parameters
    ----------
    estimate : NoiseEstimate
        Of K classes.
    classes : sequence of str
        K names.

    Returns
    -------
    dict
        ``rate``, ``interval``, ``level``, ``decided``, ``memorised``, ``held_out``, ``unit``, ``labels``,
        ``contradicted``, ``verdict``; ``class_rates``, by name ``{"rate", "interval"}`` of each true class, null where
        unknown; ``most_confused``, true class, given class, share; ``starved``, names.

    Examples
    --------
    >>> import numpy as np
    >>> from noisycorrect.review.noise_rate import estimate_noise
    >>> found = noise_figures(estimate_noise([0] * 50 + [1] * 50, np.eye(2)[[0] * 60 + [1] * 40]), ["cat", "dog"])
    >>> found["rate"], found["most_confused"]
    (0.1, [['cat', 'dog', 0.16666666666666666]])
    """
    rates = zip(classes, estimate.class_rates.tolist(), *estimate.class_interval.tolist(), strict=True)
    return {
        "rate": float(estimate.rate),
        "interval": [float(end) for end in estimate.interval],
        "level": estimate.level,
        "decided": bool(estimate.decided),
        "memorised": bool(estimate.memorised),
        "held_out": bool(estimate.held_out),
        "unit": estimate.unit,
        "labels": int(estimate.labels),
        "contradicted": int(estimate.contradicted),
        "verdict": estimate.verdict(classes),
        "class_rates": {
            name: {"rate": None if math.isnan(rate) else rate, "interval": [low, high]}
            for name, rate, low, high in rates
        },
        "most_confused": [[classes[true], classes[given], share] for true, given, share in estimate.most_confused],
        "starved": [classes[row[0]] for row in estimate.starved],
    }


def percent(share: float | None) -> str:
    """Return a share in per cent: a decimal below 10 %, a dash for none.

    Examples
    --------
    >>> percent(0.166), percent(0.0123), percent(None)
    ('17 %', '1.2 %', '–')
    """
    if share is None or math.isnan(share):
        return NONE
    value = 100 * share
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"


def span(ends: Sequence[float]) -> str:
    """Return an interval of shares in per cent.

    Examples
    --------
    >>> span([0.127, 0.19])
    '13 to 19 %'
    """
    low, high = (f"{100 * end:.1f}" if 0 < end < 0.0995 else f"{100 * end:.0f}" for end in ends)
    return f"{low} to {high} %"


def proportion_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of Wilson (1927) for a share of `count` samples.

    Examples
    --------
    >>> [round(end, 3) for end in proportion_interval(0.5, 100)]
    [0.404, 0.596]
    """
    spread = Z95**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z95 / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1, "label"), counted(2500, "label")
    ('1 label', '2,500 labels')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def duration(seconds: float) -> str:
    """Return a time as one would say it.

    Examples
    --------
    >>> duration(75), duration(7300), duration(4.2)
    ('1 min 15 s', '2 h 1 min', '4.2 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
