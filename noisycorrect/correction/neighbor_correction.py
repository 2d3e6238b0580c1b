"""Correction that begins with the neighbours: they say which labels to doubt before a network has learnt them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.correction.class_weights import unweighted
from noisycorrect.correction.halves import halves
from noisycorrect.correction.in_training import EvidenceInTraining, Lesson
from noisycorrect.correction.neighbors import (
    class_relative_votes,
    classes_agree,
    drawn_voters,
    nearest_neighbors,
    neighbor_votes,
    posterior,
    wrong_share,
)
from noisycorrect.correction.part import Setup
from noisycorrect.correction.sparse_votes import (
    SparseVotes,
    class_relative,
    given_alone,
    own_share,
    sparse_posterior,
    sparse_votes,
    with_given,
)
from noisycorrect.data.batches import Batch
from noisycorrect.labels.refine import one_hot
from noisycorrect.labels.rules import class_means
from noisycorrect.labels.storage import AnyEvidence, TopEvidence
from noisycorrect.support.checks import finite_number, whole_number
from noisycorrect.support.errors import InvalidInputError, unknown_name, warn_of_training

FEATURES = ("inputs", "network")
ROUNDS_OF_RATE, ROUNDS = 2, 3  # votes that say whether there is noise, and then which labels are wrong
# Up to so many a transition of all pairs is fitted to enough samples of each class; of 500 it is of 8, of 1,000 of 2.
DENSE_CLASSES = 100
STABLE, LOSS = 0.7, 0.03  # least agreement of two halves after many rounds, and most that it may lose on the way there


class NeighborCorrection(EvidenceInTraining):
    r"""Refined labels from neighbours and from every training step, as far as there is noise to correct; one network.

    A network that has learnt a wrong label by heart agrees with it. A sample's neighbours need not: its label has no
    vote about itself (a say it has, from the second round on, in what its neighbours' votes weigh). So, before the
    first corrected epoch,

    1. the nearest neighbours vote (:func:`~noisycorrect.correction.neighbors.neighbor_votes`), relative to how many
       labels a class has (:func:`~noisycorrect.correction.neighbors.class_relative_votes`), and the transition matrix
       of greatest likelihood makes of vote and label a posterior of the true class
       (:func:`~noisycorrect.correction.neighbors.posterior`);
    2. the rate of wrong labels :math:`\rho` that it expects after two rounds sets the doubt
       :math:`d = \min(1, \max(0, (\rho - \rho_0) / (\rho_1 - \rho_0)))`: labels that look clean are trained on as
       they are. After three rounds, which mend more but see more noise where classes overlap, the posterior is q', and
       what is known of sample i is :math:`q_i = d\,q'_i + (1 - d)\,1[y_i]`, and :math:`1[y_i]` of a class that no
       other sample has, for which nobody could vote. Both come from many rounds, which tell a
       class from the one that it is often taken for, where two halves of the labels, each voting alone, agree on what
       they converge to (:func:`~noisycorrect.correction.neighbors.halves_agree`: at least 0.7, and 0.03 less than
       after two rounds at most), no class has fewer than twice as many labels as there are neighbours, and none loses
       half of its samples on the way.

    Then in each step, with p the prediction of training and :math:`e \leftarrow \beta e + (1 - \beta) p`,

    3. evidence is :math:`u = \alpha q + (1 - \alpha) e`, and the target :math:`t\,y + (1 - t)\,u` with trust
       :math:`t = q_y\,(1 - d\,(1 - \min(1, \langle u, q \rangle / c_y)))`, where :math:`c_y` is the mean of
       :math:`\langle u, q \rangle` over the labels of the class, so that a class that is hard is not argued away;
    4. :class:`~noisycorrect.EarlyLearning` holds the network to u with :math:`d\,\bar c` of its strength, where
       :math:`\bar c` is the mean of :math:`\langle u, q \rangle` over the set: a network that has not caught up with
       its neighbours is left to learn.

    Neighbours are those of the inputs, where these are floating vectors (N, F). Of others no label is doubted, and a
    warning says so: features of a network that has begun to learn do not tell wrong labels from hard samples. For a
    pretrained network ask for its features.

    Parameters
    ----------
    neighbors : int
        How many vote, >= 1. Too many outvote what is thin.
    most_rounds : int
        Rounds of votes where two halves of the labels agree, >= 3; 3 for as many everywhere.
    features : {"inputs", "network"}
        What neighbours are sought in where inputs are no vectors: ``"network"`` is what the network's last linear layer
        sees when correction starts, which costs one forward pass a sample.
    share : float
        :math:`\alpha`, of the neighbours in the evidence, in [0, 1).
    momentum : float
        :math:`\beta`, weight of the past in the network's evidence, in [0, 1).
    start : float
        Share of the epochs before correction starts, in [0, 1).
    clean_rate, noisy_rate : float
        :math:`\rho_0 < \rho_1`, in [0, 1): expected rates of wrong labels up to which none is doubted, and from which
        on each is as far as it has earned.
    keep : int or None
        Generations of labels that stay on disk, at least 2; None keeps all.
    storage : {"auto", "float32", "float16", "top-64", "mapped"}
        How the network's evidence is held; see :class:`~noisycorrect.OnlineCorrection`. In all forms but float32, and
        of more than 100 classes, what the neighbours say is held for the classes that they have, exactly, and their
        share of the classes at large is left out of the posterior
        (:func:`~noisycorrect.correction.sparse_votes.sparse_posterior`).

    Raises
    ------
    InvalidInputError
        If an argument is out of range; when a run starts, if a label is not one class a sample.

    Examples
    --------
    >>> NeighborCorrection(neighbors=8).identity()["neighbors"]
    8
    """

    compares = True

    def __init__(
        self,
        *,
        neighbors: int = 20,
        most_rounds: int = 15,
        features: str = "inputs",
        share: float = 0.1,
        momentum: float = 0.7,
        start: float = 0.1,
        clean_rate: float = 0.02,
        noisy_rate: float = 0.06,
        keep: int | None = 2,
        storage: str = "auto",
    ) -> None:
        super().__init__(momentum=momentum, trust="class-relative", input_dropout=0.0, keep=keep, storage=storage)
        self.neighbors = whole_number("neighbors", neighbors, least=1)
        self.most_rounds = whole_number("most_rounds", most_rounds, least=ROUNDS)
        if features not in FEATURES:
            raise unknown_name("features", features, FEATURES)
        self.features = features
        self.share = finite_number("share", share, above=0, below=1, fix="0.1 is the default, 0 is off")
        self.begin = finite_number("start", start, above=0, below=1, fix="0.1 is the default")
        self.clean_rate = finite_number("clean_rate", clean_rate, above=0, below=1, fix="0.02 is the default")
        self.noisy_rate = finite_number("noisy_rate", noisy_rate, above=0, below=1, fix="0.06 is the default")
        if self.clean_rate >= self.noisy_rate:
            got = f"clean_rate={self.clean_rate:g}, noisy_rate={self.noisy_rate:g}"
            raise InvalidInputError("clean_rate < noisy_rate", got=got, fix="the defaults are 0.02 and 0.06")

    def start(self, setup: Setup) -> None:
        """Make the evidence, uniform over the classes; what is known are the given labels."""
        super().start(setup)
        self.known: AnyEvidence
        classes = self.evidence.shape[1]
        if isinstance(self.evidence, Tensor) and classes <= DENSE_CLASSES:
            labeled = (self.given >= 0).unsqueeze(1)
            self.known = torch.where(labeled, one_hot(self.given, classes), self.evidence)
        else:
            self.known = given_alone(self.given, classes)
        self.rate = self.most_wrong = math.nan

    @property
    def doubt(self) -> float:
        """How far labels may be doubted, d, in [0, 1]; 0 while there is no rate."""
        doubt = (self.rate - self.clean_rate) / (self.noisy_rate - self.clean_rate)
        return 0.0 if math.isnan(doubt) else min(1.0, max(0.0, doubt))

    def start_epoch(self, epoch: int, model: nn.Module) -> None:
        """Decide whether to correct; the first time, ask the neighbours."""
        if epoch == self.first_corrected(self.setup.epochs):
            self._ask_neighbors()
        super().start_epoch(epoch, model)

    def set_features(self, epoch: int, epochs: int) -> int:
        """Return 1 for the first corrected epoch, if features are the network's."""
        return int(self.features == "network" and epoch == self.first_corrected(epochs))

    def _ask_neighbors(self) -> None:
        given = self.given
        if self.features == "inputs" and not self.setup.vectors():
            warn_of_training(
                "inputs that are floating vectors (N, F), whose neighbours say which labels to doubt",
                got="others, so no label is corrected",
                fix="pass features of a pretrained network as inputs, or, if the network is pretrained,"
                ' correction=NeighborCorrection(features="network"), or train with recipe="elr"',
            )
            return
        voters = drawn_voters(given, self.setup.seed)
        if len(voters) < 2:
            self.rate = self.most_wrong = 0.0
            return
        features = self.setup.features()
        found = nearest_neighbors(features, voters, min(self.neighbors, len(voters) - 1))
        early, likely = self._likely(found, ROUNDS_OF_RATE), self._likely(found, ROUNDS)
        if self._stable(features, voters):
            late = self._likely(found, self.most_rounds)
            if not _starved(late, likely):
                early = likely = late
        alone = self._alone()
        self.rate = self._wrong_share(early, alone)
        self.most_wrong = max(self.rate, self._wrong_share(likely, alone))
        weight = torch.where(given >= 0, self.doubt, 1.0).float().masked_fill(alone, 0.0)
        if isinstance(likely, Tensor):
            weight = weight.to(likely.dtype).unsqueeze(1)
            self.known = weight * likely + (1 - weight) * self.known[:]
        else:
            self.known = with_given(given, likely, weight)

    def _likely(self, neighbors: Tensor, rounds: int) -> Tensor | TopEvidence:
        """Return the posterior of the true class after so many rounds of votes, float32 (N, K)."""
        votes = self._votes(neighbors, rounds)
        return posterior(self.given, votes) if isinstance(votes, Tensor) else sparse_posterior(self.given, votes)

    def _votes(self, neighbors: Tensor, rounds: int) -> Tensor | SparseVotes:
        classes = self.evidence.shape[1]
        if isinstance(self.known, Tensor):
            return class_relative_votes(neighbor_votes(self.given, neighbors, classes, rounds), self.given)
        return class_relative(sparse_votes(self.given, neighbors, classes, rounds), self.given)

    def _alone(self) -> Tensor:
        """Return which labels are the only one of their class, bool (N,): it has no voter, so votes say nothing."""
        counts = torch.bincount(self.given[self.given >= 0], minlength=self.evidence.shape[1])
        return (self.given >= 0) & (counts[self.given.clamp(min=0)] == 1)

    def _wrong_share(self, found: Tensor | TopEvidence, alone: Tensor) -> float:
        counted = (self.given >= 0) & ~alone
        if isinstance(found, Tensor):
            return wrong_share(self.given.where(counted, -1), found)
        own = own_share(self.given, found)[counted]
        return float(1 - own.mean()) if len(own) else 0.0

    def _stable(self, features: Tensor, voters: Tensor) -> bool:
        """Return whether two halves of the voters agree on what many rounds of votes make of the samples."""
        counts = torch.bincount(self.given[voters], minlength=self.evidence.shape[1])
        if self.most_rounds == ROUNDS or int(counts.min()) < 2 * self.neighbors:
            return False  # in a half the neighbours outnumber a class, and are never all of it
        half = halves(self.given, self.setup.seed)[voters]
        found = [nearest_neighbors(features, voters[half == number], self.neighbors) for number in (0, 1)]
        rounds = ROUNDS_OF_RATE, self.most_rounds
        classes = self.evidence.shape[1]
        first, second = ([_highest(self._votes(each, number)) for number in rounds] for each in found)
        few, many = (classes_agree(one, other, classes) for one, other in zip(first, second, strict=True))
        return many >= max(STABLE, few - LOSS)

    def usable(self, evidence: Tensor, rows: Tensor | slice) -> Tensor:
        """Return evidence (n, K) of some samples with the neighbours' share in it."""
        return self.share * self.known[rows] + (1 - self.share) * evidence if self.correcting else evidence

    def fit_trust(self) -> None:
        """Fit what trust needs of the whole set: how far evidence and neighbours agree, for each class and overall."""
        agreement = torch.cat([self._agreement(evidence, rows) for rows, evidence in self.usable_blocks()])
        self.class_agreement = class_means(self.given, agreement, self.evidence.shape[1])
        self.agreement = float(agreement.mean())

    def _agreement(self, evidence: Tensor, rows: Tensor | slice) -> Tensor:
        return (evidence * self.known[rows]).sum(1)

    def trust_in(self, given: Tensor, evidence: Tensor, rows: Tensor | slice) -> Tensor:
        """Return the trust in each label, float32 (n,); 0 for an unlabelled sample."""
        label = given.clamp(min=0)
        earned = self._agreement(evidence, rows) / self.class_agreement[label].clamp(min=1e-12)
        likely = self.known[rows].gather(1, label.unsqueeze(1)).squeeze(1)
        return torch.where(given >= 0, likely * (1 - self.doubt * (1 - earned.clamp(max=1))), 0.0)

    def in_step(self, model: nn.Module, batch: Batch) -> tuple[Any, Batch]:
        """Run the model on a batch, take its predictions into the evidence, and blend the evidence into the targets."""
        task = self.setup.task
        output = task.forward(model, batch)
        self.aim(batch, self.remember(batch.index, unweighted(task, task.probs(output).detach())))
        return output, batch

    def taught(self, batch: Batch) -> Lesson | None:
        """Return the evidence of the batch, with as much weight as doubt and agreement with the neighbours give it."""
        if not (self.correcting and self.doubt) or batch.evidence is None:
            return None
        return Lesson(slice(None), batch.evidence, self.doubt * self.agreement)

    def expected_rate(self) -> float | None:
        """Return what the neighbours expect after the last round, which sees the most; None before they were asked."""
        return None if math.isnan(self.most_wrong) else self.most_wrong

    def record(self) -> dict[str, float]:
        """Return ``correcting``, the ``expected_rate`` of wrong labels, NaN before neighbours were asked, ``doubt``."""
        return {**super().record(), "expected_rate": self.rate, "doubt": self.doubt}

    def state_dict(self) -> dict[str, Any]:
        """Return the evidence, and what is known from the neighbours."""
        known = self.known if isinstance(self.known, Tensor) else self.known.tensors()
        return {**super().state_dict(), "known": known, "rate": self.rate, "most_wrong": self.most_wrong}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; what trust needs is fitted again when the next epoch starts."""
        super().load_state_dict(state)
        known, device = state["known"], self.evidence.device
        if isinstance(known, Tensor):
            self.known = known.to(device, torch.float32)
        else:
            classes, values, rest = (known[name].to(device) for name in ("classes", "values", "rest"))
            self.known = TopEvidence(classes, values, rest, self.evidence.shape[1])
        self.rate, self.most_wrong = state["rate"], state["most_wrong"]


def _highest(votes: Tensor | SparseVotes | TopEvidence) -> Tensor:
    """Return the most probable class of each sample, int64 (N,)."""
    return votes.argmax(1) if isinstance(votes, Tensor) else votes.highest()


def _starved(late: Tensor | TopEvidence, early: Tensor | TopEvidence) -> bool:
    """Return whether a class has lost half of its samples between two posteriors (N, K)."""
    after, before = (torch.bincount(_highest(each), minlength=each.shape[1]) for each in (late, early))
    return bool((2 * after < before).any())
