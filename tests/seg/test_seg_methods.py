"""Methods of parsing with noisy masks: formulas against slow oracles, what is remembered, and whole runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from squares import SHAPES, SIZE, Squares
from torch import nn
from watching import QUIET, Kill

from noisycorrect import RECIPES, Correction, SelfCorrector
from noisycorrect.classification.task import Classification
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.labels import Trust
from noisycorrect.recipe import PLAIN
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg.datasets import ParsingDataset
from noisycorrect_seg.geometry.crops import onto_crops, warp_evidence
from noisycorrect_seg.losses import ParsingLoss
from noisycorrect_seg.methods import AdaptiveEarlyLearning, PixelEarlyLearning
from noisycorrect_seg.methods.adele import corrected_masks, fitted_curve, growth_curve, scale_consistency, slowdown
from noisycorrect_seg.methods.frames import into_canonical
from noisycorrect_seg.task import HumanParsing

GIVEN = Correction()  # masks stay as they are given
TASK = HumanParsing(SHAPES, size=SIZE, loss=ParsingLoss(lovasz=False, edge=False, consistency=False))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 3, 3, 1, 1))

    def forward(self, image):
        return self.layers(image)


def net():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Net()


def setup(task=TASK, length=6):
    return Setup(
        task, None, length, 4, torch.device("cpu"), 0,
        predict=lambda model: pytest.fail("no prediction"), features=lambda: pytest.fail("no features"),
    )  # fmt: skip


def batch(indices=(1, 4), seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        data = ParsingDataset(Squares(), SIZE, augment=True)
        items = [data[index] for index in indices]
    stacked = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    image, given = stacked.pop("image"), stacked.pop("given")
    return Batch(torch.tensor(indices), image, given, Trust(torch.ones(len(indices))), extra=stacked)


def started(objective, **options):
    objective.start(setup(**options))
    return objective


# ---------------------------------------------------------------- frames


def bilinear(maps, x, y):
    """Return maps (K, h, w) at a fractional position, by the definition, the border going on."""
    height, width = maps.shape[1:]
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    a, b = x - left, y - top
    return (
        (1 - a) * (1 - b) * maps[:, top, left]
        + a * (1 - b) * maps[:, top, left + 1]
        + (1 - a) * b * maps[:, top + 1, left]
        + a * b * maps[:, top + 1, left + 1]
    )


def test_crop_maps_come_back_as_the_definition_says():
    torch.manual_seed(0)
    crop, canonical, size, coarse = (10, 8), (12, 9), (6, 5), (5, 4)
    maps = torch.rand(2, 3, *coarse)
    angle = math.radians(20)
    matrices = torch.tensor(
        [
            [
                [1.2 * math.cos(angle), -1.2 * math.sin(angle), 1.0],
                [1.2 * math.sin(angle), 1.2 * math.cos(angle), -2.0],
            ],
            [[-0.9, 0.0, 8.0], [0.0, 0.9, 1.0]],
        ]
    )
    mirror = torch.tensor([False, True])
    found, seen = into_canonical(
        maps, matrices, mirror, crop=crop, canonical=canonical, size=size, flip_index=[0, 2, 1]
    )
    for sample in range(2):
        inverse = np.linalg.inv(np.vstack([matrices[sample].numpy().astype(np.float64), [0, 0, 1]]))
        own = maps[sample].numpy().astype(np.float64)
        own = own[[0, 2, 1]] if mirror[sample] else own
        for row in range(size[0]):
            for column in range(size[1]):
                point = [column * (canonical[1] - 1) / (size[1] - 1), row * (canonical[0] - 1) / (size[0] - 1), 1.0]
                x, y, _ = inverse @ point
                expected = bilinear(own, x * (coarse[1] - 1) / (crop[1] - 1), y * (coarse[0] - 1) / (crop[0] - 1))
                np.testing.assert_allclose(found[sample, :, row, column], expected, atol=1e-5)
                inside = -1e-3 <= x <= crop[1] - 1 + 1e-3 and -1e-3 <= y <= crop[0] - 1 + 1e-3
                assert bool(seen[sample, 0, row, column]) == inside
    assert 0 < seen.float().mean() < 1


def on_crops(maps, extra, size):
    return onto_crops(
        maps, extra["matrix"], extra["mirror"], size=size, crop=SIZE, canonical=SIZE, flip_index=SHAPES.flip_index
    )


def test_onto_crops_is_the_tasks_own_warp():
    torch.manual_seed(0)
    maps, crops = torch.rand(2, 3, 8, 6), batch()
    expected = warp_evidence(
        maps, crops.extra["matrix"], crops.extra["mirror"], size=SIZE, canonical=SIZE, flip_index=SHAPES.flip_index
    )
    torch.testing.assert_close(on_crops(maps, crops.extra, SIZE), expected)
    coarse = on_crops(maps, crops.extra, (6, 4))
    torch.testing.assert_close(coarse[:, :, ::5, ::3], expected[:, :, ::15, ::11])  # the corners


def test_a_matrix_without_inverse_is_refused():
    with pytest.raises(InvalidInputError, match="can be inverted"):
        into_canonical(
            torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 3), torch.tensor([False]), crop=(4, 4), canonical=(4, 4),
            size=(2, 2), flip_index=[0],
        )  # fmt: skip


# ---------------------------------------------------------------- early-learning regularisation


def test_elr_on_pixels_is_the_papers_formula():
    torch.manual_seed(1)
    objective = started(PixelEarlyLearning(strength=2.0, momentum=0.6, stride=2))
    crops = batch()
    crops.given[0, :4] = 255
    before = torch.rand(6, 3, 8, 6) * 0.3
    objective.average.copy_(before)
    logits = torch.randn(2, 3, 8, 6)
    loss = objective.loss(lambda image: logits, crops, GIVEN)

    probs = logits.double().softmax(1)
    canonical, seen = into_canonical(
        probs.float(), crops.extra["matrix"], crops.extra["mirror"],
        crop=SIZE, canonical=SIZE, size=(8, 6), flip_index=SHAPES.flip_index,
    )  # fmt: skip
    total = weight = 0.0
    for place, index in enumerate(crops.index.tolist()):
        expected = before[index].double()
        for row in range(8):
            for column in range(6):
                if seen[place, 0, row, column]:
                    p = canonical[place, :, row, column].double()
                    expected[:, row, column] = 0.6 * expected[:, row, column] + 0.4 * p / p.sum()
        torch.testing.assert_close(objective.average[index].double(), expected, atol=1e-5, rtol=0)
        targets = on_crops(objective.average[index][None], {k: v[[place]] for k, v in crops.extra.items()}, (8, 6))
        for row in range(8):
            for column in range(6):
                block = crops.given[place, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                share = float((block != 255).float().mean())
                agreement = float((probs[place, :, row, column] * targets[0, :, row, column].double()).sum())
                total, weight = total + share * math.log(1 - agreement), weight + share
    expected_loss = float(TASK.loss(logits, crops)) + 2.0 * total / weight
    assert float(loss) == pytest.approx(expected_loss, abs=1e-5)
    others = [0, 2, 3, 5]
    assert torch.equal(objective.average[others], before[others])
    assert seen.float().mean() < 1, "a crop that shows everything tests nothing"


def test_elr_remembers_rows_of_float32_and_pulls_the_network():
    objective = started(PixelEarlyLearning())
    assert {name: (tuple(t.shape), t.dtype) for name, t in objective.memory().items()} == {
        "average": ((6, 3, 4, 3), torch.float32)
    }
    model, crops = net().train(), batch()
    objective.loss(model, crops, GIVEN).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    first = objective.average[1].sum()
    objective.loss(model, crops, GIVEN)
    assert objective.average[1].sum() > first > 0
    assert objective.average.sum(1).max() <= 1 + 1e-5


@pytest.mark.parametrize("make", [PixelEarlyLearning, AdaptiveEarlyLearning])
def test_class_labels_are_refused(make):
    with pytest.raises(InvalidInputError, match="HumanParsing"):
        make().start(setup(task=Classification(num_classes=3)))


@pytest.mark.parametrize("wrong", [{"strength": -1}, {"momentum": 1.0}, {"stride": 0}])
def test_elr_refuses_numbers_out_of_range(wrong):
    with pytest.raises(InvalidInputError):
        PixelEarlyLearning(**wrong)


# ---------------------------------------------------------------- ADELE


@pytest.mark.parametrize(("a", "b", "c"), [(0.8, 0.5, 1.0), (0.6, 0.1, 1.6), (0.9, 1.2, 0.5)])
def test_the_slope_falls_as_the_curves_derivative_does(a, b, c):
    def slope(t, step=1e-6):
        ends = growth_curve(np.array([t - step, t + step]), a, b, c)
        return (ends[1] - ends[0]) / (2 * step)

    for epoch in (1, 3, 9):
        expected = (slope(1.0) - slope(float(epoch))) / abs(slope(1.0))
        assert slowdown(a, b, c, epoch) == pytest.approx(expected, abs=1e-5)
    assert slowdown(a, 0.0, c, 5) == slowdown(a, b, 0.0, 5) == 0.0


@pytest.mark.parametrize(("a", "b", "c"), [(0.8, 0.5, 1.0), (0.6, 0.1, 1.6), (0.9, 1.2, 0.5)])
def test_the_fit_finds_the_curve(a, b, c):
    epochs = np.arange(1.0, 13)
    values = np.array([a * (1 - math.exp(-b * t**c)) for t in epochs])
    found = fitted_curve(values)
    np.testing.assert_allclose(growth_curve(epochs, *found), values, atol=1e-4)
    assert slowdown(*found, epoch=12) == pytest.approx(slowdown(a, b, c, 12), abs=1e-2)


@pytest.mark.parametrize("values", [[0.1, 0.2, 0.3], [0.0] * 6, [0.1, 0.2, math.nan, 0.3]])
def test_too_little_is_not_fitted(values):
    assert fitted_curve(np.array(values)) is None


def test_a_class_that_is_hardly_met_is_fitted():
    assert fitted_curve(np.array([0, 0, 0, 3e-7]))[0] == pytest.approx(1e-6, rel=0.1)


def test_scale_consistency_is_the_papers_formula():
    torch.manual_seed(0)
    probs = [(3 * torch.randn(2, 3, 2, 3, dtype=torch.float64)).softmax(1) for _ in range(3)]
    total, count = 0.0, 0
    for n in range(2):
        for i in range(2):
            for j in range(3):
                own = [p[n, :, i, j].tolist() for p in probs]
                q = [sum(p[k] for p in own) / 3 for k in range(3)]
                if max(q) > 0.5:
                    total += sum(p[k] * math.log(p[k] / q[k]) for p in own for k in range(3)) / 3
                    count += 1
    assert 0 < count < 12
    assert float(scale_consistency(probs, 0.5)) == pytest.approx(total / count, abs=1e-6)
    assert float(scale_consistency(probs, 0.999999)) == 0


def slowly_corrected(given, probs, under_correction, confidence, contested):
    """Return one mask, pixel by pixel, by the rules as they are told."""
    classes, (height, width) = len(probs), given.shape
    labels = [[int(value) for value in row] for row in given]
    shown = {value for row in labels for value in row if value < classes}
    things = shown - {0}
    after = [list(row) for row in labels]
    if not any(under_correction[k] for k in things or range(1, classes)):
        return after
    for i in range(height):
        for j in range(width):
            column = [float(probs[k, i, j]) for k in range(classes)]
            found = column.index(max(column))
            if labels[i][j] >= classes or found == labels[i][j] or column[found] <= confidence:
                continue
            if (found in shown or not things) and (found == 0 or under_correction[found]):
                after[i][j] = found
    kept = [value for row in after for value in row if value < classes]
    before = [value for row in labels for value in row if 0 < value < classes]
    if sum(value > 0 for value in kept) < 0.5 * len(before) and sum(value == 0 for value in kept) > 0.95 * len(kept):
        return labels
    if contested == "ignore":
        both = zip(labels, after, strict=True)
        return [[old if old == new else 255 for old, new in zip(*rows, strict=True)] for rows in both]
    return after


@pytest.mark.parametrize("contested", ["replace", "ignore"])
def test_masks_follow_predictions_by_the_rules(contested):
    generator = torch.Generator().manual_seed(0)
    changed = 0
    for number in range(60):
        classes = torch.randint(0, 4, (5, 1, 1), generator=generator)  # an image shows only some of the classes
        given = (torch.randint(0, 4, (5, 4, 5), generator=generator) * (classes > 1) * (classes > 0)).to(torch.uint8)
        given = torch.where(given == classes, 0, given)
        given[:, 0, 0] = 255
        probs = (3 * torch.randn(5, 4, 4, 5, generator=generator)).softmax(1)
        active = torch.rand(4, generator=generator) < 0.6
        before = given.clone()
        found = corrected_masks(given, probs, active, 0.6, contested=contested)
        assert torch.equal(given, before)
        assert found.dtype == torch.uint8
        for one, own, expected in zip(found, before, probs, strict=True):
            assert one.tolist() == slowly_corrected(own, expected, active.tolist(), 0.6, contested), number
        changed += int((found != before).sum())
    assert changed > 500


def certain(labels, classes=3):
    """Return predictions that are sure of these labels, (1, K, H, W)."""
    return 0.97 * torch.nn.functional.one_hot(labels, classes).permute(0, 3, 1, 2).float() + 0.01


def test_a_pixel_takes_no_class_that_its_mask_lacks():
    given, found = torch.tensor([[[0, 1, 1]]]), torch.tensor([[[1, 2, 0]]])
    everything = torch.ones(3, dtype=torch.bool)
    assert corrected_masks(given, certain(found), everything, 0.8).tolist() == [[[1, 1, 0]]]
    assert corrected_masks(0 * given, certain(found), everything, 0.8).tolist() == [[[1, 2, 0]]]  # background alone


def test_the_class_that_is_taken_must_be_under_correction_not_the_one_that_is_given():
    given, found = torch.tensor([[[0, 1, 2, 2]]]), torch.tensor([[[0, 2, 1, 0]]])
    active = torch.tensor([False, True, False])
    assert corrected_masks(given, certain(found), active, 0.8).tolist() == [[[0, 1, 1, 0]]]
    others = torch.tensor([[[0, 0, 2, 2]]])  # shows no class under correction
    assert torch.equal(corrected_masks(others, certain(0 * found), active, 0.8), others)


def test_an_image_that_would_lose_its_foreground_stays():
    active = torch.tensor([False, True, True])
    given = torch.zeros(2, 10, 10, dtype=torch.uint8)
    given[:, :2] = 1  # 20 pixels of foreground
    found = torch.zeros(2, 10, 10, dtype=torch.long)
    found[0, 0, :4] = 1  # 4 would be left, and 96 % background
    found[1, 0, :5] = 1  # 5 and 95 %
    after = corrected_masks(given, certain(found), active, 0.8)
    assert torch.equal(after[0], given[0])
    assert torch.equal(after[1].long(), found[1])
    small = torch.zeros(1, 10, 10, dtype=torch.uint8)
    small[0, 0, :4] = 1  # half of so little may go, whatever is background
    half = torch.zeros(1, 10, 10, dtype=torch.long)
    half[0, 0, :2] = 1
    assert torch.equal(corrected_masks(small, certain(half), active, 0.8).long(), half)


def test_contested_pixels_are_ignored_where_that_is_chosen():
    objective = started(AdaptiveEarlyLearning(contested="ignore"))
    given, probs = torch.tensor([[[0, 1, 1]]], dtype=torch.uint8), certain(torch.tensor([[[0, 1, 0]]]))
    assert torch.equal(objective.correct(given, probs), given)  # no class is under correction
    objective.corrected[1] = True
    assert objective.correct(given, probs).tolist() == [[[0, 1, 255]]]


def test_a_class_is_corrected_from_where_its_iou_slows_down():
    objective = started(AdaptiveEarlyLearning(scales=[1.0]))
    for epoch in range(1, 9):
        # Background is learnt at once, "left" not yet, and "right" never met.
        share = (1 - math.exp(-1.5 * epoch), 0.02 * epoch)
        objective._met += torch.tensor([[1000 * share[0], 1000 * share[1], 0], [1000, 1000, 0]])
        objective.end_epoch()
    assert objective.corrected.tolist() == [True, False, False]
    np.testing.assert_allclose(objective.curve[-1, :2], share, atol=1e-9)
    assert float(objective._met.sum()) == 0
    again = started(AdaptiveEarlyLearning(scales=[1.0]))
    again.load_state_dict(objective.state_dict())
    assert torch.equal(again.curve, objective.curve)
    assert torch.equal(again.corrected, objective.corrected)


def test_adele_counts_intersection_and_union_of_its_unscaled_prediction():
    objective = started(AdaptiveEarlyLearning(scales=[0.5, 1.0]))
    crops = batch()
    crops.given[0, :3] = 255
    logits = torch.zeros(2, 3, *SIZE)
    logits[:, 1, :, :6] = 5.0
    objective.loss(lambda image: logits if image.shape[-2:] == SIZE else 9 * logits.flip(-1), crops, GIVEN)
    found = logits.argmax(1)
    for number in range(3):
        own, predicted = crops.given == number, (found == number) & (crops.given != 255)
        assert objective._met[0, number] == (own & predicted).sum()
        assert objective._met[1, number] == (own | predicted).sum()


def test_adele_sees_its_scales_and_counts_their_area():
    sizes = []

    def model(image):
        sizes.append(tuple(image.shape[-2:]))
        return torch.nn.functional.avg_pool2d(image, 2)

    objective = started(AdaptiveEarlyLearning(scales=(0.5, 1.0, 1.5)))
    loss = objective.loss(model, batch(), GIVEN)
    assert sorted(sizes) == [(8, 6), (16, 12), (24, 18)]
    assert torch.isfinite(loss)
    assert objective.passes(0, 4) == pytest.approx(3 * (0.25 + 1 + 2.25))
    assert objective.identity()["scales"] == [0.5, 1.0, 1.5]


class Shifted(nn.Module):
    """Logits of a pixel are the image's channels one to the right, so that a mirror sees others; it counts itself."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(4.0))
        self.drop = nn.Dropout(0.5)
        self.samples = {True: 0.0, False: 0.0}

    def forward(self, image):
        area = image.shape[-1] * image.shape[-2] / (SIZE[0] * SIZE[1])
        self.samples[torch.is_grad_enabled()] += len(image) * area
        return self.scale * self.drop(image.roll(1, -1))


def test_adeles_evidence_is_the_mean_over_scales_and_mirrors(monkeypatch):
    objective, model, crops = started(AdaptiveEarlyLearning(scales=(0.5, 1.0))), Shifted().train(), batch()
    model.drop.p = 0.0
    seen = []
    monkeypatch.setattr(objective, "correct", lambda given, probs: seen.append(probs) or given)
    for epoch in (3, 4):
        objective.start_epoch(epoch, model)
        objective.loss(model, crops, GIVEN)
    half = (SIZE[0] // 2, SIZE[1] // 2)

    def views(image):
        small = torch.nn.functional.interpolate(image, size=half, mode="bilinear", align_corners=True)
        probs = [model(one).softmax(1) for one in (image, small)]
        return [torch.nn.functional.interpolate(p, size=SIZE, mode="bilinear", align_corners=True) for p in probs]

    upright = views(crops.input)
    mirrored = [p.flip(-1)[:, list(SHAPES.flip_index)] for p in views(crops.input.flip(-1))]
    torch.testing.assert_close(seen[0], torch.stack(upright).mean(0))
    torch.testing.assert_close(seen[1], torch.stack(upright + mirrored).mean(0))
    assert not torch.allclose(seen[0], seen[1], atol=1e-2)


def test_adeles_mirrors_cost_what_is_counted_and_drop_nothing():
    objective, model, crops = started(AdaptiveEarlyLearning(scales=(0.5, 1.0))), Shifted().train(), batch()
    modes = []
    model.drop.register_forward_hook(lambda module, inputs, output: modes.append(module.training))
    for epoch in range(6):
        objective.start_epoch(epoch, model)
        objective.loss(model, crops, GIVEN)
    assert modes == [True] * 2 * 4 + ([True] * 2 + [False] * 2) * 2
    assert model.training
    assert model.drop.training
    taken = 3 * model.samples[True] + model.samples[False]
    assert taken == pytest.approx(len(crops) * sum(objective.passes(epoch, 6) for epoch in range(6)))
    plain = AdaptiveEarlyLearning(scales=(0.5, 1.0), mirror=False)
    assert plain.passes(5, 6) == objective.passes(0, 6) == 3.75


@pytest.mark.parametrize(
    "wrong",
    [
        {"fall": 1.0},
        {"contested": "drop"},
        {"confidence": -0.1},
        {"strength": -1},
        {"agreed": 2},
        {"scales": (0.7,)},
        {"scales": (0, 1)},
    ],
)
def test_adele_refuses_numbers_out_of_range(wrong):
    with pytest.raises(InvalidInputError):
        AdaptiveEarlyLearning(**wrong)


# ---------------------------------------------------------------- whole runs


def fit(objective, run_dir=None, stop=None):
    run = SelfCorrector(
        net(), task=TASK, recipe=PLAIN.replace(objective=objective), epochs=6, batch_size=3, lr=0.5, run_dir=run_dir,
        callbacks=[QUIET, Kill(stop)], device="cpu",
    )  # fmt: skip
    return run.fit(ParsingDataset(Squares(), SIZE, augment=True), ParsingDataset(Squares(), SIZE))


@pytest.mark.parametrize(
    "make", [PixelEarlyLearning, lambda: AdaptiveEarlyLearning(fall=0.05, confidence=0.3, scales=(0.5, 1.0))]
)
def test_a_resumed_run_is_the_run_that_was_not_stopped(make, tmp_path, monkeypatch):
    def stopped_and_resumed(folder):
        with pytest.raises(KeyboardInterrupt):
            fit(make(), folder, stop=4)
        return fit(make(), folder)

    def weights(result):
        return torch.cat([parameter.detach().flatten() for parameter in result.model.parameters()])

    whole, resumed = fit(make()), stopped_and_resumed(tmp_path / "run")
    assert torch.equal(weights(resumed), weights(whole))
    assert whole.sample_passes == resumed.sample_passes == round(6 * sum(make().passes(epoch, 6) for epoch in range(6)))
    monkeypatch.setattr(type(make()), "load_state_dict", lambda self, state: None)
    assert not torch.equal(weights(stopped_and_resumed(tmp_path / "forgetful")), weights(whole))


def test_another_objective_does_not_resume_a_run(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(PixelEarlyLearning(strength=1.0), tmp_path / "run", stop=1)
    with pytest.raises(CheckpointError):
        fit(PixelEarlyLearning(strength=2.0), tmp_path / "run")


def test_methods_of_masks_are_recipes():
    for name, kind in (("elr", PixelEarlyLearning), ("adele", AdaptiveEarlyLearning)):
        recipe = RECIPES.of_kind(name, TASK.kind.name)
        assert isinstance(recipe.objective, kind)
        assert recipe.correction is None
        assert recipe.average is None
        assert recipe.passes(6, epochs=4) == round(6 * 4 * kind().passes(0, 4))
