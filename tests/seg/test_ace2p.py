"""ACE2P: shapes, configurations, gradients, saving, and what torch does to a network."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from noisycorrect import WeightAggregator, recalibrate_batchnorm
from noisycorrect.support.checkpoint import save_checkpoint
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg.ace2p import ACE2P, BACKBONES, CE2P, CONTEXTS, ParsingNetwork
from noisycorrect_seg.ace2p.heads import EdgeBranch, FusionBranch
from noisycorrect_seg.classes import Classes, classes_named


def small(context="psp", **options):
    torch.manual_seed(0)
    return ACE2P(7, "resnet18", context, width=0.125, **options)


def images(count=2, size=(65, 49), seed=0):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(seed))


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def shapes(output):
    assert output.aux is None
    return [None if part is None else tuple(part.shape) for part in output[:3]]


# --- the published network


def test_the_published_network_has_66723928_parameters():
    with torch.device("meta"):
        network = ACE2P()
        assert parameters(network) == 66_723_928
        assert parameters(ACE2P(num_classes=7)) == 66_723_928 - 2 * 13 * 257  # two classifiers of 256 inputs
        output = network(torch.empty(1, 3, 473, 473))
    assert shapes(output) == [(1, 20, 119, 119), (1, 20, 119, 119), (1, 2, 119, 119)]
    assert output.final is output.fusion


def test_layers_of_the_heads():
    with torch.device("meta"):
        network = ACE2P()
    assert network.context.merge.conv.weight.shape == (512, 4096, 3, 3)
    assert network.decoder.merge.conv.weight.shape == (256, 304, 1, 1)
    assert network.edge.level_head.weight.shape == (2, 256, 3, 3)
    assert network.edge.head.weight.shape == (2, 6, 1, 1)
    assert network.fusion.merge.conv.weight.shape == (256, 1024, 1, 1)
    assert (type(network.fusion.dropout), network.fusion.dropout.p) == (nn.Dropout2d, 0.1)
    biased = {name for name, module in network.named_modules() if getattr(module, "bias", None) is not None}
    convolutions = {name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}
    assert biased & convolutions == {"parsing_head", "edge.level_head", "edge.head", "fusion.head"}


@pytest.mark.parametrize("size", [(33, 47), (64, 31), (17, 90)])
def test_a_side_of_n_becomes_a_quarter_rounded_up_twice(size):
    quarter = tuple(math.ceil(math.ceil(side / 2) / 2) for side in size)
    assert shapes(small().eval()(images(1, size))) == [(1, 7, *quarter), (1, 7, *quarter), (1, 2, *quarter)]


# --- configurations


@pytest.mark.parametrize(("backbone", "context"), list(itertools.product(BACKBONES, CONTEXTS)))
def test_every_backbone_with_every_context(backbone, context):
    network = ACE2P(7, backbone, context, width=0.03125)
    size = (33, 18) if backbone == "unet" else (9, 5)
    assert shapes(network(images(2, (33, 18)))) == [(2, 7, *size), (2, 7, *size), (2, 2, *size)]
    assert network.config["backbone"] == backbone
    assert ACE2P(**network.config).config == network.config


PAIRS = [("resnet18", context) for context in CONTEXTS] + [
    ("resnet50", "psp"),
    ("resnet50-7x7", "aspp"),
    ("mobilenetv2", "ocnet"),
]


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(("backbone", "context"), PAIRS)
def test_one_step_has_gradients_everywhere(backbone, context, count):
    torch.manual_seed(0)
    network = ACE2P(7, backbone, context, width=0.125)
    for name, parameter in network.named_parameters():
        if name.endswith("out.weight"):  # OCNet's starts at 0, and passes no gradient on
            nn.init.normal_(parameter)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    sum((part * torch.randn_like(part)).mean() for part in network(images(count))[:3]).backward()
    optimizer.step()
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        if not name.endswith("conv.bias") and not (count == 1 and name.startswith("context.image.")):
            # What a normalisation subtracts again has no gradient but for rounding.
            assert not torch.equal(parameter, before[name]), name


def test_parts_can_be_left_out():
    assert shapes(small(edge=False, fusion=None).eval()(images(1))) == [(1, 7, 17, 13), None, None]
    assert shapes(small(fusion=False).eval()(images(1))) == [(1, 7, 17, 13), None, (1, 2, 17, 13)]
    assert shapes(small("none", decoder=False).eval()(images(1)))[0] == (1, 7, 17, 13)
    plain = ParsingNetwork(7, "resnet18", "none", decoder=False, width=0.125)
    assert plain.config == {
        "num_classes": 7, "backbone": "resnet18", "context": "none", "edge": "none", "fusion": "none",
        "decoder": "none", "width": 0.125, "dropout": 0.1,
    }  # fmt: skip
    assert plain.eval()(images(1)).final.shape == (1, 7, 17, 13)
    assert CE2P(7, "resnet18", width=0.125).config == small().config


def test_a_network_without_a_decoder_sees_no_details():
    context, first, second = torch.randn(1, 64, 5, 4), torch.randn(1, 8, 17, 13), torch.randn(1, 8, 17, 13)
    resized, joined = (small(decoder=decoder).eval().decoder for decoder in (False, True))
    assert torch.equal(resized(context, first), resized(context, second))
    assert not torch.equal(joined(context, first), joined(context, second))


class Doubled(nn.Module):
    """Stands for a part of the user's own."""

    out_channels = 24

    def __init__(self, inputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, 24, 1)

    def forward(self, maps, shallow=None):
        mixed = self.conv(maps)
        return mixed if shallow is None else nn.functional.interpolate(mixed, size=shallow.shape[2:])


def test_parts_as_objects():
    network = ACE2P(
        7,
        "resnet18",
        Doubled(64),
        decoder=Doubled(24),
        edge=EdgeBranch((8, 16), width=0.25),
        fusion=FusionBranch(7, 24, (64, 64), width=0.125),
        width=0.125,
    )
    assert shapes(network.eval()(images(1))) == [(1, 7, 17, 13), (1, 7, 17, 13), (1, 2, 17, 13)]
    with pytest.raises(InvalidInputError, match="an object as context and edge and fusion and decoder"):
        _ = network.config


def test_width_scales_every_part():
    half, quarter = parameters(small().backbone), parameters(ACE2P(7, "resnet18", width=0.25).backbone)
    assert 3.5 < quarter / half < 4.1
    assert {module.num_features % 8 for module in small().modules() if isinstance(module, nn.BatchNorm2d)} == {0}


def test_dropout_acts_in_training_only():
    network, twin = small(dropout=0.5), small(dropout=0)
    network.eval(), twin.eval()
    torch.testing.assert_close(network(images()).fusion, twin(images()).fusion, rtol=0, atol=0)
    network.fusion.dropout.train()
    assert not torch.equal(network(images()).fusion, twin(images()).fusion)


# --- what torch and the corrector do to a network


def test_channels_last_gives_the_same():
    network = small().eval()
    expected = network(images())
    found = network.to(memory_format=torch.channels_last)(images().to(memory_format=torch.channels_last))
    torch.testing.assert_close(tuple(found), tuple(expected), rtol=0, atol=2e-6)


def test_half_precision_under_autocast():
    network = small("asp-oc")
    with torch.autocast("cpu", torch.bfloat16):
        output = network(images())
    assert {part.dtype for part in output[:3]} == {torch.bfloat16}
    sum(part.float().square().mean() for part in output[:3]).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_export_round_trip_with_free_sizes(tmp_path):
    network = small().eval()
    free = torch.export.Dim.DYNAMIC
    program = torch.export.export(network, (images(),), dynamic_shapes=({0: free, 2: free, 3: free},))
    torch.export.save(program, tmp_path / "network.pt2")
    other = images(3, (81, 120))
    found = torch.export.load(tmp_path / "network.pt2").module()(other)
    torch.testing.assert_close(found, network(other), rtol=0, atol=1e-6)


def test_aggregation_and_recalibration():
    network = small()
    aggregator = WeightAggregator(network)
    aggregator.update(network)
    aggregator.update(small())
    torch.testing.assert_close(dict(aggregator.model.named_parameters()), dict(network.named_parameters()))
    layers = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert recalibrate_batchnorm(aggregator.model, [images(1, seed=i) for i in range(4)]) == layers


# --- saving


def test_save_and_load(tmp_path):
    network = small("aspp", fusion=False)
    network(images())  # moves the running statistics
    state = torch.get_rng_state()
    network.save(tmp_path / "network.pt")
    loaded = ACE2P.load(tmp_path / "network.pt")
    assert torch.equal(torch.get_rng_state(), state)
    assert (loaded.training, network.training, loaded.config) == (False, True, network.config)
    torch.testing.assert_close(tuple(loaded(images())[::2]), tuple(network.eval()(images())[::2]), rtol=0, atol=0)
    assert loaded.state_dict().keys() == network.state_dict().keys()
    assert [path.name for path in tmp_path.iterdir()] == ["network.pt"]


def test_copies_are_independent():
    network = small()
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin.parsing_head.bias.add_(1)
    torch.testing.assert_close(twin.parsing_head.bias - network.parsing_head.bias, torch.ones(7))


# --- invalid input


def test_bad_arguments():
    for options, message in [
        ({"backbone": "mobilnetv2"}, "did you mean 'mobilenetv2'"),
        ({"context": "ocrnet"}, "a known context; got 'ocrnet'; to fix: did you mean 'ocnet'"),
        ({"context": 3}, "a known context; got 3"),
        ({"context": nn.Conv2d(8, 8, 1), "backbone": "resnet18"}, None),
        ({"context": nn.Identity()}, "a context with its output's channels in `out_channels`; got Identity without"),
        ({"decoder": "skp"}, "a known decoder; got 'skp'; to fix: did you mean 'skip'"),
        ({"decoder": nn.Identity()}, "a decoder with its output's channels"),
        ({"edge": "canny"}, "a known edge"),
        ({"edge": nn.Conv2d(8, 8, 1)}, r"an edge branch .* got Conv2d with out_channels=8; .* \(256,\)"),
        ({"edge": False}, "edge branch for the fusion branch; got edge=False; to fix: pass fusion=False too"),
        ({"fusion": 2}, "a known fusion; got 2"),
        ({"num_classes": 1}, "num_classes to be a whole number >= 2"),
        ({"width": 0}, "width"),
        ({"dropout": 1.0}, "dropout"),
    ]:
        arguments = {"num_classes": 7, "backbone": "resnet18", "width": 0.125} | options
        if message is None:
            ACE2P(**arguments)  # a convolution says its channels itself
            continue
        with pytest.raises(InvalidInputError, match=message):
            ACE2P(**arguments)


def test_bad_images():
    network = small()
    for wrong in (torch.zeros(3, 32, 32), torch.zeros(1, 3, 32, 32, dtype=torch.uint8)):
        with pytest.raises(InvalidInputError, match=r"normalised images \(N, 3, H, W\)"):
            network(wrong)


def test_bad_files(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        ACE2P.load(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match=r"to write .*No such file"):
        small().save(tmp_path / "folder" / "network.pt")
    save_checkpoint(tmp_path / "run.pt", {"student": {}})
    with pytest.raises(CheckpointError, match=r"written by ACE2P.save .*; got another checkpoint"):
        ACE2P.load(tmp_path / "run.pt")
    (tmp_path / "half.pt").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match="half.pt"):
        ACE2P.load(tmp_path / "half.pt")


def test_a_copy_for_other_classes_keeps_all_but_the_heads():
    network = small()
    other = network.with_classes(6)
    own, new = network.state_dict(), other.state_dict()
    heads = {"parsing_head.weight", "parsing_head.bias", "fusion.head.weight", "fusion.head.bias"}
    assert {key for key in own if own[key].shape != new[key].shape} == heads
    assert all(torch.equal(own[key], new[key]) for key in own.keys() - heads)
    assert (network.num_classes, other.num_classes, other.config["num_classes"]) == (7, 6, 6)


def test_a_file_says_what_the_network_was_trained_on(tmp_path):
    network, classes = small().with_classes(3), Classes("own", ("background", "left", "right"), ((1, 2),))
    network.save(tmp_path / "own.pt", classes=classes, size=(64, 48))
    assert ACE2P.details(tmp_path / "own.pt") == (classes, (64, 48))
    network.save(tmp_path / "bare.pt")
    assert ACE2P.details(tmp_path / "bare.pt") == (None, None)
    with pytest.raises(InvalidInputError, match="3 classes, as the network has; got 20"):
        network.save(tmp_path / "own.pt", classes=classes_named("lip"))


@pytest.mark.parametrize("size", [64, (64,), (64, 48, 3), "64", (0, 48), (64.5, 48)])
def test_a_size_that_is_none_is_not_written(tmp_path, size):
    network, path = small(), tmp_path / "own.pt"
    for write in (lambda: network.save(path, size=size), lambda: network.save_pretrained(tmp_path / "own", size=size)):
        with pytest.raises(InvalidInputError, match="height|size"):
            write()
    network.size = size
    with pytest.raises(InvalidInputError, match="height|size"):
        network.save(path)
    assert not list(tmp_path.iterdir())
    network.size = None
    network.save(path)
    with pytest.raises(InvalidInputError, match="height|size"):
        ACE2P.from_pretrained(path, size=size)


def test_names_of_classes_are_written_as_a_class_list_is(tmp_path):
    network, names = small().with_classes(3), ["background", "left arm", "right arm"]
    network.save(tmp_path / "own.pt", classes=names)
    assert ACE2P.load(tmp_path / "own.pt").classes == classes_named(names)
    network.classes = names
    network.save(tmp_path / "own.pt")
    assert ACE2P.load(tmp_path / "own.pt").classes == classes_named(names)
