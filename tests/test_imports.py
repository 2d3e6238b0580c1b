"""The walls between the rooms: imports run one way, and no file is part of a circle."""

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each room may import from the rows before it, and from itself.
ROOMS = {
    "noisycorrect": [
        ["support"],
        ["cycle", "labels"],
        ["data", "review"],
        ["features"],
        ["task"],
        ["outputs"],
        ["correction"],
        ["objective"],
        ["recipe"],
        ["saved", "inference"],
        ["result"],
        ["training"],
        ["callbacks"],
        ["corrector"],
        ["classification", "multilabel", "tokens"],
        ["integrations"],
        ["export"],
        ["tables"],
        ["cli"],
        ["__main__"],
    ],
    "noisycorrect_seg": [
        ["masks"],
        ["colours"],
        ["classes", "inputs", "outputs"],
        ["geometry", "class_maps"],
        ["hub"],
        ["losses", "noise", "scores", "ace2p", "people", "checks"],
        ["instances"],
        ["datasets", "review"],
        ["sessions"],
        ["kind"],
        ["task"],
        ["inference", "methods"],
        ["detection", "export", "formats", "tryon"],
        ["video"],
        ["deploy"],
        ["cli"],
    ],
}
FOREIGN = {
    "noisycorrect": {"torch", "numpy", "scipy", "h5py", "rich", "sklearn"},
    "noisycorrect_seg": {"torch", "numpy", "scipy", "h5py", "rich", "noisycorrect", "PIL"},  # the extra `seg`
}
FLOOR = {
    (package, room): floor for package, rows in ROOMS.items() for floor, rooms in enumerate(rows) for room in rooms
}
SOURCES = [path for package in ROOMS for path in sorted((ROOT / package).rglob("*.py"))]


def statements(node):
    """Yield the statements within a node, not what they are made of: most of a tree is."""
    for part in ("body", "handlers", "orelse", "finalbody", "cases"):
        for inside in getattr(node, part, ()):
            yield inside
            yield from statements(inside)


def imports(path):
    """Return (module, whether at the top of the file) of every absolute import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(tree.body)
    for node in statements(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node in top
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in top


def room_of(module):
    """Return (package, room) of a module of ours, None for a package itself and for what is not ours."""
    package, *parts = module.split(".")
    return (package, parts[0]) if parts and (package, parts[0]) in FLOOR else None


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    package, *parts = path.relative_to(ROOT).with_suffix("").parts
    inside = (package, parts[0])
    if parts[0] == "__init__":
        return
    assert inside in FLOOR, f"{path} is in no room: put it into ROOMS"
    for module, at_top in imports(path):
        name = module.split(".")[0]
        if name == package:
            other = room_of(module)
            assert other is not None, f"{path} imports the package itself"
            assert other == inside or FLOOR[other] < FLOOR[inside], f"{inside} imports {other}"
        elif name in ("noisycorrect", "noisycorrect_seg", "benchmarks", "tests") or at_top:
            assert name in FOREIGN[package] | set(sys.stdlib_module_names), f"{path} imports {module}"


def test_no_statement_is_overlooked():
    code = (
        "try:\n a\nexcept B:\n b\nelse:\n c\nfinally:\n d\n"
        "match x:\n case 1:\n  with y:\n   e\nfor z in y:\n f\nelse:\n g\n"
        "class A:\n async def b():\n  while 1:\n   h\n  else:\n   i\nif j:\n k\nelif l:\n m\nelse:\n n"
    )
    tree = ast.parse(code)
    names = [node.value.id for node in statements(tree) if isinstance(node, ast.Expr)]
    assert names == list("abcdefghikmn")


def test_every_room_exists():
    for package, rows in ROOMS.items():
        for room in (room for row in rows for room in row):
            assert (ROOT / package / room / "__init__.py").exists() or (ROOT / package / f"{room}.py").exists(), room


def test_no_file_is_part_of_a_circle():
    """Also not by imports for types alone, or inside a function."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in SOURCES}
    graph = {}
    for name, path in names.items():
        found = set()
        for module, _ in imports(path):
            owner = module if module in names else module.rpartition(".")[0]
            if owner in names and owner != name:
                found.add(owner)
        graph[name] = found
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_importing_loads_nothing_that_takes_a_while():
    """What needs these imports them; `python -m benchmarks.speed --rows import` measures what is left beside torch."""
    heavy = ["scipy", "sklearn", "h5py", "rich", "pandas", "matplotlib", "PIL", "torchvision", "http.server"]
    code = f"""
import json, sys, torch
before = set(sys.modules)
import noisycorrect
from noisycorrect import SelfCorrector, RECIPES, fit_votes
assert "elr" in RECIPES and "robust" in RECIPES
print(json.dumps([name for name in {heavy} if name in sys.modules and name not in before]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == []


def test_the_rule_sees_what_it_forbids(tmp_path):
    source = tmp_path / "errors.py"
    source.write_text("import noisycorrect.corrector\nfrom noisycorrect.labels import store\n")
    assert [room_of(module) for module, _ in imports(source)] == [
        ("noisycorrect", "corrector"),
        ("noisycorrect", "labels"),
    ]


def test_comparisons_are_never_thrown_away():
    """A bare `torch.equal(a, b)` asserts nothing."""
    names = {"allclose", "isclose", "array_equal", "equal", "exists", "is_file"}
    for path in [*(ROOT / "tests").rglob("*.py"), *SOURCES]:
        for node in statements(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Expr):
                continue
            call = node.value
            name = getattr(call.func, "attr", "") if isinstance(call, ast.Call) else ""
            assert not isinstance(call, ast.Compare), f"{path}:{node.lineno}"
            assert name not in names, f"{path}:{node.lineno}"
