"""How a mask noise model is spelled: `name:value:option=value:flag`, as in `boundary:3` or `polygon:8:jitter=1.0`.

As for class labels (noisycorrect.classification.noise.spec): one table says how each constructor argument is written
and read; the first argument is written without its name, and defaults are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from noisycorrect.support.errors import InvalidInputError, unknown_name

if TYPE_CHECKING:
    from noisycorrect_seg.noise.base import MaskNoise


class Codec(NamedTuple):
    """How one argument is written and read, and an example for the error."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]
    example: str


def _read_bool(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


def _write_pairs(pairs: Any) -> str:
    return ",".join(f"{source}-{target}" for source, target in pairs)


def _read_pairs(text: str) -> tuple[tuple[int, int], ...]:
    pairs = [pair.split("-") for pair in text.split(",")]
    return tuple((int(source), int(target)) for source, target in pairs)


def _write_matrix(matrix: Any) -> str:
    return "/".join(",".join(repr(float(entry)) for entry in row) for row in matrix)


def _read_matrix(text: str) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(entry) for entry in row.split(",")) for row in text.split("/"))


def _write_number(value: float) -> str:
    # "+" joins models, so that 1e+16 must not be spelled with it.
    return repr(int(value)) if float(value).is_integer() else repr(float(value)).replace("e+", "e")


_NUMBER = Codec(_write_number, float, "a number as in '0.4'")
_COUNT = Codec(str, int, "a whole number as in '8'")
_FLAG = Codec(lambda value: str(value).lower(), _read_bool, "'true' or 'false'")
_WORD = Codec(str, str, "a word")

CODECS: Mapping[str, Codec] = {
    **dict.fromkeys(
        ("rate", "radius", "theta1", "theta2", "theta3", "shift", "angle", "scale", "jitter", "at_most"), _NUMBER
    ),
    **dict.fromkeys(("steps", "vertices", "size"), _COUNT),
    **dict.fromkeys(("smooth", "whole", "together"), _FLAG),
    "fill": _WORD,
    "pairs": Codec(_write_pairs, _read_pairs, "from-to pairs as in 'pairs=5-7,7-5'"),
    "transition": Codec(_write_matrix, _read_matrix, "rows as in '0.9,0.1/0.2,0.8'"),
}


def spelled_fields(model: type[MaskNoise] | MaskNoise) -> list[dataclasses.Field[Any]]:
    """Return the constructor arguments that have a spelling, first the one that is written without its name."""
    # Every model is a dataclass, which the abstract base cannot promise to the type checker.
    return [field for field in dataclasses.fields(model) if field.name in CODECS]  # type: ignore[arg-type]


def spell_model(model: MaskNoise) -> str:
    """Return the shortest spelling of a model: its name, its value, and the options that differ from their defaults."""
    parts = [model.name]
    for position, field in enumerate(spelled_fields(model)):
        value = getattr(model, field.name)
        if field.default is not dataclasses.MISSING and value == field.default:
            continue
        text = CODECS[field.name].write(value)
        if position == 0:
            parts.append(text)
        else:
            parts.append(field.name if value is True else f"{field.name}={text}")
    return ":".join(parts)


def read_arguments(spelling: str, model: type[MaskNoise], parts: list[str]) -> dict[str, Any]:
    """Return constructor arguments from the parts of a spelling after the name; `spelling` is the whole, for errors."""
    names = [field.name for field in spelled_fields(model)]
    arguments: dict[str, Any] = {}
    for position, part in enumerate(parts):
        option, equals, text = part.partition("=")
        if position == 0 and names and not equals:
            option, text = names[0], part
        elif not equals:
            text = "true"
        if option not in names:
            raise unknown_name(f"option of {model.name!r} in {spelling!r}", option, names)
        if option in arguments:
            raise InvalidInputError(f"each option once in {spelling!r}", got=f"{option} twice", fix="leave one out")
        try:
            arguments[option] = CODECS[option].read(text)
        except ValueError:
            raise InvalidInputError(
                f"a readable {option} in {spelling!r}", got=repr(text), fix=f"write {CODECS[option].example}"
            ) from None
    for field in spelled_fields(model)[:1]:
        if field.name not in arguments and field.default is dataclasses.MISSING:
            raise InvalidInputError(
                f"a {field.name} after {model.name!r}",
                got=repr(spelling),
                fix=f"write {CODECS[field.name].example} there",
            )
    return arguments
