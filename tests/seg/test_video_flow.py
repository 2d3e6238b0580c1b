"""Optical flow: its polynomials against least squares, its motions against known ones; warps and what they show."""

import sys

import numpy as np
import pytest
import torch
from scipy import ndimage

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.datasets import MovingPeople
from noisycorrect_seg.video.flow import Farneback, checked_flow, enlarged, flow_named, polynomials
from noisycorrect_seg.video.warping import composed, consistent, warped

HEIGHT, WIDTH = 72, 88


def texture(seed=0, margin=40):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal((HEIGHT + 2 * margin, WIDTH + 2 * margin)), 2.0)
    return 127 + 40 * field / field.std()


def moved(linear, shift, margin=40):
    """Return a grey image, float64, whose pixel p shows the texture at ``linear (p - c) + c + shift``."""
    centre = np.array([WIDTH / 2, HEIGHT / 2])
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    places = np.einsum("ij,jhw->ihw", linear, np.stack([columns, rows]) - centre[:, None, None])
    places += (centre + shift)[:, None, None]
    return torch.from_numpy(ndimage.map_coordinates(texture(), [places[1] + margin, places[0] + margin], order=3))


def true_flow(linear, shift):
    """Return where the unmoved image's pixels are in ``moved(linear, shift)``, minus where they were."""
    centre = np.array([WIDTH / 2, HEIGHT / 2])[:, None, None]
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    here = np.stack([columns, rows])
    back = np.einsum("ij,jhw->ihw", np.linalg.inv(linear), here - centre - np.array(shift)[:, None, None])
    return back + centre - here


def fitted(image, row, column, deviation, reach):
    """Return the weighted least-squares quadratic around a pixel, by a dense solver in float64."""
    offsets = np.arange(-reach, reach + 1)
    y, x = (each.ravel().astype(np.float64) for each in np.meshgrid(offsets, offsets, indexing="ij"))
    values = image[row - reach : row + reach + 1, column - reach : column + reach + 1].ravel()
    weights = np.exp(-(x**2 + y**2) / (4 * deviation**2))  # its square is the Gaussian
    basis = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    return np.linalg.lstsq(basis * weights[:, None], values * weights, rcond=None)[0][1:]


def test_polynomials_are_the_weighted_least_squares_fit():
    image = texture()[:40, :40]
    found = polynomials(torch.from_numpy(image)[None, None], 1.2)[0].numpy()
    for row, column in ((10, 12), (20, 20), (33, 8)):
        np.testing.assert_allclose(found[:, row, column], fitted(image, row, column, 1.2, 4), atol=1e-9)


@pytest.mark.parametrize(
    ("linear", "shift", "mean"),
    [
        (np.eye(2), (0.0, 0.0), 1e-9),
        (np.eye(2), (-3.3, 2.2), 0.1),
        (np.eye(2), (6.5, -5.0), 0.1),
        (np.array([[1.03, 0.02], [-0.02, 1.03]]), (1.0, -2.0), 0.15),
        (np.array([[0.998, 0.06], [-0.06, 0.998]]), (0.0, 0.0), 0.15),
    ],
)
def test_known_translations_and_affine_motions_are_found(linear, shift, mean):
    flow = Farneback().between(moved(np.eye(2), (0.0, 0.0)), moved(linear, shift)).numpy()
    true = true_flow(linear, shift)
    inner = np.s_[:, 8:-8, 8:-8]
    errors = np.hypot(*(flow - true)[inner])
    assert errors.mean() < mean
    assert errors.mean() < 0.1 * max(np.hypot(*true[inner]).mean(), 1e-7)


def test_float32_is_float64_up_to_rounding():
    first, second = moved(np.eye(2), (0.0, 0.0)), moved(np.eye(2), (2.0, 1.0))
    double = Farneback().between(first, second)
    single = Farneback().between(first.float(), second.float())
    assert torch.max(torch.abs(double - single)[:, 8:-8, 8:-8]) < 1e-2


def test_places_without_structure_keep_the_coarser_motion():
    flat = torch.full((40, 40), 100.0)
    assert torch.abs(Farneback().between(flat, flat)).max() < 1e-9


def test_frames_of_two_sizes_are_an_error():
    with pytest.raises(InvalidInputError, match=r"two frames of one size; got \(8, 8\) and \(8, 9\)"):
        Farneback().between(torch.zeros(8, 8), torch.zeros(8, 9))


def test_a_warp_brings_the_second_frame_onto_the_first():
    first, second = moved(np.eye(2), (0.0, 0.0)), moved(np.eye(2), (3.0, -2.0))
    back = warped(second[None], torch.from_numpy(true_flow(np.eye(2), (3.0, -2.0))))[0]
    assert torch.abs(back - first)[8:-8, 8:-8].max() < 1e-6


def test_composed_flows_are_the_motion_over_both_steps():
    turn = np.array([[0.995, 0.0998], [-0.0998, 0.995]])
    once, twice = (torch.from_numpy(true_flow(step, (0.0, 0.0))) for step in (turn, turn @ turn))
    assert torch.abs(composed(once, once) - twice)[:, 10:-10, 10:-10].max() < 1e-6


def test_what_is_covered_in_the_other_frame_is_known():
    """A square moves 6 pixels to the right over a still ground: what it covers next is not seen there."""
    forward, backward = torch.zeros(2, 30, 60), torch.zeros(2, 30, 60)
    forward[0, 10:20, 10:20], backward[0, 10:20, 16:26] = 6.0, -6.0
    seen = consistent(forward, backward)
    assert not seen[10:20, 20:26].any()
    assert seen[10:20, 10:20].all()
    assert seen[:10].all()


def test_an_enlarged_flow_moves_as_far_in_its_own_pixels():
    small = torch.ones(1, 2, 5, 9)
    assert enlarged(small, (9, 17)).unique().tolist() == [2.0]


def test_flows_by_name_and_from_callers(monkeypatch):
    with pytest.raises(InvalidInputError, match="did you mean 'farneback'"):
        flow_named("farnback")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InvalidInputError, match="pip install opencv-python-headless"):
        flow_named("opencv")
    with pytest.raises(InvalidInputError, match=r"finite flow of shape \(4, 5, 2\)"):
        checked_flow(np.zeros((2, 4, 5)), (4, 5))
    with pytest.raises(InvalidInputError, match="finite flow"):
        checked_flow(np.full((4, 5, 2), np.nan), (4, 5))


def test_opencv_agrees_where_it_is_installed():
    pytest.importorskip("cv2")
    rgb = [
        np.repeat(moved(np.eye(2), shift).round().numpy().astype(np.uint8)[..., None], 3, 2)
        for shift in ((0, 0), (3, -2))
    ]
    error = np.hypot(*(flow_named("opencv")(*rgb) - (-3, 2)).transpose(2, 0, 1))[12:-12, 12:-12]
    assert error.mean() < 0.3


def test_opencv_follows_drawn_people_about_as_well_as_ours():
    pytest.importorskip("cv2")
    film = MovingPeople(20, seed=3, size=(128, 96), classes="people")
    pairs = [(index, index + 1) for index in (2, 9, 16)]

    def error(flow):
        """Return the mean endpoint error on people, in pixels."""
        found = []
        for a, b in pairs:
            wrong = flow(film.image(a), film.image(b)) - film.flow(a, b)
            found.append(np.hypot(*wrong.transpose(2, 0, 1))[film.people(a) > 0].mean())
        return np.mean(found)

    still = error(lambda first, second: np.zeros((128, 96, 2)))
    ours, theirs = error(Farneback()), error(flow_named("opencv"))
    assert theirs < 0.6 * still
    assert theirs < 1.5 * ours


@pytest.mark.parametrize("shape", [(1, 1), (8, 40), (12, 40), (13, 300), (33, 47)])
def test_opencv_takes_small_frames(shape):
    """It ends the process with frames of 12 x 40 (5.0.0) unless they are made larger."""
    pytest.importorskip("cv2")
    frames = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), np.uint8)
    flow = flow_named("opencv")(*frames)
    assert flow.shape == (*shape, 2)
    assert np.isfinite(flow).all()
    with pytest.raises(InvalidInputError, match="two frames of one size"):
        flow_named("opencv")(frames[0], frames[1][:, :0])
