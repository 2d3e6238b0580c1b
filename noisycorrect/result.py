"""What a run returns: a model, labels, a history."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from noisycorrect.data.standardize import restore_standardized
from noisycorrect.labels import SoftLabelStore
from noisycorrect.review.issues import LabelIssue, find_label_issues, sample_quality
from noisycorrect.review.noise_estimate import NoiseEstimate
from noisycorrect.review.noise_rate import estimate_store_noise
from noisycorrect.support.checkpoint import load_checkpoint, load_model_state, save_checkpoint
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.files import write_json
from noisycorrect.support.modules import unwrap

MODEL, LABELS, HISTORY = "model.pt", "labels", "history.json"


@dataclass
class CorrectionResult:
    """The outcome of :meth:`SelfCorrector.fit <noisycorrect.SelfCorrector.fit>`.

    Attributes
    ----------
    model : nn.Module
        The averaged and recalibrated model, in evaluation mode; the trained one if the recipe averages nothing. If the
        recipe standardised the inputs, it does so itself and is called with inputs as they were given:
        a :class:`~noisycorrect.data.standardize.Standardized`, whose ``network`` is the network alone.
    labels : SoftLabelStore
        Given labels, evidence and refined labels of every training sample, unlabelled ones last.
    history : list of dict
        One record a cycle, the initial phase (cycle 0) first:

        - ``cycle``, ``epoch`` (epochs done), ``loss`` (mean of the last epoch; early-learning regularisation takes it
          below 0), ``lr`` (of the last batch), ``seconds`` (since the last record), ``sample_passes`` (so far: forward
          1, backward 2); of the robust recipe ``correcting``, 1 from the start of correction on, ``expected_rate`` of
          wrong labels by the neighbours, and ``doubt``, in [0, 1], that they cast: at 0 nothing is corrected;
        - ``val_*``: metrics of the model on the validation set against its given labels, ``val_clean_*`` against
          clean ones;
        - ``agreement``: share of given labels that the model predicts (the evidence, if it is one of every step);
          ``changed``: share of refined labels whose most probable class is another than a generation ago;
          ``mean_trust``: mean weight on the given labels; ``label_accuracy``: share of refined labels (pixels of masks)
          that are the clean ones, and for masks ``label_mean_iou``. NaN, which JSON files call null, where a cycle did
          not refine or there is nothing to compare with.
    sample_passes : int
        Compute of the whole run: samples forward (1 each) and backward (2 each), validation left out.
    """

    model: nn.Module = field(repr=False)
    labels: SoftLabelStore
    history: list[dict[str, float]] = field(repr=False)
    sample_passes: int

    def find_label_issues(self, top: int | None = None, *, score: str = "self-confidence") -> list[LabelIssue]:
        """Return the labels that the evidence contradicts; see :func:`noisycorrect.review.issues.find_label_issues`."""
        return find_label_issues(self.labels, top=top, score=score)

    def label_quality(self, *, score: str = "self-confidence") -> np.ndarray:
        """Return the quality of every given label, float32 (N,), in [0, 1]; 1 for a sample without one.

        Low is suspicious; `score` is one of :func:`noisycorrect.review.issues.label_quality`.
        """
        return sample_quality(self.labels, score=score)

    def estimate_noise(self, level: float = 0.95) -> NoiseEstimate:
        """Return rate and transition matrix of the label noise, with intervals.

        See :func:`noisycorrect.review.noise_rate.estimate_store_noise`; `level` is that of the intervals.
        """
        return estimate_store_noise(self.labels, level=level)

    def verdict(self, class_names: Sequence[str] | None = None) -> str:
        """Return one paragraph on the labels: how many are doubtful, what is confused, where to look first."""
        return self.estimate_noise().verdict(class_names)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write model weights, labels and history into a new or empty folder.

        Raises
        ------
        InvalidInputError
            If the folder holds something already; nothing is overwritten.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise InvalidInputError(
                f"a new or empty folder at {target}", got="a folder with files", fix="choose another folder"
            )
        self.labels.export(target / LABELS)
        write_history(target / HISTORY, self.history)
        save_checkpoint(target / MODEL, {"model": unwrap(self.model).state_dict(), "sample_passes": self.sample_passes})

    @classmethod
    def load(cls, folder: str | os.PathLike[str], model: nn.Module) -> CorrectionResult:
        """Read what :meth:`save` wrote.

        Parameters
        ----------
        folder : path-like
            The folder.
        model : nn.Module
            A model of the same architecture, or the network that :class:`~noisycorrect.SelfCorrector` was given; its
            weights are replaced, and it is set to evaluation mode. Of a run that standardised its inputs the result's
            model is this network behind what standardises them.

        Raises
        ------
        CheckpointError
            If a file is missing or damaged, or the architecture is another one.
        StoreError
            If the labels are missing or damaged.
        """
        source = Path(folder)
        content = load_checkpoint(source / MODEL)
        model = restore_standardized(model, content["model"])
        load_model_state(unwrap(model), content["model"])
        try:
            history = json.loads((source / HISTORY).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"a history in {source}", got=str(error), fix="restore it from a copy") from error
        history = [{key: math.nan if value is None else value for key, value in record.items()} for record in history]
        return cls(model.eval(), SoftLabelStore.open(source / LABELS), history, content["sample_passes"])


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Write a history as JSON; NaN, which JSON does not know, becomes null.

    Raises
    ------
    CheckpointError
        If it cannot be written; the old file is untouched.
    """
    rows = [{key: None if value != value else value for key, value in record.items()} for record in history]
    try:
        write_json(path, rows)
    except OSError as error:
        raise CheckpointError(f"to write {path}", got=str(error), fix="free space and resume") from error
