"""Averaging over scales and mirrors, against float64 loops."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import ATR, LIP, PASCAL, Classes
from noisycorrect_seg.inference.averaging import averaged_logits, final_logits
from noisycorrect_seg.outputs import ParsingOutput


def slow_resized(maps, size):
    """Bilinear with aligned corners, (K, h, w) in float64, pixel by pixel."""
    channels, h, w = maps.shape
    result = np.zeros((channels, *size))
    for y in range(size[0]):
        for x in range(size[1]):
            v = y * (h - 1) / (size[0] - 1) if size[0] > 1 else 0.0
            u = x * (w - 1) / (size[1] - 1) if size[1] > 1 else 0.0
            top, left = min(int(v), max(h - 2, 0)), min(int(u), max(w - 2, 0))
            below, right = min(top + 1, h - 1), min(left + 1, w - 1)
            b, a = v - top, u - left
            result[:, y, x] = (1 - b) * ((1 - a) * maps[:, top, left] + a * maps[:, top, right]) + b * (
                (1 - a) * maps[:, below, left] + a * maps[:, below, right]
            )
    return result


def slow_average(model, crop, classes, scales, flip):
    """The evaluator's average of one crop, (3, H, W), in float64."""
    height, width = crop.shape[1:]
    total = 0.0
    for scale in scales:
        small = slow_resized(crop, (math.floor(scale * height), math.floor(scale * width)))
        with torch.no_grad():
            logits = model(torch.from_numpy(small)[None])[0].numpy()
            if flip:
                mirror = model(torch.from_numpy(small[:, :, ::-1].copy())[None])[0].numpy()
                for k in range(len(classes)):
                    partner = k
                    for one, other in classes.flip_pairs:
                        partner = {one: other, other: one}.get(k, partner)
                    logits[k] = 0.5 * logits[k] + 0.5 * mirror[partner][:, ::-1]
        total = total + slow_resized(logits, (height, width))
    return total / len(scales)


def network(classes):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(6, len(classes), 3, padding=1)
        )


TWO = Classes("two", ("a", "b"))


@pytest.mark.parametrize("classes", [LIP, ATR, PASCAL, TWO], ids=lambda classes: classes.name)
@pytest.mark.parametrize(("scales", "flip"), [((1.0,), True), ((0.5, 1.0, 1.3), False), ((0.71, 1.25), True)])
def test_averages_are_those_of_the_published_evaluator(classes, scales, flip):
    model = network(classes)
    crops = torch.randn(2, 3, 13, 10, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = averaged_logits(model, crops, classes, scales=scales, flip=flip)
    exact = model.double()
    for each in range(2):
        expected = slow_average(exact, crops[each].double().numpy(), classes, scales, flip)
        assert np.abs(found[each].numpy() - expected).max() < 1e-5
    assert found.dtype is torch.float32


def test_sizes_are_rounded_down_and_mirrors_share_the_batch():
    seen = []

    def model(crops):
        seen.append(tuple(crops.shape))
        return crops[:, :2]

    averaged_logits(model, torch.zeros(3, 3, 11, 7), TWO, scales=(0.75, 1.0, 1.1), flip=True)
    assert seen == [(6, 3, 8, 5), (6, 3, 11, 7), (6, 3, 12, 7)]  # 8.25, 5.25; 12.1, 7.7


def test_the_mean_is_of_logits_not_of_probabilities():
    """By hand: 4 and -1 average to 1.5; probabilities would have given log(.626 / .374) = 0.51."""
    values = iter([4.0, -1.0])

    def model(crops):
        logits = torch.zeros(1, 2, *crops.shape[-2:])
        logits[:, 1] = next(values)
        return logits

    found = averaged_logits(model, torch.zeros(1, 3, 4, 4), TWO, scales=(1.0, 2.0))
    assert found[0, :, 0, 0].tolist() == [0.0, 1.5]


def test_the_final_branch_counts():
    parsing, fusion = torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3)
    assert final_logits(ParsingOutput(parsing, fusion), 1, 2) is fusion
    assert final_logits(ParsingOutput(parsing), 1, 2) is parsing
    assert final_logits({"aux": parsing, "out": fusion}, 1, 2) is fusion
    assert final_logits(fusion.to(torch.bfloat16), 1, 2).dtype is torch.float32


def test_a_models_output_is_not_changed():
    kept = torch.randn(2, 2, 3, 3)
    before = kept.clone()
    averaged_logits(lambda crops: kept, torch.zeros(1, 3, 6, 6), TWO, scales=(1.0, 1.0), flip=True)
    assert torch.equal(kept, before)


def test_a_symmetric_answer_is_its_own_average():
    """A model that sees left and right keeps its logits under flip, once the classes of a pair are exchanged."""
    pair = Classes("pair", ("ground", "left", "right"), ((1, 2),))

    def model(crops):
        # Class 1 on the left half, class 2 on the right half, whatever the crop: mirrored and exchanged, the same.
        logits = torch.zeros(len(crops), 3, *crops.shape[-2:])
        logits[:, 1, :, :4], logits[:, 2, :, 4:] = 1, 1
        return logits

    plain = averaged_logits(model, torch.zeros(1, 3, 8, 8), pair)
    assert torch.equal(averaged_logits(model, torch.zeros(1, 3, 8, 8), pair, flip=True), plain)


# ---------------------------------------------------------------- invalid input


def test_outputs_that_do_not_fit():
    crops = torch.zeros(1, 3, 4, 4)
    with pytest.raises(InvalidInputError, match=r"logits of shape \(1, 20, h, w\); got shape \(1, 3, 4, 4\).*classes="):
        averaged_logits(lambda crops: crops, crops, LIP)
    with pytest.raises(InvalidInputError, match="a ParsingOutput, or logits.*got list"):
        averaged_logits(lambda crops: [[crops, crops], [crops]], crops, LIP)
    with pytest.raises(InvalidInputError, match="finite logits; got NaN or infinity"):
        averaged_logits(lambda crops: crops[:, :2] / 0, crops, TWO)


@pytest.mark.parametrize("scales", [(), (0,), (1.0, -1), (math.nan,), ("big",)])
def test_scales_out_of_range(scales):
    with pytest.raises(InvalidInputError, match="scale"):
        averaged_logits(lambda crops: crops[:, :2], torch.zeros(1, 3, 4, 4), TWO, scales=scales)


def test_scales_that_leave_no_pixel():
    with pytest.raises(InvalidInputError, match=r"leave a pixel of 4 x 4; got 0.2"):
        averaged_logits(lambda crops: crops[:, :2], torch.zeros(1, 3, 4, 4), TWO, scales=(0.2,))
