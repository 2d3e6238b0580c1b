"""What every task must do; a new task joins by an entry in MAKERS."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noisycorrect import Classification, MultiLabel, TokenLabeling
from noisycorrect.corrector import TASKS
from noisycorrect.data.batches import Batch
from noisycorrect.labels import CODECS, SoftLabelStore, Trust
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import HumanParsing

K, COUNT = 4, 12
SIZE, MAP = (10, 8), (5, 4)


def classification():
    """Return a task, outputs that ask for a gradient, given labels, and evidence."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(COUNT, K, generator=generator, requires_grad=True)
    return Classification(K), logits, torch.arange(COUNT) % K, torch.rand(COUNT, K, generator=generator).softmax(1)


def parsing():
    """Return the same of masks."""
    generator = torch.Generator().manual_seed(0)
    task = HumanParsing([f"class {number}" for number in range(K)], size=SIZE)
    logits = torch.randn(COUNT, K, *MAP, generator=generator, requires_grad=True)
    given = torch.randint(K, (COUNT, *SIZE), generator=generator, dtype=torch.uint8)
    return task, logits, given, torch.rand(COUNT, K, *MAP, generator=generator).softmax(1)


def segmentation():
    """Return the same of masks, for which a network may have an auxiliary head."""
    _, logits, given, evidence = parsing()
    return TASKS["segmentation"](K, size=SIZE), logits, given, evidence


def multilabel():
    """Return the same of labels that are there or not."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(COUNT, K, generator=generator, requires_grad=True)
    given = torch.randint(2, (COUNT, K), generator=generator)
    return MultiLabel(K), logits, given, torch.rand(COUNT, K, generator=generator)


def tokens():
    """Return the same of sequences."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(COUNT, 5, K, generator=generator, requires_grad=True)
    given = torch.randint(K, (COUNT, 5), generator=generator)
    return TokenLabeling(K), logits, given, torch.rand(COUNT, K, 5, generator=generator).softmax(1)


MAKERS = {
    "classification": classification,
    "segmentation": segmentation,
    "parsing": parsing,
    "multilabel": multilabel,
    "tokens": tokens,
}
INDEPENDENT = MultiLabel.kind  # K labels that are there or not, instead of one of K classes


def test_every_named_task_is_under_contract():
    assert set(TASKS) <= set(MAKERS)


@pytest.fixture(params=MAKERS)
def made(request):
    return MAKERS[request.param]()


def batch_of(task, given, evidence=None, trust=1.0):
    code = None if evidence is None else torch.from_numpy(CODECS[task.codec].encode(evidence))
    weight = Trust(torch.full((COUNT,), trust))
    return Batch(torch.arange(COUNT), None, given, weight, code, int(evidence is not None), extra_of(task))


def extra_of(task):
    """Return the further fields of a batch: crops that are the canonical frame itself."""
    if task.frame is None:
        return {}
    extent = torch.tensor([-0.5, -0.5, SIZE[1] - 0.5, SIZE[0] - 0.5]).repeat(COUNT, 1)
    matrix, mirror = torch.eye(2, 3).repeat(COUNT, 1, 1), torch.zeros(COUNT, dtype=torch.bool)
    return {"matrix": matrix, "mirror": mirror, "extent": extent}


def test_loss_is_a_finite_scalar_with_a_gradient_and_changes_no_argument(made):
    task, output, given, evidence = made
    batch = batch_of(task, given, evidence, trust=0.5)
    before = [output.detach().clone(), given.clone(), batch.evidence.clone(), batch.trust.weight.clone()]
    loss = task.loss(output, batch)
    loss.backward()
    assert loss.dim() == 0
    assert torch.isfinite(loss)
    assert output.grad.abs().sum() > 0
    for old, new in zip(before, [output.detach(), given, batch.evidence, batch.trust.weight], strict=True):
        assert torch.equal(old, new)


def test_probabilities_are_float32_and_those_of_classes_sum_to_one(made):
    task, output, _, _ = made
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        probs = task.probs(output.detach().to(dtype))
        assert probs.dtype is torch.float32
        assert ((probs >= 0) & (probs <= 1)).all()
        if task.kind is not INDEPENDENT:
            torch.testing.assert_close(probs.sum(1), torch.ones_like(probs.sum(1)))


def test_full_trust_ignores_evidence_and_no_trust_ignores_the_given_label(made):
    task, output, given, evidence = made
    trusting = task.loss(output, batch_of(task, given, evidence, trust=1.0))
    assert trusting.item() == pytest.approx(task.loss(output, batch_of(task, given)).item(), rel=1e-6)
    doubting = task.loss(output, batch_of(task, given, evidence, trust=0.0))
    other = task.loss(output, batch_of(task, given.flip(0), evidence, trust=0.0))
    assert doubting.item() == pytest.approx(other.item(), rel=1e-6)
    assert doubting.item() != pytest.approx(trusting.item(), rel=1e-3)


def test_unlabeled_samples_without_evidence_weigh_nothing(made):
    task, output, given, _ = made
    none = Batch(torch.arange(COUNT), None, torch.full_like(given, task.kind.unlabeled), Trust(torch.zeros(COUNT)))
    assert task.loss(output, none).item() == 0


def test_a_store_takes_the_tasks_labels_and_predictions(made):
    task, output, given, _ = made
    given_of_all = given if task.kind.parts is None else list(given.numpy())
    task.check_given(given_of_all)
    store = SoftLabelStore.create(
        None, given_of_all, task.num_classes, kind=task.kind, codec=task.codec, frame=task.frame
    )
    with store.new_generation() as writer:
        writer.write(range(COUNT), task.probs(output.detach()))
    assert store.generation == 1
    code = torch.from_numpy(store.code())
    batch = Batch(torch.arange(COUNT), None, given, store.trust(), code, 1, extra_of(task))
    assert torch.isfinite(task.loss(output, batch))


def test_metrics_stream_and_leave_out_what_has_no_label(made):
    task, output, given, _ = made
    probs = task.probs(output.detach())
    whole, parts = task.metrics(), task.metrics()
    whole.update(probs, given)
    for rows in (slice(0, 5), slice(5, 5), slice(5, COUNT)):
        parts.update(probs[rows], given[rows])
    parts.update(probs, torch.full_like(given, task.kind.unlabeled))
    assert parts.compute() == pytest.approx(whole.compute())
    assert task.main_metric in whole.compute()
    torch.testing.assert_close(parts.class_recall(), whole.class_recall())
    assert whole.class_recall().shape == (K,)
    assert all(np.isnan(value) for value in task.metrics().compute().values())


def test_class_recall_is_the_share_of_labels_that_were_predicted(made):
    task, output, given, _ = made
    metrics = task.metrics()
    if task.kind is INDEPENDENT:
        given[:, 2] = 0
    else:
        given = torch.where(given == 2, 1, given)
    probs = task.probs(output.detach())
    metrics.update(probs, given)
    if task.frame is not None:
        probs = torch.nn.functional.interpolate(probs, SIZE, mode="bilinear", align_corners=True)
    recall = metrics.class_recall()
    assert torch.isnan(recall[2])
    for label in (0, 1, 3):
        if task.kind is INDEPENDENT:
            own, found = given[:, label] == 1, probs[:, label] > 0.5
        else:
            own, found = given == label, probs.argmax(1) == label
        assert recall[label].item() == pytest.approx(found[own].double().mean().item())


def test_predict_is_forward_and_probs(made):
    task, output, given, _ = made
    batch = batch_of(task, given)
    batch.input = output.detach()
    torch.testing.assert_close(task.predict(torch.nn.Identity(), batch), task.probs(output.detach()))


def test_wrong_outputs_are_refused(made):
    task, output, given, _ = made
    for wrong in (output[:, :-1], output[:3], [output, output]):
        with pytest.raises(InvalidInputError, match=r"expected .*; got .*; to fix"):
            task.loss(wrong, batch_of(task, given))
