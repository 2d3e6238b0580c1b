"""What of a run folder, a saved result or a label store is whole, and what can be saved of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisycorrect.labels.inspection import StoreInspection, inspect_store
from noisycorrect.labels.manifest import NAME as MANIFEST
from noisycorrect.labels.reading import GIVEN
from noisycorrect.saved.details import CHECKPOINT, DETAILS, HISTORY, LABELS, PREVIOUS, Details
from noisycorrect.saved.runs import RunState, read_history, run_state
from noisycorrect.saved.weights import TORCH
from noisycorrect.support.checkpoint import load_checkpoint, stated_digest
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError

WHOLE, DAMAGED, UNPROVEN = "whole", "damaged", "readable, without a digest"


@dataclass(frozen=True)
class Finding:
    """What is known of one file.

    Attributes
    ----------
    file : str
        Its path in the folder.
    what : str
        What it is.
    state : str
        :data:`WHOLE`; :data:`DAMAGED`; or, of files that an older version of the package wrote, :data:`UNPROVEN`.
    detail : str
        What is wrong with it.
    """

    file: str
    what: str
    state: str
    detail: str = ""


@dataclass(frozen=True)
class FolderCheck:
    """What :func:`check_folder` found: a finding a file, and what can be done about the damaged ones."""

    folder: Path
    findings: tuple[Finding, ...]
    advice: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is damaged."""
        return all(finding.state != DAMAGED for finding in self.findings)


def check_folder(folder: str | os.PathLike[str]) -> FolderCheck:
    """Read every bit of a run folder, a saved result or a label store, and say what is whole. Nothing is changed.

    Raises
    ------
    InvalidInputError
        If the folder holds none of these.

    Examples
    --------
    >>> import tempfile
    >>> from noisycorrect.labels import SoftLabelStore
    >>> store = SoftLabelStore.create(Path(tempfile.mkdtemp()) / "labels", [0, 1], 2)
    >>> found = check_folder(store.folder)
    >>> found.whole, [finding.file for finding in found.findings]
    (True, ['manifest.json', 'given.h5'])
    >>> _ = (store.folder / "given.h5").write_bytes(b"rotten")
    >>> check_folder(store.folder).whole
    False
    """
    root = Path(folder)
    if (root / MANIFEST).exists():
        findings, store = _labels(root, "")
        return FolderCheck(root, tuple(findings), tuple(_advice_on_labels(findings, store, run=False)))
    findings, advice = _inside(root, "")
    for inner in (
        sorted(path for path in root.iterdir() if path.is_dir() and path.name != LABELS) if root.is_dir() else ()
    ):
        more, advised = _inside(inner, f"{inner.name}/")
        findings, advice = findings + more, advice + advised
    if not findings:
        fix = "pass the folder of a run, a saved result or a label store"
        raise InvalidInputError(f"something of noisycorrect's in {root}", got="nothing", fix=fix)
    return FolderCheck(root, tuple(findings), tuple(dict.fromkeys(advice)))


def _inside(folder: Path, prefix: str) -> tuple[list[Finding], list[str]]:
    """Return findings and advice about one folder of weights, labels and what belongs to them."""
    findings: list[Finding] = []
    details: Details | None = None
    store: StoreInspection | None = None
    states: dict[str, RunState] = {}
    if (folder / LABELS).is_dir():
        findings, store = _labels(folder / LABELS, f"{prefix}{LABELS}/")
    if (folder / DETAILS).exists():
        details = _tried(findings, f"{prefix}{DETAILS}", "names and network", lambda: Details.read(folder))
    for name, what in ((CHECKPOINT, "checkpoint"), (PREVIOUS, "checkpoint of the cycle before")):
        if (folder / name).exists():
            state = _tried(findings, f"{prefix}{name}", what, lambda name=name: run_state(folder, name))
            if state is not None:
                states[name] = state
                _placed(findings, folder / name, _strange(state, store, behind=1 if name == CHECKPOINT else 2))
    files = {} if details is None or details.files is None else details.files
    for name in files:
        what = "history" if name == HISTORY else "labels as they were saved" if "/" in name else "weights"
        if details is not None:
            _tried(findings, f"{prefix}{name}", what, lambda name=name: details.check_file(folder, name))
    if HISTORY not in files and (folder / HISTORY).exists():
        history = _tried(findings, f"{prefix}{HISTORY}", "history", lambda: read_history(folder))
        state = states.get(CHECKPOINT)
        if history is not None and state is not None and repr(history) != repr(state.history):
            findings[-1] = Finding(f"{prefix}{HISTORY}", "history", DAMAGED, "not that of the checkpoint")
    if (folder / TORCH).exists() and TORCH not in files:
        _tried(findings, f"{prefix}{TORCH}", "weights", lambda: load_checkpoint(folder / TORCH))
        _placed(findings, folder / TORCH, None)
    return findings, _advice(findings, store, states)


def _labels(folder: Path, prefix: str) -> tuple[list[Finding], StoreInspection | None]:
    try:
        store = inspect_store(folder)
    except NoisyCorrectError as error:
        return [Finding(f"{prefix}{MANIFEST}", "what the labels are", DAMAGED, _got(error))], None
    findings = []
    for name, failure in store.failures.items():
        number = int(name[11:-3]) if name.startswith("generation-") else 0
        current = " (the current one)" if number and number == store.current else ""
        what = {MANIFEST: "what the labels are", GIVEN: "given labels"}.get(name, f"generation {number}{current}")
        state = DAMAGED if failure else UNPROVEN if name in store.unproven else WHOLE
        findings.append(Finding(f"{prefix}{name}", what, state, _got(failure) if failure else ""))
    return findings, store


def _tried(findings: list[Finding], name: str, what: str, read: Any) -> Any:
    """Note whether a file can be read, and return what it says; None if it cannot."""
    try:
        found = read()
    except NoisyCorrectError as error:
        findings.append(Finding(name, what, DAMAGED, _got(error)))
        return None
    findings.append(Finding(name, what, WHOLE))
    return found


def _placed(findings: list[Finding], path: Path, strange: str | None) -> None:
    """Correct the last finding: a file that can be read may be another run's, or have no digest."""
    last = findings[-1]
    if last.state != WHOLE:
        return
    if strange is not None:
        findings[-1] = Finding(last.file, last.what, DAMAGED, strange)
    elif stated_digest(path) is None:
        findings[-1] = Finding(last.file, last.what, UNPROVEN)


def _strange(state: RunState, store: StoreInspection | None, *, behind: int) -> str | None:
    """Return why a checkpoint is none of these labels, which may be a generation ahead of it, or two of the one before.

    A run that dies between its labels and its checkpoint leaves them so.
    """
    if store is None:
        return None
    if state.run and store.run and state.run != store.run:
        return f"of run {state.run}; the labels are of run {store.run}"
    if not store.current - behind <= state.generation <= store.current:
        return f"of generation {state.generation}; the labels are of generation {store.current}"
    return None


def _advice_on_labels(findings: list[Finding], store: StoreInspection | None, *, run: bool) -> list[str]:
    if store is None:
        return ["The manifest of the labels cannot be made anew: restore it from a copy."] if findings else []
    advice = []
    if store.failures.get(GIVEN):
        advice.append(
            "Given labels can be written anew from the data set: SoftLabelStore.restore_given(folder, labels)."
        )
    if store.current not in store.whole and not run:
        last = max(number for number in store.whole if number < store.current)
        advice.append(f"Labels can go back to generation {last}: SoftLabelStore.go_back(folder, {last}).")
    return advice


def _advice(findings: list[Finding], store: StoreInspection | None, states: dict[str, RunState]) -> list[str]:
    broken = {Path(finding.file).name for finding in findings if finding.state == DAMAGED}
    if not broken:
        return []
    run = CHECKPOINT in {Path(finding.file).name for finding in findings}
    advice = _advice_on_labels(findings, store, run=run)
    if run and store is not None:
        names = (CHECKPOINT, PREVIOUS)
        fits = [name for name in names if name in states and _usable(states[name], store) and name not in broken]
        if fits and broken - {HISTORY, DETAILS}:
            epoch = states[fits[0]].epoch
            advice.append(f'The run can go on from epoch {epoch}: fit(..., resume="last-whole").')
        elif not fits:
            advice.append("No checkpoint is whole together with its labels: restore the folder from a copy.")
    if run and broken & {HISTORY, DETAILS}:
        advice.append(
            "history.json and details.json are written anew when the run is resumed; delete the damaged ones."
        )
    if not run and broken - {GIVEN}:
        advice.append("Restore what is damaged from a copy.")
    return advice


def _usable(state: RunState, store: StoreInspection) -> bool:
    return state.generation in store.whole and (not state.run or not store.run or state.run == store.run)


def _got(error: NoisyCorrectError | str) -> str:
    """Return the middle of a message: what was found."""
    text = str(error)
    return text.partition("; got ")[2].partition("; to fix: ")[0] or text
