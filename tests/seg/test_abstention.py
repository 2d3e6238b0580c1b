"""Abstaining: contested pixels do not count, all others do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from noisycorrect.correction.base import Correction
from noisycorrect.data.batches import Batch
from noisycorrect.labels.codec import CODECS
from noisycorrect.labels.trust import Trust
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import AbstainingLoss, HumanParsing
from noisycorrect_seg.losses import ParsingLoss
from noisycorrect_seg.methods.abstention import contested_pixels

SIZE = (8, 6)


class Fixed(torch.nn.Module):
    """Returns the same logits for whatever it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits


def batch_of(given: torch.Tensor, evidence: torch.Tensor | None, task: HumanParsing) -> Batch:
    extra = {
        "matrix": torch.eye(2, 3).expand(2, 2, 3),
        "mirror": torch.tensor([False, False]),
        "extent": torch.tensor([[-0.5, -0.5, SIZE[1] - 0.5, SIZE[0] - 0.5]]).expand(2, 4),
    }
    code = None if evidence is None else torch.from_numpy(CODECS[task.codec].encode(evidence))
    return Batch(torch.arange(2), torch.zeros(2, 3, *SIZE), given, Trust(torch.ones(2)), code, 1, extra)


def loss_of(objective: AbstainingLoss, batch: Batch, task: HumanParsing, model: Fixed) -> torch.Tensor:
    setup, correction = SimpleNamespace(task=task), Correction()
    objective.setup = correction.setup = setup
    return objective.loss(model, batch, correction)


def test_contested_pixels_do_not_count_and_get_no_gradient() -> None:
    task = HumanParsing(("background", "arm", "leg"), size=SIZE, loss=ParsingLoss(edge=False))
    given = torch.zeros(2, *SIZE, dtype=torch.uint8)
    given[0, 2:4] = 1
    given[1, 0] = 255
    evidence = torch.full((2, 3, *SIZE), 0.01)
    evidence[:, 0] = 0.98
    evidence[0, :, 2] = torch.tensor([0.98, 0.01, 0.01])[:, None]  # against the arm, and sure
    evidence[0, :, 3] = torch.tensor([0.6, 0.39, 0.01])[:, None]  # against it, and not sure
    batch, model = batch_of(given, evidence, task), Fixed()
    loss_of(AbstainingLoss(0.9), batch, task, model).backward()
    ignored = given.clone()
    ignored[0, 2] = 255
    expected = Fixed()
    loss = task.loss_function(task.forward(expected, batch), ignored.long())
    loss.backward()
    torch.testing.assert_close(model.logits.grad, expected.logits.grad)
    assert not model.logits.grad[0, :, 2].any()
    assert model.logits.grad[0, :, 3].any()


def test_without_evidence_and_where_nothing_is_contested_it_is_the_tasks_loss() -> None:
    task = HumanParsing(("background", "arm", "leg"), size=SIZE)
    given = torch.ones(2, *SIZE, dtype=torch.uint8)
    agreeing = torch.tensor([0.02, 0.96, 0.02]).reshape(1, 3, 1, 1).expand(2, 3, *SIZE)
    for evidence in (None, agreeing):
        batch = batch_of(given, evidence, task)
        loss = loss_of(AbstainingLoss(), batch, task, Fixed())
        torch.testing.assert_close(loss, task.loss(task.forward(Fixed(), batch), batch))


def test_what_is_ignored_is_not_contested_in_soft_targets_either() -> None:
    targets = torch.tensor([[[[1.0, 0.0, 0.4]], [[0.0, 0.0, 0.6]]]])
    evidence = torch.tensor([[[[0.0, 1.0, 0.95]], [[1.0, 0.0, 0.05]]]])
    assert contested_pixels(targets, evidence, 0.9).tolist() == [[[True, False, True]]]
    assert contested_pixels(targets, evidence, 0.97).tolist() == [[[True, False, False]]]


def test_lovasz_softmax_of_the_most_probable_classes_is_that_of_hard_labels() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, *SIZE, generator=generator)
    soft = torch.randn(2, 3, *SIZE, generator=generator).softmax(1)
    soft[0, :, 0] = 0  # ignored
    hard = soft.argmax(1).masked_fill(soft.sum(1) == 0, 255)
    alone = {"cross_entropy": False, "edge": False, "consistency": False}
    found, expected, other = (
        ParsingLoss(lovasz_targets=kind, **alone)(logits, targets)
        for kind, targets in (("hard", soft), ("soft", hard), ("soft", soft))
    )
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, other)
    both = ParsingLoss(edge=False, consistency=False, lovasz_targets="hard")
    terms = both.terms(logits, soft)
    torch.testing.assert_close(both(logits, soft), both.total(terms))
    torch.testing.assert_close(terms["lovasz"], expected)
    with pytest.raises(InvalidInputError, match="did you mean 'hard'"):
        ParsingLoss(lovasz_targets="herd")


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="sure"):
        AbstainingLoss(1.5)
