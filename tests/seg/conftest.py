"""The segmentation tests share the helper that starts several processes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `from spawn import run_processes`
