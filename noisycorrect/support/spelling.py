"""How a model is spelled: ``name:value:option=value:flag``, as in ``symmetric:0.4:inclusive``.

A model is a dataclass whose class attribute `name` comes first in its spelling. The types of its fields say which of
them are spelled, and how:

=================================== =============================
type                                written as
=================================== =============================
float                               ``0.4``
int                                 ``8``
bool                                ``true``, ``false``; a bare name means true
str, Literal of strings             the word itself, without ``:`` and ``=``
Mapping[int, int]                   ``9-1,2-0``
tuple[tuple[int, int], ...]         ``5-7,7-5``
tuple[tuple[float, ...], ...]       ``0.9,0.1/0.2,0.8``
=================================== =============================

``X | None`` is written as X. A field of another type says how it is written by ``field(metadata=written_as(...))``;
if it does not, it is material: an array, a file or a function, which is no part of a spelling and is handed over beside
it. The first spelled field is written without its name, and fields that have their default are left out.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar, Union

from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect.support.register import Register

_METADATA = "notation"


class Notation(NamedTuple):
    """How values of one sort are written and read.

    Attributes
    ----------
    what : str
        What messages ask for, such as ``"a number"``.
    example : str
        A value as it is written.
    write : callable
        From a value to its text, which holds neither ``:`` nor ``=``.
    read : callable
        From a text to the value; raises ValueError for a text that is none.
    """

    what: str
    example: str
    write: Callable[[Any], str]
    read: Callable[[str], Any]


class Spelled(Protocol):
    """What a model must offer besides being a dataclass."""

    name: ClassVar[str]
    notations: ClassVar[Mapping[Any, Notation]]


M = TypeVar("M", bound=Spelled)
C = TypeVar("C", bound=type)


def _read_bool(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


def _write_pairs(pairs: Any) -> str:
    return ",".join(f"{source}-{target}" for source, target in pairs)


def _read_pairs(text: str) -> tuple[tuple[int, int], ...]:
    pairs = [pair.split("-") for pair in text.split(",")]
    return tuple((int(source), int(target)) for source, target in pairs)


def _read_mapping(text: str) -> dict[int, int]:
    pairs = _read_pairs(text)
    if len(dict(pairs)) < len(pairs):
        raise ValueError("one target a class")
    return dict(pairs)


def _write_matrix(matrix: Any) -> str:
    return "/".join(",".join(repr(float(entry)) for entry in row) for row in matrix)


def _read_matrix(text: str) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(entry) for entry in row.split(",")) for row in text.split("/"))


NUMBER = Notation("a number", "0.4", lambda value: repr(float(value)), float)
COUNT = Notation("a whole number", "8", str, int)
FLAG = Notation("'true' or 'false'", "true", lambda value: str(value).lower(), _read_bool)
WORD = Notation("a word", "word", str, str)
PAIRS = Notation("from-to pairs", "5-7,7-5", _write_pairs, _read_pairs)
MAPPING = Notation("from-to pairs", "9-1,2-0", lambda mapping: _write_pairs(mapping.items()), _read_mapping)
MATRIX = Notation("rows", "0.9,0.1/0.2,0.8", _write_matrix, _read_matrix)

NOTATIONS: Mapping[Any, Notation] = {
    float: NUMBER,
    int: COUNT,
    bool: FLAG,
    str: WORD,
    Mapping[int, int]: MAPPING,
    tuple[tuple[int, int], ...]: PAIRS,
    tuple[tuple[float, ...], ...]: MATRIX,
}
"""How a field is written, by its type; a base class of models may have a table of its own in `notations`."""


def written_as(notation: Notation | None) -> dict[str, Notation | None]:
    """Return the metadata of a field that is written in a notation of its own; with None, the field is material.

    Examples
    --------
    >>> dataclasses.field(metadata=written_as(MATRIX)).metadata["notation"].example
    '0.9,0.1/0.2,0.8'
    """
    return {_METADATA: notation}


def spell(model: Spelled) -> str:
    """Return the shortest spelling of a model: its name, its value, and the options that differ from their defaults.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True)
    ... class Blur:
    ...     width: float
    ...     wrap: bool = False
    ...     name: ClassVar[str] = "blur"
    ...     notations: ClassVar[Mapping[Any, Notation]] = NOTATIONS
    >>> spell(Blur(0.5, wrap=True))
    'blur:0.5:wrap'
    """
    parts = [model.name]
    for position, (field, notation) in enumerate(_arguments(type(model)).spelled.items()):
        value, default = getattr(model, field), _default(model, field)
        if default is not dataclasses.MISSING and value == default:
            continue
        text = notation.write(value)
        if position == 0:
            parts.append(text)
        # Behind the name stands the first field's value: a flag there is told from it by its "=".
        elif value is True and len(parts) > 1:
            parts.append(field)
        else:
            parts.append(f"{field}={text}")
    return ":".join(parts)


class SpelledRegister(Register[type[M]]):
    """A register of model classes that builds a model from its spelling.

    Parameters
    ----------
    what : str
        What messages call one of them, such as ``"noise model"``.
    group : str
        Group of entry points under which other packages announce a model, each by the model's own name.
    example : str
        A spelling that messages may show.

    Examples
    --------
    >>> blurs = SpelledRegister("blur", group="noisycorrect.examples", example="blur:0.5")
    >>> @blurs.add
    ... @dataclasses.dataclass(frozen=True)
    ... class Blur:
    ...     width: float
    ...     wrap: bool = False
    ...     name: ClassVar[str] = "blur"
    ...     notations: ClassVar[Mapping[Any, Notation]] = NOTATIONS
    >>> blurs.read("blur:0.5:wrap")
    Blur(width=0.5, wrap=True)
    >>> blurs.read("blur:wide")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected a readable width in 'blur:wide'; got 'wide'; to fix: write
    a number, as in 'blur:0.4'
    """

    def __init__(self, what: str, *, group: str, example: str) -> None:
        super().__init__(what, group=group)
        self.example = example

    def add(self, model: C) -> C:
        """Add a model class under its own name, and return it: a decorator, above ``@dataclass``.

        Raises
        ------
        InvalidInputError
            If the class is no dataclass, its name cannot be spelled, or the name belongs to another class.
        """
        if not dataclasses.is_dataclass(model) or "__dataclass_fields__" not in vars(model):
            raise InvalidInputError(
                f"a dataclass as a {self.what}",
                got=model.__name__,
                fix="decorate it with @dataclass(frozen=True) first",
            )
        name: Any = getattr(model, "name", None)
        if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
            raise InvalidInputError(
                f"a name of letters, digits, '_', '-' and '.' in {model.__name__}.name",
                got=repr(name),
                fix=f"name the {self.what} by a class attribute",
            )
        model_class: Any = model
        self.register(name, model_class)
        return model

    def read(self, spelling: str, materials: Mapping[str, Any] | None = None) -> M:
        """Return the model of a spelling; the inverse of :func:`spell`.

        Parameters
        ----------
        spelling : str
            ``name``, ``name:value`` or ``name:value:option=value:flag``.
        materials : mapping of str to object, optional
            What spellings do not hold, by the name of the field that takes it. A model takes what it has a field for,
            and leaves the rest.

        Raises
        ------
        InvalidInputError
            If the name or an option is unknown, a value is missing or unreadable, no model of the register takes one of
            the materials, or the model refuses its arguments.
        """
        if not isinstance(spelling, str):
            raise self.no_spelling(spelling)
        name, *parts = spelling.strip().split(":")
        model = self[name]
        values = _values(spelling, model, parts) | self._taken(model, materials or {})
        _check_complete(spelling, model, values)
        return model(**values)

    def no_spelling(self, value: object) -> InvalidInputError:
        """Return the error for something that is no string."""
        return InvalidInputError(f"a spelling such as {self.example!r}", got=repr(value), fix="pass a string")

    def _taken(self, model: type[M], materials: Mapping[str, Any]) -> dict[str, Any]:
        own = _arguments(model).materials
        if not materials.keys() <= own:
            known = own.union(*(_arguments(other).materials for other in self.values()))
            for name in materials:
                if name not in known:
                    raise unknown_name(f"material of a {self.what}", name, known)
        return {name: value for name, value in materials.items() if name in own}


class _Arguments(NamedTuple):
    spelled: dict[str, Notation]
    materials: frozenset[str]
    required: tuple[str, ...]


@functools.cache
def _arguments(model: type[Spelled]) -> _Arguments:
    """Return what a model's constructor takes."""
    try:
        hints = typing.get_type_hints(model)
    except NameError as error:
        raise InvalidInputError(
            f"types that exist at run time for the fields of {model.__name__}",
            got=str(error),
            fix="import them outside `if TYPE_CHECKING`, and define them outside functions",
        ) from None
    fields = [field for field in _fields(model) if field.init]
    notations = {
        field.name: field.metadata.get(_METADATA, _notation(hints[field.name], model.notations)) for field in fields
    }
    missing = dataclasses.MISSING
    return _Arguments(
        spelled={name: notation for name, notation in notations.items() if notation is not None},
        materials=frozenset(name for name, notation in notations.items() if notation is None),
        required=tuple(field.name for field in fields if field.default is field.default_factory is missing),
    )


def _fields(model: type[Spelled] | Spelled) -> tuple[dataclasses.Field[Any], ...]:
    # Every model is a dataclass, which an abstract base class cannot promise to the type checker.
    return dataclasses.fields(model)  # type: ignore[arg-type]


def _notation(hint: Any, notations: Mapping[Any, Notation]) -> Notation | None:
    if hint in notations:
        return notations[hint]
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return notations.get(str) if all(isinstance(value, str) for value in inner) else None
    if typing.get_origin(hint) in (Union, types.UnionType):
        alternatives = [other for other in inner if other is not type(None)]
        return _notation(alternatives[0], notations) if len(alternatives) == 1 else None
    return None


def _default(model: Spelled, name: str) -> Any:
    (field,) = (field for field in _fields(model) if field.name == name)
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _values(spelling: str, model: type[Spelled], parts: list[str]) -> dict[str, Any]:
    """Return constructor arguments from the parts of a spelling after the name."""
    spelled = _arguments(model).spelled
    values: dict[str, Any] = {}
    for position, part in enumerate(parts):
        option, equals, text = part.partition("=")
        if position == 0 and spelled and not equals:
            option, text = next(iter(spelled)), part
        elif not equals:
            text = "true"
        if option not in spelled:
            raise unknown_name(f"option of {model.name!r} in {spelling!r}", option, spelled)
        if option in values:
            raise InvalidInputError(f"each option once in {spelling!r}", got=f"{option} twice", fix="leave one out")
        try:
            values[option] = spelled[option].read(text)
        except ValueError:
            raise InvalidInputError(
                f"a readable {option} in {spelling!r}",
                got=repr(text),
                fix=f"write {spelled[option].what}, as in {_example(model, option)!r}",
            ) from None
    return values


def _check_complete(spelling: str, model: type[Spelled], values: Mapping[str, Any]) -> None:
    arguments = _arguments(model)
    for name in arguments.required:
        if name not in values:
            fix = f"write {_example(model, name)!r}" if name in arguments.spelled else f"pass {name}=... beside it"
            raise InvalidInputError(f"a {name} after {model.name!r}", got=repr(spelling), fix=fix)


def _example(model: type[Spelled], option: str) -> str:
    """Return a spelling of a model with one option."""
    spelled = _arguments(model).spelled
    value = spelled[option].example
    return f"{model.name}:{value}" if option == next(iter(spelled)) else f"{option}={value}"
