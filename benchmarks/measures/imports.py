"""What importing the package costs: a row of `python -m benchmarks.speed`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

import noisycorrect
from benchmarks.lab.measurement import Measurement

CLOCKS = {"wall": "perf_counter", "processor": "process_time"}


def measure_import(folder: Path, repeats: int) -> list[Measurement]:
    """Measure importing the package against importing torch, in turns, each in a new interpreter."""
    statements = ("import noisycorrect", "import torch")
    pairs = [tuple(_seconds(statement, folder) for statement in statements) for _ in range(repeats + 1)][1:]
    rows = []
    for place, clock in enumerate(CLOCKS):
        ours, torchs = ([pair[side][place] for pair in pairs] for side in (0, 1))
        ratio = statistics.median(own / other for own, other in zip(ours, torchs, strict=True))
        medians = statistics.median(ours), statistics.median(torchs)
        note = "new interpreters, without their own start"
        rows.append(Measurement(f"import, {clock} time", "import torch", *medians, "s", ratio, 1.15, note))
    return rows


def _seconds(statement: str, folder: Path) -> list[float]:
    """Return how long a new interpreter takes for a statement by each clock, in seconds."""
    reading = f"[{', '.join(f'time.{name}()' for name in CLOCKS.values())}]"
    code = f"import time; a = {reading}; {statement}; b = {reading}; print(*(y - x for x, y in zip(a, b)))"
    # The package that is measured is the one that runs, whatever is installed.
    path = os.pathsep.join([str(Path(noisycorrect.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    words, environment = [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": path.strip(os.pathsep)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installation is compiled, as torch's is
    done = subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return [float(value) for value in done.stdout.split()]
