"""What a run will cost, measured on the spot: a training step, a forward pass, memory, the label store."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.optim import SGD

from benchmarks.parsing.networks import build_network, make_task, parameters, prepared
from benchmarks.parsing.plan import Cell
from benchmarks.parsing.rows import METHODS
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
        predictions = cell.passes() - 3 * cell.schedule.epochs * cell.train
        return training + self.forward_seconds * (max(0, predictions) + (cell.cycles + 1) * cell.val)

    def memory(self, cell: Cell, ranks: int = 1) -> float:
        """Return the estimated peak of one process, in bytes.

        Weights, gradients, momentum, the average where there is one, and what autograd keeps of a batch; not the
        images.
        """
        copies = 3 + METHODS[cell.method].aggregates
        return 4 * self.parameters * copies + self.activation_bytes * -(-cell.batch_size // ranks)

    def disk(self, cell: Cell) -> tuple[float, float]:
        """Return the size of a run's refined labels, all generations, in bytes: of sharp predictions, and at most.

        A network that is unsure comes near the second: 65 % of it in ten epochs of CCP.
        """
        samples = cell.train * cell.cycles if METHODS[cell.method].refines else 0
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
    task = make_task(cell, classes)
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
