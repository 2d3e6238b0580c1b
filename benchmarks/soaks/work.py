"""The runs that the soak disturbs: so small that one takes a second, with everything that a large one has."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect import (
    RECIPES,
    AtCycleEnd,
    CorrectionResult,
    EarlyLearning,
    OnlineCorrection,
    Progress,
    Schedule,
    SelfCorrector,
    SoftLabelStore,
    noise,
)
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets import ParsingDataset
from noisycorrect_seg.task import HumanParsing

COUNT, CLASSES = 96, 3
SIZE = (16, 12)
SHAPES = Classes("shapes", ("background", "left", "right"), ((1, 2),))


@dataclass(frozen=True)
class Work:
    """A kind of run.

    Attributes
    ----------
    name : str
        What tables call it.
    fit : callable
        ``fit(folder, resume)`` runs it in a run folder, or goes on there.
    network : callable
        An untrained network of its architecture.
    ranks : int
        Processes that it takes.
    """

    name: str
    fit: Callable[[Path, Any], CorrectionResult]
    network: Callable[[], nn.Module]
    ranks: int = 1


def _blobs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    clean = torch.arange(COUNT) % CLASSES
    inputs = torch.randn(COUNT, 4, generator=generator) + 3 * nn.functional.one_hot(clean, 4)
    return inputs, torch.from_numpy(noise.Symmetric(0.3).apply(clean.numpy(), num_classes=CLASSES, seed=0).labels)


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def vector_network() -> nn.Module:
    """Return a small network with BatchNorm and Dropout."""
    layers = (nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, CLASSES))
    return _seeded(lambda: nn.Sequential(*layers))


def plain_network() -> nn.Module:
    """Return one without BatchNorm, for several ranks."""
    return _seeded(lambda: nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, CLASSES)))


def mask_network() -> nn.Module:
    """Return a network for small pictures."""
    layers = (nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1))
    return _seeded(lambda: nn.Sequential(*layers))


class Squares:
    """A source of pictures: a green square left and a green square right of a red one, on black."""

    classes = SHAPES

    def __len__(self) -> int:
        return 10

    def mask(self, index: int) -> np.ndarray:
        """Return the given mask; some lack a part."""
        mask = np.zeros((18 + index % 3, 20 - index % 4), np.uint8)
        top = 2 + index % 5
        mask[top : top + 8, 2:8] = 2
        mask[top : top + 8, 9:15] = 1 if index > 1 else 0
        return mask

    def image(self, index: int) -> np.ndarray:
        """Return the picture, uint8 (H, W, 3)."""
        mask = self.mask(index)
        image = np.random.default_rng(index).integers(0, 60, (*mask.shape, 3)).astype(np.uint8)
        image[mask == 2] += np.array([20, 180, 20], np.uint8)
        return image

    def name(self, index: int) -> str:
        """Return what the picture is called."""
        return f"squares-{index}"


def _corrector(folder: Path, network: nn.Module, recipe: Any, **more: Any) -> SelfCorrector:
    quiet = [Progress(enabled=False)]
    return SelfCorrector(network, recipe=recipe, lr=0.1, run_dir=folder, callbacks=quiet, device="cpu", **more)


def _paper(*lengths: int, **more: Any) -> Any:
    return RECIPES["paper"].replace(schedule=Schedule(*lengths), correction=AtCycleEnd(), **more)


def _fit_classes(folder: Path, resume: Any) -> CorrectionResult:
    return _corrector(folder, vector_network(), _paper(3, 4, 2, batch_size=24), num_classes=CLASSES).fit(
        _blobs(), resume=resume
    )


def _fit_steps(folder: Path, resume: Any) -> CorrectionResult:
    parts = {"correction": OnlineCorrection(), "objective": EarlyLearning(), "standardize": None, "batch_size": 24}
    recipe = RECIPES["robust"].replace(epochs=10, **parts)
    return _corrector(folder, vector_network(), recipe, num_classes=CLASSES).fit(_blobs(), resume=resume)


def _fit_masks(folder: Path, resume: Any) -> CorrectionResult:
    train = ParsingDataset(Squares(), SIZE, augment=True)
    corrector = _corrector(folder, mask_network(), _paper(2, 3, 1, batch_size=4), task=HumanParsing(SHAPES, size=SIZE))
    return corrector.fit(train, resume=resume)


def _fit_ranks(folder: Path, resume: Any) -> CorrectionResult:
    return _corrector(folder, plain_network(), _paper(2, 3, 1, batch_size=24), num_classes=CLASSES).fit(
        _blobs(), resume=resume
    )


WORKS = {
    work.name: work
    for work in (
        Work("classes", _fit_classes, vector_network),
        Work("every step", _fit_steps, vector_network),
        Work("masks", _fit_masks, mask_network),
        Work("two ranks", _fit_ranks, plain_network, ranks=2),
    )
}


@contextlib.contextmanager
def group(rank: int, ranks: int, meeting: Path) -> Any:
    """Join a gloo group of processes on this machine; of one process do nothing."""
    if ranks == 1:
        yield
        return
    import torch.distributed as dist

    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    span = dt.timedelta(seconds=20)
    dist.init_process_group("gloo", init_method=meeting.as_uri(), rank=rank, world_size=ranks, timeout=span)
    try:
        yield
    finally:
        dist.destroy_process_group()


def digest_of(result: CorrectionResult) -> str:
    """Return a digest of everything that a run has come to, but for times."""
    digest = hashlib.sha256()
    for name, value in result.model.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
    digest.update(digest_of_labels(result.labels).encode())
    for record in result.history:
        timeless = {key: value for key, value in record.items() if key != "seconds"}
        digest.update(repr(sorted(timeless.items())).encode())
    return digest.hexdigest()[:16]


def digest_of_labels(store: SoftLabelStore) -> str:
    """Return a digest of all that can be read of a store."""
    digest = hashlib.sha256(repr((len(store), store.num_classes, store.generations)).encode())
    for labels in (store.given(), store.refined(), store.labels()):
        for label in labels:
            digest.update(np.ascontiguousarray(label).tobytes())
    for number in store.generations[1:]:
        digest.update(store.evidence(generation=number).numpy().tobytes())
        digest.update(store.trust(generation=number).weight.numpy().tobytes())
    return digest.hexdigest()[:16]
