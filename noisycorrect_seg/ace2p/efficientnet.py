"""EfficientNet-Lite0 with a stride of 16."""

from __future__ import annotations

import functools
from typing import final

import torch
from torch import Tensor, nn

from noisycorrect.features.efficientnet import STAGES, STEM, EfficientNetLite0
from noisycorrect.support.errors import unknown_name
from noisycorrect_seg.ace2p.backbones import BACKBONES
from noisycorrect_seg.ace2p.layers import scaled
from noisycorrect_seg.inputs import MEAN_BGR, STD_BGR

RETURNED = (1, 2, 4, 6)  # the last stage at strides 4, 8 and 16, and the last of all
DILATED_FROM = 5  # the stage whose stride becomes a dilation


VARIANTS = ("tensorflow", "timm")


@final
class EfficientNetLite(nn.Module):
    """EfficientNet-Lite0, dilated instead of strided at the end.

    It is shown what the other backbones are, normalised images, blue first, and converts them to what its weights were
    trained on.

    Parameters
    ----------
    width : float
        Factor on every channel count; see :func:`~noisycorrect_seg.ace2p.layers.scaled`.
    variant : {"tensorflow", "timm"}
        Google's training, which the package's weights are of, and timm's ``tf_efficientnet_lite0``: padded as
        TensorFlow does, red first, (byte - 127) / 128. Or timm's own, ``efficientnet_lite0``: padded on both sides
        alike, red first, normalised with ImageNet's constants.

    Raises
    ------
    InvalidInputError
        If `variant` is unknown.

    Examples
    --------
    >>> backbone = EfficientNetLite()
    >>> backbone.channels
    (24, 40, 112, 320)
    >>> [tuple(maps.shape[2:]) for maps in backbone.eval()(torch.zeros(1, 3, 65, 49))]
    [(17, 13), (9, 7), (5, 4), (5, 4)]
    """

    factor: Tensor
    offset: Tensor

    def __init__(self, *, width: float = 1.0, variant: str = "tensorflow") -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise unknown_name("variant", variant, VARIANTS)
        self.variant = variant
        stages = [
            stage._replace(
                channels=scaled(stage.channels, width),
                stride=1 if number == DILATED_FROM else stage.stride,
                dilation=2 if number >= DILATED_FROM else 1,
            )
            for number, stage in enumerate(STAGES)
        ]
        even, epsilon = (False, 1e-3) if variant == "tensorflow" else (True, 1e-5)
        self.trunk = EfficientNetLite0(stem=scaled(STEM, width), stages=stages, head=False, even=even, epsilon=epsilon)
        self.channels = tuple(stages[stage].channels for stage in RETURNED)
        mean, std = (torch.tensor(part).flip(0).view(3, 1, 1) for part in (MEAN_BGR, STD_BGR))
        google = variant == "tensorflow"
        self.register_buffer("factor", 255 * std / 128 if google else torch.ones(3, 1, 1))
        self.register_buffer("offset", (255 * mean - 127) / 128 if google else torch.zeros(3, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return four maps (N, channels[i], h_i, w_i) of images (N, 3, H, W), normalised, blue first."""
        maps = self.trunk.maps(images.flip(1) * self.factor + self.offset)
        return tuple(maps[stage] for stage in RETURNED)


BACKBONES.register("efficientnet-lite0", EfficientNetLite)
BACKBONES.register("efficientnet-lite0-timm", functools.partial(EfficientNetLite, variant="timm"))
