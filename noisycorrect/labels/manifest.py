"""The one small file that says which generation of labels is current."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noisycorrect.labels.codec import CODECS
from noisycorrect.labels.kind import KINDS
from noisycorrect.support.errors import StoreError
from noisycorrect.support.files import write_json

FORMAT = "noisycorrect-labels"
VERSION = 2  # 2: a kind of labels may have a frame
NAME = "manifest.json"
EVIDENCE_RULES = ("mean", "exponential", "training")


@dataclass(frozen=True)
class Manifest:
    """What a label store is, and which generations it holds.

    Replaced atomically as a whole: a reader finds the labels before a cycle or after it, never in between.
    """

    kind: str
    length: int
    num_classes: int
    fingerprint: str
    codec: str
    evidence: str  # "mean" or "exponential" over the generations; "training": each is whole when it is written
    momentum: float  # weight of the past in exponential evidence
    keep: int | None  # generations to keep; None keeps all
    frame: Any = None  # what the kind knows of how predictions are made; it checks that itself
    current: int = 0
    generations: tuple[int, ...] = ()  # those with a file; generation 0 is the given labels
    revision: int = 0  # counts replacements: after a rollback another generation may come under the same number

    def save(self, folder: Path) -> None:
        """Replace the manifest of a folder."""
        write_json(folder / NAME, {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)})

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder.

        Raises
        ------
        StoreError
            If there is none, it cannot be read, or its format is newer than this version of the package.
        """
        path = folder / NAME
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise StoreError(f"a label store in {folder}", got="no manifest.json", fix="check the path") from error
        except (OSError, ValueError) as error:
            raise StoreError(f"readable JSON in {path}", got=str(error), fix="restore it from a copy") from error
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise StoreError(f"a {FORMAT} manifest in {path}", got="something else", fix="check the path")
        version = content.pop("version", None)
        if not isinstance(version, int) or version > VERSION:
            raise StoreError(
                f"format version {VERSION} or older in {path}", got=repr(version), fix="upgrade noisycorrect"
            )
        try:
            manifest = cls(**content | {"generations": tuple(content["generations"])})
            manifest._check()
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"the fields of a label store in {path}", got=str(error), fix="restore it from a copy"
            ) from error
        return manifest

    def _check(self) -> None:
        whole = (self.length, self.num_classes, self.current, self.revision, *self.generations)
        if not all(type(number) is int and number >= 0 for number in whole):
            raise ValueError(f"numbers {whole}")
        if self.current not in (0, *self.generations):
            raise ValueError(f"generation {self.current}, but files of {self.generations}")
        for name, known in (("kind", KINDS), ("evidence", EVIDENCE_RULES), ("codec", CODECS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r}, none of {tuple(known)}")
        KINDS[self.kind].checked_frame(self.frame)
