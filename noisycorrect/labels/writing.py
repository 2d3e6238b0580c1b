"""One generation of labels: how it is written, by one process or by each rank its part."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from noisycorrect.labels.codec import Codec
from noisycorrect.labels.hdf5 import NewFile
from noisycorrect.labels.header import CHECKSUMS, EVIDENCE, PART_TRUST, WHOLE, Header
from noisycorrect.labels.kind import LabelKind
from noisycorrect.labels.merging import new_part_trust
from noisycorrect.labels.rules import RULES, Rule
from noisycorrect.support.arrays import as_array
from noisycorrect.support.checks import finite_number
from noisycorrect.support.checksums import row_checksums
from noisycorrect.support.errors import InvalidInputError
from noisycorrect.support.signals import uninterrupted

if TYPE_CHECKING:
    import h5py

JUDGED_AT_ONCE = 2**23  # values of evidence
COMPRESSED_FROM = 4096  # bytes of a sample's code; a chunk of its own costs some 60 bytes and 0.1 ms whatever it holds

Accumulate = Callable[[np.ndarray, Tensor], Tensor]  # (indices, probs) -> evidence
Weigh = Callable[[np.ndarray, Tensor], Tensor]  # (indices, evidence) -> weight of the given labels


class GenerationWriter:
    """Writes the evidence of the samples `start` to `stop` into one file, each sample once, in any order.

    Made by :meth:`~noisycorrect.SoftLabelStore.new_generation`; a caller only needs :meth:`write`.

    Attributes
    ----------
    floor : Tensor, shape (K,), or None
        Least trust in the labels of each class; may be set before the block ends, the same on all ranks.
    rule : str or None
        Name of a rule that judges each part of a label (each pixel of a mask), likewise; see
        :data:`~noisycorrect.labels.rules.RULES`.
    held_out : ndarray of bool, shape (N,), or None
        About which labels of the whole set the evidence is of models that were not trained on them, likewise; None says
        about none.
    expected_rate : float or None
        Share of wrong labels that is expected from elsewhere than this evidence, likewise.
    class_scale : Tensor, shape (K,), or None
        What the evidence is multiplied by when labels are composed, likewise.
    coupled : bool
        Whether labels keep their detail where they agree with coarser evidence, likewise; see
        :class:`~noisycorrect.labels.trust.Trust`.
    """

    # A misspelt attribute would be lost without a word.
    __slots__ = (
        "_accumulate", "_checksums", "_codec", "_codes", "_file", "_kind", "_length", "_part", "_part_checksums",
        "_part_trust", "_weigh", "_weight", "_written", "class_scale", "coupled", "expected_rate", "floor", "held_out",
        "rule",
    )  # fmt: skip

    def __init__(
        self,
        path: Path,
        header: Header,
        kind: LabelKind,
        codec: Codec,
        part: range,
        accumulate: Accumulate,
        weigh: Weigh,
    ) -> None:
        self._codec = codec
        self._kind = kind
        self._part = part
        self._accumulate = accumulate
        self._weigh = weigh
        self._written = np.zeros(len(part), bool)
        self._weight = np.zeros(len(part), np.float32)
        self._checksums = np.zeros(len(part), np.uint32)
        self.floor: Tensor | None = None
        self.rule: str | None = None
        self.held_out: np.ndarray | None = None
        self.expected_rate: float | None = None
        self.class_scale: Tensor | None = None
        self.coupled = False
        self._part_trust: h5py.Dataset | None = None
        self._part_checksums: np.ndarray | None = None
        self._length = header.length
        self._codes: h5py.Dataset | None = None
        self._file = NewFile(path)
        with uninterrupted():
            header.write(self._file.hdf5)
            self._file.hdf5.attrs["start"] = part.start

    def write(self, indices: Sequence[int] | np.ndarray | Tensor, probs: Tensor) -> None:
        """Take the predictions for some samples into the new generation.

        Parameters
        ----------
        indices : sequence of int, shape (n,)
            Positions in the data set; each sample once in a generation.
        probs : Tensor, shape (n, K, ...)
            Class probabilities as the kind of labels wants them, most often summing to 1 over dimension 1; of one shape
            for all samples.

        Raises
        ------
        InvalidInputError
            If a position lies outside this writer's part or comes twice, or `probs` are no probabilities.
        StoreError
            If the file cannot be written (a full disk, say).
        """
        probs = probs.detach().float().cpu()
        positions = self._checked_positions(indices, probs)
        if not len(positions):
            return
        evidence = self._accumulate(positions, probs)
        weight = self._weigh(positions, evidence).numpy()
        code = self._codec.encode(evidence)
        local = positions - self._part.start
        with uninterrupted():
            dataset = self._dataset(code.shape[1:])
            for rows, values in _increasing_runs(local, code):
                dataset[rows] = values
        self._file.check()
        self._checksums[local] = row_checksums(code)
        self._weight[local] = weight
        self._written[local] = True

    def written(self, *, most: int | None = None) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield what was written, to judge it once all is known: positions (n,) and their evidence (n, K, ...).

        Of a set of more than `most` samples, all parts together, so many are yielded, evenly spaced.
        """
        rows = np.flatnonzero(self._written)
        if self._codes is None:
            return
        if most is not None:
            spaced = np.linspace(0, self._length - 1, min(most, self._length)).astype(int)
            rows = np.intersect1d(rows, spaced - self._part.start)
        step = max(1, JUDGED_AT_ONCE // math.prod(self._codes.shape[1:]))
        for start in range(0, len(rows), step):
            local = rows[start : start + step]
            code = np.stack([self._codes[row] for row in local])
            yield local + self._part.start, self._codec.decode(torch.from_numpy(code))

    def judge(self, indices: np.ndarray, trust: Tensor) -> None:
        """Keep the trust in each part of some labels, (n, h, w) in [0, 1], at the resolution of their evidence.

        It is kept in steps of 1/255. Once a label of a generation is judged by its parts, those that are not weigh 1.

        Raises
        ------
        InvalidInputError
            If it is of another shape than the evidence, or no trust.
        """
        shape = () if self._codes is None else self._codes.shape[2:]
        values = trust.detach().float().cpu()
        if values.shape != (len(indices), *shape) or not ((values >= 0) & (values <= 1)).all():
            expected, got = f"trust of shape {(len(indices), *shape)} in [0, 1]", f"shape {tuple(values.shape)}"
            raise InvalidInputError(expected, got=got, fix="pass one value for each place of the evidence")
        code, local = values.mul(WHOLE).round_().to(torch.uint8).numpy(), indices - self._part.start
        with uninterrupted():
            if self._part_trust is None or self._part_checksums is None:
                self._part_trust, self._part_checksums = new_part_trust(self._file.hdf5, len(self._part), shape)
            for rows, runs in _increasing_runs(local, code):
                self._part_trust[rows] = runs
        self._file.check()
        self._part_checksums[local] = row_checksums(code)

    def _checked_positions(self, indices: Any, probs: Tensor) -> np.ndarray:
        self._kind.check_predictions(probs)
        positions = as_array(indices, "indices")
        if positions.shape != (len(probs),) or (positions.size and positions.dtype.kind not in "iu"):
            raise InvalidInputError(
                f"{len(probs)} indices, whole numbers, for {len(probs)} predictions",
                got=f"{positions.dtype} of shape {positions.shape}",
                fix="pass the batch's own index",
            )
        positions = positions.astype(np.int64)
        outside = (positions < self._part.start) | (positions >= self._part.stop)
        if outside.any():
            raise InvalidInputError(
                f"indices in {self._part.start}..{self._part.stop - 1}",
                got=str(positions[outside][0]),
                fix="each rank writes its own shard of the data set",
            )
        local = positions - self._part.start
        if len(np.unique(local)) != len(local) or self._written[local].any():
            raise InvalidInputError(
                "each sample once in a generation",
                got="an index that was written before",
                fix="predict with a loader that neither repeats nor pads samples",
            )
        return positions

    def _dataset(self, shape: tuple[int, ...]) -> h5py.Dataset:
        if self._codes is None:
            large = math.prod(shape) * self._codec.dtype.itemsize >= COMPRESSED_FROM
            options = {"chunks": (1, *shape), **self._codec.storage} if large and self._codec.storage else {}
            self._codes = self._file.hdf5.create_dataset(
                EVIDENCE, (len(self._part), *shape), self._codec.dtype, **options
            )
        elif self._codes.shape[1:] != shape:
            raise InvalidInputError(
                f"predictions of shape (n, {', '.join(map(str, self._codes.shape[1:]))})",
                got=f"(n, {', '.join(map(str, shape))})",
                fix="predict every sample in one canonical frame",
            )
        return self._codes

    def finish(self) -> None:
        """Check that every sample was written, and close the file."""
        missing = np.flatnonzero(~self._written)
        if len(missing):
            raise InvalidInputError(
                f"predictions for all {len(self._part)} samples",
                got=f"{len(self._part) - len(missing)}; first missing: {missing[0] + self._part.start}",
                fix="predict with a loader that leaves nothing out (drop_last=False)",
            )
        with uninterrupted():
            self._complete()
        self._file.close()

    def _complete(self) -> None:
        """Write what is known of all samples."""
        self._file.hdf5.create_dataset("trust", data=self._weight)
        self._file.hdf5.attrs["coupled"] = bool(self.coupled)
        self._file.hdf5.create_dataset(CHECKSUMS.format(EVIDENCE), data=self._checksums)
        if self._part_checksums is not None:
            self._file.hdf5.create_dataset(CHECKSUMS.format(PART_TRUST), data=self._part_checksums)
        if self.rule is not None:
            self._file.hdf5.attrs["pixel_trust"] = _checked_rule(self.rule)
        if self.expected_rate is not None:
            self._file.hdf5.attrs["expected_rate"] = finite_number(
                "expected_rate", self.expected_rate, above=0, below=math.nextafter(1, 2), fix="pass a share of labels"
            )
        if self.floor is not None:
            self._file.hdf5.create_dataset("class_trust", data=self._checked_floor(self.floor))
        if self.class_scale is not None:
            self._file.hdf5.create_dataset("class_scale", data=self._checked_scale(self.class_scale))
        if self.held_out is not None:
            self._file.hdf5.create_dataset("held_out", data=self._checked_held_out(self.held_out))

    def _checked_held_out(self, held_out: np.ndarray) -> np.ndarray:
        array = np.asarray(held_out)
        if array.shape != (self._length,) or array.dtype != bool:
            raise InvalidInputError(
                f"held_out of shape ({self._length},), bool",
                got=f"shape {array.shape}, {array.dtype}",
                fix="pass one value for each sample of the whole set",
            )
        return array

    def _checked_scale(self, scale: Tensor) -> np.ndarray:
        array: np.ndarray = scale.detach().float().cpu().numpy()
        classes = self._kind.num_classes
        if array.shape != (classes,) or not (np.isfinite(array) & (array > 0)).all():
            expected = f"a class scale of shape ({classes},), finite and > 0"
            raise InvalidInputError(expected, got=f"shape {array.shape}, {array}", fix="pass one factor a class")
        return array

    def _checked_floor(self, floor: Tensor) -> np.ndarray:
        array: np.ndarray = floor.detach().float().cpu().numpy()
        classes = self._kind.num_classes
        if array.shape != (classes,) or not ((array >= 0) & (array <= 1)).all():
            raise InvalidInputError(
                f"a floor of shape ({classes},) in [0, 1]",
                got=f"shape {array.shape}" + (f", from {array.min():.3g} to {array.max():.3g}" if array.size else ""),
                fix="pass one weight a class",
            )
        return array

    def abandon(self) -> None:
        """Close the file, which is about to be deleted; after :meth:`finish` do nothing."""
        self._file.discard()


def _checked_rule(name: str) -> str:
    if RULES[Rule(name).name].fit is not None:
        raise InvalidInputError(
            "a rule of trust that needs nothing of the whole set", got=repr(name), fix="return its weights from trust="
        )
    return name


def _increasing_runs(rows: np.ndarray, values: np.ndarray) -> list[tuple[Any, np.ndarray]]:
    """Return what HDF5 writes fast: one slice where the rows follow each other, else the rows in increasing order."""
    if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return [(slice(int(rows[0]), int(rows[0]) + len(rows)), values)]
    order = np.argsort(rows)
    return [(rows[order], values[order])] if len(rows) else []
