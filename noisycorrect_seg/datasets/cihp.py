"""CIHP (Gong et al., ECCV 2018): several people an image, 28,280 images to train on; LIP's classes but one."""

from __future__ import annotations

from pathlib import Path

from noisycorrect_seg.classes import classes_named
from noisycorrect_seg.datasets.layout import checked_split, find, samples
from noisycorrect_seg.datasets.source import FileSource

ROOTS = ("", "instance-level_human_parsing/", "instance-level_human_parsing/instance-level_human_parsing/")
FOLDERS = {"train": ("Training", "train", "Train"), "val": ("Validation", "val", "Val")}


class CIHP(FileSource):
    """CIHP, and sets laid out like it, as semantic masks; who a part belongs to is not read.

    Below `root` or a released ``instance-level_human_parsing/`` in it, in ``Training/`` or ``Validation/``: images in
    ``Images/``, masks of the same stem in ``Category_ids/`` (or ``Categories/``, where it holds class numbers and not
    colours), and ``train_id.txt`` or ``val_id.txt`` there or in `root`. Without an id file every image is taken.

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
        places = [f"{place}{folder}" for place in ROOTS for folder in FOLDERS[split]]
        place = find(root, places, kind="folder").relative_to(root).as_posix()
        files = samples(
            root,
            images=[f"{place}/Images"],
            masks=[f"{place}/Category_ids", f"{place}/Categories"],
            ids=[f"{place}/{split}_id.txt", *(f"{outer}{split}_id.txt" for outer in ROOTS)],
            unlisted=lambda names, _folder: names,
        )
        super().__init__(classes_named("cihp"), *files)
