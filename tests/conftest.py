"""All tests share the helper that starts several processes: `from spawn import run_processes`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
