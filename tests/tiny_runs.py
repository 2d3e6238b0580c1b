"""Runs so small that a test can make several: `from tiny_runs import SHORT, blobs, corrector`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from watching import QUIET, AfterEpoch, Kill  # noqa: F401 - handed on

from noisycorrect import (
    RECIPES,
    CorrectionResult,
    EarlyLearning,
    OnlineCorrection,
    Recipe,
    Schedule,
    SelfCorrector,
    noise,
)

CLASSES = 3
SHORT = RECIPES["paper"].replace(schedule=Schedule(init_epochs=4, cycles=2, cycle_epochs=2), lr=0.1, batch_size=20)
ONLINE = RECIPES["robust"].replace(correction=OnlineCorrection(), objective=EarlyLearning(), standardize=None)
PLAIN = SHORT.replace(average=None, correction=None)  # neither Eq. 6 nor Eq. 7


def blobs(count: int = 120, seed: int = 0, rate: float = 0.3) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs in three well separated clusters, labels of which some are wrong, and the right ones."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.arange(count) % CLASSES
    inputs = torch.randn(count, 4, generator=generator) + 5 * nn.functional.one_hot(clean, 4)
    noisy = noise.Symmetric(rate).apply(clean.numpy(), num_classes=CLASSES, seed=seed)
    return inputs, torch.from_numpy(noisy.labels), clean


def network(seed: int = 0, norm: bool = True) -> nn.Sequential:
    """Return a small network for the clusters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(4, 16), nn.BatchNorm1d(16) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(0.1)]
        return nn.Sequential(*layers, nn.Linear(16, CLASSES))


def corrector(model: nn.Module | None = None, recipe: str | Recipe = SHORT, **settings: Any) -> SelfCorrector:
    """Return a corrector that says nothing while it runs."""
    callbacks = [QUIET, *settings.pop("callbacks", ())]
    settings = {"num_classes": CLASSES, "lr": 0.1, "recipe": recipe, "callbacks": callbacks, **settings}
    return SelfCorrector(model or network(), **settings)


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a model's state."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_equal_runs(first: CorrectionResult, second: CorrectionResult) -> None:
    """Compare weights and labels bit for bit."""
    for name, value in first.model.state_dict().items():
        other = second.model.state_dict()[name]
        assert torch.equal(value, other) if isinstance(value, Tensor) else value == other, name
    assert torch.equal(first.labels.refined(), second.labels.refined())


class Records(Dataset):
    """Items in one of the forms that data sets have."""

    def __init__(self, inputs: Any, labels: Any, form: str = "pair") -> None:
        self.inputs, self.labels, self.form = inputs, labels, form

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Any:
        x, y = self.inputs[index], int(self.labels[index])
        return {"triple": (x, y, index), "dict": {"image": x, "label": y, "index": index}, "pair": (x, y)}[self.form]
