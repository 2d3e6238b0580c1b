"""What neighbours say, against loops in float64 straight from the docstrings."""

import numpy as np
import pytest
import torch

from noisycorrect.correction import neighbors
from noisycorrect.correction.neighbors import (
    class_relative_votes,
    drawn_voters,
    halves_agree,
    nearest_neighbors,
    neighbor_votes,
    posterior,
    wrong_share,
)
from noisycorrect.review.likelihood import fit_transition

CLASSES = 3


def features_of(count=50, width=6, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + 2


def labels_of(count=50, seed=0, unlabeled=8):
    generator = torch.Generator().manual_seed(seed)
    given = torch.randint(CLASSES, (count,), generator=generator)
    given[torch.randperm(count, generator=generator)[:unlabeled]] = -1
    return given


def cosines(features):
    """Cosines of what differs from the mean, float64 (N, N), pair by pair."""
    rows = features.double().numpy()
    rows = rows - rows.mean(0)
    found = np.zeros((len(rows), len(rows)))
    for i, one in enumerate(rows):
        for j, other in enumerate(rows):
            found[i, j] = one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-300)
    return found


# ---------------------------------------------------------------- nearest neighbours


@pytest.mark.parametrize("voters", [torch.arange(50), torch.arange(3, 50, 3)], ids=["all", "some"])
def test_neighbors_are_the_most_alike_voters_but_for_the_sample_itself(voters):
    features = features_of()
    found, similarity = nearest_neighbors(features, voters, 5), cosines(features)
    assert found.dtype == torch.int64
    for i in range(50):
        others = sorted((j for j in voters.tolist() if j != i), key=lambda j, i=i: -similarity[i, j])
        assert found[i].tolist() == others[:5]


def test_neighbors_are_found_in_blocks(monkeypatch):
    features, voters = features_of(), torch.arange(0, 50, 2)
    whole = nearest_neighbors(features, voters, 4)
    monkeypatch.setattr("noisycorrect.features.neighbors.BLOCK_VALUES", 7 * len(voters))
    assert torch.equal(nearest_neighbors(features, voters, 4), whole)


@pytest.mark.parametrize("features", [torch.ones(12, 3), torch.eye(3).repeat(4, 1)], ids=["constant", "duplicates"])
def test_of_equal_neighbors_each_comes_once_and_never_the_sample(features):
    found, similarity = nearest_neighbors(features, torch.arange(12), 6), cosines(features)
    for i, row in enumerate(found.tolist()):
        assert len(set(row)) == 6
        assert i not in row
        best = sorted((similarity[i, j] for j in range(12) if j != i), reverse=True)[:6]
        assert [similarity[i, j] for j in row] == pytest.approx(best, abs=1e-6)


def test_scale_and_shift_of_all_features_change_no_neighbor():
    features = features_of()
    expected = nearest_neighbors(features, torch.arange(50), 3)
    assert torch.equal(nearest_neighbors(features * 8 - 40, torch.arange(50), 3), expected)


def test_voters_are_the_labelled_samples_or_as_many_as_there_may_be(monkeypatch):
    given = labels_of()
    labeled = [i for i in range(50) if given[i] >= 0]
    assert drawn_voters(given, seed=0).tolist() == labeled
    monkeypatch.setattr(neighbors, "MOST_VOTERS", 10)
    drawn = drawn_voters(given, seed=0).tolist()
    assert len(set(drawn)) == 10
    assert set(drawn) < set(labeled)
    assert drawn_voters(given, seed=0).tolist() == drawn
    assert set(drawn_voters(given, seed=1).tolist()) != set(drawn)


# ---------------------------------------------------------------- votes


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_votes_are_weighed_shares_with_the_prior_as_one_more(rounds):
    given = labels_of()
    found = nearest_neighbors(features_of(), drawn_voters(given, 0), 7)
    labeled = [i for i in range(50) if given[i] >= 0]
    prior = [sum(int(given[i]) == k for i in labeled) / len(labeled) for k in range(CLASSES)]
    weight = dict.fromkeys(labeled, 1.0)
    for _ in range(rounds):
        votes = []
        for i in range(50):
            row, total = list(prior), 1.0
            for j in found[i].tolist():
                row[int(given[j])] += weight[j]
                total += weight[j]
            votes.append([value / total for value in row])
        weight = {i: votes[i][int(given[i])] / max(votes[i]) for i in labeled}
    result = neighbor_votes(given, found, CLASSES, rounds)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), torch.tensor(votes, dtype=torch.float64), rtol=1e-5, atol=1e-6)


def test_rounds_sharpen_what_most_neighbors_say():
    generator = torch.Generator().manual_seed(0)
    clean = torch.arange(200) % 2
    features = torch.randn(200, 4, generator=generator) + 6 * torch.eye(4)[clean]
    given = torch.where(torch.rand(200, generator=generator) < 0.3, 1 - clean, clean)
    found = nearest_neighbors(features, torch.arange(200), 15)
    right = [float(neighbor_votes(given, found, 2, rounds)[torch.arange(200), clean].mean()) for rounds in (1, 2, 3)]
    assert right[0] < right[1] < right[2]


# ---------------------------------------------------------------- posterior and rate


def evidence_of(count=50, seed=1):
    return torch.rand(count, CLASSES, generator=torch.Generator().manual_seed(seed)).mul(3).softmax(1)


def test_posterior_is_bayes_rule_with_the_transition_of_greatest_likelihood():
    given, evidence = labels_of(), evidence_of()
    labeled = given >= 0
    transition, _ = fit_transition(given[labeled].numpy(), evidence[labeled].double().numpy())
    expected = evidence.double().clone()
    for i in range(50):
        if labeled[i]:
            joint = [float(evidence[i, k]) * transition[k, int(given[i])] for k in range(CLASSES)]
            expected[i] = torch.tensor([value / sum(joint) for value in joint])
    found = posterior(given, evidence)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[~labeled], evidence[~labeled])


def test_without_a_label_there_is_evidence_alone():
    evidence = evidence_of()
    assert torch.equal(posterior(torch.full((50,), -1), evidence), evidence)


def test_clean_labels_are_not_doubted_however_unsure_the_evidence():
    given = torch.arange(90) % CLASSES
    unsure = 0.4 * torch.eye(CLASSES)[given] + 0.2  # 0.6 for the label
    found = posterior(given, unsure)
    assert wrong_share(given, unsure) == pytest.approx(0.4, abs=1e-6)
    assert wrong_share(given, found) < 0.01


def test_the_rate_is_what_the_posterior_gives_to_other_classes():
    given, evidence = labels_of(), evidence_of()
    labeled = [i for i in range(50) if given[i] >= 0]
    expected = 1 - sum(float(evidence[i, given[i]]) for i in labeled) / len(labeled)
    assert wrong_share(given, evidence) == pytest.approx(expected, abs=1e-6)
    assert wrong_share(torch.full((50,), -1), evidence) == 0


def test_votes_relative_to_the_shares_are_their_formula():
    given, votes = labels_of(), evidence_of()
    found = class_relative_votes(votes, given)
    counts = [sum(int(label) == k for label in given) for k in range(votes.shape[1])]
    for row, relative in zip(votes.double().tolist(), found.tolist(), strict=True):
        weights = [
            vote / (count / sum(counts)) ** 0.75 if count else 0.0 for vote, count in zip(row, counts, strict=True)
        ]
        assert relative == pytest.approx([weight / sum(weights) for weight in weights], abs=1e-6)


def test_a_class_without_labels_gets_no_vote_and_no_labels_change_nothing():
    votes = torch.tensor([[0.5, 0.3, 0.2]])
    assert class_relative_votes(votes, torch.tensor([0, 1, 1]))[0, 2] == 0
    torch.testing.assert_close(class_relative_votes(votes, torch.tensor([-1])), votes)


def test_the_agreement_of_halves_is_a_mean_over_classes():
    generator = torch.Generator().manual_seed(0)
    votes, others = (torch.rand(50, CLASSES, generator=generator) for _ in range(2))
    first, second = ([max(range(CLASSES), key=row.__getitem__) for row in each.tolist()] for each in (votes, others))
    agreement = []
    for k in range(CLASSES):
        one, two = ({i for i in range(50) if said[i] == k} for said in (first, second))
        agreement.append(2 * len(one & two) / (len(one) + len(two)))
    assert halves_agree(votes, others) == pytest.approx(sum(agreement) / CLASSES)


def test_agreement_on_the_most_frequent_class_alone_is_little():
    first, second = torch.zeros(1000, dtype=torch.int64), torch.zeros(1000, dtype=torch.int64)
    first[:20], second[20:40] = 1, 1
    assert halves_agree(torch.eye(3)[first], torch.eye(3)[second]) < 0.5  # a class that neither names does not count
