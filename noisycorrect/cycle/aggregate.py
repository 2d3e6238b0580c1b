"""The average of the weights at the ends of the cycles (SCHP, Eq. 6)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from noisycorrect.support.door import door
from noisycorrect.support.errors import CheckpointError, InvalidInputError, unknown_name
from noisycorrect.support.modules import copied, keeps_results, unwrap

METHODS = ("equal", "exponential")


def equal_average(average: Tensor, weights: Tensor, count: int) -> Tensor:
    r"""Return the running mean after one more set of weights (SCHP, Eq. 6).

    :math:`\hat\omega_m = \frac{m}{m+1} \hat\omega_{m-1} + \frac{1}{m+1} \omega_m`, with `count` = m sets so far.

    The step is taken in float64 and rounded once. Each rounding is off by at most half a unit in the last place, and
    the earlier ones shrink by m/(m+1) at every step, so after M cycles a float32 mean is within (M + 2)/4 units in the
    last place of the exact one: no float64 copy of the network has to be kept.

    Parameters
    ----------
    average, weights : Tensor
        Same shape, floating; `average` is the mean of the first `count` sets.
    count : int
        Number of sets in `average`, >= 1.

    Returns
    -------
    Tensor
        Shape and dtype of `average`.

    Examples
    --------
    >>> equal_average(torch.tensor([1.0]), torch.tensor([4.0]), count=2)
    tensor([2.])
    """
    return _towards(average, weights, 1 / (count + 1))


def exponential_average(average: Tensor, weights: Tensor, decay: float) -> Tensor:
    r"""Return :math:`d\,\hat\omega + (1 - d)\,\omega`, the step of an exponential moving average.

    Parameters
    ----------
    average, weights : Tensor
        Same shape, floating.
    decay : float
        d, in [0, 1).

    Examples
    --------
    >>> exponential_average(torch.tensor([1.0]), torch.tensor([2.0]), decay=0.75)
    tensor([1.2500])
    """
    return _towards(average, weights, 1 - decay)


def _towards(average: Tensor, weights: Tensor, share: float) -> Tensor:
    if not (average.is_floating_point() or average.is_complex()):
        return weights.to(average.device, average.dtype)  # integers have no mean
    if average.is_complex():
        return torch.view_as_complex(_towards(torch.view_as_real(average), torch.view_as_real(weights), share))
    exact = torch.float32 if average.device.type == "mps" else torch.float64  # mps has no float64
    wide = average.to(exact)
    return (wide + (weights.to(average.device, exact) - wide) * share).to(average.dtype)


class WeightAggregator:
    """Average a model's parameters over cycles, or over steps.

    The first :meth:`update` copies; each parameter that several layers share is averaged once. Buffers are no weights:
    all of them (integer counters, BatchNorm statistics, masks) are copied from the latest model, and the statistics
    are then :func:`~noisycorrect.recalibrate_batchnorm`'s business.

    Parameters
    ----------
    model : nn.Module
        The model to average; it is copied, never changed.
    method : {"equal", "exponential"}
        ``"equal"``: the mean over all updates (SCHP, Eq. 6). ``"exponential"``: a moving average, which
        begins as the mean of the first 1 / (1 - decay) updates.
    decay : float
        Decay of the exponential average, in [0, 1).

    Raises
    ------
    InvalidInputError
        If the method is unknown or the decay is out of range.

    Examples
    --------
    >>> model = nn.Linear(1, 1, bias=False)
    >>> aggregator = WeightAggregator(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     _ = model.weight.data.fill_(value)
    ...     aggregator.update(model)
    >>> aggregator.model.weight.item(), aggregator.count
    (3.0, 3)
    """

    def __init__(self, model: nn.Module, *, method: str = "equal", decay: float = 0.999) -> None:
        if method not in METHODS:
            raise unknown_name("aggregation method", method, METHODS)
        if not 0 <= decay < 1:
            raise InvalidInputError("decay in [0, 1)", got=repr(decay), fix="0.999 averages about 1000 steps")
        self.method = method
        self.decay = decay
        own = unwrap(model)
        # AveragedModel makes a deep copy, which PyTorch refuses of results that have a history.
        self._averaged = AveragedModel(copied(own) if keeps_results(own) else own, avg_fn=self._average)
        self.model.eval()

    def _average(self, average: Tensor, weights: Tensor, count: Tensor | int) -> Tensor:
        if self.method == "equal":
            return equal_average(average, weights, int(count))
        # Equal weights until there are 1 / (1 - decay) of them: the first ones, hardly trained, would linger otherwise.
        return exponential_average(average, weights, min(self.decay, int(count) / (int(count) + 1)))

    @property
    def model(self) -> nn.Module:
        """The averaged model, in evaluation mode."""
        return self._averaged.module

    @property
    def count(self) -> int:
        """How many updates the average holds."""
        return int(self._averaged.n_averaged)

    @torch.no_grad()
    @door(own=True)
    def update(self, model: nn.Module) -> None:
        """Take one more set of weights into the average.

        Parameters
        ----------
        model : nn.Module
            Same architecture as the constructor's; DistributedDataParallel and compiled wrappers are looked through.

        Raises
        ------
        InvalidInputError
            If a parameter is missing, or its shape differs; the average stays as it was.
        """
        source = unwrap(model)
        expected = {name: tuple(parameter.shape) for name, parameter in self.model.named_parameters()}
        found = {name: tuple(parameter.shape) for name, parameter in source.named_parameters()}
        if found != expected:
            name = next(name for name in {**expected, **found} if expected.get(name) != found.get(name))
            raise InvalidInputError(
                f"parameter {name!r} of shape {expected.get(name, 'absent')}",
                got=str(found.get(name, "absent")),
                fix="update with the architecture that the aggregator was made for",
            )
        self._averaged.update_parameters(source)

    def state_dict(self) -> dict[str, Any]:
        """Return the average, its count and its method."""
        return {"method": self.method, "decay": self.decay, "averaged": self._averaged.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises
        ------
        CheckpointError
            If the state was saved with another method or for another architecture.
        """
        if state["method"] != self.method:
            raise CheckpointError(
                f"an average of method {self.method!r}",
                got=repr(state["method"]),
                fix="make the aggregator with the method that it was saved with",
            )
        try:
            self._averaged.load_state_dict(state["averaged"])
        except RuntimeError as error:
            raise CheckpointError(
                "an average of this architecture", got=str(error), fix="build the same model"
            ) from error
        self.decay = state["decay"]
