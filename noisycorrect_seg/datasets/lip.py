"""LIP, "Look into Person" (Gong et al., CVPR 2017): people cut out of COCO, 30,462 to train on, 20 classes."""

from __future__ import annotations

from pathlib import Path

from noisycorrect_seg.classes import LIP as CLASSES
from noisycorrect_seg.datasets.layout import checked_split, samples
from noisycorrect_seg.datasets.source import FileSource

# The archives hold one folder each, and unpacking one into a folder of its own name doubles it.
IMAGE_ROOTS = ("", "TrainVal_images/", "TrainVal_images/TrainVal_images/")
MASK_ROOTS = ("", "TrainVal_parsing_annotations/", "TrainVal_parsing_annotations/TrainVal_parsing_annotations/")


class LIP(FileSource):
    """LIP in the layout of the published SCHP code, or as it is released.

    Below `root`: images in ``{split}_images/``, masks of the same stem in ``{split}_segmentations/``, and
    ``{split}_id.txt``; each also below the released ``TrainVal_images/`` and ``TrainVal_parsing_annotations/``. Without
    an id file every image of the folder is taken.

    Parameters
    ----------
    root : Path or str
        The folder.
    split : str
        ``"train"`` or ``"val"``.

    Raises
    ------
    InvalidInputError
        If a folder is missing, or an image or a mask.
    """

    def __init__(self, root: Path | str, split: str = "train") -> None:
        checked_split(split)
        files = samples(
            root,
            images=[f"{place}{split}_images" for place in IMAGE_ROOTS],
            masks=[f"{place}{split}_segmentations" for place in MASK_ROOTS],
            ids=[f"{place}{split}_id.txt" for place in (*IMAGE_ROOTS, *MASK_ROOTS[1:])],
            unlisted=lambda names, _folder: names,
        )
        super().__init__(CLASSES, *files)
