"""All tests share the helper that starts several processes, and the cores: `from spawn import run_processes`."""

import os
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread a worker: threads of two workers that wait for each other on the same cores take twice the time.
    os.environ["OMP_NUM_THREADS"] = "1"

sys.path.insert(0, str(Path(__file__).parent))


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Look for no examples here: there are none, and to look is to import what some tests import when they run."""
    return [each for each in (yield) if type(each) is pytest.Module]
