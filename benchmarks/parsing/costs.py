"""What a study will cost, measured on the spot: a training step, a forward pass, memory, the label store; its plan."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.optim import SGD

from benchmarks.lab.methods import TRAINING_PASSES
from benchmarks.lab.tables import down, short, show
from benchmarks.parsing.methods import PARSING_METHODS
from benchmarks.parsing.networks import build_network, make_task, parameters, prepared
from benchmarks.parsing.plan import Cell, distinct_cells
from noisycorrect.labels import SoftLabelStore
from noisycorrect.training.engine import resolve_device, resolve_precision
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets.synthetic import SyntheticPeople
from noisycorrect_seg.task import HumanParsing

MEASURED_PIXELS = 600_000  # of a batch; larger ones are measured on fewer images, two at least, and extrapolated
PEOPLE, MAPS = 8, 32  # drawn to measure with; so many samples that a file's own bytes count little
LEAST_SIDE = 32  # of drawn people
SOFT_PIXELS = 1.5  # standard deviation of the outlines' blur, as in benchmarks.speed


@dataclass(frozen=True)
class Costs:
    """What one cell costs.

    Attributes
    ----------
    parameters : int
        Of the network.
    step_seconds, forward_seconds : float
        A sample: training step, and forward pass without gradients.
    measured_batch : int
        Images that both were measured on.
    activation_bytes : float
        A sample in training: what autograd keeps at its peak; on CUDA, what was allocated above the weights.
    generation_bytes : (float, float)
        A sample in one generation of the label store: of sharp predictions, and at most.
    """

    parameters: int
    step_seconds: float
    forward_seconds: float
    measured_batch: int
    activation_bytes: float
    generation_bytes: tuple[float, float]

    def seconds(self, cell: Cell) -> float:
        """Return the estimated time of a run, validation included, without reading the images."""
        training = self.step_seconds * cell.schedule.epochs * cell.train
        predictions = cell.passes() - TRAINING_PASSES * cell.schedule.epochs * cell.train
        return training + self.forward_seconds * (max(0, predictions) + (cell.cycles + 1) * cell.val)

    def memory(self, cell: Cell, ranks: int = 1) -> float:
        """Return the estimated peak of one process, in bytes.

        Weights, gradients, momentum, the average where there is one, and what autograd keeps of a batch; not the
        images.
        """
        copies = 3 + (PARSING_METHODS[cell.method].average is not None)
        return 4 * self.parameters * copies + self.activation_bytes * -(-cell.batch_size // ranks)

    def disk(self, cell: Cell) -> tuple[float, float]:
        """Return the size of a run's refined labels, all generations, in bytes: of sharp predictions, and at most.

        A network that is unsure comes near the second: 65 % of it in ten epochs of CCP.
        """
        samples = cell.train * cell.cycles if PARSING_METHODS[cell.method].correction else 0
        sharp, most = self.generation_bytes
        return sharp * samples, most * samples


def measure(cell: Cell, classes: Classes, *, device: str = "auto", **layout: bool) -> Costs:
    """Take a training step and a forward pass of a cell's network, and encode a few predictions.

    Parameters
    ----------
    cell : Cell
        The run.
    classes : Classes
        Of its data set.
    device : str
        As for :class:`noisycorrect.SelfCorrector`.
    **layout
        As for :func:`~benchmarks.parsing.networks.prepared`.
    """
    place = resolve_device(device)
    precision = resolve_precision(cell.precision, place)
    task = make_task(classes, cell.size, cell.losses)
    network = build_network(cell, len(classes)).to(place)
    size = parameters(network)
    model = prepared(network, **layout)
    batch = min(cell.batch_size, max(2, MEASURED_PIXELS // (cell.size[0] * cell.size[1])))
    images = torch.randn(batch, 3, *cell.size, device=place)
    labels = torch.from_numpy(_labels(batch, cell.size, len(classes))).to(place)
    if layout.get("channels_last"):
        images = images.to(memory_format=torch.channels_last)
    autocast: Any = torch.autocast(place.type, dtype=precision) if precision else contextlib.nullcontext()
    step, activations = _step(model, images, labels, task, autocast, place)
    with torch.no_grad(), autocast:
        model.eval()
        model(images)
        forward = _timed(lambda: task.probs(model(images)), place)
        shape = task.probs(model(images[:1])).shape[-2:]
    stored = generation_bytes(len(classes), (shape[0], shape[1])), float(len(classes) * shape.numel())
    return Costs(size, step / batch, forward / batch, batch, activations / batch, stored)


def _step(
    model: nn.Module, images: Tensor, labels: Tensor, task: HumanParsing, autocast: Any, place: torch.device
) -> tuple[float, float]:
    """Return the seconds of a training step after one to warm up, and the bytes that it needs beside the weights."""
    optimizer = SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4)
    model.train()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            loss = task.loss_function(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    if place.type == "cuda":
        step()
        before = torch.cuda.memory_allocated(place)
        torch.cuda.reset_peak_memory_stats(place)
        step()
        kept = float(torch.cuda.max_memory_allocated(place) - before)
    else:
        with kept_for_backward(model) as peak:
            step()
        kept = float(peak[0])
    return _timed(step, place), kept


def _timed(function: Any, place: torch.device) -> float:
    """Return the least time of two calls, in seconds."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        function()
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        times.append(time.perf_counter() - start)
    return min(times)


@contextlib.contextmanager
def kept_for_backward(model: nn.Module) -> Iterator[list[int]]:
    """Yield a list whose only entry becomes the most bytes that autograd kept at a time, weights left out.

    Tensors that share memory count once.

    Examples
    --------
    >>> inputs = torch.ones(4, 3, requires_grad=True)
    >>> with kept_for_backward(nn.Identity()) as peak:
    ...     loss = inputs.exp().sum()
    >>> peak
    [48]
    """
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    live: Counter[int] = Counter()
    state, peak = [0], [0]

    class Kept:
        """A saved tensor; its bytes are live for as long as this is."""

        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor
            storage = tensor.untyped_storage()
            self.key, self.size = storage.data_ptr(), storage.nbytes()
            if self.key not in own:
                live[self.key] += 1
                state[0] += self.size if live[self.key] == 1 else 0
                peak[0] = max(peak[0], state[0])

        def __del__(self) -> None:
            if self.key not in own:
                live[self.key] -= 1
                state[0] -= self.size if live[self.key] == 0 else 0

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        yield peak


def _labels(count: int, size: tuple[int, int], num_classes: int) -> np.ndarray:
    """Return masks of drawn people, their classes folded into the data set's, int64 (N, H, W)."""
    drawn = max(LEAST_SIDE, size[0]), max(LEAST_SIDE, size[1])
    people = SyntheticPeople(min(count, PEOPLE), size=drawn)
    rows, columns = (np.arange(side) * large // side for side, large in zip(size, drawn, strict=True))
    masks = [people.mask(index % len(people))[np.ix_(rows, columns)] % num_classes for index in range(count)]
    return np.stack(masks).astype(np.int64)


def generation_bytes(num_classes: int, shape: tuple[int, int]) -> float:
    """Return the bytes of a sample in one generation of the label store, from masks of people with soft outlines.

    Parameters
    ----------
    num_classes : int
        K.
    shape : (int, int)
        Height and width of the network's output.
    """
    labels = torch.from_numpy(_labels(MAPS, shape, num_classes))
    onehot = F.one_hot(labels, num_classes).permute(0, 3, 1, 2).float()
    soft = torch.from_numpy(gaussian_filter(onehot.numpy(), (0, 0, SOFT_PIXELS, SOFT_PIXELS)))
    with tempfile.TemporaryDirectory() as folder:
        given = [np.zeros((2, 2), np.uint8)] * MAPS
        store = SoftLabelStore.create(Path(folder) / "labels", given, num_classes, kind=HumanParsing.kind)
        with store.new_generation() as writer:
            writer.write(np.arange(MAPS), soft / soft.sum(1, keepdim=True))
        return (store.folder / f"generation-{store.generation:04d}.h5").stat().st_size / MAPS


# ---------------------------------------------------------------- the plan


def print_plan(
    cells: Mapping[str, Sequence[Cell]],
    classes: Classes,
    console: Console,
    *,
    processes: int,
    ranks: int,
    device: str,
    finished: Sequence[Cell] = (),
    **layout: bool,
) -> None:
    """Measure one cell of each row, and print what the study will take.

    Parameters
    ----------
    cells : mapping of str to sequence of Cell
        The cells by row.
    classes : Classes
        Of the data set.
    console : Console
        Where it is printed.
    processes : int
        Cells at a time; each is measured with its share of the cores.
    ranks : int
        Processes that share a batch.
    device : str
        As for :class:`noisycorrect.SelfCorrector`.
    finished : sequence of Cell
        Cells that need not be computed.
    **layout
        As for :func:`~benchmarks.parsing.networks.prepared`.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // processes))
    known: dict[tuple[object, ...], Costs] = {}
    for own in cells.values():
        if _network_of(own[0]) not in known:
            known[_network_of(own[0])] = measure(own[0], classes, device=device, **layout)
    torch.set_num_threads(threads)
    left = [cell for cell in distinct_cells(cells) if cell not in finished]
    total = sum(known[_network_of(cell)].seconds(cell) for cell in left)
    columns = [
        (head, lambda entry, say=say: say(entry[1][0], known[_network_of(entry[1][0])]))
        for head, say in _columns(ranks).items()
    ]
    runs = ("row", lambda entry: entry[0]), ("runs", lambda entry: str(len(entry[1])))
    show(down(cells.items(), [*runs, *columns]), console, "Plan")
    text = _foot(cells, len(left), total / (processes * ranks), processes, ranks)
    console.print(text, soft_wrap=True, highlight=False)


def _network_of(cell: Cell) -> tuple[object, ...]:
    return cell.backbone, cell.context, cell.losses


def _columns(ranks: int) -> dict[str, Callable[[Cell, Costs], str]]:
    """Return what the plan says of a cell and its costs, by the heads of its columns."""
    return {
        "epochs": lambda cell, _: f"{cell.schedule.epochs} = {cell.init_epochs} + {cell.cycles} x {cell.cycle_epochs}",
        "passes/run": lambda cell, _: short(cell.passes(ranks)),
        "params": lambda _, costs: short(costs.parameters),
        "step": lambda _, costs: duration(costs.step_seconds),
        "forward": lambda _, costs: duration(costs.forward_seconds),
        "time/run": lambda cell, costs: duration(costs.seconds(cell)),
        "memory": lambda cell, costs: gigabytes(costs.memory(cell, ranks)),
        "label store": lambda cell, costs: (
            " to ".join(map(gigabytes, costs.disk(cell))) if costs.disk(cell)[1] else "-"
        ),
    }


def _foot(cells: Mapping[str, Sequence[Cell]], left: int, seconds: float, processes: int, ranks: int) -> str:
    every = distinct_cells(cells)
    cell = every[0]
    size = f"{cell.size[0]}x{cell.size[1]}"
    text = f"{len(every)} runs, {left} to compute, {processes} at a time" + (f", {ranks} ranks each" * (ranks > 1))
    text += f": about {duration(seconds)}.\nData: {cell.dataset}, {cell.train:,} training and {cell.val:,} validation"
    text += f" images, input {size}, batch {cell.batch_size}, lr {cell.lr:g}"
    text += f", noise {cell.noise}.\n" if cell.noise else ".\n"
    text += (
        "Step and forward: measured here, a sample, without reading images. Memory: weights, gradients, momentum,"
        " average, and what a training batch keeps; a process, without images. Label store: all generations of a run,"
        " if predictions are like masks of people with soft outlines, and at most; it goes when the run is done."
    )
    return text


def duration(seconds: float) -> str:
    """Return a time as text.

    Examples
    --------
    >>> duration(0.0234), duration(42.4), duration(600), duration(36000), duration(9e5)
    ('23.4 ms', '42.4 s', '10 min', '10 h', '10.4 days')
    """
    for unit, length, most in (("ms", 1e-3, 1000), ("s", 1, 100), ("min", 60, 100), ("h", 3600, 100)):
        if seconds / length < most:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / 86400:.3g} days"


def gigabytes(count: float) -> str:
    """Return a number of bytes as text.

    Examples
    --------
    >>> gigabytes(3e6), gigabytes(2.5e9)
    ('3.0 MB', '2.50 GB')
    """
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
