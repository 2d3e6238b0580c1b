"""Vectors are brought to one scale: the statistics against float64, and the module in front of a network."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from noisycorrect.data.datasets import ArrayDataset, join_unlabeled
from noisycorrect.data.standardize import (
    SAMPLES_READ,
    Standardize,
    Standardized,
    fitted_standardize,
    restore_standardized,
    standardize_of,
)
from noisycorrect.support.errors import InvalidInputError


def table(rows=9000, seed=0):
    """Return features of very different scales: the last two constant, one nearly always 0."""
    rng = np.random.default_rng(seed)
    rare = np.where(rng.random(rows) < 0.002, 3.0, 0.0)
    columns = [rng.normal(1e6, 5, rows), rng.gamma(0.1, 1e-4, rows), rng.normal(size=rows), rare]
    return np.stack([*columns, np.full(rows, 0.1), np.zeros(rows)], axis=1)


def oracle(values, limit=5.0):
    """Return what `values` are standardised to by their own statistics, in float64, a feature at a time."""
    out = np.empty_like(values)
    for feature, column in enumerate(values.T):
        mean = sum(map(float, column)) / len(column)
        deviation = (sum((float(value) - mean) ** 2 for value in column) / len(column)) ** 0.5
        scale = deviation if deviation > 1e-6 * abs(mean) else 1.0
        others = [float(value) for value in column if value]
        if others and len(others) <= 0.3 * len(column):  # mostly zeros, which stay
            mean, scale = 0.0, (sum(value**2 for value in others) / len(others)) ** 0.5
        out[:, feature] = [min(max((float(value) - mean) / scale, -limit), limit) for value in column]
    return out


def labelled(inputs):
    return ArrayDataset(inputs, np.zeros(len(inputs), int))


class Items(Dataset):
    """A data set that reads its items one by one, and counts them."""

    def __init__(self, inputs):
        self.inputs, self.read = inputs, []

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        self.read.append(index)
        return {"x": self.inputs[index], "label": 0}


def test_it_is_what_float64_says():
    values = table(200)
    standardize = fitted_standardize(labelled(values))
    assert standardize.mean.dtype == standardize.scale.dtype == torch.float32
    torch.testing.assert_close(standardize(torch.tensor(values)), torch.tensor(oracle(values)), rtol=1e-5, atol=0.02)
    alike = values[:, 1:]  # a mean of 1e6 in float32 is a thousandth of that feature's deviation
    torch.testing.assert_close(
        fitted_standardize(labelled(alike))(torch.tensor(alike)), torch.tensor(oracle(alike)), rtol=1e-5, atol=1e-5
    )


def test_blocks_change_nothing(monkeypatch):
    whole = fitted_standardize(labelled(table(300)))
    monkeypatch.setattr("noisycorrect.data.standardize._BLOCK", 7)
    parts = fitted_standardize(labelled(table(300)))
    assert torch.equal(parts.mean, whole.mean)
    torch.testing.assert_close(parts.scale, whole.scale, rtol=1e-6, atol=0)


@pytest.mark.parametrize("prepare", [lambda x: x * 1e3 - 7, lambda x: (x - x.min(0)) / np.ptp(x, 0).clip(1e-9)])
def test_how_features_were_scaled_and_shifted_before_is_forgotten(prepare):
    values = np.random.default_rng(1).gamma(0.5, 2.0, (300, 4))
    same = [fitted_standardize(labelled(each))(torch.tensor(each)) for each in (values, prepare(values))]
    torch.testing.assert_close(*same, rtol=1e-4, atol=1e-4)


def test_a_rare_word_does_not_tower_over_the_others_and_a_constant_one_is_silent():
    rng = np.random.default_rng(0)
    words = np.where(rng.random((2000, 50)) < np.linspace(0.0005, 0.2, 50), rng.random((2000, 50)), 0)
    words[:, 7] = 0
    standardize = fitted_standardize(labelled(words))
    out = standardize(torch.tensor(words))
    np.testing.assert_allclose(out, oracle(words), rtol=1e-5, atol=1e-6)
    assert not out[words == 0].any()
    assert float(out.max()) < 2
    assert not standardize.mean.any()
    bare = Standardize(words.mean(0), words.std(0).clip(1e-9), limit=1e9)(torch.tensor(words))
    assert float(bare.abs().max()) > 20


def test_a_rare_spike_on_other_values_is_bounded():
    values = np.full((2000, 1), 7.0)
    values[:3] = 900.0
    out = fitted_standardize(labelled(values))(torch.tensor(values))
    assert float(out.max()) == 5.0


def test_what_differs_only_after_training_is_bounded():
    standardize = fitted_standardize(labelled(table(500)))
    unseen = torch.tensor([[1e6, 0.0, 0.0, 0.0, 16000.0, -1e30]])
    assert standardize(unseen)[0, -2:].tolist() == [5.0, -5.0]


def test_dtypes_and_more_dimensions():
    standardize = Standardize([1.0, 2.0], [2.0, 4.0])
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        assert standardize(torch.tensor([[3.0, 6.0]], dtype=dtype)).dtype == dtype
    whole = standardize(torch.tensor([[3, 6]]))
    assert (whole.dtype, whole.tolist()) == (torch.float32, [[1.0, 1.0]])
    assert standardize(torch.full((2, 5, 2), 3.0)).shape == (2, 5, 2)


@pytest.mark.parametrize(
    "inputs", [torch.ones(6, 4, dtype=torch.long), torch.ones(6), torch.ones(6, 3, 4, 4), torch.ones(6, 0)],
    ids=["token ids", "numbers", "images", "nothing"],
)  # fmt: skip
def test_other_inputs_are_left_alone(inputs):
    assert fitted_standardize(labelled(inputs)) is None


@pytest.mark.parametrize(
    "items", [[torch.ones(3), torch.ones(4)], [torch.ones(3), [1.0]], [torch.ones(3), torch.ones(3).long()], ["a", "b"]]
)
def test_items_that_are_no_vectors_of_one_length_are_left_alone(items):
    assert fitted_standardize(Items(items)) is None


def test_items_are_read_evenly_spaced():
    values = table(SAMPLES_READ * 2).astype("float32")
    items = Items(values)
    found = fitted_standardize(items)
    assert (len(items.read), items.read[0], items.read[-1]) == (SAMPLES_READ, 0, len(values) - 1)
    all_of_them = fitted_standardize(labelled(values))
    torch.testing.assert_close(found.mean[2], all_of_them.mean[2], rtol=0, atol=0.03)
    few = Items(values[:50])
    torch.testing.assert_close(fitted_standardize(few).scale, fitted_standardize(labelled(values[:50])).scale)


def test_statistics_to_be_loaded_are_not_computed():
    items = Items(table(200))
    known = fitted_standardize(items, known=True)
    assert len(items.read) < 200
    assert (known.mean.tolist(), known.scale.tolist()) == ([0.0] * 6, [1.0] * 6)


def test_unlabelled_samples_count():
    data = join_unlabeled(labelled(np.zeros((3, 1))), np.full((3, 1), 2.0), -1)
    assert fitted_standardize(data).mean.item() == 1.0


def test_an_input_that_is_missing_is_named():
    values = table(100)
    values[17, 3] = np.nan
    with pytest.raises(InvalidInputError, match="finite inputs.*got nan in feature 3 of sample 17; to fix: fill in"):
        fitted_standardize(labelled(values))
    with pytest.raises(InvalidInputError, match="got nan in feature 3 of sample 17"):
        fitted_standardize(Items(values))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], [1.0, 1.0]), r"shape \(F,\); got shapes \(1,\) and \(2,\)"),
        ((0.0, 1.0), r"shape \(F,\); got shapes \(\) and \(\)"),
        (([0.0], [0.0]), "scales > 0; got a smallest scale of 0"),
        (([float("inf")], [1.0]), "finite means"),
        (([0.0], [float("nan")]), "got NaN or infinity"),
    ],
)
def test_wrong_statistics(arguments, message):
    with pytest.raises(InvalidInputError, match=f"expected .*{message}.*; to fix: "):
        Standardize(*arguments)
    with pytest.raises(InvalidInputError, match="limit"):
        Standardize([0.0], [1.0], limit=0)


def test_a_network_behind_it_is_a_module_like_any_other():
    model = Standardized(Standardize([10.0, 0.0], [2.0, 1.0]), nn.Linear(2, 3))
    inputs = torch.tensor([[14.0, 1.0]])
    expected = model.network(torch.tensor([[2.0, 1.0]]))
    for same in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(same(inputs), expected)
    assert [name for name, _ in model.named_parameters()] == ["network.weight", "network.bias"]
    assert "2 features" in repr(model)
    assert standardize_of(nn.Sequential(model)) is model.standardize
    other = Standardized(Standardize([0.0, 0.0], [1.0, 1.0]), nn.Linear(2, 3))
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(inputs), expected)


def test_arguments_beside_the_input_reach_the_network():
    class Scaled(nn.Module):
        def forward(self, inputs, factor, *, shift):
            return inputs * factor + shift

    model = Standardized(Standardize([1.0], [1.0]), Scaled())
    assert model(torch.tensor([[3.0]]), 10, shift=1).item() == 21


def test_saved_weights_go_into_the_network_that_was_passed():
    front = Standardize([10.0, 0.0], [2.0, 1.0])
    saved = nn.ModuleDict({"first": Standardized(front, nn.Linear(2, 3)), "second": nn.Linear(2, 3)})
    found = restore_standardized(
        nn.ModuleDict({"first": nn.Linear(2, 3), "second": nn.Linear(2, 3)}), saved.state_dict()
    )
    found.load_state_dict(saved.state_dict())
    assert torch.equal(found["first"](torch.ones(1, 2)), saved["first"](torch.ones(1, 2)))
    assert restore_standardized(saved, saved.state_dict()) is saved
    bare = nn.Linear(2, 3)
    assert restore_standardized(bare, bare.state_dict()) is bare
