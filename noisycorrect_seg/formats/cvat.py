"""Masks as CVAT's XML for images, version 1.1."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from noisycorrect.export import FORMATS, ExportOptions, Format, RunLabels
from noisycorrect_seg.classes import palette_of_names
from noisycorrect_seg.formats.masks import RunMask, image_path, regions, run_masks
from noisycorrect_seg.formats.rle import box, run_lengths
from noisycorrect_seg.kind import MaskLabels

CVAT_FILE = "annotations.xml"


def write_cvat(labels: RunLabels, folder: Path, options: ExportOptions) -> int:
    """Write ``annotations.xml``: an element ``mask`` a class and image, its run lengths inside its box, row by row.

    Class 0, the background, is no label unless ``background`` is asked for.
    """
    written = 0
    with (folder / CVAT_FILE).open("w", encoding="utf-8") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
        file.write(_meta(labels, options))
        for found in run_masks(labels):
            file.write(_image(labels, found, options))
            written += 1
        file.write("</annotations>\n")
    return written


def _meta(labels: RunLabels, options: ExportOptions) -> str:
    """Return the part that names the labels; importing needs a project with these."""
    first = 0 if options.background else 1
    colours = palette_of_names(labels.class_names).tolist()
    rows = [
        f"        <label><name>{escape(name)}</name><color>#{red:02x}{green:02x}{blue:02x}</color><type>mask</type>"
        "<attributes></attributes></label>\n"
        for name, (red, green, blue) in list(zip(labels.class_names, colours, strict=False))[first:]
    ]
    task = f"<name>noisycorrect</name><size>{len(labels)}</size><mode>annotation</mode>"
    return f"  <meta>\n    <task>{task}\n      <labels>\n{''.join(rows)}      </labels>\n    </task>\n  </meta>\n"


def _image(labels: RunLabels, found: RunMask, options: ExportOptions) -> str:
    height, width = found.mask.shape
    rows = []
    for number, pixels in regions(found.mask, len(labels.class_names), background=options.background):
        left, top, columns, lines = box(pixels)
        runs = run_lengths(pixels[top : top + lines, left : left + columns].ravel())
        name = quoteattr(labels.class_names[number])
        rle = ", ".join(map(str, runs.tolist()))
        rows.append(
            f'    <mask label={name} source="auto" occluded="0" rle="{rle}" left="{left}" top="{top}"'
            f' width="{columns}" height="{lines}" z_order="0"></mask>\n'
        )
    name = quoteattr(image_path(labels, found, options))
    return f'  <image id="{found.index}" name={name} width="{width}" height="{height}">\n{"".join(rows)}  </image>\n'


def cvat_mask(rle: str, left: int, top: int, width: int, height: int, size: tuple[int, int]) -> np.ndarray:
    """Return the mask, bool, of `size` (H, W), that an element of CVAT's stands for.

    Examples
    --------
    >>> cvat_mask("0, 2, 1, 1", 1, 0, 2, 2, (2, 3)).astype(int).tolist()
    [[0, 1, 1], [0, 0, 1]]
    """
    runs = np.array([int(part) for part in rle.split(",")])
    mask = np.zeros(size, bool)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask[top : top + height, left : left + width] = inside.reshape(height, width)
    return mask


CVAT = FORMATS.register(f"cvat/{MaskLabels.name}", Format(MaskLabels.name, write_cvat))
