"""What refined masks keep of each class: against a slow count, and the report of a study's stores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import fading
from noisycorrect import SoftLabelStore

NAMES, FRAME, MAP = ["background", "rare", "common"], (12, 10), (6, 5)


def store_in(folder: Path, seed: int) -> SoftLabelStore:
    rng = np.random.default_rng(seed)
    masks = [rng.choice([0, 1, 2, 255], (14, 9 + index), p=[0.5, 0.1, 0.3, 0.1]).astype(np.uint8) for index in range(3)]
    store = SoftLabelStore.create(folder, masks, 3, kind="segmentation", frame=FRAME, keep=None)
    for _ in range(2):
        probs = torch.from_numpy(rng.dirichlet((4.0, 0.2, 2.0), (3, *MAP))).permute(0, 3, 1, 2).float()
        with store.new_generation() as writer:
            writer.write(range(3), probs)
    return store


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for method, seed in (("both", 0), ("both", 1), ("both-cb", 0), ("none", 0)):
        key = f"{method}-{seed}"
        (tmp_path / "cells").mkdir(exist_ok=True)
        record = {
            "config": {"method": method, "seed": seed},
            "result": {"class_iou": dict.fromkeys(NAMES, 0.5)},
        }
        (tmp_path / "cells" / f"{key}.json").write_text(json.dumps(record))
        if method != "none":
            store_in(tmp_path / "cells" / key / "run" / "labels", seed)
    return tmp_path


def test_kept_pixels_are_counted_one_by_one(tmp_path: Path) -> None:
    store = store_in(tmp_path / "labels", 3)
    for generation in (0, 1, 2):
        given, kept = fading.kept_pixels(store, generation)
        for label in range(3):
            pairs = [
                (int(g), int(r))
                for mask, refined in zip(store.given(), store.labels(generation=generation), strict=True)
                for g, r in zip(mask.ravel(), refined.ravel(), strict=True)
            ]
            assert given[label] == sum(g == label for g, _ in pairs)
            assert kept[label] == sum(g == r == label for g, r in pairs)
    assert (kept < given).any()


def test_whole_trust_keeps_all_at_any_resolution_and_none_keeps_large_regions(tmp_path: Path) -> None:
    store = store_in(tmp_path / "labels", 3)
    given, kept = fading.kept_by_resolution(store, trust=1.0)
    assert np.array_equal(given, kept)
    halves = np.zeros((24, 20), np.uint8)
    halves[:, 10:] = 2
    other = SoftLabelStore.create(None, [halves], 3, kind="segmentation", frame=(24, 20))
    with other.new_generation() as writer:
        writer.write([0], torch.full((1, 3, 12, 10), 1 / 3))
    given, kept = fading.kept_by_resolution(other, trust=0.0)
    assert given.tolist() == [240, 0, 240]
    assert kept.sum() >= 480 - 2 * 24  # all but what lies within a cell of the border


def test_the_report_pools_the_seeds(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fading.main([str(study), "--out", str(study / "out"), "--stem", "fading"]) == 0
    found = json.loads((study / "out" / "fading.json").read_text())
    assert set(found["kept"]) == {"both", "both-cb"}
    pooled = [fading.kept_pixels(SoftLabelStore.open(study / f"cells/both-{seed}/run/labels"), 2) for seed in (0, 1)]
    expected = sum(kept for _, kept in pooled) / sum(given for given, _ in pooled)
    np.testing.assert_allclose(found["kept"]["both"]["2"], expected)
    assert "| rare |" in (study / "out" / "fading.md").read_text()
    assert (study / "out" / "fading-classes.png").stat().st_size > 0
    assert "both-cb, cycle 2" in capsys.readouterr().out


def test_a_folder_without_labels_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fading.main([str(tmp_path)]) == 2
    assert "--keep-labels" in capsys.readouterr().err
