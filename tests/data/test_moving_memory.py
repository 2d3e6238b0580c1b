"""What is given as tensors moves to shared memory when a worker starts that is not forked: nothing reads the old.

Forkserver, whose workers are not forked, is the default from Python 3.14 on.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from spawn import fork_server
from tiny_runs import assert_equal_runs, blobs, corrector
from torch.multiprocessing.reductions import reduce_tensor
from torch.utils.data import Dataset

from noisycorrect import Votes
from noisycorrect.correction.known import KnownEvidence
from noisycorrect.data.batches import LabelView
from noisycorrect.data.datasets import ArrayDataset
from noisycorrect.labels import SoftLabelStore


def move(*tensors: torch.Tensor) -> None:
    """Send tensors as a worker gets them, and use what memory they had for something else."""
    for tensor in tensors:
        reduce_tensor(tensor)
    del tensors
    _ = [torch.full((60,), -9, dtype=torch.int64) for _ in range(200)]


@pytest.fixture
def unforked() -> Iterator[None]:
    """Let workers start as in Python 3.14."""
    fork_server()
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("forkserver", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


class Pictures(Dataset):
    """A data set whose targets are a tensor, which moves with it."""

    def __init__(self) -> None:
        self.inputs, self.targets, _ = blobs(60)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index):
        return self.inputs[index], self.targets[index]


def test_what_a_view_compares_with_is_its_own() -> None:
    labels = torch.arange(60) % 3
    view = LabelView(ArrayDataset(torch.zeros(60, 2), labels), None, seed=0, expected=np.asarray(labels))
    move(labels)
    assert view.expected is not None
    assert view.expected.tolist() == [0, 1, 2] * 20


@pytest.mark.parametrize("kind", ["classification", "multilabel", "tokens"])
def test_a_store_keeps_labels_of_its_own(kind: str) -> None:
    labels = torch.arange(60) % 3 if kind == "classification" else (torch.arange(180).reshape(60, 3) % 2)
    given = list(labels) if kind == "tokens" else labels
    store = SoftLabelStore.create(None, given, 3, kind=kind)
    wanted = labels.clone()
    if kind == "classification":
        clean = store.kind.checked_clean(labels, 3, 60, "clean_labels")
    move(*(given if kind == "tokens" else [labels]))
    assert torch.equal(store.kind.tensor(np.arange(60)), wanted)
    if kind == "classification":
        assert clean.tolist() == wanted.tolist()


def test_votes_and_known_evidence_are_their_own() -> None:
    table = torch.tensor([[0, 1], [1, 1], [2, 0]]).repeat(20, 1)
    probs = torch.eye(3).repeat(20, 1)
    votes, known = Votes.from_table(table), KnownEvidence(probs)
    counts = votes.counts().copy()
    wanted = probs.clone()
    reduce_tensor(table)
    reduce_tensor(probs)
    table.fill_(1)
    probs.fill_(7.0)
    assert np.array_equal(votes.counts(), counts)
    assert torch.equal(known.probs, wanted)


@pytest.mark.usefixtures("unforked")
def test_a_run_whose_workers_are_not_forked_reads_the_labels_that_it_was_given() -> None:
    data, settings = Pictures(), {"recipe": "ce", "epochs": 2}
    wanted = data.targets.clone()
    alone = corrector(**settings).fit(data)
    result = corrector(**settings, num_workers=1).fit(data, clean_labels=data.targets)
    assert_equal_runs(result, alone)
    assert torch.equal(torch.tensor(result.labels.given()), wanted)
