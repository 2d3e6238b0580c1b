"""One-network methods in a run: what they compute on a batch, remember, refuse, and resume."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from watching import QUIET, Kill

from noisycorrect import RECIPES, Classification, Correction, Schedule, SelfCorrector
from noisycorrect.classification import (
    Bootstrap,
    EarlyLearningRegularization,
    ForwardCorrection,
    GeneralizedCrossEntropy,
    LabelSmoothing,
    Mixup,
    SparseOverParameterization,
    SymmetricCrossEntropy,
)
from noisycorrect.classification.methods.targets import smooth_targets
from noisycorrect.classification.methods.transition import estimate_transition
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.labels import Trust
from noisycorrect.labels.refine import one_hot
from noisycorrect.recipe import PLAIN
from noisycorrect.support.errors import InvalidInputError

COUNT, CLASSES = 36, 3
GIVEN = Correction()  # labels stay as they are given
MAKERS = {
    "ls": LabelSmoothing,
    "soft": Bootstrap,
    "hard": lambda: Bootstrap("hard"),
    "mixup": Mixup,
    "gce": GeneralizedCrossEntropy,
    "sce": SymmetricCrossEntropy,
    "forward": ForwardCorrection,
    "elr": EarlyLearningRegularization,
    "sop": SparseOverParameterization,
}
every = pytest.mark.parametrize("name", MAKERS)


def data(unlabeled=0):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(COUNT) % CLASSES
    inputs = torch.randn(COUNT, 4, generator=generator) + 2 * F.one_hot(labels, 4)
    labels = torch.where(torch.rand(COUNT, generator=generator) < 0.3, (labels + 1) % CLASSES, labels)
    return inputs, torch.where(torch.arange(COUNT) < COUNT - unlabeled, labels, -1)


def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, CLASSES))


def start(objective, epochs=6, unlabeled=0, task=None):
    given = data(unlabeled)[1]
    task = task or Classification(CLASSES)
    nothing = torch.zeros(0)
    objective.start(Setup(task, given, COUNT, epochs, torch.device("cpu"), 0, lambda model: nothing, lambda: nothing))
    return objective


def whole_batch(indices=None):
    inputs, labels = data()
    index = torch.arange(COUNT) if indices is None else torch.tensor(indices)
    return Batch(index, inputs[index], labels[index], Trust(torch.ones(len(index))))


def fit(objective, run_dir=None, stop=None, unlabeled=0, recipe=PLAIN, epochs=6):
    inputs, labels = data(unlabeled)
    corrector = SelfCorrector(
        network(), num_classes=CLASSES, recipe=recipe.replace(objective=objective), epochs=epochs, lr=0.1,
        batch_size=12, run_dir=run_dir, callbacks=[QUIET, Kill(stop)],
    )  # fmt: skip
    try:
        result = corrector.fit((inputs, labels))
    except KeyboardInterrupt:
        return None
    return result.model.state_dict(), [record["loss"] for record in result.history]


def assert_equal(one, other):
    assert one[1] == other[1]
    for name, value in one[0].items():
        assert torch.equal(value, other[0][name]), name


@every
def test_a_run_is_reproducible_and_resumes(name, tmp_path):
    alone = fit(MAKERS[name]())
    assert math.isfinite(alone[1][0])
    assert fit(MAKERS[name](), tmp_path / "run", stop=4) is None
    assert_equal(fit(MAKERS[name](), tmp_path / "run"), alone)


@pytest.mark.parametrize("name", ["ls", "gce", "sce", "soft", "mixup", "forward", "elr"])
def test_refinement_and_unlabeled_samples_work_with_it(name):
    recipe = RECIPES["paper"].replace(schedule=Schedule(init_epochs=2, cycles=2, cycle_epochs=1))
    weights, losses = fit(MAKERS[name](), unlabeled=9, recipe=recipe, epochs=None)
    assert all(math.isfinite(loss) for loss in losses)
    assert all(torch.isfinite(value).all() for value in weights.values())


@every
def test_other_tasks_are_refused(name):
    with pytest.raises(InvalidInputError, match="a classification task"):
        start(MAKERS[name](), task=object())


@pytest.mark.parametrize(
    "make",
    [
        lambda: LabelSmoothing(1.0),
        lambda: LabelSmoothing(-0.1),
        lambda: Bootstrap("firm"),
        lambda: Bootstrap("soft", 1.5),
        lambda: Mixup(0),
        lambda: Mixup("1"),
        lambda: GeneralizedCrossEntropy(0),
        lambda: GeneralizedCrossEntropy(1.1),
        lambda: SymmetricCrossEntropy(alpha=-1),
        lambda: SymmetricCrossEntropy(alpha=0, beta=0),
        lambda: SymmetricCrossEntropy(log_zero=0),
        lambda: ForwardCorrection(percentile=1.2),
        lambda: ForwardCorrection(warmup=1.0),
        lambda: EarlyLearningRegularization(momentum=1.0),
        lambda: EarlyLearningRegularization(strength=math.nan),
        lambda: SparseOverParameterization(lr_u=-1),
        lambda: SparseOverParameterization(lr_v=math.inf),
    ],
)
def test_parameters_out_of_range_are_refused(make):
    with pytest.raises(InvalidInputError, match="to fix"):
        make()


def test_published_parameters_are_the_defaults():
    found = {name: {k: v for k, v in make().identity().items() if k != "name"} for name, make in MAKERS.items()}
    assert found == {
        "ls": {"smoothing": 0.1},
        "soft": {"kind": "soft", "trust": 0.95},
        "hard": {"kind": "hard", "trust": 0.8},
        "mixup": {"alpha": 1.0},
        "gce": {"q": 0.7},
        "sce": {"alpha": 0.1, "beta": 1.0, "log_zero": -4.0},
        "forward": {"percentile": 0.97, "warmup": 1 / 3},
        "elr": {"strength": 3.0, "momentum": 0.7},
        "sop": {"lr_u": 10.0, "lr_v": 10.0},
    }


@every
def test_another_parameter_is_another_run(name):
    values = vars(objective := MAKERS[name]())
    before = objective.identity()
    setattr(objective, next(key for key, value in values.items() if isinstance(value, float)), 0.123)
    assert objective.identity() != before


@every
def test_a_pass_costs_what_cross_entropy_costs(name):
    objective = MAKERS[name]()
    assert [objective.passes(epoch, 9) for epoch in range(9)] == [3.0] * 9


def test_label_smoothing_of_a_batch():
    model, batch = network(), whole_batch()
    expected = F.cross_entropy(model(batch.input), batch.given, label_smoothing=0.1)
    torch.testing.assert_close(start(LabelSmoothing()).loss(model, batch, GIVEN), expected)


def test_mixup_of_a_batch_is_the_mean_of_both_labels():
    model, batch = network(), whole_batch()
    objective = start(Mixup(alpha=0.5))
    torch.manual_seed(3)
    found = objective.loss(model, batch, GIVEN)
    torch.manual_seed(3)
    weight = torch.distributions.Beta(0.5, 0.5).sample()
    partner = torch.randperm(COUNT)
    logits = model(weight * batch.input + (1 - weight) * batch.input[partner])
    expected = weight * F.cross_entropy(logits, batch.given)
    expected += (1 - weight) * F.cross_entropy(logits, batch.given[partner])
    torch.testing.assert_close(found, expected)
    assert torch.equal(batch.input, whole_batch().input)


def test_early_learning_targets_are_those_of_the_paper():
    model, objective = network(), start(EarlyLearningRegularization(strength=3, momentum=0.7))
    average = torch.zeros(COUNT, CLASSES)
    for indices in ([3, 1, 4], [1, 5], [1, 3]):
        batch = whole_batch(indices)
        found = objective.loss(model, batch, GIVEN)
        probs = model(batch.input).softmax(1)
        for row, index in enumerate(indices):
            average[index] = 0.7 * average[index] + 0.3 * probs[row].detach()
        pull = torch.stack([(1 - probs[row] @ average[index]).log() for row, index in enumerate(indices)]).mean()
        expected = F.cross_entropy(model(batch.input), batch.given) + 3 * pull
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(objective.memory()["average"], average)


def test_early_learning_loss_of_certain_predictions_is_finite():
    objective = start(EarlyLearningRegularization(momentum=0.0))
    model = nn.Linear(4, CLASSES)
    nn.init.zeros_(model.weight)
    model.bias.data = torch.tensor([500.0, 0.0, 0.0])
    loss = objective.loss(model, whole_batch([0, 1]), GIVEN)
    loss.backward()
    assert torch.isfinite(model.bias.grad).all()
    assert objective.average[[0, 1]].max() < 1


def test_noise_variables_take_the_steps_of_gradient_descent():
    model, objective = network(), start(SparseOverParameterization(lr_u=8.0, lr_v=5.0))
    with torch.no_grad():
        objective.u.uniform_(0.1, 0.5, generator=torch.Generator().manual_seed(0))
        objective.v.uniform_(0.1, 0.5, generator=torch.Generator().manual_seed(1))
    batch = whole_batch([2, 7, 11])
    u, v = objective.u[batch.index].clone(), objective.v[batch.index].clone()
    others = objective.u.clone(), objective.v.clone()
    loss = objective.loss(model, batch, GIVEN)
    f, y = model(batch.input).softmax(1).detach().double(), one_hot(batch.given, CLASSES)
    for row, index in enumerate(batch.index.tolist()):
        label = int(batch.given[row])
        p = f[row].tolist()
        noise = [(u[row, 0] ** 2 * a - b**2 * (1 - a)).item() for a, b in zip(y[row], v[row], strict=True)]
        w = [max(p[k] + noise[k], 1e-4) for k in range(CLASSES)]
        # d/du of -log(w_y / sum w), and d/dv of the squared error, by hand
        slope_u = 2 * u[row, 0].item() * (1 / sum(w) - 1 / w[label])
        slope_v = [-4 * v[row, k].item() * (p[k] + noise[k]) * (k != label) for k in range(CLASSES)]
        assert objective.u[index, 0].item() == pytest.approx(u[row, 0].item() - 8 / 128 * slope_u, rel=1e-5)
        expected = [v[row, k].item() - 5 / 128 * slope_v[k] for k in range(CLASSES)]
        assert objective.v[index].tolist() == pytest.approx(expected, rel=1e-5)
    rest = torch.ones(COUNT, dtype=torch.bool)
    rest[batch.index] = False
    assert torch.equal(objective.u[rest], others[0][rest])
    assert torch.equal(objective.v[rest], others[1][rest])
    assert loss.requires_grad
    assert not objective.u.requires_grad


def test_noise_variables_stay_in_their_range_and_need_labels():
    model, objective = network(), start(SparseOverParameterization(lr_u=1e6, lr_v=1e6))
    assert 0 < objective.u.abs().max() < 1e-6
    with torch.no_grad():
        objective.u.fill_(0.3)
        objective.v.fill_(0.3)
    objective.loss(model, whole_batch(), GIVEN)
    assert objective.u.abs().max() == 1
    assert objective.v.abs().max() == 1
    with pytest.raises(InvalidInputError, match=r"a class label of every sample.*got 2 of 36"):
        start(SparseOverParameterization(), unlabeled=2)


def test_noise_variables_take_wrong_labels_from_the_network():
    generator = torch.Generator().manual_seed(0)
    clean = torch.arange(200) % 2
    inputs = torch.randn(200, 2, generator=generator) + 6 * F.one_hot(clean, 2)
    wrong = torch.rand(200, generator=generator) < 0.3
    given = torch.where(wrong, 1 - clean, clean)
    seen = {}

    class Kept(SparseOverParameterization):
        def end_epoch(self):
            seen["u"] = self.u.square().squeeze(1).clone()

    recipe = PLAIN.replace(objective=Kept(), lr=0.1, batch_size=20)
    SelfCorrector(nn.Linear(2, 2), num_classes=2, recipe=recipe, epochs=40, callbacks=[QUIET]).fit((inputs, given))
    assert seen["u"][wrong].median() > 0.9 > 0.1 > seen["u"][~wrong].median()


def test_forward_correction_estimates_once_and_then_uses_it():
    model, objective, batch = network(), start(ForwardCorrection(percentile=0.99)), whole_batch()
    identity, probs = torch.eye(CLASSES), model(batch.input).softmax(1).detach()
    for epoch in range(6):
        objective.start_epoch(epoch, model)
        objective.loss(model, batch, GIVEN)
        assert torch.equal(objective.transition, identity) == (epoch < 2)
        objective.end_epoch()
    torch.testing.assert_close(objective.transition, estimate_transition(probs, 0.99))
    expected = -(probs @ objective.transition).gather(1, batch.given[:, None]).log().mean()
    torch.testing.assert_close(objective.loss(model, batch, GIVEN), expected)
    fresh = start(ForwardCorrection(percentile=0.99))
    fresh.load_state_dict(objective.state_dict())
    assert torch.equal(fresh.transition, objective.transition)


def test_forward_correction_leaves_out_samples_that_no_batch_had():
    model, objective = network(), start(ForwardCorrection(percentile=0.0), epochs=3)
    objective.start_epoch(0, model)
    objective.loss(model, batch := whole_batch([0, 1, 2, 3]), GIVEN)
    objective.end_epoch()
    probs = model(batch.input).softmax(1).detach()
    torch.testing.assert_close(objective.transition, estimate_transition(probs, 0.0))


def test_smoothing_spreads_refined_labels_too():
    refined = torch.tensor([[0.5, 0.5, 0.0]])
    torch.testing.assert_close(smooth_targets(refined, 0.3), torch.tensor([[0.45, 0.45, 0.1]]))
