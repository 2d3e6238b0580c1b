"""Garments cut out, and people without them: exact pixel sets on the embedded people."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from scipy import ndimage

from benchmarks.parsing.tryon import hand_scores, with_hands
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import Parsing, SyntheticPeople, translate
from noisycorrect_seg.classes import ATR, CCP, KNOWN, LIP, PASCAL, PEOPLE, Classes, classes_named
from noisycorrect_seg.inference.people import PeopleParsing, Person
from noisycorrect_seg.instances.boxes import Window
from noisycorrect_seg.tryon import GARMENTS, CutOut, agnostic_mask, cut_out

PEOPLE_DRAWN = SyntheticPeople(24, size=(96, 72), seed=3)
MASKS = [PEOPLE_DRAWN.mask(index) for index in range(24)]
ALWAYS_KEPT = {"Hat", "Hair", "Glove", "Sunglasses", "Scarf", "Face", "Left-shoe", "Right-shoe"}
# By hand: what goes of LIP's classes, but for hands and feet.
GOES = {
    "upper": {"Upper-clothes", "Dress", "Coat", "Jumpsuits", "Left-arm", "Right-arm"},
    "lower": {"Dress", "Pants", "Jumpsuits", "Skirt", "Left-leg", "Right-leg", "Socks"},
}
GOES["dress"] = GOES["upper"] | GOES["lower"]


def where(mask, names, classes=LIP):
    return np.isin(mask, [classes.names.index(name) for name in names])


@pytest.mark.parametrize("garment", GARMENTS)
def test_all_of_the_garment_goes_and_nothing_else_of_the_person(garment):
    kept_names = set(LIP.names[1:]) - GOES[garment]
    assert kept_names >= ALWAYS_KEPT
    for mask in MASKS:
        found = agnostic_mask(mask, garment, classes="lip")
        ends = found.hands | found.feet
        gone = where(mask, GOES[garment])
        assert np.array_equal(gone & ~ends, found.mask & (mask > 0))
        assert np.array_equal(found.kept, (mask > 0) & ~found.mask)
        assert not (ends & ~where(mask, {"Left-arm", "Right-arm", "Left-leg", "Right-leg", "Socks"})).any()
        assert not found.mask[where(mask, kept_names)].any()
        if garment == "lower":
            assert not found.hands.any()
        if garment == "upper":
            assert not found.feet.any()
    assert sum(where(mask, {"Face"}).any() for mask in MASKS) > 12  # else the test says little


def test_the_margin_is_a_disc_that_spares_the_person():
    mask = MASKS[0]
    none = agnostic_mask(mask, "upper", classes="lip", margin=0)
    assert not none.mask[mask == 0].any()
    grown = agnostic_mask(mask, "upper", classes="lip", margin=3)
    y, x = np.nonzero(none.mask)
    places = np.argwhere(np.ones(mask.shape, bool)).reshape(*mask.shape, 2)
    slow = (((places[:, :, None] - np.stack([y, x], 1)) ** 2).sum(3).min(2) <= 9) & ~grown.kept
    assert np.array_equal(grown.mask, slow)


def test_hull_and_box_hold_the_outline_and_spare_what_is_kept():
    for mask in MASKS[:8]:
        outline, hull, box = (
            agnostic_mask(mask, "upper", classes="lip", shape=shape, margin=0) for shape in ("outline", "hull", "box")
        )
        rows, columns = np.nonzero(outline.mask)
        whole = np.zeros(mask.shape, bool)
        whole[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        assert np.array_equal(box.mask, whole & ~box.kept)
        assert not (outline.mask & ~hull.mask).any()
        assert not (hull.mask & ~box.mask).any()
        for start in ((rows.min(), columns[rows.argmin()]), (rows[columns.argmin()], columns.min())):
            assert hull.mask[start]
    square = np.zeros((9, 9), np.uint8)
    square[2, 2] = square[2, 6] = square[6, 2] = 5
    triangle = agnostic_mask(square, "upper", classes="lip", shape="hull", margin=0).mask
    slow = [[y >= 2 and x >= 2 and x + y <= 8 for x in range(9)] for y in range(9)]
    assert triangle.tolist() == slow
    line = np.zeros((5, 9), np.uint8)
    line[2, [1, 7]] = 5
    assert agnostic_mask(line, "upper", classes="lip", shape="hull", margin=0).mask.sum() == 7


def test_hands_of_bare_and_clothed_arms():
    """Against hands that are known: those pixels of arms that are gloves if gloves are worn."""
    scores = hand_scores(24, seed=7, size=(128, 96))
    assert scores.hands >= 44
    assert scores.found >= 0.95
    assert scores.pixels >= 0.85
    assert scores.rest <= 0.15


def test_hands_in_poses_drawn_by_hand():
    """A sleeve from the left, an arm of 4 rows, 40 long: its last part is the hand, wherever the sleeve ends."""

    def picture(sleeve):
        mask = np.zeros((60, 70), np.uint8)
        mask[2:10, 4:12] = 13
        mask[10:50, 0:16] = 5
        mask[14:18, 16:56] = 14
        mask[14:18, 16 : 16 + sleeve] = 5
        return mask

    bare = agnostic_mask(picture(2), "upper", classes="lip")
    columns = np.flatnonzero(bare.hands.any(0))
    assert columns[-1] == 55
    assert 40 <= columns[0] <= 50
    assert bare.hands[14:18, columns[0] + 2 :].any(1).all()
    clothed = agnostic_mask(picture(34), "upper", classes="lip")
    assert np.array_equal(clothed.hands, picture(34) == 14)
    mhp, hand = KNOWN["mhp"], np.zeros((60, 70), np.uint8)
    for number, name in ((13, "Face"), (5, "Tee-shirt"), (14, "Left-arm")):
        hand[picture(2) == number] = mhp.names.index(name)
    hand[14:18, 48:56] = mhp.names.index("Left-hand")  # a class of its own: the arm ends in it, and goes whole
    agnostic = agnostic_mask(hand, "upper", classes="mhp")
    assert not agnostic.hands.any()
    assert agnostic.mask[hand == mhp.names.index("Left-arm")].all()
    assert not agnostic.mask[hand == mhp.names.index("Left-hand")].any()
    gloved = picture(2)
    gloved[14:18, 50:56] = 3
    found = agnostic_mask(gloved, "upper", classes="lip")
    assert not found.hands.any()
    assert found.mask[gloved == 14].all()
    assert not found.mask[gloved == 3].any()


def test_feet_where_no_shoe_is():
    mask = np.zeros((80, 40), np.uint8)
    mask[2:8, 16:24], mask[8:30, 12:28], mask[30:44, 12:28] = 13, 5, 9
    mask[44:70, 13:18], mask[44:70, 22:27] = 17, 16
    bare = agnostic_mask(mask, "lower", classes="lip")
    for number in (16, 17):
        rows = np.flatnonzero((bare.feet & (mask == number)).any(1))
        assert rows[-1] == 69
        assert 56 <= rows[0] <= 66
    mask[70:73, 13:20] = 19
    shod = agnostic_mask(mask, "lower", classes="lip")
    assert not (shod.feet & (mask == 17)).any()
    assert np.array_equal(shod.feet & (mask == 16), bare.feet & (mask == 16))
    assert not agnostic_mask(mask[:60], "lower", classes="lip").feet[:, 13:18].any()
    cut = mask[:60].copy()
    assert not agnostic_mask(cut, "lower", classes="lip").feet.any()  # legs that go on below the picture


def test_other_lists_agree_where_they_say_the_same():
    for mask in MASKS[:6]:
        reference = agnostic_mask(mask, "upper", classes="lip")
        for classes in (ATR, KNOWN["cihp"]):
            translated = translate(
                mask, "lip", classes, {"Glove": "Scarf", "Jumpsuits": "Dress", "Socks": "Pants"}
            ).mask
            if not where(mask, {"Glove", "Coat"}).any():
                assert np.array_equal(agnostic_mask(translated, "upper", classes=classes).mask, reference.mask)
    for name in ("people", "pascal", "ccp"):
        classes = KNOWN[name]
        for mask, garment in itertools.product(MASKS[:4], GARMENTS):
            other = np.where((coarse := translate(mask, "lip", classes).mask) == 255, 0, coarse)
            try:
                found = agnostic_mask(other, garment, classes=classes)
            except InvalidInputError as error:
                assert "a mask with" in str(error)  # noqa: PT017
                continue
            head = [each for each in ("Head", "face", "hair", "hat", "headwear", "skin") if each in classes.names]
            assert not found.mask[where(other, head, classes)].any()
            assert not (found.mask & found.kept).any()


def test_parts_of_bodies_have_hands_and_feet_too():
    mask = np.zeros((80, 60), np.uint8)
    mask[2:12, 25:35], mask[12:40, 20:40] = 1, 2
    mask[14:19, 40:48], mask[14:19, 48:58] = 3, 4
    mask[40:56, 22:28] = mask[40:56, 32:38] = 5
    mask[56:76, 22:28] = mask[56:76, 32:38] = 6
    upper, lower = (agnostic_mask(mask, garment, classes="pascal") for garment in ("upper", "lower"))
    assert upper.hands[16, 57]
    assert not upper.hands[:, :48].any()
    assert upper.mask[mask == 2].all()
    assert not upper.mask[np.isin(mask, [1, 5, 6])].any()
    assert lower.feet[75, 24]
    assert lower.feet[75, 35]
    assert not lower.feet[:60].any()


def test_skin_of_one_class_stays():
    mask = np.array([[1, 2, 2, 5, 5, 2]], np.uint8)  # hair, face or arms, a top, an arm
    found = agnostic_mask(mask, "upper", classes=CCP, margin=0)
    assert found.mask.tolist() == [[False, False, False, True, True, False]]


def test_what_else_stays_or_goes():
    mask = next(mask for mask in MASKS if where(mask, {"Scarf"}).any() or where(mask, {"Coat"}).any()).copy()
    mask[0, :3] = 11
    assert agnostic_mask(mask, "upper", classes="lip", replace=["scarf"]).mask[mask == 11].all()
    mask[0, 3:6] = 7
    kept = agnostic_mask(mask, "upper", classes="lip", keep=["coat"], shape="box", margin=9)
    assert not kept.mask[mask == 7].any()


def test_the_picture_is_grey_where_the_mask_is():
    photo, mask = PEOPLE_DRAWN.image(0), MASKS[0]
    before, found = photo.copy(), agnostic_mask(mask, "upper", classes=LIP)
    shown = found.image(photo)
    assert (shown[found.mask] == 128).all()
    assert np.array_equal(shown[~found.mask], photo[~found.mask])
    assert np.array_equal(photo, before)
    assert (found.image(Image.fromarray(photo), fill=(1, 2, 3))[found.mask] == (1, 2, 3)).all()


@settings(max_examples=30, deadline=None)
@given(
    arrays.arrays(np.uint8, (12, 9), elements=st.sampled_from([*range(20), 255])),
    st.sampled_from(list(GARMENTS)),
    st.sampled_from(["outline", "hull", "box"]),
    st.integers(0, 4),
)
def test_any_mask_keeps_the_promises(mask, garment, shape, margin):
    try:
        found = agnostic_mask(mask, garment, classes="lip", shape=shape, margin=margin)
    except InvalidInputError:
        gone = where(mask, GOES[garment])
        assert not (gone & ~where(mask, {"Left-arm", "Right-arm", "Left-leg", "Right-leg", "Socks"})).any()
        return
    assert not found.mask[where(mask, set(LIP.names[1:]) - GOES[garment])].any()
    assert (found.mask | found.hands | found.feet)[where(mask, GOES[garment])].all()
    assert np.array_equal(found.kept, ~np.isin(mask, [0, 255]) & ~found.mask)
    assert not (found.mask & (found.hands | found.feet)).any()


# ---------------------------------------------------------------- garments


def test_a_cut_out_is_the_garment_and_nothing_else():
    for index, mask in enumerate(MASKS):
        photo, worn = PEOPLE_DRAWN.image(index), where(mask, {"Upper-clothes", "Coat"})
        if not worn.any():
            continue
        found = cut_out(photo, mask, "upper", classes="lip", margin=2)
        left, top, right, bottom = found.box
        rows, columns = np.nonzero(worn)
        assert (left, top) == (max(columns.min() - 2, 0), max(rows.min() - 2, 0))
        assert (right, bottom) == (min(columns.max() + 3, 72), min(rows.max() + 3, 96))
        inside = worn[top:bottom, left:right]
        assert np.array_equal(found.rgba[..., 3], np.where(inside, 255, 0))
        assert np.array_equal(found.rgba[inside][:, :3], photo[worn])
        assert not found.rgba[~inside].any()


def test_a_soft_edge_is_the_probability_near_the_outline_alone():
    mask = np.zeros((20, 30), np.uint8)
    mask[:, :15] = 5
    probs = np.zeros((20, 20, 30), np.float32)
    probs[5] = np.clip((22 - np.arange(30)) / 15, 0.1, 0.9)
    probs[7] = 0.05  # a coat, perhaps: also upper
    probs[0] = 1 - probs[5] - probs[7]
    photo = np.random.default_rng(0).integers(1, 256, (20, 30, 3)).astype(np.uint8)
    found = cut_out(photo, mask, "upper", classes="lip", probs=probs, edge=3)
    assert found.box == (0, 0, 18, 20)
    alpha = np.rint(255 * (probs[5] + probs[7]).astype(np.float64))[:, :18].astype(np.uint8)
    assert np.abs(found.rgba[:, 12:, 3].astype(int) - alpha[:, 12:]).max() <= 1
    assert (found.rgba[:, :12, 3] == 255).all()
    assert np.array_equal(found.rgba[:, :15, :3], photo[:, :15])
    assert np.array_equal(found.rgba[:, 15:18, :3], np.repeat(photo[:, 14:15], 3, 1))  # no background shines through
    whole = cut_out(photo, Parsing(mask, probs, LIP), "upper", edge=3)
    assert np.array_equal(whole.rgba, found.rgba)
    assert set(np.unique(cut_out(photo, mask, "upper", classes="lip").rgba[..., 3])) == {255}


def test_saved_and_on_white(tmp_path):
    photo, mask = PEOPLE_DRAWN.image(0), MASKS[0]
    found = cut_out(photo, mask, ["Face", "hair"], classes="lip")
    found.save(tmp_path / "face.png")
    with Image.open(tmp_path / "face.png") as picture:
        assert picture.mode == "RGBA"
        assert np.array_equal(np.asarray(picture), found.rgba)
    white = found.on(255)
    solid = found.rgba[..., 3] == 255
    assert (white[~solid] == 255).all()
    assert np.array_equal(white[solid], found.rgba[solid][:, :3])
    left, top, right, bottom = found.box
    assert np.array_equal(solid, where(mask, {"Face", "Hair"})[top:bottom, left:right])


def test_hands_are_the_same_at_another_size():
    small, large = (with_hands(0, 5, size).mask for size in ((128, 96), (512, 384)))
    shares = []
    for mask in (small, large):
        found = agnostic_mask(mask, "upper", classes="lip")
        assert ndimage.label(found.hands, np.ones((3, 3)))[1] == 2
        shares.append(found.hands.sum() / mask.size)
    assert shares[0] == pytest.approx(shares[1], rel=0.15)


# ---------------------------------------------------------------- invalid input


def test_unknown_garments_shapes_and_classes():
    mask = MASKS[0]
    with pytest.raises(InvalidInputError, match="a known garment; got 'uper'; to fix: did you mean 'upper'"):
        agnostic_mask(mask, "uper", classes="lip")
    with pytest.raises(InvalidInputError, match="a known shape; got 'hul'; to fix: did you mean 'hull'"):
        agnostic_mask(mask, "upper", classes="lip", shape="hul")
    with pytest.raises(InvalidInputError, match="garment or class; got 'Scraf'; to fix: did you mean 'Scarf'"):
        cut_out(PEOPLE_DRAWN.image(0), mask, "Scraf", classes="lip")
    with pytest.raises(InvalidInputError, match="class of 'lip'; got 'Belt'"):
        agnostic_mask(mask, "upper", classes="lip", keep=["Belt"])
    with pytest.raises(InvalidInputError, match="did you mean 'lip'"):
        agnostic_mask(mask, "upper", classes="lpi")


def test_masks_of_another_list():
    mask = MASKS[0].copy()
    mask[0, 0] = 19
    with pytest.raises(
        InvalidInputError, match=r"a mask of the classes 'atr': 0\.\.17, or 255; got 19; .*did you mean .*'lip'"
    ):
        agnostic_mask(mask, "upper", classes="atr")
    with pytest.raises(InvalidInputError, match="classes of the mask; got none; to fix: pass classes='lip'"):
        agnostic_mask(mask, "upper")
    own = Classes("lip", ("background", "shirt"))
    with pytest.raises(InvalidInputError, match=r"got the list 'lip'; to fix: translate it first"):
        agnostic_mask(np.ones((2, 2), np.uint8), "upper", classes=own)


def test_ones_own_network_of_lips_names_is_as_good_as_lip():
    mask, own = MASKS[0], classes_named(list(LIP.names))
    right = cut_out(PEOPLE_DRAWN.image(0), mask, "upper", classes="lip")
    for classes in (own, Classes("mine", LIP.names)):
        found = cut_out(PEOPLE_DRAWN.image(0), Parsing(mask, None, classes), "upper")
        assert np.array_equal(found.rgba, right.rgba)
        agnostic = agnostic_mask(mask, "upper", classes=classes)
        assert np.array_equal(agnostic.mask, agnostic_mask(mask, "upper", classes="lip").mask)


def test_photos_and_probabilities_of_another_size():
    mask = MASKS[0]
    with pytest.raises(InvalidInputError, match=r"96 x 72 pixels \(height x width\), as its mask; got 72 x 96; to fix"):
        cut_out(np.zeros((72, 96, 3), np.uint8), mask, "Face", classes="lip")
    with pytest.raises(InvalidInputError, match="got 72 x 96"):
        agnostic_mask(mask, "upper", classes="lip").image(np.zeros((72, 96, 3), np.uint8))
    for probs in (np.zeros((18, 96, 72), np.float32), np.zeros((20, 96, 72), int)):
        with pytest.raises(InvalidInputError, match=r"probabilities of shape \(20, 96, 72\)"):
            cut_out(PEOPLE_DRAWN.image(0), mask, "Face", classes="lip", probs=probs)
    with pytest.raises(InvalidInputError, match="to fix: not logits"):
        cut_out(PEOPLE_DRAWN.image(0), mask, "Face", classes="lip", probs=np.full((20, 96, 72), 3.0))
    none = np.zeros((20, 96, 72), np.float32)
    with pytest.raises(InvalidInputError, match="that belong to the mask, for 'Face'; got none above 0"):
        cut_out(PEOPLE_DRAWN.image(0), mask, "Face", classes="lip", probs=none, edge=200)
    for fill in (256, -1, (1, 2), 0.5, "grey"):
        with pytest.raises(InvalidInputError, match="fill"):
            agnostic_mask(mask, "upper", classes="lip").image(PEOPLE_DRAWN.image(0), fill=fill)
        with pytest.raises(InvalidInputError, match="colour: a grey, or red, green and blue"):  # 256 was black
            CutOut(np.zeros((1, 1, 4), np.uint8), (0, 0, 1, 1)).on(fill)


def test_nobody_wears_such_a_garment():
    mask = np.zeros((6, 6), np.uint8)
    mask[2:4, 2:4] = 6
    photo = np.zeros((6, 6, 3), np.uint8)
    with pytest.raises(
        InvalidInputError,
        match="Upper-clothes or Coat, for 'upper'; got one of Background, Dress; to fix: did you mean 'dress'",
    ):
        cut_out(photo, mask, "upper", classes="lip")
    for empty in (np.zeros((6, 6), np.uint8), np.full((6, 6), 255, np.uint8), np.full((6, 6), 13, np.uint8)):
        for garment in GARMENTS:
            with pytest.raises(InvalidInputError, match=f"for '{garment}'; got one of"):
                agnostic_mask(empty, garment, classes="lip")


def test_garments_that_a_list_does_not_have():
    mask = np.full((3, 3), 2, np.uint8)
    with pytest.raises(InvalidInputError, match="a garment that 'pascal' has a class for; got 'dress'"):
        cut_out(np.zeros((3, 3, 3), np.uint8), mask, "dress", classes=PASCAL)
    assert cut_out(np.zeros((3, 3, 3), np.uint8), mask, "upper", classes=PASCAL).box == (0, 0, 3, 3)
    assert PEOPLE.names[7] == "dress"


def test_people_of_a_picture_are_taken_one_by_one():
    one, two = PEOPLE_DRAWN.mask(0), PEOPLE_DRAWN.mask(1)
    classes = np.concatenate([one, two], 1)
    whose = np.where(classes > 0, np.array([[1, 2]]).repeat(72, axis=1), 0).astype(np.int32)
    box = np.array([0.0, 0, 72, 96])
    people = [
        Person(number, number - 1, box, 1.0, 1.0, Window(0, 0, 96, 72), one, None, (whose, classes))
        for number in (1, 2)
    ]
    found = PeopleParsing(whose, classes, people, LIP)
    with pytest.raises(InvalidInputError, match=r"PeopleParsing of 2 people; to fix: .*classes=found\.class_list"):
        agnostic_mask(found, "upper")
    with pytest.raises(InvalidInputError, match=r"of a Person classes=found\.class_list"):
        agnostic_mask(people[0], "upper")
    photo = np.concatenate([PEOPLE_DRAWN.image(0), PEOPLE_DRAWN.image(1)], 1)
    for person, left, mask in ((people[0], 0, one), (people[1], 72, two)):
        agnostic = agnostic_mask(person, "upper", classes=found.class_list, margin=0)
        right = agnostic_mask(mask, "upper", classes="lip", margin=0)
        assert np.array_equal(agnostic.mask[:, left : left + 72], right.mask)
        assert agnostic.mask.sum() == right.mask.sum()
        top = cut_out(photo, person, "upper", classes=found.class_list, edge=0)
        assert (top.rgba[..., 3] > 0).sum() == where(mask, ["Upper-clothes", "Coat"]).sum()
