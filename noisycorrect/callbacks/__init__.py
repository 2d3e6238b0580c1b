"""Callbacks: they see a run, and may stop it. The protocol, and the ready ones."""

from noisycorrect.callbacks.base import Callback
from noisycorrect.callbacks.early_stopping import EarlyStopping
from noisycorrect.callbacks.logs import CSVLog, RecordLog, TensorBoard
from noisycorrect.callbacks.progress import Progress
from noisycorrect.callbacks.several import Callbacks

__all__ = ["CSVLog", "Callback", "Callbacks", "EarlyStopping", "Progress", "RecordLog", "TensorBoard"]
