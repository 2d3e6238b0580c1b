"""Labels on disk: given labels, evidence, generations."""

from noisycorrect.labels.codec import CODECS, Codec, Float32, SqrtUint8
from noisycorrect.labels.generation import GenerationWriter
from noisycorrect.labels.given import ClassLabels, MaskLabels
from noisycorrect.labels.store import SoftLabelStore

__all__ = [
    "CODECS",
    "ClassLabels",
    "Codec",
    "Float32",
    "GenerationWriter",
    "MaskLabels",
    "SoftLabelStore",
    "SqrtUint8",
]
