"""Named things of one sort: those of this package, and those that other packages announce by entry points."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from noisycorrect.support.errors import InvalidInputError, unknown_name

T = TypeVar("T")


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

    def __init__(self, what: str, *, group: str) -> None:
        self.what = what
        self.group = group
        self._things: dict[str, T] = {}

    def register(self, name: str, thing: T) -> T:
        """Add a thing under a name of its own, and return it.

        Raises
        ------
        InvalidInputError
            If the name belongs to another thing.
        """
        if self._things.get(name, thing) is not thing:
            raise InvalidInputError(f"a new name for a {self.what}", got=repr(name), fix="choose another name")
        self._things[name] = thing
        return thing

    def __getitem__(self, name: str) -> T:
        if name not in self._things:
            announced = self._announced()
            if name not in announced:
                raise unknown_name(self.what, name, [*self._things, *announced])
            self._things[name] = announced[name].load()
        return self._things[name]

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

    def _announced(self) -> dict[str, importlib.metadata.EntryPoint]:
        return {entry.name: entry for entry in importlib.metadata.entry_points(group=self.group)}


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
