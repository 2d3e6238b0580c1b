r"""Slopes of the Lovász extension of the Jaccard loss, for sorted and for binned errors.

For one class over the n valid pixels, :math:`t_i \in [0, 1]` is the target's share of the class (0 or 1 for hard
labels), T its sum, :math:`p_i` the predicted probability and :math:`e_i = |t_i - p_i|` the error. Berman et al. (CVPR
2018, Eq. 6) define on a set S of mispredicted pixels the Jaccard loss

.. math:: \Delta(S) = \frac{|S|}{|\{i : t_i = 1\} \cup S|} = \frac{|S|}{T + \sum_{i \in S} (1 - t_i)} .

The right side has a meaning for every t in [0, 1]: this is the soft loss. It rises with S, from 0 to at most 1, and is
submodular, so its Lovász extension (their Eq. 8 and 9) with the errors in falling order,

.. math:: L(e) = \sum_i e_i\, g_i, \qquad g_i = \Delta(\{1, \dots, i\}) - \Delta(\{1, \dots, i - 1\}) ,

is convex in e and equals :math:`\Delta` where every error is 0 or 1. It vanishes at p = t, and is the hard loss for
one-hot targets. As every :math:`g_i \ge 0` and they sum to at most 1, L moves by at most the largest change of an
error.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_TOTAL = 1e-30  # of a class that does not occur: turns 0 / 0 into its limit, by which L is the largest error


def sorted_slopes(mass: Tensor) -> Tensor:
    r"""Return :math:`g_i` of errors in falling order (Berman et al. 2018, Eq. 9 and Algorithm 1), hard or soft.

    With r = i - 1 pixels before i, of mass :math:`A = \sum_{j<i} t_j`, and :math:`D = T + r - A` the union so far,

    .. math:: g_i = \frac{r + 1}{D + 1 - t_i} - \frac{r}{D} = \frac{(T - A) + r\,t_i}{D\,(D + 1 - t_i)} .

    The right side holds no difference of nearly equal fractions; Algorithm 1 does, and loses most digits of a small
    slope to it in float32.

    Parameters
    ----------
    mass : Tensor, shape (R, n)
        :math:`t_i` in the order of falling errors, one row a class; float32 or float64.

    Returns
    -------
    Tensor, shape (R, n)
        :math:`g_i \ge 0`.

    Examples
    --------
    >>> sorted_slopes(torch.tensor([[1.0, 0.0, 1.0]]))
    tensor([[0.5000, 0.1667, 0.3333]])
    """
    after = mass.cumsum(1)
    total = after[:, -1:].clamp(min=LEAST_TOTAL)
    rank = torch.arange(mass.shape[1], device=mass.device, dtype=mass.dtype)
    left = total - after.sub_(mass)  # at least 0: a cumulative sum never falls
    union = left + rank
    slopes = left.addcmul_(mass, rank)
    return slopes.div_(union).div_(union.add_(1).sub_(mass))


def binned_slopes(counts: Tensor, masses: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the slopes of errors known only up to their bin: :math:`b + c\,t_i` for a pixel of mass :math:`t_i`.

    The bins lie in falling order. With :math:`r_0, A_0` the pixels and their mass before a bin, :math:`r_1, A_1` after
    it, :math:`D_k = T + r_k - A_k`, :math:`\bar r` and :math:`\bar A` the means of the two,

    .. math:: b = \frac{T - \bar A}{D_0 D_1}, \qquad c = \frac{\bar r}{D_0 D_1} .

    It is the form of :func:`sorted_slopes` at the middle of the bin. For hard labels it is the mean of two orders of
    the bin's pixels: those of the class first, and those of the class last. The slopes are at least 0, and those of a
    bin sum to exactly what the bin adds to :math:`\Delta`, as :math:`\frac{n}{2}(\frac1{D_0} + \frac1{D_1}) - \bar r
    (\frac1{D_0} - \frac1{D_1}) = \frac{r_1}{D_1} - \frac{r_0}{D_0}` for its n = :math:`r_1 - r_0` pixels.

    Parameters
    ----------
    counts, masses : Tensor, shape (R, B), floating
        Pixels in each bin, and the sum of their mass; one row a class.

    Returns
    -------
    b, c : Tensor, shape (R, B)

    Examples
    --------
    One pixel of the class in the first bin, one of each kind in the second:

    >>> counts, masses = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 1.0]])
    >>> base, share = binned_slopes(counts, masses)
    >>> base, base + share  # of other pixels, of those of the class
    (tensor([[0.3750, 0.0833]]), tensor([[0.5000, 0.4167]]))
    """
    ranks, mass = counts.cumsum(1), masses.cumsum(1)
    total = mass[:, -1:].clamp(min=LEAST_TOTAL)
    first = total + (ranks - counts) - (mass - masses)
    unions = first * (total + ranks - mass)
    return (total - mass + masses / 2) / unions, (ranks - counts / 2) / unions
