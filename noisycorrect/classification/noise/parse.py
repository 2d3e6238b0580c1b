"""From a spelling such as `symmetric:0.4:inclusive` to the noise model."""

from __future__ import annotations

from typing import Any

from noisycorrect.classification.noise.base import MODELS, NoiseModel
from noisycorrect.support.door import door


@door(own=True)
def parse(spelling: str, **materials: Any) -> NoiseModel:
    """Return the noise model of a spelling; the inverse of `str(model)`.

    A spelling is `name`, `name:value` or `name:value:option=value:flag`: `none`, `symmetric:0.4:inclusive`,
    `pairflip:0.2:sampling=bernoulli`, `asymmetric:0.4:mapping=9-1,2-0`, `classconditional:0.9,0.1/0.2,0.8`,
    `instance:0.4:std=0.2`, `feature:0.3`, `openset:0.2`, `human:random1`.

    Parameters
    ----------
    spelling : str
        As above.
    **materials
        Arrays and files that models need and spellings do not hold, by the name of the field that takes them:
        `labels_or_path` of `Human`, `pool` of `OpenSet`, `teacher_probs` of `FeatureDependent`. A caller that reads
        spellings from users passes all it has, and the model takes what it has a field for.

    Returns
    -------
    NoiseModel
        The model.

    Raises
    ------
    InvalidInputError
        If the name or an option is unknown, a value is missing or unreadable, no model takes a material, or the model
        refuses its arguments.

    Examples
    --------
    >>> parse("symmetric:0.4")
    Symmetric(rate=0.4, inclusive=False, sampling='exact')
    >>> str(parse("symmetric:0.4:inclusive"))
    'symmetric:0.4:inclusive'
    >>> parse("human:random1", labels_or_path="CIFAR-10_human.pt").key
    'random1'
    """
    return MODELS.read(spelling, materials)
