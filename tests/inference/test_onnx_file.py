"""A classifier as an ONNX file, run by onnxruntime."""

import json

import numpy as np
import pytest
import torch
from tiny_runs import blobs, corrector, network
from torch import nn

from noisycorrect import InvalidInputError, MultiLabel, SelfCorrector
from noisycorrect.inference import onnx_file
from noisycorrect.inference.onnx_file import write_onnx

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")


def run(path, inputs):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits", "probabilities"], {"inputs": inputs})


def test_a_run_becomes_a_file_for_any_number_of_inputs(tmp_path):
    inputs, given, _ = blobs(60)
    result = corrector(recipe="robust", epochs=8, class_names=["a", "b", "ü"]).fit((inputs, given))
    assert type(result.model).__name__ == "Standardized"
    path = tmp_path / "model.onnx"
    result.to_onnx(path, inputs[:1].double().numpy())
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    with torch.no_grad():
        expected = result.model(inputs).numpy()
    for count in (1, 2, 7, 60):
        logits, probs = run(path, inputs[:count].numpy())
        np.testing.assert_allclose(logits, expected[:count], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(probs, result.predict_proba(inputs[:count]), rtol=0, atol=1e-5)
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(metadata["class_names"]) == ["a", "b", "ü"]


def test_images_and_independent_labels(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
        )
        images = torch.randn(5, 1, 8, 8)
    model.train()
    write_onnx(model, MultiLabel(3), tmp_path / "model.onnx", images)
    assert model.training
    with torch.no_grad():
        expected = model.eval()(images).sigmoid().numpy()
    np.testing.assert_allclose(run(tmp_path / "model.onnx", images.numpy())[1], expected, atol=1e-5)
    assert "class_names" not in {entry.key for entry in onnx.load(tmp_path / "model.onnx").metadata_props}


class Fixed(nn.Module):
    """Depends on how many inputs there are."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs):
        return self.layer(inputs.reshape(3, 4))


def test_what_does_not_work_leaves_no_file(tmp_path, monkeypatch):
    task = SelfCorrector(network(), num_classes=3).task
    with pytest.raises(InvalidInputError, match="works as ONNX for any number N"):
        write_onnx(Fixed(), task, tmp_path / "model.onnx", torch.zeros(3, 4))
    with pytest.raises(InvalidInputError, match="example inputs of numbers"):
        write_onnx(network(), task, tmp_path / "model.onnx", np.array(["a"]))
    with pytest.raises(InvalidInputError, match="opset"):
        write_onnx(network(), task, tmp_path / "model.onnx", torch.zeros(3, 4), opset=9)
    with monkeypatch.context() as patch:
        # A file of other weights than the model's.
        other = onnx_file._exported(onnx_file._Outputs(network(seed=9), task).eval(), torch.ones(2, 4), 18, None)
        patch.setattr(onnx_file, "_exported", lambda *_: other)
        with pytest.raises(InvalidInputError, match="a file whose logits are the model's to 1e-05"):
            write_onnx(network(), task, tmp_path / "model.onnx", torch.ones(2, 4))
    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidInputError, match="pip install onnx onnxscript onnxruntime"):
        write_onnx(network(), task, tmp_path / "model.onnx", torch.zeros(3, 4))
    assert list(tmp_path.iterdir()) == []
