"""Methods that change the labels: label smoothing and bootstrapping; what all classification objectives share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.classification.methods.method import register_method
from noisycorrect.classification.task import Classification
from noisycorrect.correction.base import Correction
from noisycorrect.correction.part import Setup
from noisycorrect.data.batches import Batch
from noisycorrect.objective import Objective
from noisycorrect.outputs import soft_cross_entropy
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError, unknown_name


def classification_task(setup: Setup) -> Classification:
    """Return a run's task, which must be classification.

    Raises
    ------
    InvalidInputError
        If the task is another one.
    """
    if not isinstance(setup.task, Classification):
        raise InvalidInputError(
            "a classification task with this objective",
            got=type(setup.task).__name__,
            fix="pass a recipe for its kind of labels",
        )
    return setup.task


def check_labeled(setup: Setup, objective: Objective) -> None:
    """Raise an InvalidInputError if some sample of the run has no given label."""
    missing = setup.length if setup.given is None else int((setup.given < 0).sum())
    if missing:
        raise InvalidInputError(
            f"a class label of every sample with {type(objective).__name__}",
            got=f"{missing} of {setup.length} samples without one",
            fix="leave unlabeled= out",
        )


def logits_and_targets(setup: Setup, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Run the model on a batch; return logits, at least float32, and the refined labels, both (B, K).

    Without refinement the labels are the given ones, one-hot; an unlabelled sample is a row of zeros.

    Raises
    ------
    InvalidInputError
        If the task is not classification.
    """
    task = classification_task(setup)
    logits = task.forward(model, batch)
    return logits.to(torch.promote_types(logits.dtype, torch.float32)), task.targets(batch)


def labeled_mean(losses: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of the labelled samples' losses; 0, with a gradient of 0, if there are none.

    Parameters
    ----------
    losses : Tensor, shape (N,)
        Loss of each sample, finite for unlabelled ones, too.
    targets : Tensor, shape (N, K)
        A row of zeros is a sample without a label.

    Examples
    --------
    >>> labeled_mean(torch.tensor([2.0, 9.0]), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    tensor(2.)
    """
    labeled = targets.sum(1) > 0
    return (losses * labeled).sum() / labeled.sum().clamp(min=1)


def smooth_targets(targets: Tensor, smoothing: float) -> Tensor:
    r"""Return smoothed labels, :math:`(1 - \epsilon)\, t_k + \epsilon / K` (Szegedy et al. 2016, sec. 7).

    Parameters
    ----------
    targets : Tensor, shape (N, K)
        Probabilities; a row of zeros, a sample without a label, stays one.
    smoothing : float
        :math:`\epsilon`, in [0, 1).

    Returns
    -------
    Tensor, shape (N, K)

    Examples
    --------
    >>> smooth_targets(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), smoothing=0.2)
    tensor([[0.9000, 0.1000],
            [0.0000, 0.0000]])
    """
    labeled = (targets.sum(1, keepdim=True) > 0).to(targets.dtype)
    return (1 - smoothing) * targets + labeled * smoothing / targets.shape[1]


def bootstrap_loss(logits: Tensor, targets: Tensor, trust: float, kind: str = "soft") -> Tensor:
    r"""Return the bootstrapping loss of Reed et al. 2015, mean over the labelled samples.

    With q the predicted probabilities, soft (Eq. 6):
    :math:`-\sum_k [\beta t_k + (1 - \beta) q_k] \log q_k`; hard (Eq. 7): the same with the one-hot vector of the most
    probable class in place of the first q. The gradient of the soft loss goes through both: the second half is the
    entropy of q, as in minimum entropy regularisation.

    Parameters
    ----------
    logits : Tensor, shape (N, K), floating
        Unnormalised scores.
    targets : Tensor, shape (N, K)
        Probabilities; a row of zeros, a sample without a label, does not count.
    trust : float
        :math:`\beta`, weight on the labels, in [0, 1].
    kind : {"soft", "hard"}
        Which of the two.

    Returns
    -------
    Tensor, scalar

    Examples
    --------
    >>> bootstrap_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]]), trust=0.8).exp()
    tensor(2.)
    """
    log_probs = F.log_softmax(logits, dim=1)
    own = log_probs.exp() if kind == "soft" else F.one_hot(logits.argmax(1), logits.shape[1]).to(log_probs.dtype)
    return labeled_mean(-((trust * targets + (1 - trust) * own) * log_probs).sum(1), targets)


class LabelSmoothing(Objective):
    """Cross-entropy to smoothed labels (Szegedy et al. 2016, "Rethinking the Inception Architecture", sec. 7).

    Parameters
    ----------
    smoothing : float
        Probability that is spread over all classes, in [0, 1). Default: the paper's 0.1.

    Raises
    ------
    InvalidInputError
        If it is out of range.

    Examples
    --------
    >>> LabelSmoothing().identity()
    {'name': 'LabelSmoothing', 'smoothing': 0.1}
    """

    def __init__(self, smoothing: float = 0.1) -> None:
        self.smoothing = finite_number("smoothing", smoothing, above=0, below=1, fix="0.1 is common")

    def start(self, setup: Setup) -> None:
        """Check that the task is classification."""
        classification_task(setup)
        super().start(setup)

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the cross-entropy of a batch to its smoothed labels."""
        logits, targets = logits_and_targets(self.setup, model, batch)
        return soft_cross_entropy(logits, smooth_targets(targets, self.smoothing))


BOOTSTRAP_TRUST = {"soft": 0.95, "hard": 0.8}  # Reed et al. 2015, sec. 4


class Bootstrap(Objective):
    """Cross-entropy to a blend of the labels and the network's own predictions (Reed et al. 2015, Eq. 6 and 7).

    Parameters
    ----------
    kind : {"soft", "hard"}
        Blend with the probabilities, or with the most probable class.
    trust : float, optional
        Weight on the labels (the paper's beta), in [0, 1). Default: the paper's, 0.95 soft and 0.8 hard.

    Raises
    ------
    InvalidInputError
        If the kind is unknown or the weight out of range.

    Examples
    --------
    >>> Bootstrap("hard").trust
    0.8
    """

    def __init__(self, kind: str = "soft", trust: float | None = None) -> None:
        if kind not in BOOTSTRAP_TRUST:
            raise unknown_name("kind of bootstrapping", kind, BOOTSTRAP_TRUST)
        self.kind = kind
        trust = BOOTSTRAP_TRUST[kind] if trust is None else trust
        self.trust = finite_number("trust", trust, above=0, below=1, fix="0.95 (soft) and 0.8 (hard) are published")

    def start(self, setup: Setup) -> None:
        """Check that the task is classification."""
        classification_task(setup)
        super().start(setup)

    def loss(self, model: nn.Module, batch: Batch, correction: Correction) -> Tensor:
        """Return the bootstrapping loss of a batch."""
        return bootstrap_loss(*logits_and_targets(self.setup, model, batch), self.trust, self.kind)


register_method("ls", LabelSmoothing(), "Szegedy et al. 2016, Rethinking the Inception Architecture, arXiv:1512.00567")
for _kind in BOOTSTRAP_TRUST:
    register_method(
        f"bootstrap-{_kind}",
        Bootstrap(_kind),
        "Reed et al. 2015, Training Deep Neural Networks on Noisy Labels with Bootstrapping, arXiv:1412.6596",
    )
