"""Rows, summaries, tables, pictures and costs of the parsing study, without training."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from benchmarks.lab import published
from benchmarks.parsing import ceiling, commands, costs, data, methods, networks, pictures, plan, report, sources
from benchmarks.parsing.study import Options
from noisycorrect import OnePhase, Schedule
from noisycorrect.data.batches import ShardedBatches
from noisycorrect.labels import SoftLabelStore
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import LIP, Classes
from noisycorrect_seg.datasets import SyntheticScenes

# ---------------------------------------------------------------- equal passes


def slow_passes(method: str, schedule: Schedule, samples: int, batch_size: int, ranks: int) -> int:
    """Count a run's sample passes batch by batch, as the engine works."""
    passes = 0
    for epoch in range(schedule.epochs):
        for rank in range(ranks):
            batches = ShardedBatches(samples, batch_size, rank=rank, world_size=ranks, full=False)
            passes += sum(3 * len(batch) for batch in batches)
        if schedule.ends_cycle(epoch):
            gathered, last = method == "robust-gathered", epoch + 1 == schedule.epochs
            predicts = method.startswith(("lr", "both", "robust")) and not gathered and schedule.cycle(epoch) > 0
            validated_or_restarted_from = method.startswith(("ma", "both"))
            if validated_or_restarted_from or (method.startswith(("robust", "ema")) and (last or predicts)):
                passes += min(samples, 8192)
            passes += samples if predicts else 0
    return passes


@pytest.mark.parametrize(
    ("samples", "batch_size", "ranks"), [(17, 8, 1), (18, 8, 1), (5, 8, 1), (35, 8, 2), (9000, 36, 4)]
)
def test_sample_passes_are_those_of_a_slow_count(samples: int, batch_size: int, ranks: int) -> None:
    schedule = Schedule(3, 2, 2)
    for method, recipe in methods.PARSING_METHODS.items():
        if method == "adele":  # whose step sees each image several times
            continue
        own = schedule if recipe.schedule != OnePhase() else Schedule(7, 0, 1)
        counted = slow_passes(method, own, samples, batch_size, ranks)
        assert methods.parsing_passes(method, own, samples, batch_size, ranks=ranks) == counted, method


@pytest.mark.parametrize("schedule", [Schedule(2, 1, 1), Schedule(100, 5, 10), Schedule(30, 5, 3)])
@pytest.mark.parametrize("samples", [50, 30_462])
def test_every_row_gets_the_passes_of_self_correction_rounded_up(schedule: Schedule, samples: int) -> None:
    budget = methods.parsing_passes("both", schedule, samples, 36)
    for method in methods.PARSING_METHODS:
        longer = methods.schedule_at_equal_passes(method, schedule, samples, 36)
        if method.startswith("robust"):
            continue
        assert methods.parsing_passes(method, longer, samples, 36) >= budget
        assert (longer.cycles, longer.cycle_epochs) == (schedule.cycles, schedule.cycle_epochs) or longer.cycles == 0
        if longer.epochs > schedule.epochs:
            fewer = dataclasses.replace(longer, init_epochs=longer.init_epochs - 1)
            assert methods.parsing_passes(method, fewer, samples, 36) < budget, method
    assert methods.schedule_at_equal_passes("both", schedule, samples, 36) == schedule


@pytest.mark.parametrize("schedule", [Schedule(4, 2, 1), Schedule(100, 5, 10)])
def test_the_robust_recipe_divides_what_the_same_passes_allow_rounded_down(schedule: Schedule) -> None:
    budget = methods.parsing_passes("both", schedule, 300, 36)
    own = methods.schedule_at_equal_passes("robust", schedule, 300, 36)
    assert methods.parsing_passes("robust", own, 300, 36) <= budget
    longer = methods.PARSING_METHODS["robust"].schedule.divided(own.epochs + 1)
    assert methods.parsing_passes("robust", longer, 300, 36) > budget


def test_the_optimizer_of_a_preset_is_every_rows() -> None:
    for method in methods.PARSING_METHODS:
        own = methods.prepared_recipe(method, Schedule(2, 1, 1), "sgd")
        assert own.optimizer == methods.PARSING_METHODS[method].optimizer
        made = methods.prepared_recipe(method, Schedule(2, 1, 1), "adamw").optimizer([nn.Parameter(torch.ones(2))])
        assert isinstance(made, torch.optim.AdamW)
    with pytest.raises(InvalidInputError, match="did you mean 'adamw'"):
        plan.preset_named("demo", optimizer="adam")


def test_the_papers_schedule_costs_plain_training_a_few_epochs_more() -> None:
    paper = plan.preset_named("paper")
    assert paper.schedule == Schedule(100, 5, 10)
    longer = methods.schedule_at_equal_passes("none", paper.schedule, 30_462, paper.batch_size)
    # 5 predictions are 5/3 epochs, 6 times 8,192 of 30,462 samples 0.54 epochs: 2.2, rounded up.
    assert longer.epochs == 150 + 3


# ---------------------------------------------------------------- rows, reference, presets


def test_ablations_are_the_papers_rows() -> None:
    assert [row.name for row in plan.variants(None)] == ["none", "both", "robust"]
    assert [row.name for row in plan.variants("correction")] == ["none", "ma", "lr", "both"]
    losses = plan.variants("losses")
    assert [row.name for row in losses] == list(published.TABLE_3)
    assert {row.method for row in losses} == {"none"}
    table_4 = plan.make_cells(plan.variants("correction"), plan.preset_named("paper"), FEW, [0])
    assert table_4["none"][0].losses == losses[-1].losses, "Table 3 ends where Table 4 begins"
    assert len(plan.variants("backbones")) == len(plan.BACKBONES) * 2
    assert len(plan.variants("context", ["none", "both", "both-cb"])) == 9


def test_reference_rows_are_the_papers() -> None:
    numbers = {name: published.paper_miou("correction", name) for name in ("none", "ma", "lr", "both", "both-cb")}
    assert numbers == {"none": 56.88, "ma": 57.94, "lr": 57.44, "both": 58.62, "both-cb": None}
    assert [published.paper_miou("losses", name) for name in plan.LOSSES] == [53.75, 54.14, 56.33, 56.88]
    for other in ("backbones", "context"):
        assert all(published.paper_miou(other, row.name) is None for row in plan.variants(other))


def test_each_loss_row_adds_one_term() -> None:
    terms = []
    for name in plan.LOSSES:
        loss = networks.parsing_loss(name)
        terms.append([loss.cross_entropy, loss.edge, loss.lovasz, loss.consistency])
    assert terms == [[k <= row for k in range(4)] for row in range(4)]


FEW = plan.Data("people", 12, 4, "none", "-")


def a_cell(**changes: Any) -> plan.Cell:
    preset = plan.preset_named("tiny", **changes)
    return plan.make_cells(plan.variants(None, ["both"]), preset, FEW, [0])["both"][0]


def test_a_row_without_the_edge_term_has_no_edge_branch() -> None:
    full = networks.build_network(a_cell(), 20)
    plain = networks.build_network(dataclasses.replace(a_cell(), losses="ce"), 20)
    assert full.config["edge"] != plain.config["edge"]
    assert networks.parameters(plain) < networks.parameters(full)


@pytest.mark.parametrize(("seeds", "asked", "expected"), [(1, False, 3), (1, True, 2), (2, False, 2), (4, False, 2)])
def test_no_core_waits_for_a_last_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: int, asked: bool, expected: int
) -> None:
    found = []

    def computed(cells: Any, run_one: Any, folder: Path, processes: int, **_: Any) -> list[Any]:
        found.append(processes)
        return []

    monkeypatch.setattr(commands, "run_cells", computed)
    cells = plan.make_cells(plan.variants(None), plan.preset_named("tiny"), FEW, range(seeds))
    commands._compute(cells, Options(tmp_path), 2, few_at_once=not asked, verbose=False)
    assert found == [expected]


def test_a_pretrained_backbone_is_the_packages_and_its_first_levels_stay() -> None:
    preset = plan.preset_named("light", width=0.0625)
    (cell,) = plan.make_cells(plan.variants(None, ["none"]), preset, FEW, [0], weights=plan.PACKAGE)["none"]
    network = networks.build_network(cell, 5)
    other = networks.build_network(dataclasses.replace(cell, seed=1), 5)
    first, again = network.backbone.state_dict(), other.backbone.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first), "not those of a seed"
    assert (network.config["backbone_width"], network.config["freeze"]) == (1.0, 1)
    frozen = [parameter.requires_grad for parameter in network.backbone.parameters()]
    assert not frozen[0]
    assert frozen[-1]


def test_the_backbones_rate_is_its_own() -> None:
    network = networks.build_network(a_cell(), 5)
    for optimizer in plan.OPTIMIZERS:
        recipe = methods.prepared_recipe("none", Schedule(2, 1, 1), optimizer, backbone_rate=0.25)
        backbone, rest = recipe.optimizer(network, lr=0.5).param_groups
        assert (backbone["lr"], rest["lr"]) == (0.125, 0.5)
        assert len(backbone["params"]) == len(list(network.backbone.parameters()))


def test_networks_of_a_seed_are_equal_and_the_callers_generator_stays() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again = (networks.build_network(a_cell(), 20).state_dict() for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = networks.build_network(dataclasses.replace(a_cell(), seed=1), 20).state_dict()
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_development_seeds_have_validation_people_of_their_own() -> None:
    few = plan.Data("people", 2, 2, "none", "-")
    sources = {seed: data.load("people", None, few, (48, 32), seed) for seed in (0, 1, 100)}
    images = {seed: source.val.image(0) for seed, source in sources.items()}
    assert np.array_equal(images[0], images[1]), "reported seeds share them"
    assert not np.array_equal(images[0], images[100])
    assert not np.array_equal(sources[0].train.image(0), sources[1].train.image(0))
    assert not np.array_equal(sources[0].train.image(0), images[0])


# ---------------------------------------------------------------- summaries and tables


def records(values: dict[str, list[float]], *, refined: tuple[str, ...] = ("both",)) -> list[dict[str, Any]]:
    """Return made-up records: validation mIoU of each row, one a seed."""
    return [
        {
            "row": name,
            "config": {"method": name.split(", ")[-1], "seed": seed, "init_epochs": 4, "cycles": 1, "cycle_epochs": 2},
            "result": {
                "val": {"mean_iou": score, "pixel_accuracy": 0.9, "mean_accuracy": 0.5, "published_mean_iou": 0.1},
                "image_frame": None,
                "class_iou": {"Background": 0.9, "Hat": None},
                "labels_before": {"label_accuracy": 0.8, "label_mean_iou": 0.6},
                "labels_after": {"label_accuracy": 0.9, "label_mean_iou": 0.7} if name in refined else None,
                "label_change": 0.05 if name in refined else None,
                "parameters": 1000,
                "sample_passes": 100,
                "seconds": 1.5,
                "history": [{"cycle": cycle, "val_mean_iou": score} for cycle in (0, 1)],
            },
        }
        for name, scores in values.items()
        for seed, score in enumerate(scores)
    ]


def summarised(values: dict[str, list[float]], study: str | None = "correction") -> list[Any]:
    return report.rows_of(plan.variants(study), records(values))


def test_gains_are_paired_by_seed_and_the_highest_mean_is_bold_even_when_it_is_plain() -> None:
    found = summarised({"none": [0.50, 0.60], "ma": [0.49, 0.58], "both": [0.48, 0.59]})
    none, ma, both = found
    assert report.winner(found) is none
    assert math.isnan(none.gain[0])
    assert ma.gain == pytest.approx((-0.015, math.sqrt(0.5) * 0.01))
    assert both.gain[0] == pytest.approx(-0.015)
    text = report.verdict(found)
    assert text.startswith("Highest val mIoU: **none** (plain training), 1.50 points above")
    assert "less than the spread" in text
    grid = report.model_grid("correction", found).lines
    assert [line[1].startswith("**") for line in grid[1:]] == [True, False, False]
    assert grid[2][2] == "-1.5 ± 0.7"


def test_equal_rows_have_no_winner() -> None:
    found = summarised({"none": [0.5], "both": [0.5]})
    assert report.winner(found) is None
    assert "**" not in str(report.model_grid("correction", found).lines)
    assert report.verdict(found) == "No row wins: none and both have the same val mIoU."


def test_a_row_alone_is_no_winner_and_unfinished_rows_are_left_out() -> None:
    found = summarised({"both": [0.5]})
    assert len(found) == 1
    assert report.winner(found) is None
    assert report.verdict(found) == ""


def test_a_gain_needs_the_same_seed() -> None:
    _, both = summarised({"none": [0.5], "both": [0.6, 0.9]}, None)
    assert both.gain[0] == pytest.approx(0.1)


def test_backbones_are_compared_with_their_own_plain_training() -> None:
    variants = plan.variants("backbones")
    found = summarised({variant.name: [0.1 * place + 0.1] for place, variant in enumerate(variants)}, "backbones")
    assert found[3].rival == "resnet50, none"
    assert found[3].gain[0] == pytest.approx(0.1)


def test_columns_that_say_nothing_are_left_out() -> None:
    found = summarised({"none": [0.5], "both": [0.6]})
    head = report.model_grid("correction", found).lines[0]
    assert "paper: mIoU" in head
    assert "gain" in report.model_grid("backbones", found[:1]).lines[0]
    assert "paper: mIoU" not in report.model_grid("backbones", found).lines[0]
    assert "mIoU in images" not in head
    assert "params" not in head
    assert report.label_grid(found[:1]) is None, "plain training refines no label"
    labels = report.label_grid(found)
    assert labels is not None
    assert labels.lines[1] == ["both", "80.0", "90.0", "60.0", "70.0", "5.0"]
    classes = report.class_grid(found).lines
    assert classes[1:3] == [["Background", "90.0", "90.0"], ["Hat", "-", "-"]]


def test_the_page_says_what_the_papers_figures_are() -> None:
    made = records({"none": [0.5], "both": [0.6]})
    page = report.page("correction", report.rows_of(plan.variants(None), made), made)
    assert "the real LIP, not comparable with ours" in page
    assert "| both | **60.0** | +10.0 |" in page
    assert "- both: self-correction" in page
    assert "| row | initial | cycle 1 |" in page


def test_the_page_names_classes_that_a_row_loses() -> None:
    made = records({"none": [0.5, 0.5], "ma": [0.5, 0.5], "both": [0.5, 0.5]})
    for record in made:
        record["result"]["class_iou"]["Background"] = {"none": 0.9, "ma": 0.885, "both": 0.87}[record["row"]]
    rows = report.rows_of(plan.variants("correction"), made)
    assert report.classes_behind(rows) == ["ma: none", "both: Background -3.0"]
    assert "- both: Background -3.0" in report.page("correction", rows, made)
    assert report.classes_behind(rows[1:]) == [], "nothing to compare with"


# ---------------------------------------------------------------- pictures


class _Plain:
    """Grey images with masks that are given."""

    classes = Classes("two", ("background", "person"))

    def __init__(self, masks: list[np.ndarray]) -> None:
        self.masks = masks

    def __len__(self) -> int:
        return len(self.masks)

    def image(self, index: int) -> np.ndarray:
        return np.full((*self.masks[index].shape, 3), 100, np.uint8)

    def mask(self, index: int) -> np.ndarray:
        return self.masks[index]

    def name(self, index: int) -> str:
        return str(index)


def test_the_noisiest_images_are_shown_with_every_generation(tmp_path: Path) -> None:
    clean = [np.ones((8, 6), np.uint8) for _ in range(5)]
    given = [mask.copy() for mask in clean]
    given[3][:4] = 0
    given[1][:2] = 0
    store = SoftLabelStore.create(None, given, 2, kind="segmentation", keep=None)
    for _ in range(2):
        with store.new_generation() as writer:
            person = torch.stack([torch.zeros(5, 4, 3), torch.ones(5, 4, 3)], 1)
            writer.write(np.arange(5), person)
    wrong = pictures.evolutions(_Plain(given), store, clean, count=5)
    assert [one.index for one in wrong] == [3, 1], "of the others nothing is"
    found = pictures.evolutions(_Plain(given), store, clean, count=2)
    assert [one.index for one in found] == [3, 1]
    assert found[0].masks.shape == (3, 8, 6)
    assert np.array_equal(found[0].masks[0], given[3])
    assert (found[0].masks[2] == 1).all(), "two thirds of the blend are the prediction"
    pictures.save_evolutions(tmp_path / "evolution.npz", found)
    for one, again in zip(found, pictures.load_evolutions(tmp_path / "evolution.npz"), strict=True):
        for name in ("index", "image", "masks", "clean"):
            assert np.array_equal(getattr(one, name), getattr(again, name)), name


def test_without_clean_masks_what_changed_is_shown_in_red() -> None:
    masks = np.zeros((2, 4, 4), np.uint8)
    masks[1, 0, 0] = 1
    one = pictures.Evolution(0, np.full((4, 4, 3), 100, np.uint8), masks, None)
    shown = pictures._changed(one)
    assert shown[0, 0].tolist() == pictures.DIFFERENT.tolist()
    assert len(np.unique(shown[1:].reshape(-1, 3), axis=0)) == 1
    sheet = pictures.evolution_picture([one], LIP)
    assert sheet.height > 256
    assert sheet.width > 4 * 256


@pytest.mark.parametrize(("changes", "shown"), [((0.0, 0.2, 0.1), 1), ((0.0, 0.0, 0.0), 0)])
def test_the_picture_is_of_the_first_run_whose_labels_changed(changes: tuple[float, ...], shown: int) -> None:
    records = [
        {"row": "robust", "config": {"seed": seed}, "result": {"evolution": f"{seed}.npz", "label_change": change}}
        for seed, change in enumerate(changes)
    ]
    row: Any = SimpleNamespace(name="robust")
    assert report._evolved(row, records) == (f"{shown}.npz", shown)
    row.name = "none"
    assert report._evolved(row, records) is None


def test_large_images_are_thinned_for_pictures() -> None:
    given = [np.zeros((600, 300), np.uint8)]
    store = SoftLabelStore.create(None, given, 2, kind="segmentation")
    (one,) = pictures.evolutions(_Plain(given), store, None)
    assert one.image.shape[:2] == one.masks.shape[1:] == (200, 100)


# ---------------------------------------------------------------- data and costs


def test_shrunk_images_keep_mask_and_image_of_one_size() -> None:
    mask = np.zeros((100, 40), np.uint8)
    mask[:, 20:] = 1
    small = sources.Shrunk(_Plain([mask]), (50, 50), 1.5)
    found = small.mask(0)
    assert found is not None
    assert small.image(0).shape[:2] == found.shape == (75, 30)
    assert set(np.unique(found)) == {0, 1}
    unchanged = sources.Shrunk(_Plain([mask]), (500, 500), 1.5)
    assert unchanged.image(0).shape[:2] == (100, 40), "no image grows"


def test_shrunk_images_keep_their_people() -> None:
    scenes = SyntheticScenes(1, people=(2, 2), size=(100, 40))
    small = sources.Shrunk(scenes, (50, 50), 1.5)
    assert small.instances(0).shape == small.image(0).shape[:2] == (75, 30)
    assert set(np.unique(small.instances(0))) == set(np.unique(scenes.instances(0)))


def test_what_autograd_keeps_is_counted_at_its_peak() -> None:
    layer = nn.Linear(8, 8)
    inputs = torch.ones(4, 8, requires_grad=True)
    with costs.kept_for_backward(layer) as peak:
        layer(inputs).exp().sum().backward()
        # Inputs and exp's output, 4 x 8 floats each; the weight is none of it.
        assert peak == [2 * 4 * 8 * 4]
        layer(inputs).sum().backward()
    assert peak == [2 * 4 * 8 * 4], "the first step's tensors were gone"


def test_costs_of_a_run_are_epochs_times_samples() -> None:
    cell = a_cell()
    found = costs.Costs(
        1000,
        step_seconds=0.1,
        forward_seconds=0.01,
        measured_batch=8,
        activation_bytes=10.0,
        generation_bytes=(7.0, 9.0),
    )
    # 6 epochs; 3 recalibrations and 2 predictions of 12 samples; 3 validations of 4.
    assert found.seconds(cell) == pytest.approx(6 * 12 * 0.1 + (5 * 12 + 3 * 4) * 0.01)
    assert found.memory(cell) == 4 * 4 * 1000 + 8 * 10
    assert found.memory(cell, ranks=4) == 4 * 4 * 1000 + 2 * 10
    assert found.disk(cell) == (2 * 12 * 7, 2 * 12 * 9)
    assert found.disk(dataclasses.replace(cell, method="ma")) == (0, 0)


def test_a_measured_step_has_costs() -> None:
    found = costs.measure(a_cell(), LIP, device="cpu", channels_last=True, compiled=False)
    assert found.step_seconds > found.forward_seconds > 0
    assert found.parameters == networks.parameters(networks.build_network(a_cell(), 20))
    assert found.activation_bytes > 48 * 32 * 20 * 4, "the logits at full size at least"


def test_the_label_store_is_smaller_than_a_byte_a_probability() -> None:
    assert 100 < costs.generation_bytes(20, (60, 40)) < 60 * 40 * 20


@pytest.mark.parametrize(
    ("name", "overrides"),
    [("papr", {}), ("paper", {"epochs": 10, "cycles": 2}), ("paper", {"batch_size": 1}), ("paper", {"width": 0})],
)
def test_presets_say_what_is_wrong(name: str, overrides: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        plan.preset_named(name, **overrides)


def test_two_masks_of_one_photo_are_compared_where_the_photos_overlap():
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.random((60, 40)), 2)
    mask = (image > image.mean()).astype(np.uint8)
    cuts = [np.s_[0:52, 3:40], np.s_[6:60, 0:35]]  # of one photo, cut out differently
    first, second = ceiling._overlap([image[cut] for cut in cuts], [mask[cut] for cut in cuts])
    assert np.array_equal(first, mask[6:52, 3:35])
    assert np.array_equal(second, first)
    assert ceiling.agreement_of_annotators("people", None) is None
