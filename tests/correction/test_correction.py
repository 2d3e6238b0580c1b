"""Correction while training, against slow float64 arithmetic straight from the docstring."""

import copy
import math

import pytest
import torch
from tiny_runs import ONLINE, QUIET, Kill
from torch import nn

from noisycorrect import (
    AtCycleEnd,
    Classification,
    CrossFitting,
    EarlyLearning,
    OneCosine,
    OnlineCorrection,
    Schedule,
    SelfCorrector,
)
from noisycorrect.correction.part import Setup
from noisycorrect.labels.mixture import QualityMixture
from noisycorrect.labels.refine import align_to_prior
from noisycorrect.objective import early_learning_penalty
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
    recipe = ONLINE.replace(
        schedule=Schedule(init_epochs=2, cycles=1, cycle_epochs=3),
        rates=OneCosine(warmup_epochs=0),
        average=None,
        correction=OnlineCorrection(momentum=0.6, start=0.4, trust="agreement", input_dropout=0.0),
        objective=EarlyLearning(2.0),
    )
    result = SelfCorrector(
        model, num_classes=CLASSES, recipe=recipe, lr=0.1, batch_size=24, optimizer=torch.optim.SGD, callbacks=[QUIET]
    ).fit((inputs.double(), given))
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


def robust(correction=None, objective=None, callbacks=(), **settings):
    recipe = ONLINE.replace(
        correction=correction or OnlineCorrection(), objective=objective or EarlyLearning(), batch_size=8
    )
    settings = {"epochs": 8, "lr": 0.1, "recipe": recipe, "callbacks": [QUIET, *callbacks]} | settings
    torch.manual_seed(0)
    return SelfCorrector(nn.Linear(4, CLASSES), num_classes=CLASSES, **settings)


@pytest.mark.parametrize("trust", ["agreement", "relative", "class-relative", "mixture", "posterior"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not(tmp_path, trust):
    correction = OnlineCorrection(start=0.05, trust=trust, balance=True)
    whole = robust(correction, run_dir=tmp_path / "whole").fit(data())
    with pytest.raises(KeyboardInterrupt):
        robust(correction, run_dir=tmp_path / "stopped", callbacks=[Kill(5)]).fit(data())
    resumed = robust(correction, run_dir=tmp_path / "stopped").fit(data(), resume=True)
    assert torch.equal(whole.model.weight, resumed.model.weight)
    assert torch.equal(whole.labels.evidence(), resumed.labels.evidence())
    assert torch.equal(whole.labels.trust().weight, resumed.labels.trust().weight)
    assert ((whole.labels.trust().weight >= 0) & (whole.labels.trust().weight <= 1)).all()


def test_the_parts_of_a_recipe_are_not_changed_by_a_run():
    parts = OnlineCorrection(), EarlyLearning()
    corrector = robust(*parts)
    before = [copy.deepcopy(vars(part)) for part in parts]
    corrector.fit(data())
    assert [vars(part) for part in parts] == before


def test_the_parts_of_a_recipe_are_values():
    assert OnlineCorrection(momentum=0.5) == OnlineCorrection(momentum=0.5) != OnlineCorrection()
    assert ONLINE.replace(correction=OnlineCorrection()) == ONLINE
    assert "momentum=0.7" in repr(ONLINE)
    with pytest.raises(InvalidInputError, match=r"to stay as it is; got momentum = 3; to fix: make another one"):
        ONLINE.correction.momentum = 3
    with pytest.raises(InvalidInputError, match="EarlyLearning of a recipe to stay as it is"):
        ONLINE.objective.strength = 3
    assert ONLINE.correction.momentum == 0.7


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

    objective = EarlyLearning(consistency=1.0, strong_augment=shaken)
    result = robust(OnlineCorrection(start=0.05), objective).fit(data())
    assert result.sample_passes == 6 * 24 * 8
    assert sum(seen) == 24 * (8 - 1)  # no correction in the first epoch, and nothing to be consistent with


def test_balance_raises_what_the_evidence_gives_too_rarely():
    plain, balanced = (robust(OnlineCorrection(start=0.05, balance=balance)).fit(data()) for balance in (False, True))
    frequencies = [result.labels.evidence().mean(0) for result in (plain, balanced)]
    spread = [float((frequency - 1 / CLASSES).abs().max()) for frequency in frequencies]
    assert spread[1] < spread[0]


def test_trust_by_mixture_is_fitted_to_the_evidence_that_is_published():
    result = robust(OnlineCorrection(start=0.05, trust="mixture")).fit(data())
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
        ({"keep": 1}, "keep to be a whole number >= 2; got 1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        OnlineCorrection(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strength": -1}, "0 <= strength; got -1"),
        ({"consistency": -1}, "0 <= consistency; got -1"),
        ({"consistency": 1.0}, "both consistency and strong_augment"),
    ],
)
def test_bad_settings_of_early_learning(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        EarlyLearning(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trust": "papr"}, "did you mean 'paper'"),
        ({"momentum": 1.0}, "0 <= momentum < 1; got 1.0"),
        ({"keep": 1}, "keep to be a whole number >= 2; got 1"),
    ],
)
def test_bad_settings_of_correction_at_cycle_ends(settings, message):
    with pytest.raises(InvalidInputError, match=message):
        AtCycleEnd(**settings)


def test_the_history_says_whether_correction_has_started():
    history = robust(OnlineCorrection(start=0.6)).fit(data()).history
    assert [record["correcting"] for record in history] == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("correction", [OnlineCorrection(), CrossFitting()])
def test_masks_are_refused_before_training(correction):
    setup = Setup(Classification(2), None, 4, 3, torch.device("cpu"), 0, lambda _: None, lambda: None)
    with pytest.raises(InvalidInputError, match=f"one class a sample with {type(correction).__name__}"):
        correction.start(setup)


def test_masks_are_refused_before_they_are_read():
    with pytest.raises(InvalidInputError, match="of the kind 'segmentation'; got a Recipe, which is for"):
        SelfCorrector(nn.Conv2d(3, 2, 1), task=Masks(2), recipe=ONLINE)


class Masks(Classification):
    """Enough of a task for masks to be refused."""

    kind = MaskLabels


def test_inputs_are_dropped_only_from_vectors_that_nobody_augments():
    seen = []

    class Watcher(nn.Linear):
        def forward(self, inputs):
            if self.training and len(inputs) == 400:  # and not the trial before the first epoch
                seen.append(float((inputs == 0).float().mean()))
            return super().forward(inputs.flatten(1))

    inputs, given = data(400)
    shapes = {"vectors": inputs, "images": inputs[:, None]}
    for shape, augment, expected in (("vectors", None, 0.5), ("images", None, 0), ("vectors", lambda x: x, 0)):
        seen.clear()
        settings = {"epochs": 2, "batch_size": 400, "lr": 0.1, "augment": augment, "callbacks": [QUIET]}
        recipe = ONLINE.replace(correction=OnlineCorrection(input_dropout=0.5))
        SelfCorrector(Watcher(4, CLASSES), num_classes=CLASSES, recipe=recipe, **settings).fit((shapes[shape], given))
        assert sum(seen) / len(seen) == pytest.approx(expected, abs=0.05)


def test_token_ids_are_not_dropped():
    tokens, given = torch.randint(0, 20, (32, 6), generator=torch.Generator().manual_seed(0)), torch.arange(32) % 2
    network = nn.Sequential(nn.EmbeddingBag(20, 4), nn.Linear(4, 2))
    result = SelfCorrector(network, num_classes=2, recipe=ONLINE, epochs=3, callbacks=[QUIET]).fit((tokens, given))
    assert result.labels.generation > 0
