"""Checkpoints, details, histories and weights that somebody crafted."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.soaks.hostile import bad_input
from benchmarks.soaks.hostile_stores import PLACES, TEXTS
from benchmarks.soaks.work import WORKS
from noisycorrect import CorrectionResult
from noisycorrect.saved.details import CHECKPOINT, DETAILS, HISTORY
from noisycorrect.support.checkpoint import load_checkpoint, save_checkpoint
from noisycorrect.support.checksums import SEAL, file_digest, sealed

CLASSES = WORKS["classes"]


def run_of(folder: Path) -> Path:
    """Make a small run, and return its folder."""
    import shutil

    if _MADE is not None and _MADE.exists():
        shutil.copytree(_MADE, folder / "run")
    else:
        CLASSES.fit(folder / "run", "auto")
    return folder / "run"


_MADE: Path | None = None


def use_run(made: Path | None) -> None:
    """Copy this finished run of the work "classes" from now on, instead of making one each time."""
    global _MADE
    _MADE = made


def saved_of(folder: Path, weights: str) -> Path:
    """Make a saved result, and return its folder."""
    CorrectionResult.load(run_of(folder), CLASSES.network()).save(folder / "saved", weights=weights)
    return folder / "saved"


def go_on(run: Path) -> None:
    """Go on with a run."""
    CLASSES.fit(run, "auto")


def load(folder: Path) -> None:
    """Load a result."""
    CorrectionResult.load(folder, CLASSES.network())


# ---------------------------------------------------------------- checkpoints


def _set(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content | fields


def _without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda content: {key: value for key, value in content.items() if key != name}


def _student(change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], Any]:
    def craft(content: dict[str, Any]) -> dict[str, Any]:
        state = dict(content["student"])
        state["0.weight"] = change(state["0.weight"])
        return content | {"student": state}

    return craft


def _deep(content: dict[str, Any]) -> dict[str, Any]:
    value: Any = 0
    for _ in range(5000):
        value = [value]
    return content | {"settings": value}


CONTENTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    **{f"without {name}": _without(name) for name in ("settings", "epoch", "generation", "student", "aggregate",
       "optimizer", "scheduler", "scaler", "correction", "objective", "history", "loss", "stopped", "callbacks")},
    "history of null": _set(history=None),
    "history of a text": _set(history="good"),
    "history of lists": _set(history=[[1]]),
    "history with a tensor": _set(history=[{"loss": torch.zeros(3)}]),
    "settings of null": _set(settings=None),
    "settings of a list": _set(settings=[1]),
    "settings that are deep": _deep,
    "an epoch of a text": _set(epoch="last"),
    "an epoch of null": _set(epoch=None),
    "a generation of 99": _set(generation=99),
    "a generation of -1": _set(generation=-1),
    "a generation of a text": _set(generation="one"),
    "another run": _set(run="0" * 16),
    "a student of null": _set(student=None),
    "a student of a list": _set(student=[1, 2]),
    "a student with numbers for names": _set(student={1: torch.zeros(2)}),
    "an aggregate of a number": _set(aggregate=5),
    "an optimizer of null": _set(optimizer=None),
    "an optimizer of a list": _set(optimizer=[1]),
    "a scheduler of a number": _set(scheduler=5),
    "callbacks of null": _set(callbacks=None),
    "weights with NaN": _student(lambda weight: weight * float("nan")),
    "weights with infinity": _student(lambda weight: weight + float("inf")),
    "weights of whole numbers": _student(lambda weight: weight.int()),
    "weights of float64": _student(lambda weight: weight.double()),
    "weights of another shape": _student(lambda weight: weight[:, :1]),
    "weights that are a text": _student(lambda weight: "heavy"),
    "weights that are sparse": _student(lambda weight: weight.to_sparse()),
    "weights declared by the billion": _student(lambda weight: torch.zeros(1).expand(10**6, 10**6)),
}  # fmt: skip


def _attempt_content(craft: Callable[[dict[str, Any]], Any], folder: Path) -> None:
    run = run_of(folder)
    save_checkpoint(run / CHECKPOINT, craft(load_checkpoint(run / CHECKPOINT)))
    go_on(run)


for _name, _craft in CONTENTS.items():
    bad_input("checkpoints", _name)(partial(_attempt_content, _craft))


class Code:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def _attempt_code(write: Callable[[Path, Any], None], read: Callable[[Path], Any], folder: Path) -> None:
    run = run_of(folder)
    trace = folder / "code-was-run"
    write(run / CHECKPOINT, {"format": "noisycorrect-checkpoint", "version": 1, "code": Code(trace)})
    try:
        read(run)
    finally:
        if trace.exists():
            raise AssertionError("code was run")


def _pickled(path: Path, content: Any) -> None:
    path.write_bytes(pickle.dumps(content))


def _legacy(path: Path, content: Any) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


for _name, _write in {
    "torch's": lambda path, content: torch.save(content, path), "torch's of old": _legacy, "Python's": _pickled
}.items():  # fmt: skip
    bad_input("checkpoints", f"a pickle of {_name} that runs code")(partial(_attempt_code, _write, go_on))
    bad_input("checkpoints", f"a pickle of {_name} that runs code, loaded")(partial(_attempt_code, _write, load))


def _module(path: Path) -> None:
    torch.save(nn.Linear(2, 3), path)


def _no_version(path: Path) -> None:
    torch.save({"format": "noisycorrect-checkpoint", "epoch": 3}, path)


def _version(value: Any) -> Callable[[Path], None]:
    return lambda path: torch.save({"format": "noisycorrect-checkpoint", "version": value}, path)


def _declares(path: Path) -> None:
    """Write an archive that says it unpacks to many GB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/data/0", bytes(2**26))
        archive.writestr("archive/version", "3\n")


def _no_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


FILES: dict[str, Callable[[Path], Any]] = {
    "a whole module": _module,
    "without a version": _no_version,
    "a version from the future": _version(99),
    "a version of a text": _version("one"),
    "a version of true": _version(True),
    "a version of null": _version(None),
    "a list": lambda path: torch.save([1, 2], path),
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
    "null": lambda path: torch.save(None, path),
    "another format": lambda path: torch.save({"format": "else", "version": 1}, path),
    "a text": lambda path: path.write_text("checkpoint", encoding="utf-8"),
    "empty": lambda path: path.write_bytes(b""),
    "an archive of nothing": lambda path: zipfile.ZipFile(path, "w").close(),
    "an archive that unpacks to a thousand times its size": _declares,
    "without its end": _no_end,
    "a pickle cut short": lambda path: path.write_bytes(pickle.dumps({"a": 1})[:-3]),
    "a pickle of endless opening": lambda path: path.write_bytes(b"\x80\x02" + b"]" * 20_000),
    **PLACES,
}


def _attempt_file(write: Callable[[Path], Any], read: Callable[[Path], Any], folder: Path) -> None:
    run = run_of(folder)
    write(run / CHECKPOINT)
    read(run)


for _name, _file in FILES.items():
    if _name == "a link to nothing":
        continue  # no checkpoint, and so a run that has labels without one
    bad_input("checkpoints", f"a file that is {_name}")(partial(_attempt_file, _file, go_on))
    bad_input("checkpoints", f"a file that is {_name}, loaded")(partial(_attempt_file, _file, load))


# ---------------------------------------------------------------- details, histories, weights of saved results


def _attempt_details(fields: dict[str, Any], folder: Path) -> None:
    saved = saved_of(folder, "torch")
    content = json.loads((saved / DETAILS).read_text(encoding="utf-8"))
    content.pop(SEAL)
    (saved / DETAILS).write_text(json.dumps(sealed(content | fields)), encoding="utf-8")
    load(saved)


DETAILS_FIELDS: dict[str, dict[str, Any]] = {
    "a version from the future": {"version": 99},
    "a version that is a list": {"version": [1]},
    "class names that are a text": {"class_names": "cat"},
    "class names that are numbers": {"class_names": [1, 2, 3]},
    "sample names that are a mapping": {"sample_names": {"a": 1}},
    "a network that is a text": {"network": "resnet"},
    "weights outside of the folder": {"weights": "../../etc/passwd"},
    "weights that are a number": {"weights": 5},
    "weights that are not there": {"weights": "other.pt"},
    "another run": {"run": "0" * 16},
    "files that are a list": {"files": [1]},
    "digests of other files": {"files": {"model.pt": "0" * 64, "history.json": "0" * 64}},
    "classes that are a text": {"num_classes": "three"},
}
for _name, _fields in DETAILS_FIELDS.items():
    bad_input("saved results", f"details with {_name}")(partial(_attempt_details, _fields))


def _layers(**config: Any) -> dict[str, Any]:
    return {"network": {"name": "Linear", "config": {"in_features": 2, "out_features": 3, "bias": True} | config}}


NETWORK_FIELDS: dict[str, dict[str, Any]] = {
    "null": {"network": None},
    "a list": {"network": [1]},
    "no layer": {"network": {}},
    "an unknown layer": {"network": {"name": "os.system", "config": {}}},
    "a layer of a billion outputs": _layers(out_features=10**9),
    "a layer of a text": _layers(in_features="many"),
    "a layer of an unknown argument": _layers(code="print(1)"),
    "layers that are a list": {"network": {"modules": 5}},
}


def _attempt_network(fields: dict[str, Any], folder: Path) -> None:
    saved = saved_of(folder, "torch")
    content = json.loads((saved / DETAILS).read_text(encoding="utf-8"))
    content.pop(SEAL)
    (saved / DETAILS).write_text(json.dumps(sealed(content | fields)), encoding="utf-8")
    CorrectionResult.load(saved)


for _name, _fields in NETWORK_FIELDS.items():
    bad_input("saved results", f"details of a network that is {_name}")(partial(_attempt_network, _fields))


def _attempt_json(name: str, text: bytes, folder: Path) -> None:
    saved = saved_of(folder, "torch")
    (saved / name).write_bytes(text)
    if name != DETAILS:
        _believe(saved, name)
    load(saved)


def _believe(saved: Path, name: str) -> None:
    content = json.loads((saved / DETAILS).read_text(encoding="utf-8"))
    content.pop(SEAL)
    content["files"][name] = file_digest(saved / name)
    (saved / DETAILS).write_text(json.dumps(sealed(content)), encoding="utf-8")


HISTORIES = {
    "null": b"null",
    "a mapping": b"{}",
    "lists": b"[[1]]",
    "texts": b'["a"]',
    "records of texts": b'[{"loss": "low"}]',
    "records of lists": b'[{"loss": [1]}]',
}
for _name, _text in {**TEXTS, **HISTORIES}.items():
    if _name not in ("a list",):
        bad_input("saved results", f"a history that is {_name}")(partial(_attempt_json, HISTORY, _text))
for _name, _text in TEXTS.items():
    bad_input("saved results", f"details that are {_name}")(partial(_attempt_json, DETAILS, _text))


def _attempt_weights(content: bytes | Callable[[Path], None], believed: bool, weights: str, folder: Path) -> None:
    name = {"torch": "model.pt", "safetensors": "model.safetensors"}[weights]
    saved = saved_of(folder, weights)
    if callable(content):
        content(saved / name)
    else:
        (saved / name).write_bytes(content)
    if believed:
        _believe(saved, name)
    load(saved)


def _safetensors(header: bytes, size: int | None = None) -> bytes:
    return (len(header) if size is None else size).to_bytes(8, "little") + header


_TENSOR = b'{"0.weight": {"dtype": "F32", "shape": [1000000, 1000000], "data_offsets": [0, 4000000000000]}}'
_WEIGHTS: dict[str, bytes] = {
    "empty": b"",
    "a text": b"weights",
    "a header by the billion": _safetensors(b"{}", 10**12),
    "a header of null": _safetensors(b"null"),
    "a header that is deep": _safetensors(b'{"a":' * 20_000),
    "tensors by the billion": _safetensors(_TENSOR),
    "no tensor": _safetensors(b"{}"),
}
if importlib.util.find_spec("safetensors") is not None:
    for _name, _content in _WEIGHTS.items():
        bad_input("saved results", f"safetensors: {_name}")(partial(_attempt_weights, _content, True, "safetensors"))
for _name, _content in _WEIGHTS.items():
    bad_input("saved results", f"torch: {_name}")(partial(_attempt_weights, _content, True, "torch"))
for _name, _change in PLACES.items():
    bad_input("saved results", f"weights that are {_name}")(partial(_attempt_weights, _change, False, "torch"))
