"""Lovász-Softmax: the convex surrogate of the mean intersection over union (Berman et al., CVPR 2018)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.losses.jaccard import binned_slopes, sorted_slopes
from noisycorrect_seg.losses.targets import ROUNDING, Targets, by_class, check_maps, from_classes, targets_like, widen
from noisycorrect_seg.masks import IGNORE_INDEX

METHODS = ("exact", "linear")
BINS = 1024  # the linear method is then within 1 / 1024 of the exact one
ONE = 0x3F800000  # 1.0 in float32
BLOCK_ON_CPU = 2**21  # pixels at a time, of as many classes as these are: few enough to stay in the cache
BLOCK = 2**24
# From so many pixels on classes are shared between threads. With fewer, torch's own threads, which go on waiting for
# work, are in the way: at 8 x 128 x 88 two threads take twice the time of one, at 2 x 473 x 473 as long.
PIXELS_FOR_THREADS = 2**19

ClassChoice = Literal["present", "all"] | Sequence[int]


@door(own=True)
def lovasz_softmax(
    probs: Tensor,
    labels: Tensor,
    ignore_index: int = IGNORE_INDEX,
    *,
    classes: ClassChoice = "present",
    per_image: bool = False,
    method: str = "exact",
    bins: int = BINS,
) -> Tensor:
    r"""Return the Lovász-Softmax loss (Berman et al., CVPR 2018, Eq. 11), for hard labels or soft targets.

    The mean over classes of the Lovász extension of the Jaccard loss at the errors :math:`|t - p|`, over the valid
    pixels of the whole batch; :mod:`noisycorrect_seg.losses.jaccard` has the formulas and what they mean for soft
    targets.

    The exact method sorts the errors of each class. The linear one counts them in `bins` equal bins, and gives all
    pixels of a bin that have the same target the same slope :math:`\hat g_i`: :math:`\hat L = \sum_i \hat g_i e_i`. As
    slopes and exact slopes of a bin have the same sum, with c the middle of the bin of i,

    .. math:: |L - \hat L| = \Big|\sum_i (g_i - \hat g_i)(e_i - c)\Big|
              \le \frac{1}{2\,\mathrm{bins}} \sum_i (g_i + \hat g_i) \le \frac{1}{\mathrm{bins}} ,

    below 0.001 at the default. (In practice it is some 1e-6.) For hard labels :math:`\hat L \le L`, because
    :math:`\hat g` is a mean of slopes of other orders of the pixels, and the right order gives the largest sum.

    Parameters
    ----------
    probs : Tensor, shape (N, K, H, W)
        Class probabilities (after softmax), in [0, 1]. Half precision is computed in float32.
    labels : Tensor
        Hard labels, integer (N, H, W), 0..K-1 or `ignore_index`; or soft targets, floating (N, K, H, W), with columns
        of zeros at ignored pixels. Soft targets get no gradient.
    ignore_index : int
        Hard label of a pixel to leave out.
    classes : {"present", "all"} or sequence of int
        Classes to average over. "present": those in the labels; of soft targets, those to which some pixel gives at
        least 1/K. A class that does not occur but is asked for costs its largest probability.
    per_image : bool
        Mean over images of the loss of each, instead of one loss over all pixels; images without a valid pixel do not
        count.
    method : {"exact", "linear"}
        See above.
    bins : int
        Bins of the linear method, at least 2.

    Returns
    -------
    Tensor, scalar
        In [0, 1], float32 (float64 for float64 `probs`); 0, with a gradient of zeros, if no pixel is valid; NaN if a
        probability of a valid pixel is.

    Raises
    ------
    InvalidInputError
        If shapes, labels, classes, method or bins are not as above, or the probabilities leave [0, 1].

    Examples
    --------
    >>> probs = torch.tensor([[[[0.9, 0.4]], [[0.1, 0.6]]]])  # two pixels, two classes
    >>> lovasz_softmax(probs, torch.tensor([[[0, 0]]]))  # errors 0.6 and 0.1, slopes 1/2 and 1/2
    tensor(0.3500)
    >>> lovasz_softmax(probs, probs)
    tensor(0.)
    """
    check_maps(probs, "probs")
    _check_settings(method, bins)
    targets = targets_like(labels, probs, ignore_index)
    low, high = (float(bound) for bound in probs.detach().aminmax())
    if low < -ROUNDING or high > 1 + ROUNDING:  # NaN is neither, and becomes the loss
        raise InvalidInputError(
            "probs in [0, 1]", got=f"values from {low:.3g} to {high:.3g}", fix="pass logits.softmax(1)"
        )
    if not per_image:
        return lovasz_of(probs, targets, classes=classes, bins=bins if method == "linear" else None)
    parts = [
        lovasz_softmax(probs[i : i + 1], labels[i : i + 1], ignore_index, classes=classes, method=method, bins=bins)
        for i in range(len(probs))
    ]
    counted = targets.valid.flatten(1).any(1)
    return torch.stack(parts).sum() / counted.sum().clamp(min=1)  # an image without a valid pixel adds 0


def lovasz_of(probs: Tensor, targets: Targets, *, classes: ClassChoice = "present", bins: int | None = None) -> Tensor:
    """Return :func:`lovasz_softmax` of targets that are checked already; `bins` chooses the linear method."""
    chosen = _chosen(classes, targets)
    return cast(Tensor, _Lovasz.apply(widen(probs), targets, chosen, bins))  # type: ignore[no-untyped-call]


class _Lovasz(torch.autograd.Function):
    """The loss is piecewise linear in the probabilities: its slopes, found with its value, are its gradient."""

    @staticmethod
    def forward(ctx: Any, probs: Tensor, targets: Targets, classes: list[int], bins: int | None) -> Tensor:
        planes = by_class(probs)
        slopes = torch.zeros_like(planes)
        loss = lovasz_slopes(planes, targets, slopes, classes=classes, bins=bins)
        ctx.save_for_backward(from_classes(slopes, probs.shape))
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return grads[0] * gradient, None, None, None


def lovasz_slopes(
    planes: Tensor,
    targets: Targets,
    slopes: Tensor,
    *,
    classes: list[int],
    bins: int | None = None,
    weight: float = 1.0,
) -> Tensor:
    """Return the loss of probabilities class by class, (K, N H W), and write `weight` times its slopes.

    `slopes`, of the same shape, is written where the slopes are not 0; it must hold zeros.
    """
    share = weight / max(1, len(classes))
    if bins is None and planes.device.type == "cpu" and planes.dtype is torch.float32:
        return planes.new_tensor(_all_classes(planes, targets, slopes, classes, share) / max(1, len(classes)))
    losses = [planes.new_zeros(1)]
    pixels = targets.pixels
    num_pixels = targets.valid.numel() if pixels is None else len(pixels)
    size = max(1, (BLOCK_ON_CPU if planes.device.type == "cpu" else BLOCK) // max(1, num_pixels))
    for start in range(0, len(classes) if num_pixels else 0, size):
        block = classes[start : start + size]
        index = torch.tensor(block, device=planes.device)
        mass = _indicators(targets, index) if targets.soft is None else _rows(targets.planes, index, pixels)
        loss, found = _losses(_rows(planes, index, pixels), mass.to(planes.dtype), bins, targets.soft is None)
        losses.append(loss)
        if pixels is not None:
            found = found.new_zeros(len(block), targets.valid.numel()).index_copy_(1, pixels, found)
        slopes[index] = found.mul_(share)
    return torch.cat(losses).sum() / max(1, len(classes))


def _all_classes(planes: Tensor, targets: Targets, slopes: Tensor, classes: list[int], share: float) -> float:
    """Return the sum of the losses of some classes, float32 on the CPU, and write their slopes, times `share`."""
    probs, found = planes.numpy(), slopes.numpy()
    if targets.soft is None:
        labels, valid = targets.flat_labels, targets.flat_valid
    else:
        masses, places = targets.planes.float().numpy(), targets.flat_places

    def one(label: int) -> float:
        if targets.soft is None:
            own = (labels == label) & valid  # ignored pixels have the label 0 here
            return _hard_class(probs[label], own, valid, found[label], share)
        return _soft_class(probs[label], masses[label], places, found[label], share)

    workers = min(torch.get_num_threads(), len(classes))
    if workers <= 1 or planes.shape[1] < PIXELS_FOR_THREADS:
        return sum(map(one, classes))
    with ThreadPoolExecutor(workers) as pool:  # numpy lets other threads run while it sorts
        return sum(pool.map(one, classes))


def _hard_class(probs: np.ndarray, own: np.ndarray, valid: np.ndarray, slopes: np.ndarray, share: float) -> float:
    """Return the loss of a class with hard labels, and write its slopes, times `share`.

    A pixel of another class that errs less than every pixel of the class has the slope 0 exactly, and is not sorted at
    all: these are most pixels, when the network is sure and when it knows nothing.
    """
    least = 1 - (probs * own).max() if own.any() else -1.0
    index = np.flatnonzero((own | ~(probs < least)) & valid)  # a NaN stays
    found = own[index]
    errors, places, bits = _falling(probs[index] - found, index, found)
    return _written(errors, bits.astype(np.float32), places, bits, slopes, share)


def _soft_class(probs: np.ndarray, mass: np.ndarray, index: np.ndarray, slopes: np.ndarray, share: float) -> float:
    """Return the loss of a class with soft targets at some pixels, and write its slopes, times `share`."""
    signed = probs - mass
    if len(index) < len(signed):
        signed = signed[index]
    errors, places, bits = _falling(signed, index, signed < 0)
    return _written(errors, mass.take(places, mode="clip"), places, bits, slopes, share)  # clip: no copy


def _falling(signed: np.ndarray, index: np.ndarray, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return float32 errors in falling order, and the places and bits that belong to them.

    All of it is packed into whole numbers of 64 bits, for floats in [0, 1] are in the order of their bits: numpy sorts
    numbers alone several times faster than torch sorts numbers with their positions.
    """
    errors = np.abs(signed)
    np.minimum(errors, 1, out=errors)
    keys = np.empty(len(errors), np.int64)
    halves = keys.view(np.int32)
    upper, lower = (halves[1::2], halves[::2]) if sys.byteorder == "little" else (halves[::2], halves[1::2])
    np.subtract(ONE, errors.view(np.int32), out=upper)
    lower[:] = index
    lower <<= 1
    lower |= bits
    keys.sort()
    np.subtract(ONE, upper, out=errors.view(np.int32))
    return errors, (lower >> 1).astype(np.int64), lower & 1


def _written(
    errors: np.ndarray, mass: np.ndarray, places: np.ndarray, bits: np.ndarray, slopes: np.ndarray, share: float
) -> float:
    """Return the loss of a class from its falling errors, and write its slopes: negative at `bits`, times `share`."""
    found = sorted_slopes(torch.from_numpy(mass)[None])[0].numpy()
    loss = float(np.einsum("i,i->", errors, found, dtype=np.float64))  # as exact on every processor
    found *= np.array([share, -share], np.float32).take(bits, mode="clip")
    found[np.count_nonzero(errors) :] = 0  # where nothing is wrong, nothing pulls
    slopes[places] = found
    return loss


def _rows(maps: Tensor, classes: Tensor, pixels: Tensor | None) -> Tensor:
    """Return a copy of the planes (K, N H W) of some classes at the valid pixels, (R, n)."""
    rows = maps.index_select(0, classes)
    return rows if pixels is None else rows.index_select(1, pixels)


def _indicators(targets: Targets, classes: Tensor) -> Tensor:
    labels = targets.labels.flatten()
    if targets.pixels is not None:
        labels = labels.index_select(0, targets.pixels)
    return labels == classes[:, None]


def _losses(rows: Tensor, mass: Tensor, bins: int | None, hard: bool) -> tuple[Tensor, Tensor]:
    """Return the loss of each row, (R,), and its gradient, (R, n); overwrites `rows`, the probabilities."""
    signs = rows.sub_(mass)
    errors = signs.abs().clamp_(max=1)
    if bins is None:
        # Floats in [0, 1] are in the order of their bits; integers are sorted by radix.
        quick = errors.dtype is torch.float32
        order = errors.view(torch.int32).neg().argsort(1) if quick else errors.argsort(1, descending=True)
        slopes = torch.empty_like(errors).scatter_(1, order, sorted_slopes(mass.gather(1, order)))
    else:
        slopes = _slopes_by_bin(errors, mass, bins, hard)
    return errors.mul_(slopes).sum(1), slopes.mul_(signs.sign_())


def _slopes_by_bin(errors: Tensor, mass: Tensor, bins: int, hard: bool) -> Tensor:
    """Return the slope of each pixel from the histogram of its row, (R, n)."""
    rows = len(errors)
    bin_of = (errors * -bins).to(torch.int32).add_(bins - 1).clamp_(0, bins - 1)  # falling
    bin_of = bin_of.add_(torch.arange(0, rows * bins, bins, device=errors.device, dtype=torch.int32)[:, None])
    exact = torch.float32 if errors.device.type == "mps" else torch.float64  # mps has no float64
    if hard:
        bin_of = bin_of.add_(mass.to(torch.int32), alpha=rows * bins).flatten()
        others, own = torch.bincount(bin_of, minlength=2 * rows * bins).to(exact).view(2, rows, bins)
        base, share = binned_slopes(others + own, own)
        table = torch.stack([base, base + share]).to(errors.dtype).flatten()
        return table.take(bin_of.long()).view_as(errors)
    index = bin_of.flatten().long()
    counts = torch.bincount(index, minlength=rows * bins).to(exact).view(rows, bins)
    masses = torch.bincount(index, mass.flatten().to(exact), minlength=rows * bins).view(rows, bins)
    base, share = (table.to(errors.dtype).flatten().take(index) for table in binned_slopes(counts, masses))
    return base.addcmul_(share, mass.flatten()).view_as(errors)


def _check_settings(method: str, bins: int) -> None:
    if method not in METHODS:
        raise unknown_name("Lovász method", method, METHODS)
    if not isinstance(bins, int) or bins < 2:
        raise InvalidInputError("bins >= 2", got=repr(bins), fix="1024 is within 0.001 of the exact loss")


def _chosen(classes: ClassChoice, targets: Targets) -> list[int]:
    if isinstance(classes, str):
        if classes not in ("present", "all"):
            raise unknown_name("choice of classes", classes, ("present", "all"))
        return targets.present if classes == "present" else list(range(targets.num_classes))
    chosen = [int(k) for k in classes]
    if not chosen or len(set(chosen)) < len(chosen) or not 0 <= min(chosen) <= max(chosen) < targets.num_classes:
        raise InvalidInputError(
            f"different classes in 0..{targets.num_classes - 1}",
            got=str(chosen),
            fix='name each class once, or pass "present"',
        )
    return chosen
