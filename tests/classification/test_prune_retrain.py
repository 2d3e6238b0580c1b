"""Prune and retrain: folds that never see what they predict, passes, budgets, data of other kinds."""

import copy
import importlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from watching import QUIET, AfterEpoch

from noisycorrect import SelfCorrector, noise
from noisycorrect.classification.methods.prune_retrain import prune_retrain, prune_retrain_epochs
from noisycorrect.review.confident_learning import find_errors
from noisycorrect.support.errors import InvalidInputError, TrainingWarning

CLASSES = 3


def blobs(count=120, rate=0.3):
    generator = torch.Generator().manual_seed(0)
    clean = torch.arange(count) % CLASSES
    inputs = torch.randn(count, 4, generator=generator) + 4 * nn.functional.one_hot(clean, 4)
    given = torch.from_numpy(noise.Symmetric(rate).apply(clean.numpy(), num_classes=CLASSES, seed=0).labels)
    return inputs, given, clean


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def run(train, model=None, **settings):
    defaults = {"num_classes": CLASSES, "epochs": 5, "folds": 3, "lr": 0.1, "batch_size": 10, "callbacks": [QUIET]}
    return prune_retrain(model or network(), train, **{**defaults, **settings})


def test_wrong_labels_are_left_out_and_the_rest_is_trained_on():
    inputs, given, clean = blobs()
    model = network()
    before = copy.deepcopy(model.state_dict())
    seen = []
    note = AfterEpoch(lambda run: seen.append(run.epoch))
    result = run((inputs, given), model, val=(inputs, clean), epochs=10, callbacks=[QUIET, note])
    wrong = (given != clean).numpy()
    others = [run((inputs, given), model, seed=seed).kept for seed in (1, 2)]
    assert np.mean([kept == ~wrong for kept in (result.kept, *others)]) > 0.9
    assert (result.model(inputs).argmax(1) == clean).float().mean() > 0.9
    assert not result.model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert result.probs.shape == (120, CLASSES)
    torch.testing.assert_close(result.probs.sum(1), torch.ones(120))
    assert torch.equal(result.quality, result.probs[torch.arange(120), given])
    assert np.array_equal(result.kept, ~find_errors(given, result.probs))
    assert seen == list(range(1, 11))
    assert [record["fold"] for record in result.history] == [1, 2, 3, 0]
    assert result.history[-1]["val_accuracy"] > 0.9
    assert "val_accuracy" not in result.history[0]


def test_passes_are_counted():
    inputs, given, _ = blobs()
    result = run((inputs, given))
    kept = int(result.kept.sum())
    of_kept = kept - (kept % 10 == 1)  # a last batch of one sample is left out
    assert result.sample_passes == 3 * 5 * (2 * 120 + of_kept) + 120
    assert [record["sample_passes"] for record in result.history] == [1240, 2480, 3720, result.sample_passes]


def test_a_sample_is_predicted_by_a_model_that_has_not_seen_it():
    """Each input is a code of its own with a random label: who has seen a sample knows its label, nobody else can."""
    count = 60
    inputs, given = torch.eye(count), torch.randint(2, (count,), generator=torch.Generator().manual_seed(0))
    model = nn.Linear(count, 2)
    result = prune_retrain(
        model, (inputs, given), num_classes=2, epochs=40, folds=3, lr=1.0, batch_size=20, callbacks=[QUIET]
    )
    known = SelfCorrector(model, num_classes=2, recipe="ce", epochs=40, lr=1.0, batch_size=20, callbacks=[QUIET]).fit(
        (inputs, given)
    )
    assert (known.model(inputs).argmax(1) == given).all()
    unseen = (result.probs.argmax(1) == given).float().mean()
    assert unseen < 0.7


def test_folds_start_fresh_and_the_last_training_from_the_model():
    """With a rate of next to 0 a training ends where it started."""
    inputs, given, _ = blobs()
    model = network()
    result = run((inputs, given), model, lr=1e-12, epochs=1)
    torch.testing.assert_close(result.model.state_dict(), model.state_dict(), atol=1e-6, rtol=0)
    own = model(inputs).softmax(1)
    assert ((result.probs - own).abs().amax(1) > 1e-3).float().mean() > 0.9


def test_the_same_seed_is_the_same_run():
    inputs, given, _ = blobs()
    one, same, other = (run((inputs, given), epochs=2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.probs, same.probs)
    assert torch.equal(one.model[0].weight, same.model[0].weight)
    assert not torch.equal(one.probs, other.probs)


class Indexed(Dataset):
    """Items with an index; noisy when trained on, clean in their canonical form."""

    def __init__(self, inputs, labels, shift=0.0):
        self.inputs, self.labels, self.shift = inputs, labels, shift

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.inputs[index] + self.shift * torch.randn(4), int(self.labels[index]), index

    def canonical(self):
        return Indexed(self.inputs, self.labels)


def test_data_sets_give_what_arrays_give():
    inputs, given, _ = blobs()
    arrays, items = run((inputs, given), epochs=2), run(Indexed(inputs, given), epochs=2)
    torch.testing.assert_close(items.probs, arrays.probs)
    assert np.array_equal(items.kept, arrays.kept)


class Named(Dataset):
    """Items as dicts, with one input under a name of Hugging Face."""

    def __init__(self, inputs, labels, weights):
        self.columns = inputs, labels, weights

    def __len__(self):
        return len(self.columns[0])

    def __getitem__(self, index):
        inputs, label, weight = (column[index] for column in self.columns)
        return {"inputs_embeds": inputs, "label": int(label), "weight": float(weight)}


class ByName(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = network()

    def forward(self, inputs_embeds):
        return self.body(inputs_embeds)


def test_weights_in_the_data_count_in_every_training(monkeypatch):
    inputs, given, clean = blobs(60)
    weights = (given == clean).float() + 0.1
    arrays = {"x": inputs, "y": given, "sample_weight": weights}
    found = [run((inputs, given)), run(arrays), run(Named(inputs, given, weights), ByName())]
    unweighed, weighed, named = (each.probs for each in found)
    assert not torch.allclose(weighed, unweighed, atol=0.01)
    torch.testing.assert_close(named, weighed)
    fit, seen = SelfCorrector.fit, []
    monkeypatch.setattr(SelfCorrector, "fit", lambda self, data, *rest, **named: fit(self, seen.append(data) or data))
    kept = run(arrays).kept
    assert len(seen) == 4
    assert torch.equal(seen[-1].sample_weight, weights[kept])


def test_predictions_are_of_the_canonical_form():
    inputs, given, _ = blobs(rate=0.0)
    result = run(Indexed(inputs, given, shift=0.5), lr=1e-12, epochs=1)
    still = run((inputs, given), lr=1e-12, epochs=1)
    torch.testing.assert_close(result.probs, still.probs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", ["prune-by-class", "both", "confident-joint"])
def test_other_ways_to_prune(method):
    inputs, given, _ = blobs()
    result = run((inputs, given), epochs=2, method=method)
    assert np.array_equal(result.kept, ~find_errors(given, result.probs, method))


def test_a_class_that_loses_all_labels_is_told_of(monkeypatch):
    module = importlib.import_module(prune_retrain_epochs.__module__)  # a function has the same name
    monkeypatch.setattr(module, "find_errors", lambda labels, probs, method: labels == 2)
    inputs, given, _ = blobs(30, rate=0.0)
    with pytest.warns(TrainingWarning, match=r"none of the 10 of class 2: .* method=\"both\""):
        result = run((inputs, given), epochs=1)
    assert result.kept.sum() == 20


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
@pytest.mark.parametrize("budget", [11, 60, 101])
def test_the_budget_is_used_and_not_passed(budget, folds):
    epochs = prune_retrain_epochs(budget, folds)

    def cost(epochs):
        return 3 * epochs * (folds - 1) + 1 + 3 * epochs  # all kept

    assert cost(epochs) <= 3 * budget < cost(epochs + 1)


def test_bad_input_is_refused():
    inputs, given, _ = blobs(30)
    with pytest.raises(InvalidInputError, match="a budget of at least 6 epochs for 5 folds; got 5"):
        prune_retrain_epochs(5, 5)
    with pytest.raises(InvalidInputError, match="did you mean 'both'"):
        run((inputs, given), method="bot")
    with pytest.raises(InvalidInputError, match="folds to be a whole number >= 2"):
        run((inputs, given), folds=1)
    with pytest.raises(InvalidInputError, match="epochs to be a whole number >= 1"):
        run((inputs, given), epochs=0)
    with pytest.raises(InvalidInputError, match="seed to be a whole number >= 0"):
        run((inputs, given), seed=-1)
    with pytest.raises(InvalidInputError, match="at least 20 samples of each class for 20 folds"):
        run((inputs, given), folds=20)
    with pytest.raises(InvalidInputError, match="labels of each of 4 classes"):
        run((inputs, given), num_classes=4)
    with pytest.raises(InvalidInputError, match="a label for every sample; got -1"):
        run((inputs, torch.where(torch.arange(30) == 3, -1, given)))
    with pytest.raises(InvalidInputError, match=r"reset_parameters\(\)"):
        run((inputs, given), nn.Flatten())
