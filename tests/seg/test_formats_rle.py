"""Run lengths of masks against slow oracles, and against the label tools' own packages where they are installed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays

from noisycorrect_seg.formats.cvat import cvat_mask
from noisycorrect_seg.formats.rle import box, coco_counts, label_studio_rle, run_lengths

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def oracle_counts(mask):
    """The loops of rleEncode and rleToString in COCO's maskApi.c, in Python."""
    flat = mask.ravel(order="F").tolist()
    counts, run, value = [], 0, False
    for pixel in flat:
        if pixel != value:
            counts.append(run)
            run, value = 0, pixel
        run += 1
    counts.append(run)
    text = ""
    for number, count in enumerate(counts):
        x = count - counts[number - 2] if number > 2 else count
        more = True
        while more:
            c = x & 0x1F
            x >>= 5
            more = x != -1 if c & 0x10 else x != 0
            text += chr((c | 0x20 if more else c) + 48)
    return text


def decoded_counts(text, shape):
    """rleFrString and rleDecode, likewise."""
    counts, place = [], 0
    while place < len(text):
        x = shift = 0
        more = True
        while more:
            c = ord(text[place]) - 48
            x |= (c & 0x1F) << (5 * shift)
            more = bool(c & 0x20)
            place, shift = place + 1, shift + 1
            if not more and c & 0x10:
                x |= -1 << (5 * shift)
        if len(counts) > 2:
            x += counts[-2]
        counts.append(x)
    values = [value for number, count in enumerate(counts) for value in [number % 2 == 1] * count]
    return np.array(values, bool).reshape(shape, order="F")


def decoded_label_studio(packed):
    """The decoder of thi.ng's rle-pack, bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in packed)
    place = 0

    def take(count):
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values = []
    while len(values) < total:
        run = take(1)
        count = take(sizes[take(2)]) + 1
        values += [take(word)] * count if run else [take(word) for _ in range(count)]
    assert len(bits) - place < 8
    assert not int(bits[place:] or "0", 2)
    return np.array(values, np.uint8)


@settings(deadline=None, max_examples=60)
@given(MASKS)
def test_masks_come_back_from_every_form(mask):
    assert coco_counts(mask) == oracle_counts(mask)
    assert np.array_equal(decoded_counts(coco_counts(mask), mask.shape), mask)
    assert np.array_equal(decoded_label_studio(label_studio_rle(mask)), np.repeat(mask.ravel() * np.uint8(255), 4))
    assert run_lengths(mask.ravel()).sum() == mask.size
    if mask.any():
        left, top, width, height = box(mask)
        runs = run_lengths(mask[top : top + height, left : left + width].ravel())
        rle = ", ".join(map(str, runs.tolist()))
        assert np.array_equal(cvat_mask(rle, left, top, width, height, mask.shape), mask)
        rest = mask.copy()
        rest[top : top + height, left : left + width] = False
        assert not rest.any()
        assert mask[top].any()
        assert mask[:, left].any()


def large_masks():
    rng = np.random.default_rng(0)
    blobs = np.zeros((700, 500), bool)
    blobs[100:600, 50:400] = True
    blobs[300:310, 200:210] = False
    return {
        "empty": np.zeros((300, 300), bool),
        "full": np.ones((300, 300), bool),  # 360,000 channel values: more than one run can say
        "noise": rng.random((90, 80)) < 0.5,
        "blobs": blobs,
        "one pixel": np.eye(1, dtype=bool),
        "exactly one run": np.ones((128, 128), bool),  # 65,536 channel values
    }


@pytest.mark.parametrize("name", large_masks())
def test_large_masks(name):
    mask = large_masks()[name]
    assert coco_counts(mask) == oracle_counts(mask)
    assert np.array_equal(decoded_label_studio(label_studio_rle(mask)), np.repeat(mask.ravel() * np.uint8(255), 4))


@pytest.mark.parametrize("name", large_masks())
def test_pycocotools_reads_the_counts(name):
    coco = pytest.importorskip("pycocotools.mask", reason="needs pycocotools")
    mask = large_masks()[name]
    assert coco_counts(mask).encode() == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]


@pytest.mark.parametrize("name", large_masks())
def test_label_studio_reads_the_bytes(name):
    brush = pytest.importorskip("label_studio_sdk.converter.brush", reason="needs label-studio-sdk")
    mask = large_masks()[name]
    assert np.array_equal(brush.decode_rle(label_studio_rle(mask)), np.repeat(mask.ravel() * np.uint8(255), 4))
