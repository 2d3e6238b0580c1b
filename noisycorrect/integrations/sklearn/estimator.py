"""SelfCorrectingClassifier: a run of the corrector behind scikit-learn's interface."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from noisycorrect.callbacks import Callback, Progress
from noisycorrect.classification import Classification
from noisycorrect.classification.votes import CLASS_POWER, VotesResult, fit_votes
from noisycorrect.correction.neighbor_correction import NeighborCorrection
from noisycorrect.corrector import SelfCorrector
from noisycorrect.integrations.sklearn.findings import Findings, names_of
from noisycorrect.integrations.sklearn.inputs import (
    DENSE_VALUES,
    SparseRows,
    as_tokens,
    dense,
    make_reduction,
    read_inputs,
    takes_tokens,
)
from noisycorrect.integrations.sklearn.labels import NamedLabels
from noisycorrect.integrations.sklearn.network import default_epochs, made_network
from noisycorrect.integrations.sklearn.packed import PackedResult
from noisycorrect.labels.refine import UNLABELED
from noisycorrect.recipe import RECIPES, OptimizerFactory, Recipe
from noisycorrect.result import CorrectionResult
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.modules import evaluating
from noisycorrect.training.engine import resolve_device

ROWS_AT_ONCE = 1024  # of predictions


class SelfCorrectingClassifier(ClassifierMixin, BaseEstimator):
    r"""A scikit-learn classifier that corrects the labels it is trained on, and says which ones look wrong.

    It needs no other estimator and no preparation of the labels: names, numbers or booleans, with gaps, by one
    annotator or by several. Vectors are learnt by a network of its own, other inputs by one that you bring.

    Parameters
    ----------
    module : nn.Module or callable, optional
        A network that returns logits (N, K), or ``module(n_features, n_classes)`` that makes one; of inputs with more
        than two dimensions `n_features` is their shape, ``(3, 32, 32)``. Then X may have any shape; a network that
        begins with an embedding gets whole numbers. Default: a multilayer perceptron,
        :func:`~noisycorrect.integrations.sklearn.network.default_network`.
    recipe : str or Recipe, optional
        See :class:`~noisycorrect.SelfCorrector`. Default: ``"robust"``, of which :func:`~noisycorrect.fit_votes` takes
        rates and average if there are several annotators; for inputs of more than two dimensions, and for token ids (a
        network that begins with an embedding), ``"elr"``.
    epochs : int, optional
        Default: as many as make 3,000 steps of 64 samples, 20 to 40; of fewer than 192 samples 120 steps.
    lr, batch_size, optimizer : optional
        See :class:`~noisycorrect.SelfCorrector`.
    n_components : int, "auto" or None
        Columns to which X is reduced before it is learnt from, by truncated singular value decomposition (latent
        semantic analysis of texts). ``"auto"``: 256 for a sparse X of more than 1,024 columns, else no reduction. None:
        never; a sparse X then becomes dense a batch at a time.
    balance : float or "auto"
        How far predictions are made relative to the shares of the classes :math:`\pi`, in [0, 1]:
        :math:`p_k \propto \mathrm{softmax}(z)_k / \pi_k^{balance}` (logit adjustment, Menon et al. 2021, "Long-tail
        learning via logit adjustment"). 0 predicts the most probable class, 1 the one that is most probable if all
        classes are equally frequent: more of the rare ones, at the cost of the frequent. ``"auto"`` is 0, and 0.5 for
        several annotators, whose labels are decided so, too.
    missing_label : object, optional
        A further value of y that is no label, such as -1 or ``"?"``. None, NaN, pandas' NA and blank texts always are;
        scikit-learn's searches sort the labels before they reach this class, and fail at None: write blank texts or -1
        there, or pass ``cv=KFold(5)``.
    device : str or torch.device
        ``"auto"`` is a GPU where there is one.
    random_state : int, RandomState or None
        Seed of weights, order and dropout. None draws one from numpy's global state; with `run_dir` it is 0, so that a
        run can go on.
    run_dir : path-like, optional
        Folder for checkpoints, labels and history; a run that was interrupted goes on there.
    callbacks : iterable of Callback
        See :class:`~noisycorrect.SelfCorrector`.
    verbose : bool
        Whether progress is shown.

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
        Names of the classes, sorted, in the type of y.
    issues_ : DataFrame, or recarray without pandas, N rows
        In the order (and with the index) of X: ``is_label_issue``, whether the evidence gives the label another class;
        ``label_quality`` in [0, 1], low is suspicious, 1 where there is no label; ``given_label``, of several
        annotators their majority vote, None for none; ``predicted_label``.
    labels_ : ndarray, shape (N,)
        Corrected labels, by name; of a sample without a label what the model thinks.
    label_probs_ : ndarray of float64, shape (N, K)
        Refined soft labels; of several annotators the posterior given all votes and the model.
    noise_ : NoiseEstimate
        How many labels (of several annotators: majority votes) are wrong, with an interval; ``noise_.verdict()`` in
        words.
    annotators_ : list of dict
        Only after several annotators: see :meth:`Consensus.annotators <noisycorrect.Consensus.annotators>`.
    result_ : CorrectionResult or VotesResult
        The run.
    module_ : nn.Module
        The trained network, in evaluation mode; takes X (reduced by `reduction_`), returns logits.
    reduction_ : TruncatedSVD or None
        What reduces X.
    class_shares_ : ndarray of float64, shape (K,)
        Shares of the classes in `label_probs_`.
    n_features_in_, feature_names_in_, n_iter_ : int, ndarray, int
        As in scikit-learn; `n_iter_` are epochs.

    Raises
    ------
    InvalidInputError
        (A ValueError.) If X holds no finite numbers, or y fewer than two classes; the message says how to fix it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 4))
    >>> right = np.where(X[:, 0] + X[:, 1] > 0, "cat", "dog")
    >>> y = np.where(rng.random(200) < 0.2, np.where(right == "cat", "dog", "cat"), right)
    >>> classifier = SelfCorrectingClassifier(epochs=20, random_state=0).fit(X, y)
    >>> bool((classifier.labels_ == right).mean() > (y == right).mean() + 0.05)
    True
    >>> list(classifier.issues_[:1])
    ['is_label_issue', 'label_quality', 'given_label', 'predicted_label']
    """

    def __init__(
        self,
        module: nn.Module | Callable[..., nn.Module] | None = None,
        *,
        recipe: str | Recipe | None = None,
        epochs: int | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        optimizer: OptimizerFactory | None = None,
        n_components: int | str | None = "auto",
        balance: float | str = "auto",
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
        self.n_components = n_components
        self.balance = balance
        self.missing_label = missing_label
        self.device = device
        self.random_state = random_state
        self.run_dir = run_dir
        self.callbacks = callbacks
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> SelfCorrectingClassifier:  # noqa: N803  # scikit-learn's name
        """Train on labels that may be wrong, and correct them.

        Parameters
        ----------
        X : array-like, DataFrame, Tensor or sparse matrix, shape (N, F), or (N, ...) with `module`
            Finite numbers.
        y : array-like, Series or DataFrame, shape (N,) or (N, A)
            Labels, or a column for each of A >= 2 annotators; gaps are None, NaN, NA, blank or `missing_label`.

        Returns
        -------
        SelfCorrectingClassifier
            This one.

        Raises
        ------
        InvalidInputError
            If X or y is not so.
        """
        values = read_inputs(self, X, reset=True, any_shape=self.module is not None)
        labels = NamedLabels.of(y, missing=self.missing_label)
        check_consistent_length(values, labels.codes)
        several = bool(labels.annotators)
        self._check_balance()
        self.classes_, self.input_shape_ = labels.classes, tuple(values.shape[1:])
        seed = self._seed()
        self.reduction_ = make_reduction(values, self.n_components, seed)
        if self.reduction_ is not None:
            values = self.reduction_.fit_transform(values).astype(np.float32)
        corrector = self._corrector(values, seed)
        inputs = _as_inputs(values, corrector)
        self.result_: CorrectionResult | VotesResult
        if several:
            self.result_ = fit_votes(corrector, inputs, labels.votes())
        elif isinstance(inputs, SparseRows):
            self.result_ = corrector.fit(SparseRows(inputs.rows, labels.codes))
        else:
            self.result_ = corrector.fit((inputs, labels.codes))
        self._note(labels.codes, values, X.index if hasattr(X, "iloc") else None)
        return self

    def _check_balance(self) -> None:
        if self.balance != "auto":
            finite_number("balance", self.balance, above=0, below=1 + 1e-9, fix='pass 0 to 1, or "auto"')

    def _seed(self) -> int:
        if self.random_state is None and self.run_dir is not None:
            return 0
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _corrector(self, values: Any, seed: int) -> SelfCorrector:
        classes, samples = len(self.classes_), values.shape[0]
        features = values.shape[1] if values.ndim == 2 else values.shape[1:]
        network = made_network(self.module, features, classes, samples, seed)
        recipe = RECIPES.of_kind(self.recipe or _default_recipe(values, network), "classification")
        if self.recipe is None and issparse(values):
            recipe = recipe.replace(standardize=None)
        epochs = default_epochs(samples) if self.epochs is None and recipe.epochs is None else self.epochs
        return SelfCorrector(
            network,
            task=Classification(classes, allow_empty_classes=True),
            recipe=recipe,
            epochs=epochs,
            lr=self.lr,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            device=self.device,
            seed=seed,
            class_names=self.classes_.tolist(),
            run_dir=self.run_dir,
            callbacks=[*self.callbacks, Progress(enabled=bool(self.verbose))],
        )

    def _note(self, codes: np.ndarray, values: Any, index: Any) -> None:
        """Keep what the run has found."""
        result, classes = self.result_, self.classes_
        self.__dict__.pop("annotators_", None)  # of an earlier fit
        if isinstance(result, VotesResult):
            run, found = result.correction, Findings.of_votes(result)
            self.annotators_ = result.annotators()
        else:
            run = result
            found = Findings.of_run(run, codes, lambda: _softmax(self._logits(values)))
        self.n_iter_ = int(run.history[-1]["epoch"])
        self.labels_, self.label_probs_ = names_of(found.corrected, classes), found.probs
        self.class_shares_ = found.probs.mean(0)
        self.noise_ = found.named(classes)
        self.issues_ = found.issues(classes, index)

    @property
    def module_(self) -> nn.Module:
        """The trained network, in evaluation mode."""
        check_is_fitted(self)
        return self.result_.model

    def predict_proba(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return class probabilities, float64 (N, K), in the order of ``classes_``; rows sum to 1."""
        check_is_fitted(self)
        values = read_inputs(self, X, reset=False, any_shape=len(self.input_shape_) != 1)
        if tuple(values.shape[1:]) != self.input_shape_:
            got = f"shape {values.shape}"
            fix = "prepare X as for fit"
            raise InvalidInputError(f"X of shape (N, {', '.join(map(str, self.input_shape_))})", got=got, fix=fix)
        if self.reduction_ is not None:
            # In float32 a row's projection would depend on the rows that it is multiplied with.
            values = self.reduction_.transform(values.astype(np.float64)).astype(np.float32)
        return _softmax(self._logits(values) - self._balance() * np.log(np.maximum(self.class_shares_, 1e-12)))

    def _balance(self) -> float:
        if self.balance == "auto":
            return CLASS_POWER if isinstance(self.result_, VotesResult) else 0.0
        return float(self.balance)

    def _logits(self, values: Any) -> np.ndarray:
        model, device = self.result_.model, resolve_device(self.device)
        dtype = next((part.dtype for part in model.parameters() if part.is_floating_point()), torch.float32)
        if self.module is None and device.type != "mps":  # which has no float64
            # In float32 a row's probabilities depend, in the seventh digit, on how many rows are multiplied at once.
            model, dtype = copy.deepcopy(model).double(), torch.float64
        model.to(device)
        task, parts = Classification(len(self.classes_)), []
        with torch.no_grad(), evaluating(model):
            for start in range(0, values.shape[0], ROWS_AT_ONCE):
                rows = values[start : start + ROWS_AT_ONCE]
                inputs = dense(rows if issparse(rows) else as_tokens(rows, model)).to(device)
                inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
                parts.append(task.logits(model(inputs), None).double().cpu())
        return torch.cat(parts).numpy()

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the class of each sample, by name, (N,)."""
        probs = self.predict_proba(X)
        return np.asarray(self.classes_[probs.argmax(1)])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Return the accuracy on the samples of y, (N,), that have a label."""
        predicted = self.predict(X)
        truth = NamedLabels.of(y, missing=self.missing_label, least_classes=1)
        check_consistent_length(predicted, truth.codes)
        if truth.annotators:
            fix = "pass the right label of each sample"
            raise InvalidInputError("y of shape (N,) to score with", got=f"shape {truth.codes.shape}", fix=fix)
        known = truth.codes != UNLABELED
        weight = None if sample_weight is None else np.asarray(sample_weight)[known]
        right = names_of(truth.codes[known], truth.classes)
        return float(accuracy_score(right, predicted[known], sample_weight=weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "result_" in state:
            state["result_"] = PackedResult.of(state["result_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if isinstance(state.get("result_"), PackedResult):
            state["result_"] = state["result_"].unpacked()
        super().__setstate__(state)


def _default_recipe(values: Any, network: nn.Module) -> str:
    """Return the recipe of inputs: ``"robust"`` needs vectors, among which it looks for neighbours."""
    return "robust" if values.ndim == 2 and not takes_tokens(network) else "elr"


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _as_inputs(values: Any, corrector: SelfCorrector) -> Any:
    """Return inputs as a tensor; a large sparse matrix as a data set that makes its rows dense a batch at a time."""
    if not issparse(values):
        return dense(as_tokens(values, corrector.model))
    rows, columns = values.shape
    if rows * columns <= DENSE_VALUES:
        return dense(values)
    correction = corrector.recipe.correction
    if isinstance(correction, NeighborCorrection) and rows * columns > 4 * DENSE_VALUES:
        raise InvalidInputError(
            "a sparse X of few columns for a recipe that compares samples by all of them",
            got=f"{rows:,} rows of {columns:,} columns, {4 * rows * columns / 2**30:.0f} GiB when dense",
            fix='pass n_components="auto" or 256, or another recipe, such as "elr"',
        )
    return SparseRows(values)
