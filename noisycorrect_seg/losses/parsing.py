"""The loss of A-CE2P (SCHP, Eq. 4): parsing, edges, and their consistency."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from noisycorrect.support.errors import InvalidInputError, unknown_name
from noisycorrect_seg.losses.branch import BranchTerms
from noisycorrect_seg.losses.consistency import LabelEdges, consistency_of
from noisycorrect_seg.losses.cross_entropy import check_weights, cross_entropy_of
from noisycorrect_seg.losses.eager import with_gradient
from noisycorrect_seg.losses.edge import balanced_edge_loss_of, edge_margins
from noisycorrect_seg.losses.lovasz import BINS, METHODS, lovasz_of
from noisycorrect_seg.losses.resizing import enlarged
from noisycorrect_seg.losses.targets import Targets, check_maps, targets_like, widen
from noisycorrect_seg.masks import IGNORE_INDEX
from noisycorrect_seg.outputs import ParsingOutput

LOVASZ_TARGETS = ("soft", "hard")


@final
@dataclass(frozen=True, eq=False)
class ParsingLoss:
    r"""The loss of a parsing network, :math:`\lambda_1 L_{edge} + \lambda_2 L_{parsing} + \lambda_3 L_{consistency}`.

    SCHP's Eq. 4, where :math:`L_{parsing}` is cross-entropy plus Lovász-Softmax. Each term can be left out, as in
    Table 3; terms that need a branch that the network lacks are left out too. Logits are resized to the targets once
    (bilinear, corners aligned), and the terms share their softmax.

    With two parsing outputs, parsing and fusion, :math:`L_{parsing}` and :math:`L_{consistency}` are the means of the
    two: the lambdas weigh the whole, as Eq. 4 is written. The published code also counts each output's
    :math:`L_{parsing}` half, but adds :math:`L_{consistency}` for both, 0.2 in all; as its term is always 0, that
    weight was never tried. ``lambda_consistency=0.2`` gives it.

    All terms see the same targets: the refined labels, soft, in cross-entropy and Lovász-Softmax; their most probable
    classes where edges are needed. Ignored pixels count in no term, edges included.

    Calling the loss finds each branch's gradient together with its value, so that the full-size maps of one branch
    are gone before the next begins; the sum can be differentiated once. :meth:`terms` keeps its maps for autograd.

    Parameters
    ----------
    lambda_edge, lambda_parsing, lambda_consistency : float
        Weights, at least 0. The published ones by default.
    cross_entropy, lovasz, edge, consistency : bool
        Which terms there are.
    lovasz_method : {"exact", "linear"}
        See :func:`~noisycorrect_seg.losses.lovasz_softmax`.
    lovasz_targets : {"soft", "hard"}
        What Lovász-Softmax is compared with where targets are soft: with them, or with their most probable classes,
        of which networks learnt more.
    ignore_index : int
        Hard label of a pixel to leave out.
    class_weights : Tensor, shape (K,), optional
        Weights of the classes in the cross-entropy. Predictions lean to classes that weigh more, and corrected masks
        follow predictions: weights above 1 for rare classes give these more pixels than they have.

    Raises
    ------
    InvalidInputError
        If a weight is negative or not finite, the method is unknown, or no term is left.

    Examples
    --------
    >>> labels = torch.tensor([[[0, 0, 1, 1]]])
    >>> output = ParsingOutput(parsing=torch.zeros(1, 2, 1, 4), edge=torch.zeros(1, 2, 1, 4))
    >>> loss = ParsingLoss()
    >>> {name: round(term.item(), 4) for name, term in loss.terms(output, labels).items()}
    {'cross_entropy': 0.6931, 'lovasz': 0.5, 'consistency': 0.0, 'edge': 0.6931}
    >>> loss(output, labels)
    tensor(1.8863)
    """

    lambda_edge: float = 1.0
    lambda_parsing: float = 1.0
    lambda_consistency: float = 0.1
    _: KW_ONLY
    cross_entropy: bool = True
    lovasz: bool = True
    edge: bool = True
    consistency: bool = True
    lovasz_method: str = "exact"
    lovasz_targets: str = "hard"
    ignore_index: int = IGNORE_INDEX
    class_weights: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("lambda_edge", "lambda_parsing", "lambda_consistency"):
            weight = getattr(self, name)
            if not math.isfinite(weight) or weight < 0:
                raise InvalidInputError(
                    f"a finite {name} of at least 0", got=repr(weight), fix="the paper has 1, 1, 0.1"
                )
        if self.lovasz_targets not in LOVASZ_TARGETS:
            raise unknown_name("kind of targets for Lovász-Softmax", self.lovasz_targets, LOVASZ_TARGETS)
        if self.lovasz_method not in METHODS:
            raise unknown_name("Lovász method", self.lovasz_method, METHODS)
        if not (self.cross_entropy or self.lovasz or self.edge or self.consistency):
            raise InvalidInputError("at least one term", got="none", fix="leave cross_entropy=True")
        if self.class_weights is not None:
            check_weights(self.class_weights, self.class_weights.numel())

    def __call__(self, output: ParsingOutput | Tensor, targets: Tensor) -> Tensor:
        """Return the weighted sum of the terms.

        Parameters
        ----------
        output : ParsingOutput or Tensor
            Logits of the branches, (N, K, h, w) and (N, 2, h, w); a tensor is the parsing branch alone. Half precision
            is computed in float32, under autocast too.
        targets : Tensor
            Hard labels, integer (N, H, W), or soft targets, floating (N, K, H, W), with columns of zeros at ignored
            pixels.

        Returns
        -------
        Tensor, scalar
            At least 0, float32 (float64 for float64 logits).

        Raises
        ------
        InvalidInputError
            If shapes or labels are not as above, or the network has no branch that a term needs.
        """
        batch = self._batch(output, targets)
        names, parts = self._branch_names(batch), []
        if names and not torch.is_grad_enabled():
            parts = [self.total(self._branch(batch, logits, batch.margins)) for logits in batch.branches]
        elif names:
            terms = self._branch_terms(batch, names)
            also = () if "consistency" not in names or batch.margins is None else (batch.margins,)
            parts = [with_gradient(terms.loss_and_gradient, logits, *also) for logits in batch.branches]
        means = [torch.stack(parts).mean()] if parts else []
        edges = self._edge(batch)
        return torch.stack(means + ([self.total(edges)] if edges else [])).sum()

    def terms(self, output: ParsingOutput | Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the terms without their weights, by name: cross_entropy, lovasz, consistency, edge.

        Parameters and errors are those of a call; :meth:`total` gives the weighted sum.
        """
        batch = self._batch(output, targets)
        parts = [self._branch(batch, logits, batch.margins) for logits in batch.branches]
        means = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        return means | self._edge(batch)

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum of :meth:`terms`."""
        weights = {"edge": self.lambda_edge, "consistency": self.lambda_consistency}
        return torch.stack([weights.get(name, self.lambda_parsing) * term for name, term in terms.items()]).sum()

    def _branch_names(self, batch: _Batch) -> list[str]:
        wanted = {
            "cross_entropy": self.cross_entropy,
            "lovasz": self.lovasz,
            "consistency": self.consistency and batch.margins is not None,
        }
        return [name for name, there in wanted.items() if there]

    def _branch_terms(self, batch: _Batch, names: list[str]) -> BranchTerms:
        return BranchTerms(
            batch.targets,
            self._lovasz_targets(batch),
            batch.edges,
            cross_entropy=self.lambda_parsing * ("cross_entropy" in names),
            lovasz=self.lambda_parsing * ("lovasz" in names),
            consistency=self.lambda_consistency,
            class_weights=self.class_weights,
            bins=self._bins,
            dtype=batch.branches[0].dtype,
        )

    def _lovasz_targets(self, batch: _Batch) -> Targets:
        return batch.targets if self.lovasz_targets == "soft" else batch.hard

    @property
    def _bins(self) -> int | None:
        return BINS if self.lovasz_method == "linear" else None

    def _branch(self, batch: _Batch, logits: Tensor, margins: Tensor | None = None) -> dict[str, Tensor]:
        """Return the terms of one parsing output, from its logits at their own size."""
        names, targets = self._branch_names(batch), batch.targets
        terms: dict[str, Tensor] = {}
        if not names:
            return terms
        logits = enlarged(logits, targets.size)
        log_probs = logits.log_softmax(1) if "cross_entropy" in names else None
        if log_probs is not None:
            terms["cross_entropy"] = cross_entropy_of(log_probs, targets, self.class_weights)
        if names == ["cross_entropy"]:
            return terms
        probs = logits.softmax(1) if log_probs is None else log_probs.exp()
        if "lovasz" in names:
            terms["lovasz"] = lovasz_of(probs, self._lovasz_targets(batch), bins=self._bins)
        if "consistency" in names and margins is not None:
            terms["consistency"] = consistency_of(probs, margins, batch.edges)
        return terms

    def _edge(self, batch: _Batch) -> dict[str, Tensor]:
        if not self.edge or batch.margins is None:
            return {}
        return {"edge": balanced_edge_loss_of(batch.margins, batch.edges.map, batch.targets.valid)}

    def _batch(self, output: ParsingOutput | Tensor, targets: Tensor) -> _Batch:
        if isinstance(output, Tensor):
            output = ParsingOutput(output)
        branches = [output.parsing] if output.fusion is None else [output.parsing, output.fusion]
        check_maps(output.parsing, "parsing logits")
        if output.fusion is not None:
            check_maps(output.fusion, "fusion logits", channels=output.parsing.shape[1], images=len(output.parsing))
        checked = targets_like(targets, branches[0], self.ignore_index, any_size=True)
        wants_edges = output.edge is not None and (self.edge or self.consistency)
        if not (self.cross_entropy or self.lovasz or wants_edges):
            raise InvalidInputError(
                "a network with an edge branch", got="none", fix="pass cross_entropy=True, or a network with edge=True"
            )
        if self.class_weights is not None:
            check_weights(self.class_weights, checked.num_classes)
        margins = (
            edge_margins(output.edge, len(branches[0]), checked.size)
            if wants_edges and output.edge is not None
            else None
        )
        return _Batch([widen(logits) for logits in branches], margins, checked)


@dataclass(frozen=True)
class _Batch:
    """The checked inputs of one call."""

    branches: list[Tensor]  # logits of the parsing outputs, float32 or float64
    margins: Tensor | None  # of the edge branch, at the size of the targets; None if no term needs them
    targets: Targets

    @cached_property
    def hard(self) -> Targets:
        """The most probable classes of soft targets; hard ones as they are."""
        given = self.targets
        return given if given.soft is None else Targets(given.labels, given.num_classes, given.ignore_index)

    @cached_property
    def edges(self) -> LabelEdges:
        return LabelEdges(self.targets)
