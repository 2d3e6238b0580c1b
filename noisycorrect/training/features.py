"""What samples can be compared by: their inputs, or what the last linear layer of a network sees of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.data.batches import Batch, are_vectors
from noisycorrect.data.standardize import standardize_of
from noisycorrect.support.modules import evaluating
from noisycorrect.support.rng import derived_seed
from noisycorrect.training.engine import Engine

PROJECTED = 1024  # features that wide sparse inputs are brought to
WIDE = 4 * PROJECTED


def projection(features: int, seed: int) -> Tensor:
    """Return a random matrix, float32 (F, 1024), that keeps the angles between vectors nearly as they are.

    Its entries are normal with variance 1/1024, so a cosine is off by about 1/32 (Johnson and Lindenstrauss 1984,
    "Extensions of Lipschitz mappings into a Hilbert space").

    Examples
    --------
    >>> projection(3, seed=0).shape
    torch.Size([3, 1024])
    """
    generator = torch.Generator().manual_seed(derived_seed(seed, "projection of sparse inputs"))
    return torch.randn(features, PROJECTED, generator=generator, dtype=torch.float32) / math.sqrt(PROJECTED)


@torch.no_grad()
def features_of(
    model: nn.Module, engine: Engine, batches: Iterable[Batch], *, projected: Tensor | None = None
) -> Iterator[Tensor]:
    """Yield features of each batch, float32 (B, F).

    Inputs that are floating vectors are their own features, standardised if the model standardises them: a network that
    has seen few epochs knows less of them. Of other inputs (images, token ids) features are what the model's last
    linear layer sees, or the class probabilities if it has none; the model is in evaluation mode.

    Parameters
    ----------
    model : nn.Module
        Comes back in the mode that it was in.
    engine : Engine
        Runs it.
    batches : iterable of Batch
        In the canonical frame.
    projected : Tensor, shape (F, P), optional
        What vectors are multiplied by, so that those of a wide sparse matrix need not lie in memory.
    """
    standardize, layer = standardize_of(model), _last_linear(model)
    seen: list[Tensor] = []
    handle = None if layer is None else layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        with evaluating(model):
            for batch in map(engine.to_device, batches):
                inputs: Any = batch.input
                if are_vectors(inputs):
                    vectors = (inputs if standardize is None else standardize(inputs)).float()
                    yield vectors if projected is None else vectors @ projected.to(vectors.device)
                    continue
                seen.clear()
                with engine.autocast():
                    probs = engine.task.predict(model, batch)
                found = seen[-1] if seen and len(seen[-1]) == len(probs) else probs
                yield found.flatten(1).float()
    finally:
        if handle is not None:
            handle.remove()


def _last_linear(model: nn.Module) -> nn.Module | None:
    found = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return found[-1] if found else None
