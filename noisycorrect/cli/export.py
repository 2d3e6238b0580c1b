"""``noisycorrect export``."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from noisycorrect.cli.stores import Subparsers, opened_store
from noisycorrect.export import ExportOptions, RunLabels, format_of, read_run_labels
from noisycorrect.export.formats import FORMATS
from noisycorrect.export.labels import CLASSES
from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.review.session import has_items
from noisycorrect.saved.details import DETAILS
from noisycorrect.support.cells import visible
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.folders import check_free, new_folder
from noisycorrect.tables.writing import CLEANED, write_decided

PLAIN = "plain"


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to those of ``noisycorrect``."""
    parser = subparsers.add_parser(
        "export",
        help="write a run's labels in the formats of other programs",
        description="Write the labels of a run, as they are after correction and review, into a new folder. Formats: "
        "plain, labels.npy, int64 (N,) or (N, K), -1 for none, of sequences all tokens one after the other, and "
        "lengths.npy; csv and parquet, a row a sample with names, and with csv the whole table that was cleaned; "
        "label-studio, tasks with annotations and predictions;"
        " of masks png, coco, cvat and label-studio.",
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="a run folder, a saved result, or a label store")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new or empty folder")
    parser.add_argument("--format", metavar="F", help="default: of a cleaning run csv, of masks png, else plain")
    parser.add_argument("--generation", type=int, metavar="M", help="labels after cycle M (default: the latest)")
    parser.add_argument("--classes", type=Path, metavar="FILE", help="names of classes, one a line, class 0 first")
    parser.add_argument("--names", type=Path, metavar="FILE", help="names of samples, one a line, in order")
    parser.add_argument("--images", metavar="PREFIX", help="folder or address before the names of image files")
    parser.add_argument("--suffix", default=".jpg", help="of image files, if unknown (default: %(default)s)")
    parser.add_argument("--background", action="store_true", help="class 0 of masks is a region, too")
    parser.add_argument("--probs", action="store_true", help="plain: also probs.npy, float32 (N, K); not of masks")
    parser.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    check_free(options.out.resolve())
    if options.probs and options.format not in (None, PLAIN):
        raise InvalidInputError("--probs with --format plain", got=options.format, fix="leave one of them out")
    if options.probs or options.format == PLAIN:
        return _plain(opened_store(options.run_dir), options)
    labels = read_run_labels(
        options.run_dir,
        generation=options.generation,
        class_names=_lines(options.classes),
        sample_names=_lines(options.names),
    )
    name = options.format or _default(labels)
    if name == PLAIN:
        return _plain(opened_store(options.run_dir), options)
    found = format_of(name, labels.kind)
    _say(_unnamed(labels))
    if labels.decided is None:
        _say(_uncorrected(options, labels.generation))
    with new_folder(options.out) as inside:
        count = found.write(labels, inside, ExportOptions(options.images, options.suffix, options.background))
        table = (
            write_decided(options.run_dir, inside / CLEANED) if name == "csv" and labels.decided is not None else None
        )
    of = f"of generation {labels.generation}" if labels.decided is None else f"({labels.decided} decided)"
    print(f"{count} labels {of} written to {options.out} as {name}")
    if table is not None:
        print(f"all {table:,} rows of the table with these labels: {options.out / CLEANED}")
    return 0


def _say(sentences: list[str]) -> None:
    for sentence in sentences:
        print(visible(f"noisycorrect: {sentence}"), file=sys.stderr)


def _uncorrected(options: argparse.Namespace, generation: int) -> list[str]:
    """Return what to say of given labels that nobody has asked for: there are no others."""
    if generation or options.generation is not None:
        return []
    return [f"nothing has been corrected in {options.run_dir} yet: these are the given labels"]


def _unnamed(labels: RunLabels) -> list[str]:
    """Return what to say of names that nobody has given: numbers are written in their place."""
    missing = "" if (labels.folder / DETAILS).exists() else f": it has no {DETAILS}"
    said = []
    if not labels.named:
        fix = "pass --classes FILE, a name a line, class 0 first"
        said.append(f"{labels.folder} does not say what its classes are called{missing}; numbers are written: {fix}")
    if not labels.identified:
        fix = "pass --names FILE, a name a line, in the order of the data set"
        said.append(f"{labels.folder} does not say what its samples are called{missing}; they are numbered: {fix}")
    return said


def _default(labels: RunLabels) -> str:
    """Return the format for labels of which nobody has said one."""
    if f"png/{labels.kind}" in FORMATS:
        return "png"
    return "csv" if labels.shown else PLAIN


def _plain(store: SoftLabelStore, options: argparse.Namespace) -> int:
    """Write refined labels as their kind has them."""
    number = store.generation if options.generation is None else options.generation
    store.trust(0, generation=number)  # raises before anything is written if there is no such generation
    refined = functools.partial(store.refined, generation=number)
    labels: Callable[..., Any] = functools.partial(store.labels, generation=number)
    if options.generation is None and has_items(options.run_dir):
        labels = _in_the_end(read_run_labels(options.run_dir), labels)
    else:
        _say(_uncorrected(options, number))
    with new_folder(options.out) as inside:
        count = store.kind.export(inside, labels, refined if options.probs else None)
    print(f"{count} labels of generation {number} written to {options.out}")
    return 0


def _in_the_end(run: RunLabels, corrected: Callable[..., Any]) -> Callable[..., Any]:
    """Return what reads the labels of a cleaning run as they are after review, by positions."""
    if run.kind == CLASSES:
        numbers: dict[str | None, int] = {name: number for number, name in enumerate(run.class_names)}
        final = np.array([numbers.get(final.label, UNLABELED) for final in run.finals])
        return final.__getitem__
    if run.decided:
        fix = "--format png, or --generation with a number for masks as the run corrected them"
        raise InvalidInputError("a format with what was decided in the review", got=PLAIN, fix=fix)
    return corrected


def _lines(path: Path | None) -> list[str] | None:
    """Return the names in a file: one a line, lines that begin with # left out; or a JSON list."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            return [str(name) for name in json.loads(text)]
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInputError(f"names in {path}", got=str(error), fix="write one a line, UTF-8") from error
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
