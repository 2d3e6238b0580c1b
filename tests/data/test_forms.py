"""Every form in which people have data, and what a run notices about it."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import CLASSES, SHORT, AfterEpoch, Records, assert_equal_runs, blobs, corrector
from torch.utils.data import DataLoader, TensorDataset

from noisycorrect import RECIPES, Schedule
from noisycorrect.data.datasets import read_given
from noisycorrect.data.repeated import is_augmented
from noisycorrect.support.errors import InvalidInputError

ONE_EPOCH = RECIPES["ema"].replace(epochs=1, batch_size=20)


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


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 3, 2], "labels in 0..2 .* got 3 at index 2; to fix: correct the label or pass num_classes=4"),
        ([0, 1, -2, 2], "got -2 at index 2"),
        ([1, 2, 3, 1], "seem to start at 1: subtract 1"),
        ([0.0, 1.5, 2.0, 1.0], "labels to be whole numbers; got float32, 1.5 at index 1.* no regression"),
        ([0.0, 1.0, float("nan"), 1.0], r"with NaN.*nan_to_num\(labels, nan=-1\)"),
        ([[0, 1]] * 4, r"labels of shape \(N,\).*one-hot labels pass labels.argmax\(1\), and num_classes=2"),
        ([[0, 1, 2]] * 4, r"labels of shape \(N,\).*several annotators go to fit_votes"),
        ([[0, 1, 1]] * 4, r"labels of shape \(N,\).*task=\"multilabel\""),
        ([[0.1, 0.2, 0.7]] * 4, r"labels of shape \(N,\).*of probabilities pass the class"),
        ([0, 2, 7, 0], "got 7 at index 2.*if class numbers have gaps, number the classes from 0: .*return_inverse"),
        ([0, 1, -100, 2], "got -100 at index 2; to fix: a sample without a label has -1"),
        ([0, 1, 0, 1], "labels of each of 3 classes; got none of class 2; to fix: .*allow_empty_classes=True"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(InvalidInputError, match=message):
        corrector().fit((torch.zeros(4, 4), torch.tensor(labels)))


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

    def relabel(run):
        data.labels[7] = (data.labels[7] + 1) % CLASSES

    with pytest.raises(InvalidInputError, match="at index 7, as at the start of the run"):
        corrector(callbacks=[AfterEpoch(relabel)]).fit(data)


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
    result = corrector(recipe=ONE_EPOCH).fit(Targets(inputs, given, "pair"))
    assert np.array_equal(result.labels.given(), given.numpy())
    assert Targets.reads < 60 + 60 + 60 + 60  # a look, a rehearsal, training, recalibration: no pass for the labels
    liar = Targets(inputs, given, "pair")
    liar.labels = given.flip(0)
    Records.__init__(liar, inputs, given, "pair")
    assert np.array_equal(corrector(recipe=ONE_EPOCH).fit(liar).labels.given(), given.numpy())


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
    corrector(num_workers=2, recipe=SHORT.replace(schedule=Schedule(1, 1, 2))).fit(train, val)
    assert not train.opened
    assert not val.opened


def test_workers_end_with_the_run():
    inputs, given, _ = blobs(60)
    before, during = set(multiprocessing.active_children()), []
    note = AfterEpoch(lambda run: during.append(len(set(multiprocessing.active_children()) - before)))
    corrector(num_workers=2, callbacks=[note], recipe=ONE_EPOCH).fit(Records(inputs, given, "pair"))
    assert max(during) == 2
    assert set(multiprocessing.active_children()) <= before


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
