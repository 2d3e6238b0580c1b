"""The package's logger: silent unless the program that uses it says otherwise."""

from __future__ import annotations

import logging

logger = logging.getLogger("noisycorrect")
logger.addHandler(logging.NullHandler())
