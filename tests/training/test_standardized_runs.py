"""Runs that standardise their inputs: what is in the result, and going on."""

import copy
import warnings

import pytest
import torch
from tiny_runs import CLASSES, PLAIN, SHORT, Kill, Records, assert_equal_runs, blobs, corrector, network
from torch import nn

from noisycorrect import RECIPES, CheckpointError, CorrectionResult, OnlineCorrection
from noisycorrect.classification import TwinNetworks
from noisycorrect.correction.part import Setup
from noisycorrect.data.datasets import as_dataset
from noisycorrect.data.standardize import Standardized, fitted_standardize

AUTO = SHORT.replace(standardize="auto")
FACTORS, SHIFTS = torch.tensor([1e-3, 1.0, 16.0, 4000.0]), torch.tensor([0.0, 100.0, -3.0, 1e4])


def raw(count=60):
    """Return the clusters as a user may have them: features of very different scales."""
    inputs, given, _ = blobs(count)
    return inputs * FACTORS + SHIFTS, given


def test_the_model_takes_inputs_as_they_were_given():
    inputs, given = raw()
    mine = network()
    before = copy.deepcopy(mine.state_dict())
    result = corrector(mine, AUTO).fit((inputs, given))
    assert isinstance(result.model, Standardized)
    assert type(result.model.network) is nn.Sequential
    statistics = fitted_standardize(as_dataset((inputs, given), "train"))
    for name in ("mean", "scale"):
        assert torch.equal(getattr(result.model.standardize, name), getattr(statistics, name))
    with torch.no_grad():
        expected = result.model.network(statistics(inputs))
        assert torch.equal(result.model(inputs), expected)
    assert all(torch.equal(before[name], value) for name, value in mine.state_dict().items())


def test_preparation_is_forgotten():
    inputs, given = raw()
    outputs = []
    for prepared in (inputs, (inputs - SHIFTS) / FACTORS, (inputs - inputs.mean(0)) / inputs.std(0)):
        model = corrector(network(norm=False), AUTO).fit((prepared, given)).model
        with torch.no_grad():
            outputs.append(model(prepared).softmax(1))
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=0.02)
    torch.testing.assert_close(outputs[2], outputs[0], rtol=0, atol=0.02)


def test_validation_has_no_part_in_the_statistics():
    inputs, given = raw()
    alone = corrector(recipe=AUTO).fit((inputs, given))
    beside = corrector(recipe=AUTO).fit((inputs, given), (inputs * 7, given))
    assert_equal_runs(alone, beside)


@pytest.mark.parametrize("name", ["paper", "robust", "dividemix"])
def test_a_killed_run_goes_on_with_the_statistics_that_it_had(name, tmp_path, monkeypatch):
    inputs, given = raw()
    recipe = RECIPES[name].replace(standardize="auto")
    settings = {"recipe": recipe, "epochs": 6, "batch_size": 20}
    whole = corrector(**settings).fit((inputs, given))
    with pytest.raises(KeyboardInterrupt):
        corrector(callbacks=[Kill(4)], run_dir=tmp_path, **settings).fit((inputs, given))
    with pytest.raises(CheckpointError, match="expected standardize='auto', as in the run .*; got None"):
        corrector(run_dir=tmp_path, **{**settings, "recipe": recipe.replace(standardize=None)}).fit((inputs, given))
    monkeypatch.setattr("noisycorrect.data.standardize.batch_moments", lambda _: pytest.fail("computed anew"))
    assert_equal_runs(corrector(run_dir=tmp_path, **settings).fit((inputs, given)), whole)


def test_a_saved_result_goes_into_the_network_that_was_passed(tmp_path):
    inputs, given = raw()
    result = corrector(recipe=AUTO).fit((inputs, given))
    result.save(tmp_path / "saved")
    for model in (network(seed=7), copy.deepcopy(result.model)):
        loaded = CorrectionResult.load(tmp_path / "saved", model)
        with torch.no_grad():
            assert torch.equal(loaded.model(inputs), result.model(inputs))


def test_its_model_can_be_trained_further():
    inputs, given = raw()
    first = corrector(recipe=AUTO).fit((inputs, given)).model
    again = corrector(first, AUTO).fit((inputs, given)).model
    assert isinstance(again, Standardized)
    assert not isinstance(again.network, Standardized)


@pytest.mark.parametrize("model", [network(), TwinNetworks.of(network(), seed=3)], ids=["one", "two"])
def test_each_of_two_networks_is_behind_it(model):
    inputs, given = raw()
    before = copy.deepcopy(model)
    recipe = RECIPES["dividemix"].replace(standardize="auto")
    result = corrector(model, recipe, epochs=3, batch_size=20).fit((inputs, given))
    for part in (result.model.first, result.model.second):
        assert isinstance(part, Standardized)
    assert repr(model) == repr(before)


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel])
def test_wrapped_models(wrap, tmp_path):
    inputs, given = raw()
    bare = corrector(recipe=AUTO).fit((inputs, given))
    result = corrector(wrap(network()), AUTO, run_dir=tmp_path).fit((inputs, given))
    with torch.no_grad():
        assert torch.equal(result.model(inputs), bare.model(inputs))
    again = corrector(wrap(network()), AUTO, run_dir=tmp_path).fit((inputs, given))
    with torch.no_grad():
        assert torch.equal(again.model(inputs), bare.model(inputs))


def test_data_sets_that_read_items():
    inputs, given = raw()
    arrays = corrector(recipe=AUTO).fit((inputs, given))
    items = corrector(recipe=AUTO).fit(Records(inputs, given))
    with torch.no_grad():
        torch.testing.assert_close(items.model(inputs), arrays.model(inputs), rtol=1e-4, atol=1e-4)


def test_what_is_no_vector_is_left_alone():
    tokens = torch.randint(5, (60, 4), generator=torch.Generator().manual_seed(0))
    tokens[:, 0] = torch.arange(60) % CLASSES
    model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(16, CLASSES))
    result = corrector(model, AUTO).fit((tokens, torch.arange(60) % CLASSES))
    assert type(result.model) is nn.Sequential
    inputs, given = raw()
    own_batches = {"collate_fn": torch.utils.data.default_collate}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = corrector(recipe=AUTO, lr=1e-9, **own_batches).fit(Records(inputs, given))
    assert type(result.model) is nn.Sequential


def test_by_default_inputs_are_left_alone():
    inputs, given, _ = blobs(60)
    assert type(corrector(recipe=PLAIN).fit((inputs, given)).model) is nn.Sequential
    for published in ("paper", "ce", "ema", "swa", "elr", "dividemix", "coteaching"):
        assert RECIPES[published].standardize is None


def test_what_input_dropout_drops_becomes_the_mean():
    correction = OnlineCorrection(start=0.5, input_dropout=0.5)
    neutral = torch.tensor([100.0, -3.0])
    setup = Setup(
        corrector().task,
        torch.zeros(4).long(),
        4,
        3,
        torch.device("cpu"),
        0,
        lambda _: None,
        lambda: None,
        neutral=neutral,
    )
    correction.start(setup)
    torch.manual_seed(0)
    out = correction.dropped(torch.tensor([[101.0, -4.0]]).repeat(200, 1))
    assert {tuple(row) for row in out.tolist()} == {(100.0, -3.0), (102.0, -3.0), (100.0, -5.0), (102.0, -5.0)}
