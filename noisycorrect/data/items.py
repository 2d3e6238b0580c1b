"""Items of data sets, and batches of them: which part is the input, which the label, and what else there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import default_collate

from noisycorrect.cycle.feed import INPUT_KEYS
from noisycorrect.support.calling import KEYWORDS, MAIN_KEYWORDS, KeywordInputs
from noisycorrect.support.errors import InvalidInputError

# Of each kind the first names that a dict has any of are meant.
MORE_INPUT_KEYS = ("inputs", "X", "data")
LABEL_KEYS = (("label", "given", "y", "target"), ("labels", "label_ids", "targets"))
WEIGHT_KEYS = ("sample_weight", "weight")


def input_of(item: Any) -> Any:
    """Return the input of an item that may have a label or none: the first of a tuple, a field of a dict, or the item.

    Examples
    --------
    >>> input_of((1, 2)), input_of({"image": 1}), input_of(1)
    (1, 1, 1)
    """
    if isinstance(item, Mapping):
        found = _input_keys(item)
        if isinstance(found, KeywordInputs):
            return found
        item = item[found[0]] if len(found) == 1 else item
    return item[0] if isinstance(item, (tuple, list)) else item


def weight_among(fields: Mapping[str, Any]) -> Any:
    """Return the weight, or the weights, among the fields of a dict; None if there are none.

    Examples
    --------
    >>> weight_among({"x": 0.5, "weight": 2.0})
    2.0
    """
    return next((fields[key] for key in WEIGHT_KEYS if key in fields), None)


def labeled_item(inputs: Any, label: Any, weight: Any = None) -> Any:
    """Return an item of a data set; with a weight it is a dict, in which inputs by name stay what they are.

    Examples
    --------
    >>> labeled_item(0.5, 1), labeled_item(0.5, 1, 2.0)
    ((0.5, 1), {'input': 0.5, 'label': 1, 'sample_weight': 2.0})
    """
    return (inputs, label) if weight is None else {"input": inputs, "label": label, "sample_weight": weight}


def split_fields(batch: Any, size: int | None = None) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return (input, label, index or None, extra) of an item, or of a batch of `size` samples.

    Items are tuples that begin with ``(input, label)``, or dicts. A third element of a tuple that is a whole number is
    the sample's position in the data set; names, paths, dicts, arrays, and what follows, are passed over. A dict has
    one input (``input``, ``image``, ``x``; or ``inputs``, ``X``, ``data``), or several under the names of Hugging Face
    (``input_ids``, ``attention_mask``, ``pixel_values``, ...), and one label (``label``, ``given``, ``y``, ``target``;
    or ``labels``, ``label_ids``, ``targets``).

    Raises
    ------
    InvalidInputError
        If it is neither, or a third element is a number that is no position.

    Examples
    --------
    >>> split_fields({"image": 1, "label": 2, "index": 3, "matrix": 4})
    (1, 2, 3, {'matrix': 4})
    >>> split_fields((1, 2, "a.jpg"))
    (1, 2, None, {})
    """
    if isinstance(batch, Mapping):
        fields = dict(batch)
        inputs, labels = _input_keys(fields), present(fields, LABEL_KEYS)
        if inputs and len(labels) == 1:
            found = inputs if isinstance(inputs, KeywordInputs) else fields[inputs[0]]
            used = {*inputs, *labels} if isinstance(inputs, KeywordInputs) else {inputs[0], *labels}
            if isinstance(inputs, KeywordInputs) or len(inputs) == 1:
                index = fields.pop("index", None)
                extra = {key: value for key, value in fields.items() if key not in used and key != "index"}
                return found, fields[labels[0]], index, extra
        got = f"a dict with keys {sorted(map(str, fields))}"
    elif isinstance(batch, (tuple, list)) and len(batch) >= 2:
        return batch[0], batch[1], _position(batch[2], size) if len(batch) > 2 else None, {}
    else:
        got = type(batch).__name__ + (f" of {len(batch)}" if isinstance(batch, (tuple, list)) else "")
    raise InvalidInputError(
        "(input, label), (input, label, index) or a dict with one of"
        f" {(*INPUT_KEYS, *MAIN_KEYWORDS)} and one of {LABEL_KEYS[0]}",
        got=got,
        fix="change what collate_fn returns" if size is not None else _fix_of_fields(batch),
    )


def _input_keys(fields: Mapping[str, Any]) -> KeywordInputs | list[str]:
    """Return the inputs by name of a dict, if they have names of Hugging Face, or the keys that may be its input."""
    if any(fields.get(key) is not None for key in MAIN_KEYWORDS):
        return KeywordInputs({key: fields[key] for key in KEYWORDS if fields.get(key) is not None})
    return present(fields, (INPUT_KEYS, MORE_INPUT_KEYS))


def present(fields: Mapping[str, Any], groups: Sequence[Sequence[str]]) -> list[str]:
    """Return the keys of the first group that has any."""
    return next((found for group in groups if (found := [key for key in group if key in fields])), [])


def _fix_of_fields(batch: Any) -> str:
    if isinstance(batch, Mapping) and "text" in batch:
        return "turn texts into numbers first: a tokenizer's input_ids, or TfidfVectorizer of scikit-learn"
    return "change what the data set's __getitem__ returns"


def _position(third: Any, size: int | None) -> Any:
    """Return the third element of an item, or of a batch of `size`, if it is the position; None if it is no number."""
    array = third if isinstance(third, (Tensor, np.ndarray)) else None
    listed = size is not None and isinstance(third, (list, tuple)) and len(third) == size
    if isinstance(third, (int, float, np.number)) or (listed and all(isinstance(x, (int, float)) for x in third)):
        array = np.asarray(third)
    shape = () if size is None else (size,)
    if array is None or tuple(array.shape) != shape:
        return None
    values = array.cpu().numpy() if isinstance(array, Tensor) else array
    if values.dtype.kind in "iu":
        return third
    if values.dtype.kind not in "bf":
        return None
    raise InvalidInputError(
        "a third element that is the sample's position, or no number (a name, a dict), which is passed over",
        got=f"{values.dtype}, such as {values.flat[0]!s}",
        fix='leave it out; a weight goes to fit(sample_weight=), or into {"input": ..., "label": ..., "sample_weight":'
        " ...}",
    )


def collated(items: Sequence[Any]) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return (input, label, index or None, extra) of a batch of items, stacked as PyTorch does it.

    Further fields of dicts that cannot be stacked stay lists. Inputs by name may be lists of numbers.

    Raises
    ------
    InvalidInputError
        If inputs or labels cannot be stacked.
    """
    inputs, labels, index, extra = zip(*map(split_fields, items), strict=True)
    if isinstance(inputs[0], KeywordInputs):
        batch: Any = KeywordInputs({key: _stacked([each[key] for each in inputs], key) for key in inputs[0]})
    else:
        batch = _stacked(inputs, "input")
    further = {key: _stacked_or_list([each.get(key) for each in extra]) for key in extra[0]}
    return batch, _stacked(labels, "label"), None if index[0] is None else _stacked(index, "index"), further


def _stacked(values: Sequence[Any], name: str) -> Any:
    if isinstance(values[0], (list, tuple)) and not hasattr(values[0], "_fields") and name in KEYWORDS:
        values = [np.asarray(each) for each in values]
    try:
        return default_collate(list(values))
    except (TypeError, RuntimeError, ValueError) as error:
        fix = "make them equally large, or pass collate_fn= to SelfCorrector"
        if name in KEYWORDS:
            fix = 'pass collate_fn=DataCollatorWithPadding(tokenizer) of transformers, or padding="max_length"'
        elif type(values[0]).__module__.startswith("PIL"):
            fix = "turn pictures into tensors in the data set: torchvision.transforms.ToTensor(), or set_transform"
        elif name == "label":
            fix = "give every sample one label; sequences of labels need collate_fn=noisycorrect.tokens.pad_sequences"
        got = f"{type(values[0]).__name__}: {str(error).splitlines()[0]}"
        raise InvalidInputError(f"items whose {name} can be stacked to a batch", got=got, fix=fix) from error


def _stacked_or_list(values: list[Any]) -> Any:
    try:
        return default_collate(values)
    except (TypeError, RuntimeError, ValueError):
        return values
