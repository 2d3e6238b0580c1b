"""Affine maps between image, crop and canonical frame, against the published construction and float64 loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.geometry.crops import (
    compose,
    crop_matrix,
    draw_augmentation,
    invert,
    onto_crops,
    three_point_matrix,
    warp_evidence,
)
from noisycorrect_seg.geometry.frame import letterbox

SIDES = st.integers(1, 700)
CROPS = st.tuples(st.integers(2, 512), st.integers(2, 512))
SCALES = st.floats(0.75, 1.25)
ANGLES = st.floats(-60, 60)


def at(matrix, x, y):
    return tuple(np.asarray(matrix, np.float64) @ [x, y, 1.0])


def published_matrix(shape, size, scale, angle, mirror):
    """The published code's steps, literally: a float32 box, three float32 pairs of points, a float64 solution."""
    height, width = shape
    centre = np.array([width - 1, height - 1], np.float32) * np.float32(0.5)
    box = [width - 1.0, height - 1.0]
    aspect = size[1] / size[0]
    if box[0] > aspect * box[1]:
        box[1] = box[0] / aspect
    elif box[0] < aspect * box[1]:
        box[0] = box[1] * aspect
    box = np.array(box, np.float32) * np.float32(scale)
    if mirror:
        centre[0] = width - centre[0] - 1
    turn = math.pi * angle / 180
    source, target = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    up = -0.5 * float(box[0])
    source[0] = centre
    source[1] = centre + np.array([-up * math.sin(turn), up * math.cos(turn)], np.float32)
    target[0] = [(size[1] - 1) * 0.5, (size[0] - 1) * 0.5]
    target[1] = target[0] + np.array([0, -0.5 * (size[1] - 1)], np.float32)
    for points in (source, target):
        away = points[0] - points[1]
        points[2] = points[1] + np.array([-away[1], away[0]], np.float32)
    matrix = np.linalg.solve(np.column_stack([source, np.ones(3)]).astype(np.float64), target.astype(np.float64)).T
    return compose(matrix, [[-1, 0, width - 1], [0, 1, 0]]) if mirror else matrix


USUAL = st.sampled_from([(473, 473), (512, 512), (384, 256), (96, 64), (160, 256)])


@settings(max_examples=200, deadline=None)
@given(st.tuples(st.integers(8, 900), st.integers(8, 900)), USUAL, SCALES, ANGLES, st.booleans())
def test_crop_matrix_is_the_published_three_point_map(shape, size, scale, angle, mirror):
    published = published_matrix(shape, size, scale, angle, mirror)
    ours = crop_matrix(shape, size, scale=scale, angle=angle, mirror=mirror)
    # Compared where the crop lies: at the places in the image that the published map puts on its corners.
    height, width = size
    for x, y in [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]:
        assert math.dist(at(ours, *at(invert(published), x, y)), (x, y)) <= 1e-4


@pytest.mark.parametrize("angle", [0.0, 33.25, -60.0])
def test_three_point_matrix_is_the_published_one_to_the_last_bit_but_the_solver(angle):
    shape, size = (381, 277), (473, 473)
    matrix = three_point_matrix((138.0, 190.0), 380.0 * 1.125, size, angle=angle)
    assert np.abs(matrix - published_matrix(shape, size, 1.125, angle, mirror=False)).max() <= 1e-12


@settings(deadline=None)
@given(st.tuples(SIDES, SIDES), CROPS)
def test_without_augmentation_the_crop_is_the_canonical_frame(shape, size):
    assert (crop_matrix(shape, size) == letterbox(shape, size)).all()


def test_hand_computed_letterbox():
    # A tall image: 101 x 51 in 51 x 51 is zoomed by 50/100, and 25 columns wide around the middle.
    matrix = crop_matrix((101, 51), (51, 51))
    assert at(matrix, 0, 0) == (12.5, 0)
    assert at(matrix, 50, 100) == (37.5, 50)


def test_hand_computed_turn():
    # The box is turned clockwise, so what lies right of the image's centre comes to lie above the crop's.
    matrix = crop_matrix((101, 101), (101, 101), angle=90)
    assert at(matrix, 100, 50) == pytest.approx((50, 0), abs=1e-12)
    assert at(matrix, 50, 0) == pytest.approx((0, 50), abs=1e-12)


def test_a_scale_above_one_makes_the_person_smaller():
    matrix = crop_matrix((101, 101), (101, 101), scale=1.25)
    assert at(matrix, 0, 0) == pytest.approx((10, 10), abs=1e-12)
    assert at(matrix, 100, 100) == pytest.approx((90, 90), abs=1e-12)


@settings(deadline=None)
@given(st.tuples(SIDES, SIDES), CROPS, SCALES, ANGLES, st.floats(0, 700), st.floats(0, 700))
def test_mirroring_comes_first(shape, size, scale, angle, x, y):
    mirrored = crop_matrix(shape, size, scale=scale, angle=angle, mirror=True)
    plain = crop_matrix(shape, size, scale=scale, angle=angle)
    assert at(mirrored, x, y) == pytest.approx(at(plain, shape[1] - 1 - x, y), abs=1e-6)


@settings(deadline=None)
@given(st.tuples(SIDES, SIDES), CROPS, SCALES, ANGLES, st.booleans())
def test_inverse_and_composition_undo_each_other(shape, size, scale, angle, mirror):
    matrix = crop_matrix(shape, size, scale=scale, angle=angle, mirror=mirror)
    back = compose(invert(matrix), matrix)
    assert np.abs(back - [[1, 0, 0], [0, 1, 0]]).max() <= 1e-10 * (1 + np.abs(invert(matrix)).max())


def test_compose_and_invert_take_batches_and_change_nothing():
    matrices = np.stack([crop_matrix((50, 30), (40, 40), angle=angle) for angle in (0, 10, -20)])
    before = matrices.copy()
    both = compose(matrices, invert(matrices[::-1]))
    for index in range(3):
        assert (both[index] == compose(matrices[index], invert(matrices[2 - index]))).all()
    assert (matrices == before).all()


def test_augmentation_is_the_published_rule_on_torchs_generator():
    torch.manual_seed(7)
    drawn = [draw_augmentation() for _ in range(200)]
    torch.manual_seed(7)
    for augmentation in drawn:
        normal, turn = torch.randn(2, dtype=torch.float64).tolist()
        turned, mirrored = torch.rand(2, dtype=torch.float64).tolist()
        assert augmentation.scale == np.clip(0.25 * normal + 1, 0.75, 1.25)
        assert augmentation.angle == (np.clip(30 * turn, -60, 60) if turned < 0.6 else 0)
        assert augmentation.mirror == (mirrored < 0.5)


def test_augmentation_has_the_published_shares():
    torch.manual_seed(0)
    scale, angle, mirror = np.array([draw_augmentation() for _ in range(20_000)]).T
    share = 0.02  # six standard deviations of a share of 20,000
    assert abs((angle != 0).mean() - 0.6) < share
    assert abs(mirror.mean() - 0.5) < share
    # Beyond one standard deviation the scale is clipped (0.1587 a side), beyond two the angle (0.0228 of 0.6).
    assert abs((scale == 0.75).mean() - 0.1587) < share
    assert abs((scale == 1.25).mean() - 0.1587) < share
    assert abs((angle == 60).mean() - 0.0137) < share / 2
    assert np.abs(angle).max() == 60


def test_strengths_do_not_shift_the_next_draw():
    torch.manual_seed(1)
    draw_augmentation(scale_factor=0, rotation_prob=0, mirror_prob=0)
    after_none = draw_augmentation()
    torch.manual_seed(1)
    draw_augmentation()
    assert draw_augmentation() == after_none


def slow_warp(probs, matrix, mirror, size, canonical, flip_index):
    """Bilinear sampling pixel by pixel in float64."""
    classes, height, width = probs.shape
    probs = probs[flip_index] if mirror else probs
    warped = np.empty((classes, *size))
    for row in range(size[0]):
        for column in range(size[1]):
            x, y = at(matrix, column, row)
            x = min(max(x * (width - 1) / (canonical[1] - 1), 0), width - 1)
            y = min(max(y * (height - 1) / (canonical[0] - 1), 0), height - 1)
            left, top = int(x), int(y)
            right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
            across, down = x - left, y - top
            upper = probs[:, top, left] * (1 - across) + probs[:, top, right] * across
            lower = probs[:, bottom, left] * (1 - across) + probs[:, bottom, right] * across
            warped[:, row, column] = upper * (1 - down) + lower * down
    return warped


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5), (torch.float16, 2e-5)])
@pytest.mark.parametrize("resolution", [(6, 4), (1, 1), (21, 13)])
def test_warped_evidence_is_the_float64_loop(dtype, tolerance, resolution):
    generator = torch.Generator().manual_seed(3)
    flip_index = [0, 2, 1, 3]
    probs = torch.rand((3, 4, *resolution), generator=generator, dtype=torch.float64).softmax(1).to(dtype)
    shape, canonical, size = (40, 25), (21, 13), (17, 15)
    whole = crop_matrix(shape, canonical)
    draws = [(1.2, 40.0, True), (0.8, -25.0, False), (1.0, 0.0, True)]
    matrices = np.stack(
        [compose(whole, invert(crop_matrix(shape, size, scale=s, angle=a, mirror=m))) for s, a, m in draws]
    )
    mirror = torch.tensor([m for *_, m in draws])
    warped = warp_evidence(
        probs, torch.from_numpy(matrices), mirror, size=size, canonical=canonical, flip_index=flip_index
    )
    assert warped.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    for index, (_, _, mirrored) in enumerate(draws):
        slow = slow_warp(probs[index].double().numpy(), matrices[index], mirrored, size, canonical, flip_index)
        assert np.abs(warped[index].double().numpy() - slow).max() <= tolerance


def test_evidence_of_the_canonical_crop_is_the_map_itself():
    probs = torch.rand((2, 3, 9, 7), dtype=torch.float64)
    same = torch.eye(2, 3, dtype=torch.float64).expand(2, 2, 3)
    still = torch.zeros(2, dtype=torch.bool)
    warped = warp_evidence(probs, same, still, size=(9, 7), canonical=(9, 7), flip_index=np.array([0, 2, 1]))
    assert (warped - probs).abs().max() <= 1e-14


def test_a_mirror_swaps_only_the_mirrored_samples_and_changes_no_argument():
    probs = torch.rand((2, 3, 5, 4))
    before = probs.clone()
    identity = torch.eye(2, 3)
    there = torch.stack([identity, torch.tensor([[-1.0, 0, 3], [0, 1, 0]])])
    mirror = torch.tensor([False, True])
    warped = warp_evidence(probs, there, mirror, size=(5, 4), canonical=(5, 4), flip_index=torch.tensor([0, 2, 1]))
    assert (warped[0] - probs[0]).abs().max() <= 1e-6
    assert (warped[1] - probs[1, [0, 2, 1]].flip(-1)).abs().max() <= 1e-6
    assert bool((probs == before).all())


def test_warped_probabilities_stay_probabilities():
    probs = torch.rand((1, 5, 8, 8)).softmax(1)
    matrix = torch.tensor([[[1.7, 0.4, -9.0], [-0.4, 1.7, 3.0]]])
    warped = warp_evidence(
        probs, matrix, torch.tensor([False]), size=(20, 20), canonical=(29, 29), flip_index=[0, 1, 2, 3, 4]
    )
    assert warped.min() >= 0
    assert (warped.sum(1) - 1).abs().max() <= 1e-6


def test_evidence_lies_where_it_does_under_autocast():
    size = (473, 473)
    matrix = compose(crop_matrix((400, 300), size), invert(crop_matrix((400, 300), size, scale=0.87, angle=17)))
    matrix = torch.from_numpy(matrix.astype(np.float32))[None]
    at = torch.linspace(0, 472, 119).expand(1, 1, 119, 119)  # each place says its column, in pixels

    def warped():
        return onto_crops(at, matrix, torch.tensor([False]), size=(119, 119), crop=size, canonical=size, flip_index=[0])

    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = warped()
    assert torch.equal(rounded, warped())


@pytest.mark.parametrize(
    ("size", "expected"), [((1, 3), [[0.0, 1.0, 2.0]]), ((2, 1), [[1.0], [1.0]]), ((1, 1), [[1.0]])]
)
def test_a_single_row_or_column_of_evidence_lies_in_the_middle_of_a_crop(size, expected):
    maps, stay = torch.tensor([[[[0.0, 1.0, 2.0]]]]), torch.eye(2, 3)[None]
    found = onto_crops(maps, stay, torch.tensor([False]), size=size, crop=(5, 9), canonical=(5, 9), flip_index=[0])
    torch.testing.assert_close(found[0, 0], torch.tensor(expected))


def test_evidence_passes_gradients():
    probs = torch.rand((1, 2, 3, 3), requires_grad=True)
    warped = warp_evidence(
        probs, torch.eye(2, 3)[None], torch.tensor([True]), size=(3, 3), canonical=(3, 3), flip_index=[1, 0]
    )
    warped[0, 0].sum().backward()
    assert probs.grad[0, 0].abs().max() == 0
    assert (probs.grad[0, 1] - 1).abs().max() <= 1e-6


# Invalid input


@pytest.mark.parametrize(
    ("shape", "size", "options", "message"),
    [
        ((0, 5), (4, 4), {}, r"got \(0, 5\) and \(4, 4\)"),
        ((5, 5), (1, 4), {}, r"at least 2 x 2"),
        ((5, 5), (4, 4), {"scale": 0.0}, r"scale=0.0"),
        ((5, 5), (4, 4), {"scale": math.inf}, r"scale=inf"),
        ((5, 5), (4, 4), {"angle": math.nan}, r"angle=nan"),
    ],
)
def test_a_crop_that_cannot_be(shape, size, options, message):
    with pytest.raises(InvalidInputError, match=message):
        crop_matrix(shape, size, **options)


def test_a_matrix_without_inverse():
    with pytest.raises(InvalidInputError, match="its scale must not be 0"):
        invert([[1, 1, 0], [1, 1, 0]])


@pytest.mark.parametrize("wrong", ["probs", "matrix", "mirror", "flip_index"])
def test_evidence_whose_shapes_do_not_belong_together(wrong):
    fitting = {
        "probs": torch.zeros(2, 3, 4, 4),
        "matrix": torch.eye(2, 3).expand(2, 2, 3),
        "mirror": torch.zeros(2, dtype=torch.bool),
        "flip_index": [0, 1, 2],
    }
    fitting[wrong] = fitting[wrong][0]
    if wrong == "flip_index":
        fitting[wrong] = [0, 1]
    with pytest.raises(InvalidInputError, match=r"expected maps \(B, K, h, w\)"):
        warp_evidence(**fitting, size=(4, 4), canonical=(4, 4))
