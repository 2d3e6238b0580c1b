"""A short, seeded sample of the soak: what it takes half an hour for is `python -m benchmarks.soak`."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import pytest

from benchmarks.soaks import hostile, hostile_checkpoints
from benchmarks.soaks.children import Outcome, run, warm
from benchmarks.soaks.damages import damage_trial, judge_reading, readings, templates
from benchmarks.soaks.faults import FAULTS, Faults, Tally
from benchmarks.soaks.page import NUMBERS, page, plain, summed, totals
from benchmarks.soaks.work import WORKS
from noisycorrect.support.checkpoint import load_checkpoint, stated_digest

DAMAGES, INPUTS = 16, 20


def sums(tallies: dict[tuple[str, str], Tally]) -> Tally:
    total = Tally()
    for tally in tallies.values():
        for name in NUMBERS:
            setattr(total, name, getattr(total, name) + getattr(tally, name))
        total.notes += tally.notes
    return total


def test_damages_are_found_or_harmless(tmp_path: Path) -> None:
    warm()
    made, tallies, rng = templates(tmp_path / "made", ("classes",)), defaultdict(Tally), random.Random(0)
    for _ in range(DAMAGES):
        damage_trial(rng, rng.choice(made), tmp_path / "damaged", tallies)
    total = sums(tallies)
    assert (total.lost, total.silent, total.unclear) == (0, 0, 0), total.notes
    assert total.trials == DAMAGES
    assert total.struck >= DAMAGES / 2


def test_a_silent_damage_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight changed on disk: without digests nobody notices, and the sample would say so."""
    warm()
    made = templates(tmp_path / "made", ("classes",))
    (saved,) = (template for template in made if template.name == "classes: saved, torch")
    path = saved.folder / "model.pt"
    content = bytearray(path.read_bytes())
    weight = load_checkpoint(path)["model"]["0.weight"].numpy().tobytes()
    content[content.index(weight) + 2] ^= 64
    path.write_bytes(content)
    way, read = next(iter(readings(saved, saved.folder)))
    tally = Tally()
    judge_reading(tally, run(read), saved.readings[way], "with digests")
    assert (tally.refused, tally.silent) == (1, 0)
    monkeypatch.setattr("noisycorrect.saved.details.Details.check_file", lambda *_: None)
    monkeypatch.setattr("noisycorrect.support.checkpoint.file_digest", lambda path, size: stated_digest(path))
    judge_reading(tally, run(read), saved.readings[way], "without")
    assert (tally.refused, tally.silent) == (1, 1)


@pytest.mark.parametrize("fault", ["kill -9", "full disk", "two at once"])
def test_a_fault_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    warm()
    monkeypatch.setattr("benchmarks.soaks.faults.CHANCES", {fault: 1})
    monkeypatch.setattr("benchmarks.soaks.faults.MOST_ATTEMPTS", 2)
    faults = Faults(tmp_path, seed=1)
    faults.trial(WORKS["classes"])
    total = sums(faults.tallies)
    assert (total.lost, total.silent, total.unclear) == (0, 0, 0), total.notes
    assert faults.ends == {"ended as undisturbed": 1}
    assert set(FAULTS) >= {fault}


def test_bad_inputs_are_refused(tmp_path: Path) -> None:
    warm()
    run(lambda: WORKS["classes"].fit(tmp_path / "made", "auto") and None)
    hostile_checkpoints.use_run(tmp_path / "made")
    chosen = random.Random(0).sample(hostile.all_bad_inputs(), INPUTS)
    try:
        found = {f"{bad.room}: {bad.name}": hostile.problem(bad, tmp_path / "bad") for bad in chosen}
    finally:
        hostile_checkpoints.use_run(None)
    assert {name: wrong for name, wrong in found.items() if wrong is not None} == {}
    assert len(hostile.all_bad_inputs()) >= 300


@pytest.mark.parametrize(
    ("outcome", "wrong"),
    [
        (Outcome("done"), "taken without a word"),
        (Outcome("refused", error="E: expected a; got b; to fix: c"), None),
        (Outcome("refused", error="E: expected a; got b; to fix: weights_only=False"), "refused: E"),
        (Outcome("raised", error="KeyError: 'a'"), "raised: KeyError"),
        (Outcome("refused", error="E: expected a; got b; to fix: c", seconds=9), "refused after 9.0 s"),
        (Outcome("refused", error="E: expected a; got b; to fix: c", megabytes=9000), "refused after taking 9000 MB"),
        (Outcome("died", error="SIGSEGV"), "died: SIGSEGV"),
    ],
)
def test_the_verdict_on_an_answer(outcome: Outcome, wrong: str | None) -> None:
    found = hostile.verdict(hostile.BadInput("a", "b", lambda folder: None), outcome)
    assert found is None if wrong is None else found is not None and found.startswith(wrong)


def test_the_page_says_what_went_wrong() -> None:
    tallies = {("kill -9", "masks"): Tally(trials=500, lost=1, notes=["gone"]), ("clock", "masks"): Tally(trials=2)}
    payload = {
        "faults": plain(summed(tallies, 0)),
        "works": plain(summed(tallies, 1)),
        "damages": plain({"bits flipped": Tally(trials=1000, silent=2)}),
        "folders": {},
        "bad_inputs": {"manifests": {"tried": 300, "wrong": 3, "notes": ["manifests: null: raised"]}},
    }
    assert totals(payload) == {
        "kills": 500, "faults": 502, "damages": 1000, "bad inputs": 300, "lost": 1, "silent": 2, "unclear": 3
    }  # fmt: skip
    text = page(payload)
    assert "500 kills among 502 faults, 1,000 damages, 300 bad inputs: 1 lost, 2 silent, 3 unclear." in text
    assert "gone" in text
    assert "manifests: null: raised" in text
