"""Self-correction inside a LightningModule: against a plain loop, resumed, stopped, on two ranks, fed wrongly."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import TensorDataset

from noisycorrect import (
    AtCycleEnd,
    AtCycleEnds,
    CosineCycles,
    CyclicalLR,
    NeighborCorrection,
    OneCosine,
    Schedule,
    SoftLabelStore,
    WeightAggregator,
    recalibrate_batchnorm,
)
from noisycorrect.support.errors import CheckpointError, InvalidInputError
from noisycorrect.support.modules import evaluating

pytestmark = [
    pytest.mark.filterwarnings("ignore::Warning:lightning"),  # tips of theirs
    pytest.mark.filterwarnings("ignore::Warning:torch"),  # torch's about what lightning calls
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),  # Python 3.12 on ddp_fork
]


@pytest.fixture(scope="module")
def guests():
    pytest.importorskip("lightning")
    return importlib.import_module("guests")  # here: lightning takes seconds to import


def outcome(module, correction):
    """Return weights, refined labels and records as values that compare."""
    weights = {name: value.tolist() for name, value in module.state_dict().items()}
    records = [{name: value for name, value in each.items() if name != "seconds"} for each in correction.history]
    return weights, correction.labels.refined().tolist(), json.dumps(records)


def plain_loop(guests, restart):
    """Return network, labels and rates of Algorithm 1 in a loop without Lightning, samples in order."""
    inputs, given, _ = guests.samples()
    network = guests.network()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    scheduler = CyclicalLR(optimizer, warmup_epochs=0.2, init_epochs=2, cycle_epochs=1)
    aggregator = WeightAggregator(network)
    evidence, targets, rates = torch.zeros(len(inputs), 3), F.one_hot(given, 3).float(), []
    batches = torch.arange(len(inputs)).split(guests.BATCH)
    for epoch in range(4):
        network.train()
        for number, batch in enumerate(batches):
            scheduler.step(epoch + number / len(batches))
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.zero_grad()
            F.cross_entropy(network(inputs[batch]), targets[batch]).backward()
            optimizer.step()
        if epoch == 0:
            continue
        aggregator.update(network)
        recalibrate_batchnorm(aggregator.model, [inputs], method="exact")
        if epoch > 1:
            cycle = epoch - 1
            with evaluating(aggregator.model), torch.no_grad():
                evidence += (aggregator.model(inputs).softmax(1) - evidence) / cycle
            targets = (F.one_hot(given, 3) + cycle * evidence) / (cycle + 1)  # Eq. 7
        if restart == "aggregate":
            network.load_state_dict(aggregator.model.state_dict())
            optimizer.state.clear()
    return aggregator.model, targets, rates


@pytest.mark.parametrize("restart", ["aggregate", "student"])
def test_it_does_what_a_plain_loop_does(guests, restart):
    module, spy = guests.Guest(), guests.Spy()
    average = AtCycleEnds(restart=restart)
    correction = guests.made(average=average, batch_size=guests.COUNT)  # one batch: statistics are exact
    guests.fit(module, correction, spy)
    network, targets, rates = plain_loop(guests, restart)
    assert spy.rates == pytest.approx(rates)
    torch.testing.assert_close(correction.labels.refined(), targets, rtol=1e-4, atol=1e-5)
    for name, value in network.state_dict().items():
        if "num_batches" not in name:
            torch.testing.assert_close(module.network.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert [(record["cycle"], record["epoch"]) for record in correction.history] == [(0, 2), (1, 3), (2, 4)]


def test_labels_and_module_get_better(guests):
    module, correction = guests.Guest(), guests.made(schedule=Schedule(init_epochs=6, cycles=5, cycle_epochs=2))
    guests.fit(module, correction, epochs=16)
    inputs, given, right = guests.samples()
    before, after = ((labels == right).float().mean() for labels in (given, torch.tensor(correction.labels.labels())))
    with evaluating(module), torch.no_grad():
        found = (module(inputs).argmax(1) == right).float().mean()
    assert before < 0.8
    assert after > 0.9
    assert found > 0.9


def test_the_last_validation_of_a_cycle_is_of_the_average(guests):
    module, correction = guests.Guest(), guests.made()
    trainer = guests.fit(module, correction, val=True)
    assert len(module.validated) == 4
    assert torch.equal(module.validated[-1], module.network[0].weight)
    assert trainer.callback_metrics["self_correction/agreement"] == pytest.approx(correction.history[-1]["agreement"])
    assert "self_correction/mean_trust" in trainer.callback_metrics


def test_numbers_that_are_drawn_at_a_cycles_end_are_not_the_trainings(guests):
    class Draws(guests.Guest):
        def forward(self, inputs):
            self.drawn.append(torch.rand(1).item()) if self.training else torch.rand(1)
            return super().forward(inputs)

    def numbers(**options):
        module = Draws()
        module.drawn = []
        torch.manual_seed(0)
        guests.fit(module, guests.made(**options))
        return module.drawn

    assert numbers() == numbers(schedule=Schedule(init_epochs=1, cycles=1, cycle_epochs=3))


@pytest.mark.parametrize("kind", ["Manual", "Scheduled", "Impatient"])
def test_modules_of_all_sorts(guests, kind):
    module, correction, spy = getattr(guests, kind)(), guests.made(), guests.Spy()
    guests.fit(module, correction, spy)
    assert [record["epoch"] for record in correction.history] == [2, 3, 4]
    assert correction.labels.generation == 2
    if kind == "Scheduled":  # its own rates stand
        assert spy.rates[::6] == pytest.approx([0.1, 0.05, 0.025, 0.0125])
    if kind == "Manual":
        other, again = guests.Guest(), guests.made()
        guests.fit(other, again)
        assert outcome(other, again) == outcome(module, correction)


def test_rates_are_the_callbacks_or_the_modules(guests):
    def rates(module, **options):
        spy = guests.Spy()
        guests.fit(module, guests.made(**options), spy)
        return spy.rates[::6]

    assert rates(guests.Guest(), rates="own") == [0.1] * 4
    assert rates(guests.Guest(), rates=CosineCycles(cycle_lr=0.03))[2:] == pytest.approx([0.03, 0.03])
    falling = rates(guests.Guest(), rates=OneCosine(warmup_epochs=0.1))[1:]
    assert falling == sorted(falling, reverse=True)
    with pytest.raises(InvalidInputError, match='rates=CosineCycles.* alone; got 1 schedulers .*; to fix: .*"own"'):
        rates(guests.Scheduled(), rates=CosineCycles())
    with pytest.raises(InvalidInputError, match="learning rates; got 0.1"):
        guests.made(rates=0.1)


def test_gradients_may_be_accumulated_and_workers_may_load(guests):
    correction = guests.made(num_workers=1)
    data = guests.loader_of(correction.wrap(guests.samples()[:2]), num_workers=1, persistent_workers=True)
    module = guests.Guest()
    guests.fit(module, correction, data=data)
    alone, other = guests.made(), guests.Guest()
    guests.fit(other, alone)
    assert outcome(module, correction) == outcome(other, alone)
    accumulated = guests.made()
    guests.fit(guests.Guest(), accumulated, accumulate_grad_batches=4)
    assert [record["epoch"] for record in accumulated.history] == [2, 3, 4]


@pytest.mark.parametrize("hook", ["setup", "train_dataloader"])
def test_a_data_module_may_wrap_its_data_where_it_wants(guests, hook):
    module, correction = guests.Guest(), guests.made()
    data = guests.Module(correction, hook)
    guests.fit(module, correction, data=data, reload_dataloaders_every_n_epochs=1)
    other, alone = guests.Guest(), guests.made()
    guests.fit(other, alone)
    assert outcome(module, correction) == outcome(other, alone)


def test_items_may_be_dicts_with_several_fields(guests):
    inputs, given, _ = guests.samples()
    items = [{"x": one, "label": int(label), "weight": 1.0} for one, label in zip(inputs, given, strict=True)]

    class Dicts(guests.Guest):
        def training_step(self, batch, batch_idx):
            losses = F.cross_entropy(self(batch["x"]), batch["label"], reduction="none")
            return (losses * batch["weight"]).mean()

    correction, module = guests.made(), Dicts()
    guests.fit(module, correction, data=guests.loader_of(correction.wrap(items)))
    other, alone = guests.Guest(), guests.made()
    guests.fit(other, alone)
    assert correction.history[-1]["agreement"] == alone.history[-1]["agreement"]
    torch.testing.assert_close(correction.labels.refined(), alone.labels.refined())


def test_how_logits_are_got_may_be_said(guests):
    class Describes(guests.Guest):
        def forward(self, inputs):
            return {"features": self.network[:3](inputs)}

        def training_step(self, batch, batch_idx):
            return F.cross_entropy(self.logits(batch[0]), batch[1])

        def logits(self, inputs):
            return self.network[3](self(inputs)["features"])

    module, correction = Describes(), guests.made(forward=lambda module, inputs: module.logits(inputs))
    guests.fit(module, correction)
    other, alone = guests.Guest(), guests.made()
    guests.fit(other, alone)
    assert outcome(module, correction) == outcome(other, alone)


# ---------------------------------------------------------------- stopped, and resumed


def test_a_training_that_is_stopped_ends_its_cycle(guests):
    schedule = Schedule(init_epochs=1, cycles=1, cycle_epochs=3)
    module, correction = guests.Guest(), guests.made(schedule=schedule)
    guests.fit(module, correction, guests.Spy(stops_after=1))
    assert [record["epoch"] for record in correction.history] == [1, 2]
    assert correction.labels.generation == 1
    layer = module.network[0](guests.samples()[0])  # the statistics are of these very weights
    torch.testing.assert_close(module.network[1].running_mean, layer.mean(0).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("death", [{"dies_before": (3, 2)}, {"dies_after_epoch": 3}])
def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(guests, death, tmp_path):
    from lightning.pytorch.callbacks import ModelCheckpoint

    def trained(folder, *callbacks, **options):
        module, correction = guests.Guest(), guests.made(folder=tmp_path / folder)
        # At the beginning of an epoch, so that a kill after a cycle's end is one before its checkpoint.
        saving = ModelCheckpoint(dirpath=tmp_path / f"{folder} saved", save_top_k=-1, save_on_train_epoch_end=True)
        guests.fit(module, correction, *callbacks, saving, enable_checkpointing=True, **options)
        return outcome(module, correction), correction

    whole, _ = trained("whole")
    with pytest.raises(KeyError, match="killed"):
        trained("dying", guests.Spy(**death))
    assert SoftLabelStore.open(tmp_path / "dying").generation == (1 if "dies_before" in death else 2)
    (saved,) = (tmp_path / "dying saved").glob("epoch=2-*.ckpt")
    resumed, correction = trained("dying", ckpt_path=saved)
    assert resumed == whole
    assert correction.labels.generation == 2


def test_what_belongs_to_another_training_is_refused(guests, tmp_path):
    folder, path = tmp_path / "labels", tmp_path / "one.ckpt"
    guests.fit(guests.Guest(), guests.made(folder=folder)).save_checkpoint(path)
    with pytest.raises(CheckpointError, match=r"a new folder for labels.*generation 2.*resume from the checkpoint"):
        guests.fit(guests.Guest(), guests.made(folder=folder))
    with pytest.raises(InvalidInputError, match=r"a folder for the labels of a training that is resumed; got None"):
        guests.fit(guests.Guest(), guests.made(), ckpt_path=path)
    with pytest.raises(CheckpointError, match=r"the labels of the training in .*none; got none"):
        guests.fit(guests.Guest(), guests.made(folder=tmp_path / "none"), ckpt_path=path)
    other = guests.made(folder=folder, correction=AtCycleEnd(trust="class-balanced"))
    with pytest.raises(CheckpointError, match="correction="):
        guests.fit(guests.Guest(), other, ckpt_path=path)
    assert SoftLabelStore.open(folder).generation == 2


def test_the_same_object_trains_again_from_the_beginning(guests, tmp_path):
    module, correction = guests.Guest(), guests.made()
    trainer = guests.fit(module, correction)
    first = outcome(module, correction)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    trainer.validate(module, guests.loader_of(TensorDataset(guests.samples()[0])), ckpt_path=tmp_path / "one.ckpt")
    assert len(module.validated) == guests.COUNT // guests.BATCH
    again = guests.Guest()
    guests.fit(again, correction)
    assert outcome(again, correction) == first


def test_the_same_trainer_goes_on_where_it_was_stopped(guests):
    module, correction = guests.Guest(), guests.made()
    spy = guests.Spy(stops_after=2)
    trainer = guests.fit(module, correction, spy)
    assert [record["epoch"] for record in correction.history] == [2, 3]
    spy.stops_after = None
    trainer.fit(module, guests.loader_of(correction.wrap(guests.samples()[:2])))
    other, whole = guests.Guest(), guests.made()
    guests.fit(other, whole)
    assert outcome(module, correction) == outcome(other, whole)
    trainer.fit_loop.max_epochs = 6
    with pytest.raises(InvalidInputError, match="epochs=4, the sum of .*; got epochs=6"):
        trainer.fit(module, guests.loader_of(correction.wrap(guests.samples()[:2])))


# ---------------------------------------------------------------- several processes


def test_two_ranks_give_the_labels_of_one(guests, tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    alone = guests.made(rates="own")
    module = guests.Guest(normalised=False)
    # All samples in one step: Lightning shuffles what it divides.
    guests.fit(module, alone, data=guests.loader_of(alone.wrap(guests.samples()[:2]), guests.COUNT))
    correction = guests.made(folder=tmp_path / "labels", rates="own")
    half = guests.loader_of(correction.wrap(guests.samples()[:2]), guests.COUNT // 2)
    other = guests.Guest(normalised=False)
    trainer = guests.fit(other, correction, data=half, strategy="ddp_fork", devices=2)
    assert trainer.world_size == 2
    assert correction.labels.generation == 2
    torch.testing.assert_close(correction.labels.refined(), alone.labels.refined(), rtol=1e-4, atol=1e-5)
    for name, value in module.state_dict().items():  # what Lightning brings back from its processes
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_several_processes_need_a_folder(guests, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    with pytest.raises(Exception, match="a folder for the labels of several processes; got None"):
        guests.fit(guests.Guest(), guests.made(), strategy="ddp_fork", devices=2)


# ---------------------------------------------------------------- wrong input


def test_wrong_input_is_one_clear_sentence(guests):
    inputs, given, _ = guests.samples()
    with pytest.raises(InvalidInputError, match=r"a training set that was wrapped; got none; to fix: train on wrap"):
        guests.fit(guests.Guest(), guests.made(), data=guests.loader_of([(inputs[0], 1)]))
    with pytest.raises(InvalidInputError, match="epochs=4, the sum of Schedule.*; got epochs=5"):
        guests.fit(guests.Guest(), guests.made(), epochs=5)
    with pytest.raises(InvalidInputError, match="epochs to divide into cycles; got max_epochs=-1"):
        guests.fit(guests.Guest(), guests.made(schedule=None), epochs=-1, max_steps=3)
    correction = guests.made()
    with pytest.raises(InvalidInputError, match="in -1..2|in 0..2|num_classes"):
        guests.fit(guests.Guest(), correction, data=guests.loader_of(correction.wrap((inputs, given + 1))))
    with pytest.raises(InvalidInputError, match="num_classes"):
        guests.made(num_classes=None)
    module = guests.Guest()
    module.network[3] = torch.nn.Linear(8, 4)
    with pytest.raises(InvalidInputError, match=r"shape \(.*3\).*; got .*4"):  # before anything is trained
        guests.fit(module, guests.made(), guests.Spy(dies_before=(0, 0)))
    assert module.training
    described = guests.made(forward=lambda module, inputs: module(inputs).softmax(1))
    with pytest.raises(InvalidInputError, match="logits; got probabilities"):
        guests.fit(guests.Guest(), described, guests.Spy(dies_before=(0, 0)))
    with pytest.raises(InvalidInputError, match="correction to be AtCycleEnd; got .*NeighborCorrection"):
        guests.made(correction=NeighborCorrection())
    with pytest.raises(InvalidInputError, match="a label store to read refined labels from; got none yet"):
        guests.made().wrap((inputs, given))[0]
    with pytest.raises(InvalidInputError, match="labels of a training that has begun; got none yet"):
        guests.made().labels  # noqa: B018


def test_without_lightning_it_says_what_to_install(monkeypatch):
    name = "noisycorrect.integrations.lightning"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    with pytest.raises(InvalidInputError, match="the package lightning; got none .*; to fix: pip install"):
        importlib.import_module(name)
