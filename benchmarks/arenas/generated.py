"""Families of sets that are drawn, so that the arena needs no files: mixtures, spheres, moons and counts."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import make_classification, make_moons

from benchmarks.arenas.tables import Source

_ROWS = 3500
_SEED = 20_26  # the sets are drawn once: a cell's seed divides them, and makes their noise


def mixture() -> Source:
    """Return six classes of two Gaussian clusters each: 10 informative directions, rotated, of 24 features.

    The clusters sit on corners of a hypercube (Guyon 2003, "Design of experiments of the NIPS 2003 variable selection
    benchmark"); 6 features repeat the informative ones in other combinations, 8 are noise.
    """
    inputs, labels = make_classification(
        _ROWS, n_features=24, n_informative=10, n_redundant=6, n_classes=6, n_clusters_per_class=2, flip_y=0.0,
        class_sep=1.6, shuffle=True, random_state=_SEED,
    )  # fmt: skip
    return Source(inputs.astype(np.float32), labels.astype(np.int64), tuple(f"cluster {k}" for k in range(6)))


def spheres() -> Source:
    """Return five classes on concentric spheres in eight dimensions: no direction tells anything, the norm all.

    Class k has radius k + 1, with a deviation of 0.3; so neighbouring classes touch.
    """
    generator = np.random.default_rng(_SEED)
    labels = generator.integers(0, 5, _ROWS)
    directions = generator.standard_normal((_ROWS, 8))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = labels + 1 + 0.3 * generator.standard_normal(_ROWS)
    return Source((directions * radii[:, None]).astype(np.float32), labels, tuple(f"shell {k}" for k in range(5)))


def moons() -> Source:
    """Return four classes: two pairs of interlocked half moons, rotated into 12 dimensions of noise.

    Features have scales from 1 to 100, as those of measured tables do.
    """
    generator = np.random.default_rng(_SEED)
    plane, which = make_moons(_ROWS, noise=0.15, random_state=_SEED)
    pair = generator.integers(0, 2, _ROWS)
    inputs = np.concatenate([plane, 2.0 * pair[:, None], generator.standard_normal((_ROWS, 9)) * 0.5], axis=1)
    inputs[:, 2] += 0.5 * generator.standard_normal(_ROWS)
    rotation, _ = np.linalg.qr(generator.standard_normal((12, 12)))
    scaled = inputs @ rotation * np.logspace(0, 2, 12)
    return Source(scaled.astype(np.float32), (which + 2 * pair).astype(np.int64), tuple(f"moon {k}" for k in range(4)))


def counts() -> Source:
    """Return eight classes of documents as counts of 200 words, 5 to 60 words each, classes of 30 to 4 %.

    The words of a class follow a draw from a Dirichlet distribution of concentration 0.1; every second word comes from
    a distribution that all share. So the rows are sparse, and short ones say little.
    """
    generator = np.random.default_rng(_SEED)
    shares = np.geomspace(0.30, 0.04, 8)
    labels = generator.choice(8, _ROWS, p=shares / shares.sum())
    own, common = generator.dirichlet(np.full(200, 0.1), size=8), generator.dirichlet(np.ones(200))
    lengths = generator.integers(5, 61, _ROWS)
    inputs = generator.multinomial(lengths, 0.5 * own[labels] + 0.5 * common)
    return Source(inputs.astype(np.float32), labels.astype(np.int64), tuple(f"topic {k}" for k in range(8)))
