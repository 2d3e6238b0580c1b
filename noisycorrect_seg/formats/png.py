"""Masks as palette PNGs: pixels are class numbers, viewers show colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from noisycorrect.export import FORMATS, ExportOptions, Format, RunLabels
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.checks import recorded_classes
from noisycorrect_seg.datasets.class_file import write_classes
from noisycorrect_seg.formats.masks import run_masks
from noisycorrect_seg.kind import MaskLabels


def write_pngs(labels: RunLabels, folder: Path, options: ExportOptions) -> int:
    """Write ``STEM.png`` a mask, of its size; 255 where nothing is known; and a classes file where there are names.

    Of more than 255 classes the files are grey, of 16 bits, and 65535 is where nothing is known.

    The folder can be read again as the masks of :class:`~noisycorrect_seg.datasets.Folder`.

    Raises
    ------
    InvalidInputError
        If the package ``pillow`` is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise InvalidInputError("the package pillow", got="none", fix="pip install pillow") from error
    classes = recorded_classes(labels.class_names, labels.input_record)
    palette = classes.palette.tobytes()
    written = 0
    for found in run_masks(labels):
        path = folder / f"{found.stem}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(found.mask)
        if found.mask.dtype == np.uint8:
            picture.putpalette(palette)
        picture.save(path, format="PNG")
        written += 1
    if labels.named:
        write_classes(folder, classes)
    return written


PNG = FORMATS.register(f"png/{MaskLabels.name}", Format(MaskLabels.name, write_pngs))
