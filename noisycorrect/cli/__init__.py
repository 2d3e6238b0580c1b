"""The command ``noisycorrect``: what can be done with a finished run, and what other packages add to it."""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from collections.abc import Callable, Sequence

from noisycorrect.cli import check, clean, estimate, export, issues, predict, report, review
from noisycorrect.cli.stores import Subparsers
from noisycorrect.support.cells import visible
from noisycorrect.support.errors import NoisyCorrectError
from noisycorrect.support.register import announced

# An entry point of this group is a function ``add_parser(subparsers)`` that adds a command; the parser's default `run`
# is a function of the parsed options that returns an exit status. The core never imports the packages behind them.
GROUP = "noisycorrect.commands"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    words : sequence of str, optional
        Arguments; default: those of the process.

    Returns
    -------
    int
        0 if all went well; 1 if a command did only a part of its work; 2 for an error of the caller's, whose message
        goes to standard error.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from noisycorrect import SoftLabelStore
    >>> folder = Path(tempfile.mkdtemp())
    >>> store = SoftLabelStore.create(folder / "labels", [0, 1, 1], 2)
    >>> main(["export", str(folder), str(folder / "out")])
    3 labels of generation 0 written to ...out
    0
    >>> np.load(folder / "out" / "labels.npy").tolist()
    [0, 1, 1]
    """
    options = _parser().parse_args(words)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except NoisyCorrectError as error:
        print(f"noisycorrect: {visible(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="noisycorrect", description="Training on labels you cannot trust: look at a run's labels, and use them."
    )
    installed = importlib.metadata.distributions(name="noisycorrect")
    version = next((distribution.version for distribution in installed), "(not installed)")
    parser.add_argument("--version", action="version", version=f"noisycorrect {version}")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in (clean, predict, estimate, issues, report, review, export, check):
        command.add_parser(subparsers)
    for entry in sorted(announced(GROUP), key=lambda entry: entry.name):
        try:
            add_parser: Callable[[Subparsers], None] = entry.load()
        except ImportError as error:
            # The other commands still work; this one is not silently missing.
            print(f"noisycorrect: the command {entry.name!r} cannot be loaded: {error}", file=sys.stderr)
            continue
        add_parser(subparsers)
    return parser
