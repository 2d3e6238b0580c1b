"""Population statistics for the BatchNorm layers of a network whose weights did not come from an optimizer step.

Averaged weights (Eq. 6) have no running statistics yet: those that training left behind, averaged or not, are not the
mean and variance of what the averaged layers see.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from noisycorrect.cycle.feed import Feed, Reached, forward_input
from noisycorrect.cycle.moments import Moments, SlidingMoments, batch_moments, merge_moments, pool_moments
from noisycorrect.support import distributed
from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, unknown_name, warn_caller
from noisycorrect.support.modes import frozen_statistics
from noisycorrect.support.modules import evaluating, unwrap

__all__ = ["recalibrate_batchnorm"]

METHODS = ("exact", "fast")

# How many batches the sliding estimate of the fast method holds after k of them: k ** 0.6. With k ** 1 (all of them)
# the noise of the first batches stays in every later layer; with k ** 0 (the batch alone, as in training) the variance
# between batches is lost. `python tests/cycle/test_recalibrate.py` measures all three.
_WINDOW_POWER = 0.6

Layers = dict[str, _BatchNorm]


@door
def recalibrate_batchnorm(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    method: str = "fast",
    max_samples: int | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    skip: Iterable[str] | None = None,
) -> int:
    """Give every BatchNorm layer the mean and variance of its inputs over the data, with the network as at inference.

    The statistics are those of all values of a channel, pooled over samples and positions with equal weight, in
    float64: ``running_mean`` is their mean, ``running_var`` their **biased** variance (divided by n; training tracks
    n - 1). Batches may have any sizes, one included. ``num_batches_tracked`` becomes the number of inputs pooled: the
    batches of all ranks, times the calls of the layer in one forward pass.

    ``method="exact"``
        Layer by layer in the order of execution, everything upstream already recalibrated. Costs one pass over the data
        for each layer, which ends at that layer. Order and number of calls are those of the first batch. Exact (2e-7)
        for layers that run once in a forward pass, or several times on inputs that do not depend on their own output
        (siamese branches). A layer that feeds itself (weights tied over depth), or a layer that runs later but feeds
        it, is measured with old statistics in front of it, so only approximately.
    ``method="fast"``
        One pass. The first layer is exact. No later layer can know, before the pass is over, what the earlier ones will
        normalise with: they use an estimate from about the last k ** 0.6 of k batches. Its error falls with the number
        of samples and needs them in random order.

    Largest relative error of the variance in layers 2 and 3 of a small convolutional network against a float64 oracle,
    geometric mean over 4 seeds, uneven last batch (``python tests/cycle/test_recalibrate.py`` measures it)::

        samples, batch, order     exact     fast            torch update_bn
         130, 64, random          1e-7      1.6e-2, 1.4e-2  1.3e-1, 2.6e-1
         514, 32, random          1e-7      6.5e-3, 9.6e-3  2.8e-2, 4.6e-2
        2050,  8, random          1e-7      8.4e-3, 7.9e-3  5.7e-2, 4.1e-2
        2050, 32, by class        1e-7      1.6e-1, 1.3e-1  3.2e-1, 1.9e-1

    Parameters
    ----------
    model : nn.Module
        Changed in place: the running statistics, and nothing else. Modes, momenta, hooks and gradients are as they were
        afterwards, and after an exception so are the statistics. Layers with ``track_running_stats=False`` are left
        alone. Of DistributedDataParallel, DataParallel and torch.compile the inner module is run, uncompiled.
    batches : iterable
        A DataLoader, or any iterable of batches; ``method="exact"`` goes through it once for every layer, so it must
        give the same samples each time (in any order). A batch is a tensor, a tuple or list whose first item is one, a
        mapping with ``input``, ``image`` or ``x``, or an object with an attribute ``input``; all (N, ...), of any
        floating dtype. Each rank passes its own shard.
    method : {"fast", "exact"}
        See above.
    max_samples : int, optional
        Use only the first ``max_samples`` samples (of all ranks together: each takes its share of the number). The last
        batch is cut to fit.
    forward : callable, optional
        ``forward(model, batch)`` runs the network on a batch, for batches of another form. The default calls the model
        on the batch's input, moved to the device and the dtype of the model.
    skip : iterable of str, optional
        Names of layers that keep their statistics, or of modules with all such layers inside them; ``()`` skips none.
        Default: those that are frozen and have statistics of data. Frozen is a layer whose scale and shift have no
        ``requires_grad``, or that lies in a module of which no parameter has; where that is true of the whole network,
        it says nothing, and none is skipped. That a layer was in evaluation mode while the network trained cannot be
        seen any more: name it (:attr:`WeightAggregator.resting <noisycorrect.WeightAggregator>` has such names).

    Returns
    -------
    int
        Number of layers recalibrated. Layers that no batch reaches keep their statistics, and are named in a warning of
        the logger ``noisycorrect``. Without any BatchNorm nothing runs, and 0 is returned.

    Raises
    ------
    InvalidInputError
        An unknown method, or a name to skip that no module has; an iterator for ``method="exact"``; no batches; a batch
        of unknown form; NaN or infinity in front of a layer (names it); a layer whose shape is not known yet (lazy).
    NoisyCorrectError
        Another rank failed.

    Notes
    -----
    Collective: inside a process group every rank calls it, and the moments of all ranks are merged: at the end (fast),
    or at each layer (exact). Other hooks of the network run on every batch, as they would at inference.

    References
    ----------
    Y. Wu, J. Johnson: Rethinking "Batch" in BatchNorm. arXiv:2105.07576, section 3 (population statistics). Merging:
    see :func:`noisycorrect.cycle.moments.merge_moments`.

    Examples
    --------
    >>> model = nn.Sequential(nn.BatchNorm1d(1), nn.ReLU())
    >>> recalibrate_batchnorm(model, [torch.tensor([[0.0], [3.0]]), torch.tensor([[6.0]])], method="exact")
    1
    >>> model[0].running_mean, model[0].running_var
    (tensor([3.]), tensor([6.]))
    """
    _check_arguments(batches, method, max_samples)
    network = unwrap(model)
    layers = _tracking_layers(network, skip)
    if not layers:
        return 0
    feed = Feed(network, batches, max_samples, forward or forward_input)
    with _undone_on_error(layers), evaluating(network), torch.no_grad(), _uncompiled():
        reached = _exact(feed, layers) if method == "exact" else _fast(feed, layers)
    missed = [name for name in layers if name not in reached]
    if missed:
        warn_caller(f"no batch reached these BatchNorm layers, they keep their statistics: {', '.join(missed)}")
    return len(reached)


def batchnorm_layers(model: nn.Module, *, skip: Iterable[str] | None = None) -> int:
    """Return how many layers :func:`recalibrate_batchnorm` gives new statistics.

    Examples
    --------
    >>> batchnorm_layers(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    1
    """
    return len(_tracking_layers(unwrap(model), skip))


def _check_arguments(batches: object, method: object, max_samples: object) -> None:
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if max_samples is not None:
        whole_number("max_samples", max_samples, least=1)
    if not isinstance(batches, Iterable):
        fix = "pass a DataLoader or a list of batches"
        raise InvalidInputError("an iterable of batches", got=type(batches).__name__, fix=fix)
    if method == "exact" and isinstance(batches, Iterator):
        fix = 'pass the DataLoader itself or a list, or method="fast", which needs one pass'
        expected = 'batches that can be iterated once for every layer (method="exact")'
        raise InvalidInputError(expected, got=f"the iterator {type(batches).__name__}", fix=fix)


def _tracking_layers(network: nn.Module, skip: Iterable[str] | None) -> Layers:
    """Return the BatchNorm layers with running statistics, by name, without those to skip."""
    skipped = _skipped(network, skip)
    layers = {}
    for name, module in network.named_modules():
        if not isinstance(module, _BatchNorm) or module.running_mean is None or module.running_var is None:
            continue
        if is_lazy(module.running_mean):
            fix = "run the model on one batch first"
            raise InvalidInputError("initialised layers", got=f"the lazy {name!r}", fix=fix)
        if not name.startswith(skipped) and f"{name}." not in skipped:
            layers[name] = module
    return layers


def _skipped(network: nn.Module, skip: Iterable[str] | None) -> tuple[str, ...]:
    """Return the names to skip, each with a dot behind it: what they begin lies inside them."""
    if skip is None:
        return tuple(f"{name}." for name in frozen_statistics(network))
    names = [skip] if isinstance(skip, str) else list(skip)
    known = [name for name, _ in network.named_modules()]
    for name in names:
        if name not in known:
            raise unknown_name("layer to skip", name, [other for other in known if other])
    return tuple(f"{name}." if name else "" for name in names)


@contextlib.contextmanager
def _undone_on_error(layers: Layers) -> Iterator[None]:
    """Put the running statistics back if anything goes wrong."""
    kept = [(buffer, buffer.clone()) for layer in layers.values() for buffer in layer.buffers(recurse=False)]
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
        raise


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    """Run compiled parts eagerly: a compiled graph would not call our hooks."""
    # Importing dynamo takes seconds, and nothing is compiled unless somebody has done so already.
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextlib.contextmanager
def _watched(layers: Layers, see: Callable[[str, torch.Tensor], None]) -> Iterator[None]:
    """Call ``see(name, input)`` before each call of a layer."""

    def hook(name: str) -> Callable[..., None]:
        return lambda _, args, kwargs: see(name, args[0] if args else kwargs["input"])

    handles = [layer.register_forward_pre_hook(hook(name), with_kwargs=True) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclasses.dataclass(frozen=True)
class _Measured:
    """What a layer has seen: moments, and in how many calls."""

    moments: Moments
    calls: int

    def merged(self, other: _Measured) -> _Measured:
        return _Measured(merge_moments(self.moments, other.moments), self.calls + other.calls)


def _measure(name: str, values: torch.Tensor) -> _Measured:
    moments = batch_moments(values)
    finite = torch.isfinite(moments.mean + moments.squares)
    if not finite.all():
        channel = int(torch.nonzero(~finite)[0])
        got = f"NaN or infinity in channel {channel}"
        fix = "look for diverged weights or broken inputs; the statistics are unchanged"
        raise InvalidInputError(f"finite inputs of the BatchNorm layer {name!r}", got=got, fix=fix)
    return _Measured(moments, 1)


def _pool(parts: Iterable[_Measured | None]) -> _Measured | None:
    """Merge what the ranks have seen; None if that is nothing."""
    seen = [part for part in parts if part is not None and part.moments.count]
    if not seen:
        return None
    return _Measured(pool_moments(part.moments for part in seen), sum(part.calls for part in seen))


def _write(layer: _BatchNorm, moments: Moments) -> None:
    assert layer.running_mean is not None
    assert layer.running_var is not None
    # Converted before they are copied: a device without float64 (mps) cannot do it while copying.
    layer.running_mean.copy_(moments.mean.to(layer.running_mean.dtype))
    layer.running_var.copy_(moments.variance.to(layer.running_var.dtype))


def _write_final(name: str, layer: _BatchNorm, measured: _Measured) -> None:
    moments = measured.moments
    _write(layer, moments)
    if not all(torch.isfinite(buffer).all() for buffer in layer.buffers(recurse=False)):
        mean, variance = float(moments.mean.abs().max()), float(moments.variance.max())
        expected = f"statistics of the BatchNorm layer {name!r} within the range of its buffers"
        got = f"a mean of {mean:.3g} and a variance of {variance:.3g}"
        raise InvalidInputError(expected, got=got, fix="keep the BatchNorm layers in float32")
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked.fill_(measured.calls)


def _no_samples() -> InvalidInputError:
    fix = "check the length and drop_last of the loader; an iterator may be used up"
    return InvalidInputError("at least one batch", got="none", fix=fix)


def _fast(feed: Feed, layers: Layers) -> set[str]:
    """Measure all layers in one pass; return the names of those that were reached."""
    shards = distributed.gather_results(lambda: _fast_pass(feed, layers))
    if not any(batches for batches, _ in shards):
        raise _no_samples()
    reached = set()
    for name, layer in layers.items():
        measured = _pool(seen.get(name) for _, seen in shards)
        if measured is not None:
            _write_final(name, layer, measured)
            reached.add(name)
    return reached


def _fast_pass(feed: Feed, layers: Layers) -> tuple[int, dict[str, _Measured]]:
    """Return the number of this rank's batches, and what each layer saw in them (on the CPU)."""
    seen: dict[str, _Measured] = {}
    windows: dict[str, SlidingMoments] = {}

    def see(name: str, values: torch.Tensor) -> None:
        latest = _measure(name, values)
        if not latest.moments.count:
            return
        if name in seen:
            seen[name] = seen[name].merged(latest)
            windows[name].update(latest.moments)
        else:
            seen[name], windows[name] = latest, SlidingMoments(latest.moments, _WINDOW_POWER)
        _write(layers[name], windows[name].moments)

    batches = 0
    with _watched(layers, see):
        for batch in feed:
            batches += 1
            feed.run(batch)
    return batches, {name: _on_cpu(measured) for name, measured in seen.items()}


def _on_cpu(measured: _Measured) -> _Measured:
    return _Measured(measured.moments.to("cpu"), measured.calls)


def _exact(feed: Feed, layers: Layers) -> set[str]:
    """Measure one layer after another; return the names of those that were reached."""
    orders = distributed.gather_results(lambda: _execution_order(feed, layers))
    found = [order for order in orders if order is not None]
    if not found:
        raise _no_samples()
    # Every rank must work in the same order, for the merges are collective.
    for name, calls in found[0].items():
        layer = layers[name]
        measured = _pool(distributed.gather_results(lambda: _layer_pass(feed, name, layer, calls)))  # noqa: B023
        if measured is None:
            expected = f"batches that reach {name!r} in every pass"
            fix = "pass batches that give the same samples each time they are iterated"
            raise InvalidInputError(expected, got="none in a later pass", fix=fix)
        _write_final(name, layer, measured)
    return set(found[0])


def _execution_order(feed: Feed, layers: Layers) -> dict[str, int] | None:
    """Return the calls of each layer in the first batch, in the order of the first call; None without a batch."""
    calls: dict[str, int] = {}

    def see(name: str, _: torch.Tensor) -> None:
        calls[name] = calls.get(name, 0) + 1

    with _watched(layers, see):
        for batch in feed:
            feed.run(batch)
            return calls
    return None


def _layer_pass(feed: Feed, name: str, layer: _BatchNorm, calls: int) -> _Measured | None:
    """Return what one layer sees in this rank's batches (on the CPU), running nothing behind its last call."""
    pooled: _Measured | None = None
    left = 0

    def see(_: str, values: torch.Tensor) -> None:
        nonlocal pooled, left
        latest = _measure(name, values)
        pooled = latest if pooled is None else pooled.merged(latest)
        left -= 1
        if left == 0:
            raise Reached

    with _watched({name: layer}, see):
        for batch in feed:
            left = calls
            feed.run(batch)
    return None if pooled is None else _on_cpu(pooled)
