"""From a spelling such as `symmetric:0.4:inclusive` to the noise model."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from noisycorrect.classification.noise.base import NoiseModel
from noisycorrect.classification.noise.checks import ArrayLike
from noisycorrect.classification.noise.class_conditional import ClassConditional
from noisycorrect.classification.noise.feature import FeatureDependent, Teacher
from noisycorrect.classification.noise.human import Human, Source
from noisycorrect.classification.noise.instance import InstanceDependent
from noisycorrect.classification.noise.open_set import OpenSet
from noisycorrect.classification.noise.spec import read_value, spelled_fields
from noisycorrect.classification.noise.transition import Asymmetric, NoNoise, PairFlip, Symmetric
from noisycorrect.support.errors import InvalidInputError, unknown_name

MODELS: Mapping[str, type[NoiseModel]] = MappingProxyType(
    {
        model.name: model
        for model in (
            NoNoise,
            Symmetric,
            PairFlip,
            Asymmetric,
            ClassConditional,
            InstanceDependent,
            FeatureDependent,
            OpenSet,
            Human,
        )
    }
)
"""Every noise model for class labels, by its name."""


def parse(
    spelling: str,
    *,
    human_labels: Source | None = None,
    pool: ArrayLike | None = None,
    teacher_probs: Teacher | None = None,
) -> NoiseModel:
    """Return the noise model of a spelling; the inverse of `str(model)`.

    A spelling is `name`, `name:value` or `name:value:option=value:flag`: `none`, `symmetric:0.4:inclusive`,
    `pairflip:0.2:sampling=bernoulli`, `asymmetric:0.4:mapping=9-1,2-0`, `classconditional:0.9,0.1/0.2,0.8`,
    `instance:0.4:std=0.2`, `feature:0.3`, `openset:0.2`, `human:random1`.

    Parameters
    ----------
    spelling : str
        As above.
    human_labels : array-like or path-like, optional
        Where `human` finds its labels.
    pool : array-like, shape (M, ...), optional
        The foreign inputs of `openset`.
    teacher_probs : array-like of shape (N, K) or callable, optional
        The teacher of `feature`.

    Returns
    -------
    NoiseModel
        The model. Arrays and files are no part of a spelling: a caller that reads spellings from users passes what it
        has, and the model takes what it needs.

    Raises
    ------
    InvalidInputError
        If the name or an option is unknown, the value is missing or unreadable, or the model refuses it.

    Examples
    --------
    >>> parse("symmetric:0.4")
    Symmetric(rate=0.4, inclusive=False, sampling='exact')
    >>> str(parse("symmetric:0.4:inclusive"))
    'symmetric:0.4:inclusive'
    """
    if not isinstance(spelling, str):
        raise InvalidInputError("a spelling such as 'symmetric:0.4'", got=repr(spelling), fix="pass a string")
    name, *parts = spelling.strip().split(":")
    if name not in MODELS:
        raise unknown_name("noise model", name, MODELS)
    model = MODELS[name]
    arguments = _arguments(spelling, model, parts)
    if model is Human:
        arguments["labels_or_path"] = human_labels
    elif model is OpenSet:
        arguments["pool"] = pool
    elif model is FeatureDependent:
        arguments["teacher_probs"] = teacher_probs
    return model(**arguments)


def _arguments(spelling: str, model: type[NoiseModel], parts: list[str]) -> dict[str, Any]:
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
        arguments[option] = read_value(spelling, option, text)
    # A rate and a matrix have no default; the key of human labels has one, because an array needs none.
    if names and names[0] != "key" and names[0] not in arguments:
        example = "0.9,0.1/0.2,0.8" if names[0] == "transition" else "0.4"
        raise InvalidInputError(
            f"a {names[0]} after {model.name!r}", got=repr(spelling), fix=f"write '{model.name}:{example}'"
        )
    return arguments
