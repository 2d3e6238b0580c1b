"""Wheel and sdist: both are built, the wheel is installed into a folder of its own and works from anywhere."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import noisycorrect

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
KEPT_OUT = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist", "runs", "docs", "tests")


def run(*words, cwd, **environment):
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return the folder that holds a wheel, made of the sdist, and the sdist; built without a network."""
    folder = tmp_path_factory.mktemp("built")
    # A copy: building leaves files behind, and other tests read this tree at the same time.
    shutil.copytree(ROOT, folder / "source", ignore=KEPT_OUT)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), cwd=folder / "source")
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Return a folder with the wheel alone; what it depends on is that of this environment."""
    target = tmp_path_factory.mktemp("installed")
    (wheel,) = built.glob("*.whl")
    options = ("--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", "--target", str(target))
    run(sys.executable, "-m", "pip", "install", *options, str(wheel), cwd=target)
    return target


def test_the_wheel_carries_every_file_of_the_packages_and_nothing_else(built):
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {
        path.relative_to(ROOT).as_posix()
        for package in ("noisycorrect", "noisycorrect_seg", "benchmarks")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"noisycorrect/py.typed", "noisycorrect_seg/py.typed", "benchmarks/lip.py"} <= names
    assert names == files


def test_the_sdist_builds_the_wheel_and_carries_the_licence(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "noisycorrect/__init__.py", "benchmarks/lip.py"} <= names


def test_an_installation_works_from_anywhere(installed):
    path = {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    code = "from importlib.util import find_spec; print(find_spec('noisycorrect').origin)"
    where = run(sys.executable, "-c", code, cwd="/", **path)
    assert Path(where.strip()).is_relative_to(installed)
    shown = run(sys.executable, "-m", "noisycorrect", "--version", cwd="/", **path)
    assert shown.strip() == f"noisycorrect {PROJECT['version']}"
    assert "python -m benchmarks.lip" in run(sys.executable, "-m", "benchmarks.lip", "--help", cwd="/", **path)


def test_one_version_everywhere():
    assert noisycorrect.__version__ == PROJECT["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [PROJECT["version"]]


def test_all_means_all_extras_for_users():
    extras = PROJECT["optional-dependencies"]
    (all_of_them,) = extras["all"]
    named = re.fullmatch(r"noisycorrect\[(.*)\]", all_of_them)[1].split(",")
    assert sorted(named) == sorted(extras.keys() - {"all", "dev", "docs"})


def test_every_requirement_has_a_floor_and_what_ci_installs_satisfies_it():
    pinned = dict(
        re.findall(r"^([\w.-]+)==([\d.]+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pinned.items()}
    extras = PROJECT["optional-dependencies"].values()
    wanted = [*PROJECT["dependencies"], *(each for extra in extras for each in extra)]
    for requirement in (each for each in wanted if not each.startswith("noisycorrect[")):
        name, floor = re.match(r"([\w.-]+)(?:\[[\w,]+\])?>=([\d.]+)", requirement).groups()
        version = pinned[re.sub(r"[-_.]+", "-", name).lower()]
        assert numbers(version) >= numbers(floor), requirement


def numbers(version):
    return [int(part) for part in version.split(".") if part]


def test_the_command_is_the_module():
    assert PROJECT["scripts"] == {"noisycorrect": "noisycorrect.cli:main"}
    tree = ast.parse((ROOT / "noisycorrect" / "__main__.py").read_text(encoding="utf-8"))
    assert "noisycorrect.cli" in {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def test_hooks_need_no_environment_of_ours_and_run_the_same_versions():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert "language: system" not in hooks
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    versions = re.findall(r"additional_dependencies: \[(.*)\]", hooks)
    assert versions
    assert set(versions) <= set(pinned)
