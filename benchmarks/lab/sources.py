"""Which sources a result depends on: the import closure of some modules, without what changes no behaviour."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Collection, Iterator
from pathlib import Path

_OWN = ("noisycorrect", "noisycorrect_seg", "benchmarks")
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def sources_digest(roots: Collection[str], *, closed: Collection[str] = (), tables: Collection[str] = ()) -> str:
    """Return a digest of the sources of some modules and of all of ours that they import, directly or not.

    Comments, docstrings and layout do not count. Nor does a package's ``__init__``, which collects names: whoever needs
    a module of a package that is imported by the package's name adds it to the roots.

    Parameters
    ----------
    roots : collection of str
        Names of modules, such as ``"noisycorrect.corrector"``.
    closed : collection of str
        Modules whose own imports are not followed.
    tables : collection of str
        Names that are assigned in some of the modules and are left out, because what the result takes of them is known
        otherwise.

    Raises
    ------
    ModuleNotFoundError
        If there is no such module.

    Examples
    --------
    >>> len(sources_digest(["benchmarks.lab.sources"]))
    16
    """
    digest = hashlib.sha256()
    for name in reached(frozenset(roots), frozenset(closed)):
        digest.update(f"{name}\0{behaviour(_source(name), frozenset(tables))}\0".encode())
    return digest.hexdigest()[:16]


def reached(roots: frozenset[str], closed: frozenset[str] = frozenset()) -> list[str]:
    """Return the sorted names of the modules of :func:`sources_digest`.

    Examples
    --------
    >>> reached(frozenset({"benchmarks.lab.rows"}))
    ['benchmarks.lab.rows', 'noisycorrect.support.errors']
    """
    found: set[str] = set()
    open_ones = list(roots)
    while open_ones:
        name = open_ones.pop()
        if name not in found:
            found.add(name)
            if name not in closed:
                open_ones += imported(name)
    return sorted(found)


@functools.cache
def imported(name: str) -> tuple[str, ...]:
    """Return the modules of ours that a module imports anywhere, but for types alone; packages are left out."""
    names: set[str] = set()
    for node in _running(ast.parse(_source(name))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(sorted(n for n in names if n.split(".")[0] in _OWN and (p := _path(n)) and p.stem != "__init__"))


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module but for the bodies of ``if TYPE_CHECKING``."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING"):
            yield from _running(child)


@functools.cache
def behaviour(source: str, tables: frozenset[str] = frozenset()) -> str:
    """Return what of a source the interpreter acts on, as text, without the assignments to some names.

    Examples
    --------
    >>> behaviour("x = 1  # one") == behaviour("x  =  1") != behaviour("x = 2")
    True
    >>> behaviour("x = {}; y = 1; x |= {1: 2}", frozenset({"x"})) == behaviour("y = 1")
    True
    """
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not (_assigned(node) & tables)]
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def _assigned(node: ast.stmt) -> set[str]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    bases = [target.value if isinstance(target, ast.Subscript) else target for target in targets]
    return {base.id for base in bases if isinstance(base, ast.Name)}


@functools.cache
def _path(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ModuleNotFoundError, ValueError):  # a name inside a module, which is no module itself
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


@functools.cache
def _source(name: str) -> str:
    path = _path(name)
    if path is None:
        raise ModuleNotFoundError(name)
    return path.read_text(encoding="utf-8")
