"""What the engine costs: correction cycles, recalibration, the label store, the loader.

Rows of `python -m benchmarks.speed`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import Dataset

from benchmarks.lab.measurement import LIP_IMAGES, Measurement, paired
from benchmarks.lab.networks import small_cnn
from benchmarks.measures.steps import correction_run, end_cycle, train_epoch
from noisycorrect import Classification, SoftLabelStore, recalibrate_batchnorm
from noisycorrect.data.batches import LabelView, ShardedBatches, make_loader
from noisycorrect.data.datasets import ArrayDataset

ROWS, MAPS, PHOTOS = 50_000, 96, 4096  # labels that are stored: class labels, maps, those of photos
CONTRASTS = 1000  # images of unlike contrast that statistics are made of
MAP_SHAPE = (20, 119, 119)  # classes and output resolution of A-CE2P at 473 x 473


def _images(count: int, size: int = 32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, size, size, generator=generator), torch.randint(10, (count,), generator=generator)


def measure_cycle(folder: Path, repeats: int) -> list[Measurement]:
    """Measure a correction cycle's end, and a checkpoint, against plain epochs."""
    rows = []
    model, data = small_cnn(10), ArrayDataset(*_images(LIP_IMAGES, size=16))
    reference = f"10 plain epochs, 6-layer CNN, {LIP_IMAGES:,} images of 16 x 16"
    for samples in (8192, None):
        with correction_run(folder / str(samples), model, Classification(10), data, 64, samples) as run:
            train = functools.partial(train_epoch, run)
            times = paired(functools.partial(end_cycle, run), train, repeats)
            name = "what a correction cycle adds" + ("" if samples else ", recalibrating on all samples")
            note = f"10 epochs = 10 x a measured one; recalibration, fast, on {samples or LIP_IMAGES:,} samples"
            row = Measurement(name, reference, times[0], 10 * times[1], "s", times[2] / 10, 0.05, note)
            rows.append(row)
            if samples:
                saving = paired(run.save, train, repeats)
    name = "a checkpoint, written and fsynced"
    rows.append(Measurement(name, "1 plain epoch of the same", *saving[:2], "s", saving[2]))
    return rows


def _true_variances(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return each layer's population variance, the whole data set being one batch in float64."""
    found: dict[str, Tensor] = {}

    def watch(name: str, inputs: Tensor) -> None:
        found[name] = inputs.var((0, 2, 3), correction=0)

    model = model.double().train()
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda _, inputs, name=name: watch(name, inputs[0]))
    with torch.no_grad():
        model(images.double())
    return found


def measure_recalibration(folder: Path, repeats: int) -> list[Measurement]:
    """Measure recalibration, fast and exact, against torch's update_bn: time, and error of the variances."""
    images, _ = _images(CONTRASTS)
    images = images * torch.linspace(0.2, 3, CONTRASTS).reshape(-1, 1, 1, 1)
    order = torch.randperm(CONTRASTS, generator=torch.Generator().manual_seed(0))
    batches = list(torch.split(images[order], 64))  # an uneven last batch
    rows = []
    truth = _true_variances(_cnn(), images)
    error_of_update = _error(_updated(batches), truth)
    for method in ("fast", "exact"):
        model, other = _cnn(), _cnn()
        times = paired(
            functools.partial(recalibrate_batchnorm, model, batches, method=method),
            functools.partial(update_bn, batches, other),
            repeats,
        )
        note = f"largest relative error of a variance {_error(model, truth):.1e}, update_bn {error_of_update:.1e}"
        reference = f"torch update_bn, 6 layers, {CONTRASTS:,} images"
        rows.append(Measurement(f"BatchNorm recalibration, {method}", reference, *times[:2], "s", times[2], None, note))
    return rows


def _cnn() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return small_cnn(10)


def _updated(batches: list[Tensor]) -> nn.Module:
    model = _cnn()
    update_bn(batches, model)
    return model


def _error(model: nn.Module, truth: Mapping[str, Tensor]) -> float:
    found = {name: module.running_var for name, module in model.named_modules() if name in truth}
    return max(float(((found[name].double() - value) / value).abs().max()) for name, value in truth.items())


def smooth_maps(count: int, seed: int = 0) -> Tensor:
    """Return maps like a parsing network's, a few regions with soft borders: probabilities (count, 20, 119, 119)."""
    rng = np.random.default_rng(seed)
    classes, height, width = MAP_SHAPE
    maps = np.empty((count, *MAP_SHAPE), np.float32)
    for row in range(count):
        field = gaussian_filter(rng.standard_normal((8, height, width)), (0, 12, 12))
        regions = np.array([0, *rng.choice(np.arange(1, classes), 7, replace=False)])[field.argmax(0)]
        onehot = (regions == np.arange(classes)[:, None, None]).astype(np.float32)
        maps[row] = gaussian_filter(onehot, (0, 1.5, 1.5))
    tensor = torch.from_numpy(maps)
    return tensor / tensor.sum(1, keepdim=True)


def measure_store(folder: Path, repeats: int) -> list[Measurement]:
    """Measure writing and reading labels, dense and as maps, against plain float32 HDF5; and bytes a sample."""
    rows = []
    dense = torch.rand(ROWS, 10, generator=torch.Generator().manual_seed(0)).softmax(1)
    maps = smooth_maps(MAPS)
    for kind, probs in ((f"dense {ROWS:,} x 10", dense), (f"maps {MAPS} x 20 x 119 x 119", maps)):
        name = "classification" if probs.dim() == 2 else "segmentation"
        given = [0] * len(probs) if probs.dim() == 2 else [np.zeros((8, 8), np.uint8)] * len(probs)
        store = SoftLabelStore.create(folder / name, given, probs.shape[1], kind=name)
        plain = folder / f"{name}.h5"
        write = functools.partial(_write_generation, store, probs)
        times = paired(write, functools.partial(_write_plain, plain, probs), repeats)
        rows.append(Measurement(f"store, write a generation: {kind}", "plain float32 HDF5", *times[:2], "s", times[2]))
        rows.append(_reading(store, plain, kind, repeats))
        rows.append(_size(store, probs, kind))
    return rows


def _write_generation(store: SoftLabelStore, probs: Tensor) -> None:
    with store.new_generation() as writer:
        for start in range(0, len(probs), 128):
            chunk = probs[start : start + 128]
            writer.write(np.arange(start, start + len(chunk)), chunk)


def _write_plain(path: Path, probs: Tensor) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset(
            "probs", probs.shape, np.float32, chunks=(1, *probs.shape[1:]) if probs.dim() == 4 else None
        )
        for start in range(0, len(probs), 128):
            dataset[start : start + 128] = probs[start : start + 128].numpy()


def _reading(store: SoftLabelStore, plain: Path, kind: str, repeats: int) -> Measurement:
    picks = np.random.default_rng(0).permutation(len(store))[:96]
    with h5py.File(plain, "r") as file:
        dataset = file["probs"]
        value, base, ratio = paired(
            lambda: [store.evidence(int(index)) for index in picks],
            lambda: [torch.from_numpy(dataset[int(index)]) for index in picks],
            repeats,
        )
    note = "read and decoded, at random, one at a time; design: at most 1 ms for a map"
    scale = 1e3 / len(picks)
    return Measurement(
        f"store, read a sample: {kind}", "plain float32 HDF5", value * scale, base * scale, "ms", ratio, None, note
    )


def _size(store: SoftLabelStore, probs: Tensor, kind: str) -> Measurement:
    path = store.folder / f"generation-{store.generation:04d}.h5"
    value, base = path.stat().st_size / len(probs), probs[0].numel() * 4
    decoded = store.evidence(range(min(96, len(probs)))).double()
    truth = probs[: len(decoded)].double()
    divergence = (truth * (truth.clamp(min=1e-12) / decoded.clamp(min=1e-12)).log()).sum(1).mean()
    note = f"mean KL {divergence:.1e}"
    if probs.dim() == 4:
        note += f"; {LIP_IMAGES:,} images: {value * LIP_IMAGES / 1e9:.2f} GB (design: 1.2 GB at KL 1e-3)"
    return Measurement(f"store, bytes a sample: {kind}", "float32", value, base, "bytes", value / base, None, note)


class Photos(Dataset[Any]):
    """Images of 32 x 32 that are normalised, shifted and mirrored when they are read, as training usually does."""

    def __init__(self, count: int) -> None:
        self.images = np.random.default_rng(0).integers(0, 256, (count, 40, 40, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        top, left = torch.randint(8, (2,)).tolist()
        crop = torch.from_numpy(self.images[index, top : top + 32, left : left + 32]).permute(2, 0, 1)
        image = crop.float().div_(255).sub_(0.5).div_(0.25)
        return (image.flip(2) if torch.rand(()) < 0.5 else image), 0


def measure_loader(folder: Path, repeats: int) -> list[Measurement]:
    """Measure a loader whose batches carry evidence against one whose batches do not."""
    data = Photos(PHOTOS)
    store = SoftLabelStore.create(folder / "loader", np.zeros(len(data), np.int64), 10)
    _write_generation(store, torch.full((len(data), 10), 0.1))
    batches = ShardedBatches(len(data), 128)
    with_evidence, without = (
        make_loader(LabelView(data, labels, seed=0), batches, num_workers=0) for labels in (store, None)
    )
    times = paired(lambda: list(with_evidence), lambda: list(without), repeats)
    scale = 1e6 / len(data)
    reference = "without, 32 x 32 images, normalised, shifted, mirrored"
    return [
        Measurement("loader with evidence", reference, times[0] * scale, times[1] * scale, "µs/sample", times[2], 1.05)
    ]
