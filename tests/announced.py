"""What another package would announce, without installing one."""

from __future__ import annotations

import importlib.metadata
import sys
import types
from typing import Any

import pytest

from noisycorrect.support import register as module
from noisycorrect.support.register import Register


def announce(monkeypatch: pytest.MonkeyPatch, register: Register[Any], **things: Any) -> None:
    """Let an entry point of a made-up package stand for each thing, by its name, until the end of the test."""
    package = types.ModuleType("their_package")
    vars(package).update(things)
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setattr(register, "_things", dict(register._things))
    entries = [importlib.metadata.EntryPoint(name, f"their_package:{name}", register.group) for name in things]
    real = module.announced
    monkeypatch.setattr(module, "announced", lambda group: entries if group == register.group else real(group))
