"""Simulated annotators, better and worse ones, who mistake neighbours and see some of the items only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from noisycorrect.data.votes import Votes
from noisycorrect.support.errors import unknown_name


@dataclass(frozen=True)
class Crowd:
    """How annotators are drawn.

    Attributes
    ----------
    annotators : int
        A.
    share : float
        Chance that one of them sees an item.
    worst, best : float
        Ends of the uniform distribution of their accuracy.
    neighbours : float
        Share of wrong votes that name the next class; the others are spread evenly over all wrong ones.
    """

    annotators: int
    share: float
    worst: float
    best: float
    neighbours: float = 0.5


CROWDS = {
    "few": Crowd(annotators=4, share=0.6, worst=0.4, best=0.9),
    "many": Crowd(annotators=40, share=0.06, worst=0.4, best=0.9),
}


def simulated_votes(clean: np.ndarray, classes: int, crowd: str, seed: int) -> Votes:
    """Return what simulated annotators say of items.

    Parameters
    ----------
    clean : ndarray of int, shape (N,)
        True classes.
    classes : int
        K.
    crowd : str
        A name of :data:`CROWDS`.
    seed : int
        Of annotators and votes.

    Raises
    ------
    InvalidInputError
        If the name is unknown.

    Examples
    --------
    >>> votes = simulated_votes(np.arange(1000) % 5, 5, "few", seed=0)
    >>> print(votes)
    2,376 votes of 4 annotators on 1,000 items, 5 classes; 30 items have no vote
    """
    if crowd not in CROWDS:
        raise unknown_name("crowd", crowd, CROWDS)
    chosen, rng = CROWDS[crowd], np.random.default_rng(seed)
    accuracy = rng.uniform(chosen.worst, chosen.best, chosen.annotators)
    shape = len(clean), chosen.annotators
    right = rng.random(shape) < accuracy
    step = np.where(rng.random(shape) < chosen.neighbours, 1, rng.integers(1, classes, shape))
    voted = np.where(right, clean[:, None], (clean[:, None] + step) % classes)
    table = np.where(rng.random(shape) < chosen.share, voted, -1)
    return Votes.from_table(table, classes=range(classes))
