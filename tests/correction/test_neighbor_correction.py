"""Correction that begins with the neighbours: the formulas done slowly, what it finds, and going on."""

import math

import pytest
import torch
from tiny_runs import CLASSES, QUIET, AfterEpoch, Kill, assert_equal_runs, blobs, network
from torch import nn

from noisycorrect import (
    RECIPES,
    Callback,
    Classification,
    EarlyLearning,
    NeighborCorrection,
    OneCosine,
    Schedule,
    noise,
)
from noisycorrect import SelfCorrector as Corrector
from noisycorrect.correction.neighbor_correction import _starved
from noisycorrect.correction.neighbors import (
    class_relative_votes,
    nearest_neighbors,
    neighbor_votes,
    posterior,
    wrong_share,
)
from noisycorrect.correction.part import Setup
from noisycorrect.support.errors import InvalidInputError, TrainingWarning

ROBUST = RECIPES["robust"].replace(batch_size=20)


def corrector(correction=None, model=None, *, callbacks=(), **settings):
    recipe = ROBUST.replace(correction=correction or NeighborCorrection())
    settings = {"recipe": recipe, "epochs": 8, "lr": 0.05, "num_classes": CLASSES} | settings
    return Corrector(model or network(), callbacks=[QUIET, *callbacks], **settings)


class Watch(Callback):
    """Keeps the correction of a run."""

    def on_epoch_end(self, run):
        self.correction = run.correction


# ---------------------------------------------------------------- formulas


def test_the_whole_run_is_the_formulas():
    """Full batches, so that every epoch is one step: gradients by autograd, everything else by hand, in float64."""
    inputs, given, _ = blobs(30, rate=0.3)
    inputs, given = inputs.double(), torch.cat([given[:27], torch.full((3,), -1)])
    momentum, share, strength, low, high = 0.6, 0.2, 2.0, 0.0, 0.4
    model = nn.Linear(4, CLASSES).double()
    watch = Watch()
    recipe = ROBUST.replace(
        schedule=Schedule(init_epochs=2, cycles=1, cycle_epochs=3),
        rates=OneCosine(warmup_epochs=0),
        average=None,
        standardize=None,
        correction=NeighborCorrection(
            neighbors=5, share=share, momentum=momentum, start=0.4, clean_rate=low, noisy_rate=high
        ),
        objective=EarlyLearning(strength),
    )
    result = Corrector(
        model, num_classes=CLASSES, recipe=recipe, lr=0.1, batch_size=30, optimizer=torch.optim.SGD,
        callbacks=[QUIET, watch],
    ).fit((inputs[:27], given[:27]), unlabeled=inputs[27:])  # fmt: skip

    found = nearest_neighbors(inputs, torch.arange(27), 5)
    once, twice = (
        posterior(given, class_relative_votes(neighbor_votes(given, found, CLASSES, rounds), given))
        for rounds in (2, 3)
    )
    rate, likely = wrong_share(given, once), twice.double()
    doubt = (rate - low) / (high - low)
    assert 0.2 < doubt < 0.95  # so that nothing in the formulas is 0 or 1
    known = likely.clone()
    for i in range(27):
        for k in range(CLASSES):
            known[i, k] = doubt * float(likely[i, k]) + (1 - doubt) * float(k == given[i])

    def usable(evidence):
        return share * known + (1 - share) * evidence

    def fitted(evidence):
        agreement = (usable(evidence) * known).sum(1)
        by_class = [float(agreement[:27][given[:27] == k].mean()) for k in range(CLASSES)]
        return by_class, float(agreement.mean())

    def trust_of(evidence, by_class):
        used, trust = usable(evidence), torch.zeros(30, dtype=torch.float64)
        for i in range(27):
            label = int(given[i])
            earned = min(1.0, float(used[i] @ known[i]) / by_class[label])
            trust[i] = float(known[i, label]) * (1 - doubt * (1 - earned))
        return trust

    weight, bias = (parameter.detach().clone().requires_grad_() for parameter in model.parameters())
    evidence = torch.full((30, CLASSES), 1 / CLASSES, dtype=torch.float64)
    onehot = torch.cat([torch.eye(CLASSES, dtype=torch.float64)[given[:27]], torch.zeros(3, CLASSES).double()])
    for epoch in range(5):
        step = 1e-3 + 0.5 * (0.1 - 1e-3) * (1 + math.cos(math.pi * epoch / 5))
        by_class, overall = fitted(evidence)  # before the epoch's predictions
        log_probs = (inputs @ weight.T + bias).log_softmax(1)
        evidence = momentum * evidence + (1 - momentum) * log_probs.detach().exp()
        if epoch < 2:
            loss = -(onehot * log_probs).sum() / 27
        else:
            trust = trust_of(evidence, by_class)[:, None]
            target = trust * onehot + (1 - trust) * usable(evidence)
            disagreement = (1 - (log_probs.exp() * usable(evidence)).sum(1)).log()
            penalty = (usable(evidence).max(1).values * disagreement).mean()
            loss = -(target * log_probs).sum(1).mean() + strength * doubt * overall * penalty
        gradients = torch.autograd.grad(loss, (weight, bias))
        with torch.no_grad():
            for parameter, gradient in zip((weight, bias), gradients, strict=True):
                parameter -= step * gradient
    assert (watch.correction.rate, watch.correction.doubt) == pytest.approx((rate, doubt), rel=1e-6)
    torch.testing.assert_close(result.model.weight, weight.detach(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(result.labels.evidence().double(), usable(evidence), rtol=1e-5, atol=1e-6)
    trust = trust_of(evidence, fitted(evidence)[0])
    torch.testing.assert_close(result.labels.trust().weight.double(), trust, rtol=1e-5, atol=1e-6)
    assert result.history[-1]["expected_rate"] == pytest.approx(rate, rel=1e-6)


# ---------------------------------------------------------------- what it finds


def test_labels_that_look_clean_are_trained_on_as_they_are():
    inputs, given, clean = blobs(120, rate=0.0)
    watch = Watch()
    result = corrector(callbacks=[watch]).fit((inputs, given))
    assert watch.correction.doubt == 0
    assert torch.equal(result.labels.refined(), nn.functional.one_hot(clean, CLASSES).float())
    assert result.history[-1]["expected_rate"] < 0.02


def test_wrong_labels_are_doubted_and_most_are_mended():
    inputs, given, clean = blobs(240, rate=0.3)
    watch = Watch()
    result = corrector(callbacks=[watch]).fit((inputs, given))
    wrong = (given != clean).numpy()
    assert watch.correction.doubt == 1
    assert result.history[-1]["expected_rate"] == pytest.approx(wrong.mean(), abs=0.1)
    right = result.labels.labels() == clean.numpy()
    assert right[wrong].mean() > 0.9
    assert right[~wrong].mean() > 0.98
    trust = result.labels.trust().weight.numpy()
    assert trust[~wrong].mean() > trust[wrong].mean() + 0.5


def test_the_recipe_beats_plain_training_on_wrong_labels():
    gains = []
    for seed in range(3):
        inputs, given, clean = blobs(150, seed=seed, rate=0.35)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            wide = nn.Sequential(nn.Linear(4, 128), nn.ReLU(), nn.Linear(128, CLASSES))  # learns by heart
        accuracy = []
        for recipe in ("robust", "ce"):
            result = Corrector(
                wide, num_classes=CLASSES, recipe=recipe, epochs=60, batch_size=20, callbacks=[QUIET]
            ).fit((inputs, given))  # fmt: skip
            with torch.no_grad():
                accuracy.append(float((result.model(inputs).argmax(1) == clean).float().mean()))
        gains.append(accuracy[0] - accuracy[1])
    assert sum(gains) / 3 > 0.1


def paired(apart: float):
    """Return six clusters with 120 samples each, so far apart, pair noise of 35 %, and the right labels."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.arange(720) % 6
    inputs = torch.randn(720, 6, generator=generator) + apart * nn.functional.one_hot(clean, 6)
    given = noise.PairFlip(0.35).apply(clean.numpy(), num_classes=6, seed=0).labels
    return inputs, torch.from_numpy(given), clean


def share_of_right(data, most_rounds):
    inputs, given, clean = data
    recipe = ROBUST.replace(correction=NeighborCorrection(most_rounds=most_rounds), batch_size=64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Linear(6, 6)
    result = Corrector(model, num_classes=6, recipe=recipe, epochs=4, callbacks=[QUIET]).fit((inputs, given))
    return float((result.labels.labels() == clean.numpy()).mean())


def test_many_rounds_tell_a_class_from_the_one_that_it_is_taken_for():
    data = paired(apart=8)
    few, many = (share_of_right(data, rounds) for rounds in (3, 15))
    assert few < 0.95
    assert many > 0.98


def test_where_halves_of_the_labels_disagree_there_are_few_rounds():
    data = paired(apart=1)
    assert share_of_right(data, most_rounds=15) == share_of_right(data, most_rounds=3)


def test_a_class_with_few_labels_keeps_the_rounds_few():
    inputs, given, clean = paired(apart=8)
    kept = (given != 5) | (torch.arange(720) % 8 == 1)
    data = inputs[kept], given[kept], clean[kept]
    assert 0 < int((data[1] == 5).sum()) < 40
    assert share_of_right(data, most_rounds=15) == share_of_right(data, most_rounds=3)


def test_many_rounds_that_take_half_a_class_are_not_used(monkeypatch):
    data = paired(apart=8)
    many = share_of_right(data, most_rounds=15)
    monkeypatch.setattr("noisycorrect.correction.neighbor_correction._starved", lambda late, early: True)
    assert share_of_right(data, most_rounds=15) == share_of_right(data, most_rounds=3) != many


def test_a_class_is_starved_when_it_has_lost_half():
    early = torch.eye(3)[[0, 0, 0, 1, 1, 1, 1]]
    assert not _starved(torch.eye(3)[[0, 0, 0, 0, 0, 1, 1]], early)
    assert _starved(torch.eye(3)[[0, 0, 0, 0, 0, 0, 1]], early)


def test_unlabelled_samples_are_told_by_neighbors_and_evidence_alone():
    inputs, given, clean = blobs(120)
    result = corrector().fit((inputs[:100], given[:100]), unlabeled=inputs[100:])
    assert result.labels.trust().weight[100:].tolist() == [0.0] * 20
    assert torch.equal(result.labels.refined()[100:], result.labels.evidence()[100:])
    assert (result.labels.labels()[100:] == clean[100:].numpy()).all()


def test_stopped_before_the_start_the_labels_are_the_given_ones():
    inputs, given, _ = blobs(60)
    stop = AfterEpoch(lambda run: run.stop())
    result = corrector(NeighborCorrection(start=0.5), callbacks=[stop]).fit(
        (inputs[:50], given[:50]), None, inputs[50:]
    )
    assert math.isnan(result.history[-1]["expected_rate"])
    assert result.history[-1]["correcting"] == 0
    assert torch.equal(result.labels.refined()[:50], nn.functional.one_hot(given[:50], CLASSES).float())
    assert torch.equal(result.labels.refined()[50:], result.labels.evidence()[50:])


def test_the_history_says_when_it_starts_and_what_it_expects():
    history = corrector(NeighborCorrection(start=0.6)).fit(blobs(60)[:2]).history
    started = [record["correcting"] == 1 for record in history]
    assert started == sorted(started)
    assert set(started) == {False, True}
    assert [math.isnan(record["expected_rate"]) for record in history] == [not each for each in started]


@pytest.mark.parametrize("storage", ["float32", "top-2"])
def test_the_only_label_of_a_class_is_left_alone(storage):
    """Its neighbours are of other classes, whatever it is; two labels of a class may be doubted."""
    inputs, given, _ = blobs(240, rate=0.3)
    given = given.clone()
    given[7] = CLASSES
    watch = Watch()
    model = nn.Linear(inputs.shape[1], CLASSES + 1)
    made = corrector(NeighborCorrection(storage=storage), model, num_classes=CLASSES + 1, callbacks=[watch])
    result = made.fit((inputs, given))
    assert watch.correction.doubt == 1
    assert watch.correction.known[torch.tensor([7])][0].tolist() == [0.0] * CLASSES + [1.0]
    assert result.labels.trust().weight[7] == 1
    assert result.labels.labels()[7] == CLASSES


def test_where_every_label_is_the_only_one_none_is_thought_wrong():
    setup = Setup(
        Classification(40, allow_empty_classes=True), torch.arange(40), 40, 4, torch.device("cpu"), 0,
        predict=lambda _: pytest.fail("no prediction"), features=lambda: torch.randn(40, 2),
        vectors=lambda: True,
    )  # fmt: skip
    correction = NeighborCorrection(start=0.0)
    correction.start(setup)
    correction.start_epoch(0, nn.Identity())
    assert (correction.rate, correction.most_wrong, correction.doubt) == (0, 0, 0)


def test_one_label_has_no_neighbors():
    setup = Setup(
        Classification(CLASSES), torch.tensor([2, -1, -1]), 3, 4, torch.device("cpu"), 0,
        predict=lambda _: pytest.fail("no prediction"), features=lambda: pytest.fail("no features"),
    )  # fmt: skip
    correction = NeighborCorrection(start=0.0)
    correction.start(setup)
    correction.start_epoch(0, nn.Identity())
    assert (correction.rate, correction.doubt) == (0, 0)
    used = correction.usable(correction.evidence, slice(None))
    assert used[0].argmax() == 2
    assert used[1:].tolist() == correction.evidence[1:].tolist()  # of these nothing is known
    assert correction.trust_in(setup.given, used, slice(None)).tolist() == [1, 0, 0]


# ---------------------------------------------------------------- what neighbours are found by


class Small(nn.Module):
    """A network of images whose features are those of the flattened image behind one layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.Tanh()), nn.Linear(8, CLASSES)

    def forward(self, images):
        return self.head(self.body(images))


def test_images_are_compared_by_what_the_last_linear_layer_sees():
    inputs, given, _ = blobs(120)
    seen = []

    class Asked(NeighborCorrection):
        def _ask_neighbors(self):
            seen.append(self.setup.features())
            super()._ask_neighbors()

    result = corrector(Asked(features="network"), Small()).fit((inputs.reshape(120, 1, 2, 2), given))
    (features,) = seen
    assert features.shape == (120, 8)
    assert features.abs().max() <= 1  # behind the tanh
    vectors = corrector(Asked()).fit((inputs, given))
    torch.testing.assert_close(seen[1], (inputs - inputs.mean(0)) / inputs.std(0, correction=0), rtol=1e-4, atol=1e-4)
    assert result.sample_passes - 3 * 8 * 120 == 120
    assert vectors.sample_passes - 3 * 8 * 120 == 120  # here of BatchNorm's statistics, which Small has none of


def test_labels_of_images_are_not_doubted_and_a_warning_says_so():
    inputs, given, _ = blobs(120)
    with pytest.warns(TrainingWarning, match="no label is corrected") as warned:
        result = corrector(model=Small()).fit((inputs.reshape(120, 1, 2, 2), given))
    assert [each.filename for each in warned] == [__file__]
    assert result.labels.labels().tolist() == given.tolist()
    assert result.history[-1]["doubt"] == 0
    assert math.isnan(result.history[-1]["expected_rate"])
    assert result.sample_passes == 3 * 8 * 120


def test_features_are_of_inputs_or_network():
    with pytest.raises(InvalidInputError, match="features"):
        NeighborCorrection(features="logits")


# ---------------------------------------------------------------- going on


@pytest.mark.parametrize("killed", [2, 6], ids=["before", "after"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(tmp_path, killed):
    inputs, given, _ = blobs(60)
    correction, data = NeighborCorrection(neighbors=7, start=0.45), ((inputs[:50], given[:50]), None, inputs[50:])
    whole = corrector(correction, run_dir=tmp_path / "whole").fit(*data)
    with pytest.raises(KeyboardInterrupt):
        corrector(correction, run_dir=tmp_path / "stopped", callbacks=[Kill(killed)]).fit(*data)
    resumed = corrector(correction, run_dir=tmp_path / "stopped").fit(*data, resume=True)
    assert_equal_runs(resumed, whole)
    assert torch.equal(whole.labels.evidence(), resumed.labels.evidence())
    assert torch.equal(whole.labels.trust().weight, resumed.labels.trust().weight)


def test_a_resumed_run_does_not_ask_again(tmp_path, monkeypatch):
    data = blobs(60)[:2]
    with pytest.raises(KeyboardInterrupt):
        corrector(run_dir=tmp_path, callbacks=[Kill(4)]).fit(data)
    monkeypatch.setattr(
        "noisycorrect.correction.neighbor_correction.nearest_neighbors", lambda *_: pytest.fail("asked again")
    )
    assert corrector(run_dir=tmp_path).fit(data, resume=True).history[-1]["correcting"] == 1


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"neighbors": 0}, "neighbors to be a whole number >= 1; got 0"),
        ({"share": 1.0}, "0 <= share < 1; got 1.0"),
        ({"momentum": 1.0}, "0 <= momentum < 1; got 1.0"),
        ({"start": 1.0}, "0 <= start < 1; got 1.0"),
        ({"clean_rate": -0.1}, "0 <= clean_rate < 1; got -0.1"),
        ({"noisy_rate": 1.0}, "0 <= noisy_rate < 1; got 1.0"),
        ({"clean_rate": 0.06}, "clean_rate < noisy_rate; got clean_rate=0.06, noisy_rate=0.06; to fix: the defaults"),
        ({"keep": 1}, "keep to be a whole number >= 2; got 1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        NeighborCorrection(**settings)
