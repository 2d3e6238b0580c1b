"""How models are spelled: notations by type, metadata, materials, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.spelling import MATRIX, NOTATIONS, NUMBER, Notation, SpelledRegister, spell, written_as

if TYPE_CHECKING:
    from decimal import Decimal

Pairs = tuple[tuple[int, int], ...]
SHORT = NUMBER._replace(write=lambda value: f"{value:g}")
HEX = Notation("a hexadecimal number", "ff", lambda value: f"{value:x}", lambda text: int(text, 16))


@dataclass(frozen=True)
class Everything:
    """A field of every type that is spelled, some that are not, and one that no constructor takes."""

    flag: bool = False
    number: float = 0.0
    count: int | None = None
    word: Literal["one", "two"] | None = None
    text: str = "plain"
    mapping: Mapping[int, int] = field(default_factory=lambda: {1: 2})
    pairs: Pairs | None = None
    matrix: tuple[tuple[float, ...], ...] = ((1.0,),)
    colour: int = field(default=0, metadata=written_as(HEX))
    array: list[int] | None = None
    source: str | list[int] | None = None
    hidden: str = field(default="", metadata=written_as(None))
    counter: int = field(default=3, init=False)

    name: ClassVar[str] = "everything"
    notations: ClassVar[Mapping[Any, Notation]] = NOTATIONS


@dataclass(frozen=True)
class Needy:
    rate: float
    shape: Any = field(metadata=written_as(MATRIX))
    pool: list[int]
    twice: bool = True

    name: ClassVar[str] = "needy"
    notations: ClassVar[Mapping[Any, Notation]] = {
        **NOTATIONS,
        float: NUMBER._replace(write=lambda value: f"{value:g}"),
    }


@dataclass(frozen=True)
class Forward:
    number: Decimal

    name: ClassVar[str] = "forward"
    notations: ClassVar[Mapping[Any, Notation]] = NOTATIONS


@pytest.fixture
def models() -> SpelledRegister[Any]:
    register: SpelledRegister[Any] = SpelledRegister("toy", group="noisycorrect.toys", example="needy:0.4")
    for model in (Everything, Needy):
        assert register.add(model) is model
    return register


numbers = st.floats(allow_nan=False)
classes = st.integers(0, 300)


@given(
    model=st.builds(
        Everything,
        flag=st.booleans(),
        number=numbers,
        count=st.none() | st.integers(),
        word=st.sampled_from([None, "one", "two"]),
        text=st.sampled_from(["plain", "other"]),
        mapping=st.dictionaries(classes, classes, min_size=1),
        pairs=st.none() | st.lists(st.tuples(classes, classes), min_size=1).map(tuple),
        matrix=st.lists(st.lists(numbers, min_size=1).map(tuple), min_size=1).map(tuple),
        colour=st.integers(0, 2**24),
    )
)
def test_every_combination_of_arguments_is_read_back(model: Everything) -> None:
    register: SpelledRegister[Any] = SpelledRegister("toy", group="noisycorrect.toys", example="needy:0.4")
    register.add(Everything)
    assert register.read(spell(model)) == model


@pytest.mark.parametrize(
    ("model", "spelling"),
    [
        (Everything(), "everything"),
        (Everything(flag=True), "everything:true"),
        (Everything(True, 0.5), "everything:true:number=0.5"),
        (Everything(colour=255, array=[1], source=[2], hidden="x"), "everything:colour=ff"),
        (Everything(mapping={9: 1, 2: 0}, matrix=((0.5, 1),)), "everything:mapping=9-1,2-0:matrix=0.5,1.0"),
        (Needy(0.5, [[1]], [2], twice=False), "needy:0.5:shape=1.0:twice=false"),
        (Needy(1.0, ((0.5, 0.5),), [2]), "needy:1:shape=0.5,0.5"),
    ],
)
def test_types_metadata_and_the_models_own_table_say_how_a_field_is_written(model: Any, spelling: str) -> None:
    assert spell(model) == spelling


def test_a_flag_behind_the_name_is_not_taken_for_the_first_value(models: SpelledRegister[Any]) -> None:
    @dataclass(frozen=True)
    class Walk:
        steps: int = 100
        smooth: bool = False
        twice: bool = False

        name: ClassVar[str] = "walk"
        notations: ClassVar[Mapping[Any, Notation]] = NOTATIONS

    models.add(Walk)
    assert spell(Walk(smooth=True)) == "walk:smooth=true"
    assert spell(Walk(smooth=True, twice=True)) == "walk:smooth=true:twice"
    assert models.read("walk:smooth=true:twice") == Walk(smooth=True, twice=True)


def test_a_model_takes_the_materials_it_has_a_field_for(models: SpelledRegister[Any]) -> None:
    materials = {"array": [1], "source": "file", "hidden": "h", "pool": [2]}
    assert models.read("everything", materials) == Everything(array=[1], source="file", hidden="h")
    assert models.read("needy:0.5:shape=1", materials) == Needy(0.5, ((1.0,),), [2])


@pytest.mark.parametrize(
    ("spelling", "materials", "message"),
    [
        ("needy:0.4:shape=1", {"pol": [1]}, r"known material of a toy; got 'pol'; to fix: did you mean 'pool'\?"),
        ("everything", {"number": 1.0}, "known material of a toy; got 'number'"),
        ("everything", {"counter": 1}, "known material of a toy; got 'counter'"),
        ("everything:counter=1", {}, "known option of 'everything' in .* got 'counter'"),
        ("everything:hidden=x", {}, "known option of 'everything' in .* got 'hidden'"),
        ("needy", {}, "a rate after 'needy'; got 'needy'; to fix: write 'needy:0.4'"),
        ("needy:0.4", {}, "a shape after 'needy'; got 'needy:0.4'; to fix: write 'shape=0.9,0.1/0.2,0.8'"),
        ("needy:0.4:shape=1", {}, "a pool after 'needy'; got 'needy:0.4:shape=1'; to fix: pass pool=... beside it"),
        ("everything:colour=xyz", {}, "write a hexadecimal number, as in 'colour=ff'"),
        ("neady:0.4", {}, "known toy; got 'neady'; to fix: did you mean 'needy'"),
        (0.4, {}, "a spelling such as 'needy:0.4'; got 0.4"),
    ],
)
def test_what_is_refused(models: SpelledRegister[Any], spelling: Any, materials: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        models.read(spelling, materials)


def test_types_that_only_the_type_checker_sees_are_named(models: SpelledRegister[Any]) -> None:
    models.add(Forward)
    with pytest.raises(InvalidInputError, match="the fields of Forward; got name 'Decimal' is not defined"):
        models.read("forward:1")


def test_only_dataclasses_with_a_name_that_can_be_spelled_are_added(models: SpelledRegister[Any]) -> None:
    class Bare(Everything):
        name = "bare"

    with pytest.raises(InvalidInputError, match="a dataclass as a toy; got Bare; to fix: decorate it with @dataclass"):
        models.add(Bare)
    for wrong in ("a:b", "a+b", "a b", "", None):
        with pytest.raises(InvalidInputError, match=r"a name of letters.* in Named\.name; got"):
            models.add(dataclass(frozen=True)(type("Named", (), {"name": wrong})))
    with pytest.raises(InvalidInputError, match="a new name for a toy; got 'needy'"):
        models.add(dataclass(frozen=True)(type("Other", (), {"name": "needy"})))
