"""How a model is called, and where in its output the logits are: as PyTorch's own models do it, or Hugging Face's."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.modules import unwrap

# Names under which models of Hugging Face take their inputs; one of the first five is always there.
MAIN_KEYWORDS = ("input_ids", "pixel_values", "input_values", "input_features", "inputs_embeds")
KEYWORDS = (
    *MAIN_KEYWORDS,
    "attention_mask", "token_type_ids", "position_ids", "global_attention_mask", "pixel_mask", "bbox",
    "decoder_input_ids", "decoder_attention_mask", "visual_embeds", "visual_attention_mask", "visual_token_type_ids",
)  # fmt: skip


def check_takes(function: Any, names: Sequence[str], what: str, example: str) -> None:
    """Raise unless a function can be called with so many positional arguments.

    Parameters
    ----------
    function : callable
        What the caller passed; of one whose signature nobody knows (built in, of C) nothing is said.
    names : sequence of str
        What the arguments are, in order.
    what : str
        What messages call it.
    example : str
        How it can be written.

    Raises
    ------
    InvalidInputError
        If it is no function, or takes fewer arguments or needs more.

    Examples
    --------
    >>> check_takes(lambda: None, ["input"], "augment", "def augment(input): ...")
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.InvalidInputError: expected augment(input) to be possible; got <lambda>(): too many
    positional arguments; to fix: write it as def augment(input): ...
    """
    if not callable(function):
        raise InvalidInputError(f"{what} to be callable", got=repr(function), fix=f"write it as {example}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*names)
    except TypeError as error:
        got = f"{getattr(function, '__name__', type(function).__name__)}{signature}: {error}"
        raise InvalidInputError(
            f"{what}({', '.join(names)}) to be possible", got=got, fix=f"write it as {example}"
        ) from error


class KeywordInputs(dict[str, Any]):
    """Inputs by name, with which a model is called as keyword arguments: ``model(input_ids=..., attention_mask=...)``.

    Examples
    --------
    >>> KeywordInputs(input_ids=[1, 2])
    {'input_ids': [1, 2]}
    """


def called(model: nn.Module, inputs: Any) -> Any:
    """Return a model's output for an input: a tensor, or several in a tuple or dict; :class:`KeywordInputs` by name.

    Of these a model gets those that its ``forward`` takes. One tensor alone also goes to a model whose ``forward`` has
    another name for it.

    Raises
    ------
    InvalidInputError
        If a model takes none of several named inputs.

    Examples
    --------
    >>> import torch
    >>> called(nn.Linear(2, 1), KeywordInputs(pixel_values=torch.zeros(3, 2), attention_mask=None)).shape
    torch.Size([3, 1])
    """
    if not isinstance(inputs, KeywordInputs) or getattr(unwrap(model), "hands_inputs_on", False):
        return model(inputs)
    inputs = {name: value for name, value in inputs.items() if value is not None}
    parameters = inspect.signature(unwrap(model).forward).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return model(**inputs)
    taken = {parameter.name for parameter in parameters} & inputs.keys()
    if taken:
        return model(**{name: inputs[name] for name in inputs if name in taken})
    if len(inputs) == 1:
        return model(*inputs.values())
    raise InvalidInputError(
        f"a model whose forward takes one of {', '.join(inputs)}",
        got=f"{type(unwrap(model)).__name__}.forward({', '.join(parameter.name for parameter in parameters)})",
        fix="name its arguments so, or give the items one input: (input, label)",
    )


def logits_of(output: Any) -> Any:
    """Return the logits in a model's output: its ``logits``, the first of a tuple, or the output itself.

    Examples
    --------
    >>> logits_of({"loss": None, "logits": 1}), logits_of((2, 3)), logits_of(4)
    (1, 2, 4)
    """
    if isinstance(output, Tensor):
        return output
    named = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    if named is not None:
        return named
    return output[0] if isinstance(output, (tuple, list)) and output else output
