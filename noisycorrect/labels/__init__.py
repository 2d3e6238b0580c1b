"""Labels on disk: given labels, evidence, generations; what kinds of labels there are, and how far they are trusted."""

from noisycorrect.labels.codec import CODECS, Codec, Float32, SqrtUint8
from noisycorrect.labels.kind import KINDS, LabelKind
from noisycorrect.labels.rules import RULES, Rule
from noisycorrect.labels.store import SoftLabelStore
from noisycorrect.labels.trust import Trust
from noisycorrect.labels.writing import GenerationWriter

__all__ = [
    "CODECS",
    "KINDS",
    "RULES",
    "Codec",
    "Float32",
    "GenerationWriter",
    "LabelKind",
    "Rule",
    "SoftLabelStore",
    "SqrtUint8",
    "Trust",
]
