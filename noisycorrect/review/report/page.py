"""The report as one file that asks for nothing from anywhere."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import os
from pathlib import Path

from noisycorrect.review.report import sections
from noisycorrect.review.report.facts import Facts
from noisycorrect.review.report.markup import Markup, joined, tag
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import replace_atomically

REPORT = "report.html"
# Whatever stood in a label or a text, the browser loads nothing and runs nothing.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def write_report(run_dir: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a run, and return its path.

    Parameters
    ----------
    run_dir : path-like
        The folder of a cleaning run; or, for a report of what is known there, of a
        :class:`~noisycorrect.SelfCorrector`'s run, a saved result, or a label store.
    out : path-like, optional
        The file, replaced atomically. Default: ``report.html`` in the run folder.

    Raises
    ------
    StoreError
        If the folder is none of these, or a file of it is damaged.
    InvalidInputError
        If there is no evidence about the labels yet, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> from noisycorrect import SoftLabelStore
    >>> folder = Path(tempfile.mkdtemp()) / "labels"
    >>> store = SoftLabelStore.create(folder, [0, 1, 1, 0], 2)
    >>> with store.new_generation() as writer:
    ...     writer.write(range(4), torch.eye(2)[[0, 1, 1, 1]])
    >>> "class 0" in write_report(folder.parent).read_text(encoding="utf-8")
    True
    """
    folder = Path(run_dir)
    target = folder / REPORT if out is None else Path(out)
    text = report_html(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replace_atomically(target) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        fix = "pass another file with --out FILE"
        raise InvalidInputError(f"to write the report {target}", got=str(error), fix=fix) from error
    return target


def report_html(run_dir: str | os.PathLike[str]) -> str:
    """Return the report of a run as the text of an HTML page; see :func:`write_report`."""
    facts = Facts.of(Path(run_dir))
    installed = importlib.metadata.distributions(name="noisycorrect")
    version = next((distribution.version for distribution in installed), "(not installed)")
    title = f"Labels of {Path(facts.source).name}" if facts.source else f"Labels in {Path(run_dir).resolve().name}"
    about = f"{facts.total:,} samples, {len(facts.classes):,} classes"
    about += f", column {facts.label}" if facts.label and facts.kind != "mask" else ""
    seconds = facts.made.pop("seconds", None)
    heading = tag("header", tag("h1", title), tag("p", about, class_="note"))
    parts = [
        sections.headline(facts),
        sections.verdict(facts),
        sections.section("By class", sections.by_class(facts), name="classes"),
        sections.section("By annotator", sections.by_annotator(facts), name="annotators") if facts.annotators else None,
        sections.section("Confusion", sections.confusion(facts), name="confusion"),
        sections.section(_worst_title(facts), sections.worst(facts), name="worst"),
        sections.section("What correcting bought", sections.bought(facts.validation), name="bought"),
        sections.section("How it was made", sections.made(facts, None if seconds is None else float(seconds), version),
                         *(tag("p", each, class_="note") for each in sections.footing(facts)), name="made"),
    ]  # fmt: skip
    return _page(title, joined(heading, tag("main", *parts)))


def _worst_title(facts: Facts) -> str:
    count = len(facts.worst)
    return f"The {count} most suspicious" if count > 1 else "The most suspicious"


def _page(title: str, body: Markup) -> str:
    style = importlib.resources.files("noisycorrect.review.report").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"{tag('title', title)}\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
