"""SelfCorrectingClassifier: scikit-learn's interface to a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from noisycorrect.callbacks import Callback, Progress
from noisycorrect.classification import Classification
from noisycorrect.classification.votes import VotesResult, fit_votes
from noisycorrect.corrector import SelfCorrector
from noisycorrect.integrations.sklearn.findings import names_of, table
from noisycorrect.integrations.sklearn.labels import NamedLabels
from noisycorrect.integrations.sklearn.network import default_network
from noisycorrect.recipe import OptimizerFactory, Recipe
from noisycorrect.review.issues import review_labels
from noisycorrect.training.engine import resolve_device

ROWS_AT_ONCE = 1024  # of predictions
VOTES_RECIPE = "ema"


class SelfCorrectingClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A classifier that corrects the labels it is trained on."""

    def __init__(
        self,
        module: nn.Module | Callable[..., nn.Module] | None = None,
        *,
        recipe: str | Recipe | None = None,
        epochs: int | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        optimizer: OptimizerFactory | None = None,
        missing_label: Any = None,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        run_dir: str | os.PathLike[str] | None = None,
        callbacks: Iterable[Callback] = (),
        verbose: bool = False,
    ) -> None:
        self.module = module
        self.recipe = recipe
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.missing_label = missing_label
        self.device = device
        self.random_state = random_state
        self.run_dir = run_dir
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> SelfCorrectingClassifier:  # noqa: N803  # scikit-learn's name
        """Train, and correct the labels."""
        index = getattr(X, "index", None)
        inputs = torch.from_numpy(np.ascontiguousarray(validate_data(self, X, dtype=np.float32, ensure_min_samples=2)))
        labels = NamedLabels.of(y, missing=self.missing_label)
        self.classes_ = labels.classes
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if self.run_dir is not None and self.random_state is None:
            seed = 0  # a run that is resumed must be the same one
        corrector = self._corrector(inputs, seed, votes=bool(labels.annotators))
        if labels.annotators:
            self.result_ = fit_votes(corrector, inputs, labels.votes())
        else:
            self.result_ = corrector.fit((inputs, labels.codes))
        self._note_findings(labels, index)
        return self

    def _corrector(self, inputs: torch.Tensor, seed: int, *, votes: bool) -> SelfCorrector:
        classes = len(self.classes_)
        recipe = VOTES_RECIPE if votes and self.recipe is None else self.recipe
        return SelfCorrector(
            self._network(classes, seed),
            task=Classification(classes, allow_empty_classes=True),
            recipe=recipe,
            epochs=self.epochs,
            lr=self.lr,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            device=self.device,
            seed=seed,
            run_dir=self.run_dir,
            callbacks=[*self.callbacks, Progress(enabled=bool(self.verbose))],
        )

    def _network(self, classes: int, seed: int) -> nn.Module:
        if isinstance(self.module, nn.Module):
            return self.module
        make = default_network if self.module is None else self.module
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return make(self.n_features_in_, classes)

    def _note_findings(self, labels: NamedLabels, index: Any) -> None:
        classes = self.classes_
        if isinstance(self.result_, VotesResult):
            run = self.result_.correction
            given, found, probs = labels.votes().majority(), self.result_.labels, self.result_.probs
            quality = np.where(given >= 0, np.take_along_axis(probs, given.clip(0)[:, None], 1)[:, 0], 1.0)
            suggested, wrong = found, (given >= 0) & (given != found)
            self.annotators_ = self.result_.annotators()
        else:
            run = self.result_
            given, found = labels.codes, np.asarray(run.labels.labels())
            probs = run.labels.refined().numpy().astype(np.float64)
            suggested, quality, wrong = found.copy(), np.ones(len(given)), np.zeros(len(given), bool)
            review = review_labels(run.labels)
            suggested[review.index], quality[review.index] = review.suggested, review.quality
            wrong[review.index] = review.contradicted
        self.noise_ = run.estimate_noise()
        self.n_iter_ = int(run.history[-1]["epoch"])
        self.labels_ = names_of(found, classes)
        self.label_probs_ = probs
        columns = {
            "is_label_issue": wrong,
            "label_quality": quality,
            "given_label": names_of(given, classes),
            "predicted_label": names_of(suggested, classes),
        }
        self.issues_ = table(columns, index)

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return class probabilities, float64 (N, K)."""
        check_is_fitted(self)
        inputs = torch.from_numpy(np.ascontiguousarray(validate_data(self, X, dtype=np.float32, reset=False)))
        model, device = self.result_.model, resolve_device(self.device)
        model.to(device).eval()
        with torch.no_grad():
            parts = [model(part.to(device)).double().softmax(1).cpu() for part in inputs.split(ROWS_AT_ONCE)]
        return np.asarray(torch.cat(parts))

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the class of each sample, by name."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(1)])
