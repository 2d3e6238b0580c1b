"""What lets nine thousand tests run quickly: one thread a process, files in memory, and nothing done twice."""

import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from multiprocessing.util import Finalize
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # a test process: two processes share two cores

# Importing them imports what takes seconds, and need not be installed; tests/integrations has their examples.
collect_ignore = ["noisycorrect/integrations/lightning.py", "noisycorrect/integrations/transformers.py"]

# Compiled once: to rewrite the asserts of all tests takes as long as all else that is done before the first of them.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

MEMORY = Path("/dev/shm")
NEEDED = 8 * 2**30  # bytes that must be free there, else the disk is used
OURS = "noisycorrect-tests-"


def pytest_configure(config: pytest.Config) -> None:
    """Put temporary files into memory, where there is enough: a run waits for the disk a dozen times a second."""
    asked_for = config.getoption("basetemp") or {"TMPDIR", "TEMP", "TMP", "PYTEST_DEBUG_TEMPROOT"} & os.environ.keys()
    if asked_for or not os.access(MEMORY, os.W_OK):
        return
    for left in MEMORY.glob(f"{OURS}*"):  # by tests that failed, or were killed
        if not Path("/proc", left.name.split("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    if shutil.disk_usage(MEMORY).free < NEEDED:
        return
    # Processes that tests start have it from the environment.
    os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix=f"{OURS}{os.getpid()}-", dir=MEMORY)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let networks of examples begin alike, whichever tests a process has run before."""
    if isinstance(item, pytest.DoctestItem):
        torch.manual_seed(0)


def pytest_sessionfinish(exitstatus: int) -> None:
    """Remove them when the process ends, unless somebody may want to look into a test that failed."""
    folder = tempfile.gettempdir()
    if exitstatus == pytest.ExitCode.OK and Path(folder).name.startswith(f"{OURS}{os.getpid()}-"):
        # After multiprocessing has removed its own folder there.
        Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=-1000)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for garbage among what tests make, not among all that is imported: each look takes most of a second."""
    gc.disable()
    try:
        return (yield)
    finally:
        # Hypothesis asks the collector who holds a random generator, and is told of none that is frozen: of those of
        # other packages when it is imported, of its own with the first property.
        if "hypothesis" in sys.modules:
            from hypothesis import given, strategies

            given(strategies.none())(lambda nothing: None)()
            gc.freeze()
        gc.enable()
