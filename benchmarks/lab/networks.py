"""Networks of the benchmarks, in plain PyTorch; each returns logits."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.lab.datasets import Benchmark
from noisycorrect.support.errors import InvalidInputError, unknown_name


def mlp(
    num_features: int, num_classes: int, hidden: int = 256, *, depth: int = 2, batch_norm: bool = True
) -> nn.Sequential:
    """Return a multilayer perceptron.

    Parameters
    ----------
    num_features, num_classes : int
        Values in, logits out: inputs (N, ...) of `num_features` values each, logits (N, num_classes).
    hidden : int, default 256
        Width of the hidden layers.
    depth : int, default 2
        Number of hidden layers.
    batch_norm : bool, default True
        Normalise before each activation.
    """
    layers: list[nn.Module] = [nn.Flatten()]
    width = num_features
    for _ in range(depth):
        layers.append(nn.Linear(width, hidden, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm1d(hidden))
        layers.append(nn.ReLU(inplace=True))
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, num_classes))


def small_cnn(num_classes: int, width: int = 32) -> nn.Sequential:
    """Return a network of six convolutions for 32x32 images that two CPU cores train in seconds an epoch.

    Parameters
    ----------
    num_classes : int
        Logits out: inputs (N, 3, 32, 32), logits (N, num_classes).
    width : int, default 32
        Channels of the first stage; the next two have twice and four times as many.
    """
    # The stem halves the image: at 32x32 pixels batch normalisation alone would take most of a CPU's time.
    plan = [(3, width, 2), (width, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 1)]
    plan += [(2 * width, 4 * width, 2), (4 * width, 4 * width, 1)]
    layers: list[nn.Module] = []
    for inside, outside, stride in plan:
        layers.append(nn.Conv2d(inside, outside, 3, stride, 1, bias=False))
        layers += [nn.BatchNorm2d(outside), nn.ReLU(inplace=True)]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, num_classes))
    # Activations follow the weights' memory order, and in this one a CPU needs about a fifth less time.
    for weight in (parameter for parameter in network.parameters() if parameter.ndim == 4):
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return network


class _PreActBlock(nn.Module):
    """Residual block with normalisation and activation before each convolution (He et al., 2016, fig. 1b)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        changes = stride != 1 or inside != outside
        self.shortcut = nn.Conv2d(inside, outside, 1, stride, bias=False) if changes else None

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, inside, H, W) to (N, outside, H / stride, W / stride)."""
        active = F.relu(self.norm1(inputs))
        skipped = inputs if self.shortcut is None else self.shortcut(active)
        residual: Tensor = self.conv2(F.relu(self.norm2(self.conv1(active))))
        return residual + skipped


def preact_resnet18(num_classes: int, width: int = 64) -> nn.Sequential:
    """Return the pre-activation ResNet-18 for 32x32 images (He et al., 2016): 3x3 stem, four stages of two blocks.

    Parameters
    ----------
    num_classes : int
        Logits out: inputs (N, 3, 32, 32), logits (N, num_classes).
    width : int, default 64
        Channels of the first stage; each further stage has twice as many.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False)]
    channels = width
    for stage in range(4):
        for first in (True, False):
            layers.append(_PreActBlock(channels, width << stage, 2 if first and stage > 0 else 1))
            channels = width << stage
    head = [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *head, nn.Linear(channels, num_classes))


class _ResidualBlock(nn.Module):
    """Residual block with activation after the sum (He et al., 2016, "Deep Residual Learning", fig. 5, left)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outside)
        changes = stride != 1 or inside != outside
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))
            if changes
            else nn.Identity()
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, inside, H, W) to (N, outside, H / stride, W / stride)."""
        residual = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(inputs)))))
        return F.relu(residual + self.shortcut(inputs))


def resnet34(num_classes: int, width: int = 64) -> nn.Sequential:
    """Return the ResNet-34 for 32x32 images (He et al., 2016, table 1): 3x3 stem, stages of 3, 4, 6 and 3 blocks.

    Parameters
    ----------
    num_classes : int
        Logits out: inputs (N, 3, 32, 32), logits (N, num_classes).
    width : int, default 64
        Channels of the first stage; each further stage has twice as many.
    """
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    channels = width
    for stage, blocks in enumerate((3, 4, 6, 3)):
        for block in range(blocks):
            layers.append(_ResidualBlock(channels, width << stage, 2 if block == 0 and stage > 0 else 1))
            channels = width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


#: Networks by name, each made from the number of values of an input and the number of classes.
NETWORKS: dict[str, Callable[[int, int], nn.Sequential]] = {
    "mlp": mlp,
    "small_cnn": lambda _, classes: small_cnn(classes),
    "narrow_cnn": lambda _, classes: small_cnn(classes, width=16),
    "preact_resnet18": lambda _, classes: preact_resnet18(classes),
    "resnet34": lambda _, classes: resnet34(classes),
}


def build(name: str, benchmark: Benchmark, seed: int) -> nn.Sequential:
    """Return a freshly initialised network for a data set; the global random state stays as it was.

    Parameters
    ----------
    name : str
        "mlp", "small_cnn", "narrow_cnn" (half as wide), "preact_resnet18", "resnet34", or "auto": an MLP for vectors
        and the small CNN for images.
    benchmark : Benchmark
        Gives the shape of the inputs and the number of classes.
    seed : int
        Seed of the initial weights.

    Raises
    ------
    InvalidInputError
        If the name is unknown or the network cannot take these inputs.

    Examples
    --------
    >>> from benchmarks.lab.datasets import load
    >>> build("auto", load("digits"), seed=0)(torch.zeros(2, 64)).shape
    torch.Size([2, 10])
    """
    shape = tuple(benchmark.train_inputs.shape[1:])
    if name == "auto":
        name = "small_cnn" if len(shape) == 3 else "mlp"
    if name not in NETWORKS:
        raise unknown_name("network", name, [*NETWORKS, "auto"])
    if name != "mlp" and (len(shape) != 3 or shape[0] != 3):
        raise InvalidInputError(f"images of 3 channels for {name}", got=f"inputs of shape {shape}", fix="use 'mlp'")
    return initialised(lambda: NETWORKS[name](math.prod(shape), benchmark.num_classes), seed)


def initialised(make: Callable[[], nn.Sequential], seed: int) -> nn.Sequential:
    """Return what `make` makes with initial weights of that seed; the global random state stays as it was."""
    # torch.manual_seed would seed every accelerator too, which fork_rng(devices=[]) does not put back.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()
