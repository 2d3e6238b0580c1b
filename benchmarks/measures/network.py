"""What the whole A-CE2P costs at 473 x 473: a training step and inference, time and peak memory, one process a variant.

Rows `network` and `compile` of `python -m benchmarks.speed`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.lab.measurement import Measurement, median_seconds, peak_memory
from benchmarks.measures.parsing import CLASSES, SIDE, parsing_batch, per_class_lovasz
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.losses import ParsingLoss, balanced_edge_loss, edge_targets
from noisycorrect_seg.outputs import ParsingOutput

STEP_BUDGET, MEMORY_BUDGET = 0.6, 0.7  # of the step with the published losses


@dataclass(frozen=True)
class Variant:
    """How the network is run.

    Attributes
    ----------
    training : bool
        A step of SGD, or inference.
    losses : {"ours", "published", "none"}
        `published`: the loop over classes of the published code, and its terms one by one. `none`: the mean of the
        network's outputs, which leaves the network's own time and memory, the least that any losses come to.
    channels_last, bfloat16, compiled : bool
        Options of torch.
    """

    training: bool
    losses: str = "ours"
    channels_last: bool = False
    bfloat16: bool = False
    compiled: bool = False

    def __str__(self) -> str:
        options = {"channels_last": self.channels_last, "bfloat16": self.bfloat16, "torch.compile": self.compiled}
        words = [name for name, on in options.items() if on] or ["float32"]
        return ", ".join([*words, "no losses"] if self.losses == "none" else words)


def published_loss(output: ParsingOutput, labels: Tensor) -> Tensor:
    """Return the losses of the published training script, composed as there; its consistency term is always 0."""
    assert output.fusion is not None
    assert output.edge is not None
    total = torch.zeros(())
    for logits in (output.parsing, output.fusion):
        large = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=True)
        total = total + 0.5 * (per_class_lovasz(large.softmax(1), labels) + F.cross_entropy(large, labels))
    edges = F.interpolate(output.edge, labels.shape[1:], mode="bilinear", align_corners=True)
    return total + balanced_edge_loss(edges, edge_targets(labels))


def no_loss(output: ParsingOutput, labels: Tensor) -> Tensor:
    """Return the mean of all outputs: next to nothing to compute, and a gradient for every weight."""
    maps = [output.parsing, output.fusion, output.edge]
    return torch.stack([scores.mean() for scores in maps if scores is not None]).sum()


LOSSES: dict[str, Callable[[ParsingOutput, Tensor], Tensor]] = {
    "ours": ParsingLoss(),
    "published": published_loss,
    "none": no_loss,
}


def _work(variant: Variant, repeats: int, answer: Any) -> None:
    """Run in a process of its own: its peak of memory is the variant's."""
    torch.manual_seed(0)
    model: nn.Module = ACE2P(CLASSES, "resnet101").train(variant.training)
    logits, labels = parsing_batch(1)
    images = logits[:, :3].contiguous()
    del logits
    if variant.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = images.to(memory_format=torch.channels_last)
    run: Any = torch.compile(model) if variant.compiled else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    loss_function = LOSSES[variant.losses]

    def once() -> None:
        with torch.set_grad_enabled(variant.training), torch.autocast("cpu", torch.bfloat16, enabled=variant.bfloat16):
            output = run(images)
            if not variant.training:
                return
            loss = loss_function(output, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    once()
    seconds = median_seconds(once, repeats)
    answer.send((seconds, peak_memory()))


def _measure(variant: Variant, repeats: int) -> tuple[float, float]:
    """Return seconds and the peak of memory in bytes."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(variant, repeats, theirs))
    process.start()
    theirs.close()
    result: tuple[float, float] = ours.recv()
    process.join()
    return result


def _rows(
    variants: list[Variant], reference: Variant, name: str, against: str, repeats: int, *, memory: bool = False
) -> list[Measurement]:
    """Return rows of time, and of memory if asked; the reference is measured again before each variant."""
    rows = []
    for variant in variants:
        base_seconds, base_peak = _measure(reference, repeats)
        seconds, peak = _measure(variant, repeats)
        note = f"peak memory of the process {peak / 1e9:.2f} GB against {base_peak / 1e9:.2f} GB"
        if not variant.training:
            note = f"{1 / seconds:.2f} images/s; {note}"
        budget, memory_budget = (STEP_BUDGET, MEMORY_BUDGET) if memory and variant.losses == "ours" else (None, None)
        ratio = seconds / base_seconds
        rows.append(Measurement(f"{name}, {variant}", against, seconds, base_seconds, "s", ratio, budget, note))
        if memory:
            peaks = peak / 1e9, base_peak / 1e9
            name_of = f"peak memory of a {name}, {variant}"
            rows.append(Measurement(name_of, against, *peaks, "GB", peak / base_peak, memory_budget))
    return rows


def measure_network(folder: Path, repeats: int) -> list[Measurement]:
    """Measure training steps against one with the published losses, and inference against plain float32."""
    step, reference = f"training step, ResNet-101, 1 x {SIDE} x {SIDE}", Variant(training=True, losses="published")
    rows = _rows(
        [
            Variant(training=True),
            Variant(training=True, losses="none"),
            Variant(training=True, channels_last=True),
            Variant(training=True, bfloat16=True),
        ],
        reference,
        step,
        "the same with the published losses",
        repeats,
        memory=True,
    )
    inference = f"inference, ResNet-101, 1 x {SIDE} x {SIDE}"
    return rows + _rows(
        [Variant(training=False, channels_last=True), Variant(training=False, bfloat16=True)],
        Variant(training=False),
        inference,
        "float32",
        repeats,
    )


def measure_compile(folder: Path, repeats: int) -> list[Measurement]:
    """Measure torch.compile, whose first call takes minutes: a row of its own."""
    plain = "without torch.compile"
    return [
        row
        for training, name in ((True, "training step"), (False, "inference"))
        for row in _rows(
            [Variant(training=training, compiled=True)],
            Variant(training=training),
            f"{name}, ResNet-101, 1 x {SIDE} x {SIDE}",
            plain,
            repeats,
        )
    ]
