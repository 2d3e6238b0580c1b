"""Self-correction inside the Trainer of Transformers: a callback, and the loss that takes soft labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from noisycorrect.correction.cycle_end import AtCycleEnd
from noisycorrect.cycle.averages import AtCycleEnds
from noisycorrect.cycle.schedule import Schedule, Shares
from noisycorrect.data.refined import RefinedDataset
from noisycorrect.integrations.cycles import Cycles, Guest
from noisycorrect.support import distributed
from noisycorrect.support.checkpoint import load_checkpoint, save_checkpoint
from noisycorrect.support.errors import InvalidInputError

try:
    from transformers import TrainerCallback, default_data_collator
except ImportError as error:
    fix = "pip install 'transformers[torch]'"
    raise InvalidInputError("the package transformers", got=f"none ({error})", fix=fix) from error

STATE = "self_correction.pt"


def soft_loss(outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None) -> Tensor:
    """Return the cross-entropy to soft labels (N, K), or, of an evaluation, to classes (N,): the Trainer's loss.

    Parameters
    ----------
    outputs : ModelOutput or mapping
        With ``logits`` (N, K).
    labels : Tensor
        Refined labels, or classes.
    num_items_in_batch : int or Tensor, optional
        Elements of the labels of a whole step, as the Trainer counts them where gradients are accumulated.

    Examples
    --------
    ``Trainer(..., compute_loss_func=soft_loss)``
    """
    logits = outputs["logits"] if isinstance(outputs, Mapping) else outputs.logits
    losses = F.cross_entropy(logits, labels.to(logits.device), reduction="sum")
    if num_items_in_batch is None:
        return losses / len(labels)
    classes = labels.shape[1] if labels.is_floating_point() else 1
    return losses * classes / num_items_in_batch


class SelfCorrection(Guest, TrainerCallback):
    """Lets a classifier of Transformers and the labels that it is trained on clean each other (SCHP, Algorithm 1).

    Train on what :meth:`wrap` returns, with ``compute_loss_func=soft_loss``: its ``labels`` are soft, float32 (K,).
    What happens at the end of a cycle is what
    :class:`noisycorrect.integrations.lightning.SelfCorrection` says: Eq. 6, BatchNorm statistics where there are any,
    Eq. 7. It happens before the evaluation of that epoch. Learning rates are the Trainer's; those of Eq. 5 are a
    :class:`~noisycorrect.CyclicalLR` with lengths in steps, given to ``Trainer(optimizers=(optimizer, scheduler))``.

    The average is written beside the Trainer's checkpoints, ``checkpoint-*/self_correction.pt``, and
    ``trainer.train(resume_from_checkpoint=True)`` goes on with it; the labels lie in `folder`.

    Parameters
    ----------
    num_classes : int
        K; the model returns ``logits`` (N, K).
    schedule : Schedule or Shares, optional
        Of epochs. Default: ``num_train_epochs`` divided in the paper's proportions.
    average, correction, folder, batch_size, num_workers
        See :class:`noisycorrect.integrations.lightning.SelfCorrection`.
    data_collator : callable, optional
        Makes a batch of items, for predictions; the Trainer's own, such as ``DataCollatorWithPadding(tokenizer)``.

    Attributes
    ----------
    history : list of dict
        A record a cycle.

    Raises
    ------
    InvalidInputError
        If an argument is out of range; when training begins, if labels or schedule do not fit.
    CheckpointError
        When training begins, if the labels in `folder`, or the checkpoint, belong to another one.

    Examples
    --------
    See docs/lightning.md.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        schedule: Schedule | Shares | None = None,
        average: AtCycleEnds | None = None,
        correction: AtCycleEnd | None = None,
        folder: str | os.PathLike[str] | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        data_collator: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        self._collator = default_data_collator if data_collator is None else data_collator
        self._cycles = Cycles(
            task="classification",
            num_classes=num_classes,
            schedule=schedule,
            average=average,
            correction=correction,
            folder=None if folder is None else Path(folder),
            batch_size=batch_size,
            num_workers=num_workers,
            collate_fn=self._collate,
            forward=_logits,
        )

    def wrap(self, train: Any, canonical: Any = None) -> RefinedDataset:
        """Return the training set with refined labels in the place of the given ones; the one to train on.

        Parameters
        ----------
        train : data set of dicts
            Map-style; each item has what the model is called with, and its class, 0..K-1 (-1: none), as ``labels``.
        canonical : same, optional
            The same samples without augmentation, for predictions.
        """
        pairs = None if canonical is None else _Pairs(canonical)
        return self._cycles.wrap(train, pairs, _Pairs(train))

    def _collate(self, pairs: list[tuple[dict[str, Any], Any]]) -> tuple[dict[str, Any], Any]:
        batch = dict(self._collator([{**inputs, "labels": label} for inputs, label in pairs]))
        return batch, batch.pop("labels")

    # ---------------------------------------------------------------- what the Trainer calls

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: nn.Module, **kwargs: Any) -> None:
        """Read the given labels, or open those of a training that goes on."""
        saved = load_checkpoint(_folder_of(args, state) / STATE) if state.global_step else None
        self._cycles.begin(model, epochs=state.num_train_epochs, state=saved)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End a cycle after the last step of its last epoch: the Trainer may save before the end of the epoch."""
        if float(state.epoch).is_integer():
            self.on_epoch_end(args, state, control, **kwargs)

    def on_epoch_end(
        self, args: Any, state: Any, control: Any, *, model: nn.Module, optimizer: Any, **kwargs: Any
    ) -> None:
        """End a cycle, unless its last step has: what is evaluated and saved from then on is the average."""
        self._cycles.after_epoch(round(state.epoch) - 1, model, [optimizer], device=_device(model))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the average beside the Trainer's checkpoint."""
        if distributed.is_main():
            save_checkpoint(_folder_of(args, state) / STATE, self._cycles.state_dict())

    def on_train_end(self, args: Any, state: Any, control: Any, *, model: nn.Module, **kwargs: Any) -> None:
        """End the cycle of a training that was stopped, unless the model is an earlier one now, the best."""
        if not args.load_best_model_at_end:
            self._cycles.stop(round(state.epoch), model, device=_device(model))
        self._cycles.running = False


class _Pairs:
    """Items of dicts as pairs of inputs by name and a label."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[dict[str, Any], Any]:
        item = self.data[index]
        if not isinstance(item, Mapping) or "labels" not in item:
            got = f"a dict with keys {sorted(item)}" if isinstance(item, Mapping) else type(item).__name__
            fix = 'rename the column: data.rename_column("label", "labels")'
            raise InvalidInputError('items that are dicts with "labels"', got=got, fix=fix)
        return {name: value for name, value in item.items() if name != "labels"}, item["labels"]


def _logits(model: nn.Module, inputs: Mapping[str, Any]) -> Any:
    return model(**inputs).logits


def _device(model: nn.Module) -> Any:
    return next(model.parameters()).device


def _folder_of(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
