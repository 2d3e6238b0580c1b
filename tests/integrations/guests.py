"""LightningModules that tests train; imported by the tests that have lightning."""

from __future__ import annotations

import lightning
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from noisycorrect.integrations.lightning import SelfCorrection

COUNT, BATCH = 48, 8
QUIET = {
    "logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    "accelerator": "cpu", "num_sanity_val_steps": 0,
}  # fmt: skip


def samples():
    """Return inputs, wrong labels and right ones."""
    right = torch.arange(COUNT) % 3
    inputs = torch.randn(COUNT, 4, generator=torch.Generator().manual_seed(0))
    inputs[:, :3] += 3 * F.one_hot(right, 3)
    return inputs, torch.where(torch.arange(COUNT) % 5 == 0, (right + 1) % 3, right), right


def network(normalised=True):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8) if normalised else nn.Tanh(), nn.ReLU(), nn.Linear(8, 3)
        )


class Guest(lightning.LightningModule):
    """A plain classifier, as somebody may have it."""

    def __init__(self, normalised=True):
        super().__init__()
        self.network = network(normalised)
        self.validated = []

    def forward(self, inputs):
        return self.network(inputs)

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return F.cross_entropy(self(inputs), targets)

    def validation_step(self, batch, batch_idx):
        self.validated.append(self.network[0].weight.detach().clone())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Manual(Guest):
    """The same, by its own hand."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        optimizer.step()


class Scheduled(Guest):
    """One with a scheduler of its own."""

    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)]


class Impatient(Guest):
    """One that leaves out the end of every epoch."""

    def on_train_batch_start(self, batch, batch_idx):
        return -1 if batch_idx == 4 else None


class Spy(lightning.Callback):
    """Notes learning rates, and may end a training after so many batches, or in an orderly way after an epoch."""

    def __init__(self, *, dies_before=None, stops_after=None, dies_after_epoch=None):
        self.rates = []
        self.dies_before, self.stops_after, self.dies_after_epoch = dies_before, stops_after, dies_after_epoch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.dies_before:
            raise KeyError("killed")

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.rates += [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]

    def on_train_epoch_end(self, trainer, pl_module):
        if trainer.current_epoch == self.stops_after:
            trainer.should_stop = True
        if trainer.current_epoch == self.dies_after_epoch:  # labels are published, and no checkpoint knows of them
            raise KeyError("killed")


class Module(lightning.LightningDataModule):
    """A data module that wraps its data set in one of its hooks."""

    def __init__(self, correction, hook):
        super().__init__()
        self.correction, self.hook = correction, hook

    def setup(self, stage):
        if self.hook == "setup":
            self.train = self.correction.wrap(samples()[:2])

    def train_dataloader(self):
        if self.hook == "train_dataloader":
            self.train = self.correction.wrap(samples()[:2])
        return loader_of(self.train)


def loader_of(data, batch_size=BATCH, **options):
    return DataLoader(data, batch_size=batch_size, **options)


def fit(module, correction, *callbacks, data=None, val=False, ckpt_path=None, epochs=4, **options):
    """Train a module on samples in order, and return the trainer."""
    trainer = lightning.Trainer(max_epochs=epochs, callbacks=[correction, *callbacks], **{**QUIET, **options})
    train = loader_of(correction.wrap(samples()[:2])) if data is None else data
    inputs, _, right = samples()
    loaders = {"datamodule": train} if isinstance(train, Module) else {"train_dataloaders": train}
    if val:
        loaders["val_dataloaders"] = loader_of(TensorDataset(inputs, right), COUNT)
    trainer.fit(module, ckpt_path=ckpt_path, **loaders)
    return trainer


def made(**options):
    """Return a callback whose schedule has two epochs, and two cycles of one."""
    from noisycorrect import Schedule

    options = {"num_classes": 3, "schedule": Schedule(init_epochs=2, cycles=2, cycle_epochs=1), **options}
    return SelfCorrection(**options)
