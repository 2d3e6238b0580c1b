"""Spellings of mask noise models: reading them, and refusing wrong ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import noise


@pytest.mark.parametrize(
    ("spelling", "model"),
    [
        ("none", noise.NoNoise()),
        ("boundary", noise.Boundary()),
        ("boundary:3", noise.Boundary(3)),
        ("boundary:1.5", noise.Boundary(1.5)),
        ("markov", noise.MarkovBoundary()),
        ("markov:180:theta1=0.8:hand=0:smooth=false", noise.MarkovBoundary(180, theta1=0.8, hand=0, smooth=False)),
        ("boundary:1.5:side=in:together", noise.Boundary(1.5, "in", together=True)),
        ("confusion:0.2:one_way", noise.Confusion(0.2, one_way=True)),
        ("omit:0.4:only=3,18", noise.OmittedClass(0.4, only=(18, 3))),
        ("annotators:7:strength=1", noise.Annotators(7, strength=1.0)),
        ("affine:0.5:angle=20", noise.PartAffine(0.5, angle=20)),
        ("confusion:0.2", noise.Confusion(0.2)),
        ("confusion:0.2:pairs=5-7,7-5:whole", noise.Confusion(0.2, ((5, 7), (7, 5)), whole=True)),
        ("matrix:0.9,0.1/0.2,0.8", noise.MatrixConfusion(((0.9, 0.1), (0.2, 0.8)))),
        ("swap:0.2:together", noise.LeftRightSwap(0.2, together=True)),
        ("drop:0.1:fill=background:at_most=0.2", noise.DroppedPart(0.1, "background", 0.2)),
        ("polygon:9:jitter=0.5", noise.CoarsePolygon(9, 0.5)),
        ("superpixel:6", noise.Superpixel(6)),
        ("boundary:3+swap:0.2", noise.Compose([noise.Boundary(3), noise.LeftRightSwap(0.2)])),
    ],
)
def test_spelling_and_model_are_the_same_thing(spelling: str, model: noise.MaskNoise) -> None:
    assert noise.parse(spelling) == model
    assert str(model) == spelling


def test_other_ways_to_write_the_same() -> None:
    assert str(noise.parse(" boundary:radius=3.0 + swap:rate=0.20:together=true ")) == "boundary:3+swap:0.2:together"
    assert str(noise.parse("swap:0.2:together=false")) == "swap:0.2"
    assert noise.parse("realistic") == noise.realistic()
    assert noise.parse("realistic+boundary:1") == noise.Compose([noise.realistic(), noise.Boundary(1)])


@given(st.floats(0, 1e30), st.floats(0, 1), st.integers(3, 10**6))
def test_any_number_survives(radius: float, rate: float, vertices: int) -> None:
    model = noise.Compose([noise.Boundary(radius), noise.LeftRightSwap(rate), noise.CoarsePolygon(vertices, radius)])
    assert noise.parse(str(model)) == model


@pytest.mark.parametrize(
    ("spelling", "message"),
    [
        ("boundry:3", "known mask noise model; got 'boundry'; to fix: did you mean 'boundary'"),
        ("", "known mask noise model; got ''"),
        ("boundary:3+", "known mask noise model; got ''"),
        ("swap", "a rate after 'swap'; got 'swap'; to fix: write 'swap:0.4'"),
        ("matrix", "a transition after 'matrix'"),
        ("swap:often", r"readable rate in 'swap:often'; got 'often'; to fix: write a number, as in 'swap:0\.4'"),
        ("swap:40", r"noise rate in \[0, 1\]; got 40"),
        ("swap:0.4:togther", "option of 'swap' in .* did you mean 'together'"),
        ("swap:0.4:together=yes", "readable together in .* write 'true' or 'false'"),
        ("swap:0.4:rate=0.5", "each option once in .* got rate twice"),
        ("polygon:8.5", "readable vertices in .* a whole number"),
        ("polygon:2", "vertices to be a whole number >= 3"),
        ("drop:0.1:fill=nothing", "fill of dropped parts"),
        ("confusion:0.2:pairs=5", "readable pairs .* from-to pairs"),
        ("confusion:0.2:pairs=5-5", "two different classes"),
        ("matrix:0.9,x/0.1,0.9", "readable transition .* rows"),
        ("none:0.4", "option of 'none'"),
        ("realistic:0.4", "known mask noise model; got 'realistic'"),
    ],
)
def test_wrong_spellings(spelling: str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        noise.parse(spelling)


def test_a_spelling_is_a_string() -> None:
    with pytest.raises(InvalidInputError, match=r"a spelling such as 'boundary:3'; got 3"):
        noise.parse(3)  # type: ignore[arg-type]
