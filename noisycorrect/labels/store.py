"""SoftLabelStore: given labels, the evidence against them, and the refined labels composed of both (SCHP, Eq. 7)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from noisycorrect import distributed
from noisycorrect.errors import InvalidInputError, StoreError, unknown_name
from noisycorrect.files import publish
from noisycorrect.labels.codec import codec_named
from noisycorrect.labels.generation import GenerationWriter, merge_parts
from noisycorrect.labels.given import ClassLabels, MaskLabels
from noisycorrect.labels.manifest import NAME, Manifest
from noisycorrect.labels.reading import GIVEN, ReadableLabels
from noisycorrect.refine import exponential_evidence, mean_evidence, paper_trust

KINDS = (ClassLabels.kind, MaskLabels.kind)
CODEC_OF_KIND = {ClassLabels.kind: "float32", MaskLabels.kind: "sqrt-uint8"}
EVIDENCE_RULES = ("mean", "exponential")

TrustRule = Callable[[Tensor, Tensor, int], Tensor]  # (given, evidence, generation) -> trust, all for n samples


class SoftLabelStore(ReadableLabels):
    """Soft labels on disk: an immutable file for the given labels and one for each generation of evidence.

    Make one with :meth:`create`, open one with :meth:`open`. Refined labels are composed when they are read. A reader
    never sees a file that is still being written; it can be pickled, and used by forked and spawned workers, which
    notice a new generation through shared memory.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "labels"
    >>> store = SoftLabelStore.create(folder, given=[0, 1], num_classes=2)
    >>> with store.new_generation() as writer:
    ...     writer.write([0, 1], torch.tensor([[0.2, 0.8], [0.0, 1.0]]))
    >>> store.generation, store.given().tolist()
    (1, [0, 1])
    >>> store.refined()
    tensor([[0.6000, 0.4000],
            [0.0000, 1.0000]])
    """

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str] | None,
        given: Any,
        num_classes: int,
        *,
        kind: str = "classification",
        evidence: str = "mean",
        momentum: float = 0.7,
        codec: str | None = None,
        keep: int | None = 2,
    ) -> SoftLabelStore:
        """Make a store in a new folder, at generation 0: the given labels.

        Parameters
        ----------
        folder : path-like or None
            New or empty folder. None makes a temporary one, deleted together with the store.
        given : array-like of int, shape (N,), or iterable of masks of shape (H, W)
            Given labels; see :class:`~noisycorrect.labels.ClassLabels` and :class:`~noisycorrect.labels.MaskLabels`.
        num_classes : int
            K, at least 2.
        kind : {"classification", "segmentation"}
            One class a sample, or one mask a sample.
        evidence : {"mean", "exponential"}
            Mean of the predictions of all cycles (SCHP, Eq. 7), or an exponential average.
        momentum : float
            Weight of the past in exponential evidence, in [0, 1).
        codec : str, optional
            How evidence is stored: ``"float32"`` (default for classification) or ``"sqrt-uint8"`` (for segmentation).
        keep : int or None
            Generations to keep, at least 2: a run that dies between two needs both. None keeps all.

        Raises
        ------
        InvalidInputError
            If an argument is out of range or the labels are not what `kind` asks for.
        StoreError
            If the folder holds something already, or cannot be written.
        """
        if kind not in KINDS:
            raise unknown_name("kind of labels", kind, KINDS)
        if evidence not in EVIDENCE_RULES:
            raise unknown_name("evidence rule", evidence, EVIDENCE_RULES)
        if not 0 <= momentum < 1:
            raise InvalidInputError("momentum in [0, 1)", got=repr(momentum), mend="0.7 is a common choice")
        if keep is not None and keep < 2:
            raise InvalidInputError("keep >= 2 or None", got=repr(keep), mend="keep=2 is the least that can resume")
        labels = ClassLabels(given, num_classes) if kind == ClassLabels.kind else MaskLabels(given, num_classes)
        manifest = Manifest(
            kind=kind,
            length=len(labels),
            num_classes=num_classes,
            fingerprint=labels.fingerprint,
            codec=codec_named(codec or CODEC_OF_KIND[kind]).name,
            evidence=evidence,
            momentum=momentum,
            keep=keep,
        )
        target = Path(tempfile.mkdtemp(prefix="noisycorrect-") if folder is None else folder)
        _write_new(target, labels, manifest)
        store = cls(target, writable=True)
        if folder is None:
            weakref.finalize(store, _remove, target, os.getpid())
        return store

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, writable: bool = False) -> SoftLabelStore:
        """Open a store, read-only unless told otherwise.

        Raises
        ------
        StoreError
            If there is no store, it is damaged, or its format is newer than this version of the package.
        """
        store = cls(folder, writable=writable)
        if writable and distributed.world_size() == 1:
            for path in store.folder.glob(".generation-*.part"):  # left by a process that was killed
                path.unlink(missing_ok=True)
        return store

    @contextlib.contextmanager
    def new_generation(self, *, trust: TrustRule | None = None) -> Iterator[GenerationWriter]:
        """Write the next generation aside, and publish it when the block ends without an exception.

        Every sample must be written once. Under torch.distributed each rank writes its own contiguous shard
        (:func:`noisycorrect.distributed.shard`) and rank 0 merges and publishes; all ranks must enter and leave the
        block together. On an exception nothing of it remains and the store stays at its generation.

        Parameters
        ----------
        trust : callable, optional
            ``trust(given, evidence, generation)`` -> float32 (n,) for a batch of samples; `given` are class labels
            (n,) with -1 for none, or for masks bool (n,): which have one. Default: Eq. 7's 1/(m+1).

        Yields
        ------
        GenerationWriter
            Has ``write(indices, probs)``.

        Raises
        ------
        StoreError
            If the store is open read-only, or the disk is full.
        InvalidInputError
            If a sample is missing, comes twice, or its prediction is not made of probabilities.
        """
        if not self.writable:
            raise StoreError("a writable store", got="one opened read-only", mend="open it with writable=True")
        number = self.generation + 1
        rank, world_size = distributed.rank(), distributed.world_size()
        part = self._part_path(number, rank)
        writer = GenerationWriter(
            part,
            self._header(number),
            self.codec,
            distributed.shard(len(self)),
            self._accumulator(number),
            self._trust_rule(number, trust),
        )
        try:
            yield writer
            writer.finish()
            distributed.barrier()
            if distributed.is_main():
                self._publish(number, [self._part_path(number, each) for each in range(world_size)])
            distributed.barrier()
        finally:
            writer.abandon()
            part.unlink(missing_ok=True)
        self.refresh()

    def rollback(self, generation: int) -> None:
        """Go back to an earlier generation that is still kept, forgetting the later ones.

        A run that died after publishing a generation but before its checkpoint comes back this way.
        """
        if generation == self.generation:
            return
        self._reader(generation)  # raises if it is gone
        kept = tuple(number for number in self._manifest.generations if number <= generation)
        if distributed.is_main():
            self._replace_manifest(dataclasses.replace(self._manifest, current=generation, generations=kept))
        distributed.barrier()
        self.refresh()

    def export(self, folder: str | os.PathLike[str]) -> SoftLabelStore:
        """Copy the store into a new folder and return the copy, read-only."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        names = [GIVEN, *(self._path(number).name for number in self._manifest.generations), NAME]  # manifest last
        for name in names:
            shutil.copyfile(self.folder / name, target / name)
        return SoftLabelStore.open(target)

    def _publish(self, number: int, parts: list[Path]) -> None:
        target = self._path(number)
        if len(parts) == 1:
            publish(parts[0], target)
        else:
            merged = self._part_path(number, -1)
            try:
                merge_parts(parts, merged, self._header(number), self.codec)
                publish(merged, target)
            except OSError as error:
                raise StoreError(f"to write {target.name}", got=str(error), mend="free space and resume") from error
            finally:
                merged.unlink(missing_ok=True)
        generations = (*self._manifest.generations, number)
        if self._manifest.keep is not None:
            generations = generations[-self._manifest.keep :]
        self._replace_manifest(dataclasses.replace(self._manifest, current=number, generations=generations))

    def _replace_manifest(self, manifest: Manifest) -> None:
        manifest.save(self.folder)
        kept = {self._path(number) for number in manifest.generations}
        for path in set(self.folder.glob("generation-*.h5")) - kept:
            path.unlink(missing_ok=True)

    def _accumulator(self, number: int) -> Callable[[np.ndarray, Tensor], Tensor]:
        def accumulate(indices: np.ndarray, probs: Tensor) -> Tensor:
            reader = self._reader(number - 1)
            past = probs if reader is None else reader.evidence(indices)
            if past.shape != probs.shape:
                raise InvalidInputError(
                    f"predictions of shape {tuple(past.shape)}, as in generation {number - 1}",
                    got=str(tuple(probs.shape)),
                    mend="predict in one canonical frame throughout a run",
                )
            if self._manifest.evidence == "mean":
                return mean_evidence(past, probs, number - 1)
            return exponential_evidence(past, probs, number - 1, self._manifest.momentum)

        return accumulate

    def _trust_rule(self, number: int, rule: TrustRule | None) -> Callable[[np.ndarray, Tensor], Tensor]:
        def trust(indices: np.ndarray, evidence: Tensor) -> Tensor:
            labeled = torch.from_numpy(self.labeled[indices])
            if rule is None:
                return paper_trust(number, labeled)
            given = self._given.array[indices] if isinstance(self._given, ClassLabels) else self.labeled[indices]
            weight = rule(torch.from_numpy(given), evidence, number).float()
            if weight.shape != labeled.shape or not ((weight >= 0) & (weight <= 1)).all():
                raise InvalidInputError(
                    f"trust of shape ({len(labeled)},) in [0, 1]",
                    got=f"shape {tuple(weight.shape)}, from {weight.min():.3g} to {weight.max():.3g}",
                    mend="correct the trust rule",
                )
            return weight * labeled

        return trust

    def _part_path(self, number: int, rank: int) -> Path:
        return self.folder / f".generation-{number:04d}.rank{rank}.part"


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not when a forked worker lets go of its copy
        shutil.rmtree(folder, ignore_errors=True)


def _write_new(folder: Path, labels: ClassLabels | MaskLabels, manifest: Manifest) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(path.name != GIVEN and path.suffix != ".part" for path in folder.iterdir()):  # those: an unfinished start
        raise StoreError(
            f"a new or empty folder at {folder}",
            got="a folder with files",
            mend="open the store that is there, or choose another folder",
        )
    part = folder / f".{GIVEN}.part"
    try:
        with h5py.File(part, "w") as file:
            labels.save(file)
        publish(part, folder / GIVEN)
        manifest.save(folder)  # last: a folder without it is no store
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"to write {folder}", got=str(error), mend="free space or choose another folder") from error
