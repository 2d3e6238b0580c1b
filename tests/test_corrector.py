"""SelfCorrector as its users meet it: results, parts switched off, seeds, refusals."""

import copy
import math

import numpy as np
import pytest
import torch
from tiny_runs import CLASSES, PLAIN, SHORT, AfterEpoch, assert_equal_runs, blobs, corrector, network, weights
from torch import nn

from noisycorrect import (
    AtCycleEnd,
    AtCycleEnds,
    Classification,
    CosineCycles,
    Recalibration,
    Schedule,
    SelfCorrector,
    TaskLoss,
)
from noisycorrect.cycle.schedule import cyclical_lr
from noisycorrect.data.batches import Batch
from noisycorrect.labels import Trust
from noisycorrect.labels.refine import blend, one_hot
from noisycorrect.support.errors import InvalidInputError, TrainingWarning


def test_a_run_gives_a_model_labels_a_history_and_issues():
    inputs, given, clean = blobs()
    val_inputs, val_given, val_clean = blobs(60, seed=1)
    model = network()
    before = weights(model)
    result = corrector(model, recipe=SHORT.replace(schedule=Schedule(8, 3, 4))).fit(
        (inputs, given), (val_inputs, val_given), clean_labels=clean, val_clean_labels=val_clean
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not result.model.training
    assert [record["cycle"] for record in result.history] == [0, 1, 2, 3]
    assert [record["epoch"] for record in result.history] == [8, 12, 16, 20]
    last = result.history[-1]
    assert last["mean_trust"] == pytest.approx(1 / 4)
    assert last["val_clean_accuracy"] > 0.9 > last["val_accuracy"]
    assert last["label_accuracy"] > (given == clean).float().mean() + 0.1
    assert math.isnan(result.history[0]["changed"])
    assert 0 < last["agreement"] < 0.9
    assert result.labels.generation == 3
    assert np.array_equal(result.labels.given(), given.numpy())
    top = result.find_label_issues(top=20)
    assert top == result.find_label_issues()[:20]
    assert all(issue.given != issue.suggested for issue in top)
    assert [issue.score for issue in top] == sorted(issue.score for issue in top)
    wrong = {issue.index for issue in top if issue.given != clean[issue.index]}
    assert len(wrong) >= 18
    assert all(issue.suggested == clean[issue.index] for issue in top if issue.index in wrong)


def test_the_loop_is_algorithm_1_done_slowly():
    """A plain float64 transcription of Algorithm 1, with full batches and no shuffling to agree on."""
    inputs, given, _ = blobs(24)
    torch.manual_seed(0)
    model = nn.Linear(4, CLASSES).double()
    rates = {"warmup_epochs": 1, "cycle_lr": 0.2, "min_lr": 0.01}
    recipe = SHORT.replace(rates=CosineCycles(**rates))
    result = corrector(copy.deepcopy(model), recipe=recipe, batch_size=24, optimizer=torch.optim.SGD, lr=0.3).fit(
        (inputs.double(), given)
    )
    slow, average = copy.deepcopy(model), None
    onehot = one_hot(given, CLASSES).double()
    labels, predictions = onehot, []
    for epoch in range(8):
        slow.zero_grad()
        loss = -(labels * slow(inputs.double()).log_softmax(1)).sum(1).mean()
        loss.backward()
        lr = cyclical_lr(epoch, lr=0.3, init_epochs=4, cycle_epochs=2, **rates)
        with torch.no_grad():
            for parameter in slow.parameters():
                parameter -= lr * parameter.grad
            if epoch in (3, 5, 7):
                m = (epoch - 3) // 2
                now = weights(slow)
                average = now if m == 0 else {key: m / (m + 1) * average[key] + now[key] / (m + 1) for key in now}
                slow.load_state_dict(average)  # the next cycle starts from the aggregate
                if m > 0:
                    predictions.append(slow(inputs.double()).softmax(1))
                    labels = m / (m + 1) * labels + predictions[-1] / (m + 1)  # Eq. 7, recursively
    torch.testing.assert_close(result.labels.refined().double(), labels, rtol=0, atol=1e-6)
    unrolled = blend(given, torch.stack(predictions).mean(0), torch.full((24,), 1 / 3))
    torch.testing.assert_close(labels, unrolled, rtol=0, atol=1e-6)
    for name, value in average.items():
        # float32 labels and losses against float64 ones: 1e-6 relative in the loss, over 8 steps
        torch.testing.assert_close(result.model.state_dict()[name], value, rtol=0, atol=1e-5)


def test_switches_are_the_rows_of_table_4():
    inputs, given, _ = blobs()
    rows = {
        (average is not None, correction is not None): corrector(
            recipe=SHORT.replace(average=average, correction=correction)
        ).fit((inputs, given))
        for average in (None, AtCycleEnds())
        for correction in (None, AtCycleEnd())
    }
    for (_, refine), result in rows.items():
        assert result.labels.generation == (2 if refine else 0)
        assert [math.isnan(record["changed"]) for record in result.history] == [True, not refine, not refine]
    finals = [result.model.state_dict()["0.weight"] for result in rows.values()]
    assert all(not torch.equal(one, other) for i, one in enumerate(finals) for other in finals[:i])
    assert torch.equal(rows[True, False].labels.refined(), one_hot(given, CLASSES))
    with pytest.raises(InvalidInputError, match="evidence about the labels; got generation 0"):
        rows[True, False].find_label_issues()


def test_plain_training_is_plain_training():
    """With neither part the corrector is the ordinary PyTorch loop with the same schedule, order and dropout."""
    inputs, given, _ = blobs(60)
    model = network(norm=False)[:3].append(nn.Linear(16, CLASSES))
    plain = copy.deepcopy(model)
    result = corrector(model, recipe=PLAIN, batch_size=60, optimizer=torch.optim.SGD).fit((inputs, given))
    for epoch in range(8):
        lr = cyclical_lr(epoch, lr=0.1, warmup_epochs=0.4, init_epochs=4, cycle_epochs=2, cycle_lr=0.05, min_lr=0.001)
        nn.functional.cross_entropy(plain(inputs), given).backward()
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter -= lr * parameter.grad
                parameter.grad = None
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(result.model.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_seed_decides_everything_and_leaves_the_callers_generator_alone():
    inputs, given, _ = blobs()
    state = torch.get_rng_state()
    first = corrector().fit((inputs, given))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    second = corrector().fit((inputs, given))
    assert_equal_runs(first, second)
    other = corrector(seed=1).fit((inputs, given))
    assert not torch.equal(first.model.state_dict()["0.weight"], other.model.state_dict()["0.weight"])


def test_unlabeled_samples_get_labels_and_never_count_before():
    inputs, given, clean = blobs(120, rate=0.0)
    recipe = SHORT.replace(schedule=Schedule(8, 2, 2))
    result = corrector(recipe=recipe).fit((inputs[:90], given[:90]), unlabeled=inputs[90:])
    assert len(result.labels) == 120
    assert result.labels.labeled.sum() == 90
    assert torch.equal(result.labels.refined(range(90, 120)), result.labels.evidence(range(90, 120)))
    assert (result.labels.labels(range(90, 120)) == clean[90:].numpy()).mean() > 0.9
    # In the initial phase they add nothing to the loss: a run without cycles equals one without them in their batches.
    task = Classification(CLASSES)
    logits = torch.randn(4, CLASSES, requires_grad=True)
    batch = _batch(torch.tensor([0, 1, -1, -1]))
    alone = _batch(torch.tensor([0, 1]))
    assert task.loss(logits, batch).item() == pytest.approx(task.loss(logits[:2], alone).item())


def _batch(given):
    return Batch(torch.arange(len(given)), None, given, Trust((given >= 0).float()))


def test_a_batch_without_any_label_has_zero_loss_and_gradient():
    logits = torch.randn(2, CLASSES, requires_grad=True)
    loss = Classification(CLASSES).loss(logits, _batch(torch.tensor([-1, -1])))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros(2, CLASSES))


def test_own_task_and_canonical_view():
    inputs, given, _ = blobs(60)
    poisoned = inputs + 100 * torch.randn(60, 4, generator=torch.Generator().manual_seed(0))

    def half_loss(logits, targets):
        return -(targets * logits.log_softmax(1)).sum(1).mean() / 2

    task = Classification(CLASSES, loss=half_loss)
    with pytest.warns(TrainingWarning, match="expected predictions of several classes"):  # of inputs unlike training's
        result = corrector(task=task).fit((poisoned, given), canonical=(inputs, given))
    with torch.no_grad():
        expected = result.model(inputs).softmax(1)
    # The last of two predictions, recovered from the mean of both, was made from the canonical inputs.
    both, first = result.labels.evidence(), result.labels.evidence(generation=1)
    torch.testing.assert_close(2 * both - first, expected, rtol=0, atol=1e-5)


def test_sample_passes_count_forward_1_backward_2():
    inputs, given, _ = blobs(60)
    assert corrector(recipe=PLAIN).fit((inputs, given)).sample_passes == 3 * 60 * 8
    # three recalibrations (the initial phase's and two cycles') and two predictions
    assert corrector().fit((inputs, given)).sample_passes == 3 * 60 * 8 + 5 * 60
    assert corrector(network(norm=False)).fit((inputs, given)).sample_passes == 3 * 60 * 8 + 2 * 60
    few = SHORT.replace(average=AtCycleEnds(recalibration=Recalibration(samples=20)))
    assert corrector(recipe=few).fit((inputs, given)).sample_passes == 3 * 60 * 8 + 3 * 20 + 2 * 60


def test_a_callback_sees_every_epoch():
    inputs, given, _ = blobs(60)
    seen = []
    watcher = AfterEpoch(lambda run: seen.append((run.student.training, run.epoch, run.epoch_record()["cycle"])))
    corrector(callbacks=[watcher]).fit((inputs, given))
    assert seen == [(True, epoch + 1, max(0, (epoch - 2) // 2)) for epoch in range(8)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipe": "papr"}, "did you mean 'paper'"),
        ({"recipe": TaskLoss()}, "recipe to be a name or a Recipe; got TaskLoss"),
        ({"task": "clasification"}, "did you mean 'classification'"),
        ({"num_classes": None}, "num_classes with a task's name; got None"),
        ({"num_classes": 1}, "num_classes to be a whole number >= 2; got 1"),
        ({"epochs": 10}, r"epochs=8, the sum of Schedule\(.*\); got epochs=10; to fix: leave one of them out"),
        ({"recipe": "paper", "epochs": 1}, "epochs to be a whole number >= 2; got 1"),
        ({"batch_size": 0}, "batch_size to be a whole number >= 1"),
        ({"lr": -1.0}, "0 <= lr; got -1.0"),
        ({"seed": -1}, "seed to be a whole number >= 0"),
        ({"optimizer": "adam"}, "a factory, called with the parameters; got 'adam'"),
        ({"optimizer": torch.optim.SGD([torch.zeros(1)], lr=1.0)}, "called with the parameters; got SGD; to fix"),
        ({"device": "gpu"}, "a device; got 'gpu'"),
        ({"precision": "float61"}, "did you mean 'float16'"),
        ({"recipe": SHORT.replace(rates=CosineCycles(warmup_epochs=4))}, "warmup_epochs < init_epochs = 4; got 4"),
        (
            {"recipe": SHORT.replace(rates=CosineCycles(min_lr=0.05)), "lr": 0.04},
            "lr >= min_lr; got lr=0.04, min_lr=0.05",
        ),
        ({"recipe": "ce-wa-aug"}, "augment= with the recipe 'ce-wa-aug'; got None"),
        ({"callbacks": [AfterEpoch]}, "callbacks to be a list of Callback objects; got the class AfterEpoch"),
        ({"task": Classification(4)}, "num_classes=4, as in the task; got 3"),
    ],
)
def test_bad_settings_are_refused_before_any_data_is_read(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        corrector(**settings)


def test_wrong_data_and_outputs():
    inputs, given, clean = blobs(60)
    with pytest.raises(InvalidInputError, match=r"logits of shape \(40, 3\); got shape \(40, 5\)"):
        corrector(nn.Linear(4, 5)).fit((inputs, given))
    with pytest.raises(InvalidInputError, match="logits; got probabilities.*drop the model's last Softmax"):
        corrector(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1))).fit((inputs, given))
    with pytest.raises(InvalidInputError, match=r"pass both in a tuple: fit\(\(inputs, labels\)\)"):
        corrector().fit(inputs, given)
    with pytest.raises(InvalidInputError, match="whole numbers; got <U3; to fix: number the classes"):
        corrector().fit((inputs[:2], ["cat", "dog"]))
    with pytest.raises(InvalidInputError, match="whose step.. needs no closure; got LBFGS"):
        corrector(optimizer=torch.optim.LBFGS).fit((inputs, given))
    with pytest.raises(InvalidInputError, match="model to be an nn.Module; got an object of int"):
        SelfCorrector(3, num_classes=2)
    with pytest.raises(InvalidInputError, match=r"logits of shape .* got dict"):
        corrector(_Named()).fit((inputs, given))
    with pytest.raises(InvalidInputError, match="train with at least one sample; got an empty data set"):
        corrector().fit((inputs[:0], given[:0]))
    with pytest.raises(InvalidInputError, match="clean_labels for 60 samples; got 59"):
        corrector().fit((inputs, given), clean_labels=clean[:59])
    with pytest.raises(InvalidInputError, match=r"validation labels in 0..2 .* got 3"):
        corrector().fit((inputs, given), (inputs, given + 1))
    with pytest.raises(InvalidInputError, match="canonical with the 60 samples"):
        corrector().fit((inputs, given), canonical=(inputs[:9], given[:9]))
    with pytest.raises(InvalidInputError, match='resume="auto", True, False or "last-whole"; got \'maybe\''):
        corrector().fit((inputs, given), resume="maybe")
    with pytest.raises(InvalidInputError, match="a run_dir; got None"):
        corrector().fit((inputs, given), resume=True)


class _Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, CLASSES)

    def forward(self, x):
        return {"scores": self.layer(x)}


def test_numpys_numbers_and_dtypes_are_welcome(tmp_path):
    inputs, given, _ = blobs(60)
    plain = corrector(lr=0.1).fit((inputs, given))
    schedule = Schedule(init_epochs=4, cycles=np.int64(2), cycle_epochs=2)
    recipe = SHORT.replace(schedule=schedule, batch_size=np.int32(20))
    settings = {"num_classes": np.int64(3), "recipe": recipe, "lr": np.float64(0.1), "run_dir": tmp_path}
    result = corrector(**settings).fit((inputs.double().numpy(), given.numpy().astype(np.uint8)))
    assert_equal_runs(result, plain)
    assert_equal_runs(corrector(**settings).fit((inputs.double().numpy(), given.numpy())), plain)
