"""Objects of masks: which of them look wrong, found by slow searches as well, and their correction in a whole run."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from noisycorrect import SelfCorrector, TrainingWarning
from noisycorrect.data.batches import Batch
from noisycorrect.labels.trust import Trust
from noisycorrect.recipe import RECIPES
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import (
    GatheredObjectCorrection,
    HumanParsing,
    ObjectCorrection,
    ParsingDataset,
    Segmentation,
    SyntheticPeople,
)
from noisycorrect_seg.classes import voc_palette
from noisycorrect_seg.geometry.habits import one_way
from noisycorrect_seg.geometry.objects import (
    ClassConfidence,
    filled_places,
    mask_quality_by_objects,
    misnamed_objects,
    missing_objects,
    objects_of,
    suggested_classes,
)
from noisycorrect_seg.geometry.outlines import shifted_borders
from noisycorrect_seg.inputs import MEAN_BGR, STD_BGR
from noisycorrect_seg.kind import MaskLabels
from noisycorrect_seg.methods.objects import Habits

K = 4


def maps_of(names, sure=0.9):
    """Return evidence that names each place so, (n, K, h, w)."""
    shown = F.one_hot(names, K).movedim(-1, 1).float()
    return shown * (sure - (1 - sure) / (K - 1)) + (1 - sure) / (K - 1)


def slow_objects(mask):
    """Return the objects of one mask by flooding: a list of (class, set of places)."""
    left = {(y, x) for y, x in np.ndindex(mask.shape) if mask[y, x] < K}
    found = []
    while left:
        start = left.pop()
        own, edge = {start}, [start]
        while edge:
            y, x = edge.pop()
            for place in [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                if place in left and mask[place] == mask[start]:
                    left.remove(place)
                    own.add(place)
                    edge.append(place)
        found.append((int(mask[start]), own))
    return found


def test_objects_are_what_flooding_finds():
    rng = np.random.default_rng(0)
    masks = torch.from_numpy(rng.choice([0, 1, 2, 3, 255], (3, 9, 7))).long()
    evidence = torch.from_numpy(rng.dirichlet(np.ones(K), (3, 9, 7))).movedim(-1, 1).float()
    found = objects_of(masks, evidence)
    assert (found.ids[masks == 255] == -1).all()
    count = 0
    for row in range(3):
        for number, places in slow_objects(masks[row].numpy()):
            ys, xs = (torch.tensor(side) for side in zip(*sorted(places), strict=True))
            (one,) = found.ids[row][ys, xs].unique().tolist()
            assert found.classes[one] == number
            assert found.sizes[one] == len(places)
            torch.testing.assert_close(found.votes[one], evidence[row][:, ys, xs].mean(1))
            count += 1
    assert count == len(found.classes)


def test_confidence_is_the_mean_vote_of_the_given_objects():
    given = torch.tensor([[[1, 1, 0, 1, 255]], [[2, 0, 0, 0, 0]]])
    names = torch.tensor([[[1, 1, 0, 2, 1]], [[0, 0, 0, 0, 0]]])
    evidence = maps_of(names, 0.7)
    found = ClassConfidence.of(given, evidence, least=1)
    torch.testing.assert_close(found.mean, torch.tensor([0.7, 0.4, 0.1, 1.0]))
    torch.testing.assert_close(found.recall, torch.tensor([1.0, 2 / 3, 0.0, 0.0]))
    large = ClassConfidence.of(given, evidence, least=2)
    torch.testing.assert_close(large.mean, torch.tensor([0.7, 0.7, 1.0, 1.0]))
    both = ClassConfidence(*(a + b for a, b in zip(found, found, strict=True)))
    torch.testing.assert_close(both.mean, found.mean)


SURE = ClassConfidence(*(torch.ones(K, dtype=torch.float64) for _ in range(4)))  # sure of all, misses nothing


def missing(given, evidence, confidence=SURE, **how):
    how = {"least": 2, "sure": 0.8, "ground": 0.8, "recall": 0.25} | how
    found = missing_objects(given, evidence, confidence, **how)
    return filled_places(given, found.objects, found.missing)


def test_an_object_left_out_is_missing():
    names = torch.zeros(1, 5, 6, dtype=torch.int64)
    names[0, 1:3, 1:4] = 2
    given = torch.zeros_like(names)
    around = torch.zeros_like(names, dtype=torch.bool)
    around[0, 0:4, 0:5] = True
    assert torch.equal(missing(given, maps_of(names)), around)


@pytest.mark.parametrize("change", ["beside", "unsure", "small", "not on ground", "unknown"])
def test_what_is_no_missing_object(change):
    names = torch.zeros(1, 5, 6, dtype=torch.int64)
    names[0, 1:3, 1:4] = 2
    given, how, sure = torch.zeros_like(names), {}, 0.9
    if change == "beside":
        given[0, 3, 4] = 2  # touches it with a corner
    elif change == "unsure":
        sure = 0.7
    elif change == "small":
        how = {"least": 7}
    elif change == "unknown":
        how = {"confidence": SURE._replace(hits=torch.tensor([1.0, 1.0, 0.2, 1.0]))}
    else:
        given[0, 1, 1:3] = 1
    assert not missing(given, maps_of(names, sure), **how).any()


def test_what_is_seen_is_missing_or_shown_or_elsewhere():
    names = torch.tensor([[[2, 2, 0, 2, 2, 0, 2, 2, 0, 2]]])
    given = torch.tensor([[[0, 0, 0, 1, 1, 0, 2, 0, 0, 1]]])  # the last one is too small
    found = missing_objects(given, maps_of(names), SURE, least=2, sure=0.8, ground=0.8, recall=0.25)
    assert found.objects.places(found.missing)[0, 0].nonzero()[:, 0].tolist() == [0, 1]
    assert found.objects.places(found.elsewhere)[0, 0].nonzero()[:, 0].tolist() == [3, 4]
    assert found.counts(K).tolist() == [[0, 0, 1, 0], [0, 0, 1, 0]]


@pytest.mark.parametrize("bridge", [None, "given", "seen", "ignored"])
def test_a_missing_object_hangs_together_with_something_that_the_mask_shows(bridge):
    """By way of what the mask leaves out as well: legs and the shoes below them."""
    names = torch.zeros(1, 3, 9, dtype=torch.int64)
    names[0, :, :3] = 2
    given = torch.zeros_like(names)
    given[0, :, 7:] = 1
    if bridge == "seen":
        names[0, 1, 3:7] = 3
    elif bridge is not None:
        given[0, 1, 3:7] = 1 if bridge == "given" else 255
    found = missing(given, maps_of(names), attached=True)[0, :, 0]
    assert found.all() if bridge in ("given", "seen") else not found.any()
    assert missing(given, maps_of(names))[0, :, 0].all()


ALL = torch.ones(K, K, dtype=torch.bool)


def misnamed(given, evidence, confidence, allowed=ALL, **how):
    found = objects_of(given, evidence)
    return misnamed_objects(found, suggested_classes(given, found, confidence, **how), allowed)


def test_misnamed_objects_are_told_by_their_class_and_not_by_the_most_probable_one():
    """A class that the evidence is never sure of needs less of a vote than one that it is always sure of."""
    given = torch.tensor([[[1, 1, 0, 3, 3, 0, 1, 1]]])
    evidence = maps_of(given, 0.9)
    evidence[0, :, 0, 6:] = torch.tensor([0.0, 0.35, 0.2, 0.45])[:, None]
    sure = ClassConfidence(SURE.votes * torch.tensor([0.9, 0.9, 0.9, 0.9]).double(), *SURE[1:])
    weak = ClassConfidence(SURE.votes * torch.tensor([0.9, 0.9, 0.9, 0.4]).double(), *SURE[1:])
    how = {"least": 2, "sure": 1.0, "recall": 0.5}
    assert not misnamed(given, evidence, sure, **how).any()
    assert misnamed(given, evidence, weak, **how)[0, 0].tolist() == [False] * 6 + [True] * 2
    unknown = ClassConfidence(weak.votes, weak.objects, torch.tensor([1.0, 1, 1, 0.4]).double(), weak.places)
    assert not misnamed(given, evidence, unknown, **how).any()
    other_way = ALL.clone()
    other_way[1, 3] = False
    assert not misnamed(given, evidence, weak, other_way, **how).any()


@pytest.mark.parametrize("apart", [True, False])
def test_an_object_is_not_taken_for_what_lies_beside_it(apart):
    """A bag on a coat is none, however much the network sees a coat: who drew the two has told them apart."""
    given = torch.tensor([[[3, 3, 0, 1, 1, 0]] * 2])
    names = torch.tensor([[[3, 3, 0, 3, 3, 0]] * 2])
    if not apart:
        given[0, 1, 2] = 3  # touches it with a corner
    found = misnamed(given, maps_of(names), SURE, least=2, sure=0.8, recall=0.5)
    assert torch.equal(found, (given == 1) & apart)


def test_an_object_is_never_taken_for_background():
    given = torch.tensor([[[1, 1, 0, 0]]])
    evidence = maps_of(torch.zeros(1, 1, 4, dtype=torch.int64))
    assert not misnamed(given, evidence, SURE, least=1, sure=0.1, recall=0.0).any()


@pytest.mark.parametrize(
    ("there", "back", "right", "expected"),
    [
        (9, 0, 0, True),
        (8, 0, 0, False),
        (15, 2, 0, True),
        (15, 3, 0, False),
        (40, 10, 0, True),
        (40, 11, 0, False),
        (9, 0, 172, False),
    ],
)
def test_classes_are_given_for_others_if_confused_one_way_and_often(there, back, right, expected):
    """Three standard errors, four fifths, and a twentieth of the class."""
    counts = torch.zeros(3, 3)
    counts[1, 2], counts[2, 1], counts[1, 1] = there, back, right
    assert bool(one_way(counts)[1, 2]) == expected
    assert not one_way(counts)[2, 1]
    assert bool(one_way(counts, share=0)[1, 2]) == (expected or right > 0)


@pytest.mark.parametrize("wide", [True, False])
def test_an_outline_that_is_off_all_around_is_found(wide):
    small, large = torch.zeros(1, 12, 12, dtype=torch.int64), torch.zeros(1, 12, 12, dtype=torch.int64)
    small[0, 3:9, 3:9], large[0, 2:10, 2:10] = 1, 1
    given, seen = (large, small) if wide else (small, large)
    assert torch.equal(shifted_borders(given, maps_of(seen), least=4, shift=0.5), given != seen)
    assert not shifted_borders(given, maps_of(seen), least=4, shift=2.0).any()


def test_an_uneven_outline_is_not_shifted():
    given, seen = torch.zeros(1, 12, 12, dtype=torch.int64), torch.zeros(1, 12, 12, dtype=torch.int64)
    given[0, 3:9, 3:9], seen[0, 4:10, 3:9] = 1, 1
    assert not shifted_borders(given, maps_of(seen), least=4, shift=0.25).any()


# ---------------------------------------------------------------- in a run


class Coloured:
    """Masks whose images show each class in its colour: what a network that is always right sees."""

    def __init__(self, people, noise):
        self.people, self.classes, self.noise = people, people.classes, noise
        self.right = [people.mask(index) for index in range(len(people))]

    def __len__(self):
        return len(self.right)

    def image(self, index):
        return voc_palette()[self.right[index]]

    def mask(self, index):
        return self.noise(self.right[index].copy(), index)

    def name(self, index):
        return str(index)


class Oracle(nn.Module):
    """Reads the class off the colour, and answers at stride 4 as parsing networks do."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        colours = torch.tensor(voc_palette(20)[:, ::-1].copy()).float() / 255
        self.register_buffer("colours", (colours - torch.tensor(MEAN_BGR)) / torch.tensor(STD_BGR))

    def forward(self, images):
        logits = -20 * self.scale * ((images[:, None] - self.colours[None, :, :, None, None]) ** 2).sum(2)
        size = [-(-side // 4) for side in images.shape[-2:]]
        return F.interpolate(logits.softmax(1), size, mode="area").clamp(min=1e-6).log()


def corrected(noise, size=(96, 64), correction=None, count=8, network=None, **how):
    correction = ObjectCorrection(**how) if correction is None else correction
    recipe = RECIPES.of_kind("robust", "segmentation").replace(correction=correction)
    source = Coloured(SyntheticPeople(count, size=size), noise)
    corrector = SelfCorrector(
        network or Oracle(),
        task=HumanParsing("lip", size=size),
        recipe=recipe,
        epochs=10,
        lr=1e-9,
        batch_size=4,
        callbacks=[],
    )
    result = corrector.fit(ParsingDataset(source, size, augment=True))
    return [
        float(np.mean([(mask == right).mean() for mask, right in zip(masks, source.right, strict=True)]))
        for masks in (result.labels.given(), result.labels.labels())
    ]


@pytest.mark.parametrize("size", [(48, 32), (96, 64)])
def test_right_masks_stay_right_with_the_robust_recipe(size):
    assert corrected(lambda mask, _: mask, size=size)[1] >= 0.999


def without_lower_half(mask, index):
    if index % 2:
        mask[(mask == 9) | (mask == 12) | (mask >= 16)] = 0  # pants, skirts, legs and shoes
    return mask


def test_objects_left_out_come_back_with_a_network_that_is_right():
    before, after = corrected(without_lower_half)
    assert 1 - after < 0.4 * (1 - before)


@pytest.mark.parametrize(("habit", "changes"), [(0.1, False), (0, True)])
def test_what_is_seen_on_the_ground_now_and_then_is_not_filled_in(habit, changes):
    """Of one in sixteen nobody knows whether a person has left it out, or the network is mistaken."""
    before, after = corrected(lambda mask, index: without_lower_half(mask, index == 3), count=16, habit=habit)
    assert (after > before) == changes
    assert after >= before


class Fanciful(Oracle):
    """An oracle but for hair, which it takes for something else."""

    def __init__(self, taken):
        super().__init__()
        self.taken = taken

    def forward(self, images):
        logits = super().forward(images)
        names = logits.argmax(1)
        taken = 5 * self.scale * F.one_hot(torch.tensor(self.taken), 20)[:, None, None]
        return torch.where(names[:, None] == 2, taken, logits)


def without_left_shoes(mask, index):
    if index % 2:
        mask[mask == 18] = 0
    return mask


@pytest.mark.parametrize(("network", "changes"), [(Oracle(), True), (Fanciful(18), False)])
def test_a_class_that_the_network_sees_on_other_things_is_not_filled_in(network, changes):
    before, after = corrected(without_left_shoes, network=network, parts=("missing",))
    assert (after > before) == changes
    assert after >= before


def test_evidence_gathered_in_training_brings_objects_back_and_predicts_nothing():
    before, after = corrected(without_lower_half, correction=GatheredObjectCorrection())
    assert 1 - after < 0.6 * (1 - before)
    robust = RECIPES.of_kind("robust", "segmentation")
    gathered = robust.replace(correction=GatheredObjectCorrection())
    passes = [recipe.passes(8, epochs=10, validated=True) for recipe in (robust, gathered)]
    assert passes[0] - passes[1] == 8 + 8 + 8  # two predictions; nor is the average recalibrated for the first of them


def test_gathered_evidence_is_the_weighted_mean_of_what_crops_showed():
    task = HumanParsing(("background", "left-arm", "right-arm"), size=(8, 8))
    correction = GatheredObjectCorrection(momentum=0.5, stride=1)
    correction.start(SimpleNamespace(task=task, length=2, device=torch.device("cpu")))
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(1, 3, 8, 8, generator=generator) for _ in range(2)]
    straight, there = torch.eye(2, 3)[None], torch.tensor([[[-1.0, 0, 7], [0, 1, 0]]])
    for maps, matrix, mirror in zip(logits, (straight, there), (False, True), strict=True):
        extra = {"matrix": matrix, "mirror": torch.tensor([mirror]), "extent": torch.zeros(1, 4)}
        batch = Batch(torch.tensor([1]), maps, torch.zeros(1, 8, 8), Trust(torch.ones(1)), extra=extra)
        correction.in_step(nn.Identity(), batch)
    first, second = (maps.softmax(1) for maps in logits)
    second = second.flip(-1)[:, [0, 2, 1]]  # the mirror's left is right
    store = SimpleNamespace(kind=MaskLabels([np.zeros((8, 8), np.uint8)] * 2, 3, frame=(8, 8)))
    end = SimpleNamespace(store=store, shard=lambda: [torch.tensor([0, 1])])
    ((index, given, probs),) = correction.predictions(end)
    assert index.tolist() == [0, 1]
    assert given.shape == (2, 8, 8)
    torch.testing.assert_close(probs[0], torch.full((3, 8, 8), 1 / 3))
    torch.testing.assert_close(probs[1], ((0.25 * first + 0.5 * second) / 0.75)[0], atol=1e-5, rtol=0)


def skirts_for_pants(mask, index):
    if index % 3 == 0:
        mask[mask == 9] = 12
    return mask


def test_one_class_given_for_another_is_renamed_with_a_network_that_is_right():
    before, after = corrected(skirts_for_pants, parts=("misnamed",), count=64)
    assert 1 - after < 0.4 * (1 - before)


@pytest.mark.parametrize(("precision", "changes"), [(0.9, False), (0.4, True)])
def test_nothing_is_renamed_to_a_class_that_the_network_sees_on_all_kinds_of_things(precision, changes):
    how = {"parts": ("misnamed",), "count": 64, "precision": precision}
    before, after = corrected(skirts_for_pants, network=Fanciful(9), **how)
    assert (after > before) == changes
    assert after >= before


def test_masks_are_no_worse_for_a_class_that_is_hard_and_worse_where_they_part_from_their_evidence():
    names = torch.tensor([[[0, 0, 1, 1, 2, 2]], [[0, 0, 1, 1, 2, 2]], [[0, 0, 1, 1, 1, 1]]])
    given = torch.tensor([[[0, 0, 1, 1, 2, 2]], [[0, 0, 1, 1, 2, 2]], [[0, 0, 2, 2, 1, 1]]])
    evidence = maps_of(names)
    hard = evidence.clone()
    hard[:, 2] *= 0.5  # less sure of class 2 wherever it is
    found = mask_quality_by_objects(given, hard, ClassConfidence.of(given, hard, 1), least=1)
    assert found[:2].tolist() == [1.0, 1.0]
    assert found[2] < 0.8
    ignored = torch.full((1, 2, 2), 255)
    alone = mask_quality_by_objects(
        ignored, evidence[:1, :, :, :2].expand(1, K, 2, 2), ClassConfidence.of(given, evidence, 1), least=1
    )
    assert alone.tolist() == [1.0]


def test_a_mask_of_another_image_is_weighed_down_and_the_others_stay():
    strangers = SyntheticPeople(3, size=(96, 64), seed=9)

    def exchanged(mask, index):
        return strangers.mask(0) if index == 2 else mask

    before, after = corrected(exchanged)
    _, weighed = corrected(exchanged, weigh=3.0)
    assert weighed > after >= before


def test_the_papers_recipe_is_still_its_equation():
    correction = RECIPES.of_kind("paper", "segmentation").correction
    assert not correction.coupled
    assert RECIPES.of_kind("robust", "segmentation").correction.coupled


def test_unknown_parts_and_other_labels_are_refused():
    with pytest.raises(InvalidInputError, match="misnamed"):
        ObjectCorrection(parts=("mised",))
    recipe = RECIPES["paper"].replace(correction=ObjectCorrection(), kinds=())
    with pytest.raises(InvalidInputError, match="HumanParsing"):
        SelfCorrector(nn.Linear(2, 2), num_classes=2, recipe=recipe, epochs=4, callbacks=[]).fit(
            (torch.randn(8, 2), torch.arange(8) % 2)
        )


class Ignorant(nn.Module):
    """Sees a scarf to the left of everybody, wherever they stand, and nothing else."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, images):
        size = [-(-side // 4) for side in images.shape[-2:]]
        names = torch.zeros(len(images), *size, dtype=torch.int64)
        names[:, :, : size[1] // 3] = 11
        return 5 * self.scale * F.one_hot(names, 20).movedim(-1, 1).float()


def test_a_network_that_knows_nothing_changes_nothing():
    before, after = corrected(without_lower_half, network=Ignorant())
    assert before == after


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"sure": 0}, "0 < sure"),
        ({"shift": 0}, "0 < shift"),
        ({"ground": 1.5}, "0 <= ground <= 1"),
        ({"habit": -0.1}, "0 <= habit"),
        ({"mistakes": -1}, "0 <= mistakes"),
        ({"precision": 1.1}, "0 <= precision <= 1"),
        ({"parts": "missing"}, r"pass \('missing',\)"),
    ],
)
def test_numbers_out_of_range_are_refused(value, said):
    with pytest.raises(InvalidInputError, match=said):
        ObjectCorrection(**value)
    ObjectCorrection(ground=1, recall=1, relative=0)


def test_a_network_too_coarse_to_show_an_object_is_warned_of():
    with pytest.warns(TrainingWarning, match="objects of the given masks with least=3000 places"):
        corrected(lambda mask, _: mask, size=(48, 32), least=3000)


def test_a_background_that_is_not_class_0_is_warned_of():
    task = Segmentation(("road", "car", "background"), size=(8, 16))
    with pytest.warns(TrainingWarning, match="background to be class 0; got 'road'"):
        ObjectCorrection().start(SimpleNamespace(task=task))


def test_a_correction_that_finds_nothing_trains_as_if_there_were_none():
    """Labels that go through store, evidence and coupling and follow nothing are the given ones, to the last bit."""
    size, robust = (48, 32), RECIPES.of_kind("robust", "segmentation")
    weights = []
    for correction in (ObjectCorrection(parts=()), None):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 20, 3, 2, 1))
        recipe = robust.replace(correction=correction)
        how = {"task": HumanParsing("lip", size=size), "recipe": recipe, "epochs": 5, "batch_size": 4, "callbacks": []}
        data = ParsingDataset(SyntheticPeople(8, size=size, noise="realistic"), size, augment=True)
        weights.append(SelfCorrector(network, **how).fit(data).model.state_dict())
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


@pytest.mark.parametrize(
    ("attached", "people", "others"), [(None, False, True), (True, False, False), (False, True, True)]
)
def test_only_of_people_must_objects_hang_together(attached, people, others):
    names = torch.zeros(1, 4, 8, dtype=torch.int64)
    names[0, 1:3, 1:4] = 2
    given = torch.zeros_like(names)
    given[0, :, 7] = 1
    for task, expected in ((HumanParsing, people), (Segmentation, others)):
        correction = ObjectCorrection(parts=("missing",), attached=attached)
        correction.start(SimpleNamespace(task=task(("background", "left-arm", "right-arm", "hat"), size=(8, 16))))
        habits = Habits(torch.ones(K, dtype=torch.bool), torch.zeros(0, 0, dtype=torch.bool))
        found = correction.follows(given, maps_of(names), SURE, habits)
        assert bool(found.any()) == expected


@pytest.mark.parametrize("gathers", [False, True])
def test_objects_are_corrected_alike_whatever_the_default_dtype(gathers):
    size, parts = (32, 32), ("missing", "misnamed", "shifted")
    how = {"parts": parts, "weigh": 1, "sure": 0.1, "recall": 0, "habit": 0, "ground": 0, "least": 1}
    kind = GatheredObjectCorrection if gathers else ObjectCorrection
    recipe = RECIPES.of_kind("robust", "segmentation").replace(correction=kind(**how))
    data = ParsingDataset(SyntheticPeople(3, size=size, noise="omit:0.5"), size, augment=True)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 20, 3, 2, 1))
    found = []
    try:
        for dtype in (torch.float32, torch.float64):
            torch.set_default_dtype(dtype)
            task = HumanParsing("lip", size=size)
            found.append(
                SelfCorrector(network, task=task, recipe=recipe, epochs=4, batch_size=3, callbacks=[]).fit(data)
            )
    finally:
        torch.set_default_dtype(torch.float32)
    one, other = found
    assert other.labels.generation == 2
    assert all(torch.equal(one.labels.refined(i)[0], other.labels.refined(i)[0]) for i in range(3))
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name
