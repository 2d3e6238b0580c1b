"""Progress on a terminal, and silence elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text


class RateColumn(ProgressColumn):
    """How many samples a second."""

    def render(self, task: Task) -> Text:
        """Return the rate of a progress task as text."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} samples/s", style="progress.data.speed")


class _Bars(Progress):
    """A progress that, disabled, writes nothing: before rich 14.3 its end is an empty line all the same."""

    def stop(self) -> None:
        """Take the bars away, if there are any."""
        if not self.disable:
            super().stop()


def samples_progress(*, enabled: bool = True, console: Console | None = None) -> Progress:
    """Return a progress bar that counts samples, with their rate and the remaining time; silent off a terminal.

    Parameters
    ----------
    enabled : bool
        False keeps it silent on a terminal, too.
    console : rich.console.Console, optional
        Where it is shown; default: standard error.

    Examples
    --------
    >>> with samples_progress(enabled=False) as progress:
    ...     task = progress.add_task("training", total=10)
    ...     progress.advance(task, 10)
    """
    console = console or Console(stderr=True)
    return _Bars(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),  # the only column that gives way on a narrow terminal
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        RateColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(no_wrap=True)),
        console=console,
        disable=not (enabled and console.is_terminal),
    )
