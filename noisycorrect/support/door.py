"""The door of public functions and classes: a caller's mistake is one clear error, whatever it broke further inside.

Most arguments are checked where they are used, by messages of their own. The door stands behind these: if a call ends
in a raw error of Python, NumPy or torch, it looks for the argument that is not as the signature says, and names it.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, overload

import numpy as np
import torch
from torch import Tensor, nn

from noisycorrect.support.errors import ArgumentError, InvalidInputError, NoisyCorrectError, unknown_name

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)

# Those that wrong values end in. What a program or a disk does (OSError, MemoryError) is nobody's argument.
RAW = (TypeError, AttributeError, ValueError, LookupError, ArithmeticError, RuntimeError, AssertionError)


_BOUND = ("self", "cls")  # what a method is called on

# What other libraries call the same.
_SYNONYMS: Mapping[str, str] = {
    "learning_rate": "lr", "n_epochs": "epochs", "num_epochs": "epochs", "max_epochs": "epochs", "preset": "recipe",
    "method": "recipe", "validation": "val", "valid": "val", "test": "val", "n_classes": "num_classes",
    "classes": "num_classes", "random_state": "seed", "verbose": "callbacks", "transform": "augment",
    "output_dir": "run_dir", "folder": "run_dir", "weights": "sample_weight", "workers": "num_workers",
}  # fmt: skip


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    scalar = isinstance(value, (np.ndarray, Tensor)) and value.ndim == 0
    return (isinstance(value, (int, float, np.integer, np.floating)) or scalar) and not isinstance(value, bool)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (Sequence, np.ndarray, Tensor)) and not isinstance(value, (str, bytes))


# What a value of an annotation is called, and whether one is; what stands in no row is not looked at.
_KINDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "None": ("None", lambda value: value is None),
    "int": ("a whole number", _is_whole),
    "float": ("a number", _is_number),
    "bool": ("True or False", lambda value: isinstance(value, (bool, np.bool_))),
    "str": ("a text", lambda value: isinstance(value, str)),
    "Path": ("a path", lambda value: isinstance(value, os.PathLike)),
    "os.PathLike[str]": ("a path", lambda value: isinstance(value, os.PathLike)),
    "Tensor": ("a tensor", lambda value: isinstance(value, Tensor)),
    "torch.Tensor": ("a tensor", lambda value: isinstance(value, Tensor)),
    "nn.Module": ("a network (nn.Module)", lambda value: isinstance(value, nn.Module)),
    "Optimizer": ("an optimizer of torch", lambda value: isinstance(value, torch.optim.Optimizer)),
    "torch.device": ("a device", lambda value: isinstance(value, torch.device)),
    "np.ndarray": ("an array", lambda value: isinstance(value, np.ndarray)),
    "NDArray": ("an array", lambda value: isinstance(value, np.ndarray)),
    "Callable": ("a function", lambda value: callable(value) and not isinstance(value, type)),
    "Mapping": ("a dict", lambda value: isinstance(value, Mapping)),
    "Sequence": ("a sequence", lambda value: isinstance(value, str) or _is_sequence(value)),
    "Iterable": ("several, in a list", lambda value: isinstance(value, Iterable)),
    "tuple": ("a tuple", _is_sequence),  # or what becomes one, an array say
    "list": ("a list", lambda value: isinstance(value, (tuple, list))),
}


def _alternatives(annotation: Any, names: Mapping[str, Any]) -> list[tuple[str, Callable[[Any], bool]]] | None:
    """Return the kinds that an annotation admits; None if there is one among them that cannot be looked at.

    `names` are those that the function's own module knows.
    """
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    found = []
    for part in re.split(r"\s*\|\s*(?![^\[]*\])", text.strip("'\" ")):
        kind = _KINDS.get(part) or _KINDS.get(part.partition("[")[0]) or _kind_of(names.get(part))
        if kind is None:
            return None
        found.append(kind)
    return found


def _kind_of(known: Any) -> tuple[str, Callable[[Any], bool]] | None:
    """Return the kind of a class, or of a few texts to choose from."""
    if typing.get_origin(known) is typing.Literal:
        choices = typing.get_args(known)
        listed = ", ".join(map(repr, choices))
        return f"one of {listed}", lambda value: isinstance(value, (str, int)) and value in choices
    runtime = not getattr(known, "_is_protocol", False) or getattr(known, "_is_runtime_protocol", False)
    if isinstance(known, type) and known is not Any and runtime:
        return f"an object of {known.__name__}", lambda value: isinstance(value, known)
    return None


def described(value: Any) -> str:
    """Return what an argument is, for a message: its type, dtype and shape, or the value itself if it is short.

    Examples
    --------
    >>> described(torch.zeros(2, 3)), described([1, 2]), described(None), described("a" * 100)
    ('Tensor float32 (2, 3)', '[1, 2]', 'None', 'str of 100')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None:
        of = "" if dtype is None else f" {str(dtype).removeprefix('torch.')}"
        return f"{type(value).__name__}{of} {tuple(shape)}" if isinstance(shape, tuple) else type(value).__name__
    if value is None or isinstance(value, (bool, int, float, str, bytes, list, tuple, dict, set, os.PathLike)):
        text = repr(value)
        return text if len(text) <= 60 else f"{type(value).__name__} of {len(value)}"  # type: ignore[arg-type]
    return f"an object of {type(value).__name__}"


def wrong_argument(
    function: Callable[..., Any], arguments: tuple[Any, ...], named: Mapping[str, Any]
) -> InvalidInputError | None:
    """Return the error about the first argument of a call that is not as the signature says; None if all are.

    Examples
    --------
    >>> def train(epochs: int, rate: float = 0.1): ...
    >>> print(wrong_argument(train, ("3",), {}))
    expected epochs of train to be a whole number; got '3'; to fix: see help(train)
    >>> print(wrong_argument(train, (3,), {"rat": 0.1}))
    expected a known argument of train; got 'rat'; to fix: did you mean 'rate'? Known: 'epochs', 'rate'
    """
    signature, name = inspect.signature(function), _name(function)
    names = [each for each, parameter in signature.parameters.items() if parameter.kind is not parameter.VAR_KEYWORD]
    names = [each for each in names if each not in _BOUND]
    free = any(parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values())
    unknown = [] if free else [each for each in named if each not in names]
    if unknown:
        meant = _SYNONYMS.get(unknown[0])
        if meant in names:
            fix = f"did you mean {meant!r}? Known: {', '.join(map(repr, sorted(names)))}"
            return ArgumentError(f"a known argument of {name}", got=repr(unknown[0]), fix=fix)
        return ArgumentError(str(unknown_name(f"argument of {name}", unknown[0], names)))
    try:
        bound = signature.bind(*arguments, **named)
    except TypeError as error:
        wanted = ", ".join(each for each in names)
        return ArgumentError(f"{name}({wanted})", got=str(error), fix=f"see help({name})")
    for each, value in bound.arguments.items():
        kinds = _alternatives(signature.parameters[each].annotation, getattr(function, "__globals__", {}))
        plain = signature.parameters[each].kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        if each not in _BOUND and plain and kinds and not any(accepts(value) for _, accepts in kinds):
            wanted = " or ".join(dict.fromkeys(what for what, _ in kinds))
            return InvalidInputError(f"{each} of {name} to be {wanted}", got=described(value), fix=f"see help({name})")
    return None


def _name(function: Callable[..., Any]) -> str:
    return function.__qualname__.removesuffix(".__init__").rpartition("<locals>.")[2]


def _documented(text: str) -> dict[str, str]:
    """Return what a docstring says that each parameter is: ``Tensor, shape (N, K)``."""
    return dict(re.findall(r"^(\w+) : (.+)$", inspect.cleandoc(text), re.MULTILINE))


def _unusable(
    function: Callable[..., Any], arguments: tuple[Any, ...], named: Mapping[str, Any], error: Exception, text: str
) -> InvalidInputError:
    """Return the error of a call whose arguments do not go together, in a way that nobody has foreseen."""
    bound = inspect.signature(function).bind(*arguments, **named).arguments
    documented = _documented(text)
    own = [name for name in bound if name in documented]
    expected = "; ".join(f"{name}: {documented[name]}" for name in own) or "arguments that go together"
    got = ", ".join(f"{name} {described(bound[name])}" for name in own)
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InvalidInputError(
        f"{_name(function)} with {expected}", got=f"{got} ({reason})", fix=f"pass them so; see help({_name(function)})"
    )


@overload
def door(function: Callable[P, R]) -> Callable[P, R]: ...
@overload
def door(*, own: bool) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def door(function: Any = None, *, own: bool = False) -> Any:
    """Make raw errors of a function or method that come of its arguments an :class:`InvalidInputError`.

    Parameters
    ----------
    function : callable
        The function; its good calls cost nothing.
    own : bool
        Nothing of the caller's runs inside (a model, a data set, a callback), so that every raw error comes of the
        arguments, also of those that only do not go together.

    Examples
    --------
    >>> @door
    ... def train(epochs: int): return [0] * epochs.bit_length()
    >>> train(epoch=3)
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.ArgumentError: expected a known argument of train; got 'epoch'; to fix: did you mean
    'epochs'? Known: 'epochs'
    """
    if function is None:
        return door_of_own if own else door_of_any
    return door_of_any(function)


def door_of_any(function: Callable[P, R]) -> Callable[P, R]:
    """Return the function behind a door that names arguments of wrong types and unknown ones."""
    return _behind(function, lambda arguments, named, error: wrong_argument(function, arguments, named))


def door_of_own(function: Callable[P, R], text: str = "") -> Callable[P, R]:
    """Return the function behind a door that no raw error leaves; `text` documents its arguments if it does not."""

    def explained(arguments: tuple[Any, ...], named: Mapping[str, Any], error: Exception) -> InvalidInputError:
        wrong = wrong_argument(function, arguments, named)
        return wrong or _unusable(function, arguments, named, error, function.__doc__ or text)

    return _behind(function, explained)


def _behind(function: Callable[P, R], explained: Callable[..., InvalidInputError | None]) -> Callable[P, R]:
    """Return the function, whose raw errors become what `explained` makes of them; None lets them be."""

    @functools.wraps(function)
    def opened(*arguments: P.args, **named: P.kwargs) -> R:
        try:
            return function(*arguments, **named)
        except NoisyCorrectError:
            raise
        except RAW as error:
            wrong = explained(arguments, named, error)
            if wrong is None:
                raise
            raise wrong from error

    return opened


def guard(cls: C, *, checks: bool = True) -> C:
    """Make the constructor of a class a door; return the class.

    Parameters
    ----------
    cls : type
        Its ``__init__`` is replaced by one of the same signature.
    checks : bool
        Look at the arguments of good calls, too: a value of a wrong type that is only kept would fail much later.

    Examples
    --------
    >>> @guard
    ... class Shares:
    ...     def __init__(self, cycles: int = 5) -> None: self.cycles = cycles
    >>> Shares("many")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected cycles of Shares to be a whole number; got 'many'; to fix:
    see help(Shares)
    """
    original: Any = cls.__init__  # type: ignore[misc]
    behind = door_of_own(original, cls.__doc__ or "")

    @functools.wraps(original)
    def made(self: Any, *arguments: Any, **named: Any) -> None:
        behind(self, *arguments, **named)
        wrong = wrong_argument(original, (self, *arguments), named) if checks else None
        if wrong is not None:
            raise wrong

    cls.__init__ = made  # type: ignore[misc]
    return cls
