"""What the file of a generation says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noisycorrect.support.errors import StoreError

if TYPE_CHECKING:
    import h5py

EVIDENCE, PART_TRUST, CHECKSUMS = "evidence", "part_trust", "{}_checksums"
WHOLE = 255  # the code of trust 1


@dataclass(frozen=True)
class Header:
    """What a generation's file says of itself; all of it is checked on opening."""

    generation: int
    length: int
    num_classes: int
    fingerprint: str
    codec: str
    run: str = ""  # stores of older versions know none

    def write(self, file: h5py.File) -> None:
        """Store the fields as attributes of an HDF5 file."""
        file.attrs.update(self.__dict__)

    def check(self, file: h5py.File) -> None:
        """Raise a StoreError unless the file carries just these fields."""
        for name, value in self.__dict__.items():
            found = file.attrs.get(name)
            if (value or name != "run") and not (np.ndim(found) == 0 and found == value):
                raise StoreError(
                    f"{name} {value!r} in {file.filename}",
                    got=repr(found),
                    fix="the file is of another store; restore it from a copy or delete the run folder",
                )
