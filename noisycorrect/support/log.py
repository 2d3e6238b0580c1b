"""The package's logger, for what a program may want to know; a user is told of trouble by warnings and errors."""

from __future__ import annotations

import logging

# Nothing above INFO goes here: a program that sets logging up its own way, as many do, would hide it.
logger = logging.getLogger("noisycorrect")
