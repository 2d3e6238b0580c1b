"""The digest of sources: what a result can reach counts, and only what the interpreter acts on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.lab import sources
from benchmarks.lab.sources import behaviour, reached, sources_digest

FILES = {
    "start": "from made_up import inner\nTYPE_CHECKING = False\nif TYPE_CHECKING:\n    import made_up.typed\n",
    "inner": "import made_up.deep\nTABLE = {1: 2}\nTABLE[2] = 3\n",
    "deep": "def f():\n    import made_up.late\n    return 1\n",
    "late": "x = 1\n",
    "typed": "x = 1\n",
    "elsewhere": "x = 1\n",
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    folder = tmp_path / "made_up"
    folder.mkdir()
    monkeypatch.delitem(sys.modules, "made_up", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sources, "_OWN", ("made_up",))

    def write(name: str, text: str) -> None:
        (folder / f"{name}.py").write_text(text)
        for cached in (sources._source, sources._path, sources.imported):
            cached.cache_clear()

    for name, text in {"__init__": "", **FILES}.items():
        write(name, text)
    return write


def digest(**options: tuple[str, ...]) -> str:
    return sources_digest(["made_up.start"], **options)


def test_imports_are_followed_but_not_those_for_types(write: Callable[[str, str], None]) -> None:
    names = ["made_up.deep", "made_up.inner", "made_up.late", "made_up.start"]
    assert reached(frozenset({"made_up.start"})) == names
    assert reached(frozenset({"made_up.start"}), frozenset({"made_up.inner"})) == ["made_up.inner", "made_up.start"]


@pytest.mark.parametrize("name", ["start", "inner", "deep", "late"])
def test_a_changed_source_changes_the_digest(write: Callable[[str, str], None], name: str) -> None:
    before = digest()
    write(name, FILES[name] + "y = 2\n")
    assert digest() != before


def test_what_changes_no_behaviour_does_not(write: Callable[[str, str], None]) -> None:
    before = digest()
    write("late", '"""What it is."""\n\nx  =  1  # one\n')
    write("typed", "x = 2\n")
    write("elsewhere", "x = 2\n")
    write("deep", 'def f():\n    """Say one."""\n    import made_up.late\n\n    return 1\n')
    assert digest() == before
    write("deep", "def f():\n    import made_up.late\n    return 2\n")
    assert digest() != before


def test_tables_are_left_out_and_closed_modules_are_not_followed(write: Callable[[str, str], None]) -> None:
    options = {"tables": ("TABLE",), "closed": ("made_up.inner",)}
    before, whole = digest(**options), digest()
    write("inner", FILES["inner"].replace("3", "4"))
    write("late", "x = 2\n")
    assert digest(**options) == before
    assert digest() != whole
    write("inner", FILES["inner"] + "other = 1\n")
    assert digest(**options) != before


def test_a_renamed_module_and_a_missing_one(write: Callable[[str, str], None]) -> None:
    write("start", "import made_up.late\n")
    before = digest()
    write("start", "import made_up.elsewhere\n")
    assert digest() != before
    with pytest.raises(ModuleNotFoundError):
        sources_digest(["made_up.nowhere"])


def test_a_docstring_alone_is_an_empty_body() -> None:
    assert behaviour('class A:\n    """Nothing."""\n') == behaviour("class A:\n    pass\n")
    assert behaviour("def f():\n    return '''text'''\n") != behaviour("def f():\n    return 1\n")
