"""What a kind of labels that cover a picture shows a person, and what can be decided about it region by region."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class RegionView(ABC):
    """Given and corrected labels of a store as pictures, and the regions in which they differ.

    Attributes
    ----------
    colours : list of list of int
        Red, green, blue of each class, 0..255.
    """

    colours: list[list[int]]

    def name_classes(self, names: Sequence[str]) -> None:  # noqa: B027 - a view need not care
        """Say what the classes are called, K names: colours may depend on it, and on whether class 0 is a thing."""

    @abstractmethod
    def regions(self, row: int) -> dict[str, Any]:
        """Return what there is to decide about a sample, as plain JSON values.

        Returns
        -------
        dict
            ``size``, height and width; ``regions``, the largest first, each with ``id``, ``given`` and ``suggested``
            (class indices, -1 for several), ``pixels``, and ``box``, [left, top, right, bottom].
        """

    @abstractmethod
    def layer(self, row: int, name: str) -> bytes:
        """Return a picture of a sample's size, as PNG.

        Parameters
        ----------
        row : int
            The sample's position.
        name : {"given", "corrected", "regions"}
            Labels in the colours of the classes, clear where there is none; or which region each pixel is of: its place
            in the list, plus 1, as 65536 R + 256 G + B.

        Raises
        ------
        InvalidInputError
            If there is no such layer.
        """

    def picture(self, row: int, image: Path) -> bytes | None:
        """Return the picture of a sample, in a file, as JPEG; None of those that a browser shows as the labels lie.

        Raises
        ------
        InvalidInputError
            If the file cannot be read.
        """
        return None

    @abstractmethod
    def checked(self, row: int, regions: Mapping[str, Any]) -> dict[str, Any]:
        """Return a decision about the regions of a sample as the journal keeps it.

        Parameters
        ----------
        row : int
            The sample's position.
        regions : mapping
            ``{"accepted": ids, "rejected": ids}``, every region in one of them.

        Raises
        ------
        InvalidInputError
            If it is not about the regions that there are.
        """

    @abstractmethod
    def panels(self, row: int, image: Path | None, *, side: int) -> list[tuple[str, bytes]]:
        """Return small pictures for a report, each a title and a PNG or JPEG.

        Given and corrected labels, over the image if there is one.
        """
