"""What refining masks costs where little of them is doubted, and what an average of all steps costs.

Rows `doubted` and `average` of `python -m benchmarks.speed`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.lab.measurement import Measurement, paired
from noisycorrect import WeightAggregator
from noisycorrect.data.batches import Batch
from noisycorrect.labels.codec import CODECS
from noisycorrect.labels.trust import Trust
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.geometry.refined import refined_labels, refined_mask
from noisycorrect_seg.task import HumanParsing

CLASSES, COUNT, SIZE, STRIDE = 17, 8, (128, 88), 4
UPDATES = 20  # of the average, in a timing
PATCH = slice(4, 9)  # places of the evidence, of rows and of columns, that are doubted in one of four masks


def _masks() -> tuple[torch.Tensor, torch.Tensor, Trust]:
    """Return given masks, evidence that says something else, and trust that doubts a patch of every fourth mask."""
    generator = torch.Generator().manual_seed(0)
    cells = SIZE[0] // STRIDE, SIZE[1] // STRIDE
    given = torch.randint(CLASSES, (COUNT, 4, 4), generator=generator)
    given = given.repeat_interleave(SIZE[0] // 4, 1).repeat_interleave(SIZE[1] // 4, 2).to(torch.uint8)
    evidence = torch.randn(COUNT, CLASSES, *cells, generator=generator).softmax(1)
    parts = torch.ones(COUNT, *cells)
    parts[::4, PATCH, PATCH] = 0
    return given, evidence, Trust(torch.ones(COUNT), parts=parts, coupled=True)


def measure_doubted(folder: Path, repeats: int) -> list[Measurement]:
    """Measure the targets of a batch, and masks as a store's reader has them, against composing all of each."""
    given, evidence, trust = _masks()
    task = HumanParsing([f"class {number}" for number in range(CLASSES)], size=SIZE)
    edges = torch.tensor([-0.5, -0.5, SIZE[1] - 0.5, SIZE[0] - 0.5])
    extra = {
        "matrix": torch.eye(2, 3).expand(COUNT, 2, 3),
        "mirror": torch.zeros(COUNT, dtype=torch.bool),
        "extent": edges.expand(COUNT, 4),
    }
    code = torch.from_numpy(CODECS[task.codec].encode(evidence))
    batch = Batch(torch.arange(COUNT), torch.zeros(COUNT, 3, *SIZE), given, trust, code, 1, extra)
    against = f"all of it composed, {COUNT} x {SIZE[0]} x {SIZE[1]}, {CLASSES} classes"
    targets = paired(functools.partial(task.targets, batch), functools.partial(task._refined, batch), repeats)
    one, own = given[0].numpy(), trust.some(torch.tensor([0]))
    labels = paired(
        lambda: refined_labels(one, evidence[0], own),
        lambda: refined_mask(one, evidence[0], own, CLASSES).max(0).indices,
        repeats,
    )
    return [
        Measurement("targets, one mask of four doubted in a patch", against, *targets[:2], "s", targets[2]),
        Measurement("labels of a mask doubted in a patch", "all of it composed", *labels[:2], "s", labels[2]),
    ]


def measure_average(folder: Path, repeats: int) -> list[Measurement]:
    """Measure an update of the average of all steps against torch's, which is in float32."""
    network = ACE2P(11, "unet", "none", width=0.0625, edge=False, fusion=False)
    ours = WeightAggregator(network, method="exponential", decay=0.99)
    ema: Any = get_ema_multi_avg_fn(0.99)  # type: ignore[no-untyped-call]
    theirs = AveragedModel(network, multi_avg_fn=ema, use_buffers=False)

    def update(average: WeightAggregator | AveragedModel) -> None:
        for _ in range(UPDATES):
            average.update(network) if isinstance(average, WeightAggregator) else average.update_parameters(network)

    times = paired(functools.partial(update, ours), functools.partial(update, theirs), repeats)
    count = len(list(network.parameters()))
    reference = f"torch's AveragedModel, float32, {count} parameters of a small U-Net"
    note = f"{1e3 * times[0] / UPDATES:.2g} ms an update"
    return [Measurement("an update of the average", reference, *times[:2], "s", times[2], None, note)]
