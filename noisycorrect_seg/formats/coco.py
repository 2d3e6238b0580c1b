"""Masks as COCO's JSON: an annotation a class and image, with compressed run lengths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from noisycorrect.export import FORMATS, ExportOptions, Format, RunLabels
from noisycorrect_seg.formats.masks import image_path, regions, run_masks
from noisycorrect_seg.formats.rle import box, coco_counts
from noisycorrect_seg.kind import MaskLabels

COCO_FILE = "annotations.json"


def write_coco(labels: RunLabels, folder: Path, options: ExportOptions) -> int:
    """Write ``annotations.json``, which pycocotools reads.

    Category ids are class numbers. Class 0, the background, is no category unless ``background`` is asked for; pixels
    of which nothing is known are in no annotation, as those of the background: the PNGs tell them apart.
    """
    first = 0 if options.background else 1
    categories = [
        {"id": number, "name": name, "supercategory": ""}
        for number, name in enumerate(labels.class_names)
        if number >= first
    ]
    images: list[dict[str, Any]] = []
    with (folder / COCO_FILE).open("w", encoding="utf-8") as file:
        file.write('{"annotations": [')
        for number, annotation in enumerate(_annotations(labels, options, images), 1):
            file.write("," if number > 1 else "")
            file.write(json.dumps({"id": number, **annotation}))  # dump() would encode in Python
        rest = {"info": {"description": "noisycorrect"}, "licenses": [], "images": images, "categories": categories}
        file.write("], " + json.dumps(rest, ensure_ascii=False)[1:] + "\n")
    return len(images)


def _annotations(labels: RunLabels, options: ExportOptions, images: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield annotations without ids, and note their images."""
    for found in run_masks(labels):
        height, width = found.mask.shape
        name = image_path(labels, found, options)
        images.append({"id": found.index + 1, "file_name": name, "width": width, "height": height})
        for number, pixels in regions(found.mask, len(labels.class_names), background=options.background):
            yield {
                "image_id": found.index + 1,
                "category_id": number,
                "segmentation": {"size": [height, width], "counts": coco_counts(pixels)},
                "area": int(pixels.sum()),
                "bbox": list(box(pixels)),
                "iscrowd": 0,
            }


COCO = FORMATS.register(f"coco/{MaskLabels.name}", Format(MaskLabels.name, write_coco))
