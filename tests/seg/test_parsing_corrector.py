"""The whole correction loop on masks: frames, label quality, class trust, resuming, two ranks, unlabelled images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spawn import run_processes
from torch import nn
from torch.utils.data import ConcatDataset, Subset, random_split
from watching import QUIET, Kill

from noisycorrect import RECIPES, AtCycleEnd, CorrectionResult, Schedule, SelfCorrector
from noisycorrect.data.batches import LabelView
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets import ParsingDataset
from noisycorrect_seg.geometry.refined import given_on_evidence
from noisycorrect_seg.kind import mask_confusion
from noisycorrect_seg.losses import cross_entropy
from noisycorrect_seg.review import mask_quality
from noisycorrect_seg.task import HumanParsing

SHAPES = Classes("shapes", ("background", "left", "right"), ((1, 2),))
SIZE = (24, 20)
PAPER = RECIPES["paper"]


def task_of(loss=None):
    return HumanParsing(SHAPES, size=SIZE, loss=loss)


class Squares:
    """A source: a green square left and a green square right of a red bar, on black; the masks can be damaged."""

    classes = SHAPES

    def __init__(self, count=10, *, damaged=(), unlabeled=()):
        self.count, self.damaged, self.unlabeled = count, damaged, unlabeled

    def __len__(self):
        return self.count

    def clean(self, index):
        mask = np.zeros((26 + index % 3, 30 - index % 4), np.uint8)
        top = 4 + index % 5
        mask[top : top + 10, 3:12] = 2  # the person's right is on the image's left
        mask[top : top + 10, 16:25] = 1
        return mask

    def image(self, index):
        mask = self.clean(index)
        image = np.random.default_rng(index).integers(0, 60, (*mask.shape, 3)).astype(np.uint8)
        image[mask == 1] += np.array([180, 20, 20], np.uint8)
        image[mask == 2] += np.array([20, 180, 20], np.uint8)
        return image

    def mask(self, index):
        if index in self.unlabeled:
            return None
        mask = self.clean(index)
        if index in self.damaged:
            mask[mask == 1] = 0
        return mask

    def name(self, index):
        return f"squares-{index}"


class Net(nn.Module):
    def __init__(self, norm=True):
        super().__init__()
        middle = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), middle, nn.ReLU(), nn.Conv2d(8, len(SHAPES), 3, padding=1)
        )

    def forward(self, image):
        return self.layers(image)


def net(norm=True):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Net(norm)


def recipe(*lengths, **correction):
    """Return the paper's recipe with other lengths, and rules of correction."""
    return PAPER.replace(schedule=Schedule(*lengths), correction=AtCycleEnd(**correction), lr=0.1, batch_size=4)


def corrector(*, model=None, loss=None, lengths=(4, 2, 1), callbacks=(), run_dir=None, **correction):
    return SelfCorrector(
        model or net(), task=task_of(loss), recipe=recipe(*lengths, **correction), callbacks=[QUIET, *callbacks],
        run_dir=run_dir,
    )  # fmt: skip


def fit(source=None, **options):
    source = source or Squares(damaged=(0, 1))
    train = ParsingDataset(source, SIZE, augment=True)
    clean = [source.clean(index) for index in range(len(source))]
    return corrector(**options).fit(train, ParsingDataset(Squares(4), SIZE), clean_labels=clean)


def test_masks_are_refined_in_the_images_own_frame():
    source = Squares(damaged=(0, 1))
    result = fit(source, keep=None, lengths=(12, 2, 1))
    store = result.labels
    assert store.frame == SIZE
    assert store.generations == (0, 1, 2)
    for index, (given, refined) in enumerate(zip(store.given(), store.labels(), strict=True)):
        assert np.array_equal(given, source.mask(index))
        assert refined.shape == given.shape
    last = result.history[-1]
    clean = [source.clean(index) for index in range(len(source))]
    assert last["label_accuracy"] == mask_quality(mask_confusion(store, clean))["label_accuracy"]
    assert {"val_mean_iou", "val_iou_left", "label_mean_iou", "agreement", "changed"} <= last.keys()
    assert last["val_mean_iou"] > 0.3
    # 12 + 2 epochs of 8 (the rest of 10 is a whole batch of 2), 3 recalibrations and 2 predictions of 10.
    assert result.sample_passes == 3 * 14 * 10 + 5 * 10


def test_no_warning_of_augmented_predictions_and_the_canonical_view_is_the_data_sets_own():
    seen = []

    class Spy(ParsingDataset):
        def canonical(self):
            seen.append(True)
            return super().canonical()

    corrector(lengths=(1, 1, 1)).fit(Spy(Squares(), SIZE, augment=True))
    assert seen


def nearest_loss(output, targets):
    return cross_entropy(nn.functional.interpolate(output.parsing, SIZE), targets)


def test_class_balanced_trust_keeps_a_class_that_the_model_never_predicts():
    class Blind(Net):
        def forward(self, image):
            logits = super().forward(image)
            return logits - torch.tensor([0.0, 50.0, 0.0]).reshape(1, 3, 1, 1)

    kept = {}
    for trust in ("paper", "class-balanced"):
        run = SelfCorrector(
            Blind(), task=task_of(nearest_loss), recipe=recipe(1, 3, 1, trust=trust).replace(lr=1e-3), callbacks=[QUIET]
        )
        result = run.fit(ParsingDataset(Squares(), SIZE, augment=True))
        pairs = list(zip(result.labels.given(), result.labels.labels(), strict=True))
        kept[trust] = sum((refined[given == 1] == 1).sum() for given, refined in pairs) / sum(
            (given == 1).sum() for given, _ in pairs
        )
    assert kept["paper"] < 0.2
    assert kept["class-balanced"] == 1


def test_unlabelled_images_get_masks():
    source = Squares(unlabeled=(3, 4))
    result = fit(source)
    assert result.labels.labeled.tolist() == [index not in (3, 4) for index in range(10)]
    assert result.labels.refined(3)[0].shape == (3, *(side // 2 for side in SIZE))


def test_images_without_a_mask_are_trained_on_their_evidence():
    task = HumanParsing(SHAPES, size=SIZE)
    store = fit(Squares(unlabeled=(3, 4, 5))).labels
    view = LabelView(ParsingDataset(Squares(unlabeled=(3, 4, 5)), SIZE, augment=True), store, seed=0)
    targets = task.targets(view.__getitems__([3, 0, 4]))
    assert ((targets.sum(1) > 0.99).flatten(1).sum(1) > 0.2 * SIZE[0] * SIZE[1]).all()


def test_a_run_does_not_go_on_with_another_task(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(run_dir=tmp_path / "run", callbacks=[Kill(1)])
    with pytest.raises(CheckpointError, match="task="):
        fit(run_dir=tmp_path / "run", loss=mean_loss)
    train = ParsingDataset(Squares(damaged=(0, 1)), (20, 20))
    other = SelfCorrector(
        net(), task=HumanParsing(SHAPES, size=(20, 20)), recipe=recipe(4, 2, 1), run_dir=tmp_path / "run",
        callbacks=[QUIET],
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="frame"):
        other.fit(train)


def test_a_data_set_of_other_classes_is_refused():
    for classes in ("lip", ("background", "upper"), Classes("shapes", SHAPES.names)):
        run = SelfCorrector(net(), task=HumanParsing(classes, size=SIZE), epochs=2, callbacks=[QUIET])
        with pytest.raises(InvalidInputError, match=r"pass HumanParsing\(source.classes\)"):
            run.fit(ParsingDataset(Squares(), SIZE))


def test_parts_of_a_data_set_keep_the_masks_and_frames_of_their_images():
    """torch's wrappers hide `given` and `canonical`: labels would be read from augmented crops."""
    source = Squares()
    train, val = random_split(ParsingDataset(source, SIZE, augment=True), [7, 3])
    both = ConcatDataset([train, Subset(ParsingDataset(source, SIZE, augment=True), [0])])
    result = corrector(lengths=(1, 1, 1)).fit(both, val)
    for given, index in zip(result.labels.given(), [*train.indices, 0], strict=True):
        assert np.array_equal(given, source.mask(index))
    other = Classes("shapes", ("background", "left", "east"))

    class Renamed(Squares):
        classes = other

    with pytest.raises(InvalidInputError, match=r"pass HumanParsing\(source.classes\)"):
        corrector().fit(ConcatDataset([train, ParsingDataset(Renamed(), SIZE)]))


def test_a_set_without_any_mask_is_refused():
    none = ParsingDataset(Squares(3, unlabeled=(0, 1, 2)), SIZE)
    with pytest.raises(
        InvalidInputError, match="training labels to be masks, of one sample at least; got none in any of 3"
    ):
        corrector().fit(none)
    with pytest.raises(InvalidInputError, match="validation labels to be masks"):
        corrector().fit(ParsingDataset(Squares(), SIZE), none)


def test_mean_trust_counts_what_classes_are_trusted_more():
    last = fit(trust="class-balanced").history[-1]
    assert last["mean_trust"] > 1 / 3
    assert fit().history[-1]["mean_trust"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("rule", ["agreement", "confident"])
def test_mean_trust_of_a_rule_for_pixels_is_the_mean_over_pixels(rule):
    result = fit(Squares(damaged=(0, 1), unlabeled=(4,)), trust=rule)
    store, found = result.labels, []
    assert float(store.trust([0]).weight) == 1  # what samples weigh says nothing of their pixels
    for index in np.flatnonzero(store.labeled):
        evidence = store.evidence([index])[0].numpy()
        given = given_on_evidence(store.given([index])[0], evidence.shape[1:], SIZE)
        rows, columns = np.nonzero(given != 255)
        own = evidence[given[rows, columns], rows, columns]
        beside = evidence.max(0)[rows, columns] >= 0.9
        contradicted = beside & (evidence.argmax(0)[rows, columns] != given[rows, columns])
        found.extend(own if rule == "agreement" else 1.0 - contradicted)
    assert result.history[-1]["mean_trust"] == pytest.approx(np.mean(found), abs=1e-5)
    assert np.mean(found) < 0.999


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path):
    whole = fit(run_dir=tmp_path / "whole")

    with pytest.raises(KeyboardInterrupt):
        fit(run_dir=tmp_path / "stopped", callbacks=[Kill(5)])
    resumed = fit(run_dir=tmp_path / "stopped")
    for one, other in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(whole.labels.refined(), resumed.labels.refined(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("change", ["normalisation", "names"])
def test_a_run_whose_images_are_others_or_made_otherwise_does_not_go_on(tmp_path, change):
    def again(normalisation="bgr", prefix="squares"):
        source = Squares(4)
        source.name = lambda index: f"{prefix}-{index}"
        data = ParsingDataset(source, SIZE, normalisation=normalisation)
        return corrector(lengths=(1, 1, 1), run_dir=tmp_path / "run").fit(data)

    again()
    details = (tmp_path / "run" / "details.json").read_bytes()
    other, said = {"normalisation": ("rgb", "inputs="), "names": ("bgr", "sample_names=")}[change]
    with pytest.raises(CheckpointError, match=said):
        again(other, "circles" if change == "names" else "squares")
    assert (tmp_path / "run" / "details.json").read_bytes() == details


def test_validation_is_of_inputs_made_alike_and_not_augmented():
    train = ParsingDataset(Squares(4), SIZE, augment=True)
    with pytest.raises(InvalidInputError, match="val with inputs that are made as those of train"):
        corrector(lengths=(1, 1, 1)).fit(train, ParsingDataset(Squares(4), SIZE, normalisation="rgb"))
    scores = [
        corrector(lengths=(1, 1, 1)).fit(train, ParsingDataset(Squares(4), SIZE, augment=augment)).history
        for augment in (False, True)
    ]
    assert scores[0][-1]["val_mean_iou"] == scores[1][-1]["val_mean_iou"]


def test_results_of_masks_are_saved_and_loaded(tmp_path):
    result = fit()
    result.save(tmp_path / "result")
    again = CorrectionResult.load(tmp_path / "result", net())
    assert again.find_label_issues(top=3) == result.find_label_issues(top=3)
    for one, other in zip(again.labels.labels(), result.labels.labels(), strict=True):
        assert np.array_equal(one, other)


def mean_loss(output, targets):
    """Return a loss that is a mean over images of equal size, so that ranks can share a batch exactly."""
    return cross_entropy(nn.functional.interpolate(output.parsing, SIZE, mode="bilinear"), targets)


class Full(Squares):
    """Squares whose masks fill the frame: every crop of a batch has as many labelled pixels."""

    def clean(self, index):
        return super().clean(4)[:24, :20]


def fit_ranks(run_dir):
    source = Full(13)  # the thirteenth is a batch of one, which nobody trains on
    run = corrector(model=net(norm=False), loss=mean_loss, lengths=(2, 2, 1), trust="class-balanced", run_dir=run_dir)
    result = run.fit(ParsingDataset(source, SIZE), clean_labels=[source.clean(index) for index in range(len(source))])
    history = [{key: value for key, value in record.items() if key != "seconds"} for record in result.history]
    return result.model.state_dict(), result.labels.refined(), result.labels.trust(0).floor, history


def test_two_ranks_equal_one(tmp_path):
    alone = fit_ranks(tmp_path / "alone")
    for rank in run_processes(fit_ranks, 2, tmp_path, tmp_path / "both"):
        torch.testing.assert_close(rank[0], alone[0], rtol=1e-4, atol=1e-6)
        # One level of the codec: rounding may fall to the other side.
        torch.testing.assert_close(rank[1], alone[1], rtol=0, atol=1 / 64)
        torch.testing.assert_close(rank[2], alone[2], rtol=0, atol=5e-3)
        for one, other in zip(rank[3], alone[3], strict=True):
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
            assert one["label_accuracy"] == pytest.approx(other["label_accuracy"], rel=1e-2, nan_ok=True)


def test_bad_masks_and_clean_labels_are_refused():
    class Wrong(Squares):
        def mask(self, index):
            return super().mask(index) + np.uint8(7) * (index == 5)

    with pytest.raises(InvalidInputError, match=r"mask values 0\.\.2 or 255; got 9 at index 5"):
        fit(Wrong())
    train = ParsingDataset(Squares(), SIZE)
    with pytest.raises(InvalidInputError, match="clean_labels for 10 samples; got 2"):
        corrector().fit(train, clean_labels=[np.zeros((3, 3), np.uint8)] * 2)
    with pytest.raises(InvalidInputError, match="clean_labels to be a sequence of labels"):
        corrector().fit(train, clean_labels=iter([]))
    with pytest.raises(InvalidInputError, match="val_clean_labels only of kinds .*; got .*segmentation"):
        corrector().fit(train, train, val_clean_labels=[])
    with pytest.raises(InvalidInputError, match=r"make the data set's size and HumanParsing"):
        corrector().fit(ParsingDataset(Squares(), (10, 10)))
