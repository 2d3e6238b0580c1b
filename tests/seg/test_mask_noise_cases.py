"""Noise models for masks against values computed by hand and against slow float64 oracles."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import noise
from noisycorrect_seg.classes import ATR, CCP, LIP, PASCAL, PEOPLE
from noisycorrect_seg.noise.omission import Fill, without
from noisycorrect_seg.noise.parts import fill_from_around, find_parts
from noisycorrect_seg.noise.semantic import rename
from noisycorrect_seg.noise.shapes import most_frequent, moved_part
from noisycorrect_seg.noise.superpixels import superpixels


def masks(values: list[int], most: int = 9) -> st.SearchStrategy[np.ndarray]:
    shape = st.tuples(st.integers(1, most), st.integers(1, most))
    return arrays.arrays(np.uint8, shape, elements=st.sampled_from(values), fill=st.sampled_from(values))


# Parts


def test_parts_are_connected_pieces_of_a_class() -> None:
    mask = np.array([[5, 5, 0, 7], [0, 0, 5, 7], [5, 255, 0, 7]], np.uint8)
    parts = find_parts(mask)
    assert parts.numbers.tolist() == [[1, 1, 0, 3], [0, 0, 1, 3], [2, 0, 0, 3]]
    assert parts.classes.tolist() == [0, 5, 5, 7]
    assert parts.areas.tolist() == [5, 3, 1, 3]
    assert parts.boxes[2] == (slice(0, 3), slice(3, 4))


@given(masks([0, 1, 2, 255]), masks([0, 1]))
def test_holes_are_filled_from_the_nearest_pixel(mask: np.ndarray, cut: np.ndarray) -> None:
    hole = np.resize(cut, mask.shape) == 1
    filled = fill_from_around(mask, hole)
    assert np.array_equal(filled[~hole], mask[~hole])
    sources = np.argwhere(~hole & (mask != 255))
    for place in np.argwhere(hole):
        if not len(sources):
            assert filled[tuple(place)] == 0
            continue
        distance = ((sources - place) ** 2).sum(axis=1)
        nearest = {int(mask[tuple(source)]) for source in sources[distance == distance.min()]}
        assert int(filled[tuple(place)]) in nearest


# Boundary


def border_oracle(mask: np.ndarray, radii: np.ndarray) -> np.ndarray:
    """Every pixel against every part, by distances to all pixels."""
    parts = find_parts(mask)
    rows, columns = np.indices(mask.shape)
    places = np.stack([rows.ravel(), columns.ravel()], axis=1).astype(float)

    def signed(inside: np.ndarray) -> np.ndarray:
        inside = inside.ravel()
        if inside.all():
            return np.full(len(places), np.inf)
        gaps = np.sqrt(((places[:, None] - places[None]) ** 2).sum(axis=2))
        return np.where(inside, gaps[:, ~inside].min(axis=1) - 0.5, 0.5 - gaps[:, inside].min(axis=1))

    background = mask == 0
    scores = [signed(background) if background.any() else np.full(mask.size, -np.inf)]
    scores += [signed(parts.numbers == number + 1) + 2 * radii[number] for number in range(len(parts))]
    moved = parts.classes[np.argmax(scores, axis=0)].reshape(mask.shape)
    return np.where(mask == 255, 255, moved)


@settings(deadline=None)
@given(masks([0, 0, 1, 2, 255], most=12), st.integers(0, 1000))
def test_borders_move_as_the_slow_oracle_says(mask: np.ndarray, seed: int) -> None:
    radii = np.random.default_rng(seed).uniform(-2, 2, len(find_parts(mask)))
    assert np.array_equal(noise.move_borders(mask, radii), border_oracle(mask, radii))


@pytest.mark.parametrize(("radius", "area"), [(1.0, 45), (0.4, 25), (-0.4, 25), (-1.0, 9), (-2.0, 1), (-3.0, 0)])
def test_a_square_grows_and_shrinks_by_its_radius(radius: float, area: int) -> None:
    mask = np.zeros((11, 11), np.uint8)
    mask[3:8, 3:8] = 4  # 25 pixels; at 1 it gains four sides of 5, at -1 it loses its rim of 16
    moved = noise.move_borders(mask, np.array([radius]))
    assert int((moved == 4).sum()) == area + (4 if radius == 1.0 else 0)  # and the four corners, sqrt(2) away
    assert set(np.unique(moved)) <= {0, 4}


def test_a_border_between_parts_moves_by_the_difference() -> None:
    mask = np.repeat(np.array([1, 2], np.uint8), 6)[None]
    assert noise.move_borders(mask, np.array([1.0, 1.0])).tolist() == mask.tolist()
    assert noise.move_borders(mask, np.array([1.0, -1.0])).tolist() == [[1] * 8 + [2] * 4]


def test_radii_are_uniform_in_both_directions() -> None:
    mask = np.zeros((1, 41), np.uint8)
    mask[0, 15:26] = 1
    noisy = noise.Boundary(4).apply([mask] * 1500, classes="lip", seed=0)
    lengths = np.array([int(each.sum()) for each in noisy.masks])
    counts = np.bincount((lengths - 11) // 2 + 4, minlength=9) / 1500
    # Radii round to whole pixels: the ends -4 and 4 get half a share of 1/8 each.
    expected = np.array([0.5, 1, 1, 1, 1, 1, 1, 1, 0.5]) / 8
    assert np.abs(counts - expected).max() < 4 * np.sqrt(0.125 * 0.875 / 1500)


def test_borders_of_one_side_move_there_alone_and_together() -> None:
    mask = np.zeros((25, 25), np.uint8)
    mask[4:10, 4:20], mask[14:20, 4:20] = 1, 2
    for side, wrong in (("in", 0), ("out", 1)):
        for together in (False, True):
            noisy = noise.Boundary(3, side=side, together=together).apply([mask] * 40, classes="lip", seed=0)
            assert all(
                ((each > 0) >= (mask > 0)).all() if wrong else ((each > 0) <= (mask > 0)).all() for each in noisy.masks
            )
            assert noisy.rate > 0.05
            areas = {((each == 1).sum(), (each == 2).sum()) for each in noisy.masks}
            assert len(areas) > 3
            assert all(one == two for one, two in areas) == together
    touching = np.repeat(np.array([1, 2], np.uint8), 6)[None].repeat(6, axis=0)
    drawn = noise.Boundary(3, side="out", together=True).apply([touching] * 5, classes="lip", seed=0)
    assert drawn.rate == 0, "between two parts nothing moves"


# Markov boundary

PUBLISHED = {"hand": 0.0, "smooth": False}


@pytest.mark.parametrize(("theta1", "operation"), [(1.0, ndimage.binary_dilation), (0.0, ndimage.binary_erosion)])
def test_certain_steps_are_dilations_and_erosions(theta1: float, operation: object) -> None:
    region = np.random.default_rng(0).random((20, 22)) < 0.3
    region = ndimage.binary_dilation(region, iterations=2) & ~ndimage.binary_dilation(~region, iterations=0)
    region[:, 15:] = False
    model = noise.MarkovBoundary(2, theta1=theta1, theta2=1.0, **PUBLISHED)
    noisy = model.apply_one(region.astype(np.uint8) * 3, classes="lip", seed=0)
    # An erosion does not eat in from the picture's border: there is no neighbour to lose to.
    options = {"border_value": 1} if theta1 == 0 else {}
    expected = operation(region, iterations=2, **options)  # type: ignore[operator]
    assert np.array_equal(noisy == 3, expected)


def test_steps_draw_for_each_border_pixel() -> None:
    mask = np.zeros((4000, 3), np.uint8)
    mask[:, 0] = 1
    noisy = noise.MarkovBoundary(1, theta1=1.0, theta2=0.3, **PUBLISHED).apply_one(mask, classes="lip", seed=0)
    assert not noisy[:, 2].any()
    assert abs(noisy[:, 1].mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 4000)
    expands = [
        bool(
            noise.MarkovBoundary(1, theta1=0.8, theta2=1.0, **PUBLISHED).apply_one(mask[:4], classes="lip", seed=seed)[
                0, 1
            ]
        )
        for seed in range(400)
    ]
    assert abs(np.mean(expands) - 0.8) < 4 * np.sqrt(0.16 / 400)


def test_growing_classes_do_not_take_from_each_other() -> None:
    mask = np.array([[1, 1, 2, 2, 0, 0]], np.uint8)
    noisy = noise.MarkovBoundary(1, theta1=1.0, theta2=1.0, **PUBLISHED).apply_one(mask, classes="lip", seed=0)
    assert noisy.tolist() == [[1, 1, 2, 2, 2, 0]]
    noisy = noise.MarkovBoundary(1, theta1=0.0, theta2=1.0, **PUBLISHED).apply_one(mask, classes="lip", seed=0)
    assert noisy.tolist() == [[1, 1, 2, 0, 0, 0]]


def test_flips_go_to_other_classes_of_the_mask() -> None:
    mask = np.repeat(np.array([0, 4, 9], np.uint8), 2000)[None]
    noisy = noise.MarkovBoundary(0, theta3=0.25, **PUBLISHED).apply_one(mask, classes="lip", seed=0)
    assert set(np.unique(noisy)) == {0, 4, 9}
    assert abs((noisy != mask).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 6000)
    assert (
        noise.MarkovBoundary(0, theta3=1.0, **PUBLISHED).apply_one(mask, classes="lip", seed=0).tolist()
        != mask.tolist()
    )
    smooth = noise.MarkovBoundary(0, theta3=0.25, smooth=True)
    square = np.zeros((40, 40), np.uint8)
    square[10:30, 10:30] = 6
    assert (smooth.apply_one(square, classes="lip", seed=0) != square).mean() < 0.06


@pytest.mark.parametrize("hand", [0.0, 1.5, 4.0])
def test_a_hand_moves_pixels_together_and_as_many(hand: float) -> None:
    mask = np.zeros((1200, 60), np.uint8)
    mask[:, ::4] = 1
    model = noise.MarkovBoundary(1, theta1=1.0, theta2=0.2, hand=hand, smooth=False)
    grown = (model.apply_one(mask, classes="lip", seed=0) == 1)[:, 1::4]
    # Draws over about 4 pi hand^2 pixels are one.
    assert abs(grown.mean() - 0.2) < 4 * np.sqrt(0.16 * max(1, 4 * np.pi * hand**2) / grown.size)
    alike = (grown[1:] == grown[:-1]).mean()
    assert alike > 0.85 if hand else abs(alike - 0.68) < 0.02


def test_smooth_borders_are_shorter_than_the_published_process_leaves() -> None:
    disc = (np.hypot(*(np.mgrid[:60, :60] - 29.5)) < 20).astype(np.uint8)

    def border(mask: np.ndarray) -> int:
        return int((mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum())

    drawn = noise.MarkovBoundary(30).apply([disc] * 5, classes="lip", seed=0)
    published = noise.MarkovBoundary(30, hand=0, smooth=False).apply([disc] * 5, classes="lip", seed=0)
    assert sum(map(border, drawn.masks)) < 0.7 * sum(map(border, published.masks))
    assert drawn.foreground_rate() > 0.03


# Names


def test_confusion_renames_parts_at_its_rate() -> None:
    mask = np.zeros((3, 4000), np.uint8)
    mask[1, ::2] = 5
    noisy = noise.Confusion(0.3, pairs=((5, 7), (5, 6))).apply_one(mask, classes="lip", seed=0)
    counts = np.bincount(noisy[mask == 5], minlength=20)
    assert counts[[5, 6, 7]].sum() == 2000
    shares = counts / 2000
    assert abs(shares[5] - 0.7) < 4 * np.sqrt(0.21 / 2000)
    assert abs(shares[6] - 0.15) < 4 * np.sqrt(0.1275 / 2000)
    assert not noisy[mask == 0].any()


def test_a_whole_class_is_renamed_together() -> None:
    mask = np.array([[5, 0, 5, 0, 9]], np.uint8)
    model = noise.Confusion(0.5, pairs=((5, 7),), whole=True)
    results = [tuple(noisy[0].tolist()) for noisy in model.apply([mask] * 400, classes="lip", seed=1).masks]
    assert set(results) == {(5, 0, 5, 0, 9), (7, 0, 7, 0, 9)}
    assert abs(results.count((7, 0, 7, 0, 9)) / 400 - 0.5) < 4 * np.sqrt(0.25 / 400)


def test_default_pairs_follow_the_class_list() -> None:
    assert set(noise.confused_pairs(LIP)) >= {(5, 7), (7, 5), (6, 12), (12, 6), (9, 12)}
    assert set(noise.confused_pairs(ATR)) >= {(7, 5), (6, 5)}  # no coat there
    assert (5, 6) in noise.confused_pairs(CCP)
    for classes in (LIP, ATR, CCP):
        for source, target in noise.confused_pairs(classes):
            assert (classes.names[source], classes.names[target]) in noise.CONFUSED
    assert noise.confused_pairs(PASCAL) == ()


def test_one_way_pairs_have_no_way_back() -> None:
    for classes in (LIP, ATR, CCP, PEOPLE):
        pairs = noise.confused_pairs(classes, one_way=True)
        assert pairs
        assert not {(b, a) for a, b in pairs} & set(pairs)
    mask = np.array([[7, 0, 5, 0, 7]], np.uint8)
    noisy = noise.Confusion(1.0, one_way=True).apply_one(mask, classes="lip", seed=0)
    assert noisy.tolist() == [[5, 0, 5, 0, 5]], "coats are called upper clothes, never the other way"
    with pytest.raises(InvalidInputError, match="pairs or one_way; got both"):
        noise.Confusion(0.2, pairs=((5, 7),), one_way=True)


def test_a_matrix_names_parts() -> None:
    classes = ["none", "a", "b"]
    matrix = ((0.0, 1.0, 0.0), (0.0, 0.2, 0.8), (0.5, 0.0, 0.5))
    mask = np.zeros((1, 8000), np.uint8)
    mask[0, ::4], mask[0, 2::4] = 1, 2
    noisy = noise.MatrixConfusion(matrix).apply_one(mask, classes=classes, seed=0)
    shares = np.bincount(mask.ravel().astype(int) * 3 + noisy.ravel(), minlength=9).reshape(3, 3) / [
        [4000],
        [2000],
        [2000],
    ]
    assert shares[0].tolist() == [1.0, 0.0, 0.0]  # background is no part
    assert np.abs(shares[1:] - np.array(matrix)[1:]).max() < 4 * np.sqrt(0.25 / 2000)
    last = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert rename(np.array([[1]], np.uint8), last, np.random.default_rng(0)).tolist() == [[1]]


def test_swaps_are_of_pairs() -> None:
    mask = np.array([[14, 15, 16, 17, 18, 19, 5, 255]], np.uint8)
    assert noise.LeftRightSwap(1.0).apply_one(mask, classes="lip", seed=0).tolist() == [
        [15, 14, 17, 16, 19, 18, 5, 255]
    ]
    each = noise.LeftRightSwap(0.5).apply([mask] * 300, classes="lip", seed=0)
    together = noise.LeftRightSwap(0.5, together=True).apply([mask] * 300, classes="lip", seed=0)
    assert len({noisy.tobytes() for noisy in each.masks}) == 8
    assert len({noisy.tobytes() for noisy in together.masks}) == 2
    assert abs(each.rate - 0.5 * 6 / 7) < 0.05


FACE = np.array(
    [[0, 0, 0, 0, 0, 0], [0, 13, 13, 13, 13, 0], [0, 13, 4, 4, 13, 0], [0, 13, 13, 13, 13, 0], [0] * 6], np.uint8
)


def test_dropped_parts_become_what_is_behind_them() -> None:
    def dropped(mask: np.ndarray, **options: object) -> np.ndarray:
        return noise.DroppedPart(1.0, at_most=0.4, **options).apply_one(mask, classes="lip", seed=0)  # type: ignore[arg-type]

    assert dropped(FACE).tolist() == np.where(FACE == 4, 13, FACE).tolist(), "glasses lie in the face"
    assert dropped(FACE, fill="background").tolist() == np.where(FACE == 4, 0, FACE).tolist()
    for place, left in (((1, 1), 0), ((2, 2), 13)):
        mole = np.where(FACE == 4, 13, FACE)
        mole[place] = 2
        assert dropped(mole)[place] == left, "at its rim nobody drew anything"
        assert dropped(mole, fill="around")[place] in (0, 13)
    between = np.where(FACE == 4, 13, FACE)
    between[2, 2], between[2, 3] = 2, 255
    assert dropped(between)[2, 2] == 13, "pixels without a label say nothing"
    assert dropped(FACE[1:])[1, 2] == 13
    assert dropped(FACE[2:, 2:])[0, 0] == 0, "what is cut at the border may go on there"
    assert not noise.DroppedPart(1.0).apply_one(FACE, classes="lip", seed=0).any()
    kept = [noise.DroppedPart(0.3, at_most=0.3).apply_one(FACE, classes="lip", seed=s)[2, 2] == 4 for s in range(400)]
    assert abs(np.mean(kept) - 0.7) < 4 * np.sqrt(0.21 / 400)


def behind_oracle(mask: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Flood each hole pixel by pixel, and look at all that it touches."""
    left, seen = np.where(gone, 0, mask), np.zeros(mask.shape, bool)
    for start in map(tuple, np.argwhere(gone)):
        if seen[start]:
            continue
        hole, around, cut, waiting = [], set(), False, [start]
        seen[start] = True
        while waiting:
            row, column = waiting.pop()
            hole.append((row, column))
            for place in itertools.product((row - 1, row, row + 1), (column - 1, column, column + 1)):
                if not (0 <= place[0] < mask.shape[0] and 0 <= place[1] < mask.shape[1]):
                    cut = True
                elif not gone[place]:
                    around.add(int(mask[place]))
                elif not seen[place]:
                    seen[place] = True
                    waiting.append(place)
        around.discard(255)
        if len(around) == 1 and not cut:
            for place in hole:
                left[place] = around.copy().pop()
    return left


@given(
    masks([0, 1, 2, 2, 3, 255], most=11), st.integers(0, 2**32 - 1), st.sampled_from(["behind", "background", "around"])
)
def test_what_stays_stays_and_holes_are_what_the_oracle_says(mask: np.ndarray, seed: int, fill: Fill) -> None:
    parts = find_parts(mask)
    dropped = np.random.default_rng(seed).random(len(parts) + 1) < 0.4
    gone = dropped[parts.numbers] & (parts.numbers > 0)
    noisy = without(mask, parts, dropped, fill)
    assert np.array_equal(noisy[~gone], mask[~gone])
    if fill == "behind":
        assert np.array_equal(noisy, behind_oracle(mask, gone))
    elif fill == "background":
        assert not noisy[gone].any()
    else:
        assert np.array_equal(noisy, fill_from_around(mask, gone))


@given(masks([0, 0, 1, 2, 3], most=12), st.integers(0, 1000), st.booleans())
def test_borders_of_one_side_never_cross_to_the_other(mask: np.ndarray, seed: int, together: bool) -> None:
    out = noise.Boundary(2, side="out", together=together).apply_one(mask, classes="lip", seed=seed)
    within = noise.Boundary(2, side="in", together=together).apply_one(mask, classes="lip", seed=seed)
    assert ((out > 0) >= (mask > 0)).all(), "what is foreground stays so"
    assert ((within > 0) <= (mask > 0)).all(), "nothing becomes foreground"


def test_a_part_between_two_others_leaves_background() -> None:
    mask = np.full((5, 7), 5, np.uint8)
    mask[:, 4:] = 9
    mask[2, 3:5] = 14
    noisy = noise.DroppedPart(1.0, at_most=0.1).apply_one(mask, classes="lip", seed=0)
    assert noisy.tolist() == np.where(mask == 14, 0, mask).tolist()


def test_classes_are_omitted_whole_and_at_their_rate() -> None:
    mask = np.array([[0, 18, 0, 9, 0, 18, 0, 19, 0, 2]], np.uint8)
    noisy = noise.OmittedClass(0.3, only=(19, 18)).apply([mask] * 500, classes="lip", seed=0)
    drawn = np.stack(noisy.masks)[:, 0]
    assert ((drawn[:, 1] == 18) == (drawn[:, 5] == 18)).all(), "all parts of a class together"
    assert (drawn[:, [0, 2, 3, 4, 6, 8, 9]] == mask[0, [0, 2, 3, 4, 6, 8, 9]]).all(), "others stay"
    for column in (1, 7):
        assert abs((drawn[:, column] == 0).mean() - 0.3) < 4 * np.sqrt(0.21 / 500)
    assert abs(((drawn[:, 1] == 0) & (drawn[:, 7] == 0)).mean() - 0.09) < 4 * np.sqrt(0.08 / 500)
    assert not noise.OmittedClass(1.0).apply_one(mask, classes="lip", seed=0).any()


# Annotators


def test_an_annotator_has_the_same_habits_in_every_mask() -> None:
    crowd = noise.Annotators(3, strength=0.8, style=1)
    masks = [np.kron(FACE + np.uint8(shift), np.ones((6, 6), np.uint8)) for shift in range(4)] * 8
    noisy = crowd.apply(masks, classes="lip", seed=7)
    who = [crowd.annotator(seed=7, index=index) for index in range(len(masks))]
    assert set(who) == {0, 1, 2}
    assert len({str(crowd.habits(number, "lip", 30)) for number in who}) == 3
    assert [str(crowd.habits(number, "lip", 30)) for number in range(3)] == [
        str(noise.Annotators(3, strength=0.8, style=1).habits(number, "lip", 30)) for number in range(3)
    ]
    for number in range(3):
        own = crowd.habits(number, "lip", masks[0].shape[0])
        omitted = {label for model in own.models if isinstance(model, noise.OmittedClass) for label in model.only or ()}
        left = sum(
            int((noisy.masks[place] == label).sum()) for place in range(32) if who[place] == number for label in omitted
        )
        had = sum(
            int((masks[place] == label).sum()) for place in range(32) if who[place] == number for label in omitted
        )
        assert left <= 0.35 * had
    assert noise.Annotators(3, strength=0).apply(masks, classes="lip", seed=0).rate == 0
    assert [crowd.annotator(seed=8, index=index) for index in range(32)] != who, "who draws is the seed's"


@pytest.mark.parametrize("number", [-1, 3, 1.5])
def test_only_annotators_that_are_there_have_habits(number: object) -> None:
    with pytest.raises(InvalidInputError):
        noise.Annotators(3).habits(number, "lip", 64)  # type: ignore[arg-type]


# Shapes


def test_a_part_is_moved_turned_and_scaled() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[4, 2:7] = 3
    upright = moved_part(mask, mask == 3, shift=np.zeros(2), turn=np.pi / 2)
    assert np.argwhere(upright == 3).tolist() == [[row, 4] for row in range(2, 7)]
    shifted = moved_part(mask, mask == 3, shift=np.array([-1.0, 2.0]))
    assert np.argwhere(shifted == 3).tolist() == [[6, column] for column in range(1, 6)]
    square = np.zeros((9, 9), np.uint8)
    square[3:6, 3:6] = 3
    assert int((moved_part(square, square == 3, shift=np.zeros(2), scale=2.0) == 3).sum()) == 36
    outside = moved_part(mask, mask == 3, shift=np.array([50.0, 0.0]))
    assert not outside.any()


def test_a_moved_part_leaves_its_surroundings_behind() -> None:
    mask = np.full((5, 9), 5, np.uint8)
    mask[1:4, 2:4] = 13
    moved = moved_part(mask, mask == 13, shift=np.array([4.0, 0.0]))
    assert np.array_equal(moved, np.roll(mask, 4, axis=1))
    model = noise.PartAffine(0.3)
    large = np.kron(mask, np.ones((4, 4), np.uint8))
    changed = [bool(each.any()) for each in model.apply([large] * 400, classes="lip", seed=0).changed]
    assert abs(np.mean(changed) - 0.3) < 4 * np.sqrt(0.21 / 400)


@given(masks([0, 1, 2, 3, 255]), st.integers(0, 100))
def test_the_most_frequent_class_of_each_cell(mask: np.ndarray, seed: int) -> None:
    cells = np.random.default_rng(seed).integers(0, 4, mask.shape)
    noisy = most_frequent(mask, cells, 4)
    for cell in range(4):
        votes = [int(value) for value in mask[cells == cell] if value != 255]
        if votes:
            winner = min(set(votes), key=lambda value: (-votes.count(value), value))
            assert set(noisy[(cells == cell) & (mask != 255)].tolist()) == {winner}
    assert np.array_equal(noisy == 255, mask == 255)


def test_superpixels_are_small_and_follow_colours() -> None:
    cells = superpixels((60, 40), 8, np.random.default_rng(0))
    counts = np.bincount(cells.ravel())
    assert len(counts) == 8 * 5
    assert 20 < counts.min() <= counts.max() < 180
    image = np.full((60, 40, 3), 40, np.uint8)
    image[:, 17:] = 200  # an edge that is on no border of the grid
    coloured = superpixels((60, 40), 8, np.random.default_rng(0), image)
    assert not set(coloured[:, :17].ravel().tolist()) & set(coloured[:, 17:].ravel().tolist())
    mask = np.zeros((60, 40), np.uint8)
    mask[:, 17:] = 5
    model = noise.Superpixel(8)
    assert model.apply_one(mask, classes="lip", seed=0, image=image).tolist() == mask.tolist()
    speckled = image.copy()
    speckled[4::9, 3::7] = 255
    tiny = superpixels((60, 40), 8, np.random.default_rng(0), speckled)
    assert all(ndimage.label(tiny == number)[1] == 1 for number in np.unique(tiny)), "no specks"
    assert (model.apply_one(mask, classes="lip", seed=0) != mask).mean() > 0.02


# Composition and the preset


def test_models_are_applied_in_order() -> None:
    mask = np.array([[14, 4, 15]], np.uint8)
    drop = noise.DroppedPart(1.0, at_most=0.0)
    rename = noise.Confusion(1.0, pairs=((14, 13),))
    swap = noise.LeftRightSwap(1.0)
    assert noise.Compose([swap, rename, drop]).apply_one(mask, classes="lip", seed=0).tolist() == [[15, 4, 13]]
    assert noise.Compose([rename, swap]).apply_one(mask, classes="lip", seed=0).tolist() == [[13, 4, 14]]
    nested = noise.Compose([noise.Compose([swap, rename]), drop])
    assert nested == noise.Compose([swap, rename, drop])


def test_ignored_pixels_hide_from_every_model_of_a_composition() -> None:
    mask = np.full((12, 12), 5, np.uint8)
    mask[4:8, 4:8] = 255
    spread = noise.Compose([noise.CoarsePolygon(4), noise.MarkovBoundary(5, theta2=1.0), noise.Boundary(3)])
    assert np.array_equal(spread.apply_one(mask, classes="lip", seed=0) == 255, mask == 255)


def test_rates_of_a_result() -> None:
    mask = np.array([[0, 0, 5, 255]], np.uint8)
    noisy = noise.NoisyMasks([np.array([[9, 0, 0, 255]], np.uint8)], [np.array([[True, False, True, False]])])
    assert noisy.rate == 2 / 3
    assert noisy.foreground_rate() == 1.0
    assert noise.NoNoise().apply([mask], classes="lip", seed=0).foreground_rate() == 0.0


def test_the_realistic_mixture_fits_the_classes_and_the_size() -> None:
    assert [model.name for model in noise.realistic(classes=PASCAL).models] == ["drop", "affine", "polygon", "boundary"]
    assert "confusion" in {model.name for model in noise.realistic(classes=CCP).models}
    big, small = noise.realistic(256).models[-1], noise.realistic(128).models[-1]
    assert isinstance(big, noise.Boundary)
    assert isinstance(small, noise.Boundary)
    assert big.radius == 2 * small.radius


# Invalid parameters


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: noise.Boundary(-1), "radius in pixels, finite and at least 0"),
        (lambda: noise.Boundary(float("nan")), "radius"),
        (lambda: noise.MarkovBoundary(-1), "steps to be a whole number >= 0"),
        (lambda: noise.MarkovBoundary(2.5), "steps to be a whole number >= 0; got 2.5"),  # type: ignore[arg-type]
        (lambda: noise.MarkovBoundary(theta2=1.5), r"theta2 in \[0, 1\]"),
        (lambda: noise.MarkovBoundary(smooth="yes"), "smooth to be True or False"),  # type: ignore[arg-type]
        (lambda: noise.Confusion(20), r"noise rate in \[0, 1\]; got 20"),
        (lambda: noise.Confusion(0.2, pairs=((5, 5),)), "two different classes"),
        (lambda: noise.Confusion(0.2, pairs=()), "two different classes"),
        (lambda: noise.Confusion(0.2, pairs=((5, 300),)), "two different classes"),
        (lambda: noise.Confusion(0.2, pairs=((0, 5),)), "the first no background"),
        (
            lambda: noise.MatrixConfusion(((0.5, 0.4), (0.0, 1.0))),
            "row-stochastic transition matrix .* got a sum of 0.9 in row 0",
        ),
        (lambda: noise.MatrixConfusion(((1.0, 0.0),)), r"shape \(K, K\), K >= 2; got shape \(1, 2\)"),
        (
            lambda: noise.MatrixConfusion(((1.0, 0.0), (1.0,))),
            "square transition matrix as an array of numbers; got a ragged",
        ),
        (lambda: noise.DroppedPart(0.1, fill="arround"), "did you mean 'around'"),  # type: ignore[arg-type]
        (lambda: noise.DroppedPart(0.1, at_most=2.0), "at_most"),
        (lambda: noise.Boundary(2, side="inn"), "did you mean 'in'"),  # type: ignore[arg-type]
        (lambda: noise.MarkovBoundary(hand=-1), "a hand in pixels"),
        (lambda: noise.OmittedClass(0.1, fill="behnd"), "did you mean 'behind'"),  # type: ignore[arg-type]
        (lambda: noise.OmittedClass(0.1, only=()), "class numbers from 1 on"),
        (lambda: noise.OmittedClass(0.1, only=(0, 3)), "class numbers from 1 on"),
        (lambda: noise.OmittedClass(0.1, only=("hat",)), "class numbers from 1 on"),  # type: ignore[arg-type]
        (lambda: noise.Annotators(0), "count to be a whole number >= 1"),
        (lambda: noise.Annotators(2, strength=1.5), r"a strength in \[0, 1\]"),
        (lambda: noise.Annotators(2, style=-1), "style to be a whole number >= 0"),
        (lambda: noise.PartAffine(0.1, angle=-3.0), "angle, finite and at least 0"),
        (lambda: noise.CoarsePolygon(2), "vertices to be a whole number >= 3"),
        (lambda: noise.CoarsePolygon(5, jitter=float("inf")), "jitter in pixels"),
        (lambda: noise.Superpixel(1), "size to be a whole number >= 2"),
        (lambda: noise.Compose([]), "at least one noise model"),
        (lambda: noise.Compose(["swap:0.2"]), "mask noise models; got 'swap:0.2'"),  # type: ignore[list-item]
        (lambda: noise.realistic(0), "height to be a whole number >= 1"),
    ],
)
def test_wrong_parameters_are_refused(make: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()  # type: ignore[operator]


def test_models_of_other_classes_are_refused() -> None:
    mask = np.zeros((2, 2), np.uint8)
    with pytest.raises(InvalidInputError, match=r"pairs of classes in 0\.\.6; got class 7"):
        noise.Confusion(0.2, pairs=((5, 7),)).apply([mask], classes=PASCAL, seed=0)
    with pytest.raises(InvalidInputError, match=r"classes in 1\.\.6; got class 18"):
        noise.OmittedClass(0.2, only=(3, 18)).apply([mask], classes=PASCAL, seed=0)
    with pytest.raises(InvalidInputError, match="none known for 'pascal'"):
        noise.Confusion(0.2).apply([mask], classes=PASCAL, seed=0)
    with pytest.raises(InvalidInputError, match="left and right, .*; got no flip pairs in 'pascal'"):
        noise.LeftRightSwap(0.2).apply([mask], classes=PASCAL, seed=0)
    with pytest.raises(InvalidInputError, match="a matrix of 7 classes; got 2 rows"):
        noise.MatrixConfusion(((1.0, 0.0), (0.0, 1.0))).apply([mask], classes=PASCAL, seed=0)


def test_models_are_values() -> None:
    assert noise.Confusion(0.2, pairs=[[5, 7]]) == noise.Confusion(0.2, pairs=((5, 7),))  # type: ignore[arg-type]
    assert dataclasses.replace(noise.Boundary(2), radius=3) == noise.Boundary(3.0)
