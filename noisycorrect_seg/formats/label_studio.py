"""Masks for Label Studio: brush regions as annotations and predictions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from noisycorrect.export import FORMATS, ExportOptions, Format, RunLabels
from noisycorrect.export.label_studio import CONFIG_FILE, TASKS_FILE, task_of, write_tasks
from noisycorrect_seg.classes import palette_of_names
from noisycorrect_seg.formats.masks import image_path, regions, run_masks
from noisycorrect_seg.formats.rle import label_studio_rle
from noisycorrect_seg.kind import MaskLabels


def write_brush_tasks(labels: RunLabels, folder: Path, options: ExportOptions) -> int:
    """Write ``tasks.json``, to import, and ``labeling_config.xml``, the project's labelling interface.

    Each image has the mask that somebody decided, else the given one, as its annotation, and the corrected mask as a
    prediction: a brush region a class. Class 0, the background, is no region unless ``background`` is asked for.
    """
    count = 0

    def tasks() -> Iterator[dict[str, Any]]:
        nonlocal count
        for found in run_masks(labels):
            count += 1
            data = {"id": labels.ids[found.index], "image": image_path(labels, found, options)}
            known = found.mask if found.decided else found.given
            annotation = None if known is None else _regions(labels, known, "given", options)
            yield task_of(data, annotation, _regions(labels, found.corrected, "corrected", options))

    write_tasks(folder / TASKS_FILE, tasks())
    first = 0 if options.background else 1
    coloured = list(zip(labels.class_names, palette_of_names(labels.class_names).tolist(), strict=False))[first:]
    brushes = "".join(
        f'    <Label value={quoteattr(name)} background="#{red:02x}{green:02x}{blue:02x}"/>\n'
        for name, (red, green, blue) in coloured
    )
    config = (
        f'  <Image name="image" value="$image" zoom="true"/>\n  <BrushLabels name="mask" toName="image">\n{brushes}'
    )
    (folder / CONFIG_FILE).write_text(f"<View>\n{config}  </BrushLabels>\n</View>\n", encoding="utf-8")
    return count


def _regions(labels: RunLabels, mask: np.ndarray, name: str, options: ExportOptions) -> list[dict[str, Any]]:
    height, width = mask.shape
    return [
        {
            "id": f"{name}-{number}",
            "from_name": "mask",
            "to_name": "image",
            "type": "brushlabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": label_studio_rle(pixels),
                "brushlabels": [labels.class_names[number]],
            },
        }
        for number, pixels in regions(mask, len(labels.class_names), background=options.background)
    ]


LABEL_STUDIO = FORMATS.register(f"label-studio/{MaskLabels.name}", Format(MaskLabels.name, write_brush_tasks))
