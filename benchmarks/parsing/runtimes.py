"""A parsing network in several runtimes, timed in turns on the same crops and compared pixel by pixel."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.parsing.networks import make_task
from noisycorrect import SelfCorrector
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.datasets import ParsingDataset, SyntheticPeople
from noisycorrect_seg.deploy import OnnxNetwork, quantize_onnx
from noisycorrect_seg.export import FinalLogits, export_onnx
from noisycorrect_seg.inference.calling import parts_for
from noisycorrect_seg.inference.parse import Recipe as ParseRecipe
from noisycorrect_seg.inference.parse import canonical_crops, parse_images
from noisycorrect_seg.inputs import BGR
from noisycorrect_seg.scores import SegmentationMetrics

REFERENCE = "PyTorch float32"
RUNTIMES = (
    REFERENCE,
    "PyTorch float32, channels last",
    "PyTorch bfloat16",
    "PyTorch bfloat16, channels last",
    "ONNX float32",
    "ONNX INT8",
)


@dataclass(frozen=True)
class Row:
    """One network in one runtime.

    Attributes
    ----------
    network, runtime : str
        Which.
    milliseconds : dict of int to float
        A photo's share of a call, by photos in the call: medians.
    megabytes : float
        Of its file.
    equal_pixels, mean_iou : float or None
        Share of the validation photos' pixels that get the class which the first runtime gives them, and mean IoU
        against the true masks; None of a network that has not been trained, of which they would say nothing.
    """

    network: str
    runtime: str
    milliseconds: dict[str, float]
    megabytes: float
    equal_pixels: float | None = None
    mean_iou: float | None = None


def trained(people: SyntheticPeople, epochs: int, seed: int) -> ACE2P:
    """Return a small A-CE2P trained on drawn people: cross-entropy and edges, labels as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = ACE2P(len(people.classes), "resnet18", width=0.25)
    corrector = SelfCorrector(
        network,
        task=make_task(people.classes, people.size, "ce+edge"),
        recipe="ce",
        epochs=epochs,
        batch_size=8,
        lr=2e-3,
        optimizer=lambda parameters, lr: torch.optim.AdamW(parameters, lr=lr, weight_decay=1e-4),
        device="cpu",
        seed=seed,
    )
    model = corrector.fit(ParsingDataset(people, people.size, augment=True)).model
    assert isinstance(model, ACE2P)
    model.classes, model.size = people.classes, people.size
    return model.eval()


def full_size(num_classes: int, seed: int) -> ACE2P:
    """Return the published network with random weights: right for times and sizes, and for nothing else."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = ACE2P(num_classes, "resnet101").eval()
    network.size = (473, 473)
    return network


def in_runtimes(network: ACE2P, photos: Sequence[Any], folder: Path, threads: int) -> dict[str, tuple[Any, float]]:
    """Return, by runtime, something to call and the megabytes of its file."""
    assert network.size is not None
    network.save(folder / "float32.safetensors")
    export_onnx(network, network.size, folder / "float32.onnx")
    quantize_onnx(folder / "float32.onnx", folder / "int8.onnx", photos)
    half = copy.deepcopy(network).to(torch.bfloat16)
    half.save(folder / "bfloat16.safetensors")
    wide, narrow = (_megabytes(folder / f"{name}.safetensors") for name in ("float32", "bfloat16"))
    found: dict[str, tuple[Any, float]] = {
        REFERENCE: (network, wide),
        RUNTIMES[1]: (_channels_last(network), wide),
        RUNTIMES[2]: (half, narrow),
        RUNTIMES[3]: (_channels_last(half), narrow),
    }
    for name, file in ((RUNTIMES[4], "float32.onnx"), (RUNTIMES[5], "int8.onnx")):
        found[name] = OnnxNetwork(folder / file, threads=threads), _megabytes(folder / file)
    return found


def measured(
    name: str,
    runtimes: dict[str, tuple[Any, float]],
    crops: Tensor,
    batches: Sequence[int],
    repeats: int,
    people: SyntheticPeople | None = None,
) -> list[Row]:
    """Return a row a runtime, timed in turns; with the true masks of `people`, also how right each one is."""
    times = {batch: in_turns({key: model for key, (model, _) in runtimes.items()}, crops[:batch], repeats)
             for batch in batches}  # fmt: skip
    quality = {} if people is None else {key: labels_of(model, people) for key, (model, _) in runtimes.items()}
    rows = []
    for runtime, (_, megabytes) in runtimes.items():
        scores: dict[str, float | None] = {}
        if people is not None:
            found, reference = quality[runtime], quality[REFERENCE]
            metrics = SegmentationMetrics(len(people.classes))
            for index, labels in enumerate(found):
                metrics.update(labels, people.mask(index))
            equal = np.mean([(one == other).mean() for one, other in zip(found, reference, strict=True)])
            scores = {"equal_pixels": float(equal), "mean_iou": float(metrics.compute()["mean_iou"])}
        milliseconds = {str(batch): 1e3 * times[batch][runtime] / batch for batch in batches}
        rows.append(Row(name, runtime, milliseconds, megabytes, **scores))
    return rows


@torch.no_grad()
def in_turns(models: dict[str, Any], crops: Tensor, repeats: int) -> dict[str, float]:
    """Return each model's median seconds for a call; taking turns, all meet the same load.

    A turn begins with a call that does not count: threads of the runtime before still wait for work, and take time.
    """
    calls = {name: _call(model, crops) for name, model in models.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            call()
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in times.items()}


def labels_of(model: nn.Module, people: SyntheticPeople, step: int = 8) -> list[np.ndarray]:
    """Return a model's masks of drawn people."""
    recipe = ParseRecipe(people.classes, people.size)
    found: list[np.ndarray] = []
    for start in range(0, len(people), step):
        images = [people.image(index) for index in range(start, min(start + step, len(people)))]
        found += [parsing.labels for parsing in parse_images(model, images, recipe, device="cpu")]
    return found


def crops_of(people: SyntheticPeople, size: tuple[int, int], count: int) -> Tensor:
    """Return drawn people as a network's input, float32 (count, 3, *size)."""
    return BGR(torch.from_numpy(canonical_crops([people.image(index) for index in range(count)], size)[0]))


def _call(model: Any, crops: Tensor) -> Callable[[], Any]:
    network = model if isinstance(model, OnnxNetwork) else FinalLogits(model)
    (part,) = parts_for(network, crops)
    if isinstance(model, nn.Module) and any(
        each.dim() == 4 and not each.is_contiguous() for each in model.parameters()
    ):
        part = part.to(memory_format=torch.channels_last)
    return lambda: network(part)


def _channels_last(network: ACE2P) -> nn.Module:
    laid_out: nn.Module = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return laid_out


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6
