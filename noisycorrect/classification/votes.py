"""Learning from the votes of several annotators: model, labels and annotators, each told from the others."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from noisycorrect.classification.task import Classification
from noisycorrect.correction.votes import VoteCorrection
from noisycorrect.corrector import SelfCorrector
from noisycorrect.cycle.schedule import Shares
from noisycorrect.data.consensus import Consensus, consensus_of
from noisycorrect.data.datasets import ArrayDataset, MapStyleDataset, as_dataset
from noisycorrect.data.forms import SparseRows, as_inputs, count_of
from noisycorrect.data.items import input_of, labeled_item, weight_among
from noisycorrect.data.votes import Votes
from noisycorrect.objective import TaskLoss
from noisycorrect.recipe import Recipe
from noisycorrect.result import CorrectionResult
from noisycorrect.saved.details import checked_class_names
from noisycorrect.support.arrays import is_array
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError

CLASS_POWER = 0.5  # how far labels are decided relative to the shares of the classes


@dataclass
class VotesResult:
    """The outcome of :func:`fit_votes`.

    Attributes
    ----------
    correction : CorrectionResult
        The run: ``correction.model``, history, and a label store whose given labels are the majority votes and whose
        refined labels are `probs`; its issues are majorities that votes and model together contradict.
    consensus : Consensus
        Posterior of the items' classes, and the annotators' confusion matrices, at the end of the run.
    """

    correction: CorrectionResult
    consensus: Consensus = field(repr=False)

    @property
    def model(self) -> nn.Module:
        """The trained model, in evaluation mode: logits (N, K) of inputs."""
        return self.correction.model

    @property
    def probs(self) -> np.ndarray:
        """Probability of each class of each item, given its votes and the model, float64 (N, K)."""
        return self.consensus.probs

    @property
    def labels(self) -> np.ndarray:
        r"""Label of each item, int64 (N,), of one without a vote, too: there the model decides.

        :math:`\arg\max_k p_{ik} / \pi_k^{0.5}` with :math:`\pi` the mean posterior: half-way from the most probable
        class to the one that is most probable beside its share (logit adjustment, Menon et al. 2021, "Long-tail
        learning via logit adjustment"), so that a class is not left out for being rare.
        """
        shares = self.probs.mean(0)
        relative = self.probs * np.where(shares > 0, np.maximum(shares, np.finfo(float).tiny) ** -CLASS_POWER, 0)
        return np.asarray(relative.argmax(1))

    @property
    def quality(self) -> np.ndarray:
        """Probability of each item's label, float64 (N,); low is worth another vote."""
        return np.take_along_axis(self.probs, self.labels[:, None], 1)[:, 0]

    @property
    def vote_quality(self) -> np.ndarray:
        """Probability that each vote is right, float64 (V,), in the order of ``consensus.votes``."""
        return self.consensus.vote_quality

    def annotators(self) -> list[dict[str, Any]]:
        """Return one record an annotator; see :meth:`Consensus.annotators`."""
        return self.consensus.annotators()


@door
def fit_votes(
    corrector: SelfCorrector, inputs: Any, votes: Any, val: Any = None, *, start: float = 0.1, **options: Any
) -> VotesResult:
    """Train a model on the votes of several annotators, and estimate with it the items' classes.

    The corrector's recipe says how: its rates, average, optimizer, epochs and batches. Its correction becomes
    :class:`~noisycorrect.VoteCorrection` and its objective the task's loss, in a schedule with a cycle. Two networks
    are trained, each on half of the items; the model that is returned is the mean of the two. Compute: 4 passes a
    sample and epoch.

    Parameters
    ----------
    corrector : SelfCorrector
        For the task ``"classification"``, with as many classes as the votes have. It is not changed.
    inputs : array-like, sparse matrix, table, mapping of arrays, or Dataset, N of them
        Inputs in the order of the items, and their weights where they are named (``sample_weight``). Labels and further
        fields of a data set's items are passed over.
    votes : Votes, or a table of them
        At least one; an item may have none. A table is read as by
        :meth:`Votes.from_table <noisycorrect.Votes.from_table>`.
    val : Dataset or pair of arrays, optional
        As for :meth:`SelfCorrector.fit <noisycorrect.SelfCorrector.fit>`.
    start : float
        Share of the epochs in which the votes are believed as they are.
    **options
        More of :meth:`SelfCorrector.fit <noisycorrect.SelfCorrector.fit>`: ``resume``, ``sample_weight``,
        ``clean_labels``, ``val_clean_labels``.

    Returns
    -------
    VotesResult

    Raises
    ------
    InvalidInputError
        If inputs and votes are not equally many, the classes differ, or the task is another.

    Examples
    --------
    >>> import torch
    >>> inputs = torch.randn(120, 5, generator=torch.Generator().manual_seed(0))
    >>> truth = (inputs[:, 0] > 0).numpy().astype(int)
    >>> rng = np.random.default_rng(0)
    >>> wrong = rng.random((120, 3)) < [0.1, 0.2, 0.4]
    >>> table = np.where(rng.random((120, 3)) < 0.3, -1, np.where(wrong, 1 - truth[:, None], truth[:, None]))
    >>> corrector = SelfCorrector(nn.Linear(5, 2), num_classes=2, recipe="ema", epochs=20, batch_size=20)
    >>> result = fit_votes(corrector, inputs, table)
    >>> bool((result.labels == truth).mean() > 0.95), [record["annotator"] for record in result.annotators()]
    (True, [2, 1, 0])
    """
    votes = votes if isinstance(votes, Votes) else Votes.from_table(votes)
    task = corrector.task
    if not isinstance(task, Classification):
        raise InvalidInputError("the task classification", got=type(task).__name__, fix="pass num_classes= alone")
    if task.num_classes != votes.num_classes:
        fix = "pass num_classes=votes.num_classes; Votes.from_table takes classes="
        raise InvalidInputError(f"{votes.num_classes} classes, as the votes", got=f"{task.num_classes}", fix=fix)
    own = copy.copy(corrector)
    own.task = copy.copy(task)
    if own.class_names is None and not all(isinstance(name, (int, np.integer)) for name in votes.classes):
        own.class_names = checked_class_names(votes.classes, votes.num_classes)
    own.task.allow_empty_classes = True  # a class may have votes and never the majority
    own.recipe = _recipe(corrector.recipe, VoteCorrection(votes, start=start))
    given = votes.majority()
    run = own.fit(_with_labels(inputs, given), val, **options)
    probs = run.labels.evidence().double().numpy()
    return VotesResult(run, consensus_of(votes, probs))


def _recipe(recipe: Recipe, correction: VoteCorrection) -> Recipe:
    """Return a recipe with its parts exchanged for those that learn from votes; its budget stays."""
    schedule = recipe.divided(None)
    parts = {} if schedule.cycles else {"schedule": Shares(init_share=0.1)}
    # The posterior of votes knows how frequent classes are.
    kept = recipe.replace(correction=correction, objective=TaskLoss(), class_weight=None, kinds=(), **parts)
    return kept.replace(epochs=kept.divided(schedule.epochs).epochs)


class _Relabelled:
    """A data set with other labels."""

    def __init__(self, data: MapStyleDataset, labels: np.ndarray) -> None:
        self.data = data
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Any:
        return _relabelled(self.data[index], self.labels[index])

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Return some items, read at once where the data set can."""
        read = getattr(self.data, "__getitems__", None)
        items = [self.data[index] for index in indices] if read is None else read(indices)
        return [_relabelled(item, label) for item, label in zip(items, self.labels[indices], strict=True)]


def _relabelled(item: Any, label: Any) -> Any:
    inputs, weight = _input_and_weight(item)
    return labeled_item(inputs, int(label), weight)


def _input_and_weight(item: Any) -> tuple[Any, Any]:
    """Return the input of an item and its weight; a dict that is nothing but inputs by name has none."""
    inputs = input_of(item)
    return inputs, weight_among(item) if isinstance(item, Mapping) and inputs is not item else None


def _with_labels(inputs: Any, labels: np.ndarray) -> MapStyleDataset:
    weights = None
    if isinstance(inputs, ArrayDataset):
        inputs, weights = inputs.inputs, inputs.sample_weight
    elif is_array(inputs) or isinstance(inputs, Mapping):
        inputs, weights = _input_and_weight(inputs) if isinstance(inputs, Mapping) else (inputs, None)
        inputs = as_inputs(inputs)
    held = isinstance(inputs, (Tensor, SparseRows, Mapping))
    count = count_of(inputs) if held or hasattr(inputs, "__len__") else None
    if count != len(labels):
        got = type(inputs).__name__ if count is None else f"{count} inputs"
        fix = "pass one input an item; Votes.from_rows takes num_items= where the last items have no vote"
        raise InvalidInputError(f"inputs of {len(labels)} items", got=got, fix=fix)
    if held:
        return ArrayDataset(inputs, labels, weights)
    return as_dataset(_Relabelled(inputs, labels), "inputs")
