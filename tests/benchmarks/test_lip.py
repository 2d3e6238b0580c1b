"""`python -m benchmarks.lip` at toy size, end to end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import lip
from benchmarks.parsing import study
from noisycorrect import Progress
from noisycorrect.training.run import Run
from noisycorrect_seg.ace2p import ACE2P
from noisycorrect_seg.datasets.synthetic import SyntheticPeople
from noisycorrect_seg.inference.visualise import save_mask

sys.path.insert(0, str(Path(__file__).parents[1]))
from spawn import run_processes

TOY = ["--preset", "tiny", "--train-limit", "12", "--val-limit", "4", "--init-epochs", "2", "--cycles", "2"]
TOY += ["--cycle-epochs", "1", "--processes", "1"]
SHORT = ["--init-epochs", "1", "--cycles", "1"]  # where one correction is enough


def run(folder: Path, *more: str) -> int:
    return lip.main([*TOY, "--out", str(folder), *more])


def report(folder: Path, stem: str = "results") -> dict[str, object]:
    return json.loads((folder / f"{stem}.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the default study."""
    folder = tmp_path_factory.mktemp("study")
    assert run(folder) == 0
    return folder


def test_a_study_is_written_and_finished_runs_are_kept(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = report(whole)
    none, both, robust = stored["summary"]
    assert (none["name"], both["name"], robust["name"]) == ("none", "both", "robust")
    taken = passes(whole)
    assert taken.pop("robust") <= BUDGET, "ours is rounded down"
    assert taken == {"none": 6 * EPOCH, "both": BUDGET}
    assert (none["paper"], both["paper"]) == (0.5688, 0.5862)
    assert 0 <= none["measures"]["val.mean_iou"][0] < 1
    assert "labels_after.label_accuracy" not in none["measures"], "plain training refines nothing"
    for row in (both, robust):
        assert 0.5 < row["measures"]["labels_before.label_accuracy"][0] < 1
        assert 0.5 < row["measures"]["labels_after.label_accuracy"][0] <= 1
    assert len(stored["cells"][1]["result"]["class_iou"]) == 11
    assert sorted(both["series"]["val_mean_iou"]) == ["0", "1", "2"]
    for name in ("results.md", "results-evolution.png", "results-curves.png"):
        assert (whole / name).stat().st_size > 0
    cells = whole / "cells"
    assert not list(cells.glob("*/run")), "checkpoints and label stores go"
    assert len(list(cells.glob("*/model.pt"))) == 3
    times = {path: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert run(whole, "--ablation", "cycles", "--stem", "again") == 0
    assert times == {path: path.stat().st_mtime_ns for path in cells.glob("*.json")}, "both studies share their runs"
    shown = capsys.readouterr().out
    assert "Highest val mIoU" in shown or "No row wins" in shown
    assert "56.88" in shown, "the paper's figure for plain training"
    assert report(whole, "again")["summary"][1]["measures"] == both["measures"]


def passes(folder: Path) -> dict[str, int]:
    return {cell["row"]: cell["result"]["sample_passes"] for cell in report(folder)["cells"]}


EPOCH = 3 * 12  # sample passes
# 4 epochs; statistics after the initial phase and after each of two cycles, predictions after each cycle.
BUDGET = 4 * EPOCH + 3 * 12 + 2 * 12
SHORT_BUDGET = 2 * EPOCH + 2 * 12 + 12


def test_half_a_correction_gets_the_same_passes(tmp_path: Path) -> None:
    assert run(tmp_path, "--rows", "ma,lr", *SHORT) == 0
    assert passes(tmp_path) == {"ma": 3 * EPOCH + 2 * 12, "lr": 3 * EPOCH + 12}
    assert all(SHORT_BUDGET <= taken < SHORT_BUDGET + EPOCH for taken in passes(tmp_path).values())


def test_a_dry_run_prints_the_plan_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--dry-run", "--ablation", "correction", "--seeds", "2") == 0
    shown = capsys.readouterr().out
    assert "8 runs, 8 to compute" in shown
    assert "6 = 4 + 2 x 1" in shown, "plain training, two epochs longer"
    assert "4 = 2 + 2 x 1" in shown
    assert "12 training and 4 validation images, input 48x32" in shown.replace("\n", " ")
    assert not list(tmp_path.glob("**/*.json"))


def test_a_run_that_was_killed_goes_on_and_ends_the_same(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    class Kill(Progress):
        def on_checkpoint(self, run: Run) -> None:
            if run.epoch == 3:
                raise Killed

    monkeypatch.setattr(study, "Progress", Kill)
    with pytest.raises(Killed):
        run(tmp_path / "killed", "--rows", "both")
    (place,) = (path.parent for path in (tmp_path / "killed").glob("cells/*/run"))
    assert lip.main([*TOY, "--out", str(tmp_path / "halfway"), "--evaluate", str(place)]) == 0, "the average so far"
    monkeypatch.setattr(study, "Progress", Progress)
    assert run(tmp_path / "killed", "--rows", "both") == 0
    killed = report(tmp_path / "killed")["cells"][0]["result"]
    (uninterrupted,) = (cell["result"] for cell in report(whole)["cells"] if cell["row"] == "both")
    for name in ("val", "class_iou", "labels_before", "labels_after", "label_change", "sample_passes"):
        assert killed[name] == uninterrupted[name], name
    assert len(killed["history"]) == 3


def a_folder(root: Path) -> Path:
    """Return a folder of the layout that one's own data has, with pictures larger than the network's input."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    people = SyntheticPeople(13, size=(100, 70), noise="boundary:1")
    for index in range(len(people)):
        Image.fromarray(people.image(index)).save(root / "images" / f"{index:02d}.png")
        save_mask(root / "masks" / f"{index:02d}.png", people.mask(index), people.classes)
    (root / "classes.txt").write_text("\n".join(people.classes.names))
    (root / "val.txt").write_text("00\n01\n")
    return root


def test_ones_own_folder_has_no_clean_masks_and_is_measured_in_its_images(tmp_path: Path) -> None:
    data = ["--dataset", "folder", "--data-dir", str(a_folder(tmp_path / "data"))]
    assert run(tmp_path / "out", *data, "--rows", "both", "--train-limit", "8", "--keep-labels") == 0
    stored = report(tmp_path / "out")
    (cell,) = stored["cells"]
    assert (cell["config"]["train"], cell["config"]["val"]) == (8, 2)
    assert cell["result"]["labels_before"] is cell["result"]["labels_after"] is None
    assert 0 <= cell["result"]["label_change"] < 0.5
    measures = stored["summary"][0]["measures"]
    assert measures["image_frame.mean_iou"][0] != measures["val.mean_iou"][0]
    assert (tmp_path / "out" / "results-evolution.png").exists(), "the change stands for the clean masks"
    (labels,) = (tmp_path / "out").glob("cells/*/run/labels/generation-0002.h5")
    place = labels.parents[2]
    assert lip.main([*TOY, "--out", str(tmp_path / "out"), *data, "--evaluate", str(place)]) == 0
    found = report(tmp_path / "out", "results-evaluation")
    assert found["scores"]["images"] == 2
    assert found["scores"]["mean_iou"] == pytest.approx(cell["result"]["image_frame"]["mean_iou"])


def test_a_saved_network_is_evaluated(tmp_path: Path, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    network = ACE2P(11, "resnet18", width=0.125)
    for _ in range(30):  # statistics for which its predictions differ from place to place
        network(torch.randn(4, 3, 48, 32))
    network.save(tmp_path / "own.pt")
    evaluation = [*TOY, "--out", str(tmp_path), "--evaluate"]
    assert lip.main([*evaluation, str(tmp_path / "own.pt"), "--tta", "--stem", "tta"]) == 0
    shown = capsys.readouterr().out
    assert "published: absent classes count 0" in shown
    assert "scales 0.5, 0.75, 1, 1.25, 1.5 and mirrors" in shown
    assert "does not say which scales" in shown.replace("\n", " ")
    assert lip.main([*evaluation, str(tmp_path / "own.pt"), "--stem", "plain"]) == 0
    averaged, plain = (report(tmp_path, f"{stem}-evaluation")["scores"] for stem in ("tta", "plain"))
    assert averaged["images"] == plain["images"] == 4
    assert averaged["pixel_accuracy"] != plain["pixel_accuracy"]
    saved = next(whole.glob("cells/*none*/model.pt"))
    assert lip.main([*evaluation, str(saved), "--stem", "trained"]) == 0
    trained = next(cell for cell in report(whole)["cells"] if cell["row"] == "none")["result"]["val"]["mean_iou"]
    assert report(tmp_path, "trained-evaluation")["scores"]["mean_iou"] == pytest.approx(trained)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "lpi", "--data-dir", "."], "did you mean 'lip'"),
        (["--dataset", "lip"], "--data-dir"),
        (["--dataset", "people", "--data-dir", "."], "name the data set in the folder"),
        (["--rows", "none,bot"], "did you mean 'both'"),
        (["--rows", "none,none"], "each row once"),
        (["--ablation", "loss"], "did you mean 'losses'"),
        (["--preset", "papr"], "did you mean 'paper'"),
        (["--backbone", "resnet19"], "did you mean"),
        (["--context", "psq"], "did you mean 'psp'"),
        (["--size", "48"], "HEIGHTxWIDTH"),
        (["--size", "8x8"], "--size"),
        (["--epochs", "10"], "leave one of them out"),
        (["--seeds", "0"], "--seeds to be a whole number >= 1; got 0"),
        (["--lr", "0"], "--lr"),
        (["--noise", "bondary:2"], "did you mean 'boundary'"),
        (["--amp", "half"], "precision"),
        (["--weights", "nowhere.pth"], "got no such file"),
        (["--weights", "nowhere.pth", "--pretrained"], "--pretrained or --weights"),
        (["--pretrained", "--backbone", "resnet18"], "'efficientnet-lite0'"),
        (["--losses", "ce+iuo"], "did you mean 'iou'"),
        (["--freeze", "5"], "0 to 4"),
        (["--processes", "0"], "--processes to be a whole number >= 1"),
        (["--evaluate", "nowhere.pth"], "no such file"),
        (["--evaluate", "."], "model.pt"),
    ],
)
def test_mistakes_get_one_line_and_status_2(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path / "out", *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_network_of_other_classes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ACE2P(7, "resnet18", width=0.125).save(tmp_path / "seven.pt")
    assert run(tmp_path, "--evaluate", str(tmp_path / "seven.pt")) == 2
    assert "a network of 11 classes for people; got 7 in seven.pt" in capsys.readouterr().err
    (tmp_path / "other.pt").write_bytes(b"no checkpoint")
    assert run(tmp_path, "--evaluate", str(tmp_path / "other.pt")) == 2
    assert "other.pt" in capsys.readouterr().err


def test_runs_that_fail_leave_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save = study.save_evolutions

    def fails(path: Path, found: object) -> None:
        if "both" in str(path):
            raise RuntimeError("out of luck")
        save(path, found)

    monkeypatch.setattr(study, "save_evolutions", fails)
    assert run(tmp_path, "--rows", "none-cosine,both-cb", *SHORT) == 1
    assert "out of luck" in capsys.readouterr().err
    assert passes(tmp_path) == {"none-cosine": 3 * EPOCH}


def _on_a_rank(folder: Path) -> int:
    return run(folder, "--rows", "both", "--device", "cpu", *SHORT)


def test_two_ranks_share_each_run_and_one_writes(tmp_path: Path) -> None:
    assert run_processes(_on_a_rank, 2, tmp_path, tmp_path / "out") == [0, 0]
    (cell,) = report(tmp_path / "out")["cells"]
    assert cell["result"]["sample_passes"] == SHORT_BUDGET
    assert np.isfinite(cell["result"]["val"]["mean_iou"])
    assert len(list((tmp_path / "out").glob("cells/*.json"))) == 1


def test_evaluation_needs_the_validation_images_alone(tmp_path, capsys):
    people = SyntheticPeople(3, size=(48, 32))
    for kind, suffix in (("images", "jpg"), ("segmentations", "png")):
        (tmp_path / "lip" / f"val_{kind}").mkdir(parents=True)
        for index in range(len(people)):
            picture = Image.fromarray(people.image(index) if kind == "images" else people.mask(index))
            picture.save(tmp_path / "lip" / f"val_{kind}" / f"{index}.{suffix}")
    (tmp_path / "lip" / "val_id.txt").write_text("0\n1\n2\n")
    ACE2P(20, "resnet18", width=0.125).save(tmp_path / "own.pt", classes=people.classes, size=(48, 32))
    words = ["--dataset", "lip", "--data-dir", str(tmp_path / "lip"), "--evaluate", str(tmp_path / "own.pt")]
    assert lip.main([*words, "--out", str(tmp_path / "out"), "--official-centres"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "input 48x32, 3 images" in shown
    assert "box centres cut to whole numbers" in shown
