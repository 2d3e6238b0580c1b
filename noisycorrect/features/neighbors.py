"""What a sample's nearest neighbours say of its class: search in blocks, votes weighted by the voters' own quality."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from noisycorrect.features.inputs import Features

BLOCK_VALUES = 2**24  # similarities at once: 64 MB of float32


def most_similar(
    queries: torch.Tensor, reference: torch.Tensor, k: int, itself: torch.Tensor | None = None, *, ordered: bool = True
) -> Iterator[tuple[slice, torch.Tensor]]:
    r"""Yield (rows, places of the k most similar references), some queries at a time.

    Similarity is the inner product: of rows of length 1 the cosine. Memory is bounded, and no N x M matrix is made.

    Parameters
    ----------
    queries : Tensor, shape (N, F)
        What is asked about.
    reference : Tensor, shape (F, M)
        What is sought among, in columns.
    k : int
        1 to M; to M - 1 with `itself`.
    itself : Tensor, shape (N,), int64, optional
        Place of each query among the references, where it is none of its own neighbours; -1 for none.
    ordered : bool
        Whether the nearest come first.

    Examples
    --------
    >>> rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> [places.tolist() for _, places in most_similar(rows, rows.T, 1, torch.tensor([0, -1]))]
    [[[1], [1]]]
    """
    step = max(1, BLOCK_VALUES // reference.shape[1])
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        similarity = queries[rows] @ reference
        if itself is not None:
            own = itself[rows]
            there = (own >= 0).nonzero().flatten()
            similarity[there, own[there]] = -torch.inf
        yield rows, similarity.topk(k, dim=1, sorted=ordered).indices


def held_out_neighbors(features: Features, fold: np.ndarray, folds: int, k: int) -> np.ndarray:
    r"""Return the k labelled samples of other folds that are most alike, by cosine (dense rows with a 1 appended).

    Blocks of queries are compared with all labelled samples of other folds by one matrix product: memory is bounded,
    and there is no N x N matrix.

    Parameters
    ----------
    features : ndarray or CSR array, shape (N, F), float32
        See :func:`~noisycorrect.features.inputs.prepared_features`. A sparse row of zeros is like everything to the
        degree 0.
    fold : ndarray of int64, shape (N,)
        0..folds-1, or `folds` for a sample that nobody may learn from.
    folds : int
        How many there are.
    k : int
        At most the labelled samples outside any fold.

    Returns
    -------
    ndarray, shape (N, k), int64
        Rows of the neighbours, in no particular order.

    Examples
    --------
    >>> features = np.array([[1, 0], [2, 0.1], [0, 1], [0.1, 3]], np.float32)
    >>> held_out_neighbors(features, np.array([0, 1, 0, 1]), 2, 1).ravel().tolist()
    [1, 0, 3, 2]
    """
    rows = _unit_rows(features)
    found = np.empty((len(fold), k), np.int64)
    for own in np.unique(fold):
        queries, others = np.flatnonzero(fold == own), np.flatnonzero((fold != own) & (fold < folds))
        if isinstance(rows, np.ndarray):
            reference = torch.from_numpy(rows[others]).T
            for block, best in most_similar(torch.from_numpy(rows[queries]), reference, k, ordered=False):
                found[queries[block]] = others[best.numpy()]
            continue
        columns = rows[others].T.tocsc()
        step = max(1, BLOCK_VALUES // len(others))
        for start in range(0, len(queries), step):
            some = queries[start : start + step]
            alike: np.ndarray = (rows[some] @ columns).toarray()
            found[some] = others[torch.from_numpy(alike).topk(k, dim=1, sorted=False).indices.numpy()]
    return found


def _unit_rows(features: Features) -> Features:
    if not isinstance(features, np.ndarray):
        return features  # sparse rows have length 1 already
    # A constant beside the features tells lengths apart where these are few: of one feature, cosine knows but the sign.
    rows = np.concatenate([features, np.ones((len(features), 1), np.float32)], 1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def voter_quality(
    neighbors: np.ndarray, given: np.ndarray, fold: np.ndarray, folds: int, prior: np.ndarray
) -> np.ndarray:
    r"""Return how far each sample's neighbours agree with its label, for a voter in each fold's election.

    .. math:: q_{jf} = \frac{\sum_{n \in N_j, f_n \ne f} 1[g_n = g_j] + \pi_{g_j}}{|\{n \in N_j : f_n \ne f\}| + 1}

    with the neighbours N_j of j and the share :math:`\pi` of each class, as one more vote. Fold f has no say in the
    quality of those who vote on fold f: no label has a part in the evidence about itself.

    Parameters
    ----------
    neighbors : ndarray of int64, shape (N, k)
        Labelled ones.
    given : ndarray of int64, shape (N,)
        -1 for none.
    fold : ndarray of int64, shape (N,)
        Of each sample.
    folds : int
        F.
    prior : ndarray, shape (K,)
        Share of each class.

    Returns
    -------
    ndarray, shape (N, F + 1), float32
        In (0, 1]; the last column is for samples without a label, on whom all folds vote. A row without a label means
        nothing.

    Examples
    --------
    >>> neighbors = np.array([[2, 3], [2, 3], [0, 1], [0, 1]])
    >>> given, fold = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    >>> voter_quality(neighbors, given, fold, 2, np.array([0.5, 0.5])).round(2).tolist()[0]
    [0.5, 0.5, 0.5]
    """
    agree, theirs = given[neighbors] == given[:, None], fold[neighbors]
    own = prior[given]
    quality = np.empty((len(given), folds + 1), np.float32)
    for column in range(folds + 1):
        asked = theirs != column
        quality[:, column] = ((agree & asked).sum(1) + own) / (asked.sum(1) + 1)
    return quality


def class_relative(quality: np.ndarray, given: np.ndarray, fold: np.ndarray, classes: int) -> np.ndarray:
    """Return quality divided by its mean over the samples of other folds labelled alike: a class keeps its weight.

    Neighbours agree less with the labels of a rare class, right ones too; without this the class fades.

    Parameters
    ----------
    quality : ndarray, shape (N, F + 1)
        See :func:`voter_quality`; > 0.
    given : ndarray of int64, shape (N,)
        -1 for none, whose rows mean nothing.
    fold : ndarray of int64, shape (N,)
        0..F-1, or F for a sample without a label; in column f no sample of fold f has a say.
    classes : int
        K.

    Returns
    -------
    ndarray, shape (N, F + 1), float64

    Examples
    --------
    >>> quality = np.array([[0.25], [0.75], [0.1], [0.5]])
    >>> class_relative(quality, np.array([0, 0, 1, -1]), np.array([1, 1, 1, 0]), 2)[:3].ravel().tolist()
    [0.5, 1.5, 1.0]
    """
    means = np.ones((classes, quality.shape[1]))
    for column in range(quality.shape[1]):
        asked = (fold != column) & (given >= 0)
        counts = np.bincount(given[asked], minlength=classes)
        sums = np.bincount(given[asked], quality[asked, column], classes)
        np.divide(sums, counts, out=means[:, column], where=counts > 0)
    relative: np.ndarray = quality / means[given]
    return relative


def vote(neighbors: np.ndarray, given: np.ndarray, weights: np.ndarray, prior: np.ndarray) -> np.ndarray:
    r"""Return class probabilities by a weighted vote of the neighbours, smoothed by one vote for the class shares.

    .. math:: p_{ik} = \frac{1}{|N_i| + 1} \Bigl(\pi_k
        + |N_i| \frac{\sum_{j \in N_i} w_{ij} 1[g_j = k]}{\sum_{j \in N_i} w_{ij}}\Bigr)

    Parameters
    ----------
    neighbors : ndarray of int64, shape (N, k)
        Labelled ones.
    given : ndarray of int64, shape (N,)
        Labels.
    weights : ndarray, shape (N, k)
        Of each neighbour's vote, > 0.
    prior : ndarray, shape (K,)
        Share of each class.

    Returns
    -------
    ndarray, shape (N, K), float32
        Rows sum to 1.

    Examples
    --------
    >>> vote(np.array([[1, 2, 3]]), np.array([-1, 0, 0, 1]), np.array([[1.0, 1.0, 2.0]]), np.array([0.6, 0.4]))
    array([[0.525, 0.475]], dtype=float32)
    """
    count, k = neighbors.shape
    classes = len(prior)
    cells = np.arange(count)[:, None] * classes + given[neighbors]
    votes = np.bincount(cells.ravel(), (weights / weights.sum(1, keepdims=True)).ravel(), count * classes)
    probs: np.ndarray = ((k * votes.reshape(count, classes) + prior) / (k + 1)).astype(np.float32)
    return probs
