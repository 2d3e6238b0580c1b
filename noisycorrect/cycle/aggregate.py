"""The average of the weights at the ends of the cycles (SCHP, Eq. 6)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from noisycorrect.support.door import door
from noisycorrect.support.errors import CheckpointError, InvalidInputError, unknown_name
from noisycorrect.support.modes import resting_modules
from noisycorrect.support.modules import copied, fit_buffers, persistent_buffers, unwrap, with_own_modes

METHODS = ("equal", "exponential")
BUCKET = 2**13  # parameters that are averaged in one go: 64 kB of float64, memory that is at hand
_INNER = "module."


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
    step = weights.to(average.device, exact, copy=True).sub_(wide).mul_(share)
    return step.add_(wide).to(average.dtype)


class WeightAggregator:
    """Average a model's parameters over cycles, or over steps.

    The first :meth:`update` copies; each parameter that several layers share is averaged once. What is half precision
    is averaged in float32: steps smaller than half a unit in the last place would be lost. Parameters without
    ``requires_grad`` are the latest model's, bit for bit, and so is everything that is no parameter: buffers (integer
    counters, BatchNorm statistics, masks), extra state, attributes. The statistics are then
    :func:`~noisycorrect.recalibrate_batchnorm`'s business.

    :attr:`model` is made anew from the latest model when it is asked for, so what that model has become since training
    began is in it, too: buffers that have come or grown, parametrisations. Weights are read and averaged as the model
    has them in training mode, and a layer that folds an update into its weights on ``eval()`` (LoRA) does so with the
    averaged ones.

    Parameters
    ----------
    model : nn.Module
        The model to average; it is copied, never changed.
    method : {"equal", "exponential"}
        ``"equal"``: the mean over all updates (SCHP, Eq. 6). ``"exponential"``: a moving average, which
        begins as the mean of the first 1 / (1 - decay) updates.
    decay : float
        Decay of the exponential average, in [0, 1).

    Attributes
    ----------
    count : int
        How many updates the average holds.
    resting : tuple of str
        Names of the modules that were in evaluation mode while the model of the last update was in training mode: what
        :func:`~noisycorrect.recalibrate_batchnorm` is to skip.

    Raises
    ------
    InvalidInputError
        If the method is unknown, the decay is out of range, or the model cannot be copied.

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
        self.count = 0
        self.resting: tuple[str, ...] = ()
        self._weights: dict[str, Tensor] = {}
        self._buffers: dict[str, Tensor] = {}
        self._source: nn.Module | None = copied(unwrap(model))
        self._model: nn.Module | None = None
        self._shapes = _shapes(dict(self._source.named_parameters()))

    @property
    def model(self) -> nn.Module:
        """The averaged model, in evaluation mode; another object after an update."""
        if self._source is not None:
            self._model, self._source = self._made(self._source), None
        assert self._model is not None
        return self._model

    @torch.inference_mode(False)
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
        found = dict(source.named_parameters())
        self._check(found)
        averages, values = [], []
        for name, parameter in _as_trained(source, found).items():
            value = parameter.detach()
            if name not in self._weights or not parameter.requires_grad:
                # Of what is frozen the latest: a mean of equal numbers could only drift.
                self._weights[name] = _put(self._weights.get(name), value, _wide(value.dtype))
            else:
                averages.append(self._weights[name])
                values.append(value)
        for kept, latest in _buckets(averages, values):
            _spread(self._average(_joined(kept), _joined(latest)), kept)
        self._buffers = {name: _put(self._buffers.get(name), value) for name, value in source.named_buffers()}
        self.count += 1
        self.resting = tuple(resting_modules(source))
        self._source = source
        if self.method == "equal":  # seldom: made at once, whatever becomes of the source
            self._model, self._source = self._made(source), None

    def copy_to(self, model: nn.Module) -> None:
        """Give a model of the same architecture the averaged weights, and the average's BatchNorm statistics.

        Parameters
        ----------
        model : nn.Module
            Changed in place; its modes stay.

        Raises
        ------
        InvalidInputError
            If its parameters are others.
        """
        target = unwrap(model)
        self._check(dict(target.named_parameters()))
        average = dict(self.model.named_modules())
        with torch.no_grad():
            _write(target, self._weights)
            for name, module in target.named_modules():
                own = average.get(name)
                if isinstance(module, _NormBase) and isinstance(own, _NormBase):
                    for buffer, value in zip(module.buffers(recurse=False), own.buffers(recurse=False), strict=True):
                        buffer.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the average, its count and its method.

        ``averaged`` is a model's state, as torch's ``AveragedModel`` has it, with the weights as training has them;
        ``wide`` are those that its dtype has no room for.
        """
        with torch.no_grad():
            own = self.model.state_dict()
            aliases = {id(parameter): name for name, parameter in self.model.named_parameters()}
            for name, parameter in self.model.named_parameters(remove_duplicate=False):
                kept = self._weights.get(aliases[id(parameter)])
                if kept is not None and name in own:
                    own[name] = kept.to(parameter.dtype)
            wide = {name: value for name, value in self._weights.items() if value.dtype != own[name].dtype}
        averaged = OrderedDict([("n_averaged", torch.tensor(self.count)), *((_INNER + key, own[key]) for key in own)])
        versions = getattr(own, "_metadata", {})
        averaged._metadata = {"module" + f".{name}" * bool(name): value for name, value in versions.items()}  # type: ignore[attr-defined]
        return {
            "method": self.method,
            "decay": self.decay,
            "averaged": averaged,
            "wide": wide,
            "buffers": persistent_buffers(self.model),
            "resting": list(self.resting),
        }

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
        saved = {key.removeprefix(_INNER): value for key, value in state["averaged"].items() if key.startswith(_INNER)}
        template = self._model if self._source is None else self._source
        assert template is not None
        made, count = copied(template), int(state["averaged"]["n_averaged"])
        fit_buffers(made, saved, state["buffers"])
        for name, value in made.state_dict().items():
            expected = tuple(value.shape) if isinstance(value, Tensor) else None
            if expected is not None and (name not in saved or tuple(saved[name].shape) != expected):
                raise CheckpointError(
                    f"an average of this architecture, with {name!r} of shape {expected}",
                    got=str(tuple(saved[name].shape)) if name in saved else "none",
                    fix="build the same model",
                )
        own = dict(made.named_parameters())
        with torch.no_grad():
            weights = {
                name: state["wide"].get(name, saved[name]).to(value.device, _wide(value.dtype), copy=True)
                for name, value in own.items()
                if name in saved
            }
            try:
                made.load_state_dict(
                    {name: value for name, value in saved.items() if name not in weights}, strict=False
                )
            except Exception as error:  # whatever set_extra_state raises
                got = str(error).partition("\n")[0]
                raise CheckpointError("an average of this architecture", got=got, fix="build the same model") from error
            self._weights = weights if count else {}
            _write(made, weights)
        self._model, self._source, self._buffers = made.eval(), None, {}
        self.decay, self.count, self.resting = state["decay"], count, tuple(state["resting"])

    def _average(self, average: Tensor, weights: Tensor) -> Tensor:
        if self.method == "equal":
            return equal_average(average, weights, self.count)
        # Equal weights until there are 1 / (1 - decay) of them: the first ones, hardly trained, would linger otherwise.
        return exponential_average(average, weights, min(self.decay, self.count / (self.count + 1)))

    def _check(self, parameters: dict[str, nn.Parameter]) -> None:
        found = _shapes(parameters)
        if found != self._shapes:
            name = _first_difference(self._shapes, found)
            raise InvalidInputError(
                f"parameter {name!r} of shape {self._shapes.get(name, 'absent')}",
                got=str(found.get(name, "absent")),
                fix="update with the architecture that the aggregator was made for",
            )

    @torch.inference_mode(False)
    @torch.no_grad()
    def _made(self, source: nn.Module) -> nn.Module:
        """Return a copy of the latest model with the averaged weights, and the buffers that it had at the update."""
        made = copied(source)
        _write(made, self._weights)
        for name, buffer in made.named_buffers():
            value = self._buffers.get(name)
            if value is not None and value.shape == buffer.shape:
                buffer.copy_(value)
        return made.eval()


def _shapes(parameters: dict[str, nn.Parameter]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in parameters.items()}


def _buckets(averages: list[Tensor], values: list[Tensor]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Yield averages and values, small ones of a dtype and a device together: a step of each alone takes longer."""
    together: dict[tuple[Any, ...], tuple[list[Tensor], list[Tensor]]] = {}
    room: dict[tuple[Any, ...], int] = {}
    for average, value in zip(averages, values, strict=True):
        size = average.numel()
        if size > BUCKET:
            yield [average], [value]
            continue
        key = average.dtype, average.device, value.dtype, value.device
        if room.get(key, 0) < size:
            if key in together:
                yield together[key]
            together[key], room[key] = ([], []), BUCKET
        together[key][0].append(average)
        together[key][1].append(value)
        room[key] -= size
    yield from together.values()


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat([tensor.reshape(-1) for tensor in tensors])


def _spread(joined: Tensor, tensors: list[Tensor]) -> None:
    """Write what :func:`_joined` would have made of tensors into them."""
    if len(tensors) == 1:
        tensors[0].copy_(joined)
        return
    parts = torch.split(joined, [tensor.numel() for tensor in tensors])
    torch._foreach_copy_(tensors, [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)])


def _first_difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    return next(name for name in {**expected, **found} if expected.get(name) != found.get(name))


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that an average of this one is kept in."""
    return torch.float32 if dtype.is_floating_point and dtype.itemsize < 4 else dtype


def _put(kept: Tensor | None, value: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a value's copy, in the memory of the last one where that fits."""
    dtype = value.dtype if dtype is None else dtype
    if kept is None or kept.shape != value.shape or kept.dtype != dtype or kept.device != value.device:
        return value.detach().to(dtype, copy=True)
    return kept.copy_(value)


def _folded(model: nn.Module, *, trains: bool = True) -> dict[str, nn.Module]:
    """Return, by name, the outermost modules with modes of their own that do not train now, as what they do differs.

    Those that are in evaluation mode and have what trains: their weights may not be those that training sees. Or, with
    `trains` False, those of which nothing is trained.
    """
    own = {id(module) for module in with_own_modes(model)}
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if id(module) not in own or any(not outer or name.startswith(f"{outer}.") for outer in found):
            continue
        trained = any(parameter.requires_grad for parameter in module.parameters())
        if trained == trains and not (trains and module.training):
            found[name] = module
    return found


def _as_trained(model: nn.Module, parameters: dict[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    """Return the parameters of a model by name, as it has them in training mode; it stays as it is."""
    found = dict(parameters)
    for name, module in _folded(model).items():
        prefix = f"{name}." if name else ""
        for own, parameter in copied(module).train().named_parameters():
            if prefix + own in found:
                found[prefix + own] = parameter
    return found


def _write(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give a model weights as it has them in training mode; its modes stay.

    A module with modes of its own of which nothing is trained keeps its weights: they may be folded, or not.
    """
    fixed = tuple(f"{name}." if name else "" for name in _folded(model, trains=False))
    folded = list(_folded(model).values())
    modes = [(inner, inner.training) for module in folded for inner in module.modules()]
    for module in folded:
        module.train()
    for name, parameter in model.named_parameters():
        if name in weights and not (fixed and name.startswith(fixed)):
            parameter.copy_(weights[name])
    for module in folded:
        module.eval()
    for inner, mode in modes:
        inner.training = mode
