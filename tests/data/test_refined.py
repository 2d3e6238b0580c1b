"""A data set with refined labels: forms of items, workers, generations, what it refuses."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch
from torch.utils.data import DataLoader

from noisycorrect import SoftLabelStore
from noisycorrect.data.refined import RefinedDataset
from noisycorrect.support.errors import InvalidInputError

GIVEN = torch.tensor([0, 1, 2, -1])
INPUTS = torch.arange(8.0).reshape(4, 2)
PROBS = torch.tensor([[0.2, 0.8, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.1, 0.1, 0.8]])
FIRST = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
SECOND = torch.tensor([[0.6, 0.4, 0], [0, 1, 0], [0.25, 0, 0.75], [0.1, 0.1, 0.8]])
Pair = namedtuple("Pair", "picture, label")


def made():
    return SoftLabelStore.create(None, GIVEN, num_classes=3)


def publish(store):
    with store.new_generation() as writer:
        writer.write([0, 1, 2, 3], PROBS)


@pytest.mark.parametrize(
    ("form", "label_of"),
    [
        (lambda x, y, i: (x, y), lambda item: item[1]),
        (lambda x, y, i: [x, y, i], lambda item: item[1]),
        (lambda x, y, i: Pair(x, y), lambda item: item.label),
        (lambda x, y, i: {"image": x, "target": y, "index": i}, lambda item: item["target"]),
        (lambda x, y, i: {"input_ids": x, "attention_mask": x, "labels": y}, lambda item: item["labels"]),
    ],
)
def test_the_label_alone_is_replaced(form, label_of):
    items = [form(x, int(y), i) for i, (x, y) in enumerate(zip(INPUTS, GIVEN, strict=True))]
    store = made()
    data = RefinedDataset(items, store)
    assert len(data) == 4
    for labels in (FIRST, SECOND):
        for index in range(4):
            found = data[index]
            assert type(found) is type(items[index])
            torch.testing.assert_close(label_of(found), labels[index])
            rest = [
                value
                for value in (found.values() if isinstance(found, dict) else found)
                if value is not label_of(found)
            ]
            own = items[index].values() if isinstance(items[index], dict) else items[index]
            assert len(rest) == len(own) - 1
            assert all(any(value is each for each in own) for value in rest)
        if labels is FIRST:
            publish(store)
    assert label_of(items[0]) == 0  # the data set's own items are as they were


def test_arrays_and_subsets_will_do():
    data = RefinedDataset((INPUTS, GIVEN), made())
    assert torch.equal(data[-1][0], INPUTS[-1])
    assert torch.equal(data[1][1], FIRST[1])
    with pytest.raises(IndexError):
        data[4]
    part = torch.utils.data.Subset(data, [2, 0])
    inputs, labels = next(iter(DataLoader(part, batch_size=2)))
    assert torch.equal(inputs, INPUTS[[2, 0]])
    assert torch.equal(labels, FIRST[[2, 0]])


def test_persistent_workers_notice_a_new_generation():
    store = made()
    loader = DataLoader(RefinedDataset((INPUTS, GIVEN), store), batch_size=4, num_workers=1, persistent_workers=True)
    torch.testing.assert_close(next(iter(loader))[1], FIRST)
    publish(store)
    torch.testing.assert_close(next(iter(loader))[1], SECOND)


def test_a_batch_is_read_by_the_data_sets_own_way():
    class Batched(torch.utils.data.TensorDataset):
        asked = None

        def __getitems__(self, indices):
            self.asked = list(indices)
            return [self[index] for index in indices]

    data = Batched(INPUTS, GIVEN)
    list(DataLoader(RefinedDataset(data, made()), batch_size=4))
    assert data.asked == [0, 1, 2, 3]


def test_multi_label_ones_are_given_too():
    given = torch.tensor([[1, 0], [0, -1]])
    store = SoftLabelStore.create(None, given, num_classes=2, kind="multilabel")
    assert torch.equal(RefinedDataset((INPUTS[:2], given), store)[0][1], torch.tensor([1.0, 0.0]))


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidInputError, match="a data set of 4 items; got 3"):
        RefinedDataset((INPUTS[:3], GIVEN[:3]), made())
    tokens = SoftLabelStore.create(None, [[0, 1], [1]], num_classes=2, kind="tokens")
    with pytest.raises(InvalidInputError, match="labels of one size; got labels of tokens"):
        RefinedDataset([(1, [0, 1]), (2, [1])], tokens)
    with pytest.raises(InvalidInputError, match="items that are tuples .*; got int"):
        RefinedDataset([1, 2, 3, 4], made())[0]
    with pytest.raises(InvalidInputError, match=r"items that are .*; got a dict with keys \['image'\]"):
        RefinedDataset([{"image": 1}] * 4, made())[0]
    with pytest.raises(InvalidInputError, match="a label store .*; got none yet"):
        RefinedDataset((INPUTS, GIVEN))[0]
