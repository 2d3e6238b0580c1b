"""Pictures of masks."""

import numpy as np
import pytest
from PIL import Image

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import ATR, CCP, KNOWN, LIP, PASCAL, PEOPLE, Classes, palette_of_names
from noisycorrect_seg.colours import lab, voc_palette
from noisycorrect_seg.datasets.palettes import check_palette
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
    assert colour_mask(np.array([[13, 255]]), LIP).tolist() == [[[192, 0, 128], [224, 224, 192]]]
    for classes in (PASCAL, CCP, PEOPLE):
        assert np.array_equal(classes.palette, voc_palette())
    single = [number for number in range(20) if number not in np.ravel(LIP.flip_pairs)]
    assert np.array_equal(LIP.palette[single], voc_palette()[single])
    assert np.array_equal(LIP.palette[20:], voc_palette()[20:])


# How people see who lack the cones for long or for middle waves: Machado, Oliveira and Fernandes, "A physiologically
# based model for simulation of color vision deficiency", 2009, severity 1; on linear RGB.
COLOUR_BLIND = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def seen(colours, eyes):
    linear = np.where(colours / 255 <= 0.04045, colours / 255 / 12.92, ((colours / 255 + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.array(COLOUR_BLIND[eyes]).T, 0, 1)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return lab(np.rint(255 * shown).astype(np.uint8))


@pytest.mark.parametrize("classes", [LIP, ATR, KNOWN["cihp"]], ids=lambda classes: classes.name)
@pytest.mark.parametrize("eyes", COLOUR_BLIND)
def test_left_and_right_are_told_apart_at_a_glance(classes, eyes):
    """Two colours of CIELAB are told apart side by side at a distance of about 2; these are far."""
    colours = seen(classes.palette, eyes)
    apart = {pair: np.linalg.norm(colours[pair[0]] - colours[pair[1]]) for pair in classes.flip_pairs}
    assert min(apart.values()) >= 45
    voc = seen(voc_palette(), eyes)
    assert min(apart.values()) >= 1.5 * min(np.linalg.norm(voc[one] - voc[other]) for one, other in classes.flip_pairs)
    sides = [number for pair in classes.flip_pairs for number in pair]
    others = np.linalg.norm(colours[sides][:, None] - colours[: len(classes)], axis=2)
    others[np.arange(len(sides)), sides] = np.inf
    assert others.min() >= (30 if eyes == "none" else 8)


def test_left_is_warm_however_the_names_are_ordered_and_spelt():
    one = Classes("a", ("background", "arm_l", "arm_r"), ((1, 2),))
    other = Classes("b", ("background", "Right Arm", "Left Arm"), ((1, 2),))
    assert np.array_equal(one.palette[[1, 2]], other.palette[[2, 1]])
    assert one.palette[1, 0] > one.palette[1, 2]  # more red than blue
    assert np.array_equal(palette_of_names(other.names), other.palette)


def test_colours_of_ours_are_nobody_elses_in_a_mask():
    """Else readers would take a mask in these colours for one in VOC's, numbered otherwise."""
    many = Classes("many", ("sky", *(f"{side} {n}" for n in range(40) for side in ("left", "right"))), PAIRS)
    known = {tuple(colour) for colour in voc_palette().tolist()}
    assert not known & {tuple(colour) for colour in many.palette[:60].tolist()}
    for classes in (LIP, ATR):
        for number, colour in enumerate(classes.palette.tolist()):
            check_palette(np.array([[number]], np.uint8), classes.palette.ravel().tolist(), "a mask")
            assert number == 0 or tuple(colour) in known or len(set(colour)) > 1


PAIRS = tuple((1 + 2 * n, 2 + 2 * n) for n in range(40))


def test_overlay_of_classes_without_a_background():
    image = np.full((1, 3, 3), 100, np.uint8)
    land = Classes("land", ("water", "forest"))
    shown = overlay(image, np.array([[0, 1, 255]], np.uint8), land, alpha=1)
    assert shown.tolist() == [[land.palette[0].tolist(), [128, 0, 0], [100, 100, 100]]]
    assert land.palette[0].any()
    named = Classes("named", ("0: Background", "forest"))
    assert overlay(image, np.array([[0, 1, 255]], np.uint8), named, alpha=1)[0, 0].tolist() == [100, 100, 100]


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
