"""The rows of a batch that a rank has: what the whole batch holds, and what one process would draw for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from noisycorrect.support import distributed


@dataclass(frozen=True)
class RankRows:
    """Which rows of a batch a rank has: every `ranks`-th of `size`, from `rank` on.

    All methods but :meth:`draws` are collective: every rank calls them, in the same order.

    Parameters
    ----------
    size : int
        Rows of the whole batch.
    rank, ranks : int
        Place, and number of ranks.

    Examples
    --------
    >>> RankRows(5, rank=1, ranks=2).own
    tensor([1, 3])
    """

    size: int
    rank: int = 0
    ranks: int = 1

    @property
    def own(self) -> Tensor:
        """The positions in the batch of this rank's rows, int64 (n,)."""
        return torch.arange(self.rank, self.size, self.ranks)

    def draws(self) -> RowsOfDraws:
        """Return a context in which what is drawn for this rank's rows is what one process would draw for them."""
        return RowsOfDraws(self)

    def gathered(self, values: Tensor) -> Tensor:
        """Return the values of the whole batch, (size, ...), from those of each rank's rows, (n, ...); no gradient.

        Examples
        --------
        >>> RankRows(2).gathered(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
        """
        if self.ranks == 1:
            return values.detach()
        own, longest = distributed.on_backend(values), -(-self.size // self.ranks)
        padded = own.new_zeros(longest, *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in range(self.ranks)]
        dist.all_gather(parts, padded)
        whole = torch.stack(parts, dim=1).flatten(0, 1)[: self.size]  # row i of rank r is row i * ranks + r
        return whole.to(values.device, values.dtype)

    def of(self, values: Tensor, *, views: int = 1) -> Tensor:
        """Return this rank's rows, (views * n, ...), of what the whole batch has, (views * size, ...).

        Examples
        --------
        >>> RankRows(3, rank=1, ranks=2).of(torch.arange(6), views=2)
        tensor([1, 4])
        """
        return values if self.ranks == 1 else values[self._places(views).to(values.device)]

    def _places(self, views: int) -> Tensor:
        return torch.cat([view * self.size + self.own for view in range(views)])

    def exchanged(self, values: Tensor, order: Tensor, *, views: int = 1) -> Tensor:
        """Return the rows that stand in for this rank's, of the whole batch's in another order; no gradient.

        Parameters
        ----------
        values : Tensor, shape (views * n, ...)
            Of this rank's rows; of several views of a batch, one after the other.
        order : Tensor, shape (views * size,), int64
            A permutation of the whole batch, the same on all ranks: row i is replaced by row ``order[i]``.
        views : int
            How many there are.

        Returns
        -------
        Tensor, shape (views * n, ...)
            Each row travels once, from the rank that has it to the one that wants it.

        Examples
        --------
        >>> RankRows(3).exchanged(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2, 0, 1]))
        tensor([3., 1., 2.])
        """
        if self.ranks == 1:
            return values.detach()[order.to(values.device)]
        order, source = order.cpu(), distributed.on_backend(values)
        others = [RankRows(self.size, rank, self.ranks) for rank in range(self.ranks)]
        asked = [other.of(order, views=views) for other in others]  # what each rank wants, in its order
        place = torch.empty(len(order), dtype=torch.int64)  # of a row, on the rank that has it
        for other in others:
            own = other._places(views)
            place[own] = torch.arange(len(own))
        sent = [place[rows[rows % self.size % self.ranks == self.rank]] for rows in asked]
        wanted = asked[self.rank]
        received = [(wanted % self.size % self.ranks == rank).nonzero().flatten() for rank in range(self.ranks)]
        target = source.new_empty(len(wanted), *source.shape[1:])
        dist.all_to_all_single(
            target, source[torch.cat(sent).to(source.device)], list(map(len, received)), list(map(len, sent))
        )
        places = torch.cat(received).to(target.device)
        found = torch.empty_like(target)
        found[places] = target
        return found.to(values.device, values.dtype)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over all ranks; its gradient is that of this rank's own part.

        Examples
        --------
        >>> RankRows(2).total(torch.tensor(3.0))
        tensor(3.)
        """
        return values if self.ranks == 1 else values + (distributed.all_reduce_sum(values) - values.detach())


class RowsOfDraws(TorchFunctionMode):
    """In its block, random numbers for as many rows as a rank has are drawn for the whole batch, and the rank's kept.

    With generators that are alike on all ranks, each row gets the numbers that it would get in one process. Of a
    function that draws for the values of a tensor (dropout, say) these are laid into a whole batch's first. Only
    torch's own functions are known; what numpy draws is alike on all ranks. So is a single number for the whole batch.

    Parameters
    ----------
    rows : RankRows
        Of the batch.

    Examples
    --------
    >>> whole = torch.rand(5, generator=torch.Generator().manual_seed(0))
    >>> with RankRows(5, rank=1, ranks=2).draws():
    ...     own = torch.rand(2, generator=torch.Generator().manual_seed(0))
    >>> torch.equal(own, whole[1::2])
    True
    """

    def __init__(self, rows: RankRows) -> None:
        super().__init__()
        self.rows = rows
        self.count = len(rows.own)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function, one that draws on the whole batch."""
        named = dict(kwargs or {})
        if func in _SIZED or (func is torch.normal and not any(isinstance(each, Tensor) for each in args)):
            return self._sized(func, args, named)
        if func in _IN_PLACE and self._has_rows(args[0]):
            wide = func(self._wide(args[0]), *args[1:], **named)
            return args[0].copy_(wide[self._own(wide)])
        given = (*args, *named.values())
        if func in _OF_VALUES and any(map(self._has_rows, given)):
            wide = func(
                *(self._wide(each) if self._has_rows(each) else each for each in args),
                **{name: self._wide(each) if self._has_rows(each) else each for name, each in named.items()},
            )
            return wide[self._own(wide)]
        return func(*args, **named)

    def _sized(self, func: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Call a function that takes the size of what it returns: ``size=``, a tuple, or numbers."""
        place = next((n for n, each in enumerate(args) if isinstance(each, (tuple, list))), None)
        size = named.get("size")
        if size is None:
            size = args if place is None else args[place]
        if not len(size) or size[0] != self.count:
            return func(*args, **named)
        wide = (self.rows.size, *size[1:])
        if "size" in named:
            found = func(*args, **{**named, "size": wide})
        elif place is None:
            found = func(*wide, **named)
        else:
            found = func(*args[:place], wide, *args[place + 1 :], **named)
        return found[self._own(found)]

    def _own(self, wide: Tensor) -> Tensor:
        return self.rows.own.to(wide.device)

    def _has_rows(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.dim() > 0 and len(value) == self.count

    def _wide(self, values: Tensor) -> Tensor:
        """Return values of a whole batch: this rank's rows in their places, the first of them everywhere else."""
        wide = values[:1].expand(self.rows.size, *values.shape[1:]).clone()
        wide[self._own(wide)] = values
        return wide


def _known(owner: Any, names: Iterable[str]) -> set[Any]:
    return {getattr(owner, name) for name in names if hasattr(owner, name)}


_SIZED = _known(torch, ["rand", "randn", "randint"])
_IN_PLACE = _known(
    Tensor,
    ["uniform_", "normal_", "bernoulli_", "random_", "exponential_", "log_normal_", "cauchy_", "geometric_"],
)
_OF_VALUES = {
    *_known(
        torch,
        ["rand_like", "randn_like", "randint_like", "bernoulli", "normal", "poisson", "binomial", "multinomial"],
    ),
    *_known(torch, ["dropout", "alpha_dropout", "feature_dropout", "_standard_gamma", "_sample_dirichlet"]),
    *_known(Tensor, ["bernoulli", "multinomial"]),
    *_known(F, ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"]),
}
