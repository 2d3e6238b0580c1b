"""Another package adds a kind, a recipe and a noise model by announcing them: nobody imports it by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from spawn import run_script

MODULE = """
import dataclasses
from typing import ClassVar

import numpy as np

from noisycorrect import RECIPES
from noisycorrect.classification.kind import ClassLabels
from noisycorrect.classification.noise.base import NoiseModel, relabelled


class ToyLabels(ClassLabels):
    name = "toykind"


TOY_RECIPE = RECIPES["ce"].replace(batch_size=8, reference="toy")


@dataclasses.dataclass(frozen=True)
class ToyNoise(NoiseModel):
    rate: float
    name: ClassVar[str] = "toynoise"

    def _corrupt(self, given, num_classes, seed, inputs):
        moves = np.arange(len(given)) < self.rate * len(given)
        return relabelled(given, np.where(moves, (given + 1) % num_classes, given), num_classes)
"""
METADATA = "Metadata-Version: 2.1\nName: toy\nVersion: 0.1\n"
ENTRY_POINTS = """
[noisycorrect.kinds]
toykind = toy_module:ToyLabels

[noisycorrect.recipes]
toyrecipe = toy_module:TOY_RECIPE

[noisycorrect.noise_models]
toynoise = toy_module:ToyNoise
"""
USE = """
import sys

import torch

from noisycorrect import InvalidInputError, RECIPES, SelfCorrector, SoftLabelStore, noise
from noisycorrect.labels import KINDS

assert "toy_module" not in sys.modules


def refused(ask, name):
    try:
        ask(name[:-1])
    except InvalidInputError as error:
        assert f"did you mean {name!r}?" in str(error), error
        return
    raise AssertionError(f"{name[:-1]} is known")


refused(noise.parse, "toynoise")
refused(lambda name: SelfCorrector(torch.nn.Linear(2, 2), num_classes=2, recipe=name), "toyrecipe")
refused(lambda name: SoftLabelStore.create(None, [0, 1], 2, kind=name), "toykind")
assert "toy_module" not in sys.modules, "asking for another name imports nothing"

model = noise.parse("toynoise:0.3")
assert str(model) == "toynoise:0.3"
given = model.apply([0, 1] * 10, num_classes=2, seed=0)
assert given.changed.sum() == 6

corrector = SelfCorrector(torch.nn.Linear(2, 2), num_classes=2, recipe="toyrecipe", epochs=1)
assert corrector.recipe.reference == "toy"
assert corrector.fit((torch.randn(20, 2), given.labels)).history[-1]["epoch"] == 1

store = SoftLabelStore.create(sys.argv[1], given.labels, 2, kind="toykind")
assert type(store.kind).__module__ == "toy_module"
assert {"toykind", "classification", "multilabel", "tokens"} <= set(KINDS)
assert "toyrecipe" in RECIPES
print("used")
"""
OPEN = """
import sys

from noisycorrect import SoftLabelStore

print(SoftLabelStore.open(sys.argv[1]).kind.name)
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Return a folder that holds the package as an installer leaves it."""
    folder = tmp_path / "site"
    information = folder / "toy-0.1.dist-info"
    information.mkdir(parents=True)
    (folder / "toy_module.py").write_text(MODULE)
    (information / "METADATA").write_text(METADATA)
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def run(code: str, toy: Path, argument: Path) -> str:
    done = run_script(code, str(argument), paths=[toy])
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_package_that_is_only_installed_is_used_by_name(toy: Path, tmp_path: Path) -> None:
    assert run(USE, toy, tmp_path / "labels") == "used"
    assert run(OPEN, toy, tmp_path / "labels") == "toykind"
