"""Pictures of masks."""

import numpy as np
import pytest
from PIL import Image

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import ATR, LIP, PASCAL, Classes
from noisycorrect_seg.inference.visualise import (
    LINE_PIXELS,
    colour_mask,
    contact_sheet,
    legend,
    overlay,
    save_mask,
    save_picture,
)


def mask(classes=LIP, shape=(6, 8), seed=0):
    return np.random.default_rng(seed).integers(len(classes), size=shape).astype(np.uint8)


@pytest.mark.parametrize("classes", [LIP, ATR, PASCAL], ids=lambda classes: classes.name)
def test_a_palette_png_holds_the_indices_and_shows_the_colours(tmp_path, classes):
    original = mask(classes)
    original[0, 0] = 255
    save_mask(tmp_path / "mask.png", original, classes)
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), original)
        assert np.array_equal(np.asarray(image.convert("RGB")), colour_mask(original, classes))
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]


def test_colours_are_the_voc_palette():
    """By hand: bit j of the index goes to channel j % 3, from the top bit down."""
    assert colour_mask(np.array([[19, 255]]), LIP).tolist() == [[[128, 192, 0], [224, 224, 192]]]


def test_overlay_blends_known_parts_only():
    image = np.random.default_rng(0).integers(256, size=(6, 8, 3)).astype(np.uint8)
    before, labels = image.copy(), mask()
    labels[0, :3] = 0, 255, 19
    shown = overlay(image, labels, LIP, alpha=0.25)
    known = (labels > 0) & (labels < 255)
    exact = 0.75 * image.astype(np.float64) + 0.25 * colour_mask(labels, LIP)
    assert np.array_equal(shown[~known], image[~known])
    assert np.abs(shown[known] - exact[known]).max() <= 0.5
    assert np.array_equal(overlay(image, labels, LIP, alpha=0), image)
    assert np.array_equal(overlay(image, labels, LIP, alpha=1)[known], colour_mask(labels, LIP)[known])
    assert np.array_equal(image, before)


def test_contact_sheet_places_pictures_in_the_middle_of_their_cells():
    red = np.zeros((10, 20, 3), np.uint8)
    red[..., 0] = 200
    sheet = np.asarray(contact_sheet([[red, Image.new("L", (4, 6), 7)], [None, red]], gap=3))
    assert sheet.shape == (2 * 13 + 3, 2 * 23 + 3, 3)
    assert np.array_equal(sheet[3:13, 3:23], red)
    assert np.array_equal(sheet[16:26, 26:46], red)
    small = sheet[3:13, 26:46]
    assert (small[2:8, 8:12] == 7).all()
    assert (small != 255).any(2).sum() == 6 * 4
    assert (sheet[16:26, 3:23] == 255).all()


def test_contact_sheet_with_titles_and_small_cells():
    picture = np.zeros((40, 40), np.uint8)
    sheet = contact_sheet([[picture], [picture]], ["given"], row_titles=["a", "b"], cell=(20, 30), gap=2)
    assert sheet.size == (34, LINE_PIXELS + 2 * (22 + LINE_PIXELS) + 2)
    array = np.asarray(sheet)
    assert (array[:LINE_PIXELS] < 255).any()  # the column's title
    first = LINE_PIXELS + 2 + LINE_PIXELS
    assert (array[first : first + 20, 2 + 5 : 2 + 25] == 0).all()  # shrunk to 20 x 20, in the middle
    assert picture.shape == (40, 40)
    original = Image.new("RGB", (40, 40))
    contact_sheet([[original]], cell=(20, 20))
    assert original.size == (40, 40)


def test_legend_shows_every_colour_once():
    shown = np.asarray(legend(LIP, rows=7))
    assert shown.shape[0] == 7 * LINE_PIXELS
    width = shown.shape[1] // 3
    for number in range(20):
        top, left = number % 7 * LINE_PIXELS, number // 7 * width
        assert np.array_equal(shown[top + 10, left + 10], LIP.palette[number])
    assert np.array_equal(np.asarray(legend(LIP, only=[19]))[10, 10], LIP.palette[19])


# ---------------------------------------------------------------- invalid input


def test_masks_that_are_none():
    with pytest.raises(InvalidInputError, match=r"mask values 0..6 or 255; got 7; to fix: the class list 'pascal'"):
        colour_mask(np.array([[0, 7]]), PASCAL)
    with pytest.raises(InvalidInputError, match=r"mask values 0..6 or 255; got -1"):
        colour_mask(np.array([[0, -1]]), PASCAL)
    with pytest.raises(InvalidInputError, match=r"whole numbers, shape \(H, W\); got float64 of shape \(1, 1\)"):
        colour_mask(np.array([[0.0]]), PASCAL)
    with pytest.raises(InvalidInputError, match=r"shape \(H, W\); got uint8 of shape \(1, 1, 3\)"):
        colour_mask(np.zeros((1, 1, 3), np.uint8), PASCAL)


def test_overlay_of_another_image():
    with pytest.raises(
        InvalidInputError, match=r"RGB image of shape \(6, 8, 3\), uint8; got uint8 of shape \(8, 6, 3\)"
    ):
        overlay(np.zeros((8, 6, 3), np.uint8), mask(), LIP)
    for alpha in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidInputError, match="alpha"):
            overlay(np.zeros((6, 8, 3), np.uint8), mask(), LIP, alpha=alpha)


def test_sheets_of_nothing_and_of_no_pictures():
    with pytest.raises(InvalidInputError, match="at least one picture"):
        contact_sheet([[], [None]])
    with pytest.raises(InvalidInputError, match=r"got float64 of shape \(2, 2, 3\)"):
        contact_sheet([[np.zeros((2, 2, 3))]])
    with pytest.raises(InvalidInputError, match=r"classes in 0..1; got \[2\]"):
        legend(Classes("two", ("a", "b")), only=[2])


def test_a_failed_save_keeps_the_old_file(tmp_path):
    save_mask(tmp_path / "mask.png", mask(), LIP)
    before = (tmp_path / "mask.png").read_bytes()
    with pytest.raises(KeyError, match="NOSUCH"):
        save_picture(tmp_path / "mask.png", Image.new("L", (2, 2)), "NOSUCH")
    assert (tmp_path / "mask.png").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]
