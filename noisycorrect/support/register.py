"""Named things of one sort: those of this package, and those that other packages announce by entry points."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Generic, TypeVar

from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, unknown_name

T = TypeVar("T")


def announced(group: str) -> tuple[EntryPoint, ...]:
    """Return what installed packages announce under a group of entry points.

    Examples
    --------
    >>> announced("noisycorrect.nothing")
    ()
    """
    return _announced(group, tuple(map(_changed, sys.path)))


def _changed(folder: str) -> tuple[str, int]:
    """Return a folder that packages are installed in, and when one was installed last."""
    try:
        return folder, Path(folder).stat().st_mtime_ns
    except OSError:
        return folder, 0


@functools.lru_cache(maxsize=32)
def _announced(group: str, places: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    # The metadata of all that is installed is read: tens of milliseconds, more than a small run takes.
    return tuple(importlib.metadata.entry_points(group=group))


class Register(Mapping[str, T], Generic[T]):
    """A table of named things that a new file, or another package, adds to without touching an old one.

    Another package announces a thing in its ``pyproject.toml``, under the register's group; it is imported when it is
    asked for by name::

        [project.entry-points."noisycorrect.recipes"]
        mine = "my_package.recipes:MINE"

    Parameters
    ----------
    what : str
        What messages call one of them, such as ``"recipe"``.
    group : str
        Group of entry points, such as ``"noisycorrect.recipes"``.
    accepts : callable, optional
        ``accepts(thing)``: whether it is one of them. Default: everything is.
    expected : str
        What messages say that it has to be.

    Examples
    --------
    >>> recipes = Register[int]("recipe", group="noisycorrect.examples")
    >>> recipes.register("plain", 1)
    1
    >>> recipes["plain"], list(recipes)
    (1, ['plain'])
    >>> recipes["plian"]
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected a known recipe; got 'plian'; to fix: did you mean 'plain'?
    Known: 'plain'
    """

    def __init__(
        self,
        what: str,
        *,
        group: str,
        accepts: Callable[[Any], bool] = lambda thing: True,
        expected: str = "",
    ) -> None:
        self.what = what
        self.group = group
        self._accepts = accepts
        self._expected = expected
        self._things: dict[str, T] = {}

    @door(own=True)
    def register(self, name: str, thing: T, *, replace: bool = False) -> T:
        """Add a thing under a name of its own, and return it; `replace` lets it take the place of another.

        Raises
        ------
        InvalidInputError
            If the name is none or belongs to another thing, or this is no such thing.
        """
        if not isinstance(name, str) or not name:
            raise InvalidInputError(f"a name for a {self.what}", got=repr(name), fix='pass a text, such as "mine"')
        if self._things.get(name, thing) is not thing and not replace:
            fix = "choose another name, or pass replace=True"
            raise InvalidInputError(f"a new name for a {self.what}", got=repr(name), fix=fix)
        self._things[name] = self._checked(name, thing)
        return thing

    def _checked(self, name: str, thing: Any) -> Any:
        if not self._accepts(thing):
            got = f"the class {thing.__name__}" if isinstance(thing, type) else repr(thing)
            raise InvalidInputError(f"the {self.what} {name!r} to be {self._expected}", got=got, fix="register one")
        return thing

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            announced = self._announced()
            if name not in announced:
                raise unknown_name(self.what, name, [*self._things, *announced])
            self._things[name] = self._checked(name, announced[name].load())
        return self._things[name]

    def loaded(self) -> dict[str, T]:
        """Return what this process has registered or asked for, by name; nothing is imported for it."""
        return dict(self._things)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the thing of that name, or `default`."""
        return self[name] if name in self else default  # noqa: SIM401 - this is `get`

    def __contains__(self, name: object) -> bool:
        return name in self._things or name in self._announced()

    def __iter__(self) -> Iterator[str]:
        return iter({**self._things, **self._announced()})

    def __len__(self) -> int:
        return len({**self._things, **self._announced()})

    def __repr__(self) -> str:
        return f"<register of {self.group}: {', '.join(self)}>"

    def _announced(self) -> dict[str, EntryPoint]:
        return {entry.name: entry for entry in announced(self.group)}


def import_folder(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, so that what they register is there: a new file is named nowhere else.

    Parameters
    ----------
    package : str
        The package's ``__name__``; it calls this at the end of its own ``__init__``.
    path : iterable of str
        Its ``__path__``.

    Examples
    --------
    >>> import noisycorrect.support as package
    >>> import_folder(package.__name__, package.__path__)
    """
    for module in pkgutil.iter_modules(path, f"{package}."):
        importlib.import_module(module.name)
