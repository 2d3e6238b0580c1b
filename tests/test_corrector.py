"""SelfCorrector as its users meet it: results, switches, data forms, seeds."""

import copy
import itertools
import math
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from noisycorrect import Classification, CorrectionResult, SelfCorrector, noise
from noisycorrect.cycle.schedule import cyclical_lr
from noisycorrect.data.batches import Batch
from noisycorrect.data.datasets import is_augmented, read_given
from noisycorrect.labels import Trust
from noisycorrect.labels.refine import blend, one_hot
from noisycorrect.objective import Objective
from noisycorrect.support.errors import CheckpointError, InvalidInputError, NonFiniteLossError, StoreError
from noisycorrect.training.engine import Engine, resolve_precision

CLASSES = 3


def blobs(count=120, seed=0, rate=0.3):
    """Three well separated clusters, with wrong labels."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.arange(count) % CLASSES
    inputs = torch.randn(count, 4, generator=generator) + 5 * nn.functional.one_hot(clean, 4)
    noisy = noise.Symmetric(rate).apply(clean.numpy(), num_classes=CLASSES, seed=seed)
    return inputs, torch.from_numpy(noisy.labels), clean


def network(seed=0, norm=True):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(4, 16), nn.BatchNorm1d(16) if norm else nn.Identity(), nn.ReLU(), nn.Dropout(0.1)]
        return nn.Sequential(*layers, nn.Linear(16, CLASSES))


def corrector(model=None, **settings):
    defaults = {"num_classes": CLASSES, "init_epochs": 4, "cycles": 2, "cycle_epochs": 2, "lr": 0.1, "batch_size": 20}
    return SelfCorrector(model or network(), **{**defaults, **settings})


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_equal_runs(first, second):
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    assert torch.equal(first.labels.refined(), second.labels.refined())


def test_a_run_gives_a_model_labels_a_history_and_issues():
    inputs, given, clean = blobs()
    val_inputs, val_given, val_clean = blobs(60, seed=1)
    model = network()
    before = weights(model)
    result = corrector(model, init_epochs=8, cycles=3, cycle_epochs=4).fit(
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
    settings = {"warmup_epochs": 1, "lr": 0.3, "cycle_lr": 0.2, "min_lr": 0.01}
    result = corrector(copy.deepcopy(model), batch_size=24, optimizer=torch.optim.SGD, **settings).fit(
        (inputs.double(), given)
    )
    slow, average = copy.deepcopy(model), None
    onehot = one_hot(given, CLASSES).double()
    labels, predictions = onehot, []
    for epoch in range(8):
        slow.zero_grad()
        loss = -(labels * slow(inputs.double()).log_softmax(1)).sum(1).mean()
        loss.backward()
        lr = cyclical_lr(epoch, init_epochs=4, cycle_epochs=2, **settings)
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
    unrolled = blend(onehot, torch.stack(predictions).mean(0), torch.full((24,), 1 / 3))
    torch.testing.assert_close(labels, unrolled, rtol=0, atol=1e-6)
    for name, value in average.items():
        # float32 labels and losses against float64 ones: 1e-6 relative in the loss, over 8 steps
        torch.testing.assert_close(result.model.state_dict()[name], value, rtol=0, atol=1e-5)


def test_switches_are_the_rows_of_table_4():
    inputs, given, _ = blobs()
    rows = {
        (aggregate, refine): corrector(aggregate=aggregate, refine=refine).fit((inputs, given))
        for aggregate in (False, True)
        for refine in (False, True)
    }
    for (_, refine), result in rows.items():
        assert result.labels.generation == (2 if refine else 0)
        assert [math.isnan(record["changed"]) for record in result.history] == [True, not refine, not refine]
    finals = [result.model.state_dict()["0.weight"] for result in rows.values()]
    assert all(not torch.equal(one, other) for i, one in enumerate(finals) for other in finals[:i])
    assert torch.equal(rows[True, False].labels.refined(), one_hot(given, CLASSES))
    with pytest.raises(InvalidInputError, match="evidence from at least one correction cycle; got generation 0"):
        rows[True, False].find_label_issues()


def test_plain_training_is_plain_training():
    """Both switches off, the corrector is the ordinary PyTorch loop with the same schedule, order and dropout."""
    inputs, given, _ = blobs(60)
    model = network(norm=False)[:3].append(nn.Linear(16, CLASSES))
    plain = copy.deepcopy(model)
    result = corrector(model, aggregate=False, refine=False, batch_size=60, optimizer=torch.optim.SGD).fit(
        (inputs, given)
    )
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


class Records(Dataset):
    def __init__(self, inputs, labels, form):
        self.inputs, self.labels, self.form = inputs, labels, form

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        x, y = self.inputs[index], int(self.labels[index])
        return {"triple": (x, y, index), "dict": {"image": x, "label": y, "index": index}, "pair": (x, y)}[self.form]


def test_every_form_of_data_gives_the_same_run():
    inputs, given, _ = blobs(60)
    reference = corrector().fit((inputs, given))
    forms = [
        (inputs.numpy(), given.numpy()),
        TensorDataset(inputs, given),
        DataLoader(TensorDataset(inputs, given), batch_size=7, shuffle=True),
        *(Records(inputs, given, form) for form in ("pair", "triple", "dict")),
    ]
    for data in forms:
        assert_equal_runs(corrector().fit(data), reference)
    assert_equal_runs(corrector(num_workers=2).fit(forms[3]), reference)


def test_unlabeled_samples_get_labels_and_never_count_before():
    inputs, given, clean = blobs(120, rate=0.0)
    result = corrector(init_epochs=8).fit((inputs[:90], given[:90]), unlabeled=inputs[90:])
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


def test_any_optimizer_factory_clipping_and_augmentation():
    inputs, given, _ = blobs(60)
    seen = []

    def augment(x):
        seen.append(x.shape)
        return x + 0.1 * torch.randn_like(x)

    result = corrector(
        optimizer=torch.optim.AdamW,
        lr=0.01,
        clip_grad_norm=1.0,
        augment=augment,
        restart="student",
        evidence="exponential",
    ).fit((inputs, given))
    assert len(seen) == 8 * 3 + 3 * 2  # and three recalibrations
    assert result.labels.generation == 2
    with pytest.raises(InvalidInputError, match="to return a torch Optimizer; got Linear"):
        corrector(optimizer=lambda parameters, lr: nn.Linear(1, 1)).fit((inputs, given))


@pytest.mark.parametrize("method", ["fast", "exact"])
def test_recalibration_sees_augmented_inputs_unless_told_otherwise(method):
    inputs, given, _ = blobs(60)
    for where, shift in (("augmented", 5), ("canonical", 0)):
        run = corrector(augment=lambda x: x + 5, recalibration=method, recalibration_inputs=where)
        first, norm, *_ = run.fit((inputs, given)).model
        torch.testing.assert_close(norm.running_mean, first(inputs + shift).mean(0).detach(), rtol=1e-4, atol=1e-4)


def test_recalibration_draws_the_same_augmentation_in_every_pass():
    inputs, given, _ = blobs(60)
    run = corrector(augment=lambda x: x + torch.randn(4), recalibration="exact")
    assert_equal_runs(run.fit((inputs, given)), run.fit((inputs, given)))


def test_own_task_and_canonical_view():
    inputs, given, _ = blobs(60)
    poisoned = inputs + 100 * torch.randn(60, 4, generator=torch.Generator().manual_seed(0))

    def half_loss(logits, targets):
        return -(targets * logits.log_softmax(1)).sum(1).mean() / 2

    task = Classification(CLASSES, loss=half_loss)
    result = corrector(task=task).fit((poisoned, given), canonical=(inputs, given))
    with torch.no_grad():
        expected = result.model(inputs).softmax(1)
    # The last of two predictions, recovered from the mean of both, was made from the canonical inputs.
    both, first = result.labels.evidence(), result.labels.evidence(generation=1)
    torch.testing.assert_close(2 * both - first, expected, rtol=0, atol=1e-5)


def test_save_and_load(tmp_path):
    inputs, given, _ = blobs(60)
    result = corrector().fit((inputs, given))
    result.save(tmp_path / "saved")
    loaded = CorrectionResult.load(tmp_path / "saved", network(seed=5))
    assert_equal_runs(result, loaded)
    assert loaded.sample_passes == result.sample_passes
    assert [record["loss"] for record in loaded.history] == [record["loss"] for record in result.history]
    assert math.isnan(loaded.history[0]["changed"])
    assert loaded.find_label_issues(top=3) == result.find_label_issues(top=3)
    with pytest.raises(InvalidInputError, match="a new or empty folder"):
        result.save(tmp_path / "saved")
    with pytest.raises(CheckpointError, match=r"'0.weight' of shape \(8, 4\); got \(16, 4\)"):
        CorrectionResult.load(tmp_path / "saved", nn.Sequential(nn.Linear(4, 8)))
    with pytest.raises(CheckpointError, match="no such file"):
        CorrectionResult.load(tmp_path / "nothing", network())


def test_sample_passes_count_forward_1_backward_2():
    inputs, given, _ = blobs(60)
    assert corrector(aggregate=False, refine=False).fit((inputs, given)).sample_passes == 3 * 60 * 8
    # three recalibrations (the initial phase's and two cycles') and two predictions
    assert corrector().fit((inputs, given)).sample_passes == 3 * 60 * 8 + 5 * 60
    assert corrector(network(norm=False)).fit((inputs, given)).sample_passes == 3 * 60 * 8 + 2 * 60
    assert corrector(recalibration_samples=20).fit((inputs, given)).sample_passes == 3 * 60 * 8 + 3 * 20 + 2 * 60


def test_a_run_learns_in_half_precision():
    inputs, given, clean = blobs()
    result = corrector(precision="bfloat16", init_epochs=8).fit((inputs, given), (inputs, clean))
    assert result.history[-1]["val_accuracy"] > 0.9
    assert result.labels.evidence().dtype is torch.float32


def test_epoch_callback_sees_every_epoch():
    inputs, given, _ = blobs(60)
    seen = []
    corrector(on_epoch=lambda model, record: seen.append((model.training, record["epoch"], record["cycle"]))).fit(
        (inputs, given)
    )
    assert seen == [(True, epoch + 1, max(0, (epoch - 2) // 2)) for epoch in range(8)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "papr"}, "did you mean 'paper'"),
        ({"task": "clasification"}, "did you mean 'classification'"),
        ({"num_classes": None}, "num_classes with a task's name; got None"),
        ({"num_classes": 1}, "num_classes to be a whole number >= 2; got 1"),
        ({"epochs": 10}, "either epochs, or init_epochs, cycles and cycle_epochs; got epochs=10 and init_epochs=4"),
        ({"init_epochs": 0}, "init_epochs to be a whole number >= 1; got 0"),
        ({"cycle_epochs": -2}, "cycle_epochs to be a whole number >= 1; got -2"),
        ({"batch_size": 0}, "batch_size to be a whole number >= 1"),
        ({"lr": -1.0}, "0 <= lr; got -1.0"),
        ({"seed": -1}, "seed to be a whole number >= 0"),
        ({"restart": "aggregat"}, "did you mean 'aggregate'"),
        ({"recalibration": "fsat"}, "did you mean 'fast'"),
        ({"evidence": "men"}, "did you mean 'mean'"),
        ({"evidence_momentum": 1.0}, "0 <= evidence_momentum < 1; got 1.0"),
        ({"keep_generations": 1}, "keep_generations to be a whole number >= 2; got 1"),
        ({"cycle_lr": float("nan")}, "0 <= cycle_lr; got nan"),
        ({"optimizer": "adam"}, "a factory, called with the parameters; got 'adam'"),
        ({"optimizer": torch.optim.SGD([torch.zeros(1)], lr=1.0)}, "got an object of SGD"),
        ({"device": "gpu"}, "a device; got 'gpu'"),
        ({"precision": "float61"}, "did you mean 'float16'"),
        ({"clip_grad_norm": 0}, "clip_grad_norm > 0"),
        ({"clip_grad_norm": "1"}, "0 <= clip_grad_norm; got '1'"),
        ({"recalibration_samples": 1}, "recalibration_samples to be a whole number >= 2; got 1"),
        ({"warmup_epochs": 4}, "warmup_epochs < init_epochs = 4; got 4"),
        ({"task": Classification(4)}, "num_classes=4, as in the task; got 3"),
    ],
)
def test_bad_settings_are_refused_before_any_data_is_read(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        corrector(**settings)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 3, 2], "labels in 0..2 .* got 3 at index 2; to fix: correct the label or pass num_classes=4"),
        ([0, 1, -2, 2], "got -2 at index 2"),
        ([1, 2, 3, 1], "seem to start at 1: subtract 1"),
        ([0.0, 1.0, 2.0, 1.0], "labels to be whole numbers; got float"),
        ([0.0, 1.0, float("nan"), 1.0], "with NaN"),
        ([[0, 1]] * 4, r"labels of shape \(N,\)"),
        ([0, 1, 0, 1], "labels of each of 3 classes; got none of class 2; to fix: .*allow_empty_classes=True"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(InvalidInputError, match=message):
        corrector().fit((torch.zeros(4, 4), torch.tensor(labels)))


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
    with pytest.raises(InvalidInputError, match="model to be an nn.Module; got int"):
        SelfCorrector(3, num_classes=2)
    with pytest.raises(InvalidInputError, match=r"logits of shape .* got tuple"):
        corrector(_Pair()).fit((inputs, given))
    with pytest.raises(InvalidInputError, match="train with at least one sample; got an empty data set"):
        corrector().fit((inputs[:0], given[:0]))
    with pytest.raises(InvalidInputError, match="clean_labels for 60 samples; got 59"):
        corrector().fit((inputs, given), clean_labels=clean[:59])
    with pytest.raises(InvalidInputError, match=r"validation labels in 0..2 .* got 3"):
        corrector().fit((inputs, given), (inputs, given + 1))
    with pytest.raises(InvalidInputError, match="canonical with the 60 samples"):
        corrector().fit((inputs, given), canonical=(inputs[:9], given[:9]))
    with pytest.raises(InvalidInputError, match="resume=\"auto\", True or False; got 'maybe'"):
        corrector().fit((inputs, given), resume="maybe")
    with pytest.raises(InvalidInputError, match="a run_dir; got None"):
        corrector().fit((inputs, given), resume=True)


class _Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.layer(x), x


def test_nan_loss_names_epoch_batch_and_the_last_good_checkpoint(tmp_path):
    inputs, given, _ = blobs(60)

    class Explodes(nn.Linear):
        calls = 0

        def forward(self, x):
            Explodes.calls += self.training
            return super().forward(x) * (float("nan") if Explodes.calls == 5 else 1.0)

    run = tmp_path / "run"
    with pytest.raises(
        NonFiniteLossError, match=f"got nan in epoch 2, batch 2;.*last good checkpoint: epoch 1 in {run}"
    ):
        corrector(Explodes(4, CLASSES), run_dir=run).fit((inputs, given))
    assert (run / "checkpoint.pt").exists()
    Explodes.calls = 100
    assert corrector(Explodes(4, CLASSES), run_dir=run).fit((inputs, given)).labels.generation == 2


class Shrinking(Records):
    """Loses samples after it was read."""

    reads = 0

    def __len__(self):
        return 60 if Shrinking.reads < 100 else 59

    def __getitem__(self, index):
        Shrinking.reads += 1
        return super().__getitem__(index)


def test_data_that_shrinks_or_relabels_is_noticed():
    inputs, given, _ = blobs(60)
    with pytest.raises(InvalidInputError, match="60 samples, as at the start of the run; got 59"):
        corrector().fit(Shrinking(inputs, given, "pair"))
    data = Records(inputs, given.clone(), "pair")

    def relabel(model, record):
        data.labels[7] = (data.labels[7] + 1) % CLASSES

    with pytest.raises(InvalidInputError, match="at index 7, as at the start of the run"):
        corrector(on_epoch=relabel).fit(data)


def test_full_disk_keeps_the_labels_and_the_checkpoint(tmp_path, monkeypatch):
    inputs, given, _ = blobs(60)
    run = tmp_path / "run"

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    def stop_writing(model, record):
        if record["epoch"] == 6:
            monkeypatch.setattr("noisycorrect.labels.store.publish", full)

    with pytest.raises(StoreError, match="No space left on device.*to fix"):
        corrector(run_dir=run, on_epoch=stop_writing).fit((inputs, given))
    monkeypatch.undo()
    result = corrector(run_dir=run).fit((inputs, given), resume=True)
    assert_equal_runs(result, corrector().fit((inputs, given)))


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel])
def test_wrapped_models_train_like_bare_ones(wrap, tmp_path):
    inputs, given, _ = blobs(60)
    settings = {"optimizer": torch.optim.SGD, "lr": 0.1}
    bare = corrector(**settings).fit((inputs, given))
    result = corrector(wrap(network()), run_dir=tmp_path, **settings).fit((inputs, given))
    assert_equal_runs(result, bare)
    resumed = corrector(wrap(network()), run_dir=tmp_path, **settings).fit((inputs, given))
    assert_equal_runs(resumed, bare)


def test_numpys_numbers_and_dtypes_are_welcome(tmp_path):
    inputs, given, _ = blobs(60)
    plain = corrector(lr=0.1).fit((inputs, given))
    settings = {"num_classes": np.int64(3), "cycles": np.int64(2), "lr": np.float64(0.1), "run_dir": tmp_path}
    result = corrector(**settings).fit((inputs.double().numpy(), given.numpy().astype(np.uint8)))
    assert_equal_runs(result, plain)
    assert_equal_runs(corrector(**settings).fit((inputs.double().numpy(), given.numpy())), plain)


def test_weights_that_explode_in_the_last_batch_are_not_checkpointed(tmp_path):
    inputs, given, _ = blobs(60)
    with pytest.raises(NonFiniteLossError, match="NaN or infinity in .* after epoch 1; .*last good checkpoint: none"):
        corrector(nn.Linear(4, 3), lr=1e38, warmup_epochs=0, batch_size=60, run_dir=tmp_path).fit((inputs * 1e9, given))
    assert not (tmp_path / "checkpoint.pt").exists()


class Jittered(Records):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return x + torch.randn(4), y


def test_augmented_items_without_a_canonical_view_are_warned_of():
    inputs, given, _ = blobs(60)
    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match="pass canonical= to fit"):
        corrector().fit(Jittered(inputs, given, "pair"))
    corrector().fit(Jittered(inputs, given, "pair"), canonical=(inputs, given))
    assert torch.equal(torch.get_rng_state(), state)


class Targets(Records):
    """Knows its labels, and counts how often its items are read."""

    reads = 0

    @property
    def targets(self):
        return self.labels.tolist()

    def __getitem__(self, index):
        Targets.reads += 1
        return super().__getitem__(index)


def test_targets_save_reading_every_item():
    inputs, given, _ = blobs(60)
    Targets.reads = 0
    result = corrector(init_epochs=1, cycles=0).fit(Targets(inputs, given, "pair"))
    assert np.array_equal(result.labels.given(), given.numpy())
    assert Targets.reads < 60 + 60 + 60 + 60  # a look, a rehearsal, training, recalibration: no pass for the labels
    liar = Targets(inputs, given, "pair")
    liar.labels = given.flip(0)
    Records.__init__(liar, inputs, given, "pair")
    assert np.array_equal(corrector(init_epochs=1, cycles=0).fit(liar).labels.given(), given.numpy())


class Exact(Records):
    """Gives what it is told to, as tensors."""

    def __getitem__(self, index):
        return self.inputs[index], self.labels[index]


def test_labels_from_workers_hold_no_file_descriptors():
    inputs, given, _ = blobs(600)
    data = Exact(inputs, given, "pair")
    del data.labels
    data.labels = Hidden(given)
    before = len(list(Path("/proc/self/fd").iterdir()))
    labels = read_given(data, num_workers=2)
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 50
    assert [int(label) for label in labels] == given.tolist()


class Hidden:
    """A list of labels that does not look like one."""

    def __init__(self, labels):
        self.labels = labels

    def __getitem__(self, index):
        return self.labels[index].clone()


class Lazy(Records):
    """Opens what it reads from at the first reading, as data sets of one big file do."""

    opened = False

    def __getitem__(self, index):
        self.opened = True
        return super().__getitem__(index)


def test_with_workers_the_main_process_reads_nothing():
    inputs, given, _ = blobs(60)
    train, val = Lazy(inputs, given, "pair"), Lazy(inputs, given, "pair")
    corrector(num_workers=2, init_epochs=1, cycles=1).fit(train, val)
    assert not train.opened
    assert not val.opened


def test_canonical_samples_in_another_order_are_noticed():
    inputs, given, _ = blobs(60)
    with pytest.raises(InvalidInputError, match="its canonical view must give the same label"):
        corrector().fit((inputs, given), canonical=(inputs.flip(0), given.flip(0)))


class Crops(Records):
    reads = 0

    def __getitem__(self, index):
        Crops.reads += 1
        return {"image": [self.inputs[index]] * (1 + Crops.reads % 2), "label": int(self.labels[index])}


def test_what_counts_as_augmented():
    inputs, given, _ = blobs(60)
    assert is_augmented(Crops(inputs, given, "pair"))
    assert is_augmented(Jittered(inputs, given, "pair"))
    assert not is_augmented(Records(inputs * float("nan"), given, "pair"))
    assert not is_augmented(Records(inputs, given, "dict"), num_workers=2)


def test_frozen_parameters_may_be_infinite():
    inputs, given, _ = blobs(60)
    model = nn.Linear(4, 3)
    model.register_parameter("mask", nn.Parameter(torch.tensor([0.0, -math.inf]), requires_grad=False))
    assert corrector(model).fit((inputs, given)).labels.generation == 2


def test_a_rate_in_a_tensor_resumes(tmp_path):
    inputs, given, _ = blobs(60)

    def adam(parameters):
        return torch.optim.Adam(parameters, lr=torch.tensor(0.01), foreach=False)

    def stop(model, record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        corrector(optimizer=adam, lr=None, run_dir=tmp_path, on_epoch=stop).fit((inputs, given))
    resumed = corrector(optimizer=adam, lr=None, run_dir=tmp_path).fit((inputs, given), resume=True)
    assert_equal_runs(resumed, corrector(optimizer=adam, lr=None).fit((inputs, given)))


class Versioned(nn.Linear):
    """Notices with which version its state was saved."""

    _version = 2
    seen = None

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        Versioned.seen = local_metadata.get("version")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


def test_saved_models_keep_the_versions_of_their_modules(tmp_path):
    inputs, given, _ = blobs(60)
    corrector(Versioned(4, 3)).fit((inputs, given)).save(tmp_path / "saved")
    CorrectionResult.load(tmp_path / "saved", Versioned(4, 3))
    assert Versioned.seen == 2


def test_results_of_compiled_models_load_into_plain_ones_and_back(tmp_path):
    inputs, given, _ = blobs(60)
    compiled = torch.compile(network(), backend="eager")
    result = corrector(compiled, aggregate=False).fit((inputs, given))
    result.save(tmp_path / "saved")
    plain = CorrectionResult.load(tmp_path / "saved", network(seed=3))
    again = CorrectionResult.load(tmp_path / "saved", torch.compile(network(seed=4), backend="eager"))
    for name, value in plain.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[f"_orig_mod.{name}"], value)


@pytest.mark.parametrize("form", ["array", "one-tuple", "dict"])
def test_unlabeled_samples_in_the_forms_people_have(form):
    inputs, given, _ = blobs(60)
    more = {"array": inputs.numpy(), "one-tuple": TensorDataset(inputs), "dict": [{"input": x} for x in inputs]}[form]
    labeled = (inputs, given) if form == "array" else Records(inputs, given, "pair")
    result = corrector().fit(labeled, unlabeled=more)
    assert result.labels.labeled.sum() == 60
    assert len(result.labels) == 120
    assert_equal_runs(corrector().fit(labeled, unlabeled=more, canonical=labeled), result)
    with pytest.raises(InvalidInputError, match=r"unlabeled inputs of dtype torch.float32.*; got torch.uint8"):
        corrector().fit((inputs, given), unlabeled=torch.zeros(5, 4, dtype=torch.uint8))
    with pytest.raises(InvalidInputError, match=r"unlabeled inputs of shape \(N, 4\); got \(5, 7\)"):
        corrector().fit((inputs, given), unlabeled=torch.zeros(5, 7))


def test_precision_auto_is_full_on_cpu():
    assert resolve_precision("auto", torch.device("cpu")) is None
    assert Engine(Classification(2), torch.device("cpu")).scaler.is_enabled() is False


class Recorder(Objective):
    """Plain training that notes the weights after every step, outside of the copy that a run makes of it."""

    steps: ClassVar[list] = []

    def after_step(self, model):
        self.steps.append(model.weight.detach().double().clone())


def test_weights_are_averaged_after_every_step():
    inputs = torch.randn(96, 5, generator=torch.Generator().manual_seed(0))
    deployed, Recorder.steps = [], []
    result = SelfCorrector(
        nn.Linear(5, 2), num_classes=2, init_epochs=2, cycles=1, cycle_epochs=3, lr=0.5, batch_size=32, verbose=False,
        aggregation="exponential", aggregation_decay=0.9, refine=False, objective=Recorder(),
        on_epoch=lambda model, record: deployed.append((model.training, model.weight.clone())),
    ).fit((inputs, (inputs[:, 0] > 0).long()))  # fmt: skip
    average = Recorder.steps[0]
    for count, weight in enumerate(Recorder.steps[1:], start=1):
        decay = min(0.9, count / (count + 1))
        average = decay * average + (1 - decay) * weight
    assert len(Recorder.steps) == 15
    assert torch.allclose(result.model.weight.double(), average, atol=1e-6)
    assert [training for training, _ in deployed] == [False] * 5
    assert torch.equal(deployed[-1][1], result.model.weight)


@pytest.mark.parametrize(("name", "peaks"), [("cyclical", 2), ("cosine", 1)])
def test_one_cosine_for_the_whole_run(name, peaks):
    inputs, rates = torch.randn(64, 5), []
    SelfCorrector(
        nn.Linear(5, 2), num_classes=2, init_epochs=4, cycles=1, cycle_epochs=4, warmup_epochs=0, lr=0.5, batch_size=32,
        lr_schedule=name, verbose=False, on_epoch=lambda _, record: rates.append(record["lr"]),
    ).fit((inputs, (inputs[:, 0] > 0).long()))  # fmt: skip
    assert sum(later > earlier for earlier, later in itertools.pairwise(rates)) == peaks - 1


def test_an_average_of_steps_is_no_point_to_start_from():
    with pytest.raises(InvalidInputError, match='expected restart="student" with aggregation="exponential"'):
        SelfCorrector(nn.Linear(2, 2), num_classes=2, epochs=4, aggregation="exponential", restart="aggregate")
