"""Several kinds of noise one after the other, and none at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.masks import IGNORE_INDEX
from noisycorrect_seg.noise.base import Mask, MaskNoise, register


@register
@final
@dataclass(frozen=True)
class NoNoise(MaskNoise):
    """The control: every mask stays as it is. Spelled `none`.

    Examples
    --------
    >>> NoNoise().apply_one(np.array([[0, 1]]), classes="lip", seed=0).tolist()
    [[0, 1]]
    """

    name: ClassVar[str] = "none"

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        return mask


@final
@dataclass(frozen=True)
class Compose(MaskNoise):
    """Models applied in order, each to what the one before left. Spelled `boundary:3+swap:0.2`.

    Parameters
    ----------
    models : iterable of MaskNoise
        At least one; a composition among them is taken apart.

    Raises
    ------
    InvalidInputError
        If there is none, or one of them is no noise model.

    Examples
    --------
    >>> from noisycorrect_seg.noise import Boundary, LeftRightSwap
    >>> str(Compose([Boundary(3), LeftRightSwap(0.2)]))
    'boundary:3+swap:0.2'
    """

    models: tuple[MaskNoise, ...]

    name: ClassVar[str] = "compose"

    def __init__(self, models: Iterable[MaskNoise]) -> None:
        flat: list[MaskNoise] = []
        for model in models:
            if not isinstance(model, MaskNoise):
                raise InvalidInputError("mask noise models", got=repr(model), fix="parse a spelling first")
            flat += model.models if isinstance(model, Compose) else [model]
        if not flat:
            raise InvalidInputError("at least one noise model", got="none", fix="NoNoise() is no noise")
        object.__setattr__(self, "models", tuple(flat))

    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        ignored = mask == IGNORE_INDEX
        for model in self.models:
            mask = model._corrupt(mask, classes, rng, image)
            mask[ignored] = IGNORE_INDEX
        return mask

    def __str__(self) -> str:
        return "+".join(map(str, self.models))
