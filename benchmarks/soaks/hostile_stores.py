"""Label stores that somebody crafted; their digests fit, so that nothing but their content can tell."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.soaks.crafting import believe, edit_manifest, edited
from benchmarks.soaks.hostile import bad_input
from noisycorrect import SoftLabelStore
from noisycorrect.labels.header import CHECKSUMS, EVIDENCE
from noisycorrect.saved.check import check_folder
from noisycorrect.support.checksums import row_checksums
from noisycorrect.support.errors import StoreError

SAMPLES, CLASSES = 6, 3
GENERATION = "generation-0001.h5"


def _given(kind: str) -> Any:
    rng = np.random.default_rng(0)
    if kind == "classification":
        return [0, 1, 2, 0, 1, -1]
    if kind == "multilabel":
        return rng.integers(0, 2, (SAMPLES, CLASSES))
    if kind == "tokens":
        return [rng.integers(0, CLASSES, 2 + index % 3) for index in range(SAMPLES)]
    return [rng.integers(0, CLASSES, (40, 30)).astype(np.uint8) for _ in range(SAMPLES)]


SHAPES = {"classification": (), "multilabel": (), "tokens": (4,), "segmentation": (40, 30)}


def store_of(folder: Path, kind: str) -> Path:
    """Make a store of one generation, and return its folder."""
    store = SoftLabelStore.create(folder / "labels", _given(kind), CLASSES, kind=kind)
    probs = torch.randn(SAMPLES, CLASSES, *SHAPES[kind], generator=torch.Generator().manual_seed(0)).softmax(1)
    with store.new_generation() as writer:
        writer.write(range(SAMPLES), probs)
    store.close()
    return store.folder


def read_all(folder: Path) -> None:
    """Open a store and read everything."""
    store = SoftLabelStore.open(folder)
    store.refined(), store.labels(), store.trust(), store.held_out(), store.expected_rate(), store.given()


def _replaced(file: Any, name: str, data: Any, **options: Any) -> None:
    del file[name]
    file.create_dataset(name, data=data, **options)


def _evidence(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], None]:
    """Exchange the evidence, with checksums that fit."""

    def craft(file: Any) -> None:
        code = change(file[EVIDENCE][()])
        options = {"chunks": (1, *code.shape[1:]), "compression": "gzip"} if code.ndim > 2 and len(code) else {}
        _replaced(file, EVIDENCE, code, **options)
        _replaced(file, CHECKSUMS.format(EVIDENCE), row_checksums(code))

    return craft


def _value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(code: np.ndarray) -> np.ndarray:
        code = code.copy()
        code[1, 0] = value
        return code

    return change


def _declared(name: str, shape: tuple[int, ...], dtype: Any, chunks: Any = True) -> Callable[[Any], None]:
    """Declare a data set of a size that nothing was written of."""

    def craft(file: Any) -> None:
        del file[name]
        file.create_dataset(name, shape, dtype, chunks=chunks)

    return craft


def _external_link(name: str) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        import h5py

        del file[name]
        file[name] = h5py.ExternalLink("/etc/hostname", "/rows")

    return craft


def _soft_link(name: str) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        import h5py

        del file[name]
        file[name] = h5py.SoftLink(f"/{name}")

    return craft


def _external_numbers(name: str) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        shape, dtype = file[name].shape, file[name].dtype
        del file[name]
        file.create_dataset(name, shape, dtype, external=[("/etc/passwd", 0, 2**20)])

    return craft


def _virtual(name: str) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        import h5py

        layout = h5py.VirtualLayout(file[name].shape, file[name].dtype)
        layout[...] = h5py.VirtualSource("/etc/passwd", "rows", file[name].shape)
        del file[name]
        file.create_virtual_dataset(name, layout)

    return craft


def _group(name: str) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        del file[name]
        file.create_group(name)

    return craft


def _gone(name: str) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        del file[name]

    return craft


def _attribute(name: str, value: Any) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        file.attrs[name] = value

    return craft


def _trust(change: Callable[[np.ndarray], Any]) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        _replaced(file, "trust", change(file["trust"][()]))

    return craft


def _added(name: str, data: Any) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        file.create_dataset(name, data=data)

    return craft


CRAFTS: dict[str, Callable[[Any], None]] = {
    "evidence of whole numbers": _evidence(lambda code: code.astype(np.int32)),
    "evidence of float64": _evidence(lambda code: code.astype(np.float64)),
    "evidence of complex numbers": _evidence(lambda code: code.astype(np.complex64)),
    "too few rows of evidence": _evidence(lambda code: code[:-1]),
    "too many rows of evidence": _evidence(lambda code: np.concatenate([code, code[:1]])),
    "no row of evidence": _evidence(lambda code: code[:0]),
    "evidence about another K": _evidence(lambda code: code[:, :-1]),
    "evidence with a dimension more": _evidence(lambda code: code[..., None]),
    "evidence of zeros": _evidence(np.zeros_like),
    "evidence by the billion rows": _declared(EVIDENCE, (10**10, CLASSES), np.float32, (1, CLASSES)),
    "evidence in chunks of a GB": _declared(EVIDENCE, (6, 3, 2**15, 2**15), np.float32, (1, 3, 2**13, 2**13)),
    "evidence behind an external link": _external_link(EVIDENCE),
    "evidence behind a circular link": _soft_link(EVIDENCE),
    "evidence in another file": _external_numbers(EVIDENCE),
    "evidence in a virtual data set": _virtual(EVIDENCE),
    "evidence that is a group": _group(EVIDENCE),
    "no evidence": _gone(EVIDENCE),
    "trust of 2.5": _trust(lambda trust: trust + np.float32(2.5)),
    "trust of -1": _trust(lambda trust: trust - np.float32(1.5)),
    "trust of NaN": _trust(lambda trust: trust * np.float32("nan")),
    "trust of float64": _trust(lambda trust: trust.astype(np.float64)),
    "trust of strings": _trust(lambda trust: np.array([b"much"] * len(trust))),
    "trust of too few": _trust(lambda trust: trust[:-1]),
    "trust of a table": _trust(lambda trust: np.stack([trust, trust])),
    "trust by the billion": _declared("trust", (10**11,), np.float32, (2**20,)),
    "trust behind an external link": _external_link("trust"),
    "no trust": _gone("trust"),
    "no checksums": _gone(CHECKSUMS.format(EVIDENCE)),
    "a floor of NaN": _added("class_trust", np.full(CLASSES, np.nan, np.float32)),
    "a floor of another K": _added("class_trust", np.zeros(CLASSES + 1, np.float32)),
    "a floor above 1": _added("class_trust", np.full(CLASSES, 7, np.float32)),
    "held out of numbers": _added("held_out", np.arange(SAMPLES)),
    "held out of too few": _added("held_out", np.zeros(2, bool)),
    "an expected rate of NaN": _attribute("expected_rate", float("nan")),
    "an expected rate of 3": _attribute("expected_rate", 3.0),
    "an expected rate that is a text": _attribute("expected_rate", "high"),
    "an unknown rule": _attribute("pixel_trust", "oracle"),
    "a rule that is a number": _attribute("pixel_trust", 5),
    "another generation": _attribute("generation", 7),
    "a generation that is a list": _attribute("generation", [1, 1]),
    "another run": _attribute("run", "0000000000000000"),
    "another codec": _attribute("codec", "sqrt-uint6"),
    "another fingerprint": _attribute("fingerprint", "0" * 64),
}  # fmt: skip
FLOATING = {
    "evidence with NaN": _evidence(_value(float("nan"))),
    "evidence with infinity": _evidence(_value(float("inf"))),
    "evidence below 0": _evidence(_value(-0.5)),
    "evidence of 7": _evidence(_value(7.0)),
}


def _attempt_generation(kind: str, craft: Callable[[Any], None], folder: Path) -> None:
    labels = store_of(folder, kind)
    with edited(labels / GENERATION) as file:
        craft(file)
    read_all(labels)


for _kind in SHAPES:
    for _name, _craft in {**CRAFTS, **(FLOATING if _kind != "segmentation" else {})}.items():
        if _name == "evidence of zeros" and _kind == "multilabel":
            continue  # which are probabilities there
        bad_input(f"generations, {_kind}", _name)(partial(_attempt_generation, _kind, _craft))


# ---------------------------------------------------------------- given labels


def _attempt_given(kind: str, craft: Callable[[Any], None], folder: Path) -> None:
    labels = store_of(folder, kind)
    with edited(labels / "given.h5") as file:
        craft(file)
    read_all(labels)


def _named(name: str, change: Callable[[np.ndarray], Any]) -> Callable[[Any], None]:
    def craft(file: Any) -> None:
        _replaced(file, name, change(file[name][()]))

    return craft


ARRAYS: dict[str, Callable[[str], Callable[[Any], None]]] = {
    "by the billion": lambda name: _declared(name, (10**11,), np.int64, (2**20,)),
    "behind an external link": _external_link,
    "in another file": _external_numbers,
    "in a virtual data set": _virtual,
    "that are a group": _group,
    "that are gone": _gone,
    "fewer": lambda name: _named(name, lambda values: values[:-1]),
    "of strings": lambda name: _named(name, lambda values: np.array([b"cat"] * len(values))),
    "out of range": lambda name: _named(name, lambda values: values + 100),
}
for _kind, _name in (("classification", "given"), ("multilabel", "given"), ("tokens", "given"), ("tokens", "lengths"),
                     ("segmentation", "shapes"), ("segmentation", "ends"), ("segmentation", "compressed")):  # fmt: skip
    for _how, _make in ARRAYS.items():
        if (_name, _how) != ("compressed", "out of range"):
            bad_input(f"given labels, {_kind}", f"{_name} {_how}")(partial(_attempt_given, _kind, _make(_name)))


@bad_input("given labels, segmentation", "a mask that unpacks to a thousand times its size")
def _bomb(folder: Path) -> None:
    import zlib

    labels = store_of(folder, "segmentation")
    blob = np.frombuffer(zlib.compress(bytes(2**26)), np.uint8)
    with edited(labels / "given.h5") as file:
        _replaced(file, "compressed", blob)
        _replaced(file, "ends", np.full(SAMPLES, len(blob)))
    read_all(labels)


# ---------------------------------------------------------------- the manifest

FIELDS: dict[str, dict[str, Any]] = {
    "a version from the future": {"version": 99},
    "a version of 0": {"version": 0},
    "a version that is true": {"version": True},
    "a version that is a list": {"version": [3]},
    "another format": {"format": "zip"},
    "a length by the billion": {"length": 10**12},
    "a negative length": {"length": -6},
    "a length of 0": {"length": 0},
    "a length that is a text": {"length": "6"},
    "a length that is a fraction": {"length": 6.5},
    "one class": {"num_classes": 1},
    "classes by the billion": {"num_classes": 10**12},
    "an unknown kind": {"kind": "audio"},
    "a kind that is a list": {"kind": ["classification"]},
    "another kind": {"kind": "multilabel"},
    "an unknown codec": {"codec": "zstd"},
    "a codec that is a mapping": {"codec": {"name": "float32"}},
    "an unknown rule of evidence": {"evidence": "median"},
    "a momentum of 2": {"momentum": 2},
    "a momentum that is null": {"momentum": None},
    "a generation that is not there": {"current": 7},
    "a current generation of null": {"current": None},
    "generations twice": {"generations": [1, 1]},
    "generations that are a number": {"generations": 1},
    "generations that are null": {"generations": None},
    "a generation below 0": {"generations": [-1, 1]},
    "keep of 0": {"keep": 0},
    "keep of a text": {"keep": "all"},
    "a frame of a text": {"frame": "large"},
    "a frame of negative sides": {"frame": [-5, 9]},
    "a fingerprint of null": {"fingerprint": None},
    "a run that is a number": {"run": 5},
    "proofs that are a list": {"proofs": [1]},
    "a proof with another field": {"proofs": {"given.h5": {"md5": "0"}}},
    "a field that nobody knows": {"colour": "red"},
}


def _attempt_manifest(fields: dict[str, Any], folder: Path) -> None:
    labels = store_of(folder, "classification")
    edit_manifest(labels, **fields)
    read_all(labels)


for _name, _fields in FIELDS.items():
    bad_input("manifests", _name)(partial(_attempt_manifest, _fields))

TEXTS: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "a number": b"3",
    "a list": b"[]",
    "cut short": b'{"format": "noisycorrect-labels",',
    "no UTF-8": b"\xff\xfe\x00",
    "lists within lists, 100,000 deep": b"[" * 100_000,
    "mappings within mappings, 100,000 deep": b'{"a":' * 100_000,
    "a number of a million digits": b'{"format": "noisycorrect-labels", "version": ' + b"9" * 1_000_000 + b"}",
    "NaN": b"NaN",
}


def _attempt_text(text: bytes, folder: Path) -> None:
    labels = store_of(folder, "classification")
    (labels / "manifest.json").write_bytes(text)
    read_all(labels)


for _name, _text in TEXTS.items():
    bad_input("manifests", f"a file that is {_name}")(partial(_attempt_text, _text))


@bad_input("manifests", "a manifest that its digest does not fit")
def _by_hand(folder: Path) -> None:
    labels = store_of(folder, "classification")
    path = labels / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "length": 5}), encoding="utf-8")
    read_all(labels)


# ---------------------------------------------------------------- files that are none


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


PLACES = {
    "a pipe": _pipe,
    "a folder": _folder,
    "a link to itself": _loop,
    "a device": _device,
    "a link to nothing": _nothing,
}


def _attempt_place(name: str, change: Callable[[Path], None], read: Callable[[Path], Any], folder: Path) -> None:
    labels = store_of(folder, "classification")
    change(labels / name)
    found = read(labels)
    if read is check_folder and not found.whole:
        raise StoreError("a whole store", got=found.findings[0].detail or "a damaged one", fix="restore it")


for _file in ("manifest.json", "given.h5", GENERATION):
    for _name, _change in PLACES.items():
        bad_input("files", f"{_file} is {_name}")(partial(_attempt_place, _file, _change, read_all))
        bad_input("files", f"check: {_file} is {_name}")(partial(_attempt_place, _file, _change, check_folder))


@bad_input("files", "a generation of text that the manifest believes")
def _believed(folder: Path) -> None:
    labels = store_of(folder, "classification")
    (labels / GENERATION).write_text("no HDF5", encoding="utf-8")
    believe(labels / GENERATION)
    read_all(labels)
