"""What becomes of runs that are killed, starved and crowded, of damaged files and of bad inputs.

    python -m benchmarks.soak --minutes 20 --seed 0 --processes 2 --results docs/results --stem reliability

Bad inputs come first, all of them once, then damages, then faults for the rest of the time. Lost, silently wrong and
unclear have to be 0; the exit status is 1 if they are not.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.lab.experiment import FINISHED, new_parser, usage
from benchmarks.lab.report import write_report
from benchmarks.lab.tables import console
from benchmarks.soaks import hostile, hostile_checkpoints
from benchmarks.soaks.children import Child, run, warm
from benchmarks.soaks.damages import damage_trial, templates
from benchmarks.soaks.faults import Faults, Tally, works_in_turn
from benchmarks.soaks.page import figure, page, plain, summed, totals
from benchmarks.soaks.work import WORKS
from noisycorrect.support.errors import InvalidInputError

Tallies = dict[tuple[str, str], Tally]


def soak(place: Path, seconds: float, seed: int, damages: int, part: range) -> dict[str, Any]:
    """Run one process's share of the soak, and return its tallies.

    Parameters
    ----------
    place : Path
        A folder for everything.
    seconds : float
        How long faults go on, at most, from now.
    seed : int
        Of all choices.
    damages : int
        How many.
    part : range
        Which of all bad inputs, by position.
    """
    end = time.monotonic() + seconds
    place.mkdir(parents=True, exist_ok=True)
    rooms = _bad_inputs(place, part)
    found: Tallies = defaultdict(Tally)
    rng, ready = random.Random(seed), templates(place / "templates")
    for _ in range(damages):
        damage_trial(rng, rng.choice(ready), place / "damaged", found)
    faults = Faults(place / "faults", seed)
    for work in works_in_turn():
        if time.monotonic() > end:
            break
        faults.trial(work)
    return {
        "faults": plain(summed(faults.tallies, 0)),
        "works": plain(summed(faults.tallies, 1)),
        "damages": plain(summed(found, 0)),
        "folders": plain(summed(found, 1)),
        "bad_inputs": rooms,
        "runs": dict(faults.ends),
    }


def _bad_inputs(place: Path, part: range) -> dict[str, Any]:
    rooms: dict[str, Any] = {}
    made = place / "made"
    run(lambda: WORKS["classes"].fit(made, "auto") and None)
    hostile_checkpoints.use_run(made)
    try:
        for number, bad in enumerate(hostile.all_bad_inputs()):
            if number in part:
                room = rooms.setdefault(bad.room, {"tried": 0, "wrong": 0, "notes": []})
                wrong = hostile.problem(bad, place / "bad")
                room["tried"] += 1
                if wrong is not None:
                    room["wrong"] += 1
                    room["notes"].append(f"{bad.room}: {bad.name}: {wrong}"[:800])
    finally:
        hostile_checkpoints.use_run(None)
    return rooms


def merged(shares: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the shares of several processes as one: numbers added, notes joined.

    Examples
    --------
    >>> merged([{"a": {"trials": 1, "notes": []}}, {"a": {"trials": 2, "notes": ["x"]}, "b": {"trials": 1}}])
    {'a': {'trials': 3, 'notes': ['x']}, 'b': {'trials': 1}}
    """
    found: dict[str, Any] = {}
    for share in shares:
        for name, value in share.items():
            if isinstance(value, dict):
                found[name] = merged([found.get(name, {}), value])
            else:
                found[name] = found[name] + value if name in found else value
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Run the soak, write the report; return the exit status."""
    parser = new_parser("soak", "Kill, starve, crowd, damage, and look what is lost.")
    parser.add_argument("--minutes", type=float, default=20, help="of everything (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all choices; moments also follow from the machine")
    parser.add_argument("--damages", type=int, default=1000, help="files to damage (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="shares that run at once, each with its own seed")
    parser.add_argument(
        "--results", type=Path, default=Path("runs/soak"), help="folder of the report (default: %(default)s)"
    )
    parser.add_argument("--stem", default="soak", help="how the report's files are called (default: %(default)s)")
    options = parser.parse_args(words)
    if options.minutes <= 0 or options.processes < 1 or options.damages < 0:
        return usage(InvalidInputError("minutes > 0, processes >= 1, damages >= 0", got=str(words), fix="change them"))
    place = Path(tempfile.mkdtemp(prefix="noisycorrect-soak-"))
    try:
        warm()
        payload = _shared(options, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    payload["totals"] = totals(payload)
    text = page(payload)
    write_report(options.results, payload, text, lambda: {"ends": figure(payload)}, stem=options.stem)
    console().print(text, markup=False, soft_wrap=True)
    bad = sum(payload["totals"][name] for name in ("lost", "silent", "unclear"))
    return 1 if bad else FINISHED


def _shared(options: Any, place: Path) -> dict[str, Any]:
    """Run the shares of all processes, in children that import nothing."""
    count, inputs = options.processes, len(hostile.all_bad_inputs())
    shares = []
    for number in range(count):
        part = range(number, inputs, count)
        damages = options.damages // count + (number < options.damages % count)
        folder, seed = place / f"share-{number}", options.seed * 1000 + number
        answer = folder.with_suffix(".json")
        shares.append((answer, Child(_writing(answer, folder, 60 * options.minutes, seed, damages, part))))
    for _, child in shares:
        outcome = child.outcome(longest=60 * options.minutes + 3600)
        if outcome.state != "done":
            raise RuntimeError(f"a share of the soak: {outcome.state} {outcome.error} {outcome.where}")
    import json

    return merged([json.loads(answer.read_text(encoding="utf-8")) for answer, _ in shares])


def _writing(answer: Path, *arguments: Any) -> Any:
    def work() -> None:
        import json

        answer.write_text(json.dumps(soak(*arguments)), encoding="utf-8")

    return work


if __name__ == "__main__":
    sys.exit(main())
