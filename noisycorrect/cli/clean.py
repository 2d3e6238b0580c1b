"""``noisycorrect clean``."""

from __future__ import annotations

import argparse
import importlib.metadata
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from noisycorrect.cli.stores import Subparsers
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.support.cells import visible
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name

if TYPE_CHECKING:
    from noisycorrect.recipe import Recipe
    from noisycorrect.tables.clean import Report


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to those of ``noisycorrect``."""
    parser = subparsers.add_parser(
        "clean",
        help="find and correct the wrong labels of a table or a folder of pictures",
        description="Read a table (CSV, JSON lines, Parquet) or a folder with a folder of pictures a class; find the "
        "labels that are probably wrong; write the table with the corrected ones (cleaned.csv), the labels to look at "
        "(issues.csv), a trained model and a run folder for `noisycorrect review`. A killed run goes on with the same "
        "command.",
    )
    add = parser.add_argument
    add("source", metavar="FILE", help="a table with a header row, or a folder of class folders")
    add("--label", metavar="COLUMN", help="the labels that may be wrong")
    add("--text", metavar="COLUMNS", help="learn from these texts, with commas")
    add("--features", metavar="COLUMNS", help="learn from these numbers and categories, with commas")
    add("--images", metavar="COLUMN", help="learn from the pictures whose paths these are")
    add(
        "--root",
        type=Path,
        metavar="FOLDER",
        help="where the pictures lie; none outside is read (default: the table's)",
    )
    add("--annotators", metavar="PATTERN", help="labels of several people, such as 'annotator_*'")
    add("--id", metavar="COLUMN", help="what the rows are called (default: id, or their numbers)")
    add("--out", type=Path, metavar="RUN", help="the run folder (default: FILE without its suffix, and -clean)")
    add("--recipe", help="train a network by this recipe, and believe it instead of the features")
    add("--epochs", type=int, help="of the network (default: by the number of rows)")
    add("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    add("--decisions", type=Path, metavar="RUN", help="labels decided in the review of this run are right")
    add("--backbone", metavar="FILE", help="weights of an EfficientNet-Lite0 that describes pictures")
    add("--encoding", help="of the file (default: found out)")
    add("--delimiter", help="of the file (default: found out)")
    parser.set_defaults(run=_clean)


def _clean(options: argparse.Namespace) -> int:
    # Imported here: the other commands do not need all this.
    from noisycorrect.tables.clean import clean, decisions_of
    from noisycorrect.tables.settings import Settings

    _check_recipe(options.recipe, votes=options.annotators is not None)
    epochs = None if options.epochs is None else whole_number("--epochs", options.epochs, least=1)
    decisions = None if options.decisions is None else decisions_of(options.decisions)
    path = Path(options.source)
    settings = Settings(
        source=str(path.resolve()), signature=[], label=options.label, annotators=options.annotators, id=options.id,
        text=options.text, features=options.features, images=options.images, recipe=options.recipe, epochs=epochs,
        seed=whole_number("--seed", options.seed, least=0), backbone=options.backbone, decisions=decisions,
        encoding=options.encoding, delimiter=options.delimiter,
        root=None if options.root is None else str(options.root.resolve()),
    )  # fmt: skip
    out = options.out or Path(f"{path.resolve().stem}-clean")
    try:
        report = clean(settings, out, command=_words(options), version=_version())
    except OSError as error:  # a full disk in the middle; every file is whole or not there
        fix = "free space or check permissions, and give the same command again: it goes on"
        raise InvalidInputError("to read the table and to write the run folder", got=str(error), fix=fix) from error
    _tell(report, path)
    return 0


def _check_recipe(name: str | None, *, votes: bool) -> None:
    """Raise an InvalidInputError for a recipe that a table cannot be cleaned by: before it is read."""
    from noisycorrect.recipe import RECIPES

    if name is None:
        return
    usable = [each for each in RECIPES if "/" not in each and _lacking(RECIPES[each], votes=votes) is None]
    if name not in RECIPES:
        raise unknown_name("recipe", name, usable)
    lacking = _lacking(RECIPES[name], votes=votes)
    if lacking is not None:
        expected = "a recipe for class labels that needs nothing but a table"
        raise InvalidInputError(expected, got=f"{name!r}, which {lacking}", fix=f"choose one of {', '.join(usable)}")


def _lacking(recipe: Recipe, *, votes: bool) -> str | None:
    """Return what keeps a recipe from being trained on a table, or None."""
    if recipe.kinds and "classification" not in recipe.kinds:
        return f"is for {', '.join(recipe.kinds)}"
    if recipe.needs_augment:
        return "needs an augmentation of its inputs"
    if not votes and getattr(recipe.objective, "noise_rate", 0) is None:
        return "has to be told the share of wrong labels"
    return None


def _words(options: argparse.Namespace) -> list[str]:
    names = ("label", "text", "features", "images", "annotators", "id", "out", "recipe", "epochs", "seed", "decisions",
             "backbone", "encoding", "delimiter", "root")  # fmt: skip
    said = [(f"--{name}", str(getattr(options, name))) for name in names if getattr(options, name) is not None]
    return ["noisycorrect", "clean", options.source, *(word for pair in said for word in pair)]


def _version() -> str:
    found = importlib.metadata.distributions(name="noisycorrect")
    return next((distribution.version for distribution in found), "")


def _tell(report: Report, source: Path) -> None:
    """Print what was found, class by class, and what to do next."""
    findings, console = report.findings, Console(highlight=False, soft_wrap=True)
    table = Table("class", *(_right(name) for name in ("labels", "to look at", "corrected")))
    for code, name in enumerate(findings.classes):
        given, now = findings.given == code, findings.labels == code
        table.add_row(
            Text(visible(name)),
            *(f"{int(count):,}" for count in (given.sum(), (given & findings.is_issue).sum(), now.sum())),
        )
    bare = findings.given == UNLABELED
    if bare.any():
        table.add_row("(no label)", f"{int(bare.sum()):,}", "", f"{int((findings.labels == UNLABELED).sum()):,}")
    console.print(table)
    people = report.figures.get("annotators") or []
    if people:
        voters = Table("annotator", _right("votes"), _right("right, %"))
        for record in people:
            share = record["accuracy"]
            voters.add_row(
                Text(visible(str(record["annotator"]))),
                f"{record['votes']:,}",
                f"{100 * share:.1f}" if share == share else "",
            )
        console.print(voters)
    console.print(visible(report.noise.verdict()), markup=False)
    before, after = (report.figures.get(f"val_accuracy_{when}") for when in ("before", "after"))
    if before is not None and after is not None:
        console.print(
            f"A model agrees with {100 * after:.1f} % of the labels it has not seen if it learns the corrected ones,"
            f" {100 * before:.1f} % if it learns the given ones."
        )
    issues = int((findings.is_issue & np.isfinite(findings.quality)).sum())
    where = shlex.quote(str(report.folder))
    console.print(f"{issues:,} labels to look at, the worst first: {report.folder / 'issues.csv'}", markup=False)
    console.print(f"all rows with corrected labels: {report.folder / 'cleaned.csv'}", markup=False)
    console.print(f"what was found, in one page: {report.folder / 'report.html'}", markup=False)
    console.print("Next:", markup=False)
    console.print(f"  noisycorrect review {where}      look at them, and decide", markup=False)
    console.print(f"  noisycorrect predict {where} FILE      label other rows with the model", markup=False)
    again = f"noisycorrect clean {shlex.quote(str(source))} ... --decisions {where} --out ..."
    console.print(f"  {again}      clean again with what you decided", markup=False)


def _right(name: str) -> Column:
    return Column(name, justify="right")
