"""Images and masks in files: what users really have, and one clear error for what cannot be read."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.datasets import FileSource, ParsingSource
from noisycorrect_seg.datasets.images import check_classes, read_channels, read_image, read_mask

MASK = np.array([[0, 1, 2, 255], [5, 4, 3, 0], [1, 1, 1, 1]], np.uint8)
PICTURE = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7
ORIENTATION = 0x0112


def palette(values):
    image = Image.fromarray(values)
    image.putpalette([(17 * index) % 256 for index in range(768)])
    assert image.mode == "P"
    return image


# Masks


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_a_palette_mask_is_its_indices(tmp_path, suffix):
    path = tmp_path / f"mask.{suffix}"
    palette(MASK).save(path)
    with Image.open(path) as image:
        assert image.mode == "P"
    mask = read_mask(path)
    assert mask.dtype == np.uint8
    assert (mask == MASK).all()
    mask[0, 0] = 9  # the caller's own


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(MASK),
        Image.fromarray(MASK.astype(np.uint16)),
        Image.fromarray(MASK.astype(np.int32)),
        Image.fromarray(np.repeat(MASK[:, :, None], 3, axis=2)),
        Image.merge("RGBA", [Image.fromarray(MASK)] * 3 + [Image.new("L", (4, 3), 255)]),
        Image.merge("LA", [Image.fromarray(MASK), Image.new("L", (4, 3), 255)]),
    ],
    ids=["grey", "16 bits", "32 bits", "grey as RGB", "grey as RGBA", "grey and alpha"],
)
def test_grey_masks_of_any_kind_are_their_values(tmp_path, image):
    image.save(tmp_path / "mask.tif")
    assert (read_mask(tmp_path / "mask.tif") == MASK).all()


def test_a_one_bit_mask_is_0_and_1(tmp_path):
    Image.fromarray(MASK > 1).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "1"
    assert (read_mask(tmp_path / "mask.png") == (MASK > 1)).all()


def test_a_mask_of_colours(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "mask.png")
    with pytest.raises(InvalidInputError, match=r"class numbers .*got colours in .*mask\.png; to fix: export"):
        read_mask(tmp_path / "mask.png")


def test_a_mask_above_255(tmp_path):
    Image.fromarray(MASK.astype(np.uint16) + 100).save(tmp_path / "mask.png")
    with pytest.raises(InvalidInputError, match=r"mask values 0\.\.255; got uint16 up to 355 in .*mask\.png"):
        read_mask(tmp_path / "mask.png")


def test_a_jpeg_mask(tmp_path):
    Image.fromarray(MASK).save(tmp_path / "mask.png", format="JPEG")
    with pytest.raises(InvalidInputError, match=r"lossless format; got the JPEG .*mask\.png"):
        read_mask(tmp_path / "mask.png")


def test_classes_out_of_range_are_found_and_255_is_none():
    mask = np.array([[0, 6, 255]], np.uint8)
    assert check_classes(mask, 7, "a.png") is mask
    assert check_classes(mask, 255, "a.png") is mask
    with pytest.raises(InvalidInputError, match=r"mask values 0\.\.5 or 255; got 6 in a\.png"):
        check_classes(mask, 6, "a.png")
    with pytest.raises(InvalidInputError, match=r"got 254 in b\.png"):
        check_classes(np.array([[254]], np.uint8), 254, "b.png")


# Images


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "L", "LA", "P", "1"])
def test_images_of_any_mode_become_rgb(tmp_path, mode):
    image = Image.fromarray(PICTURE).convert(mode)
    image.save(tmp_path / "image.tif")
    pixels = read_image(tmp_path / "image.tif")
    assert pixels.dtype == np.uint8
    assert (pixels == np.asarray(image.convert("RGB"))).all()


def test_transparency_that_is_dropped_is_warned_of_once_a_folder(tmp_path):
    """Of a palette's Pillow itself would warn, of another thing."""
    clear, solid = (Image.fromarray(PICTURE).convert("RGBA") for _ in range(2))
    clear.putpixel((0, 0), (9, 9, 9, 128))
    for place, image, more in (
        ("colours", clear, {}), ("palette", palette(MASK), {"transparency": bytes([0, 128, 255])}),
        ("grey", clear.convert("LA"), {}),
    ):  # fmt: skip
        (tmp_path / place).mkdir()
        solid.save(tmp_path / place / "0.png")
        for name in ("1.png", "2.png"):
            image.save(tmp_path / place / name, **more)
        channels = "grey" if place == "grey" else "rgb"
        read_channels(tmp_path / place / "0.png", channels)
        with pytest.warns(UserWarning, match=r"1\.png has transparent pixels, .*To fix: put such images"):
            found = read_channels(tmp_path / place / "1.png", channels)
        assert (found.squeeze() == np.asarray(image.convert("L" if place == "grey" else "RGB"))).all()
        read_channels(tmp_path / place / "2.png", channels)


def test_an_image_of_16_bits(tmp_path):
    Image.fromarray(MASK.astype(np.uint16)).save(tmp_path / "image.png")
    with pytest.raises(InvalidInputError, match=r"8 bits a channel; got .*image\.png of mode I;16"):
        read_image(tmp_path / "image.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif"])
@pytest.mark.parametrize("reader", [read_image, read_mask])
@pytest.mark.parametrize("keep", [0, 0.1, 0.6])
def test_files_that_are_cut_off_are_named(tmp_path, suffix, reader, keep):
    path = tmp_path / f"file.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (60, 50), np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(InvalidInputError, match=rf"file\.{suffix}"):
        reader(path)


@pytest.mark.parametrize("reader", [read_image, read_mask])
def test_files_that_are_none(tmp_path, reader):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InvalidInputError, match=r"can be read; got .*text\.png"):
        reader(tmp_path / "text.png")
    with pytest.raises(InvalidInputError, match=r"no file .*none\.png"):
        reader(tmp_path / "none.png")


# A source of files


def source(tmp_path, picture, mask, *, exif=1, orientation="auto", num_classes=6):
    """One sample, its image stored with an EXIF orientation."""
    image = Image.fromarray(picture)
    tags = image.getexif()
    tags[ORIENTATION] = exif
    image.save(tmp_path / "one.png", exif=tags)
    masks = [None]
    if mask is not None:
        Image.fromarray(mask).save(tmp_path / "mask.png")
        masks = [tmp_path / "mask.png"]
    classes = Classes("some", tuple(map(str, range(num_classes))))
    return FileSource(classes, ["one"], [tmp_path / "one.png"], masks, orientation=orientation)


def test_a_file_source_is_a_source(tmp_path):
    files = source(tmp_path, PICTURE, MASK)
    assert isinstance(files, ParsingSource)
    assert (len(files), files.name(0), len(files.classes)) == (1, "one", 6)
    assert (files.image(0) == PICTURE).all()
    assert (files.mask(0) == MASK).all()


def test_a_file_source_says_which_value_and_file_are_wrong(tmp_path):
    with pytest.raises(InvalidInputError, match=r"mask values 0\.\.4 or 255; got 5 in .*mask\.png"):
        source(tmp_path, PICTURE, MASK, num_classes=5).mask(0)


@pytest.mark.parametrize("mask", [MASK[:2], np.repeat(MASK, 2, axis=1)])
def test_a_mask_of_another_size_than_its_image(tmp_path, mask):
    got = f"{mask.shape[0]} x {mask.shape[1]}"
    with pytest.raises(InvalidInputError, match=rf"image's 3 x 4 pixels .*got {got} in .*mask\.png.*one\.png"):
        source(tmp_path, PICTURE, mask).mask(0)


def test_an_image_on_its_side_is_turned_if_its_mask_is_upright(tmp_path):
    # EXIF 6: turn a quarter clockwise to see it upright.
    upright = np.rot90(PICTURE, -1)
    files = source(tmp_path, PICTURE, np.ascontiguousarray(np.rot90(MASK, -1)), exif=6)
    assert (files.image(0) == upright).all()
    assert files.mask(0).shape == (4, 3)


def test_an_image_on_its_side_is_left_if_its_mask_is_too(tmp_path):
    files = source(tmp_path, PICTURE, MASK, exif=6)
    assert (files.image(0) == PICTURE).all()
    assert files.mask(0).shape == (3, 4)


def test_an_image_on_its_side_without_a_mask_is_turned(tmp_path):
    assert (source(tmp_path, PICTURE, None, exif=6).image(0) == np.rot90(PICTURE, -1)).all()
    assert (source(tmp_path, PICTURE, None, exif=6, orientation="stored").image(0) == PICTURE).all()


@pytest.mark.parametrize("exif", range(2, 9))
def test_every_orientation_is_turned_as_pillow_does(tmp_path, exif):
    files = source(tmp_path, PICTURE, None, exif=exif)
    with Image.open(tmp_path / "one.png") as image:
        assert (files.image(0) == np.asarray(ImageOps.exif_transpose(image))).all()


def test_an_orientation_that_fits_either_way_must_be_said(tmp_path):
    with pytest.raises(InvalidInputError, match=r"EXIF orientation 3 in .*one\.png.*orientation='stored' or 'upright'"):
        source(tmp_path, PICTURE, MASK, exif=3).image(0)
    assert (source(tmp_path, PICTURE, MASK, exif=3, orientation="stored").image(0) == PICTURE).all()
    assert (source(tmp_path, PICTURE, MASK, exif=3, orientation="upright").image(0) == PICTURE[::-1, ::-1]).all()


def test_a_file_source_of_nothing():
    with pytest.raises(InvalidInputError, match="at least one sample"):
        FileSource(Classes("two", ("a", "b")), [], [], [])
    with pytest.raises(InvalidInputError, match="did you mean 'upright'"):
        FileSource(Classes("two", ("a", "b")), ["x"], ["x.png"], [None], orientation="uprigt")
