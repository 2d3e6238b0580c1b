"""How a noise model is spelled: `name:value:option=value:flag`, as in `symmetric:0.4:inclusive`.

One table decides which constructor arguments are spelled and how each is written and read. Arguments that are not in it
are material (arrays, files): they have no spelling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from noisycorrect.support.errors import InvalidInputError

if TYPE_CHECKING:
    from noisycorrect.classification.noise.base import NoiseModel


class Codec(NamedTuple):
    """How one argument is written and read."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]


def _read_bool(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"


def _write_mapping(mapping: Mapping[int, int]) -> str:
    return ",".join(f"{source}-{target}" for source, target in mapping.items())


def _read_mapping(text: str) -> dict[int, int]:
    mapping: dict[int, int] = {}
    for pair in text.split(","):
        source, target = pair.split("-")
        if int(source) in mapping:
            raise ValueError("one target a class")
        mapping[int(source)] = int(target)
    return mapping


def _write_matrix(matrix: Any) -> str:
    return "/".join(",".join(repr(float(entry)) for entry in row) for row in matrix)


def _read_matrix(text: str) -> list[list[float]]:
    return [[float(entry) for entry in row.split(",")] for row in text.split("/")]


_FLOAT = Codec(repr, float)
_BOOL = Codec(lambda value: str(value).lower(), _read_bool)
_WORD = Codec(str, str)

CODECS: Mapping[str, Codec] = {
    "rate": _FLOAT,
    "std": _FLOAT,
    "inclusive": _BOOL,
    "shared_weights": _BOOL,
    "sampling": _WORD,
    "normalise": _WORD,
    "key": _WORD,
    "mapping": Codec(_write_mapping, _read_mapping),
    "transition": Codec(_write_matrix, _read_matrix),
}


def spelled_fields(model: type[NoiseModel] | NoiseModel) -> list[dataclasses.Field[Any]]:
    """Return the constructor arguments that have a spelling; the first of them is written without its name."""
    # Every model is a dataclass, which the abstract base cannot promise to the type checker.
    return [field for field in dataclasses.fields(model) if field.name in CODECS]  # type: ignore[arg-type]


def spell_model(model: NoiseModel) -> str:
    """Return the shortest spelling of a model: its name, its value, and the options that differ from their defaults."""
    parts = [model.name]
    for position, field in enumerate(spelled_fields(model)):
        value = getattr(model, field.name)
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        if default is not dataclasses.MISSING and value == default:
            continue
        text = CODECS[field.name].write(value)
        if position == 0:
            parts.append(text)
        else:
            parts.append(field.name if value is True else f"{field.name}={text}")
    return ":".join(parts)


def read_value(spelling: str, name: str, text: str) -> Any:
    """Return the argument `name` from its text; `spelling` is the whole, for the error."""
    try:
        return CODECS[name].read(text)
    except ValueError:
        example = {
            "mapping": "from-to pairs as in 'mapping=9-1,2-0'",
            "transition": "rows as in '0.9,0.1/0.2,0.8'",
        }.get(name, "'true' or 'false'" if CODECS[name] is _BOOL else "a number as in '0.4'")
        raise InvalidInputError(f"a readable {name} in {spelling!r}", got=repr(text), fix=f"write {example}") from None
