"""Starting a run, or going on with the one in a folder."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from noisycorrect.correction.base import Correction
from noisycorrect.correction.twin import TwinNetworks
from noisycorrect.data.standardize import Standardized, fitted_standardize, standardize_of
from noisycorrect.labels import SoftLabelStore
from noisycorrect.labels.folder import remove_store
from noisycorrect.recipe import Recipe
from noisycorrect.saved.details import CHECKPOINT, DETAILS, HISTORY, LABELS, PREVIOUS, Details
from noisycorrect.saved.networks import network_record
from noisycorrect.saved.runs import check_same_run
from noisycorrect.support import distributed
from noisycorrect.support.checkpoint import load_checkpoint
from noisycorrect.support.errors import CheckpointError, InvalidInputError, StoreError, warn_caller
from noisycorrect.support.files import leftovers
from noisycorrect.support.locks import locked
from noisycorrect.support.log import logger
from noisycorrect.support.modules import copied, unwrap
from noisycorrect.training.checkpoints import fitting, last_whole
from noisycorrect.training.engine import Engine
from noisycorrect.training.run import Run
from noisycorrect.training.run_data import RunData

LAST_WHOLE = "last-whole"
DEFAULT_MOMENTUM = 0.7  # a manifest has one whatever the rule
SHARED_WITHIN = 10.0  # seconds


@contextlib.contextmanager
def open_run(
    model: nn.Module,
    engine: Engine,
    recipe: Recipe,
    data: RunData,
    *,
    seed: int,
    num_workers: int,
    class_names: tuple[str, ...] | None = None,
    run_dir: Path | None,
    parallel: str = "ddp",
    resume: str | bool,
    restore: Callable[[dict[str, Any]], None],
) -> Iterator[Run]:
    """Yield a new run, or the one whose checkpoint lies in `run_dir`; the folder is locked meanwhile.

    `restore` is called with the content of the checkpoint, for what surrounds the run.
    """
    if not isinstance(resume, (str, bool)) or resume not in ("auto", True, False, LAST_WHOLE):
        fix = f'"auto" resumes where it can, "{LAST_WHOLE}" also after damage'
        raise InvalidInputError(f'resume="auto", True, False or "{LAST_WHOLE}"', got=repr(resume), fix=fix)
    _check_ranks()
    made = functools.partial(
        Run,
        engine=engine,
        recipe=recipe,
        data=data,
        seed=seed,
        num_workers=num_workers,
        class_names=class_names,
        run_dir=run_dir,
        parallel=parallel,
    )
    standardized = functools.partial(_standardized, model, recipe, data, num_workers)
    if run_dir is None:
        if resume in (True, LAST_WHOLE) or distributed.world_size() > 1:
            raise InvalidInputError("a run_dir", got="None", fix="pass run_dir= to SelfCorrector, one for all ranks")
        run = made(standardized(known=False), store=_new_store(None, engine, recipe, data))
        with contextlib.closing(run.loaders):
            yield run
        return
    checkpoint = run_dir / CHECKPOINT
    if resume is True and not checkpoint.exists() and not (run_dir / PREVIOUS).exists():
        raise CheckpointError(
            f"a checkpoint in {run_dir}", got="none", fix='check the path, or pass resume="auto" for a first run'
        )
    with contextlib.ExitStack() as stack:
        _enter(run_dir, stack)
        _check_shared(run_dir)
        if resume == LAST_WHOLE:
            _go_back(run_dir, data)
        elif not checkpoint.exists() and (run_dir / PREVIOUS).exists():
            fix = f'pass resume="{LAST_WHOLE}" to go on from the one before it, {PREVIOUS}, or restore it from a copy'
            raise CheckpointError(f"a checkpoint in {run_dir}", got=f"none, but {PREVIOUS}", fix=fix)
        found = checkpoint.exists()
        if resume is False and found:
            raise CheckpointError(
                f"no checkpoint in {run_dir}", got="one of an earlier run", fix='pass resume="auto" or another run_dir'
            )
        with _offering(run_dir):
            content = load_checkpoint(checkpoint) if found else None
            store = _open_store(run_dir / LABELS, engine, recipe, data, resumed=found)
            stack.callback(store.close)
            earlier = Details.read(run_dir)
            if content is not None:
                check_same_run(run_dir, store, run=content.get("run"), generation=None, details=earlier)
        run = made(standardized(known=found), store=store)
        stack.enter_context(contextlib.closing(run.loaders))
        if run.class_names is None and earlier is not None:
            run.class_names = earlier.class_names
        if content is None and distributed.is_main():
            _write_details(run_dir, run)
        if content is not None:
            with _offering(run_dir), fitting(checkpoint):
                run.bring_back(content)
                restore(content)
            if distributed.is_main():
                _write_details(run_dir, run)  # not before it is known that they are of the same run
            state = "stopped" if run.stopped else "finished" if run.done else "going on"
            logger.info("%s: %s after epoch %d of %d", run_dir, state, run.epoch, run.schedule.epochs)
        yield run


@contextlib.contextmanager
def _offering(run_dir: Path) -> Iterator[None]:
    """Say of a damage that the run can go back, if there is something to go back to."""
    try:
        yield
    except (CheckpointError, StoreError) as error:
        if "whole" not in str(error) or LAST_WHOLE in str(error) or not (run_dir / PREVIOUS).exists():
            raise
        more = f'or pass resume="{LAST_WHOLE}" to go on from {PREVIOUS}, the last checkpoint of the cycle before'
        raise type(error)(f"{error}, {more}") from None


def _go_back(run_dir: Path, data: RunData) -> None:
    """Bring the folder back to the last state that is whole, and say so."""
    done = distributed.gather_results(lambda: last_whole(run_dir, data.given) if distributed.is_main() else None)
    said = next((text for text in done if text), None)
    if said and distributed.is_main():
        warn_caller(f"{run_dir}: {said}")


def _write_details(run_dir: Path, run: Run) -> None:
    """Write what commands and :meth:`CorrectionResult.load` have to know beside labels and weights."""

    def names(of: str) -> tuple[str, ...] | None:
        """Return names of samples, if the data set has them; not if unlabelled inputs follow, which have none."""
        found = getattr(run.data.train, of, None)
        return None if found is None or len(found) != len(run.store) else tuple(map(str, found))

    task = run.task
    Details(
        task.kind.name,
        task.num_classes,
        run.class_names,
        names("sample_names"),
        names("image_files"),
        network_record(run.plain),
        run=run.store.run or None,
        input_record=run.input_record,
    ).write(run_dir)


def _standardized(model: nn.Module, recipe: Recipe, data: RunData, num_workers: int, *, known: bool) -> nn.Module:
    """Return the model behind what standardises its inputs, if the recipe asks for it and they are vectors.

    `known` says that the statistics come with a checkpoint. Every rank reads the same samples.
    """
    if recipe.standardize is None or data.collate_fn is not None or standardize_of(model) is not None:
        return model
    standardize = fitted_standardize(data.canonical, num_workers=num_workers, known=known)
    if standardize is None:
        return model
    inner = unwrap(model)
    if not isinstance(inner, TwinNetworks):
        return Standardized(standardize, model)
    # A method of two networks calls each alone.
    twin = copied(inner)
    assert isinstance(twin, TwinNetworks)
    twin.first = Standardized(standardize, twin.first)
    twin.second = Standardized(copy.deepcopy(standardize), twin.second)
    return twin


def _check_ranks() -> None:
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if "TORCHELASTIC_RUN_ID" in os.environ and ranks > 1 and distributed.world_size() == 1:
        raise InvalidInputError(
            f"a process group of the {ranks} ranks that torchrun started",
            got="none: each would train alone",
            fix="call torch.distributed.init_process_group() first",
        )


def _enter(run_dir: Path, stack: contextlib.ExitStack) -> None:
    """Make and lock the folder, and delete what a killed process left half-written in it."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        if distributed.is_main():
            stack.enter_context(locked(run_dir))
            for path in leftovers(run_dir, CHECKPOINT, PREVIOUS, HISTORY, DETAILS):
                path.unlink(missing_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"run_dir to be a folder that can be written: {run_dir}", got=str(error), fix="choose another run_dir"
        ) from error


def _check_shared(run_dir: Path) -> None:
    """Raise an InvalidInputError, on all ranks, unless what rank 0 writes is there for every rank."""
    if distributed.world_size() == 1:
        return
    mark = run_dir / f".seen-by-all-{distributed.all_gather_objects(uuid.uuid4().hex)[0]}"
    distributed.gather_results(lambda: mark.touch() if distributed.is_main() else None)
    seen = distributed.all_gather_objects(_appears(mark))
    if distributed.is_main():
        mark.unlink(missing_ok=True)
    blind = [str(rank) for rank, sees in enumerate(seen) if not sees]
    if blind:
        raise InvalidInputError(
            "a run_dir on storage that all ranks share",
            got=f"{run_dir}, in which nothing of rank 0's is seen by rank {', '.join(blind)}",
            fix="pass a folder of a shared file system (NFS, Lustre, a ReadWriteMany volume)",
        )


def _appears(path: Path) -> bool:
    """Return whether a file appears within seconds: network file systems tell of a new one late."""
    deadline = time.monotonic() + SHARED_WITHIN
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        list(path.parent.iterdir())  # makes a client of NFS ask anew
        time.sleep(0.1)
    return True


def _open_store(folder: Path, engine: Engine, recipe: Recipe, data: RunData, *, resumed: bool) -> SoftLabelStore:
    exists = resumed or (folder / "manifest.json").exists()
    if exists:
        store = SoftLabelStore.open(folder, writable=True)
        store.check_given(data.given, engine.task.num_classes)
        if resumed:
            _check_frame(store, engine)
            store.keep(_correction(recipe).keep)
            return store
        if store.generation:
            raise CheckpointError(
                f"the checkpoint that belongs to the labels in {folder}",
                got=f"none, and labels of generation {store.generation}",
                fix="restore checkpoint.pt from a copy, or choose another run_dir; the labels are untouched",
            )
    distributed.barrier()  # nobody makes it anew before everybody has looked
    if distributed.is_main():
        if exists:  # killed before its first checkpoint: the given labels alone, perhaps under other settings
            store.close()
            remove_store(folder)
        _new_store(folder, engine, recipe, data)
    distributed.barrier()
    return SoftLabelStore.open(folder, writable=True)


def _check_frame(store: SoftLabelStore, engine: Engine) -> None:
    found, wanted = (store.frame, store.codec.name), (engine.task.frame, engine.task.codec)
    if found != wanted:
        raise CheckpointError(
            f"labels in the frame and codec {wanted} at {store.folder}",
            got=str(found),
            fix="use the task that the run was started with, or a new run_dir",
        )


def _new_store(folder: Path | None, engine: Engine, recipe: Recipe, data: RunData) -> SoftLabelStore:
    task, correction = engine.task, _correction(recipe)
    return SoftLabelStore.create(
        folder,
        data.given,
        task.num_classes,
        kind=task.kind,
        codec=task.codec,
        evidence=correction.evidence_rule,
        momentum=DEFAULT_MOMENTUM if correction.momentum is None else correction.momentum,
        keep=correction.keep,
        frame=task.frame,
    )


def _correction(recipe: Recipe) -> Correction:
    return recipe.correction or Correction()
