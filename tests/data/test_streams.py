"""Data sets that are read in passes: positions by id, whatever the order; what is not the same set is refused."""

import numpy as np
import pytest
import torch
from tiny_runs import CLASSES, QUIET, Kill, assert_equal_runs, blobs, network
from torch.utils.data import IterableDataset, get_worker_info

from noisycorrect import RECIPES, NeighborCorrection, SelfCorrector
from noisycorrect.data.batches import LabelView, StreamLoader
from noisycorrect.data.datasets import as_dataset, read_given
from noisycorrect.data.streams import StreamedDataset
from noisycorrect.support.errors import CheckpointError, InvalidInputError

COUNT = 90


class Stream(IterableDataset):
    """Reads samples, each pass in an order of its own if `shuffled`; `change` is done to what a later pass reads."""

    def __init__(self, form="tuple", shuffled=False, change=None, names=None, noise=0.0):
        self.inputs, self.labels, self.clean = blobs(COUNT, rate=0.3)
        self.form, self.shuffled, self.change, self.noise = form, shuffled, change, noise
        self.names = list(range(COUNT)) if names is None else names
        self.passes, self.epochs = 0, []

    def set_epoch(self, epoch):
        self.epochs.append(epoch)

    def item(self, row):
        x, y, name = self.inputs[row], int(self.labels[row]), self.names[row]
        x = x + self.noise * torch.randn(4)
        return {"input": x, "label": y, "id": name} if self.form == "dict" else (x, y, name)

    def __iter__(self):
        assert get_worker_info() is None or get_worker_info().num_workers == 1
        rows = list(range(COUNT))
        if self.shuffled:
            np.random.default_rng(self.passes).shuffle(rows)
        if self.change is not None and self.passes:
            rows = self.change(rows)
        self.passes += 1
        yield from (self.item(row) for row in rows)


def fit(data, *, recipe="robust", epochs=4, callbacks=(), unlabeled=None, **settings):
    made = RECIPES[recipe].replace(batch_size=30)
    if recipe == "robust":
        made = made.replace(correction=NeighborCorrection(neighbors=5))
    model = network()
    return SelfCorrector(
        model, num_classes=CLASSES, recipe=made, epochs=epochs, lr=0.05, callbacks=[QUIET, *callbacks], **settings
    ).fit(data, unlabeled=unlabeled)


@pytest.mark.parametrize("form", ["tuple", "dict"])
def test_positions_are_places_of_sorted_ids(form):
    names = [f"{row:03d}.jpg" for row in np.random.default_rng(0).permutation(COUNT)]
    stream = Stream(form, names=names)
    data = as_dataset(stream, "train")
    assert isinstance(data, StreamedDataset)
    assert data.sample_names == sorted(names)
    order = np.argsort(names)
    assert read_given(data) == [int(stream.labels[row]) for row in order]
    assert torch.equal(data[5][0] if form == "tuple" else data[5]["input"], stream.inputs[order[5]])
    for workers in (0, 1):
        batches = list(StreamLoader(LabelView(data, None, seed=0), 20, 5, workers))
        assert [len(batch) for batch in batches] == [20, 20, 20, 20, 10]
        index = torch.cat([batch.index for batch in batches])
        assert torch.equal(index, torch.from_numpy(np.argsort(order)))
        assert torch.equal(torch.cat([batch.input for batch in batches]), stream.inputs)
    assert as_dataset(Stream(), "train").sample_names is None


@pytest.mark.parametrize("recipe", ["robust", "paper"])
def test_a_run_over_a_stream_corrects_and_passes_may_come_in_any_order(recipe):
    stream = Stream(shuffled=True)
    result = fit(stream, recipe=recipe, epochs=12)
    assert len(set(stream.epochs)) > 4
    assert result.labels.given().tolist() == stream.labels.tolist()
    right = (torch.from_numpy(result.labels.labels()) == stream.clean).float().mean()
    assert right > (stream.labels == stream.clean).float().mean() + 0.1


class Shuffled(IterableDataset):
    """Draws the order of a pass when it begins (`eager`), or when its first item is read."""

    def __init__(self, eager):
        self.eager = eager

    def __iter__(self):
        return self.ordered() if self.eager else self.late()

    def ordered(self):
        return iter([(torch.zeros(1), 0, row) for row in torch.randperm(COUNT).tolist()])

    def late(self):
        yield from self.ordered()


@pytest.mark.parametrize("eager", [True, False])
def test_an_order_that_is_drawn_depends_on_seed_and_epoch_alone(eager):
    data = StreamedDataset(Shuffled(eager), "train")

    def order(seed, epoch, workers):
        view = LabelView(data, None, seed=seed)
        view.set_epoch(epoch)
        return tuple(row for batch in StreamLoader(view, 30, 3, workers) for row in batch.index.tolist())

    before = torch.get_rng_state()
    orders = {where: order(*where, workers=0) for where in ((0, 0), (0, 1), (1, 0))}
    assert torch.equal(torch.get_rng_state(), before)
    assert len(set(orders.values())) == 3
    for where, found in orders.items():
        assert order(*where, workers=0) == order(*where, workers=1) == found


def test_in_one_batch_a_stream_is_the_array(tmp_path):
    """One batch an epoch, so that order does not matter but for rounding."""
    stream = Stream()
    recipe = RECIPES["robust"].replace(batch_size=COUNT, correction=NeighborCorrection(neighbors=5))
    found = [
        SelfCorrector(
            network(norm=False).eval(), num_classes=CLASSES, recipe=recipe, epochs=6, lr=0.05, callbacks=[QUIET]
        ).fit(data)
        for data in (stream, (stream.inputs, stream.labels))
    ]
    agree = found[0].labels.labels() == found[1].labels.labels()
    assert agree.mean() > 0.95
    assert found[0].sample_passes == found[1].sample_passes


def test_a_run_over_a_stream_goes_on_whatever_the_order(tmp_path):
    whole = fit(Stream(), run_dir=tmp_path / "whole", num_workers=1)
    with pytest.raises(KeyboardInterrupt):
        fit(Stream(), run_dir=tmp_path / "killed", callbacks=[Kill(2)])
    assert_equal_runs(whole, fit(Stream(), run_dir=tmp_path / "killed"))
    with pytest.raises(CheckpointError, match="ids="):
        fit(Stream(names=list(range(1, COUNT + 1))), run_dir=tmp_path / "killed")


def doubled(rows):
    return [*rows[:40], rows[3], *rows[40:]]


def last_doubled(rows):
    return [*rows, rows[0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (doubled, "each id once in a pass over train; got 3 again"),
        (last_doubled, "each id once in a pass over train; got 0 again"),
        (lambda rows: rows[:-2], "first pass over train in every pass; got none of id 88, and 1 others"),
        (lambda rows: rows[:40], "got none of id 40"),
    ],
)
def test_a_pass_that_is_not_the_first_is_refused(change, message):
    with pytest.raises(InvalidInputError, match=message):
        fit(Stream(change=change))


def test_ids_that_change_and_labels_that_change_are_refused():
    stream = Stream()

    def renamed(rows):
        stream.names[7] = 1000
        return rows

    stream.change = renamed
    with pytest.raises(InvalidInputError, match="the 90 ids of the first pass .* got 1000"):
        fit(stream)
    other = Stream()

    def relabelled(rows):
        other.labels[5] = (other.labels[5] + 1) % CLASSES
        return rows

    other.change = relabelled
    with pytest.raises(InvalidInputError, match="at index 5, as at the start"):
        fit(other)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([1] * COUNT, "each id once in a pass over train; got 1 again"),
        ([0.5] * COUNT, "an id in each item of train.* got 0.5"),
        ([True] * COUNT, "an id in each item .* got True"),
        ([None] * COUNT, "an id in each item .* got none; .*make items"),
        (["a", *range(1, COUNT)], "all numbers, or all texts"),
        ([2**70, *range(1, COUNT)], "below 2"),
    ],
)
def test_ids_that_are_none_are_refused(names, message):
    with pytest.raises(InvalidInputError, match=message):
        as_dataset(Stream(names=names), "train")


def test_what_streams_cannot_do_is_said(tmp_path):
    with pytest.raises(InvalidInputError, match="put them into it, with the label -1"):
        fit(Stream(), unlabeled=torch.zeros(3, 4))
    recipe = RECIPES["robust"].replace(accumulate=2)
    with pytest.raises(InvalidInputError, match="accumulate of 1"):
        SelfCorrector(network(), num_classes=CLASSES, recipe=recipe, epochs=2, callbacks=[QUIET]).fit(Stream())
    corrector = SelfCorrector(network(), num_classes=CLASSES, recipe="paper", epochs=2, callbacks=[QUIET])
    with pytest.raises(InvalidInputError, match="canonical with the ids of train"):
        corrector.fit(Stream(), canonical=Stream(names=list(range(1, COUNT + 1))))
    with pytest.warns(UserWarning, match="change from one reading to the next"):
        SelfCorrector(
            network(), num_classes=CLASSES, recipe=RECIPES["paper"].replace(batch_size=30), epochs=8, callbacks=[QUIET]
        ).fit(Stream(noise=0.1))


def test_validation_and_canonical_may_be_streams():
    recipe = RECIPES["paper"].replace(batch_size=30)
    result = SelfCorrector(network(), num_classes=CLASSES, recipe=recipe, epochs=8, lr=0.05, callbacks=[QUIET]).fit(
        Stream(noise=0.1), Stream(shuffled=True), canonical=Stream(shuffled=True)
    )
    assert result.history[-1]["val_accuracy"] > 0.5
