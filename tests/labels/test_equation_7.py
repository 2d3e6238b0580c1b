"""SCHP's Eq. 7, y_m = m/(m+1) y_(m-1) + 1/(m+1) p_m, against the store's unrolled form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from makers import CLASSES, KINDS, SAMPLES, SIZE, advance, given_labels, make_store, prediction

from noisycorrect.labels import SqrtUint8

CYCLES = 6


def recursion(kind: str, cycles: int) -> np.ndarray:
    labels = given_labels(kind)
    shape = prediction(kind, 1).shape
    refined = np.zeros(shape)
    for index in range(SAMPLES - 1):
        for place in np.ndindex(*shape[2:]):
            refined[(index, labels[index][place], *place)] = 1
    for m in range(1, cycles + 1):
        probs = prediction(kind, m).double().numpy()
        new = m / (m + 1) * refined + 1 / (m + 1) * probs
        # Sec. 3.4: without a given label, the mean of the predictions.
        new[SAMPLES - 1] = ((m - 1) * refined[SAMPLES - 1] + probs[SAMPLES - 1]) / m
        refined = new
    return refined


def refined(kind: str, codec: str, folder: Path) -> np.ndarray:
    store = make_store(folder, kind, codec=codec)
    advance(store, CYCLES)
    assert len(store.refined()) == SAMPLES
    return np.stack([np.asarray(each, np.float64) for each in store.refined()])


@pytest.mark.parametrize("kind", KINDS)
def test_float32_equals_the_recursion(kind: str, tmp_path: Path) -> None:
    np.testing.assert_allclose(refined(kind, "float32", tmp_path / "s"), recursion(kind, CYCLES), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_codec_stays_within_the_bound_of_its_docstring(kind: str, tmp_path: Path) -> None:
    error = np.abs(refined(kind, "sqrt-uint8", tmp_path / "s") - recursion(kind, CYCLES))
    once = SqrtUint8().max_error(CLASSES)
    evidence_bound = (CYCLES + 1) / 2 * once
    assert error[: SAMPLES - 1].max() <= CYCLES / (CYCLES + 1) * evidence_bound
    assert error[SAMPLES - 1].max() <= evidence_bound
    assert 0 < error.max() < 2 * once  # roundings point every way: far below the worst case
    if kind == "segmentation":
        assert error.shape == (SAMPLES, CLASSES, *SIZE)
        assert error.max() > evidence_bound / 10  # and the bound is not an empty one
        assert error.mean() < once / 4
