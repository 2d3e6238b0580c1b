"""Evidence in memory: every form against float64, within its bound, over many epochs; and the setting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noisycorrect.labels import storage
from noisycorrect.labels.codec import Float16
from noisycorrect.labels.refine import exponential_evidence
from noisycorrect.labels.rules import STEP_RULES, estimated_transition, posterior_trust
from noisycorrect.labels.storage import (
    HalfEvidence,
    MappedEvidence,
    TopEvidence,
    blocks,
    checked_storage,
    chosen_form,
    made_evidence,
)
from noisycorrect.labels.transition import SparseTransition
from noisycorrect.labels.trust import Trust
from noisycorrect.support.errors import CheckpointError, InvalidInputError

BETA = 0.7
FORMS = ("float32", "float16", "top-3", "mapped")
ROUNDING = 1e-6


def made(form, own, classes, folder=None):
    """Return evidence in a form."""
    return made_evidence(form, own, classes, folder)


def predictions(rng, count, classes, epochs):
    """Return predictions of several epochs, sharp and flat ones, float32."""
    logits = rng.normal(size=(epochs, count, classes)) * rng.choice([0.1, 1, 5, 30], (epochs, count, 1))
    exponentials = np.exp(logits - logits.max(2, keepdims=True))
    return torch.from_numpy(exponentials / exponentials.sum(2, keepdims=True)).float()


runs = st.tuples(st.integers(1, 9), st.integers(2, 30), st.integers(1, 12), st.integers(0, 10_000))


@pytest.mark.parametrize("form", FORMS)
@given(run=runs)
@settings(deadline=None, max_examples=60)
def test_an_exponential_average_over_epochs_is_within_its_bound(form, run):
    """The oracle is in float64; a rounding b each epoch, of which momentum keeps a share, adds up to b / (1 - beta)."""
    count, classes, epochs, seed = run
    rng = np.random.default_rng(seed)
    own = torch.from_numpy(rng.integers(-1, classes, count))
    held = made(form, own, classes)
    bound = 0.0 if isinstance(held, torch.Tensor) else held.max_error()
    exact = np.full((count, classes), 1 / classes)
    alike = np.float32(1 / classes).repeat(count)
    for probs in predictions(rng, count, classes, epochs):
        order = torch.from_numpy(rng.permutation(count))
        for rows in order.split(2):
            held[rows] = exponential_evidence(held[rows], probs[rows], 1, BETA)
        exact = BETA * exact + (1 - BETA) * probs.double().numpy()
        labels = own.clamp(min=0).unsqueeze(1)
        theirs = probs.gather(1, labels).squeeze(1)
        alike = np.asarray(BETA * torch.from_numpy(alike) + (1 - BETA) * theirs)
        found = held[:]
        assert found.dtype == torch.float32
        assert float((found.double().sum(1) - 1).abs().max()) < 1e-5
        assert np.abs(found.double().numpy() - exact).max() <= bound / (1 - BETA) + ROUNDING
        if form != "float16" and classes > 3:
            mine = found.gather(1, labels).squeeze(1).numpy()[own.numpy() >= 0]
            np.testing.assert_allclose(mine, alike[own.numpy() >= 0], rtol=1e-6, atol=0)


@given(run=runs, kept=st.integers(2, 8))
@settings(deadline=None, max_examples=60)
def test_the_largest_classes_and_the_given_one_are_exact_and_the_rest_bounds_the_error(run, kept):
    count, classes, _, seed = run
    rng = np.random.default_rng(seed)
    own = torch.from_numpy(rng.integers(-1, classes, count))
    probs = predictions(rng, count, classes, 1)[0]
    held = TopEvidence.uniform(kept, own, classes)
    held[:] = probs
    found = held[:]
    for row in range(count):
        best = sorted(range(classes), key=lambda k: -probs[row, k])
        forced = {int(own[row])} - {-1}
        sure = [k for k in best if k not in forced][: min(kept, classes) - len(forced)] + list(forced)
        others = [k for k in range(classes) if k not in sure]
        assert found[row, sure].tolist() == probs[row, sure].tolist()
        rest = float(probs[row, others].double().sum())
        np.testing.assert_allclose(found[row, others], rest / max(1, len(others)), atol=2e-7)
        assert float((found[row] - probs[row]).abs().sum()) <= 2 * rest + 1e-5
    assert float((found - probs).abs().max()) <= held.max_error() + ROUNDING
    top = held.highest()
    assert torch.equal(found.gather(1, top.unsqueeze(1)).squeeze(1), found.amax(1))


@pytest.mark.parametrize("classes", [2, 1000, 100_000])
def test_half_precision_of_many_even_classes_neither_vanishes_nor_drifts(classes):
    held = HalfEvidence(2, classes)
    sure = torch.zeros(1, classes)
    sure[0, 0] = 1
    for _ in range(20):
        held[torch.tensor([0])] = exponential_evidence(held[torch.tensor([0])], sure, 1, BETA)
    assert held[:][0, 1:].sum().item() == pytest.approx(BETA**20 * (classes - 1) / classes, rel=0.02)
    np.testing.assert_allclose(held[:][1], 1 / classes, rtol=1e-6)
    assert Float16().max_error(classes) < 3e-4


def test_files_take_turns_and_a_checkpoint_names_the_one_that_stays(tmp_path):
    first, second = torch.tensor([[0.1, 0.9]]), torch.tensor([[0.6, 0.4]])
    held = MappedEvidence(3, 2, tmp_path)
    held[torch.tensor([0])] = first
    held.end_epoch()
    state = held.state()
    held[torch.tensor([0, 1])] = second.repeat(2, 1)
    held.end_epoch()
    assert held[:].tolist() == [second[0].tolist()] * 2 + [[0.5, 0.5]]

    again = MappedEvidence(3, 2, tmp_path)  # as after a crash in the second epoch
    again.load_state(state)
    assert again[:].tolist() == [first[0].tolist(), [0.5, 0.5], [0.5, 0.5]]
    path = tmp_path / state["file"]
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    with pytest.raises(CheckpointError, match="another content"):
        MappedEvidence(3, 2, tmp_path).load_state(state)


def test_a_full_disk_is_said_before_anything_is_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(InvalidInputError, match=r'room for .* GB of evidence .*storage="top-64"'):
        MappedEvidence(3, 2, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_auto_is_float32_up_to_the_limit_and_bounded_beyond():
    limit = storage.MOST_BYTES
    assert chosen_form("auto", limit // 4 // 1000, 1000) == "float32"
    assert chosen_form("auto", limit // 4 // 1000 + 1, 1000) == "top-64"
    assert chosen_form("auto", 10**4, 10**5) == "top-64"
    assert chosen_form("auto", 10**8, 16) == "top-2"
    assert chosen_form("auto", 10**9, 2) == "top-2"
    assert [chosen_form(form, 10**9, 2) for form in FORMS] == list(FORMS)


@pytest.mark.parametrize("wrong", ["half", "top-1", "top-", "top-x", None, 16, "TOP-4"])
def test_an_unknown_form_is_refused(wrong):
    with pytest.raises(InvalidInputError, match="storage to be one of 'auto', 'float32'"):
        checked_storage(wrong)


def test_blocks_cover_each_row_once(monkeypatch):
    monkeypatch.setattr(storage, "VALUES_AT_ONCE", 10)
    held = HalfEvidence(7, 3)
    held[:] = torch.eye(3)[torch.arange(7) % 3]
    assert torch.equal(torch.cat([block for _, block in blocks(held)]), held[:])
    assert [len(block) for _, block in blocks(held)] == [3, 3, 1]
    dense = held[:]
    assert [rows for rows, _ in blocks(dense)] == [slice(None)]
    monkeypatch.setattr(storage, "MOST_BYTES", 1)
    assert torch.equal(torch.cat([block for _, block in blocks(dense)]), dense)


@pytest.mark.parametrize("rule", STEP_RULES)
def test_a_rule_fitted_some_rows_at_a_time_is_the_rule_fitted_to_all(rule, monkeypatch):
    rng = np.random.default_rng(0)
    given = torch.from_numpy(rng.integers(-1, 5, 50))
    dense = predictions(rng, 50, 5, 1)[0]
    held = MappedEvidence(50, 5, None)
    held[:] = dense
    monkeypatch.setattr(storage, "VALUES_AT_ONCE", 35)
    whole, parts = (Trust.fitted(rule, given, evidence).of(given, dense) for evidence in (dense, held))
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-7)


# ---------------------------------------------------------------- transitions of many classes


@given(st.integers(2, 8), st.integers(1, 30), st.integers(0, 10_000))
@settings(deadline=None, max_examples=60)
def test_a_sparse_transition_with_all_classes_is_the_dense_one(classes, count, seed):
    rng = np.random.default_rng(seed)
    given = torch.from_numpy(rng.integers(-1, classes, count))
    evidence = predictions(rng, count, classes, 1)[0]
    dense = estimated_transition(given, evidence)
    sparse = SparseTransition.counted(given, blocks(evidence), classes, kept=classes)
    torch.testing.assert_close(
        posterior_trust(given, evidence, sparse), posterior_trust(given, evidence, dense), rtol=1e-5, atol=1e-6
    )


def test_a_sparse_transition_of_some_classes_is_the_slow_formula(monkeypatch):
    rng = np.random.default_rng(1)
    classes, count, kept, smoothing = 12, 60, 3, 0.5
    given = torch.from_numpy(rng.integers(-1, classes, count))
    evidence = predictions(rng, count, classes, 1)[0]
    monkeypatch.setattr("noisycorrect.labels.transition.PAIRS_AT_ONCE", 50)
    monkeypatch.setattr(storage, "VALUES_AT_ONCE", 60)
    monkeypatch.setattr(storage, "MOST_BYTES", 1)
    found = SparseTransition.counted(given, blocks(evidence), classes, smoothing=smoothing, kept=kept)
    counts = np.full((classes, classes), smoothing)
    for label, row in zip(given.tolist(), evidence.double().numpy(), strict=True):
        if label >= 0:
            sure = [label, *[k for k in np.argsort(-row) if k != label][: kept - 1]]
            counts[sure, label] += row[sure]
            counts[:, label] += (1 - row[sure].sum()) / classes
    slow = counts / counts.sum(1, keepdims=True)
    own, mass = found.likelihoods(given.clamp(min=0), evidence)
    for row, label in enumerate(given.clamp(min=0).tolist()):
        joint = evidence[row].double().numpy() * slow[:, label]
        assert float(own[row]) == pytest.approx(joint[label], rel=1e-4)
        assert float(mass[row]) == pytest.approx(joint.sum(), rel=1e-4)


def test_many_classes_have_a_sparse_transition():
    given = torch.arange(30) * 100
    held = TopEvidence.uniform(4, given, 3000)
    held[:] = 0.9 * torch.nn.functional.one_hot(given, 3000) + 0.1 / 3000
    found = estimated_transition(given, held)
    assert isinstance(found, SparseTransition)
    trust = Trust.fitted("posterior", given, held)
    assert float(trust.of(given, held[:]).min()) > 0.9
