"""The first step tried on a copy: what fails only in training mode is known before the first epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from noisycorrect.correction.twin import TwinNetworks
from noisycorrect.cycle.feed import cut_batch, tensors_in
from noisycorrect.data.batches import Batch
from noisycorrect.data.standardize import Standardized
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError
from noisycorrect.support.modules import copied, unwrap
from noisycorrect.support.rng import untouched
from noisycorrect.training.engine import Engine

_SAMPLES = 2  # BatchNorm needs two
_BATCHNORM = "more than 1 value per channel"


def try_training(engine: Engine, student: nn.Module, batch: Batch, size: int) -> None:
    """Run a copy of a model on a few samples in training mode, without a gradient: no pass of those that a run counts.

    Parameters
    ----------
    engine : Engine
        Runs it; its `augment` is tried, too.
    student : nn.Module
        Not changed.
    batch : Batch
        Of the training set.
    size : int
        Samples in a batch of this rank.

    Raises
    ------
    InvalidInputError
        If it fails, or its output is not that of evaluation mode; if `augment` fails or changes the number of samples.
    """
    few = engine.to_device(cut_batch(batch, max(1, min(_SAMPLES, size, len(batch)))))
    with untouched(engine.device), torch.no_grad(), engine.autocast():
        if engine.augment is not None:
            few.input = _augmented(engine, few)
        for network in _networks(student):
            trial = copied(network)
            if not trial.training:
                trial.train()
            _try(engine, trial, few, name_of(network))


def _networks(model: nn.Module) -> list[nn.Module]:
    """Return the networks that a run's model is made of: in training mode two together answer otherwise."""
    if isinstance(model, TwinNetworks):
        return [*_networks(model.first), *_networks(model.second)]
    return [model]


def name_of(model: nn.Module) -> str:
    """Return what the caller's own network is called, inside of what a run has put around it.

    Examples
    --------
    >>> name_of(nn.Linear(2, 2))
    'Linear'
    """
    model = unwrap(model)
    return name_of(model.network) if isinstance(model, Standardized) else type(model).__name__


def _try(engine: Engine, trial: nn.Module, batch: Batch, name: str) -> None:
    try:
        output = engine.task.forward(trial, batch)
    except (NoisyCorrectError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of the caller's model, whose own traceback follows
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        if _BATCHNORM in str(error) and len(batch) < _SAMPLES:
            fix = "pass batch_size=2 or more a rank, or a model without BatchNorm (GroupNorm takes one sample)"
            raise InvalidInputError(
                "two samples a batch at least: BatchNorm needs them", got=reason, fix=fix
            ) from error
        fix = f"try it: model.train(); model(inputs[:{len(batch)}])"
        raise InvalidInputError(f"a {name} that runs in training mode", got=reason, fix=fix) from error
    try:
        engine.task.check_output(output, batch)
    except InvalidInputError as error:
        fix = "let forward return the same in both modes, the logits first"
        raise InvalidInputError(
            f"the output of {name} in training mode to be that of evaluation mode", got=f"otherwise: {error}", fix=fix
        ) from error


def _augmented(engine: Engine, batch: Batch) -> Any:
    assert engine.augment is not None
    try:
        found = engine.augment(batch.input)
    except (NoisyCorrectError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of the caller's function, whose own traceback follows
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        fix = "it gets a batch of inputs on the device, and returns it"
        raise InvalidInputError("augment(input) to work on a batch", got=reason, fix=fix) from error
    counts = {len(tensor) for tensor in tensors_in(found) if tensor.dim()}
    if len(batch) not in counts:
        got = f"{counts.pop()}" if counts else type(found).__name__
        fix = "let it return the inputs, and drop or add none"
        raise InvalidInputError(f"augment to return all {len(batch)} samples of a batch", got=got, fix=fix)
    return found
