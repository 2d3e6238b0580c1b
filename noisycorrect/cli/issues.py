"""``noisycorrect issues``."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from noisycorrect.cli.stores import Subparsers, class_names_in, opened_store, verdict_of
from noisycorrect.labels.findings import LabelReview
from noisycorrect.review.issues import SCORES, LabelIssue, find_label_issues, review_labels
from noisycorrect.review.noise_rate import estimate_store_noise
from noisycorrect.review.session import has_items
from noisycorrect.review.session.items import read_items
from noisycorrect.support.cells import CsvLines, safe_cell, visible
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import replace_atomically

HEADINGS = ("given_label", "predicted_label", "label_quality", "is_label_issue")


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to those of ``noisycorrect``."""
    parser = subparsers.add_parser(
        "issues",
        help="list the labels to look at",
        description="List the given labels that the evidence of a run speaks against, the most suspicious first.",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run folder, a saved result, or a label store")
    parser.add_argument("--top", type=int, default=20, metavar="N", help="show so many (default: %(default)s)")
    parser.add_argument("--score", choices=SCORES, default=SCORES[0], help="label quality (default: %(default)s)")
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="write a row for every labelled sample instead, worst first"
    )
    parser.set_defaults(run=_issues)


def _issues(options: argparse.Namespace) -> int:
    if has_items(options.run_dir):
        return _of_cleaning(options)
    store = opened_store(options.run_dir)
    names = class_names_in(options.run_dir)
    if options.csv is not None:
        review = review_labels(store, score=options.score)
        _write_csv(options.csv, *_rows(review, store.kind.parts, names))
        found = f"{int(review.contradicted.sum())} labels to look at, of {len(store)} (generation {store.generation})"
        print(f"{found}: {options.csv}")
        return 0
    issues = find_label_issues(store, top=options.top, score=options.score)
    verdict = verdict_of(estimate_store_noise(store), names)
    print(f"{len(issues)} labels to look at, of {len(store)} (generation {store.generation})")
    print(visible(verdict))
    Console().print(issue_table(issues, store.kind.parts, names))
    return 0


def _of_cleaning(options: argparse.Namespace) -> int:
    """List what `noisycorrect clean` has found: what its files and its report say, and nothing estimated anew."""
    if options.score != SCORES[0]:
        raise InvalidInputError(f"--score {SCORES[0]} of a cleaned table", got=options.score, fix="leave it out")
    header, items = read_items(options.run_dir)
    worst = sorted((item for item in items if item.given is not None), key=lambda item: item.quality)
    found = [item for item in worst if item.is_issue]
    said = f"{len(found)} labels to look at, of {len(items)}"
    if options.csv is not None:
        rows = ((item.id, item.given, item.suggested, item.quality, item.is_issue) for item in worst)
        _write_csv(options.csv, ("id", *HEADINGS), rows)
        print(f"{said}: {options.csv}")
        return 0
    print(said)
    print(visible(header.figures.get("noise", {}).get("verdict", "")))
    table = _headed("id")
    for item in found[: options.top]:
        words = (item.id, str(item.given), str(item.suggested))
        table.add_row(*(escape(visible(word)) for word in words), f"{item.quality:.4f}")
    Console().print(table)
    return 0


def _headed(*headings: str) -> Table:
    table = Table()
    for heading in (headings[0], "given", "suggested", "quality", *headings[1:]):
        table.add_column(heading, justify="right")
    return table


def issue_table(issues: Sequence[LabelIssue], parts: str | None = None, names: Sequence[str] | None = None) -> Table:
    """Return label issues as a table for a terminal; of labels of many `parts` with the share that is contradicted.

    Classes are numbers, or called by `names`.

    Examples
    --------
    >>> issue_table([LabelIssue(index=3, given=1, suggested=0, score=0.25)]).row_count
    1
    """

    def called(number: int) -> str:
        return str(number) if names is None or not 0 <= number < len(names) else escape(visible(names[number]))

    table = _headed("index", *([parts] if parts else []))
    for issue in issues:
        share = [f"{issue.share:.1%}"] if parts else []
        table.add_row(str(issue.index), called(issue.given), called(issue.suggested), f"{issue.score:.4f}", *share)
    return table


def _rows(
    review: LabelReview, parts: str | None, names: Sequence[str] | None
) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    """Return headings and rows of a review, those of least quality first, classes called by their names."""

    def called(number: int) -> str | int:
        return number if names is None or not 0 <= number < len(names) else names[number]

    def rows() -> Iterator[Sequence[Any]]:
        for row in np.argsort(review.quality, kind="stable").tolist():
            share = [f"{review.share[row]:.6f}"] if parts else []
            given, suggested = (called(int(classes[row])) for classes in (review.given, review.suggested))
            yield int(review.index[row]), given, suggested, review.quality[row], review.contradicted[row], *share

    return ("index", *HEADINGS, *([parts] if parts else [])), rows()


def _write_csv(path: Path, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(CsvLines(text))
    writer.writerow(headings)
    for name, given, suggested, quality, contradicted, *share in rows:
        cells = (safe_cell(str(each)) for each in (name, given, "" if suggested is None else suggested))
        writer.writerow((*cells, f"{quality:.6f}", bool(contradicted), *share))
    try:
        with replace_atomically(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"to write {path}", got=str(error), fix="choose another file") from error
