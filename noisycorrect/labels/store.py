"""SoftLabelStore: given labels, the evidence against them, and the refined labels composed of both (SCHP, Eq. 7)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import secrets
import shutil
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from noisycorrect.labels.codec import codec_named
from noisycorrect.labels.folder import held, own_parts, write_error, write_given, write_new
from noisycorrect.labels.given import checked_num_classes
from noisycorrect.labels.kind import KINDS, LabelKind
from noisycorrect.labels.manifest import EVIDENCE_RULES, Manifest
from noisycorrect.labels.merging import generation_proof, merge_parts
from noisycorrect.labels.reading import GIVEN, ReadableLabels
from noisycorrect.labels.refine import exponential_evidence, mean_evidence
from noisycorrect.labels.rules import paper_trust
from noisycorrect.labels.trust import checked_trust
from noisycorrect.labels.writing import GenerationWriter
from noisycorrect.support import distributed
from noisycorrect.support.checks import whole_number
from noisycorrect.support.door import door
from noisycorrect.support.errors import InvalidInputError, StoreError, unknown_name
from noisycorrect.support.files import publish
from noisycorrect.support.folders import new_folder
from noisycorrect.support.signals import uninterrupted
from noisycorrect.support.temporary import remove_temporary, temporary_folder

_GENERATION = re.compile(r"generation-\d{4,}\.h5")

Weight = Callable[[Tensor, Tensor, int], Tensor]  # (given, evidence, generation) -> weight, all for n samples


class SoftLabelStore(ReadableLabels):
    """Soft labels on disk: an immutable file for the given labels and one for each generation of evidence.

    Make one with :meth:`create`, open one with :meth:`open`. Refined labels are composed when they are read. A reader
    never sees a file that is still being written; it can be pickled, and used by forked and spawned workers, which
    notice a new generation through shared memory. One process at a time has a store open for writing.

    Every file carries the name of the run that made it, and the manifest what it is to be: a file that was damaged,
    truncated, exchanged, or comes from another run with the same labels is found when it is opened or, of a row among
    many GB, when that row is read.

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
    @door(own=True)
    def create(
        cls,
        folder: str | os.PathLike[str] | None,
        given: Any,
        num_classes: int,
        *,
        kind: str | type[LabelKind] = "classification",
        evidence: str = "mean",
        momentum: float = 0.7,
        codec: str | None = None,
        keep: int | None = 2,
        frame: Any = None,
    ) -> SoftLabelStore:
        """Make a store in a new folder, at generation 0: the given labels.

        Parameters
        ----------
        folder : path-like or None
            New or empty folder. None makes a temporary one, deleted together with the store.
        given : array-like of int, shape (N,), or what another kind of labels takes
            Given labels; see :class:`~noisycorrect.classification.kind.ClassLabels` and, for masks,
            :class:`~noisycorrect_seg.kind.MaskLabels`.
        num_classes : int
            K, at least 2.
        kind : str or subclass of LabelKind
            What a label is made of: ``"classification"``, one class a sample; ``"segmentation"``, one mask a sample; or
            another kind of the register :data:`~noisycorrect.labels.KINDS`.
        evidence : {"mean", "exponential", "training"}
            Mean of the predictions of all cycles (SCHP, Eq. 7); an exponential average of them; or what is written
            replaces what was there, being an average over training already.
        momentum : float
            Weight of the past in exponential evidence, in [0, 1).
        codec : str, optional
            How evidence is stored: ``"float32"``, ``"sqrt-uint8"``, or ``"sqrt-uint6-floor"``: half of the bytes of
            the second (:class:`~noisycorrect.labels.SqrtUint8`). Default: the kind's, for classes the first, for masks
            the last.
        keep : int or None
            Generations to keep, at least 2: a run that dies between two needs both. None keeps all.
        frame : optional
            What the kind has to know of how predictions are made: of masks the height and width of the canonical frame.
            Most kinds have none.

        Raises
        ------
        InvalidInputError
            If an argument is out of range or the labels are not what `kind` asks for.
        StoreError
            If the folder holds something already, or cannot be written.
        """
        _check_options(evidence, momentum, keep)
        made_of = _checked_kind(kind)
        num_classes = checked_num_classes(num_classes)
        codec = codec_named(codec or made_of.codec).name
        if made_of.codecs and codec not in made_of.codecs:
            fix = f"pass one of {', '.join(map(repr, made_of.codecs))}, or leave codec= out"
            raise InvalidInputError(f"a codec that holds evidence about {made_of.name}", got=repr(codec), fix=fix)
        labels = made_of(given, num_classes, frame=frame)
        manifest = Manifest(
            kind=made_of.name,
            length=len(labels),
            num_classes=num_classes,
            fingerprint=labels.fingerprint,
            codec=codec,
            evidence=evidence,
            momentum=float(momentum),
            keep=None if keep is None else int(keep),
            frame=labels.frame,
            run=secrets.token_hex(8),
        )
        target = temporary_folder() if folder is None else Path(folder)
        try:
            write_new(target, labels, manifest)
            store = cls(target, writable=True)
        except BaseException:
            if folder is None:
                remove_temporary(target)
            raise
        if folder is None:
            weakref.finalize(store, remove_temporary, target)
        return store

    @classmethod
    @door(own=True)
    def open(cls, folder: str | os.PathLike[str], *, writable: bool = False) -> SoftLabelStore:
        """Open a store, read-only unless told otherwise.

        Raises
        ------
        StoreError
            If there is no store, it is damaged, or its format is newer than this version of the package.
        RunInUseError
            If it is to be written to, and another process has it open for that.
        """
        store = cls(folder, writable=writable)
        if writable and distributed.world_size() == 1:
            store._tidy()
        return store

    @classmethod
    def go_back(cls, folder: str | os.PathLike[str], generation: int) -> SoftLabelStore:
        """Open a store for writing at an earlier generation, which must be whole, although later ones may be damaged.

        What :meth:`rollback` does of a store that can be opened.

        Examples
        --------
        >>> import tempfile
        >>> store = SoftLabelStore.create(Path(tempfile.mkdtemp()) / "labels", [0, 1], 2)
        >>> with store.new_generation() as writer:
        ...     writer.write([0, 1], torch.tensor([[0.2, 0.8], [0.0, 1.0]]))
        >>> _ = (store.folder / "generation-0001.h5").write_bytes(b"rotten")
        >>> SoftLabelStore.go_back(store.folder, 0).generation
        0
        """
        store = cls(folder, writable=True, opened_at=generation)
        if generation != store.generation:  # by this process alone: not rollback, for which ranks wait for each other
            kept = tuple(number for number in store._manifest.generations if number <= generation)
            store._replace_manifest(current=generation, generations=kept)
            store._reload()
        return store

    @classmethod
    def restore_given(cls, folder: str | os.PathLike[str], given: Any) -> None:
        """Write the file of given labels anew, from the labels that the store was made for, if it was damaged.

        Raises
        ------
        StoreError
            If they are others.
        """
        manifest = Manifest.load(Path(folder))
        labels = KINDS[manifest.kind](given, manifest.num_classes, frame=manifest.frame)
        if labels.fingerprint != manifest.fingerprint:
            fix = "use the data set that the store was made for, in the same order"
            raise StoreError(f"the {manifest.length} given labels of {folder}", got="others", fix=fix)
        release = held(Path(folder))
        try:
            manifest = Manifest.load(Path(folder))
            proofs = {**manifest.proofs, GIVEN: write_given(Path(folder), labels, manifest.run)}
            dataclasses.replace(manifest, proofs=proofs, revision=manifest.revision + 1).save(Path(folder))
        except OSError as error:
            raise write_error(Path(folder), error) from error
        finally:
            release()

    def close(self) -> None:
        """Let another process write; this one goes on reading, and may write again while no other does."""
        while self._readers:
            self._readers.popitem()[1].close()
        if self._release is not None:
            self._release()
            self._release = None

    @contextlib.contextmanager
    def new_generation(self, *, trust: Weight | ArrayLike | Tensor | None = None) -> Iterator[GenerationWriter]:
        """Write the next generation aside, and publish it when the block ends without an exception.

        Every sample must be written once. Under torch.distributed each rank writes its own contiguous shard
        (:func:`noisycorrect.support.distributed.shard`) and rank 0 merges and publishes; all ranks must enter and leave
        the block together. On an exception nothing of it remains and the store stays at its generation.

        Parameters
        ----------
        trust : callable or array-like, optional
            ``trust(given, evidence, generation)`` -> weight of the given labels, float32 (n,), for a batch of samples;
            `given` are class labels (n,) with -1 for none, or, where a label is more than one class, bool (n,): which
            samples have one. Or the weights of all samples, (N,). In [0, 1]. Default: Eq. 7's 1/(m+1).

        Yields
        ------
        GenerationWriter
            Has ``write(indices, probs)``; its ``floor``, the least trust in the labels of each class, (K,), and its
            ``rule``, the name of what judges each part of a label, may be set before the block ends (the same on all
            ranks).

        Raises
        ------
        StoreError
            If the store is open read-only, or the disk is full.
        InvalidInputError
            If a sample is missing, comes twice, or its prediction is not made of probabilities; if trust is not one
            weight in [0, 1] a sample.
        """
        self._require_writable()
        self.refresh()  # another store object may have published
        number = self.generation + 1
        part = self._part_path(number, distributed.rank())
        writer: GenerationWriter | None = None
        failure: Exception | None = None
        try:
            with uninterrupted():
                writer = GenerationWriter(
                    part,
                    self._header(number),
                    self.kind,
                    self.codec,
                    distributed.shard(len(self)),
                    self._accumulator(number),
                    self._weigher(number, trust),
                )
            try:
                yield writer
                writer.finish()
            except Exception as error:
                failure = error
            distributed.gather_results(lambda: _raise(failure))  # no rank waits for one that failed
            distributed.gather_results(lambda: self._publish(number) if distributed.is_main() else None)
        finally:
            if writer is not None:
                writer.abandon()
            part.unlink(missing_ok=True)
        self.refresh()

    def keep(self, generations: int | None) -> None:
        """Keep so many generations from now on, at least 2; None keeps all."""
        self._require_writable()
        _check_options(self._manifest.evidence, self._manifest.momentum, generations)
        if generations != self._manifest.keep:
            distributed.barrier()  # nobody replaces the manifest before everybody has read it
            distributed.gather_results(
                lambda: self._replace_manifest(keep=generations) if distributed.is_main() else None
            )
            self.refresh()

    def rollback(self, generation: int) -> None:
        """Go back to an earlier generation that is still kept, forgetting the later ones.

        A run that died after publishing a generation but before its checkpoint comes back this way.
        """
        self._require_writable()
        self.refresh()
        self._reader(generation)  # raises if it is gone
        kept = tuple(number for number in self._manifest.generations if number <= generation)
        distributed.barrier()  # nobody replaces the manifest before everybody has read it
        if generation == self.generation:
            return
        distributed.gather_results(
            lambda: self._replace_manifest(current=generation, generations=kept) if distributed.is_main() else None
        )
        self.refresh()

    def export(self, folder: str | os.PathLike[str]) -> SoftLabelStore:
        """Copy the store into a new or empty folder and return the copy, read-only.

        Raises
        ------
        StoreError
            If the folder holds something already, or cannot be written.
        """
        self.refresh()  # what has been pruned meanwhile cannot be copied
        with new_folder(folder, error=StoreError) as inside:
            for path in (self.folder / GIVEN, *map(self._path, self._manifest.generations)):
                shutil.copyfile(path, inside / path.name)
            self._manifest.save(inside)
        return SoftLabelStore.open(folder)

    def _publish(self, number: int) -> None:
        parts = [self._part_path(number, rank) for rank in range(distributed.world_size())]
        merged = parts[0]
        try:
            if len(parts) > 1:
                merged = self._part_path(number, -1)
                merge_parts(parts, merged, self._header(number), self.codec)
            proof = generation_proof(merged)
            publish(merged, self._path(number))
        except OSError as error:
            raise write_error(self.folder, error) from error
        finally:
            merged.unlink(missing_ok=True)
        generations = (*self._manifest.generations, number)
        kept = generations[-(self._manifest.keep or len(generations)) :]
        proofs = {**self._manifest.proofs, self._path(number).name: proof}
        self._replace_manifest(current=number, generations=kept, proofs=proofs)

    def _replace_manifest(self, **changes: Any) -> None:
        manifest = dataclasses.replace(self._manifest, revision=self._manifest.revision + 1, **changes)
        names = {GIVEN, *(self._path(number).name for number in manifest.generations)}
        proofs = {name: proof for name, proof in manifest.proofs.items() if name in names}
        manifest = dataclasses.replace(manifest, proofs=proofs)
        try:
            manifest.save(self.folder)
        except OSError as error:
            raise write_error(self.folder, error) from error
        finally:
            self._tidy()

    def _tidy(self) -> None:
        """Delete what is no part of the store: pruned generations, and what a process that was killed left behind."""
        kept = {self._path(number) for number in Manifest.load(self.folder).generations}
        pruned = {path for path in self.folder.glob("generation-*.h5") if _GENERATION.fullmatch(path.name)} - kept
        for path in {*pruned, *own_parts(self.folder)}:
            path.unlink(missing_ok=True)

    def _require_writable(self) -> None:
        if not self.writable:
            raise StoreError("a writable store", got="one opened read-only", fix="open it with writable=True")
        self._hold()

    def _hold(self) -> None:
        """Keep other processes from writing, from now on until the store is closed or forgotten."""
        if (self._release is None or self._holder != os.getpid()) and distributed.is_main():
            self._release, self._holder = held(self.folder), os.getpid()
            weakref.finalize(self, self._release)

    def _accumulator(self, number: int) -> Callable[[np.ndarray, Tensor], Tensor]:
        def accumulate(indices: np.ndarray, probs: Tensor) -> Tensor:
            reader = self._reader(number - 1)
            shape = probs.shape if reader is None else (len(indices), *reader.shape[1:])
            if shape != probs.shape:
                raise InvalidInputError(
                    f"predictions of shape {tuple(shape)}, as in generation {number - 1}",
                    got=str(tuple(probs.shape)),
                    fix="predict in one canonical frame throughout a run",
                )
            if self._manifest.evidence == "training":
                return probs
            past = probs if reader is None else reader.evidence(indices)
            if self._manifest.evidence == "mean":
                return mean_evidence(past, probs, number - 1)
            return exponential_evidence(past, probs, number - 1, self._manifest.momentum)

        return accumulate

    def _weigher(self, number: int, rule: Any) -> Callable[[np.ndarray, Tensor], Tensor]:
        classes = self.kind.class_indices
        weights = None if rule is None or callable(rule) else checked_trust(rule, len(self))

        def weigh(indices: np.ndarray, evidence: Tensor) -> Tensor:
            labeled = torch.from_numpy(self.labeled[indices])
            if rule is None:
                return paper_trust(number, labeled)
            if weights is not None:
                return weights[torch.from_numpy(indices)] * labeled
            given = (self.labeled if classes is None else classes)[indices]
            return checked_trust(rule(torch.from_numpy(given), evidence, number), len(labeled)) * labeled

        return weigh

    def _part_path(self, number: int, rank: int) -> Path:
        return self.folder / f".generation-{number:04d}.rank{rank}.part"


def _checked_kind(kind: str | type[LabelKind]) -> type[LabelKind]:
    if isinstance(kind, str):
        return KINDS[kind]
    if kind.name not in KINDS or KINDS[kind.name] is not kind:
        fix = f"call KINDS.register({kind.name!r}, {kind.__name__})"
        raise InvalidInputError("a kind of labels that can be found again by its name", got=kind.__name__, fix=fix)
    return kind


def _check_options(evidence: str, momentum: float, keep: int | None) -> None:
    if evidence not in EVIDENCE_RULES:
        raise unknown_name("evidence rule", evidence, EVIDENCE_RULES)
    if not 0 <= momentum < 1:
        raise InvalidInputError("momentum in [0, 1)", got=repr(momentum), fix="0.7 is a common choice")
    if keep is not None:
        whole_number("keep", keep, least=2)  # fewer could not resume


def _raise(failure: Exception | None) -> None:
    if failure is not None:
        raise failure
