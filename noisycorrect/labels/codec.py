"""How evidence is stored: codecs between class probabilities and the bytes of a label store."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from noisycorrect.errors import unknown_name


class Codec(Protocol):
    """Encodes probabilities of shape (N, K, ...) sample by sample; decodes on whatever device the code lies."""

    name: ClassVar[str]
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

    name: ClassVar[str] = "float32"
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
        return float(np.finfo(np.float32).eps) / 2


class SqrtUint8:
    r"""One byte a probability: :math:`c = round(255 \sqrt p)`, one compressed HDF5 chunk a sample (gzip + shuffle).

    The square root spends the 256 levels where probabilities differ most: near 0. It is the transform that gives a
    proportion a constant variance (Bartlett 1936). Decoding squares and divides by the sum over the classes.

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

    name: ClassVar[str] = "sqrt-uint8"
    dtype: ClassVar[Any] = np.dtype(np.uint8)
    storage: ClassVar[dict[str, Any]] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}

    def encode(self, probs: Tensor) -> np.ndarray:
        """Return codes 0..255 of probabilities in [0, 1]."""
        code = probs.detach().float().clamp(0, 1).sqrt_().mul_(255).round_().to(torch.uint8)
        return code.cpu().numpy()

    def decode(self, code: Tensor) -> Tensor:
        """Return float32 probabilities that sum to 1 over dimension 1."""
        squared = code.float().square_()
        total = squared.sum(1, keepdim=True)
        # The largest of K probabilities is at least 1/K, so its code is 0 only beyond 65,025 classes.
        return squared.div_(total)

    def max_error(self, num_classes: int) -> float:
        r"""Return the bound, with u = 1/510 the largest rounding of a square root.

        A single :math:`s^2` is off by at most :math:`2u + u^2`; their sum, which the decoder divides by, by at most
        :math:`2u\sqrt K + K u^2` (Cauchy-Schwarz).
        """
        rounding = 1 / 510
        single = 2 * rounding + rounding**2
        return single + 2 * rounding * math.sqrt(num_classes) + num_classes * rounding**2


CODECS: dict[str, Codec] = {codec.name: codec for codec in (Float32(), SqrtUint8())}


def codec_named(name: str) -> Codec:
    """Return the codec of that name.

    Raises
    ------
    InvalidInputError
        If there is none.
    """
    if name not in CODECS:
        raise unknown_name("codec", name, CODECS)
    return CODECS[name]
