"""Charts as inline SVG, in the page's own colours, each with words for those who do not see it."""

from __future__ import annotations

from collections.abc import Sequence

from noisycorrect.review.report.figures import percent, span
from noisycorrect.review.report.markup import Markup, tag

WIDTH, HEIGHT = 320, 44


def interval_chart(low: float, high: float, rate: float | None) -> Markup:
    """Return an interval on a line from 0 to 100 %, with a mark at the rate, if there is one.

    Examples
    --------
    >>> "10 to 20 %" in interval_chart(0.1, 0.2, None)
    True
    """

    def across(share: float) -> float:
        return round(6 + share * (WIDTH - 12), 1)

    marks = [
        tag("line", x1=across(tick), x2=across(tick), y1=18, y2=26, class_="tick") for tick in (0, 0.25, 0.5, 0.75, 1)
    ]
    words = [
        tag("text", f"{100 * tick:.0f} %", x=across(tick), y=40, text_anchor=anchor)
        for tick, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    ]
    band = tag("rect", x=across(low), y=15, width=max(2, across(high) - across(low)), height=14, rx=3, class_="band")
    point = None if rate is None else tag("circle", cx=across(rate), cy=22, r=6, class_="point")
    told = f"Share of wrong labels between {span((low, high))}" + ("" if rate is None else f", about {percent(rate)}")
    line = tag("line", x1=across(0), x2=across(1), y1=22, y2=22, class_="axis")
    return tag("svg", line, *marks, band, point, *words, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=told,
               class_="interval")  # fmt: skip


def bar(share: float | None) -> Markup:
    """Return a small bar of a share.

    Examples
    --------
    >>> "width:50.0%" in bar(0.5)
    True
    """
    width = 100 * min(1.0, share or 0.0)
    return tag("span", tag("span", class_="fill", style=f"width:{width:.1f}%"), class_="bar", aria_hidden="true")


def curve(points: Sequence[tuple[float, float]], name: str) -> Markup:
    """Return a score by epoch as a line.

    Parameters
    ----------
    points : sequence of (float, float)
        Epoch and score in [0, 1]; at least two.
    name : str
        Of the score.

    Examples
    --------
    >>> curve([(1, 0.5), (2, 0.75)], "accuracy").count("polyline")
    2
    """
    width, height, edge = 480, 160, 34
    low, high = min(score for _, score in points), max(score for _, score in points)
    margin = max(0.01, (high - low) * 0.15)
    low, high = max(0.0, low - margin), min(1.0, high + margin)
    first, last = points[0][0], points[-1][0]

    def place(at: float, score: float) -> tuple[float, float]:
        across = edge + 10 + (at - first) / max(last - first, 1e-9) * (width - edge - 26)
        return round(across, 1), round(12 + (high - score) / (high - low) * (height - edge - 12), 1)

    line = " ".join(f"{x},{y}" for x, y in (place(*point) for point in points))
    ends = [
        tag("text", percent(score), x=edge, y=place(first, score)[1] + 4, text_anchor="end") for score in (low, high)
    ]
    foot = [
        tag("text", f"epoch {at:.0f}", x=place(at, low)[0], y=height - 6, text_anchor=anchor)
        for at, anchor in ((first, "start"), (last, "end"))
    ]
    base = tag("line", x1=edge + 6, x2=width - 10, y1=height - edge, y2=height - edge, class_="axis")
    told = f"Validation {name} from {percent(points[0][1])} to {percent(points[-1][1])}"
    dots = [tag("circle", cx=x, cy=y, r=3, class_="point") for x, y in (place(*point) for point in points)]
    drawn = tag("polyline", points=line, class_="curve")
    return tag("svg", base, drawn, *dots, *ends, *foot, viewBox=f"0 0 {width} {height}", role="img", aria_label=told,
               class_="chart")  # fmt: skip
