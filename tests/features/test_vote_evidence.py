"""Features and votes of several annotators, without a network."""

import numpy as np
import pytest

from noisycorrect import Votes, dawid_skene
from noisycorrect.features.head import SoftHead
from noisycorrect.features.vote_evidence import consensus_from_features, decided
from noisycorrect.support.errors import InvalidInputError


def crowd(count=400, seed=0):
    """Return features, true classes of 70, 25 and 5 %, and votes of three annotators, a third of which are gaps."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, count, p=[0.7, 0.25, 0.05])
    features = rng.normal(size=(count, 6)) + 2.5 * np.eye(3, 6)[truth]
    wrong = rng.random((count, 3)) < [0.1, 0.3, 0.5]
    table = np.where(wrong, (truth[:, None] + rng.integers(1, 3, (count, 3))) % 3, truth[:, None])
    return features, truth, Votes.from_table(np.where(rng.random((count, 3)) < 0.33, -1, table), classes=range(3))


def test_features_and_votes_know_more_than_votes():
    features, truth, votes = crowd()
    found = consensus_from_features(features, votes)
    voted = votes.votes_of_items > 0
    alone = (dawid_skene(votes).labels == truth)[voted].mean()
    assert (found.labels == truth)[voted].mean() > alone + 0.03
    assert (found.labels == truth)[~voted].mean() > 0.8
    assert np.abs(found.consensus.accuracy - [0.9, 0.7, 0.5]).max() < 0.08
    assert np.allclose(found.evidence.sum(1), 1, atol=1e-5)


def test_evidence_has_not_seen_the_votes_on_the_item():
    """Turning a vote on one item around leaves the evidence about it as it is, in the first round."""
    features, _, votes = crowd()
    counts = votes.counts()
    item = int(np.flatnonzero((counts.sum(1) == 3) & (counts.max(1) == 2))[0])
    turned = votes.label.copy()
    own = votes.item == item
    # The majority decides which fold an item is in.
    turned[own] = np.where(votes.label[own] == votes.majority()[item], votes.label[own], (votes.label[own] + 1) % 3)
    other = Votes(votes.item, votes.annotator, turned, num_items=400, classes=range(3), annotators=range(3))
    assert not np.array_equal(other.label, votes.label)
    one, two = (consensus_from_features(features, asked, rounds=1).evidence[item] for asked in (votes, other))
    assert np.abs(one - two).max() < 0.02  # what remains goes by the annotators' confusion matrices


def test_what_is_known_is_certain_and_learnt():
    features, truth, votes = crowd()
    known = np.full(400, -1)
    known[:40] = (truth[:40] + 1) % 3
    found = consensus_from_features(features, votes, known=known)
    assert np.array_equal(found.labels[:40], known[:40])
    assert np.array_equal(found.probs[:40], np.eye(3)[known[:40]])
    assert (found.labels == truth)[40:].mean() > 0.8


def test_one_annotator_is_enough():
    features, truth, votes = crowd()
    best = votes.annotator == 0
    alone = Votes(
        votes.item[best], [0] * best.sum(), votes.label[best], num_items=400, classes=range(3), annotators="a"
    )
    found = consensus_from_features(features, alone)
    assert (found.labels == truth).mean() > 0.85


def test_the_same_seed_gives_the_same_and_neighbours_can_be_left_out():
    features, truth, votes = crowd()
    rounds = []
    one = consensus_from_features(features, votes, seed=3, neighbors=0, on_round=rounds.append)
    assert rounds == [1, 2]
    assert np.array_equal(one.probs, consensus_from_features(features, votes, seed=3, neighbors=0).probs)
    assert (one.labels == truth).mean() > 0.85


def test_decided_relative_to_the_shares():
    probs = np.array([[0.7, 0.3, 0.0], [0.95, 0.05, 0.0]])
    assert decided(probs, np.array([0.9, 0.1, 0.0]), 0).tolist() == [0, 0]
    assert decided(probs, np.array([0.9, 0.1, 0.0]), 0.5).tolist() == [1, 0]
    assert decided(probs, np.array([0.9, 0.1, 0.0]), 1).tolist() == [1, 0]


def test_a_soft_head_learns_probabilities():
    """Two equal inputs with the classes 3 : 1 are predicted so, but for the class weights and the penalty."""
    inputs = np.repeat([[1.0, 0.0], [0.0, 1.0]], 400, axis=0)
    probs = np.repeat([[0.75, 0.25, 0.0], [0.25, 0.75, 0.0]], 400, axis=0)
    said = SoftHead(3).fit(inputs, probs).probs(np.eye(2))
    assert np.allclose(said, [[0.75, 0.25, 0], [0.25, 0.75, 0]], atol=0.01)
    assert np.array_equal(SoftHead(3).fit(inputs, np.eye(3)[np.ones(800, int)]).probs(np.eye(2)), np.eye(3)[[1, 1]])


def test_bad_input():
    features, _, votes = crowd()
    with pytest.raises(InvalidInputError, match="features of 400 items; got 399 rows"):
        consensus_from_features(features[:399], votes)
    same = Votes.from_table([[1, 1]] * 20, classes=range(3))
    with pytest.raises(InvalidInputError, match="votes for two classes"):
        consensus_from_features(features[:20], same)
    with pytest.raises(InvalidInputError, match="rounds"):
        consensus_from_features(features, votes, rounds=0)
