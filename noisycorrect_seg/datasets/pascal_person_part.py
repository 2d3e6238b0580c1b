"""Pascal-Person-Part (Chen et al., CVPR 2014): 3,533 images of Pascal VOC 2010, six body parts."""

from __future__ import annotations

from pathlib import Path

from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import PASCAL
from noisycorrect_seg.datasets.layout import checked_split, samples
from noisycorrect_seg.datasets.source import FileSource

IMAGES = ("JPEGImages", "VOCdevkit/VOC2010/JPEGImages", "VOCdevkit/VOC2012/JPEGImages", "VOC2010/JPEGImages")
ROOTS = ("", "pascal_person_part/")
MASKS = ("pascal_person_part_gt", "SegmentationPart", "SegmentationPersonPart")
LISTS = ("pascal_person_part_trainval_list/", "ImageSets/SegmentationPersonPart/", "")


class PascalPersonPart(FileSource):
    """Pascal-Person-Part as DeepLab's authors released it beside Pascal VOC, or in LIP's layout.

    Below `root`: images in VOC's ``JPEGImages/`` (also below ``VOCdevkit/VOC2010/``); masks of the same stem in
    ``pascal_person_part_gt/``, ``SegmentationPart/`` or ``SegmentationPersonPart/``; and the split's ``train.txt`` or
    ``val.txt`` in ``pascal_person_part_trainval_list/``, or ``{split}_id.txt``; the masks and lists also below
    ``pascal_person_part/``. In LIP's layout: ``{split}_images/`` and ``{split}_segmentations/``, every image unless
    there is an id file.

    Parameters
    ----------
    root : Path or str
        The folder.
    split : str
        ``"train"`` or ``"val"``.

    Raises
    ------
    InvalidInputError
        If a folder is missing, the list, an image or a mask.
    """

    def __init__(self, root: Path | str, split: str = "train") -> None:
        checked_split(split)
        ids = [f"{place}{inner}{split}{end}" for place in ROOTS for inner in LISTS for end in ("_id.txt", ".txt")]

        def unlisted(names: list[str], folder: Path) -> list[str]:
            if folder.name == f"{split}_images":
                return names
            raise InvalidInputError(
                f"the list of {split} images, {LISTS[0]}{split}.txt or {split}_id.txt",
                got=f"none below {root}",
                fix="restore it",
            )

        files = samples(
            root,
            images=[f"{split}_images", *IMAGES, *(f"{place}{name}" for place in ROOTS[1:] for name in IMAGES)],
            masks=[f"{place}{name}" for place in ROOTS for name in (f"{split}_segmentations", *MASKS)],
            ids=ids,
            unlisted=unlisted,
        )
        super().__init__(PASCAL, *files)
