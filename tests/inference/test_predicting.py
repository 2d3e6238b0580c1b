"""Predictions for new inputs in all forms that they come in."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from tiny_runs import PLAIN, Records, blobs, corrector
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from noisycorrect import CorrectionResult, InvalidInputError, MultiLabel, SelfCorrector, SoftLabelStore


@pytest.fixture(scope="module")
def trained():
    inputs, given, _ = blobs(60)
    result = corrector(recipe=PLAIN, epochs=8, class_names=["cat", "dog", "fox"]).fit((inputs, given))
    with torch.no_grad():
        expected = result.model.eval()(inputs).softmax(1).numpy()
    return inputs, result, expected


class Inputs(Dataset):
    def __init__(self, inputs):
        self.inputs = inputs

    def __len__(self):
        return len(self.inputs)

    def __getitem__(self, index):
        return self.inputs[index]


FORMS = {
    "tensor": lambda x: x,
    "array": lambda x: x.numpy(),
    "float64": lambda x: x.double().numpy(),
    "read-only": lambda x: np.frombuffer(x.numpy().tobytes(), np.float32).reshape(x.shape),
    "frame": lambda x: pd.DataFrame(x.numpy(), index=range(7, 7 + len(x))),
    "sparse": lambda x: scipy.sparse.csc_matrix(x.numpy()),
    "lists": lambda x: x.tolist(),
    "list of tensors": list,
    "inputs": Inputs,
    "pairs": lambda x: Records(x, [0] * len(x)),
    "dicts": lambda x: Records(x, [0] * len(x), "dict"),
    "TensorDataset": lambda x: TensorDataset(x, torch.zeros(len(x))),
    "loader": lambda x: DataLoader(Inputs(x), batch_size=7),
    "loader of pairs": lambda x: DataLoader(Records(x, [0] * len(x)), batch_size=7),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_inputs(form, trained):
    inputs, result, expected = trained
    found = result.predict_proba(FORMS[form](inputs), batch_size=16)
    assert (found.dtype, found.shape) == (np.float32, (60, 3))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def named(x):
    return {"a": x[:, :2], "b": x[:, 2:]}


class OfNamed(nn.Linear):
    def forward(self, inputs):
        return super().forward(torch.cat([inputs["a"], inputs["b"]], 1))


# Whole numbers and true or false, in which all forms agree.
FORMS_OF_FIT = {
    "numbers and booleans": lambda x: pd.DataFrame(x.numpy()).astype({0: bool}),
    "nullable": lambda x: pd.DataFrame(x.numpy()).astype({0: bool}).convert_dtypes(),
    "whole numbers": lambda x: pd.DataFrame(x.numpy()).astype(int),
    "booleans": lambda x: x.numpy().astype(bool),
    "boolean tensor": lambda x: x.bool(),
    "lists of booleans": lambda x: x.bool().tolist(),
    "sparse tensor": lambda x: x.to_sparse(),
    "sparse bfloat16": lambda x: x.bfloat16().to_sparse(),
    "sparse float16": lambda x: x.half().to_sparse(),
    "sparse rows": lambda x: scipy.sparse.coo_array(x.numpy().astype(int)),
    "big-endian": lambda x: x.numpy().astype(">f4"),
    "reversed": lambda x: x.numpy()[::-1].copy()[::-1],
    "by name": named,
}


@pytest.mark.parametrize("form", FORMS_OF_FIT)
def test_every_form_that_is_learnt_from_is_predicted(form):
    inputs, given, _ = blobs(60)
    inputs = (inputs > 0).float()
    model = OfNamed if form == "by name" else nn.Linear
    result = SelfCorrector(model(4, 3), num_classes=3, recipe=PLAIN).fit((FORMS_OF_FIT[form](inputs), given))
    with torch.no_grad():
        expected = result.model(named(inputs) if form == "by name" else inputs).softmax(1)
    found = result.predict_proba(FORMS_OF_FIT[form](inputs), batch_size=16)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_models_that_write_into_a_batch_leave_the_inputs_alone(trained):
    inputs = -torch.rand(5, 4)
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 3))
    result = CorrectionResult(model, trained[1].labels, [], 0, task=trained[1].task)
    result.predict(inputs)
    result.predict(inputs.numpy())
    assert (inputs < 0).all()


def test_numbers_and_names(trained):
    inputs, result, expected = trained
    found = result.predict(inputs)
    assert found.dtype == np.int64
    assert np.array_equal(found, expected.argmax(1))
    assert result.predict(inputs, names=True).tolist() == [("cat", "dog", "fox")[k] for k in found]
    nameless = CorrectionResult(result.model, result.labels, result.history, 0, task=result.task)
    with pytest.raises(InvalidInputError, match="class names, for names=True; got none"):
        nameless.predict(inputs, names=True)


def test_modes_come_back(trained):
    inputs, result, expected = trained
    result.model.train()
    result.model[3].eval()
    try:
        assert np.allclose(result.predict_proba(inputs), expected, atol=1e-6)
        assert result.model.training
        assert not result.model[3].training
    finally:
        result.model.eval()


def test_independent_labels_have_a_threshold_of_their_own():
    inputs = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    store = SoftLabelStore.create(None, (inputs[:, :2] > 0).long(), 2, kind="multilabel")
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight.copy_(torch.eye(2, 4))
        model.bias.zero_()
    result = CorrectionResult(model, store, [], 0, ("big", "red"), MultiLabel(2))
    assert np.array_equal(result.predict(inputs), (inputs[:, :2] >= 0).numpy().astype(int))
    assert result.predict([[1.0, 1, 0, 0], [-1, 1, 0, 0], [-1, -1, 0, 0]], names=True).tolist() == [
        ["big", "red"], ["red"], []
    ]  # fmt: skip


WRONG = {
    "words": (["a", "b"], "inputs of numbers"),
    "one string": ("abc", "an array .*; got str"),
    "one number": (np.float32(1), r"inputs of numbers, shape \(N, ...\); got .*shape \(\)"),
    "names of nothing": ({}, "an array .*; got dict"),
    "nothing": (np.zeros((0, 4), np.float32), "at least one input"),
    "an empty list": ([], "at least one input"),
    "too few features": (
        np.zeros((2, 3), np.float32),
        r"inputs as the model was trained on; got torch.float32 of shape",
    ),
    "a single input": (np.zeros(4, np.float32), r"inputs as the model was trained on"),
    "a generator": ((x for x in [1]), "an array .*; got generator"),
    "a shuffling loader": (DataLoader(Inputs(torch.zeros(4, 4)), shuffle=True), "in order; got one that shuffles"),
    "a loader that drops": (DataLoader(Inputs(torch.zeros(5, 4)), 2, drop_last=True), "leaves out the last batch"),
    "a hole": (torch.tensor([[0.0] * 4, [np.nan] * 4]), "finite predictions; got NaN or infinity for input 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_input_is_refused(case, trained):
    inputs, message = WRONG[case]
    with pytest.raises(InvalidInputError, match=message):
        trained[1].predict(inputs)
    with pytest.raises(InvalidInputError, match="batch_size"):
        trained[1].predict(trained[0], batch_size=0)


def test_standardised_inputs_have_the_features_of_training():
    inputs, given, _ = blobs(60)
    result = corrector(recipe="robust", epochs=5).fit((inputs, given))
    with pytest.raises(InvalidInputError, match="inputs of 4 features, as in training"):
        result.predict(inputs[:, :3])


def test_class_names_are_checked():
    for names in (["a", "b"], ["a", "b", "b"], ["a", "b", ""], "abc"):
        with pytest.raises(InvalidInputError, match="3 different class names"):
            SelfCorrector(nn.Linear(4, 3), num_classes=3, class_names=names)
    assert SelfCorrector(nn.Linear(4, 3), num_classes=3, class_names=np.array([1, 2, 3])).class_names == ("1", "2", "3")


def test_masks_and_unknown_tasks_are_told_what_to_do(trained):
    masks = SoftLabelStore.create(None, [np.zeros((2, 2), np.uint8)], 2, kind="segmentation", frame=(4, 4))
    with pytest.raises(InvalidInputError, match="labels of the kind segmentation; .*parse_images"):
        CorrectionResult(nn.Conv2d(3, 2, 1), masks, [], 0).predict(np.zeros((1, 3, 4, 4)))
    with pytest.raises(InvalidInputError, match="pass task= to CorrectionResult.load"):
        CorrectionResult(trained[1].model, trained[1].labels, [], 0).predict(trained[0])
