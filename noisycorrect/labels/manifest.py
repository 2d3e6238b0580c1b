"""The one small file that says which generation of labels is current."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noisycorrect.labels.codec import CODECS
from noisycorrect.labels.kind import KINDS
from noisycorrect.support.checksums import SEAL, file_digest, is_sealed, sealed
from noisycorrect.support.errors import NoisyCorrectError, StoreError
from noisycorrect.support.files import check_ordinary, read_json, write_json

FORMAT = "noisycorrect-labels"
VERSION = 3  # 2: a kind of labels may have a frame; 3: digests, and the run
NAME = "manifest.json"
EVIDENCE_RULES = ("mean", "exponential", "training")


@dataclass(frozen=True)
class Proof:
    """By what a file of a store is known to be whole.

    Attributes
    ----------
    file : str
        Digest of all its bytes.
    contents : str
        Digest of what is read at once when it is opened; what is read later has checksums of its own in there.
    """

    file: str
    contents: str

    @classmethod
    def of(cls, path: Path, contents: str) -> Proof:
        """Return the proof of a file that was just written."""
        return cls(file_digest(path), contents)

    def check_bytes(self, path: Path, *, limit: float) -> None:
        """Raise an OSError unless a file of at most `limit` bytes, larger ones aside, is the one that was written.

        Called before HDF5 opens it: from some that are damaged it never comes back.
        """
        if check_ordinary(path).st_size <= limit and file_digest(path) != self.file:
            raise OSError("bytes that its digest in the manifest does not fit: it was damaged, or is of another run")


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
    run: str = ""  # of the run that made the store, and in all of its files; stores of older versions have none
    proofs: dict[str, Proof] = field(default_factory=dict)  # by name of file; older versions wrote files without

    def save(self, folder: Path) -> None:
        """Replace the manifest of a folder."""
        write_json(folder / NAME, sealed({"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}))

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
            content = read_json(path)
        except FileNotFoundError as error:
            raise StoreError(f"a label store in {folder}", got="no manifest.json", fix="check the path") from error
        except (OSError, ValueError) as error:
            raise StoreError(f"readable JSON in {path}", got=str(error), fix="restore it from a copy") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise StoreError(f"a {FORMAT} manifest in {path}", got="something else", fix="check the path")
        version = content.get("version")
        if type(version) is not int or not 1 <= version <= VERSION:
            raise StoreError(
                f"format version {VERSION} or older in {path}", got=repr(version), fix="upgrade noisycorrect"
            )
        if version >= 3 and not is_sealed(content):
            got = "fields that its digest does not fit: it was damaged, or changed by hand"
            raise StoreError(f"a manifest as it was written in {path}", got=got, fix="restore it from a copy")
        fields = {name: value for name, value in content.items() if name not in ("format", "version", SEAL)}
        try:
            proofs = {str(name): Proof(**proof) for name, proof in fields.get("proofs", {}).items()}
            manifest = cls(**fields | {"generations": tuple(fields["generations"]), "proofs": proofs})
            manifest._check()
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError, NoisyCorrectError) as error:
            raise StoreError(
                f"the fields of a label store in {path}", got=str(error), fix="restore it from a copy"
            ) from error
        return manifest

    def _check(self) -> None:
        whole = (self.length, self.num_classes, self.current, self.revision, *self.generations)
        if not all(type(number) is int and 0 <= number < 2**63 for number in whole):
            raise ValueError(f"numbers {whole}")
        if not self.length or self.num_classes < 2 or list(self.generations) != sorted({*self.generations} - {0}):
            raise ValueError(f"{self.length} samples, {self.num_classes} classes, generations {self.generations}")
        if self.current not in (0, *self.generations):
            raise ValueError(f"generation {self.current}, but files of {self.generations}")
        if not all(isinstance(text, str) for text in (self.fingerprint, self.run)):
            raise ValueError(f"fingerprint {self.fingerprint!r}, run {self.run!r}")
        for name, known in (("kind", KINDS), ("evidence", EVIDENCE_RULES), ("codec", CODECS)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r}, none of {tuple(known)}")
        if not isinstance(self.momentum, (int, float)) or not 0 <= self.momentum < 1:
            raise ValueError(f"momentum {self.momentum!r}")
        if self.keep is not None and (type(self.keep) is not int or self.keep < 2):
            raise ValueError(f"keep {self.keep!r}")
        KINDS[self.kind].checked_frame(self.frame)
