"""TIFFs that are stored on their side: Pillow turns them as it decodes, and nothing turns them again."""

import numpy as np
import pytest
from PIL import Image

from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets import FileSource
from noisycorrect_seg.datasets.images import TURNS, image_shape, read_channels, read_image, read_mask
from noisycorrect_seg.datasets.rasters import ORIENTATION
from noisycorrect_seg.datasets.shown import photo_at
from noisycorrect_seg.inference.images import any_image
from noisycorrect_seg.inputs import Normalisation

UPRIGHT = np.arange(72, dtype=np.uint8).reshape(6, 4, 3) * 3
TURNED_BACK = {
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
}
ORIENTATIONS = range(1, 9)


def stored(orientation, pixels=UPRIGHT):
    """Return how pixels are stored that an orientation turns upright."""
    turn = TURNS.get(orientation)
    return pixels if turn is None else np.array(Image.fromarray(pixels).transpose(TURNED_BACK.get(turn, turn)))


def written(path, orientation):
    Image.fromarray(stored(orientation)).save(path, tiffinfo={ORIENTATION: orientation})
    return path


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_tiff_is_turned_once(tmp_path, orientation, upright):
    path = written(tmp_path / "a.tif", orientation)
    assert image_shape(path) == ((6, 4), 1)
    assert (read_image(path, upright=upright) == UPRIGHT).all()
    assert (read_channels(path, "stored", upright=upright) == UPRIGHT).all()
    grey = np.array(Image.fromarray(UPRIGHT).convert("L"))
    assert (read_channels(path, "grey", upright=upright)[:, :, 0] == grey).all()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_parsing_and_review_turn_a_tiff_once(tmp_path, orientation):
    path = written(tmp_path / "a.tif", orientation)
    for drawn in ((6, 4), (4, 6)):
        assert (photo_at(path, (6, 4), drawn) == UPRIGHT).all()
    assert (any_image(path) == UPRIGHT).all()
    assert (any_image(path, Normalisation([127.0] * 3, [127.0] * 3)) == UPRIGHT).all()
    with Image.open(path) as image:
        assert (any_image(image) == UPRIGHT).all()


@pytest.mark.parametrize("choice", ["auto", "stored", "upright"])
@pytest.mark.parametrize("drawn", [True, False])
def test_a_source_of_tiffs_has_them_upright(tmp_path, choice, drawn):
    mask = UPRIGHT[:, :, 0] % 2
    Image.fromarray(mask).save(tmp_path / "mask.png")
    path, masks = written(tmp_path / "a.tif", 6), [tmp_path / "mask.png" if drawn else None]
    files = FileSource(Classes("two", ("a", "b")), ["a"], [path], masks, orientation=choice)
    assert files.image_size(0) == (6, 4)
    assert (files.image(0) == UPRIGHT).all()
    if drawn:
        assert (files.mask(0) == mask).all()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_tiff_of_many_channels_is_turned_as_others(tmp_path, orientation):
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "a.tif"
    pages = [stored(orientation, np.ascontiguousarray(UPRIGHT[:, :, channel])) for channel in range(3)]
    tag = (ORIENTATION, "H", 1, orientation, True)
    tifffile.imwrite(path, np.stack(pages), photometric="minisblack", metadata=None, extratags=[tag])
    files = FileSource(Classes("two", ("a", "b")), ["a"], [path], [None], channels="stored")
    assert files.image_size(0) == (6, 4)
    assert (files.image(0) == UPRIGHT).all()


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_tiff_without_compression_is_not_read_with_its_sides_exchanged(tmp_path, orientation):
    path, grey = tmp_path / "a.tif", np.ascontiguousarray(UPRIGHT[:, :, 0])
    Image.fromarray(stored(orientation, grey)).save(path, tiffinfo={ORIENTATION: orientation})
    assert (read_mask(path) == grey).all()
    assert (read_channels(path, "grey")[:, :, 0] == grey).all()
    assert (photo_at(path, (6, 4), (6, 4))[:, :, 0] == grey).all()
