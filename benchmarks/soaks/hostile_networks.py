"""Files of network weights that are none, are damaged or were made to do harm, before every reader of such files."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.soaks.hostile import bad_input
from benchmarks.soaks.hostile_checkpoints import FILES, Code
from benchmarks.soaks.hostile_stores import PLACES
from noisycorrect.support.checkpoint import save_checkpoint
from noisycorrect_seg import ACE2P
from noisycorrect_seg.ace2p import load_imagenet
from noisycorrect_seg.classes import PASCAL
from noisycorrect_seg.cli import load_network
from noisycorrect_seg.deploy import OnnxNetwork
from noisycorrect_seg.detection import PersonDetector

ROOM = "network weights"
SMALL: dict[str, Any] = {"backbone": "resnet18", "width": 0.125}


def _imagenet(path: Path) -> None:
    load_imagenet(ACE2P(7, **SMALL), path)


READERS: dict[str, Callable[[Path], Any]] = {
    "ACE2P.load": ACE2P.load,
    "ACE2P.from_pretrained": ACE2P.from_pretrained,
    "ACE2P.from_official": ACE2P.from_official,
    "a backbone": _imagenet,
    "a detector": PersonDetector.load,
    "the command": load_network,
}


def _ours(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Return what writes a network of ours, changed."""

    def write(path: Path) -> None:
        ACE2P(7, **SMALL).save(path, classes=PASCAL, size=(64, 48))
        content = torch.load(path, weights_only=True)
        save_checkpoint(
            path, change({key: value for key, value in content.items() if key not in ("format", "version")})
        )

    return write


def _config(**fields: Any) -> Callable[[Path], None]:
    return _ours(lambda content: content | {"config": content["config"] | fields})


def _state(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return _ours(lambda content: content | {"state": change(dict(content["state"]))})


def _first(value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda state: state | {next(iter(state)): value}


def _cut(path: Path) -> None:
    ACE2P(7, **SMALL).save(path)
    path.write_bytes(path.read_bytes()[:-20])


NETWORKS: dict[str, Callable[[Path], Any]] = {
    "without its end": _cut,
    "a network without weights": _state(lambda state: {}),
    "a network of weights of null": _ours(lambda content: content | {"state": None}),
    "a network of a weight of another shape": _state(_first(torch.zeros(1))),
    "a network of a weight declared by the billion": _state(_first(torch.zeros(1).expand(10**9))),
    "a network of classes that are a number": _ours(lambda content: content | {"details": {"classes": 5}}),
    "a network of a size that is a text": _ours(lambda content: content | {"details": {"size": "large"}}),
    "a network of details that are a list": _ours(lambda content: content | {"details": [1]}),
    "a network of a weight that is a text": _state(_first("heavy")),
    "a network of weights with numbers for names": _state(lambda state: {1: torch.zeros(2)}),
    "a network without a configuration": _ours(lambda content: content | {"config": None}),
    "a network of an unknown backbone": _config(backbone="resnet9000"),
    "a network of an unknown argument": _config(depth=3),
    "a network of no classes": _config(num_classes=0),
    "a network of a billion classes": _config(num_classes=10**9),
    "a network of a billion channels": _config(width=1e7),
    "a network of a width of a text": _config(width="wide"),
    "three bytes": lambda path: path.write_bytes(b"abc"),
    "a number": lambda path: torch.save(3, path),
    "a state dict of nothing": lambda path: torch.save({}, path),
    "a state dict of another network": lambda path: torch.save(nn.Linear(2, 3).state_dict(), path),
    "a picture": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100)),
    "a page that says to log in": lambda path: path.write_text("<!doctype html><html>please log in</html>"),
    "a Git LFS pointer": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
}


def _attempt(write: Callable[[Path], Any], read: Callable[[Path], Any], name: str, folder: Path) -> None:
    (folder / name).write_bytes(b"what some of them replace")
    write(folder / name)
    read(folder / name)


for _who, _read in READERS.items():
    for _name, _write in {**FILES, **NETWORKS}.items():
        bad_input(ROOM, f"{_who}: {_name}")(partial(_attempt, _write, _read, "network.pt"))


def _code(read: Callable[[Path], Any], folder: Path) -> None:
    trace = folder / "code-was-run"
    (folder / "network.pt").write_bytes(pickle.dumps({"state_dict": Code(trace)}))
    try:
        read(folder / "network.pt")
    finally:
        if trace.exists():
            raise AssertionError("code was run")


for _who, _read in READERS.items():
    bad_input(ROOM, f"{_who}: a pickle that runs code")(partial(_code, _read))


def _header(text: bytes, size: int | None = None) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(struct.pack("<Q", len(text) if size is None else size) + text)


def _declared(**tensor: Any) -> bytes:
    return json.dumps({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} | tensor}).encode()


SAFETENSORS: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "three bytes": lambda path: path.write_bytes(b"abc"),
    "a header of 2^60 bytes": _header(b"{}", 2**60),
    "a header that is no JSON": _header(b"{weights}"),
    "a header that is a list": _header(b"[]"),
    "a header nested 10,000 deep": _header(b'{"a":' * 10_000),
    "a tensor of 10^12 numbers": _header(_declared(shape=[10**6, 10**6], data_offsets=[0, 4 * 10**12])),
    "a tensor beyond the end": _header(_declared(data_offsets=[100, 104])),
    "a tensor of an unknown dtype": _header(_declared(dtype="F9")),
    "no tensor": _header(b"{}"),
    "a pickle": lambda path: path.write_bytes(pickle.dumps({"a": 1})),
}
ONNX: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "three bytes": lambda path: path.write_bytes(b"abc"),
    "a text": lambda path: path.write_text("network"),
    "bytes of zero": lambda path: path.write_bytes(bytes(400)),
    "a checkpoint of torch": lambda path: torch.save({"a": torch.zeros(2)}, path),
    **PLACES,
}

for _name, _write in SAFETENSORS.items():
    for _who in ("ACE2P.load", "ACE2P.from_pretrained", "a backbone", "the command"):
        bad_input(ROOM, f"{_who}: safetensors: {_name}")(
            partial(_attempt, _write, READERS[_who], "network.safetensors")
        )
for _name, _write in ONNX.items():
    bad_input(ROOM, f"ONNX: {_name}")(partial(_attempt, _write, OnnxNetwork, "network.onnx"))

CONFIGS: dict[str, str] = {
    "no JSON": "{",
    "a folder of a newer version": '{"library": "noisycorrect", "format": 99}',
    "without a network": '{"library": "noisycorrect", "format": 1}',
    "of a network of null": '{"library": "noisycorrect", "format": 1, "config": null}',
    "of a billion classes": '{"library": "noisycorrect", "format": 1, "config": {"num_classes": 1000000000}}',
    "of classes that are a number": '{"library": "noisycorrect", "format": 1, "config": {}, "classes": 5}',
    "nested 100,000 deep": '{"a":' * 100_000,
}


def _attempt_config(text: str, folder: Path) -> None:
    ACE2P(7, **SMALL).save_pretrained(folder / "saved", classes="pascal", size=(64, 48))
    (folder / "saved" / "config.json").write_text(text)
    ACE2P.from_pretrained(folder / "saved")


for _name, _text in CONFIGS.items():
    bad_input(ROOM, f"a folder whose configuration is {_name}")(partial(_attempt_config, _text))


@bad_input(ROOM, "a checkpoint of the SCHP authors with a billion classes")
def _billion(folder: Path) -> None:
    state = ACE2P(7, backbone="resnet101", width=0.125).to_official_state_dict()
    head = next(name for name in reversed(state) if name.endswith("weight") and len(state[name]) == 7)
    torch.save({"state_dict": state | {head: state[head][:1].expand(10**9, -1, -1, -1)}}, folder / "schp.pth")
    ACE2P.from_official(folder / "schp.pth")
