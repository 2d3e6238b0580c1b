"""From a place of the plan to what is trained on and what is scored with."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.arenas.noises import make_noise
from benchmarks.arenas.preparations import PREPARATIONS, standard
from benchmarks.arenas.sets import Entry, load_source
from benchmarks.arenas.tables import Source, Values, split
from benchmarks.lab.datasets import Labels
from benchmarks.lab.protocol import Problem


@dataclass(frozen=True, eq=False)
class Prepared:
    """What all rows of a place are given alike.

    Attributes
    ----------
    problem : Problem
        Training rows with their given and right labels; nothing is held out.
    test_inputs, test_labels : Tensor, shape (T, ...); ndarray of int64, shape (T,)
        What scores, and chooses nothing.
    train_features, test_features : ndarray of float32, shape (N, F) and (T, F)
        For methods without a network: the inputs; of images their standardised features.
    num_classes : int
        K.
    deviation : Tensor, shape (1, F)
        Deviation of each feature of the training inputs.
    """

    problem: Problem
    test_inputs: Tensor
    test_labels: Labels
    train_features: Values
    test_features: Values
    num_classes: int
    deviation: Tensor


class Choice(NamedTuple):
    """What decides of the data: the set, its noise and preparation, the seed, and how many rows at most."""

    name: str
    path: str | None
    label: str
    noise: str
    preparation: str
    seed: int
    most_train: int
    most_test: int


@functools.lru_cache(maxsize=2)
def prepare(choice: Choice) -> Prepared:
    """Divide a set by the seed, make its labels noisy, and scale its inputs by the training rows.

    Raises
    ------
    InvalidInputError
        If set, noise or preparation are unknown.

    Examples
    --------
    >>> wine = prepare(Choice("wine", None, "label", "symmetric:0.4", "minmax", 0, 1500, 2000))
    >>> wine.problem.inputs.shape, len(wine.test_labels), round(wine.problem.noise_rate, 2)
    (torch.Size([125, 13]), 53, 0.4)
    """
    entry = Entry(choice.name, None if choice.path is None else Path(choice.path), choice.label)
    source = load_source(entry)
    train, test = split(source, most_train=choice.most_train, most_test=choice.most_test, seed=choice.seed)
    known, known_test = _features(source, train, test)
    human = {name: labels[train] for name, labels in source.human_labels.items()}
    noisy = make_noise(
        choice.noise, source.labels[train], known, human, num_classes=source.num_classes, seed=choice.seed
    )
    rows = train[noisy.rows]
    scale = PREPARATIONS[choice.preparation](source.inputs[rows])
    inputs, test_inputs = (torch.from_numpy(scale(source.inputs[part])) for part in (rows, test))
    nothing = inputs[:0], np.zeros(0, np.int64)
    train_features, test_features = (
        (known[noisy.rows], known_test) if source.images else (inputs.numpy(), test_inputs.numpy())
    )
    return Prepared(
        Problem(inputs, noisy.given, source.labels[rows], *nothing),
        test_inputs,
        source.labels[test],
        train_features,
        test_features,
        num_classes=source.num_classes,
        deviation=inputs.std(0, keepdim=True),
    )


def _features(source: Source, train: Labels, test: Labels) -> tuple[Values, Values]:
    """Return standardised features: instance-dependent noise is made of them, whatever a network will see."""
    features = source.inputs if source.features is None else source.features
    scale = standard(features[train])
    return scale(features[train]), scale(features[test])
