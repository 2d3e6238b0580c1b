"""Inputs and items in the forms people have, at every door that takes them."""

import numpy as np
import pytest
import torch
from scipy import sparse
from tiny_runs import CLASSES, SHORT, AfterEpoch, Records, assert_equal_runs, blobs, corrector
from torch import nn
from torch.utils.data import TensorDataset

from noisycorrect import (
    RECIPES,
    Callback,
    Schedule,
    evidence_from_features,
    find_label_issues,
    fit_votes,
    prune_retrain,
)
from noisycorrect.data.batches import LabelView
from noisycorrect.data.datasets import ArrayDataset, as_dataset, join_unlabeled, read_given
from noisycorrect.data.forms import SparseRows, as_inputs, joined
from noisycorrect.data.items import split_fields
from noisycorrect.support.errors import InvalidInputError, TrainingWarning
from noisycorrect.training.features import PROJECTED, WIDE

QUICK = SHORT.replace(schedule=Schedule(1, 1, 1))
INPUTS, GIVEN, CLEAN = blobs(60)


def test_every_form_of_arrays_gives_the_same_run():
    reference = corrector(recipe=QUICK).fit((INPUTS, GIVEN))
    x, y = INPUTS.numpy(), GIVEN.numpy()
    forms = [
        (x.astype(">f4"), y.astype(">i4")),
        (x[::-1].copy()[::-1], y[::-1].copy()[::-1]),
        (x.tolist(), y.tolist()),
        (list(INPUTS), list(GIVEN)),
        [INPUTS, GIVEN],
        [x, y],
        {"x": x, "y": y},
        {"data": x, "target": y, "feature_names": list("abcd"), "DESCR": "as a Bunch of scikit-learn"},
        (x, y.astype(float)),
        (x, y[:, None]),
        (x, np.eye(CLASSES)[y]),
        (sparse.csr_matrix(x), y),
        (torch.tensor(x).to_sparse(), y),
        TensorDataset(INPUTS, GIVEN[:, None]),
        [(INPUTS[i], np.eye(CLASSES)[y[i]]) for i in range(60)],
        [(INPUTS[i], int(y[i]), f"{i}.jpg", {"height": i}) for i in range(60)],
    ]
    for data in forms:
        assert_equal_runs(corrector(recipe=QUICK).fit(data), reference)


def test_tables_of_pandas_give_the_same_run():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(INPUTS.numpy()).assign(label=GIVEN.numpy()).set_index(np.arange(60)[::-1])
    reference = corrector(recipe=QUICK).fit((INPUTS[10:], GIVEN[10:]), (INPUTS, GIVEN), INPUTS)
    part, features = frame.iloc[10:], [0, 1, 2, 3]
    result = corrector(recipe=QUICK).fit(
        (part[features], part["label"]), (frame[features], frame["label"].astype("Int64")), frame[features]
    )
    assert_equal_runs(result, reference)
    assert result.history[-1]["val_accuracy"] == reference.history[-1]["val_accuracy"]
    with pytest.raises(InvalidInputError, match=r"one DataFrame; to fix: .*frame\[features\]"):
        corrector().fit(frame)
    with pytest.raises(InvalidInputError, match=r"a sample without a label has -1: .*labels.fillna\(-1\)"):
        corrector().fit((INPUTS[:3], pandas.array([0, None, 1], "Int64")))
    names = pandas.Series(["a", "b", None], index=[5, 6, 7])
    with pytest.raises(InvalidInputError, match="to fix: number the classes from 0: names, labels = np.unique"):
        corrector().fit((INPUTS[:3], names))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a text", "another"], "of numbers; got <U7, such as 'a text'.*TfidfVectorizer"),
        (np.array([["red", "1"]]), "encode columns of text"),
        (np.array(["2026-01-01"], "M8[s]"), "turn times into numbers"),
        (np.array([1j]), "of numbers; got complex128"),
        ([torch.zeros(2), torch.zeros(3)], "of one shape; got tensors of different shapes"),
        (np.array([object(), None]), "of numbers; got object"),
        (Records(INPUTS, GIVEN), r"as an array; got Records; to fix: pass a data set alone, fit\(train, val\)"),
        ({"input_ids": [1, 2], "attention_mask": [1]}, "equally many; got {'input_ids': 2, 'attention_mask': 1}"),
    ],
)
def test_inputs_that_are_no_numbers(values, message):
    with pytest.raises(InvalidInputError, match=message):
        as_inputs(values)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.array([[True]]), torch.float32),
        (np.array([[1]], np.uint16), torch.int32),
        (np.array([[1]], np.uint64), torch.int64),
        (np.array([[1]], np.longdouble), torch.float64),
        (np.array([[1]], np.uint8), torch.uint8),
        ([[1.5]], torch.float32),
        (np.array([[1]], object), torch.float64),
        (torch.ones(1, requires_grad=True), torch.float32),
    ],
)
def test_dtypes_that_torch_has_not(values, dtype):
    found = as_inputs(values)
    assert found.dtype is dtype
    assert found.flatten().tolist() == [1.5 if values == [[1.5]] else 1]
    assert not found.requires_grad


def test_arrays_are_not_copied_and_may_be_read_only():
    array = np.zeros((3, 2), np.float32)
    assert as_inputs(array).data_ptr() == array.ctypes.data
    array.flags.writeable = False
    assert as_inputs(array).data_ptr() == array.ctypes.data


SECONDS = 1.7e9 + np.linspace(0, 1000, 60)
ROUNDED = {
    "array": np.c_[np.arange(60.0), SECONDS],
    "tensor": torch.tensor(np.c_[np.arange(60.0), SECONDS]),
    "lists": np.c_[np.arange(60.0), SECONDS].tolist(),
    "many": np.c_[np.zeros(6000), np.repeat(SECONDS, 100)],
    "beside others": np.c_[SECONDS - 1.7e9, SECONDS * 1e3, SECONDS],
    "beside a hole": np.c_[np.r_[np.nan, np.ones(59)], -SECONDS],
}


@pytest.mark.parametrize("form", ROUNDED)
def test_columns_that_float32_rounds_away_are_warned_of(form):
    with pytest.warns(TrainingWarning, match=r"column 1 .*\d in float32; to fix: subtract a constant from it"):
        found = as_inputs(ROUNDED[form])
    assert found.dtype is (torch.float32 if form == "lists" else torch.float64)


def test_the_warning_is_at_the_line_of_the_caller():
    inputs = np.c_[INPUTS.numpy()[:, :3], SECONDS]
    with pytest.warns(TrainingWarning) as learnt:
        result = corrector(recipe=QUICK).fit((inputs, GIVEN))
    with pytest.warns(TrainingWarning) as predicted:
        result.predict(inputs)
    for caught in (learnt, predicted):
        assert [each.filename for each in caught if "tells apart" in str(each.message)] == [__file__]


def test_columns_of_a_table_that_float32_rounds_away_are_named():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"size": np.arange(60), "time": SECONDS.astype(int)})
    with pytest.warns(TrainingWarning, match="column 'time' of inputs with 60 different values .* 9 in float32"):
        as_inputs(table)


@pytest.mark.parametrize(
    "values",
    [
        np.c_[SECONDS - 1.7e9, np.full(60, 1.7e9)],
        np.c_[np.repeat([1.7e9, 1.7e9 + 128], 30), np.repeat([0.3, 0.1 + 0.2], 30)],
        np.c_[SECONDS].astype(np.float32),
        np.c_[1.7e9 + np.linspace(0, 1e6, 60)],
        np.full((3, 2), np.inf),
        SECONDS,
        np.zeros((0, 2)),
        np.c_[SECONDS].astype(int),
    ],
    ids=["constant", "told apart", "float32", "days", "infinite", "no columns", "none", "whole numbers"],
)
def test_other_columns_are_not_warned_of(values):
    as_inputs(values)  # a warning is an error here


def test_pictures_of_bytes_are_refused_by_a_model_of_floats_alone():
    x = (INPUTS * 10 + 100).to(torch.uint8)
    with pytest.raises(InvalidInputError, match=r"got torch.uint8: .*astype\('float32'\) / 255, if they are pictures"):
        corrector(recipe=QUICK).fit((x, GIVEN))

    class Scales(nn.Linear):
        def forward(self, x):
            assert x.dtype is torch.uint8
            return super().forward(x.float() / 10 - 10)

    corrector(Scales(4, CLASSES), recipe=QUICK).fit((x, GIVEN))


def test_sparse_rows_stay_sparse_until_they_are_a_batch():
    matrix = sparse.random(40, 30, 0.1, format="csc", random_state=0, dtype=np.float64)
    rows = as_inputs(matrix)
    assert isinstance(rows, SparseRows)
    dense = torch.tensor(matrix.toarray()).float()
    assert torch.equal(rows[3], dense[3])
    assert torch.equal(rows[5:9], dense[5:9])
    assert torch.equal(joined(rows, rows)[[0, 41]], dense[[0, 1]])
    labels = np.arange(40) % CLASSES
    for recipe in (QUICK, RECIPES["robust"].replace(epochs=4)):
        one = corrector(nn.Linear(30, CLASSES), recipe=recipe, batch_size=20)
        result = one.fit((matrix, labels), (matrix, labels), matrix)
        assert_equal_runs(one.fit((dense, labels), (dense, labels), dense), result)
        assert len(result.labels) == 80
    assert prune_retrain(nn.Linear(30, 3), (matrix, labels), num_classes=3, epochs=1, folds=2).kept.shape == (40,)
    with pytest.raises(InvalidInputError, match="unlabeled inputs that are sparse; got dense"):
        join_unlabeled(as_dataset((matrix, labels), "train"), dense, -1)
    with pytest.raises(InvalidInputError, match="sparse inputs"):
        SparseRows(sparse.csr_array(matrix.astype(complex)))


def test_unlabeled_arrays_by_name_follow_a_data_set():
    items = [(INPUTS[i], int(GIVEN[i])) for i in range(60)]
    reference = corrector(recipe=QUICK).fit(items, unlabeled=list(INPUTS[:10]))
    hot = [(x, torch.eye(CLASSES)[y]) for x, y in items]
    assert_equal_runs(corrector(recipe=QUICK).fit(hot, unlabeled=list(INPUTS[:10])), reference)
    for more in ({"x": INPUTS[:10].numpy()}, INPUTS[:10].numpy().astype(">f4"), sparse.csr_matrix(INPUTS[:10].numpy())):
        assert_equal_runs(corrector(recipe=QUICK).fit(items, unlabeled=more), reference)


def test_neighbors_in_a_wide_sparse_matrix_are_sought_in_a_projection():
    class Features(Callback):
        def on_fit_begin(self, run):
            self.found = run.features()

    wide = sparse.random(60, 2 * WIDE, 0.01, format="csr", random_state=0)
    wide.data = 0.5 + wide.data / 2  # no column of another scale, of which there would be a warning
    watch = Features()
    recipe = QUICK.replace(correction=None, average=None)
    corrector(nn.Linear(2 * WIDE, CLASSES), recipe=recipe, callbacks=[watch]).fit((wide, GIVEN))
    assert watch.found.shape == (60, PROJECTED)
    cosine = nn.functional.cosine_similarity
    dense = torch.tensor(wide.toarray()).float()
    off = cosine(watch.found[:1], watch.found[1:]) - cosine(dense[:1], dense[1:])
    assert 0.01 < off.std() < 0.06, "1/32, as said"


def test_votes_on_inputs_in_other_forms():
    votes = np.stack([GIVEN.numpy(), CLEAN.numpy()], 1)
    dense = fit_votes(corrector(recipe="ema", epochs=2), INPUTS, votes).probs
    for inputs in (INPUTS.numpy().astype(">f4"), sparse.csr_matrix(INPUTS.numpy()), {"x": INPUTS}):
        np.testing.assert_array_equal(fit_votes(corrector(recipe="ema", epochs=2), inputs, votes).probs, dense)
    with pytest.raises(InvalidInputError, match="inputs of 60 items; got 59 inputs"):
        fit_votes(corrector(recipe="ema", epochs=2), sparse.csr_matrix(INPUTS.numpy()[:59]), votes)


def test_evidence_and_issues_of_labels_in_other_forms():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(INPUTS.numpy(), index=np.arange(60) + 5)
    reference = evidence_from_features(INPUTS.numpy(), GIVEN.numpy())
    names = pandas.Series(GIVEN.numpy(), index=frame.index).map({0: "a", 1: "b", 2: "c"})
    for labels in (GIVEN.float(), GIVEN[:, None], GIVEN.numpy().astype(">i2"), names):
        found = evidence_from_features(frame, labels)
        np.testing.assert_array_equal(found.probs, reference.probs)
        issues = find_label_issues(labels, pandas.DataFrame(found.probs), class_names=found.class_names)
        assert [issue.index for issue in issues] == [i.index for i in find_label_issues(GIVEN, reference.probs)]
    names = names.astype(object)
    names.iloc[3] = np.nan
    assert evidence_from_features(frame, names).given[3] == -1
    assert find_label_issues(names, reference.probs, class_names=["a", "b", "c"])[0].index != 3
    with pytest.raises(InvalidInputError, match=r"labels of one type.*astype\(str\)"):
        evidence_from_features(INPUTS[:4], np.array(["a", 1, "b", 2], object))


@pytest.mark.parametrize(
    ("third", "message"),
    [
        (0.5, "got float64, such as 0.5; to fix: leave it out; a weight goes to"),
        (torch.tensor(0.5), "got float32, such as 0.5"),
        (True, "got bool"),
    ],
)
def test_a_third_element_that_may_be_a_weight_is_refused(third, message):
    with pytest.raises(InvalidInputError, match=message):
        split_fields((1, 2, third))


@pytest.mark.parametrize("third", ["a.jpg", b"id", None, {"height": 4}, torch.zeros(3), np.zeros((2, 2)), [1, 2]])
def test_a_third_element_that_is_no_number_is_passed_over(third):
    assert split_fields((1, 2, third)) == (1, 2, None, {})


def test_the_third_element_of_a_batch():
    x, y = torch.zeros(3, 2), torch.zeros(3)
    assert split_fields((x, y, torch.arange(3)), 3)[2].tolist() == [0, 1, 2]
    assert split_fields((x, y, [0, 1, 2]), 3)[2] == [0, 1, 2]
    assert split_fields((x, y, ["a", "b", "c"]), 3)[2] is None
    with pytest.raises(InvalidInputError, match="such as 0.5"):
        split_fields((x, y, torch.full((3,), 0.5)), 3)


def test_a_third_element_that_is_another_label_is_named():
    with pytest.raises(InvalidInputError, match=r"right labels go to fit\(clean_labels=\)"):
        corrector().fit([(INPUTS[i], int(GIVEN[i]), int(CLEAN[i])) for i in range(60)])


def test_further_fields_that_cannot_be_stacked_stay_lists():
    items = [{"image": torch.zeros(2), "label": i, "box": torch.zeros(i, 4), "path": None, "size": 3} for i in (0, 1)]
    extra = LabelView(items, None, seed=0).__getitems__([0, 1]).extra
    assert [len(box) for box in extra["box"]] == [0, 1]
    assert extra["path"] == [None, None]
    assert extra["size"].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([(torch.zeros(2), 0), (torch.zeros(3), 1)], "items whose input can be stacked.*make them equally large"),
        ([(torch.zeros(2), [0]), (torch.zeros(2), [0, 1])], "items whose label can be stacked.*pad_sequences"),
        ([{"text": "a", "label": 0}] * 2, "got a dict with keys .*turn texts into numbers first"),
        ([{"x": 1, "image": 2, "label": 0}] * 2, "got a dict with keys"),
    ],
)
def test_items_that_make_no_batch(items, message):
    with pytest.raises(InvalidInputError, match=message):
        LabelView(items, None, seed=0).__getitems__([0, 1])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((INPUTS, GIVEN, GIVEN), r"a pair \(inputs, labels\); got 3 arrays.*sample_weight="),
        ({"train": Records(INPUTS, GIVEN), "test": Records(INPUTS, GIVEN)}, "got a dict with keys"),
        ({"x": Records(INPUTS, GIVEN), "y": 1}, r"to be one data set.*data\[\"train\"\]"),
        (sparse.csr_matrix(INPUTS.numpy()), "one csr_matrix"),
    ],
)
def test_more_data_that_cannot_be_used(data, message):
    with pytest.raises(InvalidInputError, match=message):
        as_dataset(data, "train")


def test_a_dict_by_number_is_a_data_set():
    assert read_given(as_dataset({0: (1.0, 2), 1: (1.0, 0)}, "train")) == [2, 0]


def test_labels_that_are_expected_own_their_memory():
    labels = torch.arange(40) % 3
    view = LabelView(ArrayDataset(torch.zeros(40, 2), labels), None, seed=0, expected=np.asarray(labels))
    kept = view.expected.copy()
    labels.fill_(99)  # as memory that was given back is written to by others
    assert np.array_equal(view.expected, kept)


def test_labels_of_a_validation_set_own_their_memory():
    labels = GIVEN.clone()

    def spoil(run):
        assert not np.shares_memory(run.data.val_given, labels.numpy())
        labels.fill_(0)

    with pytest.raises(InvalidInputError, match="as at the start of the run"):  # what the data set gives has changed
        corrector(recipe=QUICK, callbacks=[AfterEpoch(spoil)]).fit((INPUTS, GIVEN), (INPUTS, labels))
