"""The plan: which networks, preparations and optimizers meet which noise of which set.

The whole product is too much for an evening, so the standard plan is a fraction of it: each noise of each set has one
network, one preparation and one optimizer a seed, rotated like a Graeco-Latin square. Of a half's sets under a noise
each level of a factor has its share, so do the pairs of levels, and three seeds show every noise of every set to every
network.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.arenas.networks import IMAGE_NETWORKS, VECTOR_NETWORKS
from benchmarks.arenas.noises import NOISES
from benchmarks.arenas.optimizers import OPTIMIZERS
from benchmarks.arenas.preparations import IMAGE_PREPARATIONS, PREPARATIONS
from benchmarks.arenas.sets import Entry, facts_of

#: Images take minutes a row: five noises, one of them by people.
IMAGE_NOISES = ("none", "symmetric:0.4", "instance:0.4", "imbalance")
HUMAN = {"cifar10": ("random1",), "cifar10-hog": ("aggregate", "random1")}


@dataclass(frozen=True)
class Place:
    """One cell of the arena: what all rows that are compared with each other have in common."""

    entry: Entry
    noise: str
    network: str
    preparation: str
    optimizer: str
    seed: int


def noises_of(entry: Entry) -> tuple[str, ...]:
    """Return the noises that a set meets in the plan.

    Examples
    --------
    >>> noises_of(Entry("wine")) == NOISES
    True
    """
    known = facts_of(entry).human if entry.path is not None else ()
    human = [name for name in HUMAN.get(entry.name, known) if name in known]
    return (*(IMAGE_NOISES if entry.images else NOISES), *(f"human:{name}" for name in human))


def levels(entry: Entry) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """Return networks, preparations and optimizers that a set may meet."""
    if entry.images:
        return IMAGE_NETWORKS, IMAGE_PREPARATIONS, tuple(OPTIMIZERS)
    return VECTOR_NETWORKS, tuple(PREPARATIONS), tuple(OPTIMIZERS)


def fraction(entries: Iterable[Entry], seeds: Iterable[int], noises: Sequence[str] | None = None) -> list[Place]:
    """Return the standard plan of some sets.

    Parameters
    ----------
    entries : iterable of Entry
        The sets; each has its place in the square by its name, whichever others are there.
    seeds : iterable of int
        The seed rotates the square.
    noises : sequence of str, optional
        Default: those of each set.

    Examples
    --------
    >>> place, *_ = fraction([Entry("wine")], [0])
    >>> place.noise, place.network, place.preparation, place.optimizer
    ('none', 'linear', 'raw', 'sgd')
    """
    return [
        _rotated(entry, noise, seed)
        for seed, entry in itertools.product(seeds, entries)
        for noise in (noises_of(entry) if noises is None else noises)
    ]


def _rotated(entry: Entry, noise: str, seed: int) -> Place:
    known = noises_of(entry)
    row, column = entry.number, known.index(noise) if noise in known else len(known)
    networks, preparations, optimizers = levels(entry)
    return Place(
        entry,
        noise,
        networks[(row + column + seed) % len(networks)],
        preparations[(row + 2 * column + seed // 3) % len(preparations)],
        optimizers[(row // 3 + column + seed) % len(optimizers)],
        seed,
    )


def whole(entries: Iterable[Entry], seeds: Iterable[int], noises: Sequence[str] | None = None) -> list[Place]:
    """Return the whole product of some sets.

    Examples
    --------
    >>> len(whole([Entry("wine")], [0])) == 7 * 3 * 3 * 2
    True
    """
    return [
        Place(entry, *levels_met, seed)
        for seed, entry in itertools.product(seeds, entries)
        for levels_met in itertools.product(noises_of(entry) if noises is None else noises, *levels(entry))
    ]
