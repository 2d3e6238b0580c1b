"""Evidence about N x K classes in memory: as it is, in half precision, by its largest classes, or in a file."""

from __future__ import annotations

import re
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from noisycorrect.labels.codec import FLOAT32_EPS, Float16
from noisycorrect.labels.paged import PagedRows
from noisycorrect.support.errors import InvalidInputError

MOST_BYTES = 2**30  # of float32 evidence that "auto" keeps as it is
VALUES_AT_ONCE = 2**23  # 32 MB of float32
MOST_KEPT, SHARE_KEPT = 64, 8  # classes a sample that "auto" keeps: an eighth of all, 64 at most
FORMS = ("auto", "float32", "float16", "mapped", "top-64")

Rows: TypeAlias = "Tensor | slice"


class HeldEvidence(ABC):
    """Probabilities of N samples that are read and written some rows at a time, as those of a tensor (N, K) are.

    Attributes
    ----------
    shape : tuple of int
        (N, K).
    device : torch.device
        Where what is read lies.
    """

    shape: tuple[int, int]
    device: torch.device

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, rows: Rows) -> Tensor:
        """Return the probabilities of some samples, a new float32 tensor (n, K); its rows sum to 1."""

    @abstractmethod
    def __setitem__(self, rows: Rows, probs: Tensor) -> None:
        """Hold probabilities (n, K) of some samples, each of which is there once."""

    @abstractmethod
    def max_error(self) -> float:
        """Return a bound on how far a probability that was written is off when it is read."""

    def tensors(self) -> dict[str, Tensor]:
        """Return what is held, by name: tensors of N rows, changed in place."""
        return {}


AnyEvidence: TypeAlias = "Tensor | HeldEvidence"


def blocks(evidence: Any) -> Iterator[tuple[slice, Tensor]]:
    """Yield (rows, probabilities of these rows), as many at once as fit into memory: a tensor up to 1 GB as it is.

    Parameters
    ----------
    evidence : Tensor or HeldEvidence, shape (N, K)
        Or what has a method ``blocks`` of its own.

    Examples
    --------
    >>> [(rows, block.shape) for rows, block in blocks(torch.zeros(3, 2))]
    [(slice(None, None, None), torch.Size([3, 2]))]
    """
    if hasattr(evidence, "blocks"):
        yield from evidence.blocks()
        return
    count, classes = evidence.shape
    if isinstance(evidence, Tensor) and 4 * count * classes <= MOST_BYTES:
        yield slice(None), evidence
        return
    step = max(1, VALUES_AT_ONCE // classes)
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        yield rows, evidence[rows]


class HalfEvidence(HeldEvidence):
    r"""Half precision: two bytes a probability.

    What is read is off by :meth:`max_error` b at most, :class:`~noisycorrect.labels.codec.Float16`'s, and an
    exponential average that is read, changed and written again each epoch by :math:`b / (1 - \beta)`.

    Parameters
    ----------
    count, classes : int
        N, K. Rows are uniform at first.
    device : torch.device, optional
        Where they lie. Default: the CPU.

    Examples
    --------
    >>> held = HalfEvidence(3, 2)
    >>> held[torch.tensor([1])] = torch.tensor([[0.3, 0.7]])
    >>> held[:2]
    tensor([[0.5000, 0.5000],
            [0.3000, 0.7000]])
    """

    def __init__(self, count: int, classes: int, device: torch.device | None = None) -> None:
        self.shape, self.device = (count, classes), device or torch.device("cpu")
        self._codec = Float16()
        self._code = self._codec.coded(
            torch.full((1, classes), 1 / classes, dtype=torch.float32, device=self.device)
        ).repeat(count, 1)

    def __getitem__(self, rows: Rows) -> Tensor:
        return self._codec.decode(self._code[rows])

    def __setitem__(self, rows: Rows, probs: Tensor) -> None:
        self._code[rows] = self._codec.coded(probs)

    def max_error(self) -> float:
        """Return the codec's bound."""
        return self._codec.max_error(self.shape[1])

    def tensors(self) -> dict[str, Tensor]:
        """Return the code."""
        return {"code": self._code}


class TopEvidence(HeldEvidence):
    r"""The largest classes of each sample and the given one, exactly; the mass of all others, evenly among these.

    Of 64 classes 8 x 64 + 4 bytes a sample, whatever K is. The probability of a given label is what float32 would have
    for the same predictions, bit for bit, for its class is always kept. Of another class it is off by :math:`b = 1/k`
    at most (the k-th largest of numbers that sum to 1 is no more), and by no more than the sample's rest; an
    exponential average that is written again each epoch, by :math:`b / (1 - \beta)`.

    Parameters
    ----------
    classes : Tensor, shape (N, k), int32
        Different classes of each row; K for a place that holds none.
    values : Tensor, shape (N, k), float32
        Their probabilities; 0 where there is none.
    rest : Tensor, shape (N,), float32
        Mass of all others.
    num_classes : int
        K.
    own : Tensor, shape (N,), int64, optional
        The class of each row that is kept whatever its probability; -1 for none.

    Examples
    --------
    >>> held = TopEvidence.uniform(2, own=torch.tensor([3, -1]), num_classes=4)
    >>> held[:] = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.5, 0.3, 0.1, 0.1]])
    >>> held[:]
    tensor([[0.5000, 0.2000, 0.2000, 0.1000],
            [0.5000, 0.3000, 0.1000, 0.1000]])
    """

    def __init__(
        self, classes: Tensor, values: Tensor, rest: Tensor, num_classes: int, own: Tensor | None = None
    ) -> None:
        self.shape, self.device = (len(classes), num_classes), values.device
        self.classes, self.values, self.rest, self._own = classes, values, rest, own

    @classmethod
    def uniform(cls, kept: int, own: Tensor, num_classes: int) -> TopEvidence:
        """Return rows that say nothing, with room for so many classes each."""
        kept = min(kept, num_classes)
        classes = torch.full((len(own), kept), num_classes, dtype=torch.int32, device=own.device)
        values = torch.zeros(len(own), kept, dtype=torch.float32, device=own.device)
        return cls(classes, values, torch.ones_like(values[:, 0]), num_classes, own)

    def __getitem__(self, rows: Rows) -> Tensor:
        places, number = self.classes[rows].long(), self.shape[1]
        others = self.rest[rows] / (number - (places < number).sum(1)).clamp(min=1)
        probs = others.unsqueeze(1).repeat(1, number + 1)  # the last column takes what holds no class
        return probs.scatter_(1, places, self.values[rows])[:, :number]

    def __setitem__(self, rows: Rows, probs: Tensor) -> None:
        ranked = probs
        if self._own is not None:
            own = self._own[rows].unsqueeze(1)
            place = own.clamp(min=0)
            ranked = probs.scatter(1, place, torch.where(own >= 0, 2.0, probs.gather(1, place)))
        places = ranked.topk(self.classes.shape[1], dim=1, sorted=False).indices
        values = probs.gather(1, places)
        self.classes[rows], self.values[rows] = places.int(), values
        self.rest[rows] = (probs.sum(1) - values.sum(1)).clamp(min=0)

    def max_error(self) -> float:
        """Return 1/k; nothing but rounding if all classes are kept."""
        kept = self.classes.shape[1]
        return FLOAT32_EPS * kept if kept >= self.shape[1] else 1 / kept

    def highest(self) -> Tensor:
        """Return the most probable class of each row among those that are held, int64 (N,): with two there it is."""
        place = self.values.argmax(1, keepdim=True)
        return self.classes.gather(1, place).squeeze(1).long()

    def tensors(self) -> dict[str, Tensor]:
        """Return the three parts."""
        return {"classes": self.classes, "values": self.values, "rest": self.rest}


class MappedEvidence(HeldEvidence):
    """Float32 in a file that is mapped into memory: exact, and only what is being read or written takes memory.

    Two files take turns from epoch to epoch, so that what a checkpoint names stays as it was until the next one is
    written; nothing is copied for it.

    Parameters
    ----------
    count, classes : int
        N, K. Rows are uniform at first.
    folder : Path or None
        Where the files go; None for a temporary folder, which is deleted with the object.
    device : torch.device, optional
        Where what is read goes to. Default: the CPU.

    Raises
    ------
    InvalidInputError
        If there is no room for the files.

    Examples
    --------
    >>> held = MappedEvidence(3, 2, folder=None)
    >>> held[torch.tensor([1])] = torch.tensor([[0.3, 0.7]])
    >>> held[:2]
    tensor([[0.5000, 0.5000],
            [0.3000, 0.7000]])
    """

    def __init__(self, count: int, classes: int, folder: Path | None, device: torch.device | None = None) -> None:
        self.shape, self.device = (count, classes), device or torch.device("cpu")
        if folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="noisycorrect-", ignore_cleanup_errors=True)
            weakref.finalize(self, temporary.cleanup)
            folder = Path(temporary.name)
        self._rows = PagedRows(folder, count, classes)

    def __getitem__(self, rows: Rows) -> Tensor:
        return torch.from_numpy(self._rows.read(_positions(rows, len(self)))).to(self.device)

    def __setitem__(self, rows: Rows, probs: Tensor) -> None:
        self._rows.write(_positions(rows, len(self)), probs.detach().float().cpu().numpy())

    def max_error(self) -> float:
        """Return 0."""
        return 0.0

    def end_epoch(self) -> None:
        """Let the two files change places: each row was written once at most."""
        self._rows.turn()

    def state(self) -> dict[str, Any]:
        """Return which file is valid, and a checksum of it."""
        return self._rows.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go back to the file that a checkpoint names."""
        self._rows.load_state(state)


def _positions(rows: Rows, count: int) -> Any:
    return torch.arange(count)[rows].numpy() if isinstance(rows, slice) else rows.cpu().numpy()


# ---------------------------------------------------------------- the setting


def checked_storage(storage: Any) -> str:
    """Return a form of :data:`FORMS`, or another ``"top-k"``, or raise.

    Raises
    ------
    InvalidInputError
        If there is no such form.

    Examples
    --------
    >>> checked_storage("top-16")
    'top-16'
    """
    if storage in FORMS or (isinstance(storage, str) and re.fullmatch(r"top-([2-9]|[1-9]\d{1,5})", storage)):
        return str(storage)
    raise InvalidInputError(
        f"storage to be one of {', '.join(map(repr, FORMS))}, or of another number of classes",
        got=repr(storage),
        fix='"auto" is float32 up to 1 GB, and then "top-64"',
    )


def chosen_form(storage: str, count: int, classes: int) -> str:
    """Return the form for N x K: what was asked for, or, of ``"auto"``, float32 up to 1 GB and ``"top-k"`` beyond.

    Examples
    --------
    >>> chosen_form("auto", 50_000, 100), chosen_form("auto", 1_000_000, 1_000), chosen_form("float32", 10**6, 10**3)
    ('float32', 'top-64', 'float32')
    """
    if storage != "auto":
        return storage
    if 4 * count * classes <= MOST_BYTES:
        return "float32"
    return f"top-{max(2, min(MOST_KEPT, classes // SHARE_KEPT))}"


def made_evidence(form: str, own: Tensor, classes: int, folder: Path | None) -> AnyEvidence:
    """Return room for the evidence about N samples, uniform over the classes, in a form of :func:`chosen_form`.

    Parameters
    ----------
    form : str
        ``"float32"`` is a tensor.
    own : Tensor, shape (N,), int64
        Given labels, -1 for none, on the device where evidence is to lie.
    classes : int
        K.
    folder : Path or None
        Where a ``"mapped"`` form has its files.
    """
    count, device = len(own), own.device
    if form == "float32":
        return torch.full((count, classes), 1 / classes, dtype=torch.float32, device=device)
    if form == "float16":
        return HalfEvidence(count, classes, device)
    if form == "mapped":
        return MappedEvidence(count, classes, folder, device)
    return TopEvidence.uniform(int(form.removeprefix("top-")), own, classes)
