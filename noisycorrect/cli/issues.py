"""``noisycorrect issues``."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from noisycorrect.cli.stores import Subparsers, class_names_in, opened_store, verdict_of
from noisycorrect.labels.findings import LabelReview
from noisycorrect.review.issues import SCORES, LabelIssue, find_label_issues, review_labels
from noisycorrect.review.noise_rate import estimate_store_noise
from noisycorrect.support.cells import visible
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.files import replace_atomically


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
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row for every labelled sample instead")
    parser.set_defaults(run=_issues)


def _issues(options: argparse.Namespace) -> int:
    store = opened_store(options.run_dir)
    if options.csv is not None:
        review = review_labels(store, score=options.score)
        _write_csv(options.csv, review, store.kind.parts)
        found = f"{int(review.contradicted.sum())} labels to look at, of {len(store)} (generation {store.generation})"
        print(f"{found}: {options.csv}")
        return 0
    issues = find_label_issues(store, top=options.top, score=options.score)
    names = class_names_in(options.run_dir)
    verdict = verdict_of(estimate_store_noise(store), names)
    print(f"{len(issues)} labels to look at, of {len(store)} (generation {store.generation})")
    print(visible(verdict))
    Console().print(issue_table(issues, store.kind.parts, names))
    return 0


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

    table = Table()
    for heading in ("index", "given", "suggested", "quality", *([parts] if parts else [])):
        table.add_column(heading, justify="right")
    for issue in issues:
        share = [f"{issue.share:.1%}"] if parts else []
        table.add_row(str(issue.index), called(issue.given), called(issue.suggested), f"{issue.score:.4f}", *share)
    return table


def _write_csv(path: Path, review: LabelReview, parts: str | None) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    headings = ("index", "given_label", "predicted_label", "label_quality", "is_label_issue")
    writer.writerow((*headings, parts) if parts else headings)
    rows = zip(review.index, review.given, review.suggested, review.quality, review.contradicted, strict=True)
    for row, share in zip(rows, review.share, strict=True):
        writer.writerow((*row[:3], f"{row[3]:.6f}", bool(row[4]), *([f"{share:.6f}"] if parts else [])))
    try:
        with replace_atomically(path) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"to write {path}", got=str(error), fix="choose another file") from error
