"""What a sample's nearest neighbours say of its label, the label itself having no vote."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from noisycorrect.features.neighbors import most_similar
from noisycorrect.labels.rules import relative_trust
from noisycorrect.review.likelihood import fit_transition
from noisycorrect.support.rng import derived_seed

MOST_VOTERS = 20_000  # among whom neighbours are sought: time is linear in the samples
CLASS_POWER = 0.75  # how far a vote is taken relative to the shares of the classes


def nearest_neighbors(features: Tensor, voters: Tensor, k: int) -> Tensor:
    r"""Return the k voters that are most alike to each sample, by the cosine of what differs from the mean.

    Parameters
    ----------
    features : Tensor, shape (N, F), floating
        Finite.
    voters : Tensor, shape (M,), int64
        Rows among which neighbours are sought; a sample is not its own neighbour.
    k : int
        1 to M - 1.

    Returns
    -------
    Tensor, shape (N, k), int64
        Rows, the nearest first.

    Examples
    --------
    >>> features = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.2], [-1.0, 0.0]])
    >>> nearest_neighbors(features, torch.arange(4), 1).flatten().tolist()
    [1, 0, 3, 2]
    """
    rows = F.normalize(features.float() - features.float().mean(0), dim=1)
    place = torch.full((len(rows),), -1, device=rows.device)
    place[voters] = torch.arange(len(voters), device=rows.device)
    reference = rows[voters].T.contiguous()
    found = torch.empty(len(rows), k, dtype=torch.int64, device=rows.device)
    for block, best in most_similar(rows, reference, k, place):
        found[block] = voters[best]
    return found


def drawn_voters(given: Tensor, seed: int) -> Tensor:
    """Return the rows of the labelled samples, int64 (M,); of more than 20,000, so many drawn at random.

    Examples
    --------
    >>> drawn_voters(torch.tensor([0, -1, 1]), seed=0).tolist()
    [0, 2]
    """
    labeled = (given >= 0).nonzero().flatten()
    if len(labeled) <= MOST_VOTERS:
        return labeled
    generator = torch.Generator().manual_seed(derived_seed(seed, "voters"))
    return labeled[torch.randperm(len(labeled), generator=generator)[:MOST_VOTERS].to(labeled.device)]


def neighbor_votes(given: Tensor, neighbors: Tensor, num_classes: int, rounds: int) -> Tensor:
    r"""Return class probabilities of each sample by a vote of its neighbours.

    .. math:: v_{ik} = \frac{\pi_k + \sum_{j \in N_i} w_j 1[y_j = k]}{1 + \sum_{j \in N_i} w_j}, \qquad
        w_j = v_{j y_j} / \max_k v_{jk}

    with the shares :math:`\pi` of the classes as one more vote. A neighbour's weight is how probable its own neighbours
    think its label, in the round before; in the first round all weigh 1 (that a label's reliability weighs its vote:
    Di Salvo et al. 2024, arXiv:2408.14358). Each round sharpens the vote: what most neighbours say, more of them say in
    the next one.

    Parameters
    ----------
    given : Tensor, shape (N,), int64
        Given labels; -1 for none.
    neighbors : Tensor, shape (N, k), int64
        Rows of labelled samples.
    num_classes : int
        K.
    rounds : int
        At least 1.

    Returns
    -------
    Tensor, shape (N, K), float32
        Rows sum to 1.

    Examples
    --------
    >>> votes = neighbor_votes(torch.tensor([0, 0, 0, 1]), torch.tensor([[1, 2], [0, 2], [0, 1], [0, 1]]), 2, rounds=1)
    >>> votes[3]
    tensor([0.9167, 0.0833])
    """
    prior = torch.bincount(given[given >= 0], minlength=num_classes).float() / max(1, int((given >= 0).sum()))
    theirs, weight = given[neighbors], torch.ones(len(given), device=given.device, dtype=torch.float32)
    votes = prior.repeat(len(given), 1)
    for _ in range(rounds):
        votes = prior.repeat(len(given), 1).scatter_add_(1, theirs, weight[neighbors])
        votes /= votes.sum(1, keepdim=True)
        weight = relative_trust(given, votes)
    return votes


def class_relative_votes(votes: Tensor, given: Tensor) -> Tensor:
    r"""Return votes relative to the shares of the classes, :math:`\propto v_{ik} / \pi_k^{0.75}`.

    Where neighbours are of several classes the frequent ones outvote the rare ones for being frequent; divided by the
    shares (logit adjustment, Menon et al. 2021, "Long-tail learning via logit adjustment"), but not all the way, since
    a rare class is also seldom right, rare classes live.

    Parameters
    ----------
    votes : Tensor, shape (N, K)
        Probabilities.
    given : Tensor, shape (N,), int64
        Given labels; -1 for none.

    Returns
    -------
    Tensor, shape (N, K), float32
        Rows sum to 1; a class without labels has probability 0.

    Examples
    --------
    >>> class_relative_votes(torch.tensor([[0.6, 0.4]]), torch.tensor([0, 0, 0, 1]))
    tensor([[0.3969, 0.6031]])
    """
    counts = torch.bincount(given[given >= 0], minlength=votes.shape[1])
    relative = votes * torch.where(counts > 0, counts.clamp(min=1).float() ** -CLASS_POWER, 0.0)
    total = relative.sum(1, keepdim=True)
    return torch.where(total > 0, relative / total.clamp(min=torch.finfo(torch.float32).tiny), votes)


def halves_agree(votes: Tensor, others: Tensor) -> float:
    r"""Return how far two votes on the same samples agree, class by class, in [0, 1].

    .. math:: \frac{1}{K'} \sum_k \frac{2\,|A_k \cap B_k|}{|A_k| + |B_k|}

    where :math:`A_k` and :math:`B_k` are the samples that each gives to class k (Dice 1945), over the classes that
    either gives. A class that is rare counts as much as any: two votes for the most frequent class alone agree in
    nothing else. That what two halves of the data agree in is there: Ben-Hur, Elisseeff & Guyon 2002, "A stability
    based method for discovering structure in clustered data".

    Parameters
    ----------
    votes, others : Tensor, shape (N, K)
        Probabilities.

    Examples
    --------
    >>> votes = torch.eye(2)[[0, 0, 0, 1]]
    >>> round(halves_agree(votes, votes), 3), round(halves_agree(votes, torch.eye(2)[[0, 0, 0, 0]]), 3)
    (1.0, 0.429)
    """
    return classes_agree(votes.argmax(1), others.argmax(1), votes.shape[1])


def classes_agree(first: Tensor, second: Tensor, num_classes: int) -> float:
    """Return how far two choices of a class for each sample, int64 (N,), agree: see :func:`halves_agree`.

    Examples
    --------
    >>> round(classes_agree(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 0]), 2), 3)
    0.429
    """
    sizes = torch.bincount(first, minlength=num_classes) + torch.bincount(second, minlength=num_classes)
    both = torch.bincount(first[first == second], minlength=num_classes)
    return float((2 * both[sizes > 0].float() / sizes[sizes > 0]).mean())


def posterior(given: Tensor, evidence: Tensor) -> Tensor:
    r"""Return the probability of each true class, given what evidence held out from a label says, and the label.

    :math:`q_{ik} \propto e_{ik} T_{k y_i}`, with the transition matrix T of greatest likelihood
    (:func:`noisycorrect.review.likelihood.fit_transition`): how classes are confused is learnt from the whole set.
    Where labels are right the matrix is all but the identity, and no label is doubted, however unsure the evidence. Of
    many samples some are fitted; a class that none of these is labelled with is too rare to be doubted, either.

    Parameters
    ----------
    given : Tensor, shape (N,), int64
        -1 for an unlabelled sample, of which evidence alone tells.
    evidence : Tensor, shape (N, K)
        Probabilities of the true class; rows sum to 1.

    Returns
    -------
    Tensor, shape (N, K), float32
        Rows sum to 1.

    Examples
    --------
    >>> sure = torch.eye(2)[[0] * 50 + [1] * 50] * 0.8 + 0.1
    >>> given = torch.tensor([0] * 50 + [1] * 50)
    >>> bool((posterior(given, sure).argmax(1) == given).all())
    True
    """
    labeled = given >= 0
    if not bool(labeled.any()):
        return evidence.float()
    transition, _ = fit_transition(given[labeled].cpu().numpy(), evidence[labeled].cpu().double().numpy())
    unseen = transition.sum(0) == 0  # by the fit: as if no label of the class was possible
    transition[unseen, unseen] = 1
    likelihood = torch.from_numpy(transition.T.astype(np.float32)).to(evidence.device)[given.clamp(min=0)]
    joint = evidence.float() * torch.where(labeled.unsqueeze(1), likelihood, 1.0)
    mass = joint.sum(1, keepdim=True)
    return torch.where(mass > 0, joint / mass.clamp(min=torch.finfo(torch.float32).tiny), evidence.float())


def wrong_share(given: Tensor, posterior: Tensor) -> float:
    r"""Return the share of wrong labels that a posterior (N, K) expects, :math:`1 - \frac1N \sum_i q_{i y_i}`.

    Examples
    --------
    >>> round(wrong_share(torch.tensor([0, 1, -1]), torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5]])), 3)
    0.25
    """
    labeled = given >= 0
    own = posterior.gather(1, given.clamp(min=0).unsqueeze(1)).squeeze(1)[labeled]
    return float(1 - own.mean()) if len(own) else 0.0
