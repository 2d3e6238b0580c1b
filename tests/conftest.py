"""All tests share the helper that starts several processes, and the cores: `from spawn import run_processes`."""

import os
import sys
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # One thread a worker: threads of two workers that wait for each other on the same cores take twice the time.
    os.environ["OMP_NUM_THREADS"] = "1"

sys.path.insert(0, str(Path(__file__).parent))
