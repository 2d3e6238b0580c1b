"""Networks in ONNX files parse photos, also with 8-bit whole numbers."""

import copy
import pickle
import sys

import numpy as np
import pytest
import torch
from colour_coding import EIGHT, ReadsColours, coloured, random_mask
from PIL import Image
from torch import nn

from noisycorrect.cli import main
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg import Folder, ParsingDataset, export
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.cli.networks import Loaded
from noisycorrect_seg.deploy import OnnxNetwork, quantize_onnx
from noisycorrect_seg.deploy.quantize import _left_as_they_are
from noisycorrect_seg.export import export_onnx
from noisycorrect_seg.inference import parse_folder, parse_image
from noisycorrect_seg.inference.calling import FixedInput
from noisycorrect_seg.inference.parse import canonical_crops
from noisycorrect_seg.inputs import BGR

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

SIZE = (48, 32)


class TwoLayers(nn.Module):
    """Distances to the colours of eight classes, as two convolutions: the first sharpens, the second compares."""

    def __init__(self):
        super().__init__()
        reader = ReadsColours()
        std, mean = (torch.tensor(values) for values in ([0.225, 0.224, 0.229], [0.406, 0.456, 0.485]))
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 8, 1)
        bgr = reader.colours.flip(1)
        with torch.no_grad():
            self.first.weight.copy_(torch.diag(std)[:, :, None, None])
            self.first.bias.copy_(mean)
            self.second.weight.copy_(2 * bgr[:, :, None, None])
            self.second.bias.copy_(-bgr.square().sum(1))
        self.classes = EIGHT

    def forward(self, crops):
        return {"out": self.second(torch.relu(self.first(crops)))}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    export_onnx(TwoLayers(), SIZE, folder / "any.onnx")
    export_onnx(TwoLayers(), SIZE, folder / "three.onnx", batch_size=3)
    photos = [coloured(random_mask((12, 8), seed)) for seed in range(5)]
    quantized = quantize_onnx(folder / "any.onnx", folder / "int8.onnx", photos)
    assert quantized.photos == 5
    assert quantized.bytes_after == (folder / "int8.onnx").stat().st_size
    assert quantized.equal_pixels > 0.98
    return folder


@pytest.mark.parametrize(("name", "batch"), [("any.onnx", None), ("three.onnx", 3), ("int8.onnx", None)])
def test_a_file_parses_photos_as_it_says_itself(files, name, batch, tmp_path):
    network = OnnxNetwork(files / name)
    assert network.fixed_input == FixedInput(batch, *SIZE)
    assert (network.classes, network.size, network.num_classes) == (EIGHT, SIZE, 8)
    masks = [random_mask((12, 8), seed) for seed in range(10, 14)]
    (tmp_path / "photos").mkdir()
    for number, mask in enumerate(masks):
        Image.fromarray(coloured(mask)).save(tmp_path / "photos" / f"{number}.png")
    report = parse_folder(network, tmp_path / "photos", tmp_path / "out", batch_size=4, progress=False)
    for number, path in enumerate(sorted(report.written.values())):
        with Image.open(path) as picture:
            assert np.array_equal(np.asarray(picture), masks[number])


def test_logits_are_those_of_the_network(files):
    photos = [coloured(random_mask((12, 8), seed)) for seed in range(20, 25)]
    crops = BGR(torch.from_numpy(canonical_crops(photos, SIZE)[0]))
    expected = TwoLayers()(crops)["out"].detach()
    whole = OnnxNetwork(files / "any.onnx", threads=1)
    torch.testing.assert_close(whole(crops), expected, rtol=1e-5, atol=1e-5)
    for other in (copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):
        torch.testing.assert_close(other(crops), expected, rtol=1e-5, atol=1e-5)
    coarse = OnnxNetwork(files / "int8.onnx")(crops)
    apart = (coarse - expected).abs().max()
    assert 1e-4 < apart < 0.2  # rounded to 8 bits, and no more


def test_mirror_and_scales_of_a_file(files):
    image = coloured(random_mask((12, 8)))
    mirrored = Classes("eight", EIGHT.names, ((1, 2),))
    found = parse_image(OnnxNetwork(files / "three.onnx"), image, classes=mirrored, flip=True, probs=True)
    expected = parse_image(TwoLayers(), image, classes=mirrored, size=SIZE, flip=True, probs=True)
    np.testing.assert_allclose(found.probs, expected.probs, rtol=0, atol=1e-5)
    with pytest.raises(InvalidInputError, match="images of 48 x 32, the size that the network was exported at"):
        parse_image(OnnxNetwork(files / "any.onnx"), image, scales=(1.0, 0.5))
    with pytest.raises(InvalidInputError, match='precision="float32": the file has its own'):
        parse_image(OnnxNetwork(files / "any.onnx"), image, precision="bfloat16", device="cpu")


def test_the_quantised_file_is_of_whole_numbers_but_for_its_last_layer(files):
    model = onnx.load(files / "int8.onnx")
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    assert [makers.get(node.input[1]) for node in convolutions] == ["DequantizeLinear", None]
    scales = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    (first,) = [node for node in model.graph.node if node.output[0] == convolutions[0].input[1]]
    assert scales[first.input[0]].dtype == np.int8
    assert scales[first.input[1]].shape == (3,)  # one a channel
    plain = onnx.load(files / "any.onnx")
    assert _left_as_they_are(plain) == [[node.name for node in plain.graph.node if node.op_type == "Conv"][-1]]


def test_photos_on_the_command_line(files, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    mask = random_mask((12, 8), 3)
    Image.fromarray(coloured(mask)).save(tmp_path / "photos" / "a.png")
    words = ["parse", str(tmp_path / "photos"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    for more in ([], ["--runtime", "onnx"]):
        assert main([*words, "--checkpoint", str(files / "any.onnx"), *more]) == 0
        with Image.open(tmp_path / "out" / "a.png") as picture:
            assert np.array_equal(np.asarray(picture), mask)
    assert main([*words, "--checkpoint", str(files / "any.onnx"), "--runtime", "torch"]) == 2
    assert "leave --runtime out" in capsys.readouterr().err
    assert main([*words, "--checkpoint", str(files / "any.onnx"), "--classes", "lip"]) == 2
    assert "--classes with 8 classes" in capsys.readouterr().err
    assert main([*words, "--checkpoint", str(files / "any.onnx"), "--official"]) == 2


def test_weights_of_torch_run_as_onnx(files, tmp_path, monkeypatch):
    from noisycorrect_seg.cli import networks

    # The exporter takes seconds, and has made this file of the same network.
    monkeypatch.setattr(export, "_exported_onnx", lambda *args, **options: (files / "any.onnx").read_bytes())

    monkeypatch.setattr(networks, "load_network", lambda source, official: (_numbered(TwoLayers()), EIGHT, SIZE))
    mask = random_mask((12, 8), 3)
    Image.fromarray(coloured(mask)).save(tmp_path / "a.png")
    ran = []
    forward = OnnxNetwork.forward
    monkeypatch.setattr(OnnxNetwork, "forward", lambda self, crops: ran.append(1) or forward(self, crops))
    words = ["parse", str(tmp_path / "a.png"), "--checkpoint", "own.pt", "--runtime", "onnx", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert ran == [1]
    with Image.open(tmp_path / "out" / "a.png") as picture:
        assert np.array_equal(np.asarray(picture), mask)


def _numbered(network):
    network.num_classes = 8
    return network


# ---------------------------------------------------------------- invalid input


def test_calibration_needs_photos(files, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    for photos in ([], tmp_path / "empty", [tmp_path / "empty"]):
        with pytest.raises(InvalidInputError, match="at least one photo to calibrate with.*got none"):
            quantize_onnx(files / "any.onnx", tmp_path / "int8.onnx", photos)
    with pytest.raises(InvalidInputError, match="at least one photo to calibrate with.*broken.jpg"):
        quantize_onnx(files / "any.onnx", tmp_path / "int8.onnx", [tmp_path / "broken.jpg"])
    with pytest.raises(InvalidInputError, match="most"):
        quantize_onnx(files / "any.onnx", tmp_path / "int8.onnx", [coloured(random_mask((12, 8)))], most=0)
    assert not (tmp_path / "int8.onnx").exists()
    with pytest.warns(UserWarning, match="1 photos were left out of the calibration, the first: .*broken.jpg"):
        found = quantize_onnx(
            files / "any.onnx", tmp_path / "int8.onnx", [tmp_path / "broken.jpg", coloured(random_mask((12, 8)))]
        )
    assert found.photos == 1


def test_a_network_is_not_quantised_onto_itself(files, tmp_path):
    before = (files / "any.onnx").read_bytes()
    with pytest.raises(InvalidInputError, match="another file than that of the network; got .*any.onnx"):
        quantize_onnx(files / "any.onnx", files / ".." / files.name / "any.onnx", [np.zeros((8, 8, 3), np.uint8)])
    assert (files / "any.onnx").read_bytes() == before


def test_a_file_that_does_not_say_how_many_classes_it_has_takes_those_that_are_named():
    assert Loaded(nn.Identity(), None).named("lip").name == "lip"
    with pytest.raises(InvalidInputError, match="expected --classes; got none, and the checkpoint does not say"):
        Loaded(nn.Identity(), None).named(None)


def test_what_is_no_network_is_refused(files, tmp_path):
    with pytest.raises(CheckpointError, match=r"an ONNX file at .*gone.onnx; got no such file"):
        OnnxNetwork(tmp_path / "gone.onnx")
    (tmp_path / "broken.onnx").write_bytes((files / "any.onnx").read_bytes()[:100])
    with pytest.raises(CheckpointError, match="a whole ONNX file at .*broken.onnx"):
        OnnxNetwork(tmp_path / "broken.onnx")
    with pytest.raises(InvalidInputError, match="providers of onnxruntime: .*got Nothing"):
        OnnxNetwork(files / "any.onnx", providers=["Nothing"])
    vectors = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 3])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 3])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [vectors], [out])
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "vectors.onnx")
    with pytest.raises(CheckpointError, match=r"a network of images .*got x: tensor\(float\)"):
        OnnxNetwork(tmp_path / "vectors.onnx")


def test_a_file_that_says_something_else_is_not_written(files, tmp_path, monkeypatch):
    with pytest.raises(InvalidInputError, match="8 classes, as the network has logits; got 20"):
        export_onnx(TwoLayers(), SIZE, tmp_path / "a.onnx", classes="lip")
    with pytest.raises(InvalidInputError, match="weights of float32 or float16; got bfloat16"):
        export_onnx(TwoLayers().to(torch.bfloat16), SIZE, tmp_path / "a.onnx")
    other = TwoLayers()
    with torch.no_grad():
        other.second.bias.add_(1)
    monkeypatch.setattr(export, "_exported_onnx", lambda *args, **options: (files / "any.onnx").read_bytes())
    with pytest.raises(InvalidInputError, match="a file whose logits are the model's to 0.0001; got"):
        export_onnx(other, SIZE, tmp_path / "a.onnx")
    with pytest.raises(InvalidInputError, match="network that works as ONNX for any number of images; got TwoLayers: "):
        export_onnx(TwoLayers(), (32, 48), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_missing_is_named(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InvalidInputError, match=r"the package onnxruntime, to run ONNX files.*noisycorrect\[onnx\]"):
        OnnxNetwork(files / "any.onnx")


def test_ranges_are_measured_on_what_was_trained_on_too(files, tmp_path):
    masks = [random_mask((12, 8), seed) for seed in range(5)]
    (tmp_path / "images").mkdir()
    for number, mask in enumerate(masks):
        Image.fromarray(coloured(mask)).save(tmp_path / "images" / f"{number}.png")
    folder = Folder(images=tmp_path / "images", classes=EIGHT, unlabeled="keep")
    whole = (files / "int8.onnx").read_bytes()
    for number, photos in enumerate((folder, ParsingDataset(folder, SIZE), tmp_path / "images")):
        quantized = quantize_onnx(files / "any.onnx", tmp_path / f"{number}.onnx", photos)
        assert quantized.photos == 5
        assert (tmp_path / f"{number}.onnx").read_bytes() == whole
    with pytest.raises(InvalidInputError, match=r"got Folder; to fix: pass one of its images, source\.image\(0\)"):
        parse_image(OnnxNetwork(files / "any.onnx"), folder)
    Image.fromarray(masks[0]).save(tmp_path / "images" / "0_mask.png")
    for number in range(1, 5):
        (tmp_path / "images" / f"{number}.png").unlink()
    with pytest.warns(UserWarning, match="1 of 2 photos are named as another one with '_mask' behind"):
        quantize_onnx(files / "any.onnx", tmp_path / "x.onnx", sorted((tmp_path / "images").iterdir()))
