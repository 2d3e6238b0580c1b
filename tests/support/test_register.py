"""Registers: what this package has, what another one announces, and the folders that fill themselves."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest

from noisycorrect.recipe import RECIPES
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.register import Register, import_folder

GROUP = "noisycorrect.tests"


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        importlib.metadata.EntryPoint("theirs", "math:pi", GROUP),
        importlib.metadata.EntryPoint("broken", "a_package_that_is_not_there:THING", GROUP),
    ]
    monkeypatch.setattr("noisycorrect.support.register.announced", lambda group: entries if group == GROUP else [])


def test_things_of_other_packages_are_found_by_name(announced: None) -> None:
    things: Register[float] = Register("thing", group=GROUP)
    things.register("ours", 1.0)
    assert (list(things), len(things)) == (["ours", "theirs", "broken"], 3)
    assert "theirs" in things
    assert things["theirs"] == 3.141592653589793
    assert things.get("theirs") == things["theirs"]
    assert things.get("nothing", 2.0) == 2.0
    assert list(things) == ["ours", "theirs", "broken"]


def test_only_what_is_asked_for_is_imported(announced: None) -> None:
    things: Register[float] = Register("thing", group=GROUP)
    with pytest.raises(InvalidInputError, match="known thing; got 'their'; to fix: did you mean 'theirs'"):
        things["their"]
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        things["broken"]


def test_what_is_installed_meanwhile_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    things: Register[float] = Register("thing", group=GROUP)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert list(things) == []
    information = tmp_path / "theirs-0.1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 0.1\n")
    (information / "entry_points.txt").write_text(f"[{GROUP}]\ntheirs = math:pi\n")
    assert list(things) == ["theirs"]
    monkeypatch.undo()
    assert list(things) == []


def test_a_name_has_one_owner() -> None:
    things: Register[Any] = Register("thing", group=GROUP)
    first = object()
    assert things.register("same", first) is first
    assert things.register("same", first) is first
    with pytest.raises(InvalidInputError, match="a new name for a thing; got 'same'"):
        things.register("same", object())


def test_a_new_file_of_a_folder_is_named_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "toyfolder"
    folder.mkdir()
    folder.joinpath("__init__.py").write_text(
        "from noisycorrect.support.register import Register, import_folder\n"
        f"THINGS = Register('thing', group={GROUP!r})\n"
        "import_folder(__name__, __path__)\n"
    )
    folder.joinpath("new.py").write_text("from toyfolder import THINGS\nTHINGS.register('new', 1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    import toyfolder

    assert dict(toyfolder.THINGS) == {"new": 1}
    import_folder(toyfolder.__name__, toyfolder.__path__)
    for name in ("toyfolder", "toyfolder.new"):
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("name", [None, "", 3, float("nan")])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(InvalidInputError, match="a name for a"):
        RECIPES.register(name, RECIPES["paper"])
    assert all(isinstance(each, str) for each in RECIPES.loaded())
