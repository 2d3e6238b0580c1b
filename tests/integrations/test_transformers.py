"""Self-correction inside the Trainer of Transformers, on a tiny BERT with random weights."""

from __future__ import annotations

import importlib
import json
import sys

import pytest
import torch
import torch.nn.functional as F

from noisycorrect import AtCycleEnds, Schedule, SoftLabelStore, WeightAggregator
from noisycorrect.support.errors import CheckpointError, InvalidInputError

COUNT, BATCH = 24, 8
SCHEDULE = Schedule(init_epochs=2, cycles=2, cycle_epochs=1)

pytestmark = pytest.mark.filterwarnings("ignore::Warning:(transformers|accelerate|torch|huggingface_hub)")


@pytest.fixture(scope="module")
def ours():
    pytest.importorskip("transformers")  # here: it takes seconds to import
    pytest.importorskip("accelerate")
    return importlib.import_module("noisycorrect.integrations.transformers")


@pytest.fixture(scope="module")
def theirs(ours):
    return importlib.import_module("transformers")


def samples():
    """Return items as a tokenizer's, with wrong labels."""
    right = torch.arange(COUNT) % 3
    tokens = torch.randint(4, 20, (COUNT, 6), generator=torch.Generator().manual_seed(0))
    tokens[:, 2] = right + 1
    given = torch.where(torch.arange(COUNT) % 5 == 0, (right + 1) % 3, right)
    mask = torch.ones(6, dtype=torch.int64)
    return [
        {"input_ids": each, "attention_mask": mask, "labels": int(label)}
        for each, label in zip(tokens, given, strict=True)
    ]


def network(theirs):
    config = theirs.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=6, num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return theirs.BertForSequenceClassification(config)


def fit(ours, theirs, folder, *callbacks, labels=None, resume=None, data=None, correction=None, **options):
    """Train four epochs, and return the trainer and the callback."""
    options = {
        "num_train_epochs": 4, "per_device_train_batch_size": BATCH, "learning_rate": 0.05, "optim": "sgd",
        "lr_scheduler_type": "constant", "train_sampling_strategy": "sequential", "max_grad_norm": 0.0,
        "report_to": "none", "disable_tqdm": True, "use_cpu": True, "save_strategy": "no", "logging_strategy": "no",
        **options,
    }  # fmt: skip
    if correction is None:
        correction = ours.SelfCorrection(3, schedule=SCHEDULE, folder=labels)
    items = samples()
    trainer = theirs.Trainer(
        network(theirs),
        theirs.TrainingArguments(str(folder), **options),
        train_dataset=correction.wrap(items) if data is None else data,
        eval_dataset=items,
        compute_loss_func=ours.soft_loss,
        callbacks=[correction, *callbacks],
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer, correction


def outcome(trainer, correction):
    weights = {name: value.tolist() for name, value in trainer.model.state_dict().items()}
    records = [{name: value for name, value in each.items() if name != "seconds"} for each in correction.history]
    return weights, correction.labels.refined().tolist(), json.dumps(records)


def test_it_does_what_a_plain_loop_does(ours, theirs, tmp_path):
    trainer, correction = fit(ours, theirs, tmp_path)
    items = samples()
    tokens, given = (torch.stack([torch.as_tensor(item[key]) for item in items]) for key in ("input_ids", "labels"))
    model = network(theirs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    aggregator, evidence, targets = WeightAggregator(model), torch.zeros(COUNT, 3), F.one_hot(given, 3).float()
    for epoch in range(4):
        for batch in torch.arange(COUNT).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(input_ids=tokens[batch]).logits, targets[batch]).backward()
            optimizer.step()
        if epoch == 0:
            continue
        aggregator.update(model)
        if epoch > 1:
            with torch.no_grad():
                evidence += (aggregator.model(input_ids=tokens).logits.softmax(1) - evidence) / (epoch - 1)
            targets = (F.one_hot(given, 3) + (epoch - 1) * evidence) / epoch
        model.load_state_dict(aggregator.model.state_dict())
    torch.testing.assert_close(correction.labels.refined(), targets, rtol=1e-4, atol=1e-5)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(trainer.model.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert [(record["cycle"], record["epoch"]) for record in correction.history] == [(0, 2), (1, 3), (2, 4)]


def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(ours, theirs, tmp_path):
    class Kill(theirs.TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 10:
                raise KeyError("killed")

    saving = {"save_strategy": "epoch", "eval_strategy": "epoch"}
    whole = fit(ours, theirs, tmp_path / "whole", labels=tmp_path / "whole labels", **saving)
    with pytest.raises(KeyError, match="killed"):
        fit(ours, theirs, tmp_path / "dying", Kill(), labels=tmp_path / "labels", **saving)
    assert SoftLabelStore.open(tmp_path / "labels").generation == 1
    resumed = fit(ours, theirs, tmp_path / "dying", labels=tmp_path / "labels", resume=True, **saving)
    assert outcome(*resumed) == outcome(*whole)
    (tmp_path / "dying" / "checkpoint-12" / ours.STATE).unlink()
    with pytest.raises(CheckpointError, match="a checkpoint at .*checkpoint-12.*; got no such file"):
        fit(ours, theirs, tmp_path / "dying", labels=tmp_path / "labels", resume=True, **saving)


@pytest.mark.parametrize(("accumulated", "end"), [(1, 9), (2, 6)])  # of 3 batches the last is accumulated with none
def test_a_checkpoint_of_the_last_step_of_an_epoch_has_the_end_of_its_cycle(ours, theirs, tmp_path, accumulated, end):
    class Kill(theirs.TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == end + 1:
                raise KeyError("killed")

    saving = {"save_strategy": "steps", "save_steps": end, "gradient_accumulation_steps": accumulated}
    whole = fit(ours, theirs, tmp_path / "whole", labels=tmp_path / "whole labels", **saving)
    assert [(record["cycle"], record["epoch"]) for record in whole[1].history] == [(0, 2), (1, 3), (2, 4)]
    with pytest.raises(KeyError, match="killed"):
        fit(ours, theirs, tmp_path / "dying", Kill(), labels=tmp_path / "labels", **saving)
    for _ in ("killed", "finished"):
        resumed = fit(ours, theirs, tmp_path / "dying", labels=tmp_path / "labels", resume=True, **saving)
        assert outcome(*resumed) == outcome(*whole)
    last = theirs.BertForSequenceClassification.from_pretrained(tmp_path / "whole" / f"checkpoint-{end // 3 * 4}")
    for name, value in last.state_dict().items():
        assert torch.equal(whole[0].model.state_dict()[name], value), name


def test_accumulated_gradients_are_those_of_the_whole_batch(ours, theirs, tmp_path):
    whole, correction = fit(ours, theirs, tmp_path)
    parts, other = fit(ours, theirs, tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    torch.testing.assert_close(other.labels.refined(), correction.labels.refined(), rtol=1e-4, atol=1e-5)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_training_that_is_stopped_ends_its_cycle(ours, theirs, tmp_path):
    class Stop(theirs.TrainerCallback):
        def on_epoch_end(self, args, state, control, **kwargs):
            control.should_training_stop = round(state.epoch) == 2

    schedule = Schedule(init_epochs=1, cycles=1, cycle_epochs=3)
    correction = ours.SelfCorrection(3, schedule=schedule, average=AtCycleEnds(restart="student"))
    fit(ours, theirs, tmp_path, Stop(), correction=correction)
    assert [record["epoch"] for record in correction.history] == [1, 2]
    assert correction.labels.generation == 1


def test_the_best_model_stays_the_best(ours, theirs, tmp_path):
    correction = ours.SelfCorrection(3, schedule=SCHEDULE, average=AtCycleEnds(restart="student"))
    best = {"load_best_model_at_end": True, "metric_for_best_model": "loss", "save_strategy": "epoch"}
    trainer, _ = fit(ours, theirs, tmp_path, correction=correction, eval_strategy="epoch", **best)
    saved = theirs.BertForSequenceClassification.from_pretrained(trainer.state.best_model_checkpoint)
    for name, value in saved.state_dict().items():
        assert torch.equal(trainer.model.state_dict()[name], value), name


def test_the_loss_takes_soft_labels_and_classes(ours):
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 1, 2, 0])
    expected = F.cross_entropy(logits, classes)
    for outputs in ({"logits": logits}, type("Output", (), {"logits": logits})):
        torch.testing.assert_close(ours.soft_loss(outputs, classes), expected)
        torch.testing.assert_close(ours.soft_loss(outputs, F.one_hot(classes, 3).float()), expected)
        # Of a step of 8 samples, whose labels have 24 elements, this is half.
        half = ours.soft_loss(outputs, F.one_hot(classes, 3).float(), num_items_in_batch=torch.tensor(24))
        torch.testing.assert_close(half, expected / 2)
        torch.testing.assert_close(ours.soft_loss(outputs, classes, num_items_in_batch=8), expected / 2)


def test_wrong_input_is_one_clear_sentence(ours, theirs, tmp_path):
    with pytest.raises(InvalidInputError, match="a training set that was wrapped; got none"):
        fit(ours, theirs, tmp_path, data=samples())
    correction = ours.SelfCorrection(3, schedule=SCHEDULE)
    items = [{"input_ids": item["input_ids"], "label": item["labels"]} for item in samples()]
    expected = r"items that are dicts with \"labels\"; got a dict with keys \['input_ids', 'label'\]; to fix: rename"
    with pytest.raises(InvalidInputError, match=expected):
        fit(ours, theirs, tmp_path, data=correction.wrap(items), correction=correction)
    with pytest.raises(InvalidInputError, match="epochs=4, the sum of Schedule.*; got epochs=5"):
        fit(ours, theirs, tmp_path, num_train_epochs=5)


def test_without_transformers_it_says_what_to_install(monkeypatch):
    name = "noisycorrect.integrations.transformers"
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InvalidInputError, match="the package transformers; got none .*; to fix: pip install"):
        importlib.import_module(name)
