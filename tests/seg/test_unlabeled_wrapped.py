"""Labelled and unlabelled images inside torch's wrappers: the same run as that of the samples themselves."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_segmentation import SIZE, Blobs, Styled
from torch import nn
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset, random_split

from noisycorrect import RECIPES, SelfCorrector
from noisycorrect.data.datasets import as_dataset
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import Folder, Normalisation, ParsingDataset, SyntheticPeople
from noisycorrect_seg.datasets import Joined, Pictures, Unlabeled
from noisycorrect_seg.datasets import Subset as SourceSubset

RGB = {"normalisation": "rgb"}


LABELED = {
    "subset": lambda data: Subset(data, [5, -8, 2]),
    "part": lambda data: random_split(data, [3, 5], torch.Generator().manual_seed(0))[0],
    "subset of a subset": lambda data: Subset(Subset(data, [7, 5, 0, 2]), [1, 2, 3]),
    "joined": lambda data: ConcatDataset([Subset(data, [5, 0]), Subset(data, [2])]),
}


@pytest.mark.parametrize("wrapper", LABELED)
def test_the_unlabelled_follow_whatever_wraps_the_labelled(wrapper):
    source, more = Blobs(), Blobs(4, seed=1)
    data = LABELED[wrapper](ParsingDataset(source, SIZE, augment=True, **RGB))
    expected = [5, 0, 2]
    if wrapper == "part":
        expected = list(data.indices)
    both = as_dataset(data, "train").with_unlabeled(more)
    assert len(both) == 7
    assert both.sample_names == [*(f"blob {index}" for index in expected), *(f"blob {index}" for index in range(4))]
    assert [mask is None for mask in both.given] == [False] * 3 + [True] * 4
    assert (both.given[1] == source.mask(expected[1])).all()
    canonical = both.canonical()
    plain = ParsingDataset(Joined([SourceSubset(source, expected), Unlabeled(more)]), SIZE, **RGB)
    for index in range(7):
        found, wanted = canonical[index], plain[index]
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert both.input_record == plain.input_record
    again = ParsingDataset.of(data).with_unlabeled(more)
    assert again.sample_names == both.sample_names


def unlabeled_forms(folder, more):
    (folder / "more").mkdir()
    for index in range(4):
        Image.fromarray(more.image(index)).save(folder / "more" / f"{index}.png")
    source = Folder(images=folder / "more", classes=["background", "blob"], unlabeled="keep")
    arrays = [more.image(index) for index in range(4)]
    return {
        "subset of a source": Subset(source, [3, -4]),
        "part of a source": Subset(random_split(source, [4, 0])[0], [0, 1]),
        "subset of a data set": Subset(ParsingDataset(source, (64, 64), augment=True), [3, 0]),
        "subset of arrays": Subset(arrays, [3, 0]),
        "subset of an array": Subset(np.stack(arrays), [3, 0]),
        "joined": ConcatDataset([Subset(source, [3]), Subset(arrays, [0])]),
        "pictures of Pillow's": Subset([Image.fromarray(each) for each in arrays], [3, 0]),
    }


def test_the_unlabelled_are_unwrapped_in_every_form(tmp_path):
    more = Blobs(4, seed=1)
    data = ParsingDataset(Blobs(), SIZE, **RGB)
    for name, given in unlabeled_forms(tmp_path, more).items():
        whole = data.with_unlabeled(given)
        assert len(whole) == 10, name
        assert whole.source.mask(9) is None
        order = [3, 0] if name != "part of a source" else list(given.dataset.indices)[:2]
        for place, index in enumerate(order):
            assert (whole.source.image(8 + place) == more.image(index)).all(), name


def test_a_run_on_wrappers_is_that_of_the_samples_themselves():
    source, more = Blobs(8), Blobs(6, seed=1)
    torch.manual_seed(0)
    corrector = SelfCorrector(
        Styled("tensor"), task="segmentation", num_classes=2, recipe=RECIPES["paper"], epochs=3, batch_size=4, lr=0.1
    )
    data = ParsingDataset(source, SIZE, augment=True, rotation_prob=0.0, **RGB)
    part, rest = Subset(data, [6, 1, 3, 0]), ConcatDataset([Subset(more, [4]), Subset(more, [2])])
    found = corrector.fit(part, unlabeled=rest)
    samples = Joined([SourceSubset(source, [6, 1, 3, 0]), Unlabeled(SourceSubset(more, [4, 2]))])
    plain = ParsingDataset(samples, SIZE, augment=True, rotation_prob=0.0, **RGB)
    expected = corrector.fit(plain)
    for index in range(6):
        assert (found.labels.labels(index)[0] == expected.labels.labels(index)[0]).all()
    assert found.input_record == expected.input_record == {**plain.input_record, "flip_pairs": []}
    whole = ParsingDataset.of(part).with_unlabeled(rest)
    assert (whole.mask_of(found.labels, 4) == plain.mask_of(expected.labels, 4)).all()
    assert whole.mask_of(found.labels, 5).shape == SIZE


# ---------------------------------------------------------------- invalid input


class Own(Dataset):
    """Items of a crop, its mask and where it lies, as a user's own data set returns them."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        item = ParsingDataset(Blobs(4), SIZE, **RGB)[index]
        return item | {"given": item["given"].long()}


@pytest.mark.parametrize(
    "given", ["folder", Subset(["folder", "other"], [0, 1, 1]), Subset(TensorDataset(torch.zeros(3, 2)), [0])]
)
def test_what_cannot_be_unlabelled_images_is_refused_in_one_sentence(given):
    data = ParsingDataset(Blobs(), SIZE, **RGB)
    corrector = SelfCorrector(nn.Conv2d(3, 2, 1), task="segmentation", num_classes=2, epochs=2)
    for labeled in (data, Subset(data, [0, 1]), Own()):
        with pytest.raises(InvalidInputError, match=r"^expected .*; got .*; to fix: ") as caught:
            corrector.fit(labeled, unlabeled=given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrap", [lambda source: source, lambda source: Subset(source, [0])])
def test_a_source_that_is_taken_for_a_data_set_says_how_one_is_made(tmp_path, wrap):
    (tmp_path / "images").mkdir()
    Image.fromarray(Blobs().image(0)).save(tmp_path / "images" / "0.png")
    folder = Folder(images=tmp_path / "images", classes=["background", "blob"], unlabeled="keep")
    pictures = Pictures([Blobs().image(0)], ["background", "blob"], [Blobs().truth(0)])
    for source in (folder, pictures, SourceSubset(pictures, [0]), SyntheticPeople(1, size=(32, 32))):
        corrector = SelfCorrector(nn.Conv2d(3, 2, 1), task="segmentation", num_classes=2, epochs=2)
        with pytest.raises(InvalidInputError, match=r"a data set of crops; got \w+, a source.*ParsingDataset.source"):
            corrector.fit(wrap(source))


def test_images_and_masks_in_memory_are_a_source():
    images = [Blobs(dtype=np.uint16).image(index) for index in range(3)]
    masks = [Blobs().truth(0).astype(np.int64), None, Blobs().truth(2).astype(np.int32)]
    data = ParsingDataset(
        Pictures(images, ["ground", "blob"], masks), SIZE, normalisation=Normalisation([1.0] * 3, [2] * 3)
    )
    assert [None if mask is None else mask.dtype for mask in data.given] == [np.uint8, None, np.uint8]
    assert (data[2]["given"].numpy() == masks[2]).all()
    assert data.sample_names == ["000000", "000001", "000002"]
    with pytest.raises(InvalidInputError, match="3 masks, one an image; got 2"):
        Pictures(images, ["ground", "blob"], masks[:2])
    with pytest.raises(InvalidInputError, match=r"mask values 0\.\.1 or 255; got 7 at index 0"):
        Pictures(images[:1], ["ground", "blob"], [np.full(SIZE, 7)]).mask(0)
    with pytest.raises(InvalidInputError, match=r"a source with image\(i\).*Pictures"):
        SourceSubset([images], [0])


def test_data_sets_of_other_crops_are_not_one():
    one, other = (ParsingDataset(Blobs(), size, **RGB) for size in (SIZE, (20, 20)))
    with pytest.raises(InvalidInputError, match=r"data sets of the same crops.*join the sources"):
        ParsingDataset.of(ConcatDataset([one, other]))
    with pytest.raises(InvalidInputError, match="a ParsingDataset, or torch's Subset or Concat.* of some; got Own"):
        ParsingDataset.of(Subset(Own(), [0]))
    with pytest.raises(InvalidInputError, match=r"labels of 2 samples; got 3.*ParsingDataset.of"):
        ParsingDataset.of(Subset(one, [0, 1])).mask_of([0, 0, 0], 0)


@pytest.mark.parametrize(("images", "masks"), [("images", "masks"), ("train/images", "train/masks")])
def test_the_masks_of_a_data_set_are_no_unlabelled_images(tmp_path, images, masks):
    for place, shape in ((images, (8, 8, 3)), (masks, (8, 8))):
        (tmp_path / place).mkdir(parents=True)
        for index in range(3):
            Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / place / f"{index}.png")
    whole = ParsingDataset(Blobs(), SIZE, **RGB).with_unlabeled(tmp_path)
    assert whole.sample_names[8:] == [f"{images}/{index}" for index in range(3)]
    (tmp_path / images).rename(tmp_path / "photos")  # a folder that is only called so
    assert len(ParsingDataset(Blobs(), SIZE, **RGB).with_unlabeled(tmp_path)) == 14


def test_the_masks_of_a_folder_of_both_are_no_unlabelled_images(tmp_path):
    for index in range(3):
        Image.fromarray(np.full((8, 8, 3), index, np.uint8)).save(tmp_path / f"{index}.png")
        Image.fromarray(np.full((8, 8), index % 2, np.uint8)).save(tmp_path / f"{index}_mask.png")
    source = Folder(tmp_path, classes=["ground", "blob"], mask_suffix="_mask")
    data = ParsingDataset(source, SIZE, **RGB)
    part = as_dataset(Subset(data, [2, 0]), "train")
    joined = ParsingDataset(Joined([Pictures([np.zeros((8, 8, 3), np.uint8)], source.classes), source]), SIZE, **RGB)
    for labeled, count in ((data, 3), (part, 2), (joined, 4)):
        whole = labeled.with_unlabeled(tmp_path)
        assert whole.sample_names[count:] == ["0", "1", "2"]
    with pytest.warns(UserWarning, match=r"3 of 6 photos .* '_mask' behind"):
        assert len(ParsingDataset(Blobs(), SIZE, **RGB).with_unlabeled(str(tmp_path))) == 14
    for index in range(3):
        (tmp_path / f"{index}.png").unlink()
    with pytest.raises(InvalidInputError, match="and not in '_mask'"):
        data.with_unlabeled(tmp_path)
