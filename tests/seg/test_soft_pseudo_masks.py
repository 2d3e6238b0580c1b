"""Frames of a parsed video as unlabelled samples that keep the probabilities found in them."""

from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from noisycorrect import RECIPES, SelfCorrector
from noisycorrect.cycle.schedule import Shares
from noisycorrect.data.batches import Batch
from noisycorrect.labels import CODECS, Trust
from noisycorrect.support.errors import InvalidInputError
from noisycorrect_seg import HumanParsing, ParsingDataset, SoftPseudoMasks, SyntheticPeople, parse_video, pseudo_masks
from noisycorrect_seg.datasets import MovingPeople
from noisycorrect_seg.geometry.maps import winners
from noisycorrect_seg.losses import ParsingLoss

SIZE = (40, 32)
FILM = MovingPeople(3, seed=1, size=SIZE, classes="people")
PEOPLE = SyntheticPeople(4, seed=2, size=SIZE, classes="people")
CROSS_ENTROPY = ParsingLoss(edge=False, lovasz=False, consistency=False)


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Conv2d(3, len(PEOPLE.classes), 3, padding=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    frames = [FILM.image(index) for index in range(len(FILM))]
    options = {"classes": FILM.classes, "size": SIZE, "window": 0, "progress": False}
    return pseudo_masks(
        parse_video(network(), frames, tmp_path_factory.mktemp("film"), images=True, probs=True, **options)
    )


class Seen(SoftPseudoMasks):
    """Remembers targets by sample and generation; crops are not augmented."""

    seen: ClassVar = {}

    def in_step(self, model, batch):
        output, batch = super().in_step(model, batch)
        targets = self.setup.task.targets(batch)
        if not targets.is_floating_point():
            known = targets[:, None] == torch.arange(len(PEOPLE.classes)).view(-1, 1, 1)
            targets = known.float()
        for row, index in enumerate(batch.index.tolist()):
            self.seen[index, batch.generation] = targets[row]
        return output, batch


def fitted(correction, unlabeled, *, epochs=3, train=PEOPLE):
    recipe = RECIPES["paper"].replace(correction=correction, schedule=Shares(init_share=0.34, cycles=2))
    corrector = SelfCorrector(
        network(1), task=HumanParsing(PEOPLE.classes, size=SIZE, loss=CROSS_ENTROPY), recipe=recipe, epochs=epochs,
        batch_size=3, lr=1e-2, seed=0, device="cpu",
    )  # fmt: skip
    return corrector.fit(ParsingDataset(train, SIZE), unlabeled=unlabeled)


def test_frames_are_learnt_as_they_were_found_from_the_first_step_on(source):
    Seen.seen.clear()
    result = fitted(Seen(source), source)
    generations = {generation for _, generation in Seen.seen}
    assert {0, 1} <= generations
    for (index, generation), targets in Seen.seen.items():
        if index < len(PEOPLE):
            if generation == 0:  # the others' masks are as given
                assert np.array_equal(winners(targets[None])[0].numpy(), PEOPLE.mask(index))
                assert targets.amax(0).min() == 1
            continue
        expected = torch.from_numpy(source.network_probs(index - len(PEOPLE))).float()
        assert torch.allclose(targets, expected, atol=0.03)  # what the codec leaves of them
        assert targets.amax(0).max() < 0.99  # soft they are
    for frame in range(len(source)):
        refined = result.labels.refined(len(PEOPLE) + frame)[0]
        assert torch.allclose(refined, torch.from_numpy(source.network_probs(frame)).float(), atol=0.03)


@pytest.fixture
def _float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_float64")
def test_evidence_of_frames_is_float32_whatever_the_default_dtype(source):
    correction = SoftPseudoMasks(source)
    correction.setup = SimpleNamespace(length=3, task=HumanParsing(PEOPLE.classes, size=SIZE))
    given = torch.full((3, *SIZE), 255)
    batch = Batch(torch.arange(3), given, given, Trust(torch.ones(3, dtype=torch.float32)))
    correction.frames = 1
    taught = correction._with_probs(batch)
    assert taught.trust.weight.tolist() == [1.0, 1.0, 0.0]
    assert taught.trust.weight.dtype is torch.float32
    expected = torch.from_numpy(source.network_probs(0)).float()
    found = CODECS[correction.setup.task.codec].decode(taught.evidence)[2]
    assert torch.allclose(found, expected, atol=0.03)


def test_a_hard_mask_says_the_same_of_all_pixels_and_soft_ones_less_of_unsure_ones(source):
    """The gradient that a pixel of a frame has on an untaught network: p - target, as cross-entropy has it."""
    task = HumanParsing(PEOPLE.classes, size=SIZE, loss=CROSS_ENTROPY)
    soft = torch.from_numpy(source.network_probs(0)).float()[None]
    hard = torch.from_numpy(source.mask(0)).long()[None]

    def gradients(targets):
        logits = torch.zeros(1, len(PEOPLE.classes), *SIZE, requires_grad=True)
        task.loss_against(logits, targets).backward()
        return logits.grad.abs().sum(1)[0]

    by_soft, by_hard = gradients(soft), gradients(hard)
    assert torch.allclose(by_hard, by_hard[0, 0].expand(SIZE), rtol=1e-4)
    sure = soft.amax(1)[0]
    unsure = sure < sure.median()
    assert by_soft[unsure].mean() < by_soft[~unsure].mean() < by_hard.mean()


# ---------------------------------------------------------------- invalid input


def test_what_does_not_fit_is_said_before_training(source, tmp_path):
    frames = [FILM.image(0)]
    bare = pseudo_masks(
        parse_video(network(), frames, tmp_path, classes=FILM.classes, size=SIZE, images=True, progress=False)
    )
    with pytest.raises(InvalidInputError, match=r"parse_video\(\.\.\., probs=True\)"):
        SoftPseudoMasks(bare)
    with pytest.raises(InvalidInputError, match="the frames of a parsed video; got list"):
        SoftPseudoMasks([])
    with pytest.raises(InvalidInputError, match="labelled samples before the 3 frames; got 2 samples"):
        fitted(SoftPseudoMasks(source), None, train=SyntheticPeople(2, size=SIZE, classes="people"))
    with pytest.raises(InvalidInputError, match="the last 3 samples without a mask; got one at 1"):
        fitted(SoftPseudoMasks(source), None)
    with pytest.raises(InvalidInputError, match="a task of the video's classes .* and size"):
        SelfCorrector(
            network(1), task=HumanParsing(PEOPLE.classes, size=(48, 48)), epochs=3, batch_size=2,
            recipe=RECIPES["paper"].replace(correction=SoftPseudoMasks(source)),
        ).fit(ParsingDataset(PEOPLE, (48, 48)), unlabeled=source)  # fmt: skip
