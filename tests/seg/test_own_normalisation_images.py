"""Images for networks with a normalisation of their own: read as a data set reads them."""

import numpy as np
import pytest
from PIL import Image
from torch import nn

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets import FileSource, unlabeled_source
from noisycorrect_seg.inference.images import any_image, picture_of
from noisycorrect_seg.inference.parse import parse_image
from noisycorrect_seg.inputs import Normalisation

PICTURE = np.random.default_rng(0).integers(0, 256, (6, 4, 3)).astype(np.uint8)
TWO = Classes("two", ("a", "b"))
RGB_OF_OWN = Normalisation([0.5] * 3, [0.5] * 3, scale=255)
GREY_OF_OWN = Normalisation([0.5], [0.5], scale=255)
COLOURS = Normalisation([127.5] * 3, [127.5] * 3)
ONE = Normalisation([100.0], [50.0])


def saved(folder, mode, suffix="png", *, orientation=1):
    """Return a file of an image in a mode of Pillow's, on its side where the EXIF orientation says so."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    image = Image.fromarray(PICTURE[:, :, 0].astype(np.uint16) * 99) if mode == "I;16" else Image.fromarray(PICTURE)
    path = folder / f"{mode.replace(';', '')}.{suffix}"
    (image if mode == "I;16" else image.convert(mode)).save(path, exif=tags)
    return path


@pytest.mark.filterwarnings("ignore:.*transparent")
@pytest.mark.parametrize(("channels", "normalisation"), [("rgb", RGB_OF_OWN), ("grey", GREY_OF_OWN)])
@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("RGB", "png"), ("L", "png"), ("LA", "png"), ("RGBA", "png"), ("P", "png"), ("1", "png"), ("CMYK", "jpg")],
)
def test_images_are_converted_as_a_data_set_converts_them(tmp_path, channels, normalisation, mode, suffix):
    path = saved(tmp_path, mode, suffix, orientation=6)
    trained_on = FileSource(TWO, ["a"], [path], [None], channels=channels).image(0)
    assert trained_on.shape == (4, 6, normalisation.channels)
    assert (any_image(path, normalisation) == trained_on).all()
    with Image.open(path) as image:
        assert (any_image(image, normalisation) == trained_on).all()
        assert (unlabeled_source([image], TWO, channels=channels).image(0) == trained_on).all()
    net = nn.Conv2d(normalisation.channels, 2, 1)
    assert parse_image(net, path, classes=TWO, size=(8, 8), normalisation=normalisation).labels.shape == (4, 6)


@pytest.mark.parametrize(("mode", "normalisation"), [("RGB", COLOURS), ("P", COLOURS), ("L", ONE), ("I;16", ONE)])
def test_files_and_pil_images_are_one(tmp_path, mode, normalisation):
    path = saved(tmp_path, mode, orientation=6)
    trained_on = FileSource(TWO, ["a"], [path], [None], channels="stored").image(0)
    assert trained_on.shape == (4, 6, normalisation.channels)
    assert (any_image(path, normalisation) == trained_on).all()
    with Image.open(path) as image:
        assert (any_image(image, normalisation) == trained_on).all()
        assert (unlabeled_source([image], TWO, channels="stored").image(0) == trained_on).all()
        assert picture_of(image).shape == (4, 6, 3)


def test_a_palette_image_is_its_colours_and_not_its_indices(tmp_path):
    with Image.open(saved(tmp_path, "P")) as image, pytest.raises(InvalidInputError, match="an image of 1 channel"):
        any_image(image, ONE)


def test_what_is_no_plain_picture_is_taken_as_it_is_stored(tmp_path):
    np.save(tmp_path / "a.npy", PICTURE)
    assert (any_image(tmp_path / "a.npy", RGB_OF_OWN) == PICTURE).all()
    tifffile = pytest.importorskip("tifffile")
    deep = PICTURE.astype(np.uint16) * 99
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb")
    assert (any_image(tmp_path / "a.tif", COLOURS) == deep).all()
    with pytest.raises(InvalidInputError, match="an image of uint8; got uint16"):
        any_image(tmp_path / "a.tif", RGB_OF_OWN)
    tifffile.imwrite(tmp_path / "b.tif", PICTURE.transpose(2, 0, 1), photometric="minisblack")
    assert (any_image(tmp_path / "b.tif", RGB_OF_OWN) == PICTURE).all()


@pytest.mark.parametrize(("channels", "normalisation"), [("rgb", RGB_OF_OWN), ("grey", GREY_OF_OWN)])
def test_a_deep_image_is_not_cut_to_white(tmp_path, channels, normalisation):
    path = saved(tmp_path, "I;16")
    with Image.open(path) as image:
        for form in (path, image):
            with pytest.raises(InvalidInputError, match=r"of 8 bits.*of mode I;16"):
                any_image(form, normalisation)
        with pytest.raises(InvalidInputError, match=r"of 8 bits.*of mode I;16"):
            unlabeled_source([image], TWO, channels=channels)
