"""The networks of the arena."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from benchmarks.lab.networks import mlp, small_cnn

#: Networks by name, made from the number of values of an input and the number of classes.
NETWORKS: dict[str, Callable[[int, int], nn.Sequential]] = {
    "linear": lambda values, classes: mlp(values, classes, depth=0),
    "mlp": lambda values, classes: mlp(values, classes, 128, batch_norm=False),
    "mlp-bn": lambda values, classes: mlp(values, classes, 128),
    "cnn": lambda _, classes: small_cnn(classes, width=16),
}
VECTOR_NETWORKS, IMAGE_NETWORKS = ("linear", "mlp", "mlp-bn"), ("cnn",)
