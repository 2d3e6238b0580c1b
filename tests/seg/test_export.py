"""Exported networks say what the network says."""

import importlib.util

import numpy as np
import pytest
import torch
from colour_coding import EIGHT, ReadsColours, coloured, random_mask
from torch import nn

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import export
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.export import FinalLogits, export_onnx, export_program
from noisycorrect_seg.inference import parse_image
from noisycorrect_seg.outputs import ParsingOutput


def plain():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6), nn.Dropout(0.5), nn.Conv2d(6, 4, 1)).train()
    network[1].running_var.fill_(2.0)
    return network


def ace2p():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ACE2P(num_classes=7, backbone="resnet18", width=0.125).train()


@pytest.mark.parametrize("make", [plain, ace2p])
@pytest.mark.parametrize("size", [(33, 49)])
def test_a_program_returns_the_final_logits(make, size, tmp_path):
    model = make()
    modes = [module.training for module in model.modules()]
    returned = export_program(model, size, tmp_path / "network.pt2", batch_size=2)
    assert [module.training for module in model.modules()] == modes
    assert [path.name for path in tmp_path.iterdir()] == ["network.pt2"]
    crops = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = FinalLogits(model.eval())(crops)
        assert expected.abs().max() > 0.01
        for program in (torch.export.load(tmp_path / "network.pt2"), returned):
            torch.testing.assert_close(program.module()(crops), expected, rtol=1e-5, atol=1e-6)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_program_parses_images(tmp_path):
    model = ReadsColours()
    export_program(model, (96, 64), tmp_path / "network.pt2")
    program = torch.export.load(tmp_path / "network.pt2").module()
    mask = random_mask((23, 15))
    parsing = parse_image(program, coloured(mask), classes=EIGHT, size=(96, 64), probs=True)
    assert np.array_equal(parsing.labels, mask)


def test_the_final_branch_is_the_fusion_branch():
    class Two(nn.Module):
        def forward(self, crops):
            return ParsingOutput(crops, crops + 1)

    assert FinalLogits(Two())(torch.zeros(1, 3, 2, 2)).mean() == 1


def test_onnx_says_the_same(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = ace2p()
    export_onnx(model, (33, 49), tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    crops = torch.randn(1, 3, 33, 49, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = FinalLogits(model.eval())(crops).numpy()
    np.testing.assert_allclose(session.run(None, {"crops": crops.numpy()})[0], expected, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------- invalid input


def test_onnx_needs_its_packages(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(InvalidInputError, match=r"got no onnxscript; to fix: pip install onnxscript; export_program"):
        export_onnx(plain(), (8, 8), tmp_path / "network.onnx")
    monkeypatch.setattr(export, "ONNX_PACKAGES", ())
    with pytest.raises(InvalidInputError, match="opset to be a whole number >= 18; got 9"):
        export_onnx(plain(), (8, 8), tmp_path / "network.onnx", opset=9)


def test_arguments_out_of_range(tmp_path):
    path = tmp_path / "network.pt2"
    for size, message in ((473, "size="), ((8,), "size="), ((8, 0), "width to be"), ((8, 1.5), "width to be")):
        with pytest.raises(InvalidInputError, match=message):
            export_program(plain(), size, path)
    with pytest.raises(InvalidInputError, match="batch_size"):
        export_program(plain(), (8, 8), path, batch_size=0)
    with pytest.raises(InvalidInputError, match="a ParsingOutput, or logits"):
        export_program(nn.Flatten(), (8, 8), path)
    with pytest.raises(InvalidInputError, match=r"to write .*nowhere"):
        export_program(plain(), (8, 8), tmp_path / "nowhere" / "network.pt2")
    assert not list(tmp_path.iterdir())


def test_a_failed_export_gives_the_modes_back(tmp_path):
    model = nn.Sequential(plain(), nn.Flatten()).train()
    with pytest.raises(InvalidInputError, match="logits"):
        export_program(model, (8, 8), tmp_path / "network.pt2")
    assert all(module.training for module in model.modules())
