"""The page that lies beside weights: what they are, what they were trained on, how good they are, who may use them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence

from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.classes import Classes
from noisycorrect_seg.geometry.frame import Size
from noisycorrect_seg.inputs import BGR, RGB, Normalisation

UNSAID = "Not stated."


def model_card(
    title: str,
    *,
    network: str,
    parameters: int,
    classes: Classes | None,
    size: Size | None,
    normalisation: Normalisation | None = None,
    data: str | None = None,
    licence: str | None = None,
    metrics: Mapping[str, float] | None = None,
    notes: str | None = None,
    load: str = "ACE2P.from_pretrained(PATH)",
) -> str:
    """Return a model card: Markdown, with the header that the Hugging Face hub reads.

    What is not passed is said to be not stated; nothing is guessed.

    Parameters
    ----------
    title : str
        Name of the weights.
    network, parameters : str, int
        What they are weights of, and how many.
    classes, size : Classes, (int, int), optional
        Of logits and input.
    normalisation : Normalisation, optional
        How values become the input. Default: as A-CE2P takes it, blue first.
    data, licence, notes : str, optional
        What was trained on; the licence as an SPDX identifier, such as ``"mit"``; what else is to be known.
    metrics : mapping of str to float, optional
        Figures by name, with what they were measured on in the name.
    load : str
        The call that loads them.

    Raises
    ------
    InvalidInputError
        If the licence is no identifier, or a figure no finite number.

    Examples
    --------
    >>> card = model_card("own", network="ACE2P", parameters=3, classes=None, size=None, licence="mit")
    >>> card.splitlines()[1], "## Data" in card
    ('license: "mit"', True)
    """
    if licence is not None and not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", licence):
        raise InvalidInputError(
            "a licence as an identifier", got=repr(licence), fix='pass "mit", "cc-by-4.0", "other", ...'
        )
    figures = {
        name: finite_number(f"metric {name!r}", value, fix="leave it out") for name, value in (metrics or {}).items()
    }
    header = {} if licence is None else {"license": licence.lower()}
    lines = [
        "---",
        *(f"{key}: {json.dumps(value)}" for key, value in header.items()),
        "library_name: noisycorrect",
        "pipeline_tag: image-segmentation",
        'tags: ["human-parsing", "semantic-segmentation", "noisycorrect"]',
        "---",
        "",
        f"# {_text(title)}",
        "",
        f"{_text(network)}, {parameters:,} parameters. Input: "
        + ("of a size that is not stated" if size is None else f"{size[0]} x {size[1]} pixels (height, width)")
        + f", {_shown(BGR if normalisation is None else normalisation)}.",
        "",
        "```python",
        "from noisycorrect_seg import ACE2P, parse_image",
        "",
        f"network = {load}",
        'parsing = parse_image(network, "photo.jpg")',
        "```",
        "",
        "## Data",
        "",
        _text(data) if data else UNSAID,
        "",
        "## Metrics",
        "",
        *(_table(("metric", "value"), [(name, f"{value:g}") for name, value in figures.items()]) or [UNSAID]),
        "",
        "## Classes",
        "",
        *([UNSAID] if classes is None else _classes(classes)),
        "",
        "## Licence",
        "",
        _text(licence) if licence else UNSAID,
    ]
    return "\n".join([*lines, *([] if notes is None else ["", "## Notes", "", _text(notes)])]) + "\n"


def _shown(normalisation: Normalisation) -> str:
    """Return how values become the input, in words."""
    if normalisation in (BGR, RGB):
        return f"{'blue' if normalisation == BGR else 'red'} first, normalised with ImageNet's mean and deviation"
    order = ", the channels in reverse order" if normalisation.reverse else ""
    mean, std = (", ".join(f"{each:g}" for each in numbers) for numbers in (normalisation.mean, normalisation.std))
    return f"(value / {normalisation.scale:g} - mean) / std with mean {mean} and std {std}{order}"


def _classes(classes: Classes) -> list[str]:
    mirrored = dict([*classes.flip_pairs, *((other, one) for one, other in classes.flip_pairs)])
    rows = [
        (str(number), name, classes.names[mirrored[number]] if number in mirrored else "")
        for number, name in enumerate(classes.names)
    ]
    return _table(("class", "name", "in a mirror"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    lines = [[_cell(cell) for cell in line] for line in (head, ["---"] * len(head), *rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cell(text: str) -> str:
    return " ".join(_text(text).replace("|", "\\|").split())


def _text(text: str) -> str:
    return html.escape(text, quote=False).strip()
