"""The walls between the rooms: imports run one way."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each room may import from those before it, and from itself.
LAYERS = [
    ["support"],
    ["cycle", "labels"],
    ["data"],
    ["task"],
    ["review"],
    ["correction"],
    ["objective"],
    ["recipe", "result"],
    ["training"],
    ["callbacks"],
    ["corrector"],
    ["classification"],
    ["cli"],
]
SEG_LAYERS = [
    ["classes", "outputs"],
    ["geometry", "losses", "noise", "metrics", "ace2p", "visualise", "people"],
    ["datasets"],
    ["task"],
    ["inference", "export", "methods"],
    ["cli"],
]
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
SEG_LAYER = {room: number for number, rooms in enumerate(SEG_LAYERS) for room in rooms}
FOREIGN = {"torch", "numpy", "scipy", "h5py", "rich", "sklearn", "noisycorrect"}
# A package that a room may import inside a function, where a user asks for it.
OPTIONAL = {"integrations": {"lightning"}, "report": {"matplotlib"}}


def imports(path):
    """Return (module, whether at the top of the file) of every absolute import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node in top
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node in top


def room(module):
    """Return the room of a module of ours, None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYER else None


SOURCES = sorted((ROOT / "noisycorrect").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    inside = path.relative_to(ROOT / "noisycorrect").with_suffix("").parts[0]
    if inside == "__init__":
        return
    assert inside in LAYER, f"{path} is in no room: put it into LAYERS"
    for module, at_top in imports(path):
        name = module.split(".")[0]
        assert name not in ("noisycorrect_seg", "benchmarks", "tests"), f"{path} imports {module}"
        if name == "noisycorrect":
            other = room(module)
            assert other is not None, f"{path} imports the package itself"
            assert LAYER[other] <= LAYER[inside], f"{inside} imports {other}"
        elif at_top and name not in FOREIGN:
            assert name in __import__("sys").stdlib_module_names, f"{path} imports {name} at the top"


SEG_SOURCES = sorted((ROOT / "noisycorrect_seg").rglob("*.py"))


@pytest.mark.parametrize("path", SEG_SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_of_segmentation_run_one_way(path):
    inside = path.relative_to(ROOT / "noisycorrect_seg").with_suffix("").parts[0]
    if inside == "__init__":
        return
    assert inside in SEG_LAYER, f"{path} is in no room: put it into SEG_LAYERS"
    for module, at_top in imports(path):
        package, *parts = module.split(".")
        assert package not in ("benchmarks", "tests"), f"{path} imports {module}"
        if package == "noisycorrect_seg":
            other = next((part for part in parts if part in SEG_LAYER), None)
            assert other is not None, f"{path} imports the package itself"
            assert SEG_LAYER[other] <= SEG_LAYER[inside], f"{inside} imports {other}"
        elif at_top and package not in FOREIGN | {"PIL"}:  # the extra `seg`
            assert package in __import__("sys").stdlib_module_names, f"{path} imports {package} at the top"


def test_the_rule_sees_what_it_forbids(tmp_path):
    source = tmp_path / "errors.py"
    source.write_text("import noisycorrect.corrector\nfrom noisycorrect.labels import store\n")
    assert [room(module) for module, _ in imports(source)] == ["corrector", "labels"]


def test_comparisons_are_never_thrown_away():
    """A bare `torch.equal(a, b)` asserts nothing."""
    names = {"allclose", "isclose", "array_equal", "equal", "exists", "is_file"}
    for path in [*(ROOT / "tests").rglob("*.py"), *SOURCES, *SEG_SOURCES]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Expr):
                continue
            call = node.value
            name = getattr(call.func, "attr", "") if isinstance(call, ast.Call) else ""
            assert not isinstance(call, ast.Compare), f"{path}:{node.lineno}"
            assert name not in names, f"{path}:{node.lineno}"
