"""Sequences labelled token by token: the loss, refined labels, padding, and a run that cleans them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from spawn import run_processes
from torch import nn
from torch.utils.data import Dataset

from noisycorrect import RECIPES, AtCycleEnd, Callback, InvalidInputError, SelfCorrector, SoftLabelStore, TokenLabeling
from noisycorrect.cli import main
from noisycorrect.data.batches import Batch
from noisycorrect.labels import Rule, Trust
from noisycorrect.labels.rules import CYCLE_RULES
from noisycorrect.review.issues import find_label_issues
from noisycorrect.tokens import pad_sequences

COUNT, WORDS, K, NOISE = 150, 12, 3, 0.2


class Sentences(Dataset):
    """Sentences of 2 to 8 words; the class of a word is its number modulo 3, one more after a word above 5."""

    def __init__(self, seed: int = 0, unknown: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.words, self.clean, self.labels_of = [], [], []
        for index in range(COUNT):
            length = int(torch.randint(2, 9, (1,), generator=generator))
            words = torch.randint(1, WORDS, (length,), generator=generator)
            before = torch.cat([words.new_zeros(1), words[:-1]])
            clean = (words + (before > 5)) % K
            wrong = torch.rand(length, generator=generator) < NOISE
            given = torch.where(wrong, (clean + torch.randint(1, K, (length,), generator=generator)) % K, clean)
            if length > 5:
                given[1] = -100
            if index < unknown:
                given = torch.where(given == -100, given, -1)
            self.words.append(words)
            self.clean.append(clean)
            self.labels_of.append(given)

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int):
        return self.words[index], self.labels_of[index]


class Tagger(nn.Module):
    """Sees a word and the one before it; returns logits (B, L, K), or (B, K, L)."""

    def __init__(self, classes_first: bool = False, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.words, self.before = nn.Embedding(WORDS, 8), nn.Embedding(WORDS, 8)
            self.last = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, K))
        self.classes_first = classes_first

    def forward(self, words):
        before = nn.functional.pad(words[:, :-1], (1, 0))
        logits = self.last(torch.cat([self.words(words), self.before(before)], 2))
        return logits.transpose(1, 2) if self.classes_first else logits


def fit(run_dir=None, seed=0, unknown=0, recipe="paper", epochs=12, callbacks=(), task="tokens", model=None):
    train = Sentences(seed, unknown)
    corrector = SelfCorrector(
        model or Tagger(seed=seed), task=task, num_classes=K, recipe=recipe, epochs=epochs, lr=0.3, batch_size=24,
        seed=seed, run_dir=run_dir, callbacks=callbacks, collate_fn=pad_sequences,
    )  # fmt: skip
    return corrector.fit(train, train, clean_labels=train.clean)


def timeless(history):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in history]


def rank_fit(run_dir):
    result = fit(run_dir, unknown=20, model=Tagger().double())
    return result.model.state_dict(), result.labels.refined(), timeless(result.history)


def accuracy(labels, sentences):
    """Return the share of right labels, ignored tokens left out."""
    counted = np.concatenate(sentences.labels_of) != -100
    return float((np.concatenate(labels) == np.concatenate(sentences.clean))[counted].mean())


# ---------------------------------------------------------------- formulas


@pytest.mark.parametrize("rule", [None, "agreement"])
@pytest.mark.parametrize("floor", [None, (0.0, 0.5, 1.0)])
@pytest.mark.parametrize("classes_first", [False, True])
def test_loss_and_refined_labels_beside_a_slow_oracle(rule, floor, classes_first):
    generator = torch.Generator().manual_seed(1)
    lengths, longest = (2, 4, 1), 6  # of this batch, and of the data set
    given = [torch.randint(-1, K, (length,), generator=generator) for length in lengths]
    given[1][2] = -100
    logits = torch.randn(3, 4, K, generator=generator, dtype=torch.float64)
    evidence = torch.rand(3, K, longest, generator=generator).softmax(1)
    weight = torch.rand(3, generator=generator)
    trust = Trust(weight, None if floor is None else torch.tensor(floor), None if rule is None else Rule(rule))
    store = SoftLabelStore.create(None, [*given, torch.zeros(longest, dtype=torch.long)], K, kind="tokens")
    found = store.kind.refined(np.arange(3), lambda rows: evidence[rows], trust)
    total, count = 0.0, 0
    for row, length in enumerate(lengths):
        assert found[row].shape == (K, length)
        for place in range(length):
            label, own = int(given[row][place]), evidence[row, :, place].tolist()
            if label == -100:
                assert not found[row][:, place].any()
                continue
            w = float(weight[row]) * (own[label] if rule else 1.0) if label >= 0 else 0.0
            w = max(w, floor[label]) if floor and label >= 0 else w
            target = [w * (k == label) + (1 - w) * own[k] for k in range(K)]
            np.testing.assert_allclose(found[row][:, place].numpy(), target, atol=1e-6)
            scores = [math.exp(each) for each in logits[row, place].tolist()]
            total -= sum(t * math.log(score / sum(scores)) for t, score in zip(target, scores, strict=True))
            count += 1
    _, padded = pad_sequences([(torch.zeros(len(each)), each) for each in given])
    batch = Batch(torch.arange(3), None, padded, trust, evidence, 1)
    output = logits.transpose(1, 2) if classes_first else logits
    loss = TokenLabeling(K, longest, classes_first=classes_first).loss(output, batch)
    assert loss.item() == pytest.approx(total / count, rel=1e-6)


def test_ignored_and_unknown_tokens():
    store = SoftLabelStore.create(None, [[0, -100, -1], [1]], 2, kind="tokens")
    assert [label.tolist() for label in store.labels()] == [[0, -100, -1], [1]]
    with store.new_generation() as writer:
        writer.write(range(2), torch.tensor([[0.1, 0.9]]).T.expand(2, 2, 3))
    assert [label.tolist() for label in store.labels()] == [[0, -100, 1], [1]]
    assert not store.refined(0)[0][:, 1].any()
    clean = store.kind.checked_clean([[0, 0, -100], [0]], 2, 2, "clean_labels")
    assert store.kind.quality(store.labels, clean) == {"label_accuracy": 0.5}
    with pytest.raises(InvalidInputError, match="3 clean labels at index 0; got 2"):
        store.kind.quality(store.labels, store.kind.checked_clean([[1, 0], [0]], 2, 2, "clean_labels"))


def test_an_issue_names_the_pair_of_its_most_doubtful_token():
    store = SoftLabelStore.create(None, [[0, 1, 2], [2, 2], [0]], 3, kind="tokens")
    evidence = torch.full((3, 3, 3), 1 / 3)
    evidence[0, :, :3] = torch.tensor([[0.4, 0.5, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]])
    evidence[1, :, :2] = torch.tensor([[0.9, 0.1], [0.05, 0.1], [0.05, 0.8]])
    evidence[2, :, 0] = torch.tensor([0.6, 0.2, 0.2])
    with store.new_generation() as writer:
        writer.write(range(3), evidence)
    issues = [(issue.index, issue.given, issue.suggested, round(issue.score, 3)) for issue in find_label_issues(store)]
    assert issues == [(1, 2, 0, 0.05), (0, 0, 1, 0.4)]


def test_padding_of_tensors_mappings_and_positions():
    items = [
        ({"ids": torch.tensor([1, 2]), "mask": torch.ones(2)}, [0, 1]),
        ({"ids": torch.tensor([3]), "mask": torch.ones(1)}, [2]),
    ]
    inputs, labels = pad_sequences(items)
    assert inputs["ids"].tolist() == [[1, 2], [3, 0]]
    assert inputs["mask"].tolist() == [[1, 1], [1, 0]]
    assert labels.tolist() == [[0, 1], [2, -100]]
    inputs, labels, index = pad_sequences([(torch.ones(1, 4), [0], 7), (torch.ones(2, 4), [0, 1], 8)])
    assert (inputs.shape, index.tolist()) == ((2, 2, 4), [7, 8])


# ---------------------------------------------------------------- runs


@pytest.mark.parametrize("seed", range(4))
def test_a_run_cleans_noisy_labels(seed):
    result, sentences = fit(seed=seed, epochs=24), Sentences(seed)
    before, after = accuracy(sentences.labels_of, sentences), result.history[-1]["label_accuracy"]
    assert after > before + 0.1
    assert after == pytest.approx(accuracy(result.labels.labels(), sentences))
    estimate = result.estimate_noise()
    assert abs(estimate.rate - NOISE) < 0.06
    assert estimate.unit == "tokens"
    assert "tokens" in result.verdict(["person", "place", "other"])


@pytest.mark.parametrize("recipe", ["paper", "ce", "ema", "swa"])
def test_every_recipe_that_knows_no_kind_trains_it(recipe):
    assert fit(recipe=recipe, epochs=24).history[-1]["val_accuracy"] > 0.65


@pytest.mark.parametrize("trust", CYCLE_RULES)
def test_every_trust_at_the_ends_of_cycles_refines_them(trust):
    result = fit(recipe=RECIPES["paper"].replace(correction=AtCycleEnd(trust=trust)), epochs=24)
    sentences, last = Sentences(), result.history[-1]
    assert last["label_accuracy"] >= accuracy(sentences.labels_of, sentences)
    assert 0 < last["mean_trust"] <= 1
    assert result.labels.generation > 1


def test_models_may_return_classes_first():
    task = TokenLabeling(K, max_length=10, classes_first=True)
    result = fit(task=task, model=Tagger(classes_first=True))
    assert result.labels.evidence().shape == (COUNT, K, 10)
    assert [len(label) for label in result.labels.labels()] == [len(words) for words in Sentences().words]
    reference = fit()
    assert all(map(np.array_equal, result.labels.labels(), reference.labels.labels()))


def test_sequences_without_labels_are_labelled():
    result, sentences = fit(unknown=40, epochs=24), Sentences(unknown=40)
    assert not result.labels.labeled[:40].any()
    found = np.concatenate(result.labels.labels(range(40)))
    clean = np.concatenate(sentences.clean[:40])
    assert (found == clean)[found >= 0].mean() > 0.8
    with pytest.raises(InvalidInputError, match="all samples of tokens in one data set"):
        SelfCorrector(Tagger(), task="tokens", num_classes=K).fit(Sentences(), unlabeled=[torch.ones(2)])


def test_a_recipe_for_another_kind_says_so():
    with pytest.raises(InvalidInputError, match=r"kind 'tokens'; got 'robust', .* one of 'ce', .*'paper'"):
        SelfCorrector(Tagger(), task="tokens", num_classes=K, recipe="robust")


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path):
    class Dies(Callback):
        def on_epoch_end(self, run):
            if run.epoch == 9:
                raise KeyboardInterrupt

    whole = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "died", callbacks=[Dies()])
    resumed = fit(tmp_path / "died")
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    assert all(map(torch.equal, resumed.labels.refined(), whole.labels.refined()))
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
    flat, lengths, probs = (np.load(tmp_path / "out" / f"{name}.npy") for name in ("labels", "lengths", "probs"))
    assert all(map(np.array_equal, np.split(flat, lengths.cumsum()[:-1]), result.labels.labels()))
    assert np.array_equal(probs, torch.cat([each.T for each in result.labels.refined()]).numpy())
    assert main(["issues", str(tmp_path / "run"), "--top", "3"]) == 0
    assert main(["estimate", str(tmp_path / "run")]) == 0
    assert "of your tokens disagree" in capsys.readouterr().out


# ---------------------------------------------------------------- invalid input


def test_what_does_not_fit_is_refused():
    with pytest.raises(InvalidInputError, match=r"at most 4 tokens; got 8; to fix: cut .* max_length=8"):
        fit(task=TokenLabeling(K, max_length=4))
    with pytest.raises(InvalidInputError, match=r"shape \(48, 8, 3\); got shape \(48, 3, 8\).*classes_first=True"):
        fit(model=Tagger(classes_first=True))
    with pytest.raises(InvalidInputError, match="drop the model's last Softmax"):
        fit(model=nn.Sequential(Tagger(), nn.Softmax(2)))
    store = SoftLabelStore.create(None, [[0, 1], [1]], 2, kind="tokens")
    with pytest.raises(InvalidInputError, match="predictions of 2 tokens; got 1"), store.new_generation() as writer:
        writer.write(range(2), torch.full((2, 2, 1), 0.5))
