"""Warps of images and masks: a loop over pixels, and checksums of what OpenCV 4 makes of the same arrays."""

import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry import warp
from noisycorrect_seg.geometry.crops import crop_matrix, invert
from noisycorrect_seg.geometry.warp import warp_image, warp_mask


def source_positions(matrix, size, half):
    """Where each target pixel lies in the source, in 1/1024 px, one by one, in Python's whole numbers."""
    (a, b, e), (c, d, f) = np.asarray(matrix, np.float64).tolist()
    factor = 1 / (a * d - b * c)
    xx, xy, yx, yy = d * factor, -b * factor, -c * factor, a * factor
    x0, y0 = -xx * e - xy * f, -yx * e - yy * f
    for row in range(size[0]):
        for column in range(size[1]):
            x = round(xx * column * 1024) + round((xy * row + x0) * 1024) + half  # Python rounds half to even
            y = round(yx * column * 1024) + round((yy * row + y0) * 1024) + half
            yield row, column, x, y


def slow_mask(mask, matrix, size, border):
    warped = np.full(size, border, mask.dtype)
    for row, column, x, y in source_positions(matrix, size, 512):
        if 0 <= x >> 10 < mask.shape[1] and 0 <= y >> 10 < mask.shape[0]:
            warped[row, column] = mask[y >> 10, x >> 10]
    return warped


def slow_image(image, matrix, size):
    height, width, channels = image.shape
    warped = np.zeros((*size, channels), image.dtype)
    for row, column, x, y in source_positions(matrix, size, 16):
        x, y = x >> 5, y >> 5
        across, down, left, top = x & 31, y & 31, x >> 5, y >> 5
        taps = []
        for down_by, right_by in ((0, 0), (0, 1), (1, 0), (1, 1)):
            inside = 0 <= top + down_by < height and 0 <= left + right_by < width
            weight = (down if down_by else 32 - down) * (across if right_by else 32 - across)
            taps.append((image[top + down_by, left + right_by] if inside else np.zeros(channels, image.dtype), weight))
        if image.dtype == np.uint8:
            total = sum(values.astype(int) * weight for values, weight in taps)
            warped[row, column] = (total + 512) >> 10
        else:
            total = np.zeros(channels, np.float32)
            for values, weight in taps:
                total = total + values * np.float32(weight / 1024)
            warped[row, column] = total
    return warped


@st.composite
def warps(draw):
    """A source's shape, a matrix and a target's size: crops, their inverses, and ties at half pixels."""
    shape = draw(st.tuples(st.integers(1, 24), st.integers(1, 24)))
    size = draw(st.tuples(st.integers(2, 20), st.integers(2, 20)))
    kind = draw(st.sampled_from(["canonical", "turned", "back", "ties"]))
    if kind == "canonical":
        return shape, crop_matrix(shape, size), size
    if kind == "ties":
        halves = st.integers(-6, 6).map(lambda number: number / 4)
        shifts = draw(st.tuples(halves, halves))
        return shape, np.array([[draw(st.sampled_from([1.0, -1.0, 2.0, 0.5])), 0, shifts[0]], [0, 1, shifts[1]]]), size
    matrix = crop_matrix(shape, size, scale=draw(st.floats(0.5, 2)), angle=draw(st.floats(-60, 60)))
    return (shape, matrix, size) if kind == "turned" else (size, invert(matrix), shape)


@settings(max_examples=60, deadline=None)
@given(warps(), st.integers(0, 2**32 - 1), st.sampled_from([np.uint8, np.int32, np.int64]))
def test_masks_are_the_loop_over_pixels(drawn, seed, dtype):
    shape, matrix, size = drawn
    mask = np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)
    assert (warp_mask(mask, matrix, size) == slow_mask(mask, matrix, size, 255)).all()
    assert (warp_mask(mask, matrix, size, border=7) == slow_mask(mask, matrix, size, 7)).all()


@settings(max_examples=60, deadline=None)
@given(warps(), st.integers(0, 2**32 - 1), st.integers(1, 7))
def test_uint8_images_are_the_loop_over_pixels(drawn, seed, channels):
    shape, matrix, size = drawn
    image = np.random.default_rng(seed).integers(0, 256, (*shape, channels), np.uint8)
    assert (warp_image(image, matrix, size) == slow_image(image, matrix, size)).all()


@settings(max_examples=40, deadline=None)
@given(warps(), st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_float32_images_are_the_loop_over_pixels(drawn, seed, channels):
    shape, matrix, size = drawn
    image = np.random.default_rng(seed).normal(size=(*shape, channels)).astype(np.float32)
    assert (warp_image(image, matrix, size) == slow_image(image, matrix, size)).all()


@pytest.mark.parametrize("extreme", [0, 255])
def test_no_channel_spills_into_another(extreme):
    """Channels are interpolated together in one whole number: all combinations of black and white, at every weight."""
    corners = np.array([[[c >> bit & 1 for bit in range(3)] for c in range(8)]], np.uint8) * 255
    image = np.concatenate([corners, corners[:, ::-1], np.full_like(corners, extreme)])
    matrix = np.array([[32, 0, 0], [0, 32, 0.0]])
    assert (warp_image(image, matrix, (65, 225)) == slow_image(image, matrix, (65, 225))).all()


def pattern(height, width):
    y, x, channel = np.ogrid[:height, :width, :3]
    return ((7 * x * x + 13 * y * y + 31 * x * y + 97 * channel + 5 * x * channel) % 256).astype(np.uint8)


# CRC-32 of what OpenCV 4.5.5 and 4.12.0 return (both the same): uint8, mask, float32, int32. Matrices times 4096.
OPENCV = [
    ((61, 47), (73, 73), [[4915, 0, 34406], [0, 4915, 0]], (0x92D093EF, 0x63F6F2C4, 0xAC723998, 0x4D5C5A2B)),
    (
        *((61, 47), (73, 73), [[4253, -3205, 146807], [3205, 4253, -59970]]),
        (0xDB49AC4C, 0xFD92A012, 0x4F3C413F, 0x4DBCA37E),
    ),
    (
        *((120, 90), (50, 41), [[940, 1342, -31562], [-1342, 940, 116448]]),
        (0x802FD077, 0x2040F5A5, 0xF1CA13B1, 0x2EED3A37),
    ),
    (
        *((9, 13), (40, 30), [[12420, 2640, -27737], [-2640, 12420, 48079]]),
        (0xF977A7C6, 0x5A1584E5, 0x2EA676B2, 0x93A0D20F),
    ),
]


@pytest.mark.parametrize(("shape", "size", "matrix", "checksums"), OPENCV)
def test_opencv_4_makes_the_same(shape, size, matrix, checksums):
    image, matrix = pattern(*shape), np.array(matrix) / 4096
    mask = image[:, :, 0]
    warped = (
        warp_image(image, matrix, size),
        warp_mask(mask, matrix, size),
        warp_image(image.astype(np.float32) / np.float32(256) - np.float32(0.5), matrix, size),
        warp_mask(mask.astype(np.int32) * 1000 - 7, matrix, size, border=-1),
    )
    assert tuple(zlib.crc32(np.ascontiguousarray(array).tobytes()) for array in warped) == checksums


def test_a_small_image_as_opencv_4_warps_it():
    image, matrix = pattern(4, 5)[:, :, 0], [[1.5, 0.5, -0.75], [-0.25, 1.25, 1.5]]
    assert warp_image(image, matrix, (6, 7)).tolist() == [
        [0, 2, 7, 18, 37, 66, 33],
        [3, 10, 24, 53, 91, 142, 116],
        [13, 32, 64, 105, 156, 196, 207],
        [26, 61, 107, 161, 119, 88, 142],
        [43, 92, 145, 158, 135, 138, 128],
        [59, 128, 199, 136, 68, 110, 87],
    ]
    assert warp_mask(image, matrix, (6, 7)).tolist() == [
        [255, 255, 255, 255, 255, 112, 255],
        [7, 7, 28, 28, 63, 112, 112],
        [0, 51, 103, 103, 169, 169, 249],
        [13, 51, 51, 204, 45, 45, 156],
        [52, 52, 121, 204, 204, 203, 89],
        [117, 117, 217, 217, 75, 203, 203],
    ]


@pytest.mark.parametrize("pixels", [1, 64, 100, 5000])
def test_tiles_make_one_whole(monkeypatch, pixels):
    for name in ("LINEAR_TILE", "NEAREST_TILE", "FLOAT_TILE"):
        monkeypatch.setattr(warp, name, pixels)
    image, size = pattern(30, 17), (41, 39)
    matrix = crop_matrix((30, 17), size, scale=1.1, angle=25)
    assert (warp_image(image, matrix, size) == slow_image(image, matrix, size)).all()
    assert (warp_mask(image[:, :, 0], matrix, size) == slow_mask(image[:, :, 0], matrix, size, 255)).all()
    floats = image.astype(np.float32)
    assert (warp_image(floats, matrix, size) == slow_image(floats, matrix, size)).all()


def test_strides_dtype_shape_and_arguments():
    image = pattern(12, 9)
    before = image.copy()
    matrix = crop_matrix((12, 9), (15, 14), angle=10)
    mirrored = image[:, ::-1]
    assert (warp_image(mirrored, matrix, (15, 14)) == warp_image(mirrored.copy(), matrix, (15, 14))).all()
    assert (
        warp_mask(mirrored[:, :, 1], matrix, (15, 14)) == warp_mask(mirrored[:, :, 1].copy(), matrix, (15, 14))
    ).all()
    grey = warp_image(image[:, :, 2], matrix, (15, 14))
    assert grey.shape == (15, 14)
    assert grey.dtype == np.uint8
    assert (grey == warp_image(image, matrix, (15, 14))[:, :, 2]).all()
    assert (image == before).all()


def test_a_result_is_not_touched_by_the_next_warp():
    image, other = pattern(30, 20), 255 - pattern(40, 45)
    matrix = crop_matrix((30, 20), (25, 25))
    first, mask = warp_image(image, matrix, (25, 25)), warp_mask(image[:, :, 0], matrix, (25, 25))
    kept = first.copy(), mask.copy()
    warp_image(other, crop_matrix((40, 45), (50, 50)), (50, 50))
    warp_mask(other[:, :, 0], crop_matrix((40, 45), (50, 50)), (50, 50))
    assert (first == kept[0]).all()
    assert (mask == kept[1]).all()


def test_threads_do_not_share_their_memory():
    images = [np.roll(pattern(60, 50), 7 * number, axis=0) for number in range(4)]
    matrix = crop_matrix((60, 50), (80, 80), angle=15)
    alone = [warp_image(image, matrix, (80, 80)) for image in images]
    wrong = []

    def work(number):
        wrong.extend(number for _ in range(20) if (warp_image(images[number], matrix, (80, 80)) != alone[number]).any())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_image_that_is_nowhere_in_the_target():
    image = np.full((5, 5, 3), 200, np.uint8)
    away = [[1, 0, 1000], [0, 1, -1000]]
    assert not warp_image(image, away, (8, 8)).any()
    assert (warp_mask(image[:, :, 0], away, (8, 8)) == 255).all()
    far = [[1, 0, 1e12], [0, 1, -1e12]]
    assert not warp_image(image.astype(np.float32), far, (8, 8)).any()


# Invalid input


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.int32), np.zeros((4, 4, 3)), np.zeros(4, np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_images_of_another_kind(image):
    with pytest.raises(InvalidInputError, match=r"expected an image \(H, W\) or \(H, W, C\) of uint8 or float32"):
        warp_image(image, np.eye(2, 3), (4, 4))


@pytest.mark.parametrize("mask", [np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4)), np.zeros((4, 0), np.uint8)])
def test_masks_of_another_kind(mask):
    with pytest.raises(InvalidInputError, match=r"expected a mask \(H, W\) of integers"):
        warp_mask(mask, np.eye(2, 3), (4, 4))


def test_a_border_that_does_not_fit():
    with pytest.raises(InvalidInputError, match="border that fits uint8; got -1"):
        warp_mask(np.zeros((4, 4), np.uint8), np.eye(2, 3), (4, 4), border=-1)


@pytest.mark.parametrize(
    ("matrix", "size", "message"),
    [
        (np.eye(3), (4, 4), "finite affine matrix"),
        ([[1, 0, np.nan], [0, 1, 0]], (4, 4), "finite affine matrix"),
        (np.eye(2, 3), (0, 4), "at least 1 x 1"),
        ([[1, 2, 0], [2, 4, 0]], (4, 4), "matrix with an inverse"),
    ],
)
def test_matrices_and_sizes_that_cannot_be(matrix, size, message):
    with pytest.raises(InvalidInputError, match=message):
        warp_image(np.zeros((4, 4), np.uint8), matrix, size)
