"""One row of `python -m benchmarks.scale` at one size: run, watched, and told as a line of JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect import RECIPES, Classification, NeighborCorrection, Progress, SelfCorrector, SoftLabelStore
from noisycorrect.data.batches import LabelView, ShardedBatches, StreamLoader, make_loader
from noisycorrect.data.datasets import ArrayDataset
from noisycorrect.data.streams import StreamedDataset
from noisycorrect.labels.refine import exponential_evidence
from noisycorrect.labels.storage import TopEvidence, made_evidence
from noisycorrect.review.issues import find_label_issues
from noisycorrect.review.noise_rate import estimate_store_noise

FEATURES, NOISE, MOMENTUM, PER_CLASS = 32, 0.2, 0.7, 20
GIGA = 1e9


@dataclass(frozen=True)
class Row:
    """A row: what is run, and how large it is.

    Attributes
    ----------
    what : str
        What the table calls it.
    run : callable
        ``run(samples, classes, folder)`` -> (what is to be watched, a function, and a note on its result).
    samples, classes : int
        N and K of the whole size.
    budget : float or None
        Most memory that may take, GB.
    always_whole : bool
        Whether it is small enough to be run whole each time.
    """

    what: str
    run: Callable[[int, int, Path], tuple[Callable[[], Any], Callable[[Any], str]]]
    samples: int
    classes: int
    budget: float | None = None
    always_whole: bool = False


class Watch:
    """Peak of this process's anonymous and file pages, beyond those at the start, GB; looked at 50 times a second."""

    def __init__(self) -> None:
        self._base = _pages()
        self._peak = dict(self._base)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.02):
            for name, value in _pages().items():
                self._peak[name] = max(self._peak[name], value)

    def peak(self, name: str) -> float:
        """Return the peak of ``RssAnon`` or ``RssFile``."""
        return self._peak[name] - self._base[name]


def _pages() -> dict[str, float]:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    found = dict(line.split(":", 1) for line in lines if line.startswith(("RssAnon", "RssFile")))
    return {name: int(value.split()[0]) * 1024 / GIGA for name, value in found.items()}


def _table(samples: int, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return vectors around a centre a class, labels of which a fifth is another class, and the right ones.

    Of many classes so many occur that each has 20 samples: of a class with one label nobody can say if it is right.
    """
    generator = torch.Generator().manual_seed(0)
    used = max(2, min(classes, samples // PER_CLASS))
    numbers = torch.randperm(classes, generator=generator)[:used]
    centres = torch.randn(used, FEATURES, generator=generator)
    clean = torch.randint(used, (samples,), generator=generator)
    inputs = centres[clean] + 0.4 * torch.randn(samples, FEATURES, generator=generator)
    wrong = torch.rand(samples, generator=generator) < NOISE
    other = (clean + 1 + torch.randint(used - 1, (samples,), generator=generator)) % used
    return inputs, numbers[torch.where(wrong, other, clean)], numbers[clean]


def _training(
    recipe: str, epochs: int, storage: str = "top-64", codec: str = "float32"
) -> Callable[[int, int, Path], tuple[Callable[[], Any], Callable[[Any], str]]]:
    def made(samples: int, classes: int, folder: Path) -> tuple[Callable[[], Any], Callable[[Any], str]]:
        inputs, given, clean = _table(samples, classes)
        chosen = RECIPES[recipe]
        if recipe == "robust":
            chosen = chosen.replace(correction=NeighborCorrection(storage=storage))
        corrector = SelfCorrector(
            nn.Linear(FEATURES, classes),
            task=Classification(classes, allow_empty_classes=True, codec=codec),
            recipe=chosen,
            epochs=epochs,
            batch_size=256 if classes <= 10_000 else 64,
            run_dir=folder,
            callbacks=[Progress(enabled=False)],
        )

        def note(result: Any) -> str:
            found = torch.from_numpy(result.labels.labels())
            right, before = (float((labels == clean).float().mean()) for labels in (found, given))
            return f"{epochs} epochs; right labels {before:.3f} -> {right:.3f}"

        return lambda: corrector.fit((inputs, given)), note

    return made


def _store(samples: int, classes: int, folder: Path) -> SoftLabelStore:
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(classes, (samples,), generator=generator)
    given = torch.where(torch.rand(samples, generator=generator) < NOISE, (clean + 1) % classes, clean)
    store = SoftLabelStore.create(folder / "labels", given.numpy(), classes)
    with store.new_generation() as writer:
        for rows in torch.split(torch.arange(samples), max(1, 2**23 // classes)):
            logits = torch.randn(len(rows), classes, generator=generator)
            logits.scatter_(1, clean[rows].unsqueeze(1), 16.0)
            writer.write(rows, logits.softmax(1))
    return store


def _review(samples: int, classes: int, folder: Path) -> tuple[Callable[[], Any], Callable[[Any], str]]:
    store = _store(samples, classes, folder)

    def work() -> Any:
        return find_label_issues(store), estimate_store_noise(store)

    return work, lambda found: f"{len(found[0]):,} issues, rate {found[1].rate:.3f}"


def _forms(form: str) -> Callable[[int, int, Path], tuple[Callable[[], Any], Callable[[Any], str]]]:
    """Ten epochs of evidence in a form, beside float64; the error at the given class and at others."""

    def made(samples: int, classes: int, folder: Path) -> tuple[Callable[[], Any], Callable[[Any], str]]:
        own = torch.arange(samples) % classes
        few = torch.arange(0, samples, max(1, samples // 200))

        def work() -> Any:
            held = made_evidence(form, own, classes, folder)
            exact = torch.full((len(few), classes), 1 / classes, dtype=torch.float64)
            for epoch in range(10):
                for rows in torch.split(torch.arange(samples), 2048):
                    held[rows] = exponential_evidence(held[rows], _predicted(rows, own, classes, epoch), 1, MOMENTUM)
                exact = MOMENTUM * exact + (1 - MOMENTUM) * _predicted(few, own, classes, epoch).double()
                if form == "mapped":
                    held.end_epoch()  # type: ignore[union-attr]
            return (held[few].double() - exact).abs(), held

        def note(found: Any) -> str:
            error, held = found
            mine = float(error.gather(1, own[few].unsqueeze(1)).max())
            bound = 0.0 if isinstance(held, Tensor) else held.max_error() / (1 - MOMENTUM)
            rest = f", mean rest {float(held.rest.mean()):.2g}" if isinstance(held, TopEvidence) else ""
            return f"largest error {float(error.max()):.1e} (bound {bound:.1e}), at the given class {mine:.1e}{rest}"

        return work, note

    return made


def _predicted(rows: Tensor, own: Tensor, classes: int, epoch: int) -> Tensor:
    """Return predictions that are the same whenever they are asked for, float32 (n, K): sure of some, not of others."""
    angle = torch.outer(rows.float() + 1, torch.arange(1, classes + 1).float())
    logits = 3 * torch.sin(angle * (1 + 0.01 * epoch)) + 0.0
    sure = (rows % 7).float().unsqueeze(1)
    return logits.scatter_add_(1, own[rows].unsqueeze(1), sure).softmax(1)


def _rows(streamed: bool) -> Callable[[int, int, Path], tuple[Callable[[], Any], Callable[[Any], str]]]:
    """Read all batches of so many rows, and of a hundredth of them; the note has the ratio a sample."""

    def made(samples: int, classes: int, folder: Path) -> tuple[Callable[[], Any], Callable[[Any], str]]:
        few = max(1, samples // 100)
        loaders = {count: _loader(count, classes, streamed) for count in (samples, few)}

        def work() -> Any:
            times = {}
            for count, loader in loaders.items():
                begin = time.process_time()
                for _ in range(max(1, samples // count // 20)):
                    for _batch in loader:
                        pass
                times[count] = (time.process_time() - begin) / count / max(1, samples // count // 20)
            return times

        def note(times: Any) -> str:
            return (
                f"{1e6 * times[samples]:.2f} µs a sample, {times[samples] / times[few]:.2f} times that of {few:,} rows"
            )

        return work, note

    return made


def _loader(count: int, classes: int, streamed: bool) -> Any:
    inputs, labels = torch.zeros(count, FEATURES), torch.arange(count) % classes
    if streamed:
        data = StreamedDataset(_Items(inputs, labels), "train")
        return StreamLoader(LabelView(data, None, seed=0), 256, -(-count // 256))
    view = LabelView(ArrayDataset(inputs, labels), None, seed=0, expected=labels.numpy().copy())
    return make_loader(view, ShardedBatches(count, 256, seed=0), 0)


class _Items:
    """Items with ids, in passes."""

    def __init__(self, inputs: Tensor, labels: Tensor) -> None:
        self.inputs, self.labels = inputs, labels

    def __iter__(self) -> Iterator[tuple[Tensor, int, int]]:
        labels: list[int] = self.labels.tolist()
        for row, label in enumerate(labels):
            yield self.inputs[row], label, row


ROWS = {
    "float32": Row("evidence in float32, 10 epochs", _forms("float32"), 20_000, 1_000, always_whole=True),
    "float16": Row("evidence in float16", _forms("float16"), 20_000, 1_000, always_whole=True),
    "top-64": Row("evidence in top-64", _forms("top-64"), 20_000, 1_000, always_whole=True),
    "mapped": Row("evidence in mapped files", _forms("mapped"), 20_000, 1_000, always_whole=True),
    "robust-1000": Row("default recipe", _training("robust", 2), 1_000_000, 1_000, 8.0),
    "paper-1000": Row("paper's recipe", _training("paper", 4, codec="sqrt-uint8"), 1_000_000, 1_000, 8.0),
    "review-1000": Row("issues and verdict", _review, 1_000_000, 1_000, 8.0),
    "robust-100000": Row("default recipe", _training("robust", 2, codec="scaled-float16"), 10_000, 100_000, 8.0),
    "paper-100000": Row("paper's recipe", _training("paper", 3, codec="scaled-float16"), 10_000, 100_000, 8.0),
    "review-100000": Row("issues and verdict", _review, 10_000, 100_000, 8.0),
    "rows": Row("2 M rows from arrays", _rows(False), 2_000_000, 10),
    "stream": Row("2 M rows from a stream", _rows(True), 2_000_000, 10),
}


def measure(name: str, samples: int) -> dict[str, float | str]:
    """Run a row at a size, and return its figures."""
    row = ROWS[name]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        work, note = row.run(samples, row.classes, Path(folder))
        with Watch() as watch:
            begin = time.process_time()
            result = work()
            seconds = time.process_time() - begin
        disk = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / GIGA
        figures = {"memory": watch.peak("RssAnon"), "files": watch.peak("RssFile"), "disk": disk, "seconds": seconds}
        return {**figures, "note": note(result)}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a network that has not learnt looks like is said by the figures
        yield


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
