"""From data sets, arrays and loaders to batches."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

from noisycorrect.data.batches import LabelView, ShardedBatches, check_generation, make_loader
from noisycorrect.data.datasets import ArrayDataset, as_dataset, join_unlabeled, read_given
from noisycorrect.labels import SoftLabelStore
from noisycorrect.support.errors import InvalidInputError, StaleGenerationError


class Items(Dataset):
    """Items in one of the forms people use; optionally augmented with every generator there is."""

    def __init__(self, form="pair", count=20, augmented=False):
        self.form, self.count, self.augmented = form, count, augmented

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        x, y = torch.full((3,), float(index)), index % 4
        if self.augmented:
            x = x + torch.rand(1) + np.random.rand() + random.random()  # noqa: NPY002
            x = x.float()
        return {
            "pair": (x, y),
            "triple": (x, y, index),
            "image": {"image": x, "label": y, "index": index, "matrix": torch.eye(2) * index},
            "input": {"input": x, "target": y},
            "wrong_index": (x, y, index + 1),
            "four": (x, y, index, "path"),
            "one": (x,),
            "strange": {"pixels": x, "label": y},
        }[self.form]


@pytest.mark.parametrize("form", ["pair", "triple", "four", "image", "input"])
def test_every_form_of_item_becomes_the_same_batch(form):
    view = LabelView(Items(form), None, seed=0)
    batch = view.__getitems__([3, 7])
    assert batch.index.tolist() == [3, 7]
    assert batch.input.tolist() == [[3.0] * 3, [7.0] * 3]
    assert batch.given.tolist() == [3, 3]
    assert batch.trust.weight.tolist() == [1, 1]
    assert len(batch) == 2
    if form == "image":
        assert batch.extra["matrix"].shape == (2, 2, 2)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("wrong_index", r"carry their position as index \(\[3, 7\]...\); got \[4, 8\]"),
        ("one", "got tuple of 1"),
        ("strange", r"got a dict with keys \['label', 'pixels'\]"),
    ],
)
def test_items_that_cannot_be_used(form, message):
    with pytest.raises(InvalidInputError, match=message):
        LabelView(Items(form), None, seed=0).__getitems__([3, 7])


def test_arrays_tensor_datasets_and_loaders_are_data_sets():
    x, y = np.zeros((6, 2), np.float32), [0, 1, 2, 0, 1, 2]
    for data in (
        (x, y),
        TensorDataset(torch.from_numpy(x), torch.tensor(y)),
        DataLoader(TensorDataset(torch.from_numpy(x), torch.tensor(y)), batch_size=4, shuffle=True),
    ):
        dataset = as_dataset(data, "train")
        assert isinstance(dataset, ArrayDataset)
        assert torch.as_tensor(read_given(dataset)).tolist() == y
    assert read_given(as_dataset(Items(), "train"))[:5] == [0, 1, 2, 3, 0]


class Stream(IterableDataset):
    def __iter__(self):
        yield from ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Stream(), "at least one sample; got an empty data set"),
        ((item for item in ()), "read again; got generator, which is read once"),
        ([], "at least one sample; got an empty data set"),
        (42, "map-style data set .* got int"),
        (Subset(Items(), []), "at least one sample"),
        (
            DataLoader(Items(), sampler=WeightedRandomSampler([1.0] * 20, 5)),
            "WeightedRandomSampler, from whose batches",
        ),
        (DataLoader(Items(), batch_sampler=BatchSampler(WeightedRandomSampler([1.0] * 20, 5), 2, False)), "Weighted"),
        (DataLoader(Items(), sampler=RandomSampler(Items(), replacement=True)), "RandomSampler, from whose"),
        (DataLoader(Items(), sampler=RandomSampler(Items(), num_samples=5)), "RandomSampler, from whose"),
        (DataLoader(Items(), sampler=RandomSampler(range(5))), "RandomSampler, from whose"),
        (DataLoader(Items(), collate_fn=list), "a collate_fn of its own"),
        (np.zeros((3, 2)), "one ndarray"),
        ((np.zeros((3, 2)), [0, 1]), "as many labels as inputs; got 2 labels, 3 inputs"),
    ],
)
def test_data_that_cannot_be_used(data, message):
    with pytest.raises(InvalidInputError, match=message):
        as_dataset(data, "train")


@pytest.mark.parametrize("array", [True, False])
def test_unlabeled_samples_follow_with_label_minus_one(array):
    labeled = as_dataset((np.zeros((3, 2), np.float32), [0, 1, 1]), "train") if array else Items(count=3)
    width = 2 if array else 3
    extra = np.ones((2, width), np.float32)
    joined = join_unlabeled(labeled, extra if array else [torch.ones(3), torch.ones(3)], -1)
    assert len(joined) == 5
    assert torch.as_tensor(read_given(joined)).tolist()[3:] == [-1, -1]
    batch = LabelView(joined, None, seed=0).__getitems__([0, 4])
    assert batch.given[1].item() == -1
    assert batch.input[1].tolist() == [1.0] * width


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 4), st.integers(0, 3))
def test_ranks_share_every_batch_and_repeat_nothing(length, batch_size, world_size, epoch):
    whole = ShardedBatches(length, batch_size, seed=1)
    shares = [ShardedBatches(length, batch_size, rank=r, world_size=world_size, seed=1) for r in range(world_size)]
    for sampler in (whole, *shares):
        sampler.set_epoch(epoch)
    for number, batch in enumerate(whole):
        assert sorted(batch) == sorted(index for share in shares for index in list(share)[number])
    assert sorted(index for batch in whole for index in batch) == list(range(length))


@pytest.mark.parametrize(("length", "expected"), [(9, [4, 4]), (10, [4, 4, 2]), (1, [1]), (8, [4, 4])])
def test_training_leaves_out_a_last_batch_of_one(length, expected):
    assert [len(batch) for batch in ShardedBatches(length, 4, full=False)] == expected
    assert len(ShardedBatches(length, 4, full=False)) == len(expected)


def test_orders_differ_by_epoch_and_seed_and_repeat():
    def order(seed, epoch):
        batches = ShardedBatches(50, 50, seed=seed)
        batches.set_epoch(epoch)
        return next(iter(batches))

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def augmented_inputs(num_workers, epoch):
    view = LabelView(Items(augmented=True), None, seed=5)
    view.set_epoch(epoch)
    batches = ShardedBatches(20, 6, seed=5)
    return torch.cat([batch.input for batch in make_loader(view, batches, num_workers)])


def test_augmentation_depends_on_seed_and_epoch_not_on_workers_or_global_state():
    torch.manual_seed(1)
    alone = augmented_inputs(0, epoch=2)
    torch.manual_seed(2)
    torch.testing.assert_close(augmented_inputs(2, epoch=2), alone, rtol=0, atol=0)
    assert not torch.equal(augmented_inputs(0, epoch=3), alone)


def test_reading_leaves_the_callers_random_states_alone():
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    augmented_inputs(0, epoch=0)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]


def test_persistent_workers_notice_a_new_generation_and_epoch(tmp_path):
    store = SoftLabelStore.create(tmp_path / "labels", [index % 4 for index in range(20)], 4)
    view = LabelView(Items(), store, seed=0)
    loader = make_loader(view, ShardedBatches(20, 5, seed=0), num_workers=2)
    for generation in range(3):
        seen = list(loader)
        assert {batch.generation for batch in seen} == {generation}
        for batch in seen:
            check_generation(batch, generation)
            if generation:
                assert torch.equal(batch.evidence, torch.full((5, 4), 0.25))
                assert batch.trust.weight.tolist() == pytest.approx([1 / (generation + 1)] * 5)
            with pytest.raises(StaleGenerationError, match=f"generation {generation + 1}; got generation"):
                check_generation(batch, generation + 1)
        with store.new_generation() as writer:
            writer.write(range(20), torch.full((20, 4), 0.25))


def test_labels_that_change_between_reads_are_noticed():
    store = SoftLabelStore.create(None, [0] * 20, 4)
    with pytest.raises(InvalidInputError, match="label 0 at index 1, as at the start of the run; got 1"):
        LabelView(Items(), store, seed=0).__getitems__([0, 1])
