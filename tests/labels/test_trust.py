"""How far a label is trusted, against loops straight from the formulas."""

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from noisycorrect.labels.mixture import QualityMixture
from noisycorrect.labels.trust import (
    agreement_trust,
    class_agreement,
    class_relative_trust,
    confident_trust,
    estimated_transition,
    posterior_trust,
    relative_trust,
)


def evidence_and_labels(count=50, classes=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    evidence = torch.rand(count, classes, generator=generator, dtype=torch.float64).softmax(1)
    given = torch.randint(-1, classes, (count,), generator=generator)
    return given, evidence


def test_agreement_is_the_probability_of_the_given_label():
    given, evidence = evidence_and_labels()
    trust = agreement_trust(given, evidence)
    for row, label in enumerate(given.tolist()):
        assert trust[row] == (1 if label < 0 else evidence[row, label])


def test_relative_trusts_are_ratios():
    given, evidence = evidence_and_labels(seed=3)
    average = class_agreement(given, evidence)
    for k in range(4):
        own = [float(evidence[row, k]) for row, label in enumerate(given.tolist()) if label == k]
        assert float(average[k]) == pytest.approx(sum(own) / len(own), rel=1e-12)
    beside_top, beside_class = relative_trust(given, evidence), class_relative_trust(given, evidence, average)
    for row, label in enumerate(given.tolist()):
        if label < 0:
            assert beside_top[row] == beside_class[row] == 1
            continue
        own = float(evidence[row, label])
        assert float(beside_top[row]) == pytest.approx(own / float(evidence[row].max()), rel=1e-12)
        assert float(beside_class[row]) == pytest.approx(min(1, own / float(average[label])), rel=1e-12)


def test_no_evidence_doubts_nothing():
    nothing = torch.zeros(1, 3)
    assert relative_trust(torch.tensor([1]), nothing).tolist() == [1.0]
    assert class_relative_trust(torch.tensor([1]), nothing, torch.zeros(3)).tolist() == [1.0]


def test_agreement_of_pixels():
    labels = torch.tensor([[[0, 1], [255, 1]]])
    evidence = torch.tensor([[[[0.2, 0.3], [0.4, 0.5]], [[0.8, 0.7], [0.6, 0.5]]]])
    assert torch.equal(agreement_trust(labels, evidence), torch.tensor([[[0.2, 0.7], [1.0, 0.5]]]))


def test_transition_and_posterior_are_bayes_rule():
    given, evidence = evidence_and_labels(seed=1)
    transition = estimated_transition(given, evidence, smoothing=0.5)
    counts = [[0.5] * 4 for _ in range(4)]
    for row, label in enumerate(given.tolist()):
        for k in range(4):
            if label >= 0:
                counts[k][label] += float(evidence[row, k])
    for k in range(4):
        assert transition[k].tolist() == pytest.approx([n / sum(counts[k]) for n in counts[k]], rel=1e-12)
    trust = posterior_trust(given, evidence, transition)
    for row, label in enumerate(given.tolist()):
        if label < 0:
            assert trust[row] == 1
            continue
        joint = [float(evidence[row, k] * transition[k, label]) for k in range(4)]
        assert float(trust[row]) == pytest.approx(joint[label] / sum(joint), rel=1e-12)


def test_posterior_of_impossible_labels_is_not_nan():
    trust = posterior_trust(torch.tensor([0]), torch.tensor([[0.0, 1.0]]), torch.eye(2))
    assert trust.tolist() == [1.0]  # neither class explains the label: nothing speaks against it


def test_mixture_separates_two_groups():
    rng = np.random.default_rng(0)
    right = np.exp(-np.abs(rng.normal(0.1, 0.05, 300)))
    wrong = np.exp(-np.abs(rng.normal(4.0, 0.5, 200)))
    quality = torch.tensor(np.concatenate([right, wrong]))
    trust = QualityMixture.fit(quality).trust(quality)
    assert trust.dtype == torch.float32
    assert trust[:300].min() > 0.9
    assert trust[300:].max() < 0.1


def test_mixture_trust_is_the_posterior_of_two_normals():
    quality = torch.tensor(np.random.default_rng(1).uniform(0.01, 1, 400))
    mixture = QualityMixture.fit(quality)
    trust = mixture.trust(quality)
    losses = -np.log(quality.numpy())
    scaled = (losses - losses.min()) / (losses.max() - losses.min())
    start = np.quantile(scaled, [0.1, 0.9])[:, None]
    fitted = GaussianMixture(2, max_iter=50, reg_covar=5e-4, means_init=start, random_state=0).fit(scaled[:, None])
    low, high = np.argsort(fitted.means_[:, 0])
    for row in range(0, 400, 7):
        value = max(scaled[row], fitted.means_[low, 0])
        good, bad = (
            fitted.weights_[j]
            * math.exp(-0.5 * (value - fitted.means_[j, 0]) ** 2 / fitted.covariances_[j, 0, 0])
            / math.sqrt(fitted.covariances_[j, 0, 0])
            for j in (low, high)
        )
        assert float(trust[row]) == pytest.approx(good / (good + bad), abs=1e-5)


def test_mixture_trusts_better_labels_no_less():
    quality = torch.tensor(np.random.default_rng(2).beta(0.5, 0.5, 500))
    trust = QualityMixture.fit(quality).trust(torch.linspace(0, 1, 200, dtype=torch.float64))
    assert (trust.diff() >= -1e-6).all()


@pytest.mark.parametrize("quality", [torch.ones(5), torch.full((4,), 0.3), torch.tensor([0.2]), torch.empty(0)])
def test_labels_that_are_all_alike_are_all_trusted(quality):
    assert QualityMixture.fit(quality).trust(quality).tolist() == [1.0] * len(quality)


def test_only_what_is_contradicted_with_confidence_is_distrusted():
    evidence = torch.tensor([[0.95, 0.05], [0.05, 0.95], [0.2, 0.8], [0.05, 0.95], [0.0, 1.0]])
    labels = torch.tensor([0, 0, 0, 1, -1])
    assert confident_trust(labels, evidence).tolist() == [1.0, 0.0, 1.0, 1.0, 1.0]
    assert confident_trust(labels, evidence, threshold=0.75).tolist() == [1.0, 0.0, 0.0, 1.0, 1.0]
