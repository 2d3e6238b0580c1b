"""What a run returns, saved and loaded."""

import math

import pytest
import torch
from tiny_runs import SHORT, assert_equal_runs, blobs, corrector, network
from torch import nn

from noisycorrect import CorrectionResult
from noisycorrect.support.errors import CheckpointError, InvalidInputError


def test_save_and_load(tmp_path):
    inputs, given, _ = blobs(60)
    result = corrector().fit((inputs, given))
    result.save(tmp_path / "saved")
    loaded = CorrectionResult.load(tmp_path / "saved", network(seed=5))
    assert_equal_runs(result, loaded)
    assert loaded.sample_passes == result.sample_passes
    assert [record["loss"] for record in loaded.history] == [record["loss"] for record in result.history]
    assert math.isnan(loaded.history[0]["changed"])
    assert loaded.find_label_issues(top=3) == result.find_label_issues(top=3)
    with pytest.raises(InvalidInputError, match="a new or empty folder"):
        result.save(tmp_path / "saved")
    with pytest.raises(CheckpointError, match=r"'0.weight' of shape \(8, 4\); got \(16, 4\)"):
        CorrectionResult.load(tmp_path / "saved", nn.Sequential(nn.Linear(4, 8)))
    with pytest.raises(CheckpointError, match="no such file"):
        CorrectionResult.load(tmp_path / "nothing", network())


class Versioned(nn.Linear):
    """Notices with which version its state was saved."""

    _version = 2
    seen = None

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        Versioned.seen = local_metadata.get("version")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


def test_saved_models_keep_the_versions_of_their_modules(tmp_path):
    inputs, given, _ = blobs(60)
    corrector(Versioned(4, 3)).fit((inputs, given)).save(tmp_path / "saved")
    CorrectionResult.load(tmp_path / "saved", Versioned(4, 3))
    assert Versioned.seen == 2


def test_results_of_compiled_models_load_into_plain_ones_and_back(tmp_path):
    inputs, given, _ = blobs(60)
    compiled = torch.compile(network(), backend="eager")
    result = corrector(compiled, recipe=SHORT.replace(average=None)).fit((inputs, given))
    result.save(tmp_path / "saved")
    plain = CorrectionResult.load(tmp_path / "saved", network(seed=3))
    again = CorrectionResult.load(tmp_path / "saved", torch.compile(network(seed=4), backend="eager"))
    for name, value in plain.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[f"_orig_mod.{name}"], value)
