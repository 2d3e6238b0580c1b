"""Networks of any channels as files: what they are shown goes with them; the command that writes them."""

import dataclasses
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from test_segmentation import SIZE, Blobs
from torch import nn

from noisycorrect import RECIPES, CorrectionResult, SelfCorrector
from noisycorrect.cli import main
from noisycorrect.saved.details import Details
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg import (
    ACE2P,
    Classes,
    Normalisation,
    OnnxNetwork,
    ParsingDataset,
    Segmentation,
    evaluate_source,
    export_onnx,
    export_program,
    parse_image,
    parse_people,
    parse_scene,
    quantize_onnx,
)
from noisycorrect_seg.cli.networks import loaded
from noisycorrect_seg.inference.calling import shown_to
from noisycorrect_seg.inputs import BGR, RGB, normalisation_of, plain_normalisation
from noisycorrect_seg.video.folder import digest_of

CHANNELS = 4


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on images of four channels of 16 bits, with one logit a pixel; its images as .npy beside it."""
    folder = tmp_path_factory.mktemp("run")
    source = Blobs(12, channels=CHANNELS, dtype=np.uint16)
    normalisation = Normalisation.of(source)
    data = ParsingDataset(source, SIZE, normalisation=normalisation)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            *(nn.Conv2d(CHANNELS, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
        )
        corrector = SelfCorrector(
            network, task="segmentation", num_classes=2, recipe=RECIPES["paper"], epochs=4, batch_size=4, lr=0.1,
            run_dir=folder / "run",
        )  # fmt: skip
        result = corrector.fit(data)
    (folder / "photos").mkdir()
    for index in range(12):
        np.save(folder / "photos" / f"{index:02}.npy", source.image(index))
    return folder, source, normalisation, result


@pytest.fixture(scope="module")
def files(run, tmp_path_factory):
    """Both files, as the command writes them of the run folder."""
    folder = tmp_path_factory.mktemp("files")
    words = ["export-network", run[0] / "run", "--onnx", folder / "own.onnx", "--int8", folder / "own-int8.onnx"]
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    assert main([*map(str, words), "--photos", str(run[0] / "photos")]) == 0
    return folder


def test_files_say_classes_size_and_normalisation(run, files):
    for name in ("own.onnx", "own-int8.onnx"):
        network = OnnxNetwork(files / name)
        assert network.classes.names == ("background", "blob")
        assert (network.size, network.channels, network.num_classes) == (SIZE, CHANNELS, 2)
        assert digest_of(network) == OnnxNetwork(files / name).digest
        assert network.normalisation == run[2]
        assert shown_to(network) == run[2]
        with pytest.raises(InvalidInputError, match="a normalisation of 4 channels, as the network takes; got 3"):
            parse_image(network, run[1].image(0), normalisation="rgb")


def test_files_are_told_apart(files):
    assert len({digest_of(OnnxNetwork(files / name)) for name in ("own.onnx", "own-int8.onnx")}) == 2


def test_files_parse_the_pixels_of_the_network(run, files):
    _, source, normalisation, result = run
    options = {"classes": source.classes, "size": SIZE, "normalisation": normalisation}
    right = []
    for index in range(len(source)):
        image = source.image(index)
        expected = parse_image(result.model, image, probs=True, **options)
        found = parse_image(OnnxNetwork(files / "own.onnx"), image, probs=True)  # the file says the rest
        np.testing.assert_allclose(found.probs, expected.probs, atol=1e-5)
        assert (found.labels == expected.labels).all()
        coarse = parse_image(OnnxNetwork(files / "own-int8.onnx"), image).labels
        right.append((coarse == expected.labels).mean())
        assert (expected.labels == source.truth(index)).mean() > 0.95
    assert np.mean(right) > 0.98
    own = evaluate_source(result.model, source, size=SIZE, normalisation=normalisation, progress=False)
    whole = evaluate_source(OnnxNetwork(files / "own.onnx"), source, progress=False)
    assert whole["mean_iou"] == own["mean_iou"]
    scene = np.tile(source.image(0), (3, 2, 1))
    expected = parse_scene(result.model, scene, tile=SIZE, classes=source.classes, normalisation=normalisation).labels
    tiled = parse_scene(OnnxNetwork(files / "own.onnx"), scene)  # its own tiles
    assert (tiled.labels == expected).all()
    people = parse_people(OnnxNetwork(files / "own.onnx"), source.image(0), [[0, 0, 12, 16]])
    assert people.instances.any()
    assert people.overlay(source.image(0)).size == (12, 16)


def test_the_command_line_parses_arrays_with_a_file_or_with_the_run_itself(run, files, tmp_path, capsys):
    masks = {}
    for name, source in {"run": run[0] / "run", "onnx": files / "own.onnx"}.items():
        words = ["parse", run[0] / "photos", "--checkpoint", source, "--out", tmp_path / name, "--overlay"]
        assert main([*map(str, words), "--device", "cpu"]) == 0
        assert "12 images parsed" in capsys.readouterr().out
        masks[name] = [np.asarray(Image.open(tmp_path / name / f"{index:02}.png")) for index in range(12)]
        with Image.open(tmp_path / name / "00-overlay.jpg") as picture:
            low, high = picture.convert("L").getextrema()
            assert high - low > 100  # 16 bits are stretched
    for one, other in zip(*masks.values(), strict=True):
        assert (one == other).all()


def test_a_saved_result_and_a_written_file_are_sources_too(run, files, tmp_path, capsys):
    run[3].save(tmp_path / "saved")
    assert CorrectionResult.load(tmp_path / "saved").input_record == run[3].input_record
    found = loaded(str(tmp_path / "saved"))
    assert (found.num_classes, found.size, found.normalisation) == (2, SIZE, run[2])
    words = ["export-network", files / "own.onnx", "--int8", tmp_path / "int8.onnx", "--photos", run[0] / "photos"]
    assert main([*map(str, words), "--most", "3"]) == 0
    assert "int8.onnx: " in capsys.readouterr().out
    assert OnnxNetwork(tmp_path / "int8.onnx").normalisation == run[2]


def test_a_trained_network_says_what_it_was_trained_on(run, tmp_path):
    folder, source, normalisation, result = run
    options = {"classes": source.classes, "size": SIZE, "normalisation": normalisation}
    expected = parse_image(result.model, source.image(0), **options).labels
    result.save(tmp_path / "saved")
    for network in (
        result.model,
        *(CorrectionResult.load(each).model for each in (folder / "run", tmp_path / "saved")),
    ):
        assert (network.classes.names, network.size, network.normalisation) == (
            source.classes.names,
            SIZE,
            normalisation,
        )
        assert (parse_image(network, source.image(0)).labels == expected).all()
    assert not hasattr(result.model[0], "classes")

    class Own(nn.Conv2d):
        size = property(lambda self: 7)
        classes = "mine"

    data = ParsingDataset(source, SIZE, normalisation=normalisation)
    corrector = SelfCorrector(Own(CHANNELS, 2, 1), task="segmentation", num_classes=2, recipe="ce", epochs=1)
    network = corrector.fit(data).model
    assert (network.size, network.classes, network.normalisation) == (7, "mine", normalisation)
    again = SelfCorrector(result.model, task="segmentation", num_classes=2, recipe="ce", epochs=1)
    smaller = again.fit(ParsingDataset(source, (8, 6), normalisation=Normalisation([0.0] * 4, [1e4] * 4))).model
    assert (smaller.size, smaller.normalisation.mean) == ((8, 6), (0.0,) * 4)
    assert result.model.size == SIZE  # the caller's is another


def test_a_name_of_a_normalisation_does_not_outlive_training_with_another():
    network = nn.Conv2d(3, 2, 1)
    network.normalisation = "rgb"
    corrector = SelfCorrector(network, task="segmentation", num_classes=2, recipe="ce", epochs=1)
    trained = corrector.fit(ParsingDataset(Blobs(4), SIZE)).model  # blue first, as is the default
    assert (shown_to(trained), shown_to(network)) == (BGR, RGB)


@pytest.mark.parametrize(
    "classes",
    [
        Classes("ship", ("sea", "port", "starboard"), ((1, 2),)),
        Classes("road", ("road", "left lane", "right lane")),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_network_remembers_what_a_mirror_exchanges(classes, named, tmp_path):
    source = Blobs(4, classes=classes.names)
    source.classes = classes
    task = Segmentation(classes if named else len(classes), size=SIZE)
    network = nn.Sequential(nn.Conv2d(3, 3, 1))
    run = SelfCorrector(network, task=task, recipe="ce", epochs=1, run_dir=tmp_path / "run")
    result = run.fit(ParsingDataset(source, SIZE))
    result.save(tmp_path / "saved")
    CorrectionResult.load(tmp_path / "saved").save(tmp_path / "again")
    assert result.model.classes.flip_pairs == classes.flip_pairs
    for folder in ("run", "saved", "again"):
        for found in (loaded(str(tmp_path / folder)).classes, CorrectionResult.load(tmp_path / folder).model.classes):
            assert (found.names, found.flip_pairs) == (classes.names, classes.flip_pairs)


def test_pairs_of_a_folder_that_says_none_are_those_of_the_names_and_damaged_ones_are_refused(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run[0] / "run", folder)
    details = Details.read(folder)
    names, record = ("left", "right"), dict(details.input_record)
    for pairs, expected in ((None, ((0, 1),)), ([], ()), ([[0, 1]], ((0, 1),))):
        said = {name: value for name, value in record.items() if name != "flip_pairs"}
        said |= {} if pairs is None else {"flip_pairs": pairs}
        dataclasses.replace(details, class_names=names, input_record=said).write(folder)
        assert loaded(str(folder)).classes.flip_pairs == expected
    for wrong in ([[0, 7]], "01", [[0]], 3):
        said = {**record, "flip_pairs": wrong}
        dataclasses.replace(details, class_names=names, input_record=said).write(folder)
        with pytest.raises(CheckpointError, match="what a mirror exchanges"):
            loaded(str(folder))


def test_a_network_says_itself_what_it_is_shown(run):
    network = nn.Conv2d(CHANNELS, 2, 1)
    network.normalisation = run[2]
    assert parse_image(network, run[1].image(0), classes=run[1].classes, size=SIZE).labels.shape == SIZE
    assert shown_to(nn.Conv2d(3, 2, 1)) == BGR
    assert normalisation_of(plain_normalisation(run[2])) == run[2]
    network.normalisation = nn.Identity()  # a layer of that name says nothing
    assert shown_to(network) == BGR


# ---------------------------------------------------------------- invalid input


def test_channels_that_do_not_fit_are_named(run, tmp_path):
    network = nn.Conv2d(CHANNELS, 2, 1)
    for write, name in ((export_program, "a.pt2"), (export_onnx, "a.onnx")):
        with pytest.raises(InvalidInputError, match=r"a network that takes .* images of 3 channels.*normalisation="):
            write(network, SIZE, tmp_path / name)
    assert not list(tmp_path.iterdir())
    program = export_program(network, SIZE, tmp_path / "a.pt2", normalisation=run[2])
    options = {"classes": run[1].classes, "normalisation": run[2], "size": SIZE}
    expected = parse_image(network, run[1].image(0), **options).labels
    assert (parse_image(program, run[1].image(0), **options).labels == expected).all()


def test_metadata_that_contradicts_the_file(files, tmp_path):
    onnx = pytest.importorskip("onnx")
    from noisycorrect_seg.export import onnx_header

    for said, message in (
        (onnx_header(None, SIZE, BGR), "a normalisation of 4 channels in .*; got one of 3"),
        ({"noisycorrect": '{"normalisation": {"mean": 3}}'}, "classes, size and normalisation in"),
    ):
        model = onnx.load(files / "own.onnx")
        onnx.helper.set_model_props(model, said)
        onnx.save(model, tmp_path / "wrong.onnx")
        with pytest.raises(CheckpointError, match=message):
            OnnxNetwork(tmp_path / "wrong.onnx")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--onnx FILE, --int8 FILE or both; got neither"),
        (["--int8", "a.onnx"], "--int8 together with --photos; got --int8 alone"),
        (["--onnx", "a.onnx", "--photos", "p"], "--int8 together with --photos; got --photos alone"),
        (["--onnx", "a.onnx", "--int8", "a.onnx", "--photos", "p"], "different files"),
        (["--int8", "a.onnx", "--photos", "nowhere"], "no file nowhere"),
        (["--onnx", "a.onnx", "--classes", "lip"], "--classes with 2 classes"),
        (["--onnx", "nowhere/a.onnx"], "to write nowhere"),
    ],
)
def test_words_that_do_not_fit_together(run, words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("noisycorrect_seg.export._exported_onnx", lambda *args, **options: b"")
    monkeypatch.setattr("noisycorrect_seg.export._check_onnx", lambda *args, **options: None)
    assert main(["export-network", str(run[0] / "run"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_weights_that_do_not_say_enough(run, tmp_path, capsys):
    ACE2P(5, backbone="resnet18", width=0.125).save(tmp_path / "bare.pt")
    words = ["export-network", str(tmp_path / "bare.pt"), "--onnx", str(tmp_path / "a.onnx")]
    assert main(words) == 2
    assert "--size HxW; got none" in capsys.readouterr().err
    assert main([*words, "--size", "33x33"]) == 2
    assert "--classes for a network of 5 classes" in capsys.readouterr().err
    own = Blobs(4, channels=CHANNELS)
    data = ParsingDataset(own, SIZE, normalisation=Normalisation.of(own))

    class Unregistered(nn.Conv2d):
        pass

    SelfCorrector(
        Unregistered(CHANNELS, 2, 1), task="segmentation", num_classes=2, recipe="ce", epochs=1, run_dir=tmp_path / "r"
    ).fit(data)
    assert main(["export-network", str(tmp_path / "r"), "--onnx", str(tmp_path / "a.onnx")]) == 2
    assert "a class that is not registered" in capsys.readouterr().err


def test_without_the_packages_one_sentence_says_what_to_install(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "a.onnx").write_bytes(b"")
    words = ["export-network", str(tmp_path / "a.onnx"), "--int8", str(tmp_path / "b.onnx")]
    assert main([*words, "--photos", str(run[0] / "photos")]) == 2
    assert "pip install 'noisycorrect[onnx]'" in capsys.readouterr().err


def test_photos_that_cannot_calibrate_are_named(run, files, tmp_path, capsys):
    with pytest.warns(UserWarning, match="1 photos were left out"):
        quantize_onnx(files / "own.onnx", tmp_path / "b.onnx", [np.zeros((4, 4, 2)), run[1].image(0)])
    (tmp_path / "grey.png").write_bytes(b"")
    words = ["export-network", str(files / "own.onnx"), "--int8", str(tmp_path / "c.onnx"), "--photos"]
    assert main([*words, str(tmp_path / "grey.png"), str(run[0] / "photos")]) == 0
    assert "1 photos were left out of the calibration" in capsys.readouterr().err


def test_the_onnx_of_a_classifier_is_not_that_of_masks(run, tmp_path):
    with pytest.raises(InvalidInputError, match=r"got one of labels of the kind segmentation.*export_onnx"):
        run[3].to_onnx(tmp_path / "a.onnx", np.zeros((2, CHANNELS, *SIZE), np.float32))
