"""A run that goes wrong says so, once, and a healthy one says nothing."""

import warnings

import numpy as np
import pytest
import torch
from tiny_runs import CLASSES, PLAIN, SHORT, Kill, blobs, corrector, network
from torch import nn

from noisycorrect import RECIPES, Schedule, TrainingWarning
from noisycorrect.training.health import InputScale

AUTO = PLAIN.replace(standardize="auto")


class Grows(nn.Linear):
    """Becomes a million times as sure of everything after a few steps."""

    steps = 0

    def forward(self, x):
        Grows.steps += self.training
        logits = super().forward(x)
        return logits if Grows.steps < 4 else logits + 1e6 * logits.detach()


class Dies(nn.Module):
    """Gives every sample one prediction from a step on."""

    def __init__(self, after):
        super().__init__()
        self.network, self.after, self.steps = network(norm=False), after, 0

    def forward(self, x):
        self.steps += self.training
        logits = self.network(x)
        return logits if self.steps < self.after else logits * 0 + torch.tensor([0.0, 1.0, 0.0])


def warned(fit):
    """Return the messages of TrainingWarning in a run."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit()
    assert all(each.category is TrainingWarning for each in caught)
    assert {each.filename for each in caught} <= {__file__}
    return [str(each.message) for each in caught]


def oracle(inputs):
    """Return root mean square, largest value, ratio of ranges and its feature, a value at a time, in float64."""
    values = [[float(value) for value in row] for row in inputs]
    flat = [value for row in values for value in row]
    ranges = [max(column) - min(column) for column in zip(*values, strict=True)]
    varied = [each for each in ranges if each > 0]
    largest = max(map(abs, flat))
    (feature,) = {row.index(value) for row in values for value in row if abs(value) == largest}
    return (sum(value**2 for value in flat) / len(flat)) ** 0.5, largest, max(varied) / min(varied), feature


def test_the_scale_of_inputs_is_what_float64_says():
    inputs = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 40.0, 0.1, 0.0]) + 3
    scale = InputScale.of(inputs)
    assert (scale.rms, scale.largest, scale.ratio, scale.feature) == pytest.approx(oracle(inputs), rel=1e-12)
    image = InputScale.of(torch.full((2, 3, 4, 4), 255.0))
    assert (image.rms, image.ratio, image.feature) == (255.0, 1.0, None)
    with_gaps = InputScale.of(torch.tensor([[float("nan"), 1.0], [float("inf"), 1.0]]))
    assert (with_gaps.largest, with_gaps.ratio) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("factors", "got"),
    [
        ([1.0, 1.0, 4000.0, 1.0], r"[\d,]+ in feature 2, and features whose ranges differ by a factor of [\d,]+"),
        ([1.0, 1e-4, 1.0, 1.0], r"6.65 in feature \d, and features whose ranges differ by a factor of [\d,]+"),
        ([40.0, 40.0, 40.0, 40.0], r"\d+ in feature \d;"),
    ],
)
def test_badly_scaled_vectors_are_named_before_the_first_step_and_standardising_mends_them(factors, got):
    inputs, given, _ = blobs(60)
    inputs = inputs * torch.tensor(factors)
    with pytest.warns(
        TrainingWarning, match=rf"expected inputs of about -1..1; got {got}.*standardize=.auto.*a smaller lr"
    ):
        corrector(recipe=PLAIN, lr=1e-4).fit((inputs, given))
    assert warned(lambda: corrector(recipe=AUTO).fit((inputs, given))) == []


def test_images_of_bytes_as_floats_are_named():
    given = torch.arange(30) % CLASSES
    images = 255 * nn.functional.one_hot(given, 9).float().reshape(30, 1, 3, 3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, CLASSES))
    named, *more = warned(lambda: corrector(model, PLAIN, lr=1e-4).fit((images, given)))
    assert "got 255; to fix: scale inputs to about -1..1 (images of 0..255: divide by 255), or a smaller lr" in named
    assert all("inputs reach 255" in message for message in more)  # how it then failed
    assert warned(lambda: corrector(model, PLAIN).fit((images / 255, given))) == []


def test_a_network_that_dies_is_named_once():
    inputs, given, _ = blobs(60)
    (message,) = warned(lambda: corrector(Dies(4), PLAIN, lr=0.01).fit((inputs * 3, given)))
    assert (
        "predictions that differ between samples; got the same, class 1, for all 40 looked at after epoch 2" in message
    )
    assert "; inputs reach 2" in message
    assert 'to fix: pass recipe=RECIPES[...].replace(standardize="auto"), or a smaller lr' in message


def test_one_that_dies_later_is_named_at_the_end():
    inputs, given, _ = blobs(60)
    (message,) = warned(lambda: corrector(Dies(20), PLAIN).fit((inputs / 5, given)))
    assert "predictions of several classes; got class 1 for all 40 training samples looked at when training" in message
    assert "to fix: pass a smaller lr, or recipe.replace(clip_grad_norm=1.0)" in message


def test_one_class_for_all_may_be_the_best_there_is():
    inputs, _, _ = blobs(60)
    mostly = torch.where(torch.arange(60) % 10 < 2, torch.arange(60) % 10 + 1, 0) * (torch.arange(60) < 40)
    assert warned(lambda: corrector(Dies(20), PLAIN).fit((inputs, mostly))) == []


def test_a_network_that_is_sure_before_it_has_learnt_is_named():
    inputs, given, _ = blobs(60)
    model = nn.Linear(4, CLASSES)
    with torch.no_grad():
        model.weight *= 1e3
    messages = warned(lambda: corrector(model, PLAIN, lr=1e-9).fit((inputs, given)))
    assert len(messages) == 1
    assert "predictions about as good as guessing before the first step; got a loss of" in messages[0]


def test_weights_that_run_away_are_named():
    inputs, given, _ = blobs(60)
    messages = warned(lambda: corrector(Grows(4, CLASSES), PLAIN).fit((inputs, given)))
    assert len(messages) == 1
    assert "a loss below guessing's; got" in messages[0]


def test_a_run_that_goes_on_does_not_speak_of_its_inputs_again(tmp_path):
    inputs, given, _ = blobs(60)
    settings = {"recipe": PLAIN, "lr": 1e-4, "run_dir": tmp_path}
    with pytest.warns(TrainingWarning, match="inputs of about"), pytest.raises(KeyboardInterrupt):
        corrector(callbacks=[Kill(1)], **settings).fit((inputs * 100, given))
    assert warned(lambda: corrector(**settings).fit((inputs * 100, given))) == []


@pytest.mark.parametrize("name", ["ce", "robust", "elr", "dividemix"])
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_healthy_runs_say_nothing(name, rate):
    inputs, given, _ = blobs(90, rate=rate)
    assert (
        warned(lambda: corrector(network(), RECIPES[name], lr=0.05, batch_size=16, epochs=6).fit((inputs, given))) == []
    )


def test_labels_without_information_say_nothing():
    rng = np.random.default_rng(0)
    inputs, given = torch.randn(120, 4, generator=torch.Generator().manual_seed(0)), rng.integers(0, CLASSES, 120)
    recipe = PLAIN.replace(schedule=Schedule(6, 1, 2))
    assert warned(lambda: corrector(network(), recipe).fit((inputs, given))) == []


def test_looking_changes_nothing(monkeypatch):
    inputs, given, _ = blobs(60)
    looked = corrector(recipe=SHORT).fit((inputs, given))
    for name in ("begin", "after_epoch", "at_end"):
        monkeypatch.setattr(f"noisycorrect.training.health.RunHealth.{name}", lambda *_, **__: None)
    other = corrector(recipe=SHORT).fit((inputs, given))
    for one, same in zip(looked.model.state_dict().values(), other.model.state_dict().values(), strict=True):
        assert torch.equal(one, same)
