"""The commands of networks for masks: ``noisycorrect parse`` and ``noisycorrect export-network``."""

from __future__ import annotations

from noisycorrect_seg.cli import export_network, parse
from noisycorrect_seg.cli.networks import Subparsers, classes_of, load_network

__all__ = ["add_parser", "classes_of", "load_network"]


def add_parser(subparsers: Subparsers) -> None:
    """Add both commands; an entry point of the group ``noisycorrect.commands``."""
    parse.add_parser(subparsers)
    export_network.add_parser(subparsers)
