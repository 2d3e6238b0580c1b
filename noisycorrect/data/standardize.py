"""Inputs that are vectors, brought to one scale by statistics of the training set, in front of the network."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from noisycorrect.cycle.moments import Moments, batch_moments, pool_moments
from noisycorrect.data.batches import are_vectors
from noisycorrect.data.datasets import ArrayDataset, MapStyleDataset
from noisycorrect.data.forms import SparseRows, rows_of
from noisycorrect.data.items import split_fields
from noisycorrect.data.streams import StreamedDataset
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.rng import seeded

LIMIT = 5.0  # standard deviations
SPARSE = 0.7  # share of zeros from which a feature says by its zeros that something is not there
SAMPLES_READ = 4096  # of a data set that reads its items one by one
_BLOCK = 8192  # rows of an array at once
_VALUES = 2**24  # of a sparse matrix, made dense


class Standardize(nn.Module):
    r"""Subtract a mean and divide by a scale, feature by feature; what is then beyond a limit is set to it.

    :math:`z = \min(\max((x - \mu) / \sigma, -5), 5)`. The limit keeps a feature that is nearly always the same (a rare
    word, a pixel at the border) from towering over the others where it differs, and bounds what is far from all that
    was trained on. Without it the result depends on the training set alone and not on how its features were scaled and
    shifted before; with it, too.

    Of a feature that is nearly always 0 (a word in a bag of words, one of many categories) 0 stays 0, and its scale is
    the root mean square of its other values: what is there counts about 1, however rare it is. Divided by its standard
    deviation a rare word would weigh the more the rarer it is, and texts would be learnt by their rarest words.

    Parameters
    ----------
    mean, scale : array-like, shape (F,)
        Finite; scales > 0. Kept as buffers, float32.
    limit : float
        Largest absolute value of the output, > 0.

    Raises
    ------
    InvalidInputError
        If they are no vectors of one length, not finite, or a scale or the limit is not positive.

    Examples
    --------
    >>> standardize = Standardize([10.0, 0.0], [2.0, 1.0])
    >>> standardize(torch.tensor([[14.0, 9.0]]))
    tensor([[2., 5.]])
    >>> standardize
    Standardize(2 features, limit=5)
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Any, scale: Any, *, limit: float = LIMIT) -> None:
        super().__init__()
        mean, scale = torch.as_tensor(mean, dtype=torch.float32), torch.as_tensor(scale, dtype=torch.float32)
        if mean.dim() != 1 or mean.shape != scale.shape:
            got = f"shapes {tuple(mean.shape)} and {tuple(scale.shape)}"
            raise InvalidInputError("mean and scale of shape (F,)", got=got, fix="pass a number for each feature")
        if not (torch.isfinite(mean).all() and torch.isfinite(scale).all() and (scale > 0).all()):
            got = f"a smallest scale of {float(scale.min()):g}" if torch.isfinite(scale).all() else "NaN or infinity"
            raise InvalidInputError("finite means, and scales > 0", got=got, fix="give constant features the scale 1")
        self.limit = finite_number("limit", limit, above=0, fix="5 is common")
        if not self.limit:
            raise InvalidInputError("limit > 0", got="0", fix="5 is common")
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", scale.clone())

    @classmethod
    def of_moments(cls, moments: Moments, zeros: Tensor | None = None) -> Standardize:
        """Return what standardises values of these moments; the scale of a constant feature is 1.

        Parameters
        ----------
        moments : Moments
            Of F features.
        zeros : Tensor, shape (F,), optional
            How many of the values are 0. A feature of which at least 70 % are, but not all, keeps its zeros; see the
            class. Default: none does.

        Examples
        --------
        >>> Standardize.of_moments(batch_moments(torch.tensor([[1.0, 7.0], [3.0, 7.0]]))).scale
        tensor([1., 1.])
        >>> rare = torch.tensor([[0.0], [0.0], [0.0], [4.0]])
        >>> Standardize.of_moments(batch_moments(rare), zeros=torch.tensor([3]))(rare).flatten()
        tensor([0., 0., 0., 1.])
        """
        deviation = moments.variance.sqrt()
        # Sums of float32 inputs differ by rounding even where the values are meant to be one.
        varies = deviation > torch.finfo(torch.float32).eps * moments.mean.abs()
        mean, scale = moments.mean, torch.where(varies, deviation, 1.0)
        if zeros is not None:
            others = moments.count - zeros
            sparse = (zeros >= SPARSE * moments.count) & (others > 0)
            size = ((moments.variance + mean.square()) * moments.count / others.clamp(min=1)).sqrt()
            mean, scale = torch.where(sparse, 0.0, mean), torch.where(sparse, size, scale)
        return cls(mean, scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return standardised inputs, (..., F), in their dtype; whole numbers come back as float32."""
        wide = inputs.to(torch.promote_types(inputs.dtype, torch.float32))
        standard = ((wide - self.mean) / self.scale).clamp(-self.limit, self.limit)
        return standard.to(inputs.dtype) if inputs.is_floating_point() else standard

    def extra_repr(self) -> str:
        """Return how many features there are, and the limit."""
        return f"{len(self.mean)} features, limit={self.limit:g}"


class Standardized(nn.Module):
    """A network behind a :class:`Standardize`: it is called with inputs as they are, and sees standardised ones.

    Attributes
    ----------
    standardize : Standardize
        Applied to the first argument of a call.
    network : nn.Module
        Gets the result, and all other arguments as they are.

    Examples
    --------
    >>> model = Standardized(Standardize([10.0], [2.0]), nn.Identity())
    >>> model(torch.tensor([[14.0]]))
    tensor([[2.]])
    """

    def __init__(self, standardize: Standardize, network: nn.Module) -> None:
        super().__init__()
        self.standardize = standardize
        self.network = network

    def forward(self, inputs: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return the network's output for standardised inputs."""
        return self.network(self.standardize(inputs), *args, **kwargs)


def fitted_standardize(data: MapStyleDataset, *, num_workers: int = 0, known: bool = False) -> Standardize | None:
    """Return what standardises the inputs of a data set; None if these are no floating vectors (N, F).

    Parameters
    ----------
    data : MapStyleDataset
        Samples as predictions see them, unlabelled ones included. Of arrays every row counts; of other data sets at
        most 4,096 items are read, evenly spaced.
    num_workers : int
        Items are read by a process of their own if it is not 0.
    known : bool
        Whether statistics are to be loaded later (a run that is resumed): none are computed.

    Raises
    ------
    InvalidInputError
        If an input is NaN or infinite; the message names sample and feature.

    Examples
    --------
    >>> data = ArrayDataset(torch.tensor([[0.0, 16000.0], [2.0, 16010.0]]), [0, 1])
    >>> fitted_standardize(data).mean
    tensor([1.0000e+00, 1.6005e+04])
    >>> fitted_standardize(ArrayDataset(torch.tensor([[3, 1], [2, 5]]), [0, 1])) is None  # token ids
    True
    """
    parts: list[Moments] = []
    zeros: list[Tensor] = []
    # Closed at once, after an error, too: it gives the random generators back.
    with contextlib.closing(_blocks(data, num_workers)) as blocks:
        for rows, block in blocks:
            if block is None or not block.shape[1] or (parts and block.shape[1] != len(parts[0].mean)):
                return None
            if known:
                return Standardize(
                    torch.zeros(block.shape[1], dtype=torch.float32), torch.ones(block.shape[1], dtype=torch.float32)
                )
            wrong = (~torch.isfinite(block)).nonzero()
            if len(wrong):
                row, feature = wrong[0].tolist()
                raise InvalidInputError(
                    "finite inputs, to standardise them",
                    got=f"{float(block[row, feature])} in feature {feature} of sample {rows[row]}",
                    fix="fill in what is missing, or pass recipe.replace(standardize=None)",
                )
            parts.append(batch_moments(block))
            zeros.append((block == 0).sum(0))
    return Standardize.of_moments(pool_moments(parts), torch.stack(zeros).sum(0))


def restore_standardized(model: nn.Module, state: Mapping[str, Any]) -> nn.Module:
    """Return a model with a :class:`Standardize` of no effect wherever saved weights have one and it has none.

    So weights of a run that standardised its inputs can be loaded into the network that the run was started with.

    Examples
    --------
    >>> network = nn.Linear(2, 3)
    >>> saved = Standardized(Standardize([1.0, 2.0], [1.0, 1.0]), nn.Linear(2, 3)).state_dict()
    >>> type(restore_standardized(network, saved)).__name__
    'Standardized'
    """
    own = model.state_dict()
    for name in state:
        path, _, last = name.rpartition(".")
        if name in own or last != "mean" or path.split(".")[-1] != "standardize":
            continue
        owner = path.rpartition(".")[0]
        found = dict(model.named_modules()).get(owner)
        if found is None:
            continue
        features = len(state[name])
        wrapped = Standardized(
            Standardize(torch.zeros(features, dtype=torch.float32), torch.ones(features, dtype=torch.float32)), found
        )
        if not owner:
            model = wrapped
        else:
            parent, _, child = owner.rpartition(".")
            setattr(model.get_submodule(parent), child, wrapped)
    return model


def standardize_of(model: nn.Module) -> Standardize | None:
    """Return the :class:`Standardize` in a model, or None.

    Examples
    --------
    >>> standardize_of(nn.Linear(2, 2)) is None
    True
    """
    return next((module for module in model.modules() if isinstance(module, Standardize)), None)


def _blocks(data: MapStyleDataset, num_workers: int) -> Generator[tuple[Sequence[int], Tensor | None], None, None]:
    """Yield positions and inputs (n, F) of the samples that count; None instead of what are no floating vectors."""
    if isinstance(data, ArrayDataset):
        inputs, step = data.inputs, _BLOCK
        vectors = are_vectors(inputs)
        if isinstance(inputs, SparseRows):
            vectors, step = True, max(1, min(_BLOCK, _VALUES // inputs.shape[1]))
        for start in range(0, len(data), step):
            rows = range(start, min(start + step, len(data)))
            yield rows, rows_of(inputs, slice(rows.start, rows.stop)) if vectors else None
        return
    picks = np.linspace(0, len(data) - 1, min(SAMPLES_READ, len(data))).astype(int).tolist()
    if isinstance(
        data, StreamedDataset
    ):  # one pass for all of them, unless the first says that there is nothing to read
        for rows in (picks[:1], picks[1:]):
            if rows:
                yield rows, _matrix([split_fields(item)[0] for item in data.__getitems__(rows)])
        return
    # The first alone: it tells whether there is anything to read.
    batches = [picks[:1], *(picks[start : start + 64] for start in range(1, len(picks), 64))]
    with seeded(0, "inputs read"):
        loader = DataLoader(
            _Inputs(data),
            batch_sampler=batches,
            num_workers=min(1, num_workers),  # so that no open file is shared with the workers to come
            collate_fn=_matrix,
            generator=torch.Generator(),
        )
        yield from zip(batches, loader, strict=True)


class _Inputs(Dataset[Any]):
    """The inputs of a map-style data set."""

    def __init__(self, data: MapStyleDataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        return split_fields(self.data[index])[0]


def _matrix(inputs: list[Any]) -> Tensor | None:
    """Return floating vectors (F,) as one matrix, or None if one is something else, or of another length."""
    if not all(isinstance(each, (Tensor, np.ndarray)) for each in inputs):
        return None
    vectors = [torch.as_tensor(each) for each in inputs]
    if any(each.dim() != 1 or not each.is_floating_point() or each.shape != vectors[0].shape for each in vectors):
        return None
    return torch.stack(vectors)
