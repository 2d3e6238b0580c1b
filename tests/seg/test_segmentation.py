"""Masks of any classes: networks in other libraries' styles, one channel or two, more classes than a byte holds."""

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from noisycorrect import RECIPES, SelfCorrector
from noisycorrect.data.batches import Batch
from noisycorrect.labels import SoftLabelStore, Trust
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import (
    Classes,
    Folder,
    HumanParsing,
    Normalisation,
    ParsingDataset,
    ParsingLoss,
    ParsingOutput,
    Segmentation,
    parse_image,
)
from noisycorrect_seg.datasets import Joined
from noisycorrect_seg.datasets.images import read_mask
from noisycorrect_seg.kind import MaskLabels
from noisycorrect_seg.masks import ignore_index
from noisycorrect_seg.outputs import as_output

SIZE = (16, 12)


class Blobs:
    """Rectangles that are brighter than the ground, on images of some channels and some dtype."""

    def __init__(self, count=8, *, channels=3, dtype=np.uint8, classes=("background", "blob"), seed=0, bare=()):
        self.classes = Classes("blobs", tuple(classes))
        self.count, self.channels, self.dtype, self.seed, self.bare = count, channels, dtype, seed, bare

    def __len__(self):
        return self.count

    def truth(self, index):
        rng = np.random.default_rng([self.seed, index])
        mask = np.zeros(SIZE, np.uint8 if len(self.classes) < 256 else np.uint16)
        top, left = rng.integers(1, 7), rng.integers(1, 5)
        mask[top : top + 8, left : left + 6] = 1 + index % (len(self.classes) - 1)
        return mask

    def mask(self, index):
        return None if index in self.bare else self.truth(index)

    def image(self, index):
        rng = np.random.default_rng([self.seed, index, 1])
        light = 40.0 + 150 * (self.truth(index) > 0)[..., None] + rng.normal(0, 10, (*SIZE, self.channels))
        return (light * (200 if self.dtype == np.uint16 else 1)).astype(self.dtype)

    def name(self, index):
        return f"blob {index}"


class Styled(nn.Module):
    """A small network whose output comes in the style of one library."""

    def __init__(self, style, classes=2, channels=3):
        super().__init__()
        self.style = style
        self.body = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.head, self.aux = nn.Conv2d(8, classes, 1), nn.Conv2d(8, classes, 1)

    def forward(self, pixels):
        features = self.body(pixels)
        logits = self.head(features)
        if self.style == "torchvision":
            return OrderedDict(out=logits, aux=self.aux(features))
        if self.style == "segformer":  # an object with .logits at a quarter of the size
            return SimpleNamespace(loss=None, logits=F.avg_pool2d(logits, 4))
        if self.style == "with labels":  # segmentation_models_pytorch with aux_params
            return logits, features.mean((2, 3))
        return logits


def made_batch(given, count=2):
    extent = torch.tensor([-0.5, -0.5, SIZE[1] - 0.5, SIZE[0] - 0.5]).repeat(count, 1)
    extra = {"matrix": torch.eye(2, 3).repeat(count, 1, 1), "mirror": torch.zeros(count, dtype=bool), "extent": extent}
    return Batch(torch.arange(count), None, given, Trust(torch.ones(count)), extra=extra)


STYLES = ("tensor", "torchvision", "segformer", "with labels")


@pytest.mark.parametrize("style", STYLES)
def test_networks_in_the_styles_of_libraries_are_trained_and_parse_an_image(style):
    torch.manual_seed(0)
    source = Blobs()
    data = ParsingDataset(source, SIZE, augment=True, normalisation="rgb", rotation_prob=0.0)
    corrector = SelfCorrector(
        Styled(style), task="segmentation", num_classes=2, recipe=RECIPES["paper"], epochs=4, batch_size=4, lr=0.1
    )
    result = corrector.fit(data)
    assert result.class_names == ("background", "blob")  # of the data set
    parsed = parse_image(result.model, source.image(0), classes=source.classes, size=SIZE, normalisation="rgb")
    assert (parsed.labels == source.truth(0)).mean() > (0.75 if style == "segformer" else 0.95)


def test_one_channel_is_the_binary_cross_entropy():
    logits = torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(0), requires_grad=True)
    given = torch.stack([torch.from_numpy(Blobs().truth(index)) for index in range(2)])
    task = Segmentation(["background", "blob"], size=SIZE, loss=ParsingLoss(lovasz=False))
    loss = task.loss(logits, made_batch(given))
    loss.backward()
    own = logits.detach().clone().requires_grad_()
    expected = F.binary_cross_entropy_with_logits(own[:, 0], given.float())
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logits.grad, own.grad)
    torch.testing.assert_close(task.probs(logits)[:, 1], logits[:, 0].sigmoid())


def test_an_auxiliary_head_has_its_share_of_the_loss():
    generator = torch.Generator().manual_seed(0)
    logits, aux = torch.randn(2, 3, *SIZE, generator=generator), torch.randn(2, 3, 4, 3, generator=generator)
    given = torch.randint(3, (2, *SIZE), generator=generator, dtype=torch.uint8)
    task = Segmentation(["a", "b", "c"], size=SIZE, aux_weight=0.25)
    parts = [task.loss(each, made_batch(given)) for each in (logits, aux)]
    both = task.loss({"out": logits, "aux": aux}, made_batch(given))
    torch.testing.assert_close(both, parts[0] + 0.25 * parts[1])
    torch.testing.assert_close(task.loss(ParsingOutput(logits, aux=aux), made_batch(given)), both)
    assert task.identity() != Segmentation(["a", "b", "c"], size=SIZE).identity()
    with pytest.raises(InvalidInputError, match="aux_weight"):
        Segmentation(["a", "b"], size=SIZE, aux_weight=-1)


def test_a_sigmoid_too_many_is_found():
    task, batch = Segmentation(["background", "blob"], size=SIZE), made_batch(torch.zeros(2, *SIZE, dtype=torch.uint8))
    task.check_output(torch.randn(2, 1, *SIZE), batch)
    with pytest.raises(InvalidInputError, match="Sigmoid"):
        task.check_output(torch.rand(2, 1, *SIZE) * 0.9 + 0.05, batch)
    network = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.Sigmoid())
    corrector = SelfCorrector(network, task="segmentation", num_classes=2, epochs=2)
    with pytest.raises(InvalidInputError, match=r"probabilities: all values in \(0, 1\]; to fix: drop .* Sigmoid"):
        corrector.fit(ParsingDataset(Blobs(), SIZE, normalisation="rgb"))


@pytest.mark.parametrize("output", [[torch.zeros(1, 2, 3, 3)], {"masks": 1}, 3, None, SimpleNamespace(masks=1)])
def test_other_outputs_are_refused_by_what_they_are(output):
    with pytest.raises(InvalidInputError, match=r"logits \(N, K, h, w\).*got .*; to fix"):
        as_output(output, 2)


# What is left open, the data set says


def test_names_and_size_come_from_the_data_set():
    task = Segmentation(2)
    assert task.class_names is None
    with pytest.raises(InvalidInputError, match="size"):
        task.size  # noqa: B018
    task.check_given(ParsingDataset(Blobs(), SIZE).given)
    assert (task.class_names, task.size, task.frame) == (("background", "blob"), SIZE, SIZE)
    with pytest.raises(InvalidInputError, match="a training set of the task's classes"):
        task.check_given(ParsingDataset(Blobs(classes=("ground", "blob")), SIZE).given)
    with pytest.raises(InvalidInputError, match="num_classes=2"):
        Segmentation(3).check_given(ParsingDataset(Blobs(), SIZE).given)
    with pytest.raises(InvalidInputError, match="a binary mask has two classes"):
        Segmentation(1)
    with pytest.raises(InvalidInputError, match=r"2\.\.65535 classes"):
        Segmentation(10**30)


def test_masks_that_say_nothing_are_refused_or_told():
    class Plain(Blobs):
        def __init__(self, value, *arguments, **options):
            super().__init__(*arguments, **options)
            self.value = value

        def truth(self, index):
            return np.full(SIZE, self.value, np.uint8)

    with pytest.raises(InvalidInputError, match="training masks that show a class; got 255, which is ignored, at all"):
        Segmentation(2).check_given(ParsingDataset(Plain(255, bare=[0]), SIZE).given)
    few = ParsingDataset(Plain(0, 7), SIZE).given
    Segmentation(2).check_given(few)
    with pytest.warns(UserWarning, match="validation masks .* got background alone in all 8, in none of them blob"):
        Segmentation(2).check_given(ParsingDataset(Plain(0), SIZE).given, training=False)
    many = ParsingDataset(Plain(0, classes=["ground", *"abcdefg"]), SIZE).given
    with pytest.warns(UserWarning, match="got ground alone in all 8, in none of them a, b, c, d, e and 2 more; to"):
        Segmentation(8).check_given(many)


def test_people_are_a_case_of_it():
    assert isinstance(HumanParsing(), Segmentation)
    assert (HumanParsing().size, HumanParsing().class_names[0]) == ((473, 473), "Background")
    with pytest.raises(InvalidInputError):
        HumanParsing(20)


# More than 255 classes


def test_a_run_of_300_classes_keeps_and_exports_16_bits(tmp_path):
    torch.manual_seed(0)
    names = [f"class {number}" for number in range(300)]
    source = Blobs(6, classes=names)
    source.mask = lambda index: np.where(np.arange(SIZE[1]) < 2, 65535, 299 - source.truth(index)).astype(np.uint16)
    data = ParsingDataset(source, SIZE, normalisation="rgb")
    assert data[0]["given"].dtype is torch.int32
    corrector = SelfCorrector(
        Styled("tensor", 300),
        task=Segmentation(300),
        recipe=RECIPES["paper"],
        epochs=3,
        batch_size=3,
        lr=0.1,
        run_dir=tmp_path / "run",
    )
    result = corrector.fit(data, data)
    assert np.isfinite(result.history[-1]["loss"])
    reopened = SoftLabelStore.open(tmp_path / "run" / "labels")
    given = reopened.given(0)[0]
    assert given.dtype == np.uint16
    assert (given == source.mask(0)).all()
    found = result.labels.labels(0)[0]
    assert (found[:, :2] == 65535).all()
    assert found[:, 2:].max() < 300
    assert found[:, 2:].max() > 255
    parsed = parse_image(result.model, source.image(0), classes=source.classes, size=SIZE, normalisation="rgb")
    assert parsed.labels.dtype == np.uint16
    parsed.save_png(tmp_path / "a.png")

    assert (read_mask(tmp_path / "a.png", wide=True) == parsed.labels).all()


def test_a_loss_that_would_ignore_a_class_is_refused():
    assert ignore_index(300) == 65535
    with pytest.raises(InvalidInputError, match="ignore_index=65535"):
        Segmentation(300, size=SIZE, loss=ParsingLoss())
    with pytest.raises(InvalidInputError, match="mask values 0..299 or 65535"):
        MaskLabels([np.array([[300]])], 300)


# Samples without a mask


def test_unlabelled_images_enter_without_trust_after_the_first_cycle(tmp_path):
    torch.manual_seed(0)
    source, more = Blobs(8, channels=2, dtype=np.uint16), Blobs(4, channels=2, dtype=np.uint16, seed=1)
    normalisation = Normalisation.of(source)
    data = ParsingDataset(source, SIZE, augment=True, rotation_prob=0.0, normalisation=normalisation)
    corrector = SelfCorrector(
        Styled("tensor", 1, 2),
        task="segmentation",
        num_classes=2,
        recipe=RECIPES["paper"],
        epochs=6,
        batch_size=4,
        lr=0.1,
    )
    result = corrector.fit(data, unlabeled=[more.image(index) for index in range(4)])
    assert len(result.labels) == 12
    assert result.labels.trust(np.arange(12)).weight.tolist() == [pytest.approx(1 / 3)] * 8 + [0.0] * 4
    whole = data.with_unlabeled(more)
    for index in range(4):
        found = whole.mask_of(result.labels, 8 + index)
        assert found.shape == SIZE
        assert (found == more.truth(index)).mean() > 0.95
    assert (whole.mask_of(result.labels, 0) == result.labels.labels(0)[0]).all()
    with pytest.raises(InvalidInputError, match="labels of 8 samples; got 12"):
        data.mask_of(result.labels, 0)
    # The same as samples of one data set, some of which have no mask.
    torch.manual_seed(0)
    joined = ParsingDataset(Joined([source, Blobs(4, channels=2, dtype=np.uint16, seed=1, bare=range(4))]), SIZE,
                            augment=True, rotation_prob=0.0, normalisation=normalisation)  # fmt: skip
    again = corrector.fit(joined)
    assert (again.labels.labels(9)[0] == result.labels.labels(9)[0]).all()


@pytest.mark.parametrize("form", ["folder", "files", "data set"])
def test_unlabelled_images_in_files_are_read_as_the_labelled_ones(tmp_path, form):
    for kind in ("images", "masks", "more"):
        (tmp_path / kind).mkdir()
    source = Blobs(3, channels=1, dtype=np.uint16)
    for index in range(3):
        Image.fromarray(source.image(index)[:, :, 0]).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(source.truth(index)).save(tmp_path / "masks" / f"{index}.png")
        Image.fromarray(source.image(index)[:, :, 0] // 2).save(tmp_path / "more" / f"{index}.png")
    folder = Folder(tmp_path, classes=["background", "blob"], channels="stored")
    data = ParsingDataset(folder, SIZE, normalisation=Normalisation.of(folder), cache=True)
    files = sorted((tmp_path / "more").iterdir())
    more = {"folder": tmp_path / "more", "files": files, "data set": data}[form]
    whole = data.with_unlabeled(more)
    assert len(whole) == 6
    assert [mask is None for mask in whole.given] == [False] * 3 + [True] * 3
    expected = source.image(1) // (1 if form == "data set" else 2)
    assert (whole.source.image(4) == expected).all()
    assert (whole[4]["given"] == 255).all()


def test_unlabelled_images_that_are_none():
    data = ParsingDataset(Blobs(), SIZE)
    for wrong in ("no such folder", [], 3, [1, 2], {}):
        with pytest.raises(InvalidInputError, match=r"expected .*; got .*; to fix"):
            data.with_unlabeled(wrong)
