from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from announced import announce
from hypothesis import example, given, settings
from hypothesis import strategies as st
from makers import advance, assert_whole, make_store
from torch import Tensor

from noisycorrect.labels import CODECS, Codec, Float32, SqrtUint8
from noisycorrect.labels.codec import FLOOR, codec_named
from noisycorrect.support.errors import InvalidInputError

KINDS = ("one-hot", "uniform", "tiny", "two", "flat", "peaked")


def distribution(kind: str, classes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "one-hot":
        return np.eye(classes)[rng.integers(classes)]
    if kind == "uniform":
        return np.full(classes, 1 / classes)
    if kind == "tiny":
        weights = 10.0 ** rng.uniform(-12, -3, classes)
        weights[rng.integers(classes)] = 1
    elif kind == "two":  # p = 2/3 and the rest alike: where the bound is nearly reached
        weights = np.full(classes, 1 / (3 * (classes - 1))) * rng.uniform(0.9, 1.1, classes)
        weights[0] = 2 / 3
    else:
        weights = rng.dirichlet(np.full(classes, 5.0 if kind == "flat" else 0.1)) + 1e-300
    return np.asarray(weights / weights.sum())


def slow_decode(code: np.ndarray) -> np.ndarray:
    squares = [value**2 for value in code.astype(float)]
    return np.array([value / math.fsum(squares) for value in squares])


distributions = st.builds(distribution, st.sampled_from(KINDS), st.integers(2, 60), st.integers(0, 10_000))


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@given(probs=distributions)
@example(probs=np.array([0.5, 0.5]))
@settings(deadline=None, max_examples=300)
def test_the_error_of_any_distribution_is_within_the_bound(codec: Codec, probs: np.ndarray) -> None:
    code = codec.encode(torch.tensor(probs)[None])
    assert code.dtype == codec.dtype
    assert code.shape == (1, len(probs))
    decoded = codec.decode(torch.from_numpy(code))[0]
    assert decoded.dtype == torch.float32
    assert float(decoded.double().sum()) == pytest.approx(1, abs=1e-6)
    assert np.abs(decoded.double().numpy() - probs).max() <= codec.max_error(len(probs))


@given(probs=distributions)
@settings(deadline=None)
def test_decoding_equals_a_slow_oracle(probs: np.ndarray) -> None:
    code = SqrtUint8().encode(torch.tensor(probs)[None])
    assert np.abs(code[0] - 255 * np.sqrt(probs)).max() <= 0.5 + 1e-4  # rounded, in float32
    np.testing.assert_allclose(SqrtUint8().decode(torch.from_numpy(code))[0], slow_decode(code[0]), atol=1e-7)


@pytest.mark.parametrize("classes", [2, 5, 20, 60])
def test_the_bound_is_nearly_reached(classes: int) -> None:
    # Square roots just beyond a rounding step for the rare classes, so that all round the same way.
    worst, others = 0.0, classes - 1
    for step in range(1, 200):
        root = (step + 0.5 + 1e-4) / 255
        rest = others * root**2
        if rest < 1:
            probs = torch.tensor([[1 - rest, *[root**2] * others]], dtype=torch.float64)
            decoded = SqrtUint8().decode(torch.from_numpy(SqrtUint8().encode(probs)))
            worst = max(worst, float((decoded - probs).abs().max()))
    bound = SqrtUint8().max_error(classes)
    assert 0.4 * bound < worst <= bound


def test_there_is_no_bound_beyond_65025_classes() -> None:
    assert SqrtUint8().max_error(65_000) < math.inf
    assert SqrtUint8().max_error(70_000) == math.inf


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_arguments_are_left_as_they_were(codec: Codec) -> None:
    probs = torch.rand(3, 4, 5, 6, generator=torch.Generator().manual_seed(0)).softmax(1).requires_grad_()
    before = probs.detach().clone()
    code = codec.encode(probs)
    copy = code.copy()
    decoded = codec.decode(torch.from_numpy(code))
    assert torch.equal(probs.detach(), before)
    np.testing.assert_array_equal(code, copy)
    assert decoded.shape == probs.shape
    assert not decoded.requires_grad


def smooth_maps(samples: int) -> Tensor:
    noise = torch.randn(samples, 20, 9, 9, generator=torch.Generator().manual_seed(0))
    return F.interpolate(14 * noise, size=(119, 119), mode="bicubic").softmax(1)


def test_smooth_masks_lose_little() -> None:
    probs = smooth_maps(4)
    codec = SqrtUint8()
    decoded = codec.decode(torch.from_numpy(codec.encode(probs)))
    divergence = torch.special.xlogy(probs, probs) - torch.special.xlogy(probs, decoded.clamp_min(1e-12))
    assert 0 < float(divergence.sum(1).mean()) < 1e-4  # the budget is 1e-3
    assert 1e-3 < float((decoded - probs).abs().max()) <= codec.max_error(20)


def people_like_maps() -> Tensor:
    """Sharp regions with blurred outlines over noise in every class: a trained network's predictions."""
    generator = torch.Generator().manual_seed(0)
    regions = F.interpolate(torch.randn(3, 20, 5, 5, generator=generator), size=(119, 119), mode="bicubic").argmax(1)
    sharp = F.one_hot(regions, 20).permute(0, 3, 1, 2).float()
    blurred = F.avg_pool2d(F.avg_pool2d(sharp, 3, 1, 1), 3, 1, 1)
    return (10 * blurred + 1.5 * torch.randn(3, 20, 119, 119, generator=generator)).softmax(1)


@pytest.mark.parametrize("maps", [lambda: smooth_maps(4), people_like_maps], ids=["smooth", "people"])
def test_a_floor_keeps_six_bits_within_the_budget_in_the_worst_pixel_too(maps: Callable[[], Tensor]) -> None:
    probs = maps().double()
    mean, worst = {}, {}
    for name in ("sqrt-uint6", "sqrt-uint6-floor"):
        codec = CODECS[name]
        decoded = codec.decode(torch.from_numpy(codec.encode(probs))).double().clamp_min(1e-12)
        divergence = (torch.special.xlogy(probs, probs) - torch.special.xlogy(probs, decoded)).sum(1)
        mean[name], worst[name] = float(divergence.mean()), float(divergence.max())
    assert mean["sqrt-uint6-floor"] < 1e-3  # the budget
    assert mean["sqrt-uint6-floor"] < mean["sqrt-uint6"]
    assert worst["sqrt-uint6-floor"] < 3e-3 < worst["sqrt-uint6"]


def test_a_floor_changes_no_byte() -> None:
    probs = smooth_maps(1)
    np.testing.assert_array_equal(CODECS["sqrt-uint6-floor"].encode(probs), CODECS["sqrt-uint6"].encode(probs))
    code = torch.tensor([[0, 63]], dtype=torch.uint8)
    expected = torch.tensor([[(FLOOR / 63) ** 2, 1.0]])
    torch.testing.assert_close(CODECS["sqrt-uint6-floor"].decode(code), expected / expected.sum(), rtol=1e-6, atol=0)
    assert CODECS["sqrt-uint6"].decode(code).tolist() == [[0, 1]]  # as earlier stores were read


def test_float32_is_exact() -> None:
    probs = smooth_maps(1)
    assert torch.equal(Float32().decode(torch.from_numpy(Float32().encode(probs))), probs)


def test_an_unknown_codec_has_a_suggestion() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'sqrt-uint8'"):
        codec_named("sqrt_uint8")


class Float16:
    name = "float16"
    dtype = np.dtype(np.float16)
    storage: dict[str, Any] = {}  # noqa: RUF012 - as short as an author would write it

    def encode(self, probs: Tensor) -> np.ndarray:
        return probs.detach().to("cpu", torch.float16).numpy()

    def decode(self, code: Tensor) -> Tensor:
        return F.normalize(code.float(), p=1, dim=1)

    def max_error(self, num_classes: int) -> float:
        return 2e-3


def test_a_codec_of_another_package_is_found_by_name_and_keeps_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CODECS.group == "noisycorrect.codecs"
    announce(monkeypatch, CODECS, float16=Float16())
    for kind in ("classification", "segmentation"):
        store = make_store(tmp_path / kind, kind, codec="float16")
        advance(store, 2)
        assert isinstance(store.codec, Float16)
        assert_whole(store, 2)
