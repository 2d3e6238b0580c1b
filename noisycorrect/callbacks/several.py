"""Several callbacks as one."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from noisycorrect.callbacks.base import Callback
from noisycorrect.callbacks.progress import Progress
from noisycorrect.data.batches import Batch
from noisycorrect.support.calling import check_takes
from noisycorrect.support.errors import InvalidInputError, warn_caller
from noisycorrect.support.rng import untouched
from noisycorrect.training.run import Run


class Callbacks(Callback):
    """Several callbacks as one, in order.

    Parameters
    ----------
    callbacks : iterable of Callback
        A :class:`Progress` is added unless there is one.

    Raises
    ------
    InvalidInputError
        If something else is among them, or a method cannot be called as a run calls it. There is a warning of one whose
        name a run never calls.
    """

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        several = isinstance(callbacks, Iterable) and not isinstance(callbacks, str)
        self.all: list[Any] = list(callbacks) if several else [callbacks]
        wrong = [callback for callback in self.all if not isinstance(callback, Callback)]
        if wrong or not several:
            found = [*wrong, *self.all][0]
            raise InvalidInputError(
                "callbacks to be a list of Callback objects",
                got=f"the class {found.__name__}" if isinstance(found, type) else repr(found),
                fix='pass objects in a list, such as [EarlyStopping("val_nll")]',
            )
        for callback in self.all:
            _check_hooks(callback)
        if not any(isinstance(callback, Progress) for callback in self.all):
            self.all.insert(0, Progress())

        self._begun: list[Callback] = []

    def on_fit_begin(self, run: Run) -> None:
        """Tell all."""
        self._begun = []
        for callback in self.all:
            self._begun.append(callback)
            callback.on_fit_begin(run)

    def on_batch_end(self, run: Run, batch: Batch) -> None:
        """Tell all; random numbers that one draws are not those of the run."""
        for callback in self.all:
            told = callback.on_batch_end
            if getattr(told, "__func__", None) in (Callback.on_batch_end, Progress.on_batch_end):
                told(run, batch)  # draws nothing, and a batch is common
                continue
            with untouched(run.engine.device):
                told(run, batch)

    def on_epoch_end(self, run: Run) -> None:
        """Tell all; if one stops the run, it is stopped on all ranks."""
        self._tell("on_epoch_end", run)
        run.agree_to_stop()

    def on_cycle_end(self, run: Run) -> None:
        """Tell all; a cycle's end has no further epoch to stop in, so a run that is stopped here is over."""
        self._tell("on_cycle_end", run)
        run.agree_to_stop()

    def on_checkpoint(self, run: Run) -> None:
        """Tell all."""
        self._tell("on_checkpoint", run)

    def on_fit_end(self, run: Run) -> None:
        """Tell all that were told of the beginning, the last one first, whatever one of them raises.

        The first error is raised when all have been told; beside an error of the run it becomes a note on that one.
        """
        first: BaseException | None = sys.exc_info()[1]
        of_run = first is not None
        for callback in reversed(self._begun):
            try:
                callback.on_fit_end(run)
            except Exception as error:
                if first is None:
                    first = error
                else:
                    first.add_note(f"on_fit_end of {type(callback).__name__} failed, too: {error}")
        self._begun = []
        if first is not None and not of_run:
            raise first

    def _tell(self, method: str, *arguments: Any) -> None:
        for callback in self.all:
            getattr(callback, method)(*arguments)

    def state_dict(self) -> dict[str, Any]:
        """Return the states by class and number among those of a class."""
        return dict(zip(self._names(), (callback.state_dict() for callback in self.all), strict=True))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the states of those that were there before; new ones start afresh."""
        for name, callback in zip(self._names(), self.all, strict=True):
            if name in state:
                callback.load_state_dict(state[name])

    def _names(self) -> list[str]:
        classes = [type(callback).__name__ for callback in self.all]
        return [f"{name} {classes[:place].count(name)}" for place, name in enumerate(classes)]


_HOOKS = {
    **dict.fromkeys(("on_fit_begin", "on_epoch_end", "on_cycle_end", "on_checkpoint", "on_fit_end"), ("run",)),
    "on_batch_end": ("run", "batch"),
    "state_dict": (),
    "load_state_dict": ("state",),
}


def _check_hooks(callback: Callback) -> None:
    name = type(callback).__name__
    for hook, takes in _HOOKS.items():
        example = f"def {hook}({', '.join(('self', *takes))}): ..."
        check_takes(getattr(callback, hook), takes, f"{name}.{hook}", example)
    for other in dir(type(callback)):
        if other.startswith("on_") and other not in _HOOKS:
            near = difflib.get_close_matches(other, _HOOKS, n=1, cutoff=0)[0]
            warn_caller(f"{name}.{other} is never called: a run calls {', '.join(_HOOKS)}; did you mean {near!r}?")
