"""Which frames a video had: what says, when a run goes on, whether it is given the same ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from noisycorrect.support.errors import InvalidInputError

WIDTH = 16  # bytes of a digest
ANEW = "choose another folder, or replace what is there with resume=False"


class FrameRecord:
    """The digests of a video's frames in their order, in a file that grows by one when a frame is read first.

    Parameters
    ----------
    path : Path
        The file. What a killed run has left of a digest is cut off.

    Examples
    --------
    >>> import tempfile
    >>> record = FrameRecord(Path(tempfile.mkdtemp()) / "frames.digests")
    >>> record.read(0, np.zeros((4, 6, 3), np.uint8))
    >>> record.read(0, np.zeros((4, 6, 3), np.uint8))  # the same again
    >>> len(FrameRecord(record.path))
    1
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = path.read_bytes() if path.exists() else b""
        whole = len(self._known) // WIDTH * WIDTH
        if whole < len(self._known):
            self._known = self._known[:whole]
            os.truncate(path, whole)
        self._count = whole // WIDTH

    def __len__(self) -> int:
        return self._count

    def read(self, index: int, image: np.ndarray) -> None:
        """Take note of a frame, uint8 (H, W, 3); an InvalidInputError if another one had its place.

        Those that this process noted itself are not compared again.
        """
        digest = digest_of_frame(image)
        if index < len(self._known) // WIDTH:
            if self._known[index * WIDTH : (index + 1) * WIDTH] != digest:
                raise other_video(self.path.parent, f"frame {index}, which is another than the one parsed there")
        elif index == self._count:
            with self.path.open("ab") as file:
                file.write(digest)
            self._count += 1

    @property
    def grown(self) -> bool:
        """Whether frames were read that were not before."""
        return self._count > len(self._known) // WIDTH

    def ended(self, count: int, problem: str | None) -> None:
        """Raise an InvalidInputError if a video ends before the frames that were read of it."""
        if count < self._count:
            reason = f" ({problem})" if problem else ""
            raise other_video(self.path.parent, f"{count} frames{reason} where {self._count} were read before")

    def forget(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self._known, self._count = b"", 0


def digest_of_frame(image: np.ndarray) -> bytes:
    """Return a digest of a frame's size and pixels.

    Examples
    --------
    >>> digest_of_frame(np.zeros((2, 3, 3), np.uint8)) == digest_of_frame(np.zeros((3, 2, 3), np.uint8))
    False
    """
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=WIDTH)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()


def other_video(folder: Path, got: str) -> InvalidInputError:
    """Return the error of a folder that holds results of something else."""
    return InvalidInputError(f"{folder} to hold results of the same video and settings", got=got, fix=ANEW)
