"""The command line, from words to files and exit status."""

import csv
import json
import shutil
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from noisycorrect import RECIPES, Schedule, SelfCorrector, SoftLabelStore, cli
from noisycorrect.cli import main
from noisycorrect.review.noise_rate import estimate_store_noise
from noisycorrect.saved.details import Details
from noisycorrect_seg import cli as seg_cli
from noisycorrect_seg import formats  # noqa: F401 - registers PNG and others, installed or not
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.classes import PASCAL, Classes
from noisycorrect_seg.inference import parse_image

EVIDENCE = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.1, 0.1], [0.0, 0.2, 0.8], [0.3, 0.3, 0.4]])


@pytest.fixture(autouse=True)
def commands(monkeypatch):
    """The commands of the segmentation package are found, installed or not."""
    entries = [SimpleNamespace(name="parse", load=lambda: seg_cli.add_parser)]
    monkeypatch.setattr(cli, "announced", lambda group: entries if group == cli.GROUP else [])
    return entries


@pytest.fixture
def run_dir(tmp_path):
    """Return a folder with a store of four labels and one generation; labels 1 and 3 are doubted."""
    store = SoftLabelStore.create(tmp_path / "run" / "labels", [0, 2, 2, 0], 3)
    with store.new_generation() as writer:
        writer.write(range(4), EVIDENCE)
    return tmp_path / "run"


def test_issues_are_shown_the_most_suspicious_first(run_dir, capsys):
    assert main(["issues", str(run_dir)]) == 0
    shown = capsys.readouterr().out
    assert "2 labels to look at, of 4 (generation 1)" in shown
    rows = [line.replace("│", " ").split() for line in shown.splitlines() if "0." in line]
    assert rows == [["1", "2", "0", "0.1000"], ["3", "0", "2", "0.3000"]]
    assert main(["issues", str(run_dir / "labels"), "--top", "1"]) == 0
    assert "0.3000" not in capsys.readouterr().out


def test_issues_as_a_file(run_dir, tmp_path, capsys):
    assert main(["issues", str(run_dir), "--csv", str(tmp_path / "issues.csv")]) == 0
    assert "2 labels to look at" in capsys.readouterr().out
    with (tmp_path / "issues.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "index": "1", "given_label": "2", "predicted_label": "0", "label_quality": "0.100000", "is_label_issue": "True"
    }  # fmt: skip
    assert [row["index"] for row in rows] == ["1", "3", "2", "0"], "the worst first"
    assert [row["is_label_issue"] for row in rows] == ["True", "True", "False", "False"]
    assert main(["issues", str(run_dir), "--score", "margin", "--csv", str(tmp_path / "issues.csv")]) == 0
    with (tmp_path / "issues.csv").open(newline="") as file:
        margins = [float(row["label_quality"]) for row in csv.DictReader(file)]
    np.testing.assert_allclose(margins, [0.15, 0.45, 0.8, 0.9], atol=1e-6)


def test_issues_of_masks_as_a_file_have_the_share_of_pixels(tmp_path, capsys):
    masks = [np.zeros((2, 2), np.uint8), None, np.array([[0, 1], [1, 255]], np.uint8), np.full((2, 2), 255, np.uint8)]
    store = SoftLabelStore.create(tmp_path / "labels", masks, 3, kind="segmentation")
    evidence = torch.zeros(4, 3, 2, 2)
    evidence[:, 0], evidence[2] = 1, torch.tensor([[[1, 0], [0, 1]], [[0, 0], [0, 0]], [[0, 1], [1, 0.0]]])
    with store.new_generation() as writer:
        writer.write(range(4), evidence)
    assert main(["issues", str(tmp_path), "--csv", str(tmp_path / "issues.csv")]) == 0
    assert "1 labels to look at, of 4 (generation 1)" in capsys.readouterr().out
    with (tmp_path / "issues.csv").open(newline="") as file:
        rows = [list(row.values()) for row in csv.DictReader(file)]
    assert [row[:3] for row in rows] == [["2", "1", "2"], ["0", "0", "0"], ["3", "-1", "-1"]]
    assert [row[4:] for row in rows] == [["True", "0.666667"], ["False", "0.000000"], ["False", "0.000000"]]


def test_the_verdict_stands_above_the_table(run_dir, capsys):
    assert main(["issues", str(run_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == estimate_store_noise(SoftLabelStore.open(run_dir / "labels")).verdict()
    assert lines[1].startswith("Cannot tell how many of your labels are wrong")  # of four
    assert "┃" in lines[3]


def test_the_estimate_as_words_and_as_json(run_dir, tmp_path, capsys):
    assert main(["estimate", str(run_dir)]) == 0
    assert "The evidence disagrees with 50 % of them" in capsys.readouterr().out
    assert main(["estimate", str(run_dir), "--json", "--level", "0.8"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rate"], found["level"], found["contradicted"], found["labels"]) == (0.5, 0.8, 2, 4)
    assert np.array(found["transition_interval"]).shape == (2, 3, 3)
    assert main(["estimate", str(run_dir), "--level", "95"]) == 2
    SoftLabelStore.create(tmp_path / "new", [0, 1], 2)
    assert main(["estimate", str(tmp_path / "new")]) == 2
    assert "evidence about the labels" in capsys.readouterr().err


def test_a_run_is_inspected_and_exported(tmp_path, capsys):
    inputs = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    labels = (inputs[:, 0] > 0).long()
    labels[:6] = 1 - labels[:6]
    recipe = RECIPES["paper"].replace(schedule=Schedule(init_epochs=2, cycles=2, cycle_epochs=1))
    SelfCorrector(torch.nn.Linear(2, 2), num_classes=2, recipe=recipe, lr=0.5, batch_size=10,
                  run_dir=tmp_path / "run").fit((inputs, labels))  # fmt: skip
    assert main(["issues", str(tmp_path / "run"), "--top", "3"]) == 0
    assert "of 60 (generation 2)" in capsys.readouterr().out
    for generation in (0, 1, 2):
        out = tmp_path / f"out{generation}"
        assert main(["export", str(tmp_path / "run"), str(out), "--generation", str(generation)]) == 0
        expected = SoftLabelStore.open(tmp_path / "run" / "labels").labels(generation=generation)
        assert np.array_equal(np.load(out / "labels.npy"), expected)
    assert np.array_equal(np.load(tmp_path / "out0" / "labels.npy"), labels.numpy())


def test_class_labels_and_probabilities_are_exported(run_dir, tmp_path, capsys):
    assert main(["export", str(run_dir), str(tmp_path / "out"), "--probs"]) == 0
    assert "4 labels of generation 1 written to" in capsys.readouterr().out
    store = SoftLabelStore.open(run_dir / "labels")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"labels.npy", "probs.npy"}
    assert np.load(tmp_path / "out" / "labels.npy").dtype == np.int64
    assert np.array_equal(np.load(tmp_path / "out" / "labels.npy"), store.labels())
    assert np.array_equal(np.load(tmp_path / "out" / "probs.npy"), store.refined().numpy())


def test_masks_are_exported_as_pngs_of_class_indices(tmp_path, capsys):
    rng = np.random.default_rng(0)
    masks = [rng.integers(3, size=(5, 7)).astype(np.uint8), None, np.full((4, 4), 255, np.uint8)]
    store = SoftLabelStore.create(tmp_path / "labels", masks, 3, kind="segmentation")
    said = f"nothing has been corrected in {tmp_path / 'labels'} yet: these are the given labels"
    for words, told in (([], True), (["--format", "plain"], True), (["--generation", "0"], False)):
        shutil.rmtree(tmp_path / "given", ignore_errors=True)
        assert main(["export", str(tmp_path / "labels"), str(tmp_path / "given"), *words]) == 0
        captured = capsys.readouterr()
        assert "2 labels of generation 0" in captured.out
        assert (said in captured.err) == told
    assert {path.name for path in (tmp_path / "given").iterdir()} == {"000000.png", "000002.png"}
    for number in (0, 2):
        with Image.open(tmp_path / "given" / f"{number:06}.png") as picture:
            assert picture.mode == "P"
            assert np.array_equal(np.asarray(picture), masks[number])
    with store.new_generation() as writer:
        writer.write(range(3), torch.rand(3, 3, 2, 2, generator=torch.Generator().manual_seed(0)).softmax(1))
    assert main(["export", str(tmp_path / "labels"), str(tmp_path / "refined")]) == 0
    captured = capsys.readouterr()
    assert "3 labels of generation 1" in captured.out
    assert "these are the given labels" not in captured.err
    with Image.open(tmp_path / "refined" / "000000.png") as picture:
        assert np.array_equal(np.asarray(picture), store.labels(0)[0])
    assert main(["export", str(tmp_path / "labels"), str(tmp_path / "soft"), "--probs"]) == 2
    assert "--probs with class labels; got masks" in capsys.readouterr().err


def test_masks_to_look_at_come_with_their_share_of_pixels(tmp_path, capsys):
    store = SoftLabelStore.create(tmp_path, [np.zeros((4, 4), np.uint8)] * 2, 2, kind="segmentation")
    evidence = torch.zeros(2, 2, 4, 4)
    evidence[:, 0], evidence[1, :, 0] = 1, torch.tensor([[0.0], [1.0]])  # the first row of the second mask is wrong
    with store.new_generation() as writer:
        writer.write([0, 1], evidence)
    assert main(["issues", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "1 labels to look at, of 2 (generation 1)" in shown
    (row,) = [line.replace("│", " ").split() for line in shown.splitlines() if "│" in line]
    assert row[:3] == ["1", "0", "1"]
    assert row[4] == "25.0%"


# ---------------------------------------------------------------- parse


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ACE2P(num_classes=7, backbone="resnet18", width=0.125)
    path = tmp_path_factory.mktemp("networks") / "network.pt"
    network.save(path, classes=PASCAL)
    return path


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("a.jpg", (40, 31)), ("b.png", (20, 33))):
        Image.fromarray(rng.integers(256, size=(*shape, 3)).astype(np.uint8)).save(folder / name)
    return folder


def test_photos_become_palette_pngs(checkpoint, photos, tmp_path, capsys):
    (photos / "notes.txt").touch()
    words = ["--size", "65x49", "--flip", "--scales", "0.75,1", "--overlay", "--probs", "--device", "cpu"]
    out = tmp_path / "out"
    assert main(["parse", str(photos), "--checkpoint", str(checkpoint), "--out", str(out), *words]) == 0
    assert capsys.readouterr().out == f"2 images parsed, 1 other files skipped: {out}\n"
    names = {path.name for path in out.iterdir()}
    assert names == {f"{stem}{end}" for stem in "ab" for end in (".png", "-overlay.jpg", "-probs.npz")}
    expected = parse_image(
        ACE2P.load(checkpoint), photos / "a.jpg", classes=PASCAL, size=(65, 49), scales=(0.75, 1), flip=True, probs=True
    )
    probs = np.load(out / "a-probs.npz")["probs"].astype(np.float32)
    np.testing.assert_allclose(probs, expected.probs, rtol=0, atol=1e-3)
    with Image.open(out / "a.png") as picture:
        assert picture.mode == "P"
        assert (np.asarray(picture) == expected.labels).mean() > 0.99  # batched: equal but for ties


def test_a_broken_photo_is_named_and_the_rest_goes_on(checkpoint, photos, tmp_path, capsys):
    (photos / "broken.jpg").write_bytes(b"no image")
    words = ["parse", str(photos), "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out"), "--size", "33x33"]
    assert main([*words, "--convention", "evaluator"]) == 1
    shown = capsys.readouterr()
    assert "2 images parsed, 1 images could not be read" in shown.out
    assert "broken.jpg" in shown.err


def test_checkpoints_are_told_apart_by_their_content(checkpoint, photos, tmp_path, monkeypatch, capsys):
    official = {"state_dict": {f"module.{key}": value for key, value in torch.nn.Linear(2, 2).state_dict().items()}}
    torch.save(official, tmp_path / "new.pth")
    torch.save(official, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    read = []

    def from_official(path):
        read.append(Path(path).name)
        return ACE2P.load(checkpoint)

    monkeypatch.setattr(ACE2P, "from_official", from_official)
    for name in ("new.pth", "old.pth"):
        assert seg_cli.load_network(tmp_path / name)[0].num_classes == 7
    assert read == ["new.pth", "old.pth"]
    assert seg_cli.load_network(checkpoint)[0].num_classes == 7
    assert len(read) == 2
    words = ["parse", str(photos), "--checkpoint", str(checkpoint), "--out", str(tmp_path / "out"), "--size", "33x33"]
    assert main([*words, "--official"]) == 0
    assert read[2:] == ["network.pt"]


def test_classes_are_those_of_the_checkpoint_the_published_number_or_a_file(tmp_path, monkeypatch):
    (tmp_path / "classes.txt").write_text("background\nleft leg\nright leg\n")
    assert seg_cli.classes_of(str(tmp_path / "classes.txt"), 3).flip_pairs == ((1, 2),)
    assert seg_cli.classes_of("cihp", 20).name == "cihp"
    network = ACE2P(20, "resnet18", width=0.125)
    own = Classes("own", tuple(f"class {number}" for number in range(20)))
    network.save(tmp_path / "own.pt", classes=own, size=(64, 48))
    assert seg_cli.load_network(tmp_path / "own.pt")[1:] == (own, (64, 48))
    torch.save({"module.weight": torch.zeros(1)}, tmp_path / "official.pth")
    monkeypatch.setattr(ACE2P, "from_official", lambda path: ACE2P(18, "resnet18", width=0.125))
    assert seg_cli.load_network(tmp_path / "official.pth")[1].name == "atr"


def test_a_network_of_ones_own_needs_its_classes(photos, tmp_path, capsys):
    ACE2P(20, "resnet18", width=0.125).save(tmp_path / "bare.pt")  # as many classes as LIP, and perhaps none of them
    assert main(["parse", str(photos), "--checkpoint", str(tmp_path / "bare.pt"), "--out", str(tmp_path / "out")]) == 2
    assert "--classes for a network of 20 classes" in capsys.readouterr().err


# ---------------------------------------------------------------- invalid input


def test_wrong_words_end_with_status_2_and_a_message(checkpoint, photos, tmp_path, capsys):
    def complaint(*words):
        assert main(["parse", *map(str, words), "--out", str(tmp_path / "out")]) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("noisycorrect: expected ")
        assert not (tmp_path / "out").exists()
        return shown.err

    assert "no file nowhere.jpg" in complaint("nowhere.jpg", "--checkpoint", checkpoint)
    assert "nowhere.pt" in complaint(photos, "--checkpoint", "nowhere.pt")
    (tmp_path / "damaged.pt").write_bytes(checkpoint.read_bytes()[:1000])
    assert "damaged.pt" in complaint(photos, "--checkpoint", tmp_path / "damaged.pt")
    assert "20" in complaint(photos, "--checkpoint", checkpoint, "--classes", "lip")
    assert "did you mean" in complaint(photos, "--checkpoint", checkpoint, "--classes", "pascall")
    assert "a known convention" in complaint(photos, "--checkpoint", checkpoint, "--convention", "other")
    torch.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "other.pth")
    assert "'conv1.weight'" in complaint(photos, "--checkpoint", tmp_path / "other.pth")


def test_a_network_of_unknown_classes_asks_for_them(monkeypatch, photos, tmp_path, capsys):
    ACE2P(num_classes=5, backbone="resnet18", width=0.125).save(tmp_path / "five.pt")
    assert main(["parse", str(photos), "--checkpoint", str(tmp_path / "five.pt")]) == 2
    assert "--classes for a network of 5 classes; got none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["parse", "x", "--checkpoint", "y", "--size", "473"], "'473' is no size: write 473x473, height first"),
        (["parse", "x", "--checkpoint", "y", "--scales", "1,big"], "'1,big' is no list of scales"),
        (["parse", "x"], "--checkpoint"),
        (["pars"], "invalid choice: 'pars'"),
        ([], "COMMAND"),
    ],
)
def test_words_that_argparse_refuses(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_exports_that_cannot_be(run_dir, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for words, message in [
        ([run_dir, tmp_path / "full"], "a new or empty folder"),
        ([run_dir, tmp_path / "full" / "file"], "a new or empty folder"),
        ([run_dir, tmp_path / "out", "--generation", "7"], "one of generations"),
        ([tmp_path / "nowhere", tmp_path / "out"], "nowhere"),
    ]:
        assert main(["export", *map(str, words)]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["issues", str(run_dir), "--top", "-1"]) == 2
    assert main(["issues", str(run_dir), "--csv", str(tmp_path / "nowhere" / "x.csv")]) == 2


def test_version_and_help(capsys):
    for words, text in [(["--version"], "noisycorrect 0."), (["--help"], "parse photos and videos of people")]:
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 0
        assert text in capsys.readouterr().out


def test_a_package_that_cannot_be_imported_leaves_the_other_commands(commands, run_dir, capsys):
    def broken():
        raise ImportError("no module named 'pillow'")

    commands[:] = [SimpleNamespace(name="parse", load=broken)]
    assert main(["issues", str(run_dir)]) == 0
    assert "the command 'parse' cannot be loaded: no module named 'pillow'" in capsys.readouterr().err


def test_an_interrupt_is_no_traceback(monkeypatch, run_dir):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.issues, "find_label_issues", interrupted)
    assert main(["issues", str(run_dir)]) == 130


def test_the_project_declares_both():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"noisycorrect": "noisycorrect.cli:main"}
    assert project["entry-points"][cli.GROUP] == {"parse": "noisycorrect_seg.cli:add_parser"}


def test_issues_and_estimates_call_classes_by_the_names_of_the_run(run_dir, tmp_path, capsys):
    names = ("[bold]cat", "dog", "bird\x1b[2J")
    Details("classification", 3, names).write(run_dir)
    assert main(["issues", str(run_dir)]) == 0
    shown = capsys.readouterr().out
    rows = [line.replace("│", " ").split() for line in shown.splitlines() if "0." in line]
    assert [row[:2] for row in rows] == [["1", "bird\\x1b[2J"], ["3", "[bold]cat"]]
    assert "\x1b[2J" not in shown
    assert main(["estimate", str(run_dir)]) == 0
    assert "class 0" not in capsys.readouterr().out
    Details("classification", 3, None).write(run_dir)
    assert main(["issues", str(run_dir)]) == 0
    assert "bold" not in capsys.readouterr().out
