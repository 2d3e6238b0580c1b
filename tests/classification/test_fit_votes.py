"""Training on the votes of several annotators."""

import numpy as np
import pytest
import torch
from tiny_runs import CLASSES, Kill, blobs, network
from torch import nn
from watching import QUIET

from noisycorrect import (
    RECIPES,
    InvalidInputError,
    MultiLabel,
    SelfCorrector,
    TaskLoss,
    VoteCorrection,
    Votes,
    dawid_skene,
    fit_votes,
)
from noisycorrect.data.datasets import ArrayDataset

EMA = RECIPES["ema"].replace(epochs=8, batch_size=20, lr=0.1)


def crowd(count=150, seed=0, accuracy=(0.85, 0.65, 0.45), seen=0.6):
    """Return inputs in three clusters, votes of annotators who mistake the next class, and true classes."""
    inputs, _, clean = blobs(count, seed)
    clean = clean.numpy()
    rng = np.random.default_rng(seed)
    right = rng.random((count, len(accuracy))) < accuracy
    table = np.where(right, clean[:, None], (clean[:, None] + 1) % CLASSES)
    return inputs, Votes.from_table(np.where(rng.random(right.shape) < seen, table, -1)), clean


def corrector(recipe=EMA, **settings):
    settings = {"num_classes": CLASSES, "recipe": recipe, "callbacks": [QUIET], **settings}
    return SelfCorrector(settings.pop("model", None) or network(), **settings)


@pytest.fixture(scope="module")
def fitted():
    inputs, votes, clean = crowd()
    return inputs, votes, clean, fit_votes(corrector(), inputs, votes, clean_labels=clean)


def test_model_labels_and_annotators_are_better_than_the_votes(fitted):
    inputs, votes, clean, result = fitted
    voted = votes.votes_of_items > 0
    alone = max((labels == clean)[voted].mean() for labels in (votes.majority(), dawid_skene(votes).labels))
    assert (result.labels == clean)[voted].mean() > alone + 0.1
    assert (result.labels == clean)[~voted].mean() > 0.9  # there the model decides
    with torch.no_grad():
        assert (result.model(inputs).argmax(1).numpy() == clean).mean() > 0.95
    assert [record["annotator"] for record in result.annotators()] == [2, 1, 0]
    right = votes.label == clean[votes.item]
    truth = np.bincount(votes.annotator, right) / votes.votes_of_annotators
    assert np.abs(result.consensus.accuracy - truth).max() < 0.06
    assert result.vote_quality[right].mean() > result.vote_quality[~right].mean() + 0.6


def test_the_store_has_majorities_and_posteriors(fitted):
    _, votes, clean, result = fitted
    store = result.correction.labels
    np.testing.assert_array_equal(store.given(), votes.majority())
    np.testing.assert_allclose(store.refined().numpy(), result.probs, atol=1e-5)
    np.testing.assert_allclose(result.probs.sum(1), 1, atol=1e-6)
    shares = result.probs.mean(0)
    for row, label, quality in zip(result.probs, result.labels, result.quality, strict=True):
        assert label == np.argmax([prob / share**0.5 for prob, share in zip(row, shares, strict=True)])
        assert quality == row[label]
    wrong = {issue.index for issue in result.correction.find_label_issues()}
    assert np.mean([votes.majority()[index] != clean[index] for index in wrong]) > 0.9
    assert result.correction.history[-1]["label_accuracy"] == pytest.approx((result.labels == clean).mean(), abs=0.02)
    assert result.correction.sample_passes == 8 * 4 * 150 + 2 * 150  # and the averages' statistics


def test_evidence_is_combined_with_the_votes_once_an_epoch_and_is_held_out():
    inputs, votes, _ = crowd(120)
    seen = []

    class Watched(VoteCorrection):
        def in_step(self, model, batch):
            output, batch = super().in_step(model, batch)
            seen.append((self.epoch_now, batch.evidence.clone(), self.posterior[batch.index].clone(), self.correcting))
            return output, batch

        def start_epoch(self, epoch, model):
            self.epoch_now = epoch
            super().start_epoch(epoch, model)
            if self.correcting:
                found = dawid_skene(votes, self.evidence.double().numpy(), iterations=20)
                np.testing.assert_allclose(self.posterior.numpy(), found.probs, atol=1e-6)

    recipe = RECIPES["robust"].replace(correction=Watched(votes, start=0.5), objective=TaskLoss(), epochs=4)
    majority = votes.majority()
    corrector(recipe).fit((inputs, majority))
    for epoch, evidence, posterior, correcting in seen:
        assert correcting == (epoch >= 2)
        torch.testing.assert_close(evidence, posterior)
    shares = votes.counts() / np.maximum(votes.counts().sum(1, keepdims=True), 1)
    first = torch.cat([evidence for epoch, evidence, *_ in seen if epoch == 0])
    assert first.sum(0).numpy() == pytest.approx(shares.sum(0), abs=1e-4)


@pytest.mark.parametrize("name", ["ce", "paper", "robust", "elr"])
def test_any_recipe_says_how(name):
    inputs, votes, clean = crowd(120)
    result = fit_votes(corrector(name, epochs=6, batch_size=20, lr=0.1), inputs, votes)
    assert result.correction.history[-1]["epoch"] == 6
    assert (result.labels == clean).mean() > (votes.majority() == clean).mean() + 0.1


def test_a_run_that_was_killed_goes_on_as_if_nothing_had_been(tmp_path):
    inputs, votes, _ = crowd(60)
    whole = fit_votes(corrector(), inputs, votes)
    with pytest.raises(KeyboardInterrupt):
        fit_votes(corrector(run_dir=tmp_path, callbacks=[QUIET, Kill(4)]), inputs, votes)
    resumed = fit_votes(corrector(run_dir=tmp_path), inputs, votes, resume=True)
    np.testing.assert_array_equal(resumed.probs, whole.probs)
    with pytest.raises(Exception, match="digest"):
        fit_votes(corrector(run_dir=tmp_path), inputs, Votes.from_table(np.fliplr(votes.table())))


def test_every_form_of_inputs_and_votes_is_the_same_run():
    inputs, votes, _ = crowd(60)
    recipe = EMA.replace(epochs=2)
    reference = fit_votes(corrector(recipe), inputs, votes).probs
    bare = [inputs[index] for index in range(60)]
    labelled = torch.utils.data.TensorDataset(inputs, torch.zeros(60))
    alone = torch.utils.data.TensorDataset(inputs)
    dicts = [{"input": row, "label": 0} for row in inputs]
    unlabelled = [{"input": row} for row in inputs]
    for data in (inputs.numpy(), bare, labelled, alone, dicts, unlabelled):
        np.testing.assert_array_equal(fit_votes(corrector(recipe), data, votes.table()).probs, reference)


class Items(torch.utils.data.Dataset):
    def __init__(self, inputs, weights):
        self.columns = inputs, weights

    def __len__(self):
        return len(self.columns[0])

    def __getitem__(self, index):
        return {"image": self.columns[0][index], "label": 0, "weight": float(self.columns[1][index])}


def test_weights_in_the_data_count_as_those_that_are_passed():
    inputs, votes, _ = crowd(60)
    weights = torch.rand(60, generator=torch.Generator().manual_seed(0))
    recipe = EMA.replace(epochs=4)
    unweighed, passed = (
        fit_votes(corrector(recipe), inputs, votes, **options).probs for options in ({}, {"sample_weight": weights})
    )
    assert not np.allclose(passed, unweighed, atol=0.01)
    data = {"image": inputs, "sample_weight": weights}
    for form in (data, Items(inputs, weights), ArrayDataset(inputs, torch.zeros(60), weights)):
        np.testing.assert_allclose(fit_votes(corrector(recipe), form, votes).probs, passed, atol=1e-6)


def test_the_corrector_stays_as_it_is():
    inputs, votes, _ = crowd(60)
    own = corrector(EMA.replace(epochs=2))
    before = own.recipe, own.task, own.task.allow_empty_classes
    fit_votes(own, inputs, votes)
    assert before == (own.recipe, own.task, own.task.allow_empty_classes)


def test_one_vote_an_item_is_enough():
    inputs, votes, clean = crowd(150, accuracy=(0.7, 0.6))
    first = np.unique(votes.item, return_index=True)[1]
    one = Votes.from_rows(votes.item[first], votes.annotator[first], votes.label[first], num_items=150)
    assert one.votes_of_items.max() == 1
    result = fit_votes(corrector(), inputs, one)
    assert (result.labels == clean).mean() > (one.majority() == clean)[one.votes_of_items > 0].mean() + 0.15


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, v: fit_votes(corrector(), x[:50], v), "inputs of 60 items; got 50 inputs"),
        (lambda x, v: fit_votes(corrector(), iter(x), v), "inputs of 60 items"),
        (lambda x, v: fit_votes(SelfCorrector(nn.Linear(4, 2), num_classes=2), x, v), "3 classes, as the votes; got 2"),
        (lambda x, v: fit_votes(SelfCorrector(nn.Linear(4, 3), task=MultiLabel(3)), x, v), "the task classification"),
        (lambda x, v: fit_votes(corrector(), x, v, start=1.0), "start"),
        (lambda x, v: fit_votes(corrector(), x, v.label), r"labels of shape \(N, A\)"),
    ],
)
def test_what_is_refused(call, message):
    inputs, votes, _ = crowd(60)
    with pytest.raises(InvalidInputError, match=message):
        call(inputs, votes)


def test_votes_on_other_items_are_noticed():
    inputs, votes, _ = crowd(60)
    recipe = RECIPES["robust"].replace(correction=VoteCorrection(votes), objective=TaskLoss(), epochs=4)
    with pytest.raises(InvalidInputError, match="votes on the samples of the training set; got 50 samples"):
        corrector(recipe).fit((inputs[:50], torch.arange(50) % CLASSES))
