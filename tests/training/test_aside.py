"""What is large in a checkpoint: written once while it does not change, found damaged, and put back bit for bit."""

import pytest
import torch
from tiny_runs import CLASSES, QUIET, Kill, assert_equal_runs, blobs, network

from noisycorrect import RECIPES, CrossFitting, NeighborCorrection, OnlineCorrection, SelfCorrector
from noisycorrect.saved.details import CHECKPOINT, MEMORY
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.training import aside
from noisycorrect.training.aside import SUFFIX, brought_back, named, put_aside, tidy

FORMS = ["float32", "float16", "top-2", "mapped"]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(aside, "LEAST_BYTES", 256)
    monkeypatch.setattr(aside, "BLOCK_BYTES", 512)


def state():
    rows = torch.arange(300.0).reshape(100, 3)
    return {"evidence": rows, "half": rows.half(), "known": {"classes": rows.int()}, "rate": 0.25, "few": rows[:2]}


def files(folder):
    return {path.name for path in folder.glob(f"*{SUFFIX}")}


def test_what_was_put_aside_comes_back_bit_for_bit(tmp_path):
    before = state()
    slim = put_aside(before, tmp_path / "memory")
    assert slim["rate"] == 0.25
    assert slim["few"] is before["few"]
    assert not any(isinstance(slim[name], torch.Tensor) for name in ("evidence", "half"))
    assert files(tmp_path / "memory") == named(slim)
    after = brought_back(slim, tmp_path / "memory")
    for found, given in ((after, before), (after["known"], before["known"])):
        for name, value in given.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(found[name], value)
                assert found[name].dtype == value.dtype


def test_only_rows_that_changed_are_written_again(tmp_path):
    before = state()
    put_aside(before, tmp_path)
    old = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    before["evidence"][99] = -1
    slim = put_aside(before, tmp_path)
    assert len(files(tmp_path) - {path.name for path in old}) == 1
    assert {path: path.stat().st_mtime_ns for path in old} == old
    (tmp_path / f".a{SUFFIX}.1-x.part").touch()
    (tmp_path / "theirs.txt").touch()
    tidy(named(slim), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == named(slim) | {"theirs.txt"}


@pytest.mark.parametrize("damage", ["flip", "cut", "missing"])
def test_a_damaged_file_is_named(tmp_path, damage):
    slim = put_aside(state(), tmp_path)
    path = tmp_path / sorted(named(slim))[0]
    content = bytearray(path.read_bytes())
    content[7] ^= 4
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content if damage == "flip" else content[:-5])
    with pytest.raises(CheckpointError, match=rf"evidence at .*{path.name}; got .*restore the whole run folder"):
        brought_back(slim, tmp_path)


CORRECTIONS = {
    "neighbours": lambda form: NeighborCorrection(neighbors=5, storage=form),
    "online": lambda form: OnlineCorrection(start=0.2, storage=form),
}


def run(correction, folder, callbacks=()):
    inputs, given, _ = blobs(90, rate=0.3)
    recipe = RECIPES["robust"].replace(batch_size=30, correction=correction)
    model = network()
    return SelfCorrector(
        model, num_classes=CLASSES, recipe=recipe, epochs=5, lr=0.05, run_dir=folder, callbacks=[QUIET, *callbacks]
    ).fit((inputs, given))


@pytest.mark.parametrize(
    ("kind", "form"), [*(("neighbours", form) for form in FORMS), ("online", "top-2"), ("online", "mapped")]
)
def test_a_run_that_was_killed_goes_on_bit_for_bit(tmp_path, kind, form):
    make = CORRECTIONS[kind]
    whole = run(make(form), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(make(form), tmp_path / "killed", [Kill(3)])
    resumed = run(make(form), tmp_path / "killed")
    assert_equal_runs(whole, resumed)
    assert torch.equal(whole.labels.evidence(), resumed.labels.evidence())
    content = torch.load(tmp_path / "killed" / CHECKPOINT, weights_only=True)["correction"]
    assert not any(isinstance(value, torch.Tensor) and value.numel() > 100 for value in content.values())
    assert named(content) <= files(tmp_path / "killed" / MEMORY)


def test_a_run_goes_on_in_the_form_it_began_in(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(NeighborCorrection(neighbors=5, storage="top-2"), tmp_path, [Kill(2)])
    with pytest.raises(CheckpointError, match="storage"):
        run(NeighborCorrection(neighbors=5, storage="float16"), tmp_path)


def test_all_classes_kept_is_float32(tmp_path):
    """Three of three classes: what is held is what float32 holds, and the runs are the same."""
    dense, top, half, mapped = (
        run(OnlineCorrection(start=0.2, storage=form), None) for form in ("float32", "top-3", "float16", "mapped")
    )
    for other, close in ((top, 1e-4), (mapped, 1e-4), (half, 0.05)):
        torch.testing.assert_close(other.labels.evidence(), dense.labels.evidence(), rtol=0, atol=close)


def test_cross_fitting_holds_evidence_in_any_form():
    recipe = RECIPES["robust"].replace(objective=RECIPES["paper"].objective, average=None, batch_size=30)
    inputs, given, _ = blobs(90, rate=0.3)
    found = [
        SelfCorrector(
            network(), num_classes=CLASSES, epochs=4, lr=0.05, callbacks=[QUIET],
            recipe=recipe.replace(correction=CrossFitting(storage=form)),
        ).fit((inputs, given)).labels.evidence()
        for form in ("float32", "top-3", "mapped")
    ]  # fmt: skip
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=0, atol=1e-4)


def test_storage_is_checked_when_a_correction_is_made():
    for make in (NeighborCorrection, OnlineCorrection, CrossFitting):
        with pytest.raises(InvalidInputError, match="storage to be one of"):
            make(storage="float8")
        assert "storage" not in make().identity()
        assert make(storage="float16").identity()["storage"] == "float16"
