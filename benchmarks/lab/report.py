"""Reports that anyone can repeat: a JSON file, a Markdown page and pictures, with command, date and machine."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import math
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noisycorrect.support.files import replace_atomically, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

StrPath = str | os.PathLike[str]


def environment() -> dict[str, Any]:
    """Return what numbers were measured with: versions, kind of machine, and the date (UTC)."""
    installed = importlib.metadata.distributions(name="noisycorrect")
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "noisycorrect": next((distribution.version for distribution in installed), None),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (models or [platform.processor() or platform.machine()])[0]


def command_line() -> str:
    """Return the command that started this program; absolute paths are cut to their last part."""
    return shlex.join(["python", *(_portable(word) for word in sys.orig_argv[1:])])


def _portable(word: str) -> str:
    # A reader keeps the data elsewhere, and a report should not tell where its author does.
    option, equals, value = word.rpartition("=")
    outside = Path(value).is_absolute() or ".." in Path(value).parts
    return f"{option}{equals}{Path(value).name}" if outside else word


def write_report(
    folder: StrPath,
    payload: Mapping[str, Any],
    markdown: str,
    figures: Callable[[], Mapping[str, Figure]] = dict,
    *,
    command: str | None = None,
    stem: str = "results",
) -> None:
    """Write `STEM.json`, `STEM.md` and one `STEM-NAME.png` a figure, each atomically, for any benchmark.

    Parameters
    ----------
    folder : path-like
        Where they go; made if it does not exist.
    payload : mapping
        What the JSON file holds besides `environment` and `command`; numbers that are not finite become null.
    markdown : str
        The page; the pictures, the command and the environment are put below it.
    figures : callable, optional
        Draws the figures, by name. Called last: without matplotlib the numbers are on disk all the same.
    command : str, optional
        How to get the same results; default: how this program was started.
    stem : str, default "results"
        How the files' names begin, so that several reports can share a folder.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    facts, how = environment(), command or command_line()
    write_json(place / f"{stem}.json", _finite({**payload, "command": how, "environment": facts}))
    foot = f"\n## Reproduce\n\n```sh\n{how}\n```\n\n" + ", ".join(f"{k} {v}" for k, v in facts.items() if v) + "\n"
    _write_text(place / f"{stem}.md", f"{markdown.rstrip()}\n{foot}")
    drawn = figures()
    for name, figure in drawn.items():
        with replace_atomically(place / f"{stem}-{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=150)
    pictures = "".join(f"\n![{name}]({stem}-{name}.png)\n" for name in drawn)
    _write_text(place / f"{stem}.md", f"{markdown.rstrip()}\n{pictures}{foot}")


def _write_text(path: Path, text: str) -> None:
    with replace_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
