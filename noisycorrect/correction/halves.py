"""Two halves of the samples, drawn at random."""

from __future__ import annotations

import torch
from torch import Tensor

from noisycorrect.support.rng import derived_seed


def halves(given: Tensor, seed: int) -> Tensor:
    """Divide samples at random: the labelled ones into two halves, and so the unlabelled ones.

    Parameters
    ----------
    given : Tensor, shape (N,), int64
        -1 for an unlabelled sample.
    seed : int
        >= 0.

    Returns
    -------
    Tensor, shape (N,), int64
        0 or 1; of an odd number the first half has one more.

    Examples
    --------
    >>> half = halves(torch.tensor([0, 1, 2, 0, 1, -1, -1]), seed=0)
    >>> half[:5].sum().item(), half[5:].sum().item()
    (2, 1)
    """
    order = torch.randperm(len(given), generator=torch.Generator().manual_seed(derived_seed(seed, "halves")))
    labeled = given.cpu()[order] >= 0
    half = torch.zeros(len(given), dtype=torch.int64)
    for rows in (order[labeled], order[~labeled]):
        half[rows[: len(rows) // 2]] = 1
    return half.to(given.device)
