"""What a checkpoint and the run that resumes it must share, and the checkpoint to go back to if one is damaged."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noisycorrect.labels.inspection import inspect_store
from noisycorrect.labels.reading import GIVEN
from noisycorrect.labels.store import SoftLabelStore
from noisycorrect.saved.details import CHECKPOINT, HISTORY, LABELS, MEMORY, PREVIOUS
from noisycorrect.saved.runs import run_state
from noisycorrect.support.checkpoint import load_checkpoint, save_checkpoint
from noisycorrect.support.errors import CheckpointError, NoisyCorrectError
from noisycorrect.support.files import aside, publish
from noisycorrect.support.modules import unwrap
from noisycorrect.training.aside import named, put_aside, tidy

DAMAGED = "checkpoint.damaged.pt"  # kept, for somebody may save something of it
_UNFIT = (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError, AssertionError)


# ---------------------------------------------------------------- the network


def network_identity(network: nn.Module) -> list[list[str]]:
    """Return what a network is made of, module by module, as (name, description); weights are not looked at.

    A class of somebody's own is its name and the functions of ``torch.nn.functional`` that its ``forward`` names, so
    that ``F.relu`` which became ``F.gelu`` is noticed; what else it computes is not known.

    Examples
    --------
    >>> network_identity(nn.Sequential(nn.ReLU()))
    [['', 'Sequential()'], ['0', 'ReLU()']]
    """
    return [[name, _description(module)] for name, module in unwrap(network).named_modules()]


def _description(module: nn.Module) -> str:
    kind = type(module)
    text = f"{kind.__name__}({re.sub('0x[0-9a-fA-F]+', '0x', module.extra_repr())})"
    code = getattr(kind.forward, "__code__", None)
    if code is None or kind.__module__.startswith("torch."):
        return text
    functions = sorted(name for name in set(code.co_names) if hasattr(nn.functional, name))
    return f"{text} with {', '.join(functions)}" if functions else text


def check_network(saved: list[list[str]] | None, current: list[list[str]]) -> None:
    """Raise a CheckpointError that names the first module in which a saved run's network differs from this one.

    Examples
    --------
    >>> relu, gelu = (network_identity(nn.Sequential(layer)) for layer in (nn.ReLU(), nn.GELU()))
    >>> check_network(relu, gelu)
    Traceback (most recent call last):
    ...
    noisycorrect.support.errors.CheckpointError: expected ReLU() at '0' of the network, as in the run that is to be
    resumed; got GELU(approximate='none'); to fix: pass the same network, or a new run_dir for another run
    """
    if saved is None:
        return  # of an older version
    then, now = _by_name(saved), _by_name(current)
    for name in {**now, **then}:
        if then.get(name) != now.get(name):
            raise CheckpointError(
                f"{then.get(name, 'nothing')} at {name!r} of the network, as in the run that is to be resumed",
                got=now.get(name, "nothing"),
                fix="pass the same network, or a new run_dir for another run",
            )


def _by_name(lines: list[list[str]]) -> dict[str, str]:
    return {line[0]: line[1] for line in lines}


def check_weights_of(network: nn.Module, state: Mapping[str, Any]) -> None:
    """Raise a CheckpointError if weights are of another dtype than the network's, or those in training not finite."""
    trained = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    for name, own in network.state_dict().items():
        value = state.get(name)
        if not isinstance(value, Tensor) or not isinstance(own, Tensor):
            continue
        got = f"{name!r} of {value.dtype}" if value.dtype != own.dtype else None
        if got is None and name in trained and not torch.isfinite(value).all():
            got = f"{name!r} with NaN or infinity"
        if got is not None:
            raise CheckpointError(f"weights of {own.dtype}, finite", got=got, fix="restore the checkpoint from a copy")


@contextlib.contextmanager
def fitting(where: Path) -> Iterator[None]:
    """Turn what loading a checkpoint raises that is readable, but none of this run, into a CheckpointError."""
    try:
        yield
    except NoisyCorrectError:
        raise
    except _UNFIT as error:
        got = f"one without {error}" if isinstance(error, KeyError) else str(error).partition("\n")[0]
        fix = 'restore it from a copy, or pass resume="last-whole"'
        raise CheckpointError(f"a checkpoint of this run at {where}", got=got or repr(error), fix=fix) from None


# ---------------------------------------------------------------- the one before


class Checkpoints:
    """The checkpoints of a run folder: the last, the one of the cycle before, and beside both what is large of them.

    Parameters
    ----------
    folder : Path
        The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._generation: int | None = None  # of the labels of the last one
        self._aside: list[set[str]] = []  # names of files of the one before, and of the last one

    def write(self, state: dict[str, Any]) -> None:
        """Write one, and beside it what is large and has changed; that of the cycle before stays whole."""
        folder, generation = self._folder, state["generation"]
        if keep_previous(folder, self._generation, generation):
            self._aside = self._aside[-1:]
        before = self._aside[:1] if (folder / PREVIOUS).exists() else []
        try:
            state |= {part: put_aside(state[part], folder / MEMORY) for part in ("correction", "objective")}
            save_checkpoint(folder / CHECKPOINT, state)
            self._aside = [*before, named(state)]
            self._generation = generation
        finally:
            tidy({name for each in self._aside for name in each}, folder / MEMORY)

    def are_of(self, content: dict[str, Any]) -> None:
        """Take note of the last one, from which the run goes on."""
        self._aside = [*self._named_before(), named(content)]
        self._generation = int(content["generation"])

    def _named_before(self) -> list[set[str]]:
        """Return the names of the files that the one before has beside it, if there is one."""
        if not (self._folder / PREVIOUS).exists():
            return []
        try:
            return [named(load_checkpoint(self._folder / PREVIOUS))]
        except CheckpointError:
            return [set()]


def keep_previous(run_dir: Path, saved: int | None, generation: int) -> bool:
    """Keep the checkpoint that is about to be replaced, if the labels have moved on since, or there are none yet.

    Return whether it was. So the one that is kept belongs to the generation before, which the label store keeps as
    well: whether the checkpoint or the generation is damaged, the run can go back. It costs a link, no second writing.

    Parameters
    ----------
    run_dir : Path
        The folder.
    saved, generation : int
        Generation of labels of the checkpoint that is there, None if there is none; and of the one to come.

    Raises
    ------
    CheckpointError
        If it cannot be kept (a full disk, where the file system has no hard links).
    """
    if saved is None or (saved == generation and generation > 0) or not (run_dir / CHECKPOINT).exists():
        return False
    target = run_dir / PREVIOUS
    part = aside(target)
    try:
        try:
            os.link(run_dir / CHECKPOINT, part)
        except OSError:  # no hard links on this file system
            shutil.copyfile(run_dir / CHECKPOINT, part)
        publish(part, target)
    except OSError as error:
        fix = "free space and resume; the last checkpoint is untouched"
        raise CheckpointError(f"to write {target}", got=str(error), fix=fix) from error
    finally:
        part.unlink(missing_ok=True)
    return True


def last_whole(run_dir: Path, given: Any) -> str | None:
    """Bring a run folder back to the last state that is whole; return what was done, None if nothing was to do.

    Damaged given labels are written anew from those of the data set. If the checkpoint is damaged, or the labels that
    it belongs to, the one before takes its place, and later labels go; the damaged checkpoint stays beside it.

    Raises
    ------
    CheckpointError
        If there is no checkpoint that is whole together with its labels.
    StoreError
        If the manifest of the labels is damaged, or the data set has other labels.
    """
    done = []
    store = inspect_store(run_dir / LABELS)
    if store.failures.get(GIVEN):
        SoftLabelStore.restore_given(run_dir / LABELS, given)
        done.append("given labels written anew")
        store = inspect_store(run_dir / LABELS)
    failures = []
    for name in (CHECKPOINT, PREVIOUS):
        try:
            state = run_state(run_dir, name)
        except CheckpointError as error:
            failures.append(str(error))
            continue
        if state.run and store.run and state.run != store.run:
            failures.append(f"{name} is one of run {state.run}")
        elif state.generation and state.generation not in store.whole:
            failures.append(f"the labels of {name}, of generation {state.generation}, are damaged or gone")
        else:
            break
    else:
        fix = "restore the run folder from a copy, or begin again in a new run_dir"
        raise CheckpointError(f"a checkpoint in {run_dir} that is whole", got="; ".join(failures), fix=fix)
    if name == PREVIOUS:
        if (run_dir / CHECKPOINT).exists():
            (run_dir / CHECKPOINT).replace(run_dir / DAMAGED)
        (run_dir / HISTORY).unlink(missing_ok=True)  # it tells of what is to be done again
        (run_dir / PREVIOUS).replace(run_dir / CHECKPOINT)
        done.append(f"gone back to epoch {state.epoch}")
    if state.generation != store.current:
        SoftLabelStore.go_back(run_dir / LABELS, state.generation).close()
        done.append(f"labels of generation {state.generation}")
    return ", ".join(done) or None
