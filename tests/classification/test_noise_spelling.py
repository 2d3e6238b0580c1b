"""Spellings of noise models: reading them, and refusing wrong ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisycorrect.classification import noise
from noisycorrect.support.errors import InvalidInputError


@pytest.mark.parametrize(
    ("spelling", "model"),
    [
        ("none", noise.NoNoise()),
        ("symmetric:0.4", noise.Symmetric(0.4)),
        ("symmetric:0.4:inclusive", noise.Symmetric(0.4, inclusive=True)),
        ("pairflip:0.2:sampling=bernoulli", noise.PairFlip(0.2, sampling="bernoulli")),
        ("asymmetric:0.4", noise.Asymmetric(0.4)),
        ("asymmetric:0.4:mapping=0-1,1-0", noise.Asymmetric(0.4, {0: 1, 1: 0})),
        ("instance:0.4", noise.InstanceDependent(0.4)),
        ("instance:0.4:std=0.2:normalise=feature", noise.InstanceDependent(0.4, std=0.2, normalise="feature")),
        ("instance:0.4:shared_weights", noise.InstanceDependent(0.4, shared_weights=True)),
    ],
)
def test_spelling_and_model_are_the_same_thing(spelling: str, model: noise.NoiseModel) -> None:
    assert noise.parse(spelling) == model
    assert str(model) == spelling


@pytest.mark.parametrize("spelling", ["human:random1", "human", "feature:0.3", "openset:0.2"])
def test_models_are_spelled_without_their_material(spelling: str) -> None:
    assert str(noise.parse(spelling)) == spelling


def test_other_ways_to_write_the_same() -> None:
    assert str(noise.parse(" symmetric:rate=0.40:inclusive=true ")) == "symmetric:0.4:inclusive"
    assert str(noise.parse("symmetric:0.4:inclusive=false")) == "symmetric:0.4"
    assert str(noise.parse("human:worse_label")) == "human:worst"
    assert str(noise.parse("classconditional:1,0/0.25,0.75")) == "classconditional:1.0,0.0/0.25,0.75"


@given(st.floats(0, 1), st.booleans(), st.sampled_from(["exact", "bernoulli"]))
def test_any_rate_survives(rate: float, inclusive: bool, sampling: str) -> None:
    model = noise.Symmetric(rate, inclusive, sampling)  # type: ignore[arg-type]
    assert noise.parse(str(model)) == model


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("symetric:0.4", "known noise model; got 'symetric'; to fix: did you mean 'symmetric'"),
        ("", "known noise model; got ''"),
        ("symmetric", "a rate after 'symmetric'; got 'symmetric'; to fix: write 'symmetric:0.4'"),
        ("symmetric:", "readable rate in 'symmetric:'; got ''"),
        ("symmetric:high", "readable rate in 'symmetric:high'; got 'high'; to fix: write a number"),
        ("symmetric:40", r"noise rate in \[0, 1\]; got 40.0"),
        ("symmetric:nan", r"noise rate in \[0, 1\]; got nan"),
        ("symmetric:0.4:inclusiv", "option of 'symmetric' in .* did you mean 'inclusive'"),
        ("symmetric:0.4:inclusive=yes", "readable inclusive in .* write 'true' or 'false'"),
        ("symmetric:0.4:rate=0.5", "each option once in .* got rate twice"),
        ("symmetric:0.4:sampling=exakt", "did you mean 'exact'"),
        ("none:0.4", "option of 'none'"),
        ("asymmetric:0.4:mapping=9", "readable mapping .* write from-to pairs"),
        ("asymmetric:0.4:mapping=9-1,9-2", "readable mapping"),
        ("classconditional", "a transition after 'classconditional'"),
        ("classconditional:0.9,x/0.1,0.9", "readable transition .* write rows"),
        ("classconditional:0.9,0.3/0.1,0.7", "column-stochastic"),
        ("human:random9", "set of human labels; got 'random9'"),
        ("openset:0.2:pool=x", "option of 'openset'"),
    ],
)
def test_wrong_spellings(spelling: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        noise.parse(spelling)


def test_a_spelling_is_a_string() -> None:
    with pytest.raises(InvalidInputError, match=r"a spelling such as 'symmetric:0\.4'; got 0\.4"):
        noise.parse(0.4)  # type: ignore[arg-type]
