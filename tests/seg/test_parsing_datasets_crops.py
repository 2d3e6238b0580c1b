"""ParsingDataset: the published crops, and image, given mask and evidence that lie on each other to a pixel."""

import math
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.utils.data import DataLoader

from noisycorrect.data.datasets import read_given
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rng import seeded
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets import Cached, ParsingDataset, ParsingSource, Subset, denormalise, normalise
from noisycorrect_seg.geometry.crops import Augmentation, crop_matrix, invert, warp_evidence
from noisycorrect_seg.geometry.warp import warp_image, warp_mask

BODY = Classes("body", ("background", "torso", "left arm", "right arm", "left leg", "right leg"), ((2, 3), (4, 5)))
AUGMENTATIONS = st.builds(Augmentation, st.floats(0.75, 1.25), st.floats(-60, 60), st.booleans())
IDENTITY = Augmentation()


class Arrays:
    """A source of arrays."""

    def __init__(self, images, masks, classes=BODY):
        self.images, self.masks, self.classes = images, masks, classes

    def __len__(self):
        return len(self.images)

    def image(self, index):
        return self.images[index].copy()

    def mask(self, index):
        return None if self.masks[index] is None else self.masks[index].copy()

    def name(self, index):
        return f"sample {index}"


def smooth_mask(height, width, classes=6, seed=0):
    """Large regions with smooth borders."""
    generator = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(generator.normal(size=(classes, height, width)), (0, height / 7, width / 7))
    return fields.argmax(0).astype(np.uint8)


def people(count=3, shape=(97, 61)):
    masks = [smooth_mask(*shape, seed=number) for number in range(count)]
    images = [np.stack([mask * 40, 255 - mask * 30, mask * 17 + 20], axis=2).astype(np.uint8) for mask in masks]
    return Arrays(images, masks)


# Registration


def ramps(height, width):
    """One sample whose image and mask hold at each pixel its x or its y."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    pictures = [np.repeat(ramp[:, :, None], 3, axis=2) for ramp in (columns, rows)]
    return Arrays(pictures, [columns, rows], Classes("ramp", tuple(map(str, range(250)))))


@settings(max_examples=60, deadline=None)
@given(AUGMENTATIONS, st.tuples(st.integers(20, 240), st.integers(20, 240)), st.sampled_from([(93, 93), (96, 64)]))
def test_image_mask_and_evidence_say_the_same_place(augmentation, shape, size):
    """Everything holds its own coordinate; what meets in a crop's pixel must be the same place in the image."""
    data = ParsingDataset(ramps(*shape), size)
    canonical = crop_matrix(shape, size)
    zoom = canonical[0, 0]
    stride_4 = ((size[0] + 3) // 4, (size[1] + 3) // 4)
    for axis in (0, 1):
        item = data.item(axis, augmentation)
        # Evidence: at stride 4, over the canonical frame corner to corner, each value its own place in the frame.
        length = stride_4[1 - axis]
        along = torch.linspace(0, size[1 - axis] - 1, length, dtype=torch.float64)
        frame = along.expand(stride_4) if axis == 0 else along[:, None].expand(stride_4)
        evidence = warp_evidence(
            frame[None, None],
            item["matrix"][None],
            item["mirror"][None],
            size=size,
            canonical=size,
            flip_index=[0],
        )[0, 0].numpy()
        place = (evidence - canonical[axis, 2]) / zoom  # in the image
        # Where the sample lies in the image and in the frame, away from their borders.
        inside = (item["given"] != 255).numpy() & (evidence > 0.01) & (evidence < size[1 - axis] - 1.01)
        shown = denormalise(item["image"])[:, :, 0].astype(float)
        full = inside & (place > 1) & (place < shape[1 - axis] - 2) & ndimage.binary_erosion(inside, iterations=3)
        # Half a pixel to the nearest one, and 1/1024 px or less of fixed point each for row and column.
        assert (np.abs(item["given"].numpy() - place)[inside] <= 0.5 + 2 / 1024 + 1e-4).all()
        # Half a grey level, and 1/32 px of the bilinear position in x and in y.
        assert (np.abs(shown - place)[full] <= 0.5 + 2 / 32 + 1e-4).all()
        assert inside.any()


@settings(max_examples=40, deadline=None)
@given(AUGMENTATIONS, st.integers(0, 59))
def test_refined_labels_stay_on_their_image(augmentation, seed):
    """One-hot evidence of the canonical frame at stride 4 agrees with the crop's mask, but for class borders."""
    shape, size, stride = (197, 121), (189, 189), 4
    mask = smooth_mask(*shape, seed=seed)
    data = ParsingDataset(Arrays([np.zeros((*shape, 3), np.uint8)], [mask]), size)
    canonical, item = data.canonical()[0], data.item(0, augmentation)
    labels = canonical["given"].long()
    one_hot = F.one_hot(torch.where(labels == 255, 0, labels), 6).permute(2, 0, 1)[None].float()
    evidence = F.interpolate(one_hot, size=(48, 48), mode="bilinear", align_corners=True)
    warped = warp_evidence(
        evidence, item["matrix"][None], item["mirror"][None], size=size, canonical=size, flip_index=BODY.flip_index
    )[0]
    given_there = item["given"].numpy()
    # All four points of evidence around a pixel lie within the diagonal of a cell; a pixel more for the nearest label.
    certain = borders_away(given_there, reach=math.sqrt(2) * stride / augmentation.scale + 1)
    assert (warped.argmax(0).numpy() == given_there)[certain].all()
    assert certain.sum() > 0.15 * (given_there != 255).sum()


def borders_away(mask, reach):
    """Where no other class, no ignored pixel and no edge of the crop, behind which one may be, lies within reach."""
    alike = (ndimage.maximum_filter(mask, 3) == ndimage.minimum_filter(mask, 3)) & (mask != 255)
    return ndimage.distance_transform_edt(np.pad(alike, 1))[1:-1, 1:-1] > reach


@settings(max_examples=60, deadline=None)
@given(AUGMENTATIONS, st.floats(0.3, 0.7), st.floats(0.3, 0.7))
def test_a_marker_is_found_where_the_matrix_says(augmentation, right, down):
    height, width, size = 140, 90, (93, 93)
    x, y = right * (width - 1), down * (height - 1)
    rows, columns = np.mgrid[:height, :width]
    near = (columns - x) ** 2 + (rows - y) ** 2
    image = np.repeat((255 * np.exp(-near / 40))[:, :, None], 3, axis=2).astype(np.uint8)
    data = ParsingDataset(Arrays([image], [(near < 49).astype(np.uint8) * 2]), size)
    item = data.item(0, augmentation)
    expected = crop_matrix((height, width), size) @ [x, y, 1]  # in the canonical frame
    light = denormalise(item["image"])[:, :, 0].astype(float)
    marked = item["given"].numpy() == (3 if augmentation.mirror else 2)
    for weight in (light, marked):
        row, column = ndimage.center_of_mass(weight)
        found = item["matrix"].double().numpy() @ [column, row, 1]
        assert math.dist(found, expected) < 0.5
    assert not (item["given"].numpy() == (2 if augmentation.mirror else 3)).any()


def test_a_mirror_is_the_picture_mirrored_with_left_and_right_exchanged():
    shape = (93, 61)  # as high as the crop: the zoom is 1, and nothing is interpolated
    data = ParsingDataset(people(1, shape), (93, 93))
    plain, mirrored = data.item(0, IDENTITY), data.item(0, Augmentation(mirror=True))
    assert torch.equal(mirrored["image"], plain["image"].flip(-1))
    assert (mirrored["given"].numpy() == BODY.swap(plain["given"].numpy()[:, ::-1])).all()
    assert mirrored["mirror"].item() is True
    assert mirrored["matrix"].tolist() == [[-1, 0, 92], [0, 1, 0]]
    assert plain["matrix"].tolist() == [[1, 0, 0], [0, 1, 0]]


# The item


def test_the_item_is_the_published_crop():
    """Mirror, warp with 0, BGR / 255, minus mean, over std; the mask nearest with 255."""
    source = people(1)
    augmentation = Augmentation(0.875, 21.0, True)
    item = ParsingDataset(source, (73, 73)).item(0, augmentation)
    matrix = crop_matrix((97, 61), (73, 73), scale=0.875, angle=21.0)
    crop = warp_image(source.image(0)[:, ::-1].copy(), matrix, (73, 73))
    means, stds = np.float32([0.406, 0.456, 0.485]), np.float32([0.225, 0.224, 0.229])
    published = ((crop[:, :, ::-1].astype(np.float32) / np.float32(255)) - means) / stds
    assert (item["image"].numpy() == published.transpose(2, 0, 1)).all()
    swapped = BODY.swap(source.mask(0)[:, ::-1])
    assert (item["given"].numpy() == warp_mask(swapped, matrix, (73, 73))).all()
    assert {key: (value.dtype, tuple(value.shape)) for key, value in item.items()} == {
        "image": (torch.float32, (3, 73, 73)),
        "given": (torch.uint8, (73, 73)),
        "matrix": (torch.float32, (2, 3)),
        "mirror": (torch.bool, ()),
        "extent": (torch.float32, (4,)),
    }


def test_outside_the_image_are_black_and_255():
    data = ParsingDataset(Arrays([np.full((21, 11, 3), 255, np.uint8)], [np.zeros((21, 11), np.uint8)]), (21, 21))
    item = data[0]
    black = torch.tensor([-0.406 / 0.225, -0.456 / 0.224, -0.485 / 0.229])
    assert (item["image"][:, :, 0] - black[:, None]).abs().max() <= 1e-6
    assert (item["given"][:, :5] == 255).all()
    assert (item["given"][:, 5:16] == 0).all()
    assert (item["given"][:, 16:] == 255).all()


def test_the_canonical_crop_is_upright_and_the_same_each_time():
    data = ParsingDataset(people(), (64, 48), augment=True)
    canonical = data.canonical()
    assert canonical.augment is False
    assert data.augment is True
    for item in (canonical[1], canonical[1]):
        assert item["matrix"].tolist() == [[1, 0, 0], [0, 1, 0]]
        assert item["mirror"].item() is False
        assert torch.equal(item["image"], data.item(1, IDENTITY)["image"])


def test_augmentation_follows_torchs_seed_and_nothing_else():
    data = ParsingDataset(people(), (64, 48), augment=True)

    def seen(seed):
        with seeded(seed, "crops"):
            np.random.seed(seed % 3)  # noqa: NPY002 - must not matter
            return [data[index]["matrix"] for index in (0, 1, 2, 0)]

    first, again, other = seen(1), seen(1), seen(2)
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))
    assert not torch.equal(first[0], first[3])


def test_strengths_of_the_augmentation():
    still = ParsingDataset(people(), (64, 48), augment=True, scale_factor=0, rotation_prob=0, mirror_prob=1)
    for _ in range(5):
        item = still[0]
        assert item["mirror"].item() is True
        assert item["matrix"].tolist() == [[-1, 0, 47], [0, 1, 0]]
    turning = ParsingDataset(people(), (64, 48), augment=True, scale_factor=0, rotation_factor=5, rotation_prob=1)
    with seeded(0, "crops"):
        angles = [math.degrees(math.asin(turning[0]["matrix"][1, 0])) for _ in range(50)]
    assert 5 < np.abs(angles).max() <= 10 + 1e-4
    assert turning.canonical().strengths == turning.strengths


def test_a_sample_without_mask():
    source = people(2)
    source.masks[1] = None
    data = ParsingDataset(source, (32, 32), augment=True)
    assert data.given[1] is None
    assert (data[1]["given"] == 255).all()
    assert (data[0]["given"] != 255).any()


def test_the_given_masks_are_a_lazy_sequence_that_the_core_takes():
    source = people()
    source.masks[2] = None
    data = ParsingDataset(source, (32, 32), augment=True)
    assert isinstance(data.given, Sequence)
    assert read_given(data) is data.given
    assert len(data.given) == 3
    assert (data.given[0] == source.masks[0]).all()
    assert (data.given[np.int64(-2)] == source.masks[1]).all()
    listed = list(data.given)
    assert listed[2] is None
    assert (listed[1] == data.given[1:3][0]).all()
    with pytest.raises(IndexError):
        data.given[3]


def test_the_data_set_says_what_it_is_of():
    data = ParsingDataset(people(), [64, 48])
    assert (len(data), data.size, data.num_classes, data.classes) == (3, (64, 48), 6, BODY)


def test_it_goes_to_worker_processes():
    data = ParsingDataset(people(), (32, 24), augment=True, cache=True)
    copy = pickle.loads(pickle.dumps(data))
    with seeded(3, "crops"):
        one = data[1]
    with seeded(3, "crops"):
        other = copy[1]
    assert all(torch.equal(one[key], other[key]) for key in one)
    batches = list(DataLoader(data.canonical(), batch_size=2, num_workers=1))
    assert [tuple(batch["image"].shape) for batch in batches] == [(2, 3, 32, 24), (1, 3, 32, 24)]
    assert torch.equal(batches[0]["given"][1], data.canonical()[1]["given"])


# Normalising


def test_normalise_and_back():
    image = np.arange(256 * 3, dtype=np.int64).reshape(16, 16, 3).astype(np.uint8)
    images = torch.stack([normalise(image), normalise(image[::-1])])
    assert (denormalise(images) == np.stack([image, image[::-1]])).all()
    assert images[0, 0, 0, 0] == pytest.approx((image[0, 0, 2] / 255 - 0.406) / 0.225, abs=1e-6)
    assert images[0, 2, 0, 0] == pytest.approx((image[0, 0, 0] / 255 - 0.485) / 0.229, abs=1e-6)


# Wrapping sources


class Counting(Arrays):
    reads = 0

    def image(self, index):
        self.reads += 1
        return super().image(index)


def test_a_cached_source_reads_once_and_gives_copies():
    inner = people(2)
    source = Counting(inner.images, inner.masks)
    cached = Cached(source)
    assert isinstance(cached, ParsingSource)
    cached.image(0)[:] = 0
    cached.mask(0)[:] = 0
    assert (cached.image(0) == inner.images[0]).all()
    assert (cached.mask(0) == inner.masks[0]).all()
    assert source.reads == 1
    assert cached.load() is cached
    assert source.reads == 2
    assert (len(cached), cached.name(1), cached.classes) == (2, "sample 1", BODY)


def test_a_data_set_shares_its_cache_with_its_canonical_one():
    inner = people(2)
    source = Counting(inner.images, inner.masks)
    data = ParsingDataset(source, (32, 32), augment=True, cache=True)
    for _ in range(3):
        assert data[0]["image"].shape == data.canonical()[0]["image"].shape
    assert len(list(data.given)) == 2
    assert source.reads == 2


def test_a_subset_counts_anew():
    source = people(3)
    source.masks[0] = None
    subset = Subset(source, [2, 0, 2])
    assert isinstance(subset, ParsingSource)
    assert [subset.name(index) for index in range(len(subset))] == ["sample 2", "sample 0", "sample 2"]
    assert subset.mask(1) is None
    assert (subset.mask(2) == source.masks[2]).all()
    assert (subset.image(1) == source.images[0]).all()
    assert subset.classes is BODY


# Invalid input


@pytest.mark.parametrize("indices", [[], [3], [-1]])
def test_a_subset_out_of_range(indices):
    with pytest.raises(InvalidInputError, match=r"at least one position in 0\.\.2"):
        Subset(people(3), indices)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (1, 5)}, "height to be a whole number >= 2; got 1"),
        ({"size": (5,)}, r"size=\(height, width\); got \(5,\)"),
        ({"scale_factor": 1.0}, "scale factor in"),
        ({"rotation_factor": -1.0}, "rotation factor"),
        ({"rotation_prob": 1.1}, "probabilities in"),
        ({"mirror_prob": math.nan}, "probabilities in"),
    ],
)
def test_arguments_that_cannot_be(options, message):
    with pytest.raises(InvalidInputError, match=message):
        ParsingDataset(people(), **options)


def test_what_is_no_source():
    with pytest.raises(InvalidInputError, match="a source with image"):
        ParsingDataset([1, 2, 3])
    with pytest.raises(InvalidInputError, match="at least one sample; got an empty one"):
        ParsingDataset(Arrays([], []))


def test_a_source_whose_mask_does_not_fit():
    source = people(1)
    source.masks[0] = source.masks[0][:-1]
    with pytest.raises(InvalidInputError, match=r"97 x 61 pixels .*got \(96, 61\) for sample 0"):
        ParsingDataset(source, (32, 32))[0]


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_normalising_what_is_no_image(image):
    with pytest.raises(InvalidInputError, match=r"RGB image \(H, W, 3\) of uint8"):
        normalise(image)


def test_the_registration_test_sees_an_error_of_a_pixel():
    """The bound of the first test is worth something: a map moved by one pixel breaks it."""
    shape, size = (120, 80), (93, 93)
    item = ParsingDataset(ramps(*shape), size).item(0, Augmentation(1.1, 20.0, True))
    canonical = crop_matrix(shape, size)
    moved = item["matrix"].double().numpy() + np.array([[0, 0, 1], [0, 0, 0]])
    rows, columns = np.nonzero(item["given"].numpy() != 255)
    places = invert(canonical)[0] @ np.stack(
        [*(moved @ np.stack([columns, rows, np.ones_like(rows)])), np.ones(len(rows))]
    )
    assert (np.abs(item["given"].numpy()[rows, columns] - places) > 0.5 + 2 / 1024 + 1e-4).mean() > 0.5


def test_a_source_of_many_classes_may_keep_few_of_them_in_bytes():
    classes = Classes("many", tuple(f"class {number}" for number in range(300)), ((1, 2),))
    source = Arrays([np.zeros((4, 6, 3), np.uint8)], [np.full((4, 6), 2, np.uint8)], classes)
    given = ParsingDataset(source, (6, 6)).item(0, Augmentation(mirror=True))["given"]
    assert given.unique().tolist() == [1, 65535]
