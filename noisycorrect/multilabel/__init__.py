"""Multi-label: K labels a sample, each there or not, independently of the others."""

from noisycorrect.multilabel.task import MultiLabel
from noisycorrect.task import TASKS

__all__ = ["MultiLabel"]

TASKS.register("multilabel", MultiLabel)
