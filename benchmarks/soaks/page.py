"""The table of the soak, as Markdown and as a picture."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.lab.figures import panels
from benchmarks.lab.tables import Column, Grid, bullets, down, markdown
from benchmarks.soaks.faults import Tally

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Reliability"
KILLS = ("kill -9", "SIGTERM", "interrupt")
_WAYS = (
    "Each run is tiny (a second), and has what a large one has: BatchNorm, averages, recalibration, generations of "
    "labels, checkpoints; class labels with evidence by cycle and by step, masks, and two ranks. A run suffers up to "
    "six faults and is resumed after each; at the end weights, labels and history have to be those of a run that "
    "nobody disturbed, bit for bit, and after each fault every file has to be whole. *Struck*: the process did not "
    "end as if nothing had been. *Refused*: it ended by an error of ours that says what to do. *Raised*: by another "
    "(KeyboardInterrupt; the memory or the descriptors that it was denied; the other rank that is gone). *Died*: by "
    "the signal. *Lost*: could not go on, hung, or a file was damaged. *Silent*: ended with another result."
)
_DAMAGED = (
    "A file of a finished run or of a saved result is damaged, and the folder read in every way: loaded, its labels "
    'read in full, the run resumed; sometimes with `resume="last-whole"`. *Harmed*: at least one of these refused. '
    "The others returned what they return of the undamaged folder (history.json of a run, say, is written anew)."
)
_HOSTILE = (
    "Each has to be refused in one sentence that says what was expected, found and is to be done, within a second of "
    "processor time (making it included) and 512 MB; none may run code, hang or crash."
)
NUMBERS = ("trials", "struck", "refused", "raised", "died", "lost", "silent", "unclear")


def summed(tallies: Mapping[tuple[str, str], Tally], by: int) -> dict[str, Tally]:
    """Return tallies added up by the first or the second part of their key."""
    found: dict[str, Tally] = {}
    for key, tally in tallies.items():
        total = found.setdefault(key[by], Tally())
        for name in NUMBERS:
            setattr(total, name, getattr(total, name) + getattr(tally, name))
        total.notes += tally.notes
    return found


def totals(payload: Mapping[str, Any]) -> dict[str, int]:
    """Return what the soak is judged by: kills, damages and bad inputs, and how many went wrong."""
    faults, damages = (payload[name].values() for name in ("faults", "damages"))
    kills = sum(tally["trials"] for name, tally in payload["faults"].items() if name in KILLS)
    rows = [*faults, *damages]
    return {
        "kills": kills,
        "faults": sum(tally["trials"] for tally in payload["faults"].values()),
        "damages": sum(tally["trials"] for tally in payload["damages"].values()),
        "bad inputs": sum(room["tried"] for room in payload["bad_inputs"].values()),
        "lost": sum(tally["lost"] for tally in rows),
        "silent": sum(tally["silent"] for tally in rows),
        "unclear": sum(tally["unclear"] for tally in rows) + sum(r["wrong"] for r in payload["bad_inputs"].values()),
    }


def plain(tallies: Mapping[str, Tally]) -> dict[str, Any]:
    """Return tallies as plain values."""
    return {name: dataclasses.asdict(tally) for name, tally in sorted(tallies.items())}


def _counted(rows: Mapping[str, Mapping[str, Any]], columns: Sequence[tuple[str, str]], first: str) -> Grid:
    shown: list[Column[str]] = [(first, lambda name: name)]
    shown += [
        (title, functools.partial(lambda field, name: f"{rows[name][field]:,}", field)) for title, field in columns
    ]
    return down(list(rows), shown)


def page(payload: Mapping[str, Any]) -> str:
    """Return the page."""
    total = totals(payload)
    about = (
        f"{total['kills']:,} kills among {total['faults']:,} faults, {total['damages']:,} damages, "
        f"{total['bad inputs']:,} bad inputs: "
        f"{total['lost']} lost, {total['silent']} silent, {total['unclear']} unclear."
    )
    columns = [(name, name) for name in NUMBERS]
    of_damages = [("damages", "trials"), ("harmed", "struck"), ("refusals", "refused"), ("silent", "silent"),
                  ("unclear", "unclear")]  # fmt: skip
    rooms = _counted(payload["bad_inputs"], [("tried", "tried"), ("wrong", "wrong")], "bad inputs")
    rows = [(name, row) for part in ("faults", "damages") for name, row in payload[part].items()]
    notes = [f"{name}: {note}" for name, row in rows for note in row["notes"]]
    notes += [note for room in payload["bad_inputs"].values() for note in room["notes"]]
    blocks: list[str | Grid] = [f"# {TITLE}", about, "## Faults", _WAYS, _counted(payload["faults"], columns, "fault")]
    blocks += [_counted(payload["works"], columns, "run"), "## Damages", _DAMAGED]
    blocks += [_counted(payload["damages"], of_damages, "damage"), _counted(payload["folders"], of_damages, "folder")]
    blocks += ["## Bad inputs", _HOSTILE, rooms]
    if notes:
        blocks += ["## What went wrong", bullets(f"`{note}`" for note in notes)]
    return markdown(*blocks)


def figure(payload: Mapping[str, Any]) -> Figure:
    """Return how faults and damages ended, a bar each."""
    drawn = [(name, functools.partial(_draw, payload[name], kinds)) for name, kinds in (
        ("faults", (("unnoticed", "#999999"), ("refused", "#4477aa"), ("raised", "#66ccee"), ("died", "#222222"))),
        ("damages", (("unnoticed", "#999999"), ("struck", "#4477aa"))),
    )]  # fmt: skip
    return panels(drawn, 6, 3.6)


def _draw(rows: Mapping[str, Mapping[str, Any]], kinds: Sequence[tuple[str, str]], axes: Axes) -> None:
    names = list(rows)[::-1]
    left = [0] * len(names)
    for kind, colour in kinds:
        if kind == "unnoticed":
            values = [rows[name]["trials"] - rows[name]["struck"] for name in names]
        else:
            values = [rows[name][kind] for name in names]
        label = {"unnoticed": "as if nothing had been", "struck": "refused"}.get(kind, kind)
        axes.barh(names, values, left=left, color=colour, label=label)
        left = [one + other for one, other in zip(left, values, strict=True)]
    wrong = [sum(rows[name][kind] for kind in ("lost", "silent", "unclear")) for name in names]
    axes.barh(names, wrong, left=left, color="#cc3311", label="lost, silent or unclear")
    axes.set_xlabel("processes" if "died" in dict(kinds) else "damages")
