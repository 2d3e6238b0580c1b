"""Dawid and Skene's expectation maximisation, with and without evidence, against loops over votes."""

import math

import numpy as np
import pytest
from scipy.special import softmax

from noisycorrect import InvalidInputError, Votes, dawid_skene
from noisycorrect.data import consensus as module
from noisycorrect.data.consensus import average_confusion, consensus_of


def crowd(seed=0, items=400, shares=(0.5, 0.3, 0.2), accuracy=(0.9, 0.7, 0.5), seen=0.7):
    """Return votes, true classes, and the annotators' confusion matrices: half of the errors name the next class."""
    rng = np.random.default_rng(seed)
    classes, annotators = len(shares), len(accuracy)
    clean = rng.choice(classes, items, p=shares)
    confusion = np.empty((annotators, classes, classes))
    for a, right in enumerate(accuracy):
        off = (1 - right) * (0.5 / (classes - 1) * (1 - np.eye(classes)) + 0.5 * np.roll(np.eye(classes), 1, axis=1))
        confusion[a] = off + right * np.eye(classes)
    votes = np.array([[rng.choice(classes, p=confusion[a, k]) for a in range(annotators)] for k in clean])
    table = np.where(rng.random(votes.shape) < seen, votes, -1)
    return Votes.from_table(table, classes=range(classes)), clean, confusion


def evidence_of(clean, classes, seed=0, scale=1.5, share=1.0):
    """Return probabilities of a model that knows something, sharper or softer than they should be."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(clean), classes)) + 2 * np.eye(classes)[clean]
    return softmax(scale * logits, axis=1)


def slow_steps(votes, post, prior, strength):
    """Return confusion matrices, posterior and log-likelihood of one M- and E-step, vote by vote."""
    items, classes = post.shape
    extra = strength * average_confusion(votes)
    counts = np.stack([extra.copy() for _ in votes.annotators])
    for i, a, vote in zip(votes.item, votes.annotator, votes.label, strict=True):
        for k in range(classes):
            counts[a, k, vote] += post[i, k]
    confusion = counts / counts.sum(2, keepdims=True)
    new, likelihood = np.empty_like(post), 0.0
    for i in range(items):
        joint = np.array([prior[i, k] for k in range(classes)])
        for j, a, vote in zip(votes.item, votes.annotator, votes.label, strict=True):
            if i == j:
                joint = joint * confusion[a, :, vote]
        likelihood += math.log(joint.sum())
        new[i] = joint / joint.sum()
    return confusion, new, likelihood


def test_each_iteration_is_that_of_the_loops():
    votes, _, _ = crowd(items=40)
    shares = votes.counts() + votes.counts().sum(0) / len(votes)
    post = shares / shares.sum(1, keepdims=True)
    for count in range(1, 5):
        total = post.sum(0) + 1
        prior = np.tile(total / total.sum(), (40, 1))
        confusion, post, likelihood = slow_steps(votes, post, prior, 4.0)
        found = dawid_skene(votes, iterations=count, tolerance=0)
        np.testing.assert_allclose(found.probs, post, rtol=1e-9)
        np.testing.assert_allclose(found.confusion, confusion, rtol=1e-9)
        density = 4.0 * (average_confusion(votes) * np.log(confusion)).sum() + np.log(prior[0]).sum()
        assert found.objective[-1] == pytest.approx(likelihood + density, rel=1e-10)


def test_evidence_takes_the_place_of_the_class_prior():
    votes, clean, _ = crowd(items=40)
    found = dawid_skene(votes, evidence_of(clean, 3), iterations=7, tolerance=0)
    again = dawid_skene(votes, evidence_of(clean, 3), iterations=8, tolerance=0)
    prior = softmax(again.temperature * np.log(evidence_of(clean, 3)) + again.bias, axis=1)
    confusion, post, _ = slow_steps(votes, found.probs, prior, 4.0)
    np.testing.assert_allclose(again.confusion, confusion, rtol=1e-8)
    np.testing.assert_allclose(again.probs, post, rtol=1e-8)


def test_the_slopes_of_the_calibration_are_those_of_its_cost(monkeypatch):
    import scipy.optimize

    votes, clean, _ = crowd(items=60)
    checked = []

    def check(cost, start, **rest):
        for point in (start, start + np.array([0.3, -0.5, 0.2, 0.9])):
            step = 1e-6 * np.eye(len(start))
            slopes = [(cost(point + s)[0] - cost(point - s)[0]) / 2e-6 for s in step]
            np.testing.assert_allclose(cost(point)[1], slopes, rtol=1e-5, atol=1e-5)
            checked.append(point)
        return minimize(cost, start, **rest)

    minimize = scipy.optimize.minimize
    monkeypatch.setattr(scipy.optimize, "minimize", check)
    dawid_skene(votes, evidence_of(clean, 3), iterations=2)
    assert len(checked) == 4


@pytest.mark.parametrize("with_evidence", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_objective_never_falls(seed, with_evidence):
    votes, clean, _ = crowd(seed, items=200)
    evidence = evidence_of(clean, 3, seed, scale=4.0) if with_evidence else None
    trace = np.array(dawid_skene(votes, evidence, iterations=25, tolerance=0).objective)
    assert len(trace) > 10
    assert np.diff(trace).min() >= -1e-9 * abs(trace[-1])
    assert trace[-1] > trace[0] + 1


def test_annotators_are_told_apart_and_beat_the_majority():
    gains = []
    for seed in range(3):
        votes, clean, confusion = crowd(seed, items=2000, accuracy=(0.9, 0.8, 0.55, 0.45, 0.6))
        found = dawid_skene(votes)
        voted = votes.votes_of_items > 0
        gains.append((found.labels == clean)[voted].mean() - (votes.majority() == clean)[voted].mean())
        assert np.abs(found.confusion - confusion).max() < 0.12
        assert np.abs(found.prior - [0.5, 0.3, 0.2]).max() < 0.04
        assert [record["annotator"] for record in found.annotators()][-2:] == [1, 0]
        right = votes.label == clean[votes.item]
        assert found.vote_quality[right].mean() > found.vote_quality[~right].mean() + 0.4
    assert min(gains) > 0.01


def test_votes_say_how_far_evidence_is_to_be_believed():
    votes, clean, _ = crowd(items=800)
    reference = dawid_skene(votes, evidence_of(clean, 3, scale=1.0))
    voted = votes.votes_of_items > 0
    for scale in (0.5, 2.0):  # softer and sharper than they should be: the temperature makes up for it
        found = dawid_skene(votes, evidence_of(clean, 3, scale=scale))
        assert found.temperature * scale == pytest.approx(reference.temperature, rel=0.03)
        assert np.abs(found.probs - reference.probs).max() < 0.02
    assert (reference.labels == clean)[voted].mean() > (dawid_skene(votes).labels == clean)[voted].mean() + 0.02
    useless = dawid_skene(votes, np.random.default_rng(1).dirichlet(np.ones(3), len(clean)))
    assert useless.temperature < 0.2


def test_classes_that_evidence_neglects_come_back():
    votes, clean, _ = crowd(items=2000, shares=(0.6, 0.35, 0.05))
    evidence = evidence_of(clean, 3, scale=1.0) * [1, 1, 0.05]
    evidence /= evidence.sum(1, keepdims=True)
    rare = clean == 2
    found = dawid_skene(votes, evidence)
    assert (evidence.argmax(1) == 2)[rare].mean() < 0.3
    assert (found.probs.argmax(1) == 2)[rare].mean() > 0.5
    assert found.bias[2] > max(found.bias[:2]) + 0.5


def test_an_annotator_of_few_votes_is_an_average_one():
    votes, _, _ = crowd(items=300)
    table = np.concatenate([votes.table(), np.full((300, 2), -1)], axis=1)
    table[0, 3] = 0  # one vote, and none
    found = dawid_skene(Votes.from_table(table, classes=range(3)))
    average = average_confusion(found.votes)
    assert np.abs(found.confusion[3] - average).max() < 0.2
    np.testing.assert_allclose(found.confusion[4], average)
    last = found.annotators()[-1]
    assert (last["annotator"], last["votes"], math.isnan(last["accuracy"])) == (4, 0, True)
    assert (found.confusion > 0).all()


def test_average_confusion_is_right_for_one_coin_annotators():
    votes, _, _ = crowd(items=6000, shares=(0.4, 0.3, 0.3), accuracy=(0.7, 0.7, 0.7), seen=1.0)
    table = np.random.default_rng(0).integers(0, 3, (4000, 3))
    assert average_confusion(votes)[0, 0] == pytest.approx(0.7, abs=0.04)  # its errors are not even
    assert average_confusion(Votes.from_table(table))[0, 0] == pytest.approx(1 / 3, abs=0.1)
    assert average_confusion(Votes.from_table([[0, -1, -1], [-1, 1, -1]]))[0, 0] == 0.75
    np.testing.assert_allclose(average_confusion(votes).sum(1), 1)


def test_the_order_of_items_annotators_and_classes_means_nothing():
    votes, clean, _ = crowd(items=100)
    evidence = evidence_of(clean, 3)
    found = dawid_skene(votes, evidence, iterations=10)
    rng = np.random.default_rng(0)
    rows, people, classes = rng.permutation(100), rng.permutation(3), np.array([2, 0, 1])
    table = votes.table()[rows][:, people]
    renamed = np.where(table < 0, -1, np.argsort(classes)[table])
    other = dawid_skene(Votes.from_table(renamed, classes=range(3)), evidence[rows][:, classes], iterations=10)
    np.testing.assert_allclose(other.probs, found.probs[rows][:, classes], atol=1e-6)
    np.testing.assert_allclose(other.confusion, found.confusion[people][:, classes][:, :, classes], atol=1e-6)


def test_one_m_step_gives_the_consensus_of_known_posteriors():
    votes, _, _ = crowd(items=100)
    found = dawid_skene(votes, iterations=500, tolerance=1e-13)
    again = consensus_of(votes, found.probs)
    np.testing.assert_allclose(again.confusion, found.confusion, atol=1e-4)
    np.testing.assert_array_equal(again.labels, found.labels)


def test_one_vote_an_item_needs_evidence():
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 3, 900)
    label = np.where(rng.random(900) < 0.7, clean, (clean + 1) % 3)
    votes = Votes.from_rows(np.arange(900), np.arange(900) % 2, label)
    with pytest.raises(InvalidInputError, match="two votes at least; got one vote an item at most; to fix: pass evide"):
        dawid_skene(votes)
    found = dawid_skene(votes, evidence_of(clean, 3))
    assert (found.labels == clean).mean() > 0.9 > 0.8 > (label == clean).mean()
    assert np.abs(found.accuracy - 0.7).max() < 0.06


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"evidence": np.full((3, 2), 0.5)}, r"probabilities of shape \(2, 2\); got shape \(3, 2\)"),
        ({"evidence": np.full((2, 2), 0.4)}, "do not sum to 1"),
        ({"evidence": np.full((2, 2), np.nan)}, "NaN"),
        ({"evidence": [[1.5, -0.5], [0.5, 0.5]]}, "negative"),
        ({"strength": 0}, "strength"),
        ({"iterations": 0}, "iterations"),
    ],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(InvalidInputError, match=message):
        dawid_skene(Votes.from_table([[0, 1], [1, 1]]), **arguments)


def test_evidence_of_0_is_not_the_last_word():
    votes = Votes.from_table([[1, 1, 1], [0, 0, 0], [1, 1, 1], [0, 0, 1]])
    found = dawid_skene(votes, [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert np.isfinite(found.probs).all()
    assert found.probs.min() > 0
    assert module.FLOOR > 0
