"""What goes wrong by habit, and which classes the evidence knows well enough to tell, from counts over many masks."""

from __future__ import annotations

import torch
from torch import Tensor

from noisycorrect_seg.geometry.maps import winners
from noisycorrect_seg.geometry.objects import Objects


def confusions(found: Objects, suggested: Tensor, classes: int) -> Tensor:
    """Return how many objects of each given class (rows) are taken for each class (columns), float64 (K, K).

    Examples
    --------
    >>> from noisycorrect_seg.geometry.objects import objects_of
    >>> found = objects_of(torch.tensor([[[1, 0, 1]]]), torch.full((1, 2, 1, 3), 0.5))
    >>> confusions(found, torch.tensor([0, 1, 0]), 2).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    return _counted(found.classes, suggested, classes)


def one_way(counts: Tensor, *, share: float = 0.05) -> Tensor:
    r"""Return which classes are given for which ones, bool (K, K): what is confused both ways is hard, not misnamed.

    A network that cannot tell two classes takes either for the other; annotators who call skirts dresses do so one way.
    Pairs i, j with :math:`n_{ij} - n_{ji} \ge 3 \sqrt{n_{ij} + n_{ji}}`, three standard errors of a fair coin,
    :math:`n_{ij} \ge 4 n_{ji}`, and :math:`n_{ij}` at least `share` of the objects of class i: a few of many are no
    habit.

    Parameters
    ----------
    counts : Tensor, shape (K, K)
        See :func:`confusions`.
    share : float
        In [0, 1].

    Examples
    --------
    >>> one_way(torch.tensor([[0, 0, 0], [0, 50, 16], [0, 1, 50]])).nonzero().tolist()
    [[1, 2]]
    """
    back = counts.T
    apart = (counts - back >= 3 * (counts + back).sqrt()) & (counts >= 4 * back) & (counts > 0)
    return apart & (counts >= share * counts.sum(1, keepdim=True))


def named_places(given: Tensor, evidence: Tensor) -> Tensor:
    """Return how many places of each given class (rows) the evidence names as each class (columns), float64 (K, K).

    Examples
    --------
    >>> given = torch.tensor([[[0, 1, 1, 255]]])
    >>> named_places(given, torch.tensor([[0.9, 0.8, 0.1, 0.9], [0.1, 0.2, 0.9, 0.1]]).reshape(1, 2, 1, 4)).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    classes = evidence.shape[1]
    known = (given >= 0) & (given < classes)
    return _counted(given[known], winners(evidence)[known], classes)


def well_named(named: Tensor, precision: float) -> Tensor:
    """Return for which given classes (rows) which ones (columns) are named well on the rest of the set, bool (K, K).

    Of the places named so, those of the given class in the row left out, at least the share `precision` is given so.
    What that class is misnamed for is no fault of the evidence, and a class that it names wrongly on all kinds of
    things is no witness.

    Parameters
    ----------
    named : Tensor, shape (K, K)
        See :func:`named_places`.
    precision : float
        In [0, 1].

    Examples
    --------
    >>> named = torch.tensor([[90.0, 0.0, 9.0], [0.0, 50.0, 30.0], [0.0, 0.0, 6.0]])
    >>> well_named(named, 0.4)[:, 2].tolist()  # 6 of 36, 6 of 15
    [False, True, False]
    """
    return named.diagonal() >= precision * (named.sum(0) - named)


def _counted(rows: Tensor, columns: Tensor, classes: int) -> Tensor:
    """Return how many pairs of classes, int64 (m,) each, there are of each kind, float64 (K, K)."""
    return torch.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes).double()
