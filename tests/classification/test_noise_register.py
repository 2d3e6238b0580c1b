"""A noise model in a file of its own, and one that another package announces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, final

import numpy as np
import pytest
from announced import announce

from noisycorrect.classification import noise
from noisycorrect.classification.noise.base import relabelled
from noisycorrect.support.errors import InvalidInputError


@final
@dataclass(frozen=True)
class Shift(noise.NoiseModel):
    """The first `share` of the samples move by some classes, up or down, but for those that are protected."""

    share: float
    steps: int = 1
    direction: Literal["up", "down"] = "up"
    protected: list[int] | None = field(default=None, repr=False)

    name: ClassVar[str] = "shift"

    def _corrupt(self, given: Any, num_classes: int, seed: np.random.SeedSequence, inputs: Any) -> noise.NoisyLabels:
        moves = np.arange(len(given)) < self.share * len(given)
        moves[self.protected or []] = False
        steps = self.steps if self.direction == "up" else -self.steps
        return relabelled(given, np.where(moves, (given + steps) % num_classes, given), num_classes)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise.MODELS, "_things", dict(noise.MODELS._things))
    assert noise.register(Shift) is Shift


def test_a_new_model_is_registered_spelled_parsed_and_applied(registered: None) -> None:
    assert "shift" in noise.MODELS
    model = noise.parse("shift:0.5:direction=down", protected=[0], pool=np.zeros((1, 2)))
    assert model == Shift(0.5, direction="down", protected=[0])
    assert str(model) == "shift:0.5:direction=down"
    noisy = model.apply([0, 1, 2, 0], num_classes=3, seed=4)
    assert noisy.labels.tolist() == [0, 0, 2, 0]
    assert noisy.details == {"model": "shift:0.5:direction=down", "seed": 4}


def test_a_new_model_is_suggested_and_checked_like_the_others(registered: None) -> None:
    with pytest.raises(InvalidInputError, match="known noise model; got 'shft'; to fix: did you mean 'shift'"):
        noise.parse("shft")
    with pytest.raises(InvalidInputError, match=r"readable steps in 'shift:0\.5:steps=1\.5'; got '1\.5'"):
        noise.parse("shift:0.5:steps=1.5")
    with pytest.raises(InvalidInputError, match="known material of a noise model; got 'protect'"):
        noise.parse("shift:0.5", protect=[0])


def test_a_model_of_another_package_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert noise.MODELS.group == "noisycorrect.noise_models"
    announce(monkeypatch, noise.MODELS, shift=Shift)
    assert noise.parse("shift:0.25:steps=2") == Shift(0.25, steps=2)
    assert noise.parse("symmetric:0.4") == noise.Symmetric(0.4)


def test_the_spawn_key_of_a_seed_is_written_down() -> None:
    (child,) = np.random.SeedSequence(3).spawn(1)
    assert noise.NoNoise().apply([0], num_classes=2, seed=child).details == {
        "model": "none",
        "seed": 3,
        "spawn_key": (0,),
    }
