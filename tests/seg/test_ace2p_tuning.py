"""Fine-tuning: layers that stay, whatever a run does, and rates by part."""

import pytest
import torch
from torch import nn
from torch.optim import SGD

from noisycorrect import RECIPES, Schedule, SelfCorrector, recalibrate_batchnorm
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.ace2p import ACE2P, FeatureMaps, ResNet, freeze_levels, make_backbone, parameter_groups
from noisycorrect_seg.datasets import ParsingDataset, SyntheticPeople
from noisycorrect_seg.task import HumanParsing

BACKBONES = ("resnet18", "resnet18-7x7", "mobilenetv2", "efficientnet-lite0")


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("name", BACKBONES)
def test_levels_are_all_of_a_backbone_in_order(name):
    """Frozen to a level, exactly the maps up to it need no gradient; no layer is left out."""
    levels = make_backbone(name, width=0.125).levels()
    for count in (1, 3, 4):
        backbone = make_backbone(name, width=0.125)
        freeze_levels(backbone, count)
        maps = backbone(torch.randn(2, 3, 33, 32))
        assert [part.requires_grad for part in maps] == [level >= count for level in range(4)]
        trained = sum(part.numel() for part in backbone.parameters() if part.requires_grad)
        assert trained == sum(p.numel() for level in levels[count:] for layer in level for p in layer.parameters())


def test_frozen_layers_stay_through_training_and_recalibration():
    network = ACE2P(3, "efficientnet-lite0", width=0.125, freeze=2)
    before, images = snapshot(network.backbone), torch.randn(4, 3, 32, 32)
    frozen = ("trunk._conv_stem", "trunk._bn0", *(f"trunk._blocks.{i}." for i in range(5)))
    optimizer = SGD(network.train().parameters(), lr=1.0, weight_decay=0.1)
    network(images).fusion.square().mean().backward()
    optimizer.step()
    recalibrate_batchnorm(network, [images])
    changed = {name for name, value in network.backbone.state_dict().items() if not torch.equal(value, before[name])}
    assert not {name for name in changed if name.startswith(frozen)}
    assert {"trunk._blocks.5._expand_conv.weight", "trunk._blocks.5._bn0.running_mean"} <= changed


def test_frozen_maps_are_those_of_evaluation_mode():
    backbone = make_backbone("resnet18", width=0.125)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.running_mean, -1, 1)
    images = torch.randn(2, 3, 32, 32)
    expected = backbone.eval()(images)
    freeze_levels(backbone, 4)
    for found, map_expected in zip(backbone.train()(images), expected, strict=True):
        torch.testing.assert_close(found, map_expected)


def test_a_frozen_network_is_written_for_the_official_code():
    plain = ACE2P(4, "resnet18", width=0.125)
    frozen = ACE2P(4, "resnet18", width=0.125, freeze=3)
    frozen.load_state_dict(plain.state_dict())
    torch.testing.assert_close(frozen.to_official_state_dict(), plain.to_official_state_dict(), rtol=0, atol=0)


def test_rates_by_level():
    network = ACE2P(3, "mobilenetv2", width=0.125, freeze=1)
    groups = parameter_groups(network, 0.8, backbone=(0.1, 0.2, 0.3, 0.5))
    assert [(group["name"], round(group["lr"], 6)) for group in groups] == [
        ("backbone level 2", 0.16), ("backbone level 3", 0.24), ("backbone level 4", 0.4), ("behind the backbone", 0.8),
    ]  # fmt: skip
    own = [parameter for group in groups for parameter in group["params"]]
    assert {id(parameter) for parameter in own} == {id(p) for p in network.parameters() if p.requires_grad}
    assert len(own) == len({id(parameter) for parameter in own})


def test_a_run_keeps_the_ratio_of_rates():
    people, seen = SyntheticPeople(4, size=(32, 32)), []

    def optimizer(model, lr):
        made = SGD(parameter_groups(model, lr, backbone=0.1), momentum=0.9)
        made.register_step_pre_hook(lambda used, *_: seen.append([group["lr"] for group in used.param_groups]))
        return made

    corrector = SelfCorrector(
        ACE2P(len(people.classes), "resnet18", "none", width=0.125, freeze=1),
        task=HumanParsing(people.classes, size=(32, 32)),
        recipe=RECIPES["paper"].replace(schedule=Schedule(2, 1, 1)),
        optimizer=optimizer, lr=0.02, batch_size=2, callbacks=(),
    )  # fmt: skip
    corrector.fit(ParsingDataset(people, (32, 32)))
    assert len(seen) == 6
    assert max(fast for _, fast in seen) == pytest.approx(0.02, rel=0.3)
    for slow, fast in seen:
        assert slow == pytest.approx(0.1 * fast)


# --- invalid input


def test_what_cannot_be_tuned():
    with pytest.raises(InvalidInputError, match="0 to 4 levels to freeze; got 5"):
        ACE2P(3, "resnet18", width=0.125, freeze=5)
    with pytest.raises(InvalidInputError, match="levels to be a whole number >= 0; got -1"):
        freeze_levels(ResNet(18, width=0.125), -1)
    maps = FeatureMaps(ResNet(18, width=0.125))
    freeze_levels(maps, 1)  # a module that says it, wrapped
    assert not maps.module.stem.conv1.weight.requires_grad

    class Pyramid(nn.Module):
        def forward(self, images):
            return [images] * 4

    with pytest.raises(InvalidInputError, match=r"`levels\(\)` returns .*; got FeatureMaps without"):
        ACE2P(3, FeatureMaps(Pyramid()), width=0.125, freeze=1)


def test_what_has_no_backbone():
    with pytest.raises(InvalidInputError, match="backbone as `backbone`; got Linear"):
        parameter_groups(nn.Linear(2, 2), 0.1)
    network = ACE2P(3, "resnet18", width=0.125)
    with pytest.raises(InvalidInputError, match="one factor, or one for each of 4 levels; got 2"):
        parameter_groups(network, 0.1, backbone=(0.1, 0.2))
    with pytest.raises(InvalidInputError, match="0 <= backbone; got -1"):
        parameter_groups(network, 0.1, backbone=-1)


def test_rates_by_level_leave_no_parameter_behind():
    backbone = ResNet(18, width=0.125)
    levels = backbone.levels()
    backbone.levels = lambda: [levels[0][1:], *levels[1:]]  # without the stem
    network = ACE2P(3, backbone, width=0.125)
    with pytest.raises(
        InvalidInputError, match=r"hold all of its parameters; got \d+ in none of them, such as stem\.c"
    ):
        parameter_groups(network, 0.1, backbone=(0.1, 0.2, 0.3, 0.4))
    backbone.stem.requires_grad_(False)
    assert len(parameter_groups(network, 0.1, backbone=(0.1, 0.2, 0.3, 0.4))) == 5
