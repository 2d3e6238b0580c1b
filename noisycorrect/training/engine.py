"""Running a model over batches: a training step, predictions, metrics."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from noisycorrect.data.batches import Batch
from noisycorrect.support.door import described
from noisycorrect.support.errors import InvalidInputError, NoisyCorrectError, unknown_name
from noisycorrect.support.modules import evaluating
from noisycorrect.task import Metrics, Task
from noisycorrect.training.finite import check_finite

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(device: str | torch.device) -> torch.device:
    """Return a device; ``"auto"`` is this rank's GPU, else Apple's, else the CPU.

    Examples
    --------
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    if device != "auto":
        try:
            found = torch.device(device)
            if found.type == "cuda" and not torch.cuda.is_available():
                raise RuntimeError("cuda, and torch sees no GPU")
            if found == torch.device("cuda"):
                return torch.device("cuda", torch.cuda.current_device())
            return found
        except RuntimeError as error:
            got = f"{device!r}: {str(error).splitlines()[0]}"
            raise InvalidInputError("a device", got=got, fix='pass "auto", "cpu", "cuda" or "mps"') from error
    if torch.cuda.is_available():
        # Set, too: collectives use the current device, and two ranks on one would wait for each other.
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(device)
        return device
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve_precision(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype to autocast to, or None for full precision; ``"auto"`` uses half precision on CUDA alone.

    Examples
    --------
    >>> resolve_precision("auto", torch.device("cpu")) is None
    True
    """
    if precision == "auto":
        if device.type != "cuda":
            return None
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, ["auto", *PRECISIONS])
    return PRECISIONS[precision]


class Engine:
    """A task's model on a device, in a precision.

    Parameters
    ----------
    task : Task
        What outputs mean.
    device : torch.device
        Where models run.
    precision : torch.dtype, optional
        Autocast to this dtype; None is full precision. float16 also scales the loss.
    clip_grad_norm : float, optional
        Largest norm of the whole gradient, > 0.
    augment : callable, optional
        ``augment(input) -> input``, applied to training batches on the device.
    """

    def __init__(
        self,
        task: Task,
        device: torch.device,
        *,
        precision: torch.dtype | None = None,
        clip_grad_norm: float | None = None,
        augment: Callable[[Any], Any] | None = None,
    ) -> None:
        self.task = task
        self.device = device
        self.precision = precision
        self.clip_grad_norm = clip_grad_norm
        self.augment = augment
        self._stepped = False
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context that the model runs in."""
        if self.precision is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)

    def step(
        self, model: nn.Module, optimizer: Optimizer, loss: Tensor, *, begins: bool = True, ends: bool = True
    ) -> None:
        """Take one step of the optimizer down the gradient of a loss, or of several whose gradients add up.

        Parameters
        ----------
        model, optimizer : nn.Module, Optimizer
            The model, and the optimizer of its parameters.
        loss : Tensor, scalar
            With a gradient.
        begins, ends : bool
            Whether the loss is the first, and the last, of those that make the step.
        """
        if begins:
            optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if not ends:
            return
        if self.clip_grad_norm is not None:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), self.clip_grad_norm)
        try:
            self.scaler.step(optimizer)
        except Exception as error:
            if self._stepped or isinstance(error, torch.OutOfMemoryError):
                raise
            raise InvalidInputError(
                "an optimizer that steps by itself, down the gradients that the model has",
                got=f"{type(optimizer).__name__}: {str(error) or type(error).__name__}",
                fix="pass SGD, AdamW or another first-order optimizer; several in a list, if one is for some parameters"
                " only (SparseAdam for sparse embeddings): lambda model: [SparseAdam(...), AdamW(...)]",
            ) from error
        self._stepped = True
        self.scaler.update()

    def rehearse(self, model: nn.Module, batch: Batch) -> Any:
        """Look at a batch, let the task check the output, and return it."""
        try:
            output = self.look(model, batch)
        except NoisyCorrectError:
            raise
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of the caller's model, whose own traceback follows
            dtype = batch.input.dtype if isinstance(batch.input, Tensor) else None
            if dtype is None or dtype.is_floating_point or not isinstance(error, (RuntimeError, TypeError)):
                raise InvalidInputError(
                    "a model that runs on the data set's inputs",
                    got=f"{type(error).__name__} with inputs"
                    f" {_shapes(batch.input)}: {(str(error).splitlines() or [''])[0]}",
                    fix="make the model's first layer and the inputs agree; model(inputs[:2]) tries it",
                ) from error
            scale = " / 255, if they are pictures of 0..255" if dtype is torch.uint8 else ""
            raise InvalidInputError(
                "inputs of a dtype that the model takes",
                got=f"{dtype}: {str(error).splitlines()[0]}",
                fix=f"pass inputs.astype('float32'){scale}; token ids as int64",
            ) from error
        with torch.no_grad(), self.autocast():
            self.task.check_output(output, self.to_device(batch))
        return output

    def look(self, model: nn.Module, batch: Batch, *, gradient: bool = False) -> Any:
        """Return a model's output for a batch, in evaluation mode: no pass of those that a run counts.

        With `gradient` it knows what it depends on.
        """
        with torch.set_grad_enabled(gradient), evaluating(model), self.autocast():
            return self.task.forward(model, self.to_device(batch))

    @torch.no_grad()
    def predict(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield each batch, on the device, with its class probabilities, float32 (B, K, ...).

        The model runs in evaluation mode, and each of its modules comes back in the mode that it was in.
        """
        with evaluating(model):
            for batch in batches:
                batch = self.to_device(batch)
                with self.autocast():
                    probs = self.task.predict(model, batch)
                yield batch, probs

    def evaluate(self, model: nn.Module, batches: Iterable[Batch], *labels: Tensor | None) -> list[dict[str, float]]:
        """Return metrics against the given labels, and against each of `labels`, (N, ...), where there are any."""
        against = [None, *(each for each in labels if each is not None)]
        metrics: list[Metrics] = [self.task.metrics() for _ in against]
        for batch, probs in self.predict(model, batches):
            check_finite("validation", batch, probs)
            for metric, truth in zip(metrics, against, strict=True):
                metric.update(probs, batch.given if truth is None else truth[batch.index.cpu()])
        for metric in metrics:
            metric.reduce()
        return [metric.compute() for metric in metrics]

    def to_device(self, batch: Batch) -> Batch:
        """Return a batch where the model is."""
        return batch.to(self.device, non_blocking=self.device.type == "cuda")


def _shapes(inputs: Any) -> str:
    if isinstance(inputs, dict):
        return ", ".join(f"{name} {described(value)}" for name, value in inputs.items())
    return described(inputs)
