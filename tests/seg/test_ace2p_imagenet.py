"""Starting from ImageNet: three kinds of files, and what they cannot fill."""

import pytest
import torch

from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg.ace2p import ACE2P, FeatureMaps, MobileNetV2, ResNet, load_imagenet


def filled(backbone, seed=0):
    """Return the state of a backbone as a file's, with values of its own."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name.removeprefix("stem."): torch.randn(value.shape, generator=generator).to(value.dtype)
        for name, value in backbone.state_dict().items()
    }


def deep_file():
    """A deep-stemmed file: no counters of batches, and a classifier."""
    state = {key: value for key, value in filled(ResNet(18)).items() if not key.endswith("num_batches_tracked")}
    return state | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def torchvision_file():
    """torchvision's ResNet-18: its first block has no shortcut layer, because the stem puts out 64 channels."""
    state = filled(ResNet(18, stem="7x7"))
    assert "layer1.0.downsample.0.weight" not in state
    return state | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def mobilenet_file():
    state = filled(MobileNetV2())
    assert state["features.2.conv.1.0.weight"].shape == (96, 1, 3, 3)
    return state | {"features.18.0.weight": torch.zeros(1280, 320, 1, 1), "classifier.1.bias": torch.zeros(1000)}


def test_the_deep_stemmed_file_fills_everything(tmp_path):
    torch.save(deep_file(), tmp_path / "resnet18-imagenet.pth")
    network = ACE2P(7, "resnet18")
    head = network.parsing_head.weight.clone()
    assert load_imagenet(network, tmp_path / "resnet18-imagenet.pth") == []
    state = network.backbone.state_dict()
    for key, value in deep_file().items():
        if not key.startswith("fc."):
            ours = key if key.startswith("layer") else f"stem.{key}"
            assert torch.equal(state[ours], value), key
    assert torch.equal(network.parsing_head.weight, head)


def test_the_first_convolution_of_torchvisions_files_is_turned_from_red_to_blue_first():
    state, images = torchvision_file(), torch.randn(1, 3, 33, 33)
    backbone, as_it_is = ResNet(18, stem="7x7").eval(), ResNet(18, stem="7x7").eval()
    assert load_imagenet(backbone, state) == []
    assert load_imagenet(as_it_is, state, rgb=False) == []
    assert torch.equal(as_it_is.stem.conv1.weight, state["conv1.weight"])
    torch.testing.assert_close(backbone.stem.conv1(images), as_it_is.stem.conv1(images.flip(1)), rtol=1e-4, atol=1e-4)
    assert torch.equal(backbone.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert backbone.layer1[0].bn1.num_batches_tracked == state["layer1.0.bn1.num_batches_tracked"]


def test_mobilenet():
    state, backbone = mobilenet_file(), MobileNetV2()
    assert load_imagenet(backbone, state) == []
    assert torch.equal(backbone.features[0][0].weight, state["features.0.0.weight"].flip(1))
    assert torch.equal(backbone.features[17].conv[2].weight, state["features.17.conv.2.weight"])


def test_what_torchvisions_file_cannot_fill_behind_a_deep_stem():
    backbone, state = ResNet(18), torchvision_file()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    missing = load_imagenet(backbone, {"state_dict": {f"module.{key}": value for key, value in state.items()}})
    norm = ("weight", "bias", "running_mean", "running_var")
    assert missing == [
        *(f"stem.{key}" for i in (1, 2, 3) for key in (f"conv{i}.weight", *(f"bn{i}.{part}" for part in norm))),
        "layer1.0.conv1.weight",
        *(f"layer1.0.bn1.{part}" for part in norm),
        "layer1.0.downsample.0.weight",
        *(f"layer1.0.downsample.1.{part}" for part in norm),
    ]
    for name, value in backbone.state_dict().items():
        expected = before[name] if name in missing or name not in state else state[name]
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, expected), name


# --- invalid input


def test_wrong_files_change_nothing():
    backbone = ResNet(18)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    whole = deep_file()
    for state, message in [
        (filled(ResNet(50)), r"'layer1.0.conv1.weight' of shape \(64, 128, 3, 3\); got \(64, 128, 1, 1\)"),
        (
            {k: v for k, v in whole.items() if k != "bn3.running_var"},
            r"'bn3.running_var' of shape \(128,\); got no such",
        ),
        (whole | {"layer5.0.weight": torch.zeros(1)}, "no 'layer5.0.weight'"),
        (filled(ResNet(18, width=0.5)), r"'conv1.weight' of shape .* width=1.0"),
        (mobilenet_file(), "'conv1.weight' of shape"),
        ({k: v for k, v in torchvision_file().items() if k != "layer2.0.bn1.bias"}, "'layer2.0.bn1.bias' of shape"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            load_imagenet(backbone, state)
    torch.testing.assert_close(dict(backbone.state_dict()), before, rtol=0, atol=0)


def test_backbones_of_others():
    network = ACE2P(7, FeatureMaps(ResNet(18, width=0.125)), width=0.125)
    with pytest.raises(
        InvalidInputError, match="a ResNet, MobileNetV2 or EfficientNet-Lite0 built by name; got FeatureMaps"
    ):
        load_imagenet(network, deep_file())
