"""Settings of the data sets, and which cells belong to a suite of the robustness study."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from benchmarks.lab.augmentation import crop_and_mirror, disturb_features, shift_flat_images
from benchmarks.lab.datasets import Benchmark

Augmentation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Settings:
    """How every method trains on a data set: SGD with momentum and a common rate, tuned to none of them.

    Attributes
    ----------
    epochs : int
        Budget in epochs of plain training; each method gets as many as make the same sample passes.
    lr : float
        Peak learning rate.
    batch_size : int
        Samples in a batch.
    network : str
        See :func:`benchmarks.lab.networks.build`.
    """

    epochs: int
    lr: float
    batch_size: int
    network: str


SETTINGS: dict[str, Settings] = {
    "digits": Settings(epochs=60, lr=0.05, batch_size=64, network="mlp"),
    "cifar10": Settings(epochs=15, lr=0.05, batch_size=128, network="narrow_cnn"),
    "cifar10-hog": Settings(epochs=20, lr=0.05, batch_size=128, network="mlp"),
}


@dataclass(frozen=True)
class Part:
    """Cells of a suite on one data set.

    Attributes
    ----------
    dataset : str
        Its name.
    noises : tuple of str
        Spellings of the noise models.
    seeds : int
        How many, from the first one on.
    subset : int or None
        Train on so many samples only, validation included; drawn with the cell's seed.
    ablations : tuple of str
        Noise models under which the robust recipe has rows with a part left out or replaced.
    methods : tuple of str or None
        Only these methods; None is all.
    needs_data : bool
        Whether a folder of files has to be given.
    """

    dataset: str
    noises: tuple[str, ...]
    seeds: int
    subset: int | None = None
    ablations: tuple[str, ...] = ()
    methods: tuple[str, ...] | None = None
    needs_data: bool = False


_CIFAR_NOISES = ("symmetric:0.4", "instance:0.4", "human:aggregate", "human:random1")
# What a network of images or a thousand features trains for tens of seconds, two cores train once of each kind.
_FEW = ("ce", "gce", "ema", "ce-wa-aug", "elr", "coteaching", "paper", "robust")
_MANY = (*_FEW, "mixup", "sce", "sop", "dividemix", "prune-retrain", "elr-ema-dropout")
SUITES: dict[str, dict[str, Part]] = {
    "standard": {
        "digits": Part(
            dataset="digits",
            noises=(
                "none",
                "symmetric:0.2",
                "symmetric:0.4",
                "symmetric:0.6",
                "pairflip:0.2",
                "pairflip:0.4",
                "instance:0.4",
            ),
            seeds=5,
            ablations=("symmetric:0.4", "pairflip:0.4"),
        ),
        "features": Part(
            "cifar10-hog", ("none", *_CIFAR_NOISES), seeds=3, subset=10_000, methods=_MANY, needs_data=True
        ),
        "cnn": Part("cifar10", _CIFAR_NOISES, seeds=3, subset=10_000, methods=_FEW, needs_data=True),
    }
}
QUICK = {"digits": Part("digits", ("symmetric:0.4", "pairflip:0.4"), seeds=2)}


def augmentations(data: Benchmark) -> tuple[Augmentation | None, Augmentation | None]:
    """Return what all methods train with, and what only those do that consist in augmentation.

    Images are cropped and mirrored, for all. Vectors are left alone by all but `ce-wa-aug`: it shifts digits by up to
    one pixel, and disturbs features.

    Examples
    --------
    >>> from benchmarks.lab.datasets import load
    >>> shared, own = augmentations(load("digits"))
    >>> shared is None, own(load("digits").train_inputs).shape
    (True, torch.Size([1347, 64]))
    """
    if data.train_inputs.dim() == 4:
        return crop_and_mirror, None
    if data.name == "digits":
        background = -float(data.mean) / float(data.std) if data.standardised else 0.0
        return None, functools.partial(shift_flat_images, side=8, background=background)
    return None, disturb_features
