"""How evidence is stored: codecs between class probabilities and the bytes of a label store.

A codec of your own offers what :class:`Codec` declares, and adds itself in the file that defines it::

    CODECS.register("float16", Float16())

A store names its codec in its manifest, and every process that reads the store must find it by that name: import the
file there, too, or announce the codec as an entry point of the group ``noisycorrect.codecs``.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from noisycorrect.support.register import Register

FLOAT32_EPS = float(np.finfo(np.float32).eps)
HALF_SCALE = 2.0**15  # probability 1 is the code 32,768, of at most 65,504


class Codec(Protocol):
    """Encodes probabilities of shape (N, K, ...) sample by sample; decodes on whatever device the code lies."""

    @property
    def name(self) -> str:
        """Name in :data:`CODECS`, and in a store's manifest."""
        ...

    dtype: ClassVar[Any]
    storage: ClassVar[dict[str, Any]]  # h5py's options for a data set of codes

    def encode(self, probs: Tensor) -> np.ndarray:
        """Return the code of `probs`, float (N, K, ...), with the same shape and the codec's dtype."""
        ...

    def decode(self, code: Tensor) -> Tensor:
        """Return float32 probabilities of the code's shape, on the code's device; rows sum to 1."""
        ...

    def max_error(self, num_classes: int) -> float:
        """Return a bound on abs(decode(encode(p)) - p) for any probabilities p over `num_classes` classes."""
        ...


class Float32:
    """Probabilities as they are. Rows lie one after the other in the file, so that readers can map it into memory.

    Examples
    --------
    >>> codec = Float32()
    >>> codec.decode(torch.from_numpy(codec.encode(torch.tensor([[0.25, 0.75]]))))
    tensor([[0.2500, 0.7500]])
    """

    name = "float32"
    dtype: ClassVar[Any] = np.dtype(np.float32)
    storage: ClassVar[dict[str, Any]] = {}

    def encode(self, probs: Tensor) -> np.ndarray:
        """Return `probs` as a float32 array."""
        return probs.detach().to("cpu", torch.float32).numpy()

    def decode(self, code: Tensor) -> Tensor:
        """Return the code, which is the probabilities."""
        return code

    def max_error(self, num_classes: int) -> float:
        """Return the rounding of float32 at 1."""
        return FLOAT32_EPS / 2


class Float16:
    r"""Two bytes a probability: :math:`c = 2^{15} p` in half precision, so that what is below 1e-8 is not lost.

    Decoding divides by the sum over the classes. In a file rows lie one after the other, as those of
    :class:`Float32`.

    Examples
    --------
    >>> codec = Float16()
    >>> codec.decode(torch.from_numpy(codec.encode(torch.tensor([[0.25, 0.75]]))))
    tensor([[0.2500, 0.7500]])
    """

    name = "scaled-float16"
    dtype: ClassVar[Any] = np.dtype(np.float16)
    storage: ClassVar[dict[str, Any]] = {}

    def coded(self, probs: Tensor) -> Tensor:
        """Return the code of `probs` as a float16 tensor on their device."""
        return (probs.detach().float() * HALF_SCALE).half()

    def encode(self, probs: Tensor) -> np.ndarray:
        """Return the code as an array."""
        code: np.ndarray = self.coded(probs).cpu().numpy()
        return code

    def decode(self, code: Tensor) -> Tensor:
        """Return float32 probabilities that sum to 1 over dimension 1."""
        values = code.float()
        return values.div_(values.sum(1, keepdim=True))

    def max_error(self, num_classes: int) -> float:
        r"""Return the bound, with :math:`u = 2^{-11}` the largest relative rounding of half precision.

        With :math:`\hat s_i = p_i (1 + \delta_i)`, :math:`|\delta_i| \le u`, and their sum :math:`1 + \Delta`,
        :math:`\hat p_i - p_i = p_i (\delta_i - \Delta) / (1 + \Delta)`, where :math:`\delta_i - \Delta =
        (1 - p_i) \delta_i - \sum_{j \ne i} p_j \delta_j` is at most :math:`2u (1 - p_i)`, and
        :math:`p (1 - p) \le 1/4`. What is below :math:`2^{-29}` is rounded to a multiple of :math:`2^{-39}`.
        """
        unit, least = 2.0**-11, 2.0**-40
        # The codes of K classes are summed in float32.
        return unit / (2 * (1 - unit)) + 2 * num_classes * least + 4 * FLOAT32_EPS


class SqrtUint8:
    r"""One byte a probability: :math:`c = round(L \sqrt p)`, one compressed HDF5 chunk a sample (gzip + shuffle).

    The square root spends the L + 1 levels where probabilities differ most: near 0. It is the transform that gives a
    proportion a constant variance (Bartlett 1936). Decoding squares and divides by the sum over the classes. Fewer
    levels compress better: 63 take half of the bytes of 255 on maps of a parsing network, at 18 times the divergence
    (docs/results/speed-parsing.md). Most of that comes of small probabilities that are stored as 0: :math:`p \log p/0`
    is what they cost. With `floor`, code 0 stands for a probability near the middle of what is rounded to it: the same
    bytes at a fraction of the divergence, most of all in the worst pixels.

    Evidence that is decoded, averaged and encoded again each cycle gathers errors. With b = :meth:`max_error` and
    :math:`E_m` the error after m cycles, :math:`m E_m \le (m-1) E_{m-1} + m b`: a mean is off by at most
    :math:`\frac{m+1}{2} b`, an exponential average by b / (1 - momentum). Roundings that point every way leave far
    less: about :math:`\sqrt{m/3}` times the error of one encoding.

    Parameters
    ----------
    levels : int
        L, 1..255: the code of probability 1.
    floor : float
        What code 0 is decoded as, in levels, in [0, 0.5]: probability :math:`(floor / L)^2` before the division. That
        lies in the interval that is rounded to 0, so that :meth:`max_error` bounds it as well.

    Examples
    --------
    >>> codec = SqrtUint8()
    >>> code = codec.encode(torch.tensor([[[0.04], [0.96]]]))
    >>> code.ravel().tolist()
    [51, 250]
    >>> decoded = codec.decode(torch.from_numpy(code))
    >>> bool((decoded.sum(1) - 1).abs().max() < 1e-6)
    True
    """

    dtype: ClassVar[Any] = np.dtype(np.uint8)
    storage: ClassVar[dict[str, Any]] = {"compression": "gzip", "compression_opts": 6, "shuffle": True}

    def __init__(self, levels: int = 255, floor: float = 0.0) -> None:
        self.levels = levels
        self.floor = floor

    @property
    def name(self) -> str:
        """``"sqrt-uint8"`` for 255 levels, ``"sqrt-uint6"`` for 63; with a floor, ``"sqrt-uint6-floor"``."""
        return f"sqrt-uint{self.levels.bit_length()}" + ("-floor" if self.floor else "")

    def encode(self, probs: Tensor) -> np.ndarray:
        """Return codes 0..L of probabilities in [0, 1]."""
        code = probs.detach().float().clamp(0, 1).sqrt_().mul_(self.levels).round_().to(torch.uint8)
        return code.cpu().numpy()

    def decode(self, code: Tensor) -> Tensor:
        """Return float32 probabilities that sum to 1 over dimension 1."""
        squared = code.float().clamp_(min=self.floor).square_()
        total = squared.sum(1, keepdim=True)
        # The largest of K probabilities is at least 1/K, so its code is 0 only beyond 4 L^2 classes.
        return squared.div_(total)

    def max_error(self, num_classes: int) -> float:
        r"""Return the bound, with u = 1/(2L) the largest rounding of a square root; infinite from L^2 classes on.

        Let :math:`s_i = \sqrt{p_i}` and :math:`\hat s_i = s_i + \delta_i` with :math:`|\delta_i| \le u`. Their sum of
        squares :math:`T \ge 1 - 2u\sqrt K`, :math:`\hat p_i - p_i = (\hat s_i^2 - p_i T) / T`, and by Cauchy-Schwarz

        .. math:: |\hat s_i^2 - p_i T| \le 2u\,(1 - p_i)\sqrt{p_i} + 2u\,p_i \sqrt{(K-1)(1-p_i)} + (K-1)u^2,

        where :math:`(1-p)\sqrt p` and :math:`p\sqrt{1-p}` are at most :math:`2/\sqrt{27}`.
        """
        rounding = 1 / (2 * self.levels) + FLOAT32_EPS
        least_total = 1 - 2 * rounding * math.sqrt(num_classes)
        if least_total <= 0:
            return math.inf
        others = num_classes - 1
        single = 4 / math.sqrt(27) * rounding * (1 + math.sqrt(others)) + others * rounding**2
        return single / least_total + FLOAT32_EPS


FLOOR = 0.1  # of a level: on drawn maps, sharp and blurred, the worst pixel loses least, the mean at most a little

CODECS: Register[Codec] = Register(
    "codec",
    group="noisycorrect.codecs",
    accepts=lambda thing: not isinstance(thing, type) and callable(getattr(thing, "decode", None)),
    expected="an object with encode and decode",
)
"""Every codec, by the name that stands in a store's manifest."""

for _codec in (Float32(), Float16(), SqrtUint8(), SqrtUint8(levels=63), SqrtUint8(levels=63, floor=FLOOR)):
    CODECS.register(_codec.name, _codec)


def codec_named(name: str) -> Codec:
    """Return the codec of that name.

    Raises
    ------
    InvalidInputError
        If there is none.
    """
    return CODECS[name]
