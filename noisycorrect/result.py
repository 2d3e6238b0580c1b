"""What a run returns: a model, labels, a history."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from noisycorrect.inference.onnx_file import write_onnx
from noisycorrect.inference.predicting import predicted_probs
from noisycorrect.labels import SoftLabelStore
from noisycorrect.review.issues import LabelIssue, find_label_issues, sample_quality
from noisycorrect.review.noise_estimate import NoiseEstimate
from noisycorrect.review.noise_rate import estimate_store_noise
from noisycorrect.saved.results import read_result, write_result
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.task import TASKS, Task


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
    class_names : tuple of str, or None
        What the classes are called, if the corrector or its task knew.
    task : Task, or None
        What the model's output means.
    input_record : dict, or None
        How samples become inputs, as the data set and the task said in their attributes of this name: plain JSON
        values.
    """

    model: nn.Module = field(repr=False)
    labels: SoftLabelStore
    history: list[dict[str, float]] = field(repr=False)
    sample_passes: int
    class_names: tuple[str, ...] | None = field(default=None, repr=False)
    task: Task | None = field(default=None, repr=False, compare=False)
    input_record: dict[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        describe = getattr(self.task, "describe", None)
        if callable(describe):
            describe(self.model, self)

    # ---------------------------------------------------------------- the labels

    @door(own=True)
    def issues(self, top: int | None = None, *, score: str = "self-confidence") -> list[LabelIssue]:
        """Return the labels that the evidence contradicts; see :func:`noisycorrect.review.issues.find_label_issues`."""
        return find_label_issues(self.labels, top=top, score=score)

    def find_label_issues(self, top: int | None = None, *, score: str = "self-confidence") -> list[LabelIssue]:
        """Return the labels that the evidence contradicts: another name of :meth:`issues`."""
        return self.issues(top, score=score)

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
        """Return one paragraph on the labels: how many are doubtful, what is confused, where to look first.

        Classes are called as :attr:`class_names` says, or as `class_names`.
        """
        return self.estimate_noise().verdict(class_names or self.class_names)

    # ---------------------------------------------------------------- the model

    @door
    def predict_proba(self, inputs: Any, *, batch_size: int = 256, num_workers: int = 0) -> np.ndarray:
        """Return the model's class probabilities of new inputs, float32 (N, K).

        Parameters
        ----------
        inputs : array-like, shape (N, ...), Dataset or DataLoader
            In any form that :func:`~noisycorrect.inference.predicting.predicted_probs` takes: arrays, tensors, data
            frames, sparse matrices, data sets, loaders.
        batch_size : int
            Inputs at once, >= 1.
        num_workers : int
            Processes that read a data set's items.

        Raises
        ------
        InvalidInputError
            If the inputs are not what the model takes, or the labels are masks, whose images have an inference of their
            own (:func:`noisycorrect_seg.inference.parse_images`).
        """
        task = self._inputs_task()
        return predicted_probs(self.model, task, inputs, batch_size=batch_size, num_workers=num_workers)

    @door
    def predict(self, inputs: Any, *, batch_size: int = 256, num_workers: int = 0, names: bool = False) -> np.ndarray:
        """Return the model's most probable class of new inputs, int64 (N,) or, of tokens, (N, L).

        Of labels that are there or not, 0 or 1 for each: int64 (N, K), 1 from a probability of 0.5 on.

        Parameters
        ----------
        inputs, batch_size, num_workers
            See :meth:`predict_proba`.
        names : bool
            Return names of classes instead, an array of str. Of labels that are there or not, an object array (N,) of
            the lists of names of those that are there.

        Raises
        ------
        InvalidInputError
            As :meth:`predict_proba`; or if names are asked for and :attr:`class_names` is None.

        Examples
        --------
        >>> import torch
        >>> from noisycorrect import SelfCorrector
        >>> inputs = torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
        >>> labels = (inputs[:, 0] > 0).long()
        >>> _ = torch.manual_seed(0)
        >>> corrector = SelfCorrector(nn.Linear(5, 2), num_classes=2, class_names=["left", "right"], epochs=10)
        >>> result = corrector.fit((inputs, labels))
        >>> result.predict([[3.0, 0, 0, 0, 0], [-3.0, 0, 0, 0, 0]], names=True).tolist()
        ['right', 'left']
        """
        if names and self.class_names is None:
            fix = "pass class_names= to SelfCorrector, or set result.class_names"
            raise InvalidInputError("class names, for names=True", got="none", fix=fix)
        probs = self.predict_proba(inputs, batch_size=batch_size, num_workers=num_workers)
        independent = self.labels.kind.independent
        classes = (probs >= 0.5).astype(np.int64) if independent else probs.argmax(1)
        if not names:
            return classes
        called: np.ndarray = np.array(self.class_names)
        if independent:
            return _named_rows(called, classes)
        found: np.ndarray = called[classes]
        return found

    @door
    def to_onnx(self, path: str | os.PathLike[str], example: Any, *, opset: int = 18) -> None:
        """Write the model as an ONNX file that takes any number of inputs at once; class names stand in its metadata.

        Parameters
        ----------
        path : path-like
            The file, conventionally ``.onnx``.
        example : array-like, shape (n, ...)
            Some inputs as those of training.
        opset : int
            ONNX operator set, at least 18.

        Raises
        ------
        InvalidInputError
            See :func:`noisycorrect.inference.onnx_file.write_onnx`. Masks' networks have a function of their own,
            :func:`noisycorrect_seg.export.export_onnx`.
        """
        if self.labels.frame is not None:
            fix = (
                "noisycorrect_seg.export_onnx(result.model, result.model.size, path); or `noisycorrect export-network`"
            )
            got = f"one of labels of the kind {self.labels.kind.name}"
            raise InvalidInputError("the network of a classifier", got=got, fix=fix)
        write_onnx(self.model, self._inputs_task(), path, example, class_names=self.class_names, opset=opset)

    def _inputs_task(self) -> Task:
        framed = self.labels.frame is not None or (self.task is not None and self.task.frame is not None)
        if framed or self.task is None:
            fix = "pass task= to CorrectionResult.load"
            if framed:
                fix = "use noisycorrect_seg.inference.parse_images(result.model, images, ...), which prepares images"
            got = f"labels of the kind {self.labels.kind.name}"
            raise InvalidInputError("a task that predicts inputs as they are", got=got, fix=fix)
        return self.task

    # ---------------------------------------------------------------- files

    @door(own=True)
    def save(self, folder: str | os.PathLike[str], *, weights: str = "auto") -> None:
        """Write model weights, labels, history and class names into a new or empty folder.

        The folder is there when all of it is. The weights' file is ``model.safetensors`` where the package
        ``safetensors`` is installed and the state is made of tensors alone, else ``model.pt``, of torch; loading finds
        out. Neither runs code when it is read.

        Parameters
        ----------
        folder : path-like
            The folder.
        weights : {"auto", "safetensors", "torch"}
            Insist on a format.

        Raises
        ------
        InvalidInputError
            If the folder holds something already (nothing is overwritten), cannot be written, or the format cannot hold
            the weights.
        """
        write_result(
            folder,
            self.model,
            self.labels,
            self.history,
            self.sample_passes,
            self.class_names,
            weights=weights,
            input_record=self.input_record,
        )

    @classmethod
    @door
    def load(
        cls, folder: str | os.PathLike[str], model: nn.Module | None = None, *, task: Task | None = None
    ) -> CorrectionResult:
        """Read what :meth:`save` wrote, or the result so far of a run in its run folder.

        Of a run that has not finished it is the model that would predict now: the average, if it holds something yet;
        its BatchNorm statistics are those of the last cycle's end, or of the last step.

        Parameters
        ----------
        folder : path-like
            A saved result, or a run folder.
        model : nn.Module, optional
            A model of the same architecture, or the network that :class:`~noisycorrect.SelfCorrector` was given; its
            weights are replaced, and it is set to evaluation mode. Of a run that standardised its inputs the result's
            model is this network behind what standardises them. May be left out if the folder says how the network is
            built: of ``nn.Sequential`` of torch's plain layers, as the estimator's and the commands' own are, and of
            the classes in :data:`~noisycorrect.saved.networks.NETWORKS`.
        task : Task, optional
            What the model's output means. Default: the task of the labels' kind, as its name alone makes it.

        Raises
        ------
        CheckpointError
            If a file is missing or damaged, or the architecture is another one.
        StoreError
            If the labels are missing or damaged.
        InvalidInputError
            If a model is needed and none is passed.
        """
        found = read_result(Path(folder), model)
        if task is None and found.labels.kind.name in TASKS:
            task = TASKS[found.labels.kind.name](found.labels.num_classes)
        return cls(
            found.model, found.labels, found.history, found.sample_passes, found.class_names, task, found.input_record
        )


def _named_rows(names: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return an object array of the lists of names that 0 or 1, (N, K), say are there."""
    found = np.empty(len(present), object)
    found[:] = [names[row.astype(bool)].tolist() for row in present]
    return found
