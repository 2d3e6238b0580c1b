"""Files that are damaged or exchanged, and whether whoever reads them says so."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.soaks.children import Outcome, run
from benchmarks.soaks.faults import Tally, together
from benchmarks.soaks.work import WORKS, Work, digest_of, digest_of_labels
from noisycorrect import CorrectionResult, SoftLabelStore

NAMES = ("checkpoint.pt", "checkpoint.previous.pt", "details.json", "history.json", "model.safetensors", "model.pt",
         "labels/manifest.json", "labels/given.h5", "labels/generation-*.h5")  # fmt: skip


@dataclass
class Template:
    """A folder as it is when nothing is wrong, and what reading it gives.

    Attributes
    ----------
    name : str
        What tables call it.
    work : Work
        Of which kind of run.
    folder, other : Path
        The folder; and the same of another run with the same labels.
    saved : bool
        Whether it is a saved result, no run folder.
    readings : dict of str to str
        Digest by way of reading.
    """

    name: str
    work: Work
    folder: Path
    other: Path
    saved: bool
    readings: dict[str, str] = field(default_factory=dict)

    def files(self) -> list[Path]:
        """Return the files that can be damaged."""
        return sorted(path for name in NAMES for path in self.folder.glob(name))


def readings(template: Template, folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield every way of reading a folder: its name, and a function that returns a digest."""
    work = template.work

    def loaded() -> str:
        result = CorrectionResult.load(folder, work.network())
        return f"{digest_of(result)} {result.sample_passes} {result.class_names}"

    yield "load", loaded
    yield "labels", lambda: digest_of_labels(SoftLabelStore.open(folder / "labels"))
    if not template.saved:
        yield "resume", lambda: digest_of(work.fit(folder, True))


def templates(folder: Path, names: tuple[str, ...] = ("classes", "every step", "masks")) -> list[Template]:
    """Make the folders: of each work a finished run, a result saved as safetensors, and one saved as torch does."""
    made = []
    for name in names:
        work = WORKS[name]
        place = folder / name.replace(" ", "-")
        place.mkdir(parents=True)

        def write(work: Work = work, place: Path = place) -> None:
            for run_name in ("one", "two"):
                result = work.fit(place / run_name, "auto")
                for weights in _weights():
                    result.save(place / f"{run_name}-{weights}", weights=weights)

        outcome = run(write)
        assert outcome.state == "done", outcome
        made.append(Template(f"{name}: run", work, place / "one", place / "two", False))
        made += [
            Template(f"{name}: saved, {weights}", work, place / f"one-{weights}", place / f"two-{weights}", True)
            for weights in _weights()
        ]
    for template in made:
        template.readings = {way: _value(run(read)) for way, read in readings(template, template.folder)}
    return made


def _weights() -> tuple[str, ...]:
    import importlib.util

    return ("torch",) if importlib.util.find_spec("safetensors") is None else ("safetensors", "torch")


def _value(outcome: Outcome) -> str:
    assert outcome.state == "done", outcome
    return str(outcome.value)


# ---------------------------------------------------------------- the damages


def damage(rng: random.Random, path: Path, template: Template) -> str:
    """Damage a file; return how."""
    content, kind = bytearray(path.read_bytes()), rng.choice(list(DAMAGES))
    changed = DAMAGES[kind](rng, content, path, template)
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)
    return kind


def _flip(rng: random.Random, content: bytearray, path: Path, template: Template) -> bytes:
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def _zeroed(rng: random.Random, content: bytearray, path: Path, template: Template) -> bytes:
    start, size = rng.randrange(len(content)), rng.choice((1, 16, 512, 4096))
    end = min(len(content), start + size)
    content[start:end] = bytes(end - start)
    return bytes(content)


def _garbled(rng: random.Random, content: bytearray, path: Path, template: Template) -> bytes:
    start, size = rng.randrange(len(content)), rng.choice((4, 64, 512))
    end = min(len(content), start + size)
    content[start:end] = rng.randbytes(end - start)
    return bytes(content)


def _truncated(rng: random.Random, content: bytearray, path: Path, template: Template) -> bytes:
    return bytes(content[: rng.randrange(len(content))])


def _lengthened(rng: random.Random, content: bytearray, path: Path, template: Template) -> bytes:
    return bytes(content) + rng.randbytes(rng.choice((1, 100, 4096)))


def _moved(rng: random.Random, content: bytearray, path: Path, template: Template) -> bytes:
    """Exchange two blocks of the file."""
    size = rng.choice((4, 64, 512))
    if len(content) < 2 * size:
        return _flip(rng, content, path, template)
    first, second = sorted(rng.sample(range(len(content) // size), 2))
    one, other = (slice(size * place, size * (place + 1)) for place in (first, second))
    content[one], content[other] = content[other], content[one]
    return bytes(content)


def _of_another_run(rng: random.Random, content: bytearray, path: Path, template: Template) -> bytes:
    return (template.other / path.relative_to(_root(path))).read_bytes()


def _of_the_same(rng: random.Random, content: bytearray, path: Path, template: Template) -> bytes:
    """Take another file of the same folder."""
    others = [other for other in template.files() if other.name != path.name]
    return rng.choice([other for other in others if other.suffix == path.suffix] or others).read_bytes()


def _root(path: Path) -> Path:
    return path.parent.parent if path.parent.name == "labels" else path.parent


DAMAGES: dict[str, Callable[[random.Random, bytearray, Path, Template], bytes | None]] = {
    "bits flipped": _flip,
    "block zeroed": _zeroed,
    "block garbled": _garbled,
    "truncated": _truncated,
    "lengthened": _lengthened,
    "blocks exchanged": _moved,
    "file of another run": _of_another_run,
    "another file of the run": _of_the_same,
    "deleted": lambda rng, content, path, template: None,
}


# ---------------------------------------------------------------- the trial


def damage_trial(rng: random.Random, template: Template, folder: Path, tallies: dict[tuple[str, str], Tally]) -> None:
    """Damage a copy of a template, read it in every way, and count whether the damage was said."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template.folder, folder)
    path = folder / rng.choice(template.files()).relative_to(template.folder)
    before = path.read_bytes()
    kind = damage(rng, path, template)
    tally = tallies[kind, template.name]
    tally.trials += 1
    what = f"{kind} in {path.relative_to(folder)}"
    if path.exists() and path.read_bytes() == before:
        return
    harmed = False
    for way, read in readings(template, folder):
        outcome = run(read)
        harmed |= outcome.state != "done"
        judge_reading(tally, outcome, template.readings[way], f"{way} after {what}")
    tally.struck += harmed
    if harmed and not template.saved and rng.random() < 0.25:
        _rescue(tally, template, folder, what)
    shutil.rmtree(folder, ignore_errors=True)


def judge_reading(tally: Tally, outcome: Outcome, expected: str, what: str) -> None:
    """Count one reading: as it should be, refused clearly, or else."""
    if outcome.state == "done":
        if str(outcome.value) != expected:
            tally.silent += 1
            tally.note(f"{what}: another result")
    elif outcome.clear:
        tally.refused += 1
    else:
        tally.unclear += 1
        tally.note(f"{what}: {outcome.state} {outcome.error} {outcome.where[-500:]}")


def _rescue(tally: Tally, template: Template, folder: Path, what: str) -> None:
    """Go on from what is whole: it must end as if nothing had been, or say that nothing is."""
    (outcome,) = together(template.work, folder, "last-whole")
    judge_reading(tally, outcome, template.readings["resume"], f"last-whole after {what}")


def damage_once(seed: int, template: Template, folder: Path) -> Any:
    """Return the tally of one damage, by its seed: for looking at it again."""
    tallies: dict[tuple[str, str], Tally] = {(kind, template.name): Tally() for kind in DAMAGES}
    damage_trial(random.Random(seed), template, folder, tallies)
    return next(tally for tally in tallies.values() if tally.trials)
