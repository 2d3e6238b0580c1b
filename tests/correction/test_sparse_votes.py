"""Votes and posteriors of many classes: equal to the dense ones where these leave nothing out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_runs import CLASSES, QUIET, blobs, network

from noisycorrect import RECIPES, Callback, Classification, NeighborCorrection, SelfCorrector, noise
from noisycorrect.correction import neighbor_correction
from noisycorrect.correction import sparse_votes as sparse
from noisycorrect.correction.neighbors import class_relative_votes, neighbor_votes, posterior
from noisycorrect.correction.part import Setup
from noisycorrect.correction.sparse_votes import (
    SparseVotes,
    class_relative,
    given_alone,
    own_share,
    sparse_posterior,
    sparse_votes,
    with_given,
)
from noisycorrect.labels import storage
from noisycorrect.labels.storage import TopEvidence
from noisycorrect.review import likelihood
from noisycorrect.review.likelihood import fit_sparse_transition, fit_transition

cases = st.tuples(st.integers(2, 40), st.integers(2, 12), st.integers(1, 6), st.integers(1, 4), st.integers(0, 10_000))


def labels_and_neighbors(count, classes, k, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, classes, count)
    labels[0] = max(labels[0], 0)
    voters = np.flatnonzero(labels >= 0)
    return torch.from_numpy(labels), torch.from_numpy(rng.choice(voters, (count, k)))


@given(cases)
@settings(deadline=None, max_examples=80)
def test_votes_are_those_of_all_classes(case):
    count, classes, k, rounds, seed = case
    labels, found = labels_and_neighbors(count, classes, k, seed)
    dense = neighbor_votes(labels, found, classes, rounds)
    sparse = sparse_votes(labels, found, classes, rounds)
    torch.testing.assert_close(sparse.dense(), dense, rtol=1e-4, atol=1e-6)
    relative, expected = class_relative(sparse, labels), class_relative_votes(dense, labels)
    torch.testing.assert_close(relative.dense(), expected, rtol=1e-4, atol=1e-6)
    for votes in (sparse, relative):
        top = votes.dense().gather(1, votes.highest().unsqueeze(1)).squeeze(1)
        torch.testing.assert_close(top, votes.dense().amax(1), rtol=1e-6, atol=0)


@given(cases)
@settings(deadline=None, max_examples=40)
def test_a_fit_to_a_few_classes_is_the_dense_fit_with_zeros_elsewhere(case):
    count, classes, k, _, seed = case
    rng = np.random.default_rng(seed)
    k = min(k, classes)
    true = np.stack([rng.permutation(classes)[:k] for _ in range(count)])
    probs = rng.dirichlet(np.ones(k), count)
    labels = rng.integers(0, classes, count)
    dense_probs = np.zeros((count, classes))
    np.put_along_axis(dense_probs, true, probs, 1)
    dense, _ = fit_transition(labels, dense_probs)
    found = fit_sparse_transition(labels, true, probs, classes)
    spoken = np.zeros((classes, classes), bool)
    spoken[true, labels[:, None]] = True
    for row in range(count):
        likelihood = found.of(true[[row]], labels[[row]])[0]
        np.testing.assert_allclose(likelihood, dense[true[row], labels[row]], atol=1e-4)
    silent = np.argwhere(~spoken)
    for k_true, label in silent[:5]:
        assert found.of(np.array([[k_true]]), np.array([label]))[0, 0] > 0


def test_the_posterior_is_the_dense_one_where_neighbours_name_all_classes():
    """Every row's neighbours have all classes among them, so that nothing is left out."""
    rng = np.random.default_rng(0)
    count, classes = 60, 3
    labels = torch.from_numpy(np.append(rng.integers(0, classes, count - 5), [-1] * 5))
    by_class = [np.flatnonzero(labels.numpy() == k) for k in range(classes)]
    found = torch.from_numpy(
        np.stack([[*(rng.choice(rows) for rows in by_class), *rng.choice(by_class[0], 3)] for _ in range(count)])
    )
    dense = posterior(labels, class_relative_votes(neighbor_votes(labels, found, classes, 2), labels))
    sparse = sparse_posterior(labels, class_relative(sparse_votes(labels, found, classes, 2), labels))
    torch.testing.assert_close(sparse[:], dense, rtol=0, atol=2e-3)  # the sparse fit stops at 1e-4
    own = own_share(labels, sparse)[labels >= 0]
    torch.testing.assert_close(own, dense.gather(1, labels.clamp(min=0)[:, None])[labels >= 0, 0], rtol=0, atol=2e-3)


def test_with_the_given_label_and_alone():
    labels = torch.tensor([2, 0, -1])
    held = TopEvidence(
        torch.tensor([[1, 2], [0, 1], [0, 3]]), torch.tensor([[0.25, 0.75], [1.0, 0.0], [1.0, 0.0]]), torch.zeros(3), 3
    )
    mixed = with_given(labels, held, torch.tensor([0.5, 0.25, 1.0]))[:]
    assert mixed.tolist() == [[0, 0.125, 0.875], [1, 0, 0], [1, 0, 0]]
    assert given_alone(labels, 4)[:].tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0.25] * 4]


class Watch(Callback):
    """Keeps the correction of a run."""

    def on_epoch_end(self, run):
        self.correction = run.correction


def fitted(form, rate=0.3, **settings):
    inputs, labels, clean = blobs(240, rate=rate)
    watch = Watch()
    recipe = RECIPES["robust"].replace(correction=NeighborCorrection(neighbors=7, storage=form, **settings))
    result = SelfCorrector(
        network(), num_classes=CLASSES, recipe=recipe, epochs=8, lr=0.05, batch_size=30, callbacks=[QUIET, watch]
    ).fit((inputs, labels))
    return result, watch.correction, clean


def test_runs_with_bounded_evidence_correct_as_those_without():
    dense, plain, clean = fitted("float32")
    assert isinstance(plain.known, torch.Tensor)
    for form in ("top-2", "float16", "mapped"):
        result, correction, _ = fitted(form)
        assert isinstance(correction.known, TopEvidence)
        assert correction.rate == pytest.approx(plain.rate, abs=0.05)
        found, wanted = ((torch.from_numpy(r.labels.labels()) == clean).float().mean() for r in (result, dense))
        assert found > 0.95
        assert abs(float(found - wanted)) < 0.02


def test_a_limit_that_is_crossed_is_said_and_the_run_is_bounded(monkeypatch):
    monkeypatch.setattr(storage, "MOST_BYTES", 1000)
    with pytest.warns(UserWarning, match=r"240 samples of 3 classes .* so storage='top-2' holds .*\"mapped\""):
        _, correction, _ = fitted("auto")
    assert correction.form == "top-2"
    assert isinstance(correction.evidence, TopEvidence)


def test_more_classes_than_there_is_room_for_pairs_of(monkeypatch):
    monkeypatch.setattr(neighbor_correction, "DENSE_CLASSES", 2)
    _, correction, _ = fitted("float32")
    assert isinstance(correction.evidence, torch.Tensor)
    assert isinstance(correction.known, TopEvidence)


def test_labels_of_many_classes_are_mended():
    classes, each = 500, 20
    generator = torch.Generator().manual_seed(0)
    clean = torch.arange(classes).repeat_interleave(each)
    inputs = torch.randn(classes, 24, generator=generator)[clean] + torch.randn(len(clean), 24, generator=generator) / 2
    noisy = noise.Symmetric(0.2).apply(clean.numpy(), num_classes=classes, seed=0)
    correction = NeighborCorrection()
    given = torch.from_numpy(noisy.labels)
    setup = Setup(
        task=Classification(classes), given=given, length=len(given), epochs=10, device=torch.device("cpu"), seed=0,
        predict=lambda model: None, features=lambda: inputs,
    )  # fmt: skip
    correction.start(setup)
    correction.start_epoch(1, torch.nn.Identity())
    assert correction.rate == pytest.approx(0.2, abs=0.02)
    assert (correction.known.highest() == clean).float().mean() > 0.98


def test_a_class_that_the_fit_has_not_seen_keeps_its_labels(monkeypatch):
    """Neighbours are unsure, and of the rare class, which is right, no label is among those that are fitted."""
    labels = torch.tensor([0, 1] * 50 + [2] * 2)[torch.randperm(102, generator=torch.Generator().manual_seed(0))]
    votes = 0.5 * torch.eye(3)[labels] + 0.5 / 3
    rare = labels == 2
    some = np.flatnonzero((labels != 2).numpy())
    for module in (likelihood, sparse):
        monkeypatch.setattr(module, "evenly", lambda count, most: some)
    assert (posterior(labels, votes)[rare, 2] > 0.99).all()
    held = SparseVotes(torch.arange(3).repeat(102, 1).int(), votes, torch.zeros(102), torch.zeros(3))
    assert (sparse_posterior(labels, held)[:][rare, 2] > 0.99).all()


@pytest.mark.parametrize("recipe", ["robust", "paper"])
def test_more_classes_than_samples_train(recipe):
    """Nothing on the way is of K x K: 50,000 classes would be 20 GB."""
    classes, count = 50_000, 48
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 6 * 8000
    inputs = torch.randn(count, 6, generator=generator) + 4 * torch.eye(6)[torch.arange(count) % 6]
    made = RECIPES[recipe]
    if recipe == "robust":
        made = made.replace(correction=NeighborCorrection(neighbors=3, storage="top-8"))
    task = Classification(classes, allow_empty_classes=True)
    result = SelfCorrector(
        torch.nn.Linear(6, classes), task=task, recipe=made, epochs=3, batch_size=24, callbacks=[QUIET]
    ).fit((inputs, labels), (inputs, labels))
    assert result.labels.generation >= 1
    assert result.verdict()
    assert isinstance(result.issues(), list)
    assert 0 <= result.history[-1]["agreement"] <= 1
