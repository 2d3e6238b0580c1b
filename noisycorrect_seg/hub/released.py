"""The weights that the SCHP authors have released: what they are, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass

from noisycorrect_seg.classes import Classes, classes_named
from noisycorrect_seg.geometry.frame import Size

_DRIVE = "https://drive.google.com/file/d/{}/view"


@dataclass(frozen=True)
class ReleasedWeights:
    """One entry of the table.

    Attributes
    ----------
    name : str
        What :meth:`ACE2P.from_pretrained <noisycorrect_seg.ACE2P.from_pretrained>` takes; also the name of the class
        list.
    data : str
        What it was trained on.
    size : (int, int)
        Height and width of the input that it was trained on.
    file, url : str
        The authors' file, and where they have put it. Google Drive has no stable download; a browser has to.
    repo, repo_file : str
        A copy by somebody else on the Hugging Face hub, as safetensors: the same numbers under the authors' names. It
        is what is downloaded.
    sha256 : str or None
        Digest of the copy; None: nobody has published one, neither of the file nor of the copy. What is downloaded is
        compared with the digest that the hub states for it.
    mean_iou, measured_on : float, str
        As the authors state it.
    licence : str
        Of code and weights, as the authors' repository states it. The photos that were trained on have terms of their
        own, some of which allow research alone.
    """

    name: str
    data: str
    size: Size
    file: str
    url: str
    repo: str
    mean_iou: float
    measured_on: str
    repo_file: str = "model.safetensors"
    sha256: str | None = None
    licence: str = "mit"

    @property
    def classes(self) -> Classes:
        """The class list."""
        return classes_named(self.name)

    @property
    def by_hand(self) -> str:
        """What to do where nothing can be downloaded."""
        return (
            f"download {self.file} in a browser, from {self.url}, or {self.repo_file} from"
            f" https://huggingface.co/{self.repo}, and pass the file's path"
        )


# Files, links, figures and licence: README of github.com/GoGoDuck912/Self-Correction-Human-Parsing. Copies: README of
# github.com/pirocheto/schp-human-parsing, which says how they were made.
RELEASED: dict[str, ReleasedWeights] = {
    entry.name: entry
    for entry in (
        ReleasedWeights(
            "lip",
            "LIP, 30,462 images",
            (473, 473),
            "exp-schp-201908261155-lip.pth",
            _DRIVE.format("1k4dllHpu0bdx38J7H28rVVLpU-kOHmnH"),
            "pirocheto/schp-lip-20",
            0.5936,
            "LIP, validation",
        ),
        ReleasedWeights(
            "atr",
            "ATR, more than 17,000 images",
            (512, 512),
            "exp-schp-201908301523-atr.pth",
            _DRIVE.format("1ruJg4lqR_jgQPj-9K0PP-L2vJERYOxLP"),
            "pirocheto/schp-atr-18",
            0.8229,
            "ATR, test",
        ),
        ReleasedWeights(
            "pascal",
            "Pascal-Person-Part, more than 3,000 images",
            (512, 512),
            "exp-schp-201908270938-pascal-person-part.pth",
            _DRIVE.format("1E5YwNKW2VOEayK9mWCS3Kpsxf-3z04ZE"),
            "pirocheto/schp-pascal-7",
            0.7146,
            "Pascal-Person-Part, validation",
        ),
    )
}
"""Weights by name. ``ACE2P.from_pretrained`` takes these names, and files, folders and repositories."""


def released_for(num_classes: int) -> ReleasedWeights | None:
    """Return the entry with as many classes: what a file of the authors' layout is taken for.

    Examples
    --------
    >>> released_for(18).name, released_for(5)
    ('atr', None)
    """
    return next((entry for entry in RELEASED.values() if len(entry.classes) == num_classes), None)
