"""Tables of any study: built once as a grid of texts, shown on a terminal and in Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.lab.rows import Row, Spread, distinct

WIDTH = 140
T = TypeVar("T")
Column = tuple[str, Callable[[T], str]]


class Grid(NamedTuple):
    """A table of texts: the head first, the best values between double asterisks, some columns to the left."""

    lines: list[list[str]]
    left: tuple[int, ...] = (0,)


def down(entries: Iterable[T], columns: Sequence[Column[T]], left: tuple[int, ...] = (0,)) -> Grid:
    """Return a table with a line an entry.

    Examples
    --------
    >>> down([0.5], [("half", lambda value: f"{value}")]).lines
    [['half'], ['0.5']]
    """
    body = [[text(entry) for _, text in columns] for entry in entries]
    return Grid([[name for name, _ in columns], *body], left)


def across(
    rows: Sequence[Row],
    text: Callable[[Row], str],
    columns: Sequence[Column[list[Row]]] = (),
    *,
    head: Callable[[Row], str] = lambda row: row.noise,
    first: Callable[[Row], str] | None = None,
    first_name: str = "",
) -> Grid:
    """Return a table with methods down and noises across, and further columns of all rows of a method.

    Parameters
    ----------
    rows : sequence of Row
        Of one data set.
    text : callable
        What stands in a cell; "-" where there is no row.
    columns : sequence of (str, callable)
        Further columns: their names, and what they say of a method's rows.
    head : callable
        What stands above a noise.
    first, first_name
        A line above the methods, and its name: what the measure is to be compared with.
    """
    noises = {row.noise: row for row in rows}
    lines = [["method", *map(head, noises.values()), *(name for name, _ in columns)]]
    if first is not None:
        lines.append([first_name, *map(first, noises.values())])
    for label in distinct(row.label for row in rows):
        own = {row.noise: row for row in rows if row.label == label}
        cells = [text(own[noise]) if noise in own else "-" for noise in noises]
        lines.append([label, *cells, *(say(list(own.values())) for _, say in columns)])
    return Grid(lines)


def without_empty_columns(grid: Grid, always: Sequence[str] = ()) -> Grid:
    """Return a grid without the columns that say nothing but "-", the named ones kept.

    Examples
    --------
    >>> without_empty_columns(Grid([["a", "b", "c"], ["1", "-", "-"]]), always="c").lines
    [['a', 'c'], ['1', '-']]
    """
    head, *body = grid.lines
    kept = [p for p, name in enumerate(head) if name in always or any(line[p] != "-" for line in body)]
    return Grid([[line[place] for place in kept] for line in grid.lines], grid.left)


def markdown(*blocks: str | Grid) -> str:
    r"""Return a page of paragraphs and tables; empty ones are left out.

    Examples
    --------
    >>> markdown("# Title", "", Grid([["a", "b"], ["c", "1"]]))
    '# Title\n\n| a | b |\n|---|---:|\n| c | 1 |\n'
    """
    texts = [block if isinstance(block, str) else _table(block) for block in blocks]
    return "\n\n".join(text for text in texts if text) + "\n"


def _table(grid: Grid) -> str:
    head, *body = ["| " + " | ".join(texts) + " |" for texts in grid.lines]
    rule = "".join("|---" if place in grid.left else "|---:" for place in range(len(grid.lines[0])))
    return "\n".join([head, f"{rule}|", *body])


def bullets(lines: Iterable[str]) -> str:
    """Return a Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def console() -> Console:
    """Return the standard output; of a file, rich thinks that it is 80 characters wide."""
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def show(grid: Grid, place: Console, title: str | None = None) -> None:
    """Print a table, the best values in bold green."""
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for number, name in enumerate(grid.lines[0]):
        left = number in grid.left
        head = re.sub(r"(?<=[:=])(?=\S)|\s+(?![^(]*\))", "\n", name)
        table.add_column(head, justify="left" if left else "right", no_wrap=not left)
    for texts in grid.lines[1:]:
        table.add_row(*(Text(t.replace("**", ""), style="bold green" if "**" in t else "") for t in texts))
    place.print(table)


# ---------------------------------------------------------------- numbers


def percent(spread: Spread, missing: str = "-") -> str:
    """Return a mean and a deviation in [0, 1] as per cent.

    Examples
    --------
    >>> percent((0.5, 0.01)), percent((0.5, math.nan)), percent((math.nan, math.nan))
    ('50.0 ± 1.0', '50.0', '-')
    """
    return with_deviation(spread, ".1f", 100, missing)


def signed(spread: Spread) -> str:
    """Return a difference and its deviation in points.

    Examples
    --------
    >>> signed((0.015, 0.002)), signed((math.nan, math.nan))
    ('+1.5 ± 0.2', '-')
    """
    text = with_deviation(spread, ".1f", 100)
    return text if text.startswith("-") else f"+{text}"


def with_deviation(spread: Spread, form: str, scale: float = 1, missing: str = "-") -> str:
    """Return a mean, and a deviation if there is one, each times `scale`.

    Examples
    --------
    >>> with_deviation((0.98765, 0.001), ".3f")
    '0.988 ± 0.001'
    """
    mean, std = (scale * value for value in spread)
    if math.isnan(mean):
        return missing
    return f"{mean:{form}}" + ("" if math.isnan(std) else f" ± {std:{form}}")


def short(value: float) -> str:
    """Return a number with three digits and a letter.

    Examples
    --------
    >>> short(66_723_928), short(1347), short(math.nan)
    ('66.7 M', '1.35 k', '-')
    """
    if math.isnan(value):
        return "-"
    for letter, unit in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= unit:
            return f"{value / unit:.3g} {letter}"
    return f"{value:.3g}"


def span(values: Iterable[float]) -> str:
    """Return the least and the most of some numbers.

    Examples
    --------
    >>> span([3, 5, 4]), span([2, 2])
    ('3 to 5', '2')
    """
    known = [value for value in values if not math.isnan(value)]
    return " to ".join(distinct(short(value) for value in (min(known), max(known)))) if known else "-"


def mean_of(values: Iterable[float]) -> str:
    """Return the mean of the numbers that there are."""
    known = [value for value in values if not math.isnan(value)]
    return short(sum(known) / len(known)) if known else "-"


def bold(text: str, best: bool) -> str:
    """Return a text, between double asterisks if it is the best."""
    return f"**{text}**" if best else text
