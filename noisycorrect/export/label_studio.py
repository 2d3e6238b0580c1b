"""Class labels for Label Studio: tasks with annotations and predictions, and the labelling interface."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.sax.saxutils import quoteattr

from noisycorrect.export.formats import FORMATS, ExportOptions, Format
from noisycorrect.export.labels import CLASSES, RunLabels
from noisycorrect.review.session import FinalLabel, Item

TASKS_FILE, CONFIG_FILE = "tasks.json", "labeling_config.xml"
MODEL = "noisycorrect"
# How Label Studio shows what an item has; what has nothing to see is shown by its id.
_TAGS = {
    "text": '<Text name="text" value="$text"/>',
    "image": '<Image name="image" value="$image"/>',
    "row": '<Table name="row" value="$row"/>',
    "": '<Text name="sample" value="$id"/>',
}
_OBJECTS = {"text": "text", "image": "image", "row": "row", "": "sample"}


def write_label_studio(labels: RunLabels, folder: Path, options: ExportOptions) -> int:
    """Write ``tasks.json``, to import, and ``labeling_config.xml``, the project's labelling interface.

    Each task has the label that somebody decided, else the given one, as its annotation, and the run's corrected label
    as a prediction with its probability as score, so that Label Studio shows where they differ.
    """
    tasks = (_task(item, final, labels.shown, options) for item, final in zip(labels.items, labels.finals, strict=True))
    write_tasks(folder / TASKS_FILE, tasks)
    target = _OBJECTS[labels.shown]
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in labels.class_names)
    config = (
        f'  {_TAGS[labels.shown]}\n  <Choices name="label" toName="{target}" choice="single">\n{choices}\n  </Choices>'
    )
    (folder / CONFIG_FILE).write_text(f"<View>\n{config}\n</View>\n", encoding="utf-8")
    return len(labels)


def write_tasks(path: Path, tasks: Iterable[dict[str, Any]]) -> None:
    """Write tasks as a JSON list, one a line, without holding them all."""
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, task in enumerate(tasks):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(task, ensure_ascii=False, allow_nan=False))  # dump() would encode in Python
        file.write("\n]\n")


def task_of(
    data: dict[str, Any],
    annotation: Sequence[dict[str, Any]] | None,
    prediction: Sequence[dict[str, Any]] | None,
    score: float | None = None,
) -> dict[str, Any]:
    """Return a task with results as annotation and as prediction; None for what there is not.

    Examples
    --------
    >>> task_of({"text": "woof"}, [], None)
    {'data': {'text': 'woof'}, 'annotations': [{'result': []}], 'predictions': []}
    """
    predictions = []
    if prediction is not None:
        scored = {} if score is None else {"score": round(score, 6)}
        predictions = [{"model_version": MODEL, **scored, "result": list(prediction)}]
    annotations = [] if annotation is None else [{"result": list(annotation)}]
    return {"data": data, "annotations": annotations, "predictions": predictions}


def image_address(path: str, options: ExportOptions) -> str:
    """Return where a label tool finds an image: its path, or the caller's prefix and the file's name.

    Examples
    --------
    >>> image_address("../photos/1.jpg", ExportOptions(images="/data/local-files/?d=photos"))
    '/data/local-files/?d=photos/1.jpg'
    """
    if options.images is None:
        return path
    plain = PurePosixPath(path.replace("\\", "/"))
    inside = plain.name if plain.is_absolute() or ".." in plain.parts else str(plain)
    joint = "" if options.images.endswith(("/", "=")) else "/"
    return f"{options.images}{joint}{inside}"


def _task(item: Item, final: FinalLabel, shown: str, options: ExportOptions) -> dict[str, Any]:
    data: dict[str, Any] = {"id": item.id, "label_quality": round(item.quality, 6)}
    if shown == "image" and item.image is not None:
        data["image"] = image_address(item.image, options)
    elif shown in ("text", "row"):
        data[shown] = getattr(item, shown)
    corrected = item.corrected if final.decided else final.label
    predicted = None if item.suggested is None else corrected
    known = final.label if final.decided else item.given
    score = None if predicted is None else item.probs.get(predicted)
    target = _OBJECTS[shown]
    return task_of(data, _choice("given", known, target), _choice("corrected", predicted, target), score)


def _choice(name: str, label: str | None, target: str) -> list[dict[str, Any]] | None:
    """Return the result that chooses a label; None without one."""
    if label is None:
        return None
    return [{"id": name, "from_name": "label", "to_name": target, "type": "choices", "value": {"choices": [label]}}]


FORMATS.register(f"label-studio/{CLASSES}", Format(CLASSES, write_label_studio))
