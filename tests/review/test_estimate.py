"""Noise estimates: against slow loops, on data whose noise is known, and what they refuse."""

import json
from math import comb

import numpy as np
import pytest
import torch

from noisycorrect import SoftLabelStore
from noisycorrect.review.likelihood import transition_resamples
from noisycorrect.review.noise_rate import estimate_noise, estimate_store_noise, fit_transition
from noisycorrect.review.resampling import exact_ends, stratified
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.refined import given_on_evidence

PAIR = np.array([[0.7, 0.3, 0.0], [0.0, 0.7, 0.3], [0.3, 0.0, 0.7]])


def draw(rng, probs):
    return (rng.random((len(probs), 1)) > probs.cumsum(1)).sum(1).clip(max=probs.shape[1] - 1)


def simulated(seed, transition, count=600, softness=0.2):
    """Return given labels, calibrated probabilities given the input alone, and true labels."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(len(transition), softness), count)
    true = draw(rng, probs)
    return draw(rng, transition[true]), probs, true


# ---------------------------------------------------------------- formulas


def test_the_fit_is_a_slow_expectation_maximisation():
    given, probs, _ = simulated(0, PAIR, count=60)
    transition = [[0.7 if k == g else 0.15 for g in range(3)] for k in range(3)]
    for _ in range(400):
        joint = [[0.0] * 3 for _ in range(3)]
        for row, g in zip(probs, given, strict=True):
            total = sum(row[j] * transition[j][g] for j in range(3))
            for k in range(3):
                joint[k][g] += row[k] * transition[k][g] / total
        transition = [[joint[k][g] / sum(joint[k]) for g in range(3)] for k in range(3)]
    found, counts = fit_transition(given, probs)
    np.testing.assert_allclose(found, transition, atol=1e-3)
    np.testing.assert_allclose(counts, np.transpose(joint), atol=0.05)


def test_no_other_transition_is_likelier():
    given, probs, _ = simulated(1, PAIR)

    def likelihood(transition):
        return np.log((probs * transition.T[given]).sum(1)).sum()

    found, _ = fit_transition(given, probs)
    rng = np.random.default_rng(0)
    for size in (0.001, 0.05, 0.5):
        for _ in range(20):
            other = (1 - size) * found + size * rng.dirichlet(np.ones(3), 3)
            assert likelihood(other) < likelihood(found) + 1e-3


def test_the_readings_and_the_matrix_are_counts():
    given, probs, _ = simulated(2, PAIR, count=50)
    found = estimate_noise(given, probs)
    best = [max(range(3), key=lambda k: row[k]) for row in probs]
    wrong = sum(int(g != b) for g, b in zip(given, best, strict=True))
    assert (found.contradicted, found.labels) == (wrong, 50)
    assert found.rate == found.readings["contradicted"] == wrong / 50
    assert found.readings["expected"] == pytest.approx(1 - sum(probs[i, given[i]] for i in range(50)) / 50)
    for k in range(3):
        of_class = [g for g, b in zip(given, best, strict=True) if b == k]
        for g in range(3):
            assert found.transition[k, g] == pytest.approx(of_class.count(g) / len(of_class))
        assert found.class_rates[k] == pytest.approx(1 - of_class.count(k) / len(of_class))
    pairs = sorted(
        (
            (sum((g, b) == (j, k) for g, b in zip(given, best, strict=True)), k, j)
            for k in range(3) for j in range(3) if j != k
        ),
        key=lambda entry: (-entry[0], entry[1], entry[2]),
    )  # fmt: skip
    assert [pair[:2] for pair in found.most_confused] == [(k, j) for n, k, j in pairs if n][:5]


def test_ends_of_no_and_of_all_are_those_of_the_binomial():
    low, high = exact_ends(np.array([[0.0, 1.0], [0.0, 1.0]]), np.array([0.0, 1.0]), np.array([20, 20]), 0.9)
    assert low[0] == 0
    assert high[1] == 1
    # At the high end a count of 0 in 20 has a chance of 5 %; at the low end a count of 20 has.
    assert comb(20, 0) * (1 - high[0]) ** 20 == pytest.approx(0.05)
    assert low[1] ** 20 == pytest.approx(0.05)
    assert np.array_equal(exact_ends(np.array([[0.3], [0.4]]), np.array([0.5]), np.array([0]), 0.9), [[0], [1]])


def test_resamples_keep_the_given_labels_and_vary_as_the_binomial():
    joint = np.array([[70, 30], [10, 90]])
    drawn = stratified(joint, np.random.default_rng(0))
    assert np.array_equal(drawn.sum(2), np.tile([100, 100], (len(drawn), 1)))
    assert drawn[:, 0, 0].mean() == pytest.approx(70, abs=1)
    assert drawn[:, 0, 0].std() == pytest.approx(np.sqrt(100 * 0.7 * 0.3), rel=0.15)


def test_many_samples_are_fitted_and_resampled_in_part(monkeypatch):
    given, probs, _ = simulated(3, PAIR, count=3000)
    whole, _ = fit_transition(given, probs)
    error, errors = transition_resamples(given, probs, whole, np.random.default_rng(0))
    monkeypatch.setattr("noisycorrect.review.likelihood.MOST_VALUES", 6000)
    monkeypatch.setattr("noisycorrect.review.likelihood.MOST_RESAMPLED", 3000)
    part, joint = fit_transition(given, probs)
    assert not np.array_equal(whole, part)
    np.testing.assert_allclose(part, whole, atol=0.08)
    assert joint.sum() == pytest.approx(3000)
    scaled, scaled_errors = transition_resamples(given, probs, whole, np.random.default_rng(0))
    assert scaled == pytest.approx(error, rel=0.5)
    assert scaled_errors.shape == errors.shape == (3, 3)


# ---------------------------------------------------------------- known noise


@pytest.mark.parametrize("transition", [np.eye(3), PAIR, 0.55 * np.eye(3) + 0.15])
def test_held_out_probabilities_give_the_rate_without_bias(transition):
    found = [estimate_noise(*simulated(seed, transition)[:2], held_out=True) for seed in range(6)]
    rate = 1 - transition.trace() / 3
    assert np.mean([one.rate for one in found]) == pytest.approx(rate, abs=0.02)
    assert sum(one.interval[0] <= rate <= one.interval[1] for one in found) >= 5
    np.testing.assert_allclose(np.mean([one.transition for one in found], axis=0), transition, atol=0.06)
    # What the labels contradict is too much here: the model itself is unsure.
    assert np.mean([one.readings["contradicted"] for one in found]) > rate + 0.05


@pytest.mark.parametrize("transition", [np.eye(3), PAIR, 0.55 * np.eye(3) + 0.15])
def test_probabilities_that_have_seen_the_labels_give_an_interval_with_the_rate(transition):
    covered = 0
    for seed in range(20):
        given, probs, true = simulated(seed, transition)
        posterior = probs * transition.T[given]
        found = estimate_noise(given, posterior / posterior.sum(1, keepdims=True))
        assert found.readings["expected"] == pytest.approx((given != true).mean(), abs=0.05)
        covered += found.interval[0] <= (given != true).mean() <= found.interval[1]
    assert covered >= 19


def test_sure_evidence_gives_a_narrow_interval_and_torn_evidence_a_wide_one():
    given, _, true = simulated(0, PAIR, count=2000)
    sure = 0.98 * np.eye(3)[true] + 0.02 / 3
    torn = 0.48 * np.eye(3)[true] + 0.48 * np.eye(3)[given] + 0.04 / 3
    narrow, wide = estimate_noise(given, sure), estimate_noise(given, torn)
    assert narrow.interval[1] - narrow.interval[0] < 0.06
    assert narrow.rate == pytest.approx((given != true).mean())
    assert wide.interval[1] - wide.interval[0] > 0.2
    assert "undecided" in wide.verdict()
    assert "undecided" not in narrow.verdict()


def test_a_memorised_error_is_not_covered():
    """What the docstring says it cannot know."""
    given, _, true = simulated(0, PAIR)
    found = estimate_noise(given, np.eye(3)[given])
    assert found.interval[1] < 0.02 < (given != true).mean()
    assert "unless the network has memorised their errors" in found.verdict()


def test_a_higher_level_is_wider_and_twice_is_the_same():
    given, probs, _ = simulated(0, PAIR)
    for held_out in (False, True):
        narrow, wide, again = (estimate_noise(given, probs, level=p, held_out=held_out) for p in (0.5, 0.99, 0.99))
        assert wide.interval[0] < narrow.interval[0] < narrow.interval[1] < wide.interval[1]
        assert (wide.transition_interval[0] <= narrow.transition_interval[0]).all()
        assert (wide.transition_interval[0] <= wide.transition).all()
        assert (wide.transition <= wide.transition_interval[1]).all()
        assert wide.to_json() == again.to_json()


# ---------------------------------------------------------------- edges


def test_unlabelled_samples_and_classes_without_samples():
    found = estimate_noise([0, -1, 1, 1], np.eye(3)[[0, 2, 1, 0]])
    assert (found.labels, found.contradicted) == (3, 1)
    assert found.transition[2].tolist() == [0, 0, 1]
    assert found.transition_interval[:, 2].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert found.most_confused == ((0, 1, 0.5),)
    held_out = estimate_noise([0, -1, 1, 1], np.eye(3)[[0, 2, 1, 0]], held_out=True)
    np.testing.assert_allclose(held_out.transition[2], [0, 0, 1])


def test_words():
    found = estimate_noise([0] * 300 + [1] * 400 + [2] * 300, np.eye(3)[[0] * 300 + [1] * 280 + [0] * 120 + [2] * 300])
    words = found.verdict(["cat", "dog", "cow"])
    assert words.startswith("About 12 % (10 to 14 %) of your labels disagree with the evidence.")
    assert "Most confused: cat labelled dog (29 % of cat)." in words
    assert words.endswith("Look at those 120 labels first.")
    assert "class 0 labelled class 1" in found.verdict()
    clean = estimate_noise([0, 1] * 500, np.eye(2)[[0, 1] * 500])
    assert clean.verdict().startswith("About 0 % (0 to 0.4 %) of your labels disagree")
    assert "look clean" in clean.verdict()
    assert "Look at" not in clean.verdict()
    nearly = estimate_noise([0, 1] * 500, np.eye(2)[[0, 1] * 494 + [1, 0] * 6])
    assert "look clean" in nearly.verdict()
    assert "Most confused" not in nearly.verdict()
    assert nearly.verdict().endswith("Look at those 12 labels first.")
    for names in (["cat"], "cat"):
        with pytest.raises(InvalidInputError, match="3 class names"):
            found.verdict(names)


@pytest.mark.parametrize(
    ("given", "evidence", "options", "message"),
    [
        ([0, 1], [[1.0, 0.0]], {}, "as many labels as the 1 rows"),
        ([0], [1.0], {}, "evidence \\(N, K\\)"),
        ([0], [[1.0]], {}, "K >= 2"),
        ([-1, -1], np.eye(2), {}, "given labels; got none"),
        ([0, 1], [[2.0, -1.0], [0.5, 0.5]], {}, "sum to 1"),
        ([0, 1], [[np.nan, 1.0], [0.5, 0.5]], {}, "NaN"),
        ([0, 2], np.eye(2), {}, "0..1"),
        ([0, 1], np.eye(2), {"level": 1}, "level"),
        ([0, 1], np.eye(2), {"level": 0}, "level"),
    ],
)
def test_what_cannot_be_estimated(given, evidence, options, message):
    with pytest.raises(InvalidInputError, match=message):
        estimate_noise(given, evidence, **options)


# ---------------------------------------------------------------- stores


def test_a_store_of_classes_reaches_to_the_generation_before():
    given, _, true = simulated(0, PAIR, count=400)
    store = SoftLabelStore.create(None, given, 3, evidence="exponential", momentum=0.0)
    with pytest.raises(InvalidInputError, match="evidence about the labels"):
        estimate_store_noise(store)
    with store.new_generation() as writer:
        writer.write(range(400), torch.eye(3)[torch.from_numpy(true)])
    first = estimate_store_noise(store)
    assert vars(first).keys() == vars(estimate_noise(given, np.eye(3)[true])).keys()
    assert first.to_json() == estimate_noise(given, np.eye(3)[true]).to_json()
    with store.new_generation() as writer:
        writer.write(range(400), torch.eye(3)[torch.from_numpy(given.copy())])
    second = estimate_store_noise(store)
    assert second.rate == 0
    assert second.interval[1] == pytest.approx(first.rate)


def mask_store():
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 3, (8 + i % 3, 7)).astype(np.uint8) for i in range(12)]
    masks[4][2:] = 255
    probs = rng.dirichlet(np.ones(3), (14, 5, 6)).astype(np.float32).transpose(0, 3, 1, 2)
    store = SoftLabelStore.create(None, [*masks, None, np.full((4, 4), 255, np.uint8)], 3, kind="segmentation",
                                  frame=(10, 9))  # fmt: skip
    with store.new_generation() as writer:
        writer.write(range(14), torch.from_numpy(probs.copy()))
    return store


def test_a_store_of_masks_counts_pixels(monkeypatch):
    store = mask_store()
    joint, own = np.zeros((3, 3)), 0.0
    for index in np.flatnonzero(store.labeled).tolist():
        evidence = store.evidence(index)[0].double().numpy()
        given = given_on_evidence(store.given(index)[0], evidence.shape[1:], (10, 9))
        for y, x in np.ndindex(given.shape):
            if given[y, x] != 255:
                joint[evidence[:, y, x].argmax(), given[y, x]] += 1
                own += evidence[given[y, x], y, x]
    found = estimate_store_noise(store)
    assert found.unit == "pixels"
    assert found.labels == joint.sum()
    assert found.rate == pytest.approx(1 - joint.trace() / joint.sum())
    assert found.readings == {
        "contradicted": pytest.approx(found.rate),
        "expected": pytest.approx(1 - own / joint.sum()),
    }
    np.testing.assert_allclose(found.transition, joint / joint.sum(1, keepdims=True))
    assert found.interval[0] < found.rate < found.interval[1]
    assert "pixels disagree" in found.verdict()
    monkeypatch.setattr("noisycorrect.labels.kind.VALUES_AT_ONCE", 1)
    one_by_one = estimate_store_noise(store)
    np.testing.assert_allclose(one_by_one.interval, found.interval)
    np.testing.assert_allclose(one_by_one.transition_interval, found.transition_interval)
    assert json.loads(one_by_one.to_json())["unit"] == "pixels"


def test_masks_are_drawn_whole():
    """Pixels of a mask are alike: the interval is that of the masks, wider than that of as many pixels."""
    wrong = np.arange(40) % 4 == 0
    store = SoftLabelStore.create(None, [np.zeros((8, 8), np.uint8)] * 40, 2, kind="segmentation")
    probs = torch.eye(2)[torch.from_numpy(wrong.astype(np.int64))][:, :, None, None].expand(40, 2, 8, 8)
    with store.new_generation() as writer:
        writer.write(range(40), probs.contiguous())
    found = estimate_store_noise(store)
    expected = np.sqrt(0.25 * 0.75 / 40)
    assert found.rate == pytest.approx(0.25)
    assert (found.interval[1] - found.interval[0]) / (2 * 1.96) == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize(("masks", "message"), [([None], "given labels; got none"), ([255], "labelled pixels")])
def test_masks_without_labels(masks, message):
    given = [mask if mask is None else np.full((2, 2), mask, np.uint8) for mask in masks]
    store = SoftLabelStore.create(None, given, 2, kind="segmentation")
    with store.new_generation() as writer:
        writer.write([0], torch.full((1, 2, 2, 2), 0.5))
    with pytest.raises(InvalidInputError, match=message):
        estimate_store_noise(store)


def test_evidence_that_is_unsure_says_so_of_itself():
    given = np.arange(90) % 3
    soft = np.full((90, 3), 0.3)
    soft[np.arange(90), (given + (np.arange(90) < 45)) % 3] = 0.4
    estimate = estimate_noise(given, soft)
    assert estimate.certainty == pytest.approx(0.4)
    assert "unsure of itself (mean certainty 40 %)" in estimate.verdict()
    sure = estimate_noise(given, np.eye(3)[(given + (np.arange(90) < 45)) % 3])
    assert sure.certainty == 1.0
    assert "unsure" not in sure.verdict()
