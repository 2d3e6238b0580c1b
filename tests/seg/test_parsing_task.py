"""The segmentation task: refined targets in the crop's frame, outputs of any common form, predictions, metrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from noisycorrect.data.batches import Batch
from noisycorrect.labels import CODECS, Trust
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.losses import ParsingLoss
from noisycorrect_seg.outputs import ParsingOutput
from noisycorrect_seg.task import HumanParsing

ARMS = Classes("arms", ("background", "left", "right", "hat"), ((1, 2),))
K, SIZE, MAP = len(ARMS), (12, 9), (4, 3)
GENERATOR = torch.Generator().manual_seed(0)


def batch(count=3, *, evidence=True, trust=0.4, floor=None):
    given = torch.randint(K, (count, *SIZE), generator=GENERATOR).to(torch.uint8)
    given[:, :2] = 255
    matrix = torch.eye(2, 3).repeat(count, 1, 1)
    matrix[1] = torch.tensor([[-0.8, 0.1, 8.0], [0.1, 0.9, -1.0]])
    code = None
    if evidence:
        probs = torch.rand(count, K, *MAP, generator=GENERATOR).mul(4).softmax(1)
        code = torch.from_numpy(CODECS[HumanParsing.codec].encode(probs))
    mirror = torch.tensor([False, True, False])[:count]
    extent = torch.tensor([[-0.5, -0.5, 8.5, 11.5], [1.0, 2.0, 7.0, 9.0], [-0.5, -0.5, 8.5, 11.5]])[:count]
    extra = {"matrix": matrix, "mirror": mirror, "extent": extent}
    return Batch(
        torch.arange(count), torch.rand(count, 3, *SIZE, generator=GENERATOR), given,
        Trust(torch.full((count,), trust), floor), code, int(evidence), extra,
    )  # fmt: skip


def slow_targets(sample, row, floor=None):
    """Return the refined labels of one crop, pixel by pixel, in float64."""
    code = sample.evidence[row].double()
    probs = (code**2 / (code**2).sum(0, keepdim=True)).numpy()
    if sample.extra["mirror"][row]:
        probs = probs[ARMS.flip_index]
    matrix, given = sample.extra["matrix"][row].double().numpy(), sample.given[row].numpy()
    refined = np.zeros((K, *SIZE))
    for y, x in np.ndindex(SIZE):
        label = int(given[y, x])
        if label == 255:
            continue
        at = matrix @ np.array([x, y, 1.0]) * (np.array(MAP[::-1]) - 1) / (np.array(SIZE[::-1]) - 1)
        at = np.clip(at, 0, np.array(MAP[::-1]) - 1)
        left, top = np.minimum(np.floor(at).astype(int), np.array(MAP[::-1]) - 2)
        fx, fy = at - (left, top)
        found = (1 - fy) * ((1 - fx) * probs[:, top, left] + fx * probs[:, top, left + 1]) + fy * (
            (1 - fx) * probs[:, top + 1, left] + fx * probs[:, top + 1, left + 1]
        )
        weight = float(sample.trust.weight[row])
        trust = weight if floor is None else max(weight, float(floor[label]))
        refined[:, y, x] = (1 - trust) * found
        refined[label, y, x] += trust
    return refined


@pytest.mark.parametrize("floor", [None, torch.tensor([0.0, 0.9, 1.0, 0.2])])
def test_targets_are_blended_in_the_crops_frame(floor):
    sample = batch(floor=floor)
    before = sample.given.clone(), sample.evidence.clone(), sample.trust.weight.clone()
    targets = HumanParsing(ARMS, size=SIZE).targets(sample)
    assert targets.dtype is torch.float32
    for row in range(len(sample)):
        np.testing.assert_allclose(targets[row].double().numpy(), slow_targets(sample, row, floor), atol=3e-6)
    for old, new in zip(before, (sample.given, sample.evidence, sample.trust.weight), strict=True):
        assert torch.equal(old, new)


def test_before_the_first_generation_targets_are_the_given_masks():
    sample = batch(evidence=False)
    targets = HumanParsing(ARMS, size=SIZE).targets(sample)
    assert targets.dtype is torch.int64
    assert torch.equal(targets, sample.given.long())


def test_a_sample_without_a_mask_learns_from_its_evidence_where_the_crop_shows_the_image():
    sample = batch(trust=0.0)
    sample.given[1] = 255
    targets = HumanParsing(ARMS, size=SIZE).targets(sample)
    whole = batch(trust=0.0)
    whole.given, whole.evidence, whole.extra = torch.zeros_like(sample.given), sample.evidence, sample.extra
    evidence = HumanParsing(ARMS, size=SIZE).targets(whole)[1]
    matrix = sample.extra["matrix"][1].double().numpy()
    left, top, right, bottom = sample.extra["extent"][1].tolist()
    shown = 0
    for y, x in np.ndindex(SIZE):
        at = matrix @ np.array([x, y, 1.0])
        inside = left <= at[0] <= right and top <= at[1] <= bottom
        shown += inside
        expected = evidence[:, y, x] if inside else torch.zeros(K)
        torch.testing.assert_close(targets[1, :, y, x], expected)
    assert 0 < shown < SIZE[0] * SIZE[1]
    assert (targets[0][:, :2] == 0).all()  # ignored pixels of a mask stay ignored, whatever its trust


def test_the_run_that_resumes_must_have_the_same_classes_size_and_losses():
    same = HumanParsing(ARMS, size=SIZE).identity()
    assert same == HumanParsing(ARMS, size=SIZE).identity()
    for other in (
        HumanParsing(Classes("arms", ARMS.names), size=SIZE), HumanParsing(ARMS, size=(8, 8)),
        HumanParsing("lip", size=SIZE),
        HumanParsing(ARMS, size=SIZE, flip_average=True),
        HumanParsing(ARMS, size=SIZE, loss=ParsingLoss(lovasz=False)),
        HumanParsing(ARMS, size=SIZE, loss=lambda output, targets: output.final.sum()),
    ):  # fmt: skip
        assert other.identity() != same


class Echo(nn.Module):
    """Returns its input's channels as logits, in a form of one's choice."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, image):
        return self.form(torch.cat([image, image[:, :1]], 1))


@pytest.mark.parametrize(
    "form",
    [lambda z: z, lambda z: ParsingOutput(z), lambda z: {"out": z}, lambda z: {"logits": z},
     lambda z: ParsingOutput(-z, fusion=z, edge=z[:, :2])],
)  # fmt: skip
def test_outputs_of_any_common_form_are_understood(form):
    task, sample = HumanParsing(ARMS, size=SIZE), batch()
    output = task.forward(Echo(form), sample)
    task.check_output(output, sample)
    assert torch.isfinite(task.loss(output, sample))
    expected = torch.cat([sample.input, sample.input[:, :1]], 1).softmax(1)
    torch.testing.assert_close(task.probs(output), expected)
    torch.testing.assert_close(task.predict(Echo(form), sample), expected)


def test_flip_average_is_the_mean_of_an_image_and_its_mirror():
    model = nn.Conv2d(3, K, 3, padding=1)
    task, sample = HumanParsing(ARMS, size=SIZE, flip_average=True), batch()
    with torch.no_grad():
        straight = model(sample.input).softmax(1)
        mirrored = model(torch.flip(sample.input, [3])).softmax(1)
        swapped = torch.stack([mirrored[:, ARMS.flip_index[k]] for k in range(K)], 1)
        expected = (straight + torch.flip(swapped, [3])) / 2
        torch.testing.assert_close(task.predict(model, sample), expected)
    assert task.prediction_passes == 2


def test_metrics_are_plain_numbers_with_the_classes_names():
    metrics = HumanParsing(ARMS, size=SIZE).metrics()
    labels = torch.tensor([[[0, 0, 1], [1, 255, 3]]])
    scores = torch.nn.functional.one_hot(torch.tensor([[[0, 1, 1], [1, 0, 0]]]), K).permute(0, 3, 1, 2).float()
    metrics.update(scores, labels)
    values = metrics.compute()
    assert values["pixel_accuracy"] == pytest.approx(3 / 5)
    assert values["iou_background"] == pytest.approx(1 / 3)
    assert values["iou_left"] == pytest.approx(2 / 3)
    assert np.isnan(values["iou_right"])
    assert values["iou_hat"] == 0
    assert metrics.class_recall()[:2].tolist() == [0.5, 1.0]
    assert all(isinstance(value, float) for value in values.values())


def test_wrong_outputs_are_refused():
    task, sample = HumanParsing(ARMS, size=SIZE), batch()
    logits = torch.randn(3, K, *MAP)
    for wrong in (
        logits[:, :-1], logits[0], ParsingOutput(logits, edge=logits), ParsingOutput(logits, fusion=logits[:, 1:]),
        [logits], {"aux": logits},
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=r"expected .*; got .*; to fix"):
            task.loss(wrong, sample)
    last = torch.randn(3, K + 1, K + 2, K)
    for wrong, fix in ((last, r"logits\.permute\(0, 3, 1, 2\)"), (last[:, 0, 0], "not one an image")):
        with pytest.raises(InvalidInputError, match=fix):
            task.loss(wrong, sample)
    with pytest.raises(InvalidInputError, match="drop the model's last Softmax"):
        task.check_output(logits.softmax(1), sample)
    with pytest.raises(InvalidInputError, match=r"make the data set's size and HumanParsing\(size=\) agree"):
        HumanParsing(ARMS, size=(8, 8)).check_output(logits, sample)


def test_wrong_arguments_and_items_are_refused():
    for size in (7, (7,), (1, 7), (7.5, 7)):
        with pytest.raises(InvalidInputError):
            HumanParsing(ARMS, size=size)
    with pytest.raises(InvalidInputError, match="did you mean 'lip'"):
        HumanParsing("lipp")
    task = HumanParsing(ARMS, size=SIZE)
    with pytest.raises(InvalidInputError, match="labels to be masks"):
        task.check_given(torch.zeros(3))
    sample = batch()
    del sample.extra["mirror"]
    with pytest.raises(InvalidInputError, match="none called mirror"):
        task.targets(sample)
    with pytest.raises(InvalidInputError, match="none called mirror"):  # at the rehearsal, not after 110 epochs
        task.check_output(torch.randn(3, K, *MAP), sample)
    with pytest.raises(InvalidInputError, match="the name of a list, Classes, or names"):
        HumanParsing(6)
