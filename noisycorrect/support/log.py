"""The package's logger: warnings appear on standard error unless the program that uses it has set up logging."""

from __future__ import annotations

import logging

# Without a handler of its own: Python shows warnings of a logger that nobody has set up, and hides what is below.
logger = logging.getLogger("noisycorrect")
