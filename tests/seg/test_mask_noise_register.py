"""A mask noise model in a file of its own, and one that another package announces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import pytest
from announced import announce

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import noise
from noisycorrect_seg.classes import Classes


@final
@dataclass(frozen=True)
class Stain(noise.MaskNoise):
    """A square of background in the upper left corner, or of one class."""

    side: int = 1
    strength: float = 1.0
    colour: list[int] | None = None

    name: ClassVar[str] = "stain"

    def _corrupt(self, mask: Any, classes: Classes, rng: np.random.Generator, image: Any) -> Any:
        if rng.random() < self.strength:
            mask[: self.side, : self.side] = 0 if self.colour is None else self.colour[0]
        return mask


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise.MODELS, "_things", dict(noise.MODELS._things))
    assert noise.register(Stain) is Stain


def test_a_new_model_is_registered_spelled_parsed_and_applied(registered: None) -> None:
    model = noise.parse("stain:2:strength=1e16 + swap:0.5", colour=[7])
    assert model == noise.Compose([Stain(2, 1e16, [7]), noise.LeftRightSwap(0.5)])
    assert str(model) == "stain:2:strength=10000000000000000+swap:0.5"
    noisy = noise.parse("stain:2", colour=[7]).apply([np.full((3, 3), 5)], classes="lip", seed=0)
    assert noisy.masks[0].tolist() == [[7, 7, 5], [7, 7, 5], [5, 5, 5]]
    assert noisy.details == {"model": "stain:2", "seed": 0}
    with pytest.raises(InvalidInputError, match="known material of a mask noise model; got 'color'"):
        noise.parse("stain:2", color=[7])


def test_a_model_of_another_package_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert noise.MODELS.group == "noisycorrect.mask_noise_models"
    announce(monkeypatch, noise.MODELS, stain=Stain)
    assert noise.parse("stain:3+boundary:1") == noise.Compose([Stain(3), noise.Boundary(1)])
    with pytest.raises(InvalidInputError, match="known mask noise model; got 'stane'; .* 'realistic', 'stain'"):
        noise.parse("stane")


def test_the_spawn_key_of_a_seed_is_written_down() -> None:
    (child,) = np.random.SeedSequence(3).spawn(1)
    details = noise.NoNoise().apply([np.zeros((1, 1), int)], classes="lip", seed=child).details
    assert details == {"model": "none", "seed": 3, "spawn_key": (0,)}


def test_a_flag_behind_the_name_is_read_back() -> None:
    model = noise.Boundary(together=True)
    assert str(model) == "boundary:together=true"
    assert noise.parse(str(model)) == model
