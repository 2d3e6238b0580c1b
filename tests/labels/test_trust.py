"""How far a label is trusted, against loops straight from the formulas."""

import dataclasses
import math
import pickle

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

from noisycorrect.cycle.feed import map_tensors
from noisycorrect.data.batches import Batch
from noisycorrect.labels.mixture import QualityMixture
from noisycorrect.labels.rules import (
    CYCLE_RULES,
    RULES,
    STEP_RULES,
    Rule,
    agreement_trust,
    class_agreement,
    class_relative_trust,
    confident_trust,
    estimated_transition,
    posterior_trust,
    relative_trust,
)
from noisycorrect.labels.trust import Trust
from noisycorrect.support.errors import InvalidInputError


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


@pytest.mark.parametrize("threshold", [0.75, 0.5625])
def test_evidence_that_just_reaches_the_threshold_is_confident(threshold):
    """At equality the label gives way: both numbers are exact in float32."""
    evidence = torch.tensor([[1 - threshold, threshold]])
    below = torch.nextafter(evidence, torch.zeros(1, 2))
    assert confident_trust(torch.tensor([0]), evidence, threshold=threshold).tolist() == [0.0]
    assert confident_trust(torch.tensor([0]), below, threshold=threshold).tolist() == [1.0]


# ---------------------------------------------------------------- the table, and the one place where it is applied


def by_hand(rule, given, evidence):
    """Return the trust in each label by the formulas, fitted to the same set."""
    return {
        "agreement": lambda: agreement_trust(given, evidence),
        "confident": lambda: confident_trust(given, evidence),
        "relative": lambda: relative_trust(given, evidence),
        "class-relative": lambda: class_relative_trust(given, evidence, class_agreement(given, evidence)),
        "mixture": lambda: QualityMixture.fit(agreement_trust(given, evidence)[given >= 0]).trust(
            agreement_trust(given, evidence)
        ),
        "posterior": lambda: posterior_trust(given, evidence, estimated_transition(given, evidence)),
        "none": lambda: torch.zeros(len(given)),
    }[rule]()


JUDGING = [name for name, entry in RULES.items() if entry.judge is not None]


@pytest.mark.parametrize("rule", JUDGING)
def test_a_fitted_rule_is_its_formula_and_nothing_for_the_unlabelled(rule):
    given, evidence = evidence_and_labels(seed=5)
    fitted = Trust.fitted(rule, given, evidence)
    trust = fitted.of(given, evidence)
    assert trust.dtype == torch.float32
    torch.testing.assert_close(trust, by_hand(rule, given, evidence).float() * (given >= 0))
    rows = torch.tensor([7, 3, 11])
    torch.testing.assert_close(fitted.about(given[rows]).of(given[rows], evidence[rows]), trust[rows])


def test_every_rule_on_offer_is_in_the_table():
    assert {*CYCLE_RULES, *STEP_RULES} == set(RULES)
    assert set(STEP_RULES) <= set(JUDGING)


def test_what_is_on_offer_at_the_ends_of_cycles_needs_no_fit():
    assert all(RULES[name].fit is None for name in CYCLE_RULES)


@pytest.mark.parametrize("name", ["paper", "class-balanced", "agrement"])
def test_a_rule_that_judges_no_label_is_refused(name):
    given, evidence = evidence_and_labels()
    with pytest.raises(InvalidInputError, match=f"got '{name}'; to fix: .*Known: 'agreement'"):
        Trust.fitted(name, given, evidence)


def test_weight_rule_and_floor_of_pixels():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(-1, 4, (3, 5, 4), generator=generator)
    labels[labels == 3] = 255
    evidence = torch.rand(3, 3, 5, 4, generator=generator).softmax(1)
    weight, floor = torch.tensor([0.9, 0.5, 0.0]), torch.tensor([0.0, 0.2, 0.6])
    trust = Trust(weight, floor, Rule("agreement")).of(labels, evidence)
    for n, y, x in np.ndindex(labels.shape):
        label = int(labels[n, y, x])
        known = 0 <= label < 3
        judged = float(weight[n]) * (float(evidence[n, label, y, x]) if known else 1.0)
        assert float(trust[n, y, x]) == pytest.approx(max(judged, float(floor[label]) if known else 0.0))


@pytest.mark.parametrize("rule", JUDGING)
def test_trust_travels_with_a_batch(rule):
    """Tensors in it are mapped as those of a batch are (onto a device, into pinned memory); it survives a pickle."""
    given, evidence = evidence_and_labels(seed=6)
    trust = dataclasses.replace(Trust.fitted(rule, given, evidence), floor=torch.tensor([0.1, 0.2, 0.3, 0.4]))
    batch = Batch(torch.arange(len(given)), None, given, trust)
    for other in (
        batch.to(torch.device("cpu")).trust,
        map_tensors(trust, torch.clone),
        pickle.loads(pickle.dumps(trust)),
    ):
        assert torch.equal(other.of(given, evidence), trust.of(given, evidence))
    doubled = map_tensors(trust, lambda tensor: tensor.double())
    assert {doubled.weight.dtype, doubled.floor.dtype} == {torch.float64}
    with pytest.raises(dataclasses.FrozenInstanceError):
        trust.weight = trust.weight
