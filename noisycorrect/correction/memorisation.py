"""When learning gives way to memorising, told from labels that are held out of the loss; no clean label is needed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from noisycorrect.labels.rules import agreement_trust
from noisycorrect.labels.storage import AnyEvidence
from noisycorrect.support.rng import derived_seed

HELD_OUT_SHARE = 0.1
LATEST_START = 0.5  # share of the epochs after which nothing is held out any more
SIGNIFICANT = 1.645  # quantile of the standard normal distribution, 5 % one-sided


class MemorisationWatch:
    r"""Holds some labels out of the loss, and says when the evidence about them stops to improve.

    While a network learns what the labels have in common, labels that it was not shown become less of a surprise to it,
    :math:`-\log e_{i y_i}`; once it learns labels by heart, they do not. Memorisation has begun with the first epoch in
    which the mean surprise has not fallen significantly below the lowest so far: by less than 1.645 standard errors of
    the paired differences (one-sided, 5 %). Held-out samples go through the network with their batch, so watching
    costs no pass.

    Parameters
    ----------
    given : Tensor, shape (N,), int64
        0..K-1, or -1 for an unlabelled sample, which is never held out.
    epochs : int
        Of the run. In its second half nothing is held out any more, whether or not memorisation has begun.
    seed : int
        Of the choice, >= 0.

    Examples
    --------
    >>> watch = MemorisationWatch(torch.tensor([0, 1] * 10), epochs=8, seed=0)
    >>> int(watch.held_out.sum())
    2
    >>> right = torch.eye(2)[watch.given] * 0.5 + 0.25
    >>> better = torch.eye(2)[watch.given] * 0.8 + 0.1
    >>> [watch.has_begun(epoch, evidence) for epoch, evidence in enumerate([right, better, better], start=1)]
    [False, False, True]
    """

    def __init__(self, given: Tensor, epochs: int, seed: int) -> None:
        labeled = (given >= 0).nonzero().flatten().cpu()
        generator = torch.Generator().manual_seed(derived_seed(seed, "held-out labels"))
        order = torch.randperm(len(labeled), generator=generator)
        rows = labeled[order[: max(1, round(HELD_OUT_SHARE * len(labeled)))]].to(given.device)
        self.given = given
        self.rows = rows
        self.held_out = torch.zeros(len(given), dtype=torch.bool, device=given.device)
        self.held_out[rows] = True
        self.last = float(LATEST_START * epochs)
        self.begun = False
        self.lowest: Tensor | None = None  # surprise at each held-out label in the last epoch, the best so far
        self.surprise: list[float] = []  # its mean, one an epoch

    def has_begun(self, epoch: int, evidence: AnyEvidence) -> bool:
        """Look at the evidence (N, K) at the start of an epoch (0-based), and say whether memorisation has begun."""
        if self.begun or epoch == 0 or epoch > self.last:
            return self.begun
        quality = agreement_trust(self.given[self.rows], evidence[self.rows])
        surprise = -quality.cpu().double().clamp(min=1e-12).log()  # not every device has float64
        self.surprise.append(float(surprise.mean()))
        if self.lowest is not None:
            fall = self.lowest - surprise
            error = float(fall.std(correction=0)) / len(fall) ** 0.5
            self.begun = float(fall.mean()) <= SIGNIFICANT * error
        self.lowest = surprise  # unless memorisation has begun, and nothing is asked any more, its mean has fallen
        return self.begun

    def kept(self, epoch: int, index: Tensor) -> Tensor | None:
        """Return which samples of a batch the loss may see, bool (B,); None is all of them."""
        return None if self.begun or epoch >= self.last else ~self.held_out[index]

    def state_dict(self) -> dict[str, Any]:
        """Return what has been seen."""
        return {"begun": self.begun, "surprise": list(self.surprise), "lowest": self.lowest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.begun, self.surprise = state["begun"], list(state["surprise"])
        self.lowest = None if state["lowest"] is None else state["lowest"].cpu()
