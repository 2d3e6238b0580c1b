"""Running a model over batches: one training epoch, predictions, metrics."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from noisycorrect.data.batches import Batch, check_generation
from noisycorrect.objective import Objective
from noisycorrect.support import distributed
from noisycorrect.support.checks import finite_number
from noisycorrect.support.errors import InvalidInputError, NonFiniteLossError, unknown_name
from noisycorrect.task import Metrics, Task

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
LOSSES_BETWEEN_CHECKS = 32  # looking at every loss would make the host wait for the device after every batch

Advance = Callable[[int], None]  # called with the number of samples just done


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
        if clip_grad_norm is not None:
            clip_grad_norm = finite_number("clip_grad_norm", clip_grad_norm, above=0, fix="1.0 is common, None is off")
            if clip_grad_norm == 0:
                raise InvalidInputError("clip_grad_norm > 0 or None", got="0", fix="1.0 is common, None is off")
        self.task = task
        self.device = device
        self.precision = precision
        self.clip_grad_norm = clip_grad_norm
        self.augment = augment
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision is torch.float16)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context that the model runs in."""
        if self.precision is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.precision)

    def train_epoch(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: Optimizer,
        scheduler: LRScheduler,
        batches: Iterable[Batch],
        *,
        epoch: int,
        length: int,
        generation: int,
        weigh: Callable[[int, Batch], tuple[int, float]],
        after_step: Callable[[], None],
        advance: Advance,
    ) -> tuple[float, int]:
        """Train for one epoch; return the mean loss of the labelled samples and the number of samples, over all ranks.

        Parameters
        ----------
        model, objective, optimizer, scheduler
            Changed in place; the scheduler goes to ``epoch + number / length`` before each batch.
        batches : iterable of Batch
            `length` of them.
        epoch, generation : int
            Epoch, 0-based, and the generation of labels that every batch must carry.
        weigh : callable
            ``weigh(number, batch)``: how many of the batch's samples have a label, and what this rank's mean loss
            counts, so that the mean over ranks is the mean over the global batch.
        after_step : callable
            Called after each step of the optimizer.
        advance : callable
            Called with the size of each batch.

        Raises
        ------
        NonFiniteLossError
            If a loss is NaN or infinite; the message names epoch and batch.
        StaleGenerationError
            If a batch carries other labels.
        """
        model.train()
        losses: list[Tensor] = []
        counts: list[int] = []
        samples = 0
        for number, batch in enumerate(batches):
            check_generation(batch, generation)
            scheduler.step(epoch + number / length)  # type: ignore[arg-type]
            count, share = weigh(number, batch)  # before the index is on the device, to wait for nothing
            batch = self._to_device(batch)
            if self.augment is not None:
                batch.input = self.augment(batch.input)
            losses.append(self._step(model, objective, optimizer, batch, share))
            after_step()
            counts.append(count)
            samples += len(batch)
            if len(losses) % LOSSES_BETWEEN_CHECKS == 0 or len(losses) == length:
                self._check_finite(losses, epoch)
            advance(len(batch))
        total = sum(loss.item() * count for loss, count in zip(losses, counts, strict=True))
        sums = torch.tensor([total, sum(counts), samples], dtype=torch.float64)
        total, labeled, samples = distributed.all_reduce_sum(sums).tolist()
        self._check_weights(model, epoch)
        return (total / labeled if labeled else math.nan), round(samples)

    def _step(self, model: nn.Module, objective: Objective, optimizer: Optimizer, batch: Batch, share: float) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            loss = objective.loss(model, batch)
        self.scaler.scale(loss * share).backward()  # type: ignore[no-untyped-call]
        if self.clip_grad_norm is not None:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), self.clip_grad_norm)
        self.scaler.step(optimizer)
        self.scaler.update()
        return loss.detach()

    @staticmethod
    def _check_finite(losses: list[Tensor], epoch: int) -> None:
        first = len(losses) - (len(losses) - 1) % LOSSES_BETWEEN_CHECKS - 1
        wrong = (~torch.isfinite(torch.stack(losses[first:]))).nonzero()
        if len(wrong):
            number = first + int(wrong[0])
            raise NonFiniteLossError(
                "a finite loss",
                got=f"{losses[number].item()} in epoch {epoch + 1}, batch {number + 1}",
                fix="lower lr, set clip_grad_norm=, or look for NaN in the inputs",
            )

    @staticmethod
    def _check_weights(model: nn.Module, epoch: int) -> None:
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and not torch.isfinite(parameter).all():
                raise NonFiniteLossError(
                    "finite weights",
                    got=f"NaN or infinity in {name!r} after epoch {epoch + 1}",
                    fix="lower lr or set clip_grad_norm=",
                )

    @torch.no_grad()
    def rehearse(self, model: nn.Module, batch: Batch) -> None:
        """Run the model on a batch in evaluation mode, and let the task look at the output."""
        training = model.training
        model.eval()
        try:
            batch = self._to_device(batch)
            with self.autocast():
                self.task.check_output(self.task.forward(model, batch), batch)
        finally:
            model.train(training)

    @torch.no_grad()
    def predict(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Tensor]]:
        """Yield each batch, on the device, with its class probabilities, float32 (B, K, ...).

        The model runs in evaluation mode and comes back in the mode that it was in.
        """
        training = model.training
        model.eval()
        try:
            for batch in batches:
                batch = self._to_device(batch)
                with self.autocast():
                    probs = self.task.predict(model, batch)
                yield batch, probs
        finally:
            model.train(training)

    def evaluate(self, model: nn.Module, batches: Iterable[Batch], *labels: Tensor | None) -> list[dict[str, float]]:
        """Return metrics against the given labels, and against each of `labels`, (N, ...), where there are any."""
        against = [None, *(each for each in labels if each is not None)]
        metrics: list[Metrics] = [self.task.metrics() for _ in against]
        for batch, probs in self.predict(model, batches):
            for metric, truth in zip(metrics, against, strict=True):
                metric.update(probs, batch.given if truth is None else truth[batch.index.cpu()])
        for metric in metrics:
            metric.reduce()
        return [metric.compute() for metric in metrics]

    def _to_device(self, batch: Batch) -> Batch:
        return batch.to(self.device, non_blocking=self.device.type == "cuda")
