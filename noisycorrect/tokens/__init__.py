"""Sequence labelling: one class a token, sequences of any length."""

from noisycorrect.task import TASKS
from noisycorrect.tokens.task import TokenLabeling, pad_sequences

__all__ = ["TokenLabeling", "pad_sequences"]

TASKS.register("tokens", TokenLabeling)
