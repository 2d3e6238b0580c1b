"""The contract that every noise model for masks keeps."""

from __future__ import annotations

import dataclasses
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import noise
from noisycorrect_seg.classes import LIP

K = len(LIP)
_rng = np.random.default_rng(5)


def person(seed: int) -> np.ndarray:
    """A figure of rectangles with many of LIP's classes, somewhere in the mask, and an ignored corner."""
    mask = np.zeros((44, 36), np.uint8)
    boxes = [(2, 6, 14, 22, 2), (5, 12, 15, 21, 13), (12, 26, 12, 24, 5), (12, 26, 6, 11, 15), (12, 26, 25, 30, 14)]
    boxes += [(26, 36, 12, 17, 9), (26, 36, 19, 24, 9), (36, 40, 12, 17, 17), (36, 40, 19, 24, 16), (14, 24, 15, 19, 7)]
    for top, low, left, right, label in boxes:
        mask[top:low, left:right] = label
    down, aside = np.random.default_rng(seed).integers(-3, 4, 2)
    mask = np.roll(mask, (down, aside), (0, 1))
    mask[-6:, -6:] = 255
    mask[20:22, 16:18] = 255
    return mask


MASKS = [person(seed) for seed in range(6)]
IMAGES = [_rng.integers(0, 256, (44, 36, 3), dtype=np.uint8) for _ in MASKS]
_matrix = _rng.dirichlet(np.ones(K), K)

MODELS: list[noise.MaskNoise] = [
    noise.NoNoise(),
    noise.Boundary(3),
    noise.Boundary(1.5),
    noise.Boundary(2, side="in"),
    noise.Boundary(2, side="out", together=True),
    noise.MarkovBoundary(30),
    noise.MarkovBoundary(20, theta1=0.8, theta2=0.2, theta3=0.1, hand=0, smooth=False),
    noise.PartAffine(0.8),
    noise.Confusion(0.5),
    noise.Confusion(0.5, pairs=((5, 7), (9, 12), (9, 10)), whole=True),
    noise.Confusion(0.6, one_way=True),
    noise.MatrixConfusion(_matrix),
    noise.LeftRightSwap(0.5),
    noise.LeftRightSwap(0.5, together=True),
    noise.DroppedPart(0.4),
    noise.DroppedPart(0.9, fill="background", at_most=0.2),
    noise.DroppedPart(0.9, fill="around"),
    noise.OmittedClass(0.4),
    noise.OmittedClass(0.4, only=(14, 9, 5)),
    noise.Annotators(4),
    noise.Annotators(2, strength=1.0, style=5),
    noise.CoarsePolygon(5),
    noise.CoarsePolygon(8, jitter=1.5),
    noise.Superpixel(5),
    noise.Compose([noise.LeftRightSwap(0.5), noise.Superpixel(4), noise.Boundary(2)]),
    noise.realistic(),
]
SEED_FREE = {"none"}

every_model = pytest.mark.parametrize("model", MODELS, ids=str)
drawing_model = pytest.mark.parametrize(
    "model", [m for m in MODELS if m.name not in SEED_FREE and str(m) != "polygon:5"], ids=str
)


def run(model: noise.MaskNoise, seed: Any = 3, masks: Any = MASKS, images: Any = None) -> noise.NoisyMasks:
    return model.apply(masks, classes=LIP, seed=seed, images=images)


def same(first: noise.NoisyMasks, second: noise.NoisyMasks) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first.masks, second.masks, strict=True))


def test_every_registered_model_is_under_contract() -> None:
    assert {model.name for model in MODELS} == {*noise.MODELS, "compose"}


@every_model
def test_result_is_declared_and_changed_marks_what_changed(model: noise.MaskNoise) -> None:
    result = run(model)
    assert len(result.masks) == len(result.changed) == len(MASKS)
    wrong = 0
    for mask, noisy, changed in zip(MASKS, result.masks, result.changed, strict=True):
        assert (noisy.dtype, noisy.shape) == (np.uint8, mask.shape)
        assert (changed.dtype, changed.shape) == (np.bool_, mask.shape)
        assert np.array_equal(changed, noisy != mask)
        assert np.array_equal(noisy == 255, mask == 255)
        assert (noisy[noisy != 255] < K).all()
        wrong += int(changed.sum())
    assert result.rate == wrong / sum(int((mask != 255).sum()) for mask in MASKS)
    assert (wrong > 0) == (model.name != "none")
    assert result.details == {"model": str(model), "seed": 3}
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.masks = MASKS  # type: ignore[misc]


@settings(max_examples=12, deadline=None)
@every_model
@given(
    mask=arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 11), st.integers(1, 11)),
        elements=st.sampled_from([0, 0, 0, 1, 5, 5, 7, 14, 15, 19, 255]),
        fill=st.sampled_from([0, 5, 255]),
    ),
    seed=st.integers(0, 2**40),
    pictured=st.booleans(),
)
def test_any_mask_stays_a_mask(model: noise.MaskNoise, mask: np.ndarray, seed: int, pictured: bool) -> None:
    before = mask.copy()
    image = np.random.default_rng(seed).integers(0, 256, (*mask.shape, 3), dtype=np.uint8) if pictured else None
    noisy = model.apply_one(mask, classes=LIP, seed=seed, image=image)
    assert noisy.dtype == np.uint8
    assert noisy.shape == mask.shape
    assert not np.shares_memory(noisy, mask)
    assert np.array_equal(mask, before)
    assert np.array_equal(noisy == 255, mask == 255)
    assert (noisy[noisy != 255] < K).all()
    assert np.array_equal(noisy, model.apply_one(mask, classes="lip", seed=seed, image=image))


@every_model
def test_a_seed_gives_the_same_noise_again(model: noise.MaskNoise) -> None:
    sequence = np.random.SeedSequence(3)
    first = run(model)
    assert same(first, run(model))
    assert same(first, run(model, np.int64(3)))
    assert same(first, run(model, sequence))
    assert same(first, run(model, sequence))
    assert sequence.n_children_spawned == 0


@drawing_model
def test_another_seed_gives_other_noise(model: noise.MaskNoise) -> None:
    assert not same(run(model, 3), run(model, 4))
    child = np.random.SeedSequence(3).spawn(1)[0]
    assert not same(run(model, 3), run(model, child))


@every_model
def test_a_masks_noise_depends_on_its_index_and_on_no_other_mask(model: noise.MaskNoise) -> None:
    whole = run(model)
    fewer = run(model, masks=MASKS[:3])
    others = run(model, masks=[*[np.zeros((5, 4), np.uint8)] * 5, MASKS[5]])
    assert all(np.array_equal(a, b) for a, b in zip(whole.masks[:3], fewer.masks, strict=True))
    assert np.array_equal(whole.masks[5], others.masks[5])
    for index in (4, 0, 2):
        assert np.array_equal(whole.masks[index], model.apply_one(MASKS[index], classes=LIP, seed=3, index=index))


@drawing_model
def test_equal_masks_get_different_noise(model: noise.MaskNoise) -> None:
    result = run(model, masks=[MASKS[0]] * 8)
    assert len({mask.tobytes() for mask in result.masks}) > 1


@every_model
def test_the_callers_arrays_stay_as_they_were(model: noise.MaskNoise) -> None:
    masks, images = [mask.copy() for mask in MASKS], [image.copy() for image in IMAGES]
    for array in (*masks, *images):
        array.setflags(write=False)
    result = run(model, masks=masks, images=images)
    assert all(np.array_equal(a, b) for a, b in zip(masks, MASKS, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(images, IMAGES, strict=True))
    assert all(noisy.flags.writeable for noisy in result.masks)
    assert not any(np.shares_memory(a, b) for a, b in zip(masks, result.masks, strict=True))


@every_model
def test_arrays_and_tensors_of_any_integer_dtype_give_the_same(model: noise.MaskNoise) -> None:
    expected = run(model)
    assert same(expected, run(model, masks=np.stack(MASKS).astype(np.int64)))
    assert same(expected, run(model, masks=torch.from_numpy(np.stack(MASKS))))
    assert same(expected, run(model, masks=iter(MASKS)))


@every_model
def test_global_random_states_are_neither_read_nor_moved(model: noise.MaskNoise) -> None:
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    first = run(model)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    random.seed(2)
    np.random.seed(2)  # noqa: NPY002 - the global state is what is under test
    torch.manual_seed(2)
    assert same(first, run(model))


@pytest.mark.parametrize("model", [m for m in MODELS if hasattr(m, "rate")], ids=str)
def test_rate_zero_changes_nothing(model: Any) -> None:
    result = run(dataclasses.replace(model, rate=0.0))
    assert not any(changed.any() for changed in result.changed)


@every_model
def test_the_spelling_parses_back(model: noise.MaskNoise) -> None:
    again = noise.parse(str(model))
    assert again == model
    assert str(again) == str(model)
    assert same(run(again), run(model))


@every_model
def test_a_model_is_an_immutable_value_that_pickles(model: noise.MaskNoise) -> None:
    copied = pickle.loads(pickle.dumps(model))
    assert copied == model
    assert hash(copied) == hash(model)
    assert same(run(copied), run(model))
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.rate = 0.9  # type: ignore[attr-defined]


@every_model
def test_masks_without_foreground_or_without_labels_come_through(model: noise.MaskNoise) -> None:
    empty, ignored = np.zeros((6, 5), np.uint8), np.full((6, 5), 255, np.uint8)
    result = run(model, masks=[empty, ignored])
    assert np.array_equal(result.masks[0], empty)
    assert np.array_equal(result.masks[1], ignored)
    assert run(model, masks=[ignored]).rate == 0.0


BAD_MASKS = [
    (np.array([[0, 20]]), r"mask values 0\.\.19 or 255; got 20 at index 0"),
    (np.array([[0.0, 1.0]]), "masks of whole numbers"),
    (np.zeros((2, 2, 3), np.uint8), r"got uint8 of shape \(2, 2, 3\)"),
    (np.zeros((0, 4), np.uint8), r"shape \(0, 4\)"),
    ([[0], [1, 2]], "as an array"),
]


@pytest.mark.parametrize("model", [MODELS[1], MODELS[-1]], ids=["boundary", "realistic"])
@pytest.mark.parametrize(("mask", "message"), BAD_MASKS, ids=[message for _, message in BAD_MASKS])
def test_bad_masks_are_refused(model: noise.MaskNoise, mask: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        run(model, masks=[mask])
    with pytest.raises(InvalidInputError, match=message):
        model.apply_one(mask, classes=LIP, seed=0)


def test_other_bad_input_is_refused() -> None:
    model = noise.Boundary(2)
    for seed in (None, -1, True, 1.5, "0", np.random.default_rng(0)):
        with pytest.raises(InvalidInputError, match="seed to be an integer"):
            run(model, seed=seed)
    with pytest.raises(InvalidInputError, match="at least one mask"):
        run(model, masks=[])
    with pytest.raises(InvalidInputError, match="known class list"):
        model.apply(MASKS, classes="lipp", seed=0)
    with pytest.raises(InvalidInputError, match="index to be a whole number >= 0"):
        model.apply_one(MASKS[0], classes=LIP, seed=0, index=-1)
    with pytest.raises(InvalidInputError, match="one image a mask"):
        run(model, images=IMAGES[:2])
    with pytest.raises(InvalidInputError, match=r"an image of uint8 and shape \(44, 36, 3\)"):
        run(model, images=[image.astype(float) for image in IMAGES])
