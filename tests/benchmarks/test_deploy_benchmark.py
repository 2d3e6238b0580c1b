"""The benchmark of runtimes: what it measures is what the runtimes say; no time is asserted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import deploy
from benchmarks.parsing import runtimes
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.datasets import SyntheticPeople

PEOPLE = SyntheticPeople(8, size=(48, 32))


class Off(nn.Module):
    """A network that differs from another one in one class, where that is ahead."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> Any:
        logits = self.network(crops).final.clone()
        logits[:, 0] -= 100
        return logits


def tiny() -> ACE2P:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ACE2P(20, "resnet18", width=0.125).eval()
    network.classes, network.size = PEOPLE.classes, PEOPLE.size
    return network


def test_rows_say_how_many_pixels_are_equal() -> None:
    network = tiny()
    found = {runtimes.REFERENCE: (network, 4.0), "same": (network, 2.0), "off": (Off(network), 1.0)}
    crops = runtimes.crops_of(PEOPLE, PEOPLE.size, 2)
    rows = runtimes.measured("tiny", found, crops, (1, 2), 1, PEOPLE)
    assert [row.runtime for row in rows] == list(found)
    assert all(set(row.milliseconds) == {"1", "2"} and min(row.milliseconds.values()) > 0 for row in rows)
    first = torch.cat([network(crops_of_one(index)).final for index in range(len(PEOPLE))])
    assert rows[1].equal_pixels == 1.0
    background = (first.argmax(1) == 0).float().mean().item()
    assert rows[2].equal_pixels == pytest.approx(1 - background, abs=0.1)  # at another resolution
    assert rows[1].mean_iou == rows[0].mean_iou
    untrained = runtimes.measured("tiny", found, crops, (1,), 1)
    assert untrained[0].mean_iou is None


@torch.no_grad()
def crops_of_one(index: int) -> Tensor:
    return runtimes.crops_of(PEOPLE, PEOPLE.size, index + 1)[index:]


def test_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    rows = [
        runtimes.Row("one", "PyTorch float32", {"1": 10.0, "8": 4.0}, 6.5, 1.0, 0.5),
        runtimes.Row("one", "ONNX INT8", {"1": 5.0, "8": 1.0}, 1.5, 0.995, 0.49),
        runtimes.Row("two", "PyTorch float32", {"1": 1000.0}, 267.0),
    ]
    seen = []
    monkeypatch.setattr(deploy, "measure", lambda settings: seen.append(settings) or rows)
    assert deploy.main(["--out", str(tmp_path), "--threads", "1", "--small-only"]) == 0
    assert (seen[0]["threads"], seen[0]["full"]) == (1, 0)
    text = (tmp_path / "results.md").read_text()
    assert "| ONNX INT8 | 5 | 2.00x | 1 | 4.00x | 1.5 | 99.50 | 49.00 | -1.00 |" in text
    assert "## two\n\n| runtime | ms, batch 1 | faster | file, MB |" in text
    assert text.startswith(deploy.page(json.loads((tmp_path / "results.json").read_text())))
    assert (tmp_path / "results-times.png").stat().st_size > 1000
    assert deploy.main(["--threads", "0"]) == 2
    assert "--threads" in capsys.readouterr().err


def test_bfloat16_and_layout_are_what_their_names_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("export_onnx", "quantize_onnx"):
        monkeypatch.setattr(runtimes, name, lambda *args: None)
    monkeypatch.setattr(runtimes, "OnnxNetwork", lambda path, threads: nn.Identity())
    for name in ("float32.onnx", "int8.onnx"):
        (tmp_path / name).write_bytes(b"x" * 2_000_000)
    found = runtimes.in_runtimes(tiny(), [], tmp_path, 1)
    assert tuple(found) == runtimes.RUNTIMES
    weights = [next(model.parameters()) for model, _ in list(found.values())[:4]]
    assert [each.dtype for each in weights] == [torch.float32] * 2 + [torch.bfloat16] * 2
    channels_last = [each.is_contiguous(memory_format=torch.channels_last) for each in weights]
    assert channels_last == [False, True, False, True]
    sizes = [megabytes for _, megabytes in found.values()]
    assert sizes[0] == sizes[1] > 1.8 * sizes[2]
    assert sizes[4:] == [2.0, 2.0]
