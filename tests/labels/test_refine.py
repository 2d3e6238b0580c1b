from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from noisycorrect.labels.refine import blend, check_probs, exponential_evidence, mean_evidence, one_hot
from noisycorrect.labels.rules import paper_trust
from noisycorrect.support.errors import InvalidInputError


def random_probs(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).softmax(1)


def slow_blend(given_probs: Tensor, evidence: Tensor, trust: Tensor) -> np.ndarray:
    out = np.zeros(tuple(given_probs.shape))
    for place in np.ndindex(*out.shape):
        weight = float(trust[place[0]])
        out[place] = weight * float(given_probs[place]) + (1 - weight) * float(evidence[place])
    return out


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blend_equals_a_loop_in_float64(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    labels = torch.arange(shape[0] * int(np.prod(shape[2:]))).reshape(shape[0], *shape[2:]) % shape[1]
    onehot = one_hot(labels, shape[1]).movedim(-1, 1)
    evidence, trust = random_probs(*shape).to(dtype), torch.linspace(0, 1, shape[0])
    before = [tensor.clone() for tensor in (labels, evidence, trust)]
    refined = blend(labels, evidence, trust)
    assert refined.dtype == dtype
    np.testing.assert_allclose(refined.numpy(), slow_blend(onehot, evidence, trust), atol=1e-6)
    np.testing.assert_allclose(refined.sum(1).numpy(), 1, atol=1e-6)
    for tensor, copy in zip((labels, evidence, trust), before, strict=True):
        assert torch.equal(tensor, copy)


@given(st.lists(st.integers(-1, 6), min_size=1, max_size=20))
def test_one_hot_equals_a_loop(labels: list[int]) -> None:
    expected = [[float(label == k) for k in range(7)] for label in labels]
    assert one_hot(torch.tensor(labels), 7).tolist() == expected


@pytest.mark.parametrize("generation", range(6))
def test_paper_trust_is_one_over_m_plus_one(generation: int) -> None:
    trust = paper_trust(generation, torch.tensor([True, False]))
    assert trust.dtype == torch.float32
    np.testing.assert_allclose(trust.numpy(), [1 / (generation + 1), 0], rtol=1e-7)


def test_mean_evidence_is_the_mean_of_all_predictions() -> None:
    probs = [random_probs(4, 3, 2, 2, seed=seed) for seed in range(7)]
    evidence = torch.full_like(probs[0], torch.nan)  # count 0: any value
    for count, each in enumerate(probs):
        before, latest = evidence.clone(), each.clone()
        new = mean_evidence(evidence, each, count)
        torch.testing.assert_close(evidence, before, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(each, latest, rtol=0, atol=0)
        evidence = new
    expected = np.mean([each.double().numpy() for each in probs], axis=0)
    np.testing.assert_allclose(evidence.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.7, 0.99])
def test_exponential_evidence_weighs_the_past_by_powers_of_the_momentum(momentum: float) -> None:
    probs = [random_probs(4, 3, seed=seed) for seed in range(6)]
    evidence = torch.full_like(probs[0], torch.nan)
    for count, each in enumerate(probs):
        before = evidence.clone()
        new = exponential_evidence(evidence, each, count, momentum)
        torch.testing.assert_close(evidence, before, rtol=0, atol=0, equal_nan=True)
        evidence = new
    last = len(probs) - 1
    expected = momentum**last * probs[0].double()
    for age in range(last):
        expected = expected + (1 - momentum) * momentum**age * probs[last - age].double()
    np.testing.assert_allclose(evidence.numpy(), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3), (2, 3), (2, 3, 4, 5)])
def test_check_probs_accepts_probabilities(shape: tuple[int, ...]) -> None:
    probs = random_probs(*shape)
    before = probs.clone()
    check_probs(probs, 3)
    assert torch.equal(probs, before)


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        (torch.full((2, 4), 0.25), r"shape \(N, 3, \.\.\.\); got shape \(2, 4\); .*num_classes"),
        (torch.tensor([0.5, 0.3, 0.2]), r"got shape \(3,\)"),
        (torch.tensor([[0.5, torch.nan, 0.5]]), "finite probabilities; got NaN"),
        (torch.tensor([[0.5, torch.inf, 0.5]]), "finite probabilities; got NaN or infinity"),
        (torch.tensor([[2.0, -1.0, 0.0]]), "got values from -1.*softmax"),
        (torch.tensor([[0.5, 0.5, 0.01]]), r"sum to 1; got .*1\.01; to fix: apply softmax"),
        (torch.zeros(1, 3), "sums from 0 to 0"),
    ],
)
def test_check_probs_refuses(probs: Tensor, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        check_probs(probs, 3)
