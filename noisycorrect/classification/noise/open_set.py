"""Open-set noise: the label stays, the input is one of another data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray

from noisycorrect.classification.noise.base import NoiseModel, NoisyLabels, realised_transition, register
from noisycorrect.classification.noise.checks import ArrayLike, check_choice, check_inputs, check_rate
from noisycorrect.classification.noise.sampling import Sampling, pick
from noisycorrect.support.arrays import as_array
from noisycorrect.support.errors import InvalidInputError


@register
@final
@dataclass(frozen=True, eq=False)
class OpenSet(NoiseModel):
    """Keeps the labels and swaps inputs for foreign ones (Wang et al., CVPR 2018). Spelled `openset:0.2`.

    Parameters
    ----------
    rate : float
        Share of the samples whose input is swapped, in [0, 1].
    pool : ndarray or Tensor, shape (M, ...)
        Inputs of classes that the data set does not have; shape and dtype of a sample as in the inputs. Each is used at
        most once, so M must not be smaller than the number of swaps.
    sampling : {"exact", "bernoulli"}
        "exact" (default): round(rate * n_c) samples of each class, halves to even. "bernoulli": each sample by its own
        throw.

    Raises
    ------
    InvalidInputError
        If the rate is not in [0, 1], `sampling` is unknown, or (on `apply`) inputs or pool are missing, do not fit each
        other, or the pool is too small.

    Notes
    -----
    The result's `inputs` is a copy of the kind that came in (ndarray or Tensor on its device), `changed` marks the
    swapped samples, and the transition matrix is the identity. `details["pool_index"]`, int64 (N,), says which member
    of the pool a sample shows now, -1 for its own input.

    Examples
    --------
    >>> model = OpenSet(0.5, pool=np.full((9, 2), -1.0))
    >>> noisy = model.apply([0, 1, 0, 1], num_classes=2, seed=0, inputs=np.ones((4, 2)))
    >>> noisy.labels.tolist(), noisy.inputs.sum().item(), noisy.rate
    ([0, 1, 0, 1], 0.0, 0.5)
    """

    rate: float
    pool: ArrayLike | None = field(default=None, repr=False)
    sampling: Sampling = "exact"

    name: ClassVar[str] = "openset"

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_rate(self.rate))
        check_choice(self.sampling, Sampling, "sampling")

    def _corrupt(
        self, given: NDArray[np.int64], num_classes: int, seed: np.random.SeedSequence, inputs: ArrayLike | None
    ) -> NoisyLabels:
        originals = check_inputs(inputs, len(given), self.name)
        pool = _check_pool(self.pool, originals)
        rng = np.random.default_rng(seed)
        changed = pick(given, self.rate, num_classes, self.sampling, rng)
        count = int(changed.sum())
        if count > len(pool):
            raise InvalidInputError(
                f"a pool of at least {count} inputs, because each is used once",
                got=str(len(pool)),
                fix="pass a larger pool or lower the rate",
            )
        pool_index = np.full(len(given), -1, dtype=np.int64)
        pool_index[changed] = rng.choice(len(pool), count, replace=False)
        swapped = originals.copy()
        swapped[changed] = pool[pool_index[changed]]
        return NoisyLabels(
            labels=given.copy(),
            changed=changed,
            transition=realised_transition(given, given, num_classes),
            inputs=_like(swapped, inputs),
            details={"pool_index": pool_index},
        )


def _check_pool(pool: ArrayLike | None, inputs: NDArray[Any]) -> NDArray[Any]:
    if pool is None:
        raise InvalidInputError(
            "a pool of foreign inputs",
            got="none",
            fix="OpenSet(rate, pool=x) or parse('openset:0.2', pool=x), x of shape (M, ...)",
        )
    array = as_array(pool, "a pool of shape (M, ...)")
    # Another dtype is most often another scale (0..255 against 0..1), and a cast would turn the pool into zeros.
    if array.shape[1:] != inputs.shape[1:] or array.ndim != inputs.ndim or array.dtype != inputs.dtype:
        raise InvalidInputError(
            f"a pool of inputs of shape {inputs.shape[1:]} and dtype {inputs.dtype}, as the data set has",
            got=f"shape {array.shape[1:]}, dtype {array.dtype}",
            fix="resize and convert the pool, scale included, to the form of the inputs",
        )
    return array


def _like(array: NDArray[Any], inputs: ArrayLike | None) -> NDArray[Any] | torch.Tensor:
    if isinstance(inputs, torch.Tensor):
        return torch.from_numpy(array).to(device=inputs.device, dtype=inputs.dtype)
    return array
