"""Noise estimates: against slow loops, on data whose noise is known, and what they refuse."""

import json
import tracemalloc

import numpy as np
import pytest
import torch

from noisycorrect import (
    RECIPES,
    CorrectionResult,
    CrossFitting,
    OnlineCorrection,
    SelfCorrector,
    SoftLabelStore,
    TaskLoss,
)
from noisycorrect.review import counting, noise_rate
from noisycorrect.review.intervals import binomial_ends
from noisycorrect.review.likelihood import fit_transition, transition_errors
from noisycorrect.review.noise_rate import estimate_noise, estimate_store_noise, rate_interval
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


def test_the_ends_of_entries_and_of_classes_are_binomial():
    given, probs, _ = simulated(2, PAIR, count=200)
    found, best = estimate_noise(given, probs, level=0.9), probs.argmax(1)
    for k in range(3):
        of_class = given[best == k]
        for g in range(3):
            expected = binomial_ends((of_class == g).sum(), len(of_class), 0.9)
            np.testing.assert_allclose(found.transition_interval[:, k, g], expected)
        np.testing.assert_allclose(found.class_interval[:, k], binomial_ends((of_class != k).sum(), len(of_class), 0.9))


@pytest.mark.parametrize("expected", [None, 0.3, 0.9])
def test_the_interval_of_the_rate_is_its_formula(expected):
    for contradicted, wrong, sure in ((0.25, 30, 200), (0.1, 40, 200), (0.5, 0, 10)):
        share = wrong / sure
        low = 0.8 * binomial_ends(wrong, sure, 0.9)[0] - max(contradicted - share, 0)
        highest = contradicted
        if expected is not None:
            highest = min(1.0, max(contradicted, share, min(expected, 2 * contradicted - share)) / 0.8)
        found = rate_interval(contradicted, (wrong, sure), 1000, 0.9, expected)
        assert found[0] == pytest.approx(max(0, min(low, contradicted)))
        assert found[1] == pytest.approx(binomial_ends(1000 * highest, 1000, 0.9)[1])


def test_the_interval_of_a_run_reaches_to_what_was_expected_elsewhere():
    given, evidence = [0] * 60 + [1] * 40, torch.eye(2)[[0] * 50 + [1] * 50] * 0.9 + 0.05
    intervals = []
    for rate in (None, 0.45, 0.12):
        store = SoftLabelStore.create(None, given, 2)
        with store.new_generation() as writer:
            writer.expected_rate = rate
            writer.write(range(100), evidence)
        assert store.expected_rate() == rate
        intervals.append(estimate_store_noise(store).interval)
    assert intervals[1][1] == 0.45 > intervals[0][1]
    assert intervals[0] == intervals[2]


def test_many_samples_are_fitted_and_resampled_in_part(monkeypatch):
    given, probs, _ = simulated(3, PAIR, count=3000)
    whole, _ = fit_transition(given, probs)
    errors = transition_errors(given, probs, whole, np.random.default_rng(0))
    monkeypatch.setattr("noisycorrect.review.likelihood.MOST_VALUES", 6000)
    monkeypatch.setattr("noisycorrect.review.likelihood.MOST_RESAMPLED", 3000)
    part, joint = fit_transition(given, probs)
    assert not np.array_equal(whole, part)
    np.testing.assert_allclose(part, whole, atol=0.08)
    assert joint.sum() == pytest.approx(3000)
    scaled = transition_errors(given, probs, whole, np.random.default_rng(0))
    assert errors.shape == (3, 3)
    np.testing.assert_allclose(scaled.diagonal(), errors.diagonal(), rtol=0.5)


# ---------------------------------------------------------------- known noise


NOISES = pytest.mark.parametrize("transition", [np.eye(3), PAIR, 0.55 * np.eye(3) + 0.15])


@NOISES
def test_held_out_probabilities_give_the_rate_without_bias(transition):
    found = [estimate_noise(*simulated(seed, transition)[:2], held_out=True) for seed in range(6)]
    rate = 1 - transition.trace() / 3
    assert np.mean([one.rate for one in found]) == pytest.approx(rate, abs=0.03)
    assert np.mean([one.readings["likelihood"] for one in found]) == pytest.approx(rate, abs=0.02)
    np.testing.assert_allclose(np.mean([one.transition for one in found], axis=0), transition, atol=0.06)
    # What the labels contradict is too much here: the model itself is unsure.
    assert np.mean([one.readings["contradicted"] for one in found]) > rate + 0.05


@NOISES
def test_held_out_intervals_cover(transition, monkeypatch):
    """Of models that err on hard samples and were trained on noisy labels."""
    monkeypatch.setattr(noise_rate, "DENSE_CLASSES", 0)  # no fit of the transition, which takes long
    covered, widths = 0, []
    for seed in range(40):
        given, probs, true = simulated(seed, transition, softness=0.05)
        found = estimate_noise(given, probs @ transition, held_out=True)
        covered += found.interval[0] <= (given != true).mean() <= found.interval[1]
        widths.append(found.interval[1] - found.interval[0])
    assert covered >= 38
    assert np.mean(widths) < 0.25


@NOISES
def test_probabilities_that_have_seen_the_labels_give_an_interval_with_the_rate(transition):
    covered = 0
    for seed in range(20):
        given, probs, true = simulated(seed, transition)
        posterior = probs * transition.T[given]
        found = estimate_noise(given, posterior / posterior.sum(1, keepdims=True))
        assert found.readings["expected"] == pytest.approx((given != true).mean(), abs=0.05)
        covered += found.interval[0] <= (given != true).mean() <= found.interval[1]
    assert covered >= 19


def test_sure_evidence_decides_and_torn_evidence_does_not():
    given, _, true = simulated(0, PAIR, count=2000)
    sure = 0.98 * np.eye(3)[true] + 0.02 / 3
    torn = 0.48 * np.eye(3)[true] + 0.48 * np.eye(3)[given] + 0.04 / 3
    narrow, wide = estimate_noise(given, sure), estimate_noise(given, torn)
    assert narrow.interval[0] < (given != true).mean() < narrow.interval[1]
    assert narrow.interval[1] - narrow.interval[0] < 0.175  # a fifth may be learnt by heart; and sampling error
    assert narrow.rate == pytest.approx((given != true).mean())
    assert narrow.decided
    assert not wide.decided  # of nothing it is surer than of the labels themselves
    assert wide.interval[0] == 0
    assert "by heart" in wide.verdict()
    half = np.where(np.arange(2000)[:, None] < 1000, sure, 0.9 * np.eye(3)[given] + 0.1 / 3)
    partly = estimate_noise(given, half)  # what is not by heart tells the rate
    assert partly.interval[0] < (given != true).mean() < partly.interval[1]


def test_memorised_errors_are_never_called_clean():
    """A fifth of the labels is wrong, and the network has learnt nearly all by heart."""
    true = np.arange(900) % 4
    given = np.where(np.random.default_rng(0).random(900) < 0.2, (true + 1) % 4, true)
    for agreement in (1.0, 0.96):
        learnt = np.where(np.arange(900) < agreement * 900, given, true)
        found = estimate_noise(given, 0.98 * np.eye(4)[learnt] + 0.02 / 4)
        assert found.memorised
        assert not found.decided
        assert found.interval == (0.0, 0.75)
        words = found.verdict(list("abcd"))
        assert words.startswith("Cannot tell how many of your labels are wrong")
        assert "learnt them by heart" in words
        assert "held_out=True" in words
        assert "clean" not in words
        assert "recipe=" not in words
    resisted = estimate_noise(given, 0.98 * np.eye(4)[true] + 0.02 / 4)
    assert (resisted.memorised, resisted.decided) == (False, True)
    unseen = estimate_noise(given, np.eye(4)[given], held_out=True)  # these models have not learnt them by heart
    assert (unseen.memorised, unseen.decided) == (False, True)


def test_hard_classes_and_noisy_labels_cannot_be_told_apart(monkeypatch):
    monkeypatch.setattr(noise_rate, "DENSE_CLASSES", 0)  # no fit of the transition, which takes long
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), 2000)
    given = draw(rng, probs)  # all are right; the classes overlap
    found = estimate_noise(given, probs, held_out=True)
    assert found.interval[0] < 0.02 < 0.3 < found.interval[1]
    assert not found.decided
    assert "Cannot tell how many of your labels are wrong" in found.verdict()
    assert "(mean certainty" in found.verdict()


def test_a_higher_level_is_wider_and_twice_is_the_same():
    given, probs, _ = simulated(0, PAIR)
    for held_out in (False, True):
        narrow, wide, again = (estimate_noise(given, probs, level=p, held_out=held_out) for p in (0.5, 0.99, 0.99))
        assert wide.interval[0] <= narrow.interval[0] < narrow.interval[1] < wide.interval[1]
        for name in ("transition_interval", "class_interval"):
            assert (getattr(wide, name)[0] <= getattr(narrow, name)[0]).all()
            assert (getattr(wide, name)[1] >= getattr(narrow, name)[1]).all()
        assert (wide.transition_interval[0] <= wide.transition).all()
        assert (wide.transition <= wide.transition_interval[1]).all()
        assert wide.to_json() == again.to_json()


def test_what_is_held_out_is_judged_alone():
    given, _, true = simulated(0, PAIR, count=2000)
    unseen = np.arange(2000) % 5 == 0
    evidence = np.where(unseen[:, None], np.eye(3)[true], np.eye(3)[given])  # elsewhere by heart
    found = estimate_noise(given, evidence, held_out=unseen)
    alone = estimate_noise(given[unseen], evidence[unseen], held_out=True)
    assert (found.rate, found.interval, found.decided) == (alone.rate, alone.interval, alone.decided)
    assert found.held_out
    assert found.interval[0] < (given != true).mean() < found.interval[1]
    assert (found.labels, found.contradicted) == (2000, int((given != true)[unseen].sum()))


# ---------------------------------------------------------------- classes of which nothing is known


def test_a_class_that_is_never_predicted_is_named_first_and_not_counted():
    found = estimate_noise([0] * 90 + [1] * 10, np.tile([0.95, 0.05], (100, 1)))
    assert found.starved == ((1, 10, 0),)
    assert found.contradicted == 0
    assert found.class_rates[0] == 0
    assert np.isnan(found.class_rates[1])
    assert found.class_interval[:, 1].tolist() == [0, 1]
    assert found.transition[1].tolist() == [0, 1]
    assert found.transition_interval[:, 1].tolist() == [[0, 0], [1, 1]]
    assert json.loads(found.to_json())["class_rates"] == [0, None]
    words = found.verdict(["common", "rare"])
    assert words.startswith(
        "rare is never predicted: its rate is unknown, and the 10 labels that say so are not counted"
    )
    assert "Most" not in words


def test_a_starved_class_is_in_no_confused_pair():
    given = [0] * 83 + [1] * 50 + [3] + [2] * 5
    evidence = np.full((139, 4), 0.02)
    evidence[range(139), [0] * 83 + [1] * 50 + [2] + [0] * 5] += 0.92
    found = estimate_noise(given, evidence, held_out=True)
    assert [row[0] for row in found.starved] == [2]
    assert [(true, label) for true, label, _ in found.most_confused] == [(3, 0)]
    assert found.verdict().endswith("class 3 labelled class 0 (75 % of class 3). Look at that label first.")


def test_vanished_and_starved_classes_of_a_crowd():
    """Six classes of 45 to 2 %: two vanish, one nearly, though their labels are right."""
    sizes = [450, 250, 150, 90, 40, 20]
    true = np.repeat(np.arange(6), sizes)
    given = np.where(np.arange(1000) % 10 == 0, (true + 1) % 3, true)  # a tenth is wrong, or a little less
    predicted = np.where(true >= 4, 0, true)
    predicted[true == 3] = np.where(np.arange(90) < 10, 3, 1)
    found = estimate_noise(given, 0.9 * np.eye(6)[predicted] + 0.1 / 6, held_out=True)
    counts = np.bincount(given, minlength=6)
    assert found.starved == ((3, counts[3], (predicted == 3).sum()), (4, counts[4], 0), (5, counts[5], 0))
    judged = given < 3
    assert found.contradicted == ((given != predicted) & judged).sum()
    assert found.rate == pytest.approx((given != predicted)[judged].mean(), abs=0.02)
    assert all(given < 3 for _, given, _ in found.most_confused)
    share = judged.mean()
    low, high = found.interval
    assert high >= 1 - share
    assert low <= found.rate <= high
    names = [f"name{k}" for k in range(6)]
    words = found.verdict(names)
    assert words.startswith("name4 and name5 are never predicted: their rates are unknown")
    assert "name3 is predicted far less often than labelled: its rate is unknown" in words
    assert "of your other labels" in words


def test_many_starved_classes_are_not_all_named():
    given = np.concatenate([np.repeat(np.arange(1, 40), 3), np.zeros(800, int)])
    found = estimate_noise(given, np.eye(40)[np.zeros(917, int)])
    assert len(found.starved) == 39
    assert found.verdict().startswith(
        "class 1, class 2, class 3, class 4, class 5 and 34 more classes are never predicted"
    )


# ---------------------------------------------------------------- many classes


def test_many_classes_say_the_same_sparsely(monkeypatch):
    given, probs, _ = simulated(5, 0.8 * np.eye(6) + 0.2 / 6, count=500)
    given, probs = np.append(given, [6] * 4), np.vstack([np.c_[probs, np.zeros(500)], np.eye(7)[[0] * 4]])
    dense = estimate_noise(given, probs)
    for module in (counting, noise_rate):
        monkeypatch.setattr(module, "DENSE_CLASSES", 3)
    sparse = estimate_noise(given, probs)
    assert sparse.starved == dense.starved == ((6, 4, 0),)
    assert sparse.interval == dense.interval
    assert sparse.most_confused == dense.most_confused
    assert sparse.verdict() == dense.verdict()
    np.testing.assert_array_equal(sparse.class_rates, dense.class_rates)
    np.testing.assert_array_equal(sparse.class_interval, dense.class_interval)
    np.testing.assert_allclose(sparse.transition.toarray(), dense.transition)
    there = dense.transition > 0
    for found, expected in zip(sparse.transition_interval, dense.transition_interval, strict=True):
        np.testing.assert_allclose(found.toarray()[there], expected[there])
    shown = json.loads(sparse.to_json())["transition"]
    assert dense.transition[shown["rows"][3], shown["columns"][3]] == pytest.approx(shown["values"][3])
    held_out = estimate_noise(given, probs, held_out=True)
    assert "likelihood" not in held_out.readings
    assert held_out.transition.shape == (7, 7)


@pytest.mark.parametrize("held_out", [False, True])
def test_a_thousand_classes_take_little_memory(held_out):
    rng = np.random.default_rng(0)
    classes, count = 1000, 20_000
    true = rng.integers(0, classes, count)
    given = np.where(rng.random(count) < 0.2, (true + 1) % classes, true)
    evidence = np.full((count, classes), 0.1 / (classes - 1), np.float32)
    evidence[np.arange(count), true] = 0.9
    tracemalloc.start()
    found = estimate_noise(given, evidence, held_out=held_out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 2**20  # the evidence itself: 80 MB; one array of classes x classes: 8 MB
    assert found.interval[0] < (given != true).mean() < found.interval[1]
    assert len(found.verdict()) < 500
    assert all(given == (true + 1) % classes for true, given, _ in found.most_confused)


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
    evidence = np.eye(3)[[0] * 300 + [1] * 280 + [0] * 120 + [2] * 300]
    found = estimate_noise([0] * 300 + [1] * 400 + [2] * 300, evidence)
    words = found.verdict(["cat", "dog", "cow"])
    assert words.startswith("About 12 % (8 to 17 %) of your labels disagree with the evidence.")
    assert "Most confused: cat labelled dog (29 % of cat)." in words
    assert words.endswith("Look at those 120 labels first.")
    assert "class 0 labelled class 1" in found.verdict()
    clean = estimate_noise([0, 1] * 500, np.eye(2)[[0, 1] * 500], held_out=True)
    assert clean.verdict().startswith("About 0 % (0 to 0.4 %) of your labels are estimated to be wrong.")
    assert "look clean" in clean.verdict()
    assert "Look at" not in clean.verdict()
    nearly = estimate_noise([0, 1] * 500, np.eye(2)[[0, 1] * 494 + [1, 0] * 6], held_out=True)
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
        ([0, 1], np.eye(2), {"held_out": [True]}, r"bool \(2,\)"),
        ([0, 1], np.eye(2), {"held_out": [0, 1]}, r"bool \(2,\)"),
        ([0, 1], np.eye(2), {"held_out": [False, False]}, "a held-out label"),
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
    assert second.memorised
    torn = np.where(np.arange(400) % 2 == 0, true, given)
    with store.new_generation() as writer:
        writer.write(range(400), torch.eye(3)[torch.from_numpy(torn)])
    third = estimate_store_noise(store)
    assert third.interval[0] == 0  # the rate of the generation before
    assert third.interval[1] == estimate_noise(given, np.eye(3)[torn]).interval[1]


def test_a_store_knows_what_is_held_out():
    given, _, true = simulated(0, PAIR, count=1000)
    unseen = np.arange(1000) % 5 == 0
    store = SoftLabelStore.create(None, given, 3, evidence="training")
    evidence = torch.eye(3)[torch.from_numpy(np.where(unseen, true, given))]
    with store.new_generation() as writer:
        writer.write(range(1000), evidence)
        writer.held_out = unseen
    found = CorrectionResult(torch.nn.Identity(), store, [], 0).estimate_noise()
    assert found.to_json() == estimate_noise(given, evidence.numpy(), held_out=unseen).to_json()
    assert found.held_out
    assert found.decided


def test_cross_fitted_evidence_is_held_out():
    inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
    recipe = RECIPES["robust"].replace(correction=CrossFitting(), objective=TaskLoss(), average=None)
    corrector = SelfCorrector(torch.nn.Linear(5, 2), num_classes=2, recipe=recipe, epochs=4)
    result = corrector.fit((inputs, (inputs[:, 0] > 0).long()))
    assert result.labels.held_out().all()
    assert result.estimate_noise().held_out
    recipe = recipe.replace(correction=OnlineCorrection())
    corrector = SelfCorrector(torch.nn.Linear(5, 2), num_classes=2, recipe=recipe, epochs=4)
    assert not corrector.fit((inputs, (inputs[:, 0] > 0).long())).estimate_noise().held_out


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
    assert found.absent == ()
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
    assert found.verdict(["ground", "blob"]).startswith("blob is given to none of the 2,560 pixels. About")


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
    assert not estimate.decided
    assert "undecided (mean certainty 40 %)" in estimate.verdict()
