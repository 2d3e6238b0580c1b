"""Checkpoints of the SCHP authors: against a slow forward pass over their names, with their normalisation."""

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg.ace2p import ACE2P, load_official, official_state

FULL, SMALL = (3, 4, 23, 3), (3, 4, 6, 3)  # blocks of ResNet-101 and of ResNet-50
EPS = 1e-5


# --- their files: names and shapes from the table of the facts page


def layout(classes=20, blocks=FULL, width=1.0):
    """Return the convolutions (name -> shape), the normalisation behind each (name -> name), the biased ones."""

    def c(channels):
        return max(8, 8 * math.floor(channels * width / 8 + 0.5))

    shapes, norms, biased = {}, {}, []

    def add(conv, norm, *shape):
        shapes[conv] = shape
        if norm is None:
            biased.append(conv)
        else:
            norms[conv] = norm

    add("conv1", "bn1", c(64), 3, 3, 3)
    add("conv2", "bn2", c(64), c(64), 3, 3)
    add("conv3", "bn3", c(128), c(64), 3, 3)
    inputs = c(128)
    for layer, (count, planes) in enumerate(zip(blocks, (64, 128, 256, 512), strict=True), start=1):
        middle, outputs = c(planes), 4 * c(planes)
        for block in range(count):
            at = f"layer{layer}.{block}"
            add(f"{at}.conv1", f"{at}.bn1", middle, inputs, 1, 1)
            add(f"{at}.conv2", f"{at}.bn2", middle, middle, 3, 3)
            add(f"{at}.conv3", f"{at}.bn3", outputs, middle, 1, 1)
            if block == 0:
                add(f"{at}.downsample.0", f"{at}.downsample.1", outputs, inputs, 1, 1)
            inputs = outputs
    for stage in range(4):
        at = f"context_encoding.stages.{stage}"
        add(f"{at}.1", f"{at}.2", c(512), inputs, 1, 1)
    add("context_encoding.bottleneck.0", "context_encoding.bottleneck.1", c(512), inputs + 4 * c(512), 3, 3)
    for number, level in enumerate((64, 128, 256), start=1):
        add(f"edge.conv{number}.0", f"edge.conv{number}.1", c(256), 4 * c(level), 1, 1)
    add("edge.conv4", None, 2, c(256), 3, 3)
    add("edge.conv5", None, 2, 6, 1, 1)
    add("decoder.conv1.0", "decoder.conv1.1", c(256), c(512), 1, 1)
    add("decoder.conv2.0", "decoder.conv2.1", c(48), 4 * c(64), 1, 1)
    add("decoder.conv3.0", "decoder.conv3.1", c(256), c(256) + c(48), 1, 1)
    add("decoder.conv3.2", "decoder.conv3.3", c(256), c(256), 1, 1)
    add("decoder.conv4", None, classes, c(256), 1, 1)
    add("fushion.0", "fushion.1", c(256), 4 * c(256), 1, 1)
    add("fushion.3", None, classes, c(256), 1, 1)
    return shapes, norms, biased


def official_file(classes=20, blocks=FULL, width=1.0, seed=0):
    """Return a state with random weights, a third of the scales negative, some zero, statistics as after training."""
    generator = torch.Generator().manual_seed(seed)
    shapes, norms, biased = layout(classes, blocks, width)
    state = {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = torch.randn(shape, generator=generator).mul_(math.sqrt(2 / math.prod(shape[1:])))
    for name in ("edge.conv4", "edge.conv5"):  # two heads in a row: as torch initialises them, or their rounding shows
        state[f"{name}.weight"] /= math.sqrt(6)
    for name in biased:
        state[f"{name}.bias"] = torch.randn(shapes[name][0], generator=generator)
    for conv, norm in norms.items():
        channels = shapes[conv][0]
        scale = 0.3 + 0.5 * torch.rand(channels, generator=generator)
        scale[torch.rand(channels, generator=generator) < 1 / 3] *= -1
        scale[torch.rand(channels, generator=generator) < 0.05] = 0
        state[f"{norm}.weight"] = scale
        state[f"{norm}.bias"] = 0.2 * torch.randn(channels, generator=generator)
        state[f"{norm}.running_mean"] = 0.2 * torch.randn(channels, generator=generator)
        state[f"{norm}.running_var"] = 0.5 + torch.rand(channels, generator=generator)
    return state


# --- their forward pass


class Forward:
    """Their network at inference, one function call after the other, in float64."""

    def __init__(self, state, eps=EPS):
        self.state = {key: value.double() for key, value in state.items()}
        self.eps = eps  # what they add to the scale

    def conv(self, name, x, **options):
        return F.conv2d(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"), **options)

    def norm(self, name, x):
        scale, shift, mean, variance = (
            self.state[f"{name}.{part}"].view(1, -1, 1, 1) for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / torch.sqrt(variance + EPS) * (scale.abs() + self.eps) + shift

    def leaky(self, conv, norm, x, **options):
        return F.leaky_relu(self.norm(norm, self.conv(conv, x, **options)), 0.01)

    def block(self, at, x, stride, dilation):
        y = F.relu(self.norm(f"{at}.bn1", self.conv(f"{at}.conv1", x)))
        y = self.conv(f"{at}.conv2", y, stride=stride, padding=dilation, dilation=dilation)
        y = F.relu(self.norm(f"{at}.bn2", y))
        y = self.norm(f"{at}.bn3", self.conv(f"{at}.conv3", y))
        if f"{at}.downsample.0.weight" in self.state:
            x = self.norm(f"{at}.downsample.1", self.conv(f"{at}.downsample.0", x, stride=stride))
        return F.relu(x + y)

    def backbone(self, x):
        x = F.relu(self.norm("bn1", self.conv("conv1", x, stride=2, padding=1)))
        x = F.relu(self.norm("bn2", self.conv("conv2", x, padding=1)))
        x = F.relu(self.norm("bn3", self.conv("conv3", x, padding=1)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        maps = []
        for layer, (stride, dilation) in enumerate(((1, 1), (2, 1), (2, 1), (1, 2)), start=1):
            block = 0
            while f"layer{layer}.{block}.conv1.weight" in self.state:
                x = self.block(f"layer{layer}.{block}", x, stride if block == 0 else 1, dilation)
                block += 1
            maps.append(x)
        return maps

    def context(self, x):
        levels = [
            up(self.leaky(f"context_encoding.stages.{i}.1", f"context_encoding.stages.{i}.2", pooled), x)
            for i, pooled in enumerate(F.adaptive_avg_pool2d(x, cells) for cells in (1, 2, 3, 6))
        ]
        bottleneck = "context_encoding.bottleneck"
        return self.leaky(f"{bottleneck}.0", f"{bottleneck}.1", torch.cat([*levels, x], 1), padding=1)

    def __call__(self, images):
        first, second, third, fourth = self.backbone(images.double())
        deep = up(self.leaky("decoder.conv1.0", "decoder.conv1.1", self.context(fourth)), first)
        feature = torch.cat([deep, self.leaky("decoder.conv2.0", "decoder.conv2.1", first)], 1)
        feature = self.leaky("decoder.conv3.0", "decoder.conv3.1", feature)
        feature = self.leaky("decoder.conv3.2", "decoder.conv3.3", feature)
        edges = [
            self.leaky(f"edge.conv{i}.0", f"edge.conv{i}.1", maps)
            for i, maps in enumerate((first, second, third), start=1)
        ]
        logits = [up(self.conv("edge.conv4", edge, padding=1), first) for edge in edges]
        fused = torch.cat([feature, *(up(edge, first) for edge in edges)], 1)
        fused = self.leaky("fushion.0", "fushion.1", fused)
        edge_logits = self.conv("edge.conv5", torch.cat(logits, 1))
        return self.conv("decoder.conv4", feature), self.conv("fushion.3", fused), edge_logits


def up(x, like):
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)


def images(count=2, size=(65, 49)):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))


def small_network(classes=20):
    return ACE2P(classes, "resnet50", width=0.125)


def largest_difference(found, expected):
    return max((a.double() - b).abs().max().item() for a, b in zip(found[:3], expected, strict=True))


@pytest.fixture(scope="module")
def full_file():
    return official_file()


@pytest.fixture(scope="module")
def full_network(full_file):
    return ACE2P.from_official(
        {"epoch": 150, "state_dict": {f"module.{key}": value for key, value in full_file.items()}}
    )


# --- loading


def test_the_layout_is_that_of_the_facts_page(full_file, full_network):
    assert len(full_file) == 603
    parameters = [key for key in full_file if not key.endswith(("running_mean", "running_var"))]
    assert sum(full_file[key].numel() for key in parameters) == 66_723_928
    assert sum(parameter.numel() for parameter in full_network.parameters()) == 66_723_928


@torch.no_grad()
def test_logits_of_the_full_network(full_file, full_network):
    assert not full_network.training
    expected = Forward(full_file)(images(1))
    assert all(0.1 < part.std() < 10 for part in expected[:3])
    assert largest_difference(full_network(images(1)), expected) <= EPS


@torch.no_grad()
@pytest.mark.parametrize("classes", [20, 18, 7])
def test_logits_of_every_class_count(classes):
    state = official_file(classes, SMALL, 0.125, seed=classes)
    before = {key: value.clone() for key, value in state.items()}
    network = small_network(classes)
    load_official(network, state)
    expected = Forward(state)(images())
    assert largest_difference(network.eval()(images()), expected) <= EPS
    # The comparison sees the term that is added to the scales, and the sign.
    assert largest_difference(network(images()), Forward(state, eps=0)(images())) > 2 * EPS
    torch.testing.assert_close(state, before, rtol=0, atol=0)
    assert all(layer.num_batches_tracked == 0 for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))


@torch.no_grad()
@pytest.mark.parametrize("classes", [18, 7])
def test_the_class_count_is_read_from_the_file(classes, full_file, full_network):
    heads = {key: full_file[key][:classes] for key in full_file if key.startswith(("decoder.conv4", "fushion.3"))}
    network = ACE2P.from_official(full_file | heads)
    assert network.num_classes == classes
    assert network.config == full_network.config | {"num_classes": classes}
    found, expected = network(images(1)), full_network(images(1))
    for ours, theirs in ((found.parsing, expected.parsing), (found.fusion, expected.fusion)):
        torch.testing.assert_close(ours, theirs[:, :classes], rtol=0, atol=EPS)


@torch.no_grad()
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["module.", ""])
def test_files_with_and_without_wrappings(tmp_path, prefix, zipped):
    state = official_file(7, SMALL, 0.125)
    expected = Forward(state)(images())
    content = {prefix + key: value for key, value in state.items()}
    for wrapped in ({"state_dict": content, "cycle_n": 3}, content):
        path = tmp_path / "schp_3_checkpoint.pth.tar"
        torch.save(wrapped, path, _use_new_zipfile_serialization=zipped)
        network = small_network(7)
        load_official(network, str(path))
        assert largest_difference(network.eval()(images()), expected) <= EPS


def test_loading_draws_no_random_numbers(full_file):
    state = torch.get_rng_state()
    network = ACE2P.from_official(full_file)
    assert torch.equal(torch.get_rng_state(), state)
    network.parsing_head.weight.data.zero_()
    assert full_file["decoder.conv4.weight"].abs().min() > 0


# --- and back


def test_official_names_are_exactly_theirs(full_file, full_network):
    found = full_network.to_official_state_dict()
    assert {key: value.shape for key, value in found.items()} == {
        f"module.{key}": value.shape for key, value in full_file.items()
    }
    assert full_network.to_official_state_dict("").keys() == full_file.keys()


@torch.no_grad()
def test_what_was_loaded_comes_back_bit_for_bit(full_network):
    again = ACE2P.from_official(full_network.to_official_state_dict())
    torch.testing.assert_close(again.state_dict(), full_network.state_dict(), rtol=0, atol=0)


def test_the_way_back_is_exact_for_every_scale_of_a_file():
    generator = torch.Generator().manual_seed(0)
    scales = torch.rand(400_000, generator=generator) * 10 ** (torch.rand(400_000, generator=generator) * 9 - 7)
    network = small_network(7)
    state = official_file(7, SMALL, 0.125)
    channels = state["fushion.1.weight"].numel()
    for part in scales[: 100 * channels].split(channels):
        assert torch.equal(folded(unfolded(folded(part))), folded(part))
    assert torch.equal(folded(unfolded(folded(scales))), folded(scales))
    state["fushion.1.weight"] = scales[:channels]
    load_official(network, state)
    assert torch.equal(network.fusion.merge.norm.weight, folded(scales[:channels]))
    assert torch.equal(official_state(network, "")["fushion.1.weight"], unfolded(folded(scales[:channels])))


def folded(scales):
    return scales.abs() + 1e-5


def unfolded(scales):
    return (scales - 1e-5).clamp_min(0)


@torch.no_grad()
def test_a_network_trained_here_comes_back_with_the_same_logits():
    torch.manual_seed(0)
    network = small_network(7)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(-1, 1)
            module.bias.normal_(std=0.2)
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight[module.weight.abs() < EPS] = EPS  # what can be written
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = network.to_official_state_dict()
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)
    expected = network.eval()(images())
    assert min(part.std() for part in expected[:3]) > 0.05
    assert (
        largest_difference(expected, Forward({k.removeprefix("module."): v for k, v in state.items()})(images())) <= EPS
    )
    again = small_network(7)
    load_official(again, state)
    torch.testing.assert_close(tuple(again.eval()(images())), tuple(expected), rtol=0, atol=EPS)


def test_scales_nearer_to_zero_than_can_be_written():
    network = small_network(7)
    norm = network.fusion.merge.norm
    with torch.no_grad():
        norm.weight[:3] = torch.tensor([0.0, 4e-6, -4e-6])
        norm.running_mean.fill_(2)
    state = official_state(network, "")
    assert state["fushion.1.weight"][:3].tolist() == [0, 0, 0]
    assert state["fushion.1.running_mean"][:4].tolist() == [2, 2, -2, 2]
    torch.testing.assert_close(state["fushion.0.weight"][2], -network.fusion.merge.conv.weight[2], rtol=0, atol=0)


# --- invalid input


def empty(classes=20):
    """A file whose values do not matter, without spending memory on it."""
    with torch.device("meta"):
        return {key: torch.empty(value) for key, value in SHAPES.items()} | {
            key: torch.empty(classes, *SHAPES[key][1:])
            for key in SHAPES
            if key.startswith(("decoder.conv4", "fushion.3"))
        }


with torch.device("meta"):
    SHAPES = {key: tuple(value.shape) for key, value in ACE2P().to_official_state_dict("").items()}


def test_wrong_files_name_the_first_key_that_differs():
    whole = empty()
    wrong_head = empty(7) | {"fushion.3.weight": whole["fushion.3.weight"]}
    for state, message in [
        (
            {k: v for k, v in whole.items() if k != "layer3.22.bn2.bias"},
            r"'layer3.22.bn2.bias' of shape \(256,\); got no",
        ),
        (whole | {"bn1.num_batches_tracked": torch.zeros(())}, r"no 'bn1.num_batches_tracked'; got \(\)"),
        (
            whole | {"conv1.weight": torch.zeros(64, 3, 7, 7)},
            r"'conv1.weight' of shape \(64, 3, 3, 3\); got \(64, 3, 7",
        ),
        (wrong_head, r"'fushion.3.weight' of shape \(7, 256, 1, 1\); got \(20, 256, 1, 1\)"),
        (whole | {"decoder.conv4.weight": torch.zeros(20)}, r"'decoder.conv4.weight' of shape \(20, 256, 1, 1\)"),
        (nn.Linear(2, 2).state_dict(), r"'conv1.weight' of shape .* no such key; to fix: .* official code"),
        ({"module.conv1.weight": torch.zeros(1), "conv2.weight": torch.zeros(1)}, "'conv1.weight' .* no such key"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            ACE2P.from_official(state)


class Gadget:
    """A pickle that would run code."""

    def __reduce__(self):
        return Path.touch, (Path("touched"),)


def test_files_that_are_no_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "wrong.pth"
    with pytest.raises(CheckpointError, match="no such file"):
        ACE2P.from_official(path)
    torch.save({"state_dict": Gadget()}, path)
    with pytest.raises(CheckpointError, match="could run code"):
        ACE2P.from_official(path)
    assert not Path("touched").exists()
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match=r"wrong.pth"):
        ACE2P.from_official(path)
    torch.save([torch.zeros(1)], path)
    with pytest.raises(CheckpointError, match="tensors by name; got list"):
        ACE2P.from_official(path)
    for content, message in [({}, "got dict"), ({"epoch": 3}, "int as 'epoch'"), ({3: torch.zeros(1)}, "Tensor as 3")]:
        with pytest.raises(CheckpointError, match=f"tensors by name; {message}" if "got" in message else message):
            ACE2P.from_official(content)


def test_networks_that_have_no_official_layout():
    for options, message in [
        ({"backbone": "mobilenetv2"}, "ResNet as backbone: the official architecture; got MobileNetV2"),
        ({"backbone": "resnet18-7x7"}, "DeepStem as backbone.stem: .* got WideStem"),
        ({"context": "aspp"}, "PyramidPooling as context"),
        ({"decoder": False}, "SkipDecoder as decoder"),
        ({"fusion": False}, "FusionBranch as fusion: the official architecture; got none"),
    ]:
        network = ACE2P(7, **{"backbone": "resnet18", "width": 0.125} | options)
        with pytest.raises(InvalidInputError, match=message):
            network.to_official_state_dict()
        with pytest.raises(InvalidInputError, match=message):
            load_official(network, {"conv1.weight": torch.zeros(1)})
