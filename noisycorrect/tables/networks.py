"""The networks that cleaning trains: of vectors and of small pictures."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from noisycorrect.support.rng import seeded

HIDDEN = 128
SMALL_SIDE, LARGE_SIDE = 64, 224  # pixels of the small network's pictures, and of the pretrained one's


def vector_network(features: int, classes: int, seed: int, *, hidden: int = HIDDEN) -> nn.Sequential:
    """Return a perceptron with one hidden layer, normalised: logits (N, K) of vectors (N, F).

    Examples
    --------
    >>> import torch
    >>> vector_network(5, 3, seed=0)(torch.zeros(2, 5)).shape
    torch.Size([2, 3])
    """
    with seeded(seed, "weights of vectors"):
        first = nn.Linear(features, hidden, bias=False)
        return nn.Sequential(first, nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, classes))


def picture_network(classes: int, seed: int, *, width: int = 32) -> nn.Sequential:
    """Return a small convolutional network: logits (N, K) of uint8 pictures (N, 3, H, W).

    Examples
    --------
    >>> import torch
    >>> picture_network(3, seed=0, width=4)(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape
    torch.Size([2, 3])
    """
    layers: list[nn.Module] = [_Scaled()]
    with seeded(seed, "weights of pictures"):
        inside = 3
        for outside in (width, 2 * width, 4 * width):
            for stride in (2, 1):
                layers += [nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]
                inside = outside
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes))


@final
class _Scaled(nn.Module):
    """Bytes as numbers from -1 to 1."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Return float32."""
        return pixels.float() / 127.5 - 1
