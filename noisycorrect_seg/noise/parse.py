"""From a spelling such as `boundary:3+swap:0.2` to the noise model; and the mixture that looks like real annotation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import unknown_name
from noisycorrect_seg.classes import classes_named
from noisycorrect_seg.noise.base import MODELS, ClassesLike, MaskNoise
from noisycorrect_seg.noise.boundary import Boundary
from noisycorrect_seg.noise.compose import Compose
from noisycorrect_seg.noise.omission import DroppedPart
from noisycorrect_seg.noise.semantic import Confusion, LeftRightSwap, confused_pairs
from noisycorrect_seg.noise.shapes import CoarsePolygon, PartAffine


@door(own=True)
def parse(spelling: str, **materials: Any) -> MaskNoise:
    """Return the noise model of a spelling; the inverse of `str(model)`.

    A spelling is `name`, `name:value` or `name:value:option=value:flag`, and several are joined by `+`: `none`,
    `boundary:3`, `markov:100:theta1=0.8`, `affine:0.5`, `confusion:0.2:whole`, `matrix:0.9,0.1/0.2,0.8`, `swap:0.1`,
    `drop:0.1:at_most=0.1`, `omit:0.4:only=3,18`, `annotators:5`, `polygon:8:jitter=1`, `superpixel:8`,
    `boundary:3+swap:0.2`. `realistic` is `realistic()`.

    Parameters
    ----------
    spelling : str
        As above.
    **materials
        Arrays and the like that models need and spellings do not hold, by the name of the field that takes them. Each
        model takes what it has a field for. None of this package needs any.

    Returns
    -------
    MaskNoise
        The model; a `Compose` where several are joined.

    Raises
    ------
    InvalidInputError
        If a name or an option is unknown, a value is missing or unreadable, no model takes a material, or the model
        refuses its arguments.

    Examples
    --------
    >>> parse("swap:0.2")
    LeftRightSwap(rate=0.2, together=False)
    >>> str(parse("boundary:3 + swap:0.2:together"))
    'boundary:3+swap:0.2:together'
    """
    if not isinstance(spelling, str):
        raise MODELS.no_spelling(spelling)
    models = [_parse_one(text, materials) for text in spelling.split("+")]
    return models[0] if len(models) == 1 else Compose(models)


def _parse_one(text: str, materials: Mapping[str, Any]) -> MaskNoise:
    if text.strip() == "realistic":
        return realistic()
    name = text.strip().split(":")[0]
    if name not in MODELS:
        raise unknown_name(MODELS.what, name, [*MODELS, "realistic"])
    return MODELS.read(text, materials)


@door(own=True)
def realistic(height: int = 128, classes: ClassesLike = "lip") -> Compose:
    """Return a mixture of everything that goes wrong when people annotate people.

    Garments under another name, left and right of a person exchanged, small parts overlooked, a part put down in the
    wrong place, outlines as coarse polygons, borders too far out or in. Of `SyntheticPeople` at 128 x 96 it makes wrong
    25 % of the people's pixels, 29 % of those that are foreground before or after, 8 % of all.

    Parameters
    ----------
    height : int
        Height of the masks in pixels, at least 1; what is measured in pixels grows with it.
    classes : Classes, str or sequence of str
        The classes; confusions are left out where `CONFUSED` names none of them, swaps where there are no flip pairs.

    Returns
    -------
    Compose
        The mixture.

    Raises
    ------
    InvalidInputError
        If the height is not a positive number.

    Examples
    --------
    >>> [model.name for model in realistic().models]
    ['confusion', 'swap', 'swap', 'drop', 'affine', 'polygon', 'boundary']
    """
    height = whole_number("height", height, least=1)
    known = classes_named(classes)
    models: list[MaskNoise] = []
    if confused_pairs(known):
        models.append(Confusion(0.12, whole=True))
    if known.flip_pairs:
        models += [LeftRightSwap(0.12, together=True), LeftRightSwap(0.04)]
    pixel = height / 128
    return Compose(
        [
            *models,
            DroppedPart(0.12, at_most=0.08),
            PartAffine(0.5),
            CoarsePolygon(11, jitter=round(0.5 * pixel, 3)),
            Boundary(round(1.1 * pixel, 3)),
        ]
    )
