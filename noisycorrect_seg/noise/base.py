"""What every noise model for masks is: the interface and its result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from noisycorrect.classification.noise.checks import Seed, check_seed, child_seed, origin
from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.spelling import NOTATIONS, NUMBER, Notation, SpelledRegister, spell
from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.masks import IGNORE_INDEX, checked_mask

Mask: TypeAlias = NDArray[np.uint8]
ClassesLike: TypeAlias = Classes | str | Sequence[str]


@dataclass(frozen=True, eq=False)
class NoisyMasks:
    """What a noise model returns; every array is fresh and belongs to the caller.

    Attributes
    ----------
    masks : list of ndarray of uint8, shape (H, W)
        The noisy masks: 0..K-1, and 255 exactly where the right mask has it.
    changed : list of ndarray of bool, shape (H, W)
        Which pixels are wrong now.
    details : dict
        `model`, the model's spelling, `seed`, and `spawn_key` if the seed is a child of another.

    Examples
    --------
    >>> from noisycorrect_seg.noise import LeftRightSwap
    >>> arms = np.array([[14, 0, 15]], np.uint8)
    >>> noisy = LeftRightSwap(1.0).apply([arms], classes="lip", seed=0)
    >>> noisy.masks[0].tolist(), round(noisy.rate, 2), round(noisy.foreground_rate(), 2)
    ([[15, 0, 14]], 0.67, 1.0)
    """

    masks: list[Mask]
    changed: list[NDArray[np.bool_]]
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Share of all pixels that are wrong, in [0, 1]; those with 255 do not count."""
        counted = sum(int((mask != IGNORE_INDEX).sum()) for mask in self.masks)
        return sum(int(changed.sum()) for changed in self.changed) / max(counted, 1)

    def foreground_rate(self) -> float:
        """Share of wrong pixels among those that are foreground before or after, in [0, 1]."""
        wrong = foreground = 0
        for mask, changed in zip(self.masks, self.changed, strict=True):
            wrong += int(changed.sum())
            # A wrong pixel that is background now was foreground before.
            foreground += int(((mask != IGNORE_INDEX) & ((mask != 0) | changed)).sum())
        return wrong / max(foreground, 1)


def _write_number(value: float) -> str:
    # "+" joins models, so that 1e+16 must not be spelled with it.
    return repr(int(value)) if float(value).is_integer() else repr(float(value)).replace("e+", "e")


def _write_numbers(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))


def _read_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


class MaskNoise(ABC):
    """Makes wrong masks out of right ones, reproducibly, and says which pixels it changed.

    A model is an immutable value. What it does to a mask depends on the mask, the seed and the mask's index only, never
    on the other masks, so that masks can be made one at a time. `str(model)` is its spelling, which `parse` reads back;
    the types of its fields say how they are spelled, see `noisycorrect.support.spelling`.

    Class 0 is background. A pixel with 255 stays as it is, and no other pixel becomes 255.

    Models are final: they set `name` and define `_corrupt`, and are decorated with `register`.
    """

    name: ClassVar[str]
    notations: ClassVar[Mapping[Any, Notation]] = {
        **NOTATIONS,
        float: NUMBER._replace(write=_write_number),
        tuple[int, ...]: Notation("class numbers", "3,18", _write_numbers, _read_numbers),
    }

    @door
    def apply(
        self, masks: Iterable[Any], *, classes: ClassesLike, seed: Seed, images: Sequence[Any] | None = None
    ) -> NoisyMasks:
        """Return noisy masks for right ones.

        Parameters
        ----------
        masks : iterable of integer ndarray or Tensor, each of shape (H, W)
            The right masks: 0..K-1, and 255 for pixels without a label. Sizes may differ. Never changed.
        classes : Classes, str or sequence of str
            The classes, as for `classes_named`.
        seed : int or numpy.random.SeedSequence
            The only source of randomness, together with each mask's index.
        images : sequence of ndarray of uint8, each of shape (H, W, 3), optional
            The pictures, for models that follow their content. Never changed.

        Returns
        -------
        NoisyMasks
            Masks and changed pixels.

        Raises
        ------
        InvalidInputError
            If masks, classes, seed or images are not as above.
        """
        classes, sequence = _few(classes_named(classes)), check_seed(seed)
        noisy: list[Mask] = []
        changed = []
        for index, mask in enumerate(masks):
            if images is not None and index >= len(images):
                raise InvalidInputError("one image a mask", got=f"{len(images)} images", fix="pass both in one order")
            given = checked_mask(mask, len(classes), index)
            image = None if images is None else images[index]
            noisy.append(self._noisy(given, classes, sequence, index, image))
            changed.append(noisy[-1] != given)
        if not noisy:
            raise InvalidInputError("at least one mask", got="none", fix="check how the data set was read")
        return NoisyMasks(noisy, changed, origin(self, sequence))

    def apply_one(
        self, mask: Any, *, classes: ClassesLike, seed: Seed, index: int = 0, image: NDArray[np.uint8] | None = None
    ) -> Mask:
        """Return the noisy mask of one right one, uint8 (H, W): what `apply` gives for the mask at `index`.

        Parameters
        ----------
        mask : integer ndarray or Tensor, shape (H, W)
            As for `apply`.
        classes, seed
            As for `apply`.
        index : int
            The mask's index in its data set, at least 0.
        image : ndarray of uint8, shape (H, W, 3), optional
            The picture.

        Raises
        ------
        InvalidInputError
            As for `apply`.

        Examples
        --------
        >>> from noisycorrect_seg.noise import DroppedPart
        >>> DroppedPart(1.0).apply_one(np.array([[0, 2]]), classes="lip", seed=0).tolist()
        [[0, 0]]
        """
        classes = _few(classes_named(classes))
        index = whole_number("index", index, least=0)
        given = checked_mask(mask, len(classes), index)
        return self._noisy(given, classes, check_seed(seed), index, image)

    def _noisy(
        self, given: Mask, classes: Classes, seed: np.random.SeedSequence, index: int, image: Any | None
    ) -> Mask:
        picture = None if image is None else _checked_image(image, given.shape, index)
        rng = np.random.default_rng(child_seed(seed, index))
        noisy = self._corrupt(given.copy(), classes, rng, picture)
        ignored = given == IGNORE_INDEX
        noisy = np.where(ignored, np.uint8(IGNORE_INDEX), noisy)
        assert noisy.dtype == np.uint8
        assert not ((noisy >= len(classes)) & ~ignored).any(), f"{self} left the range of classes"
        return noisy

    @abstractmethod
    def _corrupt(self, mask: Mask, classes: Classes, rng: np.random.Generator, image: NDArray[np.uint8] | None) -> Mask:
        """Return the noisy mask of a checked one, which is the model's to change; what it writes over 255 is undone."""

    def __str__(self) -> str:
        return spell(self)


def _few(classes: Classes) -> Classes:
    if len(classes) > IGNORE_INDEX:
        fix = "make noise of a list in which rare classes are joined"
        raise InvalidInputError(f"at most {IGNORE_INDEX} classes for mask noise", got=str(len(classes)), fix=fix)
    return classes


MODELS: SpelledRegister[MaskNoise] = SpelledRegister(
    "mask noise model", group="noisycorrect.mask_noise_models", example="boundary:3"
)
"""Every noise model for masks but `Compose`, by its name."""

register = MODELS.add
"""Class decorator that adds a noise model to `MODELS`; it stands above ``@dataclass``."""


def _checked_image(image: Any, shape: tuple[int, ...], index: int) -> NDArray[np.uint8]:
    array = np.asarray(image)
    if array.shape != (*shape, 3) or array.dtype != np.uint8:
        raise InvalidInputError(
            f"an image of uint8 and shape {(*shape, 3)}",
            got=f"{array.dtype} of shape {array.shape} at index {index}",
            fix="pass RGB pictures of the masks' sizes",
        )
    return array
