"""The network of those who bring none."""

from __future__ import annotations

from torch import nn

HIDDEN = 128


def default_network(n_features: int, n_classes: int) -> nn.Sequential:
    """Return a multilayer perceptron: inputs (N, n_features), logits (N, n_classes).

    Examples
    --------
    >>> import torch
    >>> default_network(5, 3)(torch.zeros(2, 5)).shape
    torch.Size([2, 3])
    """
    return nn.Sequential(
        nn.Linear(n_features, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, n_classes)
    )
