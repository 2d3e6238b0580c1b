"""The mask-noise study: sources, equal passes, scores, cells, report."""

from __future__ import annotations

import json
import math
import types

import numpy as np
import pytest
import torch

from benchmarks.lab.unet import UNet
from benchmarks.parsing import mask_noise
from benchmarks.parsing.mask_methods import MASK_METHODS, mask_epochs_at_equal_passes, mask_passes
from benchmarks.parsing.mask_report import figures, label_grid, model_grid, page, rows_of
from benchmarks.parsing.mask_scores import agreement_by_mask, label_scores
from benchmarks.parsing.sources import GROUPS, Grouped, Injected
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import noise
from noisycorrect_seg.classes import CCP, LIP, Classes
from noisycorrect_seg.datasets import ParsingDataset
from noisycorrect_seg.datasets.ccp import group_table
from noisycorrect_seg.datasets.synthetic import SyntheticPeople
from noisycorrect_seg.task import HumanParsing

TINY = ["--size=32x32", "--train=8", "--val=4", "--epochs=4", "--width=2"]
TINY += ["--seeds=1", "--first-seed=100", "--processes=1"]


# ---------------------------------------------------------------- sources


@pytest.mark.parametrize(("name", "classes"), [("people", LIP), ("ccp", CCP)])
def test_groups_hold_every_class_once(name, classes):
    table = group_table(classes.names, GROUPS[name])
    for number, (group, names) in enumerate(GROUPS[name].items()):
        for own in names:
            assert table[classes.names.index(own)] == number, (group, own)
    assert table[255] == 255
    assert table[0] == 0


@pytest.mark.parametrize("groups", [{"floor": ["floor"]}, {"floor": ["floor", "roof"], "wall": ["wall"]}])
def test_groups_that_do_not_fit_are_refused(groups):
    with pytest.raises(InvalidInputError, match="in one class"):
        group_table(("floor", "wall"), groups)


def test_noise_is_put_on_groups_once_and_reproducibly():
    people = SyntheticPeople(4, size=(32, 32), seed=100)
    grouped = Grouped(people, GROUPS["people"])
    noisy = Injected(grouped, noise.parse("drop:0.5"), seed=3)
    assert noisy.classes.names == tuple(GROUPS["people"])
    assert not noisy.classes.flip_pairs
    for index in range(4):
        assert np.array_equal(noisy.clean[index], group_table(LIP.names, GROUPS["people"])[people.clean_mask(index)])
        assert np.array_equal(noisy.image(index), people.image(index))
        assert noisy.name(index) == people.name(index)
    again = Injected(grouped, noise.parse("drop:0.5"), seed=3)
    other = Injected(grouped, noise.parse("drop:0.5"), seed=4)
    assert all(np.array_equal(noisy.mask(i), again.mask(i)) for i in range(4))
    assert any(not np.array_equal(noisy.mask(i), other.mask(i)) for i in range(4))
    assert any(not np.array_equal(noisy.mask(i), noisy.clean[i]) for i in range(4))


def test_a_source_without_masks_is_refused():
    class Bare(Grouped):
        def mask(self, index):
            return None

    with pytest.raises(InvalidInputError, match="a mask for each image"):
        Injected(Bare(SyntheticPeople(1, size=(32, 32)), GROUPS["people"]), noise.parse("none"), seed=0)


@pytest.mark.parametrize("size", [(32, 32), (45, 33)])
def test_the_network_halves_its_input(size):
    height, width = size
    assert UNet(5, width=2)(torch.zeros(2, 3, *size)).shape == (2, 5, -(-height // 2), -(-width // 2))


# ---------------------------------------------------------------- equal passes


def passes(method, epochs):
    return mask_passes(method, epochs, 40, 8)


@pytest.mark.parametrize("budget", [4, 15, 30])
@pytest.mark.parametrize("method", list(MASK_METHODS))
def test_methods_get_the_papers_passes(method, budget):
    allowed = passes("paper", budget)
    epochs = mask_epochs_at_equal_passes(method, budget, 40, 8)
    if method == "paper":
        assert epochs == budget
    elif MASK_METHODS[method].correction is None:
        assert passes(method, epochs - 1) < allowed <= passes(method, epochs)
    else:
        assert passes(method, epochs) <= allowed < passes(method, epochs + 1) or epochs == 2


def test_planned_passes_count_training_recalibration_and_predictions():
    assert passes("ce", 10) == 3 * 10 * 40
    assert passes("paper", 15) == 3 * 15 * 40 + 6 * 40 + 5 * 40
    area = 0.7**2 + 1 + 1.5**2
    assert passes("adele", 10) == round((3 * 10 + 6) * 40 * area)  # mirrors after four epochs
    assert passes("adele-lean", 10) == round(3 * 10 * 40 * (1 + 0.7**2))


# ---------------------------------------------------------------- scores


def test_scores_of_a_method_without_labels_are_those_of_its_network():
    task = HumanParsing(tuple(GROUPS["people"]), size=(32, 32))
    train = Injected(Grouped(SyntheticPeople(3, size=(32, 32)), GROUPS["people"]), noise.parse("drop:0.6"), seed=0)
    train.given[0][0, :5] = 255
    torch.manual_seed(0)
    network = UNet(11, width=2).eval()
    result = types.SimpleNamespace(labels=types.SimpleNamespace(generation=0), model=network)
    canonical = ParsingDataset(train, (32, 32))
    scores = label_scores(result, canonical, task, train.given, train.clean)

    hits = {"before": 0, "after": 0}
    known, wrong, doubt = 0, [], []
    for index in range(3):
        with torch.no_grad():
            logits = network(canonical[index]["image"][None])
        probs = torch.nn.functional.interpolate(
            logits.softmax(1), size=(32, 32), mode="bilinear", align_corners=True
        )[0].double().numpy()  # fmt: skip
        for row, column in np.ndindex(32, 32):
            given, clean = int(train.given[index][row, column]), int(train.clean[index][row, column])
            if given == 255:
                continue
            own = probs[:, row, column]
            blended = (1 - own[given]) * own
            blended[given] += own[given]
            known += 1
            hits["before"] += given == clean
            hits["after"] += int(blended.argmax()) == clean
            wrong.append(given != clean)
            doubt.append(1 - own[given])
    assert scores["labels_before"]["label_accuracy"] == pytest.approx(hits["before"] / known)
    assert scores["labels_after"]["label_accuracy"] == pytest.approx(hits["after"] / known, abs=2e-3)
    assert scores["noise_rate"] == pytest.approx(sum(wrong) / known)
    bad, good = np.array(doubt)[np.array(wrong)], np.array(doubt)[~np.array(wrong)]
    auroc = np.mean((bad[:, None] > good) + 0.5 * (bad[:, None] == good))
    assert scores["issue_auroc"] == pytest.approx(auroc, abs=1e-3)


def test_masks_are_ranked_by_how_far_the_network_agrees_with_them():
    class Sees(torch.nn.Module):
        """Reads class 1 off what is bright."""

        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, images):
            bright = images.mean(1, keepdim=True)
            return torch.cat([-bright, bright], 1) * self.scale

    class Bright:
        classes = Classes("two", ("ground", "square"), ())

        def __len__(self):
            return 3

        def name(self, index):
            return str(index)

        def image(self, index):
            return np.repeat(255 * self.square(8)[..., None].astype(np.uint8), 3, 2)

        def square(self, size):
            mask = np.zeros((16, 16), np.uint8)
            mask[4 : 4 + size, 4 : 4 + size] = 1
            return mask

        def mask(self, index):
            return self.square((8, 2, 5)[index])

    source, task = Bright(), HumanParsing(("ground", "square"), size=(16, 16))
    result = types.SimpleNamespace(model=Sees())
    given = [source.mask(index) for index in range(3)]
    found = agreement_by_mask(result, ParsingDataset(source, (16, 16)), task, given)
    assert found.argsort().tolist() == [1, 2, 0]
    assert found[0] > 0.9


# ---------------------------------------------------------------- command line


@pytest.mark.parametrize(
    "words",
    [
        ["--dataset", "lip"],
        ["--methods", "ce,magic"],
        ["--noise", "drop:2"],
        ["--epochs", "3"],
        ["--lr", "0"],
        ["--dataset", "ccp"],
        ["--data-dir", "somewhere"],
    ],
)
def test_a_mistake_in_the_command_ends_with_status_2(words, tmp_path, capsys):
    assert mask_noise.main([*words, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err


def test_a_study_runs_and_is_not_computed_twice(tmp_path, capsys, monkeypatch):
    words = [*TINY, "--methods", "ce,half,paper", "--noise", "drop:0.5;none", "--out", str(tmp_path)]
    assert mask_noise.main(words) == 0
    assert "clean validation mIoU" in capsys.readouterr().out
    report = json.loads((tmp_path / "results.json").read_text())
    assert len(report["cells"]) == 6
    assert len(list(tmp_path.glob("cells/*.json"))) == 6
    assert "## people" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "results-miou-people.png").exists()
    for cell in report["cells"]:
        result = cell["result"]
        assert 0 <= result["val"]["mean_iou"] <= 1
        assert set(result["class_iou"]) == set(GROUPS["people"])
        noisy = cell["config"]["noise"] != "none"
        assert (result["noise_rate"] > 0) == noisy
        assert (result["issue_auroc"] is None) == (not noisy)
        assert result["labels_before"]["label_accuracy"] == pytest.approx(1 - result["noise_rate"])
        config = cell["config"]
        assert result["sample_passes"] == mask_passes(config["method"], config["epochs"], 8, config["batch_size"])
    passes_of = {c["config"]["method"]: c["result"]["sample_passes"] for c in report["cells"]}
    assert passes_of["paper"] <= passes_of["ce"] < passes_of["paper"] + 3 * 8
    assert passes_of["paper"] <= passes_of["half"] < passes_of["paper"] + 2 * 3 * 8

    def fail(data_dir, cell):
        raise AssertionError("computed again")

    monkeypatch.setattr(mask_noise, "run_cell", fail)
    assert mask_noise.main(words) == 0


# ---------------------------------------------------------------- report


def record(method, seed, miou, noise_name="drop:0.4", auroc=0.9):
    config = {"dataset": "people", "noise": noise_name, "method": method, "seed": seed, "epochs": 9, "size": [32, 32]}
    config |= {"width": 2, "lr": 0.1, "batch_size": 4, "train": 8, "val": 4, "budget": 8}
    quality = {"label_accuracy": 0.9, "label_mean_iou": 0.6}
    result = {"val": {"mean_iou": miou, "pixel_accuracy": 0.8}, "labels_before": quality, "labels_after": quality}
    result |= {"issue_auroc": auroc, "noise_rate": 0.1, "sample_passes": 1000, "seconds": 2.0}
    return {"config": config, "result": result}


def test_gains_are_over_plain_training_seed_by_seed():
    records = [record("ce", 0, 0.40), record("elr", 0, 0.43), record("ce", 1, 0.44), record("elr", 1, 0.45)]
    records += [record("elr", 2, 0.99), record("ce", 0, 0.5, "none", auroc=None)]
    plain, elr, clean = rows_of(records)
    assert plain["val.mean_iou"] == pytest.approx((0.42, math.sqrt(2) * 0.02))
    assert math.isnan(plain.gain[0])
    assert elr.gain == pytest.approx((0.02, math.sqrt(2) * 0.01))
    assert [bool(row.best) for row in (plain, elr, clean)] == [False, True, True]
    assert math.isnan(clean.mean("issue_auroc"))


def test_the_page_shows_every_row():
    records = [record("ce", 0, 0.40), record("elr", 0, 0.43), record("ce", 0, 0.5, "none", auroc=None)]
    rows = rows_of(records)
    assert model_grid(rows).lines == [
        ["method", "drop:0.4 (10 % wrong)", "clean (10 % wrong)", "epochs", "passes"],
        ["ce", "40.0", "**50.0**", "9", "1 k"],
        ["elr", "**43.0** (+3.0)", "-", "9", "1 k"],
    ]
    assert [line[:2] for line in label_grid(rows).lines[1:]] == [
        ["drop:0.4", "ce"],
        ["drop:0.4", "elr"],
        ["clean", "ce"],
    ]
    text = page("Title", rows)
    assert text.startswith("# Title\n")
    assert "seeds [0]" in text
    assert list(figures(rows)) == ["miou-people", "labels-people"]


def test_a_picture_has_a_bar_for_every_row():
    rows = rows_of([record(method, 0, 0.4) for method in MASK_METHODS])
    axes = figures(rows)["labels-people"].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == list(MASK_METHODS)
    assert len(axes.patches) == len(MASK_METHODS)
