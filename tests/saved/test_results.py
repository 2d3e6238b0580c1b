"""Results saved, and loaded again: from saved results of all formats and from run folders in all states."""

import json
import textwrap

import numpy as np
import pytest
import torch
from spawn import run_script
from tiny_runs import ONLINE, PLAIN, SHORT, Kill, Records, blobs, corrector, network
from torch import nn

from benchmarks.soaks.crafting import edit_manifest
from noisycorrect import (
    RECIPES,
    CheckpointError,
    CorrectionResult,
    InvalidInputError,
    SoftLabelStore,
    Votes,
    fit_votes,
)
from noisycorrect.classification import Classification
from noisycorrect.classification.methods.coteaching import CoTeaching
from noisycorrect.export import read_run_labels
from noisycorrect.saved import weights as weights_file
from noisycorrect.saved.details import Details
from noisycorrect.saved.networks import NETWORKS, built_network, network_record
from noisycorrect.saved.weights import read_weights, write_weights

INPUTS, GIVEN, _ = blobs(60)
NAMES = ["cat", "dog", "fox"]
TWINS = RECIPES["coteaching"].replace(objective=CoTeaching(noise_rate=0.3))


class Ours(nn.Module):
    """Stands for a network of this package."""

    def __init__(self, width):
        super().__init__()
        self.config = {"width": width}
        self.layers = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, inputs):
        return self.layers(inputs)


class Theirs(nn.Linear):
    """A network of somebody else's."""

    def __init__(self):
        super().__init__(4, 3)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(NETWORKS, "_things", {"ours": Ours})


def assert_same(loaded, result):
    assert loaded.class_names == result.class_names
    assert loaded.sample_passes == result.sample_passes
    assert [record["epoch"] for record in loaded.history] == [record["epoch"] for record in result.history]
    assert torch.equal(loaded.labels.refined(), result.labels.refined())
    assert np.array_equal(loaded.predict_proba(INPUTS), result.predict_proba(INPUTS))


@pytest.mark.parametrize("weights", ["safetensors", "torch"])
@pytest.mark.parametrize("recipe", [SHORT, "robust", TWINS], ids=["paper", "robust", "twins"])
def test_saved_and_loaded(weights, recipe, tmp_path):
    if weights == "safetensors":
        pytest.importorskip("safetensors", reason="needs the extra safetensors")
    result = corrector(recipe=recipe, epochs=8, class_names=NAMES).fit((INPUTS, GIVEN))
    result.save(tmp_path / "saved", weights=weights)
    name = {"safetensors": "model.safetensors", "torch": "model.pt"}[weights]
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {"labels", "history.json", "details.json", name}
    assert_same(CorrectionResult.load(tmp_path / "saved", network(seed=5)), result)
    assert_same(CorrectionResult.load(tmp_path / "saved"), result)


def layered(kind):
    layers = {
        "images": [nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.SiLU(),
                   nn.MaxPool2d(2, 1), nn.Dropout2d(0.2), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(6, 3)],
        "nested": [nn.Sequential(nn.Linear(4, 6, bias=False), nn.LayerNorm(6)), nn.LeakyReLU(0.3), nn.Linear(6, 3)],
    }  # fmt: skip
    return nn.Sequential(*layers[kind])


@pytest.mark.parametrize("kind", ["images", "nested"])
def test_sequences_of_plain_layers_are_built_anew(kind):
    model = layered(kind)
    record = json.loads(json.dumps(network_record(model)))
    again = built_network(record, "here")
    assert repr(again) == repr(model)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(INPUTS), model.eval()(INPUTS))


def test_networks_whose_building_is_unknown(tmp_path):
    shared = nn.Linear(4, 4)
    for model in (Theirs(), nn.Sequential(Theirs()), nn.Sequential(shared, nn.ReLU(), shared)):
        assert network_record(model) is None
    result = corrector(Theirs(), run_dir=tmp_path / "run").fit((INPUTS, GIVEN))
    result.save(tmp_path / "saved")
    for folder in ("run", "saved"):
        with pytest.raises(InvalidInputError, match="model=, the network whose weights lie in .*; got None"):
            CorrectionResult.load(tmp_path / folder)
        assert_same(CorrectionResult.load(tmp_path / folder, Theirs()), result)


def test_a_network_of_ours_need_not_be_passed(registered, tmp_path):
    torch.manual_seed(0)  # its first weights
    result = corrector(Ours(6), recipe="robust", epochs=8, class_names=NAMES, run_dir=tmp_path / "run").fit(
        (INPUTS, GIVEN)
    )
    result.save(tmp_path / "saved")
    for folder in ("saved", "run"):
        loaded = CorrectionResult.load(tmp_path / folder)
        assert_same(loaded, result)
        assert loaded.model.network.config == {"width": 6}
    with pytest.raises(CheckpointError, match="the network 'theirs' of here"):
        built_network({"name": "theirs", "config": {}}, "here")
    with pytest.raises(CheckpointError, match="the network 'ours' of here; .*width"):
        built_network({"name": "ours", "config": {}}, "here")


@pytest.mark.parametrize("recipe", [SHORT, PLAIN, ONLINE], ids=["at cycles' ends", "none", "every step"])
@pytest.mark.parametrize("epochs", [1, 5, 8])
def test_a_run_folder_says_what_the_run_has_come_to(recipe, epochs, tmp_path):
    """Killed after some epochs, it holds the model that the run would predict with, and the labels so far."""
    seen = {}

    class Look(Kill):
        def on_checkpoint(self, run):
            if run.epoch == self.epoch:
                model = run.model if run.history or recipe is ONLINE else run.student
                seen.update({name: value.clone() for name, value in model.state_dict().items()})
            super().on_checkpoint(run)

    with pytest.raises(KeyboardInterrupt):
        corrector(recipe=recipe, epochs=8, run_dir=tmp_path, class_names=NAMES, callbacks=[Look(epochs)]).fit(
            (INPUTS, GIVEN)
        )
    loaded = CorrectionResult.load(tmp_path, network(seed=3))
    assert loaded.model.state_dict().keys() == seen.keys()
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, seen[name]), name
    assert loaded.class_names == tuple(NAMES)
    assert not loaded.model.training
    assert loaded.sample_passes == (loaded.history[-1]["sample_passes"] if loaded.history else 0)
    assert loaded.predict(INPUTS).shape == (60,)


def test_the_default_follows_what_is_installed(tmp_path, monkeypatch):
    state = network().state_dict()
    monkeypatch.setattr(weights_file.importlib.util, "find_spec", lambda name: None)
    assert write_weights(tmp_path, state, {}) == "model.pt"
    with pytest.raises(InvalidInputError, match="pip install safetensors"):
        write_weights(tmp_path, state, {}, weights="safetensors")
    with pytest.raises(InvalidInputError, match="a known format of weights; got 'pickle'"):
        write_weights(tmp_path, state, {}, weights="pickle")


def test_safetensors_hold_shared_memory_odd_strides_and_versions(tmp_path):
    safetensors = pytest.importorskip("safetensors", reason="needs the extra safetensors")
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[1].weight = model[0].weight
    model[0].bias.data = torch.arange(6.0)[::2]
    state = model.state_dict()
    assert write_weights(tmp_path, state, {"class_names": ["a", "ü"]}) == "model.safetensors"
    found, more = read_weights(tmp_path / "model.safetensors")
    assert more == {"class_names": ["a", "ü"]}
    assert found._metadata == state._metadata
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    with safetensors.safe_open(tmp_path / "model.safetensors", framework="np") as file:
        assert len(file.keys()) == len(state) - 1
        assert file.metadata()["format"] == "pt"


class Counts(nn.Linear):
    """Has a state that is no tensor."""

    def get_extra_state(self):
        return {"calls": 3}

    def set_extra_state(self, state):
        self.found = state


def test_a_state_that_is_no_tensor_goes_into_a_file_of_torch(tmp_path):
    result = corrector(Counts(4, 3)).fit((INPUTS, GIVEN))
    result.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "model.pt").exists()
    model = Counts(4, 3)
    CorrectionResult.load(tmp_path / "saved", model)
    assert model.found == {"calls": 3}
    with pytest.raises(
        InvalidInputError, match='_extra_state\', which is no dense tensor; to fix: pass weights="torch"'
    ):
        result.save(tmp_path / "other", weights="safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["saved"]


def test_folders_of_older_versions(tmp_path):
    """Before there were names: model.pt without details.json, and a run folder without it."""
    result = corrector(run_dir=tmp_path / "run").fit((INPUTS, GIVEN))
    result.save(tmp_path / "saved", weights="torch")
    for folder in ("saved", "run"):
        (tmp_path / folder / "details.json").unlink()
        with pytest.raises(CheckpointError, match="which names the classes; got no such file"):
            CorrectionResult.load(tmp_path / folder, network(seed=5))  # of this version: lost
        edit_manifest(tmp_path / folder / "labels", run="")
        assert_same(CorrectionResult.load(tmp_path / folder, network(seed=5)), result)


def test_a_task_may_be_passed(tmp_path):
    result = corrector().fit((INPUTS, GIVEN))
    result.save(tmp_path / "saved")
    task = Classification(3, allow_empty_classes=True)
    assert CorrectionResult.load(tmp_path / "saved", network(), task=task).task is task


def test_bad_folders(tmp_path):
    with pytest.raises(CheckpointError, match="a saved result or a run's checkpoint .* no such file"):
        CorrectionResult.load(tmp_path / "nothing", network())
    SoftLabelStore.create(tmp_path / "new" / "labels", [0, 1, 2], 3)
    with pytest.raises(CheckpointError, match="not finished its first epoch"):
        CorrectionResult.load(tmp_path / "new", network())
    result = corrector().fit((INPUTS, GIVEN))
    result.save(tmp_path / "saved")
    details = tmp_path / "saved" / "details.json"
    content = json.loads(details.read_text())
    (weights,) = (tmp_path / "saved").glob("model.*")
    whole = weights.read_bytes()
    for damaged in (whole[:50], whole[:-40], b"", b"x" * len(whole)):
        weights.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="to fix"):
            CorrectionResult.load(tmp_path / "saved", network())
    weights.unlink()
    with pytest.raises(CheckpointError, match="no such file"):
        CorrectionResult.load(tmp_path / "saved", network())
    details.write_text(json.dumps({**content, "version": 3}))
    with pytest.raises(CheckpointError, match="format version 2 or older .*; got a newer one"):
        CorrectionResult.load(tmp_path / "saved", network())
    for damage in ("{", "[]", '{"version": 1}'):
        details.write_text(damage)
        with pytest.raises(CheckpointError, match="details in"):
            CorrectionResult.load(tmp_path / "saved", network())


def test_names_are_kept_when_a_run_goes_on_without_them(tmp_path):
    corrector(run_dir=tmp_path, class_names=NAMES).fit((INPUTS, GIVEN))
    again = corrector(run_dir=tmp_path).fit((INPUTS, GIVEN))
    assert again.class_names == tuple(NAMES)
    assert again.verdict() == again.verdict(NAMES)
    assert corrector(run_dir=tmp_path, class_names=["x", "y", "z"]).fit((INPUTS, GIVEN)).class_names == ("x", "y", "z")


def test_a_save_that_is_killed_leaves_no_folder(tmp_path):
    """Killed when all but the details are written."""
    script = f"""
        import os, signal
        from noisycorrect.saved import results
        from tiny_runs import blobs, corrector
        inputs, given, _ = blobs(60)
        result = corrector().fit((inputs, given))
        results.Details.write = lambda self, folder: os.kill(os.getpid(), signal.SIGKILL)
        result.save({str(tmp_path / "saved")!r})
    """
    assert run_script(textwrap.dedent(script)).returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".saved.")
    assert left.name.endswith(".part")


class Photos(Records):
    """Knows what its samples are called."""

    sample_names = tuple(f"set/{number}" for number in range(60))
    image_files = tuple(f"{name}.jpg" for name in sample_names)


def test_a_run_folder_keeps_the_names_that_a_data_set_gives_its_samples(tmp_path):
    corrector(recipe=PLAIN, run_dir=tmp_path / "run").fit(Photos(INPUTS, GIVEN))
    details = Details.read(tmp_path / "run")
    assert (details.sample_names, details.image_files) == (Photos.sample_names, Photos.image_files)
    assert details.class_names is None
    labels = read_run_labels(tmp_path / "run")
    assert (labels.identified, labels.ids[7], labels.stem(7)) == (True, "set/7", "set/7")
    # Inputs without labels follow, whose names nobody knows.
    corrector(recipe=PLAIN, run_dir=tmp_path / "more").fit(Photos(INPUTS, GIVEN), unlabeled=INPUTS[:5])
    assert Details.read(tmp_path / "more").sample_names is None
    assert read_run_labels(tmp_path / "more").stem(7) == "000007"


def test_two_networks_come_out_of_a_run_folder(tmp_path):
    result = corrector(recipe=TWINS, epochs=8, run_dir=tmp_path).fit((INPUTS, GIVEN))
    loaded = CorrectionResult.load(tmp_path)
    assert type(loaded.model).__name__ == "TwinNetworks"
    assert_same(loaded, result)


def test_classes_of_votes_are_the_names(tmp_path):
    names = np.array(["ant", "bee", "cow"])
    table = np.stack([names[GIVEN], names[GIVEN]], 1)
    table[0, 1] = "bee"
    votes = Votes.from_table(table)
    result = fit_votes(corrector(recipe="ema", epochs=4, run_dir=tmp_path), INPUTS, votes)
    assert result.correction.class_names == ("ant", "bee", "cow")
    assert set(CorrectionResult.load(tmp_path).predict(INPUTS, names=True)) <= set(names)
