"""Every error and warning a caller can meet, in messages that say expected, got and how to fix."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable

_NOT_THE_CALLER = ("noisycorrect", "noisycorrect_seg", "contextlib")


class NoisyCorrectError(Exception):
    """Base class of all errors raised by this package.

    Parameters
    ----------
    expected : str
        What was expected; or, alone, the whole message.
    got : str, optional
        What was found instead; with it the message is one line, whatever is quoted.
    fix : str, optional
        What the caller can do about it.

    Examples
    --------
    >>> raise InvalidInputError("labels in 0..9", got="11 at index 3", fix="raise num_classes to 12")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected labels in 0..9; got 11 at index 3; to fix: raise num_classes
    to 12
    """

    # A message alone must rebuild the error: DataLoader workers and pickle re-raise with the message as only argument.
    def __init__(self, expected: str, *, got: str | None = None, fix: str | None = None) -> None:
        parts = [expected if got is None else f"expected {expected}; got {got}"]
        if fix is not None:
            parts.append(f"to fix: {fix}")
        super().__init__("; ".join(parts) if got is None else "; ".join(" ".join(part.split()) for part in parts))


class InvalidInputError(NoisyCorrectError, ValueError):
    """An argument, a label or a data set is not what the function accepts."""


class ArgumentError(InvalidInputError, TypeError):
    """An argument has a name that the function does not know, or one is missing."""


class StoreError(NoisyCorrectError):
    """A label store cannot be read or written, or belongs to other data."""


class StaleGenerationError(StoreError):
    """A batch or reader carries labels of another generation than the current one."""


class CheckpointError(NoisyCorrectError):
    """A checkpoint cannot be read, or belongs to another model or run."""


class RunInUseError(NoisyCorrectError):
    """Another process works on the same run folder."""


class NonFiniteLossError(NoisyCorrectError, ArithmeticError):
    """The training loss became NaN or infinite."""


class TrainingWarning(UserWarning):
    """A run has diverged or stands still, or is about to: the message says by what this is seen, and how to fix it."""


def warn_of_training(expected: str, got: str, fix: str) -> None:
    """Issue a :class:`TrainingWarning`, worded as errors are, at the line of the caller's code that led here."""
    warn_caller(f"expected {expected}; got {got}; to fix: {fix}", TrainingWarning)


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning at the line of the caller's code that led here: Python shows it once, without being asked.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_caller("2 masks have no image")
    >>> caught[0].category.__name__, str(caught[0].message)
    ('UserWarning', '2 masks have no image')
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in _NOT_THE_CALLER:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def what_was_got(error: NoisyCorrectError) -> str:
    """Return what an error says was got, to be quoted in another one: two fixes in one message are none.

    Examples
    --------
    >>> what_was_got(InvalidInputError("labels in 0..9", got="11 at index 3", fix="raise num_classes to 12"))
    '11 at index 3'
    """
    found = str(error).partition("; to fix: ")[0]
    return found.partition("; got ")[2] or found


def unknown_name(kind: str, name: object, known: Iterable[str]) -> InvalidInputError:
    """Return the error for a name that is not among the known ones, with the nearest one as a suggestion.

    Examples
    --------
    >>> print(unknown_name("noise model", "symetric", ["symmetric", "pairflip"]))
    expected a known noise model; got 'symetric'; to fix: did you mean 'symmetric'? Known: 'pairflip', 'symmetric'
    """
    choices = sorted(known)
    nearest = difflib.get_close_matches(str(name), choices, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    listed = ", ".join(repr(choice) for choice in choices)
    return InvalidInputError(f"a known {kind}", got=repr(name), fix=f"{hint}Known: {listed}")
