"""The command ``noisycorrect``: what can be done with a finished run, and what other packages add to it."""

from __future__ import annotations

import argparse
import csv
import functools
import importlib.metadata
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.table import Table

from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.findings import LabelReview
from noisycorrect.review.issues import SCORES, LabelIssue, find_label_issues, review_labels
from noisycorrect.review.noise_rate import estimate_store_noise
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError
from noisycorrect.support.files import replace_atomically

# An entry point of this group is a function ``add_parser(subparsers)`` that adds a command; the parser's default `run`
# is a function of the parsed options that returns an exit status. The core never imports the packages behind them.
GROUP = "noisycorrect.commands"

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


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
    >>> import numpy as np
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
        print(f"noisycorrect: {error}", file=sys.stderr)
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
    _add_estimate(subparsers)
    _add_issues(subparsers)
    _add_export(subparsers)
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            add_parser: Callable[[Subparsers], None] = entry.load()
        except ImportError as error:
            # The other commands still work; this one is not silently missing.
            print(f"noisycorrect: the command {entry.name!r} cannot be loaded: {error}", file=sys.stderr)
            continue
        add_parser(subparsers)
    return parser


# ---------------------------------------------------------------- estimate


def _add_estimate(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "estimate",
        help="say how many labels are wrong",
        description="Estimate the share of wrong labels and the confusion of classes from a run's evidence.",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run folder, a saved result, or a label store")
    parser.add_argument("--level", type=float, default=0.95, help="of the intervals (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="all figures as JSON, transition matrix included")
    parser.set_defaults(run=_estimate)


def _estimate(options: argparse.Namespace) -> int:
    found = estimate_store_noise(opened_store(options.run_dir), level=options.level)
    print(found.to_json() if options.json else found.verdict())
    return 0


# ---------------------------------------------------------------- issues


def _add_issues(subparsers: Subparsers) -> None:
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
    verdict = estimate_store_noise(store).verdict()
    print(f"{len(issues)} labels to look at, of {len(store)} (generation {store.generation})")
    print(verdict)
    Console().print(issue_table(issues, store.kind.parts))
    return 0


def issue_table(issues: Sequence[LabelIssue], parts: str | None = None) -> Table:
    """Return label issues as a table for a terminal; of labels of many `parts` with the share that is contradicted.

    Examples
    --------
    >>> issue_table([LabelIssue(index=3, given=1, suggested=0, score=0.25)]).row_count
    1
    """
    table = Table()
    for heading in ("index", "given", "suggested", "quality", *([parts] if parts else [])):
        table.add_column(heading, justify="right")
    for issue in issues:
        share = [f"{issue.share:.1%}"] if parts else []
        table.add_row(str(issue.index), str(issue.given), str(issue.suggested), f"{issue.score:.4f}", *share)
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


# ---------------------------------------------------------------- export


def _add_export(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "export",
        help="write a run's refined labels as plain files",
        description="Write refined labels into a new folder, as their kind has them: labels.npy, int64 (N,) or (N, K), "
        "-1 for none; of sequences all tokens one after the other, and lengths.npy; of masks one grey PNG of class "
        "indices a sample, named by its position, 255 where the given mask ignores.",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run folder, a saved result, or a label store")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new or empty folder")
    parser.add_argument("--generation", type=int, metavar="M", help="labels after cycle M (default: the latest)")
    parser.add_argument("--probs", action="store_true", help="also probs.npy, float32 (N, K); not of masks")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    store = opened_store(options.run_dir)
    number = store.generation if options.generation is None else options.generation
    store.trust(0, generation=number)  # raises before anything is written if there is no such generation
    labels, refined = (functools.partial(read, generation=number) for read in (store.labels, store.refined))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        if any(options.out.iterdir()):
            raise InvalidInputError(
                f"a new or empty folder at {options.out}", got="a folder with files", fix="choose another folder"
            )
        count = store.kind.export(options.out, labels, refined if options.probs else None)
    except OSError as error:
        fix = "free space, or choose another folder"
        raise InvalidInputError(f"to write into {options.out}", got=str(error), fix=fix) from error
    print(f"{count} labels of generation {number} written to {options.out}")
    return 0


def opened_store(folder: Path) -> SoftLabelStore:
    """Return the label store of a run folder or a saved result (in its folder ``labels``), or in the folder itself.

    Raises
    ------
    StoreError
        If there is none, or it is damaged.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = SoftLabelStore.create(folder / "labels", [0, 1, 1], 2)
    >>> len(opened_store(folder)), len(opened_store(folder / "labels"))
    (3, 3)
    """
    inside = folder / "labels"
    return SoftLabelStore.open(inside if inside.is_dir() else folder)


if __name__ == "__main__":
    sys.exit(main())
