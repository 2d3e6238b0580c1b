"""Two processes write one store."""

from __future__ import annotations

import time
from pathlib import Path

import h5py
import numpy as np
import torch
from makers import KINDS, SAMPLES, advance, assert_whole, make_store, prediction
from spawn import run_processes

from noisycorrect.labels import SoftLabelStore
from noisycorrect.support import distributed
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError

SHAPES = {"classification": (1, 5), "segmentation": (1, 5, 40, 30)}


def work(folder: Path) -> dict[str, tuple[str, float]]:
    failures = {}
    for kind in KINDS:
        store = SoftLabelStore.open(folder / kind, writable=True)
        for number in (1, 2):
            with store.new_generation() as writer:
                for index in reversed(distributed.shard(SAMPLES)):
                    writer.write([index], prediction(kind, number)[[index]])
        began = time.monotonic()
        try:
            with store.new_generation() as writer:
                rows = distributed.shard(SAMPLES)
                writer.write(rows, prediction(kind, 3)[rows] * (1 + distributed.rank()))
        except NoisyCorrectError as error:
            failures[kind] = (f"{type(error).__name__}: {error}", time.monotonic() - began)
        assert store.generation == 2
        lonely = SoftLabelStore.open(folder / f"{kind}-lonely", writable=True)
        with lonely.new_generation() as writer:
            for index in distributed.shard(1):  # rank 0 has nothing
                writer.write([index], torch.full(SHAPES[kind], 0.2))
        lonely.rollback(0)
    return failures


def looked_at(folder: Path) -> list[int]:
    store = SoftLabelStore.open(folder, writable=True)
    with store.new_generation() as writer:
        writer.write(distributed.shard(30), torch.full((len(distributed.shard(30)), 2), 0.5))
        found = [int(row) for rows, _ in writer.written(most=7) for row in rows]
    return sorted(row for own in distributed.all_gather_objects(found) for row in own)


def test_the_samples_that_are_looked_at_do_not_depend_on_the_number_of_ranks(tmp_path: Path) -> None:
    for name in ("alone", "ranks"):
        SoftLabelStore.create(tmp_path / name, [0] * 30, 2).close()
    alone = looked_at(tmp_path / "alone")
    assert len(alone) == 7
    assert (alone[0], alone[-1]) == (0, 29)
    assert run_processes(looked_at, 2, tmp_path, tmp_path / "ranks") == [alone, alone]


def test_two_ranks_write_the_file_that_one_writes(tmp_path: Path) -> None:
    for kind in KINDS:
        make_store(tmp_path / kind, kind).close()
        given = [0] if kind == "classification" else [np.zeros((2, 2), np.uint8)]
        SoftLabelStore.create(tmp_path / f"{kind}-lonely", given, 5, kind=kind).close()
    failures = run_processes(work, 2, tmp_path, tmp_path)
    for kind in KINDS:
        alone = make_store(tmp_path / f"{kind}-alone", kind)
        advance(alone, 2)
        store = SoftLabelStore.open(tmp_path / kind)
        assert_whole(store, 2)
        for number in (1, 2):
            name = f"generation-{number:04d}.h5"
            with h5py.File(store.folder / name, locking=False) as merged, h5py.File(alone.folder / name) as single:
                assert set(merged) == set(single) == {"evidence", "evidence_checksums", "trust"}
                assert {**merged.attrs, "run": alone.run} == dict(single.attrs)
                for key in merged:
                    assert (merged[key].dtype, merged[key].chunks) == (single[key].dtype, single[key].chunks)
                    assert merged[key].compression == single[key].compression
                    np.testing.assert_array_equal(merged[key][()], single[key][()])
            files = {path.name for path in alone.folder.iterdir()}
        assert {path.name for path in store.folder.iterdir()} == files
        lonely = SoftLabelStore.open(tmp_path / f"{kind}-lonely")
        assert (lonely.generation, len(list(lonely.folder.iterdir()))) == (0, 3)
        # Rank 1 fails; rank 0 does not wait for it.
        for (message, seconds), expected in zip(
            (failure[kind] for failure in failures),
            (f"{NoisyCorrectError.__name__}: rank 1 failed with Inv", f"{InvalidInputError.__name__}: expected prob"),
            strict=True,
        ):
            assert message.startswith(expected)
            assert seconds < 10
