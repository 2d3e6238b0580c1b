"""Reading from a DataLoader's workers, which live on while generations come and go."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from makers import KINDS, SAMPLES, advance, expected_evidence, make_store, prediction, tolerance
from spawn import fork_server
from torch.utils.data import DataLoader, Dataset

from noisycorrect.labels import SoftLabelStore


class Reading(Dataset[Any]):
    """Items that say what a worker sees."""

    def __init__(self, store: SoftLabelStore) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, index: int) -> dict[str, Any]:
        generation = self.store.generation
        probs = torch.zeros(1)
        if generation:
            probs = self.store.codec.decode(torch.from_numpy(self.store.code(index)))[0]
        return {"index": index, "generation": generation, "probs": probs, "trust": self.store.trust(index).weight[0]}


def assert_epoch(loader: DataLoader[Any], store: SoftLabelStore, expected: np.ndarray | None) -> None:
    seen = []
    for batch in loader:
        assert batch["generation"].tolist() == [store.generation] * len(batch["index"])
        assert torch.equal(batch["trust"], store.trust(batch["index"]).weight)
        if expected is not None:
            rows = expected[batch["index"]]
            np.testing.assert_allclose(batch["probs"], rows, rtol=0, atol=tolerance(store, store.generation))
        seen += batch["index"].tolist()
    assert seen == list(range(SAMPLES))


@pytest.mark.parametrize(
    ("kind", "method"), [("classification", "fork"), ("segmentation", "fork"), ("segmentation", "forkserver")]
)
def test_persistent_workers_follow_the_generations(kind: str, method: str, tmp_path: Path) -> None:
    store = make_store(tmp_path / "labels", kind)
    context = fork_server() if method == "forkserver" else multiprocessing.get_context(method)
    loader = DataLoader(
        Reading(store), batch_size=2, num_workers=2, persistent_workers=True, multiprocessing_context=context
    )
    assert_epoch(loader, store, None)
    for number in (1, 2):
        advance(store)
        assert_epoch(loader, store, expected_evidence(kind, number))
    # Back, and again under the same number, while the workers still hold the old file.
    store.rollback(1)
    with store.new_generation() as writer:
        writer.write(range(SAMPLES), prediction(kind, 9))
    expected = (prediction(kind, 1) + prediction(kind, 9)).numpy() / 2
    assert_epoch(loader, store, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_workers_forked_while_a_generation_is_written_do_it_no_harm(kind: str, tmp_path: Path) -> None:
    store = make_store(tmp_path / "labels", kind)
    advance(store)
    store.evidence(0)  # a handle is open
    loader: DataLoader[Any] = DataLoader(Reading(store), batch_size=2, num_workers=2, multiprocessing_context="fork")
    with store.new_generation() as writer:
        for batch in loader:
            np.testing.assert_allclose(batch["probs"], store.evidence(batch["index"]))
            writer.write(batch["index"], prediction(kind, 2)[batch["index"]])
    again = SoftLabelStore.open(store.folder)
    assert again.generation == 2
    np.testing.assert_allclose(again.evidence(), expected_evidence(kind, 2), rtol=0, atol=tolerance(store, 2))
