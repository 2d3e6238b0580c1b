"""Small label stores with predictions that follow from the number of the generation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.classification.kind import ClassLabels
from noisycorrect.labels import SoftLabelStore
from noisycorrect_seg.kind import MaskLabels

KINDS = (ClassLabels.name, MaskLabels.name)
SAMPLES, CLASSES, SIZE = 6, 5, (40, 30)


def given_labels(kind: str) -> Any:
    rng = np.random.default_rng(0)
    if kind == ClassLabels.name:
        return np.array([0, 1, 2, 3, 4, -1])
    return [*(rng.integers(0, CLASSES, SIZE).astype(np.uint8) for _ in range(SAMPLES - 1)), None]


def prediction(kind: str, generation: int) -> Tensor:
    generator = torch.Generator().manual_seed(generation)
    shape = (SAMPLES, CLASSES, *(SIZE if kind == MaskLabels.name else ()))
    return torch.randn(*shape, generator=generator).mul(3).softmax(1)


def make_store(folder: Path, kind: str, **options: Any) -> SoftLabelStore:
    return SoftLabelStore.create(folder, given_labels(kind), CLASSES, kind=kind, **options)


def advance(store: SoftLabelStore, generations: int = 1) -> None:
    for _ in range(generations):
        probs = prediction(store.kind.name, store.generation + 1)
        with store.new_generation() as writer:
            writer.write(range(3), probs[:3])
            writer.write(range(3, SAMPLES), probs[3:])


def expected_evidence(kind: str, generation: int) -> np.ndarray:
    """Return the mean of all predictions so far, in float64."""
    return np.asarray(np.mean([prediction(kind, m).double().numpy() for m in range(1, generation + 1)], axis=0))


def tolerance(store: SoftLabelStore, generation: int) -> float:
    """Return how far evidence that was encoded `generation` times may be off; see SqrtUint8."""
    return 1e-6 if store.codec.name == "float32" else (generation + 1) / 2 * store.codec.max_error(CLASSES)


def assert_whole(store: SoftLabelStore, generation: int) -> None:
    """Raise unless the store is at a generation, complete, and holds its given labels unaltered."""
    assert store.generation == generation
    for index, label in enumerate(given_labels(store.kind.name)):
        np.testing.assert_array_equal(store.given(index)[0], np.zeros((0, 0)) if label is None else label)
    if generation:
        expected = expected_evidence(store.kind.name, generation)
        np.testing.assert_allclose(store.evidence(), expected, rtol=0, atol=tolerance(store, generation))
        np.testing.assert_allclose(store.trust().weight, store.labeled / (generation + 1), rtol=1e-6)
