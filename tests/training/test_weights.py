"""Weights of samples and classes in the loss, beside a slow oracle in float64."""

import copy
import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from tiny_runs import CLASSES, QUIET, SHORT, Kill, assert_equal_runs, blobs, corrector, network
from torch import nn

from noisycorrect import (
    RECIPES,
    Classification,
    MultiLabel,
    NeighborCorrection,
    OneCosine,
    Schedule,
    SelfCorrector,
    TokenLabeling,
)
from noisycorrect.classification.task import MOST_WEIGHT, balanced_weights
from noisycorrect.correction.class_weights import unweighted, weighted
from noisycorrect.data.batches import Batch
from noisycorrect.labels import Trust
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.training.weights import check_weighed
from noisycorrect_seg import Segmentation

QUICK = SHORT.replace(schedule=Schedule(1, 2, 1))
# Without a warm-up, so that the one step has the whole rate.
ONE_STEP = RECIPES["ce"].replace(
    optimizer=torch.optim.SGD, lr=0.5, batch_size=60, epochs=1, rates=OneCosine(warmup_epochs=0)
)
INPUTS, GIVEN, _ = blobs(60)
WEIGHTS = torch.rand(60, generator=torch.Generator().manual_seed(1))
PER_CLASS = [0.5, 2.0, 1.0]


def oracle(logits, given, evidence, trust, weights, per_class):
    """Return the mean over the labelled of -s_i sum_k c_k t_ik log p_ik, t the refined label, one number at a time."""
    total, labelled = 0.0, 0
    for row, z in enumerate(logits):
        largest = max(z)
        log_sum = largest + math.log(sum(math.exp(value - largest) for value in z))
        target = [0.0] * len(z)
        for k in range(len(z)):
            own = 1.0 if given[row] == k else 0.0
            weight = trust[row] if given[row] >= 0 else 0.0
            target[k] = own if evidence is None else weight * own + (1 - weight) * evidence[row][k]
        labelled += sum(target) > 0
        total -= weights[row] * sum(c * t * (value - log_sum) for c, t, value in zip(per_class, target, z, strict=True))
    return total / labelled


@pytest.mark.parametrize("generation", [0, 1])
def test_the_weighted_loss_of_refined_labels(generation):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 3, generator=generator, dtype=torch.float64)
    evidence = torch.rand(9, 3, generator=generator).softmax(1) if generation else None
    given, weight = torch.tensor([0, 1, 2, -1, 0, 1, 2, 2, -1]), WEIGHTS[:9]
    trust = torch.rand(9, generator=generator) if generation else torch.ones(9)
    batch = Batch(torch.arange(9), None, given, Trust(trust * (given >= 0)), evidence, generation, weight=weight)
    task = Classification(3, class_weight=PER_CLASS)
    rows = None if evidence is None else evidence.double().tolist()
    expected = oracle(logits.tolist(), given.tolist(), rows, trust.tolist(), weight.tolist(), PER_CLASS)
    assert task.loss(logits, batch).item() == pytest.approx(expected, rel=1e-6)
    batch.weight = None
    expected = oracle(logits.tolist(), given.tolist(), rows, trust.tolist(), [1.0] * 9, PER_CLASS)
    assert task.loss(logits, batch).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("where", ["argument", "dict of arrays", "items", "column"])
def test_a_step_down_the_weighted_loss(where):
    model = nn.Linear(4, 3).double()
    expected = copy.deepcopy(model)
    losses = nn.functional.cross_entropy(expected(INPUTS.double()), GIVEN, reduction="none")
    (losses * WEIGHTS * torch.tensor(PER_CLASS)[GIVEN]).mean().backward()
    data = {
        "argument": (INPUTS, GIVEN),
        "column": (INPUTS, GIVEN),
        "dict of arrays": {"x": INPUTS, "y": GIVEN, "sample_weight": WEIGHTS},
        "items": [{"x": x, "y": int(y), "weight": float(w)} for x, y, w in zip(INPUTS, GIVEN, WEIGHTS, strict=True)],
    }[where]
    argument = {"argument": WEIGHTS.tolist(), "column": WEIGHTS[:, None]}.get(where)
    task = Classification(3, class_weight=PER_CLASS)
    result = SelfCorrector(model, task=task, recipe=ONE_STEP, callbacks=[QUIET]).fit(data, sample_weight=argument)
    for own, start, other in zip(result.model.parameters(), model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(own, start - 0.5 * other.grad, rtol=1e-6, atol=1e-9)


def test_weights_of_one_change_nothing_and_weights_of_others_do():
    plain = corrector(recipe=QUICK).fit((INPUTS, GIVEN), None, INPUTS)
    ones = corrector(recipe=QUICK).fit((INPUTS, GIVEN), None, INPUTS, sample_weight=np.ones(60))
    every = corrector(recipe=QUICK).fit((INPUTS, GIVEN), None, INPUTS, sample_weight=np.ones(120))
    task = Classification(CLASSES, class_weight=[1, 1, 1])
    classes = corrector(recipe=QUICK, task=task).fit((INPUTS, GIVEN), None, INPUTS)
    for same in (ones, every, classes):
        assert_equal_runs(same, plain)
    other = corrector(recipe=QUICK).fit((INPUTS, GIVEN), None, INPUTS, sample_weight=WEIGHTS)
    arrays = {"x": INPUTS, "y": GIVEN, "weight": WEIGHTS}
    for unlabeled in (INPUTS, list(INPUTS)):
        assert_equal_runs(corrector(recipe=QUICK).fit(arrays, None, unlabeled), other)
    assert not torch.equal(other.model[0].weight, plain.model[0].weight)


def test_samples_of_no_weight_are_not_learnt():
    wrong = GIVEN.clone()
    wrong[:30] = (wrong[:30] + 1) % 3
    weights = (torch.arange(60) >= 30).float()
    recipe = RECIPES["ce"].replace(epochs=3, batch_size=60)
    one = corrector(network(norm=False), recipe=recipe).fit((INPUTS, GIVEN), sample_weight=weights)
    other = corrector(network(norm=False), recipe=recipe).fit((INPUTS, wrong), sample_weight=weights)
    for own, same in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(own, same)


def test_balanced_is_scikit_learns():
    labels = np.array([0] * 7 + [1] * 2 + [2] + [-1] * 5)
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=labels[labels >= 0])
    np.testing.assert_allclose(balanced_weights(labels, 3).numpy(), wanted, rtol=1e-6)
    assert balanced_weights(labels, 4)[3] == 0
    rare = GIVEN.clone()
    rare[:40] = 0
    task = Classification(CLASSES, class_weight="balanced")
    corrector(recipe=QUICK, task=task).fit((INPUTS, rare))
    np.testing.assert_allclose(task.class_weight.numpy(), balanced_weights(rare.numpy(), CLASSES).numpy())
    assert Classification(3, class_weight={1: 4.0}).class_weight.tolist() == [1, 4, 1]


def test_evidence_without_class_weights():
    weights = [0.5, 2.0, 0.0]
    task = Classification(3, class_weight=weights)
    probs = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(0)).softmax(1)
    found = unweighted(task, probs)
    for row in range(4):
        for place in range(2):
            shares = [float(p) / (w or 1.0) for p, w in zip(probs[row, :, place], weights, strict=True)]
            wanted = [share / sum(shares) for share in shares]
            assert found[row, :, place].tolist() == pytest.approx(wanted, rel=1e-5)
    torch.testing.assert_close(weighted(task, found), probs)
    assert unweighted(Classification(3), probs) is probs


UNDOUBTED = NeighborCorrection(clean_rate=0.98, noisy_rate=0.99)
CORRECTIONS = {"at cycle end": RECIPES["paper"], "neighbors": RECIPES["robust"].replace(correction=UNDOUBTED)}


@pytest.mark.parametrize("name", CORRECTIONS)
def test_class_weights_do_not_lean_the_evidence(name):
    """Inputs that say nothing: predictions lean as far as classes weigh, evidence is as frequent as the labels are."""
    inputs = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)) * 1e-3
    given = (torch.arange(200) % 10 == 0).long()
    task = Classification(2, class_weight="balanced")
    recipe = CORRECTIONS[name].replace(standardize=None, lr=0.5, batch_size=200, epochs=40)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Linear(4, 2)
    result = SelfCorrector(model, task=task, recipe=recipe, callbacks=[QUIET]).fit((inputs, given))
    with torch.no_grad():
        predicted = result.model(inputs).softmax(1).mean(0)
    evidence = result.labels.evidence().mean(0)
    assert predicted[1].item() == pytest.approx(0.5, abs=0.05)
    assert evidence[1].item() == pytest.approx(0.1, abs=0.03)


def test_the_robust_recipe_counts_rare_classes_more():
    rare = GIVEN.clone()
    rare[:44] = 0
    recipe = RECIPES["robust"].replace(epochs=4)
    task = Classification(CLASSES)
    balanced = corrector(recipe=recipe, task=task).fit((INPUTS, rare))
    assert task.class_weight is None
    weights = balanced_weights(rare.numpy(), CLASSES)
    assert float(weights.max()) < MOST_WEIGHT
    asked = corrector(recipe=recipe, task=Classification(CLASSES, class_weight=weights)).fit((INPUTS, rare))
    assert_equal_runs(balanced, asked)
    alike = corrector(recipe=recipe, task=Classification(CLASSES, class_weight=[1, 1, 1])).fit((INPUTS, rare))
    without = corrector(recipe=recipe.replace(class_weight=None)).fit((INPUTS, rare))
    assert_equal_runs(alike, without)
    assert not torch.equal(balanced.model.network[0].weight, alike.model.network[0].weight)


def test_what_a_recipe_weighs_is_bounded_and_needs_somebody_who_counts():
    few = [0] * 999 + [1]
    assert Classification(2).balanced_by(few).class_weight.max() == MOST_WEIGHT
    empty = Classification(9, allow_empty_classes=True).balanced_by([0, 0, 0, 4]).class_weight
    np.testing.assert_allclose(empty[[0, 4]], [4 / 6, 2.0], rtol=1e-6)  # as loud as if the others were not there
    alike, even = Classification(2), [0] * 19 + [1] * 10
    assert alike.balanced_by(even) is alike
    assert alike.balanced_by([*even, 0]).class_weight is not None
    own = Classification(2, loss=lambda logits, targets: (logits * targets).sum())
    assert own.balanced_by(few) is own
    with pytest.raises(InvalidInputError, match="class_weight"):
        RECIPES["robust"].replace(objective=RECIPES["gce"].objective, correction=None)
    with pytest.raises(InvalidInputError, match="'sqrt'"):
        RECIPES["robust"].replace(class_weight="sqrt")


@pytest.mark.parametrize("recipe", ["robust", "ema"])
def test_recipes_whose_loss_is_the_tasks_count_weights(recipe):
    plain = corrector(recipe=recipe, epochs=4, batch_size=20).fit((INPUTS, GIVEN))
    weighed = corrector(recipe=recipe, epochs=4, batch_size=20).fit((INPUTS, GIVEN), sample_weight=WEIGHTS)
    assert not torch.equal(next(plain.model.parameters()), next(weighed.model.parameters()))


def test_labels_of_many_parts_have_weights_too():
    tokens = TokenLabeling(2)
    tokens.check_given([[0, 1], [1]])
    given = torch.tensor([[0, 1], [1, -100]])
    batch = Batch(torch.arange(2), None, given, Trust(torch.ones(2)), weight=torch.tensor([3.0, 0.0]))
    assert float(tokens.loss(torch.zeros(2, 2, 2), batch)) == pytest.approx(2 * 3 * math.log(2) / 3)
    many = Batch(
        torch.arange(2), None, torch.tensor([[0, 1], [1, -1]]), Trust(torch.ones(2)), weight=torch.tensor([3.0, 0])
    )
    assert float(MultiLabel(2).loss(torch.zeros(2, 2), many)) == pytest.approx(2 * 3 * math.log(2) / 3)


def test_of_a_task_that_counts_no_weights_no_recipe_is_advised():
    batch = Batch(torch.arange(2), None, torch.tensor([0, 1]), Trust(torch.ones(2)), weight=torch.ones(2))
    with pytest.raises(InvalidInputError, match="leave the weights out: no recipe counts them"):
        check_weighed(batch, Segmentation(("road", "car"), size=(8, 8)), RECIPES["ce"].objective)


def test_weights_that_nobody_counts_are_refused():
    with pytest.raises(InvalidInputError, match="weights, and EarlyLearningRegularization, which does not"):
        corrector(recipe="elr", epochs=2).fit((INPUTS, GIVEN), sample_weight=WEIGHTS)
    task = Classification(CLASSES, class_weight="balanced")
    with pytest.raises(InvalidInputError, match="weights, and LabelSmoothing"):
        corrector(recipe="ls", task=task, epochs=2).fit((INPUTS, GIVEN))
    own = Classification(CLASSES, loss=lambda logits, targets: (logits * targets).sum(), class_weight=PER_CLASS)
    with pytest.raises(InvalidInputError, match=r"loss\(logits, targets, weight=weight\); got .*lambda"):
        corrector(recipe=QUICK, task=own).fit((INPUTS, GIVEN))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (WEIGHTS[:59], r"sample_weight of shape \(60,\); got float32 of shape \(59,\)"),
        (WEIGHTS - 1, "finite weights >= 0; got -"),
        (["a"] * 60, "got <U1 of shape"),
        (WEIGHTS * math.nan, "got nan at index 0"),
    ],
)
def test_bad_weights(weights, message):
    with pytest.raises(InvalidInputError, match=message):
        corrector(recipe=QUICK).fit((INPUTS, GIVEN), sample_weight=weights)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], r"class_weight of 3 finite numbers >= 0; got int64 of shape \(2,\)"),
        ([1, 2, -1], r"got \[1, 2, -1\]"),
        ("balance", "did you mean 'balanced'"),
    ],
)
def test_bad_class_weights(weights, message):
    with pytest.raises(InvalidInputError, match=message):
        Classification(3, class_weight=weights)


def test_a_run_is_resumed_with_its_own_weights(tmp_path):
    def fit(weights, run_dir=None, fail_after=None, class_weight=PER_CLASS):
        one = corrector(
            recipe=QUICK, task=Classification(CLASSES, class_weight=class_weight), run_dir=run_dir,
            callbacks=[Kill(fail_after)],
        )  # fmt: skip
        return one.fit((INPUTS, GIVEN), sample_weight=weights)

    with pytest.raises(KeyboardInterrupt):
        fit(WEIGHTS, tmp_path, fail_after=2)
    with pytest.raises(CheckpointError, match="sample_weight="):
        fit(WEIGHTS.flip(0), tmp_path)
    with pytest.raises(CheckpointError, match="class_weight"):
        fit(WEIGHTS, tmp_path, class_weight=None)
    assert_equal_runs(fit(WEIGHTS, tmp_path), fit(WEIGHTS))
