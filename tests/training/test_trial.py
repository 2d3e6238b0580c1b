"""What fails only in training is known before the first epoch, and said clearly."""

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, default_collate

from noisycorrect import Callback, InvalidInputError, Progress, SelfCorrector

X = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(24) % 3


class Items(Dataset):
    def __len__(self):
        return 24

    def __getitem__(self, index):
        return X[index], int(Y[index])


class Answers(nn.Module):
    """Answers otherwise in training."""

    def __init__(self, otherwise):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.otherwise = otherwise

    def forward(self, inputs):
        logits = self.layer(inputs)
        return self.otherwise(logits) if self.training else logits


def fit(model=None, data=(X, Y), *, val=None, callbacks=(), **options):
    given = {"num_classes": 3, "recipe": "paper", "epochs": 3, "batch_size": 8, **options}
    quiet = [Progress(enabled=False), *callbacks]
    return SelfCorrector(model or nn.Linear(4, 3), callbacks=quiet, **given).fit(data, val)


def batchnorm():
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


def test_a_batch_of_one_with_batchnorm():
    with pytest.raises(InvalidInputError, match="two samples a batch at least: BatchNorm needs them.*batch_size=2"):
        fit(batchnorm(), batch_size=1)
    assert fit(batch_size=1).history


def test_frozen_batchnorm_takes_one_sample():
    model = batchnorm()
    model[1].eval()
    model[1].train = lambda mode=True: model[1]
    assert fit(model, batch_size=1, recipe="ce").history


@pytest.mark.parametrize(
    "otherwise", [lambda logits: logits[:, :2], lambda logits: {"out": logits}, lambda logits: None]
)
def test_another_output_in_training(otherwise):
    with pytest.raises(InvalidInputError, match="the output of Answers in training mode to be that of evaluation mode"):
        fit(Answers(otherwise))


def test_a_model_that_fails_in_training():
    with pytest.raises(InvalidInputError, match="a Answers that runs in training mode; got ZeroDivisionError"):
        fit(Answers(lambda logits: logits / (1 // 0)))


def test_the_trial_leaves_the_model_as_it_was():
    model = batchnorm()
    once, again = (torch.tensor(fit(model, recipe="ce").predict_proba(X)) for _ in range(2))
    assert torch.equal(once, again)
    assert int(model[1].num_batches_tracked) == 0


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda: 1, r"augment\(input\) to be possible"),
        (lambda inputs: None, "augment to return all 2 samples"),
        (lambda inputs: inputs[:-1], "augment to return all 2 samples"),
        (lambda inputs: inputs / (1 // 0), "to work on a batch; got ZeroDivisionError"),
        (5, "augment to be callable"),
    ],
)
def test_augment(augment, message):
    with pytest.raises(InvalidInputError, match=message):
        fit(augment=augment)


@pytest.mark.parametrize(
    ("collate", "message"),
    [
        (lambda items: default_collate(items[:-1]), "all 16 samples of a batch, in order; got 15 inputs, 15 labels"),
        (lambda items: default_collate([*items, items[0]]), "got 17 inputs, 17 labels"),
        (lambda items: None, "change what collate_fn returns"),
        (lambda: None, r"collate_fn\(items\) to be possible"),
        (5, "collate_fn to be callable"),
    ],
)
@pytest.mark.parametrize("data", [Items(), (X, Y)], ids=["data set", "arrays"])
def test_collate_fn(collate, message, data):
    with pytest.raises(InvalidInputError, match=message):
        fit(data=data, collate_fn=collate)


def test_inputs_that_the_model_does_not_take():
    with pytest.raises(InvalidInputError, match=r"inputs Tensor float32 \(16, 4\): mat1 and mat2"):
        fit(nn.Linear(5, 3))
    with pytest.raises(InvalidInputError, match=r"inputs Tensor float32 \(16, 3\)"):
        fit(val=(X[:, :3], Y))


class NoRun(Callback):
    def on_epoch_end(self):
        pass


class NoBatch(Callback):
    def on_batch_end(self, run):
        pass


class Misspelt(Callback):
    def on_epoch_ends(self, run):
        pass


def test_callbacks():
    with pytest.raises(InvalidInputError, match=r"NoRun.on_epoch_end\(run\) to be possible"):
        fit(callbacks=[NoRun()])
    with pytest.raises(InvalidInputError, match=r"def on_batch_end\(self, run, batch\)"):
        fit(callbacks=[NoBatch()])
    with pytest.warns(UserWarning, match="Misspelt.on_epoch_ends is never called.*did you mean 'on_epoch_end'"):
        fit(callbacks=[Misspelt()])


def test_a_length_that_lies():
    class Longer(Items):
        def __len__(self):
            return 30

    class Fraction(Items):
        def __len__(self):
            return 2.5

    with pytest.raises(InvalidInputError, match="a data set of 30 items, as its len.* says; got an IndexError at item"):
        fit(data=Longer())
    with pytest.raises(InvalidInputError, match="train with a length"):
        fit(data=Fraction())


@pytest.mark.parametrize("run_dir", [5, "", "a\0b", b"bytes"])
def test_a_run_dir_that_is_no_path(run_dir):
    with pytest.raises(InvalidInputError, match="run_dir to be a path"):
        fit(run_dir=run_dir)
