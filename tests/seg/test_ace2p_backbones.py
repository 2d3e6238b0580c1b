"""Backbones: their strides, their names, and modules of others as backbones."""

from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from announced import announce
from torch import nn

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.ace2p import ACE2P, BACKBONES, FeatureMaps, MobileNetV2, ResNet, make_backbone, resnet_maps


def convolutions(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


# Whose strides are others than 4, 8, 16 and 16.
SIZES = {"unet": [(473, 95), (119, 24), (60, 12), (30, 6)]}


@pytest.mark.parametrize("name", BACKBONES)
def test_strides_of_every_backbone(name):
    with torch.device("meta"):
        backbone = make_backbone(name)
        maps = backbone(torch.empty(2, 3, 473, 95))
    last = (15, 3) if name.endswith("stride32") else (30, 6)
    assert [tuple(part.shape[1:]) for part in maps] == [
        (channels, *size)
        for channels, size in zip(backbone.channels, SIZES.get(name, [(119, 24), (60, 12), (30, 6), last]), strict=True)
    ]


def test_channels_of_the_published_backbones():
    with torch.device("meta"):
        assert ResNet(101).channels == (256, 512, 1024, 2048)
        assert ResNet(18).channels == (64, 128, 256, 512)
        assert ResNet(50, width=0.5).channels == (128, 256, 512, 1024)
        assert MobileNetV2().channels == (24, 32, 96, 320)


# Counted by hand from torchvision's published sizes, less their classifiers: 11,689,512 - 513,000 and so on.
@pytest.mark.parametrize(
    ("name", "parameters", "keys"),
    [
        ("resnet18-7x7", 11_689_512 - 513_000, 122 - 2),
        ("resnet50-7x7", 25_557_032 - 2_049_000, 320 - 2),
        ("resnet101-7x7", 44_549_160 - 2_049_000, 626 - 2),
        ("mobilenetv2", 3_504_872 - 1_281_000 - 412_160, 314 - 2 - 6),
    ],
)
def test_parameters_and_keys_are_as_many_as_torchvisions(name, parameters, keys):
    with torch.device("meta"):
        backbone = make_backbone(name)
    assert sum(parameter.numel() for parameter in backbone.parameters()) == parameters
    assert len(backbone.state_dict()) == keys


def test_the_last_layer_is_dilated_instead_of_strided():
    with torch.device("meta"):
        backbone = ResNet(101)
    last = [conv for conv in convolutions(backbone.layer4) if conv.kernel_size == (3, 3)]
    assert [(conv.stride, conv.dilation, conv.padding) for conv in last] == [((1, 1), (2, 2), (2, 2))] * 3
    assert all(conv.stride == (1, 1) for conv in convolutions(backbone.layer4))
    for layer in (backbone.layer2, backbone.layer3):
        assert layer[0].conv2.stride == layer[0].downsample[0].stride == (2, 2)
        assert layer[0].conv1.stride == (1, 1)
    others = [backbone.stem, backbone.layer1, backbone.layer2, backbone.layer3]
    assert all(conv.dilation == (1, 1) for part in others for conv in convolutions(part))


def test_the_deep_stem():
    with torch.device("meta"):
        stem = ResNet(101).stem
    assert [(c.in_channels, c.out_channels, c.kernel_size, c.stride, c.bias) for c in convolutions(stem)] == [
        (3, 64, (3, 3), (2, 2), None),
        (64, 64, (3, 3), (1, 1), None),
        (64, 128, (3, 3), (1, 1), None),
    ]


def test_mobilenet_blocks_add_their_input_where_shapes_agree():
    with torch.device("meta"):
        backbone = MobileNetV2()
    assert [number for number, block in enumerate(backbone.features) if getattr(block, "added", False)] == [
        3, 5, 6, 8, 9, 10, 12, 13, 15, 16,
    ]  # fmt: skip
    block = MobileNetV2(width=0.25).features[3].eval()
    maps = torch.randn(1, 8, 5, 5)
    torch.testing.assert_close(block(maps), maps + block.conv(maps))


# --- modules of others


class Pyramid(nn.Module):
    """Maps of strides 4 to 32, as a dict; a BatchNorm and a training mode that nobody may change."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.mix = nn.ModuleList(nn.Conv2d(3, 3 + i, 1) for i in range(4))

    def forward(self, images):
        images = self.norm(images)
        return OrderedDict((str(i), mix(F.avg_pool2d(images, 2 ** (i + 2)))) for i, mix in enumerate(self.mix))


def test_any_module_with_four_maps_is_a_backbone():
    pyramid = Pyramid()
    pyramid.mix[1].eval()
    before = {name: value.clone() for name, value in pyramid.state_dict().items()}
    backbone = FeatureMaps(pyramid)
    assert backbone.channels == (3, 4, 5, 6)
    assert [pyramid.training, pyramid.mix[1].training, pyramid.norm.training] == [True, False, True]
    torch.testing.assert_close(dict(pyramid.state_dict()), before, rtol=0, atol=0)
    output = ACE2P(7, backbone, width=0.125)(torch.randn(2, 3, 64, 96))
    assert [tuple(part.shape) for part in output[:3]] == [(2, 7, 16, 24), (2, 7, 16, 24), (2, 2, 16, 24)]


def test_red_first_for_modules_that_want_it():
    images = torch.randn(1, 3, 32, 32)
    pyramid = Pyramid().eval()
    torch.testing.assert_close(FeatureMaps(pyramid, rgb=True)(images), FeatureMaps(pyramid)(images.flip(1)))


def torchvision_like(blocks):
    """A ResNet under torchvision's names and with its strides, by way of ours."""
    ours = ResNet(blocks, stem="7x7", width=0.125)
    theirs = nn.Module()
    theirs.conv1, theirs.bn1 = ours.stem.conv1, ours.stem.bn1
    for number in (1, 2, 3, 4):
        setattr(theirs, f"layer{number}", getattr(ours, f"layer{number}"))
    for conv in convolutions(theirs.layer4):
        conv.dilation, conv.padding = (1, 1), (conv.kernel_size[0] // 2,) * 2
    for conv in (theirs.layer4[0].downsample[0], theirs.layer4[0].conv1 if blocks == 18 else theirs.layer4[0].conv2):
        conv.stride = (2, 2)
    return theirs


@pytest.mark.parametrize("blocks", [18, 50])
def test_a_resnet_of_torchvision_becomes_the_named_backbone(blocks):
    theirs = torchvision_like(blocks).eval()
    found = resnet_maps(theirs)
    assert theirs.layer4[0].downsample[0].stride == (2, 2)
    named = ResNet(blocks, stem="7x7", width=0.125).eval()
    named.load_state_dict(
        {
            ("stem." if key.split(".")[0] in ("conv1", "bn1") else "") + key: value
            for key, value in theirs.state_dict().items()
        }
    )
    images = torch.randn(1, 3, 65, 49)
    torch.testing.assert_close(found.eval()(images), named(images.flip(1)))
    assert resnet_maps(theirs, dilate=False)(images)[-1].shape[2:] == (3, 2)
    assert all(a is not b for a in found.parameters() for b in theirs.parameters())


def test_a_backbone_of_another_package_is_found_by_name(monkeypatch):
    class Tiny(nn.Module):
        def __init__(self, *, width=1.0):
            super().__init__()
            self.channels = (round(8 * width),) * 4
            self.stem = nn.Conv2d(3, self.channels[0], 4, stride=4)

        def forward(self, images):
            maps = self.stem(images)
            return tuple(F.avg_pool2d(maps, stride) for stride in (1, 2, 4, 4))

    assert BACKBONES.group == "noisycorrect.backbones"
    announce(monkeypatch, BACKBONES, tiny=Tiny)
    assert make_backbone("tiny", width=0.5).channels == (4, 4, 4, 4)
    network = ACE2P(num_classes=3, backbone="tiny", width=0.25).eval()
    assert network(torch.zeros(1, 3, 64, 64)).parsing.shape == (1, 3, 16, 16)


# --- invalid input


def test_bad_backbones():
    with pytest.raises(InvalidInputError, match="backbone; got 'resnet11'; to fix: did you mean 'resnet101'"):
        make_backbone("resnet11")
    with pytest.raises(InvalidInputError, match="name or an nn.Module; got NoneType"):
        make_backbone(None)
    with pytest.raises(InvalidInputError, match="Pyramid with channels=None; .* wrap the module in FeatureMaps"):
        make_backbone(Pyramid())
    with pytest.raises(InvalidInputError, match=r"four maps \(N, C, h, w\); got Tensor"):
        FeatureMaps(nn.Conv2d(3, 4, 3))
    with pytest.raises(InvalidInputError, match=r"channels\[3\] to be a whole number >= 1; got 0"):
        FeatureMaps(Pyramid(), (3, 4, 5, 0))
    with pytest.raises(InvalidInputError, match="an nn.Module; got str"):
        FeatureMaps("resnet50")
    with pytest.raises(InvalidInputError, match="Pyramid without conv1, bn1, layer1"):
        resnet_maps(Pyramid())
    with pytest.raises(InvalidInputError, match="ResNet depth; got 34"):
        ResNet(34)
    with pytest.raises(InvalidInputError, match="stem; got 'wide'"):
        ResNet(18, stem="wide")


@pytest.mark.parametrize("size", [(64, 48), (37, 50), (16, 16)])
def test_a_u_net_draws_to_the_pixel(size):
    torch.manual_seed(0)
    network = ACE2P(5, "unet", width=0.0625, edge=False, fusion=False)
    images = torch.randn(2, 3, *size, requires_grad=True)
    logits = network(images).parsing
    assert logits.shape == (2, 5, *size)
    # A pixel's own colour has a way of its own: past four levels its neighbour in the same place of stride 2 would not.
    row, column = size[0] // 2, size[1] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, row, column], images)
    assert gradient[0, :, row, column].abs().sum() > 0
    assert gradient[1].abs().sum() > 0, "batch statistics"
    again = ACE2P(**network.config)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.eval()(images).parsing, network.eval()(images).parsing)
