"""Print the oldest versions that pyproject.toml admits, as a file of constraints; or install and test them.

python -m tools.floors                 # the constraints, a line a package
python -m tools.floors --run FOLDER    # make a virtual environment there, install the floors, run the quick suite
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = ("plot", "seg")  # what is installed beside the core
RUNNER = ("pytest", "hypothesis")  # not under test, so as constraints.txt has them
# A part of the suite that takes each dependency by its corners: the store, the loop, features and review, the command
# line, masks and the exporter. Minutes, not for every run of CI.
SUITE = [
    "tests/contracts/test_callbacks.py",
    "tests/contracts/test_kinds.py",
    "tests/contracts/test_noise_models.py",
    "tests/contracts/test_stores.py",
    "tests/labels",
    "tests/features",
    "tests/data",
    "tests/support/test_rank_agreement.py",
    "tests/test_corrector.py",
    "tests/test_result.py",
    "tests/test_cli.py",
    "tests/seg/test_export.py",
    "noisycorrect/classification",
    "noisycorrect/labels",
]
# The exporter of torch 2.6 warns of constants that it made itself ("Attempted to insert a get_attr Node"), and warnings
# are errors here, too.
WITHOUT = "tests/seg/test_export.py::test_a_program_parses_images"


def floors(project: dict[str, object]) -> Iterator[str]:
    """Yield ``name==oldest version`` of each requirement of the core and of the extras under test.

    Raises
    ------
    ValueError
        If a requirement has no floor.

    Examples
    --------
    >>> extras = {"plot": [], "seg": ["pillow>=10.3,<14"]}
    >>> list(floors({"dependencies": ["numpy>=1.26"], "optional-dependencies": extras}))
    ['numpy==1.26', 'pillow==10.3']
    """
    extras = project["optional-dependencies"]
    assert isinstance(extras, dict)
    core = project["dependencies"]
    assert isinstance(core, list)
    for requirement in [*core, *(each for extra in EXTRAS for each in extras[extra])]:
        found = re.match(r"([\w.-]+)(?:\[[\w,]+\])?>=([\w.]+)", requirement)
        if found is None:
            raise ValueError(f"expected a floor, as in 'numpy>=1.26'; got {requirement!r}")
        yield "==".join(found.groups())


def run(folder: Path, python: str) -> int:
    """Install the floors into a virtual environment, run the quick suite there, and return its exit status."""
    wanted = list(floors(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]))
    if not (folder / "bin" / "python").exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==(.*)$", constraints, re.MULTILINE))
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *wanted, *(f"{name}=={pinned[name]}" for name in RUNNER)], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", str(ROOT)], check=True)  # for the entry points
    words = [str(folder / "bin" / "python"), "-m", "pytest", "--deselect", WITHOUT, *SUITE]
    return subprocess.run(words, cwd=ROOT, check=False).returncode


def main() -> int:
    """Do what the words of the command line say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="virtual environment to make, or to use again")
    parser.add_argument("--python", default=sys.executable, help="interpreter it is made with (default: this one)")
    options = parser.parse_args()
    if options.run:
        return run(options.run, options.python)
    print(*floors(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
