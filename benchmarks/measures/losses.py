"""What the losses take of a small parser's training step.

Row `losses` of `python -m benchmarks.speed`.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.lab.measurement import Measurement
from noisycorrect.labels.refine import blend
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.datasets import SyntheticPeople
from noisycorrect_seg.geometry.maps import resized
from noisycorrect_seg.losses import ParsingLoss
from noisycorrect_seg.outputs import ParsingOutput

CLASSES, IMAGES, SIZE = 17, 8, (128, 88)
LEARNT = 15  # steps before the first measured one: a network that knows nothing sorts fewer pixels
BUDGET = 0.25  # of the step


def measure_losses(folder: Path, repeats: int) -> list[Measurement]:
    """Measure the losses and their gradients against the whole step, with given masks and with refined ones."""
    people = SyntheticPeople(IMAGES, seed=0, size=SIZE)
    masks = np.stack([people.clean_mask(index) for index in range(IMAGES)]) % CLASSES
    labels = torch.from_numpy(masks).long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images = torch.randn(CLASSES, 3)[labels].permute(0, 3, 1, 2) + torch.randn(IMAGES, 3, *SIZE)
        model = ACE2P(CLASSES, "resnet18", width=0.5).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9)
        for _ in range(LEARNT):
            step(model, optimizer, images, labels)
        with torch.no_grad():
            evidence = resized(model(images).fusion, SIZE).softmax(1)
        refined = blend(labels, evidence, torch.full((IMAGES,), 0.5))
        rows = []
        for name, targets in (("given masks", labels), ("refined masks", refined)):
            pairs = [step(model, optimizer, images, targets) for _ in range(3 * repeats)]
            losses, whole = (statistics.median(times) for times in zip(*pairs, strict=True))
            ratio = statistics.median(part / all_of_it for part, all_of_it in pairs)
            reference = f"the whole step, ResNet-18 A-CE2P of width 0.5, {IMAGES} x {SIZE[0]} x {SIZE[1]}"
            note = f"{CLASSES} classes, {len(np.unique(masks))} of them present, after {LEARNT} steps"
            row = Measurement(f"losses of a step, {name}", reference, losses, whole, "s", ratio, BUDGET, note)
            rows.append(row)
    return rows


def step(model: ACE2P, optimizer: torch.optim.Optimizer, images: Tensor, targets: Tensor) -> tuple[float, float]:
    """Take a step; return the seconds of the losses with their gradients for the logits, and those of all of it."""
    start = time.perf_counter()
    output = model(images)
    parts = [logits for logits in output if logits is not None]
    leaves = [logits.detach().requires_grad_() for logits in parts]
    before = time.perf_counter()
    ParsingLoss()(ParsingOutput(*leaves), targets).backward()  # type: ignore[no-untyped-call]
    after = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(parts, [leaf.grad for leaf in leaves])
    optimizer.step()
    return after - before, time.perf_counter() - start
