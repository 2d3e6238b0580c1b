"""What a cleaning run was asked for, kept in its folder: the same command goes on, another one is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from noisycorrect.labels.folder import remove_store
from noisycorrect.saved.details import CHECKPOINT, LABELS
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.files import write_json
from noisycorrect.support.locks import LOCK
from noisycorrect.support.untrusted import check_regular, parsed_json

SETTINGS = "clean.json"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of ``noisycorrect clean`` that its result depends on.

    Attributes
    ----------
    source : str
        File or folder, absolute.
    signature : list
        What changes when the file does.
    label, annotators, id : str or None
        Columns, or a pattern of them.
    text, features, images : str or None
        Columns to learn from, with commas.
    recipe : str or None
        None: evidence of the features, which a network then learns.
    epochs : int or None
        None: chosen by the number of rows.
    seed : int
        Of everything random.
    backbone : str or None
        File of weights; of pictures.
    root : str or None
        Folder of the pictures, absolute; None: the table's.
    decisions : list of [str, str]
        Names of rows and the labels that people decided on.
    encoding, delimiter : str or None
        None: found out.
    """

    source: str
    signature: list[Any]
    label: str | None = None
    annotators: str | None = None
    id: str | None = None
    text: str | None = None
    features: str | None = None
    images: str | None = None
    recipe: str | None = None
    epochs: int | None = None
    seed: int = 0
    backbone: str | None = None
    decisions: list[list[str]] | None = None
    encoding: str | None = None
    delimiter: str | None = None
    root: str | None = None


def enter_folder(folder: Path, settings: Settings) -> bool:
    """Make a run folder, or go on with the one that is there; return whether there was one.

    Raises
    ------
    InvalidInputError
        If it cannot be written, or holds files of something else.
    CheckpointError
        If it is that of another command, or of a file that has changed since: the message names the difference.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = folder / SETTINGS
        if not found.is_file():
            foreign = sorted(path.name for path in folder.iterdir() if path.name != "lock" and path.suffix != ".part")
            if foreign:
                fix = "choose another folder with --out"
                raise InvalidInputError(f"a new or empty folder at {folder}", got=f"one with {foreign[0]}", fix=fix)
            write_json(found, {"version": VERSION, **asdict(settings)})
            return False
    except OSError as error:
        fix = "choose another folder with --out"
        raise InvalidInputError(f"a folder that can be written: {folder}", got=str(error), fix=fix) from error
    _compare(folder, asdict(settings))
    return True


@contextlib.contextmanager
def left_if_refused(folder: Path) -> Iterator[None]:
    """Take a new run folder away again if what the run was asked for is refused: nothing was computed yet."""
    try:
        yield
    except InvalidInputError:
        if (folder / CHECKPOINT).exists():  # an epoch was computed: the same command goes on
            raise
        (folder / SETTINGS).unlink(missing_ok=True)
        if (folder / LABELS).is_dir():
            remove_store(folder / LABELS)
        (folder / LOCK).unlink(missing_ok=True)
        for made in folder.glob("pictures.*"):
            made.unlink()
        with contextlib.suppress(OSError):  # somebody else's files, or the lock of this run
            folder.rmdir()
        raise


def read_settings(folder: Path) -> dict[str, Any]:
    """Return the settings of a run folder.

    Raises
    ------
    CheckpointError
        If it is none, or the file is damaged.
    """
    if (folder / SETTINGS).exists():
        check_regular(folder / SETTINGS, "settings of a cleaning run")
    try:
        values = parsed_json((folder / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        fix = "pass a folder that `noisycorrect clean` wrote"
        raise CheckpointError(f"a cleaning run in {folder}", got=f"no {SETTINGS}", fix=fix) from error
    except (OSError, ValueError) as error:
        fix = "restore it from a copy, or clean again into another folder"
        raise CheckpointError(f"settings in {folder / SETTINGS}", got=str(error), fix=fix) from error
    if not isinstance(values, dict) or not isinstance(values.get("version"), int):
        raise CheckpointError(f"settings in {folder / SETTINGS}", got="something else", fix="restore it from a copy")
    if values["version"] > VERSION:
        got, fix = f"version {values['version']}", "upgrade noisycorrect, or clean again into another folder"
        raise CheckpointError(f"settings of version {VERSION} or older in {folder / SETTINGS}", got=got, fix=fix)
    return values


def _compare(folder: Path, wanted: dict[str, Any]) -> None:
    found = read_settings(folder)
    for name, value in wanted.items():
        if found.get(name) == value:
            continue
        expected = f"--{name} {found.get(name)}" if name not in ("source", "signature") else "the same table"
        got = {
            "source": f"{value}, and {folder} is of {found.get('source')}",
            "signature": "a file that has changed since, or is read otherwise",
            "decisions": "other decisions",
        }.get(name, f"--{name} {value}" if value is not None else f"no --{name}")
        fix = f"choose another --out, or delete {folder} to begin anew"
        if name == "decisions":
            expected = "the same decisions"
        raise CheckpointError(f"{expected}, as the run in {folder} was begun with", got=got, fix=fix)
