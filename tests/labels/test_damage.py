"""Stores that are damaged, foreign or from the future: one clear error, and nothing more is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from makers import CLASSES, KINDS, SAMPLES, advance, assert_whole, given_labels, make_store, prediction

from benchmarks.soaks.crafting import edit_manifest, edited
from noisycorrect.labels import SoftLabelStore, generation, reading
from noisycorrect.labels import manifest as manifest_module
from noisycorrect.labels.hdf5 import opened
from noisycorrect.support.errors import InvalidInputError, StaleGenerationError, StoreError


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SoftLabelStore:
    made = make_store(tmp_path / "labels", request.param)
    advance(made, 2)
    return made


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat files as if they were large: HDF5 reads them before all of their bytes are known to be right."""
    for module in (reading, generation):
        monkeypatch.setattr(module, "SMALL", -1)


def truncate(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("name", ["generation-0002.h5", "given.h5"])
def test_a_truncated_file(store: SoftLabelStore, name: str, share: float) -> None:
    truncate(store.folder / name, share)
    expected = "a whole HDF5 file at" if name.startswith("gen") else "given labels in"
    with pytest.raises(StoreError, match=f"{expected} .*{name}; got .*; to fix: restore"):
        SoftLabelStore.open(store.folder)


@pytest.mark.parametrize("name", ["generation-0002.h5", "given.h5"])
def test_bytes_are_looked_at_before_hdf5_reads_them(store: SoftLabelStore, name: str, monkeypatch: Any) -> None:
    """A block of zeros in the wrong place, and HDF5 never comes back."""
    path = store.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    for module in ("generation", "reading"):
        monkeypatch.setattr(f"noisycorrect.labels.{module}.opened", lambda found: pytest.fail(f"opened {found}"))
    if name == "generation-0002.h5":
        monkeypatch.setattr("noisycorrect.labels.reading.opened", opened)
    with pytest.raises(StoreError, match="its digest in the manifest does not fit"):
        SoftLabelStore.open(store.folder)


def test_the_generation_before_a_truncated_one_is_not_lost(store: SoftLabelStore) -> None:
    truncate(store.folder / "generation-0002.h5", 0.5)
    store.rollback(1)
    assert_whole(SoftLabelStore.open(store.folder), 1)


@pytest.mark.parametrize("damage", ["", "{", "[]", "\xff\xfe", '{"format": "other"}', "null"])
def test_a_manifest_that_is_none(store: SoftLabelStore, damage: str) -> None:
    (store.folder / "manifest.json").write_bytes(damage.encode("latin-1"))
    with pytest.raises(StoreError, match=r"manifest\.json; got .*; to fix"):
        SoftLabelStore.open(store.folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": 4}, "format version 3 or older .* got 4; to fix: upgrade noisycorrect"),
        ({"version": "1"}, "format version 3 or older .* got '1'"),
        ({"version": True}, "format version 3 or older .* got True"),
        ({"format": "zip"}, "got something else"),
        ({"current": 7}, "generation 7"),
        ({"length": "6"}, "fields of a label store"),
        ({"generations": 3}, "fields of a label store"),
        ({"codec": "zstd"}, "codec 'zstd'"),
        ({"kind": "audio"}, "kind 'audio'"),
        ({"evidence": "median"}, "evidence 'median'"),
        ({"colour": "red"}, "fields of a label store.*colour"),
        ({"length": 2**80}, "fields of a label store"),
        ({"generations": [2, 1]}, "fields of a label store.*generations .2, 1."),
        ({"momentum": None}, "fields of a label store.*momentum None"),
        ({"proofs": {"given.h5": 3}}, "fields of a label store"),
    ],
)
def test_a_manifest_with_wrong_fields(store: SoftLabelStore, fields: dict[str, Any], message: str) -> None:
    edit_manifest(store.folder, **fields)
    with pytest.raises(StoreError, match=message):
        SoftLabelStore.open(store.folder)
    with pytest.raises(StoreError, match=message):
        store.refresh()


def test_a_missing_field(store: SoftLabelStore) -> None:
    edit_manifest(store.folder, "fingerprint")
    with pytest.raises(StoreError, match="fingerprint"):
        SoftLabelStore.open(store.folder)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("manifest.json", StoreError, "a label store in .*; got no manifest.json; to fix: check the path"),
        ("given.h5", StoreError, "given labels in .*; to fix: restore them from a copy"),
        ("generation-0002.h5", StaleGenerationError, r"file generation-0002\.h5; got no such file"),
    ],
)
def test_a_missing_file(store: SoftLabelStore, name: str, error: type[StoreError], message: str) -> None:
    (store.folder / name).unlink()
    with pytest.raises(error, match=message):
        SoftLabelStore.open(store.folder)


def foreign(folder: Path, kind: str, change: str) -> SoftLabelStore:
    labels, classes = given_labels(kind), CLASSES
    if change == "classes":
        classes += 1
    elif kind == "classification":
        labels = labels[::-1].copy()
    else:
        labels = [each if each is None else 4 - each for each in labels]
    made = SoftLabelStore.create(folder, labels, classes, kind=kind)
    for number in (1, 2):
        with made.new_generation() as writer:
            probs = torch.nn.functional.pad(prediction(kind, number).transpose(1, -1), (0, classes - CLASSES))
            writer.write(range(SAMPLES), probs.transpose(1, -1))
    return made


@pytest.mark.parametrize("change", ["labels", "classes"])
@pytest.mark.usefixtures("large")
def test_a_file_of_another_store(store: SoftLabelStore, tmp_path: Path, change: str) -> None:
    other = foreign(tmp_path / "other", store.kind.name, change)
    messages = {"generation-0002.h5": r"(num_classes|fingerprint) .* in .*generation-0002\.h5; got .* of another store"}
    if change == "labels":
        messages["given.h5"] = r"given labels in .*given\.h5; got those of another run, '[0-9a-f]{16}'; to fix"
    for name, message in messages.items():
        kept = (store.folder / name).read_bytes()
        shutil.copyfile(other.folder / name, store.folder / name)
        with pytest.raises(StoreError, match=message):
            SoftLabelStore.open(store.folder)
        (store.folder / name).write_bytes(kept)
    assert_whole(SoftLabelStore.open(store.folder), 2)


@pytest.mark.usefixtures("large")
def test_the_file_of_another_generation(store: SoftLabelStore) -> None:
    shutil.copyfile(store.folder / "generation-0001.h5", store.folder / "generation-0002.h5")
    with pytest.raises(StoreError, match=r"generation 2 in .*; got .*1"):
        SoftLabelStore.open(store.folder)


def test_a_rule_of_trust_that_nobody_knows(store: SoftLabelStore) -> None:
    with edited(store.folder / "generation-0002.h5") as file:
        file.attrs["pixel_trust"] = "oracle"
    with pytest.raises(StoreError, match=r"a whole HDF5 file at .*generation-0002\.h5; got .*'oracle'"):
        SoftLabelStore.open(store.folder)


@pytest.mark.usefixtures("large")
def test_an_hdf5_file_of_something_else(store: SoftLabelStore) -> None:
    with h5py.File(store.folder / "generation-0002.h5", "w") as file:
        file["rows"] = [1]
    with pytest.raises(StoreError, match=r"generation 2 in .*; got None"):
        SoftLabelStore.open(store.folder)


def test_check_given_tells_data_sets_apart(store: SoftLabelStore) -> None:
    labels = given_labels(store.kind.name)
    store.check_given(labels)
    store.check_given(labels, CLASSES)
    with pytest.raises(StoreError, match=r"6 given labels .* in the data set of 5 samples; to fix: .*same order"):
        store.check_given(labels[:-1])
    with pytest.raises(StoreError, match=r"fingerprint .* in the data set of 6 samples"):
        store.check_given([*labels[1:], labels[0]])
    with pytest.raises(StoreError, match=r"a label store of 9 classes .*; got one of 5; to fix"):
        store.check_given(labels, 9)
    with pytest.raises(InvalidInputError, match="got 5"):
        store.check_given(np.array([5] * 6) if store.kind.name == "classification" else [np.full((2, 2), 5)])


@pytest.mark.usefixtures("large")
def test_rotten_bytes_in_a_chunk_and_in_a_mask(tmp_path: Path) -> None:
    store = make_store(tmp_path / "labels", "segmentation")
    advance(store)
    with h5py.File(store.folder / "generation-0001.h5", "r") as file:
        chunk = file["evidence"].id.get_chunk_info(1)
    with h5py.File(store.folder / "given.h5", "r") as file:
        masks = file["compressed"].id.get_offset()
    for name, offset in (("generation-0001.h5", chunk.byte_offset), ("given.h5", masks)):
        content = bytearray((store.folder / name).read_bytes())
        content[offset + 10 : offset + 60] = bytes(50)
        (store.folder / name).write_bytes(content)
    again = SoftLabelStore.open(store.folder)
    with pytest.raises(StoreError, match=r"a whole HDF5 file at .*generation-0001\.h5; got .*; to fix: restore"):
        again.evidence(1)
    with pytest.raises(StoreError, match=r"the given mask of sample 0; got .*; to fix: restore"):
        again.given(0)
    again.evidence(0)
    again.given(1)


# -------------------------------------------------------------------- creating


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "clasification"}, "did you mean 'classification'"),
        ({"evidence": "avg"}, "known evidence rule; got 'avg'"),
        ({"codec": "uint8"}, "known codec"),
        ({"momentum": 1.0}, r"momentum in \[0, 1\)"),
        ({"momentum": float("nan")}, "momentum"),
        ({"keep": 1}, "keep to be a whole number >= 2; got 1"),
        ({"keep": 2.5}, "keep to be a whole number >= 2; got 2.5"),
        ({"num_classes": 1}, "num_classes >= 2"),
        ({"num_classes": 4}, "num_classes=5"),
    ],
)
def test_bad_arguments_make_no_folder(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SoftLabelStore.create(tmp_path / "new", **{"given": [0, 4], "num_classes": 5, **options})
    assert not (tmp_path / "new").exists()


def test_numpy_integers_are_integers(tmp_path: Path) -> None:
    labels = np.array([0, 3])
    store = SoftLabelStore.create(tmp_path / "new", labels, labels.max() + 1)
    assert SoftLabelStore.open(store.folder).num_classes == 4


def test_a_folder_in_use_or_in_the_way(store: SoftLabelStore, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in store.folder.iterdir()}
    with pytest.raises(StoreError, match=r"new or empty folder .* open the store that is there"):
        make_store(store.folder, store.kind.name)
    assert {path.name: path.read_bytes() for path in store.folder.iterdir()} == before
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match=r"to write into .*file"):
            make_store(folder, store.kind.name)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_start_that_was_cut_short_can_be_repeated(store: SoftLabelStore, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    folder.mkdir()
    shutil.copyfile(store.folder / "given.h5", folder / "given.h5")
    (folder / ".given.h5.part").write_bytes(b"half")
    assert_whole(make_store(folder, store.kind.name), 0)


# -------------------------------------------------------------------- a disk that fails at the worst moment


@pytest.mark.parametrize("step", ["save", "publish"])
def test_a_failure_to_publish(store: SoftLabelStore, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    def names() -> set[str]:
        return {path.name for path in store.folder.iterdir()}

    before = names()
    with monkeypatch.context() as patch:
        if step == "save":
            patch.setattr(manifest_module, "write_json", full)
        else:
            patch.setattr("noisycorrect.labels.store.publish", full)
        attempts: list[Callable[[], object]] = [lambda: advance(store)]
        if step == "save":
            attempts.append(lambda: store.rollback(1))
        for attempt in attempts:
            with pytest.raises(StoreError, match=r"to write into .*; got .*No space left .*; to fix: free space"):
                attempt()
            assert names() == before
            assert_whole(store, 2)
    advance(store)
    assert_whole(SoftLabelStore.open(store.folder), 3)


def test_opening_for_writing_removes_what_a_killed_process_left(store: SoftLabelStore) -> None:
    (store.folder / ".thesis.part").write_bytes(b"somebody else's")
    before = {path.name for path in store.folder.iterdir()}
    for name in (
        ".generation-0003.rank1.part",
        ".manifest.json.12-0123abcd.part",
        "generation-0003.h5",
        "generation-0000.h5",
    ):
        (store.folder / name).write_bytes(b"left")
    SoftLabelStore.open(store.folder)
    assert len(list(store.folder.iterdir())) == len(before) + 4
    assert_whole(SoftLabelStore.open(store.folder, writable=True), 2)
    assert {path.name for path in store.folder.iterdir()} == before
