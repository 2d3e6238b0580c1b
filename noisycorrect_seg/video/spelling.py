"""How a function that results depend on is spelled, so that a later run knows whether it is given the same one."""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable
from typing import Any

UNTOLD = "cannot be told: "  # what the spelling of a function begins with that may be another by the same name


def spelled(function: Callable[..., Any]) -> str:
    """Return how a function is called that is found under its name in its module, or what says that it is not.

    A lambda, a function within a function, or an object may be another one next time, with other weights say. An object
    that has a string as its ``digest`` is told by that, and a ``functools.partial`` of numbers and strings by these.

    Examples
    --------
    >>> spelled(spelled)
    'noisycorrect_seg.video.spelling.spelled'
    >>> spelled(functools.partial(spelled, 1, key="a"))
    "noisycorrect_seg.video.spelling.spelled(1, key='a')"
    >>> spelled(lambda frame: frame)
    'cannot be told: <lambda>'
    """
    if isinstance(function, functools.partial):
        inner = spelled(function.func)
        given = [*function.args, *function.keywords.values()]
        if inner.startswith(UNTOLD) or not all(isinstance(each, (str, int, float, type(None))) for each in given):
            return f"{UNTOLD}partial of {inner.removeprefix(UNTOLD)}"
        named = [f"{name}={value!r}" for name, value in sorted(function.keywords.items())]
        return f"{inner}({', '.join([*map(repr, function.args), *named])})"
    kind = type(function)
    digest = getattr(function, "digest", None)
    if isinstance(digest, str):
        return f"{kind.__module__}.{kind.__qualname__} {digest}"
    name, module = getattr(function, "__qualname__", None), getattr(function, "__module__", None)
    if name is None or module is None:
        return f"{UNTOLD}{kind.__qualname__}"
    try:
        found = operator.attrgetter(name)(sys.modules[module])
    except (AttributeError, KeyError):
        found = None
    return f"{module}.{name}" if found is function else f"{UNTOLD}{name}"
