"""What parsing costs: Lovasz-Softmax, correction cycles against relabelling online, label stores, warps.

Rows of `python -m benchmarks.speed`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.lab.measurement import LIP_IMAGES, Measurement, median_seconds, paired
from benchmarks.measures.steps import correction_run, end_cycle, train_epoch
from noisycorrect import Recalibration, SoftLabelStore
from noisycorrect.data.batches import LabelView, ShardedBatches, make_loader
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.datasets import ParsingDataset, SyntheticPeople
from noisycorrect_seg.geometry.crops import crop_matrix, invert
from noisycorrect_seg.geometry.warp import warp_image, warp_mask
from noisycorrect_seg.kind import MaskLabels
from noisycorrect_seg.losses import cross_entropy, lovasz_softmax
from noisycorrect_seg.task import HumanParsing

CLASSES, SIDE = 20, 473
STORE_BUDGET = 1.2e9 / LIP_IMAGES  # bytes an image


def per_class_lovasz(probs: Tensor, labels: Tensor) -> Tensor:
    """Return the Lovasz-Softmax loss as its paper writes it, one class after the other (Berman et al. 2018, Alg. 1).

    Parameters
    ----------
    probs : Tensor, shape (N, K, H, W)
        Probabilities.
    labels : Tensor, shape (N, H, W)
        Classes; none is ignored.
    """
    flat, truth = probs.movedim(1, -1).reshape(-1, probs.shape[1]), labels.reshape(-1)
    losses = []
    for label in torch.unique(truth).tolist():
        foreground = (truth == label).float()
        errors, order = (foreground - flat[:, label]).abs().sort(descending=True)
        sorted_foreground = foreground[order]
        total = sorted_foreground.sum()
        jaccard = 1 - (total - sorted_foreground.cumsum(0)) / (total + (1 - sorted_foreground).cumsum(0))
        increments = torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
        losses.append(errors @ increments)
    return torch.stack(losses).mean()


def parsing_batch(count: int = 2, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Return logits (count, 20, side, side) and masks that they mostly agree with, drawn people among them."""
    people = SyntheticPeople(count, seed=0, size=(side, side))
    labels = torch.from_numpy(np.stack([people.clean_mask(index) for index in range(count)])).long()
    noise = torch.randn(count, CLASSES, side, side, generator=torch.Generator().manual_seed(0))
    onehot = F.one_hot(labels, CLASSES).permute(0, 3, 1, 2).float().contiguous()
    return 4 * onehot + 2 * noise, labels


def measure_lovasz(folder: Path, repeats: int) -> list[Measurement]:
    """Measure Lovasz-Softmax, exact and linear, forward and backward, against the loop over classes of its paper."""
    logits, labels = parsing_batch()

    def run(loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        leaf = logits.detach().requires_grad_()
        value = loss(leaf.softmax(1), labels)
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()

    reference = f"loop over classes, {len(labels)} x {SIDE} x {SIDE}, {CLASSES} classes, forward and backward"
    exact_value = run(per_class_lovasz)
    rows = []
    for method, budget in (("exact", 1 / 2), ("linear", 1 / 6)):
        ours = functools.partial(lovasz_softmax, method=method)
        error = abs(float(run(ours) - exact_value))
        times = paired(functools.partial(run, ours), functools.partial(run, per_class_lovasz), repeats)
        note = f"differs by {error:.1e}; present classes {len(torch.unique(labels))}"
        rows.append(Measurement(f"Lovasz-Softmax, {method}", reference, *times[:2], "s", times[2], budget, note))
    plain = paired(lambda: run(lambda probs, truth: F.nll_loss(probs.log(), truth)), lambda: None, repeats)
    rows.append(
        Measurement("cross-entropy, for scale", reference, plain[0], rows[0].base, "s", plain[0] / rows[0].base)
    )
    return rows


def measure_relabelling(folder: Path, repeats: int) -> list[Measurement]:
    """Measure what correction adds to ten epochs of a small network, against a forward pass of the teacher a batch."""
    return _correction_costs(folder, repeats, "resnet18", width=0.5, size=(128, 96), count=48, batch_size=8)


def measure_flagship(folder: Path, repeats: int) -> list[Measurement]:
    """Measure the same of the network and the size of the paper."""
    return _correction_costs(folder, repeats, "resnet101", width=1.0, size=(SIDE, SIDE), count=8, batch_size=2)


def _correction_costs(
    folder: Path, repeats: int, backbone: str, *, width: float, size: tuple[int, int], count: int, batch_size: int
) -> list[Measurement]:
    task = HumanParsing("lip", size=size)
    data = ParsingDataset(SyntheticPeople(count, size=size), size, augment=True)
    model = ACE2P(CLASSES, backbone, width=width)
    # As large shares of the images as the defaults take of LIP.
    samples = round(count * (Recalibration().samples or LIP_IMAGES) / LIP_IMAGES)
    compared = max(1, round(count * MaskLabels.compared / LIP_IMAGES))
    with (
        patch.object(MaskLabels, "compared", compared),
        correction_run(folder / "run", model, task, data, batch_size, samples) as run,
    ):
        epoch, correct = functools.partial(train_epoch, run), functools.partial(end_cycle, run)

        def online() -> None:
            teacher = run.model.eval()
            with torch.no_grad():
                for batch in run.loaders.train(run.epoch):
                    task.probs(teacher(batch.input))

        epoch()
        plain = median_seconds(epoch, repeats)
        correct()
        cycle = median_seconds(correct, repeats)
        refined = median_seconds(epoch, repeats)
        reading = median_seconds(lambda: list(run.loaders.train(run.epoch)), repeats)
        teaching = max(median_seconds(online, repeats) - reading, 0.0)
    ours, theirs = cycle + 10 * (refined - plain), 10 * teaching
    network = f"{backbone.replace('resnet', 'ResNet-')} A-CE2P" + ("" if width == 1 else f" of width {width:g}")
    reference = f"10 plain epochs, {network}, {count} images of {size[0]} x {size[1]}"
    forward = teaching * (1 + samples / count)
    note = (
        f"end of the cycle {cycle / plain / 10:.1%}, its forward passes alone {forward / plain / 10:.1%}; "
        f"soft labels in its batches {refined / plain - 1:.1%}; "
        f"recalibration on {samples} images and labels compared of {compared}, as 8,192 and 512 are of {LIP_IMAGES:,}"
    )
    base = 10 * plain
    return [
        Measurement(f"correcting masks, {network}", reference, ours, base, "s", ours / base, 0.05, f"a cycle; {note}"),
        Measurement(f"relabelling online, {network}", reference, theirs, base, "s", theirs / base, None, "a teacher"),
    ]


def trained_maps(count: int = 24, epochs: int = 6) -> Tensor:
    """Return predictions of a small A-CE2P for the people that it was trained on: (count, 20, 119, 119)."""
    size = (SIDE, SIDE)
    task = HumanParsing("lip", size=size)
    data = ParsingDataset(SyntheticPeople(count, size=size), size)
    images = torch.stack([data[index]["image"] for index in range(count)])
    masks = torch.stack([data[index]["given"] for index in range(count)]).long()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ACE2P(CLASSES, "resnet18", width=0.25)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(count), 4):
                output = model(images[rows])
                optimizer.zero_grad()
                small = F.interpolate(masks[rows, None].float(), output.parsing.shape[2:], mode="nearest")[:, 0].long()
                loss = cross_entropy(output.parsing, small) + cross_entropy(output.final, small)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    with torch.no_grad():
        return torch.cat([task.probs(model.eval()(rows)) for rows in torch.split(images, 4)])


def measure_projection(folder: Path, repeats: int) -> list[Measurement]:
    """Measure a label store of a trained network's predictions after two cycles, and project it to LIP."""
    count = 24
    probs = trained_maps(count)
    people = SyntheticPeople(count, size=(SIDE, SIDE), noise="realistic")
    given = [people.mask(index) for index in range(count)]
    sharpness = float(probs.max(1).values.mean())
    truth = probs.double().clamp(min=1e-12)
    rows = []
    for codec in ("sqrt-uint8", "sqrt-uint6", "sqrt-uint6-floor"):
        store = SoftLabelStore.create(folder / codec, given, CLASSES, kind="segmentation", codec=codec)
        for _ in range(2):  # the generation before the current one is always kept
            with store.new_generation() as writer:
                writer.write(range(count), probs)
        size = store.bytes / count
        decoded = store.evidence().double()
        divergence = (truth * (truth / decoded.clamp(min=1e-12)).log()).sum(1)
        read = median_seconds(functools.partial(_read_all, store), repeats) / count
        note = (
            f"given masks and two generations of a small A-CE2P's predictions, mean top probability {sharpness:.2f}; "
            f"mean KL {float(divergence.mean()):.1e}, of the worst pixel {float(divergence.max()):.1e}; "
            f"{LIP_IMAGES:,} images {size * LIP_IMAGES / 1e9:.2f} GB; "
            f"read and decode {1e3 * read:.2f} ms"
        )
        dense = 4 * CLASSES * SIDE * SIDE
        name, reference = f"store of predicted maps, {codec}", f"float32, {SIDE} x {SIDE}, one generation"
        rows.append(Measurement(name, reference, size, dense, "bytes", size / dense, STORE_BUDGET / dense, note))
    return rows


def _read_all(store: SoftLabelStore) -> None:
    for index in range(len(store)):
        store.evidence(index)


def measure_warp(folder: Path, repeats: int) -> list[Measurement]:
    """Measure the warp of a LIP-sized image and mask into a crop against Pillow's, which rounds otherwise."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (500, 350, 3), dtype=np.uint8)
    mask = rng.integers(0, CLASSES, (500, 350), dtype=np.uint8)
    matrix = crop_matrix(image.shape[:2], (SIDE, SIDE), scale=1.1, angle=12.0)
    back = tuple(invert(matrix).ravel().tolist())
    rows = []
    for name, ours, source, filter_ in (
        ("an image, bilinear", lambda: warp_image(image, matrix, (SIDE, SIDE)), image, Image.Resampling.BILINEAR),
        ("a mask, nearest", lambda: warp_mask(mask, matrix, (SIDE, SIDE)), mask, Image.Resampling.NEAREST),
    ):
        picture = Image.fromarray(source)

        def pillow(picture: Image.Image = picture, filter_: Image.Resampling = filter_) -> object:
            return np.asarray(picture.transform((SIDE, SIDE), Image.Transform.AFFINE, back, filter_))

        times = paired(ours, pillow, 4 * repeats)
        note = "as OpenCV 4 to the last bit, which Pillow is not"
        reference = "Pillow's transform, 500 x 350 to 473 x 473"
        rows.append(
            Measurement(f"warp of {name}", reference, 1e3 * times[0], 1e3 * times[1], "ms", times[2], None, note)
        )
    return rows


def measure_crops(folder: Path, repeats: int) -> list[Measurement]:
    """Measure a loader of augmented crops whose batches carry evidence against one whose batches do not."""
    count, size = 32, (SIDE, SIDE)
    people = SyntheticPeople(count, size=size)
    data = ParsingDataset(people, size, augment=True)
    given = [people.mask(index) for index in range(count)]
    store = SoftLabelStore.create(folder / "crops", given, CLASSES, kind="segmentation", frame=size)
    probs = F.interpolate(parsing_batch()[0].softmax(1), (119, 119), mode="bilinear", align_corners=True)
    probs = F.avg_pool2d(probs, 5, 1, 2, count_include_pad=False).repeat(count // 2, 1, 1, 1)
    with store.new_generation() as writer:
        writer.write(range(count), probs / probs.sum(1, keepdim=True))
    batches = ShardedBatches(count, 8)
    with_evidence, without = (
        make_loader(LabelView(data, labels, seed=0), batches, num_workers=0) for labels in (store, None)
    )
    times = paired(lambda: list(with_evidence), lambda: list(without), repeats)
    value, base = (1e3 * seconds / count for seconds in times[:2])
    reference = f"without; crops of {SIDE} x {SIDE} from images in memory, warped"
    reading = 1e3 * median_seconds(functools.partial(_read_all, store), repeats) / count
    note = f"evidence alone, read and decoded: {reading:.2f} ms; no file is decoded, which would take as long again"
    return [Measurement("loader of crops with evidence", reference, value, base, "ms/sample", times[2], 1.05, note)]
