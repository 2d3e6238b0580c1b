"""ATR (Liang et al., ICCV 2015): 17,706 fashion photos of one person each, 18 classes."""

from __future__ import annotations

from pathlib import Path

from noisycorrect_seg.classes import ATR as CLASSES
from noisycorrect_seg.datasets.layout import checked_split, divided, find_if_any, opposite, samples
from noisycorrect_seg.datasets.source import FileSource

ROOTS = ("", "humanparsing/")
VAL_EVERY = 25  # 708 of 17,706; the papers hold out 700, and did not publish which


class ATR(FileSource):
    """ATR as it is released, or in LIP's layout.

    Below `root` or a released ``humanparsing/`` in it: images in ``JPEGImages/``, masks of the same stem in
    ``SegmentationClassAug/``, and ``{split}_id.txt`` or ``{split}.txt``. The release has no id files: without any,
    every 25th image in sorted order is val and the others are train; with one, the other split is the rest. In LIP's
    layout: ``{split}_images/`` and ``{split}_segmentations/``, every image unless there is an id file.

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

        def lists(side: str) -> list[str]:
            return [f"{place}{side}{end}" for place in ROOTS for end in ("_id.txt", ".txt")]

        def unlisted(names: list[str], folder: Path) -> list[str]:
            if folder.name == f"{split}_images":
                return names
            other = find_if_any(root, lists(opposite(split)), kind="file")
            return divided(names, split, other=other, every=VAL_EVERY)

        files = samples(
            root,
            images=[f"{place}{name}" for place in ROOTS for name in (f"{split}_images", "JPEGImages")],
            masks=[f"{place}{name}" for place in ROOTS for name in (f"{split}_segmentations", "SegmentationClassAug")],
            ids=lists(split),
            unlisted=unlisted,
        )
        super().__init__(CLASSES, *files)
