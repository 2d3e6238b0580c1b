"""Sequence labelling: any model that returns logits for each token of a padded batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from noisycorrect.data.batches import Batch
from noisycorrect.data.items import split_fields
from noisycorrect.labels import LabelKind
from noisycorrect.outputs import LogitsTask, checked_shape
from noisycorrect.support.calling import KeywordInputs
from noisycorrect.support.checks import whole_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.tokens.kind import IGNORED, TokenLabels


def pad_sequences(items: Sequence[Any]) -> tuple[Any, ...]:
    """Return a padded batch of sequences of lengths of their own: the `collate_fn` of token labels.

    Parameters
    ----------
    items : sequence of (inputs, labels) or (inputs, labels, index)
        Inputs, a tensor (L_i, ...) or a mapping of such, are padded with zeros; labels (L_i,) with -100.

    Examples
    --------
    >>> pad_sequences([(torch.tensor([5, 6]), [0, 1]), (torch.tensor([7]), [2])])
    (tensor([[5, 6],
            [7, 0]]), tensor([[   0,    1],
            [   2, -100]]))
    """

    def padded(values: Sequence[Any], filler: float) -> Tensor:
        return pad_sequence([torch.as_tensor(each) for each in values], batch_first=True, padding_value=filler)

    inputs, labels, index, _ = zip(*map(split_fields, items), strict=True)
    many = isinstance(inputs[0], Mapping)
    batch: Any = padded(inputs, 0) if not many else {}
    if many:
        batch = {key: padded([each[key] for each in inputs], 0) for key in inputs[0]}
        batch = KeywordInputs(batch) if isinstance(inputs[0], KeywordInputs) else batch
    given = padded(labels, IGNORED)
    return (batch, given) if index[0] is None else (batch, given, torch.as_tensor(index))


class TokenLabeling(LogitsTask):
    """The task of labelling each token of a sequence. Pass ``collate_fn=pad_sequences`` to the corrector.

    Parameters
    ----------
    num_classes : int
        K, at least 2.
    max_length : int, optional
        Tokens of the longest sequence: evidence is as long. Default: that of the training set, when it is checked.
    classes_first : bool
        Whether the model returns logits (B, K, L), as convolutions do, instead of (B, L, K).

    Examples
    --------
    >>> TokenLabeling(num_classes=2).probs(torch.zeros(1, 3, 2)).shape
    torch.Size([1, 2, 3])
    """

    kind: type[LabelKind] = TokenLabels

    def __init__(self, num_classes: int, max_length: int | None = None, *, classes_first: bool = False) -> None:
        super().__init__(num_classes)
        self.max_length = None if max_length is None else whole_number("max_length", max_length, least=1)
        self.length = self.max_length or 0
        self.classes_first = classes_first

    def identity(self) -> dict[str, Any]:
        """Return what a run and the run that resumes it must share: classes and length."""
        return {**super().identity(), "length": self.length}

    def check_given(self, given: Any, *, training: bool = True) -> None:
        """Raise an InvalidInputError unless `given` are sequences of classes, none of them too long to train on."""
        super().check_given(given, training=training)
        longest = max(map(len, given))
        if training:
            self.length = self.max_length or longest
        if training and longest > self.length:
            fix = f"cut the sequences, or pass max_length={longest}"
            raise InvalidInputError(f"sequences of at most {self.length} tokens", got=str(longest), fix=fix)

    def logits(self, output: Any, batch: Batch | None) -> Tensor:
        """Return the logits (B, K, L) of an output, or raise an InvalidInputError."""
        rows, length = ("N", "L") if batch is None else batch.given.shape
        wanted = (rows, self.num_classes, length) if self.classes_first else (rows, length, self.num_classes)
        fix = f"return them so, or pass TokenLabeling(..., classes_first={not self.classes_first})"
        logits = checked_shape(output, wanted, fix=fix)
        return logits if self.classes_first else logits.transpose(1, 2)

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return class probabilities, float32 (B, K, longest sequence); alike for all classes after the batch's end."""
        probs = super().predict(model, batch)
        return nn.functional.pad(probs, (0, max(0, self.length - probs.shape[2])), value=1 / self.num_classes)
