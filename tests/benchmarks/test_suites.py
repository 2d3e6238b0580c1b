"""Suites: which cells, which settings, which augmentations, where the report goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import robustness
from benchmarks.lab.augmentation import crop_and_mirror, disturb_features, shift_flat_images
from benchmarks.lab.datasets import Benchmark, load
from benchmarks.lab.methods import ROBUST_ABLATIONS, names_of
from benchmarks.lab.suites import QUICK, SETTINGS, SUITES, augmentations
from noisycorrect.support.errors import InvalidInputError


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for CIFAR-10: digits with its human labels, as images for the network and as vectors for features."""

    def stand_in(name: str, data_dir: Path | None, *, subset: int | None = None, seed: int = 0) -> Benchmark:
        data = load("digits", subset=None if name == "digits" else 300, seed=seed)
        human = dict.fromkeys(("aggregate", "random1"), data.train_labels)
        data = replace(data, name=name, human_labels=human)
        if name != "cifar10":
            return data
        train, test = (x.reshape(-1, 1, 8, 8).repeat(1, 3, 4, 4) for x in (data.train_inputs, data.test_inputs))
        return replace(data, train_inputs=train, test_inputs=test)

    monkeypatch.setattr(robustness, "load", stand_in)


def test_the_standard_suite_has_all_parts_methods_and_seeds(images: None) -> None:
    arguments = robustness.parse_arguments(["--suite", "standard", "--data-dir", "somewhere"])
    cells = robustness.make_cells(arguments)
    plain, ablated = len(names_of(ablations=False)), len(ROBUST_ABLATIONS)
    counts = {name: sum(cell.dataset == name for cell in cells) for name in SETTINGS}
    assert counts == {
        "digits": 5 * (7 * plain + 2 * ablated),
        "cifar10-hog": 3 * 5 * 14,
        "cifar10": 3 * 4 * 8,
    }
    assert len(set(cells)) == len(cells)
    for cell in cells:
        usual = SETTINGS[cell.dataset]
        assert (cell.budget, cell.lr, cell.batch_size, cell.network) == (
            usual.epochs,
            usual.lr,
            usual.batch_size,
            usual.network,
        )
    assert {cell.subset for cell in cells if cell.dataset != "digits"} == {10_000}


def test_without_a_folder_the_parts_that_need_one_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = robustness.parse_arguments(["--suite", "standard", "--first-seed", "3"])
    cells = robustness.make_cells(arguments)
    assert capsys.readouterr().err.count("\n") == 1
    assert {cell.dataset for cell in cells} == {"digits"}
    assert {cell.seed for cell in cells} == {3, 4, 5, 6, 7}


@pytest.mark.parametrize("words", [["--suite", "standard"], ["--quick"], ["--task", "segmentation"], []])
def test_reports_go_below_the_current_directory(words: list[str]) -> None:
    arguments = robustness.parse_arguments(words)
    assert (arguments.out, arguments.stem, arguments.cells) == (Path("runs/robustness"), "results", None)


def test_every_part_has_settings() -> None:
    for suite in (*SUITES.values(), QUICK):
        assert {part.dataset for part in suite.values()} <= set(SETTINGS)
    assert set(QUICK) <= set(SUITES["standard"])


def test_images_are_augmented_for_all_and_vectors_for_one() -> None:
    digits = load("digits", subset=100)
    shared, own = augmentations(digits)
    assert shared is None
    assert own is not None
    torch.manual_seed(0)
    background = digits.train_inputs.min()
    assert own(digits.train_inputs).min() == background
    vectors = replace(digits, name="cifar10-hog")
    assert augmentations(vectors) == (None, disturb_features)
    pictures = replace(digits, train_inputs=torch.zeros(2, 3, 32, 32))
    assert augmentations(pictures) == (crop_and_mirror, None)


# ---------------------------------------------------------------- augmentations


def reflected(place: int, size: int) -> int:
    """Return the pixel that stands at a place beyond the rim."""
    place = -place if place < 0 else place
    return 2 * (size - 1) - place if place >= size else place


def test_every_crop_is_a_shift_of_the_image_or_of_its_mirror_image() -> None:
    torch.manual_seed(0)
    size, margin = 6, 2
    image = torch.arange(2 * size * size, dtype=torch.float32).reshape(2, size, size)
    crops = crop_and_mirror(image.expand(400, -1, -1, -1), margin)
    possible = []
    for flip in (False, True):
        for top in range(-margin, margin + 1):
            for left in range(-margin, margin + 1):
                crop = torch.empty_like(image)
                for y in range(size):
                    for x in range(size):
                        column = size - 1 - x if flip else x
                        crop[:, y, x] = image[:, reflected(y + top, size), reflected(column + left, size)]
                possible.append(crop)
    found = {next(n for n, crop in enumerate(possible) if torch.equal(crop, drawn)) for drawn in crops}
    assert len(found) == len(possible)


def test_shifts_bring_in_the_background() -> None:
    torch.manual_seed(0)
    image = np.arange(1.0, 10.0).reshape(3, 3)
    padded = np.pad(image, 1, constant_values=-1.0)
    possible = {tuple(padded[y : y + 3, x : x + 3].ravel()) for y in range(3) for x in range(3)}
    inputs = torch.tensor(image.reshape(1, 9)).expand(200, 9)
    shifted = shift_flat_images(inputs, side=3, background=-1.0)
    assert {tuple(row) for row in shifted.tolist()} == possible


def test_features_are_disturbed_as_told() -> None:
    torch.manual_seed(0)
    features = torch.full((400, 200), 5.0)
    disturbed = disturb_features(features, noise=0.1, dropped=0.25)
    kept = disturbed[disturbed != 0]
    assert len(kept) / features.numel() == pytest.approx(0.75, abs=0.01)
    assert float(kept.mean()) == pytest.approx(5, abs=0.01)
    assert float(kept.std()) == pytest.approx(0.1, abs=0.01)


def test_the_global_generator_decides() -> None:
    images = torch.rand(8, 3, 32, 32)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(crop_and_mirror(images))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert drawn[0].is_contiguous(memory_format=torch.channels_last)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"images of shape \(N, C, H, W\)"):
        crop_and_mirror(torch.zeros(2, 64))
    with pytest.raises(InvalidInputError, match=r"shape \(N, 64\)"):
        shift_flat_images(torch.zeros(2, 3), side=8, background=0.0)
