"""Labels that are there or not: the loss, refined labels, and a run that cleans them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from spawn import run_processes
from torch import nn

from noisycorrect import (
    RECIPES,
    AtCycleEnd,
    Callback,
    CorrectionResult,
    InvalidInputError,
    MultiLabel,
    SelfCorrector,
    SoftLabelStore,
)
from noisycorrect.cli import main
from noisycorrect.data.batches import Batch
from noisycorrect.labels import Rule, Trust
from noisycorrect.labels.rules import CYCLE_RULES
from noisycorrect.multilabel.task import MultiLabelMetrics, soft_binary_cross_entropy
from noisycorrect.review.issues import find_label_issues

COUNT, FEATURES, K, NOISE = 240, 6, 4, 0.15


def data(seed: int, unknown: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return inputs, given labels of which some are flipped and some rows unknown, and clean labels."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(COUNT, FEATURES, generator=generator)
    clean = (inputs @ torch.randn(FEATURES, K, generator=generator) > 0).long()
    given = torch.where(torch.rand(COUNT, K, generator=generator) < NOISE, 1 - clean, clean)
    if unknown:
        given[torch.rand(COUNT, K, generator=generator) < 0.1] = -1
        given[:unknown] = -1
    return inputs, given, clean


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(FEATURES, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, K))


def fit(run_dir=None, seed: int = 0, unknown: int = 0, recipe="paper", epochs: int = 12, callbacks=(), double=False):
    inputs, given, clean = data(seed, unknown)
    model = network(seed)
    corrector = SelfCorrector(
        model.double() if double else model, task="multilabel", num_classes=K, recipe=recipe, epochs=epochs, lr=0.1,
        batch_size=32, seed=seed, run_dir=run_dir, callbacks=callbacks,
    )  # fmt: skip
    return corrector.fit((inputs, given), (inputs, given), clean_labels=clean, val_clean_labels=clean)


def timeless(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


def rank_fit(run_dir):
    result = fit(run_dir, unknown=20, double=True)
    return result.model.state_dict(), result.labels.refined(), timeless(result.history)


# ---------------------------------------------------------------- formulas


@pytest.mark.parametrize("rule", [None, "agreement", "confident"])
@pytest.mark.parametrize("floor", [None, (0.0, 0.3, 0.9, 1.0)])
def test_loss_and_refined_labels_beside_a_slow_oracle(rule, floor):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(7, K, generator=generator, dtype=torch.float64)
    given = torch.randint(-1, 2, (7, K), generator=generator)
    evidence = torch.rand(7, K, generator=generator)
    weight = torch.rand(7, generator=generator)
    trust = Trust(weight, None if floor is None else torch.tensor(floor), None if rule is None else Rule(rule))
    total, count = 0.0, 0
    expected = np.zeros((7, K))
    for row in range(7):
        for label in range(K):
            y, e, w = int(given[row, label]), float(evidence[row, label]), float(weight[row])
            own = e if y == 1 else 1 - e
            w *= {None: 1.0, "agreement": own, "confident": 0.0 if 1 - own >= 0.9 else 1.0}[rule]
            w = max(w, 0.0 if floor is None else floor[label]) if y >= 0 else 0.0
            target = expected[row, label] = w * y + (1 - w) * e
            prob = 1 / (1 + math.exp(-float(logits[row, label])))
            total -= target * math.log(prob) + (1 - target) * math.log(1 - prob)
            count += 1
    batch = Batch(torch.arange(7), None, given, trust, evidence, 1)
    assert MultiLabel(K).loss(logits, batch).item() == pytest.approx(total / count, rel=1e-6)
    store = SoftLabelStore.create(None, given, K, kind="multilabel")
    found = store.kind.refined(np.arange(7), lambda rows: evidence[rows], trust)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_unknown_entries_weigh_nothing_before_there_is_evidence():
    logits, targets = torch.tensor([[1.0, 5.0]]), torch.tensor([[1.0, torch.nan]])
    assert soft_binary_cross_entropy(logits, targets).item() == pytest.approx(math.log1p(math.exp(-1)), rel=1e-6)
    store = SoftLabelStore.create(None, [[1, -1], [0, 0]], 2, kind="multilabel")
    assert store.labels().tolist() == [[1, -1], [0, 0]]
    with store.new_generation() as writer:
        writer.write(range(2), torch.tensor([[0.9, 0.8], [0.1, 0.2]]))
    assert store.labels().tolist() == [[1, 1], [0, 0]]
    assert store.refined(0)[0, 1].item() == pytest.approx(0.8)


def test_metrics_beside_scikit_learn():
    from sklearn.metrics import accuracy_score, f1_score

    probs, labels = torch.rand(50, 3), torch.randint(2, (50, 3))
    metrics = MultiLabelMetrics(3)
    metrics.update(probs, labels)
    found, scores = (probs > 0.5).long(), metrics.compute()
    assert scores["macro_f1"] == pytest.approx(f1_score(labels, found, average="macro"))
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels.flatten(), found.flatten()))


def test_an_issue_names_the_label_that_is_missing_or_too_many():
    store = SoftLabelStore.create(None, [[1, 0, 0], [1, 0, 1], [0, 0, 1]], 3, kind="multilabel")
    with store.new_generation() as writer:
        writer.write(range(3), torch.tensor([[0.9, 0.2, 0.8], [0.9, 0.1, 0.3], [0.1, 0.1, 0.9]]))
    issues = [(issue.index, issue.given, issue.suggested, issue.share) for issue in find_label_issues(store)]
    assert issues == [(0, -1, 2, pytest.approx(1 / 3)), (1, 2, -1, pytest.approx(1 / 3))]


# ---------------------------------------------------------------- runs


@pytest.mark.parametrize("seed", range(4))
def test_a_run_cleans_noisy_labels(seed):
    result = fit(seed=seed, epochs=24)
    _, given, clean = data(seed)
    before = (given == clean).double().mean().item()
    after = result.history[-1]["label_accuracy"]
    assert after > before + 0.05
    assert after == pytest.approx(float((result.labels.labels() == clean.numpy()).mean()))
    assert result.history[-1]["val_clean_accuracy"] > before
    estimate = result.estimate_noise()
    assert abs(estimate.rate - NOISE) < 0.05
    assert "absent labelled present" in result.verdict()
    worst = result.find_label_issues(top=20)
    assert np.mean([(given != clean)[issue.index].any().item() for issue in worst]) > 0.8


@pytest.mark.parametrize("recipe", ["paper", "ce", "ema", "swa"])
def test_every_recipe_that_knows_no_kind_trains_it(recipe):
    result = fit(recipe=recipe, epochs=6)
    assert result.history[-1]["loss"] > 0
    assert result.history[-1]["val_accuracy"] > 0.6
    assert result.history[-1]["val_macro_f1"] > 0.5


@pytest.mark.parametrize("trust", CYCLE_RULES)
def test_every_trust_at_the_ends_of_cycles_refines_them(trust):
    result = fit(recipe=RECIPES["paper"].replace(correction=AtCycleEnd(trust=trust)))
    _, given, clean = data(0)
    assert result.history[-1]["label_accuracy"] >= (given == clean).double().mean().item()
    assert 0 < result.history[-1]["mean_trust"] <= 1
    assert result.labels.generation > 1


def test_a_recipe_for_another_kind_says_so():
    with pytest.raises(InvalidInputError, match=r"kind 'multilabel'; got 'robust', .* one of 'ce', .*'paper'"):
        SelfCorrector(network(), task="multilabel", num_classes=K, recipe="robust")


def test_inputs_without_labels_are_labelled():
    inputs, given, clean = data(0)
    rows = list(zip(inputs[60:], given[60:].float(), strict=True))
    for train in ((inputs[60:], given[60:]), (inputs[60:], given[60:].float()), rows):
        corrector = SelfCorrector(network(), task="multilabel", num_classes=K, epochs=12, lr=0.1, batch_size=32)
        result = corrector.fit(train, unlabeled=inputs[:60])
        assert not result.labels.labeled[-60:].any()
        assert (result.labels.labels(range(180, 240)) == clean[:60].numpy()).mean() > 0.85


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path):
    class Dies(Callback):
        def on_epoch_end(self, run):
            if run.epoch == 9:
                raise KeyboardInterrupt

    whole = fit(tmp_path / "whole", unknown=20)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "died", unknown=20, callbacks=[Dies()])
    resumed = fit(tmp_path / "died", unknown=20)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    assert torch.equal(resumed.labels.refined(), whole.labels.refined())
    np.testing.assert_equal(timeless(resumed.history), timeless(whole.history))


def test_two_ranks_equal_one(tmp_path):
    alone = rank_fit(tmp_path / "alone")
    for model, refined, history in run_processes(rank_fit, 2, tmp_path, tmp_path / "both"):
        torch.testing.assert_close(model, alone[0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(refined, alone[1], rtol=0, atol=1e-6)  # labels are stored in float32
        for record, reference in zip(history, alone[2], strict=True):
            assert record == pytest.approx(reference, rel=1e-6, abs=1e-7, nan_ok=True)


def test_the_command_line_reads_a_run(tmp_path, capsys):
    result = fit(tmp_path / "run", epochs=6)
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "out"), "--probs"]) == 0
    assert np.array_equal(np.load(tmp_path / "out" / "labels.npy"), result.labels.labels())
    assert np.array_equal(np.load(tmp_path / "out" / "probs.npy"), result.labels.refined().numpy())
    assert main(["issues", str(tmp_path / "run"), "--top", "3"]) == 0
    assert "entries" in capsys.readouterr().out
    assert main(["estimate", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["names"] == ["absent", "present"]
    result.save(tmp_path / "saved")
    again = CorrectionResult.load(tmp_path / "saved", network())
    assert torch.equal(again.labels.refined(), result.labels.refined())


# ---------------------------------------------------------------- invalid input


def test_probabilities_and_wrong_shapes_are_refused():
    inputs, given, _ = data(0)
    for model, message in (
        (nn.Sequential(nn.Linear(FEATURES, K), nn.Sigmoid()), "drop the model's last Sigmoid"),
        (nn.Linear(FEATURES, K + 1), r"logits of shape \(72, 4\); got shape \(72, 5\)"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            SelfCorrector(model, task="multilabel", num_classes=K, epochs=2).fit((inputs, given))
    with pytest.raises(InvalidInputError, match="codec that holds evidence about multilabel; got 'sqrt-uint8'"):
        SoftLabelStore.create(None, given, K, kind="multilabel", codec="sqrt-uint8")
    with pytest.raises(InvalidInputError, match="validation labels of 0 and 1"):
        SelfCorrector(network(), task="multilabel", num_classes=K).fit((inputs, given), (inputs, given * 2))
