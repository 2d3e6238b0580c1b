"""Correction while training, against slow float64 arithmetic straight from the docstring."""

import copy
import math

import pytest
import torch
from torch import nn

from noisycorrect import Classification, SelfCorrector
from noisycorrect.correction.memorisation import MemorisationWatch
from noisycorrect.correction.online import OnlineCorrection, early_learning_penalty
from noisycorrect.labels.mixture import QualityMixture
from noisycorrect.labels.refine import align_to_prior
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg.kind import MaskLabels

CLASSES = 3


def data(count=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4, generator=generator), torch.arange(count) % CLASSES


def test_penalty_is_the_mean_logarithm_of_disagreement_by_how_sure_the_evidence_is():
    generator = torch.Generator().manual_seed(0)
    probs, evidence = torch.rand(2, 7, 4, 3, generator=generator, dtype=torch.float64).softmax(2)
    expected = 0.0
    for n in range(7):
        for pixel in range(3):
            agreement = sum(float(probs[n, k, pixel] * evidence[n, k, pixel]) for k in range(4))
            sure = max(float(evidence[n, k, pixel]) for k in range(4))
            expected += sure * math.log(1 - agreement) / 21
    assert early_learning_penalty(probs, evidence).item() == pytest.approx(expected, rel=1e-12)


def test_penalty_of_full_agreement_is_finite_and_its_gradient_raises_agreement():
    certain = torch.tensor([[1.0, 0.0]])
    assert early_learning_penalty(certain, certain).item() == pytest.approx(torch.tensor(1e-4).log().item(), rel=1e-3)
    logits = torch.zeros(1, 2, requires_grad=True)
    early_learning_penalty(logits.softmax(1), torch.tensor([[0.9, 0.1]])).backward()
    assert logits.grad[0, 0] < 0 < logits.grad[0, 1]


def test_alignment_gives_the_wanted_frequencies_where_the_evidence_is_one():
    evidence = torch.rand(50, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).softmax(1)
    prior = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    aligned = align_to_prior(evidence, evidence.mean(0), prior)
    for n in range(50):
        weights = [float(evidence[n, k] * prior[k] / evidence[:, k].mean()) for k in range(4)]
        assert aligned[n].tolist() == pytest.approx([w / sum(weights) for w in weights], rel=1e-12)


def test_the_whole_run_is_the_formulas():
    """Full batches, so that every epoch is one step: gradients by autograd, everything else by hand, in float64."""
    inputs, given = data()
    model = nn.Linear(4, CLASSES).double()
    settings = {"momentum": 0.6, "start": 0.4, "early_learning": 2.0, "trust": "agreement", "input_dropout": 0.0}
    result = SelfCorrector(
        model, num_classes=CLASSES, init_epochs=2, cycles=1, cycle_epochs=3, lr=0.1, batch_size=24, warmup_epochs=0,
        preset="robust", objective=OnlineCorrection(**settings), aggregate=False, verbose=False,
        optimizer=torch.optim.SGD,
    ).fit((inputs.double(), given))  # fmt: skip
    weight, bias = (parameter.detach().clone().requires_grad_() for parameter in model.parameters())
    evidence = torch.full((24, CLASSES), 1 / CLASSES, dtype=torch.float64)
    rows = torch.arange(24)
    for epoch in range(5):
        rate = 1e-3 + 0.5 * (0.1 - 1e-3) * (1 + torch.cos(torch.tensor(torch.pi * epoch / 5, dtype=torch.float64)))
        log_probs = (inputs.double() @ weight.T + bias).log_softmax(1)
        evidence = 0.6 * evidence + 0.4 * log_probs.detach().exp()
        target = torch.eye(CLASSES, dtype=torch.float64)[given]
        if epoch >= 2:
            trust = evidence[rows, given][:, None]
            target = trust * target + (1 - trust) * evidence
        loss = -(target * log_probs).sum(1).mean()
        disagreement = (1 - (log_probs.exp() * evidence).sum(1)).log()
        loss = loss + 2.0 * (evidence.max(1).values * disagreement).mean()
        gradients = torch.autograd.grad(loss, (weight, bias))
        with torch.no_grad():
            for parameter, gradient in zip((weight, bias), gradients, strict=True):
                parameter -= rate * gradient
    torch.testing.assert_close(result.model.weight, weight.detach(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(result.labels.evidence().double(), evidence, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(result.labels.trust().weight, result.labels.evidence()[rows, given])
    assert result.sample_passes == 3 * 24 * 5  # evidence costs no pass


def robust(**settings):
    settings = {"epochs": 8, "batch_size": 8, "lr": 0.1, "verbose": False} | settings
    torch.manual_seed(0)
    return SelfCorrector(nn.Linear(4, CLASSES), num_classes=CLASSES, preset="robust", **settings)


@pytest.mark.parametrize("trust", ["agreement", "relative", "class-relative", "mixture", "posterior"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(tmp_path, trust):
    def stop(model, record):
        if record["epoch"] == 5:
            raise KeyboardInterrupt

    objective = OnlineCorrection(start=0.05, trust=trust, balance=True)
    whole = robust(objective=objective, run_dir=tmp_path / "whole").fit(data())
    with pytest.raises(KeyboardInterrupt):
        robust(objective=objective, run_dir=tmp_path / "stopped", on_epoch=stop).fit(data())
    resumed = robust(objective=objective, run_dir=tmp_path / "stopped").fit(data(), resume=True)
    assert torch.equal(whole.model.weight, resumed.model.weight)
    assert torch.equal(whole.labels.evidence(), resumed.labels.evidence())
    assert torch.equal(whole.labels.trust().weight, resumed.labels.trust().weight)
    assert ((whole.labels.trust().weight >= 0) & (whole.labels.trust().weight <= 1)).all()


def test_an_objective_is_not_changed_by_a_run():
    objective = OnlineCorrection()
    before = copy.deepcopy(vars(objective))
    robust(objective=objective).fit(data())
    assert vars(objective) == before


def test_unlabelled_samples_learn_from_evidence_alone():
    inputs, given = data()
    result = robust().fit((inputs, given), unlabeled=torch.randn(5, 4))
    assert result.labels.trust().weight[-5:].tolist() == [0.0] * 5
    assert torch.equal(result.labels.refined()[-5:], result.labels.evidence()[-5:])


def test_a_strong_view_costs_as_much_as_the_first_one():
    seen = []

    def shaken(inputs):
        seen.append(len(inputs))
        return inputs + 0.1 * torch.randn_like(inputs)

    result = robust(objective=OnlineCorrection(start=0.05, consistency=1.0, strong_augment=shaken)).fit(data())
    assert result.sample_passes == 6 * 24 * 8
    assert sum(seen) == 24 * (8 - 1)  # no correction in the first epoch, and nothing to be consistent with


def test_balance_raises_what_the_evidence_gives_too_rarely():
    plain, balanced = (
        robust(objective=OnlineCorrection(start=0.05, balance=balance)).fit(data()) for balance in (False, True)
    )
    frequencies = [result.labels.evidence().mean(0) for result in (plain, balanced)]
    spread = [float((frequency - 1 / CLASSES).abs().max()) for frequency in frequencies]
    assert spread[1] < spread[0]


def test_trust_by_mixture_is_fitted_to_the_evidence_that_is_published():
    result = robust(objective=OnlineCorrection(start=0.05, trust="mixture")).fit(data())
    quality = result.labels.evidence()[torch.arange(24), data()[1]]
    torch.testing.assert_close(result.labels.trust().weight, QualityMixture.fit(quality).trust(quality))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trust": "agreemnt"}, "did you mean 'agreement'"),
        ({"momentum": 1.0}, "momentum"),
        ({"start": -0.1}, "start"),
        ({"start": "autos"}, "did you mean 'auto'"),
        ({"input_dropout": 1.0}, "input_dropout"),
        ({"early_learning": -1}, "early_learning"),
        ({"consistency": 1.0}, "strong_augment with consistency; got None"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        OnlineCorrection(**settings)


def test_the_history_says_whether_correction_has_started():
    assert [record["correcting"] for record in robust(objective=OnlineCorrection(start=0.6)).fit(data()).history] == [
        0.0, 0.0, 0.0, 1.0, 1.0, 1.0,
    ]  # fmt: skip


def test_masks_are_refused_before_they_are_read():
    with pytest.raises(InvalidInputError, match="class labels with OnlineCorrection; got segmentation"):
        SelfCorrector(nn.Conv2d(3, 2, 1), task=Masks(2), objective=OnlineCorrection())


@pytest.mark.parametrize("objective", [OnlineCorrection, "elr"])
def test_an_objective_is_an_object(objective):
    with pytest.raises(InvalidInputError, match="objective to be an Objective"):
        SelfCorrector(nn.Linear(4, 2), num_classes=2, objective=objective)


class Masks(Classification):
    """Enough of a task for masks to be refused."""

    kind = MaskLabels


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cycle_lr": 0.1}, "no cycle_lr with one cosine"),
        ({"evidence": "mean"}, "evidence=\"training\" with OnlineCorrection; got 'mean'"),
        ({"trust": "paper"}, r"pass objective=OnlineCorrection\(trust=...\)"),
        ({"evidence_momentum": 0.5}, r"pass objective=OnlineCorrection\(momentum=...\)"),
        ({"refine": False}, "refine=True with OnlineCorrection"),
        ({"objective": None, "preset": "paper", "evidence": "training"}, "an objective that keeps evidence"),
    ],
)
def test_evidence_and_objective_must_agree(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        SelfCorrector(nn.Linear(4, 3), num_classes=3, **{"preset": "robust", **settings})


def labelled(given, certainty):
    """Evidence that gives each label this probability, and the rest to the other class."""
    own = nn.functional.one_hot(given.clamp(min=0), 2) * (2 * certainty - 1)[:, None]
    return own + (1 - certainty)[:, None]


def test_memorisation_begins_when_held_out_labels_surprise_no_less():
    given = torch.tensor([0, 1, -1] * 40)
    watch = MemorisationWatch(given, epochs=20, seed=0)
    assert int(watch.held_out.sum()) == 8  # a tenth of the labelled ones
    assert not watch.held_out[given == -1].any()
    chance = torch.rand(120, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.1
    levels = [0.5, 0.5, 0.6, 0.7, 0.75, 0.755, 0.9]  # the last but one is better by less than chance explains
    expected, lowest = [], None
    for epoch, level in enumerate(levels):
        noisy = (level + chance.roll(epoch)).clamp(max=0.99)
        begun = watch.has_begun(epoch, labelled(given, noisy))
        surprise = [-math.log(float(noisy[row])) for row in watch.rows.tolist()]
        if epoch > 1 and not (expected and expected[-1]):
            falls = [low - now for low, now in zip(lowest, surprise, strict=True)]
            mean = sum(falls) / 8
            error = math.sqrt(sum((fall - mean) ** 2 for fall in falls) / 8 / 8)
            expected.append(mean <= 1.645 * error)
            assert begun == expected[-1]
        if lowest is None or epoch == 1 or sum(surprise) < sum(lowest):
            lowest = surprise
    assert expected[0] is False
    assert expected[-1] is True
    assert watch.has_begun(8, labelled(given, torch.full((120,), 0.99)))  # once is for good
    assert watch.kept(8, torch.arange(120)) is None


def test_nothing_is_held_out_in_the_second_half_of_a_run():
    watch = MemorisationWatch(torch.zeros(20, dtype=torch.int64), epochs=8, seed=1)
    assert (~watch.kept(3, torch.arange(20))).sum() == 2
    assert watch.kept(4, torch.arange(20)) is None
    for epoch in range(1, 8):  # less of a surprise until the fourth epoch, no less from the fifth on: too late
        watch.has_begun(epoch, torch.full((20, 1), 0.1 + 0.1 * min(epoch, 4)))
    assert not watch.begun
    assert len(watch.surprise) == 4


def test_held_out_labels_are_not_learnt_before_the_start():
    """The labels that are held out are changed to another class: nothing of the run may change before it starts."""
    inputs, given = data(40)
    seen = []
    for changed in (False, True):
        objective = OnlineCorrection(start="auto", input_dropout=0.0)
        rows = MemorisationWatch(given, epochs=8, seed=0).rows
        labels = given.clone()
        if changed:
            labels[rows] = (labels[rows] + 1) % CLASSES
        weights = []
        robust(objective=objective, on_epoch=lambda model, _, to=weights: to.append(model.weight.clone())).fit(
            (inputs, labels)
        )
        seen.append(weights)
    assert torch.equal(seen[0][1], seen[1][1])
    assert not torch.equal(seen[0][-1], seen[1][-1])


def test_a_run_that_watches_goes_on_as_if_it_had_not_been_stopped(tmp_path):
    def stop(model, record):
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    objective = OnlineCorrection(start="auto")
    whole = robust(objective=objective, run_dir=tmp_path / "whole").fit(data())
    with pytest.raises(KeyboardInterrupt):
        robust(objective=objective, run_dir=tmp_path / "stopped", on_epoch=stop).fit(data())
    resumed = robust(objective=objective, run_dir=tmp_path / "stopped").fit(data(), resume=True)
    assert torch.equal(whole.model.weight, resumed.model.weight)
    assert torch.equal(whole.labels.evidence(), resumed.labels.evidence())


def test_inputs_are_dropped_only_from_vectors_that_nobody_augments():
    seen = []

    class Watcher(nn.Linear):
        def forward(self, inputs):
            if self.training:
                seen.append(float((inputs == 0).float().mean()))
            return super().forward(inputs.flatten(1))

    inputs, given = data(400)
    shapes = {"vectors": inputs, "images": inputs[:, None]}
    for shape, augment, expected in (("vectors", None, 0.5), ("images", None, 0), ("vectors", lambda x: x, 0)):
        seen.clear()
        settings = {"epochs": 2, "batch_size": 400, "lr": 0.1, "verbose": False, "augment": augment}
        objective = OnlineCorrection(input_dropout=0.5)
        SelfCorrector(Watcher(4, CLASSES), num_classes=CLASSES, preset="robust", objective=objective, **settings).fit(
            (shapes[shape], given)
        )
        assert sum(seen) / len(seen) == pytest.approx(expected, abs=0.05)


def test_token_ids_are_not_dropped():
    tokens, given = torch.randint(0, 20, (32, 6), generator=torch.Generator().manual_seed(0)), torch.arange(32) % 2
    network = nn.Sequential(nn.EmbeddingBag(20, 4), nn.Linear(4, 2))
    result = SelfCorrector(network, num_classes=2, preset="robust", epochs=3, verbose=False).fit((tokens, given))
    assert result.labels.generation > 0
